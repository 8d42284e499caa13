// CPUs by name. A target is a level of x86-64 (what LLVM may use), single features beyond it, and a
// CPU whose timings to schedule for. Keeping the three apart makes the list of instruction sets
// exact, which is what the runtime checks at start. Names are looked up here, never handed to LLVM
// unseen: it prints to stderr about unknown ones.
#include "codegen/codegen.h"

#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>
#include <string.h>

enum { P_TARGET = 850, P_TARGET_OLD = 851 };

// Beyond x86-64-v4. All in the order of feature_table.
#define AVX512_CASCADE "avx512vnni"
#define AVX512_COOPER "avx512vnni,avx512bf16"
#define AVX512_ICE "avx512vnni,avx512ifma,avx512vbmi,avx512vbmi2,avx512bitalg,avx512vpopcntdq"
#define AVX512_ZEN4 AVX512_ICE ",avx512bf16"
#define AVX512_SAPPHIRE AVX512_ICE ",avx512bf16,avx512fp16"

// The levels as the psABI has them, by the names that the runtime checks. In LLVM's level as well,
// but checked by nothing, are the older ones that AVX2 implies.
#define ISA_V3 "avx2,fma,f16c,bmi,bmi2,lzcnt,movbe"
#define ISA_V4 ISA_V3 ",avx512f,avx512bw,avx512cd,avx512dq,avx512vl"

// level 0: older than x86-64-v3, whose fused multiply-add every kernel needs.
typedef struct {
    const char *name;
    int level;
    const char *extra; // comma-separated
} CpuRow;

static const CpuRow cpu_table[] = {
    {"x86-64", 0, ""},
    {"x86-64-v2", 0, ""},
    {"x86-64-v3", 3, ""},
    {"x86-64-v4", 4, ""},
    {"nehalem", 0, ""},
    {"westmere", 0, ""},
    {"sandybridge", 0, ""},
    {"ivybridge", 0, ""},
    {"haswell", 3, ""},
    {"broadwell", 3, ""},
    {"skylake", 3, ""},
    {"skylake-avx512", 4, ""},
    {"cascadelake", 4, AVX512_CASCADE},
    {"cooperlake", 4, AVX512_COOPER},
    {"icelake-client", 4, AVX512_ICE},
    {"icelake-server", 4, AVX512_ICE},
    {"tigerlake", 4, AVX512_ICE},
    {"rocketlake", 4, AVX512_ICE},
    // No AVX-512 on these: their efficient cores lack it.
    {"alderlake", 3, "avxvnni"},
    {"raptorlake", 3, "avxvnni"},
    {"meteorlake", 3, "avxvnni"},
    {"arrowlake", 3, "avxvnni"},
    {"lunarlake", 3, "avxvnni"},
    {"sierraforest", 3, "avxvnni"},
    {"sapphirerapids", 4, AVX512_SAPPHIRE ",avxvnni"},
    {"emeraldrapids", 4, AVX512_SAPPHIRE ",avxvnni"},
    {"graniterapids", 4, AVX512_SAPPHIRE ",avxvnni"},
    {"znver1", 3, ""},
    {"znver2", 3, ""},
    {"znver3", 3, ""},
    {"znver4", 4, AVX512_ZEN4},
    {"znver5", 4, AVX512_ZEN4 ",avxvnni"},
};
enum { CPU_COUNT = sizeof cpu_table / sizeof cpu_table[0] };

static const CpuRow *cpu_find(const char *name) {
    for (int i = 0; i < CPU_COUNT; i++)
        if (strcmp(cpu_table[i].name, name) == 0)
            return &cpu_table[i];
    return NULL;
}

// Whether a comma-separated list has the item, after an optional sign.
// Whole items only: avx512vbmi is not found in avx512vbmi2.
static bool list_has(const char *list, const char *item, const char *sign) {
    const size_t length = strlen(item), prefix = strlen(sign);
    for (const char *at = list; *at;) {
        const size_t span = strcspn(at, ",");
        if (span == prefix + length && memcmp(at, sign, prefix) == 0 &&
            memcmp(at + prefix, item, length) == 0)
            return true;
        at += span + (at[span] == ',');
    }
    return false;
}

// Fills in everything but tune from a level and the features beyond it.
// Features are given to LLVM with a plus and to the runtime without, in the same order.
static void describe(Arena *a, int level, const char *extra, CpuTarget *out) {
    out->cpu = level == 4 ? "x86-64-v4" : "x86-64-v3";
    out->isa = arena_format(a, "%s%s%s", level == 4 ? ISA_V4 : ISA_V3, *extra ? "," : "", extra);
    out->avx512 = level == 4;
    // The instruction is used at 512 bits only.
    out->bf16 = level == 4 && list_has(extra, "avx512bf16", "");
    out->features = "";
    for (const char *at = extra; *at;) {
        const int span = (int)strcspn(at, ",");
        out->features =
            arena_format(a, "%s%s+%.*s", out->features, *out->features ? "," : "", span, at);
        at += span + (at[span] == ',');
    }
}

// Features beyond the levels that a host may have.
static const char *const extra_table[] = {
    "avx512vnni",      "avx512ifma", "avx512vbmi", "avx512vbmi2", "avx512bitalg",
    "avx512vpopcntdq", "avx512bf16", "avx512fp16", "avxvnni",
};

// Every item of needed is in list, there after the sign.
static bool has_all(const char *list, const char *needed, const char *sign, Arena *a) {
    for (const char *at = needed; *at;) {
        const size_t span = strcspn(at, ",");
        if (!list_has(list, arena_text_span(a, at, span), sign))
            return false;
        at += span + (at[span] == ',');
    }
    return true;
}

// Everything but tune from a list of features, each after the sign. False where it is below v3.
static bool describe_list(Arena *a, const char *list, const char *sign, CpuTarget *out) {
    const bool v4 = has_all(list, ISA_V4, sign, a);
    const char *extra = "";
    for (size_t i = 0; i < sizeof extra_table / sizeof extra_table[0]; i++) {
        // A part of AVX-512 without all of v4 is of no use: vectors are then 256 bits.
        const bool wide = strncmp(extra_table[i], "avx512", 6) == 0;
        if (list_has(list, extra_table[i], sign) && (v4 || !wide))
            extra = arena_format(a, "%s%s%s", extra, *extra ? "," : "", extra_table[i]);
    }
    describe(a, v4 ? 4 : 3, extra, out);
    // out is filled either way, so that what it says is defined.
    return has_all(list, ISA_V3, sign, a);
}

// This machine: the CPU's name for timings, its features as LLVM reads them from CPUID.
// A CPU newer than the table still gets its features, with generic timings.
static bool native_target(Arena *a, Diag *d, CpuTarget *out) {
    char *name = LLVMGetHostCPUName(), *features = LLVMGetHostCPUFeatures();
    const CpuRow *row = cpu_find(name);
    out->tune = row ? row->name : "generic";
    const bool v3 = describe_list(a, features, "+", out);
    LLVMDisposeMessage(name);
    LLVMDisposeMessage(features);
    if (!v3)
        return diag_error(d, (Loc){0}, P_TARGET_OLD,
                          "this machine lacks AVX2 or fused multiply-add, which programs need");
    return true;
}

// A plan may have been made elsewhere: what it records counts, and not this machine.
bool cpu_target_of_plan(Arena *a, Diag *d, const Plan *p, CpuTarget *out) {
    *out = (CpuTarget){.tune = "generic"};
    const CpuRow *row = strncmp(p->target, "cpu:", 4) == 0 ? cpu_find(p->target + 4) : NULL;
    // A level is no CPU: nothing to tune for.
    if (row && strncmp(row->name, "x86-64", 6) != 0)
        out->tune = row->name;
    return describe_list(a, p->isa, "", out) ||
           diag_error(
               d, (Loc){0}, P_TARGET_OLD,
               "the plan's instruction sets (%s) lack some of x86-64-v3, which programs need",
               p->isa);
}

// name is what follows "cpu:", or NULL where the target is no CPU at all. Always false.
static bool unknown_target(Diag *d, const char *target, const char *name) {
    const char *known[CPU_COUNT + 1];
    for (int i = 0; i < CPU_COUNT; i++)
        known[i] = cpu_table[i].name;
    known[CPU_COUNT] = "native";
    diag_error(d, (Loc){0}, P_TARGET, "no CPU target is called '%s'", target);
    const char *near = name ? diag_nearest(name, known, CPU_COUNT + 1) : NULL;
    if (near)
        diag_help(d, "did you mean 'cpu:%s'?", near);
    else
        diag_help(
            d,
            "say cpu, cpu:x86-64-v4, cpu:native, cpu: and a name such as znver4, or cuda:sm_90a");
    return false;
}

bool cpu_target(Arena *a, Diag *d, const char *target, CpuTarget *out) {
    *out = (CpuTarget){.tune = "generic"};
    // The default runs on every machine that the runtime supports.
    if (strcmp(target, "cpu") == 0) {
        describe(a, 3, "", out);
        return true;
    }
    if (strncmp(target, "cpu:", 4) != 0)
        return unknown_target(d, target, NULL);
    const char *name = target + 4;
    if (strcmp(name, "native") == 0)
        return native_target(a, d, out);
    const CpuRow *row = cpu_find(name);
    if (!row)
        return unknown_target(d, target, name);
    if (row->level == 0) {
        diag_error(d, (Loc){0}, P_TARGET_OLD,
                   "target '%s' lacks AVX2 or fused multiply-add, which programs need", target);
        diag_help(d, "the oldest target is cpu:x86-64-v3, which is what cpu means");
        return false;
    }
    if (strncmp(name, "x86-64", 6) != 0)
        out->tune = row->name;
    describe(a, row->level, row->extra, out);
    return true;
}
