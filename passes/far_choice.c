// A part of the states. The more of them go, the longer a step takes, so a rung should have about
// as many bytes as it says. States that belong to one parameter go together. Most models have many
// that are alike and a few large ones, tables above all, which leave no choice but to go or to
// stay: a large one taken for a small part is a rung that takes twice as long as it needs. So of
// the large ones, of which there are at most seven, that set goes which, filled up with small ones,
// comes closest. The small ones lie evenly among those that stay, so that copies of some have the
// computation of others beside them.
//
// Tables that lookups read stay where the rest is enough: far away they come in whole for the sake
// of a few rows.
#include "passes/far_choice.h"

#include "passes/rewrite.h"

#include <math.h>
#include <string.h>

// From this part of the bytes that may go on states are large.
enum { LARGE_PART = 8 };

// States [first, end), by id, that go together.
typedef struct {
    int first, end;
    double bytes;
    bool large, goes;
} Group;

static bool is_wanted(const State *s, const FarStatesOptions *o) {
    const bool kind = s->kind == STATE_OPTIMIZER
                          ? o->which >= FAR_STATES_OPTIMIZER
                          : s->kind == STATE_PARAM && o->which >= FAR_STATES_ALL;
    return kind && !s->far && s->type.rank > 0 && type_bytes(&s->type) >= o->least;
}

bool far_is_added(const State *s, const FarStatesOptions *o) {
    return (s->kind == STATE_OPTIMIZER) == (o->which == FAR_STATES_OPTIMIZER);
}

// Both are optimizer states of one parameter, PARAM.m and PARAM.v.
static bool is_beside(const State *s, const State *other) {
    const char *end = strrchr(s->name, '.');
    return s->kind == STATE_OPTIMIZER && other->kind == STATE_OPTIMIZER && end &&
           strncmp(s->name, other->name, (size_t)(end - s->name) + 1) == 0;
}

// Tables that lookups read, by state.
static const bool *find_tables(const Module *m, Arena *a) {
    bool *table = arena_array(a, bool, m->state_count + 1);
    for (int e = 0; e < m->entry_count; e++)
        for (int i = 0; i < m->entry[e]->node_count; i++) {
            const Node *n = m->entry[e]->node[i];
            const Value *v = n->op == OP_GATHER ? n->input[0] : NULL;
            while (v && (match_view(v->def) || v->def->op == OP_CAST))
                v = v->def->input[0];
            const State *s = v && v->def->op == OP_STATE
                                 ? module_find_state(m, node_text(v->def, "name", ""))
                                 : NULL;
            if (s)
                table[s->id] = true;
        }
    return table;
}

// Of states that may go.
static double count_bytes(const Module *m, const bool *may) {
    double bytes = 0;
    for (int i = 0; i < m->state_count; i++)
        bytes += may[i] ? (double)type_bytes(&m->state[i]->type) : 0;
    return bytes;
}

static int find_groups(const Module *m, const bool *may, Group *out) {
    int count = 0;
    for (int i = 0; i < m->state_count; i++) {
        if (!may[i])
            continue;
        const double bytes = (double)type_bytes(&m->state[i]->type);
        Group *last = count ? &out[count - 1] : NULL;
        if (last && last->end == i && is_beside(m->state[i], m->state[i - 1])) {
            last->end++;
            last->bytes += bytes;
        } else {
            out[count++] = (Group){.first = i, .end = i + 1, .bytes = bytes};
        }
    }
    return count;
}

static double clamp(double x, double most) {
    return fmin(fmax(x, 0), most);
}

static double bytes_of_set(Group *const *large, int count, int set) {
    double bytes = 0;
    for (int i = 0; i < count; i++)
        bytes += set >> i & 1 ? large[i]->bytes : 0;
    return bytes;
}

// Those large groups go that come closest to a part with as many of the small bytes as are missing;
// of equal sets the first. Their bytes.
static double choose_large(Group *const *large, int count, double part, double small) {
    int best = 0;
    double nearest = HUGE_VAL;
    for (int set = 0; set < 1 << count; set++) {
        const double missing = part - bytes_of_set(large, count, set);
        const double off = fabs(missing - clamp(missing, small));
        if (off < nearest) {
            best = set;
            nearest = off;
        }
    }
    for (int i = 0; i < count; i++)
        large[i]->goes = best >> i & 1;
    return bytes_of_set(large, count, best);
}

// Of the small groups a share goes.
static void spread(Group *group, int count, double share) {
    double due = 0; // bytes that should have gone by now
    for (int g = 0; g < count; g++) {
        if (group[g].large)
            continue;
        due += share * group[g].bytes;
        group[g].goes = 2 * due >= group[g].bytes;
        due -= group[g].goes ? group[g].bytes : 0;
    }
}

// Keeps of what may go a part.
static void choose_part(const Module *m, double part, bool *moved, Arena *a) {
    Group *group = arena_array(a, Group, m->state_count + 1), *large[LARGE_PART];
    const int count = find_groups(m, moved, group);
    const double all = count_bytes(m, moved);
    double small = all;
    int larges = 0;
    // Of equal ones rather those at the end: there the backward pass begins, beside copies.
    for (int g = count - 1; g >= 0; g--) {
        group[g].large = group[g].bytes * (double)LARGE_PART > all;
        if (group[g].large) {
            small -= group[g].bytes;
            large[larges++] = &group[g];
        }
    }
    const double missing = part - choose_large(large, larges, part, small);
    spread(group, count, small > 0 ? clamp(missing, small) / small : 0);
    for (int g = 0; g < count; g++)
        for (int i = group[g].first; i < group[g].end; i++)
            moved[i] = group[g].goes;
}

void far_choose(const Module *m, const FarStatesOptions *o, bool *moved, Arena *a) {
    const bool *table = find_tables(m, a);
    bool *may = arena_array(a, bool, m->state_count + 1),
         *rest = arena_array(a, bool, m->state_count + 1);
    for (int i = 0; i < m->state_count; i++) {
        const State *s = m->state[i];
        moved[i] = is_wanted(s, o);
        may[i] = moved[i] && far_is_added(s, o);
        rest[i] = may[i] && !table[i];
    }
    if (!o->sixteenths)
        return;
    const double part = count_bytes(m, may) / 16 * o->sixteenths;
    bool *chosen = part <= count_bytes(m, rest) ? rest : may;
    choose_part(m, part, chosen, a);
    for (int i = 0; i < m->state_count; i++)
        if (may[i])
            moved[i] = chosen[i];
}
