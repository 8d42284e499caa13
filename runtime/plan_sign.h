// Signatures: what an instruction must compute, as a hash of its dataflow.
//
// signature(i) = H(kernel text or kind, immediates, for each operand that is read: the labels of the bytes
// it finds, relative to the operand's start). The bytes that instruction i writes through operand j get
// the label H(signature(i), j) with their distance from the operand's start. So two plans that differ only
// in order, layout and buffer sharing have equal signatures, and a plan whose memory is wrong anywhere
// computes a different one. plan_sign fills them in from buffers alone, as if no two shared a byte; the
// verifier recomputes them from physical addresses, in event order.
//
// To the letter, with h <- x for h = plan_hash_u64(h, x), every h beginning as plan_hash_start():
//
//   kernel(k):     plan_hash_bytes of its text; h <- tiles, workspace; then for its product row, if any: h <-
//                  library, a, b, c, batch[0..1], m, n, k, a_stride[0..3], b_stride[0..3], c_stride[0..3],
//                  accumulate, tile_m, tile_n
//   signature(i):  h <- kind, kernel(k) (KERNEL and PRODUCT), imm_count, each imm, operand_count; then for each
//                  operand h <- access, bytes, slot_bytes, where it has rows h <- row, pitch, and unless it is
//                  PLAN_WRITE the content of its bytes
//   content:       for each longest run of bytes with one label and consecutive distances:
//                  h <- length, label, distance of the first byte, minus slot x slot_bytes of the operand
//   label (i, j):  h <- signature(i), j; distance 0 at the operand's first byte. An operand that is updated or
//                  written has it on all its bytes; what lies between its rows counts too. Operands with rows
//                  take theirs last, in the order of their offsets, so that of those that lie between each
//                  other's rows each shows from its first byte to the next one's. The written operand of a copy
//                  takes label and distance of the read one, where that is one run; else its content as label,
//                  and distance 0.
//   result:        content of its dims x dtype bytes; commit: of the state's, from the start of its buffer
//
// Before an entry the bytes of a state, and of each slot of an input, have its label and their distance from
// the start of the buffer. A carried buffer has plan_label_carried at the start of every segment that the
// entry calls more than once. Reading a byte without a label is an error.
#ifndef PLIM_RUNTIME_PLAN_SIGN_H
#define PLIM_RUNTIME_PLAN_SIGN_H

#include "runtime/plan.h"

// Sets signature of every instruction, result and commit. Instructions stand in an order that respects the
// graph (the planner calls it before schedule and layout); kernels, products, inputs, states and programs are
// complete. PLIM_BAD_PLAN where an operand does not fit its buffer or reads a byte that nothing wrote.
PlimStatus plan_sign(Plan *p);

// The operand with rows that begins behind operand `last` (UINT32_MAX: the first of all), or UINT32_MAX: the
// order in which both sides label them.
uint32_t plan_next_in_rows(const PlanInstr *instr, uint32_t last);

// The hash both sides use: FNV-1a's offset to start with, then mixed 64 bits at a time.
uint64_t plan_hash_start(void);
uint64_t plan_hash_u64(uint64_t h, uint64_t word);
uint64_t plan_hash_bytes(uint64_t h, const void *bytes, size_t size);
// Labels of memory that no instruction wrote.
uint64_t plan_label_state(const char *name);
uint64_t plan_label_input(const char *entry, const char *name);
// What a carried buffer holds when a micro-batch begins: the same for every one of them. By index too,
// since names of buffers are for people: two of a kind must not stand for each other.
uint64_t plan_label_carried(const char *buffer, uint32_t index);

#endif
