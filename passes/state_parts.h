// A state's next version that comes in parts, and who reads which part of the old one.
#ifndef PLIM_PASSES_STATE_PARTS_H
#define PLIM_PASSES_STATE_PARTS_H

#include "ir/module.h"
#include "passes/place.h"

// One operand of a node that reads an old version, directly or through views.
typedef struct StateReader StateReader;
struct StateReader {
    const Node *node; // no view
    int input;
    Place place;      // in the state; storage is not set
    bool anywhere;    // a view that strides can't say: place is that of the whole state
    const StateReader *next;
};

// first[state id]: its readers, the last one first.
const StateReader **state_readers(const Module *m, const Graph *g, Arena *a);

typedef struct {
    const Value *value;
    Place place; // in the state; storage is not set
} StatePart;

// What is joined to v by concats of concats, in order; v itself where it is none. In a.
StatePart *state_parts(const Value *v, Arena *a, int *count);
// Whether the reader's bytes and the part's have any in common.
bool state_part_is_read(const StatePart *part, const StateReader *reader);

#endif
