// A lower bound on the live bytes of any order.
//
// When a task runs, whatever order was chosen, these objects are live: those it uses, and those
// that one of its ancestors uses (or that are there from the start) and one of its descendants uses
// (or that are kept). Their sum, at the task where it is largest, bounds every order. What a task
// may write over something it uses counts once. Ancestors are bit sets: tasks^2 / 8 bytes, edges x
// tasks / 64 steps, and tasks x uses look-ups.
#include "tests/bench/graph_bound.h"

typedef struct {
    const OrderGraph *og;
    size_t words;
    uint64_t *above; // by task: its ancestors and itself
} Bound;

static bool is_above(const Bound *b, int ancestor, int task) {
    return b->above[(size_t)task * b->words + (size_t)ancestor / 64] >> (ancestor % 64) & 1;
}

static void find_above(Bound *b) {
    const OrderGraph *og = b->og;
    for (int t = 0; t < og->task_count; t++) {
        uint64_t *set = b->above + (size_t)t * b->words;
        set[t / 64] |= (uint64_t)1 << (t % 64);
        for (int i = og->pred_begin[t]; i < og->pred_begin[t + 1]; i++) {
            const uint64_t *from = b->above + (size_t)og->pred[i] * b->words;
            for (size_t w = 0; w < b->words; w++)
                set[w] |= from[w];
        }
    }
}

// Whether the object is live when the task runs, in every order.
static bool is_live(const Bound *b, const OrderObject *o, int task) {
    bool before = o->flags & OBJECT_FROM_START, after = o->flags & OBJECT_KEPT;
    for (int i = 0; i < o->user_count && !(before && after); i++) {
        before = before || is_above(b, o->user[i], task);
        after = after || is_above(b, task, o->user[i]);
    }
    return before && after;
}

// Of what the task makes, bytes that may lie over something else it uses.
static int64_t taken_over(const OrderGraph *og, int task) {
    int64_t sum = 0;
    for (int i = og->over_begin[task]; i < og->over_begin[task + 1]; i++) {
        bool first = true;
        for (int k = og->over_begin[task]; k < i; k++)
            first = first && og->over[k].made != og->over[i].made;
        sum += first ? og->object[og->over[i].made].bytes : 0;
    }
    return sum;
}

int64_t graph_bound(const OrderGraph *og, Arena *a, int *task) {
    Bound b = {.og = og, .words = (size_t)og->task_count / 64 + 1};
    b.above = arena_array(a, uint64_t, (size_t)og->task_count *b.words + 1);
    find_above(&b);
    int64_t best = 0;
    *task = 0;
    for (int t = 0; t < og->task_count; t++) {
        int64_t live = og->transient[t] - taken_over(og, t);
        for (int o = 0; o < og->object_count; o++)
            if (is_live(&b, &og->object[o], t))
                live += og->object[o].bytes;
        if (live > best) {
            best = live;
            *task = t;
        }
    }
    return best;
}
