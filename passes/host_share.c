// The period that balances host and copies: Deep Optimizer States (arXiv 2410.21316), whose rule
// is turned round, for here most slices are the GPU's.
//
// A slice of the GPU's takes the engine of copies d: weight and moments each way. One of the host's
// takes the host h, and that engine g: the gradient's way out. With one of k at the host both are
// busy alike where h = (k - 1) d + g; k is rounded up, so it is the host that waits. What the GPU
// computes is hidden behind its copies. Cost: three looks at curves.
#include "passes/host_share.h"

#include "ir/check.h"
#include "ir/op.h"
#include "passes/cost.h"

// A program that was measured may have had no such kernels.
static const Rates *known_rates(const PassCtx *cx, Rates *assumed) {
    rates_assume(cx->options->target, "", 1, assumed);
    const Rates *r = cx->options->rates;
    if (!r)
        return assumed;
    if (r->bytes[RATE_HOST].count > 0)
        return r;
    const RateCurve host = assumed->bytes[RATE_HOST];
    *assumed = *r;
    assumed->bytes[RATE_HOST] = host;
    return assumed;
}

int host_share(const PassCtx *cx, const Node *update, size_t slice) {
    if (cx->options->gpu.count == 0)
        return 0;
    Rates room;
    const Rates *r = known_rates(cx, &room);
    const size_t whole = type_bytes(&update->result[0].type);
    const double part = slice < whole ? (double)slice / (double)whole : 1;
    // Operands: weight, moments, gradient, scalars.
    double moved = 0;
    for (int k = 0; k < update->result_count; k++)
        moved += (double)type_bytes(&update->result[k].type);
    const double gradient = (double)type_bytes(&update->input[update->result_count]->type);
    const uint64_t host = r->start + rates_bytes_time(r, RATE_HOST, part * (2 * moved + gradient));
    const uint64_t sent = cost_move(r, RATE_OUT, (int64_t)(part * gradient));
    const uint64_t in = rates_bytes_time(r, RATE_IN, part * moved);
    const uint64_t out = rates_bytes_time(r, RATE_OUT, part * moved);
    const uint64_t device = (in > out ? in : out) + r->start * (uint64_t)update->result_count;
    if (host <= sent || device == 0)
        return 1;
    const uint64_t others = (host - sent + device - 1) / device;
    return others < INT32_MAX - 1 ? (int)others + 1 : INT32_MAX;
}
