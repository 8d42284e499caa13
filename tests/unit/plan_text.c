// The text form: print and parse undo each other, and mistakes are told with their line and column.
#include "plan_sample.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static char *print(const Plan *p) {
    char *text = NULL;
    size_t size;
    FILE *out = open_memstream(&text, &size);
    plan_print(p, out);
    fclose(out);
    return text;
}

static Plan *parse(const char *text, PlanMemory *pm) {
    Plan *p = NULL;
    PlimError error = {""};
    cr_assert_eq(plan_parse(text, strlen(text), pm, &p, &error), PLIM_OK, "%s", error.text);
    return p;
}

static void expect_same_bytes(const Plan *a, const Plan *b) {
    uint8_t *left, *right;
    size_t left_size, right_size;
    cr_assert_eq(plan_encode(a, &left, &left_size), PLIM_OK);
    cr_assert_eq(plan_encode(b, &right, &right_size), PLIM_OK);
    cr_assert_eq(left_size, right_size);
    cr_assert_eq(memcmp(left, right, left_size), 0);
    free(left);
    free(right);
}

static void expect_round_trip(const Plan *p, PlanMemory *pm) {
    char *first = print(p);
    const Plan *again = parse(first, pm);
    char *second = print(again);
    cr_assert_str_eq(first, second);
    expect_same_bytes(p, again);
    free(first);
    free(second);
}

Test(plan_text, sample_round_trips) {
    PlanMemory *pm = plan_memory_new();
    Plan *p = plan_sample(pm);
    cr_assert_not_null(p);
    expect_round_trip(p, pm);
    // With collectives, and as one of several ranks.
    p = plan_sample_ranks(pm);
    cr_assert_not_null(p);
    p->peers = 7;
    expect_round_trip(p, pm);
    plan_memory_release(pm);
}

// Every number at its ends, every string with what has to be escaped.
Test(plan_text, extremes_round_trip) {
    PlanMemory *pm = plan_memory_new();
    Plan *p = plan_sample(pm);
    p->model = "a \"quoted\" \\ name\n\ttab \x01 \x7f caf\xc3\xa9 # no comment";
    p->buffer[0].name = "";
    p->buffer[1].name = "-";
    p->buffer[2].name = "max";
    p->buffer[3].name = "entry";
    p->buffer[4].scope = "{ } ( ) [ [ | #";
    p->buffer[5].offset = UINT64_MAX;
    p->buffer[5].first = UINT32_MAX;
    p->buffer[6].dim[0] = INT64_MIN;
    p->entry[0].input[1].fallback = -1.0 / 3.0;
    p->entry[0].input[0].fallback = -0.0;
    p->entry[0].input[0].bound = INT64_MIN;
    p->segment[1].instr[0].imm[0] = INT64_MIN;
    p->segment[1].instr[0].imm[1] = INT64_MAX;
    p->kernel[0].text = "\n\n  indented\n| barred\n# no comment\n\n";
    p->kernel[1].text = "";
    p->remark[0].text = "";
    expect_round_trip(p, pm);
    const double values[] = {1e-320, 1.7976931348623157e308, 0.1, 3e-4, 1.0 / 3.0, -2.5e-7};
    for (size_t i = 0; i < sizeof values / sizeof *values; i++) {
        p->entry[0].input[1].fallback = values[i];
        expect_round_trip(p, pm);
    }
    plan_memory_release(pm);
}

// A fill has no kernel, whatever the struct holds there.
Test(plan_text, fill_has_no_kernel) {
    PlanMemory *pm = plan_memory_new();
    Plan *p = plan_sample(pm);
    p->segment[0].instr[0].kernel = 3;
    expect_round_trip(p, pm);
    plan_memory_release(pm);
}

Test(plan_text, empty_plan_round_trips) {
    PlanMemory *pm = plan_memory_new();
    const Plan p = {.version = PLAN_VERSION};
    expect_round_trip(&p, pm);
    plan_memory_release(pm);
}

Test(plan_text, comments_and_line_ends_are_free) {
    PlanMemory *pm = plan_memory_new();
    const Plan *p = parse("# A plan.\r\nplan 1 # one\nworkers 1\n\n  streams\n 1\n"
                          "kernel k0\n k0 tiles 1\n# between\n| a\n# and here\n  |  b\n|\n",
                          pm);
    cr_assert_eq(p->kernel_count, 1);
    cr_assert_str_eq(p->kernel[0].text, "a\n b\n");
    plan_memory_release(pm);
}

static void expect_error(const char *text, const char *message) {
    PlanMemory *pm = plan_memory_new();
    Plan *p = NULL;
    PlimError error = {""};
    cr_assert_eq(plan_parse(text, strlen(text), pm, &p, &error), PLIM_BAD_INPUT, "no error for: %s",
                 text);
    cr_assert_str_eq(error.text, message);
    plan_memory_release(pm);
}

#define HEAD "plan 1\nworkers 1\nstreams 1\n"

Test(plan_text, mistakes_have_a_place) {
    expect_error("", "1:1: expected 'plan'");
    expect_error("plan 7\n", "1:1: the plan has version 7, this program reads version 1");
    expect_error("plan 1\nstreams 1\n", "2:1: expected 'workers'");
    expect_error(HEAD "workers 2\n", "4:1: expected the next field or section of the plan");
    expect_error(HEAD "space m1 device bytes 0 load 0\n",
                 "4:7: expected 'm0': elements are numbered in order");
    expect_error(HEAD "space m0 tape bytes 0 load 0\n", "4:10: expected device, host or disk");
    expect_error(HEAD "space m0 disk bytes -1 load 0\n", "4:21: expected a number");
    expect_error(HEAD "space m0 disk bytes 18446744073709551616 load 0\n",
                 "4:21: this number is above 18446744073709551615");
    expect_error(HEAD "state w0 w param f32[2] buffer b3\n", "4:32: there is no buffer b3, only 0");
    expect_error(HEAD "state w0 w param f32[1, 2, 3, 4, 5, 6, 7, 8, 9] buffer b3\n",
                 "4:44: a shape has at most 8 dims");
    expect_error(HEAD "state w0 \"open\n", "4:10: this string has no end");
    expect_error(HEAD "state w0 \"\\q\"\n", "4:11: expected \\\", \\\\, \\n or \\x01 to \\x7F");
    expect_error(HEAD "state w0 \"\xff\"\n", "4:10: this string is not UTF-8 text");
    expect_error(HEAD "segment s0 a events 1 {\n  0: fill () stream 0 signature 0\n}\n",
                 "5:12: expected read, write or update");
    expect_error(HEAD "segment s0 a events 1 {\n  0: fill stream 1 signature 0\n}\n",
                 "5:18: there is no stream 1, only 1");
    expect_error(HEAD "segment s0 a events 1 {\n  0: fill stream 0 wait [1] signature 0\n}\n",
                 "5:26: there is no event 1, only 1");
    expect_error(HEAD "segment s0 a events 1 {\n  0: kernel stream 0 signature 0\n}\n",
                 "7:1: instruction 0: there is no kernel 4294967295, only 0");
    expect_error(HEAD "segment s0 a events 1\n", "5:1: expected '{'");
    expect_error(HEAD "entry e0 a {\n  call s0 slot 0\n", "6:1: expected '}'");
    expect_error(HEAD "kernel k0 k0 tiles 1\n",
                 "5:1: expected the lines of a block, each after '|'");
}

// No prefix of a good text crashes, and none but those that end at a section parse.
Test(plan_text, cut_off_texts_are_refused) {
    char *text;
    PlanMemory *pm = plan_memory_new();
    text = print(plan_sample(pm));
    plan_memory_release(pm);
    const size_t size = strlen(text);
    for (size_t cut = 0; cut < size; cut += 7) {
        // A copy of just that size, so that reading past it shows.
        char *part = malloc(cut + 1);
        memcpy(part, text, cut);
        pm = plan_memory_new();
        Plan *p = NULL;
        PlimError error = {""};
        if (plan_parse(part, cut, pm, &p, &error) != PLIM_OK)
            cr_assert_neq(error.text[0], 0);
        plan_memory_release(pm);
        free(part);
    }
    free(text);
}

// The examples of the page, each between fences marked plan.
Test(plan_text, examples_of_the_page_round_trip) {
    FILE *in = fopen(PLIM_SOURCE_DIR "/docs/plan-text.md", "r");
    cr_assert_not_null(in);
    char line[512], *text = NULL;
    size_t size;
    FILE *out = NULL;
    int examples = 0;
    while (fgets(line, sizeof line, in)) {
        if (!out && strcmp(line, "```plan\n") == 0) {
            out = open_memstream(&text, &size);
        } else if (out && strcmp(line, "```\n") == 0) {
            fclose(out);
            out = NULL;
            PlanMemory *pm = plan_memory_new();
            expect_round_trip(parse(text, pm), pm);
            plan_memory_release(pm);
            free(text);
            examples++;
        } else if (out) {
            fputs(line, out);
        }
    }
    fclose(in);
    cr_assert_gt(examples, 0);
}
