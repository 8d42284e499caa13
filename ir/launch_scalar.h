// How a scalar kernel's points are dealt to a GPU's threads: what kernel_launches counts by and the
// printer prints. The shape of every sum follows from it, so it depends on the kernel alone.
#ifndef PLIM_IR_LAUNCH_SCALAR_H
#define PLIM_IR_LAUNCH_SCALAR_H

#include "ir/kernel_members.h"
#include "ir/scalar_walks.h"

typedef enum {
    SCALAR_POINTS,  // ROWS without reductions: a thread takes `batch` vectors of `lanes` columns
    SCALAR_TILES,   // the same, with loads against their strides: blocks of rows along the dim
                    // `turned` by columns, through shared memory; codegen/cuda_print_tiles.c
    SCALAR_TEAM,    // ROWS with them: a row to `team` neighbouring threads
    SCALAR_SPLIT,   // few, long rows: a row to `parts` blocks, one launch a walk
    SCALAR_SCATTER, // COLUMNS that add many rows by index: sorted first;
                    // codegen/cuda_print_scatter.c
    SCALAR_COLUMNS  // COLUMNS: `team` threads side by side, block / team of them down the rows
} ScalarShape;

typedef struct {
    ScalarShape shape;
    int lanes; // neighbouring columns of a vector: 1, 2, 4 or 8
    int batch; // vectors of a thread whose loads are under way together
    int team;  // threads; see ScalarShape
    int block; // threads
    bool kept; // TEAM: a row's data stay in registers; batch is then all vectors of a thread
    int64_t rows, columns; // all of them
    int64_t parts,
        part;      // SPLIT: of a row, and columns of one. COLUMNS: of all rows, and rows of one
    int64_t tiles; // COLUMNS: blocks side by side
    int turned;    // TILES: the dim along which they are contiguous
} ScalarLaunch;

enum {
    SCALAR_TILE_ROWS = 32,
    SCALAR_TILE_COLUMNS = 64,
    SCATTER_RANGE = 128, // places of a block of the first launch
    SCATTER_PIECE = 64   // sorted rows of a block of the others
};

// The members that have blocks of their own, each as many as the launch of one; all in POINTS.
KernelMembers scalar_members(Arena *a, const Kernel *k);
ScalarLaunch scalar_launch(const ScalarWalks *w);
// Neighbouring elements that operation i, a load or store along the column, can access at once: 1,
// 2, 4, 8.
int scalar_access(const ScalarWalks *w, KRef i);
// A load along the column that is against its operand's strides: contiguous along the dim instead.
bool scalar_is_turned(const ScalarWalks *w, KRef i, int dim);
// A load along the column that a walk of a row in registers keeps for the others.
bool scalar_keeps_load(const ScalarWalks *w, KRef i, int walks_needing);

#endif
