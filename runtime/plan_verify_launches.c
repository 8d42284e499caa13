// The verifier's rule 19: how a GPU's kernels are started. What a kernel does with its blocks and
// threads is code generation's to hold against its text (codegen/plan_kernels.c); here the numbers
// are such that CUDA takes them, and every kernel has some for every architecture of the target.
#include "runtime/plan_verify.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Grids and blocks: CUDA's programming guide, compute capabilities 7.5 to 12.1.
enum { GRID_YZ_MAX = 65535, BLOCK_MAX = 1024, WARP = 32, KIB = 1024 };

// Bytes of shared memory that a block may have, by compute capability times ten.
static uint64_t shared_max(const char *arch) {
    static const struct {
        int sm;
        uint64_t bytes;
    } table[] = {{75, 64 * KIB}, {80, 163 * KIB}, {86, 99 * KIB},  {87, 163 * KIB},
                 {88, 99 * KIB}, {89, 99 * KIB},  {120, 99 * KIB}, {121, 99 * KIB}};
    const int sm = atoi(arch + strlen("sm_"));
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (table[i].sm == sm)
            return table[i].bytes;
    return 227 * (uint64_t)KIB;
}

// The next architecture of "cuda:sm_80,sm_90a" from *at on; 0 at the end.
static size_t next_arch(const char **at) {
    *at += **at == ',';
    return strcspn(*at, ",");
}

static bool check_sizes(Verifier *v, const PlanLaunch *l, uint32_t index) {
    const bool grid = l->grid[0] >= 1 && l->grid[0] <= INT32_MAX && l->grid[1] >= 1 &&
                      l->grid[1] <= GRID_YZ_MAX && l->grid[2] >= 1 && l->grid[2] <= GRID_YZ_MAX;
    if (!grid || l->block < 1 || l->block > BLOCK_MAX || l->block % WARP != 0)
        return verify_refuse(v, 19, "launch %u has a grid or block that CUDA refuses", index);
    return l->shared <= shared_max(l->arch) ||
           verify_refuse(v, 19, "launch %u takes more shared memory than %.20s has", index,
                         l->arch);
}

// Its kernel's name, and from the second on a number after it.
static bool check_name(Verifier *v, const PlanLaunch *l, uint32_t index, uint32_t number) {
    char suffix[16] = "";
    if (number > 0)
        snprintf(suffix, sizeof suffix, "_%u", number);
    const char *name = v->plan->kernel[l->kernel].name;
    const size_t length = strlen(name);
    return (strncmp(l->name, name, length) == 0 && strcmp(l->name + length, suffix) == 0) ||
           verify_refuse(v, 19, "launch %u is not called after kernel %u", index, l->kernel);
}

// The launches of one kernel for one architecture, from *next on.
static bool check_kernel(Verifier *v, uint32_t kernel, const char *arch, size_t length,
                         uint32_t *next) {
    const Plan *p = v->plan;
    uint32_t number = 0;
    for (; *next < p->launch_count && p->launch[*next].kernel == kernel; (*next)++, number++) {
        const PlanLaunch *l = &p->launch[*next];
        if (strlen(l->arch) != length || memcmp(l->arch, arch, length) != 0)
            break;
        if (!check_sizes(v, l, *next) || !check_name(v, l, *next, number))
            return false;
    }
    const uint8_t in = v->called_in[kernel];
    const bool elsewhere = v->product_of[kernel] != UINT32_MAX || in == VERIFY_IN_HOST;
    if (in == (VERIFY_IN_HOST | VERIFY_IN_DEVICE))
        return verify_refuse(v, 19, "kernel %u is called in the host's memory and the device's",
                             kernel);
    return (elsewhere ? number == 0 : number >= 1 && number <= PLAN_LAUNCHES_MAX) ||
           verify_refuse(v, 19, "kernel %u has %u launches for %.*s", kernel, number, (int)length,
                         arch);
}

bool verify_launches(Verifier *v) {
    const Plan *p = v->plan;
    const bool cuda = plan_is_cuda(p);
    for (uint32_t i = 0; i < p->product_count; i++)
        if (cuda != (p->product[i].library == PLAN_CUBLASLT))
            return verify_refuse(v, 19, "product %u is by a library of another target", i);
    for (uint32_t i = 0; i < p->launch_count; i++)
        if (p->launch[i].kernel >= p->kernel_count || !p->launch[i].name || !p->launch[i].arch ||
            strncmp(p->launch[i].arch, "sm_", 3) != 0)
            return verify_refuse(v, 1, "launch %u has a field out of range", i);
    uint32_t next = 0;
    if (cuda) {
        if (p->workers != 1)
            return verify_refuse(v, 19, "a GPU has one worker, not %u", p->workers);
        const char *at = p->target + strlen("cuda:");
        for (size_t length; (length = next_arch(&at)) > 0; at += length)
            for (uint32_t k = 0; k < p->kernel_count; k++)
                if (!check_kernel(v, k, at, length, &next))
                    return false;
    }
    return next == p->launch_count ||
           verify_refuse(v, 19, "launch %u is for no architecture of the target, or out of order",
                         next);
}
