// Builtins that move elements: concat, stack, split, pad, take, filled tensors; and those on lists
// and none.
//
// Most are views to later passes. Shapes are checked here, so that messages speak of the function
// called; sizes that come from the user pass elab_dim before any product of them is taken. The last
// rows of the table are names the language has and this version does not build.
#include "frontend/builtins.h"

#include "ir/check.h"

#include <string.h>

// The tensors of concat(a, b, ...) or concat([a, b]), brought to one element type. NULL after a
// diagnostic.
static const Array **tensors(Elab *e, const BuiltinCall *call, int *count) {
    // Phase 1: the positional arguments. `axis = 1` is among those given, too.
    int positional = 0;
    for (int i = 0; i < call->given_count; i++)
        positional += !call->given[i].name;
    Datum *all = arena_array(e->arena, Datum, positional + 1);
    int at = 0;
    for (int i = 0; i < call->given_count; i++)
        if (!call->given[i].name)
            all[at++] = call->given[i].value;
    const Items given = {at, all};
    // A single list stands for its elements.
    const Items *items = at == 1 && datum_is_items(all[0]) ? all[0].as.items : &given;
    if (items->count == 0) {
        elab_fail(e, call->loc, CODE_MISSING, NULL, "%s of nothing", call->self->name);
        return NULL;
    }
    // Phase 2: tensors of them; a number becomes a scalar constant.
    const Array **out = arena_array(e->arena, const Array *, items->count);
    bool mixed = false;
    for (int i = 0; i < items->count; i++) {
        out[i] = arith_tensor(e, call->loc, items->at[i]);
        if (!out[i])
            return NULL;
        mixed = mixed || out[i]->value->type.dtype != out[0]->value->type.dtype;
    }
    // Phase 3: where element types differ, all become f32.
    for (int i = 0; mixed && i < items->count; i++) {
        Array *cast = arena_new(e->arena, Array);
        *cast = *out[i];
        cast->value = build_cast(elab_at(e, call->loc), cast->value, DT_F32);
        out[i] = cast;
    }
    *count = items->count;
    return out;
}

// All axes but the one are equal, and keep their factors.
static Datum run_concat(Elab *e, const BuiltinCall *call) {
    int count, axis;
    const Array **x = tensors(e, call, &count);
    if (!x)
        return datum_error();
    const Type *type = &x[0]->value->type;
    if (!builtin_axis(e, call, 0, type->rank, 0, &axis))
        return datum_error();
    Value **v = arena_array(e->arena, Value *, count);
    Array *out = arena_new(e->arena, Array);
    *out = *x[0];
    // The joined axis is a sum of sizes, no product of them.
    out->factors[axis] = NULL;
    // x[i] [..., n_i, ...], joined to [..., n_0 + n_1 + ..., ...].
    for (int i = 0; i < count; i++) {
        const Type *have = &x[i]->value->type;
        bool fits = have->rank == type->rank;
        for (int k = 0; fits && k < type->rank; k++)
            fits = k == axis || have->dim[k] == type->dim[k];
        if (!fits)
            return elab_fail(e, call->loc, CODE_OPERAND, NULL, "concat along axis %d of %s and %s",
                             axis, type_text(e->arena, type), type_text(e->arena, have));
        v[i] = x[i]->value;
    }
    // One operand joined is itself.
    out->value = count == 1 ? v[0] : build_concat(elab_at(e, call->loc), v, count, axis);
    return out->value ? datum_array(out) : elab_made(e, call->loc, NULL);
}

// Each operand gets an axis of size 1, along which they are joined.
static Datum run_stack(Elab *e, const BuiltinCall *call) {
    int count, axis;
    const Array **x = tensors(e, call, &count);
    if (!x)
        return datum_error();
    const Type *type = &x[0]->value->type;
    if (type->rank == RANK_MAX)
        return elab_fail(e, call->loc, CODE_RANK, NULL, "a tensor has at most %d axes", RANK_MAX);
    // Rank + 1, since the new axis may also become the last.
    if (!builtin_axis(e, call, 0, type->rank + 1, 0, &axis))
        return datum_error();
    // x[i] [a, b] becomes [a, 1, b] for axis 1; all of them joined are [a, count, b].
    int64_t dim[RANK_MAX];
    for (int i = 0; i <= type->rank; i++)
        dim[i] = i < axis ? type->dim[i] : i == axis ? 1 : type->dim[i - 1];
    Value **v = arena_array(e->arena, Value *, count);
    for (int i = 0; i < count; i++) {
        if (!type_same_shape(&x[i]->value->type, type))
            return elab_fail(e, call->loc, CODE_OPERAND, NULL, "stack of %s and %s",
                             type_text(e->arena, type), type_text(e->arena, &x[i]->value->type));
        v[i] = build_reshape(elab_at(e, call->loc), x[i]->value, type->rank + 1, dim);
    }
    return elab_made(e, call->loc, build_concat(elab_at(e, call->loc), v, count, axis));
}

// split(x, 3): equal parts; split(x, [4, 2]): parts of these sizes.
static Datum run_split(Elab *e, const BuiltinCall *call) {
    const Array *x = builtin_array(e, call, 0);
    int axis;
    if (!x || !builtin_axis(e, call, 2, x->value->type.rank, 0, &axis))
        return datum_error();
    const int64_t dim = x->value->type.dim[axis];
    const Datum sizes = call->arg[1];
    // Whatever is neither a number nor a list leaves count at 0, which is refused.
    int64_t count = sizes.kind == DATUM_INT ? sizes.as.whole : 0, total = 0;
    if (datum_is_items(sizes))
        count = sizes.as.items->count;
    // A part has at least one element, so there are at most dim of them; and no list is longer than
    // ITEMS_MAX.
    const int64_t most = dim < ITEMS_MAX ? dim : ITEMS_MAX;
    if (count < 1 || count > most)
        return elab_fail(e, call->arg_loc[1], CODE_VALUE, NULL,
                         "split wants a number of parts in 1 .. %lld or a list of sizes",
                         (long long)most);
    int64_t *part = arena_array(e->arena, int64_t, count);
    for (int i = 0; i < count; i++) {
        // Where dim / count has a remainder the parts don't add up to dim, which is told below.
        part[i] = dim / count;
        if (datum_is_items(sizes) &&
            !elab_dim(e, call->arg_loc[1], sizes.as.items->at[i], &part[i]))
            return datum_error();
        if (__builtin_add_overflow(total, part[i], &total))
            total = -1;
    }
    if (total != dim)
        return elab_fail(e, call->arg_loc[1], CODE_VALUE, NULL, "an axis of %lld does not split so",
                         (long long)dim);
    const Attr attr[] = {attr_int("axis", axis), attr_ints("sizes", part, (int)count)};
    const Node *n = build_node(elab_at(e, call->loc), OP_SPLIT, &x->value, 1, attr, 2);
    if (!n)
        return elab_made(e, call->loc, NULL);
    Datum *out = arena_array(e->arena, Datum, count);
    for (int i = 0; i < count; i++) {
        Array *array = arena_new(e->arena, Array);
        *array = *x;
        // Each part is one result of the same node.
        array->value = &n->result[i];
        array->factors[axis] = NULL;
        out[i] = datum_array(array);
    }
    return datum_items(e->arena, DATUM_TUPLE, out, (int)count);
}

// Zeros before and after the elements of one axis.
static Datum run_pad(Elab *e, const BuiltinCall *call) {
    const Array *x = builtin_array(e, call, 0);
    int axis;
    int64_t before, after;
    if (!x || !builtin_axis(e, call, 1, x->value->type.rank, 0, &axis) ||
        !builtin_int(e, call, 2, 0, &before) || !builtin_int(e, call, 3, 0, &after))
        return datum_error();
    // Each alone is bounded here, so that the operator can add them to the size safely.
    if (before < 0 || after < 0 || before > DIM_MAX || after > DIM_MAX)
        return elab_fail(e, call->loc, CODE_VALUE, NULL, "pad by %lld and %lld", (long long)before,
                         (long long)after);
    int64_t first[RANK_MAX] = {0}, last[RANK_MAX] = {0};
    first[axis] = before;
    last[axis] = after;
    // The operator wants a number for every axis; all but this one stay as they are.
    const Attr attr[] = {attr_ints("before", first, x->value->type.rank),
                         attr_ints("after", last, x->value->type.rank)};
    return elab_made(e, call->loc, build_op(elab_at(e, call->loc), OP_PAD, &x->value, 1, attr, 2));
}

// x[..., index]: one element of each row.
static Datum run_take(Elab *e, const BuiltinCall *call) {
    const Array *x = builtin_array(e, call, 0), *index = builtin_array(e, call, 1);
    if (!x || !index)
        return datum_error();
    // x [..., n], index i32 [...]; the result [...].
    const Type *a = &x->value->type, *b = &index->value->type;
    bool fits = b->dtype == DT_I32 && a->rank == b->rank + 1;
    for (int i = 0; fits && i < b->rank; i++)
        fits = a->dim[i] == b->dim[i];
    if (!fits)
        return elab_fail(e, call->loc, CODE_OPERAND, "x is [..., n], the index i32 [...]",
                         "take of %s by %s", type_text(e->arena, a), type_text(e->arena, b));
    Value *const in[] = {x->value, index->value};
    return elab_made(e, call->loc, build_op(elab_at(e, call->loc), OP_TAKE, in, 2, NULL, 0));
}

// A shape as a list, a single size, or a tensor whose shape it is.
static bool read_shape(Elab *e, const BuiltinCall *call, int index, Shape *out) {
    const Datum d = call->arg[index];
    const Items one = {1, &d};
    *out = (Shape){0};
    // zeros(x) has the shape of x, and its sizes come apart as those of x do.
    if (d.kind == DATUM_TENSOR) {
        out->rank = d.as.array->value->type.rank;
        memcpy(out->dim, d.as.array->value->type.dim, sizeof out->dim);
        memcpy(out->factors, d.as.array->factors, sizeof out->factors);
        return true;
    }
    const Items *items = datum_is_items(d) ? d.as.items : &one;
    if (items->count > RANK_MAX) {
        elab_fail(e, call->arg_loc[index], CODE_RANK, NULL, "a tensor has at most %d axes",
                  RANK_MAX);
        return false;
    }
    for (int i = 0; i < items->count; i++) {
        if (!elab_dim(e, call->arg_loc[index], items->at[i], &out->dim[i]))
            return false;
        out->factors[i] = items->at[i].factors;
    }
    out->rank = items->count;
    // f32 stands for all element types: none has more bytes.
    const Type type = type_make(DT_F32, out->rank, out->dim);
    if (type_check(&type))
        return true;
    elab_fail(e, call->arg_loc[index], CODE_OVERFLOW, NULL,
              "a tensor of that shape has 2^62 bytes or more");
    return false;
}

// Without an element type it is f32.
// zeros, ones, full: one constant of that shape, which costs no memory.
static Datum filled(Elab *e, const BuiltinCall *call, int dtype_index, double value) {
    Shape shape;
    DType dtype = DT_F32;
    if (!read_shape(e, call, 0, &shape))
        return datum_error();
    if (builtin_is_given(call, dtype_index)) {
        if (call->arg[dtype_index].kind != DATUM_DTYPE)
            return builtin_wrong(e, call, dtype_index, "an element type");
        dtype = call->arg[dtype_index].as.dtype;
    }
    Array *out = arena_new(e->arena, Array);
    memcpy(out->factors, shape.factors, sizeof out->factors);
    out->value =
        build_constant(elab_at(e, call->loc), type_make(dtype, shape.rank, shape.dim), value);
    return out->value ? datum_array(out) : elab_made(e, call->loc, NULL);
}

// zeros and ones are one function, which asks by what name it was called.
static Datum run_zeros(Elab *e, const BuiltinCall *call) {
    return filled(e, call, 1, strcmp(call->self->name, "ones") == 0);
}

static Datum run_full(Elab *e, const BuiltinCall *call) {
    double value;
    return builtin_number(e, call, 1, 0, &value) ? filled(e, call, 2, value) : datum_error();
}

// i32: 0, 1, 2, ... along one axis of the shape, repeated along all others.
static Datum run_iota(Elab *e, const BuiltinCall *call) {
    Shape shape;
    int axis;
    if (!read_shape(e, call, 0, &shape) || !builtin_axis(e, call, 1, shape.rank, 0, &axis))
        return datum_error();
    const Attr attr[] = {attr_ints("shape", shape.dim, shape.rank), attr_int("axis", axis)};
    return elab_made(e, call->loc, build_op(elab_at(e, call->loc), OP_IOTA, NULL, 0, attr, 2));
}

// The first that is not none.
// Gives a default: first(x, y) is y where x is none.
static Datum run_first(Elab *e, const BuiltinCall *call) {
    (void)e;
    return call->arg[0].kind == DATUM_NONE ? call->arg[1] : call->arg[0];
}

// Of compile-time lists only. A tensor's sizes are asked axis by axis.
static Datum run_len(Elab *e, const BuiltinCall *call) {
    if (!datum_is_items(call->arg[0]))
        return builtin_wrong(e, call, 0, "a list (x.dim(0) is the size of a tensor's axis)");
    return datum_int(call->arg[0].as.items->count);
}

// In the table so that the name is known: a clear refusal is better than "not defined".
static Datum run_unsupported(Elab *e, const BuiltinCall *call) {
    return elab_fail(e, call->loc, CODE_UNSUPPORTED, NULL, "this version has no operator %s yet",
                     call->self->name);
}

// Only pointwise functions read the operator's column; here it says what is made in the end.
const Builtin builtins_shape[] = {
    {"arrange", "x pattern **", run_arrange, OP_RESHAPE},
    {"einsum", "*", run_einsum, OP_EINSUM},
    {"concat", "* axis?", run_concat, OP_CONCAT},
    {"stack", "* axis?", run_stack, OP_CONCAT},
    {"split", "x parts axis?", run_split, OP_SPLIT},
    {"pad", "x axis before? after?", run_pad, OP_PAD},
    {"take", "x index", run_take, OP_TAKE},
    {"zeros", "shape dtype?", run_zeros, OP_CONSTANT},
    {"ones", "shape dtype?", run_zeros, OP_CONSTANT},
    {"full", "shape value dtype?", run_full, OP_CONSTANT},
    {"iota", "shape axis?", run_iota, OP_IOTA},
    {"first", "x y", run_first, OP_CONSTANT},
    {"len", "list", run_len, OP_CONSTANT},
    // Named in the language, not built yet.
    {"top_k", "* **", run_unsupported, OP_CONSTANT},
    {"dispatch", "* **", run_unsupported, OP_CONSTANT},
    {"grouped", "* **", run_unsupported, OP_CONSTANT},
    {"combine", "* **", run_unsupported, OP_CONSTANT},
    {"load", "* **", run_unsupported, OP_CONSTANT},
};
const int builtins_shape_count = sizeof builtins_shape / sizeof builtins_shape[0];
