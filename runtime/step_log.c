// Lines are written whole and at once, so that a run can be watched and one that dies leaves its
// log. A run that was killed may have logged steps after its last checkpoint: resumed, it does them
// again, and their first lines go, as does one that was cut short.
#include "runtime/step_log.h"

#include "runtime/error.h"

#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

struct StepLog {
    FILE *file;
    char *path;
};

// Bytes of the lines of steps up to after, from the file's start.
static off_t kept_bytes(FILE *f, uint64_t after) {
    char *line = NULL;
    size_t room = 0;
    off_t kept = 0;
    for (ssize_t length; (length = getline(&line, &room, f)) > 0; kept += length) {
        uint64_t step;
        const bool whole = line[length - 1] == '\n';
        // The first line that does not fit ends what is kept: what follows it is of the same run.
        if (!whole || sscanf(line, "{\"step\": %" SCNu64 ",", &step) != 1 || step > after)
            break;
    }
    free(line);
    return kept;
}

static bool go_on(FILE *f, uint64_t after) {
    const off_t kept = kept_bytes(f, after);
    return ftruncate(fileno(f), kept) == 0 && fseeko(f, kept, SEEK_SET) == 0;
}

PlimStatus step_log_open(const char *path, uint64_t after, StepLog **out, PlimError *error) {
    StepLog *log = calloc(1, sizeof *log);
    if (!log)
        return error_set(error, PLIM_NO_MEMORY, "out of memory");
    log->path = strdup(path);
    log->file = after > 0 ? fopen(path, "r+e") : NULL;
    // A run that goes on may have had no log before; readable, as go_on looks into it.
    if (!log->file)
        log->file = fopen(path, "w+e");
    if (!log->path || !log->file || (after > 0 && !go_on(log->file, after))) {
        error_set(error, PLIM_IO, "can't write %s: %s", path, strerror(errno));
        PlimError closing;
        step_log_close(log, &closing);
        return PLIM_IO;
    }
    *out = log;
    return PLIM_OK;
}

// ", "name": value".
static void write_number(FILE *f, const char *name, int digits, double value) {
    if (isfinite(value))
        fprintf(f, ", \"%s\": %.*g", name, digits, value);
    else
        // JSON has no infinity and no NaN.
        fprintf(f, ", \"%s\": null", name);
}

void step_log_write(StepLog *log, const StepReport *r) {
    FILE *f = log->file;
    fprintf(f, "{\"step\": %" PRIu64, r->step);
    // 9 digits tell any two f32 apart.
    write_number(f, "loss", 9, r->loss);
    if (r->evaluated)
        write_number(f, "eval_loss", 9, r->eval_loss);
    write_number(f, "tokens_per_s", 6, r->tokens_per_s);
    write_number(f, "step_ms", 6, r->step_ms);
    if (r->predicted_ms > 0)
        write_number(f, "predicted_ms", 6, r->predicted_ms);
    write_number(f, "data_ms", 6, r->data_ms);
    write_number(f, "epoch", 9, r->epoch);
    if (r->has_rate)
        write_number(f, "lr", 9, r->rate);
    fprintf(f,
            ", \"plan_peak_bytes\": %" PRIu64 ", \"arena_peak_bytes\": %" PRIu64
            ", \"far_bytes\": %" PRIu64 ", \"rss_bytes\": %" PRIu64 "}\n",
            r->plan_peak_bytes, r->arena_peak_bytes, r->far_bytes, resident_peak_bytes());
    fflush(f);
}

PlimStatus step_log_close(StepLog *log, PlimError *error) {
    if (!log)
        return PLIM_OK;
    bool ok = true;
    if (log->file) {
        // An error of any write so far, and of the last bytes, which closing writes.
        ok = !ferror(log->file);
        ok = fclose(log->file) == 0 && ok;
    }
    if (!ok)
        error_set(error, PLIM_IO, "the log %s could not be written whole: %s", log->path,
                  strerror(errno));
    free(log->path);
    free(log);
    return ok ? PLIM_OK : PLIM_IO;
}
