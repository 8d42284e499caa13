// export: states to safetensors files that PyTorch and transformers load.
//
// One file is written under a temporary name and renamed. Shards are written to a temporary folder
// beside the wanted one, each synced, then the index, and the folder is renamed: rename(2) replaces
// an empty folder and no other, so nobody sees half a set, or shards of two exports under one
// index. Tensors are assigned to shards in the model's order, each as full as fits; a tensor larger
// than a shard has one of its own.
#include "runtime/export.h"

#include "runtime/error.h"
#include "runtime/file_write.h"
#include "runtime/plan_report.h"
#include "runtime/safetensors.h"
#include "runtime/weights.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_ROOM = 4096, FILE_ROOM = PATH_ROOM + 128, NAME_ROOM = 1024, SHARDS_MAX = 99999 };

// What transformers wants to see before it reads a file.
static const char metadata[] = "{\"format\":\"pt\"}";

typedef struct {
    const PlimSession *s;
    const char *to;
    ElementType type; // of floats, where convert says so
    bool convert;
    uint64_t shard_bytes;
    uint32_t count, capacity;
    RunWindow window;
    SafeSource *tensor; // names are owned
    uint32_t *shard;    // by tensor
    uint32_t shard_count;
} Export;

static PlimStatus no_memory(PlimError *error) {
    return error_set(error, PLIM_NO_MEMORY, "out of memory exporting the weights");
}

// --dtype and --shard-size.
static PlimStatus read_options(Export *x, const PlimOptions *o, PlimError *error) {
    static const struct {
        const char *name;
        ElementType type;
    } known[] = {{"f32", ELEMENT_F32}, {"bf16", ELEMENT_BF16}, {"f16", ELEMENT_F16}};
    x->to = o->to;
    x->shard_bytes = UINT64_MAX;
    if (!o->to)
        return error_set(error, PLIM_BAD_INPUT, "where to? give -o FILE.safetensors or -o FOLDER");
    for (size_t i = 0; o->dtype && i < sizeof known / sizeof known[0]; i++)
        if (strcmp(known[i].name, o->dtype) == 0) {
            x->type = known[i].type;
            x->convert = true;
        }
    if (o->dtype && !x->convert)
        return error_set(error, PLIM_BAD_INPUT, "--dtype %s: there are f32, bf16 and f16",
                         o->dtype);
    if (o->shard_size && (!flags_size(o->shard_size, &x->shard_bytes) || x->shard_bytes == 0))
        return error_set(error, PLIM_BAD_INPUT, "--shard-size %s: write 5GiB or 500MiB",
                         o->shard_size);
    return PLIM_OK;
}

// The optimizer's state is of no use to anybody who loads the model; transient state to nobody.
static bool is_exported(const PlanState *state) {
    return state->kind == PLAN_STATE_PARAM || state->kind == PLAN_STATE_SAVED;
}

// One tensor at the end of the list. False without memory.
static bool add_tensor(Export *x, const PlanState *state, uint64_t slice, uint32_t first_axis,
                       uint64_t offset) {
    char name[NAME_ROOM];
    if (x->count == x->capacity) {
        const uint32_t capacity = x->capacity ? x->capacity * 2 : 256;
        SafeSource *grown = realloc(x->tensor, capacity * sizeof *grown);
        if (!grown)
            return false;
        x->tensor = grown;
        x->capacity = capacity;
    }
    char *copy = weights_slice_name(state, slice, name, sizeof name) ? strdup(name) : NULL;
    if (!copy)
        return false;
    // Integers keep their type: --dtype speaks of weights.
    const bool real = state->dtype == PLAN_F32 || state->dtype == PLAN_BF16;
    x->tensor[x->count++] = (SafeSource){.name = copy,
                                         .dtype = state->dtype,
                                         .rank = state->rank - first_axis,
                                         .dim = state->dim + first_axis,
                                         .window = &x->window,
                                         .buffer = state->buffer,
                                         .offset = offset,
                                         .as = x->convert && real ? &x->type : NULL};
    return true;
}

// All states, stacked ones slice by slice.
static bool list_tensors(Export *x) {
    for (uint32_t i = 0; i < x->s->plan->state_count; i++) {
        const PlanState *state = &x->s->plan->state[i];
        if (!is_exported(state))
            continue;
        const uint32_t first_axis = weights_is_stacked(state) ? 1 : 0;
        uint64_t bytes = plan_dtype_bytes(state->dtype);
        for (uint32_t d = first_axis; d < state->rank; d++)
            bytes *= (uint64_t)state->dim[d];
        for (uint64_t k = 0; k < weights_slices(state); k++)
            if (!add_tensor(x, state, k, first_axis, k * bytes))
                return false;
    }
    return true;
}

// In the file.
static uint64_t tensor_bytes(const SafeSource *t) {
    uint64_t bytes = element_bytes(t->as ? *t->as : element_of_plan(t->dtype));
    for (uint32_t i = 0; i < t->rank; i++)
        bytes *= (uint64_t)t->dim[i];
    return bytes;
}

static PlimStatus assign_shards(Export *x, PlimError *error) {
    x->shard = calloc((size_t)x->count + 1, sizeof *x->shard);
    if (!x->shard)
        return no_memory(error);
    uint64_t used = 0;
    for (uint32_t i = 0; i < x->count; i++) {
        const uint64_t bytes = tensor_bytes(&x->tensor[i]);
        // Behind a tensor larger than a shard the subtraction wraps; the last test sees that.
        if (i == 0 || (used > 0 && bytes > x->shard_bytes - used) || used > x->shard_bytes) {
            x->shard_count++;
            used = 0;
        }
        x->shard[i] = x->shard_count - 1;
        used += bytes;
    }
    if (x->shard_count > SHARDS_MAX)
        return error_set(error, PLIM_BAD_INPUT, "--shard-size gives more than %d shards",
                         (int)SHARDS_MAX);
    return PLIM_OK;
}

static void shard_name(const Export *x, uint32_t shard, char out[64]) {
    snprintf(out, 64, "model-%05u-of-%05u.safetensors", shard + 1, x->shard_count);
}

// {"metadata":{"total_size":N},"weight_map":{...}}; the caller frees it. NULL without memory.
static char *index_text(const Export *x, size_t *size) {
    char *text = NULL;
    FILE *out = open_memstream(&text, size);
    if (!out)
        return NULL;
    uint64_t total = 0;
    for (uint32_t i = 0; i < x->count; i++)
        total += tensor_bytes(&x->tensor[i]);
    // Indented as transformers writes it, so that diff shows only what matters.
    fprintf(out, "{\n  \"metadata\": {\n    \"total_size\": %llu\n  },\n  \"weight_map\": {",
            (unsigned long long)total);
    for (uint32_t i = 0; i < x->count; i++) {
        char name[64];
        shard_name(x, x->shard[i], name);
        fputs(i ? ",\n    " : "\n    ", out);
        plan_json_string(out, x->tensor[i].name);
        fprintf(out, ": \"%s\"", name);
    }
    fputs("\n  }\n}\n", out);
    if (fclose(out) == 0)
        return text;
    free(text);
    return NULL;
}

// The folder's entries are on disk when this is true; else errno says why.
static bool sync_folder(const char *folder) {
    const int fd = open(folder, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (fd < 0)
        return false;
    const bool good = file_sync(fd);
    return file_close(fd) && good;
}

// The index's bytes and the folder's entries are on disk when this is true; else errno says why.
static bool write_index(const char *folder, const char *text, size_t size) {
    char path[FILE_ROOM];
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", folder);
    const int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0666);
    if (fd < 0)
        return false;
    const bool good = file_write(fd, text, size) && file_sync(fd);
    return file_close(fd) && good && sync_folder(folder);
}

// Everything in a folder of ours, whatever state it is in, and the folder.
static void remove_folder(const Export *x, const char *folder) {
    char path[FILE_ROOM], name[64];
    for (uint32_t i = 0; i < x->shard_count; i++) {
        shard_name(x, i, name);
        snprintf(path, sizeof path, "%s/%s", folder, name);
        unlink(path);
    }
    snprintf(path, sizeof path, "%s/model.safetensors.index.json", folder);
    unlink(path);
    rmdir(folder);
}

// All shards and the index into the folder.
static PlimStatus write_shards(const Export *x, const char *folder, PlimError *error) {
    // Tensors of one shard stand together, as shards are assigned in order.
    uint32_t first = 0;
    for (uint32_t shard = 0; shard < x->shard_count; shard++) {
        char path[FILE_ROOM], name[64];
        uint32_t end = first;
        while (end < x->count && x->shard[end] == shard)
            end++;
        shard_name(x, shard, name);
        snprintf(path, sizeof path, "%s/%s", folder, name);
        const PlimStatus status =
            safetensors_write(path, x->tensor + first, end - first, metadata, error);
        if (status != PLIM_OK)
            return status;
        first = end;
    }
    size_t size = 0;
    char *text = index_text(x, &size);
    if (!text)
        return no_memory(error);
    const bool good = write_index(folder, text, size);
    free(text);
    return good ? PLIM_OK
                : error_set(error, PLIM_IO, "can't write the index in %s: %s", folder,
                            strerror(errno));
}

// x->to without slashes at its end, with room for a shard's name behind it.
static bool folder_path(const Export *x, char out[PATH_ROOM]) {
    size_t length = strlen(x->to);
    while (length > 1 && x->to[length - 1] == '/')
        length--;
    return snprintf(out, PATH_ROOM, "%.*s", (int)length, x->to) < PATH_ROOM;
}

static PlimStatus write_sharded(const Export *x, PlimError *error) {
    char folder[PATH_ROOM], temporary[PATH_ROOM];
    if (!folder_path(x, folder) ||
        snprintf(temporary, sizeof temporary, "%s.%ld.part", folder, (long)getpid()) >= PATH_ROOM)
        return error_set(error, PLIM_BAD_INPUT, "the folder's name is too long");
    if (mkdir(temporary, 0777) != 0)
        return error_set(error, PLIM_IO, "can't make folder %s: %s", temporary, strerror(errno));
    PlimStatus status = write_shards(x, temporary, error);
    if (status == PLIM_OK && rename(temporary, folder) != 0)
        status = errno == ENOTEMPTY || errno == EEXIST
                     ? error_set(error, PLIM_BAD_INPUT,
                                 "folder %s has files in it; shards need a new one", folder)
                     : error_set(error, PLIM_IO, "can't write %s: %s", folder, strerror(errno));
    if (status != PLIM_OK) {
        remove_folder(x, temporary);
        return status;
    }
    // The rename is on disk when the folder around is.
    char *slash = strrchr(folder, '/');
    if (slash)
        slash[slash == folder] = '\0';
    return sync_folder(slash ? folder : ".")
               ? PLIM_OK
               : error_set(error, PLIM_IO, "can't sync %s: %s", folder, strerror(errno));
}

// Whether -o means one file; any other name is a folder.
static bool names_file(const char *path) {
    static const char ending[] = ".safetensors";
    const size_t length = strlen(path), size = sizeof ending - 1;
    return length > size && strcmp(path + length - size, ending) == 0;
}

static PlimStatus write_single(const Export *x, PlimError *error) {
    char path[FILE_ROOM];
    if (names_file(x->to))
        return safetensors_write(x->to, x->tensor, x->count, metadata, error);
    if (!folder_path(x, path))
        return error_set(error, PLIM_BAD_INPUT, "the folder's name is too long");
    if (mkdir(path, 0777) != 0 && errno != EEXIST)
        return error_set(error, PLIM_IO, "can't make folder %s: %s", path, strerror(errno));
    strcat(path, "/model.safetensors");
    return safetensors_write(path, x->tensor, x->count, metadata, error);
}

// Weights that fit one shard make one file without an index, as the libraries expect it.
static PlimStatus write_all(Export *x, PlimError *error) {
    if (!list_tensors(x))
        return no_memory(error);
    const PlimStatus status = assign_shards(x, error);
    if (status != PLIM_OK)
        return status;
    if (x->shard_count <= 1)
        return write_single(x, error);
    if (names_file(x->to))
        return error_set(error, PLIM_BAD_INPUT, "%u shards need a folder: give -o FOLDER",
                         x->shard_count);
    return write_sharded(x, error);
}

PlimStatus export_run(PlimSession *s, const PlimOptions *o, PlimError *error) {
    Export x = {.s = s};
    PlimStatus status = read_options(&x, o, error);
    if (status == PLIM_OK)
        status = weights_begin(s, o->weights, o->allow_missing ? WEIGHTS_SOME : WEIGHTS_ALL,
                               o->seed, error);
    if (status == PLIM_OK)
        status = window_open(s->run, &x.window, error);
    if (status == PLIM_OK)
        status = write_all(&x, error);
    // What the device says is the cause of what the file's writer says.
    const PlimStatus device = window_status(&x.window, error);
    window_close(&x.window);
    for (uint32_t i = 0; i < x.count; i++)
        free((void *)(uintptr_t)x.tensor[i].name); // Const for the writer, ours to free
    free(x.tensor);
    free(x.shard);
    return device != PLIM_OK ? device : status;
}
