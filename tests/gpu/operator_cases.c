// Random nodes of every operator with what the reference evaluator says of them, for run_cases on a
// machine that need not have the compiler:
//   operator_cases COUNT OUT.graph OUT.cases
// OUT.graph has an entry a case; OUT.cases its arguments and results.
#include "case_file.h"

#include <stdio.h>
#include <stdlib.h>

// Operators that no entry computes as they are: autodiff and optimize replace them, or they need a
// state, micro-batches or one another.
static bool has_cases(Op op) {
    const OpFamily family = op_info(op)->family;
    return family != FAMILY_TRAINING && family != FAMILY_MOVE && op != OP_INPUT && op != OP_STATE &&
           op != OP_ACCUMULATE;
}

static void add_case(Op op, uint64_t seed, CaseFile *out) {
    Arena *a = arena_create();
    Sample s = sample_create(a, op, seed);
    case_file_add(out, &s, arena_format(a, "%s_%llu", op_info(op)->name, (unsigned long long)seed));
    arena_release(a);
}

int main(int argc, char **argv) {
    const uint64_t each = argc == 4 ? strtoull(argv[1], NULL, 10) : 0;
    uint64_t count = 0;
    for (int op = 0; op < OP_COUNT; op++)
        count += has_cases((Op)op) ? each : 0;
    CaseFile out;
    if (argc != 4 || !case_file_open(argv[2], argv[3], count, &out)) {
        fprintf(stderr, "usage: operator_cases COUNT OUT.graph OUT.cases\n");
        return 2;
    }
    for (int op = 0; op < OP_COUNT; op++)
        for (uint64_t seed = 0; seed < each && has_cases((Op)op); seed++)
            add_case((Op)op, seed, &out);
    printf("%llu cases\n", (unsigned long long)count);
    return case_file_close(&out) ? 0 : 1;
}
