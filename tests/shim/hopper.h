// codegen/cuda_hopper.cuh and the printed products of warpgroups for a CPU, after PTX ISA. Follows
// tensor.h.
//
// Products take place as late as they may, when their group is waited for; with
// PLIM_SHIM_ORDER=backward as early as they may, when they are asked for. Until then their sums are
// NaN. They are done warp by warp: of a product's 64 rows each warp has 16. What they read of
// shared memory has to have been shown to them by who wrote it.
#ifndef PLIM_TESTS_HOPPER_H
#define PLIM_TESTS_HOPPER_H

enum { SHIM_WGMMA = SHIM_FIRST_TENSOR + 10, SHIM_PRODUCTS = 64, SHIM_SUMS = 128 };

// A barrier's 8 bytes: arrivals of a phase, those still to come, phases that are over.
struct ShimBarrier {
    unsigned short count, left;
    unsigned over;
};

PLIM_DEVICE void plim_barrier_begin(unsigned at, int count) {
    *(ShimBarrier *)shim_at(at, 8) = {(unsigned short)count, (unsigned short)count, 0};
}
PLIM_DEVICE void plim_barrier_arrive(unsigned at) {
    ShimBarrier *b = (ShimBarrier *)shim_at(at, 8);
    if (b->count == 0 || b->count == 0xffff)
        shim.failed = "a thread arrives at a barrier that was not begun";
    if (--b->left > 0)
        return;
    b->left = b->count;
    b->over++;
}
PLIM_DEVICE void plim_barrier_wait(unsigned at, int parity) {
    while ((int)(((volatile ShimBarrier *)shim_at(at, 8))->over % 2) == parity && !shim.failed)
        shim_yield();
}
PLIM_DEVICE void plim_threads_meet(int number, int threads) {
    shim_barrier(number, threads);
}
PLIM_DEVICE void plim_show_products() {
    shim_writes.shown[shim.current]++;
}
template <int REGISTERS> PLIM_DEVICE void plim_registers_give() {
}
template <int REGISTERS> PLIM_DEVICE void plim_registers_take() {
}

// A product that a thread takes part in and that has not taken place.
struct ShimProduct {
    float *sum; // its place in registers
    int count;
    bool keep, across;
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
    ShimSums sums[2];
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
    if (shim_writes.then[chunk] == shim_writes.shown[writer])
        shim.failed = "a product reads what was not shown to it";
    return plim_float((unsigned)*(unsigned short *)shim_at(at, 2) << 16);
}

static void shim_product_run(const ShimProduct *p, float *value) {
    const int warp = shim.current / 32 % 4, g = SHIM_LANE / 4, t = SHIM_LANE % 4;
    float left[2][16];
    memcpy(left, p->left, sizeof left);
    for (int i = 0; i < 32 && !p->across; i++)
        left[i / 16][i % 16] = shim_operand(p->a, warp * 16 + i / 16 * 8 + g, i % 16, false);
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
    for (int i = 0; i < 2; i++) {
        if (all->sums[i].sum == sum)
            return &all->sums[i];
        unused = all->sums[i].sum ? unused : &all->sums[i];
    }
    if (!unused) {
        shim.failed = "products to more than two sets of sums are under way";
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
    ShimProduct p = {&c[0][0], J * 4, keep != 0, false};
    p.a = a;
    p.b = b;
    plim_syncwarp();
    shim_product(&p);
}
template <int J>
static void plim_wgmma_across(float (&c)[J][4], const unsigned (&a)[4], unsigned long long b) {
    ShimProduct p = {&c[0][0], J * 4, true, true};
    p.b = b;
    const unsigned char(*seen)[SHIM_VALUE] =
        shim_exchange(SHIM_WGMMA, (unsigned)SHIM_ALL, a, sizeof a);
    for (int i = 0; i < 32; i++) {
        const int half = i / 16, k = i % 16;
        const unsigned *from = (const unsigned *)seen[SHIM_LANE / 4 * 4 + k % 8 / 2];
        p.left[half][k] = shim_bf16(from[half + k / 8 * 2], k % 2);
    }
    shim_product(&p);
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
    for (int i = 0; i < 2; i++) {
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
