// Reachability among tasks: one pass over the edges, joining sets of n bits. Cost: edges x n / 64.
#include "passes/memory/order_sets.h"

static uint64_t *set_of(const OrderSets *s, int task) {
    return s->bit + (size_t)task * s->words;
}

void order_sets_join(const OrderSets *s, uint64_t *into, int task) {
    const uint64_t *from = set_of(s, task);
    for (size_t i = 0; i < s->words; i++)
        into[i] |= from[i];
}

bool order_sets_has(const OrderSets *s, int task, int other) {
    return set_of(s, task)[other / 64] >> (other % 64) & 1;
}

static OrderSets sets_create(int tasks, Arena *a) {
    OrderSets s = {.words = ((size_t)tasks + 63) / 64};
    s.bit = arena_array(a, uint64_t, s.words *(size_t)tasks + 1);
    for (int t = 0; t < tasks; t++)
        set_of(&s, t)[t / 64] |= (uint64_t)1 << (t % 64);
    return s;
}

OrderSets order_sets_before(const OrderGraph *og, Arena *a) {
    const OrderSets s = sets_create(og->task_count, a);
    for (int t = 0; t < og->task_count; t++)
        for (int i = og->pred_begin[t]; i < og->pred_begin[t + 1]; i++)
            order_sets_join(&s, set_of(&s, t), og->pred[i]);
    return s;
}

OrderSets order_sets_behind(const OrderGraph *og, Arena *a) {
    const OrderSets s = sets_create(og->task_count, a);
    for (int t = og->task_count - 1; t >= 0; t--)
        for (int i = og->succ_begin[t]; i < og->succ_begin[t + 1]; i++)
            order_sets_join(&s, set_of(&s, t), og->succ[i]);
    return s;
}
