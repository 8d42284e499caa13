// Choosing the order of the nodes, which fixes what is live when.
//
// Candidates are program order, depth first, and two greedy lists (passes/memory/order_list.c).
// Each is judged by the largest sum of live bytes on the abstract problem
// (passes/memory/order_problem.c), which knows what in place, views and homes do. The lowest wins,
// the first of equals, so the result is never worse than program order; --order names one. Groups
// stay together (a task), and where micro-batches repeat, update nodes come after all others.
#include "passes/memory/order_problem.h"
#include "passes/pass.h"

#include "ir/check.h"

#include <string.h>

// In the order of preference among equals.
enum { ORDER_PROGRAM, ORDER_DEPTH_FIRST, ORDER_LIST, ORDER_EAGER, ORDER_COUNT };

static const char *const order_name[ORDER_COUNT] = {"program", "depth-first", "list", "eager"};

// -1 where no order has the name.
static int order_find(const char *name) {
    for (int i = 0; name && i < ORDER_COUNT; i++)
        if (strcmp(name, order_name[i]) == 0)
            return i;
    return -1;
}

// order[position] = task of og.
static void make_order(const OrderGraph *og, int which, Arena *a, int *order) {
    switch (which) {
    case ORDER_PROGRAM:
        order_program(og, order);
        return;
    case ORDER_DEPTH_FIRST:
        order_depth_first(og, a, order);
        return;
    case ORDER_LIST:
        order_list(og, LIST_LEAST, a, order);
        return;
    case ORDER_EAGER:
        order_list(og, LIST_EAGER, a, order);
        return;
    default:
        UNREACHABLE();
    }
}

// The nodes of the tasks in that order.
static void nodes_in_order(const OrderProblem *p, const Tasks *tasks, const int *order,
                           Node **out) {
    for (int i = 0; i < p->og->task_count; i++) {
        const int task = p->source[order[i]];
        for (int k = 0; task >= 0 && k < tasks->task[task].count; k++)
            *out++ = tasks->task[task].node[k];
    }
}

static void order_graph(const Module *m, Graph *g, PassCtx *cx, int forced) {
    Arena *a = cx->scratch;
    // Fusion makes no group that depends on itself.
    CHECK(tasks_gather(g, a));
    const Tasks *tasks = tasks_create(g, a);
    const OrderProblem problem = order_problem(m, g, tasks, a);
    const OrderGraph *og = problem.og;
    int *order = arena_array(a, int, og->task_count + 1);
    int *chosen = arena_array(a, int, og->task_count + 1);
    int64_t load[ORDER_COUNT] = {0};
    int best = -1;
    for (int i = 0; i < ORDER_COUNT; i++) {
        if (forced >= 0 && i != forced)
            continue;
        make_order(og, i, a, order);
        load[i] = order_load(og, order, a, NULL);
        // Strictly less: of equals the first stays.
        if (best < 0 || load[i] < load[best]) {
            best = i;
            memcpy(chosen, order, (size_t)og->task_count * sizeof *chosen);
        }
    }
    Node **nodes = arena_array(a, Node *, g->node_count + 1);
    nodes_in_order(&problem, tasks, chosen, nodes);
    memcpy(g->node, nodes, (size_t)g->node_count * sizeof *nodes);
    if (forced >= 0)
        remark_add(cx, "order", g->name, "%s as asked: %llu bytes live at most", order_name[best],
                   (unsigned long long)load[best]);
    else
        remark_add(cx, "order", g->name,
                   "%s; bytes live at most: program %llu, depth-first %llu, list %llu, eager %llu",
                   order_name[best], (unsigned long long)load[0], (unsigned long long)load[1],
                   (unsigned long long)load[2], (unsigned long long)load[3]);
}

PassResult pass_order(Module *m, PassCtx *cx) {
    const int forced = order_find(cx->options->order);
    if (cx->options->order && forced < 0) {
        diag_error(cx->diag, (Loc){0}, 802, "there is no order named %s", cx->options->order);
        diag_help(cx->diag, "orders are program, depth-first, list and eager");
        return PASS_FAILED;
    }
    for (int i = 0; i < m->entry_count; i++)
        order_graph(m, m->entry[i], cx, forced);
    return PASS_CHANGED;
}
