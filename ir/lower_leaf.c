// Scalar programs of leaves: constants, positions, keyed random draws. A draw depends on its
// element's row-major number in the result, so the kernel's dims are the result's; numbers wrap at
// 2^32.
#include "ir/op_lower.h"

#include "ir/check.h"
#include "ir/evaluate.h"

#include <string.h>

void lower_constant(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)in;
    const double value = node_float(n, "value", 0);
    switch (n->result[0].type.dtype) {
    case DT_F32:
    case DT_BF16:
        out[0] = kb_float(kb, dtype_round(n->result[0].type.dtype, value));
        return;
    case DT_I32:
        out[0] = kb_int(kb, (int64_t)dtype_round(DT_I32, value));
        return;
    case DT_BOOL:
        out[0] = kb_bool(kb, value != 0);
        return;
    case DT_COUNT:
        break;
    }
    UNREACHABLE();
}

void lower_iota(KernelBuilder *kb, const Node *n, const KRef *in, KRef *out) {
    (void)in;
    const int axis = (int)node_int(n, "axis", 0);
    out[0] = kb_index(kb, axis);
}
