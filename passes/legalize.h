// What pass_legalize writes in other operators.
#ifndef PLIM_PASSES_LEGALIZE_H
#define PLIM_PASSES_LEGALIZE_H

#include "ir/build.h"

// The results of a batchnorm or batchnorm_grad node, in the order of ops.def.
void legalize_batchnorm(Builder *b, const Node *n, Value *out[4]);
void legalize_batchnorm_grad(Builder *b, const Node *n, Value *out[3]);

#endif
