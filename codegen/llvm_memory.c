// Loads and stores of llvm_build.h: whole vectors, masked ones, gathers, and the same by dtype.
// Alignment is that of the element unless the caller knows more: a buffer may begin at any element.
// A mask made of constants costs nothing that plain code would not: LLVM takes it apart where the
// target has no masked instruction for the element's size.
#include "codegen/llvm_build.h"

#include "ir/check.h"

// In bounds: addresses never leave the operand's buffer, which LLVM may rely on. With a vector of
// indices the result is a vector of addresses.
LLVMValueRef llvm_at(LlvmBuild *b, LLVMTypeRef element, LLVMValueRef base, LLVMValueRef index) {
    return LLVMBuildInBoundsGEP2(b->builder, element, base, &index, 1, "");
}

LLVMValueRef llvm_load(LlvmBuild *b, LLVMTypeRef type, LLVMValueRef address, unsigned align) {
    LLVMValueRef value = LLVMBuildLoad2(b->builder, type, address, "");
    LLVMSetAlignment(value, align);
    return value;
}

void llvm_store(LlvmBuild *b, LLVMValueRef value, LLVMValueRef address, unsigned align) {
    LLVMSetAlignment(LLVMBuildStore(b->builder, value, address), align);
}

LLVMValueRef llvm_load_masked(LlvmBuild *b, LLVMTypeRef type, LLVMValueRef address, unsigned align,
                              LLVMValueRef mask) {
    if (!mask)
        return llvm_load(b, type, address, align);
    // The last argument is what masked lanes read as.
    LLVMTypeRef overload[] = {type, b->ptr};
    LLVMValueRef arg[] = {address, llvm_i32(b, align), mask, llvm_zero(type)};
    return llvm_intrinsic(b, "llvm.masked.load", overload, 2, arg, 4);
}

void llvm_store_masked(LlvmBuild *b, LLVMValueRef value, LLVMValueRef address, unsigned align,
                       LLVMValueRef mask) {
    if (!mask) {
        llvm_store(b, value, address, align);
        return;
    }
    LLVMTypeRef overload[] = {LLVMTypeOf(value), b->ptr};
    LLVMValueRef arg[] = {value, address, llvm_i32(b, align), mask};
    llvm_intrinsic(b, "llvm.masked.store", overload, 2, arg, 4);
}

// Of one lane in memory; also the alignment that can be relied on. i1 lanes take a byte.
static unsigned element_bytes(LLVMTypeRef type) {
    LLVMTypeRef element = llvm_width(type) == 1 ? type : LLVMGetElementType(type);
    switch (LLVMGetTypeKind(element)) {
    case LLVMFloatTypeKind:
        return 4;
    case LLVMPointerTypeKind:
        return 8;
    case LLVMIntegerTypeKind:
        return LLVMGetIntTypeWidth(element) < 8 ? 1 : LLVMGetIntTypeWidth(element) / 8;
    default:
        UNREACHABLE();
    }
}

// Of a vector its lane's type, of a scalar its own.
static LLVMTypeRef lane_type(LLVMTypeRef type) {
    return llvm_width(type) == 1 ? type : LLVMGetElementType(type);
}

LLVMValueRef llvm_gather(LlvmBuild *b, LLVMTypeRef type, LLVMValueRef base, LLVMValueRef index,
                         LLVMValueRef mask) {
    const int width = llvm_width(type);
    LLVMValueRef address = llvm_at(b, lane_type(type), base, index);
    // A single element needs no gather: a plain load, as masks are for vectors only.
    if (width == 1)
        return llvm_load(b, type, address, element_bytes(type));
    if (!mask)
        // The intrinsic has no form without a mask; one of ones costs nothing.
        mask = llvm_int_like(llvm_vector(b->i1, width), 1);
    LLVMTypeRef overload[] = {type, LLVMTypeOf(address)};
    LLVMValueRef arg[] = {address, llvm_i32(b, element_bytes(type)), mask, llvm_zero(type)};
    return llvm_intrinsic(b, "llvm.masked.gather", overload, 2, arg, 4);
}

void llvm_scatter(LlvmBuild *b, LLVMValueRef value, LLVMValueRef base, LLVMValueRef index,
                  LLVMValueRef mask) {
    LLVMTypeRef type = LLVMTypeOf(value);
    const int width = llvm_width(type);
    LLVMValueRef address = llvm_at(b, lane_type(type), base, index);
    // As for the gather.
    if (width == 1) {
        llvm_store(b, value, address, element_bytes(type));
        return;
    }
    if (!mask)
        mask = llvm_int_like(llvm_vector(b->i1, width), 1);
    LLVMTypeRef overload[] = {type, LLVMTypeOf(address)};
    LLVMValueRef arg[] = {value, address, llvm_i32(b, element_bytes(type)), mask};
    // Lanes that meet are stored in order: the last one stays.
    llvm_intrinsic(b, "llvm.masked.scatter", overload, 2, arg, 4);
}

// Lanes known here: the mask is a constant.
LLVMValueRef llvm_mask_first(LlvmBuild *b, int width, int64_t count) {
    LLVMValueRef lane[512];
    CHECK(width <= 512);
    for (int i = 0; i < width; i++)
        lane[i] = llvm_i1(b, i < count);
    return width == 1 ? lane[0] : LLVMConstVector(lane, (unsigned)width);
}

LLVMValueRef llvm_mask_below(LlvmBuild *b, int width, LLVMValueRef count) {
    // Counts beyond the width are brought into 32 bits first.
    LLVMValueRef most = llvm_i64(b, width);
    count = llvm_select(b, llvm_icmp(b, LLVMIntSGT, count, most), most, count);
    count = LLVMBuildTrunc(b->builder, count, b->i32, "");
    return llvm_icmp(b, LLVMIntSLT, llvm_iota(b, width), llvm_splat(b, count, width));
}

// bf16 is held as bits, for LLVM's own bf16 arithmetic would round where we don't.
LLVMTypeRef llvm_memory_type(LlvmBuild *b, DType dtype) {
    switch (dtype) {
    case DT_F32:
        return b->f32;
    case DT_BF16:
        return b->i16;
    case DT_I32:
        return b->i32;
    case DT_BOOL:
        return b->i8;
    case DT_COUNT:
        break;
    }
    UNREACHABLE();
}

LLVMValueRef llvm_load_typed(LlvmBuild *b, DType dtype, int width, LLVMValueRef address,
                             LLVMValueRef mask) {
    LLVMTypeRef type = llvm_vector(llvm_memory_type(b, dtype), width);
    LLVMValueRef value = llvm_load_masked(b, type, address, element_bytes(type), mask);
    return llvm_widen_typed(b, dtype, value);
}

// Any byte but 0 is true.
LLVMValueRef llvm_widen_typed(LlvmBuild *b, DType dtype, LLVMValueRef value) {
    if (dtype == DT_BF16)
        return llvm_bf16_widen(b, value);
    if (dtype == DT_BOOL)
        return llvm_icmp(b, LLVMIntNE, value, llvm_zero(LLVMTypeOf(value)));
    return value;
}

// Bools are written as 0 or 1, so that files and checks can compare bytes.
LLVMValueRef llvm_narrow_typed(LlvmBuild *b, DType dtype, LLVMValueRef value) {
    if (dtype == DT_BF16)
        return llvm_bf16_narrow(b, value);
    if (dtype == DT_BOOL)
        return LLVMBuildZExt(b->builder, value, llvm_vector(b->i8, llvm_width(LLVMTypeOf(value))),
                             "");
    return value;
}

void llvm_store_typed(LlvmBuild *b, DType dtype, LLVMValueRef value, LLVMValueRef address,
                      LLVMValueRef mask) {
    value = llvm_narrow_typed(b, dtype, value);
    llvm_store_masked(b, value, address, element_bytes(LLVMTypeOf(value)), mask);
}

void llvm_store_stream(LlvmBuild *b, DType dtype, LLVMValueRef value, LLVMValueRef address) {
    value = llvm_narrow_typed(b, dtype, value);
    LLVMTypeRef type = LLVMTypeOf(value);
    LLVMValueRef store = LLVMBuildStore(b->builder, value, address);
    LLVMSetAlignment(store, element_bytes(type) * (unsigned)llvm_width(type));
    LLVMMetadataRef one = LLVMValueAsMetadata(llvm_i32(b, 1));
    LLVMMetadataRef node = LLVMMDNodeInContext2(b->context, &one, 1);
    LLVMSetMetadata(store, LLVMGetMDKindIDInContext(b->context, "nontemporal", 11),
                    LLVMMetadataAsValue(b->context, node));
}

void llvm_store_fence(LlvmBuild *b) {
    llvm_intrinsic(b, "llvm.x86.sse.sfence", NULL, 0, NULL, 0);
}

// Not in bounds: what lies there may belong to nobody. As data.
void llvm_prefetch(LlvmBuild *b, LLVMValueRef address, LLVMValueRef ahead, Prefetch what) {
    address = LLVMBuildGEP2(b->builder, b->i8, address, &ahead, 1, "");
    LLVMTypeRef overload[] = {b->ptr};
    LLVMValueRef write = llvm_i32(b, what == PREFETCH_WRITE);
    LLVMValueRef locality = llvm_i32(b, what == PREFETCH_FAR ? 2 : 3); // 3: the nearest cache
    LLVMValueRef arg[] = {address, write, locality, llvm_i32(b, 1)};
    llvm_intrinsic(b, "llvm.prefetch", overload, 1, arg, 4);
}
