// The operator table: everything the compiler knows about an operator, by Op.
//
// One operator is one row of ir/ops.def plus its functions in the file of its family (op_pointwise.c,
// op_shape.c, op_reduce.c, op_rowwise.c, op_contract.c, op_convolve.c, op_attention.c,
// op_pool.c, op_batchnorm.c, op_indexed.c, op_update.c, op_move.c, op_leaf.c). No code elsewhere knows an operator's name.
#ifndef PLIM_IR_OP_H
#define PLIM_IR_OP_H

#include "ir/graph.h"
#include "ir/kernel.h"

typedef enum {
    FAMILY_LEAF,
    FAMILY_POINTWISE,
    FAMILY_SHAPE,
    FAMILY_REDUCE,
    FAMILY_ROWWISE,
    FAMILY_CONTRACTION,
    FAMILY_CONVOLUTION,
    FAMILY_ATTENTION,
    FAMILY_CHANNEL,
    FAMILY_INDEXED,
    FAMILY_UPDATE,
    FAMILY_MOVE,    // between the device's memory and far memory
    FAMILY_TRAINING // minimize and apply: replaced by autodiff and optimize, never executed
} OpFamily;

// How an operator becomes code.
typedef enum {
    LOWER_NONE,      // argument, state: nothing runs
    LOWER_SCALAR,    // scalar program over the result's index space (pointwise)
    LOWER_ROWS,      // scalar program with reductions over the last axis (rowwise, reduce of last axis)
    LOWER_COLUMNS,   // scalar program reduced over all but the last axis
    LOWER_VIEW,      // costs nothing where strides can say it; else a copy
    LOWER_PRODUCT,   // batched matrix product
    LOWER_CONVOLUTION, // a library's convolution
    LOWER_ATTENTION, // the attention templates
    LOWER_SCATTER,   // indirect accumulate, rows in order
    LOWER_PART,      // scalar program over the second operand, stored into the first
    LOWER_MOVE,      // a copy between memory spaces
    LOWER_EXPANDED   // must be gone before lowering
} OpLowering;

enum {
    OPF_ELEMENTWISE = 1, // same shape in and out, element by element
    OPF_COMMUTES = 2,    // a op b == b op a, bit for bit
    OPF_EXPENSIVE = 4,   // exp, tanh, ...: not worth computing twice
    OPF_RANDOM = 8,      // its draws are keyed: never shared, never folded
    OPF_INPLACE = 16,    // the first result may take the first input's bytes
    OPF_FLAT = 32        // its derivative is zero wherever it has one: no gradient flows back
};

// Which iteration dims index which operand axes: the fact behind sharding, tiling and token splitting.
// operand counts inputs first, then results. axis_dim[o][a] is the iteration dim that indexes axis a of
// operand o, or -1 where the whole axis takes part for every iteration point.
enum { MAP_DIMS_MAX = 16, MAP_OPERANDS_MAX = 16 };
typedef struct {
    int dim_count;
    int64_t extent[MAP_DIMS_MAX];
    uint32_t reduced; // bit d: dim d is summed (or max-ed) away
    int operand_count;
    int8_t axis_dim[MAP_OPERANDS_MAX][RANK_MAX];
} IndexMap;

// A dense tensor of the reference evaluator: row-major doubles, whatever the dtype.
typedef struct {
    Type type;
    double *at;
} Tensor;

typedef struct {
    Arena *arena;
    bool exact;        // no rounding to the value's dtype: for finite differences
    int64_t seed, step, steps;
    int64_t micro_batch; // which of Graph.repeat, for random draws
} EvalCtx;

// Makes nodes of a gradient rule or a rewrite: see ir/build.h.
typedef struct Builder Builder;

// Result types from operand types and attributes; false after a diagnostic at n->loc.
typedef bool (*OpInfer)(const Node *n, Type *result, Diag *d, Arena *scratch);
typedef bool (*OpMap)(const Node *n, IndexMap *out);
// dresult[i] is the gradient of result i or NULL; sets dinput[i], NULL where there is none.
typedef void (*OpGradient)(Builder *b, const Node *n, Value *const *dresult, Value **dinput);
// out[i].at is allocated and zero. Dull loops, f64 accumulate; the caller rounds to the dtype.
typedef void (*OpEvaluate)(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx);
// Adds the operator's scalar program: in[i] is input i at the kernel's index, out[i] gets result i.
typedef void (*OpLower)(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out);

typedef struct {
    const char *name;
    OpFamily family;
    int input_min, input_max; // input_max -1: any number
    int result_count;         // -1: given by attributes (split)
    const char *attrs;        // "axis:int eps:float? perm:ints": kind by name; ? means optional
    unsigned flags;           // OPF_
    OpLowering lowering;
    OpInfer infer;
    OpMap map;
    OpGradient gradient;      // NULL: no gradient flows (comparisons, integers)
    OpEvaluate evaluate;
    OpLower lower;            // LOWER_SCALAR, LOWER_ROWS, LOWER_COLUMNS
    const char *help;         // one line
} OpInfo;

// The row of op. Never NULL.
const OpInfo *op_info(Op op);
// The operator of that name in text; false where there is none.
bool op_find(const char *name, Op *out);
// Whether gradients flow through the node: its operator has a rule, and the rule covers this form.
bool node_has_gradient(const Node *n);
// Which operand of attention or its gradient has the table that says what each query sees, and
// which the first query's position, the slopes of biases, a bias, and a mask; -1: none, and of other operators. Whether the
// table ends with documents.
int attention_table(const Node *n);
int attention_offset(const Node *n);
int attention_slopes(const Node *n);
int attention_bias(const Node *n);
int attention_mask(const Node *n);
bool attention_has_documents(const Node *n);
// Floating point operations of the node (each counts one), and bytes it must at least move. At most
// INT64_MAX.
int64_t node_flops(const Node *n);
int64_t node_bytes(const Node *n);

#endif
