// What changed between two plans, by effect: first the figures, then what is there only before or
// only after (by the shortest path of scopes that says it), what grew or shrank, what runs in
// another order, what only moved.
#include "tools/dump.h"

#include "runtime/plan_report.h"
#include "tools/figures.h"
#include "tools/plan_match.h"
#include "tools/tool_io.h"

#include <stdlib.h>
#include <string.h>

enum { SHOWN = 12, PATH_MAX_BYTES = 128 };

typedef struct {
    Dump *d;
    const Plan *before, *after;
    const PlanUses *before_uses, *after_uses;
    const PlanMatch *match;
    Figure figure[FIGURES];
    FILE *out;
    bool different;
} Diff;

// Every figure has a row, changed or not, so that tables of several differences line up.
static void print_figures(const Diff *f) {
    char a[TEXT_NUMBER], b[TEXT_NUMBER], change[TEXT_NUMBER], percent[TEXT_NUMBER];
    fprintf(f->out, "\n%-16s %14s %14s %18s\n", "", "before", "after", "change");
    for (int i = 0; i < FIGURES; i++) {
        const Figure *g = &f->figure[i];
        const bool kind = i >= F_KIND && i < F_TIME;
        // Kinds that are nowhere say nothing.
        if (kind && g->before == 0 && g->after == 0)
            continue;
        char what[TEXT_NUMBER + 2] = "0";
        if (g->unit == FIGURE_SECONDS && g->after != g->before)
            snprintf(what, sizeof what, "%s%s", g->after > g->before ? "+" : "-",
                     text_time(g->after > g->before ? g->after - g->before : g->before - g->after,
                               change));
        else if (g->after != g->before)
            text_change(figure_whole(g->before), figure_whole(g->after), what);
        text_percent(g->before, g->after, percent);
        fprintf(f->out, "%s%-*s %14s %14s %18s%s%s\n", kind ? "  " : "", kind ? 14 : 16, g->name,
                figure_text(g->unit, g->before, a), figure_text(g->unit, g->after, b), what,
                g->after != g->before && *percent ? "  " : "",
                g->after != g->before ? percent : "");
    }
}

// A line for each of what the two were made from, where it differs.
static void print_head(Diff *f) {
    const struct {
        const char *name, *before, *after;
    } line[] = {{"model", f->before->model, f->after->model},
                {"target", f->before->target, f->after->target},
                {"instructions of", f->before->isa, f->after->isa},
                {"tool", f->before->tool, f->after->tool},
                {"flags", f->before->flags, f->after->flags},
                {"rates", f->before->rates, f->after->rates}};
    for (size_t i = 0; i < sizeof line / sizeof line[0]; i++)
        if (strcmp(line[i].before, line[i].after) != 0) {
            f->different = true;
            fprintf(f->out, "%s: %s\n%*s-> %s\n", line[i].name,
                    *line[i].before ? line[i].before : "none", (int)strlen(line[i].name) - 1, "",
                    *line[i].after ? line[i].after : "none");
        }
    for (int side = 0; side < 2; side++) {
        const Plan *here = side ? f->after : f->before, *there = side ? f->before : f->after;
        for (uint32_t i = 0; i < here->entry_count; i++)
            if (!plan_find_entry(there, here->entry[i].name)) {
                f->different = true;
                fprintf(f->out, "entry %s is there only %s\n", here->entry[i].name,
                        side ? "after" : "before");
            }
    }
}

// Sorted paths of the other plan's buffers: what says whether a scope is there, too.
typedef struct {
    const char **path;
    uint32_t count;
} Paths;

static int compare_texts(const void *a, const void *b) {
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static bool list_paths(const Plan *p, PlanMemory *pm, Paths *out) {
    *out = (Paths){.path = plan_alloc(pm, (size_t)p->buffer_count + 1, sizeof *out->path)};
    if (!out->path)
        return false;
    for (uint32_t i = 0; i < p->buffer_count; i++)
        out->path[out->count++] = plan_buffer_path(&p->buffer[i]);
    qsort(out->path, out->count, sizeof *out->path, compare_texts);
    return true;
}

// Whether any path is the prefix itself or inside it: both stand next to each other.
static bool has_prefix(const Paths *paths, const char *prefix, size_t length) {
    uint32_t low = 0, high = paths->count;
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        if (strncmp(paths->path[middle], prefix, length) < 0)
            low = middle + 1;
        else
            high = middle;
    }
    // Of those that begin so, longer words ("h.10" for "h.1") may stand in between.
    for (; low < paths->count && strncmp(paths->path[low], prefix, length) == 0; low++)
        if (paths->path[low][length] == '\0' || paths->path[low][length] == '.')
            return true;
    return false;
}

// Buffers that only one side has, under one path.
typedef struct {
    char path[PATH_MAX_BYTES];
    uint32_t count;
    uint64_t bytes;
} Group;

static int compare_groups(const void *a, const void *b) {
    const Group *x = a, *y = b;
    if (x->bytes != y->bytes)
        return x->bytes > y->bytes ? -1 : 1;
    return strcmp(x->path, y->path);
}

static int compare_group_paths(const void *a, const void *b) {
    const Group *x = a, *y = b;
    return strcmp(x->path, y->path);
}

// The shortest beginning of the buffer's path that the other side has nothing of; its name where
// there is none.
static void group_path(const PlanBuffer *b, const Paths *other, char out[PATH_MAX_BYTES]) {
    const char *path = plan_buffer_path(b);
    size_t length = 0;
    bool there = true;
    while (there && path[length]) {
        length += path[length] == '.';
        length += strcspn(path + length, ".");
        there = has_prefix(other, path, length);
    }
    if (there)
        snprintf(out, PATH_MAX_BYTES, "%.127s", b->name);
    else
        snprintf(out, PATH_MAX_BYTES, "%.*s", (int)(length < 127 ? length : 127), path);
}

// Groups of the same path joined; returns how many are left.
static uint32_t join_groups(Group *group, uint32_t count) {
    qsort(group, count, sizeof *group, compare_group_paths);
    uint32_t kept = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (kept > 0 && strcmp(group[kept - 1].path, group[i].path) == 0) {
            group[kept - 1].count += group[i].count;
            group[kept - 1].bytes += group[i].bytes;
        } else {
            group[kept++] = group[i];
        }
    }
    qsort(group, kept, sizeof *group, compare_groups);
    return kept;
}

// Buffers of `here` that have no mate in `there`.
static bool print_only(Diff *f, const Plan *here, const uint32_t *mate, const Plan *there,
                       const char *what) {
    Paths other;
    uint32_t count = 0;
    uint64_t bytes = 0;
    for (uint32_t i = 0; i < here->buffer_count; i++)
        count += mate[i] == UINT32_MAX;
    if (count == 0)
        return true;
    f->different = true;
    Group *group = plan_alloc(f->d->memory, count, sizeof *group);
    if (!group || !list_paths(there, f->d->memory, &other))
        return false;
    uint32_t filled = 0;
    for (uint32_t i = 0; i < here->buffer_count; i++) {
        if (mate[i] != UINT32_MAX)
            continue;
        group[filled] = (Group){.count = 1, .bytes = here->buffer[i].bytes};
        group_path(&here->buffer[i], &other, group[filled++].path);
        bytes += here->buffer[i].bytes;
    }
    char size[32], name[49];
    fprintf(f->out, "\n%u buffer%s %s (%s before sharing):\n", count, count == 1 ? " is" : "s are",
            what, plan_size_text(bytes, size));
    const uint32_t groups = join_groups(group, count);
    for (uint32_t i = 0; i < groups && i < SHOWN; i++)
        fprintf(f->out, "  %12s  %-48s %6u buffer%s\n", plan_size_text(group[i].bytes, size),
                text_fit(group[i].path, name, sizeof name), group[i].count,
                group[i].count == 1 ? "" : "s");
    if (groups > SHOWN)
        fprintf(f->out, "  and %u more places\n", groups - SHOWN);
    return true;
}

static uint64_t grown_by(const Diff *f, uint32_t buffer) {
    const uint64_t after = f->after->buffer[buffer].bytes;
    const uint64_t before = f->before->buffer[f->match->buffer_before[buffer]].bytes;
    return after > before ? after - before : before - after;
}

// Largest change first; of equal ones in the plan's order.
static int compare_growth(const void *a, const void *b, void *context) {
    const Diff *f = context;
    const uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;
    const uint64_t x = grown_by(f, i), y = grown_by(f, k);
    return x != y ? (x > y ? -1 : 1) : (i > k) - (i < k);
}

// Of what both have: those of another size one by one, the others that lie elsewhere as a sum,
// for one buffer that grows moves most of those above it.
static bool print_grown(Diff *f) {
    uint32_t *grown = plan_alloc(f->d->memory, (size_t)f->after->buffer_count + 1, sizeof *grown);
    uint32_t count = 0, moved = 0;
    uint64_t moved_bytes = 0;
    if (!grown)
        return false;
    for (uint32_t i = 0; i < f->after->buffer_count; i++) {
        const uint32_t was = f->match->buffer_before[i];
        if (was == UINT32_MAX)
            continue;
        const PlanBuffer *a = &f->before->buffer[was], *b = &f->after->buffer[i];
        if (a->bytes != b->bytes) {
            grown[count++] = i;
        } else if (a->offset != b->offset ||
                   f->before->space[a->space].kind != f->after->space[b->space].kind) {
            moved++;
            moved_bytes += b->bytes;
        }
    }
    f->different = f->different || count > 0 || moved > 0;
    qsort_r(grown, count, sizeof *grown, compare_growth, f);
    char a[32], b[32], change[TEXT_NUMBER], name[37];
    if (count > 0)
        fprintf(f->out, "\n%u buffer%s of another size:\n", count, count == 1 ? "" : "s");
    for (uint32_t i = 0; i < count && i < SHOWN; i++) {
        const PlanBuffer *y = &f->after->buffer[grown[i]];
        const PlanBuffer *x = &f->before->buffer[f->match->buffer_before[grown[i]]];
        char entry[15];
        fprintf(f->out, "  %15s  %-14s %-36s %10s -> %s\n", text_change(x->bytes, y->bytes, change),
                text_fit(y->entry == UINT32_MAX ? "all" : f->after->entry[y->entry].name, entry,
                         sizeof entry),
                text_fit(y->name, name, sizeof name), plan_size_text(x->bytes, a),
                plan_size_text(y->bytes, b));
    }
    if (count > SHOWN)
        fprintf(f->out, "  and %u more\n", count - SHOWN);
    if (moved > 0)
        fprintf(f->out, "\n%u buffer%s moved to another address, %s in all\n", moved,
                moved == 1 ? "" : "s", plan_size_text(moved_bytes, a));
    return true;
}

// How many of the numbers (UINT32_MAX: none) must be taken out so that the others rise: all but a
// longest rising subsequence. tail[k]: the smallest last number of one of k + 1. n log n.
static uint32_t out_of_order(const uint32_t *number, uint32_t count, uint32_t *tail) {
    uint32_t length = 0, numbers = 0;
    for (uint32_t i = 0; i < count; i++) {
        uint32_t low = 0, high = length;
        if (number[i] == UINT32_MAX)
            continue;
        while (low < high) {
            const uint32_t middle = low + (high - low) / 2;
            if (tail[middle] < number[i])
                low = middle + 1;
            else
                high = middle;
        }
        tail[low] = number[i];
        length += low == length;
        numbers++;
    }
    return numbers - length;
}

// The fewest instructions that must be moved to turn one order into the other.
static bool print_order(Diff *f) {
    for (uint32_t e = 0; e < f->after->entry_count; e++) {
        const uint32_t count = f->after_uses->entry[e].step_count;
        uint32_t *tail = plan_alloc(f->d->memory, (size_t)count + 1, sizeof *tail);
        if (!tail)
            return false;
        const uint32_t moved = out_of_order(f->match->step_before[e], count, tail);
        if (moved == 0)
            continue;
        f->different = true;
        fprintf(f->out, "\n%u of %u instructions of %s run%s earlier or later among the others\n",
                moved, count, f->after->entry[e].name, moved == 1 ? "s" : "");
    }
    return true;
}

// Instructions of one side that have no mate, by their operators: "9 layernorm, 4 gelu".
static bool print_steps(Diff *f, const PlanUses *here, uint32_t *const *mate, const char *what) {
    uint32_t count = 0, filled = 0;
    for (uint32_t e = 0; e < here->plan->entry_count; e++)
        for (uint32_t i = 0; i < here->entry[e].step_count; i++)
            count += mate[e][i] == UINT32_MAX;
    Group *group = plan_alloc(f->d->memory, (size_t)count + 1, sizeof *group);
    if (!group)
        return false;
    if (count == 0)
        return true;
    f->different = true;
    for (uint32_t e = 0; e < here->plan->entry_count; e++)
        for (uint32_t i = 0; i < here->entry[e].step_count; i++) {
            const PlanInstr *instr = here->entry[e].step[i].instr;
            if (mate[e][i] != UINT32_MAX)
                continue;
            const size_t size = plan_instr_operators(instr);
            snprintf(group[filled].path, PATH_MAX_BYTES, "%.*s", (int)(size < 127 ? size : 127),
                     instr->name);
            // Most of one kind first.
            group[filled].bytes = 1;
            group[filled++].count = 1;
        }
    fprintf(f->out, "\n%u instruction%s %s:", count, count == 1 ? " is" : "s are", what);
    const uint32_t groups = join_groups(group, count);
    char name[41];
    for (uint32_t i = 0; i < groups && i < SHOWN; i++)
        fprintf(f->out, "%s%u %s", i % 4 == 0 ? "\n  " : ", ", group[i].count,
                text_fit(group[i].path, name, i % 4 ? 21 : sizeof name));
    fprintf(f->out, "%s\n", groups > SHOWN ? ", ..." : "");
    return true;
}

// New kernels by the first instruction that runs each.
static void print_kernels(Diff *f) {
    const PlanMatch *m = f->match;
    if (m->kernel_new == 0 && m->kernel_gone == 0)
        return;
    f->different = true;
    fprintf(f->out, "\n%u kernel%s new, %u %s gone\n", m->kernel_new,
            m->kernel_new == 1 ? " is" : "s are", m->kernel_gone,
            m->kernel_gone == 1 ? "is" : "are");
    uint32_t shown = 0;
    for (uint32_t e = 0; e < f->after->entry_count && shown < SHOWN; e++)
        for (uint32_t i = 0; i < f->after_uses->entry[e].step_count && shown < SHOWN; i++) {
            const PlanInstr *instr = f->after_uses->entry[e].step[i].instr;
            if (instr->kind > INSTR_PRODUCT || !m->kernel_is_new[instr->kernel])
                continue;
            char name[65];
            m->kernel_is_new[instr->kernel] = false;
            shown++;
            fprintf(f->out, "  %-8s of %s:%u %s\n", f->after->kernel[instr->kernel].name,
                    f->after->entry[e].name, i, text_fit(instr->name, name, sizeof name));
        }
    if (m->kernel_new > shown)
        fprintf(f->out, "  and %u more\n", m->kernel_new - shown);
}

// Figures first: where they are equal, the rest is of no account to most readers.
static bool print_all(Diff *f) {
    double before[FIGURES] = {0}, after[FIGURES] = {0};
    if (!figures_measure(f->d, f->before_uses, before) ||
        !figures_measure(f->d, f->after_uses, after))
        return false;
    for (int i = 0; i < FIGURES; i++) {
        f->figure[i].before = before[i];
        f->figure[i].after = after[i];
        f->different = f->different || before[i] != after[i];
    }
    print_head(f);
    print_figures(f);
    if (!print_only(f, f->after, f->match->buffer_before, f->before, "new") ||
        !print_only(f, f->before, f->match->buffer_after, f->after, "gone") || !print_grown(f) ||
        !print_steps(f, f->after_uses, f->match->step_before, "new") ||
        !print_steps(f, f->before_uses, f->match->step_after, "gone") || !print_order(f))
        return false;
    print_kernels(f);
    if (!f->different)
        fprintf(f->out, "\nthe plans are the same\n");
    return true;
}

// Lines of a text that are no figures and not in the other one.
static void print_lines(const char *text, const char *other, const Figure *figure, char sign,
                        FILE *out) {
    for (const char *at = text; *at;) {
        const int length = (int)strcspn(at, "\n");
        bool there = length == 0 || *at == '#' || figures_of_line(at, figure) < FIGURES;
        for (const char *line = other; *line && !there;) {
            const size_t size = strcspn(line, "\n");
            there = size == (size_t)length && memcmp(line, at, size) == 0;
            line += size + (line[size] == '\n');
        }
        if (!there)
            fprintf(out, "%c %.*s\n", sign, length, at);
        at += length + (at[length] == '\n');
    }
}

// Against kept figures: the same table, and below it the lines of the text that are others now.
static int diff_kept(Diff *f, const char *kept, const char *now) {
    double after[FIGURES];
    const int wrong = figures_read(kept, f->figure);
    if (wrong)
        return dump_fail(f->d, "line %d of %s has no number", wrong, f->d->options->value);
    if (!figures_measure(f->d, f->after_uses, after))
        return dump_fail(f->d, "out of memory");
    for (int i = 0; i < FIGURES; i++)
        f->figure[i].after = after[i];
    f->different = strcmp(kept, now) != 0;
    fprintf(f->out, "%s -> %s\n", f->d->options->value, f->d->file);
    if (f->different) {
        print_figures(f);
        fputc('\n', f->out);
        print_lines(kept, now, f->figure, '-', f->out);
        print_lines(now, kept, f->figure, '+', f->out);
    } else {
        fprintf(f->out, "\nthe figures are the same\n");
    }
    return DUMP_DONE;
}

// Both texts at hand, or DUMP_FAILED.
static int diff_figures(Diff *f) {
    enum { KEPT_MAX = 1 << 20 };
    size_t bytes = 0, size = 0;
    char *now = NULL, *kept = tool_read("plim-dump", f->d->options->value, KEPT_MAX, &bytes);
    FILE *memory = kept ? open_memstream(&now, &size) : NULL;
    int status = !kept ? DUMP_TOLD : memory ? dump_figures(f->d, memory) : DUMP_FAILED;
    if (memory && fclose(memory) != 0)
        status = DUMP_FAILED;
    status = status == DUMP_DONE     ? diff_kept(f, kept, now)
             : status == DUMP_FAILED ? dump_fail(f->d, "out of memory")
                                     : status;
    free(now);
    free(kept);
    return status;
}

static int diff_plans(Diff *f) {
    Dump *d = f->d;
    if (!dump_read(d->options->value, d->memory, &f->before, &f->before_uses))
        return DUMP_TOLD;
    fprintf(f->out, "%s -> %s\n", d->options->value, d->file);
    f->match = plan_match_new(f->before_uses, f->after_uses, d->memory);
    return f->match && print_all(f) ? DUMP_DONE : dump_fail(d, "out of memory");
}

int dump_diff(Dump *d, FILE *out) {
    Diff f = {.d = d, .after = d->plan, .after_uses = d->uses, .out = out};
    bool held = false;
    figures_name(f.figure);
    const char *conditions = d->options->fail_if ? d->options->fail_if : "";
    // A condition that can't be read is told before anything else is.
    if (!fail_if_check(conditions, f.figure, FIGURES, false, &held, NULL, &d->error))
        return DUMP_USAGE;
    const int status = figures_is(d->options->value) ? diff_figures(&f) : diff_plans(&f);
    if (status != DUMP_DONE)
        return status;
    if (*conditions)
        fputc('\n', out);
    fail_if_check(conditions, f.figure, FIGURES, f.different, &held, out, &d->error);
    return held ? DUMP_LIMIT : DUMP_DONE;
}
