// A step played through, and the last pass, which writes that into the plan: streams run their
// instructions one after another, wait for events, and the two copy engines of the device (out to
// far memory, and back in) do one copy at a time each. What an instruction takes by itself is
// passes/cost.c's to say.
//
// What runs on several streams at once shares the machine: between two moments at which anything
// begins or ends, each instruction goes on at the pace that the rates say of its family beside
// those of the others (Rates.beside; several slow it one after the other, but where computing and
// copies both ways go on, which may have been measured together). Alone on its stream, it takes
// exactly its time. Cost: streams squared for each instruction.
#include "passes/predict.h"

#include "ir/check.h"
#include "passes/pass.h"

#include <string.h>

#define NONE UINT32_MAX

// What runs on a stream.
typedef struct {
    uint32_t step; // NONE: nothing
    RateFamily family;
    uint64_t left; // picoseconds, if it were alone
} Running;

// One call of a segment being played.
typedef struct {
    const PlanStep *step;
    uint32_t count;
    const Rates *rates;
    RateFamily *family;  // by step
    uint32_t *on_stream; // by step: the next one of its stream, or NONE
    uint32_t *on_engine; // by step: the copy before it on its engine, or NONE
    uint32_t *signal;    // by event: the step that signals it, or NONE
    bool *over;          // by step
    uint32_t streams;
    uint32_t next[PLAN_STREAMS_MAX];   // by stream: the step that begins next, or NONE
    Running running[PLAN_STREAMS_MAX]; // by stream
    PredictedStep *times;
    InstrCost *cost; // by step
} Call;

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

// False when there is no memory.
static bool call_init(Call *c, const Plan *p, PlanMemory *pm) {
    const size_t count = c->count;
    c->family = plan_alloc(pm, count, sizeof *c->family);
    c->on_stream = plan_alloc(pm, count, sizeof *c->on_stream);
    c->on_engine = plan_alloc(pm, count, sizeof *c->on_engine);
    c->signal = plan_alloc(pm, count, sizeof *c->signal);
    c->over = plan_alloc(pm, count, sizeof *c->over);
    c->cost = plan_alloc(pm, count, sizeof *c->cost);
    if (!c->family || !c->on_stream || !c->on_engine || !c->signal || !c->over || !c->cost)
        return false;
    uint32_t engine[2] = {NONE, NONE}, last[PLAN_STREAMS_MAX];
    for (int k = 0; k < PLAN_STREAMS_MAX; k++)
        c->next[k] = last[k] = c->running[k].step = NONE;
    for (uint32_t i = 0; i < c->count; i++)
        c->signal[i] = NONE;
    for (uint32_t i = 0; i < c->count; i++) {
        const PlanInstr *instr = c->step[i].instr;
        const uint32_t stream = instr->stream;
        const RateFamily family = c->family[i] = rates_family(p, instr);
        c->cost[i] = cost_instr(c->rates, p, instr);
        c->on_stream[i] = c->on_engine[i] = NONE;
        *(last[stream] == NONE ? &c->next[stream] : &c->on_stream[last[stream]]) = i;
        last[stream] = i;
        c->streams = stream >= c->streams ? stream + 1 : c->streams;
        if (family == RATE_OUT || family == RATE_IN) {
            c->on_engine[i] = engine[family == RATE_IN];
            engine[family == RATE_IN] = i;
        }
        // Each event is signalled by one instruction: there are no more than instructions.
        if (instr->signal < c->count && c->signal[instr->signal] == NONE)
            c->signal[instr->signal] = i;
    }
    return true;
}

// Whether nothing that stands before the step keeps it from beginning; what stands behind it never
// does, so the first one that is not over always may begin.
static bool may_begin(const Call *c, uint32_t step) {
    const PlanInstr *instr = c->step[step].instr;
    if (c->on_engine[step] != NONE && !c->over[c->on_engine[step]])
        return false;
    for (uint32_t k = 0; k < instr->wait_count; k++) {
        const uint32_t by = instr->wait[k] < c->count ? c->signal[instr->wait[k]] : NONE;
        if (by < step && !c->over[by])
            return false;
    }
    return true;
}

static void begin_steps(Call *c, uint64_t now) {
    for (uint32_t k = 0; k < c->streams; k++) {
        const uint32_t step = c->next[k];
        if (c->running[k].step != NONE || step == NONE || !may_begin(c, step))
            continue;
        const InstrCost *cost = &c->cost[step];
        c->running[k] = (Running){step, c->family[step], cost->start + cost->work};
        c->next[k] = c->on_stream[step];
        c->times[step].begin = now;
    }
}

// Times as long as alone.
static double pace(const Call *c, uint32_t stream) {
    const RateFamily family = c->running[stream].family;
    const bool copies = family == RATE_OUT || family == RATE_IN;
    double factor = 1;
    bool out = false, in = false; // an engine does one copy at a time
    bool computes = false;
    for (uint32_t k = 0; k < c->streams; k++) {
        if (k == stream || c->running[k].step == NONE)
            continue;
        const RateFamily other = c->running[k].family;
        out = out || other == RATE_OUT;
        in = in || other == RATE_IN;
        if (other == RATE_OUT || other == RATE_IN)
            continue;
        computes = true;
        factor *= rates_beside(c->rates, family, other);
    }
    if (copies && computes && (out || in) && c->rates->both[family] >= 1)
        return c->rates->both[family];
    if (out && in)
        return factor * rates_beside_both(c->rates, family);
    return out  ? factor * rates_beside(c->rates, family, RATE_OUT)
           : in ? factor * rates_beside(c->rates, family, RATE_IN)
                : factor;
}

// Work that takes so long at this pace; what is left of it after some time. Alone, exactly.
static uint64_t slowed(uint64_t work, double factor) {
    const double time = (double)work * factor;
    return factor <= 1 ? work : time < 1e18 ? (uint64_t)time : PLAN_TIME_MAX;
}

static uint64_t after(uint64_t left, double factor, uint64_t time) {
    const uint64_t done = factor <= 1 ? time : (uint64_t)((double)time / factor);
    return left > done ? left - done : 0;
}

// Goes on to where the first of what runs ends. Returns how many ended there.
static uint32_t end_steps(Call *c, uint64_t *now) {
    double factor[PLAN_STREAMS_MAX];
    uint64_t takes[PLAN_STREAMS_MAX], first = PLAN_TIME_MAX;
    uint32_t ended = 0;
    for (uint32_t k = 0; k < c->streams; k++) {
        if (c->running[k].step == NONE)
            continue;
        factor[k] = pace(c, k);
        takes[k] = slowed(c->running[k].left, factor[k]);
        first = takes[k] < first ? takes[k] : first;
    }
    *now = add(*now, first);
    for (uint32_t k = 0; k < c->streams; k++) {
        Running *r = &c->running[k];
        if (r->step == NONE)
            continue;
        if (takes[k] > first) {
            r->left = after(r->left, factor[k], first);
            continue;
        }
        c->times[r->step].end = *now;
        c->over[r->step] = true;
        r->step = NONE;
        ended++;
    }
    return ended;
}

// Picoseconds of one call.
static uint64_t play_call(Call *c, Prediction *out) {
    uint64_t now = 0;
    for (uint32_t over = 0; over < c->count;) {
        begin_steps(c, now);
        over += end_steps(c, &now);
    }
    for (uint32_t i = 0; i < c->count; i++) {
        const uint64_t took = c->times[i].end - c->times[i].begin;
        const uint64_t start = c->cost[i].start < took ? c->cost[i].start : took;
        const Limit limit = c->cost[i].limit;
        c->times[i].limit = start > took - start ? LIMIT_START : limit;
        out->limit[limit] = add(out->limit[limit], times_calls(took - start, c->step[i].calls));
        out->limit[LIMIT_START] =
            add(out->limit[LIMIT_START], times_calls(start, c->step[i].calls));
    }
    return now;
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
        Call call = {.step = e->step + i, .count = count, .rates = rates, .times = out->step + i};
        if (!call_init(&call, p, pm))
            return false;
        out->call[segment] = play_call(&call, out);
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
