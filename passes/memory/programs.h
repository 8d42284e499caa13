// Integer programs on a compilation's behalf: written with --dump-mip, solved with --effort 2 or
// more where searches leave a gap.
#ifndef PLIM_PASSES_MEMORY_PROGRAMS_H
#define PLIM_PASSES_MEMORY_PROGRAMS_H

#include "passes/memory/memory_solve.h"
#include "passes/memory/pack.h"
#include "passes/pass.h"

// The least --effort that solves them.
enum { EFFORT_PROGRAMS = 2 };

// Of an entry's segments, ordered already. What is found is put into the order and the answer.
// False after a diagnostic.
bool programs_order(PassCtx *cx, const char *entry, const OrderGraph *og, MemoryAnswer *answer,
                    int *order);

// Of an entry's buffers, packed already. What is found is put into the items' offsets and the
// answer. False after a diagnostic.
bool programs_pack(PassCtx *cx, const char *entry, PackItem *item, int count, PackAnswer *packed);

#endif
