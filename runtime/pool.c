// The worker pool: fork and join over tiles.
//
// A task is published under a generation number; workers that see a new generation claim runs of
// tiles from one shared counter until none is left, then report. Idle workers spin for a moment,
// since the next task of a step usually follows within microseconds, and sleep on a condition
// variable after that, so that a waiting program costs nothing and a machine with other work isn't
// starved. Claims take a fixed fraction of what is left (guided self-scheduling, Polychronopoulos
// and Kuck 1987): few claims, and little idle time at the end when one worker was held up.
//
// Who sees what: the caller writes task, context, tiles and next before it adds to generation
// (release); a worker reads them after it saw the new number (acquire). A worker's results come
// before it takes itself off busy (release); the caller returns after it read 0 there (acquire, and
// the decrements of the others are one release sequence). No worker misses a generation, since the
// caller waits for all of them before it publishes the next.
#include "runtime/pool.h"

#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

enum { SPIN_ROUNDS = 2000, CLAIM_DIVISOR = 4 };

typedef struct {
    PlimPool *pool;
    int index;
    pthread_t thread;
} Worker;

struct PlimPool {
    int workers;
    int started; // threads that exist: worker[1 .. started]
    Worker *worker;
    PoolTask task; // valid while a generation runs
    void *context;
    int64_t tiles;
    atomic_llong next;      // first tile nobody has claimed
    atomic_int busy;        // threads that haven't finished this generation
    atomic_uint generation; // counts tasks
    atomic_bool stop;
    pthread_mutex_t lock; // guards sleeping and waking only
    pthread_cond_t wake;
};

static void pause_briefly(void) {
#if defined(__x86_64__)
    __builtin_ia32_pause();
#endif
}

// Claims tiles until none is left.
static void work(PlimPool *pool, int worker) {
    for (;;) {
        long long begin = atomic_load_explicit(&pool->next, memory_order_relaxed);
        long long end;
        do {
            const long long left = pool->tiles - begin;
            if (left <= 0)
                return;
            const long long take = left / ((long long)pool->workers * CLAIM_DIVISOR);
            end = begin + (take > 0 ? take : 1);
        } while (!atomic_compare_exchange_weak(&pool->next, &begin, end));
        pool->task(pool->context, begin, end, worker);
    }
}

// Waits until a generation other than seen is published; returns it.
static unsigned wait_for_task(PlimPool *pool, unsigned seen) {
    for (int i = 0; i < SPIN_ROUNDS; i++) {
        const unsigned now = atomic_load_explicit(&pool->generation, memory_order_acquire);
        if (now != seen)
            return now;
        pause_briefly();
    }
    pthread_mutex_lock(&pool->lock);
    while (atomic_load(&pool->generation) == seen)
        pthread_cond_wait(&pool->wake, &pool->lock);
    pthread_mutex_unlock(&pool->lock);
    return atomic_load(&pool->generation);
}

static void publish(PlimPool *pool) {
    pthread_mutex_lock(&pool->lock);
    atomic_fetch_add_explicit(&pool->generation, 1, memory_order_release);
    pthread_cond_broadcast(&pool->wake);
    pthread_mutex_unlock(&pool->lock);
}

static void *worker_main(void *argument) {
    Worker *me = argument;
    PlimPool *pool = me->pool;
    unsigned seen = 0;
    for (;;) {
        seen = wait_for_task(pool, seen);
        if (atomic_load(&pool->stop))
            return NULL;
        work(pool, me->index);
        atomic_fetch_sub_explicit(&pool->busy, 1, memory_order_release);
    }
}

PlimPool *pool_new(int workers) {
    PlimPool *pool = calloc(1, sizeof *pool);
    if (!pool)
        return NULL;
    pool->workers = workers;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->wake, NULL);
    pool->worker = calloc((size_t)workers, sizeof *pool->worker);
    if (!pool->worker) {
        pool_release(pool);
        return NULL;
    }
    for (int i = 1; i < workers; i++) {
        pool->worker[i] = (Worker){.pool = pool, .index = i};
        if (pthread_create(&pool->worker[i].thread, NULL, worker_main, &pool->worker[i]) != 0) {
            pool_release(pool);
            return NULL;
        }
        pool->started = i;
    }
    return pool;
}

void pool_release(PlimPool *pool) {
    if (!pool)
        return;
    atomic_store(&pool->stop, true);
    publish(pool);
    for (int i = 1; i <= pool->started; i++)
        pthread_join(pool->worker[i].thread, NULL);
    pthread_cond_destroy(&pool->wake);
    pthread_mutex_destroy(&pool->lock);
    free(pool->worker);
    free(pool);
}

int pool_workers(const PlimPool *pool) {
    return pool->workers;
}

void pool_run(PlimPool *pool, PoolTask task, void *context, int64_t tiles) {
    if (pool->workers == 1 || tiles <= 1) {
        if (tiles > 0)
            task(context, 0, tiles, 0);
        return;
    }
    pool->task = task;
    pool->context = context;
    pool->tiles = tiles;
    atomic_store(&pool->next, 0);
    atomic_store(&pool->busy, pool->started);
    publish(pool);
    work(pool, 0);
    for (int i = 0; atomic_load_explicit(&pool->busy, memory_order_acquire) > 0;) {
        pause_briefly();
        if (i < SPIN_ROUNDS)
            i++;
        else // A worker lost its processor: lend it ours.
            sched_yield();
    }
}
