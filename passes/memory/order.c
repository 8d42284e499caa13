// Choosing the order of the nodes.
#include "passes/pass.h"

#include "ir/check.h"
#include "passes/tasks.h"

PassResult pass_order(Module *m, PassCtx *cx) {
    for (int i = 0; i < m->entry_count; i++)
        CHECK(tasks_gather(m->entry[i], cx->scratch));
    return PASS_CHANGED;
}
