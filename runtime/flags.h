// Command lines from one table: the parser, the help text and what is written from it agree.
#ifndef PLIM_RUNTIME_FLAGS_H
#define PLIM_RUNTIME_FLAGS_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct {
    const char *name;  // "--steps" or "-o"
    const char *value; // what to call its argument in the help, or NULL where it takes none
    const char
        *group; // heading in the help, or for programs with commands the commands it belongs to
    const char *help; // one line
} Flag;

// A pass over argv[1..]: flags_next gives one option or one plain argument at a time.
typedef struct {
    const Flag *table;
    int table_count;
    int argc;
    char **argv;
    int at;          // next argv
    bool plain_only; // after "--"
    char error[256]; // set where flags_next returned FLAGS_WRONG
} FlagCursor;

typedef enum { FLAGS_OPTION, FLAGS_PLAIN, FLAGS_END, FLAGS_WRONG } FlagResult;

// OPTION: *flag is its row and *value its argument (NULL where it takes none). PLAIN: *value is the
// argument. Both "--flag value" and "--flag=value", "-DX" and "-D X".
FlagResult flags_next(FlagCursor *c, const Flag **flag, const char **value);
// The table as help, under its groups in order of first appearance.
void flags_print(const Flag *table, int count, FILE *out);
// "12", "12KiB", "1.5GiB". False where it is no size, or too large for 62 bits.
bool flags_size(const char *text, uint64_t *out);

// Letters to add, drop or change to make one word of the other (Levenshtein 1966); WORDS_FAR where
// one has more than 64.
enum { WORDS_FAR = 1000 };
int word_distance(const char *a, const char *b);

#endif
