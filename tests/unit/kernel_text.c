// Kernel text: what is printed reads back to an equal kernel, and whatever else is read gets a
// diagnostic.
#include "ir/kernel.h"

#include <criterion/criterion.h>
#include <math.h>
#include <string.h>

static Kernel *parse(Arena *a, Diag *d, const char *text) {
    size_t at = 0;
    return kernel_parse(a, d, "k.kernel", text, strlen(text), &at);
}

// print(parse(text)) == text, and the kernel is equal to what parsing it again gives.
static void round_trip(const char *text) {
    Arena *a = arena_create();
    Diag *d = diag_create(a);
    const Kernel *k = parse(a, d, text);
    if (!k)
        diag_print(d, stderr, false);
    cr_assert_not_null(k, "refused: %s", text);
    const char *printed = kernel_text(k, a);
    cr_assert_str_eq(printed, text);
    const Kernel *again = parse(a, d, printed);
    cr_assert_not_null(again);
    cr_assert(kernel_equal(k, again));
    cr_assert_eq(kernel_hash(k), kernel_hash(again));
    cr_assert_null(strstr(printed, "[["));
    arena_release(a);
}

static const char rows_text[] = "kernel k3 rows [2048, 768] {\n"
                                "  imms 2\n"
                                "  operand 0: f32 read [768, 1]\n"
                                "  operand 1: bf16 write stream [768, 1]\n"
                                "  operand 2: i32 read [1, 0] align 4\n"
                                "  operand 3: f32 update [1, 0]\n"
                                "  %0 = load 0\n"
                                "  %1 = sum %0\n"
                                "  %2 = const 0.00130208337\n"
                                "  %3 = mul %1 %2\n"
                                "  %4 = sub %0 %3\n"
                                "  %5 = load 2\n"
                                "  %6 = load_at 0 %5 limit 10 step 768\n"
                                "  %7 = imm 1\n"
                                "  %8 = index 1\n"
                                "  %9 = const i32 -2147483648\n"
                                "  %10 = random %7 %5 %9 %8\n"
                                "  %11 = to_f32 %10\n"
                                "  %12 = const bool 1\n"
                                "  %13 = select %12 %11 %6\n"
                                "  %14 = fma %13 %4 %0\n"
                                "  %15 = const -inf\n"
                                "  %16 = const nan\n"
                                "  %17 = const -0\n"
                                "  %18 = max %15 %16\n"
                                "  %19 = add %18 %17\n"
                                "  %20 = add %14 %19\n"
                                "  %21 = load 3\n"
                                "  %22 = add %21 %1\n"
                                "  store 1 %20\n"
                                "  store 3 %22\n"
                                "}\n";
static const char columns_text[] = "kernel k4 columns [4, 32, 8] {\n"
                                   "  operand 0: f32 read [256, 8, 1]\n"
                                   "  operand 1: i32 read [32, 1, 0]\n"
                                   "  operand 2: f32 update [0, 0, 1]\n"
                                   "  operand 3: f32 write [0, 0, 1]\n"
                                   "  %0 = load 0\n"
                                   "  %1 = load 1\n"
                                   "  %2 = sum %0\n"
                                   "  add_at 2 %0 %1 limit 100 step 8\n"
                                   "  store 3 %2\n"
                                   "}\n";
static const char members_text[] = "kernel k9 rows [768] members 2 {\n"
                                   "  operand 0: f32 read [0]\n"
                                   "  operand 1: f32 read [1]\n"
                                   "  operand 2: f32 write [1]\n"
                                   "  operand 3: f32 read [1] align 8\n"
                                   "  operand 4: f32 write [1]\n"
                                   "  %0 = load 0\n"
                                   "  %1 = load 1\n"
                                   "  %2 = mul %0 %1\n"
                                   "  %3 = load 3\n"
                                   "  %4 = mul %0 %3\n"
                                   "  store 2 %2\n"
                                   "  store 4 %4\n"
                                   "}\n";
static const char product_text[] = "kernel k5 product {\n"
                                   "  library onednn\n"
                                   "  a f32 [0, 0, 768, 1]\n"
                                   "  b bf16 [0, 0, 3072, 1]\n"
                                   "  c f32 update [0, 0, 3072, 1]\n"
                                   "  batch [1, 1]\n"
                                   "  m 64\n"
                                   "  n 3072\n"
                                   "  k 768\n"
                                   "  tile [64, 256]\n"
                                   "  workspace 4096\n"
                                   "}\n";
static const char bias_text[] = "kernel k8 product {\n"
                                "  library cublaslt\n"
                                "  a bf16 [0, 0, 768, 1]\n"
                                "  b bf16 [0, 0, 3072, 1]\n"
                                "  c bf16 write [0, 0, 3072, 1] bias\n"
                                "  batch [1, 1]\n"
                                "  m 64\n"
                                "  n 3072\n"
                                "  k 768\n"
                                "  tile [64, 3072]\n"
                                "  workspace 4096\n"
                                "}\n";
#define ATTENTION_FIELDS                                                                           \
    "  dtype bf16\n  batch 2\n  heads 12\n  groups 4\n  queries 64\n  keys 65\n  dim_qk 64\n"      \
    "  dim_v 32\n  window 7\n  causal 1\n  scale 0.12345678901234568\n  q [1, 2, 3]\n"             \
    "  k [4, 5, 6]\n  v [7, 8, 9]\n  out [10, 11, 12]\n"
static const char table_text[] =
    "kernel k8 attention {\n  dtype bf16\n  batch 2\n  heads 12\n  groups 4\n  queries 64\n"
    "  keys 65\n  dim_qk 64\n  dim_v 32\n  window 0\n  causal 0\n  interval 1\n  documents 1\n  "
    "slopes 1\n"
    "  scale 0.5\n  cap 50.5\n  q [1, 2, 3]\n  k [4, 5, 6]\n  v [7, 8, 9]\n  out [10, 11, 12]\n}\n";
static const char attention_text[] = "kernel k6 attention {\n" ATTENTION_FIELDS "}\n";
static const char grad_text[] =
    "kernel k7 attention_grad {\n" ATTENTION_FIELDS "  dout [1, 2, 3]\n  dq [4, 5, 6]\n"
    "  dk [7, 8, 9]\n  dv [10, 11, 12]\n}\n";
static const char pairs_text[] =
    "kernel k9 attention {\n  dtype bf16\n  batch 2\n  heads 12\n  groups 4\n  queries 64\n"
    "  keys 65\n  dim_qk 64\n  dim_v 32\n  window 0\n  causal 0\n  scale 0.5\n"
    "  bias f32 [0, 4160, 65, 1]\n  mask [65, 0, 0, 1]\n  q [1, 2, 3]\n  k [4, 5, 6]\n"
    "  v [7, 8, 9]\n  out [10, 11, 12]\n}\n";
static const char grad_bias_text[] =
    "kernel k9 attention_grad_bias {\n  dtype bf16\n  batch 2\n  heads 12\n  groups 4\n"
    "  queries 64\n  keys 65\n  dim_qk 64\n  dim_v 32\n  window 0\n  causal 1\n  slopes 1\n"
    "  scale 0.5\n  cap 2\n  bias bf16 [0, 1, 12, 0]\n  q [1, 2, 3]\n  k [4, 5, 6]\n"
    "  v [7, 8, 9]\n  out [10, 11, 12]\n  dout [1, 2, 3]\n  dbias [0, 64, 1, 0]\n}\n";
static const char *const good_text[] = {rows_text,  columns_text,   members_text, product_text,
                                        bias_text,  attention_text, grad_text,    table_text,
                                        pairs_text, grad_bias_text};
enum { GOOD = sizeof good_text / sizeof *good_text };

Test(kernel_text, prints_what_it_read) {
    for (int i = 0; i < GOOD; i++)
        round_trip(good_text[i]);
}

// Every f32 comes back bit for bit.
Test(kernel_text, constants_are_exact) {
    Arena *a = arena_create();
    Diag *d = diag_create(a);
    uint32_t bits = 12345;
    for (int i = 0; i < 2000; i++) {
        bits = bits * 1664525u + 1013904223u;
        float f;
        memcpy(&f, &bits, sizeof f);
        if (isnan(f))
            continue;
        KernelBuilder *kb = kernel_builder(a, KERNEL_ROWS, 1, (const int64_t[]){4});
        const int out = kernel_add_operand(kb, DT_F32, ACCESS_WRITE, (const int64_t[]){1});
        kb_store(kb, out, kb_float(kb, (double)f));
        const Kernel *k = kernel_finish(kb);
        const Kernel *again = parse(a, d, kernel_text(k, a));
        cr_assert_not_null(again);
        cr_assert(kernel_equal(k, again), "%.9g", (double)f);
    }
    arena_release(a);
}

Test(kernel_text, reads_kernels_one_after_another) {
    Arena *a = arena_create();
    Diag *d = diag_create(a);
    char *text = arena_format(a, "# two kernels\n%s  # between\n%s# end", rows_text, product_text);
    size_t at = 0;
    const Kernel *first = kernel_parse(a, d, "k", text, strlen(text), &at);
    const Kernel *second = kernel_parse(a, d, "k", text, strlen(text), &at);
    cr_assert(first && second);
    cr_assert_str_eq(first->name, "k3");
    cr_assert_str_eq(second->name, "k5");
    cr_assert_null(kernel_parse(a, d, "k", text, strlen(text), &at));
    cr_assert_eq(diag_error_count(d), 0);
    arena_release(a);
}

typedef struct {
    const char *text;
    int code, line;
} BadText;

#define ROWS "kernel k rows [4, 8] {\noperand 0: f32 read [8, 1]\noperand 1: f32 write [8, 1]\n"
#define COLUMNS                                                                                    \
    "kernel k columns [4, 8] {\noperand 0: f32 read [8, 1]\noperand 1: f32 write [0, 1]\n"
#define MEMBERS                                                                                    \
    "kernel k rows [8] members 2 {\noperand 0: f32 read [1]\noperand 1: f32 write [1]\n"           \
    "operand 2: f32 write [1]\noperand 3: f32 update [1]\n"
static const BadText bad_text[] = {
    {"kernal k rows", 701, 1},
    {"kernel 3k rows [4] { }", 701, 1},
    {"kernel k diagonals [4] { }", 701, 1},
    {"kernel k rows [4", 701, 1},
    {"kernel k rows [] { }", 701, 1},
    {"kernel k rows [4] {", 701, 1},
    {"kernel k rows [1,1,1,1,1,1,1,1,1] { }", 701, 1},
    {"kernel k rows [0] { }", 711, 1},
    {"kernel k rows [-1] { }", 704, 1},
    {"kernel k rows [99999999999999999999] { }", 704, 1},
    {"kernel k rows [1099511627776, 1099511627776] { }", 711, 1},
    {ROWS "%0 = load 2\nstore 1 %0\n}", 704, 4},
    {ROWS "%0 = load 1\nstore 1 %0\n}", 712, 1},
    {ROWS "%0 = load 0\nstore 0 %0\n}", 712, 1},
    {ROWS "%0 = load 0\nstore 1 %1\n}", 705, 5},
    {ROWS "%1 = load 0\nstore 1 %1\n}", 705, 4},
    {ROWS "%0 = load 0\n%1 = store 1 %0\n}", 701, 5},
    {ROWS "%0 = load 0\nstore 1 %0\n%2 = neg %1\n}", 705, 6},
    {ROWS "load 0\n}", 701, 4},
    {ROWS "%0 = frobnicate 0\n}", 701, 4},
    {ROWS "%0 = const 0x10\nstore 1 %0\n}", 701, 4},
    {ROWS "%0 = const i32 2147483648\n}", 704, 4},
    {ROWS "%0 = const bool 2\n}", 704, 4},
    {ROWS "%0 = index 2\n}", 704, 4},
    {ROWS "%0 = imm 0\n}", 704, 4},
    {ROWS "%0 = index 1\n%1 = exp %0\n}", 706, 5},
    {ROWS "%0 = index 1\n%1 = sum %0\n}", 706, 5},
    {ROWS "%0 = index 1\nstore 1 %0\n}", 706, 1},
    {ROWS "%0 = load 0\nstore 1 %0\nstore 1 %0\n}", 715, 1},
    {ROWS "%0 = load 0\n%1 = index 0\nadd_at 1 %0 %1 limit 4 step 1\n}", 712, 1},
    {ROWS "%0 = load 0\n%1 = load_at 0 %0 limit 4 step 1\n}", 706, 5},
    {ROWS "%0 = index 1\n%1 = load_at 0 %0 limit 0 step 1\n}", 704, 5},
    {ROWS "operand 3: f32 read [1, 1]\n}", 703, 4},
    {ROWS "operand 2: f16 read [1, 1]\n}", 701, 4},
    {ROWS "operand 2: f32 read [1]\n}", 701, 4},
    {ROWS "operand 2: f32 stream [8, 1]\n}", 701, 4},
    {ROWS "operand 2: f32 read stream [16, 1]\n}", 712, 1},
    {ROWS "operand 2: f32 write stream [8, 1]\n}", 712, 1},
    {ROWS "operand 2: f32 write stream [16, 2]\n}", 712, 1},
    {COLUMNS "operand 2: f32 write stream [16, 1]\n}", 712, 1},
    {ROWS "operand 2: f32 write stream [16, 1]\n%0 = load 0\n%1 = index 1\nstore_at 2 %0 %1 limit "
          "4 step 1\n}",
     712, 1},
    {"kernel k rows [4, 8] {\noperand 0: f32 read [8, 1]\noperand 1: f32 write [1, 0]\n"
     "%0 = load 0\nstore 1 %0\n}",
     715, 1},
    {"kernel k rows [4, 8] {\noperand 0: f32 read [8, 1]\noperand 1: f32 write [0, 1]\n"
     "%0 = load 0\nstore 1 %0\n}",
     715, 1},
    {"kernel k rows [4, 8] {\noperand 0: f32 update [0, 1]\n%0 = index 1\n%1 = to_f32 %0\n"
     "%2 = load 0\n%3 = add %1 %2\nstore 0 %3\n}",
     715, 1},
    {"kernel k rows [4, 8] {\noperand 0: f32 update [8, 1]\n%0 = const 1\nstore 0 %0\n"
     "%2 = load 0\n}",
     715, 1},
    {"kernel k rows [4, 8] {\noperand 0: f32 update [0, 1]\n%0 = const 1\n%1 = index 0\n"
     "add_at 0 %0 %1 limit 4 step 8\n}",
     714, 1},
    {"kernel k columns [4, 8] {\noperand 0: f32 update [0, 0]\n%0 = const 1\n%1 = index 0\n"
     "add_at 0 %0 %1 limit 4 step 8\n}",
     715, 1},
    {COLUMNS "%0 = load 0\n%1 = pick %0 %0 %0 %0\n%2 = to_f32 %1\nstore 1 %2\n}", 714, 1},
    {COLUMNS "%0 = load 0\n%1 = sum %0\n%2 = add %0 %1\nstore 1 %2\n}", 714, 1},
    {COLUMNS "%0 = load 0\n%1 = sum %0\n%2 = sum %1\nstore 1 %2\n}", 714, 1},
    {COLUMNS "%0 = load 0\nstore 1 %0\n}", 715, 1},
    {"kernel k product {\n library own\n a i32 [0,0,1,1] b f32 [0,0,1,1] c f32 write [0,0,4,1]\n"
     "batch [1,1] m 4 n 4 k 4 tile [4,4] workspace 0 }",
     716, 1},
    {"kernel k product {\n library own\n a f32 [0,0,1,1] b f32 [0,0,1,1] c f32 write [0,0,0,1]\n"
     "batch [1,1] m 4 n 4 k 4 tile [4,4] workspace 0 }",
     716, 1},
    {"kernel k product {\n library own\n a f32 [0,0,1,1] b f32 [0,0,1,1] c f32 write [0,0,4,1]\n"
     "batch [1,1] m 4 n 4 k 0 tile [4,4] workspace 0 }",
     716, 1},
    {"kernel k product {\n library own\n a f32 [0,0,4,1] b f32 [0,0,4,1] c f32 write [0,0,4,1] "
     "bias\n"
     "batch [1,1] m 4 n 4 k 4 tile [4,4] workspace 0 }",
     716, 1},
    {"kernel k product {\n library cublaslt\n a f32 [0,0,4,1] b f32 [0,0,4,1]\n"
     "c f32 update [0,0,4,1] bias batch [1,1] m 4 n 4 k 4 tile [4,4] workspace 0 }",
     716, 1},
    {"kernel k product {\n library cublaslt\n a f32 [0,0,4,1] b f32 [0,0,4,1]\n"
     "c f32 write [0,0,1,4] bias batch [1,1] m 4 n 4 k 4 tile [4,4] workspace 0 }",
     716, 1},
    {MEMBERS "%0 = load 0\nstore 1 %0\n%2 = neg %0\nstore 2 %2\n}", 717, 1},
    {MEMBERS "%0 = load 0\nstore 1 %0\nstore 2 %0\nstore 3 %0\n}", 717, 1},
    {MEMBERS "%0 = load 0\n%1 = load 3\nstore 2 %0\nstore 3 %1\n}", 717, 1},
    {MEMBERS "%0 = load 3\n%1 = neg %0\nstore 1 %1\nstore 3 %1\n}", 717, 1},
    {MEMBERS "%0 = load 0\n%1 = sum %0\nstore 1 %1\nstore 2 %1\n}", 717, 1},
    {MEMBERS "}", 717, 1},
    {"kernel k rows [4] members 1 { }", 704, 1},
    {"kernel k product {\n library mkl\n", 701, 2},
    {"kernel k attention {\n dtype f32 batch 1 heads 3 groups 2 queries 1 keys 1 dim_qk 1 dim_v 1\n"
     "window 0 causal 0 scale 1 q [1,1,1] k [1,1,1] v [1,1,1] out [1,1,1] }",
     716, 1},
    {"kernel k attention {\n dtype f32 batch 1 heads 1 groups 1 queries 1099511627776 keys 1 "
     "dim_qk 2\n"
     "dim_v 1 window 0 causal 0 scale 1 q [1,1,1] k [1,1,1] v [1,1,1] out [1,1,1] }",
     716, 1},
    {"kernel k attention {\n dtype f32 batch 1 heads 1 groups 1 queries 1 keys 1 dim_qk 1 dim_v 1\n"
     "window 0 causal 1 interval 1 offset 1 scale 1 q [1,1,1] k [1,1,1] v [1,1,1] out [1,1,1] }",
     716, 1},
    {"kernel k attention {\n dtype f32 batch 1 heads 1 groups 1 queries 1 keys 1 dim_qk 1 dim_v 1\n"
     "window 0 causal 1 scale 1 cap -2 q [1,1,1] k [1,1,1] v [1,1,1] out [1,1,1] }",
     716, 1},
    {"kernel k attention {\n dtype f32 batch 1 heads 1 groups 1 queries 9 keys 9 dim_qk 1 dim_v 1\n"
     "window 0 causal 1 scale 1 bias f32 [0,0,1,9] q [1,1,1] k [1,1,1] v [1,1,1] out [1,1,1] }",
     716, 1},
    {"kernel k attention {\n dtype f32 batch 1 heads 1 groups 1 queries 9 keys 9 dim_qk 1 dim_v 1\n"
     "window 0 causal 1 scale 1 bias i32 [0,0,9,1] q [1,1,1] k [1,1,1] v [1,1,1] out [1,1,1] }",
     716, 1},
    {"kernel k attention_grad_bias {\n dtype f32 batch 1 heads 1 groups 1 queries 9 keys 9 dim_qk "
     "1 "
     "dim_v 1\nwindow 0 causal 1 scale 1 q [1,1,1] k [1,1,1] v [1,1,1] out [1,1,1] dout [1,1,1] "
     "dbias "
     "[0,0,9,1] }",
     716, 1},
    {"kernel k attention {\n dtype f32 heads 1\n", 701, 2},
};

Test(kernel_text, refuses_with_a_code_and_a_line) {
    for (size_t i = 0; i < sizeof bad_text / sizeof *bad_text; i++) {
        Arena *a = arena_create();
        Diag *d = diag_create(a);
        cr_assert_null(parse(a, d, bad_text[i].text), "accepted: %s", bad_text[i].text);
        cr_assert_eq(diag_error_count(d), 1, "%s", bad_text[i].text);
        const DiagItem *item = diag_item(d, 0);
        cr_assert_eq(item->code, bad_text[i].code, "P%04d %s for: %s", item->code, item->message,
                     bad_text[i].text);
        cr_assert_eq(item->loc.line, bad_text[i].line, "line %d for: %s", item->loc.line,
                     bad_text[i].text);
        arena_release(a);
    }
}

Test(kernel_text, limits_operations_and_operands) {
    Arena *a = arena_create();
    Diag *d = diag_create(a);
    enum { LINE = 32 };
    char *text = arena_array(a, char, (KERNEL_INSTRS_MAX + 2) * LINE);
    size_t used = (size_t)sprintf(text, "kernel k rows [4] {\n");
    for (int i = 0; i < KERNEL_INSTRS_MAX; i++)
        used += (size_t)sprintf(text + used, "%%%d = const %d\n", i, i);
    strcpy(text + used, "}");
    cr_assert_not_null(parse(a, d, text));
    sprintf(text + used, "%%%d = const 0\n}", KERNEL_INSTRS_MAX);
    cr_assert_null(parse(a, d, text));
    cr_assert_eq(diag_item(d, 0)->code, 703);

    used = (size_t)sprintf(text, "kernel k rows [4] {\n");
    for (int i = 0; i <= KERNEL_OPERANDS_MAX; i++)
        used += (size_t)sprintf(text + used, "operand %d: f32 read [1]\n", i);
    strcpy(text + used, "}");
    cr_assert_null(parse(a, d, text));
    cr_assert_eq(diag_item(d, 1)->code, 703);
    arena_release(a);
}

// A text cut short is refused at its end, wherever it is cut.
Test(kernel_text, refuses_every_prefix) {
    for (int i = 0; i < GOOD; i++) {
        const size_t bytes = strlen(good_text[i]) - 2; // Without "}\n"
        for (size_t cut = 1; cut <= bytes; cut++) {
            Arena *a = arena_create();
            Diag *d = diag_create(a);
            size_t at = 0;
            char *text = arena_text_span(a, good_text[i], cut);
            cr_assert_null(kernel_parse(a, d, "k", text, cut, &at));
            cr_assert_eq(diag_error_count(d), 1);
            arena_release(a);
        }
    }
}

// A mutated text is refused with a diagnostic or reads as a kernel that prints and reads back.
Test(kernel_text, survives_mutation) {
    uint32_t random = 1;
    static const char glyph[] = "%[]{}:,=#-. \n0123456789abdelmnorstuwx\xff";
    int accepted = 0;
    for (int i = 0; i < 4000; i++) {
        Arena *a = arena_create();
        Diag *d = diag_create(a);
        char *text = arena_text(a, good_text[i % GOOD]);
        const size_t bytes = strlen(text);
        for (int change = 0; change <= i % 3; change++) {
            random = random * 1664525u + 1013904223u;
            text[(random >> 8) % bytes] = glyph[(random >> 3) % (sizeof glyph - 1)];
        }
        const Kernel *k = parse(a, d, text);
        cr_assert_eq(k == NULL, diag_error_count(d) == 1);
        if (k) {
            accepted++;
            const Kernel *again = parse(a, d, kernel_text(k, a));
            cr_assert_not_null(again);
            cr_assert(kernel_equal(k, again), "%s", text);
            for (int o = 0; o < kernel_operand_count(k); o++)
                cr_assert_geq(kernel_span(k, o), 0);
            cr_assert_geq(kernel_tiles(k), 1);
            cr_assert_geq(kernel_flops(k), 0);
            cr_assert_geq(kernel_bytes(k), 0);
        }
        arena_release(a);
    }
    cr_assert_gt(accepted, 100);
}
