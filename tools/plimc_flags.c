// One table makes the parser and the help. Flags of the contract that nothing stands behind yet are
// refused by name, so that no script believes they did something.
#include "tools/plimc_flags.h"

#include "runtime/flags.h"
#include "tools/far_flag.h"
#include "tools/tool_io.h"

#include <stdio.h>
#include <string.h>

enum { EXIT_USAGE = 2, EFFORT_MAX = 1000 };

// Name, value (NULL: a switch), heading in the help, help. The headings Model, Target and Plan
// also decide what is_recorded keeps.
static const Flag flag_table[] = {
    {"-o", "OUT", "Output", "where to; - is standard output (default: the model's base name)"},
    {"--emit", "KIND", "Output",
     "graph, plan, llvm, asm, cuda, ptx, cubin, obj, lib or exe (default)"},
    {"--check", NULL, "Output", "stop after checking the input"},
    {"--dump-after", "PASS", "Output", "print what a pass made, and stop there"},
    {"--frontier", NULL, "Output", "print what there is to choose from under a budget, and stop"},
    {"--remarks", NULL, "Output", "tell what the passes chose, and why"},
    {"--dump-mip", "DIR", "Output", "write order and layout as integer programs (CPLEX LP)"},
    {"-MD", "FILE", "Output", "write the files read as a make rule"},
    {"--error-format", "text|json", "Output", "how diagnostics are written"},
    {"--explain", "CODE", "Output", "what an error code means"},
    {"--quiet", NULL, "Output", "no progress"},
    {"-D", "NAME=VALUE", "Model", "a size of the model, in place of the text's own"},
    {"--config", "NAME|FILE.json", "Model", "a config of the model, or a published one"},
    {"--model", "NAME", "Model", "which model, where the file has several"},
    {"--entry", "NAME,...", "Model", "only these entries"},
    {"--micro-batch", "N|auto", "Model",
     "train on N of the batch at once; auto: what is fastest in --budget"},
    {"-I", "DIR", "Model", "where `use` looks"},
    {"--target", "NAME", "Target",
     "cpu (x86-64-v3), cpu:x86-64-v4, cpu:native, ..., cuda:sm_90a, ..."},
    {"--precision", "f32|bf16", "Target", "compute in this type, whatever the text says"},
    {"--budget", "SIZE", "Target",
     "bytes of memory, such as 2GiB: values are computed again to fit"},
    {"--far", "KIND[=SIZE]", "Target", "what may move: to disk (cpu) or host (cuda), at most SIZE"},
    {"--threads", "N", "Target", "most worker threads the program may use (8)"},
    {"--order", "NAME", "Plan", "least (default), program, depth-first, list or eager"},
    {"--arrange", "NAME", "Plan", "naive: no two buffers share bytes"},
    {"--pass-limit", "N", "Plan", "make at most N optional rewrites, to bisect a wrong one"},
    {"--rates", "FILE", "Plan", "predict times by what `PROGRAM tune` has measured"},
    {"--strict", NULL, "Plan", "refuse degraded plans"},
    {"--effort", "N", "Plan", "N times the work of searching (1); from 2 on also integer programs"},
    {"--time", NULL, "Other", "print the time of each phase"},
    {"--version", NULL, "Other", "print the version"},
    {"--help", NULL, "Other", "this text"},
};
enum { FLAG_COUNT = sizeof flag_table / sizeof flag_table[0] };

// Promised for later: refuse_later knows them by name.
static const char *const later_table[] = {"--cluster", "--mesh", "--place"};

void plimc_print_help(void) {
    printf("usage: plimc FILE.plim|FILE.graph|FILE.plan|- [options]\n"
           "Compiles a model description into a program that trains and runs it.\n");
    flags_print(flag_table, FLAG_COUNT, stdout);
}

// A sentence to stderr; value, where there is one, is the text at fault.
static int wrong(const char *what, const char *value) {
    fprintf(stderr, "plimc: %s%s%s; see plimc --help\n", what, value ? " " : "",
            value ? value : "");
    return EXIT_USAGE;
}

// In the order of PlimcEmit.
static const char *const emit_name[] = {"graph", "plan",  "llvm", "asm", "cuda",
                                        "ptx",   "cubin", "obj",  "lib", "exe"};
enum { EMIT_COUNT = sizeof emit_name / sizeof emit_name[0] };

const char *plimc_emit_name(PlimcEmit emit) {
    return emit_name[emit];
}

static bool read_emit(const char *value, PlimcEmit *out) {
    for (int i = 0; i < EMIT_COUNT; i++)
        if (strcmp(emit_name[i], value) == 0) {
            *out = (PlimcEmit)i;
            return true;
        }
    return false;
}

// "train,eval": no empty name, but a comma at the end is passed over. May be given again to add
// more.
static bool read_entries(Arena *a, const char *value, PlimcRequest *r) {
    while (*value) {
        const size_t length = strcspn(value, ",");
        if (length == 0 || r->entry_count == PLIMC_LIST_MAX)
            return false;
        r->entry[r->entry_count++] = arena_text_span(a, value, length);
        value += length + (value[length] == ',');
    }
    return r->entry_count > 0;
}

// "NAME=VALUE". The value stays text, which the frontend reads.
static bool read_size_override(Arena *a, const char *value, PlimcRequest *r) {
    const char *equal = strchr(value, '=');
    if (!equal || equal == value || r->size_count == PLIMC_LIST_MAX)
        return false;
    r->size[r->size_count++] = (SizeOverride){
        .name = arena_text_span(a, value, (size_t)(equal - value)), .value = equal + 1};
    return true;
}

// Whether value is among the count known words.
static bool one_of(const char *value, const char *const *known, int count) {
    for (int i = 0; i < count; i++)
        if (strcmp(value, known[i]) == 0)
            return true;
    return false;
}

// --budget takes a size; --pass-limit, --effort and --threads take a count from 1 on.
static bool take_number(PlimcRequest *r, const char *name, const char *value) {
    int64_t n;
    if (strcmp(name, "--budget") == 0)
        return flags_size(value, &r->options.budget) && r->options.budget > 0;
    if (!tool_count(value, 1, &n))
        return false;
    if (strcmp(name, "--pass-limit") == 0)
        r->options.rewrite_limit = n;
    else if (strcmp(name, "--effort") == 0)
        r->options.effort = n <= EFFORT_MAX ? (int)n : 0;
    else
        r->options.workers = n <= 1024 ? (int)n : 0;
    // 1024: each worker has workspace of its own in the arena of every kernel that needs some.
    return strcmp(name, "--pass-limit") == 0 ||
           n <= (strcmp(name, "--effort") == 0 ? EFFORT_MAX : 1024);
}

static bool take_micro_batch(PlimcRequest *r, const char *value) {
    r->micro_batch_auto = strcmp(value, "auto") == 0;
    r->micro_batch = r->micro_batch_auto ? MICRO_BATCH_WHOLE : 0;
    return r->micro_batch_auto || tool_count(value, 1, &r->micro_batch);
}

// Flags whose value is one of a few words.
static bool take_choice(PlimcRequest *r, const char *name, const char *value) {
    static const char *const precision[] = {"f32", "bf16"}, *const format[] = {"text", "json"},
                             *const order[] = {"least", "program", "depth-first", "list", "eager"};
    // Stored before it is checked: a refused value ends the program anyway.
    if (strcmp(name, "--precision") == 0)
        r->options.precision = value;
    else if (strcmp(name, "--order") == 0)
        r->options.order = value;
    else if (strcmp(name, "--arrange") == 0)
        r->options.arrange = value;
    else
        r->json_errors = strcmp(value, "json") == 0;
    return strcmp(name, "--precision") == 0 ? one_of(value, precision, 2)
           : strcmp(name, "--order") == 0   ? one_of(value, order, 5)
           : strcmp(name, "--arrange") == 0 ? strcmp(value, "naive") == 0
                                            : one_of(value, format, 2);
}

// Switches only turn on, so that giving one twice is harmless.
static void take_switch(PlimcRequest *r, const char *name) {
    const struct {
        const char *name;
        bool *at;
    } known[] = {{"--check", &r->check},
                 {"--quiet", &r->quiet},
                 {"--help", &r->help},
                 {"--version", &r->version},
                 {"--remarks", &r->remarks},
                 {"--time", &r->times},
                 {"--strict", &r->options.strict},
                 {"--frontier", &r->options.frontier}};
    for (size_t i = 0; i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].name, name) == 0)
            *known[i].at = true;
}

static bool ends_with(const char *text, const char *ending) {
    const size_t length = strlen(text), size = strlen(ending);
    return length >= size && strcmp(text + length - size, ending) == 0;
}

// False where the value makes no sense.
static bool take_flag(Arena *a, PlimcRequest *r, const char *name, const char *value) {
    const struct {
        const char *name;
        const char **at;
    } text[] = {{"-o", &r->out},
                {"--model", &r->model},
                {"-MD", &r->dependencies},
                {"--dump-after", &r->dump_after},
                {"--rates", &r->rates},
                {"--dump-mip", &r->options.dump_mip},
                {"--explain", &r->explain},
                {"--target", &r->options.target}};
    // Text as it stands first, then one of a few words, then what has a syntax of its own; of what
    // is left, flags with a value are numbers and those without are switches.
    static const char *const choice[] = {"--precision", "--order", "--arrange", "--error-format"};
    for (size_t i = 0; i < sizeof text / sizeof text[0]; i++)
        if (strcmp(text[i].name, name) == 0) {
            *text[i].at = value;
            return true;
        }
    if (one_of(name, choice, 4))
        return take_choice(r, name, value);
    if (strcmp(name, "--config") == 0) {
        // Both may be given: the file beats the block.
        *(ends_with(value, ".json") ? &r->config_file : &r->config) = value;
        return true;
    }
    if (strcmp(name, "--emit") == 0)
        return read_emit(value, &r->emit);
    if (strcmp(name, "--far") == 0)
        return far_flag_read(a, value, &r->options);
    if (strcmp(name, "--micro-batch") == 0)
        return take_micro_batch(r, value);
    if (strcmp(name, "-D") == 0)
        return read_size_override(a, value, r);
    if (strcmp(name, "--entry") == 0)
        return read_entries(a, value, r);
    if (strcmp(name, "-I") == 0) {
        // Folders are searched in the order given.
        if (r->include_count == PLIMC_LIST_MAX)
            return false;
        r->include[r->include_count++] = value;
        return true;
    }
    if (value)
        return take_number(r, name, value);
    take_switch(r, name);
    return true;
}

// Flags that change the plan, for its record: file names and what only changes the output stay out.
static bool is_recorded(const Flag *flag) {
    return strcmp(flag->group, "Model") == 0
               ? strcmp(flag->name, "-I") != 0
               : strcmp(flag->group, "Target") == 0 || strcmp(flag->group, "Plan") == 0;
}

// Flags that a finished plan can't follow. It has its target, which may be said again.
static bool is_for_planning(const Flag *flag) {
    static const char *const looks[] = {"--dump-after", "--frontier", "--remarks", "--dump-mip"};
    return one_of(flag->name, looks, 4) || strcmp(flag->name, "-I") == 0 ||
           (is_recorded(flag) && strcmp(flag->name, "--target") != 0);
}

// Before the parser, which would only say that it knows no such option.
static int refuse_later(int argc, char **argv) {
    for (int i = 1; i < argc; i++)
        for (size_t j = 0; j < sizeof later_table / sizeof later_table[0]; j++) {
            const size_t length = strlen(later_table[j]);
            // Both "--mesh X" and "--mesh=X", but no longer name that begins so.
            if (strncmp(argv[i], later_table[j], length) == 0 &&
                (argv[i][length] == '\0' || argv[i][length] == '=')) {
                fprintf(stderr, "plimc: %s is not supported yet\n", later_table[j]);
                return EXIT_USAGE;
            }
        }
    return 0;
}

// "takes SIZE" alone leaves open how sizes are written.
static const char *value_of(const Flag *flag) {
    return strcmp(flag->name, "--budget") == 0
               ? "SIZE (bytes, or a number with KiB, MiB or GiB; more than 0)"
           : strcmp(flag->name, "--far") == 0
               ? "KIND[=SIZE] (disk or host; SIZE in bytes, KiB, MiB or GiB)"
               : flag->value;
}

int plimc_read_flags(Arena *a, int argc, char **argv, PlimcRequest *r) {
    // flags is never NULL: the plan's record has "" for none.
    *r = (PlimcRequest){.emit = OUT_EXECUTABLE, .flags = ""};
    if (refuse_later(argc, argv))
        return EXIT_USAGE;
    FlagCursor cursor = {
        .table = flag_table, .table_count = FLAG_COUNT, .argc = argc, .argv = argv};
    const Flag *flag;
    const char *value;
    for (FlagResult got; (got = flags_next(&cursor, &flag, &value)) != FLAGS_END;) {
        if (got == FLAGS_WRONG)
            return wrong(cursor.error, NULL);
        if (got == FLAGS_PLAIN) {
            if (r->file)
                return wrong("one input at a time, not also", value);
            r->file = value;
            continue;
        }
        if (!take_flag(a, r, flag->name, value))
            return wrong(arena_format(a, "%s takes %s, not", flag->name, value_of(flag)), value);
        if (is_for_planning(flag) && !r->plans)
            r->plans = flag->name;
        // In the order given, which matters where a flag comes twice. No plan names a folder of the
        // machine it was made on.
        if (is_recorded(flag)) {
            const bool file = value && (value == r->config_file || value == r->rates);
            const char *slash = file ? strrchr(value, '/') : NULL;
            r->flags = arena_format(a, "%s%s%s%s%s", r->flags, r->flags[0] ? " " : "", flag->name,
                                    value ? " " : "",
                                    slash   ? slash + 1
                                    : value ? value
                                            : "");
        }
    }
    // Linkers write files, not streams.
    if (r->emit >= OUT_LIBRARY && r->out && strcmp(r->out, "-") == 0)
        return wrong("a program or library can't go to standard output: name a file with -o", NULL);
    // What needs no input is answered without one.
    if (!r->file && !r->help && !r->version && !r->explain)
        return wrong("which file? a .plim, a .graph, a .plan, or - for standard input", NULL);
    return 0;
}
