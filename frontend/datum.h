// What an expression of the language is worth while a model is being elaborated.
//
// Most values exist at compile time only: numbers, texts, lists, functions. A tensor is a value of
// the graph being built. Sizes remember how they were multiplied together (3 * heads * e), so that
// `arrange` can take them apart again.
#ifndef PLIM_FRONTEND_DATUM_H
#define PLIM_FRONTEND_DATUM_H

#include "frontend/ast.h"
#include "ir/module.h"

typedef struct Frame Frame;
typedef struct Builtin Builtin;

typedef enum {
    DATUM_ERROR,  // reported already: whatever is computed from it is an error too, silently
    DATUM_ABSENT, // no value was given
    DATUM_NONE,
    DATUM_BOOL,
    DATUM_INT,
    DATUM_FLOAT,
    DATUM_TEXT,
    DATUM_DTYPE,
    DATUM_LIST,
    DATUM_TUPLE,
    DATUM_RANGE,
    DATUM_FUNCTION,
    DATUM_BUILTIN,
    DATUM_NAMESPACE,
    DATUM_INSTANCE,
    DATUM_TENSOR,
    DATUM_STATE, // bound to names only; reading the name gives its current value, a tensor
    DATUM_INIT,
    DATUM_OPTIMIZER,
    DATUM_CLIP
} DatumKind;

// How a size was multiplied together.
enum { FACTORS_MAX = 8 };
typedef struct {
    int count;
    int64_t at[FACTORS_MAX];
} Factors;

typedef struct Datum Datum;

typedef struct {
    int count;
    const Datum *at;
} Items;

// lo .. hi. A missing end is DATUM_ABSENT. Where lo is a tensor, size is the number of elements.
typedef struct RangeEnds RangeEnds;

// A tensor and, by axis, the factors of its size (NULL: not known).
typedef struct {
    Value *value;
    const Factors *factors[RANK_MAX];
} Array;

// A fn with the names around it.
typedef struct {
    const FnDecl *decl;
    Frame *around;
} Function;

// What `use` brings: the functions of another file.
typedef struct {
    const char *name;
    Frame *frame;
} Namespace;

// A labelled call with open arguments: shares its parameters between its calls.
typedef struct Instance Instance;

typedef enum { INIT_CONSTANT, INIT_NORMAL, INIT_UNIFORM, INIT_KAIMING, INIT_XAVIER } InitKind;

// How a state gets its first value: constant a; normal of mean a, deviation b; uniform in [a, b).
typedef struct {
    InitKind kind;
    double a, b;
} Init;

typedef struct {
    const char *name; // "adamw", "sgd"
    Value *rate;      // f32[]
    double beta1, beta2, eps, momentum, decay;
    bool nesterov;
} Optimizer;

struct Datum {
    DatumKind kind;
    union {
        bool truth;
        int64_t whole;
        double real; // DATUM_FLOAT; DATUM_CLIP: the largest norm
        const char *text;
        DType dtype;
        const Items *items; // DATUM_LIST, DATUM_TUPLE
        const RangeEnds *range;
        const Function *function;
        const Builtin *builtin;
        const Namespace *space;
        const Instance *instance;
        const Array *array;
        State *state;
        const Init *init;
        const Optimizer *optimizer;
    } as;
    const Factors *factors; // DATUM_INT: NULL where it is no product
};

struct RangeEnds {
    Datum lo, hi;
    int64_t size; // where lo is a tensor
};

Datum datum_error(void);
Datum datum_absent(void);
Datum datum_none(void);
Datum datum_bool(bool truth);
Datum datum_int(int64_t whole);
Datum datum_float(double real);
Datum datum_text(const char *text);
Datum datum_items(Arena *a, DatumKind kind, const Datum *at, int count);
// A tensor without known factors; DATUM_ERROR where value is NULL.
Datum datum_tensor(Arena *a, Value *value);
Datum datum_array(const Array *array);

bool datum_is_number(Datum d); // int or float
double datum_number(Datum d);  // of a number
bool datum_is_items(Datum d);  // list or tuple
// "a tensor f32[3,4]", "the number 3": for messages.
const char *datum_describe(Arena *a, Datum d);

// The product's factors: those of x and y in a row where they are products themselves (flatten),
// else the numbers. NULL where there would be too many.
const Factors *factors_multiply(Arena *a, Datum x, bool flatten_x, Datum y, bool flatten_y);

#endif
