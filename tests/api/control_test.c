/* mallopt and malloc_trim. mallopt(3), malloc_trim(3). Each mallopt case runs in a child, since a
 * pinned threshold stays. */
#include "support.h"

#include <errno.h>
#include <limits.h>
#include <malloc.h>
#include <string.h>

#include "exercise.h"
#include "family.h"

#define THRESHOLD_MAX (32 * 1024 * 1024) /* bytes, as mallopt(3) says for 64 bits */

struct setting {
    int parameter;
    int value;
    int expected; /* what mallopt is to return */
};

static void apply(void *argument)
{
    const struct setting *setting = argument;
    errno = ERRNO_UNUSED;
    CHECK(t_mallopt(setting->parameter, setting->value) == setting->expected);
    CHECK(setting->expected == 0 || errno == ERRNO_UNUSED);
    family_exercise(1);
    family_exercise_many(2, 100, 2 * MIB);
}

static void check_settings(struct setting *settings, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        struct outcome outcome;
        run_child(apply, &settings[i], &outcome);
        assert_clean_exit(&outcome);
    }
}

static void test_mallopt_mmap_threshold_up_to_32_mib_is_taken(void **state)
{
    (void)state;
    struct setting settings[] = {
        {M_MMAP_THRESHOLD, 0, 1},           {M_MMAP_THRESHOLD, 1, 1},
        {M_MMAP_THRESHOLD, 64 * 1024, 1},   {M_MMAP_THRESHOLD, 128 * 1024 + 1, 1},
        {M_MMAP_THRESHOLD, 1024 * 1024, 1}, {M_MMAP_THRESHOLD, THRESHOLD_MAX, 1},
    };
    check_settings(settings, COUNT_OF(settings));
}

static void test_mallopt_mmap_threshold_out_of_range_is_refused(void **state)
{
    (void)state;
    struct setting settings[] = {
        {M_MMAP_THRESHOLD, THRESHOLD_MAX + 1, 0},
        {M_MMAP_THRESHOLD, INT_MAX, 0},
        {M_MMAP_THRESHOLD, -1, 0},
        {M_MMAP_THRESHOLD, INT_MIN, 0},
    };
    check_settings(settings, COUNT_OF(settings));
}

static void test_mallopt_other_named_parameters_are_accepted(void **state)
{
    (void)state;
    struct setting settings[] = {
        {M_TRIM_THRESHOLD, 128 * 1024, 1},
        {M_TOP_PAD, 64 * 1024, 1},
        {M_MMAP_MAX, 1000, 1},
        {M_CHECK_ACTION, 3, 1},
        {M_PERTURB, 0xa5, 1},
        {M_ARENA_TEST, 2, 1},
        {M_ARENA_MAX, 1, 1},
        {M_MXFAST, 64, 1},
    };
    check_settings(settings, COUNT_OF(settings));
}

static void test_mallopt_unknown_parameter_is_refused(void **state)
{
    (void)state;
    struct setting settings[] = {{12345, 1, 0}, {-12345, 1, 0}, {INT_MIN, 0, 0}};
    check_settings(settings, COUNT_OF(settings));
}

static void test_malloc_trim_live_blocks_survive(void **state)
{
    (void)state;
    static void *blocks[TEST_SCALE(1000, 200)];
    uint64_t random = test_seed();
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        blocks[i] = t_malloc(random_size(&random, 2 * MIB));
        assert_non_null(blocks[i]);
        pattern_fill(blocks[i], t_usable_size(blocks[i]), i);
    }
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        if (i % 4 != 0) {
            t_free(blocks[i]);
        }
    }
    static const size_t pads[] = {SIZE_MAX, 1 * MIB, 1, 0};
    for (size_t i = 0; i < COUNT_OF(pads); i++) {
        errno = ERRNO_UNUSED;
        int trimmed = t_malloc_trim(pads[i]);
        assert_true(trimmed == 0 || trimmed == 1);
        assert_int_equal(errno, ERRNO_UNUSED);
    }
    family_exercise(3);
    for (size_t i = 0; i < COUNT_OF(blocks); i += 4) {
        assert_true(pattern_holds(blocks[i], t_usable_size(blocks[i]), i));
        t_free(blocks[i]);
    }
}

static void test_malloc_trim_after_freeing_much_returns_one(void **state)
{
    (void)state;
    static void *blocks[300];
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        blocks[i] = t_malloc(100 * KIB);
        assert_non_null(blocks[i]);
        memset(blocks[i], 1, 100 * KIB);
    }
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        t_free(blocks[i]);
    }
    assert_int_equal(t_malloc_trim(0), 1);
}

/* As many bytes of free slices may stay as the pad says. */
static void test_malloc_trim_with_a_pad_keeps_so_much(void **state)
{
    (void)state;
    static const size_t pads[] = {0, 8 * MIB, SIZE_MAX};
    static void *blocks[300];
    for (size_t p = 0; p < COUNT_OF(pads); p++) {
        (void)t_malloc_trim(0);
        size_t before = weir_committed();
        for (size_t i = 0; i < COUNT_OF(blocks); i++) {
            blocks[i] = t_calloc(1, 64 * KIB); /* below every mmap threshold: slices */
            assert_non_null(blocks[i]);
            memset(blocks[i], 1, 64 * KIB);
        }
        for (size_t i = 0; i < COUNT_OF(blocks); i++) {
            t_free(blocks[i]);
        }
        int trimmed = t_malloc_trim(pads[p]);
        size_t left = weir_committed() - before;
        if (pads[p] == SIZE_MAX) {
            assert_true(left >= COUNT_OF(blocks) * 64 * KIB / 2); /* free slabs go all the same */
        } else {
            assert_int_equal(trimmed, 1);
            assert_true(left <= pads[p] + MIB);
        }
    }
    (void)t_malloc_trim(0);
}

static void test_malloc_trim_freed_memory_is_usable_again(void **state)
{
    (void)state;
    for (int round = 0; round < TEST_SCALE(20, 5); round++) {
        family_exercise_many((uint64_t)round, 200, 2 * MIB);
        t_malloc_trim(0);
        void *zero = t_calloc(1, 100 * KIB);
        assert_non_null(zero);
        assert_true(all_zero(zero, 100 * KIB));
        t_free(zero);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_mallopt_mmap_threshold_up_to_32_mib_is_taken),
        cmocka_unit_test(test_mallopt_mmap_threshold_out_of_range_is_refused),
        cmocka_unit_test(test_mallopt_other_named_parameters_are_accepted),
        cmocka_unit_test(test_mallopt_unknown_parameter_is_refused),
        cmocka_unit_test(test_malloc_trim_live_blocks_survive),
        cmocka_unit_test(test_malloc_trim_after_freeing_much_returns_one),
        cmocka_unit_test(test_malloc_trim_with_a_pad_keeps_so_much),
        cmocka_unit_test(test_malloc_trim_freed_memory_is_usable_again),
    };
    return cmocka_run_group_tests_name("control", tests, NULL, NULL);
}
