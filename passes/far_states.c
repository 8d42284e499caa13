// Far states: weights and optimizer state live in far memory, and come in when they are wanted.
//
//   w = state "w"                              w = state "w", far
//   y = einsum(x, w)                           w1 = fetch(w);  y = einsum(x, w1)
//   ... backward: dx = einsum(dy, w)           ... w2 = fetch(w);  dx = einsum(dy, w2)
//   w', m', v' = adamw(w, m, v, g, ...)        for each slice of rows: fetch of w, m and v, adamw
//   commit w', m', v'                          with these rows of g, offload; commit the concats
//
// This file walks each entry once and commits. Which states go, and what a node becomes on the way,
// is the business of those who know:
//
//   which states, or which part of them                                     far_choice.c
//   a reader                    fetches by region                           far_fetches.c
//   a reader of a large weight  products and lookups of tiles, last rung    far_weights.c
//   an update                   slices, some of them the host's             far_updates.c
//   a gradient that waits       is sent away, or made in tiles              far_gradients.c
//   one that lookups scatter    is made in slices, where nothing is far, too
//   a sum over micro-batches    comes in, is added to, and goes out again   far_sums.c
//
// and far_entry.h has what they share. A value that is committed to a far state is offloaded where
// it is made; first values that are the same everywhere or random, in slices (far_first.h).
//
// On entry: optimize has run, and no pass follows that shares equal operators. On exit: far states
// are read by fetch only, commits to them come from offload. Cost: O(nodes + slices).
#include "passes/far_states.h"

#include "passes/far_choice.h"
#include "passes/far_entry.h"
#include "passes/far_fetches.h"
#include "passes/far_first.h"
#include "passes/far_gradients.h"
#include "passes/far_sums.h"
#include "passes/far_tiles.h"
#include "passes/far_updates.h"
#include "passes/far_weights.h"

#include <string.h>

// STATE_BYTES: below it the start of a copy outweighs the bytes that are saved. SLICE_BYTES: a copy
// of this size runs at full speed on a disk and on PCIe (its start is 2 to 10 % of it there), and
// the dozen slices that are under way in a pipeline of adamw are 48 MiB. SLICES_MAX: of a whole
// module, about: each is some seven instructions.
enum { STATE_BYTES = 64 << 10, SLICE_BYTES = 4 << 20, SLICES_MAX = 1024 };

// --- committing ---

// far_version, by commit: its value in far memory, where that is known now.
static void offload_results(FarEntry *far, const Node *n, Value **far_version) {
    for (int k = 0; k < n->result_count; k++)
        for (int i = 0; far->is_committed[n->result[k].id] && i < far->g->commit_count; i++) {
            const Commit *c = &far->g->commit[i];
            if (c->value == &n->result[k] && far->moved[c->state->id])
                far_version[i] =
                    first_offload(far->g, c->value, far->slice_bytes, far->cx->scratch);
        }
}

// What is a far state's old version, as it is or seen another way, comes in and, if it is committed
// to a far state, goes out again.
static void return_old_versions(FarEntry *far, Value **far_version) {
    Graph *g = far->g;
    const Node last = {.phase = g->repeat > 1 ? PHASE_UPDATE : PHASE_FORWARD};
    for (int i = 0; i < g->result_count; i++)
        if (far_entry_state(far, g->result[i].value))
            g->result[i].value = far_fetch_value(far, g->result[i].value, &last, far->rw.old_count);
    for (int i = 0; i < g->commit_count; i++) {
        Commit *c = &g->commit[i];
        const State *s = far_entry_state(far, c->value);
        if (s == c->state && c->value->def->op == OP_STATE)
            continue; // it stays as it is
        if (s)
            c->value = far_fetch_value(far, c->value, &last, far->rw.old_count);
        if (s && far->moved[c->state->id])
            far_version[i] = first_offload(g, c->value, far->slice_bytes, far->cx->scratch);
    }
}

// --- one entry ---

static void rewrite_one(FarEntry *far, int position, Value **far_version) {
    Node *n = far->rw.old[position];
    const bool shows_far = n->result_count && far_entry_state(far, &n->result[0]);
    // Views of far states stand where they are read, as views of what is fetched.
    if (n->op != OP_STATE && shows_far)
        return;
    if (far_update_is_sliced(far, n)) {
        far_update_build(far, n);
        return;
    }
    if (far_gradient_square_is_made(far, n) || far_sum_build(far, n))
        return; // its tiles or slices have it
    if (far_gradient_is_made(far, n)) {
        far_gradient_make(far, n);
        return;
    }
    const int large = far_weight_input(far, n);
    if (large >= 0) {
        // Casts stand where their tiles are read.
        if (n->op != OP_CAST)
            far_weight_read(far, n, large, position);
        return;
    }
    far_fetch_inputs(far, n, position);
    far_sums_fetch_inputs(far, n);
    rewrite_keep(&far->rw, n);
    far_gradients_send(far, n);
    if (!shows_far)
        offload_results(far, n, far_version);
}

static void walk(FarEntry *far) {
    Graph *g = far->g;
    Value **far_version = arena_array(far->cx->scratch, Value *, g->commit_count + 1);
    for (int i = 0; i < far->rw.old_count; i++) {
        rewrite_one(far, i, far_version);
        far_sums_add(far, far->rw.old[i]);
    }
    return_old_versions(far, far_version);
    rewrite_end(&far->rw);
    for (int i = 0; i < g->commit_count; i++)
        if (far_version[i])
            g->commit[i].value = far_version[i];
}

static void remark_entry(const FarEntry *far) {
    const FarCounts *c = &far->counts;
    const char *name = far->g->name;
    if (c->tiles)
        remark_add(far->cx, "far", name, "large weights and their gradients come in %d tiles",
                   c->tiles);
    if (c->fetches || c->update_slices)
        remark_add(far->cx, "far", name,
                   "weights are fetched whole %d times, %d gradients wait far away, updates run in "
                   "%d slices of up to %zu bytes",
                   c->fetches, c->waiting_gradients, c->update_slices, far->slice_bytes);
    if (c->sums)
        remark_add(far->cx, "far", name, "%d sums over micro-batches live far away, in %d pieces",
                   c->sums, c->sum_pieces);
    if (c->scattered)
        remark_add(far->cx, "far", name,
                   "%d gradients of looked-up tables are made where they are read, in slices of up "
                   "to %zu bytes",
                   c->scattered, far->slice_bytes);
    if (c->host_slices)
        remark_add(far->cx, "far", name, "%d slices of updates are computed by the host",
                   c->host_slices);
}

// How much there is of what the rung adds beside states.
static int count_added(const FarEntry *far, FarStates which) {
    return which == FAR_STATES_SCATTERED ? far->counts.scattered
           : which == FAR_STATES_TILED   ? far->counts.tiles
                                         : far->counts.waiting_gradients + far->counts.sums;
}

// Returns count_added.
static int rewrite_entry(const Module *m, Graph *g, const bool *moved,
                         const FarStatesOptions *options, PassCtx *cx) {
    FarEntry far = {.cx = cx, .m = m, .g = g, .slice_bytes = options->slice, .moved = moved};
    far_entry_init(&far);
    far_fetch_plan(&far);
    if (options->which >= FAR_STATES_GRADIENTS)
        far_gradients_find_waiting(&far, options->least);
    if (options->which >= FAR_STATES_TILED) {
        far_weights_choose(&far, options->tiled ? options->tiled : TILED_BYTES);
        far_gradients_find_made(&far);
    }
    if (options->which >= FAR_STATES_SCATTERED)
        far_gradients_find_scattered(&far, options->least);
    if (options->which >= FAR_STATES_GRADIENTS)
        far_sums_find(&far, options->least);
    walk(&far);
    graph_drop_dead(g);
    remark_entry(&far);
    return count_added(&far, options->which);
}

// --- how large slices are ---

static size_t slice_bytes(size_t total) {
    const size_t least = total / SLICES_MAX;
    return least > SLICE_BYTES ? least : SLICE_BYTES;
}

size_t far_states_bytes(const Module *m, const FarStatesOptions *options, Arena *scratch) {
    FarStatesOptions o = *options;
    o.least = o.least ? o.least : STATE_BYTES;
    bool *moved = arena_array(scratch, bool, m->state_count + 1);
    size_t bytes = 0;
    far_choose(m, &o, moved, scratch);
    for (int i = 0; i < m->state_count; i++)
        if (moved[i] && m->state[i]->kind == STATE_OPTIMIZER)
            bytes += type_bytes(&m->state[i]->type);
    return bytes;
}

PassResult far_states_apply(Module *m, const FarStatesOptions *options, PassCtx *cx) {
    FarStatesOptions o = *options;
    o.least = o.least ? o.least : STATE_BYTES;
    bool *moved = arena_array(cx->scratch, bool, m->state_count + 1);
    size_t total = 0;
    int count = 0, added = 0, more = 0; // added: by this rung
    far_choose(m, &o, moved, cx->scratch);
    for (int i = 0; i < m->state_count; i++) {
        const State *s = m->state[i];
        count += moved[i];
        added += moved[i] && far_is_added(s, &o);
        total += moved[i] ? type_bytes(&s->type) : 0;
    }
    const bool moves = o.which > FAR_STATES_SCATTERED;
    if (o.which == FAR_STATES_NONE || (moves && !count) ||
        (o.which == FAR_STATES_TILED && !tiles_keep_bits(cx->options)))
        return PASS_SAME;
    o.slice = o.slice ? o.slice : slice_bytes(total);
    for (int i = 0; i < m->state_count; i++)
        m->state[i]->far = m->state[i]->far || moved[i];
    for (int i = 0; i < m->entry_count; i++)
        more += rewrite_entry(m, m->entry[i], moved, &o, cx);
    if (moves)
        remark_add(cx, "far", m->name ? m->name : "",
                   "%d states of %zu bytes live in far memory, those of less than %zu bytes stay",
                   count, total, o.least);
    const bool by_states = o.which == FAR_STATES_OPTIMIZER || o.which == FAR_STATES_ALL;
    return (added || !moves) && (by_states || more) ? PASS_CHANGED : PASS_SAME;
}
