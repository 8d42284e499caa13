// Rates: their text and its mistakes, what is read off a curve, and curves made of measured
// instructions.
#include "runtime/measure_fit.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static PlanMemory *memory;

static void setup(void) {
    memory = plan_memory_new();
}

static void teardown(void) {
    plan_memory_release(memory);
}

TestSuite(plan_rates, .init = setup, .fini = teardown);

static PlimStatus read_text(const char *text, Rates *out, PlimError *error) {
    error->text[0] = '\0';
    return rates_read(text, strlen(text), memory, out, error);
}

static char *write_text(const Rates *r) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    rates_write(r, NULL, out);
    fclose(out);
    return text;
}

static const char whole[] = "# measured\n"
                            "rates 1\n"
                            "machine \"2 threads of a CPU\"\n"
                            "target cpu:x86-64-v3 # comment\n"
                            "threads 2\n"
                            "start 1000\n"
                            "flops product 1000 1e9\n"
                            "flops product 4000 2e9\n"
                            "bytes rows 64 1e9\n"
                            "beside rows out 1.25\n"
                            "beside rows in 1.5\n"
                            "beside copy out 2\n"
                            "beside copy in 2\n"
                            "both copy 3\n"
                            "both fill 1\n"
                            "kernel ffffffffffffffff 7\n"
                            "kernel 00000000000000ab 123 # add h.0\n";

Test(plan_rates, what_is_written_reads_back) {
    Rates r, again;
    PlimError error;
    cr_assert_eq(read_text(whole, &r, &error), PLIM_OK, "%s", error.text);
    cr_assert_str_eq(r.machine, "2 threads of a CPU");
    cr_assert_str_eq(r.target, "cpu:x86-64-v3");
    cr_assert(r.measured && r.threads == 2 && r.start == 1000 && r.kernel_count == 2);
    char *text = write_text(&r);
    cr_assert_eq(read_text(text, &again, &error), PLIM_OK, "%s\n%s", error.text, text);
    char *second = write_text(&again);
    cr_assert_str_eq(second, text);
    free(text);
    free(second);
    cr_assert_eq(rates_find_kernel(&again, 0xab)->picoseconds, 123);
    cr_assert_eq(rates_find_kernel(&again, UINT64_MAX)->picoseconds, 7);
    cr_assert_null(rates_find_kernel(&again, 0xac));
    cr_assert_eq(rates_beside(&again, RATE_ROWS, RATE_OUT), 1.25);
    cr_assert_eq(rates_beside(&again, RATE_OUT, RATE_ROWS), 1);
    // Measured together, or the product of the two.
    cr_assert_eq(rates_beside_both(&again, RATE_COPY), 3);
    cr_assert_eq(rates_beside_both(&again, RATE_ROWS), 1.875);
    cr_assert_eq(rates_beside_both(&again, RATE_FILL), 1);
}

// A disk that stood still for a moment makes any factor; what is written is what a reader takes.
Test(plan_rates, whatever_was_measured_reads_back) {
    Rates r, again;
    PlimError error;
    cr_assert_eq(read_text(whole, &r, &error), PLIM_OK, "%s", error.text);
    r.beside[RATE_IN][RATE_OUT] = 12345;
    r.both[RATE_IN] = 54321;
    char *text = write_text(&r);
    cr_assert_eq(read_text(text, &again, &error), PLIM_OK, "%s\n%s", error.text, text);
    cr_assert_eq(rates_beside(&again, RATE_IN, RATE_OUT), 1000);
    cr_assert_eq(rates_beside_both(&again, RATE_IN), 1000);
    free(text);
}

Test(plan_rates, work_is_stretched_while_something_runs_beside_it) {
    cr_assert_eq(rates_stretch(1000, 1, 500), 1000);
    cr_assert_eq(rates_stretch(1000, 2, 0), 1000);
    cr_assert_eq(rates_stretch(1000, 2, 500), 1250);
    cr_assert_eq(rates_stretch(1000, 2, 2000), 2000);
    cr_assert_eq(rates_stretch(1000, 2, 5000), 2000);
}

// Assumed rates are rates like others.
Test(plan_rates, assumed_ones_have_every_family) {
    static const char *const target[] = {"cpu:x86-64-v3", "cpu:x86-64-v4", "cuda:sm_75",
                                         "cuda:sm_90a"};
    for (size_t i = 0; i < sizeof target / sizeof target[0]; i++) {
        Rates r, again;
        PlimError error;
        rates_assume(target[i], "avx2,fma", 4, &r);
        for (int f = 0; f < RATE_COUNT; f++)
            cr_assert(r.flops[f].count == 1 && r.bytes[f].count == 1);
        char *text = write_text(&r);
        cr_assert_eq(read_text(text, &again, &error), PLIM_OK, "%s", error.text);
        free(text);
    }
}

Test(plan_rates, times_lie_on_lines_between_points) {
    Rates r;
    PlimError error;
    cr_assert_eq(read_text(whole, &r, &error), PLIM_OK, "%s", error.text);
    // 1000 at 1e9/s take 1 us, 4000 at 2e9/s 2 us; beyond both ends the rates hold.
    cr_assert_eq(rates_flops_time(&r, RATE_PRODUCT, 500), 500000);
    cr_assert_eq(rates_flops_time(&r, RATE_PRODUCT, 1000), 1000000);
    cr_assert_eq(rates_flops_time(&r, RATE_PRODUCT, 2500), 1500000);
    cr_assert_eq(rates_flops_time(&r, RATE_PRODUCT, 8000), 4000000);
    cr_assert_eq(rates_bytes_time(&r, RATE_PRODUCT, 8000), 0);
    uint64_t before = 0;
    for (double size = 1; size < 1e12; size *= 1.7) {
        const uint64_t time = rates_flops_time(&r, RATE_PRODUCT, size);
        cr_assert(time >= before);
        before = time;
    }
    cr_assert_eq(rates_flops_time(&r, RATE_PRODUCT, 1e300), (uint64_t)1e17);
}

Test(plan_rates, mistakes_are_told_with_their_place) {
    static const struct {
        const char *text, *message;
    } wrong[] = {
        {"", "1:1: expected 'rates 1'"},
        {"# nothing\n", "2:1: expected 'rates 1'"},
        {"plan 1\n", "1:1: expected 'rates 1'"},
        {"rates 2\n", "1:7: expected version 1, not 2"},
        {"rates 0\n", "1:7: expected version 1, not 0"},
        {"rates -1\n", "1:7: expected version 1, not -1"},
        {"rates 1\n  speed 3\n", "2:3: expected machine, target"},
        {"rates 1\nthreads many\n", "2:9: expected a number of threads, not many"},
        {"rates 1\nthreads 2 3\n", "2:11: expected the end of the line"},
        {"rates 1\nmachine fast\n", "2:9: expected a text in quotes"},
        {"rates 1\nmachine \"fast\n", "2:9: the quotes are not closed"},
        {"rates 1\nflops products 1 2\n", "2:7: there is no family of work products"},
        {"rates 1\nflops product 1\n", "2:16: expected a rate"},
        {"rates 1\nflops product 1 nan\n", "2:17: expected a rate from 1 to 1e18, not nan"},
        {"rates 1\nflops product -1 5\n", "2:15: expected a size from 1 to 1e18, not -1"},
        {"rates 1\nbytes rows 8 5\nbytes rows 8 5\n", "3:12: sizes of rows must rise"},
        {"rates 1\nbytes rows 8 1\nbytes rows 9 9\n", "3:12: more work of rows takes less time"},
        {"rates 1\nbeside rows way 2\n", "2:13: there is no family of work way"},
        {"rates 1\nbeside rows out 0.5\n", "2:17: expected a factor from 1"},
        {"rates 1\nbeside rows out 2000\n", "2:17: a factor is at most 1000"},
        {"rates 1\nboth rows out\n", "2:11: expected a factor from 1"},
        {"rates 1\nboth rows 2000\n", "2:11: a factor is at most 1000"},
        {"rates 1\nkernel xy 1\n", "2:8: expected a kernel's key"},
        {"rates 1\nkernel 0x1 1\n", "2:8: expected a kernel's key"},
        {"rates 1\nkernel 10000000000000000 1\n", "2:8: expected a kernel's key"},
        {"rates 1\nstart 99999999999999999999\n", "2:7: expected picoseconds"},
        {"rates 1\nkernel ab 1\nkernel ab 1\n", "kernel 00000000000000ab stands twice"},
    };
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        Rates r;
        PlimError error;
        cr_assert_eq(read_text(wrong[i].text, &r, &error), PLIM_BAD_INPUT, "%s", wrong[i].text);
        cr_assert_eq(strncmp(error.text, wrong[i].message, strlen(wrong[i].message)), 0, "%s: %s",
                     wrong[i].text, error.text);
    }
}

// Any byte anywhere is refused or taken, with no reading outside the text.
Test(plan_rates, damaged_text_is_no_danger) {
    char text[sizeof whole];
    uint64_t state = 7;
    for (int i = 0; i < 2000; i++) {
        memcpy(text, whole, sizeof whole);
        for (int k = 0; k < 3; k++) {
            state = state * 6364136223846793005u + 1442695040888963407u;
            text[(state >> 33) % (sizeof whole - 1)] = (char)(state >> 20);
        }
        Rates r;
        PlimError error = {{0}};
        const size_t size = (size_t)(state >> 40) % sizeof whole;
        if (rates_read(text, size, memory, &r, &error) != PLIM_OK)
            cr_assert(*error.text);
    }
}

Test(plan_rates, kernels_of_one_text_have_one_key_whatever_their_name) {
    const uint64_t key = rates_kernel_key("kernel k3 rows [8, 8] {\n}");
    cr_assert_eq(key, rates_kernel_key("kernel k12 rows [8, 8] {\n}"));
    cr_assert_neq(key, rates_kernel_key("kernel k3 rows [8, 9] {\n}"));
}

// Products at a rate that rises with size, rows at one bandwidth, one of them disturbed.
Test(plan_rates, curves_follow_what_was_measured) {
    enum { COUNT = 12 };
    PlanInstr instr[COUNT] = {0};
    MeasuredInstr sample[COUNT];
    double size = 1e5;
    for (int i = 0; i < COUNT; i++, size *= 3) {
        const bool product = i % 2 == 0;
        instr[i] = (PlanInstr){.flops = (uint64_t)size, .bytes = (uint64_t)(size / 10)};
        instr[i].name = "work";
        const double seconds = product ? 1e-5 + size / 1e11 : size / 10 / 2e10;
        sample[i] = (MeasuredInstr){.instr = &instr[i],
                                    .family = product ? RATE_PRODUCT : RATE_ROWS,
                                    .key = (uint64_t)(i / 2 + 1),
                                    .seconds = i == 5 ? seconds * 100 : seconds};
    }
    Rates r;
    const char *const *name;
    rates_assume("cpu", "", 1, &r);
    cr_assert(measure_fit(sample, COUNT, memory, &r, &name));
    // Keys were given to pairs.
    cr_assert_eq(r.kernel_count, COUNT / 2);
    cr_assert_str_eq(name[0], "work");
    const double first = (1e-5 + 1e5 / 1e11 + 3e5 / 10 / 2e10) / 2;
    cr_assert_float_eq((double)rates_find_kernel(&r, 1)->picoseconds * 1e-12, first, 1e-9);
    for (double at = 1e5; at < 5e9; at *= 9) {
        const double wanted = 1e-5 + at / 1e11;
        const double time = (double)rates_flops_time(&r, RATE_PRODUCT, at) * 1e-12;
        cr_assert(time > 0.8 * wanted && time < 1.25 * wanted, "%g: %g, not %g", at, time, wanted);
    }
    // Times rise although a smaller instruction took longer; what is written is read.
    PlimError error;
    char *text = write_text(&r);
    Rates again;
    cr_assert_eq(read_text(text, &again, &error), PLIM_OK, "%s\n%s", error.text, text);
    free(text);
    // Not measured: as assumed.
    cr_assert_eq(r.flops[RATE_CONVOLUTION].point[0].rate, 90e9);
}
