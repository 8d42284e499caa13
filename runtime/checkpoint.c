// The thread that saves.
//
// checkpoint_save wakes the thread, which writes every saved state from where it stands in the
// arena. Until the system has all bytes, instructions that write saved state are held back: an
// observer of the run waits before each of them. Then the thread goes on to sync, name and clean up
// while training runs freely. So there is no second copy of the state in the process, and a step is
// held up by writing only where its updates come before writing is done.
//
// One lock guards what both sides see; it also orders the thread's reads of the arena before the
// writes that waited for them. The first error stays, and no save follows it.
#include "runtime/checkpoint.h"

#include "runtime/error.h"
#include "runtime/file_write.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

struct PlimCheckpoint {
    PlimRun *run;
    RunObserver observer;
    bool *saved_buffer;      // by buffer: holds state that is saved
    bool *saved_state;       // by state: is saved
    GenerationFolder folder; // path is owned
    int lock_file;
    GenerationTensors file[GENERATION_FILES];

    bool started; // the thread and what it needs exist
    pthread_t thread;
    pthread_mutex_t lock; // guards everything below
    pthread_cond_t change;
    bool busy, stop;
    bool reading;      // the arena: saved state must keep its content
    Generation next;   // what to save, while busy
    int64_t saved;     // newest step on the disk
    PlimStatus status; // of the first save that failed
    PlimError error;
};

// The whole of one save, on the thread.
static PlimStatus save(PlimCheckpoint *c, const Generation *what, int64_t *saved,
                       PlimError *error) {
    GenerationWriter w;
    PlimStatus status = generation_store(&c->folder, what, c->file, &w, error);
    pthread_mutex_lock(&c->lock);
    c->reading = false;
    pthread_cond_broadcast(&c->change);
    pthread_mutex_unlock(&c->lock);
    if (status == PLIM_OK)
        status = generation_commit(&w, error);
    if (status != PLIM_OK)
        return status;
    *saved = what->step;
    // Even where this fails, the new one is safe.
    return generation_drop_old(&c->folder, error);
}

static void *checkpoint_main(void *argument) {
    PlimCheckpoint *c = argument;
    pthread_mutex_lock(&c->lock);
    for (;;) {
        while (!c->busy && !c->stop)
            pthread_cond_wait(&c->change, &c->lock);
        // A save that was begun is always ended first.
        if (!c->busy)
            break;
        const Generation what = c->next;
        int64_t saved = c->saved;
        PlimError error;
        pthread_mutex_unlock(&c->lock);
        const PlimStatus status = save(c, &what, &saved, &error);
        pthread_mutex_lock(&c->lock);
        c->saved = saved;
        c->status = status;
        if (status != PLIM_OK)
            c->error = error;
        c->busy = false;
        pthread_cond_broadcast(&c->change);
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

// The new folder's name is on the disk only when the folder around it is.
static bool sync_parent(const char *folder) {
    const int fd = file_open_at(AT_FDCWD, folder, O_RDONLY | O_DIRECTORY);
    const int parent = fd < 0 ? -1 : file_open_at(fd, "..", O_RDONLY | O_DIRECTORY);
    const bool ok = parent >= 0 && file_sync(parent);
    const int why = errno;
    if (parent >= 0)
        close(parent);
    if (fd >= 0)
        close(fd);
    errno = why;
    return ok;
}

// Only the last part of the path is made; the rest must be there.
static PlimStatus open_folder(PlimCheckpoint *c, const char *folder, PlimError *error) {
    c->folder = (GenerationFolder){.fd = -1, .path = strdup(folder)};
    if (!c->folder.path)
        return error_set(error, PLIM_NO_MEMORY, "out of memory preparing to save");
    const bool made = mkdir(folder, 0777) == 0;
    if ((!made && errno != EEXIST) || (made && !sync_parent(folder)))
        return error_set(error, PLIM_IO, "can't make folder %s: %s", folder, strerror(errno));
    c->folder.fd = file_open_at(AT_FDCWD, folder, O_RDONLY | O_DIRECTORY);
    if (c->folder.fd < 0)
        return error_set(error, PLIM_IO, "can't open folder %s: %s", folder, strerror(errno));
    return PLIM_OK;
}

// A file of its own, because some network file systems lock no folders. The lock goes with the
// process, however that ends.
static PlimStatus lock_folder(PlimCheckpoint *c, PlimError *error) {
    c->lock_file = file_open_at(c->folder.fd, ".lock", O_RDWR | O_CREAT);
    if (c->lock_file >= 0 && flock(c->lock_file, LOCK_EX | LOCK_NB) == 0)
        return PLIM_OK;
    if (errno == EWOULDBLOCK)
        return error_set(error, PLIM_BAD_INPUT, "another training saves to %s", c->folder.path);
    return error_set(error, PLIM_IO, "can't lock %s/.lock: %s", c->folder.path, strerror(errno));
}

static bool writes_saved(const PlimCheckpoint *c, const PlanInstr *instr) {
    for (uint32_t i = 0; i < instr->operand_count; i++)
        if (instr->operand[i].access != PLAN_READ && c->saved_buffer[instr->operand[i].buffer])
            return true;
    return false;
}

static void await_reading(PlimCheckpoint *c) {
    pthread_mutex_lock(&c->lock);
    while (c->reading)
        pthread_cond_wait(&c->change, &c->lock);
    pthread_mutex_unlock(&c->lock);
}

// The run's observer.
static bool hold_back(void *context, const RunMoment *at, RunStage stage, PlimError *error) {
    PlimCheckpoint *c = context;
    (void)error;
    if (stage == RUN_WAITS && writes_saved(c, at->instr))
        await_reading(c);
    return true;
}

// Where entries are handed over whole, those that commit to saved state are held back as a whole.
static bool hold_entry(void *context, const PlanEntry *entry, PlimError *error) {
    PlimCheckpoint *c = context;
    (void)error;
    for (uint32_t i = 0; i < entry->commit_count; i++)
        if (c->saved_state[entry->commit[i].state]) {
            await_reading(c);
            break;
        }
    return true;
}

static PlimStatus observe(PlimCheckpoint *c, const Plan *p, PlimError *error) {
    c->saved_buffer = calloc((size_t)p->buffer_count + 1, sizeof *c->saved_buffer);
    c->saved_state = calloc((size_t)p->state_count + 1, sizeof *c->saved_state);
    if (!c->saved_buffer || !c->saved_state)
        return error_set(error, PLIM_NO_MEMORY, "out of memory preparing to save");
    for (uint32_t i = 0; i < p->state_count; i++) {
        c->saved_state[i] = p->state[i].kind != PLAN_STATE_TRANSIENT;
        if (c->saved_state[i])
            c->saved_buffer[p->state[i].buffer] = true;
    }
    c->observer = (RunObserver){.context = c, .instruction = hold_back, .entry = hold_entry};
    run_observe(c->run, &c->observer);
    return PLIM_OK;
}

static PlimStatus start_thread(PlimCheckpoint *c, PlimError *error) {
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->change, NULL);
    c->started = pthread_create(&c->thread, NULL, checkpoint_main, c) == 0;
    if (c->started)
        return PLIM_OK;
    pthread_cond_destroy(&c->change);
    pthread_mutex_destroy(&c->lock);
    return error_set(error, PLIM_MACHINE, "can't start the thread that saves");
}

PlimStatus checkpoint_new(const char *folder, const Plan *p, PlimRun *run, PlimCheckpoint **out,
                          PlimError *error) {
    PlimCheckpoint *c = calloc(1, sizeof *c);
    if (!c)
        return error_set(error, PLIM_NO_MEMORY, "out of memory preparing to save");
    c->run = run;
    c->lock_file = -1;
    // What every generation of this run says; the rest comes with each.
    c->next.digest = p->digest;
    snprintf(c->next.model, sizeof c->next.model, "%s", p->model);
    PlimStatus status = open_folder(c, folder, error);
    if (status == PLIM_OK)
        status = lock_folder(c, error);
    if (status == PLIM_OK)
        status = generation_sweep(&c->folder, error);
    if (status == PLIM_OK)
        status = generation_tensors_new(p, run, c->file, error);
    if (status == PLIM_OK)
        status = start_thread(c, error);
    if (status == PLIM_OK)
        status = observe(c, p, error);
    if (status != PLIM_OK) {
        checkpoint_release(c);
        return status;
    }
    *out = c;
    return PLIM_OK;
}

void checkpoint_release(PlimCheckpoint *c) {
    if (!c)
        return;
    if (c->started) {
        pthread_mutex_lock(&c->lock);
        c->stop = true;
        pthread_cond_broadcast(&c->change);
        pthread_mutex_unlock(&c->lock);
        pthread_join(c->thread, NULL);
        pthread_cond_destroy(&c->change);
        pthread_mutex_destroy(&c->lock);
    }
    generation_tensors_release(c->file);
    free(c->saved_buffer);
    free(c->saved_state);
    if (c->lock_file >= 0)
        close(c->lock_file);
    if (c->folder.fd >= 0)
        close(c->folder.fd);
    free((void *)(uintptr_t)c->folder.path); // const for all but its owner
    free(c);
}

const GenerationFolder *checkpoint_folder(const PlimCheckpoint *c) {
    return &c->folder;
}

// With the lock held.
static PlimStatus outcome(const PlimCheckpoint *c, int64_t *saved, PlimError *error) {
    *saved = c->saved;
    if (c->status != PLIM_OK)
        *error = c->error;
    return c->status;
}

PlimStatus checkpoint_save(PlimCheckpoint *c, const Generation *of, PlimError *error) {
    int64_t saved;
    pthread_mutex_lock(&c->lock);
    while (c->busy)
        pthread_cond_wait(&c->change, &c->lock);
    const PlimStatus status = outcome(c, &saved, error);
    if (status == PLIM_OK) {
        c->next.step = of->step;
        c->next.steps = of->steps;
        c->next.seed = of->seed;
        c->next.data = of->data;
        c->next.knobs = of->knobs;
        c->reading = true;
        c->busy = true;
        pthread_cond_broadcast(&c->change);
    }
    pthread_mutex_unlock(&c->lock);
    return status;
}

PlimStatus checkpoint_poll(PlimCheckpoint *c, int64_t *saved, PlimError *error) {
    pthread_mutex_lock(&c->lock);
    const PlimStatus status = outcome(c, saved, error);
    pthread_mutex_unlock(&c->lock);
    return status;
}

PlimStatus checkpoint_wait(PlimCheckpoint *c, int64_t *saved, PlimError *error) {
    pthread_mutex_lock(&c->lock);
    while (c->busy)
        pthread_cond_wait(&c->change, &c->lock);
    const PlimStatus status = outcome(c, saved, error);
    pthread_mutex_unlock(&c->lock);
    return status;
}
