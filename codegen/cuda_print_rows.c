// Scalar kernels over rows, in the three shapes of ir/launch_scalar.h.
//
// POINTS: a thread takes vectors of columns, wherever their rows are; nothing is shared.
// TEAM: threads side by side share a row. Each joins what it meets in order; then lanes are joined
// in halves (and warps, the same way): plim_team_sum, plim_block_sum. Rows past the last are
// computed as copies of the last and not stored, since all lanes of a warp take part in a shuffle.
// A thread's columns are in its registers, or it copies them to shared memory (ir/launch_hold.h):
// the first walk waits for them as they come, and all find them there.
// SPLIT: a launch a walk. Blocks leave their parts of the sums in the workspace; the next launch's
// blocks all join them, in the same order.
#include "codegen/cuda_print.h"

#include "ir/check.h"

#include <string.h>

static void open_if(CudaScalar *cs, bool always, const char *condition) {
    if (always)
        cuda_open(cs->t, "{");
    else
        cuda_open(cs->t, "if (%s) {", condition);
}

// POINTS: vector number w of all rows.
static void point_anywhere(CudaScalar *cs) {
    const ScalarLaunch *s = &cs->s;
    const int64_t across = (s->columns + s->lanes - 1) / s->lanes, total = across * s->rows;
    cuda_put(cs->t, "const %s w = ((%s)%s * %du + n) * %du + threadIdx.x;", cs->count, cs->count,
             cs->members.count > 1 ? "block" : "blockIdx.x", s->batch, s->block);
    open_if(cs, total % ((int64_t)s->batch * s->block) == 0,
            arena_format(cs->a, "w < %lldu", (long long)total));
    if (s->rows > 1)
        cuda_put(cs->t, "const %s row = w / %lldu;\nconst %s c = (%s)(w %% %lldu) * %d;", cs->count,
                 (long long)across, cs->index, cs->index, (long long)across, s->lanes);
    else
        cuda_put(cs->t, "const %s c = (%s)w * %d;", cs->index, cs->index, s->lanes);
    cuda_print_position(cs);
}

// Blocks are dealt to members: whose operands they take, the same for a whole block. The first's
// are there already.
static void print_member(CudaScalar *cs, int64_t blocks) {
    const KernelMembers *members = &cs->members;
    const long long each = (long long)(blocks / members->count);
    cuda_put(cs->t, "const unsigned member = blockIdx.x / %lldu, block = blockIdx.x %% %lldu;",
             each, each);
    cuda_open(cs->t, "switch (member) {");
    for (int m = 1; m < members->count; m++) {
        cuda_put(cs->t, "case %d:", m);
        for (int o = 0; o < cs->k->operand_count; o++) {
            const int stands = members->stands[m * cs->k->operand_count + o];
            if (stands >= 0 && stands != o)
                cuda_put(cs->t, "    p%d = p%d;", o, stands);
        }
        cuda_put(cs->t, "    break;");
    }
    cuda_close(cs->t);
}

static void print_points(CudaScalar *cs, const KernelLaunches *launches) {
    cs->local = (cs->w.column_bit << 1) - 1;
    cuda_head(cs->t, cs->k, launches, 0);
    if (cs->members.count > 1)
        print_member(cs, launches->launch[0].grid[0]);
    cuda_print_origin(cs);
    cuda_print_scalars(cs, ~0u, 0);
    const CudaWalk walk = {.kind = WALK_APART, .batch = cs->s.batch, .point = point_anywhere};
    cuda_print_walk(cs, &walk);
    cuda_close(cs->t);
}

// A row in registers: vector n of this thread.
static void point_kept(CudaScalar *cs) {
    const ScalarLaunch *s = &cs->s;
    cuda_put(cs->t, "const %s c = (n * %d + thread) * %d;", cs->index, s->team, s->lanes);
    open_if(cs, s->columns % ((int64_t)s->team * s->lanes) == 0,
            arena_format(cs->a, "c < %s", cs->end));
}

// A row that goes by: vector n of those from `first` on.
static void point_passing(CudaScalar *cs) {
    const ScalarLaunch *s = &cs->s;
    cuda_put(cs->t, "const %s c = first + n * %d;", cs->index, s->team * s->lanes);
    open_if(cs, false, arena_format(cs->a, "c < %s", cs->end));
}

// A column by itself, which the loop around it names.
static void point_column(CudaScalar *cs) {
    cuda_open(cs->t, "{");
}

// The columns behind a row's last whole vector, one by one, by the thread whose turn it is: it has
// met all of its others.
static void print_tail(CudaScalar *cs, CudaWalk w) {
    const ScalarLaunch s = cs->s;
    const int64_t whole = s.columns - s.columns % s.lanes;
    cuda_open(cs->t, "for (%s c = %lld; thread == %lld && c < %lld; c++) {", cs->index,
              (long long)whole, (long long)(whole / s.lanes % s.team), (long long)s.columns);
    const ScalarHold *hold = cs->hold;
    cs->s.lanes = 1;
    cs->hold = NULL;
    w.batch = 1;
    w.point = point_column;
    cuda_print_walk(cs, &w);
    cs->s = s;
    cs->hold = hold;
    cuda_close(cs->t);
}

void cuda_print_row_walk(CudaScalar *cs, CudaWalk w) {
    const ScalarLaunch *s = &cs->s;
    w.batch = s->batch;
    if (s->kept) {
        w.kind = WALK_KEPT;
        w.point = point_kept;
        cuda_print_walk(cs, &w);
        return;
    }
    w.kind = WALK_APART;
    w.point = point_passing;
    const bool tail = cs->tail && s->shape == SCALAR_TEAM;
    const char *end = cs->end;
    if (tail) {
        cs->tail = false;
        cs->end = arena_format(cs->a, "%lld", (long long)(s->columns - s->columns % s->lanes));
    }
    cuda_open(cs->t, "for (%s first = %s + thread * %d; first < %s; first += %d) {", cs->index,
              cs->begin, s->lanes, cs->end, s->team * s->lanes * s->batch);
    // Each time an empty group more, so that as many may be left as there were before the walk.
    if (w.waits)
        cuda_put(cs->t, "plim_copies_close();\nplim_copies_wait<%d>();", cs->hold->groups);
    cuda_print_walk(cs, &w);
    cuda_close(cs->t);
    if (tail)
        print_tail(cs, w);
    cs->tail = cs->tail || tail;
    cs->end = end;
}

static bool is_of_stage(const CudaScalar *cs, KRef i, int stage) {
    return kop_is_reduction(cs->k->instr[i].op) && cs->w.depth[i] == stage + 1;
}

static bool walk_reduces(const CudaScalar *cs, int stage) {
    for (KRef i = 0; i < cs->k->instr_count; i++)
        if (is_of_stage(cs, i, stage) && cs->k->instr[i].op != KOP_PICK)
            return true;
    return false;
}

// What the team's threads have joined, joined; everybody has the result.
static void print_team(CudaScalar *cs, KRef i, const char *name, const char *from) {
    const char *what = cs->k->instr[i].op == KOP_SUM ? "sum" : "max";
    if (cs->s.team <= GPU_WARP)
        cuda_put(cs->t, "const float %s = plim_team_%s(%s, %d);", name, what, from, cs->s.team);
    else
        cuda_put(cs->t, "const float %s = plim_block_%s(%s, slots[%d], %d);", name, what, from,
                 cs->w.slot[i], cs->s.team);
}

static void print_stage(CudaScalar *cs, int stage) {
    for (KRef i = 0; i < cs->k->instr_count; i++)
        if (is_of_stage(cs, i, stage) && cs->k->instr[i].op != KOP_PICK)
            cuda_put(cs->t, "float r%d = %s;", i, cuda_start(cs, i));
    if (walk_reduces(cs, stage))
        cuda_print_row_walk(cs, (CudaWalk){.stage = stage, .waits = cs->hold && stage == 0});
    for (KRef i = 0; i < cs->k->instr_count; i++) {
        if (!is_of_stage(cs, i, stage))
            continue;
        if (cs->k->instr[i].op == KOP_PICK)
            cuda_print_pick(cs, i);
        else if (cs->s.shape == SCALAR_TEAM)
            print_team(cs, i, arena_format(cs->a, "v%d", i), arena_format(cs->a, "r%d", i));
        cs->ready[i] = cs->s.shape == SCALAR_TEAM;
    }
}

static void print_slots(CudaScalar *cs) {
    if (cs->s.team > GPU_WARP && cs->w.reductions > 0)
        cuda_put(cs->t, "__shared__ float slots[%d][32];", cs->w.reductions);
}

// Effects, in a last walk and once a row; `leads` is the condition for the latter.
static void print_effects(CudaScalar *cs, const char *leads) {
    bool along = false;
    for (KRef i = 0; i < cs->k->instr_count; i++)
        along = along || (kop_is_effect(cs->k->instr[i].op) && scalar_along(&cs->w, i));
    if (along)
        cuda_print_row_walk(cs, (CudaWalk){.stage = cs->w.stages});
    for (KRef i = 0; i < cs->k->instr_count; i++)
        if (kop_is_effect(cs->k->instr[i].op) && !scalar_along(&cs->w, i))
            cuda_print_effect_once(cs, i, leads);
}

// Loads that stay in registers, and room for what is dear.
static void print_keep(CudaScalar *cs) {
    const Kernel *k = cs->k;
    if (!cs->s.kept)
        return;
    bool *chosen = arena_array(cs->a, bool, k->instr_count + 1);
    cs->dear = arena_array(cs->a, bool, k->instr_count + 1);
    for (KRef i = 0; i < k->instr_count; i++) {
        if (!scalar_along(&cs->w, i))
            continue;
        const int walks = scalar_walks_needing(cs->a, &cs->w, i);
        // What waits for a reduction, through its index, can't be loaded before.
        chosen[i] = scalar_keeps_load(&cs->w, i, walks) && cs->w.depth[i] == 0;
        cs->dear[i] =
            walks > 1 && (scalar_is_dear(k->instr[i].op) || (cuda_is_load(cs, i) && !chosen[i]));
        if (cs->dear[i])
            cuda_put(cs->t, "%s k%d[%d][%d];", cuda_value_type(k->instr[i].dtype), i, cs->s.batch,
                     cs->s.lanes);
    }
    const CudaWalk walk = {.batch = cs->s.batch, .point = point_kept};
    cuda_print_keep(cs, &walk, chosen);
}

// Asks for everything that shared memory is to hold, a group of copies a batch of vectors.
static void print_hold(CudaScalar *cs) {
    const ScalarLaunch *s = &cs->s;
    const ScalarHold *hold = cs->hold;
    if (!hold)
        return;
    const char *row = s->block == s->team ? ""
                                          : arena_format(cs->a, " + threadIdx.x / %du * %lldu",
                                                         s->team, (long long)hold->row);
    cuda_put(cs->t, "const unsigned char *held = plim_shared()%s;", row);
    cuda_put(cs->t, "const unsigned held_at = plim_shared_address()%s;", row);
    cuda_open(cs->t, "for (int group = 0; group < %d; group++) {", hold->groups);
    cuda_put(cs->t, "#pragma unroll");
    cuda_open(cs->t, "for (int n = 0; n < %d; n++) {", s->batch);
    cuda_put(cs->t, "const %s c = ((group * %d + n) * %d + thread) * %d;", cs->index, s->batch,
             s->team, s->lanes);
    for (KRef i = 0; i < cs->k->instr_count; i++) {
        if (hold->load[i].columns == 0)
            continue;
        cuda_open(cs->t, "if (c < %lld) {", (long long)hold->load[i].columns);
        cuda_print_copies(cs, i);
        cuda_close(cs->t);
    }
    cuda_close(cs->t);
    cuda_put(cs->t, "plim_copies_close();");
    cuda_close(cs->t);
    if (!walk_reduces(cs, 0)) // a pick's walks are several
        cuda_put(cs->t, "plim_copies_wait<0>();");
}

static void print_team_rows(CudaScalar *cs, const KernelLaunches *launches) {
    const ScalarLaunch *s = &cs->s;
    const int rows = s->block / s->team;
    const bool whole = s->rows % rows == 0;
    cuda_head(cs->t, cs->k, launches, 0);
    cuda_put(cs->t, "const int thread = (int)threadIdx.x %% %d;", s->team);
    cuda_put(cs->t, "const %s wanted = (%s)blockIdx.x * %du + threadIdx.x / %du;", cs->count,
             cs->count, rows, s->team);
    if (!whole)
        cuda_put(cs->t, "const bool live = wanted < %lldu;", (long long)s->rows);
    cuda_put(cs->t, "const %s row = %s;", cs->count,
             whole ? "wanted"
                   : arena_format(cs->a, "live ? wanted : %lldu", (long long)s->rows - 1));
    cuda_print_position(cs);
    print_slots(cs);
    cuda_print_scalars(cs, cs->w.column_bit, 0);
    print_keep(cs);
    print_hold(cs);
    for (int stage = 0; stage < cs->w.stages; stage++) {
        print_stage(cs, stage);
        cuda_print_scalars(cs, cs->w.column_bit, stage + 1);
    }
    if (!whole)
        cuda_open(cs->t, "if (live) {");
    print_effects(cs, "thread == 0");
    if (!whole)
        cuda_close(cs->t);
    cuda_close(cs->t);
}

static const char *partial_text(const CudaScalar *cs, KRef i, const char *part) {
    return arena_format(cs->a, "partial[(%lldLL + row) * %lld + %s]",
                        (long long)(cs->w.slot[i] * cs->s.rows), (long long)cs->s.parts, part);
}

// Reductions of an earlier launch: all of the row's parts.
static void print_joined_parts(CudaScalar *cs, int stage) {
    for (KRef i = 0; i < cs->k->instr_count; i++) {
        if (!is_of_stage(cs, i, stage))
            continue;
        cuda_put(cs->t, "float q%d = %s;", i, cuda_start(cs, i));
        cuda_open(cs->t, "for (int i = thread; i < %lld; i += %d) {", (long long)cs->s.parts,
                  cs->s.team);
        const char *x = partial_text(cs, i, "i");
        if (cs->k->instr[i].op == KOP_SUM)
            cuda_put(cs->t, "q%d = q%d + %s;", i, i, x);
        else
            cuda_put(cs->t, "q%d = plim_max(%s, q%d);", i, x, i);
        cuda_close(cs->t);
        print_team(cs, i, arena_format(cs->a, "v%d", i), arena_format(cs->a, "q%d", i));
        cs->ready[i] = true;
    }
}

// Launch number `stage`; the last makes the effects.
static void print_split_launch(CudaScalar *cs, const KernelLaunches *launches, int stage) {
    const ScalarLaunch *s = &cs->s;
    const bool parted = stage < cs->w.stages || launches->launch[stage].grid[0] > s->rows;
    memset(cs->ready, 0, (size_t)cs->k->instr_count * sizeof *cs->ready);
    cuda_head(cs->t, cs->k, launches, stage);
    cuda_put(cs->t, "const int thread = (int)threadIdx.x;\nfloat *partial = (float *)workspace;");
    cuda_put(cs->t, "const unsigned row = blockIdx.x / %lldu, part = blockIdx.x %% %lldu;",
             parted ? (long long)s->parts : 1, parted ? (long long)s->parts : 1);
    cuda_put(cs->t, "const %s begin = part * (%s)%lld;", cs->index, cs->index, (long long)s->part);
    cuda_put(cs->t, "const %s end = begin + %lld < %lld ? begin + %lld : %lld;", cs->index,
             (long long)s->part, (long long)s->columns, (long long)s->part, (long long)s->columns);
    cuda_print_position(cs);
    print_slots(cs);
    cuda_print_scalars(cs, cs->w.column_bit, 0);
    for (int before = 0; before < stage; before++) {
        print_joined_parts(cs, before);
        cuda_print_scalars(cs, cs->w.column_bit, before + 1);
    }
    if (stage == cs->w.stages) {
        print_effects(cs, "thread == 0 && part == 0");
        cuda_close(cs->t);
        return;
    }
    print_stage(cs, stage);
    for (KRef i = 0; i < cs->k->instr_count; i++) {
        if (!is_of_stage(cs, i, stage))
            continue;
        print_team(cs, i, arena_format(cs->a, "t%d", i), arena_format(cs->a, "r%d", i));
        cuda_put(cs->t, "if (thread == 0)\n    %s = t%d;", partial_text(cs, i, "part"), i);
    }
    cuda_close(cs->t);
}

void cuda_print_rows(CudaScalar *cs, const KernelLaunches *launches) {
    cs->local = cs->w.column_bit;
    cs->begin = "0";
    cs->end = arena_format(cs->a, "%lld", (long long)cs->s.columns);
    switch (cs->s.shape) {
    case SCALAR_POINTS:
        print_points(cs, launches);
        return;
    case SCALAR_TILES:
        cuda_print_tiles(cs, launches);
        return;
    case SCALAR_TEAM:
        print_team_rows(cs, launches);
        return;
    case SCALAR_SPLIT:
        cs->begin = "begin";
        cs->end = "end";
        for (int stage = 0; stage <= cs->w.stages; stage++)
            print_split_launch(cs, launches, stage);
        return;
    case SCALAR_SCATTER:
    case SCALAR_COLUMNS:
        break;
    }
    UNREACHABLE();
}
