// A thread waits for the signals that all others block. When the first has come it no longer blocks
// them itself, so that the next one ends the process as it would any other. No handler, so nothing
// global and nothing interrupted.
#include "runtime/stop.h"

#include "runtime/error.h"

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>

struct PlimStop {
    pthread_t thread;
    sigset_t asked;  // SIGTERM and SIGINT, but for those that whoever started us has ignored
    sigset_t before; // the caller's mask
    atomic_int signal;
    atomic_bool done;
};

// What stop_release wakes the thread with: it is sent to the thread alone.
enum { WAKE = SIGURG };

static void *stop_main(void *argument) {
    PlimStop *s = argument;
    sigset_t all = s->asked;
    sigaddset(&all, WAKE);
    int number = 0;
    while (!atomic_load(&s->done)) {
        if (sigwait(&all, &number) != 0 || number == WAKE)
            continue;
        atomic_store(&s->signal, number);
        pthread_sigmask(SIG_UNBLOCK, &s->asked, NULL);
        sigdelset(&all, SIGTERM);
        sigdelset(&all, SIGINT);
    }
    return NULL;
}

// nohup and shells that start a job in the background ignore signals for it: that stays.
static void add_unless_ignored(sigset_t *set, int number) {
    struct sigaction now;
    if (sigaction(number, NULL, &now) == 0 && now.sa_handler != SIG_IGN)
        sigaddset(set, number);
}

PlimStatus stop_new(PlimStop **out, PlimError *error) {
    PlimStop *s = calloc(1, sizeof *s);
    if (!s)
        return error_set(error, PLIM_NO_MEMORY, "out of memory");
    sigemptyset(&s->asked);
    add_unless_ignored(&s->asked, SIGTERM);
    add_unless_ignored(&s->asked, SIGINT);
    sigset_t all = s->asked;
    sigaddset(&all, WAKE);
    pthread_sigmask(SIG_BLOCK, &all, &s->before);
    if (pthread_create(&s->thread, NULL, stop_main, s) != 0) {
        pthread_sigmask(SIG_SETMASK, &s->before, NULL);
        free(s);
        return error_set(error, PLIM_MACHINE, "can't start the thread that waits for signals");
    }
    *out = s;
    return PLIM_OK;
}

void stop_release(PlimStop *s) {
    if (!s)
        return;
    atomic_store(&s->done, true);
    pthread_kill(s->thread, WAKE);
    pthread_join(s->thread, NULL);
    pthread_sigmask(SIG_SETMASK, &s->before, NULL);
    free(s);
}

int stop_signal(const PlimStop *s) {
    return s ? atomic_load(&s->signal) : 0;
}
