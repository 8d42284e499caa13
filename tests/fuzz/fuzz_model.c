// Any bytes as a model text: read and elaborated, with no file but the standard library inside the compiler. It
// must end with a module that verifies or with errors, never with a fault.
#include "frontend/frontend.h"
#include "ir/check.h"

#include <stddef.h>
#include <stdint.h>

// The fuzzer's entry point, which no header declares.
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    Arena *a = arena_create();
    Diag *d = diag_create(a);
    FrontendInput in = {.file = "fuzz.plim",
                        .text = arena_text_span(a, (const char *)data, size),
                        .bytes = size,
                        .library_only = true};
    FrontendFiles files = {0};
    const Module *m = frontend_module(a, d, &in, &files);
    // Either a module or something to read about why there is none.
    CHECK((m != NULL) == (diag_error_count(d) == 0));
    if (m)
        CHECK(module_verify(m, d));
    arena_release(a);
    return 0;
}
