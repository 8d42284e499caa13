// Patterns of named axes: "b s (3 h e) -> 3 b h s e". Names and literal sizes by blanks, ( ) groups
// what is one axis of the tensor, `...` stands for all other axes.
//
// Used by arrange, einsum and the reductions, which give the axes their meaning. A pattern holds at
// most PATTERN_AXES_MAX axes, so that everything here works in fixed memory; names are interned and
// compare by ==.
#include "frontend/builtins.h"

#include <string.h>

// A name can't begin with a dot, so one character decides.
bool pattern_is_rest(const PatternAxis *axis) {
    return axis->name && axis->name[0] == '.';
}

bool pattern_sides(Elab *e, Loc loc, const char *text, size_t *left_bytes, const char **right) {
    const char *arrow = strstr(text, "->");
    if (!arrow || strstr(arrow + 2, "->")) {
        elab_fail(e, loc, CODE_PATTERN, NULL, "the pattern \"%.60s\" needs one ->", text);
        return false;
    }
    *left_bytes = (size_t)(arrow - text);
    *right = arrow + 2;
    return true;
}

static bool is_word_char(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || c == '_' || (c >= '0' && c <= '9');
}

// A word of letters or digits, or `...`. False where it is neither, or too long.
static bool read_axis(Elab *e, const char *word, size_t length, PatternAxis *out) {
    if (length == 3 && memcmp(word, "...", 3) == 0) {
        out->name = intern(e->names, "...");
        return true;
    }
    for (size_t i = 0; i < length; i++)
        if (!is_word_char(word[i]))
            return false;
    if (word[0] < '0' || word[0] > '9') {
        out->name = intern_span(e->names, word, length);
        return length <= PATTERN_NAME_MAX;
    }
    // At most ten digits, so the number fits 64 bits.
    for (size_t i = 0; i < length; i++) {
        if (word[i] < '0' || word[i] > '9' || i > 9)
            return false;
        out->size = out->size * 10 + (word[i] - '0');
    }
    return out->size > 0;
}

// A name stands once on a side.
static bool is_doubled(const Pattern *p) {
    const PatternAxis *last = &p->axis[p->count - 1];
    for (int i = 0; i + 1 < p->count; i++)
        if (last->name && p->axis[i].name == last->name)
            return true;
    return false;
}

// One pass over the words. Axes between ( and ) share a group number; each plain axis has its own,
// so that group_count is the number of axes the tensor has.
bool pattern_parse(Elab *e, Loc loc, const char *text, size_t bytes, Pattern *out) {
    *out = (Pattern){0};
    bool open = false;
    const char *wrong = NULL;
    // Each round takes a blank, a bracket or a word. open: behind a ( that is not closed.
    for (size_t i = 0; i < bytes && !wrong;) {
        const char c = text[i];
        if (c == ' ') {
            i++;
        } else if (c == '(' || c == ')') {
            if (open == (c == '('))
                wrong = "( and ) don't match in";
            open = c == '(';
            out->group_count += c == ')';
            i++;
        } else {
            size_t length = 0;
            while (i + length < bytes && !strchr(" ()", text[i + length]))
                length++;
            if (out->count == PATTERN_AXES_MAX) {
                wrong = "too many axes in";
                break;
            }
            PatternAxis *axis = &out->axis[out->count++];
            axis->group = out->group_count;
            if (!read_axis(e, text + i, length, axis))
                wrong = "an axis is a name, a size or ... in";
            else if (is_doubled(out))
                wrong = "an axis stands twice in";
            else if (open && pattern_is_rest(axis))
                wrong = "... can't stand in ( ) in";
            // A plain axis is a group of its own; a bracket counts where it closes.
            out->group_count += !open;
            i += length;
        }
    }
    if (open && !wrong)
        wrong = "( and ) don't match in";
    if (wrong)
        elab_fail(e, loc, CODE_PATTERN, NULL, "%s the pattern \"%.*s\"", wrong,
                  (int)(bytes < 60 ? bytes : 60), text);
    return !wrong;
}
