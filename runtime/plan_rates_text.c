// Rates as text, read and written.
//
//     rates 1
//     machine "2 threads of Intel(R) Xeon(R) Processor"
//     target cpu:x86-64-v3
//     threads 2
//     start 1200000
//     flops product 1048576 4.1e+10
//     bytes rows 262144 1.9e+10
//     beside rows out 1.08
//     both rows 1.2
//     kernel 9f2c1d0e4b7a6655 123456789 # h.0.mlp.fc
//
// The first line comes first, the others in any order; "flops" and "bytes" are points of a family's
// curves: a size and a rate; "beside" says how many times as long work of a family takes while work
// of another runs on another stream, and "both" while copies go out and in (of copies: while others
// go the other way and something is computed). Times are picoseconds.
// # begins a comment. What is not said takes no time, or does not slow: a file for one plan needs
// no more families than it has.
#include "runtime/plan_rates.h"

#include "runtime/plan_fields.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { KERNELS_MAX = 1 << 20, THREADS_MAX = 4096 };
static const double factor_max = 1000;

typedef struct {
    const char *at, *end; // of the line at hand
    const char *first;    // its first byte
    uint32_t line;
    Rates *out;
    uint32_t room; // of out->kernel
    PlanMemory *pm;
    PlimError *error;
    PlimStatus status;
} Reader;

// Says what is wrong at a place of the line; gives false.
__attribute__((format(printf, 3, 4))) static bool fail(Reader *r, const char *at,
                                                       const char *format, ...) {
    char text[256];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    snprintf(r->error->text, sizeof r->error->text, "%u:%d: %s", r->line, (int)(at - r->first) + 1,
             text);
    r->status = PLIM_BAD_INPUT;
    return false;
}

static void skip_space(Reader *r) {
    while (r->at < r->end && (*r->at == ' ' || *r->at == '\t' || *r->at == '\r'))
        r->at++;
}

// A word in room; false where the line ends before it, or it is too long.
static bool read_word(Reader *r, const char *what, char *room, size_t size) {
    skip_space(r);
    size_t n = 0;
    const char *begin = r->at;
    while (r->at < r->end && !isspace((unsigned char)*r->at) && *r->at != '#' && n + 1 < size)
        room[n++] = *r->at++;
    room[n] = '\0';
    const bool whole = r->at == r->end || isspace((unsigned char)*r->at) || *r->at == '#';
    return (n > 0 && whole) || fail(r, begin, "expected %s", what);
}

static bool read_integer(Reader *r, const char *what, int base, uint64_t most, uint64_t *out) {
    char word[32], *end;
    skip_space(r);
    const char *begin = r->at;
    if (!read_word(r, what, word, sizeof word))
        return false;
    errno = 0;
    *out = strtoull(word, &end, base);
    // Digits and nothing else: strtoull alone takes signs, "0x", and all that is too large.
    const char *digits = base == 16 ? "0123456789abcdefABCDEF" : "0123456789";
    return (word[strspn(word, digits)] == '\0' && errno == 0 && *out <= most) ||
           fail(r, begin, "expected %s, not %s", what, word);
}

// Sizes and rates.
static bool read_number(Reader *r, const char *what, double *out) {
    char word[40], *end;
    skip_space(r);
    const char *begin = r->at;
    if (!read_word(r, what, word, sizeof word))
        return false;
    *out = strtod(word, &end);
    return (*end == '\0' && *out >= 1 && *out <= 1e18) ||
           fail(r, begin, "expected %s from 1 to 1e18, not %s", what, word);
}

// "text", without escapes.
static bool read_quoted(Reader *r, char *room, size_t size) {
    skip_space(r);
    const char *begin = r->at;
    if (r->at == r->end || *r->at != '"')
        return fail(r, begin, "expected a text in quotes");
    size_t n = 0;
    for (r->at++; r->at < r->end && *r->at != '"'; r->at++) {
        if (n + 1 == size)
            return fail(r, begin, "a text of at most %zu bytes", size - 1);
        room[n++] = *r->at;
    }
    room[n] = '\0';
    if (r->at == r->end)
        return fail(r, begin, "the quotes are not closed");
    r->at++;
    // It becomes a part of plans, which are text.
    return plan_utf8_prefix(room, n) == n || fail(r, begin, "a text in UTF-8");
}

static bool read_family(Reader *r, RateFamily *out) {
    char word[32];
    skip_space(r);
    const char *begin = r->at;
    if (!read_word(r, "a family of work", word, sizeof word))
        return false;
    int family = 0;
    while (family < RATE_COUNT && strcmp(word, rates_family_name((RateFamily)family)) != 0)
        family++;
    *out = (RateFamily)family;
    return family < RATE_COUNT || fail(r, begin, "there is no family of work %s", word);
}

// "product 1048576 4.1e10" onto a family's curve.
static bool read_point(Reader *r, RateCurve *curves) {
    RateFamily family;
    if (!read_family(r, &family))
        return false;
    const char *word = rates_family_name(family);
    RatePoint p;
    skip_space(r);
    const char *begin = r->at;
    if (!read_number(r, "a size", &p.size) || !read_number(r, "a rate", &p.rate))
        return false;
    RateCurve *c = &curves[family];
    const RatePoint *last = c->count ? &c->point[c->count - 1] : NULL;
    if (c->count == RATE_POINTS_MAX)
        return fail(r, begin, "a curve has at most %d points", RATE_POINTS_MAX);
    if (last && !(p.size > last->size))
        return fail(r, begin, "sizes of %s must rise", word);
    if (last && p.size / p.rate < last->size / last->rate)
        return fail(r, begin, "more work of %s takes less time here than less work", word);
    c->point[c->count++] = p;
    return true;
}

static bool read_factor(Reader *r, double *out) {
    skip_space(r);
    const char *begin = r->at;
    return read_number(r, "a factor", out) &&
           (*out <= factor_max || fail(r, begin, "a factor is at most %g", factor_max));
}

// "rows out 1.08".
static bool read_beside(Reader *r) {
    RateFamily family, other;
    return read_family(r, &family) && read_family(r, &other) &&
           read_factor(r, &r->out->beside[family][other]);
}

// "rows 1.2".
static bool read_both(Reader *r) {
    RateFamily family;
    return read_family(r, &family) && read_factor(r, &r->out->both[family]);
}

static bool read_kernel(Reader *r) {
    RateKernel k;
    if (!read_integer(r, "a kernel's key of hexadecimal digits", 16, UINT64_MAX, &k.key) ||
        !read_integer(r, "picoseconds", 10, (uint64_t)1e17, &k.picoseconds))
        return false;
    Rates *out = r->out;
    if (out->kernel_count == KERNELS_MAX)
        return fail(r, r->first, "more than %d kernels", KERNELS_MAX);
    if (out->kernel_count == r->room) {
        r->room = r->room ? 2 * r->room : 256;
        RateKernel *larger = plan_alloc(r->pm, r->room, sizeof *larger);
        if (!larger) {
            r->status = PLIM_NO_MEMORY;
            snprintf(r->error->text, sizeof r->error->text, "out of memory");
            return false;
        }
        if (out->kernel_count)
            memcpy(larger, out->kernel, out->kernel_count * sizeof *larger);
        out->kernel = larger;
    }
    out->kernel[out->kernel_count++] = k;
    return true;
}

static bool read_entry(Reader *r, const char *at, const char *word) {
    Rates *out = r->out;
    uint64_t number;
    if (strcmp(word, "flops") == 0)
        return read_point(r, out->flops);
    if (strcmp(word, "bytes") == 0)
        return read_point(r, out->bytes);
    if (strcmp(word, "beside") == 0)
        return read_beside(r);
    if (strcmp(word, "both") == 0)
        return read_both(r);
    if (strcmp(word, "kernel") == 0)
        return read_kernel(r);
    if (strcmp(word, "machine") == 0)
        return read_quoted(r, out->machine, sizeof out->machine);
    if (strcmp(word, "target") == 0)
        return read_word(r, "a target", out->target, sizeof out->target);
    if (strcmp(word, "start") == 0)
        return read_integer(r, "picoseconds", 10, (uint64_t)1e15, &out->start);
    if (strcmp(word, "threads") != 0)
        return fail(r, at,
                    "expected machine, target, threads, start, flops, bytes, beside, both or "
                    "kernel");
    if (!read_integer(r, "a number of threads", 10, THREADS_MAX, &number))
        return false;
    out->threads = (uint32_t)number;
    return true;
}

// One line: nothing, a comment, or an entry.
static bool read_line(Reader *r, bool *begun) {
    char word[32];
    skip_space(r);
    if (r->at == r->end || *r->at == '#')
        return true;
    const char *at = r->at;
    uint64_t version;
    if (!read_word(r, "a word", word, sizeof word))
        return false;
    if (!*begun) {
        if (strcmp(word, "rates") != 0)
            return fail(r, at, "expected 'rates 1': this is no file of rates");
        skip_space(r);
        at = r->at;
        if (!read_integer(r, "version 1", 10, 1, &version))
            return false;
        if (version != 1)
            return fail(r, at, "expected version 1, not %" PRIu64, version);
        *begun = true;
    } else if (!read_entry(r, at, word))
        return false;
    skip_space(r);
    return r->at == r->end || *r->at == '#' || fail(r, r->at, "expected the end of the line");
}

static int compare_kernels(const void *a, const void *b) {
    const RateKernel *x = a, *y = b;
    if (x->key != y->key)
        return x->key < y->key ? -1 : 1;
    return (x->picoseconds > y->picoseconds) - (x->picoseconds < y->picoseconds);
}

PlimStatus rates_read(const char *text, size_t size, PlanMemory *pm, Rates *out, PlimError *error) {
    *out = (Rates){.measured = true};
    Reader r = {.at = text, .out = out, .pm = pm, .error = error, .status = PLIM_OK};
    const char *const end = text + size;
    bool begun = false;
    for (r.line = 1; r.at < end; r.line++) {
        const char *stop = memchr(r.at, '\n', (size_t)(end - r.at));
        r.first = r.at;
        r.end = stop ? stop : end;
        if (!read_line(&r, &begun))
            return r.status;
        r.at = stop ? stop + 1 : end;
    }
    r.first = r.at;
    if (!begun) {
        fail(&r, r.at, "expected 'rates 1': this is no file of rates");
        return r.status;
    }
    if (out->kernel_count)
        qsort(out->kernel, out->kernel_count, sizeof *out->kernel, compare_kernels);
    for (uint32_t i = 1; i < out->kernel_count; i++)
        if (out->kernel[i].key == out->kernel[i - 1].key) {
            snprintf(error->text, sizeof error->text, "kernel %016" PRIx64 " stands twice",
                     out->kernel[i].key);
            return PLIM_BAD_INPUT;
        }
    return PLIM_OK;
}

static void write_curves(const char *kind, const RateCurve *curves, FILE *out) {
    for (int f = 0; f < RATE_COUNT; f++)
        for (uint32_t i = 0; i < curves[f].count; i++)
            fprintf(out, "%s %s %.9g %.6g\n", kind, rates_family_name((RateFamily)f),
                    curves[f].point[i].size, curves[f].point[i].rate);
}

// What the text would round to 1 is not said.
static const double factor_least = 1.00005;

static void write_beside(const Rates *r, FILE *out) {
    bool any = false;
    for (RateFamily f = 0; f < RATE_COUNT; f++)
        for (RateFamily other = 0; other < RATE_COUNT; other++) {
            if (r->beside[f][other] < factor_least)
                continue;
            if (!any)
                fputs("# How many times as long a family's work takes while another's runs "
                      "beside it.\n",
                      out);
            any = true;
            fprintf(out, "beside %s %s %.4f\n", rates_family_name(f), rates_family_name(other),
                    fmin(r->beside[f][other], factor_max));
        }
}

// 1 is said here: without the line it would be the product of the two.
static void write_both(const Rates *r, FILE *out) {
    bool any = false;
    for (RateFamily f = 0; f < RATE_COUNT; f++) {
        if (r->both[f] < 1)
            continue;
        if (!any)
            fputs("# And while copies go out and in at once.\n", out);
        any = true;
        fprintf(out, "both %s %.4f\n", rates_family_name(f), fmin(r->both[f], factor_max));
    }
}

void rates_write(const Rates *r, const char *const *name, FILE *out) {
    fprintf(out, "rates 1\nmachine \"%s\"\ntarget %s\nthreads %u\n", r->machine, r->target,
            r->threads);
    fprintf(out, "# Picoseconds until an instruction begins.\nstart %" PRIu64 "\n", r->start);
    fputs("# Curves of a family of work: an instruction's size in FLOP or bytes, and what it "
          "then does a second.\n",
          out);
    write_curves("flops", r->flops, out);
    write_curves("bytes", r->bytes, out);
    write_beside(r, out);
    write_both(r, out);
    if (r->kernel_count)
        fputs("# Kernels, by what their text says but for the name, and picoseconds of one.\n",
              out);
    for (uint32_t i = 0; i < r->kernel_count; i++)
        fprintf(out, "kernel %016" PRIx64 " %" PRIu64 "%s%s\n", r->kernel[i].key,
                r->kernel[i].picoseconds, name ? " # " : "", name ? name[i] : "");
}
