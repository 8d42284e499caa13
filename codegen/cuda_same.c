// Each kernel is printed once more under one name for all, and texts are compared: whatever decides
// the code is then compared, whoever prints it. Printing takes a thousandth of compiling.
#include "codegen/cuda_same.h"

#include "ir/name_map.h"

// The functions for all architectures, and what they are started with beside a grid. NULL after a
// diagnostic.
static const char *print_code(Arena *a, Diag *d, const Kernel *k, const GpuArchs *archs) {
    Kernel unnamed = *k;
    unnamed.name = "k";
    const char *text = "";
    for (int i = 0; i < archs->count; i++) {
        KernelLaunches launches;
        kernel_launches(&unnamed, archs->arch[i], &launches);
        const char *printed = cuda_print(a, d, &unnamed, archs->arch[i]);
        if (!printed)
            return NULL;
        text = arena_format(a, "%s%s", text, printed);
        for (int l = 0; l < launches.count; l++)
            text = arena_format(a, "%s%d %lld\n", text, launches.launch[l].block,
                                (long long)launches.launch[l].shared);
    }
    return text;
}

bool cuda_same_find(Arena *a, Diag *d, Kernel *const *kernel, int count, const GpuArchs *archs,
                    int *same) {
    NameMap *first = name_map_create(a); // by text: where same[] has the first kernel that has it
    for (int i = 0; i < count; i++) {
        same[i] = i;
        const char *text = cuda_has_code(kernel[i]) ? print_code(a, d, kernel[i], archs) : "";
        if (!text)
            return false;
        const int *known = *text ? name_map_add(first, text, &same[i]) : NULL;
        same[i] = known ? *known : i;
    }
    return true;
}

const char *cuda_same_names(Arena *a, Kernel *const *kernel, int count, GpuArch arch,
                            const int *same, int first) {
    const char *text = "";
    KernelLaunches launches;
    kernel_launches(kernel[first], arch, &launches);
    for (int i = first + 1; i < count; i++)
        for (int l = 0; l < launches.count && same[i] == first; l++)
            text =
                arena_format(a, "%s%s%s %s%s\n", text, kernel[i]->name, launches.launch[l].suffix,
                             kernel[first]->name, launches.launch[l].suffix);
    return text;
}
