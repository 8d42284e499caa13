// A run is a device and those who observe it: this file hands over what it is asked.
#include "runtime/run.h"

#include "runtime/device.h"
#include "runtime/error.h"

#include <stdlib.h>

struct PlimRun {
    const DeviceOps *ops;
    void *device;
    Observers observers;
};

PlimStatus run_new(const Plan *p, PlimKernelFn *const *kernel, const RunOptions *options,
                   PlimRun **out, PlimError *error) {
    if (p->peers > 0)
        return error_set(error, PLIM_BAD_INPUT,
                         "this program is for %u processes that run together, which can't find "
                         "each other yet: only programs for one can be run",
                         p->peers + 1);
    PlimRun *r = calloc(1, sizeof *r);
    if (!r)
        return error_set(error, PLIM_NO_MEMORY, "out of memory: the run needs %zu bytes",
                         sizeof *r);
    r->ops = plan_is_cuda(p) ? &device_cuda : &device_cpu;
    const PlimStatus status = r->ops->open(p, kernel, options, &r->device, error);
    if (status != PLIM_OK) {
        run_release(r);
        return status;
    }
    *out = r;
    return PLIM_OK;
}

void run_release(PlimRun *r) {
    if (!r)
        return;
    r->ops->release(r->device);
    free(r);
}

PlimStatus run_entry_without(PlimRun *r, const PlanEntry *entry, const bool *unwanted,
                             PlimError *error) {
    observers_begin(&r->observers);
    const DeviceCall call = {.entry = entry, .unwanted = unwanted, .observers = &r->observers};
    return r->ops->run(r->device, &call, error);
}

PlimStatus run_entry(PlimRun *r, const PlanEntry *entry, PlimError *error) {
    return run_entry_without(r, entry, NULL, error);
}

PlimStatus run_entry_apart(PlimRun *r, const PlanEntry *entry, PlimError *error) {
    observers_begin(&r->observers);
    const DeviceCall call = {.entry = entry, .apart = true, .observers = &r->observers};
    return r->ops->run(r->device, &call, error);
}

PlimStatus run_write(PlimRun *r, uint32_t buffer, uint64_t offset, const void *from, uint64_t bytes,
                     PlimError *error) {
    return r->ops->write(r->device, (char *)run_address(r, buffer) + offset, from, bytes, error);
}

PlimStatus run_read(PlimRun *r, uint32_t buffer, uint64_t offset, void *to, uint64_t bytes,
                    PlimError *error) {
    return r->ops->read(r->device, to, (char *)run_address(r, buffer) + offset, bytes, error);
}

PlimStatus run_tune(PlimRun *r, FILE *out, PlimError *error) {
    if (!r->ops->tune)
        return error_set(error, PLIM_BAD_INPUT,
                         "this program was compiled for the CPU, which has no algorithms to "
                         "choose from");
    return r->ops->tune(r->device, out, error);
}

const void *run_operand(const RunMoment *at, uint32_t operand, PlimError *error) {
    return at->show ? at->show(at, operand, error) : at->operand[operand];
}

void run_observe(PlimRun *r, const RunObserver *observer) {
    observers_add(&r->observers, observer);
}

void run_forget(PlimRun *r, const RunObserver *observer) {
    observers_remove(&r->observers, observer);
}

int run_workers(const PlimRun *r) {
    return r->ops->workers(r->device);
}

void *run_address(const PlimRun *r, uint32_t buffer) {
    return r->ops->address(r->device, buffer);
}

bool run_shows(const PlimRun *r, uint32_t buffer) {
    return r->ops->shows && r->ops->shows(r->device, buffer);
}

uint64_t run_arena_bytes(const PlimRun *r) {
    return r->ops->arena_bytes(r->device);
}

const char *run_far_folder(const PlimRun *r, const char **caveat) {
    return r->ops->far_folder ? r->ops->far_folder(r->device, caveat) : NULL;
}

RunDevice run_device(const PlimRun *r) {
    return (RunDevice){.ops = r->ops, .device = r->device};
}
