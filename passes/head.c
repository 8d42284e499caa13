// Finding heads: see head.h. Reads the einsum specs to know which axes are rows, classes and inner.
//
// In the product's spec, the last letter of the result is the classes, the others are the rows; x
// has the rows in that order and then the inner axes, w the classes and the inner axes in any
// order. The gradients' specs use letters of their own, so they are compared by what each axis is,
// not by letter.
#include "passes/head.h"

#include "ir/check.h"

#include <string.h>

// One letter an axis; in: the two factors.
typedef struct {
    char in[2][RANK_MAX + 1];
    char out[RANK_MAX + 1];
} Spec;

// "ab,bc->ac"; false where a part is longer than a shape can be.
static bool spec_read(const Node *n, Spec *spec) {
    const char *at = node_text(n, "spec", "");
    char *part[3] = {spec->in[0], spec->in[1], spec->out};
    for (int i = 0; i < 3; i++) {
        const size_t length = strcspn(at, ",-");
        if (length > RANK_MAX)
            return false;
        memcpy(part[i], at, length);
        part[i][length] = 0;
        at += length;
        at += *at == ',' ? 1 : *at == '-' ? 2 : 0;
    }
    return true;
}

// The operand of the einsum (its last two) that is v: 0 or 1, or -1.
static int side_of(const Node *n, const Value *v) {
    const int first = n->input_count - 2;
    if (n->input[first] == v)
        return 0;
    return n->input[first + 1] == v ? 1 : -1;
}

// Which axis of w is which, from the product's spec. False where it is no plain projection.
static bool read_product(Head *h) {
    Spec s;
    if (!spec_read(h->product, &s))
        return false;
    h->row_rank = (int)strlen(s.out) - 1;
    if (h->row_rank < 1)
        return false;
    // w is the factor that has the classes.
    const char classes = s.out[h->row_rank];
    const int w_side = strchr(s.in[1], classes) ? 1 : 0;
    const char *x = s.in[1 - w_side], *w = s.in[w_side];
    h->inner_rank = (int)strlen(x) - h->row_rank;
    if (strchr(x, classes) || h->inner_rank < 1 || memcmp(x, s.out, (size_t)h->row_rank) != 0 ||
        (int)strlen(w) != h->inner_rank + 1)
        return false;
    const char *inner = x + h->row_rank;
    for (int i = 0; w[i]; i++) {
        const char *at = strchr(inner, w[i]);
        if (w[i] != classes && !at)
            return false;
        // By axis of w: the inner axis it is, or -1 for the classes.
        h->w_axis[i] = w[i] == classes ? -1 : (int)(at - inner);
    }
    h->x = h->product->input[1 - w_side];
    h->w = h->product->input[w_side];
    h->classes = h->entropy->input[0]->type.dim[h->entropy->input[0]->type.rank - 1];
    h->rows = type_count(&h->entropy->result[0].type);
    return true;
}

// dx: (dlogits [rows, classes], w) -> [rows, inner]
// Same classes, rows and inner axes as in the product, whatever the letters.
static bool is_dx(const Head *h, const Node *n) {
    Spec s;
    const int side = side_of(n, h->w);
    if (n->op != OP_EINSUM || side < 0 || !spec_read(n, &s))
        return false;
    const char *d = s.in[1 - side], *w = s.in[side];
    if ((int)strlen(d) != h->row_rank + 1 || (int)strlen(s.out) != h->row_rank + h->inner_rank ||
        memcmp(d, s.out, (size_t)h->row_rank) != 0)
        return false;
    for (int i = 0; i <= h->inner_rank; i++) {
        const int inner = h->w_axis[i];
        if (w[i] != (inner < 0 ? d[h->row_rank] : s.out[h->row_rank + inner]))
            return false;
    }
    return true;
}

// dw: (dlogits [rows, classes], x [rows, inner]) -> axes of w
static bool is_dw(const Head *h, const Node *n) {
    Spec s;
    const int side = side_of(n, h->x);
    if ((n->op != OP_EINSUM && n->op != OP_EINSUM_ADD) || side < 0 || !spec_read(n, &s))
        return false;
    const char *d = s.in[1 - side], *x = s.in[side];
    if ((int)strlen(d) != h->row_rank + 1 || memcmp(d, x, (size_t)h->row_rank) != 0 ||
        (int)strlen(s.out) != h->inner_rank + 1)
        return false;
    for (int i = 0; i <= h->inner_rank; i++) {
        const int inner = h->w_axis[i];
        if (s.out[i] != (inner < 0 ? d[h->row_rank] : x[h->row_rank + inner]))
            return false;
    }
    return true;
}

// Rows stay rows: another type of element, or another shape of the rows.
static bool keeps_rows(const Node *n) {
    if (n->op == OP_CAST)
        return true;
    if (n->op != OP_RESHAPE)
        return false;
    const Type *from = &n->input[0]->type, *to = &n->result[0].type;
    return from->rank > 1 && to->rank > 1 && from->dim[from->rank - 1] == to->dim[to->rank - 1];
}

// broadcast(v [classes]) over all rows  =>  v, else NULL
// The result's last axis is the classes: v must lie along it.
static Value *repeated_in_rows(const Value *v) {
    const Node *n = v->def;
    int count;
    if (n->op != OP_BROADCAST || n->input[0]->type.rank != 1 ||
        n->input[0]->type.dim[0] != v->type.dim[v->type.rank - 1])
        return NULL;
    const int64_t *axes = node_ints(n, "axes", &count);
    return axes && count == 1 && axes[0] == v->type.rank - 1 ? n->input[0] : NULL;
}

// Notes the bias that n adds and returns what it is added to; NULL where n adds none.
// One bias at most; h->sum is the dtype in which it is added.
static const Value *step_over_bias(Head *h, const Node *n) {
    if (n->op != OP_ADD || h->bias)
        return NULL;
    const int side = repeated_in_rows(n->input[1]) ? 1 : 0;
    h->bias = repeated_in_rows(n->input[side]);
    h->sum = n->result[0].type.dtype;
    return h->bias ? n->input[1 - side] : NULL;
}

// Through a bias, and casts and reshapes of rows, that nobody else reads, up from the logits to
// their product.
static bool find_product(const HeadFinder *f, Head *h) {
    const Value *v = h->entropy->input[0];
    while (v->def->op != OP_EINSUM) {
        v = keeps_rows(v->def) ? v->def->input[0] : step_over_bias(h, v->def);
        if (!v || v->id >= f->value_limit || f->uses[v->id] != 1) // made since, or read elsewhere
            return false;
    }
    h->product = v->def;
    return read_product(h);
}

// dbias: dlogits [rows, classes] summed over all rows
static bool is_dbias(const Node *n) {
    int count = 0;
    const int64_t *axes = n->op == OP_REDUCE_SUM ? node_ints(n, "axes", &count) : NULL;
    const int last = n->input[0]->type.rank - 1;
    if (!axes || count == 0 || count != last)
        return false;
    for (int i = 0; i < count; i++)
        if (axes[i] == last)
            return false;
    return true;
}

// dx and dw read the same gradient, but for the shape of its rows.
static bool same_dlogits(Head *h, const Value *v) {
    if (!h->dlogits)
        h->dlogits = v;
    return h->dlogits->type.dtype == v->type.dtype;
}

// More casts and reshapes in a row than simplification leaves.
enum { CHAIN_MAX = 8 };

// The gradients that read v, a gradient of the logits, straight or through casts and reshapes of
// rows. False where anything else reads it.
// Each kind of gradient is taken once: a second of its kind is a reader too many.
static bool find_readers(const HeadFinder *f, Head *h, const Value *v, int depth) {
    const Users *users = &f->users[v->id];
    if (f->uses[v->id] != users->count || depth > CHAIN_MAX)
        return false;
    for (int i = 0; i < users->count; i++) {
        Node *n = users->node[i];
        if (!h->dbias && is_dbias(n))
            h->dbias = n;
        else if (!h->dx && is_dx(h, n) && same_dlogits(h, v))
            h->dx = n;
        else if (!h->dw && is_dw(h, n) && same_dlogits(h, v))
            h->dw = n;
        else if (!keeps_rows(n) || !find_readers(f, h, &n->result[0], depth + 1))
            return false;
    }
    return true;
}

// The gradients of the head, down from cross_entropy_grad.
static bool find_gradients(const HeadFinder *f, Head *h) {
    if (!find_readers(f, h, &h->grad->result[0], 0))
        return false;
    if (h->dw && h->dw->op == OP_EINSUM_ADD)
        h->dw_base = h->dw->input[0];
    return true;
}

// The logits are read by the head alone, the log-sum-exp by its gradient alone.
static bool find_grad(const HeadFinder *f, Head *h) {
    const Value *logits = h->entropy->input[0], *lse = &h->entropy->result[1];
    const Users *users = &f->users[logits->id];
    if (f->uses[logits->id] != users->count || users->count > 2)
        return false;
    for (int i = 0; i < users->count; i++)
        if (users->node[i] != h->entropy)
            h->grad = users->node[i];
    if (!h->grad)
        return f->uses[lse->id] == 0;
    return h->grad->op == OP_CROSS_ENTROPY_GRAD && h->grad->input[0] == logits &&
           h->grad->input[1] == h->entropy->input[1] && h->grad->input[2] == lse &&
           f->uses[lse->id] == 1;
}

// Nothing the chunks read comes after the loss: dloss, and what dw is added to.
static bool is_independent(const HeadFinder *f, const Head *h) {
    // By value id; values made since the walk began stand for nodes of before and are not looked
    // at.
    bool *after = arena_array(f->scratch, bool, f->value_limit);
    after[h->entropy->result[0].id] = true;
    after[h->grad->result[0].id] = true;
    for (int i = 0; i < f->node_count; i++) {
        const Node *n = f->node[i];
        bool reached = false;
        for (int k = 0; k < n->input_count; k++)
            reached = reached || (n->input[k]->id < f->value_limit && after[n->input[k]->id]);
        for (int k = 0; reached && k < n->result_count; k++)
            after[n->result[k].id] = true;
    }
    const Value *dloss = h->grad->input[3];
    return !after[dloss->id] && !(h->dw_base && after[h->dw_base->id]);
}

bool head_find(const HeadFinder *f, Node *entropy, Head *out) {
    *out = (Head){.entropy = entropy};
    if (!find_product(f, out) || !find_grad(f, out))
        return false;
    return !out->grad || (find_gradients(f, out) && is_independent(f, out));
}

// r: rows, v: classes, a, b, ...: inner axes
void head_spec(const Head *h, HeadProduct product, char spec[HEAD_SPEC_MAX]) {
    char x[RANK_MAX + 2] = "r", w[RANK_MAX + 2] = "";
    CHECK(h->inner_rank >= 0 && h->inner_rank < RANK_MAX);
    for (int i = 0; i < h->inner_rank; i++)
        x[1 + i] = (char)('a' + i);
    for (int i = 0; i <= h->inner_rank; i++)
        w[i] = h->w_axis[i] < 0 ? 'v' : (char)('a' + h->w_axis[i]);
    const char *const part[3][3] = {{x, w, "rv"}, {"rv", w, x}, {"rv", x, w}};
    char *at = spec;
    for (int i = 0; i < 3; i++) {
        const size_t length = strlen(part[product][i]);
        memcpy(at, part[product][i], length);
        at += length;
        const char *const joint[3] = {",", "->", ""};
        memcpy(at, joint[i], strlen(joint[i]) + 1);
        at += strlen(joint[i]);
    }
}
