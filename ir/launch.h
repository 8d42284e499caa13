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

typedef struct {
    const char *suffix; // after the kernel's name: "", "_1", "_2" or "_3"
    int64_t grid[3];    // blocks; x up to 2^31 - 1, y and z up to GPU_GRID_YZ_MAX
    int block;          // threads, a multiple of GPU_WARP
    int64_t shared;     // bytes of dynamic shared memory; static ones come on top
} KernelLaunch;

typedef struct {
    int count; // 0: a library computes it
    KernelLaunch launch[KERNEL_LAUNCHES_MAX];
    size_t workspace; // bytes of one call, all blocks together; the same for every launch of it
} KernelLaunches;

void kernel_launches(const Kernel *k, GpuArch arch, KernelLaunches *out);
// The most workspace of one call on any of them, a library's product included.
size_t gpu_workspace(const Kernel *k, const GpuArchs *archs);
// Its part for KERNEL_ATTENTION and KERNEL_ATTENTION_GRAD; kernel_launches calls it.
void kernel_launches_attention(const Kernel *k, GpuArch arch, KernelLaunches *out);

// How a SCALAR kernel's points are dealt to threads. What kernel_launches counts by and the printer
// prints.
typedef enum {
    SCALAR_POINTS, // ROWS without reductions: a thread takes `points` neighbouring columns of a row
    SCALAR_WARP,   // ROWS with them: a warp a row
    SCALAR_BLOCK,  // the same: a block a row
    SCALAR_COLUMNS // COLUMNS: a thread a column and block of rows, then a thread a column
} ScalarShape;

typedef struct {
    ScalarShape shape;
    int block;          // threads
    int points;         // columns a thread takes at a time: SCALAR_POINTS
    int64_t rows;       // all of them
    int64_t columns;    // of a row
    int64_t blocks;     // of the grid, x
    int64_t row_blocks; // SCALAR_COLUMNS: blocks of COLUMN_BLOCK rows; 1: no second launch
} ScalarLaunch;
enum { COLUMN_BLOCK = 128 }; // rows that a column's sum adds one after another
ScalarLaunch scalar_launch(const Kernel *k, GpuArch arch);

// A product of our own: a block a tile of tile_m x tile_n, k in steps of tile_k.
typedef struct {
    int tile_m, tile_n, tile_k;
    int block;
} ProductLaunch;
ProductLaunch product_launch(const ProductKernel *p);

#endif
