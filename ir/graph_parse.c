// Reads the text of graph_print.c and trusts nothing in it (grammar: ir/README.md).
//
// One statement a line, so after a mistake parsing goes on at the next line and independent
// mistakes are all reported. What a wrong line would have defined counts as defined, with the type
// it states, or as unknown where it states none; lines that read something unknown are not checked
// further. Each node is checked against its operator's row and its inferred types where it stands;
// phases, commits and names then by the verifier. Names are found through tables and scratch arrays
// are reused: linear time. The grammar nests nowhere, so no depth can be exceeded; sizes are
// limited before memory is taken.
//
// Places: while checking, a node's place is in this text. Places stated by `at` are put in at the
// end.
#include "ir/module.h"

#include "ir/graph_reader.h"
#include "ir/op.h"

#include <string.h>

// Limits that keep a hostile text from taking more memory than a large model needs.
enum { TEXT_BYTES_MAX = 64 << 20, NODES_MAX = 1000000, REPEAT_MAX = 1 << 20 };

// `at` of a line: applied when everything is checked.
typedef struct {
    Loc *of;
    Loc place;
} Relocation;

// A result as the signature states it.
typedef struct {
    const char *name;
    Type type;
} StatedResult;

// A result on the left of a line's `=`.
typedef struct {
    const char *name;
    Type type;
    Loc loc;
} LineResult;

typedef struct {
    Reader r;
    Arena *arena; // of the module
    Module *module;
    bool has_module_line;
    int node_count; // of all graphs
    bool stopped;   // a limit was passed: nothing more is read
    Value *unknown; // stands for values of lines that were wrong
    NameMap *sizes, *entries;

    // Of the graph being read.
    Graph *graph;
    NameMap *values; // by name or number as written
    const char **value_name;
    int value_count, value_capacity;
    StatedResult *stated;
    int stated_count, stated_capacity;

    // Scratch arrays of the line being read.
    Value **operand;
    int operand_count, operand_capacity;
    LineResult *line_result;
    int line_result_count, line_result_capacity;

    // Of the whole text, in the order of reading.
    Relocation *relocation;
    int relocation_count, relocation_capacity;
} Parser;

// The place is not set yet: diagnostics must point into this text while it is checked.
static void relocate(Parser *p, Loc *of, Loc place) {
    p->relocation = reader_reserve(p->r.scratch, p->relocation, p->relocation_count,
                                   &p->relocation_capacity, sizeof(Relocation));
    p->relocation[p->relocation_count++] = (Relocation){.of = of, .place = place};
}

// module @gpt2 {tokenizer = "bytes"}
static bool parse_module_line(Parser *p) {
    Token name;
    if (!reader_expect(&p->r, TOKEN_GLOBAL, "@ and the model's name", &name))
        return false;
    if (p->has_module_line)
        return diag_error(p->r.diag, name.loc, 606, "there is one module line");
    p->has_module_line = true;
    if (!reader_check_name(&p->r, &name, "a module") ||
        !reader_attrs(&p->r, "tokenizer:text?", "module", name.loc))
        return false;
    p->module->name = intern(p->module->names, name.text);
    p->module->tokenizer = reader_text(&p->r, "tokenizer");
    return reader_expect_line_end(&p->r);
}

// size @layers = 12 {key = "n_layer"}
static bool parse_size(Parser *p) {
    Token name, value;
    if (!reader_expect(&p->r, TOKEN_GLOBAL, "@ and the size's name", &name) ||
        !reader_check_name(&p->r, &name, "a size") || !reader_expect_mark(&p->r, '=') ||
        !reader_expect(&p->r, TOKEN_INT, "an integer", &value) ||
        !reader_attrs(&p->r, "key:text?", "size", name.loc))
        return false;
    Module *m = p->module;
    const char *text = intern(m->names, name.text);
    // The map serves as a set: m stands for any value.
    if (name_map_add(p->sizes, text, m))
        return diag_error(p->r.diag, name.loc, 606, "two sizes are called @%s", text);
    int capacity = m->size_count; // full at powers of two
    if ((capacity & (capacity - 1)) == 0)
        m->size = arena_grow(p->arena, m->size, (size_t)capacity,
                             capacity ? 2 * (size_t)capacity : 1, sizeof(ModelSize));
    m->size[m->size_count++] =
        (ModelSize){.name = text, .key = reader_text(&p->r, "key"), .value = value.i};
    return reader_expect_line_end(&p->r);
}

// Spelt as in put_state of graph_print.c, in the order of StateKind.
static bool state_kind_find(const char *name, StateKind *out) {
    static const char *const kind_name[] = {"param", "saved", "transient", "optimizer"};
    for (int i = 0; i <= STATE_OPTIMIZER; i++)
        if (strcmp(kind_name[i], name) == 0) {
            *out = (StateKind)i;
            return true;
        }
    return false;
}

// What the attributes of a state line say, after parse_attrs.
static bool state_set_attrs(Parser *p, State *s, Loc loc) {
    const Attr *frozen = reader_attr(&p->r, "frozen"), *decay = reader_attr(&p->r, "decay");
    const Attr *far = reader_attr(&p->r, "far");
    if (frozen && frozen->as.i != 0 && frozen->as.i != 1)
        return diag_error(p->r.diag, loc, 608, "frozen is 0 or 1");
    if (far && far->as.i != 0 && far->as.i != 1)
        return diag_error(p->r.diag, loc, 608, "far is 0 or 1");
    // Written so that NaN is refused, too.
    if (decay && !(decay->as.f >= 0))
        return diag_error(p->r.diag, loc, 608, "decay is not negative");
    const char *precision =
        reader_attr(&p->r, "precision") ? reader_text(&p->r, "precision") : NULL;
    if (precision && strcmp(precision, "f32") != 0 && strcmp(precision, "bf16") != 0)
        return diag_error(p->r.diag, loc, 608, "precision is f32 or bf16");
    s->precision = precision;
    s->frozen = frozen && frozen->as.i == 1;
    s->far = far && far->as.i == 1;
    // -1: the state says nothing about decay.
    s->decay = decay ? decay->as.f : -1;
    if (reader_attr(&p->r, "file"))
        s->file = reader_text(&p->r, "file");
    return true;
}

// state @wte.weight: f32[256,64] {kind = "param", file = "transformer.wte.weight", decay = 0.0}
static bool parse_state(Parser *p) {
    Token name;
    Type type;
    static const char attrs[] = "kind:text file:text? frozen:int? far:int? decay:float? "
                                "precision:text?";
    Loc place;
    bool relocated;
    if (!reader_expect(&p->r, TOKEN_GLOBAL, "@ and the state's name", &name) ||
        !reader_check_name(&p->r, &name, "a state") || !reader_expect_mark(&p->r, ':') ||
        !reader_type(&p->r, &type) || !reader_attrs(&p->r, attrs, "state", name.loc) ||
        !reader_place(&p->r, &place, &relocated))
        return false;
    StateKind kind;
    if (!state_kind_find(reader_attr(&p->r, "kind")->as.text, &kind)) {
        diag_error(p->r.diag, name.loc, 608, "no kind of state is called %.40s",
                   reader_attr(&p->r, "kind")->as.text);
        diag_help(p->r.diag, "there are param, saved, transient and optimizer");
        return false;
    }
    const State *other = module_find_state(p->module, name.text);
    if (other) {
        diag_error(p->r.diag, name.loc, 606, "two states are called @%s", name.text);
        diag_note(p->r.diag, other->loc, "the first one");
        return false;
    }
    // A limit ends the reading: what follows would pass it again.
    p->stopped = p->module->state_count >= NODES_MAX;
    if (p->stopped)
        return diag_error(p->r.diag, name.loc, 612, "more than %d states", NODES_MAX);
    State *s = module_add_state(p->module, name.text, type, kind, name.loc);
    if (relocated)
        relocate(p, &s->loc, place);
    return state_set_attrs(p, s, name.loc) && reader_expect_line_end(&p->r);
}

// Makes the name known, for v or for p->unknown. Digits only: an unnamed value.
static bool define(Parser *p, const char *name, Value *v, Loc loc) {
    const bool numbered = name[strspn(name, "0123456789")] == '\0';
    if (!numbered && !name_is_valid(name))
        return diag_error(p->r.diag, loc, 615, "'%.40s' is no name for a value", name);
    const char *kept = intern(p->module->names, name);
    const Value *other = name_map_add(p->values, kept, v);
    if (other) {
        diag_error(p->r.diag, loc, 606, "two values are called %%%s", kept);
        if (other != p->unknown)
            diag_note(p->r.diag, other->def->loc, "the first one");
        return false;
    }
    // A number only connects lines; the value gets its own when it is printed.
    if (!numbered && v != p->unknown)
        v->name = kept;
    p->value_name = reader_reserve(p->r.scratch, p->value_name, p->value_count, &p->value_capacity,
                                   sizeof(char *));
    p->value_name[p->value_count++] = kept;
    return true;
}

// %x, or p->unknown; NULL after an error.
static Value *parse_use(Parser *p) {
    Token t;
    if (!reader_expect(&p->r, TOKEN_VALUE, "a value", &t))
        return NULL;
    Value *v = name_map_find(p->values, t.text);
    if (!v) {
        diag_error(p->r.diag, t.loc, 605, "no value %%%.60s is defined before this line", t.text);
        if (diag_error_count(p->r.diag) <= DIAG_ERRORS_MAX)
            reader_suggest(&p->r, "%", diag_nearest(t.text, p->value_name, p->value_count));
    }
    return v;
}

// Every node is counted, even of wrong lines: they cost memory as well.
static bool count_node(Parser *p, Loc loc) {
    if (p->node_count++ < NODES_MAX)
        return true;
    p->stopped = true;
    return diag_error(p->r.diag, loc, 612, "more than %d operators and arguments", NODES_MAX);
}

// What follows `from`: data "text", knob = 0.1, step, steps, seed, slot or caller.
static bool parse_source(Parser *p, Input *in) {
    Token name;
    if (reader_accept_word(&p->r, "data")) {
        in->source = FROM_DATA;
        if (!reader_expect(&p->r, TOKEN_TEXT, "the loader's name in quotes", &name))
            return false;
        in->loader = intern(p->module->names, name.text);
        return true;
    }
    if (reader_accept_word(&p->r, "knob")) {
        in->source = FROM_KNOB;
        return reader_expect_mark(&p->r, '=') && reader_number(&p->r, &in->fallback);
    }
    if (reader_accept_word(&p->r, "step"))
        in->source = FROM_STEP;
    else if (reader_accept_word(&p->r, "steps"))
        in->source = FROM_STEPS;
    else if (reader_accept_word(&p->r, "seed"))
        in->source = FROM_SEED;
    else if (reader_accept_word(&p->r, "slot"))
        in->source = FROM_SLOT;
    else if (!reader_accept_word(&p->r, "caller"))
        return reader_unexpected(&p->r, "data, knob, step, steps, seed, slot or caller");
    return true;
}

// %text: i32[8,65] from data "data" {bound = 256}
static bool parse_input(Parser *p) {
    Token name;
    Type type;
    Loc place;
    bool relocated;
    Input in = {.source = FROM_CALLER};
    if (!reader_expect(&p->r, TOKEN_VALUE, "an argument", &name) ||
        !reader_expect_mark(&p->r, ':') || !reader_type(&p->r, &type) ||
        (reader_accept_word(&p->r, "from") && !parse_source(p, &in)) ||
        !reader_attrs(&p->r, "bound:int?", "an argument", name.loc) ||
        !reader_place(&p->r, &place, &relocated) || !count_node(p, name.loc))
        return false;
    const Attr *bound = reader_attr(&p->r, "bound");
    // Below zero: negative values are allowed too (graph.h), so its opposite must exist.
    if (bound && (bound->as.i == 0 || bound->as.i == INT64_MIN))
        return diag_error(p->r.diag, name.loc, 619, "a bound is neither 0 nor -2^63");
    // An argument is a node without operands and its entry in the signature.
    Node *n = graph_add_typed(p->graph, OP_INPUT, NULL, 0, NULL, 0, &type, 1,
                              (NodeOrigin){.loc = name.loc});
    in.value = n->result;
    in.bound = bound ? bound->as.i : 0;
    // Whole: with loader, fallback and bound.
    *graph_add_input(p->graph, n->result, in.source) = in;
    if (relocated)
        relocate(p, &n->loc, place);
    return define(p, name.text, n->result, name.loc);
}

// A signature may be long: lines may end after its commas and parentheses.
static void skip_newlines(Parser *p) {
    while (p->r.token.kind == TOKEN_NEWLINE)
        reader_advance(&p->r);
}

// f32[3], or in parentheses loss: f32[]. A word that is an element type is never a name.
static bool parse_stated_result(Parser *p, bool named_allowed) {
    StatedResult r = {0};
    p->stated = reader_reserve(p->r.scratch, p->stated, p->stated_count, &p->stated_capacity,
                               sizeof(StatedResult));
    DType ignored;
    if (named_allowed && p->r.token.kind == TOKEN_WORD && !dtype_find(p->r.token.text, &ignored)) {
        if (!reader_check_name(&p->r, &p->r.token, "a result"))
            return false;
        r.name = intern(p->module->names, p->r.token.text);
        reader_advance(&p->r);
        if (!reader_expect_mark(&p->r, ':'))
            return false;
    }
    if (!reader_type(&p->r, &r.type))
        return false;
    p->stated[p->stated_count++] = r;
    return true;
}

// -> f32[], -> (loss: f32[], f32[3]), or nothing
static bool parse_stated_results(Parser *p) {
    p->stated_count = 0;
    if (p->r.token.kind != TOKEN_ARROW)
        return true;
    reader_advance(&p->r);
    if (!reader_accept_mark(&p->r, '('))
        return parse_stated_result(p, false);
    skip_newlines(p);
    if (reader_accept_mark(&p->r, ')'))
        return true;
    do {
        skip_newlines(p);
        if (!parse_stated_result(p, true))
            return false;
        skip_newlines(p);
    } while (reader_accept_mark(&p->r, ','));
    return reader_expect_mark(&p->r, ')');
}

// repeat 4, or nothing: once.
static bool parse_repeat(Parser *p) {
    Token t;
    if (!reader_accept_word(&p->r, "repeat"))
        return true;
    if (!reader_expect(&p->r, TOKEN_INT, "how often", &t))
        return false;
    if (t.i < 1 || t.i > REPEAT_MAX)
        return diag_error(p->r.diag, t.loc, 603, "a graph repeats 1 to %d times", REPEAT_MAX);
    p->graph->repeat = (int32_t)t.i;
    return true;
}

// @train(...) -> (...) repeat 4 {
static bool parse_header(Parser *p) {
    Token name;
    if (!reader_expect(&p->r, TOKEN_GLOBAL, "@ and the graph's name", &name))
        return false;
    p->graph = graph_create(p->arena, intern(p->module->names, name.text));
    // Values are known in their own graph only.
    p->values = name_map_create(p->r.scratch);
    p->value_count = 0;
    if (!reader_check_name(&p->r, &name, "a graph"))
        return false;
    // Known by name even if what follows is wrong, so that a second graph of the name is told.
    if (name_map_add(p->entries, p->graph->name, p->graph))
        return diag_error(p->r.diag, name.loc, 606, "two graphs are called @%s", name.text);
    if (!reader_expect_mark(&p->r, '('))
        return false;
    skip_newlines(p);
    if (!reader_at_mark(&p->r, ')'))
        do {
            skip_newlines(p);
            if (!parse_input(p))
                return false;
            skip_newlines(p);
        } while (reader_accept_mark(&p->r, ','));
    return reader_expect_mark(&p->r, ')') && parse_stated_results(p) && parse_repeat(p) &&
           reader_expect_mark(&p->r, '{') && reader_expect_line_end(&p->r);
}

// %out: f32[8,4], %lse: f32[8] =    or nothing
static bool parse_line_results(Parser *p) {
    p->line_result_count = 0;
    if (p->r.token.kind != TOKEN_VALUE)
        return true;
    do {
        Token name;
        if (!reader_expect(&p->r, TOKEN_VALUE, "a value", &name))
            return false;
        p->line_result = reader_reserve(p->r.scratch, p->line_result, p->line_result_count,
                                        &p->line_result_capacity, sizeof(LineResult));
        LineResult *r = &p->line_result[p->line_result_count++];
        *r = (LineResult){.name = name.text, .loc = name.loc};
        if (!reader_expect_mark(&p->r, ':') || !reader_type(&p->r, &r->type))
            return false;
    } while (reader_accept_mark(&p->r, ','));
    return reader_expect_mark(&p->r, '=');
}

// Arguments stand in the signature, so `input` is no operator of a line.
static bool find_operator(Parser *p, const Token *name, Op *out) {
    if (op_find(name->text, out) && *out != OP_INPUT)
        return true;
    const char *known[OP_COUNT];
    int count = 0;
    for (int i = 0; i < OP_COUNT; i++)
        if (i != OP_INPUT)
            known[count++] = op_info((Op)i)->name;
    diag_error(p->r.diag, name->loc, 604, "no operator is called %.40s", name->text);
    reader_suggest(&p->r, "", diag_nearest(name->text, known, count));
    return false;
}

// The state, or NULL after a diagnostic with the nearest name.
static State *find_state(Parser *p, const char *name, Loc loc) {
    State *s = module_find_state(p->module, name);
    if (s)
        return s;
    diag_error(p->r.diag, loc, 611, "no state is called @%.60s", name);
    if (diag_error_count(p->r.diag) <= DIAG_ERRORS_MAX) {
        const char **known = arena_array(p->r.scratch, const char *, p->module->state_count);
        for (int i = 0; i < p->module->state_count; i++)
            known[i] = p->module->state[i]->name;
        reader_suggest(&p->r, "@", diag_nearest(name, known, p->module->state_count));
    }
    return NULL;
}

// %a, %b or nothing, into p->operand. *known gets false where one is p->unknown.
static bool parse_operands(Parser *p, bool *known) {
    p->operand_count = 0;
    *known = true;
    if (p->r.token.kind != TOKEN_VALUE)
        return true;
    do {
        p->operand = reader_reserve(p->r.scratch, p->operand, p->operand_count,
                                    &p->operand_capacity, sizeof(Value *));
        Value *v = parse_use(p);
        if (!v)
            return false;
        *known = *known && v != p->unknown;
        p->operand[p->operand_count++] = v;
    } while (reader_accept_mark(&p->r, ','));
    return true;
}

// What follows the attributes: scope "h.0" backward group 3 at "gpt2.plim":12:3
typedef struct {
    NodeOrigin origin;
    uint32_t group;
    Loc place;
    bool relocated;
} LineTail;

// Each part may be missing, but their order is fixed: there is one spelling.
static bool parse_tail(Parser *p, LineTail *out) {
    Token t;
    if (reader_accept_word(&p->r, "scope")) {
        if (!reader_expect(&p->r, TOKEN_TEXT, "a path in quotes", &t))
            return false;
        out->origin.scope = intern(p->module->names, t.text);
    }
    if (reader_accept_word(&p->r, "backward"))
        out->origin.phase = PHASE_BACKWARD;
    else if (reader_accept_word(&p->r, "update"))
        out->origin.phase = PHASE_UPDATE;
    if (reader_accept_word(&p->r, "group")) {
        if (!reader_expect(&p->r, TOKEN_INT, "the group's number", &t))
            return false;
        if (t.i < 1 || t.i > UINT32_MAX)
            return diag_error(p->r.diag, t.loc, 603, "groups count from 1");
        out->group = (uint32_t)t.i;
    }
    return reader_place(&p->r, &out->place, &out->relocated) && reader_expect_line_end(&p->r);
}

// The node of a line after its `=`, checked; NULL after a mistake or where an operand is unknown.
static Node *parse_operation(Parser *p, bool *ok) {
    Token name;
    Op op;
    bool known;
    LineTail tail = {0};
    // ok says whether the line could be read; what it says may still be wrong.
    *ok = reader_expect(&p->r, TOKEN_WORD, "an operator", &name) && count_node(p, name.loc) &&
          find_operator(p, &name, &op) && parse_operands(p, &known) &&
          reader_attrs(&p->r, op_info(op)->attrs, op_info(op)->name, name.loc) &&
          parse_tail(p, &tail);
    if (!*ok || !known)
        return NULL;
    tail.origin.loc = name.loc;
    // The stated types stand; node_check_types compares them with the inferred ones.
    Type *type = arena_array(p->r.scratch, Type, p->line_result_count);
    for (int i = 0; i < p->line_result_count; i++)
        type[i] = p->line_result[i].type;
    Node *n = graph_add_typed(p->graph, op, p->operand, p->operand_count, p->r.attr,
                              p->r.attr_count, type, p->line_result_count, tail.origin);
    n->group = tail.group;
    if (tail.relocated)
        relocate(p, &n->loc, tail.place);
    const bool state_found = op != OP_STATE || find_state(p, node_text(n, "name", ""), name.loc);
    // The line has been read to its end: a mistake in what it says needs no resynchronising.
    if (node_check(n, p->r.diag) && state_found)
        node_check_types(n, p->r.diag, p->r.scratch);
    return n;
}

// A node's line. What it would have defined is defined even where it is wrong. False:
// resynchronise.
static bool parse_node(Parser *p) {
    if (!parse_line_results(p)) {
        for (int i = 0; i < p->line_result_count; i++)
            define(p, p->line_result[i].name, p->unknown, p->line_result[i].loc);
        return false;
    }
    bool ok;
    Node *n = parse_operation(p, &ok);
    for (int i = 0; i < p->line_result_count; i++) {
        const LineResult *r = &p->line_result[i];
        Value *v = n ? &n->result[i] : p->unknown;
        define(p, r->name, v, r->loc);
    }
    return ok;
}

// commit @wte.weight = %w1
static bool parse_commit(Parser *p) {
    Token name;
    if (!reader_expect(&p->r, TOKEN_GLOBAL, "@ and the state's name", &name) ||
        !reader_expect_mark(&p->r, '='))
        return false;
    // Both are looked up before either can end the line, so that two mistakes are told at once.
    State *s = find_state(p, name.text, name.loc);
    Value *v = parse_use(p);
    if (!v || !reader_expect_line_end(&p->r))
        return false;
    // Either was reported; the line itself could be read.
    if (s && v != p->unknown)
        graph_add_commit(p->graph, s, v);
    return true;
}

// return %a, %b: as many as the signature states, of its types.
static bool parse_return(Parser *p, Loc loc) {
    int count = 0;
    do {
        const Loc value_loc = p->r.token.loc;
        Value *v = parse_use(p);
        if (!v)
            return false;
        const StatedResult *r = count < p->stated_count ? &p->stated[count] : NULL;
        count++;
        // Too many are counted and told below; an unknown one was told where it arose.
        if (!r || v == p->unknown)
            continue;
        graph_add_result(p->graph, r->name, v);
        if (!type_equal(&v->type, &r->type))
            diag_error(p->r.diag, value_loc, 617, "the signature's result %d is %s, this is %s",
                       count - 1, type_text(p->r.scratch, &r->type),
                       type_text(p->r.scratch, &v->type));
    } while (reader_accept_mark(&p->r, ','));
    if (count != p->stated_count)
        diag_error(p->r.diag, loc, 617, "the signature states %d result%s, this returns %d",
                   p->stated_count, p->stated_count == 1 ? "" : "s", count);
    return reader_expect_line_end(&p->r);
}

// Lines up to the closing brace.
static void parse_body(Parser *p) {
    bool returned = false;
    while (!p->stopped && p->r.token.kind != TOKEN_END && !reader_at_mark(&p->r, '}')) {
        const Loc loc = p->r.token.loc;
        bool ok;
        if (returned)
            ok = reader_unexpected(&p->r, "'}' after return");
        else if (reader_accept_word(&p->r, "commit"))
            ok = parse_commit(p);
        else if ((returned = reader_accept_word(&p->r, "return")))
            ok = parse_return(p, loc);
        else
            ok = parse_node(p);
        if (!ok)
            reader_skip_line(&p->r);
    }
    if (p->stopped)
        return;
    const Loc end = p->r.token.loc;
    if (!reader_expect_mark(&p->r, '}') || !reader_expect_line_end(&p->r))
        reader_skip_line(&p->r);
    else if (!returned && p->stated_count > 0)
        diag_error(p->r.diag, end, 617,
                   "graph @%s returns nothing, its signature states %d result%s", p->graph->name,
                   p->stated_count, p->stated_count == 1 ? "" : "s");
}

// The body of a graph whose header was wrong would only repeat the mistake: on to its closing
// brace.
static void skip_body(Parser *p) {
    reader_skip_line(&p->r);
    while (p->r.token.kind != TOKEN_END && !reader_at_mark(&p->r, '}') &&
           !reader_at_word(&p->r, "graph"))
        reader_skip_line(&p->r);
    if (reader_at_mark(&p->r, '}'))
        reader_skip_line(&p->r);
}

// A line that begins with module, size or state, or a whole graph. False: resynchronise.
static bool parse_statement(Parser *p) {
    if (reader_accept_word(&p->r, "module"))
        return parse_module_line(p);
    if (reader_accept_word(&p->r, "size"))
        return parse_size(p);
    if (reader_accept_word(&p->r, "state"))
        return parse_state(p);
    if (!reader_accept_word(&p->r, "graph"))
        return reader_unexpected(&p->r, "module, size, state or graph");
    if (parse_header(p)) {
        module_add_entry(p->module, p->graph);
        parse_body(p);
    } else {
        skip_body(p);
    }
    return true;
}

// Lines that begin with a value define an operator or an argument, so more than NODES_MAX of them
// can be refused before any memory is taken.
static bool check_line_count(Diag *d, const char *file, const char *text, size_t bytes) {
    const char *end = text + bytes;
    int count = 0;
    int32_t line = 1;
    for (const char *at = text; at < end; line++) {
        while (at < end && (*at == ' ' || *at == '\t'))
            at++;
        if (at < end && *at == '%' && ++count > NODES_MAX)
            return diag_error(d, (Loc){.file = file, .line = line, .column = 1}, 612,
                              "more than %d operators and arguments", NODES_MAX);
        const char *newline = at < end ? memchr(at, '\n', (size_t)(end - at)) : NULL;
        at = newline ? newline + 1 : end;
    }
    return true;
}

Module *module_parse(Arena *a, Diag *d, const char *file, const char *text, size_t bytes) {
    if (bytes > TEXT_BYTES_MAX) {
        diag_error(d, (Loc){.file = file}, 601, "the text has %zu bytes, more than 64 MiB", bytes);
        return NULL;
    }
    text = bytes ? text : "";
    if (!check_line_count(d, file, text, bytes))
        return NULL;
    const int errors_before = diag_error_count(d);
    Parser *p = arena_new(a, Parser);
    p->arena = a;
    p->r.scratch = arena_create();
    p->r.diag = d;
    p->module = module_create(a, NULL);
    // No node defines it: its def is NULL and is never read.
    p->unknown = arena_new(p->r.scratch, Value);
    p->sizes = name_map_create(p->r.scratch);
    p->entries = name_map_create(p->r.scratch);
    p->r.names = p->module->names;
    // Places of nodes keep the file's name as long as the module lives.
    file = intern(p->module->names, file);
    lexer_init(&p->r.lexer, p->r.scratch, d, file, text, bytes);
    reader_advance(&p->r);
    while (p->r.token.kind != TOKEN_END && !p->stopped)
        if (!parse_statement(p))
            reader_skip_line(&p->r);
    // The verifier runs only over what was read without a mistake.
    bool ok = diag_error_count(d) == errors_before && module_verify(p->module, d);
    for (int i = 0; ok && i < p->relocation_count; i++)
        *p->relocation[i].of = p->relocation[i].place;
    arena_release(p->r.scratch);
    return ok ? p->module : NULL;
}
