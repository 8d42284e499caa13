// The generator keeps a pool of values made so far and adds one operator after another whose
// operands it finds in the pool (or makes from them by a reshape or a broadcast). After operators
// that can grow, tanh keeps values within -1..1, so that differences between f32 and f64 stay small
// and mean something.
#include "tests/random/random_graph.h"

#include "ir/build.h"

#include <string.h>

enum { POOL_MAX = 512, PARAM_MAX = 32 };

typedef struct {
    Random random;
    Module *m;
    Graph *g;
    Builder b;
    Builder init;                 // of the entry "init"
    Value *seed;                  // its FROM_SEED input
    Value *draw_seed, *draw_step; // of random draws in main; NULL before the first
    Value *pool[POOL_MAX];
    int pool_count;
    Value *param[PARAM_MAX];
    int param_count;
    Value *index; // an i32 input below index_bound
} Maker;

enum { INDEX_BOUND = 7 };

uint64_t random_next(Random *r) {
    r->state += 0x9e3779b97f4a7c15U;
    uint64_t x = r->state;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9U;
    x = (x ^ x >> 27) * 0x94d049bb133111ebU;
    return x ^ x >> 31;
}

int64_t random_range(Random *r, int64_t low, int64_t high) {
    return low + (int64_t)(random_next(r) % (uint64_t)(high - low + 1));
}

static int64_t pick(Maker *k, int64_t low, int64_t high) {
    return random_range(&k->random, low, high);
}

static void keep(Maker *k, Value *v) {
    if (v && k->pool_count < POOL_MAX)
        k->pool[k->pool_count++] = v;
}

static Value *tame(Maker *k, Value *v) {
    return build_unary(&k->b, OP_TANH, v);
}

// A float value of the pool, recent ones more often.
static Value *any(Maker *k) {
    const int64_t n = k->pool_count;
    return pick(k, 0, 1) && n > 6 ? k->pool[pick(k, n - 6, n - 1)] : k->pool[pick(k, 0, n - 1)];
}

static int64_t small_dim(Maker *k) {
    static const int64_t dims[] = {1, 2, 3, 4, 5, 7, 8, 16, 17, 33};
    return dims[pick(k, 0, 9)];
}

// A parameter (or other state) of the shape, read here; its first value is drawn in "init".
static Value *add_state(Maker *k, Type type, StateKind kind) {
    State *s = module_add_state(k->m, arena_format(k->m->arena, "s%d", k->m->state_count), type,
                                kind, (Loc){0});
    s->file = s->name;
    s->decay = -1;
    int64_t shape[RANK_MAX];
    memcpy(shape, type.dim, sizeof shape);
    const Attr draw[] = {attr_ints("shape", shape, type.rank),
                         attr_int("key", (int64_t)(random_next(&k->random) >> 2)),
                         attr_float("mean", 0), attr_float("std", 0.5)};
    graph_add_commit(k->init.g, s, build_op(&k->init, OP_RANDOM_NORMAL, &k->seed, 1, draw, 4));
    const Attr name = attr_text("name", s->name);
    Node *n = graph_add_typed(k->g, OP_STATE, NULL, 0, &name, 1, &type, 1, k->b.origin);
    if (kind == STATE_PARAM && k->param_count < PARAM_MAX)
        k->param[k->param_count++] = &n->result[0];
    return &n->result[0];
}

static Value *parameter(Maker *k, int rank, const int64_t *dim) {
    return add_state(k, type_make(DT_F32, rank, dim), STATE_PARAM);
}

static Value *add_input(Maker *k, Type type, InputSource source) {
    Node *n = graph_add_typed(k->g, OP_INPUT, NULL, 0, NULL, 0, &type, 1, k->b.origin);
    Value *v = &n->result[0];
    v->name = intern(k->m->names, arena_format(k->m->arena, "in%d", k->g->input_count));
    Input *in = graph_add_input(k->g, v, source);
    if (source == FROM_DATA)
        in->loader = intern(k->m->names, "data");
    if (source == FROM_KNOB)
        in->fallback = 0.01;
    return v;
}

// A draw that differs by step and by micro-batch, as dropout's mask does.
static void make_draw(Maker *k) {
    const Value *like = any(k);
    if (!k->draw_seed) {
        k->draw_seed = add_input(k, type_scalar(DT_I32), FROM_SEED);
        Value *step = add_input(k, type_scalar(DT_I32), FROM_STEP);
        Value *slot = add_input(k, type_scalar(DT_I32), FROM_SLOT);
        Value *most = build_constant(&k->b, type_scalar(DT_I32), 2);
        k->draw_step = build_binary(&k->b, OP_ADD, build_binary(&k->b, OP_MUL, step, most), slot);
    }
    Value *in[] = {k->draw_seed, k->draw_step};
    const Attr draw[] = {attr_ints("shape", like->type.dim, like->type.rank),
                         attr_int("key", (int64_t)(random_next(&k->random) >> 2)),
                         attr_float("low", -1), attr_float("high", 1)};
    keep(k, build_op(&k->b, OP_RANDOM_UNIFORM, in, 2, draw, 4));
}

static void make_unary(Maker *k) {
    static const Op ops[] = {OP_NEG, OP_ABS,      OP_SIN,   OP_COS,          OP_TANH,
                             OP_ERF, OP_SIGMOID,  OP_RELU,  OP_SILU,         OP_GELU,
                             OP_EXP, OP_GELU_ERF, OP_RELU6, OP_HARD_SIGMOID, OP_HARD_SWISH};
    keep(k, build_unary(&k->b, ops[pick(k, 0, 14)], tame(k, any(k))));
}

static void make_positive(Maker *k) {
    static const Op ops[] = {OP_LOG, OP_SQRT, OP_RSQRT};
    Value *x = build_unary(&k->b, OP_EXP, tame(k, any(k))); // within 1/e .. e
    keep(k, build_unary(&k->b, ops[pick(k, 0, 2)], x));
}

static void make_binary(Maker *k) {
    static const Op ops[] = {OP_ADD, OP_SUB, OP_MUL, OP_MIN, OP_MAX, OP_DIV};
    const Op op = ops[pick(k, 0, 5)];
    Value *x = tame(k, any(k)), *y = NULL;
    for (int i = 0; i < k->pool_count && !y; i++)
        if (k->pool[i] != x && type_equal(&k->pool[i]->type, &x->type) && pick(k, 0, 2) == 0)
            y = k->pool[i];
    if (!y && x->type.rank > 0) { // A row stretched over x.
        const int64_t dim = x->type.dim[x->type.rank - 1];
        y = build_broadcast_like(&k->b, parameter(k, 1, &dim), x);
    }
    y = y ? tame(k, y) : x;
    if (op == OP_DIV)
        y = build_unary(&k->b, OP_EXP, y);
    keep(k, build_binary(&k->b, op, x, y));
}

static void make_select(Maker *k) {
    Value *x = tame(k, any(k));
    Value *c = build_binary(&k->b, pick(k, 0, 1) ? OP_LT : OP_LE, x, build_unary(&k->b, OP_COS, x));
    Value *in[3] = {c, x, build_unary(&k->b, OP_SIN, x)};
    keep(k, build_op(&k->b, OP_SELECT, in, 3, NULL, 0));
}

static void make_reshape(Maker *k) {
    Value *x = any(k);
    const int64_t count = type_count(&x->type);
    int64_t dim[2] = {1, count};
    for (int64_t d = 2; d * d <= count; d++)
        if (count % d == 0 && pick(k, 0, 1)) {
            dim[0] = d;
            dim[1] = count / d;
        }
    keep(k,
         pick(k, 0, 3) == 0 ? build_reshape(&k->b, x, 1, &count) : build_reshape(&k->b, x, 2, dim));
}

static void make_transpose(Maker *k) {
    Value *x = any(k);
    int perm[RANK_MAX];
    for (int i = 0; i < x->type.rank; i++)
        perm[i] = i;
    for (int i = x->type.rank - 1; i > 0; i--) {
        const int j = (int)pick(k, 0, i), t = perm[i];
        perm[i] = perm[j];
        perm[j] = t;
    }
    if (x->type.rank > 1)
        keep(k, build_transpose(&k->b, x, perm));
}

static void make_slice(Maker *k) {
    Value *x = any(k);
    if (x->type.rank == 0)
        return;
    const int axis = (int)pick(k, 0, x->type.rank - 1);
    const int64_t start = pick(k, 0, x->type.dim[axis] - 1);
    keep(k, build_slice(&k->b, x, axis, start, pick(k, start + 1, x->type.dim[axis])));
}

static void make_split_concat(Maker *k) {
    Value *x = any(k);
    if (x->type.rank == 0)
        return;
    const int axis = (int)pick(k, 0, x->type.rank - 1);
    const int64_t dim = x->type.dim[axis];
    if (dim < 2)
        return;
    const int64_t first = pick(k, 1, dim - 1), sizes[2] = {first, dim - first};
    const Attr attr[] = {attr_int("axis", axis), attr_ints("sizes", sizes, 2)};
    Node *n = build_node(&k->b, OP_SPLIT, &x, 1, attr, 2);
    Value *parts[2] = {tame(k, &n->result[1]), &n->result[0]};
    keep(k, pick(k, 0, 1) ? parts[0] : build_concat(&k->b, parts, 2, axis));
}

static void make_pad(Maker *k) {
    Value *x = any(k);
    if (x->type.rank == 0)
        return;
    int64_t before[RANK_MAX], after[RANK_MAX];
    for (int i = 0; i < x->type.rank; i++) {
        before[i] = pick(k, 0, 1);
        after[i] = pick(k, 0, 1);
    }
    const Attr attr[] = {attr_ints("before", before, x->type.rank),
                         attr_ints("after", after, x->type.rank)};
    keep(k, build_op(&k->b, OP_PAD, &x, 1, attr, 2));
}

static void make_reduce(Maker *k) {
    Value *x = any(k);
    if (x->type.rank == 0)
        return;
    int64_t axes[RANK_MAX];
    int count = 0;
    int64_t reduced = 1;
    for (int i = 0; i < x->type.rank; i++)
        if (pick(k, 0, 1) || (count == 0 && i == x->type.rank - 1)) {
            axes[count++] = i;
            reduced *= x->type.dim[i];
        }
    const Attr attr = attr_ints("axes", axes, count);
    Value *y = build_op(&k->b, pick(k, 0, 2) ? OP_REDUCE_SUM : OP_REDUCE_MAX, &x, 1, &attr, 1);
    keep(k, build_scale(&k->b, y, 1.0 / (double)reduced));
}

static void make_norm(Maker *k) {
    Value *x = tame(k, any(k));
    if (x->type.rank == 0 || x->type.dim[x->type.rank - 1] < 3)
        return;
    const int64_t dim = x->type.dim[x->type.rank - 1];
    const Attr eps = attr_float("eps", 1e-2);
    Value *in[3] = {x, parameter(k, 1, &dim), NULL};
    if (pick(k, 0, 1)) {
        in[2] = parameter(k, 1, &dim);
        keep(k, &build_node(&k->b, OP_LAYERNORM, in, 3, &eps, 1)->result[0]);
    } else {
        keep(k, &build_node(&k->b, OP_RMSNORM, in, 2, &eps, 1)->result[0]);
    }
}

static void make_softmax(Maker *k) {
    Value *x = any(k);
    if (x->type.rank > 0)
        keep(k, build_unary(&k->b, OP_SOFTMAX, tame(k, x)));
}

static void make_linear(Maker *k) {
    Value *x = tame(k, any(k));
    if (x->type.rank != 2 && x->type.rank != 3)
        return;
    const int64_t dim[2] = {x->type.dim[x->type.rank - 1], small_dim(k)};
    Value *w = parameter(k, 2, dim);
    const bool rows = x->type.rank == 2;
    keep(k, build_scale(&k->b, build_einsum(&k->b, x, w, rows ? "ab,bc->ac" : "abc,cd->abd"), 0.3));
}

static void make_gram(Maker *k) {
    Value *x = tame(k, any(k));
    if (x->type.rank == 2)
        keep(k, build_scale(&k->b, build_einsum(&k->b, x, x, "ab,cb->ac"), 0.2));
    else if (x->type.rank == 3)
        keep(k, build_scale(&k->b, build_einsum(&k->b, x, x, "abc,adc->abd"), 0.2));
}

// Of a third a bias that is learned, the same along some axes; of a third a mask with holes.
static int add_pairs(Maker *k, int64_t heads, int64_t s, Value **in, int count) {
    const int64_t pairs[4] = {1, 1, s, s};
    if (pick(k, 0, 2) == 0) {
        const int64_t dim[4] = {1, pick(k, 0, 1) ? heads : 1, pick(k, 0, 1) ? s : 1,
                                pick(k, 0, 3) ? s : 1};
        in[count++] = parameter(k, 4, dim);
    }
    if (pick(k, 0, 2) == 0) {
        Value *place[2];
        for (int i = 0; i < 2; i++) {
            const Attr iota[] = {attr_ints("shape", pairs, 4), attr_int("axis", 2 + i)};
            place[i] = build_op(&k->b, OP_IOTA, NULL, 0, iota, 2);
        }
        Value *sum = build_binary(&k->b, OP_MUL, place[0], place[1]);
        Value *third = build_binary(&k->b, OP_DIV, sum, build_constant(&k->b, sum->type, 3));
        third = build_binary(&k->b, OP_MUL, third, build_constant(&k->b, sum->type, 3));
        in[count++] = build_binary(&k->b, OP_EQ, third, sum);
    }
    return count;
}

static void make_attention(Maker *k) {
    Value *x = tame(k, any(k));
    if (x->type.rank < 2)
        return;
    const int64_t e = 4 * pick(k, 1, 5), heads = pick(k, 1, 2), groups = pick(k, 0, 1) ? heads : 1;
    const int64_t width = x->type.dim[x->type.rank - 1], s = type_count(&x->type) / width;
    const int64_t flat[2] = {s, width}, wq[2] = {width, heads * e}, wk[2] = {width, groups * e};
    const int64_t q_dim[4] = {1, s, heads, e}, k_dim[4] = {1, s, groups, e};
    const int perm[4] = {0, 2, 1, 3};
    Value *rows = build_reshape(&k->b, x, 2, flat), *in[7];
    for (int i = 0; i < 3; i++) {
        Value *y = build_einsum(&k->b, rows, parameter(k, 2, i ? wk : wq), "ab,bc->ac");
        y = build_reshape(&k->b, tame(k, y), 4, i ? k_dim : q_dim);
        in[i] = build_transpose(&k->b, y, perm);
    }
    const bool causal = pick(k, 0, 1);
    Attr attr[5] = {attr_int("causal", causal),
                    attr_int("window", causal && pick(k, 0, 1) ? pick(k, 1, s) : 0),
                    attr_float("scale", 0.5)};
    int attrs = 3;
    // A third has documents of three positions, half of them with the keys that each query sees.
    int count = pick(k, 0, 2) == 0 ? 4 : 3;
    const bool interval = count == 4 && pick(k, 0, 1);
    if (count == 4) {
        const int64_t ids[2] = {1, s};
        const Attr iota[] = {attr_ints("shape", ids, 2), attr_int("axis", 1)};
        Value *at = build_op(&k->b, OP_IOTA, NULL, 0, iota, 2);
        in[3] = build_op(&k->b, OP_DIV, (Value *[]){at, build_constant(&k->b, at->type, 3)}, 2,
                         NULL, 0);
        if (interval) {
            Value *const end = build_binary(&k->b, OP_ADD, at, build_constant(&k->b, at->type, 2));
            in[3] = build_concat(&k->b, (Value *[]){in[3], end, in[3]}, 3, 1);
        }
    }
    if (interval)
        attr[attrs++] = attr_int("interval", 1);
    if (pick(k, 0, 3) == 0)
        attr[attrs++] = attr_float("cap", 0.75);
    if (pick(k, 0, 3) == 0)
        in[count++] = build_constant(&k->b, type_make(DT_F32, 1, &heads), -0.25);
    count = add_pairs(k, heads, s, in, count);
    Node *n = build_node(&k->b, OP_ATTENTION, in, count, attr, attrs);
    const int64_t out[2] = {s, heads * e};
    keep(k, build_reshape(&k->b, build_transpose(&k->b, &n->result[0], perm), 2, out));
}

static void make_gather(Maker *k) {
    const int64_t dim[2] = {INDEX_BOUND, small_dim(k)};
    Value *in[2] = {parameter(k, 2, dim), k->index};
    keep(k, build_op(&k->b, OP_GATHER, in, 2, NULL, 0));
}

static void make_cross_entropy(Maker *k) {
    const int64_t dim[2] = {type_count(&k->index->type), INDEX_BOUND};
    Value *x = any(k);
    const int64_t count = type_count(&x->type);
    if (count % dim[0] != 0)
        return;
    const int64_t flat[2] = {dim[0], count / dim[0]}, w[2] = {count / dim[0], INDEX_BOUND};
    Value *logits = build_einsum(&k->b, tame(k, build_reshape(&k->b, x, 2, flat)),
                                 parameter(k, 2, w), "ab,bc->ac");
    Value *in[2] = {logits, build_reshape(&k->b, k->index, 1, dim)};
    keep(k, &build_node(&k->b, OP_CROSS_ENTROPY, in, 2, NULL, 0)->result[0]);
}

static void make_bf16(Maker *k) {
    Value *x = build_cast(&k->b, tame(k, any(k)), DT_BF16);
    keep(k, build_cast(&k->b, build_binary(&k->b, OP_ADD, x, x), DT_F32));
}

// Axis 1 as channels, whatever there is of others.
static void make_batchnorm(Maker *k) {
    Value *x = tame(k, any(k));
    if (x->type.rank < 2 || type_count(&x->type) / x->type.dim[1] < 3)
        return;
    const Attr eps = attr_float("eps", 1e-2);
    const int64_t channels = x->type.dim[1];
    Value *in[3] = {x, parameter(k, 1, &channels), parameter(k, 1, &channels)};
    const Node *n = build_node(&k->b, OP_BATCHNORM, in, 3, &eps, 1);
    for (int i = 0; i < 3; i++)
        keep(k, &n->result[i]);
}

// The last axes as an image, those before filled up.
static void make_pool(Maker *k) {
    static const Op ops[] = {OP_MAX_POOL, OP_AVG_POOL, OP_UPSAMPLE};
    const Op op = ops[pick(k, 0, 2)];
    Value *x = tame(k, any(k));
    if (x->type.rank > 4)
        return;
    int64_t dim[4] = {1, 1, 1, 1}, window[2], stride[2], padding[2], factor[2];
    for (int i = 0; i < x->type.rank; i++)
        dim[4 - x->type.rank + i] = x->type.dim[i];
    for (int i = 0; i < 2; i++) {
        window[i] = pick(k, 1, dim[2 + i] < 3 ? dim[2 + i] : 3);
        stride[i] = pick(k, 1, 2);
        padding[i] = pick(k, 0, window[i] / 2);
        factor[i] = pick(k, 1, 2);
    }
    x = x->type.rank == 4 ? x : build_reshape(&k->b, x, 4, dim);
    const Attr attr[] = {attr_ints("window", window, 2), attr_ints("stride", stride, 2),
                         attr_ints("padding", padding, 2)};
    const Attr up = attr_ints("factor", factor, 2);
    const bool grows = op == OP_UPSAMPLE;
    keep(k, build_op(&k->b, op, &x, 1, grows ? &up : attr, grows ? 1 : 3));
}

static void make_one(Maker *k) {
    static void (*const make[])(Maker *) = {
        make_unary,        make_unary,   make_binary,    make_binary,    make_positive,
        make_select,       make_reshape, make_slice,     make_transpose, make_pad,
        make_split_concat, make_reduce,  make_norm,      make_softmax,   make_linear,
        make_linear,       make_gram,    make_attention, make_gather,    make_cross_entropy,
        make_bf16,         make_draw,    make_batchnorm, make_pool,      make_pool};
    make[pick(k, 0, (int64_t)(sizeof make / sizeof make[0]) - 1)](k);
}

// The mean of everything nothing reads, as one scalar.
static Value *add_loss(Maker *k) {
    const int *uses = graph_use_counts(k->g, k->m->arena);
    Value *loss = NULL;
    for (int i = 0; i < k->pool_count; i++) {
        Value *v = k->pool[i];
        if (uses[v->id] > 0 || v->def->op == OP_INPUT || v->type.dtype != DT_F32)
            continue;
        int axes[RANK_MAX];
        for (int j = 0; j < v->type.rank; j++)
            axes[j] = j;
        Value *part = tame(k, v);
        if (v->type.rank > 0)
            part = build_reduce_sum(&k->b, part, axes, v->type.rank);
        part = build_scale(&k->b, part, 1.0 / (double)type_count(&v->type));
        loss = loss ? build_binary(&k->b, OP_ADD, loss, part) : part;
    }
    return loss;
}

static void add_minimize(Maker *k, Value *loss) {
    static const char *const optimizers[] = {"sgd", "momentum", "adamw"};
    Value *in[2 + PARAM_MAX] = {loss, add_input(k, type_scalar(DT_F32), FROM_KNOB)};
    double decay[PARAM_MAX];
    for (int i = 0; i < k->param_count; i++) {
        in[2 + i] = k->param[i];
        decay[i] = 0.01 * (double)pick(k, 0, 2);
    }
    const char *optimizer = optimizers[pick(k, 0, 2)];
    const bool adam = strcmp(optimizer, "adamw") == 0;
    Attr attr[8] = {attr_text("optimizer", optimizer), attr_floats("decay", decay, k->param_count)};
    int count = 2;
    if (adam) {
        attr[count++] = attr_float("beta1", 0.9);
        attr[count++] = attr_float("beta2", 0.95);
        attr[count++] = attr_float("eps", 1e-2);
    } else if (strcmp(optimizer, "momentum") == 0) {
        attr[count++] = attr_float("momentum", 0.9);
    }
    if (pick(k, 0, 1))
        attr[count++] = attr_float("clip", 1.0);
    build_node(&k->b, OP_MINIMIZE, in, 2 + k->param_count, attr, count);
}

static void add_results(Maker *k) {
    const int *uses = graph_use_counts(k->g, k->m->arena);
    for (int i = 0; i < k->pool_count; i++)
        if (uses[k->pool[i]->id] == 0 && k->pool[i]->def->op != OP_INPUT)
            graph_add_result(k->g, arena_format(k->m->arena, "r%d", i), k->pool[i]);
    if (k->g->result_count == 0)
        graph_add_result(k->g, "r", tame(k, k->pool[0]));
    Value *s = add_state(k, k->pool[0]->type, STATE_SAVED);
    State *state = module_find_state(k->m, node_text(s->def, "name", ""));
    graph_add_commit(k->g, state, build_binary(&k->b, OP_ADD, s, tame(k, k->pool[0])));
}

static void open_module(Maker *k, Arena *a) {
    k->m = module_create(a, "random");
    const NodeOrigin nowhere = {.loc = {0}, .scope = "", .phase = PHASE_FORWARD};
    Graph *init = graph_create(a, "init");
    k->g = graph_create(a, "main");
    module_add_entry(k->m, init);
    module_add_entry(k->m, k->g);
    k->b = (Builder){.g = k->g, .origin = nowhere};
    k->init = (Builder){.g = init, .origin = nowhere};
    const Type seed = type_scalar(DT_I32);
    Node *n = graph_add_typed(init, OP_INPUT, NULL, 0, NULL, 0, &seed, 1, nowhere);
    n->result[0].name = intern(k->m->names, "seed");
    graph_add_input(init, &n->result[0], FROM_SEED);
    k->seed = &n->result[0];
}

Module *random_module(Arena *a, uint64_t seed, int size, bool training) {
    Maker k = {.random = {seed}};
    open_module(&k, a);
    const int64_t dim[3] = {pick(&k, 1, 3), small_dim(&k), small_dim(&k)};
    const int64_t index_dim[2] = {dim[0], dim[1]};
    keep(&k, add_input(&k, type_make(DT_F32, 3, dim), FROM_DATA));
    k.index = add_input(&k, type_make(DT_I32, 2, index_dim), FROM_DATA);
    k.g->input[k.g->input_count - 1].bound = INDEX_BOUND;
    for (int i = 0; i < size; i++)
        make_one(&k);
    if (training) // At least one parameter that nothing else reads, so that the loss depends on it.
        make_gather(&k);
    if (training) {
        k.g->repeat = (int32_t)pick(&k, 1, 2);
        Value *loss = add_loss(&k);
        if (loss) {
            graph_add_result(k.g, "loss", loss);
            add_minimize(&k, loss);
        }
    }
    if (k.g->result_count == 0) {
        k.g->repeat = 1;
        add_results(&k);
    }
    graph_renumber(k.g);
    return k.m;
}
