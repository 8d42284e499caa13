// The data of a program as constants of an LLVM module. All of it is read-only and hidden: seen by
// the runtime it is linked with and by nobody outside. The layouts are those of runtime/run.h,
// which this room doesn't read: PlimCubin is two pointers, a 64-bit size and a pointer.
#include "codegen/image.h"

#include <string.h>

// A cubin holds 16-byte records; a cache line costs nothing.
enum { DATA_ALIGNMENT = 64 };

static LLVMValueRef add_constant(LlvmBuild *b, const char *name, LLVMValueRef value,
                                 unsigned align) {
    LLVMValueRef global = LLVMAddGlobal(b->module, LLVMTypeOf(value), name);
    LLVMSetInitializer(global, value);
    LLVMSetGlobalConstant(global, 1);
    LLVMSetVisibility(global, LLVMHiddenVisibility);
    LLVMSetAlignment(global, align);
    return global;
}

// Bytes that only the table points to.
static LLVMValueRef add_bytes(LlvmBuild *b, const char *name, const char *bytes, size_t size) {
    LLVMValueRef value = LLVMConstStringInContext2(b->context, bytes, size, 1);
    LLVMValueRef global = LLVMAddGlobal(b->module, LLVMTypeOf(value), name);
    LLVMSetInitializer(global, value);
    LLVMSetGlobalConstant(global, 1);
    LLVMSetLinkage(global, LLVMPrivateLinkage);
    LLVMSetAlignment(global, DATA_ALIGNMENT);
    return global;
}

// One entry more than there are, so that the table of none is still an object.
static void add_kernels(LlvmBuild *b, const ImageData *data) {
    LLVMTypeRef parameter[] = {b->ptr, b->ptr, b->i64, b->i64, b->ptr};
    LLVMTypeRef type = LLVMFunctionType(b->void_type, parameter, 5, 0);
    LLVMValueRef *entry = arena_array(b->arena, LLVMValueRef, data->kernel_count + 1);
    for (int i = 0; i <= data->kernel_count; i++) {
        entry[i] = LLVMConstNull(b->ptr);
        if (i == data->kernel_count || !data->kernel[i])
            continue;
        // Defined in this module, or in another part: object_merge brings them together.
        entry[i] = LLVMGetNamedFunction(b->module, data->kernel[i]);
        if (!entry[i])
            entry[i] = LLVMAddFunction(b->module, data->kernel[i], type);
        LLVMSetVisibility(entry[i], LLVMHiddenVisibility);
    }
    add_constant(b, "plim_kernels",
                 LLVMConstArray2(b->ptr, entry, (uint64_t)data->kernel_count + 1), 8);
}

// Ends with a row of zeros.
static void add_cubins(LlvmBuild *b, const ImageData *data) {
    LLVMTypeRef field[] = {b->ptr, b->ptr, b->i64, b->ptr};
    LLVMTypeRef type = LLVMStructTypeInContext(b->context, field, 4, 0);
    LLVMValueRef *row = arena_array(b->arena, LLVMValueRef, data->cubin_count + 1);
    for (int i = 0; i < data->cubin_count; i++) {
        const Cubin *c = &data->cubin[i];
        LLVMValueRef value[] = {add_bytes(b, "arch", c->arch, strlen(c->arch) + 1),
                                add_bytes(b, "cubin", c->bytes, c->size),
                                llvm_i64(b, (int64_t)c->size),
                                add_bytes(b, "same", c->same, strlen(c->same) + 1)};
        row[i] = LLVMConstStructInContext(b->context, value, 4, 0);
    }
    row[data->cubin_count] = LLVMConstNull(type);
    add_constant(b, "plim_cubins", LLVMConstArray2(type, row, (uint64_t)data->cubin_count + 1), 8);
}

void image_add(LlvmBuild *b, const ImageData *data) {
    LLVMValueRef plan =
        LLVMConstStringInContext2(b->context, (const char *)data->plan, data->plan_size, 1);
    add_constant(b, "plim_plan", plan, DATA_ALIGNMENT);
    add_constant(b, "plim_plan_size", llvm_i64(b, (int64_t)data->plan_size), 8);
    add_kernels(b, data);
    add_cubins(b, data);
}
