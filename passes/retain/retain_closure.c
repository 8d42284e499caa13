// What has to run again in a block where not everything is kept. Cost: O(reads of the block).
#include "passes/retain/retain_closure.h"

#include <string.h>

RetainClosure *retain_closure(const RetainChain *c, Arena *a) {
    RetainClosure *z = arena_new(a, RetainClosure);
    z->c = c;
    z->fate = arena_array(a, RetainFate, c->x->p->value_count + 1);
    z->again = arena_array(a, bool, c->x->p->task_count + 1);
    return z;
}

bool retain_is_wanted(const RetainChain *c, int value) {
    return c->x->first_backward[value] < c->x->p->task_count;
}

bool retain_within(const RetainChain *c, int block, int value) {
    return retain_again(c->x->p, value) && c->x->p->value[value].maker >= c->begin[block];
}

static void want(RetainClosure *z, int block, int value) {
    const RetainProblem *p = z->c->x->p;
    const int maker = p->value[value].maker;
    if (z->c->home[value] < 0)
        return; // always there
    if (z->c->home[value] == block) {
        if (z->fate[value] != RETAIN_AGAIN)
            return;
        if (!retain_within(z->c, block, value)) {
            z->fate[value] = RETAIN_KEEP;
            return;
        }
    } else if (maker < z->c->begin[block] || p->task[maker].flags & RETAIN_ONCE)
        return; // another block's; it is there
    if (z->again[maker])
        return;
    z->again[maker] = true;
    z->time += retain_time(p, maker);
    for (int i = 0; i < p->task[maker].operand_count; i++)
        want(z, block, p->task[maker].operand[i]);
}

void retain_close(RetainClosure *z, int block, RetainWay *way) {
    const RetainChain *c = z->c;
    const int begin = c->member_begin[block], end = c->member_begin[block + 1];
    z->time = 0;
    for (int t = c->begin[block]; t < c->begin[block + 1]; t++)
        z->again[t] = false;
    for (int i = begin; i < end; i++)
        z->fate[c->member[i]] = way->fate[i - begin];
    for (int i = begin; i < end; i++)
        if (retain_is_wanted(c, c->member[i]))
            want(z, block, c->member[i]);
    way->kept = way->out = way->in = 0;
    way->again = z->time;
    for (int i = begin; i < end; i++) {
        const RetainValue *v = &c->x->p->value[c->member[i]];
        way->fate[i - begin] = z->fate[c->member[i]];
        if (way->fate[i - begin] == RETAIN_KEEP)
            way->kept += v->bytes;
        if (way->fate[i - begin] == RETAIN_MOVE) {
            way->out += v->out;
            way->in += v->in;
        }
    }
}

void retain_way_add(RetainClosure *z, int block, RetainBlock *ways, const RetainFate *fate,
                    Arena *a) {
    const int members = z->c->member_begin[block + 1] - z->c->member_begin[block];
    const size_t size = sizeof *fate * (size_t)members;
    if (ways->count == RETAIN_WAYS_MAX)
        return;
    RetainWay way = {.fate = arena_array(a, RetainFate, members + 1)};
    memcpy(way.fate, fate, size);
    retain_close(z, block, &way);
    for (int i = 0; i < ways->count; i++)
        if (!memcmp(ways->way[i].fate, way.fate, size))
            return;
    ways->way[ways->count++] = way;
}
