// A tokenizer.json into a PlimTokenizer: the file's parts, its model, its added tokens.
//
// The text is walked once to find its parts, then each is read where it stands; strings are
// unescaped into one block that can't overflow, as unescaping never makes a string longer. The
// steps come first: whether merges reach over marks depends on what a mark is.
#include "runtime/tokenizer_read.h"

#include "runtime/error.h"
#include "runtime/unicode_class.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool tokenizer_wrong(TokenizerReader *r, const char *format, ...) {
    char text[sizeof r->error->text];
    va_list args;
    va_start(args, format);
    vsnprintf(text, sizeof text, format, args);
    va_end(args);
    error_set(r->error, PLIM_BAD_INPUT, "%.200s: %.300s", r->path, text);
    return false;
}

static bool no_memory(TokenizerReader *r) {
    return tokenizer_wrong(r, "out of memory reading the tokenizer");
}

// A member that is null counts as absent: that is how the files write "none".
bool object_has(JsonCursor object, const char *name, JsonCursor *value) {
    return json_peek(&object) == JSON_OBJECT && json_find(object, name, value) &&
           json_peek(value) != JSON_NULL;
}

bool object_bool(JsonCursor object, const char *name, bool fallback) {
    JsonCursor value;
    bool out;
    return object_has(object, name, &value) && json_bool(&value, &out) ? out : fallback;
}

bool object_text(JsonCursor object, const char *name, char *out, size_t size) {
    JsonCursor value;
    return object_has(object, name, &value) && json_string(&value, out, size);
}

// The next string, at the end of the tokenizer's text; kept where keep says so, else overwritten
// by the next one.
static bool take_text(TokenizerReader *r, JsonCursor *j, size_t *bytes) {
    PlimTokenizer *t = r->t;
    return json_bytes(j, t->text + t->text_used, t->text_size - t->text_used, bytes);
}

static void keep_text(PlimTokenizer *t, size_t bytes) {
    t->text_used += bytes;
    if (bytes > t->longest)
        t->longest = (uint32_t)bytes;
}

// {"piece": id, ...}
static bool read_bpe_pieces(TokenizerReader *r, JsonCursor j) {
    PlimTokenizer *t = r->t;
    JsonList walk = {0};
    size_t bytes;
    int64_t id;
    while (json_key(&j, &walk)) {
        if (!take_text(r, &j, &bytes) || !json_expect(&j, ':') || !json_integer(&j, &id))
            break;
        if (id < 0 || id > VOCABULARY_ID_MAX)
            return tokenizer_wrong(r, "id %lld is out of range", (long long)id);
        if (id < t->vocabulary.count && t->vocabulary.piece[id].text)
            return tokenizer_wrong(r, "two pieces have id %lld", (long long)id);
        if (!vocabulary_add(&t->vocabulary, (uint32_t)id, t->text + t->text_used, bytes))
            return no_memory(r);
        keep_text(t, bytes);
    }
    if (j.failed)
        return tokenizer_wrong(r, "its vocab is no object of ids");
    return vocabulary_index(&t->vocabulary) || no_memory(r);
}

// One merge: "left right" or ["left", "right"]. Gives both parts one behind the other at the end of
// the tokenizer's text, with the left one's length.
static bool take_merge(TokenizerReader *r, JsonCursor *j, size_t *left, size_t *both) {
    PlimTokenizer *t = r->t;
    char *at = t->text + t->text_used;
    JsonList walk = {0};
    if (json_peek(j) == JSON_ARRAY) {
        // Both are taken to where the kept text ends; only looked up, so none is kept.
        const size_t used = t->text_used;
        size_t right = 0;
        bool good = json_item(j, &walk) && take_text(r, j, left) && json_item(j, &walk);
        t->text_used += good ? *left : 0;
        good = good && take_text(r, j, &right) && !json_item(j, &walk) && !j->failed;
        t->text_used = used;
        *both = *left + right;
        return good;
    }
    if (!take_text(r, j, both))
        return false;
    // Exactly one space: pieces of this form can't hold one.
    const char *space = memchr(at, ' ', *both);
    if (!space || memchr(space + 1, ' ', (size_t)(at + *both - space - 1)))
        return false;
    *left = (size_t)(space - at);
    memmove(at + *left, space + 1, --*both - *left);
    return true;
}

// Whether left and right, which lie one behind the other, meet before a mark that does not follow
// another one.
static bool meets_mark(const PlimTokenizer *t, const char *at, size_t left, size_t both) {
    const size_t mark = strlen(t->mark);
    const bool begins = both - left >= mark && memcmp(at + left, t->mark, mark) == 0;
    const bool ends = left >= mark && memcmp(at + left - mark, t->mark, mark) == 0;
    return begins && !ends;
}

// Twice over the list: a table of the right size is filled once and never grows. Ids follow from
// the texts; the rank is the place in the list.
static bool read_merges(TokenizerReader *r, JsonCursor j) {
    PlimTokenizer *t = r->t;
    JsonCursor counting = j;
    JsonList walk = {0}, count_walk = {0};
    uint32_t count = 0, rank = 0;
    while (json_item(&counting, &count_walk) && json_skip(&counting))
        count++;
    if (counting.failed)
        return tokenizer_wrong(r, "its merges are no list");
    if (!merges_new(&t->merges, count))
        return no_memory(r);
    t->marks_end_merge =
        !t->whole_words && vocabulary_find(&t->vocabulary, t->mark, strlen(t->mark)) >= 0;
    while (json_item(&j, &walk)) {
        const char *at = t->text + t->text_used;
        size_t left, both;
        if (!take_merge(r, &j, &left, &both))
            return tokenizer_wrong(r, "merge %u is no pair", rank);
        const int32_t id[3] = {vocabulary_find(&t->vocabulary, at, left),
                               vocabulary_find(&t->vocabulary, at + left, both - left),
                               vocabulary_find(&t->vocabulary, at, both)};
        if (id[0] < 0 || id[1] < 0 || id[2] < 0)
            return tokenizer_wrong(r, "merge %u is of pieces that the vocab does not have", rank);
        if (meets_mark(t, at, left, both))
            t->marks_end_merge = false;
        if (!merges_add(&t->merges,
                        (Merge){(uint32_t)id[0], (uint32_t)id[1], rank++, (uint32_t)id[2]}))
            return tokenizer_wrong(r, "its merges were made to collide");
    }
    return !j.failed || tokenizer_wrong(r, "its merges are no list");
}

// Characters of up to two bytes, and bytes on their own, are looked up so often that they have
// tables.
static void find_short_pieces(PlimTokenizer *t) {
    char text[8];
    for (uint32_t c = 0; c < TOKENIZER_SHORT_POINTS; c++)
        t->short_id[c] = vocabulary_find(&t->vocabulary, text, unicode_encode_short(c, text));
    for (unsigned byte = 0; byte < 256; byte++) {
        snprintf(text, sizeof text, "<0x%02X>", byte);
        t->byte_id[byte] = vocabulary_find(&t->vocabulary, text, 6);
    }
}

static bool read_bpe(TokenizerReader *r, JsonCursor model) {
    PlimTokenizer *t = r->t;
    JsonCursor vocab, merges, dropout;
    char text[64];
    double rate = 0;
    t->model = MODEL_BPE;
    static const char *const affix[] = {"continuing_subword_prefix", "end_of_word_suffix"};
    for (int i = 0; i < 2; i++)
        if (object_has(model, affix[i], &vocab) &&
            (!object_text(model, affix[i], text, sizeof text) || text[0]))
            return tokenizer_wrong(r, "its %s is not supported", affix[i]);
    if (object_has(model, "dropout", &dropout) && (!json_number(&dropout, &rate) || rate != 0))
        return tokenizer_wrong(r, "dropout of merges is not supported");
    // Absent members mean what the library takes them to mean.
    t->fuse_unknown = object_bool(model, "fuse_unk", false);
    t->byte_fallback = object_bool(model, "byte_fallback", false);
    t->whole_words = object_bool(model, "ignore_merges", false);
    if (!object_has(model, "vocab", &vocab) || !object_has(model, "merges", &merges))
        return tokenizer_wrong(r, "its model has no vocab or no merges");
    if (!read_bpe_pieces(r, vocab) || !read_merges(r, merges))
        return false;
    t->unknown = -1;
    if (object_text(model, "unk_token", text, sizeof text)) {
        t->unknown = vocabulary_find(&t->vocabulary, text, strlen(text));
        if (t->unknown < 0)
            return tokenizer_wrong(r, "its unk_token %s is not in the vocab", text);
    }
    return true;
}

// A score as the library reads it: digits as one whole number, divided by its power of ten, so
// rounded twice. A sum of scores may depend on the last bit, where two ways to write a word tie.
static bool read_score(JsonCursor *j, double *out) {
    json_peek(j); // past white space
    const char *at = j->at;
    if (!json_number(j, out))
        return false;
    const bool negative = *at == '-';
    uint64_t digits = 0;
    double scale = 1;
    bool point = false;
    for (at += negative; at < j->at; at++) {
        if (*at == '.') {
            point = true;
            continue;
        }
        // An exponent, or more digits than the number holds: the exact value is as good as any.
        if (*at < '0' || *at > '9' || digits > UINT64_MAX / 10 - 1)
            return true;
        digits = digits * 10 + (uint64_t)(*at - '0');
        scale *= point ? 10 : 1; // exact up to 1e22
    }
    *out = (negative ? -(double)digits : (double)digits) / scale;
    return true;
}

// [["piece", score], ...]
static bool read_unigram_pieces(TokenizerReader *r, JsonCursor j) {
    PlimTokenizer *t = r->t;
    JsonList walk = {0};
    size_t bytes;
    uint32_t capacity = 0;
    double least = 0;
    for (; json_item(&j, &walk);) {
        JsonList pair = {0};
        const uint32_t id = t->vocabulary.count;
        if (id > VOCABULARY_ID_MAX)
            return tokenizer_wrong(r, "its vocab is too large");
        // Scores grow beside the vocabulary's own list, which knows nothing of them.
        if (id == capacity) {
            capacity = capacity ? 2 * capacity : 1024;
            double *grown = realloc(t->score, capacity * sizeof *grown);
            if (!grown)
                return no_memory(r);
            t->score = grown;
        }
        if (!json_item(&j, &pair) || !take_text(r, &j, &bytes) || !json_item(&j, &pair) ||
            !read_score(&j, &t->score[id]) || json_item(&j, &pair) || j.failed)
            return tokenizer_wrong(r, "piece %u is no pair of text and score", id);
        if (!vocabulary_add(&t->vocabulary, id, t->text + t->text_used, bytes))
            return no_memory(r);
        keep_text(t, bytes);
        least = id == 0 || t->score[id] < least ? t->score[id] : least;
    }
    // What the library takes for a character that nothing covers.
    t->unknown_score = least - 10;
    if (j.failed)
        return tokenizer_wrong(r, "its vocab is no list");
    return vocabulary_index(&t->vocabulary) || no_memory(r);
}

static bool read_unigram(TokenizerReader *r, JsonCursor model) {
    PlimTokenizer *t = r->t;
    JsonCursor vocab, unknown;
    int64_t id = -1;
    t->model = MODEL_UNIGRAM;
    t->byte_fallback = object_bool(model, "byte_fallback", false);
    if (!object_has(model, "vocab", &vocab))
        return tokenizer_wrong(r, "its model has no vocab");
    if (!read_unigram_pieces(r, vocab))
        return false;
    if (!object_has(model, "unk_id", &unknown) || !json_integer(&unknown, &id) || id < 0 ||
        id >= t->vocabulary.count)
        return tokenizer_wrong(r, "its unk_id is no piece");
    t->unknown = (int32_t)id;
    // All pieces that start at a place are tried, so they are found by prefix, not by whole text.
    // An empty one would never end.
    IndexedPiece *list = malloc((t->vocabulary.count + 1U) * sizeof *list);
    if (!list)
        return no_memory(r);
    uint32_t count = 0;
    for (uint32_t i = 0; i < t->vocabulary.count; i++)
        if (t->vocabulary.piece[i].bytes > 0)
            list[count++] =
                (IndexedPiece){t->vocabulary.piece[i].text, t->vocabulary.piece[i].bytes, i};
    piece_index_init(&t->pieces, list, count);
    return true;
}

// Older files name no type.
static bool read_model(TokenizerReader *r, JsonCursor model) {
    char type[64] = "BPE";
    JsonCursor value;
    if (json_peek(&model) != JSON_OBJECT)
        return tokenizer_wrong(r, "it has no model");
    if (object_has(model, "type", &value) && !object_text(model, "type", type, sizeof type))
        return tokenizer_wrong(r, "its model's type can't be read");
    if (strcmp(type, "BPE") != 0 && strcmp(type, "Unigram") != 0)
        return tokenizer_wrong(r, "its model %s is not supported; BPE and Unigram are", type);
    if (!(strcmp(type, "BPE") == 0 ? read_bpe(r, model) : read_unigram(r, model)))
        return false;
    find_short_pieces(r->t);
    return true;
}

// No file says which special token ends a text; the names that published models use.
static bool is_end_name(const char *text, size_t bytes) {
    static const char *const name[] = {
        "</s>",  "<|endoftext|>", "<|end_of_text|>", "<|eot_id|>",    "<|im_end|>", "<|eom_id|>",
        "<eos>", "<|end|>",       "<|endofturn|>",   "<end_of_turn>", "[EOS]"};
    for (size_t i = 0; i < sizeof name / sizeof name[0]; i++)
        if (strlen(name[i]) == bytes && memcmp(name[i], text, bytes) == 0)
            return true;
    return false;
}

// One of added_tokens, at the end of t->added, its content kept in the tokenizer's text.
static bool read_added(TokenizerReader *r, JsonCursor object, IndexedPiece *out, bool *normalized) {
    PlimTokenizer *t = r->t;
    AddedToken *token = &t->added[t->added_count];
    JsonCursor content, number;
    size_t bytes;
    int64_t id = -1;
    if (!object_has(object, "id", &number) || !json_integer(&number, &id) || id < 0 ||
        id > VOCABULARY_ID_MAX || !object_has(object, "content", &content) ||
        !take_text(r, &content, &bytes))
        return tokenizer_wrong(r, "added token %u has no id or content that can be read",
                               t->added_count);
    const char *text = t->text + t->text_used;
    keep_text(t, bytes);
    // The model's id is the one, where it has the piece.
    const int32_t own = vocabulary_find(&t->vocabulary, text, bytes);
    token->id = own >= 0 ? (uint32_t)own : (uint32_t)id;
    // Two texts for one id could not both be printed.
    if (own < 0 && id < t->vocabulary.count && t->vocabulary.piece[id].text)
        return tokenizer_wrong(r, "added token '%.60s' has the id of another piece", text);
    if (own < 0 && !vocabulary_add(&t->vocabulary, token->id, text, bytes))
        return no_memory(r);
    token->special = object_bool(object, "special", false);
    token->ends = is_end_name(text, bytes);
    token->strip_left = object_bool(object, "lstrip", false);
    token->strip_right = object_bool(object, "rstrip", false);
    *normalized = object_bool(object, "normalized", !token->special);
    if (object_bool(object, "single_word", false))
        return tokenizer_wrong(r, "added token '%.60s' wants single_word, which is not supported",
                               text);
    *out = (IndexedPiece){text, (uint32_t)bytes, t->added_count++};
    return true;
}

// The content as it looks in normalised text.
static bool normalize_added(TokenizerReader *r, IndexedPiece *piece) {
    PlimTokenizer *t = r->t;
    Encoding e = {.t = t};
    bool grown = false, good = tokenizer_normalize(&e, piece->text, piece->bytes, &grown);
    const size_t bytes = e.text[0].size;
    if (!good)
        no_memory(r);
    else if (grown || bytes > t->text_size - t->text_used)
        good = tokenizer_wrong(r, "its normalizer blows added tokens up");
    if (good && bytes) {
        memcpy(t->text + t->text_used, e.text[0].at, bytes);
        *piece = (IndexedPiece){t->text + t->text_used, (uint32_t)bytes, piece->id};
        t->text_used += bytes;
        t->longest = bytes > t->longest ? (uint32_t)bytes : t->longest;
        // It is printed in that form, too.
        good = vocabulary_add(&t->vocabulary, t->added[piece->id].id, piece->text, bytes) ||
               no_memory(r);
    }
    text_release(&e.text[0]);
    text_release(&e.text[1]);
    return good;
}

// Both lists have room for all tokens.
static bool read_added_list(TokenizerReader *r, JsonCursor j, IndexedPiece *raw, uint32_t *raws,
                            IndexedPiece *normal, uint32_t *normals) {
    JsonList walk = {0};
    while (json_item(&j, &walk)) {
        IndexedPiece piece;
        bool normalized = false;
        if (!read_added(r, j, &piece, &normalized))
            return false;
        if (piece.bytes > 0 && normalized && r->t->normalize_count > 0 &&
            !normalize_added(r, &piece))
            return false;
        if (piece.bytes > 0 && normalized)
            normal[(*normals)++] = piece;
        else if (piece.bytes > 0)
            raw[(*raws)++] = piece;
        json_skip(&j);
    }
    return !j.failed || tokenizer_wrong(r, "its added_tokens are no list");
}

// By id, whether it is printed and whether it ends a text.
static bool mark_added(TokenizerReader *r) {
    PlimTokenizer *t = r->t;
    t->added_kind = calloc(t->vocabulary.count + 1U, 1);
    if (!t->added_kind)
        return no_memory(r);
    for (uint32_t i = 0; i < t->added_count; i++) {
        const AddedToken *a = &t->added[i];
        t->added_kind[a->id] = a->special ? a->ends ? 3 : 2 : 1;
    }
    return true;
}

static bool read_added_tokens(TokenizerReader *r, JsonCursor j) {
    PlimTokenizer *t = r->t;
    JsonCursor counting = j;
    JsonList walk = {0};
    uint32_t count = 0, raws = 0, normals = 0;
    while (json_item(&counting, &walk) && json_skip(&counting))
        count++;
    t->added = calloc(count + 1U, sizeof *t->added);
    IndexedPiece *raw = calloc(count + 1U, sizeof *raw);
    IndexedPiece *normal = calloc(count + 1U, sizeof *normal);
    if (!t->added || !raw || !normal) {
        free(raw);
        free(normal);
        return no_memory(r);
    }
    const bool good = read_added_list(r, j, raw, &raws, normal, &normals);
    piece_index_init(&t->added_raw, raw, raws);
    piece_index_init(&t->added_normalized, normal, normals);
    return good;
}

// Whether a letter or number followed by a space or newline always ends a word there.
static bool cuts_are_exact(const PlimTokenizer *t) {
    bool bytes = false;
    for (uint32_t i = 0; i < t->step_count; i++) {
        bytes = bytes || t->step[i] == WORD_BYTES;
        if (t->step[i] > SPLIT_DIGIT_RUNS && t->step[i] != WORD_BYTES)
            return false;
    }
    // The first step has to be one that splits there.
    if (!bytes || t->step[0] > SPLIT_QWEN2 || t->normalize_count > 0)
        return false;
    for (uint32_t i = 0; i < t->added_count; i++) {
        const VocabPiece *p = &t->vocabulary.piece[t->added[i].id];
        if (t->added[i].strip_left || t->added[i].strip_right)
            return false;
        for (uint32_t k = 1; k < p->bytes; k++)
            if (unicode_class((unsigned char)p->text[k - 1]) == CLASS_LETTER &&
                (p->text[k] == ' ' || p->text[k] == '\n'))
                return false;
    }
    return true;
}

// The template is read before the vocabulary, so its ids are checked when all pieces are known.
static bool frames_fit(const PlimTokenizer *t) {
    for (uint32_t i = 0; i < t->before_count; i++)
        if (t->before[i] >= tokenizer_size(t))
            return false;
    for (uint32_t i = 0; i < t->after_count; i++)
        if (t->after[i] >= tokenizer_size(t))
            return false;
    return true;
}

typedef struct {
    JsonCursor normalizer, word_steps, decoder, frame, model, added;
} FileParts;

// Where the file's members are; a part that is absent or null has a failed cursor.
static bool find_parts(TokenizerReader *r, JsonCursor j, FileParts *out) {
    const char *start = j.at;
    JsonList walk = {0};
    char key[32];
    static const char *const name[] = {"normalizer",     "pre_tokenizer", "decoder",
                                       "post_processor", "model",         "added_tokens"};
    JsonCursor *const part[] = {&out->normalizer, &out->word_steps, &out->decoder,
                                &out->frame,      &out->model,      &out->added};
    for (int i = 0; i < 6; i++)
        *part[i] = (JsonCursor){.failed = true};
    while (json_member(&j, &walk, key, sizeof key)) {
        for (int i = 0; i < 6; i++)
            if (strcmp(key, name[i]) == 0 && json_peek(&j) != JSON_NULL)
                *part[i] = j;
        json_skip(&j);
    }
    int line, column;
    // Where reading stopped; used only if it stopped too early.
    json_place(&j, start, &line, &column);
    return json_at_end(&j) ||
           tokenizer_wrong(r, "is no JSON object (line %d, column %d)", line, column);
}

PlimStatus tokenizer_read(PlimTokenizer *t, const char *path, const char *json, size_t bytes,
                          PlimError *error) {
    TokenizerReader r = {.t = t, .path = path, .error = error};
    FileParts parts;
    t->unknown = -1;
    strcpy(t->mark, "\xe2\x96\x81");
    // Twice the file: added tokens may grow when they are normalised.
    t->text_size = 2 * bytes + 4096;
    t->text = malloc(t->text_size);
    if (!t->text)
        return error_set(error, PLIM_NO_MEMORY, "%s: out of memory reading it", path);
    const bool good =
        find_parts(&r, (JsonCursor){.at = json, .end = json + bytes}, &parts) &&
        (parts.normalizer.failed || read_normalizer(&r, parts.normalizer)) &&
        (parts.word_steps.failed || read_word_steps(&r, parts.word_steps)) &&
        (parts.decoder.failed ? tokenizer_wrong(&r, "has no decoder, so its ids can't be printed")
                              : read_decoder(&r, parts.decoder)) &&
        (parts.frame.failed || read_template(&r, parts.frame)) && read_model(&r, parts.model) &&
        (parts.added.failed || read_added_tokens(&r, parts.added)) && mark_added(&r);
    t->cuts_are_exact = good && t->model == MODEL_BPE && cuts_are_exact(t);
    if (!good)
        return PLIM_BAD_INPUT;
    if (!frames_fit(t))
        return tokenizer_wrong(&r, "its template has an id that is no piece") ? PLIM_OK
                                                                              : PLIM_BAD_INPUT;
    return PLIM_OK;
}
