// A small layer over LLVM's C API: what the kernel printers need, and no more. Vectors are
// explicit, of any width; width 1 is a scalar. Nothing here reorders floating point: no fast-math
// flag is ever set, and a product and a sum are fused only where llvm_fma is called.
#ifndef PLIM_CODEGEN_LLVM_BUILD_H
#define PLIM_CODEGEN_LLVM_BUILD_H

#include "codegen/codegen.h"
#include "ir/type.h"

#include <llvm-c/Core.h>
#include <llvm-c/TargetMachine.h>

enum { LLVM_CARRY_MAX = 128 };

// One module being built. Several may exist at once, each used by one thread at a time.
typedef struct {
    Arena *arena; // scratch of this module
    LLVMContextRef context;
    LLVMModuleRef module;
    LLVMBuilderRef builder; // where code goes
    LLVMTargetMachineRef machine;
    const CpuTarget *target;
    LLVMValueRef fn; // the function being filled
    LLVMTypeRef void_type, i1, i8, i16, i32, i64, f32, bf16, ptr;
    const char *error; // first thing that is not supported, or LLVM's complaint; NULL: fine
} LlvmBuild;

// Makes LLVM's x86 back end known; once, before the first build (again is harmless, but not from
// two threads).
void llvm_build_start(void);
// An empty module for the target. On failure b->error says why. llvm_build_release is due either
// way.
void llvm_build_init(LlvmBuild *b, Arena *a, const CpuTarget *target, const char *module_name);
void llvm_build_release(LlvmBuild *b);
// Remembers the first complaint; the driver turns it into a diagnostic. For kernels that can't be
// printed.
void llvm_unsupported(LlvmBuild *b, const char *what);

// Starts a kernel function with the calling convention of ir/kernel.h; code goes to its entry
// block. linkage: LLVMExternalLinkage or LLVMInternalLinkage.
LLVMValueRef llvm_kernel_begin(LlvmBuild *b, const char *name, LLVMLinkage linkage);
// Starts any other function with the target's attributes; code goes to its entry block.
LLVMValueRef llvm_function_begin(LlvmBuild *b, const char *name, LLVMTypeRef type,
                                 LLVMLinkage linkage);
// Ends the function with a return of nothing.
void llvm_function_end(LlvmBuild *b);
// Of a kernel function: the base address of an operand, a 64-bit immediate, the first tile and the
// one past the last, the workspace.
LLVMValueRef llvm_operand(LlvmBuild *b, int operand);
LLVMValueRef llvm_imm(LlvmBuild *b, int imm);
LLVMValueRef llvm_tile_begin(LlvmBuild *b);
LLVMValueRef llvm_tile_end(LlvmBuild *b);
LLVMValueRef llvm_workspace(LlvmBuild *b);
// Room for count elements on the stack, taken once, at the function's entry.
LLVMValueRef llvm_stack(LlvmBuild *b, LLVMTypeRef element, int64_t count, unsigned align);

// Types and constants. llvm_vector(T, 1) is T.
LLVMTypeRef llvm_vector(LLVMTypeRef element, int width);
int llvm_width(LLVMTypeRef type); // 1 for scalars
LLVMValueRef llvm_i1(LlvmBuild *b, bool value);
LLVMValueRef llvm_i32(LlvmBuild *b, int64_t value);
LLVMValueRef llvm_i64(LlvmBuild *b, int64_t value);
LLVMValueRef llvm_f32(LlvmBuild *b, double value);
// The constant in the shape of type: scalar or splat; of any integer or float element type.
LLVMValueRef llvm_float_like(LLVMTypeRef type, double value);
LLVMValueRef llvm_int_like(LLVMTypeRef type, int64_t value);
LLVMValueRef llvm_zero(LLVMTypeRef type);
// <0, 1, 2, ...> of i32.
LLVMValueRef llvm_iota(LlvmBuild *b, int width);
// A scalar in every lane.
LLVMValueRef llvm_splat(LlvmBuild *b, LLVMValueRef scalar, int width);
LLVMValueRef llvm_lane(LlvmBuild *b, LLVMValueRef vector, int lane);

// Arithmetic, on scalars and vectors alike.
LLVMValueRef llvm_fma(LlvmBuild *b, LLVMValueRef x, LLVMValueRef y, LLVMValueRef z); // x * y + z
LLVMValueRef llvm_fadd(LlvmBuild *b, LLVMValueRef x, LLVMValueRef y);
LLVMValueRef llvm_fsub(LlvmBuild *b, LLVMValueRef x, LLVMValueRef y);
LLVMValueRef llvm_fmul(LlvmBuild *b, LLVMValueRef x, LLVMValueRef y);
LLVMValueRef llvm_fdiv(LlvmBuild *b, LLVMValueRef x, LLVMValueRef y);
LLVMValueRef llvm_fneg(LlvmBuild *b, LLVMValueRef x);
LLVMValueRef llvm_fabs(LlvmBuild *b, LLVMValueRef x);
LLVMValueRef llvm_fsqrt(LlvmBuild *b, LLVMValueRef x);
// x > y ? x : y and x < y ? x : y (one instruction; y where either is NaN).
LLVMValueRef llvm_fmax(LlvmBuild *b, LLVMValueRef x, LLVMValueRef y);
LLVMValueRef llvm_fmin(LlvmBuild *b, LLVMValueRef x, LLVMValueRef y);
LLVMValueRef llvm_fcmp(LlvmBuild *b, LLVMRealPredicate p, LLVMValueRef x, LLVMValueRef y);
LLVMValueRef llvm_icmp(LlvmBuild *b, LLVMIntPredicate p, LLVMValueRef x, LLVMValueRef y);
LLVMValueRef llvm_select(LlvmBuild *b, LLVMValueRef c, LLVMValueRef x, LLVMValueRef y);
LLVMValueRef llvm_add(LlvmBuild *b, LLVMValueRef x, LLVMValueRef y);
LLVMValueRef llvm_sub(LlvmBuild *b, LLVMValueRef x, LLVMValueRef y);
LLVMValueRef llvm_mul(LlvmBuild *b, LLVMValueRef x, LLVMValueRef y);
// x / y and x % y of i64 that are not negative; y > 0.
LLVMValueRef llvm_udiv(LlvmBuild *b, LLVMValueRef x, int64_t y);
LLVMValueRef llvm_urem(LlvmBuild *b, LLVMValueRef x, int64_t y);
LLVMValueRef llvm_cast_bits(LlvmBuild *b, LLVMValueRef x,
                            LLVMTypeRef element); // same lanes, other element
// clamp(x, 0, limit - 1) on integers; limit > 0.
LLVMValueRef llvm_clamp(LlvmBuild *b, LLVMValueRef x, int64_t limit);
// Joins two vectors: the lanes of mask count from 0 in x and from its width in y.
LLVMValueRef llvm_shuffle(LlvmBuild *b, LLVMValueRef x, LLVMValueRef y, const int *mask, int width);
// count vectors of one type end to end, a power of two of them; and `width` lanes of one from
// `first` on.
LLVMValueRef llvm_join(LlvmBuild *b, LLVMValueRef const *part, int count);
LLVMValueRef llvm_part(LlvmBuild *b, LLVMValueRef v, int first, int width);
// Adds (or takes the maximum of) the lanes in halves, 16 -> 8 -> 4 -> 2 -> 1.
LLVMValueRef llvm_lanes_sum(LlvmBuild *b, LLVMValueRef v);
LLVMValueRef llvm_lanes_max(LlvmBuild *b, LLVMValueRef v);
// bf16 in 16 bits (i16 lanes) to f32 and back, to nearest even; a NaN stays a NaN. The same bits on
// every target.
LLVMValueRef llvm_bf16_widen(LlvmBuild *b, LLVMValueRef bits);
LLVMValueRef llvm_bf16_narrow(LlvmBuild *b, LLVMValueRef x);
// A call of an LLVM intrinsic overloaded on the given types.
LLVMValueRef llvm_intrinsic(LlvmBuild *b, const char *name, LLVMTypeRef *overload,
                            int overload_count, LLVMValueRef *arg, int arg_count);

// Memory. align in bytes: the element's size unless more is known. base + index elements (i64).
LLVMValueRef llvm_at(LlvmBuild *b, LLVMTypeRef element, LLVMValueRef base, LLVMValueRef index);
LLVMValueRef llvm_load(LlvmBuild *b, LLVMTypeRef type, LLVMValueRef address, unsigned align);
void llvm_store(LlvmBuild *b, LLVMValueRef value, LLVMValueRef address, unsigned align);
// Only lanes where mask (i1 lanes) is true are touched; others read as zero. NULL mask: all lanes.
LLVMValueRef llvm_load_masked(LlvmBuild *b, LLVMTypeRef type, LLVMValueRef address, unsigned align,
                              LLVMValueRef mask);
void llvm_store_masked(LlvmBuild *b, LLVMValueRef value, LLVMValueRef address, unsigned align,
                       LLVMValueRef mask);
// Lane i is base[index[i]]; index: i64 lanes, in elements.
LLVMValueRef llvm_gather(LlvmBuild *b, LLVMTypeRef type, LLVMValueRef base, LLVMValueRef index,
                         LLVMValueRef mask);
void llvm_scatter(LlvmBuild *b, LLVMValueRef value, LLVMValueRef base, LLVMValueRef index,
                  LLVMValueRef mask);
// The constant mask of the first count lanes, and the same for a count known at run time (i64).
LLVMValueRef llvm_mask_first(LlvmBuild *b, int width, int64_t count);
LLVMValueRef llvm_mask_below(LlvmBuild *b, int width, LLVMValueRef count);
// The same by the dtype in memory: bf16 widens to f32 lanes, bool bytes to i1 lanes.
LLVMValueRef llvm_load_typed(LlvmBuild *b, DType dtype, int width, LLVMValueRef address,
                             LLVMValueRef mask);
void llvm_store_typed(LlvmBuild *b, DType dtype, LLVMValueRef value, LLVMValueRef address,
                      LLVMValueRef mask);
// Between memory's lanes and the kernel's: i16 <-> f32 (bf16), i8 <-> i1 (bool), others as they
// are.
LLVMValueRef llvm_widen_typed(LlvmBuild *b, DType dtype, LLVMValueRef value);
LLVMValueRef llvm_narrow_typed(LlvmBuild *b, DType dtype, LLVMValueRef value);
// Past the caches: whole vectors at a multiple of their size, seen by other threads after
// llvm_store_fence only.
void llvm_store_stream(LlvmBuild *b, DType dtype, LLVMValueRef value, LLVMValueRef address);
void llvm_store_fence(LlvmBuild *b);
// The element's type in memory: f32, i16 (bf16), i32, i8 (bool).
LLVMTypeRef llvm_memory_type(LlvmBuild *b, DType dtype);

// A hint to fetch the line `ahead` bytes (i64) from an address, wherever that is: never an error.
// PREFETCH_FAR: to read it some time later, from the second cache.
typedef enum { PREFETCH_READ, PREFETCH_WRITE, PREFETCH_FAR } Prefetch;
void llvm_prefetch(LlvmBuild *b, LLVMValueRef address, LLVMValueRef ahead, Prefetch what);

// A counted loop, for (index = from; index < to; index += step), with values carried from one trip
// to the next. llvm_loop_begin; llvm_loop_carry once for each value (first thing); the body;
// llvm_loop_next once for each; llvm_loop_end; then result[i] holds what was carried out (the
// initial value after no trip).
typedef struct {
    LLVMBasicBlockRef before, body, exit;
    LLVMValueRef index; // i64, in the body
    LLVMValueRef to, step;
    int carry_count;
    LLVMValueRef initial[LLVM_CARRY_MAX];
    LLVMValueRef carry[LLVM_CARRY_MAX]; // in the body
    LLVMValueRef next[LLVM_CARRY_MAX];
    LLVMValueRef result[LLVM_CARRY_MAX];
} LlvmLoop;
void llvm_loop_begin(LlvmBuild *b, LlvmLoop *loop, LLVMValueRef from, LLVMValueRef to,
                     int64_t step);
LLVMValueRef llvm_loop_carry(LlvmBuild *b, LlvmLoop *loop,
                             LLVMValueRef initial); // the value in the body
void llvm_loop_next(LlvmLoop *loop, int carry, LLVMValueRef value);
void llvm_loop_end(LlvmBuild *b, LlvmLoop *loop);
// Before llvm_loop_end: another trip if and only if again (i1), whatever the range was.
void llvm_loop_again(LlvmBuild *b, LlvmLoop *loop, LLVMValueRef again);

// if (condition) { ... } without values: llvm_if_begin, the code, llvm_if_end.
typedef struct {
    LLVMBasicBlockRef exit;
} LlvmIf;
LlvmIf llvm_if_begin(LlvmBuild *b, LLVMValueRef condition);
void llvm_if_end(LlvmBuild *b, LlvmIf branch);

#endif
