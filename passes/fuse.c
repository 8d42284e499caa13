// Fusing operators into kernels: sets Node.group.
//
// One walk in program order. Elementwise operators, and what else has a scalar program, join the
// groups that compute their operands; at most one rowwise operator a group, with what leads to it
// and what follows; sums down columns that read the same values share a kernel. All operators of a
// group walk one index space.
//
// A group runs where its last member stands. So no cycle can arise as long as, for every edge
// between groups, the reader's last member comes after the writer's: a group is closed as soon as
// an operator outside reads from it, and only open groups grow (cost: linear). Memory: a value read
// only inside is never stored; what the early members read must live until the last one, so members
// stand close together.
//
// A cast whose only reader sums it down columns (the f32 sum of a bf16 gradient, for a bias) waits
// for that reader and is computed as the sum loads: it would otherwise go to memory, twice as wide
// as what it casts. It stays out of its producer's group, which need not be closed for it: the cast
// stands where the sum stands.
//
// Not fused: an expensive producer before a rowwise operator of several stages, which would compute
// it again in each; anything past the operands a kernel can have; lookups in two tables that were
// fetched from far memory, which would both have to be there at once.
#include "passes/fuse.h"

#include "ir/check.h"
#include "ir/op_lower.h"
#include "passes/fuse_updates.h"
#include "passes/lower_space.h"
#include "passes/pass.h"

#include <string.h>

// A kernel may have more operands, but then it is rarely the faster way.
enum { DISTANCE_MAX = 16, MEMBERS_MAX = 32, OPERANDS_MAX = 24 };

typedef struct {
    const Type *space;
    int parent; // union-find; itself where it is a group's name
    int members;
    int last;           // ordinal of its last member
    bool closed;        // an operator outside reads it
    bool expensive;     // has something not worth computing twice
    bool rows, columns; // has a rowwise operator; sums down columns
    bool update;        // of the update segment
    bool fetched;       // looks something up in a table from far memory
    int outputs;        // results read outside, at most
    int input_count;
    uint32_t input[OPERANDS_MAX]; // values loaded, by id
} FuseGroup;

typedef struct {
    Graph *g;
    FuseGroup *group; // 1..group_count
    int group_count;
    int *of;            // by node id: group, 0 none
    const Value **root; // by value id: through views
    const int *uses;    // by value id
    const Node **sum;   // by value id: a sum down columns that reads it
    int *column_group;  // by root's value id: the last column group that read it
    int ordinal;        // executable nodes so far
} Fuse;

// No path compression: chains are as long as a kernel has members.
static int group_find(const Fuse *f, int group) {
    while (group && f->group[group].parent != group)
        group = f->group[group].parent;
    return group;
}

static bool is_view(const Node *n) {
    return n->op == OP_RESHAPE || n->op == OP_TRANSPOSE || n->op == OP_BROADCAST ||
           n->op == OP_SLICE || n->op == OP_SPLIT;
}

static bool is_constant(const Fuse *f, const Value *v) {
    return f->root[v->id]->def->op == OP_CONSTANT;
}

// A reduce over exactly the last axis (rows), or over all but it (columns).
static bool reduce_is_simple(const Node *n) {
    const ReduceForm form = reduce_form(n);
    const int rank = n->input[0]->type.rank;
    return rank > 0 && form.inner_count == 1 && form.inner[0] == rank - 1;
}

bool fuse_may_group(const Node *n) {
    const OpInfo *info = op_info(n->op);
    if (n->op == OP_CONSTANT || n->op == OP_ACCUMULATE)
        return false;
    if (info->family == FAMILY_REDUCE)
        return reduce_is_simple(n);
    return info->lowering == LOWER_SCALAR || info->lowering == LOWER_ROWS ||
           info->lowering == LOWER_COLUMNS;
}

bool fuse_is_columns(const Node *n) {
    if (op_info(n->op)->family == FAMILY_REDUCE)
        return reduce_form(n).axis == KERNEL_COLUMNS;
    return op_info(n->op)->lowering == LOWER_COLUMNS;
}

static bool is_rows(const Node *n) {
    return op_info(n->op)->lowering == LOWER_ROWS && !fuse_is_columns(n);
}

static void add_input(FuseGroup *group, const Value *v) {
    for (int i = 0; i < group->input_count; i++)
        if (group->input[i] == v->id)
            return;
    if (group->input_count < OPERANDS_MAX)
        group->input[group->input_count++] = v->id;
}

static bool is_update(const Fuse *f, const Node *n) {
    return f->g->repeat > 1 && n->phase == PHASE_UPDATE;
}

// The sum down columns that computes the cast n as it loads, or NULL.
static const Node *waits_for(const Fuse *f, const Node *n) {
    const Value *v = &n->result[0];
    if (n->op != OP_CAST || f->uses[v->id] != 1)
        return NULL;
    const Node *sum = f->sum[v->id];
    return sum && is_update(f, sum) == is_update(f, n) && !is_constant(f, n->input[0]) ? sum : NULL;
}

static bool looks_up_fetched(const Fuse *f, const Node *n) {
    return n->op == OP_GATHER && f->root[n->input[0]->id]->def->op == OP_FETCH;
}

// A group of one.
static int group_start(Fuse *f, const Node *n) {
    const OpInfo *info = op_info(n->op);
    const int id = ++f->group_count;
    FuseGroup *group = &f->group[id];
    *group = (FuseGroup){.space = node_space(n),
                         .parent = id,
                         .members = 1,
                         .last = f->ordinal,
                         .expensive = info->flags & (OPF_EXPENSIVE | OPF_RANDOM),
                         .rows = is_rows(n),
                         .columns = fuse_is_columns(n),
                         .update = is_update(f, n),
                         .fetched = looks_up_fetched(f, n)};
    for (int i = 0; i < n->input_count; i++)
        if (!is_constant(f, n->input[i]))
            add_input(group, n->input[i]);
    for (int r = 0; r < n->result_count; r++)
        group->outputs += f->uses[n->result[r].id] > 0;
    f->of[n->id] = id;
    return id;
}

// Whether every operand of n that comes from the group is one of its values as it is, at n's index.
static bool reads_directly(const Fuse *f, const Node *n, int id) {
    const Type *space = node_space(n);
    for (int i = 0; i < n->input_count; i++) {
        const Value *root = f->root[n->input[i]->id];
        if (group_find(f, f->of[root->def->id]) != id)
            continue;
        if (root != n->input[i] || op_input_is_source(n->op, i) ||
            !type_same_shape(&root->type, space))
            return false;
    }
    return true;
}

// Loads of both, less those shared, and stores of both.
static bool merge_fits(const FuseGroup *x, const FuseGroup *y, int saved) {
    int inputs = x->input_count;
    for (int i = 0; i < y->input_count; i++) {
        bool shared = false;
        for (int k = 0; k < x->input_count && !shared; k++)
            shared = x->input[k] == y->input[i];
        inputs += !shared;
    }
    return x->members + y->members <= MEMBERS_MAX &&
           inputs + x->outputs + y->outputs - saved <= OPERANDS_MAX;
}

// Values of the group that only n reads: they will not be stored.
static int outputs_saved(const Fuse *f, const Node *n, int id) {
    int saved = 0;
    for (int i = 0; i < n->input_count; i++) {
        const Value *v = n->input[i];
        int reads = 0;
        bool first = true;
        for (int k = 0; k < n->input_count; k++) {
            reads += n->input[k] == v;
            first = first && (k >= i || n->input[k] != v);
        }
        if (first && group_find(f, f->of[v->def->id]) == id && f->uses[v->id] == reads)
            saved++;
    }
    return saved;
}

// Whether n, alone in group own so far, may join the group.
static bool may_join(const Fuse *f, const Node *n, int own, int id) {
    const FuseGroup *x = &f->group[id], *y = &f->group[own];
    return !x->closed && !x->columns && !y->columns && x->update == y->update &&
           type_same_shape(x->space, y->space) && f->ordinal - x->last <= DISTANCE_MAX &&
           !(x->rows && y->rows) && !(x->fetched && y->fetched) &&
           !(is_rows(n) && x->expensive && op_info(n->op)->family != FAMILY_REDUCE) &&
           reads_directly(f, n, id) && merge_fits(x, y, outputs_saved(f, n, id));
}

// The caller has checked that the operands fit.
static void group_merge(Fuse *f, int from, int into, int saved) {
    FuseGroup *x = &f->group[into];
    const FuseGroup *y = &f->group[from];
    x->members += y->members;
    x->last = x->last > y->last ? x->last : y->last;
    x->expensive = x->expensive || y->expensive;
    x->rows = x->rows || y->rows;
    x->fetched = x->fetched || y->fetched;
    x->outputs += y->outputs - saved;
    for (int i = 0; i < y->input_count; i++) {
        const uint32_t id = y->input[i];
        bool shared = false;
        for (int k = 0; k < x->input_count && !shared; k++)
            shared = x->input[k] == id;
        if (!shared)
            x->input[x->input_count++] = id;
    }
    f->group[from].parent = into;
}

// The values that the group makes itself are not loaded.
static void drop_own_inputs(const Fuse *f, const Node *n, int id) {
    FuseGroup *group = &f->group[id];
    for (int i = 0; i < n->input_count; i++) {
        if (group_find(f, f->of[n->input[i]->def->id]) != id)
            continue;
        for (int k = 0; k < group->input_count; k++)
            if (group->input[k] == n->input[i]->id)
                group->input[k--] = group->input[--group->input_count];
    }
}

// Sums down columns over a value that another column group reads already.
static void join_columns(Fuse *f, const Node *n, int own) {
    for (int i = 0; i < n->input_count; i++) {
        const Value *root = f->root[n->input[i]->id];
        const int id = group_find(f, f->column_group[root->id]);
        if (!id || id == own || !type_same_shape(&n->input[i]->type, node_space(n)))
            continue;
        const FuseGroup *x = &f->group[id], *y = &f->group[own];
        bool reads_it = false;
        for (int k = 0; k < n->input_count; k++)
            reads_it = reads_it || group_find(f, f->of[f->root[n->input[k]->id]->def->id]) == id;
        if (x->closed || reads_it || x->update != y->update ||
            !type_same_shape(x->space, y->space) || f->ordinal - x->last > DISTANCE_MAX ||
            !merge_fits(x, y, 0))
            continue;
        group_merge(f, own, id, 0);
        break;
    }
    for (int i = 0; i < n->input_count; i++)
        f->column_group[f->root[n->input[i]->id]->id] = f->of[n->id];
}

// Groups outside n's that it reads from can't grow any more.
static void close_others(Fuse *f, const Node *n) {
    const int own = group_find(f, f->of[n->id]);
    for (int i = 0; i < n->input_count; i++) {
        const int id = group_find(f, f->of[f->root[n->input[i]->id]->def->id]);
        if (id && id != own)
            f->group[id].closed = true;
    }
}

// The cast that has waited for the sum n. Fits: a sum has one operand.
static void take_cast(Fuse *f, const Node *n, int own) {
    const Node *cast = n->input[0]->def;
    if (waits_for(f, cast) != n)
        return;
    group_merge(f, group_find(f, f->of[cast->id]), own, 1);
    drop_own_inputs(f, n, own);
    close_others(f, cast);
}

// Views and leaves run nowhere: they neither join nor close.
static void visit(Fuse *f, const Node *n) {
    const bool leaf = n->op == OP_INPUT || n->op == OP_STATE || n->op == OP_CONSTANT;
    for (int r = 0; r < n->result_count; r++) {
        const Value *v = &n->result[r];
        f->root[v->id] = is_view(n) ? f->root[n->input[0]->id] : v;
    }
    if (leaf || is_view(n))
        return;
    f->ordinal++;
    if (fuse_may_group(n)) {
        const int own = group_start(f, n);
        if (waits_for(f, n))
            return;
        if (fuse_is_columns(n)) {
            take_cast(f, n, own);
            join_columns(f, n, own);
        } else {
            for (int i = 0; i < n->input_count; i++) {
                const int id = group_find(f, f->of[n->input[i]->def->id]);
                const int now = group_find(f, own);
                if (!id || id == now || !may_join(f, n, now, id))
                    continue;
                const int saved = outputs_saved(f, n, id);
                group_merge(f, id, now, saved);
                drop_own_inputs(f, n, now);
            }
        }
    }
    close_others(f, n);
}

int fuse_set_groups(Graph *g, const int *group, Arena *scratch) {
    int *members = arena_array(scratch, int, g->node_count + 1);
    uint32_t *number = arena_array(scratch, uint32_t, g->node_count + 1);
    uint32_t count = 0;
    for (int i = 0; i < g->node_count; i++)
        members[group[i]]++;
    for (int i = 0; i < g->node_count; i++) {
        const bool shared = group[i] && members[group[i]] > 1;
        if (shared && !number[group[i]])
            number[group[i]] = ++count;
        g->node[i]->group = shared ? number[group[i]] : 0;
    }
    return (int)count;
}

static int set_groups(const Fuse *f, Arena *a) {
    int *group = arena_array(a, int, f->g->node_count);
    for (int i = 0; i < f->g->node_count; i++)
        group[i] = group_find(f, f->of[f->g->node[i]->id]);
    return fuse_set_groups(f->g, group, a);
}

// One remark a group: its operators, equal ones in a row once.
static void explain_groups(const Graph *g, int groups, PassCtx *cx) {
    enum { NAMED_MAX = 12 };
    Arena *a = cx->scratch;
    typedef struct {
        const char *text, *last;
        int members, named, same; // same: of the last name
    } Explained;
    Explained *all = arena_array(a, Explained, groups + 1);
    for (int i = 0; i < g->node_count; i++) {
        Explained *e = &all[g->node[i]->group];
        const char *name = g->node[i]->group ? remark_value(a, &g->node[i]->result[0]) : NULL;
        if (!name)
            continue;
        e->members++;
        e->named += !e->last || strcmp(e->last, name) != 0;
        e->same = e->last && strcmp(e->last, name) == 0 ? e->same + 1 : 1;
        if (e->named <= NAMED_MAX && e->same == 1)
            e->text = e->text ? arena_format(a, "%s, %s", e->text, name) : name;
        e->last = name;
    }
    for (int i = 1; i <= groups; i++)
        remark_add(cx, "fuse", all[i].last, "in %s one kernel computes %d operators: %s%s", g->name,
                   all[i].members, all[i].text, all[i].named > NAMED_MAX ? ", ..." : "");
}

// Sums down columns by what they read.
static const Node **find_sums(const Graph *g, Arena *a) {
    const Node **sum = arena_array(a, const Node *, g->value_limit + 1);
    for (int i = 0; i < g->node_count; i++) {
        const Node *n = g->node[i];
        if (op_info(n->op)->family == FAMILY_REDUCE && fuse_may_group(n) && fuse_is_columns(n))
            sum[n->input[0]->id] = n;
    }
    return sum;
}

static void fuse_graph(const Module *m, Graph *g, PassCtx *cx) {
    Arena *a = cx->scratch;
    Fuse f = {.g = g,
              .group = arena_array(a, FuseGroup, g->node_count + 1),
              .of = arena_array(a, int, g->node_limit + 1),
              .root = arena_array(a, const Value *, g->value_limit + 1),
              .uses = graph_use_counts(g, a),
              .sum = find_sums(g, a),
              .column_group = arena_array(a, int, g->value_limit + 1)};
    for (int i = 0; i < g->node_count; i++)
        visit(&f, g->node[i]);
    const int groups = fuse_updates(m, g, set_groups(&f, a), cx);
    int fused = 0;
    for (int i = 0; i < g->node_count; i++)
        fused += g->node[i]->group != 0;
    remark_add(cx, "fuse", g->name, "%d of %d operators became %d kernels", fused, f.ordinal,
               groups);
    explain_groups(g, groups, cx);
}

PassResult pass_fuse(Module *m, PassCtx *cx) {
    for (int i = 0; i < m->entry_count; i++)
        fuse_graph(m, m->entry[i], cx);
    return PASS_CHANGED;
}
