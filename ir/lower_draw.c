// The scalar program of sample: a few walks along the row, and no sort.
//
//     m = max x; d = (x - m) / temperature, so that 0 >= d; e = e^d; S = sum e
//     greedy: the first class with x = m
//     else: pick the largest d + noise among the classes that make up top_p S
//
// The pick (ir/kernel.h) finds the largest of all first and asks whether it is kept, which is so in
// most rounds. Each of the two ways stands under a condition that is the same along the row, so
// that the other's walks are not made.
#include "ir/op_lower.h"

#include "ir/lower_math.h"

#include <math.h>

static KRef choose(KernelBuilder *kb, KRef condition, KRef yes, KRef no) {
    return kb_op3(kb, KOP_SELECT, condition, yes, no);
}

// -log(-log u), u as random_unit has it but for 0, which would be -inf.
static KRef gumbel(KernelBuilder *kb, const Node *n, KRef seed, KRef step) {
    const KRef bits = lower_draw_bits(kb, n, seed, step);
    const KRef unit = fused(kb, bits, kb_float(kb, 0x1p-24), kb_float(kb, 0.5));
    const KRef inside = kb_op2(kb, KOP_MAX, unit, kb_float(kb, 0x1p-25));
    const KRef wait = kb_op1(kb, KOP_NEG, kb_op1(kb, KOP_LOG, inside));
    return kb_op1(kb, KOP_NEG, kb_op1(kb, KOP_LOG, wait));
}

// The first class with the largest logit. A row of NaNs hits nowhere: infinity then.
static KRef greedy_class(KernelBuilder *kb, KRef x, KRef most, KRef greedy) {
    const KRef never = kb_float(kb, -HUGE_VAL);
    // The first hit is the largest of the negated numbers.
    const KRef index = kb_index(kb, kb_rank(kb) - 1);
    const KRef number = kb_op1(kb, KOP_NEG, kb_op1(kb, KOP_TO_F32, index));
    const KRef hit = choose(kb, kb_op2(kb, KOP_EQ, x, most), number, never);
    const KRef first = kb_op1(kb, KOP_MAXIMUM, choose(kb, greedy, hit, never));
    return kb_op1(kb, KOP_TO_I32, kb_op1(kb, KOP_NEG, first));
}

// (logits, temperature, top_p, seed, step)
void lower_sample(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    const KRef zero = kb_float(kb, 0), one = kb_float(kb, 1), never = kb_float(kb, -HUGE_VAL);
    const KRef greedy = kb_op2(kb, KOP_LE, in[1], zero), drawn = kb_op1(kb, KOP_NOT, greedy);
    const KRef most = kb_op1(kb, KOP_MAXIMUM, in[0]);
    const KRef d = mul(kb, sub(kb, in[0], most), divide(kb, one, in[1]));
    const KRef e = kb_op1(kb, KOP_EXP, d);
    const KRef mass = mul(kb, in[2], kb_op1(kb, KOP_SUM, choose(kb, drawn, e, zero)));
    // From 1 on all are kept, whatever the sum's last bits.
    const KRef all = kb_op2(kb, KOP_LE, one, in[2]);
    const KRef wanted = choose(kb, all, kb_float(kb, HUGE_VAL), mass);
    const KRef y = choose(kb, drawn, add(kb, d, gumbel(kb, n, in[3], in[4])), never);
    const KRef picked = kb_pick(kb, d, e, y, wanted);
    const KRef at = choose(kb, greedy, greedy_class(kb, in[0], most, greedy), picked);
    // The result is a class whatever the numbers are.
    out[0] = kb_op2(kb, KOP_MIN, at, kb_int(kb, kb_dim(kb, kb_rank(kb) - 1) - 1));
}
