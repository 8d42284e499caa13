// From a graph to the abstract problem of what to keep.
//
// Tasks are the kernels that `fuse` would make of the graph as it stands (it runs on a copy), in
// the order the graph has: so what is read inside a kernel only takes no memory, and a chain costs
// what its one kernel does. Views and leaves are no tasks: who reads a view reads its root, and
// states, arguments and constants are there at any time. Storage is chosen for program order, as
// the pass order does; from it come which values are written straight into states or accumulators
// (they take nothing), bytes that kernels need for themselves, and which results could be written
// over a dying operand. Among tasks that run once and in their place, a result and the operand it
// is written over are one value of the problem. (Forward tasks may run again at other times, so
// their results count as memory of their own.)
//
// Forward tasks are those before the first of another phase. They may run again but for attention,
// whose result is kept or moved. Random draws are numbered by their operands, so that they come
// out the same.
//
// A large value that lies row by row may be cut into parts; in a copy that is joined of them it
// lies as it did, so whoever reads it computes the same bits.
//
// Not seen: what `order` makes of the freedom the schedule leaves, that fusing may change with the
// schedule, and what `siblings` joins: results over forward values, which would count twice here.
// The final arena judges. Cost: linear, and what fuse and order_problem take.
#include "passes/retain/retain_build.h"

#include "ir/check.h"
#include "ir/far.h"
#include "passes/cost.h"
#include "passes/memory/order_problem.h"
#include "passes/retain/retain_cut.h"
#include "passes/storage_work.h"

#include <string.h>

// MOVE_MIN: bytes from which on a value, or a part of one, is worth a copy to far memory and back.
enum { MOVE_MIN = 64 << 10 };

typedef struct {
    const Module *m;
    const Graph *g; // a copy: fused, groups gathered
    const PassOptions *options;
    const Rates *rates;
    Arena *a, *scratch; // what is returned; the rest
    const Tasks *tasks;
    const StoragePlan *sp;
    StorageTakeovers takeovers;
    const int64_t *transient; // by task of the graph
    const Value **root;       // by value id
    int *last;                // by value id of a root: the task of the graph that reads it last
    int *holders;             // by storage: values computed into it
    const Value **holder;     // by storage: one of them
    int *over_begin;          // by storage: the first takeover of the result in it, -1: none
    const Value **own;        // by value id: the value itself, not its copy
    int *value_of;            // by value id
    RetainTask *task;
    RetainNodes *nodes;
    RetainValue *value;
    int task_count, value_count;
    double work[RATE_COUNT]; // by family: picoseconds of tasks
    bool forward;            // no backward task came by so far
} BuildWork;

// By rates that make no sense anything takes a day: sums of 65,536 bounded times still fit.
static int64_t bounded(uint64_t picoseconds) {
    const uint64_t most = INT64_MAX >> 16; // 140 s
    return (int64_t)(picoseconds < most ? picoseconds : most);
}

bool retain_is_leaf(const Node *n) {
    return n->op == OP_INPUT || n->op == OP_STATE || n->op == OP_CONSTANT;
}

static bool is_idle(const Task *t) {
    return t->count == 1 && (retain_is_leaf(t->node[0]) || node_is_view(t->node[0]));
}

// The graph as fuse and order would see it.
static Graph *fused_copy(const Module *m, const Graph *g, const PassOptions *options, Arena *a) {
    Graph *copy = graph_copy(g, a);
    Module one = *m;
    one.entry = &copy;
    one.entry_count = 1;
    PassCtx cx = {.arena = a, .scratch = a, .options = options};
    pass_fuse(&one, &cx);
    CHECK(tasks_gather(copy, a));
    return copy;
}

// Roots of views, their last readers, and what lies in which storage.
static void find_reads(BuildWork *w) {
    const Graph *g = w->g;
    w->root = arena_array(w->scratch, const Value *, g->value_limit + 1);
    w->last = arena_array(w->scratch, int, g->value_limit + 1);
    w->holders = arena_array(w->scratch, int, w->sp->storage_count + 1);
    w->holder = arena_array(w->scratch, const Value *, w->sp->storage_count + 1);
    for (int i = 0; i < g->node_count; i++) {
        const Node *n = g->node[i];
        for (int r = 0; r < n->result_count; r++) {
            const Value *v = &n->result[r];
            w->root[v->id] = node_is_view(n) ? w->root[n->input[0]->id] : v;
            const uint32_t storage = w->sp->place[v->id].storage;
            if (node_is_view(n) || storage == STORAGE_NONE)
                continue;
            w->holders[storage]++;
            w->holder[storage] = v;
        }
        for (int k = 0; k < n->input_count && !node_is_view(n); k++)
            w->last[w->root[n->input[k]->id]->id] = (int)w->tasks->of[n->id];
    }
    w->over_begin = arena_array(w->scratch, int, w->sp->storage_count + 1);
    memset(w->over_begin, -1, sizeof *w->over_begin * (size_t)w->sp->storage_count);
    for (int i = w->takeovers.count - 1; i >= 0; i--)
        w->over_begin[w->takeovers.item[i].result] = i;
    for (int i = 0; i < g->result_count; i++)
        w->last[w->root[g->result[i].value->id]->id] = INT32_MAX;
    for (int i = 0; i < g->commit_count; i++)
        w->last[w->root[g->commit[i].value->id]->id] = INT32_MAX;
}

// What is written into a state or an accumulator has its bytes there.
static int64_t bytes_of(const BuildWork *w, const Value *v) {
    const Storage *s = &w->sp->storage[w->sp->place[v->id].storage];
    if (s->state || s->carried || value_is_far(w->m, v))
        return 0;
    return (int64_t)storage_padded(type_bytes(&v->type));
}

// The value of the problem whose memory a result of this task is written over; -1: none. Only
// where the operand was made, and dies, among tasks that stay in their place.
static int find_overwritten(const BuildWork *w, uint32_t storage) {
    for (int i = w->over_begin[storage]; i >= 0 && i < w->takeovers.count; i++) {
        const StorageTakeover *t = &w->takeovers.item[i];
        if (t->result != storage)
            break;
        const Value *x = w->holder[t->operand];
        const int value = w->holders[t->operand] == 1 ? w->value_of[x->id] : -1;
        if (value >= 0 && w->last[x->id] == t->task && w->value[value].bytes > 0 &&
            w->task[w->value[value].maker].flags & RETAIN_ONCE)
            return value;
    }
    return -1;
}

// How it is cut, where its memory is its own and rows follow each other in it.
static RetainCut cut_of(const BuildWork *w, const Value *v) {
    const Place *p = &w->sp->place[v->id];
    const bool own = w->holders[p->storage] == 1 && p->offset == 0 && bytes_of(w, v) > 0;
    return own && place_is_dense(p, &v->type) ? retain_cut(&v->type, MOVE_MIN) : (RetainCut){0};
}

// Whether some rows alone have the bits they have in the whole, and its operands lie as they would.
// On a GPU the number of rows chooses how many threads sum one (ir/launch_scalar.c). A slice of
// what lies in padded rows would take the padding from it.
static bool rows_are_alike(const BuildWork *w, const Node *n, uint32_t task) {
    if (w->options->gpu.count > 0 && op_info(n->op)->lowering != LOWER_SCALAR)
        return false;
    for (int k = 0; k < n->input_count; k++) {
        const Value *root = w->root[n->input[k]->id];
        if (w->tasks->of[root->def->id] != task &&
            !place_is_dense(&w->sp->place[root->id], &root->type))
            return false;
    }
    return true;
}

// Whether the kernel may run for some rows of v alone.
static bool may_run_rows(const BuildWork *w, const Task *from, const Value *v) {
    const RetainCut cut = cut_of(w, v);
    const uint32_t task = w->tasks->of[v->def->id];
    for (int i = 0; i < from->count && cut.parts; i++) {
        const Node *n = from->node[i];
        if (node_is_view(n))
            continue;
        if (!retain_cut_rows(n, cut) || !rows_are_alike(w, n, task))
            return false;
        // What the kernel makes itself must be read as it is, not through a view.
        for (int k = 0; k < n->input_count; k++)
            if (node_is_view(n->input[k]->def) &&
                w->tasks->of[w->root[n->input[k]->id]->def->id] == task)
                return false;
    }
    return cut.parts > 0;
}

static void add_result(BuildWork *w, const Value *v, const Task *from, RetainTask *t, int *result) {
    if (!storage_is_stored(w->sp, v))
        return;
    const uint32_t storage = w->sp->place[v->id].storage;
    const bool alone = w->holders[storage] == 1;
    const int over = w->forward || !alone ? -1 : find_overwritten(w, storage);
    if (over >= 0) {
        w->value_of[v->id] = over;
        w->value[over].kept = w->last[v->id] == INT32_MAX;
        return;
    }
    const int64_t bytes = bytes_of(w, v);
    // What was fetched is fetched again rather than stored a second time.
    const bool moves = w->options->far && w->forward && bytes >= MOVE_MIN && v->def->op != OP_FETCH;
    const bool rows = w->forward && !(t->flags & RETAIN_ONCE) && may_run_rows(w, from, v);
    t->flags |= rows ? RETAIN_ROWS : 0;
    const int parts = moves || rows ? cut_of(w, v).parts : 0;
    w->value_of[v->id] = w->value_count;
    result[t->result_count++] = w->value_count;
    w->value[w->value_count++] =
        (RetainValue){.bytes = bytes,
                      .maker = w->task_count,
                      .kept = w->last[v->id] == INT32_MAX,
                      .out = moves ? bounded(cost_move(w->rates, RATE_OUT, bytes)) : 0,
                      .in = moves ? bounded(cost_move(w->rates, RATE_IN, bytes)) : 0,
                      .parts = parts,
                      .copy = parts ? bounded(cost_move(w->rates, RATE_COPY, 2 * bytes)) : 0,
                      .owner = w->own[v->id]};
}

static bool contains(const int *list, int count, int what) {
    for (int i = 0; i < count; i++)
        if (list[i] == what)
            return true;
    return false;
}

// Values that nodes of the task read from outside; each once.
static void add_operands(const BuildWork *w, const Task *from, RetainTask *t) {
    int room = 0;
    for (int i = 0; i < from->count; i++)
        room += from->node[i]->input_count;
    int *operand = arena_array(w->a, int, room + 1);
    for (int i = 0; i < from->count; i++)
        for (int k = 0; k < from->node[i]->input_count; k++) {
            const Value *x = w->root[from->node[i]->input[k]->id];
            const int value = w->value_of[x->id];
            if (value < 0 || w->tasks->of[x->def->id] == w->tasks->of[from->node[0]->id] ||
                contains(operand, t->operand_count, value))
                continue;
            operand[t->operand_count++] = value;
        }
    t->operand = operand;
}

// A kernel of several operators moves what it reads and writes, not what they hand each other.
static int64_t time_of(const BuildWork *w, const Task *from, const RetainTask *t) {
    if (from->count == 1)
        return bounded(cost_node(w->rates, from->node[0]));
    double flops = 0, bytes = 0;
    for (int i = 0; i < from->count; i++)
        flops += (double)node_flops(from->node[i]);
    for (int i = 0; i < t->operand_count; i++)
        bytes += (double)type_bytes(&((const Value *)w->value[t->operand[i]].owner)->type);
    for (int i = 0; i < from->count; i++)
        for (int r = 0; r < from->node[i]->result_count; r++)
            if (storage_is_stored(w->sp, &from->node[i]->result[r]))
                bytes += (double)type_bytes(&from->node[i]->result[r].type);
    const uint64_t compute = rates_flops_time(w->rates, RATE_ROWS, flops);
    const uint64_t move = rates_bytes_time(w->rates, RATE_ROWS, bytes);
    return bounded(w->rates->start + (compute > move ? compute : move));
}

// Whether it is a copy between the memories, which is always alone.
static unsigned copy_flag(const Task *from) {
    const Node *n = from->node[0];
    return n->op == OP_OFFLOAD ? RETAIN_OUT : n->op == OP_FETCH ? RETAIN_IN : 0;
}

static bool may_run_again(const BuildWork *w, const Task *from) {
    for (int i = 0; i < from->count; i++)
        if (op_info(from->node[i]->op)->family == FAMILY_ATTENTION ||
            from->node[i]->phase == PHASE_UPDATE)
            return false;
    return w->forward;
}

static void add_task(BuildWork *w, int source) {
    const Task *from = &w->tasks->task[source];
    for (int i = 0; i < from->count; i++)
        // A fused update's scalars stand among the forward's nodes.
        w->forward = w->forward && from->node[i]->phase != PHASE_BACKWARD;
    RetainTask *t = &w->task[w->task_count];
    uint32_t *ids = arena_array(w->a, uint32_t, from->count);
    int results = 0;
    for (int i = 0; i < from->count; i++) {
        ids[i] = from->node[i]->id;
        results += from->node[i]->result_count;
    }
    w->nodes[w->task_count] = (RetainNodes){from->count, ids};
    *t = (RetainTask){.transient = w->transient[source],
                      .flags = (may_run_again(w, from) ? 0 : RETAIN_ONCE) | copy_flag(from)};
    add_operands(w, from, t);
    int *result = arena_array(w->a, int, results + 1);
    for (int i = 0; i < from->count; i++)
        for (int r = 0; r < from->node[i]->result_count; r++)
            add_result(w, &from->node[i]->result[r], from, t, result);
    t->result = result;
    t->time = time_of(w, from, t);
    RateFamily family = RATE_ROWS;
    if (from->count > 1 || cost_family(from->node[0], &family))
        w->work[family] += (double)t->time;
    w->task_count++;
}

// Copies go on beside tasks, which slow them and are slowed: both by the mean over tasks' time.
static void slow_copies(BuildWork *w, RetainProblem *p) {
    double time = 0, out = 0, in = 0, by_out = 0, by_in = 0;
    for (RateFamily f = 0; f < RATE_OUT; f++) {
        time += w->work[f];
        out += w->work[f] * rates_beside(w->rates, RATE_OUT, f);
        in += w->work[f] * rates_beside(w->rates, RATE_IN, f);
        by_out += w->work[f] * (1 - 1 / rates_beside(w->rates, f, RATE_OUT));
        by_in += w->work[f] * (1 - 1 / rates_beside(w->rates, f, RATE_IN));
    }
    if (time <= 0)
        return;
    p->out_slows = (int64_t)(1000 * by_out / time);
    p->in_slows = (int64_t)(1000 * by_in / time);
    for (int v = 0; v < w->value_count; v++) {
        w->value[v].out = bounded((uint64_t)((double)w->value[v].out * out / time));
        w->value[v].in = bounded((uint64_t)((double)w->value[v].in * in / time));
    }
    for (int t = 0; t < w->task_count; t++)
        if (w->task[t].flags & (RETAIN_OUT | RETAIN_IN))
            w->task[t].time =
                bounded((uint64_t)((double)w->task[t].time *
                                   (w->task[t].flags & RETAIN_OUT ? out : in) / time));
}

static const Value **find_values(const Graph *g, Arena *a) {
    const Value **out = arena_array(a, const Value *, g->value_limit + 1);
    for (int i = 0; i < g->node_count; i++)
        for (int r = 0; r < g->node[i]->result_count; r++)
            out[g->node[i]->result[r].id] = &g->node[i]->result[r];
    return out;
}

bool retain_has_choice(const Graph *g) {
    for (int i = 0; i < g->node_count; i++)
        if (g->node[i]->phase == PHASE_BACKWARD)
            return true;
    return false;
}

RetainGraph *retain_build(const Module *m, const Graph *g, const PassOptions *options,
                          const Rates *rates, Arena *a) {
    if (!retain_has_choice(g))
        return NULL;
    BuildWork w = {.m = m, .options = options, .rates = rates, .a = a, .forward = true};
    w.scratch = arena_create();
    w.g = fused_copy(m, g, options, w.scratch);
    w.tasks = tasks_create(w.g, w.scratch);
    w.sp = storage_plan_apart(m, w.g, w.tasks, w.scratch, &w.takeovers);
    w.transient = order_transients(w.sp, w.g, w.tasks, options, w.scratch);
    find_reads(&w);
    w.task = arena_array(a, RetainTask, w.tasks->count + 1);
    w.nodes = arena_array(a, RetainNodes, w.tasks->count + 1);
    w.value = arena_array(a, RetainValue, g->value_limit + 1);
    w.own = find_values(g, w.scratch);
    w.value_of = arena_array(a, int, g->value_limit + 1);
    memset(w.value_of, -1, sizeof *w.value_of * g->value_limit);
    int forward = 0, barrier = 0;
    for (int i = 0; i < w.tasks->count; i++) {
        if (is_idle(&w.tasks->task[i]))
            continue;
        // Micro-batches are over before anything of the update begins.
        if (w.tasks->task[i].node[0]->phase != PHASE_UPDATE)
            barrier = 0;
        else if (g->repeat > 1 && !barrier)
            barrier = w.task_count;
        add_task(&w, i);
        forward = w.forward ? w.task_count : forward;
    }
    RetainGraph *out = arena_new(a, RetainGraph);
    *out = (RetainGraph){.problem = {.task_count = w.task_count,
                                     .forward_count = forward,
                                     .task = w.task,
                                     .barrier = barrier,
                                     .value_count = w.value_count,
                                     .value = w.value},
                         .nodes = w.nodes,
                         .value_of = w.value_of};
    slow_copies(&w, &out->problem);
    arena_release(w.scratch);
    return out;
}
