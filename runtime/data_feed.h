// What one input of an entry is fed with: the same tensor of several files, one behind the other.
#ifndef PLIM_RUNTIME_DATA_FEED_H
#define PLIM_RUNTIME_DATA_FEED_H

#include "runtime/data_file.h"
#include "runtime/data_order.h"

// How an entry uses its data.
typedef struct {
    DataPart part;
    double holdout; // 0: nothing; below 1: a share of the data; else a number of examples or tokens
    bool shuffle;
    uint64_t seed;
} DataUse;

typedef struct DataFeed DataFeed;

// A tensor [rows, ...] has an example a row: all axes but the first must be the input's. A tensor
// with one axis that feeds an i32 input [batch, length] holds tokens. They are cut into windows
// that begin length - 1 apart, so that each row's last token is the next one's first; windows go on
// from one file into the next. Examples are held out by seed, tokens at the end of the data.
// u8 becomes a float as x / 255, no other integer does; other types convert as weights do.
// Files and input outlive the feed; the caller releases *out. PLIM_BAD_INPUT with a sentence that
// names the file where the files can't feed the input, or hold not one example of the part.
PlimStatus feed_new(const DataFile *file, int count, const PlanInput *input, const DataUse *use,
                    DataFeed **out, PlimError *error);
void feed_release(DataFeed *f); // NULL is allowed

// Examples of the part, and those one step takes (all slots).
uint64_t feed_examples(const DataFeed *f);
uint64_t feed_step_examples(const DataFeed *f);
// Tokens (or examples, where rows have no length) that one step trains on.
uint64_t feed_step_tokens(const DataFeed *f);
// Bytes of one step, and what one step's examples are: those numbered from step *
// feed_step_examples on, through all passes, written to out. Values outside the input's bound are
// an error that names file and value.
uint64_t feed_step_bytes(const DataFeed *f);
PlimStatus feed_fill(const DataFeed *f, uint64_t step, void *out, PlimError *error);

#endif
