// The verifier's rule 22: tensor maps, by which a GPU's kernels copy. What a map says the driver
// and the hardware believe, so it may reach nothing but the operand's own bytes: a copy outside of
// the dims brings zeros, and inside of them it reads. That kernels expect these maps and no others
// is code generation's to check (codegen/plan_kernels.c).
#include "runtime/plan_verify.h"

#include <stdlib.h>
#include <string.h>

// CUDA's driver API, cuTensorMapEncodeTiled: what addresses, strides, dims and boxes may be. Rows
// of a box are whole patterns of the twist.
enum { SM_LEAST = 90, CHUNK_BYTES = 16, ELEMENT_BYTES = 2, ROWS_MAX = 256, PATTERN_ROWS = 8 };
static const int64_t stride_end = (int64_t)1 << 39;

// Bytes from a map's first number to the end of its last one; 0 where it is none that CUDA takes.
static uint64_t map_bytes(const PlanMap *m) {
    uint64_t last = 0;
    for (int i = 0; i < PLAN_MAP_DIMS; i++) {
        const int64_t stride = i == 0 ? 1 : m->stride[i - 1];
        if (m->dim[i] < 1 || m->dim[i] > INT32_MAX || stride < 1 || stride >= stride_end ||
            (i > 0 && stride % (CHUNK_BYTES / ELEMENT_BYTES) != 0))
            return 0;
        // Up to 2^31 x 2^39 each, and the sum of four must be a u64 of bytes.
        uint64_t reach;
        if (__builtin_mul_overflow((uint64_t)(m->dim[i] - 1), (uint64_t)stride, &reach) ||
            reach > (uint64_t)1 << 56)
            return 0;
        last += reach;
    }
    if (m->rows < PATTERN_ROWS || m->rows > ROWS_MAX || m->rows % PATTERN_ROWS != 0)
        return 0;
    return (last + 1) * ELEMENT_BYTES;
}

// The maps of a launch beside one call of its kernel.
static bool check_call(Verifier *v, const PlanLaunch *l, uint32_t segment, uint32_t index) {
    const PlanInstr *instr = &v->plan->segment[segment].instr[index];
    for (uint32_t i = 0; i < l->map_count; i++) {
        const PlanMap *m = &l->map[i];
        if (m->operand >= instr->operand_count)
            return verify_refuse_instr(v, 22, segment, index, "a map is of no operand");
        const PlanOperand *o = &instr->operand[m->operand];
        if (o->access != PLAN_READ || map_bytes(m) > o->bytes)
            return verify_refuse_instr(v, 22, segment, index,
                                       "a map reads what operand %u does not", m->operand);
        const uint64_t begin = v->plan->buffer[o->buffer].offset + o->offset;
        if (begin % CHUNK_BYTES != 0 || o->slot_bytes % CHUNK_BYTES != 0)
            return verify_refuse_instr(v, 22, segment, index,
                                       "operand %u of a map begins at no multiple of 16 bytes",
                                       m->operand);
    }
    return true;
}

static bool check_launch(Verifier *v, uint32_t launch) {
    const Plan *p = v->plan;
    const PlanLaunch *l = &p->launch[launch];
    bool good = l->map_count <= PLAN_MAPS_MAX && atoi(l->arch + strlen("sm_")) >= SM_LEAST;
    for (uint32_t i = 0; i < l->map_count && good; i++)
        good = map_bytes(&l->map[i]) > 0;
    if (!good)
        return verify_refuse(v, 22, "launch %u has a tensor map that CUDA refuses", launch);
    for (uint32_t s = 0; s < p->segment_count; s++)
        for (uint32_t i = 0; i < p->segment[s].instr_count; i++) {
            const PlanInstr *instr = &p->segment[s].instr[i];
            if (instr->kind == INSTR_KERNEL && instr->kernel == l->kernel &&
                !check_call(v, l, s, i))
                return false;
        }
    return true;
}

bool verify_maps(Verifier *v) {
    for (uint32_t i = 0; i < v->plan->launch_count; i++)
        if (v->plan->launch[i].map_count > 0 && !check_launch(v, i))
            return false;
    return true;
}
