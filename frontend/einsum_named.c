// einsum(x, y, ..., "b s d, v d -> b s v"): products by named axes. Each name becomes a letter of
// the binary operator; more operands are taken from the left, two at a time; an axis that only one
// operand has and nobody needs later is summed before the product.
//
//     einsum(x, w, "... i, o i -> ... o")  of f32[2,3,4], f32[5,4]
//       =>  einsum {spec = "abc,dc->abd"}: f32[2,3,5]
//
// On entry: evaluated operands. On exit: one product less than there are operands, with reduce_sums
// before them and, for a single operand, a transpose behind. `...` is named from its last axis, so
// that operands with fewer leading axes line up as broadcasts do. An intermediate product keeps the
// axes that the result or a later operand has. It does not choose the order of several products:
// they are taken from the left, as written.
#include "frontend/builtins.h"

#include <string.h>

enum { EINSUM_OPERANDS_MAX = 8 };

// A tensor under way and the names of its axes.
typedef struct {
    Array array; // its factors follow its axes
    const char *name[RANK_MAX];
} Term;

typedef struct {
    Elab *e;
    Loc loc;
    const char *text; // the whole pattern, for messages
    int count;        // of the terms read so far
    Term term[EINSUM_OPERANDS_MAX];
    int out_rank; // of the result, whose names are out
    const char *out[RANK_MAX];
} Einsum;

static bool fail(const Einsum *w, const char *help, const char *what) {
    elab_fail(w->e, w->loc, CODE_AXES, help, "%s: \"%.80s\"", what, w->text);
    return false;
}

static int term_axis(const Term *t, const char *name) {
    for (int i = 0; i < t->array.value->type.rank; i++)
        if (t->name[i] == name)
            return i;
    return -1;
}

// The names of a pattern's axes; `...` becomes ...K counted from the end. -1 after a diagnostic.
static int spell_names(const Einsum *w, const Pattern *p, int rest, const char **out) {
    int rank = 0;
    for (int i = 0; i < p->count; i++) {
        const PatternAxis *axis = &p->axis[i];
        if (!axis->name || p->group_count != p->count) {
            fail(w, "arrange splits and merges axes", "einsum has only named axes");
            return -1;
        }
        const int width = pattern_is_rest(axis) ? rest : 1;
        if (rank + width > RANK_MAX) {
            elab_fail(w->e, w->loc, CODE_RANK, NULL, "a tensor has at most %d axes", RANK_MAX);
            return -1;
        }
        for (int k = 0; k < width; k++)
            out[rank++] = pattern_is_rest(axis)
                              ? intern(w->e->names, arena_format(w->e->arena, "...%d", width - k))
                              : axis->name;
    }
    return rank;
}

static bool has_rest(const Pattern *p) {
    for (int i = 0; i < p->count; i++)
        if (pattern_is_rest(&p->axis[i]))
            return true;
    return false;
}

// One operand and its names. A name has one size in all operands; rest grows to the most axes that
// ... takes.
static bool read_term(Einsum *w, const char *text, size_t bytes, const Array *array, int *rest) {
    Pattern p;
    if (!pattern_parse(w->e, w->loc, text, bytes, &p))
        return false;
    Term *t = &w->term[w->count];
    t->array = *array;
    const int rank = array->value->type.rank;
    const int width = has_rest(&p) ? rank - (p.count - 1) : 0;
    // A negative width: the operand has fewer axes than the pattern names.
    if (width < 0 || (!has_rest(&p) && rank != p.count)) {
        elab_fail(w->e, w->loc, CODE_AXES, NULL, "operand %d of \"%.80s\" is %s", w->count + 1,
                  w->text, type_text(w->e->arena, &array->value->type));
        return false;
    }
    if (width > *rest)
        *rest = width;
    if (spell_names(w, &p, width, t->name) < 0)
        return false;
    // One name, one size.
    for (int o = 0; o < w->count; o++)
        for (int i = 0; i < rank; i++) {
            const int axis = term_axis(&w->term[o], t->name[i]);
            if (axis < 0 || w->term[o].array.value->type.dim[axis] == array->value->type.dim[i])
                continue;
            elab_fail(w->e, w->loc, CODE_AXES, NULL, "axis %s of \"%.80s\" is %lld and %lld",
                      t->name[i], w->text, (long long)w->term[o].array.value->type.dim[axis],
                      (long long)array->value->type.dim[i]);
            return false;
        }
    w->count++;
    return true;
}

// All operands, then the result, whose names must stand in some operand.
static bool read_spec(Einsum *w, const Array *const *operand, int count) {
    size_t left_bytes;
    const char *right;
    if (!pattern_sides(w->e, w->loc, w->text, &left_bytes, &right))
        return false;
    const char *at = w->text, *end = w->text + left_bytes;
    int rest = 0;
    for (int i = 0; i < count; i++) {
        const char *comma = memchr(at, ',', (size_t)(end - at));
        const char *stop = comma ? comma : end;
        // A comma behind each operand but the last.
        if ((comma == NULL) != (i == count - 1))
            return fail(w, NULL, "the pattern has another number of operands");
        if (!read_term(w, at, (size_t)(stop - at), operand[i], &rest))
            return false;
        at = comma ? comma + 1 : end;
    }
    Pattern p;
    if (!pattern_parse(w->e, w->loc, right, strlen(right), &p))
        return false;
    w->out_rank = spell_names(w, &p, rest, w->out);
    for (int i = 0; i < w->out_rank; i++) {
        bool known = false;
        for (int o = 0; o < w->count; o++)
            known = known || term_axis(&w->term[o], w->out[i]) >= 0;
        if (!known)
            return fail(
                w, NULL,
                arena_format(w->e->arena, "axis %s of the result is in no operand", w->out[i]));
    }
    return w->out_rank >= 0;
}

// Whether an operand from `from` on, or the result, still has the axis.
static bool needed_later(const Einsum *w, const char *name, int from) {
    for (int i = 0; i < w->out_rank; i++)
        if (w->out[i] == name)
            return true;
    for (int o = from; o < w->count; o++)
        if (term_axis(&w->term[o], name) >= 0)
            return true;
    return false;
}

// Sums the axes that neither the partner nor anyone later has.
static bool sum_alone(const Einsum *w, Term *t, const Term *partner, int from) {
    unsigned axes = 0;
    int kept = 0;
    Term out = {.array = t->array};
    for (int i = 0; i < t->array.value->type.rank; i++) {
        const bool shared = partner && term_axis(partner, t->name[i]) >= 0;
        if (!shared && !needed_later(w, t->name[i], from)) {
            axes |= 1u << i;
            continue;
        }
        out.name[kept] = t->name[i];
        out.array.factors[kept++] = t->array.factors[i];
    }
    out.array.value = reduce_axes(w->e, w->loc, OP_REDUCE_SUM, t->array.value, axes);
    *t = out;
    return t->array.value != NULL;
}

// The letter of a name in the binary operator's spec.
static char letter_of(const char **seen, int *count, const char *name) {
    int i = 0;
    while (i < *count && seen[i] != name)
        i++;
    if (i == *count)
        seen[(*count)++] = name;
    return (char)('a' + i);
}

// The axes of x times y: the result's own order where this is the last product.
static int product_axes(const Einsum *w, const Term *x, const Term *y, int from,
                        const char **name) {
    int rank = 0;
    // Nothing is to come, so this product is the result.
    if (from == w->count) {
        memcpy(name, w->out, (size_t)w->out_rank * sizeof *name);
        return w->out_rank;
    }
    for (int side = 0; side < 2; side++) {
        const Term *t = side ? y : x;
        for (int i = 0; i < t->array.value->type.rank; i++) {
            // Shared axes are listed with x; what nobody needs later is summed by this product.
            if ((side && term_axis(x, t->name[i]) >= 0) || !needed_later(w, t->name[i], from))
                continue;
            if (rank == RANK_MAX)
                return -1;
            name[rank++] = t->name[i];
        }
    }
    return rank;
}

// x times y, where operands from `from` on are still to come. False after a diagnostic.
static bool multiply(const Einsum *w, Term *x, Term *y, int from) {
    if (!sum_alone(w, x, y, from) || !sum_alone(w, y, x, from))
        return false;
    Term out = {0};
    const int rank = product_axes(w, x, y, from, out.name);
    if (rank < 0) {
        elab_fail(w->e, w->loc, CODE_RANK, NULL, "a product of \"%.80s\" has more than %d axes",
                  w->text, RANK_MAX);
        return false;
    }
    // The spec in letters: a name gets the next of a, b, c, ... where it is first seen.
    const char *seen[3 * RANK_MAX];
    int letters = 0, at = 0;
    char spec[3 * RANK_MAX + 4];
    for (int i = 0; i < x->array.value->type.rank; i++)
        spec[at++] = letter_of(seen, &letters, x->name[i]);
    spec[at++] = ',';
    for (int i = 0; i < y->array.value->type.rank; i++)
        spec[at++] = letter_of(seen, &letters, y->name[i]);
    spec[at++] = '-';
    spec[at++] = '>';
    for (int i = 0; i < rank; i++) {
        spec[at++] = letter_of(seen, &letters, out.name[i]);
        const int axis = term_axis(x, out.name[i]);
        out.array.factors[i] =
            axis >= 0 ? x->array.factors[axis] : y->array.factors[term_axis(y, out.name[i])];
    }
    spec[at] = '\0';
    Value *a = x->array.value, *b = y->array.value;
    // Where the types differ, they meet in f32.
    const DType dtype = a->type.dtype == b->type.dtype ? a->type.dtype : DT_F32;
    Builder *builder = elab_at(w->e, w->loc);
    a = build_cast(builder, a, dtype);
    b = build_cast(builder, b, dtype);
    out.array.value = build_einsum(builder, a, b, arena_text(w->e->arena, spec));
    *x = out;
    return x->array.value != NULL;
}

// A single operand: sums and a transpose.
static bool finish_single(const Einsum *w, Term *t) {
    if (!sum_alone(w, t, NULL, w->count))
        return false;
    int perm[RANK_MAX];
    bool sorted = true;
    Term out = {0};
    for (int i = 0; i < w->out_rank; i++) {
        // Every axis of the result is one of t, as read_spec has checked.
        perm[i] = term_axis(t, w->out[i]);
        sorted = sorted && perm[i] == i;
        out.array.factors[i] = t->array.factors[perm[i]];
    }
    out.array.value = t->array.value;
    if (!sorted)
        out.array.value = build_transpose(elab_at(w->e, w->loc), t->array.value, perm);
    *t = out;
    return t->array.value != NULL;
}

// "b s i, o i, u o -> b s u": (x, w) -> [b, s, o], then with v -> [b, s, u].
Datum einsum_named(Elab *e, Loc loc, const char *spec, const Array *const *operand, int count) {
    Einsum *w = arena_new(e->arena, Einsum);
    w->e = e;
    w->loc = loc;
    w->text = spec;
    if (!read_spec(w, operand, count))
        return datum_error();
    // x is the product of the operands before the i-th.
    Term *x = &w->term[0];
    bool ok = true;
    for (int i = 1; ok && i < count; i++)
        ok = multiply(w, x, &w->term[i], i + 1);
    if (ok && count == 1)
        ok = finish_single(w, x);
    if (!ok)
        return elab_made(e, loc, NULL);
    Array *out = arena_new(e->arena, Array);
    *out = x->array;
    return datum_array(out);
}

// The pattern is the last positional argument, behind any number of tensors.
Datum run_einsum(Elab *e, const BuiltinCall *call) {
    const Array *operand[EINSUM_OPERANDS_MAX];
    int count = 0;
    const char *spec = NULL;
    for (int i = 0; i < call->given_count; i++) {
        const CallArg *arg = &call->given[i];
        if (i + 1 == call->given_count && arg->value.kind == DATUM_TEXT) {
            spec = arg->value.as.text;
            break;
        }
        if (count == EINSUM_OPERANDS_MAX)
            return elab_fail(e, arg->loc, CODE_ARGUMENT, NULL, "einsum takes at most %d tensors",
                             EINSUM_OPERANDS_MAX);
        operand[count] = arith_float_tensor(e, arg->loc, arg->value);
        if (!operand[count++])
            return datum_error();
    }
    if (!spec || count == 0)
        return elab_fail(e, call->loc, CODE_MISSING, "einsum(x, w, \"b i, o i -> b o\")",
                         "einsum takes tensors and at the end a pattern");
    return einsum_named(e, call->loc, spec, operand, count);
}
