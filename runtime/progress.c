// Progress. On a terminal the line is rewritten at most ten times a second; elsewhere a
// line appears for step 1, every doubling up to 100, and then every 100 steps or 10 seconds,
// whichever comes first. A step after which held-out data were evaluated always has its line.
#include "runtime/progress.h"

#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

struct PlimProgress {
    bool quiet, terminal;
    bool open_line; // the cursor stands in an unfinished line
    double shown;   // when the last line appeared
    uint64_t shown_step;
};

// Monotonic: only differences mean something.
double clock_seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// Not getrusage: what the launching process had before exec counts there, too.
uint64_t resident_peak_bytes(void) {
    FILE *f = fopen("/proc/self/status", "re");
    char line[128];
    unsigned long long kib = 0;
    while (f && kib == 0 && fgets(line, sizeof line, f))
        if (sscanf(line, "VmHWM: %llu kB", &kib) != 1)
            kib = 0;
    if (f)
        fclose(f);
    return (uint64_t)kib * 1024;
}

uint64_t resident_bytes(void) {
    FILE *f = fopen("/proc/self/statm", "re");
    unsigned long long total, resident = 0;
    if (f) {
        // Pages: the whole address space, then what is resident.
        if (fscanf(f, "%llu %llu", &total, &resident) != 2)
            resident = 0;
        fclose(f);
    }
    return (uint64_t)resident * (uint64_t)sysconf(_SC_PAGESIZE);
}

PlimProgress *progress_new(bool quiet) {
    PlimProgress *p = calloc(1, sizeof *p);
    if (p) {
        p->quiet = quiet;
        p->terminal = isatty(STDERR_FILENO) == 1;
    }
    return p;
}

void progress_close(PlimProgress *p) {
    // What is printed next must not run on in the progress line.
    if (p && p->open_line)
        fputc('\n', stderr);
    free(p);
}

// r's step, at time now, in seconds of clock_seconds.
static bool is_due(const PlimProgress *p, const StepReport *r, double now) {
    if (r->step == 1 || r->step == r->steps || r->evaluated)
        return true;
    if (p->terminal)
        return now - p->shown >= 0.1;
    // 1, 2, 4, ... 64: early steps tell most, and cost few lines.
    const bool power = (r->step & (r->step - 1)) == 0 && r->step < 100;
    return power || r->step >= p->shown_step + 100 || now - p->shown >= 10;
}

void progress_step(PlimProgress *p, const StepReport *r) {
    const double now = clock_seconds();
    if (p->quiet || !is_due(p, r, now))
        return;
    p->shown = now;
    p->shown_step = r->step;
    const double most = 99 * 3600.0; // More says nothing, and must fit an int
    // Seconds, if the steps to come take as long as this one.
    const double left = fmin((double)(r->steps - r->step) * r->step_ms * 1e-3, most);
    char held[40] = "";
    if (r->evaluated)
        snprintf(held, sizeof held, "  eval %.4f", r->eval_loss);
    fprintf(stderr,
            "%sstep %" PRIu64 "/%" PRIu64
            "  loss %.4f%s  %.0f tokens/s  %.1f ms/step  %02d:%02d left%s",
            // Back to the line's start, and clear it.
            p->terminal ? "\r\033[K" : "", r->step, r->steps, r->loss, held, r->tokens_per_s,
            r->step_ms, (int)(left / 60), (int)left % 60, p->terminal && !r->evaluated ? "" : "\n");
    fflush(stderr);
    // Evaluations stay on the screen.
    p->open_line = p->terminal && !r->evaluated;
}

void progress_note(PlimProgress *p, const char *format, ...) {
    if (p->quiet)
        return;
    if (p->open_line)
        fputc('\n', stderr);
    p->open_line = false;
    va_list args;
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}
