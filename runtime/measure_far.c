// Copies between memory and a far file, timed.
//
// Alone: a few sizes, each way, medians, for the curves. Beside something: copies of one size, one
// after another on a thread of their own, as a plan's stream has them; what a copy of that size
// takes then, against what it takes alone, is how much it is slowed. Both ways at once tells the
// same of copies among themselves.
//
// The two ways use different halves of the file, so that no byte is read and written at once. What
// is read was written before: blocks that never were take a file system no time.
#include "runtime/measure_far.h"

#include "runtime/error.h"
#include "runtime/far_memory.h"
#include "runtime/progress.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>

// EACH: bytes of a copy without end.
enum { LARGEST = 32 << 20, SIZES = 3, ROUNDS = 5, EACH = 8 << 20, SLOTS = LARGEST / EACH / 2 };

struct MeasureFar {
    FarMemory *memory;
    char *near;
    RateCurve curve[2]; // out, in
    FarCopies alone[2]; // of EACH bytes
    double crossed[2];  // times as long while the other way is busy
    // Copies without end.
    RateFamily direction;
    pthread_t thread;
    atomic_bool stop;
    FarCopies copies;
    bool good;
};

static bool copy_one(MeasureFar *f, RateFamily direction, uint64_t offset, uint64_t bytes,
                     double *seconds) {
    char *far = far_memory_base(f->memory) + offset, *near = f->near + offset;
    PlimError error;
    const double began = clock_seconds();
    const bool good = direction == RATE_IN ? far_memory_copy(f->memory, near, far, bytes, &error)
                                           : far_memory_copy(f->memory, far, near, bytes, &error);
    *seconds = clock_seconds() - began;
    return good;
}

// The n-th of a row of copies.
static bool copy_next(MeasureFar *f, RateFamily direction, uint32_t n, FarCopies *sum) {
    const uint64_t half = direction == RATE_IN ? LARGEST / 2 : 0;
    double seconds;
    if (!copy_one(f, direction, half + (uint64_t)(n % SLOTS) * EACH, EACH, &seconds))
        return false;
    if (atomic_load(&f->stop))
        return true; // it ended too late to count
    sum->seconds += seconds;
    sum->count++;
    return true;
}

static void *copy_on(void *argument) {
    MeasureFar *f = argument;
    for (uint32_t n = 0; f->good && !atomic_load(&f->stop); n++)
        f->good = copy_next(f, f->direction, n, &f->copies);
    return NULL;
}

PlimStatus measure_far_begin(MeasureFar *f, RateFamily direction, PlimError *error) {
    f->direction = direction;
    f->copies = (FarCopies){0};
    f->good = true;
    atomic_store(&f->stop, false);
    if (pthread_create(&f->thread, NULL, copy_on, f) != 0)
        return error_set(error, PLIM_MACHINE, "can't start a thread");
    return PLIM_OK;
}

FarCopies measure_far_end(MeasureFar *f) {
    atomic_store(&f->stop, true);
    pthread_join(f->thread, NULL);
    return f->good ? f->copies : (FarCopies){0};
}

double measure_far_slowed(const MeasureFar *f, RateFamily direction, const FarCopies *copies) {
    const FarCopies *alone = &f->alone[direction == RATE_IN];
    if (!copies->count || !alone->count || alone->seconds <= 0)
        return 1;
    return copies->seconds / copies->count / (alone->seconds / alone->count);
}

static int compare_times(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// Points of a curve; the largest size passes over the whole file.
static bool find_curve(MeasureFar *f, RateFamily direction) {
    RateCurve *c = &f->curve[direction == RATE_IN];
    for (int i = 0; i < SIZES; i++) {
        const uint64_t bytes = (uint64_t)LARGEST >> (5 * (SIZES - 1 - i));
        double took[ROUNDS];
        for (int k = 0; k < ROUNDS; k++)
            if (!copy_one(f, direction, 0, bytes, &took[k]))
                return false;
        qsort(took, ROUNDS, sizeof *took, compare_times);
        double seconds = took[ROUNDS / 2];
        // More bytes take no less time.
        const double least = i ? c->point[i - 1].size / c->point[i - 1].rate : 0;
        seconds = seconds > least * 1.0001 ? seconds : least * 1.0001;
        c->point[c->count++] = (RatePoint){(double)bytes, (double)bytes / seconds};
    }
    return true;
}

// Copies of EACH bytes, alone and while others go the other way.
static bool find_slowdowns(MeasureFar *f, PlimError *error) {
    enum { COUNT = 16 };
    for (int way = 0; way < 2; way++) {
        const RateFamily direction = way ? RATE_IN : RATE_OUT;
        for (uint32_t n = 0; n < COUNT; n++)
            if (!copy_next(f, direction, n, &f->alone[way]))
                return false;
    }
    for (int way = 0; way < 2; way++) {
        const RateFamily direction = way ? RATE_IN : RATE_OUT;
        FarCopies sum = {0};
        if (measure_far_begin(f, way ? RATE_OUT : RATE_IN, error) != PLIM_OK)
            return false;
        bool good = true;
        for (uint32_t n = 0; n < COUNT && good; n++)
            good = copy_next(f, direction, n, &sum);
        measure_far_end(f);
        atomic_store(&f->stop, false);
        if (!good || !f->good)
            return false;
        f->crossed[way] = measure_far_slowed(f, direction, &sum);
    }
    return true;
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
    if (status == PLIM_OK &&
        !(find_curve(f, RATE_OUT) && find_curve(f, RATE_IN) && find_slowdowns(f, error)))
        status = error_set(error, PLIM_IO, "copies to and from the file fail");
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
    r->bytes[RATE_OUT] = f->curve[0];
    r->bytes[RATE_IN] = f->curve[1];
    r->beside[RATE_OUT][RATE_IN] = f->crossed[0];
    r->beside[RATE_IN][RATE_OUT] = f->crossed[1];
}
