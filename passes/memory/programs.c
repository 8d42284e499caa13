// What integer programs add to order and layout: files of them for other solvers, and a second
// opinion where the searches made for the purpose stopped at a gap.
//
// A program is solved only where there is a gap, from the searches' answer on, by counted work. A
// solver that fails leaves that answer, and the plan is marked (passes/mip/mip_report.c). Written
// are all programs that are not too large for a file, with a gap or without: they say what a plan
// was chosen from.
#include "passes/memory/programs.h"

#include "passes/memory/order_mip.h"
#include "passes/memory/order_part.h"
#include "passes/memory/pack_mip.h"
#include "passes/mip/mip_lp.h"
#include "passes/mip/mip_report.h"

#include <ctype.h>
#include <string.h>

// Some ten megabytes of text.
enum { ENTRIES_WRITTEN_MAX = 1000000 };

// A file name: entries may be named as they like.
static const char *program_name(Arena *a, const char *entry, const char *what) {
    char *name = arena_format(a, "%s.%s", entry, what);
    for (char *at = name; *at; at++)
        if (!isalnum((unsigned char)*at) && *at != '_' && *at != '-' && *at != '.')
            *at = '_';
    // No file of a folder may be hidden.
    if (name[0] == '.')
        name[0] = '_';
    return name;
}

// p: NULL where it was too large.
static bool write_program(PassCtx *cx, const char *pass, const char *entry, const char *name,
                          const Mip *p) {
    if (p)
        return mip_lp_write(p, cx->options->dump_mip, cx->diag);
    remark_add(cx, pass, entry, "%s is not written: it would have more than %d entries", name,
               ENTRIES_WRITTEN_MAX);
    return true;
}

static MipLimits limits_of_effort(const PassCtx *cx) {
    MipLimits limits = mip_limits_or_default((MipLimits){0});
    limits.work *= cx->options->effort;
    limits.nodes *= cx->options->effort;
    limits.guard_seconds *= cx->options->effort;
    return limits;
}

// An entry's order, cut into segments.
typedef struct {
    const OrderGraph *og, *small; // small: without tasks that use no memory
    int *of;                      // by task of small: task of og
    int *order;                   // of small
    OrderSegment *segment;
    int count;
    int **part; // by segment: order of its tasks
    int *twin;  // by segment: the first one that is equal, perhaps itself
} Parts;

static Parts cut_order(const OrderGraph *og, const int *order, Arena *a) {
    Parts p = {.og = og};
    p.small = order_contract(og, a, &p.of);
    int *number = arena_array(a, int, og->task_count + 1); // in small + 1
    for (int i = 0; i < p.small->task_count; i++)
        number[p.of[i]] = i + 1;
    p.order = arena_array(a, int, p.small->task_count + 1);
    for (int i = 0, at = 0; i < og->task_count; i++)
        if (number[order[i]])
            p.order[at++] = number[order[i]] - 1;
    p.segment = order_segments(p.small, a, &p.count);
    p.part = arena_array(a, int *, p.count + 1);
    p.twin = arena_array(a, int, p.count + 1);
    for (int s = 0; s < p.count; s++) {
        const OrderSegment *segment = &p.segment[s];
        p.part[s] = arena_array(a, int, segment->end - segment->begin);
        for (int k = segment->begin; k < segment->end; k++)
            p.part[s][k - segment->begin] = p.order[k] - segment->begin;
        while (p.segment[p.twin[s]].hash != segment->hash ||
               !order_graph_equal(p.segment[p.twin[s]].og, segment->og))
            p.twin[s]++;
    }
    return p;
}

static OrderMipProblem segment_problem(const char *entry, const Parts *p, int s, Arena *a) {
    return (OrderMipProblem){.og = p->segment[s].og,
                             .name = program_name(a, entry, arena_format(a, "order.%d", s)),
                             .start = p->part[s]};
}

// One of equal segments; none of those that have only one order.
static bool write_segments(PassCtx *cx, const char *entry, const Parts *p, Arena *a) {
    for (int s = 0; s < p->count; s++) {
        const OrderSegment *segment = &p->segment[s];
        if (p->twin[s] != s || segment->end - segment->begin < 2)
            continue;
        OrderMipProblem problem = segment_problem(entry, p, s, a);
        problem.limits.entries = ENTRIES_WRITTEN_MAX;
        Mip *program = order_mip_program(&problem, a);
        if (program)
            program->note = arena_format(a, "%s, above %lld bytes that are live all through",
                                         program->note, (long long)segment->base);
        if (!write_program(cx, "order", entry, problem.name, program))
            return false;
    }
    return true;
}

// Solves the segments that lie above the bound, each of equal ones once, and puts what was found
// into the parts. *bound: of the whole. False after a diagnostic.
static bool solve_segments(PassCtx *cx, const char *entry, Parts *p, int64_t *bound, Arena *a) {
    OrderMipProblem *problem = arena_array(a, OrderMipProblem, p->count + 1);
    OrderMipAnswer *answer = arena_array(a, OrderMipAnswer, p->count + 1);
    int *solved = arena_array(a, int, p->count + 1); // by segment: number of its answer + 1
    int count = 0;
    for (int s = 0; s < p->count; s++) {
        const int64_t load = order_load(p->segment[s].og, p->part[s], a, NULL);
        if (p->segment[s].base + load <= *bound)
            continue;
        if (solved[p->twin[s]] == 0) {
            solved[p->twin[s]] = count + 1;
            problem[count] = segment_problem(entry, p, s, a);
            problem[count++].limits = limits_of_effort(cx);
        }
        solved[s] = solved[p->twin[s]];
    }
    order_mip_solve(problem, count, 0, a, answer);
    for (int i = 0; i < count; i++)
        if (answer[i].degraded &&
            !mip_report(cx, arena_format(cx->arena, "the order of %s", entry), answer[i].degraded))
            return false;
    for (int s = 0; s < p->count; s++) {
        if (solved[s] == 0)
            continue;
        const OrderMipAnswer *got = &answer[solved[s] - 1];
        memcpy(p->part[s], got->order,
               (size_t)(p->segment[s].end - p->segment[s].begin) * sizeof(int));
        if (p->segment[s].base + got->bound > *bound)
            *bound = p->segment[s].base + got->bound;
    }
    return true;
}

// The parts' order instead of the present one, where its buffers need less.
static void take_parts(const Parts *p, MemoryAnswer *answer, int *order, Arena *a) {
    for (int s = 0; s < p->count; s++)
        for (int k = p->segment[s].begin; k < p->segment[s].end; k++)
            p->order[k] = p->segment[s].begin + p->part[s][k - p->segment[s].begin];
    int *whole = arena_array(a, int, p->og->task_count + 1);
    order_expand(p->og, p->of, p->order, p->small->task_count, a, whole);
    const int64_t load = order_load(p->og, whole, a, NULL);
    if (load >= answer->height)
        return;
    int count;
    PackItem *item = order_items(p->og, whole, a, &count);
    const int64_t height = (int64_t)pack_solve(item, count, NULL, a).height;
    if (height >= answer->height)
        return;
    answer->load = load;
    answer->height = height;
    answer->how = "an integer program";
    memcpy(order, whole, (size_t)p->og->task_count * sizeof *order);
}

bool programs_order(PassCtx *cx, const char *entry, const OrderGraph *og, MemoryAnswer *answer,
                    int *order) {
    const bool solves = cx->options->effort >= EFFORT_PROGRAMS && !answer->optimal &&
                        answer->load > answer->order.bound;
    if (!cx->options->dump_mip && !solves)
        return true;
    Arena *a = arena_create();
    Parts p = cut_order(og, order, a);
    bool good = !cx->options->dump_mip || write_segments(cx, entry, &p, a);
    if (good && solves) {
        good = solve_segments(cx, entry, &p, &answer->order.bound, a);
        if (good)
            take_parts(&p, answer, order, a);
        answer->optimal = answer->height <= answer->order.bound;
    }
    arena_release(a);
    return good;
}

bool programs_pack(PassCtx *cx, const char *entry, PackItem *item, int count, PackAnswer *packed) {
    PackMipProblem problem = {.item = item,
                              .count = count,
                              .name = program_name(cx->scratch, entry, "layout"),
                              .packed = true,
                              .limits = {.entries = ENTRIES_WRITTEN_MAX}};
    if (cx->options->dump_mip &&
        !write_program(cx, "layout", entry, problem.name, pack_mip_program(&problem, cx->scratch)))
        return false;
    if (cx->options->effort < EFFORT_PROGRAMS || packed->optimal)
        return true;
    problem.limits = limits_of_effort(cx);
    PackMipAnswer answer;
    pack_mip_solve(&problem, 1, 1, cx->scratch, &answer);
    if (answer.degraded &&
        !mip_report(cx, arena_format(cx->arena, "the layout of %s", entry), answer.degraded))
        return false;
    if (answer.bound > packed->bound)
        packed->bound = answer.bound;
    if (answer.height < packed->height) {
        packed->height = answer.height;
        packed->how = "an integer program";
        for (int i = 0; i < count; i++)
            item[i].offset = answer.offset[i];
    }
    packed->optimal = packed->height == packed->bound;
    return true;
}
