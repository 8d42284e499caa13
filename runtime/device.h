// What can execute a plan: the CPU (device_cpu.c), or a GPU through CUDA's driver (device_cuda.c).
// run.c gives each plan the device that its target names; nothing else knows which one it is.
#ifndef PLIM_RUNTIME_DEVICE_H
#define PLIM_RUNTIME_DEVICE_H

#include "runtime/observers.h"

// A way between the device's memory and the program's, for one thread at a time.
typedef struct {
    char *room;     // the program's side
    uint64_t bytes; // of it
    void *own;      // what the device needs
} DeviceChannel;

// One execution of an entry.
typedef struct {
    const PlanEntry *entry;
    const bool *unwanted; // by number in the program, or NULL: everything is executed
    bool apart;           // instructions that the device would compute together are not
    Observers *observers;
} DeviceCall;

typedef struct {
    // As run_new says; *out is released by release, also where this fails half-way.
    PlimStatus (*open)(const Plan *p, PlimKernelFn *const *kernel, const RunOptions *options,
                       void **out, PlimError *error);
    void (*release)(void *device);
    int (*workers)(const void *device);
    uint64_t (*arena_bytes)(const void *device); // of the spaces in its own memory
    void *(*address)(const void *device, uint32_t buffer);
    // Whether the program may look at what stands at the buffer's address; NULL: nowhere.
    bool (*shows)(const void *device, uint32_t buffer);
    // As run_far_folder says; NULL where nothing is kept on a disk.
    const char *(*far_folder)(const void *device, const char **caveat);
    PlimStatus (*run)(void *device, const DeviceCall *call, PlimError *error);
    // As run_tune says; NULL where there is nothing to measure.
    PlimStatus (*tune)(void *device, FILE *out, PlimError *error);

    // On the thread that runs entries, between them: from is free to change afterwards, and what
    // runs next sees the bytes.
    PlimStatus (*write)(void *device, char *address, const void *from, uint64_t bytes,
                        PlimError *error);
    PlimStatus (*read)(void *device, void *to, const char *address, uint64_t bytes,
                       PlimError *error);
    // For any thread, while entries run. A channel has no room where all addresses are the
    // program's own.
    PlimStatus (*channel_open)(void *device, DeviceChannel *out, PlimError *error);
    void (*channel_close)(void *device, DeviceChannel *channel); // *channel may be all zero
    // Bytes from the address to the room's beginning, or the other way, and waits for them.
    PlimStatus (*pull)(void *device, const DeviceChannel *c, const char *address, uint64_t bytes,
                       PlimError *error);
    PlimStatus (*push)(void *device, const DeviceChannel *c, char *address, uint64_t bytes,
                       PlimError *error);
} DeviceOps;

extern const DeviceOps device_cpu, device_cuda;

// The interface of a run to its windows.
typedef struct {
    const DeviceOps *ops;
    void *device;
} RunDevice;
RunDevice run_device(const PlimRun *r);

#endif
