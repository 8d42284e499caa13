// Random nodes of every operator, with operands to run them on: what the numeric tests are made of.
#ifndef PLIM_TESTS_NUMERIC_OP_SAMPLE_H
#define PLIM_TESTS_NUMERIC_OP_SAMPLE_H

#include "ir/evaluate.h"

enum { SAMPLE_OPERANDS_MAX = 16 };

// A module with one entry, "test", that holds the node, its operands as arguments, and its results.
typedef struct {
    Arena *a;
    Module *m;
    Graph *g;
    Diag *diag;
    uint64_t random;                      // the generator's state
    Node *n;                              // the node under test
    Tensor argument[SAMPLE_OPERANDS_MAX]; // by graph input
} Sample;

// A node of the operator in shapes, types and attributes drawn from seed. Floating operands lie
// where the operator is smooth. NULL n for input and state, which are in every sample anyway.
Sample sample_create(Arena *a, Op op, uint64_t seed);
// Uniform in 0..limit-1, and in low..high.
int64_t sample_int(Sample *s, int64_t limit);
double sample_float(Sample *s, double low, double high);
// A further argument of the entry, its elements drawn from low..high (integers: both included).
Value *sample_argument(Sample *s, Type t, double low, double high);
// The operand's tensor, by the node's input.
Tensor *sample_operand(Sample *s, int input);
// The node's results for the sample's operands. exact: without rounding.
void sample_evaluate(Sample *s, bool exact, Tensor *out);

#endif
