// What a kernel must be before anybody prints or runs it. Reads like a list of rules; trusts
// nothing but the table of operations. Checks stop at the first rule broken. Linear in operations.
//
// The shape of a legal scalar program: loads and arithmetic, reductions, arithmetic on their
// results, stores. A ROWS kernel may reduce a row again and again; a COLUMNS kernel reduces its
// rows once, and what depends on a reduction there is one number a column. Nothing may be stored to
// one place twice, and what a call stores to an operand is loaded from it only before.
#include "ir/kernel.h"

#include "ir/convolution.h"
#include "ir/kernel_members.h"
#include "ir/kernel_size.h"

#include <math.h>

enum {
    P_EXTENT = 711,   // Rank, extents, strides, sizes
    P_OPERAND = 712,  // Operand numbers, types and access
    P_ORDER = 713,    // Operands precede users
    P_TYPES = 706,    // Shared with the parser
    P_REDUCE = 714,   // Reductions in illegal places
    P_STORE = 715,    // Stores to one place twice
    P_TEMPLATE = 716, // Fields of products and attention
    P_MEMBERS = 717   // Members that differ
};

typedef struct {
    const Kernel *k;
    Diag *d;
    Loc loc;
    bool reduces; // Set with varies and after, once all operations are known to be sound
    uint32_t varies[KERNEL_INSTRS_MAX];
    bool after[KERNEL_INSTRS_MAX];
    bool stored[KERNEL_OPERANDS_MAX]; // Operands stored to by the operations so far
} Verifier;

// Rank, extents, strides and counts: first of all, because the other rules index arrays by them.
static bool extents_good(Verifier *v) {
    const Kernel *k = v->k;
    int64_t points = 1;
    if (k->rank < 1 || k->rank > KERNEL_DIMS_MAX)
        return diag_error(v->d, v->loc, P_EXTENT, "kernel %s has rank %d, not 1..%d", k->name,
                          k->rank, KERNEL_DIMS_MAX);
    for (int i = 0; i < k->rank; i++)
        // The points of all dims together fit 63 bits, too.
        if (k->dim[i] < 1 || k->dim[i] > DIM_MAX || !count_mul(points, k->dim[i], &points))
            return diag_error(v->d, v->loc, P_EXTENT,
                              "kernel %s: dim %d has extent %lld, not 1..2^40", k->name, i,
                              (long long)k->dim[i]);
    if (k->operand_count < 0 || k->operand_count > KERNEL_OPERANDS_MAX || k->imm_count < 0 ||
        k->instr_count < 0 || k->instr_count > KERNEL_INSTRS_MAX)
        return diag_error(v->d, v->loc, P_EXTENT,
                          "kernel %s has more operands or operations than allowed", k->name);
    for (int o = 0; o < k->operand_count; o++) {
        const KOperand *of = &k->operand[o];
        // Unsigned, so that negative numbers count as too large.
        if ((unsigned)of->dtype >= DT_COUNT || (unsigned)of->access > ACCESS_UPDATE)
            return diag_error(v->d, v->loc, P_OPERAND,
                              "kernel %s: operand %d has no such type or access", k->name, o);
        // A power of two below 16 that holds whole elements.
        if (of->align != 0 && (of->align < (int)dtype_bytes(of->dtype) || of->align > 8 ||
                               (of->align & (of->align - 1)) != 0))
            return diag_error(v->d, v->loc, P_OPERAND, "kernel %s: operand %d has alignment %d",
                              k->name, o, of->align);
        for (int i = 0; i < k->rank; i++)
            if (of->stride[i] < 0 || of->stride[i] > DIM_MAX)
                return diag_error(v->d, v->loc, P_EXTENT, "kernel %s: operand %d has stride %lld",
                                  k->name, o, (long long)of->stride[i]);
        if (of->stream && !kernel_may_stream(k, o))
            return diag_error(v->d, v->loc, P_OPERAND,
                              "kernel %s: operand %d can't be a stream: it is not written row by "
                              "row in whole lines of %d bytes",
                              k->name, o, KERNEL_STREAM_LINE);
    }
    return true;
}

// The type of an operand's elements once they are loaded.
static DType value_type(DType t) {
    return t == DT_BF16 ? DT_F32 : t;
}

// Operand number, access and type of a load or store.
static bool memory_good(Verifier *v, int i) {
    const KInstr *in = &v->k->instr[i];
    const bool effect = kop_is_effect(in->op);
    if (!effect && in->op != KOP_LOAD && in->op != KOP_LOAD_AT)
        return in->operand == -1 ||
               diag_error(v->d, v->loc, P_OPERAND, "%s (operation %d) has an operand",
                          kop_name(in->op), i);
    if (in->operand < 0 || in->operand >= v->k->operand_count)
        return diag_error(v->d, v->loc, P_OPERAND, "%s (operation %d) names operand %d of %d",
                          kop_name(in->op), i, in->operand, v->k->operand_count);
    const KOperand *o = &v->k->operand[in->operand];
    // An UPDATE operand may be loaded and stored.
    if (effect ? o->access == ACCESS_READ : o->access == ACCESS_WRITE)
        return diag_error(v->d, v->loc, P_OPERAND, "%s (operation %d): operand %d can't be %s",
                          kop_name(in->op), i, in->operand, effect ? "stored to" : "loaded from");
    if (in->op == KOP_ADD_AT && o->access != ACCESS_UPDATE)
        return diag_error(v->d, v->loc, P_OPERAND, "add_at (operation %d) wants an update operand",
                          i);
    if (in->dtype != value_type(o->dtype))
        return diag_error(v->d, v->loc, P_TYPES, "%s (operation %d): operand %d holds %s",
                          kop_name(in->op), i, in->operand, dtype_name(o->dtype));
    // The *_AT operations move by limit and step; the plain ones have neither.
    const bool moved = in->op != KOP_LOAD && in->op != KOP_STORE;
    if (moved && (in->limit < 1 || in->limit > INT32_MAX || in->step < 0 || in->step > DIM_MAX))
        return diag_error(v->d, v->loc, P_EXTENT, "%s (operation %d): limit %lld, step %lld",
                          kop_name(in->op), i, (long long)in->limit, (long long)in->step);
    // A load sees what was there before the call, so none may follow a store.
    if (!effect && v->stored[in->operand])
        return diag_error(v->d, v->loc, P_STORE, "operand %d is loaded after it is stored to",
                          in->operand);
    if (effect && v->stored[in->operand])
        return diag_error(v->d, v->loc, P_STORE, "operand %d is stored twice", in->operand);
    v->stored[in->operand] = v->stored[in->operand] || effect;
    return true;
}

// Constants are stored wide; each must be exact in its type, or printing would change it.
static bool const_good(const KInstr *in) {
    switch (in->dtype) {
    case DT_F32:
        return isnan(in->as.f) || (double)(float)in->as.f == in->as.f;
    case DT_I32:
        return in->as.i >= INT32_MIN && in->as.i <= INT32_MAX;
    case DT_BOOL:
        return in->as.i == 0 || in->as.i == 1;
    case DT_BF16:
    case DT_COUNT:
        break;
    }
    return false;
}

// Operands above their user, the types the table wants, and numbers in range.
static bool types_good(Verifier *v, int i) {
    const Kernel *k = v->k;
    const KInstr *in = &k->instr[i];
    DType of[4] = {DT_F32, DT_F32, DT_F32, DT_F32};
    // Operations whose type the table can't tell (constants, loads) keep their own.
    DType result = in->dtype;
    if ((unsigned)in->op >= KOP_COUNT)
        return diag_error(v->d, v->loc, P_TYPES, "operation %d is none", i);
    for (int j = 0; j < 4; j++) {
        const bool used = j < kop_arity(in->op);
        if (!used && in->arg[j] != -1)
            return diag_error(v->d, v->loc, P_ORDER, "%s (operation %d) has too many operands",
                              kop_name(in->op), i);
        if (used && (in->arg[j] < 0 || in->arg[j] >= i || kop_is_effect(k->instr[in->arg[j]].op)))
            return diag_error(v->d, v->loc, P_ORDER,
                              "%s (operation %d) uses %%%d, no value above it", kop_name(in->op), i,
                              in->arg[j]);
        of[j] = used ? k->instr[in->arg[j]].dtype : DT_F32;
    }
    if (in->op == KOP_STORE)
        result = of[0];
    const bool plain = in->op != KOP_LOAD && in->op != KOP_LOAD_AT;
    if (!kop_infer(in->op, of, &result) || (plain && result != in->dtype))
        return diag_error(
            v->d, v->loc, P_TYPES, "%s (operation %d) does not take these types: %s, %s, %s",
            kop_name(in->op), i, dtype_name(of[0]), dtype_name(of[1]), dtype_name(of[2]));
    if (in->op == KOP_CONST && !const_good(in))
        return diag_error(v->d, v->loc, P_TYPES, "constant %d does not fit its type", i);
    if (in->op == KOP_IMM && (in->as.i < 0 || in->as.i >= k->imm_count))
        return diag_error(v->d, v->loc, P_OPERAND, "imm %lld of %d", (long long)in->as.i,
                          k->imm_count);
    if (in->op == KOP_INDEX && (in->as.i < 0 || in->as.i >= k->rank))
        return diag_error(v->d, v->loc, P_EXTENT, "index of dim %lld in a kernel of rank %d",
                          (long long)in->as.i, k->rank);
    return true;
}

// COLUMNS: after a reduction there are only columns, and no second reduction.
static bool reductions_good(Verifier *v, int i) {
    const KInstr *in = &v->k->instr[i];
    const uint32_t column = 1u << (v->k->rank - 1);
    if (in->op == KOP_ADD_AT && v->k->axis != KERNEL_COLUMNS)
        return diag_error(v->d, v->loc, P_REDUCE, "add_at (operation %d) in a rows kernel", i);
    if (in->op == KOP_PICK && v->k->axis != KERNEL_ROWS)
        return diag_error(v->d, v->loc, P_REDUCE, "pick (operation %d) in a columns kernel", i);
    // A row may be reduced again and again: nothing more to ask.
    if (v->k->axis == KERNEL_ROWS || !v->after[i])
        return true;
    for (int j = 0; kop_is_reduction(in->op) && j < kop_arity(in->op); j++)
        if (v->after[in->arg[j]])
            return diag_error(v->d, v->loc, P_REDUCE,
                              "%s (operation %d) depends on another reduction of a columns kernel",
                              kop_name(in->op), i);
    // One number a column has no row to belong to.
    if (v->varies[i] & ~column)
        return diag_error(v->d, v->loc, P_REDUCE,
                          "%s (operation %d) mixes a column's reduction with what varies by row",
                          kop_name(in->op), i);
    return true;
}

// Dims the operand walks, and of those that have extent at all.
static uint32_t walked(const Kernel *k, int operand, uint32_t *moving) {
    uint32_t mask = 0;
    *moving = 0;
    for (int d = 0; d < k->rank; d++) {
        mask |= k->operand[operand].stride[d] != 0 ? 1u << d : 0;
        *moving |= k->dim[d] > 1 ? 1u << d : 0;
    }
    return mask & *moving;
}

// Every place is stored once: see the head of the file.
static bool store_good(Verifier *v, int i) {
    const Kernel *k = v->k;
    const KInstr *in = &k->instr[i];
    const uint32_t column = 1u << (k->rank - 1);
    if (!kop_is_effect(in->op))
        return true;
    uint32_t moving;
    const uint32_t walks = walked(k, in->operand, &moving);
    const uint32_t value = v->varies[in->arg[0]];
    if (in->op == KOP_ADD_AT) // A column is one worker's; so must be what it adds to
        return (walks & column) == (moving & column) ||
               diag_error(v->d, v->loc, P_STORE,
                          "add_at (operation %d) adds several columns to one place", i);
    // An index that differs counts as a different place: that no two are equal is for the lowering.
    const uint32_t index = in->op == KOP_STORE_AT ? v->varies[in->arg[1]] : 0;
    if (value & ~(walks | index))
        return diag_error(v->d, v->loc, P_STORE,
                          "%s (operation %d) stores different values to one place of operand %d",
                          kop_name(in->op), i, in->operand);
    if (k->operand[in->operand].access != ACCESS_UPDATE)
        return true;
    // What is loaded first must be what was there before the call: one point, one place.
    uint32_t once = walks | index;
    // Values that do not vary along the column are stored once a row there, and what follows a
    // column's reduction once a column.
    if (k->axis == KERNEL_ROWS && v->reduces)
        once |= column;
    if (k->axis == KERNEL_COLUMNS && v->after[in->arg[0]])
        once |= ~column;
    return !(moving & ~once) ||
           diag_error(v->d, v->loc, P_STORE,
                      "%s (operation %d) updates one place of operand %d many times",
                      kop_name(in->op), i, in->operand);
}

// Offsets in bytes then stay below 2^60, far from overflow.
static bool spans_good(Verifier *v) {
    for (int o = 0; o < kernel_operand_count(v->k); o++)
        if (kernel_span(v->k, o) >= (int64_t)1 << 58)
            return diag_error(v->d, v->loc, P_EXTENT,
                              "kernel %s: operand %d spans too many elements", v->k->name, o);
    return true;
}

static bool members_good(Verifier *v) {
    if (v->k->members == 0)
        return true;
    Arena *a = arena_create();
    KernelMembers members;
    const bool good = v->k->members > 1 && kernel_members_find(a, v->k, &members);
    arena_release(a);
    return good || diag_error(v->d, v->loc, P_MEMBERS, "kernel %s is not %d equal programs",
                              v->k->name, v->k->members);
}

// Two passes: what the second computes (variation, dependence) walks operands that the first
// checks.
static bool scalar_good(Verifier *v) {
    const Kernel *k = v->k;
    if (!extents_good(v))
        return false;
    for (int i = 0; i < k->instr_count; i++)
        if (!types_good(v, i) || !memory_good(v, i))
            return false;
    v->reduces = kernel_reduces(k, v->after);
    if (k->host && v->reduces)
        return diag_error(v->d, v->loc, P_REDUCE, "kernel %s is the host's and reduces", k->name);
    kernel_variation(k, v->varies);
    for (int i = 0; i < k->instr_count; i++)
        if (!reductions_good(v, i) || !store_good(v, i))
            return false;
    return spans_good(v) && members_good(v);
}

// All in low..high.
static bool in_range(const int64_t *number, int count, int64_t low, int64_t high) {
    for (int i = 0; i < count; i++)
        if (number[i] < low || number[i] > high)
            return false;
    return true;
}

// Whether a block of rows x width is no larger than a tensor may be: workspaces hold such blocks.
static bool block_good(int64_t rows, int64_t width) {
    int64_t count;
    return count_mul(rows, width, &count) && count <= DIM_MAX;
}

// Types, sizes, strides; then that each element of c has a place of its own.
static bool product_good(Verifier *v) {
    const ProductKernel *p = &v->k->product;
    const int64_t sizes[7] = {p->batch[0], p->batch[1], p->m, p->n, p->k, p->tile_m, p->tile_n};
    if ((unsigned)p->library > PRODUCT_CUBLASLT || !dtype_is_float(p->a) || !dtype_is_float(p->b) ||
        !dtype_is_float(p->c))
        return diag_error(v->d, v->loc, P_TEMPLATE, "product %s: operands are f32 or bf16",
                          v->k->name);
    if (!in_range(sizes, 7, 1, DIM_MAX) || p->workspace > (size_t)DIM_MAX ||
        !block_good(p->tile_m, p->tile_n))
        return diag_error(v->d, v->loc, P_TEMPLATE, "product %s: sizes and tiles are 1..2^40",
                          v->k->name);
    if (!in_range(p->a_stride, 4, 0, DIM_MAX) || !in_range(p->b_stride, 4, 0, DIM_MAX) ||
        !in_range(p->c_stride, 4, 0, DIM_MAX))
        return diag_error(v->d, v->loc, P_TEMPLATE, "product %s: strides are 0..2^40", v->k->name);
    // a and b may be broadcast with stride 0, c may not.
    const int64_t c_dim[4] = {p->batch[0], p->batch[1], p->m, p->n};
    for (int i = 0; i < 4; i++)
        if (c_dim[i] > 1 && p->c_stride[i] == 0)
            return diag_error(v->d, v->loc, P_TEMPLATE,
                              "product %s stores to one place of c many times", v->k->name);
    if (p->bias && (p->library != PRODUCT_CUBLASLT || p->accumulate || p->c_stride[3] != 1 ||
                    p->batch[0] != 1 || p->batch[1] != 1))
        return diag_error(v->d, v->loc, P_TEMPLATE,
                          "product %s: a bias is added by cublaslt, to rows written in one batch",
                          v->k->name);
    return spans_good(v);
}

// Positions and offsets within a tile have 32 bits in generated code.
static bool convolution_good(Verifier *v) {
    const ConvolutionKernel *k = &v->k->convolution;
    const Convolution *c = &k->shape;
    const int64_t sizes[14] = {c->batch,     c->groups,    c->in,          c->out,
                               c->size[0],   c->size[1],   c->kernel[0],   c->kernel[1],
                               c->stride[0], c->stride[1], c->dilation[0], c->dilation[1],
                               c->result[0], c->result[1]};
    const int64_t padding[4] = {c->before[0], c->before[1], c->after[0], c->after[1]};
    if ((unsigned)k->part > CONVOLVE_Y || !dtype_is_float(k->dtype[0]) ||
        !dtype_is_float(k->dtype[1]) || !dtype_is_float(k->dtype[2]))
        return diag_error(v->d, v->loc, P_TEMPLATE, "convolution %s: operands are f32 or bf16",
                          v->k->name);
    bool good = in_range(sizes, 14, 1, DIM_MAX) && in_range(padding, 4, 0, CONVOLUTION_MAX) &&
                in_range(c->kernel, 2, 1, CONVOLUTION_MAX) &&
                in_range(c->stride, 2, 1, CONVOLUTION_MAX) &&
                in_range(c->dilation, 2, 1, CONVOLUTION_MAX) &&
                in_range(&k->x_stride, 1, 0, DIM_MAX) && in_range(&k->y_stride, 1, 0, DIM_MAX);
    for (int i = 0; good && i < 2; i++)
        good = c->result[i] == convolution_result(c->size[i], c->kernel[i], c->stride[i],
                                                  c->before[i] + c->after[i], c->dilation[i]);
    // An image of each side, its batch and the weights must be tensors that could exist; images of
    // the result don't overlap.
    int64_t x, y, w;
    good = good && block_good(c->size[0], c->size[1]) && block_good(c->result[0], c->result[1]) &&
           block_good(c->kernel[0], c->kernel[1]) && block_good(c->groups, c->in) &&
           block_good(c->groups, c->out);
    good = good && count_mul(c->groups * c->in, c->size[0] * c->size[1], &x) &&
           count_mul(c->groups * c->out, c->result[0] * c->result[1], &y) &&
           count_mul(c->groups * c->out, c->kernel[0] * c->kernel[1], &w) && x <= DIM_MAX &&
           y <= DIM_MAX && w <= DIM_MAX && block_good(w, c->in);
    if (!good)
        return diag_error(v->d, v->loc, P_TEMPLATE, "convolution %s: sizes that don't fit",
                          v->k->name);
    const int64_t result = k->part == CONVOLVE_X ? x : y;
    const int64_t step = k->part == CONVOLVE_X ? k->x_stride : k->y_stride;
    if (k->part != CONVOLVE_W && c->batch > 1 && step < result)
        return diag_error(v->d, v->loc, P_TEMPLATE, "convolution %s: images of the result overlap",
                          v->k->name);
    if (!block_good(c->batch, k->x_stride) || !block_good(c->batch, k->y_stride))
        return diag_error(v->d, v->loc, P_TEMPLATE, "convolution %s: strides that don't fit",
                          v->k->name);
    if (c->size[0] * c->size[1] >= CONVOLUTION_PIXELS_MAX ||
        c->result[0] * c->result[1] >= CONVOLUTION_PIXELS_MAX)
        return diag_error(v->d, v->loc, P_TEMPLATE, "convolution %s: an image has 2^28 pixels",
                          v->k->name);
    return spans_good(v);
}

// What attention reads and writes of pairs of queries and keys.
static bool attention_pairs_good(Verifier *v) {
    const AttentionKernel *t = &v->k->attention;
    const bool gradient = v->k->kind == KERNEL_ATTENTION_GRAD_BIAS;
    if (gradient && !t->bias)
        return diag_error(v->d, v->loc, P_TEMPLATE, "attention %s: a gradient of no bias",
                          v->k->name);
    if (t->bias && !dtype_is_float(t->bias_dtype))
        return diag_error(v->d, v->loc, P_TEMPLATE, "attention %s: a bias is f32 or bf16",
                          v->k->name);
    const int64_t *stride[3] = {t->bias_at, t->mask_at, t->dbias_at};
    const bool used[3] = {t->bias, t->mask, gradient};
    const int64_t dim[4] = {t->batch, t->heads, t->queries, t->keys};
    for (int i = 0; i < 3; i++) {
        if (!used[i])
            continue;
        if (!in_range(stride[i], 4, 0, DIM_MAX) || stride[i][3] > 1)
            return diag_error(v->d, v->loc, P_TEMPLATE,
                              "attention %s: strides are 0..2^40, along keys 0 or 1", v->k->name);
        int64_t count = 1;
        for (int d = 0; d < 4; d++)
            if (stride[i][d] > 0 && (!count_mul(count, dim[d], &count) || count > DIM_MAX))
                return diag_error(v->d, v->loc, P_TEMPLATE,
                                  "attention %s: a bias or a mask has more than 2^40 numbers",
                                  v->k->name);
    }
    return true;
}

// Sizes first, then what is computed from them: blocks in workspaces, strides, spans.
static bool attention_good(Verifier *v) {
    const AttentionKernel *t = &v->k->attention;
    const int64_t sizes[7] = {t->batch, t->heads,  t->groups, t->queries,
                              t->keys,  t->dim_qk, t->dim_v};
    const int64_t *stride[8] = {t->q, t->k, t->v, t->out, t->dout, t->dq, t->dk, t->dv};
    if (!dtype_is_float(t->dtype))
        return diag_error(v->d, v->loc, P_TEMPLATE, "attention %s: operands are f32 or bf16",
                          v->k->name);
    if (!in_range(sizes, 7, 1, DIM_MAX) || t->window < 0 || t->window > DIM_MAX ||
        !isfinite(t->scale))
        return diag_error(v->d, v->loc, P_TEMPLATE, "attention %s: sizes are 1..2^40", v->k->name);
    if (!attention_cap_good(t->cap))
        return diag_error(v->d, v->loc, P_TEMPLATE, "attention %s: a cap is 0.001 to 1000000",
                          v->k->name);
    if (t->heads % t->groups != 0)
        return diag_error(v->d, v->loc, P_TEMPLATE,
                          "attention %s: %lld groups don't divide %lld heads", v->k->name,
                          (long long)t->groups, (long long)t->heads);
    // lse [batch, heads, queries] and the rows of one head must be tensors that could exist.
    int64_t heads;
    if (!count_mul(t->batch, t->heads, &heads) || !block_good(heads, t->queries) ||
        !block_good(t->queries, t->dim_qk) || !block_good(t->queries, t->dim_v) ||
        !block_good(t->keys, t->dim_qk) || !block_good(t->keys, t->dim_v))
        return diag_error(v->d, v->loc, P_TEMPLATE,
                          "attention %s: a head has more than 2^40 numbers", v->k->name);
    if (t->offset && (v->k->kind != KERNEL_ATTENTION || !t->causal || t->queries > t->keys))
        return diag_error(v->d, v->loc, P_TEMPLATE,
                          "attention %s: an offset needs a causal forward kernel with as many keys "
                          "as queries",
                          v->k->name);
    if ((t->documents && (t->offset || t->queries > t->keys)) || (t->interval && t->offset))
        return diag_error(
            v->d, v->loc, P_TEMPLATE,
            t->documents ? "attention %s: documents need as many keys as queries, and no offset"
                         : "attention %s: an interval stands in the offset's place",
            v->k->name);
    // Fields for what another kind has mean nothing.
    for (int i = 0; i < attention_stride_lists(v->k->kind); i++)
        if (!in_range(stride[i], 3, 0, DIM_MAX))
            return diag_error(v->d, v->loc, P_TEMPLATE, "attention %s: strides are 0..2^40",
                              v->k->name);
    return attention_pairs_good(v) && spans_good(v);
}

// About 20 KiB of Verifier on the stack: it holds a flag and a mask for every possible operation.
bool kernel_verify(const Kernel *k, Diag *d, Loc loc) {
    Verifier v = {.k = k, .d = d, .loc = loc};
    switch (k->kind) {
    case KERNEL_SCALAR:
        return scalar_good(&v);
    case KERNEL_PRODUCT:
        return product_good(&v);
    case KERNEL_CONVOLUTION:
        return convolution_good(&v);
    case KERNEL_ATTENTION:
    case KERNEL_ATTENTION_GRAD:
    case KERNEL_ATTENTION_GRAD_BIAS:
        return attention_good(&v);
    }
    return diag_error(d, loc, P_TEMPLATE, "no such kind of kernel");
}
