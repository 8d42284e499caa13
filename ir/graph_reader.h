// The graph text token by token: what every line's parser is made of.
#ifndef PLIM_IR_GRAPH_READER_H
#define PLIM_IR_GRAPH_READER_H

#include "ir/graph.h"
#include "ir/graph_lex.h"
#include "ir/intern.h"

enum { ATTRS_MAX = 64 }; // more than any rules declare

typedef struct {
    Lexer lexer;
    Token token;    // the one not consumed yet
    Arena *scratch; // dies when the text is read
    Diag *diag;
    Intern *names;        // the module's
    Attr attr[ATTRS_MAX]; // of the last reader_attrs
    int attr_count;
    int64_t *list; // of the list being read; doubles are kept by their bytes
    int list_count, list_capacity;
} Reader;

// Room for one more object in an array that doubles.
void *reader_reserve(Arena *a, void *array, int count, int *capacity, size_t size);

void reader_advance(Reader *r);
bool reader_at_mark(const Reader *r, char mark);
bool reader_at_word(const Reader *r, const char *word);
// Consume the token where it is the one asked for.
bool reader_accept_mark(Reader *r, char mark);
bool reader_accept_word(Reader *r, const char *word);
// The same, or P0603: "expected WHAT, found ...". Always false from reader_unexpected.
bool reader_unexpected(Reader *r, const char *expected);
bool reader_expect_mark(Reader *r, char mark);
bool reader_expect(Reader *r, TokenKind kind, const char *what, Token *out);
bool reader_expect_line_end(Reader *r);
// After a mistake: on to the next line.
void reader_skip_line(Reader *r);
// Adds "did you mean" to the last error; nearest may be NULL.
void reader_suggest(Reader *r, const char *sigil, const char *nearest);
// name_is_valid, or P0615.
bool reader_check_name(Reader *r, const Token *t, const char *what);

// f32[3,4]
bool reader_type(Reader *r, Type *out);
// An integer or a float, as a double.
bool reader_number(Reader *r, double *out);
// {name = value, ...} or nothing, into r->attr, checked against the rules. loc is the owner's.
bool reader_attrs(Reader *r, const char *rules, const char *owner, Loc loc);
// An attribute of the last reader_attrs, or NULL; the text of one, interned.
const Attr *reader_attr(const Reader *r, const char *name);
const char *reader_text(const Reader *r, const char *name);
// at "gpt2.plim":12:3, at none, or nothing. *stated tells whether it was there.
bool reader_place(Reader *r, Loc *out, bool *stated);

#endif
