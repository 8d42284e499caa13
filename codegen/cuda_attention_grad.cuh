// Gradients of attention on tensor cores by mma.sync. Needs cuda_attention.cuh.
//
// Nothing is added from several blocks, so results don't depend on their order: a block owns rows
// of one operand and walks over the other. Each launch makes the scores again. With p the
// probabilities, delta = sum over the row of dout * out (a launch of its own, `delta`),
//     ds = p * (dout v^T - delta),  dq = scale ds k,  dk = scale ds^T q,  dv = p^T dout,
// and with a cap ds is times 1 - tanh^2.
// Where keys stay, all is computed transposed, so that p^T and ds^T are in registers as left
// operands, as p is in the forward kernel; grouped queries are more tiles to walk over.
// Products a pair of query and key, of 2 dim operations each: dq 3, dk and dv together 4; 7 where
// sums shared between blocks take 5 (cuda_attention_groups_once.cuh).
namespace attention {

// Which gradients a launch makes: of queries, or of keys, of values, of both, of all three
// (cuda_attention_groups_once.cuh).
enum Part { PART_DQ, PART_DK, PART_DV, PART_DKV, PART_ALL };

struct GradOperands {
    const Bf16 *q, *k, *v, *dout;
    const float *lse, *delta; // [b, h, s]
    Bf16 *dq, *dk, *dv;
    Beside beside;
};

// The log-sum-exp to base 2 and delta of the query of each accumulator's row, where queries stay.
struct QueryValues {
    float lse[2], delta[2];
};

// Of a head of all and of the 16 queries from `row` on.
template <class S>
PLIM_DEVICE QueryValues query_values(const float *lse, const float *delta, int head, int row) {
    QueryValues own;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        const int i = row + half * 8 + (int)threadIdx.x % 32 / 4;
        const long long at = (long long)head * S::queries + i;
        own.lse[half] = i < S::queries ? lse[at] * LOG2_E : 0;
        own.delta[half] = i < S::queries ? delta[at] : 0;
    }
    return own;
}

// Of the queries of a thread's elements of a tile's eight columns from 8 n on: of two rows, where
// queries stay, else of two columns, which stand at an address.
template <bool QUERIES_STAY>
PLIM_DEVICE void values_of(float (&two)[2], const float (&own)[2], unsigned at, int n) {
    if constexpr (QUERIES_STAY) {
        two[0] = own[0];
        two[1] = own[1];
    } else {
        plim_shared_load_pair(two, at + (n * 8 + (int)threadIdx.x % 4 * 2) * 4);
    }
}

// To base 2; those at an address are natural logarithms.
template <bool QUERIES_STAY>
PLIM_DEVICE void lse_of(float (&two)[2], const QueryValues &own, unsigned at, int n) {
    values_of<QUERIES_STAY>(two, own.lse, at, n);
    if constexpr (!QUERIES_STAY) {
        two[0] *= LOG2_E;
        two[1] *= LOG2_E;
    }
}

// Which of the two is of element e.
template <bool QUERIES_STAY> static __device__ constexpr int query_of(int e) {
    return QUERIES_STAY ? e / 2 : e % 2;
}

// p becomes ds but for the scale. values: log-sum-exps, then deltas, of the tile's queries
// where keys stay.
template <class S, bool QUERIES_STAY, int N>
PLIM_DEVICE void differentiate_scores(float (&p)[N / 8][4], const float (&dp)[N / 8][4],
                                      const QueryValues &own, unsigned values,
                                      const Tilt<S, QUERIES_STAY> &tilt) {
#pragma unroll
    for (int n = 0; n < N / 8; n++) {
        float delta[2], lse[2];
        values_of<QUERIES_STAY>(delta, own.delta, values + N * 4, n);
        if constexpr (S::cap > 0)
            lse_of<QUERIES_STAY>(lse, own, values, n);
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const int query = query_of<QUERIES_STAY>(e);
            float ds = p[n][e] * (dp[n][e] - delta[query]);
            if constexpr (S::cap > 0)
                ds *= growth_of<S>(p[n][e], lse[query], tilt.slope, tilt.distance(0, n, e),
                                   tilt.bias(0, n, e));
            p[n][e] = ds;
        }
    }
}

// Probabilities of scores; 0 where a key is not seen. Rows are queries where they stay, else keys.
template <class S, bool QUERIES_STAY, int N>
PLIM_DEVICE void probabilities(float (&score)[1][N / 8][4], int row, int column, int shift,
                               const QueryValues &own, const Listed<S, 1, QUERIES_STAY> &listed,
                               const Tilt<S, QUERIES_STAY> &tilt, unsigned lse_at) {
    constexpr float c = factor_of<S>();
    const int lane = (int)threadIdx.x % 32;
#pragma unroll
    for (int n = 0; n < N / 8; n++) {
        float lse[2];
        lse_of<QUERIES_STAY>(lse, own, lse_at, n);
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const float one =
                score_of<S>(score[0][n][e], tilt.slope, tilt.distance(0, n, e), tilt.bias(0, n, e));
            const float of_query = finite<S>(lse[query_of<QUERIES_STAY>(e)]);
            score[0][n][e] = plim_exp2(plim_fma(one, c, -of_query));
        }
    }
    // Behind the exponentials, so that these come before whatever is waited for next: ptxas puts
    // waits for warpgroups' products as early as it can, but not across a branch.
    if (!S::mask &&
        (QUERIES_STAY ? all_see<S>(row, 16, column, N, shift)
                      : all_see<S>(column, N, row, 16, shift)) &&
        listed.template all<N>(column))
        return;
#pragma unroll
    for (int n = 0; n < N / 8; n++)
#pragma unroll
        for (int e = 0; e < 4; e++) {
            const int i = row + e / 2 * 8 + lane / 4, j = column + n * 8 + lane % 4 * 2 + e % 2;
            if (!(QUERIES_STAY ? sees<S>(i, j, shift) : sees<S>(j, i, shift)) ||
                !listed.one(0, e / 2, j) || !tilt.shows(0, n, e))
                score[0][n][e] = 0;
        }
}

// One block of a launch: which rows it owns, and its walk over the other operand.
template <class S, int PART, int WARPS, int TILE, int STAGES> struct Gradient {
    static constexpr bool QUERIES_STAY = PART == PART_DQ;
    static constexpr bool WITH_V = PART == PART_DV || PART == PART_DKV, WITH_QK = PART != PART_DV;
    static constexpr int QK = S::width_qk, V = S::width_v, THREADS = WARPS * 32, ROWS = WARPS * 16;
    static constexpr int OWNED = QUERIES_STAY ? S::queries : S::keys;
    static constexpr int SHARING = S::heads / S::groups,
                         HEADS = QUERIES_STAY ? S::heads : S::groups;
    // A stage: a tile of rows of q or k, of dout or v, and where keys stay log-sum-exp and delta of
    // its queries.
    static constexpr unsigned QK_BYTES = TILE * QK * 2, VALUES = QK_BYTES + TILE * V * 2;
    static constexpr unsigned STAGE = VALUES + (QUERIES_STAY ? 0 : TILE * 8);

    const GradOperands &o;
    int b, head, g; // head: of the queries or of the keys it owns
    int first, shift, from, to;
    int steps, loaded, next,
        next_head; // the tile to load next: one head's in order, then the next head's
    unsigned own_qk, own_v, stages;
    const int *table; // of the batch row

    __device__ __forceinline__ Gradient(const GradOperands &operands) : o(operands) {
        constexpr int TILES = (OWNED + ROWS - 1) / ROWS;
        // The first keys have most queries, the last queries most keys: those begin. Where blocks
        // take turns, the last keys do, and tiles of queries are the same for all blocks.
        const int tile = (int)blockIdx.x % TILES, owner = (int)blockIdx.x / TILES;
        first = (QUERIES_STAY || PART == PART_ALL ? TILES - 1 - tile : tile) * ROWS;
        b = owner / HEADS;
        head = owner % HEADS;
        g = QUERIES_STAY ? head / SHARING : head;
        const int last = smaller(first + ROWS, OWNED) - 1;
        shift = shift_of<S>(nullptr);
        from = QUERIES_STAY ? keys_from<S>(first, shift) : queries_from<S>(first, shift);
        to = QUERIES_STAY ? keys_to<S>(last, shift) : queries_to<S>(last, shift);
        table = table_of<S>(o.beside.extra, b);
        narrow_walk<S, THREADS, QUERIES_STAY>(table, first, ROWS, shift, from, to);
        if constexpr (PART == PART_ALL)
            from -= from % TILE;
        steps = to > from ? (to - from + TILE - 1) / TILE * (QUERIES_STAY ? 1 : SHARING) : 0;
        loaded = 0;
        next = from;
        next_head = QUERIES_STAY ? head : g * SHARING;
        own_qk = plim_shared_address();
        own_v = own_qk + ROWS * QK * 2;
        stages = own_v + ROWS * V * 2;
    }

    __device__ __forceinline__ unsigned stage(int step) const {
        return stages + (STAGES == 2 ? step % 2 * STAGE : 0);
    }

    template <int N>
    __device__ __forceinline__ void load_q(unsigned tile, int h, int at, int begin, int end) const {
        load_tile<N, QK, S::dim_qk, S::wide_q, THREADS>(tile, o.q + b * S::q_batch + h * S::q_head,
                                                        S::q_position, at, begin, end);
    }

    template <int N>
    __device__ __forceinline__ void load_dout(unsigned tile, int h, int at, int begin,
                                              int end) const {
        load_tile<N, V, S::dim_v, S::wide_dout, THREADS>(
            tile, o.dout + b * S::dout_batch + h * S::dout_head, S::dout_position, at, begin, end);
    }

    template <int N>
    __device__ __forceinline__ void load_k(unsigned tile, int at, int begin, int end) const {
        load_tile<N, QK, S::dim_qk, S::wide_k, THREADS>(tile, o.k + b * S::k_batch + g * S::k_head,
                                                        S::k_position, at, begin, end);
    }

    template <int N>
    __device__ __forceinline__ void load_v(unsigned tile, int at, int begin, int end) const {
        load_tile<N, V, S::dim_v, S::wide_v, THREADS>(tile, o.v + b * S::v_batch + g * S::v_head,
                                                      S::v_position, at, begin, end);
    }

    __device__ __forceinline__ void load_own() const {
        if constexpr (QUERIES_STAY) {
            load_q<ROWS>(own_qk, head, first, 0, OWNED);
            load_dout<ROWS>(own_v, head, first, 0, OWNED);
        } else {
            load_k<ROWS>(own_qk, first, 0, OWNED);
            if constexpr (WITH_QK)
                load_v<ROWS>(own_v, first, 0, OWNED);
        }
    }

    // Of a warp's rows and a step's columns.
    __device__ __forceinline__ Tilt<S, QUERIES_STAY> tilt_of(int step, int row, int column) const {
        Tilt<S, QUERIES_STAY> tilt = {};
        if constexpr (S::slopes || S::bias || S::mask) {
            const int each = QUERIES_STAY ? 1 : larger(steps / SHARING, 1); // of a head
            const int h = QUERIES_STAY ? head : g * SHARING + step / each;
            tilt.slope = slope_of<S>(o.beside.slopes, h);
            tilt.pairs.begin(o.beside, b, h);
            tilt.begin(row, column, shift);
        }
        return tilt;
    }

    __device__ __forceinline__ QueryValues load_values(int row) const {
        if constexpr (QUERIES_STAY)
            return query_values<S>(o.lse, o.delta, b * S::heads + head, row);
        return {};
    }

    __device__ __forceinline__ void load_next() {
        if (loaded == steps)
            return;
        const unsigned tile = stage(loaded);
        if constexpr (QUERIES_STAY) {
            load_k<TILE>(tile, next, from, to);
            load_v<TILE>(tile + QK_BYTES, next, from, to);
        } else {
            load_q<TILE>(tile, next_head, next, from, to);
            load_dout<TILE>(tile + QK_BYTES, next_head, next, from, to);
            const long long row = (long long)(b * S::heads + next_head) * S::queries + next;
            for (int j = (int)threadIdx.x; j < TILE; j += THREADS) {
                plim_copy_4(tile + VALUES + j * 4, o.lse + row + j, next + j < to);
                plim_copy_4(tile + VALUES + (TILE + j) * 4, o.delta + row + j, next + j < to);
            }
        }
        plim_copies_close();
        loaded++;
        next += TILE;
        if (next >= to) {
            next = from;
            next_head++;
        }
    }

    // p becomes ds but for the scale; tile: the stage at hand.
    __device__ __forceinline__ void differentiate(float (&p)[1][TILE / 8][4], unsigned warp_v,
                                                  unsigned tile, const QueryValues &own,
                                                  const Tilt<S, QUERIES_STAY> &tilt) const {
        float dp[1][TILE / 8][4];
        clear(dp);
        multiply_rows<1, TILE, V>(dp, warp_v, tile + QK_BYTES);
        differentiate_scores<S, QUERIES_STAY, TILE>(p[0], dp[0], own, tile + VALUES, tilt);
    }

    __device__ __forceinline__ void run() {
        const int warp = (int)threadIdx.x / 32, row = first + warp * 16;
        const unsigned warp_qk = own_qk + warp * 16 * QK * 2, warp_v = own_v + warp * 16 * V * 2;
        load_own();
        plim_copies_close();
        load_next();
        const QueryValues own = load_values(row);
        const Listed<S, 1, QUERIES_STAY> listed = {table, row, shift};
        float sum_qk[1][WITH_QK ? QK / 8 : 1][4], sum_v[1][WITH_V ? V / 8 : 1][4];
        clear(sum_qk);
        clear(sum_v);
        int column = from;
        for (int i = 0; i < steps; i++) {
            plim_copies_wait<0>();
            __syncthreads();
            if (STAGES == 2)
                load_next();
            const unsigned tile = stage(i);
            float p[1][TILE / 8][4];
            clear(p);
            multiply_rows<1, TILE, QK>(p, warp_qk, tile);
            const auto tilt = tilt_of(i, row, column);
            probabilities<S, QUERIES_STAY, TILE>(p, row, column, shift, own, listed, tilt,
                                                 tile + VALUES);
            if constexpr (WITH_V)
                multiply_across<1, TILE, V>(sum_v, p, tile + QK_BYTES);
            if constexpr (WITH_QK) {
                differentiate(p, warp_v, tile, own, tilt);
                multiply_across<1, TILE, QK>(sum_qk, p, tile);
            }
            column = column + TILE < to ? column + TILE : from;
            if (STAGES == 1) {
                __syncthreads();
                load_next();
            }
        }
        plim_copies_wait<0>();
        __syncthreads();
        constexpr float scale = S::sign == 0 ? 0 : S::sign * S::scale;
        const float scales[1][2] = {{scale, scale}}, ones[1][2] = {{1, 1}};
        if constexpr (QUERIES_STAY)
            store_rows<1, QK, S::dim_qk, S::wide_dq>(warp_qk, sum_qk, scales,
                                                     o.dq + b * S::dq_batch + head * S::dq_head,
                                                     S::dq_position, row, OWNED);
        if constexpr (!QUERIES_STAY && WITH_QK)
            store_rows<1, QK, S::dim_qk, S::wide_dk>(warp_qk, sum_qk, scales,
                                                     o.dk + b * S::dk_batch + g * S::dk_head,
                                                     S::dk_position, row, OWNED);
        if constexpr (WITH_V)
            store_rows<1, V, S::dim_v, S::wide_dv>(warp_v, sum_v, ones,
                                                   o.dv + b * S::dv_batch + g * S::dv_head,
                                                   S::dv_position, row, OWNED);
    }
};

template <class S, int PART, int WARPS, int TILE, int STAGES>
PLIM_DEVICE void gradient(const GradOperands &operands) {
    Gradient<S, PART, WARPS, TILE, STAGES>(operands).run();
}

} // namespace attention
