// The scalar program of sample: a fixed number of walks along the row, and no sort.
//
//     m = max x; d = (x - m) / temperature, so that 0 >= d; e = e^d; S = sum e
//     least: the largest threshold for which sum of e where d >= least is still >= top_p S
//     y = d + noise where d >= least, else -inf; the result is the first class with y = max y
//
// least is found by STAGES walks that each try three thresholds (the exponentials are computed
// once for all three) and keep a quarter of the interval: 2 STAGES bisections of [-RANGE, 0]. What
// lies below -RANGE has e = 0 and no mass. The interval left is narrower than the steps between
// logits of any size that matters, so the cut is the one that sorting gives.
//
// Greedy is the same program with d = x - m and no noise. Its cost besides: 18 walks of the row.
#include "ir/op_lower.h"

#include "ir/lower_math.h"

#include <math.h>

enum { STAGES = 13, RANGE = 32 };

static KRef choose(KernelBuilder *kb, KRef condition, KRef yes, KRef no) {
    return kb_op3(kb, KOP_SELECT, condition, yes, no);
}

// sum of e where d >= threshold reaches the wanted mass
static KRef reaches(KernelBuilder *kb, KRef d, KRef e, KRef threshold, KRef mass) {
    const KRef kept = choose(kb, kb_op2(kb, KOP_LE, threshold, d), e, kb_float(kb, 0));
    return kb_op2(kb, KOP_LE, mass, kb_op1(kb, KOP_SUM, kept));
}

// The largest threshold found whose classes have top_p of the mass; -inf where all are kept.
static KRef least_kept(KernelBuilder *kb, KRef d, KRef top_p) {
    const KRef e = kb_op1(kb, KOP_EXP, d);
    const KRef mass = mul(kb, top_p, kb_op1(kb, KOP_SUM, e));
    KRef low = kb_float(kb, -RANGE);
    double width = RANGE;
    for (int stage = 0; stage < STAGES; stage++) {
        width /= 4;
        KRef next = low;
        // The masses fall from threshold to threshold: the last that holds counts.
        for (int i = 1; i < 4; i++) {
            const KRef threshold = add(kb, low, kb_float(kb, i * width));
            next = choose(kb, reaches(kb, d, e, threshold, mass), threshold, next);
        }
        low = next;
    }
    const KRef all = kb_op2(kb, KOP_LE, kb_float(kb, 1), top_p);
    return choose(kb, all, kb_float(kb, -HUGE_VAL), low);
}

// -log(-log u), u as random_unit has it but for 0, which would be -inf.
static KRef gumbel(KernelBuilder *kb, KRef seed, KRef step) {
    const KRef bits = lower_draw_bits(kb, seed, step);
    const KRef unit = fused(kb, bits, kb_float(kb, 0x1p-24), kb_float(kb, 0.5));
    const KRef inside = kb_op2(kb, KOP_MAX, unit, kb_float(kb, 0x1p-25));
    const KRef wait = kb_op1(kb, KOP_NEG, kb_op1(kb, KOP_LOG, inside));
    return kb_op1(kb, KOP_NEG, kb_op1(kb, KOP_LOG, wait));
}

// (logits, temperature, top_p, seed, step)
void lower_sample(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)n;
    const int last = kb_rank(kb) - 1;
    const KRef zero = kb_float(kb, 0), one = kb_float(kb, 1), never = kb_float(kb, -HUGE_VAL);
    const KRef greedy = kb_op2(kb, KOP_LE, in[1], zero);
    const KRef scale = choose(kb, greedy, one, divide(kb, one, in[1]));
    const KRef d = mul(kb, sub(kb, in[0], kb_op1(kb, KOP_MAXIMUM, in[0])), scale);
    const KRef kept = kb_op2(kb, KOP_LE, least_kept(kb, d, in[2]), d);
    const KRef noise = gumbel(kb, in[3], in[4]);
    const KRef drawn = choose(kb, kept, add(kb, d, noise), never);
    const KRef y = choose(kb, greedy, d, drawn);
    const KRef hit = kb_op2(kb, KOP_EQ, y, kb_op1(kb, KOP_MAXIMUM, y));
    // The first hit: the largest of the negated numbers.
    const KRef number = kb_op1(kb, KOP_NEG, kb_op1(kb, KOP_TO_F32, kb_index(kb, last)));
    const KRef first = kb_op1(kb, KOP_MAXIMUM, choose(kb, hit, number, never));
    const KRef at = kb_op1(kb, KOP_TO_I32, kb_op1(kb, KOP_NEG, first));
    // A row of NaNs hits nowhere; the result is a class even then.
    out[0] = kb_op2(kb, KOP_MIN, at, kb_int(kb, kb_dim(kb, last) - 1));
}
