// Which values are in far memory, and which views of dense memory are one range of bytes.
//
// Copies between memories move ranges: of all strided views only those are of use there that cut
// nothing but the first axis that is longer than 1.
#include "ir/far.h"

bool node_keeps_far(const Node *n) {
    return n->op == OP_RESHAPE || n->op == OP_SLICE || n->op == OP_SPLIT || n->op == OP_CONCAT ||
           node_works_far(n);
}

// Element by element, in operations that every processor rounds alike.
bool node_works_far(const Node *n) {
    return n->op == OP_SGD || n->op == OP_MOMENTUM || n->op == OP_ADAMW;
}

bool node_sums_far(const Node *n) {
    return n->op == OP_ACCUMULATE && node_int(n, "far", 0) == 1;
}

// A concat's operands, and an update's, are all far or none is, so the first stands for all.
bool value_is_far(const Module *m, const Value *v) {
    while (node_keeps_far(v->def))
        v = v->def->input[0];
    if (v->def->op != OP_STATE)
        return v->def->op == OP_OFFLOAD || node_sums_far(v->def);
    const State *s = module_find_state(m, node_text(v->def, "name", ""));
    return s && s->far;
}

// part: a box inside whole. Every axis before the cut one has one index in the part; all behind it
// are uncut.
static bool is_range(const Type *part, const Type *whole) {
    bool one = true; // so far, the part has one index an axis
    for (int i = 0; i < whole->rank; i++) {
        if (part->dim[i] != whole->dim[i] && !one)
            return false;
        one = one && part->dim[i] == 1;
    }
    return true;
}

bool node_is_one_range(const Node *n) {
    if (n->op == OP_SLICE || n->op == OP_SPLIT) {
        for (int i = 0; i < n->result_count; i++)
            if (!is_range(&n->result[i].type, &n->input[0]->type))
                return false;
    } else if (n->op == OP_CONCAT) {
        for (int i = 0; i < n->input_count; i++)
            if (!is_range(&n->input[i]->type, &n->result[0].type))
                return false;
    }
    return true;
}
