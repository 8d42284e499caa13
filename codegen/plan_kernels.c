// A plan's kernels, parsed, verified and held against the plan.
//
// plan_verify proves that instructions stay inside their buffers, but takes kernels at their word:
// it does not read their text. Here the text is read, so here it is checked that no kernel touches
// more of its operands, workspace and immediates than the instructions that call it state, and that
// its work is cut into as many tiles. Then code made from a plan that anybody wrote stays inside
// the arena.
#include "codegen/plan_kernels.h"

#include <string.h>

enum { P_KERNEL = 855, P_FIT = 857 };

static const PlanAccess plan_access[] = {
    [ACCESS_READ] = PLAN_READ, [ACCESS_WRITE] = PLAN_WRITE, [ACCESS_UPDATE] = PLAN_UPDATE};

static bool unfit(Diag *d, const PlanKernel *k, const char *what) {
    return diag_error(d, (Loc){0}, P_FIT, "kernel %s does not fit the plan: %s", k->name, what);
}

static bool check_kernel(Diag *d, const PlanKernel *stated, const Kernel *k) {
    if ((uint64_t)kernel_tiles(k) != stated->tiles)
        return unfit(d, stated, "its work has another number of tiles");
    if (kernel_workspace(k) > stated->workspace)
        return unfit(d, stated, "it needs more workspace");
    return true;
}

// One call. Products of libraries are computed from the plan's row, not from the text.
static bool check_call(Diag *d, const PlanInstr *instr, const PlanKernel *stated, const Kernel *k) {
    const bool library = k->kind == KERNEL_PRODUCT && k->product.library != PRODUCT_OWN;
    if (library != (instr->kind == INSTR_PRODUCT))
        return unfit(d, stated, "one of them says that a library computes it");
    if (kernel_operand_count(k) != (int)instr->operand_count)
        return unfit(d, stated, "its calls have another number of operands");
    for (int o = 0; o < kernel_operand_count(k); o++) {
        const PlanOperand *operand = &instr->operand[o];
        const uint64_t bytes = (uint64_t)kernel_span(k, o) * dtype_bytes(kernel_dtype(k, o));
        if (operand->access != plan_access[kernel_access(k, o)])
            return unfit(d, stated, "it reads what its calls write, or writes what they read");
        if (operand->bytes < bytes)
            return unfit(d, stated, "it touches more bytes of an operand than its calls state");
    }
    return k->kind != KERNEL_SCALAR || (int)instr->imm_count >= k->imm_count ||
           unfit(d, stated, "its calls have too few immediates");
}

static bool check_calls(Diag *d, const Plan *p, Kernel *const *kernel) {
    for (uint32_t i = 0; i < p->segment_count; i++)
        for (uint32_t j = 0; j < p->segment[i].instr_count; j++) {
            const PlanInstr *instr = &p->segment[i].instr[j];
            const bool called = instr->kind == INSTR_KERNEL || instr->kind == INSTR_PRODUCT;
            if (called && !check_call(d, instr, &p->kernel[instr->kernel], kernel[instr->kernel]))
                return false;
        }
    return true;
}

Kernel **plan_kernels(Arena *a, Diag *d, const Plan *p) {
    Kernel **kernel = arena_array(a, Kernel *, p->kernel_count + 1);
    for (uint32_t i = 0; i < p->kernel_count; i++) {
        const char *text = p->kernel[i].text;
        size_t at = 0;
        kernel[i] = kernel_parse(a, d, p->kernel[i].name, text, strlen(text), &at);
        if (!kernel[i]) {
            if (diag_error_count(d) == 0)
                diag_error(d, (Loc){0}, P_KERNEL, "kernel %u of the plan has no text", i);
            return NULL;
        }
        if (!check_kernel(d, &p->kernel[i], kernel[i]))
            return NULL;
        // A name in a plan's text could be any symbol.
        kernel[i]->name = arena_format(a, "k%u", i);
    }
    return check_calls(d, p, kernel) ? kernel : NULL;
}
