// plim-dump: what a compiled program, or a plan as text, says about itself.
//
// An executable carries its plan as the bytes that plan_encode made; they begin with a magic word
// and hold their own digest, so the tool finds them by looking for the word, whatever else the file
// holds.
#include "runtime/flags.h"
#include "runtime/plan_report.h"
#include "tools/plan_csv.h"
#include "tools/tool_io.h"

#include <stdlib.h>
#include <string.h>

enum { EXIT_INPUT = 1, EXIT_USAGE = 2 };

static const Flag flag_table[] = {
    {"--summary", NULL, "What to print", "one screen (default)"},
    {"--memory", NULL, "What to print",
     "memory by kind and entry, and the largest buffers at the peak"},
    {"--json", NULL, "What to print", "one JSON object with everything scripts need"},
    {"--plan", NULL, "What to print", "the plan as text, which plimc reads back"},
    {"--remarks", NULL, "What to print", "what the passes chose, and why"},
    {"--csv", "OUT.csv", "What to print", "buffers with their lives, sizes and offsets, to a file"},
    {"--verify", NULL, "What to print", "nothing, but check the plan: exit 1 where it is unsafe"},
    {"--help", NULL, "Other", "this text"},
};
enum { FLAG_COUNT = sizeof flag_table / sizeof flag_table[0] };

static int usage(const char *text, const char *what) {
    fprintf(stderr, "plim-dump: %s%s; see plim-dump --help\n", text, what);
    return EXIT_USAGE;
}

// Gives the exit status that goes with the sentence.
static int refuse(const char *file, const char *why) {
    fprintf(stderr, "plim-dump: error: %s: %s\n", file, why);
    return EXIT_INPUT;
}

static void print_remarks(const Plan *p) {
    for (uint32_t i = 0; i < p->remark_count; i++)
        printf("%s: %s: %s\n", p->remark[i].pass, p->remark[i].subject, p->remark[i].text);
}

static uint64_t little_endian(const uint8_t *at, int count) {
    uint64_t x = 0;
    for (int i = count - 1; i >= 0; i--)
        x = x << 8 | at[i];
    return x;
}

// The plan inside an executable: the magic word, a version and a size that fits. The word also
// stands in the decoder's own code, with something else behind it.
static PlimStatus find_plan(const uint8_t *bytes, size_t size, PlanMemory *memory, Plan **out,
                            PlimError *error) {
    static const char magic[] = "PLIMPLAN";
    // The digest comes at the end of the bytes: plan_decode checks it.
    enum { HEADER = 20 }; // magic, version, size
    const uint8_t *at = bytes, *end = bytes + size;
    while ((at = memmem(at, (size_t)(end - at), magic, sizeof magic - 1)) != NULL) {
        const size_t left = (size_t)(end - at);
        if (left >= HEADER && little_endian(at + 8, 4) == PLAN_VERSION) {
            const uint64_t whole = little_endian(at + 12, 8);
            // A damaged size is cut to what is there, and plan_decode says what is wrong.
            return plan_decode(at, whole < left ? (size_t)whole : left, memory, out, error);
        }
        at++;
    }
    snprintf(error->text, sizeof error->text,
             "it is neither a program that this version of plimc made nor the text of a plan");
    return PLIM_BAD_INPUT;
}

static PlimStatus read_plan(const char *file, const char *bytes, size_t size, PlanMemory *memory,
                            Plan **out, PlimError *error) {
    if (tool_text_kind(file, bytes) == TEXT_PLAN)
        return plan_parse(bytes, size, memory, out, error);
    return find_plan((const uint8_t *)bytes, size, memory, out, error);
}

// Into memory first, so that the file is whole or not there.
static bool write_csv(const Plan *p, const char *out) {
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    if (!memory) {
        fprintf(stderr, "plim-dump: error: out of memory\n");
        return false;
    }
    plan_csv_print(p, memory);
    const bool good = fclose(memory) == 0 && tool_write("plim-dump", out, text, size);
    free(text);
    return good;
}

// what is the name of the flag; --verify is the one left over.
static PlimStatus print_plan(const Plan *p, const char *what, PlimError *error) {
    if (strcmp(what, "--summary") == 0)
        plan_print_summary(p, stdout);
    else if (strcmp(what, "--memory") == 0)
        plan_print_memory(p, stdout);
    else if (strcmp(what, "--json") == 0)
        plan_print_json(p, stdout);
    else if (strcmp(what, "--plan") == 0)
        plan_print(p, stdout);
    else if (strcmp(what, "--remarks") == 0)
        print_remarks(p);
    else
        return plan_verify(p, error);
    return PLIM_OK;
}

// csv: where its rows go.
static int dump(const char *file, const char *what, const char *csv) {
    size_t size = 0;
    // No program or plan comes near 1 TiB.
    char *bytes = tool_read("plim-dump", file, (size_t)1 << 40, &size);
    if (!bytes)
        return EXIT_INPUT;
    PlanMemory *memory = plan_memory_new();
    Plan *plan = NULL;
    // For plan_memory_new, which says nothing.
    PlimError error = {"out of memory"};
    int status = 0;
    if (!memory || read_plan(file, bytes, size, memory, &plan, &error) != PLIM_OK)
        status = refuse(file, error.text);
    else if (strcmp(what, "--csv") == 0)
        status = write_csv(plan, csv) ? 0 : EXIT_INPUT;
    else if (print_plan(plan, what, &error) != PLIM_OK)
        status = refuse(file, error.text);
    plan_memory_release(memory);
    free(bytes);
    // A full disk or a closed pipe shows only now.
    return fflush(stdout) == 0 ? status : refuse("standard output", "can't be written");
}

int main(int argc, char **argv) {
    FlagCursor cursor = {
        .table = flag_table, .table_count = FLAG_COUNT, .argc = argc, .argv = argv};
    const char *file = NULL, *what = "--summary", *csv = NULL, *value;
    const Flag *flag;
    for (FlagResult got; (got = flags_next(&cursor, &flag, &value)) != FLAGS_END;) {
        if (got == FLAGS_WRONG)
            return usage(cursor.error, "");
        if (got == FLAGS_PLAIN && file)
            return usage("one file at a time, not also ", value);
        if (got == FLAGS_PLAIN)
            file = value;
        else
            // The last one counts.
            what = flag->name;
        if (got == FLAGS_OPTION && flag->value)
            csv = value;
    }
    if (strcmp(what, "--help") == 0) {
        printf("usage: plim-dump PROGRAM|FILE.plan [options]\nShows the plan inside a compiled "
               "program.\n");
        flags_print(flag_table, FLAG_COUNT, stdout);
        return 0;
    }
    return file ? dump(file, what, csv)
                : usage("which file? a program that plimc made, or a .plan", "");
}
