// Members are told by their effects, which stand one member's after the other's. From the first
// member's effects and those of each other upward, operations are laid beside each other: the same
// operation, on arguments that lie beside each other, of operands that do. What all share (rates,
// constants) lies beside itself. Linear in operations for each member.
//
// Nothing is said here about memory: that no member's result lies where another reads is for
// whoever states members (passes/storage_home.c).
#include "ir/kernel_members.h"

#include <string.h>

// The first member beside another one.
typedef struct {
    const Kernel *k;
    KRef *beside; // by operation of the first member: the other's, or -1
    int *stands;  // by operand, likewise
} Match;

static bool same_operand(const KOperand *a, const KOperand *b) {
    return a->dtype == b->dtype && a->access == b->access &&
           memcmp(a->stride, b->stride, sizeof a->stride) == 0;
}

static bool match_operand(Match *m, int first, int other) {
    if (first < 0 || other < 0)
        return first == other;
    if (m->stands[first] >= 0)
        return m->stands[first] == other;
    m->stands[first] = other;
    return same_operand(&m->k->operand[first], &m->k->operand[other]);
}

static bool match_operation(Match *m, KRef first, KRef other) {
    const KInstr *x = &m->k->instr[first], *y = &m->k->instr[other];
    if (x->op != y->op || x->dtype != y->dtype || x->limit != y->limit || x->step != y->step ||
        x->as.i != y->as.i || !match_operand(m, x->operand, y->operand))
        return false;
    for (int j = 0; j < kop_arity(x->op); j++) {
        if (m->beside[x->arg[j]] >= 0 && m->beside[x->arg[j]] != y->arg[j])
            return false;
        m->beside[x->arg[j]] = y->arg[j];
    }
    return true;
}

static KRef first_effect(const Kernel *k) {
    KRef i = 0;
    while (i < k->instr_count && !kop_is_effect(k->instr[i].op))
        i++;
    return i;
}

// Users stand behind what they use: from the last operation down each has all its users.
static bool match_member(Match *m, KRef effects, int each, int member) {
    const Kernel *k = m->k;
    memset(m->beside, -1, (size_t)k->instr_count * sizeof *m->beside);
    for (int o = 0; o < k->operand_count; o++)
        m->stands[o] = -1;
    for (int i = 0; i < each; i++)
        m->beside[effects + i] = effects + member * each + i;
    for (KRef i = effects + each - 1; i >= 0; i--)
        if (m->beside[i] >= 0 && !match_operation(m, i, m->beside[i]))
            return false;
    return true;
}

// The operations beside which others lie, and no more; operands by the least aligned of members'.
static const Kernel *first_member(Arena *a, const Match *m, int count, const int *stands) {
    const Kernel *k = m->k;
    Kernel *one = arena_new(a, Kernel);
    KRef *now = arena_array(a, KRef, k->instr_count + 1);
    *one = *k;
    one->instr = arena_array(a, KInstr, k->instr_count + 1);
    one->instr_count = one->members = 0;
    for (KRef i = 0; i < k->instr_count; i++) {
        if (m->beside[i] < 0)
            continue;
        KInstr *in = &one->instr[one->instr_count];
        *in = k->instr[i];
        for (int j = 0; j < kop_arity(in->op); j++)
            in->arg[j] = now[in->arg[j]];
        now[i] = one->instr_count++;
    }
    for (int i = 0; i < count * k->operand_count; i++) {
        if (stands[i] < 0)
            continue;
        KOperand *of = &one->operand[i % k->operand_count];
        const KOperand *other = &k->operand[stands[i]];
        of->stream = of->stream && other->stream;
        if (other->align != 0 && (of->align == 0 || other->align < of->align))
            of->align = other->align;
    }
    return one;
}

// Each result is stored once.
static bool results_differ(const Kernel *k, KRef effects) {
    bool stored[KERNEL_OPERANDS_MAX] = {false};
    for (KRef i = effects; i < k->instr_count; i++) {
        if (!kop_is_effect(k->instr[i].op) || stored[k->instr[i].operand])
            return false;
        stored[k->instr[i].operand] = true;
    }
    return true;
}

// Whether what one member writes no other knows.
static bool results_apart(const Kernel *k, int count, const int *stands) {
    int members[KERNEL_OPERANDS_MAX] = {0};
    for (int m = 0; m < count; m++) {
        bool has[KERNEL_OPERANDS_MAX] = {false};
        for (int o = 0; o < k->operand_count; o++) {
            const int other = stands[m * k->operand_count + o];
            if (other >= 0 && !has[other])
                members[other]++;
            if (other >= 0)
                has[other] = true;
        }
    }
    for (int o = 0; o < k->operand_count; o++)
        if (k->operand[o].access != ACCESS_READ && members[o] > 1)
            return false;
    return true;
}

bool kernel_members_find(Arena *a, const Kernel *k, KernelMembers *out) {
    *out = (KernelMembers){.count = k->members > 1 ? k->members : 1, .one = k};
    bool *used = arena_array(a, bool, k->operand_count + 1);
    out->used = used;
    for (KRef i = 0; i < k->instr_count && out->count == 1; i++)
        if (k->instr[i].operand >= 0)
            used[k->instr[i].operand] = true;
    if (out->count == 1)
        return true;
    const KRef effects = first_effect(k);
    const int all = k->instr_count - effects;
    if (k->axis != KERNEL_ROWS || all == 0 || all % out->count != 0 || kernel_reduces(k, NULL) ||
        !results_differ(k, effects))
        return false;
    int *stands = arena_array(a, int, (int64_t)out->count * k->operand_count + 1);
    Match m = {.k = k, .beside = arena_array(a, KRef, k->instr_count + 1)};
    for (int i = 0; i < out->count; i++) {
        m.stands = stands + (int64_t)i * k->operand_count;
        if (!match_member(&m, effects, all / out->count, i))
            return false;
    }
    if (!results_apart(k, out->count, stands))
        return false;
    out->stands = stands;
    out->one = first_member(a, &m, out->count, stands);
    for (int o = 0; o < k->operand_count; o++)
        used[o] = stands[o] >= 0;
    return true;
}
