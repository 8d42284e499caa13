// What users are told when shapes and types do not fit: the first message of each mistake, word for
// word.
#include "op_case.h"

#include "ir/diag.h"

#include <string.h>

typedef struct {
    const char *op, *operands, *results, *attrs, *want;
} Case;

// A convolution's settings: its stride and groups.
#define CONV(STRIDE, GROUPS)                                                                       \
    "stride = [" STRIDE ",1], before = [0,0], after = [0,0], dilation = [1,1], groups = " GROUPS

static const Case cases[] = {
    {"constant", "", "f32[1]", "value = 0.0, dtype = \"f64\", shape = [1]",
     "307 there is no element type 'f64'"},
    {"iota", "", "i32[2]", "shape = [2], axis = 1", "305 iota has no axis 1: its operand has 1"},
    {"constant", "", "f32[]", "value = 0.0, dtype = \"f32\", shape = [1,1,1,1,1,1,1,1,1]",
     "306 constant has 9 axes, at most 8 are possible"},
    {"random_normal", "f32[]", "f32[1]", "shape = [1], key = 1, mean = 0.0, std = 1.0",
     "303 random_normal wants a seed i32[], got f32[]"},
    {"exp", "i32[2]", "i32[2]", NULL, "302 exp wants floating point elements, got i32[2]"},
    {"not", "f32[2]", "f32[2]", NULL, "302 not wants bool elements, got f32[2]"},
    {"add", "f32[2,3] f32[3]", "f32[2,3]", NULL,
     "301 add wants operands of one type, but their shapes differ: f32[2,3] and f32[3]"},
    {"mul", "f32[2] bf16[2]", "f32[2]", NULL,
     "301 mul wants operands of one type, but their element types differ: f32[2] and bf16[2]"},
    {"lt", "bool[] bool[]", "bool[]", NULL, "302 lt wants numbers, got bool[]"},
    {"select", "f32[2] f32[2] f32[2]", "f32[2]", NULL,
     "303 select wants a condition bool[2], got f32[2]"},
    {"cast", "f32[]", "f32[]", "to = \"half\"", "307 there is no element type 'half'"},
    {"reshape", "f32[2,3]", "f32[4]", "shape = [4]",
     "309 reshape keeps the number of elements, but f32[2,3] has 6 and f32[4] 4"},
    {"transpose", "f32[2,3]", "f32[2,3]", "perm = [0,0]",
     "308 transpose of f32[2,3] names axis 0 twice"},
    {"transpose", "f32[2,3]", "f32[2,3]", "perm = [0]",
     "308 transpose wants 2 numbers in 'perm', one for each axis, got 1"},
    {"transpose", "f32[2,3]", "f32[2,3]", "perm = [0,2]",
     "305 transpose has no axis 2: its operand has 2"},
    {"broadcast", "f32[2]", "f32[3]", "shape = [3], axes = [0]",
     "310 f32[2] does not broadcast to f32[3]: axis 0 is neither 1 nor 3"},
    {"broadcast", "f32[1,1]", "f32[3,3]", "shape = [3,3], axes = [1,0]",
     "308 broadcast's axes must rise, got 0 after 1"},
    {"slice", "f32[4]", "f32[2]", "start = [3], stop = [5]",
     "311 slice 3..5 of axis 0 is not inside f32[4]"},
    {"split", "f32[4]", "f32[1] f32[2]", "axis = 0, sizes = [1,2]",
     "311 the parts of split leave 1 of axis 0 of f32[4]"},
    {"split", "f32[4]", "f32[1] f32[5]", "axis = 0, sizes = [1,5]",
     "311 part 1 of split has size 5, but 3 are left of axis 0 of f32[4]"},
    {"concat", "f32[2,3] f32[3,3]", "f32[2,6]", "axis = 1",
     "301 concat wants operands that differ only in axis 1, got f32[2,3] and f32[3,3]"},
    {"pad", "f32[2]", "f32[2]", "before = [-1], after = [1]",
     "311 pad of -1 before and 1 after axis 0 is not possible"},
    {"dynamic_slice", "f32[4] i32[]", "f32[5]", "axis = 0, size = 5",
     "311 a slice of 5 does not fit axis 0 of f32[4]"},
    {"dynamic_update", "f32[4] f32[5] i32[]", "f32[4]", "axis = 0",
     "311 f32[5] can't be stored along axis 0 of f32[4]"},
    {"reduce_sum", "f32[4]", "f32[4]", "axes = []", "308 reduce_sum of f32[4] names no axis"},
    {"reduce_sum", "f32[4,4]", "f32[]", "axes = [1,0]",
     "308 the axes of reduce_sum must rise, got 0 after 1"},
    {"reduce_sum", "i32[2]", "i32[]", "axes = [0]",
     "302 reduce_sum wants floating point elements, got i32[2]"},
    {"reduce_max", "bool[2]", "bool[]", "axes = [0]",
     "302 reduce_max wants floating point elements, got bool[2]"},
    {"slice", "f32[4]", "f32[0]", "start = [2], stop = [2]",
     "402 a result of slice has no elements: f32[0]"},
    {"constant", "", "f32[2,0]", "value = 0.0, dtype = \"f32\", shape = [2,0]",
     "402 a result of constant has no elements: f32[2,0]"},
    {"softmax", "f32[]", "f32[]", NULL, "304 softmax wants at least 1 axis, got f32[]"},
    {"layernorm", "f32[2,3] f32[2] f32[3]", "f32[2,3] f32[2] f32[2]", "eps = 0.1",
     "303 layernorm wants a weight f32[3], got f32[2]"},
    {"cross_entropy", "f32[2,3] i32[3]", "f32[2] f32[2]", NULL,
     "303 cross_entropy wants targets i32[2], got i32[3]"},
    {"sample", "f32[2,3] f32[] f32[] i32[] f32[]", "i32[2]", "key = 1",
     "303 sample wants a step i32[], got f32[]"},
    {"sample", "f32[16777217] f32[] f32[] i32[] i32[]", "i32[]", "key = 1",
     "311 sample draws from 1 to 16777216 classes, got f32[16777217]"},
    {"rotary", "f32[2,3] f32[2,1] f32[2,1]", "f32[2,3]", "inverse = 0",
     "311 rotary turns pairs, but the last axis of f32[2,3] is odd"},
    {"einsum", "f32[2,3] f32[4,5]", "f32[2,5]", "spec = \"mk,kn->mn\"",
     "313 einsum \"mk,kn->mn\": sizes of 'k' differ: f32[2,3] and f32[4,5]"},
    {"einsum", "f32[2] f32[4,5]", "f32[2,5]", "spec = \"mk,kn->mn\"",
     "313 einsum \"mk,kn->mn\" wants 2 axes for 'mk', got f32[2]"},
    {"einsum", "f32[2,3] f32[3,5]", "f32[5]", "spec = \"mk,kn->n\"",
     "312 einsum \"mk,kn->n\": a letter is in one operand alone: sum that axis first"},
    {"einsum", "f32[2,2] f32[2]", "f32[2]", "spec = \"ii,i->i\"",
     "312 einsum \"ii,i->i\": a letter stands twice in one operand"},
    {"einsum", "f32[2] f32[2]", "f32[3]", "spec = \"i,i->j\"",
     "312 einsum \"i,i->j\": a letter of the result is in no operand"},
    {"einsum", "f32[2] f32[2]", "f32[]", "spec = \"i,i\"",
     "312 einsum \"i,i\": it is letters of two operands and a result: \"mk,kn->mn\""},
    {"conv2d", "f32[2,3] f32[1,1,1,1]", "f32[1]", CONV("1", "1"),
     "318 conv2d wants operands of 4 axes, got f32[2,3]"},
    {"conv2d", "f32[1,4,8,8] bf16[4,4,3,3]", "f32[1]", CONV("1", "1"),
     "301 conv2d wants operands of one element type, got f32[1,4,8,8] and bf16[4,4,3,3]"},
    {"conv2d", "f32[1,4,8,8] f32[4,4,3,3]", "f32[1]", CONV("1", "0"), "318 conv2d with 0 groups"},
    {"conv2d", "f32[1,4,8,8] f32[4,4,3,3]", "f32[1]", CONV("0", "1"),
     "318 conv2d with a stride of 0"},
    {"conv2d", "f32[1,4,8,8] f32[4,4,3,3]", "f32[1]",
     "stride = [1], before = [0,0], after = [0,0], dilation = [1,1], groups = 1",
     "318 conv2d wants 2 numbers in 'stride', got 1"},
    {"conv2d", "f32[1,4,8,8] f32[4,4,3,3]", "f32[1]", CONV("1", "2"),
     "318 conv2d of f32[1,4,8,8] and f32[4,4,3,3] in 2 groups: a kernel does not have its "
     "group's channels"},
    {"conv2d", "f32[1,4,8,8] f32[5,2,3,3]", "f32[1]", CONV("1", "2"),
     "318 conv2d of f32[1,4,8,8] and f32[5,2,3,3] in 2 groups: the groups don't divide the "
     "channels they give"},
    {"conv2d", "f32[1,5,8,8] f32[4,2,3,3]", "f32[1]", CONV("1", "2"),
     "318 conv2d of f32[1,5,8,8] and f32[4,2,3,3] in 2 groups: the groups don't divide the "
     "channels they take"},
    {"conv2d", "f32[1,4,8,2] f32[4,4,3,3]", "f32[1]", CONV("1", "1"),
     "318 conv2d: a kernel of 3 with dilation 1 does not fit into 2 with 0 of padding"},
    {"conv2d_input_grad", "f32[1,3,6,6] f32[4,4,3,3]", "f32[1]", "size = [8,8], " CONV("1", "1"),
     "318 conv2d_input_grad of f32[1,3,6,6] and f32[4,4,3,3] in 1 group: the channels given "
     "differ in number"},
    {"conv2d_input_grad", "f32[1,4,6,7] f32[4,4,3,3]", "f32[1]", "size = [8,8], " CONV("1", "1"),
     "318 conv2d_input_grad: a width of 8 gives 6, not 7"},
    {"conv2d_weight_grad", "f32[1,4,8,8] f32[2,4,6,6]", "f32[1]", "size = [3,3], " CONV("1", "1"),
     "318 conv2d_weight_grad of f32[1,4,8,8] and f32[2,4,6,6] in 1 group: their images differ in "
     "number"},
    {"attention", "f32[1,3,2,4] f32[1,2,2,4] f32[1,2,2,4]", "f32[1,3,2,4] f32[1,3,2]",
     "causal = 0, window = 0, scale = 1.0",
     "314 attention: 3 query heads can't share 2 key heads evenly"},
    {"attention", "f32[1,2,2,4] f32[1,2,2,5] f32[1,2,2,4]", "f32[1,2,2,4] f32[1,2,2]",
     "causal = 0, window = 0, scale = 1.0",
     "314 attention: head sizes of queries and keys differ: f32[1,2,2,4] and f32[1,2,2,5]"},
    {"attention", "f32[1,2,2,4] f32[1,2,2,4] f32[1,2,2,4]", "f32[1,2,2,4] f32[1,2,2]",
     "causal = 0, window = 2, scale = 1.0", "315 attention: a window of 2 needs causal attention"},
    {"attention", "f32[1,2,2,4] f32[1,2,2,4] f32[1,2,2,4]", "f32[1,2,2,4] f32[1,2,2]",
     "causal = 0, window = 0, scale = 1.0, cap = -2.0",
     "315 attention: a cap of -2, not 0.001 to 1000000"},
    {"attention", "f32[1,2,2,4] f32[1,2,2,4] f32[1,2,2,4] f32[3]", "f32[1,2,2,4] f32[1,2,2]",
     "causal = 0, window = 0, scale = 1.0", "303 attention wants slopes f32[2], got f32[3]"},
    {"attention", "f32[1,2,2,4] f32[1,2,2,4] f32[1,2,2,4] f32[2] i32[1,2]",
     "f32[1,2,2,4] f32[1,2,2]", "causal = 0, window = 0, scale = 1.0",
     "303 attention: operand 4 is out of place: behind the others come an offset or a table, slopes, "
     "a bias, a mask"},
    {"attention", "f32[1,2,2,4] f32[1,2,2,4] f32[1,2,2,4] f32[1,2,3,2]", "f32[1,2,2,4] f32[1,2,2]",
     "causal = 0, window = 0, scale = 1.0",
     "303 attention wants a bias like f32[1,2,2,2], 1 for axes that share it, got f32[1,2,3,2]"},
    {"attention", "f32[1,2,2,4] f32[1,2,2,4] f32[1,2,2,4] bool[1,2,2,3]", "f32[1,2,2,4] f32[1,2,2]",
     "causal = 0, window = 0, scale = 1.0",
     "303 attention wants a mask like bool[1,2,2,2], 1 for axes that share it, got bool[1,2,2,3]"},
    {"attention", "f32[1,2,2,4] f32[1,2,2,4] f32[1,2,2,4] i32[1,1,2,2]", "f32[1,2,2,4] f32[1,2,2]",
     "causal = 0, window = 0, scale = 1.0",
     "303 attention wants a bias like f32[1,2,2,2], 1 for axes that share it, got i32[1,1,2,2]"},
    {"attention_grad_bias",
     "f32[1,2,2,4] f32[1,2,2,4] f32[1,2,2,4] f32[1,2,2,4] f32[1,2,2] f32[1,2,2,4] f32[2]", "f32[2]",
     "causal = 0, window = 0, scale = 1.0", "303 attention_grad_bias wants a bias"},
    {"attention", "f32[1,2,2,4] f32[1,2,2,4] f32[1,2,2,4] f32[]", "f32[1,2,2,4] f32[1,2,2]",
     "causal = 1, window = 0, scale = 1.0", "303 attention wants an offset i32[], got f32[]"},
    {"attention", "f32[1,2,2,4] f32[1,2,2,4] f32[1,2,2,4] i32[]", "f32[1,2,2,4] f32[1,2,2]",
     "causal = 0, window = 0, scale = 1.0", "315 attention: an offset needs causal attention"},
    {"attention", "f32[1,2,3,4] f32[1,2,2,4] f32[1,2,2,4] i32[]", "f32[1,2,3,4] f32[1,2,3]",
     "causal = 1, window = 0, scale = 1.0",
     "314 attention: 3 queries from an offset on, but 2 keys"},
    {"attention", "f32[1,2,2,4] f32[1,2,2,4] f32[1,2,2,4] i32[1,3]", "f32[1,2,2,4] f32[1,2,2]",
     "causal = 0, window = 0, scale = 1.0", "303 attention wants documents i32[1,2], got i32[1,3]"},
    {"attention", "f32[1,2,3,4] f32[1,2,2,4] f32[1,2,2,4] i32[1,2]", "f32[1,2,3,4] f32[1,2,3]",
     "causal = 0, window = 0, scale = 1.0", "314 attention: 3 queries in documents of 2 keys"},
    {"attention", "f32[1,2,2,4] f32[1,2,2,4] f32[1,2,2,4]", "f32[1,2,2,4] f32[1,2,2]",
     "causal = 0, window = 0, scale = 1.0, interval = 1",
     "315 attention: an interval, but no table of it"},
    {"attention", "f32[1,2,2,4] f32[1,2,3,4] f32[1,2,3,4] i32[1,6]", "f32[1,2,2,4] f32[1,2,2]",
     "causal = 0, window = 0, scale = 1.0, interval = 1",
     "303 attention wants a table i32[1,7], got i32[1,6]"},
    {"max_pool", "f32[3,4,4]", "f32[3,2,2]", "window = [2,2], stride = [2,2], padding = [0,0]",
     "304 max_pool wants images [n, c, h, w], got f32[3,4,4]"},
    {"max_pool", "i32[1,1,4,4]", "i32[1,1,2,2]", "window = [2,2], stride = [2,2], padding = [0,0]",
     "302 max_pool wants floating point elements, got i32[1,1,4,4]"},
    {"max_pool", "f32[1,1,4,4]", "f32[1,1,2,2]", "window = [2], stride = [2,2], padding = [0,0]",
     "308 max_pool wants 2 numbers in 'window', for h and w, got 1"},
    {"avg_pool", "f32[1,1,4,4]", "f32[1,1,2,2]", "window = [2,2], stride = [2,0], padding = [0,0]",
     "311 avg_pool: a window of 2 with stride 0 and padding 0"},
    {"avg_pool", "f32[1,1,4,4]", "f32[1,1,2,2]", "window = [3,3], stride = [2,2], padding = [2,0]",
     "311 avg_pool: padding 2 is more than half the window, 3"},
    {"avg_pool", "f32[1,1,4,2]", "f32[1,1,2,1]", "window = [3,3], stride = [1,1], padding = [0,0]",
     "311 avg_pool: a window of 3 does not fit axis 3 of f32[1,1,4,2]"},
    {"avg_pool", "f32[1,1,40,40]", "f32[1,1,1,1]",
     "window = [20,20], stride = [1,1], padding = [0,0]",
     "306 avg_pool: a window has at most 256 elements"},
    {"avg_pool_grad", "f32[1,1,2,2]", "f32[1,1,4,6]",
     "window = [2,2], stride = [2,2], padding = [0,0], size = [4,6]",
     "301 avg_pool_grad: the pool of f32[1,1,4,6] is f32[1,1,2,3], not f32[1,1,2,2]"},
    {"max_pool_grad", "f32[1,1,2,2] f32[1,1,2,2]", "f32[1,1,4,4]",
     "window = [2,2], stride = [2,2], padding = [0,0], size = [4,4]",
     "303 max_pool_grad wants an index i32[1,1,2,2], got f32[1,1,2,2]"},
    {"upsample", "f32[1,1,2,2]", "f32[1,1,2,2]", "factor = [1,0]", "311 upsample by 1 and 0"},
    {"batchnorm", "f32[3] f32[3] f32[3]", "f32[3] f32[3] f32[3] f32[3]", "eps = 0.1",
     "304 batchnorm wants at least 2 axes, got f32[3]"},
    {"batchnorm", "f32[2,3] f32[2] f32[3]", "f32[2,3] f32[3] f32[3] f32[3]", "eps = 0.1",
     "303 batchnorm wants a weight f32[3], got f32[2]"},
    {"gather", "f32[4,2] f32[3]", "f32[3,2]", NULL, "302 gather wants i32 indices, got f32[3]"},
    {"gather", "f32[0,2] i32[3]", "f32[3,2]", NULL, "311 gather has no row to take from f32[0,2]"},
    {"scatter_add", "f32[4,2] i32[3] f32[3,3]", "f32[4,2]", NULL,
     "303 scatter_add wants rows f32[3,2], got f32[3,3]"},
    {"take", "f32[4,2] i32[3]", "f32[4]", NULL, "303 take wants indices i32[4], got i32[3]"},
    {"sgd", "f32[2] f32[3] f32[]", "f32[2]", "decay = 0.0",
     "303 sgd wants a gradient f32[2], got f32[3]"},
    {"adamw", "f32[2] bf16[2] f32[2] f32[2] f32[] f32[] f32[] f32[]", "f32[2] bf16[2] f32[2]",
     "decay = 0.0, beta1 = 0.9, beta2 = 0.9, eps = 0.1",
     "303 adamw wants a moment f32[2], got bf16[2]"},
};

// The first error as "CODE MESSAGE", or "" where there is none.
static const char *first_error(Arena *a, const char *text) {
    Diag *d = diag_create(a);
    const Module *m = module_parse(a, d, "test", text, strlen(text));
    if (m)
        module_verify(m, d);
    for (int i = 0; i < diag_item_count(d); i++) {
        const DiagItem *item = diag_item(d, i);
        if (item->level == DIAG_ERROR)
            return arena_format(a, "%d %s", item->code, item->message);
    }
    return "";
}

// Everything goes through the text, as a user's graph would.
int main(void) {
    int failures = 0;
    const int count = (int)(sizeof(cases) / sizeof(cases[0]));
    for (int i = 0; i < count; i++) {
        const Case *c = &cases[i];
        Arena *a = arena_create();
        const char *text = op_case_text(a, c->op, c->operands, c->results, c->attrs);
        const char *got = first_error(a, text);
        if (strcmp(got, c->want) != 0) {
            failures++;
            printf("FAIL %s\n  got  %s\n  want %s\n", c->op, got, c->want);
        }
        arena_release(a);
    }
    printf("%d mistakes: %d failures\n", count, failures);
    return failures > 0;
}
