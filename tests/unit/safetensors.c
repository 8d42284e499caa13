// safetensors: what is written reads back, dtypes convert, and files that break a rule of the
// format are refused.
#include "runtime/safetensors.h"
#include "tests/temporary.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char path[TEMPORARY_MAX];

static void setup(void) {
    temporary_path(path, "plim_safetensors");
}

static void teardown(void) {
    unlink(path);
}

TestSuite(safetensors, .init = setup, .fini = teardown);

// A file of a header and data_bytes bytes 0, 1, 2, ...
static void write_raw(const char *header, size_t data_bytes) {
    FILE *f = fopen(path, "wb");
    const uint64_t length = strlen(header);
    for (int i = 0; i < 8; i++)
        fputc((int)(length >> (8 * i) & 0xff), f);
    fputs(header, f);
    for (size_t i = 0; i < data_bytes; i++)
        fputc((int)(i & 0xff), f);
    fclose(f);
}

static PlimStatus open_raw(const char *header, size_t data_bytes) {
    PlimError error;
    SafeFile *file;
    write_raw(header, data_bytes);
    const PlimStatus status = safetensors_open(path, &file, &error);
    if (status == PLIM_OK)
        safetensors_close(file);
    return status;
}

Test(safetensors, writes_and_reads_back) {
    const int64_t dim[2] = {2, 3}, one[1] = {4};
    const float weights[6] = {1, -2, 3.5F, 0, 1e-20F, 1e20F};
    const int32_t ids[4] = {-1, 0, 7, 2147483647};
    const SafeSource tensor[] = {
        {.name = "w.\"quoted\"", .dtype = PLAN_F32, .rank = 2, .dim = dim, .at = weights},
        {.name = "ids", .dtype = PLAN_I32, .rank = 1, .dim = one, .at = ids}};
    PlimError error;
    cr_assert_eq(safetensors_write(path, tensor, 2, "{\"step\":\"3\"}", &error), PLIM_OK);

    SafeFile *file;
    cr_assert_eq(safetensors_open(path, &file, &error), PLIM_OK, "%s", error.text);
    cr_assert_eq(safetensors_count(file), 2);
    const SafeTensor *w = safetensors_find(file, "w.\"quoted\"");
    cr_assert_not_null(w);
    cr_assert_eq(w->rank, 2);
    cr_assert_eq(w->dim[1], 3);
    float back[6];
    cr_assert_eq(safetensors_read(file, w, 0, 6, PLAN_F32, back, &error), PLIM_OK);
    cr_assert_arr_eq(back, weights, sizeof weights);
    int32_t some[2];
    cr_assert_eq(
        safetensors_read(file, safetensors_find(file, "ids"), 1, 2, PLAN_I32, some, &error),
        PLIM_OK);
    cr_assert_eq(some[1], 7);
    cr_assert_null(safetensors_find(file, "absent"));
    safetensors_close(file);
}

Test(safetensors, converts_floats_and_refuses_mixing_kinds) {
    // f16: 1.0, -2.0, smallest subnormal, infinity; the data bytes are 0, 1, 2, ... so write them
    // by hand.
    FILE *f = fopen(path, "wb");
    const char header[] = "{\"h\":{\"dtype\":\"F16\",\"shape\":[4],\"data_offsets\":[0,8]}}";
    const uint16_t half[4] = {0x3c00, 0xc000, 0x0001, 0x7c00};
    const uint64_t length = strlen(header);
    fwrite(&length, 8, 1, f);
    fputs(header, f);
    fwrite(half, sizeof half, 1, f);
    fclose(f);
    PlimError error;
    SafeFile *file;
    cr_assert_eq(safetensors_open(path, &file, &error), PLIM_OK);
    float back[4];
    cr_assert_eq(safetensors_read(file, safetensors_at(file, 0), 0, 4, PLAN_F32, back, &error),
                 PLIM_OK);
    cr_assert_eq(back[0], 1.0F);
    cr_assert_eq(back[1], -2.0F);
    cr_assert_eq(back[2], 5.9604644775390625e-8F);
    cr_assert(back[3] > 1e30F);
    uint16_t narrow[4];
    cr_assert_eq(safetensors_read(file, safetensors_at(file, 0), 0, 4, PLAN_BF16, narrow, &error),
                 PLIM_OK);
    cr_assert_eq(narrow[0], 0x3f80);
    int32_t whole[4];
    cr_assert_eq(safetensors_read(file, safetensors_at(file, 0), 0, 4, PLAN_I32, whole, &error),
                 PLIM_BAD_INPUT);
    safetensors_close(file);
}

Test(safetensors, accepts_an_empty_file_of_tensors_and_metadata) {
    cr_assert_eq(open_raw("{}", 0), PLIM_OK);
    cr_assert_eq(open_raw("{\"__metadata__\":{\"a\":\"b\"}}", 0), PLIM_OK);
    cr_assert_eq(open_raw("{\"s\":{\"dtype\":\"F32\",\"shape\":[],\"data_offsets\":[0,4]}}", 4),
                 PLIM_OK);
}

Test(safetensors, refuses_what_breaks_a_rule) {
    static const struct {
        const char *why, *header;
        size_t bytes;
    } bad[] = {
        {"a hole", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}", 8},
        {"an overlap",
         "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,8]},"
         "\"b\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
         8},
        {"bytes past the last tensor",
         "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 8},
        {"a tensor past the end",
         "{\"a\":{\"dtype\":\"F32\",\"shape\":[4],\"data_offsets\":[0,16]}}", 8},
        {"a duplicate name",
         "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]},"
         "\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,8]}}",
         8},
        {"shape and bytes differ",
         "{\"a\":{\"dtype\":\"F32\",\"shape\":[3],\"data_offsets\":[0,8]}}", 8},
        {"an overflowing shape",
         "{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,0]}}", 0},
        {"reversed offsets", "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[4,0]}}", 4},
        {"an unknown dtype", "{\"a\":{\"dtype\":\"F33\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4},
        {"a missing key", "{\"a\":{\"dtype\":\"F32\",\"data_offsets\":[0,4]}}", 4},
        {"a key twice",
         "{\"a\":{\"dtype\":\"F32\",\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4},
        {"an unknown key",
         "{\"a\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4],\"x\":1}}", 4},
        {"a negative dim", "{\"a\":{\"dtype\":\"F32\",\"shape\":[-1],\"data_offsets\":[0,4]}}", 4},
        {"metadata that is no object", "{\"__metadata__\":[1]}", 0},
        {"metadata that is no text", "{\"__metadata__\":{\"a\":1}}", 0},
        {"text after the header's object", "{} x", 0},
        {"no object", "[1]", 0},
        {"an unfinished header", "{\"a\":{\"dtype\":\"F32\"", 0},
        {"a control character in a name",
         "{\"a\nb\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4},
        {"a NUL in a name",
         "{\"a\\u0000\":{\"dtype\":\"F32\",\"shape\":[1],\"data_offsets\":[0,4]}}", 4},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_neq(open_raw(bad[i].header, bad[i].bytes), PLIM_OK, "accepted: %s", bad[i].why);
}

Test(safetensors, refuses_headers_nested_too_deep) {
    char header[1024] = "{\"__metadata__\":";
    for (int i = 0; i < 300; i++)
        strcat(header, "[");
    cr_assert_neq(open_raw(header, 0), PLIM_OK);
}

Test(safetensors, survives_every_truncation_and_byte_change) {
    const char header[] =
        "{\"__metadata__\":{\"k\":\"v\"},\"a\":{\"dtype\":\"BF16\",\"shape\":[2,2],"
        "\"data_offsets\":[0,8]},\"b\":{\"dtype\":\"I64\",\"shape\":[1],\"data_offsets\":[8,16]}}";
    char changed[256];
    for (size_t i = 0; i < strlen(header); i++)
        for (int bit = 0; bit < 8; bit++) {
            memcpy(changed, header, sizeof header);
            changed[i] = (char)(changed[i] ^ 1 << bit);
            if (changed[i] != '\0')
                (void)open_raw(changed, 16); // any verdict, no crash
        }
    for (size_t i = 0; i < strlen(header); i++) {
        memcpy(changed, header, i);
        changed[i] = '\0';
        cr_assert_neq(open_raw(changed, 16), PLIM_OK);
    }
}

Test(safetensors, a_failed_write_leaves_the_old_file) {
    const int64_t one[1] = {1};
    const float x = 1;
    const SafeSource tensor = {.name = "x", .dtype = PLAN_F32, .rank = 1, .dim = one, .at = &x};
    PlimError error;
    cr_assert_eq(safetensors_write("/nonexistent/folder/x.safetensors", &tensor, 1, NULL, &error),
                 PLIM_IO);
    cr_assert(strstr(error.text, "/nonexistent/folder/x.safetensors") != NULL);
}
