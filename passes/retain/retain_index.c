// Side tables of a problem: who reads a value, and when the forward and the rest do.
#include "passes/retain/retain_index.h"

int64_t retain_bytes(const RetainProblem *p, int value) {
    const RetainValue *v = &p->value[value];
    return v->maker >= 0 && p->task[v->maker].flags & RETAIN_FREE ? 0 : v->bytes;
}

int64_t retain_time(const RetainProblem *p, int task) {
    return p->task[task].flags & RETAIN_FREE ? 0 : p->task[task].time;
}

int64_t retain_ambient(const RetainProblem *p) {
    int64_t sum = 0;
    for (int v = 0; v < p->value_count; v++)
        sum += p->value[v].maker < 0 ? p->value[v].bytes : 0;
    return sum;
}

bool retain_again(const RetainProblem *p, int value) {
    const int maker = p->value[value].maker;
    return maker >= 0 && !(p->task[maker].flags & RETAIN_ONCE);
}

bool retain_movable(const RetainProblem *p, int value) {
    const RetainValue *v = &p->value[value];
    return v->maker >= 0 && v->out > 0 && v->in > 0;
}

bool retain_rows(const RetainProblem *p, int value) {
    return retain_again(p, value) && p->value[value].parts > 0 &&
           p->task[p->value[value].maker].flags & RETAIN_ROWS;
}

RetainParts retain_parts(const RetainProblem *p, RetainStep store) {
    const int all = p->value[store.what].parts > 0 ? p->value[store.what].parts : 1;
    return (RetainParts){.near = store.near,
                         .far = all - store.near - store.again,
                         .again = store.again,
                         .all = all};
}

int64_t retain_share(int64_t whole, int parts, int all) {
    return parts == all ? whole : (whole * parts + all - 1) / all;
}

RetainIndex *retain_index(const RetainProblem *p, Arena *a) {
    RetainIndex *x = arena_new(a, RetainIndex);
    x->p = p;
    x->reader_begin = arena_array(a, int, p->value_count + 2);
    x->last_forward = arena_array(a, int, p->value_count + 1);
    x->first_backward = arena_array(a, int, p->value_count + 1);
    x->last_backward = arena_array(a, int, p->value_count + 1);
    for (int v = 0; v < p->value_count; v++) {
        x->last_forward[v] = p->value[v].maker < p->forward_count ? p->value[v].maker : -1;
        x->first_backward[v] = p->task_count;
        x->last_backward[v] = -1;
    }
    for (int t = 0; t < p->task_count; t++)
        for (int i = 0; i < p->task[t].operand_count; i++)
            x->reader_begin[p->task[t].operand[i] + 2]++;
    for (int v = 2; v <= p->value_count + 1; v++)
        x->reader_begin[v] += x->reader_begin[v - 1];
    x->reader = arena_array(a, int, x->reader_begin[p->value_count + 1] + 1);
    for (int t = 0; t < p->task_count; t++)
        for (int i = 0; i < p->task[t].operand_count; i++) {
            const int v = p->task[t].operand[i];
            x->reader[x->reader_begin[v + 1]++] = t;
            if (t < p->forward_count)
                x->last_forward[v] = t;
            else {
                x->first_backward[v] = t < x->first_backward[v] ? t : x->first_backward[v];
                x->last_backward[v] = t;
            }
        }
    return x;
}
