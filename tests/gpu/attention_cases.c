// Attention at sizes that fill tiles, go round the stages of the loops and end between them, with
// what the reference evaluator says: for run_cases, beside operator_cases, whose axes have a few
// elements each.
//   attention_cases OUT.graph OUT.cases
// Head dims of every kernel that GPUs have, lengths that tiles don't divide, masks whose edges
// cross tiles, grouped queries; forward, and backward with the result and log-sum-exp of that
// forward.
#include "case_file.h"

#include "ir/build.h"
#include "ir/check.h"
#include "tests/attention_table.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

typedef struct {
    const char *what; // part of the entry's name
    int64_t batch, groups, sharing;
    int64_t queries, keys, dim_qk, dim_v;
    bool causal;
    int64_t window;
    int offset;    // the operand's value + 1; 0: none
    int documents; // keys of each, in order; less than 0: so many, in no order; 0: none
    int interval;  // a prefix of so many before what is causal; less than 0: any intervals; 0: none
    bool forward_only;
    const char *bias, *mask; // axes that they have of their own, of "bhst"; NULL: there is none
} Case;

static const Case case_table[] = {
    {"whole_tiles", 1, 1, 1, 128, 384, 128, 128, .causal = false},
    {"many_tiles", 1, 1, 1, 550, 550, 128, 128, .causal = true},
    {"many_narrow_tiles", 1, 1, 1, 800, 800, 64, 64, .causal = true},
    {"grouped", 1, 2, 3, 210, 140, 64, 64, .causal = true},
    {"window_d96", 1, 1, 2, 130, 300, 96, 96, .causal = true, .window = 150},
    {"dims_40_72", 2, 1, 1, 70, 80, 40, 72, .causal = true},
    {"dims_36_20", 1, 1, 2, 170, 280, 36, 20, .causal = true},
    {"dim_32", 1, 2, 1, 100, 100, 32, 32, .causal = true},
    {"short", 2, 1, 2, 40, 333, 128, 128, .causal = true},
    {"grouped_long", 1, 2, 4, 1100, 1100, 64, 64, .causal = true},
    {"all_keys", 2, 2, 2, 700, 900, 128, 128, .causal = false},
    {"window_far", 1, 2, 2, 500, 1500, 128, 128, .causal = true, .window = 200},
    {"more_queries", 1, 2, 1, 700, 300, 64, 64, .causal = true},
    {"offset", 1, 1, 2, 70, 500, 128, 64, .causal = true, .offset = 311},
    {"documents", 2, 1, 1, 270, 300, 64, 64, .causal = true, .documents = 70},
    {"mixed_documents", 1, 1, 1, 80, 200, 128, 128, .documents = -3},
    {"prefix", 1, 1, 2, 200, 200, 64, 64, .interval = 90},
    {"intervals", 2, 1, 1, 80, 200, 128, 128, .documents = 60, .interval = -1},
    {"bias", 2, 1, 2, 270, 300, 64, 64, .causal = true, .bias = "hst"},
    {"bias_of_all", 2, 1, 1, 130, 150, 128, 128, .bias = "bhst"},
    {"bias_and_mask", 2, 2, 2, 100, 140, 96, 40, .bias = "bt", .mask = "st"},
    {"tree", 1, 1, 2, 200, 200, 192, 192, .mask = "st", .causal = true},
    {"one_query_bias", 2, 2, 3, 1, 300, 64, 64, .bias = "ht", .mask = "bt", .forward_only = true},
    {"dim_192", 1, 1, 1, 90, 200, 192, 192, .causal = true},
    {"dim_256", 1, 1, 1, 90, 150, 256, 256, .causal = true},
    {"one_query", 2, 2, 2, 1, 300, 64, 64, .causal = true, .offset = 222, .forward_only = true},
    {"one_query_of_many", 1, 1, 20, 1, 900, 128, 128, .causal = true, .window = 400, .offset = 851,
     .forward_only = true},
};
enum { CASES = sizeof case_table / sizeof *case_table, RESULTS = 2 };
enum { Q, K, V, OUT, LSE, DOUT };

static AttentionTable table_of(const Case *c) {
    return (AttentionTable){c->batch, c->queries, c->keys, c->documents, c->interval};
}

static void set_table(Arena *a, const AttentionTable *t, double *at) {
    const int64_t count = t->batch * attention_table_columns(t);
    int32_t *made = arena_array(a, int32_t, count);
    attention_table_fill(t, made);
    for (int64_t i = 0; i < count; i++)
        at[i] = made[i];
}

static Type heads_of(const Case *c, int operand) {
    const bool keys = operand == K || operand == V;
    const int64_t heads = c->groups * (keys ? 1 : c->sharing);
    const int64_t width = operand == Q || operand == K ? c->dim_qk : c->dim_v;
    const int64_t dim[4] = {c->batch, heads, keys ? c->keys : c->queries, width};
    return operand == LSE ? type_make(DT_F32, 3, dim) : type_make(DT_BF16, 4, dim);
}

static Type pairs_of(const Case *c, DType dtype, const char *axes) {
    const int64_t dim[4] = {c->batch, c->groups * c->sharing, c->queries, c->keys};
    Type t = type_make(dtype, 4, dim);
    for (int i = 0; i < 4; i++)
        t.dim[i] = strchr(axes, "bhst"[i]) ? dim[i] : 1;
    return t;
}

// forward: results of the forward pass, or NULL where that is what is made.
static Sample make_sample(Arena *a, const Case *c, uint64_t seed, Op op, const Tensor *forward) {
    const NodeOrigin origin = {.scope = ""};
    Sample s = {.a = a, .random = seed, .diag = diag_create(a), .m = module_create(a, "sample")};
    s.g = graph_create(a, "test");
    module_add_entry(s.m, s.g);
    Value *in[SAMPLE_OPERANDS_MAX];
    int count = 0;
    for (int i = Q; i <= (forward ? DOUT : V); i++)
        in[count++] = sample_argument(&s, heads_of(c, i), -2, 2);
    for (int i = 0; i < RESULTS && forward; i++)
        s.argument[OUT + i] = forward[i];
    if (c->offset > 0)
        in[count++] = sample_argument(&s, type_scalar(DT_I32), c->offset - 1, c->offset - 1);
    const AttentionTable table = table_of(c);
    const int64_t dim[2] = {c->batch, attention_table_columns(&table)};
    if (dim[1] > 0) {
        in[count++] = sample_argument(&s, type_make(DT_I32, 2, dim), 0, 0);
        set_table(a, &table, s.argument[count - 1].at);
    }
    if (c->bias)
        in[count++] = sample_argument(&s, pairs_of(c, DT_F32, c->bias), -2, 2);
    if (c->mask)
        in[count++] = sample_argument(&s, pairs_of(c, DT_BOOL, c->mask), 0, 1);
    Attr attr[4] = {attr_int("causal", c->causal), attr_int("window", c->window),
                    attr_float("scale", 1 / sqrt((double)c->dim_qk)), attr_int("interval", 1)};
    s.n = graph_add(s.g, s.diag, op, in, count, attr, c->interval != 0 ? 4 : 3, origin);
    if (!s.n)
        diag_print(s.diag, stderr, false);
    CHECK(s.n);
    for (int i = 0; i < s.n->result_count; i++)
        graph_add_result(s.g, NULL, &s.n->result[i]);
    return s;
}

static bool has_backward(const Case *c) {
    return !c->forward_only && c->offset == 0;
}

static void add_case(const Case *c, uint64_t seed, CaseFile *out) {
    Arena *a = arena_create();
    Tensor forward[SAMPLE_OPERANDS_MAX];
    Sample s = make_sample(a, c, seed, OP_ATTENTION, NULL);
    case_file_add(out, &s, arena_format(a, "attention_%s_0", c->what));
    if (has_backward(c)) {
        sample_evaluate(&s, false, forward);
        // Of one seed, so of the same q, k and v.
        s = make_sample(a, c, seed, OP_ATTENTION_GRAD, forward);
        case_file_add(out, &s, arena_format(a, "attention_grad_%s_0", c->what));
    }
    if (has_backward(c) && c->bias) {
        s = make_sample(a, c, seed, OP_ATTENTION_GRAD_BIAS, forward);
        case_file_add(out, &s, arena_format(a, "attention_grad_bias_%s_0", c->what));
    }
    arena_release(a);
}

int main(int argc, char **argv) {
    uint64_t count = 0;
    for (int i = 0; i < CASES; i++)
        count += !has_backward(&case_table[i]) ? 1 : case_table[i].bias ? 3 : 2;
    CaseFile out;
    if (argc != 3 || !case_file_open(argv[1], argv[2], count, &out)) {
        fprintf(stderr, "usage: attention_cases OUT.graph OUT.cases\n");
        return 2;
    }
    for (int i = 0; i < CASES; i++)
        add_case(&case_table[i], (uint64_t)i + 1, &out);
    printf("%llu cases\n", (unsigned long long)count);
    return case_file_close(&out) ? 0 : 1;
}
