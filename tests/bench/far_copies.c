// How fast far memory on the CPU is, beside what the disk gives a plain loop, and beside compute.
//
//     bench_far [DIR [MIB]]      a file of MIB (1024) in DIR (the current folder)
//
// Each line is the best of several rounds that alternate with the others', in GB/s. "plain" reads
// or writes blocks of 4 MiB one after another, as dd does; "plain, 4 at once" with four threads.
// "crooked" begins 64 bytes beside what the disk wants, in memory. "both" moves as much in each
// direction at once, and counts the sum. "spin" is a thread that only computes: how much of its
// speed is left beside "both".
#include "runtime/far_memory.h"
#include "runtime/progress.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { BLOCK = 4 << 20, COPY = 16 << 20, ROUNDS = 4, PLAIN_THREADS = 4, ROOM = COPY + 4096 };

static void must(bool holds, const char *what) {
    if (holds)
        return;
    fprintf(stderr, "bench_far: %s\n", what);
    exit(1);
}

typedef struct {
    int fd;
    bool write;
    uint64_t first, step, bytes;
} PlainJob;

static void *plain_blocks(void *argument) {
    const PlainJob *j = argument;
    char *room = aligned_alloc(4096, BLOCK);
    must(room != NULL, "no memory");
    memset(room, 1, BLOCK);
    for (uint64_t at = j->first; at < j->bytes; at += j->step) {
        const ssize_t done =
            j->write ? pwrite(j->fd, room, BLOCK, (off_t)at) : pread(j->fd, room, BLOCK, (off_t)at);
        must(done == BLOCK, "the disk failed");
    }
    free(room);
    return NULL;
}

static double plain(int fd, bool write, int threads, uint64_t bytes) {
    PlainJob job[PLAIN_THREADS];
    pthread_t thread[PLAIN_THREADS];
    const double begin = clock_seconds();
    for (int i = 0; i < threads; i++) {
        job[i] = (PlainJob){.fd = fd,
                            .write = write,
                            .first = (uint64_t)i * BLOCK,
                            .step = (uint64_t)threads * BLOCK,
                            .bytes = bytes};
        must(pthread_create(&thread[i], NULL, plain_blocks, &job[i]) == 0, "no thread");
    }
    for (int i = 0; i < threads; i++)
        pthread_join(thread[i], NULL);
    return 1e-9 * (double)bytes / (clock_seconds() - begin);
}

// A stream's part: copies of 16 MiB, one after another.
typedef struct {
    FarMemory *far;
    bool write;
    uint64_t bytes, shift;
} Stream;

static void *stream_copies(void *argument) {
    const Stream *s = argument;
    PlimError error;
    char *room = aligned_alloc(4096, ROOM);
    must(room != NULL, "no memory");
    memset(room, 1, ROOM);
    for (uint64_t at = 0; at < s->bytes; at += COPY) {
        char *far = far_memory_base(s->far) + at, *near = room + s->shift;
        must(far_memory_copy(s->far, s->write ? far : near, s->write ? near : far, COPY, &error),
             error.text);
    }
    free(room);
    return NULL;
}

static double stream(FarMemory *far, bool write, uint64_t shift, uint64_t bytes) {
    Stream s = {.far = far, .write = write, .bytes = bytes, .shift = shift};
    const double begin = clock_seconds();
    stream_copies(&s);
    return 1e-9 * (double)bytes / (clock_seconds() - begin);
}

// One stream in, one out, of the same bytes: what is read there does not matter.
static double both(FarMemory *far, uint64_t bytes) {
    Stream s[2] = {{.far = far, .write = true, .bytes = bytes}, {.far = far, .bytes = bytes}};
    pthread_t out;
    const double begin = clock_seconds();
    must(pthread_create(&out, NULL, stream_copies, &s[0]) == 0, "no thread");
    stream_copies(&s[1]);
    pthread_join(out, NULL);
    return 2e-9 * (double)bytes / (clock_seconds() - begin);
}

// Rounds of arithmetic a second, until told to stop.
typedef struct {
    volatile bool stop;
    double rate;
} Spin;

static void *spin(void *argument) {
    Spin *s = argument;
    volatile float sink = 0;
    float x = 1;
    uint64_t rounds = 0;
    const double begin = clock_seconds();
    for (; !s->stop; rounds++)
        for (int i = 0; i < 10000; i++)
            x = x * 0.999f + 0.5f;
    sink = x;
    (void)sink;
    s->rate = (double)rounds / (clock_seconds() - begin);
    return NULL;
}

// As both, or (far NULL) half a second of nothing.
static double spin_beside(FarMemory *far, uint64_t bytes, double *moved) {
    Spin s = {.stop = false};
    pthread_t thread;
    must(pthread_create(&thread, NULL, spin, &s) == 0, "no thread");
    if (far)
        *moved = both(far, bytes);
    else
        usleep(500000);
    s.stop = true;
    pthread_join(thread, NULL);
    return s.rate;
}

static void *plain_reads(void *argument) {
    const PlainJob *j = argument;
    plain(j->fd, false, PLAIN_THREADS, j->bytes);
    return NULL;
}

static double plain_both(int fd, uint64_t bytes) {
    PlainJob job = {.fd = fd, .bytes = bytes};
    pthread_t in;
    const double begin = clock_seconds();
    must(pthread_create(&in, NULL, plain_reads, &job) == 0, "no thread");
    plain(fd, true, PLAIN_THREADS, bytes);
    pthread_join(in, NULL);
    return 2e-9 * (double)bytes / (clock_seconds() - begin);
}

static double larger(double a, double b) {
    return a > b ? a : b;
}

int main(int argc, char **argv) {
    const char *folder = argc > 1 ? argv[1] : ".";
    const uint64_t bytes = (argc > 2 ? strtoull(argv[2], NULL, 10) : 1024) << 20;
    enum {
        PLAIN_W,
        PLAIN_R,
        FOUR_W,
        FOUR_R,
        FOUR_BOTH,
        FAR_W,
        FAR_R,
        CROOKED_W,
        CROOKED_R,
        BOTH,
        KINDS
    };
    static const char *const name[KINDS] = {"plain, write",
                                            "plain, read",
                                            "plain, 4 at once, write",
                                            "plain, 4 at once, read",
                                            "plain, 4 at once, both",
                                            "far, write",
                                            "far, read",
                                            "far, crooked, write",
                                            "far, crooked, read",
                                            "far, both"};
    double best[KINDS] = {0}, alone = 0, beside = 0, moved = 0;
    FarMemory *far;
    PlimError error;
    must(bytes >= COPY && bytes % COPY == 0, "MIB must be a multiple of 16");
    if (far_memory_new(folder, bytes, &far, &error) != PLIM_OK)
        must(false, error.text);
    const int fd = open(folder, O_TMPFILE | O_RDWR | O_DIRECT, 0600);
    must(fd >= 0 && posix_fallocate(fd, 0, (off_t)bytes) == 0, "no file for the plain loop");
    for (int round = 0; round < ROUNDS; round++) {
        const double now[KINDS] = {plain(fd, true, 1, bytes),
                                   plain(fd, false, 1, bytes),
                                   plain(fd, true, PLAIN_THREADS, bytes),
                                   plain(fd, false, PLAIN_THREADS, bytes),
                                   plain_both(fd, bytes),
                                   stream(far, true, 0, bytes),
                                   stream(far, false, 0, bytes),
                                   stream(far, true, 64, bytes),
                                   stream(far, false, 64, bytes),
                                   both(far, bytes)};
        for (int i = 0; i < KINDS; i++)
            best[i] = larger(best[i], now[i]);
        double m = 0;
        alone = larger(alone, spin_beside(NULL, 0, &m));
        beside = larger(beside, spin_beside(far, bytes, &m));
        moved = larger(moved, m);
    }
    for (int i = 0; i < KINDS; i++)
        printf("%-26s %6.2f GB/s\n", name[i], best[i]);
    printf("%-26s %6.2f GB/s, which leaves the one that spins %.0f %% of its speed\n",
           "far, both, beside spin", moved, 100 * beside / alone);
    far_memory_release(far);
    close(fd);
    return 0;
}
