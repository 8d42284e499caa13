// What plim-dump's outputs share. Each is a file dump_NAME.c with one function that prints the plan
// on the table to a stream; tools/plim_dump.c has the table of them, reads files and writes them.
#ifndef PLIM_TOOLS_DUMP_H
#define PLIM_TOOLS_DUMP_H

#include "runtime/plan_uses.h"
#include "tools/machine.h"

// What an output gives. The first four are the exit status.
enum {
    DUMP_DONE,
    DUMP_FAILED, // error is set
    DUMP_USAGE,  // error is set: the command line is wrong
    DUMP_LIMIT,  // a condition of --fail-if holds
    DUMP_TOLD    // failed, and the sentence has been printed
};

// What the command line says besides the file and what to print. NULL: not said.
typedef struct {
    const char *value;    // of the flag that says what to print: a file, a name
    const char *entry;    // --entry: the one to show
    const char *scope;    // --scope: operators of it and of those inside
    const char *measured; // --measured: a run's --trace or --log
    const char *machine;  // --machine: figures in place of the target's
    const char *fail_if;  // --fail-if, several joined by commas
} DumpOptions;

typedef struct {
    const char *file; // as given
    const Plan *plan;
    const PlanUses *uses;
    PlanMemory *memory; // plan and uses lie here, and what an output needs may
    const DumpOptions *options;
    Rates machine; // what time is predicted for
    PlimError error; // set where a function gives DUMP_FAILED
} Dump;

typedef int (*DumpFn)(Dump *d, FILE *out);

int dump_summary(Dump *d, FILE *out);
int dump_memory(Dump *d, FILE *out);
int dump_json(Dump *d, FILE *out);
int dump_trace(Dump *d, FILE *out);
int dump_dot(Dump *d, FILE *out);
int dump_html(Dump *d, FILE *out);
int dump_why(Dump *d, FILE *out);
int dump_diff(Dump *d, FILE *out);

// The entry of --entry, or the main one (plan_main_entry); false after setting the error: no entry
// has the name, or the plan has none.
bool dump_entry(Dump *d, uint32_t *entry);
// When each instruction runs: as the plan says, or where it does not or --machine was given, by
// d->machine. False when there is no memory.
bool dump_predict(const Dump *d, uint32_t entry, Prediction *out);
// The same of another plan's uses: without --machine its target's rates.
bool dump_predict_other(const Dump *d, const PlanUses *u, uint32_t entry, Prediction *out);
// printf into the error; DUMP_FAILED.
int dump_fail(Dump *d, const char *format, ...) __attribute__((format(printf, 2, 3)));

// Reads a program or a .plan ("-": standard input), with its index; both lie in memory. False after
// a sentence to stderr.
bool dump_read(const char *file, PlanMemory *memory, const Plan **plan, const PlanUses **uses);

#endif
