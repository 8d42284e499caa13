// Everything as one JSON object, written as it is made: no list is ever whole in memory.
// docs/plim-dump.schema.json says what each member is. A member that changes its meaning changes
// "version"; new ones don't.
#include "tools/dump.h"

#include "runtime/plan_report.h"
#include "tools/json_put.h"

enum { JSON_VERSION = 1 };

static void put_integers(JsonPut *j, const char *key, const int64_t *x, uint32_t count) {
    json_put_open(j, key, '[');
    for (uint32_t i = 0; i < count; i++)
        json_put_integer(j, NULL, x[i]);
    json_put_close(j, ']');
}

static void put_shape(JsonPut *j, PlanDType dtype, uint32_t rank, const int64_t *dim) {
    json_put_text(j, "dtype", plan_dtype_name(dtype));
    put_integers(j, "dim", dim, rank);
}

// An index, or null for none.
static void put_index(JsonPut *j, const char *key, uint32_t index) {
    if (index == UINT32_MAX)
        json_put_null(j, key);
    else
        json_put_count(j, key, index);
}

// What every predicted time below rests on.
static void put_machine(JsonPut *j, const Rates *m) {
    json_put_line(j);
    json_put_open(j, "machine", '{');
    json_put_text(j, "name", m->machine);
    json_put_real(j, "f32_flops_per_s", rates_top(&m->flops[RATE_PRODUCT]));
    json_put_real(j, "bf16_flops_per_s", rates_top(&m->flops[RATE_PRODUCT_BF16]));
    json_put_real(j, "memory_bytes_per_s", rates_top(&m->bytes[RATE_ROWS]));
    json_put_real(j, "link_bytes_per_s", rates_top(&m->bytes[RATE_IN]));
    json_put_real(j, "start_us", (double)m->start * 1e-6);
    json_put_close(j, '}');
}

// In the plan's order: other members name buffers by their place here.
static void put_buffers(JsonPut *j, const Plan *p) {
    json_put_line(j);
    json_put_open(j, "buffers", '[');
    for (uint32_t i = 0; i < p->buffer_count; i++) {
        const PlanBuffer *b = &p->buffer[i];
        const bool always = b->entry == UINT32_MAX;
        json_put_line(j);
        json_put_open(j, NULL, '{');
        json_put_text(j, "name", b->name);
        json_put_text(j, "kind", plan_buffer_kind_name(b->kind));
        json_put_text(j, "space", plan_space_name(p->space[b->space].kind));
        json_put_count(j, "offset", b->offset);
        json_put_count(j, "bytes", b->bytes);
        // Persistent buffers live always: in no entry, without an end.
        if (always)
            json_put_null(j, "entry");
        else
            json_put_text(j, "entry", p->entry[b->entry].name);
        json_put_count(j, "first", b->first);
        put_index(j, "last", b->last);
        json_put_bool(j, "carried", b->carried != 0);
        put_shape(j, b->dtype, b->rank, b->dim);
        json_put_text(j, "scope", b->scope);
        json_put_text(j, "where", b->where);
        json_put_close(j, '}');
    }
    json_put_close(j, ']');
}

// What weight files and checkpoints hold.
static void put_states(JsonPut *j, const Plan *p) {
    json_put_line(j);
    json_put_open(j, "states", '[');
    for (uint32_t i = 0; i < p->state_count; i++) {
        const PlanState *s = &p->state[i];
        json_put_line(j);
        json_put_open(j, NULL, '{');
        json_put_text(j, "name", s->name);
        json_put_text(j, "file", plan_state_file(s));
        json_put_text(j, "kind", plan_state_kind_name(s->kind));
        json_put_count(j, "buffer", s->buffer);
        put_shape(j, s->dtype, s->rank, s->dim);
        json_put_close(j, '}');
    }
    json_put_close(j, ']');
}

// In the kernel's order.
static void put_operands(JsonPut *j, const PlanInstr *instr) {
    json_put_open(j, "operands", '[');
    for (uint32_t i = 0; i < instr->operand_count; i++) {
        const PlanOperand *o = &instr->operand[i];
        json_put_open(j, NULL, '{');
        json_put_text(j, "access", plan_access_name(o->access));
        json_put_count(j, "buffer", o->buffer);
        json_put_count(j, "offset", o->offset);
        json_put_count(j, "bytes", o->bytes);
        if (o->slot_bytes)
            json_put_count(j, "slot_bytes", o->slot_bytes);
        if (o->pitch) {
            json_put_count(j, "row_bytes", o->row);
            json_put_count(j, "pitch_bytes", o->pitch);
        }
        json_put_close(j, '}');
    }
    json_put_close(j, ']');
}

// kernel is null where the runtime does it alone; events are numbered in the segment.
static void put_instruction(JsonPut *j, const Plan *p, const PlanStep *s, const PredictedStep *t) {
    const PlanInstr *instr = s->instr;
    json_put_line(j);
    json_put_open(j, NULL, '{');
    json_put_text(j, "kind", plan_instr_kind_name(instr->kind));
    put_index(j, "kernel", instr->kind <= INSTR_PRODUCT ? instr->kernel : UINT32_MAX);
    json_put_text(j, "name", instr->name);
    json_put_text(j, "scope", plan_instr_scope(instr));
    json_put_text(j, "phase", plan_phase_name(instr->phase));
    json_put_text(j, "where", instr->where);
    json_put_text(j, "segment", p->segment[s->segment].name);
    json_put_count(j, "calls", s->calls);
    json_put_count(j, "stream", instr->stream);
    json_put_open(j, "wait", '[');
    for (uint32_t i = 0; i < instr->wait_count; i++)
        json_put_count(j, NULL, instr->wait[i]);
    json_put_close(j, ']');
    put_index(j, "signal", instr->signal);
    put_index(j, "workspace", instr->workspace);
    json_put_count(j, "flops", instr->flops);
    json_put_count(j, "bytes", instr->bytes);
    json_put_count(j, "begin_ps", t->begin);
    json_put_count(j, "predicted_ps", t->end - t->begin);
    json_put_text(j, "limit", limit_name(t->limit));
    put_operands(j, instr);
    json_put_close(j, '}');
}

// What the runtime fills before the entry, and what it reads after it.
static void put_inputs(JsonPut *j, const PlanEntry *e) {
    json_put_open(j, "inputs", '[');
    for (uint32_t i = 0; i < e->input_count; i++) {
        const PlanInput *in = &e->input[i];
        json_put_line(j);
        json_put_open(j, NULL, '{');
        json_put_text(j, "name", in->name);
        json_put_text(j, "source", plan_source_name(in->source));
        json_put_count(j, "buffer", in->buffer);
        json_put_count(j, "slots", in->slots);
        put_shape(j, in->dtype, in->rank, in->dim);
        json_put_close(j, '}');
    }
    json_put_close(j, ']');
    json_put_open(j, "results", '[');
    for (uint32_t i = 0; i < e->result_count; i++) {
        const PlanResult *r = &e->result[i];
        json_put_line(j);
        json_put_open(j, NULL, '{');
        json_put_text(j, "name", r->name);
        json_put_count(j, "buffer", r->buffer);
        json_put_count(j, "offset", r->offset);
        put_shape(j, r->dtype, r->rank, r->dim);
        json_put_close(j, '}');
    }
    json_put_close(j, ']');
}

// One entry: what goes in and out, its instructions at their positions, its load at each of them.
static bool put_program(JsonPut *j, Dump *d, uint32_t entry) {
    const PlanEntryUses *u = &d->uses->entry[entry];
    Prediction time;
    if (!dump_predict(d, entry, &time))
        return false;
    json_put_line(j);
    json_put_open(j, d->plan->entry[entry].name, '{');
    json_put_count(j, "predicted_ps", time.total);
    json_put_open(j, "limits_ps", '{');
    for (int i = 0; i < LIMIT_COUNT; i++)
        json_put_count(j, limit_name((Limit)i), time.limit[i]);
    json_put_close(j, '}');
    put_inputs(j, &d->plan->entry[entry]);
    json_put_open(j, "load", '[');
    for (uint32_t i = 0; i < u->step_count; i++)
        json_put_count(j, NULL, u->curve[SPACE_DEVICE].load[i]);
    json_put_close(j, ']');
    json_put_open(j, "instructions", '[');
    for (uint32_t i = 0; i < u->step_count; i++)
        put_instruction(j, d->plan, &u->step[i], &time.step[i]);
    json_put_close(j, ']');
    json_put_close(j, '}');
    return true;
}

// Instructions name kernels by their place here; the text is ir/kernel's.
static void put_kernels(JsonPut *j, const Plan *p) {
    json_put_line(j);
    json_put_open(j, "kernel_table", '[');
    for (uint32_t i = 0; i < p->kernel_count; i++) {
        const PlanKernel *k = &p->kernel[i];
        json_put_line(j);
        json_put_open(j, NULL, '{');
        json_put_text(j, "name", k->name);
        json_put_count(j, "tiles", k->tiles);
        json_put_count(j, "workspace", k->workspace);
        json_put_text(j, "text", k->text);
        json_put_close(j, '}');
    }
    json_put_close(j, ']');
}

static void put_maps(JsonPut *j, const PlanLaunch *l) {
    json_put_open(j, "maps", '[');
    for (uint32_t i = 0; i < l->map_count; i++) {
        const PlanMap *m = &l->map[i];
        json_put_open(j, NULL, '{');
        json_put_count(j, "operand", m->operand);
        put_integers(j, "dim", m->dim, PLAN_MAP_DIMS);
        put_integers(j, "stride", m->stride, PLAN_MAP_DIMS - 1);
        json_put_count(j, "rows", m->rows);
        json_put_close(j, '}');
    }
    json_put_close(j, ']');
}

// On a GPU; there are none on the CPU.
static void put_launches(JsonPut *j, const Plan *p) {
    json_put_line(j);
    json_put_open(j, "launches", '[');
    for (uint32_t i = 0; i < p->launch_count; i++) {
        const PlanLaunch *l = &p->launch[i];
        json_put_line(j);
        json_put_open(j, NULL, '{');
        json_put_count(j, "kernel", l->kernel);
        json_put_text(j, "arch", l->arch);
        json_put_text(j, "name", l->name);
        put_integers(j, "grid", l->grid, 3);
        json_put_count(j, "block", l->block);
        json_put_count(j, "shared", l->shared);
        put_maps(j, l);
        json_put_close(j, '}');
    }
    json_put_close(j, ']');
}

int dump_json(Dump *d, FILE *out) {
    const Plan *p = d->plan;
    JsonPut j = {.out = out};
    json_put_open(&j, NULL, '{');
    json_put_count(&j, "version", JSON_VERSION);
    fputs(",\n ", out);
    // What `info --json` has too.
    plan_json_figures(d->uses, out);
    json_put_line(&j);
    json_put_count(&j, "streams", p->stream_count);
    json_put_bool(&j, "degraded", p->degraded != 0);
    json_put_text(&j, "tokenizer", p->tokenizer);
    put_machine(&j, &d->machine);
    put_buffers(&j, p);
    put_states(&j, p);
    put_kernels(&j, p);
    put_launches(&j, p);
    json_put_line(&j);
    json_put_open(&j, "programs", '{');
    for (uint32_t i = 0; i < p->entry_count; i++)
        if (!put_program(&j, d, i))
            return dump_fail(d, "out of memory");
    json_put_close(&j, '}');
    json_put_close(&j, '}');
    fputc('\n', out);
    return DUMP_DONE;
}
