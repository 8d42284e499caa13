// A trace is Chrome's format as runtime/trace.c writes it: slices "step N" on a track of their own,
// the instructions on the tracks of their streams, with segment, slot and index among the
// arguments. A log has an object a line, with step_ms. Which of the two a file is, its first member
// tells. Texts are not copied: events point into the file's bytes.
#include "tools/measured.h"

#include "runtime/json_read.h"
#include "tools/dump_text.h"
#include "tools/tool_io.h"

#include <stdlib.h>
#include <string.h>

typedef struct {
    Dump *d;
    uint32_t entry;
    MeasuredEvent *event; // of the whole file
    uint32_t count, room;
    double *steps; // us of each
    uint32_t step_count, step_room;
    double last_begin, last_end; // of the last step, us
} Reader;

// Twice the room, with what there was. NULL when there is no memory.
static void *grow(PlanMemory *pm, const void *old, uint32_t count, uint32_t *room, size_t size) {
    *room = *room ? 2 * *room : 256;
    void *larger = plan_alloc(pm, *room, size);
    if (larger && count)
        memcpy(larger, old, count * size);
    return larger;
}

static bool add_step(Reader *r, double us) {
    if (r->step_count == r->step_room)
        r->steps = grow(r->d->memory, r->steps, r->step_count, &r->step_room, sizeof *r->steps);
    if (!r->steps)
        return false;
    r->steps[r->step_count++] = us;
    return true;
}

static int compare_times(const void *a, const void *b) {
    const double x = *(const double *)a, y = *(const double *)b;
    return (x > y) - (x < y);
}

// The first step touches all memory for the first time: it is no example of the others.
static void take_steps(Reader *r, Measured *out) {
    const uint32_t skip = r->step_count > 1;
    out->steps = r->step_count;
    qsort(r->steps + skip, r->step_count - skip, sizeof *r->steps, compare_times);
    out->step_us = r->steps[skip + (r->step_count - skip) / 2];
}

// The JSON text of a value, which the cursor passes.
static bool take_raw(JsonCursor *j, const char **text, size_t *size) {
    json_peek(j);
    *text = j->at;
    const bool good = json_skip(j);
    *size = (size_t)(j->at - *text);
    return good;
}

// Members in any order, as JSON has it; those we have no use for are checked and passed.
static bool read_event(JsonCursor *j, MeasuredEvent *e) {
    JsonList members = {0};
    char key[16], phase[4];
    *e = (MeasuredEvent){.args = "", .name = "\"\"", .name_size = 2};
    while (json_member(j, &members, key, sizeof key))
        if (strcmp(key, "ph") == 0) {
            json_string(j, phase, sizeof phase);
            e->phase = phase[0];
        } else if (strcmp(key, "tid") == 0)
            json_integer(j, &e->track);
        else if (strcmp(key, "ts") == 0)
            json_number(j, &e->begin);
        else if (strcmp(key, "dur") == 0)
            json_number(j, &e->length);
        else if (strcmp(key, "name") == 0)
            take_raw(j, &e->name, &e->name_size);
        else if (strcmp(key, "args") == 0)
            take_raw(j, &e->args, &e->args_size);
        else
            json_skip(j);
    return !j->failed;
}

// Every event, and the times of the steps among them.
static bool read_events(Reader *r, JsonCursor *j) {
    JsonList items = {0};
    while (json_item(j, &items)) {
        if (r->count == r->room)
            r->event = grow(r->d->memory, r->event, r->count, &r->room, sizeof *r->event);
        MeasuredEvent *e = r->event ? &r->event[r->count] : NULL;
        if (!e || !read_event(j, e))
            return false;
        r->count++;
        if (e->phase != 'X' || e->name_size < 7 || memcmp(e->name, "\"step ", 6) != 0)
            continue;
        // The loader's slices for a step have its name, too; tracks are numbered steps first.
        if (r->step_count > 0 && e->track != r->event[0].track)
            continue;
        if (!add_step(r, e->length))
            return false;
        r->last_begin = e->begin;
        r->last_end = e->begin + e->length;
    }
    return !j->failed;
}

// The position of an instruction's slice in the entry; UINT32_MAX for any other slice.
static uint32_t position_of(const Reader *r, const MeasuredEvent *e) {
    JsonCursor args = {.at = e->args, .end = e->args + e->args_size}, j;
    char segment[256];
    uint64_t index;
    const PlanEntryUses *u = &r->d->uses->entry[r->entry];
    if (e->phase != 'X' || !json_find(args, "segment", &j) ||
        !json_string(&j, segment, sizeof segment) || !json_find(args, "instruction", &j) ||
        !json_count(&j, &index))
        return UINT32_MAX;
    // Steps of one segment stand side by side: the first one leads to all of them.
    for (uint32_t i = 0; i < u->step_count;) {
        const PlanSegment *s = &r->d->plan->segment[u->step[i].segment];
        if (strcmp(s->name, segment) == 0 && index < s->instr_count) {
            char name[512];
            JsonCursor text = {.at = e->name, .end = e->name + e->name_size};
            const bool same =
                json_string(&text, name, sizeof name) && strcmp(name, s->instr[index].name) == 0;
            return same ? i + (uint32_t)index : UINT32_MAX;
        }
        i += s->instr_count ? s->instr_count : 1;
    }
    return UINT32_MAX;
}

// Means of each instruction's times over steps and micro-batches. False where not one is of the
// plan.
static bool take_instructions(Reader *r, Measured *out) {
    const uint32_t count = r->d->uses->entry[r->entry].step_count;
    out->instr_us = plan_alloc(r->d->memory, (size_t)count + 1, sizeof *out->instr_us);
    uint32_t *times = plan_alloc(r->d->memory, (size_t)count + 1, sizeof *times);
    uint64_t known = 0;
    if (!out->instr_us || !times)
        return false;
    for (uint32_t i = 0; i < r->count; i++) {
        const uint32_t at = position_of(r, &r->event[i]);
        if (at >= count)
            continue;
        out->instr_us[at] += r->event[i].length;
        times[at]++;
        known++;
    }
    for (uint32_t i = 0; i < count; i++)
        out->instr_us[i] = times[i] ? out->instr_us[i] / times[i] : -1;
    return known > 0;
}

// Only the last step is shown, from its own beginning; tracks keep their names.
static void keep_last_step(Reader *r, Measured *out) {
    out->event = r->event;
    for (uint32_t i = 0; i < r->count; i++) {
        MeasuredEvent e = r->event[i];
        // Times are written to a thousandth of a microsecond.
        const double slack = 0.002;
        const bool inside =
            e.begin >= r->last_begin - slack && e.begin + e.length <= r->last_end + slack;
        if (e.phase != 'M' && (e.phase != 'X' || !inside))
            continue;
        e.begin = e.phase == 'M' || e.begin < r->last_begin ? 0 : e.begin - r->last_begin;
        out->event[out->event_count++] = e;
    }
}

static bool read_trace(Reader *r, JsonCursor *events, Measured *out) {
    if (!read_events(r, events) || r->step_count == 0)
        return false;
    if (!take_instructions(r, out)) {
        dump_fail(r->d, "%.200s has no instruction of %.200s: it is a trace of another program",
                  r->d->options->measured, r->d->plan->entry[r->entry].name);
        return false;
    }
    take_steps(r, out);
    keep_last_step(r, out);
    return true;
}

// A log that a run went on with has the steps of both, in order.
static bool read_log(Reader *r, JsonCursor *j, Measured *out) {
    while (!json_at_end(j)) {
        JsonCursor ms;
        double step_ms;
        if (json_find(*j, "step_ms", &ms) && json_number(&ms, &step_ms) && step_ms >= 0 &&
            !add_step(r, 1000 * step_ms))
            return false;
        if (!json_skip(j))
            return false;
    }
    if (r->step_count > 0)
        take_steps(r, out);
    return r->step_count > 0;
}

int measured_read(Dump *d, uint32_t entry, Measured *out) {
    const char *path = d->options->measured;
    size_t size = 0;
    *out = (Measured){0};
    char *bytes = tool_read("plim-dump", path, (size_t)1 << 40, &size);
    if (!bytes)
        return DUMP_TOLD;
    // Events point into the text: it must live as long as the plan.
    char *text = plan_alloc(d->memory, size + 1, 1);
    if (text)
        memcpy(text, bytes, size);
    free(bytes);
    if (!text)
        return dump_fail(d, "out of memory");
    Reader r = {.d = d, .entry = entry};
    JsonCursor j = {.at = text, .end = text + size}, events;
    const bool trace = json_find(j, "traceEvents", &events);
    d->error.text[0] = '\0';
    if (trace ? read_trace(&r, &events, out) : read_log(&r, &j, out))
        return DUMP_DONE;
    return *d->error.text ? DUMP_FAILED
                          : dump_fail(d, "%.300s is neither a run's --trace nor its --log", path);
}

// Microseconds of a whole step by which the instruction is above its prediction.
static double above(const PlanStep *s, double measured, uint64_t predicted) {
    return s->calls * (measured - (double)predicted * 1e-6);
}

// The positions that add most to the difference, most first. Insertion into a short sorted list.
static uint32_t furthest(const PlanEntryUses *u, const Measured *m, const uint64_t *predicted,
                         uint32_t *at, uint32_t count) {
    uint32_t stored = 0;
    for (uint32_t i = 0; i < u->step_count; i++) {
        const double us = above(&u->step[i], m->instr_us[i], predicted[i]);
        uint32_t k = stored;
        while (k > 0 &&
               above(&u->step[at[k - 1]], m->instr_us[at[k - 1]], predicted[at[k - 1]]) < us)
            k--;
        if (m->instr_us[i] < 0 || k == count)
            continue;
        stored += stored < count;
        memmove(at + k + 1, at + k, (stored - 1 - k) * sizeof *at);
        at[k] = i;
    }
    return stored;
}

void measured_print(const Dump *d, uint32_t entry, const Measured *m, const uint64_t *predicted,
                    uint64_t total, FILE *out) {
    enum { SHOWN = 5 };
    char a[TEXT_NUMBER], b[TEXT_NUMBER], name[49];
    const double us = (double)total * 1e-6;
    fprintf(out, "measured    %s (median of %llu step%s): %.2f times as long as predicted\n",
            text_time(m->step_us * 1e-6, a), (unsigned long long)m->steps, m->steps == 1 ? "" : "s",
            us > 0 ? m->step_us / us : 0.0);
    if (!m->instr_us)
        return;
    uint32_t at[SHOWN];
    const uint32_t count = furthest(&d->uses->entry[entry], m, predicted, at, SHOWN);
    fprintf(out,
            "\nfurthest above the prediction                       predicted   measured   calls\n");
    for (uint32_t i = 0; i < count; i++) {
        const PlanStep *s = &d->uses->entry[entry].step[at[i]];
        fprintf(out, "  %-48s %10s %10s %7u\n", text_fit(s->instr->name, name, sizeof name),
                text_time((double)predicted[at[i]] * 1e-12, a),
                text_time(m->instr_us[at[i]] * 1e-6, b), s->calls);
    }
}
