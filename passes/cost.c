// A roofline with curves for roofs: an instruction takes as long as its arithmetic or its traffic,
// whichever is longer, and a start before that. A kernel whose time was measured takes that.
//
// Operators are priced before fusion knows which of them share a kernel: each as if alone, so that
// what fusion saves is not in it. Views and leaves run nothing.
#include "passes/cost.h"

#include "ir/check.h"
#include "ir/far.h"
#include "ir/op.h"

const char *limit_name(Limit limit) {
    static const char *const name[LIMIT_COUNT] = {"compute", "memory", "copies", "starts"};
    return name[limit];
}

// What is read first tells the type that is computed with.
static bool reads_bf16(const Node *n) {
    return n->input_count > 0 && n->input[0]->type.dtype == DT_BF16;
}

bool cost_family(const Node *n, RateFamily *out) {
    const OpInfo *info = op_info(n->op);
    switch (info->lowering) {
    case LOWER_NONE:
    case LOWER_VIEW:
        return false;
    case LOWER_MOVE:
        *out = n->op == OP_OFFLOAD ? RATE_OUT : RATE_IN;
        return true;
    case LOWER_PRODUCT:
        *out = reads_bf16(n) ? RATE_PRODUCT_BF16 : RATE_PRODUCT;
        return true;
    case LOWER_CONVOLUTION:
        *out = reads_bf16(n) ? RATE_CONVOLUTION_BF16 : RATE_CONVOLUTION;
        return true;
    case LOWER_ATTENTION:
        *out = reads_bf16(n) ? RATE_ATTENTION_BF16 : RATE_ATTENTION;
        return true;
    case LOWER_COLUMNS:
        *out = RATE_COLUMNS;
        return true;
    case LOWER_SCATTER:
        *out = RATE_INDEXED;
        return true;
    case LOWER_SCALAR:
    case LOWER_ROWS:
    case LOWER_PART:
    case LOWER_EXPANDED:
        *out = info->family == FAMILY_INDEXED  ? RATE_INDEXED
               : info->family == FAMILY_UPDATE ? RATE_UPDATE
                                               : RATE_ROWS;
        return true;
    }
    UNREACHABLE();
}

uint64_t cost_move(const Rates *r, RateFamily direction, int64_t bytes) {
    return r->start + rates_bytes_time(r, direction, (double)bytes);
}

uint64_t cost_node(const Rates *r, const Node *n) {
    RateFamily family;
    if (!cost_family(n, &family))
        return 0;
    if (family == RATE_OUT || family == RATE_IN)
        return cost_move(r, family, (int64_t)type_bytes(&n->result[0].type));
    const uint64_t compute = rates_flops_time(r, family, (double)node_flops(n));
    const uint64_t memory = rates_bytes_time(r, family, (double)node_bytes(n));
    const int64_t sum = (int64_t)type_bytes(&n->result[0].type);
    const uint64_t moves =
        node_sums_far(n) ? cost_move(r, RATE_IN, sum) + cost_move(r, RATE_OUT, sum) : 0;
    return r->start + moves + (compute > memory ? compute : memory);
}

InstrCost cost_instr(const Rates *r, const Plan *p, const PlanInstr *instr) {
    const RateFamily family = rates_family(p, instr);
    InstrCost c = {.start = r->start, .limit = LIMIT_COPY};
    if (family == RATE_OUT || family == RATE_IN) {
        c.work = rates_bytes_time(r, family, (double)instr->operand[0].bytes);
        return c;
    }
    const uint64_t compute = rates_flops_time(r, family, (double)instr->flops);
    const uint64_t memory = rates_bytes_time(r, family, (double)instr->bytes);
    c.work = compute > memory ? compute : memory;
    if (instr->kind != INSTR_KERNEL && instr->kind != INSTR_PRODUCT)
        return c;
    c.limit = compute > memory ? LIMIT_COMPUTE : LIMIT_MEMORY;
    const RateKernel *known = rates_find_kernel(r, rates_kernel_key(p->kernel[instr->kernel].text));
    if (known)
        c.work = known->picoseconds;
    return c;
}
