// train: the steps of one entry, and what is told, evaluated and saved between them.
//
// Everything that can fail for the user's sake (files, shapes, knobs, weights) is checked before
// the first step. A step's time is from asking for its data to its loss; evaluating and saving are
// no part of it.
#include "runtime/train.h"

#include "runtime/error.h"
#include "runtime/eval.h"
#include "runtime/step_log.h"
#include "runtime/weights.h"

#include <string.h>

typedef struct {
    PlimSession *s;
    const PlimOptions *o;
    Loop loop;
    Loop held; // entry "eval" on held-out data; closed without --eval-every
    PlimProgress *progress;
    StepLog *log; // NULL without --log
} Training;

// The steps that --steps or --epochs ask for.
static PlimStatus count_steps(const Training *t, int64_t *steps, PlimError *error) {
    *steps = t->o->steps ? t->o->steps : 100;
    if (t->o->epochs == 0)
        return PLIM_OK;
    *steps = (int64_t)inputs_steps(t->loop.inputs, (uint64_t)t->o->epochs);
    if (*steps > 0)
        return PLIM_OK;
    return error_set(error, PLIM_BAD_INPUT,
                     "--epochs %lld: the data have fewer examples than one step takes",
                     (long long)t->o->epochs);
}

static PlimStatus open_training(Training *t, PlimError *error) {
    const PlimOptions *o = t->o;
    const DataUse use = {.part = o->holdout > 0 ? DATA_TRAIN : DATA_ALL,
                         .holdout = o->holdout,
                         .shuffle = true,
                         .seed = (uint64_t)o->seed};
    PlimStatus status = loop_open(&t->loop, t->s, o, "train", NULL, &use, error);
    const DataUse held = eval_use(o);
    if (status == PLIM_OK && o->eval_every > 0)
        status = loop_open(&t->held, t->s, o, "eval", t->loop.entry, &held, error);
    int64_t steps = 0;
    if (status == PLIM_OK)
        status = count_steps(t, &steps, error);
    if (status == PLIM_OK)
        status = session_init_states(t->s, o->seed, error);
    // After init: what the file does not have, such as optimizer state, keeps its first value.
    if (status == PLIM_OK && o->weights)
        status =
            weights_load(t->s, o->weights, o->allow_missing ? WEIGHTS_SOME : WEIGHTS_ALL, error);
    if (status == PLIM_OK && o->log)
        status = step_log_open(o->log, 0, &t->log, error);
    t->progress = progress_new(o->quiet);
    if (status == PLIM_OK && !t->progress)
        status = error_set(error, PLIM_NO_MEMORY, "out of memory");
    if (status == PLIM_OK)
        loop_begin(&t->loop, 0, steps);
    return status;
}

// Of all arenas: what the plan said at compile time.
static uint64_t planned_bytes(const Plan *p) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < p->space_count; i++)
        sum += p->space[i].bytes;
    return sum;
}

// What is told of the step that just ended.
static StepReport describe_step(const Training *t, double loss, double seconds) {
    const Loop *l = &t->loop;
    StepReport r = {.step = (uint64_t)l->step,
                    .steps = (uint64_t)l->end,
                    .loss = loss,
                    .step_ms = 1e3 * seconds,
                    .data_ms = 1e3 * l->data_seconds,
                    .tokens_per_s = (double)inputs_tokens(l->inputs) / seconds,
                    .epoch = inputs_passes(l->inputs, (uint64_t)l->step),
                    .plan_peak_bytes = planned_bytes(t->s->plan),
                    .arena_peak_bytes = run_arena_bytes(t->s->run)};
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

static PlimStatus train_step(Training *t, PlimError *error) {
    const double start = clock_seconds();
    double loss;
    PlimStatus status = loop_step(&t->loop, &loss, error);
    if (status != PLIM_OK)
        return status;
    StepReport report = describe_step(t, loss, clock_seconds() - start);
    report.evaluated = is_due(&t->loop, t->o->eval_every);
    if (report.evaluated)
        status = eval_mean(&t->held, eval_steps(&t->held), &report.eval_loss, error);
    if (status != PLIM_OK)
        return status;
    progress_step(t->progress, &report);
    if (t->log)
        step_log_write(t->log, &report);
    // The last step is always saved, and only once.
    if (t->o->save && (is_due(&t->loop, t->o->save_every) || t->loop.step == t->loop.end))
        status = session_save(t->s, t->o->save, t->loop.step, error);
    return status;
}

PlimStatus train_run(PlimSession *s, const PlimOptions *o, PlimError *error) {
    Training t = {.s = s, .o = o};
    PlimStatus status = open_training(&t, error);
    while (status == PLIM_OK && t.loop.step < t.loop.end)
        status = train_step(&t, error);
    progress_close(t.progress);
    // An error of the steps comes first; a log that could not be written is one, too.
    PlimError closing;
    const PlimStatus closed = step_log_close(t.log, &closing);
    if (status == PLIM_OK && closed != PLIM_OK) {
        *error = closing;
        status = closed;
    }
    loop_close(&t.held);
    loop_close(&t.loop);
    return status;
}
