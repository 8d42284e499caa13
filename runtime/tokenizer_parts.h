// What the files of the tokenizer share: the tokenizer itself, and the work space of one encoding.
//
// Encoding is a pipeline. The text is split at added tokens; what lies between is normalised; the
// steps split it into words; the model turns each word into ids:
//
//     tokenizer_encode -> tokenizer_normalize -> words_split -> bpe_encode | unigram_encode
#ifndef PLIM_RUNTIME_TOKENIZER_PARTS_H
#define PLIM_RUNTIME_TOKENIZER_PARTS_H

#include "runtime/piece_index.h"
#include "runtime/tokenizer.h"
#include "runtime/vocabulary.h"

enum { TOKENIZER_STEPS_MAX = 16, TOKENIZER_FRAME_MAX = 16, TOKENIZER_SHORT_POINTS = 0x800 };

typedef enum { MODEL_BYTES, MODEL_BPE, MODEL_UNIGRAM } TokenizerModel;

typedef enum {
    NORMALIZE_PREPEND, // to what is not empty
    NORMALIZE_REPLACE, // from by to
    NORMALIZE_SPACES   // two spaces or more by to
} NormalizeKind;

typedef struct {
    NormalizeKind kind;
    char from[32], to[32]; // UTF-8, NUL-terminated
} NormalizeStep;

typedef enum {
    SPLIT_GPT2,
    SPLIT_LLAMA3,
    SPLIT_QWEN2,
    SPLIT_DIGITS,           // each number alone
    SPLIT_DIGIT_RUNS,       // runs of numbers
    SPLIT_SPACES,           // at white space, which is dropped
    SPLIT_METASPACE,        // before each mark; spaces have become marks
    WORD_PREFIX_SPACE,      // a space in front where there is none
    WORD_PREFIX_MARK,       // a mark in front where there is none, after spaces have become marks
    WORD_PREFIX_MARK_FIRST, // only at the beginning of the text
    WORD_MARKS,             // spaces become marks
    WORD_BYTES              // each byte becomes a printable character, GPT-2's way
} WordStep;

// One added token.
typedef struct {
    uint32_t id;
    bool special;     // not printed
    bool ends;        // by its name, the end of a text
    bool strip_left;  // takes white space on its left
    bool strip_right; // and on its right
} AddedToken;

struct PlimTokenizer {
    TokenizerModel model;
    char *text; // every string of the file, unescaped
    size_t text_used, text_size;
    Vocabulary vocabulary;
    int32_t unknown; // id or -1
    bool byte_fallback;
    int32_t byte_id[256]; // of "<0x00>" ..., or -1
    // BPE
    MergeTable merges;
    bool fuse_unknown;
    bool whole_words;     // a word that is a piece is not merged ("ignore_merges")
    bool marks_end_merge; // no merge reaches over the place before a mark
    int32_t short_id[TOKENIZER_SHORT_POINTS]; // of characters below U+0800, or -1
    // Unigram
    double *score; // by id
    double unknown_score;
    PieceIndex pieces;
    // The pipeline
    uint32_t normalize_count, step_count;
    NormalizeStep normalize[TOKENIZER_STEPS_MAX];
    WordStep step[TOKENIZER_STEPS_MAX];
    char mark[8]; // Metaspace's, "\u2581" where the file names none
    AddedToken *added;
    uint32_t added_count;
    PieceIndex added_raw;        // found before normalisation; id: index in added
    PieceIndex added_normalized; // found after it
    uint8_t *added_kind;         // by id: 0 no added token, 1 one, 2 a special one, 3 an end
    bool cuts_are_exact;         // a long text may be cut between a letter and a space
    // Templates
    uint32_t before_count, after_count;
    int32_t before[TOKENIZER_FRAME_MAX], after[TOKENIZER_FRAME_MAX];
    // Decoding
    bool decode_bytes;      // WORD_BYTES undone
    bool decode_marks;      // marks are spaces
    bool decode_fallback;   // "<0x0A>" is a byte
    bool decode_strip;      // the text's first space is dropped
    bool decode_strip_word; // of the first token, every mark
    uint32_t longest;       // bytes of the longest piece
};

// Text that grows.
typedef struct {
    char *at;
    size_t size, capacity;
} TextBuffer;
bool text_add(TextBuffer *b, const char *text, size_t bytes); // false without memory
void text_release(TextBuffer *b);

// Of one encoding, reused from word to word.
typedef struct {
    const PlimTokenizer *t;
    TokenList *out;
    const char *start; // of the text, while nothing has been put in front of it; else NULL
    TextBuffer text[TOKENIZER_STEPS_MAX + 2];
    void *scratch; // the model's
    size_t scratch_bytes;
} Encoding;

// False without memory, as everything below.
bool encoding_add(Encoding *e, int32_t id);
// At least bytes of scratch, its content undefined. NULL without memory.
void *encoding_scratch(Encoding *e, size_t bytes);

// The text normalised, in e->text[0]; grown is set where it would become absurdly long.
bool tokenizer_normalize(Encoding *e, const char *text, size_t bytes, bool *grown);
// Splits the text by the steps and hands each word to the model. at_start: the text begins here.
bool words_split(Encoding *e, const char *text, size_t bytes, bool at_start);
// One word's ids.
bool bpe_encode(Encoding *e, const char *word, size_t bytes);
bool unigram_encode(Encoding *e, const char *word, size_t bytes);

// GPT-2's printable character for a byte, and back (-1: none).
uint32_t byte_to_point(uint8_t byte);
int point_to_byte(uint32_t point);

// Fills the tokenizer from the text of a tokenizer.json, whose name is for messages.
PlimStatus tokenizer_read(PlimTokenizer *t, const char *path, const char *json, size_t bytes,
                          PlimError *error);

#endif
