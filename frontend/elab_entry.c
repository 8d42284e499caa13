// The model's body, and its entries: each is one graph.
//
// An entry with accumulate = N is elaborated for
// one micro-batch: the leading size of its data, a size of the model, counts an N-th there.
//
// On entry: a parsed model without syntax errors. On exit: Module.entry holds "init" and the wanted
// entries in the text's order, each with inputs, results and commits; or diagnostics were added.
//
// The model's body is run once for each entry, in a fresh frame and graph. That makes leaves and
// instances of the model ordinary values of the entry, and lets `accumulate` count a smaller batch
// there:
//
//     batch = 32, accumulate = 4  =>  Graph.repeat = 4, and batch is 8 all through the entry
//
// FrontendInput.micro_batch says it the other way round, and beats the text.
#include "frontend/elaborate.h"

#include "frontend/builtins.h"
#include "ir/check.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    int count, capacity;
    const Stmt **at;
} StmtList;

// --- the model's body ---

// Rules hold wherever they stand in the model, so they are read before its leaves are made.
static void collect_rules(Elab *e) {
    const Body *body = &e->model->body;
    e->rules.at = arena_array(e->arena, Rule *, body->count + 1);
    for (int i = 0; i < body->count; i++) {
        if (body->at[i]->kind != STMT_RULE)
            continue;
        Rule *rule = elab_rule(e, body->at[i]->rule[0]);
        if (rule)
            e->rules.at[e->rules.count++] = rule;
    }
}

// Functions first, since a body may call those that stand below; then the rest in order.
static void run_model_body(Elab *e) {
    const Body *body = &e->model->body;
    // Two passes over the body; what elab_entries has read already is in neither.
    Body rest = {.at = arena_array(e->arena, Stmt *, body->count + 1)};
    Body functions = {.at = arena_array(e->arena, Stmt *, body->count + 1)};
    for (int i = 0; i < body->count; i++) {
        Stmt *s = body->at[i];
        if (s->kind == STMT_FN)
            functions.at[functions.count++] = s;
        else if (s->kind != STMT_ENTRY && s->kind != STMT_CONFIG && s->kind != STMT_RULE &&
                 s->kind != STMT_TOKENIZER)
            rest.at[rest.count++] = s;
    }
    elab_body(e, &functions);
    elab_body(e, &rest);
}

// --- arguments of an entry ---

// The size that leads the data's shapes: the one that accumulate divides. NULL after a diagnostic.
static const char *batch_size_name(Elab *e, const EntryDecl *entry) {
    const char *name = NULL;
    for (int i = 0; i < entry->params.count; i++) {
        const Param *p = &entry->params.at[i];
        // What the caller or a knob gives is the same for all micro-batches.
        if (!p->loader || !p->type)
            continue;
        const Expr *dim = p->type->dims.count ? p->type->dims.at[0].value : NULL;
        if (!dim || dim->kind != EXPR_NAME || !elab_find_size(e, dim->as.text) ||
            (name && name != dim->as.text)) {
            elab_fail(e, dim ? dim->loc : p->loc, CODE_ACCUMULATE,
                      "write the batch first, as a size of the model: i32[batch, 8]",
                      "accumulate splits the batch, but %s does not begin with %s", p->name,
                      name ? name : "a size of the model");
            return NULL;
        }
        name = dim->as.text;
    }
    if (!name)
        elab_fail(e, entry->loc, CODE_ACCUMULATE, NULL,
                  "accumulate splits the batch, but no argument is from data");
    return name;
}

// How many parts --micro-batch makes of the batch. 1 after a diagnostic, too.
static int64_t count_parts(Elab *e, const Frame *frame, const EntryDecl *entry) {
    const char *name = batch_size_name(e, entry);
    const Datum *whole = name ? frame_find_here(frame, name) : NULL;
    if (!whole || whole->kind != DATUM_INT)
        return 1;
    const int64_t batch = whole->as.whole;
    const int64_t part = e->in->micro_batch == MICRO_BATCH_WHOLE ? batch : e->in->micro_batch;
    e->in->batch = batch;
    if (part <= batch && batch % part == 0 && batch / part <= INT32_MAX)
        return batch / part;
    elab_fail(e, entry->loc, CODE_ACCUMULATE, NULL,
              "%s = %lld does not split into micro-batches of %lld", name, (long long)batch,
              (long long)part);
    return 1;
}

// Where the text's accumulate is a size of the model, it becomes the number of parts for all
// entries: `entry eval(text: i32[batch / accumulate, ...])` counts by it.
static void split_all(Elab *e, Frame *sizes, const StmtList *entries) {
    bool any = false;
    for (int i = 0; i < entries->count; i++) {
        const EntryDecl *entry = entries->at[i]->entry;
        if (!elab_has_minimize(&entry->body))
            continue;
        any = true;
        const int64_t parts = count_parts(e, sizes, entry);
        const char *name = elab_accumulate_name(&entry->body);
        const Datum *size = name ? frame_find_here(sizes, name) : NULL;
        if (size && size->kind == DATUM_INT)
            frame_set(sizes, e->arena, name, datum_int(parts));
        for (int k = 0; size && k < e->module->size_count; k++)
            if (strcmp(e->module->size[k].name, name) == 0)
                e->module->size[k].value = parts;
    }
    if (!any)
        elab_fail(e, e->model->loc, CODE_ACCUMULATE, NULL,
                  "micro-batches are parts of a batch to train on, but no entry trains");
}

// Counts one micro-batch in the model's frame.
static bool split_batch(Elab *e, Frame *frame, const EntryDecl *entry) {
    const char *name = batch_size_name(e, entry);
    const Datum *whole = name ? frame_find_here(frame, name) : NULL;
    if (!whole || whole->kind != DATUM_INT)
        return false;
    if (whole->as.whole % e->accumulate != 0) {
        elab_fail(e, entry->loc, CODE_ACCUMULATE, NULL,
                  "%s = %lld does not split into %lld equal parts", name,
                  (long long)whole->as.whole, (long long)e->accumulate);
        return false;
    }
    // Without factors: a part of a product is no product.
    frame_set(frame, e->arena, name, datum_int(whole->as.whole / e->accumulate));
    return true;
}

// From a loader, a knob with its default, or from the caller.
static bool input_source(Elab *e, const Param *p, Input *in) {
    // A loader never has a default: the grammar allows one of the two.
    in->source = p->loader ? FROM_DATA : p->fallback ? FROM_KNOB : FROM_CALLER;
    in->loader = p->loader;
    if (!p->fallback)
        return true;
    const Datum d = elab_expr(e, p->fallback);
    if (datum_is_number(d) && !p->type->has_shape &&
        (p->type->dtype == DT_F32 || (p->type->dtype == DT_I32 && d.kind == DATUM_INT))) {
        in->fallback = datum_number(d);
        return true;
    }
    if (d.kind != DATUM_ERROR)
        elab_fail(e, p->loc, CODE_ENTRY, "write name: f32 = 0.1 or name: i32 = 2",
                  "an argument with a default is a scalar knob, f32 or i32, with a number");
    return false;
}

// The name is bound to an error first: what uses a broken argument stays silent.
static void bind_input(Elab *e, const Param *p) {
    Shape shape = {0};
    frame_set(e->frame, e->arena, p->name, datum_error());
    if (!p->type || !p->type->has_dtype) {
        elab_fail(e, p->loc, CODE_ENTRY, "write name: f32[sizes] or name: i32[sizes]",
                  "argument %s of an entry needs an element type", p->name);
        return;
    }
    Input in = {0};
    if ((p->type->has_shape && !elab_shape(e, &p->type->dims, p->type->loc, &shape)) ||
        !input_source(e, p, &in))
        return;
    const Type type = type_make(p->type->dtype, shape.rank, shape.dim);
    const NodeOrigin origin = {.loc = p->loc, .scope = ""};
    Array *array = arena_new(e->arena, Array);
    array->value =
        graph_add_typed(e->builder.g, OP_INPUT, NULL, 0, NULL, 0, &type, 1, origin)->result;
    memcpy(array->factors, shape.factors, sizeof array->factors);
    Input *made = graph_add_input(e->builder.g, array->value, in.source);
    made->loader = in.loader;
    made->fallback = in.fallback;
    elab_name_value(e, array->value, p->name);
    frame_set(e->frame, e->arena, p->name, datum_array(array));
}

// --- results ---

// The mean over the micro-batches.
static Value *mean_over_batches(Elab *e, Value *v) {
    Builder *b = elab_at(e, e->entry->loc);
    // The sum belongs to the work of every micro-batch; the scale runs once behind them.
    b->origin.phase = PHASE_BACKWARD;
    Value *sum = build_unary(b, OP_ACCUMULATE, build_cast(b, v, DT_F32));
    b->origin.phase = PHASE_UPDATE;
    Value *mean = build_scale(b, sum, 1.0 / (double)e->accumulate);
    b->origin.phase = PHASE_FORWARD;
    return mean;
}

// A result keeps the name it is returned by: return loss.
static void add_result(Elab *e, const Expr *expr, Datum d) {
    if (d.kind == DATUM_ERROR)
        return;
    const Array *x = arith_tensor(e, expr->loc, d);
    if (!x)
        return;
    Value *v = x->value;
    const char *name = expr->kind == EXPR_NAME ? expr->as.text : NULL;
    if (e->accumulate > 1) {
        if (!dtype_is_float(v->type.dtype)) {
            elab_fail(e, expr->loc, CODE_ACCUMULATE, NULL,
                      "with accumulate only floats can be returned: their mean over the parts");
            return;
        }
        v = mean_over_batches(e, v);
    }
    if (v)
        graph_add_result(e->builder.g, name, v);
}

// The entry's own return statement, for the names of what it returns.
static const Expr *returned_expr(const Body *body) {
    for (int i = body->count - 1; i >= 0; i--)
        if (body->at[i]->kind == STMT_RETURN)
            return body->at[i]->value;
    return NULL;
}

static void add_results(Elab *e, const Frame *frame) {
    // An entry that only trains or stores need not return anything.
    if (!frame->returned || frame->result.kind == DATUM_NONE)
        return;
    const Expr none = {.kind = EXPR_NONE, .loc = e->entry->loc};
    const Expr *expr = returned_expr(&e->entry->body);
    if (!expr)
        expr = &none;
    if (!datum_is_items(frame->result)) {
        add_result(e, expr, frame->result);
        return;
    }
    const Items *items = frame->result.as.items;
    for (int i = 0; i < items->count; i++) {
        // A list made elsewhere has elements without names of their own.
        const bool written = expr->kind == EXPR_TUPLE && i < expr->args.count;
        add_result(e, written ? expr->args.at[i].value : &none, items->at[i]);
    }
}

// In the order of states, not of stores: the same text gives the same graph.
static void add_commits(Elab *e) {
    for (int i = 0; i < e->module->state_count; i++) {
        State *s = e->module->state[i];
        Value *last = elab_slot(e, s)->current;
        if (last)
            graph_add_commit(e->builder.g, s, build_cast(elab_at(e, s->loc), last, s->type.dtype));
    }
}

// --- entries ---

// Nothing of the entry before is left: its values belong to another graph.
static void entry_reset(Elab *e, const EntryDecl *entry, Graph *g) {
    // The graph that is left behind counts against the limit on operators.
    e->operators_before += e->builder.g ? e->builder.g->node_count : 0;
    e->builder.g = g;
    e->builder.origin = (NodeOrigin){.scope = ""};
    e->entry = entry;
    e->training = elab_has_minimize(&entry->body);
    e->step = e->steps = e->seed = e->draw_step = NULL;
    e->value_names = e->label_origin = e->draws = (Table){0};
    e->origin_count = e->emitted_count = 0;
    e->accumulate = 1;
    // States outlive the entry, their versions do not.
    for (int i = 0; i < e->module->state_count; i++) {
        StateSlot *slot = elab_slot(e, e->module->state[i]);
        slot->trained = NULL;
        slot->read = slot->current = NULL;
    }
}

// One graph: the sizes, the model's body and the entry's in fresh frames.
static void elab_entry(Elab *e, const EntryDecl *entry, const Frame *sizes, const char *name,
                       Datum variant) {
    Graph *g = graph_create(e->arena, name);
    entry_reset(e, entry, g);
    module_add_entry(e->module, g);
    // Every entry reaches all paths anew.
    Application application = {.scope = ""};
    e->application = &application;
    Frame *model = frame_create(e->arena, e->file_frame);
    // Copied, since split_batch changes one of them for this entry only.
    for (int i = 0; i < sizes->count; i++)
        frame_set(model, e->arena, sizes->binding[i].name, sizes->binding[i].value);
    e->frame = model;
    e->entry_frame = NULL;
    // Before the body, whose shapes depend on it.
    e->accumulate = elab_find_accumulate(e, &entry->body);
    if (e->in->micro_batch && e->training)
        e->accumulate = count_parts(e, model, entry);
    g->repeat = (int32_t)e->accumulate;
    if (e->accumulate == 1 || split_batch(e, model, entry)) {
        run_model_body(e);
        // A frame inside the model's: the model's functions don't see what the entry assigns.
        e->entry_frame = e->frame = frame_create(e->arena, model);
        if (entry->variant)
            frame_set(e->frame, e->arena, entry->variant, variant);
        for (int i = 0; i < entry->params.count; i++)
            bind_input(e, &entry->params.at[i]);
        elab_body(e, &entry->body);
        add_results(e, e->frame);
        add_commits(e);
    }
    e->frame = model;
    e->entry_frame = NULL;
    e->application = NULL;
}

// `for s in (128, context)` makes NAME_128, NAME_1024.
static void elab_variants(Elab *e, const EntryDecl *entry, Frame *sizes) {
    if (!entry->variant) {
        elab_entry(e, entry, sizes, entry->name, datum_absent());
        return;
    }
    e->frame = sizes;
    Datum over = elab_expr(e, entry->variants);
    // One size is a list of one.
    if (over.kind == DATUM_INT) {
        Datum *one = arena_new(e->arena, Datum);
        *one = over;
        over = datum_items(e->arena, DATUM_LIST, one, 1);
    }
    // Reported already.
    if (over.kind == DATUM_ERROR)
        return;
    enum { VARIANTS_MAX = 64 };
    if (!datum_is_items(over) || over.as.items->count > VARIANTS_MAX) {
        elab_fail(e, entry->variants->loc, CODE_ENTRY, "for s in (128, context)",
                  "an entry's variants are at most %d sizes", VARIANTS_MAX);
        return;
    }
    const Datum *at = arena_grow(e->arena, over.as.items->at, (size_t)over.as.items->count,
                                 (size_t)over.as.items->count, sizeof(Datum));
    for (int i = 0; i < over.as.items->count; i++) {
        int64_t size;
        bool twice = false;
        for (int k = 0; k < i; k++)
            twice = twice || (at[k].kind == DATUM_INT && at[k].as.whole == at[i].as.whole);
        if (!elab_dim(e, entry->variants->loc, at[i], &size) || twice)
            continue; // equal sizes are one variant
        elab_entry(
            e, entry, sizes,
            intern(e->names, arena_format(e->arena, "%s_%lld", entry->name, (long long)size)),
            at[i]);
    }
}

static bool entry_wanted(const Elab *e, const char *name) {
    for (int i = 0; i < e->in->entry_count; i++)
        if (strcmp(e->in->entry[i], name) == 0)
            return true;
    // Where none is asked for, all are wanted.
    return e->in->entry_count == 0;
}

// Lists the entries asked for; an unknown or doubled name is an error.
static StmtList choose_entries(Elab *e) {
    const Body *body = &e->model->body;
    StmtList out = {.at = arena_array(e->arena, const Stmt *, body->count + 1)};
    const char **known = arena_array(e->arena, const char *, body->count + 1);
    int count = 0;
    for (int i = 0; i < body->count; i++) {
        const Stmt *s = body->at[i];
        if (s->kind == STMT_TOKENIZER)
            e->module->tokenizer = s->text;
        if (s->kind != STMT_ENTRY)
            continue;
        for (int k = 0; k < count; k++)
            if (known[k] == s->entry->name)
                elab_fail(e, s->entry->loc, CODE_DEFINED_TWICE, NULL, "entry %s is defined twice",
                          known[k]);
        // The name of the graph that computes first values.
        if (strcmp(s->entry->name, "init") == 0)
            elab_fail(e, s->entry->loc, CODE_ENTRY, NULL,
                      "the name init is taken: it computes the first values");
        known[count++] = s->entry->name;
        if (entry_wanted(e, s->entry->name))
            out.at[out.count++] = s;
    }
    for (int i = 0; i < e->in->entry_count; i++) {
        bool found = false;
        for (int k = 0; k < count; k++)
            found = found || strcmp(known[k], e->in->entry[i]) == 0;
        if (!found)
            elab_fail(e, e->model->loc, CODE_ENTRY, elab_suggest(e, e->in->entry[i], known, count),
                      "model %s has no entry %s", e->model->name, e->in->entry[i]);
    }
    return out;
}

// With every entry seen, a rule of the model that matched nothing is a mistake.
// Where only some entries were asked for, a rule may speak of states of the others.
static void check_rules_matched(Elab *e) {
    // Without any entry there are no states to speak of.
    const bool all = e->in->entry_count == 0 && e->module->entry_count > 1;
    for (int i = 0; all && i < e->rules.count; i++) {
        const Rule *rule = e->rules.at[i];
        if (rule->wrap && !rule->wrapped)
            elab_fail(e, rule->decl->glob_loc[0], CODE_WRAP, "name the label of the call",
                      "\"%s\" is the path of no labelled call to wrap", rule->decl->glob[0]);
        for (int k = 0; k < rule->glob_count; k++)
            if (!rule->matched[k])
                elab_fail(e, rule->decl->glob_loc[k], CODE_RULE, NULL,
                          "\"%s\" matches no parameter", rule->decl->glob[k]);
    }
}

// Sizes once, then each entry with a model frame of its own; "init" stands first and is filled
// last, when all states are known.
void elab_entries(Elab *e) {
    const int errors = diag_error_count(e->diag);
    Graph *init = graph_create(e->arena, "init");
    module_add_entry(e->module, init);
    e->builder.g = init;
    Application top = {.scope = ""};
    e->application = &top;
    Frame *sizes = frame_create(e->arena, e->file_frame);
    elab_sizes(e, sizes);
    e->application = NULL;
    const StmtList entries = choose_entries(e);
    // A wrong size would echo in every shape.
    if (diag_error_count(e->diag) > errors)
        return;
    if (e->in->micro_batch)
        split_all(e, sizes, &entries);
    if (diag_error_count(e->diag) > errors)
        return;
    e->application = &top;
    collect_rules(e);
    for (int i = 0; i < entries.count && !e->stopped; i++)
        elab_variants(e, entries.at[i]->entry, sizes);
    if (diag_error_count(e->diag) > errors)
        return;
    check_rules_matched(e);
    elab_init_entry(e, init);
}
