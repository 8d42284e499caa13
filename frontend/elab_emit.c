// emit and emitted: values that leave a function without being handed up through every caller, such
// as the auxiliary losses and statistics of layers.
//
//     emit balance = x         in scope "h.3.moe": kept as "h.3.moe.balance"
//     emitted("h.*.moe.*")     the list of what was kept under such paths, in program order
//
// The values belong to the entry being elaborated: emitted sees what was emitted before it there. A
// path may be emitted to more than once (by the calls of an instance, or a loop without labels) and
// then stands in the list as often. Cost: one glob match for each value kept.
#include "frontend/builtins.h"

void elab_emit(Elab *e, const Stmt *s) {
    const Datum value = elab_expr(e, s->value);
    if (value.kind == DATUM_ERROR)
        return;
    if (!e->entry) {
        elab_fail(e, s->loc, CODE_MISPLACED, NULL, "emit stands outside of an entry");
        return;
    }
    if (e->emitted_count == e->emitted_capacity) {
        const int capacity = e->emitted_capacity ? 2 * e->emitted_capacity : 16;
        e->emitted = arena_grow(e->arena, e->emitted, (size_t)e->emitted_count, (size_t)capacity,
                                sizeof *e->emitted);
        e->emitted_capacity = capacity;
    }
    const char *scope = e->application->scope;
    e->emitted[e->emitted_count++] =
        (Emitted){arena_format(e->arena, "%s%s%s", scope, scope[0] ? "." : "", s->name[0]), value};
}

// A pattern that finds nothing is most likely misspelled, or stands above what it means.
static Datum nothing_emitted(Elab *e, const BuiltinCall *call, const char *pattern) {
    const char **known = arena_array(e->arena, const char *, e->emitted_count + 1);
    for (int i = 0; i < e->emitted_count; i++)
        known[i] = e->emitted[i].path;
    const char *help = e->emitted_count == 0
                           ? "nothing has been emitted before this line of the entry"
                           : elab_suggest(e, pattern, known, e->emitted_count);
    if (!help)
        help = arena_format(e->arena, "the first value emitted is %s", known[0]);
    return elab_fail(e, call->arg_loc[0], CODE_EMITTED, help, "\"%s\" matches nothing emitted",
                     pattern);
}

// emitted("h.*.balance")
static Datum run_emitted(Elab *e, const BuiltinCall *call) {
    const char *pattern = builtin_text(e, call, 0);
    Glob *glob = pattern ? glob_parse(e->arena, e->diag, call->arg_loc[0], pattern) : NULL;
    if (!glob || !elab_spend(e, call->loc, e->emitted_count))
        return datum_error();
    Datum *at = arena_array(e->arena, Datum, e->emitted_count + 1);
    int count = 0;
    for (int i = 0; i < e->emitted_count; i++)
        if (glob_match(glob, e->emitted[i].path))
            at[count++] = e->emitted[i].value;
    return count > 0 ? datum_items(e->arena, DATUM_LIST, at, count)
                     : nothing_emitted(e, call, pattern);
}

const Builtin builtins_emit[] = {
    {"emitted", "paths", run_emitted, OP_CONSTANT},
};
const int builtins_emit_count = sizeof builtins_emit / sizeof builtins_emit[0];
