// Opening a set of weights, and the rules of an index:
//
//     {"metadata": {...}, "weight_map": {"wte.weight": "model-00001-of-00002.safetensors", ...}}
//
// A shard is a plain file name: an index from somewhere else must not make us open files outside
// its folder. The map and the shards must tell the same story: a shard that is missing, a tensor
// that is not in its shard, a tensor of a shard that the map does not list or lists elsewhere, and
// a name twice are each refused. Then every tensor is in exactly one shard.
#include "runtime/weight_files.h"

#include "runtime/error.h"
#include "runtime/file_read.h"
#include "runtime/json_read.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { PATH_ROOM = 4096, NAME_ROOM = 1024, INDEX_MAX = 64 << 20, SHARDS_MAX = 4096 };

struct WeightFiles {
    char path[PATH_ROOM]; // what was opened
    uint32_t shard_count;
    SafeFile **shard;
    char **shard_name; // of an index: file names without folder
    uint32_t listed_count, listed_capacity;
    const SafeTensor **listed; // by an index, where it says, in its order
    uint32_t count;
    WeightTensor *tensor; // sorted by name
};

// A file of any kind; a folder of that name is none.
static bool exists(const char *path) {
    struct stat info;
    return stat(path, &info) == 0 && !S_ISDIR(info.st_mode);
}

// The number of "step-N", or -1 where the name is another.
static int64_t step_of(const char *name) {
    char *end;
    if (strncmp(name, "step-", 5) != 0 || name[5] < '0' || name[5] > '9')
        return -1;
    errno = 0;
    const long long step = strtoll(name + 5, &end, 10);
    return *end || errno != 0 ? -1 : step;
}

// Joins folder/name into out; false where there is no room.
static bool join(char out[PATH_ROOM], const char *folder, const char *name) {
    return snprintf(out, PATH_ROOM, "%s/%s", folder, name) < PATH_ROOM;
}

// The greatest N of a folder's step-N that has complete.json; -1: none. The marker is written last,
// so what stands beside it is whole.
static int64_t newest_step(const char *folder) {
    DIR *d = opendir(folder);
    int64_t newest = -1;
    for (const struct dirent *entry; d && (entry = readdir(d));) {
        char marker[PATH_ROOM];
        const int64_t step = step_of(entry->d_name);
        const bool room = snprintf(marker, sizeof marker, "%s/%s/complete.json", folder,
                                   entry->d_name) < PATH_ROOM;
        if (step > newest && room && exists(marker))
            newest = step;
    }
    if (d)
        closedir(d);
    return newest;
}

// model.safetensors or the index, whichever the folder has.
static bool find_in_folder(const char *folder, char out[PATH_ROOM]) {
    return (join(out, folder, "model.safetensors") && exists(out)) ||
           (join(out, folder, "model.safetensors.index.json") && exists(out));
}

// From the user's path to that of a file.
static PlimStatus resolve(const char *path, char out[PATH_ROOM], PlimError *error) {
    struct stat info;
    if (stat(path, &info) != 0)
        return error_set(error, PLIM_IO, "can't open %s: %s", path, strerror(errno));
    if (!S_ISDIR(info.st_mode)) {
        if (snprintf(out, PATH_ROOM, "%s", path) < PATH_ROOM)
            return PLIM_OK;
        return error_set(error, PLIM_BAD_INPUT, "the name of the weights is too long");
    }
    if (find_in_folder(path, out))
        return PLIM_OK;
    char step_name[32], step_folder[PATH_ROOM];
    const int64_t step = newest_step(path);
    snprintf(step_name, sizeof step_name, "step-%lld", (long long)step);
    if (step >= 0 && join(step_folder, path, step_name) && find_in_folder(step_folder, out))
        return PLIM_OK;
    return error_set(error, PLIM_BAD_INPUT,
                     "folder %s has no model.safetensors, no model.safetensors.index.json and no "
                     "complete checkpoint",
                     path);
}

// Grows the table by one shard, which the set owns. False without memory; file is closed then.
static bool add_shard(WeightFiles *w, SafeFile *file, const char *name) {
    // Each of the two is kept where it grew, so that closing the set frees both whatever failed.
    SafeFile **shard = realloc(w->shard, (w->shard_count + 1) * sizeof *shard);
    if (shard)
        w->shard = shard;
    char **names = realloc(w->shard_name, (w->shard_count + 1) * sizeof *names);
    if (names)
        w->shard_name = names;
    char *copy = strdup(name);
    if (!shard || !names || !copy) {
        free(copy);
        safetensors_close(file);
        return false;
    }
    w->shard[w->shard_count] = file;
    w->shard_name[w->shard_count++] = copy;
    return true;
}

// Sorted once, found by halving: models have thousands of tensors and each state asks.
static int by_name(const void *a, const void *b) {
    const WeightTensor *x = a, *y = b;
    return strcmp(x->tensor->name, y->tensor->name);
}

// All tensors of all shards, sorted; a name in two shards is an error.
static PlimStatus list_tensors(WeightFiles *w, PlimError *error) {
    uint64_t total = 0;
    for (uint32_t i = 0; i < w->shard_count; i++)
        total += safetensors_count(w->shard[i]);
    w->tensor = total < UINT32_MAX ? calloc((size_t)total + 1, sizeof *w->tensor) : NULL;
    if (!w->tensor)
        return error_set(error, PLIM_NO_MEMORY, "out of memory reading %s", w->path);
    for (uint32_t i = 0; i < w->shard_count; i++)
        for (uint32_t k = 0; k < safetensors_count(w->shard[i]); k++)
            w->tensor[w->count++] =
                (WeightTensor){.tensor = safetensors_at(w->shard[i], k), .file = w->shard[i]};
    qsort(w->tensor, w->count, sizeof *w->tensor, by_name);
    for (uint32_t i = 1; i < w->count; i++)
        if (by_name(&w->tensor[i - 1], &w->tensor[i]) == 0)
            return error_set(error, PLIM_BAD_INPUT, "%s: tensor %s is in two shards", w->path,
                             w->tensor[i].tensor->name);
    return PLIM_OK;
}

static PlimStatus bad_index(const WeightFiles *w, const char *why, PlimError *error) {
    return error_set(error, PLIM_BAD_INPUT, "%s is no valid index of shards: %s", w->path, why);
}

// A name of the index's own folder.
static bool is_plain_name(const char *name) {
    return name[0] && !strchr(name, '/') && strcmp(name, ".") != 0 && strcmp(name, "..") != 0;
}

// The shard of that name, opened when it is first named. NULL after an error.
static const SafeFile *open_shard(WeightFiles *w, const char *name, PlimError *error) {
    // A map goes from shard to shard: the last one is most often the right one.
    for (uint32_t i = w->shard_count; i-- > 0;)
        if (strcmp(w->shard_name[i], name) == 0)
            return w->shard[i];
    char path[PATH_ROOM];
    const char *slash = strrchr(w->path, '/');
    const int folder = slash ? (int)(slash - w->path) + 1 : 0;
    SafeFile *file;
    // Before the name becomes part of a path.
    if (!is_plain_name(name)) {
        error_set(error, PLIM_BAD_INPUT, "%s names the shard '%s', which is no plain file name",
                  w->path, name);
        return NULL;
    }
    if (w->shard_count == SHARDS_MAX ||
        snprintf(path, sizeof path, "%.*s%s", folder, w->path, name) >= PATH_ROOM) {
        bad_index(w, "too many shards, or too long a name", error);
        return NULL;
    }
    if (safetensors_open(path, &file, error) != PLIM_OK)
        return NULL; // A shard that is not there says so itself
    if (!add_shard(w, file, name)) {
        error_set(error, PLIM_NO_MEMORY, "out of memory reading %s", w->path);
        return NULL;
    }
    return file;
}

// Remembers a tensor that the map lists. False without memory.
static bool add_listed(WeightFiles *w, const SafeTensor *t) {
    if (w->listed_count == w->listed_capacity) {
        const uint32_t capacity = w->listed_capacity ? w->listed_capacity * 2 : 256;
        const SafeTensor **grown = realloc(w->listed, capacity * sizeof *grown);
        if (!grown)
            return false;
        w->listed = grown;
        w->listed_capacity = capacity;
    }
    w->listed[w->listed_count++] = t;
    return true;
}

// {"tensor": "shard", ...}
static PlimStatus read_map(WeightFiles *w, JsonCursor *j, PlimError *error) {
    char name[NAME_ROOM], shard[NAME_ROOM];
    JsonList members = {0};
    while (json_key(j, &members)) {
        if (!json_string(j, name, sizeof name) || !json_expect(j, ':') ||
            !json_string(j, shard, sizeof shard))
            break;
        const SafeFile *file = open_shard(w, shard, error);
        if (!file)
            return PLIM_BAD_INPUT;
        const SafeTensor *t = safetensors_find(file, name);
        if (!t)
            return error_set(error, PLIM_BAD_INPUT, "%s: tensor %s is not in %s", w->path, name,
                             shard);
        if (!add_listed(w, t))
            return error_set(error, PLIM_NO_MEMORY, "out of memory reading %s", w->path);
    }
    return j->failed ? bad_index(w, "weight_map does not map names to file names", error) : PLIM_OK;
}

static int listed_by_name(const void *a, const void *b) {
    return strcmp((*(const SafeTensor *const *)a)->name, (*(const SafeTensor *const *)b)->name);
}

// Each listed tensor was found in its shard, and no name is in two: where none is listed twice and
// the counts are equal, every tensor of every shard is listed where it is.
static PlimStatus check_listed(WeightFiles *w, PlimError *error) {
    qsort(w->listed, w->listed_count, sizeof *w->listed, listed_by_name);
    for (uint32_t i = 1; i < w->listed_count; i++)
        if (listed_by_name(&w->listed[i - 1], &w->listed[i]) == 0)
            return error_set(error, PLIM_BAD_INPUT, "%s lists tensor %s twice", w->path,
                             w->listed[i]->name);
    if (w->listed_count == w->count)
        return PLIM_OK;
    return error_set(error, PLIM_BAD_INPUT, "%s lists %u tensors, but its shards have %u", w->path,
                     w->listed_count, w->count);
}

static PlimStatus read_index(WeightFiles *w, const char *text, size_t size, PlimError *error) {
    JsonCursor j = {.at = text, .end = text + size};
    JsonList members = {0};
    bool seen = false;
    char key[32];
    while (json_member(&j, &members, key, sizeof key)) {
        if (strcmp(key, "weight_map") == 0) {
            if (seen)
                return bad_index(w, "weight_map stands in it twice", error);
            seen = true;
            const PlimStatus status = read_map(w, &j, error);
            if (status != PLIM_OK)
                return status;
        } else {
            json_skip(&j);
        }
    }
    // Only now is it known that the text was JSON to its end.
    if (!json_at_end(&j))
        return bad_index(w, "it is no valid JSON", error);
    if (!seen)
        return bad_index(w, "it has no weight_map", error);
    const PlimStatus status = list_tensors(w, error);
    return status == PLIM_OK ? check_listed(w, error) : status;
}

static PlimStatus open_index(WeightFiles *w, PlimError *error) {
    const int fd = open(w->path, O_RDONLY | O_CLOEXEC);
    struct stat info;
    if (fd < 0 || fstat(fd, &info) != 0) {
        error_set(error, PLIM_IO, "can't open %s: %s", w->path, strerror(errno));
        if (fd >= 0)
            close(fd);
        return PLIM_IO;
    }
    PlimStatus status;
    char *text = NULL;
    if (info.st_size < 0 || info.st_size > INDEX_MAX)
        status = bad_index(w, "it is larger than 64 MiB", error);
    else if (!(text = malloc((size_t)info.st_size + 1)))
        status = error_set(error, PLIM_NO_MEMORY, "out of memory reading %s", w->path);
    else if (!file_read_at(fd, text, (uint64_t)info.st_size, 0))
        status = error_set(error, PLIM_IO, "can't read %s: %s", w->path, strerror(errno));
    else
        status = read_index(w, text, (size_t)info.st_size, error);
    free(text);
    close(fd);
    return status;
}

// One file is a set of one shard: from here on there is no difference.
static PlimStatus open_single(WeightFiles *w, PlimError *error) {
    SafeFile *file;
    const PlimStatus status = safetensors_open(w->path, &file, error);
    if (status != PLIM_OK)
        return status;
    if (!add_shard(w, file, w->path))
        return error_set(error, PLIM_NO_MEMORY, "out of memory reading %s", w->path);
    return list_tensors(w, error);
}

PlimStatus weight_files_open(const char *path, WeightFiles **out, PlimError *error) {
    WeightFiles *w = calloc(1, sizeof *w);
    if (!w)
        return error_set(error, PLIM_NO_MEMORY, "out of memory reading %s", path);
    PlimStatus status = resolve(path, w->path, error);
    if (status == PLIM_OK) {
        const size_t length = strlen(w->path);
        // By its ending, as safetensors files have no mark to go by.
        const bool index = length >= 5 && strcmp(w->path + length - 5, ".json") == 0;
        status = index ? open_index(w, error) : open_single(w, error);
    }
    if (status != PLIM_OK) {
        weight_files_close(w);
        return status;
    }
    *out = w;
    return PLIM_OK;
}

void weight_files_close(WeightFiles *w) {
    if (!w)
        return;
    for (uint32_t i = 0; i < w->shard_count; i++) {
        safetensors_close(w->shard[i]);
        free(w->shard_name[i]);
    }
    free(w->shard);
    free(w->shard_name);
    free(w->listed);
    free(w->tensor);
    free(w);
}

const char *weight_files_path(const WeightFiles *w) {
    return w->path;
}

uint32_t weight_files_count(const WeightFiles *w) {
    return w->count;
}

const WeightTensor *weight_files_at(const WeightFiles *w, uint32_t index) {
    return &w->tensor[index];
}

const WeightTensor *weight_files_find(const WeightFiles *w, const char *name) {
    const SafeTensor key = {.name = name};
    const WeightTensor wanted = {.tensor = &key};
    return bsearch(&wanted, w->tensor, w->count, sizeof wanted, by_name);
}
