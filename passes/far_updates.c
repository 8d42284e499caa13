// Updates in slices: a few slices of device memory, whatever the states' sizes.
//
//   w', m', v' = adamw(w, m, v, g, ...)   =>   for each slice of rows: fetch of w, m and v, adamw
//                                              with these rows of g, offload; concat of the slices
//
// Updates are elementwise, so slices give the same bits. What is fetched, updated and offloaded
// slice after slice pipelines (Deep Optimizer States, arXiv 2410.21316, calls them subgroups).
//
// Where weight and moments are all in a GPU's host memory, the host computes every so many slices
// and only the gradient's rows move: as many as keep both busy (passes/host_share.h). Turns are
// counted through the whole entry, so that small states have their share, too.
//
// On entry: the walk has come to the update, and gradients that wait or are made in tiles are
// marked. On exit: the update is gone, concats stand for its results. A weight that is met in tiles
// is cut as they are. Cost: O(slices).
#include "passes/far_updates.h"

#include "ir/check.h"
#include "passes/far_operands.h"
#include "passes/far_slices.h"
#include "passes/far_weights.h"
#include "passes/host_share.h"

// Of an update: results are weight and moments, inputs these, gradient and scalars.
enum { RESULTS_MAX = 4, INPUTS_MAX = 8 };

typedef struct {
    OperandCut cut;
    const bool *to_far; // by result: it is committed to a far state
    int period;         // every so many slices the host's turn comes; 0: never
} UpdateCut;

// --- which updates ---

static bool is_update(const Node *n) {
    return n->op == OP_SGD || n->op == OP_MOMENTUM || n->op == OP_ADAMW;
}

static bool is_for_commits(const FarEntry *far, const Node *n) {
    for (int k = 0; k < n->result_count; k++)
        if (far->use_count[n->result[k].id] != 1 || !far->is_committed[n->result[k].id])
            return false;
    return true;
}

// Operands: weight, moments, gradient, scalars.
const Value *far_update_gradient(const FarEntry *far, const Node *n) {
    const Value *v = is_update(n) && is_for_commits(far, n) ? n->input[n->result_count] : NULL;
    return v && type_same_shape(&v->type, &n->result[0].type) ? operand_unscaled(far, v) : NULL;
}

bool far_update_is_sliced(const FarEntry *far, const Node *n) {
    const Value *gradient = far_update_gradient(far, n);
    bool reads_far = gradient && far_entry_is_old(far, gradient) && far->is_made[gradient->id];
    for (int i = 0; gradient && i < n->input_count; i++)
        reads_far = reads_far || far_entry_state(far, n->input[i]);
    return reads_far;
}

bool far_updates_are_fused(const FarEntry *far) {
    bool update = false;
    for (int i = 0; i < far->rw.old_count; i++) {
        const Node *n = far->rw.old[i];
        update = update || is_update(n);
        if (update && n->phase == PHASE_BACKWARD)
            return true;
    }
    return false;
}

// --- the host's share ---

// How often the host's turn comes: never, unless it has all that the update changes: weight and
// moments, the first operands.
static int host_period(const FarEntry *far, const Node *n, const bool *to_far) {
    for (int k = 0; k < n->result_count; k++)
        if (!to_far[k] || !far_entry_state(far, n->input[k]) || n->input[k]->def->op != OP_STATE)
            return 0;
    return host_share(far->cx, n, far->slice_bytes);
}

static bool take_host_turn(UpdateCut *u) {
    return u->period > 0 && u->cut.far->counts.shareable_slices++ % u->period == u->period - 1;
}

// What the host reads in place of a near value. Scalars go there once for all slices.
static Value *host_value(UpdateCut *u, Value *near, const Value *old) {
    if (near->def->op == OP_CONSTANT)
        return near;
    if (near->def->op == OP_FETCH)
        return near->def->input[0];
    Value **known = old->type.rank == 0 ? &u->cut.far->host_scalar[old->id] : NULL;
    if (known && *known)
        return *known;
    Value *sent = build_unary(&u->cut.b, OP_OFFLOAD, near);
    if (known)
        *known = sent;
    return sent;
}

// --- slices ---

static void build_slice_of_update(void *user, const int64_t *start, const int64_t *stop,
                                  Value **out) {
    UpdateCut *u = user;
    const Node *n = u->cut.n;
    Builder *b = &u->cut.b;
    Value *in[INPUTS_MAX];
    const bool host = take_host_turn(u);
    for (int i = 0; i < n->input_count; i++) {
        in[i] = operand_slice(&u->cut, n->input[i], start, stop);
        if (host)
            in[i] = host_value(u, in[i], n->input[i]);
    }
    const Node *made = build_node(b, n->op, in, n->input_count, n->attr, n->attr_count);
    for (int k = 0; k < made->result_count; k++)
        out[k] =
            u->to_far[k] && !host ? build_unary(b, OP_OFFLOAD, &made->result[k]) : &made->result[k];
    u->cut.far->counts.update_slices++;
    u->cut.far->counts.host_slices += host;
}

static bool commits_to_far(const FarEntry *far, const Value *v) {
    for (int i = 0; i < far->g->commit_count; i++)
        if (far->g->commit[i].value == v && far->moved[far->g->commit[i].state->id])
            return true;
    return false;
}

void far_update_build(FarEntry *far, const Node *n) {
    bool to_far[RESULTS_MAX] = {false};
    Value *out[RESULTS_MAX];
    CHECK(n->result_count <= RESULTS_MAX && n->input_count <= INPUTS_MAX);
    for (int k = 0; k < n->result_count; k++)
        to_far[k] = commits_to_far(far, &n->result[k]);
    UpdateCut u = {.cut = {.far = far, .n = n, .b = rewrite_builder(far->g, n)},
                   .to_far = to_far,
                   .period = host_period(far, n, to_far)};
    const Slices slices = {.b = &u.cut.b,
                           .type = n->result[0].type,
                           .bytes = far->slice_bytes,
                           .rows = far_weight_tile_rows(far, n->input[0]),
                           .count = n->result_count,
                           .make = build_slice_of_update,
                           .user = &u,
                           .scratch = far->cx->scratch};
    slices_build(&slices, out);
    for (int k = 0; k < n->result_count; k++)
        rewrite_replace(&far->rw, &n->result[k], out[k]);
}
