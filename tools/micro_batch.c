// The walk over the sizes a micro-batch can have, in a fixed order, so that the same input gives
// the same choice. What does not fit costs a trial and counts for nothing: activations fall with
// the size.
#include "tools/micro_batch.h"

int64_t micro_batch_choose(int64_t batch, MicroBatchTrial *trial, void *user) {
    enum { SLOWER_MAX = 2 };
    int64_t best = 0;
    uint64_t least = UINT64_MAX;
    int slower = 0;
    // Parts rise as sizes fall.
    for (int64_t parts = 1; parts <= batch && slower < SLOWER_MAX; parts++) {
        uint64_t time;
        if (batch % parts != 0 || !trial(user, batch / parts, &time))
            continue;
        slower = time < least ? 0 : slower + 1;
        if (time < least) {
            best = batch / parts;
            least = time;
        }
    }
    return best;
}
