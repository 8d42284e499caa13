// Feeds: windows over text and token files, rows of tables, several files, orders, held-out parts,
// bounds.
#include "runtime/data_feed.h"
#include "runtime/npy.h"
#include "tests/temporary.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { FILES_MAX = 8 };

static char path[FILES_MAX][TEMPORARY_MAX + 16];
static DataFile file[FILES_MAX];
static PlimError error;

static void setup(void) {
    char base[TEMPORARY_MAX];
    temporary_path(base, "plim_data");
    for (int i = 0; i < FILES_MAX; i++)
        snprintf(path[i], sizeof path[i], "%s_%d", base, i);
}

static void teardown(void) {
    for (int i = 0; i < FILES_MAX; i++) {
        safetensors_close(file[i].tensors);
        unlink(path[i]);
    }
}

TestSuite(data, .init = setup, .fini = teardown);

static void write_file(int which, const void *bytes, size_t size) {
    FILE *f = fopen(path[which], "wb");
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

static const DataUse plain = {.part = DATA_ALL};

// The first count files as one feed. They are opened anew, so the one before must be released.
static PlimStatus try_feed(int count, const PlanInput *input, const DataUse *use, DataFeed **out) {
    for (int i = 0; i < count; i++) {
        safetensors_close(file[i].tensors);
        const PlimStatus status = data_file_open(path[i], &file[i], &error);
        if (status != PLIM_OK)
            return status;
    }
    return feed_new(file, count, input, use, out, &error);
}

static DataFeed *feed(int count, const PlanInput *input, const DataUse *use) {
    DataFeed *f = NULL;
    cr_assert_eq(try_feed(count, input, use, &f), PLIM_OK, "%s", error.text);
    return f;
}

static void refuse(int count, const PlanInput *input, const DataUse *use, const char *says) {
    DataFeed *f = NULL;
    cr_assert_eq(try_feed(count, input, use, &f), PLIM_BAD_INPUT);
    cr_assert(strstr(error.text, says), "%s", error.text);
}

static void fill(const DataFeed *f, uint64_t step, void *out) {
    cr_assert_eq(feed_fill(f, step, out, &error), PLIM_OK, "%s", error.text);
}

static void write_rows(int which, const float *x, int64_t rows, int64_t columns) {
    const int64_t dim[2] = {rows, columns};
    cr_assert_eq(npy_write(path[which], PLAN_F32, 2, dim, x, &error), PLIM_OK, "%s", error.text);
}

Test(data, text_is_cut_into_windows_that_share_one_token) {
    write_file(0, "abcdefghij", 10);
    const PlanInput input = text_input(2, 4, 0);
    DataFeed *f = feed(1, &input, &plain);
    cr_assert_eq(feed_examples(f), 3); // abcd, defg, ghij
    cr_assert_eq(feed_step_tokens(f), 6);
    int32_t rows[8];
    fill(f, 0, rows);
    cr_assert_eq(rows[0], 'a');
    cr_assert_eq(rows[3], 'd');
    cr_assert_eq(rows[4], 'd');
    fill(f, 1, rows);
    cr_assert_eq(rows[0], 'g'); // row 2, then the first again
    cr_assert_eq(rows[4], 'a');
    feed_release(f);
}

// How often each of the given windows' first tokens comes in one pass.
static void count_pass(const DataFeed *f, int *seen) {
    int32_t row[64];
    for (uint64_t step = 0; step < feed_examples(f); step++) {
        fill(f, step, row);
        seen[row[0]]++;
    }
}

Test(data, every_row_comes_once_a_pass_however_many_there_are) {
    // A token file of the numbers 0, 1, ...: rows of two are windows that begin one apart.
    static int32_t tokens[256 + 700];
    for (int32_t count = 3; count < 700; count = count * 3 / 2) {
        tokens[0] = 20240801;
        tokens[1] = 7;
        tokens[2] = count;
        for (int32_t i = 0; i < count; i++)
            tokens[256 + i] = i;
        write_file(0, tokens, (256 + (size_t)count) * 4);
        const PlanInput input = text_input(1, 2, 0);
        for (uint64_t seed = 0; seed < 3; seed++) {
            int seen[700] = {0};
            DataFeed *f = feed(1, &input, &(DataUse){.shuffle = true, .seed = seed});
            cr_assert_eq(feed_examples(f), (uint64_t)count - 1);
            count_pass(f, seen);
            for (int32_t i = 0; i < count - 1; i++)
                cr_assert_eq(seen[i], 1, "%d of %d came %d times", i, count, seen[i]);
            feed_release(f);
        }
    }
}

Test(data, orders_differ_by_seed_and_by_pass) {
    for (uint64_t n = 100; n < 2000; n += 301) {
        const DataOrder one = {.total = n, .shuffle = true, .seed = 1};
        const DataOrder two = {.total = n, .shuffle = true, .seed = 2};
        uint64_t seeds = 0, passes = 0, still = 0;
        for (uint64_t i = 0; i < n; i++) {
            seeds += order_example(&one, i) == order_example(&two, i);
            passes += order_example(&one, i) == order_example(&one, n + i);
            still += order_example(&one, i) == i;
        }
        cr_assert(seeds < 12 && passes < 12 && still < 12); // 1 is expected of each
    }
}

Test(data, held_out_and_training_examples_are_disjoint_and_are_all) {
    for (uint64_t n = 1; n < 300; n += 7)
        for (uint64_t held = 0; held <= n; held += 1 + n / 5) {
            int seen[300] = {0};
            for (int part = DATA_TRAIN; part <= DATA_HELD; part++) {
                const DataOrder o = {.part = (DataPart)part,
                                     .total = n,
                                     .held = held,
                                     .shuffle = part == DATA_TRAIN,
                                     .seed = n};
                cr_assert_eq(order_count(&o), part == DATA_HELD ? held : n - held);
                // The second pass takes the same examples.
                for (uint64_t i = 0; i < 2 * order_count(&o); i++)
                    seen[order_example(&o, i)] += i < order_count(&o) ? 1 : 1000;
            }
            for (uint64_t i = 0; i < n; i++)
                cr_assert_eq(seen[i], 1001);
        }
}

Test(data, held_out_tokens_are_at_the_end_whatever_the_length_of_rows) {
    write_file(0, "abcdefghijklmnopqrst", 20);
    for (int64_t length = 2; length < 7; length++) {
        const PlanInput input = text_input(1, length, 0);
        int32_t row[8];
        DataFeed *train = feed(1, &input, &(DataUse){.part = DATA_TRAIN, .holdout = 0.4});
        for (uint64_t i = 0; i < feed_examples(train); i++) {
            fill(train, i, row);
            cr_assert(row[length - 1] <= 'l');
        }
        feed_release(train);
        DataFeed *held = feed(1, &input, &(DataUse){.part = DATA_HELD, .holdout = 8});
        for (uint64_t i = 0; i < feed_examples(held); i++) {
            fill(held, i, row);
            cr_assert(row[0] >= 'm');
            cr_assert_eq(row[0], 'm' + (int)i * (length - 1));
        }
        feed_release(held);
    }
    const PlanInput input = text_input(1, 4, 0);
    refuse(1, &input, &(DataUse){.part = DATA_HELD, .holdout = 3}, "3 tokens held out, fewer than");
    refuse(1, &input, &(DataUse){.part = DATA_TRAIN, .holdout = 17}, "3 tokens for training");
}

Test(data, where_files_end_means_nothing) {
    const char text[] = "the quick brown fox jumps over the lazy dog";
    const size_t size = sizeof text - 1;
    const PlanInput input = text_input(2, 9, 0);
    const DataUse uses[] = {{.shuffle = true, .seed = 5},
                            {.part = DATA_TRAIN, .holdout = 0.3, .shuffle = true},
                            {.part = DATA_HELD, .holdout = 0.3}};
    for (int u = 0; u < 3; u++) {
        int32_t whole[6][18], cut[18];
        write_file(0, text, size);
        DataFeed *f = feed(1, &input, &uses[u]);
        const uint64_t examples = feed_examples(f);
        for (uint64_t step = 0; step < 6; step++)
            fill(f, step, whole[step]);
        feed_release(f);
        srand(1);
        for (int round = 0; round < 40; round++) {
            // Cuts anywhere, so that windows reach over one and over several.
            size_t at = 0;
            int count = 0;
            while (at < size) {
                const size_t left = size - at, some = 1 + (size_t)rand() % 15;
                const size_t take = count == FILES_MAX - 1 || some > left ? left : some;
                write_file(count++, text + at, take);
                at += take;
            }
            f = feed(count, &input, &uses[u]);
            cr_assert_eq(feed_examples(f), examples);
            for (uint64_t step = 0; step < 6; step++) {
                fill(f, step, cut);
                cr_assert_arr_eq(cut, whole[step], sizeof cut);
            }
            feed_release(f);
        }
    }
}

Test(data, rows_of_several_tables_are_one_table) {
    const float x[10] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9};
    const PlanInput input = {.name = "x",
                             .source = PLAN_FROM_DATA,
                             .slots = 2,
                             .dtype = PLAN_F32,
                             .rank = 2,
                             .dim = {1, 2}};
    write_rows(0, x, 5, 2);
    DataFeed *f = feed(1, &input, &plain);
    float whole[5][4], cut[4];
    for (uint64_t step = 0; step < 5; step++)
        fill(f, step, whole[step]);
    cr_assert_eq(whole[2][0], 8.0F); // rows 4 and 0
    cr_assert_eq(whole[2][2], 0.0F);
    feed_release(f);
    for (int64_t at = 1; at < 5; at++) {
        write_rows(0, x, at, 2);
        write_rows(1, x + 2 * at, 5 - at, 2);
        f = feed(2, &input, &plain);
        for (uint64_t step = 0; step < 5; step++) {
            fill(f, step, cut);
            cr_assert_arr_eq(cut, whole[step], sizeof cut);
        }
        feed_release(f);
    }
    // A text can't follow a table, nor rows of another width.
    write_file(1, "text", 4);
    refuse(2, &input, &plain, "holds tokens");
    write_rows(1, x, 3, 3);
    refuse(2, &input, &plain, "holds [3, 3] for the model's input x, which is f32 [1, 2]");
}

Test(data, token_files_with_llmc_headers) {
    int32_t bytes[256 + 4] = {20240520, 1, 8};
    uint16_t tokens[8] = {0, 1, 2, 50256, 4, 5, 6, 7};
    memcpy(bytes + 256, tokens, sizeof tokens);
    write_file(0, bytes, sizeof bytes);
    const PlanInput input = text_input(1, 5, 50257);
    DataFeed *f = feed(1, &input, &plain);
    int32_t row[5];
    fill(f, 0, row);
    cr_assert_eq(row[3], 50256);
    feed_release(f);

    bytes[2] = 9; // more tokens than there are
    write_file(0, bytes, sizeof bytes);
    refuse(1, &input, &plain, "shorter than its header says");
    bytes[2] = 0;
    write_file(0, bytes, sizeof bytes);
    refuse(1, &input, &plain, "holds no tokens");
    bytes[1] = 3;
    write_file(0, bytes, sizeof bytes);
    refuse(1, &input, &plain, "version");
}

Test(data, one_axis_of_integers_is_a_stream_for_rows_and_labels_for_one_axis) {
    const int32_t numbers[6] = {5, 6, 7, 8, 9, 10};
    const int64_t dim[1] = {6};
    cr_assert_eq(npy_write(path[0], PLAN_I32, 1, dim, numbers, &error), PLIM_OK);
    PlanInput input = text_input(1, 3, 0);
    DataFeed *f = feed(1, &input, &plain);
    int32_t row[3];
    fill(f, 1, row);
    cr_assert_eq(feed_examples(f), 2);
    cr_assert_eq(row[0], 7);
    feed_release(f);

    input = text_input(2, 0, 0);
    input.rank = 1;
    f = feed(1, &input, &plain);
    fill(f, 1, row);
    cr_assert_eq(feed_examples(f), 6);
    cr_assert_eq(row[1], 8);
    feed_release(f);

    // Text is no list of labels, nor are integers numbers.
    input.dtype = PLAN_F32;
    refuse(1, &input, &plain, "holds I32 for the model's input text, which is f32");
    input.dtype = PLAN_I32;
    write_file(0, "text", 4);
    refuse(1, &input, &plain, "holds tokens");
}

Test(data, bytes_become_floats_from_0_to_1) {
    const char header[] = "{\"image\":{\"dtype\":\"U8\",\"shape\":[2,3],\"data_offsets\":[0,6]}}";
    uint8_t bytes[8 + sizeof header - 1 + 6] = {sizeof header - 1};
    memcpy(bytes + 8, header, sizeof header - 1);
    memcpy(bytes + 8 + sizeof header - 1, "\x00\xff\x33\x01\x80\xfe", 6);
    write_file(0, bytes, sizeof bytes);
    PlanInput input = {.name = "image",
                       .source = PLAN_FROM_DATA,
                       .slots = 1,
                       .dtype = PLAN_F32,
                       .rank = 2,
                       .dim = {1, 3}};
    DataFeed *f = feed(1, &input, &plain);
    float row[3];
    fill(f, 0, row);
    cr_assert(row[0] == 0.0F && row[1] == 1.0F && row[2] == 51 / 255.0F);
    feed_release(f);

    input.dtype = PLAN_BF16;
    f = feed(1, &input, &plain);
    uint16_t half[3];
    fill(f, 0, half);
    cr_assert_eq(half[1], 0x3f80);
    feed_release(f);
}

Test(data, values_outside_the_bound_are_an_error) {
    write_file(0, "abc\xff", 4);
    const PlanInput input = text_input(1, 4, 128);
    DataFeed *f = feed(1, &input, &plain);
    int32_t row[4];
    cr_assert_eq(feed_fill(f, 0, row, &error), PLIM_BAD_INPUT);
    cr_assert(strstr(error.text, "255"));
    feed_release(f);
}

Test(data, files_that_change_are_an_error) {
    write_file(0, "abcdefgh", 8);
    const PlanInput input = text_input(1, 8, 0);
    DataFeed *f = feed(1, &input, &plain);
    cr_assert_eq(truncate(path[0], 4), 0);
    int32_t row[8];
    cr_assert_eq(feed_fill(f, 0, row, &error), PLIM_IO);
    feed_release(f);
}

Test(data, too_little_or_unfit_data_is_refused) {
    write_file(0, "abc", 3);
    PlanInput input = text_input(1, 4, 0);
    refuse(1, &input, &plain, "3 tokens, fewer than one row of the model's input text (4)");
    input.dtype = PLAN_F32;
    refuse(1, &input, &plain, "holds tokens");
    write_file(0, "", 0);
    refuse(1, &input, &plain, "is empty");
    cr_assert_eq(data_file_open("/nonexistent", &file[1], &error), PLIM_IO);
    cr_assert_eq(data_file_open("/tmp", &file[1], &error), PLIM_BAD_INPUT);
    // A name that promises a format is held to it.
    unlink(path[0]);
    strcat(path[0], ".npy");
    write_file(0, "abcdefgh", 8);
    refuse(1, &input, &plain, "no .npy file");
    unlink(path[0]);
    strcpy(strrchr(path[0], '.'), ".safetensors");
    write_file(0, "abcdefghijk", 11);
    refuse(1, &input, &plain, "no valid safetensors file");
}

Test(data, tables_come_from_safetensors_by_name) {
    const int64_t dim[2] = {3, 2};
    const float x[6] = {1, 2, 3, 4, 5, 6};
    const SafeSource tensor = {.name = "x", .dtype = PLAN_F32, .rank = 2, .dim = dim, .at = x};
    cr_assert_eq(safetensors_write(path[0], &tensor, 1, NULL, &error), PLIM_OK);
    PlanInput input = {.name = "x",
                       .source = PLAN_FROM_DATA,
                       .slots = 2,
                       .dtype = PLAN_F32,
                       .rank = 2,
                       .dim = {1, 2}};
    DataFeed *f = feed(1, &input, &plain);
    float rows[4];
    fill(f, 1, rows);
    cr_assert_eq(rows[0], 5.0F); // rows 2 and 0
    cr_assert_eq(rows[2], 1.0F);
    feed_release(f);
    input.dim[1] = 3;
    refuse(1, &input, &plain, "[3, 2]");
    input.name = "y";
    refuse(1, &input, &plain, "no tensor called y");
}
