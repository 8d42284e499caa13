// Bitmaps in levels: a word of level i + 1 says which 64 words of level i have a member, so that
// the next or last member is found by looking at two words a level. Six levels are enough for 2^32
// members.
#include "runtime/plan_index_set.h"

bool index_set_init(IndexSet *s, uint32_t limit, PlanMemory *pm) {
    *s = (IndexSet){.limit = limit};
    // Level 0 has a bit for each number below limit; the highest level is one word.
    uint64_t words = limit;
    do {
        words = words / 64 + 1;
        s->bits[s->levels] = plan_alloc(pm, (size_t)words, sizeof(uint64_t));
        if (!s->bits[s->levels++])
            return false;
    } while (words > 1);
    return true;
}

// Sets the member's bit and those above that lead to it.
void index_set_add(IndexSet *s, uint32_t member) {
    for (uint32_t i = 0; i < s->levels; i++, member /= 64)
        s->bits[i][member / 64] |= (uint64_t)1 << (member % 64);
}

void index_set_remove(IndexSet *s, uint32_t member) {
    for (uint32_t i = 0; i < s->levels; i++, member /= 64) {
        s->bits[i][member / 64] &= ~((uint64_t)1 << (member % 64));
        // A word that keeps a member keeps its bit above.
        if (s->bits[i][member / 64])
            return;
    }
}

bool index_set_has(const IndexSet *s, uint32_t member) {
    return s->bits[0][member / 64] >> (member % 64) & 1;
}

uint32_t index_set_above(const IndexSet *s, uint32_t member) {
    uint64_t at = (uint64_t)member + 1;
    for (uint32_t i = 0; i < s->levels; i++, at = at / 64 + 1) {
        if (i == 0 && at >= s->limit)
            return UINT32_MAX;
        const uint64_t word = s->bits[i][at / 64] >> (at % 64);
        if (!word) {
            if (i + 1 == s->levels)
                return UINT32_MAX;
            continue;
        }
        at += (uint64_t)__builtin_ctzll(word);
        // Down again: the lowest member of each word.
        while (i-- > 0)
            at = at * 64 + (uint64_t)__builtin_ctzll(s->bits[i][at]);
        return (uint32_t)at;
    }
    return UINT32_MAX;
}

uint32_t index_set_below(const IndexSet *s, uint32_t member) {
    uint64_t at = member; // members below at, in units of the level
    for (uint32_t i = 0; i < s->levels; i++, at /= 64) {
        const uint64_t word = s->bits[i][at / 64] & (((uint64_t)1 << (at % 64)) - 1);
        if (!word)
            continue;
        at = at / 64 * 64 + 63 - (uint64_t)__builtin_clzll(word);
        while (i-- > 0)
            at = at * 64 + 63 - (uint64_t)__builtin_clzll(s->bits[i][at]);
        return (uint32_t)at;
    }
    return UINT32_MAX;
}
