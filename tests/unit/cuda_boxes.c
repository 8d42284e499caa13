// Copies by tensor map as the shim emulates them: what a box brings, where it lies, what is zero
// outside of the operand; and that the shim tells what would hang or race on a GPU.
#include "cuda_run.h"
#include "tests/shim/tensor_map.h"

#include <criterion/criterion.h>
#include <stdlib.h>

enum { BATCH = 2, HEADS = 3, POSITIONS = 20, COLUMNS = 72, ROWS = 16, BOX_BYTES = ROWS * 128 };
enum { BOX_COLUMNS = 64, RESULTS = ROWS * BOX_COLUMNS };

typedef struct {
    int column, position, head, batch;
} Place;

// One warp brings a box and writes it out in order. `mistake`: what the case leaves out or does.
static const char bring_text[] =
    "extern \"C\" __global__ void bring(const __grid_constant__ PlimTensorMap map, "
    "unsigned short *out, int column, int position, int head, int batch, int mistake) {\n"
    "    const unsigned tile = plim_shared_address(), barrier = tile + 2048;\n"
    "    if (threadIdx.x == 0) {\n"
    "        plim_barrier_begin(barrier, 1);\n"
    "        plim_barriers_show();\n"
    "    }\n"
    "    plim_shared_store(tile + 4 * threadIdx.x, 1);\n"
    "    if (mistake != 1)\n"
    "        plim_show_products();\n"
    "    __syncthreads();\n"
    "    if (plim_elect()) {\n"
    "        plim_barrier_expect(barrier, mistake == 2 ? 2048 + 128 : mistake == 3 ? 1024 : "
    "2048);\n"
    "        plim_copy_box(mistake == 4 ? tile + 128 : tile, map, column, position, head, batch,\n"
    "                      barrier);\n"
    "    }\n"
    "    if (mistake == 5)\n"
    "        return;\n"
    "    plim_barrier_wait(barrier, mistake == 6 ? 1 : 0);\n"
    "    for (unsigned i = threadIdx.x; i < 1024; i += 32) {\n"
    "        const unsigned row = i / 64, chunk = i % 64 / 8;\n"
    "        out[i] = plim_shared_load_half(tile + row * 128 + (chunk ^ row % 8) * 16 + i % 8 * "
    "2);\n"
    "    }\n"
    "    if (mistake == 7)\n"
    "        plim_threads_arrive(3, 64);\n"
    "}\n";

typedef struct {
    Arena *a;
    CudaHostFn bring;
    uint16_t *operand;
    _Alignas(128) char map[128];
} Bench;

static const uint64_t dims[4] = {COLUMNS, POSITIONS, HEADS, BATCH};
// Rows of heads side by side, with a gap behind them.
static const uint64_t strides[3] = {(HEADS * COLUMNS + 8) * 2, COLUMNS * 2,
                                    POSITIONS *(HEADS *COLUMNS + 8) * 2};

static int encode(void *out, const void *address, const uint64_t *stride, uint32_t columns,
                  uint32_t rows) {
    const uint32_t box[4] = {columns, rows, 1, 1}, step[4] = {1, 1, 1, 1};
    return shim_map_encode(out, 9, 4, address, dims, stride, box, step, 0, 3, 2, 0);
}

static size_t element_at(int column, int position, int head, int batch) {
    return (size_t)column + (size_t)position * strides[0] / 2 + (size_t)head * strides[1] / 2 +
           (size_t)batch * strides[2] / 2;
}

static void begin(Bench *b) {
    b->a = arena_create();
    const CudaParts parts = CUDA_MMA | CUDA_ATTENTION | CUDA_HOPPER;
    const char *prelude = cuda_prelude(b->a, parts, (GpuArch){90, true});
    b->bring = cuda_text_function(
        cuda_text_load(b->a, arena_format(b->a, "%s%s", prelude, bring_text), "-O0"), "bring");
    const size_t bytes = BATCH * strides[2];
    b->operand = aligned_alloc(16, (bytes + 15) / 16 * 16);
    for (size_t i = 0; i < bytes / 2; i++)
        b->operand[i] = (uint16_t)(i * 40503 % 65521 + 1);
    cr_assert_eq(encode(b->map, b->operand, strides, BOX_COLUMNS, ROWS), 0);
}

static void end(Bench *b) {
    free(b->operand);
    arena_release(b->a);
}

static int bring(Bench *b, Place p, int mistake, ShimOrder order, uint16_t *out) {
    void *args[] = {b->map, &out, &p.column, &p.position, &p.head, &p.batch, &mistake};
    setenv("PLIM_SHIM_ORDER", order == SHIM_BACKWARD ? "backward" : "forward", 1);
    return b->bring(args, 1, 1, 1, 32, BOX_BYTES + 8);
}

static bool inside(int column, int position) {
    return column >= 0 && column < COLUMNS && position >= 0 && position < POSITIONS;
}

static void check_place(Bench *b, Place p) {
    for (int order = 0; order < 2; order++) {
        uint16_t out[RESULTS];
        cr_assert_eq(bring(b, p, 0, order ? SHIM_BACKWARD : SHIM_FORWARD, out), 0);
        for (int i = 0; i < RESULTS; i++) {
            const int column = p.column + i % BOX_COLUMNS, position = p.position + i / BOX_COLUMNS;
            const uint16_t wanted = inside(column, position)
                                        ? b->operand[element_at(column, position, p.head, p.batch)]
                                        : 0;
            cr_assert_eq(out[i], wanted, "column %d, position %d", column, position);
        }
    }
}

Test(cuda_boxes, bring_rows_and_zeros) {
    Bench b;
    begin(&b);
    check_place(&b, (Place){0, 0, 0, 0});
    check_place(&b, (Place){0, 3, 2, 1});
    check_place(&b, (Place){64, 10, 1, 0}); // past the last column and row
    check_place(&b, (Place){0, 32, 0, 1});  // nothing of it is there
    check_place(&b, (Place){-8, -5, 1, 1}); // begins before the operand
    end(&b);
}

// Those that would hang wait until the shim's patience ends.
Test(cuda_boxes, mistakes_are_told) {
    Bench b;
    begin(&b);
    const Place p = {0, 0, 0, 0};
    uint16_t out[RESULTS];
    static const char *const mistake[] = {"none",
                                          "a write that was not shown before it is overwritten",
                                          "a barrier that expects more bytes",
                                          "a barrier that expects fewer bytes",
                                          "a target with another twist",
                                          "a block that ends before its copies",
                                          NULL, // told by results alone
                                          "an arrival that nobody waits for"};
    for (int i = 1; i < (int)(sizeof mistake / sizeof *mistake); i++)
        if (mistake[i])
            cr_assert_neq(bring(&b, p, i, SHIM_FORWARD, out), 0, "not told: %s", mistake[i]);
    // The wrong parity: it does not wait, and finds nothing yet.
    cr_assert_neq(bring(&b, p, 6, SHIM_FORWARD, out), 0);
    end(&b);
}

Test(cuda_boxes, maps_that_cuda_refuses) {
    _Alignas(128) char map[128] = {0}, address[64] = {0};
    const uint64_t odd[3] = {(HEADS * COLUMNS + 4) * 2, COLUMNS * 2, strides[2]};
    cr_assert_eq(encode(map, address, strides, BOX_COLUMNS, 256), 0);
    cr_assert_neq(encode(map, address, strides, BOX_COLUMNS, 257), 0);
    cr_assert_neq(encode(map, address, strides, 2 * BOX_COLUMNS, ROWS), 0);
    cr_assert_neq(encode(map, address + 8, strides, BOX_COLUMNS, ROWS), 0);
    cr_assert_neq(encode(map + 32, address, strides, BOX_COLUMNS, ROWS), 0);
    cr_assert_neq(encode(map, address, odd, BOX_COLUMNS, ROWS), 0);
}
