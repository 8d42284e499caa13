// Results are read where the instruction wrote them: the operand's byte range, as numbers of its
// buffer's type. Workspaces have no type of their own and are not results.
#include "runtime/finite.h"

#include "runtime/error.h"

#include <string.h>

// Index of the first number that is not finite, or count. All exponent bits set is infinity or NaN;
// bf16 is the upper half of an f32.
static uint64_t find_f32(const char *at, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        uint32_t bits;
        memcpy(&bits, at + 4 * i, sizeof bits);
        if ((bits & 0x7f800000) == 0x7f800000)
            return i;
    }
    return count;
}

static uint64_t find_bf16(const char *at, uint64_t count) {
    for (uint64_t i = 0; i < count; i++) {
        uint16_t bits;
        memcpy(&bits, at + 2 * i, sizeof bits);
        if ((bits & 0x7f80) == 0x7f80)
            return i;
    }
    return count;
}

// A bf16 is widened to f32, where a fraction tells NaN from infinity.
static const char *value_name(const char *at, PlanDType type) {
    uint32_t bits = 0;
    memcpy((char *)&bits + (type == PLAN_BF16 ? 2 : 0), at, type == PLAN_BF16 ? 2 : 4);
    if (bits & 0x007fffff)
        return "nan";
    return bits >> 31 ? "-inf" : "inf";
}

// "[3, 17]": where the buffer's dims say how its numbers are counted; else the plain number.
static void index_text(const PlanBuffer *b, uint64_t index, char *out, size_t size) {
    size_t used = (size_t)snprintf(out, size, "[");
    for (uint32_t i = 0; i < b->rank && used < size; i++) {
        uint64_t stride = 1;
        for (uint32_t k = i + 1; k < b->rank; k++)
            stride *= (uint64_t)b->dim[k];
        used += (size_t)snprintf(out + used, size - used, "%s%llu", i ? ", " : "",
                                 (unsigned long long)(index / stride));
        index %= stride;
    }
    if (used < size)
        snprintf(out + used, size - used, "]");
}

// Of the value's elements, counted row by row, the one at that byte of the buffer.
static uint64_t element_number(const PlanBuffer *b, uint64_t byte, uint64_t size) {
    uint64_t pitch, row;
    plan_buffer_rows(b, &pitch, &row);
    return (byte / pitch * row + byte % pitch) / size;
}

static bool check_operand(const FiniteCheck *c, const RunMoment *at, uint32_t operand,
                          PlimError *error) {
    const PlanOperand *o = &at->instr->operand[operand];
    const PlanBuffer *b = &c->plan->buffer[o->buffer];
    const bool half = b->dtype == PLAN_BF16;
    // Integers have no such values.
    if (o->access == PLAN_READ || b->kind == BUFFER_WORKSPACE || (!half && b->dtype != PLAN_F32))
        return true;
    const uint64_t size = half ? 2 : 4;
    const char *from = run_operand(at, operand, error);
    if (!from)
        return false;
    uint64_t start = 0, bytes = 0, found = 0;
    bool bad = false;
    for (; !bad && plan_operand_piece(b, o, &start, &bytes); start += bad ? 0 : bytes) {
        const uint64_t count = bytes / size;
        found = half ? find_bf16(from + start, count) : find_f32(from + start, count);
        bad = found < count;
    }
    if (!bad)
        return true;
    found += start / size;
    char index[128];
    index_text(b, element_number(b, o->offset + found * size, size), index, sizeof index);
    error_set(error, PLIM_BAD_INPUT,
              "step %lld: %s%s%s (%s, instruction %u) wrote %s at %s of a %s result",
              (long long)c->step, at->instr->name, at->instr->where[0] ? " at " : "",
              at->instr->where, at->segment->name, at->index,
              value_name(from + found * size, b->dtype), index, plan_dtype_name(b->dtype));
    return false;
}

// The run stops at the first result that is not finite: later ones only follow from it.
static bool check_results(void *context, const RunMoment *at, RunStage stage, PlimError *error) {
    const FiniteCheck *c = context;
    for (uint32_t i = 0; stage == RUN_ENDS && i < at->instr->operand_count; i++)
        if (!check_operand(c, at, i, error))
            return false;
    return true;
}

RunObserver finite_observer(FiniteCheck *c) {
    return (RunObserver){.context = c, .instruction = check_results};
}
