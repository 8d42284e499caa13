// What ptxas made of products by warpgroups: facts that the source can't promise and no log tells.
#ifndef PLIM_TESTS_CUDA_MACHINE_CODE_H
#define PLIM_TESTS_CUDA_MACHINE_CODE_H

#include <stdbool.h>
#include <stddef.h>

typedef struct {
    int functions;   // with such products
    int exposed;     // of them: exponentials run while no product does
    int undealt;     // of them: registers are not dealt anew among warps
    int repeated;    // of those that make all gradients: not five products a tile
    const char *bad; // the name of the first that is any of these, in the cubin; or NULL
} MachineCode;

// Adds what a cubin of sm_90a has. False where it is none that can be read.
bool machine_code_read(const char *cubin, size_t size, MachineCode *out);

#endif
