// One case an operation. Comparisons are ordered (false on NaN) but for `ne`; integer arithmetic
// wraps; integer division by 0 gives 0 and never traps.
#include "codegen/llvm_ops.h"

#include "codegen/llvm_math.h"
#include "ir/check.h"

// A scalar, splat by its users where they have lanes; bf16 is f32 in registers.
static LLVMValueRef build_const(LlvmBuild *b, const KInstr *in) {
    switch (in->dtype) {
    case DT_F32:
    case DT_BF16:
        return llvm_f32(b, in->as.f);
    case DT_I32:
        return llvm_i32(b, in->as.i);
    case DT_BOOL:
        return llvm_i1(b, in->as.i != 0);
    case DT_COUNT:
        break;
    }
    UNREACHABLE();
}

// Division by 0, and of the least number by -1, trap on x86: such divisors become 1 or the
// negation.
static LLVMValueRef integer_divide(LlvmBuild *b, LLVMValueRef x, LLVMValueRef y) {
    LLVMTypeRef type = LLVMTypeOf(x);
    LLVMValueRef zero = llvm_icmp(b, LLVMIntEQ, y, llvm_zero(type));
    LLVMValueRef minus = llvm_icmp(b, LLVMIntEQ, y, llvm_int_like(type, -1));
    LLVMValueRef either = LLVMBuildOr(b->builder, zero, minus, "");
    LLVMValueRef safe = llvm_select(b, either, llvm_int_like(type, 1), y);
    // By the safe divisor first; then the two special cases replace what came out.
    LLVMValueRef quotient = LLVMBuildSDiv(b->builder, x, safe, "");
    quotient = llvm_select(b, minus, LLVMBuildNeg(b->builder, x, ""), quotient);
    return llvm_select(b, zero, llvm_zero(type), quotient);
}

// real: f32 operands, else i32. Nothing is fused here: only KOP_FMA is a fused operation.
static LLVMValueRef arithmetic(LlvmBuild *b, KOp op, bool real, LLVMValueRef x, LLVMValueRef y) {
    switch (op) {
    case KOP_ADD:
        return real ? llvm_fadd(b, x, y) : llvm_add(b, x, y);
    case KOP_SUB:
        return real ? llvm_fsub(b, x, y) : llvm_sub(b, x, y);
    case KOP_MUL:
        return real ? llvm_fmul(b, x, y) : llvm_mul(b, x, y);
    case KOP_DIV:
        return real ? llvm_fdiv(b, x, y) : integer_divide(b, x, y);
    case KOP_MIN:
        // Integers have no NaN, so that the plain choice is the minimum.
        return real ? llvm_fmin(b, x, y) : llvm_select(b, llvm_icmp(b, LLVMIntSLT, x, y), x, y);
    case KOP_MAX:
        return real ? llvm_fmax(b, x, y) : llvm_select(b, llvm_icmp(b, LLVMIntSGT, x, y), x, y);
    default:
        UNREACHABLE();
    }
}

// i1 lanes. Equality is for bools too.
static LLVMValueRef compare(LlvmBuild *b, KOp op, bool real, LLVMValueRef x, LLVMValueRef y) {
    switch (op) {
    case KOP_EQ:
        return real ? llvm_fcmp(b, LLVMRealOEQ, x, y) : llvm_icmp(b, LLVMIntEQ, x, y);
    case KOP_NE:
        return real ? llvm_fcmp(b, LLVMRealUNE, x, y) : llvm_icmp(b, LLVMIntNE, x, y);
    case KOP_LT:
        return real ? llvm_fcmp(b, LLVMRealOLT, x, y) : llvm_icmp(b, LLVMIntSLT, x, y);
    case KOP_LE:
        return real ? llvm_fcmp(b, LLVMRealOLE, x, y) : llvm_icmp(b, LLVMIntSLE, x, y);
    default:
        UNREACHABLE();
    }
}

static LLVMValueRef integer_abs(LlvmBuild *b, LLVMValueRef x) {
    LLVMTypeRef type = LLVMTypeOf(x);
    LLVMValueRef arg[] = {x, llvm_i1(b, false)}; // The least number stays itself
    return llvm_intrinsic(b, "llvm.abs", &type, 1, arg, 2);
}

// true is 1: an unsigned conversion, for as a signed number the bit would be -1.
static LLVMValueRef to_f32(LlvmBuild *b, DType from, LLVMValueRef x) {
    LLVMTypeRef type = llvm_vector(b->f32, llvm_width(LLVMTypeOf(x)));
    return from == DT_BOOL ? LLVMBuildUIToFP(b->builder, x, type, "")
                           : LLVMBuildSIToFP(b->builder, x, type, "");
}

// Truncates; saturates; NaN gives 0.
static LLVMValueRef to_i32(LlvmBuild *b, DType from, LLVMValueRef x) {
    LLVMTypeRef type = llvm_vector(b->i32, llvm_width(LLVMTypeOf(x)));
    if (from == DT_BOOL)
        return LLVMBuildZExt(b->builder, x, type, "");
    // The plain conversion is undefined outside the range of i32, this one is not.
    LLVMTypeRef overload[] = {type, LLVMTypeOf(x)};
    return llvm_intrinsic(b, "llvm.fptosi.sat", overload, 2, &x, 1);
}

// The draw of ir/random.c: counter (index, step, key, 0), key (seed, a constant), first word.
static LLVMValueRef draw(LlvmBuild *b, LLVMValueRef const *arg) {
    LLVMTypeRef type = LLVMTypeOf(arg[0]);
    LLVMValueRef zero = llvm_zero(type), out[4];
    LLVMValueRef counter[4] = {arg[3], arg[1], arg[2], zero};
    LLVMValueRef key[2] = {arg[0], zero};
    llvm_math_philox(b, counter, key, out);
    return out[0];
}

// arg: kop_arity of them, of one width, which is the result's too but for constants. from is the
// dtype of the first.
LLVMValueRef llvm_op(LlvmBuild *b, const KInstr *in, DType from, LLVMValueRef const *arg) {
    const bool real = from == DT_F32;
    switch (in->op) {
    case KOP_CONST:
        return build_const(b, in);
    case KOP_IMM:
        // Immediates take 64 bits in the table and 32 in the program.
        return LLVMBuildTrunc(b->builder, llvm_imm(b, (int)in->as.i), b->i32, "");
    case KOP_ADD:
    case KOP_SUB:
    case KOP_MUL:
    case KOP_DIV:
    case KOP_MIN:
    case KOP_MAX:
        return arithmetic(b, in->op, real, arg[0], arg[1]);
    case KOP_FMA:
        return llvm_fma(b, arg[0], arg[1], arg[2]);
    case KOP_NEG:
        return real ? llvm_fneg(b, arg[0]) : LLVMBuildNeg(b->builder, arg[0], "");
    case KOP_ABS:
        return real ? llvm_fabs(b, arg[0]) : integer_abs(b, arg[0]);
    case KOP_SQRT:
        return llvm_fsqrt(b, arg[0]);
    case KOP_EXP:
        return llvm_math_exp(b, arg[0]);
    case KOP_EXPM1:
        return llvm_math_expm1(b, arg[0]);
    case KOP_LOG:
        return llvm_math_log(b, arg[0]);
    case KOP_SIN:
        return llvm_math_sin(b, arg[0]);
    case KOP_COS:
        return llvm_math_cos(b, arg[0]);
    case KOP_TANH:
        return llvm_math_tanh(b, arg[0]);
    case KOP_ERF:
        return llvm_math_erf(b, arg[0]);
    case KOP_EQ:
    case KOP_NE:
    case KOP_LT:
    case KOP_LE:
        return compare(b, in->op, real, arg[0], arg[1]);
    case KOP_AND:
        return LLVMBuildAnd(b->builder, arg[0], arg[1], "");
    case KOP_OR:
        return LLVMBuildOr(b->builder, arg[0], arg[1], "");
    case KOP_NOT:
        return LLVMBuildNot(b->builder, arg[0], "");
    case KOP_SELECT:
        return llvm_select(b, arg[0], arg[1], arg[2]);
    case KOP_TO_F32:
        return to_f32(b, from, arg[0]);
    case KOP_TO_I32:
        return to_i32(b, from, arg[0]);
    case KOP_ROUND_BF16:
        // The value that a store and a load would give: fusing changes no bits.
        return llvm_bf16_widen(b, llvm_bf16_narrow(b, arg[0]));
    case KOP_RANDOM:
        return draw(b, arg);
    // Memory, positions, effects and reductions belong to the loops: llvm_scalar.c.
    case KOP_INDEX:
    case KOP_LOAD:
    case KOP_LOAD_AT:
    case KOP_STORE:
    case KOP_STORE_AT:
    case KOP_ADD_AT:
    case KOP_SUM:
    case KOP_MAXIMUM:
    case KOP_PICK:
    case KOP_COUNT:
        break;
    }
    UNREACHABLE();
}

// Philox has chains side by side of its own.
bool llvm_op_is_chain(KOp op) {
    switch (op) {
    case KOP_EXP:
    case KOP_EXPM1:
    case KOP_LOG:
    case KOP_SIN:
    case KOP_COS:
    case KOP_TANH:
    case KOP_ERF:
        return true;
    default:
        return false;
    }
}

// About the number of instructions a vector: rounding is the integer form's, drawing is ten rounds
// of Philox. Used to choose how many vectors are computed at a time.
int llvm_op_weight(KOp op) {
    switch (op) {
    case KOP_EXP:
        return 14;
    case KOP_EXPM1:
    case KOP_LOG:
    case KOP_SIN:
    case KOP_COS:
        return 24;
    case KOP_TANH:
        return 18;
    case KOP_ERF:
        return 36;
    case KOP_RANDOM:
        return 140;
    case KOP_ROUND_BF16:
        return 10;
    case KOP_CONST:
    case KOP_IMM:
        return 0;
    default:
        return 1;
    }
}
