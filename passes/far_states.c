// Far states: weights and optimizer state live in far memory, and come in when they are wanted.
//
//   w = state "w"                              w = state "w", far
//   y = einsum(x, w)                           w1 = fetch(w);  y = einsum(x, w1)
//   ... backward: dx = einsum(dy, w)           ... w2 = fetch(w);  dx = einsum(dy, w2)
//   w', m', v' = adamw(w, m, v, g, ...)        for each slice of rows: fetch of w, m and v, adamw
//   commit w', m', v'                          with these rows of g, offload; commit the concats
//
// A state has a fetch for each region of its readers: between two of them that stand next to each
// other, other far state is read that is at least as large, so that keeping this one would cost
// more than it saves; update nodes have fetches of their own. A loop over few weights would so
// fetch them each time round: of one state only the FETCHES_MAX - 1 widest gaps count. Fetching
// whole is all that is done: a lookup of a few rows of a table fetches the table.
//
// Gradients that wait for a norm of all of them go away as soon as they are known, and come back
// with the slices of their updates.
//
// Where weight and moments are all in a GPU's host memory, the host computes every so many slices
// and only the gradient's rows move: as many as keep both busy (passes/host_share.h).
//
// Updates are elementwise, so slices give the same bits. What is fetched, updated and offloaded
// slice after slice pipelines with a few slices of device memory (Deep Optimizer States,
// arXiv 2410.21316, calls them subgroups). First values that are the same everywhere or random
// are written in slices likewise.
//
// Large weights, on the last rung: products and lookups read them tile by tile (far_tiles.h), and
// their gradients are made tile by tile: each right before the slices of its update where that
// follows at once, else it waits in far memory. What can't be read so is fetched whole.
//
// On entry: optimize has run, and no pass follows that shares equal operators. On exit: far states
// are read by fetch only, commits to them come from offload. Cost: O(nodes + slices).
#include "passes/far_states.h"

#include "ir/check.h"
#include "ir/far.h"
#include "passes/far_first.h"
#include "passes/far_slices.h"
#include "passes/far_tiles.h"
#include "passes/host_share.h"
#include "passes/rewrite.h"

// FETCHES_MAX: of one state in the nodes that run once a micro-batch. STATE_BYTES: below it the
// start of a copy outweighs the bytes that are saved. SLICE_BYTES: a copy of this size runs at full
// speed on a disk and on PCIe (its start is 2 to 10 % of it there), and the dozen slices that are
// under way in a pipeline of adamw are 48 MiB. SLICES_MAX: of a whole module, about: each is some
// seven instructions. TILES_MAX: of one weight in an entry, about.
enum {
    FETCHES_MAX = 4,
    STATE_BYTES = 64 << 10,
    SLICE_BYTES = 4 << 20,
    SLICES_MAX = 1024,
    TILES_MAX = 512
};

// What is known of a state's readers, but for those of the update.
typedef struct {
    int64_t gap[FETCHES_MAX]; // the widest ones, falling: bytes of far state read in between
    int last;                 // position of the last reader so far + 1
} Readers;

// The copies of far values in use: of the nodes that run once a micro-batch, and of the update's.
typedef struct {
    Value **fetched; // by state id: the latest fetch
    int *round;      // by state id: how many fetches there were
    Value **copy;    // by value id: what stands for it
    int *copy_round; // by value id: the round it belongs to
} Copies;

typedef struct {
    PassCtx *cx;
    const Module *m;
    Graph *g;
    Rewrite rw;
    const bool *moved;   // by state id
    const State **state; // by value id: the far state it is or is a view of
    int64_t *before;     // by position: bytes of far state that nodes before it read
    Readers *readers;    // by state id
    Copies copies[2];    // [1]: for update nodes
    const int *uses;     // by value id
    bool *committed;     // by value id
    bool *waits;         // by value id: a gradient that waits for its update in far memory
    Value **waiting;     // by value id: where it does
    int64_t *rows;       // by state id: of its tiles, 0: it is read whole
    Value **tiled;       // by value id: the state value that it is or is cast from, in tiles
    bool *made;          // by value id: a gradient that is made in tiles
    int64_t *made_rows;  // by value id: of these
    Node **squares;      // by value id: what sums the squares of its rows
    Value **scalar;      // by value id: where the host's updates find it
    size_t slice;        // bytes
    int fetches, slices, gradients, tiles; // made
    int host_slices;                       // of the slices: those that the host computes
    int shareable;                         // slices so far that it could
} Far;

// --- which states, and how large slices are ---

static bool is_wanted(const State *s, const FarStatesOptions *o) {
    const bool kind = s->kind == STATE_OPTIMIZER
                          ? o->which >= FAR_STATES_OPTIMIZER
                          : s->kind == STATE_PARAM && o->which >= FAR_STATES_ALL;
    return kind && !s->far && s->type.rank > 0 && type_bytes(&s->type) >= o->least;
}

// --- reading ---

static void find_states(Far *f) {
    for (int i = 0; i < f->rw.old_count; i++) {
        const Node *n = f->rw.old[i];
        const State *s = NULL;
        if (n->op == OP_STATE) {
            s = module_find_state(f->m, node_text(n, "name", ""));
            s = s && f->moved[s->id] ? s : NULL;
        } else if (match_view(n)) {
            s = f->state[n->input[0]->id];
        }
        for (int k = 0; s && k < n->result_count; k++)
            f->state[n->result[k].id] = s;
    }
}

static bool reads_in_body(const Node *n) {
    return !match_view(n) && n->phase != PHASE_UPDATE;
}

// Keeps the widest gaps in order.
static void note_gap(Readers *r, int64_t gap) {
    for (int i = 0; i < FETCHES_MAX; i++)
        if (gap > r->gap[i]) {
            const int64_t narrower = r->gap[i];
            r->gap[i] = gap;
            gap = narrower;
        }
}

static void find_gaps(Far *f) {
    for (int i = 0; i < f->rw.old_count; i++) {
        const Node *n = f->rw.old[i];
        f->before[i + 1] = f->before[i];
        for (int k = 0; reads_in_body(n) && k < n->input_count; k++) {
            const State *s = f->state[n->input[k]->id];
            if (s)
                f->before[i + 1] += (int64_t)type_bytes(&s->type);
        }
    }
    for (int i = 0; i < f->rw.old_count; i++) {
        const Node *n = f->rw.old[i];
        for (int k = 0; reads_in_body(n) && k < n->input_count; k++) {
            const State *s = f->state[n->input[k]->id];
            if (!s)
                continue;
            Readers *r = &f->readers[s->id];
            if (r->last)
                note_gap(r, f->before[i] - f->before[r->last]);
            r->last = i + 1;
        }
    }
    for (int i = 0; i < f->m->state_count; i++)
        f->readers[i].last = 0;
}

// Whether the reader at the position wants a fetch of its own.
static bool starts_region(const Far *f, const State *s, int position) {
    const Readers *r = &f->readers[s->id];
    if (!r->last)
        return true;
    const int64_t gap = f->before[position] - f->before[r->last];
    return gap >= (int64_t)type_bytes(&s->type) && gap > r->gap[FETCHES_MAX - 1];
}

// The state itself, whatever view of it v is.
static Value *state_value(Value *v) {
    while (v->def->op != OP_STATE)
        v = v->def->input[0];
    return v;
}

// What the node at the position reads in place of the far value v: a fetch of the state, or the
// same view of one.
static Value *near_value(Far *f, Value *v, const Node *n, int position) {
    const State *s = f->state[v->id];
    const bool update = n->phase == PHASE_UPDATE;
    Copies *c = &f->copies[update];
    Value **fetched = &c->fetched[s->id];
    const bool wanted = *fetched == NULL || (*fetched)->def->phase > n->phase ||
                        (!update && starts_region(f, s, position));
    Builder b = rewrite_builder(f->g, v->def);
    b.origin.phase = n->phase;
    if (wanted) {
        *fetched = build_unary(&b, OP_FETCH, state_value(v));
        c->round[s->id]++;
        f->fetches++;
    }
    if (!update)
        f->readers[s->id].last = position + 1;
    if (v->def->op == OP_STATE)
        return *fetched;
    if (c->copy_round[v->id] == c->round[s->id])
        return c->copy[v->id];
    // The view's operand has been looked up for this reader: no region starts anew.
    Value *in = near_value(f, v->def->input[0], n, position);
    const Node *made = build_node(&b, v->def->op, &in, 1, v->def->attr, v->def->attr_count);
    for (int k = 0; k < made->result_count; k++) {
        c->copy[v->def->result[k].id] = &made->result[k];
        c->copy_round[v->def->result[k].id] = c->round[s->id];
    }
    return c->copy[v->id];
}

static void read_near(Far *f, Node *n, int position) {
    for (int k = 0; k < n->input_count; k++)
        if (f->state[n->input[k]->id])
            n->input[k] = near_value(f, n->input[k], n, position);
}

// --- large weights in tiles ---

// The state value that v shows tile by tile; NULL where it doesn't.
static Value *tiled_state(const Far *f, const Value *v) {
    Value *state = v->id < f->rw.limit ? f->tiled[v->id] : NULL;
    return state && f->rows[f->state[state->id]->id] > 0 ? state : NULL;
}

static int64_t rows_of_tiles(const Far *f, const Value *v) {
    const Value *state = tiled_state(f, v);
    return state ? f->rows[f->state[state->id]->id] : 0;
}

typedef struct {
    Far *f;
    Builder *b;
    const Value *v;
} TileSource;

static Value *fetch_tile(void *user, int64_t start, int64_t stop) {
    const TileSource *s = user;
    Value *rows = build_slice(s->b, tiled_state(s->f, s->v), 0, start, stop);
    s->f->tiles++;
    return build_cast(s->b, build_unary(s->b, OP_FETCH, rows), s->v->type.dtype);
}

// The input that n reads in tiles, -1: none.
static int tiled_input(const Far *f, const Node *n) {
    for (int k = 0; k < n->input_count; k++)
        if (tiled_state(f, n->input[k]))
            return k;
    return -1;
}

static void read_in_tiles(Far *f, const Node *n, int input, int position) {
    Value *in[3];
    CHECK(n->input_count <= 3);
    for (int k = 0; k < n->input_count; k++)
        if (k != input)
            in[k] = f->state[n->input[k]->id] ? near_value(f, n->input[k], n, position)
                                              : rewrite_resolve(&f->rw, n->input[k]);
    Builder b = rewrite_builder(f->g, n);
    TileSource source = {.f = f, .b = &b, .v = n->input[input]};
    const TileRead r = {.b = &b,
                        .n = n,
                        .input = input,
                        .in = in,
                        .rows = rows_of_tiles(f, source.v),
                        .tile = fetch_tile,
                        .user = &source,
                        .scratch = f->cx->scratch};
    rewrite_replace(&f->rw, &n->result[0], tile_read(&r));
}

// --- updates in slices ---

typedef struct {
    Far *f;
    const Node *n;
    Builder b;
    const bool *far; // by result: it is committed to a far state
    int period;      // every so many slices the host's turn comes; 0: never
} UpdateCut;

// One operand alone has as many elements as the node, the others are scalars in its shape.
static bool cuts_through(const Far *f, const Value *v) {
    const Node *n = v->def;
    if (v->id >= f->rw.limit || !(op_info(n->op)->flags & OPF_ELEMENTWISE) || f->uses[v->id] != 1)
        return false;
    int large = 0;
    for (int i = 0; i < n->input_count; i++)
        large += type_count(&match_viewed(n->input[i])->type) > 1;
    return large <= 1;
}

static Value *cut_operand(UpdateCut *u, Value *v, const int64_t *start, const int64_t *stop);

static bool has_summand(const Node *n) {
    return n->op == OP_EINSUM_ADD || n->op == OP_SCATTER_ADD;
}

// These rows of a gradient, made of what the whole would have been made of.
static Value *make_rows(UpdateCut *u, const Node *n, const int64_t *start, const int64_t *stop) {
    Value *in[3];
    double value;
    CHECK(n->input_count <= 3);
    for (int i = 0; i < n->input_count; i++)
        in[i] = rewrite_resolve(&u->f->rw, n->input[i]);
    if (has_summand(n) && match_uniform(n->input[0], &value)) {
        Type t = n->input[0]->type;
        t.dim[0] = stop[0] - start[0];
        in[0] = build_constant(&u->b, t, value);
    } else if (has_summand(n)) {
        in[0] = cut_operand(u, n->input[0], start, stop);
    }
    u->f->tiles++;
    return tile_make(&u->b, n, in, start[0], stop[0]);
}

// The part of an operand that belongs to the slice.
static Value *cut_operand(UpdateCut *u, Value *v, const int64_t *start, const int64_t *stop) {
    Far *f = u->f;
    const bool whole = !type_same_shape(&v->type, &u->n->result[0].type);
    if (whole && !(v->id < f->rw.limit && f->state[v->id]))
        return rewrite_resolve(&f->rw, v);
    if (v->id < f->rw.limit && f->state[v->id]) {
        // A rate that is a part of some other state.
        if (whole)
            return near_value(f, v, u->n, 0);
        if (v->def->op == OP_STATE)
            return build_unary(&u->b, OP_FETCH, slice_of(&u->b, v, start, stop));
        v = near_value(f, v, u->n, 0);
    } else if (v->id < f->rw.limit && f->waiting[v->id]) {
        return build_unary(&u->b, OP_FETCH, slice_of(&u->b, f->waiting[v->id], start, stop));
    } else if (v->id < f->rw.limit && f->made[v->id]) {
        return make_rows(u, v->def, start, stop);
    } else if (cuts_through(f, v)) {
        // A scaled gradient: otherwise the whole of it would be written first.
        const Node *n = v->def;
        Value *in[8];
        CHECK(n->input_count <= 8);
        for (int i = 0; i < n->input_count; i++)
            in[i] = cut_operand(u, n->input[i], start, stop);
        return build_op(&u->b, n->op, in, n->input_count, n->attr, n->attr_count);
    }
    return slice_of(&u->b, rewrite_resolve(&f->rw, v), start, stop);
}

// What the host reads in place of a near value. Scalars go there once for all slices.
static Value *host_value(UpdateCut *u, Value *v, const Value *old) {
    if (v->def->op == OP_CONSTANT)
        return v;
    if (v->def->op == OP_FETCH)
        return v->def->input[0];
    Value **known = old->type.rank == 0 ? &u->f->scalar[old->id] : NULL;
    if (known && *known)
        return *known;
    Value *far = build_unary(&u->b, OP_OFFLOAD, v);
    if (known)
        *known = far;
    return far;
}

static void update_slice(void *user, const int64_t *start, const int64_t *stop, Value **out) {
    UpdateCut *u = user;
    Far *f = u->f;
    Value *in[8];
    const bool host = u->period > 0 && f->shareable++ % u->period == u->period - 1;
    for (int i = 0; i < u->n->input_count; i++) {
        in[i] = cut_operand(u, u->n->input[i], start, stop);
        if (host)
            in[i] = host_value(u, in[i], u->n->input[i]);
    }
    const Node *made =
        build_node(&u->b, u->n->op, in, u->n->input_count, u->n->attr, u->n->attr_count);
    for (int k = 0; k < made->result_count; k++)
        out[k] = u->far[k] && !host ? build_unary(&u->b, OP_OFFLOAD, &made->result[k])
                                    : &made->result[k];
    f->slices++;
    f->host_slices += host;
}

static bool is_update(const Node *n) {
    return n->op == OP_SGD || n->op == OP_MOMENTUM || n->op == OP_ADAMW;
}

// Whether the update reads far state and is read by commits alone.
static bool wants_slices(const Far *f, const Node *n) {
    bool far = false;
    if (!is_update(n))
        return false;
    for (int i = 0; i < n->input_count; i++)
        far = far || f->state[n->input[i]->id];
    for (int k = 0; k < n->result_count; k++)
        if (f->uses[n->result[k].id] != 1 || !f->committed[n->result[k].id])
            return false;
    return far;
}

// What a scaled or widened gradient is made from; v itself where it is neither.
static const Value *unscaled(const Far *f, const Value *v) {
    while (cuts_through(f, v)) {
        const Node *n = v->def;
        const Value *large = NULL;
        for (int i = 0; i < n->input_count; i++)
            if (type_count(&match_viewed(n->input[i])->type) > 1)
                large = n->input[i];
        if (!large)
            return v;
        v = large;
    }
    return v;
}

// Whether updates stand among the backward pass.
static bool is_fused(const Far *f) {
    bool update = false;
    for (int i = 0; i < f->rw.old_count; i++) {
        const Node *n = f->rw.old[i];
        update = update || is_update(n);
        if (update && n->phase == PHASE_BACKWARD)
            return true;
    }
    return false;
}

// Gradients that others than their updates read, for a norm of all of them: they go away in
// between. Those of a fused update are applied at once, those of several micro-batches are sums
// that change with each.
static void find_gradients(Far *f, size_t least) {
    bool passed = f->g->repeat > 1; // the end of the backward pass
    for (int i = f->rw.old_count - 1; i >= 0 && !passed; i--) {
        const Node *n = f->rw.old[i];
        passed = n->phase == PHASE_BACKWARD;
        for (int k = 0; wants_slices(f, n) && k < n->input_count; k++) {
            if (!type_same_shape(&n->input[k]->type, &n->result[0].type))
                continue;
            const Value *v = unscaled(f, n->input[k]);
            f->waits[v->id] = f->uses[v->id] > 1 && !f->state[v->id] &&
                              op_info(v->def->op)->family != FAMILY_LEAF &&
                              type_bytes(&v->type) >= least;
        }
    }
}

static void send_gradients(Far *f, const Node *n) {
    for (int k = 0; k < n->result_count; k++) {
        Value *v = &n->result[k];
        if (!f->waits[v->id])
            continue;
        Builder b = rewrite_builder(f->g, n);
        f->waiting[v->id] = build_unary(&b, OP_OFFLOAD, v);
        f->gradients++;
    }
}

// The state that the value is committed to, where it is one of those that move.
static const State *far_commit(const Far *f, const Value *v) {
    for (int i = 0; i < f->g->commit_count; i++)
        if (f->g->commit[i].value == v && f->moved[f->g->commit[i].state->id])
            return f->g->commit[i].state;
    return NULL;
}

// Where the host has all that the update changes: weight and moments, the first operands.
static int host_period(const Far *f, const Node *n, const bool *far) {
    for (int k = 0; k < n->result_count; k++)
        if (!far[k] || !f->state[n->input[k]->id] || n->input[k]->def->op != OP_STATE)
            return 0;
    return host_share(f->cx, n, f->slice);
}

static void update_in_slices(Far *f, const Node *n) {
    bool far[4] = {false};
    Value *out[4];
    CHECK(n->result_count <= 4 && n->input_count <= 8);
    for (int k = 0; k < n->result_count; k++)
        far[k] = far_commit(f, &n->result[k]) != NULL;
    UpdateCut u = {.f = f,
                   .n = n,
                   .b = rewrite_builder(f->g, n),
                   .far = far,
                   .period = host_period(f, n, far)};
    const Slices slices = {.b = &u.b,
                           .type = n->result[0].type,
                           .bytes = f->slice,
                           .rows = rows_of_tiles(f, n->input[0]),
                           .count = n->result_count,
                           .make = update_slice,
                           .user = &u,
                           .scratch = f->cx->scratch};
    slices_build(&slices, out);
    for (int k = 0; k < n->result_count; k++)
        rewrite_replace(&f->rw, &n->result[k], out[k]);
}

// --- gradients in tiles ---

// reduce_sum of each row of v * v, which a norm of all gradients is made of, by v.
static void find_squares(Far *f) {
    for (int i = 0; i < f->rw.old_count; i++) {
        Node *n = f->rw.old[i];
        const Node *square = n->op == OP_REDUCE_SUM ? n->input[0]->def : NULL;
        int count = 0;
        const int64_t *axes = square ? node_ints(n, "axes", &count) : NULL;
        if (count == 1 && axes[0] == 1 && n->input[0]->type.rank == 2 && square->op == OP_MUL &&
            square->input[0] == square->input[1] && f->uses[square->result[0].id] == 1)
            f->squares[square->input[0]->id] = n;
    }
}

// Nodes that a made gradient's tiles have done.
static bool is_square(const Far *f, const Node *n) {
    if (n->op == OP_REDUCE_SUM)
        return rewrite_resolve(&f->rw, &n->result[0]) != &n->result[0];
    return n->op == OP_MUL && f->made[n->input[0]->id];
}

static bool is_makeable(const Far *f, const Value *v, int uses) {
    const Node *n = v->def;
    if (uses != 1 || f->state[v->id] || !tile_maker(n))
        return false;
    for (int k = 0; k < n->input_count; k++)
        if (f->state[n->input[k]->id] || f->tiled[n->input[k]->id])
            return false;
    return true;
}

// A gradient that only its update, and a norm, reads, and the sums it is made of. What does not
// wait is made where it is read: there its own operands are still at hand.
static void mark_made(Far *f, const Value *v, bool waits, int64_t rows) {
    const bool norm = f->squares[v->id] != NULL;
    if (!is_makeable(f, v, f->uses[v->id] - (norm ? 2 : 0)))
        return;
    f->waits[v->id] = waits || norm;
    for (;;) {
        f->made[v->id] = true;
        f->made_rows[v->id] = rows;
        if (!has_summand(v->def) ||
            !is_makeable(f, v->def->input[0], f->uses[v->def->input[0]->id]))
            return;
        v = v->def->input[0];
        f->waits[v->id] = true;
    }
}

static void find_made(Far *f) {
    const bool fused = is_fused(f);
    find_squares(f);
    for (int i = 0; i < f->rw.old_count && f->g->repeat == 1; i++) {
        const Node *n = f->rw.old[i];
        const int64_t rows = wants_slices(f, n) ? rows_of_tiles(f, n->input[0]) : 0;
        for (int k = 0; rows && k < n->input_count; k++)
            if (type_same_shape(&n->input[k]->type, &n->result[0].type))
                mark_made(f, unscaled(f, n->input[k]), !fused, rows);
    }
}

static void waiting_rows(void *user, const int64_t *start, const int64_t *stop, Value **out) {
    UpdateCut *u = user;
    Value *rows = make_rows(u, u->n, start, stop);
    out[0] = build_unary(&u->b, OP_OFFLOAD, rows);
    if (u->f->squares[u->n->result[0].id])
        out[1] = build_reduce_sum(&u->b, build_binary(&u->b, OP_MUL, rows, rows), (int[]){1}, 1);
}

// Where the whole of it was made.
static void make_in_tiles(Far *f, const Node *n) {
    const Value *v = &n->result[0];
    Value *out[2];
    Node *squares = f->squares[v->id];
    if (!f->waits[v->id])
        return;
    UpdateCut u = {.f = f, .n = n, .b = rewrite_builder(f->g, n)};
    const Slices slices = {.b = &u.b,
                           .type = v->type,
                           .rows = f->made_rows[v->id],
                           .count = squares ? 2 : 1,
                           .make = waiting_rows,
                           .user = &u,
                           .scratch = f->cx->scratch};
    slices_build(&slices, out);
    f->waiting[v->id] = out[0];
    if (squares)
        rewrite_replace(&f->rw, &squares->result[0], out[1]);
    f->gradients++;
}

// --- which weights ---

static int64_t *count_readers(const Far *f) {
    int64_t *count = arena_array(f->cx->scratch, int64_t, f->m->state_count + 1);
    for (int i = 0; i < f->rw.old_count; i++)
        for (int k = 0; k < f->rw.old[i]->input_count; k++) {
            const State *s = f->state[f->rw.old[i]->input[k]->id];
            if (s)
                count[s->id]++;
        }
    return count;
}

static void read_whole(Far *f, const Value *v) {
    const Value *state = f->tiled[v->id];
    if (state)
        f->rows[f->state[state->id]->id] = 0;
}

static bool reads_in_tiles(const Far *f, const Node *n, int input) {
    if (wants_slices(f, n))
        return input == 0 && n->input[0]->def->op == OP_STATE;
    return tile_reader(n, input) && !f->committed[n->result[0].id] && !f->waits[n->result[0].id];
}

// Of weights that are large enough those that every reader can meet in tiles.
static void find_tiled(Far *f, size_t least) {
    const int64_t *readers = count_readers(f);
    for (int i = 0; i < f->m->state_count; i++) {
        const State *s = f->m->state[i];
        const size_t bytes = type_bytes(&s->type);
        const size_t even = bytes / TILES_MAX * (size_t)(readers[i] + 1);
        if (f->moved[i] && s->kind == STATE_PARAM && bytes >= least)
            f->rows[i] = tile_rows(&s->type, even > f->slice ? even : f->slice);
    }
    for (int i = 0; i < f->rw.old_count; i++) {
        Node *n = f->rw.old[i];
        Value *v = n->input_count ? n->input[0] : NULL;
        if (n->op == OP_STATE && f->state[n->result[0].id])
            f->tiled[n->result[0].id] = &n->result[0];
        else if (n->op == OP_CAST && v->def->op == OP_STATE && f->state[v->id])
            f->tiled[n->result[0].id] = v;
        else
            for (int k = 0; k < n->input_count; k++)
                if (!reads_in_tiles(f, n, k))
                    read_whole(f, n->input[k]);
    }
    for (int i = 0; i < f->g->result_count; i++)
        read_whole(f, f->g->result[i].value);
    for (int i = 0; i < f->g->commit_count; i++) {
        const Commit *c = &f->g->commit[i];
        if (f->state[c->value->id] != c->state || c->value->def->op != OP_STATE)
            read_whole(f, c->value);
    }
}

// --- committing ---

// by commit: its far value, where that is known now.
static void offload_results(Far *f, const Node *n, Value **by) {
    for (int k = 0; k < n->result_count; k++)
        for (int i = 0; f->committed[n->result[k].id] && i < f->g->commit_count; i++) {
            const Commit *c = &f->g->commit[i];
            if (c->value == &n->result[k] && f->moved[c->state->id])
                by[i] = first_offload(f->g, c->value, f->slice, f->cx->scratch);
        }
}

// What is a far state's old version, as it is or seen another way, comes in and, if it is committed
// to a far state, goes out again.
static void finish_outputs(Far *f, Value **by) {
    Graph *g = f->g;
    Node last = {.phase = g->repeat > 1 ? PHASE_UPDATE : PHASE_FORWARD};
    for (int i = 0; i < g->result_count; i++)
        if (f->state[g->result[i].value->id])
            g->result[i].value = near_value(f, g->result[i].value, &last, f->rw.old_count);
    for (int i = 0; i < g->commit_count; i++) {
        Commit *c = &g->commit[i];
        const State *s = f->state[c->value->id];
        if (s == c->state && c->value->def->op == OP_STATE)
            continue; // it stays as it is
        if (s)
            c->value = near_value(f, c->value, &last, f->rw.old_count);
        if (s && f->moved[c->state->id])
            by[i] = first_offload(f->g, c->value, f->slice, f->cx->scratch);
    }
    rewrite_end(&f->rw);
    for (int i = 0; i < g->commit_count; i++)
        if (by[i])
            g->commit[i].value = by[i];
}

// --- the whole ---

static void find_commits(Far *f) {
    for (int i = 0; i < f->g->commit_count; i++)
        f->committed[f->g->commit[i].value->id] = true;
}

static void walk(Far *f) {
    Value **by = arena_array(f->cx->scratch, Value *, f->g->commit_count + 1);
    for (int i = 0; i < f->rw.old_count; i++) {
        Node *n = f->rw.old[i];
        // Views of far states stand where they are read, as views of what is fetched.
        if (n->op != OP_STATE && n->result_count && f->state[n->result[0].id])
            continue;
        if (wants_slices(f, n)) {
            update_in_slices(f, n);
            continue;
        }
        const int input = tiled_input(f, n);
        if (is_square(f, n))
            continue;
        if (n->result_count == 1 && f->made[n->result[0].id]) {
            make_in_tiles(f, n);
            continue;
        }
        if (input >= 0) {
            // Casts stand where their tiles are read.
            if (n->op != OP_CAST)
                read_in_tiles(f, n, input, i);
            continue;
        }
        read_near(f, n, i);
        rewrite_keep(&f->rw, n);
        send_gradients(f, n);
        if (n->op != OP_STATE || !f->state[n->result[0].id])
            offload_results(f, n, by);
    }
    finish_outputs(f, by);
}

static Copies copies_create(const Module *m, const Graph *g, Arena *a) {
    return (Copies){.fetched = arena_array(a, Value *, m->state_count + 1),
                    .round = arena_array(a, int, m->state_count + 1),
                    .copy = arena_array(a, Value *, g->value_limit + 1),
                    .copy_round = arena_array(a, int, g->value_limit + 1)};
}

// Returns how much there is of what the rung adds.
static int rewrite_entry(const Module *m, Graph *g, const bool *moved,
                         const FarStatesOptions *options, PassCtx *cx) {
    Arena *a = cx->scratch;
    Far f = {.cx = cx,
             .m = m,
             .g = g,
             .moved = moved,
             .state = arena_array(a, const State *, g->value_limit + 1),
             .before = arena_array(a, int64_t, g->node_count + 1),
             .readers = arena_array(a, Readers, m->state_count + 1),
             .copies = {copies_create(m, g, a), copies_create(m, g, a)},
             .uses = graph_use_counts(g, a),
             .committed = arena_array(a, bool, g->value_limit + 1),
             .waits = arena_array(a, bool, g->value_limit + 1),
             .waiting = arena_array(a, Value *, g->value_limit + 1),
             .rows = arena_array(a, int64_t, m->state_count + 1),
             .tiled = arena_array(a, Value *, g->value_limit + 1),
             .made = arena_array(a, bool, g->value_limit + 1),
             .made_rows = arena_array(a, int64_t, g->value_limit + 1),
             .squares = arena_array(a, Node *, g->value_limit + 1),
             .scalar = arena_array(a, Value *, g->value_limit + 1),
             .slice = options->slice};
    rewrite_begin(&f.rw, g, a);
    find_states(&f);
    find_gaps(&f);
    find_commits(&f);
    if (options->which >= FAR_STATES_GRADIENTS)
        find_gradients(&f, options->least);
    if (options->which >= FAR_STATES_TILED) {
        find_tiled(&f, options->tiled ? options->tiled : TILED_BYTES);
        find_made(&f);
    }
    walk(&f);
    graph_drop_dead(g);
    if (f.tiles)
        remark_add(cx, "far", g->name, "large weights and their gradients come in %d tiles",
                   f.tiles);
    if (f.fetches || f.slices)
        remark_add(cx, "far", g->name,
                   "weights are fetched whole %d times, %d gradients wait far away, updates run in "
                   "%d slices of up to %zu bytes",
                   f.fetches, f.gradients, f.slices, f.slice);
    if (f.host_slices)
        remark_add(cx, "far", g->name, "%d slices of updates are computed by the host",
                   f.host_slices);
    return options->which == FAR_STATES_TILED ? f.tiles : f.gradients;
}

static size_t slice_bytes(size_t total) {
    const size_t least = total / SLICES_MAX;
    return least > SLICE_BYTES ? least : SLICE_BYTES;
}

PassResult far_states_apply(Module *m, const FarStatesOptions *options, PassCtx *cx) {
    FarStatesOptions o = *options;
    o.least = o.least ? o.least : STATE_BYTES;
    bool *moved = arena_array(cx->scratch, bool, m->state_count + 1);
    size_t total = 0;
    int count = 0, added = 0, more = 0; // added: by this rung
    for (int i = 0; i < m->state_count; i++) {
        const State *s = m->state[i];
        moved[i] = is_wanted(s, &o);
        count += moved[i];
        added += moved[i] && (s->kind == STATE_OPTIMIZER) == (o.which == FAR_STATES_OPTIMIZER);
        total += moved[i] ? type_bytes(&s->type) : 0;
    }
    if (!count || (o.which == FAR_STATES_TILED && !tiles_keep_bits(cx->options)))
        return PASS_SAME;
    o.slice = o.slice ? o.slice : slice_bytes(total);
    for (int i = 0; i < m->state_count; i++)
        m->state[i]->far = m->state[i]->far || moved[i];
    for (int i = 0; i < m->entry_count; i++)
        more += rewrite_entry(m, m->entry[i], moved, &o, cx);
    remark_add(cx, "far", m->name ? m->name : "",
               "%d states of %zu bytes live in far memory, those of less than %zu bytes stay",
               count, total, o.least);
    return added && (o.which < FAR_STATES_GRADIENTS || more) ? PASS_CHANGED : PASS_SAME;
}
