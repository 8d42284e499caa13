// Cutting a problem of ordering into independent ones.
//
// A task that uses no memory (a view, a leaf that lies elsewhere) changes nothing that counts: its
// edges are drawn from its forerunners to its followers, and it runs whenever it can. Of the rest,
// a task is memory-insensitive (ROAM, arXiv 2310.19295) when every other task is its ancestor or
// its descendant. Along any allowed order that is so when nothing before it ends before it (every
// earlier task has a follower no later than it) and nothing behind it begins by itself: two running
// extremes tell, in linear time. What is live between two such tasks is the same in every order, so
// the segments between them are ordered each on its own; what one merely carries along is a
// constant.
//
// The bound: an object with a user at or before a task and one at or behind it is live while it
// runs. Sets of ancestors as bits: n^2 / 64 words, so beyond a stated size only a task's own
// objects count.
#include "passes/memory/order_part.h"

#include "passes/memory/order_sets.h"
#include "passes/memory/order_state.h"

#include <string.h>

// Edges drawn around a task at most, beyond those it has.
enum { CONTRACT_EDGES_MAX = 256 };

// What contraction knows of each task.
typedef struct {
    const OrderGraph *og;
    int *number;             // in the contracted problem, or -1
    int *pred_count, **pred; // of those without number: the numbered ones before it
} Contraction;

static bool uses_nothing(const OrderGraph *og, int task) {
    return og->use_begin[task] == og->use_begin[task + 1] && og->transient[task] == 0;
}

// The numbered forerunners of a task, through those without number, each as often as it is found.
static int gather_preds(const Contraction *c, int task, int *out) {
    int count = 0;
    for (int i = c->og->pred_begin[task]; i < c->og->pred_begin[task + 1]; i++) {
        const int p = c->og->pred[i];
        if (c->number[p] >= 0) {
            if (out)
                out[count] = c->number[p];
            count++;
            continue;
        }
        if (out && c->pred_count[p])
            memcpy(out + count, c->pred[p], (size_t)c->pred_count[p] * sizeof *out);
        count += c->pred_count[p];
    }
    return count;
}

OrderGraph *order_contract(const OrderGraph *og, Arena *a, int **of) {
    Contraction c = {.og = og,
                     .number = arena_array(a, int, og->task_count + 1),
                     .pred_count = arena_array(a, int, og->task_count + 1),
                     .pred = arena_array(a, int *, og->task_count + 1)};
    *of = arena_array(a, int, og->task_count + 1);
    int count = 0;
    for (int t = 0; t < og->task_count; t++) {
        c.pred_count[t] = gather_preds(&c, t, NULL);
        c.pred[t] = arena_array(a, int, c.pred_count[t] + 1);
        gather_preds(&c, t, c.pred[t]);
        const int64_t followers = og->succ_begin[t + 1] - og->succ_begin[t];
        c.number[t] = -1;
        if (uses_nothing(og, t) && c.pred_count[t] * followers <= CONTRACT_EDGES_MAX)
            continue;
        c.number[t] = count;
        (*of)[count++] = t;
    }
    OrderBuild *b = order_build_create(count, a);
    for (int i = 0; i < og->object_count; i++) {
        const OrderObject *o = &og->object[i];
        order_build_object(b, o->bytes, o->flags, o->owner);
        for (int k = 0; k < o->user_count; k++)
            order_build_use(b, i, c.number[o->user[k]]);
    }
    for (int t = 0; t < count; t++) {
        const int task = (*of)[t];
        for (int i = 0; i < c.pred_count[task]; i++)
            order_build_edge(b, c.pred[task][i], t);
        for (int i = og->over_begin[task]; i < og->over_begin[task + 1]; i++)
            order_build_takeover(b, t, og->over[i]);
        order_build_transient(b, t, og->transient[task]);
    }
    return order_build_finish(b);
}

// Everything that is ready and not numbered, with what becomes ready by it.
static int run_contracted(OrderState *s, const bool *numbered, int *order, int count) {
    for (int i = 0; i < s->ready_count;) {
        const int task = s->ready[i];
        if (numbered[task]) {
            i++;
            continue;
        }
        order[count++] = task;
        order_state_run(s, task);
    }
    return count;
}

void order_expand(const OrderGraph *og, const int *of, const int *small_order, int small_count,
                  Arena *scratch, int *order) {
    OrderState *s = order_state_create(og, scratch);
    bool *numbered = arena_array(scratch, bool, og->task_count + 1);
    for (int i = 0; i < small_count; i++)
        numbered[of[i]] = true;
    int count = run_contracted(s, numbered, order, 0);
    for (int i = 0; i < small_count; i++) {
        order[count++] = of[small_order[i]];
        order_state_run(s, of[small_order[i]]);
        count = run_contracted(s, numbered, order, count);
    }
}

static uint64_t hash_add(uint64_t hash, uint64_t x) {
    hash = (hash ^ x) * 0x9e3779b97f4a7c15u;
    return hash ^ (hash >> 29);
}

static uint64_t graph_hash(const OrderGraph *og) {
    uint64_t hash = (uint64_t)og->task_count;
    for (int t = 0; t < og->task_count; t++) {
        hash = hash_add(hash, (uint64_t)og->transient[t]);
        for (int i = og->pred_begin[t]; i < og->pred_begin[t + 1]; i++)
            hash = hash_add(hash, (uint64_t)og->pred[i]);
        for (int i = og->use_begin[t]; i < og->use_begin[t + 1]; i++)
            hash = hash_add(hash, (uint64_t)og->object[og->use[i]].bytes);
    }
    return hash;
}

static bool ints_equal(const int *x, const int *y, int count) {
    return memcmp(x, y, (size_t)count * sizeof *x) == 0;
}

bool order_graph_equal(const OrderGraph *x, const OrderGraph *y) {
    const int tasks = x->task_count;
    if (tasks != y->task_count || x->object_count != y->object_count ||
        !ints_equal(x->pred_begin, y->pred_begin, tasks + 1) ||
        !ints_equal(x->use_begin, y->use_begin, tasks + 1) ||
        !ints_equal(x->over_begin, y->over_begin, tasks + 1))
        return false;
    for (int i = 0; i < x->object_count; i++)
        if (x->object[i].bytes != y->object[i].bytes || x->object[i].flags != y->object[i].flags)
            return false;
    for (int i = 0; i < x->over_begin[tasks]; i++)
        if (x->over[i].made != y->over[i].made || x->over[i].over != y->over[i].over)
            return false;
    return ints_equal(x->pred, y->pred, x->pred_begin[tasks]) &&
           ints_equal(x->use, y->use, x->use_begin[tasks]) &&
           memcmp(x->transient, y->transient, (size_t)tasks * sizeof *x->transient) == 0;
}

// Tasks whose place is fixed: fixed[t].
static bool *find_insensitive(const OrderGraph *og, Arena *a) {
    const int n = og->task_count;
    bool *fixed = arena_array(a, bool, n + 1);
    // The first forerunners' end: the latest first follower of any task before t.
    int latest = -1;
    for (int t = 0; t < n; t++) {
        fixed[t] = latest <= t;
        const int begin = og->succ_begin[t];
        const int first = begin < og->succ_begin[t + 1] ? og->succ[begin] : n;
        latest = first > latest ? first : latest;
    }
    int earliest = n;
    for (int t = n - 1; t >= 0; t--) {
        fixed[t] = fixed[t] && earliest >= t;
        const int end = og->pred_begin[t + 1];
        const int last = end > og->pred_begin[t] ? og->pred[end - 1] : -1;
        earliest = last < earliest ? last : earliest;
    }
    return fixed;
}

// The tasks from begin on as a problem of their own. number[object] is scratch of one walk: the
// object's number in the segment + 1, set where seen[object] is the segment's end.
static void build_segment(const OrderGraph *og, OrderSegment *s, int *number, int *seen, Arena *a) {
    OrderBuild *b = order_build_create(s->end - s->begin, a);
    for (int t = s->begin; t < s->end; t++) {
        const int task = t - s->begin;
        for (int i = og->use_begin[t]; i < og->use_begin[t + 1]; i++) {
            const int object = og->use[i];
            const OrderObject *o = &og->object[object];
            if (seen[object] != s->end) {
                seen[object] = s->end;
                const bool found = o->flags & OBJECT_FROM_START || o->user[0] < s->begin;
                const bool left = o->flags & OBJECT_KEPT || o->user[o->user_count - 1] >= s->end;
                number[object] = order_build_object(
                    b, o->bytes, (found ? OBJECT_FROM_START : 0) | (left ? OBJECT_KEPT : 0),
                    o->owner);
                s->base -= found ? o->bytes : 0;
            }
            order_build_use(b, number[object], task);
        }
        for (int i = og->pred_begin[t]; i < og->pred_begin[t + 1]; i++)
            if (og->pred[i] >= s->begin)
                order_build_edge(b, og->pred[i] - s->begin, task);
        for (int i = og->over_begin[t]; i < og->over_begin[t + 1]; i++)
            order_build_takeover(
                b, task, (OrderTakeover){number[og->over[i].made], number[og->over[i].over]});
        order_build_transient(b, task, og->transient[t]);
    }
    s->og = order_build_finish(b);
    s->hash = graph_hash(s->og);
}

OrderSegment *order_segments(const OrderGraph *og, Arena *a, int *count) {
    const int n = og->task_count;
    const bool *fixed = find_insensitive(og, a);
    OrderSegment *segment = arena_array(a, OrderSegment, n + 1);
    int *number = arena_array(a, int, og->object_count + 1);
    int *seen = arena_array(a, int, og->object_count + 1);
    OrderState *s = order_state_create(og, a);
    *count = 0;
    for (int begin = 0, t = 0; t < n; t++) {
        const int64_t live = s->live;
        if (t == begin)
            segment[*count].base = live;
        order_state_run(s, t);
        if (!fixed[t] && t != n - 1)
            continue;
        OrderSegment *out = &segment[(*count)++];
        out->begin = begin;
        out->end = begin = t + 1;
        build_segment(og, out, number, seen, a);
    }
    return segment;
}

// Adds the object to what is live while each task runs that has a user of it at or before it, and
// one at or behind it.
static void add_object(const OrderObject *o, const OrderSets *before, const OrderSets *behind,
                       uint64_t *some_before, uint64_t *some_behind, int64_t *live) {
    const size_t words = before->words;
    // Tasks behind some user; all of them where it is there from the start.
    memset(some_before, o->flags & OBJECT_FROM_START ? 0xff : 0, words * sizeof *some_before);
    memset(some_behind, o->flags & OBJECT_KEPT ? 0xff : 0, words * sizeof *some_behind);
    for (int i = 0; i < o->user_count; i++) {
        if (!(o->flags & OBJECT_FROM_START))
            order_sets_join(behind, some_before, o->user[i]);
        if (!(o->flags & OBJECT_KEPT))
            order_sets_join(before, some_behind, o->user[i]);
    }
    for (size_t w = 0; w < words; w++)
        for (uint64_t both = some_before[w] & some_behind[w]; both; both &= both - 1)
            live[w * 64 + (size_t)__builtin_ctzll(both)] += o->bytes;
}

// The most that results of the task can take over.
static int64_t saving_max(const OrderGraph *og, int task, const OrderSets *behind) {
    int64_t saved = 0;
    for (int i = og->over_begin[task], made = -1; i < og->over_begin[task + 1]; i++) {
        const OrderObject *over = &og->object[og->over[i].over];
        bool open = og->over[i].made != made && !(over->flags & OBJECT_KEPT);
        // A user that always comes later keeps the operand alive.
        for (int k = 0; k < over->user_count && open && behind; k++) {
            const int user = over->user[k];
            open = user == task || !order_sets_has(behind, task, user);
        }
        if (!open)
            continue;
        made = og->over[i].made;
        saved += og->object[made].bytes;
    }
    return saved;
}

int64_t order_bound(const OrderGraph *og, Arena *scratch) {
    const int n = og->task_count;
    int64_t bound = 0;
    if (n > ORDER_SETS_MAX) {
        for (int t = 0; t < n; t++) {
            int64_t own = og->transient[t] - saving_max(og, t, NULL);
            for (int i = og->use_begin[t]; i < og->use_begin[t + 1]; i++)
                own += og->object[og->use[i]].bytes;
            bound = own > bound ? own : bound;
        }
        return bound;
    }
    const OrderSets before = order_sets_before(og, scratch),
                    behind = order_sets_behind(og, scratch);
    uint64_t *some_before = arena_array(scratch, uint64_t, before.words + 1);
    uint64_t *some_behind = arena_array(scratch, uint64_t, before.words + 1);
    int64_t *live = arena_array(scratch, int64_t, before.words * 64 + 1);
    for (int i = 0; i < og->object_count; i++)
        if (og->object[i].user_count > 0 ||
            og->object[i].flags == (OBJECT_FROM_START | OBJECT_KEPT))
            add_object(&og->object[i], &before, &behind, some_before, some_behind, live);
    for (int t = 0; t < n; t++) {
        const int64_t least = live[t] + og->transient[t] - saving_max(og, t, &behind);
        bound = least > bound ? least : bound;
    }
    return bound;
}
