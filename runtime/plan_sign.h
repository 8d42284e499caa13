// Signatures: what an instruction must compute, as a hash of its dataflow.
//
// signature(i) = H(kernel text or kind, immediates, for each operand that is read: the labels of the bytes
// it finds, relative to the operand's start). The bytes that instruction i writes through operand j get
// the label H(signature(i), j) with their distance from the operand's start. So two plans that differ only
// in order, layout and buffer sharing have equal signatures, and a plan whose memory is wrong anywhere
// computes a different one. plan_sign fills them in from buffers alone, as if no two shared a byte; the
// verifier recomputes them from physical addresses, in event order.
#ifndef PLIM_RUNTIME_PLAN_SIGN_H
#define PLIM_RUNTIME_PLAN_SIGN_H

#include "runtime/plan.h"

// Sets signature of every instruction, result and commit. Instructions stand in an order that respects the
// graph (the planner calls it before schedule and layout).
PlimStatus plan_sign(Plan *p);

// The hash both sides use: FNV-1a's offset to start with, then mixed 64 bits at a time.
uint64_t plan_hash_start(void);
uint64_t plan_hash_u64(uint64_t h, uint64_t word);
uint64_t plan_hash_bytes(uint64_t h, const void *bytes, size_t size);
// Labels of memory that no instruction wrote.
uint64_t plan_label_state(const char *name);
uint64_t plan_label_input(const char *entry, const char *name);
// What a carried buffer holds when a micro-batch begins: the same for every one of them.
uint64_t plan_label_carried(const char *buffer);

#endif
