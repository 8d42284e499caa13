// A row that doesn't fit registers is walked once for each reduction and once more for what is
// stored. From global memory it comes once: threads copy the vectors that are their own to shared
// memory (cp.async), all before they wait for the first, and find them there in every walk. Nobody
// reads what another thread copied, so there are no barriers.
//
// How much: a multiprocessor of an H100 draws its share of the bandwidth, 25 bytes a nanosecond,
// with some 64 KiB of copies under way, and a row of 50257 bf16 costs it 4 us of copying and, with
// an exponential a column (23 instructions), more than 5 us of computing. So a block that has all
// of the shared memory would leave the memory idle while it computes, and the other way round; of
// two blocks one computes while the other's copies come. Blocks of 512 threads, two of them: 112
// KiB each on sm_90a, where a row of 50257 bf16 takes 98, 80 on sm_80, 48 on sm_89. Shorter rows
// have smaller blocks, and as many of them as make the same 1024 threads.
//
// What doesn't fit (128256 bf16 are 250 KiB) is loaded again in each walk, from the second-level
// cache if it is still there: the row's end, since its first columns are held. Loads that most
// walks need are held first, and what all rows share is not, as caches have it anyway.
//
// Linear in operations times loads.
#include "ir/launch_hold.h"

#include "ir/check.h"

enum {
    RESERVED = 1024,  // bytes that CUDA takes of each block's
    ALIGN = 1024,     // of dynamic shared memory: behind the static
    SLOT_BYTES = 128, // static ones of a reduction: a float for each warp
    PICK_BYTES = 384, // of a pick besides: a plim_best for each
    COPY_SM = 80,     // has cp.async
    COPY_ALIGN = 16,
    GROUPS_MAX = 63 // that a thread can wait behind
};

static int64_t round_up(int64_t x, int64_t to) {
    return (x + to - 1) / to * to;
}

int scalar_copy_bytes(const ScalarWalks *w, const ScalarLaunch *s, KRef i) {
    const Kernel *k = w->k;
    const KOperand *o = &k->operand[k->instr[i].operand];
    const KRef moving = scalar_moving_index(k, i);
    const int access = scalar_access(w, i) < s->lanes ? scalar_access(w, i) : s->lanes;
    const int bytes = access * (int)dtype_bytes(o->dtype);
    if (o->stride[k->rank - 1] != 1 || (moving >= 0 && scalar_along(w, moving)))
        return 0;
    return bytes < 4 ? 0 : bytes < 16 ? bytes : 16;
}

// How many of the row's walks need load i, where holding it saves some: 0 else. A pick makes
// several walks by itself.
static int walks_saved(Arena *a, const ScalarWalks *w, const ScalarLaunch *s, KRef i) {
    const KOp op = w->k->instr[i].op;
    // What waits for a reduction, through its index, can't be copied before.
    if ((op != KOP_LOAD && op != KOP_LOAD_AT) || !scalar_along(w, i) || w->depth[i] > 0 ||
        scalar_copy_bytes(w, s, i) == 0)
        return 0;
    if (s->rows > 1 && (w->varies[i] & ~w->column_bit) == 0)
        return 0;
    const int walks = scalar_walks_needing(a, w, i);
    return walks > 1 ? walks : 0;
}

// Bytes that a block may have for all that it holds.
static int64_t room_of(const ScalarWalks *w, const ScalarLaunch *s, GpuArch arch) {
    const int64_t blocks = HOLD_THREADS / s->block;
    int64_t fixed = w->reductions * SLOT_BYTES;
    for (KRef i = 0; i < w->k->instr_count; i++)
        fixed += w->k->instr[i].op == KOP_PICK ? PICK_BYTES : 0;
    return (gpu_shared_max(arch) + RESERVED) / blocks - RESERVED - round_up(fixed, ALIGN);
}

// Load i behind what the row has already, as much of it as there is room for.
static void hold_load(ScalarHold *h, const ScalarWalks *w, const ScalarLaunch *s, KRef i,
                      int64_t room) {
    const int64_t size = (int64_t)dtype_bytes(w->k->operand[w->k->instr[i].operand].dtype);
    const int64_t whole = s->columns - s->columns % s->lanes;
    const int64_t most = (room - h->row) / COPY_ALIGN * COPY_ALIGN / size;
    const int64_t across = (int64_t)s->team * s->lanes, batch = across * s->batch;
    const int64_t columns = most >= whole ? whole : most / across * across;
    const int groups = (int)((columns + batch - 1) / batch);
    if (columns <= 0)
        return;
    CHECK(groups <= GROUPS_MAX); // a batch is 16 bytes of each load at least, or the row short
    h->load[i] = (HeldLoad){.columns = columns, .at = h->row};
    h->row = round_up(h->row + columns * size, COPY_ALIGN);
    h->groups = groups > h->groups ? groups : h->groups;
}

ScalarHold scalar_hold(Arena *a, const ScalarWalks *w, const ScalarLaunch *s, GpuArch arch) {
    const KRef count = w->k->instr_count;
    ScalarHold h = {.load = arena_array(a, HeldLoad, count + 1)};
    if (s->shape != SCALAR_TEAM || s->kept || arch.sm < COPY_SM)
        return h;
    const int rows = s->block / s->team;
    const int64_t room = room_of(w, s, arch) / rows;
    int *walks = arena_array(a, int, count + 1);
    int most = 0;
    for (KRef i = 0; i < count; i++) {
        walks[i] = walks_saved(a, w, s, i);
        most = walks[i] > most ? walks[i] : most;
    }
    for (int now = most; now > 0; now--)
        for (KRef i = 0; i < count; i++)
            if (walks[i] == now)
                hold_load(&h, w, s, i, room);
    h.shared = h.row * rows;
    return h;
}
