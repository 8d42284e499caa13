// libFuzzer: bytes as a tokenizer.json. What opens encodes a few texts, the input itself among
// them, and every id it gives is in range and can be decoded.
#include "runtime/tokenizer.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must(int holds) {
    if (!holds)
        abort();
}

static void round_trip(const PlimTokenizer *t, const char *text, size_t bytes) {
    TokenList list = {0};
    PlimError error;
    if (tokenizer_encode(t, text, bytes, TOKENS_TEMPLATE, &list, &error) == PLIM_OK) {
        const size_t room = tokenizer_decode_size(t);
        char *out = malloc(room);
        TokenStream stream = {.tokenizer = t};
        for (size_t i = 0; out && i < list.count; i++) {
            must(list.id[i] >= 0 && list.id[i] < tokenizer_size(t));
            must(tokenizer_decode(&stream, list.id[i], out) <= room);
            tokenizer_is_end(t, list.id[i]);
        }
        free(out);
    }
    free(list.id);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static const char text[] = "It's  the\n\n \xe6\x97\xa5 <unk></s> \xff 12345\xe2\x96\x81"
                               "a b";
    PlimTokenizer *t;
    PlimError error;
    // Of the exact size, so that a sanitizer sees a read past the end.
    char *json = malloc(size ? size : 1);
    if (!json)
        return 0;
    memcpy(json, data, size);
    if (tokenizer_parse("input", json, size, &t, &error) == PLIM_OK) {
        round_trip(t, text, sizeof text - 1);
        round_trip(t, json, size < 2000 ? size : 2000);
        tokenizer_release(t);
    } else {
        must(error.text[0] != '\0');
    }
    free(json);
    return 0;
}
