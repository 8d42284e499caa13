// Files: the outermost level of the grammar, and what all parts of the parser share.
//
// Hand-written recursive descent with one token of lookahead behind the current one. Depth is
// checked before each recursion. A mistake starts a panic: every function returns at once to the
// loop over statements (or over declarations), which skips to the next line and goes on.
#include "frontend/parser.h"

#include "frontend/code.h"

#include <string.h>

// Two tokens are held: a word that may also be a name is told apart by the token behind it.
void parser_advance(Parser *p) {
    p->token = p->next;
    p->next = lexer_read(&p->lexer);
}

// In a panic nothing is accepted, so callers need no check between one token and the next.
bool parser_accept(Parser *p, TokenKind kind) {
    if (p->panic || p->token.kind != kind)
        return false;
    parser_advance(p);
    return true;
}

// One message a panic: the first is the cause.
void parser_fail(Parser *p, const char *expected) {
    if (p->panic)
        return;
    p->panic = true;
    // The lexer has spoken already about an unreadable token.
    if (p->token.kind != TOKEN_ERROR)
        diag_error(p->diag, p->token.loc, CODE_SYNTAX, "expected %s, found %s", expected,
                   token_describe(p->arena, &p->token));
}

bool parser_expect(Parser *p, TokenKind kind, const char *what) {
    if (parser_accept(p, kind))
        return true;
    parser_fail(p, what);
    return false;
}

// Compared as text: words such as `as` and `on` are ordinary names to the lexer.
bool parser_word(const Parser *p, const char *word) {
    return p->token.kind == TOKEN_NAME && strcmp(p->token.text, word) == 0;
}

bool parser_accept_word(Parser *p, const char *word) {
    if (p->panic || !parser_word(p, word))
        return false;
    parser_advance(p);
    return true;
}

bool parser_enter(Parser *p) {
    if (p->depth < PARSE_DEPTH_MAX) {
        p->depth++;
        return true;
    }
    // Not by parser_fail: the token itself is fine.
    diag_error(p->diag, p->token.loc, CODE_DEPTH, "nested deeper than %d levels", PARSE_DEPTH_MAX);
    p->panic = true;
    return false;
}

// use name, use "path" as name
static void parse_use(Parser *p, FileDecl *file) {
    UseDecl use = {.loc = p->token.loc};
    parser_advance(p);
    if (p->token.kind == TOKEN_TEXT) {
        // A path need not be a name, so one must be given for it.
        use.path = p->token.text;
        parser_advance(p);
        if (!parser_accept_word(p, "as")) {
            parser_fail(p, "`as` and a name");
            return;
        }
    }
    use.alias = p->token.text;
    if (!parser_expect(p, TOKEN_NAME, "a name"))
        return;
    if (file->use_count == file->use_capacity) {
        const int capacity = file->use_capacity ? file->use_capacity * 2 : 4;
        file->use = arena_grow(p->arena, file->use, (size_t)file->use_count, (size_t)capacity,
                               sizeof(UseDecl));
        file->use_capacity = capacity;
    }
    file->use[file->use_count++] = use;
}

static void parse_model(Parser *p, FileDecl *file) {
    ModelDecl *model = arena_new(p->arena, ModelDecl);
    parser_advance(p);
    model->name = p->token.text;
    model->loc = p->token.loc;
    if (parser_expect(p, TOKEN_NAME, "the model's name") && parse_params(p, &model->params))
        parse_body(p, &model->body);
    // A model that broke off is left out; after an error nothing is elaborated.
    if (p->panic)
        return;
    if (file->model_count == file->model_capacity) {
        const int capacity = file->model_capacity ? file->model_capacity * 2 : 4;
        file->model = arena_grow(p->arena, file->model, (size_t)file->model_count, (size_t)capacity,
                                 sizeof *file->model);
        file->model_capacity = capacity;
    }
    file->model[file->model_count++] = model;
}

static void parse_file_fn(Parser *p, FileDecl *file) {
    FnDecl *fn = parse_fn(p);
    if (p->panic)
        return;
    if (file->fn_count == file->fn_capacity) {
        const int capacity = file->fn_capacity ? file->fn_capacity * 2 : 8;
        file->fn = arena_grow(p->arena, file->fn, (size_t)file->fn_count, (size_t)capacity,
                              sizeof *file->fn);
        file->fn_capacity = capacity;
    }
    file->fn[file->fn_count++] = fn;
}

// A place block, of which only the syntax is checked: one device needs none, so nothing reads it
// yet.
static void parse_place(Parser *p) {
    parser_advance(p);
    parser_expect(p, TOKEN_NAME, "the model's name");
    if (!p->panic && !parser_accept_word(p, "on"))
        parser_fail(p, "`on` and a mesh");
    Args mesh = {0};
    if (!p->panic && p->token.kind == TOKEN_OPEN)
        parse_args(p, &mesh, TOKEN_CLOSE);
    if (!parser_expect(p, TOKEN_OPEN_BODY, "`{`"))
        return;
    // One line each: `name: expr`, with `in "path"` behind it or not.
    while (!p->panic && p->token.kind != TOKEN_CLOSE_BODY) {
        if (parser_accept(p, TOKEN_NEWLINE))
            continue;
        if (!parser_expect(p, TOKEN_LABEL, "a size or path with its colon"))
            return;
        parse_expr(p);
        if (parser_accept(p, TOKEN_IN))
            parser_expect(p, TOKEN_TEXT, "a path in quotes");
        if (p->token.kind != TOKEN_CLOSE_BODY)
            parser_expect(p, TOKEN_NEWLINE, "the end of the line");
    }
    // In a panic the brace stays; resync_declaration skips it.
    parser_accept(p, TOKEN_CLOSE_BODY);
}

static void parse_declaration(Parser *p, FileDecl *file) {
    if (p->token.kind == TOKEN_USE)
        parse_use(p, file);
    else if (p->token.kind == TOKEN_FN)
        parse_file_fn(p, file);
    else if (p->token.kind == TOKEN_MODEL)
        parse_model(p, file);
    else if (parser_word(p, "place"))
        parse_place(p);
    else
        parser_fail(p, "`use`, `fn`, `model` or `place`");
    // A declaration ends its line; anything behind it is a mistake.
    if (!p->panic && p->token.kind != TOKEN_END)
        parser_expect(p, TOKEN_NEWLINE, "the end of the line");
}

// Skips to a line that begins a declaration.
static void resync_declaration(Parser *p) {
    // The mistake may have left brackets and blocks open.
    p->panic = false;
    p->depth = 0;
    bool line_begins = false;
    // A `fn` inside of a model is indented: only a word in column 1 is taken for the
    // beginning of a declaration, so that the rest of a broken model is not read as one.
    while (p->token.kind != TOKEN_END) {
        const TokenKind kind = p->token.kind;
        if (line_begins && (kind == TOKEN_USE || kind == TOKEN_FN || kind == TOKEN_MODEL) &&
            p->token.loc.column == 1)
            return;
        // An open bracket would make the lexer take newlines for blanks.
        p->lexer.depth = 0;
        line_begins = kind == TOKEN_NEWLINE;
        parser_advance(p);
    }
}

// Stops early only at a limit; else the whole text is read whatever is wrong with it.
FileDecl *parser_file(Arena *a, Diag *d, Intern *names, const Source *source) {
    FileDecl *file = arena_new(a, FileDecl);
    file->source = source;
    if (source->bytes > SOURCE_BYTES_MAX) {
        const Loc top = {source->file, 1, 1};
        diag_error(d, top, CODE_FILE_SIZE, "the file is larger than 64 MiB");
        return file;
    }
    Parser p = {.arena = a, .diag = d, .names = names};
    lexer_start(&p.lexer, a, d, names, source);
    // Twice: the current token and the one behind it.
    parser_advance(&p);
    parser_advance(&p);
    while (!p.stopped && p.token.kind != TOKEN_END) {
        if (parser_accept(&p, TOKEN_NEWLINE))
            continue;
        // Each round takes one declaration, or skips to the next after a mistake.
        parse_declaration(&p, file);
        if (p.panic && !p.stopped)
            resync_declaration(&p);
    }
    return file;
}
