// Made-up tables of what each query of attention sees (ir/op_attention.c): for tests of kernels
// here and on a GPU.
#ifndef PLIM_TESTS_ATTENTION_TABLE_H
#define PLIM_TESTS_ATTENTION_TABLE_H

#include <stdint.h>

typedef struct {
    int64_t batch, queries, keys;
    int documents; // keys of each, in order; less than 0: so many, in no order; 0: none
    int interval;  // a prefix of so many before what is causal; less than 0: any intervals; 0: none
} AttentionTable;

static inline int64_t attention_table_columns(const AttentionTable *t) {
    return (t->interval != 0 ? 2 * t->queries : 0) + (t->documents != 0 ? t->keys : 0);
}

// Empty ones too, and such as begin before the first key or end behind the last.
static inline void attention_table_intervals(const AttentionTable *t, int32_t *begin) {
    int32_t *end = begin + t->queries;
    for (int64_t i = 0; i < t->queries; i++) {
        const int64_t beside = i + t->keys - t->queries;
        begin[i] = (int32_t)(t->interval > 0 ? 0 : i * 37 % (t->keys + 9) - 7);
        end[i] = (int32_t)(t->interval < 0        ? begin[i] + i * 11 % (t->keys / 2) - 3
                           : beside < t->interval ? t->interval
                                                  : beside + 1);
    }
}

// batch rows of so many columns.
static inline void attention_table_fill(const AttentionTable *t, int32_t *at) {
    for (int64_t b = 0; b < t->batch; b++) {
        if (t->interval != 0) {
            attention_table_intervals(t, at);
            at += 2 * t->queries;
        }
        for (int64_t j = 0, i = b * t->keys; t->documents != 0 && j < t->keys; j++, i++)
            *at++ = (int32_t)(t->documents > 0 ? (j + 7) / t->documents - 1
                                               : i * i / 40 % -t->documents);
    }
}

#endif
