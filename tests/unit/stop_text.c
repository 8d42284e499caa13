// Stop strings in text that comes in parts: what is printed is the text up to the earliest stop,
// however it is cut.
#include "runtime/stop_text.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

// What is printed of text, given in parts of the given sizes in turn.
static void print_in_parts(const char *text, const char *const *stop, int stops, size_t part,
                           char *out) {
    StopText s = {.stop = stop, .stops = stops};
    size_t used = 0, ready;
    bool stopped = false;
    for (size_t at = 0; text[at] && !stopped; at += part) {
        const size_t left = strlen(text + at), bytes = left < part ? left : part;
        stopped = stop_text_add(&s, text + at, bytes, &ready);
        cr_assert_neq(ready, SIZE_MAX);
        memcpy(out + used, s.held, ready);
        used += ready;
        stop_text_printed(&s, ready);
        if (left <= part)
            break;
    }
    if (!stopped) {
        ready = stop_text_end(&s);
        memcpy(out + used, s.held ? s.held : "", ready);
        used += ready;
    }
    out[used] = '\0';
    stop_text_release(&s);
}

Test(stop_text, the_earliest_stop_ends_the_text) {
    static const struct {
        const char *text, *stop[3], *printed;
    } row[] = {{"hello", {"xyz"}, "hello"},
               {"hello", {"l"}, "he"},
               {"hello", {"hello"}, ""},
               {"hello", {"lo", "ell"}, "h"},
               {"ababac", {"abac"}, "ab"},
               {"aaab", {"aab"}, "a"},
               {"abcd", {"abcX", "bc"}, "a"},
               {"abc", {"abcX", "bc"}, "a"},
               {"abc", {"abcX"}, "abc"},
               {"one\n\ntwo\n", {"\n\n", "two"}, "one"},
               {"", {"a"}, ""},
               {"plain", {NULL}, "plain"}};
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        int stops = 0;
        while (stops < 3 && row[i].stop[stops])
            stops++;
        for (size_t part = 1; part < 8; part++) {
            char out[32];
            print_in_parts(row[i].text, row[i].stop, stops, part, out);
            cr_assert_str_eq(out, row[i].printed, "%s in parts of %zu", row[i].text, part);
        }
    }
}

Test(stop_text, only_what_may_become_a_stop_is_held) {
    static const char *const stop[] = {"abc"};
    StopText s = {.stop = stop, .stops = 1};
    size_t ready;
    cr_assert_not(stop_text_add(&s, "xab", 3, &ready));
    cr_assert_eq(ready, 1);
    stop_text_printed(&s, ready);
    cr_assert_not(stop_text_add(&s, "d", 1, &ready));
    cr_assert_eq(ready, 3);
    stop_text_release(&s);
}
