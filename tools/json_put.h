// Writing JSON: members and items one after another, the commas between them by themselves.
//
//     JsonPut j = {.out = out};
//     json_put_open(&j, NULL, '{');
//     json_put_text(&j, "name", "gpt2");
//     json_put_open(&j, "sizes", '[');
//     json_put_count(&j, NULL, 768);
//     json_put_close(&j, ']');
//     json_put_close(&j, '}');
#ifndef PLIM_TOOLS_JSON_PUT_H
#define PLIM_TOOLS_JSON_PUT_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

typedef struct {
    FILE *out;
    bool comma; // something stands before in the list that is open
    bool line;  // the next item begins a line
} JsonPut;

// key: of a member of an object; NULL for an item of an array and for the whole text.
void json_put_open(JsonPut *j, const char *key, char bracket);     // '{' or '['
void json_put_close(JsonPut *j, char bracket);                     // '}' or ']'
void json_put_text(JsonPut *j, const char *key, const char *text); // UTF-8
void json_put_count(JsonPut *j, const char *key, uint64_t x);
void json_put_integer(JsonPut *j, const char *key, int64_t x);
void json_put_real(JsonPut *j, const char *key, double x); // finite, 9 digits
void json_put_bool(JsonPut *j, const char *key, bool x);
void json_put_null(JsonPut *j, const char *key);
// What follows, up to the next comma, begins a new line: for people who look.
void json_put_line(JsonPut *j);

#endif
