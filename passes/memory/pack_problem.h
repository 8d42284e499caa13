// A packing problem as the searches see it: times cut to the sections that matter, bytes counted
// in steps of the grid.
#ifndef PLIM_PASSES_MEMORY_PACK_PROBLEM_H
#define PLIM_PASSES_MEMORY_PACK_PROBLEM_H

#include "passes/memory/pack.h"

// Sections from lo to hi, hi not included.
typedef struct {
    int32_t lo, hi;
} PackRun;

// An item that takes room.
typedef struct {
    uint64_t size;      // grid steps
    uint64_t alignment; // grid steps, at least 1
    uint64_t offset;    // grid steps, where fixed
    bool fixed;
    int32_t lo, hi;    // from its first section to behind its last, gaps included
    int32_t run_count; // more than one: it has gaps
    const PackRun *run;
    uint32_t index; // of the PackItem
} PackPart;

typedef struct {
    int count;
    PackPart *part;
    int section_count;
    uint64_t *load; // by section, grid steps
    uint32_t *time; // by section: a time in it
    uint64_t grid;  // bytes a step: divides sizes, alignments and fixed offsets
    uint64_t bound; // grid steps: the largest load, or the top of what is fixed
    int peak;       // a section with the largest load
    bool has_gaps, has_fixed, has_alignment; // any part
} PackProblem;

PackProblem *pack_problem_create(const PackItem *item, int count, Arena *a);
// Whether they live in one section.
bool pack_parts_meet(const PackPart *x, const PackPart *y);

#endif
