// Text files as token files, by the tokenizer that the plan names.
#ifndef PLIM_RUNTIME_TEXT_TOKENS_H
#define PLIM_RUNTIME_TEXT_TOKENS_H

#include "runtime/data_file.h"
#include "runtime/tokenizer.h"

typedef struct {
    const char *name;         // of the plan: "bytes", or a file
    PlimTokenizer *tokenizer; // opened when the first text comes
} TextTokens;

// Where the file is text and a token is no byte, its tensor becomes i32 [tokens], in a temporary
// file that has no name and goes with it. Other files stay as they are.
PlimStatus text_tokens_replace(TextTokens *t, DataFile *f, PlimError *error);
void text_tokens_release(TextTokens *t);

#endif
