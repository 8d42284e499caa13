// Template kernels: products, convolutions and attention, with the strides of their operands'
// places.
#include "passes/lower.h"

#include "ir/check.h"
#include "ir/convolution.h"
#include "passes/lower_product.h"

// Storage has made the copies that product_form needs: it can't fail here.
void lower_product(const StoragePlan *sp, const Step *s, const PassOptions *options, Arena *a,
                   KernelCall *out) {
    const Node *n = s->node[0];
    const int first = product_first_input(n);
    const Place place[3] = {step_input(sp, s, n, first), step_input(sp, s, n, first + 1),
                            step_result(sp, s, n, 0)};
    ProductForm form;
    CHECK(product_form(n, &place[0], &place[1], &place[2], &form));
    // Into what the result's place holds: a base, or an accumulator.
    form.kernel.accumulate = s->accumulate;
    form.kernel.bias = s->row;
    product_choose(&form.kernel, (ProductLibraries){.onednn = options->onednn,
                                                    .openblas = options->openblas,
                                                    .bf16 = options->bf16_products,
                                                    .cublaslt = options->gpu.count > 0});
    out->kernel = kernel_product(a, &form.kernel);
    // Where the form computes the transpose, a and b have changed sides.
    out->operand[0] = place[form.swapped ? 1 : 0];
    out->operand[1] = place[form.swapped ? 0 : 1];
    out->operand[2] = place[2];
    if (s->row)
        out->operand[3] = step_input(sp, s, n, 0);
}

// Storage has seen to it that images are dense; how far they are apart is their places' to say.
void lower_convolution(const StoragePlan *sp, const Step *s, Arena *a, KernelCall *out) {
    const Node *n = s->node[0];
    ConvolutionPart part[3];
    ConvolutionKernel k = {.shape = convolution_of(n)};
    convolution_parts(n, part);
    k.part = part[2];
    int64_t *const step[] = {[CONVOLVE_X] = &k.x_stride, [CONVOLVE_Y] = &k.y_stride};
    for (int i = 0; i < 3; i++) {
        const Type *t = i < 2 ? &n->input[i]->type : &n->result[0].type;
        out->operand[i] = i < 2 ? step_input(sp, s, n, i) : step_result(sp, s, n, 0);
        k.dtype[i] = t->dtype;
        if (part[i] == CONVOLVE_W)
            continue;
        // Of one image the step says nothing: made what a dense batch would have, so that equal
        // kernels are one.
        *step[part[i]] =
            t->dim[0] > 1 ? out->operand[i].stride[0] : t->dim[1] * t->dim[2] * t->dim[3];
    }
    out->kernel = kernel_convolution(a, &k);
}

// Strides of batch, head and position.
// The head dim's stride is 1 (storage has seen to it); an axis of extent 1 gets stride 0, so that
// kernels that walk alike are equal.
static void take_strides(int64_t out[3], const Place *p, const Type *t) {
    for (int i = 0; i < 3; i++)
        out[i] = t->dim[i] > 1 ? p->stride[i] : 0;
}

// The same of batch, head, query and key.
static void take_pair_strides(int64_t out[4], const Place *p, const Type *t) {
    take_strides(out, p, t);
    out[3] = t->dim[3] > 1;
}

static KernelKind attention_kind(const Node *n) {
    return n->op == OP_ATTENTION        ? KERNEL_ATTENTION
           : n->op == OP_ATTENTION_GRAD ? KERNEL_ATTENTION_GRAD
                                        : KERNEL_ATTENTION_GRAD_BIAS;
}

// Operands are inputs, then results, as the kernel lists them; lse is dense and has no strides.
void lower_attention(const StoragePlan *sp, const Step *s, Arena *a, KernelCall *out) {
    const Node *n = s->node[0];
    const KernelKind kind = attention_kind(n);
    const Type *q = &n->input[0]->type, *k = &n->input[1]->type, *v = &n->input[2]->type;
    AttentionKernel t = {.dtype = q->dtype,
                         .batch = q->dim[0],
                         .heads = q->dim[1],
                         .groups = k->dim[1],
                         .queries = q->dim[2],
                         .keys = k->dim[2],
                         .dim_qk = q->dim[3],
                         .dim_v = v->dim[3],
                         .causal = node_int(n, "causal", 0) != 0,
                         .window = node_int(n, "window", 0),
                         .scale = node_float(n, "scale", 1),
                         .cap = node_float(n, "cap", 0)};
    t.interval = node_int(n, "interval", 0) != 0;
    t.documents = attention_has_documents(n);
    t.offset = attention_offset(n) >= 0;
    t.slopes = attention_slopes(n) >= 0;
    const int bias = attention_bias(n), mask = attention_mask(n);
    t.bias = bias >= 0;
    t.bias_dtype = t.bias ? n->input[bias]->type.dtype : DT_F32;
    t.mask = mask >= 0;
    // By operand number; forward has the first five, out and lse being its results. What tells of
    // keys and biases, the last inputs, the kernel has behind its results.
    int64_t *const stride[9] = {t.q, t.k, t.v, t.out, NULL, t.dout, t.dq, t.dk, t.dv};
    const int own = kind == KERNEL_ATTENTION ? 3 : 6, count = n->input_count + n->result_count;
    for (int o = 0; o < count; o++) {
        const bool input = o < n->input_count;
        const Place p = input ? step_input(sp, s, n, o) : step_result(sp, s, n, o - n->input_count);
        const Type *type = input ? &n->input[o]->type : &n->result[o - n->input_count].type;
        CHECK(p.storage != STORAGE_NONE);
        const int operand = o < own ? o : input ? o + n->result_count : o - n->input_count + own;
        out->operand[operand] = p;
        if (o == bias || o == mask)
            take_pair_strides(o == bias ? t.bias_at : t.mask_at, &p, type);
        else if (!input && kind == KERNEL_ATTENTION_GRAD_BIAS)
            take_pair_strides(t.dbias_at, &p, type);
        else if (operand < own + n->result_count && stride[operand])
            take_strides(stride[operand], &p, type);
    }
    out->kernel = kernel_attention(a, kind, &t);
}
