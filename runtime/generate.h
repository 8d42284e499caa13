// Generating text: a prompt through the entry prefill, then one token a call through decode.
#ifndef PLIM_RUNTIME_GENERATE_H
#define PLIM_RUNTIME_GENERATE_H

#include "runtime/options.h"
#include "runtime/session.h"

// The command. What the program must have is a convention (docs/generating.md): the entries prefill
// or prefill_N with inputs tokens i32[1, s] and length i32[], decode with token i32[1, 1] and pos
// i32[], each giving the next token first. The text goes to stdout as it comes, figures to stderr.
PlimStatus generate_run(PlimSession *s, const PlimOptions *o, PlimError *error);

#endif
