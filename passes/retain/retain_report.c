// What is said: why a budget can't be met, and why each value was kept, moved or computed again.
#include "passes/retain/retain_report.h"

#include "ir/check.h"
#include "passes/far_tiles.h"
#include "passes/lower.h"
#include "passes/memory/programs.h"
#include "passes/retain/retain_index.h"
#include "runtime/plan_report.h"

// SAY_MIN: bytes from which on a value is worth a sentence.
enum { SAY_MIN = 64 << 10, NAMED = 5 };

typedef struct {
    const RetainProblem *p;
    int *runs;                 // by task
    const RetainStep **stored; // by value: what stores it, or NULL
    bool *backward;            // by value: a task of the backward pass reads it
} RetainFates;

static RetainFates find_fates(const RetainProblem *p, const RetainSchedule *s, Arena *a) {
    RetainFates f = {.p = p,
                     .runs = arena_array(a, int, p->task_count + 1),
                     .stored = arena_array(a, const RetainStep *, p->value_count + 1),
                     .backward = arena_array(a, bool, p->value_count + 1)};
    for (int i = 0; i < s->count; i++) {
        if (s->step[i].kind == RETAIN_RUN)
            f.runs[s->step[i].what]++;
        else if (s->step[i].kind == RETAIN_STORE)
            f.stored[s->step[i].what] = &s->step[i];
    }
    for (int t = p->forward_count; t < p->task_count; t++)
        for (int k = 0; k < p->task[t].operand_count; k++)
            f.backward[p->task[t].operand[k]] = true;
    return f;
}

static bool is_cut(const RetainStep *store) {
    return store && (store->near || store->again);
}

// Whether there was anything to choose.
static bool has_choice(const RetainFates *f, int value) {
    const RetainValue *v = &f->p->value[value];
    return f->backward[value] && v->maker >= 0 && v->maker < f->p->forward_count && v->bytes > 0;
}

RetainCounts retain_count(const RetainProblem *p, const RetainSchedule *s, Arena *scratch) {
    const RetainFates f = find_fates(p, s, scratch);
    RetainCounts n = {0};
    for (int v = 0; v < p->value_count; v++) {
        if (!has_choice(&f, v))
            continue;
        int *count = is_cut(f.stored[v])             ? &n.cut
                     : f.stored[v]                   ? &n.moved
                     : f.runs[p->value[v].maker] > 1 ? &n.again
                                                     : &n.kept;
        ++*count;
    }
    return n;
}

static bool is_fetched(const RetainValue *v) {
    return ((const Value *)v->owner)->def->op == OP_FETCH;
}

// "computing it again takes 3.100 ms"; what it is made of may have to be made again, too.
static const char *price_again(const RetainProblem *p, int value, Arena *a) {
    const RetainTask *t = &p->task[p->value[value].maker];
    if (is_fetched(&p->value[value]))
        return arena_format(a, "fetching it once more takes %.3f ms", 1e-9 * (double)t->time);
    if (t->flags & RETAIN_ONCE)
        return "it is never computed again";
    return arena_format(a, "computing it from what it is made of takes %.3f ms",
                        1e-9 * (double)t->time);
}

static const char *price_moved(const PassCtx *cx, const RetainValue *v, Arena *a) {
    if (!cx->options->far)
        return "moving it was not allowed (--far)";
    if (is_fetched(v))
        return "it lives in far memory anyway";
    if (!v->out)
        return "it is too small to move";
    return arena_format(a, "moving it out and back takes %.3f ms of copies",
                        1e-9 * (double)(v->out + v->in));
}

// "cut into 4 parts, of which 1 is kept, 3 are moved to far memory and fetched"
static const char *fate_of_parts(const RetainProblem *p, const RetainStep *store, Arena *a) {
    const RetainParts parts = retain_parts(p, *store);
    const struct {
        int count;
        const char *fate;
    } part[] = {{parts.near, "kept"},
                {parts.far, "moved to far memory and fetched"},
                {parts.again, "computed again"}};
    const char *text = arena_format(a, "cut into %d parts, of which", parts.all);
    for (int i = 0, said = 0; i < 3; i++)
        if (part[i].count)
            text = arena_format(a, "%s%s %d %s %s", text, said++ ? "," : "", part[i].count,
                                part[i].count == 1 ? "is" : "are", part[i].fate);
    return text;
}

// Values without names of their own are often called alike: the place tells them apart, and in a
// loop what they are made of.
static const char *made_at(const RetainValue *v, Arena *a) {
    const Value *owner = v->owner;
    const char *place = loc_text(a, owner->def->loc);
    if (!*place)
        return "";
    return owner->name || owner->def->input_count == 0
               ? arena_format(a, "; made at %s", place)
               : arena_format(a, "; made at %s from %s", place,
                              remark_value(a, owner->def->input[0]));
}

static void report_value(PassCtx *cx, const RetainFates *f, const char *entry, int value) {
    const RetainValue *v = &f->p->value[value];
    const int again = f->runs[v->maker] - 1;
    const RetainStep *store = f->stored[value];
    const char *fate = is_cut(store)                ? fate_of_parts(f->p, store, cx->scratch)
                       : store                      ? "moved to far memory and fetched"
                       : is_fetched(v) && again > 0 ? "fetched again"
                       : again == 1                 ? "computed again"
                       : again > 1 ? arena_format(cx->scratch, "computed again %d times", again)
                                   : "kept";
    remark_add(cx, "retain", remark_value(cx->scratch, v->owner),
               "in %s %lld bytes that the backward pass reads are %s; %s; %s%s", entry,
               (long long)v->bytes, fate, price_again(f->p, value, cx->scratch),
               price_moved(cx, v, cx->scratch), made_at(v, cx->scratch));
}

void retain_report_values(PassCtx *cx, const RetainLadder *l, int variant) {
    const RetainVariant *v = &l->variant[variant];
    for (int e = 0; e < v->m->entry_count; e++) {
        const RetainEntry *entry = &v->entry[e];
        if (!entry->graph)
            continue;
        const RetainProblem *p = &entry->graph->problem;
        const RetainPoint *point = &entry->frontier.point[entry->at];
        const char *name = v->m->entry[e]->name;
        const RetainFates f = find_fates(p, &point->schedule, cx->scratch);
        const RetainCounts n = retain_count(p, &point->schedule, cx->scratch);
        const int64_t whole = entry->frontier.point[0].cost.time;
        remark_add(cx, "retain", name,
                   "rung %d: of the values that the backward pass reads %d are kept, %d "
                   "computed again, %d moved, %d cut into parts; that takes %.3f ms more than the "
                   "%.3f ms of keeping all%s",
                   entry->at + 1, n.kept, n.again, n.moved, n.cut,
                   1e-9 * (double)(point->cost.time - whole), 1e-9 * (double)whole,
                   variant ? " with states where they are" : "");
        for (int i = 0; i < p->value_count; i++)
            if (has_choice(&f, i) && p->value[i].bytes >= SAY_MIN)
                report_value(cx, &f, name, i);
    }
}

// What the variant has in far memory beyond the one before it.
static const char *variant_name(const RetainVariant *v, Arena *a) {
    static const char *const sixteenths[16] = {
        "",         "a sixteenth of ", "an eighth of ",      "3/16 of ",  "a quarter of ",
        "5/16 of ", "3/8 of ",         "7/16 of ",           "half of ",  "9/16 of ",
        "5/8 of ",  "11/16 of ",       "three quarters of ", "13/16 of ", "7/8 of ",
        "15/16 of "};
    const char *part = sixteenths[v->far.sixteenths % 16];
    switch (v->far.which) {
    case FAR_STATES_NONE:
        return "none";
    case FAR_STATES_SCATTERED:
        return "none, but gradients of looked-up tables are made in slices";
    case FAR_STATES_OPTIMIZER:
        return arena_format(a, "%sthe optimizer's", part);
    case FAR_STATES_ALL:
        return arena_format(a, "those and %sthe weights", part);
    case FAR_STATES_GRADIENTS:
        return "gradients that wait, too";
    case FAR_STATES_TILED:
        return "weights in tiles, too";
    }
    UNREACHABLE();
}

// Picoseconds that the variant takes with each entry at the fastest rung that may do; INT64_MAX:
// some entry has none.
static int64_t variant_time(const RetainVariant *v) {
    int64_t time = 0;
    if (!v->entry)
        return INT64_MAX; // proved: it needs more than the budget
    for (int e = 0; e < v->m->entry_count; e++) {
        const RetainEntry *x = &v->entry[e];
        if (x->at == x->frontier.count)
            return INT64_MAX;
        time += x->frontier.point[x->at].cost.time;
    }
    return time;
}

void retain_report_states(PassCtx *cx, const RetainLadder *l, int variant) {
    const char *text = "";
    if (l->variant_count < 2)
        return;
    for (int i = 0; i < l->variant_count; i++) {
        const int64_t time = variant_time(&l->variant[i]);
        text = arena_format(cx->scratch, "%s%s%s: ", text, i ? "; " : "",
                            variant_name(&l->variant[i], cx->scratch));
        text = time == INT64_MAX
                   ? arena_format(cx->scratch, "%sdoes not fit", text)
                   : arena_format(cx->scratch, "%s%s%.3f ms", text,
                                  i == variant ? "taken, " : "no less than ", 1e-9 * (double)time);
    }
    const int64_t rest = retain_ladder_rest(l, cx);
    if (rest < INT64_MAX)
        text = arena_format(cx->scratch, "%s; with more: no less than %.3f ms", text,
                            1e-9 * (double)rest);
    const Module *m = l->variant[variant].m;
    remark_add(cx, "far", m->name ? m->name : "", "choices of states in far memory: %s", text);
}

// Whether there is a weight that could be met in tiles.
static bool has_large_weight(const Plan *p) {
    for (uint32_t i = 0; i < p->buffer_count; i++)
        if (p->buffer[i].kind == BUFFER_WEIGHTS && p->buffer[i].bytes >= TILED_BYTES)
            return true;
    return false;
}

// States that nobody allowed to be elsewhere are what most budgets of training fail at.
static void advise(PassCtx *cx, const RetainTrial *least, uint64_t bytes) {
    const char *far = cx->options->gpu.count > 0 ? "host" : "disk";
    if (least->state > 0)
        diag_note(cx->diag, (Loc){0}, "states take %llu bytes of it",
                  (unsigned long long)least->state);
    if (cx->options->far_bytes)
        diag_note(cx->diag, (Loc){0}, "%llu bytes may be moved away: with more, less may do",
                  (unsigned long long)cx->options->far_bytes);
    if (!cx->options->far)
        diag_note(cx->diag, (Loc){0},
                  "nothing may be moved away: --far %s allows it for states and other values", far);
    else if (!tiles_keep_bits(cx->options) && has_large_weight(least->plan))
        diag_note(
            cx->diag, (Loc){0},
            "products read weights whole here: a library computes them, and promises no equal "
            "bits for parts; the target cpu and cpu:x86-64-v3 read large weights in parts");
    if (cx->options->effort >= EFFORT_PROGRAMS)
        diag_note(cx->diag, (Loc){0},
                  "integer programs lay out what does not fit: a budget below this least may do");
    char size[32];
    diag_help(cx->diag, "the smallest budget that fits is %llu bytes (%s)",
              (unsigned long long)bytes, plan_size_text(bytes, size));
}

bool retain_report_budget(PassCtx *cx, const RetainTrial *least, uint64_t bytes, uint64_t bound) {
    const PlanUses *u = plan_uses_new(least->plan, least->memory);
    if (!u)
        return diag_error(cx->diag, (Loc){0}, 856, "out of memory");
    const PlanEntryUses *e = &u->entry[u->peak_entry];
    const uint32_t peak = e->curve[SPACE_DEVICE].peak;
    diag_error(
        cx->diag, (Loc){0}, 801,
        "entry %s needs %llu bytes at the least, but the budget is %llu; the largest buffers "
        "at its peak follow",
        least->plan->entry[u->peak_entry].name, (unsigned long long)bytes,
        (unsigned long long)cx->options->budget);
    uint32_t buffer[NAMED];
    const uint32_t count = plan_uses_largest(u, u->peak_entry, peak, buffer, NAMED);
    for (uint32_t i = 0; i < count; i++) {
        const PlanBuffer *b = &least->plan->buffer[buffer[i]];
        diag_note(cx->diag, (Loc){0}, "%s: %llu bytes of %s%s%s", b->name,
                  (unsigned long long)b->bytes, plan_buffer_kind_name(b->kind),
                  *b->where ? ", from " : "", b->where);
    }
    if (peak < e->step_count)
        diag_note(cx->diag, (Loc){0}, "the peak is while %s runs%s%s", e->step[peak].instr->name,
                  *e->step[peak].instr->where ? ", from " : "", e->step[peak].instr->where);
    diag_note(cx->diag, (Loc){0},
              "no plan needs less than %llu bytes, whatever is kept, moved or computed again",
              (unsigned long long)bound);
    advise(cx, least, bytes);
    return false;
}
