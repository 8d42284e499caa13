// Feeds. Files are never mapped or read whole: each row of a step is read where it lies, so the
// resident memory of a run does not grow with its data. Which rows a step takes is data_order.c's.
//
// Tokens are one stream: where files end means nothing, and data cut into more or fewer files feeds
// the same rows.
#include "runtime/data_feed.h"

#include "runtime/error.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

// Elements converted at once, on the stack.
enum { CHUNK = 4096 };

typedef struct {
    const DataFile *file;
    const SafeTensor *tensor;
    uint64_t first; // units (rows, or tokens of a stream) in the pieces before
} Piece;

struct DataFeed {
    const PlanInput *input;
    bool stream;
    uint64_t length; // elements of an example
    uint64_t units;  // rows or tokens of all pieces
    uint64_t begin;  // first token of the part
    DataOrder order;
    int count;
    Piece piece[];
};

// All axes but the first: input [batch, ...] takes batch rows.
static uint64_t row_elements(const PlanInput *input) {
    uint64_t count = 1;
    for (uint32_t i = 1; i < input->rank; i++)
        count *= (uint64_t)input->dim[i];
    return count;
}

// Distance between the first tokens of neighbouring windows.
static uint64_t window_stride(const DataFeed *f) {
    // The last token of a row is only predicted, the next row begins with it.
    return f->length > 1 ? f->length - 1 : 1;
}

static uint64_t windows(const DataFeed *f, uint64_t tokens) {
    // Whole windows only.
    return tokens < f->length ? 0 : (tokens - f->length) / window_stride(f) + 1;
}

static char *shape_text(uint32_t rank, const int64_t *dim, char out[96]) {
    size_t used = (size_t)snprintf(out, 96, "[");
    for (uint32_t i = 0; i < rank && used < 80; i++)
        used += (size_t)snprintf(out + used, 96 - used, "%s%lld", i ? ", " : "", (long long)dim[i]);
    snprintf(out + (used < 95 ? used : 94), 2, "]");
    return out;
}

static bool is_float(PlanDType t) {
    return t == PLAN_F32 || t == PLAN_BF16;
}

// A row a row: every axis but the first is the input's.
static PlimStatus check_rows(const Piece *p, const PlanInput *input, PlimError *error) {
    const SafeTensor *t = p->tensor;
    bool same = t->rank == input->rank && t->rank > 0;
    for (uint32_t i = 1; i < input->rank && same; i++)
        same = t->dim[i] == input->dim[i];
    char here[96], wanted[96];
    if (!same) {
        return error_set(error, PLIM_BAD_INPUT,
                         "%s holds %s for the model's input %s, which is %s %s: all axes but the "
                         "first must be equal",
                         p->file->path, shape_text(t->rank, t->dim, here), input->name,
                         plan_dtype_name(input->dtype),
                         shape_text(input->rank, input->dim, wanted));
    }
    if (t->dim[0] == 0)
        return error_set(error, PLIM_BAD_INPUT, "%s holds no row for the model's input %s",
                         p->file->path, input->name);
    return PLIM_OK;
}

// Finds the source's tensor and checks that it can feed the input, alone and beside the pieces
// before it.
static PlimStatus add_piece(DataFeed *f, const DataFile *file, PlimError *error) {
    const PlanInput *input = f->input;
    Piece *p = &f->piece[f->count];
    *p = (Piece){.file = file, .tensor = data_file_tensor(file, input->name), .first = f->units};
    if (!p->tensor)
        return error_set(error, PLIM_BAD_INPUT, "%s has no tensor called %s, which the entry reads",
                         file->path, input->name);
    const SafeTensor *t = p->tensor;
    const bool stream = t->rank == 1 && input->rank == 2 && input->dtype == PLAN_I32;
    if (file->tokens && !stream)
        return error_set(error, PLIM_BAD_INPUT,
                         "%s holds tokens, but the model's input %s is no i32[batch, length]; give "
                         "a safetensors file with a tensor of that name, or %s=FILE.npy",
                         file->path, input->name, input->name);
    if (f->count > 0 && stream != f->stream)
        return error_set(error, PLIM_BAD_INPUT,
                         "%s and %s can't follow each other: one holds "
                         "tokens, the other rows",
                         f->piece[0].file->path, file->path);
    f->stream = stream;
    const bool pixels = t->type == ELEMENT_U8 && is_float(input->dtype);
    if (!pixels && !element_converts(t->type, element_of_plan(input->dtype)))
        return error_set(error, PLIM_BAD_INPUT, "%s holds %s for the model's input %s, which is %s",
                         file->path, element_name(t->type), input->name,
                         plan_dtype_name(input->dtype));
    const PlimStatus status = stream ? PLIM_OK : check_rows(p, input, error);
    f->units += (uint64_t)t->dim[0];
    f->count++;
    return status;
}

// Units held out of all.
static uint64_t held_units(const DataFeed *f, double holdout) {
    if (holdout < 1)
        return (uint64_t)((double)f->units * holdout);
    return holdout >= (double)f->units ? f->units : (uint64_t)holdout;
}

// The part's bounds, from what there is and what is held out.
static PlimStatus choose_part(DataFeed *f, const DataUse *use, PlimError *error) {
    const uint64_t held = use->part == DATA_ALL ? 0 : held_units(f, use->holdout);
    f->order = (DataOrder){.part = use->part,
                           .total = f->units,
                           .held = held,
                           .shuffle = use->shuffle,
                           .seed = use->seed};
    uint64_t there = order_count(&f->order);
    if (f->stream) {
        // A stretch of the stream, cut into windows that stay inside: neighbours share a token, so
        // that only a cut in one place keeps the parts apart.
        f->begin = use->part == DATA_HELD ? f->units - held : 0;
        f->order =
            (DataOrder){.total = windows(f, there), .shuffle = use->shuffle, .seed = use->seed};
    }
    if (order_count(&f->order) > 0)
        return PLIM_OK;
    static const char *const of[] = {"", " for training", " held out"};
    return error_set(error, PLIM_BAD_INPUT,
                     "%s%s: %llu %s%s, fewer than one row of the model's input %s (%llu)",
                     f->piece[0].file->path, f->count > 1 ? " and the files after it" : "",
                     (unsigned long long)there, f->stream ? "tokens" : "rows", of[use->part],
                     f->input->name, (unsigned long long)(f->stream ? f->length : 1));
}

PlimStatus feed_new(const DataFile *file, int count, const PlanInput *input, const DataUse *use,
                    DataFeed **out, PlimError *error) {
    DataFeed *f = calloc(1, sizeof *f + (size_t)count * sizeof f->piece[0]);
    if (!f)
        return error_set(error, PLIM_NO_MEMORY, "out of memory opening the data");
    f->input = input;
    f->length = row_elements(input);
    PlimStatus status = PLIM_OK;
    for (int i = 0; i < count && status == PLIM_OK; i++)
        status = add_piece(f, &file[i], error);
    if (status == PLIM_OK)
        status = choose_part(f, use, error);
    if (status != PLIM_OK) {
        feed_release(f);
        return status;
    }
    *out = f;
    return PLIM_OK;
}

void feed_release(DataFeed *f) {
    free(f);
}

uint64_t feed_examples(const DataFeed *f) {
    return order_count(&f->order);
}

uint64_t feed_step_examples(const DataFeed *f) {
    // Of all slots: slots x batch. A scalar input is one row.
    return (f->input->rank ? (uint64_t)f->input->dim[0] : 1) * f->input->slots;
}

uint64_t feed_step_tokens(const DataFeed *f) {
    if (f->stream)
        return feed_step_examples(f) * window_stride(f);
    const bool tokens = f->input->dtype == PLAN_I32 && f->input->rank == 2;
    return feed_step_examples(f) * (tokens ? f->length : 1);
}

uint64_t feed_step_bytes(const DataFeed *f) {
    return feed_step_examples(f) * f->length * plan_dtype_bytes(f->input->dtype);
}

// The piece that holds a unit.
static const Piece *find_piece(const DataFeed *f, uint64_t unit) {
    int low = 0, high = f->count - 1;
    while (low < high) {
        const int middle = (low + high + 1) / 2;
        if (f->piece[middle].first <= unit)
            low = middle;
        else
            high = middle - 1;
    }
    return &f->piece[low];
}

// A token beyond the vocabulary would read outside its embedding table.
static PlimStatus check_values(const Piece *p, const PlanInput *input, const int32_t *x,
                               uint64_t count, PlimError *error) {
    for (uint64_t i = 0; i < count; i++) {
        if (plan_input_allows(input, x[i]))
            continue;
        return error_set(
            error, PLIM_BAD_INPUT,
            "%s: value %ld is out of range for input %s, which must be below %lld; is this the "
            "tokenizer the model was compiled for?",
            p->file->path, (long)x[i], input->name,
            (long long)(input->bound < 0 ? -input->bound : input->bound));
    }
    return PLIM_OK;
}

// Elements of a file as those of the input; how many fit.
static size_t convert(const Piece *p, PlanDType to, const uint8_t *in, size_t count, void *out) {
    if (p->tensor->type != ELEMENT_U8 || !is_float(to))
        return element_convert(p->tensor->type, in, element_of_plan(to), out, count);
    // Pixels: 0 .. 255 becomes 0 .. 1.
    float real[CHUNK];
    for (size_t i = 0; i < count; i++)
        real[i] = (float)in[i] / 255.0F;
    return element_convert(ELEMENT_F32, real, element_of_plan(to), out, count);
}

// Elements first .. first + count - 1 of a piece, all of them there.
static PlimStatus read_piece(const DataFeed *f, const Piece *p, uint64_t first, uint64_t count,
                             char *out, PlimError *error) {
    const PlanInput *input = f->input;
    uint8_t chunk[CHUNK * 8]; // No element has more than 8 bytes
    for (uint64_t done = 0; done < count;) {
        const size_t take = (size_t)(count - done < CHUNK ? count - done : CHUNK);
        char *at = out + done * plan_dtype_bytes(input->dtype);
        PlimStatus status =
            safetensors_read_raw(p->file->tensors, p->tensor, first + done, take, chunk, error);
        if (status != PLIM_OK)
            return status;
        if (convert(p, input->dtype, chunk, take, at) < take)
            return error_set(error, PLIM_BAD_INPUT,
                             "%s: input %s reads a number that does not fit %s", p->file->path,
                             input->name, plan_dtype_name(input->dtype));
        if (input->dtype == PLAN_I32)
            status = check_values(p, input, (const int32_t *)(const void *)at, take, error);
        if (status != PLIM_OK)
            return status;
        done += take;
    }
    return PLIM_OK;
}

// A window's tokens, from as many pieces as it reaches into.
static PlimStatus read_window(const DataFeed *f, uint64_t first, char *out, PlimError *error) {
    for (uint64_t done = 0; done < f->length;) {
        const Piece *p = find_piece(f, first + done);
        const uint64_t at = first + done - p->first, left = (uint64_t)p->tensor->dim[0] - at;
        const uint64_t take = f->length - done < left ? f->length - done : left;
        const PlimStatus status = read_piece(f, p, at, take, out + done * sizeof(int32_t), error);
        if (status != PLIM_OK)
            return status;
        done += take;
    }
    return PLIM_OK;
}

PlimStatus feed_fill(const DataFeed *f, uint64_t step, void *out, PlimError *error) {
    const uint64_t rows = feed_step_examples(f);
    const size_t row_bytes = f->length * plan_dtype_bytes(f->input->dtype);
    // T [slots, batch, ...]: the rows of all slots lie one behind the other.
    for (uint64_t i = 0; i < rows; i++) {
        const uint64_t row = order_example(&f->order, step * rows + i);
        char *at = (char *)out + i * row_bytes;
        PlimStatus status;
        if (f->stream) {
            status = read_window(f, f->begin + row * window_stride(f), at, error);
        } else {
            const Piece *p = find_piece(f, row);
            status = read_piece(f, p, (row - p->first) * f->length, f->length, at, error);
        }
        if (status != PLIM_OK)
            return status;
    }
    return PLIM_OK;
}
