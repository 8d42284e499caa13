// Streams: every instruction is on the first, in the planner's linear order, but for copies to far
// memory and back, which have streams of their own and run beside compute.
//
// On entry: a plan in linear order. Without moves it stays as it is, and needs no events. With
// them, schedule_copies.c chooses when each copy begins, and by when it must be over;
// schedule_events.c makes streams and events of that, and live ranges.
#include "passes/schedule.h"

#include "ir/check.h"

// All on the first stream, and nobody waits.
static void set_one_stream(Plan *p) {
    p->stream_count = 1;
    for (uint32_t i = 0; i < p->segment_count; i++) {
        p->segment[i].event_count = 0;
        for (uint32_t k = 0; k < p->segment[i].instr_count; k++) {
            p->segment[i].instr[k].stream = STREAM_COMPUTE;
            p->segment[i].instr[k].wait_count = 0;
            p->segment[i].instr[k].signal = UINT32_MAX;
        }
    }
}

static const Rates *rates_of(const PassCtx *cx) {
    if (cx->options->rates)
        return cx->options->rates;
    Rates *assumed = arena_new(cx->scratch, Rates);
    rates_assume(cx->plan->target, cx->plan->isa, cx->plan->workers, assumed);
    return assumed;
}

static void schedule_entry(PassCtx *cx, uint32_t entry, const Rates *rates) {
    Plan *p = cx->plan;
    CopySchedule *s = arena_array(cx->scratch, CopySchedule, p->segment_count + 1);
    const int count = schedule_copies(p, entry, rates, cx->scratch, s);
    int copies = 0, waited = 0, early = 0, host = 0;
    for (int i = 0; i < count; i++) {
        for (int k = 0; k < s[i].copy_count; k++) {
            const ScheduledCopy *c = &s[i].copy[k];
            host += c->host;
            copies += !c->host;
            waited += c->out && c->join < s[i].compute_count;
            early += !c->out && c->gap < c->late;
        }
        schedule_events(p, &s[i], cx->arena, cx->scratch);
    }
    if (count == 0)
        return;
    if (p->stream_count <= STREAM_HOST)
        p->stream_count = host ? STREAM_COUNT : STREAM_HOST;
    remark_add(cx, "schedule", p->entry[entry].name,
               "%d copies run beside compute; %d of those in begin before their users could, and "
               "%d of those out are waited for before the segment ends",
               copies, early, waited);
    if (host)
        remark_add(cx, "schedule", p->entry[entry].name, "%d kernels run on the host beside that",
                   host);
}

PassResult pass_schedule(Module *m, PassCtx *cx) {
    (void)m;
    Plan *p = cx->plan;
    CHECK(p != NULL);
    set_one_stream(p);
    if (p->space_count < 2)
        return PASS_CHANGED;
    const Rates *rates = rates_of(cx);
    for (uint32_t i = 0; i < p->entry_count; i++)
        schedule_entry(cx, i, rates);
    return PASS_CHANGED;
}
