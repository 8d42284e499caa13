// Pieces in byte order: those that share a prefix with the text are a range, which one more byte of
// text narrows by two binary searches. No trie to build, no hash to attack; a walk costs at most
// (bytes of the longest piece) x log(pieces), and in practice far less, as the first byte is a
// table.
#include "runtime/piece_index.h"

#include <stdlib.h>
#include <string.h>

static int by_bytes(const void *a, const void *b) {
    const IndexedPiece *x = a, *y = b;
    const size_t common = x->bytes < y->bytes ? x->bytes : y->bytes;
    const int order = memcmp(x->text, y->text, common);
    return order ? order : (x->bytes > y->bytes) - (x->bytes < y->bytes);
}

// Equal pieces by their place in the text they come from: qsort alone keeps no order.
static int by_bytes_then_place(const void *a, const void *b) {
    const int order = by_bytes(a, b);
    const char *x = ((const IndexedPiece *)a)->text, *y = ((const IndexedPiece *)b)->text;
    return order ? order : (x > y) - (x < y);
}

void piece_index_init(PieceIndex *x, IndexedPiece *list, uint32_t count) {
    x->piece = list;
    x->count = 0;
    if (count)
        qsort(list, count, sizeof *list, by_bytes_then_place);
    for (uint32_t i = 0; i < count; i++)
        if (i + 1 == count || by_bytes(&list[i], &list[i + 1]) != 0)
            list[x->count++] = list[i];
    uint32_t at = 0;
    for (unsigned c = 0; c <= 256; c++) {
        while (at < x->count && (unsigned char)list[at].text[0] < c)
            at++;
        x->first[c] = at;
    }
}

void piece_index_release(PieceIndex *x) {
    free(x->piece);
    *x = (PieceIndex){0};
}

// The first piece of low .. high - 1 whose byte at depth is not below c; shorter ones come first.
static uint32_t narrow(const PieceIndex *x, uint32_t low, uint32_t high, uint32_t depth,
                       unsigned c) {
    while (low < high) {
        const uint32_t middle = low + (high - low) / 2;
        const IndexedPiece *p = &x->piece[middle];
        if (p->bytes <= depth || (unsigned char)p->text[depth] < c)
            low = middle + 1;
        else
            high = middle;
    }
    return low;
}

const IndexedPiece *piece_next(const PieceIndex *x, PieceWalk *w) {
    while (w->depth < w->size) {
        const unsigned c = (unsigned char)w->text[w->depth];
        if (w->depth == 0) {
            w->low = x->first[c];
            w->high = x->first[c + 1];
        } else {
            w->low = narrow(x, w->low, w->high, w->depth, c);
            w->high = narrow(x, w->low, w->high, w->depth, c + 1);
        }
        if (w->low == w->high) {
            w->size = w->depth; // So the walk has ended for good.
            return NULL;
        }
        // A piece that ends here is the range's first.
        if (x->piece[w->low].bytes == ++w->depth)
            return &x->piece[w->low];
    }
    return NULL;
}

const IndexedPiece *piece_longest(const PieceIndex *x, const char *text, size_t size) {
    PieceWalk w = {.text = text, .size = size};
    const IndexedPiece *longest = NULL;
    for (const IndexedPiece *p; (p = piece_next(x, &w));)
        longest = p;
    return longest;
}
