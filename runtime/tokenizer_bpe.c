// Byte-pair encoding of one word (Sennrich et al. 2016).
//
// The word's characters are symbols in a doubly linked list; pairs that merge stand in a heap by
// (rank, place), so that the lowest rank merges first and of equal ones the leftmost. A pair whose
// symbols have changed since is passed over when it comes up. Cost: n log n for n characters.
//
// A word may be a whole text (Llama 2 splits nothing). Where no merge of the vocabulary reaches
// over the place before a mark, it is cut there first, which changes nothing and keeps words short.
#include "runtime/tokenizer_parts.h"

#include "runtime/unicode_class.h"

#include <string.h>

// In scratch: symbols, then the heap. Each merge adds at most two pairs to the n - 1 first ones.
typedef struct {
    uint32_t id; // UINT32_MAX: merged into its left neighbour
    int32_t previous, next;
} Symbol;

typedef struct {
    uint32_t rank, place, id; // id: what the pair becomes
} Candidate;

typedef struct {
    const PlimTokenizer *t;
    Symbol *symbol;
    Candidate *heap;
    uint32_t symbols, heaped;
} Word;

static bool is_before(const Candidate *a, const Candidate *b) {
    return a->rank != b->rank ? a->rank < b->rank : a->place < b->place;
}

static void heap_push(Word *w, Candidate c) {
    uint32_t at = w->heaped++;
    for (; at > 0 && is_before(&c, &w->heap[(at - 1) / 2]); at = (at - 1) / 2)
        w->heap[at] = w->heap[(at - 1) / 2];
    w->heap[at] = c;
}

static Candidate heap_pop(Word *w) {
    const Candidate top = w->heap[0], last = w->heap[--w->heaped];
    uint32_t at = 0;
    for (;;) {
        uint32_t child = 2 * at + 1;
        if (child >= w->heaped)
            break;
        if (child + 1 < w->heaped && is_before(&w->heap[child + 1], &w->heap[child]))
            child++;
        if (!is_before(&w->heap[child], &last))
            break;
        w->heap[at] = w->heap[child];
        at = child;
    }
    w->heap[at] = last;
    return top;
}

// The pair of the symbol at place and its right neighbour, where it merges.
static void push_pair(Word *w, int32_t place) {
    const Symbol *s = &w->symbol[place];
    if (s->next < 0)
        return;
    const Merge *m = merges_find(&w->t->merges, s->id, w->symbol[s->next].id);
    if (m)
        heap_push(w, (Candidate){m->rank, (uint32_t)place, m->id});
}

static void merge_all(Word *w) {
    for (uint32_t i = 0; i + 1 < w->symbols; i++)
        push_pair(w, (int32_t)i);
    while (w->heaped > 0) {
        const Candidate top = heap_pop(w);
        Symbol *s = &w->symbol[top.place];
        if (s->id == UINT32_MAX || s->next < 0)
            continue;
        Symbol *right = &w->symbol[s->next];
        const Merge *m = merges_find(&w->t->merges, s->id, right->id);
        if (!m || m->id != top.id)
            continue; // It has changed since.
        s->id = top.id;
        right->id = UINT32_MAX;
        s->next = right->next;
        if (s->next >= 0)
            w->symbol[s->next].previous = (int32_t)top.place;
        if (s->previous >= 0)
            push_pair(w, s->previous);
        push_pair(w, (int32_t)top.place);
    }
}

static void add_symbol(Word *w, int32_t id) {
    const int32_t at = (int32_t)w->symbols++;
    w->symbol[at] = (Symbol){(uint32_t)id, at - 1, at + 1};
}

// All bytes of the character by their own pieces; false where one has none.
static bool add_bytes(Word *w, const char *text, size_t bytes) {
    for (size_t i = 0; i < bytes; i++)
        if (w->t->byte_id[(unsigned char)text[i]] < 0)
            return false;
    for (size_t i = 0; i < bytes; i++)
        add_symbol(w, w->t->byte_id[(unsigned char)text[i]]);
    return true;
}

// Characters to symbols. What has no piece and no bytes is the unknown one, if there is any.
static void add_characters(Word *w, const char *text, size_t bytes) {
    const PlimTokenizer *t = w->t;
    bool unknown = false; // seen and not yet added
    for (size_t at = 0; at < bytes;) {
        uint32_t point;
        const size_t length = unicode_decode(text + at, bytes - at, &point);
        const int32_t id = point < TOKENIZER_SHORT_POINTS
                               ? t->short_id[point]
                               : vocabulary_find(&t->vocabulary, text + at, length);
        at += length;
        if (id >= 0) {
            if (unknown)
                add_symbol(w, t->unknown);
            unknown = false;
            add_symbol(w, id);
        } else if (!(t->byte_fallback && add_bytes(w, text + at - length, length)) &&
                   t->unknown >= 0) {
            if (unknown && !t->fuse_unknown)
                add_symbol(w, t->unknown);
            unknown = true;
        }
    }
    if (unknown)
        add_symbol(w, t->unknown);
}

// A word that is not cut any more.
static bool encode_word(Encoding *e, const char *text, size_t bytes) {
    const PlimTokenizer *t = e->t;
    if (bytes == 0)
        return true;
    if (t->whole_words) {
        const int32_t id = vocabulary_find(&t->vocabulary, text, bytes);
        if (id >= 0)
            return encoding_add(e, id);
    }
    // A byte gives at most one symbol, a symbol at most three pairs over time.
    char *room = bytes > INT32_MAX / 64
                     ? NULL
                     : encoding_scratch(e, bytes * (sizeof(Symbol) + 3 * sizeof(Candidate)));
    if (!room)
        return false;
    Word w = {.t = t,
              .symbol = (Symbol *)(void *)room,
              .heap = (Candidate *)(void *)(room + bytes * sizeof(Symbol))};
    add_characters(&w, text, bytes);
    if (w.symbols == 0)
        return true;
    w.symbol[w.symbols - 1].next = -1;
    merge_all(&w);
    for (int32_t i = 0; i >= 0; i = w.symbol[i].next)
        if (!encoding_add(e, (int32_t)w.symbol[i].id))
            return false;
    return true;
}

bool bpe_encode(Encoding *e, const char *word, size_t bytes) {
    const PlimTokenizer *t = e->t;
    const size_t mark = strlen(t->mark);
    size_t begin = 0;
    for (size_t at = 1; t->marks_end_merge && at + mark <= bytes; at++) {
        // Before a mark, behind something else.
        if (word[at] != t->mark[0] || memcmp(word + at, t->mark, mark) != 0 ||
            (at >= mark && memcmp(word + at - mark, t->mark, mark) == 0))
            continue;
        if (!encode_word(e, word + begin, at - begin))
            return false;
        begin = at;
    }
    return encode_word(e, word + begin, bytes - begin);
}
