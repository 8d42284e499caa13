// Executing a plan, on whatever device it was made for: entries, the bytes of buffers, observers.
#ifndef PLIM_RUNTIME_RUN_H
#define PLIM_RUNTIME_RUN_H

#include "runtime/plan.h"

// Code generated for the CPU: see ir/kernel.h for the meaning of each argument.
typedef void PlimKernelFn(void *const *operand, const int64_t *imm, int64_t begin, int64_t end,
                          void *workspace);

// Code generated for one architecture of GPUs, "sm_90a"; several may be for the same. A table of
// them ends with an arch of NULL.
typedef struct {
    const char *arch;
    const uint8_t *bytes;
    uint64_t size;
    // Functions by other names: "k9 k7\n" for each that the plan calls k9 and this code k7, whose
    // machine code is the same. NULL or "": none.
    const char *same;
} PlimCubin;

typedef struct PlimRun PlimRun;

typedef struct {
    int threads; // at least 1 and at most plan->workers
    // The caller's memory for the device space, at a multiple of PLAN_ARENA_ALIGNMENT, or NULL:
    // taken from the system. For a GPU it is the GPU's memory, at a multiple of PLAN_GPU_ALIGNMENT.
    void *arena;
    uint64_t arena_bytes;   // of the caller's
    const PlimCubin *cubin; // for a GPU
    const char *tune;       // file of measured algorithms for a GPU's products, or NULL
    // Folder for what a plan for the CPU keeps on disk; NULL: TMPDIR, else the current folder.
    const char *far_folder;
} RunOptions;

// Opens the plan's device and allocates the arenas and everything else; nothing is allocated
// afterwards. The plan has passed plan_verify and outlives the run; kernel has a function per plan
// kernel (NULL for library products). PLIM_BAD_INPUT where the caller's arena is too small or
// crooked, PLIM_MACHINE where the device or a library is missing, PLIM_IO where the disk can't hold
// what the plan keeps there.
PlimStatus run_new(const Plan *p, PlimKernelFn *const *kernel, const RunOptions *options,
                   PlimRun **out, PlimError *error);
// Gives everything back but the caller's arena. NULL is allowed.
void run_release(PlimRun *r);

// Runs one entry's program to its end. Inputs have been written to their buffers. PLIM_MACHINE
// where a library's product or the device failed, PLIM_IO where the disk did, PLIM_BAD_INPUT where
// an observer refused; contents are then undefined.
PlimStatus run_entry(PlimRun *r, const PlanEntry *entry, PlimError *error);
// The same without the instructions that are marked, by number in the program (program.h).
PlimStatus run_entry_without(PlimRun *r, const PlanEntry *entry, const bool *unwanted,
                             PlimError *error);
// The same with each instruction computed by itself, also where the device would compute some
// together: for who measures them.
PlimStatus run_entry_apart(PlimRun *r, const PlanEntry *entry, PlimError *error);

// Copies bytes to and from a buffer, from offset on. Between entries, on the thread that runs them;
// other threads read through a window (run_window.h). PLIM_MACHINE where the device fails.
PlimStatus run_write(PlimRun *r, uint32_t buffer, uint64_t offset, const void *from, uint64_t bytes,
                     PlimError *error);
PlimStatus run_read(PlimRun *r, uint32_t buffer, uint64_t offset, void *to, uint64_t bytes,
                    PlimError *error);

// Measures which algorithm is fastest for each of the plan's products on this device, and writes
// what RunOptions.tune reads. Contents of all buffers are lost. PLIM_BAD_INPUT where the device
// leaves no choice.
PlimStatus run_tune(PlimRun *r, FILE *out, PlimError *error);

// One instruction of an entry's program, as observers see it.
typedef struct RunMoment RunMoment;
struct RunMoment {
    const PlanEntry *entry;
    uint32_t call;              // index in the entry's program
    const PlanSegment *segment; // of that call
    uint32_t index;             // of the instruction in the segment
    const PlanInstr *instr;
    void *const *operand; // addresses in the device's memory, by operand
    // What run_operand calls; NULL: the device's memory is the program's own.
    const void *(*show)(const RunMoment *at, uint32_t operand, PlimError *error);
    void *device;
};

// The bytes of an operand, from inside an observer and until it returns or asks again. NULL with a
// sentence where the device does not give them.
const void *run_operand(const RunMoment *at, uint32_t operand, PlimError *error);

typedef enum {
    RUN_WAITS,  // its stream has come to it, and waits for what must be done before
    RUN_BEGINS, // nothing is left to wait for
    RUN_ENDS    // its results are there, and nobody has been told that they are
} RunStage;

// Seconds of clock_seconds at which an instruction came to its stages.
typedef struct {
    double waits, begins, ends;
} RunTimes;

// Told of every instruction; for traces, checksums, checks, and to hold one back. Functions may be
// NULL.
//
// A GPU is handed whole entries and asked nothing until they end. An observer that gives entry or
// times is told by these there, and an entry in which any gives neither is run one instruction at a
// time, which is much slower.
typedef struct {
    void *context;
    // On the instruction's own stream; several streams may call at once. False with a sentence in
    // error ends the run.
    bool (*instruction)(void *context, const RunMoment *at, RunStage stage, PlimError *error);
    // On a worker, before (begins) and after each share of the instruction's tiles that it takes.
    void (*tiles)(void *context, const RunMoment *at, int worker, bool begins);
    // GPU: before anything of the entry is handed over; false as above.
    bool (*entry)(void *context, const PlanEntry *entry, PlimError *error);
    // GPU: of each instruction once the entry has ended, by the device's own clock.
    void (*times)(void *context, const RunMoment *at, const RunTimes *times);
} RunObserver;

enum { RUN_OBSERVERS_MAX = 4 };
// Adds an observer, told before those that were there, until run_forget removes it or the last
// entry has run. Not while an entry runs, and no more than RUN_OBSERVERS_MAX.
void run_observe(PlimRun *r, const RunObserver *observer);
void run_forget(PlimRun *r, const RunObserver *observer);

// Worker threads, the calling one counted; 0 on a GPU.
int run_workers(const PlimRun *r);
// A buffer's address in the device's memory: the program's own where the device is the CPU. What
// stands there may not be looked at where run_shows is false: on a GPU, and in far memory.
void *run_address(const PlimRun *r, uint32_t buffer);
bool run_shows(const PlimRun *r, uint32_t buffer);
// Bytes of the arenas in the device's memory: what the plan promised.
uint64_t run_arena_bytes(const PlimRun *r);
// Where far memory is, for people: the folder, and what to know of it as the rest of a sentence or
// "". NULL where there is none on a disk.
const char *run_far_folder(const PlimRun *r, const char **caveat);

#endif
