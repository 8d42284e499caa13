// Worker threads that share the tiles of one task at a time.
#ifndef PLIM_RUNTIME_POOL_H
#define PLIM_RUNTIME_POOL_H

#include "runtime/plim.h"

typedef struct PlimPool PlimPool;

// Works on tiles [begin, end); worker is 0 .. workers-1 and no two calls at a time share one.
typedef void (*PoolTask)(void *context, int64_t begin, int64_t end, int worker);

// workers >= 1 counts the calling thread: a pool of 1 starts none. NULL when threads or memory
// can't be had.
PlimPool *pool_new(int workers);
// Ends and joins the threads. NULL is allowed. Not while a task runs.
void pool_release(PlimPool *pool);
int pool_workers(const PlimPool *pool); // as given to pool_new
// Runs all tiles and returns when the last is done. Which worker takes which tile varies; tiles
// must not depend on it. One caller at a time.
void pool_run(PlimPool *pool, PoolTask task, void *context, int64_t tiles);

#endif
