// What blocks add up in global memory in turns, as the shim emulates it (tests/shim/hopper.h): sums
// in order, bytes that come to a barrier, matrices as they are loaded again; and that the shim
// tells what would hang, race or depend on the order of blocks on a GPU.
#include "cuda_run.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

enum { BLOCKS = 3, FLOATS = 128, BYTES = FLOATS * 4 };

// A block of one warp, each with numbers of its own. `mistake`: what the case leaves out or does.
static const char add_text[] =
    "extern \"C\" __global__ void add(float *sums, int *turns, int mistake) {\n"
    "    const unsigned at = plim_shared_address();\n"
    "    const float x = (float)(blockIdx.x * 1000 + threadIdx.x), four[4] = {x, x, x, x + 0.5f};\n"
    "    const int mine = mistake == 1 ? 2 - blockIdx.x : blockIdx.x;\n"
    "    plim_shared_store_floats(at + 16 * threadIdx.x, four);\n"
    "    if (mistake != 2)\n"
    "        plim_show_products();\n"
    "    plim_syncwarp();\n"
    "    if (threadIdx.x != 0)\n"
    "        return;\n"
    "    plim_turn_wait(turns, mine);\n"
    "    if (mine == 0)\n"
    "        plim_sums_store(sums, at, 512);\n"
    "    else\n"
    "        plim_sums_add(sums, at, mistake == 3 ? 500 : 512);\n"
    "    if (mistake == 4)\n"
    "        return;\n"
    "    if (mistake != 5)\n"
    "        plim_sums_wait_read();\n"
    "    plim_shared_store(at, 0);\n"
    "    if (mistake != 6)\n"
    "        plim_sums_wait();\n"
    "    plim_turn_pass(turns, mistake == 7 ? mine : mine + 1);\n"
    "    plim_sums_wait();\n"
    "}\n";

// A warp's matrices to shared memory and back, by rows of 32 bytes twisted by the row.
static const char turn_text[] =
    "extern \"C\" __global__ void matrices(unsigned *out, int mistake) {\n"
    "    const unsigned at = plim_shared_address(), lane = threadIdx.x;\n"
    "    const unsigned row = lane % 16, chunk = mistake ? lane / 16 : lane / 16 ^ row % 8;\n"
    "    const unsigned x[4] = {lane, 100 + lane, 200 + lane, 300 + lane};\n"
    "    unsigned y[4];\n"
    "    plim_store_matrices(at + row * 128 + chunk * 16, x);\n"
    "    plim_syncwarp();\n"
    "    plim_load_matrices(y, at + row * 128 + chunk * 16);\n"
    "    for (int i = 0; i < 4; i++)\n"
    "        out[4 * lane + i] = y[i];\n"
    "}\n";

// Bytes by a copy that counts at a barrier.
static const char bring_text[] =
    "extern \"C\" __global__ void bring(const float *from, float *out, int mistake) {\n"
    "    const unsigned at = plim_shared_address(), barrier = at + 512;\n"
    "    if (threadIdx.x == 0) {\n"
    "        plim_barrier_begin(barrier, 1);\n"
    "        plim_barriers_show();\n"
    "    }\n"
    "    __syncthreads();\n"
    "    if (plim_elect()) {\n"
    "        plim_barrier_expect(barrier, mistake == 1 ? 496 : 512);\n"
    "        plim_copy_bytes(at, mistake == 2 ? from + 1 : from, 512, barrier);\n"
    "    }\n"
    "    if (mistake == 3)\n"
    "        return;\n"
    "    plim_barrier_wait(barrier, 0);\n"
    "    for (int i = 0; i < 4; i += 2) {\n"
    "        float two[2];\n"
    "        plim_shared_load_pair(two, at + 16 * threadIdx.x + 4 * i);\n"
    "        out[4 * threadIdx.x + i] = two[0];\n"
    "        out[4 * threadIdx.x + i + 1] = two[1];\n"
    "    }\n"
    "}\n";

static void *load(Arena *a) {
    const CudaParts parts = CUDA_MMA | CUDA_ATTENTION | CUDA_HOPPER;
    const char *prelude = cuda_prelude(a, parts, (GpuArch){90, true});
    return cuda_text_load(a, arena_format(a, "%s%s%s%s", prelude, add_text, turn_text, bring_text),
                          "-O0");
}

static void set_order(ShimOrder order) {
    setenv("PLIM_SHIM_ORDER", order == SHIM_BACKWARD ? "backward" : "forward", 1);
}

// Whether the shim found nothing wrong. The sums begin as what no sum is.
static bool add(CudaHostFn f, int mistake, ShimOrder order, float *sums) {
    int turns = 0, *to = &turns;
    void *args[] = {&sums, &to, &mistake};
    for (int i = 0; i < FLOATS; i++)
        sums[i] = NAN;
    set_order(order);
    return f(args, BLOCKS, 1, 1, 32, BYTES) == 0 && turns == BLOCKS;
}

Test(cuda_sums, blocks_add_in_turns) {
    Arena *a = arena_create();
    const CudaHostFn f = cuda_text_function(load(a), "add");
    for (int order = SHIM_FORWARD; order <= SHIM_BACKWARD; order++) {
        _Alignas(16) float sums[FLOATS];
        cr_assert(add(f, 0, (ShimOrder)order, sums));
        for (int i = 0; i < FLOATS; i++)
            cr_assert_eq(sums[i], 3000 + 3 * (float)(i / 4) + (i % 4 == 3 ? 1.5F : 0));
    }
    arena_release(a);
}

Test(cuda_sums, mistakes_are_told) {
    Arena *a = arena_create();
    const CudaHostFn f = cuda_text_function(load(a), "add");
    _Alignas(16) float sums[FLOATS];
    static const char *const mistake[] = {"none",
                                          "a turn behind a block that begins later",
                                          "numbers that were not shown",
                                          "bytes that are no whole chunks",
                                          "a block that ends before its sums are there",
                                          "an overwritten number",
                                          "a turn passed on before the sums are there",
                                          "a turn that is not passed on"};
    for (int i = 1; i < (int)(sizeof mistake / sizeof *mistake); i++) {
        const bool good = add(f, i, SHIM_FORWARD, sums);
        cr_assert(!good || sums[0] != 3000, "not told: %s", mistake[i]);
    }
    arena_release(a);
}

Test(cuda_sums, matrices_are_loaded_as_they_were_stored) {
    Arena *a = arena_create();
    const CudaHostFn f = cuda_text_function(load(a), "matrices");
    unsigned out[128], *to = out;
    int mistake = 0;
    void *args[] = {&to, &mistake};
    set_order(SHIM_FORWARD);
    cr_assert_eq(f(args, 1, 1, 1, 32, 16 * 128), 0);
    for (unsigned i = 0; i < 128; i++)
        cr_assert_eq(out[i], i % 4 * 100 + i / 4);
    // All rows' chunks in the same banks.
    mistake = 1;
    cr_assert_neq(f(args, 1, 1, 1, 32, 16 * 128), 0);
    arena_release(a);
}

Test(cuda_sums, bytes_come_to_a_barrier) {
    Arena *a = arena_create();
    const CudaHostFn f = cuda_text_function(load(a), "bring");
    _Alignas(16) float from[FLOATS + 4], out[FLOATS];
    const float *source = from;
    float *to = out;
    int mistake = 0;
    void *args[] = {&source, &to, &mistake};
    for (int i = 0; i < FLOATS + 4; i++)
        from[i] = (float)i;
    for (int order = SHIM_FORWARD; order <= SHIM_BACKWARD; order++) {
        set_order((ShimOrder)order);
        mistake = 0;
        cr_assert_eq(f(args, 1, 1, 1, 32, BYTES + 8), 0);
        cr_assert_arr_eq(out, from, sizeof out);
    }
    set_order(SHIM_FORWARD);
    for (mistake = 1; mistake <= 3; mistake++)
        cr_assert_neq(f(args, 1, 1, 1, 32, BYTES + 8), 0, "not told: %d", mistake);
    arena_release(a);
}
