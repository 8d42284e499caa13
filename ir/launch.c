// Architectures, and the geometry of products and convolutions on a GPU. Scalar kernels are in
// launch_scalar.c, attention in launch_attention.c. Grids have one dim: what does not fit a grid's
// second and third is folded into the first.
#include "ir/launch.h"

#include "ir/check.h"
#include "ir/kernel_size.h"

enum {
    CONVOLVE_BLOCK = 256, // threads
    CONVOLVE_TILE = 64,   // rows and columns
    CONVOLVE_ROWS_FEW = 8
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
    case 88:
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

void kernel_launch_add(KernelLaunches *out, int64_t blocks, int block) {
    static const char *const suffix[KERNEL_LAUNCHES_MAX] = {"", "_1", "_2", "_3"};
    out->launch[out->count] =
        (KernelLaunch){.suffix = suffix[out->count], .grid = {blocks, 1, 1}, .block = block};
    out->count++;
}

ProductLaunch product_launch(const ProductKernel *p) {
    // One row tile would idle on a product of few rows.
    return p->m <= 16 ? (ProductLaunch){16, 64, 16, 128} : (ProductLaunch){64, 64, 16, 256};
}

static void product_launches(const ProductKernel *p, KernelLaunches *out) {
    if (p->library != PRODUCT_OWN)
        return;
    const ProductLaunch t = product_launch(p);
    kernel_launch_add(
        out, p->batch[0] * p->batch[1] * ceil_divide(p->m, t.tile_m) * ceil_divide(p->n, t.tile_n),
        t.block);
}

ConvolutionLaunch convolution_launch(const ConvolutionKernel *k) {
    const Convolution *c = &k->shape;
    const bool weights = k->part == CONVOLVE_W;
    const int64_t pixels =
        k->part == CONVOLVE_X ? c->size[0] * c->size[1] : c->result[0] * c->result[1];
    const int64_t rows = k->part == CONVOLVE_X ? c->in : c->out;
    const int64_t columns = weights ? c->in * c->kernel[0] * c->kernel[1] : c->batch * pixels;
    if (weights && rows < CONVOLVE_ROWS_FEW && columns < CONVOLVE_TILE)
        return (ConvolutionLaunch){CONVOLVE_DEEP, rows * columns};
    if (!weights && rows < CONVOLVE_ROWS_FEW)
        return (ConvolutionLaunch){CONVOLVE_ELEMENTS, ceil_divide(rows * columns, CONVOLVE_BLOCK)};
    return (ConvolutionLaunch){CONVOLVE_TILES, ceil_divide(rows, CONVOLVE_TILE) *
                                                   ceil_divide(columns, CONVOLVE_TILE)};
}

void kernel_launches(const Kernel *k, GpuArch arch, KernelLaunches *out) {
    *out = (KernelLaunches){0};
    if (k->host)
        return;
    switch (k->kind) {
    case KERNEL_SCALAR:
        kernel_launches_scalar(k, arch, out);
        return;
    case KERNEL_PRODUCT:
        product_launches(&k->product, out);
        return;
    case KERNEL_CONVOLUTION:
        kernel_launch_add(out,
                          k->convolution.shape.groups * convolution_launch(&k->convolution).blocks,
                          CONVOLVE_BLOCK);
        return;
    case KERNEL_ATTENTION:
    case KERNEL_ATTENTION_GRAD:
    case KERNEL_ATTENTION_GRAD_BIAS:
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
