// Instances: labelled calls with open arguments, whose parameters all their calls share; copies of
// them; wrapped calls.
//
//     net: decoder(_)          parameters under "net", made when it is first called
//     ema: copy(net)           the same function over parameters of its own under "ema": not
//                              trained, saved, starting at the values of net's
//     ema <- mix(ema, net, t)  once for each parameter; in the expression an instance stands for
//                              its part of that name
//     at "net.q" { wrap = lora(_, _) }   `q: f(x, n)` in net becomes lora(base, x), and base(x) is
//                              what was wrapped, with its parameters where they were
//
// A copy is known by its scope: a leaf made under it looks up there what it is a copy of
// (elab_copied_path). So nothing is copied before it is asked for, in whatever order.
#include "frontend/elaborate.h"

#include "frontend/builtins.h"
#include "ir/check.h"

#include <string.h>

struct Instance {
    const char *scope; // the label's path, under which its parameters are
    Datum callee;
    const CallArg *args; // as written; holes have no value yet
    int count;
    Loc loc;        // of the labelled call
    bool unwrapped; // the base of a wrapped call: not wrapped again
};

Datum elab_instance(Elab *e, Loc loc, const char *scope, Datum callee, const CallArg *args,
                    int count) {
    if (callee.kind != DATUM_FUNCTION && callee.kind != DATUM_BUILTIN &&
        callee.kind != DATUM_INSTANCE)
        return elab_apply(e, loc, callee, NULL, 0); // says that it can't be called
    Instance *in = arena_new(e->arena, Instance);
    *in = (Instance){scope, callee, args, count, loc, false};
    return (Datum){.kind = DATUM_INSTANCE, .as.instance = in};
}

// What is left of the path behind the scope: "q.weight" of "net.q.weight" under "net". NULL where
// it is not beneath.
static const char *beneath(const char *scope, const char *path) {
    const size_t length = strlen(scope);
    return strncmp(scope, path, length) == 0 && path[length] == '.' ? path + length + 1 : NULL;
}

// --- calls ---

// The arguments of the list with its holes filled, by position, from the call; what no hole took
// comes behind. The number of arguments, or -1 where a hole is left open.
static int fill_holes(const CallArg *open, int open_count, const CallArg *args, int count,
                      CallArg *out) {
    // used: positional arguments of the call that have filled a hole.
    int used = 0, total = 0;
    for (int i = 0; i < open_count; i++) {
        out[total] = open[i];
        if (open[i].hole) {
            while (used < count && args[used].name)
                used++;
            if (used == count)
                return -1;
            out[total].value = args[used].value;
            out[total].loc = args[used++].loc;
            out[total].hole = false;
        }
        total++;
    }
    for (int i = 0; i < count; i++)
        if (args[i].name || i >= used)
            out[total++] = args[i];
    return total;
}

// The last of the model's rules that wraps the call of this path, or NULL.
static Rule *wrapping_rule(Elab *e, const char *scope) {
    Rule *found = NULL;
    for (int i = 0; i < e->rules.count; i++)
        if (e->rules.at[i]->wrap && rule_match_scope(e->rules.at[i], scope))
            found = e->rules.at[i];
    return found;
}

// wrap(base, x): base is the call with its first argument open again.
static Datum apply_wrapped(Elab *e, Loc loc, const Rule *rule, const char *scope, Datum callee,
                           const CallArg *args, int count) {
    int first = 0;
    while (first < count && args[first].name)
        first++;
    if (first == count)
        return elab_fail(e, loc, CODE_WRAP, NULL,
                         "%s can't be wrapped: it has no argument by position", scope);
    CallArg *open = arena_grow(e->arena, args, (size_t)count, (size_t)count, sizeof *open);
    open[first] = (CallArg){.loc = args[first].loc, .hole = true, .value = datum_absent()};
    Instance *base = arena_new(e->arena, Instance);
    *base = (Instance){scope, callee, open, count, loc, true};
    const CallArg given[] = {{.loc = loc, .value = {.kind = DATUM_INSTANCE, .as.instance = base}},
                             args[first]};
    const Wrap *wrap = rule->wrap;
    CallArg *all = arena_array(e->arena, CallArg, wrap->count + 2);
    const int total = fill_holes(wrap->args, wrap->count, given, 2, all);
    return elab_apply(e, loc, wrap->callee, all, total);
}

Datum elab_apply_in(Elab *e, Loc loc, const char *scope, Datum callee, const CallArg *args,
                    int count) {
    Application application = {.scope = scope};
    Application *const outer = e->application;
    e->application = &application;
    Rule *rule = wrapping_rule(e, scope);
    if (rule)
        rule->wrapped = true;
    const Datum out = rule ? apply_wrapped(e, loc, rule, scope, callee, args, count)
                           : elab_apply(e, loc, callee, args, count);
    e->application = outer;
    return out;
}

Datum elab_call_instance(Elab *e, Loc loc, const Instance *in, const CallArg *args, int count) {
    CallArg *all = arena_array(e->arena, CallArg, in->count + count + 1);
    const int total = fill_holes(in->args, in->count, args, count, all);
    if (total < 0)
        return elab_fail(e, loc, CODE_MISSING, NULL, "the instance has an open argument left");
    // Each call reaches the instance's paths anew: this is how they are shared.
    if (!in->unwrapped)
        return elab_apply_in(e, loc, in->scope, in->callee, all, total);
    Application application = {.scope = in->scope};
    Application *const outer = e->application;
    e->application = &application;
    const Datum out = elab_apply(e, loc, in->callee, all, total);
    e->application = outer;
    return out;
}

// --- copies ---

// The copy whose scope the path is beneath, or NULL.
static const Copy *copy_above(const Elab *e, const char *path) {
    for (int i = 0; i < e->copy_count; i++)
        if (beneath(e->copy[i].scope, path))
            return &e->copy[i];
    return NULL;
}

const char *elab_copied_path(Elab *e, const char *path) {
    const Copy *copy = copy_above(e, path);
    if (!copy)
        return NULL;
    return intern(e->names, arena_format(e->arena, "%s.%s", copy->of, beneath(copy->scope, path)));
}

// Every entry runs the model's body again, so a copy may be known already.
static void remember_copy(Elab *e, const char *scope, const char *of) {
    for (int i = 0; i < e->copy_count; i++)
        if (e->copy[i].scope == scope)
            return;
    if (e->copy_count == e->copy_capacity) {
        const int capacity = e->copy_capacity ? e->copy_capacity * 2 : 4;
        e->copy =
            arena_grow(e->arena, e->copy, (size_t)e->copy_count, (size_t)capacity, sizeof *e->copy);
        e->copy_capacity = capacity;
    }
    e->copy[e->copy_count++] = (Copy){scope, of};
}

Datum elab_copy_instance(Elab *e, Loc loc, const Instance *of) {
    const char *scope = e->application->scope;
    if (!scope[0] || scope == of->scope || beneath(scope, of->scope) || beneath(of->scope, scope))
        return elab_fail(e, loc, CODE_LABEL, "name: copy(net)",
                         "a copy needs a label, under which its parameters are");
    remember_copy(e, scope, of->scope);
    Instance *in = arena_new(e->arena, Instance);
    *in = *of;
    in->scope = scope;
    in->loc = loc;
    return (Datum){.kind = DATUM_INSTANCE, .as.instance = in};
}

// --- instances as all of their parts ---

// The instance's state of that name, made where a copy does not have it yet. NULL after a
// diagnostic.
static State *part_of(Elab *e, Loc loc, const Instance *in, const char *name) {
    const char *path = intern(e->names, arena_format(e->arena, "%s.%s", in->scope, name));
    State *s = module_find_state(e->module, path);
    const char *of = s ? NULL : elab_copied_path(e, path);
    State *source = of ? module_find_state(e->module, of) : NULL;
    if (source)
        s = elab_copy_state(e, source, path);
    if (!s)
        elab_fail(e, loc, CODE_NAME, "instances in such an expression have the same parameters",
                  "%s has no parameter %s", in->scope, name);
    return s;
}

Datum elab_instance_part(Elab *e, Loc loc, const Instance *in) {
    State *s = part_of(e, loc, in, e->part);
    return s ? elab_state_value(e, s) : datum_error();
}

// Evaluates and stores the expression once for each float parameter and saved state there is under
// the instance, or under what it is a copy of.
void elab_store_instance(Elab *e, const Stmt *stmt, const Instance *target) {
    // What a copy of a copy is a copy of at last.
    const char *scope = target->scope;
    for (int i = e->copy_count - 1; i >= 0; i--)
        if (e->copy[i].scope == scope)
            scope = e->copy[i].of;
    // Copies that are made on the way come behind.
    const int count = e->module->state_count;
    int stored = 0;
    const char *const outer = e->part;
    for (int i = 0; i < count && !e->stopped; i++) {
        const State *s = e->module->state[i];
        const char *name = beneath(scope, s->name);
        if (!name || !dtype_is_float(s->type.dtype) ||
            (s->kind != STATE_PARAM && s->kind != STATE_SAVED))
            continue;
        State *to = part_of(e, stmt->loc, target, name);
        e->part = name;
        const Datum value = elab_expr(e, stmt->value);
        e->part = outer;
        if (to && value.kind != DATUM_ERROR)
            elab_store_whole(e, stmt->loc, to, value);
        stored++;
    }
    if (stored == 0)
        elab_fail(e, stmt->loc, CODE_STORE, "call it first: its parameters are made by its calls",
                  "%s has no parameters yet", target->scope);
}
