// Tokens of the model language: kinds, places, numbers, labels, newlines, limits of texts.
#include "frontend/lexer.h"

#include <criterion/criterion.h>

#include <string.h>

typedef struct {
    Arena *a;
    Diag *d;
    Source source;
    Lexer lx;
} Fixture;

static Fixture start(const char *text, size_t bytes) {
    Fixture f = {.a = arena_create()};
    f.d = diag_create(f.a);
    f.source = (Source){.file = "t", .text = arena_text_span(f.a, text, bytes), .bytes = bytes};
    return f;
}

// The kinds of all tokens, without the end.
static int read_kinds(const char *text, TokenKind *out, int limit, int *errors) {
    Fixture f = start(text, strlen(text));
    lexer_start(&f.lx, f.a, f.d, intern_create(f.a), &f.source);
    int count = 0;
    for (Token t = lexer_read(&f.lx); t.kind != TOKEN_END && count < limit; t = lexer_read(&f.lx))
        out[count++] = t.kind;
    if (errors)
        *errors = diag_error_count(f.d);
    arena_release(f.a);
    return count;
}

static void expect_kinds(const char *text, const TokenKind *want, int count) {
    TokenKind got[64];
    int errors;
    cr_assert_eq(read_kinds(text, got, 64, &errors), count, "number of tokens of %s", text);
    cr_assert_eq(errors, 0);
    for (int i = 0; i < count; i++)
        cr_assert_eq(got[i], want[i], "token %d of %s", i, text);
}

#define EXPECT(text, ...)                                                                          \
    expect_kinds(text, (TokenKind[]){__VA_ARGS__},                                                 \
                 (int)(sizeof((TokenKind[]){__VA_ARGS__}) / sizeof(TokenKind)))

Test(lexer, numbers_never_end_in_a_dot) {
    EXPECT("0..n", TOKEN_INT, TOKEN_RANGE, TOKEN_NAME);
    EXPECT("0.5", TOKEN_FLOAT);
    EXPECT("1e-5 2E3", TOKEN_FLOAT, TOKEN_FLOAT);
    EXPECT("x.0", TOKEN_NAME, TOKEN_DOT, TOKEN_INT);
}

Test(lexer, labels_are_one_token) {
    EXPECT("h.{i}.0.attn: f", TOKEN_LABEL, TOKEN_NAME);
    EXPECT("x: [b]", TOKEN_LABEL, TOKEN_OPEN_LIST, TOKEN_NAME, TOKEN_CLOSE_LIST);
    EXPECT("nn.linear(x)", TOKEN_NAME, TOKEN_DOT, TOKEN_NAME, TOKEN_OPEN, TOKEN_NAME, TOKEN_CLOSE);
}

Test(lexer, newlines_count_outside_of_brackets) {
    EXPECT("a\n\n;\nb", TOKEN_NAME, TOKEN_NEWLINE, TOKEN_NAME);
    EXPECT("f(a,\n b)", TOKEN_NAME, TOKEN_OPEN, TOKEN_NAME, TOKEN_COMMA, TOKEN_NAME, TOKEN_CLOSE);
    EXPECT("[a\n]", TOKEN_OPEN_LIST, TOKEN_NAME, TOKEN_CLOSE_LIST);
    EXPECT("a # comment ; \"\nb", TOKEN_NAME, TOKEN_NEWLINE, TOKEN_NAME);
}

Test(lexer, operators) {
    EXPECT("<- <= < >= > == = != ... .. . ~ @", TOKEN_STORE, TOKEN_LE, TOKEN_LT, TOKEN_GE, TOKEN_GT,
           TOKEN_EQ, TOKEN_ASSIGN, TOKEN_NE, TOKEN_ELLIPSIS, TOKEN_RANGE, TOKEN_DOT, TOKEN_TILDE,
           TOKEN_AT);
    EXPECT("_ _x", TOKEN_HOLE, TOKEN_NAME);
}

Test(lexer, reserved_words_and_others) {
    EXPECT("use fn model entry", TOKEN_USE, TOKEN_FN, TOKEN_MODEL, TOKEN_ENTRY);
    EXPECT("config place at as from", TOKEN_NAME, TOKEN_NAME, TOKEN_NAME, TOKEN_NAME, TOKEN_NAME);
}

Test(lexer, places_count_bytes_from_one) {
    Fixture f = start("a\n  \"x\\\"y\"", 10);
    lexer_start(&f.lx, f.a, f.d, intern_create(f.a), &f.source);
    Token t = lexer_read(&f.lx);
    cr_assert_eq(t.loc.line, 1);
    cr_assert_eq(t.loc.column, 1);
    lexer_read(&f.lx);
    t = lexer_read(&f.lx);
    cr_assert_eq(t.kind, TOKEN_TEXT);
    cr_assert_eq(t.loc.line, 2);
    cr_assert_eq(t.loc.column, 3);
    cr_assert_str_eq(t.text, "x\"y");
    arena_release(f.a);
}

Test(lexer, whole_numbers_have_64_bits) {
    TokenKind kinds[4];
    int errors;
    cr_assert_eq(read_kinds("9223372036854775807", kinds, 4, &errors), 1);
    cr_assert_eq(errors, 0);
    read_kinds("9223372036854775808", kinds, 4, &errors);
    cr_assert_eq(errors, 1);
    read_kinds("1e999", kinds, 4, &errors);
    cr_assert_eq(errors, 1);
}

Test(lexer, any_byte_ends) {
    // Each byte alone, and after a letter and a digit.
    for (int byte = 0; byte < 256; byte++) {
        const char text[] = {'a', (char)byte, '1', (char)byte, 0};
        Fixture f = start(text, 4);
        lexer_start(&f.lx, f.a, f.d, intern_create(f.a), &f.source);
        int tokens = 0;
        while (lexer_read(&f.lx).kind != TOKEN_END)
            cr_assert_lt(++tokens, 10);
        arena_release(f.a);
    }
}
