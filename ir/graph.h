// A Graph: operators in single static assignment, in an order that can be executed.
//
// A value is defined once, by a node or as one of the node's several results. A graph is pure: state is
// read by `state` nodes (always the version at entry) and stored by commits, which name the value that
// becomes the state's next version when the entry ends. The order of node[] is the execution order;
// passes reorder by permuting it.
#ifndef PLIM_IR_GRAPH_H
#define PLIM_IR_GRAPH_H

#include "ir/arena.h"
#include "ir/diag.h"
#include "ir/type.h"

typedef struct Node Node;
typedef struct Value Value;
typedef struct State State;
typedef struct Graph Graph;

// The operators, one row each in ir/ops.def.
typedef enum {
#define OP(ID, ...) OP_##ID,
#include "ir/ops.def"
#undef OP
    OP_COUNT
} Op;

struct Value {
    Node *def;
    int index;        // which result of def
    uint32_t id;      // dense in the graph: side tables are arrays indexed by it
    Type type;
    const char *name; // for people; unique in the graph, or NULL: it prints as %id then
};

typedef enum { ATTR_INT, ATTR_FLOAT, ATTR_TEXT, ATTR_INTS, ATTR_FLOATS } AttrKind;

// A compile-time argument of an operator.
typedef struct {
    const char *name; // interned, as in ops.def
    AttrKind kind;
    int count;        // of ints or floats
    union {
        int64_t i;
        double f;
        const char *text;
        const int64_t *ints;
        const double *floats;
    } as;
} Attr;

// Forward and backward nodes run once for every micro-batch (Graph.repeat times a step); update nodes
// run once a step, after the last of them. `accumulate` is the only way from one to the other.
typedef enum { PHASE_FORWARD, PHASE_BACKWARD, PHASE_UPDATE } Phase;

struct Node {
    uint32_t id; // dense in the graph
    Op op;
    Phase phase;
    int input_count, result_count, attr_count;
    Value **input;
    Value *result; // result_count of them, side by side
    Attr *attr;
    const char *scope; // "h.0.attn", or "" at the top
    Loc loc;           // where the user wrote it; a pass copies it from the node it replaces
    uint32_t group;    // nodes of one non-zero group become one kernel (pass_fuse)
};

// Where the runtime takes an entry's argument from.
typedef enum {
    FROM_DATA,  // the loader named by --data
    FROM_KNOB,  // a scalar with a default, --set name=value
    FROM_STEP,  // i32[]: updates done before this one, so 0 in the first step
    FROM_STEPS, // i32[]: updates the run will do
    FROM_SEED,  // i32[]: --seed
    FROM_CALLER, // run ENTRY --in name=file
    FROM_SLOT    // i32[]: the micro-batch's number in its step, 0 .. repeat - 1
} InputSource;

// Whether each micro-batch of a step has a value of its own.
static inline bool source_by_slot(InputSource s) {
    return s == FROM_DATA || s == FROM_SLOT;
}

// A graph's argument: the `input` node that yields it, and where it comes from.
typedef struct {
    Value *value;
    InputSource source;
    const char *loader;  // FROM_DATA: the loader's name, "data"
    double fallback;     // FROM_KNOB: the default
    int64_t bound;       // i32 data must be below bound and not negative; 0: any; below zero: below -bound,
                         // and negative values are allowed (set by pass_bound)
} Input;

// Stored at the end of the entry as the state's next version.
typedef struct {
    State *state;
    Value *value;
} Commit;

typedef struct {
    const char *name; // NULL or what the entry calls it: "loss"
    Value *value;
} Result;

struct Graph {
    Arena *arena;
    const char *name;  // the entry's
    int32_t repeat;    // micro-batches a step, at least 1
    int node_count, node_capacity;
    Node **node;       // execution order
    int input_count, input_capacity;
    Input *input;
    int result_count, result_capacity;
    Result *result;
    int commit_count, commit_capacity;
    Commit *commit;
    uint32_t value_limit; // ids below it are taken
    uint32_t node_limit;
};

// Where and why a node is made: copied into it.
typedef struct {
    Loc loc;
    const char *scope;
    Phase phase;
} NodeOrigin;

NodeOrigin node_origin(const Node *n);

Graph *graph_create(Arena *a, const char *name);
// Appends a node. Inputs and attributes (with their texts) are copied. Result types are inferred by the operator; on a
// mistake a diagnostic is added at origin.loc and NULL returned.
Node *graph_add(Graph *g, Diag *d, Op op, Value *const *input, int input_count, const Attr *attr,
                int attr_count, NodeOrigin origin);
// The same with result types given (the parser checks them afterwards; internal rewrites know them).
Node *graph_add_typed(Graph *g, Op op, Value *const *input, int input_count, const Attr *attr,
                      int attr_count, const Type *result, int result_count, NodeOrigin origin);
Input *graph_add_input(Graph *g, Value *v, InputSource source);
void graph_add_result(Graph *g, const char *name, Value *v);
void graph_add_commit(Graph *g, State *s, Value *v);
// Every use of old (operands, results, commits) becomes a use of by. O(nodes); for many at once build
// a table indexed by value id and call graph_remap.
void graph_replace_uses(Graph *g, const Value *old, Value *by);
// by[id], id < value_limit, replaces value id where it is not NULL. Chains are followed.
void graph_remap(Graph *g, Value *const *by);
// Drops nodes that no result, commit or input needs; nodes without results (minimize, apply) stay.
// Returns whether any was dropped. Ids keep their gaps until graph_renumber.
bool graph_drop_dead(Graph *g);
// Stable topological order: nodes move only as far up as their users need.
void graph_sort(Graph *g);
// Dense ids again, in execution order, inputs first: the numbers that unnamed values print with.
void graph_renumber(Graph *g);
// A deep copy in another arena; states and texts (names, scopes, files) are shared, so the module must
// outlive it.
Graph *graph_copy(const Graph *g, Arena *a);

// uses[value id]: how many operands, results and commits read it.
int *graph_use_counts(const Graph *g, Arena *a);

typedef struct {
    int count;
    Node **node; // in execution order, a node once per operand
} Users;
// users[value id], results and commits not counted.
Users *graph_users(const Graph *g, Arena *a);

// The operator's row against the node: number of operands, names and kinds of attributes. Errors P0607
// and P0608 at n->loc.
bool node_check(const Node *n, Diag *d);
// How many results a node that passed node_check has.
int node_result_count(const Node *n);
// What any node's results must be, whatever the operator: within the limits (P0401) and not empty
// (P0402), so that nothing after this has to think of either. Errors at n->loc.
bool node_check_sizes(const Node *n, const Type *result, int result_count, Diag *d, Arena *scratch);
// Its results against node_check_sizes and what the operator infers. Errors P0609 and the operator's
// own, at n->loc.
bool node_check_types(const Node *n, Diag *d, Arena *scratch);
// Names of values, results, states and graphs: 1 to NAME_BYTES_MAX of [A-Za-z0-9_.-], not digits only,
// no "..".
enum { NAME_BYTES_MAX = 1024 };
bool name_is_valid(const char *name);

const Attr *node_attr(const Node *n, const char *name); // NULL where it has none
// The attribute, or the fallback where the node has none.
int64_t node_int(const Node *n, const char *name, int64_t fallback);
double node_float(const Node *n, const char *name, double fallback);
const char *node_text(const Node *n, const char *name, const char *fallback);
// count gets 0 and NULL is returned where the node has none.
const int64_t *node_ints(const Node *n, const char *name, int *count);
const double *node_floats(const Node *n, const char *name, int *count);
void node_set_attr(Graph *g, Node *n, Attr attr);

Attr attr_int(const char *name, int64_t i);
Attr attr_float(const char *name, double f);
Attr attr_text(const char *name, const char *text);
Attr attr_ints(const char *name, const int64_t *ints, int count);
Attr attr_floats(const char *name, const double *floats, int count);

#endif
