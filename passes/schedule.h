// Inside the schedule of copies: what choosing their places hands to making streams and events.
#ifndef PLIM_PASSES_SCHEDULE_H
#define PLIM_PASSES_SCHEDULE_H

#include "passes/pass.h"
#include "runtime/plan_rates.h"

// Kernels and all else stay on the first; copies out to far memory and back in have one each, and
// so do kernels of a GPU's host.
enum { STREAM_COMPUTE, STREAM_OUT, STREAM_IN, STREAM_HOST, STREAM_COUNT };

// Gap g of a segment is before the instruction number g of the first stream; the last gap is after
// all of them. In a gap, copies out come before copies in.
typedef struct {
    uint32_t instr;  // in the segment, as lowered
    bool out;        // to far memory; else from it. A kernel of the host is one, too
    bool host;       // it is such a kernel, and takes nothing of the device
    int early, late; // gaps between which others leave it free
    int gap;         // where it begins
    int join; // of a copy out: the gap by which whoever comes waits for it; the last gap: nobody
              // does
    uint64_t time; // picoseconds it takes beside compute
} ScheduledCopy;

typedef struct {
    uint32_t entry, first; // position of the segment's first instruction
    PlanSegment *segment;
    int compute_count;
    uint32_t *compute; // by number: its place in the segment, as lowered
    int copy_count;
    ScheduledCopy *copy; // in the order of the segment
} CopySchedule;

// Whether it copies between memories, or computes in a GPU's far memory.
bool instr_is_move(const Plan *p, const PlanInstr *instr);
bool instr_is_host(const Plan *p, const PlanInstr *instr);
// Whether two operands touch a byte in common and one of them writes.
bool operands_meet(const PlanOperand *x, const PlanOperand *y);

// The segments of an entry with copies, or kernels of the host, of their own streams, in out, which
// has room for all of the plan's segments. Their copies get places; no instruction is changed.
int schedule_copies(const Plan *p, uint32_t entry, const Rates *rates, Arena *a, CopySchedule *out);
// Puts a segment in the new order, with streams and events, and fits live ranges to it. Lists of
// the plan's are made in a.
void schedule_events(Plan *p, const CopySchedule *s, Arena *a, Arena *scratch);

#endif
