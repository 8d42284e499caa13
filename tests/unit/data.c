// Loaders: windows over text and token files, tables, shuffling, bounds.
#include "runtime/data.h"
#include "runtime/safetensors.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

static char path[64];

static void setup(void) {
    snprintf(path, sizeof path, "/tmp/plim_data_%ld", (long)getpid());
}

static void teardown(void) {
    unlink(path);
}

TestSuite(data, .init = setup, .fini = teardown);

static void write_file(const void *bytes, size_t size) {
    FILE *f = fopen(path, "wb");
    fwrite(bytes, 1, size, f);
    fclose(f);
}

static PlanInput text_input(int64_t batch, int64_t length, int64_t bound) {
    return (PlanInput){.name = "text",
                       .source = PLAN_FROM_DATA,
                       .loader = "data",
                       .bound = bound,
                       .slots = 1,
                       .dtype = PLAN_I32,
                       .rank = 2,
                       .dim = {batch, length}};
}

static PlimData *open_checked(const PlanInput *input) {
    PlimError error;
    PlimData *d = NULL;
    cr_assert_eq(data_open(path, &d, &error), PLIM_OK, "%s", error.text);
    cr_assert_eq(data_check(d, input, &error), PLIM_OK, "%s", error.text);
    return d;
}

Test(data, text_is_cut_into_windows_that_share_one_token) {
    write_file("abcdefghij", 10);
    const PlanInput input = text_input(2, 4, 0);
    PlimData *d = open_checked(&input);
    cr_assert_eq(data_examples(d, &input), 3); // abcd, defg, ghij
    cr_assert_eq(data_tokens(d, &input), 6);
    int32_t rows[8];
    PlimError error;
    cr_assert_eq(data_fill(d, &input, 0, false, 0, rows, &error), PLIM_OK);
    cr_assert_eq(rows[0], 'a');
    cr_assert_eq(rows[3], 'd');
    cr_assert_eq(rows[4], 'd');
    cr_assert_eq(data_fill(d, &input, 1, false, 0, rows, &error), PLIM_OK);
    cr_assert_eq(rows[0], 'g'); // row 2, then the first again
    cr_assert_eq(rows[4], 'a');
    data_release(d);
}

Test(data, shuffling_visits_every_row_once_a_pass_and_depends_on_the_seed) {
    char text[1001];
    for (int i = 0; i < 1001; i++)
        text[i] = (char)('a' + i % 26);
    write_file(text, sizeof text);
    PlanInput input = text_input(1, 2, 0);
    PlimData *d = open_checked(&input);
    const uint64_t n = data_examples(d, &input);
    cr_assert_eq(n, 1000);
    int seen[26] = {0}, again = 0;
    for (uint64_t step = 0; step < n; step++) {
        int32_t a[2], b[2];
        PlimError error;
        cr_assert_eq(data_fill(d, &input, step, true, 1, a, &error), PLIM_OK);
        cr_assert_eq(data_fill(d, &input, step, true, 2, b, &error), PLIM_OK);
        seen[a[0] - 'a']++;
        again += a[0] == b[0];
    }
    for (int i = 0; i < 26; i++)
        cr_assert(seen[i] == 38 || seen[i] == 39, "letter %d came %d times", i, seen[i]);
    cr_assert(again < 200);
    data_release(d);
}

Test(data, token_files_with_llmc_headers) {
    int32_t file[256 + 4] = {20240520, 1, 8};
    uint16_t tokens[8] = {0, 1, 2, 50256, 4, 5, 6, 7};
    memcpy(file + 256, tokens, sizeof tokens);
    write_file(file, sizeof file);
    const PlanInput input = text_input(1, 5, 50257);
    PlimData *d = open_checked(&input);
    int32_t row[5];
    PlimError error;
    cr_assert_eq(data_fill(d, &input, 0, false, 0, row, &error), PLIM_OK);
    cr_assert_eq(row[3], 50256);
    data_release(d);

    file[2] = 9; // more tokens than there are
    write_file(file, sizeof file);
    cr_assert_neq(data_open(path, &d, &error), PLIM_OK);
}

Test(data, values_outside_the_bound_are_an_error) {
    write_file("abc\xff", 4);
    const PlanInput input = text_input(1, 4, 128);
    PlimData *d = open_checked(&input);
    int32_t row[4];
    PlimError error;
    cr_assert_eq(data_fill(d, &input, 0, false, 0, row, &error), PLIM_BAD_INPUT);
    cr_assert(strstr(error.text, "255"));
    data_release(d);
}

Test(data, too_little_or_unfit_data_is_refused) {
    write_file("abc", 3);
    PlanInput input = text_input(1, 4, 0);
    PlimError error;
    PlimData *d = NULL;
    cr_assert_eq(data_open(path, &d, &error), PLIM_OK);
    cr_assert_eq(data_check(d, &input, &error), PLIM_BAD_INPUT);
    input.dtype = PLAN_F32;
    cr_assert_eq(data_check(d, &input, &error), PLIM_BAD_INPUT);
    data_release(d);
    cr_assert_eq(data_open("/nonexistent", &d, &error), PLIM_IO);
}

Test(data, tables_come_from_safetensors_by_name) {
    const int64_t dim[2] = {3, 2};
    const float x[6] = {1, 2, 3, 4, 5, 6};
    const SafeSource tensor = {"x", PLAN_F32, 2, dim, x, NULL};
    PlimError error;
    cr_assert_eq(safetensors_write(path, &tensor, 1, NULL, &error), PLIM_OK);
    PlanInput input = {.name = "x", .source = PLAN_FROM_DATA, .slots = 2, .dtype = PLAN_F32, .rank = 2, .dim = {1, 2}};
    PlimData *d = open_checked(&input);
    float rows[4];
    cr_assert_eq(data_fill(d, &input, 1, false, 0, rows, &error), PLIM_OK);
    cr_assert_eq(rows[0], 5.0F); // rows 2 and 0
    cr_assert_eq(rows[2], 1.0F);
    input.dim[1] = 3;
    cr_assert_eq(data_check(d, &input, &error), PLIM_BAD_INPUT);
    input.name = "y";
    cr_assert_eq(data_check(d, &input, &error), PLIM_BAD_INPUT);
    data_release(d);
}
