// The main of a compiled program: a table of commands, and the one way to run any of them.
//
// Exit status: 0 done; 1 an input, a file or the machine is at fault, told in one sentence on
// stderr; 2 usage; 128 + n: asked to end by signal n. A new command is a row of the table here; a
// new flag is a row of options.def, a field of PlimOptions, and its name in the rows of the
// commands that take it.
#include "runtime/main.h"

#include "runtime/call.h"
#include "runtime/error.h"
#include "runtime/eval.h"
#include "runtime/export.h"
#include "runtime/generate.h"
#include "runtime/options.h"
#include "runtime/plan_report.h"
#include "runtime/train.h"
#include "runtime/tune.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

enum { EXIT_DONE = 0, EXIT_INPUT = 1, EXIT_USAGE = 2, EXIT_SIGNAL = 128 };

static PlimStatus info_run(PlimSession *s, const PlimOptions *o, PlimError *error) {
    PlanMemory *memory = plan_memory_new();
    const PlanUses *uses = memory ? plan_uses_new(s->plan, memory) : NULL;
    if (uses)
        (o->json ? plan_print_info_json : plan_print_info)(uses, stdout);
    plan_memory_release(memory);
    return uses ? PLIM_OK : error_set(error, PLIM_NO_MEMORY, "out of memory");
}

#define WATCH_FLAGS "--trace --trace-steps --profile --digest --check-finite"

static const PlimCommand command_table[] = {
    {"train", NULL, "train the model on data",
     "--data --holdout --weights --allow-missing --save --save-every --resume --steps --epochs "
     "--eval-every --seed --set --threads --far-dir --tune --log --quiet " WATCH_FLAGS,
     NEEDS_STOP, train_run},
    {"eval", NULL, "print the mean loss over data",
     "--data --holdout --weights --allow-missing --steps --seed --set --threads "
     "--far-dir --tune " WATCH_FLAGS,
     NEEDS_ARENA, eval_run},
    {"generate", NULL, "write text that goes on from a prompt",
     "--weights --allow-missing --prompt --prompt-tokens --tokens --temperature --top-p --stop "
     "--tokenizer --seed --set --threads --far-dir --tune --log --quiet " WATCH_FLAGS,
     NEEDS_ARENA, generate_run},
    {"run", "ENTRY", "run an entry once, with tensors from files",
     "--in --out --weights --allow-missing --seed --set --threads --far-dir --tune", NEEDS_ARENA,
     call_run},
    {"export", NULL, "write weights for other programs",
     "-o --weights --allow-missing --dtype --shard-size --seed --threads --far-dir", NEEDS_ARENA,
     export_run},
    {"tune", NULL, "measure its operators here, for plimc --rates; on a GPU choose products",
     "-o --steps --threads --far-dir --quiet", NEEDS_ARENA, tune_run},
    {"info", NULL, "print what the program is: model, target, memory", "--json", NEEDS_PLAN,
     info_run},
    {0},
};

// Where the program keeps what memory does not hold: said where nobody chose it, or should know
// more of it.
static void tell_far(const PlimSession *s, const PlimOptions *o) {
    char size[32];
    const char *caveat;
    const char *folder = run_far_folder(s->run, &caveat);
    if (folder && !o->quiet && (!o->far_dir || *caveat))
        fprintf(stderr, "keeping %s on disk in %s%s%s\n",
                plan_size_text(plan_space_bytes(s->plan, SPACE_DISK), size), folder, caveat,
                o->far_dir ? "" : " (--far-dir chooses another folder)");
}

// The arenas and all that runs on them. tune measures anew, whatever an earlier one has left.
static PlimStatus start(const PlimCommand *command, const PlimOptions *o, const PlimImage *image,
                        PlimSession *s, PlimError *error) {
    char room[TUNE_PATH_MAX];
    RunOptions options = {.threads = (int)o->threads};
    if (plan_is_cuda(s->plan) && command->run != tune_run)
        options.tune = tune_path(o, room);
    else if (o->tune)
        return error_set(error, PLIM_BAD_INPUT,
                         "--tune %s: this program was compiled for the CPU, which has no "
                         "algorithms to choose from",
                         o->tune);
    options.far_folder = o->far_dir;
    const PlimStatus status = session_start(s, image, options, error);
    if (status == PLIM_OK)
        tell_far(s, o);
    return status;
}

// What was printed must have arrived, or somebody goes on with half of it.
static PlimStatus flush_output(PlimError *error) {
    errno = 0;
    if (fflush(stdout) == 0 && !ferror(stdout))
        return PLIM_OK;
    return error_set(error, PLIM_IO, "can't write standard output: %s",
                     errno ? strerror(errno) : "some of it was lost");
}

static int run_command(const PlimCommand *command, const PlimOptions *o, const char *program,
                       const PlimImage *image) {
    PlimError error = {""};
    PlimSession s;
    PlimStatus status = session_open(image, &s, &error);
    // First: every thread must leave these signals alone.
    if (status == PLIM_OK && command->needs == NEEDS_STOP)
        status = stop_new(&s.stop, &error);
    if (status == PLIM_OK && command->needs != NEEDS_PLAN)
        status = start(command, o, image, &s, &error);
    if (status == PLIM_OK)
        status = command->run(&s, o, &error);
    if (status == PLIM_OK)
        status = flush_output(&error);
    const int signal = stop_signal(s.stop);
    // Safe whatever failed above: what was never opened is empty.
    session_close(&s);
    if (status == PLIM_OK)
        return signal ? EXIT_SIGNAL + signal : EXIT_DONE;
    // Whatever failed has set the sentence.
    fprintf(stderr, "%s: error: %s\n", program, error.text);
    return EXIT_INPUT;
}

int plim_main(int argc, char **argv, const PlimImage *image) {
    PlimOptions o;
    PlimError error;
    const PlimCommand *command;
    if (!options_read(command_table, argc, argv, &o, &command, &error)) {
        fprintf(stderr, "%s: %s\n", argv[0], error.text);
        return EXIT_USAGE;
    }
    // Asked for, the help is a success on stdout; for want of a command it is a usage error.
    if (o.help || !command) {
        options_print(command_table, command, argv[0], stdout);
        if (flush_output(&error) == PLIM_OK)
            return o.help ? EXIT_DONE : EXIT_USAGE;
        fprintf(stderr, "%s: error: %s\n", argv[0], error.text);
        return EXIT_INPUT;
    }
    return run_command(command, &o, argv[0], image);
}
