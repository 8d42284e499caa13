// libFuzzer: bytes as a plan's binary form (with the digest made right) and as its text. What
// decodes is verified, printed and parsed again; the parsed plan must encode to the same bytes.
#include "runtime/plan_sign.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds) {
    if (!holds)
        abort();
}

static void encode_both(const Plan *a, const Plan *b) {
    uint8_t *left, *right;
    size_t left_size, right_size;
    must(plan_encode(a, &left, &left_size) == PLIM_OK);
    must(plan_encode(b, &right, &right_size) == PLIM_OK);
    must(left_size == right_size && memcmp(left, right, left_size) == 0);
    free(left);
    free(right);
}

static void exercise(const Plan *p) {
    PlimError error;
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return;
    plan_verify(p, &error);
    plan_print(p, out);
    fclose(out);
    PlanMemory *pm = plan_memory_new();
    Plan *again = NULL;
    must(plan_parse(text, size, pm, &again, &error) == PLIM_OK);
    encode_both(p, again);
    plan_memory_release(pm);
    free(text);
}

static void decode(const uint8_t *data, size_t size) {
    uint8_t *bytes = malloc(size);
    if (!bytes)
        return;
    memcpy(bytes, data, size);
    for (int i = 0; i < 8; i++)
        bytes[12 + i] = (uint8_t)((uint64_t)size >> (8 * i));
    const uint64_t digest = plan_hash_bytes(plan_hash_start(), bytes, size - 8);
    for (int i = 0; i < 8; i++)
        bytes[size - 8 + (size_t)i] = (uint8_t)(digest >> (8 * i));
    PlanMemory *pm = plan_memory_new();
    Plan *p = NULL;
    PlimError error;
    if (plan_decode(bytes, size, pm, &p, &error) == PLIM_OK)
        exercise(p);
    plan_memory_release(pm);
    free(bytes);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    PlanMemory *pm = plan_memory_new();
    Plan *p = NULL;
    PlimError error;
    if (plan_parse((const char *)data, size, pm, &p, &error) == PLIM_OK)
        exercise(p);
    plan_memory_release(pm);
    if (size >= 28)
        decode(data, size);
    return 0;
}
