// Every operator's scalar program against the reference evaluator: one node, lowered over dense
// operands, interpreted, compared element by element over random shapes and types.
//
// Tolerance: both compute in f64 and round results once; the program's constants are f32, so values
// differ by a few parts in 2^-24 of the terms they are made of, which are at most about 10 here:
// 4e-6 (1 + |want|). A bf16 result may land on the other neighbour: 2^-7 |want| more. Integers and
// bools are equal.
#include "ir/attr_rule.h"
#include "ir/evaluate.h"
#include "ir/op_lower.h"
#include "tests/unit/element_read.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

enum { TRIALS = 24, OPERANDS = 12 };

// Where an operand lies in the kernel: F follows all dims, R the first ones (one number a row), W
// the last (one a column), S is a scalar; - is taken by source. What it holds: x the trial's float
// type, n that or i32, f f32, i i32, b bool, p positive f32, t a target.
typedef struct {
    Op op;
    const char *in;  // "Fx Wx": place and content of each operand
    const char *out; // places of the results
} Case;

static const Case cases[] = {
    {OP_NEG, "Fn", "F"},
    {OP_ABS, "Fn", "F"},
    {OP_SIGN, "Fn", "F"},
    {OP_RELU, "Fn", "F"},
    {OP_EXP, "Fx", "F"},
    {OP_EXPM1, "Fx", "F"},
    {OP_LOG, "Fp", "F"},
    {OP_SQRT, "Fp", "F"},
    {OP_RSQRT, "Fp", "F"},
    {OP_SIN, "Fx", "F"},
    {OP_COS, "Fx", "F"},
    {OP_TANH, "Fx", "F"},
    {OP_ERF, "Fx", "F"},
    {OP_SIGMOID, "Fx", "F"},
    {OP_RELU6, "Fx", "F"},
    {OP_HARD_SIGMOID, "Fx", "F"},
    {OP_HARD_SWISH, "Fx", "F"},
    {OP_SILU, "Fx", "F"},
    {OP_GELU, "Fx", "F"},
    {OP_GELU_ERF, "Fx", "F"},
    {OP_STOP, "Fx", "F"},
    {OP_NOT, "Fb", "F"},
    {OP_SILU_GRAD, "Fx Fx", "F"},
    {OP_GELU_GRAD, "Fx Fx", "F"},
    {OP_GELU_ERF_GRAD, "Fx Fx", "F"},
    {OP_ADD, "Fn Fn", "F"},
    {OP_SUB, "Fn Fn", "F"},
    {OP_MUL, "Fn Fn", "F"},
    {OP_DIV, "Fi Fi", "F"},
    {OP_DIV, "Fx Fx", "F"},
    {OP_MIN, "Fn Fn", "F"},
    {OP_MAX, "Fn Fn", "F"},
    {OP_EQ, "Fi Fi", "F"},
    {OP_NE, "Fn Fn", "F"},
    {OP_LT, "Fn Fn", "F"},
    {OP_LE, "Fi Fi", "F"},
    {OP_AND, "Fb Fb", "F"},
    {OP_OR, "Fb Fb", "F"},
    {OP_SELECT, "Fb Fn Fn", "F"},
    {OP_SOFTMAX, "Fx", "F"},
    {OP_SOFTMAX_GRAD, "Fx Fx", "F"},
    {OP_LAYERNORM, "Fx Wx Wf", "FRR"},
    {OP_LAYERNORM_GRAD, "Fx Fx Wx Rf Rp", "F"},
    {OP_LAYERNORM_PARAM_GRAD, "Fx Fx Rf Rp", "WW"},
    {OP_RMSNORM, "Fx Wx", "FR"},
    {OP_RMSNORM_GRAD, "Fx Fx Wf Rp", "F"},
    {OP_RMSNORM_PARAM_GRAD, "Fx Fx Rp", "W"},
    {OP_CROSS_ENTROPY, "Fx Rt", "RR"},
    {OP_CROSS_ENTROPY_GRAD, "Fx Rt Rp Rf", "F"},
    {OP_SGD, "Fx Fx Sp", "F"},
    {OP_MOMENTUM, "Fx Ff Fx Sp", "FF"},
    {OP_ADAMW, "Fx Ff Fp Fx Sp Sp Sp Sp", "FFF"},
};

// One node with everything that is needed to evaluate and to run it.
typedef struct {
    Arena *arena;
    Graph *g;
    Diag *diag;
    uint32_t random;
    Type in[OPERANDS];
    const char *place_in, *place_out; // one letter an operand
    Tensor input[OPERANDS];
    Node *node;
    int operand_count;
    void *memory[KERNEL_OPERANDS_MAX];
    int source[OPERANDS]; // the operand's number, where it is taken by source
} Trial;

static uint32_t draw(Trial *t, uint32_t below) {
    t->random = t->random * 1664525u + 1013904223u;
    return (t->random >> 8) % below;
}

static Trial trial_begin(uint32_t seed) {
    Trial t = {.arena = arena_create(), .random = seed * 2654435761u + 1};
    t.diag = diag_create(t.arena);
    t.g = graph_create(t.arena, "test");
    return t;
}

// A shape of at most four axes; now and then one longer than a few vectors.
static Type random_shape(Trial *t, int rank_min) {
    Type s = {.rank = rank_min + (int)draw(t, (uint32_t)(5 - rank_min))};
    for (int i = 0; i < s.rank; i++)
        s.dim[i] = 1 + draw(t, draw(t, 6) == 0 ? 70 : 6);
    return s;
}

static double random_number(Trial *t, char content, int64_t limit) {
    switch (content) {
    case 'b':
        return draw(t, 2);
    case 'i':
        return (double)draw(t, 9) - 3;
    case 't': // Now and then out of range, on either side
        return (double)draw(t, (uint32_t)limit + 2) - 1;
    case 'p':
        return 0.1 + draw(t, 1 << 20) / (double)(1 << 19);
    default:
        return draw(t, 1 << 20) / (double)(1 << 18) - 2;
    }
}

static void fill(Trial *t, int i, char content, int64_t limit) {
    const Type *type = &t->in[i];
    if (type->dtype == DT_I32 && content != 't')
        content = 'i';
    t->input[i] = tensor_create(t->arena, *type);
    for (int64_t e = 0; e < type_count(type); e++)
        t->input[i].at[e] = dtype_round(type->dtype, random_number(t, content, limit));
}

static void *to_memory(Trial *t, const Tensor *x) {
    const int64_t count = type_count(&x->type);
    char *at = arena_alloc(t->arena, (size_t)count + 1, dtype_bytes(x->type.dtype));
    for (int64_t i = 0; i < count; i++) {
        const float f = (float)x->at[i];
        uint32_t bits;
        memcpy(&bits, &f, sizeof bits);
        if (x->type.dtype == DT_F32)
            ((float *)(void *)at)[i] = f;
        else if (x->type.dtype == DT_BF16)
            ((uint16_t *)(void *)at)[i] = (uint16_t)(bits >> 16);
        else if (x->type.dtype == DT_I32)
            ((int32_t *)(void *)at)[i] = (int32_t)x->at[i];
        else
            at[i] = x->at[i] != 0;
    }
    return at;
}

static void add_node(Trial *t, Op op, int input_count, const Attr *attr, int attr_count) {
    Value *value[OPERANDS] = {0};
    const NodeOrigin origin = {.scope = ""};
    for (int i = 0; i < input_count; i++)
        value[i] =
            &graph_add_typed(t->g, OP_INPUT, NULL, 0, NULL, 0, &t->in[i], 1, origin)->result[0];
    t->node = graph_add(t->g, t->diag, op, value, input_count, attr, attr_count, origin);
    if (!t->node)
        diag_print(t->diag, stderr, false);
    cr_assert_not_null(t->node, "%s", op_info(op)->name);
}

// Strides of a dense operand along the kernel's dims.
static void place_strides(const Type *type, char place, int rank, int64_t *out) {
    int64_t dense[RANK_MAX];
    type_strides(type, dense);
    memset(out, 0, KERNEL_DIMS_MAX * sizeof *out);
    for (int a = 0; a < type->rank; a++)
        out[place == 'W' ? rank - type->rank + a : a] = type->dim[a] > 1 ? dense[a] : 0;
}

static int add_operand(Trial *t, KernelBuilder *kb, const Type *type, char place, Access access,
                       void *memory) {
    int64_t stride[KERNEL_DIMS_MAX];
    place_strides(type, place, kb_rank(kb), stride);
    const int o = kernel_add_operand(kb, type->dtype, access, place == '-' ? NULL : stride);
    t->memory[o] = memory;
    return o;
}

static KSource source_of(void *user, int input) {
    Trial *t = user;
    KSource s = {.operand = t->source[input], .rank = t->in[input].rank};
    type_strides(&t->in[input], s.stride);
    return s;
}

static const Kernel *finish(Trial *t, KernelBuilder *kb) {
    const Kernel *k = kernel_finish(kb);
    const bool good = kernel_verify(k, t->diag, (Loc){0});
    if (!good)
        diag_print(t->diag, stderr, false);
    cr_assert(good, "%s", kernel_text(k, t->arena));
    size_t at = 0;
    const char *text = kernel_text(k, t->arena);
    const Kernel *again = kernel_parse(t->arena, t->diag, "k", text, strlen(text), &at);
    cr_assert(again && kernel_equal(k, again), "%s", text);
    return again;
}

static void compare(Trial *t, const Tensor *want, const void *got, const Kernel *k) {
    const DType dtype = want->type.dtype;
    for (int64_t i = 0; i < type_count(&want->type); i++) {
        const double w = want->at[i], g = element_read(dtype, got, i);
        double bound = 0;
        if (dtype_is_float(dtype))
            bound = 4e-6 * (1 + fabs(w)) + (dtype == DT_BF16 ? fabs(w) / 128 : 0);
        cr_assert(g == w || fabs(g - w) <= bound, "%s of %s, element %ld: %.9g, not %.9g\n%s",
                  op_info(t->node->op)->name, type_text(t->arena, &want->type), (long)i, g, w,
                  kernel_text(k, t->arena));
    }
}

// Lowers the node over the given dims, runs it and compares with the evaluator.
static void check(Trial *t, KernelAxis axis, int rank, const int64_t *dim, const int64_t *imm) {
    const Node *n = t->node;
    KRef in[OPERANDS], out[OPERANDS];
    void *memory[OPERANDS];
    Tensor want[OPERANDS];
    const EvalCtx cx = {.arena = t->arena};
    node_evaluate(n, t->input, want, &cx);
    KernelBuilder *kb = kernel_builder(t->arena, axis, rank, dim);
    kb_set_source(kb, source_of, t);
    const OpLowering lowering = op_info(n->op)->lowering;
    const bool scatters = lowering == LOWER_SCATTER || lowering == LOWER_PART;
    for (int i = 0; i < n->input_count; i++) {
        const bool source = op_input_is_source(n->op, i);
        cr_assert_eq(source, t->place_in[i] == '-');
        const Access access = scatters && i == 0 ? ACCESS_UPDATE : ACCESS_READ;
        const int o =
            add_operand(t, kb, &t->in[i], t->place_in[i], access, to_memory(t, &t->input[i]));
        t->source[i] = o;
        in[i] = source ? -1 : kb_load(kb, o);
    }
    op_info(n->op)->lower(kb, n, in, out);
    for (int r = 0; r < n->result_count; r++) {
        const Type *type = &n->result[r].type;
        if (scatters) {
            cr_assert_eq(out[r], -1);
            memory[r] = t->memory[t->source[0]];
            continue;
        }
        memory[r] = arena_alloc(t->arena, (size_t)type_count(type) + 1, dtype_bytes(type->dtype));
        kb_store(kb, add_operand(t, kb, type, t->place_out[r], ACCESS_WRITE, memory[r]), out[r]);
    }
    const Kernel *k = finish(t, kb);
    kernel_interpret(k, t->memory, imm);
    for (int r = 0; r < n->result_count; r++)
        compare(t, &want[r], memory[r], k);
}

static Type content_type(Type shape, char content, int trial) {
    static const DType floats[2] = {DT_F32, DT_BF16};
    switch (content) {
    case 'x':
        return type_with_dtype(shape, floats[trial % 2]);
    case 'n':
        return type_with_dtype(shape, trial % 3 == 2 ? DT_I32 : floats[trial % 3]);
    case 'i':
    case 't':
        return type_with_dtype(shape, DT_I32);
    case 'b':
        return type_with_dtype(shape, DT_BOOL);
    default:
        return type_with_dtype(shape, DT_F32);
    }
}

static void check_case(const Case *c, int trial) {
    Trial t = trial_begin((uint32_t)(c - cases) * 100 + (uint32_t)trial);
    const OpInfo *info = op_info(c->op);
    const bool rowwise = info->lowering != LOWER_SCALAR;
    const Type space = random_shape(&t, rowwise ? 1 : 0);
    const int64_t columns = rowwise ? space.dim[space.rank - 1] : 1;
    char place[OPERANDS] = {0};
    int count = 0;
    for (const char *s = c->in; *s; s += s[2] ? 3 : 2, count++) {
        Type shape = space;
        if (s[0] == 'R')
            shape = type_make(DT_F32, space.rank - 1, space.dim);
        else if (s[0] == 'W')
            shape = type_make(DT_F32, 1, &columns);
        else if (s[0] == 'S')
            shape = type_scalar(DT_F32);
        place[count] = s[0];
        t.in[count] = content_type(shape, s[1], trial);
        fill(&t, count, s[1], columns);
    }
    const Attr all[] = {attr_float("eps", 1e-5),     attr_float("decay", trial % 3 * 0.1),
                        attr_float("momentum", 0.9), attr_int("nesterov", trial / 2 % 2),
                        attr_float("beta1", 0.9),    attr_float("beta2", 0.95)};
    Attr attr[6];
    int attr_count = 0;
    AttrKind kind;
    for (int i = 0; i < 6; i++)
        if (attr_rule_find(info->attrs, all[i].name, &kind))
            attr[attr_count++] = all[i];
    add_node(&t, c->op, count, attr, attr_count);
    t.place_in = place;
    t.place_out = c->out;
    check(&t, info->lowering == LOWER_COLUMNS ? KERNEL_COLUMNS : KERNEL_ROWS, space.rank, space.dim,
          NULL);
    arena_release(t.arena);
}

Test(lowering, operators_match_the_evaluator) {
    for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
        for (int trial = 0; trial < TRIALS; trial++)
            check_case(&cases[i], trial);
}

Test(lowering, casts) {
    static const char *const name[] = {"f32", "bf16", "i32", "bool"};
    for (int trial = 0; trial < 4 * TRIALS; trial++) {
        Trial t = trial_begin((uint32_t)trial);
        DType from, to;
        cr_assert(dtype_find(name[trial % 4], &from) && dtype_find(name[trial / 4 % 4], &to));
        t.in[0] = type_with_dtype(random_shape(&t, 0), from);
        fill(&t, 0, from == DT_BOOL ? 'b' : 'x', 0);
        const Attr attr = attr_text("to", dtype_name(to));
        add_node(&t, OP_CAST, 1, &attr, 1);
        t.place_in = t.place_out = "F";
        check(&t, KERNEL_ROWS, t.in[0].rank, t.in[0].dim, NULL);
        arena_release(t.arena);
    }
}

// Over the last axis (rows), over all but the last (columns), and over everything.
Test(lowering, reduces) {
    for (int trial = 0; trial < 6 * TRIALS; trial++) {
        Trial t = trial_begin((uint32_t)trial);
        const int form = trial % 3;
        t.in[0] = content_type(random_shape(&t, form == 1 ? 2 : 1), 'x', trial / 3);
        if (form == 2)
            t.in[0].rank = 1;
        fill(&t, 0, 'x', 0);
        const int rank = t.in[0].rank;
        const int64_t axes[4] = {form == 1 ? 0 : rank - 1, 1, 2, 3};
        const Attr attr = attr_ints("axes", axes, form == 1 ? rank - 1 : 1);
        add_node(&t, trial / 6 % 2 ? OP_REDUCE_SUM : OP_REDUCE_MAX, 1, &attr, 1);
        t.place_in = "F";
        t.place_out = form == 1 ? "W" : "R";
        check(&t, form == 1 ? KERNEL_COLUMNS : KERNEL_ROWS, rank, t.in[0].dim, NULL);
        arena_release(t.arena);
    }
}

Test(lowering, rotary) {
    for (int trial = 0; trial < TRIALS; trial++) {
        Trial t = trial_begin((uint32_t)trial);
        Type x = random_shape(&t, 2);
        x.dim[x.rank - 1] *= 2;
        t.in[0] = content_type(x, 'x', trial);
        t.in[1] = type_make(trial % 4 < 2 ? DT_F32 : DT_BF16, 2,
                            (int64_t[]){x.dim[x.rank - 2], x.dim[x.rank - 1] / 2});
        t.in[2] = t.in[1];
        for (int i = 0; i < 3; i++)
            fill(&t, i, 'x', 0);
        const Attr attr = attr_int("inverse", trial / 2 % 2);
        add_node(&t, OP_ROTARY, 3, &attr, 1);
        t.place_in = "---";
        t.place_out = "F";
        check(&t, KERNEL_ROWS, x.rank, x.dim, NULL);
        arena_release(t.arena);
    }
}

// Shape a ++ b.
static Type joined(const Type *a, const Type *b, int from) {
    Type t = *a;
    for (int i = from; i < b->rank; i++)
        t.dim[t.rank++] = b->dim[i];
    return t;
}

Test(lowering, gather_and_scatter_add) {
    for (int trial = 0; trial < 4 * TRIALS; trial++) {
        Trial t = trial_begin((uint32_t)trial);
        Type table = random_shape(&t, 1), index = random_shape(&t, 0);
        table.rank = table.rank > 3 ? 3 : table.rank;
        index.rank = index.rank > 3 ? 3 : index.rank;
        const bool scatters = trial % 2;
        const Type rows = joined(&index, &table, 1);
        t.in[0] = content_type(table, scatters ? 'f' : 'n', trial / 2);
        t.in[1] = type_with_dtype(index, DT_I32);
        t.in[2] = content_type(rows, 'x', trial / 2);
        fill(&t, 0, 'x', 0);
        fill(&t, 1, 't', table.dim[0]);
        fill(&t, 2, 'x', 0);
        add_node(&t, scatters ? OP_SCATTER_ADD : OP_GATHER, scatters ? 3 : 2, NULL, 0);
        t.place_in = scatters ? "-RF" : "-R";
        t.place_out = "F";
        int64_t dim[KERNEL_DIMS_MAX];
        memcpy(dim, rows.dim, sizeof rows.dim);
        int rank = rows.rank;
        if (scatters && table.rank == 1) // A column for what has none
            dim[rank++] = 1;
        check(&t, scatters ? KERNEL_COLUMNS : KERNEL_ROWS, rank, dim, NULL);
        arena_release(t.arena);
    }
}

Test(lowering, take) {
    for (int trial = 0; trial < TRIALS; trial++) {
        Trial t = trial_begin((uint32_t)trial);
        const Type x = random_shape(&t, 1);
        t.in[0] = content_type(x, 'n', trial);
        t.in[1] = type_make(DT_I32, x.rank - 1, x.dim);
        fill(&t, 0, 'x', 0);
        fill(&t, 1, 't', x.dim[x.rank - 1]);
        add_node(&t, OP_TAKE, 2, NULL, 0);
        t.place_in = "-R";
        t.place_out = "F";
        check(&t, KERNEL_ROWS, x.rank - 1, x.dim, NULL);
        arena_release(t.arena);
    }
}

// Each pool over windows that overlap, leave gaps, or stand in the padding.
Test(lowering, pools) {
    static const Op ops[] = {OP_MAX_POOL, OP_MAX_POOL_INDEX, OP_MAX_POOL_GRAD,
                             OP_AVG_POOL, OP_AVG_POOL_GRAD,  OP_UPSAMPLE};
    for (int trial = 0; trial < 12 * TRIALS; trial++) {
        Trial t = trial_begin((uint32_t)trial);
        const Op op = ops[trial % 6];
        Type x = content_type(random_shape(&t, 4), 'x', trial / 6), y = x;
        int64_t window[2], stride[2], padding[2], factor[2];
        for (int i = 0; i < 2; i++) {
            window[i] = 1 + draw(&t, 4);
            stride[i] = 1 + draw(&t, 3);
            padding[i] = draw(&t, (uint32_t)window[i] / 2 + 1);
            factor[i] = 1 + draw(&t, 3);
            x.dim[2 + i] += window[i] - 1;
            y.dim[2 + i] = (x.dim[2 + i] + 2 * padding[i] - window[i]) / stride[i] + 1;
        }
        const bool indexed = op == OP_MAX_POOL_GRAD, backward = indexed || op == OP_AVG_POOL_GRAD;
        t.in[0] = indexed ? type_with_dtype(y, DT_I32) : backward ? y : x;
        t.in[1] = y;
        fill(&t, 0, indexed ? 't' : 'x', window[0] * window[1]);
        fill(&t, 1, 'x', 0);
        const Attr attr[] = {attr_ints("window", window, 2), attr_ints("stride", stride, 2),
                             attr_ints("padding", padding, 2), attr_ints("size", &x.dim[2], 2)};
        const Attr up = attr_ints("factor", factor, 2);
        add_node(&t, op, indexed ? 2 : 1, op == OP_UPSAMPLE ? &up : attr,
                 op == OP_UPSAMPLE ? 1
                 : backward        ? 4
                                   : 3);
        t.place_in = "--";
        t.place_out = "F";
        check(&t, KERNEL_ROWS, 4, t.node->result[0].type.dim, NULL);
        arena_release(t.arena);
    }
}

// Starts from below 0 to beyond the end.
Test(lowering, dynamic_slice_and_update) {
    for (int trial = 0; trial < 4 * TRIALS; trial++) {
        Trial t = trial_begin((uint32_t)trial);
        const Type x = random_shape(&t, 1);
        const int axis = (int)draw(&t, (uint32_t)x.rank);
        const int64_t size = 1 + draw(&t, (uint32_t)x.dim[axis]);
        const bool updates = trial % 2;
        t.in[0] = content_type(x, 'n', trial / 2);
        t.in[1] = type_scalar(DT_I32);
        if (updates) {
            t.in[1] = t.in[0];
            t.in[1].dim[axis] = size;
            t.in[2] = type_scalar(DT_I32);
        }
        for (int i = 0; i < (updates ? 3 : 2); i++)
            fill(&t, i, t.in[i].rank == 0 ? 't' : 'x', x.dim[axis]);
        const Attr attr[] = {attr_int("axis", axis), attr_int("size", size)};
        add_node(&t, updates ? OP_DYNAMIC_UPDATE : OP_DYNAMIC_SLICE, updates ? 3 : 2, attr,
                 updates ? 1 : 2);
        t.place_in = updates ? "-FS" : "-S";
        t.place_out = "F";
        const Type *space = updates ? &t.in[1] : &t.node->result[0].type;
        check(&t, KERNEL_ROWS, space->rank, space->dim, NULL);
        arena_release(t.arena);
    }
}

Test(lowering, constants_and_positions) {
    static const char *const name[] = {"f32", "bf16", "i32", "bool"};
    for (int trial = 0; trial < 2 * TRIALS; trial++) {
        Trial t = trial_begin((uint32_t)trial);
        const Type s = random_shape(&t, 1);
        const Attr shape = attr_ints("shape", s.dim, s.rank);
        if (trial % 2) {
            const Attr attr[] = {shape, attr_int("axis", draw(&t, (uint32_t)s.rank))};
            add_node(&t, OP_IOTA, 0, attr, 2);
        } else {
            const Attr attr[] = {shape, attr_float("value", trial % 7 / 3.0),
                                 attr_text("dtype", name[trial / 2 % 4])};
            add_node(&t, OP_CONSTANT, 0, attr, 3);
        }
        t.place_in = "";
        t.place_out = "F";
        check(&t, KERNEL_ROWS, s.rank, s.dim, NULL);
        arena_release(t.arena);
    }
}

Test(lowering, random_draws) {
    for (int trial = 0; trial < 2 * TRIALS; trial++) {
        Trial t = trial_begin((uint32_t)trial);
        const Type s = random_shape(&t, 0);
        const bool normal = trial % 2, stepped = trial / 2 % 2;
        const int64_t key = (int64_t)draw(&t, 1 << 24) * 1000003;
        t.in[0] = t.in[1] = type_scalar(DT_I32);
        fill(&t, 0, 'i', 0);
        fill(&t, 1, 'i', 0);
        const Attr attr[] = {attr_ints("shape", s.dim, s.rank), attr_int("key", key),
                             attr_float(normal ? "mean" : "low", -0.5),
                             attr_float(normal ? "std" : "high", 2)};
        add_node(&t, normal ? OP_RANDOM_NORMAL : OP_RANDOM_UNIFORM, stepped ? 2 : 1, attr, 4);
        t.place_in = "SS";
        t.place_out = "F";
        check(&t, KERNEL_ROWS, s.rank, s.dim, &key);
        arena_release(t.arena);
    }
}

// Rows of up to 70 classes; the evaluator sorts where the program bisects.
Test(lowering, sample) {
    for (int trial = 0; trial < 3 * TRIALS; trial++) {
        Trial t = trial_begin((uint32_t)trial);
        const int64_t key = (int64_t)draw(&t, 1 << 24) * 1000003;
        const Type x = random_shape(&t, 1);
        t.in[0] = content_type(x, 'x', trial);
        t.in[1] = t.in[2] = type_scalar(DT_F32);
        t.in[3] = t.in[4] = type_scalar(DT_I32);
        for (int i = 0; i < 5; i++)
            fill(&t, i, i < 3 ? 'x' : 'i', 0);
        t.input[1].at[0] = trial % 3 * 0.75;
        t.input[2].at[0] = trial % 5 * 0.25;
        const Attr attr = attr_int("key", key);
        add_node(&t, OP_SAMPLE, 5, &attr, 1);
        t.place_in = "FSSSS";
        t.place_out = "R";
        check(&t, KERNEL_ROWS, x.rank, x.dim, &key);
        arena_release(t.arena);
    }
}

// The accumulator is read and stored through one operand.
Test(lowering, accumulate_adds_to_its_operand) {
    Trial t = trial_begin(1);
    t.in[0] = type_make(DT_BF16, 2, (int64_t[]){3, 5});
    fill(&t, 0, 'x', 0);
    add_node(&t, OP_ACCUMULATE, 1, NULL, 0);
    KernelBuilder *kb = kernel_builder(t.arena, KERNEL_ROWS, 2, t.in[0].dim);
    float sum[15] = {0};
    const int x = add_operand(&t, kb, &t.in[0], 'F', ACCESS_READ, to_memory(&t, &t.input[0]));
    const int acc = add_operand(&t, kb, &t.node->result[0].type, 'F', ACCESS_UPDATE, sum);
    KRef out = -1;
    lower_accumulate(kb, t.node, (const KRef[]){kb_load(kb, x), kb_load(kb, acc)}, &out);
    kb_store(kb, acc, out);
    const Kernel *k = finish(&t, kb);
    for (int call = 1; call <= 3; call++) {
        kernel_interpret(k, t.memory, NULL);
        for (int i = 0; i < 15; i++)
            cr_assert_float_eq((double)sum[i], call * t.input[0].at[i], 1e-6);
    }
    arena_release(t.arena);
}

// Every row of the table that has a scalar program is among the tests above.
Test(lowering, no_operator_is_left_out) {
    static const Op elsewhere[] = {
        OP_CAST,        OP_REDUCE_SUM,     OP_REDUCE_MAX,    OP_ROTARY,         OP_GATHER,
        OP_SCATTER_ADD, OP_TAKE,           OP_DYNAMIC_SLICE, OP_DYNAMIC_UPDATE, OP_CONSTANT,
        OP_IOTA,        OP_RANDOM_UNIFORM, OP_RANDOM_NORMAL, OP_ACCUMULATE,     OP_SAMPLE,
        OP_MAX_POOL,    OP_MAX_POOL_INDEX, OP_MAX_POOL_GRAD, OP_AVG_POOL,       OP_AVG_POOL_GRAD,
        OP_UPSAMPLE};
    for (int op = 0; op < OP_COUNT; op++) {
        bool tested = false;
        for (size_t i = 0; i < sizeof cases / sizeof *cases; i++)
            tested = tested || (int)cases[i].op == op;
        for (size_t i = 0; i < sizeof elsewhere / sizeof *elsewhere; i++)
            tested = tested || (int)elsewhere[i] == op;
        cr_assert_eq(tested, op_info((Op)op)->lower != NULL, "%s", op_info((Op)op)->name);
    }
}
