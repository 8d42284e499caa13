// One bit is all there is to know: whether something stands before in the open list. Closing a list
// leaves a comma due after it; opening one leaves none. Nothing is checked: whoever writes a member
// without a key writes wrong JSON, and tests read what is written.
#include "tools/json_put.h"

#include "runtime/plan_report.h"

#include <inttypes.h>

// What stands before the value: a comma, a new line, the key.
static void begin(JsonPut *j, const char *key) {
    if (j->comma)
        fputs(j->line ? "," : ", ", j->out);
    if (j->line)
        fputs("\n  ", j->out);
    j->line = false;
    j->comma = true;
    if (key) {
        plan_json_string(j->out, key);
        fputs(": ", j->out);
    }
}

void json_put_open(JsonPut *j, const char *key, char bracket) {
    begin(j, key);
    fputc(bracket, j->out);
    j->comma = false;
}

void json_put_close(JsonPut *j, char bracket) {
    fputc(bracket, j->out);
    j->comma = true;
    j->line = false;
}

void json_put_text(JsonPut *j, const char *key, const char *text) {
    begin(j, key);
    plan_json_string(j->out, text);
}

void json_put_count(JsonPut *j, const char *key, uint64_t x) {
    begin(j, key);
    fprintf(j->out, "%" PRIu64, x);
}

void json_put_integer(JsonPut *j, const char *key, int64_t x) {
    begin(j, key);
    fprintf(j->out, "%" PRId64, x);
}

void json_put_real(JsonPut *j, const char *key, double x) {
    begin(j, key);
    fprintf(j->out, "%.9g", x);
}

void json_put_bool(JsonPut *j, const char *key, bool x) {
    begin(j, key);
    fputs(x ? "true" : "false", j->out);
}

void json_put_null(JsonPut *j, const char *key) {
    begin(j, key);
    fputs("null", j->out);
}

void json_put_line(JsonPut *j) {
    j->line = true;
}
