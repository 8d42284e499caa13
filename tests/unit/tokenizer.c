// Tokenizers: ids and text against what the official library gives (tests/unit/tokenizers, written
// by tests/compare/tokenizers_fixtures.py), streaming, whole files, and files that are refused.
#include "runtime/tokenizer.h"

#include "runtime/file_read.h"
#include "runtime/json_read.h"
#include "tests/temporary.h"

#include <criterion/criterion.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char FOLDER[] = PLIM_SOURCE_DIR "/tests/unit/tokenizers";

static PlimTokenizer *open_kind(const char *kind) {
    char path[512];
    PlimTokenizer *t;
    PlimError error;
    snprintf(path, sizeof path, "%s/%s.json", FOLDER, kind);
    cr_assert_eq(tokenizer_open(path, &t, &error), PLIM_OK, "%s", error.text);
    return t;
}

// The ids as text. The caller frees it.
static char *decode(const PlimTokenizer *t, const int32_t *id, size_t count, size_t *bytes) {
    char *out = malloc((count + 1) * tokenizer_decode_size(t) + 1);
    TokenStream stream = {.tokenizer = t};
    *bytes = 0;
    for (size_t i = 0; i < count; i++)
        *bytes += tokenizer_decode(&stream, id[i], out + *bytes);
    *bytes += tokenizer_decode_end(&stream, out + *bytes);
    out[*bytes] = '\0';
    return out;
}

typedef struct {
    char text[1024], decoded[1024];
    int64_t id[512];
    size_t text_bytes, ids;
} Case;

static void read_case(JsonCursor *j, Case *c) {
    JsonList members = {0}, items = {0};
    char key[16];
    size_t bytes;
    while (json_member(j, &members, key, sizeof key)) {
        if (strcmp(key, "text") == 0)
            json_bytes(j, c->text, sizeof c->text, &c->text_bytes);
        else if (strcmp(key, "decoded") == 0)
            json_bytes(j, c->decoded, sizeof c->decoded, &bytes);
        else
            for (c->ids = 0; json_item(j, &items); c->ids++)
                json_integer(j, &c->id[c->ids]);
    }
    cr_assert_not(j->failed);
}

static int check_cases(const char *kind) {
    char path[512], *file;
    size_t size;
    PlimError error;
    PlimTokenizer *t = open_kind(kind);
    snprintf(path, sizeof path, "%s/%s.cases", FOLDER, kind);
    cr_assert_eq(file_read_whole(path, 1 << 20, &file, &size, &error), PLIM_OK);
    JsonCursor j = {.at = file, .end = file + size};
    int cases = 0;
    static Case c;
    for (; !json_at_end(&j); cases++) {
        read_case(&j, &c);
        TokenList list = {0};
        cr_assert_eq(tokenizer_encode(t, c.text, c.text_bytes, TOKENS_TEMPLATE, &list, &error),
                     PLIM_OK);
        cr_assert_eq(list.count, c.ids, "%s: %s", kind, c.text);
        for (size_t i = 0; i < c.ids; i++)
            cr_assert_eq(list.id[i], c.id[i], "%s: %s, token %zu", kind, c.text, i);
        size_t bytes;
        char *back = decode(t, list.id, list.count, &bytes);
        // The library prints U+FFFD for bytes that are no character; ours are compared elsewhere.
        if (!strstr(c.decoded, "\xef\xbf\xbd"))
            cr_assert_str_eq(back, c.decoded, "%s: %s", kind, c.text);
        free(back);
        free(list.id);
    }
    free(file);
    tokenizer_release(t);
    return cases;
}

Test(tokenizer, gives_the_librarys_ids) {
    static const char *const kind[] = {"gpt2", "llama3", "llama2", "unigram_bytes",
                                       "unknown_fused"};
    for (size_t i = 0; i < sizeof kind / sizeof kind[0]; i++)
        cr_assert_geq(check_cases(kind[i]), 25);
}

Test(tokenizer, bytes) {
    PlimTokenizer *t;
    PlimError error;
    cr_assert_eq(tokenizer_open("bytes", &t, &error), PLIM_OK);
    TokenList list = {0};
    cr_assert_eq(tokenizer_encode(t, "a\xff\0z", 4, TOKENS_TEMPLATE, &list, &error), PLIM_OK);
    const int32_t expected[] = {'a', 0xff, 0, 'z'};
    cr_assert_eq(list.count, 4);
    cr_assert_arr_eq(list.id, expected, sizeof expected);
    cr_assert_eq(tokenizer_size(t), 256);
    size_t bytes;
    char *back = decode(t, list.id, 4, &bytes);
    cr_assert_eq(bytes, 4);
    cr_assert_arr_eq(back, "a\xff\0z", 4);
    free(back);
    free(list.id);
    tokenizer_release(t);
}

Test(tokenizer, streams_whole_characters) {
    PlimTokenizer *t;
    PlimError error;
    char out[16];
    cr_assert_eq(tokenizer_open("bytes", &t, &error), PLIM_OK);
    cr_assert_leq(tokenizer_decode_size(t), sizeof out);
    TokenStream s = {.tokenizer = t};
    cr_assert_eq(tokenizer_decode(&s, 0xf0, out), 0);
    cr_assert_eq(tokenizer_decode(&s, 0x9f, out), 0);
    cr_assert_eq(tokenizer_decode(&s, 0x98, out), 0);
    cr_assert_eq(tokenizer_decode(&s, 0x80, out), 4);
    cr_assert_arr_eq(out, "\xf0\x9f\x98\x80", 4);
    // What becomes no character is passed on as soon as that is known.
    cr_assert_eq(tokenizer_decode(&s, 0xe2, out), 0);
    cr_assert_eq(tokenizer_decode(&s, 'a', out), 2);
    cr_assert_arr_eq(out,
                     "\xe2"
                     "a",
                     2);
    cr_assert_eq(tokenizer_decode(&s, 0xff, out), 1);
    cr_assert_eq(tokenizer_decode(&s, 0xe0, out), 0);
    cr_assert_eq(tokenizer_decode(&s, 0x80, out), 2, "overlong");
    cr_assert_eq(tokenizer_decode(&s, 0xc3, out), 0);
    cr_assert_eq(tokenizer_decode_end(&s, out), 1);
    cr_assert_eq(tokenizer_decode_end(&s, out), 0);
    cr_assert_eq(tokenizer_decode(&s, 256, out), 0);
    cr_assert_eq(tokenizer_decode(&s, -1, out), 0);
    tokenizer_release(t);
}

Test(tokenizer, a_continuation_keeps_its_first_space) {
    PlimTokenizer *t = open_kind("llama2");
    PlimError error;
    TokenList list = {0};
    cr_assert_eq(tokenizer_encode(t, "the earth", 9, TOKENS_PLAIN, &list, &error), PLIM_OK);
    char out[256];
    TokenStream at_start = {.tokenizer = t}, after = {.tokenizer = t, .after_text = true};
    cr_assert_leq(tokenizer_decode_size(t), sizeof out);
    cr_assert_neq(tokenizer_decode(&at_start, list.id[0], out), 0);
    cr_assert_eq(out[0], 't');
    cr_assert_neq(tokenizer_decode(&after, list.id[0], out), 0);
    cr_assert_eq(out[0], ' ');
    free(list.id);
    tokenizer_release(t);
}

Test(tokenizer, knows_ends) {
    PlimTokenizer *t = open_kind("llama3");
    PlimError error;
    TokenList list = {0};
    const char *text = "<|eot_id|><|begin_of_text|>a";
    cr_assert_eq(tokenizer_encode(t, text, strlen(text), TOKENS_PLAIN, &list, &error), PLIM_OK);
    cr_assert_eq(list.count, 3);
    cr_assert(tokenizer_is_end(t, list.id[0]));
    cr_assert_not(tokenizer_is_end(t, list.id[1]));
    cr_assert_not(tokenizer_is_end(t, list.id[2]));
    cr_assert_not(tokenizer_is_end(t, -1));
    cr_assert_not(tokenizer_is_end(t, tokenizer_size(t)));
    free(list.id);
    tokenizer_release(t);
}

// Bytes that are no UTF-8 come back as they were where the vocabulary has all bytes.
Test(tokenizer, any_bytes_survive) {
    static const char *const kind[] = {"gpt2", "llama3", "llama2"};
    for (size_t k = 0; k < 3; k++) {
        PlimTokenizer *t = open_kind(kind[k]);
        PlimError error;
        uint32_t random = 7;
        for (int round = 0; round < 200; round++) {
            char text[64];
            for (size_t i = 0; i < sizeof text; i++)
                text[i] = (char)((random = random * 1664525 + 1013904223) >> 24);
            TokenList list = {0};
            size_t bytes;
            cr_assert_eq(tokenizer_encode(t, text, sizeof text, TOKENS_PLAIN, &list, &error),
                         PLIM_OK);
            char *back = decode(t, list.id, list.count, &bytes);
            cr_assert_eq(bytes, sizeof text, "%s", kind[k]);
            cr_assert_arr_eq(back, text, sizeof text);
            free(back);
            free(list.id);
        }
        tokenizer_release(t);
    }
}

// A file encoded in pieces has the ids of the text as a whole.
Test(tokenizer, files) {
    static const char *const kind[] = {"gpt2", "unigram_bytes"};
    const size_t size = 5 << 20;
    char *text = malloc(size), path[TEMPORARY_MAX], out[TEMPORARY_MAX];
    static const char *const word[] = {"the ", "earth", "\n\n", " 12", "  ", "heaven, ", "it's\n"};
    uint32_t random = 1;
    for (size_t at = 0; at < size;) {
        const char *w = word[((random = random * 1664525 + 1013904223) >> 16) % 7];
        const size_t take = strlen(w) < size - at ? strlen(w) : size - at;
        memcpy(text + at, w, take);
        at += take;
    }
    temporary_path(path, "plim_tokens");
    temporary_path(out, "plim_ids");
    FILE *f = fopen(path, "wb");
    fwrite(text, 1, size, f);
    fclose(f);
    for (size_t k = 0; k < 2; k++) {
        PlimTokenizer *t = open_kind(kind[k]);
        PlimError error;
        TokenList whole = {0};
        uint64_t count;
        char *ids;
        size_t bytes;
        const int fd = open(out, O_CREAT | O_TRUNC | O_WRONLY, 0600);
        cr_assert_eq(tokenizer_encode_file(t, path, fd, &count, &error), PLIM_OK, "%s", error.text);
        close(fd);
        cr_assert_eq(tokenizer_encode(t, text, size, TOKENS_PLAIN, &whole, &error), PLIM_OK);
        cr_assert_eq(count, whole.count);
        cr_assert_eq(file_read_whole(out, 1 << 30, &ids, &bytes, &error), PLIM_OK);
        cr_assert_eq(bytes, count * sizeof(int32_t));
        cr_assert_eq(memcmp(ids, whole.id, bytes), 0);
        free(ids);
        free(whole.id);
        tokenizer_release(t);
    }
    unlink(path);
    unlink(out);
    free(text);
}

Test(tokenizer, refuses_what_it_does_not_know) {
    static const struct {
        const char *says, *json;
    } bad[] = {
        {"no JSON object", "{\"model\":"},
        {"no decoder", "{\"model\":{}}"},
        {"decoder WordPiece is not supported", "{\"decoder\":{\"type\":\"WordPiece\"}}"},
        {"no model", "{\"decoder\":{\"type\":\"ByteLevel\"}}"},
        {"model WordPiece is not supported",
         "{\"decoder\":{\"type\":\"ByteLevel\"},\"model\":{\"type\":\"WordPiece\",\"vocab\":{}}}"},
        {"normalizer NFKC is not supported", "{\"normalizer\":{\"type\":\"NFKC\"}}"},
        {"normalizer Precompiled is not supported",
         "{\"normalizer\":{\"type\":\"Sequence\",\"normalizers\":[{\"type\":\"Precompiled\"}]}}"},
        {"pre_tokenizer Punctuation is not supported",
         "{\"pre_tokenizer\":{\"type\":\"Punctuation\"}}"},
        {"pattern 'a+' is not supported", "{\"pre_tokenizer\":{\"type\":\"Split\",\"pattern\":{"
                                          "\"Regex\":\"a+\"},\"behavior\":\"Isolated\"}}"},
        {"id 9999999 is out of range",
         "{\"decoder\":{\"type\":\"Fuse\"},\"model\":{\"vocab\":{\"a\":"
         "9999999},\"merges\":[]}}"},
        {"two pieces have id 0", "{\"decoder\":{\"type\":\"Fuse\"},\"model\":{\"vocab\":{\"a\":0,"
                                 "\"b\":0},\"merges\":[]}}"},
        {"merge 0 is of pieces that the vocab does not have",
         "{\"decoder\":{\"type\":\"Fuse\"},\"model\":{\"vocab\":{\"a\":0,\"b\":1},\"merges\":[\"a "
         "b\"]}}"},
        {"merge 0 is no pair", "{\"decoder\":{\"type\":\"Fuse\"},\"model\":{\"vocab\":{\"a\":0},"
                               "\"merges\":[\"a a a\"]}}"},
        {"unk_id is no piece", "{\"decoder\":{\"type\":\"Fuse\"},\"model\":{\"type\":\"Unigram\","
                               "\"vocab\":[[\"a\",-1]],\"unk_id\":1}}"},
        {"piece 0 is no pair", "{\"decoder\":{\"type\":\"Fuse\"},\"model\":{\"type\":\"Unigram\","
                               "\"vocab\":[[\"a\"]],\"unk_id\":0}}"},
        {"has the id of another piece",
         "{\"decoder\":{\"type\":\"Fuse\"},\"model\":{\"vocab\":{\"a\":0},\"merges\":[]},\"added_"
         "tokens\":[{\"id\":0,\"content\":\"b\"}]}"},
        {"single_word",
         "{\"decoder\":{\"type\":\"Fuse\"},\"model\":{\"vocab\":{\"a\":0},\"merges\":[]"
         "},\"added_tokens\":[{\"id\":1,\"content\":\"b\",\"single_word\":true}]}"},
    };
    char path[TEMPORARY_MAX];
    temporary_path(path, "plim_tokenizer");
    for (size_t i = 0; i < sizeof bad / sizeof bad[0]; i++) {
        FILE *f = fopen(path, "w");
        fputs(bad[i].json, f);
        fclose(f);
        PlimTokenizer *t;
        PlimError error;
        cr_assert_eq(tokenizer_open(path, &t, &error), PLIM_BAD_INPUT, "%s", bad[i].says);
        cr_assert_not_null(strstr(error.text, bad[i].says), "%s: %s", bad[i].says, error.text);
        cr_assert_not_null(strstr(error.text, path));
    }
    unlink(path);
    PlimTokenizer *t;
    PlimError error;
    cr_assert_eq(tokenizer_open("/nowhere.json", &t, &error), PLIM_IO);
}
