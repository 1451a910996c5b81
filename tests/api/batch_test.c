/* weir_malloc_batch and weir_free_batch: counts, failure, mixed sizes, exclusive blocks. */
#include "support.h"

#include <errno.h>

#include "exercise.h"
#include "family.h"

#define BLOCKS 1000

static void *blocks[BLOCKS];

static void check_exclusive(size_t size, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        assert_non_null(blocks[i]);
        assert_true(is_aligned(blocks[i], natural_alignment(size)));
        assert_true(t_usable_size(blocks[i]) >= size);
        pattern_fill(blocks[i], t_usable_size(blocks[i]), i);
    }
    for (size_t i = 0; i < count; i++) {
        assert_true(pattern_holds(blocks[i], t_usable_size(blocks[i]), i));
    }
}

static void test_malloc_batch_of_none_returns_zero_and_keeps_errno(void **state)
{
    (void)state;
    int here;
    void *out = &here;
    errno = ERRNO_UNUSED;
    assert_int_equal(weir_malloc_batch(64, 0, &out), 0);
    assert_int_equal(errno, ERRNO_UNUSED);
    assert_ptr_equal(out, &here);
}

static void test_malloc_batch_of_one_gives_a_block(void **state)
{
    (void)state;
    errno = ERRNO_UNUSED;
    assert_int_equal(weir_malloc_batch(64, 1, blocks), 1);
    assert_int_equal(errno, ERRNO_UNUSED);
    check_exclusive(64, 1);
    t_free(blocks[0]);
}

static void test_malloc_batch_of_many_small_gives_exclusive_blocks(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 8, 16, 48, 100, 1000, 4096, 20000, 32 * KIB};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        size_t count = sizes[i] < 10000 ? BLOCKS : BLOCKS / 10;
        errno = ERRNO_UNUSED;
        assert_int_equal(weir_malloc_batch(sizes[i], count, blocks), count);
        assert_int_equal(errno, ERRNO_UNUSED);
        check_exclusive(sizes[i], count);
        weir_free_batch(count, blocks);
        assert_int_equal(errno, ERRNO_UNUSED);
    }
}

static void test_malloc_batch_of_large_gives_exclusive_blocks(void **state)
{
    (void)state;
    static const size_t sizes[] = {40 * KIB, 100 * KIB, 128 * KIB, 1 * MIB};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        assert_int_equal(weir_malloc_batch(sizes[i], 20, blocks), 20);
        check_exclusive(sizes[i], 20);
        weir_free_batch(20, blocks);
    }
}

static void test_malloc_batch_too_large_returns_zero_with_enomem(void **state)
{
    (void)state;
    static const size_t sizes[] = {TOO_LARGE, SIZE_MAX, NEVER_THERE};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        int here;
        void *out[2] = {&here, &here};
        errno = ERRNO_UNUSED;
        assert_int_equal(weir_malloc_batch(sizes[i], 2, out), 0);
        assert_int_equal(errno, ENOMEM);
        assert_ptr_equal(out[0], &here);
        assert_ptr_equal(out[1], &here);
    }
}

static void test_malloc_batch_blocks_may_be_freed_one_by_one(void **state)
{
    (void)state;
    assert_int_equal(weir_malloc_batch(96, BLOCKS, blocks), BLOCKS);
    for (size_t i = 0; i < BLOCKS; i++) {
        if (i % 2) {
            t_free(blocks[i]);
        } else {
            t_free_sized(blocks[i], 96);
        }
    }
    family_exercise_many(1, 1000, 1 * KIB);
}

static void test_free_batch_of_none_does_nothing(void **state)
{
    (void)state;
    void *none = NULL;
    errno = ERRNO_UNUSED;
    weir_free_batch(0, NULL);
    weir_free_batch(0, &none);
    assert_int_equal(errno, ERRNO_UNUSED);
}

static void test_free_batch_null_entries_are_skipped(void **state)
{
    (void)state;
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = i % 3 == 0 ? NULL : t_malloc(200);
        assert_true(i % 3 == 0 || blocks[i] != NULL);
    }
    errno = ERRNO_UNUSED;
    weir_free_batch(BLOCKS, blocks);
    assert_int_equal(errno, ERRNO_UNUSED);
    family_exercise_many(2, 1000, 1 * KIB);
}

static void test_free_batch_of_nulls_does_nothing(void **state)
{
    (void)state;
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = NULL;
    }
    weir_free_batch(BLOCKS, blocks);
}

static void test_free_batch_mixed_sizes_and_origins_keeps_the_heap(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    for (int round = 0; round < TEST_SCALE(20, 3); round++) {
        for (size_t i = 0; i < BLOCKS; i++) {
            size_t size = random_size(&random, 200 * KIB);
            switch (random_next(&random) % 4) {
            case 0:
                blocks[i] = t_calloc(1, size);
                break;
            case 1:
                blocks[i] = t_aligned_alloc(128, size);
                break;
            default:
                blocks[i] = t_malloc(size);
                break;
            }
            assert_non_null(blocks[i]);
        }
        weir_free_batch(BLOCKS, blocks);
    }
    family_exercise_many(random, BLOCKS, 200 * KIB);
}

static void test_free_batch_leaves_other_blocks_alone(void **state)
{
    (void)state;
    static void *kept[BLOCKS];
    for (size_t i = 0; i < BLOCKS; i++) {
        blocks[i] = t_malloc(72);
        kept[i] = t_malloc(72);
        assert_non_null(blocks[i]);
        assert_non_null(kept[i]);
        pattern_fill(kept[i], 72, i);
    }
    weir_free_batch(BLOCKS, blocks);
    family_exercise_many(4, BLOCKS, 128);
    for (size_t i = 0; i < BLOCKS; i++) {
        assert_true(pattern_holds(kept[i], 72, i));
    }
    weir_free_batch(BLOCKS, kept);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_malloc_batch_of_none_returns_zero_and_keeps_errno),
        cmocka_unit_test(test_malloc_batch_of_one_gives_a_block),
        cmocka_unit_test(test_malloc_batch_of_many_small_gives_exclusive_blocks),
        cmocka_unit_test(test_malloc_batch_of_large_gives_exclusive_blocks),
        cmocka_unit_test(test_malloc_batch_too_large_returns_zero_with_enomem),
        cmocka_unit_test(test_malloc_batch_blocks_may_be_freed_one_by_one),
        cmocka_unit_test(test_free_batch_of_none_does_nothing),
        cmocka_unit_test(test_free_batch_null_entries_are_skipped),
        cmocka_unit_test(test_free_batch_of_nulls_does_nothing),
        cmocka_unit_test(test_free_batch_mixed_sizes_and_origins_keeps_the_heap),
        cmocka_unit_test(test_free_batch_leaves_other_blocks_alone),
    };
    return cmocka_run_group_tests_name("batch", tests, NULL, NULL);
}
