// The pass table and its driver.
#include "passes/pipeline.h"

#include <criterion/criterion.h>
#include <string.h>

Test(pipeline, table_is_in_order) {
    cr_assert(pass_count() > 10);
    cr_assert_null(pass_first_misplaced());
    for (int i = 0; i < pass_count(); i++) {
        cr_assert(pass_find(pass_at(i)->name) == pass_at(i));
        cr_assert(pass_at(i)->run && pass_at(i)->help[0]);
    }
    cr_assert_null(pass_find("no such pass"));
    cr_assert_null(pass_find(""));
}

typedef struct {
    Arena *arena;
    PassCtx cx;
    Module *m;
} Setup;

static Setup setup(const char *text) {
    Setup s = {.arena = arena_create()};
    s.cx.arena = s.arena;
    s.cx.scratch = arena_create();
    s.cx.diag = diag_create(s.arena);
    s.m = module_parse(s.arena, s.cx.diag, "test.graph", text, strlen(text));
    if (!s.m)
        diag_print(s.cx.diag, stderr, false);
    cr_assert(s.m);
    return s;
}

static void drop(Setup *s) {
    arena_release(s->cx.scratch);
    arena_release(s->arena);
}

static const char pair[] = "graph @pair(%x: f32[3,4]) -> f32[3,4] {\n"
                           "  %a: f32[4,3] = transpose %x {perm = [1,0]}\n"
                           "  %b: f32[3,4] = transpose %a {perm = [1,0]}\n"
                           "  return %b\n"
                           "}\n";

static void count_dump(void *user, const Pass *pass, const Module *m, const PassCtx *cx) {
    (void)cx;
    cr_assert(pass && m);
    ++*(int *)user;
}

Test(pipeline, runs_named_passes_and_dumps_after_each) {
    Setup s = setup(pair);
    const char *const name[] = {"simplify", "legalize"};
    int dumps = 0;
    cr_assert(pipeline_run(s.m, &s.cx, name, 2, count_dump, &dumps));
    cr_assert_eq(dumps, 2);
    cr_assert_eq(s.m->entry[0]->node_count, 1); // the input
    drop(&s);
}

Test(pipeline, unknown_pass_is_an_error) {
    Setup s = setup(pair);
    const char *const name[] = {"simplest"};
    cr_assert(!pipeline_run(s.m, &s.cx, name, 1, NULL, NULL));
    cr_assert_eq(diag_error_count(s.cx.diag), 1);
    drop(&s);
}

Test(pipeline, rewrite_limit_stops_rewrites) {
    Setup s = setup("graph @g(%x: f32[3]) -> f32[3] {\n"
                    "  %a: f32[3] = neg %x\n"
                    "  %b: f32[3] = neg %a\n"
                    "  %c: f32[3] = tanh %b\n"
                    "  %d: f32[3] = neg %c\n"
                    "  %e: f32[3] = neg %d\n"
                    "  return %e\n"
                    "}\n");
    const PassOptions options = {.rewrite_limit = 1};
    const char *const name[] = {"simplify"};
    s.cx.options = &options;
    cr_assert(pipeline_run(s.m, &s.cx, name, 1, NULL, NULL));
    cr_assert_eq(s.m->entry[0]->node_count, 4); // x, tanh, neg, neg: the first pair is gone
    drop(&s);
}

Test(pipeline, remarks_are_kept_in_order) {
    Setup s = setup(pair);
    for (int i = 0; i < 100; i++)
        remark_add(&s.cx, "test", "subject", "number %d", i);
    cr_assert_eq(s.cx.remarks.count, 100);
    cr_assert_str_eq(s.cx.remarks.item[99].text, "number 99");
    cr_assert_str_eq(s.cx.remarks.item[0].text, "number 0");
    drop(&s);
}
