// Copies between memory and a far file, timed.
//
// A disk has another speed from second to second. So copies are timed in rounds, which the caller
// spreads over all of its measuring, and what counts is the median over rounds: of a copy of each
// size, each way, for the curves; and, within a round, of how many times as long copies of one size
// take while such copies go the other way. Copies beside something else run on a thread of their
// own, one after another, as a plan's stream has them; both ways, on two.
//
// The two ways use different halves of the file, so that no byte is read and written at once. What
// is read was written before: blocks that never were take a file system no time.
#include "runtime/measure_far.h"

#include "runtime/error.h"
#include "runtime/far_memory.h"
#include "runtime/measure_fit.h"
#include "runtime/progress.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

// EACH: bytes of a copy without end; COUNT: of those each way in a round. More rounds than
// ROUNDS_MAX replace the oldest.
enum { LARGEST = 32 << 20, EACH = 8 << 20, SLOTS = LARGEST / EACH / 2, COUNT = 2 };
enum { WAYS = 2, SIZES = 3, ROUNDS_MAX = 64 };

// What a round measures, each way: seconds of a copy by size and of one of EACH bytes, and times as
// long while the other way is busy.
enum { ALONE = SIZES, CROSSED, SAMPLES };

// Copies one way without end. While its thread runs, the last three are that thread's.
typedef struct {
    const MeasureFar *far;
    int way;
    pthread_t thread;
    atomic_bool *stop;
    FarCopies copies;
    PlimStatus status;
    PlimError error;
} Endless;

struct MeasureFar {
    FarMemory *memory;
    char *near;
    double sample[WAYS][SAMPLES][ROUNDS_MAX];
    uint32_t rounds;
    atomic_bool stop;
    bool busy[WAYS];
    Endless endless[WAYS];
};

static uint64_t bytes_of(int size) {
    return (uint64_t)LARGEST >> (5 * (SIZES - 1 - size));
}

// Way 1 is in.
static PlimStatus copy_one(const MeasureFar *f, int way, uint64_t offset, uint64_t bytes,
                           double *seconds, PlimError *error) {
    char *far = far_memory_base(f->memory) + offset, *near = f->near + offset;
    const double began = clock_seconds();
    const bool good = far_memory_copy(f->memory, way ? near : far, way ? far : near, bytes, error);
    *seconds = clock_seconds() - began;
    return good ? PLIM_OK : PLIM_IO;
}

// The n-th of a row of copies.
static PlimStatus copy_next(const MeasureFar *f, int way, uint32_t n, FarCopies *sum,
                            PlimError *error) {
    const uint64_t half = way ? LARGEST / 2 : 0;
    double seconds;
    const PlimStatus status =
        copy_one(f, way, half + (uint64_t)(n % SLOTS) * EACH, EACH, &seconds, error);
    sum->seconds += seconds;
    sum->count++;
    return status;
}

static void *copy_on(void *argument) {
    Endless *e = argument;
    for (uint32_t n = 0; e->status == PLIM_OK; n++) {
        FarCopies with = e->copies;
        e->status = copy_next(e->far, e->way, n, &with, &e->error);
        // The last one ends too late to count.
        if (atomic_load(e->stop))
            break;
        e->copies = with;
    }
    return NULL;
}

PlimStatus measure_far_begin(MeasureFar *f, FarWays ways, PlimError *error) {
    PlimStatus status = PLIM_OK;
    atomic_store(&f->stop, false);
    for (int way = 0; way < WAYS && status == PLIM_OK; way++) {
        Endless *e = &f->endless[way];
        *e = (Endless){.far = f, .way = way, .stop = &f->stop};
        f->busy[way] = ways >> way & 1;
        if (f->busy[way] && pthread_create(&e->thread, NULL, copy_on, e) != 0) {
            f->busy[way] = false;
            status = error_set(error, PLIM_MACHINE, "can't start a thread that copies");
        }
    }
    FarCopies none[WAYS];
    PlimError later;
    if (status != PLIM_OK)
        (void)measure_far_end(f, none, &later);
    return status;
}

PlimStatus measure_far_end(MeasureFar *f, FarCopies out[2], PlimError *error) {
    PlimStatus status = PLIM_OK;
    atomic_store(&f->stop, true);
    for (int way = 0; way < WAYS; way++) {
        const Endless *e = &f->endless[way];
        out[way] = (FarCopies){0};
        if (!f->busy[way])
            continue;
        pthread_join(e->thread, NULL);
        f->busy[way] = false;
        out[way] = e->copies;
        if (e->status != PLIM_OK && status == PLIM_OK) {
            status = e->status;
            *error = e->error;
        }
    }
    return status;
}

static double find_median(const MeasureFar *f, int way, int sample) {
    double value[ROUNDS_MAX];
    const uint32_t count = f->rounds < ROUNDS_MAX ? f->rounds : ROUNDS_MAX;
    memcpy(value, f->sample[way][sample], count * sizeof *value);
    return measure_median(value, (int)count);
}

double measure_far_slowed(const MeasureFar *f, RateFamily direction, const FarCopies *copies) {
    const double alone = find_median(f, direction == RATE_IN, ALONE);
    return copies->count && alone > 0 ? copies->seconds / copies->count / alone : 1;
}

// A row of copies one way, and the seconds of one.
static PlimStatus copy_row(const MeasureFar *f, int way, double *seconds, PlimError *error) {
    FarCopies sum = {0};
    PlimStatus status = PLIM_OK;
    for (uint32_t n = 0; n < COUNT && status == PLIM_OK; n++)
        status = copy_next(f, way, n, &sum, error);
    *seconds = sum.seconds / sum.count;
    return status;
}

// Alone and while others go the other way, one right after the other.
static PlimStatus find_crossed(MeasureFar *f, int way, double *alone, double *crossed,
                               PlimError *error) {
    FarCopies others[WAYS];
    PlimError later;
    PlimStatus status = copy_row(f, way, alone, error);
    if (status == PLIM_OK)
        status = measure_far_begin(f, way ? FAR_OUT : FAR_IN, error);
    if (status != PLIM_OK)
        return status;
    double beside;
    status = copy_row(f, way, &beside, error);
    const PlimStatus ended = measure_far_end(f, others, status == PLIM_OK ? error : &later);
    *crossed = *alone > 0 ? beside / *alone : 1;
    return status == PLIM_OK ? ended : status;
}

PlimStatus measure_far_round(MeasureFar *f, PlimError *error) {
    const uint32_t round = f->rounds % ROUNDS_MAX;
    PlimStatus status = PLIM_OK;
    for (int way = 0; way < WAYS; way++) {
        double took[SAMPLES];
        for (int i = 0; i < SIZES && status == PLIM_OK; i++)
            status = copy_one(f, way, 0, bytes_of(i), &took[i], error);
        if (status == PLIM_OK)
            status = find_crossed(f, way, &took[ALONE], &took[CROSSED], error);
        for (int i = 0; i < SAMPLES && status == PLIM_OK; i++)
            f->sample[way][i][round] = took[i];
    }
    f->rounds += status == PLIM_OK;
    return status;
}

PlimStatus measure_far_new(const char *folder, MeasureFar **out, PlimError *error) {
    MeasureFar *f = calloc(1, sizeof *f);
    if (!f)
        return error_set(error, PLIM_NO_MEMORY, "out of memory");
    PlimStatus status = far_memory_new(folder, LARGEST, &f->memory, error);
    f->near = aligned_alloc(4096, LARGEST);
    if (status == PLIM_OK && !f->near)
        status = error_set(error, PLIM_NO_MEMORY, "out of memory");
    if (f->near)
        memset(f->near, 1, LARGEST);
    // All of the file is written for the first time.
    double seconds;
    if (status == PLIM_OK)
        status = copy_one(f, 0, 0, LARGEST, &seconds, error);
    if (status == PLIM_OK)
        status = measure_far_round(f, error);
    if (status != PLIM_OK) {
        measure_far_release(f);
        return status;
    }
    *out = f;
    return PLIM_OK;
}

void measure_far_release(MeasureFar *f) {
    if (!f)
        return;
    far_memory_release(f->memory);
    free(f->near);
    free(f);
}

void measure_far_rates(const MeasureFar *f, Rates *r) {
    static const RateFamily direction[WAYS] = {RATE_OUT, RATE_IN};
    for (int way = 0; way < WAYS; way++) {
        RateCurve *c = &r->bytes[direction[way]];
        c->count = 0;
        double least = 0;
        for (int i = 0; i < SIZES; i++) {
            const double bytes = (double)bytes_of(i), took = find_median(f, way, i);
            // More bytes take no less time.
            least = took > least * 1.0001 ? took : least * 1.0001;
            c->point[c->count++] = (RatePoint){bytes, bytes / least};
        }
        r->beside[direction[way]][direction[!way]] = find_median(f, way, CROSSED);
    }
}
