// Executing a plan: one arena a space, kernels on a worker pool, streams as threads with events.
#ifndef PLIM_RUNTIME_RUN_H
#define PLIM_RUNTIME_RUN_H

#include "runtime/plan.h"

// Generated code: see ir/kernel.h for the meaning of each argument.
typedef void PlimKernelFn(void *const *operand, const int64_t *imm, int64_t begin, int64_t end,
                          void *workspace);

// Code generated for one architecture of GPUs, "sm_90a"; several may be for the same. A table of
// them ends with an arch of NULL.
typedef struct {
    const char *arch;
    const uint8_t *bytes;
    uint64_t size;
} PlimCubin;

typedef struct PlimRun PlimRun;

typedef struct {
    int threads; // at least 1 and at most plan->workers
    // The caller's memory for the device space, at a multiple of PLAN_ARENA_ALIGNMENT, or NULL:
    // taken from the system.
    void *arena;
    uint64_t arena_bytes; // of the caller's
} RunOptions;

// Allocates the arenas and everything else; nothing is allocated afterwards. The plan has passed
// plan_verify and outlives the run; kernel has a function per plan kernel (NULL for library
// products). PLIM_BAD_INPUT where the caller's arena is too small or crooked.
PlimStatus run_new(const Plan *p, PlimKernelFn *const *kernel, const RunOptions *options,
                   PlimRun **out, PlimError *error);
// Gives everything back but the caller's arena. NULL is allowed.
void run_release(PlimRun *r);

// Runs one entry's program to its end. Inputs have been written to their buffers. PLIM_MACHINE
// where a library's product failed, PLIM_BAD_INPUT where an observer refused; contents are then
// undefined.
PlimStatus run_entry(PlimRun *r, const PlanEntry *entry, PlimError *error);
// The same without the instructions that are marked, by number in the program (program.h).
PlimStatus run_entry_without(PlimRun *r, const PlanEntry *entry, const bool *unwanted,
                             PlimError *error);

// One instruction of an entry's program, as observers see it.
typedef struct {
    const PlanEntry *entry;
    uint32_t call;              // index in the entry's program
    const PlanSegment *segment; // of that call
    uint32_t index;             // of the instruction in the segment
    const PlanInstr *instr;
    void *const *operand; // addresses, by operand
} RunMoment;

typedef enum {
    RUN_WAITS,  // its stream has come to it, and waits for what must be done before
    RUN_BEGINS, // nothing is left to wait for
    RUN_ENDS    // its results are there, and nobody has been told that they are
} RunStage;

// Told of every instruction; for traces, checksums, checks, and to hold one back. Functions may be
// NULL.
typedef struct {
    void *context;
    // On the instruction's own stream; several streams may call at once. False with a sentence in
    // error ends the run.
    bool (*instruction)(void *context, const RunMoment *at, RunStage stage, PlimError *error);
    // On a worker, before (begins) and after each share of the instruction's tiles that it takes.
    void (*tiles)(void *context, const RunMoment *at, int worker, bool begins);
} RunObserver;

enum { RUN_OBSERVERS_MAX = 4 };
// Adds an observer, told before those that were there, until run_forget removes it or the last
// entry has run. Not while an entry runs, and no more than RUN_OBSERVERS_MAX.
void run_observe(PlimRun *r, const RunObserver *observer);
void run_forget(PlimRun *r, const RunObserver *observer);

// Worker threads, the calling one counted.
int run_workers(const PlimRun *r);
// The bytes of a buffer.
void *run_buffer(const PlimRun *r, uint32_t buffer);
// Bytes of all arenas: what the plan promised.
uint64_t run_arena_bytes(const PlimRun *r);

#endif
