// Chrome's trace format: an object with an array of events; "X" is a slice with its begin and
// duration in microseconds, "M" names a track. Slices are written when their step has ended, so
// that tracing takes no memory of its own and costs nothing inside a step but reading the clock.
#include "runtime/trace.h"

#include "runtime/error.h"
#include "runtime/file_write.h"
#include "runtime/plan_report.h"
#include "runtime/progress.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// Numbers of tracks; they are shown in this order. Shorter waits than the last, in seconds, are
// the clock's own.
enum { TRACK_OTHERS = 1, TRACK_STREAMS = 10, TRACK_WORKERS = 100 };
static const double wait_shown = 1e-6;

struct PlimTrace {
    FILE *file;
    char *path;
    const Timeline *timeline;
    double start;
    bool any; // an event has been written: the next one needs a comma
};

static void begin_event(PlimTrace *t) {
    fputs(t->any ? ",\n" : "\n", t->file);
    t->any = true;
}

// A track's name and its place among the others; without number where that is negative.
static void name_track(PlimTrace *t, int track, const char *name, int number) {
    begin_event(t);
    fprintf(t->file,
            "{\"ph\":\"M\",\"pid\":1,\"tid\":%d,\"name\":\"thread_name\",\"args\":{\"name\":\"%s",
            track, name);
    if (number >= 0)
        fprintf(t->file, " %d", number);
    fprintf(t->file,
            "\"}},\n{\"ph\":\"M\",\"pid\":1,\"tid\":%d,\"name\":\"thread_sort_index\","
            "\"args\":{\"sort_index\":%d}}",
            track, track);
}

// Up to the name, and open for "args".
static void begin_slice(PlimTrace *t, int track, const char *name, double begin, double end) {
    // A loader may have begun before the trace was opened; a viewer shows no negative times.
    begin = begin < t->start ? t->start : begin;
    end = end < begin ? begin : end;
    begin_event(t);
    fprintf(t->file, "{\"ph\":\"X\",\"pid\":1,\"tid\":%d,\"ts\":%.3f,\"dur\":%.3f,\"name\":", track,
            1e6 * (begin - t->start), 1e6 * (end - begin));
    plan_json_string(t->file, name);
}

void trace_slice(PlimTrace *trace, TraceTrack track, const char *name, double begin, double end) {
    if (!trace)
        return;
    begin_slice(trace, TRACK_OTHERS + (int)track, name, begin, end);
    fputs("}", trace->file);
}

// In units of 10^9 a second; nothing where the clock saw no time pass.
static void write_rate(FILE *f, const char *name, double amount, double seconds) {
    if (seconds > 0)
        fprintf(f, ",\"%s\":%.4g", name, 1e-9 * amount / seconds);
}

// The stream's wait, where there is one to see, the instruction, and each worker's part in it.
static void write_instruction(PlimTrace *t, uint32_t number) {
    const Program *p = &t->timeline->program;
    const RunTimes *times = &t->timeline->instr[number];
    uint32_t call, index;
    const PlanInstr *instr = program_instr(p, number, &call, &index);
    const int track = TRACK_STREAMS + (int)instr->stream;
    const double seconds = times->ends - times->begins;
    if (times->begins - times->waits > wait_shown) {
        begin_slice(t, track, "wait", times->waits, times->begins);
        fputs("}", t->file);
    }
    begin_slice(t, track, instr->name, times->begins, times->ends);
    const bool called = instr->kind == INSTR_KERNEL || instr->kind == INSTR_PRODUCT;
    fprintf(t->file, ",\"args\":{\"kernel\":\"%s\",\"segment\":",
            called ? p->plan->kernel[instr->kernel].name : plan_instr_kind_name(instr->kind));
    plan_json_string(t->file, program_segment(p, call)->name);
    fprintf(t->file, ",\"slot\":%u,\"instruction\":%u,\"where\":", p->entry->call[call].slot,
            index);
    plan_json_string(t->file, instr->where);
    fprintf(t->file, ",\"flops\":%" PRIu64 ",\"bytes\":%" PRIu64, instr->flops, instr->bytes);
    write_rate(t->file, "GFLOP/s", (double)instr->flops, seconds);
    write_rate(t->file, "GB/s", (double)instr->bytes, seconds);
    fputs("}}", t->file);
    for (int w = 0; w < t->timeline->workers; w++) {
        const WorkerTimes *part =
            &t->timeline->worker[(size_t)number * (size_t)t->timeline->workers + (size_t)w];
        if (part->ends == 0)
            continue;
        begin_slice(t, TRACK_WORKERS + w, instr->name, part->begins, part->ends);
        fprintf(t->file, ",\"args\":{\"busy_us\":%.3f}}", 1e6 * part->busy);
    }
}

void trace_step(PlimTrace *trace) {
    for (uint32_t i = 0; i < trace->timeline->program.count; i++)
        write_instruction(trace, i);
}

PlimStatus trace_open(const char *path, const Timeline *t, PlimTrace **out, PlimError *error) {
    PlimTrace *trace = calloc(1, sizeof *trace);
    if (!trace)
        return error_set(error, PLIM_NO_MEMORY, "out of memory");
    *trace = (PlimTrace){
        .file = fopen(path, "we"), .path = strdup(path), .timeline = t, .start = clock_seconds()};
    if (!trace->file || !trace->path) {
        error_set(error, PLIM_IO, "can't write %s: %s", path, strerror(errno));
        PlimError closing;
        trace_close(trace, &closing);
        return PLIM_IO;
    }
    fputs("{\"displayTimeUnit\":\"ms\",\"traceEvents\":[", trace->file);
    static const char *const others[TRACE_TRACK_COUNT] = {"steps", "loader"};
    for (int i = 0; i < TRACE_TRACK_COUNT; i++)
        name_track(trace, TRACK_OTHERS + i, others[i], -1);
    for (uint32_t i = 0; i < t->program.plan->stream_count; i++)
        name_track(trace, TRACK_STREAMS + (int)i, "stream", (int)i);
    for (int i = 0; i < t->workers; i++)
        name_track(trace, TRACK_WORKERS + i, "worker", i);
    *out = trace;
    return PLIM_OK;
}

PlimStatus trace_close(PlimTrace *trace, PlimError *error) {
    if (!trace)
        return PLIM_OK;
    bool ok = true;
    if (trace->file) {
        fputs("\n]}\n", trace->file);
        ok = !ferror(trace->file);
        ok = fclose(trace->file) == 0 && ok;
    }
    if (!ok) {
        error_set(error, PLIM_IO, "the trace %s could not be written whole: %s", trace->path,
                  strerror(errno));
        // Half a trace opens nowhere.
        if (!file_is_special(trace->path))
            unlink(trace->path);
    }
    free(trace->path);
    free(trace);
    return ok ? PLIM_OK : PLIM_IO;
}
