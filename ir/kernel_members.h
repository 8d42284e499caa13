// Scalar kernels of several members: equal programs on operands of their own, as updates of small
// tensors that share a kernel. A CPU runs the whole program at each point; a GPU has one member's
// code and a block for each of them.
#ifndef PLIM_IR_KERNEL_MEMBERS_H
#define PLIM_IR_KERNEL_MEMBERS_H

#include "ir/kernel.h"

typedef struct {
    int count;         // 1: the kernel is its only member
    const Kernel *one; // the first member's program, on operands that are numbered as in the whole
    const bool *used;  // by operand: one's program has it
    const int *stands; // [member][operand]: which operand a member has in the place of one's
} KernelMembers;

// Takes the kernel apart into as many as it says (Kernel.members). False where it is not so many
// equal programs, effects in the order of members. Whatever is aligned least decides for all.
bool kernel_members_find(Arena *a, const Kernel *k, KernelMembers *out);

#endif
