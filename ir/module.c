// The module: named state, entries, and the ways to find them by name.
//
// States are found through a table, since every `state` node of every entry asks for one; entries
// are few and are found by looking at each.
#include "ir/module.h"

#include "ir/check.h"

#include <string.h>

Module *module_create(Arena *a, const char *name) {
    Module *m = arena_new(a, Module);
    m->arena = a;
    m->names = intern_create(a);
    // No name is "", as in texts without a module line.
    m->name = name ? intern(m->names, name) : "";
    m->state_by_name = name_map_create(a);
    return m;
}

State *module_add_state(Module *m, const char *name, Type type, StateKind kind, Loc loc) {
    if (m->state_count == m->state_capacity) {
        const int capacity = m->state_capacity ? 2 * m->state_capacity : 16;
        m->state = arena_grow(m->arena, m->state, (size_t)m->state_count, (size_t)capacity,
                              sizeof(State *));
        m->state_capacity = capacity;
    }
    State *s = arena_new(m->arena, State);
    s->id = (uint32_t)m->state_count;
    // Until the caller says otherwise, weight files know the state by its name.
    s->name = s->file = intern(m->names, name);
    s->type = type;
    s->kind = kind;
    // Negative: nothing was said about decay.
    s->decay = -1;
    s->loc = loc;
    CHECK(!name_map_add(m->state_by_name, s->name, s)); // the caller has looked for it
    m->state[m->state_count++] = s;
    return s;
}

State *module_find_state(const Module *m, const char *name) {
    return name_map_find(m->state_by_name, name);
}

void module_add_entry(Module *m, Graph *g) {
    if (m->entry_count == m->entry_capacity) {
        const int capacity = m->entry_capacity ? 2 * m->entry_capacity : 8;
        m->entry = arena_grow(m->arena, m->entry, (size_t)m->entry_count, (size_t)capacity,
                              sizeof(Graph *));
        m->entry_capacity = capacity;
    }
    m->entry[m->entry_count++] = g;
}

// NULL where there is none.
Graph *module_find_entry(const Module *m, const char *name) {
    for (int i = 0; i < m->entry_count; i++)
        if (strcmp(m->entry[i]->name, name) == 0)
            return m->entry[i];
    return NULL;
}

Module *module_copy(const Module *m, Arena *a) {
    Module *out = arena_new(a, Module);
    *out = *m;
    out->arena = a;
    out->state = arena_array(a, State *, m->state_count + 1);
    out->state_capacity = m->state_count + 1;
    out->state_by_name = name_map_create(a);
    for (int i = 0; i < m->state_count; i++) {
        out->state[i] = arena_new(a, State);
        *out->state[i] = *m->state[i];
        name_map_add(out->state_by_name, out->state[i]->name, out->state[i]);
    }
    out->entry = arena_array(a, Graph *, m->entry_count + 1);
    out->entry_capacity = m->entry_count + 1;
    for (int i = 0; i < m->entry_count; i++) {
        Graph *g = out->entry[i] = graph_copy(m->entry[i], a);
        for (int k = 0; k < g->commit_count; k++)
            g->commit[k].state = out->state[g->commit[k].state->id];
    }
    return out;
}
