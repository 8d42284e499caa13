// Scalar kernels that reduce down the rows.
//
// Threads side by side take neighbouring vectors of columns, those behind each other take turns on
// the rows of the block's part. A thread joins its rows in order; then the threads of a column in
// order; then, in a second launch where there are several, the parts in the same way. What follows
// the reductions is computed for each column and stored by the first thread down.
//
// Additions by index (ADD_AT) need all rows in order: such a kernel has one thread a column.
#include "codegen/cuda_print.h"

#include "ir/check.h"

#include <string.h>

static uint32_t row_bits(const CudaScalar *cs) {
    return cs->w.column_bit - 1;
}

// Row number n of those from `from` on.
static void point_row(CudaScalar *cs) {
    const ScalarLaunch *s = &cs->s;
    cuda_put(cs->t, "const %s row = from + n * %du;", cs->count, s->block / s->team);
    cuda_open(cs->t, "if (inside && row < last) {");
    cuda_print_position(cs);
}

// A value of the column alone, which waits for `depth` reductions.
static bool is_column_value(const CudaScalar *cs, KRef i, int depth) {
    const KOp op = cs->k->instr[i].op;
    return cs->w.varies[i] == cs->w.column_bit && cs->w.depth[i] == depth && !kop_is_effect(op) &&
           !kop_is_reduction(op);
}

// Arrays wI of the column's values; loads outside of the loop over lanes first.
void cuda_print_column_values(CudaScalar *cs, int depth) {
    const Kernel *k = cs->k;
    bool any = false;
    for (KRef i = 0; i < k->instr_count; i++) {
        if (!is_column_value(cs, i, depth))
            continue;
        any = true;
        cuda_put(cs->t, "%s w%d[%d] = {};", cuda_value_type(k->instr[i].dtype), i, cs->s.lanes);
    }
    if (!any)
        return;
    cuda_open(cs->t, "if (inside) {");
    for (KRef i = 0; i < k->instr_count; i++) {
        if (!is_column_value(cs, i, depth) || !cuda_is_load(cs, i) || cuda_loads_by_lane(cs, i))
            continue;
        cs->lanes[i] = arena_format(cs->a, "w%d", i);
        cuda_print_load(cs, i, cs->lanes[i]);
    }
    cuda_put(cs->t, "#pragma unroll");
    cuda_open(cs->t, "for (int e = 0; e < %d; e++) {", cs->s.lanes);
    for (KRef i = 0; i < k->instr_count; i++) {
        if (!is_column_value(cs, i, depth)) {
            if (cs->lanes[i]) // of an earlier depth
                cuda_print_lane(cs, i);
            continue;
        }
        cuda_print_lane(cs, i);
        if (!cs->lanes[i])
            cuda_put(cs->t, "w%d[e] = v%d;", i, i);
    }
    cuda_close(cs->t);
    cuda_close(cs->t);
    for (KRef i = 0; i < k->instr_count; i++)
        if (is_column_value(cs, i, depth))
            cs->lanes[i] = arena_format(cs->a, "w%d", i);
}

// Where this thread is; operands of a column alone have no row.
static void print_place(CudaScalar *cs) {
    const ScalarLaunch *s = &cs->s;
    cuda_put(cs->t, "const int across = (int)threadIdx.x %% %d, down = (int)threadIdx.x / %d;",
             s->team, s->team);
    cuda_put(cs->t, "const unsigned tile = blockIdx.x %% %lldu, part = blockIdx.x / %lldu;",
             (long long)s->tiles, (long long)s->tiles);
    cuda_put(cs->t, "const %s c = ((%s)tile * %d + across) * %d;", cs->index, cs->index, s->team,
             s->lanes);
    cuda_put(cs->t, "const bool inside = c < %s;", cs->end);
    cuda_print_origin(cs);
    if (cs->w.reductions > 0 && s->block > s->team)
        cuda_put(cs->t, "__shared__ float sums[%d];", s->block * s->lanes);
    if (s->parts > 1)
        cuda_put(cs->t, "float *partial = (float *)workspace;");
}

static void print_starts(CudaScalar *cs) {
    for (KRef i = 0; i < cs->k->instr_count; i++) {
        if (!kop_is_reduction(cs->k->instr[i].op))
            continue;
        cuda_put(cs->t, "float r%d[%d];\n#pragma unroll", i, cs->s.lanes);
        cuda_put(cs->t, "for (int e = 0; e < %d; e++)\n    r%d[e] = %s;", cs->s.lanes, i,
                 cuda_start(cs, i));
    }
}

static const char *join_text(const CudaScalar *cs, KRef i, const char *x) {
    return cs->k->instr[i].op == KOP_SUM
               ? arena_format(cs->a, "r%d[e] = r%d[e] + %s;", i, i, x)
               : arena_format(cs->a, "r%d[e] = plim_max(%s, r%d[e]);", i, x, i);
}

// The threads of a column, in order, for each reduction in turn; the first has the result.
static void print_join_down(CudaScalar *cs) {
    const ScalarLaunch *s = &cs->s;
    const int down = s->block / s->team;
    for (KRef i = 0; i < cs->k->instr_count && down > 1; i++) {
        if (!kop_is_reduction(cs->k->instr[i].op))
            continue;
        if (cs->w.slot[i] > 0)
            cuda_put(cs->t, "__syncthreads();");
        cuda_put(cs->t, "#pragma unroll\nfor (int e = 0; e < %d; e++)", s->lanes);
        cuda_put(cs->t, "    sums[(down * %d + across) * %d + e] = r%d[e];", s->team, s->lanes, i);
        cuda_put(cs->t, "__syncthreads();");
        cuda_open(cs->t, "for (int d = 1; down == 0 && d < %d; d++) {", down);
        cuda_put(cs->t, "#pragma unroll\nfor (int e = 0; e < %d; e++)", s->lanes);
        const char *x = arena_format(cs->a, "sums[(d * %d + across) * %d + e]", s->team, s->lanes);
        cuda_put(cs->t, "    %s", join_text(cs, i, x));
        cuda_close(cs->t);
    }
}

static const char *partial_text(const CudaScalar *cs, KRef i, const char *part, const char *lane) {
    return arena_format(cs->a, "partial[(%lldLL + %s) * %lld + c + %s]",
                        (long long)(cs->w.slot[i] * cs->s.parts), part, (long long)cs->s.columns,
                        lane);
}

// Neighbouring partial sums that one access takes: rows of them are as long as the kernel's.
static int partial_access(const CudaScalar *cs) {
    return cs->tail ? 1 : cs->s.lanes < 4 ? cs->s.lanes : 4;
}

// As many as there are lanes, from or to an array.
static void put_accesses(CudaScalar *cs, const char *what, KRef i, const char *part,
                         const char *array) {
    const int access = partial_access(cs);
    for (int e = 0; e < cs->s.lanes; e += access)
        cuda_put(cs->t, "plim_%s_f32_%d(&%s, %s + %d);", what, access,
                 partial_text(cs, i, part, arena_format(cs->a, "%d", e)), array, e);
}

static void print_leave_vectors(CudaScalar *cs) {
    cuda_open(cs->t, "if (down == 0 && inside) {");
    for (KRef i = 0; i < cs->k->instr_count; i++)
        if (kop_is_reduction(cs->k->instr[i].op))
            put_accesses(cs, "store", i, "part", arena_format(cs->a, "r%d", i));
    cuda_close(cs->t);
}

static void print_leave_parts(CudaScalar *cs) {
    if (partial_access(cs) > 1) {
        print_leave_vectors(cs);
        return;
    }
    cuda_open(cs->t, "for (int e = 0; down == 0 && e < %d; e++) {", cs->s.lanes);
    cuda_open(cs->t, "if (c + e < %s) {", cs->end);
    for (KRef i = 0; i < cs->k->instr_count; i++)
        if (kop_is_reduction(cs->k->instr[i].op))
            cuda_put(cs->t, "%s = r%d[e];", partial_text(cs, i, "part", "e"), i);
    cuda_close(cs->t);
    cuda_close(cs->t);
}

// The loads of some parts are under way together.
static void print_take_vectors(CudaScalar *cs) {
    enum { BYTES_UNDER_WAY = 128 };
    const ScalarLaunch *s = &cs->s;
    const int bytes = cs->w.reductions * s->lanes * (int)sizeof(float);
    cuda_put(cs->t, "#pragma unroll %d", bytes < BYTES_UNDER_WAY ? BYTES_UNDER_WAY / bytes : 1);
    cuda_open(cs->t, "for (int p = down; inside && p < %lld; p += %d) {", (long long)s->parts,
              s->block / s->team);
    for (KRef i = 0; i < cs->k->instr_count; i++) {
        if (!kop_is_reduction(cs->k->instr[i].op))
            continue;
        cuda_put(cs->t, "float x%d[%d];", i, s->lanes);
        put_accesses(cs, "load", i, "p", arena_format(cs->a, "x%d", i));
        cuda_put(cs->t, "#pragma unroll\nfor (int e = 0; e < %d; e++)\n    %s", s->lanes,
                 join_text(cs, i, arena_format(cs->a, "x%d[e]", i)));
    }
    cuda_close(cs->t);
}

static void print_take_parts(CudaScalar *cs) {
    const ScalarLaunch *s = &cs->s;
    if (partial_access(cs) > 1) {
        print_take_vectors(cs);
        return;
    }
    cuda_open(cs->t, "for (int p = down; p < %lld; p += %d) {", (long long)s->parts,
              s->block / s->team);
    cuda_put(cs->t, "#pragma unroll");
    cuda_open(cs->t, "for (int e = 0; e < %d; e++) {", s->lanes);
    cuda_open(cs->t, "if (c + e < %s) {", cs->end);
    for (KRef i = 0; i < cs->k->instr_count; i++)
        if (kop_is_reduction(cs->k->instr[i].op))
            cuda_put(cs->t, "%s", join_text(cs, i, partial_text(cs, i, "p", "e")));
    cuda_close(cs->t);
    cuda_close(cs->t);
    cuda_close(cs->t);
}

// Effects along the column, in one loop over the lanes.
static void print_column_effects(CudaScalar *cs) {
    const Kernel *k = cs->k;
    bool *mine = arena_array(cs->a, bool, k->instr_count + 1);
    for (KRef i = 0; i < k->instr_count; i++) {
        mine[i] = kop_is_effect(k->instr[i].op) && !(cs->w.varies[i] & row_bits(cs));
        if (mine[i] && scalar_along(&cs->w, i) && cuda_stores_vector(cs, i))
            cuda_put(cs->t, "%s s%d[%d];", cuda_value_type(k->instr[k->instr[i].arg[0]].dtype), i,
                     cs->s.lanes);
    }
    cuda_put(cs->t, "#pragma unroll");
    cuda_open(cs->t, "for (int e = 0; e < %d; e++) {", cs->s.lanes);
    for (KRef i = 0; i < k->instr_count; i++)
        if (cs->lanes[i])
            cuda_print_lane(cs, i);
    for (KRef i = 0; i < k->instr_count; i++)
        if (mine[i] && scalar_along(&cs->w, i))
            cuda_print_effect_lane(cs, i);
    cuda_close(cs->t);
    for (KRef i = 0; i < k->instr_count; i++) {
        if (mine[i] && scalar_along(&cs->w, i))
            cuda_print_effect_vector(cs, i);
        else if (mine[i])
            cuda_print_effect_once(cs, i, "c == 0");
    }
}

// What follows the reductions, each a number a column.
static void print_finish(CudaScalar *cs) {
    cs->local = 0;
    for (KRef i = 0; i < cs->k->instr_count; i++) {
        if (!kop_is_reduction(cs->k->instr[i].op))
            continue;
        if (scalar_along(&cs->w, i)) {
            cs->lanes[i] = arena_format(cs->a, "r%d", i);
        } else {
            cuda_put(cs->t, "const float v%d = r%d[0];", i, i);
            cs->ready[i] = true;
        }
    }
    cuda_print_scalars(cs, ~0u, 1);
    cuda_print_column_values(cs, 1);
    cuda_open(cs->t, "if (down == 0 && inside) {");
    print_column_effects(cs);
    cuda_close(cs->t);
}

static void print_first(CudaScalar *cs, const KernelLaunches *launches) {
    const ScalarLaunch *s = &cs->s;
    const int step = s->block / s->team * s->batch;
    cs->local = (cs->w.column_bit << 1) - 1;
    cuda_head(cs->t, cs->k, launches, 0);
    print_place(cs);
    cuda_print_scalars(cs, ~0u, 0);
    cuda_print_column_values(cs, 0);
    print_starts(cs);
    cuda_put(cs->t, "const %s begin = part * (%s)%lldu;", cs->count, cs->count, (long long)s->part);
    cuda_put(cs->t, "const %s last = begin + %lldu < %lldu ? begin + %lldu : %lldu;", cs->count,
             (long long)s->part, (long long)s->rows, (long long)s->part, (long long)s->rows);
    cuda_open(cs->t, "for (%s from = begin + down; from < last; from += %du) {", cs->count, step);
    const CudaWalk walk = {.kind = WALK_APART, .batch = s->batch, .point = point_row};
    cuda_print_walk(cs, &walk);
    cuda_close(cs->t);
    print_join_down(cs);
    if (s->parts > 1)
        print_leave_parts(cs);
    else
        print_finish(cs);
    cuda_close(cs->t);
}

static void print_second(CudaScalar *cs, const KernelLaunches *launches) {
    const size_t count = (size_t)cs->k->instr_count;
    memset(cs->ready, 0, count * sizeof *cs->ready);
    for (size_t i = 0; i < count; i++)
        cs->lanes[i] = NULL;
    cuda_head(cs->t, cs->k, launches, 1);
    print_place(cs);
    cuda_print_scalars(cs, ~0u, 0);
    cuda_print_column_values(cs, 0);
    print_starts(cs);
    print_take_parts(cs);
    print_join_down(cs);
    print_finish(cs);
    cuda_close(cs->t);
}

void cuda_print_columns(CudaScalar *cs, const KernelLaunches *launches) {
    cs->end = arena_format(cs->a, "%lld", (long long)cs->s.columns);
    print_first(cs, launches);
    if (cs->s.parts > 1)
        print_second(cs, launches);
}
