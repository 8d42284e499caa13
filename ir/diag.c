// Diagnostics are collected while the compiler works and printed once, in the order they were
// found.
//
// Errors beyond DIAG_ERRORS_MAX (and warnings beyond as many) are counted but not kept, and notes
// that follow a dropped message are dropped with it. Printing finds the line in the texts the
// caller registered; a file that was never registered gets its place and message only. Anything a
// user's text could smuggle into a terminal (escape sequences) is made visible. Edit distances cost
// O(length^2) and are taken only of names whose lengths are near.
#include "ir/diag.h"

#include "ir/check.h"

#include <stdlib.h>
#include <string.h>

// A text that lines can be shown from; file and text are the caller's and must outlive the Diag.
typedef struct Source Source;
struct Source {
    Source *next;
    const char *file;
    const char *text;
    size_t bytes;
};

struct Diag {
    Arena *arena;
    Source *source;
    int item_count, item_capacity;
    DiagItem *item;
    int error_count, warning_count; // dropped ones included
    int parent;                     // the item that notes and help belong to; -1: it was dropped
};

Diag *diag_create(Arena *a) {
    Diag *d = arena_new(a, Diag);
    d->arena = a;
    d->parent = -1;
    return d;
}

void diag_add_source(Diag *d, const char *file, const char *text, size_t bytes) {
    Source *s = arena_new(d->arena, Source);
    *s = (Source){.next = d->source, .file = file, .text = text, .bytes = bytes};
    d->source = s;
}

// Keeps the message. Returns its index, to which notes and help are tied.
static int item_add(Diag *d, DiagLevel level, Loc loc, int code, const char *message) {
    if (d->item_count == d->item_capacity) {
        const int capacity = d->item_capacity ? 2 * d->item_capacity : 16;
        d->item = arena_grow(d->arena, d->item, (size_t)d->item_count, (size_t)capacity,
                             sizeof(DiagItem));
        d->item_capacity = capacity;
    }
    d->item[d->item_count] =
        (DiagItem){.level = level, .code = code, .loc = loc, .message = message};
    return d->item_count++;
}

bool diag_error(Diag *d, Loc loc, int code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    if (!d) {
        // Nobody listens, so the caller promised that this can't happen: it is our mistake.
        Arena *a = arena_create();
        check_fail(loc.file ? loc.file : "?", loc.line, arena_vformat(a, format, args));
    }
    d->parent = -1;
    // Counted even when dropped: print_more tells how many there were.
    if (d->error_count++ < DIAG_ERRORS_MAX)
        d->parent = item_add(d, DIAG_ERROR, loc, code, arena_vformat(d->arena, format, args));
    va_end(args);
    return false;
}

void diag_warning(Diag *d, Loc loc, int code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    d->parent = -1;
    if (d->warning_count++ < DIAG_ERRORS_MAX)
        d->parent = item_add(d, DIAG_WARNING, loc, code, arena_vformat(d->arena, format, args));
    va_end(args);
}

void diag_note(Diag *d, Loc loc, const char *format, ...) {
    if (d->parent < 0)
        return;
    va_list args;
    va_start(args, format);
    item_add(d, DIAG_NOTE, loc, 0, arena_vformat(d->arena, format, args));
    va_end(args);
}

// One help a message: a later one replaces it.
void diag_help(Diag *d, const char *format, ...) {
    if (d->parent < 0)
        return;
    va_list args;
    va_start(args, format);
    d->item[d->parent].help = arena_vformat(d->arena, format, args);
    va_end(args);
}

int diag_error_count(const Diag *d) {
    return d->error_count;
}

int diag_item_count(const Diag *d) {
    return d->item_count;
}

const DiagItem *diag_item(const Diag *d, int index) {
    CHECK(index >= 0 && index < d->item_count);
    return &d->item[index];
}

// The line loc points into, without its end; false where its text is not known.
static bool find_line(const Diag *d, Loc loc, const char **line, size_t *bytes) {
    if (!loc.file || loc.line < 1)
        return false;
    const Source *s = d->source;
    while (s && strcmp(s->file, loc.file) != 0)
        s = s->next;
    if (!s || !s->text)
        return false;
    const char *at = s->text, *end = s->text + s->bytes;
    // Lines are counted only when a message is printed.
    for (int32_t i = 1; i < loc.line; i++) {
        const char *newline = memchr(at, '\n', (size_t)(end - at));
        if (!newline)
            return false;
        at = newline + 1;
    }
    const char *newline = memchr(at, '\n', (size_t)(end - at));
    const char *stop = newline ? newline : end;
    // Text with CR LF shows without its CR.
    if (stop > at && stop[-1] == '\r')
        stop--;
    *line = at;
    *bytes = (size_t)(stop - at);
    return true;
}

// Bytes of a UTF-8 character after its first take no column of their own.
static bool is_continuation(char c) {
    return ((unsigned char)c & 0xc0) == 0x80;
}

enum { LINE_SHOWN = 100, LINE_BEFORE = 60 }; // bytes of a long line shown, and before the caret

// Prints the line and a caret below it. A long line is cut to a window around the caret, never
// inside a character. Tabs stay tabs in both lines, so the caret stands right at any tab width.
static void print_line(const char *line, size_t bytes, int32_t column, FILE *out, bool color) {
    // Columns count bytes from 1; 0 is unknown and points at the line's first.
    size_t caret = column > 0 ? (size_t)column - 1 : 0;
    if (caret > bytes)
        caret = bytes;
    size_t start = 0, stop = bytes;
    if (bytes > LINE_SHOWN) {
        // The window: LINE_BEFORE bytes before the caret, the rest after it.
        start = caret > LINE_BEFORE ? caret - LINE_BEFORE : 0;
        stop = bytes - start > LINE_SHOWN ? start + LINE_SHOWN : bytes;
        while (start > 0 && start < caret && is_continuation(line[start]))
            start++;
        while (stop < bytes && stop > start && is_continuation(line[stop]))
            stop--;
    }
    fputs(start > 0 ? "..." : "", out);
    for (size_t i = start; i < stop; i++) {
        const unsigned char c = (unsigned char)line[i];
        fputc((c < 0x20 && c != '\t') || c == 0x7f ? '?' : c, out);
    }
    fputs(stop < bytes ? "...\n" : "\n", out);
    // Below the dots of a line that is cut.
    fputs(start > 0 ? "   " : "", out);
    // One blank for each character before the caret, not for each byte.
    for (size_t i = start; i < caret; i++)
        if (!is_continuation(line[i]))
            fputc(line[i] == '\t' ? '\t' : ' ', out);
    fputs(color ? "\033[1;32m^\033[0m\n" : "^\n", out);
}

// A message may quote the user's text: control characters show as \xHH.
static void print_visible(const char *text, FILE *out) {
    for (const char *c = text; *c; c++) {
        const unsigned char byte = (unsigned char)*c;
        if (byte < 0x20 || byte == 0x7f)
            fprintf(out, "\\x%02x", byte);
        else
            fputc(byte, out);
    }
}

// "file:line:col: ", as far as it is known.
static void print_place(Loc loc, FILE *out) {
    if (!loc.file)
        return;
    print_visible(loc.file, out);
    if (loc.line > 0)
        fprintf(out, ":%d", loc.line);
    if (loc.line > 0 && loc.column > 0)
        fprintf(out, ":%d", loc.column);
    fputs(": ", out);
}

// The headline of one message, its line and its caret.
static void print_item(const Diag *d, const DiagItem *item, FILE *out, bool color) {
    const char *off = color ? "\033[0m" : "";
    if (item->level == DIAG_NOTE) {
        fprintf(out, "%snote:%s ", color ? "\033[1;36m" : "", off);
        print_place(item->loc, out);
    } else {
        const bool is_error = item->level == DIAG_ERROR;
        print_place(item->loc, out);
        fprintf(out, "%s%s[P%04d]:%s ",
                !color     ? ""
                : is_error ? "\033[1;31m"
                           : "\033[1;35m",
                is_error ? "error" : "warning", item->code, off);
    }
    print_visible(item->message, out);
    fputc('\n', out);
    const char *line;
    size_t bytes;
    if (find_line(d, item->loc, &line, &bytes))
        print_line(line, bytes, item->loc.column, out, color);
}

// What was counted but not kept.
static void print_more(int total, const char *what, FILE *out) {
    const int more = total - DIAG_ERRORS_MAX;
    if (more > 0)
        fprintf(out, "%d more %s%s\n", more, what, more > 1 ? "s" : "");
}

// Help stands after the notes of its message.
void diag_print(const Diag *d, FILE *out, bool color) {
    const char *help = NULL;
    for (int i = 0; i < d->item_count; i++) {
        const DiagItem *item = &d->item[i];
        print_item(d, item, out, color);
        if (item->level != DIAG_NOTE)
            help = item->help;
        // The help belongs to the message before the notes.
        const bool last = i + 1 == d->item_count || d->item[i + 1].level != DIAG_NOTE;
        if (last && help) {
            fputs(color ? "\033[1;36mhelp:\033[0m " : "help: ", out);
            print_visible(help, out);
            fputc('\n', out);
        }
    }
    print_more(d->error_count, "error", out);
    print_more(d->warning_count, "warning", out);
}

// Length of the UTF-8 character at text, or 0 where it is none.
static int utf8_length(const unsigned char *text) {
    // By the first byte; 0xc0 and 0xc1 could only begin overlong forms.
    const int length = text[0] < 0x80    ? 1
                       : text[0] < 0xc2  ? 0
                       : text[0] < 0xe0  ? 2
                       : text[0] < 0xf0  ? 3
                       : text[0] <= 0xf4 ? 4
                                         : 0;
    for (int i = 1; i < length; i++)
        if ((text[i] & 0xc0) != 0x80)
            return 0;
    // Overlong forms, surrogates and what lies past U+10FFFF.
    if ((text[0] == 0xe0 && text[1] < 0xa0) || (text[0] == 0xed && text[1] > 0x9f) ||
        (text[0] == 0xf0 && text[1] < 0x90) || (text[0] == 0xf4 && text[1] > 0x8f))
        return 0;
    return length;
}

// A JSON string; a byte that is not UTF-8 becomes U+FFFD.
static void print_json_text(const char *text, FILE *out) {
    fputc('"', out);
    const unsigned char *at = (const unsigned char *)text;
    while (*at) {
        const int length = utf8_length(at);
        if (length == 0)
            fputs("\\ufffd", out);
        else if (*at == '"' || *at == '\\')
            fprintf(out, "\\%c", *at);
        else if (*at < 0x20 || *at == 0x7f)
            fprintf(out, "\\u%04x", *at);
        else
            fwrite(at, 1, (size_t)length, out);
        at += length ? length : 1;
    }
    fputc('"', out);
}

// One object a line. Notes follow the message they belong to, and have no code.
void diag_print_json(const Diag *d, FILE *out) {
    static const char *const level_name[] = {"error", "warning", "note"};
    fputc('[', out);
    for (int i = 0; i < d->item_count; i++) {
        const DiagItem *item = &d->item[i];
        fprintf(out, "%s\n{\"level\": \"%s\"", i ? "," : "", level_name[item->level]);
        if (item->level != DIAG_NOTE)
            fprintf(out, ", \"code\": \"P%04d\"", item->code);
        if (item->loc.file) {
            fputs(", \"file\": ", out);
            print_json_text(item->loc.file, out);
            fprintf(out, ", \"line\": %d, \"column\": %d", item->loc.line, item->loc.column);
        }
        fputs(", \"message\": ", out);
        print_json_text(item->message, out);
        if (item->help) {
            fputs(", \"help\": ", out);
            print_json_text(item->help, out);
        }
        fputc('}', out);
    }
    fputs(d->item_count ? "\n]\n" : "]\n", out);
}

enum { WORD_MAX = 48 }; // longer words have no neighbours

static int min_of(int a, int b) {
    return a < b ? a : b;
}

// Optimal string alignment distance: insert, delete, replace, swap neighbours. Three rows of the
// table.
static int distance(const char *a, int a_length, const char *b, int b_length) {
    // row[i % 3][j]: the distance of a's first i letters to b's first j.
    int row[3][WORD_MAX + 1];
    for (int j = 0; j <= b_length; j++)
        row[0][j] = j;
    for (int i = 1; i <= a_length; i++) {
        int *now = row[i % 3];
        const int *above = row[(i + 2) % 3];
        const int *two_above = row[(i + 1) % 3];
        now[0] = i;
        for (int j = 1; j <= b_length; j++) {
            now[j] = min_of(above[j], now[j - 1]) + 1;
            now[j] = min_of(now[j], above[j - 1] + (a[i - 1] != b[j - 1]));
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
                now[j] = min_of(now[j], two_above[j - 2] + 1);
        }
    }
    return row[a_length % 3][b_length];
}

// Near means at most a third of the word's letters wrong. The first of equals wins.
const char *diag_nearest(const char *word, const char *const *known, int count) {
    const size_t length = strlen(word);
    if (length > WORD_MAX)
        return NULL;
    // Also what the next one must beat, so the search narrows as it goes.
    int best_distance = (int)length <= 3 ? 1 : (int)length / 3;
    const char *best = NULL;
    for (int i = 0; i < count; i++) {
        const size_t known_length = strlen(known[i]);
        // The distance is at least the difference of the lengths.
        if (known_length > WORD_MAX || abs((int)known_length - (int)length) > best_distance)
            continue;
        const int far = distance(word, (int)length, known[i], (int)known_length);
        // A one-letter word is near to nothing but a longer one.
        if (far > best_distance || far >= (int)length || (best && far == best_distance))
            continue;
        best = known[i];
        best_distance = far;
    }
    return best;
}
