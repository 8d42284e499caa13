// Each kernel is printed once more under one name for all, and texts are compared: whatever decides
// the code is then compared, whoever prints it. Printing takes a thousandth of compiling. Texts
// that hash alike are compared in full; costs kernels squared, in hashes.
#include "codegen/cuda_same.h"

#include <string.h>

typedef struct {
    const char *text;
    uint64_t hash;
} Code;

// FNV-1a, 64 bits.
static uint64_t hash_text(const char *text) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    return hash;
}

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
    Code *code = arena_array(a, Code, count + 1);
    for (int i = 0; i < count; i++) {
        same[i] = i;
        if (!cuda_has_code(kernel[i]))
            continue;
        code[i].text = print_code(a, d, kernel[i], archs);
        if (!code[i].text)
            return false;
        code[i].hash = hash_text(code[i].text);
        for (int j = 0; j < i && same[i] == i; j++)
            if (code[j].text && code[j].hash == code[i].hash &&
                strcmp(code[j].text, code[i].text) == 0)
                same[i] = j;
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
