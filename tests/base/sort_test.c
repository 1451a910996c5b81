/* base/sort.h: every number of addresses, in every kind of order, against qsort(3). */
#include "support.h"

#include <stdlib.h>
#include <string.h>

#include "base/sort.h"

#define ROUNDS TEST_SCALE(200, 20)

static int compare(const void *a, const void *b)
{
    uintptr_t x = *(const uintptr_t *)a;
    uintptr_t y = *(const uintptr_t *)b;
    return (x > y) - (x < y);
}

/* Sorts a copy between two words that must stay as they are. */
static void assert_sorts(unsigned count, const uintptr_t *addresses)
{
    uintptr_t expected[WR_SORT_MOST];
    void *sorted[WR_SORT_MOST + 2] = {NULL};
    memcpy(expected, addresses, count * sizeof *expected);
    memcpy(sorted + 1, addresses, count * sizeof *expected);
    sorted[count + 1] = (void *)(uintptr_t)7;
    qsort(expected, count, sizeof *expected, compare);
    assert_int_equal(wr_sort_is_done(count, sorted + 1),
                     memcmp(expected, addresses, count * sizeof *expected) == 0);
    wr_sort(count, sorted + 1);
    assert_memory_equal(sorted + 1, expected, count * sizeof *expected);
    assert_true(wr_sort_is_done(count, sorted + 1));
    assert_null(sorted[0]);
    assert_int_equal((uintptr_t)sorted[count + 1], 7);
}

static void test_sort_of_up_to_the_most_in_any_order(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    uintptr_t addresses[WR_SORT_MOST];
    for (unsigned round = 0; round < ROUNDS; round++) {
        for (unsigned count = 0; count <= WR_SORT_MOST; count++) {
            for (unsigned i = 0; i < count; i++) {
                addresses[i] = (uintptr_t)random_next(&random);
            }
            assert_sorts(count, addresses);
        }
    }
}

static void test_sort_of_equal_ones_keeps_each(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    uintptr_t addresses[WR_SORT_MOST];
    for (unsigned kinds = 1; kinds <= 4; kinds++) {
        for (unsigned count = 0; count <= WR_SORT_MOST; count++) {
            for (unsigned i = 0; i < count; i++) {
                addresses[i] = 64 * (uintptr_t)(random_next(&random) % kinds);
            }
            assert_sorts(count, addresses);
        }
    }
}

static void test_sort_of_runs_up_and_down(void **state)
{
    (void)state;
    uintptr_t addresses[WR_SORT_MOST];
    for (unsigned run = 1; run <= WR_SORT_MOST; run++) {
        for (unsigned count = 0; count <= WR_SORT_MOST; count++) {
            for (unsigned i = 0; i < count; i++) {
                addresses[i] = 4096 + 16 * (uintptr_t)(i % run * 100 + i / run);
            }
            assert_sorts(count, addresses);
            for (unsigned i = 0; i < count; i++) {
                addresses[i] = ((uintptr_t)1 << 20) - 16 * (uintptr_t)(i % run * 100 + i / run);
            }
            assert_sorts(count, addresses);
        }
    }
}

static void test_sort_of_the_greatest_address_and_0(void **state)
{
    (void)state;
    uintptr_t addresses[WR_SORT_MOST];
    for (unsigned count = 0; count <= WR_SORT_MOST; count++) {
        for (unsigned i = 0; i < count; i++) {
            addresses[i] = i % 3 == 0 ? UINTPTR_MAX : i % 3 == 1 ? 0 : UINTPTR_MAX - 1;
        }
        assert_sorts(count, addresses);
    }
}

static void test_is_done_of_one_that_is_out_of_order(void **state)
{
    (void)state;
    void *addresses[300];
    for (size_t i = 0; i < COUNT_OF(addresses); i++) {
        addresses[i] = (void *)(1000 + i / 2 * 16); /* equal ones are in order */
    }
    assert_true(wr_sort_is_done(COUNT_OF(addresses), addresses));
    for (size_t i = 1; i < COUNT_OF(addresses); i++) {
        void *kept = addresses[i];
        addresses[i] = (void *)((uintptr_t)addresses[i - 1] - 1);
        assert_false(wr_sort_is_done(COUNT_OF(addresses), addresses));
        addresses[i] = kept;
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sort_of_up_to_the_most_in_any_order),
        cmocka_unit_test(test_sort_of_equal_ones_keeps_each),
        cmocka_unit_test(test_sort_of_runs_up_and_down),
        cmocka_unit_test(test_sort_of_the_greatest_address_and_0),
        cmocka_unit_test(test_is_done_of_one_that_is_out_of_order),
    };
    return cmocka_run_group_tests_name("sort", tests, NULL, NULL);
}
