// Kernels as header-free CUDA C: the way in, the text, and the functions' heads. One kernel is one
// to four functions, one for each of its launches (ir/launch.h), which are printed by the files of
// its kind.
#include "codegen/cuda_print.h"

#include "codegen/cuda_attention.h"
#include "ir/check.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum { P_MEMORY = 856 };

// Each line of the text is indented; one for the preprocessor begins at the margin.
static void put_lines(CudaText *t, char *text) {
    for (char *line = text, *next; line; line = next) {
        next = strchr(line, '\n');
        if (next)
            *next++ = '\0';
        fprintf(t->out, "%*s%s\n", line[0] == '#' ? 0 : 4 * t->indent, "", line);
    }
}

__attribute__((format(printf, 2, 0))) static void put_format(CudaText *t, const char *format,
                                                             va_list args) {
    char text[4096];
    const int bytes = vsnprintf(text, sizeof text, format, args);
    CHECK(bytes >= 0 && (size_t)bytes < sizeof text);
    put_lines(t, text);
}

void cuda_put(CudaText *t, const char *format, ...) {
    va_list args;
    va_start(args, format);
    put_format(t, format, args);
    va_end(args);
}

void cuda_open(CudaText *t, const char *format, ...) {
    va_list args;
    va_start(args, format);
    put_format(t, format, args);
    va_end(args);
    t->indent++;
}

void cuda_close(CudaText *t) {
    CHECK(t->indent > 0);
    t->indent--;
    cuda_put(t, "}");
}

void cuda_head(CudaText *t, const Kernel *k, const KernelLaunches *launches, int launch) {
    const KernelLaunch *l = &launches->launch[launch];
    // Where shared memory is dealt out to blocks, registers have to last for as many.
    fprintf(t->out, "extern \"C\" __global__ void __launch_bounds__(%d", l->block);
    if (l->shared > 0)
        fprintf(t->out, ", %d", HOLD_THREADS / l->block);
    fprintf(t->out, ") %s%s(", k->name, l->suffix);
    for (int o = 0; o < kernel_operand_count(k); o++)
        fprintf(t->out, "%s%s%s *p%d", o ? ", " : "",
                kernel_access(k, o) == ACCESS_READ ? "const " : "",
                cuda_memory_type(kernel_dtype(k, o)), o);
    const int immediates = k->kind == KERNEL_SCALAR ? k->imm_count : 0;
    for (int i = 0; i < immediates; i++)
        fprintf(t->out, ", long long imm%d", i);
    fprintf(t->out, "%s) {\n", launches->workspace > 0 ? ", unsigned char *workspace" : "");
    t->indent++;
}

// Whether all positions and offsets, and those a little past the end, fit 32 bits.
static bool is_small(const Kernel *k, const ScalarLaunch *s) {
    const int64_t most = (int64_t)1 << 30;
    bool small = s->rows < most && s->columns < most && s->rows * s->columns < most;
    for (int o = 0; o < k->operand_count; o++)
        small = small && kernel_span(k, o) < most;
    return small;
}

void cuda_print_scalar(CudaScalar *cs, GpuArch arch, const KernelLaunches *launches) {
    cs->members = scalar_members(cs->a, cs->k);
    const Kernel *k = cs->k = cs->members.one;
    cs->w = scalar_walks(cs->a, k);
    cs->s = scalar_launch(&cs->w);
    cs->index = is_small(k, &cs->s) ? "int" : "long long";
    cs->count = is_small(k, &cs->s) ? "unsigned" : "unsigned long long";
    cs->tail = cs->s.columns % cs->s.lanes != 0;
    const ScalarHold hold = scalar_hold(cs->a, &cs->w, &cs->s, arch);
    cs->hold = hold.row > 0 ? &hold : NULL;
    cs->lanes = arena_array(cs->a, const char *, k->instr_count + 1);
    cs->ready = arena_array(cs->a, bool, k->instr_count + 1);
    if (k->axis == KERNEL_ROWS)
        cuda_print_rows(cs, launches);
    else if (cs->s.shape == SCALAR_SCATTER)
        cuda_print_scatter(cs, launches);
    else
        cuda_print_columns(cs, launches);
}

static bool no_memory(Diag *d, const Kernel *k) {
    return diag_error(d, (Loc){0}, P_MEMORY, "no memory for kernel %s", k->name);
}

bool cuda_has_code(const Kernel *k) {
    return !k->host && (k->kind != KERNEL_PRODUCT || k->product.library == PRODUCT_OWN);
}

const char *cuda_print(Arena *a, Diag *d, const Kernel *k, GpuArch arch) {
    if (kernel_kind_is_attention(k->kind))
        return cuda_print_attention(a, d, k, arch);
    char *text = NULL;
    size_t bytes = 0;
    KernelLaunches launches;
    kernel_launches(k, arch, &launches);
    CudaText t = {.out = open_memstream(&text, &bytes)};
    if (!t.out) {
        no_memory(d, k);
        return NULL;
    }
    Arena *scratch = arena_create();
    switch (k->kind) {
    case KERNEL_SCALAR: {
        CudaScalar cs = {.t = &t, .a = scratch, .k = k};
        cuda_print_scalar(&cs, arch, &launches);
        break;
    }
    case KERNEL_PRODUCT:
        cuda_print_product(&t, k, &launches);
        break;
    case KERNEL_CONVOLUTION:
        cuda_print_convolution(&t, k, &launches);
        break;
    case KERNEL_ATTENTION:
    case KERNEL_ATTENTION_GRAD:
    case KERNEL_ATTENTION_GRAD_BIAS:
        UNREACHABLE();
    }
    arena_release(scratch);
    CHECK(t.indent == 0);
    const bool good = fclose(t.out) == 0 || no_memory(d, k);
    const char *out = good ? arena_text_span(a, text, bytes) : NULL;
    free(text);
    return out;
}
