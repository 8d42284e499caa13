// arrange(x, "b s (3 h e) -> 3 b h s e"): splits axes, reorders them, merges them. Reshape,
// transpose, reshape.
//
// Sizes inside a group come from literals, from named arguments (h = heads), from other axes of the
// same name, from how the size was multiplied together, or from what is left of the product. A name
// only on the right repeats the tensor along a new axis and needs a size.
//
// On entry: a tensor and a pattern. On exit: at most reshape, transpose, broadcast, reshape, each
// left out where it changes nothing; all are views to later passes.
//
//     x: f32[5,24], "s (3 h e) -> 3 h s e", h = 2
//       =>  reshape [5,3,2,4]; transpose {perm = [1,2,0,3]}
//
// The left side becomes a list of atoms (elementary axes with sizes), the right side a list of
// atoms and new axes with marks where they merge. Cost: proportional to the pattern. It does not
// reduce: an axis that is missing on the right is an error unless its size is 1.
#include "frontend/builtins.h"

#include "ir/check.h"

#include <string.h>

// One elementary axis of the left side.
typedef struct {
    const char *name; // interned, "...K" for the K-th of the rest; NULL: literal
    int64_t size;     // 0: not known yet
    const Factors *factors;
    bool used; // by the right side
} Atom;

enum { ATOMS_MAX = PATTERN_AXES_MAX + RANK_MAX };

typedef struct {
    Elab *e;
    Loc loc;
    const BuiltinCall *call;
    const char *text;
    const Array *x;
    int atom_count;
    Atom atom[ATOMS_MAX];
    int rest; // axes that ... stands for
} Arrange;

static Datum fail_axes(const Arrange *w, const char *help, const char *what) {
    return elab_fail(w->e, w->loc, CODE_AXES, help, "%s: \"%.60s\" of %s", what, w->text,
                     type_text(w->e->arena, &w->x->value->type));
}

// h = 12 among the call's arguments; 0 where it is not given, -1 after a diagnostic.
static int64_t given_size(const Arrange *w, const char *name) {
    for (int i = 0; i < w->call->given_count; i++) {
        const CallArg *arg = &w->call->given[i];
        int64_t size;
        if (arg->name == name)
            return elab_dim(w->e, arg->loc, arg->value, &size) ? size : -1;
    }
    return 0;
}

// The sizes inside one axis of the tensor: atoms first .. end, whose product is dim.
static bool solve_group(Arrange *w, int first, int end, int64_t dim, const Factors *factors) {
    int unknown = 0;
    int64_t known = 1;
    for (int i = first; i < end; i++) {
        if (w->atom[i].size == 0 && w->atom[i].name)
            w->atom[i].size = given_size(w, w->atom[i].name);
        if (w->atom[i].size < 0)
            return false;
        unknown += w->atom[i].size == 0;
        if (w->atom[i].size && !count_mul(known, w->atom[i].size, &known))
            known = 0; // larger than any axis: reported below
    }
    // Several unknown sizes: as the size was multiplied together, where that fits what is known.
    if (unknown > 1 && factors && factors->count == end - first) {
        for (int i = first; i < end; i++)
            if (w->atom[i].size && w->atom[i].size != factors->at[i - first])
                factors = NULL;
            else if (!factors)
                break;
        for (int i = first; factors && i < end; i++)
            w->atom[i].size = factors->at[i - first];
        if (factors)
            return true;
    }
    if (unknown > 1) {
        fail_axes(w, "give one, as in arrange(x, \"...\", h = heads)",
                  "more than one size in ( ) is unknown");
        return false;
    }
    if (known == 0 || dim % known != 0 || (unknown == 0 && known != dim)) {
        elab_fail(w->e, w->loc, CODE_AXES, NULL,
                  "an axis of %lld does not split into %lld: \"%.60s\"", (long long)dim,
                  (long long)known, w->text);
        return false;
    }
    for (int i = first; i < end; i++)
        if (w->atom[i].size == 0)
            w->atom[i].size = dim / known;
    return true;
}

// The axes that ... stands for are ordinary atoms with names no pattern can write.
static const char *rest_name(const Arrange *w, int k) {
    return intern(w->e->names, arena_format(w->e->arena, "...%d", k));
}

// Fills in the atoms of the left side.
static bool read_left(Arrange *w, const Pattern *left) {
    const Type *type = &w->x->value->type;
    int rest = 0;
    for (int i = 0; i < left->count; i++)
        rest += pattern_is_rest(&left->axis[i]);
    w->rest = type->rank - (left->group_count - rest);
    if (w->rest < 0 || (rest == 0 && w->rest != 0)) {
        fail_axes(w, NULL, "the left side has another number of axes");
        return false;
    }
    int axis = 0;
    for (int i = 0; i < left->count;) {
        if (pattern_is_rest(&left->axis[i])) {
            for (int k = 0; k < w->rest; k++, axis++)
                w->atom[w->atom_count++] =
                    (Atom){rest_name(w, k), type->dim[axis], w->x->factors[axis], false};
            i++;
            continue;
        }
        const int first = w->atom_count, group = left->axis[i].group, from = i;
        for (; i < left->count && left->axis[i].group == group; i++)
            w->atom[w->atom_count++] =
                (Atom){.name = left->axis[i].name, .size = left->axis[i].size};
        if (!solve_group(w, first, w->atom_count, type->dim[axis], w->x->factors[axis]))
            return false;
        if (i - from == 1)
            w->atom[first].factors = w->x->factors[axis];
        axis++;
    }
    return true;
}

// The left atom an axis of the right side takes, or -1: a new axis of *size.
static int right_atom(Arrange *w, const PatternAxis *axis, int64_t *size) {
    for (int i = 0; i < w->atom_count; i++) {
        Atom *atom = &w->atom[i];
        const bool same =
            axis->name ? atom->name == axis->name : !atom->name && atom->size == axis->size;
        if (same && !atom->used) {
            atom->used = true;
            *size = atom->size;
            return i;
        }
    }
    *size = axis->name ? given_size(w, axis->name) : axis->size;
    return -1;
}

// The right side: which atoms in which order, new axes between them, and how they merge.
typedef struct {
    int count;
    int atom[ATOMS_MAX]; // -1: new
    int64_t size[ATOMS_MAX];
    Shape out;
} Right;

// One elementary axis of the right side: an atom of the left, or new with a size of its own.
static bool read_right_axis(Arrange *w, const PatternAxis *axis, Right *out) {
    const int at = out->count++;
    out->atom[at] = right_atom(w, axis, &out->size[at]);
    if (out->size[at] > 0)
        return true;
    if (out->size[at] == 0)
        elab_fail(
            w->e, w->loc, CODE_AXES, arena_format(w->e->arena, "give it, as in %s = 8", axis->name),
            "axis %s stands only on the right of \"%.60s\" and has no size", axis->name, w->text);
    return false;
}

// The axes from `first` on become one axis of the result, whose size remembers them as factors.
static bool push_axis(Arrange *w, Right *out, int first) {
    Shape *shape = &out->out;
    if (shape->rank == RANK_MAX) {
        elab_fail(w->e, w->loc, CODE_RANK, NULL, "a tensor has at most %d axes", RANK_MAX);
        return false;
    }
    int64_t size = 1;
    Factors *factors = arena_new(w->e->arena, Factors);
    for (int i = first; i < out->count; i++) {
        if (!count_mul(size, out->size[i], &size) || size > DIM_MAX) {
            elab_fail(w->e, w->loc, CODE_DIM, NULL, "an axis of \"%.60s\" is longer than 2^40",
                      w->text);
            return false;
        }
        if (factors && factors->count < FACTORS_MAX)
            factors->at[factors->count++] = out->size[i];
        else
            factors = NULL;
    }
    const bool single = out->count - first == 1;
    shape->factors[shape->rank] = factors;
    if (single)
        shape->factors[shape->rank] =
            out->atom[first] < 0 ? NULL : w->atom[out->atom[first]].factors;
    shape->dim[shape->rank++] = size;
    return true;
}

// Lays out the result. Every atom of the left must be used, but for axes of size 1.
static bool read_right(Arrange *w, const Pattern *right, Right *out) {
    for (int i = 0; i < right->count;) {
        if (pattern_is_rest(&right->axis[i])) {
            for (int k = 0; k < w->rest; k++) {
                const PatternAxis axis = {.name = rest_name(w, k)};
                if (!read_right_axis(w, &axis, out) || !push_axis(w, out, out->count - 1))
                    return false;
            }
            i++;
            continue;
        }
        const int first = out->count, group = right->axis[i].group;
        for (; i < right->count && right->axis[i].group == group; i++)
            if (!read_right_axis(w, &right->axis[i], out))
                return false;
        if (!push_axis(w, out, first))
            return false;
    }
    for (int i = 0; i < w->atom_count; i++)
        if (!w->atom[i].used && w->atom[i].size != 1) {
            fail_axes(w, "sum and mean reduce axes",
                      arena_format(w->e->arena, "axis %s is lost on the right",
                                   w->atom[i].name ? w->atom[i].name : "of a literal size"));
            return false;
        }
    return true;
}

// Reshape to the atoms (without those of size 1 that vanish), reorder, repeat, merge.
static Value *apply(const Arrange *w, const Right *right) {
    int64_t dim[ATOMS_MAX];
    int place[ATOMS_MAX], perm[RANK_MAX], rank = 0, kept = 0;
    for (int i = 0; i < w->atom_count; i++) {
        place[i] = rank;
        if (w->atom[i].used) {
            if (rank == RANK_MAX) {
                elab_fail(w->e, w->loc, CODE_RANK, NULL,
                          "\"%.60s\" needs more than %d axes on the way", w->text, RANK_MAX);
                return NULL;
            }
            dim[rank++] = w->atom[i].size;
        }
    }
    Type wide = type_scalar(w->x->value->type.dtype);
    int axes[RANK_MAX];
    bool sorted = true;
    for (int i = 0; i < right->count; i++) {
        if (right->atom[i] >= 0) {
            perm[kept] = place[right->atom[i]];
            sorted = sorted && perm[kept] == kept;
            axes[kept++] = i;
        }
    }
    Builder *b = elab_at(w->e, w->loc);
    Value *v = w->x->value;
    const Type split = type_make(v->type.dtype, rank, dim);
    if (!type_same_shape(&split, &v->type))
        v = build_reshape(b, v, rank, dim);
    if (!sorted)
        v = build_transpose(b, v, perm);
    if (kept < right->count) {
        if (right->count > RANK_MAX) {
            elab_fail(w->e, w->loc, CODE_RANK, NULL, "a tensor has at most %d axes", RANK_MAX);
            return NULL;
        }
        wide.rank = right->count;
        memcpy(wide.dim, right->size, (size_t)right->count * sizeof wide.dim[0]);
        v = type_check(&wide) ? build_broadcast(b, v, &wide, axes) : NULL;
        if (!type_check(&wide))
            elab_fail(w->e, w->loc, CODE_OVERFLOW, NULL,
                      "a tensor of that shape has 2^62 bytes or more");
    }
    const Type out = type_make(DT_F32, right->out.rank, right->out.dim);
    return v && !type_same_shape(&out, &v->type)
               ? build_reshape(elab_at(w->e, w->loc), v, right->out.rank, right->out.dim)
               : v;
}

// Every name = size must name an axis of the pattern.
static bool check_given(const Arrange *w, const Pattern *left, const Pattern *right) {
    for (int i = 0; i < w->call->given_count; i++) {
        const CallArg *arg = &w->call->given[i];
        bool known = !arg->name;
        for (int k = 0; k < left->count; k++)
            known = known || left->axis[k].name == arg->name;
        for (int k = 0; k < right->count; k++)
            known = known || right->axis[k].name == arg->name;
        if (!known && strcmp(arg->name, "pattern") != 0 && strcmp(arg->name, "x") != 0) {
            elab_fail(w->e, arg->loc, CODE_ARGUMENT, NULL, "the pattern has no axis %s", arg->name);
            return false;
        }
    }
    return true;
}

// [5, 24] by "s (3 h e) -> 3 h s e" with h = 2: atoms s=5 3 h=2 e=4; reshape [5,3,2,4]; transpose
// [3,2,5,4].
Datum run_arrange(Elab *e, const BuiltinCall *call) {
    Arrange *w = arena_new(e->arena, Arrange);
    w->e = e;
    w->loc = call->loc;
    w->call = call;
    w->x = builtin_array(e, call, 0);
    w->text = builtin_text(e, call, 1);
    size_t left_bytes;
    const char *right_text;
    Pattern left, right;
    if (!w->x || !w->text ||
        !pattern_sides(e, call->arg_loc[1], w->text, &left_bytes, &right_text) ||
        !pattern_parse(e, call->arg_loc[1], w->text, left_bytes, &left) ||
        !pattern_parse(e, call->arg_loc[1], right_text, strlen(right_text), &right) ||
        !check_given(w, &left, &right) || !read_left(w, &left))
        return datum_error();
    Right *out = arena_new(e->arena, Right);
    if (!read_right(w, &right, out))
        return datum_error();
    Array *made = arena_new(e->arena, Array);
    made->value = apply(w, out);
    memcpy(made->factors, out->out.factors, sizeof made->factors);
    return made->value ? datum_array(made) : elab_made(e, call->loc, NULL);
}
