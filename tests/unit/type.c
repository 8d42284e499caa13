// Types, their limits, and checked arithmetic.
#include "ir/type.h"

#include <criterion/criterion.h>

Test(type, text_and_sizes) {
    Arena *a = arena_create();
    const Type t = type_make(DT_BF16, 3, (int64_t[]){2, 3, 4});
    cr_assert_str_eq(type_text(a, &t), "bf16[2,3,4]");
    cr_assert_eq(type_count(&t), 24);
    cr_assert_eq(type_bytes(&t), 48);
    int64_t stride[RANK_MAX];
    type_strides(&t, stride);
    cr_assert(stride[0] == 12 && stride[1] == 4 && stride[2] == 1);
    const Type scalar = type_scalar(DT_BOOL);
    cr_assert_str_eq(type_text(a, &scalar), "bool[]");
    cr_assert_eq(type_count(&scalar), 1);
    const Type empty = type_make(DT_F32, 2, (int64_t[]){0, 5});
    cr_assert_eq(type_bytes(&empty), 0);
    const Type largest =
        type_make(DT_F32, RANK_MAX, (int64_t[]){DIM_MAX, 1, 1, 1, 1, 1, 1, DIM_MAX});
    cr_assert_str_eq(type_text(a, &largest), "f32[1099511627776,1,1,1,1,1,1,1099511627776]");
    arena_release(a);
}

Test(type, equality) {
    const Type a = type_make(DT_F32, 2, (int64_t[]){2, 3});
    const Type b = type_make(DT_F32, 2, (int64_t[]){3, 2});
    const Type c = type_make(DT_F32, 1, (int64_t[]){2});
    const Type d = type_with_dtype(a, DT_I32);
    cr_assert(type_equal(&a, &a));
    cr_assert(!type_equal(&a, &b) && !type_equal(&a, &c) && !type_equal(&a, &d));
    cr_assert(type_same_shape(&a, &d) && !type_same_shape(&a, &b));
}

Test(type, limits_hold_at_the_limit_and_fail_one_over) {
    Type t = type_make(DT_BOOL, 2, (int64_t[]){DIM_MAX, (int64_t)1 << 21});
    cr_assert(type_check(&t)); // 2^61 bytes
    t.dim[1] *= 2;
    cr_assert(!type_check(&t)); // 2^62
    t = type_make(DT_F32, 1, (int64_t[]){DIM_MAX});
    cr_assert(type_check(&t));
    t.dim[0]++;
    cr_assert(!type_check(&t));
    t.dim[0] = -1;
    cr_assert(!type_check(&t));
    // A size of 0 hides nothing: strides would overflow.
    t = type_make(DT_F32, 4, (int64_t[]){0, DIM_MAX, DIM_MAX, 2});
    cr_assert(!type_check(&t));
    t.rank = RANK_MAX + 1;
    cr_assert(!type_check(&t));
}

Test(type, names_of_element_types) {
    for (int i = 0; i < DT_COUNT; i++) {
        DType found;
        cr_assert(dtype_find(dtype_name((DType)i), &found));
        cr_assert_eq(found, (DType)i);
    }
    DType none;
    cr_assert(!dtype_find("f64", &none));
    cr_assert(dtype_is_float(DT_BF16) && !dtype_is_float(DT_I32));
}

Test(type, arithmetic_is_checked) {
    size_t s;
    int64_t c;
    cr_assert(size_mul(3, 4, &s) && s == 12);
    cr_assert(!size_mul(SIZE_MAX, 2, &s));
    cr_assert(size_add(3, 4, &s) && s == 7);
    cr_assert(!size_add(SIZE_MAX, 1, &s));
    cr_assert(count_mul(-3, 4, &c) && c == -12);
    cr_assert(!count_mul(INT64_MAX, 2, &c));
}
