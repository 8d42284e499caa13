// Streams on the CPU: one thread each, one lock for all, because events are rare next to the work
// between them. An event is the number of the run in which it was last signalled, so that nothing
// needs clearing: what the last run signalled has a smaller number.
//
// The lock is also what makes one stream's writes visible to another: a signal releases it after
// the work before, a wait takes it before the work after. A stream that fails wakes all that wait,
// so no run hangs. body, context and stream never change; the caller's own data for a run must be
// written before streams_run.
#include "runtime/stream.h"

#include <pthread.h>
#include <stdlib.h>

typedef struct {
    PlimStreams *all;
    int index;
    pthread_t thread;
} Stream;

struct PlimStreams {
    int count, started; // threads exist for stream 1 .. started
    Stream *stream;
    uint64_t *event; // run number of the last signal
    StreamBody body;
    void *context;
    pthread_mutex_t lock; // guards everything below and event
    pthread_cond_t change;
    uint64_t run; // number of the current run
    int busy;     // streams that haven't finished it, stream 0 not counted
    bool failed, stop;
};

// Of a stream with a thread; stream 0 is the caller's own and counts for itself.
static void finish(PlimStreams *s, bool ok) {
    pthread_mutex_lock(&s->lock);
    s->busy--;
    s->failed = s->failed || !ok;
    pthread_cond_broadcast(&s->change);
    pthread_mutex_unlock(&s->lock);
}

static void *stream_main(void *argument) {
    Stream *me = argument;
    PlimStreams *s = me->all;
    // The last run this thread took part in.
    uint64_t seen = 0;
    for (;;) {
        pthread_mutex_lock(&s->lock);
        while (s->run == seen && !s->stop)
            pthread_cond_wait(&s->change, &s->lock);
        seen = s->run;
        const bool stop = s->stop;
        pthread_mutex_unlock(&s->lock);
        if (stop)
            return NULL;
        finish(s, s->body(s->context, me->index));
    }
}

PlimStreams *streams_new(int count, int events, StreamBody body, void *context) {
    PlimStreams *s = calloc(1, sizeof *s);
    if (!s)
        return NULL;
    s->count = count;
    s->body = body;
    s->context = context;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->change, NULL);
    s->stream = calloc((size_t)count, sizeof *s->stream);
    s->event = calloc((size_t)events + 1, sizeof *s->event);
    if (!s->stream || !s->event) {
        streams_release(s);
        return NULL;
    }
    for (int i = 1; i < count; i++) {
        s->stream[i] = (Stream){.all = s, .index = i};
        if (pthread_create(&s->stream[i].thread, NULL, stream_main, &s->stream[i]) != 0) {
            streams_release(s);
            return NULL;
        }
        s->started = i;
    }
    return s;
}

void streams_release(PlimStreams *s) {
    if (!s)
        return;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_broadcast(&s->change);
    pthread_mutex_unlock(&s->lock);
    // Only threads that exist: streams_new may have failed half-way.
    for (int i = 1; i <= s->started; i++)
        pthread_join(s->stream[i].thread, NULL);
    pthread_cond_destroy(&s->change);
    pthread_mutex_destroy(&s->lock);
    free(s->event);
    free(s->stream);
    free(s);
}

bool streams_run(PlimStreams *s) {
    pthread_mutex_lock(&s->lock);
    s->run++;
    // Under the lock, before any thread can see the new run's number.
    s->busy = s->started;
    s->failed = false;
    pthread_cond_broadcast(&s->change);
    pthread_mutex_unlock(&s->lock);

    // Stream 0 runs here, so one stream needs no thread.
    const bool ok = s->body(s->context, 0);

    pthread_mutex_lock(&s->lock);
    s->failed = s->failed || !ok;
    pthread_cond_broadcast(&s->change);
    while (s->busy > 0)
        pthread_cond_wait(&s->change, &s->lock);
    const bool good = !s->failed;
    pthread_mutex_unlock(&s->lock);
    return good;
}

bool stream_wait(PlimStreams *s, uint32_t event) {
    pthread_mutex_lock(&s->lock);
    while (s->event[event] != s->run && !s->failed)
        pthread_cond_wait(&s->change, &s->lock);
    const bool ok = !s->failed;
    pthread_mutex_unlock(&s->lock);
    return ok;
}

void stream_signal(PlimStreams *s, uint32_t event) {
    pthread_mutex_lock(&s->lock);
    s->event[event] = s->run;
    pthread_cond_broadcast(&s->change);
    pthread_mutex_unlock(&s->lock);
}
