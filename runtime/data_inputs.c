// Binding files to inputs. Files are opened once each, whoever reads them, and folders are read
// when the run starts: what is put there later plays no part.
#include "runtime/data_inputs.h"

#include "runtime/error.h"
#include "runtime/plan_sign.h"
#include "runtime/text_tokens.h"

#include <dirent.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

// A file given, by itself or in a folder.
typedef struct {
    const char *name; // of the loader or input it is for; not terminated, NULL: for all
    size_t name_length;
    char *path;
    DataFile file; // tensors is NULL while no input wanted it
} Given;

// What one input of the entry reads.
typedef struct {
    const PlanInput *input;
    DataFeed *feed;
    DataFile *file;    // its files, one behind the other
    uint64_t prepared; // offset of its bytes in a prepared step
} Bound;

struct DataInputs {
    Given *given;
    int given_count, given_room;
    Bound *bound;
    int bound_count;
    uint64_t bytes;
    TextTokens text; // while files are opened
};

static PlimStatus no_memory(PlimError *error) {
    return error_set(error, PLIM_NO_MEMORY, "out of memory opening the data");
}

static bool is_word(const char *name, const char *text, size_t length) {
    return strlen(name) == length && strncmp(name, text, length) == 0;
}

// Bytes of the name in "NAME=FILE"; 0 where what stands before "=" names nothing in the plan: it
// belongs to the path.
static size_t name_length(const Plan *p, const char *text) {
    const size_t length = strcspn(text, "=");
    for (uint32_t e = 0; text[length] && e < p->entry_count; e++)
        for (uint32_t i = 0; i < p->entry[e].input_count; i++) {
            const PlanInput *input = &p->entry[e].input[i];
            if (input->source == PLAN_FROM_DATA &&
                (is_word(input->loader, text, length) || is_word(input->name, text, length)))
                return length;
        }
    return 0;
}

// path is owned from here on, whatever comes.
static PlimStatus add_given(DataInputs *d, const Given *like, char *path, PlimError *error) {
    if (d->given_count == d->given_room) {
        const int room = d->given_room ? 2 * d->given_room : 16;
        Given *grown = realloc(d->given, (size_t)room * sizeof *grown);
        if (!grown) {
            free(path);
            return no_memory(error);
        }
        d->given = grown;
        d->given_room = room;
    }
    if (!path)
        return no_memory(error);
    d->given[d->given_count] = *like;
    d->given[d->given_count++].path = path;
    return PLIM_OK;
}

// Neither "." and ".." nor what editors and file managers hide.
static int is_shown(const struct dirent *entry) {
    return entry->d_name[0] != '.';
}

static int by_bytes(const struct dirent **a, const struct dirent **b) {
    // Not by the locale: the order of the data must not follow it.
    return strcmp((*a)->d_name, (*b)->d_name);
}

// The caller frees it. NULL without memory.
static char *join(const char *folder, const char *name) {
    const size_t size = strlen(folder) + strlen(name) + 2;
    char *path = malloc(size);
    if (path)
        snprintf(path, size, "%s/%s", folder, name);
    return path;
}

// The folder's files, by name; folders in it are left out.
static PlimStatus add_folder(DataInputs *d, const Given *like, const char *folder,
                             PlimError *error) {
    struct dirent **entry;
    const int before = d->given_count;
    const int count = scandir(folder, &entry, is_shown, by_bytes);
    if (count < 0)
        return error_set(error, PLIM_IO, "can't read folder %s: %s", folder, strerror(errno));
    PlimStatus status = PLIM_OK;
    for (int i = 0; i < count; i++) {
        struct stat info;
        char *path = status == PLIM_OK ? join(folder, entry[i]->d_name) : NULL;
        if (path && stat(path, &info) == 0 && S_ISDIR(info.st_mode))
            free(path);
        else if (status == PLIM_OK)
            status = add_given(d, like, path, error);
        free(entry[i]);
    }
    free(entry);
    if (status == PLIM_OK && d->given_count == before)
        status = error_set(error, PLIM_BAD_INPUT, "there is no file in the folder %s", folder);
    return status;
}

// Files and folders of the command line, in its order.
static PlimStatus list_given(DataInputs *d, const Plan *p, const char *const *text, int count,
                             PlimError *error) {
    PlimStatus status = PLIM_OK;
    for (int i = 0; i < count && status == PLIM_OK; i++) {
        const size_t length = name_length(p, text[i]);
        const Given like = {.name = length ? text[i] : NULL, .name_length = length};
        const char *path = length ? text[i] + length + 1 : text[i];
        struct stat info;
        if (stat(path, &info) == 0 && S_ISDIR(info.st_mode))
            status = add_folder(d, &like, path, error);
        else
            status = add_given(d, &like, strdup(path), error);
    }
    return status;
}

// Whether the file is for a loader or input of that name; NULL: for all.
static bool is_for(const Given *g, const char *name) {
    if (!g->name || !name)
        return !g->name && !name;
    return is_word(name, g->name, g->name_length);
}

// The name under which the input's files were given.
static bool find_name(const DataInputs *d, const PlanInput *input, const char **name) {
    const char *const by[] = {input->name, input->loader, NULL};
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < d->given_count; i++)
            if (is_for(&d->given[i], by[k])) {
                *name = by[k];
                return true;
            }
    return false;
}

// Opens the input's files, where no other input has, and makes its feed of them.
static PlimStatus bind(DataInputs *d, Bound *b, const DataUse *use, PlimError *error) {
    const char *name;
    if (!find_name(d, b->input, &name))
        return error_set(error, PLIM_BAD_INPUT,
                         "the entry reads %s: give --data FILE, --data %s=FILE or --data %s=FILE",
                         b->input->name, b->input->loader, b->input->name);
    b->file = calloc((size_t)d->given_count, sizeof *b->file);
    if (!b->file)
        return no_memory(error);
    int count = 0;
    for (int i = 0; i < d->given_count; i++) {
        Given *g = &d->given[i];
        if (!is_for(g, name))
            continue;
        // Inputs that read the same files share one open file each.
        if (!g->file.tensors) {
            PlimStatus status = data_file_open(g->path, &g->file, error);
            if (status == PLIM_OK)
                status = text_tokens_replace(&d->text, &g->file, error);
            if (status != PLIM_OK)
                return status;
        }
        b->file[count++] = g->file;
    }
    return feed_new(b->file, count, b->input, use, &b->feed, error);
}

// Examples of one loader belong together: the image of a row with the label of that row.
static PlimStatus check_together(const DataInputs *d, PlimError *error) {
    for (int i = 1; i < d->bound_count; i++)
        for (int j = 0; j < i; j++) {
            const Bound *a = &d->bound[j], *b = &d->bound[i];
            if (strcmp(a->input->loader, b->input->loader) == 0 &&
                feed_examples(a->feed) != feed_examples(b->feed))
                return error_set(error, PLIM_BAD_INPUT,
                                 "the data have %llu examples of %s, but %llu of %s",
                                 (unsigned long long)feed_examples(a->feed), a->input->name,
                                 (unsigned long long)feed_examples(b->feed), b->input->name);
        }
    return PLIM_OK;
}

// The order of the entry's inputs is the order in a prepared step.
static PlimStatus bind_all(DataInputs *d, const PlanEntry *entry, const DataUse *use,
                           PlimError *error) {
    // One more: calloc of nothing may give NULL.
    d->bound = calloc((size_t)entry->input_count + 1, sizeof *d->bound);
    if (!d->bound)
        return no_memory(error);
    for (uint32_t i = 0; i < entry->input_count; i++) {
        if (entry->input[i].source == PLAN_FROM_CALLER)
            return error_set(error, PLIM_BAD_INPUT, "entry %s wants %s from a caller", entry->name,
                             entry->input[i].name);
        if (entry->input[i].source != PLAN_FROM_DATA)
            continue;
        Bound *b = &d->bound[d->bound_count++];
        *b = (Bound){.input = &entry->input[i], .prepared = d->bytes};
        const PlimStatus status = bind(d, b, use, error);
        if (status != PLIM_OK)
            return status;
        // Whole cache lines: each input is written and copied as an array of its own type.
        d->bytes += (feed_step_bytes(b->feed) + 63) / 64 * 64;
    }
    return check_together(d, error);
}

PlimStatus inputs_open(const Plan *p, const PlanEntry *entry, const char *const *given, int count,
                       const DataUse *use, DataInputs **out, PlimError *error) {
    DataInputs *d = calloc(1, sizeof *d);
    if (!d)
        return no_memory(error);
    d->text.name = p->tokenizer;
    PlimStatus status = list_given(d, p, given, count, error);
    if (status == PLIM_OK)
        status = bind_all(d, entry, use, error);
    text_tokens_release(&d->text);
    if (status != PLIM_OK) {
        inputs_close(d);
        return status;
    }
    *out = d;
    return PLIM_OK;
}

void inputs_close(DataInputs *d) {
    if (!d)
        return;
    for (int i = 0; i < d->bound_count; i++) {
        feed_release(d->bound[i].feed);
        free(d->bound[i].file);
    }
    for (int i = 0; i < d->given_count; i++) {
        safetensors_close(d->given[i].file.tensors);
        free(d->given[i].path);
    }
    free(d->bound);
    free(d->given);
    free(d);
}

uint64_t inputs_bytes(const DataInputs *d) {
    return d->bytes;
}

PlimStatus inputs_fill(const DataInputs *d, uint64_t step, char *prepared, PlimError *error) {
    PlimStatus status = PLIM_OK;
    for (int i = 0; i < d->bound_count && status == PLIM_OK; i++)
        status = feed_fill(d->bound[i].feed, step, prepared + d->bound[i].prepared, error);
    return status;
}

PlimStatus inputs_deliver(const DataInputs *d, const char *prepared, PlimRun *run,
                          PlimError *error) {
    PlimStatus status = PLIM_OK;
    for (int i = 0; i < d->bound_count && status == PLIM_OK; i++)
        status = run_write(run, d->bound[i].input->buffer, 0, prepared + d->bound[i].prepared,
                           feed_step_bytes(d->bound[i].feed), error);
    return status;
}

// Inputs and targets count the same tokens: the largest, not the sum.
uint64_t inputs_tokens(const DataInputs *d) {
    uint64_t most = 0;
    for (int i = 0; i < d->bound_count; i++)
        if (feed_step_tokens(d->bound[i].feed) > most)
            most = feed_step_tokens(d->bound[i].feed);
    return most;
}

uint64_t inputs_steps(const DataInputs *d, uint64_t passes) {
    if (d->bound_count == 0)
        return 0;
    const DataFeed *f = d->bound[0].feed;
    uint64_t examples;
    // More passes than can be counted: as many steps as can be.
    if (__builtin_mul_overflow(passes, feed_examples(f), &examples))
        examples = UINT64_MAX / 2;
    // A last step that would not be full is left out.
    return examples / feed_step_examples(f);
}

double inputs_passes(const DataInputs *d, uint64_t steps) {
    if (d->bound_count == 0)
        return 0;
    const DataFeed *f = d->bound[0].feed;
    return (double)steps * (double)feed_step_examples(f) / (double)feed_examples(f);
}

uint32_t inputs_digest(const DataInputs *d) {
    uint64_t h = plan_hash_start();
    for (int i = 0; i < d->bound_count; i++) {
        h = plan_hash_u64(h, feed_examples(d->bound[i].feed));
        h = plan_hash_u64(h, feed_step_examples(d->bound[i].feed));
    }
    return (uint32_t)h;
}
