// Published methods, written for comparison only: what they need for a budget.
#ifndef PLIM_TESTS_UNIT_RETAIN_ORACLE_H
#define PLIM_TESTS_UNIT_RETAIN_ORACLE_H

#include "passes/mip/mip_solve.h"
#include "passes/retain/retain.h"
#include "tests/unit/retain_sample.h"

// Checkmate's program (arXiv 1910.02653, section 4): least time of a schedule without moves that
// needs no more than budget bytes. Every task makes at most one value.
Mip *retain_checkmate(const RetainProblem *p, int64_t budget, Arena *a);

// Rotor (arXiv 1911.13214), its recurrence over (s, t, m) with slots of a byte, for all m to
// budget.
typedef struct RetainRotor RetainRotor;
typedef struct {
    int64_t time; // least of stages s .. t; INT64_MAX where m bytes don't do
    int split;    // s .. split - 1 run first without keeping anything; 0: stage s keeps its result
} RetainRotorCell;
const RetainRotor *retain_rotor(const RetainStage *stage, int count, int64_t budget, Arena *a);
RetainRotorCell retain_rotor_at(const RetainRotor *rotor, int s, int t, int64_t m);

// POFO (NeurIPS 2021), for chains whose values all move at one rate and whose stages take multiples
// of it; the rotor has this budget or a larger one.
typedef struct {
    int64_t promised; // least time, bytes flowing one by one; INT64_MAX where there is no schedule
    RetainSchedule schedule; // what it chooses, values moving as a whole
} RetainPofo;
RetainPofo retain_pofo(const RetainProblem *p, const RetainStage *stage, int count,
                       const RetainRotor *rotor, int64_t budget, Arena *a);

#endif
