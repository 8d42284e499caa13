// Inside lowering: what its files share. The pass itself is pass_lower (passes/pass.h).
#ifndef PLIM_PASSES_LOWER_H
#define PLIM_PASSES_LOWER_H

#include "passes/pass.h"
#include "passes/storage.h"

// Kernels of the plan, equal ones once.
typedef struct {
    Arena *a;
    int count, capacity;
    const Kernel **kernel;
    uint32_t *slot; // hash table of kernel index + 1; 0 free
    uint32_t slot_count;
} KernelTable;

// The index of an equal kernel, added and named if it is the first of its kind.
uint32_t kernel_table_add(KernelTable *t, Kernel *k);

// A kernel with what each operand is bound to.
enum { CALL_IMM_MAX = 64 };
typedef struct {
    Kernel *kernel;
    Place operand[KERNEL_OPERANDS_MAX]; // storage and offset
    int imm_count;
    int64_t imm[CALL_IMM_MAX];
} KernelCall;

// The kernel of a STEP_NODES or STEP_COPY step.
void lower_scalar(const StoragePlan *sp, const Step *s, Arena *a, KernelCall *out);
void lower_copy(const StoragePlan *sp, const Step *s, Arena *a, KernelCall *out);
void lower_product(const StoragePlan *sp, const Step *s, const PassOptions *options, Arena *a,
                   KernelCall *out);
void lower_convolution(const StoragePlan *sp, const Step *s, Arena *a, KernelCall *out);
void lower_attention(const StoragePlan *sp, const Step *s, Arena *a, KernelCall *out);

// The plan's spaces: a GPU's far memory is its host's, a CPU's a file.
enum { LOWER_DEVICE, LOWER_FAR };

// One entry being lowered.
typedef struct {
    PassCtx *cx;
    const Module *m;
    Plan *plan;
    KernelTable kernels;
    int buffer_capacity;
    const Graph *g;
    uint32_t entry;
    const StoragePlan *sp;
    uint32_t *buffer_of; // by storage
} Lower;

// Workers of the plan, and bytes of workspace each needs for a call of the kernel.
uint32_t lower_workers(const PassOptions *options);
size_t lower_workspace(const PassOptions *options, const Kernel *k);
// Of buffers: what cuBLASLt expects on a GPU, a cache line on a CPU.
uint32_t lower_alignment(const PassOptions *options);
uint32_t lower_add_buffer(Lower *lw, PlanBuffer b);
// The instruction of step number `position` of the entry.
PlanInstr lower_step(Lower *lw, int position);
// "file:line:col" for the plan, or "" where there is no place. Of an absolute name only the last
// part.
const char *loc_text(Arena *a, Loc loc);

#endif
