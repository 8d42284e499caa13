// When copies to far memory and back run beside compute.
//
// On entry: a plan in one stream, where a copy out stands somewhere behind what it saves and a copy
// in before its first user. On exit: each copy has a gap between instructions of the first stream.
//
//   out   begins as soon as its bytes are there. Its source lives on until it is over; where that
//         would take more room than there is, the first stream waits (join)
//   in    begins as late as it may and still be over when its first user begins, seen from the last
//         one back, for the engine copies one at a time; earlier by a share of its time, since
//         times are estimates. It begins later where its place is not free yet
//
// There is room as long as what is live stays below the most that is live anywhere in the entry
// before anything is moved: so the arena needs no more than it did, but for how it packs. Copies in
// that are wanted first are placed first. Times are those of the cost model. A copy out of what was
// just copied in, as when far states change places, stays on the first stream, as does one that
// overwrites what is still to be read.
//
// Kernels of a GPU's host touch far memory alone. They are placed like copies out, but have an
// engine of their own and keep nothing of the device's.
//
// Cost: instructions, and for each copy the gaps it moves over and the accesses of its two buffers.
#include "passes/schedule.h"

#include "ir/check.h"
#include "passes/cost.h"
#include "runtime/plan_uses.h"

#include <string.h>

// Accesses of a buffer, in order: instructions of the segment and which operand.
typedef struct {
    uint32_t instr, operand;
} Touch;

typedef struct {
    const Plan *p;
    CopySchedule *s;
    const Rates *rates;
    Arena *a;
    bool *moved;     // by instruction: a copy with a stream of its own
    uint32_t *begin; // by buffer: where its accesses begin, in
    Touch *access;   // those of buffers that moves touch
    int *number;     // by instruction: compute instructions before it
    int *copy_of;    // by instruction: which copy
    uint32_t *user;  // by instruction, of a copy in: the first one that needs it over
    int64_t *load;   // by time: see time_of
    uint64_t *start; // by gap: when the first stream gets there, picoseconds
    int64_t most;    // that may be live
} CopyWork;

bool instr_is_move(const Plan *p, const PlanInstr *instr) {
    return instr->kind == INSTR_COPY &&
           p->buffer[instr->operand[0].buffer].space != p->buffer[instr->operand[1].buffer].space;
}

static bool is_near(const Plan *p, uint32_t buffer) {
    return p->space[p->buffer[buffer].space].kind == SPACE_DEVICE;
}

bool instr_is_host(const Plan *p, const PlanInstr *instr) {
    return instr->kind == INSTR_KERNEL && !is_near(p, instr->operand[0].buffer);
}

// What the host computes is on its way like a copy out: it begins as soon as it may.
static bool goes_out(const Plan *p, const PlanInstr *instr) {
    return instr_is_host(p, instr) || is_near(p, instr->operand[1].buffer);
}

// Of two that only read none has to wait.
bool operands_meet(const PlanOperand *x, const PlanOperand *y) {
    return x->buffer == y->buffer && (x->access != PLAN_READ || y->access != PLAN_READ) &&
           x->offset < y->offset + y->bytes && y->offset < x->offset + x->bytes;
}

// --- what each copy may not pass ---

// Linear: only buffers that moves touch have lists.
static void list_accesses(CopyWork *w) {
    const PlanSegment *s = w->s->segment;
    const uint32_t buffers = w->p->buffer_count;
    bool *touched = arena_array(w->a, bool, buffers + 1);
    w->begin = arena_array(w->a, uint32_t, buffers + 2);
    uint32_t total = 0;
    for (uint32_t i = 0; i < s->instr_count; i++)
        for (uint32_t k = 0; k < s->instr[i].operand_count; k++) {
            const uint32_t b = s->instr[i].operand[k].buffer;
            touched[b] = touched[b] || w->moved[i];
            total++;
        }
    w->access = arena_array(w->a, Touch, total + 1);
    uint32_t *filled = arena_array(w->a, uint32_t, buffers + 1);
    for (int fill = 0; fill < 2; fill++) {
        for (uint32_t i = 0; i < s->instr_count; i++)
            for (uint32_t k = 0; k < s->instr[i].operand_count; k++) {
                const uint32_t b = s->instr[i].operand[k].buffer;
                if (!touched[b])
                    continue;
                if (fill)
                    w->access[w->begin[b] + filled[b]++] = (Touch){i, k};
                else
                    w->begin[b + 1]++;
            }
        for (uint32_t b = 0; !fill && b < buffers; b++)
            w->begin[b + 1] += w->begin[b];
    }
}

static const PlanOperand *operand_of(const CopyWork *w, const Touch *x) {
    return &w->s->segment->instr[x->instr].operand[x->operand];
}

// The first instruction of the first stream behind the copy that touches what it touches.
static uint32_t find_user(const CopyWork *w, uint32_t instr) {
    const PlanInstr *copy = &w->s->segment->instr[instr];
    uint32_t user = UINT32_MAX;
    for (uint32_t k = 0; k < 2; k++) {
        const uint32_t b = copy->operand[k].buffer;
        for (uint32_t i = w->begin[b]; i < w->begin[b + 1]; i++) {
            const Touch *x = &w->access[i];
            if (x->instr > instr && x->instr < user && !w->moved[x->instr] &&
                operands_meet(operand_of(w, x), &copy->operand[k]))
                user = x->instr;
        }
    }
    return user;
}

// A copy in before a copy out that brings what it reads, or reads what it writes, and that the
// first stream has not used in between; UINT32_MAX: there is none.
static uint32_t find_unused(const CopyWork *w, uint32_t instr) {
    const PlanInstr *copy = &w->s->segment->instr[instr];
    for (uint32_t k = 0; k < copy->operand_count; k++) {
        const uint32_t b = copy->operand[k].buffer;
        for (uint32_t i = w->begin[b]; i < w->begin[b + 1]; i++) {
            const Touch *x = &w->access[i];
            if (x->instr < instr && w->moved[x->instr] && w->user[x->instr] > instr &&
                !goes_out(w->p, &w->s->segment->instr[x->instr]) &&
                operands_meet(operand_of(w, x), &copy->operand[k]))
                return x->instr;
        }
    }
    return UINT32_MAX;
}

static void find_users(CopyWork *w, uint32_t end) {
    for (uint32_t i = 0; i < end; i++)
        if (w->moved[i] && !goes_out(w->p, &w->s->segment->instr[i]))
            w->user[i] = find_user(w, i);
}

// Which copies leave the first stream. Those out that follow one in without compute in between
// stay; where it is a kernel of the host that follows, which all have one stream, the copy in does.
static int choose_moved(CopyWork *w) {
    const PlanSegment *s = w->s->segment;
    int count = 0;
    for (uint32_t i = 0; i < s->instr_count; i++)
        count += w->moved[i] =
            instr_is_move(w->p, &s->instr[i]) || instr_is_host(w->p, &s->instr[i]);
    if (count == 0)
        return 0;
    list_accesses(w);
    find_users(w, s->instr_count);
    for (uint32_t i = 0; i < s->instr_count; i++) {
        if (!w->moved[i] || !goes_out(w->p, &s->instr[i]))
            continue;
        const bool host = instr_is_host(w->p, &s->instr[i]);
        for (uint32_t in; w->moved[i] && (in = find_unused(w, i)) != UINT32_MAX;) {
            w->moved[host ? in : i] = false;
            count--;
            find_users(w, i); // it is one of the first stream's now
        }
    }
    return count;
}

// The first gap in which one of two that meet may stand, seen from the later one.
static int gap_behind(const CopyWork *w, const ScheduledCopy *later, const Touch *x) {
    if (!w->moved[x->instr])
        return w->number[x->instr] + 1;
    const ScheduledCopy *c = &w->s->copy[w->copy_of[x->instr]];
    if (c->out)
        return c->gap; // copies out come first in a gap, each in its turn
    // Behind the user of a copy in, so behind the copy.
    return later->out && w->user[x->instr] != UINT32_MAX ? w->number[w->user[x->instr]] + 1
                                                         : w->number[later->instr];
}

// Copies out begin as early as they may: that is decided here, and what copies in depend on.
static void find_limits(CopyWork *w, ScheduledCopy *c) {
    const PlanInstr *instr = &w->s->segment->instr[c->instr];
    for (uint32_t k = 0; k < instr->operand_count; k++) {
        const uint32_t b = instr->operand[k].buffer;
        for (uint32_t i = w->begin[b]; i < w->begin[b + 1]; i++) {
            const Touch *x = &w->access[i];
            if (x->instr >= c->instr || !operands_meet(operand_of(w, x), &instr->operand[k]))
                continue;
            const int gap = gap_behind(w, c, x);
            c->early = gap > c->early ? gap : c->early;
        }
    }
    CHECK(c->early <= w->number[c->instr]);
    const uint32_t user = w->user[c->instr];
    c->late = user != UINT32_MAX ? w->number[user] : w->s->compute_count;
    c->gap = c->out ? c->early : c->late;
    c->join = w->s->compute_count;
}

// Times as long as a copy takes beside the segment's compute, on average over its time.
static double find_pace(const CopyWork *w, RateFamily copy) {
    const PlanSegment *s = w->s->segment;
    double time = 1, slowed = 1;
    for (uint32_t i = 0; i < s->instr_count; i++) {
        if (w->moved[i])
            continue;
        const InstrCost c = cost_instr(w->rates, w->p, &s->instr[i]);
        time += (double)c.work;
        slowed += (double)c.work * rates_beside(w->rates, copy, rates_family(w->p, &s->instr[i]));
    }
    return slowed / time;
}

// False where no copy leaves the first stream.
static bool find_copies(CopyWork *w) {
    CopySchedule *s = w->s;
    const uint32_t count = s->segment->instr_count;
    w->moved = arena_array(w->a, bool, count + 1);
    w->number = arena_array(w->a, int, count + 1);
    w->copy_of = arena_array(w->a, int, count + 1);
    w->user = arena_array(w->a, uint32_t, count + 1);
    memset(w->user, 0xff, count * sizeof *w->user); // UINT32_MAX: nobody
    const int copies = choose_moved(w);
    if (copies == 0)
        return false;
    s->compute = arena_array(w->a, uint32_t, count + 1);
    s->copy = arena_array(w->a, ScheduledCopy, copies);
    for (uint32_t i = 0; i < count; i++) {
        w->number[i] = s->compute_count;
        if (!w->moved[i])
            s->compute[s->compute_count++] = i;
    }
    const double pace[2] = {find_pace(w, RATE_IN), find_pace(w, RATE_OUT)};
    for (uint32_t i = 0; i < count; i++) {
        if (!w->moved[i])
            continue;
        w->copy_of[i] = s->copy_count;
        ScheduledCopy *c = &s->copy[s->copy_count++];
        const InstrCost cost = cost_instr(w->rates, w->p, &s->segment->instr[i]);
        const bool out = goes_out(w->p, &s->segment->instr[i]);
        const bool host = instr_is_host(w->p, &s->segment->instr[i]);
        const double times = host ? 1 : pace[out];
        *c = (ScheduledCopy){.instr = i,
                             .out = out,
                             .host = host,
                             .time = cost.start + (uint64_t)((double)cost.work * times)};
    }
    // In order: what comes earlier is decided when something depends on it.
    for (int i = 0; i < s->copy_count; i++)
        find_limits(w, &s->copy[i]);
    return true;
}

// --- what is live ---

// Three times a gap: copies out, copies in, the instruction behind.
static int time_of(const CopyWork *w, uint32_t instr) {
    const int at = 3 * w->number[instr];
    if (!w->moved[instr])
        return at + 2;
    return w->s->copy[w->copy_of[instr]].out ? at : at + 1;
}

static int last_time(const CopyWork *w) {
    return 3 * w->s->compute_count + 1;
}

// Of a position of the entry; what lies outside the segment is its begin or end. So is a range
// that begins with it or ends with it, for whatever reason it does.
static int time_at(const CopyWork *w, uint32_t position) {
    const uint32_t first = w->s->first, count = w->s->segment->instr_count;
    if (position <= first)
        return 0;
    return position >= first + count - 1 ? last_time(w) : time_of(w, position - first);
}

static bool lives_here(const CopyWork *w, const PlanBuffer *b) {
    const uint32_t end = w->s->first + w->s->segment->instr_count;
    return b->entry == w->s->entry && b->first < end && b->last >= w->s->first;
}

static void add_load(CopyWork *w, int from, int to, int64_t bytes) {
    for (int t = from; t <= to; t++)
        w->load[t] += bytes;
}

// The load of the device as the plan is.
static void find_load(CopyWork *w) {
    const int times = last_time(w) + 1;
    w->load = arena_array(w->a, int64_t, times + 1);
    for (uint32_t i = 0; i < w->p->buffer_count; i++) {
        const PlanBuffer *b = &w->p->buffer[i];
        if (!is_near(w->p, i) || !lives_here(w, b))
            continue;
        w->load[time_at(w, b->first)] += (int64_t)plan_buffer_padded(b);
        w->load[time_at(w, b->last) + 1] -= (int64_t)plan_buffer_padded(b);
    }
    for (int t = 1; t < times; t++)
        w->load[t] += w->load[t - 1];
}

static int64_t largest_load(const CopyWork *w) {
    int64_t most = 0;
    for (int t = 0; t <= last_time(w); t++)
        most = w->load[t] > most ? w->load[t] : most;
    return most;
}

// When a buffer would begin (sign 1) or end (-1) if it were not for this copy. Others that touch
// it, and ranges that go beyond the segment, keep it.
static int time_without(const CopyWork *w, const ScheduledCopy *c, uint32_t buffer, int sign) {
    const PlanBuffer *b = &w->p->buffer[buffer];
    if (b->entry == UINT32_MAX)
        return sign > 0 ? 0 : last_time(w);
    const int stated = time_at(w, sign > 0 ? b->first : b->last);
    if (stated == (sign > 0 ? 0 : last_time(w)))
        return stated;
    int found = sign > 0 ? last_time(w) : 0;
    for (uint32_t i = w->begin[buffer]; i < w->begin[buffer + 1]; i++) {
        const int t = time_of(w, w->access[i].instr);
        if (w->access[i].instr != c->instr && (sign > 0 ? t < found : t > found))
            found = t;
    }
    return found;
}

// --- places ---

// A copy out on its way.
typedef struct {
    ScheduledCopy *copy;
    uint64_t over; // when
    int kept;      // the time up to which its source is live
} Leaving;

// Whether the source may live on over the next instruction. Takes the room.
static bool keeps_source(CopyWork *w, Leaving *l, int gap) {
    const uint32_t buffer = w->s->segment->instr[l->copy->instr].operand[1].buffer;
    const int64_t bytes = (int64_t)plan_buffer_padded(&w->p->buffer[buffer]);
    const int to = 3 * gap + 3;
    for (int t = l->kept + 1; t <= to; t++)
        if (w->load[t] + bytes > w->most)
            return false;
    if (l->kept < to)
        add_load(w, l->kept + 1, to, bytes);
    l->kept = l->kept < to ? to : l->kept;
    return true;
}

// What an instruction of the first stream takes while copies out go on for so long.
static uint64_t time_beside(const CopyWork *w, const PlanInstr *instr, uint64_t copies) {
    const InstrCost cost = cost_instr(w->rates, w->p, instr);
    const double factor = rates_beside(w->rates, rates_family(w->p, instr), RATE_OUT);
    return rates_stretch(cost.start + cost.work, factor, copies);
}

// Copies out in order of their gaps; start[] is when the first stream reaches each gap, with what
// it waits for them.
static void place_out(CopyWork *w, ScheduledCopy **out, int count) {
    CopySchedule *s = w->s;
    Leaving *leaving = arena_array(w->a, Leaving, count + 1);
    int first = 0, last = 0; // of those on their way
    uint64_t now = 0, engine = 0;
    for (int gap = 0; gap <= s->compute_count; gap++) {
        for (; last < count && out[last]->gap == gap; last++) {
            const uint32_t buffer = s->segment->instr[out[last]->instr].operand[1].buffer;
            engine = (engine > now ? engine : now) + out[last]->time;
            leaving[last] = (Leaving){out[last], engine, time_without(w, out[last], buffer, -1)};
            // Whatever else happens, its bytes are there while it begins.
            if (leaving[last].kept < 3 * gap) {
                add_load(w, leaving[last].kept + 1, 3 * gap,
                         (int64_t)plan_buffer_padded(&w->p->buffer[buffer]));
                leaving[last].kept = 3 * gap;
            }
        }
        w->start[gap] = now;
        if (gap == s->compute_count)
            break;
        // One engine: whoever waits for one waits for those before it.
        int over = first;
        for (int i = first; i < last; i++)
            if (leaving[i].over <= now || !keeps_source(w, &leaving[i], gap)) {
                now = leaving[i].over > now ? leaving[i].over : now;
                over = i + 1;
            }
        for (; first < over; first++)
            leaving[first].copy->join = gap;
        w->start[gap] = now;
        now += time_beside(w, &s->segment->instr[s->compute[gap]], engine > now ? engine - now : 0);
    }
}

// The last gap that the first stream reaches by that time.
static int gap_by(const CopyWork *w, uint64_t time) {
    int low = 0, high = w->s->compute_count;
    while (low < high) {
        const int middle = low + (high - low + 1) / 2;
        if (w->start[middle] <= time)
            low = middle;
        else
            high = middle - 1;
    }
    return low;
}

// Moves a copy in up to the gap, as far as there is room for what it brings.
static void hoist(CopyWork *w, ScheduledCopy *c, int to) {
    const uint32_t buffer = w->s->segment->instr[c->instr].operand[0].buffer;
    const int64_t bytes = (int64_t)plan_buffer_padded(&w->p->buffer[buffer]);
    const int begins = time_without(w, c, buffer, 1);
    for (; c->gap > to; c->gap--) {
        const int low = 3 * c->gap - 2; // copies in of the gap before
        const int end = low + 3 < begins ? low + 3 : begins;
        for (int t = low; t < end; t++)
            if (w->load[t] + bytes > w->most)
                return;
        add_load(w, low, end - 1, bytes);
    }
}

// Copies in, in order of their users.
static void place_in(CopyWork *w, ScheduledCopy **in, int count) {
    uint64_t *begin = arena_array(w->a, uint64_t, count + 1);
    uint64_t next = UINT64_MAX; // when the engine begins the one behind
    for (int i = count - 1; i >= 0; i--) {
        const uint64_t wanted = w->start[in[i]->late];
        const uint64_t end = wanted < next ? wanted : next;
        const uint64_t whole = in[i]->time + in[i]->time / 4; // estimates are no promises
        begin[i] = next = end > whole ? end - whole : 0;
    }
    int before = 0;
    for (int i = 0; i < count; i++) {
        int to = gap_by(w, begin[i]);
        to = to < in[i]->early ? in[i]->early : to;
        // No copy in overtakes one that is wanted before it.
        to = to < before ? before : to;
        hoist(w, in[i], to < in[i]->late ? to : in[i]->late);
        before = in[i]->gap;
    }
}

// Insertion, stable: they stand nearly in order.
static void sort_copies(ScheduledCopy **copy, int count) {
    for (int i = 1; i < count; i++) {
        ScheduledCopy *c = copy[i];
        int at = i;
        for (; at > 0 && copy[at - 1]->gap > c->gap; at--)
            copy[at] = copy[at - 1];
        copy[at] = c;
    }
}

// The load without what the copies themselves keep: place_out and place_in give it back.
static void release_copies(CopyWork *w) {
    const CopySchedule *s = w->s;
    for (int i = 0; i < s->copy_count; i++) {
        const ScheduledCopy *c = &s->copy[i];
        const uint32_t buffer = s->segment->instr[c->instr].operand[c->out ? 1 : 0].buffer;
        const PlanBuffer *b = &w->p->buffer[buffer];
        if (b->entry == UINT32_MAX || c->host)
            continue;
        if (c->out) {
            const int without = time_without(w, c, buffer, -1);
            add_load(w, without + 1, time_at(w, b->last), -(int64_t)plan_buffer_padded(b));
        } else {
            // From where it stands to just before its user.
            const int from = time_at(w, b->first), begins = time_without(w, c, buffer, 1);
            const int to = 3 * c->gap + 1 < begins ? 3 * c->gap + 1 : begins;
            add_load(w, from, to - 1, -(int64_t)plan_buffer_padded(b));
        }
    }
}

static void place_copies(CopyWork *w) {
    CopySchedule *s = w->s;
    ScheduledCopy **list[2];
    int count[2] = {0, 0};
    for (int out = 0; out < 2; out++) {
        list[out] = arena_array(w->a, ScheduledCopy *, s->copy_count + 1);
        for (int i = 0; i < s->copy_count; i++)
            if (s->copy[i].out == (out == 1) && !s->copy[i].host)
                list[out][count[out]++] = &s->copy[i];
        sort_copies(list[out], count[out]);
    }
    w->start = arena_array(w->a, uint64_t, s->compute_count + 2);
    release_copies(w);
    place_out(w, list[1], count[1]);
    place_in(w, list[0], count[0]);
}

int schedule_copies(const Plan *p, uint32_t entry, const Rates *rates, Arena *a,
                    CopySchedule *out) {
    const PlanEntry *e = &p->entry[entry];
    CopyWork *work = arena_array(a, CopyWork, e->call_count + 1);
    int count = 0;
    int64_t most = 0;
    uint32_t position = 0;
    for (uint32_t i = 0; i < e->call_count; i++) {
        const uint32_t segment = e->call[i].segment;
        if (i > 0 && e->call[i - 1].segment == segment)
            continue;
        out[count] =
            (CopySchedule){.entry = entry, .first = position, .segment = &p->segment[segment]};
        position += p->segment[segment].instr_count;
        CopyWork w = {.p = p, .s = &out[count], .rates = rates, .a = a};
        const bool any = find_copies(&w);
        if (!any) { // its load counts all the same
            out[count].compute_count = (int)p->segment[segment].instr_count;
            for (int k = 0; k < out[count].compute_count; k++)
                w.number[k] = k;
        }
        find_load(&w);
        most = largest_load(&w) > most ? largest_load(&w) : most;
        if (any)
            work[count++] = w;
    }
    for (int i = 0; i < count; i++) {
        work[i].most = most;
        place_copies(&work[i]);
    }
    return count;
}
