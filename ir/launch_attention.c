// Geometry of attention on a GPU: a block owns tiles of queries, or of keys, of one head and walks
// over the other operand.
//
// Tiles are as large as registers allow without spilling (255 a thread; looked up with ptxas -v): a
// warp's accumulators are 16 fragments x width floats, its scores 16 fragments x tile. Forward, two
// fragments a warp halve what is read of shared memory for each multiplication, up to width 128.
// Gradients of keys and values share a launch up to width 128. What does not fit a smaller GPU's
// shared memory takes smaller tiles.
//
// By groups, and by tensor maps, one launch makes all three gradients; it adds dq up in the
// workspace. But for tables: which blocks of keys come to a tile of queries, and in which order, is
// known from positions alone.
#include "ir/launch_attention.h"

#include "ir/check.h"
#include "ir/kernel_size.h"
#include "ir/template_layout.h"

#include <string.h>

enum {
    WIDTH_MAX = 256,
    GROUP_ROWS = 64,
    GROUP_GRADIENT_MAX = 128,
    PLAIN_THREADS = 128,
    PLAIN_DEPTH = 32
};
enum { SPLIT_WARPS = 8, SPLIT_KEYS = 64 }; // warps of a multiprocessor, at least so many keys each

static int64_t ceil_divide(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

static int64_t round_up(int64_t x, int64_t to) {
    return ceil_divide(x, to) * to;
}

static int64_t larger(int64_t a, int64_t b) {
    return a > b ? a : b;
}

static AttentionUnit unit_of(const AttentionKernel *t, AttentionPart part, GpuArch arch) {
    const int64_t dim = larger(t->dim_qk, t->dim_v);
    if (part == ATTENTION_DELTA || arch.sm < 80 || t->dtype != DT_BF16 || dim > WIDTH_MAX)
        return ATTENTION_PLAIN;
    // Few queries, or narrow heads, would fill a small part of what groups multiply; they have no
    // registers for addresses of biases and masks.
    const bool groups = arch.sm == 90 && arch.specific && dim > 32 && !t->bias && !t->mask;
    if (part == ATTENTION_FORWARD && groups && t->queries >= GROUP_ROWS)
        return ATTENTION_GROUPS;
    if ((part == ATTENTION_DQ || part == ATTENTION_DKV || part == ATTENTION_ALL) && groups &&
        dim <= GROUP_GRADIENT_MAX && t->queries >= GROUP_ROWS && t->keys >= GROUP_ROWS)
        return ATTENTION_GROUPS;
    return ATTENTION_WARPS;
}

// Bytes of shared memory: the rows a block owns, then its stages.
static int64_t tensor_shared(const AttentionKernel *t, const AttentionLaunch *l) {
    // Groups take blocks of 64 columns, and a barrier for each of four events of a stage and for
    // queries.
    const bool groups = l->unit == ATTENTION_GROUPS;
    const int64_t step = groups ? 64 : 16;
    const int64_t qk = round_up(t->dim_qk, step), v = round_up(t->dim_v, step);
    const int64_t rows = (int64_t)l->warps * 16 * l->fragments, both = 2 * (qk + v);
    const int64_t barriers = groups ? 8 * (1 + 4 * l->stages) : 0;
    if (l->part == ATTENTION_FORWARD || l->part == ATTENTION_SPLIT)
        return rows * 2 * larger(qk, v) + l->stages * l->tile * both + barriers;
    // Sums are exchanged where the tiles were.
    if (l->part == ATTENTION_DBIAS)
        return larger(rows * both + l->tile * both, rows * l->tile * (int64_t)sizeof(float));
    // Where keys stay, the log-sum-exp and delta of a tile of queries come with it.
    const int64_t values = l->part == ATTENTION_DQ ? 0 : 8;
    const int64_t all = rows * both + l->stages * l->tile * (both + values) + barriers;
    if (l->part != ATTENTION_ALL)
        return all;
    // Each group's ds of all keys and product of these, and four barriers.
    return all + l->warps / 4 * (l->tile * (2 * rows + 4 * qk) + 4 * 8);
}

// The tiles for an ample shared memory.
static AttentionLaunch warp_tiles(const AttentionKernel *t, AttentionPart part) {
    const int64_t width = round_up(larger(t->dim_qk, t->dim_v), 16);
    AttentionLaunch l = {.part = part, .unit = ATTENTION_WARPS, .warps = 8, .fragments = 1};
    const bool pairs = t->bias || t->mask; // addresses of them are registers, too
    l.tile = 32;
    l.stages = 2;
    l.resident = 1;
    if (part == ATTENTION_DBIAS) {
        l.warps = 4;
        l.tile = 64;
        l.stages = 1;
        l.resident = 2;
    } else if (part == ATTENTION_SPLIT) {
        l.warps = 1;
        l.tile = width <= 64 ? 32 : 16;
    } else if (part == ATTENTION_FORWARD && width <= 128) {
        l.warps = 4;
        l.fragments = 2;
        l.resident = 2;
        l.tile = width <= 64 && !pairs ? 64 : t->cap == 0 ? 32 : 16;
    } else if (part == ATTENTION_FORWARD) {
        l.tile = width <= 192 ? 64 : 32;
    } else {
        l.warps = width <= 192 ? 8 : 4;
        l.tile = width <= 96 || (width <= 128 && part == ATTENTION_DQ && !pairs) ? 64 : 32;
        if (pairs && width > 96 && width <= 128 && part == ATTENTION_DKV)
            l.tile = 16;
    }
    return l;
}

// Narrow heads leave registers for a third group, but for a cap's tanh, and for a table, whose walk
// has ends that the copying group must keep. A group's gradients are sums for one or two operands
// beside two tiles of scores.
static AttentionLaunch group_tiles(const AttentionKernel *t, AttentionPart part) {
    const int64_t width = round_up(larger(t->dim_qk, t->dim_v), 64);
    AttentionLaunch l = {.part = part, .unit = ATTENTION_GROUPS, .fragments = 1};
    const bool plain = attention_table_row(t) == 0 && t->cap == 0;
    l.warps = part == ATTENTION_FORWARD && width <= 64 && plain ? 12 : 8;
    l.tile = width <= 128 ? 128 : width <= 192 ? 96 : 64;
    if (part != ATTENTION_FORWARD)
        l.tile = width <= 64 || part != ATTENTION_DKV ? 64 : 48;
    l.stages = 2;
    l.resident = 1;
    return l;
}

static AttentionLaunch tensor_launch(const AttentionKernel *t, AttentionPart part, GpuArch arch,
                                     AttentionUnit unit) {
    AttentionLaunch l = unit == ATTENTION_GROUPS ? group_tiles(t, part) : warp_tiles(t, part);
    while ((l.shared = tensor_shared(t, &l)) > gpu_shared_max(arch)) {
        CHECK(unit == ATTENTION_WARPS && (l.tile > 16 || l.warps > 1));
        if (l.tile > 32 || l.warps == 4)
            l.tile /= 2;
        else
            l.warps /= 2;
    }
    l.threads = (l.warps + (unit == ATTENTION_GROUPS ? 4 : 0)) * GPU_WARP;
    return l;
}

// How an operand is copied by tensor map, so many rows at a time. False where that can't be:
// strides of a map are whole chunks of 16 bytes, and below 2^40 bytes. That of a dim of 1 is never
// taken, but has to be one.
static bool map_operand(const AttentionKernel *t, int operand, int rows, KernelMap *out) {
    enum { CHUNK = 8 };
    const AttentionOperand o = kernel_attention_operand(t, operand);
    *out = (KernelMap){.operand = operand,
                       .dim = {o.width, o.positions, o.heads, t->batch},
                       .stride = {o.stride[2], o.stride[1], o.stride[0]},
                       .rows = rows};
    bool fits = o.width % CHUNK == 0;
    for (int i = 0; i < KERNEL_MAP_DIMS - 1; i++) {
        if (out->dim[i + 1] == 1)
            out->stride[i] = CHUNK;
        fits = fits && out->stride[i] > 0 && out->stride[i] % CHUNK == 0 &&
               out->stride[i] < (int64_t)1 << 39 && out->dim[i + 1] <= INT32_MAX;
    }
    return fits;
}

// All that groups read of queries and keys, or nothing: own rows 64 at a time, a group's, the
// others by tiles. A map ends with the operand, but a cache's rows behind the last query are
// nobody's yet: what stands there may be no number, and 0 times that is none.
static void add_maps(const AttentionKernel *t, AttentionLaunch *l) {
    enum { Q, K, V, DOUT = 5 };
    static const int operand[KERNEL_MAPS_MAX] = {Q, K, V, DOUT};
    const int count = l->part == ATTENTION_FORWARD ? 3 : 4;
    if (t->offset)
        return;
    for (int i = 0; i < count; i++) {
        const bool queries = operand[i] == Q || operand[i] == DOUT;
        const bool own = queries == (l->part != ATTENTION_DKV && l->part != ATTENTION_ALL);
        if (!map_operand(t, operand[i], own ? GROUP_ROWS : l->tile, &l->map[i]))
            return;
    }
    l->map_count = count;
}

// Heads, and rows of a head, whose results a launch makes.
static void owned_by(const AttentionKernel *t, AttentionPart part, int64_t *heads, int64_t *rows) {
    const bool keys = part == ATTENTION_DK || part == ATTENTION_DV || part == ATTENTION_DKV ||
                      part == ATTENTION_ALL;
    *heads = t->batch * (keys ? t->groups : t->heads);
    *rows = keys ? t->keys : t->queries;
}

static void add_part(const AttentionKernel *t, GpuArch arch, AttentionPart part,
                     AttentionLaunches *out) {
    AttentionLaunch l = {.part = part, .threads = PLAIN_THREADS};
    const AttentionUnit unit = unit_of(t, part, arch);
    int64_t heads, rows;
    owned_by(t, part, &heads, &rows);
    if (part == ATTENTION_DELTA) {
        l.blocks = ceil_divide(heads * rows, ATTENTION_DELTA_ROWS);
    } else if (unit != ATTENTION_PLAIN) {
        l = tensor_launch(t, part, arch, unit);
        if (unit == ATTENTION_GROUPS)
            add_maps(t, &l);
        l.blocks = heads * ceil_divide(rows, (int64_t)l.warps * 16 * l.fragments);
    } else {
        // Scores that threads exchange, and one operand of all columns (larger than two by depth).
        const int64_t floats = ATTENTION_PLAIN_ROWS * (PLAIN_DEPTH + 1) +
                               ATTENTION_PLAIN_ROWS * ATTENTION_PLAIN_COLUMNS;
        const bool values = part == ATTENTION_FORWARD || part == ATTENTION_DV;
        l.shared = floats * (int64_t)sizeof(float);
        l.blocks = heads * ceil_divide(rows, ATTENTION_PLAIN_ROWS) *
                   ceil_divide(values ? t->dim_v : t->dim_qk, ATTENTION_PLAIN_COLUMNS);
    }
    out->launch[out->count++] = l;
}

// The gradient of a bias: a block owns queries by keys of what the bias has of its own.
static void add_bias(const AttentionKernel *t, GpuArch arch, AttentionLaunches *out) {
    AttentionLaunch l = {.part = ATTENTION_DBIAS, .threads = PLAIN_THREADS};
    int rows = ATTENTION_PLAIN_ROWS, columns = ATTENTION_PLAIN_ROWS;
    if (unit_of(t, ATTENTION_DBIAS, arch) == ATTENTION_WARPS) {
        l = tensor_launch(t, ATTENTION_DBIAS, arch, ATTENTION_WARPS);
        rows = l.warps * 16;
        columns = l.tile;
    } else {
        l.shared = 3 * ATTENTION_PLAIN_ROWS * (PLAIN_DEPTH + 1) * (int64_t)sizeof(float);
    }
    l.blocks = attention_bias_tiles(t, rows, columns);
    out->launch[out->count++] = l;
}

// One query a head: a warp has up to 16 heads of a group and a split of its keys, so many splits
// that each multiprocessor gets some warps, but none of fewer than 64 keys.
static void add_single(const AttentionKernel *t, GpuArch arch, AttentionLaunches *out) {
    AttentionLaunch split = tensor_launch(t, ATTENTION_SPLIT, arch, ATTENTION_WARPS);
    const int64_t owners = t->batch * t->groups * ceil_divide(t->heads / t->groups, 16);
    const int64_t wanted = ceil_divide(gpu_multiprocessors(arch) * SPLIT_WARPS, owners);
    const int64_t most = larger(t->keys / SPLIT_KEYS, 1);
    split.splits = (int)(wanted < most ? wanted : most);
    split.blocks = owners * split.splits;
    AttentionLaunch join = {.part = ATTENTION_JOIN, .splits = split.splits};
    join.threads = PLAIN_THREADS;
    join.blocks = t->batch * t->heads;
    out->launch[out->count++] = split;
    out->launch[out->count++] = join;
    out->workspace = (size_t)(join.blocks * split.splits * (t->dim_v + 2)) * sizeof(float);
}

// All gradients in one launch, between one that makes its workspace ready and one that makes dq of
// it. False where that can't be.
static bool add_all(const AttentionKernel *t, GpuArch arch, AttentionLaunches *out) {
    // With slopes and a cap wide heads would spill.
    const bool wide = larger(t->dim_qk, t->dim_v) > 64;
    if (attention_table_row(t) > 0 || (wide && t->slopes && t->cap > 0) ||
        unit_of(t, ATTENTION_ALL, arch) != ATTENTION_GROUPS)
        return false;
    out->count = 1;
    add_part(t, arch, ATTENTION_ALL, out);
    const AttentionLaunch *all = &out->launch[1];
    if (all->map_count == 0)
        return false;
    AttentionLaunch values = {
        .part = ATTENTION_VALUES, .tile = all->tile, .warps = all->warps, .threads = PLAIN_THREADS};
    AttentionLaunch narrow = values;
    narrow.part = ATTENTION_NARROW;
    out->tiles = t->batch * t->heads * ceil_divide(t->queries, all->tile);
    const int64_t rows = out->tiles * all->tile;
    values.blocks = ceil_divide(rows, ATTENTION_DELTA_ROWS);
    // A thread takes eight columns of two queries.
    narrow.blocks = ceil_divide(rows / 2 * ceil_divide(t->dim_qk, 8), PLAIN_THREADS);
    out->launch[0] = values;
    out->launch[out->count++] = narrow;
    out->sums = (size_t)(rows * 2) * sizeof(float);
    out->turns = out->sums + (size_t)(rows * round_up(t->dim_qk, 64)) * sizeof(float);
    out->workspace = out->turns + (size_t)out->tiles * sizeof(int32_t);
    return true;
}

void attention_launches(const Kernel *k, GpuArch arch, AttentionLaunches *out) {
    const AttentionKernel *t = &k->attention;
    *out = (AttentionLaunches){0};
    if (k->kind == KERNEL_ATTENTION && t->queries == 1 && attention_table_row(t) == 0 &&
        unit_of(t, ATTENTION_FORWARD, arch) == ATTENTION_WARPS) {
        add_single(t, arch, out);
        return;
    }
    if (k->kind == KERNEL_ATTENTION) {
        add_part(t, arch, ATTENTION_FORWARD, out);
        return;
    }
    if (add_all(t, arch, out))
        return;
    *out = (AttentionLaunches){0};
    out->workspace = (size_t)(t->batch * t->heads * t->queries) * sizeof(float);
    add_part(t, arch, ATTENTION_DELTA, out);
    if (k->kind == KERNEL_ATTENTION_GRAD_BIAS) {
        add_bias(t, arch, out);
        return;
    }
    add_part(t, arch, ATTENTION_DQ, out);
    const bool together =
        larger(t->dim_qk, t->dim_v) <= 128 && unit_of(t, ATTENTION_DKV, arch) != ATTENTION_PLAIN;
    if (together) {
        add_part(t, arch, ATTENTION_DKV, out);
        return;
    }
    add_part(t, arch, ATTENTION_DK, out);
    add_part(t, arch, ATTENTION_DV, out);
}

void kernel_launches_attention(const Kernel *k, GpuArch arch, KernelLaunches *out) {
    static const char *const suffix[KERNEL_LAUNCHES_MAX] = {"", "_1", "_2", "_3"};
    AttentionLaunches all;
    attention_launches(k, arch, &all);
    out->count = all.count;
    out->workspace = all.workspace;
    for (int i = 0; i < all.count; i++) {
        const AttentionLaunch *l = &all.launch[i];
        out->launch[i] = (KernelLaunch){.suffix = suffix[i],
                                        .grid = {l->blocks, 1, 1},
                                        .block = l->threads,
                                        .shared = l->shared,
                                        .map_count = l->map_count};
        memcpy(out->launch[i].map, l->map, sizeof l->map);
    }
}
