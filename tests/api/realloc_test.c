/* realloc, reallocarray: contents across all kinds of block, failure, errno.
 * C17 7.22.3.5, POSIX.1-2024, malloc(3). */
#include "support.h"

#include <errno.h>
#include <string.h>

#include "family.h"

#define GROWN_BYTES (TEST_SCALE(64, 12) * MIB)

/* Small classes, spans and mappings, with both sides of the borders between them. */
static const size_t sizes[] = {
    1,     16,        100,           1000,      4096,   20000,   32 * KIB, 40000,
    70000, 100 * KIB, 128 * KIB - 1, 128 * KIB, 300000, 1 * MIB, 5 * MIB,  TEST_SCALE(33, 7) * MIB,
};

static size_t lesser(size_t a, size_t b)
{
    return a < b ? a : b;
}

static void check_transition(void *block, size_t from, size_t to)
{
    uint64_t tag = from * 31 + to;
    assert_non_null(block);
    pattern_fill(block, from, tag);
    errno = ERRNO_UNUSED;
    void *moved = t_realloc(block, to);
    assert_int_equal(errno, ERRNO_UNUSED);
    assert_non_null(moved);
    if (!pattern_holds(moved, lesser(from, to), tag)) {
        fail_msg("contents lost from %zu to %zu bytes", from, to);
    }
    assert_true(is_aligned(moved, natural_alignment(to)));
    size_t usable_bytes = t_usable_size(moved);
    assert_true(usable_bytes >= to);
    pattern_fill(moved, usable_bytes, tag + 1);
    assert_true(pattern_holds(moved, usable_bytes, tag + 1));
    t_free(moved);
}

static void test_realloc_every_transition_keeps_contents_and_errno(void **state)
{
    (void)state;
    for (size_t from = 0; from < COUNT_OF(sizes); from++) {
        for (size_t to = 0; to < COUNT_OF(sizes); to++) {
            check_transition(t_malloc(sizes[from]), sizes[from], sizes[to]);
        }
    }
}

static void test_realloc_of_aligned_block_keeps_contents_and_errno(void **state)
{
    (void)state;
    static const size_t alignments[] = {32, 64, 512, 4096, 65536, 1 << 21};
    static const size_t some[] = {1, 64, 700, 5000, 40000, 100000, 300000, 2 * MIB};
    for (size_t a = 0; a < COUNT_OF(alignments); a++) {
        for (size_t from = 0; from < COUNT_OF(some); from++) {
            for (size_t to = 0; to < COUNT_OF(some); to++) {
                void *block = t_aligned_alloc(alignments[a], some[from]);
                check_transition(block, some[from], some[to]);
            }
        }
    }
}

static void test_realloc_null_allocates(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        errno = ERRNO_UNUSED;
        void *block = t_realloc(NULL, sizes[i]);
        assert_int_equal(errno, ERRNO_UNUSED);
        assert_non_null(block);
        pattern_fill(block, sizes[i], i);
        assert_true(pattern_holds(block, sizes[i], i));
        t_free(block);
    }
}

static void test_realloc_null_of_zero_bytes_gives_a_block(void **state)
{
    (void)state;
    void *block = t_realloc(NULL, 0);
    assert_non_null(block);
    t_free(block);
}

static void test_realloc_to_zero_bytes_frees_and_returns_null(void **state)
{
    (void)state;
    /* Were the blocks not freed, this would take 20 GiB. */
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        size_t rounds = sizes[i] < MIB ? 1000 : TEST_SCALE(200, 20);
        for (size_t round = 0; round < rounds; round++) {
            char *block = t_malloc(sizes[i]);
            assert_non_null(block);
            block[0] = 1;
            errno = ERRNO_UNUSED;
            assert_null(t_realloc(block, 0));
            assert_int_equal(errno, ERRNO_UNUSED);
        }
    }
}

static void test_realloc_failure_leaves_the_block(void **state)
{
    (void)state;
    static const size_t impossible[] = {TOO_LARGE, SIZE_MAX, NEVER_THERE, (size_t)PTRDIFF_MAX};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        void *block = t_malloc(sizes[i]);
        assert_non_null(block);
        size_t usable_bytes = t_usable_size(block);
        pattern_fill(block, usable_bytes, i);
        for (size_t k = 0; k < COUNT_OF(impossible); k++) {
            errno = ERRNO_UNUSED;
            assert_null(t_realloc(block, impossible[k]));
            assert_int_equal(errno, ENOMEM);
            assert_int_equal(t_usable_size(block), usable_bytes);
        }
        assert_true(pattern_holds(block, usable_bytes, i));
        t_free(block);
    }
}

static void test_realloc_growth_by_half_keeps_contents(void **state)
{
    (void)state;
    size_t size = 16;
    unsigned char *block = t_malloc(size);
    assert_non_null(block);
    pattern_fill(block, size, 7);
    while (size < GROWN_BYTES) {
        /* Whole words, so that the pattern goes on where it ended. */
        size_t grown = (size + size / 2) & ~(size_t)7;
        block = t_realloc(block, grown);
        assert_non_null(block);
        pattern_fill(block + size, grown - size, 7);
        size = grown;
    }
    assert_true(pattern_holds(block, size, 7));
    t_free(block);
}

static void test_realloc_two_growing_blocks_keep_apart(void **state)
{
    (void)state;
    unsigned char *blocks[2] = {t_malloc(8), t_malloc(8)};
    size_t size = 8;
    pattern_fill(blocks[0], size, 0);
    pattern_fill(blocks[1], size, 1);
    while (size < TEST_SCALE(8, 2) * MIB) {
        size_t grown = (size + size / 3 + 8) & ~(size_t)7;
        for (size_t i = 0; i < COUNT_OF(blocks); i++) {
            blocks[i] = t_realloc(blocks[i], grown);
            assert_non_null(blocks[i]);
            pattern_fill(blocks[i] + size, grown - size, i);
        }
        size = grown;
    }
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        assert_true(pattern_holds(blocks[i], size, i));
        t_free(blocks[i]);
    }
}

static void test_realloc_shrink_steps_keep_contents(void **state)
{
    (void)state;
    size_t size = TEST_SCALE(33, 9) * MIB;
    unsigned char *block = t_malloc(size);
    assert_non_null(block);
    pattern_fill(block, size, 9);
    while (size > 1) {
        size = size * 2 / 3;
        block = t_realloc(block, size);
        assert_non_null(block);
        assert_true(pattern_holds(block, size, 9));
    }
    t_free(block);
}

static void test_reallocarray_product_is_the_size(void **state)
{
    (void)state;
    errno = ERRNO_UNUSED;
    void *block = t_reallocarray(NULL, 100, 11);
    assert_non_null(block);
    pattern_fill(block, 1100, 1);
    block = t_reallocarray(block, 1000, 300);
    assert_non_null(block);
    assert_true(t_usable_size(block) >= 300000);
    assert_true(pattern_holds(block, 1100, 1));
    assert_int_equal(errno, ERRNO_UNUSED);
    t_free(block);
}

static void test_reallocarray_overflow_fails_and_leaves_the_block(void **state)
{
    (void)state;
    static const size_t pairs[][2] = {
        {SIZE_MAX, 2}, {SIZE_MAX / 2 + 1, 2}, {(size_t)1 << 32, (size_t)1 << 32}, {1, TOO_LARGE}};
    void *block = t_malloc(200);
    assert_non_null(block);
    pattern_fill(block, 200, 3);
    for (size_t i = 0; i < COUNT_OF(pairs); i++) {
        errno = ERRNO_UNUSED;
        assert_null(t_reallocarray(block, pairs[i][0], pairs[i][1]));
        assert_int_equal(errno, ENOMEM);
        errno = ERRNO_UNUSED;
        assert_null(t_reallocarray(NULL, pairs[i][0], pairs[i][1]));
        assert_int_equal(errno, ENOMEM);
    }
    assert_true(pattern_holds(block, 200, 3));
    t_free(block);
}

static void test_reallocarray_zero_product_frees_and_returns_null(void **state)
{
    (void)state;
    errno = ERRNO_UNUSED;
    assert_null(t_reallocarray(t_malloc(100), 0, 10));
    assert_null(t_reallocarray(t_malloc(100), 10, 0));
    assert_int_equal(errno, ERRNO_UNUSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_realloc_every_transition_keeps_contents_and_errno),
        cmocka_unit_test(test_realloc_of_aligned_block_keeps_contents_and_errno),
        cmocka_unit_test(test_realloc_null_allocates),
        cmocka_unit_test(test_realloc_null_of_zero_bytes_gives_a_block),
        cmocka_unit_test(test_realloc_to_zero_bytes_frees_and_returns_null),
        cmocka_unit_test(test_realloc_failure_leaves_the_block),
        cmocka_unit_test(test_realloc_growth_by_half_keeps_contents),
        cmocka_unit_test(test_realloc_two_growing_blocks_keep_apart),
        cmocka_unit_test(test_realloc_shrink_steps_keep_contents),
        cmocka_unit_test(test_reallocarray_product_is_the_size),
        cmocka_unit_test(test_reallocarray_overflow_fails_and_leaves_the_block),
        cmocka_unit_test(test_reallocarray_zero_product_frees_and_returns_null),
    };
    return cmocka_run_group_tests_name("realloc", tests, NULL, NULL);
}
