/* posix_memalign, aligned_alloc, memalign, valloc, pvalloc. C17 7.22.3.1, posix_memalign(3). */
#include "support.h"

#include <errno.h>
#include <unistd.h>

#include "family.h"

#define LARGEST_ALIGNMENT ((size_t)1 << 30)
#define TOUCHED_ALIGNMENT ((size_t)1 << 22) /* up to here the blocks are written as well */

static const size_t sizes[] = {0,    1,     7,     16,       100,       1001,   4096,
                               5000, 32768, 40001, 64 * KIB, 100 * KIB, 200001, MIB + 3};

static size_t page_bytes(void)
{
    return (size_t)sysconf(_SC_PAGESIZE);
}

static void check_block(void *block, size_t alignment, size_t size)
{
    assert_non_null(block);
    assert_true(is_aligned(block, alignment));
    size_t usable_bytes = t_usable_size(block);
    assert_true(usable_bytes >= size);
    if (alignment <= TOUCHED_ALIGNMENT) {
        pattern_fill(block, usable_bytes, alignment + size);
        assert_true(pattern_holds(block, usable_bytes, alignment + size));
    }
}

static void test_posix_memalign_every_alignment_and_size_is_aligned(void **state)
{
    (void)state;
    for (size_t alignment = 8; alignment <= LARGEST_ALIGNMENT; alignment *= 2) {
        for (size_t i = 0; i < COUNT_OF(sizes); i++) {
            void *blocks[2] = {NULL, NULL};
            for (size_t k = 0; k < COUNT_OF(blocks); k++) {
                errno = ERRNO_UNUSED;
                assert_int_equal(t_posix_memalign(&blocks[k], alignment, sizes[i]), 0);
                assert_int_equal(errno, ERRNO_UNUSED);
                check_block(blocks[k], alignment, sizes[i]);
            }
            assert_ptr_not_equal(blocks[0], blocks[1]);
            t_free(blocks[0]);
            t_free(blocks[1]);
        }
    }
}

static void test_posix_memalign_bad_alignment_returns_einval_and_changes_nothing(void **state)
{
    (void)state;
    static const size_t alignments[] = {0, 1, 2, 3, 4, 7, 12, 24, 48, 4095, 4097, SIZE_MAX};
    for (size_t i = 0; i < COUNT_OF(alignments); i++) {
        int here;
        void *block = &here;
        errno = ERRNO_UNUSED;
        assert_int_equal(t_posix_memalign(&block, alignments[i], 100), EINVAL);
        assert_int_equal(errno, ERRNO_UNUSED);
        assert_ptr_equal(block, &here);
    }
}

static void test_posix_memalign_out_of_memory_returns_enomem_and_changes_nothing(void **state)
{
    (void)state;
    static const size_t requests[][2] = {
        {8, TOO_LARGE},        {8, SIZE_MAX},      {4096, SIZE_MAX - 4000},
        {64, NEVER_THERE},     {TOO_LARGE, 1},     {TOO_LARGE, 0},
        {TOO_LARGE, SIZE_MAX}, {NEVER_THERE, 100}, {4096, PTRDIFF_MAX},
    };
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        int here;
        void *block = &here;
        errno = ERRNO_UNUSED;
        assert_int_equal(t_posix_memalign(&block, requests[i][0], requests[i][1]), ENOMEM);
        assert_int_equal(errno, ERRNO_UNUSED);
        assert_ptr_equal(block, &here);
    }
}

/* aligned_alloc and memalign are one contract under two names. */
typedef void *aligned_function(size_t alignment, size_t size);

static void check_good_alignments(aligned_function *allocate)
{
    for (size_t alignment = 1; alignment <= LARGEST_ALIGNMENT; alignment *= 2) {
        for (size_t i = 0; i < COUNT_OF(sizes); i++) {
            errno = ERRNO_UNUSED;
            void *block = allocate(alignment, sizes[i]);
            assert_int_equal(errno, ERRNO_UNUSED);
            size_t natural = natural_alignment(sizes[i]);
            check_block(block, alignment > natural ? alignment : natural, sizes[i]);
            t_free(block);
        }
    }
}

static void check_bad_alignments(aligned_function *allocate)
{
    static const size_t alignments[] = {0, 3, 5, 6, 12, 24, 100, 4095, TOO_LARGE + 1, SIZE_MAX};
    for (size_t i = 0; i < COUNT_OF(alignments); i++) {
        errno = ERRNO_UNUSED;
        assert_null(allocate(alignments[i], 100));
        assert_int_equal(errno, EINVAL);
    }
}

static void check_too_large(aligned_function *allocate)
{
    static const size_t requests[][2] = {
        {16, TOO_LARGE}, {64, SIZE_MAX},   {4096, SIZE_MAX - 4000},  {64, NEVER_THERE},
        {TOO_LARGE, 1},  {NEVER_THERE, 1}, {MIB, PTRDIFF_MAX - 100}, {1, TOO_LARGE}};
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        errno = ERRNO_UNUSED;
        assert_null(allocate(requests[i][0], requests[i][1]));
        assert_int_equal(errno, ENOMEM);
    }
}

static void test_aligned_alloc_every_alignment_and_size_is_aligned(void **state)
{
    (void)state;
    check_good_alignments(t_aligned_alloc);
}

static void test_aligned_alloc_no_power_of_two_fails_with_einval(void **state)
{
    (void)state;
    check_bad_alignments(t_aligned_alloc);
}

static void test_aligned_alloc_too_large_fails_with_enomem(void **state)
{
    (void)state;
    check_too_large(t_aligned_alloc);
}

static void test_memalign_every_alignment_and_size_is_aligned(void **state)
{
    (void)state;
    check_good_alignments(t_memalign);
}

static void test_memalign_no_power_of_two_fails_with_einval(void **state)
{
    (void)state;
    check_bad_alignments(t_memalign);
}

static void test_memalign_too_large_fails_with_enomem(void **state)
{
    (void)state;
    check_too_large(t_memalign);
}

static void test_aligned_alloc_live_blocks_do_not_overlap(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    static void *blocks[TEST_SCALE(1000, 200)];
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        size_t alignment = (size_t)1 << (random_next(&random) % 18);
        blocks[i] = t_aligned_alloc(alignment, random_size(&random, 200 * KIB));
        assert_non_null(blocks[i]);
        assert_true(is_aligned(blocks[i], alignment));
        pattern_fill(blocks[i], t_usable_size(blocks[i]), i);
    }
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        assert_true(pattern_holds(blocks[i], t_usable_size(blocks[i]), i));
        t_free(blocks[i]);
    }
}

static void test_valloc_any_size_starts_on_a_page(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        errno = ERRNO_UNUSED;
        void *block = t_valloc(sizes[i]);
        assert_int_equal(errno, ERRNO_UNUSED);
        check_block(block, page_bytes(), sizes[i]);
        t_free(block);
    }
}

static void test_valloc_too_large_fails_with_enomem(void **state)
{
    (void)state;
    static const size_t requests[] = {TOO_LARGE, SIZE_MAX, SIZE_MAX - 4095, NEVER_THERE};
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        errno = ERRNO_UNUSED;
        assert_null(t_valloc(requests[i]));
        assert_int_equal(errno, ENOMEM);
    }
}

static void test_pvalloc_any_size_is_rounded_up_to_pages(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        size_t rounded = (sizes[i] + page_bytes() - 1) / page_bytes() * page_bytes();
        errno = ERRNO_UNUSED;
        void *block = t_pvalloc(sizes[i]);
        assert_int_equal(errno, ERRNO_UNUSED);
        check_block(block, page_bytes(), rounded);
        t_free(block);
    }
}

static void test_pvalloc_zero_bytes_gives_one_page(void **state)
{
    (void)state;
    void *block = t_pvalloc(0);
    check_block(block, page_bytes(), page_bytes());
    t_free(block);
}

static void test_pvalloc_overflow_in_rounding_fails_with_enomem(void **state)
{
    (void)state;
    const size_t requests[] = {SIZE_MAX,  SIZE_MAX - 10, SIZE_MAX - page_bytes() + 1,
                               TOO_LARGE, PTRDIFF_MAX,   NEVER_THERE};
    for (size_t i = 0; i < COUNT_OF(requests); i++) {
        errno = ERRNO_UNUSED;
        assert_null(t_pvalloc(requests[i]));
        assert_int_equal(errno, ENOMEM);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_posix_memalign_every_alignment_and_size_is_aligned),
        cmocka_unit_test(test_posix_memalign_bad_alignment_returns_einval_and_changes_nothing),
        cmocka_unit_test(test_posix_memalign_out_of_memory_returns_enomem_and_changes_nothing),
        cmocka_unit_test(test_aligned_alloc_every_alignment_and_size_is_aligned),
        cmocka_unit_test(test_aligned_alloc_no_power_of_two_fails_with_einval),
        cmocka_unit_test(test_aligned_alloc_too_large_fails_with_enomem),
        cmocka_unit_test(test_memalign_every_alignment_and_size_is_aligned),
        cmocka_unit_test(test_memalign_no_power_of_two_fails_with_einval),
        cmocka_unit_test(test_memalign_too_large_fails_with_enomem),
        cmocka_unit_test(test_aligned_alloc_live_blocks_do_not_overlap),
        cmocka_unit_test(test_valloc_any_size_starts_on_a_page),
        cmocka_unit_test(test_valloc_too_large_fails_with_enomem),
        cmocka_unit_test(test_pvalloc_any_size_is_rounded_up_to_pages),
        cmocka_unit_test(test_pvalloc_zero_bytes_gives_one_page),
        cmocka_unit_test(test_pvalloc_overflow_in_rounding_fails_with_enomem),
    };
    return cmocka_run_group_tests_name("aligned", tests, NULL, NULL);
}
