// What the forward and the backward attention kernels share: addresses, visible keys, and the
// packing of blocks.
#ifndef PLIM_CODEGEN_LLVM_ATTENTION_H
#define PLIM_CODEGEN_LLVM_ATTENTION_H

#include "codegen/llvm_tile.h"
#include "ir/template_layout.h"

typedef struct {
    const AttentionKernel *t;
    AttentionLayout layout;
    LLVMValueRef workspace;
    LLVMValueRef shift; // i64: query i stands beside key i + shift
    // Of the table, in the batch row at hand; NULL: there is no such part.
    LLVMValueRef begin, end; // of query 0: the keys it sees
    LLVMValueRef documents;  // of key 0
    LLVMValueRef slopes;     // of head 0
    LLVMValueRef slope;      // f32, of the head at hand
    // Of query 0 and key 0 of the batch row and head at hand; NULL: there is none.
    LLVMValueRef bias, mask;
} AttentionCode;

// What a kernel's code shares, at its beginning: the first batch row's table.
AttentionCode attention_code(LlvmBuild *b, const Kernel *k);
// The same in another batch row.
AttentionCode attention_in_batch(LlvmBuild *b, const AttentionCode *c, LLVMValueRef batch);

// The same for one head.
AttentionCode attention_for_head(LlvmBuild *b, const AttentionCode *c, LLVMValueRef head);

// A part of the workspace, by its offset in floats; with a row of step floats added.
LLVMValueRef attention_part(LlvmBuild *b, const AttentionCode *c, int64_t offset);
// The address of (batch, head, position) in an operand.
LLVMValueRef attention_at(LlvmBuild *b, const AttentionCode *c, int operand,
                          const int64_t stride[3], LLVMValueRef batch, LLVMValueRef head,
                          LLVMValueRef position);
// Keys that the queries [first, first + rows) can see: [from, to), from a multiple of
// ATTENTION_BLOCK.
void attention_visible(LlvmBuild *b, const AttentionCode *c, LLVMValueRef first, LLVMValueRef rows,
                       LLVMValueRef *from, LLVMValueRef *to);
// Lanes of the 16 keys from key on that query sees.
LLVMValueRef attention_sees(LlvmBuild *b, const AttentionCode *c, LLVMValueRef query,
                            LLVMValueRef key);
// Of these lanes those that a mask's operand leaves.
LLVMValueRef attention_shown(LlvmBuild *b, const AttentionCode *c, LLVMValueRef query,
                             LLVMValueRef key, LLVMValueRef mask);
// Scores of a query and the 16 keys from key on, of their products. *growth, where not NULL: how
// much each grows with its product.
LLVMValueRef attention_scores(LlvmBuild *b, const AttentionCode *c, LLVMValueRef product,
                              LLVMValueRef query, LLVMValueRef key, LLVMValueRef *growth);

// The least and the largest document of `count` keys from `first` on, 1 .. ATTENTION_BLOCK of them;
// nothing where the kernel has no documents.
typedef struct {
    LLVMValueRef least, most; // i32
} TableRange;
TableRange attention_range(LlvmBuild *b, const AttentionCode *c, LLVMValueRef first,
                           LLVMValueRef count);
// Whether some document may be in both, so that their keys and queries must be looked at.
LLVMValueRef attention_meets(LlvmBuild *b, const AttentionCode *c, TableRange x, TableRange y);

// Packs positions [position, position + count) of one operand, dim elements each, as a left operand
// (lanes: positions, depth: dim), a right operand over positions, or a right operand over dim
// (depth: positions).
typedef enum { PACK_LEFT, PACK_RIGHT, PACK_RIGHT_BY_POSITION } AttentionPack;
void attention_pack(LlvmBuild *b, const AttentionCode *c, AttentionPack how, LLVMValueRef source,
                    int64_t position_stride, int64_t dim, int64_t part, LLVMValueRef count);

// Vectors [0, count) of 16 floats at row i of a part whose rows are step floats.
LLVMValueRef attention_row(LlvmBuild *b, LLVMValueRef part, LLVMValueRef row, int64_t step,
                           int vector);

// Writes rows of a part (row step floats apart, dim valid) to an operand's positions, narrowed to
// its dtype.
void attention_store(LlvmBuild *b, const AttentionCode *c, LLVMValueRef part, int64_t step,
                     int64_t dim, LLVMValueRef to, int64_t position_stride, LLVMValueRef count);

// One tile of a forward kernel with one query (AttentionLayout.single).
void attention_single_tile(LlvmBuild *b, const AttentionCode *c, LLVMValueRef tile);

// A block of queries on the way back.
typedef struct {
    LLVMValueRef batch, head, group;
    LLVMValueRef first, rows; // queries
    TableRange documents;     // of these
    LLVMValueRef out, dout, lse;
} GradTile;

// What is asked of a tile's scores on the way back: the gradient of the products of queries and
// keys, or of the scores, which a bias has too.
typedef enum { GRADIENT_OF_PRODUCTS, GRADIENT_OF_SCORES } ScoreGradient;

// Fills the parts with zeros; floats is a multiple of 16, as all parts are.
void attention_clear(LlvmBuild *b, LLVMValueRef part, LLVMValueRef floats);
// What all of g's keys need: q and dout packed by head dim, delta, log-sum-exps.
void attention_grad_queries(LlvmBuild *b, const AttentionCode *c, GradTile *g);
// The keys [key, key + keys): the part `score` gets probabilities, `dscore` gradients, zeros where
// a key is not seen. Packs k and v by head dim.
void attention_grad_scores(LlvmBuild *b, const AttentionCode *c, const GradTile *g,
                           ScoreGradient of, LLVMValueRef key, LLVMValueRef keys);

// The backward kernels; the forward one is llvm_emit_attention's own.
void llvm_emit_attention_grad(LlvmBuild *b, const Kernel *k);
void llvm_emit_attention_grad_bias(LlvmBuild *b, const Kernel *k);

#endif
