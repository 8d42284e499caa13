// POFO's dynamic program for the chains of retain_sample_chain: which inputs of stages are kept,
// which go to far memory and come back, which stages run again (Beaumont, Eyraud-Dubois, Shilova:
// Efficient Combination of Rematerialization and Offloading for Training DNNs, NeurIPS 2021).
//
//   C(i, A, f, b)  least time of stages i .. n - 1 forward and back, and of waiting for copies. A:
//                  bytes kept of stages before, without what goes into i; f: bytes on their way
//                  out when i begins; b: bytes that must have come back when i's backward ends
//
// What goes into stage i is kept (A grows by it) or moved (f and b do). Then either stage i keeps
// its result, or stages i .. j run without keeping anything and run again for the backward, the way
// Rotor does that in the memory that is left. Copies flow a byte at a time, out during the forward
// and back during the backward; f shrinks and b, seen backwards, too by what a stage's time lets
// through. Where they would be in a stage's way it waits. At the turn all of f and b is waited for.
//
// The paper itself was not at hand: this is the recurrence that a public solver has from its
// supplement (ColossalAI, ckpt_solver_pofo), but for this. Slots are bytes, and stages take
// multiples of a byte's copy, so nothing is rounded. Results and what a backward needs are the same
// values, so there is one table and not two. While stages run again, bytes that come back have
// memory of their own throughout, as much as is best, and the rest is waited for after them; that
// solver estimates the time, and the paper is said to find it operation by operation.
//
// The time promised is that of this flow of bytes; values that move as a whole may take longer. So
// the schedule is written too, to be measured as any other.
//
// Cost: states that are reached, times stages, times b. At most (n + 1) budget^3 states.
#include "tests/unit/retain_oracle.h"

#include "ir/check.h"
#include "passes/retain/retain_write.h"

#define NEVER (INT32_MAX / 2)

typedef struct {
    int32_t time; // in copies of a byte; 0: not known yet
    int16_t held; // bytes that come back while stages run again
    int8_t end;   // stages up to this one run again; -1: the stage keeps its result
    bool move;    // what goes into the stage
} Choice;

typedef struct {
    int64_t kept, out, back; // bytes: A, f, b
} State;

// Stages i .. j run and keep nothing.
typedef struct {
    int64_t time;  // in copies of a byte
    int64_t peak;  // bytes
    int64_t burst; // most of a stage's bytes less those that the link takes out before it
} Part;

typedef struct {
    const RetainStage *stage;
    int count;
    int64_t budget, rate;
    const RetainRotor *rotor;
    Part *part;     // by (i, j)
    Choice *choice; // by stage, A, f, b
    RetainWriter *w;
} Work;

static int64_t larger(int64_t x, int64_t y) {
    return x > y ? x : y;
}

static int64_t entering(const Work *k, int i) {
    return i ? k->stage[i - 1].bytes : 0;
}

static const Part *part_of(const Work *k, int i, int j) {
    return &k->part[i * k->count + j];
}

static void find_parts(Work *k, Arena *a) {
    k->part = arena_array(a, Part, (int64_t)k->count * k->count);
    for (int i = 0; i < k->count; i++) {
        Part now = {0};
        for (int j = i; j < k->count; j++) {
            const int64_t bytes = k->stage[j].bytes + (j > i ? k->stage[j - 1].bytes : 0);
            now.peak = larger(now.peak, bytes);
            now.burst = larger(now.burst, bytes - now.time);
            now.time += k->stage[j].forward / k->rate;
            k->part[i * k->count + j] = now;
        }
    }
}

// What the link lets through while the choice's stages run.
typedef struct {
    int64_t out, back; // bytes
    int64_t time;      // of the stages, with waiting
} Flow;

// The stage keeps its result. False where it doesn't fit.
static bool flow_kept(const Work *k, int i, State s, int64_t room, Flow *flow) {
    const RetainStage *x = &k->stage[i];
    const int64_t after =
        x->bytes + (i < k->count - 1 ? x->bytes : 0) + (i ? entering(k, i) : 1) + x->transient;
    if (after > room)
        return false;
    flow->out = x->forward / k->rate + larger(0, x->bytes + s.out - room);
    flow->back = x->backward / k->rate + larger(0, after + s.back - room);
    flow->time = flow->out + flow->back;
    return true;
}

static bool flow_again(const Work *k, int i, State s, int64_t room, Choice c, Flow *flow) {
    const Part *part = part_of(k, i, c.end);
    if (part->peak > room || c.held > room)
        return false;
    const int64_t again = retain_rotor_at(k->rotor, i, c.end, room - c.held).time;
    if (again == INT64_MAX)
        return false;
    flow->out = part->time + larger(0, part->burst + s.out - room);
    flow->back = again / k->rate + s.back - c.held;
    flow->time = flow->out + flow->back;
    return true;
}

// What the choice leads to; its time in then->... is returned, NEVER where it doesn't fit.
static int64_t take(const Work *k, int i, State s, Choice c, State *then) {
    const int64_t into = entering(k, i), room = k->budget - s.kept - into;
    Flow flow;
    if (c.end < 0 ? !flow_kept(k, i, s, room, &flow) : !flow_again(k, i, s, room, c, &flow))
        return NEVER;
    then->kept = s.kept + (c.move ? 0 : into);
    then->out = larger(0, s.out + (c.move ? into : 0) - flow.out);
    then->back = larger(0, s.back - flow.back) + (c.move ? into : 0);
    return flow.time;
}

static int64_t solve(const Work *k, int i, State s);

static void try_choice(const Work *k, int i, State s, Choice c, Choice *best) {
    for (int move = 0; move <= (i > 0); move++) {
        State then;
        c.move = move;
        int64_t time = take(k, i, s, c, &then);
        if (time >= best->time)
            continue;
        time += solve(k, c.end < 0 ? i + 1 : c.end + 1, then);
        if (time >= best->time)
            continue;
        *best = c;
        best->time = (int32_t)time;
    }
}

static Choice *choice_of(const Work *k, int i, State s) {
    const int64_t side = k->budget + 1;
    return &k->choice[((i * side + s.kept) * side + s.out) * side + s.back];
}

// NEVER where nothing fits.
static int64_t solve(const Work *k, int i, State s) {
    if (s.kept + larger(entering(k, i), larger(s.out, s.back)) > k->budget)
        return NEVER;
    if (i == k->count)
        return s.out + s.back;
    Choice *best = choice_of(k, i, s);
    if (best->time)
        return best->time;
    best->time = NEVER;
    try_choice(k, i, s, (Choice){.end = -1}, best);
    for (int j = i; j < k->count - 1; j++)
        for (int64_t held = 0; held <= s.back; held++)
            try_choice(k, i, s, (Choice){.end = (int8_t)j, .held = (int16_t)held}, best);
    return best->time;
}

// --- The schedule ---

// Value i is the result of stage i, made by task i.
static void lose(Work *k, int from, int to) {
    for (int i = from; i < to; i++)
        k->w->there[i] = false;
}

static void go_back(Work *k, int i) {
    retain_run(k->w, 2 * k->count - 1 - i);
    k->w->there[i] = false;
}

static void write_again(Work *k, int s, int t, int64_t m) {
    const int split = retain_rotor_at(k->rotor, s, t, m).split;
    if (!split) {
        retain_want(k->w, s);
        if (s < t)
            write_again(k, s + 1, t, m - k->stage[s].bytes);
        go_back(k, s);
        return;
    }
    for (int i = s; i < split; i++)
        retain_want(k->w, i);
    lose(k, s, split - 1);
    write_again(k, split, t, m - k->stage[split - 1].bytes);
    lose(k, s, split);
    write_again(k, s, split - 1, m);
}

static void write(Work *k, int i, State s) {
    if (i == k->count)
        return;
    const Choice c = *choice_of(k, i, s);
    const int end = c.end < 0 ? i : c.end;
    State then = {0};
    take(k, i, s, c, &then);
    if (c.move)
        retain_store(k->w, i - 1);
    for (int j = i; j <= end; j++)
        retain_run(k->w, j);
    lose(k, c.move ? i - 1 : i, end);
    if (c.end < 0)
        k->w->there[i] = true;
    write(k, end + 1, then);
    if (c.end < 0) {
        go_back(k, i);
        return;
    }
    // What was kept or fetched of the last one's result is lost too, as in Rotor.
    k->w->there[end] = k->w->stored[end] = false;
    write_again(k, i, end, k->budget - s.kept - entering(k, i) - c.held);
}

RetainPofo retain_pofo(const RetainProblem *p, const RetainStage *stage, int count,
                       const RetainRotor *rotor, int64_t budget, Arena *a) {
    // The link's time for a byte is the same for all.
    Work k = {.stage = stage, .count = count, .budget = budget, .rotor = rotor};
    k.rate = stage[0].move / stage[0].bytes;
    for (int i = 0; i < count; i++)
        CHECK(stage[i].move == k.rate * stage[i].bytes && stage[i].forward % k.rate == 0 &&
              stage[i].backward % k.rate == 0);
    find_parts(&k, a);
    const int64_t side = budget + 1;
    k.choice = arena_array(a, Choice, count * side * side * side);
    const int64_t time = solve(&k, 0, (State){0});
    if (time >= NEVER)
        return (RetainPofo){.promised = INT64_MAX};
    k.w = retain_writer(retain_index(p, a), a);
    write(&k, 0, (State){0});
    return (RetainPofo){.promised = time * k.rate, .schedule = retain_written(k.w)};
}
