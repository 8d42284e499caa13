// The fixed texts of the prelude, ended by a NUL: made from the .cuh files when the compiler is
// built.
#ifndef PLIM_CODEGEN_CUDA_TEXT_H
#define PLIM_CODEGEN_CUDA_TEXT_H

#include <stddef.h>

extern const size_t cuda_device_size, cuda_base_size, cuda_math_size, cuda_product_size, cuda_scatter_size;
extern const unsigned char cuda_device_text[], cuda_base_text[], cuda_math_text[],
    cuda_product_text[], cuda_scatter_text[];

#endif
