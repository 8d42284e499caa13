// From text to Module through frontend_module: command line options, limits at and one past their
// value, globs, and that the same text gives the same module.
#include "frontend/elaborate.h"

#include <criterion/criterion.h>

#include <string.h>

typedef struct {
    Arena *a;
    Diag *d;
    Module *m;
} Made;

static Made make(FrontendInput in, const char *text) {
    Made out = {.a = arena_create()};
    out.d = diag_create(out.a);
    in.file = "t.plim";
    in.text = arena_text(out.a, text);
    in.bytes = strlen(text);
    in.library_only = true;
    FrontendFiles files = {0};
    out.m = frontend_module(out.a, out.d, &in, &files);
    return out;
}

static int first_code(const Made *made) {
    return diag_item_count(made->d) > 0 ? diag_item(made->d, 0)->code : 0;
}

static void expect_code(const char *text, int code) {
    const Made made = make((FrontendInput){0}, text);
    cr_assert_eq(first_code(&made), code, "P%04d, not P%04d: %s", first_code(&made), code, text);
    cr_assert_eq(made.m == NULL, code != 0);
    if (made.m)
        cr_assert(module_verify(made.m, made.d));
    arena_release(made.a);
}

static int64_t size_of(const Made *made, const char *name) {
    for (int i = 0; i < made->m->size_count; i++)
        if (strcmp(made->m->size[i].name, name) == 0)
            return made->m->size[i].value;
    return -1;
}

static const char sizes[] = "model m(a = 2 as \"n_a\", b = a * 3, c = 5) {\n"
                            "  config big { a = 4; c = b }\n"
                            "  entry e(x: f32[a]) { return x }\n"
                            "  entry f(x: f32[b]) for s in (1, a, c) { return x[0 .. s] }\n}";

Test(elaborate, sizes_come_from_the_text) {
    const Made made = make((FrontendInput){0}, sizes);
    cr_assert_not_null(made.m);
    cr_assert_eq(size_of(&made, "a"), 2);
    cr_assert_eq(size_of(&made, "b"), 6);
    cr_assert_str_eq(made.m->size[0].key, "n_a");
    arena_release(made.a);
}

Test(elaborate, the_command_line_beats_config_beats_text) {
    SizeOverride size[] = {{.name = "a", .value = "3"}};
    FrontendInput in = {.config = "big", .size = size, .size_count = 1};
    const Made made = make(in, sizes);
    cr_assert_not_null(made.m);
    cr_assert(size[0].used);
    cr_assert_eq(size_of(&made, "a"), 3);
    cr_assert_eq(size_of(&made, "b"), 9);
    cr_assert_eq(size_of(&made, "c"), 9);
    arena_release(made.a);
}

Test(elaborate, wrong_options_are_errors) {
    SizeOverride unknown[] = {{.name = "aa", .value = "3"}};
    Made made = make((FrontendInput){.size = unknown, .size_count = 1}, sizes);
    cr_assert_eq(first_code(&made), CODE_SIZE);
    cr_assert(!unknown[0].used);
    cr_assert_str_eq(diag_item(made.d, 0)->help, "did you mean a?");
    arena_release(made.a);
    SizeOverride word[] = {{.name = "a", .value = "many"}};
    made = make((FrontendInput){.size = word, .size_count = 1}, sizes);
    cr_assert_eq(first_code(&made), CODE_SIZE);
    arena_release(made.a);
    made = make((FrontendInput){.config = "bigg"}, sizes);
    cr_assert_eq(first_code(&made), CODE_CONFIG);
    arena_release(made.a);
    made = make((FrontendInput){.model = "n"}, sizes);
    cr_assert_eq(first_code(&made), CODE_MODEL);
    arena_release(made.a);
    const char *const entry[] = {"g"};
    made = make((FrontendInput){.entry = entry, .entry_count = 1}, sizes);
    cr_assert_eq(first_code(&made), CODE_ENTRY);
    arena_release(made.a);
}

Test(elaborate, init_comes_first_and_variants_are_entries) {
    const Made made = make((FrontendInput){0}, sizes);
    static const char *const want[] = {"init", "e", "f_1", "f_2", "f_5"};
    cr_assert_eq(made.m->entry_count, 5);
    for (int i = 0; i < 5; i++)
        cr_assert_str_eq(made.m->entry[i]->name, want[i]);
    arena_release(made.a);
}

Test(elaborate, entries_can_be_chosen) {
    const char *const entry[] = {"e"};
    const Made made = make((FrontendInput){.entry = entry, .entry_count = 1}, sizes);
    cr_assert_eq(made.m->entry_count, 2);
    arena_release(made.a);
}

Test(elaborate, limits_hold_exactly) {
    expect_code("model m() { entry e(x: f32[1, 1, 1, 1, 1, 1, 1, 1]) { return x } }", 0);
    expect_code("model m() { entry e(x: f32[1, 1, 1, 1, 1, 1, 1, 1, 1]) { return x } }", CODE_RANK);
    expect_code("model m() { entry e(x: f32[1099511627776]) { return x } }", 0);
    expect_code("model m() { entry e(x: f32[1099511627777]) { return x } }", CODE_DIM);
    expect_code("model m() { entry e(x: f32[0]) { return x } }", CODE_DIM);
    expect_code("model m() { entry e(x: f32[1099511627776, 1048575]) { return x } }", 0);
    expect_code("model m() { entry e(x: f32[1099511627776, 1048576]) { return x } }",
                CODE_OVERFLOW);
    expect_code("model m(n = 9223372036854775807) { entry e(x: f32[2]) { return x * (n + 1) } }",
                CODE_OVERFLOW);
    expect_code("model m() { entry e(x: f32[2]) { for i in 0 .. 1000000 { }\n return x } }", 0);
    expect_code("model m() { entry e(x: f32[2]) { for i in 0 .. 1000001 { }\n return x } }",
                CODE_WORK);
}

Test(elaborate, operators_are_counted) {
    expect_code("model m() { entry e(x: f32[2]) {\n"
                "  for i in 0 .. 1000 { for j in 0 .. 1001 { x = -x } }\n  return x\n} }",
                CODE_OPERATORS);
}

Test(elaborate, calls_nest_to_a_limit) {
    Arena *a = arena_create();
    const char *text = "fn f0(x) { return x }\n";
    for (int i = 1; i < 300; i++)
        text = arena_format(a, "%sfn f%d(x) { return f%d(x) }\n", text, i, i - 1);
    expect_code(arena_format(a, "%smodel m() { entry e(x: f32[2]) { return f200(x) } }", text), 0);
    expect_code(arena_format(a, "%smodel m() { entry e(x: f32[2]) { return f299(x) } }", text), 0);
    for (int i = 300; i < 600; i++)
        text = arena_format(a, "%sfn f%d(x) { return f%d(x) }\n", text, i, i - 1);
    expect_code(arena_format(a, "%smodel m() { entry e(x: f32[2]) { return f599(x) } }", text),
                CODE_DEPTH);
    arena_release(a);
}

static bool matches(const char *glob, const char *path) {
    Arena *a = arena_create();
    Diag *d = diag_create(a);
    const Glob *g = glob_parse(a, d, (Loc){0}, glob);
    cr_assert_not_null(g, "%s", glob);
    const bool out = glob_match(g, path);
    arena_release(a);
    return out;
}

Test(elaborate, globs) {
    cr_assert(matches("**.bias", "h.0.attn.c_attn.bias"));
    cr_assert(matches("**.bias", "bias"));
    cr_assert(!matches("**.bias", "h.0.bias_scale"));
    cr_assert(matches("h.*.ln_*.weight", "h.11.ln_2.weight"));
    cr_assert(!matches("h.*.weight", "h.11.ln_2.weight"));
    cr_assert(matches("h.**", "h.1"));
    cr_assert(matches("net.**", "net"));
    cr_assert(!matches("net.**", "nets.a"));
    cr_assert(matches("a.{q,v}_proj", "a.v_proj"));
    cr_assert(!matches("a.{q,v}_proj", "a.k_proj"));
    cr_assert(matches("{a,b}.{c,d}", "b.c"));
    cr_assert(matches("*a*b*", "xaybz"));
    cr_assert(!matches("*a*b*", "xbya"));
    // No glob takes long.
    cr_assert(!matches("**.**.**.**.**.**.**.**.x", "a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a.a"));
    cr_assert(
        !matches("*a*a*a*a*a*a*a*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"));
}

Test(elaborate, bad_globs) {
    static const char *const bad[] = {"", "{a", "a}", "{a,{b}}",
                                      "{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}{a,b}"};
    Arena *a = arena_create();
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++)
        cr_assert_null(glob_parse(a, diag_create(a), (Loc){0}, bad[i]), "%s", bad[i]);
    arena_release(a);
}

Test(elaborate, the_same_text_gives_the_same_module) {
    const char *text = "use nn\nmodel m(n = 3) {\n"
                       "  entry train(x: f32[2, 4] from data) {\n"
                       "    for i in 0 .. n { x = h.{i}: nn.mlp(x, 8) }\n"
                       "    minimize mean(x) { optimizer = adamw(1e-3) }\n  }\n}";
    const Made first = make((FrontendInput){0}, text), second = make((FrontendInput){0}, text);
    cr_assert_not_null(first.m);
    cr_assert_str_eq(module_text(first.m, first.a, GRAPH_PRINT_LOCS),
                     module_text(second.m, second.a, GRAPH_PRINT_LOCS));
    arena_release(first.a);
    arena_release(second.a);
}

Test(elaborate, keys_are_stable) {
    // Initial weights depend on it: a change of the hash changes every model's start.
    cr_assert_eq(elab_key("h.0.attn.c_attn.weight", 0), 3846374128971032846);
    cr_assert_neq(elab_key("a", 0), elab_key("a", 1));
}
