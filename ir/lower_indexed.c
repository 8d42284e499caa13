// Scalar programs that read or store at an index: gather, take, scatter_add, and slices and updates
// whose start is known only at run time. What is indexed comes by source (ir/op_lower.h): the
// operand's own axis strides become strides along the kernel's dims, and the indexed axis a moved
// load. Indices are clamped, so a wrong one reads something, never outside.
#include "ir/op_lower.h"

#include "ir/check.h"

bool op_input_is_source(Op op, int input) {
    switch (op) {
    case OP_DYNAMIC_SLICE:
    case OP_GATHER:
    case OP_TAKE:
    case OP_SCATTER_ADD:
    case OP_DYNAMIC_UPDATE:
        return input == 0;
    case OP_ROTARY:
    case OP_MAX_POOL:
    case OP_MAX_POOL_INDEX:
    case OP_MAX_POOL_GRAD:
    case OP_AVG_POOL:
    case OP_AVG_POOL_GRAD:
    case OP_UPSAMPLE:
        return true;
    default:
        return false;
    }
}

// The axes of input after the first become the kernel's last dims.
static KSource source_rows(KernelBuilder *kb, int input) {
    const KSource s = kb_source(kb, input);
    const int first = kb_rank(kb) - (s.rank - 1);
    CHECK(s.rank >= 1 && first >= 0);
    for (int a = 1; a < s.rank; a++)
        kb_set_stride(kb, s.operand, first + a - 1, s.stride[a]);
    return s;
}

// (table [v, ...], index): the row of the table.
void lower_gather(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    const KSource table = source_rows(kb, 0);
    out[0] = kb_load_at(kb, table.operand, in[1], n->input[0]->type.dim[0], table.stride[0]);
}

// (base [v, ...], index, rows): the output holds base already and rows are added to it. A base of
// rank 1 has one column, the kernel's last dim of extent 1: a column is one worker's, so rows are
// added in order.
void lower_scatter_add(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    const Type *base = &n->input[0]->type;
    CHECK(base->rank > 1 || kb_dim(kb, kb_rank(kb) - 1) == 1);
    const KSource to = source_rows(kb, 0);
    kb_add_at(kb, to.operand, in[2], in[1], base->dim[0], to.stride[0]);
    out[0] = -1;
}

// (x [..., v], index [...]): one element of each row.
void lower_take(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    const KSource x = kb_source(kb, 0);
    const int last = x.rank - 1;
    CHECK(last >= 0 && last <= kb_rank(kb));
    for (int a = 0; a < last; a++)
        kb_set_stride(kb, x.operand, a, x.stride[a]);
    out[0] = kb_load_at(kb, x.operand, in[1], n->input[0]->type.dim[last], x.stride[last]);
}

// (x, start): size elements of the axis from start, which is clamped so that they exist.
void lower_dynamic_slice(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    const int axis = (int)node_int(n, "axis", 0);
    const int64_t starts = n->input[0]->type.dim[axis] - n->result[0].type.dim[axis] + 1;
    const KSource x = kb_source(kb, 0);
    CHECK(x.rank <= kb_rank(kb) && starts >= 1);
    for (int a = 0; a < x.rank; a++)
        kb_set_stride(kb, x.operand, a, x.stride[a]);
    out[0] = kb_load_at(kb, x.operand, in[1], starts, x.stride[axis]);
}

// (x, part, start): the output holds x already and part is stored into it. Only the part's elements
// are touched, however large x is.
void lower_dynamic_update(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    const int axis = (int)node_int(n, "axis", 0);
    const int64_t starts = n->input[0]->type.dim[axis] - n->input[1]->type.dim[axis] + 1;
    const KSource x = kb_source(kb, 0);
    CHECK(x.rank <= kb_rank(kb) && starts >= 1);
    for (int a = 0; a < x.rank; a++)
        kb_set_stride(kb, x.operand, a, x.stride[a]);
    kb_store_at(kb, x.operand, in[1], in[2], starts, x.stride[axis]);
    out[0] = -1;
}
