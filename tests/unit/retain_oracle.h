// Published methods, written for comparison only: what they need for a budget.
#ifndef PLIM_TESTS_UNIT_RETAIN_ORACLE_H
#define PLIM_TESTS_UNIT_RETAIN_ORACLE_H

#include "passes/mip/mip_solve.h"
#include "passes/retain/retain.h"
#include "tests/unit/retain_sample.h"

// Checkmate's program (arXiv 1910.02653, section 4): least time of a schedule without moves that
// needs no more than budget bytes. Every task makes at most one value.
Mip *retain_checkmate(const RetainProblem *p, int64_t budget, Arena *a);

// By bytes, 0 .. budget: least time of the chain, INT64_MAX where there is none: Rotor (arXiv
// 1911.13214), its recurrence over (s, t, m) with slots of a byte.
const int64_t *retain_rotor(const RetainStage *stage, int count, int64_t budget, Arena *a);

#endif
