// What C lacks, through instructions of a GPU. Whoever compiles for another machine (a CPU that runs
// the threads of a block by turns) defines PLIM_SHIM and the same functions in its own way.
#ifndef PLIM_SHIM
// Not every kernel uses every function, or every number of its row.
#pragma nv_diag_suppress 177
#define PLIM_DEVICE static __device__ __forceinline__
#define PLIM_METHOD __device__ __forceinline__
PLIM_DEVICE unsigned plim_bits(float x) { return __float_as_uint(x); }
PLIM_DEVICE float plim_float(unsigned x) { return __uint_as_float(x); }
PLIM_DEVICE float plim_fma(float x, float y, float z) { return __fmaf_rn(x, y, z); }
PLIM_DEVICE float plim_div(float x, float y) { return __fdiv_rn(x, y); }
PLIM_DEVICE float plim_sqrt(float x) { return __fsqrt_rn(x); }
// Towards 0; ends at the ends of the range; NaN gives 0.
PLIM_DEVICE int plim_truncate(float x) { return __float2int_rz(x); }
PLIM_DEVICE unsigned plim_multiply_high(unsigned x, unsigned y) { return __umulhi(x, y); }
PLIM_DEVICE int plim_count_bits(unsigned x) { return __popc(x); }
// To the nearest bf16, ties to even; a pair has its first in the low half.
PLIM_DEVICE unsigned short plim_narrow(float x) {
#if __CUDA_ARCH__ >= 800
    unsigned short y;
    asm("cvt.rn.bf16.f32 %0, %1;" : "=h"(y) : "f"(x));
    return y;
#else // the same bits
    const unsigned bits = plim_bits(x), half = 0x7fffu + (bits >> 16 & 1u);
    return (unsigned short)((bits & 0x7fffffffu) > 0x7f800000u ? 0x7fffu : (bits + half) >> 16);
#endif
}
PLIM_DEVICE unsigned plim_narrow_pair(float low, float high) {
#if __CUDA_ARCH__ >= 800
    unsigned y;
    asm("cvt.rn.bf16x2.f32 %0, %1, %2;" : "=r"(y) : "f"(high), "f"(low));
    return y;
#else
    return (unsigned)plim_narrow(high) << 16 | plim_narrow(low);
#endif
}
// All lanes of a warp take part in each of these.
PLIM_DEVICE float plim_shfl_xor(float x, int mask) { return __shfl_xor_sync(0xffffffffu, x, mask); }
PLIM_DEVICE int plim_shfl_xor_i32(int x, int mask) { return __shfl_xor_sync(0xffffffffu, x, mask); }
PLIM_DEVICE float plim_shfl(float x, int lane) { return __shfl_sync(0xffffffffu, x, lane); }
PLIM_DEVICE int plim_shfl_i32(int x, int lane) { return __shfl_sync(0xffffffffu, x, lane); }
PLIM_DEVICE int plim_shfl_up_i32(int x, int lanes) { return __shfl_up_sync(0xffffffffu, x, lanes); }
PLIM_DEVICE unsigned plim_ballot(int x) { return __ballot_sync(0xffffffffu, x); }
// The lanes that hold the same number.
PLIM_DEVICE unsigned plim_match(int x) { return __match_any_sync(0xffffffffu, x); }
PLIM_DEVICE void plim_syncwarp(void) { __syncwarp(); }
// Counts in shared memory: whole numbers, so that the order does not show.
PLIM_DEVICE void plim_count_up(int *at, int by) { atomicAdd(at, by); }
// The launch's dynamic shared memory, on a multiple of 1024 bytes.
PLIM_DEVICE unsigned char *plim_shared(void) {
    extern __shared__ __align__(1024) unsigned char plim_dynamic[];
    return plim_dynamic;
}
#endif
