// A plan's kernels, parsed, verified and held against the plan.
//
// plan_verify proves that instructions stay inside their buffers, but takes kernels at their word:
// it does not read their text. Here the text is read, so here it is checked that no kernel touches
// more of its operands, workspace and immediates than the instructions that call it state, and that
// its work is cut into as many tiles. Then code made from a plan that anybody wrote stays inside
// the arena.
#include "codegen/plan_kernels.h"

#include "codegen/cuda.h"

#include <string.h>

enum { P_KERNEL = 855, P_FIT = 857 };

static const PlanAccess plan_access[] = {
    [ACCESS_READ] = PLAN_READ, [ACCESS_WRITE] = PLAN_WRITE, [ACCESS_UPDATE] = PLAN_UPDATE};

static bool unfit(Diag *d, const PlanKernel *k, const char *what) {
    return diag_error(d, (Loc){0}, P_FIT, "kernel %s does not fit the plan: %s", k->name, what);
}

static bool same_maps(const PlanLaunch *stated, const KernelLaunch *needed) {
    bool same = stated->map_count == (uint32_t)needed->map_count;
    for (int i = 0; i < needed->map_count && same; i++) {
        const PlanMap *a = &stated->map[i];
        const KernelMap *b = &needed->map[i];
        same = a->operand == (uint32_t)b->operand && a->rows == (uint32_t)b->rows &&
               memcmp(a->dim, b->dim, sizeof b->dim) == 0 &&
               memcmp(a->stride, b->stride, sizeof b->stride) == 0;
    }
    return same;
}

// How a GPU starts it, row by row.
static bool check_launches(Diag *d, const Plan *p, const GpuArchs *archs, Kernel *const *kernel) {
    Arena *a = arena_create();
    uint32_t next = 0;
    const PlanKernel *bad = NULL;
    for (int i = 0; i < archs->count && !bad; i++)
        for (uint32_t k = 0; k < p->kernel_count && !bad; k++) {
            KernelLaunches launches;
            kernel_launches(kernel[k], archs->arch[i], &launches);
            for (int l = 0; l < launches.count && !bad; l++, next++) {
                const KernelLaunch *needed = &launches.launch[l];
                const PlanLaunch *stated = &p->launch[next];
                const char *name = arena_format(a, "%s%s", kernel[k]->name, needed->suffix);
                if (next >= p->launch_count || stated->kernel != k ||
                    strcmp(stated->name, name) != 0 ||
                    memcmp(stated->grid, needed->grid, sizeof stated->grid) != 0 ||
                    stated->block != (uint32_t)needed->block ||
                    stated->shared != (uint64_t)needed->shared || !same_maps(stated, needed))
                    bad = &p->kernel[k];
            }
        }
    arena_release(a);
    if (!bad && next < p->launch_count)
        bad = &p->kernel[p->launch[next].kernel];
    return !bad || unfit(d, bad, "it is launched in another way");
}

static bool check_kernel(Diag *d, const PlanKernel *stated, const Kernel *k) {
    if ((uint64_t)kernel_tiles(k) != stated->tiles)
        return unfit(d, stated, "its work has another number of tiles");
    if (kernel_workspace(k) > stated->workspace)
        return unfit(d, stated, "it needs more workspace");
    return true;
}

static bool check_gpu_kernel(Diag *d, const PlanKernel *stated, const Kernel *k,
                             const GpuArchs *archs) {
    if (k->host)
        return check_kernel(d, stated, k);
    if (stated->tiles != 1)
        return unfit(d, stated, "on a GPU a call is one tile");
    return gpu_workspace(k, archs) <= stated->workspace ||
           unfit(d, stated, "it needs more workspace");
}

// What the verifier takes the rows for: all that the kernel writes.
static bool writes_rows(const PlanOperand *operand, const Kernel *k, int o) {
    const uint64_t element = dtype_bytes(kernel_dtype(k, o));
    int64_t row, pitch;
    return operand->pitch == 0 ||
           (kernel_rows(k, o, &row, &pitch) && operand->row == (uint64_t)row * element &&
            operand->pitch == (uint64_t)pitch * element);
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
        if (!writes_rows(operand, k, o))
            return unfit(d, stated, "it writes other rows of an operand than its calls state");
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
    GpuArchs archs = {0};
    if (plan_is_cuda(p) && !cuda_target(a, d, p->target, &archs))
        return NULL;
    for (uint32_t i = 0; i < p->kernel_count; i++) {
        const char *text = p->kernel[i].text;
        size_t at = 0;
        kernel[i] = kernel_parse(a, d, p->kernel[i].name, text, strlen(text), &at);
        if (!kernel[i]) {
            if (diag_error_count(d) == 0)
                diag_error(d, (Loc){0}, P_KERNEL, "kernel %u of the plan has no text", i);
            return NULL;
        }
        if (kernel[i]->host && archs.count == 0) {
            unfit(d, &p->kernel[i], "only a GPU's program has a host");
            return NULL;
        }
        if (!(archs.count > 0 ? check_gpu_kernel(d, &p->kernel[i], kernel[i], &archs)
                              : check_kernel(d, &p->kernel[i], kernel[i])))
            return NULL;
        // A name in a plan's text could be any symbol.
        kernel[i]->name = arena_format(a, "k%u", i);
    }
    return check_calls(d, p, kernel) && check_launches(d, p, &archs, kernel) ? kernel : NULL;
}
