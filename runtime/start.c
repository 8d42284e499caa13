// The entry point of an executable: what code generation added, handed to plim_main.
#include "runtime/main.h"

extern const uint8_t plim_plan[];
extern const uint64_t plim_plan_size;
extern PlimKernelFn *const plim_kernels[];
extern const PlimCubin plim_cubins[];

int main(int argc, char **argv) {
    const PlimImage image = {.plan = plim_plan,
                             .plan_size = plim_plan_size,
                             .kernel = plim_kernels,
                             .cubin = plim_cubins};
    return plim_main(argc, argv, &image);
}
