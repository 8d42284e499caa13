// Value numbers: one hash a node over its operator, attributes, operands' numbers and result types.
//
// On entry: operands stand before their users. A value that is computed again has the number it had
// at first, because a clone has its original's operator and attributes and reads copies of the same
// operands; an offload or fetch has its operand's. Cost: one walk over nodes, operands and
// attributes.
#include "ir/value_number.h"

#include "ir/check.h"
#include "ir/op.h"

#include <string.h>

uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t size) {
    const unsigned char *at = bytes;
    for (size_t i = 0; i < size; i++)
        hash = (hash ^ at[i]) * UINT64_C(1099511628211); // FNV-1a
    return hash;
}

uint64_t attr_hash(uint64_t hash, const Attr *a) {
    hash = hash_bytes(hash, a->name, strlen(a->name));
    switch (a->kind) {
    case ATTR_INT:
        return hash_bytes(hash, &a->as.i, sizeof a->as.i);
    case ATTR_FLOAT:
        return hash_bytes(hash, &a->as.f, sizeof a->as.f);
    case ATTR_TEXT:
        return hash_bytes(hash, a->as.text, strlen(a->as.text));
    case ATTR_INTS:
        return hash_bytes(hash, a->as.ints, (size_t)a->count * sizeof *a->as.ints);
    case ATTR_FLOATS:
        return hash_bytes(hash, a->as.floats, (size_t)a->count * sizeof *a->as.floats);
    }
    UNREACHABLE();
}

static uint64_t node_number(const Node *n, const uint64_t *number) {
    uint64_t hash = hash_bytes(HASH_START, &n->op, sizeof n->op);
    for (int i = 0; i < n->input_count; i++)
        hash = hash_bytes(hash, &number[n->input[i]->id], sizeof *number);
    for (int i = 0; i < n->attr_count; i++)
        hash = attr_hash(hash, &n->attr[i]);
    // Arguments differ by their place alone.
    if (n->op == OP_INPUT)
        hash = hash_bytes(hash, &n->result[0].id, sizeof n->result[0].id);
    return hash;
}

static uint64_t result_number(uint64_t hash, const Value *v) {
    hash = hash_bytes(hash, &v->index, sizeof v->index);
    hash = hash_bytes(hash, &v->type.dtype, sizeof v->type.dtype);
    return hash_bytes(hash, v->type.dim, (size_t)v->type.rank * sizeof *v->type.dim);
}

const uint64_t *value_numbers(const Graph *g, Arena *a) {
    uint64_t *number = arena_array(a, uint64_t, g->value_limit + 1);
    for (int i = 0; i < g->node_count; i++) {
        const Node *n = g->node[i];
        const bool moves = op_info(n->op)->family == FAMILY_MOVE;
        const uint64_t hash = node_number(n, number);
        for (int r = 0; r < n->result_count; r++)
            number[n->result[r].id] =
                moves ? number[n->input[0]->id] : result_number(hash, &n->result[r]);
    }
    return number;
}
