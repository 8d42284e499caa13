// Values, addresses, loads and effects of scalar kernels as CUDA C: everything that is one
// operation. Where it stands is for cuda_print_walk.c and the files of the axes.
//
// f32 constants have 9 digits and read back to the same bits; functions that C has not got, or has
// with other bits, are the prelude's.
#include "codegen/cuda_print.h"

#include "ir/check.h"

#include <math.h>

const char *cuda_value_type(DType t) {
    return t == DT_I32 ? "int" : t == DT_BOOL ? "bool" : "float";
}

const char *cuda_memory_type(DType t) {
    switch (t) {
    case DT_F32:
        return "float";
    case DT_BF16:
        return "plim_bf16";
    case DT_I32:
        return "int";
    case DT_BOOL:
        return "unsigned char";
    case DT_COUNT:
        break;
    }
    UNREACHABLE();
}

bool cuda_is_load(const CudaScalar *cs, KRef i) {
    return cs->k->instr[i].op == KOP_LOAD || cs->k->instr[i].op == KOP_LOAD_AT;
}

static DType operand_dtype(const CudaScalar *cs, KRef i) {
    return cs->k->operand[cs->k->instr[i].operand].dtype;
}

static const char *number(const CudaScalar *cs, int64_t x) {
    return arena_format(cs->a, "%lld%s", (long long)x, cs->index[0] == 'l' ? "LL" : "");
}

static const char *constant_text(const CudaScalar *cs, const KInstr *in) {
    if (in->dtype == DT_BOOL)
        return in->as.i ? "true" : "false";
    if (in->dtype == DT_I32) // the least number has no literal
        return in->as.i == INT32_MIN ? "(-2147483647 - 1)"
                                     : arena_format(cs->a, "%lld", (long long)in->as.i);
    if (isfinite(in->as.f))
        return arena_format(cs->a, "%.9ef", in->as.f);
    return isnan(in->as.f)  ? "plim_float(0x7fc00000u)"
           : in->as.f > 0.0 ? "plim_float(0x7f800000u)"
                            : "plim_float(0xff800000u)";
}

// Where operation i finds or puts its element: lane e where it differs along the column.
static const char *address(const CudaScalar *cs, KRef i, bool lane) {
    const Kernel *k = cs->k;
    const KInstr *in = &k->instr[i];
    const int last = k->rank - 1;
    const KRef moving = scalar_moving_index(k, i);
    const int64_t stride = k->dim[last] > 1 ? k->operand[in->operand].stride[last] : 0;
    const char *text = arena_format(cs->a, "p%d + at%d", in->operand, in->operand);
    if (scalar_along(&cs->w, i) && stride == 1)
        text = arena_format(cs->a, "%s + c%s", text, lane ? " + e" : "");
    else if (scalar_along(&cs->w, i) && stride != 0)
        text = arena_format(cs->a, "%s + (c + e) * %s", text, number(cs, stride));
    if (moving >= 0)
        text = arena_format(cs->a, "%s + (%s)plim_clamp(v%d, %lld) * %s", text, cs->index, moving,
                            (long long)in->limit, number(cs, in->step));
    return text;
}

static const char *get_text(const CudaScalar *cs, KRef i) {
    if (cs->tiled && cs->tiled[i])
        return arena_format(cs->a, "tile%d[down * %d + e * %d + across]", i,
                            SCALAR_TILE_COLUMNS + 1, SCALAR_TILE_COLUMNS / cs->s.lanes);
    return arena_format(cs->a, "plim_get_%s(%s)", dtype_name(operand_dtype(cs, i)),
                        address(cs, i, true));
}

// The names of binary operations that are operators of C on f32.
static const char *operator_of(KOp op) {
    switch (op) {
    case KOP_ADD:
        return "+";
    case KOP_SUB:
        return "-";
    case KOP_MUL:
        return "*";
    case KOP_EQ:
        return "==";
    case KOP_NE:
        return "!=";
    case KOP_LT:
        return "<";
    case KOP_LE:
        return "<=";
    case KOP_AND:
        return "&&";
    case KOP_OR:
        return "||";
    default:
        return NULL;
    }
}

// Integers wrap, which C's own do not.
static bool wraps(KOp op, DType of) {
    return of == DT_I32 && (op == KOP_ADD || op == KOP_SUB || op == KOP_MUL);
}

static const char *conversion(const CudaScalar *cs, const KInstr *in, DType of) {
    const KRef x = in->arg[0];
    if (in->op == KOP_TO_F32)
        return of == DT_BOOL ? arena_format(cs->a, "v%d ? 1.0f : 0.0f", x)
                             : arena_format(cs->a, "(float)v%d", x);
    return of == DT_BOOL ? arena_format(cs->a, "v%d ? 1 : 0", x)
                         : arena_format(cs->a, "plim_truncate(v%d)", x);
}

static const char *index_text(const CudaScalar *cs, const KInstr *in) {
    const int dim = (int)in->as.i;
    if (cs->k->dim[dim] == 1)
        return "0";
    return dim == cs->k->rank - 1 ? "(int)(c + e)" : arena_format(cs->a, "(int)i%d", dim);
}

// plim_NAME(v, v, ...), by the operation's own name, for integers with a suffix.
static const char *call_text(const CudaScalar *cs, const KInstr *in, DType of) {
    const bool both = in->op == KOP_DIV || in->op == KOP_MIN || in->op == KOP_MAX ||
                      in->op == KOP_ABS || wraps(in->op, of);
    char *text =
        arena_format(cs->a, "plim_%s%s(", kop_name(in->op), both && of == DT_I32 ? "_i32" : "");
    for (int j = 0; j < kop_arity(in->op); j++)
        text = arena_format(cs->a, "%s%sv%d", text, j ? ", " : "", in->arg[j]);
    return arena_format(cs->a, "%s)", text);
}

static const char *expression(const CudaScalar *cs, KRef i) {
    const KInstr *in = &cs->k->instr[i];
    const DType of = in->arg[0] >= 0 ? cs->k->instr[in->arg[0]].dtype : in->dtype;
    if (cuda_is_load(cs, i))
        return get_text(cs, i);
    if (operator_of(in->op) && !wraps(in->op, of))
        return arena_format(cs->a, "v%d %s v%d", in->arg[0], operator_of(in->op), in->arg[1]);
    switch (in->op) {
    case KOP_CONST:
        return constant_text(cs, in);
    case KOP_IMM:
        return arena_format(cs->a, "(int)imm%lld", (long long)in->as.i);
    case KOP_INDEX:
        return index_text(cs, in);
    case KOP_NOT:
        return arena_format(cs->a, "!v%d", in->arg[0]);
    case KOP_NEG:
        return of == DT_I32 ? arena_format(cs->a, "plim_sub_i32(0, v%d)", in->arg[0])
                            : call_text(cs, in, of);
    case KOP_SELECT:
        return arena_format(cs->a, "v%d ? v%d : v%d", in->arg[0], in->arg[1], in->arg[2]);
    case KOP_TO_F32:
    case KOP_TO_I32:
        return conversion(cs, in, of);
    default:
        return call_text(cs, in, of);
    }
}

void cuda_print_value(CudaScalar *cs, KRef i) {
    cuda_put(cs->t, "const %s v%d = %s;", cuda_value_type(cs->k->instr[i].dtype), i,
             cs->never && cs->never[i] ? "false" : expression(cs, i));
}

void cuda_print_lane(CudaScalar *cs, KRef i) {
    const char *type = cuda_value_type(cs->k->instr[i].dtype);
    if (cs->lanes[i])
        cuda_put(cs->t, "const %s v%d = %s[e];", type, i, cs->lanes[i]);
    else if (cs->tail && cuda_is_load(cs, i)) // past the end there is nothing to load
        cuda_put(cs->t, "const %s v%d = c + e < %s ? %s : 0;", type, i, cs->end, get_text(cs, i));
    else
        cuda_print_value(cs, i);
}

bool cuda_loads_by_lane(const CudaScalar *cs, KRef i) {
    const int last = cs->k->rank - 1;
    const KRef moving = scalar_moving_index(cs->k, i);
    return cs->k->operand[cs->k->instr[i].operand].stride[last] != 1 ||
           (moving >= 0 && scalar_along(&cs->w, moving));
}

// The widest access that divides the vector.
static int access_of(const CudaScalar *cs, KRef i) {
    const int access = scalar_access(&cs->w, i);
    return access < cs->s.lanes ? access : cs->s.lanes;
}

static void print_global_load(CudaScalar *cs, KRef i, const char *array) {
    CudaText *t = cs->t;
    const char *dtype = dtype_name(operand_dtype(cs, i));
    const int lanes = cs->s.lanes, access = access_of(cs, i);
    const char *lane = arena_format(cs->a, "%s[e] = %s;", array, get_text(cs, i));
    const char *guarded = arena_format(cs->a, "if (c + e < %s)", cs->end);
    if (cuda_loads_by_lane(cs, i)) {
        if (cs->tail)
            cuda_put(t, "%s[e] = 0;\n%s", array, guarded);
        cuda_put(t, "%s", lane);
        return;
    }
    if (access > 1 && cs->tail)
        cuda_open(t, "if (c + %d <= %s) {", lanes, cs->end);
    for (int e = 0; access > 1 && e < lanes; e += access)
        cuda_put(t, "plim_load_%s_%d(%s + %d, %s + %d);", dtype, access, address(cs, i, false), e,
                 array, e);
    if (access > 1 && !cs->tail)
        return;
    if (access > 1) {
        cuda_close(t);
        cuda_open(t, "else {");
    }
    cuda_put(t, "#pragma unroll");
    cuda_open(t, "for (int e = 0; e < %d; e++) {", lanes);
    if (cs->tail)
        cuda_put(t, "%s[e] = 0;\n%s", array, guarded);
    cuda_put(t, "%s", lane);
    cuda_close(t);
    if (access > 1)
        cuda_close(t);
}

// Where shared memory has the row's first elements of a load.
static const char *held_address(const CudaScalar *cs, KRef i, const char *type) {
    return arena_format(cs->a, "(%s)(held + %lld)", type, (long long)cs->hold->load[i].at);
}

void cuda_print_copies(CudaScalar *cs, KRef i) {
    const int size = (int)dtype_bytes(operand_dtype(cs, i));
    const int bytes = scalar_copy_bytes(&cs->w, &cs->s, i);
    for (int e = 0; e < cs->s.lanes; e += bytes / size)
        cuda_put(cs->t, "plim_copy_%d(held_at + %lldu + (unsigned)(c + %d) * %du, %s + %d, true);",
                 bytes, (long long)cs->hold->load[i].at, e, size, address(cs, i, false), e);
}

// From shared memory, where a vector is aligned whatever the operand is.
static void print_held_load(CudaScalar *cs, KRef i, const char *array) {
    const DType dtype = operand_dtype(cs, i);
    const char *name = dtype_name(dtype);
    const char *type = arena_format(cs->a, "const %s *", cuda_memory_type(dtype));
    const int most = dtype_bytes(dtype) == 4 ? 4 : 8;
    const int lanes = cs->s.lanes, access = lanes < most ? lanes : most;
    if (lanes == 1)
        cuda_put(cs->t, "%s[0] = plim_get_%s(%s + c);", array, name, held_address(cs, i, type));
    for (int e = 0; lanes > 1 && e < lanes; e += access)
        cuda_put(cs->t, "plim_load_%s_%d(%s + c + %d, %s + %d);", name, access,
                 held_address(cs, i, type), e, array, e);
}

void cuda_print_load(CudaScalar *cs, KRef i, const char *array) {
    CudaText *t = cs->t;
    const int64_t held = cs->hold ? cs->hold->load[i].columns : 0;
    if (held == 0) {
        print_global_load(cs, i, array);
        return;
    }
    if (held == cs->s.columns - cs->s.columns % cs->s.lanes) {
        print_held_load(cs, i, array);
        return;
    }
    cuda_open(t, "if (c < %lld) {", (long long)held);
    print_held_load(cs, i, array);
    cuda_close(t);
    cuda_open(t, "else {");
    print_global_load(cs, i, array);
    cuda_close(t);
}

bool cuda_stores_vector(const CudaScalar *cs, KRef i) {
    return cs->k->instr[i].op != KOP_ADD_AT && !cuda_loads_by_lane(cs, i) && access_of(cs, i) > 1;
}

// Where an effect does not differ along a dim of the row, only its first index makes it: "" or
// "i0 == 0 && i2 == 0".
static const char *once_text(const CudaScalar *cs, KRef i, const char *also) {
    const char *text = also;
    for (int d = 0; d + 1 < cs->k->rank; d++)
        if (!(cs->w.varies[i] & 1u << d) && cs->k->dim[d] > 1 &&
            (cs->local & 1u << d || cs->k->axis == KERNEL_ROWS))
            text = arena_format(cs->a, "%s%si%d == 0", text, *text ? " && " : "", d);
    return text;
}

static void put_element(CudaScalar *cs, KRef i) {
    const KInstr *in = &cs->k->instr[i];
    const char *dtype = dtype_name(operand_dtype(cs, i)), *at = address(cs, i, true);
    if (in->op != KOP_ADD_AT) {
        cuda_put(cs->t, "plim_put_%s(%s, v%d);", dtype, at, in->arg[0]);
        return;
    }
    const char *old = arena_format(cs->a, "plim_get_%s(%s)", dtype, at);
    const char *sum = in->dtype == DT_I32
                          ? arena_format(cs->a, "plim_add_i32(%s, v%d)", old, in->arg[0])
                          : arena_format(cs->a, "%s + v%d", old, in->arg[0]);
    // A negative index adds nothing.
    cuda_put(cs->t, "if (v%d >= 0)\n    plim_put_%s(%s, %s);", in->arg[1], dtype, at, sum);
}

void cuda_print_effect_lane(CudaScalar *cs, KRef i) {
    if (cuda_stores_vector(cs, i)) {
        cuda_put(cs->t, "s%d[e] = v%d;", i, cs->k->instr[i].arg[0]);
        return;
    }
    const char *guard = cs->tail ? arena_format(cs->a, "c + e < %s", cs->end) : "";
    const char *condition = once_text(cs, i, guard);
    if (*condition)
        cuda_open(cs->t, "if (%s) {", condition);
    put_element(cs, i);
    if (*condition)
        cuda_close(cs->t);
}

void cuda_print_effect_vector(CudaScalar *cs, KRef i) {
    CudaText *t = cs->t;
    if (!cuda_stores_vector(cs, i))
        return;
    const char *dtype = dtype_name(operand_dtype(cs, i));
    const char *condition = once_text(cs, i, "");
    const int lanes = cs->s.lanes, access = access_of(cs, i);
    if (*condition)
        cuda_open(t, "if (%s) {", condition);
    if (cs->tail)
        cuda_open(t, "if (c + %d <= %s) {", lanes, cs->end);
    for (int e = 0; e < lanes; e += access)
        cuda_put(t, "plim_store_%s_%d(%s + %d, s%d + %d);", dtype, access, address(cs, i, false), e,
                 i, e);
    if (cs->tail) {
        cuda_close(t);
        cuda_open(t, "else {");
        cuda_put(t, "#pragma unroll");
        cuda_open(t, "for (int e = 0; e < %d; e++) {", lanes);
        cuda_put(t, "if (c + e < %s)\n    plim_put_%s(%s, s%d[e]);", cs->end, dtype,
                 address(cs, i, true), i);
        cuda_close(t);
        cuda_close(t);
    }
    if (*condition)
        cuda_close(t);
}

void cuda_print_effect_once(CudaScalar *cs, KRef i, const char *also) {
    const char *condition = once_text(cs, i, also);
    if (*condition)
        cuda_open(cs->t, "if (%s) {", condition);
    put_element(cs, i);
    if (*condition)
        cuda_close(cs->t);
}

// The row's number taken apart, the fastest dim first; the slowest needs no remainder.
void cuda_print_position(CudaScalar *cs) {
    const Kernel *k = cs->k;
    int slowest = 0;
    while (slowest + 1 < k->rank - 1 && k->dim[slowest] == 1)
        slowest++;
    const char *left = "row";
    for (int d = k->rank - 2; d >= slowest; d--) {
        if (k->dim[d] == 1)
            continue;
        if (d == slowest) {
            cuda_put(cs->t, "const %s i%d = %s;", cs->count, d, left);
            break;
        }
        cuda_put(cs->t, "const %s i%d = %s %% %lldu, left%d = %s / %lldu;", cs->count, d, left,
                 (long long)k->dim[d], d, left, (long long)k->dim[d]);
        left = arena_format(cs->a, "left%d", d);
    }
    for (int o = 0; o < k->operand_count; o++) {
        if (!cs->members.used[o])
            continue;
        const char *text = "";
        for (int d = 0; d + 1 < k->rank; d++)
            if (k->dim[d] > 1 && k->operand[o].stride[d] != 0)
                text = arena_format(cs->a, "%s%s(%s)i%d * %s", text, *text ? " + " : "", cs->index,
                                    d, number(cs, k->operand[o].stride[d]));
        cuda_put(cs->t, "const %s at%d = %s;", cs->index, o, *text ? text : "0");
    }
}

void cuda_print_origin(CudaScalar *cs) {
    const Kernel *k = cs->k;
    for (int o = 0; o < k->operand_count; o++) {
        bool walked = !cs->members.used[o];
        for (int d = 0; d + 1 < k->rank; d++)
            walked = walked || (k->dim[d] > 1 && k->operand[o].stride[d] != 0);
        if (!walked)
            cuda_put(cs->t, "const %s at%d = 0;", cs->index, o);
    }
}

void cuda_print_scalars(CudaScalar *cs, uint32_t along, int depth) {
    for (KRef i = 0; i < cs->k->instr_count; i++) {
        const KOp op = cs->k->instr[i].op;
        if (cs->ready[i] || (cs->w.varies[i] & along) || cs->w.depth[i] != depth ||
            kop_is_effect(op) || kop_is_reduction(op))
            continue;
        cuda_print_value(cs, i);
        cs->ready[i] = true;
    }
}

const char *cuda_start(const CudaScalar *cs, KRef i) {
    return cs->k->instr[i].op == KOP_SUM ? "0.0f" : "plim_float(0xff800000u)";
}

void cuda_print_join(CudaScalar *cs, const char *into, KRef i) {
    const KRef x = cs->k->instr[i].arg[0];
    if (cs->k->instr[i].op == KOP_SUM)
        cuda_put(cs->t, "%s = %s + v%d;", into, into, x);
    else
        cuda_put(cs->t, "%s = plim_max(v%d, %s);", into, x, into);
}
