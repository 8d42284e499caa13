// Geometry of attention on a GPU: a block a tile of queries, or of keys, of one head.
#include "ir/launch.h"

#include "ir/check.h"

enum { TILE = 64, THREADS = 128 };

void kernel_launches_attention(const Kernel *k, GpuArch arch, KernelLaunches *out) {
    (void)arch;
    const AttentionKernel *t = &k->attention;
    const int64_t tiles = (t->queries + TILE - 1) / TILE;
    CHECK(out->count == 0);
    out->count = 1;
    out->launch[0] =
        (KernelLaunch){.suffix = "", .grid = {t->batch * t->heads * tiles, 1, 1}, .block = THREADS};
}
