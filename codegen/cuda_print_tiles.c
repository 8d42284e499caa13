// Pointwise kernels with operands that are walked against their strides: a transposed matrix.
//
// A thread's neighbours along the columns would read such an operand far apart, 32 bytes for each
// element. So a block takes a tile, TILE_ROWS along the dim in which the operand is contiguous by
// TILE_COLUMNS columns, and brings it through shared memory: warps read along that dim, wait for
// the others, and then walk the tile along the columns as any pointwise kernel.
//
// In shared memory a row has one element more than columns, so that a warp that writes down a
// column meets every bank once; and its columns are sorted by their lane in a vector, so that one
// that reads lane e of neighbouring vectors reads neighbouring elements.
//
// A result may lie where an operand lies, element for element: a block has read all of its tile
// before it stores the first element of it.
#include "codegen/cuda_print.h"

#include "ir/check.h"

static int64_t tiles_across(const CudaScalar *cs) {
    return (cs->s.columns + SCALAR_TILE_COLUMNS - 1) / SCALAR_TILE_COLUMNS;
}

static int64_t tiles_down(const CudaScalar *cs) {
    const int64_t extent = cs->k->dim[cs->s.turned];
    return (extent + SCALAR_TILE_ROWS - 1) / SCALAR_TILE_ROWS;
}

// Rows between neighbours along the turned dim.
static int64_t rows_inside(const CudaScalar *cs) {
    int64_t rows = 1;
    for (int d = cs->s.turned + 1; d + 1 < cs->k->rank; d++)
        rows *= cs->k->dim[d];
    return rows;
}

// "row", where the turned dim has the index `turned`; `rest` counts the other rows.
static void print_row(CudaScalar *cs, const char *turned) {
    const long long inside = (long long)rows_inside(cs);
    cuda_put(cs->t, "const %s row = (rest / %lldu * %lldu + %s) * %lldu + rest %% %lldu;",
             cs->count, inside, (long long)cs->k->dim[cs->s.turned], turned, inside, inside);
    cuda_print_position(cs);
}

// Vector n of this thread.
static void point_in_tile(CudaScalar *cs) {
    const int vectors = SCALAR_TILE_COLUMNS / cs->s.lanes;
    cuda_put(cs->t, "const int place = n * %d + (int)threadIdx.x;", cs->s.block);
    cuda_put(cs->t, "const int down = place / %d, across = place %% %d;", vectors, vectors);
    cuda_put(cs->t, "const %s c = first_column + across * %d;", cs->index, cs->s.lanes);
    cuda_open(cs->t, "if (first_row + down < %lld && c < %s) {",
              (long long)cs->k->dim[cs->s.turned], cs->end);
    print_row(cs, arena_format(cs->a, "(%s)(first_row + down)", cs->count));
}

// All of the tile's elements of the operands that are turned.
static void print_tiles(CudaScalar *cs) {
    CudaText *t = cs->t;
    const Kernel *k = cs->k;
    const int lanes = cs->s.lanes, pitch = SCALAR_TILE_COLUMNS + 1;
    for (KRef i = 0; i < k->instr_count; i++)
        if (cs->tiled[i])
            cuda_put(t, "__shared__ %s tile%d[%d];", cuda_value_type(k->instr[i].dtype), i,
                     SCALAR_TILE_ROWS * pitch);
    cuda_open(t, "{");
    print_row(cs, "0");
    cuda_put(t, "#pragma unroll");
    cuda_open(t, "for (int n = 0; n < %d; n++) {",
              SCALAR_TILE_ROWS * SCALAR_TILE_COLUMNS / cs->s.block);
    cuda_put(t, "const int place = n * %d + (int)threadIdx.x;", cs->s.block);
    cuda_put(t, "const int down = place %% %d, across = place / %d;", SCALAR_TILE_ROWS,
             SCALAR_TILE_ROWS);
    cuda_put(t, "const int at = down * %d + across %% %d * %d + across / %d;", pitch, lanes,
             SCALAR_TILE_COLUMNS / lanes, lanes);
    cuda_put(t, "const %s d = first_row + down, c = first_column + across;", cs->index);
    cuda_open(t, "if (d < %lld && c < %s) {", (long long)k->dim[cs->s.turned], cs->end);
    for (KRef i = 0; i < k->instr_count; i++) {
        const KOperand *o = cs->tiled[i] ? &k->operand[k->instr[i].operand] : NULL;
        if (o)
            cuda_put(t, "tile%d[at] = plim_get_%s(p%d + at%d + d + c * (%s)%lld);", i,
                     dtype_name(o->dtype), k->instr[i].operand, k->instr[i].operand, cs->index,
                     (long long)o->stride[k->rank - 1]);
    }
    cuda_close(t);
    cuda_close(t);
    cuda_close(t);
    cuda_put(t, "__syncthreads();");
}

void cuda_print_tiles(CudaScalar *cs, const KernelLaunches *launches) {
    const long long across = (long long)tiles_across(cs), down = (long long)tiles_down(cs);
    cs->local = (cs->w.column_bit << 1) - 1;
    cs->tiled = arena_array(cs->a, bool, cs->k->instr_count + 1);
    for (KRef i = 0; i < cs->k->instr_count; i++)
        cs->tiled[i] = scalar_is_turned(&cs->w, i, cs->s.turned);
    cuda_head(cs->t, cs->k, launches, 0);
    cuda_put(cs->t, "const %s rest = blockIdx.x / %lldu;", cs->count, across * down);
    cuda_put(cs->t, "const %s first_row = (%s)(blockIdx.x / %lldu %% %lldu) * %d;", cs->index,
             cs->index, across, down, SCALAR_TILE_ROWS);
    cuda_put(cs->t, "const %s first_column = (%s)(blockIdx.x %% %lldu) * %d;", cs->index, cs->index,
             across, SCALAR_TILE_COLUMNS);
    print_tiles(cs);
    cuda_print_origin(cs);
    cuda_print_scalars(cs, ~0u, 0);
    const CudaWalk walk = {.kind = WALK_APART, .batch = cs->s.batch, .point = point_in_tile};
    cuda_print_walk(cs, &walk);
    cuda_close(cs->t);
}
