// A picture of one entry for Graphviz. A program carries its plan, not its graph: a box is an
// instruction, an arrow is dataflow, from who wrote bytes of a buffer to who reads them. Phases are
// clusters, and in them scopes, one inside the other.
//
// With --scope only the operators of it are boxes; what they read from outside, and what outside
// reads of theirs, are plain names at the edge. Bytes that no instruction wrote (states, inputs)
// are ellipses.
#include "tools/dump.h"

#include "runtime/plan_report.h"
#include "tools/dump_text.h"
#include "tools/nearest.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

// How many writers of one operand are drawn: the parts of a concat, say.
enum { WRITERS_MAX = 64 };

typedef enum { HIDDEN, INSIDE, EDGE } Shown;

typedef struct {
    Dump *d;
    uint32_t entry;
    FILE *out;
    Shown *step;       // by position
    bool *buffer;      // by buffer: an ellipse
    uint32_t *sorted;  // positions by phase, then scope
    uint32_t clusters; // so far
} Dot;

static const PlanInstr *instr_at(const Dot *g, uint32_t position) {
    return g->d->uses->entry[g->entry].step[position].instr;
}

// "h.0" holds "h.0" and "h.0.attn", but not "h.01".
static bool is_in_scope(const char *scope, const char *name) {
    const size_t length = strlen(name);
    return strncmp(scope, name, length) == 0 && (scope[length] == '\0' || scope[length] == '.');
}

// A label's text: quotes and backslashes escaped.
static void put_text(FILE *out, const char *text) {
    for (; *text; text++) {
        if (*text == '"' || *text == '\\')
            fputc('\\', out);
        fputc((unsigned char)*text < 0x20 ? ' ' : *text, out);
    }
}

typedef void (*EdgeFn)(Dot *g, uint32_t from, uint32_t to, uint32_t buffer, uint64_t bytes);

// Every arrow into the instruction at a position; from UINT32_MAX: from the buffer itself. Operands
// that are views of one buffer (queries, keys and values) share an arrow.
static void each_edge(Dot *g, uint32_t position, EdgeFn edge) {
    const PlanInstr *instr = instr_at(g, position);
    struct {
        uint32_t from, buffer;
    } drawn[WRITERS_MAX];
    uint32_t drawn_count = 0;
    for (uint32_t i = 0; i < instr->operand_count; i++) {
        const PlanOperand *o = &instr->operand[i];
        uint32_t writer[WRITERS_MAX] = {UINT32_MAX};
        if (o->access == PLAN_WRITE)
            continue;
        const uint32_t count =
            plan_uses_writers(g->d->uses, g->entry, position, i, writer, WRITERS_MAX);
        for (uint32_t k = 0; k < (count ? count : 1); k++) {
            uint32_t at = 0;
            while (at < drawn_count &&
                   (drawn[at].from != writer[k] || drawn[at].buffer != o->buffer))
                at++;
            if (at < drawn_count)
                continue;
            if (drawn_count < WRITERS_MAX) {
                drawn[drawn_count].from = writer[k];
                drawn[drawn_count++].buffer = o->buffer;
            }
            edge(g, writer[k], position, o->buffer, o->bytes);
        }
    }
}

static void mark_edge(Dot *g, uint32_t from, uint32_t to, uint32_t buffer, uint64_t bytes) {
    (void)bytes;
    if (from == UINT32_MAX) {
        g->buffer[buffer] |= g->step[to] == INSIDE;
        return;
    }
    if (g->step[to] == INSIDE && g->step[from] == HIDDEN)
        g->step[from] = EDGE;
    if (g->step[from] == INSIDE && g->step[to] == HIDDEN)
        g->step[to] = EDGE;
}

static void put_edge(Dot *g, uint32_t from, uint32_t to, uint32_t buffer, uint64_t bytes) {
    const PlanBuffer *b = &g->d->plan->buffer[buffer];
    char size[32], name[33];
    if (from == UINT32_MAX ? g->step[to] != INSIDE
                           : g->step[from] != INSIDE && g->step[to] != INSIDE)
        return;
    if (from == UINT32_MAX)
        fprintf(g->out, "  b%u -> n%u", buffer, to);
    else
        fprintf(g->out, "  n%u -> n%u", from, to);
    fputs(" [label=\"", g->out);
    // What an ellipse is called stands in it.
    if (from != UINT32_MAX) {
        put_text(g->out, text_fit(b->name, name, sizeof name));
        fputs("\\n", g->out);
    }
    fprintf(g->out, "%s\"];\n", plan_size_text(bytes, size));
}

static bool choose_steps(Dot *g) {
    const PlanEntryUses *u = &g->d->uses->entry[g->entry];
    const char *wanted = g->d->options->scope;
    Nearest nearest = {.wanted = wanted};
    uint32_t found = 0;
    for (uint32_t i = 0; i < u->step_count; i++) {
        const char *scope = plan_instr_scope(instr_at(g, i));
        const bool inside = !wanted || is_in_scope(scope, wanted);
        g->step[i] = inside ? INSIDE : HIDDEN;
        found += inside;
        if (!inside)
            nearest_add_path(&nearest, scope);
    }
    if (found > 0 || !wanted)
        return true;
    char near[300];
    dump_fail(g->d, "no operator of %.60s has the scope %.60s%s", g->d->plan->entry[g->entry].name,
              wanted, nearest_text(&nearest, near, sizeof near));
    return false;
}

// By phase, then scope, then position: clusters are then runs. The context is the graph.
static int compare_places(const void *a, const void *b, void *context) {
    const Dot *g = context;
    const uint32_t i = *(const uint32_t *)a, k = *(const uint32_t *)b;
    const PlanInstr *x = instr_at(g, i), *y = instr_at(g, k);
    if (x->phase != y->phase)
        return x->phase < y->phase ? -1 : 1;
    const int order = strcmp(plan_instr_scope(x), plan_instr_scope(y));
    return order ? order : (i > k) - (i < k);
}

static void put_box(const Dot *g, uint32_t position, int indent) {
    const PlanInstr *instr = instr_at(g, position);
    char text[TEXT_NUMBER], shape[96] = "";
    for (uint32_t i = 0; i < instr->operand_count && !*shape; i++) {
        const PlanBuffer *b = &g->d->plan->buffer[instr->operand[i].buffer];
        if (instr->operand[i].access != PLAN_READ)
            text_shape(b->dtype, b->rank, b->dim, shape, sizeof shape);
    }
    char operators[96];
    snprintf(operators, sizeof operators, "%.*s", (int)plan_instr_operators(instr), instr->name);
    fprintf(g->out, "%*sn%u [label=\"%u ", indent, "", position, position);
    put_text(g->out, operators);
    fprintf(g->out, "\\n%s\\n", shape);
    put_text(g->out, plan_instr_kernel(g->d->plan, instr));
    if (instr->flops > 0)
        fprintf(g->out, ", %s", text_rate((double)instr->flops, "FLOP", text));
    fputs("\", tooltip=\"", g->out);
    put_text(g->out, instr->name);
    fputs(" ", g->out);
    put_text(g->out, instr->where);
    fputs("\"];\n", g->out);
}

// The end of the component that begins at a byte of a path: up to a dot, but the number of a layer
// belongs to its name, "h.0".
static size_t component_end(const char *path, size_t begin) {
    size_t end = begin + strcspn(path + begin, ".");
    if (path[end] == '.' && isdigit((unsigned char)path[end + 1]))
        end += 1 + strcspn(path + end + 1, ".");
    return end;
}

// The beginning of the component behind one that ends at a byte; past the path's end for none.
static size_t component_next(const char *path, size_t end) {
    return end + (path[end] == '.');
}

// How many components two paths begin with alike; *next: where b goes on.
static int common_path(const char *a, const char *b, size_t *next) {
    int depth = 0;
    *next = 0;
    for (size_t begin = 0; a[begin] && b[begin];) {
        const size_t end = component_end(a, begin);
        if (component_end(b, begin) != end || memcmp(a + begin, b + begin, end - begin) != 0)
            break;
        depth++;
        *next = component_next(b, end);
        begin = component_next(a, end);
        // Where only one of them goes on, the other is no longer at a component's beginning.
        if (begin != *next)
            break;
    }
    return depth;
}

// Opens a cluster for each component of the path from one's beginning on.
static int open_scopes(Dot *g, const char *path, size_t begin, int depth) {
    static const char *const color[] = {"gray94", "white"};
    while (path[begin]) {
        const size_t end = component_end(path, begin);
        char name[64];
        snprintf(name, sizeof name, "%.*s", (int)(end - begin < 63 ? end - begin : 63),
                 path + begin);
        // A number for each: clusters of one name would be one, across phases.
        fprintf(g->out, "%*ssubgraph cluster_%u {\n%*sfillcolor=%s; label=\"", 2 * depth + 4, "",
                g->clusters++, 2 * depth + 6, "", color[depth % 2]);
        put_text(g->out, name);
        fputs("\";\n", g->out);
        depth++;
        begin = component_next(path, end);
    }
    return depth;
}

static void close_scopes(const Dot *g, int from, int to) {
    for (int i = from; i > to; i--)
        fprintf(g->out, "%*s}\n", 2 * i + 2, "");
}

static void put_clusters(Dot *g, uint32_t count) {
    int phase = -1, depth = 0;
    const char *path = NULL;
    for (uint32_t i = 0; i < count; i++) {
        const PlanInstr *instr = instr_at(g, g->sorted[i]);
        const char *scope = plan_instr_scope(instr);
        if ((int)instr->phase != phase) {
            close_scopes(g, depth, 0);
            if (phase >= 0)
                fputs("  }\n", g->out);
            phase = (int)instr->phase;
            depth = 0;
            path = NULL;
            fprintf(g->out, "  subgraph cluster_%s {\n    label=\"%s\";\n",
                    plan_phase_name(instr->phase), plan_phase_name(instr->phase));
        }
        size_t next = 0;
        const int kept_depth = path ? common_path(path, scope, &next) : 0;
        close_scopes(g, depth, kept_depth);
        depth = open_scopes(g, scope, next, kept_depth);
        path = scope;
        put_box(g, g->sorted[i], 2 * depth + 4);
    }
    close_scopes(g, depth, 0);
    if (phase >= 0)
        fputs("  }\n", g->out);
}

static void put_outside(const Dot *g) {
    const PlanEntryUses *u = &g->d->uses->entry[g->entry];
    char name[65], shape[96];
    for (uint32_t i = 0; i < u->step_count; i++) {
        if (g->step[i] != EDGE)
            continue;
        fprintf(g->out, "  n%u [shape=plaintext, style=\"\", fontcolor=gray40, label=\"%u ", i, i);
        put_text(g->out, text_fit(instr_at(g, i)->name, name, sizeof name));
        fputs("\"];\n", g->out);
    }
    for (uint32_t i = 0; i < g->d->plan->buffer_count; i++) {
        const PlanBuffer *b = &g->d->plan->buffer[i];
        if (!g->buffer[i])
            continue;
        fprintf(g->out, "  b%u [shape=ellipse, style=\"\", label=\"", i);
        put_text(g->out, text_fit(b->name, name, sizeof name));
        fprintf(g->out, "\\n%s\"];\n", text_shape(b->dtype, b->rank, b->dim, shape, sizeof shape));
    }
}

static void put_graph(Dot *g) {
    const Plan *p = g->d->plan;
    const uint32_t count = g->d->uses->entry[g->entry].step_count;
    uint32_t inside = 0;
    for (uint32_t i = 0; i < count; i++) {
        if (g->step[i] == INSIDE)
            g->sorted[inside++] = i;
        each_edge(g, i, mark_edge);
    }
    qsort_r(g->sorted, inside, sizeof *g->sorted, compare_places, g);
    fputs("digraph \"", g->out);
    put_text(g->out, p->model);
    fputs(".", g->out);
    put_text(g->out, p->entry[g->entry].name);
    fputs("\" {\n  node [shape=box, style=filled, fillcolor=white, fontname=\"sans-serif\", "
          "fontsize=10];\n  edge [fontname=\"sans-serif\", fontsize=8, color=gray40];\n"
          "  fontname=\"sans-serif\"; style=\"filled,rounded\"; pencolor=gray60; "
          "fillcolor=white; labeljust=l;\n",
          g->out);
    put_clusters(g, inside);
    put_outside(g);
    for (uint32_t i = 0; i < count; i++)
        each_edge(g, i, put_edge);
    fputs("}\n", g->out);
}

int dump_dot(Dump *d, FILE *out) {
    Dot g = {.d = d, .out = out};
    if (!dump_entry(d, &g.entry))
        return DUMP_FAILED;
    const size_t count = (size_t)d->uses->entry[g.entry].step_count + 1;
    g.step = plan_alloc(d->memory, count, sizeof *g.step);
    g.sorted = plan_alloc(d->memory, count, sizeof *g.sorted);
    g.buffer = plan_alloc(d->memory, (size_t)d->plan->buffer_count + 1, sizeof *g.buffer);
    if (!g.step || !g.sorted || !g.buffer)
        return dump_fail(d, "out of memory");
    if (!choose_steps(&g))
        return DUMP_FAILED;
    put_graph(&g);
    return DUMP_DONE;
}
