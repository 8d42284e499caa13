// Expressions and types, by recursive descent. Binary operators are read by precedence climbing
// into left-deep trees (the elaborator walks them in a loop); every other nesting counts against
// the depth limit before it recurses. In a panic all functions return at once with whatever they
// have.
//
// A tree remembers only places and spelling; what names mean is for the elaborator. `(x)` is x. A
// name before `=` inside a call is an argument's name. Nodes are counted: a text of 64 MiB must not
// become gigabytes of tree.
#include "frontend/parser.h"

#include "frontend/code.h"

#include <string.h>

// Counts nodes, so that the tree of a hostile text stays small.
static Expr *expr_new(Parser *p, ExprKind kind, Loc loc) {
    // There is a node even past the limit, so that callers need no check; the panic ends the
    // reading.
    if (++p->node_count > PARSE_NODES_MAX && !p->stopped) {
        diag_error(p->diag, loc, CODE_SYNTAX_SIZE, "the text has more than %d expressions",
                   PARSE_NODES_MAX);
        p->panic = true;
        p->stopped = true;
    }
    Expr *e = arena_new(p->arena, Expr);
    e->kind = kind;
    e->loc = loc;
    return e;
}

static void args_add(Parser *p, Args *args, const char *name, Loc loc, Expr *value) {
    if (args->count == args->capacity) {
        const int capacity = args->capacity ? args->capacity * 2 : 4;
        args->at =
            arena_grow(p->arena, args->at, (size_t)args->count, (size_t)capacity, sizeof(Arg));
        args->capacity = capacity;
    }
    args->at[args->count++] = (Arg){name, loc, value};
}

// What may stand behind `..`: anything else leaves the range open.
static bool starts_expr(TokenKind kind) {
    switch ((int)kind) {
    case TOKEN_NAME:
    case TOKEN_LABEL:
    case TOKEN_INT:
    case TOKEN_FLOAT:
    case TOKEN_TEXT:
    case TOKEN_OPEN:
    case TOKEN_OPEN_LIST:
    case TOKEN_MINUS:
    case TOKEN_NOT:
    case TOKEN_NONE:
    case TOKEN_TRUE:
    case TOKEN_FALSE:
    case TOKEN_HOLE:
        return true;
    default:
        return false;
    }
}

// ... or ...name
static Expr *parse_ellipsis(Parser *p) {
    Expr *e = expr_new(p, EXPR_ELLIPSIS, p->token.loc);
    parser_advance(p);
    if (p->token.kind == TOKEN_NAME) {
        e->as.text = p->token.text;
        parser_advance(p);
    }
    return e;
}

// _, ..., or an expression.
static Expr *parse_argument(Parser *p) {
    if (p->token.kind == TOKEN_HOLE) {
        Expr *e = expr_new(p, EXPR_HOLE, p->token.loc);
        parser_advance(p);
        return e;
    }
    return p->token.kind == TOKEN_ELLIPSIS ? parse_ellipsis(p) : parse_expr(p);
}

// Arguments or elements up to close, which is consumed. The opening bracket is the current token.
bool parse_args(Parser *p, Args *out, TokenKind close) {
    const Loc open = p->token.loc;
    if (!parser_enter(p))
        return false;
    parser_advance(p);
    while (!p->panic && p->token.kind != close) {
        const Loc loc = p->token.loc;
        const char *name = NULL;
        // A name is an argument's only before `=`, so the token behind it decides.
        if (p->token.kind == TOKEN_NAME && p->next.kind == TOKEN_ASSIGN) {
            name = p->token.text;
            parser_advance(p);
            parser_advance(p);
        }
        Expr *value = parse_argument(p);
        if (p->panic)
            break;
        args_add(p, out, name, loc, value);
        // A comma may stand behind the last element.
        if (p->token.kind != close &&
            !parser_expect(p, TOKEN_COMMA, close == TOKEN_CLOSE ? "`,` or `)`" : "`,` or `]`"))
            diag_note(p->diag, open, "to match this");
    }
    p->depth--;
    if (p->panic)
        return false;
    parser_advance(p);
    return true;
}

// layer{i}.0 as pieces.
static Label *label_parts(Parser *p, const char *text, Loc loc) {
    Label *label = arena_new(p->arena, Label);
    label->loc = loc;
    // At each dot and each brace a piece ends.
    int most = 1;
    for (const char *c = text; *c; c++)
        most += *c == '.' || *c == '{' || *c == '}';
    label->part = arena_array(p->arena, LabelPart, most);
    for (bool joined = false; *text;) {
        LabelPart *part = &label->part[label->count++];
        part->is_value = text[0] == '{';
        part->joined = joined;
        // The lexer has seen that the braces of {name} close around a name.
        const char *from = text + part->is_value;
        const size_t length = strcspn(from, part->is_value ? "}" : ".{");
        part->text = intern_span(p->names, from, length);
        text = from + length + part->is_value;
        joined = *text != '.';
        text += !joined;
    }
    return label;
}

static Expr *parse_name(Parser *p) {
    Expr *e = expr_new(p, EXPR_NAME, p->token.loc);
    e->as.text = p->token.text;
    parser_advance(p);
    return e;
}

// .name behind an expression.
static Expr *parse_field(Parser *p, Expr *left) {
    parser_advance(p);
    Expr *e = expr_new(p, EXPR_FIELD, p->token.loc);
    e->left = left;
    if (p->token.kind != TOKEN_NAME) {
        parser_fail(p, "a name after `.`");
        return e;
    }
    e->as.text = p->token.text;
    parser_advance(p);
    return e;
}

// label: path(args)
static Expr *parse_labelled(Parser *p) {
    Label *label = label_parts(p, p->token.text, p->token.loc);
    parser_advance(p);
    if (p->token.kind != TOKEN_NAME) {
        diag_error(p->diag, label->loc, CODE_LABEL, "a label must stand before a call");
        diag_help(p->diag, "write it as name: f(x)");
        p->panic = true;
        return expr_new(p, EXPR_NONE, label->loc);
    }
    // A label may stand before a name and its fields: attn: nn.attention(x).
    Expr *callee = parse_name(p);
    int fields = 0;
    while (!p->panic && p->token.kind == TOKEN_DOT && fields++ < PARSE_DEPTH_MAX)
        callee = parse_field(p, callee);
    Expr *e = expr_new(p, EXPR_CALL, callee->loc);
    e->left = callee;
    e->as.label = label;
    if (!p->panic && p->token.kind != TOKEN_OPEN) {
        diag_error(p->diag, label->loc, CODE_LABEL,
                   "a label must stand before a call, found %s behind it",
                   token_describe(p->arena, &p->token));
        diag_help(p->diag, "write it as name: f(x)");
        p->panic = true;
    }
    if (!p->panic)
        parse_args(p, &e->args, TOKEN_CLOSE);
    return e;
}

// [a, b], (a, b), (a).
static Expr *parse_bracketed(Parser *p) {
    const bool is_list = p->token.kind == TOKEN_OPEN_LIST;
    Expr *e = expr_new(p, is_list ? EXPR_LIST : EXPR_TUPLE, p->token.loc);
    if (!parse_args(p, &e->args, is_list ? TOKEN_CLOSE_LIST : TOKEN_CLOSE))
        return e;
    // The grammar of arguments has names in it; elements have none.
    for (int i = 0; i < e->args.count; i++)
        if (e->args.at[i].name) {
            diag_error(p->diag, e->args.at[i].loc, CODE_SYNTAX, "`%s =` stands outside of a call",
                       e->args.at[i].name);
            p->panic = true;
            return e;
        }
    // There is no empty tuple, but [] is a list of nothing.
    if (!is_list && e->args.count == 0) {
        diag_error(p->diag, e->loc, CODE_SYNTAX, "expected an expression between ( and )");
        p->panic = true;
    }
    // (x) is x.
    return !is_list && e->args.count == 1 ? e->args.at[0].value : e;
}

static Expr *parse_atom(Parser *p) {
    const Token t = p->token;
    ExprKind kind = EXPR_NONE;
    switch ((int)t.kind) {
    case TOKEN_NAME:
        return parse_name(p);
    case TOKEN_LABEL:
        return parse_labelled(p);
    case TOKEN_OPEN:
    case TOKEN_OPEN_LIST:
        return parse_bracketed(p);
    case TOKEN_INT:
        kind = EXPR_INT;
        break;
    case TOKEN_FLOAT:
        kind = EXPR_FLOAT;
        break;
    case TOKEN_TEXT:
        kind = EXPR_TEXT;
        break;
    case TOKEN_TRUE:
    case TOKEN_FALSE:
        kind = EXPR_BOOL;
        break;
    case TOKEN_NONE:
        break;
    case TOKEN_HOLE:
        // parse_argument has taken the holes of calls.
        parser_fail(p, "an expression (`_` opens an argument of a labelled call)");
        return expr_new(p, EXPR_NONE, t.loc);
    default:
        parser_fail(p, "an expression");
        return expr_new(p, EXPR_NONE, t.loc);
    }
    Expr *e = expr_new(p, kind, t.loc);
    if (kind == EXPR_INT)
        e->as.whole = t.whole;
    else if (kind == EXPR_FLOAT)
        e->as.real = t.real;
    else if (kind == EXPR_TEXT)
        e->as.text = t.text;
    else if (kind == EXPR_BOOL)
        e->as.truth = t.kind == TOKEN_TRUE;
    parser_advance(p);
    return e;
}

// Calls, indices and fields behind an atom. The chain becomes a left-deep tree, so its length is
// limited.
//
//     f(x)[0].shape  =>  FIELD(INDEX(CALL(f, x), 0), shape)
static Expr *parse_postfix(Parser *p) {
    Expr *e = parse_atom(p);
    for (int length = 0; !p->panic; length++) {
        const TokenKind kind = p->token.kind;
        if (kind != TOKEN_OPEN && kind != TOKEN_OPEN_LIST && kind != TOKEN_DOT)
            break;
        // The elaborator recurses along this chain, other than along binary operators.
        if (length >= PARSE_DEPTH_MAX) {
            diag_error(p->diag, p->token.loc, CODE_DEPTH, "more than %d calls in a row",
                       PARSE_DEPTH_MAX);
            p->panic = true;
            break;
        }
        if (kind == TOKEN_DOT) {
            e = parse_field(p, e);
            continue;
        }
        Expr *outer = expr_new(p, kind == TOKEN_OPEN ? EXPR_CALL : EXPR_INDEX, e->loc);
        outer->left = e;
        parse_args(p, &outer->args, kind == TOKEN_OPEN ? TOKEN_CLOSE : TOKEN_CLOSE_LIST);
        e = outer;
    }
    return e;
}

// Binds tighter than every binary operator: `not a == b` is (not a) == b.
static Expr *parse_unary(Parser *p) {
    // A run of - or not recurses, so each counts as a level.
    const TokenKind kind = p->token.kind;
    if (kind != TOKEN_MINUS && kind != TOKEN_NOT)
        return parse_postfix(p);
    Expr *e = expr_new(p, kind == TOKEN_NOT ? EXPR_NOT : EXPR_NEGATE, p->token.loc);
    if (!parser_enter(p))
        return e;
    parser_advance(p);
    e->left = parse_unary(p);
    p->depth--;
    return e;
}

// Precedence, loosest first: or; and; comparison; + -; * / @. 0: not a binary operator.
static int precedence(TokenKind kind, BinaryOp *op) {
    static const struct {
        TokenKind kind;
        BinaryOp op;
        int level;
    } table[] = {
        {TOKEN_OR, BINARY_OR, 1},     {TOKEN_AND, BINARY_AND, 2},  {TOKEN_EQ, BINARY_EQ, 3},
        {TOKEN_NE, BINARY_NE, 3},     {TOKEN_LT, BINARY_LT, 3},    {TOKEN_LE, BINARY_LE, 3},
        {TOKEN_GT, BINARY_GT, 3},     {TOKEN_GE, BINARY_GE, 3},    {TOKEN_PLUS, BINARY_ADD, 4},
        {TOKEN_MINUS, BINARY_SUB, 4}, {TOKEN_STAR, BINARY_MUL, 5}, {TOKEN_SLASH, BINARY_DIV, 5},
        {TOKEN_AT, BINARY_MATMUL, 5},
    };
    // Thirteen rows, and most tokens behind an expression are in none of them.
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++)
        if (table[i].kind == kind) {
            *op = table[i].op;
            return table[i].level;
        }
    return 0;
}

// Operators of at least the given level. Recurses at most once a level.
static Expr *parse_binary(Parser *p, int level) {
    enum { TIGHTEST = 5 };
    if (level > TIGHTEST)
        return parse_unary(p);
    Expr *left = parse_binary(p, level + 1);
    // Any value: precedence sets it before the loop reads it.
    BinaryOp op = BINARY_OR;
    while (!p->panic && precedence(p->token.kind, &op) == level) {
        Expr *e = expr_new(p, EXPR_BINARY, p->token.loc);
        e->op = op;
        parser_advance(p);
        e->left = left;
        // One level tighter on the right: operators of equal level group to the left.
        e->right = parse_binary(p, level + 1);
        left = e;
    }
    return left;
}

// or | or .. or | or .. | .. or | ..
Expr *parse_expr(Parser *p) {
    Expr *left = NULL;
    const Loc start = p->token.loc;
    // A range may begin with `..`: x[.. 4].
    if (p->token.kind != TOKEN_RANGE)
        left = parse_binary(p, 1);
    if (p->panic || p->token.kind != TOKEN_RANGE)
        return left ? left : expr_new(p, EXPR_NONE, start);
    Expr *e = expr_new(p, EXPR_RANGE, start);
    e->left = left;
    parser_advance(p);
    // In `x[1 ..]` and `1 .., 2` the range stays open.
    if (starts_expr(p->token.kind))
        e->right = parse_binary(p, 1);
    return e;
}

Expr *parse_exprs(Parser *p) {
    // Without a comma the expression itself: there are no tuples of one.
    Expr *first = parse_expr(p);
    if (p->panic || p->token.kind != TOKEN_COMMA)
        return first;
    Expr *e = expr_new(p, EXPR_TUPLE, first->loc);
    args_add(p, &e->args, NULL, first->loc, first);
    // Every comma wants another expression; a tuple without brackets does not end in one.
    while (!p->panic && parser_accept(p, TOKEN_COMMA)) {
        Expr *value = parse_expr(p);
        args_add(p, &e->args, NULL, value->loc, value);
    }
    return e;
}

// f32 | f32[b, s] | [b, s]
TypeExpr *parse_type(Parser *p) {
    TypeExpr *type = arena_new(p->arena, TypeExpr);
    type->loc = p->token.loc;
    // An element type is a name to the lexer.
    if (p->token.kind == TOKEN_NAME && dtype_find(p->token.text, &type->dtype)) {
        type->has_dtype = true;
        parser_advance(p);
    }
    if (p->token.kind == TOKEN_OPEN_LIST) {
        type->has_shape = true;
        parse_args(p, &type->dims, TOKEN_CLOSE_LIST);
        for (int i = 0; i < type->dims.count && !p->panic; i++)
            if (type->dims.at[i].name) {
                diag_error(p->diag, type->dims.at[i].loc, CODE_SYNTAX,
                           "a shape holds sizes, not `%s =`", type->dims.at[i].name);
                p->panic = true;
            }
    } else if (!type->has_dtype) {
        // A name is taken for a misspelled element type.
        if (p->token.kind == TOKEN_NAME) {
            static const char *const known[] = {"f32", "bf16", "i32", "bool"};
            const char *near = diag_nearest(p->token.text, known, 4);
            diag_error(p->diag, p->token.loc, CODE_DTYPE, "%s is not an element type",
                       p->token.text);
            // The text without %s leaves the argument unread.
            diag_help(p->diag,
                      near ? "did you mean %s?" : "element types are f32, bf16, i32 and bool",
                      near);
            p->panic = true;
        } else {
            parser_fail(p, "a type: f32, i32[b, s], [b, s]");
        }
    }
    return type;
}
