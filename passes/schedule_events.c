// Streams and events for copies whose places are chosen.
//
// On entry: a segment in one stream, and the gap of each copy. On exit: its instructions stand in
// the new order, copies on their streams; every instruction waits for what it needs of the others,
// unless what it waits for implies it (vector clocks); live ranges are those of the new order.
//
// What an instruction needs over before it begins:
//   - a copy: what the first stream does before it. It has then waited for whatever is over by that
//     place, so whoever's bytes are free there may be overwritten
//   - any: earlier copies that meet one of its operands
//   - any behind the join of a copy out: that copy, whose source is free from there on
// A copy in is waited for by its first user; until then what it reads stays live. Calls end on all
// streams, so nothing is left to wait for at the end. Cost: linear, and for each operand the copies
// so far of its buffer. Kernels of a GPU's host count as copies here; what they touch is free again
// when the call ends.
#include "passes/schedule.h"

#include "ir/check.h"

#include <string.h>

// An operand of a copy or of a kernel of the host, in the list of its buffer.
typedef struct Moved Moved;
struct Moved {
    int position; // in the new order
    const PlanOperand *operand;
    const Moved *next;
};

typedef struct {
    Plan *p;
    const CopySchedule *s;
    Arena *a, *scratch;
    int count;
    PlanInstr *instr;                      // in the new order
    int *from;                             // by position: the instruction as lowered
    int *gap;                              // by position
    const ScheduledCopy **copy;            // by position: NULL for the first stream's
    int *number;                           // by position: how many of its stream up to it
    int *member[STREAM_COUNT];             // by stream and number: position
    int known[STREAM_COUNT][STREAM_COUNT]; // by stream: how many of each it knows to be over
    int (*after)[STREAM_COUNT];            // by position: what is over when it is
    const Moved **moved;                   // by buffer
    int *user;                             // by position of a copy in: its first user, or count
} Order;

static int stream_of(const ScheduledCopy *c) {
    return !c ? STREAM_COMPUTE : c->host ? STREAM_HOST : c->out ? STREAM_OUT : STREAM_IN;
}

// --- the order ---

static void put(Order *o, uint32_t instr, int gap, const ScheduledCopy *copy) {
    o->from[o->count] = (int)instr;
    o->gap[o->count] = gap;
    o->copy[o->count++] = copy;
}

// Copies of each gap: out, in, each kind as it was lowered.
static void take_order(Order *o) {
    const CopySchedule *s = o->s;
    const int gaps = s->compute_count + 1;
    // By gap and kind, counted and filled.
    int *begin = arena_array(o->scratch, int, 2 * gaps + 1);
    const ScheduledCopy **sorted =
        arena_array(o->scratch, const ScheduledCopy *, s->copy_count + 1);
    int *filled = arena_array(o->scratch, int, 2 * gaps);
    for (int i = 0; i < s->copy_count; i++)
        begin[2 * s->copy[i].gap + !s->copy[i].out + 1]++;
    for (int i = 0; i < 2 * gaps; i++)
        begin[i + 1] += begin[i];
    for (int i = 0; i < s->copy_count; i++) {
        const int kind = 2 * s->copy[i].gap + !s->copy[i].out;
        sorted[begin[kind] + filled[kind]++] = &s->copy[i];
    }
    for (int gap = 0; gap < gaps; gap++) {
        for (int i = begin[2 * gap]; i < begin[2 * gap + 2]; i++)
            put(o, sorted[i]->instr, gap, sorted[i]);
        if (gap < s->compute_count)
            put(o, s->compute[gap], gap, NULL);
    }
    CHECK(o->count == (int)s->segment->instr_count);
    for (int i = 0; i < o->count; i++)
        o->instr[i] = s->segment->instr[o->from[i]];
}

// --- events ---

// Waits for number `need` of a stream and all before it.
static void need(Order *o, int position, int of, int number) {
    const int stream = stream_of(o->copy[position]);
    int *known = o->known[stream];
    if (known[of] >= number)
        return;
    const int other = o->member[of][number];
    PlanInstr *signal = &o->instr[other], *wait = &o->instr[position];
    if (signal->signal == UINT32_MAX)
        signal->signal = o->s->segment->event_count++;
    wait->wait[wait->wait_count++] = signal->signal;
    for (int i = 0; i < STREAM_COUNT; i++)
        if (o->after[other][i] > known[i])
            known[i] = o->after[other][i];
}

// The last of each stream that meets an operand of the instruction.
static void need_met(const Order *o, int position, int *wanted) {
    const PlanInstr *instr = &o->instr[position];
    for (uint32_t k = 0; k < instr->operand_count; k++)
        for (const Moved *m = o->moved[instr->operand[k].buffer]; m; m = m->next) {
            const int stream = stream_of(o->copy[m->position]);
            if (!operands_meet(m->operand, &instr->operand[k]))
                continue;
            const int number = o->number[m->position];
            wanted[stream] = number > wanted[stream] ? number : wanted[stream];
            if (stream == STREAM_IN && position < o->user[m->position] && !o->copy[position])
                o->user[m->position] = position;
        }
}

static void remember(Order *o, int position) {
    const PlanInstr *instr = &o->instr[position];
    for (uint32_t k = 0; k < instr->operand_count; k++) {
        Moved *m = arena_new(o->scratch, Moved);
        *m = (Moved){position, &instr->operand[k], o->moved[instr->operand[k].buffer]};
        o->moved[instr->operand[k].buffer] = m;
    }
}

// Whether that copy out is waited for by the gap. Those of the last gap end with the call.
static bool is_joined(const Order *o, int number, int gap) {
    const int join = o->copy[o->member[STREAM_OUT][number]]->join;
    return join <= gap && join < o->s->compute_count;
}

static void make_events(Order *o) {
    int passed[STREAM_COUNT] = {0}; // of each stream, so far
    int joined = 0;                 // copies out that are over by the gap
    for (int i = 0; i < o->count; i++) {
        const int stream = stream_of(o->copy[i]);
        PlanInstr *instr = &o->instr[i];
        instr->stream = (uint32_t)stream;
        instr->wait_count = 0;
        instr->wait = arena_array(o->a, uint32_t, STREAM_COUNT);
        instr->signal = UINT32_MAX;
        int wanted[STREAM_COUNT] = {0};
        need_met(o, i, wanted);
        while (stream != STREAM_OUT && joined < passed[STREAM_OUT] &&
               is_joined(o, joined + 1, o->gap[i]))
            joined++;
        wanted[STREAM_OUT] = joined > wanted[STREAM_OUT] ? joined : wanted[STREAM_OUT];
        if (stream != STREAM_COMPUTE)
            wanted[STREAM_COMPUTE] = passed[STREAM_COMPUTE];
        o->known[stream][stream] = passed[stream];
        for (int k = 0; k < STREAM_COUNT; k++)
            need(o, i, k, wanted[k]);
        o->number[i] = ++passed[stream];
        o->member[stream][passed[stream]] = i;
        o->known[stream][stream] = passed[stream];
        memcpy(o->after[i], o->known[stream], sizeof o->after[i]);
        if (o->copy[i])
            remember(o, i);
    }
}

// --- live ranges ---

typedef struct {
    int first, last;
} Range;

static void use(Range *r, int position) {
    r->first = position < r->first ? position : r->first;
    r->last = position > r->last ? position : r->last;
}

// The last position at which the bytes of a copy's operands are not free.
static int kept_until(const Order *o, const int *gap_begin, int position) {
    const ScheduledCopy *c = o->copy[position];
    if (!c->out)
        return o->user[position] < o->count ? o->user[position] : o->count - 1;
    return c->join < o->s->compute_count ? gap_begin[c->join] - 1 : o->count - 1;
}

// The first position of each gap that is no copy out.
static int *find_gaps(const Order *o) {
    int *begin = arena_array(o->scratch, int, o->s->compute_count + 2);
    for (int i = o->count - 1; i >= 0; i--)
        if (!o->copy[i] || !o->copy[i]->out)
            begin[o->gap[i]] = i;
    return begin;
}

// What begins with the segment or ends with it goes on doing so, for it may do so for others'
// sake: inputs, results, what outlasts micro-batches.
static void fit_range(const Order *o, PlanBuffer *b, const Range *r, const int *position_of) {
    const uint32_t first = o->s->first, last = first + (uint32_t)o->count - 1;
    if (b->first > last || b->last < first)
        return;
    if (b->first > first) {
        const int stated = position_of[b->first - first];
        b->first = first + (uint32_t)(r->first <= r->last ? r->first : stated);
    }
    if (b->last < last) {
        const int stated = position_of[b->last - first];
        b->last = first + (uint32_t)(r->first <= r->last ? r->last : stated);
    }
}

static void fit_ranges(Order *o) {
    Plan *p = o->p;
    Range *range = arena_array(o->scratch, Range, p->buffer_count + 1);
    for (uint32_t i = 0; i < p->buffer_count; i++)
        range[i] = (Range){.first = o->count, .last = -1};
    const int *gap_begin = find_gaps(o);
    int *position_of = arena_array(o->scratch, int, o->count + 1);
    for (int i = 0; i < o->count; i++) {
        const PlanInstr *instr = &o->instr[i];
        position_of[o->from[i]] = i;
        for (uint32_t k = 0; k < instr->operand_count; k++) {
            Range *r = &range[instr->operand[k].buffer];
            use(r, i);
            // Both sides: what nobody reads may be overwritten by somebody else, too.
            if (o->copy[i])
                use(r, kept_until(o, gap_begin, i));
        }
        if (instr->workspace != UINT32_MAX)
            use(&range[instr->workspace], i);
    }
    for (uint32_t i = 0; i < p->buffer_count; i++)
        if (p->buffer[i].entry == o->s->entry)
            fit_range(o, &p->buffer[i], &range[i], position_of);
}

void schedule_events(Plan *p, const CopySchedule *s, Arena *a, Arena *scratch) {
    const uint32_t count = s->segment->instr_count;
    Order o = {.p = p, .s = s, .a = a, .scratch = scratch};
    o.instr = arena_array(a, PlanInstr, count + 1);
    o.from = arena_array(scratch, int, count + 1);
    o.gap = arena_array(scratch, int, count + 1);
    o.copy = arena_array(scratch, const ScheduledCopy *, count + 1);
    o.number = arena_array(scratch, int, count + 1);
    o.after = (int(*)[STREAM_COUNT])arena_alloc(scratch, count + 1, sizeof *o.after);
    o.user = arena_array(scratch, int, count + 1);
    o.moved = arena_array(scratch, const Moved *, p->buffer_count + 1);
    for (int i = 0; i < STREAM_COUNT; i++)
        o.member[i] = arena_array(scratch, int, count + 2);
    for (uint32_t i = 0; i < count; i++)
        o.user[i] = (int)count;
    take_order(&o);
    s->segment->event_count = 0;
    make_events(&o);
    fit_ranges(&o);
    s->segment->instr = o.instr;
}
