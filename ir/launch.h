// How kernels are launched on a GPU: grids, blocks, shared memory, workspace. Kept here because
// three rooms need the same answer: passes for workspaces and the plan's table, codegen for what it
// prints.
//
// A kernel is one launch, or up to four one after another on its stream, all with the same
// parameters. Everything follows from the kernel and the architecture, never from the machine that
// compiles.
#ifndef PLIM_IR_LAUNCH_H
#define PLIM_IR_LAUNCH_H

#include "ir/kernel.h"

// An instruction set: {90, true} is sm_90a, whose code runs on that one generation only; {80,
// false} is sm_80, whose code runs on 8.0 and later 8.x.
typedef struct {
    int sm;        // ten times the compute capability
    bool specific; // the "a": instructions that later generations need not have
} GpuArch;

enum { GPU_ARCHS_MAX = 8 };
// Those a program is compiled for, in the order asked for; count 0: no GPU target.
typedef struct {
    int count;
    GpuArch arch[GPU_ARCHS_MAX];
} GpuArchs;

// "sm_90a", in a.
const char *gpu_arch_name(Arena *a, GpuArch arch);
// Bytes of shared memory one block may have.
int64_t gpu_shared_max(GpuArch arch);
// Multiprocessors of the largest GPU of the kind: how many blocks a persistent grid has.
int64_t gpu_multiprocessors(GpuArch arch);

enum { KERNEL_LAUNCHES_MAX = 4, GPU_WARP = 32, GPU_BLOCK_MAX = 1024, GPU_GRID_YZ_MAX = 65535 };

// How a launch copies from an operand by tensor map (TMA): bf16 numbers in four dims, the first
// contiguous. One copy brings `rows` of the second dim, of 64 numbers of the first, to rows of 128
// bytes of shared memory, their chunks of 16 bytes twisted by the row; 0 for what lies outside.
enum { KERNEL_MAPS_MAX = 4, KERNEL_MAP_DIMS = 4, KERNEL_MAP_COLUMNS = 64 };
typedef struct {
    int operand;
    int64_t dim[KERNEL_MAP_DIMS];        // columns, positions, heads, batch
    int64_t stride[KERNEL_MAP_DIMS - 1]; // of all but columns, in elements: multiples of 8
    int rows;
} KernelMap;

typedef struct {
    const char *suffix; // after the kernel's name: "", "_1", "_2" or "_3"
    int64_t grid[3];    // blocks; x up to 2^31 - 1, y and z up to GPU_GRID_YZ_MAX
    int block;          // threads, a multiple of GPU_WARP
    int64_t shared;     // bytes of dynamic shared memory; static ones come on top
    int map_count;      // 0: it reads its operands by address alone
    KernelMap map[KERNEL_MAPS_MAX];
} KernelLaunch;

typedef struct {
    int count; // 0: a library or the host computes it
    KernelLaunch launch[KERNEL_LAUNCHES_MAX];
    size_t workspace; // bytes of one call, all blocks together; the same for every launch of it
} KernelLaunches;

void kernel_launches(const Kernel *k, GpuArch arch, KernelLaunches *out);
// The most workspace of one call on any of them, a library's product included.
size_t gpu_workspace(const Kernel *k, const GpuArchs *archs);
// Adds one of so many blocks, in a row, of so many threads.
void kernel_launch_add(KernelLaunches *out, int64_t blocks, int block);
// Its part for KERNEL_ATTENTION and KERNEL_ATTENTION_GRAD; kernel_launches calls it.
void kernel_launches_attention(const Kernel *k, GpuArch arch, KernelLaunches *out);
// Its part for KERNEL_SCALAR; ir/launch_scalar.h says more.
void kernel_launches_scalar(const Kernel *k, GpuArch arch, KernelLaunches *out);

// A product of our own: a block a tile of tile_m x tile_n, k in steps of tile_k.
typedef struct {
    int tile_m, tile_n, tile_k;
    int block;
} ProductLaunch;
ProductLaunch product_launch(const ProductKernel *p);

// A convolution of our own: each group a product of channels by pixels, or by taps where w is the
// result.
typedef enum {
    CONVOLVE_TILES,    // a block 64 x 64 elements
    CONVOLVE_ELEMENTS, // a thread an element: few channels
    CONVOLVE_DEEP      // a block an element: the weights of few channels
} ConvolutionWay;
typedef struct {
    ConvolutionWay way;
    int64_t blocks; // of one group
} ConvolutionLaunch;
ConvolutionLaunch convolution_launch(const ConvolutionKernel *k);

#endif
