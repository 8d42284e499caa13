// Additions by index in kernels of many rows (SCALAR_SCATTER), in three launches. The first sorts
// the rows by the place they are added to (cuda_scatter.cuh). In the second, blocks take
// SCATTER_PIECE sorted rows each and add up, in order, those of one place: a place whose rows all
// lie in the piece is done, other sums are left in the workspace. In the third, the block whose
// piece a divided place begins in adds up what the pieces left of it. Nothing is atomic but counts,
// so results don't depend on the run. Cost: indices are read once a range of places, from the
// cache; values once.
#include "codegen/cuda_print.h"

#include <string.h>

static KRef addition_of(const CudaScalar *cs) {
    KRef i = 0;
    while (cs->k->instr[i].op != KOP_ADD_AT)
        i++;
    return i;
}

// As scatter_workspace in ir/launch_scalar.c counts it.
static void print_workspace(CudaScalar *cs) {
    const long long places = cs->k->instr[addition_of(cs)].limit, rows = cs->s.rows;
    cuda_put(cs->t, "int *begin = (int *)workspace, *sorted = begin + %lld;", places + 1);
    cuda_put(cs->t, "int *place = sorted + %lld, *list = place + %lld, *which = list + %lld;", rows,
             rows, rows);
    cuda_put(cs->t, "float *partial = (float *)(which + %lld);", rows);
}

static void print_sort(CudaScalar *cs, const KernelLaunches *launches) {
    const Kernel *k = cs->k;
    const KInstr *in = &k->instr[addition_of(cs)];
    const KRef index = in->arg[1];
    bool *need = arena_array(cs->a, bool, k->instr_count + 1);
    cuda_head(cs->t, k, launches, 0);
    print_workspace(cs);
    cuda_print_origin(cs);
    cuda_print_scalars(cs, ~0u, 0);
    need[index] = !cs->ready[index];
    scalar_needs_close(&cs->w, cs->local, cs->ready, need);
    cuda_open(cs->t, "const auto place_of = [&](unsigned row) {");
    cuda_print_position(cs);
    for (KRef i = 0; i < k->instr_count; i++)
        if (need[i] && !cs->ready[i])
            cuda_print_value(cs, i);
    cuda_put(cs->t, "return v%d >= 0 ? plim_clamp(v%d, %lld) : -1;", index, index,
             (long long)in->limit);
    cuda_close(cs->t);
    cuda_put(cs->t, ";");
    cuda_put(cs->t, "plim_sort_rows<%lld, %lld, %d>(place_of, begin, sorted, place, list, which);",
             (long long)cs->s.rows, (long long)in->limit, SCATTER_RANGE);
    cuda_close(cs->t);
}

// Where the block and its thread are: a piece of the sorted rows, a vector of columns.
static void print_place(CudaScalar *cs) {
    const ScalarLaunch *s = &cs->s;
    print_workspace(cs);
    cuda_put(cs->t,
             "const int tile = (int)(blockIdx.x %% %lldu), piece = (int)(blockIdx.x / %lldu);",
             (long long)s->tiles, (long long)s->tiles);
    cuda_put(cs->t, "const int c = (tile * %d + (int)threadIdx.x) * %d;", s->team, s->lanes);
    cuda_put(cs->t, "const bool inside = c < %s;", cs->end);
    cuda_put(cs->t, "const int total = begin[%lld], low = piece * %d;",
             (long long)cs->k->instr[addition_of(cs)].limit, SCATTER_PIECE);
    cuda_put(cs->t, "const int stop = total < low + %d ? total : low + %d;", SCATTER_PIECE,
             SCATTER_PIECE);
}

// Adds r [lanes] to place `to`.
static void print_addition(CudaScalar *cs) {
    const KRef i = addition_of(cs);
    const KInstr *in = &cs->k->instr[i];
    const KOperand *o = &cs->k->operand[in->operand];
    const int lanes = cs->s.lanes;
    const int64_t stride = cs->k->dim[cs->k->rank - 1] > 1 ? o->stride[cs->k->rank - 1] : 0;
    const char *dtype = dtype_name(o->dtype);
    cuda_put(cs->t, "%s *at = p%d + (%s)to * %lld + (%s)c * %lld;", cuda_memory_type(o->dtype),
             in->operand, cs->index, (long long)in->step, cs->index, (long long)stride);
    if (!cs->tail && lanes > 1 && scalar_access(&cs->w, i) == lanes) {
        cuda_put(cs->t, "float old[%d];\nplim_load_%s_%d(at, old);", lanes, dtype, lanes);
        cuda_put(cs->t, "for (int e = 0; e < %d; e++)\n    old[e] = old[e] + r[e];", lanes);
        cuda_put(cs->t, "plim_store_%s_%d(at, old);", dtype, lanes);
        return;
    }
    cuda_open(cs->t, "for (int e = 0; e < %d && c + e < %s; e++) {", lanes, cs->end);
    cuda_put(cs->t, "plim_put_%s(at + e * %lld, plim_get_%s(at + e * %lld) + r[e]);", dtype,
             (long long)stride, dtype, (long long)stride);
    cuda_close(cs->t);
}

static void point_sorted(CudaScalar *cs) {
    cuda_open(cs->t, "if (inside && from + n < last) {");
    cuda_put(cs->t, "const %s row = (%s)sorted[from + n];", cs->count, cs->count);
    cuda_print_position(cs);
}

static void print_add_lane(CudaScalar *cs, const void *user) {
    const KInstr *in = user;
    cuda_put(cs->t, "r[e] = r[e] + v%d;", in->arg[0]);
}

static void print_pieces(CudaScalar *cs, const KernelLaunches *launches) {
    const KInstr *in = &cs->k->instr[addition_of(cs)];
    memset(cs->ready, 0, (size_t)cs->k->instr_count * sizeof *cs->ready);
    cuda_head(cs->t, cs->k, launches, 1);
    print_place(cs);
    cuda_print_origin(cs);
    cuda_print_scalars(cs, ~0u, 0);
    cuda_print_column_values(cs, 0);
    cuda_open(cs->t, "for (int from = low; from < stop;) {");
    cuda_put(cs->t, "const int to = place[from], first = begin[to], past = begin[to + 1];");
    cuda_put(cs->t, "const int last = past < stop ? past : stop;");
    cuda_put(cs->t, "float r[%d] = {};", cs->s.lanes);
    cuda_open(cs->t, "for (; from < last; from += %d) {", cs->s.batch);
    const CudaWalk walk = {.kind = WALK_APART,
                           .batch = cs->s.batch,
                           .point = point_sorted,
                           .lane = print_add_lane,
                           .user = in,
                           .root = &in->arg[0],
                           .root_count = 1};
    cuda_print_walk(cs, &walk);
    cuda_close(cs->t);
    cuda_put(cs->t, "from = last;");
    cuda_open(cs->t, "if (inside && first >= low && past <= stop) {");
    print_addition(cs);
    cuda_close(cs->t);
    cuda_open(cs->t, "else if (inside) {");
    cuda_put(cs->t, "float *left = partial + (2LL * piece + (first >= low ? 1 : 0)) * %s + c;",
             cs->end);
    cuda_put(cs->t, "for (int e = 0; e < %d && c + e < %s; e++)\n    left[e] = r[e];", cs->s.lanes,
             cs->end);
    cuda_close(cs->t);
    cuda_close(cs->t);
    cuda_close(cs->t);
}

static void print_divided(CudaScalar *cs, const KernelLaunches *launches) {
    cuda_head(cs->t, cs->k, launches, 2);
    print_place(cs);
    cuda_put(cs->t, "if (low >= stop || !inside)\n    return;");
    cuda_put(cs->t, "const int to = place[stop - 1], past = begin[to + 1];");
    cuda_put(cs->t, "if (begin[to] < low || past <= stop)\n    return;");
    cuda_put(cs->t, "float r[%d];", cs->s.lanes);
    cuda_open(cs->t, "for (int e = 0; e < %d; e++) {", cs->s.lanes);
    cuda_put(cs->t, "r[e] = c + e < %s ? partial[(2LL * piece + 1) * %s + c + e] : 0.0f;", cs->end,
             cs->end);
    cuda_open(cs->t, "for (int q = piece + 1; q * %d < past && c + e < %s; q++) {", SCATTER_PIECE,
              cs->end);
    cuda_put(cs->t, "r[e] = r[e] + partial[2LL * q * %s + c + e];", cs->end);
    cuda_close(cs->t);
    cuda_close(cs->t);
    print_addition(cs);
    cuda_close(cs->t);
}

void cuda_print_scatter(CudaScalar *cs, const KernelLaunches *launches) {
    cs->end = arena_format(cs->a, "%lld", (long long)cs->s.columns);
    cs->local = (cs->w.column_bit << 1) - 1;
    print_sort(cs, launches);
    print_pieces(cs, launches);
    print_divided(cs, launches);
}
