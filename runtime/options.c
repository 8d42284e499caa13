// The command line of a compiled program.
//
// Flags may stand before or after the command, so they are all read first and held against the
// command afterwards: a flag that means nothing with it is refused rather than passed over.
#include "runtime/options.h"

#include "runtime/error.h"

#include <errno.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>

typedef enum {
    OPTION_SWITCH, // bool
    OPTION_TEXT,   // const char *
    OPTION_COUNT,  // int64_t from 0 on
    OPTION_NUMBER, // double from 0 on
    OPTION_LIST,   // OptionList
    OPTION_FILES   // the same, and plain words behind it are more of it: a shell's FILE*
} OptionKind;

static const Flag flag_table[] = {
#define O(name, value, group, kind, field, help) {name, value, group, help},
#include "runtime/options.def"
#undef O
};
enum { FLAG_COUNT = sizeof flag_table / sizeof flag_table[0] };

// By the same index: how its argument is read, and where it goes.
static const struct {
    OptionKind kind;
    size_t offset;
} target_table[FLAG_COUNT] = {
#define O(name, value, group, kind, field, help) {OPTION_##kind, offsetof(PlimOptions, field)},
#include "runtime/options.def"
#undef O
};

// A whole number from 0 on.
static bool read_count(const char *text, int64_t *out) {
    char *end;
    errno = 0;
    const long long x = strtoll(text, &end, 10);
    *out = x;
    return errno == 0 && end != text && *end == '\0' && x >= 0;
}

// A finite number from 0 on.
static bool read_number(const char *text, double *out) {
    char *end;
    *out = strtod(text, &end);
    return end != text && *end == '\0' && *out >= 0 && *out <= 1e300;
}

// False where the value makes no sense, or the list is full.
static bool take_flag(PlimOptions *o, int flag, const char *value) {
    void *at = (char *)o + target_table[flag].offset;
    switch (target_table[flag].kind) {
    case OPTION_SWITCH:
        *(bool *)at = true;
        return true;
    case OPTION_TEXT:
        *(const char **)at = value;
        return true;
    case OPTION_COUNT:
        return read_count(value, at);
    case OPTION_NUMBER:
        return read_number(value, at);
    case OPTION_LIST:
    case OPTION_FILES: {
        OptionList *list = at;
        if (list->count == OPTIONS_LIST_MAX)
            return false;
        list->item[list->count++] = value;
        return true;
    }
    }
    return false;
}

// Sets error; false, so that a check can end with it.
#define wrong(error, ...) (error_set(error, PLIM_BAD_INPUT, __VA_ARGS__) == PLIM_OK)

// What the help's N has to be.
static const char *meaning_of(OptionKind kind) {
    return kind == OPTION_COUNT                          ? " (a whole number)"
           : kind == OPTION_NUMBER                       ? " (a number)"
           : kind == OPTION_LIST || kind == OPTION_FILES ? " fewer times"
                                                         : "";
}

// "train, eval and info".
static void list_commands(const PlimCommand *table, char *out, size_t size) {
    size_t used = 0;
    for (int i = 0; table[i].name; i++) {
        const char *between = i == 0 ? "" : table[i + 1].name ? ", " : " and ";
        used += (size_t)snprintf(out + used, size - used, "%s%s", between, table[i].name);
        // A list too long for the sentence is cut.
        if (used >= size)
            return;
    }
}

static bool find_command(const PlimCommand *table, const char *name, const PlimCommand **found,
                         PlimError *error) {
    for (int i = 0; table[i].name && !*found; i++)
        if (strcmp(table[i].name, name) == 0)
            *found = &table[i];
    if (*found)
        return true;
    char known[256];
    list_commands(table, known, sizeof known);
    return wrong(error, "unknown command '%s'; there are %s", name, known);
}

bool options_takes(const PlimCommand *command, const char *flag) {
    const size_t length = strlen(flag);
    // --save is no prefix of --save-every: whole words only.
    for (const char *at = command->flags; (at = strstr(at, flag)); at += length)
        if ((at == command->flags || at[-1] == ' ') && (at[length] == ' ' || !at[length]))
            return true;
    return false;
}

// What can only be judged with the whole command line read. given: by flag.
static bool check_all(const PlimCommand *command, const PlimOptions *o, const bool *given,
                      PlimError *error) {
    for (int i = 0; i < FLAG_COUNT; i++)
        if (given[i] && !options_takes(command, flag_table[i].name))
            return wrong(error, "%s means nothing with %s; see %s --help", flag_table[i].name,
                         command->name, command->name);
    if (command->argument && !o->argument)
        return wrong(error, "%s needs a plain argument: %s", command->name, command->argument);
    if (!command->argument && o->argument)
        return wrong(error, "what is '%s' after '%s'? see --help", o->argument, command->name);
    // 4096 is beyond any machine, and keeps the later cast to int safe.
    if (o->threads > 4096)
        return wrong(error, "--threads takes at most 4096, not %lld", (long long)o->threads);
    // Before anything starts: a run must not end without the file it was to write.
    if (o->save_every > 0 && !o->save)
        return wrong(error, "--save-every needs --save DIR");
    if (o->steps > 0 && o->epochs > 0)
        return wrong(error, "--steps and --epochs both say how long to run");
    if (o->eval_every > 0 && o->holdout == 0)
        return wrong(error, "--eval-every needs --holdout N");
    const bool resume_auto = o->resume && strcmp(o->resume, "auto") == 0;
    if (resume_auto && !o->save)
        return wrong(error, "--resume auto needs --save DIR");
    // auto begins with the weights where there is nothing to go on from.
    if (o->resume && !resume_auto && o->weights)
        return wrong(error, "--resume DIR brings its own weights: leave --weights out");
    if (o->trace_steps > 0 && !o->trace)
        return wrong(error, "--trace-steps needs --trace FILE");
    return true;
}

// The command first, then its argument.
static bool take_plain(PlimOptions *o, const char *word, PlimError *error) {
    if (!o->command)
        o->command = word;
    else if (!o->argument)
        o->argument = word;
    else
        return wrong(error, "what is '%s' after '%s'? see --help", word, o->argument);
    return true;
}

// Everything into *out and given, nothing yet held against the command.
static bool read_words(int argc, char **argv, PlimOptions *out, bool *given, PlimError *error) {
    FlagCursor cursor = {
        .table = flag_table, .table_count = FLAG_COUNT, .argc = argc, .argv = argv};
    int files = -1; // the flag before, where plain words are more of it
    for (;;) {
        const Flag *flag;
        const char *value;
        switch (flags_next(&cursor, &flag, &value)) {
        case FLAGS_END:
            return true;
        case FLAGS_WRONG:
            return wrong(error, "%s", cursor.error);
        case FLAGS_PLAIN:
            if (out->command && files >= 0 ? !take_flag(out, files, value)
                                           : !take_plain(out, value, error))
                return false;
            break;
        case FLAGS_OPTION:
            given[flag - flag_table] = true;
            files = target_table[flag - flag_table].kind == OPTION_FILES ? (int)(flag - flag_table)
                                                                         : -1;
            if (!take_flag(out, (int)(flag - flag_table), value))
                return wrong(error, "%s takes %s%s, not '%s'", flag->name, flag->value,
                             meaning_of(target_table[flag - flag_table].kind), value);
            break;
        }
    }
}

bool options_read(const PlimCommand *table, int argc, char **argv, PlimOptions *out,
                  const PlimCommand **found, PlimError *error) {
    bool given[FLAG_COUNT] = {false};
    *out = (PlimOptions){0};
    *found = NULL;
    if (!read_words(argc, argv, out, given, error))
        return false;
    if (!out->command)
        return true;
    // A command's help is given whatever else is said.
    return find_command(table, out->command, found, error) &&
           (out->help || check_all(*found, out, given, error));
}

void options_print(const PlimCommand *table, const PlimCommand *command, const char *program,
                   FILE *out) {
    if (!command) {
        fprintf(out, "usage: %s COMMAND [options], where COMMAND is\n", program);
        for (int i = 0; table[i].name; i++)
            fprintf(out, "  %-26s %s\n", table[i].name, table[i].help);
        flags_print(flag_table, FLAG_COUNT, out);
        return;
    }
    fprintf(out, "usage: %s %s%s%s [options]\n%s\n", program, command->name,
            command->argument ? " " : "", command->argument ? command->argument : "",
            command->help);
    // Only its own flags.
    Flag own[FLAG_COUNT];
    int count = 0;
    for (int i = 0; i < FLAG_COUNT; i++)
        if (options_takes(command, flag_table[i].name))
            own[count++] = flag_table[i];
    flags_print(own, count, out);
}

const Flag *options_flags(int *count) {
    *count = FLAG_COUNT;
    return flag_table;
}
