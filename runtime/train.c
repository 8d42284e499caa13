// train: the steps of one entry, and what is told, evaluated and saved between them.
//
// Everything that can fail for the user's sake (files, shapes, knobs, weights) is checked before
// the first step. A step's time is from asking for its data to its loss; evaluating is no part of
// it, and of saving only what holds the step's own instructions back.
//
// A run that goes on from a checkpoint takes over its seed and its total of steps: with the state
// they are all that the steps to come depend on.
#include "runtime/train.h"

#include "runtime/checkpoint.h"
#include "runtime/error.h"
#include "runtime/eval.h"
#include "runtime/measure.h"
#include "runtime/ranks.h"
#include "runtime/resume.h"
#include "runtime/step_log.h"
#include "runtime/weights.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Steps but the first, which touches memory for the first time.
typedef struct {
    double sum; // ms
    uint64_t count;
} StepMean;

static void step_mean_add(StepMean *m, double ms) {
    m->sum += m->count++ ? ms : 0;
}

// 0: of none.
static double step_mean(const StepMean *m) {
    return m->count > 1 ? m->sum / (double)(m->count - 1) : 0;
}

typedef struct {
    PlimSession *s;
    PlimOptions own;      // the command line's, with the seed of what is resumed
    const PlimOptions *o; // own
    const char *folder;   // of the generation that is resumed
    Generation from;      // step 0 where training begins anew
    Loop loop;
    Loop held; // entry "eval" on held-out data; closed without --eval-every
    PlimProgress *progress;
    StepLog *log;               // NULL without --log
    PlimCheckpoint *checkpoint; // NULL without --save
    int64_t told;               // newest saved step that was reported
    StepMean mean;              // of what steps took
} Training;

// Opens the folder to save to, and finds what is to be resumed. The folder's lock comes first, so
// that nobody else changes what is found in it.
static PlimStatus find_start(Training *t, PlimError *error) {
    const PlimOptions *o = t->o;
    if (o->save) {
        PlimStatus status = checkpoint_new(o->save, t->s->plan, t->s->run, &t->checkpoint, error);
        if (status == PLIM_OK)
            status = generation_newest(checkpoint_folder(t->checkpoint), &t->from, error);
        if (status != PLIM_OK)
            return status;
    }
    t->folder = o->save;
    const bool any = o->resume && strcmp(o->resume, "auto") == 0;
    const bool same = any || (o->resume && o->save && resume_same_folder(o->resume, o->save));
    // Two trainings in one folder would remove each other's generations as the older ones.
    if (t->from.step > 0 && !same) {
        return error_set(error, PLIM_BAD_INPUT,
                         "%s holds a training saved at step %lld: --resume auto goes on with it; "
                         "to begin anew, save elsewhere or remove the folder",
                         o->save, (long long)t->from.step);
    }
    if (!o->resume || any || t->from.step > 0)
        return PLIM_OK;
    t->folder = o->resume;
    return resume_find(o->resume, &t->from, error);
}

// Takes over the seed of what is resumed.
static PlimStatus take_seed(Training *t, PlimError *error) {
    if (t->from.step == 0)
        return PLIM_OK;
    if (t->o->seed && t->o->seed != t->from.seed) {
        return error_set(error, PLIM_BAD_INPUT,
                         "%s/step-%lld is of a training with --seed %lld: only with this can it "
                         "go on",
                         t->folder, (long long)t->from.step, (long long)t->from.seed);
    }
    t->own.seed = t->from.seed;
    return PLIM_OK;
}

// The steps that --steps or --epochs ask for, or else the checkpoint.
static PlimStatus count_steps(const Training *t, int64_t *steps, PlimError *error) {
    *steps = t->o->steps ? t->o->steps : t->from.step ? t->from.steps : 100;
    if (t->o->epochs == 0)
        return PLIM_OK;
    *steps = (int64_t)inputs_steps(t->loop.inputs, (uint64_t)t->o->epochs);
    if (*steps > 0)
        return PLIM_OK;
    return error_set(error, PLIM_BAD_INPUT,
                     "--epochs %lld: the data have fewer examples than one step takes",
                     (long long)t->o->epochs);
}

// First values of what no checkpoint has.
static PlimStatus init_transient(PlimSession *s, int64_t seed, PlimError *error) {
    const Plan *p = s->plan;
    bool *saved = calloc((size_t)p->state_count + 1, sizeof *saved);
    if (!saved)
        return error_set(error, PLIM_NO_MEMORY, "out of memory");
    for (uint32_t i = 0; i < p->state_count; i++)
        saved[i] = p->state[i].kind != PLAN_STATE_TRANSIENT;
    const PlimStatus status = session_init_states(s, seed, saved, error);
    free(saved);
    return status;
}

// To go on with other data or another rate is allowed, but never by oversight.
static void tell_changes(const Training *t) {
    const char *const changed[] = {
        t->from.data != inputs_digest(t->loop.inputs) ? "--data or --holdout" : NULL,
        t->from.knobs != session_knob_digest(t->loop.entry) ? "--set" : NULL};
    for (int i = 0; i < 2; i++)
        if (changed[i])
            fprintf(stderr,
                    "%s/step-%lld was saved by a training with another %s: it goes on, but not to "
                    "the same result\n",
                    t->folder, (long long)t->from.step, changed[i]);
}

// Those of the checkpoint; without one those of --weights, and first values for the rest.
static PlimStatus fill_states(Training *t, int64_t steps, PlimError *error) {
    const PlimOptions *o = t->o;
    const Generation *from = &t->from;
    if (from->step && from->steps != steps) {
        return error_set(error, PLIM_BAD_INPUT,
                         "%s/step-%lld is of a training of %lld steps, not %lld: only with these "
                         "can it go on",
                         t->folder, (long long)from->step, (long long)from->steps,
                         (long long)steps);
    }
    if (from->step == 0)
        return weights_begin(t->s, o->weights, o->allow_missing ? WEIGHTS_SOME : WEIGHTS_ALL,
                             o->seed, error);
    tell_changes(t);
    PlimStatus status = init_transient(t->s, o->seed, error);
    if (status == PLIM_OK)
        status = resume_load(t->folder, from, t->s->plan, t->s->run, error);
    if (status == PLIM_OK && !o->quiet)
        fprintf(stderr, "going on from %s/step-%lld%s\n", t->folder, (long long)from->step,
                from->step == steps ? ", where nothing is left to do" : "");
    return status;
}

static PlimStatus open_training(Training *t, PlimError *error) {
    const PlimOptions *o = t->o;
    PlimStatus status = find_start(t, error);
    if (status == PLIM_OK)
        status = take_seed(t, error);
    if (status != PLIM_OK)
        return status;
    const DataUse use = {.part = o->holdout > 0 ? DATA_TRAIN : DATA_ALL,
                         .holdout = o->holdout,
                         .shuffle = true,
                         .seed = (uint64_t)o->seed};
    status = loop_open(&t->loop, t->s, o, "train", NULL, &use, error);
    const DataUse held = eval_use(o);
    if (status == PLIM_OK && o->eval_every > 0)
        status = loop_open(&t->held, t->s, o, "eval", t->loop.entry, &held, error);
    int64_t steps = 0;
    if (status == PLIM_OK)
        status = count_steps(t, &steps, error);
    if (status == PLIM_OK)
        status = fill_states(t, steps, error);
    if (status == PLIM_OK && o->log)
        status = step_log_open(o->log, (uint64_t)t->from.step, &t->log, error);
    t->progress = progress_new(o->quiet);
    if (status == PLIM_OK && !t->progress)
        status = error_set(error, PLIM_NO_MEMORY, "out of memory");
    if (status == PLIM_OK)
        loop_begin(&t->loop, t->from.step, steps);
    return status;
}

// What is told of the step that just ended.
static StepReport describe_step(const Training *t, double loss) {
    const Loop *l = &t->loop;
    const Plan *p = t->s->plan;
    const double seconds = l->times.ends - l->times.begins;
    StepReport r = {.step = (uint64_t)l->step,
                    .steps = (uint64_t)l->end,
                    .loss = loss,
                    .step_ms = 1e3 * seconds,
                    .data_ms = 1e3 * (l->times.data - l->times.begins),
                    .predicted_ms = (double)l->entry->predicted * 1e-9,
                    .tokens_per_s = (double)inputs_tokens(l->inputs) / seconds,
                    .epoch = inputs_passes(l->inputs, (uint64_t)l->step),
                    .plan_peak_bytes = plan_space_bytes(p, SPACE_DEVICE),
                    .arena_peak_bytes = run_arena_bytes(t->s->run),
                    .far_bytes = plan_space_bytes(p, SPACE_HOST) + plan_space_bytes(p, SPACE_DISK)};
    for (uint32_t i = 0; i < l->entry->input_count; i++) {
        const PlanInput *input = &l->entry->input[i];
        if (input->source != PLAN_FROM_KNOB || strcmp(input->name, "lr") != 0)
            continue;
        r.has_rate = true;
        r.rate = input->fallback;
    }
    return r;
}

// Every so many steps, and at the end.
static bool is_due(const Loop *l, int64_t every) {
    return every > 0 && (l->step % every == 0 || l->step == l->end);
}

// Says once what has become safe.
static void report_saved(Training *t, int64_t saved) {
    if (saved > t->told)
        progress_note(t->progress, "saved %s/step-%lld", t->o->save, (long long)saved);
    t->told = saved > t->told ? saved : t->told;
}

// After a step. The last one is always saved, and only once.
static PlimStatus save(Training *t, PlimError *error) {
    const Loop *l = &t->loop;
    int64_t saved = 0;
    PlimStatus status = PLIM_OK;
    if (is_due(l, t->o->save_every) || l->step == l->end || stop_signal(t->s->stop))
        status = checkpoint_save(t->checkpoint,
                                 &(Generation){.step = l->step,
                                               .steps = l->end,
                                               .seed = t->o->seed,
                                               .data = inputs_digest(l->inputs),
                                               .knobs = session_knob_digest(l->entry)},
                                 error);
    if (status == PLIM_OK)
        status = checkpoint_poll(t->checkpoint, &saved, error);
    report_saved(t, saved);
    return status;
}

// The last save has ended, and its error counts.
static PlimStatus end_saving(Training *t, PlimStatus status, PlimError *error) {
    int64_t saved = 0;
    PlimError own;
    if (!t->checkpoint || !t->progress)
        return status;
    const PlimStatus last = checkpoint_wait(t->checkpoint, &saved, &own);
    report_saved(t, saved);
    if (status != PLIM_OK || last == PLIM_OK)
        return status;
    *error = own;
    return last;
}

// The plan's prediction beside what steps took, where it was made with measured rates: assumed ones
// only tell what a step can't be shorter than.
static void tell_prediction(const Training *t) {
    const Plan *p = t->s->plan;
    const double measured = step_mean(&t->mean);
    const double predicted = t->loop.entry ? (double)t->loop.entry->predicted * 1e-9 : 0;
    char machine[MEASURE_MACHINE_MAX];
    if (!*p->rates || predicted <= 0 || measured <= 0)
        return;
    measure_machine(t->s, machine);
    const bool same = strcmp(machine, p->rates) == 0;
    progress_note(t->progress, "predicted %.4g ms a step%s%s, measured %.4g (%+.0f %%)", predicted,
                  same ? "" : " on ", same ? "" : p->rates, measured,
                  100 * (measured / predicted - 1));
}

static PlimStatus train_step(Training *t, PlimError *error) {
    double loss;
    PlimStatus status = loop_step(&t->loop, &loss, error);
    if (status != PLIM_OK)
        return status;
    StepReport report = describe_step(t, loss);
    step_mean_add(&t->mean, report.step_ms);
    report.evaluated = is_due(&t->loop, t->o->eval_every);
    if (report.evaluated)
        status = eval_mean(&t->held, eval_steps(&t->held), &report.eval_loss, error);
    if (status != PLIM_OK)
        return status;
    progress_step(t->progress, &report);
    if (t->log)
        step_log_write(t->log, &report);
    return t->checkpoint ? save(t, error) : PLIM_OK;
}

PlimStatus train_run(PlimSession *s, const PlimOptions *o, PlimError *error) {
    Training t = {.s = s, .own = *o};
    t.o = &t.own;
    // Before anything is opened: several processes would train the same, and save over each other.
    Ranks ranks;
    PlimStatus status = ranks_expect(s->plan->peers, &ranks, error);
    if (status == PLIM_OK)
        status = open_training(&t, error);
    while (status == PLIM_OK && t.loop.step < t.loop.end && !stop_signal(s->stop))
        status = train_step(&t, error);
    status = end_saving(&t, status, error);
    if (status == PLIM_OK)
        tell_prediction(&t);
    checkpoint_release(t.checkpoint);
    progress_close(t.progress);
    // An error of the steps comes first; what could not be written is one, too.
    PlimError closing[3];
    const PlimStatus closed[3] = {step_log_close(t.log, &closing[0]),
                                  loop_close(&t.held, &closing[1]),
                                  loop_close(&t.loop, &closing[2])};
    for (int i = 0; i < 3 && status == PLIM_OK; i++)
        if (closed[i] != PLIM_OK) {
            *error = closing[i];
            status = closed[i];
        }
    return status;
}
