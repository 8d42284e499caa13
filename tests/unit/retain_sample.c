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
        s->value[x[i]].parts = stage[i].parts;
        s->value[x[i]].copy = stage[i].bytes;
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

RetainStage *retain_sample_stages(Arena *a, uint64_t seed, int count) {
    enum { RATE = 16 };
    uint64_t state = seed * 6151 + 11;
    const uint32_t slow = 4 - (uint32_t)(seed % 3), large = 3 + (uint32_t)(seed / 3 % 4);
    RetainStage *stage = arena_array(a, RetainStage, count);
    for (int i = 0; i < count; i++) {
        const int64_t bytes = 1 + draw(&state, large);
        stage[i] = (RetainStage){.forward = RATE * (1 + (int64_t)draw(&state, slow - 1)),
                                 .backward = RATE * (1 + (int64_t)draw(&state, 2 * slow - 2)),
                                 .bytes = bytes,
                                 .transient = draw(&state, 3) ? 0 : draw(&state, 4),
                                 .move = RATE * bytes};
    }
    return stage;
}

const RetainProblem *retain_sample_random(Arena *a, uint64_t seed, int forward, int backward,
                                          int64_t far_rate) {
    uint64_t state = seed * 1000003 + 29;
    RetainSample *s = retain_sample(a);
    int *made = arena_array(a, int, 2 * forward + 2), count = 0, gradient = -1;
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
                                           draw(&state, 8)   ? 0
                                           : draw(&state, 3) ? RETAIN_ONCE
                                                             : RETAIN_FREE,
                                           reads);
        s->task[t].transient = draw(&state, 3) ? 0 : draw(&state, 6);
        RetainValue *v = &s->value[made[count - 1]];
        v->kept = far_rate > 0 && draw(&state, 16) == 0;
        v->out = v->in = draw(&state, 5) ? far_rate * v->bytes : 0;
        // Sometimes a second result.
        if (far_rate > 0 && draw(&state, 6) == 0) {
            int *result = arena_array(a, int, 2);
            result[0] = made[count - 1];
            result[1] = made[count] = add_value(
                s, (RetainValue){.bytes = 1 + draw(&state, 4), .maker = t, .out = 5, .in = 9});
            count++;
            s->task[t].result = result;
            s->task[t].result_count = 2;
        }
    }
    retain_sample_turn(s);
    for (int t = 0; t < backward; t++) {
        int reads[8], n = 0;
        if (gradient >= 0)
            reads[n++] = gradient;
        // Mostly in reverse.
        const int at = (count - 1) - t * (count - 1) / backward;
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

// --- A decoder ---

typedef struct {
    RetainSample *s;
    RetainDecoder d;
} Build;

// A value of tokens times `columns`, made from the operands in picoseconds of time.
static int make(const Build *b, int64_t columns, int64_t time, unsigned flags, const int *operand) {
    const int64_t bytes = 2 * b->d.tokens * columns;
    const int v = retain_sample_task(b->s, time, bytes, flags, operand);
    if (b->d.far_rate > 0)
        b->s->value[v].out = b->s->value[v].in = (int64_t)((double)bytes / b->d.far_rate);
    return v;
}

static int product(const Build *b, int64_t inner, int64_t columns, unsigned flags,
                   const int *operand) {
    return make(b, columns, 2 * b->d.tokens * inner * columns / 500, flags, operand);
}

static int pointwise(const Build *b, int64_t columns, int operands, unsigned flags,
                     const int *operand) {
    return make(b, columns, 2 * b->d.tokens * columns * (operands + 1) / 3, flags, operand);
}

// The gradient of a weight, and its use.
static void weight_gradient(const Build *b, int64_t rows, int64_t columns, const int *operand) {
    const int v = retain_sample_task(b->s, 2 * b->d.tokens * rows * columns / 500,
                                     2 * rows * columns, RETAIN_ONCE, operand);
    retain_sample_task(b->s, 2 * rows * columns, 0, RETAIN_ONCE, RETAIN_READS(v));
}

typedef struct {
    int x, norm1, qkv, attention, middle, norm2, up, act;
} Layer;

static int forward_layer(const Build *b, Layer *l, int x) {
    const int64_t h = b->d.width, attend = 4 * b->d.tokens * 1024 * h / 500;
    l->x = x;
    l->norm1 = pointwise(b, h, 1, 0, RETAIN_READS(x));
    l->qkv = product(b, h, 3 * h, 0, RETAIN_READS(l->norm1));
    l->attention = make(b, h, attend, RETAIN_ONCE, RETAIN_READS(l->qkv));
    const int out = product(b, h, h, 0, RETAIN_READS(l->attention));
    l->middle = pointwise(b, h, 2, 0, RETAIN_READS(x, out));
    l->norm2 = pointwise(b, h, 1, 0, RETAIN_READS(l->middle));
    l->up = product(b, h, 4 * h, 0, RETAIN_READS(l->norm2));
    l->act = pointwise(b, 4 * h, 1, 0, RETAIN_READS(l->up));
    const int down = product(b, 4 * h, h, 0, RETAIN_READS(l->act));
    return pointwise(b, h, 2, 0, RETAIN_READS(l->middle, down));
}

static int backward_layer(const Build *b, const Layer *l, int g) {
    const int64_t h = b->d.width, attend = 10 * b->d.tokens * 1024 * h / 500;
    const unsigned once = RETAIN_ONCE;
    const int act = product(b, h, 4 * h, once, RETAIN_READS(g));
    weight_gradient(b, 4 * h, h, RETAIN_READS(l->act, g));
    const int up = pointwise(b, 4 * h, 2, once, RETAIN_READS(act, l->up));
    const int norm2 = product(b, 4 * h, h, once, RETAIN_READS(up));
    weight_gradient(b, h, 4 * h, RETAIN_READS(l->norm2, up));
    const int middle = pointwise(b, h, 3, once, RETAIN_READS(norm2, l->middle, g));
    const int attention = product(b, h, h, once, RETAIN_READS(middle));
    weight_gradient(b, h, h, RETAIN_READS(l->attention, middle));
    const int qkv = make(b, 3 * h, attend, once, RETAIN_READS(attention, l->qkv, l->attention));
    const int norm1 = product(b, 3 * h, h, once, RETAIN_READS(qkv));
    weight_gradient(b, h, 3 * h, RETAIN_READS(l->norm1, qkv));
    return pointwise(b, h, 3, once, RETAIN_READS(norm1, l->x, middle));
}

const RetainProblem *retain_sample_decoder(Arena *a, RetainDecoder d) {
    const Build b = {.s = retain_sample(a), .d = d};
    const int64_t h = d.width, classes = 16 * h;
    const int tokens = retain_sample_argument(b.s, 8 * d.tokens);
    Layer *layer = arena_array(a, Layer, d.layers + 1);
    int x = make(&b, h, 4 * d.tokens * h / 3, 0, RETAIN_READS(tokens));
    for (int i = 0; i < d.layers; i++)
        x = forward_layer(&b, &layer[i], x);
    const int norm = pointwise(&b, h, 1, 0, RETAIN_READS(x));
    const int logits = product(&b, h, classes, 0, RETAIN_READS(norm));
    retain_sample_turn(b.s);
    const int classes_gradient = pointwise(&b, classes, 1, RETAIN_ONCE, RETAIN_READS(logits));
    const int norm_gradient = product(&b, classes, h, RETAIN_ONCE, RETAIN_READS(classes_gradient));
    weight_gradient(&b, h, classes, RETAIN_READS(norm, classes_gradient));
    int g = pointwise(&b, h, 2, RETAIN_ONCE, RETAIN_READS(norm_gradient, x));
    for (int i = d.layers - 1; i >= 0; i--)
        g = backward_layer(&b, &layer[i], g);
    retain_sample_task(b.s, 4 * d.tokens * h / 3, 0, RETAIN_ONCE, RETAIN_READS(g, tokens));
    return retain_sample_done(b.s);
}

int64_t retain_time_within(const RetainFrontier *f, int64_t budget) {
    int64_t least = INT64_MAX;
    for (int i = 0; i < f->count; i++)
        if (f->point[i].cost.bytes <= budget && f->point[i].cost.time < least)
            least = f->point[i].cost.time;
    return least;
}
