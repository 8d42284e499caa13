// The least that can be live while a task runs, as a minimum cut.
//
// When task t runs, the tasks before it are a set S that holds t's ancestors, none of its
// descendants, and with every task its forerunners. An object is live when some user is in S and
// some is not: that is a cut of
//
//     user in S  ==inf==>  enter  --bytes-->  leave  ==inf==>  user in S
//
// (an edge out of S into its complement is paid: enter is drawn into S by any user there, leave can
// be in S only with all users). Edges of infinite capacity from each task to its forerunners keep S
// closed; forerunners of t hang on the source, t on the sink. What t uses is live anyway and left
// out. So the best S is a minimum cut, and its bytes are a maximum flow: Dinic's algorithm,
// shortest paths in phases. The flow so far is never more than the minimum, so it is a bound at any
// time. Cost: a few hundred phases' steps at most in practice, counted.
#include "passes/memory/order_flow.h"

#include <string.h>

#define INFINITE (INT64_MAX / 4)

typedef struct {
    int to, reverse; // node; index of the edge back
    int64_t room;
} Edge;

typedef struct {
    int node_count;
    int *begin; // by node: its edges
    Edge *edge;
    int *level, *next;
    int source, sink;
    int64_t *work;
} Flow;

// Edges as they are said, before they are grouped by node.
typedef struct {
    int from, to;
    int64_t room;
} Arc;

typedef struct {
    Arena *a;
    Arc *arc;
    int count, capacity;
} ArcList;

static void add_arc(ArcList *l, int from, int to, int64_t room) {
    if (l->count == l->capacity) {
        const int capacity = l->capacity ? 2 * l->capacity : 1024;
        l->arc = arena_grow(l->a, l->arc, (size_t)l->count, (size_t)capacity, sizeof *l->arc);
        l->capacity = capacity;
    }
    l->arc[l->count++] = (Arc){from, to, room};
}

static void group_arcs(Flow *f, const ArcList *l) {
    f->begin = arena_array(l->a, int, f->node_count + 2);
    for (int i = 0; i < l->count; i++) {
        f->begin[l->arc[i].from + 1]++;
        f->begin[l->arc[i].to + 1]++;
    }
    for (int i = 0; i < f->node_count; i++)
        f->begin[i + 1] += f->begin[i];
    int *filled = arena_array(l->a, int, f->node_count + 1);
    f->edge = arena_array(l->a, Edge, 2 * l->count + 1);
    for (int i = 0; i < l->count; i++) {
        const Arc c = l->arc[i];
        const int there = f->begin[c.from] + filled[c.from]++;
        const int back = f->begin[c.to] + filled[c.to]++;
        f->edge[there] = (Edge){c.to, back, c.room};
        f->edge[back] = (Edge){c.from, there, 0};
    }
}

// Distances from the source; false where the sink is out of reach.
static bool find_levels(Flow *f, int *queue) {
    memset(f->level, 0xff, (size_t)f->node_count * sizeof *f->level); // -1: not reached
    int head = 0, tail = 0;
    queue[tail++] = f->source;
    f->level[f->source] = 0;
    while (head < tail && f->level[f->sink] < 0) {
        const int node = queue[head++];
        *f->work -= f->begin[node + 1] - f->begin[node];
        for (int i = f->begin[node]; i < f->begin[node + 1]; i++) {
            const Edge *e = &f->edge[i];
            if (e->room > 0 && f->level[e->to] < 0) {
                f->level[e->to] = f->level[node] + 1;
                queue[tail++] = e->to;
            }
        }
    }
    return f->level[f->sink] >= 0;
}

// One more path along rising levels; path holds its edges. Returns what flows along it.
static int64_t push_path(Flow *f, int *path) {
    int length = 0, node = f->source;
    while (node != f->sink) {
        int *at = &f->next[node];
        while (*at < f->begin[node + 1] &&
               (f->edge[*at].room == 0 || f->level[f->edge[*at].to] != f->level[node] + 1))
            (*at)++, (*f->work)--;
        if (*at < f->begin[node + 1]) {
            path[length++] = *at;
            node = f->edge[*at].to;
            continue;
        }
        // A dead end: its way in is not taken again.
        if (length == 0)
            return 0;
        node = f->edge[f->edge[path[--length]].reverse].to;
        f->next[node]++;
    }
    int64_t most = INFINITE;
    for (int i = 0; i < length; i++)
        most = f->edge[path[i]].room < most ? f->edge[path[i]].room : most;
    for (int i = 0; i < length; i++) {
        f->edge[path[i]].room -= most;
        f->edge[f->edge[path[i]].reverse].room += most;
    }
    *f->work -= length;
    return most;
}

static int64_t maximum_flow(Flow *f, Arena *a) {
    int *queue = arena_array(a, int, f->node_count + 1),
        *path = arena_array(a, int, f->node_count + 1);
    int64_t flow = 0;
    while (*f->work > 0 && find_levels(f, queue)) {
        memcpy(f->next, f->begin, (size_t)f->node_count * sizeof *f->next);
        for (int64_t more = 1; more > 0 && *f->work > 0;) {
            more = push_path(f, path);
            flow += more;
        }
    }
    return flow;
}

// Nodes: tasks, then enter and leave of each object, source, sink.
static int64_t cut_of(const OrderGraph *og, int task, const bool *used, int64_t *work, Arena *a) {
    const int tasks = og->task_count;
    Flow f = {.node_count = tasks + 2 * og->object_count + 2, .work = work};
    f.source = f.node_count - 2;
    f.sink = f.node_count - 1;
    ArcList l = {.a = a};
    for (int t = 0; t < tasks; t++)
        for (int i = og->pred_begin[t]; i < og->pred_begin[t + 1]; i++)
            add_arc(&l, t == task ? f.source : t, og->pred[i], INFINITE);
    add_arc(&l, task, f.sink, INFINITE);
    for (int i = 0; i < og->object_count; i++) {
        const OrderObject *o = &og->object[i];
        const int enter = tasks + 2 * i, leave = enter + 1;
        if (used[i] || o->bytes == 0 || (o->user_count == 0 && !(o->flags & OBJECT_KEPT)))
            continue;
        add_arc(&l, enter, leave, o->bytes);
        if (o->flags & OBJECT_FROM_START)
            add_arc(&l, f.source, enter, INFINITE);
        if (o->flags & OBJECT_KEPT)
            add_arc(&l, leave, f.sink, INFINITE);
        for (int k = 0; k < o->user_count; k++) {
            add_arc(&l, o->user[k], enter, INFINITE);
            add_arc(&l, leave, o->user[k], INFINITE);
        }
    }
    group_arcs(&f, &l);
    f.level = arena_array(a, int, f.node_count + 1);
    f.next = arena_array(a, int, f.node_count + 1);
    return maximum_flow(&f, a);
}

// All its results that might lie over an operand are taken to do so.
static int64_t saving_max(const OrderGraph *og, int task) {
    int64_t saved = 0;
    for (int i = og->over_begin[task], made = -1; i < og->over_begin[task + 1]; i++)
        if (og->over[i].made != made && !(og->object[og->over[i].over].flags & OBJECT_KEPT)) {
            made = og->over[i].made;
            saved += og->object[made].bytes;
        }
    return saved;
}

int64_t order_cut_bound(const OrderGraph *og, int task, int64_t *work, Arena *scratch) {
    bool *used = arena_array(scratch, bool, og->object_count + 1);
    int64_t own = og->transient[task] - saving_max(og, task);
    for (int i = og->use_begin[task]; i < og->use_begin[task + 1]; i++) {
        used[og->use[i]] = true;
        own += og->object[og->use[i]].bytes;
    }
    return own + cut_of(og, task, used, work, scratch);
}
