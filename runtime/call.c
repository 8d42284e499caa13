// run: inputs from files, one call, results to files.
//
// Names are checked before weights are read, files and shapes before anything is computed. i32
// inputs must lie inside the bound that the plan was made for, as training data must: a token
// beyond the vocabulary would read outside its table.
#include "runtime/call.h"

#include "runtime/error.h"
#include "runtime/file_read.h"
#include "runtime/npy.h"
#include "runtime/weights.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct {
    PlimSession *s;
    const PlimOptions *o;
    const PlanEntry *entry;
} Call;

// Names of a list for a sentence; cut where there are too many.
typedef struct {
    char text[256];
} Names;

// snprintf ends the text where the room ends, and what comes later adds nothing.
static void names_add(Names *n, const char *name) {
    const size_t used = strlen(n->text);
    snprintf(n->text + used, sizeof n->text - used, "%s%s", used ? ", " : "", name);
}

// Whether a file must be given for the input.
static bool is_given(const PlanInput *input) {
    return input->source == PLAN_FROM_DATA || input->source == PLAN_FROM_CALLER;
}

static PlimStatus find_entry(Call *c, PlimError *error) {
    const Plan *p = c->s->plan;
    c->entry = plan_find_entry(p, c->o->argument);
    if (c->entry)
        return PLIM_OK;
    Names known = {""};
    for (uint32_t i = 0; i < p->entry_count; i++)
        names_add(&known, p->entry[i].name);
    return error_set(error, PLIM_BAD_INPUT, "this program has no entry %s; it has %s",
                     c->o->argument, known.text);
}

// The part behind "NAME=" where text begins so, else NULL.
static const char *value_of(const char *text, const char *name) {
    const size_t length = strlen(name);
    return strncmp(text, name, length) == 0 && text[length] == '=' ? text + length + 1 : NULL;
}

// The file given for the input; NULL: none.
static const char *file_of_input(const Call *c, const PlanInput *input) {
    const char *found = NULL;
    for (int i = 0; i < c->o->in.count; i++) {
        const char *file = value_of(c->o->in.item[i], input->name);
        // The last one given counts, as with other flags.
        found = file ? file : found;
    }
    return found;
}

// Every --in names an input that takes a file.
static PlimStatus check_input_names(const Call *c, PlimError *error) {
    Names known = {""};
    for (uint32_t i = 0; i < c->entry->input_count; i++)
        if (is_given(&c->entry->input[i]))
            names_add(&known, c->entry->input[i].name);
    for (int k = 0; k < c->o->in.count; k++) {
        bool found = false;
        for (uint32_t i = 0; i < c->entry->input_count && !found; i++)
            found = is_given(&c->entry->input[i]) &&
                    value_of(c->o->in.item[k], c->entry->input[i].name);
        if (!found)
            return error_set(error, PLIM_BAD_INPUT, "--in %s: entry %s has %s%s", c->o->in.item[k],
                             c->entry->name, known.text[0] ? "these inputs: " : "no inputs",
                             known.text);
    }
    return PLIM_OK;
}

// The result that NAME=FILE speaks of, by name or number; *file is set. NULL: none.
static const PlanResult *result_of(const Call *c, const char *text, const char **file) {
    for (uint32_t i = 0; i < c->entry->result_count; i++) {
        char number[16];
        snprintf(number, sizeof number, "%u", i);
        if ((*file = value_of(text, c->entry->result[i].name)) || (*file = value_of(text, number)))
            return &c->entry->result[i];
    }
    return NULL;
}

// Before anything is computed: hours of work must not end in a name with a typing error.
static PlimStatus check_result_names(const Call *c, PlimError *error) {
    Names known = {""};
    for (uint32_t i = 0; i < c->entry->result_count; i++)
        names_add(&known, c->entry->result[i].name);
    for (int k = 0; k < c->o->out.count; k++) {
        const char *file;
        if (!result_of(c, c->o->out.item[k], &file))
            return error_set(error, PLIM_BAD_INPUT, "--out %s: entry %s gives %s",
                             c->o->out.item[k], c->entry->name,
                             known.text[0] ? known.text : "nothing");
    }
    return PLIM_OK;
}

// By its first bytes, not by the name's ending.
static PlimStatus open_tensors(const char *path, SafeFile **out, PlimError *error) {
    uint8_t first[NPY_MAGIC_BYTES];
    const int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return error_set(error, PLIM_IO, "can't open %s: %s", path, strerror(errno));
    const bool npy = file_read_at(fd, first, sizeof first, 0) && npy_probe(first);
    close(fd);
    return npy ? npy_open(path, out, error) : safetensors_open(path, out, error);
}

// The input's shape with all its micro-batches: they lie behind each other along the first axis.
static void whole_shape(const PlanInput *input, int64_t dim[PLAN_RANK_MAX]) {
    memcpy(dim, input->dim, sizeof input->dim);
    if (input->rank > 0)
        dim[0] *= input->slots;
}

static bool shape_fits(const PlanInput *input, const SafeTensor *t) {
    int64_t want[PLAN_RANK_MAX];
    whole_shape(input, want);
    return t->rank == input->rank && memcmp(t->dim, want, t->rank * sizeof *want) == 0;
}

// The message has both shapes; with different ranks one list ends sooner.
static PlimStatus wrong_shape(const PlanInput *input, const char *path, const SafeTensor *t,
                              PlimError *error) {
    int64_t dim[PLAN_RANK_MAX];
    Names have = {""}, want = {""};
    whole_shape(input, dim);
    for (uint32_t i = 0; i < t->rank || i < input->rank; i++) {
        char number[32];
        snprintf(number, sizeof number, "%lld", (long long)(i < t->rank ? t->dim[i] : 0));
        if (i < t->rank)
            names_add(&have, number);
        snprintf(number, sizeof number, "%lld", (long long)(i < input->rank ? dim[i] : 0));
        if (i < input->rank)
            names_add(&want, number);
    }
    return error_set(error, PLIM_BAD_INPUT, "%s is [%s], input %s wants [%s]", path, have.text,
                     input->name, want.text);
}

// As training data must: see PlanInput.bound.
static PlimStatus check_values(const PlanInput *input, const char *path, const int32_t *at,
                               uint64_t count, PlimError *error) {
    const int64_t limit = input->bound < 0 ? -input->bound : input->bound;
    for (uint64_t i = 0; i < count; i++)
        if (limit != 0 && (at[i] >= limit || (at[i] < 0 && input->bound > 0)))
            return error_set(error, PLIM_BAD_INPUT,
                             "%s holds %d for input %s, which must be less than %lld%s", path,
                             at[i], input->name, (long long)limit,
                             input->bound > 0 ? " and not negative" : "");
    return PLIM_OK;
}

// The whole tensor at once: it is checked before the entry may see any of it.
static PlimStatus read_input(const Call *c, const PlanInput *input, const char *path,
                             const SafeFile *f, const SafeTensor *t, PlimError *error) {
    const uint64_t count = t->bytes / element_bytes(t->type);
    const uint64_t bytes = count * plan_dtype_bytes(input->dtype);
    // One more: malloc of nothing may give NULL.
    void *at = malloc((size_t)bytes + 1);
    if (!at)
        return error_set(error, PLIM_NO_MEMORY, "out of memory reading %s", path);
    PlimStatus status = safetensors_read(f, t, 0, count, input->dtype, at, error);
    if (status == PLIM_OK && input->dtype == PLAN_I32)
        status = check_values(input, path, at, count, error);
    if (status == PLIM_OK)
        status = run_write(c->s->run, input->buffer, 0, at, bytes, error);
    free(at);
    return status;
}

static PlimStatus fill_input(const Call *c, const PlanInput *input, PlimError *error) {
    const char *path = file_of_input(c, input);
    if (!path)
        return error_set(error, PLIM_BAD_INPUT, "entry %s wants %s: give --in %s=FILE",
                         c->entry->name, input->name, input->name);
    SafeFile *f;
    PlimStatus status = open_tensors(path, &f, error);
    if (status != PLIM_OK)
        return status;
    const SafeTensor *t = safetensors_find(f, ""); // What a .npy file has
    if (!t)
        t = safetensors_find(f, input->name);
    if (!t)
        status = error_set(error, PLIM_BAD_INPUT, "%s: no tensor %s", path, input->name);
    else if (!shape_fits(input, t))
        status = wrong_shape(input, path, t, error);
    else {
        status = read_input(c, input, path, f, t, error);
    }
    safetensors_close(f);
    return status;
}

static PlimStatus write_result(const Call *c, const PlanResult *r, const char *file,
                               PlimError *error) {
    uint64_t bytes = plan_dtype_bytes(r->dtype);
    for (uint32_t i = 0; i < r->rank; i++)
        bytes *= (uint64_t)r->dim[i];
    void *at = malloc((size_t)bytes + 1);
    if (!at)
        return error_set(error, PLIM_NO_MEMORY, "out of memory writing %s", file);
    PlimStatus status = run_read(c->s->run, r->buffer, r->offset, at, bytes, error);
    if (status == PLIM_OK)
        status = npy_write(file, r->dtype, r->rank, r->dim, at, error);
    free(at);
    return status;
}

static PlimStatus print_result(const Call *c, uint32_t index, PlimError *error) {
    double x;
    const PlimStatus status = session_result(c->s, c->entry, index, &x, error);
    if (status == PLIM_OK)
        printf("%s %.9g\n", c->entry->result[index].name, x);
    return status;
}

// Files for what --out names; without any, scalars as text.
static PlimStatus write_results(const Call *c, PlimError *error) {
    for (int i = 0; i < c->o->out.count; i++) {
        const char *file;
        const PlanResult *r = result_of(c, c->o->out.item[i], &file);
        if (!r)
            continue; // check_result_names has found it
        const PlimStatus status = write_result(c, r, file, error);
        if (status != PLIM_OK)
            return status;
    }
    PlimStatus status = PLIM_OK;
    for (uint32_t i = 0; c->o->out.count == 0 && i < c->entry->result_count; i++)
        if (c->entry->result[i].rank == 0 && status == PLIM_OK)
            status = print_result(c, i, error);
    return status;
}

PlimStatus call_run(PlimSession *s, const PlimOptions *o, PlimError *error) {
    Call c = {.s = s, .o = o};
    PlimStatus status = find_entry(&c, error);
    if (status == PLIM_OK)
        status = check_input_names(&c, error);
    if (status == PLIM_OK)
        status = check_result_names(&c, error);
    for (int i = 0; i < o->set.count && status == PLIM_OK; i++)
        status = session_set_knob(s, c.entry, o->set.item[i], error);
    if (status == PLIM_OK)
        status = weights_begin(s, o->weights, o->allow_missing ? WEIGHTS_SOME : WEIGHTS_ALL,
                               o->seed, error);
    if (status != PLIM_OK)
        return status;
    // Inputs may share bytes with each other's entries, never inside one: all are filled, then run.
    status = session_set_scalars(s, c.entry, &(StepScalars){.step = 0, .steps = 1, .seed = o->seed},
                                 error);
    for (uint32_t i = 0; i < c.entry->input_count && status == PLIM_OK; i++)
        if (is_given(&c.entry->input[i]))
            status = fill_input(&c, &c.entry->input[i], error);
    if (status == PLIM_OK)
        status = run_entry(s->run, c.entry, error);
    return status == PLIM_OK ? write_results(&c, error) : status;
}
