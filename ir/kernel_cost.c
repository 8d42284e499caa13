// What one call of a kernel costs: floating point operations and bytes that move, from the Kernel
// alone. Estimates for choosing and reporting, never for sizes of memory. Saturating arithmetic:
// nothing overflows and nothing is walked, so any kernel that verifies is priced at once.
#include "ir/kernel_size.h"

#include "ir/check.h"
#include "ir/convolution.h"

int64_t size_times(int64_t a, int64_t b) {
    int64_t out;
    return count_mul(a, b, &out) && out < SIZE_TOO_LARGE ? out : SIZE_TOO_LARGE;
}

int64_t size_plus(int64_t a, int64_t b) {
    return a + b < SIZE_TOO_LARGE ? a + b : SIZE_TOO_LARGE; // Both at most 2^62: no overflow
}

// q, out, lse and their gradients have heads and queries; k, v and theirs groups and keys.
AttentionOperand kernel_attention_operand(const AttentionKernel *t, int operand) {
    switch (operand) {
    case 0:
        return (AttentionOperand){t->q, t->heads, t->queries, t->dim_qk};
    case 1:
        return (AttentionOperand){t->k, t->groups, t->keys, t->dim_qk};
    case 2:
        return (AttentionOperand){t->v, t->groups, t->keys, t->dim_v};
    case 3:
        return (AttentionOperand){t->out, t->heads, t->queries, t->dim_v};
    case 4:
        return (AttentionOperand){NULL, t->heads, t->queries, 1};
    case 5:
        return (AttentionOperand){t->dout, t->heads, t->queries, t->dim_v};
    case 6:
        return (AttentionOperand){t->dq, t->heads, t->queries, t->dim_qk};
    case 7:
        return (AttentionOperand){t->dk, t->groups, t->keys, t->dim_qk};
    case 8:
        return (AttentionOperand){t->dv, t->groups, t->keys, t->dim_v};
    default:
        UNREACHABLE();
    }
}

// Points of the dims in mask.
static int64_t points(const Kernel *k, uint32_t mask) {
    int64_t n = 1;
    for (int d = 0; d < k->rank; d++)
        n = mask & (1u << d) ? size_times(n, k->dim[d]) : n;
    return n;
}

// Roughly what our polynomials cost; 0 for what moves or compares.
static int64_t instr_flops(KOp op) {
    switch (op) {
    case KOP_ADD:
    case KOP_SUB:
    case KOP_MUL:
    case KOP_DIV:
    case KOP_SQRT:
    case KOP_MIN:
    case KOP_MAX:
    case KOP_SUM:
    case KOP_MAXIMUM:
    case KOP_ADD_AT:
        return 1;
    case KOP_FMA:
    case KOP_PICK:
        return 2;
    case KOP_EXP:
    case KOP_EXPM1:
    case KOP_LOG:
    case KOP_SIN:
    case KOP_COS:
    case KOP_TANH:
    case KOP_ERF:
        return 16;
    case KOP_RANDOM:
        return 64;
    default:
        return 0;
    }
}

static int64_t scalar_flops(const Kernel *k) {
    CHECK(k->instr_count <= KERNEL_INSTRS_MAX);
    // On the stack, which the CHECK above keeps large enough.
    uint32_t varies[KERNEL_INSTRS_MAX];
    kernel_variation(k, varies);
    const uint32_t all = (1u << k->rank) - 1;
    int64_t flops = 0;
    for (int i = 0; i < k->instr_count; i++) {
        const KOp op = k->instr[i].op;
        // An operation runs once for each point it varies by; a reduction visits all points to give
        // fewer.
        const uint32_t mask = kop_is_reduction(op) ? all : varies[i];
        flops = size_plus(flops, size_times(instr_flops(op), points(k, mask)));
    }
    return flops;
}

// Without causal: all keys but those before the window, which are none, ..., hidden - 1, hidden of
// them. Causal: query i sees first + i keys, but no more than the window.
int64_t attention_pairs(int64_t queries, int64_t keys, bool causal, int64_t window) {
    const int64_t most = window > 0 && window < keys ? window : keys;
    if (!causal) {
        // From the last query backwards: `hidden` keys are missed, then one less each, down to none
        // or to the first query: an arithmetic series of `cut` terms.
        const int64_t hidden = keys - most;
        const int64_t cut = hidden < queries ? hidden : queries;
        return size_times(queries, keys) - size_times(cut, 2 * hidden - cut + 1) / 2;
    }
    const int64_t first = keys > queries ? keys - queries + 1 : 1;
    if (first >= most)
        return size_times(keys - first + 1, most);
    // Queries that see first, first + 1, ..., most keys, then keys - most of them that see the
    // whole window.
    const int64_t triangle = size_times(first + most, most - first + 1) / 2;
    return size_plus(triangle, size_times(keys - most, most));
}

bool attention_cap_good(double cap) {
    return cap == 0 || (cap >= 1e-3 && cap <= 1e6);
}

int64_t attention_pair_count(const AttentionKernel *t, const int64_t stride[4]) {
    const int64_t dim[4] = {t->batch, t->heads, t->queries, t->keys};
    int64_t count = 1;
    for (int i = 0; i < 4; i++)
        count = size_times(count, stride[i] > 0 ? dim[i] : 1);
    return count;
}

// Of all heads of the batch together.
static int64_t kernel_pairs(const AttentionKernel *t) {
    const int64_t heads = size_times(t->batch, t->heads);
    return size_times(heads, attention_pairs(t->queries, t->keys, t->causal, t->window));
}

int64_t kernel_flops(const Kernel *k) {
    const ProductKernel *p = &k->product;
    const AttentionKernel *t = &k->attention;
    // width: operations per pair of query and key, a multiply and an add for each dim.
    int64_t width;
    switch (k->kind) {
    case KERNEL_SCALAR:
        return scalar_flops(k);
    case KERNEL_PRODUCT:
        return size_times(size_times(2 * p->batch[0], p->batch[1]),
                          size_times(size_times(p->m, p->n), p->k));
    case KERNEL_CONVOLUTION:
        return convolution_flops(&k->convolution.shape);
    case KERNEL_ATTENTION: // Scores and weighted values
        width = size_times(2, t->dim_qk + t->dim_v);
        return size_times(kernel_pairs(t), width);
    case KERNEL_ATTENTION_GRAD: // Scores again, dq, dk; dp, dv
        width = size_times(2, 3 * t->dim_qk + 2 * t->dim_v);
        return size_times(kernel_pairs(t), width);
    case KERNEL_ATTENTION_GRAD_BIAS: // Scores again, dp
        width = size_times(2, t->dim_qk + t->dim_v);
        return size_times(kernel_pairs(t), width);
    }
    UNREACHABLE();
}

// Elements of a scalar kernel's operand that are touched: every point it varies by, but no more
// than there are.
static int64_t scalar_touched(const Kernel *k, int operand) {
    uint32_t mask = 0;
    bool moved = false;
    for (int i = 0; i < k->instr_count; i++)
        moved = moved || (k->instr[i].operand == operand && k->instr[i].limit > 1);
    for (int d = 0; d < k->rank; d++)
        // A gathered or scattered operand may be touched anew at every point.
        mask |= moved || k->operand[operand].stride[d] != 0 ? 1u << d : 0;
    const int64_t n = points(k, mask);
    const int64_t span = kernel_span(k, operand);
    return n < span ? n : span;
}

int64_t kernel_bytes(const Kernel *k) {
    int64_t bytes = 0;
    for (int o = 0; o < kernel_operand_count(k); o++) {
        int64_t n = 0;
        if (k->kind == KERNEL_SCALAR) {
            n = scalar_touched(k, o);
        } else if (k->kind == KERNEL_PRODUCT) {
            const ProductKernel *p = &k->product;
            n = o == 0   ? size_times(p->m, p->k)
                : o == 1 ? size_times(p->k, p->n)
                : o == 3 ? p->n
                         : size_times(p->m, p->n);
            n = size_times(n, size_times(p->batch[0], p->batch[1]));
        } else if (k->kind == KERNEL_CONVOLUTION) {
            n = convolution_elements(&k->convolution, o);
        } else if (o == kernel_attention_extra(k)) {
            n = attention_extra_count(k);
        } else if (o == kernel_attention_slopes(k)) {
            n = k->attention.heads;
        } else if (attention_pair_strides(k, o)) {
            n = attention_pair_count(&k->attention, attention_pair_strides(k, o));
        } else {
            const AttentionOperand t = kernel_attention_operand(&k->attention, o);
            n = size_times(size_times(k->attention.batch, t.heads),
                           size_times(t.positions, t.width));
        }
        // What is updated is read and written.
        const int64_t times = kernel_access(k, o) == ACCESS_UPDATE ? 2 : 1;
        bytes = size_plus(bytes, size_times(n, times * (int64_t)dtype_bytes(kernel_dtype(k, o))));
    }
    return bytes;
}
