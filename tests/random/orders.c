// Random problems of ordering, solved and solved again by trying everything.
//
//   orders FIRST COUNT
//
// For each seed: a problem of up to 14 tasks with edges, objects made by one task or by several,
// kept ones and ones there from the start, transients, and results that may take over an operand.
// Then
//  - the solver's load, the load of the order it gives, and the load of that order's buffers agree;
//  - the load equals the least over all sets of executed tasks, found by a table over all sets with
//    nothing in common with the solver but the definition; the bound says so too;
//  - asking again gives the same order;
//  - windows make no list schedule higher, and reach the least load once they hold all tasks.
// One of up to 8 tasks: the least arena is that of all orders, each packed in all ways.
// A random module, whose abstract loads must be those of its storage plans under every list
// schedule and the solver's order.
#include "passes/memory/memory_solve.h"
#include "passes/memory/order_problem.h"
#include "passes/memory/order_window.h"
#include "passes/pipeline.h"
#include "passes/storage_work.h"
#include "tests/random/random_graph.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TASKS_MAX = 14, OBJECTS_MAX = 40, TAKEOVERS_MAX = 40 };

// A problem as its definition has it: sets of tasks are bits.
typedef struct {
    int tasks, objects, takeovers;
    uint32_t pred[TASKS_MAX];
    int64_t transient[TASKS_MAX];
    uint32_t users[OBJECTS_MAX];
    int64_t bytes[OBJECTS_MAX];
    int flags[OBJECTS_MAX];
    struct {
        int task, made, over;
    } takeover[TAKEOVERS_MAX];
} Problem;

static int add_object(Problem *p, int64_t bytes, int flags) {
    p->bytes[p->objects] = bytes;
    p->flags[p->objects] = flags;
    return p->objects++;
}

// A result of the task, read by some later ones, and what it could lie over.
static void add_result(Problem *p, Random *r, int task) {
    const int o =
        add_object(p, random_range(r, 0, 8), random_range(r, 0, 9) == 0 ? OBJECT_KEPT : 0);
    p->users[o] = 1u << task;
    for (int t = task + 1; t < p->tasks; t++)
        if (random_range(r, 0, 3) == 0) {
            p->users[o] |= 1u << t;
            p->pred[t] |= 1u << task;
        }
    for (int x = 0; x < o && p->takeovers < TAKEOVERS_MAX; x++)
        if (p->users[x] >> task & 1 && p->bytes[x] == p->bytes[o] && random_range(r, 0, 1)) {
            p->takeover[p->takeovers].task = task;
            p->takeover[p->takeovers].made = o;
            p->takeover[p->takeovers++].over = x;
        }
}

// results_max: of one task; and about as many objects of other kinds.
static Problem random_problem(uint64_t seed, int tasks_max, int results_max) {
    Random r = {seed};
    Problem p = {.tasks = (int)random_range(&r, 1, tasks_max)};
    // There from the start, or shared by tasks without an order between them (parts of one buffer).
    for (int i = (int)random_range(&r, 0, 2 * results_max - 1); i > 0; i--) {
        const int o = add_object(&p, random_range(&r, 0, 8),
                                 (int)random_range(&r, 0, 1) * OBJECT_FROM_START |
                                     (random_range(&r, 0, 7) == 0 ? OBJECT_KEPT : 0));
        for (int t = 0; t < p.tasks; t++)
            p.users[o] |= (uint32_t)(random_range(&r, 0, 3) == 0) << t;
    }
    for (int t = 0; t < p.tasks; t++) {
        p.transient[t] = random_range(&r, 0, 5 - results_max) == 0 ? random_range(&r, 1, 6) : 0;
        for (int i = (int)random_range(&r, 0, results_max); i > 0; i--)
            add_result(&p, &r, t);
        // State is written after it was read: an edge without an object.
        if (t > 0 && random_range(&r, 0, 4) == 0)
            p.pred[t] |= 1u << random_range(&r, 0, t - 1);
    }
    return p;
}

// Live bytes while the task runs after the set: everything that has a user by then and one to come.
static int64_t running(const Problem *p, uint32_t set, int task) {
    int64_t live = p->transient[task];
    for (int o = 0; o < p->objects; o++) {
        const bool begun = p->flags[o] & OBJECT_FROM_START
                               ? p->users[o] || p->flags[o] & OBJECT_KEPT
                               : p->users[o] & (set | 1u << task);
        if (begun && (p->flags[o] & OBJECT_KEPT || p->users[o] & ~set))
            live += p->bytes[o];
    }
    uint64_t made = 0, over = 0; // taken: objects as bits
    for (int i = 0; i < p->takeovers; i++) {
        const int m = p->takeover[i].made, x = p->takeover[i].over;
        if (p->takeover[i].task != task || made >> m & 1 || over >> x & 1 ||
            p->flags[x] & OBJECT_KEPT || p->users[x] & ~(set | 1u << task))
            continue;
        made |= (uint64_t)1 << m;
        over |= (uint64_t)1 << x;
        live -= p->bytes[m];
    }
    return live;
}

// The least load of all orders, by a table over all sets.
static int64_t least_load(const Problem *p) {
    static int64_t least[1 << TASKS_MAX];
    const uint32_t all = (1u << p->tasks) - 1;
    for (uint32_t set = 0; set <= all; set++)
        least[set] = set ? INT64_MAX : 0;
    for (uint32_t set = 0; set < all; set++)
        for (int t = 0; t < p->tasks && least[set] < INT64_MAX; t++) {
            if (set >> t & 1 || p->pred[t] & ~set)
                continue;
            const int64_t load = running(p, set, t);
            const int64_t worse = load > least[set] ? load : least[set];
            int64_t *to = &least[set | 1u << t];
            *to = worse < *to ? worse : *to;
        }
    return least[all];
}

static OrderGraph *build(const Problem *p, Arena *a) {
    OrderBuild *b = order_build_create(p->tasks, a);
    for (int o = 0; o < p->objects; o++) {
        order_build_object(b, p->bytes[o], p->flags[o], NULL);
        for (int t = 0; t < p->tasks; t++)
            if (p->users[o] >> t & 1)
                order_build_use(b, o, t);
    }
    for (int t = 0; t < p->tasks; t++) {
        order_build_transient(b, t, p->transient[t]);
        for (int from = 0; from < t; from++)
            if (p->pred[t] >> from & 1)
                order_build_edge(b, from, t);
    }
    for (int i = 0; i < p->takeovers; i++)
        order_build_takeover(b, p->takeover[i].task,
                             (OrderTakeover){p->takeover[i].made, p->takeover[i].over});
    return order_build_finish(b);
}

static bool wrong(uint64_t seed, const char *what, int64_t got, int64_t want) {
    fprintf(stderr, "seed %llu: %s: %lld, not %lld\n", (unsigned long long)seed, what,
            (long long)got, (long long)want);
    return false;
}

static bool check_windows(uint64_t seed, const OrderGraph *og, int64_t least, Arena *a) {
    for (OrderList which = 0; which < ORDER_LIST_COUNT; which++)
        for (int size = 2; size <= TASKS_MAX; size += TASKS_MAX - 2) {
            int order[TASKS_MAX];
            order_list_make(og, which, a, order);
            const int64_t before = order_load(og, order, a, NULL);
            // Enough for the first windows, or for all.
            const int64_t work = size == 2 ? 20 : 10000000;
            const OrderWindows w =
                order_improve(og, (OrderWindowOptions){.size = size, .work = work}, a, order);
            if (!order_is_allowed(og, order, a) || order_load(og, order, a, NULL) != w.load)
                return wrong(seed, "load of the order of windows", w.load, before);
            if (w.load < least || w.load > before || (size > 2 && w.load != least))
                return wrong(seed, "load of windows", w.load, least);
        }
    return true;
}

static bool check_problem(uint64_t seed, Arena *a) {
    const Problem p = random_problem(seed, TASKS_MAX, 2);
    const OrderGraph *og = build(&p, a);
    int order[TASKS_MAX], again[TASKS_MAX], count;
    const OrderAnswer answer = order_solve(og, NULL, a, order);
    order_solve(og, NULL, a, again);
    if (!order_is_allowed(og, order, a) ||
        memcmp(order, again, (size_t)p.tasks * sizeof *order) != 0)
        return wrong(seed, "allowed and repeatable", 0, 1);
    const int64_t load = order_load(og, order, a, NULL), least = least_load(&p);
    PackItem *item = order_items(og, order, a, &count);
    uint32_t at;
    const int64_t packed = (int64_t)pack_load(item, count, a, &at);
    if (answer.load != load)
        return wrong(seed, "load of the answer's order", load, answer.load);
    if (packed != load)
        return wrong(seed, "load of its buffers", packed, load);
    if (load != least)
        return wrong(seed, "least load", load, least);
    if (answer.bound != least || !answer.exact)
        return wrong(seed, "bound", answer.bound, least);
    return check_windows(seed, og, least, a);
}

// Bytes of commits that program order makes copies of, for a later task reads the old version:
// other orders may need none.
static int64_t late_commits(const Module *m, const Graph *g) {
    int64_t bytes = 0;
    for (int c = 0; c < g->commit_count; c++) {
        bool written = false, late = false;
        for (int i = 0; i < g->node_count; i++) {
            const Node *n = g->node[i];
            for (int k = 0; k < n->input_count; k++) {
                const Node *root = n->input[k]->def;
                while (node_is_view(root))
                    root = root->input[0]->def;
                late = late ||
                       (written && root->op == OP_STATE &&
                        module_find_state(m, node_text(root, "name", "")) == g->commit[c].state);
            }
            written = written || n == g->commit[c].value->def;
        }
        bytes += late ? (int64_t)storage_padded(type_bytes(&g->commit[c].value->type)) : 0;
    }
    return bytes;
}

// The least height of the items, or best where that is no more: each in turn, by rising offset, on
// top of what it meets so far. Some turn packs as low as any packing, and none below the load.
static uint64_t least_height(PackItem *item, int count, int placed, uint64_t load, uint64_t best) {
    uint64_t height = load;
    for (int k = 0; k < placed; k++)
        height = item[k].offset + item[k].size > height ? item[k].offset + item[k].size : height;
    if (placed == count || height >= best)
        return height < best ? height : best;
    for (int i = placed; i < count && best > load; i++) {
        const PackItem moved = item[i];
        uint64_t at = 0;
        for (int k = 0; k < placed; k++)
            if (item[k].first <= moved.last && moved.first <= item[k].last &&
                item[k].offset + item[k].size > at)
                at = item[k].offset + item[k].size;
        if (placed > 0 && at < item[placed - 1].offset)
            continue;
        item[i] = item[placed];
        item[placed] = moved;
        item[placed].offset = at;
        best = least_height(item, count, placed + 1, load, best);
        item[placed] = item[i];
        item[i] = moved;
    }
    return best;
}

// The least arena of all orders from a set of executed tasks on.
static uint64_t least_arena(const Problem *p, const OrderGraph *og, uint32_t set, int *order,
                            int count, uint64_t best, Arena *a) {
    if (count == p->tasks) {
        int items;
        PackItem *item = order_items(og, order, a, &items);
        const uint64_t load = (uint64_t)order_load(og, order, a, NULL);
        return load < best ? least_height(item, items, 0, load, best) : best;
    }
    for (int t = 0; t < p->tasks; t++) {
        if (set >> t & 1 || p->pred[t] & ~set || (uint64_t)running(p, set, t) >= best)
            continue;
        order[count] = t;
        best = least_arena(p, og, set | 1u << t, order, count + 1, best, a);
    }
    return best;
}

static bool check_arena(uint64_t seed, Arena *a) {
    const Problem p = random_problem(seed, 8, 1);
    const OrderGraph *og = build(&p, a);
    int order[TASKS_MAX];
    const MemoryAnswer answer = memory_solve(og, NULL, a, order);
    const int64_t load = order_load(og, order, a, NULL);
    if (!order_is_allowed(og, order, a) || load != answer.load)
        return wrong(seed, "load of the order of least arena", answer.load, load);
    int keep[TASKS_MAX];
    memcpy(keep, order, sizeof keep);
    const int64_t least = (int64_t)least_arena(&p, og, 0, keep, 0, UINT64_MAX, a);
    if (answer.height != least || !answer.optimal)
        return wrong(seed, "least arena", answer.height, least);
    return true;
}

// Bytes of concats that share a part with another one: it is computed into the last of them,
// whichever that is in an order.
static int64_t shared_parts(const Graph *g, Arena *a) {
    int *concats = arena_array(a, int, g->value_limit + 1);
    int64_t bytes = 0;
    for (int pass = 0; pass < 2; pass++)
        for (int i = 0; i < g->node_count; i++) {
            const Node *n = g->node[i];
            for (int k = 0; k < n->input_count && n->op == OP_CONCAT; k++) {
                const Value *root = n->input[k];
                while (node_is_view(root->def))
                    root = root->def->input[0];
                if (pass == 0)
                    concats[root->id]++;
                else if (concats[root->id] > 1)
                    bytes += (int64_t)storage_padded(type_bytes(&n->result[0].type));
            }
        }
    return bytes;
}

// Bytes of storages that reshapes are copied from: which are comes out only when they get their
// places, so that to the plan whoever reads the copy reads the original to the end, and no result
// takes over its memory before.
static int64_t copied_views(const StoragePlan *sp) {
    int64_t bytes = 0;
    for (int i = 0; i < sp->g->node_count; i++) {
        const Node *n = sp->g->node[i];
        if (!node_is_view(n))
            continue;
        const uint32_t from = sp->place[n->input[0]->id].storage;
        const uint32_t to = sp->place[n->result[0].id].storage;
        if (from != STORAGE_NONE && to != STORAGE_NONE && from != to && !sp->storage[from].state)
            bytes += (int64_t)storage_padded(sp->storage[from].bytes);
    }
    return bytes;
}

// The graph's tasks in that order: its storage plan has the load the problem says.
static bool check_order(uint64_t seed, const Module *m, Graph *g, const OrderProblem *p,
                        const int *order, Arena *a) {
    const Graph before = *g;
    const Tasks *tasks = tasks_create(g, a);
    Node **nodes = arena_array(a, Node *, g->node_count + 1);
    int count = 0;
    for (int i = 0; i < p->og->task_count; i++) {
        const int task = p->source[order[i]];
        for (int k = 0; task >= 0 && k < tasks->task[task].count; k++)
            nodes[count++] = tasks->task[task].node[k];
    }
    Graph ordered = before;
    ordered.node = nodes;
    const StoragePlan *sp = storage_plan(m, &ordered, tasks_create(&ordered, a), a);
    const int64_t stored = (int64_t)storage_load(sp);
    const int64_t load = order_load(p->og, order, a, NULL);
    // Arguments that nobody reads are no objects, but lie somewhere before the first step.
    int64_t unread = 0, transient = 0;
    for (int i = 0; i < p->og->object_count; i++)
        unread += p->og->object[i].user_count == 0 ? p->og->object[i].bytes : 0;
    // A task's copies count all through it, though its operands may be gone when one is made.
    for (int i = 0; i < p->og->task_count; i++)
        transient = p->og->transient[i] > transient ? p->og->transient[i] : transient;
    const int64_t shared = shared_parts(g, a);
    return (stored <= load + unread + shared + copied_views(sp) &&
            load <= stored + transient + late_commits(m, g) + shared) ||
           wrong(seed, "load of a module's order", load, stored);
}

static bool check_module(uint64_t seed, Arena *a) {
    static const char *const passes[] = {"simplify",  "precision", "autodiff", "optimize",
                                         "tidy",      "chunk",     "bound",    "legalize",
                                         "recompute", "fuse",      "siblings"};
    const PassOptions options = {.target = "cpu:x86-64-v3", .chunk_bytes = 64, .workers = 2};
    PassCtx cx = {
        .arena = a, .scratch = arena_create(), .diag = diag_create(a), .options = &options};
    Module *m = random_module(a, seed, 10 + (int)(seed % 50), seed % 2 == 1);
    bool good = pipeline_run(m, &cx, passes, sizeof passes / sizeof *passes, NULL, NULL);
    arena_release(cx.scratch);
    if (!good)
        return wrong(seed, "passes", 0, 1);
    for (int i = 0; i < m->entry_count && good; i++) {
        Graph *g = m->entry[i];
        good = tasks_gather(g, a);
        const OrderProblem p = order_problem(m, g, tasks_create(g, a), NULL, a);
        int *order = arena_array(a, int, p.og->task_count + 1);
        for (OrderList k = 0; k < ORDER_LIST_COUNT && good; k++) {
            order_list_make(p.og, k, a, order);
            good = check_order(seed, m, g, &p, order, a);
        }
        order_solve(p.og, &(OrderOptions){.work = 2000000}, a, order);
        good = good && check_order(seed, m, g, &p, order, a);
    }
    return good;
}

int main(int argc, char **argv) {
    if (argc != 3) {
        fprintf(stderr, "usage: orders FIRST COUNT\n");
        return 2;
    }
    const uint64_t first = strtoull(argv[1], NULL, 10), count = strtoull(argv[2], NULL, 10);
    int failures = 0;
    for (uint64_t seed = first; seed < first + count; seed++) {
        Arena *a = arena_create();
        failures += !check_problem(seed, a);
        // Packing all orders is dearer, and so are modules.
        if (seed % 3 == 0)
            failures += !check_arena(seed, a);
        if (seed % 9 == 0)
            failures += !check_module(seed, a);
        arena_release(a);
    }
    printf("%llu problems: %d failed\n", (unsigned long long)count, failures);
    return failures != 0;
}
