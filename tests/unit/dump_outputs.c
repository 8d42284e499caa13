// plim-dump shows plans that nobody verified: whatever decodes is printed by every output without
// a crash, a hang or a read outside. Bytes are changed at random and the digest made right, so that
// the decoder lets pass what only the verifier would refuse.
#include "plan_sample.h"
#include "runtime/plan_sign.h"
#include "tests/temporary.h"
#include "tools/dump.h"
#include "tools/plan_csv.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__)
enum { FLIPS = 2000, RUNS = 500 };
#elif defined(__has_feature)
#if __has_feature(address_sanitizer)
enum { FLIPS = 2000, RUNS = 500 };
#else
enum { FLIPS = 4000, RUNS = 1000 };
#endif
#else
enum { FLIPS = 4000, RUNS = 1000 };
#endif

static const char *const sample_file = PLIM_SOURCE_DIR "/tests/unit/sample.plan";

static uint64_t draw(uint64_t *state) {
    *state += 0x9E3779B97F4A7C15u;
    return plan_hash_u64(plan_hash_start(), *state);
}

static uint8_t *encode_sample(size_t *size) {
    uint8_t *bytes = plan_sample_bytes(size);
    cr_assert_not_null(bytes);
    return bytes;
}

// Bytes that an output of the plan came to.
static size_t show(const Plan *p, PlanMemory *pm, DumpFn print, const DumpOptions *options) {
    char *text = NULL;
    size_t size = 0;
    Dump d = {.file = "sample", .plan = p, .memory = pm, .options = options};
    d.uses = plan_uses_new(p, pm);
    cr_assert_not_null(d.uses);
    machine_of_plan(p, &d.machine);
    FILE *out = open_memstream(&text, &size);
    const int status = print(&d, out);
    fclose(out);
    free(text);
    // What fails says why.
    cr_assert(status != DUMP_FAILED || *d.error.text);
    return size;
}

static void show_all(const Plan *p, PlanMemory *pm, uint64_t *random) {
    static const DumpFn print[] = {dump_summary, dump_memory, dump_json, dump_trace, dump_dot};
    static const char *const name[] = {"h",      "b3",   "b12", "k2", "train:0",
                                       "eval:1", "body", "w",   "zz"};
    DumpOptions options = {.entry = draw(random) % 2 ? "eval" : NULL,
                           .scope = draw(random) % 4 ? NULL : "body"};
    for (size_t i = 0; i < sizeof print / sizeof print[0]; i++)
        show(p, pm, print[i], &options);
    options.value = name[draw(random) % (sizeof name / sizeof name[0])];
    show(p, pm, dump_why, &options);
    options.value = sample_file;
    options.fail_if = "peak>+1%";
    show(p, pm, dump_diff, &options);
    FILE *out = fopen("/dev/null", "w");
    plan_csv_print(p, out);
    fclose(out);
}

Test(dump_outputs, show_the_sample) {
    PlanMemory *pm = plan_memory_new();
    const Plan *p = plan_sample(pm);
    DumpOptions options = {0};
    cr_assert_gt(show(p, pm, dump_summary, &options), 500);
    cr_assert_gt(show(p, pm, dump_memory, &options), 500);
    cr_assert_gt(show(p, pm, dump_json, &options), 5000);
    cr_assert_gt(show(p, pm, dump_trace, &options), 5000);
    cr_assert_gt(show(p, pm, dump_dot, &options), 1000);
    plan_memory_release(pm);
}

Test(dump_outputs, no_plan_harms_them) {
    size_t size;
    uint8_t *bytes = encode_sample(&size);
    uint64_t random = 7;
    int shown = 0;
    for (int i = 0; i < FLIPS; i++) {
        uint8_t *copy = malloc(size);
        memcpy(copy, bytes, size);
        for (uint64_t n = 1 + draw(&random) % 3; n > 0; n--) {
            // Not all noise: small and extreme values reach further.
            const uint8_t to[] = {0, 1, 3, 0x7F, 0xFF, (uint8_t)draw(&random)};
            copy[20 + draw(&random) % (size - 28)] = to[draw(&random) % sizeof to];
        }
        plan_set_digest(copy, size);
        PlanMemory *pm = plan_memory_new();
        Plan *p = NULL;
        PlimError error = {""};
        if (plan_decode(copy, size, pm, &p, &error) == PLIM_OK) {
            shown++;
            show_all(p, pm, &random);
        } else {
            cr_assert_neq(error.text[0], '\0');
        }
        plan_memory_release(pm);
        free(copy);
    }
    // Otherwise this tried nothing.
    cr_assert_gt(shown, FLIPS / 10);
    free(bytes);
}

// A run's files are read with the same distrust.
Test(dump_outputs, no_trace_harms_them) {
    static const char trace[] =
        "{\"displayTimeUnit\":\"ms\",\"traceEvents\":[\n"
        "{\"ph\":\"M\",\"pid\":1,\"tid\":1,\"name\":\"thread_name\",\"args\":{\"name\":\"steps\"}},"
        "\n"
        "{\"ph\":\"X\",\"pid\":1,\"tid\":1,\"ts\":10.000,\"dur\":90.000,\"name\":\"step 1\"},\n"
        "{\"ph\":\"X\",\"pid\":1,\"tid\":10,\"ts\":20.000,\"dur\":5.000,\"name\":\"affine\","
        "\"args\":"
        "{\"kernel\":\"k0\",\"segment\":\"train.body\",\"slot\":0,\"instruction\":0}}\n]}\n";
    char path[TEMPORARY_MAX];
    temporary_path(path, "plim_trace");
    const int fd = open(path, O_RDWR | O_CREAT | O_EXCL, 0600);
    cr_assert_geq(fd, 0);
    PlanMemory *pm = plan_memory_new();
    const Plan *p = plan_sample(pm);
    const DumpOptions options = {.entry = "train", .measured = path};
    uint64_t random = 3;
    for (int i = 0; i < RUNS; i++) {
        char copy[sizeof trace];
        memcpy(copy, trace, sizeof trace);
        // The first as it is.
        for (uint64_t n = i ? 1 + draw(&random) % 3 : 0; n > 0; n--)
            copy[draw(&random) % (sizeof trace - 1)] = "{}[],:\"0e9-\\"[draw(&random) % 12];
        cr_assert_eq(ftruncate(fd, 0), 0);
        cr_assert_eq(pwrite(fd, copy, sizeof trace - 1, 0), (ssize_t)sizeof trace - 1);
        PlanMemory *own = plan_memory_new();
        const size_t size = show(p, own, dump_trace, &options);
        cr_assert(i > 0 || size > 1000);
        show(p, own, dump_summary, &options);
        plan_memory_release(own);
    }
    close(fd);
    unlink(path);
    plan_memory_release(pm);
}
