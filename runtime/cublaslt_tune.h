// Files of measured algorithms, which `tune` writes and programs read:
//
//     plimsoll tune 1
//     library 130100
//     gpu NVIDIA H200
//     12.345 us 8 words of 16 hexadecimal digits: KEY
//     23.456 us 8 words apart: KEY
//
// a line a product, whose key holds everything that its best algorithm depends on. Where the
// library may compute a product and the kernel behind it, there is a line for both in one: it does,
// or they are faster apart. The words are still its best algorithm, 0 where it has none.
#ifndef PLIM_RUNTIME_CUBLASLT_TUNE_H
#define PLIM_RUNTIME_CUBLASLT_TUNE_H

#include "runtime/cublaslt.h"

#include <stdio.h>

enum { TUNE_KEY_MAX = 512 };

typedef struct TuneFile TuneFile;

// Reads it. *out is NULL, after a line on stderr, where it was measured with another version of the
// library or on another GPU. PLIM_IO where it can't be read, PLIM_BAD_INPUT where it is no such
// file.
PlimStatus tune_read(const char *path, size_t version, const char *gpu, TuneFile **out,
                     PlimError *error);
void tune_release(TuneFile *f); // NULL is allowed
// NULL where the file has none for the key, or says apart.
const LtAlgorithm *tune_find(const TuneFile *f, const char *key);

void tune_write_head(size_t version, const char *gpu, FILE *out);
typedef enum { TUNE_TAKEN, TUNE_APART } TuneWay;
void tune_write_line(const char *key, const LtAlgorithm *algorithm, TuneWay way,
                     double microseconds, FILE *out);

#endif
