// The graph text: what prints reads back the same, and what is wrong is told at its place.
#include "ir/module.h"
#include "ir/op.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Prints diagnostics to where a failed test shows them.
static Module *parse(Arena *a, const char *text) {
    Diag *d = diag_create(a);
    diag_add_source(d, "t.graph", text, strlen(text));
    Module *m = module_parse(a, d, "t.graph", text, strlen(text));
    if (!m)
        diag_print(d, stderr, false);
    cr_assert_not_null(m);
    return m;
}

// The text is its own canonical form.
static void expect_same(const char *text, int flags) {
    Arena *a = arena_create();
    cr_assert_str_eq(module_text(parse(a, text), a, flags), text);
    arena_release(a);
}

// The text prints as something else, and that as itself.
static void expect_canonical(const char *text, const char *canonical) {
    Arena *a = arena_create();
    cr_assert_str_eq(module_text(parse(a, text), a, 0), canonical);
    arena_release(a);
    expect_same(canonical, 0);
}

static void expect_diagnostics(const char *text, const char *expected) {
    Arena *a = arena_create();
    Diag *d = diag_create(a);
    diag_add_source(d, "t", text, strlen(text));
    cr_assert_null(module_parse(a, d, "t", text, strlen(text)));
    char *printed;
    size_t bytes;
    FILE *out = open_memstream(&printed, &bytes);
    diag_print(d, out, false);
    fclose(out);
    cr_assert_str_eq(printed, expected);
    free(printed);
    arena_release(a);
}

Test(graph_text, everything_a_module_holds) {
    expect_same(
        "module @gpt2 {tokenizer = \"bytes\"}\n"
        "size @layers = 12 {key = \"n_layer\"}\n"
        "size @d = -3\n"
        "state @h.0.w: f32[4] {kind = \"param\", file = \"f \\\"w\\\"\", frozen = 1, decay = 0.0}\n"
        "state @m: bf16[1,2] {kind = \"optimizer\"}\n"
        "state @c: i32[] {kind = \"transient\", decay = 0.1}\n"
        "state @s: bool[1] {kind = \"saved\"}\n"
        "\n"
        "graph @f(%0: i32[2] from data \"text\" {bound = 256}, %label: i32[2] from data \"text\" "
        "{bound = -7}, %lr: f32[] from knob = 0.0006, "
        "%n: i32[] from step, %t: i32[] from steps, %seed: i32[] from seed, %x: f32[4]) -> "
        "(loss: f32[4], f32[4]) repeat 4 {\n"
        "  %w: f32[4] = state {name = \"h.0.w\"} scope \"h.0\"\n"
        "  %8: f32[4] = mul %w, %x\n"
        "  %y: f32[4] = accumulate %8 backward group 3\n"
        "  %a: f32[1], %11: f32[3] = split %8 {axis = 0, sizes = [1,3]} group 4294967295\n"
        "  %12: f32[] = reduce_sum %8 {axes = [0]}\n"
        "  minimize %12, %lr, %w {optimizer = \"sgd\", decay = [0.0]}\n"
        "  %13: f32[4] = sgd %w, %y, %lr {decay = 0.25} update\n"
        "  commit @h.0.w = %13\n"
        "  return %y, %8\n"
        "}\n"
        "\n"
        "graph @empty() {\n"
        "}\n",
        0);
}

Test(graph_text, places) {
    expect_same("state @w: f32[4] {kind = \"param\"} at \"m.plim\":3:5\n"
                "\n"
                "graph @f(%x: f32[4] at none) -> f32[4] {\n"
                "  %1: f32[4] = neg %x at \"m.plim\":12:3\n"
                "  %2: f32[4] = neg %1 scope \"a\" at none\n"
                "  return %2\n"
                "}\n",
                GRAPH_PRINT_LOCS);
}

Test(graph_text, spellings_become_canonical) {
    expect_canonical("# comment\n\n\r\n"
                     "graph @f( # the signature may spread\n"
                     "  %x : f32[ 4 ] from caller,\n"
                     "  %y: f32[4]\n"
                     ") -> (f32[4]) repeat 1 {\n"
                     "\n  %007:f32[4]=add %x,%y # sum\n"
                     "  return %007\n"
                     "} # the end",
                     "graph @f(%x: f32[4], %y: f32[4]) -> f32[4] {\n"
                     "  %2: f32[4] = add %x, %y\n"
                     "  return %2\n"
                     "}\n");
    expect_canonical("", "");
    expect_canonical("graph @f() -> () {\n}", "graph @f() {\n}\n");
}

static const char *constant_text(Arena *a, const char *value) {
    return arena_format(a,
                        "graph @f() {\n"
                        "  %%0: f32[2] = constant {value = %s, dtype = \"f32\", shape = [2]}\n"
                        "}\n",
                        value);
}

// Floats keep their bits and their kind.
Test(graph_text, numbers) {
    Arena *a = arena_create();
    static const char *const spelling[][2] = {
        {"1", "1.0"},
        {"-0.0", "-0.0"},
        {"0.1", "0.1"},
        {"0.30000000000000004", "0.30000000000000004"},
        {"1e20", "1e+20"},
        {"1E5", "100000.0"},
        {"4.9406564584124654e-324", "4.94065645841247e-324"},
        {"1.7976931348623157e308", "1.7976931348623157e+308"},
        {"inf", "inf"},
        {"-inf", "-inf"},
        {"nan", "nan"},
        {"9007199254740993.0", "9007199254740992.0"},
    };
    for (size_t i = 0; i < sizeof spelling / sizeof spelling[0]; i++) {
        expect_canonical(constant_text(a, spelling[i][0]), constant_text(a, spelling[i][1]));
    }
    arena_release(a);
    expect_same("size @a = 9223372036854775807\nsize @b = -9223372036854775808\n", 0);
    expect_diagnostics("size @a = 9223372036854775808\n",
                       "t:1:11: error[P0602]: the number is too large\n"
                       "size @a = 9223372036854775808\n"
                       "          ^\n");
    expect_diagnostics("size @a = 12x\n", "t:1:11: error[P0602]: this is no number\n"
                                          "size @a = 12x\n"
                                          "          ^\n");
}

// FileCheck reads [[ and {{ as its own; control characters are escaped.
Test(graph_text, texts) {
    expect_canonical("module @m {tokenizer = \"a[[b{{c\\x01\\t\\n\\\\\\\"\xc3\xa9\"}\n",
                     "module @m {tokenizer = \"a[\\x5bb{\\x7bc\\x01\\t\\n\\\\\\\"\xc3\xa9\"}\n");
}

Test(graph_text, independent_mistakes_are_all_told) {
    expect_diagnostics("graph @f(%x: f32[4], %y: f32[4]) -> f32[4] {\n"
                       "  %a: f32[4] = ngg %x\n"
                       "  %b: f32[4] = neg %a\n" // silent: %a is unknown
                       "  %c: f32[4] = neg %z\n"
                       "  %d: f32[4] = neg %x, %y\n"
                       "  %e: f32[5] = neg %x\n"
                       "  %f: f64[4] = neg %x\n"
                       "  %f1: f32[4] = neg %f\n"
                       "  %g: f32[2] = slice %x {start = [0], stp = [2]}\n"
                       "  %h: f32[2] = slice %x {start = 0, stop = [2]}\n"
                       "  %i: f32[2] = slice %x {start = [0]}\n"
                       "  %x: f32[4] = neg %x\n"
                       "  %j: f32[4] = neg %x frobnicate\n"
                       "  %k: f32[4] = neg %e $\n"
                       "  return %a, %x\n"
                       "  %l: f32[4] = neg %x\n"
                       "}\n",
                       "t:2:16: error[P0604]: no operator is called ngg\n"
                       "  %a: f32[4] = ngg %x\n"
                       "               ^\n"
                       "help: did you mean neg?\n"
                       "t:4:20: error[P0605]: no value %z is defined before this line\n"
                       "  %c: f32[4] = neg %z\n"
                       "                   ^\n"
                       "t:5:16: error[P0607]: neg takes 1 operand, got 2\n"
                       "  %d: f32[4] = neg %x, %y\n"
                       "               ^\n"
                       "t:6:16: error[P0609]: result 0 of neg is f32[4], not f32[5]\n"
                       "  %e: f32[5] = neg %x\n"
                       "               ^\n"
                       "t:7:7: error[P0610]: no element type is called f64\n"
                       "  %f: f64[4] = neg %x\n"
                       "      ^\n"
                       "help: there are f32, bf16, i32 and bool\n"
                       "t:9:39: error[P0608]: slice has no attribute stp\n"
                       "  %g: f32[2] = slice %x {start = [0], stp = [2]}\n"
                       "                                      ^\n"
                       "help: did you mean stop?\n"
                       "t:10:34: error[P0603]: expected '[', found '0'\n"
                       "  %h: f32[2] = slice %x {start = 0, stop = [2]}\n"
                       "                                 ^\n"
                       "t:11:16: error[P0608]: slice lacks the attribute stop\n"
                       "  %i: f32[2] = slice %x {start = [0]}\n"
                       "               ^\n"
                       "t:12:3: error[P0606]: two values are called %x\n"
                       "  %x: f32[4] = neg %x\n"
                       "  ^\n"
                       "note: t:1:10: the first one\n"
                       "graph @f(%x: f32[4], %y: f32[4]) -> f32[4] {\n"
                       "         ^\n"
                       "t:13:23: error[P0603]: expected the end of the line, found 'frobnicate'\n"
                       "  %j: f32[4] = neg %x frobnicate\n"
                       "                      ^\n"
                       "t:14:23: error[P0602]: unexpected character\n"
                       "  %k: f32[4] = neg %e $\n"
                       "                      ^\n"
                       "t:15:3: error[P0617]: the signature states 1 result, this returns 2\n"
                       "  return %a, %x\n"
                       "  ^\n"
                       "t:16:3: error[P0603]: expected '}' after return, found '%l'\n"
                       "  %l: f32[4] = neg %x\n"
                       "  ^\n");
}

Test(graph_text, mistakes_outside_graphs) {
    expect_diagnostics(
        "module @m\n"
        "modul @m\n"
        "module @n\n"
        "state @wte.weight: f32[4] {kind = \"param\"}\n"
        "state @wte.weight: f32[4] {kind = \"param\"}\n"
        "state @w: f32[4] {kind = \"weight\"}\n"
        "state @v: f32[1,1,1,1,1,1,1,1,1] {kind = \"param\"}\n"
        "state @u: f32[1099511627777] {kind = \"param\"}\n"
        "state @a..b: f32[] {kind = \"param\"}\n"
        "graph @f(%x f32[4]) {\n"
        "  %a: nonsense\n"
        "}\n"
        "graph @g(%x: f32[4]) -> f32[4] {\n"
        "  %w: f32[4] = state {name = \"wte.wieght\"}\n"
        "  commit @wte.bias = %x\n"
        "}\n"
        "graph @g() {\n",
        "t:2:1: error[P0603]: expected module, size, state or graph, found 'modul'\n"
        "modul @m\n"
        "^\n"
        "t:3:8: error[P0606]: there is one module line\n"
        "module @n\n"
        "       ^\n"
        "t:5:7: error[P0606]: two states are called @wte.weight\n"
        "state @wte.weight: f32[4] {kind = \"param\"}\n"
        "      ^\n"
        "note: t:4:7: the first one\n"
        "state @wte.weight: f32[4] {kind = \"param\"}\n"
        "      ^\n"
        "t:6:7: error[P0608]: no kind of state is called weight\n"
        "state @w: f32[4] {kind = \"weight\"}\n"
        "      ^\n"
        "help: there are param, saved, transient and optimizer\n"
        "t:7:31: error[P0610]: a type has at most 8 axes\n"
        "state @v: f32[1,1,1,1,1,1,1,1,1] {kind = \"param\"}\n"
        "                              ^\n"
        "t:8:15: error[P0610]: a size lies in 0..2^40\n"
        "state @u: f32[1099511627777] {kind = \"param\"}\n"
        "              ^\n"
        "t:9:7: error[P0615]: 'a..b' is no name for a state\n"
        "state @a..b: f32[] {kind = \"param\"}\n"
        "      ^\n"
        "t:10:13: error[P0603]: expected ':', found 'f32'\n"
        "graph @f(%x f32[4]) {\n"
        "            ^\n"
        "t:14:16: error[P0611]: no state is called @wte.wieght\n"
        "  %w: f32[4] = state {name = \"wte.wieght\"}\n"
        "               ^\n"
        "help: did you mean @wte.weight?\n"
        "t:15:10: error[P0611]: no state is called @wte.bias\n"
        "  commit @wte.bias = %x\n"
        "         ^\n"
        "t:16:1: error[P0617]: graph @g returns nothing, its signature states 1 result\n"
        "}\n"
        "^\n"
        "t:17:7: error[P0606]: two graphs are called @g\n"
        "graph @g() {\n"
        "      ^\n");
}

Test(graph_text, mistakes_of_the_verifier_stand_at_the_text) {
    expect_diagnostics("graph @f(%x: f32[4] from data \"d\") repeat 2 {\n"
                       "  %1: f32[4] = neg %x update at \"m.plim\":7:7\n"
                       "}\n",
                       "t:2:16: error[P0613]: neg runs once a step, but %x differs by micro-batch: "
                       "accumulate it first\n"
                       "  %1: f32[4] = neg %x update at \"m.plim\":7:7\n"
                       "               ^\n");
}

// Cutting a right text anywhere, or changing any of its bytes, is a mistake or another right text;
// never a crash.
Test(graph_text, broken_texts_are_survived) {
    static const char text[] =
        "state @w: f32[4] {kind = \"param\"}\n"
        "graph @f(%x: f32[4], %s: i32[] from step) -> (y: f32[4]) repeat 2 {\n"
        "  %w: f32[4] = state {name = \"w\"} at \"m\":1:1\n"
        "  %c: f32[4] = constant {value = 1.5, dtype = \"f32\", shape = [4]}\n"
        "  %y: f32[4] = add %x, %w scope \"h\" group 1\n"
        "  commit @w = %y\n"
        "  return %y\n"
        "}\n";
    static const char bytes[] = {'\0', '\n', '"', '{',  '}',    '[', '%',
                                 '@',  '-',  '9', '\\', '\xff', 'e'};
    char changed[sizeof text];
    int right = 0;
    for (size_t i = 0; i < sizeof text - 1; i++)
        for (size_t k = 0; k <= sizeof bytes; k++) {
            memcpy(changed, text, sizeof text);
            size_t length = sizeof text - 1;
            if (k < sizeof bytes)
                changed[i] = bytes[k];
            else
                length = i;
            Arena *a = arena_create();
            Diag *d = diag_create(a);
            Module *m = module_parse(a, d, "t", changed, length);
            cr_assert((m != NULL) == (diag_error_count(d) == 0));
            if (m) {
                const char *once = module_text(m, a, GRAPH_PRINT_LOCS);
                m = module_parse(a, d, "t", once, strlen(once));
                cr_assert_not_null(m);
                cr_assert_str_eq(module_text(m, a, GRAPH_PRINT_LOCS), once);
                right++;
            }
            arena_release(a);
        }
    cr_assert_gt(right, 10);
}

Test(graph_text, twenty_thousand_nodes_are_nothing) {
    enum { NODES = 20000 };
    Arena *a = arena_create();
    char *text;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    fprintf(out, "graph @f(%%v0: f32[4]) -> f32[4] {\n");
    for (int i = 1; i <= NODES; i++)
        fprintf(out, "  %%v%d: f32[4] = add %%v%d, %%v%d\n", i, i - 1, i / 2);
    fprintf(out, "  return %%v%d\n}\n", NODES);
    fclose(out);
    Module *m = parse(a, text);
    cr_assert_str_eq(module_text(m, a, 0), text);
    free(text);
    arena_release(a);
}

Test(graph_text, too_long_a_text_is_refused_unread) {
    Arena *a = arena_create();
    Diag *d = diag_create(a);
    cr_assert_null(module_parse(a, d, "t", "", ((size_t)64 << 20) + 1));
    cr_assert_eq(diag_item(d, 0)->code, 601);
    arena_release(a);
}

// Every operator has a line in the golden file of operators.
Test(graph_text, the_golden_file_holds_every_operator) {
    Arena *a = arena_create();
    Diag *d = diag_create(a);
    enum { BYTES_MAX = 1 << 20 };
    char *text = arena_alloc(a, 1, BYTES_MAX);
    FILE *file = fopen(PLIM_SOURCE_DIR "/tests/golden/ir/operators.graph", "r");
    cr_assert_not_null(file);
    const size_t bytes = fread(text, 1, BYTES_MAX, file);
    fclose(file);
    const Module *m = module_parse(a, d, "operators", text, bytes);
    cr_assert_not_null(m);
    bool *seen = arena_array(a, bool, OP_COUNT);
    for (int i = 0; i < m->entry_count; i++)
        for (int k = 0; k < m->entry[i]->node_count; k++)
            seen[m->entry[i]->node[k]->op] = true;
    for (int i = 0; i < OP_COUNT; i++)
        cr_assert(seen[i], "no line has %s", op_info((Op)i)->name);
    arena_release(a);
}

// The example of ir/README.md is right, and prints as the page says.
Test(graph_text, the_page_holds) {
    Arena *a = arena_create();
    FILE *page = fopen(PLIM_SOURCE_DIR "/ir/README.md", "r");
    cr_assert_not_null(page);
    char line[400];
    char *text = arena_text(a, ""), *canonical = arena_text(a, "");
    int blocks = 0;
    bool inside = false;
    while (fgets(line, sizeof line, page)) {
        const bool indented = strncmp(line, "    ", 4) == 0;
        if (indented && !inside)
            blocks++;
        inside = indented || (inside && line[0] == '\n');
        if (!inside || blocks != 1)
            continue;
        const char *body = indented ? line + 4 : line;
        text = arena_format(a, "%s%s", text, body);
        char *place = strstr(line, " at \"");
        if (place)
            strcpy(place, "\n");
        if (body[0] != '#')
            canonical = arena_format(a, "%s%s", canonical, body);
    }
    fclose(page);
    cr_assert_gt(strlen(text), 400);
    canonical[strlen(canonical) - 1] = '\0'; // the blank line after the block
    cr_assert_str_eq(module_text(parse(a, text), a, 0), canonical);
    arena_release(a);
}
