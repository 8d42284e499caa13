// Results are hashed when their instruction ends, before anything may overwrite them, and told in
// the program's order when the step is done: so streams and threads leave no trace in the lines.
//
// The hash: four lanes of 8 bytes each take x -> rotate(x ^ word) * odd, a bijection of x for each
// word, so that one changed word always changes its lane; at the end the lanes are mixed. It reads
// about as fast as memory gives.
#include "runtime/digest.h"

#include "runtime/error.h"

#include <errno.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

enum { LANES = 4, BLOCK = LANES * 8 };

struct Digest {
    Program program;
    uint64_t *hash; // by number in the program
    RunObserver observer;
};

static uint64_t absorb(uint64_t x, uint64_t word) {
    x ^= word;
    return (x << 29 | x >> 35) * 0x9fb21c651e98df25U;
}

uint64_t digest_bytes(uint64_t seed, const void *bytes, size_t size) {
    const uint8_t *at = bytes;
    // Four lanes, as the multiplications of one would wait for each other.
    uint64_t lane[LANES] = {seed, seed + 1, seed + 2, seed + 3};
    for (const uint8_t *end = at + size / BLOCK * BLOCK; at < end; at += BLOCK)
        for (int i = 0; i < LANES; i++) {
            uint64_t word;
            memcpy(&word, at + 8 * i, 8);
            lane[i] = absorb(lane[i], word);
        }
    // What fills no block, padded with zeros; the size tells how much of it is real.
    uint8_t rest[BLOCK] = {0};
    memcpy(rest, at, size % BLOCK);
    uint64_t hash = absorb(seed, size);
    for (int i = 0; i < LANES; i++) {
        uint64_t word;
        memcpy(&word, rest + 8 * i, 8);
        hash = absorb(absorb(hash, absorb(lane[i], word)), 0);
    }
    return hash ^ hash >> 32;
}

static bool hash_results(void *context, const RunMoment *at, RunStage stage, PlimError *error) {
    Digest *d = context;
    // Results only: what an instruction reads was hashed where it was made.
    if (stage != RUN_ENDS || at->entry != d->program.entry)
        return true;
    uint64_t hash = 0;
    for (uint32_t i = 0; i < at->instr->operand_count; i++) {
        if (at->instr->operand[i].access == PLAN_READ)
            continue;
        const char *bytes = run_operand(at, i, error);
        if (!bytes)
            return false;
        const PlanOperand *o = &at->instr->operand[i];
        const PlanBuffer *b = &d->program.plan->buffer[o->buffer];
        uint64_t piece;
        for (uint64_t k = 0; plan_operand_piece(b, o, &k, &piece); k += piece)
            hash = digest_bytes(hash, bytes + k, (size_t)piece);
    }
    d->hash[program_number(&d->program, at)] = hash;
    return true;
}

Digest *digest_new(const Plan *plan, const PlanEntry *entry) {
    Digest *d = calloc(1, sizeof *d);
    if (!d)
        return NULL;
    if (program_init(&d->program, plan, entry))
        d->hash = calloc((size_t)d->program.count + 1, sizeof *d->hash);
    if (!d->hash) {
        digest_release(d);
        return NULL;
    }
    d->observer = (RunObserver){.context = d, .instruction = hash_results};
    return d;
}

void digest_release(Digest *d) {
    if (!d)
        return;
    program_free(&d->program);
    free(d->hash);
    free(d);
}

const RunObserver *digest_observer(const Digest *d) {
    return &d->observer;
}

PlimStatus digest_write(const Digest *d, int64_t step, FILE *out, PlimError *error) {
    for (uint32_t i = 0; i < d->program.count; i++) {
        uint32_t call, index;
        const PlanInstr *instr = program_instr(&d->program, i, &call, &index);
        // "-" for no place, so that each line has the same number of words.
        fprintf(out, "%" PRId64 " %s %u %u %016" PRIx64 " %s %s\n", step,
                program_segment(&d->program, call)->name, d->program.entry->call[call].slot, index,
                d->hash[i], instr->where[0] ? instr->where : "-", instr->name);
    }
    if (fflush(out) == 0 && !ferror(out))
        return PLIM_OK;
    return error_set(error, PLIM_IO, "the checksums can't be written: %s", strerror(errno));
}
