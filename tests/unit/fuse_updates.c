// Updates of small tensors that share kernels on a GPU: the same bits as one by one, the fewest
// kernels, and those left alone that something else reads.
#include "tests/unit/plan_machine.h"

#include <stdio.h>

static const PassOptions on_gpu = {.target = "cuda:sm_90",
                                   .gpu = {.count = 1, .arch = {{90, false}}}};

// adamw of `count` vectors of `elements`, from a gradient each, and of one vector of another
// length; the last of the former is read by a result.
static char *updates(int count, int elements) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    for (int i = 0; i <= count; i++)
        for (const char *s = "wmv"; *s; s++)
            fprintf(out, "state @%c%d: f32[%d] {kind = \"%s\"}\n", *s, i,
                    elements + (i == count ? 3 : 0), *s == 'w' ? "param" : "optimizer");
    fputs("graph @train(%g: f32[", out);
    fprintf(out, "%d] from caller, %%o: f32[%d] from caller, %%lr: f32[] from knob = 0.01) -> ",
            elements, elements + 3);
    fprintf(out,
            "(y: f32[%d]) {\n  %%c: f32[] = constant {value = 0.5, dtype = \"f32\", shape = "
            "[]}\n",
            elements);
    for (int i = 0; i <= count; i++) {
        const int n = elements + (i == count ? 3 : 0);
        for (const char *s = "wmv"; *s; s++)
            fprintf(out, "  %%%c%d: f32[%d] = state {name = \"%c%d\"} update\n", *s, i, n, *s, i);
        fprintf(out,
                "  %%nw%d: f32[%d], %%nm%d: f32[%d], %%nv%d: f32[%d] = adamw %%w%d, %%m%d, %%v%d, "
                "%%%s, %%lr, %%c, %%c, %%c {decay = 0.%d, beta1 = 0.9, beta2 = 0.95, eps = 1e-08} "
                "update\n",
                i, n, i, n, i, n, i, i, i, i == count ? "o" : "g", i % 3);
    }
    for (int i = 0; i <= count; i++)
        for (const char *s = "wmv"; *s; s++)
            fprintf(out, "  commit @%c%d = %%n%c%d\n", *s, i, *s, i);
    fprintf(out, "  return %%nw%d\n}\n", count - 1);
    fclose(out);
    return text;
}

static int count_kernels(const Plan *p) {
    int count = 0;
    for (uint32_t i = 0; i < p->segment_count; i++)
        for (uint32_t k = 0; k < p->segment[i].instr_count; k++)
            count += p->segment[i].instr[k].kind == INSTR_KERNEL;
    return count;
}

// Kernels of the plan on a GPU; its results are those of the CPU's plan and of the evaluator.
static int kernels_of(int count, int elements) {
    char *text = updates(count, elements);
    Machine one, many;
    machine_open(&one, text, (PassOptions){0});
    machine_open(&many, text, on_gpu);
    cr_assert_eq(count_kernels(one.cx.plan), count + 1);
    cr_assert_eq(machine_digest_entry(&one, "train"), machine_digest_entry(&many, "train"));
    machine_check_entry(&many, "train", 1e-5);
    const int kernels = count_kernels(many.cx.plan);
    machine_close(&one);
    machine_close(&many);
    free(text);
    return kernels;
}

Test(fuse_updates, small_ones_share_kernels) {
    // The one that is read and the one of another length stay alone.
    cr_assert_eq(kernels_of(2, 40), 3);
    cr_assert_eq(kernels_of(3, 40), 3);
    cr_assert_eq(kernels_of(9, 40), 3);
    // 8 together, and one more alone.
    cr_assert_eq(kernels_of(10, 40), 4);
    cr_assert_eq(kernels_of(18, 40), 5);
}

Test(fuse_updates, large_ones_do_not) {
    cr_assert_eq(kernels_of(4, (1 << 16) + 1), 5);
    cr_assert_eq(kernels_of(4, 1 << 16), 3);
}
