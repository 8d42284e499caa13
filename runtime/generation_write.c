// Writing a generation.
//
// The order is what makes it safe, whatever moment a kill or a power failure takes: the files are
// on the disk before the marker is written, the marker and the folder's entries before the folder
// gets its name, and the name is on the disk before anybody is told or anything older is removed.
#include "runtime/generation.h"

#include "runtime/error.h"
#include "runtime/file_write.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static PlimStatus write_error(const GenerationWriter *w, const char *file, PlimError *error) {
    return error_set(error, PLIM_IO, "can't write %s/%s/%s: %s", w->folder->path, w->temporary,
                     file, strerror(errno));
}

// Closes what is open. False where a file reported bytes lost.
static bool close_files(GenerationWriter *w) {
    bool ok = true;
    for (int i = 0; i < GENERATION_FILES; i++) {
        if (w->file[i] >= 0)
            ok = file_close(w->file[i]) && ok;
        w->file[i] = -1;
    }
    return ok;
}

// After a failure, whose sentence stays: what can't be removed now is swept by the next run.
static void give_up(GenerationWriter *w) {
    PlimError ignored;
    close_files(w);
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
    (void)generation_remove(w->folder, w->temporary, &ignored);
}

static PlimStatus make_folder(GenerationWriter *w, PlimError *error) {
    const int at = w->folder->fd;
    if (mkdirat(at, w->temporary, 0777) != 0)
        return write_error(w, "", error);
    w->fd = file_open_at(at, w->temporary, O_RDONLY | O_DIRECTORY);
    return w->fd >= 0 ? PLIM_OK : write_error(w, "", error);
}

PlimStatus generation_store(const GenerationFolder *f, const Generation *what,
                            const GenerationTensors tensors[GENERATION_FILES],
                            GenerationWriter *out, PlimError *error) {
    *out = (GenerationWriter){.folder = f, .what = *what, .fd = -1, .file = {-1, -1}};
    generation_name(what->step, out->name);
    snprintf(out->temporary, sizeof out->temporary, ".%.40s.tmp", out->name);
    // "format":"pt" is what other readers of safetensors expect.
    char metadata[96];
    snprintf(metadata, sizeof metadata, "{\"format\":\"pt\",\"step\":\"%lld\"}",
             (long long)what->step);
    PlimStatus status = make_folder(out, error);
    for (int i = 0; i < GENERATION_FILES && status == PLIM_OK; i++) {
        const char *name = generation_file_name(i);
        out->file[i] = file_open_at(out->fd, name, O_WRONLY | O_CREAT | O_EXCL);
        if (out->file[i] < 0 ||
            !safetensors_write_to(out->file[i], tensors[i].tensor, tensors[i].count, metadata,
                                  &out->what.bytes[i]))
            status = write_error(out, name, error);
        // The device's own sentence tells more.
        if (window_status(&tensors[i].window, error) != PLIM_OK)
            status = PLIM_MACHINE;
    }
    if (status != PLIM_OK)
        give_up(out);
    return status;
}

// The marker's text; its length.
static int print_marker(const Generation *g, char *out, size_t size) {
    char model[sizeof g->model];
    snprintf(model, sizeof model, "%s", g->model);
    // The name is for people: a character that JSON would escape is not worth it.
    for (char *c = model; *c; c++)
        if (*c == '"' || *c == '\\' || (unsigned char)*c < 0x20)
            *c = '_';
    return snprintf(out, size,
                    "{\"step\": %lld, \"steps\": %lld, \"seed\": %lld, \"data\": %llu, "
                    "\"knobs\": %llu,\n \"model\": \"%s\", \"plan\": \"%016llx\",\n \"bytes\": "
                    "{\"%s\": %llu, \"%s\": %llu}}\n",
                    (long long)g->step, (long long)g->steps, (long long)g->seed,
                    (unsigned long long)g->data, (unsigned long long)g->knobs, model,
                    (unsigned long long)g->digest, generation_file_name(GENERATION_MODEL),
                    (unsigned long long)g->bytes[GENERATION_MODEL],
                    generation_file_name(GENERATION_OPTIMIZER),
                    (unsigned long long)g->bytes[GENERATION_OPTIMIZER]);
}

// False with errno set.
static bool write_marker(const GenerationWriter *w) {
    char text[1024];
    const int length = print_marker(&w->what, text, sizeof text);
    const int fd = file_open_at(w->fd, GENERATION_MARKER, O_WRONLY | O_CREAT | O_EXCL);
    if (fd < 0)
        return false;
    if (file_write(fd, text, (uint64_t)length) && file_sync(fd))
        return file_close(fd);
    const int why = errno;
    close(fd);
    errno = why;
    return false;
}

// The files and the marker are on the disk under the temporary name.
static PlimStatus give_name(GenerationWriter *w, PlimError *error) {
    // Only one that does not count can stand there: a run that has this step goes on behind it.
    const PlimStatus status = generation_remove(w->folder, w->name, error);
    if (status != PLIM_OK)
        return status;
    if (renameat(w->folder->fd, w->temporary, w->folder->fd, w->name) != 0 ||
        !file_sync(w->folder->fd)) {
        return error_set(error, PLIM_IO, "can't name the checkpoint %s/%s: %s", w->folder->path,
                         w->name, strerror(errno));
    }
    return PLIM_OK;
}

PlimStatus generation_commit(GenerationWriter *w, PlimError *error) {
    PlimStatus status = PLIM_OK;
    for (int i = 0; i < GENERATION_FILES && status == PLIM_OK; i++)
        if (!file_sync(w->file[i]))
            status = write_error(w, generation_file_name(i), error);
    if (!close_files(w) && status == PLIM_OK)
        status = write_error(w, generation_file_name(GENERATION_MODEL), error);
    if (status == PLIM_OK && !write_marker(w))
        status = write_error(w, GENERATION_MARKER, error);
    if (status == PLIM_OK && !file_sync(w->fd))
        status = write_error(w, "", error);
    if (status == PLIM_OK)
        status = give_name(w, error);
    if (status != PLIM_OK) {
        give_up(w);
        return status;
    }
    close(w->fd);
    w->fd = -1;
    return PLIM_OK;
}
