// Training reads its data in any order, so a text is made into tokens once, when the run starts,
// and they go to a file: 4 bytes a token, about as many as the text has. Resident memory stays what
// the tokenizer needs. TMPDIR says where, as usual.
#include "runtime/text_tokens.h"

#include "runtime/error.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

// A new file without a name, or -1.
static int open_nameless(void) {
    const char *folder = getenv("TMPDIR");
    char path[4096];
    if (snprintf(path, sizeof path, "%s/plim-tokens-XXXXXX", folder && *folder ? folder : "/tmp") >=
        (int)sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    const int fd = mkostemp(path, O_CLOEXEC);
    if (fd >= 0)
        // Without a name it is gone when the run ends, however it ends.
        unlink(path);
    return fd;
}

// Bytes that are read as tokens. A file that holds ids already stays as it is.
static bool is_text(const DataFile *f) {
    return f->tokens && safetensors_at(f->tensors, 0)->type == ELEMENT_U8;
}

PlimStatus text_tokens_replace(TextTokens *t, DataFile *f, PlimError *error) {
    if (strcmp(t->name, "bytes") == 0 || !is_text(f))
        return PLIM_OK;
    PlimStatus status = PLIM_OK;
    // One tokenizer serves all files; it is opened when the first text comes.
    if (!t->tokenizer)
        status = tokenizer_open_named(t->name, &t->tokenizer, error);
    if (status != PLIM_OK)
        return status;
    const int fd = open_nameless();
    if (fd < 0)
        return error_set(error, PLIM_IO, "can't make a temporary file for the tokens of %s: %s",
                         f->path, strerror(errno));
    uint64_t count;
    SafeFile *tokens = NULL;
    status = tokenizer_encode_file(t->tokenizer, f->path, fd, &count, error);
    const SafeTensor tensor = {.name = "",
                               .type = ELEMENT_I32,
                               .rank = 1,
                               .dim = {(int64_t)count},
                               .bytes = count * sizeof(int32_t)};
    if (status == PLIM_OK && count == 0)
        status = error_set(error, PLIM_BAD_INPUT, "%s holds no tokens", f->path);
    if (status == PLIM_OK)
        status = safetensors_wrap(f->path, fd, 0, &tensor, &tokens, error);
    if (status != PLIM_OK) {
        close(fd);
        return status;
    }
    // The feed reads a tensor of tokens from now on and never learns that there was a text.
    safetensors_close(f->tensors);
    f->tensors = tokens;
    return PLIM_OK;
}

void text_tokens_release(TextTokens *t) {
    tokenizer_release(t->tokenizer);
    t->tokenizer = NULL;
}
