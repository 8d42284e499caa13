// The loader: one thread, one prepared step. The second buffer is the arena's own: a step's inputs
// are copied there when it begins, which frees the prepared one for the next. So a step waits for
// its data only where preparing them takes longer than a whole step.
//
// The thread and its user hand the step to and fro under one lock; who has it is `state`.
#include "runtime/loader.h"

#include "runtime/error.h"
#include "runtime/progress.h"

#include <pthread.h>
#include <signal.h>
#include <stdlib.h>

typedef enum { LOADER_IDLE, LOADER_ASKED, LOADER_READY, LOADER_STOP } LoaderState;

struct PlimLoader {
    const DataInputs *inputs;
    char *prepared; // the thread's while the state is LOADER_ASKED, else its user's
    pthread_t thread;
    bool started;
    pthread_mutex_t lock; // guards everything below
    pthread_cond_t change;
    LoaderState state;
    uint64_t step;
    PlimStatus status; // of preparing step
    PlimError error;
    double begins, ends; // when the thread worked on it
};

static void set_state(PlimLoader *l, LoaderState state) {
    l->state = state;
    pthread_cond_broadcast(&l->change);
}

static void *loader_main(void *argument) {
    PlimLoader *l = argument;
    pthread_mutex_lock(&l->lock);
    while (l->state != LOADER_STOP) {
        if (l->state != LOADER_ASKED) {
            pthread_cond_wait(&l->change, &l->lock);
            continue;
        }
        const uint64_t step = l->step;
        PlimError error;
        pthread_mutex_unlock(&l->lock);
        const double begins = clock_seconds();
        const PlimStatus status = inputs_fill(l->inputs, step, l->prepared, &error);
        pthread_mutex_lock(&l->lock);
        l->begins = begins;
        l->ends = clock_seconds();
        l->status = status;
        l->error = error;
        // Asked to stop meanwhile: that stands.
        if (l->state == LOADER_ASKED)
            set_state(l, LOADER_READY);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

// Signals are the main thread's: the new thread inherits a mask without any.
static bool start_thread(PlimLoader *l) {
    sigset_t all, before;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    l->started = pthread_create(&l->thread, NULL, loader_main, l) == 0;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return l->started;
}

PlimStatus loader_new(const DataInputs *inputs, PlimLoader **out, PlimError *error) {
    PlimLoader *l = calloc(1, sizeof *l);
    if (!l)
        return error_set(error, PLIM_NO_MEMORY, "out of memory starting the loader");
    l->inputs = inputs;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->change, NULL);
    const uint64_t bytes = inputs_bytes(inputs);
    // Whole cache lines of each input: vectors may be stored there.
    l->prepared = bytes ? aligned_alloc(64, (size_t)bytes) : NULL;
    PlimStatus status = PLIM_OK;
    if (bytes && !l->prepared)
        status = error_set(error, PLIM_NO_MEMORY, "out of memory: a step's data need %llu bytes",
                           (unsigned long long)bytes);
    else if (bytes && !start_thread(l))
        status = error_set(error, PLIM_MACHINE, "can't start the loader's thread");
    if (status != PLIM_OK) {
        loader_release(l);
        return status;
    }
    *out = l;
    return PLIM_OK;
}

void loader_release(PlimLoader *l) {
    if (!l)
        return;
    if (l->started) {
        pthread_mutex_lock(&l->lock);
        set_state(l, LOADER_STOP);
        pthread_mutex_unlock(&l->lock);
        pthread_join(l->thread, NULL);
    }
    pthread_cond_destroy(&l->change);
    pthread_mutex_destroy(&l->lock);
    free(l->prepared);
    free(l);
}

void loader_begin(PlimLoader *l, uint64_t step) {
    pthread_mutex_lock(&l->lock);
    l->step = step;
    set_state(l, LOADER_ASKED);
    pthread_mutex_unlock(&l->lock);
}

PlimStatus loader_take(PlimLoader *l, PlimRun *run, PlimError *error) {
    if (!l->started)
        return PLIM_OK;
    pthread_mutex_lock(&l->lock);
    while (l->state == LOADER_ASKED)
        pthread_cond_wait(&l->change, &l->lock);
    const PlimStatus status = l->status;
    if (status != PLIM_OK)
        *error = l->error;
    l->state = LOADER_IDLE;
    pthread_mutex_unlock(&l->lock);
    return status == PLIM_OK ? inputs_deliver(l->inputs, l->prepared, run, error) : status;
}

void loader_times(const PlimLoader *l, double *begins, double *ends) {
    // Idle since loader_take: the thread writes them only when asked.
    *begins = l->begins;
    *ends = l->ends;
}
