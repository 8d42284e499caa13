// Loading published weights.
//
// A state's published name stands in the plan. Files in the wild put a common prefix in front of
// all names ("transformer.", "model."), or leave one out, depending on which class saved them; and
// old ones call a norm's weight and bias gamma and beta. So a tensor is looked for
//
//  1. under the state's name;
//  2. under that name with gamma for weight and beta for bias at the end;
//  3. where both fail, the same with one prefix added or taken away, which is one for the whole
//     set: the one under which most of the states that are left are found. Two that find equally
//     many are no answer.
//
// The prefix is searched among the names that end like the first state that 1 and 2 don't find and
// that has any such: linear in states times tensors, and only where something is missing.
#include "runtime/weights.h"

#include "runtime/error.h"
#include "runtime/weight_files.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

enum {
    NAME_ROOM = 1024,
    LINES_MAX = 40, // of mismatches; the rest are counted
    IGNORED_SHOWN = 4,
    PREFIXES_MAX = 64 // candidates; files have one or two
};

// How names are changed when they are not found as they are: at most one of the two.
typedef struct {
    char added[NAME_ROOM];   // in front of the model's names
    char dropped[NAME_ROOM]; // from the front of them
} Renaming;

typedef struct {
    PlimSession *s;
    WeightFiles *files;
    WeightsDemand demand;
    Renaming renaming;
    RunWindow window; // to the states
    bool *taken;      // by tensor of files
    bool *found;      // by state: all of it is in the files
    uint32_t wrong;   // states that don't fit
    uint32_t lines;   // printed so far
    uint32_t kept;    // states that keep their values
} Load;

bool weights_is_stacked(const PlanState *state) {
    return state->rank > 0 && strstr(plan_state_file(state), "{}");
}

uint64_t weights_slices(const PlanState *state) {
    return weights_is_stacked(state) ? (uint64_t)state->dim[0] : 1;
}

bool weights_slice_name(const PlanState *state, uint64_t index, char *out, size_t size) {
    const char *name = plan_state_file(state), *brace = strstr(name, "{}");
    const int length = brace && state->rank > 0
                           ? snprintf(out, size, "%.*s%llu%s", (int)(brace - name), name,
                                      (unsigned long long)index, brace + 2)
                           : snprintf(out, size, "%s", name);
    return length >= 0 && (size_t)length < size;
}

// The name with one ending for another, into out. False where it does not end so.
static bool swap_ending(const char *name, const char *from, const char *to, char out[NAME_ROOM]) {
    const size_t length = strlen(name), ending = strlen(from);
    if (length < ending || strcmp(name + length - ending, from) != 0)
        return false;
    return snprintf(out, NAME_ROOM, "%.*s%s", (int)(length - ending), name, to) < NAME_ROOM;
}

// Rules 1 and 2.
static const WeightTensor *find_plain(const WeightFiles *files, const char *name) {
    char old[NAME_ROOM];
    const WeightTensor *t = weight_files_find(files, name);
    if (!t &&
        (swap_ending(name, ".weight", ".gamma", old) || swap_ending(name, ".bias", ".beta", old)))
        t = weight_files_find(files, old);
    return t;
}

// The other name of rule 3. False where the renaming does not speak of it.
static bool rename_state(const Renaming *r, const char *name, char out[NAME_ROOM]) {
    const size_t dropped = strlen(r->dropped);
    if (r->added[0])
        return snprintf(out, NAME_ROOM, "%s%s", r->added, name) < NAME_ROOM;
    if (dropped == 0 || strncmp(name, r->dropped, dropped) != 0)
        return false;
    return snprintf(out, NAME_ROOM, "%s", name + dropped) < NAME_ROOM;
}

static const WeightTensor *find_tensor(const WeightFiles *files, const Renaming *r,
                                       const char *name) {
    char other[NAME_ROOM];
    const WeightTensor *t = find_plain(files, name);
    return t || !rename_state(r, name, other) ? t : find_plain(files, other);
}

// States that weights are asked for. The optimizer's are not in published files.
static bool is_wanted(const PlanState *state) {
    return state->kind == PLAN_STATE_PARAM || state->kind == PLAN_STATE_SAVED;
}

// Wanted states whose (first) name the files have.
static uint32_t count_found(const Load *l, const Renaming *r) {
    uint32_t found = 0;
    for (uint32_t i = 0; i < l->s->plan->state_count; i++) {
        char name[NAME_ROOM];
        const PlanState *state = &l->s->plan->state[i];
        found += is_wanted(state) && weights_slice_name(state, 0, name, sizeof name) &&
                 find_tensor(l->files, r, name);
    }
    return found;
}

// The renamings under which the files have that name. Gives how many, at most PREFIXES_MAX.
static int find_candidates(const Load *l, const char *name, Renaming *out) {
    int count = 0;
    const size_t length = strlen(name);
    for (uint32_t i = 0; i < weight_files_count(l->files) && count < PREFIXES_MAX; i++) {
        const char *full = weight_files_at(l->files, i)->tensor->name;
        // Wraps where the name is longer; the next line sees that first.
        const size_t more = strlen(full) - length;
        if (strlen(full) <= length + 1 || full[more - 1] != '.' || strcmp(full + more, name) != 0)
            continue;
        out[count] = (Renaming){.added = ""};
        snprintf(out[count++].added, NAME_ROOM, "%.*s", (int)more, full);
    }
    for (const char *dot = strchr(name, '.'); dot && count < PREFIXES_MAX;
         dot = strchr(dot + 1, '.'))
        if (find_plain(l->files, dot + 1)) {
            out[count] = (Renaming){.added = ""};
            snprintf(out[count++].dropped, NAME_ROOM, "%.*s", (int)(dot + 1 - name), name);
        }
    return count;
}

// The best of them into l->renaming; ties leave it empty.
static void choose_renaming(Load *l, const Renaming *candidate, int count) {
    uint32_t best = count_found(l, &l->renaming);
    const Renaming *chosen = NULL;
    for (int i = 0; i < count; i++) {
        // A candidate must do better than none at all, and a tie says that the names do not decide.
        const uint32_t found = count_found(l, &candidate[i]);
        if (found > best)
            chosen = &candidate[i];
        else if (found == best)
            chosen = NULL;
        best = found > best ? found : best;
    }
    if (!chosen)
        return;
    l->renaming = *chosen;
    fprintf(stderr, "%s: its names %s %s\n", weight_files_path(l->files),
            chosen->added[0] ? "begin with" : "leave out",
            chosen->added[0] ? chosen->added : chosen->dropped);
}

// Rule 3, where something is missing.
static PlimStatus find_renaming(Load *l, PlimError *error) {
    Renaming *candidate = calloc(PREFIXES_MAX, sizeof *candidate);
    if (!candidate)
        return error_set(error, PLIM_NO_MEMORY, "out of memory matching names");
    int count = 0;
    for (uint32_t i = 0; i < l->s->plan->state_count && count == 0; i++) {
        char name[NAME_ROOM];
        const PlanState *state = &l->s->plan->state[i];
        if (is_wanted(state) && weights_slice_name(state, 0, name, sizeof name) &&
            !find_plain(l->files, name))
            count = find_candidates(l, name, candidate);
    }
    choose_renaming(l, candidate, count);
    free(candidate);
    return PLIM_OK;
}

// A line on stderr, as long as there are not too many.
__attribute__((format(printf, 2, 3))) static void tell(Load *l, const char *format, ...) {
    va_list args;
    if (l->lines++ >= LINES_MAX)
        return;
    fprintf(stderr, "%s: ", weight_files_path(l->files));
    va_start(args, format);
    vfprintf(stderr, format, args);
    va_end(args);
    fputc('\n', stderr);
}

// "[2,3]".
static const char *shape_text(uint32_t rank, const int64_t *dim, char out[160]) {
    size_t used = (size_t)snprintf(out, 160, "[");
    for (uint32_t i = 0; i < rank; i++)
        used += (size_t)snprintf(out + used, 160 - used, "%s%lld", i ? "," : "", (long long)dim[i]);
    snprintf(out + used, 160 - used, "]");
    return out;
}

// Of one slice: without the first axis where the state is stacked.
static bool shape_fits(const PlanState *state, uint32_t first_axis, const SafeTensor *t) {
    return t->rank == state->rank - first_axis &&
           memcmp(t->dim, state->dim + first_axis, t->rank * sizeof *t->dim) == 0;
}

// Whether the tensor can become the slice; says why not.
static bool fits(Load *l, const PlanState *state, uint32_t first_axis, const SafeTensor *t) {
    char have[160], want[160];
    if (!shape_fits(state, first_axis, t)) {
        tell(l, "tensor %s is %s, the model wants %s", t->name, shape_text(t->rank, t->dim, have),
             shape_text(state->rank - first_axis, state->dim + first_axis, want));
        return false;
    }
    if (!element_converts(t->type, element_of_plan(state->dtype))) {
        tell(l, "tensor %s is %s, which can't become %s", t->name, element_name(t->type),
             plan_dtype_name(state->dtype));
        return false;
    }
    return true;
}

// Checks all slices of one state. A stacked one is there whole or not at all.
static void check_state(Load *l, const PlanState *state) {
    const uint64_t slices = weights_slices(state);
    char name[NAME_ROOM];
    bool good = true;
    uint64_t missing = 0;
    for (uint64_t i = 0; i < slices; i++) {
        const WeightTensor *t = weights_slice_name(state, i, name, sizeof name)
                                    ? find_tensor(l->files, &l->renaming, name)
                                    : NULL;
        if (t) {
            l->taken[t - weight_files_at(l->files, 0)] = true;
            good = fits(l, state, weights_is_stacked(state), t->tensor) && good;
        } else if (missing++ == 0 && is_wanted(state) && l->demand == WEIGHTS_ALL) {
            tell(l, "no tensor %s", name);
        }
    }
    const bool absent = missing == slices;
    l->found[state - l->s->plan->state] = missing == 0;
    if (missing > 0 && !absent && !(l->demand == WEIGHTS_ALL && is_wanted(state)))
        tell(l, "%llu of the %llu slices of %s are missing", (unsigned long long)missing,
             (unsigned long long)slices, state->name);
    // Published weights have no optimizer state: training begins with the moments that init made.
    const bool excused = absent && (!is_wanted(state) || l->demand == WEIGHTS_SOME);
    // Only what was left out by the user's leave is told; moments are never in such files.
    l->kept += absent && excused && is_wanted(state);
    l->wrong += !good || (missing > 0 && !excused);
}

// One line for all tensors that nothing takes: masks, tied copies, heads of another task.
static void tell_ignored(const Load *l) {
    uint32_t ignored = 0;
    for (uint32_t i = 0; i < weight_files_count(l->files); i++)
        ignored += !l->taken[i];
    if (ignored == 0)
        return;
    fprintf(stderr,
            "%s: %u tensor%s ignored, which the model does not have: ", weight_files_path(l->files),
            ignored, ignored == 1 ? " is" : "s are");
    uint32_t shown = 0;
    for (uint32_t i = 0; i < weight_files_count(l->files) && shown < IGNORED_SHOWN; i++)
        if (!l->taken[i])
            fprintf(stderr, "%s%s", shown++ ? ", " : "",
                    weight_files_at(l->files, i)->tensor->name);
    fputs(ignored > shown ? ", ...\n" : "\n", stderr);
}

// Names and shapes of everything, before anything is read.
static PlimStatus check_all(Load *l, PlimError *error) {
    const Plan *p = l->s->plan;
    for (uint32_t i = 0; i < p->state_count; i++)
        if (p->state[i].kind != PLAN_STATE_TRANSIENT)
            check_state(l, &p->state[i]);
    if (l->lines > LINES_MAX)
        fprintf(stderr, "%s: and %u more\n", weight_files_path(l->files), l->lines - LINES_MAX);
    if (l->wrong > 0)
        return error_set(error, PLIM_BAD_INPUT, "%s does not fit the model: %u of %u states",
                         weight_files_path(l->files), l->wrong, p->state_count);
    if (l->kept > 0)
        fprintf(stderr, "%s: %u of %u states are not in it and keep their first values\n",
                weight_files_path(l->files), l->kept, p->state_count);
    tell_ignored(l);
    return PLIM_OK;
}

// Slice after slice into the state's buffer.
static PlimStatus read_state(Load *l, const PlanState *state, PlimError *error) {
    const uint64_t slices = weights_slices(state);
    uint64_t offset = 0;
    for (uint64_t i = 0; i < slices; i++) {
        char name[NAME_ROOM];
        const WeightTensor *t = weights_slice_name(state, i, name, sizeof name)
                                    ? find_tensor(l->files, &l->renaming, name)
                                    : NULL;
        if (!t)
            return PLIM_OK; // Allowed to be absent: check_all has seen it
        const uint64_t count = t->tensor->bytes / element_bytes(t->tensor->type);
        const PlimStatus status = safetensors_read_buffer(t->file, t->tensor, state->dtype,
                                                          &l->window, state->buffer, offset, error);
        if (status != PLIM_OK)
            return status;
        offset += count * plan_dtype_bytes(state->dtype);
    }
    return PLIM_OK;
}

// Opens the files and finds out what is in them for the model.
static PlimStatus begin_load(Load *l, const char *path, PlimError *error) {
    PlimStatus status = weight_files_open(path, &l->files, error);
    if (status != PLIM_OK)
        return status;
    // One more: calloc of nothing may give NULL.
    l->taken = calloc((size_t)weight_files_count(l->files) + 1, sizeof *l->taken);
    l->found = calloc((size_t)l->s->plan->state_count + 1, sizeof *l->found);
    status = l->taken && l->found
                 ? find_renaming(l, error)
                 : error_set(error, PLIM_NO_MEMORY, "out of memory matching names");
    return status == PLIM_OK ? check_all(l, error) : status;
}

static PlimStatus read_states(Load *l, PlimError *error) {
    const Plan *p = l->s->plan;
    PlimStatus status = window_open(l->s->run, &l->window, error);
    // Transient state belongs to the run, not to the model.
    for (uint32_t i = 0; i < p->state_count && status == PLIM_OK; i++)
        if (p->state[i].kind != PLAN_STATE_TRANSIENT)
            status = read_state(l, &p->state[i], error);
    return status;
}

static void end_load(Load *l) {
    window_close(&l->window);
    free(l->taken);
    free(l->found);
    weight_files_close(l->files);
}

PlimStatus weights_load(PlimSession *s, const char *path, WeightsDemand demand, PlimError *error) {
    Load l = {.s = s, .demand = demand};
    PlimStatus status = begin_load(&l, path, error);
    if (status == PLIM_OK)
        status = read_states(&l, error);
    end_load(&l);
    return status;
}

PlimStatus weights_begin(PlimSession *s, const char *path, WeightsDemand demand, int64_t seed,
                         PlimError *error) {
    if (!path)
        return session_init_states(s, seed, NULL, error);
    Load l = {.s = s, .demand = demand};
    PlimStatus status = begin_load(&l, path, error);
    // Before reading: an initialiser that makes several states at once may make some too many.
    if (status == PLIM_OK)
        status = session_init_states(s, seed, l.found, error);
    if (status == PLIM_OK)
        status = read_states(&l, error);
    end_load(&l);
    return status;
}
