// Whole steps run, on inputs drawn at random within their bounds and weights as they are
// initialised, so that each kernel finds caches and memory as it will; an observer notes when its
// instructions begin and end. The first step touches memory for the first time and does not count;
// of the others each instruction's median does. What a step takes beyond its instructions, shared
// out among them, is the start of one.
//
// Far memory is timed by itself where no instruction uses it, so that a plan which moves nothing
// tells what moving would take.
#include "runtime/measure.h"

#include "runtime/error.h"
#include "runtime/far_memory.h"
#include "runtime/measure_fit.h"
#include "runtime/progress.h"
#include "runtime/timeline.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    PlimSession *s;
    const MeasureOptions *o;
    MeasuredInstr *sample; // of all entries so far
    uint32_t count;
    double start_seconds; // sum over steps' medians: beyond instructions
    uint64_t starts;      // instructions that they are of
} Measure;

void measure_machine(const PlimSession *s, char out[MEASURE_MACHINE_MAX]) {
    char processor[RATES_PROCESSOR_MAX];
    const int threads = run_workers(s->run);
    if (plan_is_cuda(s->plan))
        snprintf(out, MEASURE_MACHINE_MAX, "a GPU of %.60s", s->plan->target);
    else
        snprintf(out, MEASURE_MACHINE_MAX, "%d thread%s of %s", threads, threads == 1 ? "" : "s",
                 rates_processor(processor) ? processor : "an unnamed processor");
}

// Knuth's generator: data only have to be no constant.
static uint32_t draw(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33);
}

// One element: a number from -1 to 1, or an index that the input allows.
static void draw_element(const PlanInput *input, uint64_t *state, void *out) {
    const uint32_t bits = draw(state);
    const float real = (float)bits / 1073741824.0f - 1;
    const int64_t limit = input->bound < 0 ? -input->bound : input->bound;
    const int32_t index = limit ? (int32_t)((int64_t)bits % limit) : 0;
    switch (input->dtype) {
    case PLAN_F32:
        memcpy(out, &real, sizeof real);
        return;
    case PLAN_BF16:
        // The upper half of an f32, on a little-endian machine.
        memcpy(out, (const char *)&real + 2, 2);
        return;
    case PLAN_I32:
        memcpy(out, &index, sizeof index);
        return;
    case PLAN_BOOL:
        *(uint8_t *)out = bits & 1;
        return;
    case PLAN_DTYPE_COUNT:
        return;
    }
}

static PlimStatus fill_input(const Measure *m, const PlanInput *input, uint64_t *state,
                             PlimError *error) {
    const size_t each = plan_dtype_bytes(input->dtype);
    uint64_t count = input->slots;
    for (uint32_t i = 0; i < input->rank; i++)
        count *= (uint64_t)input->dim[i];
    char *at = malloc((size_t)count * each + 1);
    if (!at)
        return error_set(error, PLIM_NO_MEMORY, "out of memory");
    for (uint64_t i = 0; i < count; i++)
        draw_element(input, state, at + i * each);
    const PlimStatus status = run_write(m->s->run, input->buffer, 0, at, count * each, error);
    free(at);
    return status;
}

// What a step reads: buffers of inputs may be used for other values once they are dead.
static PlimStatus fill_inputs(const Measure *m, const PlanEntry *entry, int64_t step,
                              PlimError *error) {
    uint64_t state = (uint64_t)step + 1;
    const StepScalars scalars = {.step = step, .steps = m->o->steps + 1};
    PlimStatus status = session_set_scalars(m->s, entry, &scalars, error);
    for (uint32_t i = 0; i < entry->input_count && status == PLIM_OK; i++)
        if (entry->input[i].source == PLAN_FROM_DATA || entry->input[i].source == PLAN_FROM_CALLER)
            status = fill_input(m, &entry->input[i], &state, error);
    return status;
}

static int compare_times(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *time, int count) {
    qsort(time, (size_t)count, sizeof *time, compare_times);
    return (time[(count - 1) / 2] + time[count / 2]) / 2;
}

// Seconds of the step that nothing on the first stream accounts for, by when it came to each
// instruction; waiting for other streams is accounted for.
static double beyond(const Timeline *t, double seconds) {
    uint32_t call, index;
    for (uint32_t i = 0; i < t->program.count; i++)
        if (program_instr(&t->program, i, &call, &index)->stream == 0)
            seconds -= t->instr[i].ends - t->instr[i].waits;
    return seconds > 0 ? seconds : 0;
}

// took: by number in the program, then step; rest: by step.
static PlimStatus run_steps(const Measure *m, Timeline *t, double *took, double *rest,
                            PlimError *error) {
    const int steps = m->o->steps;
    for (int step = -1; step < steps; step++) {
        PlimStatus status = fill_inputs(m, t->program.entry, step + 1, error);
        timeline_clear(t);
        const double began = clock_seconds();
        if (status == PLIM_OK)
            status = run_entry(m->s->run, t->program.entry, error);
        if (status != PLIM_OK)
            return status;
        if (step < 0)
            continue;
        rest[step] = beyond(t, clock_seconds() - began);
        for (uint32_t i = 0; i < t->program.count; i++)
            took[(size_t)i * (size_t)steps + (size_t)step] = t->instr[i].ends - t->instr[i].begins;
    }
    return PLIM_OK;
}

static void take_samples(Measure *m, const Timeline *t, double *took, double *rest) {
    const Plan *p = m->s->plan;
    const int steps = m->o->steps;
    m->start_seconds += median(rest, steps);
    for (uint32_t i = 0; i < t->program.count; i++) {
        uint32_t call, index;
        const PlanInstr *instr = program_instr(&t->program, i, &call, &index);
        const bool called = instr->kind == INSTR_KERNEL || instr->kind == INSTR_PRODUCT;
        m->starts += instr->stream == 0;
        m->sample[m->count++] =
            (MeasuredInstr){.instr = instr,
                            .family = rates_family(p, instr),
                            .key = called ? rates_kernel_key(p->kernel[instr->kernel].text) : 0,
                            .seconds = median(took + (size_t)i * (size_t)steps, steps)};
    }
}

static PlimStatus measure_entry(Measure *m, const PlanEntry *entry, PlimError *error) {
    Timeline *t = timeline_new(m->s->plan, entry, 1);
    const size_t count = t ? (size_t)t->program.count : 0, steps = (size_t)m->o->steps;
    double *took = calloc(count * steps + 1, sizeof *took), *rest = calloc(steps, sizeof *rest);
    MeasuredInstr *room = realloc(m->sample, (m->count + count + 1) * sizeof *room);
    m->sample = room ? room : m->sample;
    PlimStatus status =
        t && took && rest && room ? PLIM_OK : error_set(error, PLIM_NO_MEMORY, "out of memory");
    if (status == PLIM_OK) {
        // What workers do is not asked: being told of it takes time.
        t->observer.tiles = NULL;
        run_observe(m->s->run, &t->observer);
        status = run_steps(m, t, took, rest, error);
        run_forget(m->s->run, &t->observer);
    }
    if (status == PLIM_OK)
        take_samples(m, t, took, rest);
    free(took);
    free(rest);
    timeline_release(t);
    return status;
}

// Far memory on a CPU, one copy at a time: points of a curve each way.
static PlimStatus measure_far(const Measure *m, Rates *r, PlimError *error) {
    enum { LARGEST = 32 << 20, SIZES = 3, ROUNDS = 3 };
    FarMemory *far;
    PlimStatus status = far_memory_new(m->o->far_folder, LARGEST, &far, error);
    if (status != PLIM_OK)
        return status;
    char *near = aligned_alloc(4096, LARGEST);
    if (near)
        memset(near, 1, LARGEST);
    bool good = near != NULL;
    for (int direction = 0; direction < 2; direction++) {
        RateCurve *c = &r->bytes[direction ? RATE_IN : RATE_OUT];
        *c = (RateCurve){0};
        for (int i = 0; i < SIZES && good; i++) {
            const uint64_t bytes = (uint64_t)LARGEST >> (5 * (SIZES - 1 - i));
            double took[ROUNDS];
            for (int k = 0; k < ROUNDS && good; k++) {
                const double began = clock_seconds();
                good = far_memory_copy(far, direction ? near : far_memory_base(far),
                                       direction ? far_memory_base(far) : near, bytes, error);
                took[k] = clock_seconds() - began;
            }
            double seconds = good ? median(took, ROUNDS) : 1;
            // More bytes take no less time.
            const double least = c->count ? c->point[i - 1].size / c->point[i - 1].rate : 0;
            seconds = seconds > least * 1.0001 ? seconds : least * 1.0001;
            c->point[c->count++] = (RatePoint){(double)bytes, (double)bytes / seconds};
        }
    }
    far_memory_release(far);
    if (!near)
        status = error_set(error, PLIM_NO_MEMORY, "out of memory");
    free(near);
    return status != PLIM_OK ? status : good ? PLIM_OK : PLIM_IO;
}

static PlimStatus write_rates(Measure *m, PlanMemory *pm, FILE *out, PlimError *error) {
    const Plan *p = m->s->plan;
    const int threads = run_workers(m->s->run);
    Rates r;
    const char *const *name;
    rates_assume(p->target, p->isa, threads > 0 ? (uint32_t)threads : 1, &r);
    measure_machine(m->s, r.machine);
    if (m->starts)
        r.start = (uint64_t)(m->start_seconds / (double)m->starts * 1e12);
    const Rates assumed = r;
    if (!plan_is_cuda(p) && measure_far(m, &r, error) != PLIM_OK) {
        // Rates are of use without it.
        fprintf(stderr, "far memory was not measured, its rates are assumed: %s\n", error->text);
        r = assumed;
    }
    if (!measure_fit(m->sample, m->count, pm, &r, &name))
        return error_set(error, PLIM_NO_MEMORY, "out of memory");
    rates_write(&r, name, out);
    return PLIM_OK;
}

PlimStatus measure_rates(PlimSession *s, const MeasureOptions *o, FILE *out, PlimError *error) {
    Measure m = {.s = s, .o = o};
    PlanMemory *pm = plan_memory_new();
    PlimStatus status = pm ? session_init_states(s, 0, NULL, error)
                           : error_set(error, PLIM_NO_MEMORY, "out of memory");
    for (uint32_t i = 0; i < s->plan->entry_count && status == PLIM_OK; i++) {
        const PlanEntry *entry = &s->plan->entry[i];
        if (strcmp(entry->name, "init") == 0)
            continue;
        const double began = clock_seconds();
        status = measure_entry(&m, entry, error);
        if (status == PLIM_OK && !o->quiet)
            fprintf(stderr, "%s: %d steps, %.1f ms each\n", entry->name, o->steps + 1,
                    1e3 * (clock_seconds() - began) / (o->steps + 1));
    }
    if (status == PLIM_OK)
        status = write_rates(&m, pm, out, error);
    free(m.sample);
    plan_memory_release(pm);
    return status;
}
