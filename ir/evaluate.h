// The reference evaluator: the oracle every executable is held against. Slow, plain, f64 inside.
#ifndef PLIM_IR_EVALUATE_H
#define PLIM_IR_EVALUATE_H

#include "ir/module.h"
#include "ir/op.h"

// A step's arguments: one tensor per graph input and micro-batch, input-major
// (argument[i * repeat + r]; inputs that are the same by slot use r = 0 only), and every state's tensor.
typedef struct {
    Tensor *argument;
    Tensor *state; // by State.id; graph_evaluate stores the commits into it
} EvalInput;

// Runs the entry once (repeat micro-batches, then the update phase). result[i] is allocated in
// cx->arena. Results and commits from forward or backward nodes are those of the last micro-batch.
// TRAINING operators must be gone.
void graph_evaluate(const Module *m, const Graph *g, EvalInput *in, Tensor *result, const EvalCtx *cx);
// One node: out[i].at allocated in cx->arena, rounded to the dtype unless cx->exact.
void node_evaluate(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx);

Tensor tensor_create(Arena *a, Type type);
// Rounds to the nearest value the dtype can hold (f32, bf16: to nearest even; i32: truncates; bool: 0/1).
double dtype_round(DType dtype, double x);

// Philox4x32-10 (Salmon et al., SC'11) as every back end computes it: element index and the key
// (seed, step, key attribute) give 32 bits.
uint32_t random_bits(int64_t seed, int64_t step, int64_t key, int64_t index);
// Uniform in [0, 1) with 24 bits, and the normal that random_normal makes of the same bits.
float random_unit(uint32_t bits);
float random_gauss(uint32_t bits);

#endif
