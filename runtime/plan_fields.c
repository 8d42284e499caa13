// The field tables and what all four walkers over them share.
//
// Fields stand in the order of the binary form and of the text. What changes the meaning of old
// files changes PLAN_VERSION.
#include "runtime/plan_fields.h"

#include <string.h>

_Static_assert(sizeof(PlanInstrKind) == 4 && sizeof(PlanDType) == 4, "enums are read as u32");

// Words of the text form, by the enums' values. New ones go to the end: the binary form has the
// numbers.
static const char *const dtype_names[] = {"f32", "bf16", "i32", "bool"};
static const char *const space_names[] = {"device", "host", "disk"};
static const char *const buffer_kind_names[] = {"weights",     "gradients", "optimizer",
                                                "activations", "workspace", "communication",
                                                "inputs",      "state"};
static const char *const access_names[] = {"read", "write", "update"};
static const char *const instr_names[] = {"kernel",     "product",    "fill",           "copy",
                                          "all_reduce", "all_gather", "reduce_scatter", "exchange"};
static const char *const source_names[] = {"data", "knob",   "step", "steps",
                                           "seed", "caller", "slot"};
static const char *const phase_names[] = {"forward", "backward", "update"};
static const char *const state_names[] = {"param", "saved", "transient", "optimizer"};
static const char *const apply_names[] = {"none", "relu", "gelu", "gelu_grad"};
static const char *const library_names[] = {"own", "onednn", "openblas", "cublaslt"};

_Static_assert(sizeof dtype_names / sizeof *dtype_names == PLAN_DTYPE_COUNT, "a name each");
_Static_assert(sizeof space_names / sizeof *space_names == SPACE_COUNT, "a name each");
_Static_assert(sizeof buffer_kind_names / sizeof *buffer_kind_names == BUFFER_KIND_COUNT,
               "a name each");
_Static_assert(sizeof apply_names / sizeof *apply_names == PLAN_APPLY_COUNT, "a name each");
_Static_assert(sizeof phase_names / sizeof *phase_names == PLAN_PHASE_COUNT, "a name each");

// clang-format off
#define LENGTH(A) ((uint32_t)(sizeof(A) / sizeof *(A)))
// Rows: S is the C struct, F its field, LEAD the word or mark before the value in text.
// A number or string; the text leaves it out as OMIT says.
#define PLAIN(T, S, F, LEAD, OMIT) {.type = FIELD_##T, .lead = LEAD, .omit = OMIT, .offset = offsetof(S, F)}
// One of NAMES in text, its index in the binary form.
#define ENUM(S, F, LEAD, NAMES) \
    {.type = FIELD_ENUM, .lead = LEAD, .offset = offsetof(S, F), .names = NAMES, .name_count = LENGTH(NAMES)}
// The same, but the first of NAMES is left out of the text.
#define ENUM_FIRST(S, F, LEAD, NAMES) \
    {.type = FIELD_ENUM, .lead = LEAD, .omit = OMIT_ZERO, .offset = offsetof(S, F), .names = NAMES, \
     .name_count = LENGTH(NAMES)}
// An index into the plan's list of WHAT: "b12". OMIT_NONE: UINT32_MAX stands for none.
#define REF(S, F, LEAD, OMIT, WHAT) \
    {.type = FIELD_REF, .lead = LEAD, .omit = OMIT, .offset = offsetof(S, F), .ref = REF_##WHAT}
// dtype, rank and dim of the struct at once: "f32[4, 8]".
#define SHAPE(S) \
    {.type = FIELD_SHAPE, .lead = "", .offset = offsetof(S, dtype), .count_offset = offsetof(S, rank), \
     .dim_offset = offsetof(S, dim)}
// N numbers in brackets, always all of them.
#define FIXED(S, F, LEAD, N) {.type = FIELD_FIXED_I64, .lead = LEAD, .offset = offsetof(S, F), .length = N}
// A pointer F and its count F_count; text leaves empty lists out. OF describes the elements,
// where they are structs.
#define LIST(T, S, F, LEAD, OF) \
    {.type = FIELD_##T, .lead = LEAD, .omit = OMIT_ZERO, .offset = offsetof(S, F), \
     .count_offset = offsetof(S, F##_count), .of = OF}
#define LIST_REF(S, F, LEAD, WHAT) \
    {.type = FIELD_LIST_REF, .lead = LEAD, .omit = OMIT_ZERO, .offset = offsetof(S, F), \
     .count_offset = offsetof(S, F##_count), .ref = REF_##WHAT}
// Closes the table NAME_fields: see FieldStruct for WORD, LABEL and EVENTS.
#define STRUCT(NAME, WORD, LABEL, T, EVENTS) \
    static const FieldStruct NAME##_struct = {WORD, LABEL, sizeof(T), EVENTS, LENGTH(NAME##_fields), NAME##_fields}

// space m0 device bytes 136576 load 136576
static const Field space_fields[] = {
    ENUM(PlanSpace, kind, "", space_names),
    PLAIN(U64, PlanSpace, bytes, "bytes", OMIT_NEVER),
    PLAIN(U64, PlanSpace, load, "load", OMIT_NEVER),
};
STRUCT(space, "space", "m", PlanSpace, false);

// buffer b6 h activations f32[32, 8] in m0 at 133760 bytes 1024 align 64 entry e1 live 0..11
static const Field buffer_fields[] = {
    PLAIN(NAME, PlanBuffer, name, "", OMIT_NEVER),
    ENUM(PlanBuffer, kind, "", buffer_kind_names),
    SHAPE(PlanBuffer),
    REF(PlanBuffer, space, "in", OMIT_NEVER, SPACE),
    PLAIN(U64, PlanBuffer, offset, "at", OMIT_NEVER),
    PLAIN(U64, PlanBuffer, bytes, "bytes", OMIT_NEVER),
    PLAIN(U32, PlanBuffer, alignment, "align", OMIT_NEVER),
    REF(PlanBuffer, entry, "entry", OMIT_NONE, ENTRY),
    PLAIN(U32, PlanBuffer, first, "live", OMIT_NEVER),
    PLAIN(U32, PlanBuffer, last, "..", OMIT_NEVER),
    PLAIN(U32, PlanBuffer, carried, "carried", OMIT_ZERO),
    PLAIN(STRING, PlanBuffer, scope, "scope", OMIT_ZERO),
    PLAIN(STRING, PlanBuffer, where, "where", OMIT_ZERO),
};
STRUCT(buffer, "buffer", "b", PlanBuffer, false);

// state w0 w1 param f32[16, 8] buffer b0 file "w1"
static const Field state_fields[] = {
    PLAIN(NAME, PlanState, name, "", OMIT_NEVER),
    ENUM(PlanState, kind, "", state_names),
    SHAPE(PlanState),
    REF(PlanState, buffer, "buffer", OMIT_NEVER, BUFFER),
    PLAIN(STRING, PlanState, file, "file", OMIT_ZERO),
};
STRUCT(state, "state", "w", PlanState, false);

// read b6+0:1024, that is bytes 0 to 1023 of buffer 6
static const Field operand_fields[] = {
    ENUM(PlanOperand, access, "", access_names),
    REF(PlanOperand, buffer, "", OMIT_NEVER, BUFFER),
    PLAIN(U64, PlanOperand, offset, "+", OMIT_NEVER),
    PLAIN(U64, PlanOperand, bytes, ":", OMIT_NEVER),
    PLAIN(U64, PlanOperand, slot_bytes, "slot", OMIT_ZERO),
    PLAIN(U64, PlanOperand, row, "row", OMIT_ZERO),
    PLAIN(U64, PlanOperand, pitch, "pitch", OMIT_ZERO),
};
STRUCT(operand, "", NULL, PlanOperand, false);

// 3: kernel k2 (read b3+0:2048, write b6+0:1024) workspace b14 stream 0 signature 0x...
static const Field instr_fields[] = {
    ENUM(PlanInstr, kind, "", instr_names),
    REF(PlanInstr, kernel, "", OMIT_NONE, CALLED),
    LIST(INLINE, PlanInstr, operand, "", &operand_struct),
    LIST(LIST_I64, PlanInstr, imm, "imm", NULL),
    REF(PlanInstr, workspace, "workspace", OMIT_NONE, BUFFER),
    REF(PlanInstr, stream, "stream", OMIT_NEVER, STREAM),
    LIST_REF(PlanInstr, wait, "wait", EVENT),
    REF(PlanInstr, signal, "signal", OMIT_NONE, EVENT),
    PLAIN(U64, PlanInstr, flops, "flops", OMIT_ZERO),
    PLAIN(U64, PlanInstr, bytes, "bytes", OMIT_ZERO),
    PLAIN(U64, PlanInstr, begin, "begins", OMIT_ZERO),
    PLAIN(U64, PlanInstr, duration, "takes", OMIT_ZERO),
    PLAIN(HEX, PlanInstr, signature, "signature", OMIT_NEVER),
    ENUM_FIRST(PlanInstr, phase, "phase", phase_names),
    PLAIN(STRING, PlanInstr, name, "name", OMIT_ZERO),
    PLAIN(STRING, PlanInstr, where, "where", OMIT_ZERO),
};
STRUCT(instr, "", "", PlanInstr, false);

// segment s1 train.body events 0 { an instruction a line }
static const Field segment_fields[] = {
    PLAIN(NAME, PlanSegment, name, "", OMIT_NEVER),
    PLAIN(U32, PlanSegment, event_count, "events", OMIT_NEVER),
    LIST(LINES, PlanSegment, instr, "", &instr_struct),
};
STRUCT(segment, "segment", "s", PlanSegment, true);

// call s1 slot 0
static const Field call_fields[] = {
    REF(PlanCall, segment, "", OMIT_NEVER, SEGMENT),
    PLAIN(U32, PlanCall, slot, "slot", OMIT_NEVER),
};
STRUCT(call, "call", NULL, PlanCall, false);

static const Field input_fields[] = {
    PLAIN(NAME, PlanInput, name, "", OMIT_NEVER),
    SHAPE(PlanInput),
    ENUM(PlanInput, source, "from", source_names),
    PLAIN(STRING, PlanInput, loader, "loader", OMIT_ZERO),
    PLAIN(F64, PlanInput, fallback, "fallback", OMIT_ZERO),
    PLAIN(I64, PlanInput, bound, "bound", OMIT_ZERO),
    REF(PlanInput, buffer, "buffer", OMIT_NEVER, BUFFER),
    PLAIN(U32, PlanInput, slots, "slots", OMIT_NEVER),
};
STRUCT(input, "input", NULL, PlanInput, false);

static const Field result_fields[] = {
    PLAIN(NAME, PlanResult, name, "", OMIT_NEVER),
    SHAPE(PlanResult),
    REF(PlanResult, buffer, "buffer", OMIT_NEVER, BUFFER),
    PLAIN(U64, PlanResult, offset, "+", OMIT_NEVER),
    PLAIN(HEX, PlanResult, signature, "signature", OMIT_NEVER),
};
STRUCT(result, "result", NULL, PlanResult, false);

// commit w0 signature 0x...
static const Field commit_fields[] = {
    REF(PlanCommit, state, "", OMIT_NEVER, STATE),
    PLAIN(HEX, PlanCommit, signature, "signature", OMIT_NEVER),
};
STRUCT(commit, "commit", NULL, PlanCommit, false);

// entry e1 train { inputs, results, commits and calls, a line each }
static const Field entry_fields[] = {
    PLAIN(NAME, PlanEntry, name, "", OMIT_NEVER),
    PLAIN(U64, PlanEntry, predicted, "takes", OMIT_ZERO),
    LIST(LINES, PlanEntry, input, "", &input_struct),
    LIST(LINES, PlanEntry, result, "", &result_struct),
    LIST(LINES, PlanEntry, commit, "", &commit_struct),
    LIST(LINES, PlanEntry, call, "", &call_struct),
};
STRUCT(entry, "entry", "e", PlanEntry, false);

// The kernel's text stands below its line, each line after a bar.
static const Field kernel_fields[] = {
    PLAIN(NAME, PlanKernel, name, "", OMIT_NEVER),
    PLAIN(U64, PlanKernel, tiles, "tiles", OMIT_NEVER),
    PLAIN(U64, PlanKernel, workspace, "workspace", OMIT_ZERO),
    PLAIN(BLOCK, PlanKernel, text, "", OMIT_NEVER),
};
STRUCT(kernel, "kernel", "k", PlanKernel, false);

// Strides are of [batch 0, batch 1, row, column], in elements.
static const Field product_fields[] = {
    REF(PlanProduct, kernel, "", OMIT_NEVER, KERNEL),
    ENUM(PlanProduct, library, "library", library_names),
    ENUM(PlanProduct, a, "a", dtype_names),
    FIXED(PlanProduct, a_stride, "", 4),
    ENUM(PlanProduct, b, "b", dtype_names),
    FIXED(PlanProduct, b_stride, "", 4),
    ENUM(PlanProduct, c, "c", dtype_names),
    FIXED(PlanProduct, c_stride, "", 4),
    FIXED(PlanProduct, batch, "batch", 2),
    PLAIN(I64, PlanProduct, m, "m", OMIT_NEVER),
    PLAIN(I64, PlanProduct, n, "n", OMIT_NEVER),
    PLAIN(I64, PlanProduct, k, "k", OMIT_NEVER),
    PLAIN(U32, PlanProduct, accumulate, "accumulate", OMIT_ZERO),
    PLAIN(I64, PlanProduct, tile_m, "tile", OMIT_NEVER),
    PLAIN(I64, PlanProduct, tile_n, "by", OMIT_NEVER),
};
STRUCT(product, "product", NULL, PlanProduct, false);

// 0 [64, 512, 12, 2] stride [768, 64, 393216] rows 128
static const Field map_fields[] = {
    PLAIN(U32, PlanMap, operand, "", OMIT_NEVER),
    FIXED(PlanMap, dim, "", PLAN_MAP_DIMS),
    FIXED(PlanMap, stride, "stride", PLAN_MAP_DIMS - 1),
    PLAIN(U32, PlanMap, rows, "rows", OMIT_NEVER),
};
STRUCT(map, "", NULL, PlanMap, false);

// joint s2 product 27 kernel 28 apply gelu from 0 to 3 bias 1 aux 2
static const Field joint_fields[] = {
    REF(PlanJoint, segment, "", OMIT_NEVER, SEGMENT),
    PLAIN(U32, PlanJoint, product, "product", OMIT_NEVER),
    PLAIN(U32, PlanJoint, kernel, "kernel", OMIT_NEVER),
    ENUM(PlanJoint, apply, "apply", apply_names),
    PLAIN(U32, PlanJoint, from, "from", OMIT_NEVER),
    PLAIN(U32, PlanJoint, to, "to", OMIT_NEVER),
    PLAIN(U32, PlanJoint, bias, "bias", OMIT_NONE),
    PLAIN(U32, PlanJoint, aux, "aux", OMIT_NONE),
};
STRUCT(joint, "joint", NULL, PlanJoint, false);

// launch k3 for sm_90a as k3_1 grid [12, 1, 1] block 256
static const Field launch_fields[] = {
    REF(PlanLaunch, kernel, "", OMIT_NEVER, KERNEL),
    PLAIN(NAME, PlanLaunch, arch, "for", OMIT_NEVER),
    PLAIN(NAME, PlanLaunch, name, "as", OMIT_NEVER),
    FIXED(PlanLaunch, grid, "grid", 3),
    PLAIN(U32, PlanLaunch, block, "block", OMIT_NEVER),
    PLAIN(U64, PlanLaunch, shared, "shared", OMIT_ZERO),
    LIST(INLINE, PlanLaunch, map, "maps", &map_struct),
};
STRUCT(launch, "launch", NULL, PlanLaunch, false);

// remark PASS on "subject": "text"
static const Field remark_fields[] = {
    PLAIN(NAME, PlanRemark, pass, "", OMIT_NEVER),
    PLAIN(STRING, PlanRemark, subject, "on", OMIT_ZERO),
    PLAIN(STRING, PlanRemark, text, ":", OMIT_NEVER),
};
STRUCT(remark, "remark", NULL, PlanRemark, false);

// Counts that others are checked against (streams) come before those.
static const Field whole_fields[] = {
    PLAIN(STRING, Plan, model, "model", OMIT_ZERO),
    PLAIN(STRING, Plan, target, "target", OMIT_ZERO),
    PLAIN(STRING, Plan, isa, "isa", OMIT_ZERO),
    PLAIN(STRING, Plan, tool, "tool", OMIT_ZERO),
    PLAIN(STRING, Plan, flags, "flags", OMIT_ZERO),
    PLAIN(STRING, Plan, rates, "rates", OMIT_ZERO),
    PLAIN(STRING, Plan, tokenizer, "tokenizer", OMIT_ZERO),
    PLAIN(U32, Plan, workers, "workers", OMIT_NEVER),
    PLAIN(U32, Plan, stream_count, "streams", OMIT_NEVER),
    PLAIN(U32, Plan, peers, "peers", OMIT_ZERO),
    PLAIN(U32, Plan, degraded, "degraded", OMIT_ZERO),
    LIST(LINES, Plan, space, "", &space_struct),
    LIST(LINES, Plan, buffer, "", &buffer_struct),
    LIST(LINES, Plan, state, "", &state_struct),
    LIST(LINES, Plan, segment, "", &segment_struct),
    LIST(LINES, Plan, entry, "", &entry_struct),
    LIST(LINES, Plan, kernel, "", &kernel_struct),
    LIST(LINES, Plan, product, "", &product_struct),
    LIST(LINES, Plan, joint, "", &joint_struct),
    LIST(LINES, Plan, launch, "", &launch_struct),
    LIST(LINES, Plan, remark, "", &remark_struct),
};
STRUCT(whole, "plan", NULL, Plan, false);
// clang-format on

const FieldStruct *plan_fields(void) {
    return &whole_struct;
}

size_t plan_dtype_bytes(PlanDType t) {
    switch (t) {
    case PLAN_F32:
    case PLAN_I32:
        return 4;
    case PLAN_BF16:
        return 2;
    case PLAN_BOOL:
        return 1;
    case PLAN_DTYPE_COUNT:
        break;
    }
    return 0;
}

// "?" for a value no plan should have: names are also wanted for messages about bad plans.
static const char *name_at(const char *const *names, uint32_t count, uint32_t index) {
    return index < count ? names[index] : "?";
}

const char *plan_dtype_name(PlanDType t) {
    return name_at(dtype_names, PLAN_DTYPE_COUNT, t);
}

const char *plan_buffer_kind_name(PlanBufferKind k) {
    return name_at(buffer_kind_names, BUFFER_KIND_COUNT, k);
}

const char *plan_space_name(PlanSpaceKind k) {
    return name_at(space_names, SPACE_COUNT, k);
}

const char *plan_phase_name(PlanPhase phase) {
    return name_at(phase_names, PLAN_PHASE_COUNT, phase);
}

const char *plan_access_name(PlanAccess access) {
    return name_at(access_names, LENGTH(access_names), access);
}

const char *plan_instr_kind_name(PlanInstrKind kind) {
    return name_at(instr_names, LENGTH(instr_names), kind);
}

bool plan_is_collective(PlanInstrKind kind) {
    return kind >= INSTR_ALL_REDUCE && kind <= INSTR_EXCHANGE;
}

const char *plan_source_name(PlanSource source) {
    return name_at(source_names, LENGTH(source_names), source);
}

const char *plan_state_kind_name(uint32_t kind) {
    return name_at(state_names, LENGTH(state_names), kind);
}

// Fewest bytes of the field in the binary form: what bounds the counts a decoder believes.
static size_t field_least(const Field *f) {
    switch (f->type) {
    case FIELD_U64:
    case FIELD_HEX:
    case FIELD_I64:
    case FIELD_F64:
    case FIELD_SHAPE: // Dtype and rank.
        return 8;
    case FIELD_FIXED_I64:
        return 8 * (size_t)f->length;
    case FIELD_U32:
    case FIELD_ENUM:
    case FIELD_REF:
    case FIELD_NAME: // A count is all that an empty string or list takes.
    case FIELD_STRING:
    case FIELD_BLOCK:
    case FIELD_LIST_I64:
    case FIELD_LIST_REF:
    case FIELD_INLINE:
    case FIELD_LINES:
        return 4;
    }
    return 4;
}

// Recomputed at each call: tables are short.
size_t field_struct_least(const FieldStruct *s) {
    size_t sum = 0;
    for (uint32_t i = 0; i < s->count; i++)
        sum += field_least(&s->field[i]);
    return sum;
}

// Numbers take 8 bytes, indices 4.
size_t field_element_least(const Field *f) {
    if (f->of)
        return field_struct_least(f->of);
    return f->type == FIELD_LIST_I64 ? 8 : 4;
}

// Objects are untyped here: memcpy reads them whatever their type and alignment.
uint32_t field_u32(const void *object, size_t offset) {
    uint32_t value;
    memcpy(&value, (const char *)object + offset, sizeof value);
    return value;
}

uint64_t field_u64(const void *object, size_t offset) {
    uint64_t value;
    memcpy(&value, (const char *)object + offset, sizeof value);
    return value;
}

const char *field_string(const void *object, const Field *f) {
    const char *text;
    memcpy(&text, (const char *)object + f->offset, sizeof text);
    return text ? text : "";
}

const void *field_list(const void *object, const Field *f) {
    const void *list;
    memcpy(&list, (const char *)object + f->offset, sizeof list);
    return list;
}

void field_set(void *object, size_t offset, const void *value, size_t size) {
    memcpy((char *)object + offset, value, size);
}

uint32_t field_ref(const void *object, const Field *f) {
    if (f->ref == REF_CALLED) {
        const PlanInstr *instr = object;
        // What the others have there means nothing: both forms say none.
        if (instr->kind != INSTR_KERNEL && instr->kind != INSTR_PRODUCT)
            return UINT32_MAX;
    }
    return field_u32(object, f->offset);
}

bool field_is_omitted(const void *object, const Field *f) {
    if (f->omit == OMIT_NEVER)
        return false;
    switch (f->type) {
    case FIELD_REF:
        return field_ref(object, f) == UINT32_MAX;
    case FIELD_U32:
    case FIELD_ENUM:
        return field_u32(object, f->offset) == (f->omit == OMIT_NONE ? UINT32_MAX : 0);
    case FIELD_U64:
    case FIELD_I64:
    // By bits: -0.0 is not left out, so that it reads back as it was.
    case FIELD_F64:
        return field_u64(object, f->offset) == 0;
    case FIELD_STRING:
        return !*field_string(object, f);
    case FIELD_LIST_I64:
    case FIELD_LIST_REF:
    case FIELD_INLINE:
    case FIELD_LINES:
        return field_u32(object, f->count_offset) == 0;
    // These are always written: their rows say OMIT_NEVER.
    case FIELD_HEX:
    case FIELD_NAME:
    case FIELD_BLOCK:
    case FIELD_SHAPE:
    case FIELD_FIXED_I64:
        break;
    }
    return false;
}

const char *field_ref_letter(FieldRef ref) {
    // By FieldRef. Streams and events are bare numbers.
    static const char *const letter[] = {"m", "b", "w", "s", "e", "k", "k", "", ""};
    return letter[ref];
}

const char *field_ref_noun(FieldRef ref) {
    static const char *const noun[] = {"space",  "buffer", "state",  "segment", "entry",
                                       "kernel", "kernel", "stream", "event"};
    return noun[ref];
}

// Events are numbered by segment; outside of one there are none.
uint32_t field_ref_limit(const Plan *p, const PlanSegment *segment, FieldRef ref) {
    switch (ref) {
    case REF_SPACE:
        return p->space_count;
    case REF_BUFFER:
        return p->buffer_count;
    case REF_STATE:
        return p->state_count;
    case REF_SEGMENT:
        return p->segment_count;
    case REF_ENTRY:
        return p->entry_count;
    case REF_KERNEL:
    case REF_CALLED:
        return p->kernel_count;
    case REF_STREAM:
        return p->stream_count;
    case REF_EVENT:
        return segment ? segment->event_count : 0;
    }
    return 0;
}
