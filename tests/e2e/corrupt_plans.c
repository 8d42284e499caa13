// A plan compiled from a real module, broken on purpose in every way plan_corrupt knows, many times
// each: the verifier refuses it, or it computes the same in every interleaving tried. Arguments:
// the number of seeds, `all` kinds of corruption or those that a `named` rule must refuse, .plan
// files.
#include "tests/unit/plan_corrupt.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { TURNS = 4, KINDS_MIN = 20 };

// One plan's bytes, from which every broken copy starts, and what it computes.
typedef struct {
    const char *name;
    uint8_t *bytes;
    size_t size;
    uint64_t outcome;
} Sound;

static int fail(const char *name, const char *why) {
    fprintf(stderr, "corrupt_plans: %s: %s\n", name, why);
    return 1;
}

static char *read_text(const char *path, size_t *size) {
    FILE *in = fopen(path, "rbe");
    char *text = NULL;
    size_t room = 0;
    *size = 0;
    if (!in)
        return NULL;
    for (size_t got = 1; got > 0; *size += got) {
        if (*size == room)
            text = realloc(text, room = room * 2 + 65536);
        if (!text)
            break;
        got = fread(text + *size, 1, room - *size, in);
    }
    fclose(in);
    return text;
}

// The plan in text: verified, executed, encoded.
static int read_sound(const char *path, Sound *out) {
    size_t size;
    char *text = read_text(path, &size);
    PlanMemory *pm = plan_memory_new();
    Plan *p = NULL;
    PlimError error = {"can't be read"};
    *out = (Sound){.name = path};
    int wrong = 0;
    if (!text || !pm || plan_parse(text, size, pm, &p, &error) != PLIM_OK ||
        plan_verify(p, &error) != PLIM_OK)
        wrong = fail(path, error.text);
    else if (!plan_outcome(p, 0, &out->outcome) ||
             plan_encode(p, &out->bytes, &out->size) != PLIM_OK)
        wrong = fail(path, "can't be executed or encoded");
    plan_memory_release(pm);
    free(text);
    return wrong;
}

// The corrupted plan computes what the sound one computes, in every interleaving tried.
static bool is_harmless(const Plan *p, uint64_t wanted) {
    for (uint64_t turn = 0; turn < TURNS; turn++) {
        uint64_t outcome;
        if (!plan_outcome(p, turn, &outcome) || outcome != wanted)
            return false;
    }
    return true;
}

typedef struct {
    int tried, refused, harmless;
} Tally;

static int break_once(const Sound *s, PlanCorruption kind, uint64_t seed, Tally *tally) {
    PlanMemory *pm = plan_memory_new();
    Plan *p = NULL;
    PlimError error = {""};
    int wrong = 0;
    if (!pm || plan_decode(s->bytes, s->size, pm, &p, &error) != PLIM_OK)
        wrong = fail(s->name, error.text);
    else if (plan_corrupt(p, kind, seed)) {
        tally->tried++;
        if (plan_verify(p, &error) != PLIM_OK) {
            tally->refused++;
            if (!plan_corruption_is_refused(kind, error.text))
                wrong = fail(plan_corruption_name(kind), error.text);
        } else if (!plan_corruption_is_strict(kind) && is_harmless(p, s->outcome))
            tally->harmless++;
        else {
            fprintf(stderr, "%s, seed %d: ", plan_corruption_name(kind), (int)seed);
            wrong = fail(s->name, "accepted");
        }
    }
    plan_memory_release(pm);
    return wrong;
}

static int break_plan(const char *path, int seeds, bool named) {
    Sound s;
    if (read_sound(path, &s))
        return 1;
    int kinds = 0, wrong = 0;
    Tally all = {0};
    for (int kind = 0; kind < CORRUPT_COUNT; kind++) {
        Tally tally = {0};
        if (named && plan_corruption_rule((PlanCorruption)kind) == 0)
            continue;
        for (int seed = 0; seed < seeds; seed++)
            wrong += break_once(&s, (PlanCorruption)kind, (uint64_t)seed, &tally);
        kinds += tally.refused > 0;
        if (plan_corruption_rule((PlanCorruption)kind) && tally.refused > 0)
            printf("%s: %d refused by rule %d\n", plan_corruption_name((PlanCorruption)kind),
                   tally.refused, plan_corruption_rule((PlanCorruption)kind));
        all.tried += tally.tried;
        all.refused += tally.refused;
        all.harmless += tally.harmless;
    }
    printf("%s: %d of %d broken plans of %d kinds refused, %d harmless\n", path, all.refused,
           all.tried, kinds, all.harmless);
    free(s.bytes);
    // Nine of ten at least: harmless changes must stay the exception.
    if (kinds < (named ? 1 : KINDS_MIN) || all.refused < all.tried * 9 / 10)
        wrong += fail(path, "too few were refused");
    return wrong;
}

int main(int argc, char **argv) {
    const bool named = argc > 2 && strcmp(argv[2], "named") == 0;
    if (argc < 4 || (!named && strcmp(argv[2], "all") != 0))
        return fail("usage", "SEEDS all|named FILE.plan...");
    const int seeds = atoi(argv[1]);
    int wrong = 0;
    for (int i = 3; i < argc; i++)
        wrong += break_plan(argv[i], seeds, named);
    return wrong > 0;
}
