// What a machine does a second: the figures that times are predicted from.
//
// Work is of a few families. Each has a curve over an instruction's floating point operations and
// one over the bytes it moves; it takes as long as the longer of the two says (a roofline whose
// roof is not flat). Beside the curves stand times of single kernels, where they were measured, and
// how much longer work of one family takes while work of another runs beside it.
// Rates are a text file that `PROGRAM tune` writes, a line a figure (docs/running.md), or the
// assumed ones of a target.
#ifndef PLIM_RUNTIME_PLAN_RATES_H
#define PLIM_RUNTIME_PLAN_RATES_H

#include "runtime/plan.h"

// Of the three that tensor cores and the like do faster in bf16, by the type that is read first.
typedef enum {
    RATE_PRODUCT,
    RATE_PRODUCT_BF16,
    RATE_CONVOLUTION,
    RATE_CONVOLUTION_BF16,
    RATE_ATTENTION,
    RATE_ATTENTION_BF16,
    RATE_ROWS,    // pointwise, and reduced along rows
    RATE_COLUMNS, // reduced down columns
    RATE_INDEXED, // reads or writes where indices say
    RATE_UPDATE,  // the optimizer's
    RATE_FILL,
    RATE_COPY,
    RATE_OUT,  // from the device to far memory
    RATE_IN,   // and back
    RATE_HOST, // a GPU's host: updates of what is in far memory
    RATE_COUNT
} RateFamily;

// What is done at a size; between two points times are on the line between them, beyond the last
// the rate stays.
typedef struct {
    double size; // of one instruction: FLOP or bytes
    double rate; // FLOP/s or bytes/s
} RatePoint;

enum { RATE_POINTS_MAX = 16 };
typedef struct {
    uint32_t count;                   // 0: takes no time
    RatePoint point[RATE_POINTS_MAX]; // sizes rise, and so do the times
} RateCurve;

// A kernel that was measured.
typedef struct {
    uint64_t key;         // rates_kernel_key
    uint64_t picoseconds; // of one instruction
} RateKernel;

typedef struct {
    char machine[96]; // "2 threads of Intel(R) Xeon(R) ..."; what was assumed, in words
    char target[64];  // of the plan that was measured, as in Plan.target
    uint32_t threads; // that the figures are of
    bool measured;    // not assumed
    uint64_t start;   // picoseconds until an instruction begins
    RateCurve flops[RATE_COUNT], bytes[RATE_COUNT];
    // Times as long while one of the second family runs on another stream; 0: as long as alone.
    double beside[RATE_COUNT][RATE_COUNT];
    // While copies go out and in at once; of copies: while others go the other way and something
    // is computed. 0: the product of the two.
    double both[RATE_COUNT];
    uint32_t kernel_count;
    RateKernel *kernel; // keys rise
} Rates;

// What is assumed of a target ("cpu:x86-64-v3", "cuda:sm_90a"; isa as in Plan.isa) with so many
// threads.
void rates_assume(const char *target, const char *isa, uint32_t threads, Rates *out);

// This machine's CPU by its own name; false where the system does not say.
enum { RATES_PROCESSOR_MAX = 64 };
bool rates_processor(char out[RATES_PROCESSOR_MAX]);

// The text form. A mistake is refused with line and column in error. Kernels lie in pm.
PlimStatus rates_read(const char *text, size_t size, PlanMemory *pm, Rates *out, PlimError *error);
// name: of a kernel, for people, by its place in r->kernel; NULL: none.
void rates_write(const Rates *r, const char *const *name, FILE *out);

// The family's word in the text: "product".
const char *rates_family_name(RateFamily family);
// What an instruction is.
RateFamily rates_family(const Plan *p, const PlanInstr *instr);
// Of a kernel's text but for its name: equal work has equal keys in any plan.
uint64_t rates_kernel_key(const char *text);
// Picoseconds of what a family does at that size; at most a day.
uint64_t rates_flops_time(const Rates *r, RateFamily family, double flops);
uint64_t rates_bytes_time(const Rates *r, RateFamily family, double bytes);
// Times as long, at least 1.
double rates_beside(const Rates *r, RateFamily family, RateFamily other);
double rates_beside_both(const Rates *r, RateFamily family); // copies out and in at once
// What `time` of work becomes that runs `factor` times as long during its first `beside`
// picoseconds.
uint64_t rates_stretch(uint64_t time, double factor, uint64_t beside);
// The rate of the largest size of a curve; 0 where it has no points.
double rates_top(const RateCurve *c);
// The kernel's measured time; NULL where there is none.
const RateKernel *rates_find_kernel(const Rates *r, uint64_t key);

#endif
