// Projection and cross entropy in row chunks, so that the logits are never held.
//
//   logits = einsum(x, w) + bias              for each chunk of rows:
//   loss, lse = cross_entropy(logits, t)        logits, loss, lse of these rows
//   ...                                =>       dlogits of these rows, in place
//   dlogits = cross_entropy_grad(...)           dx = einsum(dlogits, w), a part of the whole dx
//   dx = einsum(dlogits, w)                     dw = einsum(dlogits, x), added to the chunk's
//   dw = einsum(dlogits, x)                       before
//   dbias = sum of dlogits over rows            dbias = sum of dlogits, added likewise
//
// The logits of a language model are its largest activation by far (rows x vocabulary), are read
// twice and then gone. The gradient of each row's loss does not depend on the loss, so each chunk's
// backward can follow its forward at once. Entries without gradients are chunked too.
//
// A head is chunked when nobody else reads its logits, its log-sum-exp or the gradient of its
// logits, and its dloss does not depend on the loss. Rows are all dims but the classes. dw and
// dbias are summed in chunk order, which may round otherwise than one sum. Cost: O(nodes), and
// O(nodes) for each head chunked.
#include "passes/head.h"

#include "ir/check.h"

// A chunk's logits stay in a CPU's cache. A GPU has none that large: there a chunk is long enough
// that reading and adding to dw, once a chunk, is little beside its products.
enum {
    CHUNK_ROWS_MIN = 256,
    CHUNKS_MAX = 256,
    CHUNK_BYTES = 16 << 20,
    GPU_CHUNK_BYTES = 512 << 20
};

typedef struct {
    PassCtx *cx;
    Graph *g;
    Rewrite rw;
    const Users *users;
    const int *uses;
} Chunker;

static uint64_t chunk_bytes(const PassOptions *options) {
    if (options && options->chunk_bytes)
        return options->chunk_bytes;
    return options && options->gpu.count > 0 ? GPU_CHUNK_BYTES : CHUNK_BYTES;
}

// Rows of a chunk: a divisor of rows near the wanted number where there is one. rows: don't chunk.
static int64_t chunk_rows(int64_t rows, int64_t classes, uint64_t bytes) {
    int64_t wanted = (int64_t)bytes / (4 * classes);
    wanted = wanted < CHUNK_ROWS_MIN ? CHUNK_ROWS_MIN : wanted;
    const int64_t fewest = (rows + CHUNKS_MAX - 1) / CHUNKS_MAX;
    wanted = wanted < fewest ? fewest : wanted;
    if (rows < 2 * wanted)
        return rows;
    for (int64_t size = wanted; size < 2 * wanted; size++)
        if (rows % size == 0)
            return size;
    return wanted;
}

// The chunk's version of each of the head's values.
typedef struct {
    Value *x, *target, *dloss; // with all rows, rows flattened
    Value *w, *bias;
    Value *dw, *dbias;  // summed so far
    Value **loss, **dx; // by chunk
} Chunks;

static Value *flat_rows(Builder *b, Value *v, int64_t rows, int row_rank) {
    int64_t dim[RANK_MAX] = {rows};
    const int kept = v->type.rank - row_rank;
    for (int i = 0; i < kept; i++)
        dim[1 + i] = v->type.dim[row_rank + i];
    return build_reshape(b, v, 1 + kept, dim);
}

// This chunk's share of dw, added to those before.
static void add_dw(Chunker *c, const Head *h, Chunks *parts, Value *dlogits, Value *x) {
    Builder b = rewrite_builder(c->g, h->dw);
    char spec[HEAD_SPEC_MAX];
    head_spec(h, HEAD_DW, spec);
    if (!parts->dw) {
        parts->dw = build_einsum(&b, dlogits, x, spec);
        return;
    }
    Value *sum[3] = {parts->dw, dlogits, x};
    const Attr attr = attr_text("spec", spec);
    parts->dw = build_op(&b, OP_EINSUM_ADD, sum, 3, &attr, 1);
}

static void add_dbias(Chunker *c, const Head *h, Chunks *parts, Value *dlogits) {
    Builder b = rewrite_builder(c->g, h->dbias);
    dlogits = build_cast(&b, dlogits, h->dbias->input[0]->type.dtype);
    Value *sum = build_reduce_sum(&b, dlogits, (const int[]){0}, 1);
    parts->dbias = parts->dbias ? build_binary(&b, OP_ADD, parts->dbias, sum) : sum;
}

static void chunk_backward(Chunker *c, const Head *h, Chunks *parts, int i, const int64_t range[2],
                           Value *const forward[3]) {
    // logits, log-sum-exp and the rows of x, as the forward of this chunk left them
    Builder b = rewrite_builder(c->g, h->grad);
    Value *in[4] = {forward[0], build_slice(&b, parts->target, 0, range[0], range[1]), forward[1],
                    build_slice(&b, parts->dloss, 0, range[0], range[1])};
    Value *gradient = build_op(&b, OP_CROSS_ENTROPY_GRAD, in, 4, NULL, 0);
    if (h->dbias)
        add_dbias(c, h, parts, gradient);
    if (!h->dlogits)
        return;
    Value *dlogits = build_cast(&b, gradient, h->dlogits->type.dtype);
    if (h->dx) {
        b.origin = node_origin(h->dx);
        char spec[HEAD_SPEC_MAX];
        head_spec(h, HEAD_DX, spec);
        parts->dx[i] = build_einsum(&b, dlogits, parts->w, spec);
    }
    if (h->dw)
        add_dw(c, h, parts, dlogits, forward[2]);
}

static void chunk_one(Chunker *c, const Head *h, Chunks *parts, int i, const int64_t range[2]) {
    Builder b = rewrite_builder(c->g, h->product);
    Value *x = build_slice(&b, parts->x, 0, range[0], range[1]);
    char spec[HEAD_SPEC_MAX];
    head_spec(h, HEAD_LOGITS, spec);
    Value *logits = build_einsum(&b, x, parts->w, spec);
    if (parts->bias) {
        logits = build_cast(&b, logits, h->sum);
        logits = build_binary(&b, OP_ADD, logits, build_broadcast_like(&b, parts->bias, logits));
    }
    logits = build_cast(&b, logits, h->entropy->input[0]->type.dtype);
    b.origin = node_origin(h->entropy);
    Value *in[2] = {logits, build_slice(&b, parts->target, 0, range[0], range[1])};
    const Node *entropy = build_node(&b, OP_CROSS_ENTROPY, in, 2, NULL, 0);
    parts->loss[i] = &entropy->result[0];
    if (h->grad)
        chunk_backward(c, h, parts, i, range, (Value *[3]){logits, &entropy->result[1], x});
}

// A result of all chunks in the shape of what it stands for.
static void replace_by_parts(Chunker *c, const Node *n, Value *const *part, int count) {
    Builder b = rewrite_builder(c->g, n);
    const Type *t = &n->result[0].type;
    Value *whole = build_concat(&b, part, count, 0);
    rewrite_replace(&c->rw, &n->result[0], build_reshape(&b, whole, t->rank, t->dim));
}

static void remark_head(Chunker *c, const Head *h, int count, int64_t size) {
    const char *scope = h->product->scope;
    const char *subject =
        scope && *scope ? arena_format(c->cx->scratch, "%s.%s", c->g->name, scope) : c->g->name;
    const Value *logits = h->entropy->input[0];
    const int64_t row_bytes = h->classes * (int64_t)dtype_bytes(logits->type.dtype);
    remark_add(c->cx, "chunk", subject,
               "logits of %lld rows x %lld classes in %d chunks of %lld rows: %lld bytes are never "
               "held",
               (long long)h->rows, (long long)h->classes, count, (long long)size,
               (long long)((h->rows - size) * row_bytes));
}

static void chunk_head(Chunker *c, const Head *h, int64_t size) {
    const int count = (int)((h->rows + size - 1) / size);
    Chunks parts = {.loss = arena_array(c->cx->scratch, Value *, count),
                    .dx = arena_array(c->cx->scratch, Value *, count),
                    .w = rewrite_resolve(&c->rw, h->w),
                    .bias = h->bias ? rewrite_resolve(&c->rw, h->bias) : NULL};
    Builder b = rewrite_builder(c->g, h->product);
    parts.x = flat_rows(&b, rewrite_resolve(&c->rw, h->x), h->rows, h->row_rank);
    Value *target = rewrite_resolve(&c->rw, h->entropy->input[1]);
    parts.target = build_reshape(&b, target, 1, &h->rows);
    if (h->grad) {
        b = rewrite_builder(c->g, h->grad);
        Value *dloss = rewrite_resolve(&c->rw, h->grad->input[3]);
        parts.dloss = build_reshape(&b, dloss, 1, &h->rows);
        parts.dw = h->dw_base ? rewrite_resolve(&c->rw, h->dw_base) : NULL;
    }
    for (int i = 0; i < count; i++) {
        const int64_t start = i * size;
        const int64_t stop = start + size < h->rows ? start + size : h->rows;
        chunk_one(c, h, &parts, i, (const int64_t[2]){start, stop});
    }
    replace_by_parts(c, h->entropy, parts.loss, count);
    if (h->dx)
        replace_by_parts(c, h->dx, parts.dx, count);
    if (h->dw)
        rewrite_replace(&c->rw, &h->dw->result[0], parts.dw);
    if (h->dbias)
        rewrite_replace(&c->rw, &h->dbias->result[0], parts.dbias);
    remark_head(c, h, count, size);
}

static bool is_replaced(const Rewrite *rw, const Node *n) {
    for (int i = 0; i < n->result_count; i++)
        if (rewrite_resolve(rw, &n->result[i]) != &n->result[i])
            return true;
    return false;
}

static PassResult chunk_graph(Graph *g, PassCtx *cx) {
    Chunker c = {.cx = cx, .g = g};
    bool any = false;
    for (int i = 0; i < g->node_count; i++)
        any = any || g->node[i]->op == OP_CROSS_ENTROPY;
    if (!any)
        return PASS_SAME;
    PassResult result = PASS_SAME;
    const HeadFinder finder = {.g = g,
                               .users = graph_users(g, cx->scratch),
                               .uses = graph_use_counts(g, cx->scratch),
                               .node = g->node,
                               .node_count = g->node_count,
                               .value_limit = g->value_limit,
                               .scratch = cx->scratch};
    rewrite_begin(&c.rw, g, cx->scratch);
    for (int i = 0; i < c.rw.old_count; i++) {
        Node *n = c.rw.old[i];
        Head head;
        if (is_replaced(&c.rw, n))
            continue;
        rewrite_keep(&c.rw, n);
        if (n->op != OP_CROSS_ENTROPY || !head_find(&finder, n, &head))
            continue;
        const int64_t size = chunk_rows(head.rows, head.classes, chunk_bytes(cx->options));
        if (size == head.rows || !rewrite_allowed(cx))
            continue;
        chunk_head(&c, &head, size);
        result = PASS_CHANGED;
    }
    rewrite_end(&c.rw);
    graph_drop_dead(g);
    graph_sort(g); // a chunk's backward stands before what makes dloss
    return result;
}

PassResult pass_chunk(Module *m, PassCtx *cx) {
    return pass_each_entry(m, cx, chunk_graph);
}
