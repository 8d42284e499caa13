// Inside the printer of CUDA C: what its files share.
//
// Names in printed text: pO operand O, immI an immediate, iD the row's position along dim D, atO
// operand O's element at the row's first column, c a vector's first column, e a lane of it, vI the
// value of operation I, lI and kI arrays of its lanes (loaded, kept), rI what a thread has joined
// of reduction I, held what shared memory has of the row.
#ifndef PLIM_CODEGEN_CUDA_PRINT_H
#define PLIM_CODEGEN_CUDA_PRINT_H

#include "codegen/cuda.h"
#include "ir/launch_hold.h"

#include <stdio.h>

// Text being written.
typedef struct {
    FILE *out;
    int indent; // steps of four spaces
} CudaText;
// A line, or several, each indented; format has no newline at its end.
void cuda_put(CudaText *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
// A line that ends with {, and what closes it.
void cuda_open(CudaText *t, const char *format, ...) __attribute__((format(printf, 2, 3)));
void cuda_close(CudaText *t);
// The function's head, for one of the kernel's launches; ends with {.
void cuda_head(CudaText *t, const Kernel *k, const KernelLaunches *launches, int launch);

// A scalar kernel being printed.
typedef struct {
    CudaText *t;
    Arena *a;
    const Kernel *k;       // one member's, where it has some
    KernelMembers members; // whose it is
    ScalarWalks w;
    ScalarLaunch s;
    const char *index;       // type of positions and offsets: "int" or "long long"
    const char *count;       // the same without sign: of numbers that are divided
    uint32_t local;          // dims that the loop being printed walks
    bool tail;               // columns are no multiple of a vector's
    const char *begin, *end; // of the columns being walked
    const char **lanes;      // by operation: an array with the current vector's lanes, or NULL
    bool *ready;             // by operation: its variable is in scope
    bool *tiled;             // by operation: a load that comes from tileI; NULL: none does
    bool *dear;  // by operation: kept by the first walk that computes it, in kI; NULL: nothing is
    bool *never; // by operation: a comparison that no lane being printed meets; NULL: none
    const ScalarHold *hold; // what loads find in shared memory; NULL: nothing
} CudaScalar;

void cuda_print_scalar(CudaScalar *cs, GpuArch arch, const KernelLaunches *launches);
void cuda_print_rows(CudaScalar *cs, const KernelLaunches *launches);
void cuda_print_tiles(CudaScalar *cs, const KernelLaunches *launches);
void cuda_print_scatter(CudaScalar *cs, const KernelLaunches *launches);
void cuda_print_columns(CudaScalar *cs, const KernelLaunches *launches);
void cuda_print_product(CudaText *t, const Kernel *k, const KernelLaunches *launches);
void cuda_print_convolution(CudaText *t, const Kernel *k, const KernelLaunches *launches);

// Values (cuda_print_value.c).
const char *cuda_value_type(DType t);  // in registers
const char *cuda_memory_type(DType t); // in memory
bool cuda_is_load(const CudaScalar *cs, KRef i);
// const T vI = ...; loads included.
void cuda_print_value(CudaScalar *cs, KRef i);
// vI from a lane of its array, or computed: in a loop over e.
void cuda_print_lane(CudaScalar *cs, KRef i);
// All lanes of a load along the column into an array; what its index needs is in scope. In a loop
// over e where cuda_loads_by_lane says so, else outside of one.
bool cuda_loads_by_lane(const CudaScalar *cs, KRef i);
void cuda_print_load(CudaScalar *cs, KRef i, const char *array);
// All lanes of a load that is held: the copies that bring them to shared memory.
void cuda_print_copies(CudaScalar *cs, KRef i);
// An effect along the column: its part in the loop over e, and what follows that loop.
void cuda_print_effect_lane(CudaScalar *cs, KRef i);
void cuda_print_effect_vector(CudaScalar *cs, KRef i);
bool cuda_stores_vector(const CudaScalar *cs, KRef i);
// An effect that is one element; `also` is a condition more, or "".
void cuda_print_effect_once(CudaScalar *cs, KRef i, const char *also);
// The positions iD and offsets atO of the row `row` in scope.
void cuda_print_position(CudaScalar *cs);
// Offsets of operands that are the same in all rows, where there is no row.
void cuda_print_origin(CudaScalar *cs);
// vI of operations that don't differ along `along` and wait for `depth` reductions, as far as they
// aren't there.
void cuda_print_scalars(CudaScalar *cs, uint32_t along, int depth);
// What a reduction starts from, and "rI = rI + vJ" or the like, of an element named `into`.
const char *cuda_start(const CudaScalar *cs, KRef i);
void cuda_print_join(CudaScalar *cs, const char *into, KRef i);

// Arrays wI with the lanes of values that differ along the column only and wait for `depth`
// reductions (cuda_print_columns.c). `inside` is in scope.
void cuda_print_column_values(CudaScalar *cs, int depth);

// Walks (cuda_print_walk.c): loops over n = 0 .. batch - 1, one vector of columns each.
typedef enum {
    WALK_APART, // loads of all vectors first, then what is computed of them
    WALK_KEPT   // the row's data are in registers; what else is loaded, as it is needed
} WalkKind;
typedef struct CudaWalk {
    WalkKind kind;
    int batch;
    int stage;                     // makes the reductions of depth stage + 1, or the effects
    bool waits;                    // for the copies of what is held: of all walks the first
    void (*point)(CudaScalar *cs); // prints c (and the row) of vector n, and opens one block
    void (*lane)(CudaScalar *cs,
                 const void *user); // in the loop over e, in place of what the stage makes
    const void *user;
    const KRef *root; // what that wants computed
    int root_count;
} CudaWalk;
void cuda_print_walk(CudaScalar *cs, const CudaWalk *w);
// Loads and keeps: lI [batch][lanes] of every load chosen, which from here on come from there.
void cuda_print_keep(CudaScalar *cs, const CudaWalk *w, const bool *chosen);
// A pick (cuda_print_pick.c): v of operation i, for the row in scope.
void cuda_print_pick(CudaScalar *cs, KRef i);
// One walk along the row in scope (cuda_print_rows.c): a loop over its columns around
// cuda_print_walk.
void cuda_print_row_walk(CudaScalar *cs, CudaWalk w);

#endif
