// The module's text: everything the module and its graphs hold, in one canonical spelling, so that
// parse(print(m)) prints the same bytes again (grammar: ir/README.md).
//
// Text grows in an arena and is written at once. Unnamed values print the number graph_renumber
// would give them, so the text doesn't depend on ids that passes left behind. Floats print the
// shortest of 15 to 17 digits that reads back as the same double. FileCheck's `[[` and `{{` never
// appear. The graph need not be right: a debugging dump must work on a broken one.
#include "ir/module.h"

#include "ir/op.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    Arena *arena;
    char *text;
    size_t bytes, capacity;
    int flags; // GRAPH_PRINT_
    uint32_t
        *number; // by value id, of the graph being printed; 0: not defined in it, else number + 1
    uint32_t limit; // of number
} Printer;

// Everything goes through here. At least doubles, so that printing is linear.
static void put_span(Printer *p, const char *text, size_t bytes) {
    if (p->capacity - p->bytes <= bytes) {
        const size_t larger = 2 * p->capacity + bytes + 4096;
        p->text = arena_grow(p->arena, p->text, p->bytes, larger, 1);
        p->capacity = larger;
    }
    memcpy(p->text + p->bytes, text, bytes);
    p->bytes += bytes;
}

static void put(Printer *p, const char *text) {
    put_span(p, text, strlen(text));
}

// Numbers and short fixed words only.
static void put_format(Printer *p, const char *format, ...) __attribute__((format(printf, 2, 3)));
static void put_format(Printer *p, const char *format, ...) {
    char text[128];
    va_list args;
    va_start(args, format);
    const int bytes = vsnprintf(text, sizeof text, format, args);
    va_end(args);
    put_span(p, text, (size_t)bytes);
}

// In quotes. Bytes above 0x7f stay as they are: names are UTF-8.
static void put_text(Printer *p, const char *text) {
    put(p, "\"");
    for (const char *c = text; *c; c++) {
        const unsigned char byte = (unsigned char)*c;
        // The second of two equal brackets, which FileCheck would take for its own.
        const bool doubled = c > text && (*c == '[' || *c == '{') && c[-1] == *c;
        if (*c == '"' || *c == '\\')
            put_format(p, "\\%c", *c);
        else if (*c == '\n')
            put(p, "\\n");
        else if (*c == '\t')
            put(p, "\\t");
        else if (byte < 0x20 || byte == 0x7f || doubled)
            put_format(p, "\\x%02x", byte);
        else
            put_span(p, c, 1);
    }
    put(p, "\"");
}

// Always with a point, an exponent or a word, so that it reads back as a float.
static void put_float(Printer *p, double f) {
    // printf's spelling of these differs by machine, and a NaN's sign means nothing.
    if (isnan(f) || isinf(f)) {
        put(p, isnan(f) ? "nan" : f < 0 ? "-inf" : "inf");
        return;
    }
    char text[40];
    for (int digits = 15; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, f);
        if (strtod(text, NULL) == f)
            break;
    }
    put(p, text);
    // Digits alone would read back as an integer.
    if (text[strspn(text, "-0123456789")] == '\0')
        put(p, ".0");
}

// f32[3,4]; a scalar is f32[].
static void put_type(Printer *p, const Type *t) {
    put(p, dtype_name(t->dtype));
    put(p, "[");
    for (int i = 0; i < t->rank; i++)
        put_format(p, "%s%lld", i ? "," : "", (long long)t->dim[i]);
    put(p, "]");
}

// %name, or the number that graph_renumber would give.
static void put_value(Printer *p, const Value *v) {
    put(p, "%");
    if (v->name)
        put(p, v->name);
    // A broken graph may hold values whose ids are past the table or defined nowhere.
    else if (v->id < p->limit && p->number[v->id])
        put_format(p, "%u", p->number[v->id] - 1);
    else
        put_format(p, "undefined.%u", v->id);
}

// NAME = VALUE; lists never nest.
static void put_attr(Printer *p, const Attr *attr) {
    put(p, attr->name);
    put(p, " = ");
    switch (attr->kind) {
    case ATTR_INT:
        put_format(p, "%lld", (long long)attr->as.i);
        return;
    case ATTR_FLOAT:
        put_float(p, attr->as.f);
        return;
    case ATTR_TEXT:
        put_text(p, attr->as.text);
        return;
    case ATTR_INTS:
    case ATTR_FLOATS:
        put(p, "[");
        for (int i = 0; i < attr->count; i++) {
            put(p, i ? "," : "");
            if (attr->kind == ATTR_INTS)
                put_format(p, "%lld", (long long)attr->as.ints[i]);
            else
                put_float(p, attr->as.floats[i]);
        }
        put(p, "]");
        return;
    }
}

// Braces only where there is an attribute.
static void put_attrs(Printer *p, const Attr *attr, int count) {
    if (count == 0)
        return;
    put(p, " {");
    for (int i = 0; i < count; i++) {
        put(p, i ? ", " : "");
        put_attr(p, &attr[i]);
    }
    put(p, "}");
}

// `at none` keeps apart what has no place from what was never told one.
static void put_loc(Printer *p, Loc loc) {
    if (!(p->flags & GRAPH_PRINT_LOCS))
        return;
    if (!loc.file || loc.line < 1) {
        put(p, " at none");
        return;
    }
    put(p, " at ");
    put_text(p, loc.file);
    put_format(p, ":%d:%d", loc.line, loc.column);
}

// %x: f32[4] from data "text" {bound = 256}; from the caller needs no words.
static void put_input(Printer *p, const Input *in) {
    put_value(p, in->value);
    put(p, ": ");
    put_type(p, &in->value->type);
    // After the type: where the runtime takes the argument from.
    switch (in->source) {
    case FROM_DATA:
        put(p, " from data ");
        put_text(p, in->loader ? in->loader : "");
        break;
    case FROM_KNOB:
        put(p, " from knob = ");
        put_float(p, in->fallback);
        break;
    case FROM_STEP:
        put(p, " from step");
        break;
    case FROM_STEPS:
        put(p, " from steps");
        break;
    case FROM_SEED:
        put(p, " from seed");
        break;
    case FROM_SLOT:
        put(p, " from slot");
        break;
    case FROM_CALLER:
        break;
    }
    // 0 is no bound and isn't printed.
    const Attr bound = attr_int("bound", in->bound);
    put_attrs(p, &bound, in->bound != 0);
    put_loc(p, in->value->def->loc);
}

// The signature, where arguments and results are named and typed.
static void put_header(Printer *p, const Graph *g) {
    put(p, "graph @");
    put(p, g->name);
    put(p, "(");
    for (int i = 0; i < g->input_count; i++) {
        put(p, i ? ", " : "");
        put_input(p, &g->input[i]);
    }
    put(p, ")");
    // One result without a name needs no parentheses.
    const bool bare = g->result_count == 1 && !g->result[0].name;
    put(p, g->result_count == 0 ? "" : bare ? " -> " : " -> (");
    for (int i = 0; i < g->result_count; i++) {
        put(p, i ? ", " : "");
        if (g->result[i].name) {
            put(p, g->result[i].name);
            put(p, ": ");
        }
        put_type(p, &g->result[i].value->type);
    }
    put(p, g->result_count == 0 || bare ? "" : ")");
    if (g->repeat != 1)
        put_format(p, " repeat %d", g->repeat);
    put(p, " {\n");
}

// One line: results, operator, operands, attributes; then only what is not the default.
static void put_node(Printer *p, const Node *n) {
    put(p, "  ");
    for (int i = 0; i < n->result_count; i++) {
        put(p, i ? ", " : "");
        put_value(p, &n->result[i]);
        put(p, ": ");
        put_type(p, &n->result[i].type);
    }
    // minimize and apply have no result.
    put(p, n->result_count ? " = " : "");
    put(p, op_info(n->op)->name);
    for (int i = 0; i < n->input_count; i++) {
        put(p, i ? ", " : " ");
        put_value(p, n->input[i]);
    }
    put_attrs(p, n->attr, n->attr_count);
    if (n->scope && n->scope[0]) {
        put(p, " scope ");
        put_text(p, n->scope);
    }
    // Forward is the default and has no word.
    put(p, n->phase == PHASE_BACKWARD ? " backward" : n->phase == PHASE_UPDATE ? " update" : "");
    // 0: in no group.
    if (n->group)
        put_format(p, " group %u", n->group);
    put_loc(p, n->loc);
    put(p, "\n");
}

// The numbers of graph_renumber: arguments first, then nodes in execution order.
static void number_values(Printer *p, const Graph *g) {
    p->limit = g->value_limit;
    p->number = arena_array(p->arena, uint32_t, g->value_limit);
    // Numbers are stored plus 1, so that 0 means none.
    uint32_t next = 1;
    for (int i = 0; i < g->input_count; i++)
        if (g->input[i].value->id < p->limit)
            p->number[g->input[i].value->id] = next++;
    for (int i = 0; i < g->node_count; i++)
        for (int k = 0; g->node[i]->op != OP_INPUT && k < g->node[i]->result_count; k++)
            if (g->node[i]->result[k].id < p->limit)
                p->number[g->node[i]->result[k].id] = next++;
}

// Header, nodes, commits, return: the order in which the parser can check each against what stands
// above. Input nodes are in the header.
static void put_graph(Printer *p, const Graph *g) {
    number_values(p, g);
    put_header(p, g);
    for (int i = 0; i < g->node_count; i++)
        if (g->node[i]->op != OP_INPUT)
            put_node(p, g->node[i]);
    for (int i = 0; i < g->commit_count; i++) {
        put(p, "  commit @");
        put(p, g->commit[i].state->name);
        put(p, " = ");
        put_value(p, g->commit[i].value);
        put(p, "\n");
    }
    for (int i = 0; i < g->result_count; i++) {
        put(p, i ? ", " : "  return ");
        put_value(p, g->result[i].value);
    }
    put(p, g->result_count ? "\n}\n" : "}\n");
}

// What equals its default is left out: file like name, not frozen, not far, no decay, no
// precision.
static void put_state(Printer *p, const State *s) {
    // By StateKind; graph_parse.c reads the same words.
    static const char *const kind_name[] = {"param", "saved", "transient", "optimizer"};
    put(p, "state @");
    put(p, s->name);
    put(p, ": ");
    put_type(p, &s->type);
    Attr attr[6];
    int count = 0;
    attr[count++] = attr_text("kind", kind_name[s->kind]);
    // Most states are called alike in weight files.
    if (s->file && strcmp(s->file, s->name) != 0)
        attr[count++] = attr_text("file", s->file);
    if (s->frozen)
        attr[count++] = attr_int("frozen", 1);
    if (s->far)
        attr[count++] = attr_int("far", 1);
    // Negative: nothing was said.
    if (s->decay >= 0)
        attr[count++] = attr_float("decay", s->decay);
    if (s->precision)
        attr[count++] = attr_text("precision", s->precision);
    put_attrs(p, attr, count);
    put_loc(p, s->loc);
    put(p, "\n");
}

// Sizes that the model names, and the key of a configuration file each was taken from.
static void put_sizes(Printer *p, const Module *m) {
    for (int i = 0; i < m->size_count; i++) {
        put(p, "size @");
        put(p, m->size[i].name);
        put_format(p, " = %lld", (long long)m->size[i].value);
        const Attr key = attr_text("key", m->size[i].key);
        put_attrs(p, &key, m->size[i].key != NULL);
        put(p, "\n");
    }
}

static void put_module(Printer *p, const Module *m) {
    // A fragment, as tests are, has no module line.
    if (m->name && m->name[0]) {
        put(p, "module @");
        put(p, m->name);
        const Attr tokenizer = attr_text("tokenizer", m->tokenizer);
        put_attrs(p, &tokenizer, m->tokenizer != NULL);
        put(p, "\n");
    }
    put_sizes(p, m);
    for (int i = 0; i < m->state_count; i++)
        put_state(p, m->state[i]);
    for (int i = 0; i < m->entry_count; i++) {
        // An empty line between graphs, but none at the top of the text.
        put(p, p->bytes ? "\n" : "");
        put_graph(p, m->entry[i]);
    }
}

// Text and scratch live in one arena, which ends with the call.
void module_print(const Module *m, FILE *out, int flags) {
    Printer p = {.arena = arena_create(), .flags = flags};
    put_module(&p, m);
    if (p.bytes)
        fwrite(p.text, 1, p.bytes, out);
    arena_release(p.arena);
}

char *module_text(const Module *m, Arena *a, int flags) {
    Printer p = {.arena = arena_create(), .flags = flags};
    put_module(&p, m);
    char *text = arena_text_span(a, p.text, p.bytes);
    arena_release(p.arena);
    return text;
}
