// From plan to object and executable: the bytes do not depend on threads, targets are looked up by
// name, and what goes wrong is said in a diagnostic and leaves no file.
#include "codegen/codegen.h"
#include "tests/temporary.h"

#include <criterion/criterion.h>
#include <dirent.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { KERNELS = 11 };

static const char kernel_format[] = "kernel k%d rows [8, %d] {\n"
                                    "  operand 0: f32 read [%d, 1]\n"
                                    "  operand 1: f32 write [%d, 1]\n"
                                    "  %%0 = load 0\n"
                                    "  %%1 = sum %%0\n"
                                    "  %%2 = sub %%0 %%1\n"
                                    "  store 1 %%2\n"
                                    "}\n";

static Plan plan_of(Arena *a, int kernels) {
    Plan p = {.version = PLAN_VERSION,
              .model = "m",
              .target = "cpu",
              .isa = "avx2",
              .tool = "test",
              .flags = "",
              .tokenizer = "bytes",
              .kernel_count = (uint32_t)kernels,
              .kernel = arena_array(a, PlanKernel, kernels + 1)};
    for (int i = 0; i < kernels; i++) {
        const int columns = 10 + i;
        p.kernel[i].name = arena_format(a, "k%d", i);
        p.kernel[i].text = arena_format(a, kernel_format, i, columns, columns, columns);
        p.kernel[i].tiles = 1;
    }
    return p;
}

static char *emit(Arena *a, const Plan *p, EmitKind kind, int threads, size_t *size) {
    Diag *d = diag_create(a);
    CpuTarget cpu;
    char *bytes = NULL;
    cr_assert(cpu_target(a, d, "cpu", &cpu));
    cr_assert(codegen_emit(a, d, p, &cpu, kind, threads, &bytes, size));
    cr_assert_eq(diag_error_count(d), 0);
    return bytes;
}

Test(codegen_emit, threads_do_not_change_the_object) {
    Arena *a = arena_create();
    const Plan p = plan_of(a, KERNELS);
    size_t size[3];
    char *bytes[3];
    for (int i = 0; i < 3; i++)
        bytes[i] = emit(a, &p, EMIT_OBJECT, i + 1, &size[i]);
    for (int i = 1; i < 3; i++) {
        cr_assert_eq(size[i], size[0]);
        cr_assert(memcmp(bytes[i], bytes[0], size[0]) == 0);
    }
    cr_assert(memmem(bytes[0], size[0], "PLIMPLAN", 8) != NULL);
    for (int i = 0; i < 3; i++)
        free(bytes[i]);
    arena_release(a);
}

Test(codegen_emit, texts_name_every_kernel) {
    Arena *a = arena_create();
    const Plan p = plan_of(a, 3);
    size_t size;
    char *llvm = emit(a, &p, EMIT_LLVM, 1, &size), *assembly = emit(a, &p, EMIT_ASM, 1, &size);
    for (int i = 0; i < 3; i++) {
        cr_assert(strstr(llvm, arena_format(a, "define hidden void @k%d(", i)) != NULL);
        cr_assert(strstr(assembly, arena_format(a, "\nk%d:", i)) != NULL);
    }
    free(llvm);
    free(assembly);
    arena_release(a);
}

Test(codegen_emit, a_broken_kernel_is_a_diagnostic) {
    Arena *a = arena_create();
    Plan p = plan_of(a, 2);
    Diag *d = diag_create(a);
    CpuTarget cpu;
    char *bytes = NULL;
    size_t size = 0;
    p.kernel[1].text = "kernel k1 rows [8] { store 0 %9 }";
    cr_assert(cpu_target(a, d, "cpu", &cpu));
    cr_assert_not(codegen_emit(a, d, &p, &cpu, EMIT_OBJECT, 2, &bytes, &size));
    cr_assert_gt(diag_error_count(d), 0);
    cr_assert_null(bytes);
    arena_release(a);
}

// A plan with one kernel, of 8 rows of 10 f32, and one call of it that fits.
static Plan plan_with_call(Arena *a) {
    Plan p = plan_of(a, 1);
    p.segment_count = 1;
    p.segment = arena_new(a, PlanSegment);
    p.segment[0].instr_count = 1;
    p.segment[0].instr = arena_new(a, PlanInstr);
    PlanInstr *instr = p.segment[0].instr;
    instr->kind = INSTR_KERNEL;
    instr->operand_count = 2;
    instr->operand = arena_array(a, PlanOperand, 2);
    instr->operand[0] = (PlanOperand){.bytes = 8 * 10 * 4, .access = PLAN_READ};
    instr->operand[1] = (PlanOperand){.bytes = 8 * 10 * 4, .access = PLAN_WRITE};
    return p;
}

// Diagnostics of compiling the plan: 0, or the code of the first.
static int first_code(Arena *a, const Plan *p) {
    Diag *d = diag_create(a);
    CpuTarget cpu;
    char *bytes = NULL;
    size_t size;
    cr_assert(cpu_target(a, d, "cpu", &cpu));
    const bool good = codegen_emit(a, d, p, &cpu, EMIT_OBJECT, 1, &bytes, &size);
    cr_assert_eq(good, diag_error_count(d) == 0);
    cr_assert_eq(good, bytes != NULL);
    free(bytes);
    return good ? 0 : diag_item(d, 0)->code;
}

// Code of a plan that was edited must not leave the bytes that the plan was verified with.
Test(codegen_emit, kernels_fit_their_calls) {
    Arena *a = arena_create();
    Plan p = plan_with_call(a);
    PlanInstr *instr = p.segment[0].instr;
    cr_assert_eq(first_code(a, &p), 0);
    p.kernel[0].tiles = 2;
    cr_assert_eq(first_code(a, &p), 857);
    p.kernel[0].tiles = 1;
    instr->operand[1].bytes -= 4;
    cr_assert_eq(first_code(a, &p), 857);
    instr->operand[1].bytes += 4;
    instr->operand[0].access = PLAN_WRITE;
    cr_assert_eq(first_code(a, &p), 857);
    instr->operand[0].access = PLAN_READ;
    instr->operand_count = 1;
    cr_assert_eq(first_code(a, &p), 857);
    instr->operand_count = 2;
    instr->kind = INSTR_PRODUCT;
    cr_assert_eq(first_code(a, &p), 857);
    arena_release(a);
}

// Others may have what lies between the rows that a call states.
Test(codegen_emit, kernels_write_the_rows_of_their_calls) {
    Arena *a = arena_create();
    Plan p = plan_with_call(a);
    p.kernel[0].text = "kernel k0 rows [8, 10] {\n"
                       "  operand 0: f32 read [10, 1]\n"
                       "  operand 1: f32 write [20, 1]\n"
                       "  %0 = load 0\n"
                       "  store 1 %0\n"
                       "}\n";
    PlanOperand *o = &p.segment[0].instr[0].operand[1];
    *o = (PlanOperand){.bytes = 7 * 80 + 40, .access = PLAN_WRITE, .row = 40, .pitch = 80};
    cr_assert_eq(first_code(a, &p), 0);
    o->row = 36;
    cr_assert_eq(first_code(a, &p), 857);
    o->row = 40;
    o->pitch = 40;
    cr_assert_eq(first_code(a, &p), 857);
    o->row = o->pitch = 0;
    cr_assert_eq(first_code(a, &p), 0); // all of the range
    arena_release(a);
}

// A plan's code uses what its program checks for at start, whatever the target's name promises.
Test(codegen_emit, target_of_a_plan) {
    Arena *a = arena_create();
    Plan p = plan_of(a, 0);
    CpuTarget cpu;
    Diag *d = diag_create(a);
    p.target = "cpu:znver4";
    p.isa = "avx2,fma,f16c,bmi,bmi2,lzcnt,movbe";
    cr_assert(cpu_target_of_plan(a, d, &p, &cpu));
    cr_assert_str_eq(cpu.isa, p.isa);
    cr_assert_str_eq(cpu.tune, "znver4");
    cr_assert_not(cpu.avx512);
    p.isa = "avx2";
    cr_assert_not(cpu_target_of_plan(a, d, &p, &cpu));
    cr_assert_eq(diag_item(d, 0)->code, 851);
    arena_release(a);
}

Test(codegen_emit, targets_by_name) {
    static const struct {
        const char *name;
        bool avx512, bf16;
    } good[] = {{"cpu", false, false},          {"cpu:x86-64-v3", false, false},
                {"cpu:x86-64-v4", true, false}, {"cpu:skylake-avx512", true, false},
                {"cpu:znver4", true, true},     {"cpu:haswell", false, false}};
    static const char *const bad[] = {"cpu:",       "cpu:znver9",      "gpu",
                                      "cpu:x86-64", "cpu:sandybridge", ""};
    Arena *a = arena_create();
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        Diag *d = diag_create(a);
        CpuTarget cpu;
        cr_assert(cpu_target(a, d, good[i].name, &cpu), "%s", good[i].name);
        cr_assert(cpu.avx512 == good[i].avx512 && cpu.bf16 == good[i].bf16, "%s", good[i].name);
        cr_assert_eq(strstr(cpu.isa, "avx512f") != NULL, good[i].avx512);
        cr_assert_eq(strstr(cpu.isa, "avx512bf16") != NULL, good[i].bf16);
    }
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        Diag *d = diag_create(a);
        CpuTarget cpu;
        cr_assert_not(cpu_target(a, d, bad[i], &cpu), "%s", bad[i]);
        cr_assert_eq(diag_error_count(d), 1);
        cr_assert_not_null(diag_item(d, 0)->help);
    }
    arena_release(a);
}

static int files_in(const char *path) {
    int count = 0;
    DIR *folder = opendir(path);
    for (const struct dirent *e = readdir(folder); e; e = readdir(folder))
        count += e->d_name[0] != '.';
    closedir(folder);
    return count;
}

// The linker's complaint becomes a diagnostic with its words, and nothing stays behind.
Test(codegen_emit, a_failed_link_leaves_nothing) {
    Arena *a = arena_create();
    Diag *d = diag_create(a);
    char folder[TEMPORARY_MAX];
    cr_assert(temporary_folder(folder, "plim_emit"));
    const char *out = arena_format(a, "%s/program", folder);
    const char *missing = arena_format(a, "%s/no-such-library.a", folder);
    size_t size;
    const Plan p = plan_of(a, 1);
    char *object = emit(a, &p, EMIT_OBJECT, 1, &size);
    cr_assert_not(codegen_link(a, d, object, size, missing, out));
    cr_assert_eq(diag_error_count(d), 1);
    cr_assert_gt(diag_item_count(d), 1);
    cr_assert_eq(files_in(folder), 0);
    // A folder that isn't there.
    Diag *other = diag_create(a);
    const char *nowhere = arena_format(a, "%s/no/program", folder);
    cr_assert_not(codegen_link(a, other, object, size, missing, nowhere));
    cr_assert_eq(diag_error_count(other), 1);
    rmdir(folder);
    free(object);
    arena_release(a);
}
