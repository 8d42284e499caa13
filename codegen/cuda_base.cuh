// Memory of the four types, a value or a vector of neighbours at a time; bf16 is f32 in registers,
// bool is one byte, and any but 0 is true.
typedef unsigned short plim_bf16;
PLIM_DEVICE float plim_widen(unsigned short x) { return plim_float((unsigned)x << 16); }
PLIM_DEVICE float plim_get_f32(const float *p) { return *p; }
PLIM_DEVICE float plim_get_bf16(const plim_bf16 *p) { return plim_widen(*p); }
PLIM_DEVICE int plim_get_i32(const int *p) { return *p; }
PLIM_DEVICE bool plim_get_bool(const unsigned char *p) { return *p != 0; }
PLIM_DEVICE void plim_put_f32(float *p, float x) { *p = x; }
PLIM_DEVICE void plim_put_bf16(plim_bf16 *p, float x) { *p = plim_narrow(x); }
PLIM_DEVICE void plim_put_i32(int *p, int x) { *p = x; }
PLIM_DEVICE void plim_put_bool(unsigned char *p, bool x) { *p = x ? 1 : 0; }
PLIM_DEVICE void plim_load_f32_2(const float *p, float *x) {
    const float2 v = *(const float2 *)p;
    x[0] = v.x, x[1] = v.y;
}
PLIM_DEVICE void plim_load_f32_4(const float *p, float *x) {
    const float4 v = *(const float4 *)p;
    x[0] = v.x, x[1] = v.y, x[2] = v.z, x[3] = v.w;
}
PLIM_DEVICE void plim_widen_pair(unsigned v, float *x) {
    x[0] = plim_float(v << 16), x[1] = plim_float(v & 0xffff0000u);
}
PLIM_DEVICE void plim_load_bf16_2(const plim_bf16 *p, float *x) {
    plim_widen_pair(*(const unsigned *)p, x);
}
PLIM_DEVICE void plim_load_bf16_4(const plim_bf16 *p, float *x) {
    const uint2 v = *(const uint2 *)p;
    plim_widen_pair(v.x, x), plim_widen_pair(v.y, x + 2);
}
PLIM_DEVICE void plim_load_bf16_8(const plim_bf16 *p, float *x) {
    const uint4 v = *(const uint4 *)p;
    plim_widen_pair(v.x, x), plim_widen_pair(v.y, x + 2);
    plim_widen_pair(v.z, x + 4), plim_widen_pair(v.w, x + 6);
}
PLIM_DEVICE void plim_load_i32_2(const int *p, int *x) {
    const int2 v = *(const int2 *)p;
    x[0] = v.x, x[1] = v.y;
}
PLIM_DEVICE void plim_load_i32_4(const int *p, int *x) {
    const int4 v = *(const int4 *)p;
    x[0] = v.x, x[1] = v.y, x[2] = v.z, x[3] = v.w;
}
PLIM_DEVICE void plim_load_bool_2(const unsigned char *p, bool *x) {
    const unsigned short v = *(const unsigned short *)p;
    x[0] = (v & 0xffu) != 0, x[1] = (v >> 8) != 0;
}
PLIM_DEVICE void plim_bools(unsigned v, bool *x) {
    x[0] = (v & 0xffu) != 0, x[1] = (v & 0xff00u) != 0;
    x[2] = (v & 0xff0000u) != 0, x[3] = (v & 0xff000000u) != 0;
}
PLIM_DEVICE void plim_load_bool_4(const unsigned char *p, bool *x) {
    plim_bools(*(const unsigned *)p, x);
}
PLIM_DEVICE void plim_load_bool_8(const unsigned char *p, bool *x) {
    const uint2 v = *(const uint2 *)p;
    plim_bools(v.x, x), plim_bools(v.y, x + 4);
}
PLIM_DEVICE void plim_store_f32_2(float *p, const float *x) {
    float2 v;
    v.x = x[0], v.y = x[1];
    *(float2 *)p = v;
}
PLIM_DEVICE void plim_store_f32_4(float *p, const float *x) {
    float4 v;
    v.x = x[0], v.y = x[1], v.z = x[2], v.w = x[3];
    *(float4 *)p = v;
}
PLIM_DEVICE void plim_store_bf16_2(plim_bf16 *p, const float *x) {
    *(unsigned *)p = plim_narrow_pair(x[0], x[1]);
}
PLIM_DEVICE void plim_store_bf16_4(plim_bf16 *p, const float *x) {
    uint2 v;
    v.x = plim_narrow_pair(x[0], x[1]), v.y = plim_narrow_pair(x[2], x[3]);
    *(uint2 *)p = v;
}
PLIM_DEVICE void plim_store_bf16_8(plim_bf16 *p, const float *x) {
    uint4 v;
    v.x = plim_narrow_pair(x[0], x[1]), v.y = plim_narrow_pair(x[2], x[3]);
    v.z = plim_narrow_pair(x[4], x[5]), v.w = plim_narrow_pair(x[6], x[7]);
    *(uint4 *)p = v;
}
PLIM_DEVICE void plim_store_i32_2(int *p, const int *x) {
    int2 v;
    v.x = x[0], v.y = x[1];
    *(int2 *)p = v;
}
PLIM_DEVICE void plim_store_i32_4(int *p, const int *x) {
    int4 v;
    v.x = x[0], v.y = x[1], v.z = x[2], v.w = x[3];
    *(int4 *)p = v;
}
PLIM_DEVICE unsigned plim_bytes(const bool *x) {
    return (unsigned)x[0] | (unsigned)x[1] << 8 | (unsigned)x[2] << 16 | (unsigned)x[3] << 24;
}
PLIM_DEVICE void plim_store_bool_2(unsigned char *p, const bool *x) {
    *(unsigned short *)p = (unsigned short)((unsigned)x[0] | (unsigned)x[1] << 8);
}
PLIM_DEVICE void plim_store_bool_4(unsigned char *p, const bool *x) {
    *(unsigned *)p = plim_bytes(x);
}
PLIM_DEVICE void plim_store_bool_8(unsigned char *p, const bool *x) {
    uint2 v;
    v.x = plim_bytes(x), v.y = plim_bytes(x + 4);
    *(uint2 *)p = v;
}

// Operations of kernels: integers wrap, x / 0 is 0, and of two numbers the second where one is NaN.
PLIM_DEVICE int plim_add_i32(int x, int y) { return (int)((unsigned)x + (unsigned)y); }
PLIM_DEVICE int plim_sub_i32(int x, int y) { return (int)((unsigned)x - (unsigned)y); }
PLIM_DEVICE int plim_mul_i32(int x, int y) { return (int)((unsigned)x * (unsigned)y); }
PLIM_DEVICE int plim_div_i32(int x, int y) {
    return y == 0 ? 0 : y == -1 ? plim_sub_i32(0, x) : x / y;
}
PLIM_DEVICE int plim_abs_i32(int x) { return x < 0 ? plim_sub_i32(0, x) : x; }
PLIM_DEVICE int plim_min_i32(int x, int y) { return x < y ? x : y; }
PLIM_DEVICE int plim_max_i32(int x, int y) { return x > y ? x : y; }
PLIM_DEVICE float plim_min(float x, float y) { return x < y ? x : y; }
PLIM_DEVICE float plim_max(float x, float y) { return x > y ? x : y; }
PLIM_DEVICE float plim_abs(float x) { return plim_float(plim_bits(x) & 0x7fffffffu); }
PLIM_DEVICE float plim_neg(float x) { return plim_float(plim_bits(x) ^ 0x80000000u); }
PLIM_DEVICE float plim_round_bf16(float x) { return plim_widen(plim_narrow(x)); }
// An index from data can't leave its operand, whatever it is.
PLIM_DEVICE int plim_clamp(int x, int limit) { return x < 0 ? 0 : x >= limit ? limit - 1 : x; }

// The draw of ir/random.c: Philox4x32-10, counter (index, step, key, 0), key (seed, 0).
PLIM_DEVICE int plim_random(int seed, int step, int key, int index) {
    unsigned c0 = (unsigned)index, c1 = (unsigned)step, c2 = (unsigned)key, c3 = 0;
    unsigned k0 = (unsigned)seed, k1 = 0;
#pragma unroll
    for (int round = 0; round < 10; round++) {
        const unsigned high0 = plim_multiply_high(0xd2511f53u, c0), low0 = 0xd2511f53u * c0;
        const unsigned high1 = plim_multiply_high(0xcd9e8d57u, c2), low1 = 0xcd9e8d57u * c2;
        c0 = high1 ^ c1 ^ k0, c2 = high0 ^ c3 ^ k1;
        c1 = low1, c3 = low0;
        k0 += 0x9e3779b9u, k1 += 0xbb67ae85u;
    }
    return (int)c0;
}

// Reductions of a fixed shape. Teams are 1, 2, 4 ... 32 neighbouring lanes of a warp: lanes are
// joined at distances width / 2, ... 2, 1, and each has the result. Adding is the same from both
// sides; of maxima, the first lane's zero is everybody's.
PLIM_DEVICE float plim_team_sum(float x, int width) {
#pragma unroll
    for (int at = width / 2; at > 0; at /= 2)
        x += plim_shfl_xor(x, at);
    return x;
}
PLIM_DEVICE float plim_team_max(float x, int width) {
#pragma unroll
    for (int at = width / 2; at > 0; at /= 2)
        x = plim_max(plim_shfl_xor(x, at), x);
    return width > 1 ? plim_shfl(x, (int)(threadIdx.x & 31u) & ~(width - 1)) : x;
}
// Of a block of `width` threads: of warps, then of what they leave in slots [32], which nobody may
// use again before the next barrier.
PLIM_DEVICE float plim_block_sum(float x, float *slots, int width) {
    x = plim_team_sum(x, 32);
    if (threadIdx.x % 32u == 0)
        slots[threadIdx.x / 32u] = x;
    __syncthreads();
    x = (int)(threadIdx.x % 32u) < width / 32 ? slots[threadIdx.x % 32u] : 0.0f;
    return plim_team_sum(x, 32);
}
PLIM_DEVICE float plim_block_max(float x, float *slots, int width) {
    x = plim_team_max(x, 32);
    if (threadIdx.x % 32u == 0)
        slots[threadIdx.x / 32u] = x;
    __syncthreads();
    x = (int)(threadIdx.x % 32u) < width / 32 ? slots[threadIdx.x % 32u]
                                              : plim_float(0xff800000u);
    return plim_team_max(x, 32);
}

// The column with the largest y, the first of equal ones, and its d; at is INT_MAX where there is none.
struct plim_best {
    float y, d;
    int at;
};
PLIM_DEVICE plim_best plim_team_best(plim_best b, int width) {
#pragma unroll
    for (int at = width / 2; at > 0; at /= 2) {
        const plim_best o = {plim_shfl_xor(b.y, at), plim_shfl_xor(b.d, at),
                             plim_shfl_xor_i32(b.at, at)};
        if (o.y > b.y || (o.y == b.y && o.at < b.at))
            b = o;
    }
    return b;
}
PLIM_DEVICE plim_best plim_block_best(plim_best b, plim_best *slots, int width) {
    b = plim_team_best(b, 32);
    if (threadIdx.x % 32u == 0)
        slots[threadIdx.x / 32u] = b;
    __syncthreads();
    // The others hold the first's: a best joined with itself is itself.
    b = slots[(int)(threadIdx.x % 32u) < width / 32 ? threadIdx.x % 32u : 0u];
    return plim_team_best(b, 32);
}
