// .npy files: what is written reads back, what NumPy writes is read, anything else is refused.
#include "runtime/npy.h"
#include "tests/temporary.h"

#include <criterion/criterion.h>
#include <string.h>
#include <unistd.h>

static char path[TEMPORARY_MAX];

static void setup(void) {
    temporary_path(path, "plim_npy");
}

static void teardown(void) {
    unlink(path);
}

TestSuite(npy, .init = setup, .fini = teardown);

// A file of a version, a dict and data_bytes zero bytes.
static PlimStatus open_raw(int version, const char *dict, size_t data_bytes, SafeFile **out) {
    FILE *f = fopen(path, "wb");
    const size_t length = strlen(dict);
    fwrite("\x93NUMPY", 1, 6, f);
    fputc(version, f);
    fputc(0, f);
    for (int i = 0; i < (version == 1 ? 2 : 4); i++)
        fputc((int)(length >> (8 * i) & 0xff), f);
    fputs(dict, f);
    for (size_t i = 0; i < data_bytes; i++)
        fputc(0, f);
    fclose(f);
    PlimError error;
    return npy_open(path, out, &error);
}

static PlimStatus try_raw(int version, const char *dict, size_t data_bytes) {
    SafeFile *file;
    const PlimStatus status = open_raw(version, dict, data_bytes, &file);
    if (status == PLIM_OK)
        safetensors_close(file);
    return status;
}

Test(npy, writes_and_reads_back) {
    const int64_t dim[2] = {2, 3};
    const float x[6] = {1, -2, 3.5F, 0, 1e-20F, 1e20F};
    PlimError error;
    SafeFile *file;
    for (uint32_t rank = 0; rank <= 2; rank++) {
        cr_assert_eq(npy_write(path, PLAN_F32, rank, dim, x, &error), PLIM_OK, "%s", error.text);
        cr_assert_eq(npy_open(path, &file, &error), PLIM_OK, "%s", error.text);
        const SafeTensor *t = safetensors_at(file, 0);
        cr_assert_eq(t->rank, rank);
        cr_assert_eq(t->type, ELEMENT_F32);
        const uint64_t count = rank == 2 ? 6 : rank == 1 ? 2 : 1;
        cr_assert_eq(t->bytes, 4 * count);
        float back[6];
        cr_assert_eq(safetensors_read(file, t, 0, count, PLAN_F32, back, &error), PLIM_OK);
        cr_assert_arr_eq(back, x, 4 * count);
        safetensors_close(file);
    }
}

Test(npy, bf16_is_written_as_f32) {
    const int64_t dim[1] = {2};
    const uint16_t x[2] = {0x3f80, 0xc000};
    float back[2];
    PlimError error;
    SafeFile *file;
    cr_assert_eq(npy_write(path, PLAN_BF16, 1, dim, x, &error), PLIM_OK);
    cr_assert_eq(npy_open(path, &file, &error), PLIM_OK);
    const SafeTensor *t = safetensors_at(file, 0);
    cr_assert_eq(t->type, ELEMENT_F32);
    cr_assert_eq(safetensors_read(file, t, 0, 2, PLAN_F32, back, &error), PLIM_OK);
    cr_assert_eq(back[0], 1);
    cr_assert_eq(back[1], -2);
    safetensors_close(file);
}

Test(npy, elements_begin_where_numpy_wants_them) {
    const int64_t dim[8] = {1, 1, 1, 1, 1, 1, 1, 1};
    const int32_t x = 5;
    PlimError error;
    cr_assert_eq(npy_write(path, PLAN_I32, 8, dim, &x, &error), PLIM_OK);
    FILE *f = fopen(path, "rb");
    fseek(f, 0, SEEK_END);
    cr_assert_eq((ftell(f) - 4) % 64, 0);
    fclose(f);
}

Test(npy, reads_what_numpy_writes) {
    // As np.save writes it, with spaces before the newline.
    cr_assert_eq(try_raw(1, "{'descr': '<f8', 'fortran_order': False, 'shape': (2,), }    \n", 16),
                 PLIM_OK);
    cr_assert_eq(try_raw(2, "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 1), }\n", 8),
                 PLIM_OK);
    cr_assert_eq(try_raw(3, "{'descr': '|b1', 'fortran_order': False, 'shape': (), }\n", 1),
                 PLIM_OK);
    // Rows and columns are one for a single axis.
    cr_assert_eq(try_raw(1, "{'descr': '<i8', 'fortran_order': True, 'shape': (3,)}", 24), PLIM_OK);
    cr_assert_eq(try_raw(1, "{'shape': (0, 5), 'fortran_order': False, \"descr\": '<f2'}", 0),
                 PLIM_OK);
}

Test(npy, refuses_the_rest) {
    static const struct {
        const char *dict;
        size_t bytes;
    } bad[] = {
        {"{'descr': '>f4', 'fortran_order': False, 'shape': (2,), }", 8},
        {"{'descr': '<c8', 'fortran_order': False, 'shape': (1,), }", 8},
        {"{'descr': '|O', 'fortran_order': False, 'shape': (1,), }", 8},
        {"{'descr': '|f4', 'fortran_order': False, 'shape': (2,), }", 8},
        {"{'descr': [('a', '<f4')], 'fortran_order': False, 'shape': (2,), }", 8},
        {"{'descr': '<f4', 'fortran_order': True, 'shape': (2, 1), }", 8},
        {"{'descr': '<f4', 'fortran_order': Maybe, 'shape': (2,), }", 8},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (3,), }", 8},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", 8},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (-2,), }", 8},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (2 2), }", 16},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (99999999999999999999,), }", 8},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (4611686018427387904, 4), }", 0},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,1,1,1,1,1,1,1,1), }", 4},
        {"{'descr': '<f4', 'fortran_order': False, }", 4},
        {"{'descr': '<f4', 'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", 4},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), 'more': 1}", 4},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,), } x", 4},
        {"{'descr': '<f4', 'fortran_order': False, 'shape': (1,)", 4},
        {"{'descr': '<f4", 4},
        {"", 4},
    };
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_eq(try_raw(1, bad[i].dict, bad[i].bytes), PLIM_BAD_INPUT, "accepted: %s",
                     bad[i].dict);
    cr_assert_eq(try_raw(4, "{'descr': '<f4', 'fortran_order': False, 'shape': (1,), }", 4),
                 PLIM_BAD_INPUT);
}

Test(npy, survives_every_truncation) {
    const int64_t dim[1] = {4};
    const int32_t x[4] = {1, 2, 3, 4};
    PlimError error;
    SafeFile *file;
    cr_assert_eq(npy_write(path, PLAN_I32, 1, dim, x, &error), PLIM_OK);
    for (long bytes = 128 + 15; bytes >= 0; bytes--) {
        cr_assert_eq(truncate(path, bytes), 0);
        cr_assert_eq(npy_open(path, &file, &error), PLIM_BAD_INPUT);
    }
}

Test(npy, a_write_that_fails_says_where) {
    const float x = 1;
    PlimError error;
    cr_assert_eq(npy_write("/nonexistent/x.npy", PLAN_F32, 0, NULL, &x, &error), PLIM_IO);
    cr_assert(strstr(error.text, "/nonexistent/x.npy") != NULL);
}
