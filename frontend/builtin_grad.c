// grad(y, x): the gradient of the sum of y's elements by x, as values of the entry like any other.
//
// It is made on the spot, from the graph as far as it stands: what y was computed from x by is gone
// through backwards (ir/reverse.c). So a gradient may feed what is differentiated next, in a loop
// or in another grad, and nothing behind the elaborator has to know that it is one.
//
// On entry: y and x are tensors of the entry, x one of them or a list. On exit: the gradients, in
// x's types; or a diagnostic where y does not depend on an x, or an operator in between has no
// gradient rule. Cost: O(operators since the first x), counted as work.
#include "frontend/builtins.h"

#include "ir/reverse.h"

enum { GRAD_OF, GRAD_BY };

// Whether v is a float tensor; else a diagnostic says so.
static bool is_differentiable(Elab *e, const BuiltinCall *call, int index, Datum d) {
    if (d.kind == DATUM_TENSOR && dtype_is_float(d.as.array->value->type.dtype))
        return true;
    // A number has no operator behind it, so nothing can depend on it.
    elab_fail(e, call->arg_loc[index], CODE_GRAD, NULL,
              "grad wants tensors of floats that the entry computes, got %s",
              datum_describe(e->arena, d));
    return false;
}

// The operators from the first of the x on: nothing before them can depend on one.
static int first_position(const Graph *g, Value *const *x, int count) {
    int first = g->node_count;
    for (int i = g->node_count - 1; i >= 0; i--)
        for (int k = 0; k < count; k++)
            if (g->node[i] == x[k]->def)
                first = i;
    return first;
}

// Walks back with tables of its own, which are gone afterwards: a loop of grads costs no memory but
// its operators.
static bool find_gradients(Elab *e, const BuiltinCall *call, Value *y, Value *const *x, int count,
                           Value **out) {
    enum { NODES_A_STEP = 8 }; // a node walked over costs less than an expression
    Graph *g = e->builder.g;
    const int first = first_position(g, x, count), span = g->node_count - first;
    if (!elab_spend(e, call->loc, 1 + span / NODES_A_STEP))
        return false;
    Arena *scratch = arena_create();
    // The list grows under the walk: what is walked is its copy.
    Node **node = arena_grow(scratch, g->node + first, (size_t)span, (size_t)span, sizeof(Node *));
    const Reverse r = {.g = g,
                       .diag = e->diag,
                       .scratch = scratch,
                       .node = node,
                       .node_count = span,
                       .phase = PHASE_FORWARD,
                       .operators_max = OPERATORS_MAX};
    const ReverseResult result =
        reverse_gradients(&r, elab_user_loc(e, call->loc), y, 1, x, count, out);
    arena_release(scratch);
    if (result == REVERSE_FAILED)
        diag_note(e->diag, call->loc, "differentiated by this grad");
    elab_at(e, call->loc); // says so where there are too many operators now
    return result == REVERSE_DONE;
}

static Datum run_grad(Elab *e, const BuiltinCall *call) {
    const Datum y = call->arg[GRAD_OF], by = call->arg[GRAD_BY];
    const bool many = datum_is_items(by);
    const int count = many ? by.as.items->count : 1;
    const Datum *at = many ? by.as.items->at : &call->arg[GRAD_BY];
    if (!e->entry)
        return elab_fail(e, call->loc, CODE_MISPLACED, NULL, "grad stands outside of an entry");
    if (!is_differentiable(e, call, GRAD_OF, y))
        return datum_error();
    Value **x = arena_array(e->arena, Value *, count + 1);
    Value **gradient = arena_array(e->arena, Value *, count + 1);
    for (int i = 0; i < count; i++) {
        if (!is_differentiable(e, call, GRAD_BY, at[i]))
            return datum_error();
        x[i] = at[i].as.array->value;
    }
    if (!find_gradients(e, call, y.as.array->value, x, count, gradient))
        return datum_error();
    Datum *out = arena_array(e->arena, Datum, count + 1);
    for (int i = 0; i < count; i++) {
        if (!gradient[i])
            return elab_fail(e, call->arg_loc[GRAD_OF], CODE_GRAD,
                             "stop, sign, comparisons and whole numbers let no gradient through",
                             "grad: %s does not depend on %s", datum_describe(e->arena, y),
                             datum_describe(e->arena, at[i]));
        Array *array = arena_new(e->arena, Array);
        *array = *at[i].as.array; // a gradient's sizes come apart as those of what it is for
        array->value = gradient[i];
        out[i] = datum_array(array);
    }
    return many ? datum_items(e->arena, DATUM_TUPLE, out, count) : out[0];
}

static Datum run_copy(Elab *e, const BuiltinCall *call) {
    if (call->arg[0].kind != DATUM_INSTANCE)
        return builtin_wrong(e, call, 0, "an instance");
    return elab_copy_instance(e, call->loc, call->arg[0].as.instance);
}

const Builtin builtins_grad[] = {
    {"grad", "y x", run_grad, OP_COUNT},
    {"copy", "instance", run_copy, OP_COUNT},
};
const int builtins_grad_count = sizeof builtins_grad / sizeof builtins_grad[0];
