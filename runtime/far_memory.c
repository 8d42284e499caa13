// Far memory: a range of addresses that nothing is mapped to, over a file.
//
// A disk gives what it can only with several requests at a time, so each direction has a crew: the
// thread that wants a copy, and three more that share its pieces with it and sleep otherwise. They
// wait in the system for the disk and take no processor from the workers; a plan puts its copies on
// streams of their own, so compute goes on. Reading and writing have a crew each, as neither may
// wait for the other's queue.
//
// Pieces that the disk does not take as they are (far_file.c) pass through a room that each member
// of a crew has. Rooms are mapped and cost nothing before they are used.
#include "runtime/far_memory.h"

#include "runtime/error.h"
#include "runtime/far_file.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

// Pieces under way at a time, one a member. More gave no disk more, and less gave some less.
enum { CREW_COUNT = 4 };
typedef enum { FAR_READ, FAR_WRITE, FAR_DIRECTIONS } FarDirection;

typedef struct Crew Crew;
typedef struct {
    Crew *crew;
    pthread_t thread;
    char *room;
} Member;

struct Crew {
    FarFile *file;
    FarDirection direction;
    Member member[CREW_COUNT]; // 0 is the thread that wants the copy
    int started;               // threads exist for members 1 .. started
    pthread_mutex_t turn;      // held for a whole copy
    pthread_mutex_t lock;      // guards the rest
    pthread_cond_t wake, done;
    bool stop;
    uint64_t offset, bytes; // of the copy under way
    char *memory;
    uint64_t next, pieces; // the first that nobody has taken; how many
    int busy;              // members at a piece
    int why;               // error number of the first that failed
};

struct FarMemory {
    FarFile *file;
    char *base;
    uint64_t bytes;
    Crew crew[FAR_DIRECTIONS];
};

static int move_piece(const Crew *c, char *room, uint64_t piece) {
    uint64_t bytes;
    const uint64_t at = far_file_piece(c->offset, c->bytes, piece, &bytes);
    char *memory = c->memory + (at - c->offset);
    return c->direction == FAR_READ ? far_file_read(c->file, at, memory, bytes, room)
                                    : far_file_write(c->file, at, memory, bytes, room);
}

// With the lock held: takes pieces until none is left. One that failed leaves none.
static void share(Crew *c, Member *me) {
    while (c->next < c->pieces) {
        const uint64_t piece = c->next++;
        c->busy++;
        pthread_mutex_unlock(&c->lock);
        const int why = move_piece(c, me->room, piece);
        pthread_mutex_lock(&c->lock);
        c->busy--;
        if (why != 0) {
            c->why = c->why ? c->why : why;
            c->next = c->pieces;
        }
    }
    if (c->busy == 0)
        pthread_cond_signal(&c->done);
}

static void *member_main(void *argument) {
    Member *me = argument;
    Crew *c = me->crew;
    pthread_mutex_lock(&c->lock);
    while (!c->stop) {
        share(c, me);
        while (c->next == c->pieces && !c->stop)
            pthread_cond_wait(&c->wake, &c->lock);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

// An error number, or 0.
static int crew_move(Crew *c, uint64_t offset, char *memory, uint64_t bytes) {
    pthread_mutex_lock(&c->turn);
    pthread_mutex_lock(&c->lock);
    c->offset = offset;
    c->memory = memory;
    c->bytes = bytes;
    c->why = 0;
    c->next = 0;
    c->pieces = far_file_pieces(offset, bytes);
    // What is done in one piece wakes nobody.
    if (c->pieces > 1)
        pthread_cond_broadcast(&c->wake);
    share(c, &c->member[0]);
    while (c->busy > 0)
        pthread_cond_wait(&c->done, &c->lock);
    const int why = c->why;
    pthread_mutex_unlock(&c->lock);
    pthread_mutex_unlock(&c->turn);
    return why;
}

static char *map(uint64_t bytes, int access) {
    void *at =
        mmap(NULL, (size_t)bytes, access, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    return at == MAP_FAILED ? NULL : at;
}

static void unmap(char *at, uint64_t bytes) {
    if (at)
        munmap(at, (size_t)bytes);
}

static bool crew_init(Crew *c, FarFile *file, FarDirection direction) {
    c->file = file;
    c->direction = direction;
    pthread_mutex_init(&c->turn, NULL);
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->wake, NULL);
    pthread_cond_init(&c->done, NULL);
    bool good = true;
    for (int i = 0; i < CREW_COUNT && good; i++) {
        c->member[i] = (Member){.crew = c, .room = map(FAR_PIECE_BYTES, PROT_READ | PROT_WRITE)};
        good = c->member[i].room != NULL;
    }
    for (int i = 1; i < CREW_COUNT && good; i++) {
        good = pthread_create(&c->member[i].thread, NULL, member_main, &c->member[i]) == 0;
        c->started += good;
    }
    return good;
}

static void crew_end(Crew *c) {
    // One that crew_init never came to.
    if (!c->file)
        return;
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    pthread_cond_broadcast(&c->wake);
    pthread_mutex_unlock(&c->lock);
    for (int i = 1; i <= c->started; i++)
        pthread_join(c->member[i].thread, NULL);
    for (int i = 0; i < CREW_COUNT; i++)
        unmap(c->member[i].room, FAR_PIECE_BYTES);
    pthread_cond_destroy(&c->done);
    pthread_cond_destroy(&c->wake);
    pthread_mutex_destroy(&c->lock);
    pthread_mutex_destroy(&c->turn);
}

static PlimStatus start(FarMemory *m, const char *folder, uint64_t bytes, PlimError *error) {
    const PlimStatus status = far_file_open(folder, bytes, &m->file, error);
    if (status != PLIM_OK)
        return status;
    m->bytes = bytes;
    m->base = map(bytes, PROT_NONE);
    if (!m->base)
        return error_set(error, PLIM_NO_MEMORY, "out of addresses for far memory");
    for (int i = 0; i < FAR_DIRECTIONS; i++)
        if (!crew_init(&m->crew[i], m->file, (FarDirection)i))
            return error_set(error, PLIM_MACHINE, "can't start the threads of far memory");
    return PLIM_OK;
}

PlimStatus far_memory_new(const char *folder, uint64_t bytes, FarMemory **out, PlimError *error) {
    FarMemory *m = calloc(1, sizeof *m);
    if (!m)
        return error_set(error, PLIM_NO_MEMORY, "out of memory preparing far memory");
    const PlimStatus status = start(m, folder, bytes, error);
    if (status != PLIM_OK) {
        far_memory_release(m);
        return status;
    }
    *out = m;
    return PLIM_OK;
}

void far_memory_release(FarMemory *m) {
    if (!m)
        return;
    for (int i = 0; i < FAR_DIRECTIONS; i++)
        crew_end(&m->crew[i]);
    unmap(m->base, m->bytes);
    far_file_close(m->file);
    free(m);
}

char *far_memory_base(const FarMemory *m) {
    return m->base;
}

bool far_memory_has(const FarMemory *m, const void *address) {
    // As numbers: pointers into different things have no order.
    return m && (uintptr_t)address - (uintptr_t)m->base < m->bytes;
}

bool far_memory_copy(FarMemory *m, void *to, const void *from, uint64_t bytes, PlimError *error) {
    const bool write = far_memory_has(m, to);
    const uint64_t offset = (uintptr_t)(write ? to : from) - (uintptr_t)m->base;
    // The crew that writes only reads there.
    char *memory = write ? (char *)(uintptr_t)from : to;
    const int why = crew_move(&m->crew[write ? FAR_WRITE : FAR_READ], offset, memory, bytes);
    if (why == 0)
        return true;
    error_set(error, PLIM_IO, "can't %s far memory's file in %s: %s", write ? "write" : "read",
              far_memory_folder(m), strerror(why));
    return false;
}

const char *far_memory_folder(const FarMemory *m) {
    return far_file_folder(m->file);
}

const char *far_memory_caveat(const FarMemory *m) {
    return far_file_caveat(m->file);
}
