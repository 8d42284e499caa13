// Instructions of sm_80 that CUDA C has no words for, as functions: matrix products by a warp's
// tensor cores, loads of their operands, copies from global to shared memory that run on their own.
//
// Dynamic shared memory is told by 32-bit addresses, not by pointers: that is what the instructions
// take, and it keeps addresses in one register. With PLIM_SHIM somebody else defines all of this.
// Layouts of operands: PTX ISA, "Matrix Fragments for mma.m16n8k16". g is lane / 4, t is lane % 4:
//     a [16, 16]: {row g, columns 2t..}, {g + 8, 2t..}, {g, 2t + 8..}, {g + 8, 2t + 8..}, two bf16
//     each b [16, 8]:  {rows 2t.., column g}, {rows 2t + 8.., column g} c [16, 8]:  row g columns
//     2t, 2t + 1; row g + 8 columns 2t, 2t + 1

#ifndef PLIM_SHIM

// The address of plim_shared(), a multiple of 1024.
PLIM_DEVICE unsigned plim_shared_address() {
    return (unsigned)__cvta_generic_to_shared(plim_shared());
}

PLIM_DEVICE void plim_shared_store(unsigned at, unsigned value) {
    asm volatile("st.shared.u32 [%0], %1;" ::"r"(at), "r"(value) : "memory");
}

PLIM_DEVICE void plim_shared_store_half(unsigned at, unsigned short value) {
    asm volatile("st.shared.u16 [%0], %1;" ::"r"(at), "h"(value) : "memory");
}

PLIM_DEVICE void plim_shared_load_pair(float (&out)[2], unsigned at) {
    asm volatile("ld.shared.v2.f32 {%0, %1}, [%2];"
                 : "=f"(out[0]), "=f"(out[1])
                 : "r"(at)
                 : "memory");
}

PLIM_DEVICE unsigned short plim_shared_load_half(unsigned at) {
    unsigned short out;
    asm volatile("ld.shared.u16 %0, [%1];" : "=h"(out) : "r"(at) : "memory");
    return out;
}

PLIM_DEVICE uint4 plim_shared_load_16(unsigned at) {
    uint4 out;
    asm volatile("ld.shared.v4.u32 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out.x), "=r"(out.y), "=r"(out.z), "=r"(out.w)
                 : "r"(at)
                 : "memory");
    return out;
}

// Copies 16 bytes, 8, or 4, from global to shared memory; zeros where not `there` (from is not read
// then). Done when plim_copies_wait says so, for the thread that asked.
PLIM_DEVICE void plim_copy_16(unsigned to, const void *from, bool there) {
    asm volatile("cp.async.cg.shared.global [%0], [%1], 16, %2;" ::"r"(to),
                 "l"(__cvta_generic_to_global(from)), "r"(there ? 16 : 0)
                 : "memory");
}

PLIM_DEVICE void plim_copy_8(unsigned to, const void *from, bool there) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 8, %2;" ::"r"(to),
                 "l"(__cvta_generic_to_global(from)), "r"(there ? 8 : 0)
                 : "memory");
}

PLIM_DEVICE void plim_copy_4(unsigned to, const void *from, bool there) {
    asm volatile("cp.async.ca.shared.global [%0], [%1], 4, %2;" ::"r"(to),
                 "l"(__cvta_generic_to_global(from)), "r"(there ? 4 : 0)
                 : "memory");
}

// Closes a group of copies.
PLIM_DEVICE void plim_copies_close() {
    asm volatile("cp.async.commit_group;" ::: "memory");
}

// Waits for all groups of this thread but the last LEFT.
template <int LEFT> PLIM_DEVICE void plim_copies_wait() {
    asm volatile("cp.async.wait_group %0;" ::"n"(LEFT) : "memory");
}

// Four 8x8 matrices of 16-bit numbers: lane l gives the address of row l % 8 of matrix l / 8;
// out[i] is columns 2t, 2t + 1 of row g of matrix i, or, across, rows 2t, 2t + 1 of column g.
PLIM_DEVICE void plim_load_matrices(unsigned (&out)[4], unsigned at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(at)
                 : "memory");
}

PLIM_DEVICE void plim_load_matrices_across(unsigned (&out)[4], unsigned at) {
    asm volatile("ldmatrix.sync.aligned.m8n8.x4.trans.shared.b16 {%0, %1, %2, %3}, [%4];"
                 : "=r"(out[0]), "=r"(out[1]), "=r"(out[2]), "=r"(out[3])
                 : "r"(at)
                 : "memory");
}

// c += a b, sums in f32.
PLIM_DEVICE void plim_mma_bf16(float (&c)[4], const unsigned (&a)[4], unsigned b0, unsigned b1) {
    asm volatile("mma.sync.aligned.m16n8k16.row.col.f32.bf16.bf16.f32 {%0, %1, %2, %3}, "
                 "{%4, %5, %6, %7}, {%8, %9}, {%0, %1, %2, %3};"
                 : "+f"(c[0]), "+f"(c[1]), "+f"(c[2]), "+f"(c[3])
                 : "r"(a[0]), "r"(a[1]), "r"(a[2]), "r"(a[3]), "r"(b0), "r"(b1));
}

// 2 to the x and the logarithm to base 2, within about 2 units of the last place.
PLIM_DEVICE float plim_exp2(float x) {
    float out;
    asm("ex2.approx.ftz.f32 %0, %1;" : "=f"(out) : "f"(x));
    return out;
}

PLIM_DEVICE float plim_log2(float x) {
    float out;
    asm("lg2.approx.ftz.f32 %0, %1;" : "=f"(out) : "f"(x));
    return out;
}

// 1 / x, within a unit of the last place.
PLIM_DEVICE float plim_reciprocal(float x) {
    float out;
    asm("rcp.approx.ftz.f32 %0, %1;" : "=f"(out) : "f"(x));
    return out;
}

// The larger in one instruction; of a number and a NaN, the number.
PLIM_DEVICE float plim_fmax(float x, float y) {
    return fmaxf(x, y);
}

#endif
