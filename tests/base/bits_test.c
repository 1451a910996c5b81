/* base/bits.h: every helper against a plain loop or the values at its borders. */
#include "support.h"

#include "base/bits.h"

#define ALL_ONES UINT64_MAX

static void test_is_power_of_two_is_true_for_powers_alone(void **state)
{
    (void)state;
    assert_false(wr_is_power_of_two(0));
    for (unsigned bit = 0; bit < 64; bit++) {
        size_t power = (size_t)1 << bit;
        assert_true(wr_is_power_of_two(power));
        if (bit > 1) {
            assert_false(wr_is_power_of_two(power - 1));
            assert_false(wr_is_power_of_two(power + 1));
        }
    }
    assert_false(wr_is_power_of_two(SIZE_MAX));
}

static void test_align_up_gives_the_next_multiple_or_the_value(void **state)
{
    (void)state;
    for (size_t alignment = 1; alignment <= 4096; alignment *= 2) {
        uintptr_t expected = 0;
        for (uintptr_t x = 0; x < 9000; x++) {
            expected += x > expected ? alignment : 0;
            assert_int_equal(wr_align_up(x, alignment), expected);
        }
    }
}

static void test_align_down_gives_the_last_multiple_or_the_value(void **state)
{
    (void)state;
    for (size_t alignment = 1; alignment <= 4096; alignment *= 2) {
        for (uintptr_t x = 0; x < 9000; x++) {
            assert_int_equal(wr_align_down(x, alignment), x - x % alignment);
        }
    }
}

static void test_align_of_64_bit_addresses_keeps_the_high_bits(void **state)
{
    (void)state;
    uintptr_t address = 0x7fff12345678u;
    assert_int_equal(wr_align_down(address, 0x10000), 0x7fff12340000u);
    assert_int_equal(wr_align_up(address, 0x10000), 0x7fff12350000u);
    assert_int_equal(wr_align_down(UINTPTR_MAX, (size_t)1 << 63), (uintptr_t)1 << 63);
    assert_int_equal(wr_align_up(1, (size_t)1 << 63), (uintptr_t)1 << 63);
    assert_int_equal(wr_align_down(UINTPTR_MAX, 1), UINTPTR_MAX);
    assert_int_equal(wr_align_up(UINTPTR_MAX, 1), UINTPTR_MAX);
}

static void test_divide_up_gives_the_least_sufficient_count(void **state)
{
    (void)state;
    for (size_t unit = 1; unit <= 70; unit++) {
        for (size_t x = 0; x < 500; x++) {
            size_t units = wr_divide_up(x, unit);
            assert_true(units * unit >= x);
            assert_true(units == 0 || (units - 1) * unit < x);
        }
    }
}

static void test_divide_up_of_largest_size_does_not_overflow(void **state)
{
    (void)state;
    assert_int_equal(wr_divide_up(SIZE_MAX, 1), SIZE_MAX);
    assert_int_equal(wr_divide_up(SIZE_MAX, 2), (size_t)1 << 63);
    assert_int_equal(wr_divide_up(SIZE_MAX, SIZE_MAX), 1);
    assert_int_equal(wr_divide_up(SIZE_MAX - 1, SIZE_MAX), 1);
    assert_int_equal(wr_divide_up(SIZE_MAX, 65536), (size_t)1 << 48);
}

static void test_min_and_max_pick_either_side(void **state)
{
    (void)state;
    assert_int_equal(wr_min(1, 2), 1);
    assert_int_equal(wr_min(2, 1), 1);
    assert_int_equal(wr_min(0, SIZE_MAX), 0);
    assert_int_equal(wr_max(1, 2), 2);
    assert_int_equal(wr_max(2, 1), 2);
    assert_int_equal(wr_max(0, SIZE_MAX), SIZE_MAX);
    assert_int_equal(wr_min(7, 7), 7);
    assert_int_equal(wr_max(7, 7), 7);
}

static void test_highest_bit_ignores_the_bits_below(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < WR_WORD_BITS; bit++) {
        assert_int_equal(wr_highest_bit((uint64_t)1 << bit), bit);
        assert_int_equal(wr_highest_bit(ALL_ONES >> (WR_WORD_BITS - 1 - bit)), bit);
    }
}

static void test_lowest_bit_ignores_the_bits_above(void **state)
{
    (void)state;
    for (unsigned bit = 0; bit < 64; bit++) {
        assert_int_equal(wr_lowest_bit((uint64_t)1 << bit), bit);
        assert_int_equal(wr_lowest_bit(ALL_ONES << bit), bit);
    }
}

static void test_count_bits_counts_every_bit(void **state)
{
    (void)state;
    assert_int_equal(wr_count_bits(0), 0);
    for (unsigned bit = 0; bit < 64; bit++) {
        assert_int_equal(wr_count_bits((uint64_t)1 << bit), 1);
        assert_int_equal(wr_count_bits(ALL_ONES >> bit), 64 - bit);
        assert_int_equal(wr_count_bits(ALL_ONES << bit), 64 - bit);
    }
}

static void test_mask_has_exactly_the_bits_asked_for(void **state)
{
    (void)state;
    for (unsigned first = 0; first < 64; first++) {
        for (unsigned count = 1; first + count <= 64; count++) {
            uint64_t expected = 0;
            for (unsigned bit = first; bit < first + count; bit++) {
                expected |= (uint64_t)1 << bit;
            }
            assert_int_equal(wr_mask(first, count), expected);
        }
    }
}

static void test_low_and_high_ones_of_every_run(void **state)
{
    (void)state;
    assert_int_equal(wr_low_ones(0), 0);
    assert_int_equal(wr_high_ones(0), 0);
    assert_int_equal(wr_low_ones(ALL_ONES), 64);
    assert_int_equal(wr_high_ones(ALL_ONES), 64);
    for (unsigned n = 1; n < 64; n++) {
        uint64_t low = wr_mask(0, n);
        uint64_t high = wr_mask(64 - n, n);
        assert_int_equal(wr_low_ones(low), n);
        assert_int_equal(wr_high_ones(high), n);
        assert_int_equal(wr_low_ones(low | ALL_ONES << n << 1), n);
        assert_int_equal(wr_high_ones(high | ALL_ONES >> n >> 1), n);
    }
}

static void test_lowest_bits_keeps_the_lowest_n_of_any_word(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    for (unsigned round = 0; round < TEST_SCALE(20000, 2000); round++) {
        /* Sparse and dense words alike. */
        uint64_t x = random_next(&random);
        x = round % 3 == 0 ? x & random_next(&random) : round % 3 == 1 ? x : ~(x & (x >> 7));
        unsigned n = (unsigned)(random_next(&random) % 66);
        uint64_t expected = 0;
        unsigned kept = 0;
        for (unsigned bit = 0; bit < 64 && kept < n; bit++) {
            uint64_t mask = x & (uint64_t)1 << bit;
            expected |= mask;
            kept += mask != 0;
        }
        assert_int_equal(wr_lowest_bits(x, n), expected);
    }
}

static void test_lowest_bits_at_the_borders_gives_none_or_all(void **state)
{
    (void)state;
    assert_int_equal(wr_lowest_bits(0, 5), 0);
    assert_int_equal(wr_lowest_bits(ALL_ONES, 0), 0);
    assert_int_equal(wr_lowest_bits(ALL_ONES, 1), 1);
    assert_int_equal(wr_lowest_bits(ALL_ONES, 63), ALL_ONES >> 1);
    assert_int_equal(wr_lowest_bits(ALL_ONES, 64), ALL_ONES);
    assert_int_equal(wr_lowest_bits(0x90, 2), 0x90);
    assert_int_equal(wr_lowest_bits(0x90, UINT32_MAX), 0x90);
}

static void test_multiply_that_fits_gives_the_product(void **state)
{
    (void)state;
    size_t product = 1;
    assert_true(wr_multiply(0, SIZE_MAX, &product));
    assert_int_equal(product, 0);
    assert_true(wr_multiply(SIZE_MAX, 1, &product));
    assert_int_equal(product, SIZE_MAX);
    assert_true(wr_multiply(UINT32_MAX, (size_t)UINT32_MAX + 2, &product));
    assert_int_equal(product, SIZE_MAX);
    assert_true(wr_multiply(48, 1000, &product));
    assert_int_equal(product, 48000);
}

static void test_multiply_that_overflows_is_refused(void **state)
{
    (void)state;
    size_t product;
    assert_false(wr_multiply((size_t)1 << 32, (size_t)1 << 32, &product));
    assert_false(wr_multiply(SIZE_MAX, 2, &product));
    assert_false(wr_multiply(2, (size_t)1 << 63, &product));
    assert_false(wr_multiply(SIZE_MAX, SIZE_MAX, &product));
    assert_false(wr_multiply(SIZE_MAX / 3 + 1, 3, &product));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_is_power_of_two_is_true_for_powers_alone),
        cmocka_unit_test(test_align_up_gives_the_next_multiple_or_the_value),
        cmocka_unit_test(test_align_down_gives_the_last_multiple_or_the_value),
        cmocka_unit_test(test_align_of_64_bit_addresses_keeps_the_high_bits),
        cmocka_unit_test(test_divide_up_gives_the_least_sufficient_count),
        cmocka_unit_test(test_divide_up_of_largest_size_does_not_overflow),
        cmocka_unit_test(test_min_and_max_pick_either_side),
        cmocka_unit_test(test_highest_bit_ignores_the_bits_below),
        cmocka_unit_test(test_lowest_bit_ignores_the_bits_above),
        cmocka_unit_test(test_count_bits_counts_every_bit),
        cmocka_unit_test(test_mask_has_exactly_the_bits_asked_for),
        cmocka_unit_test(test_low_and_high_ones_of_every_run),
        cmocka_unit_test(test_lowest_bits_keeps_the_lowest_n_of_any_word),
        cmocka_unit_test(test_lowest_bits_at_the_borders_gives_none_or_all),
        cmocka_unit_test(test_multiply_that_fits_gives_the_product),
        cmocka_unit_test(test_multiply_that_overflows_is_refused),
    };
    return cmocka_run_group_tests_name("bits", tests, NULL, NULL);
}
