// Training data: text as bytes, token files with llm.c's header, and tables in safetensors files.
#ifndef PLIM_RUNTIME_DATA_H
#define PLIM_RUNTIME_DATA_H

#include "runtime/plan.h"

typedef struct PlimData PlimData;

// Opens one file for one loader. What it is follows from its content:
//  - a token file: llm.c's header (256 i32: magic 20240520 with u16 tokens or 20240801 with u32,
//  version, count);
//  - a safetensors file: an input takes the tensor of its name, one example a row;
//  - anything else: text, a token a byte.
// Tokens are cut into windows: an input [batch, n] gets rows of n tokens that begin n - 1 apart, so
// that each row's last token is the next one's first.
// The caller releases *out. PLIM_IO where the file can't be opened, PLIM_BAD_INPUT where it is
// broken.
PlimStatus data_open(const char *path, PlimData **out, PlimError *error);
void data_release(PlimData *d); // NULL is allowed

// Checks that the file can feed the input: kind, shape, at least one example.
PlimStatus data_check(PlimData *d, const PlanInput *input, PlimError *error);
// Examples (rows) the file has for the input.
uint64_t data_examples(const PlimData *d, const PlanInput *input);
// Writes one step's rows for every slot to out. Rows are numbered step * rows_a_step + row; with
// shuffle each pass over the file takes them in an order that depends on seed and pass alone.
// Values outside the input's bound are an error that names file and value.
PlimStatus data_fill(PlimData *d, const PlanInput *input, uint64_t step, bool shuffle,
                     uint64_t seed, void *out, PlimError *error);
// Tokens (or examples, where rows have no length) that one step of the input trains on.
uint64_t data_tokens(const PlimData *d, const PlanInput *input);

#endif
