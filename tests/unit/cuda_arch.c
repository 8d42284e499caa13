// Which of a program's architectures a GPU takes.
#include "runtime/cuda_code.h"

#include <criterion/criterion.h>

static const uint8_t code[1];

static void check(const PlimCubin *cubin, int major, int minor, const char *expected) {
    const char *got = cuda_best_arch(cubin, major, minor);
    if (expected)
        cr_assert_str_eq(got ? got : "none", expected, "%d.%d", major, minor);
    else
        cr_assert_null(got, "%d.%d", major, minor);
}

Test(cuda_arch, newest_of_the_generation) {
    static const PlimCubin cubin[] = {{"sm_80", code, 1, NULL},   {"sm_86", code, 1, NULL},
                                      {"sm_90", code, 1, NULL},   {"sm_90a", code, 1, NULL},
                                      {"sm_100a", code, 1, NULL}, {0}};
    check(cubin, 8, 0, "sm_80");
    check(cubin, 8, 6, "sm_86");
    check(cubin, 8, 9, "sm_86");
    check(cubin, 9, 0, "sm_90a");
    check(cubin, 10, 0, "sm_100a");
    check(cubin, 10, 3, NULL); // the letter a: 10.0 alone
    check(cubin, 7, 5, NULL);
    check(cubin, 12, 0, NULL);
}

// Orin is 8.7 and Thor 11.0: their code is for no other GPU, and other GPUs' is not for them.
Test(cuda_arch, systems_on_a_chip_stand_alone) {
    static const PlimCubin cubin[] = {
        {"sm_80", code, 1, NULL}, {"sm_87", code, 1, NULL}, {"sm_110", code, 1, NULL}, {0}};
    check(cubin, 8, 7, "sm_87");
    check(cubin, 8, 9, "sm_80");
    check(cubin, 8, 8, NULL);
    check(cubin, 11, 0, "sm_110");
    check(cubin, 11, 1, NULL);
    static const PlimCubin ampere[] = {{"sm_80", code, 1, NULL}, {"sm_86", code, 1, NULL}, {0}};
    check(ampere, 8, 7, NULL);
}

Test(cuda_arch, none) {
    static const PlimCubin cubin[] = {{0}};
    check(cubin, 9, 0, NULL);
    check(NULL, 9, 0, NULL);
}
