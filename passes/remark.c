// Remarks: what a pass chose and what it cost, kept in order for plim-dump and the plan.
#include "passes/pass.h"

// The texts are copied, for a subject may lie in scratch, which dies with the pass.
void remark_add(PassCtx *cx, const char *pass, const char *subject, const char *format, ...) {
    Remarks *r = &cx->remarks;
    if (r->count == r->capacity) {
        const int capacity = r->capacity ? 2 * r->capacity : 16;
        r->item =
            arena_grow(cx->arena, r->item, (size_t)r->count, (size_t)capacity, sizeof(Remark));
        r->capacity = capacity;
    }
    va_list args;
    va_start(args, format);
    const char *text = arena_vformat(cx->arena, format, args);
    va_end(args);
    r->item[r->count++] = (Remark){.pass = arena_text(cx->arena, pass),
                                   .subject = arena_text(cx->arena, subject ? subject : ""),
                                   .text = text};
}

const char *remark_value(Arena *a, const Value *v) {
    if (v->name)
        return v->name;
    const char *op = op_info(v->def->op)->name, *scope = v->def->scope;
    return scope && *scope ? arena_format(a, "%s.%s", scope, op) : op;
}

// Counts rewrites over all passes, so that a limit cuts the sequence at one point: the first wrong
// rewrite is then found by bisection. A limit of 0 means none.
bool rewrite_allowed(PassCtx *cx) {
    const int64_t limit = cx->options ? cx->options->rewrite_limit : 0;
    if (limit > 0 && cx->rewrites >= limit)
        return false;
    cx->rewrites++;
    return true;
}
