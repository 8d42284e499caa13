// Words of the graph text. Lines matter, so the end of a line is a token too.
#ifndef PLIM_IR_GRAPH_LEX_H
#define PLIM_IR_GRAPH_LEX_H

#include "ir/arena.h"
#include "ir/diag.h"

typedef enum {
    TOKEN_END,     // of the text
    TOKEN_NEWLINE, // blank and comment lines give none
    TOKEN_WORD,    // [A-Za-z_][A-Za-z0-9_.-]*
    TOKEN_VALUE,   // %name, text is "name"
    TOKEN_GLOBAL,  // @name, text is "name"
    TOKEN_INT,
    TOKEN_FLOAT, // with a point or an exponent, or inf, -inf, nan
    TOKEN_TEXT,  // "...", text has the escapes resolved
    TOKEN_ARROW, // ->
    TOKEN_MARK,  // one of ( ) [ ] { } : , =
    TOKEN_BAD    // reported already
} TokenKind;

typedef struct {
    TokenKind kind;
    Loc loc;
    const char *at;   // where it stands in the text
    size_t bytes;     // and how long it is there
    const char *text; // WORD, VALUE, GLOBAL, TEXT: NUL-terminated, in the lexer's arena
    int64_t i;        // INT
    double f;         // INT and FLOAT
    char mark;        // MARK
} Token;

typedef struct {
    Arena *arena;
    Diag *diag;
    const char *file;
    const char *at, *end; // what is not read yet
    const char *line_start;
    int32_t line;
    bool line_has_token; // so that its end is told
} Lexer;

void lexer_init(Lexer *lx, Arena *a, Diag *d, const char *file, const char *text, size_t bytes);
// The next token. After a mistake (P0602, reported) a TOKEN_BAD, and the rest of the line is
// skipped.
Token lexer_next(Lexer *lx);
// Skips to the end of the line.
void lexer_skip_line(Lexer *lx);

#endif
