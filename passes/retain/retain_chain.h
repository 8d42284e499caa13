// The forward as a chain of blocks that little goes between, each with its part of what follows.
#ifndef PLIM_PASSES_RETAIN_RETAIN_CHAIN_H
#define PLIM_PASSES_RETAIN_RETAIN_CHAIN_H

#include "passes/retain/retain_index.h"

enum { RETAIN_BLOCKS_MAX = 128 };

// A value belongs to the block whose forward reads it last, or to its maker's; it is decided there
// what becomes of it. What goes into a block from before belongs to that block.
typedef struct {
    const RetainIndex *x;
    int count;                  // blocks
    int *begin;                 // forward tasks of block b: begin[b] .. begin[b + 1]
    int *back;                  // its later tasks: back[b + 1] .. back[b], of the last one first
    int *home;                  // by value: its block; -1: kept always, or not of the forward
    int *last;                  // by value of a block: the block after whose later tasks it is lost
    int *member, *member_begin; // values by block, in order
    int *cross, *cross_begin;   // values by block that are made before it, read in it or after
    int64_t *enters;            // by block: bytes of those
    int64_t *once;              // by block: bytes of its values that must not be lost
    int64_t always;             // bytes of what is kept always
    int64_t *late;              // by later task: bytes that later tasks made, before it runs
    int64_t *forward, *later;   // by block: picoseconds of its tasks
} RetainChain;

RetainChain *retain_chain(const RetainIndex *x, Arena *a);
// The value comes from before its block.
bool retain_enters(const RetainChain *c, int value);

#endif
