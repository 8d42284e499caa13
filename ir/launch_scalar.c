// Memory is what counts: a multiprocessor needs some 64 KiB of loads under way to draw its share of
// an H200's bandwidth, so threads take 16 bytes an access and several accesses before they compute.
//
// A row that is reduced belongs to as many threads as hold 16 of its columns each, and not more
// than four vectors, so that neighbours read what lies side by side: parts of a warp for short
// rows, a block of 512 for long ones. That, and the width of vectors, is the shape of its sums, so
// both are chosen by the row's length and by what its reductions read, not by what else the kernel
// does nor by how many rows there are: a sum keeps its bits when it is fused with something, taken
// apart, or made of some of the rows. Where registers have room for all operands of a row they hold
// them, else shared memory does (ir/launch_hold.h). Where there are few rows and long ones (the
// norm of all gradients), a row is cut into parts, and their sums go through the workspace.
//
// Sums down columns: threads side by side take neighbouring columns, those behind each other take
// turns on the rows, and the rows are cut into parts until there are blocks enough. Additions by
// index keep the order of rows: one thread takes a column from the first row to the last.
#include "ir/launch_scalar.h"

#include "ir/check.h"
#include "ir/launch.h"
#include "ir/launch_hold.h"

enum {
    BLOCK = 256,
    BYTES_UNDER_WAY = 64, // of a thread
    BATCH_MAX = 4,
    LANES_MAX = 8,
    REGISTERS_KEPT = 64,       // values a thread keeps, in blocks of up to 256 threads
    REGISTERS_KEPT_LARGE = 32, // in larger ones
    TEAM_MAX = 512,            // threads of a row: two such blocks take turns to load and compute
    TEAM_COLUMNS = 16,         // of a thread, at most in shorter rows
    BLOCKS_WANTED = 512,
    SPLIT_ROWS = 64, // at most, for a row to be cut
    SPLIT_COLUMNS = 32768,
    SPLIT_PART = 8192, // columns at least
    SPLIT_PARTS_MAX = 1024,
    SPLIT_STAGES_MAX = 3, // and a launch for the effects
    PART_ROWS = 64,       // rows at least of a part of them
    ADD_BLOCK = 64,
    SCATTER_ROWS = 2048, // below, a thread a column goes through all of them
    SCATTER_ROWS_MAX = 1 << 28,
    SORT_BLOCK = 1024,
    TILE_EXTENT_MIN = 16,
    TILES_MAX = 4 // of 8320 bytes
};

static int64_t ceil_divide(int64_t a, int64_t b) {
    return a / b + (a % b != 0);
}

// The least power of two that is not below x, at most `most`.
static int power_above(int64_t x, int most) {
    int p = 1;
    while (p < x && p < most)
        p *= 2;
    return p;
}

int scalar_access(const ScalarWalks *w, KRef i) {
    const Kernel *k = w->k;
    const KInstr *in = &k->instr[i];
    const int last = k->rank - 1;
    const KRef moving = scalar_moving_index(k, i);
    if (in->operand < 0 || !scalar_along(w, i) || k->operand[in->operand].stride[last] != 1 ||
        (moving >= 0 && scalar_along(w, moving)))
        return 1;
    // From base addresses that are multiples of so many bytes; so must be what leads to a row.
    const KOperand *o = &k->operand[in->operand];
    int access = (o->align ? o->align : 16) / (int)dtype_bytes(o->dtype);
    access = access < LANES_MAX ? access : LANES_MAX;
    for (int d = 0; d < last; d++)
        while (k->dim[d] > 1 && o->stride[d] % access != 0)
            access /= 2;
    while (moving >= 0 && in->step % access != 0)
        access /= 2;
    return access;
}

bool scalar_is_turned(const ScalarWalks *w, KRef i, int dim) {
    const Kernel *k = w->k;
    const KInstr *in = &k->instr[i];
    return in->op == KOP_LOAD && scalar_along(w, i) &&
           k->operand[in->operand].stride[k->rank - 1] > 1 &&
           k->operand[in->operand].stride[dim] == 1;
}

static bool is_load(KOp op) {
    return op == KOP_LOAD || op == KOP_LOAD_AT;
}

static bool has_op(const Kernel *k, KOp op) {
    for (KRef i = 0; i < k->instr_count; i++)
        if (k->instr[i].op == op)
            return true;
    return false;
}

// Random numbers and nothing else, as first values of weights: a hundred instructions for each
// element that is stored, so the width of stores doesn't matter, and a vector would only be more
// code.
static bool draws(const ScalarWalks *w) {
    bool loads = false;
    for (KRef i = 0; i < w->k->instr_count; i++)
        loads = loads || (is_load(w->k->instr[i].op) && scalar_along(w, i));
    return !loads && has_op(w->k, KOP_RANDOM);
}

// counts[i]: operation i's access counts; all do where it is NULL.
static int widest_of(const ScalarWalks *w, const bool *counts) {
    const int64_t columns = w->k->dim[w->k->rank - 1];
    int lanes = 1;
    for (KRef i = 0; i < w->k->instr_count; i++)
        if ((!counts || counts[i]) && scalar_access(w, i) > lanes)
            lanes = scalar_access(w, i);
    while (lanes > 1 && lanes / 2 >= columns)
        lanes /= 2;
    return lanes;
}

static int lanes_of(const ScalarWalks *w) {
    return draws(w) ? 1 : widest_of(w, NULL);
}

// The widest access of what the row's reductions read.
static int lanes_of_reductions(const ScalarWalks *w) {
    Arena *a = arena_create();
    bool *need = arena_array(a, bool, w->k->instr_count + 1);
    bool *read = arena_array(a, bool, w->k->instr_count + 1);
    for (int walk = 0; walk < w->stages; walk++) {
        scalar_walk_needs(w, walk, w->column_bit, need);
        for (KRef i = 0; i < w->k->instr_count; i++)
            read[i] = read[i] || need[i];
    }
    const int lanes = widest_of(w, read);
    arena_release(a);
    return lanes;
}

// Vectors whose loads a thread has under way, by the bytes of one.
static int batch_of(const ScalarWalks *w, int lanes) {
    int64_t bytes = 0;
    for (KRef i = 0; i < w->k->instr_count; i++)
        if (is_load(w->k->instr[i].op) && scalar_along(w, i))
            bytes += lanes * (int64_t)dtype_bytes(w->k->operand[w->k->instr[i].operand].dtype);
    const int64_t batch = bytes > 0 ? BYTES_UNDER_WAY / bytes : 1;
    return batch < 1 ? 1 : batch > BATCH_MAX ? BATCH_MAX : (int)batch;
}

bool scalar_keeps_load(const ScalarWalks *w, KRef i, int walks_needing) {
    // What is the same in all rows comes from the cache.
    return is_load(w->k->instr[i].op) && walks_needing > 0 &&
           (walks_needing > 1 || (w->varies[i] & ~w->column_bit) != 0);
}

// Values along the column that a row in registers takes: loads, and what is dear and needed again.
static int64_t kept_values(const ScalarWalks *w) {
    Arena *a = arena_create();
    int64_t kept = 0;
    for (KRef i = 0; i < w->k->instr_count; i++) {
        const KOp op = w->k->instr[i].op;
        if (!scalar_along(w, i) || (!is_load(op) && !scalar_is_dear(op)))
            continue;
        const int walks = scalar_walks_needing(a, w, i);
        kept += is_load(op) ? scalar_keeps_load(w, i, walks) : walks > 1;
    }
    arena_release(a);
    return kept;
}

static void choose_team(const ScalarWalks *w, ScalarLaunch *s) {
    const int64_t vectors = ceil_divide(s->columns, s->lanes);
    const int most = TEAM_COLUMNS / s->lanes < BATCH_MAX ? TEAM_COLUMNS / s->lanes : BATCH_MAX;
    s->team = power_above(ceil_divide(vectors, most), TEAM_MAX);
    s->block = s->team > GPU_WARP ? s->team : BLOCK;
    const int64_t each = ceil_divide(vectors, s->team);
    const int64_t room = s->team <= BLOCK ? REGISTERS_KEPT : REGISTERS_KEPT_LARGE;
    s->kept = !has_op(w->k, KOP_PICK) && kept_values(w) * each * s->lanes <= room &&
              each * s->lanes <= room;
    // A pick goes over the row many times, each a loop of its own that ptxas is long about.
    s->batch = s->kept ? (int)each : has_op(w->k, KOP_PICK) ? 1 : batch_of(w, s->lanes);
}

// Whether anything is stored along the columns.
static bool stores_along(const ScalarWalks *w) {
    for (KRef i = 0; i < w->k->instr_count; i++)
        if (kop_is_effect(w->k->instr[i].op) && scalar_along(w, i))
            return true;
    return false;
}

// Whether a number of the row may be written where one lies that the row's other blocks read in the
// same launch: results may take the place of operands that are read at the same index.
static bool overwrites_rows(const ScalarWalks *w) {
    const Kernel *k = w->k;
    for (KRef i = 0; i < k->instr_count; i++)
        for (KRef j = 0; j < k->instr_count && is_load(k->instr[i].op) && !scalar_along(w, i); j++)
            if (kop_is_effect(k->instr[j].op) && !scalar_along(w, j) &&
                k->operand[k->instr[i].operand].dtype == k->operand[k->instr[j].operand].dtype)
                return stores_along(w);
    return false;
}

// The dim along which most loads are turned; -1 where none is, or tiles would be mostly empty or
// too many for a block's shared memory.
static int find_turned(const ScalarWalks *w) {
    const Kernel *k = w->k;
    int best = -1, most = 0;
    if (has_op(k, KOP_ADD_AT) || k->dim[k->rank - 1] < TILE_EXTENT_MIN)
        return -1;
    for (int d = 0; d + 1 < k->rank; d++) {
        int turned = 0;
        for (KRef i = 0; i < k->instr_count && k->dim[d] >= TILE_EXTENT_MIN; i++)
            turned += scalar_is_turned(w, i, d);
        if (turned > most && turned <= TILES_MAX) {
            best = d;
            most = turned;
        }
    }
    return best;
}

static void choose_tiles(ScalarLaunch *s, int turned) {
    s->shape = SCALAR_TILES;
    s->turned = turned;
    s->batch = SCALAR_TILE_ROWS * SCALAR_TILE_COLUMNS / (s->lanes * s->block);
}

static void choose_rows(const ScalarWalks *w, ScalarLaunch *s) {
    s->lanes = w->reductions > 0 ? lanes_of_reductions(w) : lanes_of(w);
    s->batch = batch_of(w, s->lanes);
    const int turned = w->reductions == 0 ? find_turned(w) : -1;
    if (turned >= 0) {
        choose_tiles(s, turned);
        return;
    }
    if (w->reductions == 0) {
        s->shape = SCALAR_POINTS;
        // Small ones spread over more threads.
        if (s->rows * ceil_divide(s->columns, s->lanes) < 4 * (int64_t)BLOCKS_WANTED * BLOCK)
            s->batch = 1;
        return;
    }
    if (s->rows <= SPLIT_ROWS && s->columns >= SPLIT_COLUMNS && w->stages <= SPLIT_STAGES_MAX &&
        !has_op(w->k, KOP_PICK) && !overwrites_rows(w)) {
        s->shape = SCALAR_SPLIT;
        s->team = BLOCK;
        const int64_t step = (int64_t)BLOCK * s->lanes;
        const int64_t part = ceil_divide(s->columns, SPLIT_PARTS_MAX);
        s->part = ceil_divide(part > SPLIT_PART ? part : SPLIT_PART, step) * step;
        s->parts = ceil_divide(s->columns, s->part);
        return;
    }
    s->shape = SCALAR_TEAM;
    choose_team(w, s);
}

// One addition to a place that the index alone chooses, of a number a column, for many rows.
static bool is_scatter(const ScalarWalks *w, int64_t rows) {
    const Kernel *k = w->k;
    const KInstr *add = NULL;
    for (KRef i = 0; i < k->instr_count; i++) {
        if (kop_is_effect(k->instr[i].op) && (add || k->instr[i].op != KOP_ADD_AT))
            return false;
        if (kop_is_effect(k->instr[i].op))
            add = &k->instr[i];
    }
    if (!add || w->reductions > 0 || add->dtype != DT_F32 || scalar_along(w, add->arg[1]) ||
        rows < SCATTER_ROWS || rows > SCATTER_ROWS_MAX)
        return false;
    for (int d = 0; d + 1 < k->rank; d++)
        if (k->dim[d] > 1 && k->operand[add->operand].stride[d] != 0)
            return false;
    return true;
}

static void choose_columns(const ScalarWalks *w, ScalarLaunch *s) {
    s->shape = SCALAR_COLUMNS;
    s->part = s->rows;
    if (is_scatter(w, s->rows)) {
        s->shape = SCALAR_SCATTER;
        s->lanes = lanes_of(w);
        s->batch = batch_of(w, s->lanes);
        const int64_t vectors = ceil_divide(s->columns, s->lanes);
        s->team = vectors >= BLOCK ? BLOCK : (int)ceil_divide(vectors, GPU_WARP) * GPU_WARP;
        s->block = s->team;
        s->tiles = ceil_divide(vectors, s->team);
        return;
    }
    if (has_op(w->k, KOP_ADD_AT)) {
        s->lanes = 1;
        s->batch = BATCH_MAX;
        s->block = s->team = ADD_BLOCK;
        s->tiles = ceil_divide(s->columns, s->team);
        return;
    }
    s->lanes = lanes_of(w);
    s->batch = batch_of(w, s->lanes);
    s->team = power_above(ceil_divide(s->columns, s->lanes), GPU_WARP);
    s->tiles = ceil_divide(s->columns, (int64_t)s->team * s->lanes);
    const int down = s->block / s->team;
    int64_t parts = ceil_divide(BLOCKS_WANTED, s->tiles);
    const int64_t most = ceil_divide(s->rows, PART_ROWS > 4 * down ? PART_ROWS : 4 * down);
    parts = w->reductions == 0 ? 1 : parts < most ? parts : most;
    s->part = ceil_divide(ceil_divide(s->rows, parts), down) * down;
    s->parts = ceil_divide(s->rows, s->part);
}

ScalarLaunch scalar_launch(const ScalarWalks *w) {
    const Kernel *k = w->k;
    ScalarLaunch s = {.lanes = 1, .batch = 1, .team = 1, .block = BLOCK, .rows = 1, .parts = 1};
    CHECK(k->kind == KERNEL_SCALAR);
    for (int d = 0; d + 1 < k->rank; d++)
        s.rows *= k->dim[d];
    s.columns = k->dim[k->rank - 1];
    if (k->axis == KERNEL_COLUMNS)
        choose_columns(w, &s);
    else
        choose_rows(w, &s);
    return s;
}

KernelMembers scalar_members(Arena *a, const Kernel *k) {
    KernelMembers members;
    CHECK(kernel_members_find(a, k, &members));
    const ScalarWalks w = scalar_walks(a, members.one);
    if (members.count == 1 || scalar_launch(&w).shape == SCALAR_POINTS)
        return members;
    Kernel *whole = arena_new(a, Kernel);
    *whole = *k;
    whole->members = 0;
    CHECK(kernel_members_find(a, whole, &members));
    return members;
}

static int64_t places_of(const Kernel *k) {
    KRef i = 0;
    while (k->instr[i].op != KOP_ADD_AT)
        i++;
    return k->instr[i].limit;
}

// Where each place's rows begin; rows sorted, their places, both listed; two sums a piece.
static size_t scatter_workspace(const Kernel *k, const ScalarLaunch *s) {
    const int64_t sums = 2 * ceil_divide(s->rows, SCATTER_PIECE) * s->columns;
    return (size_t)(places_of(k) + 1 + 4 * s->rows + sums) * sizeof(float);
}

void kernel_launches_scalar(const Kernel *k, GpuArch arch, KernelLaunches *out) {
    Arena *a = arena_create();
    const KernelMembers members = scalar_members(a, k);
    const ScalarWalks w = scalar_walks(a, members.one);
    const ScalarLaunch s = scalar_launch(&w);
    const size_t partial = (size_t)w.reductions * (size_t)s.parts * sizeof(float);
    switch (s.shape) {
    case SCALAR_POINTS:
        kernel_launch_add(out,
                          members.count * ceil_divide(s.rows * ceil_divide(s.columns, s.lanes),
                                                      (int64_t)s.block * s.batch),
                          s.block);
        break;
    case SCALAR_TILES: {
        const int64_t extent = k->dim[s.turned];
        kernel_launch_add(out,
                          s.rows / extent * ceil_divide(extent, SCALAR_TILE_ROWS) *
                              ceil_divide(s.columns, SCALAR_TILE_COLUMNS),
                          s.block);
        break;
    }
    case SCALAR_TEAM:
        kernel_launch_add(out, ceil_divide(s.rows, s.block / s.team), s.block);
        out->launch[0].shared = scalar_hold(a, &w, &s, arch).shared;
        break;
    case SCALAR_SPLIT:
        for (int stage = 0; stage < w.stages; stage++)
            kernel_launch_add(out, s.rows * s.parts, s.block);
        kernel_launch_add(out, stores_along(&w) ? s.rows * s.parts : s.rows, s.block);
        out->workspace = partial * (size_t)s.rows;
        break;
    case SCALAR_SCATTER:
        kernel_launch_add(out, ceil_divide(places_of(k), SCATTER_RANGE), SORT_BLOCK);
        for (int i = 0; i < 2; i++)
            kernel_launch_add(out, s.tiles * ceil_divide(s.rows, SCATTER_PIECE), s.block);
        out->workspace = scatter_workspace(k, &s);
        break;
    case SCALAR_COLUMNS:
        kernel_launch_add(out, s.tiles * s.parts, s.block);
        if (s.parts > 1) {
            kernel_launch_add(out, s.tiles, s.block);
            out->workspace = partial * (size_t)s.columns;
        }
        break;
    }
    arena_release(a);
}
