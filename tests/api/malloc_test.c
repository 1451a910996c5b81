/* malloc: sizes, alignment, usable size, waste, failure, errno. C17 7.22.3.4, malloc(3). */
#include "support.h"

#include <errno.h>
#include <stdlib.h>

#include "exercise.h"
#include "family.h"

#define BLOCKS TEST_SCALE(3000, 300)

static const size_t large_sizes[] = {
    40 * KIB,  64 * KIB,      64 * KIB + 1, 100 * KIB, 128 * KIB - 1,
    128 * KIB, 128 * KIB + 1, 1 * MIB,      3 * MIB,   33 * MIB,
};

/* Every size where classes are fine, then a step that meets all residues. */
static size_t next_size(size_t size)
{
    return size + (size < 2048 ? 1 : TEST_SCALE(7, 61));
}

static void test_malloc_zero_bytes_gives_unique_blocks(void **state)
{
    (void)state;
    void *blocks[100];
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        blocks[i] = t_malloc(0);
        assert_non_null(blocks[i]);
        for (size_t other = 0; other < i; other++) {
            assert_ptr_not_equal(blocks[i], blocks[other]);
        }
    }
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        t_free(blocks[i]);
    }
}

static void test_malloc_any_size_is_aligned_for_any_object_that_fits(void **state)
{
    (void)state;
    for (size_t size = 1; size <= 40000; size = next_size(size)) {
        void *neighbours[3];
        for (size_t i = 0; i < COUNT_OF(neighbours); i++) {
            neighbours[i] = t_malloc(size);
            assert_non_null(neighbours[i]);
            assert_true(is_aligned(neighbours[i], natural_alignment(size)));
        }
        for (size_t i = 0; i < COUNT_OF(neighbours); i++) {
            t_free(neighbours[i]);
        }
    }
}

static void test_malloc_large_sizes_are_aligned_to_sixteen(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(large_sizes); i++) {
        void *block = t_malloc(large_sizes[i]);
        assert_non_null(block);
        assert_true(is_aligned(block, 16));
        t_free(block);
    }
}

static void test_malloc_small_block_is_writable_over_its_usable_size(void **state)
{
    (void)state;
    for (size_t size = 1; size <= 40000; size = next_size(size)) {
        void *block = t_malloc(size);
        assert_non_null(block);
        size_t usable_bytes = t_usable_size(block);
        assert_true(usable_bytes >= size);
        pattern_fill(block, usable_bytes, size);
        assert_true(pattern_holds(block, usable_bytes, size));
        t_free(block);
    }
}

static void test_malloc_large_block_is_writable_over_its_usable_size(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(large_sizes); i++) {
        void *block = t_malloc(large_sizes[i]);
        assert_non_null(block);
        size_t usable_bytes = t_usable_size(block);
        assert_true(usable_bytes >= large_sizes[i]);
        pattern_fill(block, usable_bytes, i);
        assert_true(pattern_holds(block, usable_bytes, i));
        t_free(block);
    }
}

static void test_malloc_untouched_256_mib_succeeds(void **state)
{
    (void)state;
    void *block = t_malloc(256 * MIB);
    assert_non_null(block);
    assert_true(t_usable_size(block) >= 256 * MIB);
    t_free(block);
}

static void test_malloc_live_blocks_do_not_overlap(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    static void *blocks[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = t_malloc(random_size(&random, 300 * KIB));
        assert_non_null(blocks[i]);
        pattern_fill(blocks[i], t_usable_size(blocks[i]), i);
    }
    for (size_t i = 0; i < BLOCKS; i += 2) {
        assert_true(pattern_holds(blocks[i], t_usable_size(blocks[i]), i));
        t_free(blocks[i]);
    }
    for (size_t i = 0; i < BLOCKS; i += 2) {
        blocks[i] = t_malloc(random_size(&random, 300 * KIB));
        assert_non_null(blocks[i]);
        pattern_fill(blocks[i], t_usable_size(blocks[i]), i);
    }
    for (size_t i = 0; i < BLOCKS; i++) {
        assert_true(pattern_holds(blocks[i], t_usable_size(blocks[i]), i));
        t_free(blocks[i]);
    }
}

static void test_malloc_from_128_bytes_to_32_kib_wastes_at_most_a_fifth(void **state)
{
    (void)state;
    for (size_t size = 128; size <= 32 * KIB; size++) {
        void *block = t_malloc(size);
        assert_non_null(block);
        if (size * 5 < t_usable_size(block) * 4) {
            fail_msg("%zu bytes got a block of %zu", size, t_usable_size(block));
        }
        t_free(block);
    }
}

static void test_malloc_above_ptrdiff_max_fails_with_enomem(void **state)
{
    (void)state;
    const size_t sizes[] = {TOO_LARGE, TOO_LARGE + 1, SIZE_MAX - 4096, SIZE_MAX - 15, SIZE_MAX};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        errno = ERRNO_UNUSED;
        assert_null(t_malloc(sizes[i]));
        assert_int_equal(errno, ENOMEM);
    }
}

static void test_malloc_legal_but_impossible_size_fails_with_enomem(void **state)
{
    (void)state;
    const size_t sizes[] = {NEVER_THERE, (size_t)PTRDIFF_MAX, (size_t)PTRDIFF_MAX - 65536};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        errno = ERRNO_UNUSED;
        assert_null(t_malloc(sizes[i]));
        assert_int_equal(errno, ENOMEM);
    }
}

static void test_malloc_after_failure_works(void **state)
{
    (void)state;
    assert_null(t_malloc(NEVER_THERE));
    assert_null(t_malloc(SIZE_MAX));
    family_exercise(1);
}

static void test_malloc_small_success_keeps_errno(void **state)
{
    (void)state;
    /* Enough blocks of one class that refills and fresh slabs are among the calls. */
    static void *blocks[TEST_SCALE(20000, 4000)];
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        errno = ERRNO_UNUSED;
        blocks[i] = t_malloc(208);
        assert_int_equal(errno, ERRNO_UNUSED);
        assert_non_null(blocks[i]);
    }
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        t_free(blocks[i]);
    }
}

static void test_malloc_large_success_keeps_errno(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(large_sizes); i++) {
        errno = ERRNO_UNUSED;
        void *block = t_malloc(large_sizes[i]);
        assert_int_equal(errno, ERRNO_UNUSED);
        assert_non_null(block);
        t_free(block);
    }
}

static void test_usable_size_of_null_is_zero(void **state)
{
    (void)state;
    assert_int_equal(t_usable_size(NULL), 0);
}

static void test_usable_size_keeps_errno(void **state)
{
    (void)state;
    void *block = t_malloc(100);
    errno = ERRNO_UNUSED;
    assert_true(t_usable_size(block) >= 100);
    assert_int_equal(t_usable_size(NULL), 0);
    assert_int_equal(errno, ERRNO_UNUSED);
    t_free(block);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_malloc_zero_bytes_gives_unique_blocks),
        cmocka_unit_test(test_malloc_any_size_is_aligned_for_any_object_that_fits),
        cmocka_unit_test(test_malloc_large_sizes_are_aligned_to_sixteen),
        cmocka_unit_test(test_malloc_small_block_is_writable_over_its_usable_size),
        cmocka_unit_test(test_malloc_large_block_is_writable_over_its_usable_size),
        cmocka_unit_test(test_malloc_untouched_256_mib_succeeds),
        cmocka_unit_test(test_malloc_live_blocks_do_not_overlap),
        cmocka_unit_test(test_malloc_from_128_bytes_to_32_kib_wastes_at_most_a_fifth),
        cmocka_unit_test(test_malloc_above_ptrdiff_max_fails_with_enomem),
        cmocka_unit_test(test_malloc_legal_but_impossible_size_fails_with_enomem),
        cmocka_unit_test(test_malloc_after_failure_works),
        cmocka_unit_test(test_malloc_small_success_keeps_errno),
        cmocka_unit_test(test_malloc_large_success_keeps_errno),
        cmocka_unit_test(test_usable_size_of_null_is_zero),
        cmocka_unit_test(test_usable_size_keeps_errno),
    };
    return cmocka_run_group_tests_name("malloc", tests, NULL, NULL);
}
