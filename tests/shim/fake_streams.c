// A stream is a list of items: work, a record of an event, a wait for one. Recording gives the
// event a new number; a wait is for the number it had when the wait was asked for, and one never
// recorded is no wait, as with CUDA. Items are done under one lock, only inside calls that wait,
// one at a time: at each step one of the streams whose first item may be done is chosen.
//
// A capture keeps the items instead of queueing them. A stream joins a capture by waiting for an
// event recorded in it; when the capture ends, everything must be something that the first stream
// has waited for. Launching a graph puts one item on a stream, which runs the kept items on streams
// of their own.
#include "fake_streams.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { INVALID = 1, INVALID_HANDLE = 400, STREAMS_MAX = 256 };
// Of captures: stream synchronized, not joined, joined from outside, an event's own.
enum { UNSUPPORTED = 900, UNJOINED = 904, ISOLATION = 905, CAPTURED_EVENT = 907 };

typedef enum { ITEM_WORK, ITEM_RECORD, ITEM_WAIT } ItemKind;

typedef struct Item {
    struct Item *next;
    ItemKind kind;
    FakeWork *work;
    FakeEvent *event;
    uint64_t number;    // of the record
    FakeStream *stream; // in a graph: whose it is
    size_t size;
    char argument[];
} Item;

struct FakeStream {
    Item *first, **last;
    FakeGraph *capture; // being captured into, or NULL
    uint64_t position;  // in the capture: of its last item
    uint64_t joined;    // and up to where the first stream has waited for it
};

struct FakeEvent {
    uint64_t asked, done; // numbers of records
    double time;
    bool timed;
    FakeGraph *capture; // the last record was captured
    FakeStream *by;
    uint64_t position; // in the capture
};

struct FakeGraph {
    Item *first, **last;
    FakeStream *origin;
    FakeStream *member[STREAMS_MAX];
    int members;
    uint64_t count;
};

static pthread_mutex_t lock;
static pthread_once_t once = PTHREAD_ONCE_INIT;
static FakeStream *all[STREAMS_MAX];
static FakeGraph *capturing; // one at a time
static uint64_t seed_value, state;

static void set_up(void) {
    pthread_mutexattr_t attributes;
    pthread_mutexattr_init(&attributes);
    pthread_mutexattr_settype(&attributes,
                              PTHREAD_MUTEX_RECURSIVE); // a graph is an item with items
    pthread_mutex_init(&lock, &attributes);
}

static void take(void) {
    pthread_once(&once, set_up);
    pthread_mutex_lock(&lock);
}

static int give(int status) {
    pthread_mutex_unlock(&lock);
    return status;
}

void fake_seed(uint64_t seed) {
    seed_value = state = seed;
}

static uint64_t draw(void) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return state >> 33;
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

FakeStream *fake_stream_new(void) {
    FakeStream *s = calloc(1, sizeof *s);
    s->last = &s->first;
    take();
    for (int i = 0; i < STREAMS_MAX; i++)
        if (!all[i]) {
            all[i] = s;
            break;
        }
    give(0);
    return s;
}

FakeEvent *fake_event_new(bool timed) {
    FakeEvent *e = calloc(1, sizeof *e);
    e->timed = timed;
    return e;
}

void fake_event_free(FakeEvent *e) {
    free(e);
}

static bool may_run(const Item *item) {
    return item && (item->kind != ITEM_WAIT || item->event->done >= item->number);
}

static void run_first(FakeStream *s) {
    Item *item = s->first;
    s->first = item->next;
    if (!s->first)
        s->last = &s->first;
    if (item->kind == ITEM_WORK)
        item->work(item->argument);
    if (item->kind == ITEM_RECORD) {
        item->event->done = item->number > item->event->done ? item->number : item->event->done;
        item->event->time = now();
    }
    free(item);
}

// One item of some stream, to get on with s.
static void run_one(FakeStream *s, FakeStream *const *among, int count) {
    // Late: what s needs. Early: the others first.
    if (seed_value == 0 && may_run(s->first)) {
        run_first(s);
        return;
    }
    FakeStream *can[STREAMS_MAX];
    int found = 0;
    for (int i = 0; i < count; i++)
        if (among[i] && may_run(among[i]->first) && (seed_value > 1 || among[i] != s))
            can[found++] = among[i];
    if (found == 0 && may_run(s->first))
        can[found++] = s;
    if (found == 0) {
        fprintf(stderr, "fake driver: everything waits for an event that nobody records\n");
        abort();
    }
    run_first(can[seed_value > 1 ? draw() % (uint64_t)found : 0]);
}

static void drain(FakeStream *s, FakeStream *const *among, int count) {
    while (s->first)
        run_one(s, among, count);
}

void fake_stream_free(FakeStream *s) {
    take();
    drain(s, all, STREAMS_MAX);
    for (int i = 0; i < STREAMS_MAX; i++)
        if (all[i] == s)
            all[i] = NULL;
    give(0);
    free(s);
}

static Item *item_new(ItemKind kind, size_t size) {
    Item *item = calloc(1, sizeof *item + size);
    item->kind = kind;
    item->size = size;
    return item;
}

static int put(FakeStream *s, Item *item) {
    FakeGraph *g = s->capture;
    item->stream = s;
    if (g) {
        s->position = ++g->count;
        *g->last = item;
        g->last = &item->next;
    } else {
        *s->last = item;
        s->last = &item->next;
    }
    return 0;
}

int fake_enqueue(FakeStream *s, FakeWork *work, const void *argument, size_t size) {
    if (!s)
        return INVALID;
    take();
    Item *item = item_new(ITEM_WORK, size);
    item->work = work;
    memcpy(item->argument, argument, size);
    return give(put(s, item));
}

int fake_record(FakeEvent *e, FakeStream *s) {
    if (!s || !e)
        return INVALID;
    take();
    Item *item = item_new(ITEM_RECORD, 0);
    item->event = e;
    item->number = ++e->asked;
    put(s, item);
    e->capture = s->capture;
    e->by = s;
    e->position = s->position;
    return give(0);
}

static void join(FakeGraph *g, FakeStream *s) {
    for (int i = 0; i < g->members; i++)
        if (g->member[i] == s)
            return;
    g->member[g->members++] = s;
    s->capture = g;
    s->position = s->joined = 0;
}

int fake_wait(FakeStream *s, FakeEvent *e) {
    if (!s || !e)
        return INVALID;
    take();
    // Waiting in a capture for what is outside of it is a mistake.
    if (s->capture && e->capture != s->capture && e->asked > 0)
        return give(ISOLATION);
    // So is waiting for one that was captured when that capture has ended.
    if (e->capture && e->capture != capturing)
        return give(CAPTURED_EVENT);
    if (e->capture)
        join(e->capture, s);
    if (e->asked > 0) {
        Item *item = item_new(ITEM_WAIT, 0);
        item->event = e;
        item->number = e->asked;
        put(s, item);
        if (s->capture && s == s->capture->origin && e->position > e->by->joined)
            e->by->joined = e->position;
    }
    return give(0);
}

int fake_synchronize(FakeStream *s) {
    if (!s)
        return INVALID;
    take();
    if (s->capture)
        return give(UNSUPPORTED);
    // Others may have got on as far as chance lets them.
    for (int i = 0; seed_value > 1 && i < (int)(draw() % 8); i++) {
        FakeStream *other = all[draw() % STREAMS_MAX];
        if (other && may_run(other->first))
            run_first(other);
    }
    drain(s, all, STREAMS_MAX);
    return give(0);
}

// Nobody can wait for, or ask for the time of, what was captured and not done.
int fake_event_synchronize(FakeEvent *e) {
    take();
    if (e->capture)
        return give(CAPTURED_EVENT);
    while (e->done < e->asked)
        run_one(e->by, all, STREAMS_MAX);
    return give(0);
}

int fake_elapsed(const FakeEvent *from, const FakeEvent *to, float *milliseconds) {
    if (!from->timed || !to->timed || from->done == 0 || to->done == 0)
        return INVALID_HANDLE;
    if (from->capture || to->capture)
        return CAPTURED_EVENT;
    *milliseconds = (float)(to->time - from->time);
    return 0;
}

int fake_capture_begin(FakeStream *s) {
    if (!s || capturing)
        return INVALID;
    take();
    FakeGraph *g = calloc(1, sizeof *g);
    capturing = g;
    g->last = &g->first;
    g->origin = s;
    join(g, s);
    return give(0);
}

int fake_capture_end(FakeStream *s, FakeGraph **out) {
    take();
    FakeGraph *g = s->capture;
    *out = NULL;
    if (!g || g->origin != s)
        return give(INVALID);
    bool joined = true;
    capturing = NULL;
    for (int i = 0; i < g->members; i++) {
        FakeStream *m = g->member[i];
        joined = joined && (m == s || m->position <= m->joined);
        m->capture = NULL;
    }
    if (joined)
        *out = g;
    else
        fake_graph_free(g);
    return give(joined ? 0 : UNJOINED);
}

static Item *item_copy(const Item *from) {
    Item *item = malloc(sizeof *item + from->size);
    memcpy(item, from, sizeof *item + from->size);
    item->next = NULL;
    return item;
}

FakeGraph *fake_graph_copy(const FakeGraph *g) {
    FakeGraph *copy = malloc(sizeof *copy);
    *copy = *g;
    copy->first = NULL;
    copy->last = &copy->first;
    for (const Item *item = g->first; item; item = item->next) {
        Item *mine = item_copy(item);
        *copy->last = mine;
        copy->last = &mine->next;
    }
    return copy;
}

void fake_graph_free(FakeGraph *g) {
    for (Item *item = g->first, *next; item; item = next) {
        next = item->next;
        free(item);
    }
    free(g);
}

// Records and waits of a graph mean its own events: the numbers of this launch.
static void run_graph(const void *argument) {
    const FakeGraph *g;
    memcpy(&g, argument, sizeof g);
    FakeStream own[STREAMS_MAX];
    FakeStream *list[STREAMS_MAX];
    enum { EVENTS = 1 << 14 };
    FakeEvent *event = calloc(EVENTS, sizeof *event);
    const FakeEvent **of = calloc(EVENTS, sizeof *of);
    uint64_t *number = calloc(EVENTS, sizeof *number);
    int events = 0;
    for (int i = 0; i < g->members; i++) {
        own[i] = (FakeStream){0};
        own[i].last = &own[i].first;
        list[i] = &own[i];
    }
    for (const Item *item = g->first; item; item = item->next) {
        Item *mine = item_copy(item);
        int at = 0, which = 0;
        while (g->member[at] != item->stream)
            at++;
        if (item->kind != ITEM_WORK) {
            while (which < events && (of[which] != item->event || number[which] != item->number))
                which++;
            if (which == EVENTS)
                abort();
            if (which == events) {
                of[which] = item->event;
                number[which] = item->number;
                events++;
            }
            mine->event = &event[which];
            mine->number = 1;
        }
        *own[at].last = mine;
        own[at].last = &mine->next;
    }
    for (int i = 0; i < g->members; i++)
        drain(&own[i], list, g->members);
    free(event);
    free(of);
    free(number);
}

int fake_graph_launch(const FakeGraph *g, FakeStream *s) {
    return fake_enqueue(s, run_graph, &g, sizeof g);
}
