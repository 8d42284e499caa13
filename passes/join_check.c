// Does the kernel of a joint compute its epilogue?
//
// plan_verify proves that a run may compute a joint's two instructions in one, but takes the joint
// at its word as to what the kernel does: it does not read kernels. Here their text is read, and
// held against the joint as pass_join finds it. Then a run that takes the library's epilogue
// computes what the plan means, whoever wrote the plan. Cost: a kernel's program for each joint.
#include "passes/join_check.h"

#include "passes/epilogue_form.h"

#include <string.h>

enum { P_FIT = 857 };

static const PlanProduct *find_product(const Plan *p, uint32_t kernel) {
    for (uint32_t i = 0; i < p->product_count; i++)
        if (p->product[i].kernel == kernel)
            return &p->product[i];
    return NULL;
}

static bool check(const Plan *p, const PlanJoint *g, Arena *a, Diag *d, Loc loc) {
    const PlanInstr *instr = p->segment[g->segment].instr;
    const PlanKernel *k = &p->kernel[instr[g->kernel].kernel];
    const PlanProduct *product = find_product(p, instr[g->product].kernel);
    size_t at = 0;
    const Kernel *kernel = kernel_parse(a, d, k->name, k->text, strlen(k->text), &at);
    if (!kernel)
        return diag_error_count(d) > 0 ? false
                                       : diag_error(d, loc, P_FIT, "kernel %s has no text", k->name);
    PlanJoint found;
    return (product && epilogue_form_find(kernel, product, g->from, g->aux == g->from, a, &found) &&
            found.apply == g->apply && found.to == g->to && found.bias == g->bias &&
            found.aux == g->aux) ||
           diag_error(d, loc, P_FIT,
                      "kernel %s does not fit the plan: joint %d is of something else", k->name,
                      (int)(g - p->joint));
}

bool join_check(const Plan *p, Diag *d, Loc loc) {
    Arena *a = arena_create();
    bool good = true;
    for (uint32_t i = 0; i < p->joint_count && good; i++)
        good = check(p, &p->joint[i], a, d, loc);
    arena_release(a);
    return good;
}
