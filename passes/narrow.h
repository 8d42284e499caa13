// Storing as bf16 what is only ever read as bf16.
#ifndef PLIM_PASSES_NARROW_H
#define PLIM_PASSES_NARROW_H

#include "passes/pass.h"

// Changes f32 parameters that no entry updates and every entry reads through casts to bf16 into
// bf16 state, with a remark for each. The numbers read are the same.
PassResult narrow_states(Module *m, PassCtx *cx);

#endif
