// Reads CPUID. This file and all of runtime/ are compiled for the oldest x86-64, so that the check
// itself always runs: a program built for a newer machine says so in a sentence instead of dying of
// SIGILL.
#include "runtime/cpu.h"

#include "runtime/error.h"
#include <cpuid.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

// One feature: the CPUID leaf, subleaf, register (0 eax .. 3 edx) and bit that tell, and the bits
// of XCR0 the operating system must have enabled for its registers. Intel SDM volume 2, CPUID.
typedef struct {
    const char *name;
    unsigned leaf, subleaf, reg, bit;
    unsigned xcr0;
} Feature;

// Bits of XCR0: 1 SSE, 2 AVX, 5 to 7 AVX-512's masks and registers, 17 and 18 AMX's tiles.
enum { XCR0_NONE = 0, XCR0_AVX = 0x6, XCR0_AVX512 = 0xe6, XCR0_AMX = 0x60000 };

static const Feature feature_table[] = {
    {"sse3", 1, 0, 2, 0, XCR0_NONE},
    {"ssse3", 1, 0, 2, 9, XCR0_NONE},
    {"fma", 1, 0, 2, 12, XCR0_AVX},
    {"sse4.1", 1, 0, 2, 19, XCR0_NONE},
    {"sse4.2", 1, 0, 2, 20, XCR0_NONE},
    {"movbe", 1, 0, 2, 22, XCR0_NONE},
    {"popcnt", 1, 0, 2, 23, XCR0_NONE},
    {"avx", 1, 0, 2, 28, XCR0_AVX},
    {"f16c", 1, 0, 2, 29, XCR0_AVX},
    {"bmi", 7, 0, 1, 3, XCR0_NONE},
    {"avx2", 7, 0, 1, 5, XCR0_AVX},
    {"bmi2", 7, 0, 1, 8, XCR0_NONE},
    {"avx512f", 7, 0, 1, 16, XCR0_AVX512},
    {"avx512dq", 7, 0, 1, 17, XCR0_AVX512},
    {"avx512ifma", 7, 0, 1, 21, XCR0_AVX512},
    {"avx512cd", 7, 0, 1, 28, XCR0_AVX512},
    {"avx512bw", 7, 0, 1, 30, XCR0_AVX512},
    {"avx512vl", 7, 0, 1, 31, XCR0_AVX512},
    {"avx512vbmi", 7, 0, 2, 1, XCR0_AVX512},
    {"avx512vbmi2", 7, 0, 2, 6, XCR0_AVX512},
    {"avx512vnni", 7, 0, 2, 11, XCR0_AVX512},
    {"avx512bitalg", 7, 0, 2, 12, XCR0_AVX512},
    {"avx512vpopcntdq", 7, 0, 2, 14, XCR0_AVX512},
    {"avx512fp16", 7, 0, 3, 23, XCR0_AVX512},
    {"amx-bf16", 7, 0, 3, 22, XCR0_AMX},
    {"avxvnni", 7, 1, 0, 4, XCR0_AVX},
    {"avx512bf16", 7, 1, 0, 5, XCR0_AVX512},
    {"lzcnt", 0x80000001u, 0, 2, 5, XCR0_NONE},
};

// Which registers the system saves between threads; 0 where there is no XGETBV to ask with.
static unsigned read_xcr0(void) {
    unsigned a, b, c, d;
    if (!__get_cpuid(1, &a, &b, &c, &d) || !(c >> 27 & 1)) // OSXSAVE
        return 0;
    unsigned low, high;
    __asm__ volatile("xgetbv" : "=a"(low), "=d"(high) : "c"(0));
    return low;
}

// The processor has it and the system saves its registers. Leaves it does not have count as no.
static bool has_feature(const Feature *f) {
    unsigned reg[4] = {0};
    if (!__get_cpuid_count(f->leaf, f->subleaf, &reg[0], &reg[1], &reg[2], &reg[3]))
        return false;
    // Asked anew each time: a program checks once, at its start.
    return (reg[f->reg] >> f->bit & 1) && (read_xcr0() & f->xcr0) == f->xcr0;
}

// NULL for a name the table lacks, which cpu_check then treats as missing: never run unchecked.
static const Feature *feature_find(const char *name, size_t length) {
    for (size_t i = 0; i < sizeof feature_table / sizeof feature_table[0]; i++)
        if (strlen(feature_table[i].name) == length &&
            memcmp(feature_table[i].name, name, length) == 0)
            return &feature_table[i];
    return NULL;
}

PlimStatus cpu_check(const char *isa, const char *target, PlimError *error) {
    // Names with commas between them; none means the oldest x86-64.
    for (const char *at = isa; *at;) {
        const size_t length = strcspn(at, ",");
        const Feature *f = feature_find(at, length);
        if (!f || !has_feature(f)) {
            return error_set(
                error, PLIM_MACHINE,
                "this program was compiled for %s, but this machine has no %.*s; %s", target,
                (int)length, at,
                strncmp(target, "cuda:", 5) == 0
                    ? "the CPU computes a part of its updates: compile it again with a larger "
                      "--budget, or without --far"
                    : "compile it again with --target cpu, or with --target cpu:native on this "
                      "machine");
        }
        at += length + (at[length] == ',');
    }
    return PLIM_OK;
}
