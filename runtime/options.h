// Commands of a compiled program, and what its command line said: the command, its argument, and
// every flag's value.
#ifndef PLIM_RUNTIME_OPTIONS_H
#define PLIM_RUNTIME_OPTIONS_H

#include "runtime/flags.h"
#include "runtime/session.h"

enum { OPTIONS_LIST_MAX = 1024 };

// Of a flag that may be given more than once, in the order given.
typedef struct {
    const char *item[OPTIONS_LIST_MAX];
    int count;
} OptionList;

// A flag that was not given leaves NULL, 0 or false. Texts point into argv.
typedef struct {
    const char *command;  // the first plain argument
    const char *argument; // the second one, where the command takes one
    OptionList data;      // FILE or NAME=FILE
    OptionList set;       // name=value
    OptionList in, out;   // NAME=FILE
    OptionList stop;      // texts
    const char *prompt, *prompt_tokens, *temperature, *top_p, *tokenizer;
    const char *weights, *save, *resume, *log, *trace, *to, *dtype, *shard_size, *tune, *far_dir;
    int64_t tokens, steps, seed, save_every, epochs, eval_every, trace_steps;
    double holdout;  // below 1 a share, else a number
    int64_t threads; // 0: as many as the plan and the process allow
    bool allow_missing, json, quiet, help;
    bool profile, digest, check_finite;
} PlimOptions;

typedef enum {
    NEEDS_PLAN,  // decoded: the model may be too large for this machine
    NEEDS_ARENA, // verified, memory taken, threads started
    NEEDS_STOP   // the same, and SIGTERM and SIGINT are noted, for it to end between two steps
} CommandNeeds;

// A command: one row of a table that ends in an all-NULL row.
typedef struct {
    const char *name;
    const char *argument; // what to call its plain argument in messages, or NULL: it takes none
    const char *help;     // one line
    const char *flags;    // those it takes, separated by spaces, beside --help
    CommandNeeds needs;
    // PLIM_OK, or a status with its sentence in error.
    PlimStatus (*run)(PlimSession *s, const PlimOptions *o, PlimError *error);
} PlimCommand;

// Reads argv. *found is the command's row; NULL where there is no command or --help was given
// without one. False with a sentence in error where the user is wrong: an unknown command or flag,
// one that means nothing with the command, a value that makes no sense.
bool options_read(const PlimCommand *table, int argc, char **argv, PlimOptions *out,
                  const PlimCommand **found, PlimError *error);
// The help: of all commands where command is NULL, else of that one.
void options_print(const PlimCommand *table, const PlimCommand *command, const char *program,
                   FILE *out);
// Whether the command takes the flag.
bool options_takes(const PlimCommand *command, const char *flag);
// The table of flags, for help and tests.
const Flag *options_flags(int *count);

#endif
