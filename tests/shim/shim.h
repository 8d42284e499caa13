// A GPU's threads on one CPU thread: included in front of printed CUDA C (with PLIM_SHIM defined), so that
// it runs, slowly, where there is no GPU. C++, like CUDA.
//
// Each thread of a block is a fiber with a stack of its own. A fiber runs until it ends or meets others:
// at a barrier of the block, or in an exchange of its warp (shuffles, ballots, matrix instructions). Warps
// take turns; a warp's exchange happens when all lanes it names have come to the same one. What can't go
// on is told: a barrier that some threads of the block don't reach, lanes of a warp in different
// exchanges, memory written past the end of the dynamic shared memory.
//
// Shared memory is poisoned before each block (all bits set: NaN, -1). With PLIM_SHIM_ORDER=backward in
// the environment warps and lanes run from the last to the first: what comes out differently lacks a
// barrier. The compile script adds checks of array bounds and of alignment.
//
// Cost: some 10 ns a switch. Memory is the host's own; nothing is said about speed on a GPU.
#ifndef PLIM_TESTS_SHIM_H
#define PLIM_TESTS_SHIM_H

#include <math.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <utility>

#define PLIM_DEVICE static inline __attribute__((unused))
#define PLIM_METHOD inline
#define __global__
#define __device__
#define __constant__ static const
#define __shared__ static __attribute__((section("plim_shim_shared")))
#define __forceinline__ inline
#define __launch_bounds__(...)
#define __grid_constant__
#define __align__(n) __attribute__((aligned(n)))
#define __restrict__ __restrict

struct uint3 {
    unsigned x, y, z;
};
struct alignas(8) uint2 {
    unsigned x, y;
};
struct alignas(16) uint4 {
    unsigned x, y, z, w;
};
struct alignas(8) int2 {
    int x, y;
};
struct alignas(16) int4 {
    int x, y, z, w;
};
struct alignas(8) float2 {
    float x, y;
};
struct alignas(16) float4 {
    float x, y, z, w;
};

// One block runs at a time, so that its coordinates and the thread's own are plain variables. Not static:
// every switch may change them, and the compiler must not think otherwise.
#define SHIM_GLOBAL __attribute__((visibility("hidden")))
SHIM_GLOBAL uint3 threadIdx, blockIdx, blockDim, gridDim;

enum {
    SHIM_THREADS = 1024,
    SHIM_STACK = 256 * 1024,
    SHIM_VALUE = 256, // bytes that a lane can give to an exchange
    SHIM_GUARD = 4096,
    SHIM_PATIENCE = 1 << 16, // turns of a block in which threads only wait for memory to change
    SHIM_BARRIERS = 16
};

typedef enum { SHIM_READY, SHIM_YIELDED, SHIM_EXCHANGE, SHIM_BARRIER, SHIM_ENDED } ShimState;

struct ShimFiber {
    void *stack_pointer;
    ShimState state;
    int barrier, barrier_threads; // SHIM_BARRIER: which, and how many threads it is for
    int operation;                // SHIM_EXCHANGE: what the lane takes part in
    unsigned lanes;               // SHIM_EXCHANGE: with whom
};

struct ShimWarp {
    alignas(16) unsigned char given[32][SHIM_VALUE], seen[32][SHIM_VALUE];
};

struct Shim {
    ShimFiber fiber[SHIM_THREADS];
    ShimWarp warp[SHIM_THREADS / 32];
    unsigned char *stacks, *shared;
    size_t shared_size;
    void *scheduler; // its stack pointer
    int threads, current;
    void (*call)(void **args);
    void **args;
    int block;                  // so many blocks of the grid have begun
    int arrived[SHIM_BARRIERS]; // threads that came to a barrier and went on
    int under_way;              // copies and arrivals that were asked for and haven't happened
    int sums;                   // of those that threads move to global memory
    bool progress;              // since the scheduler last looked: memory that others wait for changed
    const char *failed;         // what went wrong, or NULL
};
SHIM_GLOBAL Shim shim;

// The static shared memory of all kernels of the file, from the linker; none where there is none.
extern "C" unsigned char __start_plim_shim_shared[] __attribute__((weak));
extern "C" unsigned char __stop_plim_shim_shared[] __attribute__((weak));

// Saves the registers that a call keeps, and goes on with another stack.
extern "C" void plim_shim_switch(void **save, void *load);
#if !defined(__x86_64__)
#error "the shim switches stacks in x86-64 assembly"
#endif
__asm__(".text\n"
        ".local plim_shim_switch\n"
        ".type plim_shim_switch,@function\n"
        "plim_shim_switch:\n"
        "  pushq %rbp\n  pushq %rbx\n  pushq %r12\n  pushq %r13\n  pushq %r14\n  pushq %r15\n"
        "  movq %rsp, (%rdi)\n"
        "  movq %rsi, %rsp\n"
        "  popq %r15\n  popq %r14\n  popq %r13\n  popq %r12\n  popq %rbx\n  popq %rbp\n"
        "  ret\n"
        ".size plim_shim_switch,.-plim_shim_switch\n");

static void shim_wait(ShimState state) {
    ShimFiber *f = &shim.fiber[shim.current];
    f->state = state;
    plim_shim_switch(&f->stack_pointer, shim.scheduler);
}

static void shim_main() {
    shim.call(shim.args);
    shim_wait(SHIM_ENDED);
}

// A stack that, switched to, begins in shim_main; there, as after a call, it is 8 off a multiple of 16.
static void shim_start(int thread) {
    unsigned char *top = shim.stacks + (size_t)(thread + 1) * SHIM_STACK;
    void **at = (void **)(top - 16);
    *at = (void *)shim_main;
    for (int i = 0; i < 6; i++)
        *--at = NULL;
    shim.fiber[thread].stack_pointer = at;
    shim.fiber[thread].state = SHIM_READY;
}

static bool shim_backward() {
    const char *order = getenv("PLIM_SHIM_ORDER");
    return order && strcmp(order, "backward") == 0;
}

// Threads first .. first + count - 1 in turn, each as far as it goes; whether any ran.
static bool shim_run(int first, int count, bool backward) {
    bool any = false;
    for (int i = 0; i < count && !shim.failed; i++) {
        const int thread = backward ? first + count - 1 - i : first + i;
        if (shim.fiber[thread].state != SHIM_READY)
            continue;
        shim.current = thread;
        threadIdx = {(unsigned)thread, 0, 0};
        plim_shim_switch(&shim.scheduler, shim.fiber[thread].stack_pointer);
        any = true;
    }
    return any;
}

// Lets the lanes of a warp go on whose exchange is complete; whether there were any.
static bool shim_release_warp(int first) {
    bool any = false;
    for (int lane = 0; lane < 32; lane++) {
        const ShimFiber *f = &shim.fiber[first + lane];
        if (f->state != SHIM_EXCHANGE)
            continue;
        bool all = true;
        for (int other = 0; other < 32; other++) {
            const ShimFiber *g = &shim.fiber[first + other];
            if ((f->lanes >> other & 1) == 0)
                continue;
            if (g->state == SHIM_EXCHANGE && (g->operation != f->operation || g->lanes != f->lanes))
                shim.failed = "lanes of a warp meet in different operations";
            all = all && g->state == SHIM_EXCHANGE;
        }
        if (!all)
            continue;
        const unsigned lanes = f->lanes;
        ShimWarp *w = &shim.warp[first / 32];
        memcpy(w->seen, w->given, sizeof w->seen);
        for (int other = 0; other < 32; other++)
            if (lanes >> other & 1)
                shim.fiber[first + other].state = SHIM_READY;
        any = true;
    }
    return any;
}

// Barriers that have all their threads; whether there were any.
static bool shim_release_barriers() {
    bool any = false;
    for (int t = 0; t < shim.threads; t++) {
        if (shim.fiber[t].state != SHIM_BARRIER)
            continue;
        const int number = shim.fiber[t].barrier, wanted = shim.fiber[t].barrier_threads;
        int here = shim.arrived[number];
        for (int u = 0; u < shim.threads; u++)
            here += shim.fiber[u].state == SHIM_BARRIER && shim.fiber[u].barrier == number;
        if (here > wanted)
            shim.failed = "more threads come to a barrier than it is for";
        for (int u = 0; u < shim.threads && here == wanted; u++)
            if (shim.fiber[u].state == SHIM_BARRIER && shim.fiber[u].barrier == number)
                shim.fiber[u].state = SHIM_READY;
        if (here == wanted)
            shim.arrived[number] = 0;
        any = any || here == wanted;
    }
    return any;
}

static int shim_count(ShimState state) {
    int count = 0;
    for (int t = 0; t < shim.threads; t++)
        count += shim.fiber[t].state == state;
    return count;
}

static void shim_run_block(bool backward) {
    for (int t = 0; t < shim.threads; t++)
        shim_start(t);
    const int warps = shim.threads / 32;
    for (int patience = SHIM_PATIENCE; !shim.failed;) {
        bool any = false;
        for (int i = 0; i < warps; i++) {
            const int first = 32 * (backward ? warps - 1 - i : i);
            do
                any = shim_run(first, 32, backward) || any;
            while (!shim.failed && shim_release_warp(first));
        }
        if (shim_count(SHIM_ENDED) == shim.threads)
            return;
        if (shim_release_barriers())
            any = shim.progress = true;
        const int yielded = shim_count(SHIM_YIELDED);
        for (int t = 0; t < shim.threads; t++)
            if (shim.fiber[t].state == SHIM_YIELDED)
                shim.fiber[t].state = SHIM_READY;
        patience = shim.progress ? SHIM_PATIENCE : patience - 1;
        shim.progress = false;
        if (!any || (yielded > 0 && patience == 0))
            shim.failed = shim_count(SHIM_EXCHANGE) > 0
                              ? "a warp waits for lanes that don't come"
                              : "threads wait at a barrier that others don't reach";
    }
}

static void shim_prepare_shared() {
    if (__start_plim_shim_shared)
        memset(__start_plim_shim_shared, 0xff,
               (size_t)(__stop_plim_shim_shared - __start_plim_shim_shared));
    memset(shim.shared, 0xff, shim.shared_size + SHIM_GUARD);
    memset(shim.arrived, 0, sizeof shim.arrived);
    shim.under_way = shim.sums = 0;
    shim.block++;
}

static void shim_check_shared() {
    if (!shim.failed && (shim.under_way > 0 || shim.sums > 0))
        shim.failed = "a block ends before its copies have come";
    for (int i = 0; i < SHIM_BARRIERS && !shim.failed; i++)
        if (shim.arrived[i] > 0)
            shim.failed = "threads arrive at a barrier that nobody waits at";
    for (int i = 0; i < SHIM_GUARD && !shim.failed; i++)
        if (shim.shared[shim.shared_size + (size_t)i] != 0xff)
            shim.failed = "a block writes past its dynamic shared memory";
}

// All blocks of a grid, one after another. 0, or 1 after a sentence.
static int shim_launch(const char *name, void (*call)(void **), void **args, unsigned x, unsigned y,
                       unsigned z, unsigned block, size_t shared) {
    const size_t stacks = (size_t)SHIM_THREADS * SHIM_STACK;
    if (block % 32 != 0 || block == 0 || block > SHIM_THREADS) {
        fprintf(stderr, "shim: %s: a block of %u threads\n", name, block);
        return 1;
    }
    shim.threads = (int)block;
    shim.call = call;
    shim.args = args;
    shim.failed = NULL;
    shim.shared_size = shared;
    shim.stacks = (unsigned char *)mmap(NULL, stacks, PROT_READ | PROT_WRITE,
                                        MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    shim.shared = (unsigned char *)aligned_alloc(1024, (shared + SHIM_GUARD + 1023) / 1024 * 1024);
    if (shim.stacks == MAP_FAILED || !shim.shared)
        abort();
    blockDim = {block, 1, 1};
    gridDim = {x, y, z};
    const bool backward = shim_backward();
    for (unsigned c = 0; c < z && !shim.failed; c++)
        for (unsigned b = 0; b < y && !shim.failed; b++)
            for (unsigned a = 0; a < x && !shim.failed; a++) {
                blockIdx = {a, b, c};
                shim_prepare_shared();
                shim_run_block(backward);
                shim_check_shared();
            }
    if (shim.failed)
        fprintf(stderr, "shim: %s, block %u %u %u: %s\n", name, blockIdx.x, blockIdx.y, blockIdx.z,
                shim.failed);
    munmap(shim.stacks, stacks);
    free(shim.shared);
    return shim.failed ? 1 : 0;
}

// args as the CUDA driver has them: each points to the parameter's value.
template <class... P, size_t... I>
static void shim_apply(void (*kernel)(P...), void **args, std::index_sequence<I...>) {
    kernel(*(P *)args[I]...);
}
template <class... P> static void shim_call(void (*kernel)(P...), void **args) {
    shim_apply(kernel, args, std::index_sequence_for<P...>());
}
// The bytes of each parameter, then 0.
template <class... P> static const unsigned *shim_parameters(void (*)(P...)) {
    static const unsigned bytes[] = {(unsigned)sizeof(P)..., 0};
    return bytes;
}
// NAME__host of a kernel: runs the whole grid on host memory; not 0: it failed, and said why.
// NAME__parameters: how many bytes each has, for who hands them over without knowing the kernel.
#define PLIM_SHIM_ENTRY(name)                                                                      \
    extern "C" const unsigned *name##__parameters(void) {                                          \
        return shim_parameters(name);                                                              \
    }                                                                                              \
    extern "C" int name##__host(void **args, unsigned x, unsigned y, unsigned z, unsigned block,   \
                                size_t shared) {                                                   \
        return shim_launch(#name, [](void **a) { shim_call(name, a); }, args, x, y, z, block,      \
                           shared);                                                                \
    }

// What lanes can do together. `operation` tells them apart: lanes that meet must mean the same. The
// result is what lane i gave, at [i]; it is there until this lane's next exchange.
static const unsigned char (*shim_exchange(int operation, unsigned lanes, const void *mine,
                                           size_t bytes))[SHIM_VALUE] {
    const int thread = shim.current;
    ShimWarp *w = &shim.warp[thread / 32];
    memcpy(w->given[thread % 32], mine, bytes);
    shim.fiber[thread].operation = operation;
    shim.fiber[thread].lanes = lanes;
    shim_wait(SHIM_EXCHANGE);
    return w->seen;
}
// For loops that wait for memory to change: everybody else runs first.
PLIM_DEVICE void shim_yield() {
    shim_wait(SHIM_YIELDED);
}
PLIM_DEVICE void shim_barrier(int number, int threads) {
    shim.fiber[shim.current].barrier = number;
    shim.fiber[shim.current].barrier_threads = threads;
    shim_wait(SHIM_BARRIER);
}
PLIM_DEVICE void __syncthreads() {
    shim_barrier(0, shim.threads);
}

enum { SHIM_ALL = -1 }; // of a warp
enum {                  // operations of exchanges; the emulations of matrix instructions begin at 100
    SHIM_SYNC,
    SHIM_SHUFFLE_XOR,
    SHIM_SHUFFLE,
    SHIM_SHUFFLE_UP,
    SHIM_BALLOT,
    SHIM_MATCH,
    SHIM_FIRST_TENSOR = 100
};

template <class T> static T shim_shuffle(int operation, T x, int from) {
    const unsigned char(*seen)[SHIM_VALUE] = shim_exchange(operation, (unsigned)SHIM_ALL, &x, sizeof x);
    T y;
    memcpy(&y, seen[from], sizeof y);
    return y;
}
#define SHIM_LANE (shim.current % 32)
PLIM_DEVICE float plim_shfl_xor(float x, int mask) {
    return shim_shuffle(SHIM_SHUFFLE_XOR, x, SHIM_LANE ^ mask);
}
PLIM_DEVICE int plim_shfl_xor_i32(int x, int mask) {
    return shim_shuffle(SHIM_SHUFFLE_XOR, x, SHIM_LANE ^ mask);
}
PLIM_DEVICE float plim_shfl(float x, int lane) {
    return shim_shuffle(SHIM_SHUFFLE, x, lane & 31);
}
PLIM_DEVICE int plim_shfl_i32(int x, int lane) {
    return shim_shuffle(SHIM_SHUFFLE, x, lane & 31);
}
PLIM_DEVICE int plim_shfl_up_i32(int x, int lanes) {
    return shim_shuffle(SHIM_SHUFFLE_UP, x, SHIM_LANE >= lanes ? SHIM_LANE - lanes : SHIM_LANE);
}
PLIM_DEVICE void plim_syncwarp() {
    const int nothing = 0;
    shim_exchange(SHIM_SYNC, (unsigned)SHIM_ALL, &nothing, sizeof nothing);
}
PLIM_DEVICE unsigned plim_ballot(int x) {
    const unsigned char(*seen)[SHIM_VALUE] = shim_exchange(SHIM_BALLOT, (unsigned)SHIM_ALL, &x, sizeof x);
    unsigned lanes = 0;
    for (int i = 0; i < 32; i++) {
        int y;
        memcpy(&y, seen[i], sizeof y);
        lanes |= y ? 1u << i : 0;
    }
    return lanes;
}
PLIM_DEVICE unsigned plim_match(int x) {
    const unsigned char(*seen)[SHIM_VALUE] = shim_exchange(SHIM_MATCH, (unsigned)SHIM_ALL, &x, sizeof x);
    unsigned lanes = 0;
    for (int i = 0; i < 32; i++)
        lanes |= memcmp(seen[i], &x, sizeof x) == 0 ? 1u << i : 0;
    return lanes;
}

// What one thread does alone.
PLIM_DEVICE unsigned plim_bits(float x) {
    unsigned y;
    memcpy(&y, &x, sizeof y);
    return y;
}
PLIM_DEVICE float plim_float(unsigned x) {
    float y;
    memcpy(&y, &x, sizeof y);
    return y;
}
PLIM_DEVICE float plim_fma(float x, float y, float z) {
    return fmaf(x, y, z);
}
PLIM_DEVICE float plim_div(float x, float y) {
    return x / y;
}
PLIM_DEVICE float plim_sqrt(float x) {
    return sqrtf(x);
}
PLIM_DEVICE int plim_truncate(float x) {
    return x != x ? 0 : x <= -2147483648.0f ? INT32_MIN : x >= 2147483648.0f ? INT32_MAX : (int)x;
}
PLIM_DEVICE unsigned plim_multiply_high(unsigned x, unsigned y) {
    return (unsigned)((uint64_t)x * y >> 32);
}
PLIM_DEVICE int plim_count_bits(unsigned x) {
    return __builtin_popcount(x);
}
PLIM_DEVICE unsigned short plim_narrow(float x) {
    const unsigned bits = plim_bits(x);
    if (x != x)
        return 0x7fff;
    return (unsigned short)((bits + 0x7fffu + (bits >> 16 & 1u)) >> 16);
}
PLIM_DEVICE unsigned plim_narrow_pair(float low, float high) {
    return (unsigned)plim_narrow(low) | (unsigned)plim_narrow(high) << 16;
}
PLIM_DEVICE void plim_count_up(int *at, int by) {
    *at += by;
}
PLIM_DEVICE unsigned char *plim_shared() {
    return shim.shared;
}

#endif
