// Orders: random graphs with state, views, products and fusable chains. Whatever the order and the
// arrangement, the same bits come out, the evaluator agrees, and the chosen order never needs more
// than program order.
#include "tests/unit/plan_machine.h"

#include <stdarg.h>
#include <stdio.h>

typedef struct {
    char text[1 << 16];
    size_t used;
    uint64_t state;
    int values;
} Writer;

static uint32_t draw(Writer *w, uint32_t below) {
    w->state = w->state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(w->state >> 33) % below;
}

__attribute__((format(printf, 2, 3))) static void put(Writer *w, const char *format, ...) {
    va_list args;
    va_start(args, format);
    w->used += (size_t)vsnprintf(w->text + w->used, sizeof w->text - w->used, format, args);
    va_end(args);
    cr_assert(w->used < sizeof w->text);
}

// Every value is f32[6,6], so that any two fit.
static int pick(Writer *w) {
    // Often a recent one: chains; sometimes an old one: long lives.
    const uint32_t back = draw(w, 3) ? draw(w, 4) : draw(w, (uint32_t)w->values);
    return back < (uint32_t)w->values ? w->values - 1 - (int)back : 0;
}

static void put_operator(Writer *w) {
    static const char *const unary[] = {"exp", "neg", "tanh", "relu", "softmax", "abs"};
    static const char *const binary[] = {"add", "mul", "max", "sub"};
    const int a = pick(w), b = pick(w), n = w->values;
    switch (draw(w, 10)) {
    case 0:
    case 1:
    case 2:
        put(w, "  %%v%d: f32[6,6] = tanh %%v%d\n", n, a);
        break;
    case 3:
        put(w, "  %%v%d: f32[6,6] = %s %%v%d\n", n, unary[draw(w, 6)], a);
        break;
    case 4:
    case 5:
        put(w, "  %%s%d: f32[6,6] = %s %%v%d, %%v%d\n", n, binary[draw(w, 4)], a, b);
        put(w, "  %%v%d: f32[6,6] = tanh %%s%d\n", n, n); // stays small
        break;
    case 6:
        put(w, "  %%v%d: f32[6,6] = transpose %%v%d {perm = [1,0]}\n", n, a);
        break;
    case 7:
        put(w, "  %%p%d: f32[6,6] = einsum %%v%d, %%v%d {spec = \"%s\"}\n", n, a, b,
            draw(w, 2) ? "ik,kj->ij" : "ki,kj->ji");
        put(w, "  %%v%d: f32[6,6] = softmax %%p%d\n", n, n);
        break;
    case 8:
        put(w, "  %%r%d: f32[6] = reduce_sum %%v%d {axes = [%u]}\n", n, a, draw(w, 2));
        put(w, "  %%b%d: f32[6,6] = broadcast %%r%d {shape = [6,6], axes = [%u]}\n", n, n,
            draw(w, 2));
        put(w, "  %%v%d: f32[6,6] = tanh %%b%d\n", n, n);
        break;
    case 9:
        put(w, "  %%h%d: f32[6,2], %%g%d: f32[6,4] = split %%v%d {axis = 1, sizes = [2,4]}\n", n, n,
            a);
        put(w, "  %%e%d: f32[6,2] = exp %%h%d\n", n, n);
        put(w, "  %%c%d: f32[6,6] = concat %%g%d, %%e%d {axis = 1}\n", n, n, n);
        put(w, "  %%v%d: f32[6,6] = tanh %%c%d\n", n, n);
        break;
    }
    w->values++;
}

static void put_module(Writer *w, uint64_t seed) {
    *w = (Writer){.state = seed * 7919 + 13};
    for (int s = 0; s < 3; s++)
        put(w, "state @s%d: f32[6,6] {kind = \"saved\"}\n", s);
    put(w, "graph @f(%%v0: f32[6,6]) -> (f32[6,6], f32[6,6]) {\n");
    for (int s = 0; s < 3; s++)
        put(w, "  %%v%d: f32[6,6] = state {name = \"s%d\"}\n", s + 1, s);
    w->values = 4;
    const int count = 8 + (int)draw(w, 30);
    for (int i = 0; i < count; i++)
        put_operator(w);
    for (int s = 0; s < 3; s++)
        if (draw(w, 3))
            put(w, "  commit @s%d = %%v%d\n", s, pick(w));
    put(w, "  return %%v%d, %%v%d\n}\n", w->values - 1, pick(w));
}

Test(order, same_bits_whatever_the_order) {
    static const char *const orders[] = {NULL, "program", "depth-first", "list", "eager"};
    static Writer w; // large
    for (uint64_t seed = 1; seed <= 60; seed++) {
        put_module(&w, seed);
        uint64_t want = 0, best = 0;
        for (int i = 0; i < 6; i++) {
            Machine t;
            machine_open(&t, w.text,
                         (PassOptions){.order = orders[i % 5], .arrange = i == 5 ? "naive" : NULL});
            if (i == 0)
                machine_check_entry(&t, "f", 1e-4);
            const uint64_t digest = machine_digest_entry(&t, "f");
            const uint64_t load = t.cx.plan->space[0].load;
            if (i == 0) {
                want = digest;
                best = load;
            }
            cr_assert(digest == want, "seed %llu, order %d: other bits\n%s",
                      (unsigned long long)seed, i, w.text);
            // Workspaces are not part of what orders are judged by, and own products of this size
            // have some: so the chosen order is held against program order's load plus one of them.
            if (orders[i % 5] && strcmp(orders[i % 5], "program") == 0)
                cr_assert(best <= load + 2 * 65536, "seed %llu", (unsigned long long)seed);
            machine_close(&t);
        }
    }
}
