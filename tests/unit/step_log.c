// Logs: numbers JSON can't say, and going on where an earlier run left its lines. Checksums.
#include "runtime/step_log.h"
#include "runtime/digest.h"
#include "tests/temporary.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>
#include <unistd.h>

static char path[TEMPORARY_MAX];

static void setup(void) {
    temporary_path(path, "plim_log");
}

static void teardown(void) {
    unlink(path);
}

TestSuite(step_log, .init = setup, .fini = teardown);

static void write_steps(uint64_t after, uint64_t first, uint64_t last) {
    StepLog *log;
    PlimError error;
    cr_assert_eq(step_log_open(path, after, &log, &error), PLIM_OK, "%s", error.text);
    for (uint64_t i = first; i <= last; i++)
        step_log_write(log, &(StepReport){.step = i, .loss = (double)i});
    cr_assert_eq(step_log_close(log, &error), PLIM_OK);
}

// The file's steps are first to last, one a line and whole.
static void check_steps(uint64_t first, uint64_t last) {
    FILE *f = fopen(path, "r");
    char line[512];
    uint64_t step = first;
    while (fgets(line, sizeof line, f)) {
        char wanted[64];
        snprintf(wanted, sizeof wanted, "{\"step\": %llu, \"loss\": ", (unsigned long long)step++);
        cr_assert_eq(strncmp(line, wanted, strlen(wanted)), 0, "%s", line);
        cr_assert_str_eq(line + strlen(line) - 2, "}\n");
    }
    cr_assert_eq(step, last + 1);
    fclose(f);
}

Test(step_log, a_resumed_run_keeps_the_lines_before_it_and_no_others) {
    write_steps(0, 1, 20);
    check_steps(1, 20);
    write_steps(12, 13, 25);
    check_steps(1, 25);
    write_steps(25, 26, 26);
    check_steps(1, 26);
    // A line cut short by a kill goes, wherever the resumed run begins.
    for (off_t cut = 1; cut < 150; cut += 37) {
        write_steps(0, 1, 8);
        FILE *f = fopen(path, "r");
        fseek(f, 0, SEEK_END);
        const off_t size = ftell(f);
        fclose(f);
        cr_assert_eq(truncate(path, size - cut), 0);
        write_steps(7, 8, 9);
        check_steps(1, 9);
    }
    // Begun anew, or where there was none.
    write_steps(0, 1, 3);
    check_steps(1, 3);
    unlink(path);
    write_steps(5, 6, 7);
    check_steps(6, 7);
}

Test(step_log, what_json_cannot_say_is_null) {
    StepLog *log;
    PlimError error;
    cr_assert_eq(step_log_open(path, 0, &log, &error), PLIM_OK);
    step_log_write(log, &(StepReport){.step = 1,
                                      .loss = (double)NAN,
                                      .evaluated = true,
                                      .eval_loss = (double)INFINITY,
                                      .tokens_per_s = 1.5});
    cr_assert_eq(step_log_close(log, &error), PLIM_OK);
    char text[512] = "";
    FILE *f = fopen(path, "r");
    cr_assert(fgets(text, sizeof text, f));
    fclose(f);
    const char begin[] =
        "{\"step\": 1, \"loss\": null, \"eval_loss\": null, \"tokens_per_s\": 1.5,";
    cr_assert_eq(strncmp(text, begin, strlen(begin)), 0, "%s", text);
}

Test(step_log, every_byte_and_the_length_count_in_a_checksum) {
    uint8_t bytes[200] = {0};
    for (size_t size = 0; size < sizeof bytes; size++) {
        const uint64_t hash = digest_bytes(7, bytes, size);
        cr_assert_eq(digest_bytes(7, bytes, size), hash);
        cr_assert_neq(digest_bytes(8, bytes, size), hash);
        cr_assert_neq(digest_bytes(7, bytes, size + 1), hash);
        for (size_t i = 0; i < size; i++)
            for (int bit = 0; bit < 8; bit++) {
                bytes[i] ^= (uint8_t)(1 << bit);
                cr_assert_neq(digest_bytes(7, bytes, size), hash);
                bytes[i] ^= (uint8_t)(1 << bit);
            }
    }
}
