// The module being built, functions, constants, arithmetic and loops over LLVM's C API. Memory is
// in llvm_memory.c. Values carry no names, so that no text of the user's ever reaches LLVM; where
// the module's text is printed, LLVM numbers them. All code a builder makes is a function of the
// calls made here alone: the result does not depend on threads, addresses or time.
#include "codegen/llvm_build.h"

#include "ir/check.h"

#include <llvm-c/Analysis.h>
#include <llvm-c/Target.h>
#include <string.h>

static const char llvm_triple[] = "x86_64-unknown-linux-gnu";

// LLVM's complaints and remarks end here instead of on stderr; errors are kept.
static void take_diagnostic(LLVMDiagnosticInfoRef info, void *user) {
    LlvmBuild *b = user;
    if (LLVMGetDiagInfoSeverity(info) != LLVMDSError || b->error)
        return;
    char *text = LLVMGetDiagInfoDescription(info);
    b->error = arena_text(b->arena, text);
    LLVMDisposeMessage(text);
}

// The code generator for the target, and its data layout for the module. On failure b->error says
// why and there is no machine.
static void make_machine(LlvmBuild *b) {
    LLVMTargetRef target;
    char *message = NULL;
    if (LLVMGetTargetFromTriple(llvm_triple, &target, &message)) {
        b->error = arena_text(b->arena, message);
        LLVMDisposeMessage(message);
        return;
    }
    // Position-independent: the object is linked into an executable made with -pie.
    b->machine = LLVMCreateTargetMachine(target, llvm_triple, b->target->cpu, b->target->features,
                                         LLVMCodeGenLevelDefault, LLVMRelocPIC, LLVMCodeModelSmall);
    if (!b->machine) {
        b->error = "LLVM has no code generator for x86-64";
        return;
    }
    LLVMTargetDataRef layout = LLVMCreateTargetDataLayout(b->machine);
    LLVMSetModuleDataLayout(b->module, layout);
    LLVMDisposeTargetData(layout);
    LLVMSetTarget(b->module, llvm_triple);
}

void llvm_build_start(void) {
    LLVMInitializeX86TargetInfo();
    LLVMInitializeX86Target();
    LLVMInitializeX86TargetMC();
    LLVMInitializeX86AsmPrinter();
}

void llvm_build_init(LlvmBuild *b, Arena *a, const CpuTarget *target, const char *module_name) {
    *b = (LlvmBuild){.arena = a, .target = target};
    b->context = LLVMContextCreate();
    LLVMContextSetDiagnosticHandler(b->context, take_diagnostic, b);
    // Names that LLVM's own passes would make up are dropped too.
    LLVMContextSetDiscardValueNames(b->context, 1);
    b->module = LLVMModuleCreateWithNameInContext(module_name, b->context);
    b->builder = LLVMCreateBuilderInContext(b->context);
    b->void_type = LLVMVoidTypeInContext(b->context);
    b->i1 = LLVMInt1TypeInContext(b->context);
    b->i8 = LLVMInt8TypeInContext(b->context);
    b->i16 = LLVMInt16TypeInContext(b->context);
    b->i32 = LLVMInt32TypeInContext(b->context);
    b->i64 = LLVMInt64TypeInContext(b->context);
    b->f32 = LLVMFloatTypeInContext(b->context);
    b->bf16 = LLVMBFloatTypeInContext(b->context);
    b->ptr = LLVMPointerTypeInContext(b->context, 0);
    // Last, for it needs the module to describe.
    make_machine(b);
}

// The context goes last: everything else but the machine lives in it.
void llvm_build_release(LlvmBuild *b) {
    LLVMDisposeBuilder(b->builder);
    if (b->machine)
        LLVMDisposeTargetMachine(b->machine);
    if (b->module)
        LLVMDisposeModule(b->module);
    LLVMContextDispose(b->context);
}

// The first complaint is kept: later ones are often only its consequences.
void llvm_unsupported(LlvmBuild *b, const char *what) {
    if (!b->error)
        b->error = arena_text(b->arena, what);
}

// An attribute without a value, at the function or at a parameter (1 is the first).
static void add_enum_attribute(LlvmBuild *b, LLVMValueRef fn, LLVMAttributeIndex at,
                               const char *name) {
    const unsigned kind = LLVMGetEnumAttributeKindForName(name, strlen(name));
    LLVMAddAttributeAtIndex(fn, at, LLVMCreateEnumAttribute(b->context, kind, 0));
}

// An attribute of the function that LLVM's x86 back end reads as text.
static void add_text_attribute(LlvmBuild *b, LLVMValueRef fn, const char *name, const char *value) {
    LLVMAddAttributeAtIndex(fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex,
                            LLVMCreateStringAttribute(b->context, name, (unsigned)strlen(name),
                                                      value, (unsigned)strlen(value)));
}

LLVMValueRef llvm_function_begin(LlvmBuild *b, const char *name, LLVMTypeRef type,
                                 LLVMLinkage linkage) {
    b->fn = LLVMAddFunction(b->module, name, type);
    LLVMSetLinkage(b->fn, linkage);
    if (linkage == LLVMExternalLinkage) // Seen by the other parts of the program, not by libraries
        LLVMSetVisibility(b->fn, LLVMHiddenVisibility);
    add_enum_attribute(b, b->fn, (LLVMAttributeIndex)LLVMAttributeFunctionIndex, "nounwind");
    // LLVM picks instructions by the attributes of each function, so every one says its CPU.
    add_text_attribute(b, b->fn, "target-cpu", b->target->cpu);
    add_text_attribute(b, b->fn, "tune-cpu", b->target->tune);
    if (*b->target->features)
        add_text_attribute(b, b->fn, "target-features", b->target->features);
    // The timings of some CPUs make LLVM prefer 256 bits; our vectors are made for 512.
    if (b->target->avx512)
        add_text_attribute(b, b->fn, "prefer-vector-width", "512");
    LLVMPositionBuilderAtEnd(b->builder, LLVMAppendBasicBlockInContext(b->context, b->fn, ""));
    return b->fn;
}

LLVMValueRef llvm_kernel_begin(LlvmBuild *b, const char *name, LLVMLinkage linkage) {
    // Operands, immediates, first tile, one past the last, workspace: KernelFn in codegen.h.
    LLVMTypeRef parameter[] = {b->ptr, b->ptr, b->i64, b->i64, b->ptr};
    LLVMValueRef fn =
        llvm_function_begin(b, name, LLVMFunctionType(b->void_type, parameter, 5, 0), linkage);
    // The two tables are read only and nothing the kernel writes overlaps them. Operands may
    // overlap: a result may stand where its operand stood, element for element.
    for (LLVMAttributeIndex at = 1; at <= 2; at++) {
        add_enum_attribute(b, fn, at, "noalias");
        add_enum_attribute(b, fn, at, "readonly");
    }
    return fn;
}

void llvm_function_end(LlvmBuild *b) {
    LLVMBuildRetVoid(b->builder);
}

// A load from one of the tables: the same value however often it is made.
// Said to LLVM as invariant.load, so that stores of the kernel don't force it to load again.
static LLVMValueRef table_load(LlvmBuild *b, LLVMTypeRef type, unsigned parameter, int index) {
    LLVMValueRef at = llvm_at(b, type, LLVMGetParam(b->fn, parameter), llvm_i64(b, index));
    LLVMValueRef value = LLVMBuildLoad2(b->builder, type, at, "");
    const unsigned kind = LLVMGetMDKindIDInContext(b->context, "invariant.load", 14);
    LLVMMetadataRef empty = LLVMMDNodeInContext2(b->context, NULL, 0);
    LLVMSetMetadata(value, kind, LLVMMetadataAsValue(b->context, empty));
    return value;
}

// Parameters by position, as llvm_kernel_begin lists them.
LLVMValueRef llvm_operand(LlvmBuild *b, int operand) {
    return table_load(b, b->ptr, 0, operand);
}

LLVMValueRef llvm_imm(LlvmBuild *b, int imm) {
    return table_load(b, b->i64, 1, imm);
}

LLVMValueRef llvm_tile_begin(LlvmBuild *b) {
    return LLVMGetParam(b->fn, 2);
}

LLVMValueRef llvm_tile_end(LlvmBuild *b) {
    return LLVMGetParam(b->fn, 3);
}

LLVMValueRef llvm_workspace(LlvmBuild *b) {
    return LLVMGetParam(b->fn, 4);
}

LLVMValueRef llvm_stack(LlvmBuild *b, LLVMTypeRef element, int64_t count, unsigned align) {
    // Only in the entry block is room taken once: inside a loop each trip would take it again. It
    // goes before the block's first instruction, since the block may have its branch already.
    LLVMBasicBlockRef here = LLVMGetInsertBlock(b->builder);
    LLVMBasicBlockRef entry = LLVMGetEntryBasicBlock(b->fn);
    LLVMValueRef first = LLVMGetFirstInstruction(entry);
    if (first)
        LLVMPositionBuilderBefore(b->builder, first);
    else
        LLVMPositionBuilderAtEnd(b->builder, entry);
    LLVMValueRef room = LLVMBuildAlloca(b->builder, LLVMArrayType2(element, (uint64_t)count), "");
    LLVMSetAlignment(room, align);
    LLVMPositionBuilderAtEnd(b->builder, here);
    return room;
}

// Types and constants.

LLVMTypeRef llvm_vector(LLVMTypeRef element, int width) {
    return width == 1 ? element : LLVMVectorType(element, (unsigned)width);
}

int llvm_width(LLVMTypeRef type) {
    return LLVMGetTypeKind(type) == LLVMVectorTypeKind ? (int)LLVMGetVectorSize(type) : 1;
}

// The type of one lane.
static LLVMTypeRef element_of(LLVMTypeRef type) {
    return LLVMGetTypeKind(type) == LLVMVectorTypeKind ? LLVMGetElementType(type) : type;
}

// The constant in every lane of type.
static LLVMValueRef constant_like(LLVMTypeRef type, LLVMValueRef element) {
    const int width = llvm_width(type);
    if (width == 1)
        return element;
    LLVMValueRef lane[512];
    CHECK(width <= 512);
    for (int i = 0; i < width; i++)
        lane[i] = element;
    return LLVMConstVector(lane, (unsigned)width);
}

LLVMValueRef llvm_i1(LlvmBuild *b, bool value) {
    return LLVMConstInt(b->i1, value, 0);
}

LLVMValueRef llvm_i32(LlvmBuild *b, int64_t value) {
    // Sign-extended from 64 bits: negative numbers are meant as such.
    return LLVMConstInt(b->i32, (unsigned long long)value, 1);
}

LLVMValueRef llvm_i64(LlvmBuild *b, int64_t value) {
    return LLVMConstInt(b->i64, (unsigned long long)value, 1);
}

LLVMValueRef llvm_f32(LlvmBuild *b, double value) {
    return LLVMConstReal(b->f32, value);
}

LLVMValueRef llvm_float_like(LLVMTypeRef type, double value) {
    return constant_like(type, LLVMConstReal(element_of(type), value));
}

LLVMValueRef llvm_int_like(LLVMTypeRef type, int64_t value) {
    return constant_like(type, LLVMConstInt(element_of(type), (unsigned long long)value, 1));
}

LLVMValueRef llvm_zero(LLVMTypeRef type) {
    return LLVMConstNull(type);
}

LLVMValueRef llvm_iota(LlvmBuild *b, int width) {
    if (width == 1)
        return llvm_i32(b, 0);
    LLVMValueRef lane[512];
    CHECK(width <= 512);
    for (int i = 0; i < width; i++)
        lane[i] = llvm_i32(b, i);
    return LLVMConstVector(lane, (unsigned)width);
}

// Into lane 0 and from there into all lanes: the form that LLVM turns into one broadcast, or into a
// memory operand where the scalar was loaded.
LLVMValueRef llvm_splat(LlvmBuild *b, LLVMValueRef scalar, int width) {
    if (width == 1)
        return scalar;
    LLVMTypeRef type = llvm_vector(LLVMTypeOf(scalar), width);
    if (LLVMIsConstant(scalar))
        return constant_like(type, scalar);
    LLVMValueRef one =
        LLVMBuildInsertElement(b->builder, LLVMGetPoison(type), scalar, llvm_i32(b, 0), "");
    LLVMValueRef mask = LLVMConstNull(llvm_vector(b->i32, width));
    return LLVMBuildShuffleVector(b->builder, one, LLVMGetPoison(type), mask, "");
}

LLVMValueRef llvm_lane(LlvmBuild *b, LLVMValueRef vector, int lane) {
    if (llvm_width(LLVMTypeOf(vector)) == 1)
        return vector;
    return LLVMBuildExtractElement(b->builder, vector, llvm_i32(b, lane), "");
}

// Arithmetic.

LLVMValueRef llvm_intrinsic(LlvmBuild *b, const char *name, LLVMTypeRef *overload,
                            int overload_count, LLVMValueRef *arg, int arg_count) {
    const unsigned id = LLVMLookupIntrinsicID(name, strlen(name));
    // The names of intrinsics stand in this folder only: an unknown one is our mistake.
    CHECK(id != 0);
    LLVMValueRef fn = LLVMGetIntrinsicDeclaration(b->module, id, overload, (size_t)overload_count);
    LLVMTypeRef type = LLVMIntrinsicGetType(b->context, id, overload, (size_t)overload_count);
    return LLVMBuildCall2(b->builder, type, fn, arg, (unsigned)arg_count, "");
}

// An intrinsic overloaded on the type of its first argument alone.
static LLVMValueRef float_intrinsic(LlvmBuild *b, const char *name, LLVMValueRef *arg,
                                    int arg_count) {
    LLVMTypeRef type = LLVMTypeOf(arg[0]);
    return llvm_intrinsic(b, name, &type, 1, arg, arg_count);
}

LLVMValueRef llvm_fma(LlvmBuild *b, LLVMValueRef x, LLVMValueRef y, LLVMValueRef z) {
    return float_intrinsic(b, "llvm.fma", (LLVMValueRef[]){x, y, z}, 3);
}

LLVMValueRef llvm_fadd(LlvmBuild *b, LLVMValueRef x, LLVMValueRef y) {
    return LLVMBuildFAdd(b->builder, x, y, "");
}

LLVMValueRef llvm_fsub(LlvmBuild *b, LLVMValueRef x, LLVMValueRef y) {
    return LLVMBuildFSub(b->builder, x, y, "");
}

LLVMValueRef llvm_fmul(LlvmBuild *b, LLVMValueRef x, LLVMValueRef y) {
    return LLVMBuildFMul(b->builder, x, y, "");
}

LLVMValueRef llvm_fdiv(LlvmBuild *b, LLVMValueRef x, LLVMValueRef y) {
    return LLVMBuildFDiv(b->builder, x, y, "");
}

LLVMValueRef llvm_fneg(LlvmBuild *b, LLVMValueRef x) {
    return LLVMBuildFNeg(b->builder, x, "");
}

LLVMValueRef llvm_fabs(LlvmBuild *b, LLVMValueRef x) {
    return float_intrinsic(b, "llvm.fabs", &x, 1);
}

LLVMValueRef llvm_fsqrt(LlvmBuild *b, LLVMValueRef x) {
    return float_intrinsic(b, "llvm.sqrt", &x, 1);
}

// A comparison and a choice, which is what vmaxps does. llvm.maxnum treats NaN otherwise and takes
// several instructions.
LLVMValueRef llvm_fmax(LlvmBuild *b, LLVMValueRef x, LLVMValueRef y) {
    return llvm_select(b, llvm_fcmp(b, LLVMRealOGT, x, y), x, y);
}

LLVMValueRef llvm_fmin(LlvmBuild *b, LLVMValueRef x, LLVMValueRef y) {
    return llvm_select(b, llvm_fcmp(b, LLVMRealOLT, x, y), x, y);
}

LLVMValueRef llvm_fcmp(LlvmBuild *b, LLVMRealPredicate p, LLVMValueRef x, LLVMValueRef y) {
    return LLVMBuildFCmp(b->builder, p, x, y, "");
}

LLVMValueRef llvm_icmp(LlvmBuild *b, LLVMIntPredicate p, LLVMValueRef x, LLVMValueRef y) {
    return LLVMBuildICmp(b->builder, p, x, y, "");
}

LLVMValueRef llvm_select(LlvmBuild *b, LLVMValueRef c, LLVMValueRef x, LLVMValueRef y) {
    return LLVMBuildSelect(b->builder, c, x, y, "");
}

LLVMValueRef llvm_add(LlvmBuild *b, LLVMValueRef x, LLVMValueRef y) {
    return LLVMBuildAdd(b->builder, x, y, "");
}

LLVMValueRef llvm_sub(LlvmBuild *b, LLVMValueRef x, LLVMValueRef y) {
    return LLVMBuildSub(b->builder, x, y, "");
}

LLVMValueRef llvm_mul(LlvmBuild *b, LLVMValueRef x, LLVMValueRef y) {
    return LLVMBuildMul(b->builder, x, y, "");
}

// Divisors are known here, so LLVM makes a multiplication and a shift of it.
LLVMValueRef llvm_udiv(LlvmBuild *b, LLVMValueRef x, int64_t y) {
    return LLVMBuildUDiv(b->builder, x, llvm_i64(b, y), "");
}

LLVMValueRef llvm_urem(LlvmBuild *b, LLVMValueRef x, int64_t y) {
    return LLVMBuildURem(b->builder, x, llvm_i64(b, y), "");
}

// The elements must be of one size: lanes are neither joined nor split.
LLVMValueRef llvm_cast_bits(LlvmBuild *b, LLVMValueRef x, LLVMTypeRef element) {
    return LLVMBuildBitCast(b->builder, x, llvm_vector(element, llvm_width(LLVMTypeOf(x))), "");
}

LLVMValueRef llvm_clamp(LlvmBuild *b, LLVMValueRef x, int64_t limit) {
    LLVMTypeRef type = LLVMTypeOf(x);
    // Signed comparisons: a negative index goes to 0 and not to the end.
    LLVMValueRef low = llvm_zero(type), high = llvm_int_like(type, limit - 1);
    x = llvm_select(b, llvm_icmp(b, LLVMIntSLT, x, low), low, x);
    return llvm_select(b, llvm_icmp(b, LLVMIntSGT, x, high), high, x);
}

LLVMValueRef llvm_shuffle(LlvmBuild *b, LLVMValueRef x, LLVMValueRef y, const int *mask,
                          int width) {
    LLVMValueRef lane[512];
    CHECK(width <= 512);
    for (int i = 0; i < width; i++)
        lane[i] = llvm_i32(b, mask[i]);
    return LLVMBuildShuffleVector(b->builder, x, y, LLVMConstVector(lane, (unsigned)width), "");
}

LLVMValueRef llvm_part(LlvmBuild *b, LLVMValueRef v, int first, int width) {
    if (width == 1)
        return llvm_lane(b, v, first);
    int mask[256];
    CHECK(width <= 256);
    for (int i = 0; i < width; i++)
        mask[i] = first + i;
    return llvm_shuffle(b, v, LLVMGetPoison(LLVMTypeOf(v)), mask, width);
}

LLVMValueRef llvm_join(LlvmBuild *b, LLVMValueRef const *part, int count) {
    if (count == 1)
        return part[0];
    LLVMValueRef low = llvm_join(b, part, count / 2);
    LLVMValueRef high = llvm_join(b, part + count / 2, count / 2);
    int mask[512];
    const int width = 2 * llvm_width(LLVMTypeOf(low));
    CHECK(width <= 512);
    for (int i = 0; i < width; i++)
        mask[i] = i;
    return llvm_shuffle(b, low, high, mask, width);
}

LLVMValueRef llvm_lanes_sum(LlvmBuild *b, LLVMValueRef v) {
    for (int width = llvm_width(LLVMTypeOf(v)) / 2; width >= 1; width /= 2)
        v = llvm_fadd(b, llvm_part(b, v, 0, width), llvm_part(b, v, width, width));
    return v;
}

LLVMValueRef llvm_lanes_max(LlvmBuild *b, LLVMValueRef v) {
    for (int width = llvm_width(LLVMTypeOf(v)) / 2; width >= 1; width /= 2)
        v = llvm_fmax(b, llvm_part(b, v, 0, width), llvm_part(b, v, width, width));
    return v;
}

// bf16 is the upper half of an f32, so widening is exact.
LLVMValueRef llvm_bf16_widen(LlvmBuild *b, LLVMValueRef bits) {
    LLVMTypeRef wide = llvm_vector(b->i32, llvm_width(LLVMTypeOf(bits)));
    LLVMValueRef x = LLVMBuildZExt(b->builder, bits, wide, "");
    return llvm_cast_bits(b, LLVMBuildShl(b->builder, x, llvm_int_like(wide, 16), ""), b->f32);
}

// Where the target has vcvtneps2bf16 (AVX-512 BF16) that one instruction does it. It takes
// subnormal numbers for zero, so the integer form does too: the bits are the same on every target.
LLVMValueRef llvm_bf16_narrow(LlvmBuild *b, LLVMValueRef x) {
    const int width = llvm_width(LLVMTypeOf(x));
    if (b->target->bf16 && width % 8 == 0) {
        LLVMValueRef y = LLVMBuildFPTrunc(b->builder, x, llvm_vector(b->bf16, width), "");
        return llvm_cast_bits(b, y, b->i16);
    }
    LLVMTypeRef wide = llvm_vector(b->i32, width);
    LLVMValueRef bits = llvm_cast_bits(b, x, b->i32);
    // To nearest even: just under half a step is added, and one more where the kept part is odd;
    // then the lower half is cut off.
    LLVMValueRef high = LLVMBuildLShr(b->builder, bits, llvm_int_like(wide, 16), "");
    LLVMValueRef odd = LLVMBuildAnd(b->builder, high, llvm_int_like(wide, 1), "");
    LLVMValueRef up = llvm_add(b, llvm_add(b, bits, llvm_int_like(wide, 0x7fff)), odd);
    LLVMValueRef rounded = LLVMBuildLShr(b->builder, up, llvm_int_like(wide, 16), "");
    // Cutting could leave a NaN no payload, which is an infinity: the quiet bit keeps it one.
    LLVMValueRef quiet = LLVMBuildOr(b->builder, high, llvm_int_like(wide, 0x40), "");
    LLVMValueRef magnitude = LLVMBuildAnd(b->builder, bits, llvm_int_like(wide, 0x7fffffff), "");
    // Below the smallest normal number only the sign is left, as the instruction has it.
    LLVMValueRef tiny = llvm_icmp(b, LLVMIntULT, magnitude, llvm_int_like(wide, 0x00800000));
    LLVMValueRef nan = llvm_icmp(b, LLVMIntUGT, magnitude, llvm_int_like(wide, 0x7f800000));
    LLVMValueRef sign = LLVMBuildAnd(b->builder, high, llvm_int_like(wide, 0x8000), "");
    LLVMValueRef y = llvm_select(b, tiny, sign, llvm_select(b, nan, quiet, rounded));
    return LLVMBuildTrunc(b->builder, y, llvm_vector(b->i16, width), "");
}

// Loops and branches.

// Blocks stand in the order in which they are made, at the function's end.
static LLVMBasicBlockRef new_block(LlvmBuild *b) {
    return LLVMAppendBasicBlockInContext(b->context, b->fn, "");
}

// The test stands at the end of the body; a first test guards the loop, unless both bounds are
// constants.
void llvm_loop_begin(LlvmBuild *b, LlvmLoop *loop, LLVMValueRef from, LLVMValueRef to,
                     int64_t step) {
    loop->before = LLVMGetInsertBlock(b->builder);
    loop->body = new_block(b);
    loop->exit = new_block(b);
    loop->to = to;
    loop->step = llvm_i64(b, step);
    loop->carry_count = 0;
    // No trip at all where the range is empty.
    LLVMBuildCondBr(b->builder, llvm_icmp(b, LLVMIntSLT, from, to), loop->body, loop->exit);
    LLVMPositionBuilderAtEnd(b->builder, loop->body);
    // The way back from the body's end is added by llvm_loop_end, as for all carried values.
    loop->index = LLVMBuildPhi(b->builder, b->i64, "");
    LLVMAddIncoming(loop->index, &from, &loop->before, 1);
}

LLVMValueRef llvm_loop_carry(LlvmBuild *b, LlvmLoop *loop, LLVMValueRef initial) {
    CHECK(loop->carry_count < LLVM_CARRY_MAX);
    const int i = loop->carry_count++;
    loop->initial[i] = initial;
    // LLVM wants all phis before other code, so values are carried first thing in the body.
    loop->carry[i] = LLVMBuildPhi(b->builder, LLVMTypeOf(initial), "");
    loop->next[i] = NULL;
    LLVMAddIncoming(loop->carry[i], &initial, &loop->before, 1);
    return loop->carry[i];
}

void llvm_loop_next(LlvmLoop *loop, int carry, LLVMValueRef value) {
    loop->next[carry] = value;
}

void llvm_loop_again(LlvmBuild *b, LlvmLoop *loop, LLVMValueRef again) {
    loop->to = llvm_select(b, again, llvm_i64(b, INT64_MAX), llvm_i64(b, 0));
}

void llvm_loop_end(LlvmBuild *b, LlvmLoop *loop) {
    // Where the body ended: no longer loop->body if there were branches or loops in it.
    LLVMBasicBlockRef latch = LLVMGetInsertBlock(b->builder);
    // Indices stay far below 2^63; saying so lets LLVM simplify addresses.
    LLVMValueRef next = LLVMBuildNSWAdd(b->builder, loop->index, loop->step, "");
    LLVMAddIncoming(loop->index, &next, &latch, 1);
    LLVMBuildCondBr(b->builder, llvm_icmp(b, LLVMIntSLT, next, loop->to), loop->body, loop->exit);
    LLVMPositionBuilderAtEnd(b->builder, loop->exit);
    for (int i = 0; i < loop->carry_count; i++) {
        CHECK(loop->next[i]);
        LLVMAddIncoming(loop->carry[i], &loop->next[i], &latch, 1);
        // Two ways lead out: past the loop without a trip, and from the end of the last trip.
        loop->result[i] = LLVMBuildPhi(b->builder, LLVMTypeOf(loop->initial[i]), "");
        LLVMAddIncoming(loop->result[i], &loop->initial[i], &loop->before, 1);
        LLVMAddIncoming(loop->result[i], &loop->next[i], &latch, 1);
    }
}

// No values come out of a branch: what it does is stores.
LlvmIf llvm_if_begin(LlvmBuild *b, LLVMValueRef condition) {
    LLVMBasicBlockRef then = new_block(b);
    const LlvmIf branch = {.exit = new_block(b)};
    LLVMBuildCondBr(b->builder, condition, then, branch.exit);
    LLVMPositionBuilderAtEnd(b->builder, then);
    return branch;
}

void llvm_if_end(LlvmBuild *b, LlvmIf branch) {
    LLVMBuildBr(b->builder, branch.exit);
    LLVMPositionBuilderAtEnd(b->builder, branch.exit);
}
