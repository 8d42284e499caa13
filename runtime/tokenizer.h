// Text <-> token ids: bytes, or a tokenizer.json as published with a model.
//
// Understood: BPE over bytes (with the splits of GPT-2, Llama 3 and Qwen 2), BPE and Unigram over
// characters with Metaspace and byte fallback, added tokens, templates. What a file asks for beyond
// that is refused by name when it is opened, never passed over.
#ifndef PLIM_RUNTIME_TOKENIZER_H
#define PLIM_RUNTIME_TOKENIZER_H

#include "runtime/plim.h"

#include <stdbool.h>
#include <stdint.h>

typedef struct PlimTokenizer PlimTokenizer;

// path: a tokenizer.json, or the word "bytes": ids 0..255 are the bytes themselves. The caller
// releases *out. PLIM_IO where the file can't be read, PLIM_BAD_INPUT where it is broken or asks
// for something unknown.
PlimStatus tokenizer_open(const char *path, PlimTokenizer **out, PlimError *error);
// The same for a name in a plan or on a command line: a relative one is looked up beside the
// executable first, then from the working folder.
PlimStatus tokenizer_open_named(const char *name, PlimTokenizer **out, PlimError *error);
// The same from the text of a tokenizer.json; name is for messages.
PlimStatus tokenizer_parse(const char *name, const char *json, size_t bytes, PlimTokenizer **out,
                           PlimError *error);
void tokenizer_release(PlimTokenizer *t); // NULL is allowed

// All ids are below this.
int32_t tokenizer_size(const PlimTokenizer *t);
// Whether the id says that the text has ended: a special token by one of the usual names
// ("</s>", "<|endoftext|>", "<|eot_id|>", ...).
bool tokenizer_is_end(const PlimTokenizer *t, int32_t id);

typedef enum {
    TOKENS_PLAIN,   // the text's own
    TOKENS_TEMPLATE // with what the file's template puts around a text, such as "<s>"
} TokenizerFrame;

// A list that grows; zeroed at first, freed by the caller with free(id).
typedef struct {
    int32_t *id;
    size_t count, capacity;
} TokenList;

// Adds the text's ids to out. Added tokens such as "<|endoftext|>" are found in the text. Bytes
// that are no UTF-8 are kept as far as the vocabulary has a way to say them. May be called from
// several threads.
PlimStatus tokenizer_encode(const PlimTokenizer *t, const char *text, size_t bytes,
                            TokenizerFrame frame, TokenList *out, PlimError *error);
// Reads all of the text file in and writes its ids to the file out, from where each stands, as
// 32-bit integers in the machine's order; *count is how many. Memory: a few times 4 MiB where the
// tokenizer splits by a pattern, else a few times the file.
PlimStatus tokenizer_encode_file(const PlimTokenizer *t, const char *path, int out, uint64_t *count,
                                 PlimError *error);

// Ids back to text, as they come: bytes that may yet become a character are held back.
typedef struct {
    const PlimTokenizer *tokenizer;
    bool after_text; // ids go on from a text: a leading space is one
    bool begun;
    char held[4];
    uint32_t held_bytes;
} TokenStream;

// Bytes that one call of tokenizer_decode may write.
size_t tokenizer_decode_size(const PlimTokenizer *t);
// Writes what can be said after this id to out, which has room for tokenizer_decode_size bytes, and
// returns how many bytes that is. Special tokens and unknown ids say nothing.
size_t tokenizer_decode(TokenStream *s, int32_t id, char *out);
// What was held back, at the end.
size_t tokenizer_decode_end(TokenStream *s, char *out);

#endif
