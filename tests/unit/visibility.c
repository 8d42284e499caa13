// Masks of attention read as what each query sees: random masks of positions, numbers of rows and
// queries, and ids, held against the mask itself, query by query and key by key.
#include "frontend/visibility.h"

#include "ir/evaluate.h"

#include <criterion/criterion.h>
#include <stdio.h>

enum { MASKS = 3000, INPUTS = 5, PLACES = 4 };

typedef struct {
    Arena *a;
    Graph *g;
    Builder b;
    AttentionFrame frame;
    Value *input[INPUTS]; // i32: a scalar, [batch], [batch, queries], [batch, keys] and
                          // [batch, 2 keys]
    uint64_t random;
} Maker;

static int64_t pick(Maker *k, int64_t count) {
    k->random = k->random * 6364136223846793005U + 1442695040888963407U;
    return (int64_t)(k->random >> 33) % count;
}

// [batch, 1, queries, keys].
static Type frame_type(const Maker *k, DType dtype) {
    const int64_t dim[PLACES] = {k->frame.batch, 1, k->frame.queries, k->frame.keys};
    return type_make(dtype, PLACES, dim);
}

// x laid along the frame, by an axis of one element in between or not.
static Value *lay(Maker *k, Value *x, const int *axes) {
    Type one = frame_type(k, x->type.dtype), all = one;
    if (pick(k, 2))
        return build_broadcast(&k->b, x, &all, axes);
    for (int i = 0; i < PLACES; i++)
        one.dim[i] = 1;
    for (int i = 0; i < x->type.rank; i++)
        one.dim[axes[i]] = x->type.dim[i];
    x = pick(k, 2) ? build_broadcast(&k->b, x, &one, axes)
                   : build_reshape(&k->b, x, PLACES, one.dim);
    return build_broadcast(&k->b, x, &all, (int[]){0, 1, 2, 3});
}

static Value *make_position(Maker *k, int axis) {
    const Type all = frame_type(k, DT_I32);
    const int64_t square[2] = {k->frame.queries, k->frame.keys};
    if (pick(k, 2)) {
        const Attr attr[] = {attr_ints("shape", all.dim, PLACES), attr_int("axis", axis)};
        return build_op(&k->b, OP_IOTA, NULL, 0, attr, 2);
    }
    const Attr attr[] = {attr_ints("shape", square, 2), attr_int("axis", axis - 2)};
    Value *at = build_op(&k->b, OP_IOTA, NULL, 0, attr, 2);
    return build_broadcast(&k->b, at, &all, (int[]){2, 3});
}

static Value *make_number(Maker *k, int depth) {
    static const int axes[INPUTS][2] = {{0}, {0}, {0, 2}, {0, 3}, {0}};
    const int kind = (int)pick(k, depth > 0 ? 11 : 7);
    if (kind < 3)
        return make_position(k, kind == 0 ? 2 : 3);
    if (kind < 6)
        return lay(k, k->input[kind - 3], axes[kind - 3]);
    if (kind == 6)
        return build_constant(&k->b, frame_type(k, DT_I32), (double)(pick(k, 9) - 2));
    static const Op op[4] = {OP_ADD, OP_SUB, OP_MAX, OP_DIV};
    Value *x = make_number(k, depth - 1), *y = make_number(k, depth - 1);
    if (kind == 10) // whole parts, as of chunks
        y = build_constant(&k->b, y->type, 3);
    return build_binary(&k->b, op[kind - 7], x, y);
}

static Value *make_mask(Maker *k, int depth) {
    const int kind = (int)pick(k, depth > 0 ? 8 : 4);
    if (kind >= 4)
        return build_binary(&k->b, kind < 6 ? OP_AND : OP_OR, make_mask(k, depth - 1),
                            make_mask(k, depth - 1));
    if (kind == 3 && k->frame.queries == k->frame.keys) {
        // The same ids, or one half of some and perhaps the other.
        const Attr attr[] = {attr_int("axis", 1),
                             attr_ints("sizes", (int64_t[]){k->frame.keys, k->frame.keys}, 2)};
        Node *halves = build_node(&k->b, OP_SPLIT, &k->input[4], 1, attr, 2);
        const bool halved = pick(k, 2);
        Value *x = halved ? &halves->result[0] : k->input[3];
        Value *y = halved ? &halves->result[pick(k, 2)] : k->input[3];
        return build_binary(&k->b, OP_EQ, lay(k, x, (int[]){0, 2}), lay(k, y, (int[]){0, 3}));
    }
    return build_binary(&k->b,
                        kind == 0   ? OP_LT
                        : kind == 1 ? OP_LE
                                    : OP_EQ,
                        make_number(k, 2), make_number(k, 2));
}

static void begin(Maker *k, uint64_t seed) {
    *k = (Maker){.a = arena_create(), .random = seed * 7919 + 1};
    k->g = graph_create(k->a, "mask");
    k->b = (Builder){.g = k->g, .origin = {.scope = ""}};
    k->frame = (AttentionFrame){1 + pick(k, 2), 2, 1 + pick(k, 6), 1 + pick(k, 6)};
    if (pick(k, 2))
        k->frame.keys = k->frame.queries;
    const int64_t batch = k->frame.batch, queries = k->frame.queries, keys = k->frame.keys;
    const Type type[INPUTS] = {type_scalar(DT_I32), type_make(DT_I32, 1, &batch),
                               type_make(DT_I32, 2, (int64_t[]){batch, queries}),
                               type_make(DT_I32, 2, (int64_t[]){batch, keys}),
                               type_make(DT_I32, 2, (int64_t[]){batch, 2 * keys})};
    for (int i = 0; i < INPUTS; i++) {
        Node *n = graph_add_typed(k->g, OP_INPUT, NULL, 0, NULL, 0, &type[i], 1, k->b.origin);
        k->input[i] = &n->result[0];
    }
}

// All values of the graph, by id.
static Tensor *evaluate(Maker *k) {
    Tensor *at = arena_array(k->a, Tensor, k->g->value_limit);
    const EvalCtx cx = {.arena = k->a};
    for (int i = 0; i < k->g->node_count; i++) {
        const Node *n = k->g->node[i];
        Tensor in[3] = {0};
        if (n->op == OP_INPUT) {
            Tensor *x = &at[n->result[0].id];
            *x = tensor_create(k->a, n->result[0].type);
            for (int64_t j = 0; j < type_count(&x->type); j++)
                x->at[j] = (double)(pick(k, 9) - 2);
            continue;
        }
        for (int j = 0; j < n->input_count; j++)
            in[j] = at[n->input[j]->id];
        node_evaluate(n, in, &at[n->result[0].id], &cx);
    }
    return at;
}

static void check(const Maker *k, const Tensor *mask, const Tensor *table, const Visibility *v) {
    const int64_t queries = k->frame.queries, keys = k->frame.keys;
    const bool interval = v->begin || v->end;
    for (int64_t b = 0; b < k->frame.batch; b++) {
        const double *row = table->at + b * table->type.dim[1];
        const double *id = row + (interval ? 2 * queries : 0);
        for (int64_t i = 0; i < queries; i++)
            for (int64_t j = 0; j < keys; j++) {
                const double *seen = mask->at + (b * queries + i) * keys + j;
                bool want = !interval || (row[i] <= (double)j && (double)j < row[queries + i]);
                want = want && (!v->documents || id[i] == id[j]);
                cr_assert_eq(*seen != 0, want, "row %d, query %d, key %d", (int)b, (int)i, (int)j);
            }
    }
}

Test(visibility, says_what_the_mask_does) {
    int read = 0, documents = 0;
    for (uint64_t seed = 0; seed < MASKS; seed++) {
        Maker k;
        begin(&k, seed);
        Value *mask = make_mask(&k, 2);
        Visibility v;
        bool interval;
        if (visibility_find(&k.b, &k.frame, mask, &v)) {
            const Value *table = visibility_table(&k.b, &k.frame, &v, &interval);
            cr_assert_eq(interval, v.begin || v.end);
            const Tensor *at = evaluate(&k);
            check(&k, &at[mask->id], &at[table->id], &v);
            read++;
            documents += v.documents != NULL;
        }
        arena_release(k.a);
    }
    printf("%d of %d masks read, %d with documents\n", read, MASKS, documents);
    cr_assert(read > MASKS / 10 && documents > MASKS / 50);
}

// key - start < the largest number there is: no end, wherever it starts.
Test(visibility, no_limit_stays_none) {
    Maker k;
    begin(&k, 5);
    Value *key = make_position(&k, 3), *start = lay(&k, k.input[2], (int[]){0, 2});
    Value *limit = build_constant(&k.b, key->type, INT32_MAX);
    Value *mask = build_binary(&k.b, OP_LT, build_binary(&k.b, OP_SUB, key, start), limit);
    Visibility v;
    bool interval;
    cr_assert(visibility_find(&k.b, &k.frame, mask, &v));
    const Value *table = visibility_table(&k.b, &k.frame, &v, &interval);
    const Tensor *at = evaluate(&k);
    check(&k, &at[mask->id], &at[table->id], &v);
    arena_release(k.a);
}

// A sum of sums, each of its twin: read in no time, or not at all.
Test(visibility, ends_with_what_grows) {
    Maker k;
    begin(&k, 7);
    Value *x = make_position(&k, 3);
    for (int i = 0; i < 60; i++)
        x = build_binary(&k.b, OP_ADD, x, x);
    Visibility v;
    Value *mask = build_binary(&k.b, OP_LT, x, make_position(&k, 2));
    cr_assert(!visibility_find(&k.b, &k.frame, mask, &v));
    arena_release(k.a);
}
