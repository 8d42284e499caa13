// What integer programs add to order and layout: files of them for other solvers, and a second
// opinion where the searches made for the purpose stopped at a gap.
//
// A program is solved only where there is a gap, from the searches' answer on, by counted work. A
// solver that fails leaves that answer, and the plan is marked (passes/mip/mip_report.c). Written
// are all programs that are not too large for a file, with a gap or without: they say what a plan
// was chosen from.
#include "passes/memory/programs.h"

#include "passes/memory/pack_mip.h"
#include "passes/mip/mip_lp.h"
#include "passes/mip/mip_report.h"

#include <ctype.h>

// Some ten megabytes of text.
enum { ENTRIES_WRITTEN_MAX = 1000000, EFFORT_PROGRAMS = 2 };

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
    problem.limits = mip_limits_or_default((MipLimits){0});
    problem.limits.work *= cx->options->effort;
    problem.limits.nodes *= cx->options->effort;
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
