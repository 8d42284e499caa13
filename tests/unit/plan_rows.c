// Rows that lie apart: which bytes of an operand hold numbers.
#include "runtime/plan.h"

#include <criterion/criterion.h>

// [3, 5] in bf16, rows 16 bytes apart.
static const PlanBuffer odd = {.bytes = 48, .dtype = PLAN_BF16, .rank = 2, .dim = {3, 5}};

static void check(const PlanBuffer *b, uint64_t offset, uint64_t bytes, const char *expected) {
    const PlanOperand o = {.offset = offset, .bytes = bytes};
    char got[128] = "";
    size_t used = 0;
    uint64_t at = 0, piece;
    for (; plan_operand_piece(b, &o, &at, &piece); at += piece)
        used += (size_t)snprintf(got + used, sizeof got - used, "%d+%d ", (int)at, (int)piece);
    cr_assert_str_eq(got, expected);
}

Test(plan_rows, pieces) {
    check(&odd, 0, 42, "0+10 16+10 32+10 "); // the whole value
    check(&odd, 0, 48, "0+10 16+10 32+10 ");
    check(&odd, 16, 26, "0+10 16+10 ");
    check(&odd, 4, 20, "0+6 12+8 "); // cut inside of rows
    check(&odd, 12, 30, "4+10 20+10 ");
    check(&odd, 10, 6, "");
    check(&odd, 0, 0, "");
}

// Of an operand with rows those alone, from its beginning on.
Test(plan_rows, of_the_operand) {
    const PlanBuffer whole = {.bytes = 192, .dtype = PLAN_F32, .rank = 3, .dim = {4, 3, 4}};
    PlanOperand o = {.offset = 16, .bytes = 112, .row = 16, .pitch = 48};
    uint64_t at = 0, piece, rows = 0;
    for (; plan_operand_piece(&whole, &o, &at, &piece); at += piece, rows++) {
        cr_assert_eq(at, 48 * rows);
        cr_assert_eq(piece, 16);
    }
    cr_assert_eq(rows, 3);
    at = 20; // between two of them
    cr_assert(plan_operand_piece(&whole, &o, &at, &piece));
    cr_assert_eq(at, 48);
}

Test(plan_rows, side_by_side) {
    const PlanBuffer dense = {.bytes = 30, .dtype = PLAN_BF16, .rank = 2, .dim = {3, 5}};
    check(&dense, 0, 30, "0+30 ");
    check(&dense, 6, 10, "0+10 ");
    const PlanBuffer plain = {.bytes = 64, .dtype = PLAN_F32, .rank = 1, .dim = {3}};
    check(&plain, 0, 64, "0+64 ");
    const PlanBuffer ragged = {.bytes = 49, .dtype = PLAN_BF16, .rank = 2, .dim = {3, 5}};
    check(&ragged, 0, 49, "0+49 ");
    const PlanBuffer empty = {.bytes = 48, .dtype = PLAN_BF16, .rank = 2, .dim = {0, 5}};
    check(&empty, 0, 48, "0+48 ");
}
