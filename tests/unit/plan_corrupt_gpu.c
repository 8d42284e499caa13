// Corruptions of what only a GPU's plan has: launches, their tensor maps, and joints.
#include "plan_corrupter.h"

#include <string.h>

bool corrupt_launch(Corrupter *c) {
    if (c->p->launch_count == 0 || c->p->kernel_count < 2)
        return false;
    PlanLaunch *l = &c->p->launch[corrupter_below(c, c->p->launch_count)];
    switch (corrupter_below(c, 6)) {
    case 0:
        l->kernel =
            (l->kernel + 1 + corrupter_below(c, c->p->kernel_count - 1)) % c->p->kernel_count;
        return true;
    case 1:
        l->arch = "sm_75";
        return true;
    case 2:
        l->name = "other";
        return true;
    case 3:
        l->grid[corrupter_below(c, 3)] = corrupter_below(c, 2) ? 0 : (int64_t)1 << 40;
        return true;
    case 4:
        l->block += 1 + corrupter_below(c, 31);
        return true;
    default:
        c->p->launch_count--;
        return true;
    }
}

// Some call of the kernel. NULL where there is none.
static PlanInstr *find_call(const Plan *p, uint32_t kernel) {
    for (uint32_t s = 0; s < p->segment_count; s++)
        for (uint32_t i = 0; i < p->segment[s].instr_count; i++) {
            PlanInstr *instr = &p->segment[s].instr[i];
            if (instr->kind == INSTR_KERNEL && instr->kernel == kernel)
                return instr;
        }
    return NULL;
}

// Further than the operand's end, or numbers that CUDA refuses.
static bool change_dim(Corrupter *c, PlanMap *m, uint64_t operand_bytes) {
    const uint32_t d = corrupter_below(c, PLAN_MAP_DIMS);
    const int64_t wrong[] = {0, -m->dim[d], (int64_t)1 << 31, m->dim[d] + (int64_t)operand_bytes};
    m->dim[d] = wrong[corrupter_below(c, 4)];
    return true;
}

static bool change_stride(Corrupter *c, PlanMap *m, uint64_t operand_bytes) {
    const uint32_t d = corrupter_below(c, PLAN_MAP_DIMS - 1);
    const int64_t far = m->stride[d] + ((int64_t)operand_bytes + 7) / 8 * 8;
    const int64_t wrong[] = {0, -m->stride[d], m->stride[d] + 1, (int64_t)1 << 39, far};
    const uint32_t which = corrupter_below(c, 5);
    // No step is taken along one row.
    if (which == 4 && m->dim[d + 1] == 1)
        return false;
    m->stride[d] = wrong[which];
    return true;
}

// Of no operand, or of one that the kernel writes.
static bool change_mapped(Corrupter *c, PlanMap *m, const PlanInstr *call) {
    const uint32_t to = corrupter_below(c, call->operand_count + 1);
    if (to < call->operand_count && call->operand[to].access == PLAN_READ)
        return false;
    m->operand = to;
    return true;
}

// The maps of a launch go to another architecture's, which has none.
static bool move_maps(Corrupter *c, const PlanLaunch *from) {
    for (uint32_t i = 0; i < c->p->launch_count; i++) {
        PlanLaunch *to = &c->p->launch[i];
        if (to->kernel != from->kernel || to->map_count > 0 || strcmp(to->arch, "sm_90a") >= 0)
            continue;
        to->map_count = from->map_count;
        to->map = from->map;
        return true;
    }
    return false;
}

// The operand begins where no map may.
static bool shift_mapped(Corrupter *c, PlanOperand *o) {
    const uint64_t by = 2 * (1 + (uint64_t)corrupter_below(c, 7));
    if (o->offset + o->bytes + by > c->p->buffer[o->buffer].bytes)
        return false;
    o->offset += by;
    return true;
}

bool corrupt_map(Corrupter *c) {
    if (c->p->launch_count == 0)
        return false;
    PlanLaunch *l = &c->p->launch[corrupter_below(c, c->p->launch_count)];
    PlanInstr *call = find_call(c->p, l->kernel);
    if (l->map_count == 0 || !call)
        return false;
    PlanMap *m = &l->map[corrupter_below(c, l->map_count)];
    PlanOperand *o = &call->operand[m->operand];
    switch (corrupter_below(c, 7)) {
    case 0:
        return change_dim(c, m, o->bytes);
    case 1:
        return change_stride(c, m, o->bytes);
    case 2:
        return change_mapped(c, m, call);
    case 3: {
        static const uint32_t wrong[] = {0, 4, 12, 264, 1u << 31};
        m->rows = wrong[corrupter_below(c, 5)];
        return true;
    }
    case 4:
        return move_maps(c, l);
    case 5:
        return shift_mapped(c, o);
    default:
        l->map_count = PLAN_MAPS_MAX + 1; // What is there is not looked at.
        return true;
    }
}

// A joint, its instructions and where they stand.
typedef struct {
    PlanJoint *joint;
    PlanSegment *segment;
    PlanInstr *product, *kernel;
    uint32_t position; // the kernel's
} Pair;

static uint32_t segment_position(const Plan *p, uint32_t segment) {
    for (uint32_t e = 0; e < p->entry_count; e++) {
        uint32_t at = 0;
        for (uint32_t i = 0; i < p->entry[e].call_count; i++) {
            const PlanCall *call = &p->entry[e].call[i];
            if (call->segment == segment)
                return at;
            if (i + 1 == p->entry[e].call_count || call[1].segment != call->segment)
                at += p->segment[call->segment].instr_count;
        }
    }
    return 0;
}

// Two parts of the kernel's operands for each other.
static bool swap_parts(Corrupter *c, PlanJoint *j) {
    uint32_t *part[] = {&j->from, &j->to, &j->bias, &j->aux};
    const uint32_t a = corrupter_below(c, 4), b = corrupter_below(c, 4), keep = *part[a];
    // A result and a kernel's operand must be: without one, rule 1 has a say. Which of two results
    // is which only code generation can tell.
    if (*part[a] == *part[b] || keep == UINT32_MAX || *part[b] == UINT32_MAX ||
        (j->apply == PLAN_APPLY_GELU && (a == 1 || a == 3) && (b == 1 || b == 3)))
        return false;
    *part[a] = *part[b];
    *part[b] = keep;
    return true;
}

static bool drop_part(Corrupter *c, PlanJoint *j) {
    uint32_t *part = corrupter_below(c, 2) ? &j->bias : &j->aux;
    // What aux only names stays of itself; and without it nobody has it.
    if (*part == UINT32_MAX || *part == j->from)
        return false;
    *part = UINT32_MAX;
    return true;
}

// The gradient of gelu for gelu, or the other way round: their operands differ.
static bool turn_around(PlanJoint *j) {
    j->apply = j->apply == PLAN_APPLY_GELU_GRAD ? PLAN_APPLY_GELU : PLAN_APPLY_GELU_GRAD;
    return true;
}

// Another instruction of the segment for either.
static bool change_instruction(Corrupter *c, const Pair *g) {
    uint32_t *of = corrupter_below(c, 2) ? &g->joint->product : &g->joint->kernel;
    const uint32_t to = corrupter_below(c, g->segment->instr_count);
    const PlanInstr *instr = &g->segment->instr[to];
    // Whoever has too few operands breaks rule 1 first.
    if (to == *of || (of == &g->joint->kernel && instr->operand_count < g->kernel->operand_count))
        return false;
    *of = to;
    return true;
}

// Twice the same, or out of order.
static bool change_place(Corrupter *c, const Pair *g) {
    PlanJoint *last = &c->p->joint[c->p->joint_count - 1];
    if (g->joint == last)
        return false;
    if (corrupter_below(c, 2)) {
        g->joint[1] = g->joint[0];
    } else {
        const PlanJoint keep = *g->joint;
        *g->joint = *last;
        *last = keep;
    }
    return true;
}

// Somebody waits for what stands before the kernel, or runs it beside it.
static bool part_from_stream(Corrupter *c, const Pair *g) {
    PlanInstr *i = g->product + corrupter_below(c, (uint32_t)(g->kernel - g->product));
    if (corrupter_below(c, 2) || c->p->stream_count < 2)
        i->signal = 0;
    else
        i->stream = (i->stream + 1) % c->p->stream_count;
    return true;
}

static bool uses(const PlanInstr *instr, uint32_t buffer) {
    bool used = instr->workspace == buffer;
    for (uint32_t k = 0; k < instr->operand_count; k++)
        used = used || instr->operand[k].buffer == buffer;
    return used;
}

// What the product reads and works in is given up before the kernel, though nobody else needs it.
static bool give_up(Corrupter *c, const Pair *g) {
    const uint32_t which = corrupter_below(c, 3);
    const uint32_t buffer = which == 2 ? g->product->workspace : g->product->operand[which].buffer;
    PlanBuffer *b = buffer == UINT32_MAX ? NULL : &c->p->buffer[buffer];
    // Not what lives to the end of a repeated segment: rule 10 would have a say.
    if (!b || b->entry == UINT32_MAX || b->last != g->position ||
        b->first < g->position - g->joint->kernel)
        return false;
    for (const PlanInstr *i = g->product + 1; i <= g->kernel; i++)
        if (uses(i, buffer))
            return false;
    b->last--;
    return true;
}

// The product's result is wanted after the kernel.
static bool want_later(Corrupter *c, const Pair *g) {
    const PlanOperand *of = &g->product->operand[2];
    PlanBuffer *b = &c->p->buffer[of->buffer];
    if (b->entry == UINT32_MAX || g->joint->aux == g->joint->from)
        return false;
    for (uint32_t i = 0; i < g->kernel->operand_count; i++)
        if (g->kernel->operand[i].access != PLAN_READ && g->kernel->operand[i].buffer == of->buffer)
            return false;
    b->last = g->position + 1;
    return true;
}

bool corrupt_joint(Corrupter *c) {
    if (c->p->joint_count == 0)
        return false;
    PlanJoint *j = &c->p->joint[corrupter_below(c, c->p->joint_count)];
    PlanSegment *s = &c->p->segment[j->segment];
    const Pair g = {.joint = j,
                    .segment = s,
                    .product = &s->instr[j->product],
                    .kernel = &s->instr[j->kernel],
                    .position = segment_position(c->p, j->segment) + j->kernel};
    switch (corrupter_below(c, 8)) {
    case 0:
        return swap_parts(c, j);
    case 1:
        return drop_part(c, j);
    case 2:
        return turn_around(j);
    case 3:
        return change_instruction(c, &g);
    case 4:
        return change_place(c, &g);
    case 5:
        return part_from_stream(c, &g);
    case 6:
        return give_up(c, &g);
    default:
        return want_later(c, &g);
    }
}
