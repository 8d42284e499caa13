// Reading and writing MiniMalloc's CSV.
//
// The header names the columns in any order; `end` instead of `upper` makes all ends of the file,
// those of gaps too, inclusive. Everything is checked while it is read, rows independently of each
// other, so that all that is wrong is said at once. What a row has beside its numbers (its id,
// hints) is kept as text: a row is written as it was read, with the offset in its place.
//
// A column offset that is already there is an answer from before: it is replaced, never obeyed.
// Gaps with a window (`3-5@1:9`, bytes of the buffer that stay taken meanwhile) are refused: no gap
// is smaller than its buffer here.
#include "tools/pack_csv.h"

#include <string.h>

enum { P_CSV = 904, COLUMNS_MAX = 64 };
#define TIME_MAX (INT64_C(4294967294)) // times are 32 bits, and one more marks an end
#define BYTES_MAX (INT64_C(1) << 62)   // of all sizes and alignments together

typedef enum {
    COLUMN_ID,
    COLUMN_LOWER,
    COLUMN_UPPER,
    COLUMN_SIZE,
    COLUMN_ALIGNMENT,
    COLUMN_HINT,
    COLUMN_OFFSET,
    COLUMN_GAPS,
    COLUMN_COUNT
} Column;

static const struct {
    const char *name;
    Column column;
} column_name[] = {{"id", COLUMN_ID},
                   {"buffer", COLUMN_ID},
                   {"buffer_id", COLUMN_ID},
                   {"lower", COLUMN_LOWER},
                   {"start", COLUMN_LOWER},
                   {"begin", COLUMN_LOWER},
                   {"upper", COLUMN_UPPER},
                   {"end", COLUMN_UPPER},
                   {"size", COLUMN_SIZE},
                   {"hint", COLUMN_HINT},
                   {"offset", COLUMN_OFFSET},
                   {"gaps", COLUMN_GAPS},
                   {"alignment", COLUMN_ALIGNMENT}};

// A piece of a line, without spaces around it.
typedef struct {
    const char *text;
    size_t length;
} Field;

typedef struct {
    Arena *a;
    Diag *d;
    const char *file;
    int32_t line;
    const char *line_text;
    int32_t at[COLUMN_COUNT]; // field number of a column, or -1
    int32_t fields;           // of the header
    int64_t ends;             // 1: ends are inclusive
    int64_t bytes;            // sizes and alignments so far
} Reader;

static Loc loc_of(const Reader *r, const char *at) {
    return (Loc){r->file, r->line, (int32_t)(at - r->line_text) + 1};
}

static size_t line_length(const char *line) {
    return strcspn(line, "\r\n");
}

static Field trim(const char *text, size_t length) {
    while (length && (*text == ' ' || *text == '\t'))
        text++, length--;
    while (length && (text[length - 1] == ' ' || text[length - 1] == '\t'))
        length--;
    return (Field){text, length};
}

// The line's fields; one more than max where there are too many.
static int32_t split(const char *line, Field *field, int32_t max) {
    const size_t end = line_length(line);
    int32_t count = 0;
    for (size_t begin = 0;;) {
        const size_t length = strcspn(line + begin, ",\r\n");
        if (count == max)
            return max + 1;
        field[count++] = trim(line + begin, length);
        if (begin + length >= end)
            return count;
        begin += length + 1;
    }
}

static bool is_named(Field f, const char *name) {
    return f.length == strlen(name) && memcmp(f.text, name, f.length) == 0;
}

// Digits only. False with a diagnostic that names the column.
static bool read_number(Reader *r, Field f, const char *what, int64_t least, int64_t most,
                        int64_t *out) {
    *out = 0;
    bool good = f.length > 0;
    for (size_t i = 0; i < f.length && good; i++) {
        const int digit = f.text[i] - '0';
        good = digit >= 0 && digit <= 9;
        // Larger than any limit, and far from overflow.
        if (good && *out <= BYTES_MAX / 10)
            *out = *out * 10 + digit;
        else if (good)
            *out = INT64_MAX;
    }
    if (!good)
        return diag_error(r->d, loc_of(r, f.text), P_CSV, "%s is no whole number: \"%.*s\"", what,
                          (int)(f.length < 40 ? f.length : 40), f.text);
    if (*out < least || *out > most)
        return diag_error(r->d, loc_of(r, f.text), P_CSV, "%s must lie between %lld and %lld", what,
                          (long long)least, (long long)most);
    return true;
}

static bool read_column(Reader *r, Field f, int32_t number) {
    enum { NAMES = sizeof column_name / sizeof column_name[0] };
    for (size_t i = 0; i < NAMES; i++) {
        if (!is_named(f, column_name[i].name))
            continue;
        const Column column = column_name[i].column;
        if (r->at[column] >= 0) {
            diag_error(r->d, loc_of(r, f.text), P_CSV, "this is a second column for %s",
                       column_name[i].name);
            diag_help(r->d, "leave one of them out");
            return false;
        }
        r->at[column] = number;
        if (column == COLUMN_UPPER)
            r->ends = is_named(f, "end");
        return true;
    }
    diag_error(r->d, loc_of(r, f.text), P_CSV, "there is no column \"%.*s\"",
               (int)(f.length < 40 ? f.length : 40), f.text);
    diag_help(
        r->d,
        "columns are id (or buffer, buffer_id), lower (start, begin), upper (or end, which is "
        "inclusive), size, and where wanted alignment, gaps, hint, offset");
    return false;
}

static bool read_header(Reader *r) {
    Field field[COLUMNS_MAX + 1];
    r->fields = split(r->line_text, field, COLUMNS_MAX);
    for (int c = 0; c < COLUMN_COUNT; c++)
        r->at[c] = -1;
    bool good = true;
    for (int32_t i = 0; i < r->fields && i < COLUMNS_MAX && good; i++)
        good = read_column(r, field[i], i);
    if (!good)
        return false;
    static const char *const needed[] = {"id", "lower", "upper or end", "size"};
    for (int c = COLUMN_ID; c <= COLUMN_SIZE; c++)
        if (r->at[c] < 0) {
            diag_error(r->d, loc_of(r, r->line_text), P_CSV, "the header has no column %s",
                       needed[c]);
            diag_help(r->d, "the first line names the columns, as in: id,lower,upper,size");
            return false;
        }
    return true;
}

// One gap, "lower-upper", behind the ones before it.
static bool read_gap(Reader *r, Field f, PackItem *item, PackSpan *gap, int64_t *live) {
    const char *dash = memchr(f.text, '-', f.length);
    if (memchr(f.text, '@', f.length)) {
        diag_error(r->d, loc_of(r, f.text), P_CSV, "gaps with a window are not supported");
        diag_help(
            r->d,
            "write the gap without the part from @ on: none of the buffer's bytes is kept then; "
            "or leave the gap out: all of them are");
        return false;
    }
    int64_t lower, upper;
    if (!dash) {
        diag_error(r->d, loc_of(r, f.text), P_CSV, "a gap is two times with - between them");
        diag_help(r->d, "gaps look like this: 3-5 8-12");
        return false;
    }
    const size_t left = (size_t)(dash - f.text);
    if (!read_number(r, (Field){f.text, left}, "a gap's begin", 0, TIME_MAX, &lower) ||
        !read_number(r, (Field){dash + 1, f.length - left - 1}, "a gap's end", 0, TIME_MAX, &upper))
        return false;
    upper += r->ends;
    if (lower >= upper || lower < *live || upper > (int64_t)item->last + 1) {
        diag_error(r->d, loc_of(r, f.text), P_CSV,
                   "this gap is empty, out of order, or not inside the buffer's life");
        diag_help(r->d,
                  "gaps follow each other, from the buffer's begin to its end, without meeting");
        return false;
    }
    // A gap at either end shortens the life, one beside the gap before makes that longer.
    if (lower == (int64_t)item->first)
        item->first = (uint32_t)upper;
    else if (item->gap_count > 0 && lower == *live)
        gap[item->gap_count - 1].last = (uint32_t)(upper - 1);
    else
        gap[item->gap_count++] = (PackSpan){(uint32_t)lower, (uint32_t)(upper - 1)};
    *live = upper;
    return true;
}

static bool read_gaps(Reader *r, Field f, PackItem *item) {
    size_t most = 1;
    for (size_t i = 0; i < f.length; i++)
        most += f.text[i] == ' ';
    PackSpan *gap = arena_array(r->a, PackSpan, most);
    item->gap = gap;
    int64_t live = item->first;
    const char *end = f.text + f.length;
    for (const char *at = f.text; at < end;) {
        if (*at == ' ') {
            at++;
            continue;
        }
        const char *stop = memchr(at, ' ', (size_t)(end - at));
        stop = stop ? stop : end;
        if (!read_gap(r, (Field){at, (size_t)(stop - at)}, item, gap, &live))
            return false;
        at = stop;
    }
    if (live == (int64_t)item->last + 1 && item->gap_count > 0)
        item->last = gap[--item->gap_count].first - 1;
    if (item->first > item->last)
        return diag_error(r->d, loc_of(r, f.text), P_CSV,
                          "the gaps leave nothing of the buffer's life");
    return true;
}

static bool read_row(Reader *r, PackItem *item) {
    Field field[COLUMNS_MAX + 1];
    const int32_t count = split(r->line_text, field, COLUMNS_MAX);
    if (count != r->fields)
        return diag_error(r->d, loc_of(r, r->line_text), P_CSV,
                          "this row has %s%d fields, the header %d",
                          count > COLUMNS_MAX ? "over " : "",
                          count > COLUMNS_MAX ? COLUMNS_MAX : count, r->fields);
    int64_t lower, upper, size, alignment = 1;
    const Field end = field[r->at[COLUMN_UPPER]];
    if (!read_number(r, field[r->at[COLUMN_LOWER]], "the begin", 0, TIME_MAX - 1, &lower) ||
        !read_number(r, end, "the end", 0, TIME_MAX - r->ends, &upper) ||
        !read_number(r, field[r->at[COLUMN_SIZE]], "the size", 0, BYTES_MAX, &size))
        return false;
    if (r->at[COLUMN_ALIGNMENT] >= 0 &&
        !read_number(r, field[r->at[COLUMN_ALIGNMENT]], "the alignment", 1, BYTES_MAX, &alignment))
        return false;
    upper += r->ends;
    if (lower >= upper) {
        diag_error(r->d, loc_of(r, end.text), P_CSV, "the buffer is never live: it begins at %lld",
                   (long long)lower);
        diag_help(r->d, r->ends ? "a buffer that lives at one time ends when it begins"
                                : "upper is the first time the buffer is not live");
        return false;
    }
    r->bytes = r->bytes > BYTES_MAX - size ? INT64_MAX : r->bytes + size;
    r->bytes = r->bytes > BYTES_MAX - alignment ? INT64_MAX : r->bytes + alignment;
    if (r->bytes > BYTES_MAX)
        return diag_error(r->d, loc_of(r, r->line_text), P_CSV,
                          "sizes and alignments up to here are more than %lld in all",
                          (long long)BYTES_MAX);
    *item = (PackItem){.size = (uint64_t)size,
                       .first = (uint32_t)lower,
                       .last = (uint32_t)(upper - 1),
                       .alignment = (uint64_t)alignment};
    return r->at[COLUMN_GAPS] < 0 || read_gaps(r, field[r->at[COLUMN_GAPS]], item);
}

static const char *next_line(const char *line) {
    line += line_length(line);
    line += *line == '\r';
    return line + (*line == '\n');
}

// Lines may end with \r\n, and the last without either; lines at the end may be empty.
PackCsv *pack_csv_read(Arena *a, Diag *d, const char *file, const char *text, size_t bytes) {
    Reader r = {.a = a, .d = d, .file = file, .line = 1, .line_text = text};
    diag_add_source(d, file, text, bytes);
    const char *nul = memchr(text, 0, bytes);
    if (nul) {
        diag_error(d, (Loc){file, 0, 0}, P_CSV, "this is no text: there is a zero byte at %zu",
                   (size_t)(nul - text));
        return NULL;
    }
    if (!read_header(&r))
        return NULL;
    size_t lines = 0;
    for (const char *at = text; *at; at++)
        lines += *at == '\n';
    PackCsv *csv = arena_new(a, PackCsv);
    csv->header = text;
    csv->offset_column = r.at[COLUMN_OFFSET];
    csv->item = arena_array(a, PackItem, lines + 1);
    csv->row = arena_array(a, const char *, lines + 1);
    bool good = true;
    int32_t empty = 0; // line
    for (const char *at = next_line(text); *at; at = next_line(at)) {
        r.line++;
        r.line_text = at;
        if (line_length(at) == 0) {
            empty = empty ? empty : r.line;
        } else if (empty) {
            r.line = empty;
            diag_error(d, (Loc){file, empty, 1}, P_CSV, "this line is empty, and more rows follow");
            return NULL;
        } else {
            csv->row[csv->count] = at;
            good = read_row(&r, &csv->item[csv->count++]) && good;
        }
        // A carriage return that ends no line would never be passed.
        if (at[line_length(at)] == '\r' && at[line_length(at) + 1] != '\n' &&
            at[line_length(at) + 1]) {
            diag_error(d, loc_of(&r, at + line_length(at)), P_CSV,
                       "a carriage return inside a line");
            return NULL;
        }
    }
    return good ? csv : NULL;
}

// The line with one field replaced, or one more.
static void print_line(const PackCsv *csv, const char *line, const char *value, FILE *out) {
    const size_t end = line_length(line);
    size_t begin = 0, length = 0;
    if (csv->offset_column < 0) {
        fprintf(out, "%.*s,%s\n", (int)end, line, value);
        return;
    }
    for (int i = 0; i <= csv->offset_column; i++) {
        begin += i ? length + 1 : 0;
        length = strcspn(line + begin, ",\r\n");
    }
    fprintf(out, "%.*s%s%.*s\n", (int)begin, line, value, (int)(end - begin - length),
            line + begin + length);
}

void pack_csv_print(const PackCsv *csv, FILE *out) {
    print_line(csv, csv->header, "offset", out);
    for (int i = 0; i < csv->count; i++) {
        char value[32];
        snprintf(value, sizeof value, "%llu", (unsigned long long)csv->item[i].offset);
        print_line(csv, csv->row[i], value, out);
    }
}
