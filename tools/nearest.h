// "Did you mean": the few known names nearest to one that is not known.
#ifndef PLIM_TOOLS_NEAREST_H
#define PLIM_TOOLS_NEAREST_H

#include <stddef.h>
#include <stdint.h>

enum { NEAREST_NAMES = 4, NEAREST_BYTES = 64 };

// Zeroed, but for what is wanted, before the first name is added.
typedef struct {
    const char *wanted;
    char name[NEAREST_NAMES][NEAREST_BYTES]; // nearest first, all different
    int distance[NEAREST_NAMES];
    uint32_t count;
} Nearest;

// Keeps the name, of so many bytes, if it is among the nearest so far.
void nearest_add(Nearest *n, const char *name, size_t size);
// The path and each beginning of it that ends before a dot: "h.0.attn", "h.0", "h".
void nearest_add_path(Nearest *n, const char *path);
// "; did you mean a, b or c?", or "" where nothing is near. Gives out.
char *nearest_text(const Nearest *n, char *out, size_t size);

#endif
