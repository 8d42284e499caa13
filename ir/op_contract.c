// Contractions: einsum over two operands, "bmk,bkn->bmn", one letter an axis.
//
// A letter of both operands and the result is a batch, of both operands alone it is summed, of one
// operand and the result it is free. A letter of one operand alone would be a plain sum and is
// refused: say reduce_sum, which keeps gradients of einsum einsums. Likewise a letter twice in one
// operand (a diagonal).
#include "ir/op_rules.h"

#include "ir/build.h"
#include "ir/check.h"

#include <string.h>

// a-z and A-Z: more than two operands have axes.
enum { LETTERS = 52 };

// The spec taken apart; parts 0 and 1 are the operands, 2 is the result.
typedef struct {
    int count[3]; // letters of a part
    // In the order of the text, ended by a NUL.
    char letter[3][RANK_MAX + 1];
    int8_t axis[3][LETTERS]; // of a letter in a part, or -1
} Spec;

// a-z, A-Z to 0..51; -1 for anything else.
static int letter_index(char c) {
    if (c >= 'a' && c <= 'z')
        return c - 'a';
    return c >= 'A' && c <= 'Z' ? c - 'A' + 26 : -1;
}

// NULL, or what is wrong with the text.
static const char *spec_read(const char *text, Spec *out) {
    *out = (Spec){0};
    // No letter has an axis yet.
    memset(out->axis, -1, sizeof(out->axis));
    int part = 0;
    for (const char *at = text; *at; at++) {
        if (part == 0 && *at == ',') {
            part = 1;
        } else if (part == 1 && at[0] == '-' && at[1] == '>') {
            part = 2;
            at++;
        } else {
            const int letter = letter_index(*at);
            if (letter < 0)
                return "it is letters of two operands and a result: \"mk,kn->mn\"";
            if (out->axis[part][letter] >= 0)
                return "a letter stands twice in one operand";
            if (out->count[part] == RANK_MAX)
                return "an operand has too many axes";
            out->axis[part][letter] = (int8_t)out->count[part];
            out->letter[part][out->count[part]++] = *at;
        }
    }
    if (part != 2)
        return "it is letters of two operands and a result: \"mk,kn->mn\"";
    // Letters without a meaning: see the head of the file.
    for (int i = 0; i < LETTERS; i++) {
        const int in = (out->axis[0][i] >= 0) + (out->axis[1][i] >= 0);
        if (out->axis[2][i] >= 0 && in == 0)
            return "a letter of the result is in no operand";
        if (out->axis[2][i] < 0 && in == 1)
            return "a letter is in one operand alone: sum that axis first";
    }
    return NULL;
}

// The spec of a node that has been inferred.
static Spec node_spec(const Node *n) {
    Spec spec;
    CHECK(!spec_read(node_text(n, "spec", ""), &spec));
    return spec;
}

// Types of operands first and first + 1 against the spec; the product's shape in the first's dtype.
static bool infer_product(const Node *n, int first, Type *result, Diag *d, Arena *scratch) {
    const char *text = node_text(n, "spec", "");
    const char *name = op_info(n->op)->name;
    Spec spec;
    const char *wrong = spec_read(text, &spec);
    if (wrong)
        return diag_error(d, n->loc, 312, "%s \"%s\": %s", name, text, wrong);
    const Type *type[2] = {&n->input[first]->type, &n->input[first + 1]->type};
    for (int p = 0; p < 2; p++)
        if (type[p]->rank != spec.count[p])
            return diag_error(d, n->loc, 313, "%s \"%s\" wants %d axes for '%s', got %s", name,
                              text, spec.count[p], spec.letter[p], type_text(scratch, type[p]));
    if (!infer_want_float(n, first, d, scratch))
        return false;
    if (type[0]->dtype != type[1]->dtype)
        return diag_error(d, n->loc, 301, "%s wants operands of one element type, got %s and %s",
                          name, type_text(scratch, type[0]), type_text(scratch, type[1]));
    // Sizes are filled in letter by letter; a letter of both operands must have one size.
    *result = type_make(type[0]->dtype, spec.count[2], (int64_t[RANK_MAX]){0});
    for (int i = 0; i < LETTERS; i++) {
        const int a = spec.axis[0][i], b = spec.axis[1][i], c = spec.axis[2][i];
        if (a >= 0 && b >= 0 && type[0]->dim[a] != type[1]->dim[b])
            return diag_error(d, n->loc, 313, "%s \"%s\": sizes of '%c' differ: %s and %s", name,
                              text, spec.letter[0][a], type_text(scratch, type[0]),
                              type_text(scratch, type[1]));
        if (c >= 0)
            result->dim[c] = a >= 0 ? type[0]->dim[a] : type[1]->dim[b];
    }
    return infer_want_size(n, result, d, scratch);
}

bool infer_einsum(const Node *n, Type *result, Diag *d, Arena *scratch) {
    return infer_product(n, 0, result, d, scratch);
}

// What is added to may be f32 while the product's operands are bf16.
bool infer_einsum_add(const Node *n, Type *result, Diag *d, Arena *scratch) {
    Type product;
    if (!infer_product(n, 1, &product, d, scratch) ||
        !infer_want(n, 0, "a summand", product, WANT_FLOAT, d, scratch))
        return false;
    *result = n->input[0]->type;
    return true;
}

// Which part of the spec operand o of the node is; einsum_add's summand looks like the result.
static int operand_part(const Node *n, int o) {
    if (n->op == OP_EINSUM)
        return o;
    return o == 1 || o == 2 ? o - 1 : 2;
}

// One dim for each letter: first the result's, then the summed ones in the first operand's order.
bool map_einsum(const Node *n, IndexMap *out) {
    const Spec spec = node_spec(n);
    const int operands = n->input_count + n->result_count;
    *out = (IndexMap){.operand_count = operands};
    memset(out->axis_dim, -1, sizeof(out->axis_dim));
    // Part 2 is the result, part 0 the first operand: it has all letters that are summed.
    for (int part = 2; part >= 0; part -= 2)
        for (int i = 0; i < spec.count[part]; i++) {
            const int letter = letter_index(spec.letter[part][i]);
            if (part == 0 && spec.axis[2][letter] >= 0)
                continue;
            const int dim = out->dim_count++;
            if (part == 0)
                out->reduced |= 1u << dim;
            for (int o = 0; o < operands; o++) {
                const int axis = spec.axis[operand_part(n, o)][letter];
                if (axis < 0)
                    continue;
                out->axis_dim[o][axis] = (int8_t)dim;
                out->extent[dim] = map_operand(n, o)->dim[axis];
            }
        }
    return true;
}

// da = einsum(dy, b) and db = einsum(dy, a), their letters as in the spec; factor: the operands.
static void grad_product(Builder *b, const Node *n, Value *dy, Value *const *factor, Value **out) {
    const Spec spec = node_spec(n);
    for (int p = 0; p < 2; p++) {
        const char *back = arena_format(b->g->arena, "%s,%s->%s", spec.letter[2],
                                        spec.letter[1 - p], spec.letter[p]);
        out[p] = build_einsum(b, build_cast(b, dy, factor[p]->type.dtype), factor[1 - p], back);
    }
}

void grad_einsum(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    grad_product(b, n, dresult[0], n->input, dinput);
}

// The summand's gradient is the result's.
void grad_einsum_add(Builder *b, const Node *n, Value *const *dresult, Value **dinput) {
    dinput[0] = dresult[0];
    grad_product(b, n, dresult[0], n->input + 1, dinput + 1);
}

// out += a b over every point of the index map.
static void add_product(const Node *n, const Tensor *a, const Tensor *b, Tensor *out) {
    IndexMap map;
    map_einsum(n, &map);
    const Tensor *operand[3] = {a, b, out};
    const int number[3] = {n->input_count - 2, n->input_count - 1, n->input_count};
    // stride[k][dim]: 0 where operand k lacks the letter, so it stands still there.
    int64_t stride[3][MAP_DIMS_MAX] = {0}, points = 1;
    for (int k = 0; k < 3; k++) {
        int64_t dense[RANK_MAX];
        type_strides(&operand[k]->type, dense);
        for (int i = 0; i < operand[k]->type.rank; i++)
            stride[k][map.axis_dim[number[k]][i]] = dense[i];
    }
    for (int i = 0; i < map.dim_count; i++)
        points *= map.extent[i];
    for (int64_t p = 0; p < points; p++) {
        // Point p taken apart, the last dim fastest.
        int64_t at[3] = {0}, rest = p;
        for (int i = map.dim_count - 1; i >= 0; i--) {
            const int64_t index = rest % map.extent[i];
            rest /= map.extent[i];
            for (int k = 0; k < 3; k++)
                at[k] += index * stride[k][i];
        }
        out->at[at[2]] += a->at[at[0]] * b->at[at[1]];
    }
}

void evaluate_einsum(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)cx;
    add_product(n, &in[0], &in[1], &out[0]);
}

void evaluate_einsum_add(const Node *n, const Tensor *in, Tensor *out, const EvalCtx *cx) {
    (void)cx;
    const int64_t count = type_count(&out[0].type);
    for (int64_t i = 0; i < count; i++)
        out[0].at[i] = in[0].at[i];
    add_product(n, &in[1], &in[2], &out[0]);
}
