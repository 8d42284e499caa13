// plimc: a model description in, a program out.
//
// The pipeline, as main reads it: text -> Module (frontend/, or graph text) -> Plan (passes/, or
// plan text) -> object -> executable. --emit and --dump-after stop on the way. Output is written
// whole or not at all. Exit status: 0 done; 1 the input or the machine is at fault and a sentence
// said so; 2 usage; 70 our bug.
#include "codegen/codegen.h"
#include "codegen/cuda.h"
#include "codegen/cuda_emit.h"
#include "frontend/frontend.h"
#include "passes/join_check.h"
#include "passes/pipeline.h"
#include "runtime/plan_report.h"
#include "tools/config_read.h"
#include "tools/dependencies.h"
#include "tools/explain.h"
#include "tools/micro_batch.h"
#include "tools/plimc_flags.h"
#include "tools/rates_file.h"
#include "tools/tool_io.h"

#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

// Error codes, without their P0.
enum {
    P_MICRO_BATCH = 505,
    P_TARGET = 852,
    P_PLANNED = 853,
    P_EMIT = 864,
    P_PASS = 891,
    P_PLAN_TEXT = 901,
    P_PLAN_UNSAFE = 902,
    P_RUNTIME = 952
};
enum { EXIT_INPUT = 1, INPUT_MAX = 64 << 20, PATH_ROOM = 4096 };

// One compilation under way.
typedef struct {
    const PlimcRequest *request; // as the command line has it
    PassOptions options;         // the request's, with the target resolved
    PassCtx cx;
    CpuTarget cpu; // of a CPU target; a GPU's is options.gpu
    FrontendFiles files;
    PublishedConfig published;     // of --config FILE.json
    Rates rates;                   // of --rates
    Module *module;                // NULL for .plan input
    int64_t micro_batch;           // as FrontendInput has it
    int64_t batch;                 // of a model's training, where micro_batch is not 0
    bool dumped;                   // --dump-after has printed: stop quietly
    double started, phase_started; // seconds, of now()
    const char *phase;             // under way, or NULL
} Compilation;

// Monotonic: only differences mean something.
static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
}

// Ends a phase and begins another (NULL: none). A terminal shows the current one on a line of its
// own.
static void enter_phase(Compilation *c, const char *name) {
    const double time = now();
    // With --time the phases have lines of their own.
    const bool terminal = isatty(STDERR_FILENO) == 1 && !c->request->quiet && !c->request->times;
    if (c->phase && c->request->times)
        fprintf(stderr, "%-10s %8.1f ms\n", c->phase, 1e3 * (time - c->phase_started));
    if (terminal)
        fprintf(stderr, name ? "\r\033[Kplimc: %s" : "\r\033[K", name);
    c->phase = name;
    c->phase_started = time;
}

// "gpt2" for "models/gpt2.plim".
static const char *base_name(Arena *a, const char *file) {
    const char *slash = strrchr(file, '/');
    const char *base = slash ? slash + 1 : file;
    const char *dot = strrchr(base, '.');
    // Standard input has no name to take.
    if (strcmp(base, "-") == 0)
        return "a.out";
    // A file named .plim keeps its dot: the base must not be empty.
    return dot && dot != base ? arena_text_span(a, base, (size_t)(dot - base)) : base;
}

// -o, or what the input's name gives for the kind of output; NULL for text, which goes to standard
// output.
static const char *output_name(const Compilation *c) {
    const PlimcRequest *r = c->request;
    const char *base = base_name(c->cx.arena, r->file);
    if (r->out)
        return r->out;
    return r->emit == OUT_EXECUTABLE ? base
           : r->emit == OUT_LIBRARY  ? arena_format(c->cx.arena, "lib%s.a", base)
           : r->emit == OUT_OBJECT   ? arena_format(c->cx.arena, "%s.o", base)
           : r->emit == OUT_CUBIN    ? arena_format(c->cx.arena, "%s.cubin", base)
                                     : NULL;
}

// -MD's rule, once what it is about is there; text on standard output goes by the input's name.
static bool write_dependencies(const Compilation *c) {
    const char *out = output_name(c);
    return dependencies_write(c->request, &c->files,
                              out ? out : base_name(c->cx.arena, c->request->file));
}

static bool no_micro_batch(Compilation *c, const char *what) {
    return diag_error(c->cx.diag, (Loc){.file = c->request->file}, P_MICRO_BATCH,
                      "--micro-batch is for model texts: %s has its micro-batches already", what);
}

// From graph text or a model. False with diagnostics.
static bool read_module(Compilation *c, const char *text, size_t bytes) {
    const PlimcRequest *r = c->request;
    if (tool_text_kind(r->file, text) == TEXT_GRAPH) {
        if (c->micro_batch)
            return no_micro_batch(c, "graph text");
        c->module = module_parse(c->cx.arena, c->cx.diag, r->file, text, bytes);
    } else {
        SizeOverride size[PLIMC_LIST_MAX];
        if (r->config_file && !config_read(c->cx.arena, c->cx.diag, r->config_file, &c->published))
            return false;
        // A copy: the frontend marks overrides it has used.
        memcpy(size, r->size, sizeof size);
        FrontendInput in = {.file = r->file,
                            .text = text,
                            .bytes = bytes,
                            .include = r->include,
                            .include_count = r->include_count,
                            .config = r->config,
                            .published_file = r->config_file,
                            .published = c->published.value,
                            .published_count = c->published.count,
                            .size = size,
                            .size_count = r->size_count,
                            .entry = r->entry,
                            .entry_count = r->entry_count,
                            .model = r->model,
                            .micro_batch = c->micro_batch};
        c->module = frontend_module(c->cx.arena, c->cx.diag, &in, &c->files);
        for (int i = 0; i < in.remarks.count; i++)
            remark_add(&c->cx, "elaborate", in.remarks.at[i].subject, "%s", in.remarks.at[i].text);
        c->batch = in.batch;
    }
    return c->module && module_verify(c->module, c->cx.diag);
}

// What is decided in a plan stays.
static bool is_planned(const Compilation *c) {
    diag_error(c->cx.diag, (Loc){.file = c->request->file}, P_PLANNED,
               "%s is for models and graphs: what it is about is decided in a plan",
               c->request->plans);
    diag_help(c->cx.diag, "give it when the plan is made");
    return false;
}

// The parser's sentence begins with line:column, which belong into the place.
// False with a diagnostic where it does not parse or is unsafe.
static bool read_plan(Compilation *c, const char *text, size_t bytes) {
    PlimError error;
    Loc loc = {.file = c->request->file};
    if (plan_parse(text, bytes, c->cx.plan_memory, &c->cx.plan, &error) != PLIM_OK) {
        int used = 0;
        if (sscanf(error.text, "%" SCNd32 ":%" SCNd32 ": %n", &loc.line, &loc.column, &used) < 2)
            loc = (Loc){.file = c->request->file};
        return diag_error(c->cx.diag, loc, P_PLAN_TEXT, "%s", error.text + used);
    }
    if (plan_verify(c->cx.plan, &error) != PLIM_OK)
        return diag_error(c->cx.diag, loc, P_PLAN_UNSAFE, "%s", error.text);
    return join_check(c->cx.plan, c->cx.diag, loc);
}

static void print_module(const Compilation *c, FILE *out) {
    if (c->cx.plan)
        plan_print(c->cx.plan, out);
    else
        module_print(c->module, out, 0);
}

// The text of the module or plan to -o, or to standard output.
static bool write_text(Compilation *c) {
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    if (!memory) {
        fprintf(stderr, "plimc: error: out of memory\n");
        return false;
    }
    print_module(c, memory);
    const bool good = fclose(memory) == 0 && tool_write("plimc", c->request->out, text, size);
    free(text);
    return good;
}

// Called after each pass; only the one asked for prints.
static void dump_pass(void *user, const Pass *pass, const Module *m, const PassCtx *cx) {
    Compilation *c = user;
    (void)m;
    if (strcmp(pass->name, c->request->dump_after) == 0) {
        c->cx.plan = cx->plan;
        c->dumped = write_text(c);
    }
}

// Passes up to and with --dump-after, or all.
static bool run_passes(Compilation *c) {
    const char *last = c->request->dump_after;
    const char *name[64];
    // The table's names up to the one asked for; with none, all passes.
    int count = 0;
    for (int i = 0; last && i < pass_count() && count < 64; i++) {
        name[count++] = pass_at(i)->name;
        if (strcmp(pass_at(i)->name, last) == 0)
            break;
    }
    if (last && !pass_find(last))
        return diag_error(c->cx.diag, (Loc){0}, P_PASS, "there is no pass named %s", last);
    return pipeline_run(c->module, &c->cx, name, count, last ? dump_pass : NULL, c);
}

static void print_remarks(const PassCtx *cx) {
    for (int i = 0; i < cx->remarks.count; i++)
        fprintf(stderr, "%s: %s: %s\n", cx->remarks.item[i].pass, cx->remarks.item[i].subject,
                cx->remarks.item[i].text);
}

static bool is_rung(const Remark *r) {
    return strcmp(r->pass, "frontier") == 0;
}

// A line a rung of every entry that has a choice.
static void print_frontier(const PassCtx *cx) {
    for (int i = 0; i < cx->remarks.count; i++)
        if (is_rung(&cx->remarks.item[i]))
            printf("%s: %s\n", cx->remarks.item[i].subject, cx->remarks.item[i].text);
}

// A line of every entry that has none, once all is planned.
static void print_no_choice(const PassCtx *cx, const Module *m) {
    for (int e = 0; e < m->entry_count; e++) {
        const char *name = m->entry[e]->name;
        bool has_choice = strcmp(name, "init") == 0; // not one of the text's
        for (int i = 0; i < cx->remarks.count; i++)
            has_choice = has_choice || (is_rung(&cx->remarks.item[i]) &&
                                        strcmp(cx->remarks.item[i].subject, name) == 0);
        if (!has_choice)
            printf("%s: no backward pass, so there is nothing to choose\n", name);
    }
}

// Where the runtime library lies: beside the installed tool, or in the build tree.
static const char *find_runtime(Arena *a) {
    // Relative to the tool's folder: an installation can be moved as a whole.
    static const char *const place[] = {"../lib/plimsoll/libplim_runtime.a",
                                        "../runtime/libplim_runtime.a"};
    char self[PATH_ROOM];
    const ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    if (length <= 0)
        return NULL;
    self[length] = '\0';
    char *slash = strrchr(self, '/');
    if (slash)
        *slash = '\0';
    for (size_t i = 0; i < sizeof place / sizeof place[0]; i++) {
        const char *path = arena_format(a, "%s/%s", self, place[i]);
        if (access(path, R_OK) == 0)
            return path;
    }
    return NULL;
}

// An executable, or a library and its header.
static bool link_program(Compilation *c, const char *object, size_t size) {
    const char *library = find_runtime(c->cx.arena);
    if (!library)
        return diag_error(c->cx.diag, (Loc){0}, P_RUNTIME,
                          "the runtime library libplim_runtime.a is not beside plimc");
    enter_phase(c, "link");
    Arena *a = c->cx.arena;
    const char *out = output_name(c);
    if (c->request->emit == OUT_LIBRARY)
        return codegen_library(a, c->cx.diag, object, size, c->cx.plan, library, out);
    return codegen_link(a, c->cx.diag, object, size, library, out);
}

// The plan's kernels as --emit wants them: text, or an object.
static bool emit(Compilation *c, char **bytes, size_t *size) {
    static const EmitKind kind[] = {
        [OUT_LLVM] = EMIT_LLVM,      [OUT_ASM] = EMIT_ASM,          [OUT_CUDA] = EMIT_CUDA,
        [OUT_PTX] = EMIT_PTX,        [OUT_CUBIN] = EMIT_CUBIN,      [OUT_OBJECT] = EMIT_OBJECT,
        [OUT_LIBRARY] = EMIT_OBJECT, [OUT_EXECUTABLE] = EMIT_OBJECT};
    // Kernels are compiled in parallel, in at most 8 threads.
    const long processors = sysconf(_SC_NPROCESSORS_ONLN);
    const int threads = processors > 8 ? 8 : (int)processors;
    const EmitKind wanted = kind[c->request->emit];
    if (plan_is_cuda(c->cx.plan))
        return cuda_emit(c->cx.arena, c->cx.diag, c->cx.plan, wanted, threads, bytes, size);
    return codegen_emit(c->cx.arena, c->cx.diag, c->cx.plan, &c->cpu, wanted, threads, bytes, size);
}

// Machine code for the plan's kernels, and what --emit makes of it.
static bool generate(Compilation *c) {
    const PlimcRequest *r = c->request;
    char *bytes = NULL;
    size_t size = 0;
    enter_phase(c, "codegen");
    if (!emit(c, &bytes, &size))
        return false;
    const bool good = r->emit >= OUT_LIBRARY ? link_program(c, bytes, size)
                                             : tool_write("plimc", output_name(c), bytes, size);
    free(bytes);
    return good;
}

static void print_done(const Compilation *c) {
    if (c->request->quiet || c->request->emit < OUT_LIBRARY)
        return;
    const Plan *p = c->cx.plan;
    char size[32], far_text[80] = "";
    const uint64_t bytes = plan_space_bytes(p, SPACE_DEVICE);
    const uint64_t host = plan_space_bytes(p, SPACE_HOST), disk = plan_space_bytes(p, SPACE_DISK);
    if (host + disk > 0)
        snprintf(far_text, sizeof far_text, ", %s (%llu bytes) %s",
                 plan_size_text(host + disk, size), (unsigned long long)(host + disk),
                 host ? "in the host's memory" : "on disk");
    fprintf(stderr, "plimc: %s for %s: %u kernels, arena %s (%llu bytes)%s, %.2f s\n", p->model,
            p->target, p->kernel_count, plan_size_text(bytes, size), (unsigned long long)bytes,
            far_text, now() - c->started);
}

// --target, or cpu. "cpu:native" is recorded by the name of this CPU, so that the plan
// says what it was made for. Which library computes products follows from the target and from how
// plimc was built.
static bool choose_target(Compilation *c) {
    const char *name = c->request->options.target ? c->request->options.target : "cpu";
    if (cuda_is_target(name)) {
        c->options.target = name;
        // What code for the host may use: the same on every machine that compiles.
        CpuTarget host;
        if (!cpu_target(c->cx.arena, c->cx.diag, "cpu", &host))
            return false;
        c->options.host_isa = host.isa;
        return cuda_target(c->cx.arena, c->cx.diag, name, &c->options.gpu);
    }
    if (!cpu_target(c->cx.arena, c->cx.diag, name, &c->cpu))
        return false;
    const bool native = strcmp(name, "cpu:native") == 0;
    // A generic tuning has no name: then the CPU level is the target's.
    const char *known = strcmp(c->cpu.tune, "generic") == 0 ? c->cpu.cpu : c->cpu.tune;
    c->options.target =
        native || strcmp(name, "cpu") == 0 ? arena_format(c->cx.arena, "cpu:%s", known) : name;
    c->options.isa = c->cpu.isa;
    // Below AVX-512 our own kernels compute products.
    c->options.onednn = c->cpu.avx512 && PLIM_ONEDNN;
    c->options.openblas = c->cpu.avx512 && !PLIM_ONEDNN && PLIM_OPENBLAS;
    c->options.bf16_products = c->options.onednn && c->cpu.bf16;
    return true;
}

static bool other_target(const Compilation *c, const char *name) {
    return diag_error(c->cx.diag, (Loc){.file = c->request->file}, P_TARGET,
                      "the plan was made for %s, which is not %s", c->cx.plan->target, name);
}

// A plan's code may use what the plan says it needs, which the program checks at start: any other
// target would compile to instructions that nobody checks for.
static bool choose_plan_target(Compilation *c) {
    const Plan *p = c->cx.plan;
    CpuTarget asked;
    const char *name = c->request->options.target;
    // A GPU's plan has launches for its architectures and no others.
    if (plan_is_cuda(p) || (name && cuda_is_target(name)))
        return !name || strcmp(name, p->target) == 0 || other_target(c, name);
    if (!cpu_target_of_plan(c->cx.arena, c->cx.diag, p, &c->cpu))
        return false;
    if (!name || strcmp(name, p->target) == 0)
        return true;
    if (!cpu_target(c->cx.arena, c->cx.diag, name, &asked))
        return false;
    // Another name with the same instructions is fine.
    return strcmp(asked.isa, p->isa) == 0 || other_target(c, name);
}

// Before anything is computed: LLVM's texts are a CPU's, the others a GPU's.
static bool check_emit(Compilation *c) {
    const char *target = c->cx.plan ? c->cx.plan->target : c->options.target;
    const PlimcEmit wanted = c->request->emit;
    const bool gpu = cuda_is_target(target);
    const bool cpu_only = wanted == OUT_LLVM || wanted == OUT_ASM;
    const bool gpu_only = wanted == OUT_CUDA || wanted == OUT_PTX || wanted == OUT_CUBIN;
    if (gpu ? !cpu_only : !gpu_only)
        return true;
    diag_error(c->cx.diag, (Loc){0}, P_EMIT, "--emit %s makes no sense for target %s",
               plimc_emit_name(wanted), target);
    diag_help(c->cx.diag,
              gpu ? "a GPU's kernels are cuda, ptx or cubin"
                  : "a CPU's kernels are llvm or asm; for a GPU's say --target cuda:...");
    return false;
}

// --rates, once the target is known.
static bool read_rates(Compilation *c) {
    const PassOptions *o = &c->options;
    const RatesRequest request = {.tool = "plimc",
                                  .path = c->request->rates,
                                  .target = o->target,
                                  .threads = (uint32_t)(o->workers ? o->workers : WORKERS)};
    if (!request.path)
        return true;
    c->options.rates = &c->rates;
    return rates_file_read(&request, c->cx.arena, c->cx.diag, c->cx.plan_memory, &c->rates);
}

// --- --micro-batch auto ---

typedef struct {
    const Compilation *of;
    const char *text;
    size_t bytes;
    int64_t smallest; // that is a model at all: a fused update wants the whole batch
} Trials;

// Picoseconds of a step of all entries that train: those with the names given.
static uint64_t predicted_training(const Plan *p, const char *const *name, int count) {
    uint64_t time = 0;
    for (uint32_t e = 0; e < p->entry_count; e++)
        for (int i = 0; i < count; i++)
            if (strcmp(p->entry[e].name, name[i]) == 0)
                time += p->entry[e].predicted;
    return time;
}

// All but code, in memory of its own; its diagnostics are nobody's. Only the size that is chosen
// is looked into.
static bool try_micro_batch(void *user, int64_t size, uint64_t *time) {
    Trials *t = user;
    Compilation c = {.request = t->of->request,
                     .options = t->of->options,
                     .cpu = t->of->cpu,
                     .micro_batch = size};
    c.options.frontier = false;
    c.options.dump_mip = NULL;
    Arena *a = arena_create();
    c.cx = (PassCtx){.arena = a,
                     .scratch = arena_create(),
                     .diag = diag_create(a),
                     .options = &c.options,
                     .plan_memory = plan_memory_new()};
    bool good = c.cx.plan_memory && read_module(&c, t->text, t->bytes);
    const char **name = good ? arena_array(a, const char *, c.module->entry_count + 1) : NULL;
    int count = 0;
    t->smallest = good ? size : t->smallest;
    for (int i = 0; good && i < c.module->entry_count; i++) {
        const Graph *g = c.module->entry[i];
        bool trains = false;
        for (int k = 0; k < g->node_count; k++)
            trains = trains || g->node[k]->op == OP_MINIMIZE;
        if (trains)
            name[count++] = g->name;
    }
    good = good && pipeline_run(c.module, &c.cx, NULL, 0, NULL, NULL);
    if (good)
        *time = predicted_training(c.cx.plan, name, count);
    plan_memory_release(c.cx.plan_memory);
    arena_release(c.cx.scratch);
    arena_release(a);
    return good;
}

// Finds the size and leaves it in c->micro_batch. Where none fits it is the smallest, whose error
// then says what is in the way.
static bool choose_micro_batch(Compilation *c, const char *text, size_t bytes) {
    // The whole batch is the first size to try, and tells the others.
    c->micro_batch = MICRO_BATCH_WHOLE;
    if (!read_module(c, text, bytes))
        return false;
    enter_phase(c, "micro-batches");
    Trials t = {.of = c, .text = text, .bytes = bytes, .smallest = c->batch};
    const int64_t size = micro_batch_choose(c->batch, try_micro_batch, &t);
    c->micro_batch = size ? size : t.smallest;
    remark_add(&c->cx, "micro-batch", c->module->name ? c->module->name : "",
               size ? "%lld of %lld at once is predicted to be fastest"
                    : "not even %lld of %lld at once fits",
               (long long)c->micro_batch, (long long)c->batch);
    if (!c->request->quiet) {
        enter_phase(c, NULL);
        fprintf(stderr,
                size ? "plimc: micro-batches of %lld of the batch of %lld\n"
                     : "plimc: not even micro-batches of %lld of the batch of %lld fit; what they "
                       "lack:\n",
                (long long)c->micro_batch, (long long)c->batch);
    }
    return true;
}

// The module of a model or graph text, with micro-batches as asked for.
static bool read_input(Compilation *c, const char *text, size_t bytes) {
    // Whether the text is fine is seen at one size as well as at another.
    if (c->request->micro_batch_auto && !c->request->check &&
        tool_text_kind(c->request->file, text) != TEXT_GRAPH && !choose_micro_batch(c, text, bytes))
        return false;
    return read_module(c, text, bytes);
}

// Everything after the input's text is at hand.
static bool compile(Compilation *c, const char *text, size_t bytes) {
    const PlimcRequest *r = c->request;
    diag_add_source(c->cx.diag, r->file, text, bytes);
    enter_phase(c, "read");
    if (tool_text_kind(r->file, text) == TEXT_PLAN) {
        if (c->micro_batch)
            return no_micro_batch(c, "a plan");
        if (r->plans)
            return is_planned(c);
        if (!read_plan(c, text, bytes) || !choose_plan_target(c))
            return false;
    } else if (!choose_target(c) || !read_rates(c) || !read_input(c, text, bytes)) {
        return false;
    }
    if (!check_emit(c))
        return false;
    // From here on in the order of the pipeline, with a way out after each station.
    if (r->check)
        return true;
    if (r->emit == OUT_GRAPH && !r->dump_after)
        return write_text(c);
    enter_phase(c, "plan");
    const bool planned = c->cx.plan || run_passes(c);
    if (r->options.frontier)
        print_frontier(&c->cx);
    if (r->options.frontier && planned)
        print_no_choice(&c->cx, c->module);
    if (!planned || r->options.frontier)
        return planned;
    if (r->remarks)
        print_remarks(&c->cx);
    if (r->dump_after)
        return c->dumped;
    if (r->emit == OUT_PLAN)
        return write_text(c);
    return generate(c);
}

static int run(Arena *a, const PlimcRequest *r) {
    size_t bytes = 0;
    char *text = tool_read("plimc", r->file, INPUT_MAX, &bytes);
    if (!text)
        return EXIT_INPUT;
    Compilation c = {
        .request = r, .options = r->options, .micro_batch = r->micro_batch, .started = now()};
    c.options.tool = "plimc " PLIM_VERSION;
    c.options.flags = r->flags;
    c.cx = (PassCtx){.arena = a,
                     .scratch = arena_create(),
                     .diag = diag_create(a),
                     .options = &c.options,
                     .plan_memory = plan_memory_new()};
    if (!c.cx.plan_memory)
        fprintf(stderr, "plimc: error: out of memory\n");
    const bool good = c.cx.plan_memory && compile(&c, text, bytes) && write_dependencies(&c);
    // Clears the line of the phase before anything else is printed.
    enter_phase(&c, NULL);
    if (r->json_errors)
        diag_print_json(c.cx.diag, stderr);
    else
        diag_print(c.cx.diag, stderr, tool_color());
    if (good && r->config_file && !r->quiet)
        config_print_used(&c.published, r->config_file, stderr);
    if (good && !r->check && !r->dump_after && !r->options.frontier)
        print_done(&c);
    plan_memory_release(c.cx.plan_memory);
    arena_release(c.cx.scratch);
    free(text);
    return good ? 0 : EXIT_INPUT;
}

int main(int argc, char **argv) {
    Arena *a = arena_create();
    PlimcRequest request;
    int status = plimc_read_flags(a, argc, argv, &request);
    if (status == 0 && request.help)
        plimc_print_help();
    else if (status == 0 && request.version)
        printf("plimc %s\n", PLIM_VERSION);
    else if (status == 0 && request.explain)
        status = explain_code(request.explain);
    else if (status == 0)
        status = run(a, &request);
    // Everything a compilation allocates is in the arena, the scratch or the plan's memory.
    arena_release(a);
    return status == 0 && !tool_flush("plimc") ? EXIT_INPUT : status;
}
