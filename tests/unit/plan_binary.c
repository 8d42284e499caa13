// The binary form: it round-trips, equal plans give equal bytes, and no bytes whatever harm the
// decoder.
#include "plan_sample.h"
#include "runtime/plan_sign.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

enum { FLIPS = 2000 };

static uint8_t *encode_sample(size_t *size) {
    uint8_t *bytes = plan_sample_bytes(size);
    cr_assert_not_null(bytes);
    return bytes;
}

static uint64_t draw(uint64_t *state) {
    *state += 0x9E3779B97F4A7C15u;
    return plan_hash_u64(plan_hash_start(), *state);
}

Test(plan_binary, round_trips) {
    size_t size, again_size;
    uint8_t *bytes = encode_sample(&size), *again;
    PlanMemory *pm = plan_memory_new();
    Plan *p = NULL;
    PlimError error = {""};
    cr_assert_eq(plan_decode(bytes, size, pm, &p, &error), PLIM_OK, "%s", error.text);
    cr_assert_eq(plan_verify(p, &error), PLIM_OK, "%s", error.text);
    cr_assert_neq(p->digest, 0);
    cr_assert_str_eq(p->buffer[12].name, "product's room");
    cr_assert_eq(plan_find_entry(p, "eval"), &p->entry[1]);
    cr_assert_null(plan_find_entry(p, "evaluate"));
    cr_assert_eq(plan_encode(p, &again, &again_size), PLIM_OK);
    cr_assert_eq(size, again_size);
    cr_assert_eq(memcmp(bytes, again, size), 0);
    plan_memory_release(pm);
    free(again);
    free(bytes);
}

// Flips one to four bytes of a copy.
static uint8_t *flip(const uint8_t *bytes, size_t size, uint64_t *random) {
    uint8_t *copy = malloc(size);
    memcpy(copy, bytes, size);
    for (uint64_t n = 1 + draw(random) % 4; n > 0; n--) {
        const size_t at = draw(random) % size;
        // Not all noise: small and extreme values reach further.
        const uint8_t to[] = {0, 1, 0x7F, 0xFF, (uint8_t)draw(random)};
        copy[at] = to[draw(random) % sizeof to];
    }
    return copy;
}

Test(plan_binary, every_flip_is_refused) {
    size_t size;
    uint8_t *bytes = encode_sample(&size);
    uint64_t random = 1;
    for (int i = 0; i < FLIPS; i++) {
        uint8_t *copy = flip(bytes, size, &random);
        PlanMemory *pm = plan_memory_new();
        Plan *p = NULL;
        PlimError error = {""};
        if (memcmp(copy, bytes, size) != 0) {
            cr_assert_eq(plan_decode(copy, size, pm, &p, &error), PLIM_BAD_PLAN);
            cr_assert_eq(strncmp(error.text, "damaged plan: ", 14), 0, "%s", error.text);
        }
        plan_memory_release(pm);
        free(copy);
    }
    free(bytes);
}

// With the digest made right, what decodes can be verified, printed and read back without harm.
Test(plan_binary, no_flip_with_a_right_digest_harms) {
    size_t size;
    uint8_t *bytes = encode_sample(&size);
    FILE *null = fopen("/dev/null", "w");
    uint64_t random = 2;
    int decoded = 0, accepted = 0;
    for (int i = 0; i < FLIPS; i++) {
        uint8_t *copy = flip(bytes, size, &random);
        plan_set_digest(copy, size);
        PlanMemory *pm = plan_memory_new();
        Plan *p = NULL;
        PlimError error = {""};
        if (plan_decode(copy, size, pm, &p, &error) == PLIM_OK) {
            decoded++;
            accepted += plan_verify(p, &error) == PLIM_OK;
            plan_print(p, null);
            // What was decoded is all there is: encoding gives the same bytes.
            uint8_t *again;
            size_t again_size;
            cr_assert_eq(plan_encode(p, &again, &again_size), PLIM_OK);
            cr_assert(again_size == size && memcmp(again, copy, size) == 0);
            free(again);
        }
        plan_memory_release(pm);
        free(copy);
    }
    fclose(null);
    free(bytes);
    cr_log_info("%d of %d decoded, %d accepted (names, costs, places in the text)", decoded, FLIPS,
                accepted);
    cr_assert_gt(decoded, 0);
}

Test(plan_binary, every_cut_is_refused) {
    size_t size;
    uint8_t *bytes = encode_sample(&size);
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *copy = malloc(cut + 1);
        memcpy(copy, bytes, cut);
        if (cut >= 28) {
            for (int i = 0; i < 8; i++)
                copy[12 + i] = (uint8_t)((uint64_t)cut >> (8 * i));
            plan_set_digest(copy, cut);
        }
        PlanMemory *pm = plan_memory_new();
        Plan *p = NULL;
        PlimError error = {""};
        cr_assert_eq(plan_decode(copy, cut, pm, &p, &error), PLIM_BAD_PLAN, "cut at %zu", cut);
        plan_memory_release(pm);
        free(copy);
    }
    free(bytes);
}

Test(plan_binary, memory_comes_zeroed_and_checks_sizes) {
    PlanMemory *pm = plan_memory_new();
    for (size_t size = 1; size < 200000; size = size * 3 + 1) {
        const unsigned char *at = plan_alloc(pm, size, 1);
        cr_assert_not_null(at);
        for (size_t i = 0; i < size; i++)
            cr_assert_eq(at[i], 0);
    }
    cr_assert_null(plan_alloc(pm, SIZE_MAX / 2, 3));
    cr_assert_str_eq(plan_string(pm, "text"), "text");
    plan_memory_release(pm);
    plan_memory_release(NULL);
}
