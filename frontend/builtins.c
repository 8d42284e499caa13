// The table of builtins, and how a call's arguments find their parameters.
//
// A builtin is one row: its name, its parameters as text, its function. The groups are tables of
// their own, one a file; a search goes through about seventy names, which is less than the work of
// the smallest of them. On entry the arguments are evaluated; a builtin is run only when each fits
// a parameter and none that must be given is missing.
#include "frontend/builtins.h"

#include "ir/check.h"

#include <string.h>

// Pointers to the counts: the value of another file's constant is no constant expression in C.
static const struct {
    const Builtin *at;
    const int *count;
} groups[] = {
    {builtins_pointwise, &builtins_pointwise_count}, {builtins_shape, &builtins_shape_count},
    {builtins_reduce, &builtins_reduce_count},       {builtins_rowwise, &builtins_rowwise_count},
    {builtins_convolve, &builtins_convolve_count},   {builtins_training, &builtins_training_count},
    {builtins_leaf, &builtins_leaf_count},           {builtins_grad, &builtins_grad_count},
    {builtins_emit, &builtins_emit_count},           {builtins_pool, &builtins_pool_count},
};

enum { GROUPS = sizeof groups / sizeof groups[0] };

const Builtin *builtin_find(const char *name) {
    for (int g = 0; g < GROUPS; g++)
        for (int i = 0; i < *groups[g].count; i++)
            if (strcmp(groups[g].at[i].name, name) == 0)
                return &groups[g].at[i];
    return NULL;
}

// For suggestions, in the order of the tables, so that each run says the same.
int builtin_names(Arena *a, const char ***out) {
    int count = 0;
    for (int g = 0; g < GROUPS; g++)
        count += *groups[g].count;
    const char **name = arena_array(a, const char *, count);
    int filled = 0;
    for (int g = 0; g < GROUPS; g++)
        for (int i = 0; i < *groups[g].count; i++)
            name[filled++] = groups[g].at[i].name;
    *out = name;
    return count;
}

// A builtin's declared parameters, read from their text.
typedef struct {
    int count;
    const char *name[BUILTIN_PARAMS_MAX];
    bool optional[BUILTIN_PARAMS_MAX];
    // variadic (`*`): positional arguments are left to the builtin. open (`**`): so are names that
    // are not declared.
    bool variadic, open;
} ParamList;

// Read anew for each call: a dozen words, next to which interning the names is the cost.
static ParamList read_params(Elab *e, const Builtin *b) {
    ParamList out = {0};
    for (const char *at = b->params; *at;) {
        const size_t length = strcspn(at, " ");
        if (length == 2 && memcmp(at, "**", 2) == 0) {
            out.open = true;
        } else if (length == 1 && *at == '*') {
            out.variadic = true;
        } else {
            CHECK(out.count < BUILTIN_PARAMS_MAX);
            out.optional[out.count] = at[length - 1] == '?';
            // The ? is no part of the name.
            out.name[out.count] = intern_span(e->names, at, length - out.optional[out.count]);
            out.count++;
        }
        at += length;
        at += strspn(at, " ");
    }
    return out;
}

// Which parameter the argument is for; -1: none (a variadic or open one). False after a diagnostic.
static bool param_of(Elab *e, const Builtin *b, const ParamList *params, const CallArg *arg,
                     int *position, int *to) {
    *to = -1;
    if (!arg->name) {
        // The builtin finds it in call->given.
        if (params->variadic)
            return true;
        *to = (*position)++;
        if (*to < params->count)
            return true;
        elab_fail(e, arg->loc, CODE_ARGUMENT, NULL, "%s takes at most %d argument%s", b->name,
                  params->count, params->count == 1 ? "" : "s");
        return false;
    }
    // Both are interned, so == compares them.
    for (int i = 0; i < params->count; i++)
        if (params->name[i] == arg->name)
            *to = i;
    if (*to >= 0 || params->open)
        return true;
    elab_fail(e, arg->loc, CODE_ARGUMENT, elab_suggest(e, arg->name, params->name, params->count),
              "%s has no argument %s", b->name, arg->name);
    return false;
}

// Positional arguments in order, then by name; a missing or doubled one is an error before the
// builtin runs.
Datum builtin_call(Elab *e, Loc loc, const Builtin *b, const CallArg *args, int count) {
    const ParamList params = read_params(e, b);
    // A message about an argument that was left out is shown at the call.
    BuiltinCall call = {.loc = loc, .self = b, .given = args, .given_count = count};
    for (int i = 0; i < BUILTIN_PARAMS_MAX; i++) {
        call.arg[i] = datum_absent();
        call.arg_loc[i] = loc;
    }
    int position = 0;
    for (int i = 0; i < count; i++) {
        int to;
        // What failed has been reported: the builtin is not run, and nothing more is said.
        if (args[i].value.kind == DATUM_ERROR || !param_of(e, b, &params, &args[i], &position, &to))
            return datum_error();
        // Not bound to a parameter; it stays in given.
        if (to < 0)
            continue;
        if (call.arg[to].kind != DATUM_ABSENT)
            return elab_fail(e, args[i].loc, CODE_ARGUMENT, NULL,
                             "argument %s of %s is given twice", params.name[to], b->name);
        call.arg[to] = args[i].value;
        call.arg_loc[to] = args[i].loc;
    }
    for (int i = 0; i < params.count; i++)
        if (!params.optional[i] && call.arg[i].kind == DATUM_ABSENT)
            return elab_fail(e, loc, CODE_MISSING, NULL, "argument %s of %s is missing",
                             params.name[i], b->name);
    return b->run(e, &call);
}

// none counts as not given, so that f(x, scale = none) can pass a default on.
bool builtin_is_given(const BuiltinCall *call, int index) {
    return call->arg[index].kind != DATUM_ABSENT && call->arg[index].kind != DATUM_NONE;
}

// Always DATUM_ERROR, so that a builtin can return it.
Datum builtin_wrong(Elab *e, const BuiltinCall *call, int index, const char *wanted) {
    return elab_fail(e, call->arg_loc[index], CODE_KIND, NULL, "%s wants %s, got %s",
                     call->self->name, wanted, datum_describe(e->arena, call->arg[index]));
}

// Whole numbers count too. *out holds the fallback after a diagnostic as well.
bool builtin_number(Elab *e, const BuiltinCall *call, int index, double fallback, double *out) {
    *out = fallback;
    if (!builtin_is_given(call, index))
        return true;
    if (!datum_is_number(call->arg[index])) {
        builtin_wrong(e, call, index, "a number here");
        return false;
    }
    *out = datum_number(call->arg[index]);
    return true;
}

// A float is refused even where it is whole: 2.0 counts nothing.
bool builtin_int(Elab *e, const BuiltinCall *call, int index, int64_t fallback, int64_t *out) {
    *out = fallback;
    if (!builtin_is_given(call, index))
        return true;
    if (call->arg[index].kind != DATUM_INT) {
        builtin_wrong(e, call, index, "a whole number here");
        return false;
    }
    *out = call->arg[index].as.whole;
    return true;
}

bool builtin_bool(Elab *e, const BuiltinCall *call, int index, bool fallback, bool *out) {
    *out = fallback;
    if (!builtin_is_given(call, index))
        return true;
    if (call->arg[index].kind != DATUM_BOOL) {
        builtin_wrong(e, call, index, "true or false here");
        return false;
    }
    *out = call->arg[index].as.truth;
    return true;
}

// Without a fallback: where the argument was left out this is a diagnostic, too.
const char *builtin_text(Elab *e, const BuiltinCall *call, int index) {
    if (call->arg[index].kind == DATUM_TEXT)
        return call->arg[index].as.text;
    builtin_wrong(e, call, index, "a text here");
    return NULL;
}

// A number or bool becomes a scalar constant of the graph.
const Array *builtin_array(Elab *e, const BuiltinCall *call, int index) {
    return arith_tensor(e, call->arg_loc[index], call->arg[index]);
}

const Array *builtin_float_array(Elab *e, const BuiltinCall *call, int index) {
    return arith_float_tensor(e, call->arg_loc[index], call->arg[index]);
}

// A scalar has no axes: there even the fallback is refused.
bool builtin_axis(Elab *e, const BuiltinCall *call, int index, int rank, int fallback, int *out) {
    int64_t axis;
    if (!builtin_int(e, call, index, fallback, &axis))
        return false;
    // In 64 bits until the range is known.
    const int64_t at = axis < 0 ? axis + rank : axis;
    if (at < 0 || at >= rank) {
        elab_fail(e, call->arg_loc[index], CODE_AXIS, NULL,
                  "%s: a tensor of %d axes has no axis %lld", call->self->name, rank,
                  (long long)axis);
        return false;
    }
    *out = (int)at;
    return true;
}
