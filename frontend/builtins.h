// The functions that are there without any `use`.
#ifndef PLIM_FRONTEND_BUILTINS_H
#define PLIM_FRONTEND_BUILTINS_H

#include "frontend/elaborate.h"

enum { BUILTIN_PARAMS_MAX = 12 };

// A call of a builtin with its arguments in the order of Builtin.params.
typedef struct {
    Loc loc;
    const Builtin *self;
    Datum arg[BUILTIN_PARAMS_MAX]; // DATUM_ABSENT where none was given
    Loc arg_loc[BUILTIN_PARAMS_MAX];
    const CallArg *given; // all arguments as written: for variadic ones and axis sizes
    int given_count;
} BuiltinCall;

struct Builtin {
    const char *name;
    // "x w eps?": ? means optional. "*" in front takes any number of positional arguments (given),
    // and only the rest is bound, by name. "**" at the end takes any other name = value (given).
    const char *params;
    Datum (*run)(Elab *e, const BuiltinCall *call);
    Op op; // of functions that are one pointwise operator
};

// NULL where there is none of that name.
const Builtin *builtin_find(const char *name);
int builtin_names(Arena *a, const char ***out);
Datum builtin_call(Elab *e, Loc loc, const Builtin *b, const CallArg *args, int count);

// Arguments as what they must be; false or NULL after a diagnostic. Absent ones give the fallback.
bool builtin_is_given(const BuiltinCall *call, int index);
bool builtin_number(Elab *e, const BuiltinCall *call, int index, double fallback, double *out);
bool builtin_int(Elab *e, const BuiltinCall *call, int index, int64_t fallback, int64_t *out);
bool builtin_bool(Elab *e, const BuiltinCall *call, int index, bool fallback, bool *out);
const char *builtin_text(Elab *e, const BuiltinCall *call, int index);
const Array *builtin_array(Elab *e, const BuiltinCall *call, int index);
const Array *builtin_float_array(Elab *e, const BuiltinCall *call, int index);
// An axis, counted from the end where negative. Absent: fallback.
bool builtin_axis(Elab *e, const BuiltinCall *call, int index, int rank, int fallback, int *out);
// A whole number for height and width, or one each.
bool builtin_pair(Elab *e, const BuiltinCall *call, int index, int64_t fallback, int64_t out[2]);
// The same for what stands around an image, or ((top, bottom), (left, right)). Absent: none.
bool builtin_padding(Elab *e, const BuiltinCall *call, int index, int64_t before[2],
                     int64_t after[2]);
// "softmax takes ..., got ...".
Datum builtin_wrong(Elab *e, const BuiltinCall *call, int index, const char *wanted);

// Groups of builtins, by file.
#define BUILTIN_GROUP(NAME)                                                                        \
    extern const Builtin builtins_##NAME[];                                                        \
    extern const int builtins_##NAME##_count;
BUILTIN_GROUP(pointwise)
BUILTIN_GROUP(shape)
BUILTIN_GROUP(reduce)
BUILTIN_GROUP(rowwise)
BUILTIN_GROUP(convolve)
BUILTIN_GROUP(training)
BUILTIN_GROUP(leaf)
BUILTIN_GROUP(grad)
BUILTIN_GROUP(emit)
BUILTIN_GROUP(pool)
#undef BUILTIN_GROUP

// Used by more than one group.
// Sums or takes the maximum over axes (a bit each); the axes vanish.
Value *reduce_axes(Elab *e, Loc loc, Op op, Value *x, unsigned axes);
// x laid along one axis of a shape: [c] to [n, c, h, w].
Value *spread_axis(Elab *e, Loc loc, Value *x, const Type *to, int axis);

// Patterns of named axes (axis_pattern.c).
enum { PATTERN_AXES_MAX = 24, PATTERN_NAME_MAX = 24 };
typedef struct {
    const char *name; // interned; NULL: a literal size; "..." interned: the rest
    int64_t size;     // of a literal
    int group;        // axes of one (group) share a number; each plain axis has its own
} PatternAxis;
typedef struct {
    int count, group_count;
    PatternAxis axis[PATTERN_AXES_MAX];
} Pattern;
// Reads "b s (3 h e)". False after a diagnostic.
bool pattern_parse(Elab *e, Loc loc, const char *text, size_t bytes, Pattern *out);
// Splits "left -> right" at the arrow; left may hold several operands separated by commas.
bool pattern_sides(Elab *e, Loc loc, const char *text, size_t *left_bytes, const char **right);
bool pattern_is_rest(const PatternAxis *axis);

Datum run_arrange(Elab *e, const BuiltinCall *call);
Datum run_einsum(Elab *e, const BuiltinCall *call);
Datum run_attend(Elab *e, const BuiltinCall *call);
// The product of two tensors by named axes, as many operands as given.
Datum einsum_named(Elab *e, Loc loc, const char *spec, const Array *const *operand, int count);

#endif
