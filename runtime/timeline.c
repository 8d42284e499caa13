// One step's times, in arrays that are taken once. Each element has one writer: an instruction's
// stream, or the worker; the run's own end orders them before whoever reads them.
#include "runtime/timeline.h"

#include "runtime/progress.h"

#include <stdlib.h>
#include <string.h>

// Told by the stream that runs the instruction. Other entries, such as an evaluation between two
// steps, have numbers of their own and are not this timeline's.
static bool note_instruction(void *context, const RunMoment *at, RunStage stage, PlimError *error) {
    Timeline *t = context;
    (void)error;
    if (at->entry != t->program.entry)
        return true;
    RunTimes *times = &t->instr[program_number(&t->program, at)];
    const double now = clock_seconds();
    switch (stage) {
    case RUN_WAITS:
        times->waits = now;
        break;
    case RUN_BEGINS:
        times->begins = now;
        break;
    case RUN_ENDS:
        times->ends = now;
        break;
    }
    return true;
}

// Told by a device that keeps its own time.
static void take_times(void *context, const RunMoment *at, const RunTimes *times) {
    Timeline *t = context;
    if (at->entry == t->program.entry)
        t->instr[program_number(&t->program, at)] = *times;
}

// Told by the worker itself, at both ends of each share of an instruction's tiles.
static void note_tiles(void *context, const RunMoment *at, int worker, bool begins) {
    Timeline *t = context;
    if (at->entry != t->program.entry)
        return;
    const size_t number = program_number(&t->program, at);
    WorkerTimes *times = &t->worker[number * (size_t)t->workers + (size_t)worker];
    const double now = clock_seconds();
    // A worker may take several shares; between begin and end of one, busy is short of that begin.
    if (begins) {
        if (times->begins == 0)
            times->begins = now;
        times->busy -= now;
    } else {
        times->busy += now;
        times->ends = now;
    }
}

Timeline *timeline_new(const Plan *plan, const PlanEntry *entry, int workers) {
    Timeline *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->workers = workers;
    t->observer = (RunObserver){
        .context = t, .instruction = note_instruction, .tiles = note_tiles, .times = take_times};
    if (program_init(&t->program, plan, entry)) {
        // One more: calloc of nothing may give NULL.
        const size_t count = (size_t)t->program.count + 1;
        t->instr = calloc(count, sizeof *t->instr);
        t->worker = calloc(count * (size_t)workers + 1, sizeof *t->worker);
    }
    if (t->instr && t->worker)
        return t;
    timeline_release(t);
    return NULL;
}

void timeline_release(Timeline *t) {
    if (!t)
        return;
    program_free(&t->program);
    free(t->instr);
    free(t->worker);
    free(t);
}

void timeline_clear(Timeline *t) {
    memset(t->instr, 0, t->program.count * sizeof *t->instr);
    memset(t->worker, 0, (size_t)t->program.count * (size_t)t->workers * sizeof *t->worker);
}
