// Opening a program and everything in it that has a name: inputs, knobs, states, results.
//
// Opening has two steps, so that `info` needs no memory for the model: decoding with the machine's
// check first, then the proof of the plan and the arenas. Whatever fails, session_close is safe.
#include "runtime/session.h"

#include "runtime/cpu.h"
#include "runtime/error.h"
#include "runtime/plan_sign.h"
#include "runtime/program.h"
#include "runtime/safetensors.h"

#include <errno.h>
#include <math.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

PlimStatus session_open(const PlimImage *image, PlimSession *out, PlimError *error) {
    *out = (PlimSession){.memory = plan_memory_new()};
    if (!out->memory)
        return error_set(error, PLIM_NO_MEMORY, "out of memory reading the plan");
    PlimStatus status = plan_decode(image->plan, image->plan_size, out->memory, &out->plan, error);
    if (status == PLIM_OK)
        // Before anything of the plan runs: its code may use any instruction that isa names.
        status = cpu_check(out->plan->isa, out->plan->target, error);
    if (status != PLIM_OK)
        session_close(out);
    return status;
}

// Those the process may run on: a container or taskset may allow fewer than there are.
static int usable_processors(void) {
    cpu_set_t set;
    return sched_getaffinity(0, sizeof set, &set) == 0 ? CPU_COUNT(&set) : 1;
}

PlimStatus session_start(PlimSession *s, const PlimImage *image, RunOptions options,
                         PlimError *error) {
    const PlimStatus status = plan_verify(s->plan, error);
    if (status != PLIM_OK)
        return status;
    const int most = (int)s->plan->workers; // Each worker has its own workspace in the arena
    // Programs have flags, a library's callers an argument: the sentences name neither.
    if (options.threads > most && plan_is_cuda(s->plan))
        return error_set(error, PLIM_BAD_INPUT,
                         "%d worker threads were asked for, and the plan is for a GPU and has none",
                         options.threads);
    if (options.threads > most) {
        return error_set(
            error, PLIM_BAD_INPUT,
            "%d threads were asked for, and the plan has workspace for %d: compile the model with "
            "--threads %d for more",
            options.threads, most, options.threads);
    }
    // Not asked for: what there is, as far as the plan has room.
    if (options.threads == 0) {
        const int usable = usable_processors();
        options.threads = usable < most ? usable : most;
    }
    options.cubin = image->cubin;
    return run_new(s->plan, image->kernel, &options, &s->run, error);
}

void session_close(PlimSession *s) {
    run_release(s->run);
    stop_release(s->stop);
    plan_memory_release(s->memory);
    *s = (PlimSession){0};
}

// The verifier lets only f32[] and i32[] take these (rule 3). Counts and seeds beyond 32 bits keep
// their low ones.
static void count_bytes(const PlanInput *input, int64_t x, char out[4]) {
    const float real = (float)x;
    // Through unsigned: the low 32 bits, whatever the number.
    const uint32_t low = (uint32_t)(uint64_t)x;
    memcpy(out, input->dtype == PLAN_F32 ? (const void *)&real : &low, 4);
}

// An i32 knob truncates and saturates, as casts in the model do.
static void knob_bytes(const PlanInput *input, char out[4]) {
    // The plan's default, until --set replaces it.
    const double x = input->fallback;
    const float real = (float)x;
    const int32_t whole = x <= INT32_MIN ? INT32_MIN : x >= INT32_MAX ? INT32_MAX : (int32_t)x;
    memcpy(out, input->dtype == PLAN_F32 ? (const void *)&real : &whole, 4);
}

// The slot's own number in each.
static PlimStatus store_slots(const PlimSession *s, const PlanInput *input, PlimError *error) {
    PlimStatus status = PLIM_OK;
    for (uint32_t slot = 0; slot < input->slots && status == PLIM_OK; slot++)
        status = run_write(s->run, input->buffer, slot * sizeof slot, &slot, sizeof slot, error);
    return status;
}

static PlimStatus store_scalar(const PlimSession *s, const PlanInput *input,
                               const StepScalars *scalars, PlimError *error) {
    char bytes[4];
    switch (input->source) {
    case PLAN_FROM_STEP:
        count_bytes(input, scalars->step, bytes);
        break;
    case PLAN_FROM_STEPS:
        count_bytes(input, scalars->steps, bytes);
        break;
    case PLAN_FROM_SEED:
        count_bytes(input, scalars->seed, bytes);
        break;
    case PLAN_FROM_KNOB:
        knob_bytes(input, bytes);
        break;
    case PLAN_FROM_SLOT:
        return store_slots(s, input, error);
    // Filled by the caller, and no scalars.
    case PLAN_FROM_DATA:
    case PLAN_FROM_CALLER:
        return PLIM_OK;
    }
    return run_write(s->run, input->buffer, 0, bytes, sizeof bytes, error);
}

PlimStatus session_set_scalars(PlimSession *s, const PlanEntry *entry, const StepScalars *scalars,
                               PlimError *error) {
    PlimStatus status = PLIM_OK;
    for (uint32_t i = 0; i < entry->input_count && status == PLIM_OK; i++)
        status = store_scalar(s, &entry->input[i], scalars, error);
    return status;
}

// Names what there is: knobs are the model's own, and --help can't know them.
static PlimStatus unknown_knob(const PlanEntry *entry, const char *assignment, PlimError *error) {
    char known[256] = "";
    for (uint32_t i = 0; i < entry->input_count; i++)
        if (entry->input[i].source == PLAN_FROM_KNOB) {
            const size_t used = strlen(known);
            // A list too long for the sentence is cut.
            snprintf(known + used, sizeof known - used, "%s%s", used ? ", " : "",
                     entry->input[i].name);
        }
    return error_set(error, PLIM_BAD_INPUT, "--set %s: entry %s has %s%s", assignment, entry->name,
                     known[0] ? "these knobs: " : "no knobs", known);
}

PlimStatus session_set_knob(PlimSession *s, const PlanEntry *entry, const char *assignment,
                            PlimError *error) {
    // Bytes of the name.
    const size_t length = strcspn(assignment, "=");
    for (uint32_t i = 0; i < entry->input_count; i++) {
        PlanInput *input = &entry->input[i];
        if (input->source != PLAN_FROM_KNOB || strlen(input->name) != length ||
            memcmp(input->name, assignment, length) != 0 || assignment[length] != '=')
            continue;
        char *end;
        const double x = strtod(assignment + length + 1, &end);
        if (end == assignment + length + 1 || *end || !isfinite(x))
            return error_set(error, PLIM_BAD_INPUT, "--set %s: the value is no finite number",
                             assignment);
        // The decoded plan is the session's own: its default is the knob's value from now on.
        input->fallback = x;
        (void)s;
        return PLIM_OK;
    }
    return unknown_knob(entry, assignment, error);
}

PlimStatus session_init_states(PlimSession *s, int64_t seed, const bool *known, PlimError *error) {
    const PlanEntry *init = plan_find_entry(s->plan, "init");
    if (!init)
        return PLIM_OK; // A model without state.
    // step and steps are 0: initial values depend on the seed alone.
    const PlimStatus set = session_set_scalars(s, init, &(StepScalars){.seed = seed}, error);
    if (set != PLIM_OK || !known)
        return set != PLIM_OK ? set : run_entry(s->run, init, error);
    // Drawing values that a file is about to replace takes several times as long as reading them.
    Program program;
    bool *unwanted = NULL;
    bool good = program_init(&program, s->plan, init);
    if (good)
        good = (unwanted = calloc((size_t)program.count + 1, sizeof *unwanted)) &&
               program_mark_unwanted(&program, known, unwanted);
    const PlimStatus status =
        good ? run_entry_without(s->run, init, unwanted, error)
             : error_set(error, PLIM_NO_MEMORY, "out of memory giving states their first values");
    free(unwanted);
    program_free(&program);
    return status;
}

// One element, wherever it stood.
static double element_value(PlanDType dtype, const char at[4]) {
    uint32_t bits = 0;
    float x;
    switch (dtype) {
    case PLAN_F32:
        memcpy(&x, at, sizeof x);
        return (double)x;
    case PLAN_BF16:
        memcpy(&bits, at, 2);
        // bf16 is the upper half of an f32.
        bits <<= 16;
        memcpy(&x, &bits, sizeof x);
        return (double)x;
    case PLAN_I32:
        memcpy(&bits, at, 4);
        return (double)(int32_t)bits;
    case PLAN_BOOL:
        return *at != 0;
    // The decoder and the verifier let no such result through.
    case PLAN_DTYPE_COUNT:
        break;
    }
    return (double)NAN;
}

PlimStatus session_result(const PlimSession *s, const PlanEntry *entry, uint32_t index, double *out,
                          PlimError *error) {
    const PlanResult *r = &entry->result[index];
    // The first element, whatever the shape.
    char bytes[4] = {0};
    const PlimStatus status =
        run_read(s->run, r->buffer, r->offset, bytes, plan_dtype_bytes(r->dtype), error);
    *out = element_value(r->dtype, bytes);
    return status;
}

uint32_t session_knob_digest(const PlanEntry *entry) {
    uint64_t h = plan_hash_start();
    for (uint32_t i = 0; i < entry->input_count; i++) {
        const PlanInput *input = &entry->input[i];
        if (input->source == PLAN_FROM_KNOB)
            h = plan_hash_bytes(plan_hash_bytes(h, input->name, strlen(input->name)),
                                &input->fallback, sizeof input->fallback);
    }
    return (uint32_t)h;
}
