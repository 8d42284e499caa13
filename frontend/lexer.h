// Text to tokens, one at a time.
#ifndef PLIM_FRONTEND_LEXER_H
#define PLIM_FRONTEND_LEXER_H

#include "frontend/source.h"

typedef enum {
    TOKEN_END,
    TOKEN_ERROR,   // reported already
    TOKEN_NEWLINE, // one or more newlines or semicolons
    TOKEN_NAME,
    TOKEN_LABEL, // a.0.{i}: without its colon in text
    TOKEN_INT,
    TOKEN_FLOAT,
    TOKEN_TEXT,
    TOKEN_OPEN, // (
    TOKEN_CLOSE,
    TOKEN_OPEN_LIST, // [
    TOKEN_CLOSE_LIST,
    TOKEN_OPEN_BODY, // {
    TOKEN_CLOSE_BODY,
    TOKEN_COMMA,
    TOKEN_DOT,
    TOKEN_RANGE,    // ..
    TOKEN_ELLIPSIS, // ...
    TOKEN_ASSIGN,   // =
    TOKEN_STORE,    // <-
    TOKEN_TILDE,
    TOKEN_PLUS,
    TOKEN_MINUS,
    TOKEN_STAR,
    TOKEN_SLASH,
    TOKEN_AT,
    TOKEN_EQ,
    TOKEN_NE,
    TOKEN_LT,
    TOKEN_LE,
    TOKEN_GT,
    TOKEN_GE,
    TOKEN_HOLE, // _
    // Reserved words. Others (config, place, emit, at, as, from, on, transient, tokenizer) are
    // words only where the grammar wants them.
    TOKEN_USE,
    TOKEN_FN,
    TOKEN_MODEL,
    TOKEN_ENTRY,
    TOKEN_PARAM,
    TOKEN_STATE,
    TOKEN_RETURN,
    TOKEN_FOR,
    TOKEN_IN,
    TOKEN_IF,
    TOKEN_ELSE,
    TOKEN_MINIMIZE,
    TOKEN_OR,
    TOKEN_AND,
    TOKEN_NOT,
    TOKEN_NONE,
    TOKEN_TRUE,
    TOKEN_FALSE,
} TokenKind;

typedef struct {
    TokenKind kind;
    Loc loc;
    const char *text; // interned: names, labels, texts, reserved words
    int64_t whole;
    double real;
} Token;

typedef struct {
    const Source *source;
    Intern *names;
    Arena *arena;
    Diag *diag;
    const char *at, *end;
    const char *line_start;
    int32_t line;
    int depth; // of ( and [: newlines inside are blanks
} Lexer;

void lexer_start(Lexer *lx, Arena *a, Diag *d, Intern *names, const Source *source);
Token lexer_read(Lexer *lx);
// How a token is called in messages: "`(`", "the name x".
const char *token_describe(Arena *a, const Token *t);

#endif
