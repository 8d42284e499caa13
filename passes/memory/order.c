// Choosing the order of the nodes, which fixes what is live when.
//
// The graph becomes an abstract problem (passes/memory/order_problem.c), which knows what in place,
// views, homes and workspaces do; memory_solve gives the order whose buffers pack lowest, never
// worse than a list schedule; --order names one of those instead. Groups stay together (a task),
// and where micro-batches repeat, update nodes come after all others.
#include "passes/memory/memory_known.h"
#include "passes/memory/order_remark.h"
#include "passes/memory/programs.h"

#include "ir/check.h"
#include "passes/storage.h"

#include <string.h>

// The order that is taken where none is named.
static const char *const order_least = "least";

// ORDER_LIST_COUNT where no list schedule has the name.
static OrderList list_find(const char *name) {
    OrderList which = 0;
    while (which < ORDER_LIST_COUNT && strcmp(name, order_list_name(which)) != 0)
        which++;
    return which;
}

// The nodes of the tasks in that order.
static void take_order(Graph *g, const OrderProblem *p, const Tasks *tasks, const int *order,
                       Arena *a) {
    Node **nodes = arena_array(a, Node *, g->node_count + 1);
    int count = 0;
    for (int i = 0; i < p->og->task_count; i++) {
        const int task = p->source[order[i]];
        for (int k = 0; task >= 0 && k < tasks->task[task].count; k++)
            nodes[count++] = tasks->task[task].node[k];
    }
    CHECK(count == g->node_count);
    memcpy(g->node, nodes, (size_t)count * sizeof *nodes);
}

// What the limit leaves for loads.
static int64_t limit_of_load(const PassOptions *options, uint64_t states) {
    const uint64_t limit = options->order_limit;
    return !limit ? 0 : limit > states ? (int64_t)(limit - states) : 1;
}

// Where the search ended early its order says nothing, but the bound does.
static void note_load(PassCtx *cx, uint64_t states, const OrderAnswer *answer, int64_t limit) {
    const bool ended = limit && answer->bound > limit;
    const uint64_t load = states + (uint64_t)(ended ? answer->bound : answer->load);
    const uint64_t least = states + (uint64_t)answer->early;
    cx->order_load = load > cx->order_load ? load : cx->order_load;
    cx->order_least = least > cx->order_least ? least : cx->order_least;
    cx->order_plain = cx->order_plain || answer->plain;
}

// Searching so many tasks takes longer than all the rest of a trial and hardly ever finds anything.
// What was chosen under a budget has the order that it was tried with.
static bool takes_plain(const PassCtx *cx, const OrderGraph *og) {
    enum { TASKS_MANY = 8192 };
    return cx->fitted || (cx->options->order_plain && og->task_count >= TASKS_MANY);
}

// False after a diagnostic.
static bool order_graph(const Module *m, Graph *g, PassCtx *cx, OrderList forced) {
    Arena *a = cx->scratch;
    // Fusion makes no group that depends on itself.
    CHECK(tasks_gather(g, a));
    // The tasks' lists of nodes must outlast the reordering.
    Graph before = *g;
    before.node = arena_array(a, Node *, g->node_count + 1);
    memcpy(before.node, g->node, (size_t)g->node_count * sizeof *g->node);
    const Tasks *tasks = tasks_create(&before, a);
    const OrderProblem problem = order_problem(m, g, tasks, cx->options, a);
    int *order = arena_array(a, int, problem.og->task_count + 1);
    if (forced < ORDER_LIST_COUNT) {
        order_list_make(problem.og, forced, a, order);
        cx->order_least = storage_state_bytes(m) + (uint64_t)order_load(problem.og, order, a, NULL);
        remark_add(cx, "order", g->name, "%s as asked: %lld bytes live at most",
                   order_list_name(forced), (long long)order_load(problem.og, order, a, NULL));
    } else {
        const int effort = cx->options->effort ? cx->options->effort : 1;
        const uint64_t states = storage_state_bytes(m);
        const OrderOptions options = {.work = ORDER_WORK * effort,
                                      .limit = limit_of_load(cx->options, states),
                                      .plain = takes_plain(cx, problem.og)};
        MemoryAnswer answer = memory_solve_unless_known(cx->known, problem.og, &options, a, order);
        if (cx->options->trial)
            cx->known =
                memory_known_add(cx->known, problem.og, &options, &answer, order, cx->arena);
        note_load(cx, states, &answer.order, options.limit);
        if (answer.packed && !programs_order(cx, g->name, problem.og, &answer, order))
            return false;
        order_explain(cx, g, tasks, &problem, &answer, order);
    }
    take_order(g, &problem, tasks, order, a);
    return true;
}

PassResult pass_order(Module *m, PassCtx *cx) {
    const char *name = cx->options->order;
    const OrderList forced =
        name && strcmp(name, order_least) != 0 ? list_find(name) : ORDER_LIST_COUNT;
    if (name && forced == ORDER_LIST_COUNT && strcmp(name, order_least) != 0) {
        diag_error(cx->diag, (Loc){0}, 802, "there is no order named %s", name);
        diag_help(cx->diag, "orders are least, program, depth-first, list and eager");
        return PASS_FAILED;
    }
    for (int i = 0; i < m->entry_count; i++)
        if (!order_graph(m, m->entry[i], cx, forced))
            return PASS_FAILED;
    return PASS_CHANGED;
}
