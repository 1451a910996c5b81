/* Regions: one table for each window of addresses, made once, found by any address of the window.
 * Windows here have no memory behind them: the tables are all that a region is. */
#include "page_support.h"

#include <signal.h>
#include <string.h>

#include "page/region.h"

#define WINDOW(number) ((uintptr_t)(number) << WR_REGION_SHIFT)
/* Numbers of windows that no case shares with another. */
#define SINGLE  0x1000u
#define TAGGED  0x1010u
#define LEFT    0x1018u
#define STARVED 0x1020u
#define MODEL   0x2000u
#define STORM   0x3000u
#define TORTURE 0x4000u

#define MODEL_WINDOWS   100u
#define STORM_WINDOWS   TEST_SCALE(300u, 100u)
#define TORTURE_WINDOWS TEST_SCALE(100u, 50u)
#define REGION_BYTES    wr_align_up(sizeof(wr_region), WR_SLICE_BYTES)

static uint64_t seed;

static uintptr_t random_address(uint64_t *random, uintptr_t window)
{
    return window + random_next(random) % WR_REGION_BYTES;
}

static void test_region_of_unused_window_is_null(void **state)
{
    (void)state;
    assert_null(wr_region_of(0));
    assert_null(wr_region_of(WINDOW(SINGLE) - 1));
    assert_null(wr_region_of(UINTPTR_MAX));
}

static void test_obtain_new_window_is_empty_and_zero(void **state)
{
    (void)state;
    wr_region *region = wr_region_obtain(WINDOW(SINGLE) + 12345);
    assert_non_null(region);
    assert_int_equal(region->base, WINDOW(SINGLE));
    assert_true(is_aligned(region, WR_SLICE_BYTES));
    assert_true(all_zero(region, offsetof(wr_region, base)));
    assert_int_equal(wr_region_class_of(WINDOW(SINGLE) + 12345), WR_CLASS_NONE);
}

static void test_obtain_any_address_of_the_window_gives_the_same_region(void **state)
{
    (void)state;
    wr_region *region = wr_region_obtain(WINDOW(SINGLE + 1));
    unsigned count = wr_region_count();
    size_t mapped = wr_vm_mapped_bytes();
    assert_non_null(region);
    assert_ptr_equal(wr_region_obtain(WINDOW(SINGLE + 1) + 1), region);
    assert_ptr_equal(wr_region_obtain(WINDOW(SINGLE + 2) - 1), region);
    assert_ptr_equal(wr_region_of(WINDOW(SINGLE + 1)), region);
    assert_ptr_equal(wr_region_of(WINDOW(SINGLE + 2) - 1), region);
    assert_int_equal(wr_region_count(), count);
    assert_int_equal(wr_vm_mapped_bytes(), mapped);
}

static void test_obtain_neighbour_window_gives_another_region(void **state)
{
    (void)state;
    wr_region *region = wr_region_obtain(WINDOW(SINGLE + 3));
    assert_null(wr_region_of(WINDOW(SINGLE + 4)));
    wr_region *next = wr_region_obtain(WINDOW(SINGLE + 4));
    assert_non_null(next);
    assert_ptr_not_equal(next, region);
    assert_int_equal(next->base, WINDOW(SINGLE + 4));
}

static void test_obtain_maps_one_table(void **state)
{
    (void)state;
    size_t mapped = wr_vm_mapped_bytes();
    assert_non_null(wr_region_obtain(WINDOW(SINGLE + 5)));
    assert_int_equal(wr_vm_mapped_bytes(), mapped + REGION_BYTES);
}

static void test_obtain_last_window_of_the_table_is_found(void **state)
{
    (void)state;
    uintptr_t window = WINDOW(WR_REGIONS_MAX - 1);
    wr_region *region = wr_region_obtain(window + WR_REGION_BYTES - 1);
    assert_non_null(region);
    assert_int_equal(region->base, window);
    assert_ptr_equal(wr_region_of(window), region);
}

static void test_number_tag_in_the_upper_bits_is_ignored(void **state)
{
    (void)state;
    wr_region *region = wr_region_obtain(WINDOW(TAGGED));
    uintptr_t tag = (uintptr_t)0xab << 56;
    assert_non_null(region);
    assert_int_equal(wr_region_number(WINDOW(TAGGED) | tag), TAGGED);
    assert_ptr_equal(wr_region_of((WINDOW(TAGGED) + 77) | tag), region);
}

static void test_at_numbers_regions_in_the_order_they_were_made(void **state)
{
    (void)state;
    static const unsigned windows[] = {SINGLE + 9, SINGLE + 7, SINGLE + 8};
    unsigned first = wr_region_count();
    for (unsigned i = 0; i < COUNT_OF(windows); i++) {
        wr_region *region = wr_region_obtain(WINDOW(windows[i]));
        assert_int_equal(wr_region_count(), first + i + 1);
        assert_ptr_equal(wr_region_at(first + i), region);
    }
    assert_null(wr_region_at(wr_region_count()));
}

static void test_obtain_region_that_its_maker_left_unnumbered_gets_a_number(void **state)
{
    (void)state;
    unsigned count = wr_region_count();
    wr_region *left = wr_vm_map(wr_align_up(sizeof *left, WR_SLICE_BYTES), WR_SLICE_BYTES);
    assert_non_null(left);
    left->base = WINDOW(LEFT);
    /* As far as a stopped thread came. */
    wr_store_release(&wr_regions.distance[LEFT], (uintptr_t)left - (uintptr_t)&wr_regions.none);
    assert_int_equal(wr_region_count(), count);
    assert_ptr_equal(wr_region_obtain(WINDOW(LEFT) + 1), left);
    assert_int_equal(wr_region_count(), count + 1);
    assert_ptr_equal(wr_region_at(count), left);
    assert_ptr_equal(wr_region_obtain(WINDOW(LEFT)), left);
    assert_int_equal(wr_region_count(), count + 1);
}

static void test_slice_address_and_number_are_inverse(void **state)
{
    (void)state;
    wr_region *region = wr_region_obtain(WINDOW(SINGLE));
    for (unsigned s = 0; s < WR_REGION_SLICES; s++) {
        uintptr_t address = wr_slice_address(region, s);
        assert_int_equal(address, WINDOW(SINGLE) + s * WR_SLICE_BYTES);
        assert_int_equal(wr_slice_number(address), s);
        assert_int_equal(wr_slice_number(address + WR_SLICE_BYTES - 1), s);
    }
}

static void test_class_of_reads_the_byte_of_the_slice(void **state)
{
    (void)state;
    wr_region *region = wr_region_obtain(WINDOW(SINGLE));
    uintptr_t address = wr_slice_address(region, 4711);
    wr_store_relaxed(&region->mark[4711], wr_class_mark_of(7));
    assert_int_equal(wr_region_class_of(address), 7);
    assert_int_equal(wr_region_class_of(address + WR_SLICE_BYTES - 1), 7);
    assert_int_equal(wr_region_class_of(address - 1), WR_CLASS_NONE);
    assert_int_equal(wr_region_class_of(address + WR_SLICE_BYTES), WR_CLASS_NONE);
    wr_store_relaxed(&region->mark[4711], WR_CLASS_NONE);
}

static void live_without_memory(void *unused)
{
    (void)unused;
    wr_region *old = wr_region_obtain(WINDOW(STARVED));
    unsigned count = wr_region_count();
    size_t mapped = wr_vm_mapped_bytes();
    CHECK(old != NULL);
    starve();
    wr_region *refused = wr_region_obtain(WINDOW(STARVED + 1));
    wr_region *again = wr_region_obtain(WINDOW(STARVED) + 1);
    feed();
    CHECK(refused == NULL);
    CHECK(again == old);
    CHECK(wr_region_of(WINDOW(STARVED + 1)) == NULL);
    CHECK(wr_region_count() == count);
    CHECK(wr_vm_mapped_bytes() == mapped);
    CHECK(wr_region_obtain(WINDOW(STARVED + 1)) != NULL);
    CHECK(wr_region_count() == count + 1);
}

static void test_obtain_kernel_refuses_returns_null_and_changes_nothing(void **state)
{
    (void)state;
    static struct outcome outcome;
    run_child(live_without_memory, NULL, &outcome);
    assert_clean_exit(&outcome);
}

static void test_model_random_addresses_agree_with_a_table(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    wr_region *model[MODEL_WINDOWS] = {NULL};
    unsigned count = wr_region_count();
    for (size_t i = 0; i < 10000; i++) {
        size_t w = random_next(&random) % MODEL_WINDOWS;
        uintptr_t address = random_address(&random, WINDOW(MODEL + w));
        assert_ptr_equal(wr_region_of(address), model[w]);
        if (random_next(&random) % 50 == 0) {
            wr_region *region = wr_region_obtain(address);
            assert_non_null(region);
            assert_int_equal(region->base, WINDOW(MODEL + w));
            count += model[w] == NULL;
            assert_true(model[w] == NULL || model[w] == region);
            model[w] = region;
            assert_int_equal(wr_region_count(), count);
        }
    }
}

/* What each thread got for each window; compared at the end. */
static wr_region *obtained[THREADS][300];

static void obtain_all(size_t number)
{
    for (unsigned w = 0; w < STORM_WINDOWS; w++) {
        if (w % 8 == 0) {
            threads_meet();
        }
        obtained[number][w] = wr_region_obtain(WINDOW(STORM + w) + number);
        CHECK(obtained[number][w] != NULL);
    }
}

static void test_threads_each_window_gets_one_region_and_the_others_are_unmapped(void **state)
{
    (void)state;
    unsigned count = wr_region_count();
    size_t mapped = wr_vm_mapped_bytes();
    run_threads(obtain_all);
    assert_int_equal(wr_region_count(), count + STORM_WINDOWS);
    assert_int_equal(wr_vm_mapped_bytes(), mapped + STORM_WINDOWS * REGION_BYTES);
    static unsigned seen[300];
    for (unsigned w = 0; w < STORM_WINDOWS; w++) {
        for (size_t i = 1; i < THREADS; i++) {
            assert_ptr_equal(obtained[i][w], obtained[0][w]);
        }
        assert_ptr_equal(wr_region_of(WINDOW(STORM + w)), obtained[0][w]);
        wr_region *numbered = wr_region_at(count + w);
        assert_non_null(numbered);
        seen[wr_region_number(numbered->base) - STORM]++;
    }
    for (unsigned w = 0; w < STORM_WINDOWS; w++) {
        assert_int_equal(seen[w], 1);
    }
}

/* Reads what the maker wrote plainly, by both ways to a region that another thread made. */
static void obtain_and_walk(size_t number)
{
    uint64_t random = seed + number;
    for (unsigned i = 0; i < 10 * TORTURE_WINDOWS; i++) {
        size_t w = random_next(&random) % TORTURE_WINDOWS;
        wr_region *region = wr_region_obtain(random_address(&random, WINDOW(TORTURE + w)));
        CHECK(region != NULL && region->base == WINDOW(TORTURE + w));
        unsigned r = (unsigned)(random_next(&random) % wr_region_count());
        region = wr_region_at(r);
        CHECK(region == NULL || wr_region_of(region->base) == region);
    }
}

static void test_torture_plain_fields_are_seen_by_finders(void **state)
{
    (void)state;
    seed = test_seed();
    run_threads(obtain_and_walk);
    for (unsigned r = 0; r < wr_region_count(); r++) {
        assert_non_null(wr_region_at(r));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_region_of_unused_window_is_null),
        cmocka_unit_test(test_obtain_new_window_is_empty_and_zero),
        cmocka_unit_test(test_obtain_any_address_of_the_window_gives_the_same_region),
        cmocka_unit_test(test_obtain_neighbour_window_gives_another_region),
        cmocka_unit_test(test_obtain_maps_one_table),
        cmocka_unit_test(test_obtain_last_window_of_the_table_is_found),
        cmocka_unit_test(test_number_tag_in_the_upper_bits_is_ignored),
        cmocka_unit_test(test_at_numbers_regions_in_the_order_they_were_made),
        cmocka_unit_test(test_obtain_region_that_its_maker_left_unnumbered_gets_a_number),
        cmocka_unit_test(test_slice_address_and_number_are_inverse),
        cmocka_unit_test(test_class_of_reads_the_byte_of_the_slice),
        cmocka_unit_test(test_obtain_kernel_refuses_returns_null_and_changes_nothing),
        cmocka_unit_test(test_model_random_addresses_agree_with_a_table),
        cmocka_unit_test(test_threads_each_window_gets_one_region_and_the_others_are_unmapped),
        cmocka_unit_test(test_torture_plain_fields_are_seen_by_finders),
    };
    return cmocka_run_group_tests_name("region", tests, NULL, NULL);
}
