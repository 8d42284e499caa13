// Text to tokens. A newline ends a statement outside ( and [; runs of newlines and semicolons are
// one token. A label (`h.{i}:`) is one token: a dotted path with a colon right behind it. A number
// never ends in a dot, so `0..n` is a range. Works on any bytes; a byte that can't be used is
// reported once and skipped.
//
//     h.{i}: block(x)   =>  LABEL "h.{i}", NAME block, (, NAME x, )
//     x[0 .. -1]        =>  NAME x, [, INT 0, .., -, INT 1, ]
//
// Names, labels and texts are interned. Cost: linear in the bytes; nothing is kept but the token.
#include "frontend/lexer.h"

#include "frontend/code.h"

#include <ctype.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

// In bytes, of one number and of one text: both are copied to buffers on the stack.
enum { NUMBER_CHARS_MAX = 60, TEXT_CHARS_MAX = 4096 };

// Words that can't be names. The grammar's other words (as, from, on, config, ...) are names to the
// lexer; the parser knows them by their place.
static const struct {
    const char *text;
    TokenKind kind;
} reserved[] = {
    {"use", TOKEN_USE},       {"fn", TOKEN_FN},       {"model", TOKEN_MODEL},
    {"entry", TOKEN_ENTRY},   {"param", TOKEN_PARAM}, {"state", TOKEN_STATE},
    {"return", TOKEN_RETURN}, {"for", TOKEN_FOR},     {"in", TOKEN_IN},
    {"if", TOKEN_IF},         {"else", TOKEN_ELSE},   {"minimize", TOKEN_MINIMIZE},
    {"or", TOKEN_OR},         {"and", TOKEN_AND},     {"not", TOKEN_NOT},
    {"none", TOKEN_NONE},     {"true", TOKEN_TRUE},   {"false", TOKEN_FALSE},
    {"_", TOKEN_HOLE},
};

// Longest first among those that share a beginning.
static const struct {
    const char *text;
    TokenKind kind;
} punctuation[] = {
    {"...", TOKEN_ELLIPSIS}, {"..", TOKEN_RANGE},     {".", TOKEN_DOT},
    {"<-", TOKEN_STORE},     {"<=", TOKEN_LE},        {"<", TOKEN_LT},
    {">=", TOKEN_GE},        {">", TOKEN_GT},         {"==", TOKEN_EQ},
    {"=", TOKEN_ASSIGN},     {"!=", TOKEN_NE},        {"(", TOKEN_OPEN},
    {")", TOKEN_CLOSE},      {"[", TOKEN_OPEN_LIST},  {"]", TOKEN_CLOSE_LIST},
    {"{", TOKEN_OPEN_BODY},  {"}", TOKEN_CLOSE_BODY}, {",", TOKEN_COMMA},
    {"~", TOKEN_TILDE},      {"+", TOKEN_PLUS},       {"-", TOKEN_MINUS},
    {"*", TOKEN_STAR},       {"/", TOKEN_SLASH},      {"@", TOKEN_AT},
};

enum {
    RESERVED_COUNT = sizeof reserved / sizeof reserved[0],
    PUNCTUATION_COUNT = sizeof punctuation / sizeof punctuation[0]
};

void lexer_start(Lexer *lx, Arena *a, Diag *d, Intern *names, const Source *source) {
    *lx = (Lexer){.source = source,
                  .names = names,
                  .arena = a,
                  .diag = d,
                  .at = source->text,
                  .end = source->text + source->bytes,
                  .line_start = source->text,
                  .line = 1};
}

// Not isalpha and its like, which depend on the locale and want no negative char.
static bool is_name_start(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_name_char(char c) {
    return is_name_start(c) || is_digit(c);
}

// Columns count bytes, from 1.
static Loc here(const Lexer *lx, const char *at) {
    return (Loc){lx->source->file, lx->line, (int32_t)(at - lx->line_start) + 1};
}

// Behind the end of the text everything reads as NUL, so looking ahead needs no other check.
static char peek(const Lexer *lx, const char *at) {
    return at < lx->end ? *at : '\0';
}

static const char *skip_name(const Lexer *lx, const char *at) {
    while (at < lx->end && is_name_char(*at))
        at++;
    return at;
}

static const char *skip_digits(const Lexer *lx, const char *at) {
    while (at < lx->end && is_digit(*at))
        at++;
    return at;
}

// Blanks and comments; true when a newline or semicolon was among them.
static bool skip_blanks(Lexer *lx) {
    bool ended = false;
    while (lx->at < lx->end) {
        const char c = *lx->at;
        if (c == '#') {
            // Up to the newline, which the next round counts.
            while (lx->at < lx->end && *lx->at != '\n')
                lx->at++;
        } else if (c == '\n') {
            lx->at++;
            lx->line++;
            lx->line_start = lx->at;
            ended = true;
        } else if (c == ' ' || c == '\t' || c == '\r') {
            lx->at++;
        } else if (c == ';' && lx->depth == 0) {
            // Only outside of ( and [; inside, lex_punctuation reports it.
            lx->at++;
            ended = true;
        } else {
            break;
        }
    }
    // Inside ( and [ newlines are blanks, too.
    return ended && lx->depth == 0;
}

// The end of `layer{i}.0` when a colon follows it, else NULL.
static const char *label_end(const Lexer *lx, const char *at) {
    if (peek(lx, at) != '{')
        at = is_digit(peek(lx, at)) ? skip_digits(lx, at) : skip_name(lx, at);
    // Each round takes a dot with what follows it, or a {name} that goes on without one.
    while (peek(lx, at) == '.' || peek(lx, at) == '{') {
        const char *part = at + (peek(lx, at) == '.');
        const char c = peek(lx, part);
        if (is_name_start(c)) {
            at = skip_name(lx, part);
        } else if (is_digit(c)) {
            at = skip_digits(lx, part);
        } else if (c == '{' && is_name_start(peek(lx, part + 1))) {
            at = skip_name(lx, part + 1);
            if (peek(lx, at) != '}')
                return NULL;
            at = skip_name(lx, at + 1); // of stage{i}x
        } else {
            return NULL;
        }
    }
    return peek(lx, at) == ':' ? at : NULL;
}

static Token token_of(const Lexer *lx, TokenKind kind) {
    return (Token){.kind = kind, .loc = here(lx, lx->at)};
}

// A label where a path with a colon begins here, else a reserved word or a name.
static Token lex_name(Lexer *lx) {
    Token t = token_of(lx, TOKEN_NAME);
    // First of all, since a label may be spelled like a reserved word: `in: f(x)`.
    const char *label = label_end(lx, lx->at);
    const char *end = label ? label : skip_name(lx, lx->at);
    t.text = intern_span(lx->names, lx->at, (size_t)(end - lx->at));
    lx->at = label ? end + 1 : end;
    if (label) {
        t.kind = TOKEN_LABEL;
        return t;
    }
    for (int i = 0; i < RESERVED_COUNT; i++)
        if (strcmp(reserved[i].text, t.text) == 0)
            t.kind = reserved[i].kind;
    return t;
}

// Reading goes on at `end`, behind all of the broken number, so that its rest is not taken for a
// name.
static Token number_error(Lexer *lx, Token t, const char *end, const char *why) {
    diag_error(lx->diag, t.loc, CODE_NUMBER, "%s", why);
    lx->at = end;
    t.kind = TOKEN_ERROR;
    return t;
}

// 123, 1.5, 1e-5, 1.5e3. A dot counts only before a digit.
static Token lex_number(Lexer *lx) {
    Token t = token_of(lx, TOKEN_INT);
    const char *end = skip_digits(lx, lx->at);
    if (peek(lx, end) == '.' && is_digit(peek(lx, end + 1))) {
        t.kind = TOKEN_FLOAT;
        end = skip_digits(lx, end + 1);
    }
    if (peek(lx, end) == 'e' || peek(lx, end) == 'E') {
        const char *exponent = end + 1;
        if (peek(lx, exponent) == '-' || peek(lx, exponent) == '+')
            exponent++;
        if (!is_digit(peek(lx, exponent)))
            return number_error(lx, t, exponent, "the number has no digits in its exponent");
        t.kind = TOKEN_FLOAT;
        end = skip_digits(lx, exponent);
    }
    // `3x` is neither a product nor a name.
    if (is_name_char(peek(lx, end)))
        return number_error(lx, t, skip_name(lx, end), "a number is followed by a letter");
    const size_t length = (size_t)(end - lx->at);
    if (length > NUMBER_CHARS_MAX)
        return number_error(lx, t, end, "the number is too long");
    // The text goes on behind the digits, and strtoll and strtod want a NUL there.
    char digits[NUMBER_CHARS_MAX + 1] = {0};
    memcpy(digits, lx->at, length);
    errno = 0;
    if (t.kind == TOKEN_INT)
        t.whole = strtoll(digits, NULL, 10);
    else
        t.real = strtod(digits, NULL);
    // Too small is no error: the value is 0, or as good as 0.
    if (errno == ERANGE && (t.kind == TOKEN_INT || t.real > 1))
        return number_error(lx, t, end, "the number is too large");
    lx->at = end;
    return t;
}

// On one line. Reading goes on behind an error, at the line's end.
static Token lex_text(Lexer *lx) {
    Token t = token_of(lx, TOKEN_TEXT);
    char text[TEXT_CHARS_MAX];
    size_t length = 0;
    const char *at = lx->at + 1;
    while (at < lx->end && *at != '"' && *at != '\n' && length < TEXT_CHARS_MAX) {
        if (*at == '\\') {
            at++;
            if (peek(lx, at) != '"' && peek(lx, at) != '\\') {
                // Reported, and read on: the end of the text must still be found.
                diag_error(lx->diag, here(lx, at - 1), CODE_STRING,
                           "a text knows only \\\" and \\\\ after a backslash");
                t.kind = TOKEN_ERROR;
                // The backslash was the last of its line or of the file.
                if (at >= lx->end || *at == '\n')
                    break;
            }
        }
        text[length++] = *at++;
    }
    if (peek(lx, at) != '"') {
        // At most one message for a text.
        if (t.kind != TOKEN_ERROR)
            diag_error(lx->diag, t.loc, CODE_STRING,
                       length == TEXT_CHARS_MAX ? "the text is longer than 4096 bytes"
                                                : "the text does not end on its line");
        while (at < lx->end && *at != '\n')
            at++;
        lx->at = at;
        t.kind = TOKEN_ERROR;
        return t;
    }
    lx->at = at + 1;
    // From here on texts are C strings.
    if (memchr(text, '\0', length)) {
        diag_error(lx->diag, t.loc, CODE_STRING, "the text holds a NUL byte");
        t.kind = TOKEN_ERROR;
        return t;
    }
    t.text = intern_span(lx->names, text, length);
    return t;
}

// Braces don't count: newlines end statements inside them.
static void track_depth(Lexer *lx, TokenKind kind) {
    // Never below 0: a surplus bracket is the parser's to report.
    if (kind == TOKEN_OPEN || kind == TOKEN_OPEN_LIST)
        lx->depth++;
    else if ((kind == TOKEN_CLOSE || kind == TOKEN_CLOSE_LIST) && lx->depth > 0)
        lx->depth--;
}

// Longest match by the order of the table.
static Token lex_punctuation(Lexer *lx) {
    Token t = token_of(lx, TOKEN_ERROR);
    for (int i = 0; i < PUNCTUATION_COUNT; i++) {
        const size_t length = strlen(punctuation[i].text);
        if ((size_t)(lx->end - lx->at) >= length &&
            memcmp(lx->at, punctuation[i].text, length) == 0) {
            t.kind = punctuation[i].kind;
            lx->at += length;
            track_depth(lx, t.kind);
            return t;
        }
    }
    // No row fits: a character that the language does not use.
    const unsigned char c = (unsigned char)*lx->at;
    if (c > ' ' && c < 127)
        diag_error(lx->diag, t.loc, CODE_CHARACTER, "the character '%c' has no meaning here", c);
    else
        diag_error(lx->diag, t.loc, CODE_CHARACTER, "the byte 0x%02x has no meaning here", c);
    if (c == ':')
        diag_help(lx->diag, "a label is written without a space before its colon: name: f(x)");
    // One message for a whole run of foreign bytes.
    do
        lx->at++;
    while (lx->at < lx->end && (unsigned char)*lx->at >= 127);
    return t;
}

Token lexer_read(Lexer *lx) {
    // A newline's place is where the statement before it ended, so it is taken before the blanks.
    Token newline = token_of(lx, TOKEN_NEWLINE);
    if (skip_blanks(lx))
        return newline;
    if (lx->at >= lx->end)
        return token_of(lx, TOKEN_END);
    const char c = *lx->at;
    // The parts of networks made of lists have numbers for names: `0: f(x)`, `{i}: f(x)`.
    if (is_name_start(c) || ((is_digit(c) || c == '{') && label_end(lx, lx->at)))
        return lex_name(lx);
    if (is_digit(c))
        return lex_number(lx);
    if (c == '"')
        return lex_text(lx);
    return lex_punctuation(lx);
}

const char *token_describe(Arena *a, const Token *t) {
    switch ((int)t->kind) {
    case TOKEN_END:
        return "the end of the file";
    case TOKEN_NEWLINE:
        return "the end of the line";
    case TOKEN_NAME:
        return arena_format(a, "the name %s", t->text);
    case TOKEN_LABEL:
        return arena_format(a, "the label %s:", t->text);
    case TOKEN_INT:
    case TOKEN_FLOAT:
        return "a number";
    case TOKEN_TEXT:
        return "a text";
    // The others are described by the tables: reserved words, then punctuation.
    default:
        break;
    }
    for (int i = 0; i < RESERVED_COUNT; i++)
        if (reserved[i].kind == t->kind)
            return arena_format(a, "`%s`", reserved[i].text);
    for (int i = 0; i < PUNCTUATION_COUNT; i++)
        if (punctuation[i].kind == t->kind)
            return arena_format(a, "`%s`", punctuation[i].text);
    return "something unreadable";
}
