// Rows sorted by the place they are added to, rows of one place in their order: a stable counting
// sort, a block a range of RANGE places. Every block looks at all rows. How many belong below its
// range says where its part begins; each warp lists those of the range that lie in its stretch of
// the rows; chunks of the list are then dealt to their places, a row after those of its equals that
// stand before it in its warp, in the warps before, and in the chunks before.
template <int ROWS, int PLACES, int RANGE, class F>
PLIM_DEVICE void plim_sort_rows(const F &place_of, int *begin, int *sorted, int *place, int *list,
                                int *which) {
    __shared__ int count[RANGE], cursor[RANGE], belows[32], founds[32], counts[32][RANGE];
    const int thread = (int)threadIdx.x, lane = thread % 32, warp = thread / 32;
    const int low = (int)blockIdx.x * RANGE, places = PLACES - low < RANGE ? PLACES - low : RANGE;
    const int stretch = (ROWS + 1023) / 1024 * 32, from = warp * stretch;
    const unsigned under = (1u << lane) - 1u;
    if (thread < RANGE)
        count[thread] = 0;
    __syncthreads();
    int below = 0, found = 0;
    for (int i = lane; i < stretch + lane; i += 32) {
        const int to = from + i < ROWS ? place_of(from + i) : -1;
        const bool mine = to >= low && to < low + places;
        below += to >= 0 && to < low;
        if (mine)
            plim_count_up(&count[to - low], 1);
        found += plim_count_bits(plim_ballot(mine));
    }
    for (int at = 16; at > 0; at /= 2)
        below += plim_shfl_xor_i32(below, at);
    if (lane == 0)
        belows[warp] = below, founds[warp] = found;
    __syncthreads();
    int first = 0, before = 0, all = 0;
    for (int w = 0; w < 32; w++) {
        first += belows[w];
        before += w < warp ? founds[w] : 0;
        all += founds[w];
    }
    if (thread == 0) {
        int at = first;
        for (int i = 0; i < places; i++) {
            begin[low + i] = cursor[i] = at;
            at += count[i];
        }
        if (low + places == PLACES)
            begin[PLACES] = at;
    }
    for (int i = lane; i < stretch + lane; i += 32) {
        const int to = from + i < ROWS ? place_of(from + i) : -1;
        const bool mine = to >= low && to < low + places;
        const unsigned lanes = plim_ballot(mine);
        if (mine) {
            const int at = first + before + plim_count_bits(lanes & under);
            list[at] = from + i;
            which[at] = to;
        }
        before += plim_count_bits(lanes);
    }
    for (int done = 0; done < all; done += 1024) {
        for (int i = thread; i < 32 * RANGE; i += 1024)
            counts[i / RANGE][i % RANGE] = 0;
        __syncthreads();
        const bool there = done + thread < all;
        const int row = there ? list[first + done + thread] : 0;
        const int to = there ? which[first + done + thread] - low : -1;
        const unsigned equal = plim_match(to);
        if (there && (equal & under) == 0)
            counts[warp][to] = plim_count_bits(equal);
        __syncthreads();
        for (int w = 0; thread < places && w < 32; w++) {
            const int here = counts[w][thread];
            counts[w][thread] = cursor[thread];
            cursor[thread] += here;
        }
        __syncthreads();
        if (there) {
            const int at = counts[warp][to] + plim_count_bits(equal & under);
            sorted[at] = row;
            place[at] = to + low;
        }
        __syncthreads();
    }
}
