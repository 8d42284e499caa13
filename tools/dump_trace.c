// One step as Chrome's trace, which Perfetto (ui.perfetto.dev) opens: what is predicted, and beside
// it a step that was measured.
//
// Each stream is a track of slices, an instruction of each call a slice; live bytes by kind are
// counters; an arrow leads from the instruction that signals an event to each that waits for it.
// Times are microseconds from the step's beginning, to a picosecond.
#include "tools/dump.h"

#include "tools/json_put.h"
#include "tools/measured.h"

#include <inttypes.h>

// Processes, which a viewer shows as groups of tracks. SLICES_MAX: more make no readable picture
// and no file that a viewer opens.
enum { PREDICTED = 1, MEASURED = 2, SLICES_MAX = 4000000 };

typedef struct {
    Dump *d;
    uint32_t entry;
    const Prediction *time;
    const Measured *measured; // NULL: nothing was
    JsonPut j;
    uint64_t arrows; // so far: each has a number of its own
} Trace;

// Whole microseconds and six digits of the next one.
static void put_time(Trace *t, const char *key, uint64_t ps) {
    fprintf(t->j.out, ", \"%s\": %" PRIu64 ".%06" PRIu64, key, ps / 1000000, ps % 1000000);
}

static void begin_event(Trace *t, const char *phase, int process, int64_t track) {
    json_put_line(&t->j);
    json_put_open(&t->j, NULL, '{');
    json_put_text(&t->j, "ph", phase);
    json_put_count(&t->j, "pid", (uint64_t)process);
    json_put_integer(&t->j, "tid", track);
}

static void put_name(Trace *t, const char *what, int process, int64_t track, const char *name) {
    begin_event(t, "M", process, track);
    json_put_text(&t->j, "name", what);
    json_put_open(&t->j, "args", '{');
    json_put_text(&t->j, "name", name);
    json_put_close(&t->j, '}');
    json_put_close(&t->j, '}');
}

static void put_slice(Trace *t, uint32_t position, uint32_t slot, uint64_t base) {
    const Plan *p = t->d->plan;
    const PlanStep *s = &t->d->uses->entry[t->entry].step[position];
    const PredictedStep *time = &t->time->step[position];
    begin_event(t, "X", PREDICTED, s->instr->stream);
    put_time(t, "ts", base + time->begin);
    put_time(t, "dur", time->end - time->begin);
    json_put_text(&t->j, "name", s->instr->name);
    json_put_text(&t->j, "cat", plan_phase_name(s->instr->phase));
    json_put_open(&t->j, "args", '{');
    json_put_text(&t->j, "kernel", plan_instr_kernel(p, s->instr));
    json_put_text(&t->j, "segment", p->segment[s->segment].name);
    json_put_count(&t->j, "slot", slot);
    json_put_count(&t->j, "instruction", s->index);
    json_put_text(&t->j, "where", s->instr->where);
    json_put_count(&t->j, "flops", s->instr->flops);
    json_put_count(&t->j, "bytes", s->instr->bytes);
    json_put_text(&t->j, "limit", limit_name(time->limit));
    if (t->measured && t->measured->instr_us && t->measured->instr_us[position] >= 0)
        json_put_real(&t->j, "measured_us", t->measured->instr_us[position]);
    json_put_close(&t->j, '}');
    json_put_close(&t->j, '}');
}

// One end of an arrow, on the slice of an instruction.
static void put_arrow(Trace *t, const char *phase, uint32_t position, uint64_t at) {
    const PlanInstr *instr = t->d->uses->entry[t->entry].step[position].instr;
    begin_event(t, phase, PREDICTED, instr->stream);
    put_time(t, "ts", at);
    json_put_text(&t->j, "name", "event");
    json_put_text(&t->j, "cat", "event");
    json_put_count(&t->j, "id", t->arrows);
    // The slice the arrow ends in is the one around its time, not the next one.
    if (*phase == 'f')
        json_put_text(&t->j, "bp", "e");
    json_put_close(&t->j, '}');
}

// signaller: by event of the segment, the position that signals it, or UINT32_MAX.
static void put_arrows(Trace *t, uint32_t position, const uint32_t *signaller, uint32_t events,
                       uint64_t base) {
    const PlanInstr *instr = t->d->uses->entry[t->entry].step[position].instr;
    for (uint32_t i = 0; i < instr->wait_count; i++) {
        const uint32_t from = instr->wait[i] < events ? signaller[instr->wait[i]] : UINT32_MAX;
        if (from == UINT32_MAX)
            continue;
        t->arrows++;
        // Inside the slice, which ends where the event is signalled.
        const PredictedStep *s = &t->time->step[from];
        put_arrow(t, "s", from, base + (s->end > s->begin ? s->end - 1 : s->end));
        put_arrow(t, "f", position, base + t->time->step[position].begin);
    }
}

// Live bytes of the device by kind: at each position what begins there and what ended before.
static bool put_counters(Trace *t, const uint64_t *at) {
    const Plan *p = t->d->plan;
    const PlanEntryUses *u = &t->d->uses->entry[t->entry];
    uint64_t *change =
        plan_alloc(t->d->memory, ((size_t)u->step_count + 1) * BUFFER_KIND_COUNT, sizeof *change);
    uint64_t live[BUFFER_KIND_COUNT] = {0};
    if (!change)
        return false;
    for (uint32_t i = 0; i < p->buffer_count; i++) {
        const PlanBuffer *b = &p->buffer[i];
        if (p->space[b->space].kind != SPACE_DEVICE)
            continue;
        if (b->entry == UINT32_MAX)
            live[b->kind] += plan_buffer_padded(b);
        if (b->entry != t->entry || b->first >= u->step_count || b->first > b->last)
            continue;
        change[b->first * BUFFER_KIND_COUNT + b->kind] += plan_buffer_padded(b);
        if (b->last < u->step_count)
            change[(b->last + 1) * BUFFER_KIND_COUNT + b->kind] -= plan_buffer_padded(b);
    }
    for (uint32_t i = 0; i < u->step_count; i++) {
        bool changed = i == 0;
        for (int k = 0; k < BUFFER_KIND_COUNT; k++) {
            live[k] += change[(size_t)i * BUFFER_KIND_COUNT + (size_t)k];
            changed = changed || change[(size_t)i * BUFFER_KIND_COUNT + (size_t)k];
        }
        if (!changed)
            continue;
        begin_event(t, "C", PREDICTED, 0);
        put_time(t, "ts", at[i]);
        json_put_text(&t->j, "name", "device memory");
        json_put_open(&t->j, "args", '{');
        for (int k = 0; k < BUFFER_KIND_COUNT; k++)
            json_put_count(&t->j, plan_buffer_kind_name((PlanBufferKind)k), live[k]);
        json_put_close(&t->j, '}');
        json_put_close(&t->j, '}');
    }
    return true;
}

// By event of the segment that stands at steps begin .. begin + count - 1.
static uint32_t *find_signallers(Trace *t, uint32_t begin, uint32_t count) {
    const PlanStep *step = t->d->uses->entry[t->entry].step;
    // Each event is signalled by one instruction: there are no more than instructions.
    uint32_t *signaller = plan_alloc(t->d->memory, (size_t)count + 1, sizeof *signaller);
    for (uint32_t i = 0; signaller && i < count; i++)
        signaller[i] = UINT32_MAX;
    for (uint32_t i = begin; signaller && i < begin + count; i++)
        if (step[i].instr->signal < count)
            signaller[step[i].instr->signal] = i;
    return signaller;
}

// Segments one after another, each call of one after the other. at: when each position runs first.
static bool put_calls(Trace *t, uint64_t *at) {
    const PlanEntryUses *u = &t->d->uses->entry[t->entry];
    uint64_t base = 0;
    for (uint32_t i = 0, count; i < u->step_count; i += count) {
        const uint32_t segment = u->step[i].segment;
        for (count = 1; i + count < u->step_count && u->step[i + count].segment == segment;)
            count++;
        const uint32_t *signaller = find_signallers(t, i, count);
        if (!signaller)
            return false;
        for (uint32_t k = i; k < i + count; k++)
            at[k] = base + t->time->step[k].begin;
        for (uint32_t slot = 0; slot < u->step[i].calls; slot++) {
            for (uint32_t k = i; k < i + count; k++) {
                put_slice(t, k, slot, base);
                put_arrows(t, k, signaller, count, base);
            }
            base += t->time->call[segment];
        }
    }
    return true;
}

// The run's events as they were, but in the second group and from the step's beginning.
static void put_measured(Trace *t) {
    const Measured *m = t->measured;
    put_name(t, "process_name", MEASURED, 0, m->event_count ? "measured" : "measured (log)");
    if (m->event_count == 0) {
        begin_event(t, "X", MEASURED, 1);
        put_time(t, "ts", 0);
        put_time(t, "dur", (uint64_t)(m->step_us < 1e12 ? m->step_us * 1e6 : 1e18));
        json_put_text(&t->j, "name", "step (median)");
        json_put_close(&t->j, '}');
    }
    for (uint32_t i = 0; i < m->event_count; i++) {
        const MeasuredEvent *e = &m->event[i];
        const char phase[] = {e->phase, '\0'};
        begin_event(t, phase, MEASURED, e->track);
        fprintf(t->j.out, ", \"name\": %.*s", (int)e->name_size, e->name);
        if (e->phase == 'X')
            fprintf(t->j.out, ", \"ts\": %.3f, \"dur\": %.3f", e->begin, e->length);
        if (e->args_size > 0)
            fprintf(t->j.out, ", \"args\": %.*s", (int)e->args_size, e->args);
        json_put_close(&t->j, '}');
    }
}

static bool put_all(Trace *t) {
    const Plan *p = t->d->plan;
    uint64_t *at =
        plan_alloc(t->d->memory, (size_t)t->d->uses->entry[t->entry].step_count + 1, sizeof *at);
    if (!at)
        return false;
    json_put_open(&t->j, NULL, '{');
    json_put_text(&t->j, "displayTimeUnit", "ms");
    json_put_open(&t->j, "traceEvents", '[');
    put_name(t, "process_name", PREDICTED, 0, "predicted");
    for (uint32_t i = 0; i < p->stream_count; i++) {
        char name[32];
        snprintf(name, sizeof name, "stream %u", i);
        put_name(t, "thread_name", PREDICTED, i, name);
    }
    if (!put_calls(t, at) || !put_counters(t, at))
        return false;
    if (t->measured)
        put_measured(t);
    json_put_close(&t->j, ']');
    // What a reader of the file alone would ask.
    json_put_open(&t->j, "otherData", '{');
    json_put_text(&t->j, "model", p->model);
    json_put_text(&t->j, "entry", p->entry[t->entry].name);
    json_put_text(&t->j, "target", p->target);
    json_put_text(&t->j, "machine", t->d->machine.machine);
    json_put_close(&t->j, '}');
    json_put_close(&t->j, '}');
    fputc('\n', t->j.out);
    return true;
}

int dump_trace(Dump *d, FILE *out) {
    Prediction time;
    Measured measured;
    Trace t = {.d = d, .time = &time, .j = {.out = out}};
    if (!dump_entry(d, &t.entry))
        return DUMP_FAILED;
    const PlanEntryUses *u = &d->uses->entry[t.entry];
    uint64_t slices = 0;
    for (uint32_t i = 0; i < u->step_count; i++)
        slices += u->step[i].calls;
    if (slices > SLICES_MAX)
        return dump_fail(d,
                         "a step of %.200s runs %" PRIu64 " instructions; a trace has at most %d",
                         d->plan->entry[t.entry].name, slices, SLICES_MAX);
    if (d->options->measured) {
        const int status = measured_read(d, t.entry, &measured);
        if (status != DUMP_DONE)
            return status;
        t.measured = &measured;
    }
    if (!dump_predict(d, t.entry, &time) || !put_all(&t))
        return dump_fail(d, "out of memory");
    return DUMP_DONE;
}
