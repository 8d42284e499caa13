// What has to run again in a block where not everything is kept.
#ifndef PLIM_PASSES_RETAIN_RETAIN_CLOSURE_H
#define PLIM_PASSES_RETAIN_RETAIN_CLOSURE_H

#include "passes/retain/retain_block.h"

// Room for the closures of any block, made once.
typedef struct {
    const RetainChain *c;
    RetainFate *fate; // by value; members of the block at hand are its own
    bool *again;      // by task
    int64_t time;     // of tasks that run again
} RetainClosure;

RetainClosure *retain_closure(const RetainChain *c, Arena *a);
// Is the member read after the forward?
bool retain_is_wanted(const RetainChain *c, int value);
// May it be made again within the block, from what is kept there?
bool retain_within(const RetainChain *c, int block, int value);
// Finds what runs again given which members are kept or moved; members that can't be made again but
// are needed become kept. From fate into way, which has fate's room: totals too.
void retain_close(RetainClosure *z, int block, RetainWay *way);
// Closes the way of these fates and adds it to the block's, a copy in a, unless it is there.
void retain_way_add(RetainClosure *z, int block, RetainBlock *ways, const RetainFate *fate,
                    Arena *a);

#endif
