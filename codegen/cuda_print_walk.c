// Walks of a scalar kernel: what a thread does with the vectors of columns that are its own.
//
// A walk has two loops over its vectors: loads of all of them, so that they are under way together,
// then computing, joining and storing. In a kernel whose row stays in registers the loads of the
// first kind are made once, before all walks. All effects of an element follow its loads, so a
// result may lie where an operand lies, element for element.
#include "codegen/cuda_print.h"

#include "ir/check.h"

#include <math.h>
#include <string.h>

static uint32_t row_bits(const CudaScalar *cs) {
    return cs->w.column_bit - 1;
}

// Whether the walk makes reduction or effect i.
static bool makes(const CudaScalar *cs, const CudaWalk *w, KRef i) {
    const KOp op = cs->k->instr[i].op;
    if (w->lane)
        return false;
    if (kop_is_reduction(op))
        return op != KOP_PICK && cs->w.depth[i] == w->stage + 1;
    if (!kop_is_effect(op))
        return false;
    if (cs->k->axis == KERNEL_COLUMNS)
        return (cs->w.varies[i] & row_bits(cs)) != 0;
    return w->stage == cs->w.stages &&
           (cs->s.shape == SCALAR_POINTS || cs->s.shape == SCALAR_TILES || scalar_along(&cs->w, i));
}

// What is there already: variables outside of the loop, and arrays of lanes.
static bool *what_is_there(const CudaScalar *cs) {
    bool *have = arena_array(cs->a, bool, cs->k->instr_count + 1);
    for (KRef i = 0; i < cs->k->instr_count; i++)
        have[i] = cs->ready[i] || cs->lanes[i];
    return have;
}

static bool *walk_needs(const CudaScalar *cs, const CudaWalk *w) {
    bool *need = arena_array(cs->a, bool, cs->k->instr_count + 1);
    for (KRef i = 0; i < cs->k->instr_count; i++)
        need[i] = makes(cs, w, i);
    for (int r = 0; r < w->root_count; r++)
        need[w->root[r]] = (cs->w.varies[w->root[r]] & cs->local) != 0;
    scalar_needs_close(&cs->w, cs->local, what_is_there(cs), need);
    for (KRef i = 0; i < cs->k->instr_count; i++)
        need[i] = need[i] && !cs->ready[i] && !kop_is_effect(cs->k->instr[i].op) &&
                  !kop_is_reduction(cs->k->instr[i].op);
    return need;
}

static void open_vectors(CudaScalar *cs, const CudaWalk *w) {
    cuda_put(cs->t, "#pragma unroll");
    cuda_open(cs->t, "for (int n = 0; n < %d; n++) {", w->batch);
    w->point(cs);
}

static void close_vectors(CudaScalar *cs) {
    cuda_close(cs->t);
    cuda_close(cs->t);
}

static void open_lanes(CudaScalar *cs) {
    cuda_put(cs->t, "#pragma unroll");
    cuda_open(cs->t, "for (int e = 0; e < %d; e++) {", cs->s.lanes);
}

static int array_lanes(const CudaScalar *cs, KRef i) {
    return scalar_along(&cs->w, i) ? cs->s.lanes : 1;
}

// Values of the row, in the loop: those of loads come from their arrays where there are such.
static void print_row_values(CudaScalar *cs, const bool *need, const bool *loaded) {
    for (KRef i = 0; i < cs->k->instr_count; i++) {
        if (!need[i] || scalar_along(&cs->w, i))
            continue;
        if (loaded && loaded[i])
            cuda_put(cs->t, "const %s v%d = l%d[n][0];", cuda_value_type(cs->k->instr[i].dtype), i,
                     i);
        else
            cuda_print_value(cs, i);
    }
}

// The loads chosen, and what their indices need, in one loop over the vectors.
static void print_loads(CudaScalar *cs, const CudaWalk *w, const bool *chosen) {
    const Kernel *k = cs->k;
    bool *need = arena_array(cs->a, bool, k->instr_count + 1);
    bool any = false, by_lane = false;
    for (KRef i = 0; i < k->instr_count; i++) {
        need[i] = chosen[i];
        any = any || chosen[i];
        by_lane = by_lane || (chosen[i] && scalar_along(&cs->w, i) && cuda_loads_by_lane(cs, i));
        if (chosen[i])
            cuda_put(cs->t, "%s l%d[%d][%d];", cuda_value_type(k->instr[i].dtype), i, w->batch,
                     array_lanes(cs, i));
    }
    if (!any)
        return;
    scalar_needs_close(&cs->w, cs->local, what_is_there(cs), need);
    open_vectors(cs, w);
    for (KRef i = 0; i < k->instr_count; i++) {
        if (!need[i] || cs->ready[i] || scalar_along(&cs->w, i))
            continue;
        cuda_print_value(cs, i);
        if (chosen[i])
            cuda_put(cs->t, "l%d[n][0] = v%d;", i, i);
    }
    for (KRef i = 0; i < k->instr_count; i++)
        if (chosen[i] && scalar_along(&cs->w, i) && !cuda_loads_by_lane(cs, i))
            cuda_print_load(cs, i, arena_format(cs->a, "l%d[n]", i));
    if (by_lane) {
        open_lanes(cs);
        for (KRef i = 0; i < k->instr_count; i++) {
            if (!need[i] || !scalar_along(&cs->w, i))
                continue;
            const char *array = arena_format(cs->a, "l%d[n]", i);
            if (chosen[i] && cuda_loads_by_lane(cs, i))
                cuda_print_load(cs, i, array);
            if (chosen[i])
                cuda_put(cs->t, "const %s v%d = %s[e];", cuda_value_type(k->instr[i].dtype), i,
                         array);
            else
                cuda_print_lane(cs, i);
        }
        cuda_close(cs->t);
    }
    close_vectors(cs);
}

// In a kept row: loads that only this walk makes, at vector n.
static void print_loads_here(CudaScalar *cs, const bool *need) {
    for (KRef i = 0; i < cs->k->instr_count; i++) {
        if (!need[i] || !cuda_is_load(cs, i) || cs->lanes[i] || cuda_loads_by_lane(cs, i))
            continue;
        const char *array = arena_format(cs->a, "l%d", i);
        cuda_put(cs->t, "%s %s[%d];", cuda_value_type(cs->k->instr[i].dtype), array, cs->s.lanes);
        cuda_print_load(cs, i, array);
        cs->lanes[i] = array;
    }
}

static void print_reduction_lane(CudaScalar *cs, KRef i) {
    const bool columns = cs->k->axis == KERNEL_COLUMNS;
    const char *into = arena_format(cs->a, columns ? "r%d[e]" : "r%d", i);
    if (cs->tail && !columns)
        cuda_open(cs->t, "if (c + e < %s) {", cs->end);
    cuda_print_join(cs, into, i);
    if (cs->tail && !columns)
        cuda_close(cs->t);
}

static bool is_column_index(const CudaScalar *cs, KRef i) {
    const KInstr *in = &cs->k->instr[i];
    return in->op == KOP_INDEX && in->as.i == cs->k->rank - 1;
}

// Where operation i asks whether the column is L, one for the whole row, as a loss asks for its
// target: L. Else -1.
static KRef lone_column(const CudaScalar *cs, KRef i) {
    const KInstr *in = &cs->k->instr[i];
    if (in->op != KOP_EQ || !scalar_along(&cs->w, i))
        return -1;
    const int other = is_column_index(cs, in->arg[0]) ? 1 : 0;
    const KRef lone = in->arg[other];
    return is_column_index(cs, in->arg[1 - other]) && !scalar_along(&cs->w, lone) ? lone : -1;
}

// A sum of select(never, x, 0): zeros change no bit of a sum that begins with 0.
static bool adds_nothing(const CudaScalar *cs, KRef i) {
    const KInstr *sum = &cs->k->instr[i], *select = &cs->k->instr[sum->arg[0]];
    if (!cs->never || sum->op != KOP_SUM || select->op != KOP_SELECT)
        return false;
    const KInstr *zero = &cs->k->instr[select->arg[2]];
    return cs->never[select->arg[0]] && zero->op == KOP_CONST && zero->as.f == 0 &&
           !signbit(zero->as.f);
}

static void print_lane_loop(CudaScalar *cs, const CudaWalk *w, const bool *need) {
    const Kernel *k = cs->k;
    open_lanes(cs);
    for (KRef i = 0; i < k->instr_count; i++) {
        if (!need[i] || !scalar_along(&cs->w, i))
            continue;
        cuda_print_lane(cs, i);
        if (cs->dear && cs->dear[i] && !cs->lanes[i])
            cuda_put(cs->t, "k%d[n][e] = v%d;", i, i);
    }
    for (KRef i = 0; i < k->instr_count; i++)
        if (makes(cs, w, i) && kop_is_reduction(k->instr[i].op) && !adds_nothing(cs, i))
            print_reduction_lane(cs, i);
    for (KRef i = 0; i < k->instr_count; i++)
        if (makes(cs, w, i) && kop_is_effect(k->instr[i].op) && scalar_along(&cs->w, i))
            cuda_print_effect_lane(cs, i);
    if (w->lane)
        w->lane(cs, w->user);
    cuda_close(cs->t);
}

// The loop over a vector's lanes; twice where a comparison is for one column of the row: for the
// vector that has it, and for all others, without what follows from it.
static void print_lane_loops(CudaScalar *cs, const CudaWalk *w, const bool *need) {
    bool *never = arena_array(cs->a, bool, cs->k->instr_count + 1);
    KRef lone = -1;
    for (KRef i = 0; i < cs->k->instr_count && cs->s.lanes > 1; i++) {
        const KRef column = need[i] ? lone_column(cs, i) : -1;
        lone = lone < 0 ? column : lone;
        never[i] = column >= 0 && column == lone;
    }
    if (lone < 0 || cs->k->axis == KERNEL_COLUMNS || cs->s.shape == SCALAR_TILES) {
        print_lane_loop(cs, w, need);
        return;
    }
    cuda_open(cs->t, "if ((unsigned)v%d - (unsigned)c < %du) {", lone, cs->s.lanes);
    print_lane_loop(cs, w, need);
    cuda_close(cs->t);
    cuda_open(cs->t, "else {");
    cs->never = never;
    print_lane_loop(cs, w, need);
    cs->never = NULL;
    cuda_close(cs->t);
}

// What a vector's lanes compute, and the stores behind it.
static void print_lanes(CudaScalar *cs, const CudaWalk *w, const bool *need) {
    const Kernel *k = cs->k;
    for (KRef i = 0; i < k->instr_count; i++)
        if (makes(cs, w, i) && kop_is_effect(k->instr[i].op) && scalar_along(&cs->w, i) &&
            cuda_stores_vector(cs, i))
            cuda_put(cs->t, "%s s%d[%d];", cuda_value_type(k->instr[k->instr[i].arg[0]].dtype), i,
                     cs->s.lanes);
    print_lane_loops(cs, w, need);
    for (KRef i = 0; i < k->instr_count; i++)
        if (makes(cs, w, i) && kop_is_effect(k->instr[i].op) && scalar_along(&cs->w, i))
            cuda_print_effect_vector(cs, i);
}

void cuda_print_keep(CudaScalar *cs, const CudaWalk *w, const bool *chosen) {
    print_loads(cs, w, chosen);
    for (KRef i = 0; i < cs->k->instr_count; i++)
        if (chosen[i])
            cs->lanes[i] = arena_format(cs->a, "l%d[n]", i);
}

void cuda_print_walk(CudaScalar *cs, const CudaWalk *w) {
    const Kernel *k = cs->k;
    const bool *need = walk_needs(cs, w);
    bool *loaded = arena_array(cs->a, bool, k->instr_count + 1);
    const size_t bytes = (size_t)k->instr_count * sizeof *cs->lanes;
    const char **before = arena_array(cs->a, const char *, k->instr_count + 1);
    memcpy(before, cs->lanes, bytes);
    if (w->kind == WALK_APART) {
        for (KRef i = 0; i < k->instr_count; i++)
            loaded[i] = need[i] && cuda_is_load(cs, i) && !cs->lanes[i];
        print_loads(cs, w, loaded);
        for (KRef i = 0; i < k->instr_count; i++)
            if (loaded[i] && scalar_along(&cs->w, i))
                cs->lanes[i] = arena_format(cs->a, "l%d[n]", i);
    }
    open_vectors(cs, w);
    print_row_values(cs, need, loaded);
    print_loads_here(cs, need);
    print_lanes(cs, w, need);
    // Elements of the row, stored with its first column.
    for (KRef i = 0; i < k->instr_count; i++)
        if (makes(cs, w, i) && kop_is_effect(k->instr[i].op) && !scalar_along(&cs->w, i))
            cuda_print_effect_once(cs, i, "c == 0");
    close_vectors(cs);
    memcpy(cs->lanes, before, bytes);
    for (KRef i = 0; i < k->instr_count && cs->dear; i++)
        if (cs->dear[i] && need[i])
            cs->lanes[i] = arena_format(cs->a, "k%d[n]", i);
}
