// Operations on graphs, and what the verifier refuses in graphs that a pass has broken.
#include "ir/build.h"
#include "ir/module.h"

#include <criterion/criterion.h>
#include <string.h>

typedef struct {
    Arena *arena;
    Diag *diag;
    Module *module;
    Graph *graph;
    Builder b; // forward
    Value *x;  // argument f32[4]
} Fixture;

// A module with the state w: f32[4] and the entry f(x: f32[4]).
static Fixture fixture_create(void) {
    Fixture f = {.arena = arena_create()};
    f.diag = diag_create(f.arena);
    f.module = module_create(f.arena, "m");
    const Type type = type_make(DT_F32, 1, (int64_t[]){4});
    module_add_state(f.module, "w", type, STATE_PARAM, (Loc){0});
    f.graph = graph_create(f.arena, "f");
    module_add_entry(f.module, f.graph);
    f.b = (Builder){.g = f.graph, .diag = f.diag};
    f.x = graph_add_typed(f.graph, OP_INPUT, NULL, 0, NULL, 0, &type, 1, f.b.origin)->result;
    f.x->name = "x";
    graph_add_input(f.graph, f.x, FROM_CALLER);
    return f;
}

static void expect_text(const Fixture *f, const char *body) {
    const char *text = strstr(module_text(f->module, f->arena, 0), "graph");
    cr_assert_str_eq(text, body);
}

static void expect_error(const Fixture *f, int code, const char *part) {
    cr_assert(!module_verify(f->module, f->diag));
    const DiagItem *item = diag_item(f->diag, 0);
    cr_assert_eq(item->code, code, "P%04d: %s", item->code, item->message);
    cr_assert_not_null(strstr(item->message, part), "%s", item->message);
    arena_release(f->arena);
}

static void expect_right(const Fixture *f) {
    const bool ok = module_verify(f->module, f->diag);
    cr_assert(ok, "%s", diag_item_count(f->diag) ? diag_item(f->diag, 0)->message : "");
}

Test(graph, builders_infer_and_stretch) {
    Fixture f = fixture_create();
    Value *two = build_constant(&f.b, type_scalar(DT_F32), 2);
    Value *wide = build_broadcast_like(&f.b, two, f.x);
    cr_assert_eq(build_broadcast_like(&f.b, f.x, wide), f.x);
    cr_assert_eq(build_scale(&f.b, f.x, 1), f.x);
    cr_assert_eq(build_cast(&f.b, f.x, DT_F32), f.x);
    cr_assert_eq(build_reduce_sum(&f.b, f.x, NULL, 0), f.x);
    Value *y = build_scale(&f.b, build_binary(&f.b, OP_ADD, f.x, wide), 0.5);
    graph_add_result(f.graph, "y", y);
    expect_right(&f);
    expect_text(&f, "graph @f(%x: f32[4]) -> (y: f32[4]) {\n"
                    "  %1: f32[] = constant {value = 2.0, dtype = \"f32\", shape = []}\n"
                    "  %2: f32[4] = broadcast %1 {shape = [4], axes = []}\n"
                    "  %3: f32[4] = add %x, %2\n"
                    "  %4: f32[4] = constant {value = 0.5, dtype = \"f32\", shape = [4]}\n"
                    "  %5: f32[4] = mul %3, %4\n"
                    "  return %5\n"
                    "}\n");
    arena_release(f.arena);
}

Test(graph, a_wrong_shape_is_reported_and_passed_on) {
    Fixture f = fixture_create();
    f.b.origin.loc = (Loc){.file = "m.plim", .line = 3, .column = 5};
    Value *five = build_constant(&f.b, type_make(DT_F32, 1, (int64_t[]){5}), 0);
    const int nodes = f.graph->node_count;
    cr_assert_null(build_unary(&f.b, OP_EXP, build_broadcast_like(&f.b, five, f.x)));
    cr_assert_eq(diag_error_count(f.diag), 1);
    cr_assert_eq(diag_item(f.diag, 0)->loc.line, 3);
    cr_assert_null(build_binary(&f.b, OP_ADD, five, f.x));
    cr_assert_eq(diag_error_count(f.diag), 2);
    cr_assert_eq(f.graph->node_count, nodes);
    arena_release(f.arena);
}

Test(graph, a_wrong_shape_in_a_pass_exits_70, .exit_code = 70) {
    Fixture f = fixture_create();
    f.b.diag = NULL;
    build_binary(&f.b, OP_ADD, f.x, build_constant(&f.b, type_scalar(DT_F32), 0));
}

Test(graph, dead_nodes_drop_and_ids_become_dense) {
    Fixture f = fixture_create();
    Value *dead = build_unary(&f.b, OP_EXP, f.x);
    Value *y = build_unary(&f.b, OP_NEG, f.x);
    build_unary(&f.b, OP_EXP, dead);
    graph_add_result(f.graph, NULL, y);
    cr_assert(graph_drop_dead(f.graph));
    cr_assert(!graph_drop_dead(f.graph));
    cr_assert_eq(f.graph->node_count, 2);
    expect_right(&f);
    cr_assert_eq(y->id, 2);
    graph_renumber(f.graph);
    cr_assert_eq(y->id, 1);
    cr_assert_eq(f.graph->value_limit, 2);
    expect_text(&f, "graph @f(%x: f32[4]) -> f32[4] {\n"
                    "  %1: f32[4] = neg %x\n"
                    "  return %1\n"
                    "}\n");
    arena_release(f.arena);
}

Test(graph, sort_is_stable_and_moves_only_what_is_needed) {
    Fixture f = fixture_create();
    Value *a = build_unary(&f.b, OP_EXP, f.x);
    Value *b = build_unary(&f.b, OP_NEG, f.x);
    Value *c = build_unary(&f.b, OP_SIN, b);
    Value *d = build_unary(&f.b, OP_COS, a);
    // Order: d c b a x; both chains must turn over, d's first.
    Node *reversed[] = {d->def, c->def, b->def, a->def, f.x->def};
    memcpy(f.graph->node, reversed, sizeof reversed);
    graph_sort(f.graph);
    const Node *sorted[] = {f.x->def, a->def, d->def, b->def, c->def};
    cr_assert_eq(memcmp(f.graph->node, sorted, sizeof sorted), 0);
    graph_sort(f.graph);
    cr_assert_eq(memcmp(f.graph->node, sorted, sizeof sorted), 0);
    arena_release(f.arena);
}

Test(graph, deep_chains_need_no_deep_stack) {
    enum { DEPTH = 200000 };
    Fixture f = fixture_create();
    Value *v = f.x;
    for (int i = 0; i < DEPTH; i++)
        v = build_unary(&f.b, OP_NEG, v);
    graph_add_result(f.graph, NULL, v);
    for (int i = 0; i < f.graph->node_count / 2; i++) {
        Node *n = f.graph->node[i];
        f.graph->node[i] = f.graph->node[f.graph->node_count - 1 - i];
        f.graph->node[f.graph->node_count - 1 - i] = n;
    }
    graph_sort(f.graph);
    cr_assert(!graph_drop_dead(f.graph));
    expect_right(&f);
    arena_release(f.arena);
}

Test(graph, remap_follows_chains) {
    Fixture f = fixture_create();
    Value *a = build_unary(&f.b, OP_NEG, f.x);
    Value *b = build_unary(&f.b, OP_NEG, a);
    Value *c = build_binary(&f.b, OP_ADD, b, a);
    graph_add_result(f.graph, NULL, b);
    graph_add_commit(f.graph, f.module->state[0], b);
    Value **by = arena_array(f.arena, Value *, f.graph->value_limit);
    by[b->id] = a;
    by[a->id] = f.x;
    graph_remap(f.graph, by);
    cr_assert(c->def->input[0] == f.x && c->def->input[1] == f.x);
    cr_assert_eq(f.graph->result[0].value, f.x);
    cr_assert_eq(f.graph->commit[0].value, f.x);
    graph_replace_uses(f.graph, f.x, a);
    cr_assert(c->def->input[0] == a && f.graph->result[0].value == a);
    arena_release(f.arena);
}

Test(graph, users_and_counts) {
    Fixture f = fixture_create();
    Value *a = build_unary(&f.b, OP_NEG, f.x);
    Value *b = build_binary(&f.b, OP_ADD, a, a);
    graph_add_result(f.graph, NULL, a);
    const int *count = graph_use_counts(f.graph, f.arena);
    cr_assert(count[f.x->id] == 1 && count[a->id] == 3 && count[b->id] == 0);
    const Users *users = graph_users(f.graph, f.arena);
    cr_assert_eq(users[a->id].count, 2);
    cr_assert(users[a->id].node[0] == b->def && users[a->id].node[1] == b->def);
    cr_assert(users[f.x->id].count == 1 && users[b->id].count == 0);
    arena_release(f.arena);
}

Test(graph, a_copy_is_equal_and_apart) {
    Fixture f = fixture_create();
    f.graph->repeat = 3;
    Value *y = build_slice(&f.b, f.x, 0, 1, 3);
    y->def->group = 2;
    graph_add_result(f.graph, "y", y);
    graph_add_commit(f.graph, f.module->state[0], f.x);
    const char *before = module_text(f.module, f.arena, 0);
    Arena *other = arena_create();
    f.module->entry[0] = graph_copy(f.graph, other);
    expect_right(&f);
    cr_assert_str_eq(module_text(f.module, f.arena, 0), before);
    node_set_attr(f.graph, y->def, attr_ints("stop", (int64_t[]){4}, 1));
    cr_assert_str_eq(module_text(f.module, f.arena, 0), before);
    int count;
    cr_assert_eq(node_ints(y->def, "stop", &count)[0], 4);
    arena_release(other);
    arena_release(f.arena);
}

Test(graph, attributes_have_fallbacks) {
    Fixture f = fixture_create();
    const Node *n = build_slice(&f.b, f.x, 0, 1, 3)->def;
    int count;
    cr_assert_eq(node_ints(n, "start", &count)[0], 1);
    cr_assert_eq(count, 1);
    cr_assert(node_ints(n, "sizes", &count) == NULL && count == 0);
    cr_assert_eq(node_int(n, "axis", -7), -7);
    cr_assert_eq(node_float(n, "eps", 0.5), 0.5);
    cr_assert_str_eq(node_text(n, "spec", "none"), "none");
    arena_release(f.arena);
}

Test(graph_verify, use_before_definition) {
    Fixture f = fixture_create();
    Node *a = build_unary(&f.b, OP_NEG, f.x)->def;
    f.graph->node[1] = build_unary(&f.b, OP_EXP, a->result)->def;
    f.graph->node[2] = a;
    expect_error(&f, 616, "operand 0 of exp");
}

Test(graph_verify, values_of_dropped_nodes) {
    Fixture f = fixture_create();
    graph_add_result(f.graph, NULL, build_unary(&f.b, OP_NEG, f.x));
    f.graph->node_count--;
    expect_error(&f, 617, "result 0 of @f is not defined");
}

Test(graph_verify, taken_ids) {
    Fixture f = fixture_create();
    build_unary(&f.b, OP_NEG, f.x)->id = f.x->id;
    expect_error(&f, 618, "taken id");
}

Test(graph_verify, stale_types) {
    Fixture f = fixture_create();
    build_unary(&f.b, OP_NEG, f.x)->type.dim[0] = 5;
    expect_error(&f, 609, "result 0 of neg is f32[4], not f32[5]");
}

Test(graph_verify, wrong_attributes_and_arity) {
    Fixture f = fixture_create();
    Node *n = build_slice(&f.b, f.x, 0, 1, 3)->def;
    node_set_attr(f.graph, n, attr_int("axis", 1));
    Node *m = build_unary(&f.b, OP_NEG, f.x)->def;
    m->input_count = 0;
    cr_assert(!module_verify(f.module, f.diag));
    cr_assert_eq(diag_error_count(f.diag), 2); // both, in one run
    cr_assert_str_eq(diag_item(f.diag, 0)->message, "slice has no attribute axis");
    cr_assert_str_eq(diag_item(f.diag, 1)->message, "neg takes 1 operand, got 0");
    arena_release(f.arena);
}

Test(graph_verify, names) {
    Fixture f = fixture_create();
    build_unary(&f.b, OP_NEG, f.x)->name = "x";
    expect_error(&f, 606, "two values are called %x");
    f = fixture_create();
    build_unary(&f.b, OP_NEG, f.x)->name = "a b";
    expect_error(&f, 615, "'a b'");
    f = fixture_create();
    build_unary(&f.b, OP_NEG, f.x)->name = "12";
    expect_error(&f, 615, "'12'");
}

Test(graph_verify, commits) {
    Fixture f = fixture_create();
    State *w = f.module->state[0];
    graph_add_commit(f.graph, w, f.x);
    graph_add_commit(f.graph, w, f.x);
    expect_error(&f, 614, "committed twice");
    f = fixture_create();
    graph_add_commit(f.graph, f.module->state[0], build_constant(&f.b, type_scalar(DT_F32), 1));
    expect_error(&f, 614, "state w is f32[4], its next version f32[]");
}

Test(graph_verify, inputs) {
    Fixture f = fixture_create();
    f.graph->input[0].source = FROM_STEP;
    expect_error(&f, 619, "i32[]");
    f = fixture_create();
    f.graph->input_count = 0;
    expect_error(&f, 618, "stands for no argument");
    f = fixture_create();
    graph_add_input(f.graph, f.x, FROM_CALLER);
    expect_error(&f, 618, "listed twice");
}

Test(graph_verify, phases) {
    Fixture f = fixture_create();
    Builder update = f.b;
    update.origin.phase = PHASE_UPDATE;
    Value *forward = build_unary(&f.b, OP_NEG, f.x);
    build_unary(&update, OP_NEG, forward);
    expect_right(&f); // without repeat
    f.graph->repeat = 2;
    expect_error(&f, 613, "accumulate it first");

    f = fixture_create();
    update.g = f.graph;
    update.diag = f.diag;
    build_unary(&f.b, OP_NEG, build_unary(&update, OP_NEG, f.x));
    expect_error(&f, 613, "only in the update phase");

    // Through accumulate, and from leaves that are the same in every micro-batch.
    f = fixture_create();
    update.g = f.graph;
    update.diag = f.diag;
    f.graph->repeat = 2;
    Value *sum = build_unary(&f.b, OP_ACCUMULATE, build_unary(&f.b, OP_NEG, f.x));
    build_binary(&update, OP_ADD, sum, f.x);
    expect_right(&f);
    f.graph->repeat = 1;
    expect_error(&f, 613, "without repeat");
}
