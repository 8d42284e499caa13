// The interpreter of kernels: the oracle for the printers in codegen/. Dull on purpose. Values are
// doubles whatever their type; only stores (and ROUND_BF16, TO_I32, i32 arithmetic) round. A scalar
// program runs operation by operation over a strip of columns of one row, so a strip's loads are
// done before its stores. Products and attention follow their definitions. Needs a verified kernel.
// Cost: points x operations.
#include "ir/kernel.h"

#include "ir/check.h"
#include "ir/convolution.h"
#include "ir/evaluate.h"
#include "ir/kernel_size.h"

#include <math.h>
#include <string.h>

// Columns of a strip, at most: of a ROWS kernel without reductions, and of a COLUMNS kernel. They
// bound the memory, operations x strip doubles.
enum { STRIP_COLUMNS = 16384, COLUMN_STRIP = 64 };

// Element `at` of a tensor, widened to f64; exact for every type.
static double element_load(DType dtype, const void *base, int64_t at) {
    uint32_t bits;
    float f;
    switch (dtype) {
    case DT_F32:
        return (double)((const float *)base)[at];
    case DT_BF16:
        // bf16 is the upper half of an f32.
        bits = (uint32_t)((const uint16_t *)base)[at] << 16;
        memcpy(&f, &bits, sizeof f);
        return (double)f;
    case DT_I32:
        return (double)((const int32_t *)base)[at];
    case DT_BOOL:
        return ((const uint8_t *)base)[at] != 0;
    case DT_COUNT:
        break;
    }
    UNREACHABLE();
}

// Rounds the value to the type, as dtype_round has it.
static void element_store(DType dtype, void *base, int64_t at, double value) {
    uint32_t bits;
    const float f = (float)dtype_round(dtype, value);
    switch (dtype) {
    case DT_F32:
        ((float *)base)[at] = f;
        return;
    case DT_BF16:
        memcpy(&bits, &f, sizeof bits);
        ((uint16_t *)base)[at] = (uint16_t)(bits >> 16);
        return;
    case DT_I32: // An i32 is exact in a double, not in a float
        ((int32_t *)base)[at] = (int32_t)value;
        return;
    case DT_BOOL:
        ((uint8_t *)base)[at] = value != 0;
        return;
    case DT_COUNT:
        break;
    }
    UNREACHABLE();
}

// A strip of columns of one row, and where everything is.
typedef struct {
    const Kernel *k;
    void *const *operand;
    const int64_t *imm;
    double **value;                    // by operation: one number a column of the strip
    bool *after;                       // by operation: depends on a reduction
    int64_t index[KERNEL_DIMS_MAX];    // of the row; the column's is `column`
    int64_t column, columns;           // the strip
    int64_t base[KERNEL_OPERANDS_MAX]; // element at the strip's first column
} Strip;

// Moves the strip to `columns` columns of a row from `column` on, and every operand's base with it.
// Rows are numbered row-major over the dims before the last.
static void strip_set(Strip *s, int64_t row, int64_t column, int64_t columns) {
    const Kernel *k = s->k;
    s->column = column;
    s->columns = columns;
    for (int d = k->rank - 2; d >= 0; d--) {
        s->index[d] = row % k->dim[d];
        row /= k->dim[d];
    }
    s->index[k->rank - 1] = column;
    for (int o = 0; o < k->operand_count; o++) {
        s->base[o] = 0;
        for (int d = 0; d < k->rank; d++)
            s->base[o] += s->index[d] * k->operand[o].stride[d];
    }
}

// The position an index means: one out of range moves to the nearest end, as generated code has it.
static int64_t clamp(double index, int64_t limit) {
    return index < 0 ? 0 : index >= (double)limit ? limit - 1 : (int64_t)index;
}

// Loads and stores of column c of the strip.
static void run_memory(Strip *s, int i, int64_t c) {
    const KInstr *in = &s->k->instr[i];
    const KOperand *o = &s->k->operand[in->operand];
    void *const base = s->operand[in->operand];
    int64_t at = s->base[in->operand] + c * o->stride[s->k->rank - 1];
    switch (in->op) {
    case KOP_LOAD_AT:
        at += clamp(s->value[in->arg[0]][c], in->limit) * in->step;
        s->value[i][c] = element_load(o->dtype, base, at);
        return;
    case KOP_LOAD:
        s->value[i][c] = element_load(o->dtype, base, at);
        return;
    case KOP_STORE_AT:
        at += clamp(s->value[in->arg[1]][c], in->limit) * in->step;
        element_store(o->dtype, base, at, s->value[in->arg[0]][c]);
        return;
    case KOP_ADD_AT:
        // Unlike STORE_AT, a negative index adds nothing.
        if (s->value[in->arg[1]][c] < 0)
            return;
        at += clamp(s->value[in->arg[1]][c], in->limit) * in->step;
        element_store(o->dtype, base, at,
                      element_load(o->dtype, base, at) + s->value[in->arg[0]][c]);
        return;
    default: // STORE
        element_store(o->dtype, base, at, s->value[in->arg[0]][c]);
    }
}

// The low 32 bits as i32: what integer arithmetic keeps.
static double wrap(int64_t x) {
    return (double)(int32_t)(uint32_t)(uint64_t)x;
}

// In i64, where no result of two i32 overflows, not even the quotient of the least number and -1.
// Division by 0 gives 0 rather than a trap.
static double int_arithmetic(KOp op, int64_t a, int64_t b) {
    switch (op) {
    case KOP_ADD:
        return wrap(a + b);
    case KOP_SUB:
        return wrap(a - b);
    case KOP_MUL:
        return wrap(a * b);
    case KOP_DIV:
        return b == 0 ? 0 : wrap(a / b);
    case KOP_NEG:
        return wrap(-a);
    case KOP_ABS:
        return wrap(a < 0 ? -a : a);
    case KOP_MIN:
        return (double)(a < b ? a : b);
    case KOP_MAX:
        return (double)(a > b ? a : b);
    default:
        UNREACHABLE();
    }
}

// f32 to i32: towards 0, ends at the ends of the range, NaN gives 0.
static double saturate(double x) {
    if (x != x)
        return 0;
    return x <= INT32_MIN ? INT32_MIN : x >= INT32_MAX ? INT32_MAX : trunc(x);
}

// An operation without memory, index or reduction; x are its operands.
static double run_value(const KInstr *in, DType of, const double x[4]) {
    // The operations ADD .. ABS of the table that i32 has too; FMA lies among them but is f32 only.
    if (of == DT_I32 && in->dtype == DT_I32 && in->op >= KOP_ADD && in->op <= KOP_ABS)
        return int_arithmetic(in->op, (int64_t)x[0], (int64_t)x[1]);
    switch (in->op) {
    case KOP_ADD:
        return x[0] + x[1];
    case KOP_SUB:
        return x[0] - x[1];
    case KOP_MUL:
        return x[0] * x[1];
    case KOP_DIV:
        return x[0] / x[1];
    case KOP_FMA:
        return fma(x[0], x[1], x[2]);
    case KOP_MIN:
        // A NaN on either side gives the second operand, here and in MAX.
        return x[0] < x[1] ? x[0] : x[1];
    case KOP_MAX:
        return x[0] > x[1] ? x[0] : x[1];
    case KOP_NEG:
        return -x[0];
    case KOP_ABS:
        return fabs(x[0]);
    case KOP_SQRT:
        return sqrt(x[0]);
    case KOP_EXP:
        return exp(x[0]);
    case KOP_EXPM1:
        return expm1(x[0]);
    case KOP_LOG:
        return log(x[0]);
    case KOP_SIN:
        return sin(x[0]);
    case KOP_COS:
        return cos(x[0]);
    case KOP_TANH:
        return tanh(x[0]);
    case KOP_ERF:
        return erf(x[0]);
    case KOP_EQ:
        return x[0] == x[1];
    case KOP_NE:
        return x[0] != x[1];
    case KOP_LT:
        return x[0] < x[1];
    case KOP_LE:
        return x[0] <= x[1];
    case KOP_AND:
        return x[0] != 0 && x[1] != 0;
    case KOP_OR:
        return x[0] != 0 || x[1] != 0;
    case KOP_NOT:
        return x[0] == 0;
    case KOP_SELECT:
        return x[0] != 0 ? x[1] : x[2];
    case KOP_TO_F32:
        return dtype_round(DT_F32, x[0]);
    case KOP_TO_I32:
        return saturate(x[0]);
    case KOP_ROUND_BF16:
        return dtype_round(DT_BF16, x[0]);
    case KOP_RANDOM:
        return wrap(random_bits((int64_t)x[0], (int64_t)x[1], (int64_t)x[2], (int64_t)x[3]));
    default:
        UNREACHABLE();
    }
}

// Operations that stand for a number whatever the point.
static bool run_leaf(const Strip *s, int i, int64_t c) {
    const KInstr *in = &s->k->instr[i];
    switch (in->op) {
    case KOP_CONST:
        s->value[i][c] = in->dtype == DT_F32 ? in->as.f : (double)in->as.i;
        return true;
    case KOP_IMM:
        s->value[i][c] = wrap(s->imm[in->as.i]);
        return true;
    case KOP_INDEX:
        s->value[i][c] = wrap(s->index[in->as.i] + (in->as.i == s->k->rank - 1 ? c : 0));
        return true;
    default:
        return false;
    }
}

// One operation over the whole strip. `of` is the operands' type: comparisons give bool whatever
// they compare.
static void run_instr(Strip *s, int i) {
    const KInstr *in = &s->k->instr[i];
    const DType of = in->arg[0] >= 0 ? s->k->instr[in->arg[0]].dtype : in->dtype;
    for (int64_t c = 0; c < s->columns; c++) {
        if (in->operand >= 0) {
            run_memory(s, i, c);
        } else if (!run_leaf(s, i, c)) {
            double x[4] = {0};
            for (int j = 0; j < kop_arity(in->op); j++)
                x[j] = s->value[in->arg[j]][c];
            s->value[i][c] = run_value(in, of, x);
        }
    }
}

// What an empty reduction gives, and so its neutral element.
static double reduce_start(KOp op) {
    return op == KOP_SUM ? 0 : -(double)INFINITY;
}

// In order and in f64: the oracle needs no fixed shape of the sum, only more bits than the targets.
static double reduce_step(KOp op, double sum, double x) {
    return op == KOP_SUM ? sum + x : (x > sum ? x : sum);
}

// The sum of e above column c: what is kept before it.
static double mass_above(const Strip *s, const KInstr *in, int64_t c) {
    const double *d = s->value[in->arg[0]], *e = s->value[in->arg[1]];
    double sum = 0;
    for (int64_t j = 0; j < s->columns; j++)
        sum += d[j] > d[c] ? e[j] : 0;
    return sum;
}

// As the definition has it, for the columns that would replace the best so far.
static double run_pick(const Strip *s, const KInstr *in) {
    const double *y = s->value[in->arg[2]], mass = s->value[in->arg[3]][0];
    double best = -(double)INFINITY, at = 0;
    for (int64_t c = 0; c < s->columns; c++) {
        if (!(y[c] > best))
            continue;
        const double above = mass_above(s, in, c);
        if (above > 0 && above >= mass)
            continue;
        best = y[c];
        at = (double)c;
    }
    return at;
}

// All operations in program order; a reduction's result is repeated in every column, so that what
// follows reads it like any other value. Where there is a reduction the strip is the whole row.
static void run_row(Strip *s) {
    for (int i = 0; i < s->k->instr_count; i++) {
        const KInstr *in = &s->k->instr[i];
        if (!kop_is_reduction(in->op)) {
            run_instr(s, i);
            continue;
        }
        double sum = in->op == KOP_PICK ? run_pick(s, in) : reduce_start(in->op);
        for (int64_t c = 0; in->op != KOP_PICK && c < s->columns; c++)
            sum = reduce_step(in->op, sum, s->value[in->arg[0]][c]);
        for (int64_t c = 0; c < s->columns; c++)
            s->value[i][c] = sum;
    }
}

// One strip of columns down all rows; what depends on a reduction once, at the end.
static void run_columns(Strip *s, int64_t rows, int64_t column, int64_t columns) {
    const Kernel *k = s->k;
    for (int i = 0; i < k->instr_count; i++)
        for (int64_t c = 0; kop_is_reduction(k->instr[i].op) && c < columns; c++)
            s->value[i][c] = reduce_start(k->instr[i].op);
    for (int64_t row = 0; row < rows; row++) {
        strip_set(s, row, column, columns);
        for (int i = 0; i < k->instr_count; i++) {
            const KInstr *in = &k->instr[i];
            if (!s->after[i])
                run_instr(s, i);
            for (int64_t c = 0; kop_is_reduction(in->op) && c < columns; c++)
                s->value[i][c] = reduce_step(in->op, s->value[i][c], s->value[in->arg[0]][c]);
        }
    }
    // What depends on a reduction does not vary by row (the verifier refuses it), so row 0 stands
    // for all of them.
    strip_set(s, 0, column, columns);
    for (int i = 0; i < k->instr_count; i++)
        if (s->after[i] && !kop_is_reduction(k->instr[i].op))
            run_instr(s, i);
}

static void interpret_scalar(const Kernel *k, void *const *operand, const int64_t *imm) {
    Arena *a = arena_create();
    Strip s = {.k = k, .operand = operand, .imm = imm};
    s.after = arena_array(a, bool, k->instr_count + 1);
    s.value = arena_array(a, double *, k->instr_count + 1);
    const bool reduces = kernel_reduces(k, s.after);
    const int64_t all = k->dim[k->rank - 1];
    // A row that is reduced must be one strip.
    int64_t strip = k->axis == KERNEL_COLUMNS ? COLUMN_STRIP : reduces ? all : STRIP_COLUMNS;
    strip = strip < all ? strip : all;
    for (int i = 0; i < k->instr_count; i++)
        s.value[i] = arena_array(a, double, strip);
    // Column by column of strips; within one, all rows from the first to the last.
    int64_t rows = 1;
    for (int d = 0; d + 1 < k->rank; d++)
        rows *= k->dim[d];
    for (int64_t column = 0; column < all; column += strip) {
        const int64_t columns = all - column < strip ? all - column : strip;
        if (k->axis == KERNEL_COLUMNS) {
            run_columns(&s, rows, column, columns);
            continue;
        }
        for (int64_t row = 0; row < rows; row++) {
            strip_set(&s, row, column, columns);
            run_row(&s);
        }
    }
    arena_release(a);
}

// c[b0, b1, m, n] (+)= sum over k of a[b0, b1, m, k] * b[b0, b1, k, n], one point of c after the
// other.
static void interpret_product(const ProductKernel *p, void *const *operand) {
    for (int64_t point = 0; point < p->batch[0] * p->batch[1] * p->m * p->n; point++) {
        const int64_t n = point % p->n, m = point / p->n % p->m;
        const int64_t b1 = point / p->n / p->m % p->batch[1];
        const int64_t b0 = point / p->n / p->m / p->batch[1];
        const int64_t a_at = b0 * p->a_stride[0] + b1 * p->a_stride[1] + m * p->a_stride[2];
        const int64_t b_at = b0 * p->b_stride[0] + b1 * p->b_stride[1] + n * p->b_stride[3];
        const int64_t c_at =
            b0 * p->c_stride[0] + b1 * p->c_stride[1] + m * p->c_stride[2] + n * p->c_stride[3];
        // Summed in f64 with what is there, rounded once.
        double sum = p->accumulate ? element_load(p->c, operand[2], c_at)
                     : p->bias     ? element_load(p->c, operand[3], n)
                                   : 0;
        for (int64_t k = 0; k < p->k; k++)
            sum += element_load(p->a, operand[0], a_at + k * p->a_stride[3]) *
                   element_load(p->b, operand[1], b_at + k * p->b_stride[2]);
        element_store(p->c, operand[2], c_at, sum);
    }
}

// Whether the table lets query i see key j, of batch row b.
static bool is_listed(const AttentionKernel *t, const void *table, int64_t b, int64_t i,
                      int64_t j) {
    const int64_t row = b * attention_table_row(t);
    const int64_t ids = row + (t->interval ? 2 * t->queries : 0);
    if (t->interval && (j < (int64_t)element_load(DT_I32, table, row + i) ||
                        j >= (int64_t)element_load(DT_I32, table, row + t->queries + i)))
        return false;
    return !t->documents || element_load(DT_I32, table, ids + i + t->keys - t->queries) ==
                                element_load(DT_I32, table, ids + j);
}

// Of a query and a key.
static double product_of(const AttentionKernel *t, void *const *operand, int64_t q_at,
                         int64_t k_at) {
    double sum = 0;
    for (int64_t e = 0; e < t->dim_qk; e++)
        sum += element_load(t->dtype, operand[0], q_at + e) *
               element_load(t->dtype, operand[1], k_at + e);
    return sum;
}

// The operands behind those that every kernel has: the offset or the table, and what stands there
// of scores.
typedef struct {
    const void *extra, *slopes, *bias, *mask;
} Beside;

static Beside beside_operands(const Kernel *k, void *const *operand) {
    const int at[4] = {kernel_attention_extra(k), kernel_attention_slopes(k),
                       kernel_attention_bias(k), kernel_attention_mask(k)};
    const void *to[4];
    for (int i = 0; i < 4; i++)
        to[i] = at[i] < 0 ? NULL : operand[at[i]];
    return (Beside){to[0], to[1], to[2], to[3]};
}

// Where a pair's number lies; at: batch, head, query.
static int64_t pair_place(const int64_t stride[4], const int64_t at[3], int64_t key) {
    return at[0] * stride[0] + at[1] * stride[1] + at[2] * stride[2] + key * stride[3];
}

// beside: the key that the query stands beside; at: batch, head, query.
static double score_of(const AttentionKernel *t, const Beside *of, double product,
                       const int64_t at[3], int64_t key, int64_t beside) {
    const double x = product * t->scale;
    double score = t->cap > 0 ? t->cap * tanh(x / t->cap) : x;
    if (t->slopes)
        score += element_load(DT_F32, of->slopes, at[1]) * (double)(key - beside);
    if (t->bias)
        score += element_load(t->bias_dtype, of->bias, pair_place(t->bias_at, at, key));
    return score;
}

// How much a score grows with its product.
static double score_growth(const AttentionKernel *t, void *const *operand, int64_t q_at,
                           int64_t k_at) {
    if (t->cap == 0)
        return t->scale;
    const double tanh_of = tanh(product_of(t, operand, q_at, k_at) * t->scale / t->cap);
    return t->scale * (1 - tanh_of * tanh_of);
}

// One query's view: its probabilities over the keys, 0 where it doesn't see one.
static void probabilities(const AttentionKernel *t, void *const *operand, const Beside *of,
                          const int64_t at[3], double *score, double *lse) {
    const int64_t b = at[0], h = at[1], i = at[2];
    // score [keys] holds scores first, then probabilities.
    const int64_t g = h / (t->heads / t->groups);
    const int64_t q_at = b * t->q[0] + h * t->q[1] + i * t->q[2];
    // It sees the keys begin <= j < end; with more queries than keys the first ones see none.
    int64_t shift = t->keys - t->queries;
    if (t->offset) {
        const int64_t offset = (int64_t)element_load(DT_I32, of->extra, 0);
        shift = offset < 0 ? 0 : offset < shift ? offset : shift;
    }
    const int64_t beside = i + shift; // The key the query stands beside
    int64_t end = t->causal ? beside + 1 : t->keys;
    end = end < 0 ? 0 : end;
    const int64_t begin = t->window > 0 && beside >= t->window ? beside - t->window + 1 : 0;
    // Scores, and the largest, which is taken out of the exponents so that none overflows.
    double most = -(double)INFINITY, sum = 0;
    for (int64_t j = begin; j < end; j++) {
        const int64_t k_at = b * t->k[0] + g * t->k[1] + j * t->k[2];
        score[j] = -(double)INFINITY;
        if (!is_listed(t, of->extra, b, i, j) ||
            (t->mask && element_load(DT_BOOL, of->mask, pair_place(t->mask_at, at, j)) == 0))
            continue;
        score[j] = score_of(t, of, product_of(t, operand, q_at, k_at), at, j, beside);
        most = score[j] > most ? score[j] : most;
    }
    for (int64_t j = begin; j < end; j++)
        sum += score[j] == -(double)INFINITY ? 0 : exp(score[j] - most);
    // A query without keys: the log of an empty sum, and no probability anywhere.
    *lse = sum == 0 ? -(double)INFINITY : most + log(sum);
    for (int64_t j = 0; j < t->keys; j++)
        score[j] =
            j < begin || j >= end || score[j] == -(double)INFINITY ? 0 : exp(score[j] - *lse);
}

// out[i] = sum over j of p[i, j] v[j], and lse, for every (batch, head, query).
static void interpret_attention(const Kernel *k, void *const *operand) {
    const AttentionKernel *t = &k->attention;
    Arena *a = arena_create();
    const Beside of = beside_operands(k, operand);
    // p [keys], of the query at hand.
    double *p = arena_array(a, double, t->keys);
    for (int64_t row = 0; row < t->batch * t->heads * t->queries; row++) {
        const int64_t i = row % t->queries, h = row / t->queries % t->heads;
        const int64_t b = row / t->queries / t->heads, g = h / (t->heads / t->groups);
        double lse;
        probabilities(t, operand, &of, (int64_t[]){b, h, i}, p, &lse);
        element_store(DT_F32, operand[4], row, lse);
        for (int64_t f = 0; f < t->dim_v; f++) {
            double sum = 0;
            // What a query does not see may hold anything: 0 times it need not be 0.
            for (int64_t j = 0; j < t->keys; j++)
                sum += p[j] == 0 ? 0
                                 : p[j] * element_load(t->dtype, operand[2],
                                                       b * t->v[0] + g * t->v[1] + j * t->v[2] + f);
            element_store(t->dtype, operand[3], b * t->out[0] + h * t->out[1] + i * t->out[2] + f,
                          sum);
        }
    }
    arena_release(a);
}

// Sums of one batch and group, in f64: rounded once at the end.
typedef struct {
    double *p, *dp;       // [keys], of one query
    double *dq, *dk, *dv; // [queries, e] of one head; [keys, e], [keys, f] of the group
} GradSums;

// What query i of head h has of p and of dp[j] = dout . v[j]; returns delta, the sum of p dp.
// Computes p anew: the operands out and lse, rounded as they are, go unread.
static double query_gradient(const Kernel *k, void *const *operand, const int64_t at[3], double *p,
                             double *dp) {
    const AttentionKernel *t = &k->attention;
    const int64_t g = at[1] / (t->heads / t->groups);
    const int64_t do_at = at[0] * t->dout[0] + at[1] * t->dout[1] + at[2] * t->dout[2];
    double lse, delta = 0;
    const Beside of = beside_operands(k, operand);
    probabilities(t, operand, &of, at, p, &lse);
    for (int64_t j = 0; j < t->keys; j++) {
        const int64_t v_at = at[0] * t->v[0] + g * t->v[1] + j * t->v[2];
        dp[j] = 0;
        for (int64_t f = 0; f < t->dim_v; f++)
            dp[j] += element_load(t->dtype, operand[5], do_at + f) *
                     element_load(t->dtype, operand[2], v_at + f);
        delta += p[j] * dp[j];
    }
    return delta;
}

// Adds what query i of head h contributes: dv[j] += p[j] dout, ds[j] = p[j] (dp[j] - delta) times
// the growth of the score, dq += ds[j] k[j], dk[j] += ds[j] q.
static void grad_query(const Kernel *kernel, void *const *operand, int64_t b, int64_t h, int64_t i,
                       const GradSums *s) {
    const AttentionKernel *t = &kernel->attention;
    const int64_t g = h / (t->heads / t->groups);
    const int64_t do_at = b * t->dout[0] + h * t->dout[1] + i * t->dout[2];
    const int64_t q_at = b * t->q[0] + h * t->q[1] + i * t->q[2];
    const double delta = query_gradient(kernel, operand, (int64_t[]){b, h, i}, s->p, s->dp);
    for (int64_t j = 0; j < t->keys; j++) {
        const int64_t k_at = b * t->k[0] + g * t->k[1] + j * t->k[2];
        const double ds = s->p[j] * (s->dp[j] - delta) * score_growth(t, operand, q_at, k_at);
        for (int64_t f = 0; f < t->dim_v; f++)
            s->dv[j * t->dim_v + f] += s->p[j] * element_load(t->dtype, operand[5], do_at + f);
        for (int64_t e = 0; e < t->dim_qk; e++) {
            s->dq[i * t->dim_qk + e] += ds * element_load(t->dtype, operand[1], k_at + e);
            s->dk[j * t->dim_qk + e] += ds * element_load(t->dtype, operand[0], q_at + e);
        }
    }
}

// Rounds and stores from [rows, width]; rows of the tensor lie `stride` elements apart.
static void store_rows(DType dtype, void *to, int64_t at, int64_t stride, const double *from,
                       int64_t rows, int64_t width) {
    for (int64_t i = 0; i < rows; i++)
        for (int64_t e = 0; e < width; e++)
            element_store(dtype, to, at + i * stride + e, from[i * width + e]);
}

static void interpret_attention_grad(const Kernel *k, void *const *operand) {
    const AttentionKernel *t = &k->attention;
    // Query heads per key/value head.
    const int64_t per_group = t->heads / t->groups;
    for (int64_t point = 0; point < t->batch * t->groups; point++) {
        const int64_t b = point / t->groups, g = point % t->groups;
        Arena *a = arena_create();
        GradSums s = {.p = arena_array(a, double, t->keys), .dp = arena_array(a, double, t->keys)};
        s.dk = arena_array(a, double, t->keys * t->dim_qk);
        s.dv = arena_array(a, double, t->keys * t->dim_v);
        for (int64_t h = g * per_group; h < (g + 1) * per_group; h++) {
            // dq is one head's own and starts from 0; dk and dv run on over the heads of the group.
            s.dq = arena_array(a, double, t->queries * t->dim_qk);
            for (int64_t i = 0; i < t->queries; i++)
                grad_query(k, operand, b, h, i, &s);
            store_rows(t->dtype, operand[6], b * t->dq[0] + h * t->dq[1], t->dq[2], s.dq,
                       t->queries, t->dim_qk);
        }
        store_rows(t->dtype, operand[7], b * t->dk[0] + g * t->dk[1], t->dk[2], s.dk, t->keys,
                   t->dim_qk);
        store_rows(t->dtype, operand[8], b * t->dv[0] + g * t->dv[1], t->dv[2], s.dv, t->keys,
                   t->dim_v);
        arena_release(a);
    }
}

// The scores' gradients p (dp - delta), summed where they share a place, rounded once.
static void interpret_attention_grad_bias(const Kernel *k, void *const *operand) {
    const AttentionKernel *t = &k->attention;
    Arena *a = arena_create();
    const int64_t span = kernel_span(k, 6);
    double *sum = arena_array(a, double, span), *p = arena_array(a, double, t->keys);
    double *dp = arena_array(a, double, t->keys);
    bool *written = arena_array(a, bool, span);
    for (int64_t row = 0; row < t->batch * t->heads * t->queries; row++) {
        const int64_t at[3] = {row / t->queries / t->heads, row / t->queries % t->heads,
                               row % t->queries};
        const double delta = query_gradient(k, operand, at, p, dp);
        for (int64_t j = 0; j < t->keys; j++) {
            const int64_t place = pair_place(t->dbias_at, at, j);
            sum[place] += p[j] * (dp[j] - delta);
            written[place] = true;
        }
    }
    for (int64_t i = 0; i < span; i++)
        if (written[i])
            element_store(t->bias_dtype, operand[6], i, sum[i]);
    arena_release(a);
}

// Summed in f64, rounded once.
static void interpret_convolution(const ConvolutionKernel *k, void *const *operand) {
    const int64_t terms = convolution_flops(&k->shape) / 2, count = convolution_span(k, 2);
    Arena *a = arena_create();
    double *sum = arena_array(a, double, count);
    const ConvolutionPart first = convolution_operand(k, 0), second = convolution_operand(k, 1);
    for (int64_t t = 0; t < terms; t++) {
        int64_t at[3];
        if (!convolution_term(&k->shape, k->x_stride, k->y_stride, t, at))
            continue;
        sum[at[k->part]] += element_load(k->dtype[0], operand[0], at[first]) *
                            element_load(k->dtype[1], operand[1], at[second]);
    }
    // What lies between images is left alone.
    const int64_t elements = convolution_elements(k, 2), batch = k->shape.batch;
    const bool weights = k->part == CONVOLVE_W;
    const int64_t images = weights ? 1 : batch, one = elements / images;
    const int64_t step = k->part == CONVOLVE_X ? k->x_stride : k->y_stride;
    for (int64_t n = 0; n < images; n++)
        for (int64_t i = 0; i < one; i++)
            element_store(k->dtype[2], operand[2], n * step + i, sum[n * step + i]);
    arena_release(a);
}

void kernel_interpret(const Kernel *k, void *const *operand, const int64_t *imm) {
    switch (k->kind) {
    case KERNEL_SCALAR:
        interpret_scalar(k, operand, imm);
        return;
    case KERNEL_PRODUCT:
        interpret_product(&k->product, operand);
        return;
    case KERNEL_CONVOLUTION:
        interpret_convolution(&k->convolution, operand);
        return;
    case KERNEL_ATTENTION:
        interpret_attention(k, operand);
        return;
    case KERNEL_ATTENTION_GRAD:
        interpret_attention_grad(k, operand);
        return;
    case KERNEL_ATTENTION_GRAD_BIAS:
        interpret_attention_grad_bias(k, operand);
        return;
    }
    UNREACHABLE();
}
