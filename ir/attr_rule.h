// What attributes are allowed: a text such as "eps:float axes:ints clip:float?", one NAME:KIND
// each, with ? for an optional one. Operators declare theirs in ops.def; the graph text's own lines
// use the same.
#ifndef PLIM_IR_ATTR_RULE_H
#define PLIM_IR_ATTR_RULE_H

#include "ir/graph.h"

const char *attr_kind_text(AttrKind kind); // "int", "floats", ...
// The kind declared for the name; false where the rules have none of this name.
bool attr_rule_find(const char *rules, const char *name, AttrKind *out);
// The declared name nearest to the given one, or NULL.
const char *attr_rule_nearest(const char *rules, const char *name, Arena *a);
// Every attribute is declared, once, of its kind; none that must be there is missing. owner
// ("softmax") is who has them. Errors P0608 at loc.
bool attr_rule_check(const char *rules, const char *owner, const Attr *attr, int attr_count,
                     Loc loc, Diag *d);

#endif
