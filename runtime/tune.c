// Which algorithm is fastest for a product depends on the GPU; the library's own guess is good, and
// sound without any file. What was measured goes to a new file that is renamed, so that a run finds
// the old one or the whole new one.
#include "runtime/tune.h"

#include "runtime/error.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

// "PROGRAM.tune", by the program's real name. False where that can't be found out.
static bool default_path(char out[TUNE_PATH_MAX]) {
    static const char ending[] = ".tune";
    const ssize_t length = readlink("/proc/self/exe", out, TUNE_PATH_MAX - sizeof ending);
    if (length <= 0 || length >= (ssize_t)(TUNE_PATH_MAX - sizeof ending))
        return false;
    memcpy(out + length, ending, sizeof ending);
    return true;
}

const char *tune_path(const PlimOptions *o, char room[TUNE_PATH_MAX]) {
    if (o->tune)
        return o->tune;
    return default_path(room) && access(room, F_OK) == 0 ? room : NULL;
}

static PlimStatus write_error(const char *path, PlimError *error) {
    return error_set(error, PLIM_IO, "can't write %s: %s", path, strerror(errno));
}

PlimStatus tune_run(PlimSession *s, const PlimOptions *o, PlimError *error) {
    char room[TUNE_PATH_MAX], temporary[TUNE_PATH_MAX + 32];
    const char *path = o->to;
    if (!path && default_path(room))
        path = room;
    if (!path)
        return error_set(error, PLIM_IO, "where is this program? give -o FILE");
    if (snprintf(temporary, sizeof temporary, "%s.%ld.part", path, (long)getpid()) >=
        (int)sizeof temporary)
        return error_set(error, PLIM_BAD_INPUT, "the file's name is too long");
    FILE *out = fopen(temporary, "we");
    if (!out)
        return write_error(path, error);
    PlimStatus status = run_tune(s->run, out, error);
    // Both are asked, as closing writes what is left.
    const bool lost = ferror(out) != 0;
    if ((fclose(out) != 0 || lost) && status == PLIM_OK)
        status = write_error(path, error);
    if (status == PLIM_OK && rename(temporary, path) != 0)
        status = write_error(path, error);
    if (status != PLIM_OK)
        unlink(temporary);
    return status;
}
