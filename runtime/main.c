// The command line of a compiled program: train, eval, info.
//
// Exit status: 0 done; 1 an input, a file or the machine is at fault, told in one sentence on
// stderr; 2 usage. Flags of one command are accepted and mean nothing with the others.
#include "runtime/main.h"

#include "runtime/flags.h"
#include "runtime/plan_report.h"
#include "runtime/train.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_DONE = 0, EXIT_INPUT = 1, EXIT_USAGE = 2 };

// Name, value (NULL: a switch), heading in the help, help. take_flag has what each does.
static const Flag flag_table[] = {
    {"--data", "FILE", "Data",
     "text, a token file or safetensors; LOADER=FILE where there are several"},
    {"--weights", "FILE", "Data", "start from these weights (safetensors)"},
    {"--save", "DIR", "Data", "write DIR/model.safetensors at the end"},
    {"--save-every", "N", "Data", "and every N steps"},
    {"--steps", "N", "Run", "how many (train: 100; eval: the whole file once)"},
    {"--seed", "N", "Run", "for initial weights and the order of the data (0)"},
    {"--set", "NAME=VALUE", "Run", "a knob of the entry, such as lr=3e-4"},
    {"--threads", "N", "Run", "worker threads (all processors)"},
    {"--log", "FILE", "Output", "one JSON line a step"},
    {"--json", NULL, "Output", "info as JSON"},
    {"--quiet", NULL, "Output", "no progress line"},
    {"--help", NULL, "Output", "this text"},
};
enum { FLAG_COUNT = sizeof flag_table / sizeof flag_table[0] };

typedef struct {
    TrainOptions train;
    int64_t threads;     // 0: as many as the plan and the process allow
    const char *command; // the first plain argument, NULL where there is none
    bool json, help;
} CommandLine;

static void print_help(const char *program) {
    printf("usage: %s train --data FILE [options]\n       %s eval --data FILE --weights FILE "
           "[options]\n"
           "       %s info [--json]\n",
           program, program, program);
    flags_print(flag_table, FLAG_COUNT, stdout);
}

// Gives the exit status that goes with the sentence.
static int usage(const char *program, const char *text) {
    fprintf(stderr, "%s: %s\n", program, text);
    return EXIT_USAGE;
}

// A whole number from 0 on; *out is set even where it is none.
static bool read_count(const char *text, int64_t *out) {
    char *end;
    errno = 0;
    const long long x = strtoll(text, &end, 10);
    *out = x;
    return errno == 0 && end != text && *end == '\0' && x >= 0;
}

// Values point into argv, which outlives the run. False where the list is full.
static bool add_text(const char **list, int *count, const char *value) {
    if (*count == TRAIN_LIST_MAX)
        return false;
    list[(*count)++] = value;
    return true;
}

// False where the value makes no sense.
static bool take_flag(CommandLine *c, const char *name, const char *value) {
    TrainOptions *t = &c->train;
    // Lists, then numbers, which can be wrong, then text and switches, which can't.
    if (strcmp(name, "--data") == 0)
        return add_text(t->data, &t->data_count, value);
    if (strcmp(name, "--set") == 0)
        return add_text(t->set, &t->set_count, value);
    if (strcmp(name, "--steps") == 0)
        return read_count(value, &t->steps);
    if (strcmp(name, "--seed") == 0)
        return read_count(value, &t->seed);
    if (strcmp(name, "--save-every") == 0)
        return read_count(value, &t->save_every);
    // 4096 is beyond any machine, and keeps the later cast to int safe.
    if (strcmp(name, "--threads") == 0)
        return read_count(value, &c->threads) && c->threads <= 4096;
    if (strcmp(name, "--weights") == 0)
        t->weights = value;
    else if (strcmp(name, "--save") == 0)
        t->save = value;
    else if (strcmp(name, "--log") == 0)
        t->log = value;
    else if (strcmp(name, "--json") == 0)
        c->json = true;
    else if (strcmp(name, "--quiet") == 0)
        t->quiet = true;
    else if (strcmp(name, "--help") == 0)
        c->help = true;
    return true;
}

// EXIT_DONE, or EXIT_USAGE after a sentence. Whether the command exists is plim_main's to say.
static int read_command_line(CommandLine *c, int argc, char **argv) {
    FlagCursor cursor = {
        .table = flag_table, .table_count = FLAG_COUNT, .argc = argc, .argv = argv};
    for (;;) {
        const Flag *flag;
        const char *value;
        // For the sentence; a longer argument is cut.
        char text[512];
        switch (flags_next(&cursor, &flag, &value)) {
        case FLAGS_END:
            return EXIT_DONE;
        case FLAGS_WRONG:
            return usage(argv[0], cursor.error);
        case FLAGS_PLAIN:
            if (c->command) {
                snprintf(text, sizeof text, "what is '%s' after '%s'? see --help", value,
                         c->command);
                return usage(argv[0], text);
            }
            c->command = value;
            break;
        case FLAGS_OPTION:
            if (!take_flag(c, flag->name, value)) {
                snprintf(text, sizeof text, "%s: '%s' is no good %s", flag->name, value,
                         flag->value);
                return usage(argv[0], text);
            }
            break;
        }
    }
}

// The plan alone: no arena, no threads.
static PlimStatus print_info(const PlimSession *s, bool json) {
    if (json)
        plan_print_json(s->plan, stdout);
    else
        plan_print_summary(s->plan, stdout);
    return PLIM_OK;
}

// info stops after session_open: it prints the plan of a model that this machine may have no
// memory for.
static int run_command(const CommandLine *c, const char *program, const PlimImage *image) {
    PlimError error = {""};
    PlimSession s;
    PlimStatus status = session_open(image, &s, &error);
    if (status == PLIM_OK && strcmp(c->command, "info") == 0) {
        status = print_info(&s, c->json);
    } else if (status == PLIM_OK) {
        status = session_start(&s, image, (int)c->threads, &error);
        if (status == PLIM_OK)
            status = strcmp(c->command, "train") == 0 ? train_run(&s, &c->train, &error)
                                                      : eval_run(&s, &c->train, &error);
    }
    // Safe whatever failed above: what was never opened is empty.
    session_close(&s);
    if (status == PLIM_OK)
        return EXIT_DONE;
    // Whatever failed has set the sentence.
    fprintf(stderr, "%s: error: %s\n", program, error.text);
    return EXIT_INPUT;
}

int plim_main(int argc, char **argv, const PlimImage *image) {
    CommandLine c = {0};
    const int wrong = read_command_line(&c, argc, argv);
    if (wrong)
        return wrong;
    // Asked for, the help is a success on stdout; for want of a command it is a usage error.
    if (c.help) {
        print_help(argv[0]);
        return EXIT_DONE;
    }
    // No command at all is answered with the help, a wrong one with a sentence.
    if (!c.command) {
        print_help(argv[0]);
        return EXIT_USAGE;
    }
    static const char *const command[] = {"train", "eval", "info"};
    // Before anything starts: a run must not end without the file it was to write.
    if (c.train.save_every > 0 && !c.train.save)
        return usage(argv[0], "--save-every needs --save DIR");
    for (int i = 0; i < 3; i++)
        if (strcmp(c.command, command[i]) == 0)
            return run_command(&c, argv[0], image);
    char text[512];
    snprintf(text, sizeof text, "unknown command '%s'; there are train, eval and info", c.command);
    return usage(argv[0], text);
}
