// Attention forward by warpgroups' products, sm_90a. Needs cuda_attention.cuh and cuda_hopper.cuh.
//
// One warpgroup copies, the others compute, 64 queries each, after FlashAttention-3 (Shah et al.
// 2024). The copying one gives registers to those. Tiles of keys and of values go round through
// STAGES places each, handed over by barriers: full, when a tile is there; empty, when all have
// read it. While scores of a tile are made, the values of the tile before are summed, and softmax
// of one runs beside products of the other. Groups take turns to ask for products, so that one
// group's softmax falls into the other's products, too.
//
// With tensor maps (MAPS) one thread asks for whole tiles; else 128 copy 16 bytes at a time.
//
// Tiles are blocks of 64 columns: rows of 128 bytes, their chunks twisted by the row, as the
// products want them.
namespace attention {

template <int ROWS, int WIDTH> struct Blocks {
    static constexpr unsigned BLOCK = ROWS * 128, BYTES = BLOCK * (WIDTH / 64);
};

// Rows first .. first + ROWS - 1 of a head into a tile, by 128 threads, 16 rows of a block at a
// time; 0 from row `to` on and from column DIM on. A thread's chunks all have one place in their
// rows.
template <int ROWS, int WIDTH, int DIM, bool WIDE>
PLIM_DEVICE void load_blocks(unsigned tile, const Bf16 *head, long long stride, int first, int to) {
    const int row = (int)threadIdx.x / 8, chunk = (int)threadIdx.x % 8;
    const Bf16 *source = head + (first + row) * stride + chunk * 8;
    unsigned target = tile + (unsigned)(row * 128 + (chunk ^ row % 8) * 16);
#pragma unroll 2
    for (int i = 0; i < ROWS; i += 16, source += 16 * stride, target += 16 * 128) {
        const bool there = first + row + i < to;
#pragma unroll
        for (int block = 0; block < WIDTH / 64; block++) {
            const int column = block * 64 + chunk * 8;
            const unsigned at = target + block * Blocks<ROWS, WIDTH>::BLOCK;
            if constexpr (WIDE) {
                plim_copy_16(at, source + block * 64, there && column < DIM);
            } else {
                for (int e = 0; e < 8; e++)
                    plim_shared_store_half(
                        at + 2 * e, there && column + e < DIM ? source[block * 64 + e] : (Bf16)0);
            }
        }
    }
}

// By one thread: rows first .. first + ROWS - 1 of a head into a tile, a box for 64 columns; 0 from
// the last row and column on.
template <int ROWS, int WIDTH>
PLIM_DEVICE void fetch_blocks(unsigned tile, const PlimTensorMap &map, int first, int head, int b,
                              unsigned full) {
#pragma unroll
    for (int block = 0; block < WIDTH / 64; block++)
        plim_copy_box(tile + block * Blocks<ROWS, WIDTH>::BLOCK, map, block * 64, first, head, b,
                      full);
}

// Registers of a thread that copies, and of one that multiplies: what the block was given is dealt
// anew.
template <int CONSUMERS, int COPYING, int MULTIPLYING> struct Registers {
    static constexpr int GIVEN = 65536 / (128 * (CONSUMERS + 1)) / 8 * 8;
    static_assert(COPYING + CONSUMERS * MULTIPLYING <= GIVEN * (CONSUMERS + 1), "waits for ever");

    PLIM_DEVICE void copying() {
        plim_registers_give<COPYING>();
    }
    PLIM_DEVICE void multiplying() {
        plim_registers_take<MULTIPLYING>();
    }
};

template <class S, int CONSUMERS, int TILE, int STAGES, bool MAPS> struct Groups {
    static constexpr int QK = (S::dim_qk + 63) / 64 * 64, V = (S::dim_v + 63) / 64 * 64;
    static constexpr int ROWS = CONSUMERS * 64, COPIERS = 128, ARRIVALS = MAPS ? 1 : COPIERS;
    using Queries = Blocks<64, QK>;
    using Keys = Blocks<TILE, QK>;
    using Values = Blocks<TILE, V>;
    // A warpgroup's queries, and later its results, one width or the other.
    static constexpr unsigned OWN = 64 * (QK > V ? QK : V) * 2;
    static constexpr unsigned KEYS = CONSUMERS * OWN, VALUES = KEYS + STAGES * Keys::BYTES;
    static constexpr unsigned BARRIERS = VALUES + STAGES * Values::BYTES;

    unsigned shared;
    int b, h, g, row, first, shift, from, to, tiles;
    float slope;
    const int *table; // of the batch row

    __device__ __forceinline__ Groups(const Beside &beside) {
        constexpr int BLOCKS = (S::queries + ROWS - 1) / ROWS;
        row = (int)blockIdx.x / BLOCKS;
        first = (BLOCKS - 1 - (int)blockIdx.x % BLOCKS) * ROWS;
        b = row / S::heads;
        h = row % S::heads;
        g = h / (S::heads / S::groups);
        slope = slope_of<S>(beside.slopes, h);
        shift = shift_of<S>(beside.extra);
        from = keys_from<S>(first, shift);
        to = keys_to<S>(smaller(first + ROWS, S::queries) - 1, shift);
        table = table_of<S>(beside.extra, b);
        narrow_walk<S, COPIERS + CONSUMERS * 128, true>(table, first, ROWS, shift, from, to);
        tiles = to > from ? (to - from + TILE - 1) / TILE : 0;
        shared = plim_shared_address();
    }

    // Barriers: queries are there; of each place keys are there, were read; values are there, were
    // read.
    __device__ __forceinline__ unsigned queries_full() const {
        return shared + BARRIERS;
    }
    __device__ __forceinline__ unsigned barrier(int kind, int tile) const {
        return shared + BARRIERS + 8 + (unsigned)(kind * STAGES + tile % STAGES) * 8;
    }
    enum { KEYS_FULL, KEYS_EMPTY, VALUES_FULL, VALUES_EMPTY };

    __device__ __forceinline__ void begin_barriers() const {
        if (threadIdx.x == 0) {
            plim_barrier_begin(queries_full(), ARRIVALS);
            for (int i = 0; i < STAGES; i++) {
                plim_barrier_begin(barrier(KEYS_FULL, i), ARRIVALS);
                plim_barrier_begin(barrier(KEYS_EMPTY, i), CONSUMERS * 4);
                plim_barrier_begin(barrier(VALUES_FULL, i), ARRIVALS);
                plim_barrier_begin(barrier(VALUES_EMPTY, i), CONSUMERS * 4);
            }
            plim_barriers_show();
        }
        // A walk's ends were found by way of shared memory that copies overwrite.
        if (MAPS && (S::documents || S::interval))
            plim_show_products();
        __syncthreads();
    }

    // The parity of the phase in which a tile fills its place.
    static __device__ __forceinline__ int turn(int tile) {
        return tile / STAGES % 2;
    }

    __device__ __forceinline__ void copied(unsigned full) const {
        plim_show_products();
        plim_barrier_arrive(full);
    }

    __device__ __forceinline__ void copy(const Bf16 *q, const Bf16 *k, const Bf16 *v) const {
        q += b * S::q_batch + h * S::q_head;
        k += b * S::k_batch + g * S::k_head;
        v += b * S::v_batch + g * S::v_head;
        for (int i = 0; i < CONSUMERS; i++)
            load_blocks<64, QK, S::dim_qk, S::wide_q>(shared + i * OWN, q, S::q_position,
                                                      first + i * 64, S::queries);
        plim_copies_close();
        unsigned full = queries_full();
        for (int i = 0; i < tiles; i++) {
            const int place = i % STAGES, key = from + i * TILE;
            // Each wait is for the group before the one just asked for.
            plim_barrier_wait(barrier(KEYS_EMPTY, i), turn(i) ^ 1);
            load_blocks<TILE, QK, S::dim_qk, S::wide_k>(shared + KEYS + place * Keys::BYTES, k,
                                                        S::k_position, key, to);
            plim_copies_close();
            plim_copies_wait<1>();
            copied(full);
            plim_barrier_wait(barrier(VALUES_EMPTY, i), turn(i) ^ 1);
            load_blocks<TILE, V, S::dim_v, S::wide_v>(shared + VALUES + place * Values::BYTES, v,
                                                      S::v_position, key, to);
            plim_copies_close();
            plim_copies_wait<1>();
            copied(barrier(KEYS_FULL, i));
            full = barrier(VALUES_FULL, i);
        }
        plim_copies_wait<0>();
        copied(full);
    }

    // By one thread. Scores of a tile are asked for before the values of the tile before.
    __device__ __forceinline__ void fetch(const PlimTensorMap &q, const PlimTensorMap &k,
                                          const PlimTensorMap &v) const {
        plim_barrier_expect(queries_full(), CONSUMERS * Queries::BYTES);
        for (int i = 0; i < CONSUMERS; i++)
            fetch_blocks<64, QK>(shared + i * OWN, q, first + i * 64, h, b, queries_full());
        for (int i = 0; i <= tiles; i++) {
            if (i < tiles) {
                const unsigned full = barrier(KEYS_FULL, i);
                plim_barrier_wait(barrier(KEYS_EMPTY, i), turn(i) ^ 1);
                plim_barrier_expect(full, Keys::BYTES);
                fetch_blocks<TILE, QK>(shared + KEYS + i % STAGES * Keys::BYTES, k, from + i * TILE,
                                       g, b, full);
            }
            if (i > 0) {
                const unsigned full = barrier(VALUES_FULL, i - 1);
                plim_barrier_wait(barrier(VALUES_EMPTY, i - 1), turn(i - 1) ^ 1);
                plim_barrier_expect(full, Values::BYTES);
                fetch_blocks<TILE, V>(shared + VALUES + (i - 1) % STAGES * Values::BYTES, v,
                                      from + (i - 1) * TILE, g, b, full);
            }
        }
    }

    // Turns: a group's barrier is passed when it and all others have come. Those before a group
    // have come from the start.
    enum { MEETING = 1, TURN = MEETING + CONSUMERS };
    static __device__ __forceinline__ void begin_turns(int group) {
#pragma unroll
        for (int other = 0; other < CONSUMERS; other++)
            if (other < group)
                plim_threads_arrive(TURN + other, CONSUMERS * 128);
    }
    static __device__ __forceinline__ void take_turn(int group) {
        plim_threads_meet(TURN + group, CONSUMERS * 128);
    }
    static __device__ __forceinline__ void pass_turn(int group, bool last) {
#pragma unroll
        for (int other = 0; other < CONSUMERS; other++)
            if (other > group || (other < group && !last))
                plim_threads_arrive(TURN + other, CONSUMERS * 128);
    }

    // Lets the copying warpgroup have a place again.
    __device__ __forceinline__ void release(unsigned empty) const {
        plim_syncwarp();
        if (threadIdx.x % 32 == 0)
            plim_barrier_arrive(empty);
    }

    // Begins scores of a tile that is there; own: the warpgroup's queries.
    __device__ __forceinline__ void begin_scores(float (&score)[TILE / 8][4], unsigned own,
                                                 int tile) const {
        const unsigned tiles = shared + KEYS + (unsigned)(tile % STAGES) * Keys::BYTES;
        const unsigned queries = plim_rows_of(own, 16), keys = plim_rows_of(tiles, 16);
        plim_products_open();
#pragma unroll
        for (int step = 0; step < (S::dim_qk + 15) / 16; step++)
            plim_wgmma(score, plim_rows_at(queries, step / 4 * Queries::BLOCK + step % 4 * 32),
                       plim_rows_at(keys, step / 4 * Keys::BLOCK + step % 4 * 32), step > 0);
        plim_products_close();
    }

    // Begins adding a tile's values.
    __device__ __forceinline__ void
    begin_values(float (&sum)[V / 8][4], const unsigned (&p)[TILE / 16][4], int tile) const {
        const unsigned values = plim_rows_of(
            shared + VALUES + (unsigned)(tile % STAGES) * Values::BYTES, Values::BLOCK);
        plim_barrier_wait(barrier(VALUES_FULL, tile), turn(tile));
        plim_products_open();
#pragma unroll
        for (int step = 0; step < TILE / 16; step++)
            plim_wgmma_across(sum, p[step], plim_rows_at(values, step * 16 * 128));
        plim_products_close();
    }

    static __device__ __forceinline__ void pack(unsigned (&p)[TILE / 16][4],
                                                const float (&score)[TILE / 8][4]) {
#pragma unroll
        for (int step = 0; step < TILE / 16; step++) {
            const float(&low)[4] = score[2 * step], (&high)[4] = score[2 * step + 1];
            p[step][0] = plim_narrow_pair(low[0], low[1]);
            p[step][1] = plim_narrow_pair(low[2], low[3]);
            p[step][2] = plim_narrow_pair(high[0], high[1]);
            p[step][3] = plim_narrow_pair(high[2], high[3]);
        }
    }

    static __device__ __forceinline__ void scale(float (&sum)[V / 8][4], const float (&by)[2]) {
#pragma unroll
        for (int n = 0; n < V / 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                sum[n][e] *= by[e / 2];
    }

    __device__ __forceinline__ void compute(Bf16 *out, float *lse) const {
        // By a lane's number ptxas sees that it is one for the whole warp, and so are addresses.
        const int group = plim_shfl_i32((int)threadIdx.x / 128, 0) - 1;
        const int warp = (int)threadIdx.x / 32 % 4;
        const int query = first + group * 64 + warp * 16;
        const unsigned own = shared + group * OWN;
        float sum[1][V / 8][4], score[1][TILE / 8][4], shrink[1][2];
        unsigned p[TILE / 16][4];
        Softmax<1> rows;
        const Listed<S, 1> listed = {table, query, shift};
        begin(rows);
        clear(sum);
        if (tiles > 0)
            begin_turns(group);
        plim_barrier_wait(queries_full(), 0);
        for (int i = 0; i < tiles; i++) {
            plim_barrier_wait(barrier(KEYS_FULL, i), turn(i));
            take_turn(group);
            begin_scores(score[0], own, i);
            if (i > 0) {
                begin_values(sum[0], p, i - 1);
                pass_turn(group, i + 1 == tiles);
                plim_products_wait<1>();
            } else {
                pass_turn(group, i + 1 == tiles);
                plim_products_wait<0>();
            }
            plim_products_hold(score[0]);
            release(barrier(KEYS_EMPTY, i));
            mask_scores<S, 1, TILE>(score, listed, {slope}, query, from + i * TILE, shift);
            soften<S, 1, TILE>(score, rows, shrink);
            // Two waits, so that they stand behind a branch: along one stretch of code ptxas would
            // have the only one before the softmax.
            if (plim_ballot(shrink[0][0] != 1 || shrink[0][1] != 1) == 0) {
                plim_products_wait<0>();
                plim_products_hold(sum[0]);
            } else {
                plim_products_wait<0>();
                plim_products_hold(sum[0]);
                scale(sum[0], shrink[0]);
            }
            if (i > 0)
                release(barrier(VALUES_EMPTY, i - 1));
            pack(p, score[0]);
        }
        if (tiles > 0)
            begin_values(sum[0], p, tiles - 1);
        plim_products_wait<0>();
        plim_products_hold(sum[0]);
        // All four warps have read the queries, whose place the results take.
        plim_threads_meet(MEETING + group, 128);
        float inverse[1][2];
        finish<S>(rows, inverse, lse + (long long)row * S::queries, query);
        store_rows<1, V, S::dim_v, S::wide_out>(own + warp * 16 * V * 2, sum, inverse,
                                                out + b * S::out_batch + h * S::out_head,
                                                S::out_position, query, S::queries);
    }
};

// Threads copy.
template <class S, int CONSUMERS, int TILE, int STAGES>
PLIM_DEVICE void groups_forward(const Bf16 *q, const Bf16 *k, const Bf16 *v, Bf16 *out, float *lse,
                                const Beside &beside) {
    constexpr bool TABLE = S::documents || S::interval;
    using R = Registers<CONSUMERS,
                        CONSUMERS == 3 ? 32
                        : TABLE        ? 56
                                       : 40,
                        CONSUMERS == 3 ? 160
                        : TABLE        ? 224
                                       : 232>;
    const Groups<S, CONSUMERS, TILE, STAGES, false> block(beside);
    block.begin_barriers();
    if (threadIdx.x < 128) {
        R::copying();
        block.copy(q, k, v);
    } else {
        R::multiplying();
        block.compute(out, lse);
    }
}

// By tensor maps, of boxes of 64 queries and of TILE keys and values.
template <class S, int CONSUMERS, int TILE, int STAGES>
PLIM_DEVICE void groups_forward(const PlimTensorMap &q, const PlimTensorMap &k,
                                const PlimTensorMap &v, Bf16 *out, float *lse,
                                const Beside &beside) {
    using R = Registers<CONSUMERS, CONSUMERS == 3 ? 32 : 24, CONSUMERS == 3 ? 160 : 240>;
    if (threadIdx.x == 0) {
        plim_map_prefetch(q);
        plim_map_prefetch(k);
        plim_map_prefetch(v);
    }
    const Groups<S, CONSUMERS, TILE, STAGES, true> block(beside);
    block.begin_barriers();
    if (threadIdx.x < 128) {
        R::copying();
        if (threadIdx.x < 32 && plim_elect())
            block.fetch(q, k, v);
    } else {
        R::multiplying();
        block.compute(out, lse);
    }
}

} // namespace attention
