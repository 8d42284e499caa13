// Problems of ordering and packing that were solved before, with their answers.
#ifndef PLIM_PASSES_MEMORY_MEMORY_KNOWN_H
#define PLIM_PASSES_MEMORY_MEMORY_KNOWN_H

#include "passes/memory/memory_solve.h"
#include "passes/pass.h"

// As memory_solve, but for a problem among `known` (a list, NULL: none) what it answered then; an
// order found without search only where the options allow such.
MemoryAnswer memory_solve_unless_known(const MemoryKnown *known, const OrderGraph *og,
                                       const OrderOptions *options, Arena *scratch, int *order);
// The list with one more, which lives in a; without it where the answer was found under a limit
// that it doesn't keep, so that without one it might be another.
const MemoryKnown *memory_known_add(const MemoryKnown *known, const OrderGraph *og,
                                    const OrderOptions *options, const MemoryAnswer *answer,
                                    const int *order, Arena *a);
// Copies of the list's items before `until` (NULL: all), in a, before those of `behind`.
const MemoryKnown *memory_known_copy(const MemoryKnown *known, const MemoryKnown *until,
                                     const MemoryKnown *behind, Arena *a);

#endif
