// Matrix products and convolutions of our own, by the plain units: for what the library can't say,
// and where no tensor cores are. K holds a kernel's numbers. A block makes a tile of the result from
// steps of DEPTH. Each element is a sum of chains of fused multiply-adds along 256 of the depth.
PLIM_DEVICE float plim_get(const float *p) { return *p; }
PLIM_DEVICE float plim_get(const plim_bf16 *p) { return plim_widen(*p); }
PLIM_DEVICE void plim_put(float *p, float x) { *p = x; }
PLIM_DEVICE void plim_put(plim_bf16 *p, float x) { *p = plim_narrow(x); }

// F says where operands are: left(row, depth), right(depth, column), put(row, column, sum), and
// whether neighbouring threads should load neighbours along the depth.
template <class F, int ROWS, int COLUMNS, int DEPTH, int THREADS>
PLIM_DEVICE void plim_tile(const F &f, long long row0, long long column0) {
    enum { ACROSS = COLUMNS / 4, MINE = ROWS * COLUMNS / THREADS / 4 };
    __shared__ float a[DEPTH][ROWS + 1], b[DEPTH][COLUMNS + 1];
    const int thread = (int)threadIdx.x, x = thread % ACROSS, y = thread / ACROSS;
    float sum[MINE][4], total[MINE][4];
#pragma unroll
    for (int i = 0; i < MINE; i++)
#pragma unroll
        for (int j = 0; j < 4; j++)
            sum[i][j] = total[i][j] = 0.0f;
    for (long long first = 0; first < f.depth(); first += DEPTH) {
        for (int i = thread; i < ROWS * DEPTH; i += THREADS) {
            const int d = F::LEFT_BY_DEPTH ? i % DEPTH : i / ROWS;
            const int r = F::LEFT_BY_DEPTH ? i / DEPTH : i % ROWS;
            a[d][r] = first + d < f.depth() && row0 + r < f.rows() ? f.left(row0 + r, first + d) : 0.0f;
        }
        for (int i = thread; i < COLUMNS * DEPTH; i += THREADS) {
            const int d = F::RIGHT_BY_DEPTH ? i % DEPTH : i / COLUMNS;
            const int c = F::RIGHT_BY_DEPTH ? i / DEPTH : i % COLUMNS;
            b[d][c] = first + d < f.depth() && column0 + c < f.columns() ? f.right(first + d, column0 + c)
                                                                         : 0.0f;
        }
        __syncthreads();
        const int deep = f.depth() - first < DEPTH ? (int)(f.depth() - first) : DEPTH;
        for (int d = 0; d < deep; d++) {
            float left[MINE], right[4];
#pragma unroll
            for (int i = 0; i < MINE; i++)
                left[i] = a[d][y * MINE + i];
#pragma unroll
            for (int j = 0; j < 4; j++)
                right[j] = b[d][x + j * ACROSS];
#pragma unroll
            for (int i = 0; i < MINE; i++)
#pragma unroll
                for (int j = 0; j < 4; j++)
                    sum[i][j] = plim_fma(left[i], right[j], sum[i][j]);
        }
        __syncthreads();
        if ((first + DEPTH) % 256 != 0)
            continue;
#pragma unroll
        for (int i = 0; i < MINE; i++)
#pragma unroll
            for (int j = 0; j < 4; j++) {
                total[i][j] += sum[i][j];
                sum[i][j] = 0.0f;
            }
    }
#pragma unroll
    for (int i = 0; i < MINE; i++)
#pragma unroll
        for (int j = 0; j < 4; j++) {
            const long long r = row0 + y * MINE + i, c = column0 + x + j * ACROSS;
            if (r < f.rows() && c < f.columns())
                f.put(r, c, total[i][j] + sum[i][j]);
        }
}

// c [batch, m, n] (+)= a [batch, m, k] b [batch, k, n].
template <class K, class A, class B, class C> struct plim_product_of {
    const A *a;
    const B *b;
    C *c;
    enum { LEFT_BY_DEPTH = K::A_K == 1, RIGHT_BY_DEPTH = K::B_K == 1 && K::B_N != 1 };
    PLIM_METHOD long long rows() const { return K::M; }
    PLIM_METHOD long long columns() const { return K::N; }
    PLIM_METHOD long long depth() const { return K::DEEP; }
    PLIM_METHOD float left(long long m, long long k) const { return plim_get(a + m * K::A_M + k * K::A_K); }
    PLIM_METHOD float right(long long k, long long n) const { return plim_get(b + k * K::B_K + n * K::B_N); }
    PLIM_METHOD void put(long long m, long long n, float sum) const {
        C *at = c + m * K::C_M + n * K::C_N;
        plim_put(at, K::ACCUMULATE ? plim_get(at) + sum : sum);
    }
};
template <class K, int ROWS, int COLUMNS, int DEPTH, int THREADS, class A, class B, class C>
PLIM_DEVICE void plim_product(const A *a, const B *b, C *c) {
    const long long across = (K::N + COLUMNS - 1) / COLUMNS, down = (K::M + ROWS - 1) / ROWS;
    const long long tile = blockIdx.x, x = tile % across, y = tile / across % down;
    const long long b1 = tile / across / down % K::BATCH_1, b0 = tile / across / down / K::BATCH_1;
    const plim_product_of<K, A, B, C> f = {a + b0 * K::A_0 + b1 * K::A_1, b + b0 * K::B_0 + b1 * K::B_1,
                                           c + b0 * K::C_0 + b1 * K::C_1};
    plim_tile<plim_product_of<K, A, B, C>, ROWS, COLUMNS, DEPTH, THREADS>(f, y * ROWS, x * COLUMNS);
}

// Convolutions. A pixel of y at tap (i, j) of the kernel meets the pixel of x that moved() gives.
template <class K> PLIM_DEVICE bool plim_moved(long long oh, long long ow, int i, int j, long long *at) {
    const long long h = oh * K::STRIDE_H - K::BEFORE_H + i * K::DILATION_H;
    const long long w = ow * K::STRIDE_W - K::BEFORE_W + j * K::DILATION_W;
    *at = h * K::W + w;
    return h >= 0 && h < K::H && w >= 0 && w < K::W;
}
// The pixel of y that meets (h, w) of x at that tap, where there is one.
template <class K> PLIM_DEVICE bool plim_met(long long h, long long w, int i, int j, long long *at) {
    const long long oh = h + K::BEFORE_H - i * K::DILATION_H, ow = w + K::BEFORE_W - j * K::DILATION_W;
    *at = oh / K::STRIDE_H * K::OW + ow / K::STRIDE_W;
    return oh >= 0 && ow >= 0 && oh % K::STRIDE_H == 0 && ow % K::STRIDE_W == 0 &&
           oh / K::STRIDE_H < K::OH && ow / K::STRIDE_W < K::OW;
}
// y: rows are channels out, columns pixels of all images, depth (channel in, tap).
template <class K, class W, class X, class Y> struct plim_convolve_y {
    const W *w; // of the group, as x and y
    const X *x;
    Y *y;
    enum { LEFT_BY_DEPTH = 1, RIGHT_BY_DEPTH = 0 };
    PLIM_METHOD long long rows() const { return K::OUT; }
    PLIM_METHOD long long columns() const { return K::BATCH * K::OH * K::OW; }
    PLIM_METHOD long long depth() const { return K::IN * K::TAPS; }
    PLIM_METHOD float left(long long o, long long d) const { return plim_get(w + o * depth() + d); }
    PLIM_METHOD float right(long long d, long long p) const {
        const int tap = (int)(d % K::TAPS), pixel = (int)(p % (K::OH * K::OW));
        long long at;
        const bool there = plim_moved<K>(pixel / K::OW, pixel % K::OW, tap / K::KW, tap % K::KW, &at);
        const long long image = p / (K::OH * K::OW) * K::X_IMAGE + d / K::TAPS * K::H * K::W;
        return there ? plim_get(x + image + at) : 0.0f;
    }
    PLIM_METHOD void put(long long o, long long p, float sum) const {
        const long long size = K::OH * K::OW;
        plim_put(y + p / size * K::Y_IMAGE + o * size + p % size, sum);
    }
};
// x: rows are channels in, columns pixels of all images, depth (channel out, tap).
template <class K, class W, class Y, class X> struct plim_convolve_x {
    const W *w;
    const Y *y;
    X *x;
    enum { LEFT_BY_DEPTH = 0, RIGHT_BY_DEPTH = 0 };
    PLIM_METHOD long long rows() const { return K::IN; }
    PLIM_METHOD long long columns() const { return K::BATCH * K::H * K::W; }
    PLIM_METHOD long long depth() const { return K::OUT * K::TAPS; }
    PLIM_METHOD float left(long long c, long long d) const {
        return plim_get(w + (d / K::TAPS * K::IN + c) * K::TAPS + d % K::TAPS);
    }
    PLIM_METHOD float right(long long d, long long p) const {
        const int tap = (int)(d % K::TAPS), pixel = (int)(p % (K::H * K::W));
        long long at;
        const bool there = plim_met<K>(pixel / K::W, pixel % K::W, tap / K::KW, tap % K::KW, &at);
        const long long image = p / (K::H * K::W) * K::Y_IMAGE + d / K::TAPS * K::OH * K::OW;
        return there ? plim_get(y + image + at) : 0.0f;
    }
    PLIM_METHOD void put(long long c, long long p, float sum) const {
        const long long size = K::H * K::W;
        plim_put(x + p / size * K::X_IMAGE + c * size + p % size, sum);
    }
};
// w: rows are channels out, columns (channel in, tap), depth pixels of all images.
template <class K, class Y, class X, class W> struct plim_convolve_w {
    const Y *y;
    const X *x;
    W *w;
    enum { LEFT_BY_DEPTH = 1, RIGHT_BY_DEPTH = 1 };
    PLIM_METHOD long long rows() const { return K::OUT; }
    PLIM_METHOD long long columns() const { return K::IN * K::TAPS; }
    PLIM_METHOD long long depth() const { return K::BATCH * K::OH * K::OW; }
    PLIM_METHOD float left(long long o, long long p) const {
        const long long size = K::OH * K::OW;
        return plim_get(y + p / size * K::Y_IMAGE + o * size + p % size);
    }
    PLIM_METHOD float right(long long p, long long d) const {
        const int tap = (int)(d % K::TAPS), pixel = (int)(p % (K::OH * K::OW));
        long long at;
        const bool there = plim_moved<K>(pixel / K::OW, pixel % K::OW, tap / K::KW, tap % K::KW, &at);
        const long long image = p / (K::OH * K::OW) * K::X_IMAGE + d / K::TAPS * K::H * K::W;
        return there ? plim_get(x + image + at) : 0.0f;
    }
    PLIM_METHOD void put(long long o, long long d, float sum) const {
        plim_put(w + o * columns() + d, sum);
    }
};
// Tiles of one group, row by row.
template <class F> PLIM_DEVICE void plim_convolve_tile(const F &f, long long tile) {
    const long long across = (f.columns() + 63) / 64;
    plim_tile<F, 64, 64, 16, 256>(f, tile / across * 64, tile % across * 64);
}
// Results with few rows: a thread an element.
template <class F> PLIM_DEVICE void plim_convolve_element(const F &f, long long element) {
    const long long row = element / f.columns(), column = element % f.columns();
    float sum = 0.0f;
    if (row >= f.rows())
        return;
    for (long long d = 0; d < f.depth(); d++)
        sum = plim_fma(f.left(row, d), f.right(d, column), sum);
    f.put(row, column, sum);
}
// Results with few elements: a block an element; its threads' sums are joined as those of a row.
template <class F> PLIM_DEVICE void plim_convolve_deep(const F &f, long long element) {
    __shared__ float slots[32];
    const long long row = element / f.columns(), column = element % f.columns();
    float sum = 0.0f;
    for (long long d = threadIdx.x; d < f.depth(); d += 256)
        sum = plim_fma(f.left(row, d), f.right(d, column), sum);
    sum = plim_block_sum(sum, slots, 256);
    if (threadIdx.x == 0)
        f.put(row, column, sum);
}
