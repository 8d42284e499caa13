// Independent work on several processors.
#ifndef PLIM_IR_FORK_JOIN_H
#define PLIM_IR_FORK_JOIN_H

// How many pieces it is worth to have at hand: processors there are, between 1 and 8.
int fork_join_width(void);

// Calls work(user, i) for all i < count, each once, on threads of its own and the caller's, and
// returns when all are done. Pieces must write to different places, so that what comes out doesn't
// depend on how many run at a time; they may start processes.
void fork_join(int count, void (*work)(void *user, int index), void *user);

#endif
