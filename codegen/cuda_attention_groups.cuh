// Attention forward by warpgroups' products, sm_90a. Needs cuda_attention.cuh and cuda_hopper.cuh.
//
// One warpgroup copies, the others compute, 64 queries each, after FlashAttention-3 (Shah et al.
// 2024). The copying one gives registers to those. Tiles of keys and of values go round through
// STAGES places each, handed over by barriers: full, when a tile is there; empty, when all have
// read it. While scores of a tile are made, the values of the tile before are summed, and softmax
// of one runs beside products of the other.
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

template <class S, int CONSUMERS, int TILE, int STAGES> struct Groups {
    static constexpr int QK = (S::dim_qk + 63) / 64 * 64, V = (S::dim_v + 63) / 64 * 64;
    static constexpr int ROWS = CONSUMERS * 64, COPIERS = 128;
    using Queries = Blocks<64, QK>;
    using Keys = Blocks<TILE, QK>;
    using Values = Blocks<TILE, V>;
    // A warpgroup's queries, and later its results, one width or the other.
    static constexpr unsigned OWN = 64 * (QK > V ? QK : V) * 2;
    static constexpr unsigned KEYS = CONSUMERS * OWN, VALUES = KEYS + STAGES * Keys::BYTES;
    static constexpr unsigned BARRIERS = VALUES + STAGES * Values::BYTES;

    unsigned shared;
    int b, h, g, row, first, shift, from, to, tiles;
    const int *table; // of the batch row

    __device__ __forceinline__ Groups(const int *extra) {
        constexpr int BLOCKS = (S::queries + ROWS - 1) / ROWS;
        row = (int)blockIdx.x / BLOCKS;
        first = (BLOCKS - 1 - (int)blockIdx.x % BLOCKS) * ROWS;
        b = row / S::heads;
        h = row % S::heads;
        g = h / (S::heads / S::groups);
        shift = shift_of<S>(extra);
        from = keys_from<S>(first, shift);
        to = keys_to<S>(smaller(first + ROWS, S::queries) - 1, shift);
        table = table_of<S>(extra, b);
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
            plim_barrier_begin(queries_full(), COPIERS);
            for (int i = 0; i < STAGES; i++) {
                plim_barrier_begin(barrier(KEYS_FULL, i), COPIERS);
                plim_barrier_begin(barrier(KEYS_EMPTY, i), CONSUMERS * 4);
                plim_barrier_begin(barrier(VALUES_FULL, i), COPIERS);
                plim_barrier_begin(barrier(VALUES_EMPTY, i), CONSUMERS * 4);
            }
        }
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

    // Lets the copying warpgroup have a place again.
    __device__ __forceinline__ void release(unsigned empty) const {
        plim_syncwarp();
        if (threadIdx.x % 32 == 0)
            plim_barrier_arrive(empty);
    }

    // Begins scores of a tile; own: the warpgroup's queries.
    __device__ __forceinline__ void begin_scores(float (&score)[TILE / 8][4], unsigned own,
                                                 int tile) const {
        const unsigned keys = shared + KEYS + (unsigned)(tile % STAGES) * Keys::BYTES;
        plim_barrier_wait(barrier(KEYS_FULL, tile), turn(tile));
        plim_products_open();
#pragma unroll
        for (int step = 0; step < (S::dim_qk + 15) / 16; step++)
            plim_wgmma(score, plim_rows_of(own + step / 4 * Queries::BLOCK + step % 4 * 32, 16),
                       plim_rows_of(keys + step / 4 * Keys::BLOCK + step % 4 * 32, 16), step > 0);
        plim_products_close();
    }

    // Begins adding a tile's values.
    __device__ __forceinline__ void
    begin_values(float (&sum)[V / 8][4], const unsigned (&p)[TILE / 16][4], int tile) const {
        const unsigned values = shared + VALUES + (unsigned)(tile % STAGES) * Values::BYTES;
        plim_barrier_wait(barrier(VALUES_FULL, tile), turn(tile));
        plim_products_open();
#pragma unroll
        for (int step = 0; step < TILE / 16; step++)
            plim_wgmma_across(sum, p[step], plim_rows_of(values + step * 16 * 128, Values::BLOCK));
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

    __device__ __forceinline__ void compute(Bf16 *out, float *lse) const {
        const int group = (int)threadIdx.x / 128 - 1, warp = (int)threadIdx.x / 32 % 4;
        const int query = first + group * 64 + warp * 16;
        const unsigned own = shared + group * OWN;
        float sum[1][V / 8][4], score[1][TILE / 8][4], shrink[1][2];
        unsigned p[TILE / 16][4];
        Softmax<1> rows;
        const Listed<S, 1> listed = {table, query, shift};
        begin(rows);
        clear(sum);
        plim_barrier_wait(queries_full(), 0);
        for (int i = 0; i < tiles; i++) {
            begin_scores(score[0], own, i);
            if (i > 0) {
                begin_values(sum[0], p, i - 1);
                plim_products_wait<1>();
            } else {
                plim_products_wait<0>();
            }
            plim_products_hold(score[0]);
            release(barrier(KEYS_EMPTY, i));
            mask_scores<S, 1, TILE>(score, listed, query, from + i * TILE, shift);
            soften<S, 1, TILE>(score, rows, shrink);
            plim_products_wait<0>();
            plim_products_hold(sum[0]);
            if (i > 0)
                release(barrier(VALUES_EMPTY, i - 1));
            rescale(sum, shrink);
            pack(p, score[0]);
        }
        if (tiles > 0)
            begin_values(sum[0], p, tiles - 1);
        plim_products_wait<0>();
        plim_products_hold(sum[0]);
        // All four warps have read the queries, whose place the results take.
        plim_threads_meet(1 + group, 128);
        float inverse[1][2];
        finish<S>(rows, inverse, lse + (long long)row * S::queries, query);
        store_rows<1, V, S::dim_v, S::wide_out>(own + warp * 16 * V * 2, sum, inverse,
                                                out + b * S::out_batch + h * S::out_head,
                                                S::out_position, query, S::queries);
    }
};

template <class S, int CONSUMERS, int TILE, int STAGES>
PLIM_DEVICE void groups_forward(const Bf16 *q, const Bf16 *k, const Bf16 *v, Bf16 *out, float *lse,
                                const int *extra) {
    const Groups<S, CONSUMERS, TILE, STAGES> block(extra);
    block.begin_barriers();
    if (threadIdx.x < 128) {
        plim_registers_give<CONSUMERS == 3 ? 32 : S::documents || S::interval ? 56 : 40>();
        block.copy(q, k, v);
    } else {
        plim_registers_take<CONSUMERS == 3 ? 160 : S::documents || S::interval ? 224 : 232>();
        block.compute(out, lse);
    }
}

} // namespace attention
