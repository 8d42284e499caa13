// Each condition is cut out, read and evaluated before the next one.
#include "tools/fail_if.h"

#include "runtime/error.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    const Figure *figure;
    bool above;    // > and not <
    bool relative; // a change, and not the figure itself
    bool percent;
    double limit; // in the figure's unit, or per cent
} Condition;

// A figure takes numbers in its own units only: "+1ms" of bytes is a mistake, and told.
static const struct {
    const char *name;
    FigureUnit unit;
    double factor;
} unit_table[] = {
    {"", FIGURE_COUNT, 1},       {"B", FIGURE_BYTES, 1},         {"", FIGURE_BYTES, 1},
    {"KiB", FIGURE_BYTES, 1024}, {"MiB", FIGURE_BYTES, 1 << 20}, {"GiB", FIGURE_BYTES, 1 << 30},
    {"s", FIGURE_SECONDS, 1},    {"ms", FIGURE_SECONDS, 1e-3},   {"us", FIGURE_SECONDS, 1e-6},
    {"", FIGURE_SECONDS, 1},
};
enum { UNIT_COUNT = sizeof unit_table / sizeof unit_table[0] };

// The number behind < or >, with its unit. False where it is none.
static bool read_limit(const char *text, Condition *c) {
    char *end;
    c->relative = *text == '+' || *text == '-';
    // strtod alone would also take spaces, nan and inf.
    if (strchr("0123456789.", text[c->relative]) == NULL || text[c->relative] == '\0')
        return false;
    c->limit = strtod(text, &end);
    c->percent = strcmp(end, "%") == 0;
    if (c->percent)
        return c->relative;
    for (int i = 0; i < UNIT_COUNT; i++)
        if (unit_table[i].unit == c->figure->unit && strcmp(unit_table[i].name, end) == 0) {
            c->limit *= unit_table[i].factor;
            return true;
        }
    return false;
}

// *is: what was compared with the limit, for people.
static bool holds(const Condition *c, double *is) {
    const Figure *f = c->figure;
    *is = c->relative ? f->after - f->before : f->after;
    if (c->percent && f->before > 0)
        *is = 100 * (f->after / f->before - 1);
    else if (c->percent)
        // From nothing any growth is without bounds.
        *is = f->after > 0 ? HUGE_VAL : 0;
    return c->above ? *is > c->limit : *is < c->limit;
}

// Names what there is, so that nobody has to look it up.
static bool refuse(PlimError *error, const char *text, const Figure *figure, uint32_t count) {
    if (count == 0) {
        error_set(error, PLIM_BAD_INPUT,
                  "--fail-if knows only different of digests, which have no figures, not %s", text);
        return false;
    }
    char names[200] = "";
    for (uint32_t i = 0; i < count; i++)
        snprintf(names + strlen(names), sizeof names - strlen(names), "%s%s", i ? ", " : "",
                 figure[i].name);
    error_set(
        error, PLIM_BAD_INPUT,
        "--fail-if takes conditions such as peak>+1%%, kernels>+0 or time>20ms, not %s; there "
        "are %s, and different",
        text, names);
    return false;
}

bool fail_if_check(const char *conditions, const Figure *figure, uint32_t count, bool different,
                   bool *held, FILE *out, PlimError *error) {
    *held = false;
    for (const char *at = conditions; *at;) {
        char text[64];
        const size_t length = strcspn(at, ",");
        snprintf(text, sizeof text, "%.*s", (int)(length < 63 ? length : 63), at);
        at += length + (at[length] == ',');
        if (strcmp(text, "different") == 0) {
            if (different && out)
                fprintf(out, "fails: different\n");
            *held = *held || different;
            continue;
        }
        const size_t name = strcspn(text, "<>");
        Condition c = {.above = text[name] == '>'};
        for (uint32_t i = 0; i < count; i++)
            if (strlen(figure[i].name) == name && memcmp(figure[i].name, text, name) == 0)
                c.figure = &figure[i];
        if (!c.figure || !text[name] || !read_limit(text + name + 1, &c))
            return refuse(error, text, figure, count);
        double is;
        if (!holds(&c, &is))
            continue;
        *held = true;
        if (out)
            fprintf(out, "fails: %s: it is %+.4g%s\n", text, is, c.percent ? " %" : "");
    }
    return true;
}
