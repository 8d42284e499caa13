// The parts of a tokenizer.json around its model: normalizer, pre_tokenizer, decoder and template.
//
// Each is null, an object with a type, or a Sequence of such. A type, option or regular expression
// that is not known here is refused by name: a tokenizer that is nearly right gives wrong ids.
#include "runtime/tokenizer_read.h"

#include <string.h>

// Sequences inside each other.
enum { NESTING_MAX = 4, REGEX_MAX = 512 };

static const char DEFAULT_MARK[] = "\xe2\x96\x81";

typedef bool PartFn(TokenizerReader *r, JsonCursor object, const char *type);

// Calls the function for the object, or for each of its sequence's (the member list).
static bool each_part(TokenizerReader *r, JsonCursor object, const char *list, const char *what,
                      int nesting, PartFn *read) {
    char type[64];
    JsonCursor items;
    if (!object_text(object, "type", type, sizeof type))
        return tokenizer_wrong(r, "its %s has no type", what);
    if (strcmp(type, "Sequence") != 0)
        return read(r, object, type);
    if (!object_has(object, list, &items) || nesting == NESTING_MAX)
        return tokenizer_wrong(r, "its %s is no sequence that can be read", what);
    JsonList walk = {0};
    while (json_item(&items, &walk))
        if (!each_part(r, items, list, what, nesting + 1, read) || !json_skip(&items))
            return false;
    return !items.failed || tokenizer_wrong(r, "its %s is no sequence", what);
}

// A pattern {"String": text} or {"Regex": text}; *regex says which.
static bool read_pattern(JsonCursor object, char *out, size_t size, bool *regex) {
    JsonCursor pattern;
    if (!object_has(object, "pattern", &pattern))
        return false;
    *regex = object_text(pattern, "Regex", out, size);
    return *regex || object_text(pattern, "String", out, size);
}

// Prepend, Replace of a text, and the one Replace of a pattern that published files have.
static bool read_normalize_step(TokenizerReader *r, JsonCursor object, const char *type) {
    PlimTokenizer *t = r->t;
    if (t->normalize_count == TOKENIZER_STEPS_MAX)
        return tokenizer_wrong(r, "its normalizer has more than %d steps", TOKENIZER_STEPS_MAX);
    NormalizeStep *step = &t->normalize[t->normalize_count++];
    if (strcmp(type, "Prepend") == 0) {
        step->kind = NORMALIZE_PREPEND;
        return object_text(object, "prepend", step->to, sizeof step->to) ||
               tokenizer_wrong(r, "its normalizer prepends no short text");
    }
    char pattern[REGEX_MAX];
    bool regex;
    if (strcmp(type, "Replace") != 0)
        return tokenizer_wrong(r, "its normalizer %s is not supported", type);
    if (!read_pattern(object, pattern, sizeof pattern, &regex) ||
        !object_text(object, "content", step->to, sizeof step->to))
        return tokenizer_wrong(r, "its normalizer replaces no short text");
    step->kind = regex ? NORMALIZE_SPACES : NORMALIZE_REPLACE;
    if (regex && strcmp(pattern, " {2,}") != 0)
        return tokenizer_wrong(r, "its normalizer's pattern '%.200s' is not supported", pattern);
    if (!regex && (!pattern[0] || strlen(pattern) >= sizeof step->from))
        return tokenizer_wrong(r, "its normalizer replaces no short text");
    memcpy(step->from, pattern, regex ? 1 : strlen(pattern) + 1);
    return true;
}

bool read_normalizer(TokenizerReader *r, JsonCursor object) {
    return each_part(r, object, "normalizers", "normalizer", 0, read_normalize_step);
}

static bool add_step(TokenizerReader *r, WordStep step) {
    if (r->t->step_count == TOKENIZER_STEPS_MAX)
        return tokenizer_wrong(r, "its pre_tokenizer has more than %d steps", TOKENIZER_STEPS_MAX);
    r->t->step[r->t->step_count++] = step;
    return true;
}

// Patterns are compared as text: each known one has its own code, and no regular expression is ever
// run.
static bool read_split(TokenizerReader *r, JsonCursor object) {
    static const struct {
        const char *regex;
        WordStep step;
    } known[] = {
        {"'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+",
         SPLIT_GPT2},
        {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| "
         "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
         SPLIT_LLAMA3},
        {"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}| "
         "?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+",
         SPLIT_QWEN2},
    };
    char pattern[REGEX_MAX], behavior[32];
    bool regex;
    if (!read_pattern(object, pattern, sizeof pattern, &regex) ||
        !object_text(object, "behavior", behavior, sizeof behavior))
        return tokenizer_wrong(r, "its Split has no pattern or behavior that can be read");
    // These patterns leave nothing between matches: keeping them and dropping the rest is the same.
    const bool invert = object_bool(object, "invert", false);
    if (strcmp(behavior, invert ? "Removed" : "Isolated") != 0)
        return tokenizer_wrong(r, "its Split's behavior %s is not supported", behavior);
    for (size_t i = 0; regex && i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].regex, pattern) == 0)
            return add_step(r, known[i].step);
    return tokenizer_wrong(r, "its Split's pattern '%.300s' is not supported", pattern);
}

// Metaspace's mark; all that name one must name the same.
static bool read_mark(TokenizerReader *r, JsonCursor object) {
    char mark[sizeof r->t->mark];
    if (!object_text(object, "replacement", mark, sizeof mark) || !mark[0])
        return tokenizer_wrong(r, "its Metaspace has no replacement that can be read");
    if (strcmp(mark, r->t->mark) != 0 && strcmp(r->t->mark, DEFAULT_MARK) != 0)
        return tokenizer_wrong(r, "its Metaspaces have different replacements");
    memcpy(r->t->mark, mark, sizeof mark);
    return true;
}

// "always", "first" or "never", also in the older way to say it.
static bool read_scheme(TokenizerReader *r, JsonCursor object, char *out, size_t size) {
    if (!object_text(object, "prepend_scheme", out, size))
        strcpy(out, object_bool(object, "add_prefix_space", true) ? "always" : "never");
    return strcmp(out, "always") == 0 || strcmp(out, "first") == 0 || strcmp(out, "never") == 0 ||
           tokenizer_wrong(r, "its Metaspace's scheme %s is unknown", out);
}

static bool read_metaspace(TokenizerReader *r, JsonCursor object) {
    char scheme[16];
    if (!read_mark(r, object) || !read_scheme(r, object, scheme, sizeof scheme) ||
        !add_step(r, WORD_MARKS))
        return false;
    // "first" means the first word of a text only, "always" that behind each added token, too.
    if (strcmp(scheme, "never") != 0 &&
        !add_step(r, strcmp(scheme, "always") == 0 ? WORD_PREFIX_MARK : WORD_PREFIX_MARK_FIRST))
        return false;
    return !object_bool(object, "split", true) || add_step(r, SPLIT_METASPACE);
}

static bool read_word_step(TokenizerReader *r, JsonCursor object, const char *type) {
    if (strcmp(type, "ByteLevel") == 0)
        return (!object_bool(object, "add_prefix_space", true) || add_step(r, WORD_PREFIX_SPACE)) &&
               (!object_bool(object, "use_regex", true) || add_step(r, SPLIT_GPT2)) &&
               add_step(r, WORD_BYTES);
    if (strcmp(type, "Split") == 0)
        return read_split(r, object);
    if (strcmp(type, "Metaspace") == 0)
        return read_metaspace(r, object);
    if (strcmp(type, "Digits") == 0)
        return add_step(r, object_bool(object, "individual_digits", false) ? SPLIT_DIGITS
                                                                           : SPLIT_DIGIT_RUNS);
    if (strcmp(type, "WhitespaceSplit") == 0)
        return add_step(r, SPLIT_SPACES);
    return tokenizer_wrong(r, "its pre_tokenizer %s is not supported", type);
}

bool read_word_steps(TokenizerReader *r, JsonCursor object) {
    return each_part(r, object, "pretokenizers", "pre_tokenizer", 0, read_word_step);
}

// Each known decoder undoes one thing; those that the models in use do not have are refused.
static bool read_decode_step(TokenizerReader *r, JsonCursor object, const char *type) {
    PlimTokenizer *t = r->t;
    char text[32], scheme[16];
    bool regex;
    if (strcmp(type, "ByteLevel") == 0)
        t->decode_bytes = true;
    else if (strcmp(type, "ByteFallback") == 0)
        t->decode_fallback = true;
    else if (strcmp(type, "Metaspace") == 0) {
        if (!read_mark(r, object) || !read_scheme(r, object, scheme, sizeof scheme))
            return false;
        t->decode_marks = true;
        t->decode_strip_word = strcmp(scheme, "never") != 0;
    } else if (strcmp(type, "Replace") == 0) {
        if (!read_pattern(object, text, sizeof text, &regex) || regex ||
            strcmp(text, t->mark) != 0 || !object_text(object, "content", text, sizeof text) ||
            strcmp(text, " ") != 0)
            return tokenizer_wrong(r, "its decoder replaces something but marks by spaces");
        t->decode_marks = true;
    } else if (strcmp(type, "Strip") == 0) {
        JsonCursor start, stop;
        int64_t from = -1, to = -1;
        if (!object_text(object, "content", text, sizeof text) || strcmp(text, " ") != 0 ||
            !object_has(object, "start", &start) || !json_integer(&start, &from) || from != 1 ||
            !object_has(object, "stop", &stop) || !json_integer(&stop, &to) || to != 0)
            return tokenizer_wrong(r, "its decoder strips something but the first space");
        t->decode_strip = true;
    } else if (strcmp(type, "Fuse") != 0) {
        return tokenizer_wrong(r, "its decoder %s is not supported", type);
    }
    return true;
}

bool read_decoder(TokenizerReader *r, JsonCursor object) {
    return each_part(r, object, "decoders", "decoder", 0, read_decode_step);
}

// before: whether the id stands in front of the text.
static bool add_frame(TokenizerReader *r, bool before, int64_t id) {
    uint32_t *count = before ? &r->t->before_count : &r->t->after_count;
    if (*count == TOKENIZER_FRAME_MAX || id < 0 || id > VOCABULARY_ID_MAX)
        return tokenizer_wrong(r, "its template is too long or has an id out of range");
    (before ? r->t->before : r->t->after)[(*count)++] = (int32_t)id;
    return true;
}

// The ids of a template's special token, from {"<s>": {"ids": [1]}}.
static bool add_template_token(TokenizerReader *r, JsonCursor object, bool before,
                               const char *name) {
    JsonCursor tokens, token, ids;
    JsonList walk = {0};
    int64_t id;
    if (!object_has(object, "special_tokens", &tokens) || !json_find(tokens, name, &token) ||
        !object_has(token, "ids", &ids))
        return tokenizer_wrong(r, "its template's token %.60s has no ids", name);
    while (json_item(&ids, &walk))
        if (!json_integer(&ids, &id) || !add_frame(r, before, id))
            return tokenizer_wrong(r, "its template's token %.60s has no ids", name);
    return !ids.failed || tokenizer_wrong(r, "its template's token %.60s has no ids", name);
}

// [{"SpecialToken": {"id": "<s>"}}, {"Sequence": {"id": "A"}}]
static bool read_template_processing(TokenizerReader *r, JsonCursor object) {
    JsonCursor single, part;
    JsonList walk = {0};
    bool before = true;
    if (!object_has(object, "single", &single))
        return tokenizer_wrong(r, "its template has no form for one text");
    for (; json_item(&single, &walk); json_skip(&single)) {
        char name[64];
        // The text itself: what comes from here on stands behind it.
        if (json_find(single, "Sequence", &part))
            before = false;
        else if (!json_find(single, "SpecialToken", &part) ||
                 !object_text(part, "id", name, sizeof name))
            return tokenizer_wrong(r, "its template has a part that can't be read");
        else if (!add_template_token(r, object, before, name))
            return false;
    }
    return !single.failed || tokenizer_wrong(r, "its template can't be read");
}

// ["</s>", 2]
static bool read_named_id(JsonCursor object, const char *name, int64_t *id) {
    JsonCursor pair;
    JsonList walk = {0};
    return object_has(object, name, &pair) && json_item(&pair, &walk) && json_skip(&pair) &&
           json_item(&pair, &walk) && json_integer(&pair, id);
}

static bool read_processor(TokenizerReader *r, JsonCursor object, const char *type) {
    int64_t begin, end;
    if (strcmp(type, "ByteLevel") == 0)
        return true; // It changes offsets, no ids.
    if (strcmp(type, "TemplateProcessing") == 0)
        return read_template_processing(r, object);
    if (strcmp(type, "RobertaProcessing") != 0 && strcmp(type, "BertProcessing") != 0)
        return tokenizer_wrong(r, "its post_processor %s is not supported", type);
    if (!read_named_id(object, "cls", &begin) || !read_named_id(object, "sep", &end))
        return tokenizer_wrong(r, "its post_processor has no cls and sep");
    return add_frame(r, true, begin) && add_frame(r, false, end);
}

bool read_template(TokenizerReader *r, JsonCursor object) {
    return each_part(r, object, "processors", "post_processor", 0, read_processor);
}
