// The verifier's rule 23: what a GPU's library may do in one. A run that takes a joint computes
// nothing where the product stands, and both where the kernel does. So whatever the product would
// have used must still be as it was there, and nobody may have counted on the product alone. That
// the kernel computes what the joint says is the compiler's promise, as what its text says is.
#include "runtime/plan_verify.h"

enum { AUX_MULTIPLE = 8 }; // cuBLASLt's rule for the leading dimension of what apply is given

typedef struct {
    const PlanJoint *joint;
    uint32_t index;    // of the joint
    uint32_t position; // the kernel's, in the entry's linear order
    const PlanInstr *product, *kernel;
    const PlanProduct *row;
} Pair;

static bool refuse(Verifier *v, const Pair *g, const char *what) {
    return verify_refuse_instr(v, 23, g->joint->segment, g->joint->product, "joint %u %s", g->index,
                               what);
}

static bool same_bytes(const PlanOperand *a, const PlanOperand *b) {
    return a->buffer == b->buffer && a->offset == b->offset && a->bytes == b->bytes &&
           a->slot_bytes == b->slot_bytes;
}

// Fields in range, and instructions of the right kinds.
static bool find_pair(Verifier *v, uint32_t index, Pair *out) {
    const Plan *p = v->plan;
    const PlanJoint *g = &p->joint[index];
    if (g->segment >= p->segment_count || (uint32_t)g->apply >= PLAN_APPLY_COUNT ||
        g->product >= p->segment[g->segment].instr_count ||
        g->kernel >= p->segment[g->segment].instr_count)
        return verify_refuse(v, 1, "joint %u has a field out of range", index);
    const PlanInstr *instr = p->segment[g->segment].instr;
    *out = (Pair){.joint = g,
                  .index = index,
                  .position = v->segment_first[g->segment] + g->kernel,
                  .product = &instr[g->product],
                  .kernel = &instr[g->kernel]};
    if (out->product->kind != INSTR_PRODUCT || out->kernel->kind != INSTR_KERNEL)
        return refuse(v, out, "is of other instructions than a product and a kernel");
    out->row = &p->product[v->product_of[out->product->kernel]];
    const uint32_t count = out->kernel->operand_count;
    if (g->from >= count || g->to >= count || (g->bias != UINT32_MAX && g->bias >= count) ||
        (g->aux != UINT32_MAX && g->aux >= count))
        return verify_refuse(v, 1, "joint %u has a field out of range", index);
    // Each pair follows the one before it, so an instruction is in one at most.
    const PlanJoint *last = index ? g - 1 : NULL;
    if (last &&
        (g->segment < last->segment || (g->segment == last->segment && g->product <= last->kernel)))
        return refuse(v, out, "does not follow the one before it");
    return true;
}

// What stands between the two: on their stream, asked for by nobody elsewhere, and without use for
// the product's result or hand on its operands.
static bool check_between(Verifier *v, const Pair *g) {
    for (const PlanInstr *i = g->product; i < g->kernel; i++) {
        bool good = i->stream == g->kernel->stream && i->signal == UINT32_MAX;
        for (uint32_t k = 0; k < i->operand_count && i > g->product; k++) {
            const PlanOperand *o = &i->operand[k];
            const PlanOperand *of = g->product->operand;
            good = good && o->buffer != of[2].buffer &&
                   (o->access == PLAN_READ ||
                    (o->buffer != of[0].buffer && o->buffer != of[1].buffer));
        }
        if (!good)
            return refuse(v, g, "is of instructions that others stand between");
    }
    return true;
}

// A matrix that cuBLASLt has epilogues for.
static bool check_instructions(Verifier *v, const Pair *g) {
    const PlanProduct *row = g->row;
    if (row->library != PLAN_CUBLASLT || row->accumulate != 0 || row->batch[0] != 1 ||
        row->batch[1] != 1 || row->c_stride[3] != 1 ||
        (g->joint->aux != UINT32_MAX && row->c_stride[2] % AUX_MULTIPLE != 0))
        return refuse(v, g, "has a product that no epilogue works on");
    if (g->joint->kernel <= g->joint->product || !verify_is_near(v, g->kernel->operand[0].buffer))
        return refuse(v, g, "is of instructions in another order or place");
    return check_between(v, g);
}

// One operand in its part, or none where the part may be left out.
static bool has_part(const Pair *g, uint32_t operand, PlanAccess access, uint64_t bytes) {
    const PlanOperand *o = &g->kernel->operand[operand];
    return operand == UINT32_MAX || (o->access == access && o->bytes == bytes);
}

static bool check_operands(Verifier *v, const Pair *g) {
    const PlanJoint *j = g->joint;
    const PlanOperand *c = &g->product->operand[2], *from = &g->kernel->operand[j->from];
    const bool grad = j->apply == PLAN_APPLY_GELU_GRAD, stays = j->aux == j->from;
    const uint64_t row_bytes = (uint64_t)g->row->n * plan_dtype_bytes(g->row->c);
    const uint32_t parts = 2u + (j->bias != UINT32_MAX) + (j->aux != UINT32_MAX && !stays);
    // What apply is given is the gradient's to read; else the library writes it, where the result
    // itself is one no less.
    const PlanAccess aux = grad || stays ? PLAN_READ : PLAN_WRITE;
    const bool allowed = grad ? j->bias == UINT32_MAX && j->aux != UINT32_MAX && !stays
                              : (j->aux == UINT32_MAX || j->apply == PLAN_APPLY_GELU) &&
                                    !(stays && j->bias != UINT32_MAX) &&
                                    (j->apply != PLAN_APPLY_NONE || j->bias != UINT32_MAX);
    if (!allowed || parts != g->kernel->operand_count || from->access != PLAN_READ ||
        !same_bytes(from, c) || !has_part(g, j->to, PLAN_WRITE, c->bytes) ||
        !has_part(g, j->bias, PLAN_READ, row_bytes) || !has_part(g, j->aux, aux, c->bytes) ||
        j->bias == j->from || j->aux == j->to)
        return refuse(v, g, "has other operands than its epilogue");
    return true;
}

// The library reads all it needs while it writes: results are apart from that.
static bool check_apart(Verifier *v, const Pair *g) {
    for (uint32_t i = 0; i < g->kernel->operand_count; i++) {
        const PlanOperand *o = &g->kernel->operand[i];
        if (o->access == PLAN_READ)
            continue;
        if (o->buffer == g->product->operand[0].buffer ||
            o->buffer == g->product->operand[1].buffer)
            return refuse(v, g, "writes into an operand of its product");
        for (uint32_t k = 0; k < g->kernel->operand_count; k++)
            if (k != i && g->kernel->operand[k].buffer == o->buffer &&
                (k != g->joint->from || g->joint->aux == k ||
                 !same_bytes(o, &g->product->operand[2])))
                return refuse(v, g, "writes where it reads");
    }
    return true;
}

// Rule 11 keeps others out of what lives.
static bool check_lives(Verifier *v, const Pair *g) {
    const Plan *p = v->plan;
    const uint32_t buffer[3] = {g->product->operand[0].buffer, g->product->operand[1].buffer,
                                g->product->workspace};
    for (int i = 0; i < 3; i++)
        if (buffer[i] != UINT32_MAX && p->buffer[buffer[i]].last < g->position)
            return refuse(v, g,
                          "needs an operand or workspace of its product that is gone by then");
    const PlanOperand *c = &g->product->operand[2];
    const PlanBuffer *of_c = &p->buffer[c->buffer];
    bool replaced = g->joint->aux == g->joint->from;
    for (uint32_t i = 0; i < g->kernel->operand_count; i++)
        replaced = replaced || (g->kernel->operand[i].access == PLAN_WRITE &&
                                same_bytes(&g->kernel->operand[i], c));
    return replaced || (of_c->entry != UINT32_MAX && of_c->last <= g->position) ||
           refuse(v, g, "leaves out a product that is read later");
}

bool verify_joints(Verifier *v) {
    for (uint32_t i = 0; i < v->plan->joint_count; i++) {
        Pair g = {0};
        if (!find_pair(v, i, &g) || !check_instructions(v, &g) || !check_operands(v, &g) ||
            !check_apart(v, &g) || !check_lives(v, &g))
            return false;
    }
    return true;
}
