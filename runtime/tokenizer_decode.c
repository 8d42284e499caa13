// Ids back to bytes. A token may end inside a character; its first bytes wait for the rest, so that
// what is printed is always whole characters. Bytes that can't become one are passed on as they
// are.
#include "runtime/tokenizer_parts.h"

#include "runtime/plan_fields.h"
#include "runtime/unicode_class.h"

#include <stdio.h>
#include <string.h>

size_t tokenizer_decode_size(const PlimTokenizer *t) {
    return t->longest + sizeof((TokenStream){0}).held;
}

// The bytes that a byte-level piece stands for, or its own where one of its characters stands for
// none.
static size_t from_printable(const VocabPiece *p, char *out) {
    size_t used = 0;
    for (size_t at = 0; at < p->bytes;) {
        uint32_t point;
        at += unicode_decode(p->text + at, p->bytes - at, &point);
        const int byte = point_to_byte(point);
        if (byte < 0) {
            memcpy(out, p->text, p->bytes);
            return p->bytes;
        }
        out[used++] = (char)byte;
    }
    return used;
}

// "<0x0A>".
static bool is_byte_piece(const VocabPiece *p, unsigned *byte) {
    char text[7];
    if (p->bytes != 6)
        return false;
    memcpy(text, p->text, 6);
    text[6] = '\0';
    return sscanf(text, "<0x%2X>", byte) == 1 && text[5] == '>';
}

// A piece of characters; marks become spaces, none at the beginning of a text where the file says
// so. At most as long as the piece.
static size_t from_marks(const TokenStream *s, const VocabPiece *p, char *out) {
    const PlimTokenizer *t = s->tokenizer;
    const size_t mark = strlen(t->mark);
    const bool first = !s->begun && !s->after_text;
    size_t used = 0;
    for (size_t at = 0; at < p->bytes;) {
        const bool is_mark =
            t->decode_marks && p->bytes - at >= mark && memcmp(p->text + at, t->mark, mark) == 0;
        if (!is_mark)
            out[used++] = p->text[at];
        else if (!(first && t->decode_strip_word))
            out[used++] = ' ';
        at += is_mark ? mark : 1;
    }
    if (first && t->decode_strip && used > 0 && out[0] == ' ')
        memmove(out, out + 1, --used);
    return used;
}

// Bytes at the end of the text that begin a character and are not all of it.
static size_t unfinished(const char *text, size_t size) {
    for (size_t back = 1; back <= 3 && back <= size; back++) {
        const unsigned char c = (unsigned char)text[size - back];
        if ((c & 0xc0) == 0x80)
            continue; // a later byte of one: its beginning is farther back
        const size_t length = c >= 0xf0 ? 4 : c >= 0xe0 ? 3 : c >= 0xc2 ? 2 : 1;
        // Filled up it must be a character: F5 or E0 80 never become one.
        char whole[4] = {text[size - back], (char)0x80, (char)0x80, (char)0x80};
        if (length <= back)
            return 0;
        memcpy(whole, text + size - back, back);
        if (back == 1 && (c == 0xe0 || c == 0xf0))
            whole[1] = (char)(c == 0xe0 ? 0xa0 : 0x90);
        return plan_utf8_character(whole, length) ? back : 0;
    }
    return 0;
}

size_t tokenizer_decode(TokenStream *s, int32_t id, char *out) {
    const PlimTokenizer *t = s->tokenizer;
    size_t used = s->held_bytes;
    memcpy(out, s->held, used);
    if (t->model == MODEL_BYTES) {
        if (id >= 0 && id < 256)
            out[used++] = (char)id;
    } else if (id >= 0 && id < tokenizer_size(t) && t->vocabulary.piece[id].text &&
               t->added_kind[id] < 2) {
        const VocabPiece *p = &t->vocabulary.piece[id];
        unsigned byte;
        if (t->decode_fallback && is_byte_piece(p, &byte))
            out[used++] = (char)byte;
        else
            used += t->decode_bytes ? from_printable(p, out + used) : from_marks(s, p, out + used);
        s->begun = true;
    }
    s->held_bytes = (uint32_t)unfinished(out, used);
    used -= s->held_bytes;
    memcpy(s->held, out + used, s->held_bytes);
    return used;
}

size_t tokenizer_decode_end(TokenStream *s, char *out) {
    const size_t used = s->held_bytes;
    memcpy(out, s->held, used);
    s->held_bytes = 0;
    return used;
}
