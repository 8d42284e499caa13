// GPUs by name: "cuda:" and the architectures a program gets code for. The list is that of NVRTC
// 13, kept here so that a plan can be made where there is no NVRTC.
//
// "sm_80" is what every later 8.x runs too. The letter a is for instructions of one generation:
// sm_90a has wgmma and runs on 9.0 alone. So "cuda:sm_80,sm_90a" is a program for Ampere, Ada and
// Hopper.
#include "codegen/cuda.h"

#include <stdlib.h>
#include <string.h>

enum { P_TARGET = 860, P_TARGET_LIST = 861 };

static const char *const arch_table[] = {
    "sm_75",   "sm_80",  "sm_86",   "sm_87",  "sm_88",   "sm_89",  "sm_90",   "sm_90a", "sm_100",
    "sm_100a", "sm_103", "sm_103a", "sm_110", "sm_110a", "sm_120", "sm_120a", "sm_121", "sm_121a"};
enum { ARCH_COUNT = sizeof arch_table / sizeof arch_table[0] };

bool cuda_is_target(const char *target) {
    return strcmp(target, "cuda") == 0 || strncmp(target, "cuda:", 5) == 0;
}

// The whole list, for those who named none or a wrong one.
static bool refuse_with_list(Arena *a, Diag *d, const char *sentence, const char *name) {
    diag_error(d, (Loc){0}, P_TARGET, "%s", sentence);
    const char *near = *name ? diag_nearest(name, arch_table, ARCH_COUNT) : NULL;
    if (near) {
        diag_help(d, "did you mean 'cuda:%s'?", near);
        return false;
    }
    const char *list = arch_table[0];
    for (int i = 1; i < ARCH_COUNT; i++)
        list = arena_format(a, "%s, %s", list, arch_table[i]);
    diag_help(d,
              "say cuda: and one or more of %s; an H100 or H200 is cuda:sm_90a, an A100 "
              "cuda:sm_80",
              list);
    return false;
}

static bool is_known(const char *name) {
    for (int i = 0; i < ARCH_COUNT; i++)
        if (strcmp(arch_table[i], name) == 0)
            return true;
    return false;
}

static bool add_arch(Arena *a, Diag *d, const char *name, GpuArchs *out) {
    if (!is_known(name))
        return refuse_with_list(a, d, arena_format(a, "no GPU architecture is called '%s'", name),
                                name);
    const GpuArch arch = {.sm = atoi(name + strlen("sm_")), .specific = strchr(name, 'a') != NULL};
    for (int i = 0; i < out->count; i++)
        if (out->arch[i].sm == arch.sm && out->arch[i].specific == arch.specific)
            return diag_error(d, (Loc){0}, P_TARGET_LIST, "the target names %s twice", name);
    if (out->count == GPU_ARCHS_MAX)
        return diag_error(d, (Loc){0}, P_TARGET_LIST,
                          "a target has at most %d architectures, and %s would be one more",
                          GPU_ARCHS_MAX, name);
    out->arch[out->count++] = arch;
    return true;
}

bool cuda_target(Arena *a, Diag *d, const char *target, GpuArchs *out) {
    *out = (GpuArchs){0};
    const char *at = target + strlen("cuda");
    if (*at == '\0' || at[1] == '\0')
        return refuse_with_list(a, d, "target cuda needs the GPU's architecture", "");
    do {
        at++; // past the colon or comma
        const size_t length = strcspn(at, ",");
        if (!add_arch(a, d, arena_text_span(a, at, length), out))
            return false;
        at += length;
    } while (*at);
    return true;
}
