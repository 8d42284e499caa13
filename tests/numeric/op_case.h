// One operator written as text, for tests by tables.
#ifndef PLIM_TESTS_NUMERIC_OP_CASE_H
#define PLIM_TESTS_NUMERIC_OP_CASE_H

#include "ir/module.h"

// A module whose one entry is "OP %x0, %x1, ... {ATTRS}" over operands of the types ("i32[2]
// f32[]"), returning its results. attrs is NULL where there are none.
const char *op_case_text(Arena *a, const char *op, const char *operands, const char *results,
                         const char *attrs);

#endif
