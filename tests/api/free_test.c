/* free, free_sized, free_aligned_sized: NULL, errno, every pair of size and alignment.
 * POSIX.1-2024 (errno), C23 7.24.3.4 and 7.24.3.5. */
#include "support.h"

#include <errno.h>

#include "exercise.h"
#include "family.h"

static const size_t sizes[] = {0,     1,     8,        15,        16,     17,      64,
                               129,   1000,  1025,     4096,      9000,   16385,   32 * KIB,
                               33000, 50000, 64 * KIB, 128 * KIB, 300000, 2 * MIB, 40 * MIB};

static void test_free_null_does_nothing(void **state)
{
    (void)state;
    errno = ERRNO_UNUSED;
    t_free(NULL);
    t_free_sized(NULL, 0);
    t_free_sized(NULL, 100);
    t_free_aligned_sized(NULL, 64, 0);
    t_free_aligned_sized(NULL, 64, 100);
    assert_int_equal(errno, ERRNO_UNUSED);
}

static void test_free_of_any_size_keeps_errno(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        void *block = t_malloc(sizes[i]);
        assert_non_null(block);
        errno = ERRNO_UNUSED;
        t_free(block);
        assert_int_equal(errno, ERRNO_UNUSED);
    }
}

static void test_free_of_many_small_blocks_keeps_errno(void **state)
{
    (void)state;
    /* More than a cache holds, so that flushes are among the calls. */
    static void *blocks[TEST_SCALE(20000, 4000)];
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        blocks[i] = t_malloc(240);
        assert_non_null(blocks[i]);
    }
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        errno = ERRNO_UNUSED;
        t_free(blocks[i]);
        assert_int_equal(errno, ERRNO_UNUSED);
    }
}

static void test_free_that_unmaps_keeps_errno(void **state)
{
    (void)state;
    /* Two gigabytes at once are more than is kept for reuse. */
    void *blocks[16];
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        blocks[i] = t_malloc(128 * MIB);
        assert_non_null(blocks[i]);
    }
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        errno = ERRNO_UNUSED;
        t_free(blocks[i]);
        assert_int_equal(errno, ERRNO_UNUSED);
    }
}

static void test_free_sized_of_any_size_keeps_errno_and_the_heap(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        void *blocks[] = {t_malloc(sizes[i]), t_calloc(1, sizes[i]), t_realloc(NULL, sizes[i])};
        for (size_t k = 0; k < COUNT_OF(blocks); k++) {
            assert_non_null(blocks[k]);
            errno = ERRNO_UNUSED;
            t_free_sized(blocks[k], sizes[i]);
            assert_int_equal(errno, ERRNO_UNUSED);
        }
    }
    family_exercise_many(1, TEST_SCALE(500, 100), 300 * KIB);
}

static void test_free_aligned_sized_of_every_pair_keeps_errno_and_the_heap(void **state)
{
    (void)state;
    for (size_t alignment = 1; alignment <= 4 * MIB; alignment *= 2) {
        for (size_t i = 0; i < COUNT_OF(sizes); i++) {
            void *block = t_aligned_alloc(alignment, sizes[i]);
            assert_non_null(block);
            errno = ERRNO_UNUSED;
            t_free_aligned_sized(block, alignment, sizes[i]);
            assert_int_equal(errno, ERRNO_UNUSED);
        }
    }
    family_exercise_many(2, TEST_SCALE(500, 100), 300 * KIB);
}

static void test_free_aligned_sized_of_every_small_size_keeps_the_heap(void **state)
{
    (void)state;
    for (size_t alignment = 1; alignment <= 16 * KIB; alignment *= 2) {
        for (size_t size = 0; size <= 40000; size += TEST_SCALE(37, 509)) {
            void *block = t_aligned_alloc(alignment, size);
            assert_non_null(block);
            pattern_fill(block, t_usable_size(block) < 64 ? t_usable_size(block) : 64, size);
            t_free_aligned_sized(block, alignment, size);
        }
        family_exercise_many(alignment, 100, 40 * KIB);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_free_null_does_nothing),
        cmocka_unit_test(test_free_of_any_size_keeps_errno),
        cmocka_unit_test(test_free_of_many_small_blocks_keeps_errno),
        cmocka_unit_test(test_free_that_unmaps_keeps_errno),
        cmocka_unit_test(test_free_sized_of_any_size_keeps_errno_and_the_heap),
        cmocka_unit_test(test_free_aligned_sized_of_every_pair_keeps_errno_and_the_heap),
        cmocka_unit_test(test_free_aligned_sized_of_every_small_size_keeps_the_heap),
    };
    return cmocka_run_group_tests_name("free", tests, NULL, NULL);
}
