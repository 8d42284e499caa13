// Instructions of sm_90a that CUDA C has no words for: barriers in shared memory, copies by tensor
// map (TMA), registers that warps hand to each other, and the parts of products by a warpgroup (128
// threads) that don't depend on a size; the products themselves are printed by
// codegen/cuda_wgmma.c.
//
// Operands in shared memory are told by descriptors (PTX ISA, "Matrix Descriptor"): rows of 64
// bf16, 128 bytes, in which chunk c of 16 bytes stands at c ^ row % 8; eight rows, 1024 bytes, are
// the unit.
#ifndef PLIM_SHIM

// A barrier of `count` arrivals, 8 bytes at an address. Its phases are counted from 0;
// plim_barrier_wait returns when the phase of that parity is over.
PLIM_DEVICE void plim_barrier_begin(unsigned at, int count) {
    asm volatile("mbarrier.init.shared.b64 [%0], %1;" ::"r"(at), "r"(count) : "memory");
}

PLIM_DEVICE void plim_barrier_arrive(unsigned at) {
    asm volatile("mbarrier.arrive.shared.b64 _, [%0];" ::"r"(at) : "memory");
}

PLIM_DEVICE void plim_barrier_wait(unsigned at, int parity) {
    asm volatile("{\n"
                 ".reg .pred done;\n"
                 "again:\n"
                 "mbarrier.try_wait.parity.shared.b64 done, [%0], %1;\n"
                 "@done bra through;\n"
                 "bra again;\n"
                 "through:\n"
                 "}" ::"r"(at),
                 "r"(parity)
                 : "memory");
}

// Barriers that this thread has begun may be used by others and by copies, once they met it.
PLIM_DEVICE void plim_barriers_show() {
    asm volatile("fence.mbarrier_init.release.cluster;" ::: "memory");
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// Arrives; the phase lasts until copies have brought so many bytes too.
PLIM_DEVICE void plim_barrier_expect(unsigned at, unsigned bytes) {
    asm volatile("mbarrier.arrive.expect_tx.shared::cta.b64 _, [%0], %1;" ::"r"(at), "r"(bytes)
                 : "memory");
}

// Arrives when all copies that this thread has asked for so far (plim_copy_4, plim_copy_16) are
// there.
PLIM_DEVICE void plim_copies_arrive(unsigned at) {
    asm volatile("cp.async.mbarrier.arrive.noinc.shared::cta.b64 [%0];" ::"r"(at) : "memory");
}

// What a copy is told of an operand. The driver makes it; it is a parameter of the kernel.
struct __align__(128) PlimTensorMap {
    unsigned long long opaque[16];
};

// Copies the map's box from these coordinates on to an address, 0 for what lies outside of the
// operand; the box's bytes count at the barrier. Rows of 128 bytes, their chunks twisted by bits 7
// to 9 of the address.
PLIM_DEVICE void plim_copy_box(unsigned to, const PlimTensorMap &map, int column, int position,
                               int head, int batch, unsigned barrier) {
    asm volatile("cp.async.bulk.tensor.4d.shared::cluster.global.tile.mbarrier::complete_tx::bytes "
                 "[%0], [%1, {%2, %3, %4, %5}], [%6];" ::"r"(to),
                 "l"(&map), "r"(column), "r"(position), "r"(head), "r"(batch), "r"(barrier)
                 : "memory");
}

// Copies so many bytes, which count at the barrier; multiples of 16, as addresses are.
PLIM_DEVICE void plim_copy_bytes(unsigned to, const void *from, unsigned bytes, unsigned barrier) {
    asm volatile("cp.async.bulk.shared::cluster.global.mbarrier::complete_tx::bytes "
                 "[%0], [%1], %2, [%3];" ::"r"(to),
                 "l"(__cvta_generic_to_global(from)), "r"(bytes), "r"(barrier)
                 : "memory");
}

PLIM_DEVICE void plim_map_prefetch(const PlimTensorMap &map) {
    asm volatile("prefetch.tensormap [%0];" ::"l"(&map) : "memory");
}

// Whether this lane is the one of its warp that acts alone; all lanes come here.
PLIM_DEVICE bool plim_elect() {
    unsigned chosen;
    asm volatile("{\n"
                 ".reg .pred p;\n"
                 "elect.sync _|p, 0xffffffff;\n"
                 "selp.u32 %0, 1, 0, p;\n"
                 "}"
                 : "=r"(chosen)
                 :
                 : "memory");
    return chosen != 0;
}

// Of `threads` threads; number 0 is __syncthreads'.
PLIM_DEVICE void plim_threads_meet(int number, int threads) {
    asm volatile("bar.sync %0, %1;" ::"r"(number), "r"(threads) : "memory");
}

// Counts as having come there, and goes on.
PLIM_DEVICE void plim_threads_arrive(int number, int threads) {
    asm volatile("bar.arrive %0, %1;" ::"r"(number), "r"(threads) : "memory");
}

// What this thread wrote to shared memory may be read by warpgroups' products, and what it wrote or
// read be overwritten by copies of boxes.
PLIM_DEVICE void plim_show_products() {
    asm volatile("fence.proxy.async.shared::cta;" ::: "memory");
}

// Four 8x8 matrices of 16-bit numbers to shared memory: lane l gives the address of row l % 8 of
// matrix l / 8, and has columns 2t, 2t + 1 of row g of matrix i in part[i].
PLIM_DEVICE void plim_store_matrices(unsigned at, const unsigned (&part)[4]) {
    asm volatile("stmatrix.sync.aligned.m8n8.x4.shared.b16 [%0], {%1, %2, %3, %4};" ::"r"(at),
                 "r"(part[0]), "r"(part[1]), "r"(part[2]), "r"(part[3])
                 : "memory");
}

PLIM_DEVICE void plim_shared_store_floats(unsigned at, const float (&x)[4]) {
    asm volatile("st.shared.v4.f32 [%0], {%1, %2, %3, %4};" ::"r"(at), "f"(x[0]), "f"(x[1]),
                 "f"(x[2]), "f"(x[3])
                 : "memory");
}

// Floats of shared memory, shown to products (plim_show_products), to global memory, or added to
// what is there: so many bytes, a multiple of 16, as addresses are. Asked for by one thread, who
// waits until they have been read, and until the sums are there.
PLIM_DEVICE void plim_sums_store(float *to, unsigned from, unsigned bytes) {
    asm volatile("cp.async.bulk.global.shared::cta.bulk_group [%0], [%1], %2;\n"
                 "cp.async.bulk.commit_group;" ::"l"(__cvta_generic_to_global(to)),
                 "r"(from), "r"(bytes)
                 : "memory");
}

PLIM_DEVICE void plim_sums_add(float *to, unsigned from, unsigned bytes) {
    asm volatile("cp.reduce.async.bulk.global.shared::cta.bulk_group.add.f32 [%0], [%1], %2;\n"
                 "cp.async.bulk.commit_group;" ::"l"(__cvta_generic_to_global(to)),
                 "r"(from), "r"(bytes)
                 : "memory");
}

PLIM_DEVICE void plim_sums_wait_read() {
    asm volatile("cp.async.bulk.wait_group.read 0;" ::: "memory");
}

PLIM_DEVICE void plim_sums_wait() {
    asm volatile("cp.async.bulk.wait_group 0;" ::: "memory");
}

// Until a number in global memory is `turn`. What whoever passed it had added by then is there for
// additions of this thread: those are another proxy's than the number, hence fences on both sides.
PLIM_DEVICE void plim_turn_wait(const int *at, int turn) {
    int now;
    do
        asm volatile("ld.acquire.gpu.global.b32 %0, [%1];"
                     : "=r"(now)
                     : "l"(__cvta_generic_to_global(at))
                     : "memory");
    while (now != turn);
    asm volatile("fence.proxy.async.global;" ::: "memory");
}

PLIM_DEVICE void plim_turn_pass(int *at, int next) {
    asm volatile("fence.proxy.async.global;\n"
                 "st.release.gpu.global.b32 [%0], %1;" ::"l"(__cvta_generic_to_global(at)),
                 "r"(next)
                 : "memory");
}

template <int REGISTERS> PLIM_DEVICE void plim_registers_give() {
    asm volatile("setmaxnreg.dec.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}

template <int REGISTERS> PLIM_DEVICE void plim_registers_take() {
    asm volatile("setmaxnreg.inc.sync.aligned.u32 %0;" ::"n"(REGISTERS));
}

// Before the first product after registers that it reads were written.
PLIM_DEVICE void plim_products_open() {
    asm volatile("wgmma.fence.sync.aligned;" ::: "memory");
}

PLIM_DEVICE void plim_products_close() {
    asm volatile("wgmma.commit_group.sync.aligned;" ::: "memory");
}

// Until all groups but the last LEFT are done.
template <int LEFT> PLIM_DEVICE void plim_products_wait() {
    asm volatile("wgmma.wait_group.sync.aligned %0;" ::"n"(LEFT) : "memory");
}

// Registers of a product under way: nothing that reads or writes them moves across.
template <int N> PLIM_DEVICE void plim_products_hold(float (&c)[N][4]) {
#pragma unroll
    for (int n = 0; n < N; n++)
#pragma unroll
        for (int e = 0; e < 4; e++)
            asm volatile("" : "+f"(c[n][e])::"memory");
}

#endif

// The lower half of a descriptor of rows at an address, a multiple of 1024; `blocks` bytes from 64
// columns to the next 64, where an operand is read across.
PLIM_DEVICE unsigned plim_rows_of(unsigned at, unsigned blocks) {
    return (at & 0x3ffffu) >> 4 | blocks >> 4 << 16;
}

// The descriptor of what stands `bytes` further on: whole groups of eight rows, and steps within a
// row. One addition, since a tile's products follow each other at once.
PLIM_DEVICE unsigned long long plim_rows_at(unsigned rows, unsigned bytes) {
    return (unsigned long long)(1024u >> 4 | 1u << 30) << 32 | (rows + (bytes >> 4));
}
