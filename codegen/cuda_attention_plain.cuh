// Attention without tensor cores: f32, dims that those take badly, GPUs that have none for bf16.
// Also the sums that all gradients begin with. Needs cuda_attention.cuh.
//
// A block of 128 threads owns 32 rows of one head, queries or keys, and up to 128 columns of their
// result, and walks over the other operand 32 rows at a time; four neighbouring threads share a
// row. Wider results are several blocks that make the same scores: any dims fit. All sums are f32
// chains in order. Cost: shared memory is read once for each multiplication; meant to be right, not
// fast.
namespace attention {

enum {
    PLAIN_ROWS = 32,
    PLAIN_COLUMNS = 128,
    PLAIN_THREADS = 128,
    PLAIN_DEPTH = 32,
    PLAIN_STEP = 33
};
enum {
    PLAIN_EACH = PLAIN_ROWS / 4,
    PLAIN_SUMS = PLAIN_COLUMNS / 4
}; // scores, and results, of a thread

// Rows of a head as one operand of a product.
template <class E> struct Rows {
    const E *head;
    long long stride;
    int first, from, to; // rows outside [from, to) count as 0
};

// Shared memory: scores [32, 33] that threads exchange; above them two operands of a product, or
// one of 128 columns.
PLIM_DEVICE float *plain_operands() {
    return (float *)plim_shared() + PLAIN_ROWS * PLAIN_STEP;
}

// `columns` columns from `column` on of 32 rows, to shared memory; 0 from `dim` on.
template <class E>
PLIM_DEVICE void plain_load(float *to, int step, int columns, const Rows<E> &rows, int column,
                            int dim) {
    for (int i = (int)threadIdx.x; i < PLAIN_ROWS * columns; i += PLAIN_THREADS) {
        const int row = i / columns, c = i % columns, position = rows.first + row;
        const bool there = position >= rows.from && position < rows.to && column + c < dim;
        to[row * step + c] = there ? widen(rows.head[position * rows.stride + column + c]) : 0;
    }
}

// out[c]: row threadIdx / 4 of a times row threadIdx % 4 + 4 c of b.
template <class E>
PLIM_DEVICE void plain_products(float (&out)[PLAIN_EACH], const Rows<E> &a, const Rows<E> &b,
                                int dim) {
    const int row = (int)threadIdx.x / 4, column = (int)threadIdx.x % 4;
    float *left = plain_operands(), *right = left + PLAIN_ROWS * PLAIN_STEP;
    for (int c = 0; c < PLAIN_EACH; c++)
        out[c] = 0;
    for (int d = 0; d < dim; d += PLAIN_DEPTH) {
        __syncthreads();
        plain_load(left, PLAIN_STEP, PLAIN_DEPTH, a, d, dim);
        plain_load(right, PLAIN_STEP, PLAIN_DEPTH, b, d, dim);
        __syncthreads();
        for (int e = 0; e < PLAIN_DEPTH; e++)
#pragma unroll
            for (int c = 0; c < PLAIN_EACH; c++)
                out[c] = plim_fma(left[row * PLAIN_STEP + e],
                                  right[(column + 4 * c) * PLAIN_STEP + e], out[c]);
    }
}

// sum[c] += row threadIdx / 4 of the weights, each thread giving its eight, times columns column +
// threadIdx % 4 + 4 c of x.
template <class E>
PLIM_DEVICE void plain_weigh(float (&sum)[PLAIN_SUMS], const float (&weight)[PLAIN_EACH],
                             const Rows<E> &x, int column, int dim) {
    const int row = (int)threadIdx.x / 4, part = (int)threadIdx.x % 4;
    float *shared = (float *)plim_shared(), *operand = plain_operands();
    __syncthreads();
    for (int c = 0; c < PLAIN_EACH; c++)
        shared[row * PLAIN_STEP + part + 4 * c] = weight[c];
    plain_load(operand, PLAIN_COLUMNS, PLAIN_COLUMNS, x, column, dim);
    __syncthreads();
    for (int j = 0; j < PLAIN_ROWS; j++) {
        const float w = shared[row * PLAIN_STEP + j];
#pragma unroll
        for (int c = 0; c < PLAIN_SUMS; c++)
            sum[c] = plim_fma(w, operand[j * PLAIN_COLUMNS + part + 4 * c], sum[c]);
    }
}

template <class E>
PLIM_DEVICE void plain_store(E *to, const float (&sum)[PLAIN_SUMS], float factor, int column,
                             int dim) {
    for (int c = 0; c < PLAIN_SUMS; c++) {
        const int at = column + (int)threadIdx.x % 4 + 4 * c;
        if (at < dim)
            narrow(sum[c] * factor, to + at);
    }
}

// The score, or minus infinity.
template <class S>
PLIM_DEVICE float plain_score(float product, const int *table, float slope, const Pairs<S> &pairs,
                              int query, int key, int shift) {
    if (!sees<S>(query, key, shift) || !lists<S>(table, query, key, shift) ||
        !pairs.shows(query, key))
        return minus_infinity();
    return score_of<S>(product, slope, (float)(key - query - shift), pairs.added(query, key));
}

// The probability of a score and, where a gradient is asked for, that of the score.
struct PlainPair {
    float p, dscore;
};

// Of a query's product with a key, and of its dout with the key's values; 0 where it does not see
// it. lse, delta: of the head's queries.
template <class S>
PLIM_DEVICE PlainPair plain_pair(float product, float dp, const int *table, float slope,
                                 const Pairs<S> &pairs, const float *lse, const float *delta,
                                 int query, int key, int shift) {
    if (query >= S::queries)
        return {0, 0};
    const float score = plain_score<S>(product, table, slope, pairs, query, key, shift);
    if (score == minus_infinity())
        return {0, 0};
    const float p = plim_exp2(plim_fma(score, factor_of<S>(), -lse[query] * LOG2_E));
    return {p, p * (dp - delta[query])};
}

template <class S, class E>
PLIM_DEVICE void plain_forward(const E *q, const E *k, const E *v, E *out, float *lse,
                               const Beside &beside) {
    constexpr int TILES = (S::queries + PLAIN_ROWS - 1) / PLAIN_ROWS;
    constexpr int PARTS = (S::dim_v + PLAIN_COLUMNS - 1) / PLAIN_COLUMNS;
    constexpr float c = factor_of<S>();
    const int column = (int)blockIdx.x % PARTS * PLAIN_COLUMNS, block = (int)blockIdx.x / PARTS;
    const int head = block / TILES, first = (TILES - 1 - block % TILES) * PLAIN_ROWS;
    const int b = head / S::heads, h = head % S::heads, g = h / (S::heads / S::groups);
    const int shift = shift_of<S>(beside.extra), query = first + (int)threadIdx.x / 4;
    int from = keys_from<S>(first, shift);
    int to = keys_to<S>(smaller(first + PLAIN_ROWS, S::queries) - 1, shift);
    const int *table = table_of<S>(beside.extra, b);
    const float slope = slope_of<S>(beside.slopes, h);
    Pairs<S> pairs;
    pairs.begin(beside, b, h);
    narrow_walk<S, PLAIN_THREADS, true>(table, first, PLAIN_ROWS, shift, from, to);
    const Rows<E> own = {q + b * S::q_batch + h * S::q_head, S::q_position, first, 0, S::queries};
    Rows<E> keys = {k + b * S::k_batch + g * S::k_head, S::k_position, 0, from, to};
    Rows<E> values = {v + b * S::v_batch + g * S::v_head, S::v_position, 0, from, to};
    float most = minus_infinity(), total = 0, sum[PLAIN_SUMS] = {0};
    for (int key = from; key < to; key += PLAIN_ROWS) {
        keys.first = values.first = key;
        float score[PLAIN_EACH];
        plain_products(score, own, keys, S::dim_qk);
        const float before = most;
        for (int i = 0; i < PLAIN_EACH; i++) {
            score[i] = plain_score<S>(score[i], table, slope, pairs, query,
                                      key + (int)threadIdx.x % 4 + 4 * i, shift);
            most = plim_fmax(most, score[i]);
        }
        most = plim_fmax(most, plim_shfl_xor(most, 1));
        most = plim_fmax(most, plim_shfl_xor(most, 2));
        const float base = most == minus_infinity() ? 0 : most * c;
        const float shrink = plim_exp2(plim_fma(before, c, -base));
        total *= shrink;
        for (int i = 0; i < PLAIN_EACH; i++) {
            score[i] = plim_exp2(plim_fma(score[i], c, -base));
            total += score[i];
        }
        for (int i = 0; i < PLAIN_SUMS; i++)
            sum[i] *= shrink;
        plain_weigh(sum, score, values, column, S::dim_v);
    }
    total += plim_shfl_xor(total, 1);
    total += plim_shfl_xor(total, 2);
    if (query >= S::queries)
        return;
    plain_store(out + b * S::out_batch + h * S::out_head + query * S::out_position, sum,
                total == 0 ? 0 : 1 / total, column, S::dim_v);
    if (column == 0 && threadIdx.x % 4 == 0)
        lse[(long long)head * S::queries + query] =
            total == 0 ? minus_infinity() : plim_fma(most, c, plim_log2(total)) * LN_2;
}

// The sum of dout * out over a query's dims, by eight threads: query `row % positions` of head `row
// / positions`. 0 where there is none.
enum { DELTA_LANES = 8, DELTA_THREADS = 128 };
template <class S, class E>
PLIM_DEVICE float delta_of(const E *out, const E *dout, long long row, int positions) {
    const int lane = (int)threadIdx.x % DELTA_LANES, i = (int)(row % positions);
    const int h = (int)(row / positions % S::heads);
    const long long b = row / positions / S::heads;
    float sum = 0;
    if (b < S::batch && i < S::queries) {
        const E *x = out + b * S::out_batch + h * S::out_head + i * S::out_position;
        const E *y = dout + b * S::dout_batch + h * S::dout_head + i * S::dout_position;
        // Eight neighbouring elements a thread: 16 bytes of bf16.
        for (int d = lane * 8; d < S::dim_v; d += DELTA_LANES * 8)
#pragma unroll
            for (int e = 0; e < 8; e++)
                if (S::dim_v % 8 == 0 || d + e < S::dim_v)
                    sum = plim_fma(widen(x[d + e]), widen(y[d + e]), sum);
    }
    for (int apart = 1; apart < DELTA_LANES; apart *= 2)
        sum += plim_shfl_xor(sum, apart);
    return sum;
}

// The row whose sum a thread has a part in.
PLIM_DEVICE long long delta_row() {
    constexpr int ROWS = DELTA_THREADS / DELTA_LANES;
    return (long long)blockIdx.x * ROWS + threadIdx.x / DELTA_LANES;
}

// delta [b, h, s].
template <class S, class E> PLIM_DEVICE void delta(const E *out, const E *dout, float *result) {
    const long long row = delta_row();
    const float sum = delta_of<S>(out, dout, row, S::queries);
    if (row < (long long)S::batch * S::heads * S::queries && threadIdx.x % DELTA_LANES == 0)
        result[row] = sum;
}

template <class E> struct PlainOperands {
    const E *q, *k, *v, *dout;
    const float *lse, *delta;
    Beside beside;
};

// PART_DQ: a block owns queries; PART_DK and PART_DV: keys. to: that gradient.
template <class S, int PART, class E>
PLIM_DEVICE void plain_gradient(const PlainOperands<E> &o, E *to, long long to_batch,
                                long long to_head, long long to_position) {
    constexpr bool QUERIES_STAY = PART == PART_DQ;
    constexpr int OWNED = QUERIES_STAY ? S::queries : S::keys,
                  TILES = (OWNED + PLAIN_ROWS - 1) / PLAIN_ROWS;
    constexpr int SHARING = S::heads / S::groups, HEADS = QUERIES_STAY ? S::heads : S::groups;
    constexpr int DIM = PART == PART_DV ? S::dim_v : S::dim_qk;
    constexpr int PARTS = (DIM + PLAIN_COLUMNS - 1) / PLAIN_COLUMNS;
    const int column = (int)blockIdx.x % PARTS * PLAIN_COLUMNS, block = (int)blockIdx.x / PARTS;
    const int owner = block / TILES, first = block % TILES * PLAIN_ROWS;
    const int b = owner / HEADS, g = QUERIES_STAY ? owner % HEADS / SHARING : owner % HEADS;
    const int last = smaller(first + PLAIN_ROWS, OWNED) - 1, shift = shift_of<S>(nullptr);
    int from = QUERIES_STAY ? keys_from<S>(first, shift) : queries_from<S>(first, shift);
    int until = QUERIES_STAY ? keys_to<S>(last, shift) : queries_to<S>(last, shift);
    const int *table = table_of<S>(o.beside.extra, b);
    narrow_walk<S, PLAIN_THREADS, QUERIES_STAY>(table, first, PLAIN_ROWS, shift, from, until);
    const int row = (int)threadIdx.x / 4, part = (int)threadIdx.x % 4;
    float sum[PLAIN_SUMS] = {0};
    for (int shared = 0; shared < (QUERIES_STAY ? 1 : SHARING); shared++) {
        const int h = QUERIES_STAY ? owner % HEADS : g * SHARING + shared;
        const long long values = (long long)(b * S::heads + h) * S::queries;
        const float slope = slope_of<S>(o.beside.slopes, h);
        Pairs<S> pairs;
        pairs.begin(o.beside, b, h);
        Rows<E> q = {o.q + b * S::q_batch + h * S::q_head, S::q_position, 0, 0, S::queries};
        Rows<E> dout = {o.dout + b * S::dout_batch + h * S::dout_head, S::dout_position, 0, 0,
                        S::queries};
        Rows<E> k = {o.k + b * S::k_batch + g * S::k_head, S::k_position, 0, 0, S::keys};
        Rows<E> v = {o.v + b * S::v_batch + g * S::v_head, S::v_position, 0, 0, S::keys};
        for (int at = from; at < until; at += PLAIN_ROWS) {
            const int query = QUERIES_STAY ? first : at, key = QUERIES_STAY ? at : first;
            q.first = dout.first = query;
            k.first = v.first = key;
            float p[PLAIN_EACH], dp[PLAIN_EACH] = {0};
            plain_products(p, QUERIES_STAY ? q : k, QUERIES_STAY ? k : q, S::dim_qk);
            if constexpr (PART != PART_DV)
                plain_products(dp, QUERIES_STAY ? dout : v, QUERIES_STAY ? v : dout, S::dim_v);
            for (int c = 0; c < PLAIN_EACH; c++) {
                const int i = query + (QUERIES_STAY ? row : part + 4 * c);
                const int j = key + (QUERIES_STAY ? part + 4 * c : row);
                const float whole = bounded<S>(p[c]);
                const PlainPair pair = plain_pair<S>(p[c], dp[c], table, slope, pairs,
                                                     o.lse + values, o.delta + values, i, j, shift);
                p[c] = PART == PART_DV ? pair.p : pair.dscore;
                if constexpr (PART != PART_DV && S::cap > 0)
                    p[c] *= plim_fma(-whole, whole, 1.0f);
            }
            plain_weigh(sum, p, PART == PART_DQ ? k : PART == PART_DK ? q : dout, column, DIM);
        }
    }
    constexpr float scale = PART == PART_DV ? 1 : S::sign == 0 ? 0 : S::sign * S::scale;
    if (first + row < OWNED)
        plain_store(to + b * to_batch + owner % HEADS * to_head + (first + row) * to_position, sum,
                    scale, column, DIM);
}

} // namespace attention
