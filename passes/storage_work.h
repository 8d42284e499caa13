// Inside the choice of storage: what its phases hand on (storage.c, storage_home.c,
// storage_place.c, storage_steps.c).
#ifndef PLIM_PASSES_STORAGE_WORK_H
#define PLIM_PASSES_STORAGE_WORK_H

#include "passes/state_parts.h"
#include "passes/storage.h"

#define STORAGE_END INT32_MAX // a time after every task

// The axes of a value from slowest to fastest, where it is known; count 0: row-major.
typedef struct {
    int8_t count, axis[RANK_MAX];
} AxisOrder;

typedef struct {
    Step *step;
    int count, capacity;
} StepList;

typedef struct {
    const Module *m;
    const Graph *g;
    const Tasks *tasks;
    Arena *a;
    StoragePlan *sp;
    const uint32_t *first_alike; // storage_first_alike's answer, once it was asked
    const Value **root;          // by value id: what a view looks at; itself otherwise
    int32_t *last_use;   // by value id: time of the last task that reads the value or a view of it
    Place *home;         // by value id: where it must be computed to, or storage STORAGE_NONE
    AxisOrder *axes;     // by value id
    bool *used, *stored; // by value id: read at all; read outside its task
    bool *viewed;        // by value id: read by a view or concat
    bool *far;           // by value id: in far memory
    bool *pitched;       // by value id: rows begin at multiples of 16 bytes
    bool *leaving;       // by value id of a root: it is offloaded
    bool *constant_needed;       // by value id of a constant: must be in memory
    bool *committed;             // by commit: its value is computed straight into the state
    const Value **old;           // by state id: a `state` node's result, linked by
    const Value **next_old;      // by value id: the next one of the same state
    const StateReader **readers; // by state id
    bool *is_committed;          // by value id
    bool *state_committed;       // by state id
    bool *is_gradient;           // by value id of a root: an update operator reads it
    bool *direct;                // by value id: a product that adds straight into its accumulator
    const Value **accumulator;   // by value id of such a product: the accumulator
    int32_t *time_of;            // by task
    int32_t *task_at;            // by time
    int32_t *busy;               // by storage: time of the last task that reads anything in it
    int task;                    // whose steps are being made; see Step
    StorageTakeovers *apart;     // where takeovers are listed instead of made, or NULL
    StepList list[STEP_SEGMENT_COUNT];
} StorageWork;

// By value id: the first value of the same number (ir/value_number.h): itself, or what it is a copy
// of, by running again or by coming back from far memory.
const uint32_t *storage_first_alike(StorageWork *w);
uint32_t storage_add(StorageWork *w, const Type *t, PlanBufferKind kind, const Value *owner);
uint32_t storage_of_state(StorageWork *w, const State *s);
void storage_read_until(StorageWork *w, uint32_t storage, int32_t time);
// The value is read after every task, and so is what it is a view of.
void storage_read_at_end(StorageWork *w, const Value *v);
StepSegment task_segment(const StorageWork *w, int task);
bool node_is_view(const Node *n);

// Phase 2.
void storage_choose_homes(StorageWork *w);
// Phase 3: which values' rows are set apart (storage_pitch.c).
void storage_choose_pitches(StorageWork *w);
// The value's type with rows as long as they lie apart: its memory is a dense tensor of it.
Type storage_memory_type(const StorageWork *w, const Value *v);
// Whether result v of the task may be written over the value x, which the task reads, for x's
// storage is dead after it.
bool storage_may_overwrite(const StorageWork *w, int task, const Value *x, const Value *v);

// Whether attention takes a matrix of its rank from there as it is, or writes it there: the head
// dim is contiguous, and where strides let a GPU go through it 16 bytes at a time, it begins so.
bool storage_suits_attention(const Place *p, const Type *t);

// Phases 4 and 5.
void storage_make_steps(StorageWork *w);
// value at `from`, or a constant, is written to `to`: as many steps as that takes.
void storage_copy(StorageWork *w, const Node *for_node, StepSegment segment, const Value *value,
                  const Place *from, const Place *to);
// The steps of offload and fetch (storage_move.c).
void storage_move(StorageWork *w, int task, const Node *n);
// Where the sum that the step of n adds to is in far memory: it adds to a copy, which comes in
// before the step is pushed and goes out again behind it.
void storage_fetch_sum(StorageWork *w, Step *s, const Node *n);
void storage_return_sum(StorageWork *w, const Step *s, const Node *n);
// Memory for a value that has no home and takes over none.
uint32_t storage_of_value(StorageWork *w, const Value *v);
// The place is taken by the value.
void storage_set_place(StorageWork *w, const Value *v, const Place *p);
// Whether it is in far memory.
bool storage_is_far(const StorageWork *w, const Place *p);
// The axis order the result would have on its own.
AxisOrder storage_axes(const StorageWork *w, const Node *n, int result);
// Whether the storage can be written at this time as if it were new; where takeovers are listed,
// at some time.
bool storage_is_free(const StorageWork *w, uint32_t storage, int32_t time, const Type *t);
// The operand's storage could be the result's.
void storage_list_takeover(StorageWork *w, uint32_t result, uint32_t operand);
// A dying operand's place, or fresh memory.
Place storage_free_place(StorageWork *w, int task, const Value *v, AxisOrder axes);

#endif
