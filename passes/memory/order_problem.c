// From a graph to the abstract problem of ordering it.
//
// Storage is chosen once, for program order, with every result in a storage of its own
// (storage_plan_apart): which values share memory as views, parts or state, which copies there are
// and which operands a result could take over does not depend on the order, so the storages are the
// objects and the steps' touches their users. Besides data edges there are anti-dependences: a task
// that writes a state's next version comes after those that read the old one, so that it can be
// written in place. Only those that program order obeys are added: so the edges never make a cycle,
// and program order is always allowed. Where micro-batches repeat, a task that does nothing stands
// between the body and the update, and uses what must outlast the body; the copies that end an
// entry are one more task.
//
// The load of an order is that of its storage plan, but for four things: copies that only one task
// uses are counted for all of the task; a commit whose state is read late in program order is
// counted as a copy though another order may spare it; a value that is a part of two concats is
// computed into the last of them in program order; and what a reshape had to copy may be taken over
// as soon as its own readers have run, where the plan waits for those of the copy. Cost: linear.
#include "passes/memory/order_problem.h"

#include "ir/op_lower.h"
#include "passes/lower.h"
#include "passes/storage_work.h"

typedef struct {
    const Module *m;
    const Graph *g;
    const Tasks *tasks;
    const PassOptions *options;
    Arena *a;
    int *number; // by task of the graph: its number in the problem
    int *source;
    int count;   // tasks of the problem
    int barrier; // between body and update, or -1
    int end; // the first of those behind all of the graph's, one for each copy that ends the entry
    OrderBuild *build;
} ProblemWork;

static bool is_late(const ProblemWork *w, int task) {
    return w->g->repeat > 1 && w->tasks->task[task].node[0]->phase == PHASE_UPDATE;
}

static int count_end_steps(const StoragePlan *sp, int tasks) {
    int count = 0;
    for (int i = 0; i < sp->step_count; i++)
        count += sp->step[i].task == tasks;
    return count;
}

// Body, barrier, update, end.
static void number_tasks(ProblemWork *w, const StoragePlan *sp) {
    const int end_count = count_end_steps(sp, w->tasks->count);
    w->number = arena_array(w->a, int, w->tasks->count + 1);
    w->source = arena_array(w->a, int, w->tasks->count + end_count + 1);
    w->barrier = -1;
    for (int late = 0; late < 2; late++) {
        for (int t = 0; t < w->tasks->count; t++)
            if (is_late(w, t) == (late == 1)) {
                w->source[w->count] = t;
                w->number[t] = w->count++;
            }
        if (late == 0 && w->g->repeat > 1) {
            w->source[w->count] = -1;
            w->barrier = w->count++;
        }
    }
    w->end = w->count;
    for (int i = 0; i < end_count; i++)
        w->source[w->count++] = -1;
}

static void add_edge(ProblemWork *w, int from, int to) {
    if (from != to)
        order_build_edge(w->build, w->number[from], w->number[to]);
}

static void add_data_edges(ProblemWork *w) {
    for (int i = 0; i < w->g->node_count; i++) {
        const Node *n = w->g->node[i];
        for (int k = 0; k < n->input_count; k++)
            add_edge(w, (int)w->tasks->of[n->input[k]->def->id], (int)w->tasks->of[n->id]);
    }
}

// Readers of a state's old version come before the task that writes its next one; where that comes
// in parts, before the tasks of those parts that they read.
static void add_anti_edges(ProblemWork *w) {
    const Graph *g = w->g;
    const StateReader **readers = state_readers(w->m, g, w->a);
    for (int i = 0; i < g->commit_count; i++) {
        int count;
        const StatePart *part = state_parts(g->commit[i].value, w->a, &count);
        for (int k = 0; k < count; k++) {
            const int writer = (int)w->tasks->of[part[k].value->def->id];
            for (const StateReader *r = readers[g->commit[i].state->id]; r; r = r->next) {
                // A reader after the writer in program order needs the old version kept; no edge
                // forbids that.
                const int reader = (int)w->tasks->of[r->node->id];
                if (w->number[writer] > w->number[reader] && state_part_is_read(&part[k], r))
                    add_edge(w, reader, writer);
            }
        }
    }
}

// All of the body, then the barrier, then the update; the end after all. Edges to and from those
// without followers or forerunners of their own part say it.
static void add_bounds(ProblemWork *w) {
    bool *followed = arena_array(w->a, bool, w->tasks->count + 1);
    bool *led = arena_array(w->a, bool, w->tasks->count + 1);
    for (int i = 0; i < w->g->node_count; i++) {
        const Node *n = w->g->node[i];
        const int to = (int)w->tasks->of[n->id];
        for (int k = 0; k < n->input_count; k++) {
            const int from = (int)w->tasks->of[n->input[k]->def->id];
            if (from == to || is_late(w, from) != is_late(w, to))
                continue;
            followed[from] = led[to] = true;
        }
    }
    for (int t = 0; t < w->tasks->count; t++) {
        const bool late = is_late(w, t);
        if (late && !led[t])
            order_build_edge(w->build, w->barrier, w->number[t]);
        const int bound = late || w->barrier < 0 ? w->end : w->barrier;
        if (!followed[t] && bound < w->count)
            order_build_edge(w->build, w->number[t], bound);
    }
    if (w->barrier >= 0 && w->end < w->count)
        order_build_edge(w->build, w->barrier, w->end);
    for (int t = w->end + 1; t < w->count; t++)
        order_build_edge(w->build, t - 1, t);
}

// The task a step belongs to; -1 where it comes before all. *end counts the steps behind all.
static int task_of_step(const ProblemWork *w, const Step *s, int *end) {
    if (s->task < 0)
        return -1;
    return s->task == w->tasks->count ? (*end)++ : w->number[s->task];
}

static bool is_result(const StoragePlan *sp, uint32_t storage) {
    for (int i = 0; i < sp->g->result_count; i++)
        if (sp->result[i].storage == storage)
            return true;
    return false;
}

// Bytes the step's kernel needs for itself: its form depends on strides, which orders don't change.
static int64_t workspace_of(const ProblemWork *w, const StoragePlan *sp, const Step *s) {
    if (s->kind != STEP_NODES)
        return 0;
    Arena *scratch = arena_create();
    KernelCall call = {0};
    switch (op_info(s->node[0]->op)->lowering) {
    case LOWER_PRODUCT:
        lower_product(sp, s, w->options, scratch, &call);
        break;
    case LOWER_CONVOLUTION:
        lower_convolution(sp, s, scratch, &call);
        break;
    case LOWER_ATTENTION:
        lower_attention(sp, s, scratch, &call);
        break;
    case LOWER_NONE:
    case LOWER_SCALAR:
    case LOWER_ROWS:
    case LOWER_COLUMNS:
    case LOWER_VIEW:
    case LOWER_SCATTER:
    case LOWER_PART:
    case LOWER_MOVE:
    case LOWER_EXPANDED:
        break; // scalar programs need none on a CPU, and little on a GPU
    }
    const size_t bytes =
        call.kernel ? lower_workspace(w->options, call.kernel) * lower_workers(w->options) : 0;
    arena_release(scratch);
    return (int64_t)storage_padded(bytes);
}

// No task of the problem; several of them.
enum { NOBODY = -1, MANY = -2 };

// By storage: the task of the problem that alone touches it.
static const int *find_touchers(const ProblemWork *w, const StoragePlan *sp) {
    int *toucher = arena_array(w->a, int, sp->storage_count + 1);
    for (int i = 0; i < sp->storage_count; i++) {
        const Storage *s = &sp->storage[i];
        // What is there from the start or to the end is an object, whoever touches it.
        toucher[i] = s->input >= 0 || s->carried || is_result(sp, (uint32_t)i) ? MANY : NOBODY;
    }
    int end = w->end;
    for (int i = 0; i < sp->step_count; i++) {
        const Step *s = &sp->step[i];
        const int task = task_of_step(w, s, &end);
        for (int k = 0; k < s->touch_count; k++) {
            int *by = &toucher[s->touch[k]];
            *by = task >= 0 && (*by == NOBODY || *by == task) ? task : MANY;
        }
    }
    return toucher;
}

// What is far takes nothing of the device's memory; what the prologue alone touches is gone before
// the first task.
static bool takes_none(const StoragePlan *sp, int storage, const int *toucher) {
    const Storage *s = &sp->storage[storage];
    return s->state || s->far || toucher[storage] == NOBODY ||
           s->last < sp->segment_end[STEP_PROLOGUE];
}

// By task of the problem: bytes of storages that it alone touches, and its workspace.
static const int64_t *find_transients(const ProblemWork *w, const StoragePlan *sp,
                                      const int *toucher) {
    int64_t *transient = arena_array(w->a, int64_t, w->count + 1);
    for (int i = 0; i < sp->storage_count; i++)
        if (!takes_none(sp, i, toucher) && toucher[i] != MANY)
            transient[toucher[i]] += (int64_t)storage_padded(sp->storage[i].bytes);
    for (int i = 0; i < sp->step_count && w->options; i++)
        if (sp->step[i].task >= 0 && sp->step[i].task < w->tasks->count)
            transient[w->number[sp->step[i].task]] += workspace_of(w, sp, &sp->step[i]);
    return transient;
}

// Storages that one task alone touches are that task's transient; the others are objects.
static void add_objects(ProblemWork *w, const StoragePlan *sp, const StorageTakeovers *takeovers) {
    const int *toucher = find_touchers(w, sp);
    int *object = arena_array(w->a, int, sp->storage_count + 1);
    for (int i = 0; i < sp->storage_count; i++) {
        const Storage *s = &sp->storage[i];
        object[i] = -1;
        if (takes_none(sp, i, toucher) || toucher[i] != MANY)
            continue;
        const bool first = s->input >= 0 || s->first < sp->segment_end[STEP_PROLOGUE];
        object[i] = order_build_object(w->build, (int64_t)storage_padded(s->bytes),
                                       (first ? OBJECT_FROM_START : 0) |
                                           (is_result(sp, (uint32_t)i) ? OBJECT_KEPT : 0),
                                       s->owner);
        if (w->barrier >= 0 && (s->input >= 0 || s->carried))
            order_build_use(w->build, object[i], w->barrier);
    }
    const int64_t *transient = find_transients(w, sp, toucher);
    for (int t = 0; t < w->count; t++)
        order_build_transient(w->build, t, transient[t]);
    int end = w->end;
    for (int i = 0; i < sp->step_count; i++) {
        const Step *s = &sp->step[i];
        const int task = task_of_step(w, s, &end);
        for (int k = 0; k < s->touch_count; k++)
            if (task >= 0 && object[s->touch[k]] >= 0)
                order_build_use(w->build, object[s->touch[k]], task);
    }
    for (int i = 0; i < takeovers->count; i++) {
        const StorageTakeover t = takeovers->item[i];
        if (object[t.result] >= 0 && object[t.operand] >= 0)
            order_build_takeover(w->build, w->number[t.task],
                                 (OrderTakeover){object[t.result], object[t.operand]});
    }
}

const int64_t *order_transients(const StoragePlan *sp, const Graph *g, const Tasks *tasks,
                                const PassOptions *options, Arena *a) {
    ProblemWork w = {.g = g, .tasks = tasks, .options = options, .a = a};
    number_tasks(&w, sp);
    const int64_t *by_number = find_transients(&w, sp, find_touchers(&w, sp));
    int64_t *out = arena_array(a, int64_t, tasks->count + 1);
    for (int t = 0; t < tasks->count; t++)
        out[t] = by_number[w.number[t]];
    return out;
}

OrderProblem order_problem(const Module *m, const Graph *g, const Tasks *tasks,
                           const PassOptions *options, Arena *a) {
    ProblemWork w = {.m = m, .g = g, .tasks = tasks, .options = options, .a = a};
    StorageTakeovers takeovers = {0};
    const StoragePlan *sp = storage_plan_apart(m, g, tasks, a, &takeovers);
    number_tasks(&w, sp);
    w.build = order_build_create(w.count, a);
    add_data_edges(&w);
    add_anti_edges(&w);
    add_bounds(&w);
    add_objects(&w, sp, &takeovers);
    return (OrderProblem){order_build_finish(w.build), w.source};
}
