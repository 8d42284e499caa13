// Text to words: the steps that published tokenizers put before their model.
//
// The regular expressions are three well-known ones, matched by hand: each gives the end of the
// word that begins at a place, in one pass without backtracking. With L a letter, N a number, S
// white space:
//
//     GPT-2    's|'t|'re|'ve|'m|'ll|'d| ?L+| ?N+| ?[^SLN]+|S+(?!\S)|S+
//     Llama 3  (?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\nLN]?L+|N{1,3}|
//     ?[^SLN]+[\r\n]*|S*[\r\n]+|S+(?!\S)|S+ Qwen 2   the same with N for N{1,3}
//
// S+(?!\S) leaves the last space of a run to the word behind it.
#include "runtime/tokenizer_parts.h"

#include "runtime/unicode_class.h"

#include <string.h>

typedef struct {
    const char *text;
    size_t size;
} Slice;

// The class of the character at a place, and the place behind it. At the end: CLASS_OTHER, with
// *next left at the end.
static UnicodeClass class_at(Slice s, size_t at, size_t *next) {
    *next = at;
    if (at >= s.size)
        return CLASS_OTHER;
    uint32_t point;
    *next = at + unicode_decode(s.text + at, s.size - at, &point);
    return unicode_class(point);
}

// The end of the run of characters of one class that begins at a place.
static size_t run_end(Slice s, size_t at, UnicodeClass is) {
    size_t next;
    while (at < s.size && class_at(s, at, &next) == is)
        at = next;
    return at;
}

static bool is_newline(Slice s, size_t at) {
    return at < s.size && (s.text[at] == '\n' || s.text[at] == '\r');
}

// The end of 's, 't, 're, 've, 'm, 'll or 'd, or at where there is none.
static size_t contraction_end(Slice s, size_t at, bool any_case) {
    static const char *const ending[] = {"s", "t", "re", "ve", "m", "ll", "d"};
    if (at + 1 >= s.size || s.text[at] != '\'')
        return at;
    for (int i = 0; i < 7; i++) {
        const size_t length = strlen(ending[i]);
        size_t same = 0;
        while (same < length && at + 1 + same < s.size &&
               (s.text[at + 1 + same] | (any_case ? 0x20 : 0)) == ending[i][same])
            same++;
        if (same == length)
            return at + 1 + length;
    }
    // The long s is an s in another case.
    if (any_case && s.size - at >= 3 && memcmp(s.text + at + 1, "\xc5\xbf", 2) == 0)
        return at + 3;
    return at;
}

// White space from at on: the run, but for its last character where something follows.
static size_t spaces_end(Slice s, size_t at) {
    size_t next, last = at, end = at;
    while (end < s.size && class_at(s, end, &next) == CLASS_SPACE) {
        last = end;
        end = next;
    }
    return end == s.size || last == at ? end : last;
}

static size_t gpt2_end(Slice s, size_t at) {
    const size_t contraction = contraction_end(s, at, false);
    if (contraction > at)
        return contraction;
    // One space belongs to the run behind it.
    size_t next;
    const size_t begin = s.text[at] == ' ' && at + 1 < s.size ? at + 1 : at;
    const UnicodeClass is = class_at(s, begin, &next);
    return is == CLASS_SPACE ? spaces_end(s, at) : run_end(s, begin, is);
}

// The end of S*[\r\n]+: behind the last newline of the run of white space, or at.
static size_t newlines_end(Slice s, size_t at) {
    size_t end = at, next;
    for (; at < s.size && class_at(s, at, &next) == CLASS_SPACE; at = next)
        if (is_newline(s, at))
            end = next;
    return end;
}

static size_t llama3_end(Slice s, size_t at, int numbers_max) {
    size_t next, behind;
    const size_t contraction = contraction_end(s, at, true);
    if (contraction > at)
        return contraction;
    const UnicodeClass is = class_at(s, at, &next);
    if (is == CLASS_LETTER)
        return run_end(s, at, CLASS_LETTER);
    // Anything but a newline or number may stand before letters.
    if (is != CLASS_NUMBER && !is_newline(s, at) && next < s.size &&
        class_at(s, next, &behind) == CLASS_LETTER)
        return run_end(s, next, CLASS_LETTER);
    if (is == CLASS_NUMBER) {
        size_t end = next;
        for (int i = 1; i < numbers_max && class_at(s, end, &behind) == CLASS_NUMBER; i++)
            end = behind;
        return end;
    }
    const size_t begin = s.text[at] == ' ' ? at + 1 : at;
    if (begin < s.size && class_at(s, begin, &behind) == CLASS_OTHER) {
        size_t end = run_end(s, begin, CLASS_OTHER);
        while (is_newline(s, end))
            end++;
        return end;
    }
    const size_t newlines = newlines_end(s, at);
    return newlines > at ? newlines : spaces_end(s, at);
}

// The end of the word that begins at a place before the end. *drop: it is no word but a gap.
static size_t word_end(WordStep step, const char *mark, Slice s, size_t at, bool *drop) {
    size_t next;
    const UnicodeClass is = class_at(s, at, &next);
    *drop = false;
    switch (step) {
    case SPLIT_GPT2:
        return gpt2_end(s, at);
    case SPLIT_LLAMA3:
        return llama3_end(s, at, 3);
    case SPLIT_QWEN2:
        return llama3_end(s, at, 1);
    case SPLIT_DIGITS:
    case SPLIT_DIGIT_RUNS:
        if (is == CLASS_NUMBER)
            return step == SPLIT_DIGITS ? next : run_end(s, at, CLASS_NUMBER);
        for (; at < s.size && class_at(s, at, &next) != CLASS_NUMBER; at = next)
            ;
        return at;
    case SPLIT_SPACES:
        *drop = is == CLASS_SPACE;
        for (; at < s.size && (class_at(s, at, &next) == CLASS_SPACE) == *drop; at = next)
            ;
        return at;
    case SPLIT_METASPACE: {
        const size_t length = strlen(mark);
        for (at = next; at < s.size; at++)
            if (s.size - at >= length && memcmp(s.text + at, mark, length) == 0)
                return at;
        return s.size;
    }
    case WORD_PREFIX_SPACE:
    case WORD_PREFIX_MARK:
    case WORD_PREFIX_MARK_FIRST:
    case WORD_MARKS:
    case WORD_BYTES:
        break;
    }
    return s.size;
}

static bool begins_with(Slice s, const char *prefix) {
    const size_t length = strlen(prefix);
    return s.size >= length && memcmp(s.text, prefix, length) == 0;
}

// The word changed by a step that does not split, in out.
static bool change_word(WordStep step, const char *mark, Slice s, bool at_start, TextBuffer *out) {
    out->size = 0;
    bool good = true;
    if (step == WORD_PREFIX_SPACE && !begins_with(s, " "))
        good = text_add(out, " ", 1);
    if ((step == WORD_PREFIX_MARK || (step == WORD_PREFIX_MARK_FIRST && at_start)) &&
        !begins_with(s, mark))
        good = text_add(out, mark, strlen(mark));
    if (step != WORD_MARKS && step != WORD_BYTES)
        return good && text_add(out, s.text, s.size);
    for (size_t i = 0; i < s.size && good; i++) {
        char character[2];
        if (step == WORD_BYTES)
            good = text_add(out, character,
                            unicode_encode_short(byte_to_point((uint8_t)s.text[i]), character));
        else if (s.text[i] == ' ')
            good = text_add(out, mark, strlen(mark));
        else
            good = text_add(out, &s.text[i], 1);
    }
    return good;
}

// The steps from k on, then the model.
static bool run_steps(Encoding *e, uint32_t k, Slice s, bool at_start) {
    const PlimTokenizer *t = e->t;
    if (s.size == 0)
        return true;
    if (k == t->step_count)
        return t->model == MODEL_BPE ? bpe_encode(e, s.text, s.size)
                                     : unigram_encode(e, s.text, s.size);
    const WordStep step = t->step[k];
    if (step >= WORD_PREFIX_SPACE) {
        TextBuffer *out = &e->text[k + 2];
        if (!change_word(step, t->mark, s, at_start, out))
            return false;
        return run_steps(e, k + 1, (Slice){out->at, out->size}, at_start);
    }
    for (size_t at = 0; at < s.size;) {
        bool drop;
        const size_t end = word_end(step, t->mark, s, at, &drop);
        if (!drop && !run_steps(e, k + 1, (Slice){s.text + at, end - at}, at_start && at == 0))
            return false;
        at = end;
    }
    return true;
}

bool words_split(Encoding *e, const char *text, size_t bytes, bool at_start) {
    return run_steps(e, 0, (Slice){text, bytes}, at_start);
}
