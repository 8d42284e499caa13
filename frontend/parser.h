// Tokens to a syntax tree.
#ifndef PLIM_FRONTEND_PARSER_H
#define PLIM_FRONTEND_PARSER_H

#include "frontend/ast.h"
#include "frontend/lexer.h"

enum { PARSE_DEPTH_MAX = 64, PARSE_NODES_MAX = 1 << 21 };

typedef struct {
    Arena *arena;
    Diag *diag;
    Intern *names;
    Lexer lexer;
    Token token, next; // the one looked at, and the one behind it
    bool panic;        // an error was reported; everything returns to the statement loop
    bool stopped;      // a limit was passed: nothing more is read
    int depth;         // nesting of ( [ { and unary operators
    int node_count;
} Parser;

// Parses the file whole. Never NULL; errors are in the Diag.
FileDecl *parser_file(Arena *a, Diag *d, Intern *names, const Source *source);

// Shared by the parser's files.
void parser_advance(Parser *p);
bool parser_accept(Parser *p, TokenKind kind);
// False after a diagnostic "expected WHAT, found ...".
bool parser_expect(Parser *p, TokenKind kind, const char *what);
bool parser_word(const Parser *p, const char *word); // the token is this name
bool parser_accept_word(Parser *p, const char *word);
// Starts a panic with a message at the token.
void parser_fail(Parser *p, const char *expected);
// One level deeper; false after a diagnostic where it is one too many. Pair with p->depth--.
bool parser_enter(Parser *p);

Expr *parse_expr(Parser *p);
// expr {, expr}: a tuple where there is more than one.
Expr *parse_exprs(Parser *p);
TypeExpr *parse_type(Parser *p);
bool parse_args(Parser *p, Args *out, TokenKind close);

Stmt *parse_stmt(Parser *p);
bool parse_body(Parser *p, Body *out);
bool parse_params(Parser *p, Params *out);
FnDecl *parse_fn(Parser *p);

#endif
