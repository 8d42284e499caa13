// The worker pool and the streams: every tile once, whatever the number of workers; events order streams.
#include "runtime/pool.h"
#include "runtime/stream.h"

#include <criterion/criterion.h>
#include <stdatomic.h>

enum { TILES = 1000, ROUNDS = 200 };

typedef struct {
    atomic_int count[TILES];
    atomic_int in_use[8];
    atomic_int shared; // a worker number used by two threads at once
} Tally;

static void tally(void *context, int64_t begin, int64_t end, int worker) {
    Tally *t = context;
    if (atomic_fetch_add(&t->in_use[worker], 1) != 0)
        atomic_store(&t->shared, 1);
    for (int64_t i = begin; i < end; i++)
        atomic_fetch_add(&t->count[i], 1);
    atomic_fetch_sub(&t->in_use[worker], 1);
}

Test(pool, runs_every_tile_once) {
    for (int workers = 1; workers <= 8; workers++) {
        PlimPool *pool = pool_new(workers);
        cr_assert_not_null(pool);
        cr_assert_eq(pool_workers(pool), workers);
        static Tally t;
        t = (Tally){0};
        for (int round = 0; round < ROUNDS; round++)
            pool_run(pool, tally, &t, round % 3 == 0 ? 1 : TILES);
        for (int i = 1; i < TILES; i++)
            cr_assert_eq(t.count[i], ROUNDS - (ROUNDS + 2) / 3);
        cr_assert_eq(t.count[0], ROUNDS);
        cr_assert_eq(t.shared, 0);
        pool_release(pool);
    }
}

// Three streams hand a token round by events: 0 -> 1 -> 2 -> 0.
typedef struct {
    PlimStreams *streams;
    int order[4];
    int count;
    bool fail;
} Round;

static bool hand_on(void *context, int stream) {
    Round *r = context;
    if (stream > 0 && !stream_wait(r->streams, (uint32_t)stream - 1))
        return false;
    if (r->fail && stream == 1)
        return false;
    r->order[r->count++] = stream; // one at a time, by the events
    stream_signal(r->streams, (uint32_t)stream);
    return stream > 0 || stream_wait(r->streams, 2);
}

Test(stream, events_order_streams_run_after_run) {
    Round r = {0};
    r.streams = streams_new(3, 3, hand_on, &r);
    cr_assert_not_null(r.streams);
    for (int i = 0; i < ROUNDS; i++) {
        r.count = 0;
        cr_assert(streams_run(r.streams));
        cr_assert_eq(r.count, 3);
        for (int s = 0; s < 3; s++)
            cr_assert_eq(r.order[s], s);
    }
    streams_release(r.streams);
}

Test(stream, a_failing_stream_stops_those_that_wait_for_it) {
    Round r = {.fail = true};
    r.streams = streams_new(3, 3, hand_on, &r);
    cr_assert_not(streams_run(r.streams));
    streams_release(r.streams);
}
