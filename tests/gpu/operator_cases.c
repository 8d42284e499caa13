// Random nodes of every operator with what the reference evaluator says of them, for run_cases on a
// machine that need not have the compiler:
//   operator_cases COUNT products|others OUT.graph OUT.cases
// OUT.graph has an entry a case; OUT.cases its arguments and results. Products are apart: a library
// that can't compute one of them ends a program before its first case.
#include "case_file.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Operators that no entry computes as they are: autodiff and optimize replace them, or they need a
// state, micro-batches or one another.
static bool has_cases(Op op, bool products) {
    const OpFamily family = op_info(op)->family;
    return (op_info(op)->lowering == LOWER_PRODUCT) == products && family != FAMILY_TRAINING &&
           family != FAMILY_MOVE && op != OP_INPUT && op != OP_STATE && op != OP_ACCUMULATE;
}

static void add_case(Op op, uint64_t seed, CaseFile *out) {
    Arena *a = arena_create();
    Sample s = sample_create(a, op, seed);
    case_file_add(out, &s, arena_format(a, "%s_%llu", op_info(op)->name, (unsigned long long)seed));
    arena_release(a);
}

int main(int argc, char **argv) {
    const uint64_t each = argc == 5 ? strtoull(argv[1], NULL, 10) : 0;
    const bool products = argc == 5 && strcmp(argv[2], "products") == 0;
    uint64_t count = 0;
    for (int op = 0; op < OP_COUNT; op++)
        count += has_cases((Op)op, products) ? each : 0;
    CaseFile out;
    if (argc != 5 || (!products && strcmp(argv[2], "others") != 0) ||
        !case_file_open(argv[3], argv[4], count, &out)) {
        fprintf(stderr, "usage: operator_cases COUNT products|others OUT.graph OUT.cases\n");
        return 2;
    }
    for (int op = 0; op < OP_COUNT; op++)
        for (uint64_t seed = 0; seed < each && has_cases((Op)op, products); seed++)
            add_case((Op)op, seed, &out);
    printf("%llu cases\n", (unsigned long long)count);
    return case_file_close(&out) ? 0 : 1;
}
