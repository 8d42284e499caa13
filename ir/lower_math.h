// Short names for the arithmetic of scalar programs, for the files that write many of them (ir/lower_*.c).
#ifndef PLIM_IR_LOWER_MATH_H
#define PLIM_IR_LOWER_MATH_H

#include "ir/kernel.h"

static inline KRef add(KernelBuilder *kb, KRef a, KRef b) {
    return kb_op2(kb, KOP_ADD, a, b);
}

static inline KRef sub(KernelBuilder *kb, KRef a, KRef b) {
    return kb_op2(kb, KOP_SUB, a, b);
}

static inline KRef mul(KernelBuilder *kb, KRef a, KRef b) {
    return kb_op2(kb, KOP_MUL, a, b);
}

static inline KRef divide(KernelBuilder *kb, KRef a, KRef b) {
    return kb_op2(kb, KOP_DIV, a, b);
}

// a b + c, rounded once.
static inline KRef fused(KernelBuilder *kb, KRef a, KRef b, KRef c) {
    return kb_op3(kb, KOP_FMA, a, b, c);
}

#endif
