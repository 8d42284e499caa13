// Large weights, on the last rung: products and lookups read them tile by tile (far_tiles.h).
//
//   wc = cast(w)                for each tile of rows:
//   y = einsum(x, wc)    =>       w1 = fetch(w[tile]);  c1 = cast(w1);  einsum(x, c1) ...
//
// On entry: moved states and gradients that wait are known. far_weights_choose takes weights of
// rank 2 whose bytes are many enough, and drops those that a reader wants whole: one that is no
// product or lookup, one whose result is committed or waits, an output of the entry, another
// state's commit. Those are fetched whole. On exit: no fetch of a chosen weight is larger than a
// tile; updates ask for the same tiles.
//
// Tiles are as large as an update's slices, or larger where an entry would have too many of them.
// Cost: O(operands + tiles).
#include "passes/far_weights.h"

#include "ir/check.h"
#include "passes/far_fetches.h"
#include "passes/far_tiles.h"
#include "passes/far_updates.h"

// TILES_MAX: of one weight in an entry, about. INPUTS_MAX: of products and lookups.
enum { TILES_MAX = 512, INPUTS_MAX = 3 };

// --- which weights ---

static int64_t *count_readers(const FarEntry *far) {
    int64_t *count = arena_array(far->cx->scratch, int64_t, far->m->state_count + 1);
    for (int i = 0; i < far->rw.old_count; i++) {
        const Node *n = far->rw.old[i];
        for (int k = 0; k < n->input_count; k++) {
            const State *s = far_entry_state(far, n->input[k]);
            if (s)
                count[s->id]++;
        }
    }
    return count;
}

static void choose_large(FarEntry *far, size_t least) {
    const int64_t *readers = count_readers(far);
    for (int i = 0; i < far->m->state_count; i++) {
        const State *s = far->m->state[i];
        const size_t bytes = type_bytes(&s->type);
        const size_t even = bytes / TILES_MAX * (size_t)(readers[i] + 1);
        if (far->moved[i] && s->kind == STATE_PARAM && bytes >= least)
            far->tile_rows[i] =
                tile_rows(&s->type, even > far->slice_bytes ? even : far->slice_bytes);
    }
}

static void want_whole(FarEntry *far, const Value *v) {
    const Value *state = far->uncast_state[v->id];
    if (state)
        far->tile_rows[far->state_of[state->id]->id] = 0;
}

static bool reads_in_tiles(const FarEntry *far, const Node *n, int input) {
    if (far_update_is_sliced(far, n))
        return input == 0 && n->input[0]->def->op == OP_STATE;
    const Value *result = &n->result[0];
    return tile_reader(n, input) && !far->is_committed[result->id] && !far->waits[result->id];
}

static void drop_where_nodes_want_whole(FarEntry *far) {
    for (int i = 0; i < far->rw.old_count; i++) {
        Node *n = far->rw.old[i];
        Value *v = n->input_count ? n->input[0] : NULL;
        if (n->op == OP_STATE && far->state_of[n->result[0].id])
            far->uncast_state[n->result[0].id] = &n->result[0];
        else if (n->op == OP_CAST && v->def->op == OP_STATE && far->state_of[v->id])
            far->uncast_state[n->result[0].id] = v;
        else
            for (int k = 0; k < n->input_count; k++)
                if (!reads_in_tiles(far, n, k))
                    want_whole(far, n->input[k]);
    }
}

static void drop_where_outputs_want_whole(FarEntry *far) {
    for (int i = 0; i < far->g->result_count; i++)
        want_whole(far, far->g->result[i].value);
    for (int i = 0; i < far->g->commit_count; i++) {
        const Commit *c = &far->g->commit[i];
        if (far->state_of[c->value->id] != c->state || c->value->def->op != OP_STATE)
            want_whole(far, c->value);
    }
}

void far_weights_choose(FarEntry *far, size_t least) {
    choose_large(far, least);
    drop_where_nodes_want_whole(far);
    drop_where_outputs_want_whole(far);
}

// --- reading them ---

// The value of the chosen weight that v is or is a cast of; NULL where it is none.
static Value *chosen_weight(const FarEntry *far, const Value *v) {
    Value *state = far_entry_is_old(far, v) ? far->uncast_state[v->id] : NULL;
    return state && far->tile_rows[far->state_of[state->id]->id] > 0 ? state : NULL;
}

int64_t far_weight_tile_rows(const FarEntry *far, const Value *v) {
    const Value *state = chosen_weight(far, v);
    return state ? far->tile_rows[far->state_of[state->id]->id] : 0;
}

int far_weight_input(const FarEntry *far, const Node *n) {
    for (int k = 0; k < n->input_count; k++)
        if (chosen_weight(far, n->input[k]))
            return k;
    return -1;
}

typedef struct {
    FarEntry *far;
    Builder *b;
    const Value *weight; // chosen, or a cast of one
} TileSource;

static Value *fetch_tile(void *user, int64_t start, int64_t stop) {
    const TileSource *s = user;
    Value *rows = build_slice(s->b, chosen_weight(s->far, s->weight), 0, start, stop);
    s->far->counts.tiles++;
    return build_cast(s->b, build_unary(s->b, OP_FETCH, rows), s->weight->type.dtype);
}

void far_weight_read(FarEntry *far, const Node *n, int input, int position) {
    Value *in[INPUTS_MAX];
    CHECK(n->input_count <= INPUTS_MAX);
    for (int k = 0; k < n->input_count; k++)
        if (k != input)
            in[k] = far_entry_state(far, n->input[k])
                        ? far_fetch_value(far, n->input[k], n, position)
                        : rewrite_resolve(&far->rw, n->input[k]);
    Builder b = rewrite_builder(far->g, n);
    TileSource source = {.far = far, .b = &b, .weight = n->input[input]};
    const TileRead r = {.b = &b,
                        .n = n,
                        .input = input,
                        .in = in,
                        .rows = far_weight_tile_rows(far, source.weight),
                        .tile = fetch_tile,
                        .user = &source,
                        .scratch = far->cx->scratch};
    rewrite_replace(&far->rw, &n->result[0], tile_read(&r));
}
