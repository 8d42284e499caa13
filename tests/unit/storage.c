// Where values live: places of views, physical layouts, in-place results, homes, live ranges.
#include "passes/storage.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    Arena *arena;
    Module *m;
    Graph *g;
    StoragePlan *sp;
} Bench;

static void bench_open(Bench *t, const char *text) {
    *t = (Bench){.arena = arena_create()};
    Diag *d = diag_create(t->arena);
    t->m = module_parse(t->arena, d, "test.graph", text, strlen(text));
    if (!t->m)
        diag_print(d, stderr, false);
    cr_assert(t->m != NULL);
    t->g = t->m->entry[0];
    t->sp = storage_plan(t->m, t->g, tasks_create(t->g, t->arena), t->arena);
}

static const Value *value(const Bench *t, const char *name) {
    for (int i = 0; i < t->g->node_count; i++)
        for (int r = 0; r < t->g->node[i]->result_count; r++)
            if (t->g->node[i]->result[r].name && strcmp(t->g->node[i]->result[r].name, name) == 0)
                return &t->g->node[i]->result[r];
    cr_assert_fail("no such value");
    return NULL;
}

static Place place(const Bench *t, const char *name) {
    return t->sp->place[value(t, name)->id];
}

Test(storage, reshape_by_strides) {
    const Type from = type_make(DT_F32, 3, (int64_t[]){4, 6, 5});
    const Type split = type_make(DT_F32, 4, (int64_t[]){4, 2, 3, 5});
    const Type joined = type_make(DT_F32, 2, (int64_t[]){24, 5});
    const Type ones = type_make(DT_F32, 5, (int64_t[]){4, 1, 6, 5, 1});
    Place p = place_dense(3, &from), out;
    cr_assert(place_reshape(&p, &from, &split, &out));
    cr_assert_eq(out.stride[0], 30);
    cr_assert_eq(out.stride[1], 15);
    cr_assert_eq(out.stride[2], 5);
    cr_assert(place_reshape(&p, &from, &ones, &out));
    cr_assert_eq(out.stride[2], 5);
    // A part of a wider row: axes 0 and 1 still join, 1 and 2 don't.
    p.stride[0] = 60;
    p.stride[1] = 10;
    cr_assert(place_reshape(&p, &from, &joined, &out));
    cr_assert_eq(out.stride[0], 10);
    const Type all = type_make(DT_F32, 1, (int64_t[]){120});
    cr_assert(!place_reshape(&p, &from, &all, &out));
    // And back: undoing a reshape on the place gives the place.
    cr_assert(place_reshape(&p, &from, &split, &out));
    Place back;
    cr_assert(place_reshape(&out, &split, &from, &back));
    cr_assert(place_equal(&p, &back, &from));
}

Test(storage, attention_is_stored_by_position) {
    Bench t;
    bench_open(&t,
               "graph @f(%q: f32[2,3,4,8], %k: f32[2,3,4,8], %v: f32[2,3,4,8]) -> (f32[2,4,24]) {\n"
               "  %o: f32[2,3,4,8], %l: f32[2,3,4] = attention %q, %k, %v {causal = 0, window = 0, "
               "scale = 1.0}\n"
               "  %p: f32[2,4,3,8] = transpose %o {perm = [0,2,1,3]}\n"
               "  %r: f32[2,4,24] = reshape %p {shape = [2,4,24]}\n"
               "  return %r\n"
               "}\n");
    const Place o = place(&t, "o");
    cr_assert_eq(o.stride[1], 8);
    cr_assert_eq(o.stride[2], 24);
    cr_assert_eq(place(&t, "r").storage, o.storage);
    cr_assert_eq(t.sp->step_count, 1);
    arena_release(t.arena);
}

// Strides of a stack of two that the reshape of %t reads behind `reader`, and what `second` adds to
// the results.
static void check_stack(const char *reader, const char *second, int64_t first, int64_t middle,
                        int64_t last) {
    Bench t;
    char text[1024];
    snprintf(text, sizeof text,
             "graph @f(%%x: f32[1,4,6], %%y: f32[1,4,6]) -> (f32[48]%s) {\n"
             "  %%a: f32[1,4,6] = exp %%x\n"
             "  %%b: f32[1,4,6] = neg %%y\n"
             "  %%s: f32[2,4,6] = concat %%a, %%b {axis = 0}\n"
             "%s"
             "  %%r: f32[48] = reshape %%t {shape = [48]}\n"
             "  %%z: f32[48] = tanh %%r\n"
             "  return %%z%s\n"
             "}\n",
             *second ? ", f32[2,4,6]" : "", reader, second);
    bench_open(&t, text);
    const Place s = place(&t, "s"), b = place(&t, "b");
    cr_assert_eq(s.stride[0], first);
    cr_assert_eq(s.stride[1], middle);
    cr_assert_eq(s.stride[2], last);
    // Computed there, whatever the order.
    cr_assert_eq(b.storage, s.storage);
    cr_assert_eq(b.offset, s.stride[0]);
    // Three kernels, and a copy where the stack is row-major and the reshape wants it otherwise.
    const bool moved = first != 24;
    cr_assert_eq(t.sp->step_count, moved ? 3 : 4);
    arena_release(t.arena);
}

Test(storage, stack_lies_as_its_only_reader_joins_it) {
    check_stack("  %t: f32[4,2,6] = transpose %s {perm = [1,0,2]}\n", "", 6, 12, 1);
    check_stack("  %u: f32[1,2,4,6] = reshape %s {shape = [1,2,4,6]}\n"
                "  %t: f32[1,4,2,6] = transpose %u {perm = [0,2,1,3]}\n",
                "", 6, 12, 1);
}

Test(storage, stack_is_row_major_for_other_readers) {
    // Its rows would lie apart.
    check_stack("  %t: f32[6,2,4] = transpose %s {perm = [2,0,1]}\n", "", 24, 6, 1);
    // No strides of the stack cut an axis in two.
    check_stack("  %u: f32[2,2,2,6] = reshape %s {shape = [2,2,2,6]}\n"
                "  %t: f32[2,2,2,6] = transpose %u {perm = [1,0,2,3]}\n",
                "", 24, 6, 1);
    // A second reader.
    check_stack("  %t: f32[4,2,6] = transpose %s {perm = [1,0,2]}\n", ", %s", 24, 6, 1);
}

// Copies of a stack, by running again and by moving: all lie alike, whoever reads which.
static void check_copies(const char *of_second, int64_t first) {
    Bench t;
    char text[1536];
    snprintf(text, sizeof text,
             "graph @f(%%x: f32[1,4,6], %%y: f32[1,4,6]) -> (f32[48], f32[48]%s) {\n"
             "  %%a: f32[1,4,6] = exp %%x\n"
             "  %%b: f32[1,4,6] = neg %%y\n"
             "  %%s: f32[2,4,6] = concat %%a, %%b {axis = 0}\n"
             "  %%m: f32[2,4,6] = offload %%s\n"
             "  %%n: f32[2,4,6] = fetch %%m\n"
             "  %%t: f32[4,2,6] = transpose %%n {perm = [1,0,2]}\n"
             "  %%r: f32[48] = reshape %%t {shape = [48]}\n"
             "  %%z: f32[48] = tanh %%r\n"
             "  %%c: f32[1,4,6] = exp %%x\n"
             "  %%d: f32[1,4,6] = neg %%y\n"
             "  %%s2: f32[2,4,6] = concat %%c, %%d {axis = 0}\n"
             "  %%t2: f32[4,2,6] = transpose %%s2 {perm = [1,0,2]}\n"
             "  %%r2: f32[48] = reshape %%t2 {shape = [48]}\n"
             "  %%z2: f32[48] = exp %%r2\n"
             "  return %%z, %%z2%s\n"
             "}\n",
             *of_second ? ", f32[2,4,6]" : "", of_second);
    bench_open(&t, text);
    static const char *const copy[] = {"s", "m", "n", "s2"};
    for (int i = 0; i < 4; i++)
        cr_assert_eq(place(&t, copy[i]).stride[0], first);
    arena_release(t.arena);
}

Test(storage, copies_of_a_stack_lie_alike) {
    check_copies("", 6);
    check_copies(", %s2", 24);
}

Test(storage, dying_operands_are_overwritten) {
    Bench t;
    bench_open(&t, "graph @f(%x: f32[8]) -> (f32[8], f32[8]) {\n"
                   "  %a: f32[8] = exp %x\n"
                   "  %b: f32[8] = neg %a\n"
                   "  %c: f32[8] = add %b, %a\n"
                   "  %d: f32[8] = tanh %b\n"
                   "  return %d, %c\n"
                   "}\n");
    cr_assert_neq(place(&t, "a").storage, place(&t, "x").storage); // arguments stay
    cr_assert_neq(place(&t, "b").storage, place(&t, "a").storage); // a is read again
    cr_assert_eq(place(&t, "c").storage, place(&t, "a").storage);
    cr_assert_eq(place(&t, "d").storage, place(&t, "b").storage);
    arena_release(t.arena);
}

Test(storage, state_is_written_in_place_when_its_readers_are_done) {
    Bench t;
    bench_open(&t, "state @s: f32[8] {kind = \"saved\"}\n"
                   "state @r: f32[8] {kind = \"saved\"}\n"
                   "graph @f(%x: f32[8]) -> (f32[8]) {\n"
                   "  %s: f32[8] = state {name = \"s\"}\n"
                   "  %r: f32[8] = state {name = \"r\"}\n"
                   "  %s1: f32[8] = add %s, %x\n"
                   "  %r1: f32[8] = add %r, %x\n"
                   "  %late: f32[8] = mul %r, %s1\n"
                   "  commit @s = %s1\n"
                   "  commit @r = %r1\n"
                   "  return %late\n"
                   "}\n");
    cr_assert_eq(place(&t, "s1").storage, place(&t, "s").storage);
    cr_assert_neq(place(&t, "r1").storage, place(&t, "r").storage); // %late reads the old one
    cr_assert_eq(t.sp->step_count, 4);                              // with a copy at the end
    cr_assert(t.sp->step[3].kind == STEP_COPY);
    arena_release(t.arena);
}

Test(storage, other_strides_are_not_overwritten) {
    Bench t;
    bench_open(&t, "graph @f(%x: f32[4,4]) -> (f32[4,4]) {\n"
                   "  %a: f32[4,4] = exp %x\n"
                   "  %t: f32[4,4] = transpose %a {perm = [1,0]}\n"
                   "  %b: f32[4,4] = add %a, %t\n"
                   "  return %b\n"
                   "}\n");
    cr_assert_neq(place(&t, "b").storage, place(&t, "a").storage); // it reads a in two ways
    arena_release(t.arena);
}

// Memory that a reshape had to copy to is its readers' alone, whoever reads the original later.
Test(storage, copies_of_views_are_overwritten) {
    Bench t;
    bench_open(&t, "graph @f(%x: f32[4,4]) -> (f32[16], f32[4,4]) {\n"
                   "  %a: f32[4,4] = exp %x\n"
                   "  %t: f32[4,4] = transpose %a {perm = [1,0]}\n"
                   "  %r: f32[16] = reshape %t {shape = [16]}\n"
                   "  %b: f32[16] = neg %r\n"
                   "  %c: f32[4,4] = add %a, %x\n"
                   "  return %b, %c\n"
                   "}\n");
    cr_assert_neq(place(&t, "r").storage, place(&t, "a").storage);
    cr_assert_eq(place(&t, "b").storage, place(&t, "r").storage);
    cr_assert_eq(place(&t, "c").storage, place(&t, "a").storage);
    arena_release(t.arena);
}

// The load by definition, and ranges that hold every touch.
Test(storage, ranges_and_load) {
    Bench t;
    bench_open(&t, "graph @f(%x: f32[16]) -> (f32[]) {\n"
                   "  %a: f32[16] = exp %x\n"
                   "  %b: f32[16] = softmax %a\n"
                   "  %c: f32[16] = mul %a, %b\n"
                   "  %d: f32[] = reduce_sum %c {axes = [0]}\n"
                   "  return %d\n"
                   "}\n");
    for (int i = 0; i < t.sp->step_count; i++)
        for (int k = 0; k < t.sp->step[i].touch_count; k++) {
            const Storage *s = &t.sp->storage[t.sp->step[i].touch[k]];
            cr_assert(s->first <= i && i <= s->last);
        }
    cr_assert_eq(storage_load(t.sp), 128); // x and a, a and b, c (over a) and d
    arena_release(t.arena);
}

// Rows of 4100 bytes. %h is read by products in both plans; there it runs again, here it was away.
#define ODD_HEAD                                                                                   \
    "graph @f(%x: f32[8,1025], %w: f32[1025,16], %u: f32[8,16]) -> (f32[8,16], f32[1025,16]) {\n"  \
    "  %h: f32[8,1025] = exp %x\n"                                                                 \
    "  %y: f32[8,16] = einsum %h, %w {spec = \"mk,kn->mn\"}\n"
#define ODD_TAIL "  return %y, %g\n}\n"

static const char *const odd_plans[] = {
    ODD_HEAD "  %k: f32[8,1025] = mul %h, %h\n"
             "  %g: f32[1025,16] = einsum %k, %u {spec = \"mk,mn->kn\"}\n" ODD_TAIL,
    ODD_HEAD "  %o: f32[8,1025] = offload %h\n"
             "  %b: f32[8,1025] = fetch %o\n"
             "  %k: f32[8,1025] = mul %b, %b\n"
             "  %g: f32[1025,16] = einsum %k, %u {spec = \"mk,mn->kn\"}\n" ODD_TAIL,
    ODD_HEAD "  %b: f32[8,1025] = exp %x\n"
             "  %k: f32[8,1025] = mul %b, %b\n"
             "  %g: f32[1025,16] = einsum %k, %u {spec = \"mk,mn->kn\"}\n" ODD_TAIL,
};

Test(storage, copies_of_odd_rows_keep_their_pitch) {
    for (int i = 0; i < 3; i++) {
        Bench t;
        bench_open(&t, odd_plans[i]);
        cr_assert_eq(place(&t, "h").stride[0], 1028);
        cr_assert_eq(place(&t, "k").stride[0], 1028);
        if (i > 0)
            cr_assert_eq(place(&t, "b").stride[0], 1028);
        if (i == 1) {
            const Place o = place(&t, "o");
            cr_assert_eq(o.stride[0], 1028);
            cr_assert(t.sp->storage[o.storage].far);
            cr_assert_eq(t.sp->storage[o.storage].bytes, (size_t)4 * 8 * 1028);
        }
        arena_release(t.arena);
    }
}

// Where one copy must be dense, all are: a view joins the rows of %b, which walks no pitch.
Test(storage, copies_are_dense_together) {
    static const char *const copy[2] = {"exp %x", "fetch %o"};
    for (int i = 0; i < 2; i++) {
        char text[1024];
        snprintf(text, sizeof text,
                 "graph @f(%%x: f32[8,1025], %%w: f32[1025,16]) -> (f32[8,16], f32[8200]) {\n"
                 "  %%h: f32[8,1025] = exp %%x\n"
                 "  %%y: f32[8,16] = einsum %%h, %%w {spec = \"mk,kn->mn\"}\n"
                 "  %%o: f32[8,1025] = offload %%h\n"
                 "  %%b: f32[8,1025] = %s\n"
                 "  %%j: f32[8200] = reshape %%b {shape = [8200]}\n"
                 "  %%k: f32[8200] = tanh %%j\n"
                 "  return %%y, %%k\n"
                 "}\n",
                 copy[i]);
        Bench t;
        bench_open(&t, text);
        cr_assert_eq(place(&t, "h").stride[0], 1025);
        cr_assert_eq(place(&t, "b").stride[0], 1025);
        arena_release(t.arena);
    }
}
