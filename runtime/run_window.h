// A window: a stretch of a buffer in the program's memory, so that states of any size are saved and
// loaded piece by piece. Where the buffer is in the program's own memory it is the arena itself,
// whole and without a copy; for far memory and GPUs it is a room of a few MiB.
#ifndef PLIM_RUNTIME_RUN_WINDOW_H
#define PLIM_RUNTIME_RUN_WINDOW_H

#include "runtime/device.h"

typedef struct {
    RunDevice on;
    PlimRun *run;
    DeviceChannel channel;
    bool direct;     // what is at hand is the program's own memory
    char *address;   // of what is being written, in the device's memory
    uint64_t bytes;  // of it
    PlimError error; // of the first that failed
    PlimStatus status;
} RunWindow;

// For use by one thread at a time, also while entries run. The run outlives it.
PlimStatus window_open(PlimRun *r, RunWindow *out, PlimError *error);
void window_close(RunWindow *w); // of one that is all zero: nothing

// At most bytes of the buffer from offset on: *got of them, all of them or a multiple of 64, until
// the next call. NULL where the device fails, with errno set to EIO.
const void *window_read(RunWindow *w, uint32_t buffer, uint64_t offset, uint64_t bytes,
                        uint64_t *got);
// Room for at most bytes on their way there; *got as above. window_write takes them to the buffer
// when they stand in it, and is false, with errno, where the device fails.
void *window_room(RunWindow *w, uint32_t buffer, uint64_t offset, uint64_t bytes, uint64_t *got);
bool window_write(RunWindow *w);
// The status, and the sentence, of the first call that failed.
PlimStatus window_status(const RunWindow *w, PlimError *error);

#endif
