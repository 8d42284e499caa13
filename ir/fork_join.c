// Threads for pieces of work that know nothing of each other: the only ones of the compiler.
//
// Each thread takes the next piece there is until none is left. A thread that can't be made is one
// less: the caller works too. Stacks are as large as a search may recurse (passes/memory/
// pack_search.c: 6000 levels, twice as large under sanitizers).
#include "ir/fork_join.h"

#include <pthread.h>
#include <stdatomic.h>
#include <unistd.h>

enum { WIDTH_MAX = 8, STACK_BYTES = 16 << 20 };

typedef struct {
    void (*work)(void *user, int index);
    void *user;
    int count;
    atomic_int next;
} Pieces;

int fork_join_width(void) {
    const long processors = sysconf(_SC_NPROCESSORS_ONLN);
    return processors < 1 ? 1 : processors > WIDTH_MAX ? WIDTH_MAX : (int)processors;
}

static void *run_pieces(void *pieces) {
    Pieces *p = pieces;
    for (int i = atomic_fetch_add(&p->next, 1); i < p->count; i = atomic_fetch_add(&p->next, 1))
        p->work(p->user, i);
    return NULL;
}

void fork_join(int count, void (*work)(void *user, int index), void *user) {
    Pieces pieces = {.work = work, .user = user, .count = count};
    pthread_t thread[WIDTH_MAX];
    pthread_attr_t attributes;
    const int width = count < fork_join_width() ? count : fork_join_width();
    int started = 0;
    if (width > 1 && pthread_attr_init(&attributes) == 0) {
        pthread_attr_setstacksize(&attributes, STACK_BYTES);
        while (started < width - 1 &&
               pthread_create(&thread[started], &attributes, run_pieces, &pieces) == 0)
            started++;
        pthread_attr_destroy(&attributes);
    }
    run_pieces(&pieces);
    for (int i = 0; i < started; i++)
        pthread_join(thread[i], NULL);
}
