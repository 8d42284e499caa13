// Problems that were solved before, by a sign of 128 bits of everything that an answer depends on.
//
// A trial of a rung (passes/retain) solves the problem that compiling the rung solves again, and
// entries that states in far memory don't change have the same problem in every variant. An answer
// found under a limit that it keeps is the one without it: the search ends early only where a bound
// is above the limit. So it holds for every limit that it keeps, and which problems are known
// changes no answer. A sign is taken for the problem; what it finds is allowed and has the load it
// promises in any case (CHECKed). Cost: the size of the problem, and of the list.
#include "passes/memory/memory_known.h"

#include "ir/check.h"
#include "passes/memory/order_state.h"

#include <string.h>

struct MemoryKnown {
    OrderKey sign;
    int64_t work; // that the search was allowed
    MemoryAnswer answer;
    int count; // tasks
    const int *order;
    int64_t load; // of the order
    const MemoryKnown *next;
};

static void add_word(OrderKey *k, int64_t word) {
    k->low = (k->low ^ (uint64_t)word) * 0x9e3779b97f4a7c15u;
    k->low ^= k->low >> 29;
    k->high = (k->high + (uint64_t)word) * 0xbf58476d1ce4e5b9u;
    k->high ^= k->high >> 32;
}

// A list of lists: where each begins, and what is in them.
static void add_lists(OrderKey *k, const int *begin, const int *item, int count) {
    for (int i = 0; i <= count; i++)
        add_word(k, begin[i]);
    for (int i = 0; i < begin[count]; i++)
        add_word(k, item[i]);
}

static OrderKey sign_of(const OrderGraph *og) {
    OrderKey k = {1, 2};
    add_word(&k, og->task_count);
    add_word(&k, og->object_count);
    add_lists(&k, og->pred_begin, og->pred, og->task_count);
    add_lists(&k, og->use_begin, og->use, og->task_count);
    for (int t = 0; t < og->task_count; t++)
        add_word(&k, og->transient[t]);
    for (int i = 0; i < og->object_count; i++) {
        add_word(&k, og->object[i].bytes);
        add_word(&k, og->object[i].flags);
    }
    for (int t = 0; t < og->task_count; t++)
        for (int i = og->over_begin[t]; i < og->over_begin[t + 1]; i++) {
            add_word(&k, t);
            add_word(&k, og->over[i].made);
            add_word(&k, og->over[i].over);
        }
    return k;
}

static bool holds_under(const MemoryAnswer *answer, const OrderOptions *options) {
    return !options->limit || answer->order.load <= options->limit;
}

MemoryAnswer memory_solve_unless_known(const MemoryKnown *known, const OrderGraph *og,
                                       const OrderOptions *options, Arena *scratch, int *order) {
    const OrderKey sign = known ? sign_of(og) : (OrderKey){0};
    for (const MemoryKnown *k = known; k; k = k->next) {
        if (k->sign.low != sign.low || k->sign.high != sign.high || k->work != options->work ||
            !holds_under(&k->answer, options) || (k->answer.order.plain && !options->plain))
            continue;
        memcpy(order, k->order, (size_t)k->count * sizeof *order);
        CHECK(k->count == og->task_count && order_is_allowed(og, order, scratch) &&
              order_load(og, order, scratch, NULL) == k->load);
        return k->answer;
    }
    return memory_solve(og, options, scratch, order);
}

// With a copy of its order.
static const MemoryKnown *put(const MemoryKnown *behind, MemoryKnown item, Arena *a) {
    MemoryKnown *out = arena_new(a, MemoryKnown);
    int *order = arena_array(a, int, item.count + 1);
    memcpy(order, item.order, (size_t)item.count * sizeof *order);
    *out = item;
    out->order = order;
    out->next = behind;
    return out;
}

const MemoryKnown *memory_known_add(const MemoryKnown *known, const OrderGraph *og,
                                    const OrderOptions *options, const MemoryAnswer *answer,
                                    const int *order, Arena *a) {
    if (!holds_under(answer, options))
        return known;
    Arena *scratch = arena_create();
    const MemoryKnown item = {.sign = sign_of(og),
                              .work = options->work,
                              .answer = *answer,
                              .count = og->task_count,
                              .order = order,
                              .load = order_load(og, order, scratch, NULL)};
    arena_release(scratch);
    return put(known, item, a);
}

const MemoryKnown *memory_known_copy(const MemoryKnown *known, const MemoryKnown *until,
                                     const MemoryKnown *behind, Arena *a) {
    for (; known != until; known = known->next)
        behind = put(behind, *known, a);
    return behind;
}
