// Going on must give the same bits as never having stopped, so nothing is converted and nothing
// left out: a generation either has exactly the tensors that this program would save, or it is
// refused.
#include "runtime/resume.h"

#include "runtime/error.h"
#include "runtime/file_write.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

PlimStatus resume_find(const char *folder, Generation *out, PlimError *error) {
    const GenerationFolder f = {.fd = file_open_at(AT_FDCWD, folder, O_RDONLY | O_DIRECTORY),
                                .path = folder};
    if (f.fd < 0)
        return error_set(error, PLIM_IO, "can't open folder %s: %s", folder, strerror(errno));
    PlimStatus status = generation_newest(&f, out, error);
    close(f.fd);
    if (status == PLIM_OK && out->step == 0)
        status = error_set(error, PLIM_BAD_INPUT, "there is no whole checkpoint in %s", folder);
    return status;
}

// By device and inode: two paths may lead to one folder.
bool resume_same_folder(const char *one, const char *other) {
    struct stat a, b;
    return stat(one, &a) == 0 && stat(other, &b) == 0 && a.st_dev == b.st_dev &&
           a.st_ino == b.st_ino;
}

// One file of a generation, and what the program wants of it.
typedef struct {
    char path[4096];
    SafeFile *file;
    const GenerationTensors *wanted;
} Source;

// "f32[2,3]", to stderr.
static void print_type(ElementType type, uint32_t rank, const int64_t *dim) {
    fprintf(stderr, "%s[", element_name(type));
    for (uint32_t i = 0; i < rank; i++)
        fprintf(stderr, "%s%lld", i ? "," : "", (long long)dim[i]);
    fputc(']', stderr);
}

// To the bit: a type that would have to be converted is another one.
static bool same_type(const SafeSource *wanted, const SafeTensor *t) {
    bool same = wanted->rank == t->rank && element_of_plan(wanted->dtype) == t->type;
    for (uint32_t i = 0; i < t->rank && same; i++)
        same = wanted->dim[i] == t->dim[i];
    return same;
}

// 1 where the file has not what is wanted, after a line that says so.
static uint32_t check_wanted(const Source *s, const SafeSource *wanted) {
    const SafeTensor *t = safetensors_find(s->file, wanted->name);
    if (t && same_type(wanted, t))
        return 0;
    if (!t) {
        fprintf(stderr, "%s: no tensor %s\n", s->path, wanted->name);
        return 1;
    }
    fprintf(stderr, "%s: tensor %s is ", s->path, t->name);
    print_type(t->type, t->rank, t->dim);
    fputs(", the model wants ", stderr);
    print_type(element_of_plan(wanted->dtype), wanted->rank, wanted->dim);
    fputc('\n', stderr);
    return 1;
}

// How many tensors the program does not want, a line each.
static uint32_t check_extra(const Source *s) {
    uint32_t extra = 0;
    for (uint32_t i = 0; i < safetensors_count(s->file); i++) {
        const SafeTensor *t = safetensors_at(s->file, i);
        bool wanted = false;
        for (uint32_t k = 0; k < s->wanted->count && !wanted; k++)
            wanted = strcmp(s->wanted->tensor[k].name, t->name) == 0;
        if (wanted)
            continue;
        extra++;
        fprintf(stderr, "%s: tensor %s is none of the model's\n", s->path, t->name);
    }
    return extra;
}

// Every mismatch has its line before the one message that ends the run.
static PlimStatus check(const Source *source, const Generation *g, const Plan *p,
                        PlimError *error) {
    uint32_t wrong = 0;
    for (int file = 0; file < GENERATION_FILES; file++) {
        for (uint32_t i = 0; i < source[file].wanted->count; i++)
            wrong += check_wanted(&source[file], &source[file].wanted->tensor[i]);
        wrong += check_extra(&source[file]);
    }
    if (wrong == 0)
        return PLIM_OK;
    return error_set(error, PLIM_BAD_INPUT,
                     "the checkpoint is of another model (%s): %u tensors do not fit %s", g->model,
                     wrong, p->model);
}

// check has seen that each tensor is there and of the wanted type.
static PlimStatus read_file(const Source *s, PlimError *error) {
    PlimStatus status = PLIM_OK;
    for (uint32_t i = 0; i < s->wanted->count && status == PLIM_OK; i++) {
        const SafeSource *wanted = &s->wanted->tensor[i];
        const SafeTensor *t = safetensors_find(s->file, wanted->name);
        // The list is for writing files; here its places are to be filled.
        status = safetensors_read_buffer(s->file, t, wanted->dtype, wanted->window, wanted->buffer,
                                         wanted->offset, error);
    }
    return status;
}

static PlimStatus open_source(Source *s, const char *folder, const Generation *g, int file,
                              PlimError *error) {
    char name[48];
    generation_name(g->step, name);
    if (snprintf(s->path, sizeof s->path, "%s/%s/%s", folder, name, generation_file_name(file)) >=
        (int)sizeof s->path)
        return error_set(error, PLIM_BAD_INPUT, "the folder's name is too long");
    return safetensors_open(s->path, &s->file, error);
}

PlimStatus resume_load(const char *folder, const Generation *g, const Plan *p, PlimRun *run,
                       PlimError *error) {
    Source source[GENERATION_FILES] = {0};
    GenerationTensors wanted[GENERATION_FILES];
    PlimStatus status = generation_tensors_new(p, run, wanted, error);
    if (status != PLIM_OK)
        return status;
    for (int file = 0; file < GENERATION_FILES && status == PLIM_OK; file++) {
        source[file].wanted = &wanted[file];
        status = open_source(&source[file], folder, g, file, error);
    }
    // All mismatches are told before anything is overwritten.
    if (status == PLIM_OK)
        status = check(source, g, p, error);
    for (int file = 0; file < GENERATION_FILES && status == PLIM_OK; file++)
        status = read_file(&source[file], error);
    for (int file = 0; file < GENERATION_FILES; file++)
        safetensors_close(source[file].file);
    generation_tensors_release(wanted);
    return status;
}
