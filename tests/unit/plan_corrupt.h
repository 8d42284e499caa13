// Breaking plans on purpose, and finding out whether a broken one still computes the same.
#ifndef PLIM_TESTS_PLAN_CORRUPT_H
#define PLIM_TESTS_PLAN_CORRUPT_H

#include "runtime/plan.h"

// name, whether every change of this kind must be refused (the others may hit what makes no
// difference: two independent instructions swapped, a wait that another one implies)
#define PLAN_CORRUPTIONS(C)                                                                        \
    C(SHIFTED_OFFSET, "shifted offset", false)                                                     \
    C(SHORTENED_RANGE, "shortened live range", true)                                               \
    C(DROPPED_WAIT, "dropped wait", false)                                                         \
    C(DROPPED_SIGNAL, "dropped signal", true)                                                      \
    C(SWAPPED_OPERANDS, "swapped operands", true)                                                  \
    C(SWAPPED_INSTRUCTIONS, "swapped instructions", false)                                         \
    C(WRONG_STREAM, "wrong stream", false)                                                         \
    C(WRONG_KERNEL, "wrong kernel", true)                                                          \
    C(CHANGED_IMMEDIATE, "changed immediate", true)                                                \
    C(SMALLER_SPACE, "smaller space", true)                                                        \
    C(OVERLAPPING_BUFFERS, "overlapping buffers", true)                                            \
    C(WRONG_ACCESS, "wrong access", true)                                                          \
    C(SMALLER_OPERAND, "smaller operand", true)                                                    \
    C(SHIFTED_OPERAND, "shifted operand", true)                                                    \
    C(WRONG_BUFFER, "wrong buffer", false)                                                         \
    C(DROPPED_INSTRUCTION, "dropped instruction", true)                                            \
    C(DUPLICATED_INSTRUCTION, "duplicated instruction", false)                                     \
    C(WRONG_SLOT_BYTES, "wrong slot bytes", true)                                                  \
    C(WRONG_CARRIED, "wrong carried flag", true)                                                   \
    C(DROPPED_FILL, "dropped fill", true)                                                          \
    C(WRONG_RESULT, "wrong result", true)                                                          \
    C(WRONG_COMMIT, "wrong commit", true)                                                          \
    C(DROPPED_COMMIT, "dropped commit", true)                                                      \
    C(SMALLER_WORKSPACE, "smaller workspace", true)                                                \
    C(SHARED_WORKSPACE, "shared workspace", true)                                                  \
    C(CHANGED_LOAD, "changed load", true)                                                          \
    C(DROPPED_CALL, "dropped call", true)                                                          \
    C(WRONG_SLOT, "wrong slot", true)                                                              \
    C(CHANGED_PRODUCT, "changed product", true)                                                    \
    C(CHANGED_TEXT, "changed kernel text", true)                                                   \
    C(CHANGED_SIGNATURE, "changed signature", true)                                                \
    C(WRONG_INPUT, "wrong input buffer", true)                                                     \
    C(MORE_WORKERS, "more workers", true)                                                          \
    C(MISALIGNED, "misaligned buffer", true)                                                       \
    C(CHANGED_LAUNCH, "changed launch", true) /* of a GPU's plan */

typedef enum {
#define C(ID, NAME, STRICT) CORRUPT_##ID,
    PLAN_CORRUPTIONS(C)
#undef C
        CORRUPT_COUNT
} PlanCorruption;

const char *plan_corruption_name(PlanCorruption kind);
bool plan_corruption_is_strict(PlanCorruption kind);

// Changes a plan of its own memory (decoded or parsed) in one place that seed chooses. False where
// the plan has no place for this kind.
bool plan_corrupt(Plan *p, PlanCorruption kind, uint64_t seed);

// Executes every entry on bytes, each kernel a hash of what it reads, streams interleaved and
// untouched memory filled by seed, and gives a hash of all results and states after each. Only for
// plans that plan_verify accepts. False without memory, or when no stream can go on.
bool plan_outcome(const Plan *p, uint64_t seed, uint64_t *out);

#endif
