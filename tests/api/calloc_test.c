/* calloc: zero whatever the memory held before, overflow, errno. C17 7.22.3.2, malloc(3). */
#include "support.h"

#include <errno.h>
#include <string.h>

#include "family.h"

#define ROUNDS 3

/* Dirties `count` blocks of `size` bytes over their usable size and frees them, so that calloc
 * meets the same memory again; then looks for anything but zero. */
static void check_zero_after_dirty(size_t size, size_t count)
{
    void *blocks[64];
    assert_true(count <= COUNT_OF(blocks));
    for (int round = 0; round < ROUNDS; round++) {
        for (size_t i = 0; i < count; i++) {
            blocks[i] = t_malloc(size);
            assert_non_null(blocks[i]);
            memset(blocks[i], 0xa5, t_usable_size(blocks[i]));
        }
        for (size_t i = 0; i < count; i++) {
            t_free(blocks[i]);
        }
        for (size_t i = 0; i < count; i++) {
            blocks[i] = t_calloc(1, size);
            assert_non_null(blocks[i]);
            assert_true(all_zero(blocks[i], size));
            assert_true(is_aligned(blocks[i], natural_alignment(size)));
        }
        for (size_t i = 0; i < count; i++) {
            memset(blocks[i], 0x5a, size);
            t_free(blocks[i]);
        }
    }
}

static void test_calloc_small_after_dirty_blocks_is_zero(void **state)
{
    (void)state;
    static const size_t sizes[] = {1,    7,    8,    16,    24,    100,   128,      513,
                                   1000, 1024, 4000, 10000, 16384, 20000, 32 * KIB, 33 * KIB};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        check_zero_after_dirty(sizes[i], 64);
    }
}

static void test_calloc_span_after_dirty_blocks_is_zero(void **state)
{
    (void)state;
    static const size_t sizes[] = {40 * KIB, 64 * KIB, 65 * KIB, 100 * KIB, 128 * KIB - 1};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        check_zero_after_dirty(sizes[i], 16);
    }
}

static void test_calloc_mapping_after_dirty_blocks_is_zero(void **state)
{
    (void)state;
    static const size_t sizes[] = {128 * KIB, 200 * KIB, 1 * MIB, 5 * MIB};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        check_zero_after_dirty(sizes[i], 2);
    }
}

static void test_calloc_huge_mapping_after_dirty_blocks_is_zero(void **state)
{
    (void)state;
    check_zero_after_dirty(TEST_SCALE(33, 9) * MIB, 1);
}

static void test_calloc_smaller_than_the_dirty_mapping_is_zero(void **state)
{
    (void)state;
    void *block = t_malloc(4 * MIB);
    assert_non_null(block);
    memset(block, 0xa5, t_usable_size(block));
    t_free(block);
    for (size_t size = 40 * KIB; size < 4 * MIB; size += 333 * KIB) {
        block = t_calloc(1, size);
        assert_non_null(block);
        assert_true(all_zero(block, size));
        memset(block, 0xa5, size);
        t_free(block);
    }
}

static void test_calloc_after_realloc_moved_dirty_memory_is_zero(void **state)
{
    (void)state;
    for (size_t size = 1000; size < 2 * MIB; size *= 3) {
        unsigned char *block = t_malloc(size);
        assert_non_null(block);
        memset(block, 0xa5, size);
        block = t_realloc(block, 3 * size);
        assert_non_null(block);
        memset(block, 0xa5, 3 * size);
        block = t_realloc(block, size / 2);
        assert_non_null(block);
        unsigned char *zero = t_calloc(3, size);
        assert_non_null(zero);
        assert_true(all_zero(zero, 3 * size));
        t_free(zero);
        t_free(block);
    }
}

static void test_calloc_product_is_the_size(void **state)
{
    (void)state;
    void *block = t_calloc(333, 77);
    assert_non_null(block);
    assert_true(t_usable_size(block) >= 333 * 77);
    assert_true(all_zero(block, 333 * 77));
    t_free(block);
}

static void test_calloc_overflow_fails_with_enomem(void **state)
{
    (void)state;
    static const size_t pairs[][2] = {
        {SIZE_MAX, 2},
        {2, SIZE_MAX},
        {SIZE_MAX / 2 + 1, 2},
        {SIZE_MAX / 2 + 2, 2},
        {(size_t)1 << 32, (size_t)1 << 32},
        {((size_t)1 << 32) + 1, (size_t)1 << 32},
        {SIZE_MAX, SIZE_MAX},
        {1, TOO_LARGE},
        {NEVER_THERE, 1},
    };
    for (size_t i = 0; i < COUNT_OF(pairs); i++) {
        errno = ERRNO_UNUSED;
        assert_null(t_calloc(pairs[i][0], pairs[i][1]));
        assert_int_equal(errno, ENOMEM);
    }
}

static void test_calloc_zero_arguments_give_unique_blocks(void **state)
{
    (void)state;
    void *blocks[] = {t_calloc(0, 0), t_calloc(0, 8), t_calloc(8, 0), t_calloc(0, SIZE_MAX),
                      t_calloc(SIZE_MAX, 0)};
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        assert_non_null(blocks[i]);
        for (size_t other = 0; other < i; other++) {
            assert_ptr_not_equal(blocks[i], blocks[other]);
        }
    }
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        t_free(blocks[i]);
    }
}

static void test_calloc_success_keeps_errno(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 100, 5000, 40 * KIB, 100 * KIB, 1 * MIB, 40 * MIB};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        for (int round = 0; round < ROUNDS; round++) {
            errno = ERRNO_UNUSED;
            void *block = t_calloc(1, sizes[i]);
            assert_int_equal(errno, ERRNO_UNUSED);
            assert_non_null(block);
            t_free(block);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_calloc_small_after_dirty_blocks_is_zero),
        cmocka_unit_test(test_calloc_span_after_dirty_blocks_is_zero),
        cmocka_unit_test(test_calloc_mapping_after_dirty_blocks_is_zero),
        cmocka_unit_test(test_calloc_huge_mapping_after_dirty_blocks_is_zero),
        cmocka_unit_test(test_calloc_smaller_than_the_dirty_mapping_is_zero),
        cmocka_unit_test(test_calloc_after_realloc_moved_dirty_memory_is_zero),
        cmocka_unit_test(test_calloc_product_is_the_size),
        cmocka_unit_test(test_calloc_overflow_fails_with_enomem),
        cmocka_unit_test(test_calloc_zero_arguments_give_unique_blocks),
        cmocka_unit_test(test_calloc_success_keeps_errno),
    };
    return cmocka_run_group_tests_name("calloc", tests, NULL, NULL);
}
