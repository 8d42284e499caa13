// Attention: q [b,h,s,e], k [b,g,t,e], v [b,g,t,f]; g divides h, and head j reads key head j / (h /
// g).
//
// x = scale q k^T; scores = x, or with a cap, cap tanh(x / cap) (Gemma 2); out = softmax(scores) v
// [b,h,s,f]; log-sum-exp of the scores [b,h,s], f32, is what the backward pass needs. causal: query
// i sees keys j <= i + t - s, so the last query sees the last key. window w > 0 (with causal): only
// keys j > i + t - s - w. A row that sees no key gives out 0 and -inf.
// With an offset (i32[], causal, s <= t) query i stands at offset + i instead of i + t - s: the
// keys are a cache that is filled so far. It is clamped into 0..t-s, as dynamic_update clamps where
// it stores. There is no gradient then: a cache is no part of training.
// Instead there may be a table (i32[b,n]), the last operand of attention_grad, too, of two parts,
// of which one may be missing. With interval, its first 2 s numbers say from where and to where
// each query sees keys, of those above: keys from[i] <= j < to[i], any numbers. What is left are
// the keys' documents (t of them, s <= t): a query sees only keys with the id of its own, that of
// key i + t - s. Ids may be any numbers in any order. An operand of rank 0 is an offset.
// Slopes (f32[h]) add slope (j - (i + t - s)) to scores, or slope (j - (offset + i)): a bias by
// distance (ALiBi, Press et al. 2022). They have no gradient.
// A bias, f32 or bf16, is added to scores, and has a gradient, by an operator of its own:
// attention_grad_bias. With a mask, bool, a query sees only keys where it is true. Both are [b, h,
// s, t], or 1 in the place of any of these, which is then the same for all: of relative positions
// [1, h, s, t]. A key whose bias is -inf is not seen either.
// Operands behind the operator's own stand in this order: offset or table, slopes, bias, mask.
#include "ir/op_rules.h"

#include "ir/build.h"
#include "ir/check.h"

#include <math.h>

typedef struct {
    int64_t batch, heads, groups, queries, keys, dim_qk, dim_v;
} AttentionShape;

// Of a node that has been inferred, so ranks and agreeing sizes need no look.
static AttentionShape attention_shape(const Node *n) {
    const Type *q = &n->input[0]->type, *k = &n->input[1]->type, *v = &n->input[2]->type;
    return (AttentionShape){.batch = q->dim[0],
                            .heads = q->dim[1],
                            .groups = k->dim[1],
                            .queries = q->dim[2],
                            .keys = k->dim[2],
                            .dim_qk = q->dim[3],
                            .dim_v = v->dim[3]};
}

// Operands q, k, v and the mask's attributes.
static bool want_qkv(const Node *n, Diag *d, Arena *scratch) {
    const char *name = op_info(n->op)->name;
    const Type *q = &n->input[0]->type, *k = &n->input[1]->type, *v = &n->input[2]->type;
    if (!infer_want_float(n, 0, d, scratch))
        return false;
    if (q->rank != 4 || k->rank != 4 || v->rank != 4)
        return diag_error(
            d, n->loc, 314, "%s wants q [b,h,s,e], k [b,g,t,e] and v [b,g,t,f], got %s, %s and %s",
            name, type_text(scratch, q), type_text(scratch, k), type_text(scratch, v));
    if (k->dtype != q->dtype || v->dtype != q->dtype)
        return diag_error(d, n->loc, 301,
                          "%s wants q, k and v of one element type, got %s, %s and %s", name,
                          type_text(scratch, q), type_text(scratch, k), type_text(scratch, v));
    if (k->dim[0] != q->dim[0] || v->dim[0] != q->dim[0])
        return diag_error(d, n->loc, 314, "%s: batch sizes differ: %s, %s and %s", name,
                          type_text(scratch, q), type_text(scratch, k), type_text(scratch, v));
    if (k->dim[3] != q->dim[3])
        return diag_error(d, n->loc, 314, "%s: head sizes of queries and keys differ: %s and %s",
                          name, type_text(scratch, q), type_text(scratch, k));
    if (v->dim[1] != k->dim[1] || v->dim[2] != k->dim[2])
        return diag_error(d, n->loc, 314,
                          "%s: keys and values differ in heads or positions: %s and %s", name,
                          type_text(scratch, k), type_text(scratch, v));
    if (k->dim[1] < 1 || q->dim[1] % k->dim[1] != 0)
        return diag_error(d, n->loc, 314, "%s: %lld query heads can't share %lld key heads evenly",
                          name, (long long)q->dim[1], (long long)k->dim[1]);
    // A window bounds how far back a query sees, so it means something only where the future is
    // hidden.
    const int64_t window = node_int(n, "window", 0);
    if (window < 0 || (window > 0 && node_int(n, "causal", 0) == 0))
        return diag_error(d, n->loc, 315, "%s: a window of %lld needs causal attention", name,
                          (long long)window);
    if (!isfinite(node_float(n, "scale", 0)))
        return diag_error(d, n->loc, 315, "%s: the scale is not a finite number", name);
    const double cap = node_float(n, "cap", 0);
    if (!attention_cap_good(cap))
        return diag_error(d, n->loc, 315, "%s: a cap of %g, not 0.001 to 1000000", name, cap);
    return true;
}

// Operands that all have: q, k, v; and the gradient's out, log-sum-exp and dout.
static int operand_count(const Node *n) {
    return n->op == OP_ATTENTION ? 3 : 6;
}

// What stands behind those, in this order; an operand's rank and type tell which it is.
typedef enum { BEHIND_EXTRA, BEHIND_SLOPES, BEHIND_BIAS, BEHIND_MASK } Behind;

static Behind behind_of(const Type *t) {
    return t->rank == 1   ? BEHIND_SLOPES
           : t->rank != 4 ? BEHIND_EXTRA // an offset or a table
                          : (t->dtype == DT_BOOL ? BEHIND_MASK : BEHIND_BIAS);
}

static int operand_behind(const Node *n, Behind which) {
    if (op_info(n->op)->family != FAMILY_ATTENTION)
        return -1;
    for (int i = operand_count(n); i < n->input_count; i++)
        if (behind_of(&n->input[i]->type) == which)
            return i;
    return -1;
}

int attention_table(const Node *n) {
    const int extra = operand_behind(n, BEHIND_EXTRA);
    return extra >= 0 && n->input[extra]->type.rank == 2 ? extra : -1;
}

// Numbers of a batch row that say which keys each query sees.
static int64_t interval_count(const Node *n) {
    return node_int(n, "interval", 0) != 0 ? 2 * n->input[0]->type.dim[2] : 0;
}

bool attention_has_documents(const Node *n) {
    const int table = attention_table(n);
    return table >= 0 && n->input[table]->type.dim[1] > interval_count(n);
}

int attention_offset(const Node *n) {
    const int extra = operand_behind(n, BEHIND_EXTRA);
    return extra >= 0 && n->input[extra]->type.rank != 2 ? extra : -1;
}

int attention_slopes(const Node *n) {
    return operand_behind(n, BEHIND_SLOPES);
}

int attention_bias(const Node *n) {
    return operand_behind(n, BEHIND_BIAS);
}

int attention_mask(const Node *n) {
    return operand_behind(n, BEHIND_MASK);
}

// One of each at most, in their order.
static bool want_order(const Node *n, Diag *d) {
    for (int i = operand_count(n) + 1; i < n->input_count; i++)
        if (behind_of(&n->input[i]->type) <= behind_of(&n->input[i - 1]->type))
            return diag_error(d, n->loc, 303,
                              "%s: operand %d is out of place: behind the others come an offset or "
                              "a table, slopes, a bias, a mask",
                              op_info(n->op)->name, i);
    return true;
}

// One number a head.
static bool want_slopes(const Node *n, Diag *d, Arena *scratch) {
    const int at = attention_slopes(n);
    const Type heads = type_make(DT_F32, 1, &n->input[0]->type.dim[1]);
    return at < 0 || infer_want(n, at, "slopes", heads, WANT_EXACT, d, scratch);
}

// A bias or a mask: of all pairs of queries and keys, or the same along some axes.
static bool want_pairs(const Node *n, int at, Diag *d, Arena *scratch) {
    if (at < 0)
        return true;
    const Type *q = &n->input[0]->type, *t = &n->input[at]->type;
    const int64_t all[4] = {q->dim[0], q->dim[1], q->dim[2], n->input[1]->type.dim[2]};
    const bool mask = t->dtype == DT_BOOL;
    bool fits = mask || dtype_is_float(t->dtype);
    for (int i = 0; i < 4; i++)
        fits = fits && (t->dim[i] == all[i] || t->dim[i] == 1);
    const Type whole = type_make(mask ? DT_BOOL : DT_F32, 4, all);
    return fits ||
           diag_error(d, n->loc, 303, "%s wants a %s like %s, 1 for axes that share it, got %s",
                      op_info(n->op)->name, mask ? "mask" : "bias", type_text(scratch, &whole),
                      type_text(scratch, t));
}

// Which keys each query sees, and which document each key is of.
static bool want_table(const Node *n, Diag *d, Arena *scratch) {
    const int at = attention_table(n);
    const int64_t interval = interval_count(n);
    if (at < 0)
        return interval == 0 || diag_error(d, n->loc, 315, "%s: an interval, but no table of it",
                                           op_info(n->op)->name);
    const int64_t keys = n->input[1]->type.dim[2], queries = n->input[0]->type.dim[2];
    const bool documents = attention_has_documents(n) || interval == 0;
    const int64_t dim[2] = {n->input[1]->type.dim[0], interval + (documents ? keys : 0)};
    const char *what = interval > 0 ? "a table" : "documents";
    if (!infer_want(n, at, what, type_make(DT_I32, 2, dim), WANT_EXACT, d, scratch))
        return false;
    if (documents && queries > keys)
        return diag_error(d, n->loc, 314, "%s: %lld queries in documents of %lld keys",
                          op_info(n->op)->name, (long long)queries, (long long)keys);
    return true;
}

// The position of the first query, where it is known only at run time.
static bool want_offset(const Node *n, Diag *d, Arena *scratch) {
    if (attention_offset(n) < 0)
        return true;
    if (n->op != OP_ATTENTION)
        return diag_error(d, n->loc, 303, "%s wants a table [b,n], got %s", op_info(n->op)->name,
                          type_text(scratch, &n->input[attention_offset(n)]->type));
    if (!infer_want(n, 3, "an offset", type_scalar(DT_I32), WANT_EXACT, d, scratch))
        return false;
    const int64_t queries = n->input[0]->type.dim[2], keys = n->input[1]->type.dim[2];
    if (node_int(n, "causal", 0) == 0)
        return diag_error(d, n->loc, 315, "attention: an offset needs causal attention");
    if (queries > keys)
        return diag_error(d, n->loc, 314,
                          "attention: %lld queries from an offset on, but %lld keys",
                          (long long)queries, (long long)keys);
    return true;
}

static bool want_behind(const Node *n, Diag *d, Arena *scratch) {
    return want_order(n, d) && want_table(n, d, scratch) && want_offset(n, d, scratch) &&
           want_slopes(n, d, scratch) && want_pairs(n, attention_bias(n), d, scratch) &&
           want_pairs(n, attention_mask(n), d, scratch);
}

// [b, h, s, f]: queries' shape, values' width.
static Type out_type(const Node *n) {
    Type out = n->input[0]->type;
    out.dim[3] = n->input[2]->type.dim[3];
    return out;
}

bool infer_attention(const Node *n, Type *result, Diag *d, Arena *scratch) {
    if (!want_qkv(n, d, scratch) || !want_behind(n, d, scratch))
        return false;
    result[0] = out_type(n);
    // The log-sum-exp [b, h, s] is f32 even for bf16 operands: the backward pass takes
    // probabilities back from it.
    result[1] = type_rows(&n->input[0]->type, DT_F32);
    return infer_want_size(n, &result[0], d, scratch);
}

// What both gradients read.
static bool want_backward(const Node *n, Diag *d, Arena *scratch) {
    const Type out = out_type(n), lse = type_rows(&n->input[0]->type, DT_F32);
    return infer_want(n, 3, "the output", out, WANT_EXACT, d, scratch) &&
           infer_want(n, 4, "the log-sum-exp", lse, WANT_EXACT, d, scratch) &&
           infer_want(n, 5, "the output's gradient", out, WANT_EXACT, d, scratch);
}

bool infer_attention_grad(const Node *n, Type *result, Diag *d, Arena *scratch) {
    if (!want_qkv(n, d, scratch) || !want_behind(n, d, scratch) || !want_backward(n, d, scratch))
        return false;
    // dq, dk and dv look like q, k and v.
    for (int i = 0; i < 3; i++)
        result[i] = n->input[i]->type;
    return true;
}

bool infer_attention_grad_bias(const Node *n, Type *result, Diag *d, Arena *scratch) {
    if (!want_qkv(n, d, scratch) || !want_behind(n, d, scratch) || !want_backward(n, d, scratch))
        return false;
    const int bias = attention_bias(n);
    if (bias < 0)
        return diag_error(d, n->loc, 303, "attention_grad_bias wants a bias");
    result[0] = n->input[bias]->type;
    return true;
}

// Dims: batch, head, query. Keys take part whole, and so do grouped key heads.
bool map_attention(const Node *n, IndexMap *out) {
    const Type rows = type_rows(&n->input[0]->type, DT_F32);
    index_map_init(n, &rows, out);
    // Several query heads read one key head, so a query head's dim does not walk the key heads.
    const bool grouped = n->input[1]->type.dim[1] != rows.dim[1];
    for (int o = 0; o < out->operand_count; o++) {
        if (map_operand(n, o)->rank == 4)
            out->axis_dim[o][3] = -1;
        if (o == 1 || o == 2) {
            out->axis_dim[o][1] = (int8_t)(grouped ? -1 : 1);
            out->axis_dim[o][2] = -1;
        }
        if (o == attention_table(n))
            out->axis_dim[o][1] = -1;
        if (o == attention_slopes(n))
            out->axis_dim[o][0] = 1;
        // What is the same for all of an axis is not indexed by it.
        for (int i = 0; i < 3 && (o == attention_bias(n) || o == attention_mask(n)); i++)
            if (map_operand(n, o)->dim[i] != rows.dim[i])
                out->axis_dim[o][i] = -1;
    }
    return true;
}

// A gradient added to another, or to none yet.
static Value *add(Builder *b, Value *x, Value *y) {
    return x ? build_binary(b, OP_ADD, x, y) : y;
}

// Adds the gradients of n's first `count` operands and of its bias, if v, out and dout were its
// values, output and the output's gradient.
static void add_gradients(Builder *b, const Node *n, Value *const of[3], int count,
                          Value **dinput) {
    Value *in[10] = {n->input[0], n->input[1], of[0], of[1], &n->result[1], of[2]};
    int inputs = 6;
    for (int i = 3; i < n->input_count; i++)
        in[inputs++] = n->input[i];
    const Node *back = build_node(b, OP_ATTENTION_GRAD, in, inputs, n->attr, n->attr_count);
    for (int i = 0; i < count; i++)
        dinput[i] = add(b, dinput[i], &back->result[i]);
    const int bias = attention_bias(n);
    if (bias < 0)
        return;
    back = build_node(b, OP_ATTENTION_GRAD_BIAS, in, inputs, n->attr, n->attr_count);
    dinput[bias] = add(b, dinput[bias], &back->result[0]);
}

// The gradient of the log-sum-exp l is ds_j = dl p_j, beside ds_j = p_j (dp_j - delta) of the
// output: that of an attention whose values are 0, so dp is, and whose delta = dout out is -dl.
static void add_lse_gradient(Builder *b, const Node *n, Value *dlse, Value **dinput) {
    Type values = n->input[2]->type, out = n->input[0]->type;
    values.dim[3] = out.dim[3] = 1;
    Value *dout =
        build_reshape(b, build_cast(b, build_unary(b, OP_NEG, dlse), out.dtype), 4, out.dim);
    Value *of[3] = {build_constant(b, values, 0), build_constant(b, out, 1), dout};
    add_gradients(b, n, of, 2, dinput);
}

// Either result may be unread and then has no gradient; dinput adds up what both give. The bias's
// is dropped where nobody asks for it.
void grad_attention(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    if (dresult[0])
        add_gradients(b, n, (Value *[]){n->input[2], &n->result[0], dresult[0]}, 3, dinput);
    if (dresult[1])
        add_lse_gradient(b, n, dresult[1], dinput);
}

// One query row: its numbers of rows in q-like, k-like and v-like tensors.
typedef struct {
    int64_t q, k, query; // row of q, lse and out; first row of its key head; position
    int64_t batch, head;
} QueryRow;

static QueryRow query_row(const AttentionShape *s, int64_t row) {
    const int64_t head = row / s->queries % s->heads, batch = row / s->queries / s->heads;
    const int64_t group = head / (s->heads / s->groups);
    return (QueryRow){.q = row,
                      .k = (batch * s->groups + group) * s->keys,
                      .query = row % s->queries,
                      .batch = batch,
                      .head = head};
}

// What a bias or a mask has of one query's keys: key j's is at[j step].
typedef struct {
    const double *at; // NULL: there is none
    int64_t step;
} KeyRow;

// The place of a query's first key in a tensor [b, h, s, t], where axes of 1 are the same for all.
static int64_t pair_place(const Type *t, const QueryRow *at) {
    const int64_t index[3] = {at->batch, at->head, at->query};
    int64_t place = 0;
    for (int i = 0; i < 3; i++)
        place = place * t->dim[i] + (t->dim[i] > 1 ? index[i] : 0);
    return place * t->dim[3];
}

static KeyRow key_row(const Tensor *in, int operand, const QueryRow *at) {
    if (operand < 0)
        return (KeyRow){NULL, 0};
    const Type *t = &in[operand].type;
    return (KeyRow){in[operand].at + pair_place(t, at), t->dim[3] > 1};
}

// Keys first <= j < last are seen, but for those of other documents and those that a mask hides.
typedef struct {
    int64_t first, last;
    const double *document; // of key 0; NULL: all keys are of one
    double own;             // the query's
    KeyRow mask;
} Seen;

static bool sees(const Seen *seen, int64_t key) {
    return (!seen->document || seen->document[key] == seen->own) &&
           (!seen->mask.at || seen->mask.at[key * seen->mask.step] != 0);
}

// shift: the key that query 0 stands beside.
static Seen keys_seen(const Node *n, const AttentionShape *s, int64_t shift, int64_t query) {
    if (node_int(n, "causal", 0) == 0)
        return (Seen){.first = 0, .last = s->keys};
    // The window never begins before key 0. Where queries outnumber keys, the first ones see none.
    const int64_t end = query + shift + 1, window = node_int(n, "window", 0);
    const int64_t first = window > 0 && end > window ? end - window : 0;
    return (Seen){.first = first, .last = end < 0 ? 0 : end};
}

// Takes away what the table and the mask hide.
static void see_operands(const Node *n, const AttentionShape *s, const Tensor *in,
                         const QueryRow *at, Seen *seen) {
    seen->mask = key_row(in, attention_mask(n), at);
    const int table = attention_table(n);
    if (table < 0)
        return;
    const int64_t interval = interval_count(n);
    const double *row = in[table].at + at->batch * in[table].type.dim[1];
    if (interval > 0) {
        const int64_t from = (int64_t)row[at->query], to = (int64_t)row[s->queries + at->query];
        seen->first = from > seen->first ? from : seen->first;
        seen->last = to < seen->last ? to : seen->last;
    }
    if (!attention_has_documents(n))
        return;
    seen->document = row + interval;
    seen->own = seen->document[at->query + s->keys - s->queries];
}

// What products of a query and keys become.
typedef struct {
    double scale, cap; // cap 0: none
    double slope;      // of the head; 0: none
    int64_t beside;    // the key at the query's place
    KeyRow bias;
} Score;

static Score score_rule(const Node *n, const Tensor *in, const QueryRow *at, int64_t shift) {
    const int slopes = attention_slopes(n);
    return (Score){.scale = node_float(n, "scale", 1),
                   .cap = node_float(n, "cap", 0),
                   .slope = slopes < 0 ? 0 : in[slopes].at[at->head],
                   .beside = at->query + shift,
                   .bias = key_row(in, attention_bias(n), at)};
}

static double score_of(const Score *s, double product, int64_t key) {
    const double x = s->scale * product;
    return (s->cap > 0 ? s->cap * tanh(x / s->cap) : x) + s->slope * (double)(key - s->beside) +
           (s->bias.at ? s->bias.at[key * s->bias.step] : 0);
}

// How much a score grows with its product.
static double score_growth(const Score *s, double product) {
    const double t = s->cap > 0 ? tanh(s->scale * product / s->cap) : 0;
    return s->scale * (1 - t * t);
}

static double dot(const double *x, const double *y, int64_t count) {
    double sum = 0;
    for (int64_t i = 0; i < count; i++)
        sum += x[i] * y[i];
    return sum;
}

// t - s, or the operand in its place.
static int64_t query_shift(const Node *n, const AttentionShape *s, const Tensor *in) {
    const int64_t most = s->keys - s->queries;
    const int operand = attention_offset(n);
    if (operand < 0)
        return most;
    const int64_t offset = (int64_t)in[operand].at[0];
    return offset < 0 ? 0 : offset > most ? most : offset;
}

void evaluate_attention(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    const AttentionShape s = attention_shape(n);
    const int64_t shift = query_shift(n, &s, in);
    double *score = arena_array(cx->arena, double, s.keys);
    for (int64_t row = 0; row < s.batch * s.heads * s.queries; row++) {
        const QueryRow at = query_row(&s, row);
        const Score rule = score_rule(n, in, &at, shift);
        Seen seen = keys_seen(n, &s, shift, at.query);
        see_operands(n, &s, in, &at, &seen);
        double max = -HUGE_VAL, sum = 0;
        // Scores first; the largest is taken out of every exponent, so that none overflows.
        for (int64_t j = seen.first; j < seen.last; j++) {
            score[j] = -HUGE_VAL;
            if (!sees(&seen, j))
                continue;
            const double *q = in[0].at + at.q * s.dim_qk, *k = in[1].at + (at.k + j) * s.dim_qk;
            score[j] = score_of(&rule, dot(q, k, s.dim_qk), j);
            max = score[j] > max ? score[j] : max;
        }
        // A row that sees no key keeps out = 0, as tensors begin.
        out[1].at[row] = -HUGE_VAL;
        if (max == -HUGE_VAL)
            continue;
        for (int64_t j = seen.first; j < seen.last; j++)
            sum += exp(score[j] - max);
        out[1].at[row] = max + log(sum);
        for (int64_t j = seen.first; j < seen.last; j++)
            for (int64_t f = 0; f < s.dim_v && sees(&seen, j); f++)
                out[0].at[at.q * s.dim_v + f] +=
                    exp(score[j] - max) / sum * in[2].at[(at.k + j) * s.dim_v + f];
    }
}

// A query that sees something, on the way back: its row of in[0], in[3] and in[5], and what the
// softmax takes back from each score, D = dout . out.
typedef struct {
    QueryRow at;
    Score rule;
    Seen seen;
    const double *q, *dout;
    double whole, lse;
} BackwardRow;

// False where the row sees no key.
static bool backward_row(const Node *n, const AttentionShape *s, const Tensor *in, int64_t row,
                         BackwardRow *out) {
    const int64_t shift = s->keys - s->queries;
    out->at = query_row(s, row);
    out->rule = score_rule(n, in, &out->at, shift);
    out->seen = keys_seen(n, s, shift, out->at.query);
    see_operands(n, s, in, &out->at, &out->seen);
    out->q = in[0].at + out->at.q * s->dim_qk;
    out->dout = in[5].at + out->at.q * s->dim_v;
    out->whole = dot(out->dout, in[3].at + out->at.q * s->dim_v, s->dim_v);
    out->lse = in[4].at[row];
    return out->lse != -HUGE_VAL;
}

// p = e^(score - lse), and the gradient of the score, p (dout v_j - D). growth: of the score with
// its product.
typedef struct {
    double p, dscore, growth;
} BackwardKey;

static BackwardKey backward_key(const AttentionShape *s, const Tensor *in, const BackwardRow *row,
                                int64_t key) {
    const double *k = in[1].at + (row->at.k + key) * s->dim_qk;
    const double *v = in[2].at + (row->at.k + key) * s->dim_v;
    const double product = dot(row->q, k, s->dim_qk);
    const double p = exp(score_of(&row->rule, product, key) - row->lse);
    return (BackwardKey){p, p * (dot(row->dout, v, s->dim_v) - row->whole),
                         score_growth(&row->rule, product)};
}

// With ds the product's gradient: dv_j += p dout; dq += ds k_j; dk_j += ds q.
void evaluate_attention_grad(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)cx;
    const AttentionShape s = attention_shape(n);
    for (int64_t row = 0; row < s.batch * s.heads * s.queries; row++) {
        BackwardRow r;
        if (!backward_row(n, &s, in, row, &r))
            continue;
        for (int64_t j = r.seen.first; j < r.seen.last; j++) {
            if (!sees(&r.seen, j))
                continue;
            const BackwardKey of = backward_key(&s, in, &r, j);
            const double ds = of.dscore * of.growth;
            const int64_t k_at = (r.at.k + j) * s.dim_qk, v_at = (r.at.k + j) * s.dim_v;
            for (int64_t f = 0; f < s.dim_v; f++)
                out[2].at[v_at + f] += of.p * r.dout[f];
            for (int64_t e = 0; e < s.dim_qk; e++) {
                out[0].at[r.at.q * s.dim_qk + e] += ds * in[1].at[k_at + e];
                out[1].at[k_at + e] += ds * r.q[e];
            }
        }
    }
}

// The gradient of a bias is the score's, summed where scores share it.
void evaluate_attention_grad_bias(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)cx;
    const AttentionShape s = attention_shape(n);
    const Type *t = &out[0].type;
    for (int64_t row = 0; row < s.batch * s.heads * s.queries; row++) {
        BackwardRow r;
        if (!backward_row(n, &s, in, row, &r))
            continue;
        double *to = out[0].at + pair_place(t, &r.at);
        for (int64_t j = r.seen.first; j < r.seen.last; j++)
            if (sees(&r.seen, j))
                to[t->dim[3] > 1 ? j : 0] += backward_key(&s, in, &r, j).dscore;
    }
}
