// The JSON reader: values of every kind, lists and limits, and texts that are no JSON.
#include "runtime/json_read.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

// The text is copied to memory of its exact size, so that a sanitizer sees a read past its end.
typedef struct {
    char *text;
    JsonCursor j;
} Fixture;

static Fixture open_bytes(const char *text, size_t size) {
    Fixture f = {.text = malloc(size ? size : 1)};
    memcpy(f.text, text, size);
    f.j = (JsonCursor){.at = f.text, .end = f.text + size};
    return f;
}

static Fixture open_text(const char *text) {
    return open_bytes(text, strlen(text));
}

// Whether the whole text is one JSON value.
static bool is_json(const char *text, size_t size) {
    Fixture f = open_bytes(text, size);
    const bool good = json_skip(&f.j) && json_at_end(&f.j);
    cr_assert(good || f.j.failed || f.j.at < f.j.end);
    cr_assert(f.j.at <= f.j.end);
    free(f.text);
    return good;
}

Test(json_read, numbers) {
    static const struct {
        const char *text;
        double value;
    } good[] = {{"0", 0},         {"-0", 0},
                {"1.5", 1.5},     {"-12.25e2", -1225},
                {"1E+3", 1000},   {"1e-3", 0.001},
                {"0.1", 0.1},     {"123456789012345678901", 123456789012345678901.0},
                {" 7", 7},        {"5e-324", 5e-324},
                {"1e308", 1e308}, {"1e-999", 0}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        Fixture f = open_text(good[i].text);
        double x;
        cr_assert(json_number(&f.j, &x) && json_at_end(&f.j), "%s", good[i].text);
        cr_assert_eq(x, good[i].value, "%s", good[i].text);
        free(f.text);
    }
    static const char *const bad[] = {"",     "-",   "+1",  ".5",    "1.",  "1e",
                                      "1e+",  "01",  "-01", "1e999", "NaN", "Infinity",
                                      "0x10", "1,5", "1_0", "--1",   "1.e3"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        Fixture f = open_text(bad[i]);
        double x;
        cr_assert_not(json_number(&f.j, &x) && json_at_end(&f.j), "%s", bad[i]);
        free(f.text);
    }
    char lengthy[JSON_NUMBER_MAX + 2];
    memset(lengthy, '1', sizeof lengthy);
    cr_assert_not(is_json(lengthy, JSON_NUMBER_MAX + 1));
    lengthy[1] = '.';
    cr_assert(is_json(lengthy, JSON_NUMBER_MAX));
}

Test(json_read, integers_of_the_whole_range) {
    static const struct {
        const char *text;
        int64_t value;
    } good[] = {{"0", 0},
                {"-1", -1},
                {"9223372036854775807", INT64_MAX},
                {"-9223372036854775808", INT64_MIN}};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++) {
        Fixture f = open_text(good[i].text);
        int64_t x;
        cr_assert(json_integer(&f.j, &x), "%s", good[i].text);
        cr_assert_eq(x, good[i].value, "%s", good[i].text);
        free(f.text);
    }
    static const char *const bad[] = {
        "9223372036854775808",    "-9223372036854775809", "1.0", "1e3", "\"1\"", "true",
        "99999999999999999999999"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        Fixture f = open_text(bad[i]);
        int64_t x;
        cr_assert_not(json_integer(&f.j, &x), "%s", bad[i]);
        cr_assert(f.j.failed);
        free(f.text);
    }
}

Test(json_read, members_and_items) {
    Fixture f = open_text(" { \"n\" : [1, 2 ,3], \"skip\": {\"a\":[{}, [], null]}, \"yes\":true,\n"
                          "\"no\":false, \"none\":null, \"s\":\"\\u00e9\\ud83d\\ude00\" } ");
    JsonList members = {0}, items = {0};
    char key[16], text[16];
    int64_t sum = 0, x;
    bool yes = false, no = true, none = false;
    while (json_member(&f.j, &members, key, sizeof key)) {
        if (strcmp(key, "n") == 0)
            while (json_item(&f.j, &items) && json_integer(&f.j, &x))
                sum = sum * 10 + x;
        else if (strcmp(key, "yes") == 0)
            json_bool(&f.j, &yes);
        else if (strcmp(key, "no") == 0)
            json_bool(&f.j, &no);
        else if (strcmp(key, "none") == 0)
            none = json_peek(&f.j) == JSON_NULL && json_accept_null(&f.j);
        else if (strcmp(key, "s") == 0)
            json_string(&f.j, text, sizeof text);
        else
            json_skip(&f.j);
    }
    cr_assert(json_at_end(&f.j));
    cr_assert_eq(f.j.depth, 0);
    cr_assert_eq(sum, 123);
    cr_assert(yes && !no && none);
    cr_assert_str_eq(text, "\xc3\xa9\xf0\x9f\x98\x80");
    free(f.text);
}

Test(json_read, a_long_key_is_cut_and_equals_no_shorter_name) {
    // The second key's last character that would fit is two bytes wide and doesn't.
    Fixture f = open_text("{\"abcdefgh\":1,\"abc\xc3\xa9\":2,\"abc\":3}");
    JsonList members = {0};
    char key[5];
    cr_assert(json_member(&f.j, &members, key, sizeof key) && json_skip(&f.j));
    cr_assert_str_eq(key, "abcd");
    cr_assert(json_member(&f.j, &members, key, sizeof key) && json_skip(&f.j));
    cr_assert_str_eq(key, "abc?");
    cr_assert(json_member(&f.j, &members, key, sizeof key) && json_skip(&f.j));
    cr_assert_str_eq(key, "abc");
    cr_assert_not(json_member(&f.j, &members, key, sizeof key));
    cr_assert(json_at_end(&f.j));
    free(f.text);
}

Test(json_read, strings_of_any_length_with_nul) {
    Fixture f = open_text("\"a\\u0000b\" \"a\\u0000b\"");
    size_t size = 0, bytes = 0;
    char out[4];
    cr_assert(json_string_size(&f.j, &size));
    cr_assert_eq(size, 3);
    cr_assert(json_bytes(&f.j, out, sizeof out, &bytes));
    cr_assert_eq(bytes, 3);
    cr_assert_arr_eq(out, "a\0b", 4);
    // As a C string it would end early.
    cr_assert_not(json_string(&f.j, out, sizeof out));
    free(f.text);
    f = open_text("\"abc\"");
    cr_assert_not(json_bytes(&f.j, out, 3, &bytes));
    cr_assert(f.j.failed);
    free(f.text);
}

Test(json_read, depth) {
    char text[2 * JSON_DEPTH_MAX + 2];
    memset(text, '[', JSON_DEPTH_MAX);
    memset(text + JSON_DEPTH_MAX, ']', JSON_DEPTH_MAX);
    cr_assert(is_json(text, 2 * JSON_DEPTH_MAX));
    memset(text, '[', JSON_DEPTH_MAX + 1);
    memset(text + JSON_DEPTH_MAX + 1, ']', JSON_DEPTH_MAX + 1);
    cr_assert_not(is_json(text, 2 * JSON_DEPTH_MAX + 2));
    // What the caller has begun counts.
    Fixture f = open_bytes(text, 2 * JSON_DEPTH_MAX + 2);
    JsonList outer = {0};
    cr_assert(json_item(&f.j, &outer));
    cr_assert_not(json_skip(&f.j));
    free(f.text);
    char *deep = malloc(1000000);
    memset(deep, '[', 1000000);
    cr_assert_not(is_json(deep, 1000000));
    for (int i = 0; i < 1000000; i += 5)
        memcpy(deep + i, "{\"\":", i + 4 < 1000000 ? 4 : 1);
    cr_assert_not(is_json(deep, 1000000));
    free(deep);
}

Test(json_read, what_is_json) {
    static const char *const good[] = {"{}",
                                       "[]",
                                       "\"\"",
                                       " null ",
                                       "true",
                                       "[1,[2,{\"a\":[]}],{}]",
                                       "{\"a\":{\"b\":1},\"a\":2}",
                                       "\"\\\"\\\\\\/\\b\\f\\n\\r\\t\\u0000\\uD834\\uDD1E\"",
                                       "[\"\xef\xbf\xbf\"]"};
    for (size_t i = 0; i < sizeof good / sizeof good[0]; i++)
        cr_assert(is_json(good[i], strlen(good[i])), "%s", good[i]);
    static const char *const bad[] = {"",
                                      " ",
                                      "[",
                                      "]",
                                      "{",
                                      "}",
                                      "[1",
                                      "[1,",
                                      "[1,]",
                                      "[,1]",
                                      "[1 2]",
                                      "{\"a\"}",
                                      "{\"a\":}",
                                      "{\"a\":1,}",
                                      "{a:1}",
                                      "{1:2}",
                                      "{\"a\":1 \"b\":2}",
                                      "[1}",
                                      "{\"a\":1]",
                                      "nul",
                                      "truee",
                                      "nulll",
                                      "tru",
                                      "\"",
                                      "\"\\",
                                      "\"\\u12\"",
                                      "\"\\u12g4\"",
                                      "\"\\ud800\"",
                                      "\"\\ud800\\u0041\"",
                                      "\"\\udc00\"",
                                      "\"\\x41\"",
                                      "\"a\nb\"",
                                      "\"\xff\"",
                                      "\"\xc0\x80\"",
                                      "\"\xed\xa0\x80\"",
                                      "\"\xe2\x82\"",
                                      "'a'",
                                      "[1] x",
                                      "// c\n1",
                                      "[1,/**/2]",
                                      "\xef\xbb\xbf{}"};
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_not(is_json(bad[i], strlen(bad[i])), "%s", bad[i]);
    cr_assert_not(is_json("[1]\0", 4));
    cr_assert_not(is_json("\"a\0b\"", 5));
}

// Every prefix of a text, and the text with each byte replaced by each of a few others: an answer,
// and no read past the end.
Test(json_read, mutations_are_survived) {
    static const char text[] = "{\"a\": [1, -2.5e+3, true, false, null, "
                               "\"x\\u00e9\\ud83d\\ude00\\n\"], \"b\": {\"c\": {}}}";
    static const char other[] = "\0\"\\{}[],:0-.eE+ntfu \xff\xc3";
    const size_t size = sizeof text - 1;
    cr_assert(is_json(text, size));
    for (size_t i = 0; i < size; i++)
        cr_assert_not(is_json(text, i));
    char copy[sizeof text];
    for (size_t i = 0; i < size; i++)
        for (size_t k = 0; k < sizeof other; k++) {
            memcpy(copy, text, sizeof text);
            copy[i] = other[k];
            is_json(copy, size);
        }
}

Test(json_read, a_failure_stays_and_has_a_place) {
    const char *text = "{\n  \"a\": 1,\n  \"b\": x\n}";
    Fixture f = open_text(text);
    JsonList members = {0};
    char key[8];
    int64_t n = 0;
    while (json_member(&f.j, &members, key, sizeof key))
        json_integer(&f.j, &n);
    int line, column;
    cr_assert(f.j.failed);
    json_place(&f.j, f.text, &line, &column);
    cr_assert_eq(line, 3);
    cr_assert_eq(column, 8);
    bool truth;
    double number;
    cr_assert_not(json_skip(&f.j) || json_accept(&f.j, 'x') || json_accept_null(&f.j) ||
                  json_bool(&f.j, &truth) || json_number(&f.j, &number) || json_at_end(&f.j));
    cr_assert_eq(json_peek(&f.j), JSON_WRONG);
    free(f.text);
}
