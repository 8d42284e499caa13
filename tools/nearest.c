// Edits turn one name into the other; a name that holds what was wanted, or is held by it, counts
// as nearer than its edits say, for people leave out beginnings and ends of paths.
#include "tools/nearest.h"

#include "runtime/flags.h"

#include <stdio.h>
#include <string.h>

static int distance(const char *wanted, const char *name) {
    const int apart = word_distance(wanted, name);
    if (*wanted && (strstr(name, wanted) || (strlen(name) > 2 && strstr(wanted, name))))
        return apart == WORDS_FAR ? 4 : apart / 8;
    // More than a third of the letters wrong is another word.
    return 3 * apart > (int)strlen(wanted) + 3 ? WORDS_FAR : apart;
}

void nearest_add(Nearest *n, const char *bytes, size_t size) {
    char name[NEAREST_BYTES];
    // Longer ones would not fit a sentence either.
    if (size >= sizeof name)
        return;
    memcpy(name, bytes, size);
    name[size] = '\0';
    for (uint32_t i = 0; i < n->count; i++)
        if (strcmp(n->name[i], name) == 0)
            return;
    const int apart = distance(n->wanted, name);
    uint32_t at = n->count;
    while (at > 0 && n->distance[at - 1] > apart)
        at--;
    if (apart >= WORDS_FAR || at == NEAREST_NAMES)
        return;
    n->count += n->count < NEAREST_NAMES;
    memmove(n->name + at + 1, n->name + at, (n->count - 1 - at) * sizeof n->name[0]);
    memmove(n->distance + at + 1, n->distance + at, (n->count - 1 - at) * sizeof *n->distance);
    memcpy(n->name[at], name, size + 1);
    n->distance[at] = apart;
}

void nearest_add_path(Nearest *n, const char *path) {
    for (size_t size = strlen(path); size > 0;) {
        nearest_add(n, path, size);
        while (size > 0 && path[--size] != '.')
            continue;
    }
}

char *nearest_text(const Nearest *n, char *out, size_t size) {
    size_t at = 0;
    out[0] = '\0';
    for (uint32_t i = 0; i < n->count && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%s",
                               i == 0              ? "; did you mean "
                               : i + 1 == n->count ? " or "
                                                   : ", ",
                               n->name[i]);
    if (n->count > 0 && at < size)
        snprintf(out + at, size - at, "?");
    return out;
}
