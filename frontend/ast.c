// Questions about the syntax tree.
// Only what is written counts, not what it is worth: two trees are the same where names (interned,
// so == compares them), whole numbers and operators agree. An index x[i .. i + 4] needs this to see
// that its size is 4 whatever i is.
#include "frontend/ast.h"

// Left-deep chains can be very long: past the limit they count as different.
enum { SAME_DEPTH_MAX = 64 };

static bool same_within(const Expr *x, const Expr *y, int depth) {
    if (!x || !y || x->kind != y->kind || depth > SAME_DEPTH_MAX)
        return false;
    switch (x->kind) {
    case EXPR_INT:
        return x->as.whole == y->as.whole;
    case EXPR_NAME:
        return x->as.text == y->as.text;
    case EXPR_NEGATE:
        return same_within(x->left, y->left, depth + 1);
    case EXPR_FIELD:
        return x->as.text == y->as.text && same_within(x->left, y->left, depth + 1);
    case EXPR_BINARY:
        // No commutativity: i + 1 and 1 + i are different texts.
        return x->op == y->op && same_within(x->left, y->left, depth + 1) &&
               same_within(x->right, y->right, depth + 1);
    case EXPR_NONE:
    case EXPR_BOOL:
    case EXPR_FLOAT:
    case EXPR_TEXT:
    case EXPR_HOLE:
    case EXPR_LIST:
    case EXPR_TUPLE:
    case EXPR_CALL:
    case EXPR_INDEX:
    case EXPR_NOT:
    case EXPR_RANGE:
    case EXPR_ELLIPSIS:
        return false; // not compared: the caller only needs simple starts of ranges
    }
    return false;
}

bool expr_same(const Expr *x, const Expr *y) {
    return same_within(x, y, 0);
}
