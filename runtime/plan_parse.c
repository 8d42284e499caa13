// Text to plan, by the field tables. docs/plan-text.md has the grammar.
//
// Fields come in the table's order, so the parser always knows what it reads: there are no tokens,
// only a cursor that is asked for a word, a mark, a number or a string. Spaces, line ends and #
// comments are free everywhere but inside the lines of a block. Names of things may be used before
// their line; they are checked at the end, with the place that used them. Messages begin with
// line:column.
#include "runtime/plan_fields.h"

#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <math.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>

// An index to check when everything has been read.
typedef struct {
    FieldRef ref; // what the index counts
    uint32_t index;
    const char *at; // in the text, for the message
} RefSite;

typedef struct {
    const char *first, *at, *end; // the text, and where the parser stands in it
    PlanMemory *pm;
    PlimError *error;
    PlimStatus status;
    const Plan *plan;           // being filled: its lists are there once they are read whole
    const PlanSegment *segment; // being read, for its events
    RefSite *site;              // malloc'ed; every index read so far
    size_t site_count, site_capacity;
} Parser;

// Sets the error once, with the line and column of at; gives false.
__attribute__((format(printf, 3, 4))) static bool fail(Parser *ps, const char *at,
                                                       const char *format, ...) {
    if (ps->status != PLIM_OK)
        return false;
    // Counted only here: most texts have no error. Columns are bytes.
    size_t line = 1, column = 1;
    for (const char *c = ps->first; c < at; c++) {
        line += *c == '\n';
        column = *c == '\n' ? 1 : column + 1;
    }
    char text[384];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    snprintf(ps->error->text, sizeof ps->error->text, "%zu:%zu: %s", line, column, text);
    ps->status = PLIM_BAD_INPUT;
    return false;
}

static bool no_memory(Parser *ps) {
    if (ps->status == PLIM_OK) {
        snprintf(ps->error->text, sizeof ps->error->text, "out of memory while reading the plan");
        ps->status = PLIM_NO_MEMORY;
    }
    return false;
}

static void skip_space(Parser *ps) {
    while (ps->at < ps->end) {
        if (*ps->at == '#')
            while (ps->at < ps->end && *ps->at != '\n')
                ps->at++;
        // strchr finds a NUL too, which is no space.
        else if (strchr(" \t\r\n", *ps->at) && *ps->at)
            ps->at++;
        else
            return;
    }
}

// The next byte that is no space; 0 at the end of the text.
static char peek(Parser *ps) {
    skip_space(ps);
    return ps->at < ps->end ? *ps->at : 0;
}

// Names such as h.0.ln_1 and x86-64 are one word.
static bool is_word_character(char c) {
    return isalnum((unsigned char)c) || c == '_' || c == '.' || c == '-';
}

// Bytes of the word at the cursor, which does not move.
static size_t word_length(const Parser *ps) {
    size_t n = 0;
    while (ps->at + n < ps->end && is_word_character(ps->at[n]))
        n++;
    return n;
}

// Moves past text, a whole word or a mark, where it comes next.
static bool accept(Parser *ps, const char *text) {
    skip_space(ps);
    const size_t size = strlen(text);
    if (size > (size_t)(ps->end - ps->at) || memcmp(ps->at, text, size) != 0)
        return false;
    // A word ends where no letter or digit follows: "max" in "max..7".
    const char after = size < (size_t)(ps->end - ps->at) ? ps->at[size] : 0;
    if (isalpha((unsigned char)*text) && (isalnum((unsigned char)after) || after == '_'))
        return false;
    ps->at += size;
    return true;
}

static bool expect(Parser *ps, const char *text) {
    return accept(ps, text) || fail(ps, ps->at, "expected '%s'", text);
}

// Digits (or 0x and hexadecimal ones) up to limit.
static bool parse_digits(Parser *ps, uint64_t limit, uint64_t *out) {
    skip_space(ps);
    const char *start = ps->at;
    // Signatures are printed in hexadecimal.
    const bool hex = ps->end - start > 2 && start[0] == '0' && start[1] == 'x';
    const uint64_t base = hex ? 16 : 10;
    ps->at += hex ? 2 : 0;
    uint64_t value = 0;
    bool any = false;
    for (; ps->at < ps->end && isxdigit((unsigned char)*ps->at); ps->at++, any = true) {
        const char c = (char)tolower((unsigned char)*ps->at);
        const uint64_t digit = (uint64_t)(isdigit((unsigned char)c) ? c - '0' : c - 'a' + 10);
        // A letter after decimal digits begins the next thing.
        if (digit >= base)
            break;
        // Before the multiplication: value x base + digit stays at or below limit.
        if (value > (limit - digit) / base || digit > limit)
            return fail(ps, start, "this number is above %" PRIu64, limit);
        value = value * base + digit;
    }
    *out = value;
    return any || fail(ps, start, "expected a number");
}

// "max" is UINT32_MAX: the end of a persistent buffer's life.
static bool parse_u32(Parser *ps, uint32_t *out) {
    uint64_t value = UINT32_MAX;
    if (!accept(ps, "max") && !parse_digits(ps, UINT32_MAX, &value))
        return false;
    *out = (uint32_t)value;
    return true;
}

static bool parse_i64(Parser *ps, int64_t *out) {
    const bool minus = accept(ps, "-");
    uint64_t value;
    // There is one more number below zero than above.
    if (!parse_digits(ps, (uint64_t)INT64_MAX + minus, &value))
        return false;
    // Negated unsigned: -INT64_MIN does not fit int64_t.
    *out = (int64_t)(minus ? 0 - value : value);
    return true;
}

// Copied first: strtod wants a NUL behind the number, and the text may have none.
static bool parse_f64(Parser *ps, double *out) {
    char text[64];
    skip_space(ps);
    const char *start = ps->at;
    size_t n = 0;
    while (ps->at < ps->end && n < sizeof text - 1 &&
           (is_word_character(*ps->at) || *ps->at == '+'))
        text[n++] = *ps->at++;
    text[n] = 0;
    char *stop;
    *out = strtod(text, &stop);
    if (n == 0 || *stop || !isfinite(*out))
        return fail(ps, start, "expected a finite number");
    return true;
}

// The byte after a backslash. \x covers 01 to 7F: anything above is UTF-8 and stands for itself.
static bool parse_escape(Parser *ps, char *out) {
    const char *start = ps->at++;
    const char c = ps->at < ps->end ? *ps->at++ : 0;
    if (c == '"' || c == '\\') {
        *out = c;
        return true;
    }
    if (c == 'n') {
        *out = '\n';
        return true;
    }
    if (c == 'x' && ps->end - ps->at >= 2 && isxdigit((unsigned char)ps->at[0]) &&
        isxdigit((unsigned char)ps->at[1])) {
        const char digits[3] = {ps->at[0], ps->at[1], 0};
        *out = (char)strtol(digits, NULL, 16);
        ps->at += 2;
        // No NUL, and nothing above 7F, where char is signed.
        if (*out > 0)
            return true;
    }
    return fail(ps, start, "expected \\\", \\\\, \\n or \\x01 to \\x7F");
}

// "..." on one line. The end is found first, so that an escape can't run past it.
static bool parse_quoted(Parser *ps, const char **out) {
    if (peek(ps) != '"')
        return fail(ps, ps->at, "expected a string");
    const char *start = ps->at++;
    const char *close = ps->at;
    while (close < ps->end && *close != '"' && *close != '\n')
        // An escaped quote does not end the string.
        close += *close == '\\' && close + 1 < ps->end ? 2 : 1;
    if (close >= ps->end || *close != '"')
        return fail(ps, start, "this string has no end");
    // Escapes only shrink.
    char *text = plan_alloc(ps->pm, (size_t)(close - start), 1);
    if (!text)
        return no_memory(ps);
    size_t n = 0;
    while (ps->at < close) {
        if (*ps->at != '\\')
            text[n++] = *ps->at++;
        else if (!parse_escape(ps, &text[n++]))
            return false;
    }
    ps->at = close + 1;
    if (plan_utf8_prefix(text, n) != n)
        // Refused here as the decoder does, so that both forms take the same plans.
        return fail(ps, start, "this string is not UTF-8 text");
    *out = text;
    return true;
}

// A word as it stands, or anything in quotes.
static bool parse_name(Parser *ps, const char **out) {
    const char c = peek(ps);
    if (c == '"')
        return parse_quoted(ps, out);
    if (!isalpha((unsigned char)c) && c != '_')
        return fail(ps, ps->at, "expected a name");
    const size_t size = word_length(ps);
    *out = plan_string_new(ps->pm, ps->at, size);
    ps->at += size;
    return *out || no_memory(ps);
}

// The newline that ends the cursor's line, or the end of the text.
static const char *line_end(const Parser *ps) {
    const char *end = memchr(ps->at, '\n', (size_t)(ps->end - ps->at));
    return end ? end : ps->end;
}

// Moves to the text of the next line of a block.
static bool next_bar(Parser *ps) {
    if (!accept(ps, "|"))
        return false;
    // The one space after the bar is the printer's; more of them are the text's.
    if (ps->at < ps->end && *ps->at == ' ')
        ps->at++;
    return true;
}

// Lines behind bars, joined by newlines. Read twice: for the size, then for the text.
static bool parse_block(Parser *ps, const char **out) {
    const char *start = ps->at;
    size_t size = 0;
    while (next_bar(ps)) {
        // One byte more a line: its newline, and the NUL after the last.
        size += (size_t)(line_end(ps) - ps->at) + 1;
        ps->at = line_end(ps);
    }
    if (size == 0)
        return fail(ps, ps->at, "expected the lines of a block, each after '|'");
    ps->at = start;
    char *text = plan_alloc(ps->pm, size, 1);
    if (!text)
        return no_memory(ps);
    size_t n = 0;
    while (next_bar(ps)) {
        const size_t length = (size_t)(line_end(ps) - ps->at);
        // The byte after the line before, which plan_alloc zeroed.
        if (n)
            text[n - 1] = '\n';
        memcpy(text + n, ps->at, length);
        if (plan_utf8_prefix(text + n, length) != length)
            return fail(ps, ps->at, "this line is not UTF-8 text");
        n += length + 1;
        ps->at += length;
    }
    *out = text;
    return true;
}

// Remembers an index for check_sites; events and streams are known already.
static bool note_ref(Parser *ps, FieldRef ref, uint32_t index, const char *at) {
    if (ps->site_count == ps->site_capacity) {
        const size_t capacity = ps->site_capacity ? 2 * ps->site_capacity : 256;
        // Outside the plan's memory: gone when the plan has been read.
        RefSite *grown = realloc(ps->site, capacity * sizeof *grown);
        if (!grown)
            return no_memory(ps);
        ps->site = grown;
        ps->site_capacity = capacity;
    }
    // A segment states its events before its instructions, so these can be checked at once.
    const bool event = ref == REF_EVENT;
    const uint32_t limit = event ? field_ref_limit(ps->plan, ps->segment, ref) : 0;
    if (event && index >= limit)
        return fail(ps, at, "there is no event %u, only %u", index, limit);
    ps->site[ps->site_count++] = (RefSite){ref, index, at};
    return true;
}

// Every other index, once all lists have their length.
static bool check_sites(Parser *ps) {
    for (size_t i = 0; i < ps->site_count; i++) {
        const RefSite *s = &ps->site[i];
        if (s->ref == REF_EVENT)
            continue;
        const uint32_t limit = field_ref_limit(ps->plan, NULL, s->ref);
        if (s->index >= limit)
            return fail(ps, s->at, "there is no %s %s%u, only %u", field_ref_noun(s->ref),
                        field_ref_letter(s->ref), s->index, limit);
    }
    return true;
}

// A letter and a number, or the number alone where the kind has no letter.
static bool parse_ref(Parser *ps, FieldRef ref, uint32_t *out) {
    const char *letter = field_ref_letter(ref);
    skip_space(ps);
    const char *start = ps->at;
    const size_t size = strlen(letter);
    uint64_t value;
    if (size && peek(ps) != *letter)
        return fail(ps, start, "expected a %s, %s and a number", field_ref_noun(ref), letter);
    ps->at += size;
    if (!isdigit((unsigned char)peek(ps)))
        return fail(ps, start, "expected the number of a %s", field_ref_noun(ref));
    // UINT32_MAX means none, which text says by leaving the field out.
    if (!parse_digits(ps, UINT32_MAX - 1, &value))
        return false;
    *out = (uint32_t)value;
    return note_ref(ps, ref, *out, start);
}

// One of names, as a whole word: so one name may begin another.
static bool parse_enum(Parser *ps, const char *const *names, uint32_t count, uint32_t *out) {
    for (*out = 0; *out < count; (*out)++)
        if (accept(ps, names[*out]))
            return true;
    // "expected read, write or update".
    char list[128] = "";
    for (uint32_t i = 0; i < count; i++) {
        const size_t used = strlen(list);
        snprintf(list + used, sizeof list - used, "%s%s",
                 i == 0          ? ""
                 : i + 1 < count ? ", "
                                 : " or ",
                 names[i]);
    }
    return fail(ps, ps->at, "expected %s", list);
}

// Exactly length numbers, into the 8-byte array at first.
static bool parse_fixed(Parser *ps, char *first, uint32_t length) {
    if (!expect(ps, "["))
        return false;
    for (uint32_t i = 0; i < length; i++) {
        int64_t value;
        if ((i && !expect(ps, ",")) || !parse_i64(ps, &value))
            return false;
        field_set(first, (size_t)i * 8, &value, 8);
    }
    return expect(ps, "]");
}

// f32[4, 8]: dtype, rank and dims of the object.
static bool parse_shape(Parser *ps, const Field *f, void *object) {
    const char *names[PLAN_DTYPE_COUNT];
    for (uint32_t i = 0; i < PLAN_DTYPE_COUNT; i++)
        names[i] = plan_dtype_name((PlanDType)i);
    uint32_t dtype, rank = 0;
    if (!parse_enum(ps, names, PLAN_DTYPE_COUNT, &dtype) || !expect(ps, "["))
        return false;
    while (!accept(ps, "]")) {
        int64_t dim;
        if (rank == PLAN_RANK_MAX)
            return fail(ps, ps->at, "a shape has at most %d dims", PLAN_RANK_MAX);
        if ((rank && !expect(ps, ",")) || !parse_i64(ps, &dim))
            return false;
        field_set(object, f->dim_offset + (size_t)rank++ * 8, &dim, 8);
    }
    field_set(object, f->offset, &dtype, 4);
    field_set(object, f->count_offset, &rank, 4);
    return true;
}

// A list that grows as it is read. NULL when there is no memory.
static char *list_push(Parser *ps, char *list, uint32_t count, uint32_t *capacity, size_t size) {
    if (count < *capacity)
        return list;
    const uint32_t more = *capacity ? 2 * *capacity : 8;
    // The old list stays behind in the plan's memory: all lists together waste less than they
    // hold.
    char *grown = count < UINT32_MAX / 2 ? plan_alloc(ps->pm, more, size) : NULL;
    if (!grown) {
        no_memory(ps);
        return NULL;
    }
    if (count)
        memcpy(grown, list, count * size);
    *capacity = more;
    return grown;
}

static bool parse_struct(Parser *ps, const FieldStruct *s, void *object);

// "word label:" of the element that is to be number index; false without a message where there is
// none.
static bool begins_element(Parser *ps, const FieldStruct *s, uint32_t index) {
    // Instructions have no word: their line begins with a number and a colon.
    if (*s->word ? !accept(ps, s->word) : !isdigit((unsigned char)peek(ps)))
        return false;
    if (!s->label)
        return true;
    skip_space(ps);
    char label[32];
    snprintf(label, sizeof label, "%s%" PRIu32, s->label, index);
    const char *start = ps->at;
    const size_t size = strlen(label);
    if ((size_t)(ps->end - ps->at) < size || memcmp(ps->at, label, size) != 0 ||
        // b1 is no b12.
        (ps->at + size < ps->end && isdigit((unsigned char)ps->at[size])))
        return fail(ps, start, "expected '%s': elements are numbered in order", label);
    ps->at += size;
    return *s->label ? true : expect(ps, ":");
}

// Stores the finished list in the field; gives true.
static bool list_set(void *object, const Field *f, const char *list, uint32_t count) {
    field_set(object, f->count_offset, &count, 4);
    memcpy((char *)object + f->offset, &list, sizeof list);
    return true;
}

// Elements until one does not begin; none is an empty list.
static bool parse_lines(Parser *ps, const Field *f, void *object) {
    char *list = NULL;
    uint32_t count = 0, capacity = 0;
    while (begins_element(ps, f->of, count)) {
        list = list_push(ps, list, count, &capacity, f->of->size);
        if (!list || !parse_struct(ps, f->of, list + (size_t)count * f->of->size))
            return false;
        count++;
    }
    // begins_element also gives false after an error.
    return ps->status == PLIM_OK && list_set(object, f, list, count);
}

// Structs in parentheses, numbers and indices in brackets; at least one.
static bool parse_list(Parser *ps, const Field *f, void *object) {
    char *list = NULL;
    uint32_t count = 0, capacity = 0;
    const size_t size = f->of ? f->of->size : f->type == FIELD_LIST_I64 ? 8 : 4;
    if (!expect(ps, f->of ? "(" : "["))
        return false;
    do {
        list = list_push(ps, list, count, &capacity, size);
        if (!list)
            return false;
        char *element = list + (size_t)count++ * size;
        int64_t number;
        uint32_t index;
        if (f->of) {
            if (!parse_struct(ps, f->of, element))
                return false;
        } else if (f->type == FIELD_LIST_I64) {
            if (!parse_i64(ps, &number))
                return false;
            memcpy(element, &number, sizeof number);
        } else {
            if (!parse_ref(ps, f->ref, &index))
                return false;
            memcpy(element, &index, sizeof index);
        }
    } while (accept(ps, ","));
    return expect(ps, f->of ? ")" : "]") && list_set(object, f, list, count);
}

// The fields whose value is one number, by its size in the struct.
static bool parse_number(Parser *ps, const Field *f, void *object) {
    uint64_t word = 0;
    uint32_t half = 0;
    int64_t number = 0;
    double real = 0;
    switch (f->type) {
    case FIELD_U32:
        if (!parse_u32(ps, &half))
            return false;
        field_set(object, f->offset, &half, 4);
        return true;
    case FIELD_I64:
        if (!parse_i64(ps, &number))
            return false;
        field_set(object, f->offset, &number, 8);
        return true;
    case FIELD_F64:
        if (!parse_f64(ps, &real))
            return false;
        field_set(object, f->offset, &real, 8);
        return true;
    // FIELD_U64, and FIELD_HEX: digits may be hexadecimal everywhere.
    default:
        if (!parse_digits(ps, UINT64_MAX, &word))
            return false;
        field_set(object, f->offset, &word, 8);
        return true;
    }
}

static bool parse_string(Parser *ps, const Field *f, void *object) {
    const char *text = NULL;
    const bool good = f->type == FIELD_BLOCK  ? parse_block(ps, &text)
                      : f->type == FIELD_NAME ? parse_name(ps, &text)
                                              : parse_quoted(ps, &text);
    memcpy((char *)object + f->offset, &text, sizeof text);
    return good;
}

// What stands behind the lead, by the field's type.
static bool parse_value(Parser *ps, const Field *f, void *object) {
    uint32_t index;
    switch (f->type) {
    case FIELD_U32:
    case FIELD_U64:
    case FIELD_HEX:
    case FIELD_I64:
    case FIELD_F64:
        return parse_number(ps, f, object);
    case FIELD_ENUM:
        if (!parse_enum(ps, f->names, f->name_count, &index))
            return false;
        field_set(object, f->offset, &index, 4);
        return true;
    case FIELD_REF:
        if (!parse_ref(ps, f->ref, &index))
            return false;
        field_set(object, f->offset, &index, 4);
        return true;
    case FIELD_NAME:
    case FIELD_STRING:
    case FIELD_BLOCK:
        return parse_string(ps, f, object);
    case FIELD_SHAPE:
        return parse_shape(ps, f, object);
    case FIELD_FIXED_I64:
        return parse_fixed(ps, (char *)object + f->offset, f->length);
    case FIELD_LIST_I64:
    case FIELD_LIST_REF:
    case FIELD_INLINE:
        return parse_list(ps, f, object);
    case FIELD_LINES:
        return parse_lines(ps, f, object);
    }
    return false;
}

// Whether the field's text comes next; where it has a lead, moves past it.
static bool field_begins(Parser *ps, const Field *f) {
    if (*f->lead)
        return accept(ps, f->lead);
    if (f->type == FIELD_INLINE)
        return peek(ps) == '(';
    // A letter alone may begin the next word: a reference has a digit behind it.
    if (f->type == FIELD_REF)
        return peek(ps) == *field_ref_letter(f->ref) && ps->at + 1 < ps->end &&
               isdigit((unsigned char)ps->at[1]);
    return true;
}

// What a field that text leaves out holds.
static void set_omitted(const Field *f, void *object) {
    const uint32_t none = UINT32_MAX;
    const char *empty = "";
    if (f->omit == OMIT_NONE)
        field_set(object, f->offset, &none, 4);
    else if (f->type == FIELD_STRING)
        memcpy((char *)object + f->offset, &empty, sizeof empty);
}

static bool parse_struct(Parser *ps, const FieldStruct *s, void *object) {
    bool open = false;
    // The plan's own lists fill the file and stand in no braces.
    const bool braces = s != plan_fields();
    if (s->events)
        ps->segment = object;
    for (uint32_t i = 0; i < s->count; i++) {
        const Field *f = &s->field[i];
        // One pair of braces for all lists of lines, which come last in every struct.
        if (braces && f->type == FIELD_LINES && !open) {
            if (!expect(ps, "{"))
                return false;
            open = true;
        }
        if (field_begins(ps, f)) {
            if (!parse_value(ps, f, object))
                return false;
        } else if (f->omit == OMIT_NEVER) {
            return fail(ps, ps->at, "expected '%s'", *f->lead ? f->lead : field_ref_noun(f->ref));
        } else {
            set_omitted(f, object);
        }
    }
    return !open || expect(ps, "}");
}

static bool parse_whole(Parser *ps, Plan *p) {
    uint32_t version;
    const char *start = ps->at;
    if (!expect(ps, "plan") || !parse_u32(ps, &version))
        return false;
    // Before any field: another version may have other ones.
    if (version != PLAN_VERSION)
        return fail(ps, start, "the plan has version %u, this program reads version %d", version,
                    PLAN_VERSION);
    if (!parse_struct(ps, plan_fields(), p))
        return false;
    // The second: a NUL byte, which peek can't tell from the end.
    if (peek(ps) || ps->at < ps->end)
        return fail(ps, ps->at, "expected the next field or section of the plan");
    p->version = version;
    return check_sites(ps);
}

PlimStatus plan_parse(const char *text, size_t size, PlanMemory *pm, Plan **out, PlimError *error) {
    Plan *p = plan_alloc(pm, 1, sizeof *p);
    Parser ps = {
        .first = text, .at = text, .end = text + size, .pm = pm, .error = error, .plan = p};
    if (!p)
        no_memory(&ps);
    else if (parse_whole(&ps, p)) {
        // What has no place in the text of its own: a call without a kernel.
        PlimError refs;
        if (plan_check_refs(p, &refs) != PLIM_OK)
            fail(&ps, ps.at, "%.380s", refs.text);
    }
    free(ps.site);
    if (ps.status == PLIM_OK)
        *out = p;
    return ps.status;
}
