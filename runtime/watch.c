// Watching: observers of the run for what was asked for, and what becomes of their findings when a
// step ends. The timeline is added last and so told first: times hold no checks, and show where
// others hold an instruction back. Without any flag nothing here exists.
#include "runtime/watch.h"

#include "runtime/digest.h"
#include "runtime/error.h"
#include "runtime/finite.h"
#include "runtime/profile.h"

#include <stdlib.h>

enum { TRACE_STEPS_DEFAULT = 3 };

struct PlimWatch {
    PlimRun *run;
    int64_t step;       // the current one's number
    int64_t steps;      // that have ended
    int64_t trace_left; // steps that are still to be traced
    Timeline *timeline;
    PlimTrace *trace;
    Profile *profile;
    Digest *digest;
    FiniteCheck finite;
    RunObserver finite_observer;
};

// Allocates what is asked for. False where there is no memory.
static bool make_parts(PlimWatch *w, PlimSession *s, const PlimOptions *o, const PlanEntry *entry) {
    if (o->trace || o->profile)
        w->timeline = timeline_new(s->plan, entry, run_workers(s->run));
    if (w->timeline && o->profile)
        w->profile = profile_new(w->timeline);
    if (o->digest)
        w->digest = digest_new(s->plan, entry);
    w->run = s->run;
    w->finite = (FiniteCheck){.plan = s->plan};
    w->finite_observer = finite_observer(&w->finite);
    return (w->timeline || !(o->trace || o->profile)) && (w->profile || !o->profile) &&
           (w->digest || !o->digest);
}

PlimStatus watch_open(PlimSession *s, const PlimOptions *o, const PlanEntry *entry, PlimWatch **out,
                      PlimError *error) {
    *out = NULL;
    if (!o->trace && !o->profile && !o->digest && !o->check_finite)
        return PLIM_OK;
    PlimWatch *w = calloc(1, sizeof *w);
    PlimStatus status = PLIM_OK;
    if (!w || !make_parts(w, s, o, entry))
        status = error_set(error, PLIM_NO_MEMORY, "out of memory");
    if (status == PLIM_OK && o->trace) {
        w->trace_left = o->trace_steps ? o->trace_steps : TRACE_STEPS_DEFAULT;
        status = trace_open(o->trace, w->timeline, &w->trace, error);
    }
    if (status != PLIM_OK) {
        // error keeps the first cause.
        PlimError closing;
        watch_close(w, &closing);
        return status;
    }
    if (w->digest)
        run_observe(s->run, digest_observer(w->digest));
    if (o->check_finite)
        run_observe(s->run, &w->finite_observer);
    if (w->timeline)
        run_observe(s->run, &w->timeline->observer);
    *out = w;
    return PLIM_OK;
}

void watch_begin(PlimWatch *w, int64_t step) {
    if (!w)
        return;
    w->step = step;
    w->finite.step = step;
    if (w->timeline)
        timeline_clear(w->timeline);
}

static PlimStatus trace_one(PlimWatch *w, const StepTimes *t, PlimError *error) {
    char name[32];
    snprintf(name, sizeof name, "step %lld", (long long)w->step);
    trace_slice(w->trace, TRACE_STEPS, name, t->begins, t->ends);
    // Inside the step's slice: a viewer shows it below.
    trace_slice(w->trace, TRACE_STEPS, "wait for data", t->begins, t->data);
    if (t->loader_ends > 0)
        trace_slice(w->trace, TRACE_LOADER, name, t->loader_begins, t->loader_ends);
    trace_step(w->trace);
    if (--w->trace_left > 0)
        return PLIM_OK;
    // Whole as soon as it can be: the run may go on for days.
    PlimTrace *done = w->trace;
    w->trace = NULL;
    return trace_close(done, error);
}

PlimStatus watch_end(PlimWatch *w, const StepTimes *times, PlimError *error) {
    if (!w)
        return PLIM_OK;
    // The first step touches all memory for the first time: it is no example of the others.
    if (w->profile && w->steps > 0)
        profile_step(w->profile, times->ends - times->begins, times->data - times->begins);
    w->steps++;
    PlimStatus status = w->trace ? trace_one(w, times, error) : PLIM_OK;
    if (status == PLIM_OK && w->digest)
        status = digest_write(w->digest, w->step, stdout, error);
    return status;
}

PlimStatus watch_close(PlimWatch *w, PlimError *error) {
    if (!w)
        return PLIM_OK;
    if (w->timeline)
        run_forget(w->run, &w->timeline->observer);
    if (w->digest)
        run_forget(w->run, digest_observer(w->digest));
    // Forgetting one that was never added is allowed.
    run_forget(w->run, &w->finite_observer);
    // NULL where all steps that were wanted have been traced.
    const PlimStatus status = trace_close(w->trace, error);
    if (w->profile)
        profile_print(w->profile, stdout);
    profile_release(w->profile);
    digest_release(w->digest);
    timeline_release(w->timeline);
    free(w);
    return status;
}
