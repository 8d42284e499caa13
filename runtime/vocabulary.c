// Two hash tables with open addressing. A file may have been made to collide, so the number of
// steps is bounded when a table is filled: beyond PROBES_MAX, which at half load chance never
// reaches, the file is refused and no search takes long.
#include "runtime/vocabulary.h"

#include <stdlib.h>
#include <string.h>

enum { PROBES_MAX = 512 };

static uint64_t mix(uint64_t x) { // splitmix64's finaliser
    x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9U;
    x = (x ^ x >> 27) * 0x94d049bb133111ebU;
    return x ^ x >> 31;
}

// Eight bytes at a time; the tail is padded with zeros, the length tells it from real ones.
static uint64_t hash_text(const char *text, size_t bytes) {
    uint64_t h = bytes * 0x9e3779b97f4a7c15U;
    for (size_t i = 0; i < bytes; i += 8) {
        uint64_t word = 0;
        memcpy(&word, text + i, bytes - i < 8 ? bytes - i : 8);
        h = mix(h ^ word);
    }
    return h;
}

// The least power of two that is at least twice count.
static uint32_t slots_for(uint32_t count) {
    uint32_t slots = 16;
    while (slots / 2 < count)
        slots *= 2;
    return slots;
}

void vocabulary_release(Vocabulary *v) {
    free(v->piece);
    free(v->slot);
    *v = (Vocabulary){0};
}

bool vocabulary_add(Vocabulary *v, uint32_t id, const char *text, size_t bytes) {
    if (id >= v->capacity) {
        uint32_t capacity = v->capacity ? v->capacity : 1024;
        while (capacity <= id)
            capacity *= 2;
        VocabPiece *grown = realloc(v->piece, capacity * sizeof *grown);
        if (!grown)
            return false;
        // Ids may come in any order and leave holes: a piece without text is none.
        memset(grown + v->capacity, 0, (capacity - v->capacity) * sizeof *grown);
        v->piece = grown;
        v->capacity = capacity;
    }
    v->piece[id] = (VocabPiece){text, (uint32_t)bytes};
    if (id >= v->count)
        v->count = id + 1;
    return true;
}

static bool is_text(const VocabPiece *p, const char *text, size_t bytes) {
    return p->bytes == bytes && memcmp(p->text, text, bytes) == 0;
}

bool vocabulary_index(Vocabulary *v) {
    free(v->slot);
    v->slots = slots_for(v->count);
    v->slot = calloc(v->slots, sizeof *v->slot);
    if (!v->slot)
        return false;
    for (uint32_t id = 0; id < v->count; id++) {
        const VocabPiece *p = &v->piece[id];
        if (!p->text)
            continue;
        uint32_t at = (uint32_t)hash_text(p->text, p->bytes) & (v->slots - 1), probes = 0;
        while (v->slot[at] && !is_text(&v->piece[v->slot[at] - 1], p->text, p->bytes)) {
            at = (at + 1) & (v->slots - 1);
            if (++probes > PROBES_MAX)
                return false;
        }
        // Zero is an empty slot. Of two pieces with one text the later wins.
        v->slot[at] = id + 1;
    }
    return true;
}

int32_t vocabulary_find(const Vocabulary *v, const char *text, size_t bytes) {
    if (v->slots == 0)
        return -1;
    uint32_t at = (uint32_t)hash_text(text, bytes) & (v->slots - 1);
    for (; v->slot[at]; at = (at + 1) & (v->slots - 1))
        if (is_text(&v->piece[v->slot[at] - 1], text, bytes))
            return (int32_t)v->slot[at] - 1;
    return -1;
}

bool merges_new(MergeTable *m, uint32_t count) {
    m->slots = slots_for(count);
    m->slot = malloc(m->slots * sizeof *m->slot);
    if (!m->slot)
        return false;
    // Every byte 0xff: left is UINT32_MAX.
    memset(m->slot, 0xff, m->slots * sizeof *m->slot);
    return true;
}

void merges_release(MergeTable *m) {
    free(m->slot);
    *m = (MergeTable){0};
}

// Ids are dense and small, so they are mixed: neighbours must not fill one stretch of slots.
static uint32_t merge_slot(const MergeTable *m, uint32_t left, uint32_t right) {
    return (uint32_t)mix((uint64_t)left << 32 | right) & (m->slots - 1);
}

// The same pair again replaces the merge: the library, too, keeps the last.
bool merges_add(MergeTable *m, Merge merge) {
    uint32_t at = merge_slot(m, merge.left, merge.right), probes = 0;
    while (m->slot[at].left != UINT32_MAX &&
           (m->slot[at].left != merge.left || m->slot[at].right != merge.right)) {
        at = (at + 1) & (m->slots - 1);
        if (++probes > PROBES_MAX)
            return false;
    }
    m->slot[at] = merge;
    return true;
}

const Merge *merges_find(const MergeTable *m, uint32_t left, uint32_t right) {
    if (m->slots == 0)
        return NULL;
    uint32_t at = merge_slot(m, left, right);
    for (; m->slot[at].left != UINT32_MAX; at = (at + 1) & (m->slots - 1))
        if (m->slot[at].left == left && m->slot[at].right == right)
            return &m->slot[at];
    return NULL;
}
