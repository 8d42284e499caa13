// What every pass gets and gives. A pass keeps no state between runs and reads no global.
#ifndef PLIM_PASSES_PASS_H
#define PLIM_PASSES_PASS_H

#include "ir/launch.h"
#include "ir/module.h"
#include "ir/op.h"
#include "runtime/plan_rates.h"

typedef enum { PASS_SAME, PASS_CHANGED, PASS_FAILED } PassResult;

// What was chosen, what it cost, what the alternatives cost. subject is a value, operator or buffer
// name.
typedef struct {
    const char *pass, *subject, *text;
} Remark;

typedef struct {
    Remark *item;
    int count, capacity;
} Remarks;

// Worker threads the plan has workspace for where nothing is said.
enum { WORKERS = 8 };

// What can't fit isn't packed well in a trial. FITS: nor is what does packed any better.
typedef enum { TRIAL_NONE, TRIAL_FITS, TRIAL_LEAST } TrialKind;

// What the user asked for; zero is the default of each.
typedef struct {
    const char
        *target; // "cpu", "cpu:x86-64-v4", "cuda:sm_90a"; the driver resolves native to a CPU name
    const char *isa;      // instruction sets the target needs, for the plan: "avx2,fma"; NULL: none
    const char *host_isa; // those that code for a GPU's host may use
    GpuArchs gpu;         // what a CUDA target names; none: a CPU
    const char *precision; // "f32", "bf16" or NULL: what the text says
    const char *order;     // --order: a list schedule, or "least" as NULL: the least arena found
    const char *arrange;   // --arrange: "naive" (no sharing) or NULL: the best greedy
    uint64_t chunk_bytes;  // logits a chunk of pass_chunk holds at once, 0: 16 MiB on a CPU,
                           // 512 MiB on a GPU
    uint64_t budget;       // bytes a device, 0: no limit
    bool far;              // --far: what the budget asks for may move to far memory
    const char *far_kind;  // "disk" or "host" as asked for; NULL: whichever the target has
    uint64_t far_bytes;    // of far memory, 0: no limit
    TrialKind trial;       // whether the plan fits is for the caller to say
    uint64_t order_limit;  // where no order is found that needs fewer bytes of the device, any will
                           // do; 0: no limit
    bool order_plain; // where lists keep order_limit, orders of many tasks are not searched for
    bool frontier;    // --frontier: pass retain tells of all that there is to choose from
    int workers;      // most worker threads, 0: WORKERS; a GPU has one
    bool onednn, openblas; // which product library to plan for on a CPU; both false: our own
                           // kernels. A GPU has cuBLASLt
    bool bf16_products;    // the product library takes bf16 on this target
    bool strict;           // a degraded plan is an error
    int effort;            // --effort: searches take this times the usual work, 0: 1; from 2 on
                           // integer programs are tried where they leave a gap
    const char *dump_mip;  // --dump-mip: the folder for integer programs, or NULL
    int64_t rewrite_limit; // --pass-limit: rewrites optional passes may make in all, 0: any number
    const Rates *rates;    // what times are predicted with; NULL: assumed of the target
    const char *tool, *flags; // recorded in the plan
} PassOptions;

typedef struct MemoryKnown MemoryKnown; // passes/memory/memory_known.h

typedef struct {
    Arena *arena;   // what the module and plan point to
    Arena *scratch; // reset after each pass
    Diag *diag;
    const PassOptions *options;
    Remarks remarks;
    PlanMemory *plan_memory;
    Plan *plan;       // set by pass_lower; later passes change it
    int64_t rewrites; // made so far by optional passes: see rewrite_allowed
    int degraded;     // times a solver died, hung or lied: see mip_report
    // Orders of trials: pass_order takes them, and adds to them in a trial.
    const MemoryKnown *known;
    bool fitted;          // set by pass_retain: the program was changed to fit, and no lower layout
                          // is wanted than one that does
    uint64_t order_load;  // set by pass_order: bytes of the device, states included, that no order
                          // found needs fewer of
    uint64_t order_least; // set by pass_order: no order needs fewer, as is known before any search
    bool order_plain;     // set by pass_order: an order was found without search
} PassCtx;

// Text is copied into cx->arena.
void remark_add(PassCtx *cx, const char *pass, const char *subject, const char *format, ...)
    __attribute__((format(printf, 4, 5)));

// What people call a value, also in plans: its own name, else its scope and the operator that makes
// it, "h.0.mlp.gelu". In a.
const char *remark_value(Arena *a, const Value *v);

// Counts one rewrite of an optional pass. False once --pass-limit is used up: the pass then leaves
// the operator as it is (bisecting a miscompile).
bool rewrite_allowed(PassCtx *cx);

typedef PassResult (*PassFn)(Module *m, PassCtx *cx);
// A pass that looks at each entry on its own: CHANGED where it changed one.
typedef PassResult (*EntryFn)(Graph *g, PassCtx *cx);
PassResult pass_each_entry(Module *m, PassCtx *cx, EntryFn change);

// The one table of passes, in order: passes/pipeline.def.
#define P(NAME, NEEDS, GIVES, BREAKS, HELP) PassResult pass_##NAME(Module *m, PassCtx *cx);
#include "passes/pipeline.def"
#undef P

#endif
