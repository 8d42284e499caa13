// Models that are compiled up to where the budget's passes find them, and trained by the evaluator.
#ifndef PLIM_TESTS_MODEL_BENCH_H
#define PLIM_TESTS_MODEL_BENCH_H

#include "ir/evaluate.h"
#include "passes/pass.h"
#include "runtime/plan_rates.h"

enum { BENCH_STEPS = 2 };

typedef struct {
    Arena *a;
    PassCtx cx;
    PassOptions options; // none set
    Rates rates;         // assumed of a CPU
} Bench;

void bench_open(Bench *t);
void bench_close(Bench *t);

// Fails the test with what, after the diagnostics so far.
void bench_expect(Bench *t, bool good, const char *what);

// The module of a model's text.
Module *bench_elaborate(Bench *t, const char *text);

// The module that the pass retain would be given of a model's text.
Module *bench_module(Bench *t, const char *text);

// One call of an entry; tokens are below 24. result: as many as it has.
void bench_run(Bench *t, const Module *m, const char *entry, int step, Tensor *state,
               Tensor *result);

// First values, then BENCH_STEPS of "train". Returns the states, by id; loss: of each step.
Tensor *bench_train(Bench *t, const Module *m, double *loss);

// The same bits in each state of m.
void bench_expect_states(const Module *m, const Tensor *x, const Tensor *y, const char *what);

#endif
