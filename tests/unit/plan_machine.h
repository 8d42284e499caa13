// Runs a plan without machine code: kernels through kernel_interpret, at the addresses layout
// chose. What the tests of storage, order and layout hold against the reference evaluator and
// against each other.
#ifndef PLIM_TESTS_UNIT_PLAN_MACHINE_H
#define PLIM_TESTS_UNIT_PLAN_MACHINE_H

#include "ir/evaluate.h"
#include "ir/kernel.h"
#include "passes/pipeline.h"
#include "tests/unit/element_read.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

typedef struct {
    Arena *arena;
    PassCtx cx;
    PassOptions options;
    Module *m;
    Kernel **kernel;
    char *memory[SPACE_COUNT]; // the arenas of the plan
    uint64_t turns;            // by what streams take turns; 0: list order
} Machine;

// Reads the module and runs these passes (count 0: every pass). options as given.
static inline void machine_open_by(Machine *t, const char *text, PassOptions options,
                                   const char *const *pass, int count) {
    *t = (Machine){.arena = arena_create(), .options = options};
    t->cx.arena = t->arena;
    t->cx.scratch = arena_create();
    t->cx.diag = diag_create(t->arena);
    t->cx.plan_memory = plan_memory_new();
    t->cx.options = &t->options;
    if (t->options.workers == 0)
        t->options.workers = 2;
    diag_add_source(t->cx.diag, "test.graph", text, strlen(text));
    t->m = module_parse(t->arena, t->cx.diag, "test.graph", text, strlen(text));
    if (!t->m || !pipeline_run(t->m, &t->cx, pass, count, NULL, NULL)) {
        diag_print(t->cx.diag, stderr, false);
        cr_assert_fail("the passes failed");
    }
    PlimError error;
    const PlimStatus status = plan_verify(t->cx.plan, &error);
    cr_assert(status == PLIM_OK, "%s", error.text);
    const Plan *p = t->cx.plan;
    t->kernel = arena_array(t->arena, Kernel *, p->kernel_count + 1);
    for (uint32_t i = 0; i < p->kernel_count; i++) {
        size_t at = 0;
        t->kernel[i] = kernel_parse(t->arena, t->cx.diag, "kernel", p->kernel[i].text,
                                    strlen(p->kernel[i].text), &at);
        cr_assert(t->kernel[i] != NULL);
    }
    for (uint32_t i = 0; i < p->space_count; i++) {
        t->memory[i] = arena_alloc(t->arena, p->space[i].bytes + 64, 1);
        memset(t->memory[i], 0x5a, p->space[i].bytes);
    }
}

static inline void machine_open(Machine *t, const char *text, PassOptions options) {
    machine_open_by(t, text, options, NULL, 0);
}

static inline void machine_close(Machine *t) {
    plan_memory_release(t->cx.plan_memory);
    arena_release(t->cx.scratch);
    arena_release(t->arena);
}

static inline void *machine_buffer(const Machine *t, uint32_t buffer) {
    const PlanBuffer *b = &t->cx.plan->buffer[buffer];
    return t->memory[b->space] + b->offset;
}

static inline void machine_set_number(void *at, DType dtype, int64_t i, double x) {
    if (dtype == DT_F32) {
        ((float *)at)[i] = (float)x;
    } else if (dtype == DT_I32) {
        ((int32_t *)at)[i] = (int32_t)x;
    } else if (dtype == DT_BOOL) {
        ((uint8_t *)at)[i] = x != 0;
    } else {
        const float f = (float)dtype_round(DT_BF16, x);
        uint32_t bits;
        memcpy(&bits, &f, sizeof bits);
        ((uint16_t *)at)[i] = (uint16_t)(bits >> 16);
    }
}

static inline void machine_execute(Machine *t, const PlanInstr *instr, uint32_t slot) {
    void *operand[KERNEL_OPERANDS_MAX];
    for (uint32_t i = 0; i < instr->operand_count; i++) {
        const PlanOperand *o = &instr->operand[i];
        operand[i] = (char *)machine_buffer(t, o->buffer) + o->offset + slot * o->slot_bytes;
    }
    if (instr->kind == INSTR_FILL)
        memset(operand[0], (int)instr->imm[0], instr->operand[0].bytes);
    else if (instr->kind == INSTR_COPY)
        memcpy(operand[0], operand[1], instr->operand[0].bytes);
    else
        kernel_interpret(t->kernel[instr->kernel], operand, instr->imm);
}

static inline bool machine_may_run(const PlanInstr *instr, const bool *signalled) {
    for (uint32_t i = 0; i < instr->wait_count; i++)
        if (!signalled[instr->wait[i]])
            return false;
    return true;
}

// One call, streams taking turns as far as events let them. Copies happen at once: whatever is
// possible is one of the turns.
static inline void machine_call(Machine *t, const PlanSegment *s, uint32_t slot) {
    uint32_t at[PLAN_STREAMS_MAX] = {0};
    bool *signalled = arena_array(t->arena, bool, s->event_count + 1);
    for (uint32_t done = 0, idle = 0; done < s->instr_count; idle++) {
        cr_assert_lt(idle, 100000u, "every stream waits");
        t->turns = t->turns * 6364136223846793005u + 1442695040888963407u;
        const uint32_t stream = (uint32_t)(t->turns >> 33) % t->cx.plan->stream_count;
        uint32_t *i = &at[stream];
        while (*i < s->instr_count && s->instr[*i].stream != stream)
            (*i)++;
        if (*i == s->instr_count || !machine_may_run(&s->instr[*i], signalled))
            continue;
        const PlanInstr *instr = &s->instr[(*i)++];
        machine_execute(t, instr, slot);
        if (instr->signal != UINT32_MAX)
            signalled[instr->signal] = true;
        done++;
        idle = 0;
    }
}

static inline void machine_run(Machine *t, const PlanEntry *e) {
    for (uint32_t c = 0; c < e->call_count; c++) {
        const PlanSegment *s = &t->cx.plan->segment[e->call[c].segment];
        if (t->turns)
            machine_call(t, s, e->call[c].slot);
        for (uint32_t i = 0; !t->turns && i < s->instr_count; i++)
            machine_execute(t, &s->instr[i], e->call[c].slot);
    }
}

// A number that depends on its place alone.
static inline double machine_draw(uint64_t a, uint64_t b) {
    uint64_t x = (a * 1000003u + b) * 0x9e3779b97f4a7c15u;
    x ^= x >> 29;
    x *= 0xbf58476d1ce4e5b9u;
    x ^= x >> 32;
    return (double)(x % 20001) / 10000.0 - 1.0;
}

static inline double machine_argument(const Input *in, int index, int64_t element) {
    const double u = machine_draw((uint64_t)index + 100, (uint64_t)element);
    if (in->source == FROM_KNOB)
        return in->fallback;
    if (in->source == FROM_STEP)
        return 2;
    if (in->source == FROM_STEPS)
        return 9;
    if (in->source == FROM_SEED)
        return 5;
    if (in->source == FROM_SLOT)
        return (double)element;
    if (in->value->type.dtype == DT_I32)
        return floor((u + 1) / 2 * (double)(in->bound > 0 ? in->bound - 1 : 3));
    return in->value->type.dtype == DT_BOOL ? u > 0 : u;
}

// The inputs of an entry, the same for every plan of a model.
static inline void machine_set_inputs(Machine *t, const Graph *g, const PlanEntry *e) {
    for (int i = 0; i < g->input_count; i++) {
        const Type *type = &g->input[i].value->type;
        const int64_t count = type_count(type) * e->input[i].slots;
        for (int64_t k = 0; k < count; k++)
            machine_set_number(machine_buffer(t, e->input[i].buffer), type->dtype, k,
                               machine_argument(&g->input[i], i, k));
    }
}

static inline void machine_set_states(Machine *t) {
    for (int s = 0; s < t->m->state_count; s++) {
        const Type *type = &t->m->state[s]->type;
        void *at = machine_buffer(t, t->cx.plan->state[s].buffer);
        for (int64_t k = 0; k < type_count(type); k++) {
            const double u = machine_draw((uint64_t)s, (uint64_t)k);
            // Second moments are not negative.
            machine_set_number(at, type->dtype, k,
                               t->m->state[s]->kind == STATE_OPTIMIZER ? u * u / 4 : u / 2);
        }
    }
}

// What the evaluator makes of the same entry from the memory as it is now.
static inline Tensor *machine_evaluate(Machine *t, const Graph *g, Tensor **state) {
    const EvalCtx cx = {.arena = t->arena, .seed = 5, .step = 2, .steps = 9};
    EvalInput in = {0};
    in.argument = arena_array(t->arena, Tensor, g->input_count * g->repeat + 1);
    for (int i = 0; i < g->input_count; i++)
        for (int r = 0; r < g->repeat; r++) {
            Tensor *a = &in.argument[i * g->repeat + r];
            *a = tensor_create(t->arena, g->input[i].value->type);
            const int64_t count = type_count(&a->type);
            const int64_t base = source_by_slot(g->input[i].source) ? count * r : 0;
            for (int64_t k = 0; k < count; k++)
                a->at[k] = dtype_round(a->type.dtype, machine_argument(&g->input[i], i, base + k));
        }
    in.state = arena_array(t->arena, Tensor, t->m->state_count + 1);
    for (int s = 0; s < t->m->state_count; s++) {
        in.state[s] = tensor_create(t->arena, t->m->state[s]->type);
        const void *at = machine_buffer(t, t->cx.plan->state[s].buffer);
        for (int64_t k = 0; k < type_count(&in.state[s].type); k++)
            in.state[s].at[k] = element_read(in.state[s].type.dtype, at, k);
    }
    Tensor *result = arena_array(t->arena, Tensor, g->result_count + 1);
    graph_evaluate(t->m, g, &in, result, &cx);
    *state = in.state;
    return result;
}

static inline void machine_compare(const void *at, const Tensor *want, double tolerance,
                                   const char *what) {
    for (int64_t k = 0; k < type_count(&want->type); k++) {
        const double got = element_read(want->type.dtype, at, k);
        cr_assert(fabs(got - want->at[k]) <= tolerance * (1 + fabs(want->at[k])),
                  "%s, element %lld: %.9g instead of %.9g", what, (long long)k, got, want->at[k]);
    }
}

// Runs an entry on the plan and on the evaluator and compares results and states.
static inline void machine_check_entry(Machine *t, const char *name, double tolerance) {
    const Graph *g = module_find_entry(t->m, name);
    const PlanEntry *e = plan_find_entry(t->cx.plan, name);
    cr_assert(g && e);
    Tensor *state;
    machine_set_states(t);
    machine_set_inputs(t, g, e);
    const Tensor *result = machine_evaluate(t, g, &state);
    machine_run(t, e);
    for (int i = 0; i < g->result_count; i++)
        machine_compare((char *)machine_buffer(t, e->result[i].buffer) + e->result[i].offset,
                        &result[i], tolerance, e->result[i].name);
    for (int s = 0; s < t->m->state_count; s++)
        machine_compare(machine_buffer(t, t->cx.plan->state[s].buffer), &state[s], tolerance,
                        t->m->state[s]->name);
}

// Runs an entry and hashes its results and all states, bit for bit.
static inline uint64_t machine_digest_entry(Machine *t, const char *name) {
    const Graph *g = module_find_entry(t->m, name);
    const PlanEntry *e = plan_find_entry(t->cx.plan, name);
    machine_set_states(t);
    machine_set_inputs(t, g, e);
    machine_run(t, e);
    uint64_t h = 1469598103934665603u;
    for (int i = 0; i < g->result_count + t->m->state_count; i++) {
        const bool result = i < g->result_count;
        const Type *type =
            result ? &g->result[i].value->type : &t->m->state[i - g->result_count]->type;
        const unsigned char *at =
            result ? (unsigned char *)machine_buffer(t, e->result[i].buffer) + e->result[i].offset
                   : machine_buffer(t, t->cx.plan->state[i - g->result_count].buffer);
        for (size_t k = 0; k < type_bytes(type); k++)
            h = (h ^ at[k]) * 1099511628211u;
    }
    return h;
}

#endif
