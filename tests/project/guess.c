// What a model with first weights thinks of a text: nothing, so each of 256 bytes costs about ln 256.
#include "tiny_gpt.h"

#include <stdio.h>
#include <stdlib.h>

enum { ROWS = 2, COLUMNS = 17 };

static int fail(const PlimError *error) {
    fprintf(stderr, "guess: %s\n", error->text);
    return 1;
}

int main(void) {
    PlimError error = {"out of memory"};
    Tiny_gpt *model = NULL;
    void *arena = aligned_alloc(TINY_GPT_ARENA_ALIGNMENT, TINY_GPT_ARENA_BYTES);
    if (!arena || tiny_gpt_open(arena, TINY_GPT_ARENA_BYTES, 2, &model, &error) != PLIM_OK ||
        tiny_gpt_init(model, 1, &error) != PLIM_OK)
        return fail(&error);
    int32_t text[ROWS * COLUMNS];
    for (int i = 0; i < ROWS * COLUMNS; i++)
        text[i] = "By the mark, twain! "[i % 20];
    float loss = 0;
    if (tiny_gpt_eval(model, text, &loss, &error) != PLIM_OK)
        return fail(&error);
    printf("%.4f\n", (double)loss);
    tiny_gpt_close(model);
    free(arena);
    return loss > 5.4f && loss < 5.7f ? 0 : 2;
}
