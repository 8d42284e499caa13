// Unigram segmentation of one word (Kudo 2018): of all ways to write it as a sequence of pieces,
// the one with the largest sum of scores, by dynamic programming over the word's bytes (Viterbi).
//
// best[i] is the best way to write the first i bytes. A character that no piece of its own covers
// may also be unknown, at a score below every piece's; neighbouring unknown ones become one.
// Cost: bytes x pieces that begin at a byte.
#include "runtime/tokenizer_parts.h"

#include "runtime/unicode_class.h"

#include <string.h>

typedef struct {
    double score;
    size_t start;  // of the last piece; SIZE_MAX: not reached
    int32_t id;    // of the last piece
    uint32_t link; // bytes to the next cut, when the path is walked back
} Best;

// A way to reach end by the piece id from start.
static void offer(Best *best, size_t start, size_t end, double score, int32_t id) {
    const double sum = best[start].score + score;
    if (best[end].start != SIZE_MAX && sum <= best[end].score)
        return;
    best[end].score = sum;
    best[end].start = start;
    best[end].id = id;
}

static void find_best(const PlimTokenizer *t, const char *word, size_t bytes, Best *best) {
    for (size_t i = 1; i <= bytes; i++)
        best[i].start = SIZE_MAX;
    best[0] = (Best){0};
    for (size_t at = 0; at < bytes;) {
        uint32_t point;
        const size_t length = unicode_decode(word + at, bytes - at, &point);
        bool covered = false;
        PieceWalk walk = {.text = word + at, .size = bytes - at};
        for (const IndexedPiece *p; (p = piece_next(&t->pieces, &walk));) {
            offer(best, at, at + p->bytes, t->score[p->id], (int32_t)p->id);
            covered = covered || p->bytes == length;
        }
        if (!covered)
            offer(best, at, at + length, t->unknown_score, t->unknown);
        at += length;
    }
}

// Unknown text: as bytes where all of them have pieces, else as the unknown piece.
static bool add_unknown(Encoding *e, const char *text, size_t bytes) {
    const PlimTokenizer *t = e->t;
    const int32_t id = vocabulary_find(&t->vocabulary, text, bytes);
    if (id >= 0)
        return encoding_add(e, id);
    bool all = t->byte_fallback;
    for (size_t i = 0; i < bytes && all; i++)
        all = t->byte_id[(unsigned char)text[i]] >= 0;
    if (!all)
        return encoding_add(e, t->unknown);
    for (size_t i = 0; i < bytes; i++)
        if (!encoding_add(e, t->byte_id[(unsigned char)text[i]]))
            return false;
    return true;
}

bool unigram_encode(Encoding *e, const char *word, size_t bytes) {
    if (bytes == 0)
        return true;
    Best *best = bytes > UINT32_MAX / 64 ? NULL : encoding_scratch(e, (bytes + 1) * sizeof *best);
    if (!best)
        return false;
    find_best(e->t, word, bytes, best);
    // The path is known from its end; links turn it round.
    for (size_t at = bytes; at > 0; at = best[at].start)
        best[best[at].start].link = (uint32_t)(at - best[at].start);
    for (size_t at = 0; at < bytes;) {
        size_t end = at + best[at].link;
        const int32_t id = best[end].id;
        while (id == e->t->unknown && end < bytes && best[end + best[end].link].id == id)
            end += best[end].link;
        if (!(id == e->t->unknown ? add_unknown(e, word + at, end - at) : encoding_add(e, id)))
            return false;
        at = end;
    }
    return true;
}
