// The verifier accepts the sample and refuses it broken, in every way of plan_corrupt.h. What it
// accepts all the same must compute the same bytes in every interleaving tried (plan_outcome).
#include "plan_corrupt.h"
#include "plan_sample.h"
#include "runtime/plan_sign.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { SEEDS = 50, TURNS = 8 };

typedef struct {
    uint8_t *bytes;
    size_t size;
} Encoded;

typedef Plan *Sample(PlanMemory *pm);

static Encoded encode_sample(Sample *sample) {
    PlanMemory *pm = plan_memory_new();
    const Plan *p = sample(pm);
    cr_assert_not_null(p);
    Encoded e = {0};
    cr_assert_eq(plan_encode(p, &e.bytes, &e.size), PLIM_OK);
    plan_memory_release(pm);
    return e;
}

static Plan *decode(const Encoded *e, PlanMemory *pm) {
    Plan *p = NULL;
    PlimError error = {""};
    cr_assert_eq(plan_decode(e->bytes, e->size, pm, &p, &error), PLIM_OK, "%s", error.text);
    return p;
}

static void accept(Sample *sample) {
    PlanMemory *pm = plan_memory_new();
    const Plan *p = sample(pm);
    PlimError error = {""};
    cr_assert_not_null(p);
    cr_assert_eq(plan_verify(p, &error), PLIM_OK, "%s", error.text);
    uint64_t first, other;
    cr_assert(plan_outcome(p, 0, &first));
    for (uint64_t seed = 1; seed < 50; seed++) {
        cr_assert(plan_outcome(p, seed, &other));
        cr_assert_eq(first, other, "interleaving %u gives other bytes", (unsigned)seed);
    }
    plan_memory_release(pm);
}

// The far sample without what makes it a GPU's: launches, and its library.
static Plan *sample_far_cpu(PlanMemory *pm) {
    Plan *p = plan_sample_far(pm);
    cr_assert_not_null(p);
    p->target = "cpu:x86-64-v3";
    p->product[0].library = PLAN_ONEDNN;
    return plan_sign(p) == PLIM_OK ? p : NULL;
}

Test(plan_verify, accepts_the_samples) {
    accept(plan_sample);
    accept(plan_sample_ranks);
    accept(sample_far_cpu);
    accept(plan_sample_moves);
    accept(plan_sample_rows);
}

// Whether the corrupted plan computes what the sample computes, whatever the interleaving.
static bool is_harmless(const Plan *p, uint64_t wanted) {
    for (uint64_t turn = 0; turn < TURNS; turn++) {
        uint64_t outcome;
        if (!plan_outcome(p, turn, &outcome) || outcome != wanted)
            return false;
    }
    return true;
}

static void corrupt_all_seeds(const Encoded *e, PlanCorruption kind, uint64_t wanted) {
    const char *name = plan_corruption_name(kind);
    int refused = 0, harmless = 0;
    for (uint64_t seed = 0; seed < SEEDS; seed++) {
        PlanMemory *pm = plan_memory_new();
        Plan *p = decode(e, pm);
        PlimError error = {""};
        cr_assert(plan_corrupt(p, kind, seed), "the sample has no place for: %s", name);
        const PlimStatus status = plan_verify(p, &error);
        if (status == PLIM_OK) {
            cr_assert(is_harmless(p, wanted), "accepted, and computes something else: %s, seed %u",
                      name, (unsigned)seed);
            cr_assert(!plan_corruption_is_strict(kind), "accepted: %s, seed %u", name,
                      (unsigned)seed);
            harmless++;
        } else {
            cr_assert_eq(status, PLIM_BAD_PLAN);
            cr_assert(plan_corruption_is_refused(kind, error.text), "%s: %s", name, error.text);
            refused++;
        }
        plan_memory_release(pm);
    }
    cr_log_info("%s: %d refused, %d harmless", name, refused, harmless);
    cr_assert_geq(refused, SEEDS / 2, "%s: only %d of %d refused", name, refused, SEEDS);
}

// By every kind that fits any plan, and by one more, or CORRUPT_COUNT.
static void corrupt_sample(Sample *of, PlanCorruption more) {
    const Encoded e = encode_sample(of);
    PlanMemory *pm = plan_memory_new();
    uint64_t wanted;
    const Plan *sample = decode(&e, pm);
    PlimError error = {""};
    cr_assert_eq(plan_verify(sample, &error), PLIM_OK, "%s", error.text);
    cr_assert(plan_outcome(sample, 0, &wanted));
    // What follows has no place in every plan; tests/e2e/broken_plans.py has all of it.
    for (int kind = 0; kind < CORRUPT_CHANGED_LAUNCH; kind++)
        corrupt_all_seeds(&e, (PlanCorruption)kind, wanted);
    if (more != CORRUPT_COUNT)
        corrupt_all_seeds(&e, more, wanted);
    plan_memory_release(pm);
    free(e.bytes);
}

Test(plan_verify, refuses_corrupted_plans) {
    corrupt_sample(plan_sample, CORRUPT_COUNT);
}

Test(plan_verify, refuses_corrupted_collectives) {
    corrupt_sample(plan_sample_ranks, CORRUPT_COUNT);
}

Test(plan_verify, refuses_corrupted_rows) {
    corrupt_sample(plan_sample_rows, CORRUPT_WRONG_ROWS);
}

Test(plan_verify, refuses_corrupted_moves) {
    corrupt_sample(sample_far_cpu, CORRUPT_WRONG_SUM);
}

static void name_states_alike(Plan *p) {
    p->state[1].name = p->state[0].name;
}

// The second state has no file of its own: its name stands for one.
static void name_files_alike(Plan *p) {
    p->state[0].file = p->state[1].name;
}

static void cut_two_axes(Plan *p) {
    p->state[0].file = "w.{}.{}";
}

// The first input of any entry from the source.
static PlanInput *input_from(Plan *p, PlanSource source) {
    for (uint32_t e = 0; e < p->entry_count; e++)
        for (uint32_t i = 0; i < p->entry[e].input_count; i++)
            if (p->entry[e].input[i].source == source)
                return &p->entry[e].input[i];
    cr_assert_fail("the sample has no such input");
    return NULL;
}

// The runtime would store four bytes.
static void make_knob_bool(Plan *p) {
    input_from(p, PLAN_FROM_KNOB)->dtype = PLAN_BOOL;
}

// The loader divides by the rows of a step.
static void empty_data(Plan *p) {
    input_from(p, PLAN_FROM_DATA)->dim[0] = 0;
}

static void bound_data_endlessly(Plan *p) {
    input_from(p, PLAN_FROM_DATA)->bound = INT64_MIN;
}

typedef struct {
    void (*change)(Plan *p);
    const char *says;
} Mistake;

static void refuse(Sample *of, const Mistake *mistake, size_t count) {
    const Encoded e = encode_sample(of);
    for (size_t i = 0; i < count; i++) {
        PlanMemory *pm = plan_memory_new();
        Plan *p = decode(&e, pm);
        PlimError error = {""};
        mistake[i].change(p);
        cr_assert_eq(plan_verify(p, &error), PLIM_BAD_PLAN);
        cr_assert_str_eq(error.text, mistake[i].says);
        plan_memory_release(pm);
    }
    free(e.bytes);
}

Test(plan_verify, refuses_what_the_runtime_relies_on) {
    static const Mistake mistake[] = {
        {name_states_alike, "unsafe plan: rule 3: two states are called w"},
        {name_files_alike, "unsafe plan: rule 3: two states in weight files are called w.m"},
        {cut_two_axes, "unsafe plan: rule 3: state 0: w.{}.{} is no name in weight files"},
        {make_knob_bool, "unsafe plan: rule 3: input lr is no data, so it must be one number"},
        {empty_data, "unsafe plan: rule 1: input 0 of train has a field out of range"},
        {bound_data_endlessly, "unsafe plan: rule 1: input 0 of train has a field out of range"},
    };
    refuse(plan_sample, mistake, sizeof mistake / sizeof mistake[0]);
}

static PlanInstr *instr_of(Plan *p, PlanInstrKind kind) {
    for (uint32_t i = 0; i < p->segment_count; i++)
        for (uint32_t j = 0; j < p->segment[i].instr_count; j++)
            if (p->segment[i].instr[j].kind == kind)
                return &p->segment[i].instr[j];
    cr_assert_fail("the sample has no such instruction");
    return NULL;
}

// The kernel with three results row between row: the first of them in the middle.
static PlanOperand *stacked(Plan *p) {
    return &p->segment[1].instr[6].operand[1];
}

static void lengthen_rows(Plan *p) {
    stacked(p)->row += 4;
    stacked(p)->bytes += 4;
}

static void shift_rows(Plan *p) {
    stacked(p)->offset -= 4;
}

// Over the other's, a row later.
static void shift_by_two_rows(Plan *p) {
    stacked(p)->offset += 32;
    stacked(p)->bytes -= 48;
}

static void halve_pitch(Plan *p) {
    stacked(p)->pitch /= 2;
    stacked(p)->bytes -= 24;
}

static void fill_between_rows(Plan *p) {
    stacked(p)->row = stacked(p)->pitch = 0;
}

static void join_rows(Plan *p) {
    stacked(p)->row = stacked(p)->pitch;
}

static void leave_one_row(Plan *p) {
    stacked(p)->bytes = stacked(p)->row;
}

static void end_between_rows(Plan *p) {
    stacked(p)->bytes += 4;
}

static void forget_pitch(Plan *p) {
    stacked(p)->pitch = 0;
}

static void read_rows(Plan *p) {
    stacked(p)->access = PLAN_READ;
}

static void copy_rows(Plan *p) {
    PlanOperand *o = instr_of(p, INSTR_COPY)->operand;
    o->row = 16;
    o->pitch = 48;
}

Test(plan_verify, refuses_wrong_rows) {
#define AT "instruction 6 of train.body (): "
    static const Mistake mistake[] = {
        {lengthen_rows, "unsafe plan: rule 9: " AT "operands 1 and 3 share bytes"},
        {shift_rows, "unsafe plan: rule 9: " AT "operands 1 and 2 share bytes"},
        {shift_by_two_rows, "unsafe plan: rule 9: " AT "operands 1 and 2 share bytes"},
        {halve_pitch, "unsafe plan: rule 9: " AT "operands 1 and 2 share bytes"},
        {fill_between_rows, "unsafe plan: rule 9: " AT "operands 1 and 2 share bytes"},
        {join_rows, "unsafe plan: rule 6: " AT "operand 1 has rows that it can't have"},
        {leave_one_row, "unsafe plan: rule 6: " AT "operand 1 has rows that it can't have"},
        {end_between_rows, "unsafe plan: rule 6: " AT "operand 1 has rows that it can't have"},
        {forget_pitch, "unsafe plan: rule 6: " AT "operand 1 has rows that it can't have"},
        {read_rows, "unsafe plan: rule 6: " AT "operand 1 has rows that it can't have"},
        {copy_rows, "unsafe plan: rule 6: instruction 1 of train.update (): operand 0 has rows "
                    "that it can't have"},
    };
#undef AT
    refuse(plan_sample_rows, mistake, sizeof mistake / sizeof mistake[0]);
}

static void gather_of_two(Plan *p) {
    p->peers = 1;
}

static void scatter_of_two(Plan *p) {
    p->peers = 1;
    PlanInstr *gather = instr_of(p, INSTR_ALL_GATHER);
    gather->operand[1].bytes /= 2;
}

static void shift_too_far(Plan *p) {
    instr_of(p, INSTR_EXCHANGE)->imm[0] = 1;
}

static void multiply_ranks(Plan *p) {
    instr_of(p, INSTR_ALL_REDUCE)->imm[0] = 2;
}

static void mix_types(Plan *p) {
    p->buffer[instr_of(p, INSTR_EXCHANGE)->operand[0].buffer].dtype = PLAN_I32;
}

static void split_element(Plan *p) {
    PlanInstr *exchange = instr_of(p, INSTR_EXCHANGE);
    exchange->operand[0].bytes = exchange->operand[1].bytes = 6;
}

static void use_another_stream(Plan *p) {
    instr_of(p, INSTR_REDUCE_SCATTER)->stream = 0;
}

Test(plan_verify, refuses_wrong_collectives) {
    static const Mistake mistake[] = {
        {gather_of_two, "unsafe plan: rule 21: instruction 3 of train.body (all_gather p): has not "
                        "the sizes of 2 ranks"},
        {scatter_of_two, "unsafe plan: rule 21: instruction 2 of train.update (reduce_scatter "
                         "grad): has not the sizes of 2 ranks"},
        {shift_too_far, "unsafe plan: rule 21: instruction 4 of train.body (exchange a): has an "
                        "immediate out of range"},
        {multiply_ranks, "unsafe plan: rule 21: instruction 1 of train.update (all_reduce grad): "
                         "has an immediate out of range"},
        {mix_types, "unsafe plan: rule 21: instruction 4 of train.body (exchange a): has not whole "
                    "elements of one dtype"},
        {split_element, "unsafe plan: rule 21: instruction 4 of train.body (exchange a): has not "
                        "whole elements of one dtype"},
        {use_another_stream, "unsafe plan: rule 21: instruction 2 of train.update (reduce_scatter "
                             "grad): is not on the other collectives' stream"},
    };
    refuse(plan_sample_ranks, mistake, sizeof mistake / sizeof mistake[0]);
}

// Of moves.plan's one segment.
static PlanInstr *instr_named(Plan *p, const char *name) {
    for (uint32_t i = 0; i < p->segment[0].instr_count; i++)
        if (strcmp(p->segment[0].instr[i].name, name) == 0)
            return &p->segment[0].instr[i];
    cr_assert_fail("the sample has no instruction %s", name);
    return NULL;
}

// Which buffer the instruction writes.
static uint32_t written_by(Plan *p, const char *name) {
    const PlanInstr *instr = instr_named(p, name);
    return instr->operand[instr->kind == INSTR_COPY ? 0 : instr->operand_count - 1].buffer;
}

static void replace_wait(Plan *p, const char *waiter, const char *other, const char *by) {
    PlanInstr *instr = instr_named(p, waiter);
    const uint32_t event = instr_named(p, other)->signal;
    for (uint32_t i = 0; i < instr->wait_count; i++)
        if (instr->wait[i] == event) {
            instr->wait[i] = by ? instr_named(p, by)->signal : instr->wait[--instr->wait_count];
            return;
        }
    cr_assert_fail("%s does not wait for %s", waiter, other);
}

static void fetch_before_offload(Plan *p) {
    replace_wait(p, "fetch h", "offload h", NULL);
}

// It still waits for its source to be there.
static void offload_over_unfetched(Plan *p) {
    replace_wait(p, "offload g", "fetch h", "g");
}

static void use_before_fetch(Plan *p) {
    replace_wait(p, "c", "fetch h", NULL);
}

static void update_before_fetch(Plan *p) {
    replace_wait(p, "t", "fetch s", NULL);
}

// It waits for what wrote where it goes, but not for the last reader.
static void fetch_over_computed(Plan *p) {
    instr_named(p, "a")->signal = instr_named(p, "g")->signal;
    instr_named(p, "g")->signal = UINT32_MAX;
}

static void fetch_over_offloaded(Plan *p) {
    replace_wait(p, "fetch s", "offload g", NULL);
}

static void overwrite_while_offloaded(Plan *p) {
    replace_wait(p, "b", "offload h", NULL);
}

static void store_over_state(Plan *p) {
    p->buffer[written_by(p, "offload h")].offset = p->buffer[written_by(p, "offload s")].offset;
}

static void commit_elsewhere(Plan *p) {
    instr_named(p, "offload s")->operand[0].buffer = written_by(p, "offload g");
}

// Where and when that may be written, so that only the state is wrong.
static void commit_to_free_place(Plan *p) {
    commit_elsewhere(p);
    replace_wait(p, "t", "fetch s", "fetch g");
    p->buffer[written_by(p, "offload g")].last = p->segment[0].instr_count - 1;
}

static void commit_wrong_value(Plan *p) {
    instr_named(p, "offload s")->operand[1].buffer = written_by(p, "b");
}

static void commit_nothing(Plan *p) {
    p->entry[0].commit_count = 0;
}

static void fetch_wrong_value(Plan *p) {
    instr_named(p, "fetch h")->operand[1].buffer = written_by(p, "offload s");
}

static void compute_from_far(Plan *p) {
    instr_named(p, "g")->operand[1].buffer = written_by(p, "offload h");
}

static void fetch_to_far(Plan *p) {
    instr_named(p, "fetch h")->operand[0].buffer = written_by(p, "offload s");
}

// In some interleaving the changed plan computes something else.
static void must_differ(Sample *of, const Mistake *mistake, size_t count) {
    const Encoded e = encode_sample(of);
    for (size_t i = 0; i < count; i++) {
        PlanMemory *pm = plan_memory_new();
        Plan *p = decode(&e, pm);
        uint64_t wanted, outcome;
        cr_assert(plan_outcome(p, 0, &wanted));
        mistake[i].change(p);
        outcome = wanted;
        for (uint64_t turn = 0; turn < 100 && outcome == wanted; turn++)
            cr_assert(plan_outcome(p, turn, &outcome));
        cr_assert_neq(outcome, wanted, "no harm is done by: %s", mistake[i].says);
        plan_memory_release(pm);
    }
    free(e.bytes);
}

// Each is a mistake: in some interleaving other bytes come out. But for the commit that is not
// stated, which moves no byte.
Test(plan_verify, refuses_wrong_moves) {
#define AT(RULE, WHERE) "unsafe plan: rule " #RULE ": instruction " WHERE
    static const Mistake mistake[] = {
        {fetch_before_offload,
         AT(14, "4 of train.body (fetch h): does not wait for a write to its bytes")},
        {offload_over_unfetched, AT(14, "6 of train.body (offload g): overwrites bytes that "
                                        "another stream may still read")},
        {use_before_fetch, AT(14, "7 of train.body (c): does not wait for a write to its bytes")},
        {update_before_fetch,
         AT(14, "11 of train.body (t): does not wait for a write to its bytes")},
        {fetch_over_computed, AT(14, "4 of train.body (fetch h): overwrites bytes that another "
                                     "stream may still read")},
        {fetch_over_offloaded, AT(14, "9 of train.body (fetch s): overwrites bytes that another "
                                      "stream may still read")},
        {overwrite_while_offloaded, AT(14, "5 of train.body (b): overwrites bytes that another "
                                           "stream may still read")},
        {store_over_state,
         "unsafe plan: rule 11: buffers 1 (s) and 4 (h.far) share bytes while both are live"},
        {commit_elsewhere, AT(10, "12 of train.body (offload s): uses buffer 9 (g.far) at position "
                                  "12, outside its live range")},
        {commit_to_free_place, "unsafe plan: rule 17: state s does not hold what train computes"},
        {commit_wrong_value, AT(15, "12 of train.body (offload s): does not find the operands it "
                                    "was made for")},
        {fetch_wrong_value, AT(15, "4 of train.body (fetch h): does not find the operands it was "
                                   "made for")},
        {compute_from_far, AT(20, "3 of train.body (g): touches far memory and is no copy")},
        {fetch_to_far, AT(20, "4 of train.body (fetch h): copies from far memory to far memory")},
    };
#undef AT
    refuse(plan_sample_moves, mistake, sizeof mistake / sizeof mistake[0]);
    refuse(plan_sample_moves,
           &(Mistake){commit_nothing, "unsafe plan: rule 18: train overwrites state s"}, 1);
    must_differ(plan_sample_moves, mistake, sizeof mistake / sizeof mistake[0]);
}

// What is added to and copied to the sum begins as zeros, not as the sum so far; and is signed so.
static void forget_sum(Plan *p) {
    PlanInstr *fetch = &p->segment[1].instr[9];
    cr_assert_str_eq(fetch->name, "fetch total");
    fetch->kind = INSTR_FILL;
    fetch->operand_count = 1;
    fetch->imm_count = 1;
    fetch->imm = p->segment[0].instr[0].imm;
    fetch->stream = 0;
    cr_assert_eq(plan_sign(p), PLIM_OK);
}

Test(plan_verify, refuses_far_sums_that_forget) {
    static const Mistake mistake[] = {
        {forget_sum, "unsafe plan: rule 16: a call does not add to buffer 24 (total)"},
    };
    refuse(sample_far_cpu, mistake, sizeof mistake / sizeof mistake[0]);
}

// The n-th wait of the segment, counted from 0. False where it has no more.
static bool drop_wait(PlanSegment *s, uint32_t n) {
    for (uint32_t i = 0; i < s->instr_count; n -= s->instr[i++].wait_count) {
        PlanInstr *instr = &s->instr[i];
        if (n < instr->wait_count) {
            instr->wait[n] = instr->wait[--instr->wait_count];
            return true;
        }
    }
    return false;
}

Test(plan_verify, refuses_moves_without_any_of_their_waits) {
    const Encoded e = encode_sample(plan_sample_moves);
    uint32_t dropped = 0;
    for (bool more = true; more;) {
        PlanMemory *pm = plan_memory_new();
        Plan *p = decode(&e, pm);
        PlimError error = {""};
        more = drop_wait(&p->segment[0], dropped);
        if (more) {
            cr_assert_eq(plan_verify(p, &error), PLIM_BAD_PLAN, "wait %u", dropped);
            cr_assert_eq(strncmp(error.text, "unsafe plan: rule 14: ", 22), 0, "%s", error.text);
            dropped++;
        }
        plan_memory_release(pm);
    }
    cr_assert_eq(dropped, 11);
    free(e.bytes);
}

// Accumulators of one name and size must not stand for each other.
Test(plan_verify, carried_labels_differ) {
    cr_assert_neq(plan_label_carried("accumulate", 1), plan_label_carried("accumulate", 2));
}

// 30,000 instructions in at most 100 ms of this process's time when optimised; ten times that
// otherwise.
Test(plan_verify, is_fast_on_long_plans) {
    PlanMemory *pm = plan_memory_new();
    const Plan *p = plan_chain(pm, 30000);
    PlimError error = {""};
    cr_assert_not_null(p);
    const clock_t begin = clock();
    cr_assert_eq(plan_verify(p, &error), PLIM_OK, "%s", error.text);
    const double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    cr_log_info("30,000 instructions verified in %.1f ms", seconds * 1e3);
    cr_assert_lt(seconds, 1.0);
    plan_memory_release(pm);
}
