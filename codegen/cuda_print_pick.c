// KOP_PICK, in rounds like codegen/llvm_pick.c's: the best y of all columns above a bound is found,
// then the mass above its d. If that is below what is wanted, the column is kept and is the result;
// if not, nothing from its d down is kept, and the next round looks above it only. Nothing is
// sorted; a draw ends after one or two rounds.
#include "codegen/cuda_print.h"

static void print_best(CudaScalar *cs, const void *user) {
    const KInstr *in = user;
    const char *inside = cs->tail ? arena_format(cs->a, " && c + e < %s", cs->end) : "";
    cuda_open(cs->t, "if (v%d > bound && v%d > best.y%s) {", in->arg[0], in->arg[2], inside);
    cuda_put(cs->t, "best.y = v%d;\nbest.d = v%d;\nbest.at = (int)(c + e);", in->arg[2],
             in->arg[0]);
    cuda_close(cs->t);
}

static void print_above(CudaScalar *cs, const void *user) {
    const KInstr *in = user;
    const char *inside = cs->tail ? arena_format(cs->a, " && c + e < %s", cs->end) : "";
    cuda_put(cs->t, "if (v%d > best.d%s)\n    above = above + v%d;", in->arg[0], inside,
             in->arg[1]);
}

void cuda_print_pick(CudaScalar *cs, KRef i) {
    CudaText *t = cs->t;
    const KInstr *in = &cs->k->instr[i];
    const bool warp = cs->s.team <= GPU_WARP;
    const KRef of_best[2] = {in->arg[0], in->arg[2]}, of_above[2] = {in->arg[0], in->arg[1]};
    cuda_put(t, "int v%d;", i);
    cuda_open(t, "{");
    if (!warp)
        cuda_put(t, "__shared__ plim_best bests[32];");
    cuda_put(t, "float bound = plim_float(0xff800000u);");
    cuda_open(t, "for (;;) {");
    cuda_put(t, "plim_best best = {plim_float(0xff800000u), plim_float(0xff800000u), 0x7fffffff};");
    cuda_print_row_walk(
        cs, (CudaWalk){.lane = print_best, .user = in, .root = of_best, .root_count = 2});
    if (warp)
        cuda_put(t, "best = plim_team_best(best, %d);", cs->s.team);
    else
        cuda_put(t, "best = plim_block_best(best, bests, %d);", cs->s.team);
    cuda_put(t, "float above = 0.0f;");
    cuda_print_row_walk(
        cs, (CudaWalk){.lane = print_above, .user = in, .root = of_above, .root_count = 2});
    if (warp)
        cuda_put(t, "above = plim_team_sum(above, %d);", cs->s.team);
    else
        cuda_put(t, "above = plim_block_sum(above, slots[%d], %d);", cs->w.slot[i], cs->s.team);
    cuda_put(t, "v%d = best.at == 0x7fffffff ? 0 : best.at;", i);
    cuda_put(t, "const bool more = above > 0.0f && above >= v%d && best.d > bound;", in->arg[3]);
    // Rows that share a warp end together: one that is done finds the same again.
    cuda_put(t, warp ? "if (plim_ballot(more) == 0)\n    break;" : "if (!more)\n    break;");
    cuda_put(t, warp ? "bound = more ? best.d : bound;" : "bound = best.d;");
    // The slots are used again.
    if (!warp)
        cuda_put(t, "__syncthreads();");
    cuda_close(t);
    cuda_close(t);
}
