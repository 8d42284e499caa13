// Small dense products in registers: what the product kernel and both attention kernels are made
// of.
//
// Operands are packed first. A left operand [rows, depth] is stored as blocks of tile_left_panel()
// rows, each [depth][rows]; a right operand [depth, columns] as panels of tile_columns() columns,
// each [depth][columns]. Both leave room for depth_cap steps of depth (a multiple of 16). Then
// every element of the product is one chain of fused multiply-adds along depth, in order, added to
// what c held: the same bits whatever the vector width or tiling (Goto and van de Geijn 2008 for the packing and loop
// order).
//
// The code lives in a few internal functions per module, shared by all its kernels, made at first
// use.
#ifndef PLIM_CODEGEN_LLVM_TILE_H
#define PLIM_CODEGEN_LLVM_TILE_H

#include "codegen/llvm_build.h"

enum { TILE_LANES = 16 };

// Columns of a packed right operand's panel on this target: 32 with AVX-512, else 16.
int tile_columns(const LlvmBuild *b);
// Rows of a packed left operand's panel: 16 with AVX-512, else 6. The part that
// holds them needs room for two floats more.
int tile_left_panel(const LlvmBuild *b);

// Where an operand's elements are: lanes are rows of a left or columns of a right operand.
typedef struct {
    DType dtype;
    int64_t lane_stride, depth_stride; // elements
} TileSource;

// Packs count lanes (i64, any number) of depth steps (i64, at most depth_cap) from address source
// to packed (f32), panel lanes a panel: tile_left_panel for a left operand, tile_columns for a
// right one. Lanes past count hold anything; nothing outside the source is read.
void tile_pack(LlvmBuild *b, const TileSource *s, LLVMValueRef packed, int panel, int64_t depth_cap,
               LLVMValueRef source, LLVMValueRef count, LLVMValueRef depth);

// A left operand is packed, or, where it is f32 and its depth stride is 1, may be read where it is.
typedef enum { TILE_LEFT_PACKED, TILE_LEFT_ROWS } TileLeft;

// c[i * c_stride + j] = (add ? c : 0) + sum over depth of a[i][d] b[d][j], for i < rows, j <
// columns; c is f32, row-major, c_stride in elements; all counts i64, add i1.
typedef struct {
    LLVMValueRef a, b, c;
    LLVMValueRef rows, columns, depth;
    int64_t a_depth_cap, b_depth_cap; // as packed
    int64_t c_stride;
    LLVMValueRef add;
    TileLeft left;
    int64_t a_row_stride; // elements, of rows in memory
} TileProduct;
void tile_product(LlvmBuild *b, const TileProduct *p);

// The smaller of two i64; x rounded up to a multiple of 16.
LLVMValueRef tile_min(LlvmBuild *b, LLVMValueRef x, LLVMValueRef y);
int64_t tile_round(int64_t x);

#endif
