// libFuzzer: bytes as graph text. What parses and verifies is printed, and read back to the same
// text; what the parser refuses must leave a diagnostic, and printing those must not fail either.
#include "ir/module.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(bool holds, const char *what) {
    if (holds)
        return;
    fprintf(stderr, "fuzz_graph: %s\n", what);
    abort();
}

static Module *read(Arena *a, Diag *d, const char *text, size_t size) {
    diag_add_source(d, "fuzz.graph", text, size);
    return module_parse(a, d, "fuzz.graph", text, size);
}

// Both forms of diagnostics, into memory.
static void print_diagnostics(const Diag *d) {
    char *text = NULL;
    size_t size = 0;
    FILE *out = open_memstream(&text, &size);
    if (!out)
        return;
    diag_print(d, out, false);
    diag_print_json(d, out);
    fclose(out);
    free(text);
}

// With places and without, a module's text is read back to the same text.
static void round_trip(const Module *m, int flags) {
    Arena *a = arena_create();
    Diag *d = diag_create(a);
    const char *text = module_text(m, a, flags);
    const Module *again = read(a, d, text, strlen(text));
    if (!again)
        diag_print(d, stderr, false);
    must(again != NULL, "what was printed can't be read");
    must(strcmp(text, module_text(again, a, flags)) == 0, "print, read, print gives another text");
    arena_release(a);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Arena *a = arena_create();
    Diag *d = diag_create(a);
    const Module *m = read(a, d, (const char *)data, size);
    must(m != NULL || diag_error_count(d) > 0, "refused without a word");
    if (m) {
        const bool sound = module_verify(m, d);
        must(sound || diag_error_count(d) > 0, "found wrong without a word");
        round_trip(m, 0);
        round_trip(m, GRAPH_PRINT_LOCS);
    }
    print_diagnostics(d);
    arena_release(a);
    return 0;
}
