// A step played through: streams run their instructions one after another, wait for events, and the
// two copy engines of the device (out to far memory, and back in) do one copy at a time each. What
// an instruction takes by itself is passes/cost.c's to say; that instructions which run at the same
// time slow each other down is not known here.
#include "passes/predict.h"

// When something becomes free, picoseconds from the beginning of the call.
typedef struct {
    uint64_t stream[PLAN_STREAMS_MAX];
    uint64_t engine[2]; // out, in
    uint64_t *event;    // by number
} Clock;

static uint64_t later(uint64_t a, uint64_t b) {
    return a > b ? a : b;
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
        const uint64_t done = begin + c.start + c.work;
        times[i] = (PredictedStep){begin, done, c.start > c.work ? LIMIT_START : c.limit};
        clock->stream[instr->stream] = done;
        if (engine)
            *engine = done;
        if (instr->signal < count)
            clock->event[instr->signal] = done;
        end = later(end, done);
        out->limit[c.limit] += c.work * step[i].calls;
        out->limit[LIMIT_START] += c.start * step[i].calls;
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
        out->total += out->call[segment] * e->step[i].calls;
    }
    return true;
}
