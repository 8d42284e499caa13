// Streams: for now every instruction is on stream 0, in the planner's linear order, so no events
// are needed.
#include "passes/pass.h"

#include "ir/check.h"

PassResult pass_schedule(Module *m, PassCtx *cx) {
    (void)m;
    Plan *p = cx->plan;
    CHECK(p != NULL);
    p->stream_count = 1;
    for (uint32_t i = 0; i < p->segment_count; i++) {
        // Without events nobody waits and nobody signals.
        p->segment[i].event_count = 0;
        for (uint32_t k = 0; k < p->segment[i].instr_count; k++) {
            p->segment[i].instr[k].stream = 0;
            p->segment[i].instr[k].wait_count = 0;
            p->segment[i].instr[k].signal = UINT32_MAX;
        }
    }
    return PASS_CHANGED;
}
