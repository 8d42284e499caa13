// A model's text becomes a Module: what all parts of the elaborator share, the files a text uses,
// and the way from the chosen model to its entries.
//
// Elaboration is evaluation: sizes, loops, lists and functions exist only now, and operators on
// tensors add nodes to the entry's graph. Every entry evaluates the model's body again in a graph
// of its own; parameters and state are shared by their paths. All work is counted, so that hostile
// texts end soon; a value that could not be computed is DATUM_ERROR and silences whatever is
// computed from it.
#include "frontend/elaborate.h"

#include "frontend/builtins.h"
#include "frontend/parser.h"
#include "ir/check.h"

#include <stdlib.h>
#include <string.h>

static bool same_loc(Loc x, Loc y) {
    return x.file == y.file && x.line == y.line && x.column == y.column;
}

// Whether this is the first report of the code at the place.
static bool report_once(Elab *e, Loc loc, int code) {
    for (int i = 0; i < e->reported_count; i++)
        if (e->reported[i].code == code && same_loc(e->reported[i].loc, loc))
            return false;
    // When this is full, the run is about to be stopped.
    if (e->reported_count <= DIAG_ERRORS_MAX) {
        e->reported[e->reported_count].loc = loc;
        e->reported[e->reported_count++].code = code;
    }
    return true;
}

// Inside the library it is the user's call: that is the line they can change.
Loc elab_user_loc(const Elab *e, Loc loc) {
    return e->source && e->source->library && e->user_loc.line ? e->user_loc : loc;
}

// Where in the library, or in which call: behind an error's message.
static void note_place(Elab *e, Loc loc) {
    if (e->source && e->source->library && e->user_loc.line)
        diag_note(e->diag, loc, "inside %s of the standard library",
                  e->call ? e->call->decl->name : "nn");
    else if (e->call && !e->call->in_library && !same_loc(e->call->loc, loc))
        diag_note(e->diag, e->call->loc, "in this call of %s", e->call->decl->name);
}

// Told once for each place and code: a mistake in a loop or in two entries is one mistake.
Datum elab_vfail(Elab *e, Loc loc, int code, const char *help, const char *format, va_list args) {
    if (!report_once(e, elab_user_loc(e, loc), code))
        return datum_error();
    diag_error(e->diag, elab_user_loc(e, loc), code, "%s", arena_vformat(e->arena, format, args));
    note_place(e, loc);
    if (help)
        diag_help(e->diag, "%s", help);
    // More errors would not be shown.
    if (diag_error_count(e->diag) >= DIAG_ERRORS_MAX)
        e->stopped = true;
    return datum_error();
}

Datum elab_fail(Elab *e, Loc loc, int code, const char *help, const char *format, ...) {
    va_list args;
    va_start(args, format);
    const Datum out = elab_vfail(e, loc, code, help, format, args);
    va_end(args);
    return out;
}

void elab_remark(Elab *e, const char *format, ...) {
    FrontendRemarks *r = &e->in->remarks;
    if (r->count == r->capacity) {
        const int capacity = r->capacity ? 2 * r->capacity : 8;
        r->at = arena_grow(e->arena, r->at, (size_t)r->count, (size_t)capacity, sizeof *r->at);
        r->capacity = capacity;
    }
    va_list args;
    va_start(args, format);
    const char *scope = e->application ? e->application->scope : "";
    r->at[r->count++] =
        (FrontendRemark){scope[0] ? scope : e->model->name, arena_vformat(e->arena, format, args)};
    va_end(args);
}

const char *elab_suggest(Elab *e, const char *word, const char *const *known, int count) {
    const char *near = diag_nearest(word, known, count);
    return near ? arena_format(e->arena, "did you mean %s?", near) : NULL;
}

// Past the limit everything stops: no expression is evaluated any more.
bool elab_spend(Elab *e, Loc loc, int64_t steps) {
    e->steps_done += steps;
    if (e->steps_done > STEPS_MAX && !e->stopped) {
        elab_fail(e, loc, CODE_WORK, "shorten its loops and lists",
                  "evaluating the text takes more than %d steps", STEPS_MAX);
        e->stopped = true;
    }
    return !e->stopped;
}

// Every operator is made through here, so here they are counted.
Builder *elab_at(Elab *e, Loc loc) {
    // operators_before counts the graphs of the entries that are done.
    const int64_t operators = e->operators_before + e->builder.g->node_count;
    if (operators >= OPERATORS_MAX && !e->stopped) {
        elab_fail(e, loc, CODE_OPERATORS, NULL, "the model unfolds to more than %d operators",
                  OPERATORS_MAX);
        e->stopped = true;
    }
    e->builder.origin.loc = elab_user_loc(e, loc);
    e->builder.origin.scope = e->application ? e->application->scope : "";
    return &e->builder;
}

// The builder has reported what was wrong; only the place in the library is added here.
Datum elab_made(Elab *e, Loc loc, Value *v) {
    if (!v)
        note_place(e, loc);
    return datum_tensor(e->arena, v);
}

void elab_name_value(Elab *e, Value *v, const char *name) {
    // For people only: the first name stays, and one that is taken or no word is left out.
    if (v->name || table_find(&e->value_names, name) >= 0 || !name_is_valid(name))
        return;
    table_set(&e->value_names, e->arena, name, 0);
    v->name = name;
}

// step, steps and seed become inputs of the entry when something first asks for them.
static Value *hidden_input(Elab *e, InputSource source, const char *name) {
    const Type type = type_scalar(DT_I32);
    // The graph "init" belongs to no entry.
    const NodeOrigin origin = {.scope = "", .loc = e->entry ? e->entry->loc : e->model->loc};
    Node *n = graph_add_typed(e->builder.g, OP_INPUT, NULL, 0, NULL, 0, &type, 1, origin);
    graph_add_input(e->builder.g, n->result, source);
    elab_name_value(e, n->result, intern(e->names, name));
    return n->result;
}

Value *elab_step(Elab *e) {
    if (!e->step)
        e->step = hidden_input(e, FROM_STEP, "step");
    return e->step;
}

Value *elab_steps(Elab *e) {
    if (!e->steps)
        e->steps = hidden_input(e, FROM_STEPS, "steps");
    return e->steps;
}

Value *elab_seed(Elab *e) {
    if (!e->seed)
        e->seed = hidden_input(e, FROM_SEED, "seed");
    return e->seed;
}

// step * accumulate + slot, i32 that wraps: the micro-batch's number in the run. accumulate is the
// text's, so that nothing the compiler chooses changes a draw.
Value *elab_draw_step(Elab *e) {
    if (e->draw_step)
        return e->draw_step;
    Value *step = elab_step(e);
    if (e->accumulate > 1) {
        Value *slot = hidden_input(e, FROM_SLOT, "slot");
        Builder *b = elab_at(e, e->entry->loc);
        b->origin.scope = ""; // of no layer: all draws share it
        Value *parts = build_constant(b, type_scalar(DT_I32), (double)e->accumulate);
        step = build_binary(b, OP_ADD, build_binary(b, OP_MUL, step, parts), slot);
    }
    e->draw_step = step;
    return step;
}

Value *elab_knob(Elab *e, Loc loc, const char *name, double fallback) {
    const Type type = type_scalar(DT_F32);
    Graph *g = e->builder.g;
    for (int i = 0; i < g->input_count; i++) {
        Value *v = g->input[i].value;
        if (!v->name || strcmp(v->name, name) != 0)
            continue;
        if (type_equal(&v->type, &type))
            return v;
        elab_fail(e, loc, CODE_KIND, NULL, "argument %s is a scalar f32 here, not %s", name,
                  type_text(e->arena, &v->type));
        return NULL;
    }
    const NodeOrigin origin = {.scope = "", .loc = elab_user_loc(e, loc)};
    Node *n = graph_add_typed(g, OP_INPUT, NULL, 0, NULL, 0, &type, 1, origin);
    graph_add_input(g, n->result, FROM_KNOB)->fallback = fallback;
    elab_name_value(e, n->result, intern(e->names, name));
    return n->result;
}

static void file_frame_fill(Elab *e, const FileDecl *file, Frame *frame);

// The namespace is known before its own uses are read; circles are caught by the stack of files.
static const Namespace *namespace_add(Elab *e, const char *name, const Source *source) {
    const FileDecl *file = parser_file(e->arena, e->diag, e->names, source);
    Namespace *space = arena_new(e->arena, Namespace);
    space->name = name;
    space->frame = frame_create(e->arena, NULL);
    if (e->space_count == e->space_capacity) {
        const int capacity = e->space_capacity ? e->space_capacity * 2 : 8;
        e->space = arena_grow(e->arena, e->space, (size_t)e->space_count, (size_t)capacity,
                              sizeof *e->space);
        e->space_capacity = capacity;
    }
    table_set(&e->used_files, e->arena, source->file, e->space_count);
    e->space[e->space_count++] = space;
    file_frame_fill(e, file, space->frame);
    return space;
}

// Reads what a `use` names, each file once.
static const Namespace *use_file(Elab *e, const Source *user, const UseDecl *use) {
    const Source *found = source_find(e->arena, e->diag, e->in, e->files, user,
                                      use->path ? use->path : use->alias, !use->path, use->loc);
    if (!found)
        return NULL;
    Source *source = arena_new(e->arena, Source);
    *source = *found;
    // Interned, so that files compare by ==.
    source->file = intern(e->names, found->file);
    // Before used_files, which knows a file as soon as its reading has begun.
    for (int i = 0; i < e->use_depth; i++)
        if (e->use_stack[i] == source->file) {
            elab_fail(e, use->loc, CODE_USE_CYCLE, NULL, "%s uses itself, by way of this line",
                      source->file);
            return NULL;
        }
    const int known = table_find(&e->used_files, source->file);
    if (known >= 0)
        return e->space[known];
    if (e->use_depth == (int)(sizeof e->use_stack / sizeof e->use_stack[0])) {
        elab_fail(e, use->loc, CODE_DEPTH, NULL, "files use each other deeper than 64 levels");
        return NULL;
    }
    e->use_stack[e->use_depth++] = source->file;
    const Namespace *space = namespace_add(e, use->alias, source);
    e->use_depth--;
    return space;
}

// Binds a name of the outermost level; a second definition is an error.
static void define(Elab *e, Frame *frame, Loc loc, const char *name, Datum value) {
    if (frame_find_here(frame, name))
        elab_fail(e, loc, CODE_DEFINED_TWICE, NULL, "%s is defined twice", name);
    else
        frame_set(frame, e->arena, name, value);
}

// A file's names: what it uses and its functions, in any order.
static void file_frame_fill(Elab *e, const FileDecl *file, Frame *frame) {
    for (int i = 0; i < file->use_count; i++) {
        const UseDecl *use = &file->use[i];
        const Namespace *space = use_file(e, file->source, use);
        // The alias of a file that can't be used is bound to an error, so its uses stay silent.
        Datum d = datum_error();
        if (space) {
            d.kind = DATUM_NAMESPACE;
            d.as.space = space;
        }
        define(e, frame, use->loc, use->alias, d);
    }
    for (int i = 0; i < file->fn_count; i++) {
        Function *f = arena_new(e->arena, Function);
        f->decl = file->fn[i];
        f->around = frame;
        define(e, frame, f->decl->loc, f->decl->name,
               (Datum){.kind = DATUM_FUNCTION, .as.function = f});
    }
}

// The model asked for: by name, or the file's last.
static const ModelDecl *choose_model(Elab *e) {
    const FileDecl *file = e->file;
    const Loc top = {file->source->file, 1, 1};
    if (file->model_count == 0) {
        if (diag_error_count(e->diag) == 0)
            elab_fail(e, top, CODE_MODEL, "write: model name(size = 1) { ... }",
                      "the file has no model");
        return NULL;
    }
    // All names up to the one asked for; two of one name would make the choice a guess.
    const char **known = arena_array(e->arena, const char *, file->model_count);
    for (int i = 0; i < file->model_count; i++) {
        known[i] = file->model[i]->name;
        for (int k = 0; k < i; k++)
            if (known[k] == known[i])
                elab_fail(e, file->model[i]->loc, CODE_DEFINED_TWICE, NULL,
                          "model %s is defined twice", known[i]);
        if (e->in->model && strcmp(known[i], e->in->model) == 0)
            return file->model[i];
    }
    if (!e->in->model)
        return file->model[file->model_count - 1];
    elab_fail(e, top, CODE_MODEL, elab_suggest(e, e->in->model, known, file->model_count),
              "the file has no model %s", e->in->model);
    return NULL;
}

// Text, tree, frames, entries. A module is only given out where nothing was wrong.
Module *frontend_module(Arena *a, Diag *d, FrontendInput *in, FrontendFiles *files) {
    Intern *names = intern_create(a);
    Source *source = arena_new(a, Source);
    *source = (Source){.file = intern(names, in->file), .text = in->text, .bytes = in->bytes};
    diag_add_source(d, source->file, source->text, source->bytes);
    Elab *e = arena_new(a, Elab);
    *e = (Elab){.arena = a, .diag = d, .names = names, .in = in, .files = files};
    const int errors = diag_error_count(d);
    e->file = parser_file(a, d, names, source);
    e->source = source;
    // On the stack itself, so that no file below it can use it.
    e->use_stack[e->use_depth++] = source->file;
    e->file_frame = frame_create(a, NULL);
    file_frame_fill(e, e->file, e->file_frame);
    e->model = choose_model(e);
    if (!e->model)
        return NULL;
    e->module = module_create(a, e->model->name);
    e->builder.diag = d;
    // Syntax errors leave holes in the text, and their echoes help nobody.
    if (diag_error_count(d) > errors)
        return NULL;
    elab_entries(e);
    return diag_error_count(d) > errors ? NULL : e->module;
}
