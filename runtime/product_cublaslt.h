// A GPU plan's matrix products: cuBLASLt, with algorithms fixed before the first step.
#ifndef PLIM_RUNTIME_PRODUCT_CUBLASLT_H
#define PLIM_RUNTIME_PRODUCT_CUBLASLT_H

#include "runtime/cublaslt.h"
#include "runtime/plan.h"

#include <stdio.h>

// The library, being opened on a thread of its own.
typedef struct CublasLoading CublasLoading;
// NULL where the plan has no such product.
CublasLoading *cublas_load(const Plan *p);
void cublas_forget(CublasLoading *loading); // instead of cublas_table_new; NULL is allowed

typedef struct CublasTable CublasTable;

// Takes over loading, whatever comes; *out is NULL where that is. Prepares every product of the
// plan for the current context's GPU: the algorithm is the one that the file tune names for the
// product, or else the library's own first choice within the plan's workspace. gpu: its name.
// PLIM_MACHINE where the library is missing or can't compute a product so, PLIM_BAD_INPUT where
// tune is no such file. A file measured with another library or GPU is not used, and a line on
// stderr says so.
PlimStatus cublas_table_new(CublasLoading *loading, const Plan *p, const char *gpu,
                            const char *tune, CublasTable **out, PlimError *error);
void cublas_table_release(CublasTable *t); // NULL is allowed

// The plan's row of a kernel, or UINT32_MAX.
uint32_t cublas_table_row(const CublasTable *t, uint32_t kernel);
// What a failure's status is added to, so that it is none of the driver's.
enum { CUBLAS_ERROR = 1 << 20 };
// Asks the stream for the product of a kernel: operand is {a, b, c} on the GPU.
CuResult cublas_table_run(const CublasTable *t, uint32_t kernel, void *const *operand,
                          void *workspace, CuStream stream);

// Whether a joint of the plan is computed in one: where the file tune says so.
bool cublas_table_joins(const CublasTable *t, const PlanJoint *g);
// Asks for both in one; product and kernel are the operands of the two instructions.
CuResult cublas_table_run_joint(const CublasTable *t, const PlanJoint *g, void *const *product,
                                void *const *kernel, void *workspace, CuStream stream);

// Measuring, for `tune`. Rows are the plan's products; behind them stand its joints, those of equal
// kernels once.
uint32_t cublas_table_rows(const CublasTable *t);
const PlanJoint *cublas_joint(const CublasTable *t, uint32_t row); // NULL: a product alone
// The candidates that the library has for a row, best guess first; 0: none.
enum { CUBLAS_CANDIDATES_MAX = 16 };
int cublas_candidates(const CublasTable *t, uint32_t row, LtAlgorithm out[CUBLAS_CANDIDATES_MAX]);
// From now on the row's algorithm; a joint's kernels are computed in one with it, apart with NULL.
void cublas_choose(CublasTable *t, uint32_t row, const LtAlgorithm *algorithm);
// The file's head, and a row's line with its algorithm and its measured time.
void cublas_write_head(const CublasTable *t, FILE *out);
void cublas_write_row(const CublasTable *t, uint32_t row, double microseconds, FILE *out);

#endif
