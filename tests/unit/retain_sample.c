// Problems of what to keep, for tests and measurements.
#include "tests/unit/retain_sample.h"

#include "tests/unit/random_draw.h"

#include <string.h>

RetainSample *retain_sample(Arena *a) {
    RetainSample *s = arena_new(a, RetainSample);
    s->a = a;
    return s;
}

static int add_value(RetainSample *s, RetainValue v) {
    if (s->p.value_count == s->value_room) {
        const int room = 2 * s->value_room + 64;
        s->value = arena_grow(s->a, s->value, (size_t)s->value_room, (size_t)room, sizeof v);
        s->value_room = room;
    }
    s->value[s->p.value_count] = v;
    return s->p.value_count++;
}

int retain_sample_argument(RetainSample *s, int64_t bytes) {
    return add_value(s, (RetainValue){.bytes = bytes, .maker = -1});
}

int retain_sample_task(RetainSample *s, int64_t time, int64_t bytes, unsigned flags,
                       const int *operand) {
    if (s->p.task_count == s->task_room) {
        const int room = 2 * s->task_room + 64;
        s->task = arena_grow(s->a, s->task, (size_t)s->task_room, (size_t)room, sizeof *s->task);
        s->task_room = room;
    }
    RetainTask t = {.time = time, .flags = flags};
    while (operand[t.operand_count] >= 0)
        t.operand_count++;
    int *copy = arena_array(s->a, int, t.operand_count + 1);
    memcpy(copy, operand, sizeof *copy * (size_t)t.operand_count);
    t.operand = copy;
    int *result = arena_array(s->a, int, 1);
    t.result = result;
    t.result_count = bytes > 0;
    *result =
        bytes > 0 ? add_value(s, (RetainValue){.bytes = bytes, .maker = s->p.task_count}) : -1;
    s->task[s->p.task_count++] = t;
    return *result;
}

void retain_sample_turn(RetainSample *s) {
    s->p.forward_count = s->p.task_count;
}

const RetainProblem *retain_sample_done(RetainSample *s) {
    s->p.task = s->task;
    s->p.value = s->value;
    return &s->p;
}

const RetainProblem *retain_sample_chain(Arena *a, const RetainStage *stage, int count) {
    RetainSample *s = retain_sample(a);
    int *x = arena_array(a, int, count + 1);
    for (int i = 0; i < count; i++) {
        x[i] = retain_sample_task(s, stage[i].forward, stage[i].bytes, 0,
                                  i ? RETAIN_READS(x[i - 1]) : RETAIN_READS(-1));
        s->value[x[i]].out = s->value[x[i]].in = stage[i].move;
    }
    retain_sample_turn(s);
    int gradient = -1;
    for (int i = count - 1; i >= 0; i--) {
        const int reads[] = {x[i], gradient < 0 ? (i ? x[i - 1] : -1) : gradient,
                             gradient < 0 || !i ? -1 : x[i - 1], -1};
        gradient = retain_sample_task(s, stage[i].backward, i ? stage[i - 1].bytes : 1, RETAIN_ONCE,
                                      reads);
        s->task[s->p.task_count - 1].transient = stage[i].transient;
    }
    s->value[gradient].kept = true;
    return retain_sample_done(s);
}

const RetainProblem *retain_sample_random(Arena *a, uint64_t seed, int forward, int backward) {
    uint64_t state = seed * 1000003 + 29;
    RetainSample *s = retain_sample(a);
    int made[64], count = 0, gradient = -1;
    made[count++] = retain_sample_argument(s, 1 + draw(&state, 4));
    for (int t = 0; t < forward; t++) {
        int reads[8], n = 0;
        reads[n++] = made[count - 1];
        for (int i = (int)draw(&state, 3); i > 0 && count > 1; i--) {
            const int other = made[draw(&state, (uint32_t)count - 1)];
            if (n == 1 || (n == 2 && reads[1] != other))
                reads[n++] = other;
        }
        reads[n] = -1;
        made[count++] = retain_sample_task(s, 1 + draw(&state, 9), 1 + draw(&state, 8),
                                           draw(&state, 8) ? 0 : RETAIN_ONCE, reads);
        s->task[t].transient = draw(&state, 3) ? 0 : draw(&state, 6);
    }
    retain_sample_turn(s);
    for (int t = 0; t < backward; t++) {
        int reads[8], n = 0;
        if (gradient >= 0)
            reads[n++] = gradient;
        // Mostly in reverse.
        const int at = forward - t * forward / backward;
        for (int i = 0; i < 2; i++) {
            const int other = draw(&state, 4) ? made[at - i > 0 ? at - i : 0]
                                              : made[draw(&state, (uint32_t)count)];
            bool twice = false;
            for (int k = 0; k < n; k++)
                twice = twice || reads[k] == other;
            if (!twice)
                reads[n++] = other;
        }
        reads[n] = -1;
        gradient =
            retain_sample_task(s, 1 + draw(&state, 9), 1 + draw(&state, 4), RETAIN_ONCE, reads);
        s->value[gradient].kept = draw(&state, 4) == 0;
    }
    s->value[gradient].kept = true;
    return retain_sample_done(s);
}
