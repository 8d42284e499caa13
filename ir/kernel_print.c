// Kernels as text: the form of docs/kernel-text.md, which kernel_parse reads back to an equal
// kernel. Numbers are printed so that they read back exactly: f32 constants with 9 digits, the
// attention scale and cap (f64) with 17. Never prints two opening brackets side by side.
#include "ir/kernel_text.h"

#include <string.h>

// Text that grows in an arena.
typedef struct {
    Arena *arena;
    char *at;
    // Bytes; `at` is ended by a NUL after `used` of them.
    size_t used, capacity;
} Sink;

// Appends like printf. A line longer than the buffer is formatted a second time, into the arena.
__attribute__((format(printf, 2, 3))) static void put(Sink *s, const char *format, ...) {
    // Long enough for nearly every line; see below for the others.
    char line[512];
    va_list args;
    va_start(args, format);
    const int printed = vsnprintf(line, sizeof line, format, args);
    va_end(args);
    const char *text = line;
    size_t bytes = (size_t)(printed > 0 ? printed : 0);
    if (bytes >= sizeof line) {
        va_start(args, format);
        text = arena_vformat(s->arena, format, args);
        va_end(args);
    }
    // Doubling keeps the copying linear in the text.
    if (s->used + bytes + 1 > s->capacity) {
        const size_t capacity = 2 * (s->capacity + bytes + 512);
        s->at = arena_grow(s->arena, s->at, s->used, capacity, 1);
        s->capacity = capacity;
    }
    memcpy(s->at + s->used, text, bytes);
    s->used += bytes;
    s->at[s->used] = '\0';
}

// [1, 2, 3]: extents and strides.
static void put_list(Sink *s, int count, const int64_t *number) {
    put(s, "[");
    for (int i = 0; i < count; i++)
        put(s, "%s%lld", i ? ", " : "", (long long)number[i]);
    put(s, "]");
}

// "const 0.5" is f32, the others name their type. printf may write -nan, which the parser refuses.
static void put_const(Sink *s, const KInstr *in) {
    if (in->dtype != DT_F32)
        put(s, " %s %lld", dtype_name(in->dtype), (long long)in->as.i);
    else if (in->as.f != in->as.f)
        put(s, " nan");
    else
        put(s, " %.9g", in->as.f);
}

// The order of the fields is that of read_instr in kernel_parse.c; what isn't there is left out.
static void put_instr(Sink *s, const Kernel *k, int i) {
    const KInstr *in = &k->instr[i];
    put(s, "  ");
    // Stores have no result to name.
    if (!kop_is_effect(in->op))
        put(s, "%%%d = ", i);
    put(s, "%s", kop_name(in->op));
    if (in->op == KOP_CONST)
        put_const(s, in);
    else if (in->op == KOP_IMM || in->op == KOP_INDEX)
        put(s, " %lld", (long long)in->as.i);
    if (in->operand >= 0)
        put(s, " %d", in->operand);
    for (int j = 0; j < kop_arity(in->op); j++)
        put(s, " %%%d", in->arg[j]);
    if (in->op == KOP_LOAD_AT || in->op == KOP_STORE_AT || in->op == KOP_ADD_AT)
        put(s, " limit %lld step %lld", (long long)in->limit, (long long)in->step);
    put(s, "\n");
}

// Every put_ function of a kind leaves the closing brace to kernel_text.
static void put_scalar(Sink *s, const Kernel *k) {
    put(s, " %s ", kernel_kind_words[k->axis == KERNEL_ROWS ? WORD_ROWS : WORD_COLUMNS]);
    put_list(s, k->rank, k->dim);
    if (k->members > 1)
        put(s, " members %d", k->members);
    put(s, k->host ? " host {\n" : " {\n");
    if (k->imm_count > 0)
        put(s, "  imms %d\n", k->imm_count);
    for (int o = 0; o < k->operand_count; o++) {
        const KOperand *of = &k->operand[o];
        put(s, "  operand %d: %s %s %s", o, dtype_name(of->dtype), kernel_access_words[of->access],
            of->stream ? "stream " : "");
        put_list(s, k->rank, of->stride);
        if (of->align)
            put(s, " align %d", of->align);
        put(s, "\n");
    }
    for (int i = 0; i < k->instr_count; i++)
        put_instr(s, k, i);
}

// Whether c is accumulated is told by its access: write or update.
static void put_product(Sink *s, const ProductKernel *p) {
    put(s, " product {\n  library %s\n  a %s ", kernel_library_words[p->library], dtype_name(p->a));
    put_list(s, 4, p->a_stride);
    put(s, "\n  b %s ", dtype_name(p->b));
    put_list(s, 4, p->b_stride);
    put(s, "\n  c %s %s ", dtype_name(p->c),
        kernel_access_words[p->accumulate ? ACCESS_UPDATE : ACCESS_WRITE]);
    put_list(s, 4, p->c_stride);
    put(s, "%s\n  batch ", p->bias ? " bias" : "");
    put_list(s, 2, p->batch);
    put(s, "\n  m %lld\n  n %lld\n  k %lld\n  tile [%lld, %lld]\n  workspace %lld\n",
        (long long)p->m, (long long)p->n, (long long)p->k, (long long)p->tile_m,
        (long long)p->tile_n, (long long)p->workspace);
}

// Elements for batch, head, position.
static void put_strides(Sink *s, const char *name, int count, const int64_t *stride) {
    put(s, "  %s ", name);
    put_list(s, count, stride);
    put(s, "\n");
}

// Which numbers and strides, and in what order, is told by the lists of kernel_text.h.
static void put_attention(Sink *s, const Kernel *k) {
    const AttentionKernel *t = &k->attention;
    const int word = k->kind == KERNEL_ATTENTION        ? WORD_ATTENTION
                     : k->kind == KERNEL_ATTENTION_GRAD ? WORD_ATTENTION_GRAD
                                                        : WORD_ATTENTION_GRAD_BIAS;
    put(s, " %s {\n  dtype %s\n", kernel_kind_words[word], dtype_name(t->dtype));
#define N(field) put(s, "  " #field " %lld\n", (long long)t->field);
    ATTENTION_NUMBERS(N)
#undef N
    put(s, "  causal %d\n", t->causal);
    // Written where it is so: most kernels have none.
    if (t->interval)
        put(s, "  interval 1\n");
    if (t->documents)
        put(s, "  documents 1\n");
    if (t->offset)
        put(s, "  offset 1\n");
    if (t->slopes)
        put(s, "  slopes 1\n");
    put(s, "  scale %.17g\n", t->scale);
    if (t->cap > 0)
        put(s, "  cap %.17g\n", t->cap);
    if (t->bias) {
        put(s, "  bias %s ", dtype_name(t->bias_dtype));
        put_list(s, 4, t->bias_at);
        put(s, "\n");
    }
    if (t->mask)
        put_strides(s, "mask", 4, t->mask_at);
#define S(field) put_strides(s, #field, 3, t->field);
    ATTENTION_STRIDES(S)
    // What another kind alone has means nothing in this one and is not printed.
    if (k->kind != KERNEL_ATTENTION) {
        S(dout)
    }
    if (k->kind == KERNEL_ATTENTION_GRAD) {
        ATTENTION_GRAD_STRIDES(S)
    }
#undef S
    if (k->kind == KERNEL_ATTENTION_GRAD_BIAS)
        put_strides(s, "dbias", 4, t->dbias_at);
}

static void put_convolution(Sink *s, const ConvolutionKernel *k) {
    const Convolution *c = &k->shape;
    put(s, " convolution {\n  result %s\n  dtypes %s %s %s\n", kernel_part_words[k->part],
        dtype_name(k->dtype[0]), dtype_name(k->dtype[1]), dtype_name(k->dtype[2]));
#define N(field) put(s, "  " #field " %lld\n", (long long)c->field);
    CONVOLUTION_NUMBERS(N)
#undef N
#define P(field)                                                                                   \
    put(s, "  " #field " ");                                                                       \
    put_list(s, 2, c->field);                                                                      \
    put(s, "\n");
    CONVOLUTION_PAIRS(P)
#undef P
    put(s, "  strides [%lld, %lld]\n", (long long)k->x_stride, (long long)k->y_stride);
}

char *kernel_text(const Kernel *k, Arena *a) {
    // Text that was outgrown stays in the arena until it is released.
    Sink s = {.arena = a};
    put(&s, "kernel %s", k->name);
    if (k->kind == KERNEL_SCALAR)
        put_scalar(&s, k);
    else if (k->kind == KERNEL_PRODUCT)
        put_product(&s, &k->product);
    else if (k->kind == KERNEL_CONVOLUTION)
        put_convolution(&s, &k->convolution);
    else
        put_attention(&s, k);
    put(&s, "}\n");
    return s.at;
}

void kernel_print(const Kernel *k, FILE *out) {
    // The text lives in an arena of its own, which ends with the call.
    Arena *a = arena_create();
    fputs(kernel_text(k, a), out);
    arena_release(a);
}
