// The lexer of the graph text: bytes in, tokens out, one at a time, so that memory stays small.
//
// It trusts nothing: the text may hold any bytes, NUL included, and needs no end mark. Comments run
// from # to the end of the line. Numbers go through strtoll and strtod on a bounded copy.
#include "ir/graph_lex.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>

void lexer_init(Lexer *lx, Arena *a, Diag *d, const char *file, const char *text, size_t bytes) {
    *lx = (Lexer){.arena = a,
                  .diag = d,
                  .file = file,
                  .at = text,
                  .end = text + bytes,
                  .line_start = text,
                  .line = 1};
}

// Stops at the newline, so that the line's end is still told.
void lexer_skip_line(Lexer *lx) {
    while (lx->at < lx->end && *lx->at != '\n')
        lx->at++;
}

// Columns count bytes from 1; those of absurdly long lines stop at the largest i32.
static Loc place(const Lexer *lx, const char *at) {
    const ptrdiff_t column = at - lx->line_start + 1;
    return (Loc){.file = lx->file,
                 .line = lx->line,
                 .column = column > INT32_MAX ? INT32_MAX : (int32_t)column};
}

static bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

static bool is_letter(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_';
}

// The byte at an offset, 0 past the end.
static char peek(const Lexer *lx, ptrdiff_t offset) {
    return offset < lx->end - lx->at ? lx->at[offset] : '\0';
}

// A name never swallows the arrow's minus.
static const char *name_end(const Lexer *lx, const char *at) {
    while (at < lx->end && (is_digit(*at) || is_letter(*at) || *at == '.' || *at == '-')) {
        if (*at == '-' && at + 1 < lx->end && at[1] == '>')
            break;
        at++;
    }
    return at;
}

// A mistake was reported: one bad token stands for the rest of the line.
static Token bad(Lexer *lx, Token t) {
    lexer_skip_line(lx);
    t.kind = TOKEN_BAD;
    return t;
}

// The token ends at stop; reading goes on there.
static Token finish(Lexer *lx, Token t, const char *stop) {
    t.bytes = (size_t)(stop - t.at);
    lx->at = stop;
    return t;
}

// %name, @name or a word; skip is the length of the sigil.
static Token lex_name(Lexer *lx, Token t, TokenKind kind, int skip) {
    // The caller has seen a sigil or a letter, so only a bare sigil can lack a name.
    const char *start = lx->at + skip;
    const char *stop = name_end(lx, start);
    if (stop == start) {
        diag_error(lx->diag, t.loc, 602, "'%c' needs a name after it", *lx->at);
        return bad(lx, t);
    }
    t.kind = kind;
    t.text = arena_text_span(lx->arena, start, (size_t)(stop - start));
    return finish(lx, t, stop);
}

// Whether the rest of the text begins with the word.
static bool starts_with(const Lexer *lx, const char *word) {
    const size_t bytes = strlen(word);
    return (size_t)(lx->end - lx->at) >= bytes && memcmp(lx->at, word, bytes) == 0;
}

// The only word that a minus may precede.
static Token lex_infinity(Lexer *lx, Token t) {
    if (!starts_with(lx, "-inf") || name_end(lx, lx->at + 1) != lx->at + 4) {
        diag_error(lx->diag, t.loc, 602, "'-' needs a number after it");
        return bad(lx, t);
    }
    t.kind = TOKEN_FLOAT;
    t.f = -(double)INFINITY;
    return finish(lx, t, lx->at + 4);
}

// Digits, then perhaps a fraction, then perhaps an exponent; nothing may stick to it.
static Token lex_number(Lexer *lx, Token t) {
    enum { NUMBER_BYTES_MAX = 400 }; // the longest double written out in full has 330
    if (*lx->at == '-' && !is_digit(peek(lx, 1)))
        return lex_infinity(lx, t);
    const char *stop = lx->at + 1;
    while (stop < lx->end && is_digit(*stop))
        stop++;
    // A point belongs to the number only with a digit after it.
    bool is_float = false;
    if (lx->end - stop >= 2 && *stop == '.' && is_digit(stop[1])) {
        is_float = true;
        for (stop++; stop < lx->end && is_digit(*stop);)
            stop++;
    }
    if (stop < lx->end && (*stop == 'e' || *stop == 'E')) {
        // Likewise an e only with digits; else the check below refuses what sticks to the number.
        const char *digits = stop + 1;
        if (digits < lx->end && (*digits == '+' || *digits == '-'))
            digits++;
        if (digits < lx->end && is_digit(*digits)) {
            is_float = true;
            for (stop = digits; stop < lx->end && is_digit(*stop);)
                stop++;
        }
    }
    if (stop != name_end(lx, stop) || stop - lx->at > NUMBER_BYTES_MAX) {
        diag_error(lx->diag, t.loc, 602, "this is no number");
        return bad(lx, t);
    }
    // The text has no NUL to stop strtod, so a copy with one is read.
    char digits[NUMBER_BYTES_MAX + 1] = {0};
    memcpy(digits, lx->at, (size_t)(stop - lx->at));
    t.kind = is_float ? TOKEN_FLOAT : TOKEN_INT;
    // An integer gets its double as well: a float is allowed to be spelt like one.
    t.f = strtod(digits, NULL);
    errno = 0;
    t.i = is_float ? 0 : strtoll(digits, NULL, 10);
    if (isinf(t.f) || (!is_float && errno == ERANGE)) {
        diag_error(lx->diag, t.loc, 602, "the number is too large");
        return bad(lx, t);
    }
    return finish(lx, t, stop);
}

// 0 to 15, or -1.
static int hex_digit(char c) {
    if (is_digit(c))
        return c - '0';
    if (c >= 'a' && c <= 'f')
        return c - 'a' + 10;
    return c >= 'A' && c <= 'F' ? c - 'A' + 10 : -1;
}

// The byte an escape stands for, at after the backslash; bytes gets the escape's length, 0 where it
// is none.
static char escape_byte(const char *at, const char *end, int *bytes) {
    *bytes = 1;
    if (at < end) {
        switch (*at) {
        case 'n':
            return '\n';
        case 't':
            return '\t';
        case 'r':
            return '\r';
        case '"':
        case '\\':
            return *at;
        case 'x':
            // A NUL made by \x00 is refused by the caller, as is no escape at all.
            if (end - at >= 3 && hex_digit(at[1]) >= 0 && hex_digit(at[2]) >= 0) {
                *bytes = 3;
                return (char)(16 * hex_digit(at[1]) + hex_digit(at[2]));
            }
        }
    }
    *bytes = 0;
    return '\0';
}

// First finds the closing quote, then resolves escapes: the result is never longer than the
// spelling.
static Token lex_text(Lexer *lx, Token t) {
    const char *stop = lx->at + 1;
    // An escaped quote doesn't close the text, a line end does in any case (as a mistake).
    while (stop < lx->end && *stop != '"' && *stop != '\n')
        stop += *stop == '\\' && lx->end - stop > 1 && stop[1] != '\n' ? 2 : 1;
    if (stop >= lx->end || *stop != '"') {
        diag_error(lx->diag, t.loc, 602, "the text is not closed on its line");
        return bad(lx, t);
    }
    // Room for the NUL is there: the opening quote counts among the bytes.
    char *text = arena_alloc(lx->arena, 1, (size_t)(stop - lx->at));
    size_t bytes = 0;
    for (const char *c = lx->at + 1; c < stop; c++) {
        int escape = 0;
        const char byte = *c == '\\' ? escape_byte(c + 1, stop, &escape) : *c;
        if (byte == '\0') {
            diag_error(lx->diag, place(lx, c), 602,
                       *c == '\\' ? "no such escape: \\n \\t \\r \\\" \\\\ and \\x01 to \\xff are"
                                  : "a NUL byte in a text");
            return bad(lx, t);
        }
        text[bytes++] = byte;
        c += escape;
    }
    t.kind = TOKEN_TEXT;
    t.text = text;
    return finish(lx, t, stop + 1);
}

// Skips blanks, comments, and line ends nobody needs to hear of. True where a line end must be
// told.
static bool skip_blanks(Lexer *lx) {
    while (lx->at < lx->end) {
        const char c = *lx->at;
        if (c == '#') {
            lexer_skip_line(lx);
        } else if (c == '\n') {
            // Empty lines and lines of comments alone have no end to tell.
            if (lx->line_has_token)
                return true;
            lx->at++;
            lx->line++;
            lx->line_start = lx->at;
        } else if (c == ' ' || c == '\t' || c == '\r') {
            lx->at++;
        } else {
            return false;
        }
    }
    return false;
}

Token lexer_next(Lexer *lx) {
    const bool line_ends = skip_blanks(lx);
    // The last line may lack its newline: its end is told before the end of the text.
    Token t = {.kind = TOKEN_END, .loc = place(lx, lx->at), .at = lx->at};
    if (line_ends || (lx->at == lx->end && lx->line_has_token)) {
        lx->line_has_token = false; // the newline itself is skipped by the next call
        t.kind = TOKEN_NEWLINE;
        return t;
    }
    if (lx->at == lx->end)
        return t;
    lx->line_has_token = true;
    const char c = *lx->at;
    if (c == '%')
        return lex_name(lx, t, TOKEN_VALUE, 1);
    if (c == '@')
        return lex_name(lx, t, TOKEN_GLOBAL, 1);
    if (c == '"')
        return lex_text(lx, t);
    if (c == '-' && peek(lx, 1) == '>') {
        t.kind = TOKEN_ARROW;
        return finish(lx, t, lx->at + 2);
    }
    if (is_digit(c) || c == '-')
        return lex_number(lx, t);
    if (is_letter(c)) {
        t = lex_name(lx, t, TOKEN_WORD, 0);
        if (strcmp(t.text, "inf") == 0 || strcmp(t.text, "nan") == 0) {
            t.kind = TOKEN_FLOAT;
            t.f = t.text[0] == 'i' ? (double)INFINITY : (double)NAN;
        }
        return t;
    }
    // strchr would also find the NUL that ends its list.
    if (c != '\0' && strchr("()[]{}:,=", c)) {
        t.kind = TOKEN_MARK;
        t.mark = c;
        return finish(lx, t, lx->at + 1);
    }
    diag_error(lx->diag, t.loc, 602, "unexpected character");
    return bad(lx, t);
}
