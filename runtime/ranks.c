// Launchers tell their processes apart by variables of their own, and some set those of others too.
// A launcher counts where both its rank and its count are set: all set both, and a RANK that
// something else has left in the environment says nothing. Those that count must agree. Slurm's
// batch script has the variables of a rank but is none: only what srun starts has a step's count.
#include "runtime/ranks.h"

#include "runtime/error.h"

#include <ctype.h>
#include <stdbool.h>
#include <stdlib.h>

typedef struct {
    const char *rank, *count, *local;
} Launcher;

static const Launcher launcher_table[] = {
    {"RANK", "WORLD_SIZE", "LOCAL_RANK"},
    {"OMPI_COMM_WORLD_RANK", "OMPI_COMM_WORLD_SIZE", "OMPI_COMM_WORLD_LOCAL_RANK"},
    {"SLURM_PROCID", "SLURM_STEP_NUM_TASKS", "SLURM_LOCALID"},
};
enum { LAUNCHERS = sizeof launcher_table / sizeof launcher_table[0], DIGITS_MAX = 7 };

static bool is_set(const char *name) {
    const char *text = getenv(name);
    return text && *text;
}

// A variable that is set: a number below ten million.
static PlimStatus read_number(const char *name, uint32_t *out, PlimError *error) {
    const char *text = getenv(name);
    *out = 0;
    int digits = 0;
    for (; isdigit((unsigned char)text[digits]) && digits < DIGITS_MAX; digits++)
        *out = 10 * *out + (uint32_t)(text[digits] - '0');
    return text[digits] == '\0'
               ? PLIM_OK
               : error_set(error, PLIM_BAD_INPUT, "%s=%.60s is no number of a process", name, text);
}

static PlimStatus read_launcher(const Launcher *l, Ranks *out, PlimError *error) {
    out->said_by = l->count;
    PlimStatus status = read_number(l->rank, &out->rank, error);
    if (status == PLIM_OK)
        status = read_number(l->count, &out->count, error);
    // Some launchers leave it out; then all processes are taken to be on one machine.
    out->local = out->rank;
    if (status == PLIM_OK && is_set(l->local))
        status = read_number(l->local, &out->local, error);
    if (status != PLIM_OK)
        return status;
    if (out->rank >= out->count)
        return error_set(error, PLIM_BAD_INPUT, "%s is %u, but %s is %u: ranks count from 0",
                         l->rank, out->rank, l->count, out->count);
    if (out->local > out->rank)
        return error_set(error, PLIM_BAD_INPUT,
                         "%s is %u, but %s is %u: no machine has more processes before this one "
                         "than the job",
                         l->local, out->local, l->rank, out->rank);
    return PLIM_OK;
}

PlimStatus ranks_read(Ranks *out, PlimError *error) {
    *out = (Ranks){.count = 1};
    const Launcher *first = NULL;
    for (int i = 0; i < LAUNCHERS; i++) {
        const Launcher *l = &launcher_table[i];
        Ranks said;
        if (!is_set(l->rank) || !is_set(l->count))
            continue;
        const PlimStatus status = read_launcher(l, &said, error);
        if (status != PLIM_OK)
            return status;
        if (first && (said.rank != out->rank || said.count != out->count))
            return error_set(error, PLIM_BAD_INPUT,
                             "%s and %s say rank %u of %u, but %s and %s say %u of %u: unset those "
                             "of the launcher that did not start this process",
                             first->rank, first->count, out->rank, out->count, l->rank, l->count,
                             said.rank, said.count);
        if (!first) {
            *out = said;
            first = l;
        }
    }
    return PLIM_OK;
}

PlimStatus ranks_expect(uint32_t peers, Ranks *out, PlimError *error) {
    const PlimStatus status = ranks_read(out, error);
    if (status != PLIM_OK || out->count == peers + 1)
        return status;
    if (!out->said_by)
        return error_set(error, PLIM_BAD_INPUT,
                         "this program is for %u processes that run together: start it by "
                         "torchrun, mpirun or srun",
                         peers + 1);
    return error_set(error, PLIM_BAD_INPUT,
                     "%s says that %u processes run together, but this program was compiled for "
                     "%u: each would compute the whole on its own",
                     out->said_by, out->count, peers + 1);
}
