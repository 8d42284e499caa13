// A graph's own operations: making nodes, replacing uses, dropping, sorting, copying, side tables.
//
// On entry ids are below their limits and unique; side tables are arrays indexed by them, made in a
// scratch arena that dies with the call. Every function is linear in nodes and operands, except
// graph_replace_uses, which is linear for each value replaced. Nothing here knows an operator by
// name but OP_INPUT, which stands for the signature.
#include "ir/graph.h"

#include "ir/check.h"
#include "ir/op.h"

#include <string.h>

// What a pass gives the nodes that it puts in n's place.
NodeOrigin node_origin(const Node *n) {
    return (NodeOrigin){.loc = n->loc, .scope = n->scope, .phase = n->phase};
}

Graph *graph_create(Arena *a, const char *name) {
    Graph *g = arena_new(a, Graph);
    g->arena = a;
    g->name = name;
    // One micro-batch a step until somebody says otherwise.
    g->repeat = 1;
    return g;
}

// Makes room for one more object in an array that doubles.
static void *array_reserve(Arena *a, void *array, int count, int *capacity, size_t size) {
    if (count < *capacity)
        return array;
    const int larger = *capacity ? 2 * *capacity : 8;
    CHECK(larger > *capacity);
    *capacity = larger;
    return arena_grow(a, array, (size_t)count, (size_t)larger, size);
}

// At the end of the execution order.
static void graph_push(Graph *g, Node *n) {
    g->node = array_reserve(g->arena, g->node, g->node_count, &g->node_capacity, sizeof(Node *));
    g->node[g->node_count++] = n;
}

// Lists and texts of the caller may live on its stack or in a scratch arena.
static Attr attr_copy(Arena *a, Attr attr) {
    if (attr.kind == ATTR_TEXT)
        attr.as.text = arena_text(a, attr.as.text);
    if (attr.kind == ATTR_INTS)
        attr.as.ints =
            arena_grow(a, attr.as.ints, (size_t)attr.count, (size_t)attr.count, sizeof(int64_t));
    if (attr.kind == ATTR_FLOATS)
        attr.as.floats =
            arena_grow(a, attr.as.floats, (size_t)attr.count, (size_t)attr.count, sizeof(double));
    return attr;
}

// A node with its own copies of operands and attributes and with untyped results, not yet in the
// graph.
static Node *node_create(Graph *g, Op op, Value *const *input, int input_count, const Attr *attr,
                         int attr_count, NodeOrigin origin) {
    Node *n = arena_new(g->arena, Node);
    n->op = op;
    n->phase = origin.phase;
    n->scope = origin.scope ? origin.scope : "";
    n->loc = origin.loc;
    n->input_count = input_count;
    n->input =
        arena_grow(g->arena, input, (size_t)input_count, (size_t)input_count, sizeof(Value *));
    // Attributes are copied one by one, with their texts and lists.
    n->attr_count = attr_count;
    n->attr = arena_array(g->arena, Attr, attr_count);
    for (int i = 0; i < attr_count; i++)
        n->attr[i] = attr_copy(g->arena, attr[i]);
    return n;
}

// Untyped results without ids: graph_admit gives both.
static void node_add_results(Graph *g, Node *n, int count) {
    n->result_count = count;
    n->result = arena_array(g->arena, Value, count);
    for (int i = 0; i < count; i++)
        n->result[i] = (Value){.def = n, .index = i};
}

// Ids are taken only when the node is known to be right.
static Node *graph_admit(Graph *g, Node *n, const Type *type) {
    n->id = g->node_limit++;
    for (int i = 0; i < n->result_count; i++) {
        n->result[i].id = g->value_limit++;
        n->result[i].type = type[i];
    }
    graph_push(g, n);
    return n;
}

Node *graph_add(Graph *g, Diag *d, Op op, Value *const *input, int input_count, const Attr *attr,
                int attr_count, NodeOrigin origin) {
    const OpInfo *info = op_info(op);
    CHECK(info->infer); // inputs and states are typed by the caller: graph_add_typed
    Node *n = node_create(g, op, input, input_count, attr, attr_count, origin);
    // What was made so far stays unused in the arena.
    if (!node_check(n, d))
        return NULL;
    const int result_count = node_result_count(n);
    node_add_results(g, n, result_count);
    Type *type = arena_array(g->arena, Type, result_count);
    if (!info->infer(n, type, d, g->arena) || !node_check_sizes(n, type, result_count, d, g->arena))
        return NULL;
    return graph_admit(g, n, type);
}

Node *graph_add_typed(Graph *g, Op op, Value *const *input, int input_count, const Attr *attr,
                      int attr_count, const Type *result, int result_count, NodeOrigin origin) {
    Node *n = node_create(g, op, input, input_count, attr, attr_count, origin);
    node_add_results(g, n, result_count);
    return graph_admit(g, n, result);
}

// The pointer is good until the next input is added.
Input *graph_add_input(Graph *g, Value *v, InputSource source) {
    g->input = array_reserve(g->arena, g->input, g->input_count, &g->input_capacity, sizeof(Input));
    Input *in = &g->input[g->input_count++];
    *in = (Input){.value = v, .source = source};
    return in;
}

void graph_add_result(Graph *g, const char *name, Value *v) {
    g->result =
        array_reserve(g->arena, g->result, g->result_count, &g->result_capacity, sizeof(Result));
    g->result[g->result_count++] = (Result){.name = name, .value = v};
}

void graph_add_commit(Graph *g, State *s, Value *v) {
    g->commit =
        array_reserve(g->arena, g->commit, g->commit_count, &g->commit_capacity, sizeof(Commit));
    g->commit[g->commit_count++] = (Commit){.state = s, .value = v};
}

// Inputs (g->input) are definitions, not uses, and stay.
void graph_replace_uses(Graph *g, const Value *old, Value *by) {
    for (int i = 0; i < g->node_count; i++)
        for (int k = 0; k < g->node[i]->input_count; k++)
            if (g->node[i]->input[k] == old)
                g->node[i]->input[k] = by;
    for (int i = 0; i < g->result_count; i++)
        if (g->result[i].value == old)
            g->result[i].value = by;
    for (int i = 0; i < g->commit_count; i++)
        if (g->commit[i].value == old)
            g->commit[i].value = by;
}

// The end of v's chain of replacements. Every value on the way is pointed at the end, so that all
// chains together cost linear time.
static Value *remap_end(Value **by, uint32_t limit, Value *v) {
    Value *end = v;
    for (uint32_t steps = 0; by[end->id]; steps++) {
        CHECK(steps < limit); // a value that replaces itself
        end = by[end->id];
    }
    // Second walk: path compression, as in union-find.
    while (v != end) {
        Value *next = by[v->id];
        by[v->id] = end;
        v = next;
    }
    return end;
}

void graph_remap(Graph *g, Value *const *by) {
    // The caller's table is const: chains are shortened in a copy.
    Arena *scratch = arena_create();
    Value **end = arena_grow(scratch, by, g->value_limit, g->value_limit, sizeof(Value *));
    for (int i = 0; i < g->node_count; i++)
        for (int k = 0; k < g->node[i]->input_count; k++)
            g->node[i]->input[k] = remap_end(end, g->value_limit, g->node[i]->input[k]);
    for (int i = 0; i < g->result_count; i++)
        g->result[i].value = remap_end(end, g->value_limit, g->result[i].value);
    for (int i = 0; i < g->commit_count; i++)
        g->commit[i].value = remap_end(end, g->value_limit, g->commit[i].value);
    arena_release(scratch);
}

// Nodes not yet looked into, each pushed at most once.
typedef struct {
    bool *needed; // by node id
    Node **stack;
    int count;
} NeedList;

// Marks before pushing, so that a node is pushed once and the stack never overflows.
static void need(NeedList *list, Node *n) {
    if (list->needed[n->id])
        return;
    list->needed[n->id] = true;
    list->stack[list->count++] = n;
}

// A node without results is there for its effect (minimize, apply), so it stays.
bool graph_drop_dead(Graph *g) {
    Arena *scratch = arena_create();
    NeedList list = {.needed = arena_array(scratch, bool, g->node_limit),
                     .stack = arena_array(scratch, Node *, g->node_limit)};
    for (int i = 0; i < g->input_count; i++)
        need(&list, g->input[i].value->def);
    for (int i = 0; i < g->result_count; i++)
        need(&list, g->result[i].value->def);
    for (int i = 0; i < g->commit_count; i++)
        need(&list, g->commit[i].value->def);
    for (int i = 0; i < g->node_count; i++)
        if (g->node[i]->result_count == 0)
            need(&list, g->node[i]);
    // What is needed needs its operands.
    while (list.count > 0) {
        const Node *n = list.stack[--list.count];
        for (int k = 0; k < n->input_count; k++)
            need(&list, n->input[k]->def);
    }
    // The order of those that stay doesn't change.
    int kept = 0;
    for (int i = 0; i < g->node_count; i++)
        if (list.needed[g->node[i]->id])
            g->node[kept++] = g->node[i];
    const bool dropped = kept < g->node_count;
    g->node_count = kept;
    arena_release(scratch);
    return dropped;
}

// Depth-first from each node in the present order, operands first, with an explicit stack: models
// may be deeper than the C stack.
void graph_sort(Graph *g) {
    enum { UNSEEN, OPEN, PLACED };
    typedef struct {
        Node *node;
        int next; // operand to look at
    } Frame;
    Arena *scratch = arena_create();
    // By node id. OPEN: on the stack, its operands not all placed.
    char *mark = arena_array(scratch, char, g->node_limit);
    Frame *stack = arena_array(scratch, Frame, g->node_count);
    Node **order = arena_array(scratch, Node *, g->node_count);
    int placed = 0;
    for (int i = 0; i < g->node_count; i++) {
        if (mark[g->node[i]->id] != UNSEEN)
            continue;
        int depth = 0;
        stack[depth++] = (Frame){.node = g->node[i]};
        mark[g->node[i]->id] = OPEN;
        while (depth > 0) {
            Frame *top = &stack[depth - 1];
            // All operands are placed: now the node.
            if (top->next == top->node->input_count) {
                CHECK(placed < g->node_count); // an operand is not in the graph
                mark[top->node->id] = PLACED;
                order[placed++] = top->node;
                depth--;
                continue;
            }
            Node *def = top->node->input[top->next++]->def;
            CHECK(mark[def->id] != OPEN); // a cycle
            if (mark[def->id] == UNSEEN) {
                // Every node on the stack is OPEN and a different one.
                CHECK(depth < g->node_count);
                mark[def->id] = OPEN;
                stack[depth++] = (Frame){.node = def};
            }
        }
    }
    CHECK(placed == g->node_count);
    for (int i = 0; i < placed; i++)
        g->node[i] = order[i];
    arena_release(scratch);
}

// Inputs come first, as in the signature: they don't run, so where they stand means nothing.
void graph_renumber(Graph *g) {
    Arena *scratch = arena_create();
    Node **order = arena_array(scratch, Node *, g->node_count);
    int count = 0;
    for (int i = 0; i < g->input_count; i++)
        // In the order of the signature.
        order[count++] = g->input[i].value->def;
    for (int i = 0; i < g->node_count; i++)
        if (g->node[i]->op != OP_INPUT) {
            CHECK(count < g->node_count); // an input's node is not in the graph
            order[count++] = g->node[i];
        }
    CHECK(count == g->node_count); // an input node stands for no argument
    // Numbers from 0, without gaps, in the new order.
    g->node_limit = g->value_limit = 0;
    for (int i = 0; i < count; i++) {
        g->node[i] = order[i];
        order[i]->id = g->node_limit++;
        for (int k = 0; k < order[i]->result_count; k++)
            order[i]->result[k].id = g->value_limit++;
    }
    arena_release(scratch);
}

// Operands are looked up in copy_of: definitions come before uses, so they are copied by then.
static Node *node_copy(Arena *a, const Node *n, Value *const *copy_of) {
    Node *c = arena_new(a, Node);
    // Scope, place and name texts are shared; lists and results are the copy's own.
    *c = *n;
    c->input = arena_array(a, Value *, n->input_count);
    for (int i = 0; i < n->input_count; i++)
        c->input[i] = copy_of[n->input[i]->id];
    c->result =
        arena_grow(a, n->result, (size_t)n->result_count, (size_t)n->result_count, sizeof(Value));
    for (int i = 0; i < n->result_count; i++)
        c->result[i].def = c;
    c->attr = arena_array(a, Attr, n->attr_count);
    for (int i = 0; i < n->attr_count; i++)
        c->attr[i] = attr_copy(a, n->attr[i]);
    return c;
}

Graph *graph_copy(const Graph *g, Arena *a) {
    Arena *scratch = arena_create();
    Value **copy_of = arena_array(scratch, Value *, g->value_limit);
    Graph *c = graph_create(a, g->name);
    c->repeat = g->repeat;
    // Ids are kept with their gaps, so side tables of one graph fit the other.
    c->value_limit = g->value_limit;
    c->node_limit = g->node_limit;
    for (int i = 0; i < g->node_count; i++) {
        Node *n = node_copy(a, g->node[i], copy_of);
        for (int k = 0; k < n->result_count; k++)
            copy_of[n->result[k].id] = &n->result[k];
        graph_push(c, n);
    }
    for (int i = 0; i < g->input_count; i++) {
        // Copied whole: loader, fallback and bound as well.
        Input *in = graph_add_input(c, NULL, FROM_DATA);
        *in = g->input[i];
        in->value = copy_of[in->value->id];
    }
    for (int i = 0; i < g->result_count; i++)
        graph_add_result(c, g->result[i].name, copy_of[g->result[i].value->id]);
    for (int i = 0; i < g->commit_count; i++)
        graph_add_commit(c, g->commit[i].state, copy_of[g->commit[i].value->id]);
    arena_release(scratch);
    return c;
}

int *graph_use_counts(const Graph *g, Arena *a) {
    int *uses = arena_array(a, int, g->value_limit);
    for (int i = 0; i < g->node_count; i++)
        for (int k = 0; k < g->node[i]->input_count; k++)
            uses[g->node[i]->input[k]->id]++;
    for (int i = 0; i < g->result_count; i++)
        uses[g->result[i].value->id]++;
    for (int i = 0; i < g->commit_count; i++)
        uses[g->commit[i].value->id]++;
    return uses;
}

// Counted first, then filled into one array, so that no list grows.
Users *graph_users(const Graph *g, Arena *a) {
    Users *users = arena_array(a, Users, g->value_limit);
    // total: operands of all nodes.
    size_t total = 0;
    for (int i = 0; i < g->node_count; i++)
        for (int k = 0; k < g->node[i]->input_count; k++, total++)
            users[g->node[i]->input[k]->id].count++;
    Node **next = arena_array(a, Node *, total);
    for (uint32_t v = 0; v < g->value_limit; v++) {
        users[v].node = next;
        next += users[v].count;
        // Counted again while the slots are filled.
        users[v].count = 0;
    }
    for (int i = 0; i < g->node_count; i++)
        for (int k = 0; k < g->node[i]->input_count; k++) {
            Users *u = &users[g->node[i]->input[k]->id];
            u->node[u->count++] = g->node[i];
        }
    return users;
}

const Attr *node_attr(const Node *n, const char *name) {
    for (int i = 0; i < n->attr_count; i++)
        if (strcmp(n->attr[i].name, name) == 0)
            return &n->attr[i];
    return NULL;
}

// Asking for an attribute as another kind than it has is a mistake of ours: the verifier has seen
// it.
static const Attr *attr_of_kind(const Node *n, const char *name, AttrKind kind) {
    const Attr *attr = node_attr(n, name);
    CHECK(!attr || attr->kind == kind);
    return attr;
}

int64_t node_int(const Node *n, const char *name, int64_t fallback) {
    const Attr *attr = attr_of_kind(n, name, ATTR_INT);
    return attr ? attr->as.i : fallback;
}

double node_float(const Node *n, const char *name, double fallback) {
    const Attr *attr = attr_of_kind(n, name, ATTR_FLOAT);
    return attr ? attr->as.f : fallback;
}

const char *node_text(const Node *n, const char *name, const char *fallback) {
    const Attr *attr = attr_of_kind(n, name, ATTR_TEXT);
    return attr ? attr->as.text : fallback;
}

const int64_t *node_ints(const Node *n, const char *name, int *count) {
    const Attr *attr = attr_of_kind(n, name, ATTR_INTS);
    *count = attr ? attr->count : 0;
    return attr ? attr->as.ints : NULL;
}

const double *node_floats(const Node *n, const char *name, int *count) {
    const Attr *attr = attr_of_kind(n, name, ATTR_FLOATS);
    *count = attr ? attr->count : 0;
    return attr ? attr->as.floats : NULL;
}

// Replaces the attribute of that name, or adds it. g only lends its arena, where the copy lives.
void node_set_attr(Graph *g, Node *n, Attr attr) {
    attr = attr_copy(g->arena, attr);
    for (int i = 0; i < n->attr_count; i++)
        if (strcmp(n->attr[i].name, attr.name) == 0) {
            n->attr[i] = attr;
            return;
        }
    // Attributes are few and rarely added, so one at a time.
    n->attr = arena_grow(g->arena, n->attr, (size_t)n->attr_count, (size_t)n->attr_count + 1,
                         sizeof(Attr));
    n->attr[n->attr_count++] = attr;
}

Attr attr_int(const char *name, int64_t i) {
    return (Attr){.name = name, .kind = ATTR_INT, .as.i = i};
}

Attr attr_float(const char *name, double f) {
    return (Attr){.name = name, .kind = ATTR_FLOAT, .as.f = f};
}

Attr attr_text(const char *name, const char *text) {
    return (Attr){.name = name, .kind = ATTR_TEXT, .as.text = text};
}

Attr attr_ints(const char *name, const int64_t *ints, int count) {
    return (Attr){.name = name, .kind = ATTR_INTS, .count = count, .as.ints = ints};
}

Attr attr_floats(const char *name, const double *floats, int count) {
    return (Attr){.name = name, .kind = ATTR_FLOATS, .count = count, .as.floats = floats};
}
