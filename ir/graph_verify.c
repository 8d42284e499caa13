// What must hold of every graph between any two passes, checked against the operator table.
//
// One walk over the nodes in execution order keeps, by value id, which value has been defined so
// far: from it follow order, unique ids and stale operands. Names go through a NameMap. Operators
// infer their types again. Everything is linear; an error doesn't end the walk, so that one run
// shows all. It trusts no earlier check but the shapes of the structs themselves.
#include "ir/module.h"

#include "ir/attr_rule.h"
#include "ir/far.h"
#include "ir/op.h"

#include <string.h>

// Against the row of ops.def; a maximum below zero is none. The message fits the row's form.
static bool check_input_count(const Node *n, const OpInfo *info, Diag *d) {
    const bool enough = n->input_count >= info->input_min;
    if (enough && (info->input_max < 0 || n->input_count <= info->input_max))
        return true;
    const char *plural = info->input_min == 1 ? "" : "s";
    if (info->input_max < 0)
        return diag_error(d, n->loc, 607, "%s takes at least %d operand%s, got %d", info->name,
                          info->input_min, plural, n->input_count);
    if (info->input_max != info->input_min)
        return diag_error(d, n->loc, 607, "%s takes %d to %d operands, got %d", info->name,
                          info->input_min, info->input_max, n->input_count);
    return diag_error(d, n->loc, 607, "%s takes %d operand%s, got %d", info->name, info->input_min,
                      plural, n->input_count);
}

// Operands and attributes only: what must hold before infer may be called.
bool node_check(const Node *n, Diag *d) {
    const OpInfo *info = op_info(n->op);
    return check_input_count(n, info, d) &&
           attr_rule_check(info->attrs, info->name, n->attr, n->attr_count, n->loc, d);
}

// Operators with a varying number of results list their sizes.
int node_result_count(const Node *n) {
    const int count = op_info(n->op)->result_count;
    if (count >= 0)
        return count;
    // `split`: one result for each number of the attribute.
    int sizes;
    node_ints(n, "sizes", &sizes);
    return sizes;
}

bool name_is_valid(const char *name) {
    // Digits alone are the numbers of unnamed values.
    bool only_digits = true;
    size_t length = 0;
    for (; name[length]; length++) {
        const char c = name[length];
        const bool digit = c >= '0' && c <= '9';
        const bool letter = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
        if (!digit && !letter && c != '_' && c != '.' && c != '-')
            return false;
        only_digits = only_digits && digit;
    }
    return length > 0 && length <= NAME_BYTES_MAX && !only_digits && !strstr(name, "..");
}

// What the walk over one graph knows.
typedef struct {
    const Module *module;
    const Graph *graph;
    Diag *diag;
    Arena *scratch;
    const Value **defined; // by value id: the value, once its node has been passed
    bool *node_seen;       // by node id
    bool *is_argument;     // by value id: an Input names it
    bool *far;             // by value id: it is in far memory
    NameMap *names;        // of values
    bool ok;
} Walk;

// Keeps a failure; the walk goes on.
static void walk_fail(Walk *w, bool ok) {
    w->ok = w->ok && ok;
}

// v is compared as a pointer: a stale value may have an id that another one holds by now.
static bool is_defined(const Walk *w, const Value *v) {
    return v && v->id < w->graph->value_limit && w->defined[v->id] == v;
}

// How a message calls a value: unnamed ones by their id, the number printed once ids are dense.
static const char *value_label(const Walk *w, const Value *v) {
    return v->name ? arena_format(w->scratch, "%%%s", v->name)
                   : arena_format(w->scratch, "value %u", v->id);
}

// Leaves say the same in every micro-batch, so update nodes may read them; data and draws don't.
static bool is_invariant_leaf(const Walk *w, const Node *n) {
    const OpInfo *info = op_info(n->op);
    if (info->family != FAMILY_LEAF || (info->flags & OPF_RANDOM))
        return false;
    if (n->op != OP_INPUT)
        return true;
    return w->is_argument[n->result[0].id];
}

// Which value may be read in which phase: see Graph.repeat in graph.h.
static bool check_phase(const Walk *w, const Node *n, const Value *v) {
    const Node *def = v->def;
    const char *name = op_info(n->op)->name;
    if (op_info(n->op)->family == FAMILY_TRAINING)
        return true; // a placeholder that autodiff and optimize expand
    // The result of accumulate is complete only after the last micro-batch, whatever its own phase.
    const bool update_value = def->phase == PHASE_UPDATE || def->op == OP_ACCUMULATE;
    if (n->phase != PHASE_UPDATE && update_value)
        return diag_error(w->diag, n->loc, 613,
                          "%s runs in every micro-batch, but %s is known only in the update phase",
                          name, value_label(w, v));
    if (n->phase == PHASE_UPDATE && !update_value && w->graph->repeat > 1 &&
        n->op != OP_ACCUMULATE && !is_invariant_leaf(w, def))
        return diag_error(w->diag, n->loc, 613,
                          "%s runs once a step, but %s differs by micro-batch: accumulate it first",
                          name, value_label(w, v));
    return true;
}

// A stale pointer into a dropped node is not `defined` either.
static bool check_operands(const Walk *w, const Node *n) {
    for (int i = 0; i < n->input_count; i++) {
        if (!is_defined(w, n->input[i]))
            return diag_error(w->diag, n->loc, 616, "operand %d of %s is not defined before it", i,
                              op_info(n->op)->name);
        if (!check_phase(w, n, n->input[i]))
            return false;
    }
    if (n->op == OP_ACCUMULATE && w->graph->repeat == 1)
        return diag_error(w->diag, n->loc, 613,
                          "accumulate has nothing to add up in a graph without repeat");
    return true;
}

// The type of a state node is not inferred but looked up.
static bool check_state(const Walk *w, const Node *n) {
    const char *name = node_text(n, "name", "");
    const State *s = module_find_state(w->module, name);
    if (!s)
        return diag_error(w->diag, n->loc, 611, "no state is called %s", name);
    if (n->result_count != 1 || !type_equal(&n->result[0].type, &s->type))
        return diag_error(w->diag, n->loc, 611, "state %s is %s", name,
                          type_text(w->scratch, &s->type));
    return true;
}

// An operand that is in far memory, or NULL.
static const Value *find_far(const Walk *w, const Node *n) {
    for (int i = 0; i < n->input_count; i++)
        if (w->far[n->input[i]->id])
            return n->input[i];
    return NULL;
}

// Whether a node leaves its results in far memory. Types and states are right.
static bool gives_far(const Walk *w, const Node *n) {
    if (n->op == OP_STATE)
        return module_find_state(w->module, node_text(n, "name", ""))->far;
    return n->op == OP_OFFLOAD || node_sums_far(n) || (node_keeps_far(n) && find_far(w, n));
}

// Who may read far memory, and who leaves its result there.
static bool check_far(Walk *w, const Node *n) {
    const char *name = op_info(n->op)->name;
    const Value *far = find_far(w, n);
    const bool gives = gives_far(w, n);
    for (int i = 0; i < n->result_count && n->result[i].id < w->graph->value_limit; i++)
        w->far[n->result[i].id] = gives;
    if (n->op == OP_FETCH && !far)
        return diag_error(w->diag, n->loc, 620, "fetch reads far memory, but %s is not there",
                          value_label(w, n->input[0]));
    if (far && n->op != OP_FETCH && !node_keeps_far(n)) {
        diag_error(w->diag, n->loc, 620, "%s can't read %s in far memory", name,
                   value_label(w, far));
        diag_help(w->diag, "fetch it first");
        return false;
    }
    for (int i = 0; far && i < n->input_count; i++)
        if (!w->far[n->input[i]->id] &&
            !(node_works_far(n) && i > 0 && n->input[i]->def->op == OP_CONSTANT))
            return diag_error(w->diag, n->loc, 620, "%s joins %s in far memory and %s, which isn't",
                              name, value_label(w, far), value_label(w, n->input[i]));
    return !gives || node_is_one_range(n) ||
           diag_error(w->diag, n->loc, 620, "this %s is not one range of the bytes in far memory",
                      name);
}

bool node_check_sizes(const Node *n, const Type *result, int result_count, Diag *d,
                      Arena *scratch) {
    const char *name = op_info(n->op)->name;
    for (int i = 0; i < result_count; i++) {
        if (!type_check(&result[i]))
            return diag_error(d, n->loc, 401,
                              "a result of %s is too large: at most 2^40 an axis and 2^62 bytes",
                              name);
        if (type_is_empty(&result[i]))
            return diag_error(d, n->loc, 402, "a result of %s has no elements: %s", name,
                              type_text(scratch, &result[i]));
    }
    return true;
}

bool node_check_types(const Node *n, Diag *d, Arena *scratch) {
    const OpInfo *info = op_info(n->op);
    if (n->result_count != node_result_count(n))
        return diag_error(d, n->loc, 609, "%s has %d results, not %d", info->name,
                          node_result_count(n), n->result_count);
    // infer writes into a copy: the stated types are what it is compared with.
    Type *type = arena_array(scratch, Type, n->result_count);
    for (int i = 0; i < n->result_count; i++)
        type[i] = n->result[i].type;
    if (!node_check_sizes(n, type, n->result_count, d, scratch))
        return false;
    if (!info->infer)
        return true;
    if (!info->infer(n, type, d, scratch))
        return false;
    for (int i = 0; i < n->result_count; i++)
        if (!type_equal(&type[i], &n->result[i].type))
            return diag_error(d, n->loc, 609, "result %d of %s is %s, not %s", i, info->name,
                              type_text(scratch, &type[i]), type_text(scratch, &n->result[i].type));
    return true;
}

// Ids and names are taken as the walk passes.
static bool check_results(Walk *w, const Node *n) {
    for (int i = 0; i < n->result_count; i++) {
        Value *v = &n->result[i];
        // def and index must lead back here: results are found from values by them.
        if (v->def != n || v->index != i || v->id >= w->graph->value_limit || w->defined[v->id])
            return diag_error(w->diag, n->loc, 618, "result %d of %s has a wrong or taken id %u", i,
                              op_info(n->op)->name, v->id);
        w->defined[v->id] = v;
        // Names are optional; ids are not.
        if (!v->name)
            continue;
        if (!name_is_valid(v->name))
            return diag_error(w->diag, n->loc, 615, "'%s' is no name for a value", v->name);
        if (name_map_add(w->names, v->name, v))
            return diag_error(w->diag, n->loc, 606, "two values are called %%%s", v->name);
    }
    return true;
}

// Stops at a node's first mistake: the rest would follow from it.
static bool check_node(Walk *w, const Node *n) {
    if (n->id >= w->graph->node_limit || w->node_seen[n->id])
        return diag_error(w->diag, n->loc, 618, "the node has a wrong or taken id %u", n->id);
    w->node_seen[n->id] = true;
    bool ok = node_check(n, w->diag) && check_operands(w, n);
    if (ok && n->op == OP_STATE)
        ok = check_state(w, n);
    if (ok)
        ok = node_check_types(n, w->diag, w->scratch);
    if (ok)
        ok = check_far(w, n);
    // Results count as defined even where the node is wrong, so that one mistake is told once.
    return check_results(w, n) && ok;
}

// What each source can give.
static bool check_input(const Walk *w, const Input *in) {
    const Value *v = in->value;
    const Loc loc = v->def->loc;
    const bool scalar = v->type.rank == 0;
    if (v->def->op != OP_INPUT || v->def->phase != PHASE_FORWARD || v->def->group != 0)
        return diag_error(w->diag, loc, 619, "%s is no argument: its node must be a plain input",
                          value_label(w, v));
    if (in->bound != 0 && v->type.dtype != DT_I32)
        return diag_error(w->diag, loc, 619, "only i32 data has a bound");
    switch (in->source) {
    case FROM_DATA:
        return in->loader || diag_error(w->diag, loc, 619, "%s names no loader", value_label(w, v));
    case FROM_KNOB:
        return scalar || diag_error(w->diag, loc, 619, "a knob is a scalar, %s is %s",
                                    value_label(w, v), type_text(w->scratch, &v->type));
    case FROM_STEP:
    case FROM_STEPS:
    case FROM_SEED:
    case FROM_SLOT:
        return (scalar && v->type.dtype == DT_I32) ||
               diag_error(w->diag, loc, 619, "step, steps, seed and slot are i32[], %s is %s",
                          value_label(w, v), type_text(w->scratch, &v->type));
    case FROM_CALLER:
        return true;
    }
    return diag_error(w->diag, loc, 618, "an input comes from nowhere");
}

// Arguments and OP_INPUT nodes stand for each other one to one. is_argument marks those that say
// the same in every micro-batch.
static void check_inputs(Walk *w) {
    const Graph *g = w->graph;
    // By value id: some argument names the value.
    bool *listed = arena_array(w->scratch, bool, g->value_limit);
    for (int i = 0; i < g->input_count; i++) {
        const Value *v = g->input[i].value;
        if (!v || v->id >= g->value_limit || listed[v->id]) {
            walk_fail(w, diag_error(w->diag, (Loc){0}, 618,
                                    "input %d of @%s is listed twice or "
                                    "undefined",
                                    i, g->name));
            continue;
        }
        listed[v->id] = true;
        w->is_argument[v->id] = !source_by_slot(g->input[i].source);
        walk_fail(w, check_input(w, &g->input[i]));
    }
    for (int i = 0; i < g->node_count; i++)
        if (g->node[i]->op == OP_INPUT &&
            (g->node[i]->result_count != 1 || g->node[i]->result[0].id >= g->value_limit ||
             !listed[g->node[i]->result[0].id]))
            walk_fail(w, diag_error(w->diag, g->node[i]->loc, 618,
                                    "an input node stands for no argument"));
}

// After the walk: what leaves the graph is defined in it.
static void check_outputs(Walk *w) {
    const Graph *g = w->graph;
    // By state id: a commit of this entry stores it.
    bool *stored = arena_array(w->scratch, bool, w->module->state_count);
    for (int i = 0; i < g->input_count; i++)
        if (!is_defined(w, g->input[i].value))
            walk_fail(
                w, diag_error(w->diag, (Loc){0}, 618, "input %d of @%s has no node", i, g->name));
    for (int i = 0; i < g->result_count; i++) {
        if (!is_defined(w, g->result[i].value))
            walk_fail(w, diag_error(w->diag, (Loc){0}, 617, "result %d of @%s is not defined", i,
                                    g->name));
        // A result's name is a word of the text: it starts with no digit, point or minus.
        if (g->result[i].name &&
            (!name_is_valid(g->result[i].name) || strchr("0123456789.-", g->result[i].name[0])))
            walk_fail(w, diag_error(w->diag, (Loc){0}, 615, "'%s' is no name for a result",
                                    g->result[i].name));
        if (is_defined(w, g->result[i].value) && w->far[g->result[i].value->id])
            walk_fail(w, diag_error(w->diag, g->result[i].value->def->loc, 620,
                                    "result %d of @%s is in far memory, which no caller reads", i,
                                    g->name));
    }
    for (int i = 0; i < g->commit_count; i++) {
        const State *s = g->commit[i].state;
        const Value *v = g->commit[i].value;
        if (!is_defined(w, v)) {
            walk_fail(w, diag_error(w->diag, (Loc){0}, 614,
                                    "what is committed to %s is not defined", s->name));
            continue;
        }
        const Loc loc = v->def->loc;
        // A state of another module would have a valid id, but not here.
        if (s->id >= (uint32_t)w->module->state_count || w->module->state[s->id] != s) {
            walk_fail(w, diag_error(w->diag, loc, 611, "no state is called %s", s->name));
            continue;
        }
        if (stored[s->id])
            walk_fail(w, diag_error(w->diag, loc, 614, "state %s is committed twice", s->name));
        stored[s->id] = true;
        if (!type_equal(&v->type, &s->type))
            walk_fail(w,
                      diag_error(w->diag, loc, 614, "state %s is %s, its next version %s", s->name,
                                 type_text(w->scratch, &s->type), type_text(w->scratch, &v->type)));
        if (s->far != w->far[v->id])
            walk_fail(w,
                      diag_error(w->diag, loc, 620,
                                 s->far ? "state %s lives in far memory, its next version doesn't"
                                        : "state %s's next version is in far memory, it isn't",
                                 s->name));
    }
}

bool graph_verify(const Module *m, const Graph *g, Diag *d) {
    Arena *scratch = arena_create();
    Walk w = {.module = m, .graph = g, .diag = d, .scratch = scratch, .ok = true};
    // Side tables by id, all zero: nothing has been passed yet.
    w.defined = arena_array(scratch, const Value *, g->value_limit);
    w.node_seen = arena_array(scratch, bool, g->node_limit);
    w.is_argument = arena_array(scratch, bool, g->value_limit);
    w.far = arena_array(scratch, bool, g->value_limit);
    w.names = name_map_create(scratch);
    if (g->repeat < 1)
        walk_fail(&w,
                  diag_error(d, (Loc){0}, 618, "graph @%s repeats %d times", g->name, g->repeat));
    // Before the walk, which asks is_argument.
    check_inputs(&w);
    for (int i = 0; i < g->node_count; i++)
        walk_fail(&w, check_node(&w, g->node[i]));
    check_outputs(&w);
    arena_release(scratch);
    return w.ok;
}

// One tensor of a weight file, under a name that nothing else may have: a file with one name twice
// could be written but never read.
static bool add_file_name(NameMap *files, const char *name, State *s, Diag *d) {
    return !name_map_add(files, name, s) ||
           diag_error(d, s->loc, 606, "two states are called %s in weight files", name);
}

// Names in weight files: one, or with `{}` one for each slice of the first axis.
static bool check_file_names(NameMap *files, State *s, Diag *d, Arena *scratch) {
    enum { SLICES_MAX = 65536 };
    const char *brace = strpbrk(s->file, "{}");
    if (!brace)
        return add_file_name(files, s->file, s, d);
    if (strncmp(brace, "{}", 2) != 0 || strpbrk(brace + 2, "{}") || s->type.rank == 0 ||
        s->type.dim[0] > SLICES_MAX)
        return diag_error(d, s->loc, 615,
                          "'%s' is no name in weight files: {} stands at most once, for the slices "
                          "of a first axis of at most %d",
                          s->file, SLICES_MAX);
    for (int64_t i = 0; i < s->type.dim[0]; i++)
        if (!add_file_name(files,
                           arena_format(scratch, "%.*s%lld%s", (int)(brace - s->file), s->file,
                                        (long long)i, brace + 2),
                           s, d))
            return false;
    return true;
}

// States are checked once for all entries.
static bool states_verify(const Module *m, Diag *d) {
    Arena *scratch = arena_create();
    // Names in weight files.
    NameMap *files = name_map_create(scratch);
    bool ok = true;
    for (int i = 0; i < m->state_count; i++) {
        State *s = m->state[i];
        if (s->id != (uint32_t)i || module_find_state(m, s->name) != s)
            ok = diag_error(d, s->loc, 618, "state %s has a wrong id or a taken name", s->name);
        else if (!name_is_valid(s->name))
            ok = diag_error(d, s->loc, 615, "'%s' is no name for a state", s->name);
        else if (!type_check(&s->type))
            ok = diag_error(d, s->loc, 610,
                            "state %s is too large: at most 2^40 an axis, 2^62 bytes", s->name);
        else if (type_is_empty(&s->type))
            ok = diag_error(d, s->loc, 402, "state %s has no elements: %s", s->name,
                            type_text(scratch, &s->type));
        else
            ok = check_file_names(files, s, d, scratch) && ok;
    }
    arena_release(scratch);
    return ok;
}

// The module's own lines: only what has a name can be printed.
static bool header_verify(const Module *m, Diag *d) {
    bool ok = true;
    // A module without a name prints no module line and so can't have a tokenizer.
    if (m->name[0] ? !name_is_valid(m->name) : m->tokenizer != NULL)
        ok = diag_error(d, (Loc){0}, 615, "'%s' is no name for a module", m->name);
    for (int i = 0; i < m->size_count; i++)
        if (!name_is_valid(m->size[i].name))
            ok = diag_error(d, (Loc){0}, 615, "'%s' is no name for a size", m->size[i].name);
    return ok;
}

bool module_verify(const Module *m, Diag *d) {
    // Every part is checked even where an earlier one failed, so that one run shows all.
    bool ok = header_verify(m, d);
    ok = states_verify(m, d) && ok;
    Arena *scratch = arena_create();
    NameMap *names = name_map_create(scratch);
    for (int i = 0; i < m->entry_count; i++) {
        Graph *g = m->entry[i];
        if (!name_is_valid(g->name))
            ok = diag_error(d, (Loc){0}, 615, "'%s' is no name for a graph", g->name);
        else if (name_map_add(names, g->name, g))
            ok = diag_error(d, (Loc){0}, 606, "two graphs are called @%s", g->name);
        ok = graph_verify(m, g, d) && ok;
    }
    arena_release(scratch);
    return ok;
}
