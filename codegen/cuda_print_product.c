// Products and convolutions: the kernel's numbers as an enumeration, and a call of the templates of
// cuda_product.cuh with them.
#include "codegen/cuda_print.h"

#include "ir/check.h"
#include "ir/kernel_size.h"

typedef struct {
    const char *name;
    int64_t value;
} Number;

// struct NAME_numbers { enum : long long { ... }; };
static void put_numbers(CudaText *t, const Kernel *k, const Number *number, int count) {
    cuda_open(t, "struct %s_numbers {", k->name);
    cuda_open(t, "enum : long long {");
    for (int i = 0; i < count; i++)
        cuda_put(t, "%s = %lld,", number[i].name, (long long)number[i].value);
    cuda_close(t);
    cuda_put(t, ";");
    cuda_close(t);
    cuda_put(t, ";");
}

#define COUNT(table) ((int)(sizeof(table) / sizeof((table)[0])))

void cuda_print_product(CudaText *t, const Kernel *k, const KernelLaunches *launches) {
    const ProductKernel *p = &k->product;
    const ProductLaunch tile = product_launch(p);
    const Number number[] = {
        {"BATCH_1", p->batch[1]},
        {"M", p->m},
        {"N", p->n},
        {"DEEP", p->k},
        {"A_0", p->a_stride[0]},
        {"A_1", p->a_stride[1]},
        {"A_M", p->a_stride[2]},
        {"A_K", p->a_stride[3]},
        {"B_0", p->b_stride[0]},
        {"B_1", p->b_stride[1]},
        {"B_K", p->b_stride[2]},
        {"B_N", p->b_stride[3]},
        {"C_0", p->c_stride[0]},
        {"C_1", p->c_stride[1]},
        {"C_M", p->c_stride[2]},
        {"C_N", p->c_stride[3]},
        {"ACCUMULATE", p->accumulate},
    };
    CHECK(launches->count == 1);
    put_numbers(t, k, number, COUNT(number));
    cuda_head(t, k, launches, 0);
    cuda_put(t, "plim_product<%s_numbers, %d, %d, %d, %d>(p0, p1, p2);", k->name, tile.tile_m,
             tile.tile_n, tile.tile_k, tile.block);
    cuda_close(t);
}

// Where a group's part of an operand begins.
static const char *group_step(ConvolutionPart part) {
    switch (part) {
    case CONVOLVE_X:
        return "group * N::IN * N::H * N::W";
    case CONVOLVE_Y:
        return "group * N::OUT * N::OH * N::OW";
    case CONVOLVE_W:
        return "group * N::OUT * N::IN * N::TAPS";
    }
    UNREACHABLE();
}

void cuda_print_convolution(CudaText *t, const Kernel *k, const KernelLaunches *launches) {
    const ConvolutionKernel *c = &k->convolution;
    const Convolution *s = &c->shape;
    const Number number[] = {
        {"BATCH", s->batch},
        {"IN", s->in},
        {"OUT", s->out},
        {"H", s->size[0]},
        {"W", s->size[1]},
        {"OH", s->result[0]},
        {"OW", s->result[1]},
        {"KW", s->kernel[1]},
        {"TAPS", s->kernel[0] * s->kernel[1]},
        {"STRIDE_H", s->stride[0]},
        {"STRIDE_W", s->stride[1]},
        {"DILATION_H", s->dilation[0]},
        {"DILATION_W", s->dilation[1]},
        {"BEFORE_H", s->before[0]},
        {"BEFORE_W", s->before[1]},
        {"X_IMAGE", c->x_stride},
        {"Y_IMAGE", c->y_stride},
    };
    const ConvolutionLaunch l = convolution_launch(c);
    static const char part_name[] = {'x', 'w', 'y'};
    // The operand that is walked plainly is a product's left one, the image that moves its right
    // one.
    enum { RIGHT, LEFT };
    CHECK(launches->count == 1);
    put_numbers(t, k, number, COUNT(number));
    cuda_head(t, k, launches, 0);
    cuda_put(t, "typedef %s_numbers N;", k->name);
    cuda_put(t, "const long long group = blockIdx.x / %lldLL, mine = blockIdx.x %% %lldLL;",
             (long long)l.blocks, (long long)l.blocks);
    cuda_put(t, "typedef plim_convolve_%c<N, %s, %s, %s> F;", part_name[c->part],
             cuda_memory_type(c->dtype[LEFT]), cuda_memory_type(c->dtype[RIGHT]),
             cuda_memory_type(c->dtype[2]));
    cuda_put(t, "const F f = {p1 + %s, p0 + %s, p2 + %s};",
             group_step(convolution_operand(c, LEFT)), group_step(convolution_operand(c, RIGHT)),
             group_step(c->part));
    switch (l.way) {
    case CONVOLVE_TILES:
        cuda_put(t, "plim_convolve_tile(f, mine);");
        break;
    case CONVOLVE_ELEMENTS:
        cuda_put(t, "plim_convolve_element(f, mine * %d + threadIdx.x);",
                 launches->launch[0].block);
        break;
    case CONVOLVE_DEEP:
        cuda_put(t, "plim_convolve_deep(f, mine);");
        break;
    }
    cuda_close(t);
}
