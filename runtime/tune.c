// Two files beside the program: on a GPU PROGRAM.tune, which algorithm is fastest for each product
// (the library's own guess is good, and sound without any file), for later runs; on every machine
// PROGRAM.rates, how long the program's instructions take, for the compiler. What was measured goes
// to a new file that is renamed, so that others find the old one or the whole new one. It is
// written when all is measured: a program that is ended before has left nothing behind.
#include "runtime/tune.h"

#include "runtime/error.h"
#include "runtime/file_write.h"
#include "runtime/measure.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// That are measured unless --steps says: each way of copies has two.
enum { STEPS = 6 };

// The program's real name and an ending. False where that can't be found out.
static bool beside_program(const char *ending, char out[TUNE_PATH_MAX]) {
    const size_t room = TUNE_PATH_MAX - strlen(ending) - 1;
    const ssize_t length = readlink("/proc/self/exe", out, room);
    if (length <= 0 || length >= (ssize_t)room)
        return false;
    strcpy(out + length, ending);
    return true;
}

const char *tune_path(const PlimOptions *o, char room[TUNE_PATH_MAX]) {
    if (o->tune)
        return o->tune;
    return beside_program(".tune", room) && access(room, F_OK) == 0 ? room : NULL;
}

// -o's file, with an ending where it is not the only one, or that beside the program.
static PlimStatus choose_path(const PlimOptions *o, const char *ending, bool only,
                              char room[TUNE_PATH_MAX], PlimError *error) {
    if (!o->to && !beside_program(ending, room))
        return error_set(error, PLIM_IO, "where is this program? give -o FILE");
    if (o->to && snprintf(room, TUNE_PATH_MAX, "%s%s", o->to, only ? "" : ending) >= TUNE_PATH_MAX)
        return error_set(error, PLIM_BAD_INPUT, "the file's name is too long");
    return PLIM_OK;
}

static PlimStatus write_error(const char *path, PlimError *error) {
    return error_set(error, PLIM_IO, "can't write %s: %s", path, strerror(errno));
}

typedef PlimStatus (*Writer)(PlimSession *s, const PlimOptions *o, FILE *out, PlimError *error);

static PlimStatus write_file(const char *path, const char *text, size_t size, PlimError *error) {
    char room[TUNE_PATH_MAX + 32];
    const bool special = file_is_special(path);
    if (snprintf(room, sizeof room, "%s.%ld.part", path, (long)getpid()) >= (int)sizeof room)
        return error_set(error, PLIM_BAD_INPUT, "the file's name is too long");
    const char *written = special ? path : room;
    FILE *out = fopen(written, "we");
    if (!out)
        return write_error(path, error);
    // Both are asked, as closing writes what is left.
    const bool lost = fwrite(text, 1, size, out) != size;
    if (fclose(out) == 0 && !lost && (special || rename(written, path) == 0))
        return PLIM_OK;
    const PlimStatus status = write_error(path, error);
    if (!special)
        unlink(written);
    return status;
}

// Measuring takes minutes, writing none: the file is begun when its text is whole.
static PlimStatus write_whole(PlimSession *s, const PlimOptions *o, const char *path, Writer write,
                              PlimError *error) {
    char *text = NULL;
    size_t size = 0;
    FILE *memory = open_memstream(&text, &size);
    if (!memory)
        return error_set(error, PLIM_NO_MEMORY, "out of memory");
    PlimStatus status = write(s, o, memory, error);
    const bool lost = ferror(memory) != 0;
    if ((fclose(memory) != 0 || lost) && status == PLIM_OK)
        status = error_set(error, PLIM_NO_MEMORY, "out of memory");
    if (status == PLIM_OK)
        status = write_file(path, text, size, error);
    free(text);
    return status;
}

static PlimStatus write_algorithms(PlimSession *s, const PlimOptions *o, FILE *out,
                                   PlimError *error) {
    (void)o;
    return run_tune(s->run, out, error);
}

static PlimStatus write_rates(PlimSession *s, const PlimOptions *o, FILE *out, PlimError *error) {
    const int64_t steps = o->steps ? o->steps : STEPS;
    const MeasureOptions measure = {.steps = steps < 1000 ? (int)steps : 1000,
                                    .may_end = !o->steps,
                                    .far_folder = o->far_dir,
                                    .quiet = o->quiet};
    return measure_rates(s, &measure, out, error);
}

PlimStatus tune_run(PlimSession *s, const PlimOptions *o, PlimError *error) {
    char path[TUNE_PATH_MAX];
    const bool gpu = plan_is_cuda(s->plan);
    PlimStatus status = PLIM_OK;
    if (gpu && s->plan->product_count > 0) {
        status = choose_path(o, ".tune", true, path, error);
        if (status == PLIM_OK)
            status = write_whole(s, o, path, write_algorithms, error);
    }
    // With the algorithms that were just chosen.
    if (status == PLIM_OK)
        status = choose_path(o, ".rates", !gpu, path, error);
    if (status == PLIM_OK)
        status = write_whole(s, o, path, write_rates, error);
    if (status == PLIM_OK && !o->quiet)
        fprintf(stderr, "wrote %s: plimc --rates reads it\n", path);
    return status;
}
