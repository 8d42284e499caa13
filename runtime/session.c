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
    if (options.threads > most) {
        return error_set(
            error, PLIM_BAD_INPUT,
            "the plan has workspace for %d threads; compile with --threads %d for more", most,
            options.threads);
    }
    // Not asked for: what there is, as far as the plan has room.
    if (options.threads == 0) {
        const int usable = usable_processors();
        options.threads = usable < most ? usable : most;
    }
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
static void store_count(const PlimSession *s, const PlanInput *input, int64_t x) {
    void *at = run_buffer(s->run, input->buffer);
    if (input->dtype == PLAN_F32)
        *(float *)at = (float)x;
    else
        // Through unsigned: the low 32 bits, whatever the number.
        *(int32_t *)at = (int32_t)(uint32_t)(uint64_t)x;
}

// An i32 knob truncates and saturates, as casts in the model do.
static void store_knob(const PlimSession *s, const PlanInput *input) {
    void *at = run_buffer(s->run, input->buffer);
    // The plan's default, until --set replaces it.
    const double x = input->fallback;
    if (input->dtype == PLAN_F32)
        *(float *)at = (float)x;
    else
        *(int32_t *)at = x <= INT32_MIN ? INT32_MIN : x >= INT32_MAX ? INT32_MAX : (int32_t)x;
}

void session_set_scalars(PlimSession *s, const PlanEntry *entry, const StepScalars *scalars) {
    for (uint32_t i = 0; i < entry->input_count; i++) {
        const PlanInput *input = &entry->input[i];
        switch (input->source) {
        case PLAN_FROM_STEP:
            store_count(s, input, scalars->step);
            break;
        case PLAN_FROM_STEPS:
            store_count(s, input, scalars->steps);
            break;
        case PLAN_FROM_SEED:
            store_count(s, input, scalars->seed);
            break;
        case PLAN_FROM_SLOT:
            for (uint32_t slot = 0; slot < input->slots; slot++)
                ((int32_t *)run_buffer(s->run, input->buffer))[slot] = (int32_t)slot;
            break;
        case PLAN_FROM_KNOB:
            store_knob(s, input);
            break;
        // Filled by the caller, and no scalars.
        case PLAN_FROM_DATA:
        case PLAN_FROM_CALLER:
            break;
        }
    }
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
    session_set_scalars(s, init, &(StepScalars){.seed = seed});
    if (!known)
        return run_entry(s->run, init, error);
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

double session_result(const PlimSession *s, const PlanEntry *entry, uint32_t index) {
    const PlanResult *r = &entry->result[index];
    // The first element, whatever the shape.
    const char *at = (const char *)run_buffer(s->run, r->buffer) + r->offset;
    uint32_t bits = 0; // memcpy: a result may stand at any offset
    float x;
    switch (r->dtype) {
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
