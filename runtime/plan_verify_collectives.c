// The verifier's rule 21: what ranks exchange. All of them run one plan, so nothing has to be
// compared between plans: that every rank comes to the same collectives in the same order, with
// operands of the same sizes, follows from there being one list and one stream of them. What is
// left is that each makes as much as its kind says.
#include "runtime/plan_verify.h"

static const PlanBuffer *buffer_of(const Verifier *v, const PlanOperand *o) {
    return &v->plan->buffer[o->buffer];
}

// Bytes written and read: the whole is every rank's part.
static bool sizes_fit(PlanInstrKind kind, uint64_t to, uint64_t from, uint64_t ranks) {
    uint64_t all;
    if (kind == INSTR_ALL_GATHER)
        return !__builtin_mul_overflow(from, ranks, &all) && all == to;
    if (kind == INSTR_REDUCE_SCATTER)
        return !__builtin_mul_overflow(to, ranks, &all) && all == from;
    return to == from;
}

static bool imm_fits(const PlanInstr *instr, PlanDType dtype, uint64_t ranks) {
    if (instr->kind == INSTR_ALL_GATHER)
        return true;
    if (instr->kind == INSTR_EXCHANGE)
        return instr->imm[0] >= 0 && (uint64_t)instr->imm[0] < ranks;
    return (instr->imm[0] == PLAN_SUM || instr->imm[0] == PLAN_MAXIMUM) && dtype != PLAN_BOOL;
}

static bool check_collective(Verifier *v, uint32_t segment, uint32_t index) {
    const PlanInstr *instr = &v->plan->segment[segment].instr[index];
    const PlanOperand *to = &instr->operand[0], *from = &instr->operand[1];
    const uint64_t ranks = (uint64_t)v->plan->peers + 1;
    const PlanDType dtype = buffer_of(v, to)->dtype;
    if (dtype != buffer_of(v, from)->dtype || to->bytes % plan_dtype_bytes(dtype) != 0 ||
        from->bytes % plan_dtype_bytes(dtype) != 0)
        return verify_refuse_instr(v, 21, segment, index, "has not whole elements of one dtype");
    if (!sizes_fit(instr->kind, to->bytes, from->bytes, ranks))
        return verify_refuse_instr(v, 21, segment, index, "has not the sizes of %u ranks",
                                   (unsigned)ranks);
    return imm_fits(instr, dtype, ranks) ||
           verify_refuse_instr(v, 21, segment, index, "has an immediate out of range");
}

bool verify_collectives(Verifier *v) {
    const Plan *p = v->plan;
    uint32_t stream = UINT32_MAX; // of the first
    for (uint32_t i = 0; i < p->segment_count; i++)
        for (uint32_t j = 0; j < p->segment[i].instr_count; j++) {
            const PlanInstr *instr = &p->segment[i].instr[j];
            if (!plan_is_collective(instr->kind))
                continue;
            if (!check_collective(v, i, j))
                return false;
            stream = stream == UINT32_MAX ? instr->stream : stream;
            if (instr->stream != stream)
                return verify_refuse_instr(v, 21, i, j, "is not on the other collectives' stream");
        }
    return true;
}
