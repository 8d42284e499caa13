// The verifier's rules 6 to 10 and 20, each instruction by itself, and what rule 5 says of their
// accesses.
#include "runtime/plan_verify.h"

enum { OPERANDS_MAX = 64 }; // the interpreter's limit

// An instruction, where it stands, and what the entry allows it.
typedef struct {
    uint32_t segment, index; // of the instruction
    const PlanInstr *instr;
    // The entry that calls it, its linear position, and how often its segment is called.
    uint32_t entry, position, calls;
} Site;

// What ends the sentence "operand 3 ...".
static bool refuse(Verifier *v, int rule, const Site *s, const char *what, uint32_t operand) {
    return verify_refuse_instr(v, rule, s->segment, s->index, "operand %u %s", operand, what);
}

// Rule 10 for one buffer.
static bool check_live(Verifier *v, const Site *s, uint32_t buffer) {
    const PlanBuffer *b = &v->plan->buffer[buffer];
    if (b->first > s->position || b->last < s->position)
        return verify_refuse_instr(v, 10, s->segment, s->index,
                                   "uses buffer %u (%.100s) at position %u, outside its live range",
                                   buffer, b->name, s->position);
    // Persistent buffers live always (rule 2).
    if (s->calls == 1 || b->entry == UINT32_MAX)
        return true;
    // What begins before a repeated segment is there for each of its calls.
    const uint32_t begin = v->segment_first[s->segment];
    const uint32_t end = begin + v->plan->segment[s->segment].instr_count;
    if ((b->first < begin || v->input_of[buffer] != UINT32_MAX) && b->last < end - 1)
        return verify_refuse_instr(v, 10, s->segment, s->index,
                                   "buffer %u (%.100s) does not live to the end of the segment",
                                   buffer, b->name);
    // Its sum would begin anew with every micro-batch.
    if (b->carried && b->first >= begin)
        return verify_refuse_instr(v, 10, s->segment, s->index,
                                   "buffer %u (%.100s) is carried but begins in the segment",
                                   buffer, b->name);
    return true;
}

// Rule 6 for what moves by slot.
static bool check_slots(Verifier *v, const Site *s, uint32_t operand) {
    const PlanOperand *o = &s->instr->operand[operand];
    const uint32_t index = v->input_of[o->buffer];
    if (index == UINT32_MAX)
        return o->slot_bytes == 0 || refuse(v, 6, s, "moves by slot but is no input", operand);
    const PlanInput *in = &v->plan->entry[s->entry].input[index];
    // Bytes of one slot; the slots lie one behind the other.
    uint64_t slot;
    if (!verify_shape_bytes(in->dtype, in->rank, in->dim, &slot))
        return refuse(v, 6, s, "has no size", operand);
    // One slot is an input like any other.
    if (in->slots == 1 && o->slot_bytes == 0)
        return true;
    if (o->slot_bytes != slot || o->access != PLAN_READ)
        return refuse(v, 6, s, "does not read slot by slot", operand);
    if (in->slots != s->calls)
        return refuse(v, 6, s, "is an input with another number of slots than calls", operand);
    // Written so that no sum overflows. Slot 0 inside its slot means every slot inside its own.
    return (o->offset <= slot && o->bytes <= slot - o->offset) ||
           refuse(v, 6, s, "leaves its slot", operand);
}

// Rule 6 for rows: they fill the range from its first byte to its last, and lie apart.
static bool check_rows_of(Verifier *v, const Site *s, uint32_t operand) {
    const PlanOperand *o = &s->instr->operand[operand];
    const bool called = s->instr->kind == INSTR_KERNEL || s->instr->kind == INSTR_PRODUCT;
    if (o->row == 0 && o->pitch == 0)
        return true;
    return (called && o->access != PLAN_READ && o->row > 0 && o->row < o->pitch &&
            o->bytes > o->pitch && o->bytes % o->pitch == o->row) ||
           refuse(v, 6, s, "has rows that it can't have", operand);
}

static bool check_operand(Verifier *v, const Site *s, uint32_t operand) {
    const PlanOperand *o = &s->instr->operand[operand];
    if (o->buffer >= v->plan->buffer_count || (uint32_t)o->access > PLAN_UPDATE)
        return refuse(v, 1, s, "has a field out of range", operand);
    const PlanBuffer *b = &v->plan->buffer[o->buffer];
    if (b->entry != UINT32_MAX && b->entry != s->entry)
        return refuse(v, 6, s, "is in another entry's buffer", operand);
    // Likewise without a sum that could overflow.
    if (o->bytes > b->bytes || o->offset > b->bytes - o->bytes)
        return refuse(v, 6, s, "leaves its buffer", operand);
    // What rule 16 will ask to be zero first and added to by every call.
    if (b->carried && s->calls > 1 && o->offset + o->bytes > v->carried_extent[o->buffer])
        v->carried_extent[o->buffer] = o->offset + o->bytes;
    return check_rows_of(v, s, operand) && check_slots(v, s, operand) &&
           check_live(v, s, o->buffer);
}

// Whether a GPU's host has the first operand.
static bool is_host(const Verifier *v, const PlanInstr *instr) {
    const Plan *p = v->plan;
    return plan_is_cuda(p) &&
           p->space[p->buffer[instr->operand[0].buffer].space].kind == SPACE_HOST;
}

// Kernels of the host follow each other, since its pool has one caller.
static bool check_host(Verifier *v, const Site *s) {
    const PlanInstr *instr = s->instr;
    v->called_in[instr->kernel] |= VERIFY_IN_HOST;
    if (instr->workspace != UINT32_MAX)
        return verify_refuse_instr(v, 20, s->segment, s->index,
                                   "runs on the host and has a workspace");
    if (!v->any_host)
        v->host_stream = instr->stream;
    v->any_host = true;
    return instr->stream == v->host_stream ||
           verify_refuse_instr(v, 20, s->segment, s->index,
                               "is not on the stream of the host's other kernels");
}

// Rule 20 for an instruction whose operands are in range. There is one space of a kind.
static bool check_near(Verifier *v, const Site *s) {
    const PlanInstr *instr = s->instr;
    uint32_t far = 0;
    for (uint32_t i = 0; i < instr->operand_count; i++)
        far += !verify_is_near(v, instr->operand[i].buffer);
    if (instr->kind == INSTR_KERNEL && far == instr->operand_count && is_host(v, instr))
        return check_host(v, s);
    if (instr->kind == INSTR_KERNEL)
        v->called_in[instr->kernel] |= VERIFY_IN_DEVICE;
    if (instr->kind == INSTR_COPY)
        return far < 2 || verify_refuse_instr(v, 20, s->segment, s->index,
                                              "copies from far memory to far memory");
    return far == 0 ||
           verify_refuse_instr(v, 20, s->segment, s->index, "touches far memory and is no copy");
}

// Rule 8: every worker has the kernel's bytes, in a buffer that may be overwritten.
static bool check_workspace(Verifier *v, const Site *s) {
    const Plan *p = v->plan;
    const PlanInstr *instr = s->instr;
    const bool called = instr->kind == INSTR_KERNEL || instr->kind == INSTR_PRODUCT;
    // Bytes a worker.
    const uint64_t each = called ? p->kernel[instr->kernel].workspace : 0;
    if (instr->workspace == UINT32_MAX)
        return each == 0 || verify_refuse_instr(v, 8, s->segment, s->index, "has no workspace");
    if (!called || instr->workspace >= p->buffer_count)
        return verify_refuse_instr(v, 1, s->segment, s->index, "has a workspace out of range");
    const PlanBuffer *b = &p->buffer[instr->workspace];
    uint64_t bytes;
    // A persistent buffer is no workspace: its bytes are somebody's state.
    if (b->entry != s->entry || __builtin_mul_overflow(each, p->workers, &bytes) ||
        bytes > b->bytes)
        return verify_refuse_instr(v, 8, s->segment, s->index,
                                   "has less workspace than %u workers need", p->workers);
    // Both hold values between instructions, which workspace does not keep.
    if (v->input_of[instr->workspace] != UINT32_MAX || b->carried)
        return verify_refuse_instr(v, 8, s->segment, s->index, "works in an input or accumulator");
    if (!verify_is_near(v, instr->workspace))
        return verify_refuse_instr(v, 20, s->segment, s->index, "works in far memory");
    return check_live(v, s, instr->workspace);
}

// Where a range stands; ranges of different buffers compare too.
static uint64_t address(const Verifier *v, const PlanOperand *o) {
    const PlanBuffer *b = &v->plan->buffer[o->buffer];
    return v->space_base[b->space] + b->offset + o->offset;
}

// Empty ranges share nothing.
static bool share_bytes(const Verifier *v, const PlanOperand *a, const PlanOperand *b) {
    const uint64_t x = address(v, a), y = address(v, b);
    return a->bytes && b->bytes && x < y + b->bytes && y < x + a->bytes;
}

// Whether all rows of b lie in the room between two of a's: they are as far apart, so what holds of
// one row holds of all.
static bool rows_apart(const Verifier *v, const PlanOperand *a, const PlanOperand *b) {
    if (a->pitch == 0 || a->pitch != b->pitch)
        return false;
    // From the beginning of a row of a to that of the next one of b.
    const uint64_t x = address(v, a) % a->pitch, y = address(v, b) % a->pitch;
    const uint64_t distance = y >= x ? y - x : y + (a->pitch - x);
    return a->row <= distance && b->row <= a->pitch - distance;
}

// Rule 9. Inputs that move by slot are read in place of their first: they are only read, and
// whatever is written lies in other buffers (rule 11).
static bool check_in_place(Verifier *v, const Site *s) {
    const PlanInstr *instr = s->instr;
    for (uint32_t i = 0; i < instr->operand_count; i++) {
        const PlanOperand *a = &instr->operand[i];
        // The workspace as an operand that is its whole buffer; empty where there is none.
        const PlanOperand workspace = {
            .buffer = instr->workspace,
            .bytes = instr->workspace == UINT32_MAX ? 0 : v->plan->buffer[instr->workspace].bytes};
        if (workspace.bytes && share_bytes(v, a, &workspace))
            return refuse(v, 9, s, "lies in the workspace", i);
        for (uint32_t j = 0; j < i; j++) {
            const PlanOperand *b = &instr->operand[j];
            // Readers may share.
            if ((a->access == PLAN_READ && b->access == PLAN_READ) || !share_bytes(v, a, b))
                continue;
            // Our own code writes nothing but the rows.
            if (instr->kind == INSTR_KERNEL && rows_apart(v, a, b))
                continue;
            const bool same =
                a->buffer == b->buffer && a->offset == b->offset && a->bytes == b->bytes;
            // In place: one range read, the same range written, by our own code. Libraries promise
            // no such thing but for sums of ranks, and two writes to one range have no order.
            if (!same || (instr->kind != INSTR_KERNEL && instr->kind != INSTR_ALL_REDUCE) ||
                (a->access != PLAN_READ && b->access != PLAN_READ))
                return verify_refuse_instr(v, 9, s->segment, s->index,
                                           "operands %u and %u share bytes", j, i);
        }
    }
    return true;
}

// Rule 7 against the first instruction with the same kernel.
static bool check_agreement(Verifier *v, const Site *s, const PlanInstr *first) {
    const PlanInstr *instr = s->instr;
    bool same = first->kind == instr->kind && first->operand_count == instr->operand_count &&
                first->imm_count == instr->imm_count;
    for (uint32_t i = 0; same && i < instr->operand_count; i++)
        same = first->operand[i].access == instr->operand[i].access &&
               first->operand[i].bytes == instr->operand[i].bytes &&
               first->operand[i].row == instr->operand[i].row &&
               first->operand[i].pitch == instr->operand[i].pitch;
    return same ||
           verify_refuse_instr(v, 7, s->segment, s->index,
                               "calls kernel %u with other operands than others do", instr->kernel);
}

// Rule 7 for what needs no other instruction: number of operands, access, immediates.
static bool check_form(Verifier *v, const Site *s) {
    const PlanInstr *instr = s->instr;
    const PlanOperand *o = instr->operand;
    bool good = false;
    switch (instr->kind) {
    case INSTR_FILL:
        // The immediate is a byte pattern.
        good = instr->operand_count == 1 && o[0].access == PLAN_WRITE && instr->imm_count == 1 &&
               instr->imm[0] >= 0 && instr->imm[0] <= 255;
        break;
    case INSTR_COPY:
        good = instr->operand_count == 2 && o[0].access == PLAN_WRITE && o[1].access == PLAN_READ &&
               o[0].bytes == o[1].bytes && instr->imm_count == 0;
        break;
    // verify_collectives has the sizes.
    case INSTR_ALL_REDUCE:
    case INSTR_ALL_GATHER:
    case INSTR_REDUCE_SCATTER:
    case INSTR_EXCHANGE:
        good = instr->operand_count == 2 && o[0].access == PLAN_WRITE && o[1].access == PLAN_READ &&
               instr->imm_count == (instr->kind == INSTR_ALL_GATHER ? 0 : 1);
        break;
    // A [m, k], B [k, n], C [m, n]; check_product has the sizes.
    case INSTR_PRODUCT:
        good = (instr->operand_count == 3 || instr->operand_count == 4) &&
               v->product_of[instr->kernel] != UINT32_MAX;
        break;
    case INSTR_KERNEL:
        good = instr->operand_count >= 1 && instr->operand_count <= OPERANDS_MAX &&
               v->product_of[instr->kernel] == UINT32_MAX;
        break;
    }
    return good || verify_refuse_instr(v, 7, s->segment, s->index, "has not the form of its kind");
}

// Bytes from the first element of a strided matrix to its last.
static bool matrix_bytes(PlanDType dtype, const int64_t dim[4], const int64_t stride[4],
                         uint64_t *out) {
    // Distance of the last element from the first, in elements.
    uint64_t last = 0, step;
    for (int i = 0; i < 4; i++)
        if (dim[i] < 1 || stride[i] < 0 ||
            __builtin_mul_overflow((uint64_t)(dim[i] - 1), (uint64_t)stride[i], &step) ||
            __builtin_add_overflow(last, step, &last))
            return false;
    return !__builtin_add_overflow(last, 1, &last) &&
           !__builtin_mul_overflow(last, plan_dtype_bytes(dtype), out);
}

// Of what is added to every row of C. Its sizes were checked with C's.
static uint64_t row_bytes(const PlanProduct *p) {
    return (uint64_t)p->n * plan_dtype_bytes(p->c);
}

static bool check_product(Verifier *v, const Site *s) {
    const PlanProduct *p = &v->plan->product[v->product_of[s->instr->kernel]];
    const PlanOperand *o = s->instr->operand;
    // A [b0, b1, m, k], B [b0, b1, k, n], C [b0, b1, m, n].
    const int64_t a_dim[4] = {p->batch[0], p->batch[1], p->m, p->k};
    const int64_t b_dim[4] = {p->batch[0], p->batch[1], p->k, p->n};
    const int64_t c_dim[4] = {p->batch[0], p->batch[1], p->m, p->n};
    uint64_t a, b, c;
    if (!matrix_bytes(p->a, a_dim, p->a_stride, &a) ||
        !matrix_bytes(p->b, b_dim, p->b_stride, &b) ||
        !matrix_bytes(p->c, c_dim, p->c_stride, &c) || a != o[0].bytes || b != o[1].bytes ||
        c != o[2].bytes || o[0].access != PLAN_READ || o[1].access != PLAN_READ ||
        o[2].access != (p->accumulate == 1 ? PLAN_UPDATE : PLAN_WRITE) ||
        (p->accumulate == 2) != (s->instr->operand_count == 4) ||
        (p->accumulate == 2 && (o[3].access != PLAN_READ || o[3].bytes != row_bytes(p))))
        return verify_refuse_instr(v, 7, s->segment, s->index,
                                   "has operands its product does not fit");
    return true;
}

// Batch x rows x columns of tiles, edges rounded up; one where a single call computes all. False on
// overflow.
static bool product_tiles(const PlanProduct *row, uint64_t *out) {
    if (row->library == PLAN_CUBLASLT) {
        *out = 1;
        return row->tile_m == row->m && row->tile_n == row->n;
    }
    *out = (uint64_t)((row->m - 1) / row->tile_m + 1);
    return !__builtin_mul_overflow(*out, (uint64_t)((row->n - 1) / row->tile_n + 1), out) &&
           !__builtin_mul_overflow(*out, (uint64_t)row->batch[0], out) &&
           !__builtin_mul_overflow(*out, (uint64_t)row->batch[1], out);
}

// Rule 7 for the rows: one a kernel, as many tiles as the kernel.
static bool check_rows(Verifier *v) {
    const Plan *p = v->plan;
    for (uint32_t i = 0; i < p->product_count; i++) {
        const PlanProduct *row = &p->product[i];
        if (row->kernel >= p->kernel_count || (uint32_t)row->a >= PLAN_DTYPE_COUNT ||
            (uint32_t)row->b >= PLAN_DTYPE_COUNT || (uint32_t)row->c >= PLAN_DTYPE_COUNT ||
            row->library < PLAN_ONEDNN || row->library > PLAN_CUBLASLT || row->accumulate > 2)
            return verify_refuse(v, 1, "product %u has a field out of range", i);
        if (v->product_of[row->kernel] != UINT32_MAX)
            return verify_refuse(v, 7, "kernel %u has two product rows", row->kernel);
        v->product_of[row->kernel] = i;
        if (row->tile_m < 1 || row->tile_n < 1 || row->m < 1 || row->n < 1 || row->k < 1 ||
            row->batch[0] < 1 || row->batch[1] < 1)
            return verify_refuse(v, 7, "product %u has a size below 1", i);
        // Rows of one matrix, which only a GPU's library adds.
        if (row->accumulate == 2 && (row->library != PLAN_CUBLASLT || row->batch[0] != 1 ||
                                     row->batch[1] != 1 || row->c_stride[3] != 1))
            return verify_refuse(v, 7, "product %u adds a row that it can't", i);
        uint64_t tiles;
        if (!product_tiles(row, &tiles) || tiles != p->kernel[row->kernel].tiles)
            return verify_refuse(v, 7, "product %u has not the tiles of kernel %u", i, row->kernel);
    }
    return true;
}

// first: by kernel, the first instruction that calls it.
static bool check_instr(Verifier *v, const Site *s, const PlanInstr **first) {
    const Plan *p = v->plan;
    const PlanInstr *instr = s->instr;
    const bool called = instr->kind == INSTR_KERNEL || instr->kind == INSTR_PRODUCT;
    if ((uint32_t)instr->kind > INSTR_EXCHANGE || instr->stream >= p->stream_count ||
        instr->begin > PLAN_TIME_MAX || instr->duration > PLAN_TIME_MAX ||
        (called && instr->kernel >= p->kernel_count))
        return verify_refuse_instr(v, 1, s->segment, s->index, "has a field out of range");
    if (!check_form(v, s))
        return false;
    // Before sharing is checked: addresses trust that buffers exist.
    for (uint32_t i = 0; i < instr->operand_count; i++)
        if (!check_operand(v, s, i))
            return false;
    if (!check_near(v, s) || !check_workspace(v, s) || !check_in_place(v, s))
        return false;
    if (instr->kind == INSTR_PRODUCT && !check_product(v, s))
        return false;
    if (!called)
        return true;
    if (!first[instr->kernel])
        first[instr->kernel] = instr;
    return check_agreement(v, s, first[instr->kernel]);
}

// Rule 10 for results, which are read after the last instruction.
static bool check_results_live(Verifier *v) {
    const Plan *p = v->plan;
    for (uint32_t i = 0; i < p->entry_count; i++) {
        const PlanEntry *e = &p->entry[i];
        for (uint32_t j = 0; j < e->result_count; j++) {
            const PlanBuffer *b = &p->buffer[e->result[j].buffer];
            // 64 bits: last may be UINT32_MAX.
            if ((uint64_t)b->last + 1 < v->entry_positions[i])
                return verify_refuse(v, 10, "result %.100s does not live to the end of %.100s",
                                     e->result[j].name, e->name);
        }
    }
    return true;
}

// Rule 5's other half: what nothing adds to is no accumulator.
static bool check_carried_used(Verifier *v) {
    const Plan *p = v->plan;
    for (uint32_t i = 0; i < p->buffer_count; i++)
        if (p->buffer[i].carried && v->carried_extent[i] == 0)
            return verify_refuse(v, 5,
                                 "buffer %u (%.100s) is carried, but nothing repeated uses it", i,
                                 p->buffer[i].name);
    return true;
}

bool verify_calls(Verifier *v) {
    const Plan *p = v->plan;
    const PlanInstr **first = plan_alloc(v->memory, p->kernel_count, sizeof *first);
    if (!first)
        return verify_no_memory(v);
    // First: it fills product_of, which tells products from kernels below.
    if (!check_rows(v))
        return false;
    for (uint32_t i = 0; i < p->segment_count; i++)
        for (uint32_t j = 0; j < p->segment[i].instr_count; j++) {
            const Site site = {.segment = i,
                               .index = j,
                               .instr = &p->segment[i].instr[j],
                               .entry = v->segment_entry[i],
                               .position = v->segment_first[i] + j,
                               .calls = v->segment_calls[i]};
            if (!check_instr(v, &site, first))
                return false;
        }
    return check_carried_used(v) && check_results_live(v);
}
