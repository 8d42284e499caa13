// The templates of attention and the instructions of sm_80 and sm_90a, ended by a NUL: made from
// the .cuh files of these names when the compiler is built.
#ifndef PLIM_CODEGEN_CUDA_ATTENTION_TEXT_H
#define PLIM_CODEGEN_CUDA_ATTENTION_TEXT_H

#include <stddef.h>

extern const size_t cuda_tensor_size, cuda_attention_size, cuda_attention_grad_size,
    cuda_attention_plain_size, cuda_attention_bias_size, cuda_attention_single_size,
    cuda_hopper_size, cuda_attention_groups_size, cuda_attention_groups_grad_size,
    cuda_attention_groups_once_size;
extern const unsigned char cuda_tensor_text[], cuda_attention_text[], cuda_attention_grad_text[],
    cuda_attention_plain_text[], cuda_attention_bias_text[], cuda_attention_single_text[],
    cuda_hopper_text[], cuda_attention_groups_text[], cuda_attention_groups_grad_text[],
    cuda_attention_groups_once_text[];

#endif
