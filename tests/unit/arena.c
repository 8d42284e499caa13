// Arena memory, interned names and name tables.
#include "ir/arena.h"
#include "ir/check.h"
#include "ir/intern.h"
#include "ir/name_map.h"

#include <criterion/criterion.h>
#include <stdint.h>
#include <string.h>

#if defined(__has_feature)
#define PLIM_CLANG_SANITIZES (__has_feature(address_sanitizer) || __has_feature(thread_sanitizer))
#else
#define PLIM_CLANG_SANITIZES 0
#endif

Test(arena, memory_is_zeroed_and_aligned) {
    Arena *a = arena_create();
    for (size_t size = 1; size < 200000; size = 3 * size + 1) {
        unsigned char *p = arena_alloc(a, 1, size);
        cr_assert_eq((uintptr_t)p % _Alignof(max_align_t), 0);
        for (size_t i = 0; i < size; i++)
            cr_assert_eq(p[i], 0);
        memset(p, 0xff, size);
    }
    arena_release(a);
}

Test(arena, objects_do_not_overlap) {
    enum { COUNT = 5000 };
    Arena *a = arena_create();
    int *object[COUNT];
    for (int i = 0; i < COUNT; i++) {
        object[i] = arena_array(a, int, i % 37 + 1);
        for (int k = 0; k <= i % 37; k++)
            object[i][k] = i;
    }
    for (int i = 0; i < COUNT; i++)
        for (int k = 0; k <= i % 37; k++)
            cr_assert_eq(object[i][k], i);
    arena_release(a);
}

Test(arena, reset_starts_from_nothing) {
    Arena *a = arena_create();
    char *p = arena_alloc(a, 1, 100);
    memset(p, 0xff, 100);
    cr_assert_geq(arena_used(a), 100);
    arena_reset(a);
    cr_assert_eq(arena_used(a), 0);
    p = arena_alloc(a, 1, 100);
    for (int i = 0; i < 100; i++)
        cr_assert_eq(p[i], 0);
    arena_release(a);
    arena_release(NULL);
}

// Sanitizers see the use of what has gone, and what has not gone.
Test(arena, an_arena_within_goes_with_its_owner) {
    Arena *a = arena_create();
    for (int round = 0; round < 2; round++) {
        Arena *first = arena_within(a), *second = arena_within(a), *inner = arena_within(first);
        char *text = arena_text(first, "first");
        memset(arena_alloc(second, 1, 100000), 1, 100000);
        memset(arena_alloc(inner, 1, 100000), 2, 100000);
        cr_assert_str_eq(text, "first");
        cr_assert_eq(arena_used(a), 0);
        arena_reset(a);
    }
    arena_text(arena_within(a), "last");
    arena_release(a);
}

Test(arena, grow_copies_and_zeroes_the_rest) {
    Arena *a = arena_create();
    int *old = arena_array(a, int, 3);
    for (int i = 0; i < 3; i++)
        old[i] = i + 1;
    const int *larger = arena_grow(a, old, 3, 6, sizeof(int));
    for (int i = 0; i < 6; i++)
        cr_assert_eq(larger[i], i < 3 ? i + 1 : 0);
    cr_assert_not_null(arena_grow(a, NULL, 0, 0, sizeof(int)));
    arena_release(a);
}

Test(arena, formats_texts) {
    Arena *a = arena_create();
    cr_assert_str_eq(arena_format(a, "%s-%d", "x", 7), "x-7");
    cr_assert_str_eq(arena_text_span(a, "hello", 4), "hell");
    cr_assert_str_eq(arena_text(a, ""), "");
    arena_release(a);
}

Test(arena, overflowing_sizes_exit_1, .exit_code = 1) {
    Arena *a = arena_create();
    arena_alloc(a, SIZE_MAX / 2, 3);
}

// Sanitizers end the program themselves when asked for so much.
#if !defined(__SANITIZE_ADDRESS__) && !PLIM_CLANG_SANITIZES
Test(arena, memory_that_is_not_there_exits_1, .exit_code = 1) {
    Arena *a = arena_create();
    arena_alloc(a, 1, SIZE_MAX / 2);
}
#endif

Test(check, failure_exits_70, .exit_code = 70) {
    CHECK(1 + 1 == 3);
}

Test(intern, equal_texts_are_one_pointer) {
    Arena *a = arena_create();
    Intern *t = intern_create(a);
    const char *first = intern(t, "h.0.attn");
    cr_assert_eq(first, intern_span(t, "h.0.attn.c_attn", 8));
    cr_assert_neq(first, intern(t, "h.0"));
    cr_assert_eq(intern(t, ""), intern_span(t, "x", 0));
    arena_release(a);
}

Test(name_map, finds_what_was_added_however_many) {
    enum { COUNT = 20000 };
    Arena *a = arena_create();
    NameMap *t = name_map_create(a);
    int *number = arena_array(a, int, COUNT);
    for (int i = 0; i < COUNT; i++)
        cr_assert_null(name_map_add(t, arena_format(a, "v%d", i), &number[i]));
    for (int i = 0; i < COUNT; i++) {
        const char *name = arena_format(a, "v%d", i);
        cr_assert_eq(name_map_find(t, name), &number[i]);
        cr_assert_eq(name_map_add(t, name, a), &number[i]);
    }
    cr_assert_null(name_map_find(t, "v"));
    cr_assert_null(name_map_find(t, "v20000"));
    arena_release(a);
}
