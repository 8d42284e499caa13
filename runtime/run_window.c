// The sentence of a failed copy is kept here, because those who write files report by errno.
#include "runtime/run_window.h"

#include <errno.h>

PlimStatus window_open(PlimRun *r, RunWindow *out, PlimError *error) {
    *out = (RunWindow){.on = run_device(r), .run = r};
    return out->on.ops->channel_open(out->on.device, &out->channel, error);
}

void window_close(RunWindow *w) {
    if (w->on.ops)
        w->on.ops->channel_close(w->on.device, &w->channel);
    *w = (RunWindow){0};
}

// False, once and for all, where a copy failed.
static bool note(RunWindow *w, PlimStatus status) {
    w->status = status;
    if (status != PLIM_OK)
        errno = EIO;
    return status == PLIM_OK;
}

void *window_room(RunWindow *w, uint32_t buffer, uint64_t offset, uint64_t bytes, uint64_t *got) {
    w->address = (char *)run_address(w->run, buffer) + offset;
    w->direct = run_shows(w->run, buffer);
    w->bytes = !w->direct && w->channel.bytes < bytes ? w->channel.bytes : bytes;
    *got = w->bytes;
    return w->direct ? w->address : w->channel.room;
}

const void *window_read(RunWindow *w, uint32_t buffer, uint64_t offset, uint64_t bytes,
                        uint64_t *got) {
    const void *at = window_room(w, buffer, offset, bytes, got);
    if (w->status == PLIM_OK && !w->direct)
        note(w, w->on.ops->pull(w->on.device, &w->channel, w->address, w->bytes, &w->error));
    return note(w, w->status) ? at : NULL;
}

bool window_write(RunWindow *w) {
    if (w->status == PLIM_OK && !w->direct)
        note(w, w->on.ops->push(w->on.device, &w->channel, w->address, w->bytes, &w->error));
    return note(w, w->status);
}

PlimStatus window_status(const RunWindow *w, PlimError *error) {
    if (w->status != PLIM_OK)
        *error = w->error;
    return w->status;
}
