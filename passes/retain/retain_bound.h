// Bytes of the device that no plan of these operators can do without.
#ifndef PLIM_PASSES_RETAIN_RETAIN_BOUND_H
#define PLIM_PASSES_RETAIN_RETAIN_BOUND_H

#include "passes/retain/retain_ladder.h"

// Of a variant. Proved: whatever is kept, computed again or moved, and in whatever order the
// operators run; far: values may be moved. Kept in the variant: each is looked at once.
uint64_t retain_bound_variant(RetainVariant *v, bool far);
// The least over the ladder's variants.
uint64_t retain_bound(const RetainLadder *l, bool far);

#endif
