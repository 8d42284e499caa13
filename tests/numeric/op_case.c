// Types are separated by blanks; operands are %x0, %x1, ... and results %r0, %r1, ...
#include "op_case.h"

#include <string.h>

// "SEPARATOR NAME: TYPE" for each type, joined; NAME is made by the format from its number.
static const char *join(Arena *a, const char *types, char prefix, bool named, bool typed) {
    const char *out = "";
    int count = 0;
    for (const char *at = types + strspn(types, " "); *at; at += strspn(at, " "), count++) {
        const size_t bytes = strcspn(at, " ");
        const char *name = named ? arena_format(a, "%%%c%d", prefix, count) : "";
        out = arena_format(a, "%s%s%s%s%.*s", out, count ? ", " : "", name,
                           named && typed ? ": " : "", typed ? (int)bytes : 0, at);
        at += bytes;
    }
    return out;
}

const char *op_case_text(Arena *a, const char *op, const char *operands, const char *results,
                         const char *attrs) {
    const char *list = join(a, results, 'r', true, true);
    return arena_format(a,
                        "graph @test(%s) -> (%s) {\n"
                        "  %s = %s %s%s%s%s\n"
                        "  return %s\n}\n",
                        join(a, operands, 'x', true, true), join(a, results, 'r', false, true),
                        list, op, join(a, operands, 'x', true, false), attrs ? " {" : "",
                        attrs ? attrs : "", attrs ? "}" : "", join(a, results, 'r', true, false));
}
