// Kernels that read the same large value become one, so that it comes from memory once.
//
//   p = einsum(d, w)                            p = einsum(d, w)
//   h = gelu(z)                    =>           h, q = gelu(z), gelu_grad(z, p)
//   u = einsum(h, d)                            u = einsum(h, d)
//   q = gelu_grad(z, p)
//
// On entry: groups, each of which can be one kernel, and nodes that stand alone. Tasks, which are
// both, stand in a line by their last nodes. For each task B, one A among those shortly before it
// is looked for that walks the same space and reads one of B's operands, or makes one that B reads
// as it is; they become one task M. What stood between them and needs A's results moves behind M,
// and the rest stays before it: so there must be no way from A to B through another task, and the
// line stays one in which everything stands behind what it needs.
//
// Memory: a result can take the place of an operand that nobody reads afterwards. M may need no
// more memory besides its operands than A or B did; so three kernels that each read what the next
// ones need become one that writes over all of it, the last two first. A, which waits, must not be
// what makes room for those it waits for, nor B, which comes earlier, take room from those it
// overtakes; and the part of the line from A to B must not hold more than before. The line is not
// the order that `order` will find: a plan may still grow a little (docs/decisions.md).
//
// Of two tasks that reduce rows, the later may read of the earlier numbers a row (a log-sum-exp),
// nothing along it, for that would be computed again in each walk over the row. Both must read rows
// of one width: the shape of a GPU's sums goes by it (ir/launch_scalar.c), and is to be the same in
// one kernel or two.
//
// Cost: for each task the few before it, and what these read.
#include "ir/op_lower.h"
#include "passes/fuse.h"
#include "passes/lower_space.h"
#include "passes/pass.h"
#include "passes/storage_work.h"

#include <string.h>

// DISTANCE_MAX: places in the line. FEW_ROWS: up to so many, how a GPU cuts long rows depends on
// all that the kernel does.
enum { DISTANCE_MAX = 16, MEMBERS_MAX = 32, OPERANDS_MAX = 24, RESULTS_MAX = 24, FEW_ROWS = 64 };

typedef struct {
    const Type *space; // NULL: it can't be joined to another
    int into;          // the task it has become a part of, or itself
    int place;         // in the line
    int members;
    int first, last; // nodes, by index in the graph; the next of one is in Siblings.next
    bool rows;       // reduces rows
    bool expensive;  // has something not worth computing twice
    bool update;     // of the update segment
    Phase phase;
} SiblingTask;

// What a kernel moves.
typedef struct {
    int reads, writes;
    const Value *read[OPERANDS_MAX + 1], *write[RESULTS_MAX + 1];
} Traffic;

typedef struct {
    Graph *g;
    SiblingTask *task; // 1 .. task_count
    int task_count;
    int *line;          // tasks by place; 0 where one stood
    int *of;            // by node id: task, 0 for views and leaves
    int *next;          // by node index: the task's next node, -1
    const Value **root; // by value id: through views
    const Users *users;
    const bool *kept;               // by value id: a result, or committed
    int *index;                     // by task: in the window that is looked at
    bool reached[DISTANCE_MAX + 1]; // by place behind A: needs A's results
} Siblings;

static int task_find(const Siblings *s, int task) {
    while (s->task[task].into != task)
        task = s->task[task].into;
    return task;
}

static int task_of(const Siblings *s, const Value *v) {
    return task_find(s, s->of[s->root[v->id]->def->id]);
}

static bool is_leaf(const Node *n) {
    return n->op == OP_INPUT || n->op == OP_STATE || n->op == OP_CONSTANT;
}

// The value before it was reshaped.
static const Value *plain(const Value *v) {
    while (v->def->op == OP_RESHAPE)
        v = v->def->input[0];
    return v;
}

// Whether n reads it along the whole space.
static bool is_large(const Node *n, int input) {
    return !op_input_is_source(n->op, input) &&
           type_same_shape(&n->input[input]->type, node_space(n));
}

static bool is_rows(const Node *n) {
    return op_info(n->op)->lowering == LOWER_ROWS;
}

// What was fetched would have to be there for all of the kernel at once.
static bool may_share(const Siblings *s, const Node *n) {
    return fuse_may_group(n) && !fuse_is_columns(n) && op_info(n->op)->family != FAMILY_UPDATE &&
           !(n->op == OP_GATHER && s->root[n->input[0]->id]->def->op == OP_FETCH);
}

static int task_add(Siblings *s, const Node *n) {
    const int id = ++s->task_count;
    s->task[id] = (SiblingTask){.space = node_space(n),
                                .into = id,
                                .first = -1,
                                .last = -1,
                                .update = s->g->repeat > 1 && n->phase == PHASE_UPDATE,
                                .phase = n->phase};
    return id;
}

static void task_add_node(Siblings *s, int id, int index) {
    SiblingTask *t = &s->task[id];
    const Node *n = s->g->node[index];
    if (t->first < 0)
        t->first = index;
    else
        s->next[t->last] = index;
    t->last = index;
    t->members++;
    t->rows = t->rows || is_rows(n);
    t->expensive = t->expensive || op_info(n->op)->flags & (OPF_EXPENSIVE | OPF_RANDOM);
    if (!may_share(s, n))
        t->space = NULL;
    s->of[n->id] = id;
}

// Tasks in a line by their last nodes. There are fewer groups than nodes.
static void find_tasks(Siblings *s, Arena *a) {
    const Graph *g = s->g;
    int *of_group = arena_array(a, int, g->node_count + 1);
    for (int i = 0; i < g->node_count; i++) {
        const Node *n = g->node[i];
        const bool view = node_is_view(n);
        for (int r = 0; r < n->result_count; r++)
            s->root[n->result[r].id] = view ? s->root[n->input[0]->id] : &n->result[r];
        if (view || is_leaf(n))
            continue;
        int id = n->group ? of_group[n->group] : 0;
        if (!id)
            id = task_add(s, n);
        of_group[n->group] = n->group ? id : 0;
        task_add_node(s, id, i);
    }
    for (int i = 0, at = 0; i < g->node_count; i++) {
        const int id = s->of[g->node[i]->id];
        if (!id || s->task[id].last != i)
            continue;
        s->task[id].place = at;
        s->line[at++] = id;
    }
}

// Whether the task reads the value anywhere along its whole space.
static bool reads_large(const Siblings *s, int task, const Value *v) {
    for (int i = s->task[task].first; i >= 0; i = s->next[i]) {
        const Node *n = s->g->node[i];
        for (int k = 0; k < n->input_count; k++)
            if (is_large(n, k) && plain(n->input[k]) == plain(v))
                return true;
    }
    return false;
}

// Whether they have an operand in common, or one makes what the other reads.
static bool are_near(const Siblings *s, int a, int b) {
    for (int i = s->task[b].first; i >= 0; i = s->next[i]) {
        const Node *n = s->g->node[i];
        for (int k = 0; k < n->input_count; k++)
            if (is_large(n, k) && s->root[n->input[k]->id]->def->op != OP_CONSTANT &&
                (task_of(s, n->input[k]) == a || reads_large(s, a, n->input[k])))
                return true;
    }
    return false;
}

// Whether input i of n has a number for each row of n's space, read at its own row.
static bool is_number_a_row(const Node *n, int i) {
    const Type *t = &n->input[i]->type, *space = node_space(n);
    if (!is_rows(n) || op_input_is_source(n->op, i) || t->rank + 1 != space->rank)
        return false;
    for (int k = 0; k < t->rank; k++)
        if (node_space_axis(n, i, k) != k || t->dim[k] != space->dim[k])
            return false;
    return true;
}

// Whether a kernel of both has what B reads of A's results: as it is, and computed only once.
static bool reads_directly(const Siblings *s, int a, int b) {
    const SiblingTask *x = &s->task[a], *y = &s->task[b];
    const bool along = !y->rows || (!x->rows && !x->expensive);
    for (int i = y->first; i >= 0; i = s->next[i]) {
        const Node *n = s->g->node[i];
        for (int k = 0; k < n->input_count; k++) {
            const Value *v = n->input[k];
            if (task_of(s, v) != a)
                continue;
            if (s->root[v->id] != v || !(is_number_a_row(n, k) || (along && is_large(n, k))))
                return false;
        }
    }
    return true;
}

// Whether B reads numbers a row of A.
static bool reads_numbers(const Siblings *s, int a, int b) {
    for (int i = s->task[b].first; i >= 0; i = s->next[i]) {
        const Node *n = s->g->node[i];
        for (int k = 0; k < n->input_count; k++)
            if (task_of(s, n->input[k]) == a && is_number_a_row(n, k))
                return true;
    }
    return false;
}

// Marks what needs A's results, up to B. False where B does by another way than its own operands.
static bool find_reached(Siblings *s, int a, int b) {
    const int from = s->task[a].place, to = s->task[b].place;
    for (int at = from + 1; at <= to; at++) {
        const int id = s->line[at];
        bool reached = false;
        for (int i = id ? s->task[id].first : -1; i >= 0 && !reached; i = s->next[i]) {
            const Node *n = s->g->node[i];
            for (int k = 0; k < n->input_count && !reached; k++) {
                const int maker = task_of(s, n->input[k]);
                const int place = maker ? s->task[maker].place : -1;
                reached = (maker == a && id != b) ||
                          (place > from && place < at && s->reached[place - from]);
            }
        }
        s->reached[at - from] = reached;
    }
    return !s->reached[to - from];
}

static void add_once(const Value **list, int *count, int most, const Value *v) {
    for (int i = 0; i < *count; i++)
        if (list[i] == v)
            return;
    if (*count <= most)
        list[(*count)++] = v;
}

// What tasks a and b (0: none) move as one; one too many where there is no room.
static Traffic traffic_of(const Siblings *s, int a, int b) {
    Traffic t = {0};
    const int both[2] = {a, b};
    for (int m = 0; m < 2; m++)
        for (int i = both[m] ? s->task[both[m]].first : -1; i >= 0; i = s->next[i]) {
            const Node *n = s->g->node[i];
            for (int k = 0; k < n->input_count; k++) {
                const int maker = task_of(s, n->input[k]);
                const bool own = maker && (maker == a || maker == b);
                if (!own && s->root[n->input[k]->id]->def->op != OP_CONSTANT)
                    add_once(t.read, &t.reads, OPERANDS_MAX, n->input[k]);
            }
            for (int r = 0; r < n->result_count; r++) {
                const Value *v = &n->result[r];
                bool stored = s->kept[v->id];
                for (int u = 0; u < s->users[v->id].count && !stored; u++) {
                    const int user = task_find(s, s->of[s->users[v->id].node[u]->id]);
                    stored = !user || (user != a && user != b);
                }
                if (stored)
                    add_once(t.write, &t.writes, RESULTS_MAX, v);
            }
        }
    return t;
}

// Tasks of a part of the line in some order; one of them may stand for two.
typedef struct {
    int from, to; // places in the line
    int count;
    int task[DISTANCE_MAX + 1];
    int joined; // what is done together with task[both], or 0
    int both;
} Window;

static void window_add(Siblings *s, Window *w, int task) {
    s->index[task] = w->count;
    w->task[w->count++] = task;
}

// From a to b as they stand.
static Window window_apart(Siblings *s, int a, int b) {
    Window w = {.from = s->task[a].place, .to = s->task[b].place};
    for (int i = w.from; i <= w.to; i++)
        if (s->line[i])
            window_add(s, &w, s->line[i]);
    return w;
}

// As they would stand were they one.
static Window window_joined(Siblings *s, int a, int b) {
    Window w = {.from = s->task[a].place, .to = s->task[b].place, .joined = a};
    for (int i = w.from + 1; i < w.to; i++)
        if (s->line[i] && !s->reached[i - w.from])
            window_add(s, &w, s->line[i]);
    w.both = w.count;
    s->index[a] = w.count;
    window_add(s, &w, b);
    for (int i = w.from + 1; i < w.to; i++)
        if (s->line[i] && s->reached[i - w.from])
            window_add(s, &w, s->line[i]);
    return w;
}

// Whether anyone reads the value, or a view of it, behind task number `at` of the window.
static bool is_read_behind(const Siblings *s, const Window *w, const Value *v, int at) {
    if (s->kept[v->id])
        return true;
    const Users *users = &s->users[v->id];
    for (int u = users->count - 1; u >= 0; u--) { // the last ones first: most likely behind
        const Node *n = users->node[u];
        const int task = task_find(s, s->of[n->id]);
        for (int r = 0; !task && r < n->result_count; r++)
            if (is_read_behind(s, w, &n->result[r], at))
                return true;
        const int place = s->task[task].place;
        if (task &&
            (n->op == OP_OFFLOAD || place > w->to || (place >= w->from && s->index[task] > at)))
            return true;
    }
    return false;
}

// What a task does to memory, in bytes.
typedef struct {
    int64_t fresh; // results that don't take the place of an operand
    int64_t grown; // results less operands that nobody reads any more
} Growth;

static int64_t bytes_of(const Value *v) {
    return (int64_t)storage_padded(type_bytes(&v->type));
}

// Results of what goes element by element, or is added to an operand, may take such a one's place.
static Growth growth_of(const Siblings *s, const Window *w, int at) {
    const int task = w->task[at];
    const Traffic t = traffic_of(s, task, w->joined && at == w->both ? w->joined : 0);
    const bool over = s->task[task].space || s->g->node[s->task[task].first]->op == OP_EINSUM_ADD;
    bool taken[RESULTS_MAX + 1] = {false};
    Growth out = {0};
    for (int i = 0; i < t.writes; i++) {
        out.fresh += bytes_of(t.write[i]);
        out.grown += bytes_of(t.write[i]);
    }
    for (int i = 0; i < t.reads; i++) {
        const Value *root = s->root[t.read[i]->id];
        bool dies = !is_leaf(root->def) && !is_read_behind(s, w, root, at);
        for (int k = 0; k < i && dies; k++) // another view of it
            dies = s->root[t.read[k]->id] != root;
        if (!dies)
            continue;
        out.grown -= bytes_of(root);
        for (int k = 0; k < t.writes && over; k++)
            if (!taken[k] && t.write[k]->type.dtype == root->type.dtype &&
                type_same_shape(&t.write[k]->type, &t.read[i]->type)) {
                out.fresh -= bytes_of(t.write[k]);
                taken[k] = true;
                break;
            }
    }
    return out;
}

// The most bytes that are there at once, above those there before it.
static int64_t window_peak(const Siblings *s, const Window *w) {
    int64_t live = 0, most = 0;
    for (int at = 0; at < w->count; at++) {
        const Growth g = growth_of(s, w, at);
        most = live + g.fresh > most ? live + g.fresh : most;
        live += g.grown;
    }
    return most;
}

// Whether all that both read along the space has one width.
static bool widths_agree(const Traffic *t, const Type *space) {
    const Value *first = NULL;
    for (int i = 0; i < t->reads; i++) {
        if (!type_same_shape(&t->read[i]->type, space))
            continue;
        if (first && dtype_bytes(first->type.dtype) != dtype_bytes(t->read[i]->type.dtype))
            return false;
        first = t->read[i];
    }
    return true;
}

static bool may_reduce_together(const Siblings *s, int a, int b, const Traffic *both) {
    const Type *space = s->task[a].space;
    if (!s->task[a].rows || !s->task[b].rows)
        return true;
    return type_count(space) > FEW_ROWS * space->dim[space->rank - 1] && widths_agree(both, space);
}

// See the file's head. A waits where the window has tasks before both, B overtakes those behind.
static bool needs_no_more(Siblings *s, int a, int b) {
    const Window apart = window_apart(s, a, b);
    const int64_t peak = window_peak(s, &apart);
    const Growth x = growth_of(s, &apart, 0), y = growth_of(s, &apart, apart.count - 1);
    const Window joined = window_joined(s, a, b);
    const Growth both = growth_of(s, &joined, joined.both);
    return (both.fresh <= x.fresh || both.fresh <= y.fresh) && (x.grown >= 0 || joined.both == 0) &&
           (y.grown <= 0 || joined.both == joined.count - 1) && window_peak(s, &joined) <= peak;
}

static bool may_join(Siblings *s, int a, int b) {
    const SiblingTask *x = &s->task[a], *y = &s->task[b];
    if (!x->space || !type_same_shape(x->space, y->space) || x->update != y->update ||
        x->members + y->members > MEMBERS_MAX || !are_near(s, a, b) || !reads_directly(s, a, b) ||
        (x->phase != y->phase && !reads_numbers(s, a, b)) || !find_reached(s, a, b))
        return false;
    const Traffic both = traffic_of(s, a, b);
    return both.reads + both.writes <= OPERANDS_MAX && may_reduce_together(s, a, b, &both) &&
           needs_no_more(s, a, b);
}

// A's nodes become B's. Between them stays before what isn't reached, and the rest comes behind.
static void join(Siblings *s, int a, int b) {
    SiblingTask *x = &s->task[a], *y = &s->task[b];
    int moved[DISTANCE_MAX + 1], moved_count = 0;
    const int from = x->place, to = y->place;
    int at = from;
    s->line[at++] = 0;
    for (int i = from + 1; i < to; i++) {
        const int id = s->line[i];
        if (s->reached[i - from])
            moved[moved_count++] = id;
        else
            s->line[at++] = id;
    }
    s->line[at++] = b;
    for (int i = 0; i < moved_count; i++)
        s->line[at++] = moved[i];
    for (int i = from; i <= to; i++)
        s->task[s->line[i]].place = i;
    s->next[x->last] = y->first;
    y->first = x->first;
    y->members += x->members;
    y->rows = y->rows || x->rows;
    y->expensive = y->expensive || x->expensive;
    x->into = b;
}

// The last one before b that may join it.
static int find_sibling(Siblings *s, int b) {
    const int to = s->task[b].place;
    for (int at = to - 1; at >= 0 && at >= to - DISTANCE_MAX; at--)
        if (s->line[at] && may_join(s, s->line[at], b))
            return s->line[at];
    return 0;
}

static void set_groups(const Siblings *s, Arena *a) {
    int *group = arena_array(a, int, s->g->node_count);
    for (int i = 0; i < s->g->node_count; i++)
        group[i] = task_find(s, s->of[s->g->node[i]->id]);
    fuse_set_groups(s->g, group, a);
}

static const bool *find_kept(const Graph *g, Arena *a) {
    bool *kept = arena_array(a, bool, g->value_limit + 1);
    for (int i = 0; i < g->result_count; i++)
        kept[g->result[i].value->id] = true;
    for (int i = 0; i < g->commit_count; i++)
        kept[g->commit[i].value->id] = true;
    return kept;
}

static PassResult join_siblings(Graph *g, PassCtx *cx) {
    Arena *a = cx->scratch;
    Siblings s = {.g = g,
                  .task = arena_array(a, SiblingTask, g->node_count + 1),
                  .line = arena_array(a, int, g->node_count + 1),
                  .index = arena_array(a, int, g->node_count + 1),
                  .of = arena_array(a, int, g->node_limit + 1),
                  .next = arena_array(a, int, g->node_count + 1),
                  .root = arena_array(a, const Value *, g->value_limit + 1),
                  .users = graph_users(g, a),
                  .kept = find_kept(g, a)};
    memset(s.next, -1, (size_t)g->node_count * sizeof *s.next);
    find_tasks(&s, a);
    int joined = 0;
    for (int at = 0; at < s.task_count; at++) {
        const int b = s.line[at];
        if (!b || !s.task[b].space)
            continue;
        for (int sibling; (sibling = find_sibling(&s, b)) && rewrite_allowed(cx); joined++)
            join(&s, sibling, b);
    }
    if (joined == 0)
        return PASS_SAME; // groups are as they were
    set_groups(&s, a);
    remark_add(cx, "siblings", g->name,
               "%d kernels became part of others that read the same values", joined);
    return PASS_CHANGED;
}

PassResult pass_siblings(Module *m, PassCtx *cx) {
    return pass_each_entry(m, cx, join_siblings);
}
