// Kernels that a GPU's product library can compute within the product before them.
#ifndef PLIM_PASSES_EPILOGUE_FORM_H
#define PLIM_PASSES_EPILOGUE_FORM_H

#include "ir/kernel.h"
#include "runtime/plan.h"

// What the kernel does to the product's result, operand `from` of it, as a PlanJoint says; its
// segment and instructions are left alone. kept: the result itself is read later. False where the
// library has no such epilogue, or not for this product's matrix.
bool epilogue_form_find(const Kernel *k, const PlanProduct *p, uint32_t from, bool kept, Arena *a,
                        PlanJoint *out);

#endif
