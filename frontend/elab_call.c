// Calls: of functions, builtins, instances and methods, with labels.
//
// A label opens a scope: parameters made inside are called LABEL.name. Without a label a call
// shares the caller's scope. Reaching a path twice in one application would share parameters by
// accident, so it is an error; an instance (a labelled call with open arguments) shares them on
// purpose: each of its calls is an application of its own over the same paths.
//
//     x = x + attn: attention(ln_1: nn.layernorm(x), heads)
//       scope "h.0": ln_1 is evaluated, scope "h.0.ln_1"; then attention runs in scope "h.0.attn"
//
// A call: arguments are evaluated in the caller's scope; each is given its parameter; signatures
// bind or check sizes; the body runs in a frame of its own. Messages about arguments are at the
// caller's line. Cost: proportional to the arguments and the body; recursion is refused, so
// unfolding ends.
#include "frontend/elaborate.h"

#include "frontend/builtins.h"
#include "ir/check.h"

#include <string.h>

enum { PATH_BYTES_MAX = 1024 };

// Two checks. In one application a path is reached once. In one entry a path comes from one place
// of the text: `a: f(x)` with a `b:` inside, and `a.b: g(x)` elsewhere, would share by accident
// too.
bool elab_reach(Elab *e, Loc loc, int code, const char *path, const void *syntax) {
    const char *what = code == CODE_PARAM_TWICE ? "leaf" : "label";
    if (table_find(&e->application->used, path) >= 0) {
        elab_fail(e, loc, code,
                  code == CODE_PARAM_TWICE
                      ? "give the call that makes it a label, so that it gets a scope of its own"
                      : "to share parameters make an instance: name: f(_), and call it twice; else "
                        "number the label: name.{i}:",
                  "%s %s is reached twice", what, path);
        return false;
    }
    table_set(&e->application->used, e->arena, path, 0);
    // Another entry may reach the path again, but from the same place only.
    const int known = table_find(&e->label_origin, path);
    if (known >= 0 && e->origin[known] != syntax) {
        elab_fail(e, loc, code, "give one of them another name", "%s %s is used in two places",
                  what, path);
        return false;
    }
    if (known >= 0)
        return true;
    if (e->origin_count == e->origin_capacity) {
        const int capacity = e->origin_capacity ? e->origin_capacity * 2 : 64;
        e->origin = arena_grow(e->arena, e->origin, (size_t)e->origin_count, (size_t)capacity,
                               sizeof *e->origin);
        e->origin_capacity = capacity;
    }
    table_set(&e->label_origin, e->arena, path, e->origin_count);
    e->origin[e->origin_count++] = syntax;
    return true;
}

// The label's path under the current scope, interned; NULL after a diagnostic.
static const char *label_path(Elab *e, const Label *label) {
    const char *path = e->application->scope;
    for (int i = 0; i < label->count; i++) {
        const char *part = label->part[i].text;
        if (label->part[i].is_value) {
            const Datum *value = frame_find(e->frame, part);
            if (value && value->kind == DATUM_INT) {
                part = arena_format(e->arena, "%lld", (long long)value->as.whole);
            } else if (value && value->kind == DATUM_TEXT) {
                part = value->as.text;
            } else {
                elab_fail(e, label->loc, value ? CODE_KIND : CODE_NAME, NULL,
                          "{%s} in a label must be a whole number or a text", part);
                return NULL;
            }
        }
        const bool dot = path[0] && !label->part[i].joined;
        path = arena_format(e->arena, "%s%s%s", path, dot ? "." : "", part);
    }
    if (strlen(path) > PATH_BYTES_MAX || !name_is_valid(path)) {
        elab_fail(e, label->loc, CODE_LABEL, NULL, "%.60s is no path for parameters", path);
        return NULL;
    }
    return intern(e->names, path);
}

// ...name in a signature: binds the sizes of count axes.
static void bind_rest(Elab *e, const char *name, const Array *x, int axis, int count) {
    Datum *sizes = arena_array(e->arena, Datum, count + 1);
    for (int i = 0; i < count; i++) {
        sizes[i] = datum_int(x->value->type.dim[axis + i]);
        sizes[i].factors = x->factors[axis + i];
    }
    if (name)
        frame_set(e->frame, e->arena, name, datum_items(e->arena, DATUM_LIST, sizes, count));
}

// A name in a signature: binds the size, or checks it where the name has one.
static void bind_dim(Elab *e, Loc loc, const FnDecl *fn, const Param *p, const char *name,
                     const Array *x, int axis) {
    const int64_t size = x->value->type.dim[axis];
    // Only names that stand for a size are checked: others are hidden by the new one.
    const Datum *bound = frame_find(e->frame, name);
    if (!bound || bound->kind != DATUM_INT) {
        Datum d = datum_int(size);
        d.factors = x->factors[axis];
        frame_set(e->frame, e->arena, name, d);
    } else if (bound->as.whole != size) {
        elab_fail(e, loc, CODE_SHAPE, NULL, "argument %s of %s: axis %d is %lld, but %s is %lld",
                  p->name, fn->name, axis, (long long)size, name, (long long)bound->as.whole);
    }
}

// Binds the sizes of a signature's shape. False where the number of axes is wrong.
static bool bind_dims(Elab *e, Loc loc, const FnDecl *fn, const Param *p, const Args *dims,
                      const Array *x) {
    int rest = -1;
    for (int i = 0; i < dims->count; i++) {
        if (dims->at[i].value->kind == EXPR_ELLIPSIS && rest >= 0)
            return false; // which of the two takes how many?
        if (dims->at[i].value->kind == EXPR_ELLIPSIS)
            rest = i;
    }
    const int rank = x->value->type.rank, fixed = dims->count - (rest >= 0);
    if (rest < 0 ? rank != fixed : rank < fixed)
        return false;
    int axis = 0;
    for (int i = 0; i < dims->count; i++) {
        const Expr *dim = dims->at[i].value;
        if (i == rest)
            bind_rest(e, dim->as.text, x, axis, rank - fixed);
        else if (dim->kind == EXPR_NAME)
            bind_dim(e, loc, fn, p, dim->as.text, x, axis);
        axis += i == rest ? rank - fixed : 1;
    }
    return true;
}

// "[b, s, d]" as written, for messages.
static const char *dims_text(Elab *e, const Args *dims) {
    const char *out = "[";
    for (int i = 0; i < dims->count; i++) {
        const Expr *dim = dims->at[i].value;
        const char *name = "expression";
        if (dim->kind == EXPR_NAME)
            name = dim->as.text;
        else if (dim->kind == EXPR_ELLIPSIS)
            name = arena_format(e->arena, "...%s", dim->as.text ? dim->as.text : "");
        else if (dim->kind == EXPR_INT)
            name = arena_format(e->arena, "%lld", (long long)dim->as.whole);
        out = arena_format(e->arena, "%s%s%s", out, i ? ", " : "", name);
    }
    return arena_format(e->arena, "%s]", out);
}

// An argument against its declared type; binds the sizes that the signature names.
static void bind_type(Elab *e, Loc loc, const FnDecl *fn, const Param *p, Datum value) {
    const TypeExpr *type = p->type;
    // Errors are silent; none stands for an argument that was left out.
    if (!type || value.kind == DATUM_ERROR || value.kind == DATUM_NONE)
        return;
    // A signature without a shape also takes a plain number, as in rate: f32.
    if (!type->has_shape && datum_is_number(value))
        return;
    if (value.kind != DATUM_TENSOR) {
        elab_fail(e, loc, CODE_KIND, NULL, "argument %s of %s must be a tensor, got %s", p->name,
                  fn->name, datum_describe(e->arena, value));
        return;
    }
    const Array *x = value.as.array;
    const Type *have = &x->value->type;
    if (type->has_dtype && have->dtype != type->dtype)
        elab_fail(e, loc, CODE_DTYPE, "f32(x), bf16(x) and i32(x) convert",
                  "argument %s of %s must be %s, got %s", p->name, fn->name,
                  dtype_name(type->dtype), type_text(e->arena, have));
    const Args none = {0};
    const Args *dims = type->has_shape ? &type->dims : &none;
    if (!bind_dims(e, loc, fn, p, dims, x))
        elab_fail(e, loc, CODE_SHAPE, NULL, "argument %s of %s must be %s, got %s", p->name,
                  fn->name, dims_text(e, dims), type_text(e->arena, have));
}

// The sizes of one argument that its signature computes (2 * d).
static void check_computed(Elab *e, Loc loc, const FnDecl *fn, const Param *p, const Type *have) {
    const Args *dims = &p->type->dims;
    int axis = 0;
    for (int i = 0; i < dims->count; i++) {
        const Expr *dim = dims->at[i].value;
        int64_t size;
        // The axes behind `...` are counted from the end.
        if (dim->kind == EXPR_ELLIPSIS) {
            axis = have->rank - (dims->count - 1 - i);
            continue;
        }
        if (dim->kind != EXPR_NAME && elab_dim(e, dim->loc, elab_expr(e, dim), &size) &&
            size != have->dim[axis])
            elab_fail(e, loc, CODE_SHAPE, NULL, "argument %s of %s: axis %d must be %lld, got %s",
                      p->name, fn->name, axis, (long long)size, type_text(e->arena, have));
        axis++;
    }
}

// Gives each argument its parameter. False after a diagnostic.
static bool sort_arguments(Elab *e, Loc loc, const FnDecl *fn, const CallArg *args, int count,
                           const CallArg **by_param) {
    const char **known = arena_array(e->arena, const char *, fn->params.count + 1);
    for (int i = 0; i < fn->params.count; i++)
        known[i] = fn->params.at[i].name;
    int position = 0;
    for (int i = 0; i < count; i++) {
        int to = -1;
        if (!args[i].name)
            to = position++;
        for (int k = 0; args[i].name && k < fn->params.count; k++)
            if (known[k] == args[i].name)
                to = k;
        if (to < 0) {
            elab_fail(e, args[i].loc, CODE_ARGUMENT,
                      elab_suggest(e, args[i].name, known, fn->params.count),
                      "%s has no argument %s", fn->name, args[i].name);
            return false;
        }
        if (to >= fn->params.count) {
            elab_fail(e, args[i].loc, CODE_ARGUMENT, NULL, "%s takes %d arguments, got %d",
                      fn->name, fn->params.count, count);
            return false;
        }
        if (by_param[to]) {
            elab_fail(e, args[i].loc, CODE_ARGUMENT, NULL, "argument %s of %s is given twice",
                      known[to], fn->name);
            return false;
        }
        by_param[to] = &args[i];
    }
    for (int i = 0; i < fn->params.count; i++)
        if (!by_param[i] && !fn->params.at[i].fallback) {
            elab_fail(e, loc, CODE_MISSING, NULL, "argument %s of %s is missing", known[i],
                      fn->name);
            return false;
        }
    return true;
}

// Binds in order, so that a default can use the sizes bound before it. Sizes that are expressions
// are checked once all names are bound. Messages about arguments are at the caller's line.
static bool bind_arguments(Elab *e, Loc loc, const FnDecl *fn, const CallArg *const *by_param,
                           CallSite *site) {
    const int errors = diag_error_count(e->diag);
    const Source *const caller = e->source;
    bool poisoned = false;
    for (int i = 0; i < fn->params.count; i++) {
        const Param *p = &fn->params.at[i];
        Datum value = datum_error();
        if (by_param[i]) {
            value = by_param[i]->value;
        } else {
            // A default is evaluated as text of the function, in the frame that is being filled.
            e->call = site;
            e->source = fn->source;
            value = elab_expr(e, p->fallback);
            e->source = caller;
            e->call = site->up;
        }
        poisoned = poisoned || value.kind == DATUM_ERROR;
        frame_set(e->frame, e->arena, p->name, value);
        bind_type(e, by_param[i] ? by_param[i]->loc : loc, fn, p, value);
    }
    for (int i = 0; i < fn->params.count; i++) {
        const Param *p = &fn->params.at[i];
        const Datum *value = frame_find_here(e->frame, p->name);
        // One message for a call: what is computed from wrong sizes would only echo.
        if (!poisoned && diag_error_count(e->diag) == errors && p->type && p->type->has_shape &&
            value->kind == DATUM_TENSOR)
            check_computed(e, by_param[i] ? by_param[i]->loc : loc, fn, p,
                           &value->as.array->value->type);
    }
    return diag_error_count(e->diag) == errors && !poisoned;
}

// The chain of calls under way is short (the nesting limit), so it is searched.
static bool may_call(Elab *e, Loc loc, const FnDecl *fn) {
    int depth = 0;
    for (const CallSite *c = e->call; c; c = c->up, depth++)
        if (c->decl == fn) {
            elab_fail(e, loc, CODE_RECURSION, "functions are unfolded at compile time; use a loop",
                      "%s calls itself", fn->name);
            return false;
        }
    return true;
}

// A fresh frame inside the function's own surroundings. What the frame returned is the value; none
// where it did not.
static Datum call_function(Elab *e, Loc loc, const Function *f, const CallArg *args, int count) {
    const FnDecl *fn = f->decl;
    const CallArg **by_param = arena_array(e->arena, const CallArg *, fn->params.count + 1);
    enum { CALL_STEPS = 4 }; // a frame and its names cost more than an expression
    if (!elab_spend(e, loc, CALL_STEPS) || !may_call(e, loc, fn) ||
        !sort_arguments(e, loc, fn, args, count, by_param))
        return datum_error();
    CallSite site = {fn, loc, e->source->library, e->call};
    Frame *const outer_frame = e->frame;
    const Source *const outer_source = e->source;
    // Inside the library the user's line stays that of the call that entered it.
    const Loc outer_user = e->user_loc;
    if (!e->source->library)
        e->user_loc = loc;
    e->frame = frame_create(e->arena, f->around);
    const bool bound = bind_arguments(e, loc, fn, by_param, &site);
    e->call = &site;
    e->source = fn->source;
    if (bound)
        elab_body(e, &fn->body);
    const Datum out = !bound ? datum_error() : e->frame->returned ? e->frame->result : datum_none();
    // What the call has set is put back, whether it went well or not.
    e->frame = outer_frame;
    e->source = outer_source;
    e->user_loc = outer_user;
    e->call = site.up;
    return out;
}

// An argument that failed has been reported: the call is not made.
Datum elab_apply(Elab *e, Loc loc, Datum callee, const CallArg *args, int count) {
    for (int i = 0; i < count; i++)
        if (args[i].value.kind == DATUM_ERROR)
            return datum_error();
    switch ((int)callee.kind) {
    case DATUM_FUNCTION:
        return call_function(e, loc, callee.as.function, args, count);
    case DATUM_BUILTIN:
        return builtin_call(e, loc, callee.as.builtin, args, count);
    case DATUM_INSTANCE:
        return elab_call_instance(e, loc, callee.as.instance, args, count);
    case DATUM_DTYPE: // f32(x)
        if (count == 1 && !args[0].name) {
            const CallArg cast[] = {args[0], {.loc = loc, .value = callee}};
            return builtin_call(e, loc, builtin_find("cast"), cast, 2);
        }
        return elab_fail(e, loc, CODE_ARGUMENT, NULL, "%s(x) converts one tensor",
                         dtype_name(callee.as.dtype));
    case DATUM_ERROR:
        return callee;
    default:
        return elab_fail(e, loc, CODE_NOT_FUNCTION, NULL, "%s can't be called",
                         datum_describe(e->arena, callee));
    }
}

// x.dim(i)
static bool is_method(const Expr *callee) {
    return callee->kind == EXPR_FIELD && strcmp(callee->as.text, "dim") == 0;
}

static Datum call_method(Elab *e, const Expr *expr, const Array *x) {
    const Type *type = &x->value->type;
    const Datum axis =
        expr->args.count == 1 ? elab_expr(e, expr->args.at[0].value) : datum_absent();
    if (axis.kind == DATUM_ERROR)
        return axis;
    if (axis.kind != DATUM_INT)
        return elab_fail(e, expr->loc, CODE_ARGUMENT, NULL, "dim takes one axis: x.dim(-1)");
    const int64_t at = axis.as.whole < 0 ? axis.as.whole + type->rank : axis.as.whole;
    if (at < 0 || at >= type->rank)
        return elab_fail(e, expr->loc, CODE_AXIS, NULL, "%s has no axis %lld",
                         type_text(e->arena, type), (long long)axis.as.whole);
    Datum out = datum_int(type->dim[at]);
    out.factors = x->factors[at];
    return out;
}

// In the caller's scope, before the label opens its own: h: f(ln: norm(x)) puts ln beside h, not
// inside.
CallArg *elab_arguments(Elab *e, const Args *args, int *holes) {
    CallArg *out = arena_array(e->arena, CallArg, args->count + 1);
    for (int i = 0; i < args->count; i++) {
        const Expr *value = args->at[i].value;
        out[i].name = args->at[i].name;
        out[i].loc = args->at[i].loc;
        out[i].hole = value->kind == EXPR_HOLE;
        *holes += out[i].hole;
        out[i].value = out[i].hole ? datum_absent() : elab_expr(e, value);
    }
    return out;
}

// The label's path becomes the scope of a new application.
static Datum call_labelled(Elab *e, const Expr *expr, Datum callee, const CallArg *args,
                           int holes) {
    const Label *label = expr->as.label;
    const char *scope = label_path(e, label);
    if (!scope || !elab_reach(e, label->loc, CODE_LABEL_TWICE, scope, expr))
        return datum_error();
    if (holes > 0)
        return elab_instance(e, expr->loc, scope, callee, args, expr->args.count);
    return elab_apply_in(e, expr->loc, scope, callee, args, expr->args.count);
}

// x.dim(i) is the one method; everything else is a callee and arguments.
Datum elab_call(Elab *e, const Expr *expr) {
    Datum callee = datum_error();
    if (is_method(expr->left)) {
        const Datum self = elab_expr(e, expr->left->left);
        if (self.kind == DATUM_TENSOR)
            return call_method(e, expr, self.as.array);
        // A file may have a function that is called dim.
        if (self.kind == DATUM_NAMESPACE)
            callee = elab_expr(e, expr->left);
        else if (self.kind != DATUM_ERROR)
            return elab_fail(e, expr->loc, CODE_FIELD, NULL, "%s has no axes",
                             datum_describe(e->arena, self));
    } else {
        callee = elab_expr(e, expr->left);
    }
    int holes = 0;
    const CallArg *args = elab_arguments(e, &expr->args, &holes);
    if (callee.kind == DATUM_ERROR)
        return callee;
    if (expr->as.label)
        return call_labelled(e, expr, callee, args, holes);
    if (holes > 0)
        return elab_fail(e, expr->loc, CODE_HOLE, "name: f(_) makes an instance",
                         "an open argument needs a label");
    return elab_apply(e, expr->loc, callee, args, expr->args.count);
}
