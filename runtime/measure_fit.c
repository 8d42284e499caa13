// A family's work is measured by one size: the floating point operations of products, convolutions
// and attention, the bytes of all else. Sizes are put into buckets of a factor of eight; a bucket
// is one point of the curve, at the mean size with the rate of its sums. Where a point would take
// less time than a smaller one, it takes as long (it was noise). The other curve is flat: the most
// bytes a second that any instruction moved, the most operations a second that any did of those
// which go by bytes. It matters to work that is unlike what was measured.
//
// A kernel's time is the mean over the instructions that call it.
#include "runtime/measure_fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

// Sums of a bucket.
typedef struct {
    double size, seconds;
    uint32_t count;
} Bucket;
enum { BUCKETS = 24, BUCKET_BITS = 3 };

static bool goes_by_flops(RateFamily family) {
    return family <= RATE_ATTENTION_BF16;
}

static double bytes_of(const MeasuredInstr *m) {
    // Between memories the plan counts both sides; the way is as long as what goes over it.
    const bool moves = m->family == RATE_OUT || m->family == RATE_IN;
    return (double)(moves ? m->instr->operand[0].bytes : m->instr->bytes);
}

static uint32_t bucket_of(double size) {
    int exponent;
    frexp(size, &exponent);
    const int b = exponent / BUCKET_BITS;
    return b < 0 ? 0 : b < BUCKETS ? (uint32_t)b : BUCKETS - 1;
}

// The curve's last point takes what does not fit.
static void make_curve(Bucket *bucket, RateCurve *out) {
    *out = (RateCurve){0};
    double before = 0; // seconds of the point before
    for (int b = 0; b < BUCKETS && out->count < RATE_POINTS_MAX; b++) {
        if (bucket[b].count == 0)
            continue;
        const double size = floor(bucket[b].size / bucket[b].count + 0.5);
        double seconds = bucket[b].seconds / bucket[b].count;
        // A ten thousandth more: the text rounds rates.
        if (seconds < before * 1.0001)
            seconds = before * 1.0001;
        before = seconds;
        out->point[out->count++] = (RatePoint){size, fmin(fmax(size / seconds, 1), 1e18)};
    }
}

// Bytes or FLOP a second.
typedef struct {
    double flops, bytes;
} Best;

static Best find_best(const MeasuredInstr *sample, uint32_t count) {
    Best best = {0};
    for (uint32_t i = 0; i < count; i++) {
        const MeasuredInstr *m = &sample[i];
        // What stays in a cache tells of the cache.
        const bool large = bytes_of(m) >= 1 << 20;
        if (m->seconds <= 0 || m->family == RATE_OUT || m->family == RATE_IN)
            continue;
        if (large)
            best.bytes = fmax(best.bytes, bytes_of(m) / m->seconds);
        if (!goes_by_flops(m->family))
            best.flops = fmax(best.flops, (double)m->instr->flops / m->seconds);
    }
    return best;
}

static void fit_family(const MeasuredInstr *sample, uint32_t count, RateFamily family, Best best,
                       Rates *rates) {
    Bucket bucket[BUCKETS] = {0};
    bool any = false;
    for (uint32_t i = 0; i < count; i++) {
        const MeasuredInstr *m = &sample[i];
        const double flops = (double)m->instr->flops, bytes = bytes_of(m);
        const double size = goes_by_flops(family) ? flops : bytes;
        if (m->family != family || size < 1 || m->seconds <= 0)
            continue;
        Bucket *b = &bucket[bucket_of(size)];
        b->size += size;
        b->seconds += m->seconds;
        b->count++;
        any = true;
    }
    if (!any)
        return;
    RateCurve *curve = goes_by_flops(family) ? &rates->flops[family] : &rates->bytes[family];
    RateCurve *other = goes_by_flops(family) ? &rates->bytes[family] : &rates->flops[family];
    make_curve(bucket, curve);
    const double most = goes_by_flops(family) ? best.bytes : best.flops;
    *other = (RateCurve){most >= 1, {{1, fmin(most, 1e18)}}};
}

static int by_key(const void *a, const void *b) {
    const MeasuredInstr *x = a, *y = b;
    return (x->key > y->key) - (x->key < y->key);
}

bool measure_fit(MeasuredInstr *sample, uint32_t count, PlanMemory *pm, Rates *rates,
                 const char *const **name) {
    const Best best = find_best(sample, count);
    for (int f = 0; f < RATE_COUNT; f++)
        fit_family(sample, count, (RateFamily)f, best, rates);
    rates->kernel = plan_alloc(pm, (size_t)count + 1, sizeof *rates->kernel);
    const char **names = plan_alloc(pm, (size_t)count + 1, sizeof *names);
    if (!rates->kernel || !names)
        return false;
    qsort(sample, count, sizeof *sample, by_key);
    rates->kernel_count = 0;
    for (uint32_t i = 0, same; i < count; i += same) {
        double seconds = 0;
        for (same = 0; i + same < count && sample[i + same].key == sample[i].key; same++)
            seconds += sample[i + same].seconds;
        if (sample[i].key == 0)
            continue;
        names[rates->kernel_count] = sample[i].instr->name;
        rates->kernel[rates->kernel_count++] =
            (RateKernel){sample[i].key, (uint64_t)(seconds / same * 1e12 + 0.5)};
    }
    *name = names;
    return true;
}

static int compare_values(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

double measure_median(double *value, int count) {
    qsort(value, (size_t)count, sizeof *value, compare_values);
    return (value[(count - 1) / 2] + value[count / 2]) / 2;
}
