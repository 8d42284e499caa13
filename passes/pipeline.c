// The pass table and its driver: runs passes in order and proves what each leaves behind.
//
// The table is passes/pipeline.def. After each pass the driver verifies the module, and the plan
// once every buffer has an address, so a mistake is reported by the pass that made it. Scratch
// memory dies with the pass. Nothing here knows what a pass does.
#include "passes/pipeline.h"

#include "ir/check.h"

#include <string.h>

// In the order in which they run.
static const Pass pass_table[] = {
#define P(NAME, NEEDS, GIVES, BREAKS, HELP) {#NAME, pass_##NAME, NEEDS, GIVES, BREAKS, HELP},
#include "passes/pipeline.def"
#undef P
};

enum { PASS_COUNT = sizeof pass_table / sizeof pass_table[0] };

int pass_count(void) {
    return PASS_COUNT;
}

const Pass *pass_at(int index) {
    CHECK(index >= 0 && index < PASS_COUNT);
    return &pass_table[index];
}

PassResult pass_each_entry(Module *m, PassCtx *cx, EntryFn change) {
    PassResult result = PASS_SAME;
    for (int i = 0; i < m->entry_count; i++)
        if (change(m->entry[i], cx) == PASS_CHANGED)
            result = PASS_CHANGED;
    return result;
}

const Pass *pass_find(const char *name) {
    for (int i = 0; i < PASS_COUNT; i++)
        if (strcmp(pass_table[i].name, name) == 0)
            return &pass_table[i];
    return NULL;
}

// Walks the table with the set of properties that hold; NULL where every pass finds its needs.
const Pass *pass_first_misplaced(void) {
    unsigned have = 0;
    for (int i = 0; i < PASS_COUNT; i++) {
        const Pass *p = &pass_table[i];
        if (p->needs & ~have)
            return p;
        have = (have & ~p->breaks) | p->gives;
    }
    return NULL;
}

// What a pass left behind must be sound: if it is not, that is our bug, said in the user's terms.
// Of trials only their bytes are looked at, and the one that is taken is made, and verified, once
// more.
static bool check_after(const Module *m, PassCtx *cx, const Pass *pass) {
    if (cx->options && cx->options->trial)
        return true;
    if (m && !module_verify(m, cx->diag)) {
        diag_note(cx->diag, (Loc){0}, "pass %s left this behind: that is a bug in the compiler",
                  pass->name);
        return false;
    }
    // Before layout buffers have no addresses, and the verifier nothing to compare.
    if (!cx->plan || !(pass->gives & IR_PLACED))
        return true;
    PlimError error = {{0}};
    if (plan_verify(cx->plan, &error) == PLIM_OK)
        return true;
    return diag_error(cx->diag, (Loc){0}, 890, "the plan after pass %s is not sound: %s",
                      pass->name, error.text);
}

static bool run_one(Module *m, PassCtx *cx, const Pass *pass) {
    const int errors = diag_error_count(cx->diag);
    const PassResult result = pass->run(m, cx);
    if (result == PASS_FAILED) {
        CHECK(diag_error_count(cx->diag) > errors); // a pass that fails says why
        return false;
    }
    return check_after(m, cx, pass);
}

bool pipeline_run(Module *m, PassCtx *cx, const char *const *name, int count, PassDump dump,
                  void *user) {
    CHECK(!pass_first_misplaced());
    // Named passes run as named, in that order; else the whole table.
    const int total = count ? count : PASS_COUNT;
    for (int i = 0; i < total; i++) {
        const Pass *pass = count ? pass_find(name[i]) : &pass_table[i];
        if (!pass)
            return diag_error(cx->diag, (Loc){0}, 891, "there is no pass named %s", name[i]);
        const bool done = run_one(m, cx, pass);
        // Also after a failure, so that the caller finds it empty.
        arena_reset(cx->scratch);
        if (!done)
            return false;
        if (dump)
            dump(user, pass, m, cx);
    }
    return true;
}
