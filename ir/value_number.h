// Numbers by what nodes compute: equal numbers, equal bits.
#ifndef PLIM_IR_VALUE_NUMBER_H
#define PLIM_IR_VALUE_NUMBER_H

#include "ir/graph.h"

#define HASH_START UINT64_C(14695981039346656037)

// Over the bytes of plain numbers and texts, never of structs with padding.
uint64_t hash_bytes(uint64_t hash, const void *bytes, size_t size);
uint64_t attr_hash(uint64_t hash, const Attr *a);

// A number for each value, by its id. Values of one number are copies: made by equal nodes of equal
// operands, or moved to far memory and back. Two that differ have one number with a chance of
// 2^-64: what is decided by it must be right for any two.
const uint64_t *value_numbers(const Graph *g, Arena *a);

#endif
