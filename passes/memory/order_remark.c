// Remarks on orders: the figures, the peak, and what moved it.
#include "passes/memory/order_remark.h"

#include "ir/op.h"
#include "passes/lower.h"

#include <stdlib.h>
#include <string.h>

// Buffers named in one remark.
enum { NAMED = 5 };

typedef struct {
    const OrderObject *object;
    int number;
} Live;

typedef struct {
    int position;
    int64_t load;
    bool *live; // by object: while the task at the position runs
} Peak;

static Peak find_peak(const OrderGraph *og, const int *order, Arena *a) {
    Peak p = {.live = arena_array(a, bool, og->object_count + 1)};
    p.load = order_load(og, order, a, &p.position);
    int *position = arena_array(a, int, og->task_count + 1);
    for (int i = 0; i < og->task_count; i++)
        position[order[i]] = i;
    for (int i = 0; i < og->object_count; i++) {
        const OrderObject *o = &og->object[i];
        bool begun = o->flags & OBJECT_FROM_START, needed = o->flags & OBJECT_KEPT;
        for (int k = 0; k < o->user_count; k++) {
            begun = begun || position[o->user[k]] <= p.position;
            needed = needed || position[o->user[k]] >= p.position;
        }
        p.live[i] = begun && needed && (o->user_count > 0 || o->flags & OBJECT_KEPT);
    }
    return p;
}

static int compare_live(const void *a, const void *b) {
    const Live *x = a, *y = b;
    if (x->object->bytes != y->object->bytes)
        return x->object->bytes > y->object->bytes ? -1 : 1;
    return (x->number > y->number) - (x->number < y->number);
}

static const char *at_place(Arena *a, Loc loc) {
    const char *where = loc_text(a, loc);
    return where && *where ? arena_format(a, " (%s)", where) : "";
}

// "name 123 (file:1:2), ...": the largest objects for which pick says so.
static const char *name_largest(const OrderGraph *og, const bool *pick, Arena *a) {
    Live *live = arena_array(a, Live, og->object_count + 1);
    int count = 0;
    for (int i = 0; i < og->object_count; i++)
        if (pick[i] && og->object[i].bytes > 0)
            live[count++] = (Live){&og->object[i], i};
    qsort(live, (size_t)count, sizeof *live, compare_live);
    const char *text = count ? "" : "none";
    for (int i = 0; i < count && i < NAMED; i++) {
        const Value *v = live[i].object->owner;
        text =
            arena_format(a, "%s%s%s %lld%s", text, i ? ", " : "", v ? remark_value(a, v) : "zeros",
                         (long long)live[i].object->bytes, v ? at_place(a, v->def->loc) : "");
    }
    return count > NAMED ? arena_format(a, "%s and %d more", text, count - NAMED) : text;
}

// What runs at a position of an order.
static const char *task_name(const Tasks *tasks, const OrderProblem *p, int task, Arena *a) {
    if (task < 0 || p->source[task] < 0)
        return "the end of a part";
    const Task *t = &tasks->task[p->source[task]];
    const Node *n = t->node[t->count - 1];
    const char *op = op_info(n->op)->name;
    if (n->scope && *n->scope)
        op = arena_format(a, "%s.%s", n->scope, op);
    return arena_format(a, "%s%s", op, at_place(a, n->loc));
}

static void explain_figures(PassCtx *cx, const Graph *g, const MemoryAnswer *m) {
    const OrderAnswer *o = &m->order;
    const int64_t gap = m->load - o->bound;
    remark_add(cx, "order", g->name,
               "%s; bytes live at most: program %lld, depth-first %lld, list %lld, eager %lld; "
               "taken %lld, no order below %lld, gap %.2f %%",
               m->how, (long long)o->list_load[ORDER_PROGRAM],
               (long long)o->list_load[ORDER_DEPTH_FIRST], (long long)o->list_load[ORDER_LIST],
               (long long)o->list_load[ORDER_EAGER], (long long)m->load, (long long)o->bound,
               100.0 * (double)gap / (double)(o->bound > 0 ? o->bound : 1));
    if (o->searched > 0 || m->packed > 1)
        remark_add(cx, "order", g->name,
                   "%d independent segments, %d searched, %d like another, %d windows, %lld steps; "
                   "%d orders were packed",
                   o->segments, o->searched, o->repeated, o->windows, (long long)o->work,
                   m->packed);
}

void order_explain(PassCtx *cx, const Graph *g, const Tasks *tasks, const OrderProblem *p,
                   const MemoryAnswer *answer, const int *order) {
    const OrderGraph *og = p->og;
    explain_figures(cx, g, answer);
    // An entry that holds nothing has no peak.
    if (og->task_count == 0 || answer->load == 0)
        return;
    Arena *a = arena_create();
    const Peak peak = find_peak(og, order, a);
    remark_add(cx, "order", g->name,
               "the peak of %lld bytes besides states is at %s; live there: %s",
               (long long)peak.load, task_name(tasks, p, order[peak.position], a),
               name_largest(og, peak.live, a));
    int *program = arena_array(a, int, og->task_count + 1);
    order_program(og, program);
    const Peak before = find_peak(og, program, a);
    if (before.load > peak.load) {
        for (int i = 0; i < og->object_count; i++)
            before.live[i] = before.live[i] && !peak.live[i];
        remark_add(cx, "order", g->name,
                   "program order needs %lld bytes more, at %s; of what is live there, the order "
                   "taken has these at other times: %s",
                   (long long)(before.load - peak.load),
                   task_name(tasks, p, program[before.position], a),
                   name_largest(og, before.live, a));
    }
    arena_release(a);
}
