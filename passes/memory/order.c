// Choosing the order of the nodes, which fixes what is live when.
//
// Candidates are program order, depth first, and two greedy lists (passes/memory/order_list.c).
// Each is judged by what it really needs: storage is chosen for it (in place, views, homes) and the
// largest sum of live bytes taken. The lowest wins, the first of equals, so the result is never
// worse than program order; --order names one. Groups stay together (a task), and where
// micro-batches repeat, update nodes come after all others.
#include "passes/memory/order_graph.h"
#include "passes/pass.h"
#include "passes/storage.h"

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
        for (int i = 0; i < og->task_count; i++)
            order[i] = i;
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

// The nodes of the tasks in that order; update tasks last where micro-batches repeat.
static void nodes_in_order(const Graph *g, const Tasks *tasks, const int *order, Node **out) {
    int count = 0;
    for (int late = 0; late < 2; late++)
        for (int i = 0; i < tasks->count; i++) {
            const Task *t = &tasks->task[order[i]];
            const bool update = g->repeat > 1 && t->node[0]->phase == PHASE_UPDATE;
            // With repeat 1 nothing is late: the update may free gradients as they come.
            if (update != (late == 1))
                continue;
            for (int k = 0; k < t->count; k++)
                out[count++] = t->node[k];
        }
    CHECK(count == g->node_count);
}

// Leaves the graph in that order.
static uint64_t load_of(const Module *m, Graph *g, Node *const *nodes, Arena *a) {
    memcpy(g->node, nodes, (size_t)g->node_count * sizeof *nodes);
    const Tasks *tasks = tasks_create(g, a);
    return storage_load(storage_plan(m, g, tasks, a));
}

static void order_graph(const Module *m, Graph *g, PassCtx *cx, int forced) {
    Arena *a = cx->scratch;
    // Fusion makes no group that depends on itself.
    CHECK(tasks_gather(g, a));
    Node **program = arena_array(a, Node *, g->node_count + 1);
    memcpy(program, g->node, (size_t)g->node_count * sizeof *program);
    // The graph's own list is overwritten by every candidate; tasks must see the first one.
    const Graph before = {
        .node = program, .node_count = g->node_count, .node_limit = g->node_limit};
    const Tasks *tasks = tasks_create(&before, a);
    const OrderGraph *og = order_graph_create(m, g, tasks, a);
    int *order = arena_array(a, int, tasks->count + 1);
    Node **candidate[ORDER_COUNT];
    uint64_t load[ORDER_COUNT] = {0};
    int best = -1;
    for (int i = 0; i < ORDER_COUNT; i++) {
        if (forced >= 0 && i != forced)
            continue;
        make_order(og, i, a, order);
        candidate[i] = arena_array(a, Node *, g->node_count + 1);
        nodes_in_order(g, tasks, order, candidate[i]);
        load[i] = load_of(m, g, candidate[i], a);
        // Strictly less: of equals the first stays.
        if (best < 0 || load[i] < load[best])
            best = i;
    }
    // What the last candidate left in the graph is replaced.
    memcpy(g->node, candidate[best], (size_t)g->node_count * sizeof *g->node);
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
