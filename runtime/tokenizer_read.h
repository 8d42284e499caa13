// Reading a tokenizer.json: what its two halves share.
#ifndef PLIM_RUNTIME_TOKENIZER_READ_H
#define PLIM_RUNTIME_TOKENIZER_READ_H

#include "runtime/json_read.h"
#include "runtime/tokenizer_parts.h"

typedef struct {
    PlimTokenizer *t;
    const char *path;
    PlimError *error; // set where a function below is false
} TokenizerReader;

// False, with the file's name and the sentence in error.
bool tokenizer_wrong(TokenizerReader *r, const char *format, ...)
    __attribute__((format(printf, 2, 3)));

// Members of an object; null counts as absent.
bool object_has(JsonCursor object, const char *name, JsonCursor *value);
bool object_bool(JsonCursor object, const char *name, bool fallback);
// False where it is absent, no string or too long.
bool object_text(JsonCursor object, const char *name, char *out, size_t size);

// Each takes the value of its member of the file.
bool read_normalizer(TokenizerReader *r, JsonCursor object);
bool read_word_steps(TokenizerReader *r, JsonCursor object);
bool read_decoder(TokenizerReader *r, JsonCursor object);
bool read_template(TokenizerReader *r, JsonCursor object);

#endif
