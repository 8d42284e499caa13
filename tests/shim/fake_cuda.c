// A libcuda.so.1 for machines without a GPU: what runtime/device_cuda calls, on the CPU's memory.
// It is no emulator: kernels are functions of a shared object that was made from the printed CUDA
// text.
//
// Environment:
//   PLIM_FAKE_KERNELS=FILE[:FILE...]   shared objects; kernel NAME is their NAME__host
//   PLIM_FAKE_SEED=N                   order of streams: see fake_streams.h
//   PLIM_FAKE_DEVICE=MAJOR.MINOR       compute capability (9.0); 0.0: no device
//   PLIM_FAKE_VERSION=N                of CUDA that the driver supports (13000)
//   PLIM_FAKE_MEMORY=BYTES             of the device (16 GiB)
//   PLIM_FAKE_PINNED=BYTES             most of one allocation of pinned memory (no limit)
//   PLIM_FAKE_FAIL=CALL:NUMBER:STATUS  that call of a function gives that status; STATUS! : and
//   every
//                                      call of any function after it, as after an illegal address
//   PLIM_FAKE_CALLS=FILE               at the end, how often each function was called
// Device memory is filled with a pattern, and every copy must lie inside it or in pinned memory.
#include "fake_streams.h"
#include "tensor_map.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define API __attribute__((visibility("default")))

enum {
    INVALID = 1,
    NO_MEMORY = 2,
    NO_DEVICE = 100,
    BAD_CONTEXT = 201,
    NOT_FOUND = 500,
    LAUNCH_FAILED = 719
};
enum {
    RANGES_MAX = 4096,
    LIBRARIES_MAX = 16,
    NAMES_MAX = 64,
    PARAMETERS_MAX = 256,
    MAPS_MAX = 4,
    MAP_BYTES = 128,
    PATTERN = 0xA5
};

typedef struct {
    char *at;
    size_t bytes;
    bool device;
} Range;

typedef struct {
    char name[64];
    int shared; // granted bytes a block
    int (*host)(void **arguments, unsigned x, unsigned y, unsigned z, unsigned block,
                size_t shared);
    const unsigned *bytes; // of each parameter, then 0; NULL: 8 each, as many as are given
} Function;

static Range range[RANGES_MAX];
static struct {
    const char *name;
    long count;
} called[NAMES_MAX];
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int broken;                      // the status that every call gives from now on
static _Thread_local bool in_host_call; // of cuLaunchHostFunc
static size_t taken;
static int modules, contexts;
// Of a thread; the last one is current. The primary one, which the driver gives out, is &contexts.
static _Thread_local struct {
    void *at[8];
    int count;
} stack;

static const char *setting(const char *name, const char *otherwise) {
    const char *value = getenv(name);
    return value && *value ? value : otherwise;
}

__attribute__((destructor)) static void tell_calls(void) {
    const char *path = getenv("PLIM_FAKE_CALLS");
    FILE *out = path ? fopen(path, "w") : NULL;
    for (int i = 0; out && i < NAMES_MAX && called[i].name; i++)
        fprintf(out, "%s %ld\n", called[i].name, called[i].count);
    if (out)
        fclose(out);
}

// Counts the call; what it must give, or 0.
static int enter(const char *name) {
    if (in_host_call) {
        fprintf(stderr, "fake driver: %s is called on a stream's turn\n", name);
        abort();
    }
    pthread_mutex_lock(&lock);
    int i = 0, status = broken;
    while (called[i].name && strcmp(called[i].name, name) != 0)
        i++;
    called[i].name = name;
    called[i].count++;
    const char *fail = getenv("PLIM_FAKE_FAIL");
    const size_t length = strlen(name);
    char *end = NULL;
    if (fail && strncmp(fail, name, length) == 0 && fail[length] == ':') {
        const char *which = fail + length + 1;
        const bool every = *which == '*';
        if (every)
            status = (int)strtol(which + 2, &end, 10);
        else if (strtol(which, &end, 10) == called[i].count && *end == ':')
            status = (int)strtol(end + 1, &end, 10);
        else
            end = NULL;
    }
    if (end) {
        if (*end == '!')
            broken = status;
    }
    pthread_mutex_unlock(&lock);
    return status;
}

static void *current(void) {
    return stack.count ? stack.at[stack.count - 1] : NULL;
}

#define ENTER(name)                                                                                \
    const int failed = enter(name);                                                                \
    if (failed)                                                                                    \
    return failed
// The same for what needs a current context.
#define ENTER_CONTEXT(name)                                                                        \
    ENTER(name);                                                                                   \
    if (current() != &contexts)                                                                    \
    return BAD_CONTEXT

API int cuInit(unsigned flags) {
    fake_seed(strtoull(setting("PLIM_FAKE_SEED", "2"), NULL, 10));
    (void)flags;
    ENTER("cuInit");
    return strcmp(setting("PLIM_FAKE_DEVICE", "9.0"), "0.0") == 0 ? NO_DEVICE : 0;
}

API int cuDriverGetVersion(int *version) {
    ENTER("cuDriverGetVersion");
    *version = atoi(setting("PLIM_FAKE_VERSION", "13000"));
    return 0;
}

// Never made to fail: they are how failures are told.
API int cuGetErrorName(int error, const char **text) {
    *text = error == NO_MEMORY ? "CUDA_ERROR_OUT_OF_MEMORY"
            : error == 700     ? "CUDA_ERROR_ILLEGAL_ADDRESS"
            : error == 719     ? "CUDA_ERROR_LAUNCH_FAILED"
                               : "CUDA_ERROR_FAKE";
    return 0;
}

API int cuGetErrorString(int error, const char **text) {
    *text = error == 700 ? "an illegal memory access was encountered" : "made to fail";
    return 0;
}

API int cuDeviceGetCount(int *count) {
    ENTER("cuDeviceGetCount");
    *count = 1;
    return 0;
}

API int cuDeviceGet(int *device, int ordinal) {
    ENTER("cuDeviceGet");
    *device = ordinal;
    return ordinal == 0 ? 0 : INVALID;
}

API int cuDeviceGetName(char *name, int size, int device) {
    (void)device;
    ENTER("cuDeviceGetName");
    snprintf(name, (size_t)size, "Fake GPU");
    return 0;
}

API int cuDeviceGetAttribute(int *value, int attribute, int device) {
    (void)device;
    ENTER("cuDeviceGetAttribute");
    const char *text = setting("PLIM_FAKE_DEVICE", "9.0");
    *value = attribute == 75 ? atoi(text) : atoi(strchr(text, '.') + 1);
    return attribute == 75 || attribute == 76 ? 0 : INVALID;
}

API int cuDevicePrimaryCtxRetain(void **context, int device) {
    (void)device;
    ENTER("cuDevicePrimaryCtxRetain");
    contexts++;
    *context = &contexts;
    return 0;
}

API int cuDevicePrimaryCtxRelease_v2(int device) {
    (void)device;
    ENTER("cuDevicePrimaryCtxRelease_v2");
    contexts--;
    // What was taken has been given back, unless a call was made to fail.
    if (contexts == 0 && taken > 0 && !getenv("PLIM_FAKE_FAIL")) {
        fprintf(stderr, "fake driver: %zu bytes were never freed\n", taken);
        abort();
    }
    return 0;
}

API int cuCtxPushCurrent_v2(void *context) {
    ENTER("cuCtxPushCurrent_v2");
    if (stack.count == (int)(sizeof stack.at / sizeof stack.at[0]))
        return INVALID;
    stack.at[stack.count++] = context;
    return 0;
}

// Pops even where it tells of an earlier error, as CUDA's does.
API int cuCtxPopCurrent_v2(void **context) {
    const int failed = enter("cuCtxPopCurrent_v2");
    if (stack.count == 0)
        return BAD_CONTEXT;
    *context = stack.at[--stack.count];
    return failed;
}

// These two are a caller's of its own: never made to fail.
API int cuCtxSetCurrent(void *context) {
    stack.at[0] = context;
    stack.count = 1;
    return 0;
}

API int cuCtxGetCurrent(void **context) {
    *context = current();
    return 0;
}

static size_t device_bytes(void) {
    return (size_t)strtoull(setting("PLIM_FAKE_MEMORY", "17179869184"), NULL, 10);
}

API int cuMemGetInfo_v2(size_t *available, size_t *total) {
    ENTER_CONTEXT("cuMemGetInfo_v2");
    *total = device_bytes();
    *available = *total - taken;
    return 0;
}

static int range_add(size_t bytes, bool device, void **out) {
    void *at = NULL;
    if ((device && bytes > device_bytes()) || posix_memalign(&at, 256, bytes ? bytes : 1) != 0)
        return NO_MEMORY;
    memset(at, PATTERN, bytes);
    pthread_mutex_lock(&lock);
    int i = 0;
    while (i < RANGES_MAX && range[i].at)
        i++;
    if (i < RANGES_MAX)
        range[i] = (Range){at, bytes, device};
    taken += bytes;
    pthread_mutex_unlock(&lock);
    *out = at;
    return i < RANGES_MAX ? 0 : NO_MEMORY;
}

static int range_remove(void *at, bool device) {
    pthread_mutex_lock(&lock);
    int i = 0;
    while (i < RANGES_MAX && (range[i].at != at || range[i].device != device))
        i++;
    if (i < RANGES_MAX) {
        taken -= range[i].bytes;
        range[i] = (Range){0};
    }
    pthread_mutex_unlock(&lock);
    if (i == RANGES_MAX)
        return INVALID;
    free(at);
    return 0;
}

// Whether all of it is memory that the GPU may touch.
static bool is_known(const char *at, size_t bytes) {
    bool known = false;
    pthread_mutex_lock(&lock);
    for (int i = 0; i < RANGES_MAX && !known; i++)
        known = range[i].at && at >= range[i].at && bytes <= range[i].bytes &&
                (size_t)(at - range[i].at) <= range[i].bytes - bytes;
    pthread_mutex_unlock(&lock);
    return known;
}

API int cuMemAlloc_v2(unsigned long long *out, size_t bytes) {
    ENTER_CONTEXT("cuMemAlloc_v2");
    void *at = NULL;
    const int status = range_add(bytes, true, &at);
    *out = (unsigned long long)(uintptr_t)at;
    return status;
}

API int cuMemFree_v2(unsigned long long address) {
    ENTER_CONTEXT("cuMemFree_v2");
    return range_remove((void *)(uintptr_t)address, true);
}

API int cuMemHostAlloc(void **out, size_t bytes, unsigned flags) {
    ENTER_CONTEXT("cuMemHostAlloc");
    if (flags > 7)
        return INVALID;
    if (bytes > strtoull(setting("PLIM_FAKE_PINNED", "18446744073709551615"), NULL, 10))
        return NO_MEMORY;
    return range_add(bytes, false, out);
}

API int cuMemFreeHost(void *pinned) {
    ENTER_CONTEXT("cuMemFreeHost");
    return range_remove(pinned, false);
}

typedef struct {
    char *to;
    const char *from;
    size_t bytes;
    int byte;
} Move;

static void do_copy(const void *argument) {
    const Move *m = argument;
    memcpy(m->to, m->from, m->bytes);
}

static void do_fill(const void *argument) {
    const Move *m = argument;
    memset(m->to, m->byte, m->bytes);
}

API int cuMemcpyAsync(unsigned long long to, unsigned long long from, size_t bytes,
                      FakeStream *stream) {
    ENTER_CONTEXT("cuMemcpyAsync");
    const Move m = {(char *)(uintptr_t)to, (const char *)(uintptr_t)from, bytes, 0};
    if (!is_known(m.to, bytes) || !is_known(m.from, bytes))
        return INVALID;
    return fake_enqueue(stream, do_copy, &m, sizeof m);
}

API int cuMemsetD8Async(unsigned long long to, unsigned char byte, size_t count,
                        FakeStream *stream) {
    ENTER_CONTEXT("cuMemsetD8Async");
    const Move m = {(char *)(uintptr_t)to, NULL, count, byte};
    return is_known(m.to, count) ? fake_enqueue(stream, do_fill, &m, sizeof m) : INVALID;
}

API int cuStreamCreate(FakeStream **out, unsigned flags) {
    ENTER_CONTEXT("cuStreamCreate");
    *out = fake_stream_new();
    return flags == 1 ? 0 : INVALID; // one that waits for the legacy stream is a mistake here
}

API int cuStreamDestroy_v2(FakeStream *stream) {
    ENTER_CONTEXT("cuStreamDestroy_v2");
    fake_stream_free(stream);
    return 0;
}

API int cuStreamSynchronize(FakeStream *stream) {
    ENTER_CONTEXT("cuStreamSynchronize");
    const int status = fake_synchronize(stream);
    return status ? status : broken;
}

API int cuStreamWaitEvent(FakeStream *stream, FakeEvent *event, unsigned flags) {
    (void)flags;
    ENTER_CONTEXT("cuStreamWaitEvent");
    return fake_wait(stream, event);
}

// Relaxed: in the other modes a kernel's first launch, and memory that other threads ask for, may
// be mistakes.
API int cuStreamBeginCapture_v2(FakeStream *stream, int mode) {
    ENTER_CONTEXT("cuStreamBeginCapture_v2");
    return mode == 2 ? fake_capture_begin(stream) : INVALID;
}

// Fails after it has ended the capture, as CUDA's does.
API int cuStreamEndCapture(FakeStream *stream, FakeGraph **out) {
    const int failed = enter("cuStreamEndCapture");
    const int status = fake_capture_end(stream, out);
    if (failed && *out) {
        fake_graph_free(*out);
        *out = NULL;
    }
    return failed ? failed : status;
}

// 0: with a time; 2: without.
API int cuEventCreate(FakeEvent **out, unsigned flags) {
    ENTER_CONTEXT("cuEventCreate");
    if (flags != 0 && flags != 2)
        return INVALID;
    *out = fake_event_new(flags == 0);
    return 0;
}

API int cuEventDestroy_v2(FakeEvent *event) {
    ENTER_CONTEXT("cuEventDestroy_v2");
    fake_event_free(event);
    return 0;
}

API int cuEventRecord(FakeEvent *event, FakeStream *stream) {
    ENTER_CONTEXT("cuEventRecord");
    return fake_record(event, stream);
}

API int cuEventSynchronize(FakeEvent *event) {
    ENTER_CONTEXT("cuEventSynchronize");
    return fake_event_synchronize(event);
}

API int cuEventElapsedTime(float *milliseconds, FakeEvent *from, FakeEvent *to) {
    ENTER_CONTEXT("cuEventElapsedTime");
    return fake_elapsed(from, to, milliseconds);
}

API int cuGraphDestroy(FakeGraph *graph) {
    ENTER_CONTEXT("cuGraphDestroy");
    fake_graph_free(graph);
    return 0;
}

API int cuGraphInstantiateWithFlags(FakeGraph **out, FakeGraph *graph, unsigned long long flags) {
    (void)flags;
    ENTER_CONTEXT("cuGraphInstantiateWithFlags");
    *out = fake_graph_copy(graph);
    return 0;
}

API int cuGraphExecDestroy(FakeGraph *graph) {
    ENTER_CONTEXT("cuGraphExecDestroy");
    fake_graph_free(graph);
    return 0;
}

API int cuGraphLaunch(FakeGraph *graph, FakeStream *stream) {
    ENTER_CONTEXT("cuGraphLaunch");
    return fake_graph_launch(graph, stream);
}

// An image is known by its address alone.
API int cuModuleLoadData(void **out, const void *image) {
    ENTER_CONTEXT("cuModuleLoadData");
    modules++;
    *out = (void *)(uintptr_t)image;
    return image ? 0 : INVALID;
}

API int cuModuleUnload(void *module) {
    (void)module;
    ENTER_CONTEXT("cuModuleUnload");
    modules--;
    return 0;
}

// In any of the shared objects; every module has every kernel.
static void *find_host(const char *name) {
    static void *library[LIBRARIES_MAX];
    static int libraries = -1;
    if (libraries < 0) {
        char *list = strdup(setting("PLIM_FAKE_KERNELS", "")), *rest = NULL;
        libraries = 0;
        for (char *path = strtok_r(list, ":", &rest); path && libraries < LIBRARIES_MAX;
             path = strtok_r(NULL, ":", &rest)) {
            library[libraries] = dlopen(path, RTLD_NOW | RTLD_LOCAL);
            if (!library[libraries]) {
                fprintf(stderr, "fake driver: %s\n", dlerror());
                abort();
            }
            libraries++;
        }
        free(list);
    }
    void *found = NULL;
    for (int i = 0; i < libraries && !found; i++)
        found = dlsym(library[i], name);
    return found;
}

static const unsigned *find_parameters(const char *name) {
    const unsigned *(*parameters)(void);
    char symbol[128];
    snprintf(symbol, sizeof symbol, "%s__parameters", name);
    void *found = find_host(symbol);
    memcpy(&parameters, &found, sizeof parameters);
    return found ? parameters() : NULL;
}

API int cuModuleGetFunction(Function **out, void *module, const char *name) {
    static Function table[4096];
    static int count;
    (void)module;
    ENTER_CONTEXT("cuModuleGetFunction");
    char symbol[128];
    snprintf(symbol, sizeof symbol, "%s__host", name);
    void *found = find_host(symbol);
    if (!found)
        return NOT_FOUND;
    for (int i = 0; i < count; i++)
        if (strcmp(table[i].name, name) == 0) {
            *out = &table[i];
            return 0;
        }
    if (count == 4096)
        return NO_MEMORY;
    Function *f = &table[count++];
    snprintf(f->name, sizeof f->name, "%s", name);
    memcpy(&f->host, &found, sizeof f->host);
    f->bytes = find_parameters(name);
    f->shared = 48 << 10;
    *out = f;
    return 0;
}

API int cuFuncSetAttribute(Function *function, int attribute, int value) {
    ENTER_CONTEXT("cuFuncSetAttribute");
    if (attribute != 8 || value > 227 << 10)
        return INVALID;
    // The last word counts, also where it is less than an earlier one.
    function->shared = value > 48 << 10 ? value : 48 << 10;
    return 0;
}

API int cuTensorMapEncodeTiled(void *out, int type, unsigned rank, void *address,
                               const uint64_t *dim, const uint64_t *stride, const uint32_t *box,
                               const uint32_t *step, int interleave, int swizzle, int promotion,
                               int fill) {
    ENTER_CONTEXT("cuTensorMapEncodeTiled");
    if (atoi(setting("PLIM_FAKE_DEVICE", "9.0")) < 9 ||
        shim_map_encode(out, type, rank, address, dim, stride, box, step, interleave, swizzle,
                        promotion, fill) != 0)
        return INVALID;
    ShimTensorMap map;
    memcpy(&map, out, sizeof map);
    return is_known(address, (size_t)shim_map_span(&map)) ? 0 : INVALID;
}

typedef struct {
    Function *function;
    unsigned grid[3], block, shared;
    int count;
    uint64_t value[PARAMETERS_MAX];
    _Alignas(MAP_BYTES) char map[MAPS_MAX][MAP_BYTES]; // parameters of that size
    int maps;
    bool is_map[PARAMETERS_MAX];
} Launch;

static void do_launch(const void *argument) {
    Launch l;
    void *parameter[PARAMETERS_MAX];
    memcpy(&l, argument, sizeof l);
    for (int i = 0, map = 0; i < l.count; i++)
        parameter[i] = l.is_map[i] ? (void *)l.map[map++] : &l.value[i];
    // A kernel that went wrong breaks the context, as on a GPU: who waits is told.
    if (l.function->host(parameter, l.grid[0], l.grid[1], l.grid[2], l.block, l.shared) != 0)
        broken = LAUNCH_FAILED;
}

// The runtime ends its parameters with NULL, for kernels whose parameters are not known.
API int cuLaunchKernel(Function *function, unsigned grid_x, unsigned grid_y, unsigned grid_z,
                       unsigned block_x, unsigned block_y, unsigned block_z, unsigned shared,
                       FakeStream *stream, void **parameters, void **extra) {
    ENTER_CONTEXT("cuLaunchKernel");
    if (grid_x == 0 || grid_x > INT32_MAX || grid_y == 0 || grid_z == 0 || grid_y > 65535 ||
        grid_z > 65535 || block_x == 0 || block_x > 1024 || block_y != 1 || block_z != 1 || extra ||
        (int)shared > function->shared)
        return INVALID;
    Launch l = {
        .function = function, .grid = {grid_x, grid_y, grid_z}, .block = block_x, .shared = shared};
    const unsigned *bytes = function->bytes;
    for (; bytes ? bytes[l.count] : parameters[l.count] != NULL; l.count++) {
        l.is_map[l.count] = bytes && bytes[l.count] == MAP_BYTES;
        if (l.is_map[l.count] && l.maps == MAPS_MAX)
            return INVALID;
        memcpy(l.is_map[l.count] ? l.map[l.maps++] : (char *)&l.value[l.count], parameters[l.count],
               l.is_map[l.count] ? MAP_BYTES : 8);
    }
    return fake_enqueue(stream, do_launch, &l, sizeof l);
}

// A function of the program's on a stream; it may call nothing of the driver's.
typedef struct {
    void (*function)(void *);
    void *argument;
} HostCall;

static void do_call(const void *argument) {
    const HostCall *c = argument;
    in_host_call = true;
    c->function(c->argument);
    in_host_call = false;
}

API int cuLaunchHostFunc(FakeStream *stream, void (*function)(void *), void *argument) {
    ENTER_CONTEXT("cuLaunchHostFunc");
    const HostCall c = {function, argument};
    return function ? fake_enqueue(stream, do_call, &c, sizeof c) : INVALID;
}

// For the fake library of products: work of its own on a stream, as NVIDIA's has it.
API int plim_fake_enqueue(FakeStream *stream, FakeWork *work, const void *argument, size_t size) {
    return fake_enqueue(stream, work, argument, size);
}
// And to be made to fail like the driver.
API int plim_fake_enter(const char *name) {
    return enter(name);
}
