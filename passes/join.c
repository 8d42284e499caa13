// Which kernels a GPU's product library can compute within the product before them.
//
//   27: product k20 (read x, read w, write c)          joint s2 product 27 kernel 28 apply gelu
//   28: kernel  k21 (read c, read b, write z, write y)       from 0 to 3 bias 1 aux 2
//
// Both instructions stay, and are what the plan means. cuBLASLt's epilogue computes the same
// functions of sums that are not rounded in between, so its numbers may differ in their last bit;
// a run takes it only where `tune` has found it to be faster on the GPU at hand.
//
// On entry every instruction has its stream. A pair stands on one stream and close together, nobody
// waits for the product alone, nobody else reads what it leaves behind, and pairs don't interleave.
// The library reads its operands, and has its workspace, while the results are being written: they
// live on until the kernel, as long as the entry's load comes above no more than it does elsewhere.
// So budgets are not touched by what may never be used, and pairs that would cost memory are none.
//
// On exit joints are listed. Cost: linear in instructions and buffers, and a kernel's program for
// each pair. Not done: results that lie where the gradient reads (dz over z) stay apart.
#include "passes/epilogue_form.h"
#include "passes/pass.h"

#include "ir/check.h"

#include <string.h>

// Instructions from a product to its kernel: what is between is a cast or two.
// SLACK: the part of the peak that all pairs together may add to it where no budget is given.
enum { DISTANCE_MAX = 4, SLACK = 1024 };

typedef struct {
    PassCtx *cx;
    Plan *p;
    const PlanProduct **product; // by kernel; NULL: none that may have an epilogue
    const Kernel **kernel;       // by kernel: parsed so far
    uint64_t *load;              // by position of the entry at hand: bytes that live there
    uint64_t most;               // that may live anywhere
    uint32_t capacity;           // of the plan's joints
    int dear;                    // pairs that would have raised the peak
} Join;

static uint64_t padded(const PlanBuffer *b) {
    return (b->bytes + b->alignment - 1) / b->alignment * b->alignment;
}

// Instructions of the entry's segments, each counted once.
static uint32_t count_positions(const Plan *p, const PlanEntry *e) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < e->call_count; i++)
        if (i == 0 || e->call[i].segment != e->call[i - 1].segment)
            count += p->segment[e->call[i].segment].instr_count;
    return count;
}

// Bytes of the device that live at each position of an entry, states aside; gives the most.
static uint64_t find_load(Join *j, uint32_t entry) {
    const uint32_t positions = count_positions(j->p, &j->p->entry[entry]);
    uint64_t most = 0;
    j->load = arena_array(j->cx->scratch, uint64_t, positions + 1);
    for (uint32_t i = 0; i < j->p->buffer_count; i++) {
        const PlanBuffer *b = &j->p->buffer[i];
        if (b->entry != entry || j->p->space[b->space].kind != SPACE_DEVICE ||
            b->first >= positions)
            continue;
        // Changes first; modulo 2^64, as sums of differences are.
        j->load[b->first] += padded(b);
        if (b->last + 1 < positions)
            j->load[b->last + 1] -= padded(b);
    }
    for (uint32_t i = 0; i < positions; i++) {
        j->load[i] += i ? j->load[i - 1] : 0;
        most = j->load[i] > most ? j->load[i] : most;
    }
    return most;
}

static bool same_bytes(const PlanOperand *a, const PlanOperand *b) {
    return a->buffer == b->buffer && a->offset == b->offset && a->bytes == b->bytes &&
           a->slot_bytes == b->slot_bytes;
}

static const Kernel *read_kernel(Join *j, uint32_t index) {
    if (!j->kernel[index]) {
        const char *text = j->p->kernel[index].text;
        size_t at = 0;
        j->kernel[index] =
            kernel_parse(j->cx->scratch, j->cx->diag, "kernel", text, strlen(text), &at);
        CHECK(j->kernel[index] != NULL);
    }
    return j->kernel[index];
}

// Some operand of the kernel takes the product's place in memory.
static bool is_overwritten(const PlanInstr *kernel, const PlanOperand *c) {
    for (uint32_t i = 0; i < kernel->operand_count; i++)
        if (kernel->operand[i].access != PLAN_READ && same_bytes(&kernel->operand[i], c))
            return true;
    return false;
}

// The kernel writes into no buffer that the library still reads from: results may lie in the
// product's place, and nowhere else.
static bool writes_apart(const PlanInstr *product, const PlanInstr *kernel, const PlanJoint *g) {
    for (uint32_t i = 0; i < kernel->operand_count; i++) {
        const PlanOperand *o = &kernel->operand[i];
        if (o->access == PLAN_READ)
            continue;
        if (o->buffer == product->operand[0].buffer || o->buffer == product->operand[1].buffer)
            return false;
        for (uint32_t k = 0; k < kernel->operand_count; k++)
            if (k != i && kernel->operand[k].buffer == o->buffer &&
                !(k == g->from && g->aux != g->from && same_bytes(&kernel->operand[k], o)))
                return false;
    }
    return true;
}

// The next instruction that has to do with the product's result, if what stands between is on the
// same stream, waited for by nobody, and writes into no operand of the product. NULL: none so near.
static const PlanInstr *find_reader(const PlanSegment *s, uint32_t index) {
    const PlanInstr *product = &s->instr[index];
    const PlanOperand *of = product->operand;
    for (uint32_t i = index; i < s->instr_count && i <= index + DISTANCE_MAX; i++) {
        const PlanInstr *x = &s->instr[i];
        bool writes = false;
        if (x->stream != product->stream)
            return NULL;
        for (uint32_t k = 0; k < x->operand_count && i > index; k++) {
            if (x->operand[k].buffer == of[2].buffer)
                return x;
            writes = writes ||
                     (x->operand[k].access != PLAN_READ && (x->operand[k].buffer == of[0].buffer ||
                                                            x->operand[k].buffer == of[1].buffer));
        }
        if (writes || x->signal != UINT32_MAX)
            return NULL;
    }
    return NULL;
}

// The pair of this product, without a look at memory.
static bool find_joint(Join *j, uint32_t segment, uint32_t index, uint32_t position,
                       PlanJoint *out) {
    const PlanSegment *s = &j->p->segment[segment];
    const PlanInstr *product = &s->instr[index];
    if (product->kind != INSTR_PRODUCT || !j->product[product->kernel])
        return false;
    const PlanInstr *kernel = find_reader(s, index);
    if (!kernel || kernel->kind != INSTR_KERNEL)
        return false;
    const PlanOperand *c = &product->operand[2];
    const PlanBuffer *of_c = &j->p->buffer[c->buffer];
    const bool kept =
        !is_overwritten(kernel, c) &&
        (of_c->entry == UINT32_MAX || of_c->last > position + (uint32_t)(kernel - product));
    for (uint32_t from = 0; from < kernel->operand_count; from++) {
        if (!same_bytes(&kernel->operand[from], c) || kernel->operand[from].access != PLAN_READ)
            continue;
        *out = (PlanJoint){0};
        if (!epilogue_form_find(read_kernel(j, kernel->kernel), j->product[product->kernel], from,
                                kept, j->cx->scratch, out))
            return false;
        out->segment = segment;
        out->product = index;
        out->kernel = (uint32_t)(kernel - s->instr);
        return writes_apart(product, kernel, out);
    }
    return false;
}

// What the library reads and works in lives until the kernel, at `position`; false where that would
// raise the peak.
static bool keep_operands(Join *j, const PlanInstr *product, uint32_t position) {
    const uint32_t buffer[3] = {product->operand[0].buffer, product->operand[1].buffer,
                                product->workspace};
    PlanBuffer *longer[3];
    int count = 0;
    for (int i = 0; i < 3; i++) {
        PlanBuffer *b = buffer[i] == UINT32_MAX ? NULL : &j->p->buffer[buffer[i]];
        const bool twice = i == 1 && buffer[1] == buffer[0];
        if (b && !twice && b->entry != UINT32_MAX && b->last < position)
            longer[count++] = b;
    }
    bool fits = true;
    for (int i = 0; i < count; i++)
        for (uint32_t at = longer[i]->last + 1; at <= position; at++) {
            j->load[at] += padded(longer[i]);
            fits = fits && j->load[at] <= j->most;
        }
    for (int i = 0; i < count; i++) {
        for (uint32_t at = longer[i]->last + 1; at <= position && !fits; at++)
            j->load[at] -= padded(longer[i]);
        longer[i]->last = fits ? position : longer[i]->last;
    }
    return fits;
}

static void add_joint(Join *j, const PlanJoint *g) {
    if (j->p->joint_count == j->capacity) {
        j->capacity = 2 * j->capacity + 16;
        j->p->joint = arena_grow(j->cx->arena, j->p->joint, j->p->joint_count, j->capacity,
                                 sizeof *j->p->joint);
    }
    j->p->joint[j->p->joint_count++] = *g;
}

static void join_segment(Join *j, uint32_t segment, uint32_t first) {
    const PlanSegment *s = &j->p->segment[segment];
    for (uint32_t i = 0; i < s->instr_count; i++) {
        PlanJoint g;
        if (!find_joint(j, segment, i, first + i, &g))
            continue;
        if (!keep_operands(j, &s->instr[i], first + g.kernel)) {
            j->dear++;
            continue;
        }
        add_joint(j, &g);
        i = g.kernel;
    }
}

// Each segment once, in the order of its first call: so positions are counted.
static void join_entry(Join *j, uint32_t entry) {
    const PlanEntry *e = &j->p->entry[entry];
    uint32_t first = 0;
    // Each by itself, as budgets are: where nobody asks for one a row of a bias may come on top.
    j->most = find_load(j, entry);
    j->most += j->cx->options->budget || j->cx->options->trial ? 0 : j->most / SLACK;
    for (uint32_t i = 0; i < e->call_count; i++) {
        if (i > 0 && e->call[i].segment == e->call[i - 1].segment)
            continue;
        join_segment(j, e->call[i].segment, first);
        first += j->p->segment[e->call[i].segment].instr_count;
    }
}

PassResult pass_join(Module *m, PassCtx *cx) {
    (void)m;
    Plan *p = cx->plan;
    CHECK(p != NULL);
    Join j = {.cx = cx, .p = p};
    p->joint_count = 0;
    j.product = arena_array(cx->scratch, const PlanProduct *, p->kernel_count + 1);
    j.kernel = arena_array(cx->scratch, const Kernel *, p->kernel_count + 1);
    for (uint32_t i = 0; i < p->product_count; i++) {
        const PlanProduct *x = &p->product[i];
        if (x->library == PLAN_CUBLASLT && x->accumulate == 0 && x->batch[0] == 1 &&
            x->batch[1] == 1 && x->c_stride[3] == 1)
            j.product[x->kernel] = x;
    }
    for (uint32_t i = 0; i < p->entry_count; i++)
        join_entry(&j, i);
    if (j.dear)
        remark_add(cx, "join", p->model,
                   "%d kernels behind products stay apart: in one they would need more memory",
                   j.dear);
    if (p->joint_count == 0)
        return PASS_SAME;
    remark_add(cx, "join", p->model,
               "%u products and the kernels behind them may be computed in one", p->joint_count);
    return PASS_CHANGED;
}
