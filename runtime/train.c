// train and eval: one loop, which fills the inputs, runs the entry and reads its first result.
//
// Everything that can fail for the user's sake (files, shapes, knobs, weights) is checked before
// the first step. Which rows a step reads follows from its number and the seed alone, so a run can
// be repeated or gone on with. train shuffles; eval walks the file once in its order.
#include "runtime/train.h"

#include "runtime/error.h"
#include "runtime/progress.h"
#include "runtime/weights.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    PlimSession *s;
    const PlimOptions *o;
    const PlanEntry *entry; // set by open_loop
    PlimData **data;        // by entry input; NULL where it is no data; loaders are shared
    bool shuffle;
} Loop;

static PlimStatus need_entry(const PlimSession *s, const char *name, const PlanEntry **out,
                             PlimError *error) {
    *out = plan_find_entry(s->plan, name);
    if (*out)
        return PLIM_OK;
    return error_set(error, PLIM_BAD_INPUT, "this program has no entry %s", name);
}

// Whether the text is "NAME=..." for a loader of that name.
static bool names_loader(const char *text, const char *loader) {
    const size_t length = strlen(loader);
    return strncmp(text, loader, length) == 0 && text[length] == '=';
}

// The file given for a loader: "--data NAME=FILE" serves the loader NAME, "--data FILE" all that
// have none of their own. A text with another loader's name in front is that loader's alone; other
// names belong to the path.
static const char *file_of_loader(const PlimOptions *o, const PlanEntry *entry,
                                  const char *loader) {
    const char *found = NULL;
    for (int i = 0; i < o->data.count; i++) {
        if (names_loader(o->data.item[i], loader))
            return o->data.item[i] + strlen(loader) + 1;
        bool others = false;
        for (uint32_t k = 0; k < entry->input_count && !others; k++)
            others = entry->input[k].source == PLAN_FROM_DATA &&
                     names_loader(o->data.item[i], entry->input[k].loader);
        if (!others)
            found = o->data.item[i];
    }
    return found;
}

// Opens the file of the input's loader, or takes it from an earlier input of that loader, and
// checks that it can feed the input.
static PlimStatus open_input(Loop *l, uint32_t index, PlimError *error) {
    const PlanInput *input = &l->entry->input[index];
    if (input->source == PLAN_FROM_CALLER) {
        return error_set(error, PLIM_BAD_INPUT, "entry %s wants %s from a caller", l->entry->name,
                         input->name);
    }
    if (input->source != PLAN_FROM_DATA)
        return PLIM_OK;
    const char *path = file_of_loader(l->o, l->entry, input->loader);
    if (!path) {
        return error_set(error, PLIM_BAD_INPUT,
                         "entry %s reads %s: give --data %s=FILE or --data FILE", l->entry->name,
                         input->name, input->loader);
    }
    for (uint32_t i = 0; i < index && !l->data[index]; i++)
        if (l->data[i] && strcmp(l->entry->input[i].loader, input->loader) == 0)
            l->data[index] = l->data[i];
    const PlimStatus status = l->data[index] ? PLIM_OK : data_open(path, &l->data[index], error);
    return status == PLIM_OK ? data_check(l->data[index], input, error) : status;
}

// Inputs of one loader share its file, which is closed once.
static void close_inputs(Loop *l) {
    for (uint32_t i = 0; l->data && i < l->entry->input_count; i++) {
        bool shared = false;
        for (uint32_t j = 0; j < i; j++)
            shared = shared || l->data[j] == l->data[i];
        if (!shared)
            data_release(l->data[i]);
    }
    free(l->data);
}

// On failure, too, what was opened is in l->data, for close_inputs.
static PlimStatus open_loop(Loop *l, const char *entry, PlimError *error) {
    PlimStatus status = need_entry(l->s, entry, &l->entry, error);
    if (status != PLIM_OK)
        return status;
    for (int i = 0; i < l->o->set.count && status == PLIM_OK; i++)
        status = session_set_knob(l->s, l->entry, l->o->set.item[i], error);
    // One more: calloc of nothing may give NULL.
    l->data = calloc((size_t)l->entry->input_count + 1, sizeof *l->data);
    if (!l->data && status == PLIM_OK)
        status = error_set(error, PLIM_NO_MEMORY, "out of memory opening the data");
    for (uint32_t i = 0; i < l->entry->input_count && status == PLIM_OK; i++)
        status = open_input(l, i, error);
    if (status == PLIM_OK)
        status = session_init_states(l->s, l->o->seed, error);
    // After init: what the file does not have, such as optimizer state, keeps its first value.
    if (status == PLIM_OK && l->o->weights)
        status = weights_load(l->s, l->o->weights, l->o->allow_missing ? WEIGHTS_SOME : WEIGHTS_ALL,
                              error);
    return status;
}

// Scalars, then data, then the entry. steps is what schedules in the model see as the total.
static PlimStatus one_step(Loop *l, int64_t step, int64_t steps, PlimError *error) {
    session_set_scalars(l->s, l->entry,
                        &(StepScalars){.step = step, .steps = steps, .seed = l->o->seed});
    for (uint32_t i = 0; i < l->entry->input_count; i++) {
        if (!l->data[i])
            continue;
        const PlimStatus status = data_fill(
            l->data[i], &l->entry->input[i], (uint64_t)step, l->shuffle, (uint64_t)l->o->seed,
            run_buffer(l->s->run, l->entry->input[i].buffer), error);
        if (status != PLIM_OK)
            return status;
    }
    return run_entry(l->s->run, l->entry, error);
}

// Tokens a step: those of the input that has most.
static uint64_t step_tokens(const Loop *l) {
    uint64_t most = 0;
    for (uint32_t i = 0; i < l->entry->input_count; i++)
        if (l->data[i] && data_tokens(l->data[i], &l->entry->input[i]) > most)
            most = data_tokens(l->data[i], &l->entry->input[i]);
    return most;
}

// Of all arenas: what the plan said at compile time.
static uint64_t planned_bytes(const Plan *p) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < p->space_count; i++)
        sum += p->space[i].bytes;
    return sum;
}

static PlimStatus train_steps(Loop *l, PlimProgress *progress, PlimError *error) {
    const int64_t steps = l->o->steps ? l->o->steps : 100;
    const double tokens = (double)step_tokens(l);
    // Saving counts as no part of a step's time.
    for (int64_t i = 0; i < steps; i++) {
        const double start = clock_seconds();
        PlimStatus status = one_step(l, i, steps, error);
        if (status != PLIM_OK)
            return status;
        // Data, kernels and everything between them.
        const double seconds = clock_seconds() - start;
        progress_step(progress, &(StepReport){.step = (uint64_t)i + 1,
                                              .steps = (uint64_t)steps,
                                              .loss = session_result(l->s, l->entry, 0),
                                              .step_ms = 1e3 * seconds,
                                              .tokens_per_s = tokens / seconds,
                                              .plan_peak_bytes = planned_bytes(l->s->plan),
                                              .arena_peak_bytes = run_arena_bytes(l->s->run)});
        // The last step is always saved, and only once.
        const bool due = l->o->save_every > 0 && (i + 1) % l->o->save_every == 0;
        if (l->o->save && (due || i + 1 == steps))
            status = session_save(l->s, l->o->save, i + 1, error);
        if (status != PLIM_OK)
            return status;
    }
    return PLIM_OK;
}

PlimStatus train_run(PlimSession *s, const PlimOptions *o, PlimError *error) {
    Loop l = {.s = s, .o = o, .shuffle = true};
    PlimProgress *progress = NULL;
    PlimStatus status = open_loop(&l, "train", error);
    if (status == PLIM_OK && l.entry->result_count == 0)
        status = error_set(error, PLIM_BAD_INPUT, "entry train returns nothing to report");
    if (status == PLIM_OK)
        status = progress_new(o->log, o->quiet, &progress, error);
    if (status == PLIM_OK)
        status = train_steps(&l, progress, error);
    // An error of the steps comes first; a log that could not be written is one, too.
    PlimError closing;
    const PlimStatus closed = progress_close(progress, &closing);
    if (status == PLIM_OK && closed != PLIM_OK) {
        *error = closing;
        status = closed;
    }
    close_inputs(&l);
    return status;
}

// Whole steps that the data holds, each row at most once.
static int64_t whole_pass(const Loop *l) {
    uint64_t least = 0;
    for (uint32_t i = 0; i < l->entry->input_count; i++) {
        if (!l->data[i])
            continue;
        const PlanInput *input = &l->entry->input[i];
        const uint64_t rows = (input->rank ? (uint64_t)input->dim[0] : 1) * input->slots;
        // Rows at the end that fill no whole step are left out.
        const uint64_t steps = data_examples(l->data[i], input) / rows;
        if (least == 0 || steps < least)
            least = steps;
    }
    // No data at all, or fewer rows than a step takes: data_fill then takes rows again.
    return least ? (int64_t)least : 1;
}

PlimStatus eval_run(PlimSession *s, const PlimOptions *o, PlimError *error) {
    Loop l = {.s = s, .o = o};
    PlimStatus status = open_loop(&l, "eval", error);
    if (status == PLIM_OK && l.entry->result_count == 0)
        status = error_set(error, PLIM_BAD_INPUT, "entry eval returns nothing to report");
    // Of the losses; double, so that long evaluations lose nothing.
    double sum = 0;
    int64_t steps = 0;
    if (status == PLIM_OK) {
        steps = o->steps ? o->steps : whole_pass(&l);
        for (int64_t i = 0; i < steps && status == PLIM_OK; i++) {
            status = one_step(&l, i, steps, error);
            if (status == PLIM_OK)
                sum += session_result(s, l.entry, 0);
        }
    }
    if (status == PLIM_OK)
        // Perplexity: e to the mean cross entropy a token, in nats.
        printf("loss %.6f over %lld steps (perplexity %.4f)\n", sum / (double)steps,
               (long long)steps, exp(sum / (double)steps));
    close_inputs(&l);
    return status;
}
