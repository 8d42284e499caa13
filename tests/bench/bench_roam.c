// Plans one training step in one of several ways and prints what it needs, as one line of JSON; the
// script `roam` beside it runs this for every model, batch and way. Not a test.
//     bench_roam MODEL.plim --way WAY [--config NAME] [-D NAME=VALUE]... [--order NAME]
// Ways:
//   eager   (a) the model's operators in program order, in PyTorch's caching allocator
//   fused   our kernels in program order, in the same allocator
//   xla     (b) our kernels in the best of XLA's three orders, packed by best-fit decreasing
//   greedy  (c) our kernels in greedy list order, packed greedily by size
//   model   (d) our kernels in the order of MODeL's integer program, bounded by its default work
//   ours    (e) our kernels, order and layout as plimc chooses them
//   bound   bytes that no order of our kernels can go below
// All plan the same computation: one micro-batch, f32, AdamW without clipping. Our kernels are what
// the passes before `order` make of it: fused, logits in chunks, cheap values computed again. A
// schedule that computes them again too early is worse off for it, so (b) and (c) are also tried
// without pass recompute, and the better plan is taken.
#include "frontend/frontend.h"
#include "passes/memory/order_mip.h"
#include "passes/memory/order_problem.h"
#include "passes/memory/pack.h"
#include "passes/pipeline.h"
#include "passes/storage.h"
#include "tests/bench/best_fit.h"
#include "tests/bench/eager_run.h"
#include "tests/bench/graph_bound.h"
#include "tests/bench/xla_orders.h"

#include "ir/check.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { SIZES_MAX = 32, TEXT_MAX = 1 << 20 };

typedef struct {
    const char *file, *way, *config;
    SizeOverride size[SIZES_MAX];
    int size_count;
    PassOptions options;
} Request;

// One module under way.
typedef struct {
    const Request *request;
    PassCtx cx;
    Module *m;
    Graph *train;
} Bench;

// What a plan needs, all but state_bytes above the state.
typedef struct {
    uint64_t height, load, state_bytes;
    uint64_t workspace_bytes; // of the instruction that needs most
    int buffer_count;
    const char *how;
} Needs;

// Of this process, all threads: other people's work doesn't count.
static double seconds(void) {
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

static _Noreturn void give_up(Bench *b, const char *why) {
    diag_print(b->cx.diag, stderr, false);
    fprintf(stderr, "bench_roam: %s: %s\n", b->request->file, why);
    exit(1);
}

static char *read_text(Bench *b, size_t *bytes) {
    FILE *in = fopen(b->request->file, "r");
    if (!in)
        give_up(b, "can't be read");
    char *text = arena_array(b->cx.arena, char, TEXT_MAX);
    *bytes = fread(text, 1, TEXT_MAX - 1, in);
    fclose(in);
    return text;
}

// The optimizer is AdamW for all, and nothing is clipped: a global norm would keep every gradient.
static void set_training(Graph *g) {
    for (int i = 0; i < g->node_count; i++)
        if (g->node[i]->op == OP_MINIMIZE) {
            node_set_attr(g, g->node[i], attr_text("optimizer", "adamw"));
            node_set_attr(g, g->node[i], attr_float("clip", 0));
        }
}

static void run_passes(Bench *b, const char *first, const char *last) {
    const char *name[32];
    int count = 0;
    bool inside = false;
    for (int i = 0; i < pass_count(); i++) {
        inside = inside || strcmp(pass_at(i)->name, first) == 0;
        if (inside)
            name[count++] = pass_at(i)->name;
        if (strcmp(pass_at(i)->name, last) == 0)
            break;
    }
    if (!pipeline_run(b->m, &b->cx, name, count, NULL, NULL))
        give_up(b, "a pass failed");
}

static Bench *bench_create(const Request *r) {
    Arena *a = arena_create();
    Bench *b = arena_new(a, Bench);
    b->request = r;
    b->cx = (PassCtx){.arena = a,
                      .scratch = arena_create(),
                      .diag = diag_create(a),
                      .options = &r->options,
                      .plan_memory = plan_memory_new()};
    size_t bytes = 0;
    const char *text = read_text(b, &bytes);
    const char *entry = "train";
    SizeOverride size[SIZES_MAX];
    memcpy(size, r->size, sizeof size);
    FrontendInput in = {.file = r->file,
                        .text = text,
                        .bytes = bytes,
                        .config = r->config,
                        .size = size,
                        .size_count = r->size_count,
                        .entry = &entry,
                        .entry_count = 1};
    FrontendFiles files = {0};
    diag_add_source(b->cx.diag, r->file, text, bytes);
    b->m = frontend_module(a, b->cx.diag, &in, &files);
    b->train = b->m ? module_find_entry(b->m, entry) : NULL;
    if (!b->train)
        give_up(b, "is no model with an entry train");
    set_training(b->train);
    run_passes(b, "simplify", "tidy");
    return b;
}

static uint32_t train_number(const Plan *p) {
    for (uint32_t i = 0; i < p->entry_count; i++)
        if (strcmp(p->entry[i].name, "train") == 0)
            return i;
    UNREACHABLE();
}

// The step's buffers as items of a packing; *count of them.
static PackItem *find_items(const Plan *p, Arena *a, int *count, Needs *needs) {
    const uint32_t entry = train_number(p);
    PackItem *item = arena_array(a, PackItem, p->buffer_count + 1);
    *count = 0;
    for (uint32_t i = 0; i < p->buffer_count; i++) {
        const PlanBuffer *buffer = &p->buffer[i];
        if (buffer->entry == UINT32_MAX)
            needs->state_bytes += storage_padded(buffer->bytes);
        if (buffer->entry != entry || buffer->bytes == 0)
            continue;
        if (buffer->kind == BUFFER_WORKSPACE && buffer->bytes > needs->workspace_bytes)
            needs->workspace_bytes = buffer->bytes;
        item[(*count)++] = (PackItem){.size = storage_padded(buffer->bytes),
                                      .first = buffer->first,
                                      .last = buffer->last,
                                      .offset = buffer->offset};
    }
    needs->buffer_count = *count;
    return item;
}

// The entry as a problem of ordering, and the tasks its answer is told in.
typedef struct {
    OrderProblem problem;
    const Tasks *tasks;
} Ordering;

static Ordering ordering_create(Bench *b, Arena *a) {
    CHECK(tasks_gather(b->train, a));
    // Tasks look into the list of nodes, which will be permuted.
    Graph *before = arena_new(a, Graph);
    *before = *b->train;
    before->node = arena_array(a, Node *, b->train->node_count + 1);
    memcpy(before->node, b->train->node, (size_t)b->train->node_count * sizeof *before->node);
    const Tasks *tasks = tasks_create(before, a);
    return (Ordering){order_problem(b->m, before, tasks, b->cx.options, a), tasks};
}

// The nodes of the tasks in that order.
static void apply_order(Graph *g, const Ordering *o, const int *order) {
    int count = 0;
    for (int i = 0; i < o->problem.og->task_count; i++) {
        const int source = o->problem.source[order[i]];
        for (int k = 0; source >= 0 && k < o->tasks->task[source].count; k++)
            g->node[count++] = o->tasks->task[source].node[k];
    }
    CHECK(count == g->node_count);
}

// Beside the baselines.
enum { IN_PROGRAM_ORDER = -1, BY_MODEL = -2 };

// Orders the step as asked, and makes the plan. False where there is no answer.
static bool plan_in_order(Bench *b, int which, Arena *a) {
    for (int i = 0; i < b->m->entry_count; i++)
        CHECK(tasks_gather(b->m->entry[i], a));
    const Ordering o = ordering_create(b, a);
    int *made = arena_array(a, int, o.problem.og->task_count + 1);
    const int *order = made;
    if (which >= 0) {
        baseline_order(o.problem.og, (BaselineOrder)which, a, made);
    } else if (which == IN_PROGRAM_ORDER) {
        order_program(o.problem.og, made);
    } else {
        const OrderMipProblem problem = {.og = o.problem.og, .name = "order"};
        OrderMipAnswer answer;
        order_mip_solve(&problem, 1, 1, a, &answer);
        order = answer.order;
    }
    if (!order)
        return false;
    apply_order(b->train, &o, order);
    run_passes(b, "lower", "schedule");
    return true;
}

// Packs the plan by best-fit decreasing: the better of XLA's two orders, or by size alone.
static Needs pack_best_fit(const Plan *p, bool by_time_too, Arena *a) {
    Needs needs = {.how = "by size"};
    int count;
    PackItem *item = find_items(p, a, &count, &needs);
    uint32_t at;
    needs.load = pack_load(item, count, a, &at);
    needs.height = best_fit(item, count, BEST_FIT_SIZE, a);
    const uint64_t other = by_time_too ? best_fit(item, count, BEST_FIT_TIME, a) : UINT64_MAX;
    if (other < needs.height) {
        needs.height = other;
        needs.how = "by time";
    }
    return needs;
}

// The step's buffers come and go by their live ranges, three steps.
static CachingStats cache_buffers(const Plan *p, bool with_state, Arena *a, Needs *needs) {
    int count;
    const PackItem *item = find_items(p, a, &count, needs);
    uint32_t end = 0;
    for (int i = 0; i < count; i++)
        end = item[i].last > end ? item[i].last : end;
    CachingAllocator *ca = caching_create(a);
    for (uint32_t i = 0; with_state && i < p->buffer_count; i++)
        if (p->buffer[i].entry == UINT32_MAX)
            caching_alloc(ca, p->buffer[i].bytes);
    uint32_t *block = arena_array(a, uint32_t, count + 1);
    for (int step = 0; step < 3; step++)
        for (uint32_t t = 0; t <= end; t++) {
            for (int i = 0; i < count; i++)
                if (item[i].first == t)
                    block[i] = caching_alloc(ca, item[i].size);
            for (int i = 0; i < count; i++)
                if (item[i].last == t)
                    caching_free(ca, block[i]);
        }
    return caching_stats(ca);
}

static void print_needs(const Needs *n, double order_seconds, double layout_seconds) {
    printf("\"arena\": %" PRIu64 ", \"load\": %" PRIu64 ", \"state\": %" PRIu64
           ", \"workspace\": %" PRIu64 ", \"buffers\": %d, \"how\": \"%s\", \"order_s\": %.4f, "
           "\"layout_s\": %.4f",
           n->height, n->load, n->state_bytes, n->workspace_bytes, n->buffer_count, n->how,
           order_seconds, layout_seconds);
}

static void print_cached(const CachingStats *step, const CachingStats *all) {
    printf("\"arena\": %" PRIu64 ", \"load\": %" PRIu64 ", \"total\": %" PRIu64,
           step->reserved_peak, step->allocated_peak, all->reserved_peak);
}

static void bench_eager(const Request *r) {
    Bench *b = bench_create(r);
    const CachingStats step = eager_run(b->m, b->train, EAGER_STEP_ONLY, b->cx.scratch);
    const CachingStats all = eager_run(b->m, b->train, EAGER_WITH_STATE, b->cx.scratch);
    printf("\"nodes\": %d, ", b->train->node_count);
    print_cached(&step, &all);
}

static void bench_fused(const Request *r) {
    Bench *b = bench_create(r);
    Arena *a = arena_create();
    run_passes(b, "chunk", "fuse");
    CHECK(plan_in_order(b, IN_PROGRAM_ORDER, a));
    Needs needs = {0};
    const CachingStats step = cache_buffers(b->cx.plan, false, a, &needs);
    const CachingStats all = cache_buffers(b->cx.plan, true, a, &needs);
    print_cached(&step, &all);
}

// The lowest of the orders, with and without values computed again, by what the packed plan needs.
static void bench_orders(const Request *r, const int *which, int count, bool by_time_too) {
    static const char *const name[] = {"list", "depth first", "post-order", "greedy list"};
    Needs best = {.height = UINT64_MAX};
    double order_seconds = 0, layout_seconds = 0;
    for (int i = 0; i < 2 * count; i++) {
        Bench *b = bench_create(r);
        Arena *a = arena_create();
        const bool again = i < count;
        run_passes(b, "chunk", again ? "recompute" : "legalize");
        run_passes(b, "fuse", "fuse");
        const double start = seconds();
        if (!plan_in_order(b, which[i % count], a))
            continue;
        const double ordered = seconds();
        Needs needs = pack_best_fit(b->cx.plan, by_time_too, a);
        order_seconds += ordered - start;
        layout_seconds += seconds() - ordered;
        needs.how =
            arena_format(a, "%s, %s%s", which[0] == BY_MODEL ? "MODeL" : name[which[i % count]],
                         needs.how, again ? "" : ", nothing computed again");
        if (needs.height < best.height)
            best = needs;
    }
    if (best.height == UINT64_MAX)
        printf("\"arena\": null");
    else
        print_needs(&best, order_seconds, layout_seconds);
}

// Peak resident memory of the process in bytes.
static uint64_t peak_memory(void) {
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return (uint64_t)usage.ru_maxrss * 1024;
}

static void bench_ours(const Request *r) {
    Bench *b = bench_create(r);
    run_passes(b, "chunk", "fuse");
    printf("\"nodes\": %d, ", b->train->node_count);
    const uint64_t before = peak_memory();
    const double start = seconds();
    run_passes(b, "order", "order");
    const double ordered = seconds();
    run_passes(b, "lower", "schedule");
    const double lowered = seconds();
    run_passes(b, "layout", "layout");
    const double placed = seconds();
    Needs needs = {.how = "ours"};
    Arena *a = arena_create();
    int count;
    const PackItem *item = find_items(b->cx.plan, a, &count, &needs);
    uint32_t at;
    needs.load = pack_load(item, count, a, &at);
    for (int i = 0; i < count; i++) {
        const uint64_t top = item[i].offset + item[i].size - needs.state_bytes;
        needs.height = top > needs.height ? top : needs.height;
    }
    print_needs(&needs, ordered - start, placed - lowered);
    printf(", \"lower_s\": %.4f, \"peak_before\": %" PRIu64 ", \"peak\": %" PRIu64
           ", \"remarks\": [",
           lowered - ordered, before, peak_memory());
    const char *separator = "";
    for (int i = 0; i < b->cx.remarks.count; i++) {
        const Remark *k = &b->cx.remarks.item[i];
        if (strcmp(k->subject, "train") == 0) {
            printf("%s\"%s: %s\"", separator, k->pass, k->text);
            separator = ", ";
        }
    }
    printf("]");
}

static void bench_bound(const Request *r) {
    Bench *b = bench_create(r);
    Arena *a = arena_create();
    run_passes(b, "chunk", "fuse");
    const Ordering o = ordering_create(b, a);
    const OrderGraph *og = o.problem.og;
    int task;
    const int64_t bound = graph_bound(og, a, &task);
    const int source = o.problem.source[task];
    const Node *n = source < 0 ? NULL : o.tasks->task[source].node[0];
    printf("\"tasks\": %d, \"bound\": %" PRId64 ", \"at\": \"%s %s\"", og->task_count, bound,
           n ? op_info(n->op)->name : "-", n ? n->scope : "");
}

static bool read_request(int argc, char **argv, Request *r) {
    for (int i = 1; i < argc; i++) {
        const char *flag = argv[i];
        const char *value = i + 1 < argc ? argv[i + 1] : NULL;
        if (flag[0] != '-') {
            r->file = flag;
            continue;
        }
        if (!value)
            return false;
        i++;
        if (strcmp(flag, "--way") == 0) {
            r->way = value;
        } else if (strcmp(flag, "--config") == 0) {
            r->config = value;
        } else if (strcmp(flag, "--order") == 0) {
            r->options.order = value;
        } else if (strcmp(flag, "-D") == 0 && strchr(value, '=') && r->size_count < SIZES_MAX) {
            char *name = argv[i];
            char *equals = strchr(name, '=');
            *equals = '\0';
            r->size[r->size_count++] = (SizeOverride){.name = name, .value = equals + 1};
        } else {
            return false;
        }
    }
    return r->file && r->way;
}

int main(int argc, char **argv) {
    static const int xla[] = {XLA_LIST, XLA_DEPTH_FIRST, XLA_POST_ORDER};
    static const int greedy[] = {GREEDY_LIST}, model[] = {BY_MODEL};
    Request r = {.options = {.target = "cpu:x86-64-v3", .precision = "f32"}};
    if (!read_request(argc, argv, &r)) {
        fprintf(stderr, "usage: bench_roam MODEL.plim --way WAY [--config NAME] [-D NAME=VALUE]\n");
        return 2;
    }
    printf("{\"way\": \"%s\", ", r.way);
    if (strcmp(r.way, "eager") == 0) {
        bench_eager(&r);
    } else if (strcmp(r.way, "fused") == 0) {
        bench_fused(&r);
    } else if (strcmp(r.way, "xla") == 0) {
        bench_orders(&r, xla, 3, true);
    } else if (strcmp(r.way, "greedy") == 0) {
        bench_orders(&r, greedy, 1, false);
    } else if (strcmp(r.way, "model") == 0) {
        bench_orders(&r, model, 1, false);
    } else if (strcmp(r.way, "ours") == 0) {
        bench_ours(&r);
    } else if (strcmp(r.way, "bound") == 0) {
        bench_bound(&r);
    } else {
        fprintf(stderr, "bench_roam: there is no way %s\n", r.way);
        return 2;
    }
    printf("}\n");
    return 0;
}
