// Scores a text with a model compiled as a library: the mean cross entropy of its bytes.
//
//   plimc models/gpt2.plim --config tiny --entry eval --emit lib -o libgpt2.a
//   cc -O2 score.c libgpt2.a -lm -lpthread -ldl -o score
//   ./score model.safetensors TEXT_FILE
#include "gpt2.h"

#include <stdio.h>
#include <stdlib.h>

// The shape of `text` in entry eval, as gpt2.h says.
enum { ROWS = 16, COLUMNS = 129 };

static int fail(const PlimError *error) {
    fprintf(stderr, "score: %s\n", error->text);
    return 1;
}

// Rows of the file's bytes; each begins with the last byte of the one before. False at the end.
static int next_batch(FILE *file, int32_t *text) {
    for (int row = 0; row < ROWS; row++) {
        for (int column = 0; column < COLUMNS; column++) {
            const int byte = fgetc(file);
            if (byte == EOF)
                return 0;
            text[row * COLUMNS + column] = byte;
        }
        ungetc(text[row * COLUMNS + COLUMNS - 1], file);
    }
    return 1;
}

static int score(Gpt2 *model, FILE *file) {
    int32_t text[ROWS * COLUMNS];
    double sum = 0;
    long batches = 0;
    while (next_batch(file, text)) {
        float loss;
        PlimError error;
        if (gpt2_eval(model, text, &loss, &error) != PLIM_OK)
            return fail(&error);
        sum += (double)loss;
        batches++;
    }
    if (batches == 0)
        printf("the text is shorter than one batch\n");
    else
        printf("%.6f\n", sum / (double)batches);
    return 0;
}

int main(int argc, char **argv) {
    PlimError error;
    Gpt2 *model = NULL;
    if (argc != 3) {
        fprintf(stderr, "usage: score WEIGHTS TEXT_FILE\n");
        return 2;
    }
    FILE *file = fopen(argv[2], "rb");
    void *arena = aligned_alloc(GPT2_ARENA_ALIGNMENT, GPT2_ARENA_BYTES);
    if (!file || !arena) {
        fprintf(stderr, "score: %s\n", file ? "out of memory" : "the text can't be opened");
        return 1;
    }
    int status = 0;
    if (gpt2_open(arena, GPT2_ARENA_BYTES, 0, &model, &error) != PLIM_OK ||
        gpt2_init(model, 0, &error) != PLIM_OK || gpt2_load(model, argv[1], &error) != PLIM_OK)
        status = fail(&error);
    else
        status = score(model, file);
    gpt2_close(model);
    free(arena);
    fclose(file);
    return status;
}
