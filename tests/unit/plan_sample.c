// The sample plan, and what a planner would add to it: the dullest that works.
#include "plan_sample.h"

#include "runtime/plan_sign.h"

#include <stdio.h>
#include <string.h>

static uint64_t round_up(uint64_t bytes, uint64_t to) {
    return (bytes + to - 1) / to * to;
}

static void touch(PlanBuffer *b, uint32_t position) {
    if (b->entry == UINT32_MAX)
        return;
    b->first = position < b->first ? position : b->first;
    b->last = position > b->last ? position : b->last;
}

static bool repeats(const PlanEntry *e, uint32_t call) {
    const uint32_t segment = e->call[call].segment;
    return (call + 1 < e->call_count && e->call[call + 1].segment == segment) ||
           (call && e->call[call - 1].segment == segment);
}

static void find_ranges(Plan *p, const PlanEntry *e) {
    uint32_t position = 0;
    for (uint32_t c = 0; c < e->call_count; c++) {
        if (c && e->call[c - 1].segment == e->call[c].segment)
            continue;
        const PlanSegment *s = &p->segment[e->call[c].segment];
        for (uint32_t i = 0; i < s->instr_count; i++)
            for (uint32_t k = 0; k < s->instr[i].operand_count; k++) {
                PlanBuffer *b = &p->buffer[s->instr[i].operand[k].buffer];
                touch(b, position + i);
                // What comes from before a repeated segment is there for every call.
                if (repeats(e, c) && b->first < position)
                    touch(b, position + s->instr_count - 1);
            }
        for (uint32_t i = 0; i < s->instr_count; i++)
            if (s->instr[i].workspace != UINT32_MAX)
                touch(&p->buffer[s->instr[i].workspace], position + i);
        position += s->instr_count;
    }
    for (uint32_t i = 0; i < e->result_count; i++)
        touch(&p->buffer[e->result[i].buffer], position - 1);
}

static bool meet(const PlanBuffer *a, const PlanBuffer *b) {
    return a->space == b->space &&
           (a->entry == b->entry || a->entry == UINT32_MAX || b->entry == UINT32_MAX) &&
           a->first <= b->last && b->first <= a->last;
}

// First fit in the order of the table: persistent buffers come first there. Quadratic, for small
// plans.
static void place(Plan *p) {
    for (uint32_t i = 0; i < p->buffer_count; i++) {
        PlanBuffer *b = &p->buffer[i];
        b->offset = 0;
        for (uint32_t j = 0; j < i; j++) {
            const PlanBuffer *o = &p->buffer[j];
            if (!meet(o, b) || b->offset >= o->offset + o->bytes ||
                o->offset >= b->offset + b->bytes)
                continue;
            b->offset = round_up(o->offset + o->bytes, b->alignment);
            j = UINT32_MAX; // Again from the first.
        }
        const uint64_t end = b->offset + round_up(b->bytes, b->alignment);
        if (end > p->space[b->space].bytes)
            p->space[b->space].bytes = end;
    }
}

static uint64_t load_at(const Plan *p, uint32_t space, uint32_t entry, uint32_t position) {
    uint64_t sum = 0;
    for (uint32_t i = 0; i < p->buffer_count; i++) {
        const PlanBuffer *b = &p->buffer[i];
        if (b->space == space && (b->entry == entry || b->entry == UINT32_MAX) &&
            b->first <= position && position <= b->last)
            sum += round_up(b->bytes, b->alignment);
    }
    return sum;
}

static void find_load(Plan *p) {
    for (uint32_t e = 0; e < p->entry_count; e++)
        for (uint32_t i = 0; i < p->buffer_count; i++) {
            PlanSpace *space = &p->space[p->buffer[i].space];
            const uint64_t load = load_at(p, p->buffer[i].space, e, p->buffer[i].first);
            space->load = load > space->load ? load : space->load;
        }
}

bool plan_complete(Plan *p) {
    for (uint32_t i = 0; i < p->buffer_count; i++)
        if (p->buffer[i].entry != UINT32_MAX) {
            p->buffer[i].first = UINT32_MAX;
            p->buffer[i].last = 0;
        }
    for (uint32_t i = 0; i < p->entry_count; i++) {
        for (uint32_t j = 0; j < p->entry[i].input_count; j++)
            touch(&p->buffer[p->entry[i].input[j].buffer], 0);
        find_ranges(p, &p->entry[i]);
    }
    place(p);
    find_load(p);
    return plan_sign(p) == PLIM_OK;
}

Plan *plan_sample_file(PlanMemory *pm, const char *path) {
    char text[8192];
    FILE *in = fopen(path, "r");
    if (!in)
        return NULL;
    const size_t size = fread(text, 1, sizeof text, in);
    fclose(in);
    Plan *p = NULL;
    PlimError error;
    if (plan_parse(text, size, pm, &p, &error) != PLIM_OK) {
        fprintf(stderr, "%s:%s\n", path, error.text);
        return NULL;
    }
    return plan_complete(p) ? p : NULL;
}

Plan *plan_sample(PlanMemory *pm) {
    return plan_sample_file(pm, PLIM_SOURCE_DIR "/tests/unit/sample.plan");
}

Plan *plan_sample_ranks(PlanMemory *pm) {
    return plan_sample_file(pm, PLIM_SOURCE_DIR "/tests/unit/ranks.plan");
}

Plan *plan_sample_far(PlanMemory *pm) {
    return plan_sample_file(pm, PLIM_SOURCE_DIR "/tests/unit/far.plan");
}

Plan *plan_sample_moves(PlanMemory *pm) {
    return plan_sample_file(pm, PLIM_SOURCE_DIR "/tests/unit/moves.plan");
}

Plan *plan_sample_rows(PlanMemory *pm) {
    return plan_sample_file(pm, PLIM_SOURCE_DIR "/tests/unit/rows.plan");
}

// Buffer i + 1 is written by instruction i from the two before it, in a ring of four places.
static bool chain_link(Plan *p, PlanMemory *pm, uint32_t i) {
    PlanBuffer *b = &p->buffer[i + 1];
    *b = (PlanBuffer){.name = "v",
                      .kind = BUFFER_ACTIVATIONS,
                      .offset = 64 + i % 4 * (uint64_t)64,
                      .bytes = 64,
                      .alignment = 64,
                      .first = i,
                      .last = i + 2,
                      .rank = 1,
                      .dim = {16},
                      .scope = "",
                      .where = ""};
    const uint32_t reads = i < 2 ? i : 2;
    PlanInstr *instr = &p->segment[0].instr[i];
    PlanOperand *o = plan_alloc(pm, reads + 2, sizeof *o);
    if (!o)
        return false;
    *instr = (PlanInstr){.kind = INSTR_KERNEL,
                         .kernel = reads,
                         .operand_count = reads + 2,
                         .operand = o,
                         .workspace = UINT32_MAX,
                         .signal = UINT32_MAX,
                         .name = "link",
                         .where = ""};
    o[0] = (PlanOperand){.buffer = i + 1, .bytes = 64, .access = PLAN_WRITE};
    o[1] = (PlanOperand){.buffer = 0, .bytes = 64};
    for (uint32_t k = 0; k < reads; k++)
        o[2 + k] = (PlanOperand){.buffer = i - k, .bytes = 64};
    return true;
}

Plan *plan_chain(PlanMemory *pm, uint32_t count) {
    Plan *p = plan_alloc(pm, 1, sizeof *p);
    if (!p)
        return NULL;
    *p = (Plan){.version = PLAN_VERSION,
                .workers = 1,
                .stream_count = 1,
                .space_count = 1,
                .buffer_count = count + 1,
                .state_count = 1,
                .segment_count = 1,
                .entry_count = 1,
                .kernel_count = 3};
    p->space = plan_alloc(pm, 1, sizeof *p->space);
    p->buffer = plan_alloc(pm, count + 1, sizeof *p->buffer);
    p->state = plan_alloc(pm, 1, sizeof *p->state);
    p->segment = plan_alloc(pm, 1, sizeof *p->segment);
    p->entry = plan_alloc(pm, 1, sizeof *p->entry);
    p->kernel = plan_alloc(pm, 3, sizeof *p->kernel);
    PlanInstr *instr = plan_alloc(pm, count, sizeof *instr);
    PlanCall *call = plan_alloc(pm, 1, sizeof *call);
    PlanResult *result = plan_alloc(pm, 1, sizeof *result);
    if (!p->space || !p->buffer || !p->state || !p->segment || !p->entry || !p->kernel || !instr ||
        !call || !result)
        return NULL;
    p->space[0] = (PlanSpace){.bytes = 320, .load = 256};
    p->buffer[0] = (PlanBuffer){.name = "w",
                                .bytes = 64,
                                .alignment = 64,
                                .entry = UINT32_MAX,
                                .last = UINT32_MAX,
                                .scope = "",
                                .where = ""};
    p->state[0] = (PlanState){.name = "w", .file = "w", .rank = 1, .dim = {16}};
    for (int i = 0; i < 3; i++)
        p->kernel[i] =
            (PlanKernel){.name = "k", .text = i ? "two" : "one", .tiles = (uint64_t)i + 1};
    p->segment[0] = (PlanSegment){.name = "s", .instr_count = count, .instr = instr};
    p->entry[0] = (PlanEntry){
        .name = "e", .call_count = 1, .call = call, .result_count = 1, .result = result};
    *result = (PlanResult){.name = "y", .buffer = count, .rank = 1, .dim = {16}};
    for (uint32_t i = 0; i < count; i++)
        if (!chain_link(p, pm, i))
            return NULL;
    return plan_sign(p) == PLIM_OK ? p : NULL;
}

uint8_t *plan_sample_bytes(size_t *size) {
    PlanMemory *pm = plan_memory_new();
    const Plan *p = pm ? plan_sample(pm) : NULL;
    uint8_t *bytes = NULL;
    const bool good = p && plan_encode(p, &bytes, size) == PLIM_OK;
    plan_memory_release(pm);
    return good ? bytes : NULL;
}

void plan_set_digest(uint8_t *bytes, size_t size) {
    const uint64_t digest = plan_hash_bytes(plan_hash_start(), bytes, size - 8);
    for (int i = 0; i < 8; i++)
        bytes[size - 8 + (size_t)i] = (uint8_t)(digest >> (8 * i));
}
