// Random valid modules: one entry "train" (or a forward one), state, data and knobs, from a seed
// alone.
#ifndef PLIM_TESTS_RANDOM_GRAPH_H
#define PLIM_TESTS_RANDOM_GRAPH_H

#include "ir/module.h"

// A generator of its own, so that equal seeds give equal modules everywhere (splitmix64).
typedef struct {
    uint64_t state;
} Random;

uint64_t random_next(Random *r);
int64_t random_range(Random *r, int64_t low, int64_t high); // both inclusive

// A module with entries "init" and "main"; about size operators in main before any pass. With
// training it ends in a minimize over its parameters. Values are kept tame: bounded functions
// between growing ones.
Module *random_module(Arena *a, uint64_t seed, int size, bool training);

#endif
