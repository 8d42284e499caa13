// Which heights to search, with how much work.
//
// Effort is spent twice: on the bound itself, because one packing of that height ends the search
// and is what real graphs have; and on heights between it and the best packing so far, half way
// first and nearer to the best after each failure, because every success lowers what is promised.
// Tries are short at first and get longer: how long a search takes depends on luck so heavily that
// many short ones under different rules beat a long one (Gomes, Selman and Kautz, AAAI 1998;
// MiniMalloc takes turns likewise). What a try proved to be a dead end stays known to the next at
// the same height.
//
// A height that is proved impossible raises the bound by one step of the grid.
#include "passes/memory/pack_lower.h"

#include "passes/memory/pack_search.h"

enum { PARTS_MAX = 8000, COVER_MAX = 8 << 20, TRY_WORK = 100000 };

bool pack_lower_fits(const PackProblem *p) {
    int64_t cover = 0;
    for (int32_t i = 0; i < p->count; i++)
        cover += p->part[i].hi - p->part[i].lo;
    return p->count <= PARTS_MAX && cover <= COVER_MAX;
}

static uint64_t height_of(const PackProblem *p, const uint64_t *offset) {
    uint64_t height = 0;
    for (int32_t i = 0; i < p->count; i++)
        if (offset[i] + p->part[i].size > height)
            height = offset[i] + p->part[i].size;
    return height;
}

// One try at a height; updates packing and bound.
typedef struct {
    const PackProblem *p;
    PackSearch *search;
    uint64_t bound;
    uint64_t *offset;
    Packing *packing;
} Lowering;

static SearchResult try_height(Lowering *w, uint64_t height, int rule, int64_t work) {
    const int64_t before = pack_search_work(w->search);
    const SearchResult result = pack_search_try(w->search, height, rule, work, w->offset);
    w->packing->work += pack_search_work(w->search) - before;
    if (result == SEARCH_FOUND)
        packing_offer(w->packing, w->p, "search", height_of(w->p, w->offset), w->offset);
    else if (result == SEARCH_NONE && height >= w->bound)
        w->bound = height + 1;
    return result;
}

uint64_t pack_lower(const PackProblem *p, uint64_t bound, uint64_t enough, int64_t work,
                    Packing *packing, Arena *a) {
    Lowering w = {.p = p,
                  .search = pack_search_create(p, a),
                  .bound = bound,
                  .offset = arena_array(a, uint64_t, p->count + 1),
                  .packing = packing};
    // One dive without a dead end looks at every part in every range that is left.
    int64_t length = TRY_WORK + 8 * (int64_t)p->count * p->section_count;
    int halvings = 1;
    for (int rule = 0; packing->work < work; rule++) {
        const uint64_t goal = w.bound > enough ? w.bound : enough;
        if (packing->height <= goal)
            break;
        const int64_t left = work - packing->work;
        if (try_height(&w, goal, rule, length < left ? length : left) != SEARCH_OUT)
            continue;
        const uint64_t drop = (packing->height - goal) >> halvings;
        const int64_t rest = work - packing->work;
        if (packing->height - goal > 1 && rest > 0) {
            const SearchResult result = try_height(&w, packing->height - (drop ? drop : 1), rule,
                                                   length < rest ? length : rest);
            halvings = result == SEARCH_FOUND || drop <= 1 ? 1 : halvings + 1;
        }
        if (rule % SEARCH_RULES == SEARCH_RULES - 1)
            length *= 2;
    }
    return w.bound;
}
