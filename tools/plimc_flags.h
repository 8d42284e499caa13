// plimc's command line as a struct.
#ifndef PLIM_TOOLS_PLIMC_FLAGS_H
#define PLIM_TOOLS_PLIMC_FLAGS_H

#include "frontend/frontend.h"
#include "passes/pass.h"

enum { PLIMC_LIST_MAX = 64 };

typedef enum { OUT_GRAPH, OUT_PLAN, OUT_LLVM, OUT_ASM, OUT_CUDA, OUT_PTX, OUT_CUBIN, OUT_OBJECT, OUT_LIBRARY,
               OUT_EXECUTABLE } PlimcEmit;
const char *plimc_emit_name(PlimcEmit emit); // "cuda", as --emit takes it

typedef struct {
    const char *file; // input; "-" for standard input
    const char *out;  // -o, or NULL
    SizeOverride size[PLIMC_LIST_MAX];
    int size_count;
    const char *include[PLIMC_LIST_MAX];
    int include_count;
    const char *entry[PLIMC_LIST_MAX];
    int entry_count;
    const char *config;      // --config NAME, or NULL
    const char *config_file; // --config FILE.json, or NULL
    const char *model;
    const char *rates;        // --rates, or NULL
    const char *dependencies; // -MD
    const char *dump_after;
    const char *explain;
    int64_t micro_batch;      // --micro-batch; 0: as the text says
    bool micro_batch_auto;    // the largest first, down to what is fastest in the budget
    PlimcEmit emit;
    bool check, quiet, json_errors, help, version, remarks, times;
    PassOptions options;
    const char *flags; // those that change the plan, as written, for its record
    const char *plans; // the first flag that a plan as input can't follow, or NULL
} PlimcRequest;

// Fills the request from the command line; text it builds lives in a. 0, or the exit status after a
// sentence.
int plimc_read_flags(Arena *a, int argc, char **argv, PlimcRequest *out);
void plimc_print_help(void);

#endif
