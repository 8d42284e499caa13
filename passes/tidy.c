// Simplification once more, over what autodiff and optimize made: see simplify.c.
#include "passes/simplify.h"

PassResult pass_tidy(Module *m, PassCtx *cx) {
    return simplify_module(m, cx, "tidy");
}
