// The header of a library: what a C or C++ program needs to call a model, in one file.
//
// The text is runtime/plim.h's own, then the six functions under the library's name, then one
// inline function an entry, whose parameters are the entry's inputs and results by name: scalars by
// value, tensors by pointer, with shape and range beside them. Names that C could not tell apart
// (keywords, our own parameters, names used twice) get an underscore.
#include "codegen/library_header.h"

#include "codegen/plim_text.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// What is being written, and for whom.
typedef struct {
    FILE *out;
    Arena *arena;
    const char *name;         // "gpt2"
    const char *type, *macro; // "Gpt2", "GPT2"
} Header;

// The text, with @ for the name, ^ for the type, % for the macros' prefix.
static void print_text(const Header *h, const char *text) {
    for (; *text; text++)
        if (*text == '@')
            fputs(h->name, h->out);
        else if (*text == '^')
            fputs(h->type, h->out);
        else if (*text == '%')
            fputs(h->macro, h->out);
        else
            fputc(*text, h->out);
}

// The comments of runtime/embed.h, for people who don't have it. Where the model works is another
// matter on a GPU.
static const char cpu_open_text[] =
    "// Starts the model in your memory: %_ARENA_BYTES from a multiple of %_ARENA_ALIGNMENT on,\n"
    "// contents of no matter, yours to free after @_close. threads 0: all processors this process "
    "may\n"
    "// use. One call at a time: a model has one arena.\n";
static const char gpu_open_text[] =
    "// Starts the model on the first GPU that CUDA shows. arena: memory of that GPU, as "
    "cudaMalloc\n"
    "// gives it, %_ARENA_BYTES from a multiple of %_ARENA_ALIGNMENT on, contents of no matter, "
    "yours\n"
    "// to free after @_close; or NULL: the model takes its own. threads: 0. One call at a time: "
    "a\n"
    "// model has one arena. Every function leaves the calling thread's context as it was.\n";
static const char cpu_state_text[] =
    "// The memory of a parameter or statistic by its path in the model; NULL: no such name.\n";
static const char gpu_state_text[] =
    "// Where a parameter or statistic is, by its path in the model: an address of the GPU (for\n"
    "// cudaMemcpy), or of pinned host memory where the model keeps it there. NULL: no such "
    "name.\n"
    "// Calls don't wait for your streams: synchronize after you have written there.\n";

static void print_functions(const Header *h, bool gpu) {
    print_text(h, "typedef struct ^ ^;\n\n");
    print_text(h, gpu ? gpu_open_text : cpu_open_text);
    print_text(h, "PlimStatus @_open(void *arena, size_t arena_bytes, int threads, ^ **out,\n"
                  "    PlimError *error);\n"
                  "void @_close(^ *model);\n"
                  "// Gives every state its first value.\n"
                  "PlimStatus @_init(^ *model, int64_t seed, PlimError *error);\n"
                  "// Reads a safetensors file, or a folder of them, after @_init.\n"
                  "PlimStatus @_load(^ *model, const char *path, PlimError *error);\n");
    print_text(h, gpu ? gpu_state_text : cpu_state_text);
    print_text(h, "void *@_state(^ *model, const char *name, size_t *bytes);\n"
                  "// Any entry by its number; the functions below are this one with types.\n"
                  "PlimStatus @_call(^ *model, uint32_t entry, const void *const *input,\n"
                  "    void *const *result, PlimError *error);\n\n");
}

static const char *type_of(PlanDType t) {
    switch (t) {
    case PLAN_F32:
        return "float";
    case PLAN_BF16:
        return "uint16_t"; // the bits
    case PLAN_I32:
        return "int32_t";
    case PLAN_BOOL:
        return "uint8_t";
    case PLAN_DTYPE_COUNT:
        break;
    }
    return "void";
}

static bool is_reserved(const char *word) {
    static const char *const reserved[] = {
        "alignas",  "and",      "asm",      "auto",     "bool",     "break",     "case",
        "catch",    "char",     "class",    "const",    "continue", "default",   "delete",
        "do",       "double",   "else",     "enum",     "error",    "explicit",  "export",
        "extern",   "false",    "float",    "for",      "friend",   "goto",      "if",
        "inline",   "input",    "int",      "long",     "model",    "mutable",   "namespace",
        "new",      "not",      "operator", "or",       "private",  "protected", "public",
        "register", "restrict", "result",   "return",   "short",    "signed",    "sizeof",
        "static",   "struct",   "switch",   "template", "this",     "throw",     "true",
        "try",      "typedef",  "typename", "union",    "unsigned", "using",     "virtual",
        "void",     "volatile", "while",    "xor"};
    for (size_t i = 0; i < sizeof reserved / sizeof reserved[0]; i++)
        if (strcmp(reserved[i], word) == 0)
            return true;
    return false;
}

// A parameter's name in C: the plan's, cut to what C allows, and unlike the count before it.
static const char *c_name(const Header *h, const char *name, char *const *used, uint32_t count) {
    char *out = arena_text(h->arena, *name ? name : "value");
    for (char *at = out; *at; at++)
        if (!isalnum((unsigned char)*at))
            *at = '_';
    if (isdigit((unsigned char)*out))
        out = arena_format(h->arena, "_%s", out);
    bool taken = is_reserved(out);
    for (uint32_t i = 0; i < count; i++)
        taken = taken || strcmp(used[i], out) == 0;
    return taken ? c_name(h, arena_format(h->arena, "%s_", out), used, count) : out;
}

static bool is_scalar(const PlanInput *i) {
    return i->rank == 0 && i->slots == 1;
}

// "[4, 129]"; with slots the first dim counts every micro-batch.
static void print_shape(FILE *out, uint32_t rank, const int64_t *dim, uint32_t slots) {
    fputc('[', out);
    if (rank == 0 && slots > 1)
        fprintf(out, "%" PRIu32, slots);
    for (uint32_t i = 0; i < rank; i++)
        fprintf(out, "%s%" PRId64, i ? ", " : "", dim[i] * (i == 0 ? slots : 1));
    fputc(']', out);
}

// What a caller must know of an input beside its type.
static void print_input_note(const Header *h, const PlanInput *i) {
    print_shape(h->out, i->rank, i->dim, i->slots);
    switch (i->source) {
    case PLAN_FROM_KNOB:
        fprintf(h->out, ", a knob, %g where nothing else is known", i->fallback);
        break;
    case PLAN_FROM_STEP:
        fputs(", steps done before this one", h->out);
        break;
    case PLAN_FROM_STEPS:
        fputs(", steps there will be in all", h->out);
        break;
    case PLAN_FROM_SEED:
        fputs(", of random draws", h->out);
        break;
    case PLAN_FROM_SLOT:
        fputs(", the numbers 0, 1, 2, ... in order", h->out);
        break;
    case PLAN_FROM_DATA:
    case PLAN_FROM_CALLER:
        break;
    }
    if (i->bound > 0)
        fprintf(h->out, ", values 0 to %" PRId64, i->bound - 1);
    if (i->bound < 0)
        fprintf(h->out, ", values up to %" PRId64 ", below zero: none", -i->bound - 1);
}

// One entry's parameters: inputs, then results.
typedef struct {
    const PlanEntry *entry;
    char **name; // in C
    uint32_t count;
} Parameters;

static Parameters name_parameters(const Header *h, const PlanEntry *e) {
    Parameters p = {.entry = e, .count = e->input_count + e->result_count};
    p.name = arena_array(h->arena, char *, p.count + 1);
    for (uint32_t i = 0; i < p.count; i++) {
        const char *name =
            i < e->input_count ? e->input[i].name : e->result[i - e->input_count].name;
        p.name[i] = arena_text(h->arena, c_name(h, name, p.name, i));
    }
    return p;
}

// One line a parameter.
static void print_comment(const Header *h, const Parameters *p) {
    const PlanEntry *e = p->entry;
    fprintf(h->out, "// Entry %s.\n", e->name);
    for (uint32_t i = 0; i < p->count; i++) {
        fprintf(h->out, "//   %s: ", p->name[i]);
        if (i < e->input_count) {
            print_input_note(h, &e->input[i]);
        } else {
            const PlanResult *r = &e->result[i - e->input_count];
            print_shape(h->out, r->rank, r->dim, 1);
            fputs(", or NULL", h->out);
        }
        fputc('\n', h->out);
    }
}

static void print_entry(const Header *h, const PlanEntry *e, uint32_t index) {
    const Parameters p = name_parameters(h, e);
    print_comment(h, &p);
    fprintf(h->out, "static inline PlimStatus %s_%s%s(%s *model", h->name, e->name,
            is_reserved(e->name) || strstr(" open close init load call state ",
                                           arena_format(h->arena, " %s ", e->name))
                ? "_entry"
                : "",
            h->type);
    for (uint32_t i = 0; i < p.count; i++)
        if (i < e->input_count)
            fprintf(h->out, ",\n    %s%s %s%s", is_scalar(&e->input[i]) ? "" : "const ",
                    type_of(e->input[i].dtype), is_scalar(&e->input[i]) ? "" : "*", p.name[i]);
        else
            fprintf(h->out, ",\n    %s *%s", type_of(e->result[i - e->input_count].dtype),
                    p.name[i]);
    fputs(",\n    PlimError *error) {\n    const void *const input[] = {", h->out);
    for (uint32_t i = 0; i < e->input_count; i++)
        fprintf(h->out, "%s%s, ", is_scalar(&e->input[i]) ? "&" : "", p.name[i]);
    // Never empty: C has no arrays of nothing.
    fputs("NULL};\n    void *const result[] = {", h->out);
    for (uint32_t i = e->input_count; i < p.count; i++)
        fprintf(h->out, "%s, ", p.name[i]);
    fprintf(h->out, "NULL};\n    return %s_call(model, %" PRIu32 ", input, result, error);\n}\n\n",
            h->name, index);
}

static const char *upper(Arena *a, const char *name) {
    char *out = arena_text(a, name);
    for (char *at = out; *at; at++)
        *at = (char)toupper((unsigned char)*at);
    return out;
}

static void print_header(const Header *h, const Plan *p) {
    const uint64_t alignment = plan_is_cuda(p) ? PLAN_GPU_ALIGNMENT : PLAN_ARENA_ALIGNMENT;
    uint64_t arena = 0;
    for (uint32_t i = 0; i < p->space_count; i++)
        if (p->space[i].kind == SPACE_DEVICE)
            arena = p->space[i].bytes;
    fprintf(h->out, "// %s, compiled for %s by %s. Link with -lm -lpthread -ldl.\n", p->model,
            p->target, p->tool);
    print_text(h, "#ifndef %_H\n#define %_H\n\n");
    fwrite(plim_header_text, 1, plim_header_size, h->out);
    print_text(h, "\n#ifdef __cplusplus\nextern \"C\" {\n#endif\n\n");
    // Rounded up, as aligned_alloc wants it.
    fprintf(h->out, "#define %s_ARENA_BYTES ((size_t)%" PRIu64 ")\n", h->macro,
            (arena + alignment - 1) / alignment * alignment);
    fprintf(h->out, "#define %s_ARENA_ALIGNMENT ((size_t)%" PRIu64 ")\n\n", h->macro, alignment);
    print_functions(h, plan_is_cuda(p));
    for (uint32_t i = 0; i < p->entry_count; i++)
        // NAME_init runs that one.
        if (strcmp(p->entry[i].name, "init") != 0)
            print_entry(h, &p->entry[i], i);
    print_text(h, "#ifdef __cplusplus\n}\n#endif\n\n#endif\n");
}

const char *library_header(Arena *a, const Plan *p, const char *name) {
    char *text = NULL;
    size_t size = 0;
    char *type = arena_text(a, name);
    *type = (char)toupper((unsigned char)*type);
    Header h = {.out = open_memstream(&text, &size),
                .arena = a,
                .name = name,
                .type = strcmp(type, name) == 0 ? arena_format(a, "%sModel", name) : type,
                .macro = upper(a, name)};
    if (!h.out)
        return NULL;
    print_header(&h, p);
    const char *out = fclose(h.out) == 0 ? arena_text(a, text) : NULL;
    free(text);
    return out;
}
