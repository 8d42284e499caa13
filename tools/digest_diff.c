// Both files are read line by line side by side: STEP SEGMENT SLOT INDEX CHECKSUM WHERE NAME
// (runtime/digest.c). Lines of one place differ in nothing but the checksum; the first pair that
// does is what went apart, for everything after it may follow from it.
#include "tools/digest_diff.h"

#include "runtime/error.h"
#include "tools/tool_io.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    long long step;
    char segment[256];
    unsigned slot, index;
    char checksum[17];
    char where[512], name[512];
} Line;

// Text without its first line, which is read. False where it is no line of --digest.
static bool take_line(char **text, Line *out) {
    char *end = strchr(*text, '\n');
    if (end)
        *end = '\0';
    int at = 0;
    const bool good =
        sscanf(*text, "%lld %255s %u %u %16[0-9a-f] %511s %n", &out->step, out->segment, &out->slot,
               &out->index, out->checksum, out->where, &at) == 6 &&
        strlen(out->checksum) == 16 && at > 0;
    if (good)
        snprintf(out->name, sizeof out->name, "%s", *text + at);
    *text = end ? end + 1 : *text + strlen(*text);
    return good;
}

bool digest_is(const char *path) {
    char line[2048], *text = line;
    Line first;
    FILE *in = fopen(path, "rbe");
    const bool good = in && fgets(line, sizeof line, in) && isdigit((unsigned char)*line) &&
                      take_line(&text, &first);
    if (in)
        fclose(in);
    return good;
}

// The same instruction of the same step and micro-batch.
static bool same_place(const Line *a, const Line *b) {
    return a->step == b->step && strcmp(a->segment, b->segment) == 0 && a->slot == b->slot &&
           a->index == b->index && strcmp(a->name, b->name) == 0;
}

static void print_first(const Line *a, const Line *b, unsigned long long equal, FILE *out) {
    fprintf(out, "the runs differ first in step %lld, %s", a->step, a->segment);
    if (a->slot > 0)
        fprintf(out, ", micro-batch %u", a->slot);
    fprintf(out, ", instruction %u: %s", a->index, a->name);
    if (strcmp(a->where, "-") != 0)
        fprintf(out, " (%s)", a->where);
    fprintf(out, "\n  before  %s\n  after   %s\n", a->checksum, b->checksum);
    if (equal > 0)
        fprintf(out, "  %llu results before it are equal\n", equal);
}

// Up to the first difference: later ones may follow from it. Both texts are cut into lines.
static bool compare(char *left, char *right, FILE *out, bool *different, const char *before,
                    const char *after, PlimError *error) {
    unsigned long long equal = 0;
    *different = true;
    while (*left && *right) {
        Line a, b;
        const bool good = take_line(&left, &a);
        if (!take_line(&right, &b) || !good) {
            error_set(error, PLIM_BAD_INPUT, "%s: line %llu is none of --digest",
                      good ? after : before, equal + 1);
            return false;
        }
        if (!same_place(&a, &b)) {
            fprintf(out,
                    "the runs are of different programs: line %llu is %s %u, %s, and then %s %u, "
                    "%s\n",
                    equal + 1, a.segment, a.index, a.name, b.segment, b.index, b.name);
            return true;
        }
        if (strcmp(a.checksum, b.checksum) != 0) {
            print_first(&a, &b, equal, out);
            return true;
        }
        equal++;
    }
    *different = *left || *right;
    if (*different)
        fprintf(out, "the first %llu results are equal; %s has more\n", equal,
                *left ? before : after);
    else
        fprintf(out, "all %llu results are equal\n", equal);
    return true;
}

bool digest_diff(const char *before, const char *after, FILE *out, bool *different,
                 PlimError *error) {
    size_t size;
    error->text[0] = '\0';
    // No run prints more than a TiB.
    char *left = tool_read("plim-dump", before, (size_t)1 << 40, &size);
    char *right = left ? tool_read("plim-dump", after, (size_t)1 << 40, &size) : NULL;
    const bool good = right && compare(left, right, out, different, before, after, error);
    free(left);
    free(right);
    return good;
}
