// What a kernel says about itself: the operation table, variation, tiles, workspace, operands and
// their spans, equality. Everything is computed from the Kernel alone; nothing is cached. Sizes
// that don't fit 62 bits come out as SIZE_TOO_LARGE, which the verifier refuses. Costs are in
// kernel_cost.c.
#include "ir/kernel.h"

#include "ir/check.h"
#include "ir/kernel_size.h"
#include "ir/template_layout.h"

#include <string.h>

// A tile is the unit of work a worker takes: large enough to hide the call, small enough that a few
// workers find something to share. Numbers of elements; see kernel_tile_shape in the header.
enum { TILE_ELEMENTS = 16384, TILE_COLUMNS = 64, WHOLE_ROW_MAX = 65536 };

// Names and arities from the one list in the header; the order is that of KOp.
static const struct {
    const char *name;
    int arity;
} kop_table[KOP_COUNT] = {
#define K(ID, name, arity) {name, arity},
    KERNEL_OPS(K)
#undef K
};

const char *kop_name(KOp op) {
    return kop_table[op].name;
}

// The name need not end in a NUL. A walk over the table: it is short.
bool kop_find(const char *name, size_t bytes, KOp *out) {
    for (int i = 0; i < KOP_COUNT; i++) {
        if (strlen(kop_table[i].name) == bytes && memcmp(kop_table[i].name, name, bytes) == 0) {
            *out = (KOp)i;
            return true;
        }
    }
    return false;
}

int kop_arity(KOp op) {
    return kop_table[op].arity;
}

// Effects have no value, are never shared and never dead.
bool kop_is_effect(KOp op) {
    return op == KOP_STORE || op == KOP_STORE_AT || op == KOP_ADD_AT;
}

bool kop_is_reduction(KOp op) {
    return op == KOP_SUM || op == KOP_MAXIMUM || op == KOP_PICK;
}

// What arithmetic takes. bool has none, and bf16 exists only in memory: loads widen it to f32.
static bool is_number(DType t) {
    return t == DT_F32 || t == DT_I32;
}

// One case for each operation and no default: the compiler names one that is missing. Types of
// operands past the arity are ignored.
bool kop_infer(KOp op, const DType arg[4], DType *out) {
    switch (op) {
    case KOP_CONST: // says its own type
        return true;
    case KOP_IMM:
    case KOP_INDEX:
        *out = DT_I32;
        return true;
    case KOP_LOAD: // the operand's type, which the caller knows
    case KOP_STORE:
        return true;
    // The *_AT operations: the last operand is the index. LOAD_AT's result is the operand's type.
    case KOP_LOAD_AT:
        return arg[0] == DT_I32;
    case KOP_STORE_AT:
        *out = arg[0];
        return arg[1] == DT_I32;
    case KOP_ADD_AT:
        *out = arg[0];
        return is_number(arg[0]) && arg[1] == DT_I32;
    // i32 or f32, never mixed: conversions stand in the program.
    case KOP_ADD:
    case KOP_SUB:
    case KOP_MUL:
    case KOP_DIV:
    case KOP_MIN:
    case KOP_MAX:
        *out = arg[0];
        return is_number(arg[0]) && arg[0] == arg[1];
    case KOP_FMA:
        *out = DT_F32;
        return arg[0] == DT_F32 && arg[1] == DT_F32 && arg[2] == DT_F32;
    case KOP_NEG:
    case KOP_ABS:
        *out = arg[0];
        return is_number(arg[0]);
    case KOP_SQRT:
    case KOP_EXP:
    case KOP_EXPM1:
    case KOP_LOG:
    case KOP_SIN:
    case KOP_COS:
    case KOP_TANH:
    case KOP_ERF:
    case KOP_ROUND_BF16:
        *out = DT_F32;
        return arg[0] == DT_F32;
    // Equality is defined for bool too, order only for numbers.
    case KOP_EQ:
    case KOP_NE:
        *out = DT_BOOL;
        return arg[0] == arg[1];
    case KOP_LT:
    case KOP_LE:
        *out = DT_BOOL;
        return is_number(arg[0]) && arg[0] == arg[1];
    case KOP_AND:
    case KOP_OR:
        *out = DT_BOOL;
        return arg[0] == DT_BOOL && arg[1] == DT_BOOL;
    case KOP_NOT:
        *out = DT_BOOL;
        return arg[0] == DT_BOOL;
    case KOP_SELECT:
        *out = arg[1];
        return arg[0] == DT_BOOL && arg[1] == arg[2];
    case KOP_TO_F32:
        *out = DT_F32;
        return arg[0] == DT_I32 || arg[0] == DT_BOOL;
    case KOP_TO_I32:
        *out = DT_I32;
        return arg[0] == DT_F32 || arg[0] == DT_BOOL;
    case KOP_RANDOM:
        *out = DT_I32;
        return arg[0] == DT_I32 && arg[1] == DT_I32 && arg[2] == DT_I32 && arg[3] == DT_I32;
    case KOP_SUM:
    case KOP_MAXIMUM:
        *out = arg[0];
        return arg[0] == DT_F32;
    case KOP_PICK:
        *out = DT_I32;
        return arg[0] == DT_F32 && arg[1] == DT_F32 && arg[2] == DT_F32 && arg[3] == DT_F32;
    case KOP_COUNT:
        break;
    }
    UNREACHABLE();
}

void kernel_variation(const Kernel *k, uint32_t *varies) {
    // One pass is enough, because operands precede users.
    const uint32_t column = 1u << (k->rank - 1);
    for (int i = 0; i < k->instr_count; i++) {
        const KInstr *in = &k->instr[i];
        uint32_t mask = 0;
        for (int j = 0; j < kop_arity(in->op); j++)
            mask |= varies[in->arg[j]];
        // Through memory: an operand with stride 0 along d gives the same element at each step, and
        // a dim of extent 1 has only one.
        if (in->operand >= 0)
            for (int d = 0; d < k->rank; d++)
                mask |= k->operand[in->operand].stride[d] != 0 && k->dim[d] > 1 ? 1u << d : 0;
        if (in->op == KOP_INDEX && k->dim[in->as.i] > 1)
            mask |= 1u << in->as.i;
        // A sum along a row is one number a row; down the rows, one number a column.
        if (kop_is_reduction(in->op))
            mask &= k->axis == KERNEL_ROWS ? ~column : column;
        varies[i] = mask;
    }
}

bool kernel_reduces(const Kernel *k, bool *after) {
    bool any = false;
    for (int i = 0; i < k->instr_count; i++) {
        const KInstr *in = &k->instr[i];
        // A reduction counts as depending on itself.
        bool depends = kop_is_reduction(in->op);
        any = any || depends;
        if (!after)
            continue;
        for (int j = 0; j < kop_arity(in->op); j++)
            depends = depends || after[in->arg[j]];
        after[i] = depends;
    }
    return any;
}

// Written without a + b - 1, which could overflow for sizes near SIZE_TOO_LARGE.
static int64_t ceil_div(int64_t a, int64_t b) {
    return a / b + (a % b != 0);
}

// Points of all dims but the last; 1 for a kernel of rank 1.
static int64_t scalar_rows(const Kernel *k) {
    int64_t rows = 1;
    for (int d = 0; d + 1 < k->rank; d++)
        rows = size_times(rows, k->dim[d]);
    return rows;
}

void kernel_tile_shape(const Kernel *k, int64_t *rows, int64_t *columns) {
    CHECK(k->kind == KERNEL_SCALAR);
    const int64_t all = k->dim[k->rank - 1];
    // Rows are added in a fixed order, so a column is never divided among workers.
    if (k->axis == KERNEL_COLUMNS) {
        *rows = scalar_rows(k);
        *columns = TILE_COLUMNS;
    } else if (kernel_reduces(k, NULL) || (k->rank > 1 && all <= WHOLE_ROW_MAX)) {
        // A reduction needs its row whole. Short rows are taken several at a time, so that a tile
        // is still worth a call.
        *rows = all < TILE_ELEMENTS ? TILE_ELEMENTS / all : 1;
        *columns = all;
    } else {
        *rows = 1;
        *columns = TILE_ELEMENTS;
    }
}

int64_t kernel_tiles(const Kernel *k) {
    const AttentionKernel *t = &k->attention;
    const ProductKernel *p = &k->product;
    int64_t rows, columns;
    switch (k->kind) {
    case KERNEL_SCALAR:
        kernel_tile_shape(k, &rows, &columns);
        return size_times(ceil_div(scalar_rows(k), rows), ceil_div(k->dim[k->rank - 1], columns));
    case KERNEL_PRODUCT:
        return size_times(size_times(p->batch[0], p->batch[1]),
                          size_times(ceil_div(p->m, p->tile_m), ceil_div(p->n, p->tile_n)));
    case KERNEL_CONVOLUTION:
        return convolution_layout(&k->convolution).tiles;
    case KERNEL_ATTENTION:
        return size_times(size_times(t->batch, t->heads), ceil_div(t->queries, KERNEL_QUERY_BLOCK));
    case KERNEL_ATTENTION_GRAD:
        // One task a key/value head: dk and dv sum over the query heads that share it.
        return size_times(t->batch, t->groups);
    case KERNEL_ATTENTION_GRAD_BIAS:
        return attention_bias_tiles(t, KERNEL_QUERY_BLOCK, KERNEL_QUERY_BLOCK);
    }
    UNREACHABLE();
}

size_t kernel_workspace(const Kernel *k) {
    switch (k->kind) {
    case KERNEL_SCALAR:
        return 0;
    case KERNEL_PRODUCT:
        // A library says what it needs; our own product packs blocks of a and b.
        if (k->product.library != PRODUCT_OWN)
            return k->product.workspace;
        return layout_bytes(product_layout(&k->product).floats);
    case KERNEL_CONVOLUTION:
        return layout_bytes(convolution_layout(&k->convolution).floats);
    case KERNEL_ATTENTION:
    case KERNEL_ATTENTION_GRAD:
    case KERNEL_ATTENTION_GRAD_BIAS:
        return layout_bytes(attention_layout(&k->attention, k->kind).floats);
    }
    UNREACHABLE();
}

bool kernel_kind_is_attention(KernelKind kind) {
    return kind == KERNEL_ATTENTION || kind == KERNEL_ATTENTION_GRAD ||
           kind == KERNEL_ATTENTION_GRAD_BIAS;
}

enum { DBIAS = 6 }; // as ATTENTION_GRAD_BIAS lists its operands

// Operands that every kernel of attention has.
static int attention_own_operands(const Kernel *k) {
    return k->kind == KERNEL_ATTENTION ? 5 : k->kind == KERNEL_ATTENTION_GRAD ? 9 : DBIAS + 1;
}

static bool has_extra(const AttentionKernel *t) {
    return t->offset || attention_table_row(t) > 0;
}

int kernel_operand_count(const Kernel *k) {
    switch (k->kind) {
    case KERNEL_SCALAR:
        return k->operand_count;
    case KERNEL_PRODUCT:
        return k->product.bias ? 4 : 3;
    case KERNEL_CONVOLUTION:
        return 3;
    case KERNEL_ATTENTION:
    case KERNEL_ATTENTION_GRAD:
    case KERNEL_ATTENTION_GRAD_BIAS:
        return attention_own_operands(k) + has_extra(&k->attention) + k->attention.slopes +
               k->attention.bias + k->attention.mask;
    }
    UNREACHABLE();
}

int kernel_attention_extra(const Kernel *k) {
    return has_extra(&k->attention) ? attention_own_operands(k) : -1;
}

int kernel_attention_slopes(const Kernel *k) {
    return k->attention.slopes ? attention_own_operands(k) + has_extra(&k->attention) : -1;
}

int kernel_attention_bias(const Kernel *k) {
    const AttentionKernel *t = &k->attention;
    return t->bias ? attention_own_operands(k) + has_extra(t) + t->slopes : -1;
}

int kernel_attention_mask(const Kernel *k) {
    return k->attention.mask ? kernel_operand_count(k) - 1 : -1;
}

const int64_t *attention_pair_strides(const Kernel *k, int operand) {
    const AttentionKernel *t = &k->attention;
    return operand == kernel_attention_bias(k)                         ? t->bias_at
           : operand == kernel_attention_mask(k)                       ? t->mask_at
           : k->kind == KERNEL_ATTENTION_GRAD_BIAS && operand == DBIAS ? t->dbias_at
                                                                       : NULL;
}

int64_t attention_table_row(const AttentionKernel *t) {
    return size_plus(t->interval ? size_times(2, t->queries) : 0, t->documents ? t->keys : 0);
}

Access kernel_access(const Kernel *k, int operand) {
    CHECK(operand >= 0 && operand < kernel_operand_count(k));
    switch (k->kind) {
    case KERNEL_SCALAR:
        return k->operand[operand].access;
    case KERNEL_PRODUCT:
        if (operand != 2)
            return ACCESS_READ;
        // c += reads what is there.
        return k->product.accumulate ? ACCESS_UPDATE : ACCESS_WRITE;
    case KERNEL_CONVOLUTION:
        return operand < 2 ? ACCESS_READ : ACCESS_WRITE;
    case KERNEL_ATTENTION:
        // q, k, v | out, lse | offset or table, slopes, bias, mask
        return operand < 3 || operand >= 5 ? ACCESS_READ : ACCESS_WRITE;
    case KERNEL_ATTENTION_GRAD:
        // q, k, v, out, lse, dout | dq, dk, dv | table, slopes, bias, mask
        return operand < 6 || operand >= 9 ? ACCESS_READ : ACCESS_WRITE;
    case KERNEL_ATTENTION_GRAD_BIAS:
        return operand == DBIAS ? ACCESS_WRITE : ACCESS_READ;
    }
    UNREACHABLE();
}

DType kernel_dtype(const Kernel *k, int operand) {
    CHECK(operand >= 0 && operand < kernel_operand_count(k));
    switch (k->kind) {
    case KERNEL_SCALAR:
        return k->operand[operand].dtype;
    case KERNEL_PRODUCT:
        return operand == 0 ? k->product.a : operand == 1 ? k->product.b : k->product.c;
    case KERNEL_CONVOLUTION:
        return k->convolution.dtype[operand];
    case KERNEL_ATTENTION:
    case KERNEL_ATTENTION_GRAD:
    case KERNEL_ATTENTION_GRAD_BIAS:
        if (operand == kernel_attention_extra(k))
            return DT_I32;
        if (attention_pair_strides(k, operand))
            return operand == kernel_attention_mask(k) ? DT_BOOL : k->attention.bias_dtype;
        // All other operands of attention have one type.
        return operand == 4 || operand == kernel_attention_slopes(k)
                   ? DT_F32
                   : k->attention.dtype; // 4: log-sum-exp
    }
    UNREACHABLE();
}

// Points by strides: those of an operand, but for where an index moves them.
typedef struct {
    int rank;
    int64_t dim[KERNEL_DIMS_MAX], stride[KERNEL_DIMS_MAX];
} Box;

// Elements [0, span) that hold all points.
static int64_t box_span(const Box *b) {
    int64_t last = 0;
    for (int d = 0; d < b->rank; d++)
        last = size_plus(last, size_times(b->dim[d] - 1, b->stride[d]));
    return size_plus(last, 1);
}

// How far an index may move the operand from the point. False for one that no operation names.
static bool scalar_moves(const Kernel *k, int operand, int64_t *moved) {
    bool used = false;
    *moved = 0;
    for (int i = 0; i < k->instr_count; i++) {
        const KInstr *in = &k->instr[i];
        if (in->operand != operand)
            continue;
        used = true;
        // Indices are clamped to 0 .. limit - 1, so this is the farthest whatever they hold.
        const int64_t far = in->limit > 0 ? size_times(in->limit - 1, in->step) : 0;
        *moved = far > *moved ? far : *moved;
    }
    return used;
}

static Box scalar_box(const Kernel *k, int operand) {
    Box out = {.rank = k->rank};
    memcpy(out.dim, k->dim, sizeof out.dim);
    memcpy(out.stride, k->operand[operand].stride, sizeof out.stride);
    return out;
}

// a [b0, b1, m, k], b [b0, b1, k, n], c [b0, b1, m, n].
static Box product_box(const ProductKernel *p, int operand) {
    if (operand == 3) // the bias
        return (Box){1, {p->n}, {1}};
    Box out = {4, {p->batch[0], p->batch[1], p->m, p->n}, {0}};
    if (operand < 2)
        out.dim[operand == 0 ? 3 : 2] = p->k;
    memcpy(out.stride,
           operand == 0   ? p->a_stride
           : operand == 1 ? p->b_stride
                          : p->c_stride,
           sizeof p->c_stride);
    return out;
}

// The head dim (width) is contiguous; the log-sum-exp has no strides and is dense.
static Box attention_box(const Kernel *k, int operand) {
    const AttentionKernel *t = &k->attention;
    if (operand == kernel_attention_extra(k))
        return (Box){1, {attention_extra_count(k)}, {1}};
    if (operand == kernel_attention_slopes(k))
        return (Box){1, {t->heads}, {1}};
    const int64_t *pair = attention_pair_strides(k, operand);
    if (pair)
        return (Box){
            4, {t->batch, t->heads, t->queries, t->keys}, {pair[0], pair[1], pair[2], pair[3]}};
    const AttentionOperand o = kernel_attention_operand(t, operand);
    if (!o.stride)
        return (Box){1, {size_times(size_times(t->batch, o.heads), o.positions)}, {1}};
    return (Box){
        4, {t->batch, o.heads, o.positions, o.width}, {o.stride[0], o.stride[1], o.stride[2], 1}};
}

// Images are dense, weights altogether.
static Box convolution_box(const ConvolutionKernel *k, int operand) {
    const ConvolutionPart part = convolution_operand(k, operand);
    const int64_t images = part == CONVOLVE_W ? 1 : k->shape.batch;
    return (Box){2,
                 {images, convolution_elements(k, operand) / images},
                 {part == CONVOLVE_X ? k->x_stride : k->y_stride, 1}};
}

int64_t attention_extra_count(const Kernel *k) {
    const AttentionKernel *t = &k->attention;
    return t->offset ? 1 : size_times(t->batch, attention_table_row(t));
}

static Box operand_box(const Kernel *k, int operand) {
    CHECK(operand >= 0 && operand < kernel_operand_count(k));
    switch (k->kind) {
    case KERNEL_SCALAR:
        return scalar_box(k, operand);
    case KERNEL_PRODUCT:
        return product_box(&k->product, operand);
    case KERNEL_CONVOLUTION:
        return convolution_box(&k->convolution, operand);
    case KERNEL_ATTENTION:
    case KERNEL_ATTENTION_GRAD:
    case KERNEL_ATTENTION_GRAD_BIAS:
        return attention_box(k, operand);
    }
    UNREACHABLE();
}

int64_t kernel_span(const Kernel *k, int operand) {
    if (k->kind == KERNEL_CONVOLUTION)
        return convolution_span(&k->convolution, operand);
    int64_t moved = 0;
    const Box box = operand_box(k, operand);
    // An operand that no operation names spans nothing: 0, not 1.
    if (k->kind == KERNEL_SCALAR && !scalar_moves(k, operand, &moved))
        return 0;
    return size_plus(box_span(&box), moved);
}

// From the fastest dim outward: what joins makes the row, the first step over a gap is the pitch.
bool strides_rows(int rank, const int64_t *dim, const int64_t *stride, int64_t *row,
                  int64_t *pitch) {
    *row = 1;
    *pitch = 0;
    bool done[KERNEL_DIMS_MAX] = {false};
    for (;;) {
        // The fastest of those left that take a step.
        int next = -1;
        for (int d = 0; d < rank; d++)
            if (!done[d] && dim[d] > 1 && stride[d] > 0 && (next < 0 || stride[d] < stride[next]))
                next = d;
        if (next < 0)
            return *pitch > 0;
        done[next] = true;
        if (*pitch ? stride[next] % *pitch != 0 : stride[next] < *row)
            return false;
        if (!*pitch && stride[next] == *row)
            *row = size_times(*row, dim[next]);
        else if (!*pitch)
            *pitch = stride[next];
    }
}

bool kernel_rows(const Kernel *k, int operand, int64_t *row, int64_t *pitch) {
    int64_t moved = 0;
    const Box box = operand_box(k, operand);
    if (k->kind == KERNEL_SCALAR && (!scalar_moves(k, operand, &moved) || moved > 0))
        return false;
    return strides_rows(box.rank, box.dim, box.stride, row, pitch);
}

// Whole lines are stored, so every row begins at one if the first does.
bool kernel_may_stream(const Kernel *k, int operand) {
    const KOperand *o = &k->operand[operand];
    const int column = k->rank - 1;
    if (k->kind != KERNEL_SCALAR || k->axis != KERNEL_ROWS || o->access != ACCESS_WRITE ||
        o->stride[column] != 1)
        return false;
    const int64_t line = KERNEL_STREAM_LINE / (int64_t)dtype_bytes(o->dtype);
    for (int d = 0; d < column; d++)
        if (k->dim[d] > 1 && o->stride[d] % line != 0)
            return false;
    // An index would move it anywhere.
    for (KRef i = 0; i < k->instr_count; i++)
        if (k->instr[i].op == KOP_STORE_AT && k->instr[i].operand == operand)
            return false;
    return true;
}

// Strides and dims past the rank are 0 (the builder and the parser see to it), so whole arrays
// compare.
static bool operand_equal(const KOperand *a, const KOperand *b) {
    return a->dtype == b->dtype && a->access == b->access && a->stream == b->stream &&
           a->align == b->align && memcmp(a->stride, b->stride, sizeof a->stride) == 0;
}

// Constants are compared as bits: 0 and -0 differ, and the one NaN that constants use equals
// itself.
bool kinstr_equal(const KInstr *a, const KInstr *b) {
    return a->op == b->op && a->dtype == b->dtype && memcmp(a->arg, b->arg, sizeof a->arg) == 0 &&
           a->operand == b->operand && a->limit == b->limit && a->step == b->step &&
           a->as.i == b->as.i;
}

// Cheap numbers first; the name takes no part.
static bool scalar_equal(const Kernel *a, const Kernel *b) {
    if (a->axis != b->axis || a->host != b->host || a->members != b->members ||
        a->rank != b->rank || memcmp(a->dim, b->dim, sizeof a->dim) != 0 ||
        a->operand_count != b->operand_count || a->imm_count != b->imm_count ||
        a->instr_count != b->instr_count)
        return false;
    for (int o = 0; o < a->operand_count; o++)
        if (!operand_equal(&a->operand[o], &b->operand[o]))
            return false;
    for (int i = 0; i < a->instr_count; i++)
        if (!kinstr_equal(&a->instr[i], &b->instr[i]))
            return false;
    return true;
}

int attention_stride_lists(KernelKind kind) {
    return kind == KERNEL_ATTENTION ? 4 : kind == KERNEL_ATTENTION_GRAD_BIAS ? 5 : 8;
}

// The numbers that make a template, in one array: easier to compare and hash than a struct with
// padding.
enum { TEMPLATE_NUMBERS = 55 };
static void template_numbers(const Kernel *k, int64_t out[TEMPLATE_NUMBERS]) {
    const ProductKernel *p = &k->product;
    const AttentionKernel *t = &k->attention;
    // What a kind does not use stays 0 and so compares equal.
    memset(out, 0, TEMPLATE_NUMBERS * sizeof *out);
    if (k->kind == KERNEL_PRODUCT) {
        const int64_t n[12] = {p->library, p->a, p->b, p->c,          p->batch[0], p->batch[1],
                               p->m,       p->n, p->k, p->accumulate, p->tile_m,   p->tile_n};
        memcpy(out, n, sizeof n);
        // 12..23 the strides, 24 the workspace.
        memcpy(out + 12, p->a_stride, sizeof p->a_stride);
        memcpy(out + 16, p->b_stride, sizeof p->b_stride);
        memcpy(out + 20, p->c_stride, sizeof p->c_stride);
        out[24] = (int64_t)p->workspace;
        out[25] = p->bias;
        return;
    }
    if (k->kind == KERNEL_CONVOLUTION) {
        // 0..5 types and strides, then the sizes.
        const ConvolutionKernel *c = &k->convolution;
        const int64_t n[6] = {c->part,     c->dtype[0], c->dtype[1],
                              c->dtype[2], c->x_stride, c->y_stride};
        memcpy(out, n, sizeof n);
        memcpy(out + 6, &c->shape, sizeof c->shape);
        return;
    }
    // 0..9 the sizes, 10..33 three strides for each operand, 34 the scale's bits, 35 the offset,
    // 36 the documents, 37 the interval, 38 the bits of the cap, 39 the slopes, 40..42 the bias and
    // the mask, 43..54 their strides.
    out[35] = t->offset;
    out[36] = t->documents;
    out[37] = t->interval;
    out[39] = t->slopes;
    out[40] = t->bias;
    out[41] = t->bias ? t->bias_dtype : 0;
    out[42] = t->mask;
    const int64_t *pair[3] = {t->bias_at, t->mask_at, t->dbias_at};
    const bool has[3] = {t->bias, t->mask, k->kind == KERNEL_ATTENTION_GRAD_BIAS};
    for (int i = 0; i < 3; i++)
        if (has[i])
            memcpy(out + 43 + 4 * i, pair[i], 4 * sizeof **pair);
    memcpy(&out[34], &t->scale, sizeof t->scale);
    memcpy(&out[38], &t->cap, sizeof t->cap);
    const int64_t n[10] = {t->dtype, t->batch,  t->heads, t->groups, t->queries,
                           t->keys,  t->dim_qk, t->dim_v, t->causal, t->window};
    const int64_t *stride[8] = {t->q, t->k, t->v, t->out, t->dout, t->dq, t->dk, t->dv};
    const int used = attention_stride_lists(k->kind); // The others mean nothing here
    memcpy(out, n, sizeof n);
    for (int i = 0; i < used; i++)
        memcpy(out + 10 + 3 * i, stride[i], 3 * sizeof **stride);
}

bool kernel_equal(const Kernel *a, const Kernel *b) {
    if (a->kind != b->kind)
        return false;
    if (a->kind == KERNEL_SCALAR)
        return scalar_equal(a, b);
    int64_t x[TEMPLATE_NUMBERS], y[TEMPLATE_NUMBERS];
    template_numbers(a, x);
    template_numbers(b, y);
    return memcmp(x, y, sizeof x) == 0;
}

// Multiply and fold, with MurmurHash3's constant: the fold brings the high bits down to those that
// index a table.
static uint64_t mix(uint64_t h, int64_t x) {
    h = (h ^ (uint64_t)x) * 0xff51afd7ed558ccdu;
    return h ^ (h >> 32);
}

// Every number hashed is one that kernel_equal compares, so equal kernels hash alike; the name has
// no part in it.
uint64_t kernel_hash(const Kernel *k) {
    uint64_t h = mix(0x9e3779b97f4a7c15u, k->kind);
    // Templates hash the numbers that they compare.
    if (k->kind != KERNEL_SCALAR) {
        int64_t n[TEMPLATE_NUMBERS];
        template_numbers(k, n);
        for (int i = 0; i < TEMPLATE_NUMBERS; i++)
            h = mix(h, n[i]);
        return h;
    }
    // Dims and strides up to the rank; the rest is 0 in every kernel.
    h = mix(mix(mix(mix(mix(h, k->axis), k->host), k->members), k->rank), k->imm_count);
    for (int d = 0; d < k->rank; d++)
        h = mix(h, k->dim[d]);
    for (int o = 0; o < k->operand_count; o++) {
        h = mix(mix(h, k->operand[o].dtype), k->operand[o].access);
        h = mix(mix(h, k->operand[o].align), k->operand[o].stream);
        for (int d = 0; d < k->rank; d++)
            h = mix(h, k->operand[o].stride[d]);
    }
    for (int i = 0; i < k->instr_count; i++) {
        const KInstr *in = &k->instr[i];
        h = mix(mix(mix(h, in->op), in->dtype), in->operand);
        for (int j = 0; j < 4; j++)
            h = mix(h, in->arg[j]);
        h = mix(mix(mix(h, in->limit), in->step), in->as.i);
    }
    return h;
}
