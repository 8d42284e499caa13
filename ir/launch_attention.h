// Geometry of attention's kernels on a GPU: what each launch makes, by which template, in tiles of
// which sizes. Counted by here, printed by codegen/cuda_attention.c.
#ifndef PLIM_IR_LAUNCH_ATTENTION_H
#define PLIM_IR_LAUNCH_ATTENTION_H

#include "ir/launch.h"

typedef enum {
    ATTENTION_FORWARD, // out and log-sum-exp
    ATTENTION_DELTA,   // the sums of dout * out, to the workspace
    ATTENTION_DQ,
    ATTENTION_DK,
    ATTENTION_DV,
    ATTENTION_DKV,    // both
    ATTENTION_VALUES, // what the next needs of queries, to the workspace, which it makes ready
    ATTENTION_ALL,    // dk, dv, and dq's f32 sums, to the workspace
    ATTENTION_NARROW, // dq of its sums
    ATTENTION_DBIAS,  // of what is added to scores
    ATTENTION_SPLIT,  // of one query: unfinished results of splits of the keys, to the workspace
    ATTENTION_JOIN    // out and log-sum-exp of those
} AttentionPart;

enum {
    ATTENTION_PLAIN_ROWS = 32,     // rows of a block without tensor cores
    ATTENTION_PLAIN_COLUMNS = 128, // of its result
    ATTENTION_DELTA_ROWS = 16      // queries of a block
};

// What multiplies.
typedef enum {
    ATTENTION_PLAIN, // threads, f32: any dtype and dims
    ATTENTION_WARPS, // tensor cores by warps: sm_80 and later
    ATTENTION_GROUPS // tensor cores by groups of four warps: sm_90a
} AttentionUnit;

typedef struct {
    AttentionPart part;
    AttentionUnit unit; // ATTENTION_PLAIN: the fields from warps to splits are 0
    int warps;          // that multiply, 16 x fragments rows each; with groups four more copy
    int fragments;
    int tile;     // rows of the other operand at a time
    int stages;   // such tiles in shared memory
    int resident; // blocks of a multiprocessor that registers and shared memory are meant for
    int splits;   // of a group's keys: ATTENTION_SPLIT, ATTENTION_JOIN
    int threads;  // of a block
    int64_t blocks;
    int64_t shared; // bytes of a block
    // Of q, k, v and, for gradients, dout; 0: threads copy.
    int map_count;
    KernelMap map[KERNEL_MAPS_MAX];
} AttentionLaunch;

typedef struct {
    int count;
    AttentionLaunch launch[KERNEL_LAUNCHES_MAX];
    size_t workspace; // bytes; delta [batch, heads, queries], or the splits' results
    // Of the workspace with ATTENTION_ALL: log-sum-exp and delta of each tile of queries, then from
    // where on dq's sums, and how many blocks have added to them.
    size_t sums, turns;
    int64_t tiles; // of queries, of all heads
} AttentionLaunches;

void attention_launches(const Kernel *k, GpuArch arch, AttentionLaunches *out);

#endif
