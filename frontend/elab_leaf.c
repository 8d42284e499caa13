// Leaves: parameters and state, the values they have while an entry is elaborated, stores, and
// first values.
//
// A state is known by its path (scope and name), so that entries and the calls of an instance share
// it. In an entry it is read by one `state` node; after `target <- value` its name gives the new
// value, and the last one is committed when the entry ends.
//
// On entry: a leaf's declaration and the scope it is reached in. On exit: a State of the module,
// new or shared, with its type, published name, first value and the model's rules applied. The
// factors of its sizes are kept in its slot, so that a product with a weight [d, 3 * heads * e] has
// a result that splits.
#include "frontend/elaborate.h"

#include "frontend/builtins.h"
#include "ir/check.h"

#include <math.h>
#include <string.h>

// The array grows with the states: a slot's address holds until the next state is made.
StateSlot *elab_slot(Elab *e, const State *s) {
    const int id = (int)s->id;
    if (id >= e->slot_capacity) {
        int capacity = e->slot_capacity ? e->slot_capacity : 64;
        while (capacity <= id)
            capacity *= 2;
        e->slot = arena_grow(e->arena, e->slot, (size_t)e->slot_capacity, (size_t)capacity,
                             sizeof(StateSlot));
        e->slot_capacity = capacity;
    }
    return &e->slot[id];
}

// What `~ expr` says: init(...) of some kind, a bare function name (zeros, ones, kaiming), or a
// number.
static bool eval_init(Elab *e, const LeafDecl *leaf, Init *out) {
    const Datum d = elab_expr(e, leaf->init);
    if (d.kind == DATUM_ERROR)
        return false;
    if (d.kind == DATUM_INIT) {
        *out = *d.as.init;
        return true;
    }
    if (datum_is_number(d)) {
        *out = (Init){INIT_CONSTANT, datum_number(d), 0};
        return true;
    }
    const char *name = d.kind == DATUM_BUILTIN ? d.as.builtin->name : "";
    if (strcmp(name, "zeros") == 0)
        *out = (Init){INIT_CONSTANT, 0, 0};
    else if (strcmp(name, "ones") == 0)
        *out = (Init){INIT_CONSTANT, 1, 0};
    else if (strcmp(name, "kaiming") == 0)
        *out = (Init){INIT_KAIMING, 0, 0};
    else if (strcmp(name, "xavier") == 0)
        *out = (Init){INIT_XAVIER, 0, 0};
    else {
        elab_fail(e, leaf->init->loc, CODE_INIT,
                  "normal(std), uniform(low, high), constant(x), zeros, ones, kaiming or xavier",
                  "a first value can't be %s", datum_describe(e->arena, d));
        return false;
    }
    return true;
}

// Where nothing is said: matrices of parameters are normal(0.02), all else is zero.
static Init default_init(const LeafDecl *leaf, const Shape *shape) {
    if (leaf->is_param && shape->rank >= 2)
        return (Init){INIT_NORMAL, 0, 0.02};
    return (Init){INIT_CONSTANT, 0, 0};
}

// "experts.{experts}.w1" => "experts.{}.w1": the slices along the first axis, which must be the one
// of that name, have names of their own in checkpoints (State.file). Other keys stay as they are.
static const char *slice_names(Elab *e, const LeafDecl *leaf) {
    const char *open = strpbrk(leaf->key, "{}");
    if (!open)
        return leaf->key;
    const char *close = strchr(open, '}');
    const char *name = close ? intern_span(e->names, open + 1, (size_t)(close - open - 1)) : "";
    const Args *dims = &leaf->type->dims;
    const Expr *first = leaf->type->has_shape && dims->count ? dims->at[0].value : NULL;
    // Names are interned, so == compares them.
    if (*open == '{' && close && !strpbrk(close + 1, "{}") && first && first->kind == EXPR_NAME &&
        first->as.text == name)
        return arena_format(e->arena, "%.*s{}%s", (int)(open - leaf->key), leaf->key, close + 1);
    elab_fail(e, leaf->loc, CODE_PUBLISHED, "param [experts, d] as \"experts.{experts}.weight\"",
              "\"%s\": braces stand once and hold the name of the first axis", leaf->key);
    return leaf->key;
}

// The published name: `as` replaces the leaf's own, under its scope.
static const char *published_name(Elab *e, const LeafDecl *leaf, const char *path) {
    if (!leaf->key)
        return path;
    const char *scope = e->application->scope;
    return intern(e->names, arena_format(e->arena, "%s%s%s", scope, scope[0] ? "." : "",
                                         slice_names(e, leaf)));
}

// In the text's order: later rules win. What a state is stored as concerns floats only.
static void apply_rules(Elab *e, State *s) {
    for (int i = 0; i < e->rules.count; i++) {
        Rule *rule = e->rules.at[i];
        if (!rule_match(rule, s))
            continue;
        if (rule->frozen >= 0 && s->kind == STATE_PARAM)
            s->frozen = rule->frozen == 1;
        // What is trained after all is kept as it was declared, whatever was said before.
        if (rule->frozen == 0)
            s->type.dtype = elab_slot(e, s)->type.dtype;
        if (rule->decay >= 0)
            s->decay = rule->decay;
        if (rule->precision != DT_COUNT)
            s->precision = dtype_name(rule->precision);
        if (rule->store != DT_COUNT && dtype_is_float(s->type.dtype))
            s->type.dtype = rule->store;
    }
}

// The first entry that reaches a path makes the state; its first value and rules hold for all.
static State *add_state(Elab *e, const LeafDecl *leaf, const char *path, const Shape *shape,
                        Type type) {
    StateKind kind = STATE_PARAM;
    const char *copied = elab_copied_path(e, path);
    if (!leaf->is_param)
        kind = leaf->transient ? STATE_TRANSIENT : STATE_SAVED;
    else if (copied)
        kind = STATE_SAVED; // no gradient reaches a copy
    Init init = default_init(leaf, shape);
    if (leaf->init && !eval_init(e, leaf, &init))
        return NULL;
    State *s = module_add_state(e->module, path, type, kind, elab_user_loc(e, leaf->loc));
    s->file = published_name(e, leaf, path);
    StateSlot *slot = elab_slot(e, s);
    slot->init = init;
    slot->key = copied ? copied : path;
    slot->type = type;
    for (int i = 0; i < shape->rank; i++)
        slot->factors[i] = shape->factors[i];
    apply_rules(e, s);
    return s;
}

State *elab_copy_state(Elab *e, const State *of, const char *path) {
    const StateSlot from = *elab_slot(e, of);
    State *s = module_add_state(e->module, path, from.type, STATE_SAVED, of->loc);
    // The published name differs from the path in its last part only: what `as` replaced.
    size_t same = 0;
    while (of->name[same] && of->name[same] == of->file[same])
        same++;
    while (same > 0 && of->name[same - 1] != '.')
        same--;
    const size_t tail = strlen(of->name) - same;
    s->file = intern(e->names, arena_format(e->arena, "%.*s%s", (int)(strlen(path) - tail), path,
                                            of->file + same));
    StateSlot *slot = elab_slot(e, s);
    slot->init = from.init;
    slot->key = from.key;
    slot->type = from.type;
    memcpy(slot->factors, from.factors, sizeof slot->factors);
    apply_rules(e, s);
    return s;
}

// path = scope.name; the same path in another entry or application is the same state.
Datum elab_leaf(Elab *e, const LeafDecl *leaf, const char *name) {
    // Without a shape a scalar, without an element type f32.
    Shape shape = {0};
    if (leaf->type->has_shape && !elab_shape(e, &leaf->type->dims, leaf->loc, &shape))
        return datum_error();
    const Type type =
        type_make(leaf->type->has_dtype ? leaf->type->dtype : DT_F32, shape.rank, shape.dim);
    const char *scope = e->application->scope;
    const char *path =
        intern(e->names, arena_format(e->arena, "%s%s%s", scope, scope[0] ? "." : "", name));
    if (leaf->is_param && !dtype_is_float(type.dtype))
        return elab_fail(e, leaf->loc, CODE_DTYPE, "use state for numbers that are not trained",
                         "a param is f32 or bf16, not %s", dtype_name(type.dtype));
    if (!elab_reach(e, leaf->loc, CODE_PARAM_TWICE, path, leaf))
        return datum_error();
    State *s = module_find_state(e->module, path);
    if (!s)
        s = add_state(e, leaf, path, &shape, type);
    if (!s)
        return datum_error();
    // An entry with accumulate counts the batch smaller, and so may see another shape.
    const Type *declared = &elab_slot(e, s)->type;
    if (!type_equal(declared, &type))
        return elab_fail(e, leaf->loc, CODE_STATE_TYPE, NULL, "%s is %s here and %s elsewhere",
                         path, type_text(e->arena, &type), type_text(e->arena, declared));
    return (Datum){.kind = DATUM_STATE, .as.state = s};
}

// What was stored last in this entry, else the version at its start, read once.
Datum elab_state_value(Elab *e, State *s) {
    StateSlot *slot = elab_slot(e, s);
    Array *out = arena_new(e->arena, Array);
    memcpy(out->factors, slot->factors, sizeof out->factors);
    out->value = slot->current;
    if (!out->value) {
        if (!slot->read) {
            const Attr attr = attr_text("name", s->name);
            NodeOrigin origin = elab_at(e, s->loc)->origin;
            // At the line that declares it, not the one that happens to read it first.
            origin.loc = s->loc;
            slot->read =
                graph_add_typed(e->builder.g, OP_STATE, NULL, 0, &attr, 1, &s->type, 1, origin)
                    ->result;
        }
        Builder *b = elab_at(e, s->loc);
        out->value = build_cast(b, slot->read, slot->type.dtype);
    }
    return datum_array(out);
}

// The state a target names, or NULL after a diagnostic.
static State *store_target(Elab *e, const Expr *target) {
    if (target->kind == EXPR_NAME) {
        const Datum *found = frame_find(e->frame, target->as.text);
        if (found && found->kind == DATUM_STATE)
            return found->as.state;
        if (found && found->kind == DATUM_ERROR)
            return NULL;
        if (!found) {
            elab_expr(e, target); // says that the name is not defined
            return NULL;
        }
    }
    elab_fail(e, target->loc, CODE_STORE, "make it one: name = state [shape]",
              "only state can be stored to");
    return NULL;
}

// Later reads of the state give `next`; the entry's end commits it.
static void set_current(Elab *e, Loc loc, const State *state, Value *next) {
    if (elab_slot(e, state)->trained)
        elab_fail(e, loc, CODE_TWICE_TRAINED, NULL, "%s is changed by a minimize of this entry",
                  state->name);
    else if (next)
        elab_slot(e, state)->current = next;
}

void elab_store_whole(Elab *e, Loc loc, State *state, Datum value) {
    const Type type = elab_slot(e, state)->type;
    Value *next = arith_shaped(e, loc, value, &type);
    if (next && next->type.dtype != type.dtype) {
        elab_fail(e, loc, CODE_STORE, "f32(x), bf16(x) and i32(x) convert",
                  "%s is stored to %s, which is %s", dtype_name(next->type.dtype), state->name,
                  dtype_name(type.dtype));
        return;
    }
    set_current(e, loc, state, next);
}

void elab_store(Elab *e, const Stmt *s) {
    const bool part = s->left->kind == EXPR_INDEX;
    const Expr *target = part ? s->left->left : s->left;
    const Datum *found = target->kind == EXPR_NAME ? frame_find(e->frame, target->as.text) : NULL;
    if (found && found->kind == DATUM_INSTANCE && !part) {
        elab_store_instance(e, s, found->as.instance);
        return;
    }
    State *state = store_target(e, target);
    // Evaluated even where the target is wrong, for its own mistakes.
    const Datum value = elab_expr(e, s->value);
    if (!state || value.kind == DATUM_ERROR)
        return;
    if (!part) {
        elab_store_whole(e, s->loc, state, value);
        return;
    }
    // The whole state, with the part replaced.
    Value *old = elab_state_value(e, state).as.array->value;
    set_current(e, s->loc, state, elab_update_part(e, s->left, old, value));
}

// 63 bits of FNV-1a over the text, then the number: the same on every machine.
int64_t elab_key(const char *text, int64_t ordinal) {
    uint64_t hash = 0xcbf29ce484222325u;
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x100000001b3u;
    for (int i = 0; i < 8; i++)
        hash = (hash ^ (((uint64_t)ordinal >> (8 * i)) & 0xff)) * 0x100000001b3u;
    return (int64_t)(hash >> 1);
}

// Inputs that feed one output: a weight is [out, in...], a kernel [out, in, height, width].
static double fan_in(const Type *t) {
    double fan = 1;
    for (int i = t->rank > 1 ? 1 : 0; i < t->rank; i++)
        fan *= (double)t->dim[i];
    return fan;
}

// Outputs that one input feeds.
static double fan_out(const Type *t) {
    double fan = t->rank > 0 ? (double)t->dim[0] : 1;
    for (int i = 2; i < t->rank; i++)
        fan *= (double)t->dim[i];
    return fan;
}

// The key comes from the path alone, not from the order in which states are made: a copy draws what
// it is a copy of.
static Value *random_first(Elab *e, const State *s, Op op, const char *first, double a,
                           const char *second, double b) {
    const Attr attr[] = {attr_ints("shape", s->type.dim, s->type.rank),
                         attr_int("key", elab_key(elab_slot(e, s)->key, 0)), attr_float(first, a),
                         attr_float(second, b)};
    return build_op(&e->builder, op, (Value *[]){elab_seed(e)}, 1, attr, 4);
}

static Value *first_value(Elab *e, const State *s, const Init *init) {
    const double in = fan_in(&s->type), out = fan_out(&s->type);
    switch (init->kind) {
    case INIT_CONSTANT:
        return build_constant(&e->builder, s->type, init->a);
    case INIT_NORMAL:
        return random_first(e, s, OP_RANDOM_NORMAL, "mean", init->a, "std", init->b);
    case INIT_UNIFORM:
        return random_first(e, s, OP_RANDOM_UNIFORM, "low", init->a, "high", init->b);
    // relu halves the variance, hence the 2.
    case INIT_KAIMING:
        return random_first(e, s, OP_RANDOM_NORMAL, "mean", 0, "std", sqrt(2 / in));
    case INIT_XAVIER:
        return random_first(e, s, OP_RANDOM_NORMAL, "mean", 0, "std", sqrt(2 / (in + out)));
    }
    UNREACHABLE();
}

// One leaf for each state, keyed by the state's path: an edit elsewhere changes no weight.
void elab_init_entry(Elab *e, Graph *init) {
    e->builder.g = init;
    e->entry = NULL;
    e->seed = NULL;
    e->value_names = (Table){0};
    for (int i = 0; i < e->module->state_count; i++) {
        State *s = e->module->state[i];
        e->builder.origin = (NodeOrigin){.loc = s->loc, .scope = ""};
        Value *v = first_value(e, s, &elab_slot(e, s)->init);
        // Random leaves are f32, whatever the state is.
        if (v)
            v = build_cast(&e->builder, v, s->type.dtype);
        if (v)
            graph_add_commit(init, s, v);
    }
}
