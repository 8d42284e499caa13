// Orders as keyed bijections: place r of a pass goes to permute(r), a four-round Feistel network on
// the next even power of two with cycle walking (Black and Rogaway 2002). So a step's examples
// follow from its number alone, and nothing about the order needs to be saved.
//
// The held-out part is the image of 0 .. held - 1 under one more bijection, whose key is the seed
// alone; the rest of its image is for training. That makes the parts disjoint by construction.
#include "runtime/data_order.h"

static uint64_t mix(uint64_t x) { // splitmix64 (Steele et al. 2014)
    x += 0x9e3779b97f4a7c15U;
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9U;
    x = (x ^ x >> 27) * 0x94d049bb133111ebU;
    return x ^ x >> 31;
}

// A bijection on 0..n-1 chosen by key.
// Round: (left, right) -> (right, left xor f(right)), which can be undone whatever f is.
static uint64_t permute(uint64_t index, uint64_t n, uint64_t key) {
    unsigned half = 1;
    // 2^(2 half) is the least even power of two that is not below n; half 32 would be all of 64
    // bits.
    while (half < 32 && (uint64_t)1 << (2 * half) < n)
        half++;
    const uint64_t mask = ((uint64_t)1 << half) - 1;
    do {
        uint64_t left = index >> half, right = index & mask;
        for (uint64_t round = 0; round < 4; round++) {
            const uint64_t next = left ^ (mix(right ^ mix(key + round)) & mask);
            left = right;
            right = next;
        }
        index = left << half | right;
    } while (index >= n); // Walk the cycle until inside: fewer than 4 rounds on average.
    return index;
}

uint64_t order_count(const DataOrder *o) {
    switch (o->part) {
    case DATA_TRAIN:
        return o->total - o->held;
    case DATA_HELD:
        return o->held;
    case DATA_ALL:
        break;
    }
    return o->total;
}

uint64_t order_example(const DataOrder *o, uint64_t number) {
    const uint64_t count = order_count(o), pass = number / count;
    uint64_t place = number % count;
    // Each pass has a key of its own, made from the seed.
    if (o->shuffle)
        place = permute(place, count, mix(o->seed ^ mix(pass)));
    // Nothing held out: the parts are all or nothing, and training takes the data as they lie.
    if (o->part == DATA_ALL || o->held == 0)
        return place;
    // No pass has this key: passes are numbered from 0.
    const uint64_t key = mix(o->seed ^ mix(UINT64_MAX));
    return permute(o->part == DATA_TRAIN ? place + o->held : place, o->total, key);
}
