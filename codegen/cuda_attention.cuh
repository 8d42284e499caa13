// Attention on tensor cores by mma.sync: what its kernels share, and the forward kernel.
//
// A block owns tiles of 16 FRAGMENTS queries a warp of one head and walks over the keys they see in
// tiles of TILE, the next tile on its way while this one is used. Scores and probabilities stay in
// registers: the accumulators of q k^T are, two bf16 to a register, the left operand of p v.
// Softmax is running: sums and result are rescaled where the largest score grows (Milakov and
// Gimelshein 2018; Dao et al., FlashAttention, 2022 and 2023). Exponents are to base 2, scale and
// log2(e) in one factor. Every sum has a fixed order.
//
// Tiles in shared memory are rows of WIDTH bf16 in chunks of 16 bytes; which chunk stands where is
// twisted by the row, so that the eight rows a matrix load touches at once lie in different banks.
//
// S, printed for each kernel, tells the shape: queries, keys, heads, groups, dim_qk, dim_v and
// those rounded up to 16 (width_qk, width_v); window (0: none), causal, offset, interval,
// documents, slopes; scale (its amount) and sign (-1, 0, 1); cap (0: none); wide_X: rows of X can
// be read 16 bytes at a time; strides as X_batch, X_head, X_position. bias, mask; with a bias Bias,
// its element type; strides of both as X_batch, X_head, X_query, X_key.
namespace attention {

typedef unsigned short Bf16;

constexpr float LOG2_E = 1.44269504f, LN_2 = 0.693147181f;

PLIM_DEVICE float minus_infinity() {
    return plim_float(0xff800000u);
}

PLIM_DEVICE int smaller(int a, int b) {
    return a < b ? a : b;
}

PLIM_DEVICE int larger(int a, int b) {
    return a > b ? a : b;
}

PLIM_DEVICE float widen(float x) {
    return x;
}

PLIM_DEVICE float widen(Bf16 x) {
    return plim_widen(x);
}

PLIM_DEVICE void narrow(float x, float *to) {
    *to = x;
}

PLIM_DEVICE void narrow(float x, Bf16 *to) {
    *to = plim_narrow(x);
}

// The operands behind those that every kernel has, or nothing.
struct Beside {
    const int *extra;    // the offset, or the table
    const float *slopes; // of each head
    const void *bias;
    const unsigned char *mask;
};

// What a head has of pairs of queries and keys, from query 0 and key 0 on. Read where it is used,
// an element at a time: neighbouring threads read neighbouring keys, and heads that share it find
// it in a cache.
template <class S> struct Pairs {
    const void *bias;
    const unsigned char *mask;

    PLIM_METHOD void begin(const Beside &beside, int b, int h) {
        if constexpr (S::bias)
            bias = (const typename S::Bias *)beside.bias + b * S::bias_batch + h * S::bias_head;
        if constexpr (S::mask)
            mask = beside.mask + b * S::mask_batch + h * S::mask_head;
    }

    // Minus infinity past the last query or key.
    PLIM_METHOD float added(int query, int key) const {
        if constexpr (S::bias)
            return query < S::queries && key < S::keys
                       ? widen(((const typename S::Bias *)
                                    bias)[query * S::bias_query + key * S::bias_key])
                       : minus_infinity();
        return 0;
    }

    PLIM_METHOD bool shows(int query, int key) const {
        if constexpr (S::mask)
            return query < S::queries && key < S::keys &&
                   mask[query * S::mask_query + key * S::mask_key] != 0;
        return true;
    }
};

// Query i stands beside key i + shift.
template <class S> PLIM_DEVICE int shift_of(const int *extra) {
    constexpr int most = S::keys - S::queries;
    if constexpr (S::offset)
        return smaller(larger(*extra, 0), most);
    return most;
}

// The keys that queries first .. last see lie in [from, to).
template <class S> PLIM_DEVICE int keys_from(int first, int shift) {
    return S::window > 0 ? larger(first + shift - S::window + 1, 0) : 0;
}

template <class S> PLIM_DEVICE int keys_to(int last, int shift) {
    return S::causal ? smaller(last + shift + 1, S::keys) : S::keys;
}

// The queries that see keys first .. last lie in [from, to).
template <class S> PLIM_DEVICE int queries_from(int first, int shift) {
    return S::causal ? larger(first - shift, 0) : 0;
}

template <class S> PLIM_DEVICE int queries_to(int last, int shift) {
    return S::window > 0 ? smaller(last - shift + S::window, S::queries) : S::queries;
}

template <class S> PLIM_DEVICE bool sees(int query, int key, int shift) {
    return key < S::keys && (!S::causal || key <= query + shift) &&
           (S::window == 0 || key > query + shift - S::window);
}

// Whether each of `queries` queries sees each of `keys` keys.
template <class S> PLIM_DEVICE bool all_see(int query, int queries, int key, int keys, int shift) {
    return key + keys <= S::keys && (!S::causal || key + keys - 1 <= query + shift) &&
           (S::window == 0 || key > query + queries - 1 + shift - S::window);
}

// The table of a batch row: with S::interval from where, then to where each query sees keys; then
// with S::documents each key's document. extra: the tables of all, where there are any.
template <class S> PLIM_DEVICE const int *table_of(const int *extra, int b) {
    constexpr long long ROW = (S::interval ? 2LL * S::queries : 0) + (S::documents ? S::keys : 0);
    return ROW > 0 ? extra + b * ROW : nullptr;
}

// A key's document, or a query's by the key it stands beside; past the last key the last one's.
template <class S> PLIM_DEVICE int document_of(const int *table, int key) {
    return table[(S::interval ? 2 * S::queries : 0) + smaller(key, S::keys - 1)];
}

// Where the keys begin that a query sees, and where they end; past the last query the last one's.
template <class S> PLIM_DEVICE int begin_of(const int *table, int query) {
    return table[smaller(query, S::queries - 1)];
}

template <class S> PLIM_DEVICE int end_of(const int *table, int query) {
    return table[S::queries + smaller(query, S::queries - 1)];
}

// Whether the table lets a query see a key that it sees but for that.
template <class S> PLIM_DEVICE bool lists(const int *table, int query, int key, int shift) {
    if constexpr (S::interval)
        if (key < begin_of<S>(table, query) || key >= end_of<S>(table, query))
            return false;
    if constexpr (S::documents)
        return document_of<S>(table, query + shift) == document_of<S>(table, key);
    return true;
}

// Of all threads of a warp.
PLIM_DEVICE int least_of(int x) {
    for (int apart = 1; apart < 32; apart *= 2)
        x = smaller(x, plim_shfl_xor_i32(x, apart));
    return x;
}

PLIM_DEVICE int most_of(int x) {
    for (int apart = 1; apart < 32; apart *= 2)
        x = larger(x, plim_shfl_xor_i32(x, apart));
    return x;
}

// Narrows [from, to), positions of what a block walks over, to those from the first to the last
// that the table may let it meet. The block owns `count` queries, or keys, from `first` on, and
// walks over the others; of documents it meets those in the range of ids of what it owns. Shared
// memory must be free.
template <class S, int THREADS, bool QUERIES_STAY>
PLIM_DEVICE void narrow_walk(const int *table, int first, int count, int shift, int &from,
                             int &to) {
    const int lane = (int)threadIdx.x % 32, warp = (int)threadIdx.x / 32;
    if constexpr (S::interval && QUERIES_STAY) {
        int begin = to, end = from;
        for (int i = lane; i < count; i += 32) {
            begin = smaller(begin, begin_of<S>(table, first + i));
            end = larger(end, end_of<S>(table, first + i));
        }
        to = smaller(to, most_of(end));
        from = smaller(larger(from, least_of(begin)), to);
    }
    if constexpr (S::documents || (S::interval && !QUERIES_STAY)) {
        int least = 0, most = 0;
        if constexpr (S::documents) {
            const int own = QUERIES_STAY ? first + shift : first;
            least = most = document_of<S>(table, own);
            for (int i = lane; i < count; i += 32) {
                const int id = document_of<S>(table, own + i);
                least = smaller(least, id);
                most = larger(most, id);
            }
            least = least_of(least);
            most = most_of(most);
        }
        int begin = to, end = from;
#pragma unroll 4
        for (int i = from + (int)threadIdx.x; i < to; i += THREADS) {
            bool meets = true;
            if constexpr (S::documents) {
                const int id = document_of<S>(table, QUERIES_STAY ? i : i + shift);
                meets = id >= least && id <= most;
            }
            if constexpr (S::interval && !QUERIES_STAY)
                meets =
                    meets && begin_of<S>(table, i) < first + count && end_of<S>(table, i) > first;
            if (meets) {
                begin = smaller(begin, i);
                end = i + 1;
            }
        }
        int *found = (int *)plim_shared();
        begin = least_of(begin);
        end = most_of(end);
        if (lane == 0) {
            found[2 * warp] = begin;
            found[2 * warp + 1] = end;
        }
        __syncthreads();
        for (int i = 0; i < THREADS / 32; i++) {
            begin = smaller(begin, found[2 * i]);
            end = larger(end, found[2 * i + 1]);
        }
        __syncthreads();
        from = begin;
        to = end;
    }
}

// What the table says of the 16 F rows of a product that a warp has, queries or keys, and of its
// columns. It is read again where it is asked, rather than kept in registers, of which there are
// none to spare.
template <class S, int F, bool QUERIES_STAY = true> struct Listed {
    const int *table; // of the batch row
    int row, shift;   // the warp's first row

    // Whether all rows and the N columns from `column` on are listed for each other.
    template <int N> PLIM_METHOD bool all(int column) const {
        constexpr int QUERIES = QUERIES_STAY ? 16 * F : N, KEYS = QUERIES_STAY ? N : 16 * F;
        const int query = QUERIES_STAY ? row : column, key = QUERIES_STAY ? column : row;
        const int lane = (int)threadIdx.x % 32;
        bool all = true;
        if constexpr (S::interval)
            for (int i = lane; i < QUERIES; i += 32)
                all = all && begin_of<S>(table, query + i) <= key &&
                      end_of<S>(table, query + i) >= key + KEYS;
        if constexpr (S::documents) {
            const int first = document_of<S>(table, query + shift);
            for (int i = lane; i < QUERIES; i += 32)
                all = all && document_of<S>(table, query + shift + i) == first;
            for (int i = lane; i < KEYS; i += 32)
                all = all && document_of<S>(table, key + i) == first;
        }
        if constexpr (S::interval || S::documents)
            return plim_ballot(!all) == 0;
        return true;
    }

    // Of the row that this thread has a part of.
    PLIM_METHOD bool one(int f, int half, int column) const {
        const int own = row + f * 16 + half * 8 + (int)threadIdx.x % 32 / 4;
        return lists<S>(table, QUERIES_STAY ? own : column, QUERIES_STAY ? column : own, shift);
    }
};

// What a product of q and k is multiplied by, after the cap's tanh, where there is one. 1 where the
// scale is 0: all products then are.
template <class S> static __device__ constexpr float amount_of() {
    return S::sign == 0 ? 1.0f : S::cap > 0 ? S::cap : S::scale;
}

// What a score is multiplied by before its exponential to base 2: where no bias is added, scores
// are left without their amount until then.
template <class S> static __device__ constexpr float factor_of() {
    return S::slopes || S::bias ? LOG2_E : amount_of<S>() * LOG2_E;
}

// tanh x = 1 - 2 / (1 + e^2x): two approximations of hardware, off by 2^-22 at most, as the score
// is beside 1. (tanh.approx would be off by 2^-11, which a cap of 50 makes 0.02 of a score.)
template <class S> PLIM_DEVICE float bounded(float product) {
    constexpr float sign = S::sign;
    if constexpr (S::sign == 0) {
        return 0;
    } else if constexpr (S::cap > 0) {
        constexpr float twice = 2 * LOG2_E * sign * (S::scale / S::cap);
        return plim_fma(-2.0f, plim_reciprocal(1 + plim_exp2(product * twice)), 1.0f);
    } else {
        return sign * product;
    }
}

// slope: the head's; distance: from the query's place to the key; bias: the pair's.
template <class S>
PLIM_DEVICE float score_of(float product, float slope, float distance, float bias = 0) {
    if constexpr (S::slopes && S::bias)
        return plim_fma(slope, distance, bounded<S>(product) * amount_of<S>()) + bias;
    else if constexpr (S::slopes)
        return plim_fma(slope, distance, bounded<S>(product) * amount_of<S>());
    else if constexpr (S::bias)
        return plim_fma(bounded<S>(product), amount_of<S>(), bias);
    else
        return bounded<S>(product);
}

// The log-sum-exp of a query whose biases are all minus infinity: 0 stands for minus infinity, of
// which minus infinity can't be taken.
template <class S> PLIM_DEVICE float finite(float lse) {
    return S::bias && lse == minus_infinity() ? 0 : lse;
}

// How much a capped score grows with its product, over the scale: 1 - tanh^2. Taken back from its
// probability, rather than kept in registers; lse to base 2.
template <class S>
PLIM_DEVICE float growth_of(float probability, float lse, float slope, float distance,
                            float bias = 0) {
    float score = (plim_log2(probability) + lse) * (1 / factor_of<S>());
    if constexpr (S::bias)
        score -= bias;
    if constexpr (S::slopes)
        score = plim_fma(-slope, distance, score);
    if constexpr (S::slopes || S::bias)
        score *= 1 / amount_of<S>();
    return probability == 0 ? 0 : plim_fma(-score, score, 1.0f);
}

// What a head adds to scores and hides of them, for the parts of a tile's accumulators that a
// thread has.
template <class S, bool QUERIES_STAY = true> struct Tilt {
    float slope;
    Pairs<S> pairs;
    float first;     // distance of the thread's first element
    int row, column; // of that element

    // Of a warp's rows from `row` on and a tile's columns from `column` on.
    PLIM_METHOD void begin(int row, int column, int shift) {
        const int lane = (int)threadIdx.x % 32;
        const int apart = column + lane % 4 * 2 - row - lane / 4;
        first = (float)(QUERIES_STAY ? apart - shift : -apart - shift);
        this->row = row + lane / 4;
        this->column = column + lane % 4 * 2;
    }

    // Element e of the eight columns from 8 n on, of the 16 rows from 16 f on.
    PLIM_METHOD float distance(int f, int n, int e) const {
        const int apart = n * 8 + e % 2 - f * 16 - e / 2 * 8;
        return first + (float)(QUERIES_STAY ? apart : -apart);
    }

    PLIM_METHOD float bias(int f, int n, int e) const {
        const int i = row + f * 16 + e / 2 * 8, j = column + n * 8 + e % 2;
        return QUERIES_STAY ? pairs.added(i, j) : pairs.added(j, i);
    }

    PLIM_METHOD bool shows(int f, int n, int e) const {
        const int i = row + f * 16 + e / 2 * 8, j = column + n * 8 + e % 2;
        return QUERIES_STAY ? pairs.shows(i, j) : pairs.shows(j, i);
    }
};

template <class S> PLIM_DEVICE float slope_of(const float *slopes, int head) {
    if constexpr (S::slopes)
        return slopes[head];
    return 0;
}

template <int WIDTH> struct Tile {
    static constexpr int CHUNKS = WIDTH / 8; // of a row; even
    static constexpr int ROW = WIDTH * 2;    // bytes
    // Chunks that trade places. 8 rows of as many chunks each fill the banks alike.
    static constexpr int PERIOD = CHUNKS % 8 == 0 ? 8 : CHUNKS % 4 == 0 ? 4 : 2;

    PLIM_DEVICE int twist(int row) {
        return row / (8 / PERIOD) % PERIOD;
    }

    PLIM_DEVICE unsigned at(int row, int chunk) {
        return (unsigned)(row * ROW + (chunk ^ twist(row)) * 16);
    }

    // From the start of a row on: chunk 2 pair + half, where twisted is half ^ twist(row).
    PLIM_DEVICE unsigned pair_at(int twisted, int pair) {
        const int even = 2 * pair;
        return (unsigned)(((even & ~(PERIOD - 1)) + ((even & (PERIOD - 1)) ^ twisted)) * 16);
    }
};

// Rows first .. first + ROWS - 1 of a head into a tile of layout T; 0 outside [from, to) and from
// DIM on.
template <class T, int ROWS, int DIM, bool WIDE, int THREADS>
PLIM_DEVICE void load_rows(unsigned tile, const Bf16 *head, long long stride, int first, int from,
                           int to) {
#pragma unroll 8
    for (int i = 0; i < ROWS * T::CHUNKS; i += THREADS) {
        const int at = i + (int)threadIdx.x;
        if (ROWS * T::CHUNKS % THREADS != 0 && at >= ROWS * T::CHUNKS)
            break;
        const int row = at / T::CHUNKS, chunk = at % T::CHUNKS, position = first + row;
        const bool there = position >= from && position < to;
        const Bf16 *source = head + position * stride + chunk * 8;
        const unsigned target = tile + T::at(row, chunk);
        if constexpr (WIDE) {
            plim_copy_16(target, source, there && chunk * 8 < DIM);
        } else {
            for (int e = 0; e < 8; e++)
                plim_shared_store_half(target + 2 * e,
                                       there && chunk * 8 + e < DIM ? source[e] : (Bf16)0);
        }
    }
}

template <int ROWS, int WIDTH, int DIM, bool WIDE, int THREADS>
PLIM_DEVICE void load_tile(unsigned tile, const Bf16 *head, long long stride, int first, int from,
                           int to) {
    load_rows<Tile<WIDTH>, ROWS, DIM, WIDE, THREADS>(tile, head, stride, first, from, to);
}

// sum += a b^T: 16 F rows from address a on, N rows from b on, WIDTH columns.
template <int F, int N, int WIDTH>
PLIM_DEVICE void multiply_rows(float (&sum)[F][N / 8][4], unsigned a, unsigned b) {
    using T = Tile<WIDTH>;
    const int lane = (int)threadIdx.x % 32;
    const int a_row = lane % 16, b_row = lane % 8 + lane / 16 * 8;
    const int a_twisted = lane / 16 ^ T::twist(a_row), b_twisted = lane / 8 % 2 ^ T::twist(b_row);
    a += (unsigned)(a_row * T::ROW);
    b += (unsigned)(b_row * T::ROW);
#pragma unroll
    for (int step = 0; step < WIDTH / 16; step++) {
        unsigned left[F][4];
#pragma unroll
        for (int f = 0; f < F; f++)
            plim_load_matrices(left[f], a + f * 16 * T::ROW + T::pair_at(a_twisted, step));
#pragma unroll
        for (int n = 0; n < N / 16; n++) {
            unsigned right[4];
            plim_load_matrices(right, b + n * 16 * T::ROW + T::pair_at(b_twisted, step));
#pragma unroll
            for (int f = 0; f < F; f++) {
                plim_mma_bf16(sum[f][2 * n], left[f], right[0], right[1]);
                plim_mma_bf16(sum[f][2 * n + 1], left[f], right[2], right[3]);
            }
        }
    }
}

// sum += p b: p in registers, 16 F rows by N; b: N rows of WIDTH columns.
template <int F, int N, int WIDTH>
PLIM_DEVICE void multiply_across(float (&sum)[F][WIDTH / 8][4], const float (&p)[F][N / 8][4],
                                 unsigned b) {
    using T = Tile<WIDTH>;
    const int lane = (int)threadIdx.x % 32, row = lane % 16;
    const int twisted = lane / 16 ^ T::twist(row);
    b += (unsigned)(row * T::ROW);
#pragma unroll
    for (int step = 0; step < N / 16; step++) {
        // The accumulators of two neighbouring products are one left operand.
        unsigned left[F][4];
#pragma unroll
        for (int f = 0; f < F; f++) {
            const float(&low)[4] = p[f][2 * step], (&high)[4] = p[f][2 * step + 1];
            left[f][0] = plim_narrow_pair(low[0], low[1]);
            left[f][1] = plim_narrow_pair(low[2], low[3]);
            left[f][2] = plim_narrow_pair(high[0], high[1]);
            left[f][3] = plim_narrow_pair(high[2], high[3]);
        }
#pragma unroll
        for (int n = 0; n < WIDTH / 16; n++) {
            unsigned right[4];
            plim_load_matrices_across(right, b + step * 16 * T::ROW + T::pair_at(twisted, n));
#pragma unroll
            for (int f = 0; f < F; f++) {
                plim_mma_bf16(sum[f][2 * n], left[f], right[0], right[1]);
                plim_mma_bf16(sum[f][2 * n + 1], left[f], right[2], right[3]);
            }
        }
    }
}

template <int F, int N> PLIM_DEVICE void clear(float (&sum)[F][N][4]) {
#pragma unroll
    for (int f = 0; f < F; f++)
#pragma unroll
        for (int n = 0; n < N; n++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                sum[f][n][e] = 0;
}

// Writes a warp's sums [16 F, DIM], times a factor for each row, to positions first .. of a head,
// those below `limit`. By way of the warp's own rows of a tile, so that it writes whole chunks.
template <int F, int WIDTH, int DIM, bool WIDE>
PLIM_DEVICE void store_rows(unsigned tile, const float (&sum)[F][WIDTH / 8][4],
                            const float (&factor)[F][2], Bf16 *head, long long stride, int first,
                            int limit) {
    using T = Tile<WIDTH>;
    const int lane = (int)threadIdx.x % 32;
    plim_syncwarp();
#pragma unroll
    for (int f = 0; f < F; f++)
#pragma unroll
        for (int n = 0; n < WIDTH / 8; n++)
#pragma unroll
            for (int half = 0; half < 2; half++)
                plim_shared_store(tile + T::at(f * 16 + half * 8 + lane / 4, n) +
                                      (unsigned)(lane % 4 * 4),
                                  plim_narrow_pair(sum[f][n][2 * half] * factor[f][half],
                                                   sum[f][n][2 * half + 1] * factor[f][half]));
    plim_syncwarp();
    for (int i = lane; i < 16 * F * T::CHUNKS; i += 32) {
        const int row = i / T::CHUNKS, chunk = i % T::CHUNKS;
        if (first + row >= limit || chunk * 8 >= DIM)
            continue;
        Bf16 *target = head + (first + row) * stride + chunk * 8;
        if constexpr (WIDE) {
            *(uint4 *)target = plim_shared_load_16(tile + T::at(row, chunk));
        } else {
            for (int e = 0; e < 8 && chunk * 8 + e < DIM; e++)
                target[e] = plim_shared_load_half(tile + T::at(row, chunk) + 2 * e);
        }
    }
}

// Makes scores of products of 16 F queries with N keys; minus infinity where a key is not seen.
template <class S, int F, int N>
PLIM_DEVICE void mask_scores(float (&score)[F][N / 8][4], const Listed<S, F> &listed, Tilt<S> tilt,
                             int query, int key, int shift) {
    const int lane = (int)threadIdx.x % 32;
    tilt.begin(query, key, shift);
#pragma unroll
    for (int f = 0; f < F; f++)
#pragma unroll
        for (int n = 0; n < N / 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                score[f][n][e] = score_of<S>(score[f][n][e], tilt.slope, tilt.distance(f, n, e),
                                             tilt.bias(f, n, e));
    if (!S::mask && all_see<S>(query, 16 * F, key, N, shift) && listed.template all<N>(key))
        return;
#pragma unroll
    for (int f = 0; f < F; f++)
#pragma unroll
        for (int n = 0; n < N / 8; n++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                if (!sees<S>(query + f * 16 + e / 2 * 8 + lane / 4,
                             key + n * 8 + lane % 4 * 2 + e % 2, shift) ||
                    !listed.one(f, e / 2, key + n * 8 + lane % 4 * 2 + e % 2) ||
                    !tilt.shows(f, n, e))
                    score[f][n][e] = minus_infinity();
}

// Of the rows that a thread has a part of: the largest score so far, and the sum of this thread's
// part.
template <int F> struct Softmax {
    float most[F][2], sum[F][2];
};

// Turns scores into numbers in proportion to probabilities. shrink: what was summed before is to be
// multiplied by, where the largest score has grown.
template <class S, int F, int N>
PLIM_DEVICE void soften(float (&score)[F][N / 8][4], Softmax<F> &rows, float (&shrink)[F][2]) {
    constexpr float c = factor_of<S>();
#pragma unroll
    for (int f = 0; f < F; f++) {
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float most = rows.most[f][half];
#pragma unroll
            for (int n = 0; n < N / 8; n++)
                most = plim_fmax(most, plim_fmax(score[f][n][2 * half], score[f][n][2 * half + 1]));
            // The other columns of the row belong to the neighbouring three lanes.
            most = plim_fmax(most, plim_shfl_xor(most, 1));
            most = plim_fmax(most, plim_shfl_xor(most, 2));
            // A row that has seen nothing yet: all its exponents are minus infinity.
            const float base = most == minus_infinity() ? 0 : most * c;
            shrink[f][half] = plim_exp2(plim_fma(rows.most[f][half], c, -base));
            rows.most[f][half] = most;
            float part = rows.sum[f][half] * shrink[f][half];
#pragma unroll
            for (int n = 0; n < N / 8; n++)
#pragma unroll
                for (int e = 2 * half; e < 2 * half + 2; e++) {
                    score[f][n][e] = plim_exp2(plim_fma(score[f][n][e], c, -base));
                    part += score[f][n][e];
                }
            rows.sum[f][half] = part;
        }
    }
}

template <int F, int N>
PLIM_DEVICE void rescale(float (&sum)[F][N][4], const float (&shrink)[F][2]) {
#pragma unroll
    for (int f = 0; f < F; f++) {
        // After the first tiles the largest score seldom grows.
        if (plim_ballot(shrink[f][0] != 1 || shrink[f][1] != 1) == 0)
            continue;
#pragma unroll
        for (int n = 0; n < N; n++)
#pragma unroll
            for (int e = 0; e < 4; e++)
                sum[f][n][e] *= shrink[f][e / 2];
    }
}

template <int F> PLIM_DEVICE void begin(Softmax<F> &rows) {
#pragma unroll
    for (int f = 0; f < F; f++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            rows.most[f][half] = minus_infinity();
            rows.sum[f][half] = 0;
        }
}

// What a row's sum is divided by, and its log-sum-exp, to lse[i] of queries i from `query` on.
template <class S, int F>
PLIM_DEVICE void finish(const Softmax<F> &rows, float (&inverse)[F][2], float *lse, int query) {
    const int lane = (int)threadIdx.x % 32;
#pragma unroll
    for (int f = 0; f < F; f++)
#pragma unroll
        for (int half = 0; half < 2; half++) {
            float total = rows.sum[f][half];
            total += plim_shfl_xor(total, 1);
            total += plim_shfl_xor(total, 2);
            // A query without keys: out 0, log-sum-exp minus infinity.
            inverse[f][half] = total == 0 ? 0 : 1 / total;
            const int i = query + f * 16 + half * 8 + lane / 4;
            if (lane % 4 == 0 && i < S::queries)
                lse[i] =
                    total == 0
                        ? minus_infinity()
                        : plim_fma(rows.most[f][half], factor_of<S>(), plim_log2(total)) * LN_2;
        }
}

template <class S, int WARPS, int FRAGMENTS, int TILE>
PLIM_DEVICE void forward(const Bf16 *q, const Bf16 *k, const Bf16 *v, Bf16 *out, float *lse,
                         const Beside &beside) {
    constexpr int QK = S::width_qk, V = S::width_v, THREADS = WARPS * 32;
    constexpr int WARP_ROWS = 16 * FRAGMENTS, ROWS = WARPS * WARP_ROWS;
    constexpr int TILES = (S::queries + ROWS - 1) / ROWS;
    constexpr unsigned K_BYTES = TILE * QK * 2, STAGE = K_BYTES + TILE * V * 2;
    const unsigned q_tile = plim_shared_address(), stages = q_tile + ROWS * (QK > V ? QK : V) * 2;
    const int warp = (int)threadIdx.x / 32;
    // Blocks of one head follow each other, to share its keys in cache; those with most keys begin.
    const int row = (int)blockIdx.x / TILES, first = (TILES - 1 - (int)blockIdx.x % TILES) * ROWS;
    const int b = row / S::heads, h = row % S::heads, g = h / (S::heads / S::groups);
    const int shift = shift_of<S>(beside.extra);
    Tilt<S> tilt = {slope_of<S>(beside.slopes, h)};
    tilt.pairs.begin(beside, b, h);
    int from = keys_from<S>(first, shift);
    int to = keys_to<S>(smaller(first + ROWS, S::queries) - 1, shift);
    const int *table = table_of<S>(beside.extra, b);
    narrow_walk<S, THREADS, true>(table, first, ROWS, shift, from, to);
    q += b * S::q_batch + h * S::q_head;
    k += b * S::k_batch + g * S::k_head;
    v += b * S::v_batch + g * S::v_head;
    const auto load = [&](int key, unsigned stage) {
        load_tile<TILE, QK, S::dim_qk, S::wide_k, THREADS>(stage, k, S::k_position, key, from, to);
        load_tile<TILE, V, S::dim_v, S::wide_v, THREADS>(stage + K_BYTES, v, S::v_position, key,
                                                         from, to);
        plim_copies_close();
    };

    load_tile<ROWS, QK, S::dim_qk, S::wide_q, THREADS>(q_tile, q, S::q_position, first, 0,
                                                       S::queries);
    load(from, stages);
    float sum[FRAGMENTS][V / 8][4], shrink[FRAGMENTS][2];
    clear(sum);
    Softmax<FRAGMENTS> rows;
    begin(rows);
    const int query = first + warp * WARP_ROWS;
    const Listed<S, FRAGMENTS> listed = {table, query, shift};
    unsigned stage = stages;
    for (int key = from; key < to; key += TILE) {
        // This tile is there for all, and all are done with the one before, whose place is free.
        plim_copies_wait<0>();
        __syncthreads();
        const unsigned next = stages + stages + STAGE - stage;
        if (key + TILE < to)
            load(key + TILE, next);
        float score[FRAGMENTS][TILE / 8][4];
        clear(score);
        multiply_rows<FRAGMENTS, TILE, QK>(score, q_tile + warp * WARP_ROWS * QK * 2, stage);
        mask_scores<S, FRAGMENTS, TILE>(score, listed, tilt, query, key, shift);
        soften<S, FRAGMENTS, TILE>(score, rows, shrink);
        rescale(sum, shrink);
        multiply_across<FRAGMENTS, TILE, V>(sum, score, stage + K_BYTES);
        stage = next;
    }

    plim_copies_wait<0>();
    __syncthreads();
    float inverse[FRAGMENTS][2];
    finish<S>(rows, inverse, lse + (long long)row * S::queries, query);
    store_rows<FRAGMENTS, V, S::dim_v, S::wide_out>(q_tile + warp * WARP_ROWS * V * 2, sum, inverse,
                                                    out + b * S::out_batch + h * S::out_head,
                                                    S::out_position, query, S::queries);
}

} // namespace attention
