// Times are summed by instruction of a segment, over its calls and the steps. What a step takes
// beyond its instructions is waiting: for data, and between instructions. Inside an instruction,
// workers wait for the last one; that is told as the share of time in which they are busy.
//
// The kind of a kernel is the third word of its text ("kernel k3 rows ..."), the only one that is
// read here.
#include "runtime/profile.h"

#include <stdlib.h>
#include <string.h>

enum { SLOWEST = 12 };

typedef enum { WORK_PRODUCTS, WORK_ATTENTION, WORK_ROWS, WORK_COPIES, WORK_COUNT } Work;
static const char *const work_name[WORK_COUNT] = {"products", "attention", "rows", "copies"};

typedef struct {
    double seconds, busy; // busy: of all workers together
    double flops, bytes;
    uint64_t calls;
} Sum;

// One operator of the table.
typedef struct {
    const PlanInstr *instr;
    Work work;
    Sum sum;
} Line;

struct Profile {
    const Timeline *timeline;
    Line *line; // one an instruction of a segment the entry calls
    uint32_t count;
    uint32_t *number_line; // by number in the program
    uint64_t steps;
    double seconds, data_seconds;
};

// What a person asks about first: products, attention, or all the rest that passes over memory.
static Work work_of(const Plan *plan, const PlanInstr *instr) {
    if (instr->kind == INSTR_PRODUCT)
        return WORK_PRODUCTS;
    if (instr->kind != INSTR_KERNEL)
        return WORK_COPIES;
    char kind[16] = "";
    if (sscanf(plan->kernel[instr->kernel].text, "kernel %*s %15s", kind) != 1)
        return WORK_ROWS;
    if (strcmp(kind, "product") == 0)
        return WORK_PRODUCTS;
    return strncmp(kind, "attention", 9) == 0 ? WORK_ATTENTION : WORK_ROWS;
}

// The lines of the first call of a segment serve its later ones.
static void make_lines(Profile *p) {
    const Program *program = &p->timeline->program;
    for (uint32_t c = 0; c < program->entry->call_count; c++) {
        const PlanSegment *segment = program_segment(program, c);
        uint32_t earlier = 0;
        // Ends at c itself at the latest.
        while (program_segment(program, earlier) != segment)
            earlier++;
        for (uint32_t i = 0; i < segment->instr_count; i++) {
            const uint32_t number = program->first[c] + i;
            if (earlier < c) {
                p->number_line[number] = p->number_line[program->first[earlier] + i];
                continue;
            }
            p->number_line[number] = p->count;
            p->line[p->count++] = (Line){.instr = &segment->instr[i],
                                         .work = work_of(program->plan, &segment->instr[i])};
        }
    }
}

Profile *profile_new(const Timeline *t) {
    Profile *p = calloc(1, sizeof *p);
    if (!p)
        return NULL;
    p->timeline = t;
    const size_t count = (size_t)t->program.count + 1;
    p->line = calloc(count, sizeof *p->line);
    p->number_line = calloc(count, sizeof *p->number_line);
    if (!p->line || !p->number_line) {
        profile_release(p);
        return NULL;
    }
    make_lines(p);
    return p;
}

void profile_release(Profile *p) {
    if (!p)
        return;
    free(p->line);
    free(p->number_line);
    free(p);
}

void profile_step(Profile *p, double seconds, double data_seconds) {
    const Timeline *t = p->timeline;
    p->steps++;
    p->seconds += seconds;
    p->data_seconds += data_seconds;
    for (uint32_t i = 0; i < t->program.count; i++) {
        Line *line = &p->line[p->number_line[i]];
        const double took = t->instr[i].ends - t->instr[i].begins;
        double busy = 0;
        for (int w = 0; w < t->workers; w++)
            busy += t->worker[(size_t)i * (size_t)t->workers + (size_t)w].busy;
        line->sum.seconds += took;
        // Fills and copies are no tiles: their stream does them.
        line->sum.busy += line->work == WORK_COPIES ? took : busy;
        line->sum.flops += (double)line->instr->flops;
        line->sum.bytes += (double)line->instr->bytes;
        line->sum.calls++;
    }
}

static void print_sum(const Profile *p, const char *name, const Sum *s, FILE *out) {
    const double steps = (double)p->steps;
    fprintf(out, "  %-10s %9.3f ms %5.1f %% %8.1f GFLOP/s %7.2f GB/s", name,
            1e3 * s->seconds / steps, 100 * s->seconds / p->seconds, 1e-9 * s->flops / s->seconds,
            1e-9 * s->bytes / s->seconds);
    // A GPU's are not told.
    if (p->timeline->workers > 0)
        fprintf(out, "  workers busy %3.0f %%",
                100 * s->busy / (s->seconds * p->timeline->workers));
    fputc('\n', out);
}

static void print_waiting(const Profile *p, const char *name, double seconds, FILE *out) {
    fprintf(out, "  %-10s %9.3f ms %5.1f %%\n", name, 1e3 * seconds / (double)p->steps,
            100 * seconds / p->seconds);
}

static int by_time(const void *a, const void *b) {
    const Line *x = *(const Line *const *)a, *y = *(const Line *const *)b;
    if (x->sum.seconds != y->sum.seconds)
        return x->sum.seconds < y->sum.seconds ? 1 : -1;
    // Equal times in the program's order, so that the table has one order.
    return (x > y) - (x < y);
}

static void print_slowest(const Profile *p, FILE *out) {
    const Line **order = calloc((size_t)p->count + 1, sizeof *order);
    if (!order)
        return;
    for (uint32_t i = 0; i < p->count; i++)
        order[i] = &p->line[i];
    qsort(order, p->count, sizeof *order, by_time);
    fputs("\nslowest operators\n", out);
    for (uint32_t i = 0; i < p->count && i < SLOWEST; i++) {
        const Sum *s = &order[i]->sum;
        fprintf(out, "  %9.3f ms %5.1f %% %8.1f GFLOP/s %7.2f GB/s  %s",
                1e3 * s->seconds / (double)p->steps, 100 * s->seconds / p->seconds,
                1e-9 * s->flops / s->seconds, 1e-9 * s->bytes / s->seconds, order[i]->instr->name);
        // A segment that is called for each micro-batch or layer runs its lines as often.
        if (s->calls > p->steps)
            fprintf(out, " x%llu", (unsigned long long)(s->calls / p->steps));
        fprintf(out, "%s%s\n", order[i]->instr->where[0] ? "  " : "", order[i]->instr->where);
    }
    free(order);
}

void profile_print(const Profile *p, FILE *out) {
    // The first step is no example of the others, and not counted.
    if (p->steps == 0)
        fputs("no profile: it takes at least two steps\n", out);
    if (p->steps == 0 || p->count == 0)
        return;
    Sum sum[WORK_COUNT] = {{0}};
    double inside = 0;
    for (uint32_t i = 0; i < p->count; i++) {
        Sum *s = &sum[p->line[i].work];
        s->seconds += p->line[i].sum.seconds;
        s->busy += p->line[i].sum.busy;
        s->flops += p->line[i].sum.flops;
        s->bytes += p->line[i].sum.bytes;
        inside += p->line[i].sum.seconds;
    }
    fprintf(out, "one step takes %.3f ms (mean of %llu", 1e3 * p->seconds / (double)p->steps,
            (unsigned long long)p->steps);
    if (p->timeline->workers > 0)
        fprintf(out, ", %d workers", p->timeline->workers);
    fputs(")\n", out);
    for (int w = 0; w < WORK_COUNT; w++)
        if (sum[w].seconds > 0)
            print_sum(p, work_name[w], &sum[w], out);
    print_waiting(p, "data", p->data_seconds, out);
    // Streams work at the same time: their sum may be more than the step.
    const double between = p->seconds - p->data_seconds - inside;
    print_waiting(p, "waiting", between > 0 ? between : 0, out);
    print_slowest(p, out);
}
