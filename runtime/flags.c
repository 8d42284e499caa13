// The command line parser all programs share. An unknown option is answered with the nearest known
// one.
#include "runtime/flags.h"

#include <stdlib.h>
#include <string.h>

// Row by row.
int word_distance(const char *a, const char *b) {
    enum { LONGEST = 64 };
    const size_t n = strlen(a), m = strlen(b);
    if (n > LONGEST || m > LONGEST)
        return WORDS_FAR;
    // row[j]: distance of the first i characters of a to the first j of b; diagonal: what
    // row[j - 1] was for i - 1.
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

// word: as given; length: without "=value".
static FlagResult wrong_unknown(FlagCursor *c, const char *word, size_t length) {
    const Flag *best = NULL;
    int best_distance = 4; // farther than this is no suggestion
    // Long enough for every option; more of a wrong one says nothing.
    char name[64];
    snprintf(name, sizeof name, "%.*s", (int)(length < 63 ? length : 63), word);
    for (int i = 0; i < c->table_count; i++) {
        // What goes on from the word is nearer than any other word.
        const bool longer = strncmp(name, c->table[i].name, strlen(name)) == 0;
        const int d = longer ? 0 : word_distance(name, c->table[i].name);
        if (d < best_distance) {
            best_distance = d;
            best = &c->table[i];
        }
    }
    if (best)
        snprintf(c->error, sizeof c->error, "unknown option %s; did you mean %s?", name,
                 best->name);
    else
        snprintf(c->error, sizeof c->error, "unknown option %s; see --help", name);
    return FLAGS_WRONG;
}

// The row whose name is the first length bytes of word.
static const Flag *find(const FlagCursor *c, const char *word, size_t length) {
    for (int i = 0; i < c->table_count; i++)
        if (strlen(c->table[i].name) == length && memcmp(c->table[i].name, word, length) == 0)
            return &c->table[i];
    return NULL;
}

// glued: the value in the option's own word, or NULL; then the next argument is it, whatever it
// begins with.
static FlagResult take_value(FlagCursor *c, const Flag *flag, const char *glued,
                             const char **value) {
    if (!flag->value) {
        if (!glued)
            return FLAGS_OPTION;
        snprintf(c->error, sizeof c->error, "%s takes no value", flag->name);
        return FLAGS_WRONG;
    }
    if (glued) {
        *value = glued;
        return FLAGS_OPTION;
    }
    if (c->at == c->argc) {
        snprintf(c->error, sizeof c->error, "%s needs a value: %s", flag->name, flag->value);
        return FLAGS_WRONG;
    }
    *value = c->argv[c->at++];
    return FLAGS_OPTION;
}

FlagResult flags_next(FlagCursor *c, const Flag **flag, const char **value) {
    *flag = NULL;
    *value = NULL;
    // A zeroed cursor begins behind the program's name.
    if (c->at == 0)
        c->at = 1;
    if (c->at >= c->argc)
        return FLAGS_END;
    const char *word = c->argv[c->at++];
    // Everything behind it is plain, even what begins with a dash.
    if (strcmp(word, "--") == 0 && !c->plain_only) {
        c->plain_only = true;
        return flags_next(c, flag, value);
    }
    // A dash alone is a file: standard input.
    if (c->plain_only || word[0] != '-' || word[1] == '\0') {
        *value = word;
        return FLAGS_PLAIN;
    }
    // The whole word first, then the part before "=", then a letter with its value glued on.
    const size_t length = strcspn(word, "=");
    *flag = find(c, word, strlen(word));
    if (*flag)
        return take_value(c, *flag, NULL, value);
    *flag = find(c, word, length);
    if (*flag && word[length] == '=')
        return take_value(c, *flag, word + length + 1, value);
    *flag = word[1] != '-' ? find(c, word, 2) : NULL; // -DX
    if (*flag && (*flag)->value)
        return take_value(c, *flag, word + 2, value);
    return wrong_unknown(c, word, length);
}

// Whether a row before at has its group.
static bool group_seen(const Flag *table, int at) {
    for (int i = 0; i < at; i++)
        if (strcmp(table[i].group, table[at].group) == 0)
            return true;
    return false;
}

void flags_print(const Flag *table, int count, FILE *out) {
    // g: the first row of each group; i: all rows of it, wherever they stand.
    for (int g = 0; g < count; g++) {
        if (group_seen(table, g))
            continue;
        fprintf(out, "\n%s:\n", table[g].group);
        for (int i = g; i < count; i++) {
            if (strcmp(table[i].group, table[g].group) != 0)
                continue;
            char left[64];
            snprintf(left, sizeof left, "%s%s%s", table[i].name, table[i].value ? " " : "",
                     table[i].value ? table[i].value : "");
            fprintf(out, "  %-26s %s\n", left, table[i].help);
        }
    }
}

bool flags_size(const char *text, uint64_t *out) {
    static const struct {
        const char *name;
        double factor;
    } unit[] = {{"", 1}, {"KiB", 1024}, {"MiB", 1048576}, {"GiB", 1073741824}};
    // strtod alone would also take spaces, signs, nan and inf.
    if (*text < '0' || *text > '9')
        return false;
    char *end = NULL;
    const double number = strtod(text, &end);
    for (size_t i = 0; i < sizeof unit / sizeof unit[0]; i++)
        // 4e18 is below 2^62, so sums of two sizes fit 63 bits.
        if (strcmp(end, unit[i].name) == 0 && number * unit[i].factor < 4e18) {
            *out = (uint64_t)(number * unit[i].factor);
            return true;
        }
    return false;
}
