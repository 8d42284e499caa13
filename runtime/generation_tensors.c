// What a generation of a program holds: its states in the plan's order, by file, stacked ones slice
// by slice. Writing and reading use one list, so what is written is what is asked for.
#include "runtime/generation.h"

#include "runtime/error.h"
#include "runtime/weights.h"

#include <stdlib.h>
#include <string.h>

enum { NAME_ROOM = 1024 };

// Optimizer state stands apart, so that the other file is the model, as people exchange it.
static bool is_in(const PlanState *state, int file) {
    const bool optimizer = state->kind == PLAN_STATE_OPTIMIZER;
    return state->kind != PLAN_STATE_TRANSIENT && optimizer == (file == GENERATION_OPTIMIZER);
}

// The state's tensors from out on. False without memory.
static bool list_state(const PlanState *state, RunWindow *window, SafeSource *out) {
    // A stacked state is one tensor a slice, of one axis less, as published files have it.
    const uint32_t first_axis = weights_is_stacked(state) ? 1 : 0;
    uint64_t bytes = plan_dtype_bytes(state->dtype);
    for (uint32_t d = first_axis; d < state->rank; d++)
        bytes *= (uint64_t)state->dim[d];
    for (uint64_t k = 0; k < weights_slices(state); k++) {
        char name[NAME_ROOM];
        out[k] = (SafeSource){.name = weights_slice_name(state, k, name, sizeof name) ? strdup(name)
                                                                                      : NULL,
                              .dtype = state->dtype,
                              .rank = state->rank - first_axis,
                              .dim = state->dim + first_axis,
                              .window = window,
                              .buffer = state->buffer,
                              .offset = k * bytes};
        if (!out[k].name)
            return false;
    }
    return true;
}

static bool list_file(const Plan *p, int file, GenerationTensors *out) {
    uint64_t count = 0;
    for (uint32_t i = 0; i < p->state_count; i++)
        count += is_in(&p->state[i], file) ? weights_slices(&p->state[i]) : 0;
    // Zeroed, so that a list cut short can be released; one more, for calloc of nothing.
    out->tensor = calloc((size_t)count + 1, sizeof *out->tensor);
    if (!out->tensor || count > UINT32_MAX)
        return false;
    out->count = (uint32_t)count;
    SafeSource *next = out->tensor;
    for (uint32_t i = 0; i < p->state_count; i++) {
        const PlanState *state = &p->state[i];
        if (!is_in(state, file))
            continue;
        if (!list_state(state, &out->window, next))
            return false;
        next += weights_slices(state);
    }
    return true;
}

PlimStatus generation_tensors_new(const Plan *p, PlimRun *run,
                                  GenerationTensors out[GENERATION_FILES], PlimError *error) {
    for (int file = 0; file < GENERATION_FILES; file++)
        out[file] = (GenerationTensors){0};
    PlimStatus status = PLIM_OK;
    for (int file = 0; file < GENERATION_FILES && status == PLIM_OK; file++) {
        status = list_file(p, file, &out[file])
                     ? window_open(run, &out[file].window, error)
                     : error_set(error, PLIM_NO_MEMORY, "out of memory listing the state");
    }
    if (status != PLIM_OK)
        generation_tensors_release(out);
    return status;
}

void generation_tensors_release(GenerationTensors tensors[GENERATION_FILES]) {
    for (int file = 0; file < GENERATION_FILES; file++) {
        for (uint32_t i = 0; i < tensors[file].count; i++)
            free((char *)(uintptr_t)tensors[file].tensor[i].name); // const for all but its owner
        free(tensors[file].tensor);
        window_close(&tensors[file].window);
        tensors[file] = (GenerationTensors){0};
    }
}
