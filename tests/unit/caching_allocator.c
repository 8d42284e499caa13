// The model of PyTorch's caching allocator against sequences worked out by hand from its published
// rules.
#include "tests/bench/caching_allocator.h"

#include <criterion/criterion.h>

#define KIB ((uint64_t)1 << 10)
#define MIB ((uint64_t)1 << 20)

static Arena *arena;
static CachingAllocator *ca;

static void begin(void) {
    arena = arena_create();
    ca = caching_create(arena);
}

static void end(void) {
    arena_release(arena);
}

TestSuite(caching_allocator, .init = begin, .fini = end);

static uint64_t reserved(void) {
    return caching_stats(ca).reserved;
}

static uint64_t allocated(void) {
    return caching_stats(ca).allocated;
}

Test(caching_allocator, rounds_to_512_bytes) {
    cr_assert_eq(caching_alloc(ca, 0), UINT32_MAX);
    cr_assert_eq(reserved(), 0);
    caching_alloc(ca, 1);
    cr_assert_eq(allocated(), 512);
    caching_alloc(ca, 513);
    cr_assert_eq(allocated(), 512 + 1024);
    cr_assert_eq(reserved(), 2 * MIB, "both come out of one small segment");
}

Test(caching_allocator, segments_by_size) {
    caching_alloc(ca, MIB);
    cr_assert_eq(reserved(), 2 * MIB, "1 MiB is small");
    caching_alloc(ca, MIB + 1);
    cr_assert_eq(reserved(), 22 * MIB, "above it a segment of 20 MiB");
    caching_alloc(ca, 10 * MIB - 512);
    cr_assert_eq(reserved(), 22 * MIB, "which has room for another");
    caching_alloc(ca, 10 * MIB);
    cr_assert_eq(reserved(), 32 * MIB, "from 10 MiB on a segment of its own size");
    caching_alloc(ca, 11 * MIB);
    cr_assert_eq(reserved(), 44 * MIB, "in whole 2 MiB");
}

Test(caching_allocator, small_and_large_never_share) {
    caching_alloc(ca, 2 * MIB);
    cr_assert_eq(reserved(), 20 * MIB);
    caching_alloc(ca, 512);
    cr_assert_eq(reserved(), 22 * MIB, "18 MiB lie free, but not for small requests");
}

Test(caching_allocator, small_rest_of_512_is_split_off) {
    const uint32_t low = caching_alloc(ca, MIB), high = caching_alloc(ca, MIB - 512);
    cr_assert_eq(reserved(), 2 * MIB);
    caching_alloc(ca, 512);
    cr_assert_eq(reserved(), 2 * MIB, "the last 512 bytes were a block");
    cr_assert_lt(caching_address(ca, low), caching_address(ca, high));
}

Test(caching_allocator, large_rest_of_1_mib_stays_inside) {
    // 10 MiB freed; 9 MiB taken from it leave 1 MiB, which is not split off: the block keeps it.
    caching_free(ca, caching_alloc(ca, 10 * MIB));
    const uint32_t block = caching_alloc(ca, 9 * MIB);
    cr_assert_eq(allocated(), 10 * MIB);
    caching_free(ca, block);
    // 512 bytes less leave more than 1 MiB: split.
    caching_alloc(ca, 9 * MIB - 512);
    cr_assert_eq(allocated(), 9 * MIB - 512);
    cr_assert_eq(reserved(), 10 * MIB);
}

Test(caching_allocator, smallest_that_fits_and_lowest_of_equals) {
    const uint32_t twelve = caching_alloc(ca, 12 * MIB), ten = caching_alloc(ca, 10 * MIB);
    const uint32_t again = caching_alloc(ca, 10 * MIB);
    const uint64_t at = caching_address(ca, ten);
    caching_free(ca, again);
    caching_free(ca, twelve);
    caching_free(ca, ten);
    cr_assert_eq(caching_address(ca, caching_alloc(ca, 10 * MIB)), at);
    cr_assert_eq(reserved(), 32 * MIB);
}

Test(caching_allocator, neighbours_join_inside_a_segment_only) {
    // Three blocks of one 20 MiB segment; freeing the middle one last makes the segment whole.
    const uint32_t a = caching_alloc(ca, 6 * MIB), b = caching_alloc(ca, 6 * MIB),
                   c = caching_alloc(ca, 8 * MIB);
    cr_assert_eq(reserved(), 20 * MIB);
    caching_free(ca, a);
    caching_free(ca, c);
    // 6 and 8 free, but apart: 14 MiB need a new segment.
    const uint32_t wide = caching_alloc(ca, 14 * MIB);
    cr_assert_eq(reserved(), 34 * MIB);
    caching_free(ca, wide);
    caching_free(ca, b);
    caching_alloc(ca, 20 * MIB);
    cr_assert_eq(reserved(), 34 * MIB);
    // The free segment of 14 MiB doesn't join with anything.
    caching_alloc(ca, 15 * MIB);
    cr_assert_eq(reserved(), 34 * MIB + 16 * MIB);
}

Test(caching_allocator, segments_are_kept) {
    // Growing requests, each freed before the next: every one needs a new segment, as users of
    // varying lengths know.
    uint64_t sum = 0;
    for (uint64_t size = 10 * MIB; size <= 40 * MIB; size += 2 * MIB) {
        caching_free(ca, caching_alloc(ca, size));
        sum += size;
    }
    cr_assert_eq(allocated(), 0);
    cr_assert_eq(reserved(), sum);
    cr_assert_eq(caching_stats(ca).allocated_peak, 40 * MIB);
}

Test(caching_allocator, a_repeated_step_reserves_nothing_more) {
    uint64_t first = 0;
    for (int step = 0; step < 5; step++) {
        uint32_t block[64];
        for (uint32_t i = 0; i < 64; i++)
            block[i] = caching_alloc(ca, (i * 7919 % 61 + 1) * 100 * KIB);
        for (uint32_t i = 64; i-- > 0;)
            caching_free(ca, block[i]);
        if (step == 0)
            first = reserved();
        cr_assert_eq(reserved(), first);
    }
}
