// Plan to text, by the field tables. docs/plan-text.md has the grammar.
//
// A field prints as its lead and its value; marks (":", "+", "..") bind to what stands before them,
// words have a space on both sides. A list of lines stands in braces, one element a line, two
// columns further in. Everything plan_encode writes is in the text, so printing loses nothing but
// the digest, which follows.
#include "runtime/plan_fields.h"

#include <ctype.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>

typedef struct {
    FILE *out;
    bool space; // a space is due before the next value
} Printer;

// Before every value that is a word of its own; what must bind clears space first.
static void separate(Printer *pr) {
    if (pr->space)
        fputc(' ', pr->out);
    pr->space = true;
}

// Escapes are those parse_escape reads. Bytes from 0x80 on are UTF-8 and stand for themselves.
static void print_quoted(Printer *pr, const char *text) {
    separate(pr);
    fputc('"', pr->out);
    for (const char *c = text; *c; c++) {
        if (*c == '"' || *c == '\\')
            fprintf(pr->out, "\\%c", *c);
        else if (*c == '\n')
            fputs("\\n", pr->out);
        else if ((unsigned char)*c < 0x20 || *c == 0x7F)
            fprintf(pr->out, "\\x%02X", (unsigned)(unsigned char)*c);
        else
            fputc(*c, pr->out);
    }
    fputc('"', pr->out);
}

// What the parser takes for a name without quotes: it begins with a letter or _.
static bool looks_like_word(const char *text) {
    if (!isalpha((unsigned char)*text) && *text != '_')
        return false;
    for (; *text; text++)
        if (!isalnum((unsigned char)*text) && !strchr("_.-", *text))
            return false;
    return true;
}

// Quoted only where it must be, for the reader's sake.
static void print_name(Printer *pr, const char *text) {
    if (!looks_like_word(text)) {
        print_quoted(pr, text);
        return;
    }
    separate(pr);
    fputs(text, pr->out);
}

// Lines after bars: text that ends in a newline has a bare bar last.
static void print_block(Printer *pr, const char *text, int indent) {
    for (;;) {
        const size_t length = strcspn(text, "\n");
        fprintf(pr->out, "\n%*s|%s%.*s", indent + 2, "", length ? " " : "", (int)length, text);
        if (!text[length])
            return;
        text += length + 1;
    }
}

// The fewest digits that read back as the same number.
// No digits are lost: with 17 any double reads back.
static void print_float(Printer *pr, double value) {
    char text[40];
    for (int digits = 6; digits <= 17; digits++) {
        snprintf(text, sizeof text, "%.*g", digits, value);
        const double back = strtod(text, NULL);
        if (memcmp(&back, &value, sizeof value) == 0)
            break;
    }
    separate(pr);
    fputs(text, pr->out);
}

// UINT32_MAX is the end of a persistent buffer's life, and reads better as a word.
static void print_u32(Printer *pr, uint32_t value) {
    separate(pr);
    if (value == UINT32_MAX)
        fputs("max", pr->out);
    else
        fprintf(pr->out, "%" PRIu32, value);
}

// first: int64_t of the struct, untyped.
static void print_numbers(Printer *pr, const char *first, uint32_t count) {
    separate(pr);
    fputc('[', pr->out);
    for (uint32_t i = 0; i < count; i++)
        fprintf(pr->out, "%s%" PRId64, i ? ", " : "", (int64_t)field_u64(first, (size_t)i * 8));
    fputc(']', pr->out);
}

// "[3, 5]", with the kind's letter where it has one.
// As print_numbers, for indices.
static void print_refs(Printer *pr, const Field *f, const char *first, uint32_t count) {
    separate(pr);
    fputc('[', pr->out);
    for (uint32_t i = 0; i < count; i++)
        fprintf(pr->out, "%s%s%" PRIu32, i ? ", " : "", field_ref_letter(f->ref),
                field_u32(first, (size_t)i * 4));
    fputc(']', pr->out);
}

// "f32[4, 8]"; rank 0 is "f32[]".
static void print_shape(Printer *pr, const Field *f, const void *object) {
    separate(pr);
    fputs(plan_dtype_name((PlanDType)field_u32(object, f->offset)), pr->out);
    // "f32[4, 8]": the dims bind to the dtype.
    pr->space = false;
    print_numbers(pr, (const char *)object + f->dim_offset, field_u32(object, f->count_offset));
}

static void print_fields(Printer *pr, const FieldStruct *s, const void *object, int indent);

// Structs in parentheses, with commas: an instruction's operands.
static void print_inline(Printer *pr, const Field *f, const void *object) {
    const uint32_t count = field_u32(object, f->count_offset);
    const char *list = field_list(object, f);
    separate(pr);
    fputc('(', pr->out);
    for (uint32_t i = 0; i < count; i++) {
        pr->space = false;
        // A comma instead of the space that separate would give.
        if (i)
            fputs(", ", pr->out);
        print_fields(pr, f->of, list + (size_t)i * f->of->size, 0);
    }
    fputc(')', pr->out);
    pr->space = true;
}

// "word label:" and the fields, a line an element, numbered from 0.
static void print_lines(Printer *pr, const Field *f, const void *object, int indent) {
    const FieldStruct *s = f->of;
    const uint32_t count = field_u32(object, f->count_offset);
    const char *list = field_list(object, f);
    for (uint32_t i = 0; i < count; i++) {
        fprintf(pr->out, "%*s%s", indent, "", s->word);
        // An instruction's line begins with its number, which needs no space after the indent.
        pr->space = *s->word != 0;
        if (s->label) {
            separate(pr);
            fprintf(pr->out, "%s%" PRIu32 "%s", s->label, i, *s->label ? "" : ":");
        }
        print_fields(pr, s, list + (size_t)i * s->size, indent);
        fputc('\n', pr->out);
    }
}

static void print_value(Printer *pr, const Field *f, const void *object, int indent) {
    switch (f->type) {
    case FIELD_U32:
        print_u32(pr, field_u32(object, f->offset));
        return;
    case FIELD_U64:
        separate(pr);
        fprintf(pr->out, "%" PRIu64, field_u64(object, f->offset));
        return;
    case FIELD_HEX:
        separate(pr);
        fprintf(pr->out, "0x%016" PRIx64, field_u64(object, f->offset));
        return;
    case FIELD_I64:
        separate(pr);
        fprintf(pr->out, "%" PRId64, (int64_t)field_u64(object, f->offset));
        return;
    case FIELD_F64: {
        double value;
        memcpy(&value, (const char *)object + f->offset, sizeof value);
        print_float(pr, value);
        return;
    }
    // The value is in range: decode, parse and the compiler see to that.
    case FIELD_ENUM:
        separate(pr);
        fputs(f->names[field_u32(object, f->offset)], pr->out);
        return;
    case FIELD_REF:
        separate(pr);
        fprintf(pr->out, "%s%" PRIu32, field_ref_letter(f->ref), field_ref(object, f));
        return;
    case FIELD_NAME:
        print_name(pr, field_string(object, f));
        return;
    case FIELD_STRING:
        print_quoted(pr, field_string(object, f));
        return;
    case FIELD_BLOCK:
        print_block(pr, field_string(object, f), indent);
        return;
    case FIELD_SHAPE:
        print_shape(pr, f, object);
        return;
    case FIELD_FIXED_I64:
        print_numbers(pr, (const char *)object + f->offset, f->length);
        return;
    case FIELD_LIST_I64:
        print_numbers(pr, field_list(object, f), field_u32(object, f->count_offset));
        return;
    case FIELD_LIST_REF:
        print_refs(pr, f, field_list(object, f), field_u32(object, f->count_offset));
        return;
    case FIELD_INLINE:
        print_inline(pr, f, object);
        return;
    case FIELD_LINES:
        print_lines(pr, f, object, indent);
        return;
    }
}

// Words have spaces around them; a mark binds to what stands before it, and to a number after it.
static void print_lead(Printer *pr, const Field *f) {
    const char *lead = f->lead;
    if (!*lead)
        return;
    if (isalpha((unsigned char)*lead)) {
        separate(pr);
        fputs(lead, pr->out);
        return;
    }
    fputs(lead, pr->out);
    // +0:4 has no spaces inside; a string has one before it.
    pr->space = f->type == FIELD_STRING;
}

// An element's fields; its lists of lines, which come last, stand in one pair of braces.
static void print_fields(Printer *pr, const FieldStruct *s, const void *object, int indent) {
    bool open = false;
    for (uint32_t i = 0; i < s->count; i++) {
        const Field *f = &s->field[i];
        // The braces stand even where every list is empty: the parser expects them.
        if (f->type == FIELD_LINES && !open) {
            fputs(" {\n", pr->out);
            open = true;
        }
        // What the parser fills in by itself (set_omitted).
        if (field_is_omitted(object, f))
            continue;
        print_lead(pr, f);
        print_value(pr, f, object, open ? indent + 2 : indent);
    }
    if (open)
        fprintf(pr->out, "%*s}", indent, "");
}

void plan_print(const Plan *p, FILE *out) {
    Printer pr = {.out = out};
    // Unlike print_fields, a line a field and no braces.
    const FieldStruct *s = plan_fields();
    fprintf(out, "plan %d\n", PLAN_VERSION);
    for (uint32_t i = 0; i < s->count; i++) {
        const Field *f = &s->field[i];
        if (field_is_omitted(p, f))
            continue;
        pr.space = false;
        print_lead(&pr, f);
        print_value(&pr, f, p, 0);
        // Lists of lines end their own lines.
        if (f->type != FIELD_LINES)
            fputc('\n', out);
    }
}
