// Edits turn one name into the other; a name that holds what was wanted, or is held by it, counts
// as nearer than its edits say, for people leave out beginnings and ends of paths.
#include "tools/nearest.h"

#include <stdio.h>
#include <string.h>

enum { LONGEST = 64, FAR = 1000 };

// Levenshtein's, row by row; FAR for names longer than LONGEST.
static int edits(const char *a, const char *b) {
    const size_t n = strlen(a), m = strlen(b);
    if (n > LONGEST || m > LONGEST)
        return FAR;
    // row[j]: edits from the first i characters of a to the first j of b; diagonal: what row[j - 1]
    // was for i - 1.
    int row[LONGEST + 1];
    for (size_t j = 0; j <= m; j++)
        row[j] = (int)j;
    for (size_t i = 1; i <= n; i++) {
        int diagonal = row[0];
        row[0] = (int)i;
        for (size_t j = 1; j <= m; j++) {
            const int change = diagonal + (a[i - 1] != b[j - 1]);
            const int shorter = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;
            diagonal = row[j];
            row[j] = change < shorter ? change : shorter;
        }
    }
    return row[m];
}

static int distance(const char *wanted, const char *name) {
    const int apart = edits(wanted, name);
    if (*wanted && (strstr(name, wanted) || (strlen(name) > 2 && strstr(wanted, name))))
        return apart == FAR ? 4 : apart / 8;
    // More than a third of the letters wrong is another word.
    return 3 * apart > (int)strlen(wanted) + 3 ? FAR : apart;
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
    if (apart >= FAR || at == NEAREST_NAMES)
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
