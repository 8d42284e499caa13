// Geometry of scalar kernels, products and convolutions on a GPU.
//
// A row that is reduced belongs to a warp while a lane has at most 32 of its columns to hold, else
// to a block, which is the larger the longer the row. Rows without reductions are cut into
// neighbouring points, 8 to a thread, so that f32 and bf16 both move 16 bytes an access. Sums down
// columns take two launches where there is more than one block of rows: block sums to the
// workspace, then those in order, as on the CPU. What does not fit a grid's second and third dims
// is folded into the first.
#include "ir/launch.h"

#include "ir/check.h"
#include "ir/kernel_size.h"

enum {
    WARP_COLUMNS = 1024, // longest row of a warp
    POINTS = 8,          // neighbouring columns of a thread
    ROW_BLOCK = 256,     // threads
    COLUMN_THREADS = 128
};

const char *gpu_arch_name(Arena *a, GpuArch arch) {
    return arena_format(a, "sm_%d%s", arch.sm, arch.specific ? "a" : "");
}

int64_t gpu_shared_max(GpuArch arch) {
    // CUDA's programming guide, table of compute capabilities: what one block may opt in to.
    switch (arch.sm) {
    case 75:
        return 64 * 1024;
    case 80:
    case 87:
        return 163 * 1024;
    case 86:
    case 89:
    case 120:
    case 121:
        return 99 * 1024;
    default:
        return 227 * 1024;
    }
}

int64_t gpu_multiprocessors(GpuArch arch) {
    switch (arch.sm) {
    case 75:
        return 72; // TU102
    case 80:
        return 108; // A100
    case 86:
        return 84; // GA102
    case 87:
        return 16; // Orin
    case 89:
        return 142; // AD102
    case 90:
        return 132; // H100, H200
    case 120:
        return 188; // GB202
    default:
        return 148; // B200
    }
}

static int64_t ceil_divide(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

static void add_launch(KernelLaunches *out, int64_t x, int block) {
    static const char *const suffix[KERNEL_LAUNCHES_MAX] = {"", "_1", "_2", "_3"};
    out->launch[out->count] =
        (KernelLaunch){.suffix = suffix[out->count], .grid = {x, 1, 1}, .block = block};
    out->count++;
}

ScalarLaunch scalar_launch(const Kernel *k, GpuArch arch) {
    ScalarLaunch out = {.block = ROW_BLOCK, .points = POINTS, .rows = 1, .row_blocks = 1};
    for (int d = 0; d + 1 < k->rank; d++)
        out.rows *= k->dim[d];
    out.columns = k->dim[k->rank - 1];
    (void)arch;
    if (k->axis == KERNEL_COLUMNS) {
        out.shape = SCALAR_COLUMNS;
        out.block = COLUMN_THREADS;
        out.blocks = ceil_divide(out.columns, COLUMN_THREADS);
        out.row_blocks = ceil_divide(out.rows, COLUMN_BLOCK);
    } else if (!kernel_reduces(k, NULL)) {
        out.shape = SCALAR_POINTS;
        out.blocks = ceil_divide(out.rows * ceil_divide(out.columns, POINTS), ROW_BLOCK);
    } else if (out.columns <= WARP_COLUMNS) {
        out.shape = SCALAR_WARP;
        out.blocks = ceil_divide(out.rows, ROW_BLOCK / GPU_WARP);
    } else {
        out.shape = SCALAR_BLOCK;
        out.block = out.columns <= 8192 ? ROW_BLOCK : out.columns <= 16384 ? 512 : GPU_BLOCK_MAX;
        out.blocks = out.rows;
    }
    return out;
}

// Values a column whose sums go through the workspace.
static int64_t column_sums(const Kernel *k) {
    int64_t sums = 0;
    for (int i = 0; i < k->instr_count; i++)
        sums += kop_is_reduction(k->instr[i].op);
    return sums;
}

static void scalar_launches(const Kernel *k, GpuArch arch, KernelLaunches *out) {
    const ScalarLaunch s = scalar_launch(k, arch);
    // A kernel of columns that sums nothing scatters, rows in order: one launch.
    const int64_t sums = column_sums(k);
    if (s.shape != SCALAR_COLUMNS || s.row_blocks == 1 || sums == 0) {
        add_launch(out, s.blocks, s.block);
        return;
    }
    add_launch(out, s.blocks * s.row_blocks, s.block);
    add_launch(out, s.blocks, s.block);
    out->workspace = (size_t)(sums * s.row_blocks * s.columns) * sizeof(float);
}

ProductLaunch product_launch(const ProductKernel *p) {
    // One row tile would idle on a product of few rows.
    return p->m <= 16 ? (ProductLaunch){16, 64, 16, 128} : (ProductLaunch){64, 64, 16, 256};
}

static void product_launches(const ProductKernel *p, KernelLaunches *out) {
    if (p->library != PRODUCT_OWN)
        return;
    const ProductLaunch t = product_launch(p);
    add_launch(
        out, p->batch[0] * p->batch[1] * ceil_divide(p->m, t.tile_m) * ceil_divide(p->n, t.tile_n),
        t.block);
}

void kernel_launches(const Kernel *k, GpuArch arch, KernelLaunches *out) {
    *out = (KernelLaunches){0};
    switch (k->kind) {
    case KERNEL_SCALAR:
        scalar_launches(k, arch, out);
        return;
    case KERNEL_PRODUCT:
        product_launches(&k->product, out);
        return;
    case KERNEL_CONVOLUTION:
        // A thread an element of the result.
        add_launch(out, ceil_divide(convolution_elements(&k->convolution, 2), ROW_BLOCK),
                   ROW_BLOCK);
        return;
    case KERNEL_ATTENTION:
    case KERNEL_ATTENTION_GRAD:
        kernel_launches_attention(k, arch, out);
        return;
    }
    UNREACHABLE();
}

size_t gpu_workspace(const Kernel *k, const GpuArchs *archs) {
    size_t most = 0;
    if (k->kind == KERNEL_PRODUCT && k->product.library != PRODUCT_OWN)
        return k->product.workspace;
    for (int i = 0; i < archs->count; i++) {
        KernelLaunches launches;
        kernel_launches(k, archs->arch[i], &launches);
        most = launches.workspace > most ? launches.workspace : most;
    }
    return most;
}
