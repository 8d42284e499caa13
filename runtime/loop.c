// The loop above the step. Which rows a step reads follows from its number and the seed alone, so a
// run can be repeated or gone on with; everything that can fail for the user's sake (files, shapes,
// knobs) is checked before the first step.
#include "runtime/loop.h"

#include "runtime/error.h"
#include "runtime/progress.h"

#include <string.h>

// "NAME=VALUE": whether NAME is a knob of the entry.
static bool has_knob(const PlanEntry *entry, const char *assignment) {
    const size_t length = strcspn(assignment, "=");
    for (uint32_t i = 0; i < entry->input_count; i++) {
        const PlanInput *input = &entry->input[i];
        if (input->source == PLAN_FROM_KNOB && strlen(input->name) == length &&
            strncmp(input->name, assignment, length) == 0)
            return true;
    }
    return false;
}

static PlimStatus set_knobs(const Loop *l, const PlanEntry *main, PlimError *error) {
    for (int i = 0; i < l->o->set.count; i++) {
        const char *assignment = l->o->set.item[i];
        // The training entry's knobs are given for both; what an evaluation does not have is not
        // its mistake.
        if (main && has_knob(main, assignment) && !has_knob(l->entry, assignment))
            continue;
        const PlimStatus status = session_set_knob(l->s, l->entry, assignment, error);
        if (status != PLIM_OK)
            return status;
    }
    return PLIM_OK;
}

PlimStatus loop_open(Loop *l, PlimSession *s, const PlimOptions *o, const char *entry,
                     const PlanEntry *main, const DataUse *use, PlimError *error) {
    *l = (Loop){.s = s, .o = o, .entry = plan_find_entry(s->plan, entry)};
    if (!l->entry)
        return error_set(error, PLIM_BAD_INPUT, "this program has no entry %s", entry);
    if (l->entry->result_count == 0)
        return error_set(error, PLIM_BAD_INPUT, "entry %s returns nothing to report", entry);
    PlimStatus status = set_knobs(l, main, error);
    if (status == PLIM_OK)
        status =
            inputs_open(s->plan, l->entry, o->data.item, o->data.count, use, &l->inputs, error);
    if (status == PLIM_OK)
        status = loader_new(l->inputs, &l->loader, error);
    // Only the main loop is watched.
    return status == PLIM_OK && !main ? watch_open(s, o, l->entry, &l->watch, error) : status;
}

PlimStatus loop_close(Loop *l, PlimError *error) {
    // The thread ends before what it reads.
    loader_release(l->loader);
    inputs_close(l->inputs);
    PlimWatch *watch = l->watch;
    *l = (Loop){0};
    return watch_close(watch, error);
}

void loop_begin(Loop *l, int64_t first, int64_t end) {
    l->step = first;
    l->end = end;
    // Without a step nothing is read ahead.
    if (first < end)
        loader_begin(l->loader, (uint64_t)first);
}

PlimStatus loop_step(Loop *l, double *loss, PlimError *error) {
    l->times = (StepTimes){.begins = clock_seconds()};
    PlimStatus status = loader_take(l->loader, l->s->run, error);
    if (status != PLIM_OK)
        return status;
    l->times.data = clock_seconds();
    loader_times(l->loader, &l->times.loader_begins, &l->times.loader_ends);
    status = session_set_scalars(
        l->s, l->entry, &(StepScalars){.step = l->step, .steps = l->end, .seed = l->o->seed},
        error);
    if (status != PLIM_OK)
        return status;
    // The next one's data are prepared while this one runs.
    if (++l->step < l->end)
        loader_begin(l->loader, (uint64_t)l->step);
    watch_begin(l->watch, l->step);
    status = run_entry(l->s->run, l->entry, error);
    if (status == PLIM_OK)
        status = session_result(l->s, l->entry, 0, loss, error);
    if (status != PLIM_OK)
        return status;
    l->times.ends = clock_seconds();
    return watch_end(l->watch, &l->times, error);
}
