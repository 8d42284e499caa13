// Where every value of a graph lives, and the list of steps that compute them: the last thing
// decided on graphs, shared by the choice of an order (which needs exact live ranges) and by
// lowering (which makes one instruction a step).
#ifndef PLIM_PASSES_STORAGE_H
#define PLIM_PASSES_STORAGE_H

#include "ir/module.h"
#include "ir/op.h"
#include "passes/place.h"
#include "passes/tasks.h"
#include "runtime/plan.h"

// A byte range to be: one buffer of the plan.
typedef struct {
    size_t bytes;
    DType dtype;
    PlanBufferKind kind;
    const State *state;  // the state that lives here in every entry, or NULL
    int32_t input;       // index in Graph.input, or -1
    bool far;            // in far memory, not the device's
    bool leaving;        // a copy out of it may be under way while others run
    bool carried;        // an accumulator: zero-filled before the first micro-batch
    const Value *owner;  // gives name, scope, place in the text, shape; NULL for unread states
    int32_t first, last; // steps; first > last: never touched
} Storage;

typedef enum { STEP_PROLOGUE, STEP_BODY, STEP_UPDATE, STEP_SEGMENT_COUNT } StepSegment;

typedef enum {
    STEP_NODES, // one kernel for node[0..node_count-1]
    STEP_COPY, // value (at from, or a constant) is written to `to`; a move where one of them is far
    STEP_FILL  // zeros in all of storage to.storage, or in the dense bytes of `to` where value is
               // set
} StepKind;

// One instruction to be.
typedef struct {
    StepKind kind;
    StepSegment segment;
    Node *const *node; // STEP_NODES
    int node_count;
    // STEP_NODES: places of all inputs, node by node, where a copy stands in for one, or NULL
    const Place *in;
    const Place *out;   // of one node: places of its results, likewise
    bool accumulate;    // a product that adds to what its result's place holds
    bool row;           // einsum_add whose summand is added as a row (product_takes_row)
    const Value *value; // STEP_COPY, STEP_FILL: what is written
    const Type *type;   // STEP_COPY, STEP_FILL: its shape
    Place from, to;
    const Node *for_node; // whom to name: the node this step serves
    int task;             // whom it belongs to; -1: before every task; the number of tasks: after
    int touch_count;
    const uint32_t *touch; // storages read or written
} Step;

typedef struct {
    const Graph *g;
    int storage_count, storage_capacity;
    Storage *storage;
    Place *place;            // by value id; storage STORAGE_NONE where the value is in no memory
    const Node **constant;   // by value id: the constant it is a view of, or NULL
    uint32_t *state_storage; // by state id, or STORAGE_NONE where this entry doesn't touch it
    uint32_t *input_storage; // by input index
    Place *result;           // by result index: dense
    int step_count, step_capacity;
    Step *step;                          // prologue, body, update
    int segment_end[STEP_SEGMENT_COUNT]; // step index past the segment's last
} StoragePlan;

// Chooses storage for a graph whose node order is final. Everything returned is in a.
StoragePlan *storage_plan(const Module *m, const Graph *g, const Tasks *tasks, Arena *a);

// A result that takes over an operand's storage where nobody needs the operand afterwards.
typedef struct {
    int task;
    uint32_t result, operand; // storages, of the same bytes
} StorageTakeover;

typedef struct {
    int count, capacity;
    StorageTakeover *item; // a result's in order of preference
} StorageTakeovers;

// The same, but every result has a storage of its own, and the takeovers that orders could allow
// are listed instead: what the choice of an order is made from.
StoragePlan *storage_plan_apart(const Module *m, const Graph *g, const Tasks *tasks, Arena *a,
                                StorageTakeovers *out);

// The places a step reads input i and writes result i of its node n.
// The number of input i of node n among the inputs of all nodes of the step.
int step_input_number(const Step *s, const Node *n, int i);
Place step_input(const StoragePlan *sp, const Step *s, const Node *n, int i);
Place step_result(const StoragePlan *sp, const Step *s, const Node *n, int i);
// Whether a copy is one between memories: of one range of bytes, far on one side.
bool step_is_move(const StoragePlan *sp, const Step *s);
// Whether anything outside its kernel reads the value.
bool storage_is_stored(const StoragePlan *sp, const Value *v);

// Bytes as they count in an arena: rounded up to the alignment.
enum { STORAGE_ALIGNMENT = 64 };
size_t storage_padded(size_t bytes);
// Bytes of the device that states take.
uint64_t storage_state_bytes(const Module *m);
// The largest sum of live bytes of the device over the steps. Persistent storages aren't counted.
uint64_t storage_load(const StoragePlan *sp);

#endif
