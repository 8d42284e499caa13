// Which kernel is an epilogue? One whose program is, operation by operation, what lowering makes of
//
//   z = c + row;  y = apply(z)      apply: nothing, relu, gelu (tanh's form); z is stored or not
//   y = apply(c)
//   y = gelu_grad(z, c)
//
// so each is built anew from the operators' own lowering and compared. Nothing else is in it: a
// kernel that does more stays a kernel.
//
// What cuBLASLt asks for (cublasLt.h of CUDA 13, at cublasLtMatmulDescAttributes_t and
// cublasLtEpilogue_t): row, z and y have the type of the product's result; row is packed, one
// number a row of the library's matrix, which counts by columns, so one a column of ours; z has the
// result's rows, its leading dimension is a multiple of 8. Here z and y also lie as the result
// does. gelu is tanh's form there too, says PyTorch, which takes it for that
// (_addmm_activation); the header doesn't say. relu's z is a mask of bits there, which is none of
// our values: relu has no z.
//
// Not here: gradients of biases. With gelu's gradient they have the type of the result, where ours
// are f32 sums of rounded bf16.
#include "passes/epilogue_form.h"

#include "ir/op_lower.h"

#include <string.h>

enum { AUX_MULTIPLE = 8, NONE = -1 };

// The kernel's operands by their part in it.
typedef struct {
    PlanApply apply;
    int from, row, z, to; // NONE where there is none
} Form;

// The value a reader of memory would find.
static KRef stored(KernelBuilder *kb, DType t, KRef x) {
    return t == DT_BF16 ? kb_op1(kb, KOP_ROUND_BF16, x) : x;
}

static KRef apply(KernelBuilder *kb, PlanApply how, KRef x) {
    KRef out = x;
    if (how == PLAN_APPLY_RELU)
        lower_relu(kb, NULL, &x, &out);
    if (how == PLAN_APPLY_GELU)
        lower_gelu(kb, NULL, &x, &out);
    return out;
}

// Loads in the order of the operands, as lowering meets them.
static void build_forward(KernelBuilder *kb, const Form *f, DType t) {
    KRef z = kb_load(kb, 0);
    if (f->row != NONE) {
        const KRef in[2] = {z, kb_load(kb, 1)};
        lower_add(kb, NULL, in, &z);
        if (f->z != NONE)
            kb_store(kb, f->z, z);
        if (f->apply != PLAN_APPLY_NONE)
            z = stored(kb, t, z);
    }
    kb_store(kb, f->to, apply(kb, f->apply, z));
}

static void build_gradient(KernelBuilder *kb, const Form *f) {
    KRef in[2], out;
    in[0] = kb_load(kb, f->z);
    in[1] = kb_load(kb, f->from);
    lower_gelu_grad(kb, NULL, in, &out);
    kb_store(kb, f->to, out);
}

// The kernel is what the form says.
static bool has_program(const Kernel *k, const Form *f, Arena *a) {
    KernelBuilder *kb = kernel_builder(a, KERNEL_ROWS, k->rank, k->dim);
    for (int o = 0; o < k->operand_count; o++)
        kernel_add_operand(kb, k->operand[o].dtype, k->operand[o].access, k->operand[o].stride);
    if (f->apply == PLAN_APPLY_GELU_GRAD)
        build_gradient(kb, f);
    else
        build_forward(kb, f, k->operand[f->from].dtype);
    Kernel *built = kernel_finish(kb);
    for (int o = 0; o < k->operand_count; o++)
        built->operand[o].align = k->operand[o].align;
    return kernel_equal(k, built);
}

// The columns of a row that begins every ld elements, and whether they and the rows are the
// product's: its elements are those at which the operand is walked. Where columns and rows are
// walked as one, no operand can tell them apart.
static bool walks_matrix(const Kernel *k, const PlanProduct *p, int operand, bool apart) {
    const int64_t ld = p->c_stride[2];
    int64_t count = 1, columns = 1, last = 0, last_column = 0;
    for (int d = 0; d < k->rank; d++) {
        const int64_t step = k->operand[operand].stride[d], extent = k->dim[d];
        const bool column = step < ld || p->m == 1;
        count *= extent;
        last += (extent - 1) * step;
        columns *= column ? extent : 1;
        last_column += column ? (extent - 1) * step : 0;
    }
    if (count != p->m * p->n || last != (p->m - 1) * ld + p->n - 1)
        return false;
    // As many elements as there are places between the first and the last: all of them.
    return (!apart && ld == p->n) || (columns == p->n && last_column == p->n - 1);
}

static bool same_walk(const Kernel *k, int a, int b) {
    return k->operand[a].dtype == k->operand[b].dtype &&
           memcmp(k->operand[a].stride, k->operand[b].stride,
                  (size_t)k->rank * sizeof *k->operand[a].stride) == 0;
}

// Along columns with the result, still along rows.
static bool is_row(const Kernel *k, const PlanProduct *p, const Form *f) {
    if (k->operand[f->row].dtype != k->operand[f->from].dtype)
        return false;
    for (int d = 0; d < k->rank; d++) {
        const int64_t step = k->operand[f->from].stride[d];
        const bool column = step < p->c_stride[2] || p->m == 1;
        if (k->operand[f->row].stride[d] != (column ? step : 0))
            return false;
    }
    return true;
}

static bool fits(const Kernel *k, const PlanProduct *p, const Form *f) {
    return walks_matrix(k, p, f->from, f->row != NONE) && same_walk(k, f->from, f->to) &&
           (f->z == NONE || same_walk(k, f->from, f->z)) && (f->row == NONE || is_row(k, p, f));
}

// By the number of operands and who writes: the last one is the result, one before it z.
static bool guess(const Kernel *k, int from, int form, Form *out) {
    static const PlanApply forward[] = {PLAN_APPLY_GELU, PLAN_APPLY_RELU, PLAN_APPLY_NONE};
    const int count = k->operand_count;
    int reads = 0;
    while (reads < count && k->operand[reads].access == ACCESS_READ)
        reads++;
    if (reads < 1 || reads > 2 || from >= reads || reads == count)
        return false;
    *out = (Form){.from = from, .row = NONE, .z = NONE, .to = count - 1};
    if (form == 3) {
        out->apply = PLAN_APPLY_GELU_GRAD;
        out->z = 1 - from;
        return reads == 2 && count == 3;
    }
    out->apply = forward[form];
    out->row = reads == 2 ? 1 - from : NONE;
    out->z = count == reads + 2 ? reads : NONE;
    if (reads == 1 && out->apply == PLAN_APPLY_NONE)
        return false;
    return count == reads + 1 || (out->z != NONE && reads == 2 && out->apply == PLAN_APPLY_GELU);
}

static uint32_t operand_or_none(int operand) {
    return operand == NONE ? UINT32_MAX : (uint32_t)operand;
}

bool epilogue_form_find(const Kernel *k, const PlanProduct *p, uint32_t from, bool kept, Arena *a,
                        PlanJoint *out) {
    if (k->kind != KERNEL_SCALAR || k->host || k->axis != KERNEL_ROWS || k->imm_count > 0)
        return false;
    for (int i = 0; i < 4; i++) {
        Form f;
        if (!guess(k, (int)from, i, &f) || !fits(k, p, &f) || !has_program(k, &f, a))
            continue;
        // What stays of a product that gelu reads is gelu's z; of others it can't be had.
        const bool is_z = kept && f.row == NONE && f.apply == PLAN_APPLY_GELU;
        if (kept && !is_z)
            return false;
        f.z = is_z ? f.from : f.z;
        if (f.z != NONE && p->c_stride[2] % AUX_MULTIPLE != 0)
            return false;
        *out = (PlanJoint){.apply = f.apply,
                           .from = (uint32_t)f.from,
                           .to = (uint32_t)f.to,
                           .bias = operand_or_none(f.row),
                           .aux = operand_or_none(f.z)};
        return true;
    }
    return false;
}
