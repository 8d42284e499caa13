// Gradients of attention in one pass, sm_90a, head dims to 128, by tensor maps. Needs
// cuda_attention_groups_grad.cuh.
//
// A block owns 64 keys a group and walks over tiles of queries. Of each tile it makes five products
// where gradients apart (cuda_attention_grad.cuh) take seven:
//     s^T = k q^T,  dp^T = v dout^T,  dv += p^T dout,  dk += ds^T q,  dq += ds k.
// The last one sums over the keys of all groups: they write ds to shared memory, and one of them,
// in turns, multiplies. What it finds belongs to a sum of all blocks of keys, f32 in global memory;
// a warp for each group adds it there, while the group goes on.
//
// Blocks take turns at each tile, the last keys first, so that sums have one order: a number in
// global memory says how many have added. Who begins earlier (blocks begin in the order of their
// numbers, the last keys of a head first) never waits for who begins later, so whoever waits waits
// for a block that runs. With a causal mask a block begins at its diagonal, and where blocks of a
// head begin together, each comes to a tile after its turn has.
namespace attention {

// A kernel's workspace. Sums of dq of a tile are as registers of a group hold them: four numbers of
// each thread, for each eight columns; then the next eight.
struct OnePassSpace {
    const float *values; // [b, h, tile of queries, 2, TILE]: log-sum-exp, delta; 0 of no query
    float *sums;         // [b, h, tile of queries, columns / 8, 128, 4]
    int *turns;          // [b, h, tile of queries]: how many blocks have added
};

template <class S, int TILE> PLIM_DEVICE long long tile_of_queries(int b, int head, int tile) {
    return (long long)(b * S::heads + head) * ((S::queries + TILE - 1) / TILE) + tile;
}

// The block of so many keys that adds first to a tile of queries, the last of those that see it;
// -1: none does.
template <class S, int KEYS, int TILE> PLIM_DEVICE int first_to_add(int tile, int shift) {
    constexpr int LAST = (S::keys + KEYS - 1) / KEYS - 1;
    const int key = tile * TILE + TILE - 1 + shift; // the last one's diagonal
    return !S::causal ? LAST : key < 0 ? -1 : smaller(key / KEYS, LAST);
}

template <class S, int TILE, int STAGES>
struct OnePass : GroupGradient<S, PART_ALL, 2, TILE, STAGES, true> {
    using Walk = GroupGradient<S, PART_ALL, 2, TILE, STAGES, true>;
    using Walk::b;
    using Walk::barrier;
    using Walk::first;
    using Walk::from;
    using Walk::g;
    using Walk::next;
    using Walk::next_head;
    using Walk::shared;
    using Walk::shift;
    using Walk::steps;
    using Walk::tile_qk;
    using Walk::tile_v;
    using Walk::to;
    using Walk::turn;
    using Walk::values;
    static constexpr int QK = Walk::QK, V = Walk::V, GROUPS = 2, KEYS = GROUPS * 64;
    static constexpr unsigned OWN = Walk::OWN;
    static_assert(TILE == 64, "a group multiplies 64 queries");
    // Narrow heads leave registers: for what a group owns, and for the product for dq while dk is
    // being made.
    static constexpr bool NARROW = QK + V <= 128;

    __device__ __forceinline__ OnePass(const GradOperands &operands) : Walk(operands) {
    }

    // A group's place: ds of a tile, rows of keys, and the product of it and the keys.
    __device__ __forceinline__ unsigned ds_of(int group) const {
        return shared + Walk::PLACES + group * Walk::PLACE;
    }
    __device__ __forceinline__ unsigned product_of(int group) const {
        return ds_of(group) + Walk::DS;
    }

    // Barriers behind the stages': of each group's place, both parts are there, and were read.
    enum { DS_FULL, DS_EMPTY, PRODUCT_FULL, PRODUCT_EMPTY };
    __device__ __forceinline__ unsigned place(int kind, int group) const {
        return barrier(3, 0) + (unsigned)(kind * GROUPS + group) * 8;
    }

    __device__ __forceinline__ void begin_places() const {
        if (threadIdx.x == 0)
            for (int i = 0; i < GROUPS; i++) {
                plim_barrier_begin(place(DS_FULL, i), GROUPS * 4);
                plim_barrier_begin(place(DS_EMPTY, i), 4);
                plim_barrier_begin(place(PRODUCT_FULL, i), 4);
                plim_barrier_begin(place(PRODUCT_EMPTY, i), 1);
            }
    }

    // A group's warps have done what a barrier waits for.
    static __device__ __forceinline__ void arrive(unsigned barrier) {
        plim_syncwarp();
        if (threadIdx.x % 32 == 0)
            plim_barrier_arrive(barrier);
    }

    // The parity of the phase of a place in which it is a step's.
    static __device__ __forceinline__ int round(int step) {
        return step / GROUPS % 2;
    }

    // A group's keys, or values, 64 rows at an address: in registers, as left operands, where those
    // suffice, so that shared memory is read for the other operand alone.
    template <int DIM> struct Own {
        static constexpr int STEPS = (DIM + 15) / 16;
        unsigned at, left[NARROW ? STEPS : 1][4];

        __device__ __forceinline__ void load() {
            if constexpr (NARROW) {
                const int lane = (int)threadIdx.x % 32, row = (int)threadIdx.x / 32 % 4 * 16;
                const unsigned first = at + (unsigned)(row + lane % 16) * 128;
                const unsigned chunk = (unsigned)(lane / 16 ^ lane % 8) * 16;
#pragma unroll
                for (int step = 0; step < STEPS; step++)
                    plim_load_matrices(left[step], first + (chunk ^ step * 32));
            }
        }

        // Begins out = this tile^T.
        __device__ __forceinline__ void begin(float (&out)[TILE / 8][4], unsigned tile) const {
            if constexpr (NARROW) {
                const unsigned right = plim_rows_of(tile, 16);
                plim_products_open();
#pragma unroll
                for (int step = 0; step < STEPS; step++)
                    plim_wgmma_kept(out, left[step], plim_rows_at(right, step * 32), step > 0);
                plim_products_close();
            } else {
                Walk::template begin_rows<DIM>(out, at, tile);
            }
        }
    };

    // A warp's 16 rows of ds, as left operands, to the place whose step it is.
    __device__ __forceinline__ void hand_over(int step, const unsigned (&ds)[TILE / 16][4]) const {
        const int owner = step % GROUPS, lane = (int)threadIdx.x % 32;
        const int row = ((int)threadIdx.x / 32 - 4) * 16 + lane % 16;
        const unsigned at = ds_of(owner) + (unsigned)row * 128;
        const unsigned chunk = (unsigned)(lane / 16 ^ lane % 8) * 16;
        plim_barrier_wait(place(DS_EMPTY, owner), round(step) ^ 1);
#pragma unroll
        for (int i = 0; i < TILE / 16; i++)
            plim_store_matrices(at + (chunk ^ i * 32), ds[i]);
        plim_show_products();
        arrive(place(DS_FULL, owner));
    }

    // Begins product = ds k of a tile that both groups have handed over.
    __device__ __forceinline__ void begin_queries(float (&product)[QK / 8][4], int group) const {
        const unsigned ds = plim_rows_of(ds_of(group), 16), keys = plim_rows_of(shared, 64 * 128);
        plim_products_open();
#pragma unroll
        for (int step = 0; step < KEYS / 16; step++)
            plim_wgmma_both_across(product, plim_rows_at(ds, step * 16 * 128),
                                   plim_rows_at(keys, step / 4 * OWN + step % 4 * (16 * 128)),
                                   step > 0);
        plim_products_close();
    }

    // Waits for dk and dv of a step, but not for LEFT products behind them: its tiles were read.
    template <int LEFT>
    __device__ __forceinline__ void finish_keys(int step, float (&sum_qk)[QK / 8][4],
                                                float (&sum_v)[V / 8][4]) const {
        plim_products_wait<LEFT>();
        plim_products_hold(sum_qk);
        plim_products_hold(sum_v);
        arrive(barrier(Walk::EMPTY, step));
    }

    // A product to where the group's adding warp finds it.
    __device__ __forceinline__ void hand_out(int step, int group,
                                             const float (&product)[QK / 8][4]) const {
        plim_barrier_wait(place(PRODUCT_EMPTY, group), round(step) ^ 1);
        const unsigned at = product_of(group) + threadIdx.x % 128 * 16;
#pragma unroll
        for (int n = 0; n < QK / 8; n++)
            plim_shared_store_floats(at + n * 128 * 16, product[n]);
        plim_show_products();
        arrive(place(PRODUCT_FULL, group));
    }

    __device__ __forceinline__ void compute() const {
        const int group = plim_shfl_i32((int)threadIdx.x / 128, 0) - 1;
        const int row = first + group * 64 + (int)threadIdx.x / 32 % 4 * 16;
        Own<S::dim_qk> keys = {shared + group * OWN, {}};
        Own<S::dim_v> own_values = {keys.at + Walk::OwnQk::BYTES, {}};
        const Listed<S, 1, false> listed = {nullptr, row, shift};
        float sum_qk[1][QK / 8][4], sum_v[1][V / 8][4];
        clear(sum_qk);
        clear(sum_v);
        plim_barrier_wait(this->own_full(), 0);
        keys.load();
        own_values.load();
        int column = from;
        for (int i = 0; i < steps; i++) {
            float p[1][TILE / 8][4], dp[TILE / 8][4];
            unsigned left_p[TILE / 16][4], left_ds[TILE / 16][4];
            plim_barrier_wait(barrier(Walk::QK_FULL, i), turn(i));
            keys.begin(p[0], tile_qk(i));
            plim_barrier_wait(barrier(Walk::V_FULL, i), turn(i));
            own_values.begin(dp, tile_v(i));
            plim_products_wait<1>();
            plim_products_hold(p[0]);
            const auto tilt = this->tilt_of(i, row, column);
            probabilities<S, false, TILE>(p, row, column, shift, {}, listed, tilt, values(i));
            Walk::pack(left_p, p[0]);
            Walk::begin_across(sum_v[0], left_p, tile_v(i));
            // What a cap's tanh takes leaves no registers for p while dv is made.
            plim_products_wait<S::cap == 0>();
            plim_products_hold(dp);
            differentiate_scores<S, false, TILE>(p[0], dp, {}, values(i), tilt);
            Walk::pack(left_ds, p[0]);
            hand_over(i, left_ds);
            Walk::begin_across(sum_qk[0], left_ds, tile_qk(i));
            if (i % GROUPS == group) {
                float product[QK / 8][4];
                plim_barrier_wait(place(DS_FULL, group), round(i));
                if constexpr (!NARROW)
                    finish_keys<0>(i, sum_qk[0], sum_v[0]);
                begin_queries(product, group);
                if constexpr (NARROW)
                    finish_keys<1>(i, sum_qk[0], sum_v[0]);
                plim_products_wait<0>();
                plim_products_hold(product);
                arrive(place(DS_EMPTY, group));
                hand_out(i, group, product);
            } else {
                finish_keys<0>(i, sum_qk[0], sum_v[0]);
            }
            column = column + TILE < to ? column + TILE : from;
        }
        // The other group may still multiply by the keys, whose place the results take.
        plim_threads_meet(1 + GROUPS, GROUPS * 128);
        this->store(group, row, sum_qk, sum_v);
    }

    // By one thread.
    __device__ __forceinline__ void fetch(const GradMaps &maps, const OnePassSpace &space) {
        this->fetch_own(maps);
        for (int i = 0; i < steps; i++) {
            const unsigned qk_full = barrier(Walk::QK_FULL, i), v_full = barrier(Walk::V_FULL, i);
            plim_barrier_wait(barrier(Walk::EMPTY, i), turn(i) ^ 1);
            plim_barrier_expect(qk_full, Walk::TileQk::BYTES + TILE * 8);
            Walk::template fetch_qk<TILE, true>(maps, tile_qk(i), next_head, next, qk_full);
            plim_copy_bytes(values(i),
                            space.values +
                                tile_of_queries<S, TILE>(b, next_head, next / TILE) * (2 * TILE),
                            TILE * 8, qk_full);
            plim_barrier_expect(v_full, Walk::TileV::BYTES);
            Walk::template fetch_v<TILE, true>(maps, tile_v(i), next_head, next, v_full);
            this->step_on();
        }
    }

    // Adds a group's products to the sums, by one thread.
    __device__ __forceinline__ void add(int group, const OnePassSpace &space) const {
        int head = g * Walk::SHARING, at = from;
        for (int i = 0; i < steps; i++) {
            if (i % GROUPS == group) {
                const int tile = at / TILE;
                const int mine = first_to_add<S, KEYS, TILE>(tile, shift) - first / KEYS;
                const long long where = tile_of_queries<S, TILE>(b, head, tile);
                float *sums = space.sums + where * (TILE * QK);
                plim_turn_wait(space.turns + where, mine);
                plim_barrier_wait(place(PRODUCT_FULL, group), round(i));
                if (mine == 0)
                    plim_sums_store(sums, product_of(group), TILE * QK * 4);
                else
                    plim_sums_add(sums, product_of(group), TILE * QK * 4);
                plim_sums_wait_read();
                plim_barrier_arrive(place(PRODUCT_EMPTY, group));
                plim_sums_wait();
                plim_turn_pass(space.turns + where, mine + 1);
            }
            at += TILE;
            if (at >= to) {
                at = from;
                head++;
            }
        }
    }
};

template <class S, int TILE, int STAGES>
PLIM_DEVICE void groups_gradients(const GradMaps &maps, const GradOperands &operands,
                                  const OnePassSpace &space) {
    using R = Registers<2, 24, 240>;
    if (threadIdx.x == 0) {
        plim_map_prefetch(maps.q);
        plim_map_prefetch(maps.k);
        plim_map_prefetch(maps.v);
        plim_map_prefetch(maps.dout);
    }
    OnePass<S, TILE, STAGES> block(operands);
    block.begin_places();
    block.begin_barriers();
    if (threadIdx.x < 128) {
        R::copying();
        const int warp = plim_shfl_i32((int)threadIdx.x / 32, 0);
        if (warp <= 2 && plim_elect()) {
            if (warp == 0)
                block.fetch(maps, space);
            else
                block.add(warp - 1, space);
        }
    } else {
        R::multiplying();
        block.compute();
    }
}

// Makes the workspace ready: values, and turns that nobody has taken.
template <class S, int TILE>
PLIM_DEVICE void query_values(const Bf16 *out, const Bf16 *dout, const float *lse, float *values,
                              int *turns, long long tiles) {
    constexpr int POSITIONS = (S::queries + TILE - 1) / TILE * TILE;
    const long long thread = (long long)blockIdx.x * DELTA_THREADS + threadIdx.x;
    if (thread < tiles)
        turns[thread] = 0;
    const long long row = delta_row(), head = row / POSITIONS;
    const int i = (int)(row % POSITIONS);
    const float delta = delta_of<S>(out, dout, row, POSITIONS);
    if (row >= tiles * TILE || threadIdx.x % DELTA_LANES != 0)
        return;
    float *to = values + row / TILE * (2 * TILE) + row % TILE;
    to[0] = i < S::queries ? lse[head * S::queries + i] : 0;
    to[TILE] = delta;
}

// dq of the sums: 0 where nobody has added. A thread takes eight columns of two rows, whose numbers
// stand in a row.
enum { NARROW_THREADS = 128 };
template <class S, int KEYS, int TILE>
PLIM_DEVICE void narrow_queries(const float *sums, Bf16 *dq) {
    constexpr int QK = (S::dim_qk + 63) / 64 * 64, CHUNKS = (S::dim_qk + 7) / 8, PAIRS = TILE / 2;
    constexpr int TILES = (S::queries + TILE - 1) / TILE;
    constexpr float scale = S::sign == 0 ? 0 : S::sign * S::scale;
    const long long i = (long long)blockIdx.x * NARROW_THREADS + threadIdx.x;
    const int chunk = (int)(i % CHUNKS), pair = (int)(i / CHUNKS % PAIRS);
    const long long where = i / CHUNKS / PAIRS;
    const int tile = (int)(where % TILES), h = (int)(where / TILES % S::heads);
    const long long b = where / TILES / S::heads;
    if (b >= S::batch)
        return;
    const float4 *from = (const float4 *)(sums + where * (TILE * QK) + chunk * 512 + pair * 16);
    const bool any = first_to_add<S, KEYS, TILE>(tile, shift_of<S>(nullptr)) >= 0;
    float row[2][8] = {};
#pragma unroll
    for (int t = 0; t < 4 && any; t++) {
        const float4 four = from[t];
        row[0][2 * t] = four.x, row[0][2 * t + 1] = four.y;
        row[1][2 * t] = four.z, row[1][2 * t + 1] = four.w;
    }
    const int first = tile * TILE + pair / 8 * 16 + pair % 8;
    dq += b * S::dq_batch + h * S::dq_head;
#pragma unroll
    for (int half = 0; half < 2; half++) {
        if (first + half * 8 >= S::queries)
            continue;
        Bf16 *to = dq + (first + half * 8) * S::dq_position + chunk * 8;
        if constexpr (S::wide_dq) {
            uint4 out;
            out.x = plim_narrow_pair(row[half][0] * scale, row[half][1] * scale);
            out.y = plim_narrow_pair(row[half][2] * scale, row[half][3] * scale);
            out.z = plim_narrow_pair(row[half][4] * scale, row[half][5] * scale);
            out.w = plim_narrow_pair(row[half][6] * scale, row[half][7] * scale);
            *(uint4 *)to = out;
        } else {
            for (int e = 0; e < 8 && chunk * 8 + e < S::dim_qk; e++)
                to[e] = plim_narrow(row[half][e] * scale);
        }
    }
}

} // namespace attention
