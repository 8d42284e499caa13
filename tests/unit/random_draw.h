// Random problems of tests: the same ones on every machine, and fewer under sanitizers.
// TEST_SCALE (tests/CMakeLists.txt) is 1 in the one build that repeats in full what goes the same
// way in all of them: code that LLVM or the shim compiles takes the time, and is the same code.
#ifndef PLIM_TESTS_UNIT_RANDOM_DRAW_H
#define PLIM_TESTS_UNIT_RANDOM_DRAW_H

#include <stdint.h>

// 1 where a sanitizer makes everything several times slower.
#ifdef __SANITIZE_ADDRESS__
#define SLOW 1
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
#define SLOW 1
#endif
#endif
#ifndef SLOW
#define SLOW 0
#endif
#define ONCE (TEST_SCALE == 1)

// 0 .. below - 1; the multiplier is Knuth's MMIX's.
static inline uint32_t draw(uint64_t *state, uint32_t below) {
    *state = *state * 6364136223846793005u + 1442695040888963407u;
    return (uint32_t)(*state >> 33) % below;
}

#endif
