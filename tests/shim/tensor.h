// codegen/cuda_tensor.cuh for a CPU: what its functions do, written after PTX ISA's descriptions,
// so that a wrong layout, a missing wait or a missing barrier shows where there is no GPU. Follows
// shim.h.
//
// Asynchronous copies arrive as late as they may, when their group is waited for; with
// PLIM_SHIM_ORDER=backward as early as they may, when they are asked for. Until a copy has arrived
// its target holds NaN. Addresses are checked for bounds and alignment; matrix loads for bank
// conflicts, of which there are to be none.
#ifndef PLIM_TESTS_TENSOR_H
#define PLIM_TESTS_TENSOR_H

enum { SHIM_SHARED_FIRST = 1024, SHIM_COPIES = 4096 };
enum { SHIM_MATRICES = SHIM_FIRST_TENSOR, SHIM_MATRICES_ACROSS, SHIM_MMA };

PLIM_DEVICE unsigned plim_shared_address() {
    return SHIM_SHARED_FIRST;
}

// The bytes at an address of dynamic shared memory.
static __attribute__((noinline)) unsigned char *shim_at(unsigned at, unsigned bytes) {
    static unsigned char nowhere[256];
    if (at % bytes != 0)
        shim.failed = "a shared address that is not aligned";
    else if (at < SHIM_SHARED_FIRST || at - SHIM_SHARED_FIRST + bytes > shim.shared_size)
        shim.failed = "a shared address outside the dynamic shared memory";
    else
        return shim.shared + (at - SHIM_SHARED_FIRST);
    return nowhere;
}

// Which thread last wrote each 16 bytes of shared memory, and how many times it had then shown its
// writes to products of warpgroups (hopper.h).
enum { SHIM_CHUNKS = 256 * 1024 / 16 };
static struct {
    unsigned short writer[SHIM_CHUNKS];
    int then[SHIM_CHUNKS], shown[SHIM_THREADS];
    int block[SHIM_CHUNKS]; // of the grid
} shim_writes;

static void shim_write(unsigned at, const void *from, unsigned bytes) {
    memcpy(shim_at(at, bytes), from, bytes);
    const unsigned chunk = (at - SHIM_SHARED_FIRST) / 16 % SHIM_CHUNKS;
    shim_writes.writer[chunk] = (unsigned short)shim.current;
    shim_writes.then[chunk] = shim_writes.shown[shim.current];
    shim_writes.block[chunk] = shim.block;
}

template <class T> static T shim_load(unsigned at) {
    T x;
    memcpy(&x, shim_at(at, sizeof x), sizeof x);
    return x;
}

PLIM_DEVICE void plim_shared_store(unsigned at, unsigned value) {
    shim_write(at, &value, sizeof value);
}
PLIM_DEVICE void plim_shared_store_half(unsigned at, unsigned short value) {
    shim_write(at, &value, sizeof value);
}
PLIM_DEVICE void plim_shared_load_pair(float (&out)[2], unsigned at) {
    memcpy(out, shim_at(at, sizeof out), sizeof out);
}
PLIM_DEVICE unsigned short plim_shared_load_half(unsigned at) {
    return shim_load<unsigned short>(at);
}
PLIM_DEVICE uint4 plim_shared_load_16(unsigned at) {
    return shim_load<uint4>(at);
}

// Copies that a thread has asked for and that have not arrived, oldest first; those of its open
// group have group == closed.
struct ShimCopy {
    unsigned to, bytes;
    int group;
    unsigned char value[16];
};
struct ShimCopies {
    ShimCopy *copy; // [SHIM_COPIES]
    int count, closed;
};
static ShimCopies shim_copies[SHIM_THREADS];

static __attribute__((noinline)) void shim_copy(unsigned to, const void *from, bool there,
                                                unsigned bytes) {
    ShimCopies *all = &shim_copies[shim.current];
    if (!all->copy)
        all->copy = (ShimCopy *)malloc(SHIM_COPIES * sizeof *all->copy);
    unsigned char *target = shim_at(to, bytes);
    if (there && (uintptr_t)from % bytes != 0)
        shim.failed = "an asynchronous copy from an address that is not aligned";
    if (all->count == SHIM_COPIES)
        shim.failed = "too many asynchronous copies under way";
    if (shim.failed)
        return;
    ShimCopy *c = &all->copy[all->count];
    c->to = to;
    c->bytes = bytes;
    c->group = all->closed;
    memset(c->value, 0, sizeof c->value);
    if (there)
        memcpy(c->value, from, bytes);
    memset(target, 0xff, bytes);
    if (shim_backward())
        shim_write(to, c->value, bytes);
    else
        all->count++;
}
PLIM_DEVICE void plim_copy_16(unsigned to, const void *from, bool there) {
    shim_copy(to, from, there, 16);
}
PLIM_DEVICE void plim_copy_8(unsigned to, const void *from, bool there) {
    shim_copy(to, from, there, 8);
}
PLIM_DEVICE void plim_copy_4(unsigned to, const void *from, bool there) {
    shim_copy(to, from, there, 4);
}
PLIM_DEVICE void plim_copies_close() {
    shim_copies[shim.current].closed++;
}
static __attribute__((noinline)) void shim_copies_wait(int left) {
    ShimCopies *all = &shim_copies[shim.current];
    int kept = 0;
    for (int i = 0; i < all->count; i++) {
        const ShimCopy *c = &all->copy[i];
        // Groups below closed - left have to be there; the open one never.
        if (c->group < all->closed - left)
            shim_write(c->to, c->value, c->bytes);
        else
            all->copy[kept++] = *c;
    }
    all->count = kept;
}
template <int LEFT> PLIM_DEVICE void plim_copies_wait() {
    shim_copies_wait(LEFT);
}

// ldmatrix .x4: lane l gives the address of row l % 8 of matrix l / 8. The eight rows of a matrix
// are read at once, so they have to lie in different groups of four banks.
static __attribute__((noinline)) void shim_matrices(unsigned (&out)[4], unsigned at, bool across) {
    shim_at(at, 16);
    const unsigned char(*seen)[SHIM_VALUE] = shim_exchange(
        across ? SHIM_MATRICES_ACROSS : SHIM_MATRICES, (unsigned)SHIM_ALL, &at, sizeof at);
    const int group = SHIM_LANE / 4, pair = SHIM_LANE % 4;
    for (int matrix = 0; matrix < 4; matrix++) {
        unsigned short row[8][8];
        unsigned banks = 0;
        for (int i = 0; i < 8; i++) {
            unsigned address;
            memcpy(&address, seen[matrix * 8 + i], sizeof address);
            memcpy(row[i], shim_at(address, 16), sizeof row[i]);
            banks |= 1u << address / 16 % 8;
        }
        if (banks != 0xff)
            shim.failed = "a matrix load with bank conflicts";
        out[matrix] = across ? row[2 * pair][group] | (unsigned)row[2 * pair + 1][group] << 16
                             : row[group][2 * pair] | (unsigned)row[group][2 * pair + 1] << 16;
    }
}
PLIM_DEVICE void plim_load_matrices(unsigned (&out)[4], unsigned at) {
    shim_matrices(out, at, false);
}
PLIM_DEVICE void plim_load_matrices_across(unsigned (&out)[4], unsigned at) {
    shim_matrices(out, at, true);
}

static float shim_bf16(unsigned pair, int which) {
    return plim_float(which ? pair & 0xffff0000u : pair << 16);
}

// mma.m16n8k16: a[i] of lane 4 g + t holds row g + 8 (i % 2), columns 2 t + 8 (i / 2) and the next;
// b[i] rows 2 t + 8 i and the next, column g; c[i] row g + 8 (i / 2), column 2 t + i % 2.
static __attribute__((noinline)) void shim_mma(float (&c)[4], const unsigned (&a)[4], unsigned b0,
                                               unsigned b1) {
    const unsigned mine[6] = {a[0], a[1], a[2], a[3], b0, b1};
    const unsigned char(*seen)[SHIM_VALUE] =
        shim_exchange(SHIM_MMA, (unsigned)SHIM_ALL, mine, sizeof mine);
    const int g = SHIM_LANE / 4, t = SHIM_LANE % 4;
    for (int i = 0; i < 4; i++) {
        const int row = g + i / 2 * 8, column = 2 * t + i % 2;
        for (int k = 0; k < 16; k += 2) {
            const unsigned *left = (const unsigned *)seen[row % 8 * 4 + k % 8 / 2];
            const unsigned *right = (const unsigned *)seen[column * 4 + k % 8 / 2];
            const unsigned x = left[row / 8 + k / 8 * 2], y = right[4 + k / 8];
            c[i] += shim_bf16(x, 0) * shim_bf16(y, 0);
            c[i] += shim_bf16(x, 1) * shim_bf16(y, 1);
        }
    }
}
PLIM_DEVICE void plim_mma_bf16(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    shim_mma(c, a, b0, b1);
}

PLIM_DEVICE float plim_exp2(float x) {
    return exp2f(x);
}
PLIM_DEVICE float plim_log2(float x) {
    return log2f(x);
}
PLIM_DEVICE float plim_reciprocal(float x) {
    return 1 / x;
}
PLIM_DEVICE float plim_fmax(float x, float y) {
    return fmaxf(x, y);
}

#endif
