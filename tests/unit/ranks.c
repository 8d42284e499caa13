// What launchers say of a process, from the environment of each of these.
#include "runtime/ranks.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const known[] = {"RANK",
                                    "WORLD_SIZE",
                                    "LOCAL_RANK",
                                    "SLURM_STEP_ID",
                                    "SLURM_PROCID",
                                    "SLURM_STEP_NUM_TASKS",
                                    "SLURM_LOCALID",
                                    "OMPI_COMM_WORLD_RANK",
                                    "OMPI_COMM_WORLD_SIZE",
                                    "SLURM_NTASKS",
                                    "OMPI_COMM_WORLD_LOCAL_RANK"};

// "A=1 B=2" and nothing else.
static void set_environment(const char *text) {
    char copy[512], *rest = NULL;
    for (size_t i = 0; i < sizeof known / sizeof *known; i++)
        unsetenv(known[i]);
    snprintf(copy, sizeof copy, "%s", text);
    for (char *word = strtok_r(copy, " ", &rest); word; word = strtok_r(NULL, " ", &rest)) {
        char *value = strchr(word, '=');
        *value = '\0';
        setenv(word, value + 1, 1);
    }
}

Test(ranks, launchers_are_understood) {
    static const struct {
        const char *environment;
        uint32_t rank, count, local;
    } table[] = {
        {"", 0, 1, 0},
        {"RANK=5 WORLD_SIZE=8 LOCAL_RANK=1", 5, 8, 1},
        {"RANK=0 WORLD_SIZE=1", 0, 1, 0},
        {"RANK= WORLD_SIZE=2", 0, 1, 0},
        // Somebody's variable, not a launcher's.
        {"RANK=3", 0, 1, 0},
        {"RANK=first LOCAL_RANK=0", 0, 1, 0},
        {"WORLD_SIZE=2 LOCAL_RANK=1", 0, 1, 0},
        {"SLURM_STEP_ID=4", 0, 1, 0},
        {"RANK=7 OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=1", 0, 1, 0},
        {"OMPI_COMM_WORLD_RANK=3 OMPI_COMM_WORLD_SIZE=4 OMPI_COMM_WORLD_LOCAL_RANK=3", 3, 4, 3},
        {"SLURM_STEP_ID=0 SLURM_PROCID=9 SLURM_STEP_NUM_TASKS=16 SLURM_LOCALID=2", 9, 16, 2},
        // A batch script is no rank, whatever its job has.
        {"SLURM_PROCID=0 SLURM_NTASKS=16 SLURM_LOCALID=0", 0, 1, 0},
        // torchrun started by srun, a task a machine, one machine.
        {"RANK=0 WORLD_SIZE=1 LOCAL_RANK=0 SLURM_STEP_ID=0 SLURM_PROCID=0 SLURM_STEP_NUM_TASKS=1 "
         "SLURM_LOCALID=0",
         0, 1, 0},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        Ranks r;
        PlimError error = {""};
        set_environment(table[i].environment);
        cr_assert_eq(ranks_read(&r, &error), PLIM_OK, "%s: %s", table[i].environment, error.text);
        cr_assert_eq(r.rank, table[i].rank, "%s", table[i].environment);
        cr_assert_eq(r.count, table[i].count, "%s", table[i].environment);
        cr_assert_eq(r.local, table[i].local, "%s", table[i].environment);
    }
}

Test(ranks, what_can_not_be_is_refused) {
    static const struct {
        const char *environment, *says;
    } table[] = {
        {"RANK=one WORLD_SIZE=2 LOCAL_RANK=0", "RANK=one is no number of a process"},
        {"RANK=-1 WORLD_SIZE=2 LOCAL_RANK=0", "RANK=-1 is no number of a process"},
        {"RANK=0 WORLD_SIZE=99999999999 LOCAL_RANK=0",
         "WORLD_SIZE=99999999999 is no number of a process"},
        {"RANK=2 WORLD_SIZE=2 LOCAL_RANK=0", "RANK is 2, but WORLD_SIZE is 2: ranks count from 0"},
        {"RANK=1 WORLD_SIZE=2 LOCAL_RANK=2", "LOCAL_RANK is 2, but RANK is 1: no machine has more "
                                             "processes before this one than the job"},
        {"RANK=1 WORLD_SIZE=2 LOCAL_RANK=1 OMPI_COMM_WORLD_RANK=0 OMPI_COMM_WORLD_SIZE=2 "
         "OMPI_COMM_WORLD_LOCAL_RANK=0",
         "RANK and WORLD_SIZE say rank 1 of 2, but OMPI_COMM_WORLD_RANK and OMPI_COMM_WORLD_SIZE "
         "say 0 of 2: unset those of the launcher that did not start this process"},
    };
    for (size_t i = 0; i < sizeof table / sizeof table[0]; i++) {
        Ranks r;
        PlimError error = {""};
        set_environment(table[i].environment);
        cr_assert_eq(ranks_read(&r, &error), PLIM_BAD_INPUT, "%s", table[i].environment);
        cr_assert_str_eq(error.text, table[i].says);
    }
}

Test(ranks, a_program_is_for_so_many) {
    Ranks r;
    PlimError error = {""};
    set_environment("");
    cr_assert_eq(ranks_expect(0, &r, &error), PLIM_OK);
    cr_assert_eq(ranks_expect(3, &r, &error), PLIM_BAD_INPUT);
    cr_assert_str_eq(error.text, "this program is for 4 processes that run together: start it by "
                                 "torchrun, mpirun or srun");
    set_environment("RANK=1 WORLD_SIZE=4 LOCAL_RANK=1");
    cr_assert_eq(ranks_expect(3, &r, &error), PLIM_OK);
    cr_assert_eq(ranks_expect(0, &r, &error), PLIM_BAD_INPUT);
    cr_assert_str_eq(error.text,
                     "WORLD_SIZE says that 4 processes run together, but this program was "
                     "compiled for 1: each would compute the whole on its own");
}
