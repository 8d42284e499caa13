// Breaking plans on purpose, and finding out whether a broken one still computes the same.
#ifndef PLIM_TESTS_PLAN_CORRUPT_H
#define PLIM_TESTS_PLAN_CORRUPT_H

#include "runtime/plan.h"

// name, whether every change of this kind must be refused (the others may hit what makes no
// difference: two independent instructions swapped, a wait that another one implies), and by which
// rule, or 0: by some rule
#define PLAN_CORRUPTIONS(C)                                                                        \
    C(SHIFTED_OFFSET, "shifted offset", false, 0)                                                  \
    C(SHORTENED_RANGE, "shortened live range", true, 0)                                            \
    C(DROPPED_WAIT, "dropped wait", false, 0)                                                      \
    C(DROPPED_SIGNAL, "dropped signal", true, 0)                                                   \
    C(SWAPPED_OPERANDS, "swapped operands", true, 0)                                               \
    C(SWAPPED_INSTRUCTIONS, "swapped instructions", false, 0)                                      \
    C(WRONG_STREAM, "wrong stream", false, 0)                                                      \
    C(WRONG_KERNEL, "wrong kernel", true, 0)                                                       \
    C(CHANGED_IMMEDIATE, "changed immediate", true, 0)                                             \
    C(SMALLER_SPACE, "smaller space", true, 0)                                                     \
    C(OVERLAPPING_BUFFERS, "overlapping buffers", true, 0)                                         \
    C(WRONG_ACCESS, "wrong access", true, 0)                                                       \
    C(SMALLER_OPERAND, "smaller operand", true, 0)                                                 \
    C(SHIFTED_OPERAND, "shifted operand", true, 0)                                                 \
    C(WRONG_BUFFER, "wrong buffer", false, 0)                                                      \
    C(DROPPED_INSTRUCTION, "dropped instruction", true, 0)                                         \
    C(DUPLICATED_INSTRUCTION, "duplicated instruction", false, 0)                                  \
    C(WRONG_SLOT_BYTES, "wrong slot bytes", true, 0)                                               \
    C(WRONG_CARRIED, "wrong carried flag", true, 0)                                                \
    C(DROPPED_FILL, "dropped fill", true, 0)                                                       \
    C(WRONG_RESULT, "wrong result", true, 0)                                                       \
    C(WRONG_COMMIT, "wrong commit", true, 0)                                                       \
    C(DROPPED_COMMIT, "dropped commit", true, 0)                                                   \
    C(SMALLER_WORKSPACE, "smaller workspace", true, 0)                                             \
    C(SHARED_WORKSPACE, "shared workspace", true, 0)                                               \
    C(CHANGED_LOAD, "changed load", true, 0)                                                       \
    C(DROPPED_CALL, "dropped call", true, 0)                                                       \
    C(WRONG_SLOT, "wrong slot", true, 0)                                                           \
    C(CHANGED_PRODUCT, "changed product", true, 0)                                                 \
    C(CHANGED_TEXT, "changed kernel text", true, 0)                                                \
    C(CHANGED_SIGNATURE, "changed signature", true, 0)                                             \
    C(WRONG_INPUT, "wrong input buffer", true, 0)                                                  \
    C(MORE_WORKERS, "more workers", true, 0)                                                       \
    C(MISALIGNED, "misaligned buffer", true, 0)                                                    \
    C(CHANGED_LAUNCH, "changed launch", true, 0) /* from here on: not of every plan */             \
    C(WRONG_MAP, "wrong tensor map", true, 22)                                                     \
    C(WRONG_JOINT, "wrong joint", true, 23)                                                        \
    C(WRONG_SUM, "wrong far sum", true, 16) /* signed anew */                                      \
    C(WRONG_ROWS, "wrong rows", true, 0)

typedef enum {
#define C(ID, NAME, STRICT, RULE) CORRUPT_##ID,
    PLAN_CORRUPTIONS(C)
#undef C
        CORRUPT_COUNT
} PlanCorruption;

const char *plan_corruption_name(PlanCorruption kind);
bool plan_corruption_is_strict(PlanCorruption kind);
// The rule that must refuse it; 0: any.
int plan_corruption_rule(PlanCorruption kind);
// Whether the verifier's sentence names a rule, and that one.
bool plan_corruption_is_refused(PlanCorruption kind, const char *text);

// Changes a plan of its own memory (decoded or parsed) in one place that seed chooses. False where
// the plan has no place for this kind.
bool plan_corrupt(Plan *p, PlanCorruption kind, uint64_t seed);

// Executes every entry on bytes, each kernel a hash of what it reads, streams interleaved and
// untouched memory filled by seed, each joint in one or apart, and gives a hash of all results and
// states after each. Only for plans that plan_verify accepts. False without memory, or when no
// stream can go on.
bool plan_outcome(const Plan *p, uint64_t seed, uint64_t *out);

#endif
