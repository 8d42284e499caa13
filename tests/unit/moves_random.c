// Random training modules with moves put in at random: values offloaded and fetched for some of
// their readers, states far, read and committed whole or in slices. Whatever moves, in whatever
// turns the streams run, every entry computes the bits of the module without them. Kernels are
// those of the module without, as the interpreter rounds where a kernel stores.
#include "tests/random/random_graph.h"
#include "tests/unit/plan_machine.h"

#include "ir/build.h"

#ifndef MODULES
#define MODULES 15
#endif

typedef struct {
    Module *m;
    Graph *g;
    Random random;
    Arena *a;
    // New nodes, by place among the old ones.
    int old_count;
    Node ***before, ***behind;
    int *before_count, *behind_count;
} Mover;

enum { PLACED_MAX = 64 };

static bool chance(Mover *w, int of) {
    return random_range(&w->random, 1, of) == 1;
}

static Value *add_view(Mover *w, Op op, Value *x, const int64_t *start, const int64_t *stop,
                       Phase phase) {
    Type t = x->type;
    Attr attr[2];
    int count = 0;
    if (op == OP_SLICE) {
        for (int i = 0; i < t.rank; i++)
            t.dim[i] = stop[i] - start[i];
        attr[count++] = attr_ints("start", start, t.rank);
        attr[count++] = attr_ints("stop", stop, t.rank);
    }
    return &graph_add_typed(w->g, op, &x, 1, attr, count, &t, 1, (NodeOrigin){.phase = phase})
                ->result[0];
}

static Value *add_concat(Mover *w, Value **part, const Type *whole, Phase phase) {
    const Attr axis = attr_int("axis", 0);
    return &graph_add_typed(w->g, OP_CONCAT, part, 2, &axis, 1, whole, 1,
                            (NodeOrigin){.phase = phase})
                ->result[0];
}

// Takes the nodes added since `from` off the end, to stand before or behind an old one.
static void place(Mover *w, int from, int at, bool behind) {
    Node ***list = behind ? w->behind : w->before;
    int *count = behind ? w->behind_count : w->before_count;
    if (!list[at])
        list[at] = arena_array(w->a, Node *, PLACED_MAX);
    for (int i = from; i < w->g->node_count; i++) {
        cr_assert_lt(count[at], PLACED_MAX);
        list[at][count[at]++] = w->g->node[i];
    }
    w->g->node_count = from;
}

// There or back, whole or in two slices.
static Value *move(Mover *w, Op op, Value *x, Phase phase) {
    if (x->type.rank == 0 || x->type.dim[0] < 2 || !chance(w, 3))
        return add_view(w, op, x, NULL, NULL, phase);
    int64_t start[RANK_MAX] = {0}, stop[RANK_MAX];
    memcpy(stop, x->type.dim, sizeof stop);
    const int64_t rows = x->type.dim[0];
    const int64_t cut = random_range(&w->random, 1, rows - 1);
    Value *part[2];
    stop[0] = cut;
    part[0] = add_view(w, op, add_view(w, OP_SLICE, x, start, stop, phase), NULL, NULL, phase);
    start[0] = cut;
    stop[0] = rows;
    part[1] = add_view(w, op, add_view(w, OP_SLICE, x, start, stop, phase), NULL, NULL, phase);
    return add_concat(w, part, &x->type, phase);
}

static bool is_late(const Mover *w, const Node *n) {
    return w->g->repeat > 1 && (n->phase == PHASE_UPDATE || n->op == OP_ACCUMULATE);
}

// Constants are numbers in kernels, and products that are summed up may add to the sum directly.
static bool is_fixed(const Mover *w, const Value *v) {
    const Node *root = v->def;
    while (op_info(root->op)->lowering == LOWER_VIEW && root->op != OP_CONCAT && root->op != OP_PAD)
        root = root->input[0]->def;
    if (root->op == OP_CONSTANT)
        return true;
    for (int i = 0; i < w->old_count; i++)
        for (int k = 0; k < w->g->node[i]->input_count; k++)
            if (w->g->node[i]->op == OP_ACCUMULATE && w->g->node[i]->input[k] == v)
                return true;
    return false;
}

// Some readers from a random one on read copies.
static void move_value(Mover *w, Value *v, int at) {
    const Node *def = v->def;
    Value *far = NULL;
    bool late = false;
    Value *near = NULL;
    for (int i = at + 1; i < w->old_count; i++) {
        Node *n = w->g->node[i];
        bool reads = false;
        for (int k = 0; k < n->input_count; k++)
            reads = reads || n->input[k] == v;
        // Within a kernel nothing moves.
        reads = reads && (n->group == 0 || n->group != def->group);
        const bool n_late = is_late(w, n);
        if (!reads || (!far && chance(w, 2)) || (far && n_late != late))
            continue;
        const int from = w->g->node_count;
        if (!far) {
            late = n_late;
            const Phase phase = late ? PHASE_UPDATE : def->phase;
            far = move(w, OP_OFFLOAD, v, phase);
            place(w, from, at, true);
        }
        if (!near || chance(w, 2)) {
            near = move(w, OP_FETCH, far, late ? PHASE_UPDATE : n->phase);
            place(w, from, i, false);
        }
        for (int k = 0; k < n->input_count; k++)
            if (n->input[k] == v)
                n->input[k] = near;
    }
}

// Readers of a far state, each kind of phase with a copy.
static void fetch_state(Mover *w, Value *v, int at) {
    Value *near[2] = {NULL, NULL};
    for (int i = at + 1; i < w->old_count; i++) {
        Node *n = w->g->node[i];
        for (int k = 0; k < n->input_count; k++) {
            if (n->input[k] != v)
                continue;
            const bool late = is_late(w, n) && n->op != OP_ACCUMULATE;
            if (!near[late] || chance(w, 3)) {
                const int from = w->g->node_count;
                near[late] = move(w, OP_FETCH, v, late ? PHASE_UPDATE : n->phase);
                place(w, from, i, false);
            }
            n->input[k] = near[late];
        }
    }
    for (int i = 0; i < w->g->result_count; i++)
        if (w->g->result[i].value == v) {
            const int from = w->g->node_count;
            w->g->result[i].value =
                move(w, OP_FETCH, v, w->g->repeat > 1 ? PHASE_UPDATE : PHASE_FORWARD);
            place(w, from, w->old_count - 1, true);
        }
}

static void offload_commits(Mover *w) {
    for (int i = 0; i < w->g->commit_count; i++) {
        Value *v = w->g->commit[i].value;
        const bool own =
            v->def->op == OP_STATE && module_find_state(w->m, node_text(v->def, "name", ""))->far;
        if (!w->g->commit[i].state->far || own)
            continue;
        const int from = w->g->node_count;
        const Phase phase = w->g->repeat > 1 ? PHASE_UPDATE : v->def->phase;
        w->g->commit[i].value = move(w, OP_OFFLOAD, v, phase);
        place(w, from, w->old_count - 1, true);
    }
}

static void move_graph(Mover *w) {
    Graph *g = w->g;
    w->old_count = g->node_count;
    w->before = arena_array(w->a, Node **, g->node_count);
    w->behind = arena_array(w->a, Node **, g->node_count);
    w->before_count = arena_array(w->a, int, g->node_count);
    w->behind_count = arena_array(w->a, int, g->node_count);
    Node **old = arena_array(w->a, Node *, g->node_count);
    memcpy(old, g->node, (size_t)g->node_count * sizeof *old);
    for (int i = 0; i < w->old_count; i++)
        for (int r = 0; r < old[i]->result_count; r++) {
            Value *v = &old[i]->result[r];
            if (old[i]->op == OP_STATE &&
                module_find_state(w->m, node_text(old[i], "name", ""))->far)
                fetch_state(w, v, i);
            else if (chance(w, 3) && !is_fixed(w, v))
                move_value(w, v, i);
        }
    offload_commits(w);
    Node **all = arena_array(w->m->arena, Node *, g->node_limit + 1);
    int count = 0;
    for (int i = 0; i < w->old_count; i++) {
        for (int k = 0; k < w->before_count[i]; k++)
            all[count++] = w->before[i][k];
        all[count++] = old[i];
        for (int k = 0; k < w->behind_count[i]; k++)
            all[count++] = w->behind[i][k];
    }
    g->node = all;
    g->node_count = g->node_capacity = count;
}

static const char *print(Arena *a, Module *m) {
    for (int i = 0; i < m->entry_count; i++)
        graph_renumber(m->entry[i]);
    return module_text(m, a, 0);
}

// The module as order finds it, without moves and with.
static void make_texts(Arena *a, uint64_t seed, const char **plain, const char **moved) {
    static const char *const pass[] = {"simplify", "autodiff", "optimize",  "tidy",
                                       "chunk",    "legalize", "recompute", "fuse"};
    const PassOptions options = {.chunk_bytes = 64};
    PassCtx cx = {.arena = a, .scratch = arena_create(), .diag = diag_create(a)};
    cx.options = &options;
    Module *m = random_module(a, seed, 3 + (int)(seed % 20), seed % 3 != 0);
    cr_assert(pipeline_run(m, &cx, pass, 8, NULL, NULL));
    arena_release(cx.scratch);
    *plain = print(a, m);
    Mover w = {.m = m, .a = a, .random = {seed}};
    for (int i = 0; i < m->state_count; i++)
        m->state[i]->far = m->state[i]->type.rank > 0 && chance(&w, 2);
    for (int i = 0; i < m->entry_count; i++) {
        w.g = m->entry[i];
        move_graph(&w);
    }
    *moved = print(a, m);
}

static void check_seed(uint64_t seed, uint32_t *copies) {
    static const char *const pass[] = {"order", "lower", "schedule", "layout"};
    static const char *const entry[] = {"init", "main"};
    Arena *a = arena_create();
    const char *plain_text, *moved_text;
    make_texts(a, seed, &plain_text, &moved_text);
    Machine plain, moved;
    machine_open_by(&plain, plain_text, (PassOptions){0}, pass, 4);
    machine_open_by(&moved, moved_text, (PassOptions){0}, pass, 4);
    for (uint32_t i = 0; i < moved.cx.plan->segment_count; i++)
        for (uint32_t k = 0; k < moved.cx.plan->segment[i].instr_count; k++)
            *copies += moved.cx.plan->segment[i].instr[k].stream > 0;
    for (int i = 0; i < 2; i++) {
        const uint64_t want = machine_digest_entry(&plain, entry[i]);
        for (uint64_t turns = 0; turns < 4; turns++) {
            moved.turns = turns;
            cr_assert_eq(machine_digest_entry(&moved, entry[i]), want, "seed %llu, %s, turns %llu",
                         (unsigned long long)seed, entry[i], (unsigned long long)turns);
        }
    }
    machine_close(&plain);
    machine_close(&moved);
    arena_release(a);
}

Test(moves_random, change_no_bit) {
    uint32_t copies = 0;
    for (uint64_t seed = 0; seed < MODULES; seed++)
        check_seed(seed, &copies);
    cr_assert_gt(copies, 5u * MODULES, "there was something to test");
}
