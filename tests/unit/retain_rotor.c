// Rotor's dynamic program (arXiv 1911.13214, theorem 1) for the chains of retain_sample_chain.
//
//   C(s, t, m)  least time of forward and backward of stages s .. t; what goes into s is outside m,
//               the gradient of what comes out of t inside
//             = min of  F(s) + C(s + 1, t, m - x(s)) + B(s)
//                       F(s .. r - 1) + C(r, t, m - x(r - 1)) + C(s, r - 1, m)
#include "tests/unit/retain_oracle.h"

#define NEVER (INT64_MAX / 4)

struct RetainRotor {
    const RetainStage *stage;
    int count, budget;
    RetainRotorCell *cell; // by (s, t, m); NEVER while solving
};

typedef RetainRotor Work;

static RetainRotorCell *cell(const Work *w, int s, int t, int64_t m) {
    return &w->cell[((int64_t)s * w->count + t) * (w->budget + 1) + m];
}

static int64_t larger(int64_t x, int64_t y) {
    return x > y ? x : y;
}

// Of the result of stage t; the last one has none.
static int64_t gradient(const Work *w, int t) {
    return t == w->count - 1 ? 0 : w->stage[t].bytes;
}

static int64_t keep_peak(const Work *w, int s, int t) {
    const int64_t into = s ? w->stage[s - 1].bytes : 1;
    return larger(w->stage[s].bytes + gradient(w, t),
                  w->stage[s].bytes + gradient(w, s) + into + w->stage[s].transient);
}

static void solve(const Work *w, int s, int t, int64_t m) {
    RetainRotorCell best = {.time = NEVER};
    const int64_t own = w->stage[s].forward + w->stage[s].backward;
    if (m >= keep_peak(w, s, t)) {
        best.time = s == t ? own : NEVER;
        if (s < t && m >= w->stage[s].bytes)
            best.time = own + cell(w, s + 1, t, m - w->stage[s].bytes)->time;
    }
    int64_t run = 0, peak = 0;
    for (int r = s + 1; r <= t; r++) {
        const int64_t before = r - 1 > s ? w->stage[r - 2].bytes : 0;
        run += w->stage[r - 1].forward;
        peak = larger(peak, before + w->stage[r - 1].bytes + gradient(w, t));
        if (m < peak || m < w->stage[r - 1].bytes)
            continue;
        const int64_t time =
            run + cell(w, r, t, m - w->stage[r - 1].bytes)->time + cell(w, s, r - 1, m)->time;
        if (time < best.time)
            best = (RetainRotorCell){.time = time, .split = r};
    }
    best.time = best.time < NEVER ? best.time : NEVER;
    *cell(w, s, t, m) = best;
}

const RetainRotor *retain_rotor(const RetainStage *stage, int count, int64_t budget, Arena *a) {
    Work *w = arena_new(a, Work);
    *w = (Work){.stage = stage, .count = count, .budget = (int)budget};
    w->cell = arena_array(a, RetainRotorCell, (int64_t)count * count * (budget + 1));
    for (int length = 1; length <= count; length++)
        for (int s = 0; s + length <= count; s++)
            for (int64_t m = 0; m <= budget; m++)
                solve(w, s, s + length - 1, m);
    return w;
}

RetainRotorCell retain_rotor_at(const RetainRotor *rotor, int s, int t, int64_t m) {
    RetainRotorCell out = *cell(rotor, s, t, m);
    out.time = out.time < NEVER ? out.time : INT64_MAX;
    return out;
}
