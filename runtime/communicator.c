// One communicator for the whole plan: its collectives stand on one stream (rule 21), so each rank
// starts them in the same order, captured or not.
//
// Today a plan has one rank: its id is made here and handed to nobody. More ranks are refused
// before anything is joined, because they have no way yet to find each other; what they would run
// is here.
#include "runtime/communicator.h"

#include "runtime/error.h"
#include "runtime/ranks.h"

#include <stdlib.h>

struct Communicator {
    const Plan *plan;
    NcclLibrary nccl;
    NcclComm comm; // NULL until joined
    Ranks ranks;
    bool failed; // leaving it would wait for its peers
};

static bool has_collectives(const Plan *p) {
    for (uint32_t i = 0; i < p->segment_count; i++)
        for (uint32_t j = 0; j < p->segment[i].instr_count; j++)
            if (plan_is_collective(p->segment[i].instr[j].kind))
                return true;
    return false;
}

PlimStatus communicator_new(const Plan *p, Communicator **out, PlimError *error) {
    if (!has_collectives(p))
        return PLIM_OK;
    Communicator *c = calloc(1, sizeof *c);
    if (!c)
        return error_set(error, PLIM_NO_MEMORY, "out of memory preparing collectives");
    *out = c;
    c->plan = p;
    PlimStatus status = ranks_expect(p->peers, &c->ranks, error);
    if (status == PLIM_OK)
        status = nccl_library_open(&c->nccl, error);
    if (status != PLIM_OK)
        return status;
    NcclId id;
    int result = c->nccl.new_id(&id);
    if (result == 0)
        result = c->nccl.join(&c->comm, (int)c->ranks.count, id, (int)c->ranks.rank);
    if (result == 0)
        return PLIM_OK;
    c->comm = NULL;
    return error_set(error, PLIM_MACHINE, "NCCL can't join this program's ranks: %s",
                     c->nccl.error_text(result));
}

// As the interface has it.
static int note(Communicator *c, int result) {
    c->failed = c->failed || result != 0;
    return result == 0 ? 0 : NCCL_ERROR + result;
}

int communicator_state(Communicator *c) {
    int state = 0;
    if (!c)
        return 0;
    const int result = c->nccl.state(c->comm, &state);
    return note(c, result != 0 ? result : state);
}

void communicator_release(Communicator *c) {
    if (!c)
        return;
    if (c->comm)
        (void)(c->failed ? c->nccl.abandon(c->comm) : c->nccl.leave(c->comm));
    nccl_library_close(&c->nccl);
    free(c);
}

static int nccl_dtype(PlanDType t) {
    switch (t) {
    case PLAN_F32:
        return NCCL_F32;
    case PLAN_BF16:
        return NCCL_BF16;
    case PLAN_I32:
        return NCCL_INT32;
    case PLAN_BOOL:
    case PLAN_DTYPE_COUNT:
        break;
    }
    return NCCL_UINT8;
}

// To the rank shift further on, from the one shift before; NCCL wants both told before it waits.
static int exchange(const Communicator *c, const void *from, void *to, size_t count, int dtype,
                    int64_t shift, CuStream stream) {
    const int64_t ranks = c->ranks.count, rank = c->ranks.rank;
    const int next = (int)((rank + shift) % ranks), last = (int)((rank + ranks - shift) % ranks);
    int result = c->nccl.group_begin();
    if (result != 0)
        return result;
    result = c->nccl.send(from, count, dtype, next, c->comm, stream);
    if (result == 0)
        result = c->nccl.receive(to, count, dtype, last, c->comm, stream);
    // A group that was begun is always ended; the first error tells more.
    const int ended = c->nccl.group_end();
    return result != 0 ? result : ended;
}

static int start(const Communicator *c, const PlanInstr *instr, void *const *operand,
                 CuStream stream) {
    const PlanDType t = c->plan->buffer[instr->operand[0].buffer].dtype;
    const size_t written = (size_t)instr->operand[0].bytes / plan_dtype_bytes(t);
    const size_t read = (size_t)instr->operand[1].bytes / plan_dtype_bytes(t);
    const int dtype = nccl_dtype(t);
    const int64_t imm = instr->imm_count > 0 ? instr->imm[0] : 0;
    const int reduction = imm == PLAN_MAXIMUM ? NCCL_MAXIMUM : NCCL_SUM;
    const void *from = operand[1];
    void *to = operand[0];
    // NCCL counts one rank's elements.
    if (instr->kind == INSTR_ALL_REDUCE)
        return c->nccl.all_reduce(from, to, read, dtype, reduction, c->comm, stream);
    if (instr->kind == INSTR_ALL_GATHER)
        return c->nccl.all_gather(from, to, read, dtype, c->comm, stream);
    if (instr->kind == INSTR_REDUCE_SCATTER)
        return c->nccl.reduce_scatter(from, to, written, dtype, reduction, c->comm, stream);
    return exchange(c, from, to, read, dtype, imm, stream);
}

int communicator_start(Communicator *c, const PlanInstr *instr, void *const *operand,
                       CuStream stream) {
    return note(c, start(c, instr, operand, stream));
}

const char *communicator_error_text(const Communicator *c, int status) {
    return c->nccl.error_text(status - NCCL_ERROR);
}
