// Scalar programs of updates: one parameter element from its gradient, PyTorch's formulas in
// PyTorch's order. Scalars that change by step (lr, clipping, bias corrections) are operands, never
// baked in.
#include "ir/op_lower.h"

#include "ir/lower_math.h"

// x times a compile-time factor.
static KRef scaled(KernelBuilder *kb, KRef x, double factor) {
    return factor == 1 ? x : mul(kb, x, kb_float(kb, factor));
}

// in[1] is the accumulator before this micro-batch.
void lower_accumulate(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)n;
    out[0] = add(kb, in[1], in[0]);
}

// g + decay w: weight decay as a part of the gradient.
static KRef decayed(KernelBuilder *kb, const Node *n, KRef w, KRef g) {
    const double decay = node_float(n, "decay", 0);
    return decay == 0 ? g : add(kb, g, scaled(kb, w, decay));
}

// (w, g, lr): w - lr (g + decay w)
void lower_sgd(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    out[0] = sub(kb, in[0], mul(kb, in[2], decayed(kb, n, in[0], in[1])));
}

// (w, m, g, lr): m' = momentum m + g, w' = w - lr m'; Nesterov: w - lr (g + momentum m')
void lower_momentum(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    const double momentum = node_float(n, "momentum", 0);
    const KRef g = decayed(kb, n, in[0], in[2]);
    const KRef m = add(kb, scaled(kb, in[1], momentum), g);
    const bool nesterov = node_int(n, "nesterov", 0) != 0;
    const KRef step = nesterov ? add(kb, g, scaled(kb, m, momentum)) : m;
    out[0] = sub(kb, in[0], mul(kb, in[3], step));
    out[1] = m;
}

// (w, m, v, g, lr, gscale, c1, c2), c = 1 - beta^t: with g' = g gscale,
// m' = b1 m + (1 - b1) g', v' = b2 v + (1 - b2) g'^2,
// w' = w (1 - lr decay) - lr (m' / c1) / (sqrt(v' / c2) + eps)
void lower_adamw(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    const double beta1 = node_float(n, "beta1", 0), beta2 = node_float(n, "beta2", 0);
    const double eps = node_float(n, "eps", 0), decay = node_float(n, "decay", 0);
    const KRef lr = in[4], g = mul(kb, in[3], in[5]);
    const KRef m = add(kb, scaled(kb, in[1], beta1), scaled(kb, g, 1 - beta1));
    const KRef v = add(kb, scaled(kb, in[2], beta2), scaled(kb, mul(kb, g, g), 1 - beta2));
    const KRef keep = sub(kb, kb_float(kb, 1), scaled(kb, lr, decay));
    const KRef shrunk = decay == 0 ? in[0] : mul(kb, in[0], keep);
    const KRef root = kb_op1(kb, KOP_SQRT, divide(kb, v, in[7]));
    const KRef step = divide(kb, divide(kb, m, in[6]), add(kb, root, kb_float(kb, eps)));
    out[0] = sub(kb, shrunk, mul(kb, lr, step));
    out[1] = m;
    out[2] = v;
}
