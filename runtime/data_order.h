// The order in which examples are taken, by arithmetic alone: no table grows with the data.
#ifndef PLIM_RUNTIME_DATA_ORDER_H
#define PLIM_RUNTIME_DATA_ORDER_H

#include <stdbool.h>
#include <stdint.h>

// Which of the examples are taken. The held-out ones and those for training are disjoint and make
// up all.
typedef enum { DATA_ALL, DATA_TRAIN, DATA_HELD } DataPart;

// Of the examples 0 .. total - 1, held are held out, chosen by the seed.
typedef struct {
    DataPart part;
    uint64_t total, held; // held <= total
    bool shuffle;         // each pass in an order of its own, which follows from seed and pass
    uint64_t seed;
} DataOrder;

// Examples of the part: what one pass takes.
uint64_t order_count(const DataOrder *o);
// The example that comes at place number, counted through all passes; order_count is not 0.
uint64_t order_example(const DataOrder *o, uint64_t number);

#endif
