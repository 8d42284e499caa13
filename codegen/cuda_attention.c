// Prints attention kernels as CUDA C: the shape as constants of a struct, and for each launch a
// function that calls the template for it with the tiles of ir/launch_attention.h.
//
// Counts of positions are C ints there; strides are long long. Rows are read and written 16 bytes
// at a time where the head dim and all strides are whole vectors of 8 bf16 (base addresses are
// multiples of 16); else element by element, which is slow but right.
#include "codegen/cuda_attention.h"

#include "codegen/cuda_attention_text.h"
#include "codegen/cuda_print.h"
#include "ir/kernel_size.h"
#include "ir/launch_attention.h"

#include <math.h>

enum { P_NOT_COMPILED = 855, POSITIONS_MAX = 1 << 30, VECTOR = 8 };
// Operands, as in ir/kernel.h.
static const char *const operand_name[] = {"q", "k", "v", "out", "lse", "dout", "dq", "dk", "dv"};
enum { LSE = 4, DBIAS = 6, OPERANDS = 9 };

static const char *element_name(const Kernel *k, int operand) {
    return cuda_memory_type(kernel_dtype(k, operand));
}

static int64_t round_up(int64_t x, int64_t to) {
    return (x + to - 1) / to * to;
}

static bool is_wide(const AttentionOperand *o) {
    bool wide = o->width % VECTOR == 0;
    for (int i = 0; i < 3; i++)
        wide = wide && o->stride[i] % VECTOR == 0;
    return wide;
}

static const char *print_strides(Arena *a, const char *text, const Kernel *k) {
    const int count = k->kind == KERNEL_ATTENTION        ? LSE
                      : k->kind == KERNEL_ATTENTION_GRAD ? OPERANDS
                                                         : DBIAS;
    for (int i = 0; i < count; i++) {
        const AttentionOperand o = kernel_attention_operand(&k->attention, i);
        if (!o.stride)
            continue;
        const char *name = operand_name[i];
        text = arena_format(a,
                            "%s    static constexpr long long %s_batch = %lld, %s_head = %lld, "
                            "%s_position = %lld;\n"
                            "    static constexpr bool wide_%s = %d;\n",
                            text, name, (long long)o.stride[0], name, (long long)o.stride[1], name,
                            (long long)o.stride[2], name, is_wide(&o));
    }
    return text;
}

// Strides of what is read and written of pairs, and the element type of a bias.
static const char *print_pairs(Arena *a, const char *text, const Kernel *k) {
    const int operand[3] = {kernel_attention_bias(k), kernel_attention_mask(k),
                            k->kind == KERNEL_ATTENTION_GRAD_BIAS ? DBIAS : -1};
    static const char *const name[3] = {"bias", "mask", "dbias"};
    text = arena_format(a, "%s    static constexpr bool bias = %d, mask = %d;\n", text,
                        k->attention.bias, k->attention.mask);
    if (k->attention.bias)
        text = arena_format(a, "%s    typedef %s Bias;\n", text, element_name(k, operand[0]));
    for (int i = 0; i < 3; i++) {
        const int64_t *stride = operand[i] < 0 ? NULL : attention_pair_strides(k, operand[i]);
        if (stride)
            text = arena_format(a,
                                "%s    static constexpr long long %s_batch = %lld, %s_head = %lld, "
                                "%s_query = %lld, %s_key = %lld;\n",
                                text, name[i], (long long)stride[0], name[i], (long long)stride[1],
                                name[i], (long long)stride[2], name[i], (long long)stride[3]);
    }
    return text;
}

static const char *print_shape(Arena *a, const Kernel *k) {
    const AttentionKernel *t = &k->attention;
    // A window of all keys is none.
    const int64_t window = t->window < t->keys ? t->window : 0;
    const char *text = arena_format(
        a,
        "struct %s_shape {\n"
        "    static constexpr int batch = %lld, heads = %lld, groups = %lld;\n"
        "    static constexpr int queries = %lld, keys = %lld, window = %lld;\n"
        "    static constexpr int dim_qk = %lld, dim_v = %lld, width_qk = %lld, width_v = %lld;\n"
        "    static constexpr bool causal = %d, offset = %d, interval = %d, documents = %d;\n"
        "    static constexpr bool slopes = %d;\n"
        "    static constexpr int sign = %d;\n"
        "    static constexpr float scale = %.9ef, cap = %.9ef;\n",
        k->name, (long long)t->batch, (long long)t->heads, (long long)t->groups,
        (long long)t->queries, (long long)t->keys, (long long)window, (long long)t->dim_qk,
        (long long)t->dim_v, (long long)round_up(t->dim_qk, 16), (long long)round_up(t->dim_v, 16),
        t->causal, t->offset, t->interval, t->documents, t->slopes, (t->scale > 0) - (t->scale < 0),
        (double)(float)fabs(t->scale), (double)(float)t->cap);
    return arena_format(a, "%s};\n", print_pairs(a, print_strides(a, text, k), k));
}

// What stands behind the other operands, or in its place.
static const char *extra_name(const Kernel *k) {
    return k->attention.offset                      ? "offset"
           : attention_table_row(&k->attention) > 0 ? "table"
                                                    : "nullptr";
}

// The argument of templates that holds all of that.
static const char *print_beside(Arena *a, const Kernel *k) {
    const AttentionKernel *t = &k->attention;
    return arena_format(a, "{%s, %s, %s, %s}", extra_name(k), t->slopes ? "slopes" : "nullptr",
                        t->bias ? "bias" : "nullptr", t->mask ? "mask" : "nullptr");
}

// "const __grid_constant__ PlimTensorMap map_q, ...": the launch's own.
static const char *print_maps(Arena *a, const AttentionLaunch *l) {
    const char *text = "";
    for (int i = 0; i < l->map_count; i++)
        text = arena_format(a, "%sconst __grid_constant__ PlimTensorMap map_%s, ", text,
                            operand_name[l->map[i].operand]);
    return text;
}

static const char *parameter_name(const Kernel *k, int operand) {
    return operand == kernel_attention_extra(k)    ? extra_name(k)
           : operand == kernel_attention_slopes(k) ? "slopes"
           : operand == kernel_attention_bias(k)   ? "bias"
           : operand == kernel_attention_mask(k)   ? "mask"
           : attention_pair_strides(k, operand)    ? "dbias"
                                                   : operand_name[operand];
}

// "const float *q, ..., unsigned char *workspace": the same for every launch.
static const char *print_parameters(Arena *a, const Kernel *k, bool workspace) {
    const char *text = "";
    for (int i = 0; i < kernel_operand_count(k); i++)
        text = arena_format(a, "%s%s%s%s *%s", text, i > 0 ? ", " : "",
                            kernel_access(k, i) == ACCESS_READ ? "const " : "", element_name(k, i),
                            parameter_name(k, i));
    return workspace ? arena_format(a, "%s, unsigned char *workspace", text) : text;
}

static const char *part_name(AttentionPart part) {
    switch (part) {
    case ATTENTION_DQ:
        return "DQ";
    case ATTENTION_DK:
        return "DK";
    case ATTENTION_DV:
        return "DV";
    case ATTENTION_DKV:
        return "DKV";
    case ATTENTION_VALUES:
    case ATTENTION_ALL:
    case ATTENTION_NARROW:
    case ATTENTION_FORWARD:
    case ATTENTION_DELTA:
    case ATTENTION_DBIAS:
    case ATTENTION_SPLIT:
    case ATTENTION_JOIN:
        break;
    }
    return NULL;
}

// The calls of a launch that makes all gradients, and of those around it; NULL: it is another.
static const char *print_all(Arena *a, const Kernel *k, const AttentionLaunches *launches,
                             const AttentionLaunch *l) {
    const char *sums = arena_format(a, "(float *)(workspace + %zu)", launches->sums);
    const char *turns = arena_format(a, "(int *)(workspace + %zu)", launches->turns);
    if (l->part == ATTENTION_VALUES)
        return arena_format(a,
                            "query_values<%s_shape, %d>(out, dout, lse, (float *)workspace, %s, "
                            "%lld)",
                            k->name, l->tile, turns, (long long)launches->tiles);
    if (l->part == ATTENTION_ALL)
        return arena_format(a,
                            "groups_gradients<%s_shape, %d, %d>({map_q, map_k, map_v, map_dout}, "
                            "{q, k, v, dout, lse, nullptr, dq, dk, dv, %s}, "
                            "{(float *)workspace, %s, %s})",
                            k->name, l->tile, l->stages, print_beside(a, k), sums, turns);
    if (l->part == ATTENTION_NARROW)
        return arena_format(a, "narrow_queries<%s_shape, %d, %d>(%s, dq)", k->name, l->warps * 16,
                            l->tile, sums);
    return NULL;
}

static const char *print_bias_call(Arena *a, const Kernel *k, const AttentionLaunch *l) {
    const char *unit =
        l->unit == ATTENTION_WARPS
            ? arena_format(a, "bias_gradient<%s_shape, %d, %d>", k->name, l->warps, l->tile)
            : arena_format(a, "plain_bias_gradient<%s_shape, %s>", k->name, element_name(k, 0));
    return arena_format(a, "%s({q, k, v, dout, lse, (float *)workspace, %s}, dbias)", unit,
                        print_beside(a, k));
}

// The call that is the function's body.
static const char *print_call(Arena *a, const Kernel *k, const AttentionLaunch *l) {
    const char *extra = print_beside(a, k);
    const char *delta = "(float *)workspace"; // or the splits' results
    if (l->part == ATTENTION_DELTA)
        return arena_format(a, "delta<%s_shape>(out, dout, %s)", k->name, delta);
    if (l->part == ATTENTION_DBIAS)
        return print_bias_call(a, k, l);
    if (l->part == ATTENTION_SPLIT)
        return arena_format(a, "single_split<%s_shape, %d, %d>(q, k, v, %s, %s)", k->name,
                            l->splits, l->tile, delta, extra);
    if (l->part == ATTENTION_JOIN)
        return arena_format(a, "single_join<%s_shape, %d, %d>(%s, out, lse)", k->name, l->splits,
                            l->threads, delta);
    if (l->unit == ATTENTION_GROUPS && l->part == ATTENTION_FORWARD)
        return arena_format(a, "groups_forward<%s_shape, %d, %d, %d>(%s, out, lse, %s)", k->name,
                            l->warps / 4, l->tile, l->stages,
                            l->map_count ? "map_q, map_k, map_v" : "q, k, v", extra);
    if (l->part == ATTENTION_FORWARD && l->unit == ATTENTION_WARPS)
        return arena_format(a, "forward<%s_shape, %d, %d, %d>(q, k, v, out, lse, %s)", k->name,
                            l->warps, l->fragments, l->tile, extra);
    if (l->part == ATTENTION_FORWARD)
        return arena_format(a, "plain_forward<%s_shape>(q, k, v, out, lse, %s)", k->name, extra);
    const char *part = part_name(l->part);
    if (l->unit == ATTENTION_GROUPS)
        return arena_format(a,
                            "groups_gradient<%s_shape, attention::PART_%s, %d, %d, %d>"
                            "(%s{q, k, v, dout, lse, %s, dq, dk, dv, %s})",
                            k->name, part, l->warps / 4, l->tile, l->stages,
                            l->map_count ? "{map_q, map_k, map_v, map_dout}, " : "", delta, extra);
    if (l->unit == ATTENTION_WARPS)
        return arena_format(a,
                            "gradient<%s_shape, attention::PART_%s, %d, %d, %d>"
                            "({q, k, v, dout, lse, %s, dq, dk, dv, %s})",
                            k->name, part, l->warps, l->tile, l->stages, delta, extra);
    const char *to = l->part == ATTENTION_DQ ? "dq" : l->part == ATTENTION_DK ? "dk" : "dv";
    const char *element = cuda_memory_type(k->attention.dtype);
    return arena_format(
        a,
        "plain_gradient<%s_shape, attention::PART_%s, %s>({q, k, v, dout, lse, %s, %s}, "
        "%s, %s_shape::%s_batch, %s_shape::%s_head, %s_shape::%s_position)",
        k->name, part, element, delta, extra, to, k->name, to, k->name, to, k->name, to);
}

const char *cuda_print_attention(Arena *a, Diag *d, const Kernel *k, GpuArch arch) {
    const AttentionKernel *t = &k->attention;
    if (t->queries > POSITIONS_MAX || t->keys > POSITIONS_MAX || t->dim_qk > POSITIONS_MAX ||
        t->dim_v > POSITIONS_MAX || t->batch * t->heads > POSITIONS_MAX) {
        diag_error(d, (Loc){0}, P_NOT_COMPILED,
                   "attention %s: more than 2^30 queries, keys or heads don't fit a CUDA kernel",
                   k->name);
        return NULL;
    }
    AttentionLaunches launches;
    attention_launches(k, arch, &launches);
    KernelLaunches names;
    kernel_launches(k, arch, &names);
    const char *text = print_shape(a, k),
               *parameters = print_parameters(a, k, launches.workspace > 0);
    for (int i = 0; i < launches.count; i++) {
        const AttentionLaunch *l = &launches.launch[i];
        // Plain kernels: four blocks a multiprocessor, so that one's loads hide behind others'
        // work.
        const int resident = l->unit != ATTENTION_PLAIN ? l->resident : 4;
        const char *call = print_all(a, k, &launches, l);
        text =
            arena_format(a,
                         "%sextern \"C\" __global__ void __launch_bounds__(%d, %d) %s%s(%s%s) {\n"
                         "    attention::%s;\n}\n",
                         text, l->threads, resident, k->name, names.launch[i].suffix,
                         print_maps(a, l), parameters, call ? call : print_call(a, k, l));
    }
    return text;
}

CudaParts cuda_attention_parts(const Kernel *k, GpuArch arch) {
    AttentionLaunches launches;
    attention_launches(k, arch, &launches);
    CudaParts parts = CUDA_MMA | CUDA_ATTENTION;
    for (int i = 0; i < launches.count; i++)
        parts |= launches.launch[i].unit == ATTENTION_GROUPS ? CUDA_HOPPER : 0;
    return parts;
}

const char *cuda_attention_prelude(Arena *a, CudaParts parts) {
    const char *text = arena_format(
        a, "%s%s%s%s%s", (const char *)cuda_attention_text, (const char *)cuda_attention_grad_text,
        (const char *)cuda_attention_plain_text, (const char *)cuda_attention_bias_text,
        (const char *)cuda_attention_single_text);
    if ((parts & CUDA_HOPPER) == 0)
        return text;
    return arena_format(a, "%s%s%s%s%s%s", text, (const char *)cuda_hopper_text,
                        cuda_wgmma_prelude(a), (const char *)cuda_attention_groups_text,
                        (const char *)cuda_attention_groups_grad_text,
                        (const char *)cuda_attention_groups_once_text);
}
