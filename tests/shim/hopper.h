// codegen/cuda_hopper.cuh and the printed products of warpgroups for a CPU, after PTX ISA. Follows
// tensor.h.
//
// Products take place as late as they may, when their group is waited for; with
// PLIM_SHIM_ORDER=backward as early as they may, when they are asked for. Until then their sums are
// NaN. They are done warp by warp: of a product's 64 rows each warp has 16. What they read of
// shared memory has to have been shown to them by who wrote it.
//
// Copies of boxes (TMA) take place as late as they may, too: when a thread waits for their barrier
// and everybody else has run; backward, when they are asked for. Until then their target is NaN.
#ifndef PLIM_TESTS_HOPPER_H
#define PLIM_TESTS_HOPPER_H

#include "tensor_map.h"

enum { SHIM_WGMMA = SHIM_FIRST_TENSOR + 10, SHIM_ELECT, SHIM_STORE };
enum { SHIM_PRODUCTS = 64, SHIM_SUMS = 128, SHIM_SETS = 3 };
enum { SHIM_BOXES = 256, SHIM_ROW = 128, SHIM_CHUNK = 16 };

// A barrier's 8 bytes: arrivals of a phase, those still to come, phases that are over, bytes that
// copies still have to bring.
struct ShimBarrier {
    uint64_t count : 10, left : 10, over : 20;
    int64_t bytes : 24;
};
enum { SHIM_NOT_BEGUN = (1 << 10) - 1, SHIM_BYTES_MAX = (1 << 20) - 1 };

static ShimBarrier *shim_barrier_at(unsigned at) {
    ShimBarrier *b = (ShimBarrier *)shim_at(at, 8);
    if (b->count == 0 || b->count == SHIM_NOT_BEGUN)
        shim.failed = "a barrier that was not begun";
    return b;
}
// The phase is over when all have arrived and all bytes are there.
static void shim_barrier_step(ShimBarrier *b) {
    if (b->bytes > SHIM_BYTES_MAX || b->bytes < -SHIM_BYTES_MAX)
        shim.failed = "a barrier counts more bytes than it can";
    if (b->left > 0 || b->bytes != 0)
        return;
    b->left = b->count;
    b->over++;
    shim.progress = true;
}
PLIM_DEVICE void plim_barrier_begin(unsigned at, int count) {
    ShimBarrier b = {(uint64_t)count, (uint64_t)count, 0, 0};
    memcpy(shim_at(at, 8), &b, sizeof b);
}
PLIM_DEVICE void plim_barriers_show() {
}
static __attribute__((noinline)) void shim_barrier_expect(unsigned at, unsigned bytes) {
    ShimBarrier *b = shim_barrier_at(at);
    // Everybody has come, but the phase lasts until its copies have: there is nobody to come.
    if (b->left == 0)
        shim.failed = "too many threads arrive at a barrier";
    if (shim.failed)
        return;
    b->bytes += bytes;
    b->left--;
    shim_barrier_step(b);
}
PLIM_DEVICE void plim_barrier_expect(unsigned at, unsigned bytes) {
    shim_barrier_expect(at, bytes);
}
PLIM_DEVICE void plim_barrier_arrive(unsigned at) {
    shim_barrier_expect(at, 0);
}
// Of the copies that take part in barriers the late ones: all of this thread's have to be there.
PLIM_DEVICE void plim_copies_arrive(unsigned at) {
    plim_copies_close();
    shim_copies_wait(0);
    shim_barrier_expect(at, 0);
}

struct __align__(128) PlimTensorMap {
    unsigned long long opaque[16];
};
PLIM_DEVICE void plim_map_prefetch(const PlimTensorMap &) {
}

// Boxes, or bytes in a row, that were asked for and have not come, oldest first.
struct ShimBox {
    unsigned to, barrier;
    int at[4];
    ShimTensorMap map;
    const unsigned char *from; // or NULL: a box
    unsigned bytes;            // of what is no box
};
static ShimBox shim_boxes[SHIM_BOXES]; // [shim.under_way]

static unsigned shim_box_bytes(const ShimBox *b) {
    const ShimTensorMap *m = &b->map;
    return b->from ? b->bytes : m->box[1] * m->box[2] * m->box[3] * SHIM_ROW;
}
// What copies bring is there for products without having been shown.
static void shim_copied(unsigned to, const void *value) {
    memcpy(shim_at(to, SHIM_CHUNK), value, SHIM_CHUNK);
    shim_writes.block[(to - SHIM_SHARED_FIRST) / SHIM_CHUNK % SHIM_CHUNKS] = 0;
}

// Chunk `chunk` of row `row` of the box: zeros outside of the operand.
static void shim_box_chunk(const ShimBox *b, unsigned row, unsigned chunk) {
    const ShimTensorMap *m = &b->map;
    unsigned short value[SHIM_CHUNK / 2] = {0};
    const int64_t where[4] = {0, b->at[1] + (int64_t)row, b->at[2], b->at[3]};
    uint64_t offset = 0;
    bool inside = true;
    for (int i = 1; i < 4; i++) {
        inside = inside && where[i] >= 0 && where[i] < (int64_t)m->dim[i];
        offset += (uint64_t)where[i] * m->stride[i];
    }
    for (unsigned e = 0; e < SHIM_CHUNK / 2 && inside; e++) {
        const int64_t column = b->at[0] + (int64_t)(chunk * (SHIM_CHUNK / 2) + e);
        if (column >= 0 && column < (int64_t)m->dim[0])
            value[e] = *(const unsigned short *)(m->address + offset + (uint64_t)column * 2);
    }
    unsigned to = b->to + row * SHIM_ROW + chunk * SHIM_CHUNK;
    to ^= (to >> 7 & 7) << 4;
    shim_copied(to, value);
}

static void shim_box_come(const ShimBox *b) {
    for (unsigned i = 0; b->from && i < b->bytes; i += SHIM_CHUNK)
        shim_copied(b->to + i, b->from + i);
    for (unsigned row = 0; !b->from && row < b->map.box[1]; row++)
        for (unsigned chunk = 0; chunk < SHIM_ROW / SHIM_CHUNK; chunk++)
            shim_box_chunk(b, row, chunk);
    ShimBarrier *barrier = shim_barrier_at(b->barrier);
    barrier->bytes -= shim_box_bytes(b);
    shim_barrier_step(barrier);
}

// Those that count at a barrier come.
static __attribute__((noinline)) void shim_boxes_come(unsigned barrier) {
    int kept = 0;
    const int count = shim.under_way;
    for (int i = 0; i < count; i++) {
        const ShimBox b = shim_boxes[i];
        if (b.barrier == barrier && !shim.failed)
            shim_box_come(&b);
        else
            shim_boxes[kept++] = b;
    }
    shim.under_way = kept;
}

// What was written or read here otherwise must have been shown to copies.
static void shim_box_target(unsigned to, unsigned bytes) {
    for (unsigned at = to; at < to + bytes && !shim.failed; at += SHIM_CHUNK) {
        const unsigned chunk = (at - SHIM_SHARED_FIRST) / SHIM_CHUNK % SHIM_CHUNKS;
        const int writer = shim_writes.writer[chunk];
        memset(shim_at(at, SHIM_CHUNK), 0xff, SHIM_CHUNK);
        if (shim_writes.block[chunk] == shim.block &&
            shim_writes.then[chunk] == shim_writes.shown[writer])
            shim.failed = "a copy overwrites what was not shown to it";
    }
}

static __attribute__((noinline)) void shim_box_begin(const ShimBox *b) {
    if (shim.under_way == SHIM_BOXES)
        shim.failed = "too many copies under way";
    if (shim.failed)
        return;
    shim_box_target(b->to, shim_box_bytes(b));
    if (shim_backward())
        shim_box_come(b);
    else
        shim_boxes[shim.under_way++] = *b;
}
static __attribute__((noinline)) void shim_copy_box(ShimBox *b, const PlimTensorMap *map) {
    memcpy(&b->map, map, sizeof b->map);
    if (b->map.mark != SHIM_MAP_MARK)
        shim.failed = "a copy by what is no tensor map";
    else if (b->to % 1024 != 0)
        shim.failed = "a copy to an address whose twist is not the products'";
    else if (b->map.box[0] * 2 != SHIM_ROW || b->map.box[2] != 1 || b->map.box[3] != 1)
        shim.failed = "a copy of a box that is not emulated";
    shim_box_begin(b);
}
PLIM_DEVICE void plim_copy_box(unsigned to, const PlimTensorMap &map, int column, int position,
                               int head, int batch, unsigned barrier) {
    ShimBox b = {to, barrier, {column, position, head, batch}, {}, NULL, 0};
    shim_copy_box(&b, &map);
}
PLIM_DEVICE void plim_copy_bytes(unsigned to, const void *from, unsigned bytes, unsigned barrier) {
    const ShimBox b = {to, barrier, {}, {}, (const unsigned char *)from, bytes};
    if (bytes % SHIM_CHUNK != 0 || to % SHIM_CHUNK != 0 || (uintptr_t)from % SHIM_CHUNK != 0)
        shim.failed = "a copy of bytes that are no whole chunks";
    shim_box_begin(&b);
}

static __attribute__((noinline)) bool shim_phase_lasts(unsigned at, int parity) {
    return (int)(shim_barrier_at(at)->over % 2) == parity;
}
PLIM_DEVICE void plim_barrier_wait(unsigned at, int parity) {
    for (bool again = false; shim_phase_lasts(at, parity) && !shim.failed; again = true) {
        if (again)
            shim_boxes_come(at);
        if (shim_phase_lasts(at, parity))
            shim_yield();
    }
}
// Which lane it is is nobody's business.
PLIM_DEVICE bool plim_elect() {
    const int nothing = 0;
    shim_exchange(SHIM_ELECT, (unsigned)SHIM_ALL, &nothing, sizeof nothing);
    return SHIM_LANE == (shim_backward() ? 31 : 0);
}
PLIM_DEVICE void plim_threads_meet(int number, int threads) {
    shim_barrier(number, threads);
}
PLIM_DEVICE void plim_threads_arrive(int number, int threads) {
    (void)threads; // those that wait there say it too
    shim.arrived[number]++;
}
PLIM_DEVICE void plim_show_products() {
    shim_writes.shown[shim.current]++;
}
// stmatrix .x4: the eight rows of a matrix are written at once, so they have to lie in different
// groups of four banks.
static __attribute__((noinline)) void shim_store_matrices(unsigned at, const unsigned (&part)[4]) {
    const unsigned mine[5] = {at, part[0], part[1], part[2], part[3]};
    const unsigned char(*seen)[SHIM_VALUE] =
        shim_exchange(SHIM_STORE, (unsigned)SHIM_ALL, mine, sizeof mine);
    const int matrix = SHIM_LANE / 8, row = SHIM_LANE % 8;
    unsigned value[4], banks = 0;
    for (int t = 0; t < 4; t++)
        value[t] = ((const unsigned *)seen[row * 4 + t])[1 + matrix];
    for (int i = 0; i < 8; i++)
        banks |= 1u << *(const unsigned *)seen[matrix * 8 + i] / 16 % 8;
    if (banks != 0xff)
        shim.failed = "a matrix store with bank conflicts";
    shim_at(at, 16);
    if (!shim.failed)
        shim_write(at, value, sizeof value);
}
PLIM_DEVICE void plim_store_matrices(unsigned at, const unsigned (&part)[4]) {
    shim_store_matrices(at, part);
}
PLIM_DEVICE void plim_shared_store_floats(unsigned at, const float (&x)[4]) {
    shim_write(at, x, sizeof x);
}

// Sums on their way to global memory, one at a time for each thread. They read shared memory as
// late as they may, and arrive as late as they may; backward, when they are asked for.
enum { SHIM_SUMS_MAX = 64 * 1024, SHIM_LATE = 64 };
struct ShimSumsMove {
    float *to; // NULL: none is under way
    int block; // of the grid; another's is none
    unsigned from, bytes;
    bool add, read;
    unsigned char value[SHIM_SUMS_MAX];
};
static ShimSumsMove *shim_moves[SHIM_THREADS];

// This thread's, or NULL.
static ShimSumsMove *shim_sums_pending() {
    ShimSumsMove *m = shim_moves[shim.current];
    return m && m->to && m->block == shim.block ? m : NULL;
}

static void shim_sums_read(ShimSumsMove *m) {
    for (unsigned at = 0; at < m->bytes && !shim.failed; at += SHIM_CHUNK) {
        const unsigned chunk = (m->from + at - SHIM_SHARED_FIRST) / SHIM_CHUNK % SHIM_CHUNKS;
        const int writer = shim_writes.writer[chunk];
        memcpy(m->value + at, shim_at(m->from + at, SHIM_CHUNK), SHIM_CHUNK);
        if (shim_writes.block[chunk] == shim.block &&
            shim_writes.then[chunk] == shim_writes.shown[writer])
            shim.failed = "a sum is read that was not shown to copies";
    }
    m->read = true;
}
static void shim_sums_arrive(ShimSumsMove *m) {
    for (unsigned i = 0; i < m->bytes / sizeof(float); i++) {
        float x;
        memcpy(&x, m->value + i * sizeof x, sizeof x);
        m->to[i] = m->add ? m->to[i] + x : x;
    }
    m->to = NULL;
    shim.sums--;
}
static __attribute__((noinline)) void shim_sums_move(float *to, unsigned from, unsigned bytes,
                                                     bool add) {
    ShimSumsMove *&m = shim_moves[shim.current];
    if (!m)
        m = (ShimSumsMove *)calloc(1, sizeof *m);
    if (shim_sums_pending())
        shim.failed = "a thread moves sums before those before are there";
    if (bytes % 16 != 0 || bytes > SHIM_SUMS_MAX || (uintptr_t)to % 16 != 0)
        shim.failed = "sums of a size or at an address that no copy takes";
    if (shim.failed)
        return;
    m->to = to;
    m->block = shim.block;
    m->from = from;
    m->bytes = bytes;
    m->add = add;
    m->read = false;
    shim.sums++;
    if (shim_backward())
        shim_sums_read(m);
}
PLIM_DEVICE void plim_sums_store(float *to, unsigned from, unsigned bytes) {
    shim_sums_move(to, from, bytes, false);
}
PLIM_DEVICE void plim_sums_add(float *to, unsigned from, unsigned bytes) {
    shim_sums_move(to, from, bytes, true);
}
// What may run meanwhile runs first.
PLIM_DEVICE void plim_sums_wait_read() {
    for (int i = 0; i < SHIM_LATE && !shim_backward(); i++)
        shim_yield();
    ShimSumsMove *m = shim_sums_pending();
    if (m && !m->read)
        shim_sums_read(m);
}
PLIM_DEVICE void plim_sums_wait() {
    plim_sums_wait_read();
    if (ShimSumsMove *m = shim_sums_pending())
        shim_sums_arrive(m);
}

// Blocks run one at a time, in their order: a turn that has not come would never.
PLIM_DEVICE void plim_turn_wait(const int *at, int turn) {
    if (*at != turn)
        shim.failed = "a block waits for its turn behind one that begins later";
    while (shim.failed)
        shim_yield();
}
PLIM_DEVICE void plim_turn_pass(int *at, int next) {
    if (shim_sums_pending())
        shim.failed = "a turn is passed on before its sums are there";
    if (*at + 1 != next)
        shim.failed = "a turn is passed on that was another's";
    *at = next;
}

template <int REGISTERS> PLIM_DEVICE void plim_registers_give() {
}
template <int REGISTERS> PLIM_DEVICE void plim_registers_take() {
}

// A product that a thread takes part in and that has not taken place.
struct ShimProduct {
    float *sum; // its place in registers
    int count;
    bool keep, across; // across: b
    bool left_shared, left_across;
    float left[2][16]; // of rows g and g + 8, where they come from registers
    unsigned long long a, b;
    int group;
};
// The sums of products under way: their true values, while the thread sees NaN.
struct ShimSums {
    float *sum; // NULL: free
    int count;
    float value[SHIM_SUMS];
};
struct ShimProducts {
    ShimProduct product[SHIM_PRODUCTS];
    ShimSums sums[SHIM_SETS];
    int count, closed;
};
static ShimProducts *shim_products[SHIM_THREADS];

// bf16 number (row, depth) of an operand, or, across, (depth, row): PTX ISA, canonical layouts of
// 128-byte swizzle.
static float shim_operand(unsigned long long descriptor, int row, int depth, bool across) {
    const unsigned start = (unsigned)(descriptor & 0x3fff) << 4;
    const unsigned leading = (unsigned)(descriptor >> 16 & 0x3fff) << 4;
    const unsigned stride = (unsigned)(descriptor >> 32 & 0x3fff) << 4;
    if (descriptor >> 62 != 1)
        shim.failed = "a descriptor that is not of 128-byte swizzle";
    unsigned at = start;
    if (across)
        at += (unsigned)(row / 64) * leading + (unsigned)(depth / 8) * stride +
              (unsigned)(depth % 8 * 128 + row % 64 * 2);
    else
        at += (unsigned)(row / 8) * stride + (unsigned)(row % 8 * 128 + depth * 2);
    at ^= (at >> 7 & 7) << 4;
    const unsigned chunk = (at - SHIM_SHARED_FIRST) / 16 % SHIM_CHUNKS;
    const int writer = shim_writes.writer[chunk];
    if (shim_writes.block[chunk] == shim.block &&
        shim_writes.then[chunk] == shim_writes.shown[writer])
        shim.failed = "a product reads what was not shown to it";
    return plim_float((unsigned)*(unsigned short *)shim_at(at, 2) << 16);
}

static void shim_product_run(const ShimProduct *p, float *value) {
    const int warp = shim.current / 32 % 4, g = SHIM_LANE / 4, t = SHIM_LANE % 4;
    float left[2][16];
    memcpy(left, p->left, sizeof left);
    for (int i = 0; i < 32 && p->left_shared; i++)
        left[i / 16][i % 16] =
            shim_operand(p->a, warp * 16 + i / 16 * 8 + g, i % 16, p->left_across);
    for (int i = 0; i < p->count; i += 2) {
        // i: eight columns to four sums; two neighbours of one row share nothing but it.
        for (int e = i; e < i + 2; e++) {
            const int column = e / 4 * 8 + 2 * t + e % 2, half = e / 2 % 2;
            float sum = p->keep ? value[e] : 0;
            for (int k = 0; k < 16; k++)
                sum += left[half][k] * shim_operand(p->b, column, k, p->across);
            value[e] = sum;
        }
    }
}

static ShimSums *shim_sums_of(ShimProducts *all, float *sum, int count) {
    ShimSums *unused = NULL;
    for (int i = 0; i < SHIM_SETS; i++) {
        if (all->sums[i].sum == sum)
            return &all->sums[i];
        unused = all->sums[i].sum ? unused : &all->sums[i];
    }
    if (!unused) {
        shim.failed = "products to more than three sets of sums are under way";
        return &all->sums[0];
    }
    unused->sum = sum;
    unused->count = count;
    memcpy(unused->value, sum, (size_t)count * sizeof *sum);
    memset(sum, 0xff, (size_t)count * sizeof *sum);
    return unused;
}

static __attribute__((noinline)) void shim_product(const ShimProduct *p) {
    ShimProducts *&all = shim_products[shim.current];
    if (!all)
        all = (ShimProducts *)calloc(1, sizeof *all);
    ShimSums *sums = shim_sums_of(all, p->sum, p->count);
    if (all->count == SHIM_PRODUCTS)
        shim.failed = "too many products under way";
    if (shim.failed)
        return;
    if (shim_backward())
        shim_product_run(p, sums->value);
    all->product[all->count] = *p;
    all->product[all->count++].group = all->closed;
}

template <int J>
static void plim_wgmma(float (&c)[J][4], unsigned long long a, unsigned long long b, int keep) {
    ShimProduct p = {&c[0][0], J * 4, keep != 0, false, true, false};
    p.a = a;
    p.b = b;
    plim_syncwarp();
    shim_product(&p);
}
template <int J>
static void plim_wgmma_both_across(float (&c)[J][4], unsigned long long a, unsigned long long b,
                                   int keep) {
    ShimProduct p = {&c[0][0], J * 4, keep != 0, true, true, true};
    p.a = a;
    p.b = b;
    plim_syncwarp();
    shim_product(&p);
}
static __attribute__((noinline)) void shim_product_of(ShimProduct *p, const unsigned (&a)[4]) {
    const unsigned char(*seen)[SHIM_VALUE] =
        shim_exchange(SHIM_WGMMA, (unsigned)SHIM_ALL, a, sizeof a);
    for (int i = 0; i < 32; i++) {
        const int half = i / 16, k = i % 16;
        const unsigned *from = (const unsigned *)seen[SHIM_LANE / 4 * 4 + k % 8 / 2];
        p->left[half][k] = shim_bf16(from[half + k / 8 * 2], k % 2);
    }
    shim_product(p);
}
template <int J>
static void plim_wgmma_across(float (&c)[J][4], const unsigned (&a)[4], unsigned long long b) {
    ShimProduct p = {&c[0][0], J * 4, true, true, false, false};
    p.b = b;
    shim_product_of(&p, a);
}
template <int J>
static void plim_wgmma_kept(float (&c)[J][4], const unsigned (&a)[4], unsigned long long b,
                            int keep) {
    ShimProduct p = {&c[0][0], J * 4, keep != 0, false, false, false};
    p.b = b;
    shim_product_of(&p, a);
}

PLIM_DEVICE void plim_products_open() {
}
PLIM_DEVICE void plim_products_close() {
    if (shim_products[shim.current])
        shim_products[shim.current]->closed++;
}
static __attribute__((noinline)) void shim_products_wait(int left) {
    ShimProducts *all = shim_products[shim.current];
    if (!all)
        return;
    int kept = 0;
    for (int i = 0; i < all->count; i++) {
        const ShimProduct p = all->product[i];
        if (p.group >= all->closed - left)
            all->product[kept++] = p;
        else if (!shim_backward())
            shim_product_run(&p, shim_sums_of(all, p.sum, p.count)->value);
    }
    all->count = kept;
    for (int i = 0; i < SHIM_SETS; i++) {
        ShimSums *s = &all->sums[i];
        bool pending = false;
        for (int j = 0; j < kept; j++)
            pending = pending || all->product[j].sum == s->sum;
        if (!s->sum || pending)
            continue;
        memcpy(s->sum, s->value, (size_t)s->count * sizeof(float));
        s->sum = NULL;
    }
}
template <int LEFT> PLIM_DEVICE void plim_products_wait() {
    shim_products_wait(LEFT);
}
template <int N> PLIM_DEVICE void plim_products_hold(float (&)[N][4]) {
}

#endif
