// Attention of one query a head, as when text is generated, on tensor cores. Needs
// cuda_attention.cuh.
//
// Time goes into reading keys and values, so each is read once: the heads of a group are the rows
// of one product, and a group's keys are split among SPLITS blocks of one warp, which leave
// unfinished results in the workspace. A second launch joins those in order.
namespace attention {

// One split's result of one head: dim_v sums, the largest score, the sum of exponentials.
template <class S> constexpr int SINGLE_FLOATS = S::dim_v + 2;

template <class S, int SPLITS, int TILE>
PLIM_DEVICE void single_split(const Bf16 *q, const Bf16 *k, const Bf16 *v, float *partial,
                              const Beside &beside) {
    constexpr int QK = S::width_qk, V = S::width_v, SHARING = S::heads / S::groups;
    constexpr int PARTS = (SHARING + 15) / 16; // of a group's heads
    constexpr unsigned K_BYTES = TILE * QK * 2, STAGE = K_BYTES + TILE * V * 2;
    const unsigned q_tile = plim_shared_address(), stages = q_tile + 16 * QK * 2;
    const int split = (int)blockIdx.x % SPLITS, owner = (int)blockIdx.x / SPLITS;
    const int part = owner % PARTS, g = owner / PARTS % S::groups, b = owner / PARTS / S::groups;
    const int shift = shift_of<S>(beside.extra), lane = (int)threadIdx.x % 32;
    const int all_from = keys_from<S>(0, shift), all_to = keys_to<S>(0, shift);
    const int each = ((all_to - all_from + SPLITS - 1) / SPLITS + TILE - 1) / TILE * TILE;
    const int from = all_from + split * each, to = smaller(from + each, all_to);
    k += b * S::k_batch + g * S::k_head;
    v += b * S::v_batch + g * S::v_head;
    const auto load = [&](int key, unsigned stage) {
        load_tile<TILE, QK, S::dim_qk, S::wide_k, 32>(stage, k, S::k_position, key, from, to);
        load_tile<TILE, V, S::dim_v, S::wide_v, 32>(stage + K_BYTES, v, S::v_position, key, from,
                                                    to);
        plim_copies_close();
    };

    load_tile<16, QK, S::dim_qk, S::wide_q, 32>(
        q_tile, q + b * S::q_batch + g * SHARING * S::q_head, S::q_head, part * 16, 0, SHARING);
    load(from, stages);
    float sum[1][V / 8][4], shrink[1][2], slope[2];
    Pairs<S> pairs[2];
    for (int half = 0; half < 2; half++) {
        const int h = g * SHARING + smaller(part * 16 + half * 8 + lane / 4, SHARING - 1);
        slope[half] = slope_of<S>(beside.slopes, h);
        pairs[half].begin(beside, b, h);
    }
    clear(sum);
    Softmax<1> rows;
    begin(rows);
    unsigned stage = stages;
    for (int key = from; key < to; key += TILE) {
        plim_copies_wait<0>();
        plim_syncwarp();
        const unsigned next = stages + stages + STAGE - stage;
        if (key + TILE < to)
            load(key + TILE, next);
        float score[1][TILE / 8][4];
        clear(score);
        multiply_rows<1, TILE, QK>(score, q_tile, stage);
#pragma unroll
        for (int n = 0; n < TILE / 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++) {
                const int at = key + n * 8 + lane % 4 * 2 + e % 2;
                const Pairs<S> &of = pairs[e / 2];
                const float one = score_of<S>(score[0][n][e], slope[e / 2], (float)(at - shift),
                                              of.added(0, at));
                score[0][n][e] = at >= to || !of.shows(0, at) ? minus_infinity() : one;
            }
        soften<S, 1, TILE>(score, rows, shrink);
        rescale(sum, shrink);
        multiply_across<1, TILE, V>(sum, score, stage + K_BYTES);
        stage = next;
    }
    plim_copies_wait<0>();

#pragma unroll
    for (int half = 0; half < 2; half++) {
        float total = rows.sum[0][half];
        total += plim_shfl_xor(total, 1);
        total += plim_shfl_xor(total, 2);
        const int row = part * 16 + half * 8 + lane / 4;
        if (row >= SHARING)
            continue;
        const long long head = (long long)b * S::heads + g * SHARING + row;
        float *to_row = partial + (head * SPLITS + split) * SINGLE_FLOATS<S>;
        for (int n = 0; n < V / 8; n++)
            for (int e = 0; e < 2; e++)
                if (n * 8 + lane % 4 * 2 + e < S::dim_v)
                    to_row[n * 8 + lane % 4 * 2 + e] = sum[0][n][2 * half + e];
        if (lane % 4 == 0) {
            to_row[S::dim_v] = rows.most[0][half];
            to_row[S::dim_v + 1] = total;
        }
    }
}

// A block a head.
template <class S, int SPLITS, int THREADS>
PLIM_DEVICE void single_join(const float *partial, Bf16 *out, float *lse) {
    constexpr float c = factor_of<S>();
    const int head = (int)blockIdx.x, b = head / S::heads, h = head % S::heads;
    partial += (long long)head * SPLITS * SINGLE_FLOATS<S>;
    float most = minus_infinity(), total = 0;
    for (int i = 0; i < SPLITS; i++)
        most = plim_fmax(most, partial[i * SINGLE_FLOATS<S> + S::dim_v]);
    const float base = most == minus_infinity() ? 0 : most * c;
    for (int i = 0; i < SPLITS; i++) {
        const float *one = partial + i * SINGLE_FLOATS<S> + S::dim_v;
        total = plim_fma(one[1], plim_exp2(plim_fma(one[0], c, -base)), total);
    }
    const float inverse = total == 0 ? 0 : 1 / total;
    for (int d = (int)threadIdx.x; d < S::dim_v; d += THREADS) {
        float sum = 0;
        for (int i = 0; i < SPLITS; i++) {
            const float *one = partial + i * SINGLE_FLOATS<S>;
            sum = plim_fma(one[d], plim_exp2(plim_fma(one[S::dim_v], c, -base)), sum);
        }
        out[b * S::out_batch + h * S::out_head + d] = plim_narrow(sum * inverse);
    }
    if (threadIdx.x == 0)
        lse[head] = total == 0 ? minus_infinity() : plim_fma(most, c, plim_log2(total)) * LN_2;
}

} // namespace attention
