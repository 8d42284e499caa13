// libFuzzer: bytes as a data file, whatever they are. What opens feeds three kinds of inputs for a
// few steps, or refuses; it never reads outside itself.
#include "runtime/data_feed.h"

#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void feed_input(const DataFile *file, const PlanInput *input) {
    const DataUse use = {.part = DATA_TRAIN, .holdout = 0.25, .shuffle = true, .seed = 1};
    DataFeed *f = NULL;
    PlimError error;
    if (feed_new(file, 1, input, &use, &f, &error) != PLIM_OK)
        return;
    int32_t out[8];
    for (uint64_t step = 0; step < 4; step++)
        feed_fill(f, step, out, &error);
    feed_release(f);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const PlanInput input[] = {
        {.name = "x", .slots = 1, .dtype = PLAN_I32, .rank = 2, .dim = {2, 4}, .bound = 100},
        {.name = "x", .slots = 2, .dtype = PLAN_F32, .rank = 2, .dim = {1, 4}},
        {.name = "x", .slots = 1, .dtype = PLAN_I32, .rank = 1, .dim = {8}}};
    const int fd = memfd_create("data", MFD_CLOEXEC);
    if (fd < 0 || write(fd, data, size) != (ssize_t)size)
        return 0;
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", fd);
    DataFile file;
    PlimError error;
    if (data_file_open(path, &file, &error) == PLIM_OK) {
        for (int i = 0; i < 3; i++)
            feed_input(&file, &input[i]);
        safetensors_close(file.tensors);
    }
    close(fd);
    return 0;
}
