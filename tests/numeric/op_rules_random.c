// Every operator's rules on random shapes and types, fixed seeds.
//
//  - gradient rules against central differences, in exact mode (f64): L = sum of weights times
//  results,
//    step 1e-5. The difference's own error is about 1e-10 (third derivatives of order 1,
//    cancellation 1e-16 / 1e-5), so 1e-6 of the size of the numbers leaves room for steep places
//    and no room for a wrong rule. A float operand without a gradient must have difference 0.
//  - index maps: sizes agree with the shapes, and a result changes only where the map says it may
//  when
//    one element of an operand changes.
//  - text: the sample with its gradient prints, parses, prints the same and verifies.
#include "op_sample.h"

#include "ir/build.h"
#include "ir/check.h"

#include <math.h>
#include <string.h>

enum { SAMPLES = 32 };
static const double step = 1e-5, tolerance = 1e-6;

typedef struct {
    Op op;
    int sample;
    int failures;
} Report;

static void fail(Report *r, const char *what) {
    r->failures++;
    printf("FAIL %s, sample %d: %s\n", op_info(r->op)->name, r->sample, what);
}

// The loss, and the gradient rule's nodes appended to the sample's graph.
typedef struct {
    Sample *s;
    Value *dresult[SAMPLE_OPERANDS_MAX]; // arguments: the weights of the loss; NULL: left out
    Tensor weight[SAMPLE_OPERANDS_MAX];
    Value *dinput[SAMPLE_OPERANDS_MAX];
} Check;

static double loss(const Check *c) {
    Tensor out[SAMPLE_OPERANDS_MAX];
    sample_evaluate(c->s, true, out);
    double sum = 0;
    for (int r = 0; r < c->s->n->result_count; r++)
        for (int64_t i = 0; c->dresult[r] && i < type_count(&out[r].type); i++)
            if (!isinf(out[r].at[i])) // a row that sees no key has log-sum-exp -inf
                sum += c->weight[r].at[i] * out[r].at[i];
    return sum;
}

// At least one result has a weight; each other one with even odds.
static void add_weights(Check *c) {
    Sample *s = c->s;
    const int64_t sure = sample_int(s, s->n->result_count);
    for (int r = 0; r < s->n->result_count; r++) {
        if (r != sure && sample_int(s, 2))
            continue;
        const int argument = s->g->input_count;
        c->dresult[r] = sample_argument(s, s->n->result[r].type, -1, 1);
        c->weight[r] = s->argument[argument];
    }
}

// Results of the node come first, then one for each gradient there is.
static Tensor *run_gradient(const Check *c) {
    Sample *s = c->s;
    for (int i = 0; i < s->n->input_count; i++)
        if (c->dinput[i])
            graph_add_result(s->g, NULL, c->dinput[i]);
    Tensor *result = arena_array(s->a, Tensor, s->g->result_count);
    EvalInput in = {.argument = s->argument};
    const EvalCtx cx = {.arena = s->a, .exact = true};
    graph_evaluate(s->m, s->g, &in, result, &cx);
    return result;
}

// Differences of the loss along every element of the operand; gradient NULL stands for zeros.
static void check_operand(Report *report, const Check *c, int input, const Tensor *gradient) {
    const Tensor *x = sample_operand(c->s, input);
    for (int64_t i = 0; i < type_count(&x->type); i++) {
        const double kept = x->at[i];
        x->at[i] = kept + step;
        const double above = loss(c);
        x->at[i] = kept - step;
        const double below = loss(c);
        x->at[i] = kept;
        const double want = (above - below) / (2 * step), got = gradient ? gradient->at[i] : 0;
        if (fabs(got - want) <= tolerance * (1 + fabs(want)))
            continue;
        char text[160];
        snprintf(text, sizeof(text), "operand %d, element %lld: gradient %.9g, difference %.9g",
                 input, (long long)i, got, want);
        fail(report, text);
        return;
    }
}

// The rule alone, as autodiff would call it for this one node.
static void check_gradient(Report *report, Sample *s) {
    Check c = {.s = s};
    add_weights(&c);
    Builder b = {.g = s->g, .origin = {.scope = "", .phase = PHASE_BACKWARD}};
    op_info(s->n->op)->gradient(&b, s->n, c.dresult, c.dinput);
    const Tensor *gradient = run_gradient(&c);
    int at = s->n->result_count;
    for (int i = 0; i < s->n->input_count; i++) {
        const Type *t = &s->n->input[i]->type;
        if (c.dinput[i] && !type_equal(&c.dinput[i]->type, t))
            fail(report, "a gradient's type is not its operand's");
        // Slopes are not differentiated by.
        if (dtype_is_float(t->dtype) && i != attention_slopes(s->n))
            check_operand(report, &c, i, c.dinput[i] ? &gradient[at] : NULL);
        at += c.dinput[i] != NULL;
    }
}

static void check_text(Report *report, Sample *s) {
    const char *text = module_text(s->m, s->a, 0);
    Module *read = module_parse(s->a, s->diag, "sample", text, strlen(text));
    if (!read || !module_verify(read, s->diag)) {
        diag_print(s->diag, stdout, false);
        fail(report, "does not parse or verify");
    } else if (strcmp(module_text(read, s->a, 0), text) != 0) {
        fail(report, "text is not the same after a round trip");
    }
}

static int64_t index_along(const Type *t, int64_t element, int axis) {
    int64_t stride[RANK_MAX];
    type_strides(t, stride);
    return element / stride[axis] % t->dim[axis];
}

static void check_map_sizes(Report *report, const Sample *s, const IndexMap *map) {
    const Node *n = s->n;
    uint32_t used = 0, stored = 0;
    if (map->operand_count != n->input_count + n->result_count)
        fail(report, "the map's operands are not the node's");
    for (int o = 0; o < map->operand_count; o++) {
        const bool is_result = o >= n->input_count;
        const Type *t = is_result ? &n->result[o - n->input_count].type : &n->input[o]->type;
        for (int a = 0; a < t->rank; a++) {
            const int dim = map->axis_dim[o][a];
            if (dim < 0)
                continue;
            used |= 1u << dim;
            stored |= is_result ? 1u << dim : 0;
            if (dim >= map->dim_count || map->extent[dim] != t->dim[a])
                fail(report, "the map's extent is not the axis' size");
        }
    }
    if (used != (1u << map->dim_count) - 1)
        fail(report, "a dim of the map indexes nothing");
    if (stored & map->reduced)
        fail(report, "a result has an axis that is reduced away");
}

// Results that changed where the map says that operand input, element moved, isn't read.
static bool changed_elsewhere(const Sample *s, const IndexMap *map, int input, int64_t moved,
                              const Tensor *before, const Tensor *after) {
    const Node *n = s->n;
    const Type *t = &n->input[input]->type;
    for (int r = 0; r < n->result_count; r++)
        for (int64_t i = 0; i < type_count(&before[r].type); i++) {
            if (memcmp(&before[r].at[i], &after[r].at[i], sizeof(double)) == 0)
                continue;
            for (int a = 0; a < t->rank; a++)
                for (int k = 0; k < before[r].type.rank; k++)
                    if (map->axis_dim[input][a] >= 0 &&
                        map->axis_dim[input][a] == map->axis_dim[n->input_count + r][k] &&
                        index_along(t, moved, a) != index_along(&before[r].type, i, k))
                        return true;
        }
    return false;
}

// One element of each operand is moved; 1 is enough to change any index, flag or number.
static void check_map(Report *report, Sample *s) {
    IndexMap map;
    if (!op_info(s->n->op)->map)
        return;
    if (!op_info(s->n->op)->map(s->n, &map)) {
        fail(report, "the map is refused");
        return;
    }
    check_map_sizes(report, s, &map);
    if (!op_info(s->n->op)->evaluate)
        return;
    Tensor before[SAMPLE_OPERANDS_MAX], after[SAMPLE_OPERANDS_MAX];
    sample_evaluate(s, true, before);
    for (int input = 0; input < s->n->input_count; input++) {
        const Tensor *x = sample_operand(s, input);
        const int64_t i = sample_int(s, type_count(&x->type));
        const double kept = x->at[i];
        x->at[i] = x->type.dtype == DT_BOOL ? 1 - kept : kept + 1;
        sample_evaluate(s, true, after);
        x->at[i] = kept;
        if (changed_elsewhere(s, &map, input, i, before, after))
            fail(report, "a result changes where the map says it can't");
    }
}

static void check_cost(Report *report, const Sample *s) {
    if (node_flops(s->n) < 0 || node_bytes(s->n) < 0)
        fail(report, "a cost is negative");
    if (op_info(s->n->op)->lowering != LOWER_VIEW && s->n->result_count > 0 &&
        node_bytes(s->n) < (int64_t)type_bytes(&s->n->result[0].type))
        fail(report, "bytes are fewer than the result has");
}

int main(void) {
    Report report = {0};
    int operators = 0, gradients = 0;
    for (int op = 0; op < OP_COUNT; op++) {
        const OpInfo *info = op_info((Op)op);
        report.op = (Op)op;
        for (report.sample = 0; report.sample < SAMPLES; report.sample++) {
            Arena *a = arena_create();
            Sample s = sample_create(a, (Op)op, (uint64_t)report.sample + 1);
            if (s.n) {
                check_map(&report, &s);
                check_cost(&report, &s);
                if (node_has_gradient(s.n))
                    check_gradient(&report, &s);
                check_text(&report, &s);
            }
            arena_release(a);
        }
        operators++;
        gradients += info->gradient != NULL;
    }
    printf("%d operators, %d gradients, %d samples each: %d failures\n", operators, gradients,
           SAMPLES, report.failures);
    return report.failures > 0;
}
