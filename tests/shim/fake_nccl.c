// A libnccl.so.2 for machines without one: a communicator of one rank, whose collectives are copies
// on the fake driver's streams. What a caller could get wrong is refused: a rank that is not there,
// a message that nobody of the group takes, a communicator that was left.
//
// Environment: PLIM_FAKE_NCCL_VERSION (22000), PLIM_FAKE_NCCL_STATE=NUMBER: what goes wrong on the
// GPU.
#include "fake_driver.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define API __attribute__((visibility("default")))

enum { INVALID_ARGUMENT = 4, INVALID_USAGE = 5, MAXIMUM = 2, GROUP_MAX = 16 };

typedef struct {
    char byte[128];
} Id;

typedef struct {
    int joined;
} Comm;

typedef struct {
    void *to;
    const void *from;
    size_t bytes;
} Copy;

// What the group that was begun sends and takes, until it ends.
static struct {
    int depth, sends, receives;
    Copy copy[GROUP_MAX];
    void *stream[GROUP_MAX];
} group;

static long setting(const char *name, long otherwise) {
    const char *text = getenv(name);
    return text ? atol(text) : otherwise;
}

API const char *ncclGetErrorString(int result) {
    return result == INVALID_USAGE ? "invalid usage" : "made to fail";
}

API int ncclGetVersion(int *version) {
    ENTER("ncclGetVersion");
    *version = (int)setting("PLIM_FAKE_NCCL_VERSION", 22000);
    return 0;
}

API int ncclGetUniqueId(Id *out) {
    ENTER("ncclGetUniqueId");
    memset(out, 'i', sizeof *out);
    return 0;
}

API int ncclCommInitRank(Comm **out, int ranks, Id id, int rank) {
    ENTER("ncclCommInitRank");
    for (size_t i = 0; i < sizeof id; i++)
        if (id.byte[i] != 'i')
            return INVALID_ARGUMENT;
    if (ranks != 1 || rank != 0)
        return INVALID_ARGUMENT;
    *out = calloc(1, sizeof **out);
    (*out)->joined = 1;
    return 0;
}

API int ncclCommDestroy(Comm *comm) {
    ENTER("ncclCommDestroy");
    free(comm);
    return 0;
}

API int ncclCommAbort(Comm *comm) {
    ENTER("ncclCommAbort");
    free(comm);
    return 0;
}

API int ncclCommGetAsyncError(const Comm *comm, int *result) {
    ENTER("ncclCommGetAsyncError");
    *result = (int)setting("PLIM_FAKE_NCCL_STATE", 0);
    return comm->joined ? 0 : INVALID_ARGUMENT;
}

static void do_copy(const void *argument) {
    Copy c;
    memcpy(&c, argument, sizeof c);
    memmove(c.to, c.from, c.bytes);
}

static size_t element(int dtype) {
    return dtype == 7 || dtype == 2 ? 4 : dtype == 9 ? 2 : dtype == 1 ? 1 : 0;
}

static int enqueue(const Copy *c, void *stream) {
    return c->bytes > 0 ? fake_driver_enqueue(stream, do_copy, c, sizeof *c) : INVALID_ARGUMENT;
}

API int ncclAllReduce(const void *from, void *to, size_t count, int dtype, int reduction,
                      const Comm *comm, void *stream) {
    ENTER("ncclAllReduce");
    if (!comm->joined || (reduction != 0 && reduction != MAXIMUM))
        return INVALID_ARGUMENT;
    return enqueue(&(Copy){to, from, count * element(dtype)}, stream);
}

API int ncclAllGather(const void *from, void *to, size_t count, int dtype, const Comm *comm,
                      void *stream) {
    ENTER("ncclAllGather");
    return comm->joined ? enqueue(&(Copy){to, from, count * element(dtype)}, stream)
                        : INVALID_ARGUMENT;
}

API int ncclReduceScatter(const void *from, void *to, size_t count, int dtype, int reduction,
                          const Comm *comm, void *stream) {
    ENTER("ncclReduceScatter");
    if (!comm->joined || (reduction != 0 && reduction != MAXIMUM))
        return INVALID_ARGUMENT;
    return enqueue(&(Copy){to, from, count * element(dtype)}, stream);
}

API int ncclGroupStart(void) {
    ENTER("ncclGroupStart");
    group.depth++;
    return 0;
}

// The n-th message sent goes to the n-th taken. Ends the group also where it is made to fail.
API int ncclGroupEnd(void) {
    const int failed = fake_driver_enter("ncclGroupEnd");
    int result = group.sends == group.receives && group.depth > 0 ? failed : INVALID_USAGE;
    for (int i = 0; i < group.sends && result == 0; i++)
        result = enqueue(&group.copy[i], group.stream[i]);
    memset(&group, 0, sizeof group);
    return failed ? failed : result;
}

// Alone, a rank that sends to itself would wait for ever: it must be in a group.
API int ncclSend(const void *from, size_t count, int dtype, int rank, const Comm *comm,
                 void *stream) {
    ENTER("ncclSend");
    if (!comm->joined || rank != 0 || group.depth == 0 || group.sends == GROUP_MAX)
        return INVALID_USAGE;
    group.copy[group.sends].from = from;
    group.copy[group.sends].bytes = count * element(dtype);
    group.stream[group.sends++] = stream;
    return 0;
}

API int ncclRecv(void *to, size_t count, int dtype, int rank, const Comm *comm, void *stream) {
    ENTER("ncclRecv");
    (void)stream;
    (void)count;
    (void)dtype;
    if (!comm->joined || rank != 0 || group.depth == 0 || group.receives == GROUP_MAX)
        return INVALID_USAGE;
    group.copy[group.receives++].to = to;
    return 0;
}
