// Which states live in far memory, on one rung of the ladder.
#ifndef PLIM_PASSES_FAR_CHOICE_H
#define PLIM_PASSES_FAR_CHOICE_H

#include "passes/far_states.h"

// The rung adds states of this one's kind to what the rung before has.
bool far_is_added(const State *s, const FarStatesOptions *o);

// By state's id, in moved: whether it goes. o->least is set. Of the kind that the rung adds,
// o->sixteenths of its bytes go, or all, as nearly as the states' sizes allow.
void far_choose(const Module *m, const FarStatesOptions *o, bool *moved, Arena *a);

#endif
