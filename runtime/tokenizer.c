// Opening, and encoding down to words: added tokens first, then normalisation, then the steps.
//
// Everything an encoding needs hangs off an Encoding on the stack, so a tokenizer is read-only once
// it is open and may be used by several threads.
#include "runtime/tokenizer_parts.h"

#include "runtime/error.h"
#include "runtime/file_read.h"
#include "runtime/unicode_class.h"

#include <stdlib.h>
#include <string.h>

// Bytes of a tokenizer.json; published ones have up to 35 MB.
enum { JSON_MAX = 64 << 20 };

// Doubling, so that a text built byte by byte costs no more than its size.
bool text_add(TextBuffer *b, const char *text, size_t bytes) {
    if (b->capacity - b->size < bytes) {
        size_t capacity = b->capacity ? b->capacity : 64;
        while (capacity - b->size < bytes)
            capacity *= 2;
        char *grown = realloc(b->at, capacity);
        if (!grown)
            return false;
        b->at = grown;
        b->capacity = capacity;
    }
    memcpy(b->at + b->size, text, bytes);
    b->size += bytes;
    return true;
}

void text_release(TextBuffer *b) {
    free(b->at);
    *b = (TextBuffer){0};
}

bool encoding_add(Encoding *e, int32_t id) {
    TokenList *out = e->out;
    if (out->count == out->capacity) {
        const size_t capacity = out->capacity ? out->capacity * 2 : 64;
        int32_t *grown = realloc(out->id, capacity * sizeof *grown);
        if (!grown)
            return false;
        out->id = grown;
        out->capacity = capacity;
    }
    out->id[out->count++] = id;
    return true;
}

// Twice what is asked for: words grow a little at a time, and nothing in it has to be kept.
void *encoding_scratch(Encoding *e, size_t bytes) {
    if (bytes > e->scratch_bytes) {
        free(e->scratch);
        e->scratch = malloc(2 * bytes);
        e->scratch_bytes = e->scratch ? 2 * bytes : 0;
    }
    return e->scratch;
}

static void encoding_release(Encoding *e) {
    for (size_t i = 0; i < sizeof e->text / sizeof e->text[0]; i++)
        text_release(&e->text[i]);
    free(e->scratch);
}

uint32_t byte_to_point(uint8_t byte) {
    // Printable Latin-1 stands for itself, the rest for U+0100 on, in order.
    if ((byte >= 0x21 && byte <= 0x7e) || (byte >= 0xa1 && byte != 0xad))
        return byte;
    if (byte < 0x21)
        return 0x100U + byte;
    return byte == 0xad ? 0x143 : 0x100U + 0x21 + (byte - 0x7fU);
}

// The other way round; -1 where the character stands for no byte.
int point_to_byte(uint32_t point) {
    if (point >= 0x100 && point <= 0x143)
        return (int)(point < 0x121 ? point - 0x100 : point < 0x143 ? point - 0x121 + 0x7f : 0xad);
    const bool self = (point >= 0x21 && point <= 0x7e) || (point >= 0xa1 && point <= 0xff);
    return self && point != 0xad ? (int)point : -1;
}

// from everywhere in text, by to.
static bool replace_all(TextBuffer *out, const NormalizeStep *step, const TextBuffer *text) {
    const size_t from = strlen(step->from), to = strlen(step->to);
    bool good = true;
    for (size_t at = 0; at < text->size && good;) {
        if (text->size - at >= from && memcmp(text->at + at, step->from, from) == 0) {
            good = text_add(out, step->to, to);
            at += from;
        } else {
            good = text_add(out, text->at + at++, 1);
        }
    }
    return good;
}

// Each run of two spaces or more, by to.
static bool replace_spaces(TextBuffer *out, const NormalizeStep *step, const TextBuffer *text) {
    bool good = true;
    for (size_t at = 0; at < text->size && good;) {
        size_t run = 0;
        while (at + run < text->size && text->at[at + run] == ' ')
            run++;
        if (run >= 2)
            good = text_add(out, step->to, strlen(step->to));
        else
            good = text_add(out, text->at + at, 1);
        at += run ? run : 1;
    }
    return good;
}

// From one buffer into the other, step after step. Each step may multiply the text, so a file made
// for it could fill all memory: *grown is set where the text is out of proportion.
bool tokenizer_normalize(Encoding *e, const char *text, size_t bytes, bool *grown) {
    const PlimTokenizer *t = e->t;
    TextBuffer *now = &e->text[0], *next = &e->text[1];
    now->size = 0;
    bool good = text_add(now, text, bytes);
    for (uint32_t i = 0; i < t->normalize_count && good && !*grown; i++) {
        const NormalizeStep *step = &t->normalize[i];
        next->size = 0;
        switch (step->kind) {
        case NORMALIZE_PREPEND:
            good = (now->size == 0 || text_add(next, step->to, strlen(step->to))) &&
                   text_add(next, now->at, now->size);
            break;
        case NORMALIZE_REPLACE:
            good = replace_all(next, step, now);
            break;
        case NORMALIZE_SPACES:
            good = replace_spaces(next, step, now);
            break;
        }
        const TextBuffer swap = *now;
        *now = *next;
        *next = swap;
        *grown = now->size / 64 > bytes + 64;
    }
    return good;
}

// What lies between added tokens.
typedef bool GapFn(Encoding *e, const char *text, size_t bytes, bool at_start, PlimError *error);

static bool no_memory(PlimError *error) {
    error_set(error, PLIM_NO_MEMORY, "out of memory making tokens");
    return false;
}

// Where the white space that ends at "at" begins; not before least.
static size_t space_before(const char *text, size_t least, size_t at) {
    // Walked forward, as characters can't be found backward in text that may be no UTF-8.
    size_t begin = at;
    for (size_t i = least; i < at;) {
        uint32_t point;
        const size_t length = unicode_decode(text + i, at - i, &point);
        if (unicode_class(point) != CLASS_SPACE)
            begin = at;
        else if (begin == at)
            begin = i;
        i += length;
    }
    return begin;
}

// Where the white space that begins at "at" ends.
static size_t space_behind(const char *text, size_t size, size_t at) {
    while (at < size) {
        uint32_t point;
        const size_t length = unicode_decode(text + at, size - at, &point);
        if (unicode_class(point) != CLASS_SPACE)
            break;
        at += length;
    }
    return at;
}

// Splits the text at the index's tokens, the leftmost longest ones, and hands gaps to the function.
static bool split_added(Encoding *e, const PieceIndex *index, const char *text, size_t bytes,
                        bool at_start, GapFn *gap, PlimError *error) {
    size_t begin = 0; // of the gap
    for (size_t at = 0; at < bytes;) {
        const IndexedPiece *found = piece_longest(index, text + at, bytes - at);
        if (!found) {
            at++;
            continue;
        }
        const AddedToken *token = &e->t->added[found->id];
        const size_t end = token->strip_left ? space_before(text, begin, at) : at;
        if (end > begin && !gap(e, text + begin, end - begin, at_start && begin == 0, error))
            return false;
        if (!encoding_add(e, (int32_t)token->id))
            return no_memory(error);
        at += found->bytes;
        if (token->strip_right)
            at = space_behind(text, bytes, at);
        begin = at;
    }
    return begin == bytes || gap(e, text + begin, bytes - begin, at_start && begin == 0, error);
}

static bool encode_words(Encoding *e, const char *text, size_t bytes, bool at_start,
                         PlimError *error) {
    return words_split(e, text, bytes, at_start) || no_memory(error);
}

// Between raw added tokens: normalised, then split at the tokens that are looked for in normalised
// text.
static bool encode_gap(Encoding *e, const char *text, size_t bytes, bool at_start,
                       PlimError *error) {
    bool grown = false;
    if (e->t->normalize_count > 0) {
        if (!tokenizer_normalize(e, text, bytes, &grown))
            return no_memory(error);
        if (grown) {
            error_set(error, PLIM_BAD_INPUT, "the tokenizer's replacements blow the text up");
            return false;
        }
        text = e->text[0].at;
        bytes = e->text[0].size;
    }
    return split_added(e, &e->t->added_normalized, text, bytes, at_start, encode_words, error);
}

// The three layers of an encoding, outside in: raw added tokens, normalised ones, words.
static bool encode_all(Encoding *e, const char *text, size_t bytes, bool at_start,
                       PlimError *error) {
    bool good = true;
    for (size_t i = 0; e->t->model == MODEL_BYTES && i < bytes && good; i++)
        good = encoding_add(e, (unsigned char)text[i]) || no_memory(error);
    if (e->t->model != MODEL_BYTES)
        good = split_added(e, &e->t->added_raw, text, bytes, at_start, encode_gap, error);
    return good;
}

PlimStatus tokenizer_encode(const PlimTokenizer *t, const char *text, size_t bytes,
                            TokenizerFrame frame, TokenList *out, PlimError *error) {
    Encoding e = {.t = t, .out = out};
    const bool framed = frame == TOKENS_TEMPLATE;
    bool good = true;
    error_set(error, PLIM_OK, "%s", "");
    for (uint32_t i = 0; framed && i < t->before_count && good; i++)
        good = encoding_add(&e, t->before[i]) || no_memory(error);
    good = good && encode_all(&e, text, bytes, true, error);
    for (uint32_t i = 0; framed && i < t->after_count && good; i++)
        good = encoding_add(&e, t->after[i]) || no_memory(error);
    encoding_release(&e);
    return good ? PLIM_OK : PLIM_BAD_INPUT;
}

int32_t tokenizer_size(const PlimTokenizer *t) {
    return t->model == MODEL_BYTES ? 256 : (int32_t)t->vocabulary.count;
}

bool tokenizer_is_end(const PlimTokenizer *t, int32_t id) {
    return t->added_kind && id >= 0 && id < tokenizer_size(t) && t->added_kind[id] == 3;
}

// Half-read tokenizers are released here, so the reader may return anywhere.
PlimStatus tokenizer_parse(const char *name, const char *json, size_t bytes, PlimTokenizer **out,
                           PlimError *error) {
    PlimTokenizer *t = calloc(1, sizeof *t);
    if (!t)
        return error_set(error, PLIM_NO_MEMORY, "out of memory opening %s", name);
    const PlimStatus status = tokenizer_read(t, name, json, bytes, error);
    if (status == PLIM_OK)
        *out = t;
    else
        tokenizer_release(t);
    return status;
}

PlimStatus tokenizer_open(const char *path, PlimTokenizer **out, PlimError *error) {
    if (strcmp(path, "bytes") == 0) {
        *out = calloc(1, sizeof **out);
        if (!*out)
            return error_set(error, PLIM_NO_MEMORY, "out of memory opening a tokenizer");
        (*out)->model = MODEL_BYTES;
        (*out)->cuts_are_exact = true;
        return PLIM_OK;
    }
    char *json;
    size_t bytes = 0;
    PlimStatus status = file_read_whole(path, JSON_MAX, &json, &bytes, error);
    if (status == PLIM_OK)
        status = tokenizer_parse(path, json, bytes, out, error);
    free(json);
    return status;
}

void tokenizer_release(PlimTokenizer *t) {
    if (!t)
        return;
    vocabulary_release(&t->vocabulary);
    merges_release(&t->merges);
    piece_index_release(&t->pieces);
    piece_index_release(&t->added_raw);
    piece_index_release(&t->added_normalized);
    free(t->text);
    free(t->score);
    free(t->added);
    free(t->added_kind);
    free(t);
}
