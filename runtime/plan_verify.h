// What the parts of the verifier share. Its one entry is plan_verify of runtime/plan.h.
#ifndef PLIM_RUNTIME_PLAN_VERIFY_H
#define PLIM_RUNTIME_PLAN_VERIFY_H

#include "runtime/plan.h"

// In which memory a kernel's operands are.
enum { VERIFY_IN_DEVICE = 1, VERIFY_IN_HOST = 2 };

typedef struct {
    const Plan *plan;
    PlimError *error;
    PlimStatus status;
    PlanMemory *memory;
    uint64_t *space_base;      // by space: its place in the one range of addresses
    uint32_t *segment_entry;   // by segment: the entry that calls it
    uint32_t *segment_first;   // by segment: position of its first instruction
    uint32_t *segment_calls;   // by segment: how often the entry calls it
    uint32_t *entry_positions; // by entry: instructions of its segments
    uint32_t *input_of;        // by buffer: input of its entry, or UINT32_MAX
    uint32_t *state_of;        // by buffer: state, or UINT32_MAX
    uint32_t *product_of;      // by kernel: product row, or UINT32_MAX
    uint8_t *called_in;        // by kernel, of those no library computes: VERIFY_IN_..., or'ed
    bool any_host;             // kernels of the host so far
    uint32_t host_stream;      // where the first of them stands
    uint64_t *carried_extent;  // by buffer: end of what a repeated segment touches, carried ones
} Verifier;

// Say what is wrong, once; give false.
bool verify_refuse(Verifier *v, int rule, const char *format, ...)
    __attribute__((format(printf, 3, 4)));
bool verify_refuse_instr(Verifier *v, int rule, uint32_t segment, uint32_t instr,
                         const char *format, ...) __attribute__((format(printf, 5, 6)));
bool verify_no_memory(Verifier *v);

// Whether a buffer in range is in the device's memory.
bool verify_is_near(const Verifier *v, uint32_t buffer);

// Bytes of a shape; false where a dim is below 1 or the product overflows.
bool verify_shape_bytes(PlanDType dtype, uint32_t rank, const int64_t *dim, uint64_t *out);

// The parts, in order; each needs those before it. plan_verify.c lists the rules.
bool verify_structure(Verifier *v);   // rules 1 to 5
bool verify_calls(Verifier *v);       // rules 6 to 10
bool verify_launches(Verifier *v);    // rule 19
bool verify_maps(Verifier *v);        // rule 22
bool verify_collectives(Verifier *v); // rule 21
bool verify_joints(Verifier *v);      // rule 23
bool verify_buffers(Verifier *v);     // rules 11 and 12
bool verify_run(Verifier *v);         // rules 13 to 18

#endif
