// plim-opt: passes by name over text. Graph text in, verified graph text out; a list with `lower`
// in it gives a plan, and plan text in is for the passes that work on plans.
//
// Reads everything, runs the passes, prints into memory and only then writes, to a temporary that
// is renamed: whatever goes wrong, the output is whole or not there. Diagnostics go to stderr. Exit
// status: 0 done, 1 the input is at fault, 2 usage, 70 our bug.
#include "ir/module.h"
#include "passes/pipeline.h"
#include "runtime/flags.h"
#include "tools/far_flag.h"
#include "tools/pack_command.h"
#include "tools/rates_file.h"
#include "tools/tool_io.h"

#include <stdlib.h>
#include <string.h>

static const Flag flag_table[] = {
    {"--passes", "A,B,...", "Passes",
     "run these, in this order (default: none, the text is verified)"},
    {"--all", NULL, "Passes", "run every pass, in the table's order"},
    {"--list", NULL, "Passes", "print the table of passes and stop"},
    {"--pass-limit", "N", "Passes", "make at most N optional rewrites, to bisect a wrong one"},
    {"--remarks", NULL, "Passes", "print what the passes have to say to stderr"},
    {"-o", "OUT", "Output", "write there instead of standard output"},
    {"--locs", NULL, "Output", "print each operator's place in the model text"},
    {"--target", "NAME", "Options", "cpu, cpu:x86-64-v4, ... (default cpu)"},
    {"--precision", "f32|bf16", "Options", "compute in this type, whatever the text says"},
    {"--budget", "SIZE", "Options", "bytes a device; takes KiB, MiB, GiB"},
    {"--far", "KIND[=SIZE]", "Options",
     "what may move: to disk (cpu) or host (cuda), at most SIZE"},
    {"--order", "NAME", "Options", "least (default), program, depth-first, list or eager"},
    {"--arrange", "NAME", "Options", "naive: buffers share no bytes"},
    {"--chunk", "SIZE", "Options", "logits held at once by the pass chunk (default 16MiB)"},
    {"--rates", "FILE", "Options", "predict times by what `PROGRAM tune` has measured"},
    {"--csv", "IN.csv", "Packing", "pack the buffers of a CSV file, and print one JSON line"},
    {"--capacity", "SIZE", "Packing", "stop once they fit in this; exit 1 where they don't"},
    {"--help", NULL, "Other", "print this and stop"},
};
enum { FLAG_COUNT = sizeof flag_table / sizeof flag_table[0], INPUT_MAX = 64 << 20 };

typedef struct {
    const char *file, *out, *passes, *csv, *rates, *far;
    bool all, list, help, remarks;
    int print_flags;   // of module_print
    uint64_t capacity; // of --csv
    PassOptions options;
} Request;

// Gives the exit status that goes with the sentence.
static int usage(const char *text, const char *what) {
    fprintf(stderr, "plim-opt: %s%s\n", text, what);
    fprintf(stderr, "plim-opt --help lists the options\n");
    return 2;
}

// --pass-limit takes a count, the rest sizes. False where the value is none.
static bool set_number(Request *r, const char *name, const char *value) {
    if (strcmp(name, "--pass-limit") == 0)
        return tool_count(value, 1, &r->options.rewrite_limit);
    uint64_t *at = strcmp(name, "--budget") == 0     ? &r->options.budget
                   : strcmp(name, "--capacity") == 0 ? &r->capacity
                                                     : &r->options.chunk_bytes;
    return flags_size(value, at);
}

// Where an option's text goes, or NULL.
static const char **text_option(Request *r, const char *name) {
    const struct {
        const char *name;
        const char **at;
    } known[] = {{"--csv", &r->csv},
                 {"--far", &r->far},
                 {"--passes", &r->passes},
                 {"-o", &r->out},
                 {"--rates", &r->rates},
                 {"--target", &r->options.target},
                 {"--precision", &r->options.precision},
                 {"--order", &r->options.order},
                 {"--arrange", &r->options.arrange}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].name, name) == 0)
            return known[i].at;
    return NULL;
}

// Gives true, so that it can stand beside set_number.
static bool set_switch(Request *r, const char *name) {
    r->all = r->all || strcmp(name, "--all") == 0;
    r->list = r->list || strcmp(name, "--list") == 0;
    r->help = r->help || strcmp(name, "--help") == 0;
    r->remarks = r->remarks || strcmp(name, "--remarks") == 0;
    if (strcmp(name, "--locs") == 0)
        r->print_flags |= GRAPH_PRINT_LOCS;
    return true;
}

// 0, or an exit status after a sentence.
static int read_flags(int argc, char **argv, Request *r) {
    FlagCursor cursor = {
        .table = flag_table, .table_count = FLAG_COUNT, .argc = argc, .argv = argv, .at = 1};
    for (;;) {
        const Flag *flag = NULL;
        const char *value = NULL;
        const FlagResult got = flags_next(&cursor, &flag, &value);
        if (got == FLAGS_END)
            break;
        if (got == FLAGS_WRONG)
            return usage(cursor.error, "");
        if (got == FLAGS_PLAIN) {
            if (r->file)
                return usage("one input at a time, not also ", value);
            r->file = value;
            continue;
        }
        // Texts first: what is left with a value is a number, without one a switch.
        const char **text = text_option(r, flag->name);
        if (text)
            *text = value;
        else if (flag->value ? !set_number(r, flag->name, value) : !set_switch(r, flag->name))
            return usage("this is not a number or size: ", value);
    }
    if (r->csv && (r->file || r->passes || r->all))
        return usage("--csv packs one file, and runs no passes", "");
    if (r->csv && r->out && strcmp(r->out, "-") == 0)
        return usage("-o is a file with --csv: standard output has the JSON line", "");
    if (r->capacity && !r->csv)
        return usage("--capacity goes with --csv", "");
    if (!r->file && !r->list && !r->help && !r->csv)
        return usage("which file? a .graph, a .plan, or - for standard input", "");
    // The other names (target, order, arrange) are checked where they are used.
    const char *precision = r->options.precision;
    if (precision && strcmp(precision, "f32") != 0 && strcmp(precision, "bf16") != 0)
        return usage("--precision is f32 or bf16, not ", precision);
    return 0;
}

static void print_passes(void) {
    for (int i = 0; i < pass_count(); i++)
        printf("%-10s %s\n", pass_at(i)->name, pass_at(i)->help);
}

// Splits "a,b" in place of a copy. Returns the number of names, -1 where one is unknown.
static int read_passes(Arena *a, const char *text, const char ***out) {
    if (!text)
        return 0;
    char *at = arena_text(a, text);
    // One name more than there are commas.
    int count = 1;
    for (const char *c = text; *c; c++)
        count += *c == ',';
    // Names lie in the copy, each ended where its comma was.
    *out = arena_array(a, const char *, count);
    for (int i = 0; i < count; i++) {
        char *next = at + strcspn(at, ",");
        if (*next)
            *next++ = 0;
        (*out)[i] = at;
        if (!pass_find(at)) {
            usage("there is no pass named ", at);
            fprintf(stderr, "plim-opt --list lists the passes\n");
            return -1;
        }
        at = next;
    }
    return count;
}

// Sets *module, or cx->plan for plan text. Plan text is parsed, not verified: unsafe plans
// may be looked at, too.
static bool read_input(const Request *r, PassCtx *cx, const char *text, size_t bytes,
                       Module **module) {
    // So that diagnostics can show the line they speak of.
    diag_add_source(cx->diag, r->file, text, bytes);
    if (tool_text_kind(r->file, text) != TEXT_PLAN) {
        *module = module_parse(cx->arena, cx->diag, r->file, text, bytes);
        return *module && module_verify(*module, cx->diag);
    }
    PlimError error = {{0}};
    if (plan_parse(text, bytes, cx->plan_memory, &cx->plan, &error) == PLIM_OK)
        return true;
    fprintf(stderr, "%s:%s\n", r->file, error.text);
    return false;
}

// A plan may be transformed by the passes that work on plans only.
static bool check_passes(const PassCtx *cx, const char *const *name, int count) {
    for (int i = 0; cx->plan && i < count; i++)
        if (!(pass_find(name[i])->needs & (IR_PLAN | IR_SCHEDULED | IR_PLACED))) {
            fprintf(stderr, "plim-opt: pass %s works on graphs, and this is a plan\n", name[i]);
            return false;
        }
    return true;
}

// Whole in memory first, so that nothing is written where printing fails.
static bool print_output(const Request *r, const Module *m, const PassCtx *cx) {
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    if (!memory) {
        fprintf(stderr, "plim-opt: out of memory\n");
        return false;
    }
    if (cx->plan)
        plan_print(cx->plan, memory);
    else
        module_print(m, memory, r->print_flags);
    const bool done = fclose(memory) == 0 && tool_write("plim-opt", r->out, text, size);
    free(text);
    return done;
}

static void print_remarks(const PassCtx *cx) {
    for (int i = 0; i < cx->remarks.count; i++) {
        const Remark *remark = &cx->remarks.item[i];
        fprintf(stderr, "%s: %s: %s\n", remark->pass, remark->subject, remark->text);
    }
}

// --rates, into the options.
static bool read_rates(Request *r, PassCtx *cx, Rates *out) {
    const RatesRequest request = {
        .tool = "plim-opt", .path = r->rates, .target = r->options.target, .threads = WORKERS};
    if (!r->rates)
        return true;
    r->options.rates = out;
    return rates_file_read(&request, cx->arena, cx->diag, cx->plan_memory, out);
}

// False after a sentence or with diagnostics, which main prints.
static bool run(const Request *r, PassCtx *cx, const char *const *name, int count) {
    size_t bytes = 0;
    char *file = tool_read("plim-opt", r->file, INPUT_MAX, &bytes);
    if (!file)
        return false;
    // Locations and names point into the text, which must live as long as the module.
    const char *text = arena_text_span(cx->arena, file, bytes);
    free(file);
    Module *m = NULL;
    if (!read_input(r, cx, text, bytes, &m) || !check_passes(cx, name, count))
        return false;
    // To pipeline_run no names mean every pass, to us none.
    if ((count || r->all) && !pipeline_run(m, cx, name, r->all ? 0 : count, NULL, NULL))
        return false;
    if (r->remarks)
        print_remarks(cx);
    return print_output(r, m, cx);
}

int main(int argc, char **argv) {
    Request r = {.options = {.target = "cpu", .tool = "plim-opt"}};
    int status = read_flags(argc, argv, &r);
    if (status)
        return status;
    // Neither needs an input.
    if (r.help || r.list) {
        if (r.help)
            printf("usage: plim-opt [--passes A,B,...] [-o OUT] FILE.graph|FILE.plan|-\n"
                   "       plim-opt --csv IN.csv [--capacity SIZE] [-o OUT.csv]\n");
        if (r.help)
            flags_print(flag_table, FLAG_COUNT, stdout);
        else
            print_passes();
        return tool_flush("plim-opt") ? 0 : 1;
    }
    if (r.csv)
        return pack_command(r.csv, r.out, r.capacity);
    Arena *arena = arena_create();
    if (r.far && !far_flag_read(arena, r.far, &r.options)) {
        arena_release(arena);
        return usage("--far takes disk, host, disk=SIZE or host=SIZE, not ", r.far);
    }
    PassCtx cx = {.arena = arena, .scratch = arena_create(), .options = &r.options};
    Rates rates;
    cx.diag = diag_create(cx.arena);
    cx.plan_memory = plan_memory_new();
    const char **name = NULL;
    const int count = read_passes(cx.arena, r.passes, &name);
    // read_passes has said what is wrong; whatever else fails ends with 1.
    status = count < 0 ? 2 : 1;
    if (!cx.plan_memory)
        fprintf(stderr, "plim-opt: out of memory\n");
    else if (count >= 0 && read_rates(&r, &cx, &rates) && run(&r, &cx, name, count))
        status = 0;
    // Warnings too, where all went well.
    diag_print(cx.diag, stderr, tool_color());
    plan_memory_release(cx.plan_memory);
    arena_release(cx.scratch);
    arena_release(cx.arena);
    return status;
}
