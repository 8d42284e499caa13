// A step played through, and the last pass, which writes that into the plan: streams run their
// instructions one after another, wait for events, and the two copy engines of the device (out to
// far memory, and back in) do one copy at a time each. What an instruction takes by itself is
// passes/cost.c's to say; that instructions which run at the same time slow each other down is not
// known here.
#include "passes/predict.h"

#include "ir/check.h"
#include "passes/pass.h"

#include <string.h>

// When something becomes free, picoseconds from the beginning of the call.
typedef struct {
    uint64_t stream[PLAN_STREAMS_MAX];
    uint64_t engine[2]; // out, in
    uint64_t *event;    // by number
} Clock;

static uint64_t later(uint64_t a, uint64_t b) {
    return a > b ? a : b;
}

// Of times up to PLAN_TIME_MAX.
static uint64_t add(uint64_t a, uint64_t b) {
    return a + b < PLAN_TIME_MAX ? a + b : PLAN_TIME_MAX;
}

// a times a number of calls.
static uint64_t times_calls(uint64_t a, uint32_t calls) {
    return calls && a > PLAN_TIME_MAX / calls ? PLAN_TIME_MAX : a * calls;
}

// What the instruction has to wait for.
static uint64_t ready(const Clock *clock, const PlanInstr *instr, uint32_t event_count,
                      const uint64_t *engine) {
    uint64_t begin = clock->stream[instr->stream];
    for (uint32_t k = 0; k < instr->wait_count; k++)
        if (instr->wait[k] < event_count)
            begin = later(begin, clock->event[instr->wait[k]]);
    return engine ? later(begin, *engine) : begin;
}

// One call of a segment whose steps are step[0 .. count). Each event is signalled by one
// instruction: there are no more than instructions.
static uint64_t play_call(const Plan *p, const PlanStep *step, uint32_t count, const Rates *rates,
                          Clock *clock, PredictedStep *times, Prediction *out) {
    uint64_t end = 0;
    for (uint32_t i = 0; i < count; i++) {
        const PlanInstr *instr = step[i].instr;
        const RateFamily family = rates_family(p, instr);
        uint64_t *engine = family == RATE_OUT  ? &clock->engine[0]
                           : family == RATE_IN ? &clock->engine[1]
                                               : NULL;
        const InstrCost c = cost_instr(rates, p, instr);
        const uint64_t begin = ready(clock, instr, count, engine);
        const uint64_t done = add(begin, c.start + c.work);
        times[i] = (PredictedStep){begin, done, c.start > c.work ? LIMIT_START : c.limit};
        clock->stream[instr->stream] = done;
        if (engine)
            *engine = done;
        if (instr->signal < count)
            clock->event[instr->signal] = done;
        end = later(end, done);
        out->limit[c.limit] = add(out->limit[c.limit], times_calls(c.work, step[i].calls));
        out->limit[LIMIT_START] = add(out->limit[LIMIT_START], times_calls(c.start, step[i].calls));
    }
    return end;
}

bool predict_entry(const PlanUses *u, uint32_t entry, const Rates *rates, PlanMemory *pm,
                   Prediction *out) {
    const Plan *p = u->plan;
    const PlanEntryUses *e = &u->entry[entry];
    *out = (Prediction){.step = plan_alloc(pm, (size_t)e->step_count + 1, sizeof *out->step),
                        .call = plan_alloc(pm, (size_t)p->segment_count + 1, sizeof *out->call)};
    if (!out->step || !out->call)
        return false;
    // Steps of one segment stand side by side.
    for (uint32_t i = 0, count; i < e->step_count; i += count) {
        const uint32_t segment = e->step[i].segment;
        for (count = 1; i + count < e->step_count && e->step[i + count].segment == segment;)
            count++;
        Clock clock = {.event = plan_alloc(pm, count, sizeof *clock.event)};
        if (!clock.event)
            return false;
        out->call[segment] = play_call(p, e->step + i, count, rates, &clock, out->step + i, out);
        out->total = add(out->total, times_calls(out->call[segment], e->step[i].calls));
    }
    return true;
}

bool predict_planned(const PlanUses *u, uint32_t entry, const Rates *rates, PlanMemory *pm,
                     Prediction *out) {
    const PlanEntryUses *e = &u->entry[entry];
    if (!predict_entry(u, entry, rates, pm, out) || u->plan->entry[entry].predicted == 0)
        return out->step != NULL && out->call != NULL;
    out->total = u->plan->entry[entry].predicted;
    memset(out->limit, 0, sizeof out->limit);
    for (uint32_t i = 0; i < e->step_count; i++) {
        const PlanStep *s = &e->step[i];
        const InstrCost c = cost_instr(rates, u->plan, s->instr);
        const uint64_t took = s->instr->duration, start = c.start < took ? c.start : took;
        PredictedStep *p = &out->step[i];
        *p = (PredictedStep){s->instr->begin, add(s->instr->begin, took),
                             start > took - start ? LIMIT_START : c.limit};
        if (i == 0 || e->step[i - 1].segment != s->segment)
            out->call[s->segment] = 0;
        out->call[s->segment] = later(out->call[s->segment], p->end);
        out->limit[c.limit] = add(out->limit[c.limit], times_calls(took - start, s->calls));
        out->limit[LIMIT_START] = add(out->limit[LIMIT_START], times_calls(start, s->calls));
    }
    return true;
}

// Every instruction's times and every entry's, into the plan.
PassResult pass_predict(Module *m, PassCtx *cx) {
    (void)m;
    Plan *p = cx->plan;
    CHECK(p != NULL);
    Rates assumed;
    const Rates *rates = cx->options->rates;
    if (!rates) {
        rates_assume(p->target, p->isa, p->workers, &assumed);
        rates = &assumed;
    }
    p->rates = rates->measured ? arena_format(cx->arena, "%s", rates->machine) : "";
    PlanMemory *pm = plan_memory_new(); // of the index
    const PlanUses *u = pm ? plan_uses_new(p, pm) : NULL;
    CHECK(u);
    for (uint32_t i = 0; i < p->entry_count; i++) {
        Prediction time;
        CHECK(predict_entry(u, i, rates, pm, &time));
        p->entry[i].predicted = time.total;
        // The index leads to each segment once: by its first position.
        for (uint32_t k = 0; k < u->entry[i].step_count; k++) {
            const PlanStep *s = &u->entry[i].step[k];
            PlanInstr *instr = &p->segment[s->segment].instr[s->index];
            instr->begin = time.step[k].begin;
            instr->duration = time.step[k].end - time.step[k].begin;
        }
    }
    plan_memory_release(pm);
    return PASS_CHANGED;
}
