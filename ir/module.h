// A Module: named state and the entries that share it.
#ifndef PLIM_IR_MODULE_H
#define PLIM_IR_MODULE_H

#include "ir/graph.h"
#include "ir/intern.h"
#include "ir/name_map.h"

typedef enum { STATE_PARAM, STATE_SAVED, STATE_TRANSIENT, STATE_OPTIMIZER } StateKind;

// A tensor that outlives a step.
struct State {
    uint32_t id;       // index in Module.state
    const char *name;  // path, "h.0.attn.c_attn.weight"; unique
    const char *file;  // its name in published checkpoints; equal to name where no `as` was said. One
                       // `{}` in it: a tensor a slice of axis 0, with the slice's number in its place
    Type type;
    StateKind kind;
    bool frozen;       // no update, no gradient
    double decay;      // weight decay factor from `at` rules; negative: not said
    bool far;          // it lives in far memory in every entry: see far.h
    const char *precision; // "f32", "bf16": of what is computed with it; NULL: as the entry's
    Loc loc;
};

typedef struct {
    const char *name; // size's name in the text
    const char *key;  // config.json key, or NULL
    int64_t value;
} ModelSize;

typedef struct {
    Arena *arena;
    Intern *names;
    const char *name; // the model's
    const char *tokenizer; // "bytes" or a file; NULL: bytes
    int size_count;
    ModelSize *size;
    int state_count, state_capacity;
    State **state;
    NameMap *state_by_name; // kept by module_add_state
    int entry_count, entry_capacity;
    Graph **entry;    // "init" computes every state's first value (random leaves and constants)
} Module;

// An empty module in the arena, with everything it will hold. name may be NULL: no module line.
Module *module_create(Arena *a, const char *name);
// Adds a state that is not there yet; file is its name, decay is not said. The caller may change both.
State *module_add_state(Module *m, const char *name, Type type, StateKind kind, Loc loc);
State *module_find_state(const Module *m, const char *name); // NULL where there is none
// Adds an entry under its graph's name. The module does not copy it.
void module_add_entry(Module *m, Graph *g);
Graph *module_find_entry(const Module *m, const char *name); // NULL where there is none

// A copy in another arena: states and entries are its own, texts are shared, so m must outlive it.
// Ids stay.
Module *module_copy(const Module *m, Arena *a);

// Text: the whole module, or reads it back. print(parse(print(m))) == print(m). GRAPH_PRINT_LOCS adds
// each node's place in the model text. module_parse returns NULL after adding diagnostics.
enum { GRAPH_PRINT_LOCS = 1 };
void module_print(const Module *m, FILE *out, int flags);
char *module_text(const Module *m, Arena *a, int flags);
Module *module_parse(Arena *a, Diag *d, const char *file, const char *text, size_t bytes);

// Types, order, arity, attributes, phases, names: all that ops.def promises. Errors at the nodes' locs.
bool module_verify(const Module *m, Diag *d);
bool graph_verify(const Module *m, const Graph *g, Diag *d);

#endif
