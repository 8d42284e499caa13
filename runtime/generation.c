// Finding, judging and removing generations.
//
// Nothing here holds a list: the folder is read again for each generation, from the newest down,
// which is a handful of times for the few that stand there. A kill or a power failure at any moment
// of removing leaves a folder without marker or with files missing, which counts as no generation
// and is removed later.
#include "runtime/generation.h"

#include "runtime/error.h"
#include "runtime/file_read.h"
#include "runtime/file_write.h"
#include "runtime/json_read.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

// Bytes: far more than a marker needs.
enum { MARKER_MAX = 4096 };

const char *generation_file_name(int file) {
    static const char *const name[GENERATION_FILES] = {"model.safetensors",
                                                       "optimizer.safetensors"};
    return name[file];
}

void generation_name(int64_t step, char out[48]) {
    snprintf(out, 48, "step-%lld", (long long)step);
}

static PlimStatus folder_error(const GenerationFolder *f, const char *verb, const char *name,
                               PlimError *error) {
    return error_set(error, PLIM_IO, "can't %s %s/%s: %s", verb, f->path, name, strerror(errno));
}

// A new position in the folder each time: a descriptor's own would be shared.
static DIR *open_listing(const GenerationFolder *f) {
    const int fd = file_open_at(f->fd, ".", O_RDONLY | O_DIRECTORY);
    DIR *listing = fd < 0 ? NULL : fdopendir(fd);
    if (!listing && fd >= 0)
        close(fd);
    return listing;
}

// NULL at the end with errno 0, or on failure with errno set.
static const char *next_name(DIR *listing) {
    errno = 0;
    const struct dirent *entry = readdir(listing);
    return entry ? entry->d_name : NULL;
}

// N of a folder called exactly "step-N"; 0 for any other name.
static int64_t step_of_name(const char *name) {
    long long step;
    char again[48];
    if (sscanf(name, "step-%18lld", &step) != 1 || step < 1)
        return 0;
    generation_name(step, again);
    return strcmp(name, again) == 0 ? step : 0;
}

// *step: the largest below the given one, 0 where there is none. False with errno set.
static bool step_below(const GenerationFolder *f, int64_t below, int64_t *step) {
    DIR *listing = open_listing(f);
    if (!listing)
        return false;
    *step = 0;
    for (const char *name = next_name(listing); name; name = next_name(listing)) {
        const int64_t found = step_of_name(name);
        // No order in a listing can be relied on, so every name is looked at.
        if (found < below && found > *step)
            *step = found;
    }
    const int why = errno;
    closedir(listing);
    errno = why;
    return why == 0;
}

// "FILE": SIZE pairs.
static void read_bytes(JsonCursor *j, Generation *out) {
    char name[48];
    JsonList members = {0};
    while (json_member(j, &members, name, sizeof name)) {
        uint64_t bytes = 0;
        json_count(j, &bytes);
        for (int i = 0; i < GENERATION_FILES; i++)
            if (strcmp(name, generation_file_name(i)) == 0)
                out->bytes[i] = bytes;
    }
}

// Members that are not known are passed over: later versions may write more.
static bool parse_marker(const char *text, size_t size, Generation *out) {
    JsonCursor j = {.at = text, .end = text + size};
    JsonList members = {0};
    char key[48];
    *out = (Generation){0};
    while (json_member(&j, &members, key, sizeof key))
        if (strcmp(key, "step") == 0)
            json_integer(&j, &out->step);
        else if (strcmp(key, "steps") == 0)
            json_integer(&j, &out->steps);
        else if (strcmp(key, "seed") == 0)
            json_integer(&j, &out->seed);
        else if (strcmp(key, "data") == 0)
            json_count(&j, &out->data);
        else if (strcmp(key, "knobs") == 0)
            json_count(&j, &out->knobs);
        else if (strcmp(key, "model") == 0)
            json_string(&j, out->model, sizeof out->model);
        else if (strcmp(key, "bytes") == 0)
            read_bytes(&j, out);
        else
            json_skip(&j);
    return json_at_end(&j) && out->steps >= out->step && out->seed >= 0;
}

// False with errno set, 0 where the text is no marker.
static bool read_marker(const GenerationFolder *f, const char *path, Generation *out) {
    char text[MARKER_MAX];
    struct stat about;
    const int fd = file_open_at(f->fd, path, O_RDONLY);
    if (fd < 0)
        return false;
    bool ok = fstat(fd, &about) == 0;
    // One that is too large to be a marker is read as empty, which is none.
    const size_t size = ok && about.st_size < MARKER_MAX ? (size_t)about.st_size : 0;
    ok = ok && file_read_at(fd, text, size, 0);
    const int why = errno;
    close(fd);
    errno = ok ? 0 : why;
    return ok && parse_marker(text, size, out);
}

// Whether the generation counts; otherwise why says what is wrong.
static bool counts(const GenerationFolder *f, int64_t step, Generation *out, char why[128]) {
    char path[128], name[48];
    generation_name(step, name);
    snprintf(path, sizeof path, "%s/" GENERATION_MARKER, name);
    if (!read_marker(f, path, out) || out->step != step) {
        snprintf(why, 128, GENERATION_MARKER ": %s", errno ? strerror(errno) : "not as written");
        return false;
    }
    for (int i = 0; i < GENERATION_FILES; i++) {
        struct stat about;
        snprintf(path, sizeof path, "%s/%s", name, generation_file_name(i));
        if (fstatat(f->fd, path, &about, 0) != 0) {
            snprintf(why, 128, "%s: %s", generation_file_name(i), strerror(errno));
            return false;
        }
        // A size that is right is no proof, but catches what a full disk or a copy cut short
        // leaves.
        if (!S_ISREG(about.st_mode) || (uint64_t)about.st_size != out->bytes[i]) {
            snprintf(why, 128, "%s has %lld bytes instead of %llu", generation_file_name(i),
                     (long long)about.st_size, (unsigned long long)out->bytes[i]);
            return false;
        }
    }
    return true;
}

// Whether both files begin as tensors do: a disk may give back other bytes than it took.
static bool headers_hold(const GenerationFolder *f, int64_t step, char why[128]) {
    bool ok = true;
    for (int i = 0; i < GENERATION_FILES && ok; i++) {
        char path[4096], name[48];
        SafeFile *file = NULL;
        PlimError error;
        generation_name(step, name);
        ok = snprintf(path, sizeof path, "%s/%s/%s", f->path, name, generation_file_name(i)) <
                 (int)sizeof path &&
             safetensors_open(path, &file, &error) == PLIM_OK;
        safetensors_close(file);
        if (!ok)
            snprintf(why, 128, "%s is no safetensors file", generation_file_name(i));
    }
    return ok;
}

PlimStatus generation_newest(const GenerationFolder *f, Generation *out, PlimError *error) {
    char why[128];
    int64_t step = INT64_MAX;
    for (;;) {
        if (!step_below(f, step, &step))
            return folder_error(f, "list", ".", error);
        if (step == 0) {
            *out = (Generation){0};
            return PLIM_OK;
        }
        if (counts(f, step, out, why) && headers_hold(f, step, why))
            return PLIM_OK;
        // Told, not refused: the one before it is as good a place to go on from.
        fprintf(stderr, "%s/step-%lld is not whole and is passed over: %s\n", f->path,
                (long long)step, why);
    }
}

PlimStatus generation_remove(const GenerationFolder *f, const char *name, PlimError *error) {
    // The marker first: without it the rest counts for nothing.
    const char *const file[] = {GENERATION_MARKER, generation_file_name(GENERATION_MODEL),
                                generation_file_name(GENERATION_OPTIMIZER)};
    for (int i = 0; i < 3; i++) {
        char path[128];
        snprintf(path, sizeof path, "%s/%s", name, file[i]);
        if (unlinkat(f->fd, path, 0) != 0 && errno != ENOENT)
            return folder_error(f, "remove", path, error);
    }
    // Not empty: somebody else's files, which are not ours to remove.
    if (unlinkat(f->fd, name, AT_REMOVEDIR) != 0 && errno != ENOENT && errno != ENOTEMPTY &&
        errno != EEXIST)
        return folder_error(f, "remove", name, error);
    return PLIM_OK;
}

// ".step-N.tmp".
static bool is_temporary(const char *name) {
    const size_t length = strlen(name);
    return length < 48 && strncmp(name, ".step-", 6) == 0 && strcmp(name + length - 4, ".tmp") == 0;
}

PlimStatus generation_sweep(const GenerationFolder *f, PlimError *error) {
    DIR *listing = open_listing(f);
    if (!listing)
        return folder_error(f, "list", ".", error);
    PlimStatus status = PLIM_OK;
    const char *name = next_name(listing);
    for (; name && status == PLIM_OK; name = next_name(listing))
        // Only names that a save of ours makes; others in the folder are not ours.
        if (is_temporary(name))
            status = generation_remove(f, name, error);
    if (!name && errno != 0)
        status = folder_error(f, "list", ".", error);
    closedir(listing);
    return status;
}

PlimStatus generation_drop_old(const GenerationFolder *f, PlimError *error) {
    int kept = 0;
    int64_t step = INT64_MAX;
    for (;;) {
        Generation seen;
        char why[128], name[48];
        if (!step_below(f, step, &step))
            return folder_error(f, "list", ".", error);
        if (step == 0)
            return PLIM_OK;
        if (kept < GENERATIONS_KEPT) {
            // One that can't be read just now is kept, and others with it.
            kept += counts(f, step, &seen, why);
            continue;
        }
        generation_name(step, name);
        const PlimStatus status = generation_remove(f, name, error);
        if (status != PLIM_OK)
            return status;
    }
}
