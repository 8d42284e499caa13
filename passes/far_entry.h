// One entry while its far states are rewritten: what is known of its graph as it was, and what has
// been built of it so far. For the files that take part in passes/far_states.c alone.
//
// Tables by value id are about the graph as it was: ask far_entry_is_old where a value may be new.
#ifndef PLIM_PASSES_FAR_ENTRY_H
#define PLIM_PASSES_FAR_ENTRY_H

#include "passes/pass.h"
#include "passes/rewrite.h"

// FAR_FETCHES_MAX: of one state in the nodes that run once a micro-batch.
enum { FAR_FETCHES_MAX = 4 };

// What is known of a state's readers, but for those of the update.
typedef struct {
    int64_t widest_gap[FAR_FETCHES_MAX]; // falling: bytes of far state that others read in between
    int after_last;                      // position of the last reader so far + 1; 0: none yet
} FarReaders;

// The copies of far states that nodes read, which a later fetch replaces.
typedef struct {
    Value **fetched;  // by state id: its latest fetch; NULL: none yet
    int *fetch_count; // by state id: how many fetches there were
    Value **view;     // by value id: this view of a far state, but of one of its fetches
    int *view_fetch;  // by value id: the fetch_count that view is of; 0: there is none
} FarCopies;

// What was built, for remarks and for whether the rung adds anything.
typedef struct {
    int fetches;           // of whole states
    int update_slices;     // of all updates
    int host_slices;       // of them: those that the host computes
    int shareable_slices;  // of them: those that it could have computed
    int waiting_gradients; // whole ones and such as are made in tiles
    int sums, sum_pieces;  // over micro-batches
    int tiles;             // of weights and gradients
    int scattered;         // gradients of looked-up tables that are made where they are read
} FarCounts;

typedef struct FarSum FarSum; // of far_sums.c

typedef struct {
    PassCtx *cx;
    const Module *m;
    Graph *g;
    size_t slice_bytes; // of a state that an update has in device memory, about
    const bool *moved;  // by state id: this rewriting moves it to far memory
    Rewrite rw;         // the walk: rw.old has the nodes as they were
    FarCounts counts;

    // As it was: far_entry_init.
    const State **state_of; // by value id: the moved state that it is or is a view of, or NULL
    bool *is_committed;     // by value id: it is some state's next version
    const int *use_count;   // by value id: operands, results and commits

    // Fetches: far_fetches.h.
    int64_t *bytes_before;   // by position: bytes of far state that nodes before it read
    FarReaders *readers;     // by state id
    FarCopies body_copies;   // for nodes that run once a micro-batch
    FarCopies update_copies; // for nodes of the update

    // Large weights: far_weights.h.
    int64_t *tile_rows;   // by state id: rows of its tiles; 0: it is read whole
    Value **uncast_state; // by value id: the value of the moved state that it is or is cast from

    // Gradients: far_gradients.h.
    bool *waits;             // by value id: it waits for its update in far memory
    Value **sent_copy;       // by value id: what waits of it in far memory, once it is there
    bool *is_made;           // by value id: it is made in tiles, never whole
    int64_t *made_tile_rows; // by value id: rows of these tiles
    Node **square_sums;      // by value id: the node that sums the squares of each row, or NULL

    // Sums over micro-batches: far_sums.h.
    FarSum **sum;        // by value id of a sum that lives in far memory, or NULL
    const Node **sum_of; // by value id: the far sum that it is added to, or NULL
    const Value *
        *sum_under; // by value id: the sum it is made of in slices, for an update or a norm

    // Updates: far_updates.h.
    Value **host_scalar; // by value id: a copy that the host's slices read, once there is one
} FarEntry;

// Takes the nodes out of far->g and finds what is known of it. cx, m, g, slice_bytes and moved are
// set, all else is zero.
void far_entry_init(FarEntry *far);
// Whether v was there before the rewriting, so that the tables by value id know it.
bool far_entry_is_old(const FarEntry *far, const Value *v);
// The moved state that v is or is a view of; NULL where it is none, or new.
const State *far_entry_state(const FarEntry *far, const Value *v);

#endif
