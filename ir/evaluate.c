// The reference evaluator: runs an entry once, node by node, in doubles rounded to each value's
// dtype.
//
// Every value has one tensor for the whole run; micro-batches overwrite forward and backward values
// in turn, `accumulate` adds to what it holds, and update nodes run once at the end. State is read
// as it was when the entry began, whatever commits come, so commits may swap. Nothing here is fast
// or clever: it is what the rest is compared with.
#include "ir/evaluate.h"

#include "ir/check.h"

#include <float.h>
#include <math.h>
#include <string.h>

Tensor tensor_create(Arena *a, Type type) {
    return (Tensor){.type = type, .at = arena_array(a, double, type_count(&type))};
}

// The nearest number with 8 significant bits, to even; bf16 has f32's exponents.
static double round_bf16(double x) {
    // Through the nearest odd f32, so that the two roundings equal one: if f32 is inexact its last
    // bit is set (round to odd), which decides every tie the right way.
    float f = (float)x;
    // Beyond f32's range the steps below still round to infinity, but from the largest number.
    if (!isfinite(f) && isfinite(x))
        f = x > 0 ? FLT_MAX : -FLT_MAX;
    if (isnan(f) || isinf(f))
        return (double)f;
    uint32_t bits;
    memcpy(&bits, &f, sizeof(bits));
    if (fabs((double)f) > fabs(x))
        bits--; // Toward zero
    float toward;
    memcpy(&toward, &bits, sizeof(toward));
    if ((double)toward != x)
        bits |= 1;
    // To the upper 16 bits, ties to even.
    bits += 0x7fffu + (bits >> 16 & 1);
    bits &= 0xffff0000u;
    memcpy(&f, &bits, sizeof(f));
    return (double)f;
}

double dtype_round(DType dtype, double x) {
    switch (dtype) {
    case DT_F32:
        return (double)(float)x;
    case DT_BF16:
        return round_bf16(x);
    case DT_I32:
        if (isnan(x))
            return 0;
        return x <= (double)INT32_MIN   ? (double)INT32_MIN
               : x >= (double)INT32_MAX ? (double)INT32_MAX
                                        : trunc(x);
    case DT_BOOL:
        return x != 0;
    case DT_COUNT:
        break;
    }
    UNREACHABLE();
}

// Integers are integers in exact mode too: what is not rounded is floats.
static void round_tensor(const Tensor *t, const EvalCtx *cx) {
    if (cx->exact && dtype_is_float(t->type.dtype))
        return;
    const int64_t count = type_count(&t->type);
    for (int64_t i = 0; i < count; i++)
        t->at[i] = dtype_round(t->type.dtype, t->at[i]);
}

// Into tensors that are there already.
static void evaluate_into(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    const OpInfo *info = op_info(n->op);
    CHECK(info->evaluate);
    for (int i = 0; i < n->result_count; i++)
        // Operators may count on zeros: sums start there, and what is not stored is 0.
        memset(out[i].at, 0, (size_t)type_count(&out[i].type) * sizeof(double));
    info->evaluate(n, in, out, cx);
    for (int i = 0; i < n->result_count; i++)
        round_tensor(&out[i], cx);
}

void node_evaluate(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    for (int i = 0; i < n->result_count; i++)
        out[i] = tensor_create(cx->arena, n->result[i].type);
    evaluate_into(n, in, out, cx);
}

// A run of one entry.
typedef struct {
    const Graph *g;
    const EvalCtx *cx;
    Tensor *value; // by value id
} Run;

static void copy_tensor(const Tensor *to, const Tensor *from) {
    CHECK(type_equal(&to->type, &from->type));
    memcpy(to->at, from->at, (size_t)type_count(&to->type) * sizeof(double));
}

// Sums in f32 in the order of the micro-batches, as kernels do.
static void accumulate(const Run *run, const Node *n, int64_t micro_batch) {
    const Tensor *x = &run->value[n->input[0]->id], *sum = &run->value[n->result[0].id];
    const int64_t count = type_count(&sum->type);
    for (int64_t i = 0; i < count; i++)
        sum->at[i] = micro_batch == 0 ? x->at[i] : sum->at[i] + x->at[i];
    round_tensor(sum, run->cx);
}

// One node, its operands and results in the run's tensors.
static void run_node(const Run *run, const Node *n, int64_t micro_batch) {
    Arena *a = run->cx->arena;
    Tensor *in = arena_array(a, Tensor, n->input_count);
    Tensor *out = arena_array(a, Tensor, n->result_count);
    for (int i = 0; i < n->input_count; i++)
        in[i] = run->value[n->input[i]->id];
    for (int i = 0; i < n->result_count; i++)
        out[i] = run->value[n->result[i].id];
    EvalCtx cx = *run->cx;
    cx.micro_batch = micro_batch;
    evaluate_into(n, in, out, &cx);
}

// Data and slots are there for each micro-batch, [argument][repeat]; the others are the same in all of them.
static void bind_arguments(const Run *run, const EvalInput *in, int64_t micro_batch) {
    const Graph *g = run->g;
    for (int i = 0; i < g->input_count; i++) {
        const int64_t r = source_by_slot(g->input[i].source) ? micro_batch : 0;
        copy_tensor(&run->value[g->input[i].value->id], &in->argument[i * g->repeat + r]);
    }
}

// Copies, so that commits at the end don't change what was read.
static void bind_states(const Module *m, const Run *run, const EvalInput *in) {
    for (int i = 0; i < run->g->node_count; i++) {
        const Node *n = run->g->node[i];
        if (n->op != OP_STATE)
            continue;
        const State *s = module_find_state(m, node_text(n, "name", ""));
        CHECK(s);
        copy_tensor(&run->value[n->result[0].id], &in->state[s->id]);
    }
}

// Nodes of one part of the step: with update, those of the update phase; else all others.
static void run_phase(const Run *run, bool update, int64_t micro_batch) {
    for (int i = 0; i < run->g->node_count; i++) {
        const Node *n = run->g->node[i];
        // An accumulate runs with the micro-batches, whatever phase reads it.
        if (n->op == OP_ACCUMULATE) {
            if (!update)
                accumulate(run, n, micro_batch);
        } else if (n->op != OP_INPUT && n->op != OP_STATE && (n->phase == PHASE_UPDATE) == update) {
            run_node(run, n, micro_batch);
        }
    }
}

void graph_evaluate(const Module *m, const Graph *g, EvalInput *in, Tensor *result,
                    const EvalCtx *cx) {
    Run run = {.g = g, .cx = cx, .value = arena_array(cx->arena, Tensor, g->value_limit)};
    for (int i = 0; i < g->node_count; i++)
        for (int k = 0; k < g->node[i]->result_count; k++) {
            const Value *v = &g->node[i]->result[k];
            run.value[v->id] = tensor_create(cx->arena, v->type);
        }
    bind_states(m, &run, in);
    for (int64_t r = 0; r < g->repeat; r++) {
        bind_arguments(&run, in, r);
        run_phase(&run, false, r);
    }
    // With repeat > 1 update nodes read sums over the micro-batches and what is the same in all.
    run_phase(&run, true, 0);
    for (int i = 0; i < g->result_count; i++)
        result[i] = run.value[g->result[i].value->id];
    for (int i = 0; i < g->commit_count; i++)
        copy_tensor(&in->state[g->commit[i].state->id], &run.value[g->commit[i].value->id]);
}
