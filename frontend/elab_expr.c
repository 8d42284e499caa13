// Expressions: names, literals, operators, fields. Chains of binary operators are walked in a loop,
// since they may be long; everything else nests at most as deep as the parser and the call limit
// allow.
//
// An expression is worth a Datum. Errors have been reported when DATUM_ERROR comes back, and
// whatever is computed from it stays silent. Names are looked up from the innermost frame outward;
// a name bound to state gives the tensor it is worth at this point of the entry.
#include "frontend/elaborate.h"

#include "frontend/builtins.h"
#include "ir/check.h"

#include <string.h>

// `training`: whether this entry trains, unless a rule of the model says otherwise for this scope.
bool elab_is_training(Elab *e) {
    bool training = e->training;
    // The last rule that matches wins, but none makes an entry train that has no minimize.
    for (int i = 0; i < e->rules.count; i++)
        if (e->rules.at[i]->training >= 0 && rule_match_path(e->rules.at[i], e->application->scope))
            training = e->training && e->rules.at[i]->training == 1;
    return training;
}

// Suggests from all that is visible: the names around, then the builtins.
static Datum unknown_name(Elab *e, const Expr *expr) {
    const char **known, **builtin;
    int count = frame_names(e->frame, e->arena, &known);
    const int builtins = builtin_names(e->arena, &builtin);
    const char **all =
        arena_grow(e->arena, known, (size_t)count, (size_t)(count + builtins), sizeof *all);
    for (int i = 0; i < builtins; i++)
        all[count++] = builtin[i];
    return elab_fail(e, expr->loc, CODE_NAME, elab_suggest(e, expr->as.text, all, count),
                     "%s is not defined", expr->as.text);
}

// Names around first, then builtins, element types, and `training`: a model may use any of these
// for itself.
static Datum eval_name(Elab *e, const Expr *expr) {
    const Datum *found = frame_find(e->frame, expr->as.text);
    // A name is bound to the state itself, since what it is worth changes with each store.
    if (found && found->kind == DATUM_STATE)
        return elab_state_value(e, found->as.state);
    if (found && found->kind == DATUM_INSTANCE && e->part)
        return elab_instance_part(e, expr->loc, found->as.instance);
    if (found)
        return *found;
    const Builtin *b = builtin_find(expr->as.text);
    if (b)
        return (Datum){.kind = DATUM_BUILTIN, .as.builtin = b};
    DType dtype;
    if (dtype_find(expr->as.text, &dtype))
        return (Datum){.kind = DATUM_DTYPE, .as.dtype = dtype};
    if (strcmp(expr->as.text, "training") == 0 && e->application)
        return datum_bool(elab_is_training(e));
    return unknown_name(e, expr);
}

// All elements are evaluated even where one fails, so that each mistake is told.
static Datum eval_items(Elab *e, const Expr *expr, DatumKind kind) {
    Datum *at = arena_array(e->arena, Datum, expr->args.count + 1);
    bool failed = false;
    for (int i = 0; i < expr->args.count; i++) {
        at[i] = elab_expr(e, expr->args.at[i].value);
        failed = failed || at[i].kind == DATUM_ERROR;
    }
    return failed ? datum_error() : datum_items(e->arena, kind, at, expr->args.count);
}

// An open end is absent; what it means is for the index or loop to say.
static Datum eval_range(Elab *e, const Expr *expr) {
    RangeEnds *ends = arena_new(e->arena, RangeEnds);
    ends->lo = expr->left ? elab_expr(e, expr->left) : datum_absent();
    ends->hi = expr->right ? elab_expr(e, expr->right) : datum_absent();
    if (ends->lo.kind == DATUM_ERROR || ends->hi.kind == DATUM_ERROR)
        return datum_error();
    return (Datum){.kind = DATUM_RANGE, .as.range = ends};
}

// The product keeps its factors, so that `arrange` can split it: 3 * heads * e.
static Datum multiply(Elab *e, const Expr *expr, Datum x, Datum y) {
    Datum out = arith_binary(e, expr->loc, BINARY_MUL, x, y);
    // Only whole numbers are sizes. A name counts as one factor, what is written here as a product
    // as its parts.
    if (out.kind == DATUM_INT && x.kind == DATUM_INT && y.kind == DATUM_INT) {
        const Expr *l = expr->left, *r = expr->right;
        out.factors = factors_multiply(e->arena, x, l->kind == EXPR_BINARY && l->op == BINARY_MUL,
                                       y, r->kind == EXPR_BINARY && r->op == BINARY_MUL);
    }
    return out;
}

// and, or on compile-time bools look at the right side only when it matters.
static bool decided(const Expr *expr, Datum x) {
    return x.kind == DATUM_BOOL &&
           ((expr->op == BINARY_OR && x.as.truth) || (expr->op == BINARY_AND && !x.as.truth));
}

// Anything but two compile-time bools is for arith_binary to combine or to refuse.
static Datum eval_logic(Elab *e, const Expr *expr, Datum x, Datum y) {
    if (x.kind != DATUM_BOOL || y.kind != DATUM_BOOL)
        return arith_binary(e, expr->loc, expr->op, x, y);
    return datum_bool(expr->op == BINARY_OR ? x.as.truth || y.as.truth : x.as.truth && y.as.truth);
}

// ((a + b) + c) + d is walked from a outward.
static Datum eval_binary(Elab *e, const Expr *expr) {
    // Phase 1: how many operators, and the leftmost operand.
    int length = 0;
    const Expr *first = expr;
    for (; first->kind == EXPR_BINARY; first = first->left)
        length++;
    enum { SHORT = 8 }; // most chains need no memory of their own
    const Expr *few[SHORT];
    const Expr **chain = length <= SHORT ? few : arena_array(e->arena, const Expr *, length);
    // Phase 2: the operators from the innermost (chain[0]) to the outermost.
    for (int i = length; i > 0; expr = expr->left)
        chain[--i] = expr;
    // Phase 3: x is always worth all that stands left of chain[i]'s operator.
    Datum x = elab_expr(e, first);
    for (int i = 0; i < length && !e->stopped; i++) {
        // `false and y`: y is not evaluated and may speak of what does not exist.
        if (decided(chain[i], x))
            continue;
        const Datum y = elab_expr(e, chain[i]->right);
        if (chain[i]->op == BINARY_MUL)
            x = multiply(e, chain[i], x, y);
        else if (chain[i]->op == BINARY_OR || chain[i]->op == BINARY_AND)
            x = eval_logic(e, chain[i], x, y);
        else
            x = arith_binary(e, chain[i]->loc, chain[i]->op, x, y);
    }
    return x;
}

// Only what the file itself defines: builtins are no fields of it.
static Datum namespace_field(Elab *e, const Expr *expr, const Namespace *space) {
    const Datum *found = frame_find_here(space->frame, expr->as.text);
    if (found)
        return *found;
    const char **known;
    const int count = frame_names(space->frame, e->arena, &known);
    return elab_fail(e, expr->loc, CODE_FIELD, elab_suggest(e, expr->as.text, known, count),
                     "%s has no function %s", space->name, expr->as.text);
}

// What is known of a tensor at compile time.
static Datum tensor_field(Elab *e, const Expr *expr, const Array *x) {
    static const char *const known[] = {"rank", "shape", "dtype", "dim"};
    const Type *type = &x->value->type;
    if (strcmp(expr->as.text, "rank") == 0)
        return datum_int(type->rank);
    if (strcmp(expr->as.text, "dtype") == 0)
        return (Datum){.kind = DATUM_DTYPE, .as.dtype = type->dtype};
    if (strcmp(expr->as.text, "shape") == 0) {
        Datum *at = arena_array(e->arena, Datum, type->rank + 1);
        for (int i = 0; i < type->rank; i++) {
            // A size taken from a tensor still comes apart as it was multiplied.
            at[i] = datum_int(type->dim[i]);
            at[i].factors = x->factors[i];
        }
        return datum_items(e->arena, DATUM_LIST, at, type->rank);
    }
    // x.dim(0) is handled by elab_call; here `dim` stands without a call.
    if (strcmp(expr->as.text, "dim") == 0)
        return elab_fail(e, expr->loc, CODE_FIELD, "write x.dim(0)",
                         "dim is a function of the axis");
    return elab_fail(e, expr->loc, CODE_FIELD, elab_suggest(e, expr->as.text, known, 4),
                     "a tensor has no field %s", expr->as.text);
}

static Datum eval_field(Elab *e, const Expr *expr) {
    const Datum left = elab_expr(e, expr->left);
    if (left.kind == DATUM_ERROR)
        return left;
    if (left.kind == DATUM_NAMESPACE)
        return namespace_field(e, expr, left.as.space);
    if (left.kind == DATUM_TENSOR)
        return tensor_field(e, expr, left.as.array);
    return elab_fail(e, expr->loc, CODE_FIELD, NULL, "%s has no fields",
                     datum_describe(e->arena, left));
}

static Datum eval_kind(Elab *e, const Expr *expr) {
    switch (expr->kind) {
    case EXPR_NONE:
        return datum_none();
    case EXPR_BOOL:
        return datum_bool(expr->as.truth);
    case EXPR_INT:
        return datum_int(expr->as.whole);
    case EXPR_FLOAT:
        return datum_float(expr->as.real);
    case EXPR_TEXT:
        return datum_text(expr->as.text);
    case EXPR_NAME:
        return eval_name(e, expr);
    case EXPR_HOLE:
        return elab_fail(e, expr->loc, CODE_HOLE, NULL, "_ stands outside of a call");
    case EXPR_LIST:
        return eval_items(e, expr, DATUM_LIST);
    case EXPR_TUPLE:
        return eval_items(e, expr, DATUM_TUPLE);
    case EXPR_CALL:
        return elab_call(e, expr);
    case EXPR_INDEX:
        return elab_index(e, expr);
    case EXPR_FIELD:
        return eval_field(e, expr);
    case EXPR_NEGATE:
        return arith_negate(e, expr->loc, elab_expr(e, expr->left));
    case EXPR_NOT:
        return arith_not(e, expr->loc, elab_expr(e, expr->left));
    case EXPR_BINARY:
        return eval_binary(e, expr);
    case EXPR_RANGE:
        return eval_range(e, expr);
    case EXPR_ELLIPSIS:
        return elab_fail(e, expr->loc, CODE_KIND, NULL, "... stands outside of an index or shape");
    }
    UNREACHABLE();
}

// Counts the work and the nesting of everything that is evaluated.
Datum elab_expr(Elab *e, const Expr *expr) {
    if (!elab_spend(e, expr->loc, 1))
        return datum_error();
    if (e->nesting >= NESTING_MAX) {
        elab_fail(e, expr->loc, CODE_DEPTH, NULL, "calls and expressions nest deeper than %d",
                  NESTING_MAX);
        // Stopped for good: on the way out each level would only fail again.
        e->stopped = true;
        return datum_error();
    }
    e->nesting++;
    const Datum out = eval_kind(e, expr);
    e->nesting--;
    // A value that was cut short by a limit is not to be used.
    return e->stopped ? datum_error() : out;
}

// A size is never 0: the language has no empty tensors.
bool elab_dim(Elab *e, Loc loc, Datum d, int64_t *out) {
    if (d.kind == DATUM_ERROR)
        return false;
    if (d.kind == DATUM_FLOAT) {
        elab_fail(e, loc, CODE_WHOLE, NULL, "a size must be a whole number, got %g", d.as.real);
        return false;
    }
    if (d.kind != DATUM_INT) {
        elab_fail(e, loc, CODE_KIND, NULL, "a size is needed here, got %s",
                  datum_describe(e->arena, d));
        return false;
    }
    if (d.as.whole < 1 || d.as.whole > DIM_MAX) {
        elab_fail(e, loc, CODE_DIM, NULL, "a size must lie in 1 .. 2^40, got %lld",
                  (long long)d.as.whole);
        return false;
    }
    *out = d.as.whole;
    return true;
}

// Rank and every size are checked before the product, which type_check makes without overflow.
bool elab_shape(Elab *e, const Args *dims, Loc loc, Shape *out) {
    *out = (Shape){0};
    for (int i = 0; i < dims->count; i++) {
        const Expr *dim = dims->at[i].value;
        // at and count: the sizes that this one element stands for.
        Datum d = datum_error();
        int count = 1;
        const Datum *at = &d;
        if (dim->kind == EXPR_ELLIPSIS) {
            // ...name: the sizes a signature bound to the name.
            const Datum *rest = dim->as.text ? frame_find(e->frame, dim->as.text) : NULL;
            if (!rest || !datum_is_items(*rest)) {
                elab_fail(e, dim->loc, CODE_SHAPE, NULL, "...%s names no sizes",
                          dim->as.text ? dim->as.text : "");
                return false;
            }
            at = rest->as.items->at;
            count = rest->as.items->count;
        } else {
            d = elab_expr(e, dim);
        }
        for (int k = 0; k < count; k++) {
            if (out->rank == RANK_MAX) {
                elab_fail(e, loc, CODE_RANK, NULL, "a tensor has at most %d axes", RANK_MAX);
                return false;
            }
            if (!elab_dim(e, dim->loc, at[k], &out->dim[out->rank]))
                return false;
            out->factors[out->rank++] = at[k].factors;
        }
    }
    // f32 stands for all element types: none has more bytes.
    const Type type = type_make(DT_F32, out->rank, out->dim);
    if (!type_check(&type)) {
        elab_fail(e, loc, CODE_OVERFLOW, NULL, "a tensor of that shape has 2^62 bytes or more");
        return false;
    }
    return true;
}
