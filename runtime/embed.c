// Models as libraries: a session in memory that the caller owns. See embed.h.
//
// Nothing is allocated after plim_model_open but while weights are read, and nothing is printed but
// what weights_load has to say about names. One call at a time: a model
// has one arena, and every entry works in it.
#include "runtime/embed.h"

#include "runtime/error.h"
#include "runtime/session.h"
#include "runtime/weights.h"

#include <stdlib.h>
#include <string.h>

// Code generation adds these.
extern const uint8_t plim_plan[];
extern const uint64_t plim_plan_size;
extern PlimKernelFn *const plim_kernels[];
extern const PlimCubin plim_cubins[];

struct PlimModel {
    PlimSession session;
};

PlimStatus plim_model_open(void *arena, size_t arena_bytes, int threads, PlimModel **out,
                           PlimError *error) {
    // Set first: a caller may close what a failed open left.
    *out = NULL;
    if (threads < 0)
        return error_set(error, PLIM_BAD_INPUT, "threads must not be negative");
    PlimModel *m = calloc(1, sizeof *m);
    if (!m)
        return error_set(error, PLIM_NO_MEMORY, "out of memory opening the model");
    const PlimImage image = {.plan = plim_plan,
                             .plan_size = plim_plan_size,
                             .kernel = plim_kernels,
                             .cubin = plim_cubins};
    PlimStatus status = session_open(&image, &m->session, error);
    if (status == PLIM_OK && !arena && !plan_is_cuda(m->session.plan))
        status = error_set(error, PLIM_BAD_INPUT, "no arena was given");
    if (status == PLIM_OK) {
        const RunOptions options = {.threads = threads, .arena = arena, .arena_bytes = arena_bytes};
        status = session_start(&m->session, &image, options, error);
    }
    if (status == PLIM_OK)
        *out = m;
    else
        plim_model_close(m);
    return status;
}

void plim_model_close(PlimModel *m) {
    if (!m)
        return;
    session_close(&m->session);
    free(m);
}

PlimStatus plim_model_init(PlimModel *m, int64_t seed, PlimError *error) {
    return session_init_states(&m->session, seed, NULL, error);
}

PlimStatus plim_model_load(PlimModel *m, const char *path, PlimError *error) {
    return weights_load(&m->session, path, WEIGHTS_ALL, error);
}

// Of every micro-batch.
static size_t input_bytes(const PlanInput *input) {
    size_t bytes = plan_dtype_bytes(input->dtype) * input->slots;
    for (uint32_t i = 0; i < input->rank; i++)
        bytes *= (size_t)input->dim[i]; // The verifier has seen that it fits the buffer
    return bytes;
}

static size_t result_bytes(const PlanResult *r) {
    size_t bytes = plan_dtype_bytes(r->dtype);
    for (uint32_t i = 0; i < r->rank; i++)
        bytes *= (size_t)r->dim[i];
    return bytes;
}

// Indexes are checked here, before any kernel follows one.
static PlimStatus check_bound(const PlanInput *input, const void *bytes, PlimError *error) {
    if (input->dtype != PLAN_I32 || input->bound == 0)
        return PLIM_OK;
    const size_t count = input_bytes(input) / sizeof(int32_t);
    for (size_t i = 0; i < count; i++) {
        int32_t x;
        memcpy(&x, (const char *)bytes + i * sizeof x, sizeof x);
        if (!plan_input_allows(input, x))
            return error_set(error, PLIM_BAD_INPUT,
                             "%s: value %d at %zu is outside the model's %lld", input->name, x, i,
                             (long long)(input->bound < 0 ? -input->bound : input->bound));
    }
    return PLIM_OK;
}

PlimStatus plim_model_call(PlimModel *m, uint32_t entry, const void *const *input,
                           void *const *result, PlimError *error) {
    PlimSession *s = &m->session;
    if (entry >= s->plan->entry_count)
        return error_set(error, PLIM_BAD_INPUT, "the model has no entry %u", entry);
    const PlanEntry *e = &s->plan->entry[entry];
    for (uint32_t i = 0; i < e->input_count; i++) {
        const PlimStatus status = check_bound(&e->input[i], input[i], error);
        if (status != PLIM_OK)
            return status;
        // Copied at once, not when all are checked: a call that fails leaves nothing that the next
        // does not overwrite.
        const PlimStatus written =
            run_write(s->run, e->input[i].buffer, 0, input[i], input_bytes(&e->input[i]), error);
        if (written != PLIM_OK)
            return written;
    }
    PlimStatus status = run_entry(s->run, e, error);
    for (uint32_t i = 0; i < e->result_count && status == PLIM_OK; i++)
        // NULL: the caller does not want this one.
        if (result[i])
            status = run_read(s->run, e->result[i].buffer, e->result[i].offset, result[i],
                              result_bytes(&e->result[i]), error);
    return status;
}

void *plim_model_state(PlimModel *m, const char *name, size_t *bytes) {
    const Plan *p = m->session.plan;
    for (uint32_t i = 0; i < p->state_count; i++)
        if (strcmp(p->state[i].name, name) == 0) {
            if (bytes)
                *bytes = p->buffer[p->state[i].buffer].bytes;
            // On a GPU the caller can do something with an address that shows nothing here.
            return run_shows(m->session.run, p->state[i].buffer) || plan_is_cuda(p)
                       ? run_address(m->session.run, p->state[i].buffer)
                       : NULL;
        }
    return NULL;
}
