// Flattens a config.json. Objects inside it become paths with dots; of lists only their presence is
// known, since no size is one. The reader is strict JSON: a key that stands twice in one object is
// refused, because two readers would take two values.
#include "tools/config_read.h"

#include "runtime/json_read.h"
#include "tools/tool_io.h"

#include <stdlib.h>
#include <string.h>

enum { P_CONFIG_TEXT = 903 };
// Configs in the wild have some 100 values; label maps a few thousand.
enum { CONFIG_BYTES_MAX = 4 << 20, VALUES_MAX = 65536, KEY_ROOM = 512, TEXT_ROOM = 4096 };

typedef struct {
    Arena *arena;
    Diag *diag;
    const char *path, *text;
    JsonCursor j;
    PublishedConfig *out;
    uint32_t *hash; // of each value's key: most comparisons end there
    int capacity;
} Reader;

// FNV-1a.
static uint32_t hash_text(const char *text) {
    uint32_t hash = 0x811c9dc5u;
    for (; *text; text++)
        hash = (hash ^ (unsigned char)*text) * 0x01000193u;
    return hash;
}

static Loc place(const Reader *r) {
    int line, column;
    json_place(&r->j, r->text, &line, &column);
    return (Loc){.file = r->path, .line = line, .column = column};
}

// Adds a value under a key; its kind and text follow. NULL after a diagnostic.
static PublishedValue *add_value(Reader *r, const char *key) {
    PublishedConfig *c = r->out;
    if (c->count == VALUES_MAX) {
        diag_error(r->diag, place(r), P_CONFIG_TEXT, "more than %d values", (int)VALUES_MAX);
        return NULL;
    }
    if (c->count == r->capacity) {
        const int capacity = r->capacity ? r->capacity * 2 : 64;
        c->value =
            arena_grow(r->arena, c->value, (size_t)c->count, (size_t)capacity, sizeof *c->value);
        r->hash =
            arena_grow(r->arena, r->hash, (size_t)c->count, (size_t)capacity, sizeof *r->hash);
        r->capacity = capacity;
    }
    r->hash[c->count] = hash_text(key);
    PublishedValue *v = &c->value[c->count++];
    json_peek(&r->j); // Past the space before the value: that is where it stands
    *v = (PublishedValue){.key = arena_text(r->arena, key), .loc = place(r)};
    return v;
}

static bool read_value(Reader *r, const char *key);

// The members of an object under prefix. Keys of one object are unique.
static bool read_members(Reader *r, const char *prefix) {
    const int first = r->out->count;
    JsonList members = {0};
    char name[KEY_ROOM];
    while (json_member(&r->j, &members, name, sizeof name)) {
        const char *key = arena_format(r->arena, "%s%s%s", prefix, prefix[0] ? "." : "", name);
        const uint32_t hash = hash_text(key);
        for (int i = first; i < r->out->count; i++)
            if (r->hash[i] == hash && strcmp(r->out->value[i].key, key) == 0)
                return diag_error(r->diag, place(r), P_CONFIG_TEXT, "%s stands here twice", key);
        if (!read_value(r, key))
            return false;
    }
    return true;
}

// A number or bool as it is written.
static void take_word(Reader *r, PublishedValue *v) {
    const char *start = r->j.at;
    bool truth;
    double number;
    if (v->kind == PUBLISHED_BOOL)
        json_bool(&r->j, &truth);
    else
        json_number(&r->j, &number);
    v->text = arena_text_span(r->arena, start, (size_t)(r->j.at - start));
}

static bool read_value(Reader *r, const char *key) {
    char text[TEXT_ROOM];
    PublishedValue *v = add_value(r, key);
    if (!v)
        return false;
    switch (json_peek(&r->j)) {
    case JSON_OBJECT:
        v->kind = PUBLISHED_LIST;
        return read_members(r, key);
    case JSON_STRING:
        v->kind = PUBLISHED_TEXT;
        if (json_string(&r->j, text, sizeof text))
            v->text = arena_text(r->arena, text);
        return true;
    case JSON_NUMBER:
        v->kind = PUBLISHED_NUMBER;
        take_word(r, v);
        return true;
    case JSON_BOOL:
        v->kind = PUBLISHED_BOOL;
        take_word(r, v);
        return true;
    case JSON_NULL:
        v->kind = PUBLISHED_NULL;
        json_accept_null(&r->j);
        return true;
    case JSON_ARRAY:
    case JSON_WRONG: // Fails here, and the caller says where
        v->kind = PUBLISHED_LIST;
        json_skip(&r->j);
        return true;
    }
    return true;
}

bool config_read(Arena *a, Diag *d, const char *path, PublishedConfig *out) {
    size_t bytes = 0;
    char *read = tool_read("plimc", path, CONFIG_BYTES_MAX, &bytes);
    if (!read)
        return false;
    const char *text = arena_text_span(a, read, bytes);
    free(read);
    Reader r = {.arena = a,
                .diag = d,
                .path = path,
                .text = text,
                .j = {.at = text, .end = text + bytes},
                .out = out};
    diag_add_source(d, path, text, bytes);
    if (json_peek(&r.j) != JSON_OBJECT)
        return diag_error(d, place(&r), P_CONFIG_TEXT, "a config.json is a JSON object");
    if (!read_members(&r, ""))
        return false;
    if (!json_at_end(&r.j))
        return diag_error(d, place(&r), P_CONFIG_TEXT, "this is no valid JSON");
    return true;
}

void config_print_used(const PublishedConfig *c, const char *path, FILE *out) {
    fprintf(out, "plimc: %s:", path);
    const char *between = " ";
    for (int i = 0; i < c->count; i++)
        if (c->value[i].size) {
            fprintf(out, "%s%s = %s", between, c->value[i].size, c->value[i].text);
            between = ", ";
        }
    fputc('\n', out);
}
