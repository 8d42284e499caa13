// What may become of the values of one block: ways from keeping everything to keeping next to
// nothing, with what each saves and costs.
#ifndef PLIM_PASSES_RETAIN_RETAIN_BLOCK_H
#define PLIM_PASSES_RETAIN_RETAIN_BLOCK_H

#include "passes/retain/retain_chain.h"
#include "passes/retain/retain_write.h"

enum { RETAIN_WAYS_MAX = 64 };

typedef struct {
    RetainFate *fate; // by member of the block
    int64_t kept;     // bytes of them
    int64_t again;    // picoseconds of what runs again
    int64_t out, in;  // picoseconds of copies
} RetainWay;

// Bytes of a block's tasks: its values, their own, and for later tasks what they make; without
// values of other blocks.
typedef struct {
    int64_t forward, later;
} RetainPeak;

typedef struct {
    int count;
    RetainWay *way;   // the first one keeps only what enters and what must not be lost
    RetainPeak *peak; // by way
    // Where what later tasks read of the next block's values is lost before they run.
    int64_t lost_again, lost_peak; // of the first way
    int64_t tail;                  // bytes of those values
} RetainBlock;

typedef struct {
    int64_t nodes; // of an integer program, 0: its default
    bool far;      // values may be moved
} RetainWays;

// All blocks. Equal blocks have equal ways; degraded counts integer programs that failed.
RetainBlock *retain_blocks(const RetainChain *c, RetainWays options, int *degraded, Arena *a);

#endif
