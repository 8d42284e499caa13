// The gradient of attention's bias: that of the scores, p (dp - delta), summed where they share the
// bias. Needs cuda_attention_grad.cuh and cuda_attention_plain.cuh.
//
// Nothing is added from several blocks: a block owns ROWS x COLUMNS numbers of the bias's own axes,
// queries by keys, keeps a sum of each pair's place in them, and walks over the axes that it is
// broadcast along, batch rows, heads, queries, keys, in this order; sums that belong together are
// added in order at the end. Scores are made again. Few owners, as of one number a head, leave
// multiprocessors idle; right, not fast.
//
// S also tells the gradient's strides: dbias_batch, dbias_head, dbias_query, dbias_key; 0: shared.
namespace attention {

template <class E> struct BiasOperands {
    const E *q, *k, *v, *dout;
    const float *lse, *delta; // [b, h, s]
    Beside beside;
};

// What a block owns, or all of an axis: [from, to) of batch rows and heads, and of blocks of ROWS
// queries and COLUMNS keys.
template <class S, int ROWS, int COLUMNS> struct BiasOwner {
    int batch, batch_to, head, head_to, queries, queries_to, keys, keys_to;

    __device__ __forceinline__ BiasOwner() {
        int left = (int)blockIdx.x;
        take<(S::dbias_key > 0)>(left, (S::keys + COLUMNS - 1) / COLUMNS, keys, keys_to);
        take<(S::dbias_query > 0)>(left, (S::queries + ROWS - 1) / ROWS, queries, queries_to);
        take<(S::dbias_head > 0)>(left, S::heads, head, head_to);
        take<(S::dbias_batch > 0)>(left, S::batch, batch, batch_to);
    }

    template <bool OWNED> PLIM_METHOD static void take(int &left, int count, int &from, int &to) {
        from = OWNED ? left % count : 0;
        to = OWNED ? from + 1 : count;
        left = OWNED ? left / count : left;
    }

    // Sums of pairs, rows of STEP floats in shared memory, to where they belong.
    template <int STEP, int THREADS> PLIM_METHOD void store(const float *sum, void *dbias) const {
        constexpr bool BY_QUERY = S::dbias_query > 0, BY_KEY = S::dbias_key > 0;
        constexpr int OUT_ROWS = BY_QUERY ? ROWS : 1, OUT_COLUMNS = BY_KEY ? COLUMNS : 1;
        typename S::Bias *to = (typename S::Bias *)dbias +
                               (S::dbias_batch > 0 ? batch : 0) * S::dbias_batch +
                               (S::dbias_head > 0 ? head : 0) * S::dbias_head;
        for (int i = (int)threadIdx.x; i < OUT_ROWS * OUT_COLUMNS; i += THREADS) {
            const int row = i / OUT_COLUMNS, column = i % OUT_COLUMNS;
            const int query = queries * ROWS + row, key = keys * COLUMNS + column;
            if (query >= S::queries || key >= S::keys)
                continue;
            float total = 0;
            for (int r = row; r < (BY_QUERY ? row + 1 : ROWS); r++)
                for (int c = column; c < (BY_KEY ? column + 1 : COLUMNS); c++)
                    total += sum[r * STEP + c];
            narrow(total, &to[query * S::dbias_query + key * S::dbias_key]);
        }
    }
};

// Whether some of the queries from `query` on may see some of the keys from `key` on.
template <class S> PLIM_DEVICE bool may_see(int query, int queries, int key, int keys, int shift) {
    return key < keys_to<S>(smaller(query + queries, S::queries) - 1, shift) &&
           key + keys > keys_from<S>(query, shift);
}

// Without tensor cores.
template <class S, class E>
PLIM_DEVICE void plain_bias_gradient(const BiasOperands<E> &o, void *dbias) {
    const BiasOwner<S, PLAIN_ROWS, PLAIN_ROWS> own;
    const int row = (int)threadIdx.x / 4, part = (int)threadIdx.x % 4, shift = shift_of<S>(nullptr);
    float sum[PLAIN_EACH] = {0};
    for (int b = own.batch; b < own.batch_to; b++)
        for (int h = own.head; h < own.head_to; h++) {
            const int g = h / (S::heads / S::groups);
            const long long values = (long long)(b * S::heads + h) * S::queries;
            const int *table = table_of<S>(o.beside.extra, b);
            const float slope = slope_of<S>(o.beside.slopes, h);
            Pairs<S> pairs;
            pairs.begin(o.beside, b, h);
            Rows<E> q = {o.q + b * S::q_batch + h * S::q_head, S::q_position, 0, 0, S::queries};
            Rows<E> dout = {o.dout + b * S::dout_batch + h * S::dout_head, S::dout_position, 0, 0,
                            S::queries};
            Rows<E> k = {o.k + b * S::k_batch + g * S::k_head, S::k_position, 0, 0, S::keys};
            Rows<E> v = {o.v + b * S::v_batch + g * S::v_head, S::v_position, 0, 0, S::keys};
            for (int at = own.queries; at < own.queries_to; at++)
                for (int to = own.keys; to < own.keys_to; to++) {
                    q.first = dout.first = at * PLAIN_ROWS;
                    k.first = v.first = to * PLAIN_ROWS;
                    if (!may_see<S>(q.first, PLAIN_ROWS, k.first, PLAIN_ROWS, shift))
                        continue;
                    float p[PLAIN_EACH], dp[PLAIN_EACH];
                    plain_products(p, q, k, S::dim_qk);
                    plain_products(dp, dout, v, S::dim_v);
                    for (int c = 0; c < PLAIN_EACH; c++)
                        sum[c] += plain_pair<S>(p[c], dp[c], table, slope, pairs, o.lse + values,
                                                o.delta + values, q.first + row,
                                                k.first + part + 4 * c, shift)
                                      .dscore;
                }
        }
    float *shared = (float *)plim_shared();
    __syncthreads();
    for (int c = 0; c < PLAIN_EACH; c++)
        shared[row * PLAIN_STEP + part + 4 * c] = sum[c];
    __syncthreads();
    own.template store<PLAIN_STEP, PLAIN_THREADS>(shared, dbias);
}

// By mma.sync. Queries of a block stay in shared memory while it walks over its keys; other blocks
// of the multiprocessor compute while one's tiles are copied.
template <class S, int WARPS, int TILE> struct BiasGradient {
    static constexpr int ROWS = WARPS * 16, THREADS = WARPS * 32;
    static constexpr int QK = S::width_qk, V = S::width_v;

    const BiasOperands<Bf16> &o;
    BiasOwner<S, ROWS, TILE> own;
    int shift;
    unsigned q_tile, dout_tile, k_tile, v_tile;
    float sum[TILE / 8][4];

    __device__ __forceinline__ BiasGradient(const BiasOperands<Bf16> &operands) : o(operands) {
        shift = shift_of<S>(nullptr);
        q_tile = plim_shared_address();
        dout_tile = q_tile + ROWS * QK * 2;
        k_tile = dout_tile + ROWS * V * 2;
        v_tile = k_tile + TILE * QK * 2;
#pragma unroll
        for (int n = 0; n < TILE / 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                sum[n][e] = 0;
    }

    __device__ __forceinline__ void load_queries(int b, int h, int query) const {
        load_tile<ROWS, QK, S::dim_qk, S::wide_q, THREADS>(
            q_tile, o.q + b * S::q_batch + h * S::q_head, S::q_position, query, 0, S::queries);
        load_tile<ROWS, V, S::dim_v, S::wide_dout, THREADS>(
            dout_tile, o.dout + b * S::dout_batch + h * S::dout_head, S::dout_position, query, 0,
            S::queries);
    }

    __device__ __forceinline__ void load_keys(int b, int g, int key) const {
        load_tile<TILE, QK, S::dim_qk, S::wide_k, THREADS>(
            k_tile, o.k + b * S::k_batch + g * S::k_head, S::k_position, key, 0, S::keys);
        load_tile<TILE, V, S::dim_v, S::wide_v, THREADS>(
            v_tile, o.v + b * S::v_batch + g * S::v_head, S::v_position, key, 0, S::keys);
    }

    // Adds a tile of pairs that has been copied.
    __device__ __forceinline__ void add(int b, int h, int row, int key) {
        const int warp = (int)threadIdx.x / 32;
        const Listed<S, 1> listed = {table_of<S>(o.beside.extra, b), row, shift};
        const QueryValues values = query_values<S>(o.lse, o.delta, b * S::heads + h, row);
        Tilt<S> tilt = {slope_of<S>(o.beside.slopes, h)};
        tilt.pairs.begin(o.beside, b, h);
        tilt.begin(row, key, shift);
        float p[1][TILE / 8][4], dp[1][TILE / 8][4];
        clear(p);
        multiply_rows<1, TILE, QK>(p, q_tile + warp * 16 * QK * 2, k_tile);
        probabilities<S, true, TILE>(p, row, key, shift, values, listed, tilt, 0);
        clear(dp);
        multiply_rows<1, TILE, V>(dp, dout_tile + warp * 16 * V * 2, v_tile);
#pragma unroll
        for (int n = 0; n < TILE / 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                sum[n][e] = plim_fma(p[0][n][e], dp[0][n][e] - values.delta[e / 2], sum[n][e]);
    }

    // All keys of a block of queries.
    __device__ __forceinline__ void walk(int b, int h, int query) {
        bool loaded = false;
        for (int to = own.keys; to < own.keys_to; to++) {
            const int key = to * TILE;
            if (!may_see<S>(query, ROWS, key, TILE, shift))
                continue;
            __syncthreads(); // all are done with what was there
            if (!loaded)
                load_queries(b, h, query);
            loaded = true;
            load_keys(b, h / (S::heads / S::groups), key);
            plim_copies_close();
            plim_copies_wait<0>();
            __syncthreads();
            add(b, h, query + (int)threadIdx.x / 32 * 16, key);
        }
    }

    __device__ __forceinline__ void run(void *dbias) {
        for (int b = own.batch; b < own.batch_to; b++)
            for (int h = own.head; h < own.head_to; h++)
                for (int at = own.queries; at < own.queries_to; at++)
                    walk(b, h, at * ROWS);
        __syncthreads();
        float *shared = (float *)plim_shared();
        const int lane = (int)threadIdx.x % 32, row = (int)threadIdx.x / 32 * 16 + lane / 4;
#pragma unroll
        for (int n = 0; n < TILE / 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                shared[(row + e / 2 * 8) * TILE + n * 8 + lane % 4 * 2 + e % 2] = sum[n][e];
        __syncthreads();
        own.template store<TILE, THREADS>(shared, dbias);
    }
};

template <class S, int WARPS, int TILE>
PLIM_DEVICE void bias_gradient(const BiasOperands<Bf16> &operands, void *dbias) {
    BiasGradient<S, WARPS, TILE>(operands).run(dbias);
}

} // namespace attention
