// Declarations of attributes, read from their text each time: a handful of words, so a parsed table
// would cost more than it saves.
#include "ir/attr_rule.h"

#include "ir/check.h"

#include <string.h>

// One attribute as it is declared: "eps:float?".
typedef struct {
    const char *name;
    size_t name_bytes;
    AttrKind kind;
    bool optional;
} AttrRule;

static const char *const attr_kind_name[] = {"int", "float", "text", "ints",
                                             "floats"}; // by AttrKind

const char *attr_kind_text(AttrKind kind) {
    return attr_kind_name[kind];
}

// The next declaration of the row's text, or false at its end.
static bool rule_next(const char **at, AttrRule *out) {
    *at += strspn(*at, " ");
    if (!**at)
        return false;
    // Declarations are separated by blanks: "name:kind" or, where optional, "name:kind?".
    const size_t bytes = strcspn(*at, " ");
    const char *colon = memchr(*at, ':', bytes);
    CHECK(colon); // a broken row of ops.def
    *out = (AttrRule){.name = *at, .name_bytes = (size_t)(colon - *at)};
    const char *kind = colon + 1;
    size_t kind_bytes = bytes - out->name_bytes - 1;
    out->optional = kind_bytes > 0 && kind[kind_bytes - 1] == '?';
    kind_bytes -= out->optional;
    // The kind's name without the question mark, among those of AttrKind.
    bool known = false;
    for (int i = 0; i <= ATTR_FLOATS; i++)
        if (strlen(attr_kind_name[i]) == kind_bytes &&
            memcmp(attr_kind_name[i], kind, kind_bytes) == 0) {
            out->kind = (AttrKind)i;
            known = true;
        }
    CHECK(known);
    *at += bytes;
    return true;
}

// The rule's name is a span of the row, not ended by a NUL.
static bool rule_is(const AttrRule *rule, const char *name) {
    return strncmp(rule->name, name, rule->name_bytes) == 0 && name[rule->name_bytes] == '\0';
}

// The kind that the rules give to a name; false where they don't declare it.
bool attr_rule_find(const char *rules, const char *name, AttrKind *out) {
    const char *at = rules;
    AttrRule rule;
    while (rule_next(&at, &rule))
        if (rule_is(&rule, name)) {
            *out = rule.kind;
            return true;
        }
    return false;
}

const char *attr_rule_nearest(const char *rules, const char *name, Arena *a) {
    // More than any row declares; what lies past it is merely not suggested.
    enum { NAMES_MAX = 32 };
    const char *known[NAMES_MAX];
    int count = 0;
    const char *at = rules;
    AttrRule rule;
    while (count < NAMES_MAX && rule_next(&at, &rule))
        known[count++] = arena_text_span(a, rule.name, rule.name_bytes);
    return diag_nearest(name, known, count);
}

// Counts how often the rule's attribute is there; -1 after an error about its kind.
static int rule_times(const AttrRule *rule, const char *owner, const Attr *attr, int attr_count,
                      Loc loc, Diag *d) {
    int times = 0;
    for (int i = 0; i < attr_count; i++) {
        if (!rule_is(rule, attr[i].name))
            continue;
        times++;
        if (attr[i].kind != rule->kind) {
            diag_error(d, loc, 608, "attribute %s of %s is of kind %s, not %s", attr[i].name, owner,
                       attr_kind_name[rule->kind], attr_kind_name[attr[i].kind]);
            return -1;
        }
    }
    return times;
}

// First every declared attribute is counted, then what is left over is named. Costs declarations x
// attributes, both a handful.
bool attr_rule_check(const char *rules, const char *owner, const Attr *attr, int attr_count,
                     Loc loc, Diag *d) {
    int found = 0;
    const char *at = rules;
    AttrRule rule;
    while (rule_next(&at, &rule)) {
        const int times = rule_times(&rule, owner, attr, attr_count, loc, d);
        if (times < 0)
            return false;
        if (times > 1 || (times == 0 && !rule.optional))
            return diag_error(d, loc, 608, "%s %s the attribute %.*s", owner,
                              times ? "has twice" : "lacks", (int)rule.name_bytes, rule.name);
        found += times;
    }
    // As many found as there are means that all are declared.
    for (int i = 0; found < attr_count && i < attr_count; i++) {
        AttrKind kind;
        if (!attr_rule_find(rules, attr[i].name, &kind))
            return diag_error(d, loc, 608, "%s has no attribute %s", owner, attr[i].name);
    }
    return true;
}
