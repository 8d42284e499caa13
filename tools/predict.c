// An instruction takes as long as its arithmetic or its traffic, whichever is longer, and a start.
// Copies between memories go over the link. What kernels reach of a machine's rates is not known
// here, so the sum is the time a step can't be shorter than, were the rates right.
#include "tools/predict.h"

static uint64_t picoseconds(double seconds) {
    const double ps = seconds * 1e12 + 0.5;
    // Plans that make no sense may have any numbers; a day of picoseconds is below 1e17.
    return ps < 1e17 ? (uint64_t)ps : (uint64_t)1e17;
}

static PlanSpaceKind space_of(const Plan *p, const PlanOperand *o) {
    return p->space[p->buffer[o->buffer].space].kind;
}

static bool is_transfer(const Plan *p, const PlanInstr *instr) {
    return instr->kind == INSTR_COPY && instr->operand_count == 2 &&
           space_of(p, &instr->operand[0]) != space_of(p, &instr->operand[1]);
}

// What is read first tells the type that is computed with: a product's operand, not its sums.
static double rate_of(const Plan *p, const PlanInstr *instr, const Machine *m) {
    for (uint32_t i = 0; i < instr->operand_count; i++)
        if (instr->operand[i].access == PLAN_READ)
            return p->buffer[instr->operand[i].buffer].dtype == PLAN_BF16 ? m->bf16 : m->f32;
    return m->f32;
}

// The instruction's time without its start, and what bounds it.
static uint64_t work_time(const Plan *p, const PlanInstr *instr, const Machine *m, Limit *limit) {
    const uint64_t compute = picoseconds((double)instr->flops / rate_of(p, instr, m));
    const uint64_t memory = picoseconds((double)instr->bytes / m->memory);
    const bool copy = instr->kind == INSTR_COPY || instr->kind == INSTR_FILL;
    *limit = copy ? LIMIT_COPY : compute > memory ? LIMIT_COMPUTE : LIMIT_MEMORY;
    if (is_transfer(p, instr))
        return picoseconds((double)instr->operand[0].bytes / m->link);
    return compute > memory ? compute : memory;
}

// One call of a segment whose steps are step[0 .. count).
static uint64_t play_call(const PlanUses *u, const PlanStep *step, uint32_t count, const Machine *m,
                          uint64_t *event, PredictedStep *times, Prediction *out) {
    uint64_t stream[PLAN_STREAMS_MAX] = {0}, end = 0;
    const uint64_t start = picoseconds(m->start);
    for (uint32_t i = 0; i < count; i++) {
        const PlanInstr *instr = step[i].instr;
        Limit limit;
        const uint64_t work = work_time(u->plan, instr, m, &limit);
        uint64_t begin = stream[instr->stream];
        for (uint32_t k = 0; k < instr->wait_count; k++)
            if (instr->wait[k] < count && event[instr->wait[k]] > begin)
                begin = event[instr->wait[k]];
        times[i] = (PredictedStep){begin, begin + start + work, start > work ? LIMIT_START : limit};
        stream[instr->stream] = times[i].end;
        if (instr->signal < count)
            event[instr->signal] = times[i].end;
        end = times[i].end > end ? times[i].end : end;
        out->limit[limit] += work * step[i].calls;
        out->limit[LIMIT_START] += start * step[i].calls;
    }
    return end;
}

bool predict_entry(const PlanUses *u, uint32_t entry, const Machine *m, PlanMemory *pm,
                   Prediction *out) {
    const Plan *p = u->plan;
    const PlanEntryUses *e = &u->entry[entry];
    *out = (Prediction){.step = plan_alloc(pm, (size_t)e->step_count + 1, sizeof *out->step),
                        .call = plan_alloc(pm, (size_t)p->segment_count + 1, sizeof *out->call)};
    if (!out->step || !out->call)
        return false;
    // Steps of one segment stand side by side.
    for (uint32_t i = 0, count; i < e->step_count; i += count) {
        const uint32_t segment = e->step[i].segment;
        for (count = 1; i + count < e->step_count && e->step[i + count].segment == segment;)
            count++;
        // Each event is signalled by one instruction: there are no more than instructions.
        uint64_t *event = plan_alloc(pm, count, sizeof *event);
        if (!event)
            return false;
        out->call[segment] = play_call(u, e->step + i, count, m, event, out->step + i, out);
        out->total += out->call[segment] * e->step[i].calls;
    }
    return true;
}

const char *limit_name(Limit limit) {
    static const char *const name[LIMIT_COUNT] = {"compute", "memory", "copies", "starts"};
    return name[limit];
}
