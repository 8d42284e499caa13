// Classifying an einsum's letters. A letter in both factors and the result is batch; in the first
// and the result m; in the second and the result n; in both factors only k. Letters of a class that
// are neighbours in memory in every operand that has them join; a class must come out as one (two
// for batch). Spare m and n groups become batch dims over which the other factor stands still.
// Where that fails, operands are copied to dense [batch, m, k], [batch, k, n] and [batch, m, n],
// which always works.
#include "passes/lower_product.h"

#include "ir/check.h"
#include "ir/template_layout.h"
#include "passes/storage.h"

#include <math.h>
#include <string.h>

enum { LETTERS = 26 * 2 };

enum { CLASS_BATCH, CLASS_M, CLASS_N, CLASS_K, CLASS_COUNT };

// Letters of a class that are walked as one dim; strides in elements.
typedef struct {
    int64_t extent;
    int64_t stride[3]; // in a, b, c; 0 where it has none
} Group;

// An einsum's spec, its letters sorted into classes.
typedef struct {
    int count[CLASS_COUNT];
    char letter[CLASS_COUNT][3 * RANK_MAX];
    char text[3][RANK_MAX + 1]; // the letters of a, b, c
    const Type *type[3];
} Spec;

int product_first_input(const Node *n) {
    return n->op == OP_EINSUM_ADD ? 1 : 0;
}

// Every letter once, in the order of its first appearance: the same order in every operand's copy.
static Spec spec_read(const Node *n) {
    Spec s = {0};
    int operand = 0, at = 0;
    for (const char *c = node_text(n, "spec", ""); *c; c++) {
        if (*c == ',' || *c == '>') {
            operand++;
            at = 0;
        } else if (*c != '-' && *c != ' ') {
            CHECK(operand < 3 && at < RANK_MAX);
            s.text[operand][at++] = *c;
        }
    }
    const int first = product_first_input(n);
    s.type[0] = &n->input[first]->type;
    s.type[1] = &n->input[first + 1]->type;
    s.type[2] = &n->result[0].type;
    for (int o = 0; o < 3; o++)
        for (int i = 0; s.text[o][i]; i++) {
            const char letter = s.text[o][i];
            const bool a = strchr(s.text[0], letter), b = strchr(s.text[1], letter),
                       c = strchr(s.text[2], letter);
            if ((o > 0 && a) || (o > 1 && b))
                continue; // seen before
            const int class = a && b && c ? CLASS_BATCH
                              : a && c    ? CLASS_M
                              : b && c    ? CLASS_N
                                          : CLASS_K;
            s.letter[class][s.count[class]++] = letter;
        }
    return s;
}

// -1 where the operand has no such letter.
static int axis_of(const Spec *s, int operand, char letter) {
    const char *at = strchr(s->text[operand], letter);
    return at ? (int)(at - s->text[operand]) : -1;
}

static int64_t letter_extent(const Spec *s, char letter) {
    for (int o = 0; o < 3; o++)
        if (axis_of(s, o, letter) >= 0)
            return s->type[o]->dim[axis_of(s, o, letter)];
    UNREACHABLE();
}

// The letters of a class as few groups as strides allow, slowest first.
static int join_class(const Spec *s, int class, const Place *const place[3], Group *out) {
    Group letter[3 * RANK_MAX];
    int count = 0;
    // Batch, m and n are all in c, and k is in a: a stride that every letter of the class has.
    const int key = class == CLASS_K ? 0 : 2; // sorted by strides in a or c
    for (int i = 0; i < s->count[class]; i++) {
        Group g = {.extent = letter_extent(s, s->letter[class][i])};
        // Never walked, so it hinders no joining.
        if (g.extent == 1)
            continue;
        for (int o = 0; o < 3; o++) {
            const int axis = axis_of(s, o, s->letter[class][i]);
            g.stride[o] = axis < 0 ? 0 : place[o]->stride[axis];
        }
        int at = count++;
        for (; at > 0 && letter[at - 1].stride[key] < g.stride[key]; at--)
            letter[at] = letter[at - 1];
        letter[at] = g;
    }
    // Neighbours join where the slower stride is the faster one times its extent, in all operands.
    int groups = 0;
    for (int i = 0; i < count; i++) {
        Group *last = groups ? &out[groups - 1] : NULL;
        bool joins = last != NULL;
        for (int o = 0; o < 3 && joins; o++)
            joins = last->stride[o] == letter[i].stride[o] * letter[i].extent;
        if (joins) {
            last->extent *= letter[i].extent;
            memcpy(last->stride, letter[i].stride, sizeof last->stride);
        } else {
            out[groups++] = letter[i];
        }
    }
    return groups;
}

// Moves all but the largest group to the batch dims.
static Group demote_rest(Group *group, int count, Group *batch, int *batch_count) {
    int main = 0;
    for (int i = 1; i < count; i++)
        if (group[i].extent > group[main].extent)
            main = i;
    for (int i = 0; i < count; i++)
        if (i != main)
            batch[(*batch_count)++] = group[i];
    return count ? group[main] : (Group){.extent = 1};
}

// Strides of dims of extent 1 say nothing; made what a dense operand would have.
static void tidy_strides(ProductKernel *p) {
    // Kernels that differ only in such strides would be two where one will do.
    if (p->k == 1)
        p->a_stride[3] = p->a_stride[2] == 1 && p->m > 1 ? p->m : 1;
    if (p->m == 1)
        p->a_stride[2] = p->k * p->a_stride[3];
    if (p->n == 1)
        p->b_stride[3] = p->b_stride[2] == 1 && p->k > 1 ? p->k : 1;
    if (p->k == 1)
        p->b_stride[2] = p->n * p->b_stride[3];
    if (p->n == 1)
        p->c_stride[3] = 1;
    if (p->m == 1)
        p->c_stride[2] = p->n * p->c_stride[3];
}

// The kernel, with a and b exchanged where swapped.
static ProductKernel product_fill(const Spec *s, const Group *batch, int batch_count,
                                  const Group *m, const Group *n, const Group *k, bool swapped) {
    const int a = swapped ? 1 : 0, b = swapped ? 0 : 1;
    ProductKernel p = {.a = s->type[a]->dtype, .b = s->type[b]->dtype, .c = s->type[2]->dtype};
    for (int i = 0; i < 2; i++) {
        const int from = i + batch_count - 2; // one batch dim: the inner one
        p.batch[i] = from >= 0 ? batch[from].extent : 1;
        p.a_stride[i] = from >= 0 ? batch[from].stride[a] : 0;
        p.b_stride[i] = from >= 0 ? batch[from].stride[b] : 0;
        p.c_stride[i] = from >= 0 ? batch[from].stride[2] : 0;
    }
    p.m = m->extent;
    p.n = n->extent;
    p.k = k->extent;
    p.a_stride[2] = m->stride[a];
    p.a_stride[3] = k->stride[a];
    p.b_stride[2] = k->stride[b];
    p.b_stride[3] = n->stride[b];
    p.c_stride[2] = m->stride[2];
    p.c_stride[3] = n->stride[2];
    tidy_strides(&p);
    return p;
}

// Cost: a few dozen steps, whatever the sizes.
bool product_form(const Node *n, const Place *a, const Place *b, const Place *c, ProductForm *out) {
    const Spec s = spec_read(n);
    const Place *const place[3] = {a, b, c};
    Group batch[3 * RANK_MAX], m[3 * RANK_MAX], col[3 * RANK_MAX], k[3 * RANK_MAX];
    int batch_count = join_class(&s, CLASS_BATCH, place, batch);
    const int m_count = join_class(&s, CLASS_M, place, m);
    const int n_count = join_class(&s, CLASS_N, place, col);
    const int k_count = join_class(&s, CLASS_K, place, k);
    // One dim of k and two of batch are what the kernel has.
    if (k_count > 1 ||
        batch_count + (m_count > 1 ? m_count - 1 : 0) + (n_count > 1 ? n_count - 1 : 0) > 2)
        return false;
    Group rows = demote_rest(m, m_count, batch, &batch_count);
    Group columns = demote_rest(col, n_count, batch, &batch_count);
    const Group depth = k_count ? k[0] : (Group){.extent = 1};
    // The outer batch dim is the slower one in c.
    if (batch_count == 2 && batch[0].stride[2] < batch[1].stride[2]) {
        const Group outer = batch[1];
        batch[1] = batch[0];
        batch[0] = outer;
    }
    // The result's columns are contiguous where one of the two orders makes them so.
    out->swapped =
        columns.extent > 1 && columns.stride[2] != 1 && (rows.extent == 1 || rows.stride[2] == 1);
    if (out->swapped) {
        const Group swap = rows;
        rows = columns;
        columns = swap;
    }
    out->kernel = product_fill(&s, batch, batch_count, &rows, &columns, &depth, out->swapped);
    return true;
}

void product_copy_order(const Node *n, int operand, int *order) {
    static const int classes[3][3] = {{CLASS_BATCH, CLASS_M, CLASS_K},
                                      {CLASS_BATCH, CLASS_K, CLASS_N},
                                      {CLASS_BATCH, CLASS_M, CLASS_N}};
    const Spec s = spec_read(n);
    int at = 0;
    for (int c = 0; c < 3; c++) {
        const int class = classes[operand][c];
        for (int i = 0; i < s.count[class]; i++) {
            const int axis = axis_of(&s, operand, s.letter[class][i]);
            if (axis >= 0)
                order[at++] = axis;
        }
    }
}

// Eight possibilities are few enough to try; no copy at all is the usual answer.
unsigned product_copies(const Node *n, const Place *a, const Place *b, const Place *c) {
    const Spec s = spec_read(n);
    Place dense[3];
    const Place *const given[3] = {a, b, c};
    for (int o = 0; o < 3; o++) {
        int order[RANK_MAX];
        product_copy_order(n, o, order);
        dense[o] = place_ordered(0, s.type[o], order);
    }
    // Of equal bytes the smaller mask, which is a copy of a rather than of c.
    unsigned best = 8;
    size_t best_bytes = SIZE_MAX;
    for (unsigned mask = 0; mask < 8; mask++) {
        const Place *place[3];
        size_t bytes = 0;
        for (int o = 0; o < 3; o++) {
            place[o] = mask >> o & 1 ? &dense[o] : given[o];
            bytes += mask >> o & 1 ? type_bytes(s.type[o]) : 0;
        }
        ProductForm form;
        if (bytes < best_bytes && product_form(n, place[0], place[1], place[2], &form)) {
            best = mask;
            best_bytes = bytes;
        }
    }
    CHECK(best < 8);
    return best;
}

// A library's tiles: a number of them for all workers, each with TILE_FLOPS of work, of a few fixed
// shapes; small, as its scratch grows with them.
enum { TILE_FLOPS = 2000000, TILE_N_MAX = 512, TILE_MIN = 48 };
enum { LIBRARY_TILES = 16, LIBRARY_TILE_M_MAX = 192 };

static int64_t ceil_div(int64_t a, int64_t b) {
    return (a + b - 1) / b;
}

// A thin product's tiles: strips of b's rows long enough to stream (f32 is read a tenth faster in
// strips of 384 than of 192), but two at least; or whole columns of b, enough bytes of them to be
// worth a claim, and never so many that few workers would share the work.
enum {
    THIN_STRIP = 384,
    THIN_STRIP_MIN = 64,
    THIN_TILE_BYTES = 256 << 10,
    THIN_TILES = 8,
    THIN_MIN = 16
};

static void choose_thin_tiles(ProductKernel *p) {
    p->tile_m = PRODUCT_THIN;
    const int64_t half = ceil_div(p->n, 2 * THIN_STRIP_MIN) * THIN_STRIP_MIN;
    p->tile_n = half < THIN_STRIP ? half : THIN_STRIP;
    if (p->b_stride[3] == 1)
        return;
    const int64_t column = p->k * (int64_t)dtype_bytes(p->b);
    const int64_t most = ceil_div(p->n, THIN_TILES);
    int64_t columns = THIN_TILE_BYTES / column;
    columns = columns < most ? columns : most;
    p->tile_n = columns < THIN_MIN ? THIN_MIN : columns / THIN_MIN * THIN_MIN;
}

// Our tiles, in units of the register tile's rows and vectors on the CPUs that have no better.
enum { OWN_STEP_M = 12, OWN_STEP_N = 32, OWN_TILE_M_MAX = 2048, OWN_SUM_MAX = 128 << 10 };
// Packing an element, or reading a row of a where it lies, takes as long as so many multiplications
// and additions.
enum { PACK_COST = 20, READ_COST = 2 };

// Multiplications and additions a step of k that pass while 2, 4 or 8 workers compute the tiles,
// with what packing takes, summed over these numbers of workers: which there are is known at run
// time only, and a worker that waits for another's last tile costs more than packing.
static double tiles_cost(const ProductKernel *p, int64_t row_cost, int64_t tile_m, int64_t tile_n) {
    const int64_t tiles =
        p->batch[0] * p->batch[1] * ceil_div(p->m, tile_m) * ceil_div(p->n, tile_n);
    const double tile = (double)tile_m * (double)tile_n + (double)(PACK_COST * tile_n) +
                        (double)(row_cost * tile_m);
    double sum = 0;
    for (int64_t workers = 2; workers <= 8; workers *= 2)
        sum += (double)(workers * ceil_div(tiles, workers)) * tile;
    return sum;
}

static int64_t smaller(int64_t x, int64_t y) {
    return x < y ? x : y;
}

static int64_t round_up(int64_t x, int64_t step) {
    return ceil_div(x, step) * step;
}

// The cheapest of all shapes with TILE_FLOPS of work, or the largest shape where none has so much.
// A c that is summed elsewhere needs room for a tile of sums.
static void choose_own_tiles(ProductKernel *p) {
    const ProductLayout layout = product_layout(p);
    const int64_t row_cost = layout.rows_in_place ? READ_COST : PACK_COST;
    const int64_t area_max = layout.in_place ? INT64_MAX : OWN_SUM_MAX;
    const int64_t n_max = smaller(round_up(p->n, OWN_STEP_N), TILE_N_MAX);
    const int64_t m_max =
        smaller(round_up(p->m, OWN_STEP_M), smaller(OWN_TILE_M_MAX, area_max / n_max));
    double least = HUGE_VAL;
    p->tile_m = m_max;
    p->tile_n = n_max;
    for (int64_t m = m_max; m > 0; m -= OWN_STEP_M)
        for (int64_t n = n_max; n > 0; n -= OWN_STEP_N) {
            const double cost = tiles_cost(p, row_cost, m, n);
            if (cost >= least || (double)m * (double)n * (double)p->k < TILE_FLOPS / 2)
                continue;
            least = cost;
            p->tile_m = m;
            p->tile_n = n;
        }
}

// Halving, so that few different tile shapes exist: each is a primitive of the library.
static void choose_library_tiles(ProductKernel *p) {
    int64_t tile_m = LIBRARY_TILE_M_MAX, tile_n = TILE_N_MAX;
    for (;;) {
        const int64_t rows = p->m < tile_m ? p->m : tile_m;
        const int64_t columns = p->n < tile_n ? p->n : tile_n;
        const int64_t tiles =
            p->batch[0] * p->batch[1] * ceil_div(p->m, tile_m) * ceil_div(p->n, tile_n);
        const double flops = 2.0 * (double)rows * (double)columns * (double)p->k;
        if (tiles >= LIBRARY_TILES || flops < 2 * TILE_FLOPS)
            break;
        if (columns >= 2 * rows && tile_n / 2 >= TILE_MIN)
            tile_n /= 2;
        else if (tile_m / 2 >= TILE_MIN)
            tile_m /= 2;
        else if (tile_n / 2 >= TILE_MIN)
            tile_n /= 2;
        else
            break;
    }
    p->tile_m = tile_m;
    p->tile_n = tile_n;
}

// Whether a library can read this matrix: one of its strides is 1, the other is large enough.
static bool stride_is_plain(int64_t rows, int64_t columns, const int64_t *stride) {
    return (stride[1] == 1 && stride[0] >= columns) || (stride[0] == 1 && stride[1] >= rows);
}

// Scratch of a oneDNN call on one tile, at most: packed steps of k of its operands and a block of
// sums. Twice what it asks for over 240 shapes, layouts and types, capped at what no shape of our
// models exceeds (1.6 MB). The runtime checks it before the first step.
enum { ONEDNN_WORKSPACE_MAX = 2 << 20, ONEDNN_DEPTH = 512 };

static size_t onednn_workspace(const ProductKernel *p) {
    const size_t m = (size_t)(p->m < p->tile_m ? p->m : p->tile_m);
    const size_t n = (size_t)(p->n < p->tile_n ? p->n : p->tile_n);
    const size_t k = (size_t)(p->k < ONEDNN_DEPTH ? p->k : ONEDNN_DEPTH) + 64;
    const size_t bytes = 2 * (k * (m + 128) + m * n) * sizeof(float);
    return bytes < ONEDNN_WORKSPACE_MAX ? (bytes + 4095) / 4096 * 4096 : ONEDNN_WORKSPACE_MAX;
}

// cuBLASLt's matrices have one stride of 1 and lie one batch stride apart; either way up will do.
// It is told how its operands are aligned, but takes rows of a bias 16 bytes at a time all the
// same.
enum { CUBLASLT_WORKSPACE = 32 << 20, CUBLASLT_SMALL = 1 << 21, CUBLASLT_ROW_ALIGNMENT = 16 };

static void choose_cublaslt(ProductKernel *p) {
    const bool plain = stride_is_plain(p->m, p->k, p->a_stride + 2) &&
                       stride_is_plain(p->k, p->n, p->b_stride + 2) &&
                       stride_is_plain(p->m, p->n, p->c_stride + 2);
    // A tile is what one call computes: everything, or for our own a block's (ir/launch.h).
    p->tile_m = p->m;
    p->tile_n = p->n;
    // Sums along k are split over blocks, with partial sums in the workspace, where m and n are
    // small.
    const double work = (double)p->m * (double)p->n * (double)p->k, small = CUBLASLT_SMALL;
    if (plain && p->batch[0] == 1 && p->a == p->b && (p->a == DT_BF16 || p->c == DT_F32)) {
        p->library = PRODUCT_CUBLASLT;
        p->workspace = work < small ? 0 : CUBLASLT_WORKSPACE;
    }
}

bool product_takes_row(const Node *n, const ProductForm *form, const Place *summand,
                       const Place *c) {
    const Spec s = spec_read(n);
    const int class = form->swapped ? CLASS_M : CLASS_N;
    ProductKernel p = form->kernel;
    int64_t columns = 1;
    product_choose(&p, (ProductLibraries){.cublaslt = true});
    for (int i = 0; s.text[2][i]; i++) {
        const int64_t extent = s.type[2]->dim[i];
        const bool along = memchr(s.letter[class], s.text[2][i], (size_t)s.count[class]) != NULL;
        if (extent > 1 && summand->stride[i] != (along ? c->stride[i] : 0))
            return false;
        columns *= along ? extent : 1;
    }
    // Letters that were left for the batch dims make several rows. Storages begin at more than
    // that.
    return p.library == PRODUCT_CUBLASLT && columns == p.n && p.c_stride[3] == 1 &&
           p.batch[0] == 1 && p.batch[1] == 1 &&
           summand->offset * (int64_t)dtype_bytes(p.c) % CUBLASLT_ROW_ALIGNMENT == 0;
}

// A library only where it can read the strides: never a silent copy.
void product_choose(ProductKernel *p, ProductLibraries have) {
    const bool plain = stride_is_plain(p->m, p->k, p->a_stride + 2) &&
                       stride_is_plain(p->k, p->n, p->b_stride + 2) && p->c_stride[3] == 1 &&
                       p->c_stride[2] >= p->n;
    const bool f32 = p->a == DT_F32 && p->b == DT_F32 && p->c == DT_F32;
    p->library = PRODUCT_OWN;
    p->workspace = 0;
    if (have.cublaslt) {
        choose_cublaslt(p);
        return;
    }
    // Bound by reading b, which needs no library.
    const bool thin = p->m <= PRODUCT_THIN && (p->b_stride[2] == 1 || p->b_stride[3] == 1);
    if (!thin && plain && have.onednn && (f32 || (have.bf16 && p->a == p->b)))
        p->library = PRODUCT_ONEDNN;
    else if (!thin && plain && have.openblas && f32)
        p->library = PRODUCT_OPENBLAS;
    if (thin)
        choose_thin_tiles(p);
    else if (p->library == PRODUCT_OWN)
        choose_own_tiles(p);
    else
        choose_library_tiles(p);
    if (p->library == PRODUCT_ONEDNN)
        p->workspace = onednn_workspace(p);
    if (p->library == PRODUCT_OWN)
        p->workspace = kernel_workspace(&(Kernel){.kind = KERNEL_PRODUCT, .product = *p});
}
