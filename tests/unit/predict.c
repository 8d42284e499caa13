// A step played through: streams wait for events and engines, and slow each other down.
#include "passes/predict.h"

#include <criterion/criterion.h>

// Fills of the device, and copies between it and far memory: 1 byte takes 1 us, a copy's 2 us.
enum { FILL, OUT, IN, INSTR_MAX = 8, US = 1000000 };

typedef struct {
    Plan plan;
    PlanSpace space[2];
    PlanBuffer buffer[2];
    PlanInstr instr[INSTR_MAX];
    PlanOperand operand[INSTR_MAX][2];
    uint32_t wait[INSTR_MAX][2];
    PlanSegment segment;
    PlanEntry entry;
    PlanCall call[1];
    Rates rates;
    PlanMemory *memory;
    Prediction told;
} Step;

static Step step;

static void setup(void) {
    step = (Step){.memory = plan_memory_new()};
    step.space[0].kind = SPACE_DEVICE;
    step.space[1].kind = SPACE_DISK;
    for (uint32_t i = 0; i < 2; i++)
        step.buffer[i] = (PlanBuffer){
            .name = "b", .space = i, .bytes = 1000, .entry = UINT32_MAX, .last = UINT32_MAX};
    step.segment =
        (PlanSegment){.name = "train.body", .instr = step.instr, .event_count = INSTR_MAX};
    step.entry = (PlanEntry){.name = "train", .call_count = 1, .call = step.call};
    step.plan = (Plan){.space_count = 2,
                       .space = step.space,
                       .buffer_count = 2,
                       .buffer = step.buffer,
                       .segment_count = 1,
                       .segment = &step.segment,
                       .entry_count = 1,
                       .entry = &step.entry};
    step.rates.bytes[RATE_FILL] = (RateCurve){1, {{1, 1e6}}};
    step.rates.bytes[RATE_OUT] = step.rates.bytes[RATE_IN] = (RateCurve){1, {{1, 5e5}}};
}

static void teardown(void) {
    plan_memory_release(step.memory);
}

TestSuite(predict, .init = setup, .fini = teardown);

// Each signals the event of its own number. Waits for another's, if that is not -1.
static void add(int what, uint64_t bytes, int wait) {
    const uint32_t i = step.segment.instr_count++;
    step.wait[i][0] = (uint32_t)wait;
    step.instr[i] = (PlanInstr){.kind = what == FILL ? INSTR_FILL : INSTR_COPY,
                                .stream = (uint32_t)what,
                                .operand_count = what == FILL ? 1 : 2,
                                .operand = step.operand[i],
                                .workspace = UINT32_MAX,
                                .wait_count = wait >= 0,
                                .wait = step.wait[i],
                                .signal = i,
                                .bytes = bytes,
                                .name = "",
                                .where = ""};
    step.operand[i][0] = (PlanOperand){.buffer = what == OUT, .bytes = bytes, .access = PLAN_WRITE};
    step.operand[i][1] = (PlanOperand){.buffer = what == IN, .bytes = bytes, .access = PLAN_READ};
}

static void play(void) {
    const PlanUses *uses = plan_uses_new(&step.plan, step.memory);
    cr_assert(predict_entry(uses, 0, &step.rates, step.memory, &step.told));
}

static void expect(uint32_t i, uint64_t begin, uint64_t end) {
    const PredictedStep *s = &step.told.step[i];
    cr_assert(s->begin == begin * US && s->end == end * US, "%u: %llu to %llu us, not %llu to %llu",
              i, (unsigned long long)s->begin / US, (unsigned long long)s->end / US,
              (unsigned long long)begin, (unsigned long long)end);
}

Test(predict, streams_run_beside_each_other_and_wait_for_events) {
    add(FILL, 100, -1);
    add(OUT, 100, 0);
    add(FILL, 50, -1);
    add(FILL, 10, 1);
    play();
    expect(0, 0, 100);
    expect(1, 100, 300);
    expect(2, 100, 150);
    expect(3, 300, 310);
    cr_assert_eq(step.told.total, (uint64_t)310 * US);
}

Test(predict, an_engine_does_one_copy_at_a_time_whatever_the_streams) {
    add(OUT, 100, -1);
    add(OUT, 10, -1);
    step.instr[1].stream = 5;
    add(IN, 10, -1);
    play();
    expect(0, 0, 200);
    expect(1, 200, 220);
    expect(2, 0, 20);
}

// A fill of 200 us beside a copy of 100 bytes: half as fast, and the copy a quarter slower.
Test(predict, what_runs_at_once_slows_each_other) {
    step.rates.beside[RATE_FILL][RATE_OUT] = 2;
    step.rates.beside[RATE_OUT][RATE_FILL] = 1.25;
    add(FILL, 200, -1);
    add(OUT, 100, -1);
    add(FILL, 10, -1);
    play();
    // 250 us side by side: the copy is over, and 125 us of the fill are done.
    expect(1, 0, 250);
    expect(0, 0, 325);
    expect(2, 325, 335);
    cr_assert_eq(step.told.total, (uint64_t)335 * US);
}

Test(predict, slowdowns_of_two_others_multiply) {
    step.rates.beside[RATE_FILL][RATE_OUT] = 2;
    step.rates.beside[RATE_FILL][RATE_IN] = 1.5;
    add(FILL, 100, -1);
    add(OUT, 150, -1);
    add(IN, 150, -1);
    play();
    expect(0, 0, 300);
    expect(1, 0, 300);
    expect(2, 0, 300);
}

Test(predict, slowdown_by_copies_both_ways_is_the_measured_one) {
    step.rates.beside[RATE_FILL][RATE_OUT] = 2;
    step.rates.beside[RATE_FILL][RATE_IN] = 1.5;
    step.rates.both[RATE_FILL] = 2.5;
    add(FILL, 100, -1);
    add(OUT, 150, -1);
    add(IN, 50, -1);
    play();
    // 100 us beside both do 40 of the fill, 120 beside the copy out the other 60.
    expect(0, 0, 220);
    expect(1, 0, 300);
    expect(2, 0, 100);
}

// Beside computing and copies in at once a copy out takes what was measured, beside one of them its
// own factor.
Test(predict, slowdown_of_a_copy_by_both_is_the_measured_one) {
    step.rates.beside[RATE_OUT][RATE_FILL] = 2;
    step.rates.beside[RATE_OUT][RATE_IN] = 2;
    step.rates.both[RATE_OUT] = 3;
    add(FILL, 150, -1);
    add(OUT, 100, -1);
    add(IN, 200, -1);
    play();
    // 150 us do 50 of the copy's 200, beside the other copy alone the rest takes twice its time.
    expect(0, 0, 150);
    expect(2, 0, 400);
    expect(1, 0, 425);
}

// The sum of what instructions are made of is what they take, slowed or not.
Test(predict, limits_add_up_to_what_was_taken) {
    step.rates.beside[RATE_FILL][RATE_OUT] = 2;
    step.rates.start = 5 * US;
    add(FILL, 200, -1);
    add(OUT, 100, -1);
    play();
    uint64_t took = 0, made = 0;
    for (int i = 0; i < 2; i++)
        took += step.told.step[i].end - step.told.step[i].begin;
    for (int i = 0; i < LIMIT_COUNT; i++)
        made += step.told.limit[i];
    cr_assert_eq(took, made);
}

// Plans that nobody verified: events of nobody, waits for what stands behind.
Test(predict, what_makes_no_sense_does_not_wait) {
    add(FILL, 100, 7);
    add(OUT, 100, 2);
    add(FILL, 100, -1);
    play();
    expect(0, 0, 100);
    expect(1, 0, 200);
    expect(2, 100, 200);
}
