// Making, asking and describing compile-time values.
//
// A Datum is passed by value. What it points to is never changed after it was made, so copies may
// share it; it lives as long as the module's arena.
#include "frontend/datum.h"

#include "ir/check.h"

Datum datum_error(void) {
    return (Datum){.kind = DATUM_ERROR};
}

// What stands for an argument left out or an open end of a range. Not the same as none, which is a
// value that a text can write.
Datum datum_absent(void) {
    return (Datum){.kind = DATUM_ABSENT};
}

Datum datum_none(void) {
    return (Datum){.kind = DATUM_NONE};
}

Datum datum_bool(bool truth) {
    return (Datum){.kind = DATUM_BOOL, .as.truth = truth};
}

// Without factors: who knows how the number was multiplied together sets them afterwards.
Datum datum_int(int64_t whole) {
    return (Datum){.kind = DATUM_INT, .as.whole = whole};
}

Datum datum_float(double real) {
    return (Datum){.kind = DATUM_FLOAT, .as.real = real};
}

// The text is not copied; it is interned or lives in the module's arena.
Datum datum_text(const char *text) {
    return (Datum){.kind = DATUM_TEXT, .as.text = text};
}

// Keeps `at` itself, not a copy: the caller must not change the elements any more.
Datum datum_items(Arena *a, DatumKind kind, const Datum *at, int count) {
    CHECK(kind == DATUM_LIST || kind == DATUM_TUPLE);
    Items *items = arena_new(a, Items);
    items->count = count;
    items->at = at;
    return (Datum){.kind = kind, .as.items = items};
}

Datum datum_tensor(Arena *a, Value *value) {
    // A builder that failed has given NULL and a message; callers need not ask.
    if (!value)
        return datum_error();
    Array *array = arena_new(a, Array);
    // The factors stay NULL: nothing is known of how the sizes came about.
    array->value = value;
    return datum_array(array);
}

// For callers that have filled in the factors. The value must not be NULL.
Datum datum_array(const Array *array) {
    return (Datum){.kind = DATUM_TENSOR, .as.array = array};
}

bool datum_is_number(Datum d) {
    return d.kind == DATUM_INT || d.kind == DATUM_FLOAT;
}

// Exact for floats and for whole numbers up to 2^53.
double datum_number(Datum d) {
    CHECK(datum_is_number(d));
    return d.kind == DATUM_INT ? (double)d.as.whole : d.as.real;
}

bool datum_is_items(Datum d) {
    return d.kind == DATUM_LIST || d.kind == DATUM_TUPLE;
}

// Reads well behind "got": got a tensor f32[3,4], got the number 3.
const char *datum_describe(Arena *a, Datum d) {
    // No default, so that the compiler tells of a kind that is missing here.
    switch (d.kind) {
    case DATUM_ERROR:
        return "an error";
    case DATUM_ABSENT:
        return "nothing";
    case DATUM_NONE:
        return "none";
    case DATUM_BOOL:
        return d.as.truth ? "true" : "false";
    case DATUM_INT:
        return arena_format(a, "the number %lld", (long long)d.as.whole);
    case DATUM_FLOAT:
        return arena_format(a, "the number %g", d.as.real);
    case DATUM_TEXT:
        return arena_format(a, "the text \"%s\"", d.as.text);
    case DATUM_DTYPE:
        return arena_format(a, "the element type %s", dtype_name(d.as.dtype));
    case DATUM_LIST:
        return arena_format(a, "a list of %d", d.as.items->count);
    case DATUM_TUPLE:
        return arena_format(a, "%d values", d.as.items->count);
    case DATUM_RANGE:
        return "a range";
    case DATUM_FUNCTION:
    case DATUM_BUILTIN:
        return "a function";
    case DATUM_NAMESPACE:
        return "a namespace";
    case DATUM_INSTANCE:
        return "an instance";
    case DATUM_TENSOR:
        return arena_format(a, "a tensor %s", type_text(a, &d.as.array->value->type));
    case DATUM_STATE:
        return "state";
    case DATUM_INIT:
        return "an initial distribution";
    case DATUM_OPTIMIZER:
        return "an optimizer";
    case DATUM_CLIP:
        return "a clipping rule";
    }
    UNREACHABLE();
}

// x as one factor, or as its own factors where it was written as a product.
// x is a whole number. False where more than FACTORS_MAX come together.
static bool factors_append(Factors *out, Datum x, bool flatten) {
    if (flatten && x.factors) {
        for (int i = 0; i < x.factors->count; i++) {
            if (out->count == FACTORS_MAX)
                return false;
            out->at[out->count++] = x.factors->at[i];
        }
        return true;
    }
    if (out->count == FACTORS_MAX)
        return false;
    out->at[out->count++] = x.as.whole;
    return true;
}

// A name that stands for a product is one factor, since only what is written as a product is
// flattened: with d = heads * e, 3 * d is (3, d), but 3 * heads * e is (3, heads, e).
// NULL is no error: the size is then known as a number only.
const Factors *factors_multiply(Arena *a, Datum x, bool flatten_x, Datum y, bool flatten_y) {
    Factors *out = arena_new(a, Factors);
    if (!factors_append(out, x, flatten_x) || !factors_append(out, y, flatten_y))
        return NULL;
    return out;
}
