/* Mappings of large objects: their length, their charge through every refusal, their number. */
#include "heap/mapping.h"

#include "fault.h"
#include "maps.h"
#include "os/vm.h"
#include "page/commit.h"
#include "page/extent.h"
#include "page/slice.h"
#include "scarce.h"
#include "support.h"

static int unlimited(void **state)
{
    (void)state;
    fault_refuse(0);
    fault_disarm();
    wr_commit_set_limits(WR_COMMIT_UNLIMITED, WR_COMMIT_UNLIMITED);
    return 0;
}

static void test_mapping_is_whole_slices_long_and_charged_by_its_bytes(void **state)
{
    (void)state;
    size_t committed = wr_commit_bytes();
    size_t mapped = wr_vm_mapped_bytes();
    unsigned regions = wr_region_count();
    wr_span *span = wr_mapping_create(130 * KIB, WR_SLICE_BYTES);
    assert_non_null(span);
    while (wr_region_count() !=
           regions) { /* until one brings no tables: they come at each border */
        wr_mapping_destroy(span->start, 192 * KIB);
        mapped = wr_vm_mapped_bytes();
        regions = wr_region_count();
        span = wr_mapping_create(130 * KIB, WR_SLICE_BYTES);
        assert_non_null(span);
    }
    assert_int_equal(wr_mapping_length(130 * KIB), 192 * KIB);
    assert_int_equal(wr_vm_mapped_bytes(), mapped + 192 * KIB);
    assert_int_equal(wr_commit_bytes(), committed + 130 * KIB);
    assert_int_equal(span->committed_bytes, 130 * KIB);
    assert_int_equal(wr_mapping_committed_bytes(span->start), 130 * KIB);
    wr_mapping_destroy(span->start, 192 * KIB);
    assert_int_equal(wr_vm_mapped_bytes(), mapped);
    assert_int_equal(wr_commit_bytes(), committed);
}

static void test_create_refused_by_the_limit_or_the_kernel_changes_nothing(void **state)
{
    (void)state;
    size_t mapped = wr_vm_mapped_bytes();
    size_t committed = wr_commit_bytes();
    wr_commit_set_limits(WR_COMMIT_UNLIMITED, committed + 1 * MIB);
    assert_null(wr_mapping_create(1 * MIB + 4 * KIB, WR_SLICE_BYTES));
    assert_int_equal(wr_commit_bytes(), committed);
    fault_refuse(FAULT_MMAP);
    assert_null(wr_mapping_create(1 * MIB, WR_SLICE_BYTES));
    assert_int_equal(wr_commit_bytes(), committed);
    assert_int_equal(wr_vm_mapped_bytes(), mapped);
}

static void test_commit_charges_the_difference_once(void **state)
{
    (void)state;
    size_t committed = wr_commit_bytes();
    wr_span *span = wr_mapping_create(100 * KIB, WR_SLICE_BYTES);
    assert_non_null(span);
    assert_true(wr_mapping_commit(span, 120 * KIB));
    assert_true(wr_mapping_commit(span, 110 * KIB));
    assert_int_equal(wr_commit_bytes(), committed + 120 * KIB);
    wr_commit_set_limits(WR_COMMIT_UNLIMITED, committed + 124 * KIB);
    assert_false(wr_mapping_commit(span, 128 * KIB));
    assert_int_equal(span->committed_bytes, 120 * KIB);
    assert_true(wr_mapping_commit(span, 124 * KIB));
    wr_mapping_uncommit(span, 60 * KIB);
    wr_mapping_uncommit(span, 64 * KIB);
    assert_int_equal(wr_commit_bytes(), committed + 60 * KIB);
    wr_mapping_destroy(span->start, 128 * KIB);
    assert_int_equal(wr_commit_bytes(), committed);
}

static void test_charge_refused_has_dirty_slices_purged(void **state)
{
    (void)state;
    bool zero;
    uintptr_t start = wr_extent_claim(16, &zero);
    assert_int_not_equal(start, 0);
    size_t committed = wr_commit_bytes();
    wr_slice_release(start, 16); /* dirty: still charged */
    assert_int_equal(wr_commit_bytes(), committed);
    wr_commit_set_limits(WR_COMMIT_UNLIMITED, committed);
    wr_span *span = wr_mapping_create(16 * WR_SLICE_BYTES, WR_SLICE_BYTES);
    assert_non_null(span);
    assert_int_equal(wr_commit_bytes(), committed);
    assert_null(wr_mapping_create(WR_SLICE_BYTES, WR_SLICE_BYTES));
    wr_mapping_destroy(span->start, 16 * WR_SLICE_BYTES);
}

static void test_destroy_refused_donates_the_slices_uncharged(void **state)
{
    (void)state;
    size_t committed = wr_commit_bytes();
    size_t slices = wr_slice_total_count();
    wr_span *span = wr_mapping_create(256 * KIB, WR_SLICE_BYTES);
    assert_non_null(span);
    fault_refuse(FAULT_MUNMAP);
    wr_mapping_destroy(span->start, 256 * KIB);
    assert_int_equal(wr_commit_bytes(), committed);
    assert_int_equal(wr_slice_total_count(), slices + 4);
}

static void test_destroy_and_purge_refused_stays_charged(void **state)
{
    (void)state;
    size_t committed = wr_commit_bytes();
    size_t slices = wr_slice_total_count();
    wr_span *span = wr_mapping_create(256 * KIB, WR_SLICE_BYTES);
    assert_non_null(span);
    fault_refuse(FAULT_MUNMAP | FAULT_MADVISE);
    wr_mapping_destroy(span->start, 256 * KIB);
    assert_int_equal(wr_commit_bytes(), committed + 256 * KIB); /* its frames are nobody's */
    assert_int_equal(wr_slice_total_count(), slices);
}

static void test_reserve_is_hidden_from_dumps_and_shown_in_steps(void **state)
{
    (void)state;
    size_t length = 5 * WR_DUMP_STEP_BYTES;
    wr_span *span = wr_mapping_create(length, WR_SLICE_BYTES);
    assert_non_null(span);
    uintptr_t start = span->start;
    wr_mapping_hide(span, 1 * MIB, length);
    assert_int_equal(span->dumped_bytes, 1 * MIB);
    assert_false(maps_has_flag(start, "dd"));
    assert_true(maps_has_flag(start + 1 * MIB, "dd"));
    wr_mapping_show(span, 1 * MIB, length);
    assert_int_equal(span->dumped_bytes, 1 * MIB);
    wr_mapping_show(span, 1 * MIB + 1, length);
    size_t shown = span->dumped_bytes;
    assert_int_equal(shown, 1 * MIB + WR_SLICE_BYTES + WR_DUMP_STEP_BYTES);
    assert_false(maps_has_flag(start + shown - 1, "dd"));
    assert_true(maps_has_flag(start + shown, "dd"));
    wr_mapping_show(span, length - 1, length);
    assert_int_equal(span->dumped_bytes, length);
    assert_false(maps_has_flag(start + length - 1, "dd"));
    wr_mapping_destroy(start, length);
}

static void test_reserve_that_is_small_or_refused_stays_in_dumps(void **state)
{
    (void)state;
    size_t length = 2 * WR_DUMP_STEP_BYTES;
    wr_span *span = wr_mapping_create(length, WR_SLICE_BYTES);
    assert_non_null(span);
    wr_mapping_hide(span, length - WR_DUMP_STEP_BYTES + WR_SLICE_BYTES, length);
    assert_int_equal(span->dumped_bytes, length);
    fault_refuse(FAULT_MADVISE);
    wr_mapping_hide(span, 1 * MIB, length);
    assert_int_equal(span->dumped_bytes, length);
    fault_refuse(0);
    wr_mapping_destroy(span->start, length);
}

static void test_many_mappings_are_a_crowd(void **state)
{
    (void)state;
    static wr_span *spans[WR_MAPPINGS_MAX];
    unsigned count = 0;
    for (; count < WR_MAPPINGS_MAX && !wr_mapping_is_crowded(); count++) {
        spans[count] = wr_mapping_create(WR_SLICE_BYTES, WR_SLICE_BYTES);
        assert_non_null(spans[count]);
    }
    assert_true(wr_mapping_is_crowded());
    assert_true(count > WR_MAPPINGS_MAX - 10);
    wr_mapping_destroy(spans[--count]->start, WR_SLICE_BYTES);
    assert_false(wr_mapping_is_crowded());
    while (count > 0) {
        wr_mapping_destroy(spans[--count]->start, WR_SLICE_BYTES);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_mapping_is_whole_slices_long_and_charged_by_its_bytes,
                                  unlimited),
        cmocka_unit_test_teardown(test_create_refused_by_the_limit_or_the_kernel_changes_nothing,
                                  unlimited),
        cmocka_unit_test_teardown(test_commit_charges_the_difference_once, unlimited),
        cmocka_unit_test_teardown(test_charge_refused_has_dirty_slices_purged, unlimited),
        cmocka_unit_test_teardown(test_destroy_refused_donates_the_slices_uncharged, unlimited),
        cmocka_unit_test_teardown(test_destroy_and_purge_refused_stays_charged, unlimited),
        cmocka_unit_test_teardown(test_reserve_is_hidden_from_dumps_and_shown_in_steps, unlimited),
        cmocka_unit_test_teardown(test_reserve_that_is_small_or_refused_stays_in_dumps, unlimited),
        cmocka_unit_test_teardown(test_many_mappings_are_a_crowd, unlimited),
    };
    return cmocka_run_group_tests_name("mapping", tests, NULL, NULL);
}
