// Lowering, whole: a module text goes through every pass, the plan runs on an interpreter of
// kernels, and what it leaves is held against the reference evaluator; then every order and layout
// must give the same bits.
#include "tests/unit/plan_machine.h"

#include <stdio.h>

static const char *const orders[] = {"program", "depth-first", "list", "eager", NULL};

// f32 plans round in other places than the evaluator where operators are fused.
static void check_model(const char *text, double tolerance) {
    uint64_t want[8] = {0};
    for (int i = 0; i < 10; i++) {
        Machine t;
        machine_open(&t, text,
                     (PassOptions){.order = orders[i % 5], .arrange = i >= 5 ? "naive" : NULL});
        for (int e = 0; e < t.m->entry_count; e++) {
            if (i == 0)
                machine_check_entry(&t, t.m->entry[e]->name, tolerance);
            const uint64_t digest = machine_digest_entry(&t, t.m->entry[e]->name);
            if (i == 0)
                want[e] = digest;
            cr_assert(digest == want[e], "order %d gives other bits", i);
        }
        machine_close(&t);
    }
}

static int count_instrs(const Machine *t, const char *prefix) {
    int count = 0;
    for (uint32_t s = 0; s < t->cx.plan->segment_count; s++)
        for (uint32_t i = 0; i < t->cx.plan->segment[s].instr_count; i++)
            if (strncmp(t->cx.plan->segment[s].instr[i].name, prefix, strlen(prefix)) == 0)
                count++;
    return count;
}

Test(lower, views_cost_nothing) {
    const char *text = "graph @f(%x: f32[4,6]) -> (f32[2,3], f32[3,2,2,2]) {\n"
                       "  %t: f32[6,4] = transpose %x {perm = [1,0]}\n"
                       "  %s: f32[3,2] = slice %t {start = [1,1], stop = [4,3]}\n"
                       "  %u: f32[2,3] = transpose %s {perm = [1,0]}\n"
                       "  %a: f32[2,3] = exp %u\n"
                       "  %p: f32[6,2], %q: f32[6,2] = split %t {axis = 1, sizes = [2,2]}\n"
                       "  %r: f32[3,2,2] = reshape %p {shape = [3,2,2]}\n"
                       "  %b: f32[3,2,2,2] = broadcast %r {shape = [3,2,2,2], axes = [0,1,3]}\n"
                       "  %c: f32[3,2,2,2] = neg %b\n"
                       "  return %a, %c\n"
                       "}\n";
    check_model(text, 1e-6);
    Machine t;
    machine_open(&t, text, (PassOptions){0});
    cr_assert_eq(count_instrs(&t, "copy"), 0);
    machine_close(&t);
}

Test(lower, reshape_of_a_transpose_copies) {
    const char *text = "graph @f(%x: f32[4,6]) -> (f32[24], f32[8,3]) {\n"
                       "  %t: f32[6,4] = transpose %x {perm = [1,0]}\n"
                       "  %r: f32[24] = reshape %t {shape = [24]}\n"
                       "  %y: f32[24] = exp %r\n"
                       "  %z: f32[8,3] = reshape %t {shape = [8,3]}\n"
                       "  return %y, %z\n"
                       "}\n";
    check_model(text, 1e-6);
}

Test(lower, concat_parts_are_written_in_place) {
    const char *text = "graph @f(%x: f32[2,3], %y: f32[3,2]) -> (f32[2,9]) {\n"
                       "  %a: f32[2,3] = exp %x\n"
                       "  %b: f32[3,2] = neg %y\n"
                       "  %t: f32[2,3] = transpose %b {perm = [1,0]}\n"
                       "  %i: f32[2,6] = concat %a, %x {axis = 1}\n"
                       "  %c: f32[2,9] = concat %t, %i {axis = 1}\n"
                       "  return %c\n"
                       "}\n";
    check_model(text, 1e-6);
    Machine t;
    machine_open(&t, text, (PassOptions){0});
    cr_assert_eq(count_instrs(&t, "copy"), 1); // %x, an argument
    machine_close(&t);
}

Test(lower, pads_concats_and_constants) {
    check_model("graph @f(%x: f32[2,3]) -> (f32[4,5], f32[2,6], f32[2,3], f32[]) {\n"
                "  %p: f32[4,5] = pad %x {before = [1,0], after = [1,2]}\n"
                "  %k: f32[2,3] = constant {value = 2.5, dtype = \"f32\", shape = [2,3]}\n"
                "  %c: f32[2,6] = concat %k, %x {axis = 1}\n"
                "  %z: f32[] = constant {value = 0.0, dtype = \"f32\", shape = []}\n"
                "  return %p, %c, %k, %z\n"
                "}\n",
                1e-6);
}

Test(lower, reduces_and_rows) {
    check_model("graph @f(%x: f32[3,4,5], %w: f32[5], %b: f32[5], %t: i32[3,4] {bound = 5}) -> "
                "(f32[3,4], f32[5], "
                "f32[4,5], f32[], f32[3], f32[3,5], f32[3,4,5], f32[3,4,5], f32[3,4], f32[3,4,5], "
                "f32[5], f32[5]) {\n"
                "  %e: f32[3,4,5] = exp %x\n"
                "  %r1: f32[3,4] = reduce_sum %e {axes = [2]}\n"
                "  %r2: f32[5] = reduce_sum %x {axes = [0,1]}\n"
                "  %r3: f32[4,5] = reduce_max %x {axes = [0]}\n"
                "  %r4: f32[] = reduce_sum %x {axes = [0,1,2]}\n"
                "  %r5: f32[3] = reduce_max %x {axes = [1,2]}\n"
                "  %r6: f32[3,5] = reduce_sum %x {axes = [1]}\n"
                "  %s: f32[3,4,5] = softmax %x\n"
                "  %d: f32[3,4,5] = softmax_grad %s, %e\n"
                "  %y: f32[3,4,5], %m: f32[3,4], %v: f32[3,4] = layernorm %d, %w, %b {eps = 0.1}\n"
                "  %l: f32[3,4], %z: f32[3,4] = cross_entropy %y, %t\n"
                "  %g: f32[3,4,5] = cross_entropy_grad %y, %t, %z, %l\n"
                "  %gx: f32[3,4,5] = layernorm_grad %g, %d, %w, %m, %v\n"
                "  %gw: f32[5], %gb: f32[5] = layernorm_param_grad %g, %d, %m, %v\n"
                "  return %r1, %r2, %r3, %r4, %r5, %r6, %s, %gx, %l, %y, %gw, %gb\n"
                "}\n",
                1e-4);
}

Test(lower, indexed) {
    check_model("graph @f(%w: f32[7,4], %i: i32[2,3] {bound = 7}, %j: i32[2] {bound = 3}, %n: "
                "i32[] {bound = 2}) -> "
                "(f32[2,3,4], f32[7,4], f32[2], f32[2,4], f32[7,4], f32[9]) {\n"
                "  %e: f32[2,3,4] = gather %w, %i\n"
                "  %z: f32[7,4] = constant {value = 0.0, dtype = \"f32\", shape = [7,4]}\n"
                "  %s: f32[7,4] = scatter_add %z, %i, %e\n"
                "  %c: f32[2,3,1] = slice %e {start = [0,0,1], stop = [2,3,2]}\n"
                "  %q: f32[2,3] = reshape %c {shape = [2,3]}\n"
                "  %t: f32[2] = take %q, %j\n"
                "  %p: f32[2,4] = dynamic_slice %w, %n {axis = 0, size = 2}\n"
                "  %u: f32[7,4] = dynamic_update %w, %p, %n {axis = 0}\n"
                "  %b: f32[9] = constant {value = 1.5, dtype = \"f32\", shape = [9]}\n"
                "  %v: f32[9] = scatter_add %b, %j, %t\n"
                "  return %e, %s, %t, %p, %u, %v\n"
                "}\n",
                1e-5);
}

Test(lower, products) {
    check_model("graph @f(%a: f32[2,3,4], %b: f32[4,5], %h: f32[2,3,2,5], %k: f32[2,6,2,5]) -> "
                "(f32[2,3,5], "
                "f32[5,2,3], f32[2,2,3,6], f32[3,2,5], f32[4,3], f32[2,3,5], f32[3,4]) {\n"
                "  %p: f32[2,3,5] = einsum %a, %b {spec = \"bmk,kn->bmn\"}\n"
                "  %q: f32[5,2,3] = einsum %a, %b {spec = \"bmk,kn->nbm\"}\n"
                "  %s: f32[2,2,3,6] = einsum %h, %k {spec = \"bqhe,bkhe->bhqk\"}\n"
                "  %m: f32[3,2,5] = einsum %a, %b {spec = \"xyk,kn->yxn\"}\n"
                "  %o: f32[4,2,3] = transpose %a {perm = [2,0,1]}\n"
                "  %o2: f32[4,6] = reshape %o {shape = [4,6]}\n"
                "  %r2: f32[2,3,3] = slice %a {start = [0,0,1], stop = [2,3,4]}\n"
                "  %o3: f32[6,3] = reshape %r2 {shape = [6,3]}\n"
                "  %n: f32[4,3] = einsum %o2, %o3 {spec = \"ik,kj->ij\"}\n"
                "  %x: f32[2,3,5] = einsum_add %p, %a, %b {spec = \"bmk,kn->bmn\"}\n"
                "  %one: f32[2] = constant {value = 0.5, dtype = \"f32\", shape = [2]}\n"
                "  %w: f32[3,4] = einsum %a, %one {spec = \"bmk,b->mk\"}\n"
                "  return %p, %q, %s, %m, %n, %x, %w\n"
                "}\n",
                1e-5);
}

// Parts of images (channels of a split, of a concat) need no copies, transposed ones do.
Test(lower, convolutions) {
#define SETTINGS(STRIDE, GROUPS)                                                                   \
    "stride = [" STRIDE ",1], before = [1,0], after = [1,2], dilation = [1,2], groups = " GROUPS
    check_model(
        "graph @f(%x: f32[2,6,5,4], %t: f32[2,5,4,3], %w: f32[4,3,3,2], %v: f32[3,3,2,4], "
        "%d: f32[3,1,3,2]) -> (f32[2,4,5,4], f32[2,7,5,4], f32[2,3,5,4], f32[4,3,3,2], "
        "f32[3,1,3,2], f32[2,4,3,4]) {\n"
        "  %a: f32[2,3,5,4], %b: f32[2,3,5,4] = split %x {axis = 1, sizes = [3,3]}\n"
        "  %y: f32[2,4,5,4] = conv2d %b, %w {" SETTINGS(
            "1",
            "1") "}\n"
                 "  %i: f32[2,3,5,4] = transpose %t {perm = [0,3,1,2]}\n"
                 "  %u: f32[4,3,3,2] = transpose %v {perm = [3,0,1,2]}\n"
                 "  %z: f32[2,4,5,4] = conv2d %i, %u {" SETTINGS(
                     "1",
                     "1") "}\n"
                          "  %p: f32[2,3,5,4] = conv2d %a, %d {" SETTINGS(
                              "1",
                              "3") "}\n"
                                   "  %c: f32[2,7,5,4] = concat %y, %p {axis = 1}\n"
                                   "  %gx: f32[2,3,5,4] = conv2d_input_grad %z, %w {size = "
                                   "[5,4], " SETTINGS(
                                       "1",
                                       "1") "}\n"
                                            "  %gw: f32[4,3,3,2] = conv2d_weight_grad %a, %z {size "
                                            "= [3,2], " SETTINGS(
                                                "1",
                                                "1") "}\n"
                                                     "  %gd: f32[3,1,3,2] = conv2d_weight_grad %b, "
                                                     "%p {size = [3,2], " SETTINGS(
                                                         "1", "3") "}\n"
                                                                   "  %s: f32[2,4,3,4] = conv2d "
                                                                   "%a, %w {" SETTINGS(
                                                                       "2",
                                                                       "1") "}\n"
                                                                            "  return %z, %c, %gx, "
                                                                            "%gw, %gd, %s\n"
                                                                            "}\n",
        1e-4);
#undef SETTINGS
}

Test(lower, attention_and_rotary) {
    check_model("graph @f(%x: f32[2,6,32], %c: f32[6,4], %s: f32[6,4], %d: f32[2,6,16]) -> "
                "(f32[2,6,16], f32[2,6,32]) "
                "{\n"
                "  %q: f32[2,6,16], %k: f32[2,6,8], %v: f32[2,6,8] = split %x {axis = 2, sizes = "
                "[16,8,8]}\n"
                "  %q1: f32[2,6,2,8] = reshape %q {shape = [2,6,2,8]}\n"
                "  %q2: f32[2,2,6,8] = transpose %q1 {perm = [0,2,1,3]}\n"
                "  %q3: f32[2,2,6,8] = rotary %q2, %c, %s {inverse = 0}\n"
                "  %k1: f32[2,6,1,8] = reshape %k {shape = [2,6,1,8]}\n"
                "  %k2: f32[2,1,6,8] = transpose %k1 {perm = [0,2,1,3]}\n"
                "  %v1: f32[2,6,1,8] = reshape %v {shape = [2,6,1,8]}\n"
                "  %v2: f32[2,1,6,8] = transpose %v1 {perm = [0,2,1,3]}\n"
                "  %o: f32[2,2,6,8], %l: f32[2,2,6] = attention %q3, %k2, %v2 {causal = 1, window "
                "= 0, scale = 0.3}\n"
                "  %o1: f32[2,6,2,8] = transpose %o {perm = [0,2,1,3]}\n"
                "  %y: f32[2,6,16] = reshape %o1 {shape = [2,6,16]}\n"
                "  %d1: f32[2,6,2,8] = reshape %d {shape = [2,6,2,8]}\n"
                "  %d2: f32[2,2,6,8] = transpose %d1 {perm = [0,2,1,3]}\n"
                "  %gq: f32[2,2,6,8], %gk: f32[2,1,6,8], %gv: f32[2,1,6,8] = attention_grad %q3, "
                "%k2, %v2, %o, %l, %d2 "
                "{causal = 1, window = 0, scale = 0.3}\n"
                "  %gr: f32[2,2,6,8] = rotary %gq, %c, %s {inverse = 1}\n"
                "  %g1: f32[2,6,2,8] = transpose %gr {perm = [0,2,1,3]}\n"
                "  %g2: f32[2,6,16] = reshape %g1 {shape = [2,6,16]}\n"
                "  %h1: f32[2,6,1,8] = transpose %gk {perm = [0,2,1,3]}\n"
                "  %h2: f32[2,6,8] = reshape %h1 {shape = [2,6,8]}\n"
                "  %i1: f32[2,6,1,8] = transpose %gv {perm = [0,2,1,3]}\n"
                "  %i2: f32[2,6,8] = reshape %i1 {shape = [2,6,8]}\n"
                "  %g: f32[2,6,32] = concat %g2, %h2, %i2 {axis = 2}\n"
                "  return %y, %g\n"
                "}\n",
                1e-4);
}

static void check_without_copies(const char *text, double tolerance) {
    check_model(text, tolerance);
    Machine t;
    machine_open(&t, text, (PassOptions){0});
    cr_assert_eq(count_instrs(&t, "copy"), 0);
    machine_close(&t);
}

// Gradients of a fused projection: of one kernel into a stack of as many heads each, and into heads
// side by side where keys and values have fewer; and of kernels of their own.
Test(lower, gradients_lie_as_their_reader_joins_them) {
#define FUSED(DTYPE)                                                                               \
    "graph @f(%x: " DTYPE "[2,6,48], %d: " DTYPE "[2,2,6,8]) -> (" DTYPE "[2,6,48]) {\n"           \
    "  %p: " DTYPE "[2,6,3,2,8] = reshape %x {shape = [2,6,3,2,8]}\n"                              \
    "  %a: " DTYPE "[3,2,2,6,8] = transpose %p {perm = [2,0,3,1,4]}\n"                             \
    "  %q1: " DTYPE "[1,2,2,6,8], %k1: " DTYPE "[1,2,2,6,8], %v1: " DTYPE                          \
    "[1,2,2,6,8] = split %a {axis = 0, sizes = [1,1,1]}\n"                                         \
    "  %q: " DTYPE "[2,2,6,8] = reshape %q1 {shape = [2,2,6,8]}\n"                                 \
    "  %k: " DTYPE "[2,2,6,8] = reshape %k1 {shape = [2,2,6,8]}\n"                                 \
    "  %v: " DTYPE "[2,2,6,8] = reshape %v1 {shape = [2,2,6,8]}\n"                                 \
    "  %o: " DTYPE "[2,2,6,8], %l: f32[2,2,6] = attention %q, %k, %v {causal = 1, window = 0, "    \
    "scale = 0.3}\n"                                                                               \
    "  %gq: " DTYPE "[2,2,6,8], %gk: " DTYPE "[2,2,6,8], %gv: " DTYPE                              \
    "[2,2,6,8] = attention_grad %q, %k, %v, %o, %l, %d {causal = 1, window = 0, scale = 0.3}\n"    \
    "  %g1: " DTYPE "[1,2,2,6,8] = reshape %gq {shape = [1,2,2,6,8]}\n"                            \
    "  %g2: " DTYPE "[1,2,2,6,8] = reshape %gk {shape = [1,2,2,6,8]}\n"                            \
    "  %g3: " DTYPE "[1,2,2,6,8] = reshape %gv {shape = [1,2,2,6,8]}\n"                            \
    "  %s: " DTYPE "[3,2,2,6,8] = concat %g2, %g1, %g3 {axis = 0}\n"                               \
    "  %t: " DTYPE "[2,6,3,2,8] = transpose %s {perm = [1,3,0,2,4]}\n"                             \
    "  %j: " DTYPE "[2,6,48] = reshape %t {shape = [2,6,48]}\n"                                    \
    "  %y: " DTYPE "[2,6,48] = neg %j\n"                                                           \
    "  return %y\n"                                                                                \
    "}\n"
    check_without_copies(FUSED("f32"), 1e-4);
    check_without_copies(FUSED("bf16"), 2e-2);
#undef FUSED
    check_without_copies(
        "graph @f(%q: f32[2,4,6,8], %k: f32[2,2,6,8], %v: f32[2,2,6,8], %d: f32[2,4,6,8]) -> "
        "(f32[2,6,64]) {\n"
        "  %o: f32[2,4,6,8], %l: f32[2,4,6] = attention %q, %k, %v {causal = 1, window = 0, scale "
        "= 0.3}\n"
        "  %gq: f32[2,4,6,8], %gk: f32[2,2,6,8], %gv: f32[2,2,6,8] = attention_grad %q, %k, %v, "
        "%o, %l, %d {causal = 1, window = 0, scale = 0.3}\n"
        "  %s: f32[2,8,6,8] = concat %gq, %gk, %gv {axis = 1}\n"
        "  %t: f32[2,6,8,8] = transpose %s {perm = [0,2,1,3]}\n"
        "  %j: f32[2,6,64] = reshape %t {shape = [2,6,64]}\n"
        "  %y: f32[2,6,64] = neg %j\n"
        "  return %y\n"
        "}\n",
        1e-4);
    check_without_copies(
        "graph @f(%q: f32[2,2,6,8], %k: f32[2,1,6,8], %c: f32[6,4], %s: f32[6,4]) -> (f32[2,6,32]) "
        "{\n"
        "  %a: f32[2,2,6,8] = rotary %q, %c, %s {inverse = 1}\n"
        "  %b: f32[2,1,6,8] = rotary %k, %c, %s {inverse = 1}\n"
        "  %e: f32[2,1,6,8] = exp %k\n"
        "  %w: f32[2,4,6,8] = concat %a, %b, %e {axis = 1}\n"
        "  %t: f32[2,6,4,8] = transpose %w {perm = [0,2,1,3]}\n"
        "  %j: f32[2,6,32] = reshape %t {shape = [2,6,32]}\n"
        "  %y: f32[2,6,32] = neg %j\n"
        "  return %y\n"
        "}\n",
        1e-5);
}

// Commits: in place where nobody reads the old version later, copies otherwise; exchanged states; a
// constant for several states; a state that is a result.
Test(lower, commits) {
    check_model("state @a: f32[4,3] {kind = \"param\"}\n"
                "state @b: f32[4,3] {kind = \"param\"}\n"
                "state @c: f32[4,3] {kind = \"saved\"}\n"
                "state @d: f32[4,3] {kind = \"saved\"}\n"
                "state @e: f32[3,4] {kind = \"transient\"}\n"
                "graph @swap(%x: f32[4,3]) -> (f32[4,3], f32[4,3]) {\n"
                "  %a: f32[4,3] = state {name = \"a\"}\n"
                "  %b: f32[4,3] = state {name = \"b\"}\n"
                "  %c: f32[4,3] = state {name = \"c\"}\n"
                "  %c1: f32[4,3] = add %c, %x\n"
                "  %y: f32[4,3] = mul %c, %c1\n"
                "  %e: f32[3,4] = transpose %y {perm = [1,0]}\n"
                "  commit @a = %b\n"
                "  commit @b = %a\n"
                "  commit @c = %c1\n"
                "  commit @d = %c1\n"
                "  commit @e = %e\n"
                "  return %a, %y\n"
                "}\n"
                "graph @fill() {\n"
                "  %z: f32[4,3] = constant {value = 0.0, dtype = \"f32\", shape = [4,3]}\n"
                "  %o: f32[4,3] = constant {value = 1.0, dtype = \"f32\", shape = [4,3]}\n"
                "  commit @a = %z\n"
                "  commit @b = %z\n"
                "  commit @c = %o\n"
                "}\n",
                1e-6);
}

Test(lower, updates_are_in_place) {
    const char *text =
        "state @w: f32[4,3] {kind = \"param\"}\n"
        "graph @train(%x: f32[2,4] from data \"data\", %lr: f32[] from knob = 0.5) -> (loss: "
        "f32[]) {\n"
        "  %w: f32[4,3] = state {name = \"w\"}\n"
        "  %y: f32[2,3] = einsum %x, %w {spec = \"bi,io->bo\"}\n"
        "  %s: f32[2,3] = mul %y, %y\n"
        "  %loss: f32[] = reduce_sum %s {axes = [0,1]}\n"
        "  minimize %loss, %lr, %w {optimizer = \"adamw\", beta1 = 0.9, beta2 = 0.99, eps = "
        "1.0e-6, clip = 1.0, decay = [0.1]}\n"
        "  return %loss\n"
        "}\n";
    check_model(text, 1e-4);
    Machine t;
    machine_open(&t, text, (PassOptions){0});
    cr_assert_eq(count_instrs(&t, "copy"), 0);
    machine_close(&t);
}

// Micro-batches: products add straight to their accumulators, other gradients through the operator.
Test(lower, accumulates) {
    const char *text = "state @w: f32[4,3] {kind = \"param\"}\n"
                       "state @b: f32[3] {kind = \"param\"}\n"
                       "graph @train(%x: f32[2,4] from data \"data\", %lr: f32[] from knob = 0.5) "
                       "-> (loss: f32[]) repeat 3 {\n"
                       "  %w: f32[4,3] = state {name = \"w\"}\n"
                       "  %b: f32[3] = state {name = \"b\"}\n"
                       "  %y: f32[2,3] = einsum %x, %w {spec = \"bi,io->bo\"}\n"
                       "  %c: f32[2,3] = broadcast %b {shape = [2,3], axes = [1]}\n"
                       "  %z: f32[2,3] = add %y, %c\n"
                       "  %s: f32[2,3] = mul %z, %z\n"
                       "  %loss: f32[] = reduce_sum %s {axes = [0,1]}\n"
                       "  minimize %loss, %lr, %w, %b {optimizer = \"momentum\", momentum = 0.9, "
                       "decay = [0.1,0.0]}\n"
                       "  return %loss\n"
                       "}\n";
    check_model(text, 1e-4);
    Machine t;
    machine_open(&t, text, (PassOptions){0});
    int carried = 0;
    for (uint32_t i = 0; i < t.cx.plan->buffer_count; i++)
        carried += t.cx.plan->buffer[i].carried != 0;
    cr_assert_eq(carried, 3);                        // w, b, loss
    cr_assert_eq(count_instrs(&t, "accumulate"), 2); // b and loss; w's product adds to its own
    cr_assert_eq(plan_find_entry(t.cx.plan, "train")->call_count, 5);
    machine_close(&t);
}

#define BF16_STEP(repeat)                                                                          \
    "state @w: f32[4,3] {kind = \"param\"}\n"                                                      \
    "graph @train(%x: f32[2,4] from data \"data\", %lr: f32[] from knob = 0.5) -> (loss: "         \
    "f32[]) " repeat "{\n"                                                                         \
    "  %w: f32[4,3] = state {name = \"w\"}\n"                                                      \
    "  %y: f32[2,3] = einsum %x, %w {spec = \"bi,io->bo\"}\n"                                      \
    "  %s: f32[2,3] = mul %y, %y\n"                                                                \
    "  %loss: f32[] = reduce_sum %s {axes = [0,1]}\n"                                              \
    "  minimize %loss, %lr, %w {optimizer = \"sgd\", precision = \"bf16\", decay = [0.1]}\n"       \
    "  return %loss\n"                                                                             \
    "}\n"

// Gradients of bf16 products are f32: added to nothing, or to the accumulator; no zeros are written
// for them.
Test(lower, bf16_training) {
    static const char *const text[2] = {BF16_STEP(""), BF16_STEP("repeat 2 ")};
    for (int repeats = 0; repeats < 2; repeats++) {
        check_model(text[repeats], 3e-2);
        Machine t;
        machine_open(&t, text[repeats], (PassOptions){0});
        cr_assert_eq(count_instrs(&t, "fill"), repeats ? 2 : 0); // the accumulators of w and loss
        cr_assert_eq(count_instrs(&t, "accumulate"), repeats ? 1 : 0);
        machine_close(&t);
    }
}

Test(lower, bf16) {
    check_model("state @w: f32[8,4] {kind = \"param\"}\n"
                "graph @f(%x: f32[3,8]) -> (f32[3,4], bf16[3,4]) {\n"
                "  %w: f32[8,4] = state {name = \"w\"}\n"
                "  %xb: bf16[3,8] = cast %x {to = \"bf16\"}\n"
                "  %wb: bf16[8,4] = cast %w {to = \"bf16\"}\n"
                "  %y: bf16[3,4] = einsum %xb, %wb {spec = \"bi,io->bo\"}\n"
                "  %t: bf16[3,4] = tanh %y\n"
                "  %u: bf16[3,4] = mul %t, %y\n"
                "  %f: f32[3,4] = cast %u {to = \"f32\"}\n"
                "  return %f, %u\n"
                "}\n",
                2e-2);
}

// Random draws don't depend on how their leaf was fused.
Test(lower, random_leaves) {
    check_model("graph @f(%seed: i32[] from seed, %step: i32[] from step, %x: f32[5,7]) -> "
                "(f32[5,7], f32[5,7]) {\n"
                "  %u: f32[5,7] = random_uniform %seed, %step {shape = [5,7], key = 77, low = 0.0, "
                "high = 1.0}\n"
                "  %k: f32[5,7] = constant {value = 0.5, dtype = \"f32\", shape = [5,7]}\n"
                "  %m: bool[5,7] = lt %u, %k\n"
                "  %z: f32[5,7] = constant {value = 0.0, dtype = \"f32\", shape = [5,7]}\n"
                "  %y: f32[5,7] = select %m, %x, %z\n"
                "  %n: f32[5,7] = random_normal %seed {shape = [5,7], key = 99999999999, mean = "
                "1.0, std = 2.0}\n"
                "  return %y, %n\n"
                "}\n",
                1e-5);
}
