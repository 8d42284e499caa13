// Packing, measured: the CSV files named on the command line, or random buffers of several kinds
// where none is.
//   bench_packing [FILE.csv...]        with --capacity N first: until they fit
// A line each: buffers, load, height, excess over the load, whether proved, processor seconds; then
// peak memory.
#include "passes/memory/pack.h"
#include "tools/pack_csv.h"
#include "tools/tool_io.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

enum { RANDOM = 20000 };

static void measure(const char *name, PackItem *item, int count, uint64_t capacity, Arena *a) {
    const PackOptions options = {.capacity = capacity};
    const clock_t begin = clock();
    const PackAnswer answer = pack_solve(item, count, &options, a);
    const double seconds = (double)(clock() - begin) / CLOCKS_PER_SEC;
    printf("%-28s %6d %14llu %14llu %7.3f %% %-8s %7.3f s  %s\n", name, count,
           (unsigned long long)answer.load, (unsigned long long)answer.height,
           100.0 * (double)(answer.height - answer.load) / (double)(answer.load ? answer.load : 1),
           answer.optimal ? "proved" : "", seconds, answer.how);
}

static double draw(uint64_t *state) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (double)(*state >> 11) * 0x1p-53;
}

typedef enum { ANY, SHORT, MIXED, WIDE, POWERS, KINDS } Kind;
static const char *const kind_name[KINDS] = {"random: any lives", "random: short lives",
                                             "random: a third live long", "random: all magnitudes",
                                             "random: powers of two"};

static PackItem random_item(Kind kind, int i, uint64_t *state) {
    const double times = 2.0 * RANDOM, first = draw(state) * times, x = draw(state),
                 y = draw(state);
    double life = 0, size = 1 + 4000 * y;
    switch (kind) {
    case ANY:
        life = x * (times - first);
        break;
    case SHORT:
        life = 50 * x;
        break;
    case MIXED:
        life = i % 3 ? 8 * x : x * (times - first);
        break;
    case WIDE:
        life = 20 * pow(times / 20, x * x);
        size = pow(2, 20 * y);
        break;
    case POWERS:
        life = 1000 * x;
        size = (double)(1 << (int)(14 * y));
        break;
    case KINDS:
        break;
    }
    return (PackItem){
        .size = 64 * (uint64_t)size, .first = (uint32_t)first, .last = (uint32_t)(first + life)};
}

static void measure_random(void) {
    for (int kind = 0; kind < KINDS; kind++) {
        Arena *a = arena_create();
        PackItem *item = arena_array(a, PackItem, RANDOM);
        uint64_t state = 1;
        for (int i = 0; i < RANDOM; i++)
            item[i] = random_item((Kind)kind, i, &state);
        measure(kind_name[kind], item, RANDOM, 0, a);
        arena_release(a);
    }
}

static bool measure_file(const char *path, uint64_t capacity) {
    size_t bytes = 0;
    char *text = tool_read("bench_packing", path, (size_t)1 << 30, &bytes);
    if (!text)
        return false;
    Arena *a = arena_create();
    Diag *diag = diag_create(a);
    PackCsv *csv = pack_csv_read(a, diag, path, text, bytes);
    const char *slash = strrchr(path, '/');
    if (csv)
        measure(slash ? slash + 1 : path, csv->item, csv->count, capacity, a);
    diag_print(diag, stderr, tool_color());
    arena_release(a);
    free(text);
    return csv != NULL;
}

int main(int argc, char **argv) {
    uint64_t capacity = 0;
    int at = 1;
    bool good = true;
    if (argc > 2 && strcmp(argv[1], "--capacity") == 0) {
        capacity = strtoull(argv[2], NULL, 10);
        at = 3;
    }
    if (at >= argc)
        measure_random();
    for (; at < argc; at++)
        good = measure_file(argv[at], capacity) && good;
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    printf("peak memory %ld MiB\n", usage.ru_maxrss / 1024);
    return good ? 0 : 1;
}
