// The token level of the graph text: one token of lookahead, mistakes told once, types, attributes
// (against their rules, with suggestions) and places. Scratch arrays are reused from line to line.
#include "ir/graph_reader.h"

#include "ir/attr_rule.h"
#include "ir/check.h"

#include <string.h>

// The array with room for one more; when full it doubles, so appending is linear. count is what is
// in use, and the outgrown copy stays in the arena.
void *reader_reserve(Arena *a, void *array, int count, int *capacity, size_t size) {
    if (count < *capacity)
        return array;
    *capacity = *capacity ? 2 * *capacity : 16;
    return arena_grow(a, array, (size_t)count, (size_t)*capacity, size);
}

void reader_advance(Reader *r) {
    r->token = lexer_next(&r->lexer);
}

// Looking at the token without taking it.
bool reader_at_mark(const Reader *r, char mark) {
    return r->token.kind == TOKEN_MARK && r->token.mark == mark;
}

bool reader_at_word(const Reader *r, const char *word) {
    return r->token.kind == TOKEN_WORD && strcmp(r->token.text, word) == 0;
}

// Says what was expected instead of the token. A bad token has been reported by the lexer.
bool reader_unexpected(Reader *r, const char *expected) {
    const Token *t = &r->token;
    if (t->kind == TOKEN_BAD)
        return false;
    if (t->kind == TOKEN_END || t->kind == TOKEN_NEWLINE)
        return diag_error(r->diag, t->loc, 603, "expected %s before the end of the %s", expected,
                          t->kind == TOKEN_END ? "text" : "line");
    const int shown = t->bytes < 40 ? (int)t->bytes : 40;
    return diag_error(r->diag, t->loc, 603, "expected %s, found '%.*s'", expected, shown, t->at);
}

// Takes the token where it is the one; otherwise nothing happens and nothing is reported.
bool reader_accept_mark(Reader *r, char mark) {
    if (!reader_at_mark(r, mark))
        return false;
    reader_advance(r);
    return true;
}

bool reader_accept_word(Reader *r, const char *word) {
    if (!reader_at_word(r, word))
        return false;
    reader_advance(r);
    return true;
}

bool reader_expect_mark(Reader *r, char mark) {
    // The message shows the mark in quotes.
    const char text[] = {'\'', mark, '\'', '\0'};
    return reader_accept_mark(r, mark) || reader_unexpected(r, text);
}

// Takes a token of the kind into out.
bool reader_expect(Reader *r, TokenKind kind, const char *what, Token *out) {
    if (r->token.kind != kind)
        return reader_unexpected(r, what);
    *out = r->token;
    reader_advance(r);
    return true;
}

// The end of the text ends a line, too.
bool reader_expect_line_end(Reader *r) {
    if (r->token.kind == TOKEN_END)
        return true;
    if (r->token.kind != TOKEN_NEWLINE)
        return reader_unexpected(r, "the end of the line");
    reader_advance(r);
    return true;
}

// After a mistake: on to the next line.
void reader_skip_line(Reader *r) {
    // The rest of the line isn't lexed, so what stands there reports nothing more.
    while (r->token.kind != TOKEN_NEWLINE && r->token.kind != TOKEN_END) {
        lexer_skip_line(&r->lexer);
        reader_advance(r);
    }
    if (r->token.kind == TOKEN_NEWLINE)
        reader_advance(r);
}

// A suggestion costs a walk over all names: only while the message will be shown.
void reader_suggest(Reader *r, const char *sigil, const char *nearest) {
    if (nearest && diag_error_count(r->diag) <= DIAG_ERRORS_MAX)
        diag_help(r->diag, "did you mean %s%s?", sigil, nearest);
}

// t's text is a word or name of the lexer; what it names is told by `what`.
bool reader_check_name(Reader *r, const Token *t, const char *what) {
    return name_is_valid(t->text) ||
           diag_error(r->diag, t->loc, 615, "'%.40s' is no name for %s", t->text, what);
}

// Limits are checked before the type is used for anything.
static bool read_dim(Reader *r, Type *out) {
    Token dim = {0};
    if (!reader_expect(r, TOKEN_INT, "a size", &dim))
        return false;
    // Before dim[] is written.
    if (out->rank == RANK_MAX)
        return diag_error(r->diag, dim.loc, 610, "a type has at most %d axes", RANK_MAX);
    if (dim.i < 0 || dim.i > DIM_MAX)
        return diag_error(r->diag, dim.loc, 610, "a size lies in 0..2^40");
    out->dim[out->rank++] = dim.i;
    return true;
}

// f32[3,4]
bool reader_type(Reader *r, Type *out) {
    *out = (Type){0};
    Token name = {0};
    if (!reader_expect(r, TOKEN_WORD, "a type", &name))
        return false;
    if (!dtype_find(name.text, &out->dtype)) {
        diag_error(r->diag, name.loc, 610, "no element type is called %.40s", name.text);
        diag_help(r->diag, "there are f32, bf16, i32 and bool");
        return false;
    }
    if (!reader_expect_mark(r, '['))
        return false;
    // No dims: a scalar.
    if (!reader_at_mark(r, ']'))
        do
            if (!read_dim(r, out))
                return false;
        while (reader_accept_mark(r, ','));
    if (!reader_expect_mark(r, ']'))
        return false;
    // Each dim may be small and the product too large.
    return type_check(out) || diag_error(r->diag, name.loc, 610, "the type has 2^62 bytes or more");
}

// An integer counts as a number: 1 is 1.0.
bool reader_number(Reader *r, double *out) {
    if (r->token.kind != TOKEN_INT && r->token.kind != TOKEN_FLOAT)
        return reader_unexpected(r, "a number");
    *out = r->token.f;
    reader_advance(r);
    return true;
}

// [1,2] or [0.1,0.2]. Doubles are kept in the same scratch array as integers.
static bool read_list(Reader *r, Attr *out) {
    _Static_assert(sizeof(double) == sizeof(int64_t), "one scratch array for both");
    r->list_count = 0;
    if (!reader_expect_mark(r, '['))
        return false;
    while (!reader_at_mark(r, ']')) {
        r->list =
            reader_reserve(r->scratch, r->list, r->list_count, &r->list_capacity, sizeof(int64_t));
        Token t = r->token;
        if (out->kind == ATTR_FLOATS ? !reader_number(r, &t.f)
                                     : !reader_expect(r, TOKEN_INT, "an integer", &t))
            return false;
        // As bytes: an int64_t slot may hold a double.
        memcpy(&r->list[r->list_count++], out->kind == ATTR_FLOATS ? (void *)&t.f : (void *)&t.i,
               sizeof(int64_t));
        if (!reader_at_mark(r, ']') && !reader_expect_mark(r, ','))
            return false;
    }
    reader_advance(r);
    // A line may have several lists, so each gets its own copy.
    void *copy = arena_grow(r->scratch, r->list, (size_t)r->list_count, (size_t)r->list_count,
                            sizeof(int64_t));
    out->count = r->list_count;
    if (out->kind == ATTR_INTS)
        out->as.ints = copy;
    else
        out->as.floats = copy;
    return true;
}

// The rules, not the spelling, decide the kind: 1 is a float where a float is declared.
static bool read_attr_value(Reader *r, Attr *out) {
    Token t;
    switch (out->kind) {
    case ATTR_INT:
        if (!reader_expect(r, TOKEN_INT, "an integer", &t))
            return false;
        out->as.i = t.i;
        return true;
    case ATTR_FLOAT:
        return reader_number(r, &out->as.f);
    case ATTR_TEXT:
        if (!reader_expect(r, TOKEN_TEXT, "a text in quotes", &t))
            return false;
        out->as.text = t.text;
        return true;
    case ATTR_INTS:
    case ATTR_FLOATS:
        return read_list(r, out);
    }
    UNREACHABLE();
}

// One NAME = VALUE, known to the rules and not there yet.
static bool read_attr(Reader *r, const char *rules, const char *owner) {
    Token name;
    if (!reader_expect(r, TOKEN_WORD, "an attribute's name", &name))
        return false;
    Attr attr = {.name = name.text};
    // The rules give the kind, which tells how the value is read.
    if (!attr_rule_find(rules, name.text, &attr.kind)) {
        diag_error(r->diag, name.loc, 608, "%s has no attribute %.40s", owner, name.text);
        reader_suggest(r, "", attr_rule_nearest(rules, name.text, r->scratch));
        return false;
    }
    // Twice the same name is a mistake even with one value.
    for (int i = 0; i < r->attr_count; i++)
        if (strcmp(r->attr[i].name, name.text) == 0)
            return diag_error(r->diag, name.loc, 608, "%s has twice the attribute %s", owner,
                              name.text);
    CHECK(r->attr_count < ATTRS_MAX); // no row declares as many
    attr.name = intern(r->names, name.text);
    if (!reader_expect_mark(r, '=') || !read_attr_value(r, &attr))
        return false;
    r->attr[r->attr_count++] = attr;
    return true;
}

// {name = value, ...} or nothing, into r->attr. loc is the owner's.
bool reader_attrs(Reader *r, const char *rules, const char *owner, Loc loc) {
    r->attr_count = 0;
    // {} is taken for no attributes.
    if (reader_accept_mark(r, '{') && !reader_accept_mark(r, '}')) {
        do
            if (!read_attr(r, rules, owner))
                return false;
        while (reader_accept_mark(r, ','));
        if (!reader_expect_mark(r, '}'))
            return false;
    }
    return attr_rule_check(rules, owner, r->attr, r->attr_count, loc, r->diag);
}

// Of the attributes read last; NULL where the line has none of that name.
const Attr *reader_attr(const Reader *r, const char *name) {
    for (int i = 0; i < r->attr_count; i++)
        if (strcmp(r->attr[i].name, name) == 0)
            return &r->attr[i];
    return NULL;
}

// Interned, so that it outlives the reader's scratch arena.
const char *reader_text(const Reader *r, const char *name) {
    const Attr *attr = reader_attr(r, name);
    return attr ? intern(r->names, attr->as.text) : NULL;
}

// at "gpt2.plim":12:3, at none, or nothing. *stated tells whether it was there.
bool reader_place(Reader *r, Loc *out, bool *stated) {
    *stated = reader_accept_word(r, "at");
    *out = (Loc){0};
    if (!*stated || reader_accept_word(r, "none"))
        return true;
    Token file = {0}, line = {0}, column = {0};
    if (!reader_expect(r, TOKEN_TEXT, "a file or none", &file) || !reader_expect_mark(r, ':') ||
        !reader_expect(r, TOKEN_INT, "a line", &line) || !reader_expect_mark(r, ':') ||
        !reader_expect(r, TOKEN_INT, "a column", &column))
        return false;
    // A column of 0 is a place that knows its line only.
    if (line.i < 1 || line.i > INT32_MAX || column.i < 0 || column.i > INT32_MAX)
        return diag_error(r->diag, line.loc, 603, "no such place: lines count from 1");
    *out = (Loc){
        .file = intern(r->names, file.text), .line = (int32_t)line.i, .column = (int32_t)column.i};
    return true;
}
