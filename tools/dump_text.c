// Nothing here knows what it prints; widths are the callers'. Numbers are written without the
// locale, so that outputs are the same everywhere.
#include "tools/dump_text.h"

#include <inttypes.h>
#include <string.h>

char *text_count(uint64_t x, char out[TEXT_NUMBER]) {
    char digits[24];
    const size_t count = (size_t)snprintf(digits, sizeof digits, "%" PRIu64, x);
    size_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (i > 0 && (count - i) % 3 == 0)
            out[at++] = ',';
        out[at++] = digits[i];
    }
    out[at] = '\0';
    return out;
}

char *text_change(uint64_t before, uint64_t after, char out[TEXT_NUMBER]) {
    char digits[TEXT_NUMBER];
    text_count(after > before ? after - before : before - after, digits);
    snprintf(out, TEXT_NUMBER, "%s%.30s", after > before ? "+" : after < before ? "-" : "", digits);
    return out;
}

// Three digits: 1.23, 12.3, 123.
static int digits_after(double x) {
    return x < 9.995 ? 2 : x < 99.95 ? 1 : 0;
}

char *text_time(double seconds, char out[TEXT_NUMBER]) {
    static const struct {
        double seconds;
        const char *name;
    } unit[] = {{1, "s"}, {1e-3, "ms"}, {1e-6, "us"}, {1e-9, "ns"}};
    int i = 0;
    while (i < 3 && seconds < 0.9995 * unit[i].seconds)
        i++;
    const double x = seconds / unit[i].seconds;
    snprintf(out, TEXT_NUMBER, "%.*f %s", x > 0 ? digits_after(x) : 0, x, unit[i].name);
    return out;
}

// From nothing there is no per cent.
char *text_percent(double before, double after, char out[TEXT_NUMBER]) {
    out[0] = '\0';
    if (before > 0)
        snprintf(out, TEXT_NUMBER, "%+.2f %%", 100 * (after / before - 1));
    return out;
}

char *text_rate(double x, const char *unit, char out[TEXT_NUMBER]) {
    static const char *const prefix[] = {"", "k", "M", "G", "T", "P", "E"};
    int i = 0;
    for (; i < 6 && x >= 999.5; i++)
        x /= 1000;
    snprintf(out, TEXT_NUMBER, "%.*f %s%.16s", i ? digits_after(x) : 0, x, prefix[i], unit);
    return out;
}

// The end of a piece of text that begins a character: bytes 10xxxxxx go on with one.
static bool goes_on(char c) {
    return ((unsigned char)c & 0xC0) == 0x80;
}

char *text_fit(const char *name, char *out, size_t size) {
    const size_t length = strlen(name), room = size - 1;
    if (length <= room) {
        memcpy(out, name, length + 1);
    } else {
        // The end tells more than the beginning: what a name is of, and not where.
        size_t head = (room - 2) / 3, tail = room - 2 - head;
        while (head > 0 && goes_on(name[head]))
            head--;
        while (tail > 0 && goes_on(name[length - tail]))
            tail--;
        snprintf(out, size, "%.*s..%s", (int)head, name, name + length - tail);
    }
    for (char *c = out; *c; c++)
        if ((unsigned char)*c < 0x20 || *c == 0x7f)
            *c = '?';
    return out;
}

const char *text_place(const char *where) {
    const char *slash = strrchr(where, '/');
    return slash ? slash + 1 : where;
}

char *text_shape(PlanDType dtype, uint32_t rank, const int64_t *dim, char *out, size_t size) {
    size_t at = (size_t)snprintf(out, size, "%s[", plan_dtype_name(dtype));
    for (uint32_t i = 0; i < rank && i < PLAN_RANK_MAX && at < size; i++)
        at += (size_t)snprintf(out + at, size - at, "%s%" PRId64, i ? ", " : "", dim[i]);
    if (at < size)
        snprintf(out + at, size - at, "]");
    return out;
}
