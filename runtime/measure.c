// Whole steps run, on inputs drawn at random within their bounds and weights as they are
// initialised, so that each kernel finds caches and memory as it will; an observer notes when its
// instructions begin and end. The first step touches memory for the first time and does not count;
// of the others each instruction's median does. Whatever disturbs a step makes some instruction
// longer, and mostly another one than the last time: medians add up to less than a step takes. So
// they are stretched to the median of the sums. What a step takes beyond its instructions, shared
// out among them, is the start of one.
//
// Far memory is timed by itself where no instruction uses it, so that a plan which moves nothing
// tells what moving would take; and so are steps beside copies without end, out, in, and both ways,
// each right behind a step alone, so that a machine which changes its speed changes it for both.
// What the families' instructions then take longer, and the copies, is how much they slow each
// other.
//
// Long steps are few: one beside copies behind each step alone, the ways in turn, and no more once
// half of the steps alone agree.
#include "runtime/measure.h"

#include "runtime/error.h"
#include "runtime/measure_far.h"
#include "runtime/measure_fit.h"
#include "runtime/progress.h"
#include "runtime/timeline.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What goes on beside a step.
enum { ALONE, BESIDE_OUT, BESIDE_IN, BESIDE_BOTH, MODES };
static const FarWays ways_of[MODES] = {
    [BESIDE_OUT] = FAR_OUT, [BESIDE_IN] = FAR_IN, [BESIDE_BOTH] = FAR_BOTH};
// Of a family's instructions alone, and of copies beside steps, from which on they tell anything.
static const double FAMILY_SECONDS = 2e-3;
// And rounds of copies alone, of an entry at most.
enum { FAR_COPIES_MIN = 4, FAR_ROUNDS = 12 };
// Steps from so many seconds on are few: they end when so many are within a share of their median.
static const double LONG_SECONDS = 1, AGREED = 0.01;
enum { ROUNDS_MIN = 3 };

// Seconds of an entry's steps. A round is a step alone and one beside copies or several.
typedef struct {
    Timeline *t;
    int rounds, turns; // done so far; in so many rounds each way of copies has its turn
    double *took;      // by number in the program, round of all there may be: alone
    double *rest;      // by round: beyond instructions
    double *own;       // by round: of the first stream's instructions
    int beside;        // steps beside copies
    double (*family)[MODES][RATE_COUNT]; // by round: of its instructions; 0: not in this round
} Steps;

typedef struct {
    PlimSession *s;
    const MeasureOptions *o;
    MeasuredInstr *sample; // of all entries so far
    uint32_t count;
    double start_seconds;             // sum over steps' medians: beyond instructions
    uint64_t starts;                  // instructions that they are of
    MeasureFar *far;                  // NULL: far memory is not measured
    double family[RATE_COUNT][MODES]; // seconds of a step's instructions, of all entries
    FarCopies copies[MODES][2];       // those beside steps: out, in
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

// Seconds of the step that nothing on the first stream accounts for, by when it came to each
// instruction; waiting for other streams is accounted for.
static double beyond(const Timeline *t, double seconds) {
    uint32_t call, index;
    for (uint32_t i = 0; i < t->program.count; i++)
        if (program_instr(&t->program, i, &call, &index)->stream == 0)
            seconds -= t->instr[i].ends - t->instr[i].waits;
    return seconds > 0 ? seconds : 0;
}

// One step, timed; copies that run beside it count into m.
static PlimStatus run_step(Measure *m, Timeline *t, int64_t step, int mode, double *seconds,
                           PlimError *error) {
    PlimStatus status = fill_inputs(m, t->program.entry, step, error);
    timeline_clear(t);
    if (status == PLIM_OK && mode != ALONE)
        status = measure_far_begin(m->far, ways_of[mode], error);
    if (status != PLIM_OK)
        return status;
    const double began = clock_seconds();
    // The compiler predicts a product and the kernel behind it each by itself.
    status = run_entry_apart(m->s->run, t->program.entry, error);
    *seconds = clock_seconds() - began;
    if (mode == ALONE)
        return status;
    FarCopies beside[2];
    PlimError later;
    const PlimStatus ended = measure_far_end(m->far, beside, status == PLIM_OK ? error : &later);
    for (int way = 0; way < 2; way++) {
        m->copies[mode][way].seconds += beside[way].seconds;
        m->copies[mode][way].count += beside[way].count;
    }
    return status == PLIM_OK ? ended : status;
}

// Whether a round of copies comes after this one of so many steps: a few, spread over them.
static bool round_follows(int step, int steps) {
    const int64_t rounds = steps < FAR_ROUNDS ? steps : FAR_ROUNDS;
    return (step + 1) * rounds / steps > step * rounds / steps;
}

static bool is_near(const PlanInstr *instr) {
    return instr->stream == 0;
}

// Takes down a step of this round.
static void note_step(Steps *x, const MeasureOptions *o, const Plan *p, int mode, double seconds) {
    const Timeline *t = x->t;
    const int round = x->rounds;
    for (uint32_t i = 0; i < t->program.count; i++) {
        uint32_t call, index;
        const PlanInstr *instr = program_instr(&t->program, i, &call, &index);
        const double took = t->instr[i].ends - t->instr[i].begins;
        x->family[round][mode][rates_family(p, instr)] += took;
        if (mode != ALONE)
            continue;
        x->took[(size_t)i * (size_t)o->steps + (size_t)round] = took;
        x->own[round] += is_near(instr) ? took : 0;
    }
    if (mode == ALONE)
        x->rest[round] = beyond(t, seconds);
}

// Whether copies go this way in the round.
static bool has_turn(const Steps *x, int round, int mode) {
    return mode == ALONE || round % x->turns == (mode - 1) % x->turns;
}

static PlimStatus run_round(Measure *m, Steps *x, PlimError *error) {
    const int round = x->rounds;
    for (int mode = 0; mode < (m->far ? MODES : 1); mode++) {
        double seconds;
        if (!has_turn(x, round, mode))
            continue;
        const PlimStatus status = run_step(m, x->t, round + 1, mode, &seconds, error);
        if (status != PLIM_OK)
            return status;
        note_step(x, m->o, m->s->plan, mode, seconds);
        x->beside += mode != ALONE;
    }
    x->rounds++;
    return m->far && round_follows(x->rounds, m->o->steps + 1) ? measure_far_round(m->far, error)
                                                               : PLIM_OK;
}

// Half of the steps alone are near their median, and each way has had its turn.
static bool agree(const Steps *x, double *room) {
    if (x->rounds < ROUNDS_MIN)
        return false;
    const size_t size = sizeof *room * (size_t)x->rounds;
    memcpy(room, x->own, size);
    const double median = measure_median(room, x->rounds);
    for (int i = 0; i < x->rounds; i++)
        room[i] = fabs(x->own[i] - median);
    return measure_median(room, x->rounds) <= AGREED * median;
}

static PlimStatus run_steps(Measure *m, Steps *x, double *room, PlimError *error) {
    double seconds = 0;
    PlimStatus status = run_step(m, x->t, 0, ALONE, &seconds, error);
    if (status == PLIM_OK && m->far)
        status = measure_far_round(m->far, error);
    const bool is_long = seconds >= LONG_SECONDS;
    x->turns = !is_long ? 1 : m->o->steps < ROUNDS_MIN ? m->o->steps : ROUNDS_MIN;
    while (status == PLIM_OK && x->rounds < m->o->steps) {
        status = run_round(m, x, error);
        if (is_long && m->o->may_end && agree(x, room))
            break;
    }
    return status;
}

// How many times as long a family's instructions take beside such copies: the median over rounds.
static double slowed(const Steps *x, RateFamily family, int mode, double *room) {
    int count = 0;
    for (int i = 0; i < x->rounds; i++)
        if (has_turn(x, i, mode) && x->family[i][ALONE][family] > 0)
            room[count++] = x->family[i][mode][family] / x->family[i][ALONE][family];
    return count ? measure_median(room, count) : 1;
}

static void take_families(Measure *m, const Steps *x, double *room) {
    for (RateFamily f = 0; f < RATE_COUNT; f++) {
        for (int i = 0; i < x->rounds; i++)
            room[i] = x->family[i][ALONE][f];
        const double alone = measure_median(room, x->rounds);
        m->family[f][ALONE] += alone;
        for (int mode = ALONE + 1; mode < (m->far ? MODES : 1); mode++)
            m->family[f][mode] += alone * slowed(x, f, mode, room);
    }
}

static void take_samples(Measure *m, const Steps *x, double *room) {
    const Plan *p = m->s->plan;
    const Timeline *t = x->t;
    const uint32_t first = m->count;
    double sum = 0;
    m->start_seconds += measure_median(x->rest, x->rounds);
    for (uint32_t i = 0; i < t->program.count; i++) {
        uint32_t call, index;
        const PlanInstr *instr = program_instr(&t->program, i, &call, &index);
        const bool called = instr->kind == INSTR_KERNEL || instr->kind == INSTR_PRODUCT;
        const double seconds = measure_median(x->took + (size_t)i * (size_t)m->o->steps, x->rounds);
        sum += is_near(instr) ? seconds : 0;
        m->starts += is_near(instr);
        m->sample[m->count++] =
            (MeasuredInstr){.instr = instr,
                            .family = rates_family(p, instr),
                            .key = called ? rates_kernel_key(p->kernel[instr->kernel].text) : 0,
                            .seconds = seconds};
    }
    const double stretch = sum > 0 ? measure_median(x->own, x->rounds) / sum : 1;
    for (uint32_t i = first; i < m->count; i++)
        m->sample[i].seconds *= stretch;
    take_families(m, x, room);
}

static void tell(const Measure *m, const char *entry, const Steps *x) {
    if (m->o->quiet)
        return;
    fprintf(stderr, "%s: %.1f ms, the median of %d step%s", entry,
            1e3 * (measure_median(x->own, x->rounds) + measure_median(x->rest, x->rounds)),
            x->rounds, x->rounds == 1 ? "" : "s");
    if (x->beside)
        fprintf(stderr, "; %d more beside copies to far memory and back", x->beside);
    fputc('\n', stderr);
}

static PlimStatus measure_entry(Measure *m, const PlanEntry *entry, PlimError *error) {
    Timeline *t = timeline_new(m->s->plan, entry, 1);
    const size_t count = t ? (size_t)t->program.count : 0, steps = (size_t)m->o->steps;
    Steps x = {.t = t,
               .took = calloc(count * steps + 1, sizeof *x.took),
               .rest = calloc(steps, sizeof *x.rest),
               .own = calloc(steps, sizeof *x.own),
               .family = calloc(steps, sizeof *x.family)};
    double *room = calloc(steps, sizeof *room);
    MeasuredInstr *sample = realloc(m->sample, (m->count + count + 1) * sizeof *sample);
    m->sample = sample ? sample : m->sample;
    PlimStatus status = t && x.took && x.rest && x.own && x.family && room && sample
                            ? PLIM_OK
                            : error_set(error, PLIM_NO_MEMORY, "out of memory");
    if (status == PLIM_OK) {
        // What workers do is not asked: being told of it takes time.
        t->observer.tiles = NULL;
        run_observe(m->s->run, &t->observer);
        status = run_steps(m, &x, room, error);
        run_forget(m->s->run, &t->observer);
    }
    if (status == PLIM_OK) {
        take_samples(m, &x, room);
        tell(m, entry->name, &x);
    }
    free(x.took);
    free(x.rest);
    free(x.own);
    free(x.family);
    free(room);
    timeline_release(t);
    return status;
}

// How much families and copies slow each other, where there was enough of both to tell.
static void find_beside(const Measure *m, Rates *r) {
    static const RateFamily direction[2] = {RATE_OUT, RATE_IN};
    const FarCopies *both = m->copies[BESIDE_BOTH];
    for (RateFamily f = 0; f < RATE_OUT; f++) {
        const double alone = m->family[f][ALONE];
        if (alone < FAMILY_SECONDS)
            continue;
        for (int way = 0; way < 2; way++) {
            const int mode = way ? BESIDE_IN : BESIDE_OUT;
            const FarCopies *copies = &m->copies[mode][way];
            if (copies->count < FAR_COPIES_MIN)
                continue;
            r->beside[f][direction[way]] = fmax(m->family[f][mode] / alone, 1);
            r->beside[direction[way]][f] =
                fmax(measure_far_slowed(m->far, direction[way], copies), 1);
        }
        if (both[0].count >= FAR_COPIES_MIN && both[1].count >= FAR_COPIES_MIN)
            r->both[f] = fmax(m->family[f][BESIDE_BOTH] / alone, 1);
    }
    for (int way = 0; way < 2; way++)
        if (both[way].count >= FAR_COPIES_MIN)
            r->both[direction[way]] =
                fmax(measure_far_slowed(m->far, direction[way], &both[way]), 1);
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
    if (m->far) {
        measure_far_rates(m->far, &r);
        find_beside(m, &r);
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
    if (status == PLIM_OK && !plan_is_cuda(s->plan) &&
        measure_far_new(o->far_folder, &m.far, error) != PLIM_OK)
        // Rates are of use without it.
        fprintf(stderr, "far memory was not measured, its rates are assumed: %s\n", error->text);
    for (uint32_t i = 0; i < s->plan->entry_count && status == PLIM_OK; i++) {
        const PlanEntry *entry = &s->plan->entry[i];
        if (strcmp(entry->name, "init") == 0)
            continue;
        status = measure_entry(&m, entry, error);
    }
    if (status == PLIM_OK)
        status = write_rates(&m, pm, out, error);
    measure_far_release(m.far);
    free(m.sample);
    plan_memory_release(pm);
    return status;
}
