// The reference evaluator on known values: what each operator is meant to compute, its corner
// cases, random draws, rounding, and how an entry runs. Expected numbers were computed by hand or
// with Python's math.
#include "op_case.h"

#include "ir/evaluate.h"

#include <math.h>
#include <string.h>

// Operands and results one after another.
typedef struct {
    const char *op, *operands, *results, *attrs;
    double in[24], out[24];
} Case;

#define BIG 2147483647.0

static const Case cases[] = {
    {"constant", "", "f32[3]", "value = 2.5, dtype = \"f32\", shape = [3]", {0}, {2.5, 2.5, 2.5}},
    {"constant", "", "i32[1]", "value = -2.5, dtype = \"i32\", shape = [1]", {0}, {-2}},
    {"iota", "", "i32[2,3]", "shape = [2,3], axis = 1", {0}, {0, 1, 2, 0, 1, 2}},
    {"iota", "", "i32[2,3]", "shape = [2,3], axis = 0", {0}, {0, 0, 0, 1, 1, 1}},
    {"neg", "f32[2]", "f32[2]", NULL, {1, -2}, {-1, 2}},
    {"neg", "i32[2]", "i32[2]", NULL, {1, -BIG - 1}, {-1, -BIG - 1}},
    {"abs", "f32[2]", "f32[2]", NULL, {1, -2}, {1, 2}},
    {"abs", "i32[2]", "i32[2]", NULL, {-3, -BIG - 1}, {3, -BIG - 1}},
    {"sign", "f32[3]", "f32[3]", NULL, {-2, 0, 5}, {-1, 0, 1}},
    {"exp", "f32[]", "f32[]", NULL, {0.75}, {2.117000016612675}},
    {"expm1", "f32[]", "f32[]", NULL, {0.75}, {1.1170000166126748}},
    {"log", "f32[]", "f32[]", NULL, {0.75}, {-0.2876820724517809}},
    {"sqrt", "f32[]", "f32[]", NULL, {0.75}, {0.8660254037844386}},
    {"rsqrt", "f32[]", "f32[]", NULL, {0.75}, {1.1547005383792515}},
    {"sin", "f32[]", "f32[]", NULL, {0.75}, {0.6816387600233341}},
    {"cos", "f32[]", "f32[]", NULL, {0.75}, {0.7316888688738209}},
    {"tanh", "f32[]", "f32[]", NULL, {0.75}, {0.6351489523872873}},
    {"erf", "f32[]", "f32[]", NULL, {0.75}, {0.7111556336535151}},
    {"sigmoid", "f32[]", "f32[]", NULL, {0.75}, {0.679178699175393}},
    {"relu", "f32[3]", "f32[3]", NULL, {0.75, -1, (double)NAN}, {0.75, 0, (double)NAN}},
    {"relu6", "f32[4]", "f32[4]", NULL, {-1, 5, 7, (double)NAN}, {0, 5, 6, (double)NAN}},
    {"hard_sigmoid", "f32[4]", "f32[4]", NULL, {-4, 0, 1.5, 4}, {0, 0.5, 0.75, 1}},
    {"hard_swish", "f32[4]", "f32[4]", NULL, {-4, 0, 1.5, 4}, {0, 0, 1.125, 4}},
    {"silu", "f32[]", "f32[]", NULL, {0.75}, {0.5093840243815447}},
    {"gelu", "f32[]", "f32[]", NULL, {0.75}, {0.5799605551656203}},
    {"gelu_erf", "f32[]", "f32[]", NULL, {0.75}, {0.5800294857173488}},
    {"stop", "f32[3]", "f32[3]", NULL, {-1.5, 0, 2}, {-1.5, 0, 2}},
    {"cast", "f32[4]", "i32[4]", "to = \"i32\"", {-1.7, 1.7, 1e10, -1e10}, {-1, 1, BIG, -BIG - 1}},
    {"cast", "f32[2]", "bool[2]", "to = \"bool\"", {0, 0.5}, {0, 1}},
    {"cast", "f32[2]", "bf16[2]", "to = \"bf16\"", {1.00390625, 1.01171875}, {1, 1.015625}},
    {"not", "bool[2]", "bool[2]", NULL, {0, 1}, {1, 0}},
    {"add", "f32[]  f32[]", "f32[]", NULL, {1, 2}, {3}},
    {"add", "i32[] i32[]", "i32[]", NULL, {BIG, 1}, {-BIG - 1}},
    {"sub", "i32[] i32[]", "i32[]", NULL, {-BIG, 2}, {BIG}},
    {"mul", "i32[] i32[]", "i32[]", NULL, {123456789, 987654321}, {-67153019}},
    {"div", "f32[] f32[]", "f32[]", NULL, {1, 4}, {0.25}},
    {"div", "i32[4] i32[4]", "i32[4]", NULL, {7, -7, 7, 7, 2, 2, -2, 0}, {3, -3, -3, 0}},
    {"min", "f32[2] f32[2]", "f32[2]", NULL, {1, 4, 3, 2}, {1, 2}},
    {"max", "f32[2] f32[2]", "f32[2]", NULL, {1, 4, 3, 2}, {3, 4}},
    {"eq", "f32[2] f32[2]", "bool[2]", NULL, {1, 4, 1, 2}, {1, 0}},
    {"ne", "f32[2] f32[2]", "bool[2]", NULL, {1, 4, 1, 2}, {0, 1}},
    {"lt", "i32[3] i32[3]", "bool[3]", NULL, {1, 2, 3, 2, 2, 2}, {1, 0, 0}},
    {"le", "i32[3] i32[3]", "bool[3]", NULL, {1, 2, 3, 2, 2, 2}, {1, 1, 0}},
    {"and", "bool[4] bool[4]", "bool[4]", NULL, {0, 0, 1, 1, 0, 1, 0, 1}, {0, 0, 0, 1}},
    {"or", "bool[4] bool[4]", "bool[4]", NULL, {0, 0, 1, 1, 0, 1, 0, 1}, {0, 1, 1, 1}},
    {"select", "bool[2] f32[2] f32[2]", "f32[2]", NULL, {1, 0, 1, 2, 3, 4}, {1, 4}},
    {"reshape", "f32[2,2]", "f32[4]", "shape = [4]", {1, 2, 3, 4}, {1, 2, 3, 4}},
    {"transpose", "f32[2,3]", "f32[3,2]", "perm = [1,0]", {1, 2, 3, 4, 5, 6}, {1, 4, 2, 5, 3, 6}},
    {"broadcast",
     "f32[2,1]",
     "f32[2,3]",
     "shape = [2,3], axes = [0,1]",
     {1, 2},
     {1, 1, 1, 2, 2, 2}},
    {"slice", "f32[2,3]", "f32[1,2]", "start = [1,1], stop = [2,3]", {1, 2, 3, 4, 5, 6}, {5, 6}},
    {"split", "f32[3]", "f32[1] f32[2]", "axis = 0, sizes = [1,2]", {1, 2, 3}, {1, 2, 3}},
    {"concat", "f32[2,1] f32[2,2]", "f32[2,3]", "axis = 1", {1, 2, 3, 4, 5, 6}, {1, 3, 4, 2, 5, 6}},
    {"pad", "f32[2]", "f32[5]", "before = [1], after = [2]", {1, 2}, {0, 1, 2, 0, 0}},
    {"dynamic_slice", "f32[4] i32[]", "f32[2]", "axis = 0, size = 2", {1, 2, 3, 4, 1}, {2, 3}},
    {"dynamic_slice", "f32[4] i32[]", "f32[2]", "axis = 0, size = 2", {1, 2, 3, 4, 9}, {3, 4}},
    {"dynamic_slice", "f32[4] i32[]", "f32[2]", "axis = 0, size = 2", {1, 2, 3, 4, -9}, {1, 2}},
    {"dynamic_update", "f32[3] f32[2] i32[]", "f32[3]", "axis = 0", {1, 2, 3, 8, 9, 7}, {1, 8, 9}},
    {"reduce_sum", "f32[2,3]", "f32[2]", "axes = [1]", {1, 2, 3, 4, 5, 6}, {6, 15}},
    {"reduce_max", "f32[2,3]", "f32[3]", "axes = [0]", {1, 5, 3, 4, 2, 6}, {4, 5, 6}},
    {"reduce_max", "f32[2]", "f32[]", "axes = [0]", {-3, -2}, {-2}},
    {"softmax",
     "f32[3]",
     "f32[3]",
     NULL,
     {1, 2, 3},
     {0.09003057317038046, 0.24472847105479767, 0.6652409557748219}},
    {"softmax", "f32[2]", "f32[2]", NULL, {1000, 1000}, {0.5, 0.5}},
    {"layernorm",
     "f32[3] f32[3] f32[3]",
     "f32[3] f32[] f32[]",
     "eps = 0.01",
     {1, 2, 3, 2, 2, 2, 1, 1, 1},
     {-1.4313226954193237, 1, 3.4313226954193237, 2, 1.2156613477096618}},
    {"rmsnorm",
     "f32[3] f32[3]",
     "f32[3] f32[]",
     "eps = 0.01",
     {1, 2, 3, 1, 1, 1},
     {0.4624148705148565, 0.924829741029713, 1.3872446115445696, 0.4624148705148565}},
    {"max_pool", // windows of 2 with one column of padding, which is ignored
     "f32[1,1,3,3]",
     "f32[1,1,2,2]",
     "window = [2,2], stride = [1,2], padding = [0,1]",
     {-1, -2, -3, -4, -5, -6, -7, -8, -9},
     {-1, -2, -4, -5}},
    {"max_pool", // a NaN is the largest, wherever it stands
     "f32[1,1,1,4]",
     "f32[1,1,1,2]",
     "window = [1,2], stride = [1,2], padding = [0,0]",
     {(double)NAN, 1, 1, (double)NAN},
     {(double)NAN, (double)NAN}},
    {"max_pool_index", // of equal ones the first
     "f32[1,1,2,4]",
     "i32[1,1,1,2]",
     "window = [2,2], stride = [2,2], padding = [0,0]",
     {1, 5, 3, 3, 5, 5, 3, 4},
     {1, 3}},
    {"max_pool_grad", // overlapping windows add up
     "i32[1,1,1,2] f32[1,1,1,2]",
     "f32[1,1,1,4]",
     "window = [1,3], stride = [1,1], padding = [0,0], size = [1,4]",
     {2, 1, 10, 100},
     {0, 0, 110, 0}},
    {"avg_pool", // padding counts: always divided by the window's size
     "f32[1,1,2,2]",
     "f32[1,1,2,2]",
     "window = [2,2], stride = [2,2], padding = [1,1]",
     {4, 8, 12, 16},
     {1, 2, 3, 4}},
    {"avg_pool_grad",
     "f32[1,1,1,2]",
     "f32[1,1,1,3]",
     "window = [1,2], stride = [1,1], padding = [0,0], size = [1,3]",
     {2, 6},
     {1, 4, 3}},
    {"upsample",
     "f32[1,1,1,2]",
     "f32[1,1,2,4]",
     "factor = [2,2]",
     {1, 2},
     {1, 1, 2, 2, 1, 1, 2, 2}},
    {"batchnorm", // two channels, the second constant
     "f32[2,2,2] f32[2] f32[2]",
     "f32[2,2,2] f32[2] f32[2] f32[2]",
     "eps = 4.0",
     {1, 3, 5, 5, 5, 7, 5, 5, 6, 2, 1, 9},
     {-5, -1, 9, 9, 3, 7, 9, 9, 4, 5, 5, 0, 0.3333333333333333, 0.5}},
    {"sample", // the first of the largest; nothing is drawn
     "f32[2,3] f32[] f32[] i32[] i32[]",
     "i32[2]",
     "key = 5",
     {1, 3, 3, 2, -1, -HUGE_VAL, 0, 0.5, 9, 7},
     {1, 0}},
    {"sample", // only the most probable is kept
     "f32[2,3] f32[] f32[] i32[] i32[]",
     "i32[2]",
     "key = 5",
     {1, 3, 2, 2, -1, -HUGE_VAL, 100, 0, 9, 7},
     {1, 0}},
    {"cross_entropy",
     "f32[2,3] i32[2]",
     "f32[2] f32[2]",
     NULL,
     {1, 2, 3, 1, 2, 3, 0, -1},
     {2.40760596444438, 0, 3.40760596444438, 3.40760596444438}},
    {"cross_entropy_grad",
     "f32[1,2] i32[1] f32[1] f32[1]",
     "f32[1,2]",
     NULL,
     {0, 0, 1, 0.6931471805599453, 2},
     {1, -1}},
    {"cross_entropy_grad",
     "f32[1,2] i32[1] f32[1] f32[1]",
     "f32[1,2]",
     NULL,
     {0, 0, -1, 0.6931471805599453, 2},
     {0, 0}},
    {"rotary",
     "f32[1,4] f32[1,2] f32[1,2]",
     "f32[1,4]",
     "inverse = 0",
     {1, 2, 3, 4, 0, 1, 1, 0},
     {-3, 2, 1, 4}},
    {"rotary",
     "f32[1,4] f32[1,2] f32[1,2]",
     "f32[1,4]",
     "inverse = 1",
     {-3, 2, 1, 4, 0, 1, 1, 0},
     {1, 2, 3, 4}},
    {"einsum",
     "f32[2,2] f32[2,2]",
     "f32[2,2]",
     "spec = \"mk,kn->nm\"",
     {1, 2, 3, 4, 5, 6, 7, 8},
     {19, 43, 22, 50}},
    {"einsum_add",
     "f32[2] f32[2] f32[]",
     "f32[2]",
     "spec = \"i,->i\"",
     {10, 20, 1, 2, 3},
     {13, 26}},
    {"conv2d", // 1 row of zeros above and below, none beside; every second column
     "f32[1,1,2,3] f32[1,1,2,2]",
     "f32[1,1,3,1]",
     "stride = [1,2], before = [1,0], after = [1,0], dilation = [1,1], groups = 1",
     {1, 2, 3, 4, 5, 6, 1, 10, 100, 1000},
     {2100, 5421, 54}},
    {"conv2d", // two groups, their taps two apart
     "f32[1,2,1,3] f32[2,1,1,2]",
     "f32[1,2,1,1]",
     "stride = [1,1], before = [0,0], after = [0,0], dilation = [1,2], groups = 2",
     {1, 2, 3, 4, 5, 6, 1, 10, 100, 1000},
     {31, 6400}},
    {"conv2d_input_grad", // no kernel reaches the last column
     "f32[1,1,1,2] f32[1,1,1,2]",
     "f32[1,1,1,6]",
     "size = [1,6], stride = [1,3], before = [0,0], after = [0,0], dilation = [1,1], groups = 1",
     {1, 2, 1, 10},
     {1, 10, 0, 2, 20, 0}},
    {"conv2d_weight_grad",
     "f32[2,1,1,3] f32[2,1,1,2]",
     "f32[1,1,1,2]",
     "size = [1,2], stride = [1,1], before = [0,0], after = [0,0], dilation = [1,1], groups = 1",
     {1, 2, 3, 4, 5, 6, 1, 10, 100, 1000},
     {5421, 6532}},
    {"attention",
     "f32[1,1,2,1] f32[1,1,2,1] f32[1,1,2,1]",
     "f32[1,1,2,1] f32[1,1,2]",
     "causal = 1, window = 0, scale = 0.5",
     {1, 2, 1, 3, 10, 20},
     {10, 18.807970779778824, 0.5, 3.1269280110429727}},
    {"attention",
     "f32[1,1,2,1] f32[1,1,2,1] f32[1,1,2,1]",
     "f32[1,1,2,1] f32[1,1,2]",
     "causal = 1, window = 1, scale = 0.5",
     {1, 2, 1, 3, 10, 20},
     {10, 20, 0.5, 3}},
    {"attention", // the second query stands at 2; what key 3 holds is not looked at
     "f32[1,1,2,1] f32[1,1,4,1] f32[1,1,4,1] i32[]",
     "f32[1,1,2,1] f32[1,1,2]",
     "causal = 1, window = 1, scale = 0.5",
     {1, 2, 1, 3, 5, (double)NAN, 10, 20, 30, (double)NAN, 1},
     {20, 30, 1.5, 5}},
    {"attention", // the queries stand at 1 and 2; keys 0 and 2 are of one document
     "f32[1,1,2,1] f32[1,1,3,1] f32[1,1,3,1] i32[1,3]",
     "f32[1,1,2,1] f32[1,1,2]",
     "causal = 1, window = 0, scale = 0.5",
     {1, 2, 1, 7, 3, 10, 99, 20, 4, -4, 4},
     {99, 18.807970779778824, 3.5, 3.1269280110429727}},
    {"attention", // keys before 2, keys from 2 on: ends past the keys are none
     "f32[1,1,2,1] f32[1,1,3,1] f32[1,1,3,1] i32[1,4]",
     "f32[1,1,2,1] f32[1,1,2]",
     "causal = 0, window = 0, scale = 0.5, interval = 1",
     {1, 2, 1, 3, 5, 10, 20, 30, -1, 2, 2, 9},
     {17.31058578630005, 30.0, 1.8132616875182228, 5.0}},
    {"attention", // the same with documents, and a query whose keys end before they begin
     "f32[1,1,2,1] f32[1,1,3,1] f32[1,1,3,1] i32[1,7]",
     "f32[1,1,2,1] f32[1,1,2]",
     "causal = 0, window = 0, scale = 0.5, interval = 1",
     {1, 2, 1, 3, 5, 10, 20, 30, 0, 2, 3, 1, 8, 7, 7},
     {27.31058578630005, 0, 2.813261687518223, -HUGE_VAL}},
    {"attention", // clamped to 1
     "f32[1,1,1,1] f32[1,1,2,1] f32[1,1,2,1] i32[]",
     "f32[1,1,1,1] f32[1,1,1]",
     "causal = 1, window = 1, scale = 0.5",
     {1, 1, 3, 10, 20, 7},
     {20, 1.5}},
    {"attention",
     "f32[1,1,2,1] f32[1,1,1,1] f32[1,1,1,1]",
     "f32[1,1,2,1] f32[1,1,2]",
     "causal = 1, window = 0, scale = 0.5",
     {1, 2, 1, 10},
     {0, 10, -HUGE_VAL, 1}},
    {"attention",
     "f32[1,2,1,1] f32[1,1,1,1] f32[1,1,1,1]",
     "f32[1,2,1,1] f32[1,2,1]",
     "causal = 0, window = 0, scale = 1.0",
     {1, 2, 3, 10},
     {10, 10, 3, 6}},
    {"attention", // scores of 2 tanh(1 / 4) and 2 tanh(3 / 4)
     "f32[1,1,1,1] f32[1,1,2,1] f32[1,1,2,1]",
     "f32[1,1,1,1] f32[1,1,1]",
     "causal = 0, window = 0, scale = 0.5, cap = 2.0",
     {1, 1, 3, 10, 20},
     {16.857793709760166, 1.6474972244135908}},
    {"attention", // the queries stand at 1 and 2; a slope of 1 / 2 adds -1, -1/2, 0, 1/2 by
                  // distance
     "f32[1,1,2,1] f32[1,1,3,1] f32[1,1,3,1] f32[1]",
     "f32[1,1,2,1] f32[1,1,2]",
     "causal = 0, window = 0, scale = 0.5",
     {1, 2, 1, 3, 5, 10, 20, 30, 0.5},
     {27.464844613185885, 29.122346814914028, 3.241311296657157, 5.0850972463643105}},
    {"attention", // beside an offset, clamped to 1
     "f32[1,2,1,1] f32[1,1,2,1] f32[1,1,2,1] i32[] f32[2]",
     "f32[1,2,1,1] f32[1,2,1]",
     "causal = 1, window = 0, scale = 1.0",
     {1, 1, 1, 1, 10, 20, 7, 0.0, 1.0},
     {15, 17.31058578630005, 1.6931471805599452, 1.3132616875182228}},
    {"gather", "f32[2,2] i32[3]", "f32[3,2]", NULL, {1, 2, 3, 4, 1, -5, 9}, {3, 4, 1, 2, 3, 4}},
    {"scatter_add",
     "f32[2] i32[4] f32[4]",
     "f32[2]",
     NULL,
     {1, 2, 1, -1, 9, 0, 10, 20, 30, 40},
     {41, 42}},
    {"take", "f32[2,2] i32[2]", "f32[2]", NULL, {1, 2, 3, 4, 1, -3}, {2, 3}},
    {"sgd", "f32[] f32[] f32[]", "f32[]", "decay = 0.2", {1, 0.5, 0.1}, {0.93}},
    {"momentum",
     "f32[] f32[] f32[] f32[]",
     "f32[] f32[]",
     "decay = 0.2, momentum = 0.9, nesterov = 0",
     {1, 0.3, 0.5, 0.1},
     {0.903, 0.97}},
    {"momentum",
     "f32[] f32[] f32[] f32[]",
     "f32[] f32[]",
     "decay = 0.2, momentum = 0.9, nesterov = 1",
     {1, 0.3, 0.5, 0.1},
     {0.8427, 0.97}},
    {"adamw",
     "f32[] f32[] f32[] f32[] f32[] f32[] f32[] f32[]",
     "f32[] f32[] f32[]",
     "decay = 0.1, beta1 = 0.9, beta2 = 0.99, eps = 1e-8",
     {1, 0.3, 0.2, 0.5, 0.1, 0.5, 0.19, 0.02},
     {0.9407318271545688, 0.295, 0.198625}},
};

static int failures;

static void expect(bool holds, const char *what) {
    if (!holds) {
        failures++;
        printf("FAIL %s\n", what);
    }
}

// f32 keeps 6e-8 of a number; infinities are equal to themselves.
static bool near(double got, double want) {
    return got == want || (isnan(got) && isnan(want)) ||
           fabs(got - want) <= 1e-6 * (1e-3 + fabs(want));
}

static Module *parse(Arena *a, const char *text) {
    Diag *d = diag_create(a);
    Module *m = module_parse(a, d, "test", text, strlen(text));
    if (!m || !module_verify(m, d)) {
        printf("%s", text);
        diag_print(d, stdout, false);
        expect(false, "parses and verifies");
        return NULL;
    }
    return m;
}

// Parses the case as text, so the values pass through the whole path a graph takes.
static void check_case(const Case *c) {
    Arena *a = arena_create();
    const Module *m = parse(a, op_case_text(a, c->op, c->operands, c->results, c->attrs));
    if (m) {
        const Graph *g = m->entry[0];
        Tensor *argument = arena_array(a, Tensor, g->input_count + 1);
        Tensor *result = arena_array(a, Tensor, g->result_count);
        const double *from = c->in, *want = c->out;
        for (int i = 0; i < g->input_count; i++) {
            argument[i] = tensor_create(a, g->input[i].value->type);
            for (int64_t k = 0; k < type_count(&argument[i].type); k++)
                argument[i].at[k] = *from++;
        }
        EvalInput in = {.argument = argument};
        const EvalCtx cx = {.arena = a};
        graph_evaluate(m, g, &in, result, &cx);
        for (int r = 0; r < g->result_count; r++)
            for (int64_t k = 0; k < type_count(&result[r].type); k++, want++)
                if (!near(result[r].at[k], *want))
                    expect(false,
                           arena_format(a, "%s {%s}: result %d, element %lld: %.9g, want %.9g",
                                        c->op, c->attrs ? c->attrs : "", r, (long long)k,
                                        result[r].at[k], *want));
    }
    arena_release(a);
}

// Each operator that evaluates has a case, or is checked against differences by its forward
// operator.
static void check_every_operator_is_here(void) {
    for (int op = 0; op < OP_COUNT; op++) {
        const OpInfo *info = op_info((Op)op);
        const bool draws = info->family == FAMILY_LEAF && (info->flags & OPF_RANDOM);
        // check_moves has those that need each other.
        bool found =
            !info->evaluate || draws || info->family == FAMILY_MOVE || strstr(info->name, "_grad");
        for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
            found = found || strcmp(cases[i].op, info->name) == 0;
        expect(found, info->name);
    }
}

// The first word of the published test vector (Random123's kat_vectors: all zeros), and one
// computed with an independent program.
static void check_random_bits(void) {
    expect(random_bits(0, 0, 0, 0) == 0x6627e8d5u, "philox of zeros");
    expect(random_bits(42, 3, 0x9abcdef0, 7) == 0x4d136049u, "philox of numbers");
    expect(random_bits(42, 3, 0x9abcdef0, 7 + ((int64_t)1 << 32)) == 0x4d136049u,
           "only 32 bits of each count");
}

static void check_random_draws(void) {
    expect(random_unit(0x80000000u) == 0, "the least unit is 0");
    expect(random_unit(0x7fffffffu) == 1 - 0x1p-24f, "the greatest unit is below 1");
    expect(random_gauss(0) == -random_gauss(0xffffffffu), "gauss is symmetric");
    const int draws = 1 << 17;
    double sum = 0, squares = 0, units = 0;
    for (int i = 0; i < draws; i++) {
        const uint32_t bits = random_bits(1, 2, 3, i);
        const double z = (double)random_gauss(bits), u = (double)random_unit(bits);
        sum += z;
        squares += z * z;
        units += u;
        // The tail's probability is what the bits say: 1e-5 of it allows for f32.
        const double tail = 1 - fabs(2 * u - 1 + 0x1p-24);
        if (fabs(erfc(fabs(z) * M_SQRT1_2) - tail) > 1e-5 * tail + 1e-9)
            expect(false, "gauss is the inverse of the normal distribution");
    }
    // Four standard errors: 4 / sqrt(2^17) = 0.011, of the variance sqrt(2) times that.
    expect(fabs(sum / draws) < 0.011, "mean of gauss");
    expect(fabs(squares / draws - 1) < 0.016, "variance of gauss");
    expect(fabs(units / draws - 0.5) < 0.0032, "mean of unit");
}

// A node draws by (seed, step, key, element), element by element.
static void check_random_nodes(void) {
    Arena *a = arena_create();
    Tensor seed = tensor_create(a, type_scalar(DT_I32)), step = tensor_create(a, seed.type);
    seed.at[0] = 5;
    step.at[0] = 6;
    static const char *const op[] = {"random_uniform", "random_normal"};
    static const char *const attrs[] = {"shape = [2,2], key = 9, low = -1.0, high = 3.0",
                                        "shape = [2,2], key = 9, mean = 1.0, std = 2.0"};
    for (int k = 0; k < 2; k++) {
        const Module *m = parse(a, op_case_text(a, op[k], "i32[] i32[]", "f32[2,2]", attrs[k]));
        if (!m)
            continue;
        Tensor argument[2] = {seed, step}, result[1];
        EvalInput in = {.argument = argument};
        const EvalCtx cx = {.arena = a};
        graph_evaluate(m, m->entry[0], &in, result, &cx);
        for (int i = 0; i < 4; i++) {
            const uint32_t bits = random_bits(5, 6, 9, i);
            const double want =
                k ? 1 + 2 * (double)random_gauss(bits) : -1 + 4 * (double)random_unit(bits);
            expect(near(result[0].at[i], want), op[k]);
        }
    }
    arena_release(a);
}

static void check_rounding(void) {
    expect(dtype_round(DT_F32, 0.1) == (double)0.1f, "f32");
    expect(dtype_round(DT_BF16, 1 + 0x1p-8) == 1, "bf16 tie goes to even, down");
    expect(dtype_round(DT_BF16, 1 + 0x3p-8) == 1 + 0x1p-6, "bf16 tie goes to even, up");
    expect(dtype_round(DT_BF16, 1 + 0x1p-8 + 0x1p-40) == 1 + 0x1p-7, "bf16 rounds once, up");
    expect(dtype_round(DT_BF16, 1 + 0x3p-8 - 0x1p-40) == 1 + 0x1p-7, "bf16 rounds once, down");
    expect(dtype_round(DT_BF16, -3.3895313892515355e38) == -3.3895313892515355e38,
           "bf16's largest");
    expect(dtype_round(DT_BF16, 3.4e38) == HUGE_VAL, "bf16 overflows to infinity");
    expect(dtype_round(DT_BF16, 1e300) == HUGE_VAL, "bf16 overflows from f64");
    expect(isnan(dtype_round(DT_BF16, nan(""))), "bf16 keeps NaN");
    expect(dtype_round(DT_I32, -2.9) == -2, "i32 truncates");
    expect(dtype_round(DT_I32, nan("")) == 0, "i32 of NaN");
    expect(dtype_round(DT_BOOL, -0.5) == 1, "bool");
}

// Two micro-batches: the gradient is summed over both, the update runs once, states swap on commit,
// and a plain result is the last micro-batch's.
static void check_entry(void) {
    static const char *const text =
        "state @w: f32[] {kind = \"param\"}\n"
        "state @old: f32[] {kind = \"saved\"}\n"
        "graph @train(%x: f32[] from data \"data\", %lr: f32[] from knob = 0.5)"
        " -> (sum: f32[], last: f32[]) repeat 2 {\n"
        "  %w: f32[] = state {name = \"w\"}\n"
        "  %old: f32[] = state {name = \"old\"}\n"
        "  %y: f32[] = mul %w, %x\n"
        "  %dw: f32[] = mul %x, %x backward\n"
        "  %sum: f32[] = accumulate %dw backward\n"
        "  %w1: f32[] = sgd %w, %sum, %lr {decay = 0.0} update\n"
        "  commit @w = %w1\n"
        "  commit @old = %w\n"
        "  return %sum, %y\n}\n";
    Arena *a = arena_create();
    const Module *m = parse(a, text);
    if (m) {
        Tensor argument[4], state[2], result[2];
        const double argument_value[4] = {3, 4, 0.5, 0}, state_value[2] = {100, -1};
        for (int i = 0; i < 4; i++) {
            argument[i] = tensor_create(a, type_scalar(DT_F32));
            argument[i].at[0] = argument_value[i];
        }
        for (int i = 0; i < 2; i++) {
            state[i] = tensor_create(a, type_scalar(DT_F32));
            state[i].at[0] = state_value[i];
        }
        EvalInput in = {.argument = argument, .state = state};
        const EvalCtx cx = {.arena = a};
        graph_evaluate(m, m->entry[0], &in, result, &cx);
        expect(result[0].at[0] == 25, "gradients are summed over the micro-batches");
        expect(result[1].at[0] == 400, "a result is the last micro-batch's");
        expect(state[0].at[0] == 87.5, "the update runs once, on the sum");
        expect(state[1].at[0] == 100, "a commit stores the state as it was read");
    }
    arena_release(a);
}

// There and back, and half of a state that lives there.
static void check_moves(void) {
    static const char *const text = "state @m: f32[2] {kind = \"saved\", far = 1}\n"
                                    "graph @run(%x: f32[1]) -> f32[1] {\n"
                                    "  %m: f32[2] = state {name = \"m\"}\n"
                                    "  %half: f32[1] = slice %m {start = [1], stop = [2]}\n"
                                    "  %there: f32[1] = offload %x\n"
                                    "  %back: f32[1] = fetch %there\n"
                                    "  %next: f32[2] = concat %half, %there {axis = 0}\n"
                                    "  commit @m = %next\n"
                                    "  return %back\n}\n";
    Arena *a = arena_create();
    const Module *m = parse(a, text);
    if (m) {
        Tensor argument = tensor_create(a, type_make(DT_F32, 1, &(int64_t){1}));
        Tensor state = tensor_create(a, type_make(DT_F32, 1, &(int64_t){2}));
        Tensor result;
        argument.at[0] = 7;
        state.at[0] = 3;
        state.at[1] = 5;
        EvalInput in = {.argument = &argument, .state = &state};
        graph_evaluate(m, m->entry[0], &in, &result, &(EvalCtx){.arena = a});
        expect(result.at[0] == 7, "what was offloaded is fetched");
        expect(state.at[0] == 5 && state.at[1] == 7, "far memory is committed in parts");
    }
    arena_release(a);
}

static void check_costs(void) {
    Arena *a = arena_create();
    // Two groups of 3 x 3 kernels over 8 positions: 2 (4 8) (2 9).
    const char *settings =
        "stride = [1,2], before = [1,1], after = [1,1], dilation = [1,1], groups = 2";
    const Module *conv =
        parse(a, op_case_text(a, "conv2d", "f32[1,4,4,4] f32[4,2,3,3]", "f32[1,4,4,2]", settings));
    if (conv)
        expect(node_flops(conv->entry[0]->node[2]) == 2 * 32 * 18, "a convolution's operations");
    // A product of known size: 2 m n k operations, each matrix moved once.
    const Module *m = parse(
        a, op_case_text(a, "einsum", "f32[4,5] f32[5,6]", "f32[4,6]", "spec = \"mk,kn->mn\""));
    if (m) {
        const Node *n = m->entry[0]->node[2];
        expect(node_flops(n) == 2 * 4 * 5 * 6, "a product's operations");
        expect(node_bytes(n) == 4 * (20 + 30 + 24), "a product's bytes");
    }
    arena_release(a);
}

int main(void) {
    const int count = (int)(sizeof(cases) / sizeof(cases[0]));
    for (int i = 0; i < count; i++)
        check_case(&cases[i]);
    check_every_operator_is_here();
    check_random_bits();
    check_random_draws();
    check_random_nodes();
    check_rounding();
    check_entry();
    check_moves();
    check_costs();
    printf("%d cases: %d failures\n", count, failures);
    return failures > 0;
}
