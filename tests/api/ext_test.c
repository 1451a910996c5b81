/* weir_alloc_at_least, weir_good_size, weir_resize_in_place, weir_owns, weir_purge. */
#include "support.h"

#include <errno.h>
#include <limits.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>

#include "exercise.h"
#include "family.h"

static const size_t sizes[] = {1,        16,        100,      1000,   4096,   20000,
                               32 * KIB, 40000,     64 * KIB, 70000,  100000, 128 * KIB - 1,
                               200000,   128 * KIB, 1 * MIB,  5 * MIB};

static void test_alloc_at_least_all_bytes_told_are_usable(void **state)
{
    (void)state;
    for (size_t size = 0; size <= 40000; size += TEST_SCALE(11, 301)) {
        size_t actual = 0;
        errno = ERRNO_UNUSED;
        void *block = weir_alloc_at_least(size, &actual);
        assert_int_equal(errno, ERRNO_UNUSED);
        assert_non_null(block);
        assert_true(actual >= size);
        assert_int_equal(actual, t_usable_size(block));
        pattern_fill(block, actual, size);
        assert_true(pattern_holds(block, actual, size));
        t_free(block);
    }
}

static void test_alloc_at_least_large_bytes_told_are_usable(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        size_t actual = 0;
        void *block = weir_alloc_at_least(sizes[i], &actual);
        assert_non_null(block);
        assert_true(actual >= sizes[i]);
        pattern_fill(block, actual, i);
        assert_true(pattern_holds(block, actual, i));
        t_free_sized(block, actual);
    }
}

static void test_alloc_at_least_failure_leaves_actual(void **state)
{
    (void)state;
    static const size_t impossible[] = {TOO_LARGE, SIZE_MAX, NEVER_THERE};
    for (size_t i = 0; i < COUNT_OF(impossible); i++) {
        size_t actual = 77;
        errno = ERRNO_UNUSED;
        assert_null(weir_alloc_at_least(impossible[i], &actual));
        assert_int_equal(errno, ENOMEM);
        assert_int_equal(actual, 77);
    }
}

static void test_good_size_small_is_what_malloc_gives(void **state)
{
    (void)state;
    for (size_t size = 0; size <= 40000; size += TEST_SCALE(1, 7)) {
        void *block = t_malloc(size);
        assert_non_null(block);
        assert_int_equal(weir_good_size(size), t_usable_size(block));
        t_free(block);
    }
}

static void test_good_size_large_is_what_malloc_gives(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        void *block = t_malloc(sizes[i]);
        assert_non_null(block);
        assert_int_equal(weir_good_size(sizes[i]), t_usable_size(block));
        t_free(block);
    }
}

static void test_good_size_never_falls(void **state)
{
    (void)state;
    size_t last = 0;
    for (size_t size = 0; size <= 4 * MIB; size += size < 300000 ? 1 : 997) {
        size_t good = weir_good_size(size);
        assert_true(good >= size);
        assert_true(good >= last);
        last = good;
    }
}

static void test_good_size_of_a_good_size_is_itself(void **state)
{
    (void)state;
    for (size_t size = 0; size <= 4 * MIB; size += size < 40000 ? 1 : 997) {
        size_t good = weir_good_size(size);
        assert_int_equal(weir_good_size(good), good);
    }
}

static void test_good_size_above_ptrdiff_max_is_the_size(void **state)
{
    (void)state;
    assert_int_equal(weir_good_size(TOO_LARGE), TOO_LARGE);
    assert_int_equal(weir_good_size(SIZE_MAX), SIZE_MAX);
}

static void test_resize_in_place_succeeds_or_changes_nothing(void **state)
{
    (void)state;
    for (size_t from = 0; from < COUNT_OF(sizes); from++) {
        for (size_t to = 0; to < COUNT_OF(sizes); to++) {
            void *block = t_malloc(sizes[from]);
            assert_non_null(block);
            size_t usable_bytes = t_usable_size(block);
            size_t kept = sizes[from] < sizes[to] ? sizes[from] : sizes[to];
            pattern_fill(block, usable_bytes, from);
            errno = ERRNO_UNUSED;
            int resized = weir_resize_in_place(block, sizes[to]);
            assert_int_equal(errno, ERRNO_UNUSED);
            if (resized == 1) {
                assert_true(t_usable_size(block) >= sizes[to]);
                assert_true(pattern_holds(block, kept, from));
                pattern_fill(block, t_usable_size(block), to);
                t_free_sized(block, sizes[to]);
            } else {
                assert_int_equal(resized, 0);
                assert_int_equal(t_usable_size(block), usable_bytes);
                assert_true(pattern_holds(block, usable_bytes, from));
                t_free_sized(block, sizes[from]);
            }
        }
    }
    family_exercise_many(1, TEST_SCALE(500, 100), 300 * KIB);
}

static void test_resize_in_place_to_the_same_size_succeeds(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        void *block = t_malloc(sizes[i]);
        assert_non_null(block);
        assert_int_equal(weir_resize_in_place(block, sizes[i]), 1);
        t_free_sized(block, sizes[i]);
    }
}

static void test_resize_in_place_too_large_changes_nothing(void **state)
{
    (void)state;
    static const size_t impossible[] = {TOO_LARGE, SIZE_MAX, NEVER_THERE};
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        void *block = t_malloc(sizes[i]);
        assert_non_null(block);
        size_t usable_bytes = t_usable_size(block);
        for (size_t k = 0; k < COUNT_OF(impossible); k++) {
            errno = ERRNO_UNUSED;
            assert_int_equal(weir_resize_in_place(block, impossible[k]), 0);
            assert_int_equal(errno, ERRNO_UNUSED);
            assert_int_equal(t_usable_size(block), usable_bytes);
        }
        t_free_sized(block, sizes[i]);
    }
}

static void test_resize_in_place_of_null_returns_zero(void **state)
{
    (void)state;
    errno = ERRNO_UNUSED;
    assert_int_equal(weir_resize_in_place(NULL, 0), 0);
    assert_int_equal(weir_resize_in_place(NULL, 100), 0);
    assert_int_equal(errno, ERRNO_UNUSED);
}

static void test_owns_live_block_and_its_interior_is_one(void **state)
{
    (void)state;
    for (size_t i = 0; i < COUNT_OF(sizes); i++) {
        char *block = t_malloc(sizes[i]);
        assert_non_null(block);
        assert_int_equal(weir_owns(block), 1);
        assert_int_equal(weir_owns(block + sizes[i] / 2), 1);
        assert_int_equal(weir_owns(block + sizes[i] - 1), 1);
        t_free(block);
    }
}

static void test_owns_aligned_block_is_one(void **state)
{
    (void)state;
    for (size_t alignment = 1; alignment <= 16 * MIB; alignment *= 4) {
        char *block = t_aligned_alloc(alignment, 1000);
        assert_non_null(block);
        assert_int_equal(weir_owns(block), 1);
        assert_int_equal(weir_owns(block + 999), 1);
        t_free(block);
    }
}

static void test_owns_foreign_address_is_zero(void **state)
{
    (void)state;
    static int in_data = 1;
    int on_stack = 0;
    char *mapped = mmap(NULL, 1 * MIB, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    assert_ptr_not_equal(mapped, MAP_FAILED);
    errno = ERRNO_UNUSED;
    assert_int_equal(weir_owns(NULL), 0);
    assert_int_equal(weir_owns(&on_stack), 0);
    assert_int_equal(weir_owns(&in_data), 0);
    assert_int_equal(weir_owns((const void *)(uintptr_t)&test_owns_foreign_address_is_zero), 0);
    assert_int_equal(weir_owns(mapped), 0);
    assert_int_equal(weir_owns(mapped + 1 * MIB - 1), 0);
    assert_int_equal(errno, ERRNO_UNUSED);
    munmap(mapped, 1 * MIB);
}

static void test_owns_impossible_address_is_zero(void **state)
{
    (void)state;
    static const uintptr_t addresses[] = {
        1, 4095, 4096, (uintptr_t)1 << 47, (uintptr_t)1 << 56, (uintptr_t)1 << 63, UINTPTR_MAX,
    };
    for (size_t i = 0; i < COUNT_OF(addresses); i++) {
        assert_int_equal(weir_owns((const void *)addresses[i]), 0);
    }
}

static void test_owns_freed_large_object_is_zero(void **state)
{
    (void)state;
    char *block = t_malloc(8 * MIB);
    assert_non_null(block);
    t_free(block);
    assert_int_equal(weir_owns(block), 0);
    assert_int_equal(weir_owns(block + 4 * MIB), 0);
}

/* ---- purge ---- */

#define FREED_BYTES (40 * MIB)

/* Frees so much in large objects of all kinds. */
static void free_much(void)
{
    static void *objects[FREED_BYTES / (200 * KIB)];
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        objects[i] = t_malloc(i % 2 == 0 ? 100 * KIB : 300 * KIB);
        CHECK(objects[i] != NULL);
        memset(objects[i], 1, 100 * KIB);
    }
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        t_free(objects[i]);
    }
}

static void test_purge_of_another_level_fails_with_einval(void **state)
{
    (void)state;
    static const int levels[] = {-1, WEIR_PURGE_ALL + 1, INT_MIN, INT_MAX};
    for (size_t i = 0; i < COUNT_OF(levels); i++) {
        errno = ERRNO_UNUSED;
        assert_int_equal(weir_purge(levels[i]), 0);
        assert_int_equal(errno, EINVAL);
    }
}

static void test_purge_keeps_errno(void **state)
{
    (void)state;
    for (int level = WEIR_PURGE_DUE; level <= WEIR_PURGE_ALL; level++) {
        free_much();
        errno = ERRNO_UNUSED;
        (void)weir_purge(level);
        assert_int_equal(errno, ERRNO_UNUSED);
    }
}

static void test_purge_of_free_memory_returns_the_bytes_given_back(void **state)
{
    (void)state;
    for (int level = WEIR_PURGE_FREE; level <= WEIR_PURGE_ALL; level++) {
        free_much();
        size_t committed = weir_committed();
        size_t given = weir_purge(level);
        assert_true(given >= FREED_BYTES / 4);
        assert_true(weir_committed() < committed);
        assert_true(committed - weir_committed() >= FREED_BYTES / 4);
    }
}

static void test_purge_twice_has_nothing_left(void **state)
{
    (void)state;
    free_much();
    (void)weir_purge(WEIR_PURGE_ALL);
    (void)weir_purge(WEIR_PURGE_ALL); /* one may leave the other the tables that it used */
    size_t committed = weir_committed();
    assert_int_equal(weir_purge(WEIR_PURGE_FREE), 0);
    assert_int_equal(weir_committed(), committed);
}

static void test_purge_live_blocks_survive(void **state)
{
    (void)state;
    static void *blocks[TEST_SCALE(2000, 300)];
    uint64_t random = test_seed();
    for (int level = WEIR_PURGE_DUE; level <= WEIR_PURGE_ALL; level++) {
        for (size_t i = 0; i < COUNT_OF(blocks); i++) {
            blocks[i] = t_malloc(random_size(&random, 1 * MIB));
            assert_non_null(blocks[i]);
            pattern_fill(blocks[i], t_usable_size(blocks[i]), i);
        }
        for (size_t i = 0; i < COUNT_OF(blocks); i++) {
            if (i % 4 != 0) {
                t_free(blocks[i]);
            }
        }
        (void)weir_purge(level);
        family_exercise((uint64_t)level);
        for (size_t i = 0; i < COUNT_OF(blocks); i += 4) {
            assert_true(pattern_holds(blocks[i], t_usable_size(blocks[i]), i));
            t_free(blocks[i]);
        }
    }
}

/* Small blocks of a thread that sleeps: in its cache, and among blocks that stay in use. */
enum { SMALL_BYTES = 400, SMALL_COUNT = 40000 };
static char *small[SMALL_COUNT];
static pthread_barrier_t turn;

static void *free_and_sleep(void *unused)
{
    for (size_t i = 0; i < SMALL_COUNT; i++) {
        CHECK((small[i] = t_malloc(SMALL_BYTES)) != NULL);
        memset(small[i], 1, SMALL_BYTES);
    }
    for (size_t i = 0; i < SMALL_COUNT; i++) {
        if (i % 100 != 0) {
            t_free(small[i]);
        }
    }
    pthread_barrier_wait(&turn);
    pthread_barrier_wait(&turn);
    t_free(t_malloc(SMALL_BYTES));
    return unused;
}

static void test_purge_all_reaches_blocks_of_a_thread_that_sleeps(void **state)
{
    (void)state;
    pthread_t thread;
    (void)weir_purge(WEIR_PURGE_ALL);
    assert_int_equal(pthread_barrier_init(&turn, NULL, 2), 0);
    assert_int_equal(pthread_create(&thread, NULL, free_and_sleep, NULL), 0);
    pthread_barrier_wait(&turn);
    size_t committed = weir_committed();
    assert_true(weir_purge(WEIR_PURGE_ALL) > 0);
    /* Of each 100 blocks one is in use, with the pages that it lies on. */
    assert_true(committed - weir_committed() >= (size_t)SMALL_BYTES * SMALL_COUNT / 2);
    for (size_t i = 0; i < SMALL_COUNT; i += 100) {
        assert_true(small[i][0] == 1 && small[i][SMALL_BYTES - 1] == 1);
        t_free(small[i]);
    }
    pthread_barrier_wait(&turn);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(pthread_barrier_destroy(&turn), 0);
}

static void *purge_and_exercise(void *seed)
{
    for (int round = 0; round < TEST_SCALE(40, 6); round++) {
        family_exercise_many(*(uint64_t *)seed + (uint64_t)round, 100, MIB);
        (void)weir_purge(round % 3);
    }
    return NULL;
}

static void test_purge_by_several_threads_at_once(void **state)
{
    (void)state;
    pthread_t threads[4];
    uint64_t seeds[COUNT_OF(threads)];
    uint64_t seed = test_seed();
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        seeds[i] = seed + (i << 32);
        assert_int_equal(pthread_create(&threads[i], NULL, purge_and_exercise, &seeds[i]), 0);
    }
    for (size_t i = 0; i < COUNT_OF(threads); i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alloc_at_least_all_bytes_told_are_usable),
        cmocka_unit_test(test_alloc_at_least_large_bytes_told_are_usable),
        cmocka_unit_test(test_alloc_at_least_failure_leaves_actual),
        cmocka_unit_test(test_good_size_small_is_what_malloc_gives),
        cmocka_unit_test(test_good_size_large_is_what_malloc_gives),
        cmocka_unit_test(test_good_size_never_falls),
        cmocka_unit_test(test_good_size_of_a_good_size_is_itself),
        cmocka_unit_test(test_good_size_above_ptrdiff_max_is_the_size),
        cmocka_unit_test(test_resize_in_place_succeeds_or_changes_nothing),
        cmocka_unit_test(test_resize_in_place_to_the_same_size_succeeds),
        cmocka_unit_test(test_resize_in_place_too_large_changes_nothing),
        cmocka_unit_test(test_resize_in_place_of_null_returns_zero),
        cmocka_unit_test(test_owns_live_block_and_its_interior_is_one),
        cmocka_unit_test(test_owns_aligned_block_is_one),
        cmocka_unit_test(test_owns_foreign_address_is_zero),
        cmocka_unit_test(test_owns_impossible_address_is_zero),
        cmocka_unit_test(test_owns_freed_large_object_is_zero),
        cmocka_unit_test(test_purge_of_another_level_fails_with_einval),
        cmocka_unit_test(test_purge_keeps_errno),
        cmocka_unit_test(test_purge_of_free_memory_returns_the_bytes_given_back),
        cmocka_unit_test(test_purge_twice_has_nothing_left),
        cmocka_unit_test(test_purge_live_blocks_survive),
        cmocka_unit_test(test_purge_all_reaches_blocks_of_a_thread_that_sleeps),
        cmocka_unit_test(test_purge_by_several_threads_at_once),
    };
    return cmocka_run_group_tests_name("ext", tests, NULL, NULL);
}
