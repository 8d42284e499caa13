// The kernel IR: one kernel, described once, target-neutral; the printers in codegen/ make machine code.
//
// Five kinds share one calling convention and one text form:
//  - SCALAR: a flat program of scalar operations in single static assignment over an index space. The last
//    dim is the column, the others together are the rows. Reductions run along the columns of a row
//    (KERNEL_ROWS; a program may have several, one after another: layer norm, softmax) or down the rows of
//    a column (KERNEL_COLUMNS: bias gradients). The printers find the loops: an operation whose operands
//    are all reductions, constants or loads with column stride 0 is computed once a row.
//  - PRODUCT: c[b0,b1,m,n] (+)= sum_k a[b0,b1,m,k] b[b0,b1,k,n], any strides.
//  - CONVOLUTION: y, dx or dw of a convolution of images.
//  - ATTENTION, ATTENTION_GRAD, ATTENTION_GRAD_BIAS: the flash templates; never hold s x s.
// Everything about shapes, strides and types is a compile-time constant; base addresses and the 64-bit
// immediates come with each call, so equal kernels are shared however many layers there are.
//
// Calling convention of generated code, for tiles begin <= t < end out of kernel_tiles(k):
//     void NAME(void *const *operand, const int64_t *imm, int64_t begin, int64_t end, void *workspace);
// Tiles are independent of each other and of the number of workers, so results are too. workspace holds
// kernel_workspace(k) bytes for this worker alone.
#ifndef PLIM_IR_KERNEL_H
#define PLIM_IR_KERNEL_H

#include "ir/arena.h"
#include "ir/diag.h"
#include "ir/type.h"

enum { KERNEL_DIMS_MAX = 8, KERNEL_OPERANDS_MAX = 60, KERNEL_LANES = 16, KERNEL_INSTRS_MAX = 4096, KERNEL_STREAM_LINE = 64 };

typedef enum {
    KERNEL_SCALAR,
    KERNEL_PRODUCT,
    KERNEL_CONVOLUTION,
    KERNEL_ATTENTION,
    KERNEL_ATTENTION_GRAD,
    KERNEL_ATTENTION_GRAD_BIAS
} KernelKind;
typedef enum { KERNEL_ROWS, KERNEL_COLUMNS } KernelAxis;
typedef enum { ACCESS_READ, ACCESS_WRITE, ACCESS_UPDATE } Access; // UPDATE reads, then writes the same element

// Scalar operations. f32 unless said; i32 wraps; bool from comparisons.
// name, number of operands, what it gives
#define KERNEL_OPS(K)                                                                              \
    K(CONST, "const", 0)       /* as.f (f32), as.i (i32, bool) */                                  \
    K(IMM, "imm", 0)           /* i32: low 32 bits of imm[as.i] */                                 \
    K(INDEX, "index", 0)       /* i32: position along dim as.i */                                  \
    K(LOAD, "load", 0)         /* operand at this point; bf16 widens to f32 */                     \
    K(LOAD_AT, "load_at", 1)   /* the same, moved by clamp(arg, 0, limit-1) * step elements */     \
    K(STORE, "store", 1)       /* narrows to the operand's dtype */                                \
    K(STORE_AT, "store_at", 2) /* (value, index): moved by clamp(index, 0, limit-1) * step */      \
    K(ADD_AT, "add_at", 2)     /* the same, adding to what is there; COLUMNS kernels only, rows in order; skipped where index < 0 */ \
    K(ADD, "add", 2) K(SUB, "sub", 2) K(MUL, "mul", 2) K(DIV, "div", 2) K(FMA, "fma", 3)           \
    K(MIN, "min", 2) K(MAX, "max", 2) K(NEG, "neg", 1) K(ABS, "abs", 1) K(SQRT, "sqrt", 1)         \
    K(EXP, "exp", 1) K(EXPM1, "expm1", 1) K(LOG, "log", 1) K(SIN, "sin", 1) K(COS, "cos", 1)       \
    K(TANH, "tanh", 1) K(ERF, "erf", 1)                                                            \
    K(EQ, "eq", 2) K(NE, "ne", 2) K(LT, "lt", 2) K(LE, "le", 2)                                    \
    K(AND, "and", 2) K(OR, "or", 2) K(NOT, "not", 1)                                               \
    K(SELECT, "select", 3)     /* bool ? a : b */                                                  \
    K(TO_F32, "to_f32", 1)     /* from i32 or bool */                                              \
    K(TO_I32, "to_i32", 1)     /* from f32 (truncates; saturates) or bool */                       \
    K(ROUND_BF16, "round_bf16", 1) /* f32 to the nearest bf16, still f32 */                        \
    K(RANDOM, "random", 4)     /* (seed, step, key, index): random_bits, as i32 */                 \
    K(SUM, "sum", 1)           /* reduction, fixed shape: see docs/decisions.md */                 \
    K(MAXIMUM, "maximum", 1)   /* reduction */                                                     \
    K(PICK, "pick", 4)         /* (d, e, y, mass): a reduction along a row of a ROWS kernel, i32. Kept are the columns  \
                                  above which, by d, e sums to less than mass (and the largest d); the result is    \
                                  the first of them with the largest y, 0 where no y is above -inf */

typedef enum {
#define K(ID, name, arity) KOP_##ID,
    KERNEL_OPS(K)
#undef K
    KOP_COUNT
} KOp;

typedef int32_t KRef; // index into Kernel.instr; operands precede users

typedef struct {
    KOp op;
    DType dtype;    // F32, I32 or BOOL of the result (of the stored value, for stores)
    KRef arg[4];
    int operand;    // loads and stores
    int64_t limit;  // *_AT: indices are below it
    int64_t step;   // *_AT: elements between neighbouring indices
    union {
        double f;
        int64_t i;
    } as;
} KInstr;

typedef struct {
    DType dtype;
    Access access;
    bool stream; // WRITE, ROWS: what is stored need not stay in a cache. Stride 1 along the column, a
                 // multiple of KERNEL_STREAM_LINE bytes along the others of extent > 1
    int64_t stride[KERNEL_DIMS_MAX]; // elements per step of each dim; SCALAR kernels
    int align; // bytes that base addresses are multiples of, where that is less than 16; 0: 16 or
               // more. Kernels of GPUs, whose wide accesses must be aligned
} KOperand;

// Which library computes a product, decided at compile time.
typedef enum { PRODUCT_OWN, PRODUCT_ONEDNN, PRODUCT_OPENBLAS, PRODUCT_CUBLASLT } ProductLibrary;

// operand 0: a, 1: b, 2: c (ACCESS_UPDATE where accumulate), 3: with `bias` a row of c's type
typedef struct {
    ProductLibrary library;
    DType a, b, c;             // f32 or bf16; sums are f32
    int64_t batch[2], m, n, k; // batch dims of extent 1 where there is none
    int64_t a_stride[4];       // elements for batch0, batch1, m, k
    int64_t b_stride[4];       // batch0, batch1, k, n
    int64_t c_stride[4];       // batch0, batch1, m, n
    bool accumulate;           // c += instead of c =
    bool bias;                 // operand 3 [n], dense, is added to every row of c before it is rounded;
                               // instead of accumulate, in one batch, with c_stride[3] 1; cuBLASLt's only
    int64_t tile_m, tile_n;    // one tile of the work: batch x ceil(m/tile_m) x ceil(n/tile_n) tiles
    size_t workspace;          // bytes per worker
} ProductKernel;

// y [batch, groups x out, result] of x [batch, groups x in, size] and w [groups x out, in, kernel].
// Pairs are height, width.
typedef struct {
    int64_t batch, groups;
    int64_t in, out; // channels of one group
    int64_t size[2], kernel[2], result[2];
    int64_t stride[2], dilation[2]; // at least 1
    int64_t before[2], after[2];    // zeros around x
} Convolution;

// Which of x, w and y is computed of the other two.
typedef enum { CONVOLVE_X, CONVOLVE_W, CONVOLVE_Y } ConvolutionPart;

// Operands: CONVOLVE_Y: x, w, y. CONVOLVE_X: y, w, x. CONVOLVE_W: x, y, w. Images are dense but for
// the step from one to the next; w is dense.
typedef struct {
    ConvolutionPart part;          // the last operand
    DType dtype[3];                // of the operands, f32 or bf16; sums are f32
    Convolution shape;
    int64_t x_stride, y_stride;    // elements from one image to the next
} ConvolutionKernel;

// ATTENTION operands: q, k, v, out, lse. ATTENTION_GRAD: q, k, v, out, lse, dout, dq, dk, dv. ATTENTION_GRAD_BIAS: q, k, v, out,
// lse, dout, dbias. Behind these the offset, an i32,
// or the table, dense i32 [batch, n]: with interval where each query's keys begin, then where they end; then with documents
// the ids of all keys. Then the slopes, the bias, the mask.
// Strides in elements for batch, head, position; the head dim is contiguous. lse is [b,h,s], dense f32.
typedef struct {
    DType dtype;                   // of q, k, v, out and their gradients
    int64_t batch, heads, groups;  // groups: key/value heads
    int64_t queries, keys;         // s, t
    int64_t dim_qk, dim_v;         // e, f
    bool causal;                   // query i sees keys up to i + keys - queries
    bool interval;                 // and only keys that its place in the table says; not beside an offset
    bool documents;                // and only keys of its own document, which is that of key i + keys - queries:
                                   // equal ids, in any order. queries <= keys; not beside an offset
    bool offset;                   // up to i + offset instead: operand 5, clamped into 0..keys-queries;
                                   // causal forward kernels only. Keys past the last query's are not read
    bool slopes;                   // scores are added slope[head] (j - (i + keys - queries)), with an offset
                                   // (j - (i + offset)); the last operand, f32 [heads], dense
    int64_t window;                // and none before i + keys - queries - window + 1; 0: all
    double scale;
    double cap;                    // scores are cap tanh(scale q k / cap); 0: scale q k
    int64_t q[3], k[3], v[3], out[3], dout[3], dq[3], dk[3], dv[3];
    // Of pairs of queries and keys: strides for batch, head, query and key, 0 where the same holds for all of an axis; along
    // keys 1 or 0.
    bool bias, mask;               // a bias is added to scores, behind the cap; a query sees only keys where a mask, bool, is true
    DType bias_dtype;              // f32 or bf16, and of its gradient
    int64_t bias_at[4], mask_at[4], dbias_at[4];
} AttentionKernel;

typedef struct {
    const char *name; // symbol, "k12"; not part of the kernel's identity
    KernelKind kind;
    // SCALAR
    KernelAxis axis;
    bool host; // in a GPU's program: for its host's CPU, with operands in the host's memory; does not reduce
    int members; // above 1: so many equal programs on operands of their own, none of which reads what another
                 // writes, also where these are the same bytes: ir/kernel_members.h
    int rank;
    int64_t dim[KERNEL_DIMS_MAX];
    int operand_count;
    KOperand operand[KERNEL_OPERANDS_MAX];
    int imm_count;
    int instr_count;
    KInstr *instr;
    // the templates
    ProductKernel product;
    ConvolutionKernel convolution;
    AttentionKernel attention;
} Kernel;

// Operations by name, and what the table says about them. kop_infer: the result's type from the operands'
// (for stores the value's); false where the operation doesn't take them.
const char *kop_name(KOp op);
bool kop_find(const char *name, size_t bytes, KOp *out);
int kop_arity(KOp op);
bool kop_is_effect(KOp op);    // STORE, STORE_AT, ADD_AT
bool kop_is_reduction(KOp op); // SUM, MAXIMUM, PICK
bool kop_infer(KOp op, const DType arg[4], DType *out);

// The same operation on the same operands, bit for bit.
bool kinstr_equal(const KInstr *a, const KInstr *b);

// varies[i]: bit d is set where operation i differs along dim d of extent > 1 (for effects: the value's,
// the index's and the operand's). What doesn't vary along the column is computed once a row.
void kernel_variation(const Kernel *k, uint32_t *varies);
// Whether a SCALAR kernel has a reduction. after[i], where not NULL: operation i depends on one.
bool kernel_reduces(const Kernel *k, bool *after);

// One tile of a SCALAR kernel is `rows` rows by `columns` columns (those at the ends may be smaller); tiles
// are numbered row block by row block, each from left to right:
//     t = row_block * ceil(all columns / columns) + column_block.
// All rows are the product of the dims before the last, row-major. By kind:
//  - ROWS that reduce, or at most 65536 columns and rank > 1: whole rows, max(1, 16384 / columns) of them.
//  - other ROWS: one row, 16384 columns.
//  - COLUMNS: all rows, 64 columns.
void kernel_tile_shape(const Kernel *k, int64_t *rows, int64_t *columns);
// Independent tasks of a call, and bytes of workspace a worker needs. PRODUCT: (batch0, batch1, m block,
// n block), row-major. CONVOLUTION: ir/template_layout.h. ATTENTION: (batch, head, block of KERNEL_QUERY_BLOCK queries), row-major.
// ATTENTION_GRAD: (batch, group), row-major. ATTENTION_GRAD_BIAS: (batch, head, block of queries, block of as many keys), row-major, but of
// axes that dbias_at has a stride for.
enum { KERNEL_QUERY_BLOCK = 64 };
int64_t kernel_tiles(const Kernel *k);
size_t kernel_workspace(const Kernel *k);
// Operands of any kind of kernel, how each is accessed, and the elements [0, span) from its base address
// that a call may touch (strides are never negative).
int kernel_operand_count(const Kernel *k);
Access kernel_access(const Kernel *k, int operand);
DType kernel_dtype(const Kernel *k, int operand);
bool kernel_kind_is_attention(KernelKind kind);
// The operand of an attention kernel that has the table or the offset, where it has one; numbers of
// a batch row of the table, 0 where there is none; the operands that have the slopes, the bias and the mask. -1: there is none.
int kernel_attention_extra(const Kernel *k);
int kernel_attention_slopes(const Kernel *k);
int kernel_attention_bias(const Kernel *k);
int kernel_attention_mask(const Kernel *k);
int64_t attention_table_row(const AttentionKernel *t);
int64_t kernel_span(const Kernel *k, int operand);
// Where what the operand holds is rows of so many elements, pitch from one's beginning to the next
// one's (strides_rows). False where it is no more than one row, or an index moves it.
bool kernel_rows(const Kernel *k, int operand, int64_t *row, int64_t *pitch);
// Pairs of a query and a key that see each other, of one head; query i stands beside key i + keys -
// queries. window 0: all keys.
int64_t attention_pairs(int64_t queries, int64_t keys, bool causal, int64_t window);
// Whether attention takes it as a cap: 0 for none, or 0.001 to 1000000, so that f32 holds a score's ratio to it.
bool attention_cap_good(double cap);
// Whether the strides and the access of a SCALAR kernel's operand allow its `stream`.
bool kernel_may_stream(const Kernel *k, int operand);
// Floating point operations and bytes moved by one call: the cost model's view.
int64_t kernel_flops(const Kernel *k);
int64_t kernel_bytes(const Kernel *k);

// Text: "kernel k12 rows [2048, 768] { ... }", one operation a line. The parser adds diagnostics.
void kernel_print(const Kernel *k, FILE *out);
char *kernel_text(const Kernel *k, Arena *a);
// Reads one kernel and moves *at past it. NULL after a diagnostic, or at the end of the text.
Kernel *kernel_parse(Arena *a, Diag *d, const char *file, const char *text, size_t bytes, size_t *at);
bool kernel_verify(const Kernel *k, Diag *d, Loc loc);
// Same work: equal but for the name.
bool kernel_equal(const Kernel *a, const Kernel *b);
uint64_t kernel_hash(const Kernel *k);
// A dull interpreter, the oracle for the printers. operand[i] points to the operand's base; SCALAR,
// PRODUCT and the ATTENTION kinds. f64 inside.
void kernel_interpret(const Kernel *k, void *const *operand, const int64_t *imm);

// Building scalar kernels. Equal operations are shared as they are added.
typedef struct KernelBuilder KernelBuilder;

KernelBuilder *kernel_builder(Arena *a, KernelAxis axis, int rank, const int64_t *dim);
// Adds an operand; strides in elements for every dim. Returns its number.
int kernel_add_operand(KernelBuilder *kb, DType dtype, Access access, const int64_t *stride);
int kernel_add_imm(KernelBuilder *kb); // returns the immediate's number
KRef kb_load(KernelBuilder *kb, int operand);
KRef kb_load_at(KernelBuilder *kb, int operand, KRef index, int64_t limit, int64_t step);
void kb_store(KernelBuilder *kb, int operand, KRef value);
void kb_store_at(KernelBuilder *kb, int operand, KRef value, KRef index, int64_t limit, int64_t step);
void kb_add_at(KernelBuilder *kb, int operand, KRef value, KRef index, int64_t limit, int64_t step);
KRef kb_float(KernelBuilder *kb, double value);
KRef kb_int(KernelBuilder *kb, int64_t value);
KRef kb_bool(KernelBuilder *kb, bool value);
KRef kb_imm(KernelBuilder *kb, int imm);
KRef kb_index(KernelBuilder *kb, int dim);
KRef kb_op1(KernelBuilder *kb, KOp op, KRef a);
KRef kb_op2(KernelBuilder *kb, KOp op, KRef a, KRef b);
KRef kb_op3(KernelBuilder *kb, KOp op, KRef a, KRef b, KRef c);
KRef kb_random(KernelBuilder *kb, KRef seed, KRef step, KRef key, KRef index);
KRef kb_pick(KernelBuilder *kb, KRef d, KRef e, KRef y, KRef mass);
DType kb_dtype(const KernelBuilder *kb, KRef r);
int64_t kb_dim(const KernelBuilder *kb, int dim);
int kb_rank(const KernelBuilder *kb);

// Operators whose operands are not indexed like the kernel (gather's table, dynamic_slice's source,
// rotary's tables) ask for them here: the operand for input i of the node being lowered, with strides for
// the kernel's dims as given by the operand's own axis strides. Set by the lowering pass.
typedef struct {
    int operand;                // number in the kernel
    int rank;
    int64_t stride[RANK_MAX];   // elements, of the input value's own axes
} KSource;
// The source of input i; the operand's kernel strides are all 0 and are to be set with kb_set_stride.
KSource kb_source(KernelBuilder *kb, int input);
void kb_set_stride(KernelBuilder *kb, int operand, int dim, int64_t stride);
// Set by the lowering pass before it calls OpInfo.lower.
typedef KSource (*KSourceFn)(void *user, int input);
void kb_set_source(KernelBuilder *kb, KSourceFn fn, void *user);

// The finished kernel: dead operations dropped, stores last (so that every load reads what was there before
// the call), dims of extent 1 dropped, neighbouring dims merged where every operand allows. The column of a
// kernel that reduces stays. Operands keep their numbers. The builder is spent.
Kernel *kernel_finish(KernelBuilder *kb);
// Template kernels.
Kernel *kernel_product(Arena *a, const ProductKernel *p);
Kernel *kernel_convolution(Arena *a, const ConvolutionKernel *p);
Kernel *kernel_attention(Arena *a, KernelKind kind, const AttentionKernel *p);

#endif
