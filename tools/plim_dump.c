// plim-dump: what a compiled program, or a plan as text, says about itself.
//
// The table below is the tool: each row is a flag that says what to show and the function that
// prints it (tools/dump_*.c). What goes to a file is printed to memory first, so that the file is
// whole or not there.
#include "runtime/error.h"
#include "runtime/flags.h"
#include "tools/digest_diff.h"
#include "tools/dump.h"
#include "tools/fail_if.h"
#include "tools/figures.h"
#include "tools/plan_csv.h"
#include "tools/tool_io.h"

#include <stdlib.h>
#include <string.h>

enum { EXIT_INPUT = 1, EXIT_USAGE = 2 };

static const Flag flag_table[] = {
    {"--summary", NULL, "What to show", "one screen: memory, the peak, a step's time (default)"},
    {"--memory", NULL, "What to show", "tables of memory: by space and kind, by entry"},
    {"--why", "NAME", "What to show", "all about a value, scope, kernel, or ENTRY:INSTRUCTION"},
    {"--diff", "OTHER", "What to show", "what changed from OTHER to this; digests of runs, too"},
    {"--figures", NULL, "What to show", "figures to keep with the source, for a later --diff"},
    {"--remarks", NULL, "What to show", "what the passes chose, and why"},
    {"--json", NULL, "What to show", "everything as JSON (docs/plim-dump.schema.json)"},
    {"--plan", NULL, "What to show", "the plan as text, which plimc reads back"},
    {"--verify", NULL, "What to show",
     "check the plan, and print nothing; exit 1 where it is unsafe"},
    {"--html", "OUT.html", "To a file", "a page to look at: memory over time, what runs, search"},
    {"--trace", "OUT.json", "To a file", "a step's predicted timeline, for ui.perfetto.dev"},
    {"--dot", "OUT.dot", "To a file", "an entry's dataflow, for Graphviz"},
    {"--csv", "OUT.csv", "To a file", "buffers with their lives, sizes and offsets"},
    {"--entry", "NAME", "How", "the entry to show (train, or that with the highest peak)"},
    {"--scope", "NAME", "How", "--dot: only operators of this scope, such as h.0"},
    {"--measured", "FILE", "How", "a run's --trace or --log beside what is predicted"},
    {"--machine", "F=X,...", "How", "predict for f32= and bf16= FLOP/s, memory= B/s, ..."},
    {"--fail-if", "COND,...", "How", "--diff: exit 3 where peak>+1%, time>+5%, kernels>+0, ..."},
    {"--help", NULL, "Other", "this text"},
};
enum { FLAG_COUNT = sizeof flag_table / sizeof flag_table[0] };

static int print_remarks(Dump *d, FILE *out) {
    for (uint32_t i = 0; i < d->plan->remark_count; i++) {
        const PlanRemark *r = &d->plan->remark[i];
        fprintf(out, "%s: %s: %s\n", r->pass, r->subject, r->text);
    }
    return DUMP_DONE;
}

static int print_text(Dump *d, FILE *out) {
    plan_print(d->plan, out);
    return DUMP_DONE;
}

static int print_csv(Dump *d, FILE *out) {
    plan_csv_print(d->plan, out);
    return DUMP_DONE;
}

static int verify(Dump *d, FILE *out) {
    (void)out;
    return plan_verify(d->plan, &d->error) == PLIM_OK ? DUMP_DONE : DUMP_FAILED;
}

// What goes to a file has the flag's value for its name.
static const struct {
    const char *flag;
    DumpFn print;
    bool to_file;
} output_table[] = {
    {"--summary", dump_summary, false}, {"--memory", dump_memory, false},
    {"--why", dump_why, false},         {"--diff", dump_diff, false},
    {"--json", dump_json, false},       {"--remarks", print_remarks, false},
    {"--plan", print_text, false},      {"--verify", verify, false},
    {"--trace", dump_trace, true},      {"--dot", dump_dot, true},
    {"--csv", print_csv, true},         {"--html", dump_html, true},
    {"--figures", dump_figures, false},
};
enum { OUTPUT_COUNT = sizeof output_table / sizeof output_table[0] };

static int usage(const char *text, const char *what) {
    fprintf(stderr, "plim-dump: %s%s; see plim-dump --help\n", text, what);
    return EXIT_USAGE;
}

// Gives the exit status that goes with the sentence.
static int refuse(const char *file, const char *why) {
    fprintf(stderr, "plim-dump: error: %s: %s\n", file, why);
    return EXIT_INPUT;
}

// What fails writes nothing.
static int print_to_file(Dump *d, DumpFn print) {
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    if (!memory)
        return dump_fail(d, "out of memory");
    int status = print(d, memory);
    if (fclose(memory) != 0)
        status = dump_fail(d, "out of memory");
    if (status == DUMP_DONE && !tool_write("plim-dump", d->options->value, text, size))
        status = DUMP_TOLD;
    free(text);
    return status;
}

// The exit status.
static int dump(const char *file, int output, const DumpOptions *options) {
    Dump d = {.file = file, .options = options, .memory = plan_memory_new()};
    if (!d.memory)
        return refuse(file, "out of memory");
    int status = DUMP_TOLD;
    if (dump_read(file, d.memory, &d.plan, &d.uses)) {
        const DumpFn print = output_table[output].print;
        machine_of_plan(d.plan, &d.machine);
        if (options->machine && !machine_change(&d.machine, options->machine, &d.error))
            status = DUMP_USAGE;
        else
            status = output_table[output].to_file ? print_to_file(&d, print) : print(&d, stdout);
    }
    if (status == DUMP_USAGE)
        status = usage(d.error.text, "");
    else if (status == DUMP_FAILED)
        status = refuse(file, d.error.text);
    else if (status == DUMP_TOLD)
        status = EXIT_INPUT;
    plan_memory_release(d.memory);
    return status;
}

// Digests are no plans: they are told by their first line.
static int diff_digests(const char *file, const DumpOptions *options) {
    PlimError error;
    bool different = false, held = false;
    const char *conditions = options->fail_if ? options->fail_if : "";
    if (!fail_if_check(conditions, NULL, 0, false, &held, NULL, &error))
        return usage(error.text, "");
    if (!digest_diff(options->value, file, stdout, &different, &error)) {
        if (*error.text)
            fprintf(stderr, "plim-dump: error: %s\n", error.text);
        return EXIT_INPUT;
    }
    fail_if_check(conditions, NULL, 0, different, &held, stdout, &error);
    return held ? DUMP_LIMIT : DUMP_DONE;
}

// The flag's row among the outputs; OUTPUT_COUNT where it says how, not what.
static int find_output(const char *flag) {
    int i = 0;
    while (i < OUTPUT_COUNT && strcmp(output_table[i].flag, flag) != 0)
        i++;
    return i;
}

int main(int argc, char **argv) {
    FlagCursor cursor = {
        .table = flag_table, .table_count = FLAG_COUNT, .argc = argc, .argv = argv};
    DumpOptions options = {0};
    const struct {
        const char *flag, **value;
    } how[] = {{"--entry", &options.entry},
               {"--scope", &options.scope},
               {"--measured", &options.measured},
               {"--machine", &options.machine}};
    const char *file = NULL, *value;
    char conditions[1024] = "";
    int output = 0;
    const Flag *flag;
    for (FlagResult got; (got = flags_next(&cursor, &flag, &value)) != FLAGS_END;) {
        if (got == FLAGS_WRONG)
            return usage(cursor.error, "");
        if (got == FLAGS_PLAIN && file)
            return usage("one file at a time, not also ", value);
        if (got == FLAGS_PLAIN) {
            file = value;
            continue;
        }
        if (strcmp(flag->name, "--help") == 0) {
            printf("usage: plim-dump PROGRAM|FILE.plan [options]\nShows the plan inside a compiled "
                   "program.\n");
            flags_print(flag_table, FLAG_COUNT, stdout);
            return 0;
        }
        for (size_t i = 0; i < sizeof how / sizeof how[0]; i++)
            if (strcmp(how[i].flag, flag->name) == 0)
                *how[i].value = value;
        // Given several times, all of them count.
        if (strcmp(flag->name, "--fail-if") == 0) {
            if (strlen(conditions) + strlen(value) + 2 > sizeof conditions)
                return usage("--fail-if has too many conditions", "");
            strcat(strcat(conditions, *conditions ? "," : ""), value);
            options.fail_if = conditions;
        }
        if (find_output(flag->name) == OUTPUT_COUNT)
            continue;
        // The last one counts.
        output = find_output(flag->name);
        options.value = value;
    }
    if (!file)
        return usage("which file? a program that plimc made, or a .plan", "");
    if (options.fail_if && output_table[output].print != dump_diff)
        return usage("--fail-if needs --diff", "");
    const int status = output_table[output].print == dump_diff && digest_is(file)
                           ? diff_digests(file, &options)
                           : dump(file, output, &options);
    // A full disk or a closed pipe shows only now.
    return fflush(stdout) == 0 ? status : refuse("standard output", "can't be written");
}
