// Reading --far, for every tool that plans.
#include "tools/far_flag.h"

#include "runtime/flags.h"

#include <string.h>

bool far_flag_read(Arena *a, const char *value, PassOptions *options) {
    const size_t length = strcspn(value, "=");
    options->far_kind = arena_text_span(a, value, length);
    options->far = strcmp(options->far_kind, "disk") == 0 || strcmp(options->far_kind, "host") == 0;
    options->far_bytes = 0;
    // No room at all is no permission to move.
    return options->far &&
           (!value[length] ||
            (flags_size(value + length + 1, &options->far_bytes) && options->far_bytes > 0));
}
