// A tokenizer as a filter, for comparing it with others:
//
//     tokenize_texts TOKENIZER < texts > ids
//
// Texts come as a u32 of bytes and the bytes. For each there is a u32 of ids, the ids, and their
// text again in the form it came in. All numbers in the machine's order.
#include "runtime/tokenizer.h"

#include <stdio.h>
#include <stdlib.h>

static void write_block(const void *data, size_t count, size_t size) {
    const uint32_t header = (uint32_t)count;
    fwrite(&header, sizeof header, 1, stdout);
    fwrite(data, size, count, stdout);
}

static bool tokenize(const PlimTokenizer *t, const char *text, size_t bytes, TokenList *list) {
    PlimError error;
    list->count = 0;
    if (tokenizer_encode(t, text, bytes, TOKENS_TEMPLATE, list, &error) != PLIM_OK) {
        fprintf(stderr, "%s\n", error.text);
        return false;
    }
    write_block(list->id, list->count, sizeof *list->id);
    char *out = malloc((list->count + 1) * tokenizer_decode_size(t));
    size_t used = 0;
    TokenStream stream = {.tokenizer = t};
    for (size_t i = 0; out && i < list->count; i++)
        used += tokenizer_decode(&stream, list->id[i], out + used);
    if (out)
        used += tokenizer_decode_end(&stream, out + used);
    write_block(out, used, 1);
    free(out);
    return true;
}

int main(int argc, char **argv) {
    PlimTokenizer *t;
    PlimError error;
    if (argc != 2)
        return 2;
    if (tokenizer_open(argv[1], &t, &error) != PLIM_OK) {
        fprintf(stderr, "%s\n", error.text);
        return 1;
    }
    TokenList list = {0};
    uint32_t bytes;
    bool good = true;
    while (good && fread(&bytes, sizeof bytes, 1, stdin) == 1) {
        char *text = malloc(bytes + 1U);
        good = text && fread(text, 1, bytes, stdin) == bytes && tokenize(t, text, bytes, &list);
        free(text);
    }
    free(list.id);
    tokenizer_release(t);
    return good ? 0 : 1;
}
