// How large the problems of order and layout may be for an integer program, and what the searches
// made for the purpose need for the same: four problems of each shape and size.
//
//   bench_programs        prints a table: solved to the proof of 4, counted work, processor seconds
//
// Starts are poor on purpose (a list schedule; first fit in order of birth), so that the program
// has to find the answer and not only to prove it. "chain": each operator reads two of the last
// four; "step": a training step, forward, backward, weight gradients and updates; "nested": half
// the items live from forward to backward, the others briefly; "random": lives of up to a third of
// all time.
#include "passes/memory/order_mip.h"
#include "passes/memory/order_solve.h"
#include "passes/memory/pack_mip.h"

#include <stdio.h>
#include <sys/resource.h>
#include <time.h>

enum { SEEDS = 4 };

static uint32_t draw(uint64_t *state, uint32_t below) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33) % below;
}

// Over the seeds.
typedef struct {
    double begin, spent, purpose; // seconds: when this one began; the programs'; the searches'
    double gap;
    int solved;
    int64_t nodes;
} Tally;

// Of processors, by this process and its children.
static double seconds(void) {
    struct timespec own;
    struct rusage children;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &own);
    getrusage(RUSAGE_CHILDREN, &children);
    return (double)own.tv_sec + 1e-9 * (double)own.tv_nsec + (double)children.ru_utime.tv_sec +
           1e-6 * (double)children.ru_utime.tv_usec;
}

static void print_tally(const Tally *t, const char *what, const char *shape, int size) {
    const double seeds = SEEDS;
    printf("%-6s %-7s %4d   %d of %d   %8lld nodes  %7.2f s  gap %5.2f %%   search %7.4f s\n", what,
           shape, size, t->solved, SEEDS, (long long)t->nodes, t->spent / seeds,
           100 * t->gap / seeds, t->purpose / seeds);
    fflush(stdout);
}

static int add_result(OrderBuild *b, uint64_t *state, int task, uint32_t size) {
    const int object = order_build_object(b, 64 * (1 + (int64_t)draw(state, size)), 0, NULL);
    order_build_use(b, object, task);
    return object;
}

static OrderGraph *make_chain(int tasks, uint64_t seed, Arena *a) {
    OrderBuild *b = order_build_create(tasks, a);
    int *made = arena_array(a, int, tasks);
    for (int v = 0; v < tasks; v++) {
        made[v] = add_result(b, &seed, v, 40);
        for (int k = 0; k < 2 && v > 0; k++) {
            const int from = v - 1 - (int)draw(&seed, v < 4 ? (uint32_t)v : 4);
            order_build_use(b, made[from], v);
            order_build_edge(b, from, v);
        }
    }
    return order_build_finish(b);
}

// A layer has four tasks: forward, then going back gradient, weight gradient and update.
static OrderGraph *make_step(int tasks, uint64_t seed, Arena *a) {
    const int layers = tasks / 4;
    OrderBuild *b = order_build_create(4 * layers, a);
    int *kept = arena_array(a, int, layers);
    for (int i = 0; i < layers; i++) {
        kept[i] = add_result(b, &seed, i, 30);
        if (i > 0) {
            order_build_use(b, kept[i - 1], i);
            order_build_edge(b, i - 1, i);
        }
    }
    int gradient = kept[layers - 1], from = layers - 1;
    for (int i = layers - 1, at = layers; i >= 0; i--, at += 3) {
        for (int k = 0; k < 2; k++) {
            order_build_use(b, gradient, at + k);
            order_build_edge(b, from, at + k);
            if (i > 0)
                order_build_use(b, kept[i - 1], at + k);
        }
        const int weight = add_result(b, &seed, at + 1, 60);
        order_build_use(b, weight, at + 2);
        order_build_edge(b, at + 1, at + 2);
        order_build_transient(b, at + 2, 64 * (int64_t)draw(&seed, 20));
        gradient = add_result(b, &seed, at, 30);
        from = at;
    }
    return order_build_finish(b);
}

static void bench_order(const char *shape, int tasks,
                        OrderGraph *(*make)(int tasks, uint64_t seed, Arena *a)) {
    Tally t = {0};
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        Arena *a = arena_create();
        const OrderGraph *og = make(tasks, seed * 7919, a);
        int *order = arena_array(a, int, og->task_count),
            *least = arena_array(a, int, og->task_count);
        order_list(og, LIST_LEAST, a, order);
        const OrderMipProblem problem = {.og = og, .name = "order", .start = order};
        OrderMipAnswer answer;
        t.begin = seconds();
        order_mip_solve(&problem, 1, 1, a, &answer);
        const double middle = seconds();
        const OrderAnswer exact = order_solve(og, NULL, a, least);
        t.spent += middle - t.begin;
        t.purpose += seconds() - middle;
        t.solved += answer.optimal;
        t.nodes += answer.nodes;
        t.gap += (double)(answer.load - answer.bound) / (double)answer.load;
        if (answer.optimal && exact.exact && answer.load != exact.load)
            printf("they differ: %lld and %lld\n", (long long)answer.load, (long long)exact.load);
        arena_release(a);
    }
    print_tally(&t, "order", shape, tasks);
}

// Every item as low as those before it allow.
static void first_fit(PackItem *item, int count) {
    for (int i = 0; i < count; i++) {
        item[i].offset = 0;
        for (int k = 0; k < i; k++) {
            const bool meet = item[i].first <= item[k].last && item[k].first <= item[i].last;
            if (meet && item[i].offset < item[k].offset + item[k].size &&
                item[k].offset < item[i].offset + item[i].size) {
                item[i].offset = item[k].offset + item[k].size;
                k = -1; // those before may be met now
            }
        }
    }
}

static void bench_pack(const char *shape, bool nested, int count) {
    Tally t = {0};
    for (uint64_t seed = 1; seed <= SEEDS; seed++) {
        Arena *a = arena_create();
        uint64_t state = seed * 7919;
        const uint32_t n = (uint32_t)count;
        PackItem *item = arena_array(a, PackItem, count), *other = arena_array(a, PackItem, count);
        for (uint32_t i = 0; i < n; i++) {
            const uint32_t first = !nested ? draw(&state, n) : i % 2 ? draw(&state, 2 * n) : i;
            const uint32_t last = !nested ? first + draw(&state, n / 3 + 1)
                                  : i % 2 ? first + 1 + draw(&state, 6)
                                          : 2 * n - i - draw(&state, 3);
            other[i] = item[i] = (PackItem){
                .size = 64 * (1 + (uint64_t)draw(&state, 50)), .first = first, .last = last};
        }
        first_fit(item, count);
        const PackMipProblem problem = {
            .item = item, .count = count, .name = "layout", .packed = true};
        PackMipAnswer answer;
        t.begin = seconds();
        pack_mip_solve(&problem, 1, 1, a, &answer);
        const double middle = seconds();
        const PackAnswer exact = pack_solve(other, count, NULL, a);
        t.spent += middle - t.begin;
        t.purpose += seconds() - middle;
        t.solved += answer.optimal;
        t.nodes += answer.nodes;
        t.gap += (double)(answer.height - answer.bound) / (double)answer.height;
        if (answer.optimal && exact.optimal && answer.height != exact.height)
            printf("they differ: %llu and %llu\n", (unsigned long long)answer.height,
                   (unsigned long long)exact.height);
        arena_release(a);
    }
    print_tally(&t, "layout", shape, count);
}

int main(void) {
    for (int tasks = 20; tasks <= 80; tasks *= 2)
        bench_order("chain", tasks, make_chain);
    for (int tasks = 20; tasks <= 80; tasks *= 2)
        bench_order("step", tasks, make_step);
    for (int count = 20; count <= 160; count *= 2)
        bench_pack("nested", true, count);
    for (int count = 20; count <= 80; count *= 2)
        bench_pack("random", false, count);
    return 0;
}
