// The Plan: everything the runtime will do, decided. Struct, binary form, text form and verifier live in
// runtime/; the compiler fills it, the executable carries its bytes, plim-dump reads it.
//
// Memory is one arena a space. A Buffer is a byte range of one space with one meaning; buffers may share
// bytes when one is dead before the other begins. An instruction is a call of a kernel (or a fill, or a
// copy) with operands that name a buffer and a byte offset in it. Instructions stand in segments, a list
// per stream, ordered across streams by events; an entry's program is a list of calls of segments, each
// with a slot (the micro-batch), so that accumulation does not unroll.
#ifndef PLIM_RUNTIME_PLAN_H
#define PLIM_RUNTIME_PLAN_H

#include "runtime/plim.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>

enum { PLAN_VERSION = 1, PLAN_STREAMS_MAX = 16, PLAN_RANK_MAX = 8 };
// Every entry is checked against every buffer and state: bounded, so that no text or file takes long.
enum { PLAN_PEERS_MAX = 65535, PLAN_ENTRIES_MAX = 1024, PLAN_REPEATS_MAX = 64 /* repeated segments of one entry */ };

// Eleven days of picoseconds: what is predicted to take longer takes this.
#define PLAN_TIME_MAX UINT64_C(1000000000000000000)

typedef enum { PLAN_F32, PLAN_BF16, PLAN_I32, PLAN_BOOL, PLAN_DTYPE_COUNT } PlanDType;
// An arena begins at a multiple of this many bytes.
enum { PLAN_ARENA_ALIGNMENT = 64, PLAN_GPU_ALIGNMENT = 256 };
// No disk has larger blocks: copies between multiples of it are done without a step between.
enum { PLAN_DISK_ALIGNMENT = 4096 };

// Memory spaces. device is where kernels work (the CPU's own memory for the CPU target).
typedef enum { SPACE_DEVICE, SPACE_HOST, SPACE_DISK, SPACE_COUNT } PlanSpaceKind;
typedef enum {
    BUFFER_WEIGHTS, BUFFER_GRADIENTS, BUFFER_OPTIMIZER, BUFFER_ACTIVATIONS, BUFFER_WORKSPACE,
    BUFFER_COMMUNICATION, BUFFER_INPUTS, BUFFER_STATE /* saved or transient state that is no weight */,
    BUFFER_KIND_COUNT
} PlanBufferKind;
typedef enum { PLAN_READ, PLAN_WRITE, PLAN_UPDATE } PlanAccess;
// PlanState.kind: as ir's StateKind. Files keep all but transient state.
enum { PLAN_STATE_PARAM, PLAN_STATE_SAVED, PLAN_STATE_TRANSIENT, PLAN_STATE_OPTIMIZER };
typedef enum {
    INSTR_KERNEL, // generated code: kernel, imm
    INSTR_PRODUCT,// a library's product: kernel (its text has the shapes)
    INSTR_FILL,   // operand 0 := byte pattern imm[0]
    INSTR_COPY,   // operand 1 (read) -> operand 0 (write), equal bytes
    // Collectives: every rank's operand 1 (read) -> operand 0 (write), elements of the buffers' dtype.
    INSTR_ALL_REDUCE,     // the ranks' elements combined, imm [PlanReduction]; the operands may be one range
    INSTR_ALL_GATHER,     // the ranks' bytes one behind the other
    INSTR_REDUCE_SCATTER, // this rank's part of the elements combined, imm [PlanReduction]
    INSTR_EXCHANGE        // the bytes of rank - shift, all around, imm [shift]
} PlanInstrKind;
typedef enum { PLAN_SUM, PLAN_MAXIMUM } PlanReduction;
// Part of a training step, for people.
typedef enum { PLAN_PHASE_FORWARD, PLAN_PHASE_BACKWARD, PLAN_PHASE_UPDATE, PLAN_PHASE_COUNT } PlanPhase;
typedef enum { PLAN_FROM_DATA, PLAN_FROM_KNOB, PLAN_FROM_STEP, PLAN_FROM_STEPS, PLAN_FROM_SEED, PLAN_FROM_CALLER,
               PLAN_FROM_SLOT /* i32, the slot's own number in each */ } PlanSource;

typedef struct {
    PlanSpaceKind kind;
    uint64_t bytes;    // the arena's size
    uint64_t load;     // largest sum of live bytes over the event order: the bound on bytes for it
} PlanSpace;

typedef struct {
    const char *name;
    PlanBufferKind kind;
    uint32_t space;    // index
    uint64_t offset, bytes;
    uint32_t alignment;
    // Live range in positions of the entry's linear order (docs/plan.md): first write .. last use, both
    // inclusive. Persistent buffers (state) live 0 .. UINT32_MAX in every entry.
    uint32_t entry;    // index, or UINT32_MAX for persistent buffers
    uint32_t first, last;
    uint32_t carried;  // 1: an accumulator, live from the zero fill through every micro-batch
    const char *scope; // for people: "h.0.attn"
    const char *where; // for people: "gpt2.plim:12:3", or ""
    PlanDType dtype;
    uint32_t rank;
    int64_t dim[PLAN_RANK_MAX]; // of the value it was made for; product of dims x dtype <= bytes.
                       // Where there are more bytes, each row of the last dim has as many more behind it
} PlanBuffer;

// State: a persistent buffer with a name.
typedef struct {
    const char *name;
    const char *file;   // name in weight files; one `{}`: a tensor a slice of axis 0, numbered there
    uint32_t buffer;
    uint32_t kind;      // PLAN_STATE_PARAM ..
    PlanDType dtype;
    uint32_t rank;
    int64_t dim[PLAN_RANK_MAX];
} PlanState;

typedef struct {
    uint32_t buffer;
    uint64_t offset, bytes; // the bytes touched, inside the buffer
    PlanAccess access;
    uint64_t slot_bytes;    // added to offset once per slot of the call (micro-batch inputs); else 0
    // Of what a kernel or product writes: rows of so many bytes, from one's beginning to the next one's pitch bytes, the last
    // of which ends the range. Nothing else of the range is written. 0: all of it is.
    uint64_t row, pitch;
} PlanOperand;

typedef struct {
    PlanInstrKind kind;
    uint32_t stream;
    uint32_t kernel;             // index, INSTR_KERNEL and INSTR_PRODUCT
    uint32_t operand_count;
    PlanOperand *operand;        // the kernel's operands in order; workspace, if any, is `workspace`
    uint32_t imm_count;
    int64_t *imm;
    uint32_t workspace;          // buffer, or UINT32_MAX; holds workers x the kernel's bytes
    uint32_t wait_count, *wait;  // events to wait for first
    uint32_t signal;             // event signalled after, or UINT32_MAX
    uint64_t flops, bytes;       // of one call
    uint64_t begin, duration;    // predicted, in picoseconds; begin: from that of the segment's call. At most
                                 // PLAN_TIME_MAX; 0: nobody predicted
    uint64_t signature;          // what it must compute: see plan_sign.h
    PlanPhase phase;             // of the operators
    const char *name;            // for people: the operators and their scope, "layernorm h.0.ln_1"
    const char *where;           // "gpt2.plim:12:3"
} PlanInstr;

typedef struct {
    const char *name;            // "train.body"
    uint32_t instr_count;
    PlanInstr *instr;            // in the planner's linear order; each stream's instructions in theirs
    uint32_t event_count;
} PlanSegment;

typedef struct {
    uint32_t segment;
    uint32_t slot;               // micro-batch number
} PlanCall;

typedef struct {
    const char *name;
    PlanSource source;
    const char *loader;          // "data"
    double fallback;             // knob default
    int64_t bound;               // i32 values must lie in 0..bound-1; 0: any; below zero: below -bound, negative values allowed
    uint32_t buffer;             // holds every micro-batch: slots x slot bytes
    uint32_t slots;
    PlanDType dtype;
    uint32_t rank;
    int64_t dim[PLAN_RANK_MAX];  // of one slot
} PlanInput;

typedef struct {
    const char *name;
    uint32_t buffer;
    uint64_t offset;
    PlanDType dtype;
    uint32_t rank;
    int64_t dim[PLAN_RANK_MAX];
    uint64_t signature;          // of its content at the end
} PlanResult;

typedef struct {
    uint32_t state;
    uint64_t signature;          // of the state's content at the end of the entry
} PlanCommit;

typedef struct {
    const char *name;
    uint32_t input_count;
    PlanInput *input;
    uint32_t result_count;
    PlanResult *result;
    uint32_t commit_count;
    PlanCommit *commit;
    uint32_t call_count;
    PlanCall *call;
    uint64_t predicted;          // picoseconds of all calls; at most PLAN_TIME_MAX, 0: nobody predicted
} PlanEntry;

typedef struct {
    const char *name;      // symbol of the generated code, "k12"
    const char *text;      // ir/kernel's text: opaque here
    uint64_t tiles;        // 1 on a GPU, but for what its host computes
    uint64_t workspace;    // bytes a worker
} PlanKernel;

// What a launch is to copy of an operand by tensor map (TMA): bf16 numbers in four dims, the first contiguous. A copy
// brings `rows` of the second dim, of 64 numbers of the first, in rows of 128 bytes twisted as
// CU_TENSOR_MAP_SWIZZLE_128B has it, and zeros for what lies outside.
enum { PLAN_MAPS_MAX = 4, PLAN_MAP_DIMS = 4, PLAN_MAP_COLUMNS = 64 };
typedef struct {
    uint32_t operand;      // of the instruction
    int64_t dim[PLAN_MAP_DIMS];
    int64_t stride[PLAN_MAP_DIMS - 1]; // of all dims but the first, in elements
    uint32_t rows;
} PlanMap;

// One start of a kernel on a GPU. A kernel is up to PLAN_LAUNCHES_MAX of them, one after another on its stream,
// with the same parameters: an address an operand, a 64-bit number an immediate, and the workspace's address where the
// kernel has one. Before these stand the launch's own tensor maps, 128 bytes each.
enum { PLAN_LAUNCHES_MAX = 4 };
typedef struct {
    uint32_t kernel;       // index
    const char *arch;      // for which architecture of the target: "sm_90a"
    const char *name;      // symbol of the code: the kernel's, then NAME_1, NAME_2, ...
    int64_t grid[3];       // blocks
    uint32_t block;        // threads
    uint64_t shared;       // bytes of dynamic shared memory
    uint32_t map_count;    PlanMap *map;
} PlanLaunch;

typedef struct {
    const char *pass, *subject, *text; // subject: a value, operator or buffer name
} PlanRemark;

enum { PLAN_ONEDNN = 1, PLAN_OPENBLAS, PLAN_CUBLASLT };
// What a product needs at run time, so that runtime/ need not parse kernels. See ir/kernel.h ProductKernel.
typedef struct {
    uint32_t kernel;       // index
    uint32_t library;      // PLAN_ONEDNN ..
    PlanDType a, b, c;
    int64_t batch[2], m, n, k;
    int64_t a_stride[4], b_stride[4], c_stride[4];
    uint32_t accumulate;   // 0: c = a b; 1: c += a b; 2: c = a b + operand 3, a row of n of c's type, rounded once
    int64_t tile_m, tile_n; // cuBLASLt: m, n; one call computes all
} PlanProduct;

// Two instructions of a segment that cuBLASLt can do in one: a product, and a kernel further down that works on its result
// (rule 23). The plan means the two apart; a run may take either way, in the same memory, and is at it when the second would begin.
// NONE: the bias alone. GRAD: the result is what flows back into gelu's result, aux what gelu was given.
typedef enum { PLAN_APPLY_NONE, PLAN_APPLY_RELU, PLAN_APPLY_GELU, PLAN_APPLY_GELU_GRAD, PLAN_APPLY_COUNT } PlanApply;
typedef struct {
    uint32_t segment;          // index
    uint32_t product, kernel;  // instructions of the segment, by number
    PlanApply apply;
    uint32_t from, to;         // operands of the kernel: the product's result; where its own goes
    uint32_t bias;             // added to each row before apply, or UINT32_MAX
    uint32_t aux;              // what apply is given: written, but read for GELU_GRAD; or UINT32_MAX
} PlanJoint;

typedef struct {
    uint32_t version;
    const char *model;
    const char *target;    // "cpu:x86-64-v3"; the features it needs in `isa`. "cuda:sm_80,sm_90a": the GPUs it has code for
    const char *isa;       // "avx2,fma,f16c,bmi2"; checked at start
    const char *tool;      // "plimc 0.1.0"
    const char *flags;     // those that changed the plan
    const char *rates;     // whose measured rates times are predicted with: "2 threads of ..."; "": assumed ones
    const char *tokenizer; // "bytes" or a file name
    uint32_t workers;      // most worker threads the workspaces allow; 1 for a GPU
    uint32_t stream_count;
    uint32_t peers;        // ranks that run this plan beside this one: collectives are among peers + 1
    uint32_t degraded;     // a solver was killed by the hang guard
    uint32_t space_count;   PlanSpace *space;
    uint32_t buffer_count;  PlanBuffer *buffer;
    uint32_t state_count;   PlanState *state;
    uint32_t segment_count; PlanSegment *segment;
    uint32_t entry_count;   PlanEntry *entry;
    uint32_t kernel_count;  PlanKernel *kernel;
    uint32_t product_count; PlanProduct *product;
    uint32_t joint_count;   PlanJoint *joint;   // by segment, then product; none on the CPU
    uint32_t launch_count;  PlanLaunch *launch; // by architecture, then kernel, then in order; none on the CPU
    uint32_t remark_count;  PlanRemark *remark;
    uint64_t digest;       // of everything else, set by plan_encode
} Plan;

// Memory for plans: everything hangs off one PlanMemory and goes with it.
typedef struct PlanMemory PlanMemory;
PlanMemory *plan_memory_new(void); // NULL when there is none
void plan_memory_release(PlanMemory *pm);
void *plan_alloc(PlanMemory *pm, size_t count, size_t size); // zeroed; NULL when there is none
const char *plan_string(PlanMemory *pm, const char *text);

// Binary form. plan_encode gives malloc'ed bytes (caller frees); equal plans give equal bytes.
PlimStatus plan_encode(const Plan *p, uint8_t **bytes, size_t *size);
// Trusts nothing: every count, index and size is checked before use. On failure error says what and where.
PlimStatus plan_decode(const uint8_t *bytes, size_t size, PlanMemory *pm, Plan **out, PlimError *error);
// Text form; parse gives line and column in error. print(parse(print(p))) == print(p).
void plan_print(const Plan *p, FILE *out);
PlimStatus plan_parse(const char *text, size_t size, PlanMemory *pm, Plan **out, PlimError *error);

// The verifier: see plan_verify.c for the rules. error names the first rule broken and the instruction.
PlimStatus plan_verify(const Plan *p, PlimError *error);

// The operand's bytes that hold numbers of its own, piece after piece: what lies between rows holds none. *at, a byte of the operand,
// is 0 at first and then what was given, plus *bytes. False where no piece is left. b: the operand's buffer.
bool plan_operand_piece(const PlanBuffer *b, const PlanOperand *o, uint64_t *at, uint64_t *bytes);
// From the beginning of a row of the buffer to the next one's, and without what lies between them; bytes.
void plan_buffer_rows(const PlanBuffer *b, uint64_t *pitch, uint64_t *row);

// The joint that the segment's instruction is in, or NULL. Of a verified plan.
const PlanJoint *plan_joint_at(const Plan *p, uint32_t segment, uint32_t instr);

bool plan_is_cuda(const Plan *p); // made for a GPU: by its target
size_t plan_dtype_bytes(PlanDType t);
const char *plan_dtype_name(PlanDType t);
const char *plan_buffer_kind_name(PlanBufferKind k);
const char *plan_space_name(PlanSpaceKind k);
const char *plan_phase_name(PlanPhase phase);
const char *plan_access_name(PlanAccess access);
const char *plan_instr_kind_name(PlanInstrKind kind);
bool plan_is_collective(PlanInstrKind kind);
const char *plan_source_name(PlanSource source);
const char *plan_state_kind_name(uint32_t kind); // PLAN_STATE_PARAM ..
const char *plan_state_file(const PlanState *s); // its name in weight files: file, or name where that is empty
// Whether an i32 value may go into the input: see PlanInput.bound.
bool plan_input_allows(const PlanInput *input, int64_t x);
// Of all spaces of the kind.
uint64_t plan_space_bytes(const Plan *p, PlanSpaceKind kind);
const PlanEntry *plan_find_entry(const Plan *p, const char *name); // NULL where there is none

#endif
