// Small problems: the least time for every memory, by A* over what is there.
//
// A state is the next task that runs for the first time, and the set of values that are there. From
// it a task may run whose operands are there and which fits: the next one, or one that ran before.
// A value may be lost at any time, but it is enough to lose one right before a task that doesn't
// fit otherwise. Costs are the times of tasks that run again. What the tasks to
// come read and isn't there has to be made again, and so has what that needs: their times are a
// bound of what a state still costs, exact where memory is ample.
//
// That is Checkmate's problem (arXiv 1910.02653) without the condition that within a stage a task
// runs at most once and in order. Budgets fall from each answer's bytes until there is none.
// Cost: states expanded, of which there may be 2^values; they are counted.
#include "passes/retain/retain_exact.h"

#include "ir/check.h"

#include <string.h>

// WORD: values are its bits. STATES, STATES_ALL: for one budget, and for all.
enum { WORD = 64, TASKS_MAX = 48, STATES = 60000, STATES_ALL = 600000, TABLE = 1 << 18 };
#define NEVER INT64_MAX

typedef struct {
    uint64_t there;
    int64_t cost, bound; // of tasks run again; and of what is sure to come
    int next, parent;    // task; state it comes from
    int task;            // that ran to get here, -1: a value was lost
    bool closed;
} State;

typedef struct {
    const RetainIndex *x;
    int64_t budget;
    uint64_t reads[TASKS_MAX], makes[TASKS_MAX]; // sets of values, without arguments
    uint64_t needed[TASKS_MAX + 1];              // by next task: what it and those after it read
    uint64_t made[TASKS_MAX + 1];                // by next task: what has been made
    uint64_t useless[TASKS_MAX + 1];             // by next task: what nobody may read any more
    int64_t transient[TASKS_MAX];                // with arguments
    State *state;
    int count;
    int *table; // state + 1 by hash of next and there
    int *heap;  // states by cost + bound, then later tasks first; a state may be there twice
    int64_t *heap_key;
    int heap_count;
} Search;

static int first_bit(uint64_t set) {
    return __builtin_ctzll(set);
}

static int64_t bytes_of(const Search *s, uint64_t set) {
    int64_t sum = 0;
    for (; set; set &= set - 1)
        sum += retain_bytes(s->x->p, first_bit(set));
    return sum;
}

static void start(Search *s, Arena *a) {
    const RetainProblem *p = s->x->p;
    for (int v = 0; v < p->value_count; v++) {
        const int maker = p->value[v].maker;
        if (maker < 0)
            continue;
        const uint64_t bit = (uint64_t)1 << v;
        s->makes[maker] |= bit;
        bool again = false; // a reader may run again
        int last = maker;
        for (int i = s->x->reader_begin[v]; i < s->x->reader_begin[v + 1]; i++) {
            const int reader = s->x->reader[i];
            s->reads[reader] |= bit;
            last = reader > last ? reader : last;
            again = again || !(p->task[reader].flags & RETAIN_ONCE);
        }
        for (int t = last + 1; t <= p->task_count && !again && !p->value[v].kept; t++)
            s->useless[t] |= bit;
        s->needed[p->task_count] |= p->value[v].kept ? bit : 0;
    }
    for (int t = p->task_count - 1; t >= 0; t--)
        s->needed[t] = s->needed[t + 1] | s->reads[t];
    for (int t = 0; t < p->task_count; t++) {
        s->made[t + 1] = s->made[t] | s->makes[t];
        s->transient[t] = p->task[t].transient + retain_ambient(p);
    }
    s->state = arena_array(a, State, STATES + 2 * WORD);
    s->table = arena_array(a, int, TABLE);
    s->heap = arena_array(a, int, 4 * (STATES + 2 * WORD));
    s->heap_key = arena_array(a, int64_t, 4 * (STATES + 2 * WORD));
}

// Time of all tasks that have to run again before the end; NEVER where one of them may not.
static int64_t find_bound(const Search *s, uint64_t there, int next) {
    uint64_t missing = s->needed[next] & s->made[next] & ~there, seen = 0;
    int64_t sum = 0;
    while (missing) {
        const int maker = s->x->p->value[first_bit(missing)].maker;
        if (s->x->p->task[maker].flags & RETAIN_ONCE)
            return NEVER;
        sum += retain_time(s->x->p, maker);
        seen |= s->makes[maker];
        missing = (missing | (s->reads[maker] & ~there)) & ~seen;
    }
    return sum;
}

// --- A heap of states ---

static bool sooner(const Search *s, int i, int k) {
    if (s->heap_key[i] != s->heap_key[k])
        return s->heap_key[i] < s->heap_key[k];
    const State *x = &s->state[s->heap[i]], *y = &s->state[s->heap[k]];
    return x->next != y->next ? x->next > y->next : s->heap[i] > s->heap[k];
}

static void swap(Search *s, int i, int k) {
    const int state = s->heap[i];
    const int64_t key = s->heap_key[i];
    s->heap[i] = s->heap[k];
    s->heap_key[i] = s->heap_key[k];
    s->heap[k] = state;
    s->heap_key[k] = key;
}

static void push(Search *s, int state) {
    int i = s->heap_count++;
    s->heap[i] = state;
    s->heap_key[i] = s->state[state].cost + s->state[state].bound;
    for (; i > 0 && sooner(s, i, (i - 1) / 2); i = (i - 1) / 2)
        swap(s, i, (i - 1) / 2);
}

static int pop(Search *s) {
    const int top = s->heap[0];
    swap(s, 0, --s->heap_count);
    for (int i = 0;;) {
        int least = i;
        for (int k = 2 * i + 1; k <= 2 * i + 2 && k < s->heap_count; k++)
            least = sooner(s, k, least) ? k : least;
        if (least == i)
            return top;
        swap(s, i, least);
        i = least;
    }
}

// --- States ---

static int *find_slot(Search *s, uint64_t there, int next) {
    uint64_t hash = (there ^ ((uint64_t)next << 57 | (uint64_t)next)) * 0x9e3779b97f4a7c15u;
    hash ^= hash >> 29;
    for (size_t i = hash % TABLE;; i = (i + 1) % TABLE) {
        const int known = s->table[i];
        if (!known || (s->state[known - 1].there == there && s->state[known - 1].next == next))
            return &s->table[i];
    }
}

static void reach(Search *s, State to) {
    to.there &= ~s->useless[to.next];
    int *slot = find_slot(s, to.there, to.next);
    if (*slot) {
        State *known = &s->state[*slot - 1];
        if (known->cost <= to.cost || s->heap_count >= 4 * STATES)
            return;
        to.bound = known->bound;
        *known = to;
    } else {
        to.bound = find_bound(s, to.there, to.next);
        if (to.bound == NEVER)
            return;
        s->state[s->count++] = to;
        *slot = s->count;
    }
    push(s, *slot - 1);
}

// Runs what can run and loses what is in the way.
static void expand(Search *s, int from) {
    const State at = s->state[from];
    const int64_t held = bytes_of(s, at.there);
    bool tight = false;
    for (int t = 0; t <= at.next && t < s->x->p->task_count; t++) {
        const bool again = t < at.next;
        if (s->reads[t] & ~at.there ||
            (again && (s->x->p->task[t].flags & RETAIN_ONCE || !(s->makes[t] & ~at.there))))
            continue;
        if (held + bytes_of(s, s->makes[t] & ~at.there) + s->transient[t] > s->budget) {
            tight = true;
            continue;
        }
        reach(s, (State){.there = at.there | s->makes[t],
                         .next = at.next + !again,
                         .cost = at.cost + (again ? retain_time(s->x->p, t) : 0),
                         .parent = from,
                         .task = t});
    }
    for (uint64_t set = tight ? at.there : 0; set; set &= set - 1)
        reach(s, (State){.there = at.there & ~(set & -set),
                         .next = at.next,
                         .cost = at.cost,
                         .parent = from,
                         .task = -1});
}

typedef enum { FOUND, NONE, UNKNOWN } Outcome;

static Outcome search(Search *s, int64_t *work, int *goal) {
    memset(s->table, 0, sizeof *s->table * TABLE);
    s->count = s->heap_count = 0;
    reach(s, (State){.parent = -1, .task = -1});
    while (s->heap_count) {
        const int at = pop(s);
        if (s->state[at].closed)
            continue;
        s->state[at].closed = true;
        if (s->state[at].next == s->x->p->task_count &&
            !(s->needed[s->x->p->task_count] & ~s->state[at].there)) {
            *goal = at;
            return FOUND;
        }
        expand(s, at);
        if (s->count > STATES || ++*work > STATES_ALL || s->heap_count >= 4 * STATES)
            return UNKNOWN;
    }
    return NONE;
}

static RetainSchedule write(const Search *s, int goal, Arena *a) {
    int count = 0;
    for (int i = goal; i >= 0; i = s->state[i].parent)
        count += s->state[i].task >= 0;
    RetainStep *step = arena_array(a, RetainStep, count + 1);
    int at = count;
    for (int i = goal; i >= 0; i = s->state[i].parent)
        if (s->state[i].task >= 0)
            step[--at] = (RetainStep){.kind = RETAIN_RUN, .what = s->state[i].task};
    return (RetainSchedule){.count = count, .step = step};
}

bool retain_exact(const RetainIndex *x, int64_t bytes, int64_t apart, RetainFront *front,
                  int64_t *least) {
    if (x->p->value_count > WORD || x->p->task_count > TASKS_MAX)
        return false;
    Arena *a = arena_create();
    Search *s = arena_new(a, Search);
    s->x = x;
    start(s, a);
    Outcome outcome = FOUND;
    int64_t work = 0;
    for (s->budget = bytes - 1; outcome == FOUND;) {
        int goal = -1;
        outcome = search(s, &work, &goal);
        if (outcome != FOUND)
            break;
        Arena *steps = arena_create();
        const RetainCost cost = retain_front_add(front, write(s, goal, steps));
        arena_release(steps);
        CHECK(cost.bytes <= s->budget);
        s->budget = cost.bytes - apart;
    }
    *least = s->budget + 1;
    arena_release(a);
    return outcome == NONE;
}
