// Prints the products of a warpgroup as functions, one for each size: their accumulators are so
// many operands that no template can say them.
//
// c [64, N] += a b, bf16 with f32 sums, depth 16. Of each warp's 16 rows a thread holds what
// mma.m16n8k16 gives it, eight columns after the other. a is [64, 16] rows and b [N, 16], or [16,
// 64] and [16, N] where read across.
#include "codegen/cuda_attention.h"

// "%0, %1, ..." of count operands from first on.
static const char *print_operands(Arena *a, int first, int count) {
    const char *text = "";
    for (int i = 0; i < count; i++)
        text = arena_format(a, "%s%s%%%d", text, i > 0 ? ", " : "", first + i);
    return text;
}

static const char *print_sums(Arena *a, int count) {
    const char *text = "";
    for (int i = 0; i < count; i++)
        text = arena_format(a, "%s%s\"+f\"(c[%d][%d])", text, i > 0 ? ", " : "", i / 4, i % 4);
    return text;
}

// a and b in shared memory, both rows of depth, or both read across; c is 0 before unless keep.
static const char *print_rows(Arena *a, const char *name, int n, int across) {
    const int sums = n / 2;
    return arena_format(a,
                        "PLIM_DEVICE void %s(float (&c)[%d][4], unsigned long long a, "
                        "unsigned long long b, int keep) {\n"
                        "    asm volatile(\"{\\n.reg .pred p;\\nsetp.ne.b32 p, %%%d, 0;\\n\"\n"
                        "                 \"wgmma.mma_async.sync.aligned.m64n%dk16.f32.bf16.bf16 "
                        "{%s}, %%%d, %%%d, p, 1, 1, %d, %d;\\n}\"\n"
                        "                 : %s\n"
                        "                 : \"l\"(a), \"l\"(b), \"r\"(keep));\n"
                        "}\n",
                        name, n / 8, sums + 2, n, print_operands(a, 0, sums), sums, sums + 1,
                        across, across, print_sums(a, sums));
}

// a in registers, b in shared memory, read across.
static const char *print_across(Arena *a, int n) {
    const int sums = n / 2;
    return arena_format(
        a,
        "PLIM_DEVICE void plim_wgmma_across(float (&c)[%d][4], const unsigned (&a)[4], unsigned "
        "long long b) {\n"
        "    asm volatile(\"wgmma.mma_async.sync.aligned.m64n%dk16.f32.bf16.bf16 {%s}, {%s}, %%%d, "
        "1, 1, 1, 1;\"\n"
        "                 : %s\n"
        "                 : \"r\"(a[0]), \"r\"(a[1]), \"r\"(a[2]), \"r\"(a[3]), \"l\"(b));\n"
        "}\n",
        n / 8, n, print_operands(a, 0, sums), print_operands(a, sums, 4), sums + 4,
        print_sums(a, sums));
}

// a in registers, b in shared memory, rows of depth; c is 0 before unless keep.
static const char *print_kept(Arena *a, int n) {
    const int sums = n / 2;
    return arena_format(
        a,
        "PLIM_DEVICE void plim_wgmma_kept(float (&c)[%d][4], const unsigned (&a)[4], unsigned "
        "long long b, int keep) {\n"
        "    asm volatile(\"{\\n.reg .pred p;\\nsetp.ne.b32 p, %%%d, 0;\\n\"\n"
        "                 \"wgmma.mma_async.sync.aligned.m64n%dk16.f32.bf16.bf16 {%s}, {%s}, %%%d, "
        "p, 1, 1, 0;\\n}\"\n"
        "                 : %s\n"
        "                 : \"r\"(a[0]), \"r\"(a[1]), \"r\"(a[2]), \"r\"(a[3]), \"l\"(b), "
        "\"r\"(keep));\n"
        "}\n",
        n / 8, sums + 5, n, print_operands(a, 0, sums), print_operands(a, sums, 4), sums + 4,
        print_sums(a, sums));
}

const char *cuda_wgmma_prelude(Arena *a) {
    static const int rows[] = {48, 64, 96, 128}, across[] = {64, 128, 192, 256};
    static const int both[] = {64, 128};
    const char *text = "#ifndef PLIM_SHIM\n";
    for (int i = 0; i < 4; i++)
        text = arena_format(a, "%s%s", text, print_rows(a, "plim_wgmma", rows[i], 0));
    for (int i = 0; i < 4; i++)
        text = arena_format(a, "%s%s", text, print_across(a, across[i]));
    for (int i = 0; i < 2; i++)
        text = arena_format(a, "%s%s", text, print_rows(a, "plim_wgmma_both_across", both[i], 1));
    text = arena_format(a, "%s%s", text, print_kept(a, 64));
    return arena_format(a, "%s#endif\n", text);
}
