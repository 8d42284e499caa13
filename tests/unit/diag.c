// The look of diagnostics, which users and scripts rely on.
#include "ir/diag.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static const char source[] = "first line\n"
                             "\tx = matmul(a, b)\r\n"
                             "caf\xc3\xa9 = 1\n"
                             "bad \x1b[31m end";

static Loc at(int32_t line, int32_t column) {
    return (Loc){.file = "m.plim", .line = line, .column = column};
}

static Diag *diag_with_source(Arena *a) {
    Diag *d = diag_create(a);
    diag_add_source(d, "m.plim", source, sizeof source - 1);
    return d;
}

static void expect_print(const Diag *d, const char *expected) {
    char *text;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    diag_print(d, out, false);
    fclose(out);
    cr_assert_str_eq(text, expected);
    free(text);
}

static void expect_json(const Diag *d, const char *expected) {
    char *text;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    diag_print_json(d, out);
    fclose(out);
    cr_assert_str_eq(text, expected);
    free(text);
}

Test(diag, error_note_and_help) {
    Arena *a = arena_create();
    Diag *d = diag_with_source(a);
    cr_assert(!diag_error(d, at(2, 6), 304, "matmul inner sizes differ: %s", "[3,4] x [3,5]"));
    diag_note(d, at(1, 1), "called here");
    diag_help(d, "transpose one of them");
    expect_print(d, "m.plim:2:6: error[P0304]: matmul inner sizes differ: [3,4] x [3,5]\n"
                    "\tx = matmul(a, b)\n"
                    "\t    ^\n"
                    "note: m.plim:1:1: called here\n"
                    "first line\n"
                    "^\n"
                    "help: transpose one of them\n");
    cr_assert_eq(diag_error_count(d), 1);
    arena_release(a);
}

Test(diag, warnings_and_places_without_text) {
    Arena *a = arena_create();
    Diag *d = diag_with_source(a);
    diag_warning(d, (Loc){.file = "other", .line = 3, .column = 9}, 801, "slow");
    diag_error(d, (Loc){.file = "other"}, 901, "cannot open it");
    diag_error(d, (Loc){0}, 902, "no space");
    diag_error(d, at(99, 1), 101, "past the end");
    expect_print(d, "other:3:9: warning[P0801]: slow\n"
                    "other: error[P0901]: cannot open it\n"
                    "error[P0902]: no space\n"
                    "m.plim:99:1: error[P0101]: past the end\n");
    arena_release(a);
}

Test(diag, carets_count_characters_and_controls_are_tamed) {
    Arena *a = arena_create();
    Diag *d = diag_with_source(a);
    diag_error(d, at(3, 7), 101, "say \x1b]0;x\a");
    diag_error(d, at(4, 5), 101, "control");
    diag_error(d, at(4, 500), 101, "far right");
    expect_print(d, "m.plim:3:7: error[P0101]: say \\x1b]0;x\\x07\n"
                    "caf\xc3\xa9 = 1\n"
                    "     ^\n"
                    "m.plim:4:5: error[P0101]: control\n"
                    "bad ?[31m end\n"
                    "    ^\n"
                    "m.plim:4:500: error[P0101]: far right\n"
                    "bad ?[31m end\n"
                    "             ^\n");
    arena_release(a);
}

Test(diag, long_lines_are_cut_around_the_caret) {
    Arena *a = arena_create();
    Diag *d = diag_create(a);
    char *line = arena_alloc(a, 1, 1001);
    memset(line, 'a', 1000);
    line[500] = 'X';
    diag_add_source(d, "f", line, 1000);
    diag_error(d, (Loc){.file = "f", .line = 1, .column = 501}, 101, "here");
    char *text;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    diag_print(d, out, false);
    fclose(out);
    const char *second = strchr(text, '\n') + 1;
    const char *third = strchr(second, '\n') + 1;
    cr_assert_lt(third - second, 120);
    cr_assert_eq(strncmp(second, "...", 3), 0);
    // The caret stands below the X.
    cr_assert_eq(strchr(second, 'X') - second, strchr(third, '^') - third);
    free(text);
    arena_release(a);
}

Test(diag, twenty_errors_and_a_count_of_the_rest) {
    Arena *a = arena_create();
    Diag *d = diag_with_source(a);
    for (int i = 0; i < 23; i++) {
        diag_error(d, (Loc){0}, 101, "error %d", i);
        diag_note(d, (Loc){0}, "note %d", i);
        diag_help(d, "help %d", i);
    }
    cr_assert_eq(diag_error_count(d), 23);
    cr_assert_eq(diag_item_count(d), 40);
    cr_assert_str_eq(diag_item(d, 38)->help, "help 19");
    char *text;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    diag_print(d, out, false);
    fclose(out);
    cr_assert_not_null(strstr(text, "\nhelp: help 19\n3 more errors\n"));
    cr_assert_null(strstr(text, "error 20"));
    free(text);
    arena_release(a);
}

Test(diag, json) {
    Arena *a = arena_create();
    Diag *d = diag_with_source(a);
    expect_json(d, "[]\n");
    diag_error(d, at(1, 2), 203, "say \"x\"\n\xff\xc3\xa9");
    diag_help(d, "don't");
    diag_note(d, (Loc){0}, "so");
    expect_json(d,
                "[\n{\"level\": \"error\", \"code\": \"P0203\", \"file\": \"m.plim\", \"line\": 1, "
                "\"column\": 2, \"message\": \"say \\\"x\\\"\\u000a\\ufffd\xc3\xa9\", "
                "\"help\": \"don't\"},\n"
                "{\"level\": \"note\", \"message\": \"so\"}\n]\n");
    arena_release(a);
}

Test(diag, nearest_names) {
    static const char *const known[] = {"softmax", "matmul", "exp", "expm1", "add", "x"};
    cr_assert_str_eq(diag_nearest("sofmax", known, 6), "softmax");
    cr_assert_str_eq(diag_nearest("mamtul", known, 6), "matmul");
    cr_assert_str_eq(diag_nearest("exp1", known, 6), "exp");
    cr_assert_null(diag_nearest("convolution", known, 6));
    cr_assert_null(diag_nearest("q", known, 6));
    cr_assert_null(diag_nearest("", known, 6));
}

Test(diag, an_error_nobody_may_make_exits_70, .exit_code = 70) {
    diag_error(NULL, (Loc){0}, 301, "shapes differ");
}
