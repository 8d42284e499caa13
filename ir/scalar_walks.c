// Reductions wait for each other, so a scalar kernel walks its data once for each depth of them and
// once more for what it stores. Linear in operations for each question.
#include "ir/scalar_walks.h"

#include <string.h>

ScalarWalks scalar_walks(Arena *a, const Kernel *k) {
    ScalarWalks w = {.k = k, .column_bit = 1u << (k->rank - 1)};
    w.varies = arena_array(a, uint32_t, k->instr_count + 1);
    w.depth = arena_array(a, int, k->instr_count + 1);
    w.slot = arena_array(a, int, k->instr_count + 1);
    kernel_variation(k, w.varies);
    for (KRef i = 0; i < k->instr_count; i++) {
        const KInstr *in = &k->instr[i];
        for (int j = 0; j < kop_arity(in->op); j++)
            if (w.depth[in->arg[j]] > w.depth[i])
                w.depth[i] = w.depth[in->arg[j]];
        if (kop_is_reduction(in->op)) {
            w.slot[i] = w.reductions++;
            w.depth[i]++;
        }
        w.stages = w.depth[i] > w.stages ? w.depth[i] : w.stages;
    }
    return w;
}

bool scalar_along(const ScalarWalks *w, KRef i) {
    return (w->varies[i] & w->column_bit) != 0;
}

void scalar_needs_close(const ScalarWalks *w, uint32_t local, const bool *have, bool *need) {
    // Backwards: users stand behind what they use.
    for (KRef i = w->k->instr_count - 1; i >= 0; i--) {
        const KInstr *in = &w->k->instr[i];
        if (!need[i] || (have && have[i]))
            continue;
        for (int j = 0; j < kop_arity(in->op); j++) {
            const KRef arg = in->arg[j];
            if ((w->varies[arg] & local) && !kop_is_reduction(w->k->instr[arg].op))
                need[arg] = true;
        }
    }
}

void scalar_walk_needs(const ScalarWalks *w, int walk, uint32_t local, bool *need) {
    const Kernel *k = w->k;
    for (KRef i = 0; i < k->instr_count; i++) {
        const KOp op = k->instr[i].op;
        need[i] = walk < w->stages ? kop_is_reduction(op) && w->depth[i] == walk + 1
                                   : kop_is_effect(op) && (w->varies[i] & local);
    }
    scalar_needs_close(w, local, NULL, need);
    for (KRef i = 0; i < k->instr_count; i++)
        need[i] = need[i] && !kop_is_effect(k->instr[i].op) && !kop_is_reduction(k->instr[i].op);
}

KRef scalar_moving_index(const Kernel *k, KRef i) {
    const KInstr *in = &k->instr[i];
    if (in->op == KOP_LOAD_AT)
        return in->arg[0];
    return in->op == KOP_STORE_AT || in->op == KOP_ADD_AT ? in->arg[1] : -1;
}

bool scalar_is_dear(KOp op) {
    switch (op) {
    case KOP_EXP:
    case KOP_EXPM1:
    case KOP_LOG:
    case KOP_SIN:
    case KOP_COS:
    case KOP_TANH:
    case KOP_ERF:
    case KOP_RANDOM:
        return true;
    default:
        return false;
    }
}

int scalar_walks_needing(Arena *a, const ScalarWalks *w, KRef i) {
    bool *need = arena_array(a, bool, w->k->instr_count + 1);
    int count = 0;
    for (int walk = 0; walk <= w->stages; walk++) {
        scalar_walk_needs(w, walk, w->column_bit, need);
        count += need[i];
    }
    return count;
}
