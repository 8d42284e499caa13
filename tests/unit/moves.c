// Graphs with moves to far memory and back: what a plan computes is what the same graph computes
// without them, bit for bit; what is far is in its space, and written where it stays.
#include "tests/unit/plan_machine.h"

#include "ir/far.h"

// The text without moves: what read one reads what it moved.
static const char *without_moves(Arena *a, const char *text) {
    Diag *d = diag_create(a);
    Module *m = module_parse(a, d, "test.graph", text, strlen(text));
    cr_assert(m != NULL);
    for (int i = 0; i < m->state_count; i++)
        m->state[i]->far = false;
    for (int e = 0; e < m->entry_count; e++) {
        Graph *g = m->entry[e];
        Value **by = arena_array(a, Value *, g->value_limit);
        for (int i = 0; i < g->node_count; i++)
            if (op_info(g->node[i]->op)->family == FAMILY_MOVE)
                by[g->node[i]->result[0].id] = g->node[i]->input[0];
            else if (node_sums_far(g->node[i]))
                g->node[i]->attr_count = 0;
        graph_remap(g, by);
        graph_drop_dead(g);
    }
    return module_text(m, a, 0);
}

// Digests of the entry, with streams in several turns.
static void check_bits(const char *text, const char *entry) {
    Arena *a = arena_create();
    Machine moved, plain;
    machine_open(&moved, text, (PassOptions){0});
    machine_open(&plain, without_moves(a, text), (PassOptions){0});
    cr_assert_eq(plain.cx.plan->space_count, 1u);
    const uint64_t want = machine_digest_entry(&plain, entry);
    for (uint64_t turns = 0; turns < 20; turns++) {
        moved.turns = turns;
        cr_assert_eq(machine_digest_entry(&moved, entry), want, "turns %llu",
                     (unsigned long long)turns);
    }
    moved.turns = 0;
    machine_check_entry(&moved, entry, 1e-5);
    machine_close(&moved);
    machine_close(&plain);
    arena_release(a);
}

static uint32_t count_copies(const Plan *p) {
    uint32_t count = 0;
    for (uint32_t i = 0; i < p->segment_count; i++)
        for (uint32_t k = 0; k < p->segment[i].instr_count; k++)
            count += p->segment[i].instr[k].kind == INSTR_COPY;
    return count;
}

static const char *const activations = "graph @f(%x: f32[8,4] from caller) -> f32[8,4] {\n"
                                       "  %a: f32[8,4] = tanh %x\n"
                                       "  %far: f32[8,4] = offload %a\n"
                                       "  %b: f32[8,4] = softmax %a\n"
                                       "  %c: f32[8,4] = softmax %b\n"
                                       "  %d: f32[8,4] = softmax %c\n"
                                       "  %near: f32[8,4] = fetch %far\n"
                                       "  %e: f32[8,4] = mul %d, %near\n"
                                       "  return %e\n}\n";

Test(moves, activations_go_there_and_back) {
    check_bits(activations, "f");
    Machine t;
    machine_open(&t, activations, (PassOptions){0});
    const Plan *p = t.cx.plan;
    cr_assert_eq(p->space_count, 2u);
    cr_assert_eq(p->space[1].kind, SPACE_DISK);
    cr_assert_eq(p->space[1].bytes, (uint64_t)PLAN_DISK_ALIGNMENT);
    cr_assert_eq(count_copies(p), 2u);
    machine_close(&t);
}

// A GPU's far memory is its host's, and its buffers begin at multiples of 256 bytes.
Test(moves, of_a_gpu_go_to_the_host) {
    Machine t;
    PassOptions options = {.target = "cuda:sm_90", .gpu = {.count = 1, .arch = {{90, false}}}};
    machine_open(&t, activations, options);
    cr_assert_eq(t.cx.plan->space[1].kind, SPACE_HOST);
    cr_assert_eq(t.cx.plan->space[1].bytes, 256u);
    machine_close(&t);
}

// What attention gives lies in another order; constants are in no memory; views and parts of
// something aren't one range. Slices of what is far are.
Test(moves, of_what_is_not_dense) {
    check_bits("graph @f(%q: f32[2,2,6,8] from caller, %y: f32[8,4] from caller)"
               " -> (f32[2,2,6,8], f32[4,8], f32[4,4], f32[8,8], f32[3,4]) {\n"
               "  %o: f32[2,2,6,8], %l: f32[2,2,6] = attention %q, %q, %q {causal = 1, window = 0, "
               "scale = 0.5}\n"
               "  %of: f32[2,2,6,8] = offload %o\n"
               "  %on: f32[2,2,6,8] = fetch %of\n"
               "  %r: f32[2,2,6,8] = softmax %on\n"
               "  %t: f32[4,8] = transpose %y {perm = [1,0]}\n"
               "  %tf: f32[4,8] = offload %t\n"
               "  %tn: f32[4,8] = fetch %tf\n"
               "  %u: f32[4,8] = softmax %tn\n"
               "  %s: f32[8,2] = slice %y {start = [0,1], stop = [8,3]}\n"
               "  %sf: f32[8,2] = offload %s\n"
               "  %sv: f32[4,4] = reshape %sf {shape = [4,4]}\n"
               "  %sn: f32[4,4] = fetch %sv\n"
               "  %w: f32[4,4] = softmax %sn\n"
               "  %k: f32[8,4] = constant {value = 2.5, dtype = \"f32\", shape = [8,4]}\n"
               "  %kf: f32[8,4] = offload %k\n"
               "  %kn: f32[8,4] = fetch %kf\n"
               "  %both: f32[8,8] = concat %kn, %y {axis = 1}\n"
               "  %yf: f32[8,4] = offload %y\n"
               "  %rows: f32[3,4] = slice %yf {start = [2,0], stop = [5,4]}\n"
               "  %rn: f32[3,4] = fetch %rows\n"
               "  %v: f32[3,4] = softmax %rn\n"
               "  return %r, %u, %w, %both, %v\n}\n",
               "f");
}

static const char *const slices = "state @m: f32[8,4] {kind = \"optimizer\", far = 1}\n"
                                  "graph @f(%x: f32[8,4] from caller) -> f32[8,4] {\n"
                                  "  %g: f32[8,4] = tanh %x\n"
                                  "  %m: f32[8,4] = state {name = \"m\"}\n"
                                  "  %m0: f32[4,4] = slice %m {start = [0,0], stop = [4,4]}\n"
                                  "  %m1: f32[2,4] = slice %m {start = [4,0], stop = [6,4]}\n"
                                  "  %m2: f32[2,4] = slice %m {start = [6,0], stop = [8,4]}\n"
                                  "  %g0: f32[4,4] = slice %g {start = [0,0], stop = [4,4]}\n"
                                  "  %g1: f32[2,4] = slice %g {start = [4,0], stop = [6,4]}\n"
                                  "  %n0: f32[4,4] = fetch %m0\n"
                                  "  %u0: f32[4,4] = add %n0, %g0\n"
                                  "  %f0: f32[4,4] = offload %u0\n"
                                  "  %n1: f32[2,4] = fetch %m1\n"
                                  "  %u1: f32[2,4] = add %n1, %g1\n"
                                  "  %f1: f32[2,4] = offload %u1\n"
                                  "  %g2: f32[2,4] = slice %g {start = [6,0], stop = [8,4]}\n"
                                  "  %n2: f32[2,4] = fetch %m2\n"
                                  "  %u2: f32[2,4] = add %n2, %g2\n"
                                  "  %f2: f32[2,4] = offload %u2\n"
                                  "  %next: f32[8,4] = concat %f0, %f1, %f2 {axis = 0}\n"
                                  "  commit @m = %next\n"
                                  "  return %g\n}\n";

// Slices of a far state are updated where they are: nothing else is far, and no copy is made.
Test(moves, update_states_in_place) {
    check_bits(slices, "f");
    Machine t;
    machine_open(&t, slices, (PassOptions){0});
    cr_assert_eq(t.cx.plan->space[1].bytes, (uint64_t)PLAN_DISK_ALIGNMENT);
    cr_assert_eq(count_copies(t.cx.plan), 6u);
    machine_close(&t);
}

// What can't be written in place: slices that change places, a part that is there twice, an old
// version that is read late, two states that change places.
Test(moves, of_states_that_are_read_late) {
    check_bits("state @a: f32[8,4] {kind = \"saved\", far = 1}\n"
               "state @b: f32[8,4] {kind = \"saved\", far = 1}\n"
               "state @c: f32[8,4] {kind = \"saved\", far = 1}\n"
               "state @d: f32[8,4] {kind = \"saved\", far = 1}\n"
               "state @e: f32[8,4] {kind = \"saved\", far = 1}\n"
               "graph @f(%x: f32[4,4] from caller) -> f32[8,4] {\n"
               "  %a: f32[8,4] = state {name = \"a\"}\n"
               "  %b: f32[8,4] = state {name = \"b\"}\n"
               "  %c: f32[8,4] = state {name = \"c\"}\n"
               "  %d: f32[8,4] = state {name = \"d\"}\n"
               "  %e: f32[8,4] = state {name = \"e\"}\n"
               "  %a0: f32[4,4], %a1: f32[4,4] = split %a {axis = 0, sizes = [4,4]}\n"
               "  %swap: f32[8,4] = concat %a1, %a0 {axis = 0}\n"
               "  %far: f32[4,4] = offload %x\n"
               "  %twice: f32[8,4] = concat %far, %far {axis = 0}\n"
               "  %c0: f32[4,4] = slice %c {start = [0,0], stop = [4,4]}\n"
               "  %h: f32[4,4] = tanh %x\n"
               "  %hf: f32[4,4] = offload %h\n"
               "  %half: f32[8,4] = concat %c0, %hf {axis = 0}\n"
               "  %hn: f32[4,4] = fetch %hf\n"
               "  %cn: f32[8,4] = fetch %c\n"
               "  %two: f32[8,4] = concat %hn, %x {axis = 0}\n"
               "  %z: f32[8,4] = add %cn, %two\n"
               "  commit @a = %swap\n"
               "  commit @b = %twice\n"
               "  commit @c = %half\n"
               "  commit @d = %e\n"
               "  commit @e = %d\n"
               "  return %z\n}\n",
               "f");
}

// Micro-batches: activations live far within one call, states in calls and in the update.
Test(moves, of_micro_batches) {
    check_bits("state @m: f32[4,4] {kind = \"optimizer\", far = 1}\n"
               "state @w: f32[4,4] {kind = \"param\", far = 1}\n"
               "graph @f(%x: f32[8,4] from data \"data\", %lr: f32[] from knob = 0.5)"
               " -> f32[] repeat 3 {\n"
               "  %w: f32[4,4] = state {name = \"w\"}\n"
               "  %w1: f32[4,4] = fetch %w\n"
               "  %h: f32[8,4] = einsum %x, %w1 {spec = \"bi,io->bo\"}\n"
               "  %hf: f32[8,4] = offload %h\n"
               "  %t: f32[8,4] = softmax %h\n"
               "  %s: f32[] = reduce_sum %t {axes = [0,1]}\n"
               "  %hn: f32[8,4] = fetch %hf backward\n"
               "  %dt: f32[8,4] = tanh %hn backward\n"
               "  %dw: f32[4,4] = einsum %x, %dt {spec = \"bi,bo->io\"} backward\n"
               "  %acc: f32[4,4] = accumulate %dw backward\n"
               "  %m: f32[4,4] = state {name = \"m\"}\n"
               "  %m1: f32[4,4] = fetch %m update\n"
               "  %w2: f32[4,4] = fetch %w update\n"
               "  %w3: f32[4,4], %m3: f32[4,4] = momentum %w2, %m1, %acc, %lr {decay = 0.0, "
               "momentum = 0.9, nesterov = 0} update\n"
               "  %mf: f32[4,4] = offload %m3 update\n"
               "  %wf: f32[4,4] = offload %w3 update\n"
               "  %loss: f32[] = accumulate %s\n"
               "  commit @m = %mf\n"
               "  commit @w = %wf\n"
               "  return %loss\n}\n",
               "f");
}

static const char *const sums =
    "state @w: f32[8,4] {kind = \"param\"}\n"
    "graph @f(%x: f32[6,8] from data \"data\", %y: f32[6,4] from data \"data\", %lr: f32[] from "
    "knob = 0.5) -> f32[] repeat 3 {\n"
    "  %w: f32[8,4] = state {name = \"w\"}\n"
    "  %h: f32[6,4] = einsum %x, %w {spec = \"bi,io->bo\"}\n"
    "  %d: f32[6,4] = sub %h, %y\n"
    "  %s: f32[] = reduce_sum %d {axes = [0,1]}\n"
    "  %loss: f32[] = accumulate %s\n"
    // A product that adds to a copy of its sum, and pieces of what is computed apart.
    "  %dw: f32[8,4] = einsum %x, %d {spec = \"bi,bo->io\"} backward\n"
    "  %acc: f32[8,4] = accumulate %dw {far = 1} backward\n"
    "  %t: f32[8,4] = tanh %w backward\n"
    "  %u: f32[6,4] = einsum %x, %t {spec = \"bi,io->bo\"} backward\n"
    "  %v: f32[6,4] = softmax %u backward\n"
    "  %top: f32[4,4] = slice %v {start = [0,0], stop = [4,4]} backward\n"
    "  %low: f32[2,4] = slice %v {start = [4,0], stop = [6,4]} backward\n"
    "  %a0: f32[4,4] = accumulate %top {far = 1} backward\n"
    "  %a1: f32[2,4] = accumulate %low {far = 1} backward\n"
    "  %n0: f32[4,4] = fetch %a0 update\n"
    "  %n1: f32[2,4] = fetch %a1 update\n"
    "  %both: f32[8,4] = concat %n0, %n1, %n1 {axis = 0} update\n"
    "  %acc0: f32[4,4] = slice %acc {start = [0,0], stop = [4,4]} update\n"
    "  %acc1: f32[4,4] = slice %acc {start = [4,0], stop = [8,4]} update\n"
    "  %near0: f32[4,4] = fetch %acc0 update\n"
    "  %near1: f32[4,4] = fetch %acc1 update\n"
    "  %near: f32[8,4] = concat %near0, %near1 {axis = 0} update\n"
    "  %g: f32[8,4] = add %near, %both update\n"
    "  %next: f32[8,4] = sgd %w, %g, %lr {decay = 0.0} update\n"
    "  commit @w = %next\n"
    "  return %loss\n}\n";

// Three sums: each goes there as zeros, and there and back in every micro-batch.
Test(moves, sums_over_micro_batches_live_far) {
    check_bits(sums, "f");
    Machine t;
    machine_open(&t, sums, (PassOptions){0});
    const Plan *p = t.cx.plan;
    int far = 0, near = 0;
    for (uint32_t i = 0; i < p->buffer_count; i++) {
        far += p->buffer[i].carried && p->buffer[i].space == 1;
        near += p->buffer[i].carried && p->buffer[i].space == 0;
    }
    cr_assert_eq(far, 3);
    cr_assert_eq(near, 1); // the loss
    machine_close(&t);
}

// P0807 names what is largest there.
Test(moves, are_limited) {
    Arena *a = arena_create();
    PassOptions options = {.far = true, .far_bytes = 4095, .workers = 1};
    PassCtx cx = {.arena = a, .scratch = arena_create(), .diag = diag_create(a)};
    cx.options = &options;
    Module *m = module_parse(a, cx.diag, "test.graph", activations, strlen(activations));
    cr_assert(!pipeline_run(m, &cx, NULL, 0, NULL, NULL));
    char *text;
    size_t bytes;
    FILE *out = open_memstream(&text, &bytes);
    diag_print(cx.diag, out, false);
    fclose(out);
    cr_expect(strstr(text, "error[P0807]: entry f needs 4096 bytes of disk, but --far allows 4095"),
              "%s", text);
    cr_expect(strstr(text, "far: 128 bytes of activations"), "%s", text);
    free(text);
    arena_release(cx.scratch);
    arena_release(a);
}
