// Gradients of attention by warpgroups' products, sm_90a, head dims to 128. Needs
// cuda_attention_grad.cuh, whose launches these are, and cuda_attention_groups.cuh.
//
// A block owns 64 rows a computing warpgroup, queries or keys, and walks over the other operand as
// the mma.sync kernels do; one warpgroup copies. Scores and the gradients of probabilities have
// both operands in shared memory:
//     s = own_qk walked_qk^T,  dp = own_v walked_v^T
// and p and ds, which registers hold as left operands, are multiplied by the same tiles read
// across: a tile of each operand is in shared memory once. Nothing is added from several blocks.
//
// With tensor maps (MAPS) one thread asks for whole tiles, and its warp copies what belongs to each
// query; else 128 threads copy 16 bytes at a time.
namespace attention {

// Boxes of 64 rows of what a block owns, of TILE rows of the rest.
struct GradMaps {
    const PlimTensorMap &q, &k, &v, &dout;
};

template <class S, int PART, int CONSUMERS, int TILE, int STAGES, bool MAPS>
struct GroupGradient : Gradient<S, PART, CONSUMERS * 4, TILE, STAGES> {
    using Walk = Gradient<S, PART, CONSUMERS * 4, TILE, STAGES>;
    using Walk::b;
    using Walk::first;
    using Walk::from;
    using Walk::g;
    using Walk::head;
    using Walk::next;
    using Walk::next_head;
    using Walk::o;
    using Walk::OWNED;
    using Walk::QUERIES_STAY;
    using Walk::shift;
    using Walk::steps;
    using Walk::table;
    using Walk::to;
    static constexpr int QK = (S::dim_qk + 63) / 64 * 64, V = (S::dim_v + 63) / 64 * 64;
    static constexpr int COPIERS = 128, ARRIVALS = MAPS ? 1 : COPIERS;
    using OwnQk = Blocks<64, QK>;
    using OwnV = Blocks<64, V>;
    using TileQk = Blocks<TILE, QK>;
    using TileV = Blocks<TILE, V>;
    static constexpr unsigned OWN = OwnQk::BYTES + OwnV::BYTES;
    static constexpr unsigned STAGE = TileQk::BYTES + TileV::BYTES;
    // Behind the stages: what groups hand to each other, where all gradients are made; where keys
    // stay, log-sum-exp and delta of a stage's queries; barriers.
    static constexpr unsigned PLACES = CONSUMERS * OWN + STAGES * STAGE;
    static constexpr unsigned DS = CONSUMERS * 64 * TILE * 2, PLACE = DS + TILE * QK * 4;
    static constexpr unsigned VALUES = PLACES + (PART == PART_ALL ? CONSUMERS * PLACE : 0);
    static constexpr unsigned BARRIERS = VALUES + (QUERIES_STAY ? 0 : STAGES * TILE * 8);

    unsigned shared;

    __device__ __forceinline__ GroupGradient(const GradOperands &operands)
        : Walk(operands), shared(plim_shared_address()) {
    }

    __device__ __forceinline__ unsigned tile_qk(int step) const {
        return shared + CONSUMERS * OWN + (unsigned)(step % STAGES) * STAGE;
    }

    __device__ __forceinline__ unsigned tile_v(int step) const {
        return tile_qk(step) + TileQk::BYTES;
    }

    __device__ __forceinline__ unsigned values(int step) const {
        return shared + VALUES + (unsigned)(step % STAGES * TILE * 8);
    }

    // Barriers: what the block owns is there; of each stage both tiles are there, and were read.
    enum { QK_FULL, V_FULL, EMPTY };
    __device__ __forceinline__ unsigned own_full() const {
        return shared + BARRIERS;
    }
    __device__ __forceinline__ unsigned barrier(int kind, int step) const {
        return shared + BARRIERS + 8 + (unsigned)(kind * STAGES + step % STAGES) * 8;
    }

    __device__ __forceinline__ void begin_barriers() const {
        if (threadIdx.x == 0) {
            plim_barrier_begin(own_full(), ARRIVALS);
            for (int i = 0; i < STAGES; i++) {
                // A warp's lanes tell that they have copied log-sum-exp and delta.
                plim_barrier_begin(barrier(QK_FULL, i),
                                   ARRIVALS + (MAPS && PART == PART_DKV ? 32 : 0));
                plim_barrier_begin(barrier(V_FULL, i), ARRIVALS);
                plim_barrier_begin(barrier(EMPTY, i), CONSUMERS * 4);
            }
            plim_barriers_show();
        }
        // A walk's ends were found by way of shared memory that copies overwrite.
        if (MAPS && (S::documents || S::interval))
            plim_show_products();
        __syncthreads();
    }

    // The parity of the phase in which a step's tiles fill their stage.
    static __device__ __forceinline__ int turn(int step) {
        return step / STAGES % 2;
    }

    __device__ __forceinline__ void copied(unsigned full) const {
        plim_show_products();
        plim_barrier_arrive(full);
    }

    // Rows of q or of k, and of dout or of v, from position `at` on.
    template <int N, bool QUERIES>
    __device__ __forceinline__ void load_qk(unsigned tile, int h, int at, int end) const {
        if constexpr (QUERIES)
            load_blocks<N, QK, S::dim_qk, S::wide_q>(tile, o.q + b * S::q_batch + h * S::q_head,
                                                     S::q_position, at, end);
        else
            load_blocks<N, QK, S::dim_qk, S::wide_k>(tile, o.k + b * S::k_batch + g * S::k_head,
                                                     S::k_position, at, end);
    }

    template <int N, bool QUERIES>
    __device__ __forceinline__ void load_v(unsigned tile, int h, int at, int end) const {
        if constexpr (QUERIES)
            load_blocks<N, V, S::dim_v, S::wide_dout>(
                tile, o.dout + b * S::dout_batch + h * S::dout_head, S::dout_position, at, end);
        else
            load_blocks<N, V, S::dim_v, S::wide_v>(tile, o.v + b * S::v_batch + g * S::v_head,
                                                   S::v_position, at, end);
    }

    // Where keys stay: log-sum-exp and delta of the queries to load next, by so many threads.
    template <int THREADS> __device__ __forceinline__ void load_values_of(int step) const {
        if constexpr (!QUERIES_STAY) {
            const long long row = (long long)(b * S::heads + next_head) * S::queries + next;
            for (int j = (int)threadIdx.x; j < TILE; j += THREADS) {
                plim_copy_4(values(step) + j * 4, o.lse + row + j, next + j < to);
                plim_copy_4(values(step) + (TILE + j) * 4, o.delta + row + j, next + j < to);
            }
        }
    }

    // On to the tile after the one just loaded.
    __device__ __forceinline__ void step_on() {
        next += TILE;
        if (next >= to) {
            next = from;
            next_head++;
        }
    }

    __device__ __forceinline__ void copy() {
        for (int i = 0; i < CONSUMERS; i++) {
            const unsigned own = shared + i * OWN;
            load_qk<64, QUERIES_STAY>(own, head, first + i * 64, OWNED);
            load_v<64, QUERIES_STAY>(own + OwnQk::BYTES, head, first + i * 64, OWNED);
        }
        plim_copies_close();
        unsigned full = own_full();
        for (int i = 0; i < steps; i++) {
            // Each wait is for the group before the one just asked for.
            plim_barrier_wait(barrier(EMPTY, i), turn(i) ^ 1);
            load_qk<TILE, !QUERIES_STAY>(tile_qk(i), next_head, next, to);
            load_values_of<COPIERS>(i);
            plim_copies_close();
            plim_copies_wait<1>();
            copied(full);
            load_v<TILE, !QUERIES_STAY>(tile_v(i), next_head, next, to);
            plim_copies_close();
            plim_copies_wait<1>();
            copied(barrier(QK_FULL, i));
            full = barrier(V_FULL, i);
            step_on();
        }
        plim_copies_wait<0>();
        copied(full);
    }

    // A box for 64 columns of q, or of k, and of dout, or of v.
    template <int N, bool QUERIES>
    __device__ __forceinline__ void fetch_qk(const GradMaps &maps, unsigned tile, int h, int at,
                                             unsigned full) const {
        fetch_blocks<N, QK>(tile, QUERIES ? maps.q : maps.k, at, QUERIES ? h : g, b, full);
    }

    template <int N, bool QUERIES>
    __device__ __forceinline__ void fetch_v(const GradMaps &maps, unsigned tile, int h, int at,
                                            unsigned full) const {
        fetch_blocks<N, V>(tile, QUERIES ? maps.dout : maps.v, at, QUERIES ? h : g, b, full);
    }

    // By one thread.
    __device__ __forceinline__ void fetch_own(const GradMaps &maps) const {
        plim_barrier_expect(own_full(), CONSUMERS * OWN);
        for (int i = 0; i < CONSUMERS; i++) {
            const unsigned own = shared + i * OWN;
            fetch_qk<64, QUERIES_STAY>(maps, own, head, first + i * 64, own_full());
            fetch_v<64, QUERIES_STAY>(maps, own + OwnQk::BYTES, head, first + i * 64, own_full());
        }
    }

    // By one warp.
    __device__ __forceinline__ void fetch(const GradMaps &maps) {
        const bool chosen = plim_elect();
        if (chosen)
            fetch_own(maps);
        for (int i = 0; i < steps; i++) {
            const unsigned qk_full = barrier(QK_FULL, i), v_full = barrier(V_FULL, i);
            plim_barrier_wait(barrier(EMPTY, i), turn(i) ^ 1);
            if (chosen) {
                plim_barrier_expect(qk_full, TileQk::BYTES);
                fetch_qk<TILE, !QUERIES_STAY>(maps, tile_qk(i), next_head, next, qk_full);
                plim_barrier_expect(v_full, TileV::BYTES);
                fetch_v<TILE, !QUERIES_STAY>(maps, tile_v(i), next_head, next, v_full);
            }
            load_values_of<32>(i);
            if constexpr (!QUERIES_STAY)
                plim_copies_arrive(qk_full);
            step_on();
        }
        plim_copies_close();
        plim_copies_wait<0>();
    }

    // Begins out = a b^T: 64 rows at a, TILE rows at b, DIM columns in blocks of 64.
    template <int DIM>
    static __device__ __forceinline__ void begin_rows(float (&out)[TILE / 8][4], unsigned a,
                                                      unsigned b) {
        const unsigned left = plim_rows_of(a, 16), right = plim_rows_of(b, 16);
        plim_products_open();
#pragma unroll
        for (int step = 0; step < (DIM + 15) / 16; step++)
            plim_wgmma(out, plim_rows_at(left, step / 4 * (64 * 128) + step % 4 * 32),
                       plim_rows_at(right, step / 4 * (TILE * 128) + step % 4 * 32), step > 0);
        plim_products_close();
    }

    // Begins sum += left tile: the tile's rows are the depth.
    template <int N>
    static __device__ __forceinline__ void
    begin_across(float (&sum)[N][4], const unsigned (&left)[TILE / 16][4], unsigned tile) {
        const unsigned rows = plim_rows_of(tile, TILE * 128);
        plim_products_open();
#pragma unroll
        for (int step = 0; step < TILE / 16; step++)
            plim_wgmma_across(sum, left[step], plim_rows_at(rows, step * 16 * 128));
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

    // A group's results, by way of the place of what it owns.
    template <int N>
    __device__ __forceinline__ void store(int group, int row, const float (&sum_qk)[1][QK / 8][4],
                                          const float (&sum_v)[1][N][4]) const {
        const int warp = (int)threadIdx.x / 32 % 4;
        const unsigned own_qk = shared + group * OWN, own_v = own_qk + OwnQk::BYTES;
        // All four warps have read what the group owns, whose place the results take.
        plim_threads_meet(1 + group, 128);
        constexpr float scale = S::sign == 0 ? 0 : S::sign * S::scale;
        const float scales[1][2] = {{scale, scale}}, ones[1][2] = {{1, 1}};
        if constexpr (QUERIES_STAY)
            store_rows<1, QK, S::dim_qk, S::wide_dq>(own_qk + warp * 16 * QK * 2, sum_qk, scales,
                                                     o.dq + b * S::dq_batch + head * S::dq_head,
                                                     S::dq_position, row, OWNED);
        else
            store_rows<1, QK, S::dim_qk, S::wide_dk>(own_qk + warp * 16 * QK * 2, sum_qk, scales,
                                                     o.dk + b * S::dk_batch + g * S::dk_head,
                                                     S::dk_position, row, OWNED);
        if constexpr (!QUERIES_STAY)
            store_rows<1, V, S::dim_v, S::wide_dv>(own_v + warp * 16 * V * 2, sum_v, ones,
                                                   o.dv + b * S::dv_batch + g * S::dv_head,
                                                   S::dv_position, row, OWNED);
    }

    __device__ __forceinline__ void compute() const {
        constexpr bool WITH_V = PART == PART_DKV;
        const int group = plim_shfl_i32((int)threadIdx.x / 128, 0) - 1;
        const int warp = (int)threadIdx.x / 32 % 4;
        const int row = first + group * 64 + warp * 16;
        const unsigned own_qk = shared + group * OWN, own_v = own_qk + OwnQk::BYTES;
        const QueryValues own = this->load_values(row);
        const Listed<S, 1, QUERIES_STAY> listed = {table, row, shift};
        float sum_qk[1][QK / 8][4], sum_v[1][WITH_V ? V / 8 : 1][4];
        clear(sum_qk);
        clear(sum_v);
        plim_barrier_wait(own_full(), 0);
        int column = from;
        for (int i = 0; i < steps; i++) {
            float p[1][TILE / 8][4], dp[TILE / 8][4];
            unsigned left_p[TILE / 16][4], left_ds[TILE / 16][4];
            plim_barrier_wait(barrier(QK_FULL, i), turn(i));
            begin_rows<S::dim_qk>(p[0], own_qk, tile_qk(i));
            plim_barrier_wait(barrier(V_FULL, i), turn(i));
            begin_rows<S::dim_v>(dp, own_v, tile_v(i));
            plim_products_wait<1>();
            plim_products_hold(p[0]);
            const auto tilt = this->tilt_of(i, row, column);
            probabilities<S, QUERIES_STAY, TILE>(p, row, column, shift, own, listed, tilt,
                                                 values(i));
            if constexpr (WITH_V) {
                pack(left_p, p[0]);
                begin_across(sum_v[0], left_p, tile_v(i));
                plim_products_wait<1>();
            } else {
                plim_products_wait<0>();
            }
            plim_products_hold(dp);
            differentiate_scores<S, QUERIES_STAY, TILE>(p[0], dp, own, values(i), tilt);
            pack(left_ds, p[0]);
            begin_across(sum_qk[0], left_ds, tile_qk(i));
            plim_products_wait<0>();
            plim_products_hold(sum_qk[0]);
            if constexpr (WITH_V)
                plim_products_hold(sum_v[0]);
            plim_syncwarp();
            if (threadIdx.x % 32 == 0)
                plim_barrier_arrive(barrier(EMPTY, i));
            column = column + TILE < to ? column + TILE : from;
        }
        store(group, row, sum_qk, sum_v);
    }
};

template <class S, int PART, int CONSUMERS, int TILE, int STAGES>
PLIM_DEVICE void groups_gradient(const GradOperands &operands) {
    using R = Registers<CONSUMERS, 56, 224>;
    GroupGradient<S, PART, CONSUMERS, TILE, STAGES, false> block(operands);
    block.begin_barriers();
    if (threadIdx.x < 128) {
        R::copying();
        block.copy();
    } else {
        R::multiplying();
        block.compute();
    }
}

template <class S, int PART, int CONSUMERS, int TILE, int STAGES>
PLIM_DEVICE void groups_gradient(const GradMaps &maps, const GradOperands &operands) {
    constexpr bool TABLE = S::documents || S::interval;
    using R = Registers<CONSUMERS, TABLE ? 56 : 40, TABLE ? 224 : 232>;
    if (threadIdx.x == 0) {
        plim_map_prefetch(maps.q);
        plim_map_prefetch(maps.k);
        plim_map_prefetch(maps.v);
        plim_map_prefetch(maps.dout);
    }
    GroupGradient<S, PART, CONSUMERS, TILE, STAGES, true> block(operands);
    block.begin_barriers();
    if (threadIdx.x < 128) {
        R::copying();
        if (threadIdx.x < 32)
            block.fetch(maps);
    } else {
        R::multiplying();
        block.compute();
    }
}

} // namespace attention
