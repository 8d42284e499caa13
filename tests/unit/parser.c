// Trees of the model language: precedence, statements, recovery, and the depth limit exactly.
#include "frontend/parser.h"

#include <criterion/criterion.h>

#include <string.h>

typedef struct {
    Arena *a;
    Diag *d;
    FileDecl *file;
} Parsed;

static Parsed parse(const char *text) {
    Parsed p = {.a = arena_create()};
    p.d = diag_create(p.a);
    Source *source = arena_new(p.a, Source);
    *source = (Source){.file = "t", .text = arena_text(p.a, text), .bytes = strlen(text)};
    p.file = parser_file(p.a, p.d, intern_create(p.a), source);
    return p;
}

static const char *operator_text(BinaryOp op) {
    static const char *const text[] = {"or", "and", "==", "!=", "<", "<=", ">",
                                       ">=", "+",   "-",  "*",  "/", "@"};
    return text[op];
}

// The tree with all its brackets: (+ a (* b c)).
static const char *shape(Arena *a, const Expr *e) {
    if (!e)
        return "";
    switch ((int)e->kind) {
    case EXPR_NAME:
        return e->as.text;
    case EXPR_INT:
        return arena_format(a, "%lld", (long long)e->as.whole);
    case EXPR_BINARY:
        return arena_format(a, "(%s %s %s)", operator_text(e->op), shape(a, e->left),
                            shape(a, e->right));
    case EXPR_NEGATE:
        return arena_format(a, "(- %s)", shape(a, e->left));
    case EXPR_NOT:
        return arena_format(a, "(not %s)", shape(a, e->left));
    case EXPR_RANGE:
        return arena_format(a, "(.. %s %s)", shape(a, e->left), shape(a, e->right));
    case EXPR_FIELD:
        return arena_format(a, "(. %s %s)", shape(a, e->left), e->as.text);
    default: {
        const char *out = e->kind == EXPR_CALL    ? "(call "
                          : e->kind == EXPR_INDEX ? "(index "
                                                  : "(items";
        out = arena_format(a, "%s%s", out, shape(a, e->left));
        for (int i = 0; i < e->args.count; i++)
            out = arena_format(a, "%s %s", out, shape(a, e->args.at[i].value));
        return arena_format(a, "%s)", out);
    }
    }
}

static void expect_shape(const char *expr, const char *want) {
    Arena *a = arena_create();
    const Parsed p = parse(arena_format(a, "fn f() { return %s }", expr));
    cr_assert_eq(diag_error_count(p.d), 0, "%s", expr);
    cr_assert_str_eq(shape(a, p.file->fn[0]->body.at[0]->value), want);
    arena_release(p.a);
    arena_release(a);
}

static void expect_errors(const char *text, int count) {
    const Parsed p = parse(text);
    cr_assert_eq(diag_error_count(p.d), count, "%d errors, not %d, in: %s", diag_error_count(p.d),
                 count, text);
    arena_release(p.a);
}

Test(parser, precedence) {
    expect_shape("a + b * c", "(+ a (* b c))");
    expect_shape("a - b - c", "(- (- a b) c)");
    expect_shape("-a * b", "(* (- a) b)");
    expect_shape("a or b and not c == d", "(or a (and b (== (not c) d)))");
    expect_shape("a @ b / c", "(/ (@ a b) c)");
    expect_shape("x[a .. a + 1]", "(index x (.. a (+ a 1)))");
    expect_shape("x[.., 1 ..]", "(index x (..  ) (.. 1 ))");
    expect_shape("n.f(x)(y)[0]", "(index (call (call (. n f) x) y) 0)");
    expect_shape("(a, b)", "(items a b)");
    expect_shape("(a)", "a");
    expect_shape("[a, b,]", "(items a b)");
}

Test(parser, statements_of_every_kind) {
    const Parsed p =
        parse("use nn\nuse \"a/b.plim\" as c\n"
              "fn f(x: [...b, n], y = 2) {\n"
              "  if y == 2 { x = x } else if y == 3 { x = -x }\n  else { y = 1 }\n"
              "  for i in 0 .. 3 { x = h.{i}: g(x) }\n"
              "  s = state f32[n] transient ~ zeros as \"s.{n}\"; s[0 .. 1] <- x\n"
              "  emit loss = x\n"
              "  return x, y\n}\n"
              "model m(a = 1 as \"n_a\", b = 2) {\n"
              "  config big { a = 2; b = 3 }\n"
              "  config \"1b\" { a = 4 }\n"
              "  tokenizer \"bytes\"\n"
              "  at \"**.w\", \"*\" { decay = 0 }\n"
              "  D: f(_)\n"
              "  entry e(t: i32[a] from data, lr: f32 = 0.1) for s in (1, 2) {\n"
              "    minimize D(t) { optimizer = sgd(lr); at \"*\" { decay = 1 } }\n  }\n}\n"
              "place m on (tp = 2) { a: tp; layers: stages(pp, n = 2) in \"**\" }\n");
    for (int i = 0; i < diag_item_count(p.d); i++)
        cr_log_error("%s", diag_item(p.d, i)->message);
    cr_assert_eq(diag_error_count(p.d), 0);
    cr_assert_eq(p.file->use_count, 2);
    cr_assert_eq(p.file->fn_count, 1);
    cr_assert_eq(p.file->fn[0]->body.count, 6);
    cr_assert_eq(p.file->model_count, 1);
    cr_assert_eq(p.file->model[0]->body.count, 6);
    arena_release(p.a);
}

Test(parser, one_error_for_each_wrong_statement) {
    expect_errors("fn f(x) {\n a = \n b = )\n c = x\n d = 3 3\n}", 3);
    expect_errors("fn f(x) {\n if x { a = * }\n b = /\n}", 2);
    expect_errors("fn f(x) { return ( }\nfn g(x) { return * }", 2);
    expect_errors("model m(", 1);
    expect_errors("}", 1);
}

static char *nested(Arena *a, int depth) {
    char *text = arena_alloc(a, (size_t)depth * 2 + 32, 1);
    strcpy(text, "fn f(x) { return ");
    for (int i = 0; i < depth; i++)
        strcat(text, "(");
    strcat(text, "x");
    for (int i = 0; i < depth; i++)
        strcat(text, ")");
    strcat(text, " }");
    return text;
}

Test(parser, depth_limit_exactly) {
    Arena *a = arena_create();
    // The function's body is the first level.
    expect_errors(nested(a, PARSE_DEPTH_MAX - 1), 0);
    const Parsed p = parse(nested(a, PARSE_DEPTH_MAX));
    cr_assert_eq(diag_error_count(p.d), 1);
    cr_assert_eq(diag_item(p.d, 0)->code, 411);
    arena_release(p.a);
    arena_release(a);
}

Test(parser, long_chains_are_no_nesting) {
    Arena *a = arena_create();
    enum { TERMS = 20000 };
    char *text = arena_alloc(a, TERMS * 4 + 64, 1);
    char *at = text + sprintf(text, "fn f(x) { return x");
    for (int i = 0; i < TERMS; i++)
        at += sprintf(at, " + x");
    sprintf(at, " }");
    expect_errors(text, 0);
    arena_release(a);
}

Test(parser, twenty_errors_are_kept) {
    Arena *a = arena_create();
    const char *text = "fn f(x) {\n";
    for (int i = 0; i < 30; i++)
        text = arena_format(a, "%s a = *\n", text);
    const Parsed p = parse(arena_format(a, "%s}", text));
    int kept = 0;
    for (int i = 0; i < diag_item_count(p.d); i++)
        kept += diag_item(p.d, i)->level == DIAG_ERROR;
    cr_assert_eq(kept, DIAG_ERRORS_MAX);
    arena_release(p.a);
    arena_release(a);
}
