/* The histogram of bench/latency: buckets, quantiles, merging. */
#include <stdarg.h>
#include <stddef.h>
#include <setjmp.h>
#include <stdint.h>
#include <stdlib.h>

#include <cmocka.h>

#include "common/random.h"
#include "latency/histogram.h"

#define VALUES 10000u

static struct histogram histogram; /* too large for a stack */

static int setup(void **state)
{
    (void)state;
    histogram = (struct histogram){0};
    return 0;
}

static int compare(const void *left, const void *right)
{
    uint64_t a = *(const uint64_t *)left;
    uint64_t b = *(const uint64_t *)right;
    return (a > b) - (a < b);
}

static void test_bucket_tops_and_next_values_are_neighbours(void **state)
{
    (void)state;
    for (unsigned bucket = 0; bucket < HISTOGRAM_BUCKETS; bucket++) {
        uint64_t top = histogram_bucket_top(bucket);
        assert_int_equal(histogram_bucket(top), bucket);
        if (bucket + 1 < HISTOGRAM_BUCKETS)
            assert_int_equal(histogram_bucket(top + 1), bucket + 1);
    }
    assert_int_equal(histogram_bucket_top(HISTOGRAM_BUCKETS - 1),
                     ((uint64_t)1 << HISTOGRAM_VALUE_BITS) - 1);
}

static void test_bucket_width_is_below_a_128th_of_the_value(void **state)
{
    (void)state;
    for (unsigned bucket = 1; bucket < HISTOGRAM_BUCKETS; bucket++) {
        uint64_t least = histogram_bucket_top(bucket - 1) + 1;
        assert_true((histogram_bucket_top(bucket) - least) * 128 < least);
    }
}

static void test_add_huge_value_counts_in_last_bucket(void **state)
{
    (void)state;
    histogram_add(&histogram, UINT64_MAX);
    assert_int_equal(histogram.buckets[HISTOGRAM_BUCKETS - 1], 1);
    assert_true(histogram.max == UINT64_MAX);
}

static void test_quantile_empty_is_zero(void **state)
{
    (void)state;
    assert_int_equal(histogram_quantile(&histogram, 0.5), 0);
    assert_int_equal(histogram_quantile(&histogram, 1), 0);
}

static void test_quantile_small_values_is_exact(void **state)
{
    (void)state;
    for (uint64_t value = 1; value <= 100; value++)
        histogram_add(&histogram, value);
    assert_int_equal(histogram_quantile(&histogram, 0.5), 50);
    assert_int_equal(histogram_quantile(&histogram, 0.99), 99);
    assert_int_equal(histogram_quantile(&histogram, 1), 100);
}

static void test_quantile_one_is_the_exact_maximum(void **state)
{
    (void)state;
    histogram_add(&histogram, 5);
    histogram_add(&histogram, 1000003);
    assert_int_equal(histogram_quantile(&histogram, 1), 1000003);
}

/* Against a sorted array of values of all magnitudes. */
static void test_quantile_random_values_is_within_a_128th(void **state)
{
    (void)state;
    static uint64_t values[VALUES];
    static const double shares[] = {0.001, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999};
    uint64_t random = 1;
    for (unsigned i = 0; i < VALUES; i++) {
        unsigned shift = 64 - HISTOGRAM_VALUE_BITS + random_below(&random, HISTOGRAM_VALUE_BITS);
        values[i] = random_next(&random) >> shift;
        histogram_add(&histogram, values[i]);
    }
    qsort(values, VALUES, sizeof *values, compare);
    for (size_t i = 0; i < sizeof shares / sizeof *shares; i++) {
        uint64_t exact = values[(size_t)(shares[i] * VALUES + 0.5) - 1];
        uint64_t told = histogram_quantile(&histogram, shares[i]);
        assert_true(told >= exact && (told - exact) * 128 <= exact);
    }
}

static void test_merge_adds_counts_and_keeps_the_greater_maximum(void **state)
{
    (void)state;
    static struct histogram other;
    other = (struct histogram){0};
    histogram_add(&histogram, 7);
    histogram_add(&other, 7);
    histogram_add(&other, 9000);
    histogram_merge(&histogram, &other);
    assert_int_equal(histogram.count, 3);
    assert_int_equal(histogram.max, 9000);
    assert_int_equal(histogram.buckets[7], 2);
    assert_int_equal(histogram.buckets[histogram_bucket(9000)], 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bucket_tops_and_next_values_are_neighbours),
        cmocka_unit_test(test_bucket_width_is_below_a_128th_of_the_value),
        cmocka_unit_test_setup(test_add_huge_value_counts_in_last_bucket, setup),
        cmocka_unit_test_setup(test_quantile_empty_is_zero, setup),
        cmocka_unit_test_setup(test_quantile_small_values_is_exact, setup),
        cmocka_unit_test_setup(test_quantile_one_is_the_exact_maximum, setup),
        cmocka_unit_test_setup(test_quantile_random_values_is_within_a_128th, setup),
        cmocka_unit_test_setup(test_merge_adds_counts_and_keeps_the_greater_maximum, setup),
    };
    return cmocka_run_group_tests_name("bench histogram", tests, NULL, NULL);
}
