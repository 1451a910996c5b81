/* Records: one for each 32 bytes of a region, zero at first, the same for good. */
#include "diag/shadow.h"

#include "base/config.h"
#include "crew.h"
#include "support.h"

#define REGION ((uintptr_t)5 << WR_REGION_SHIFT) /* no address of this process */

static void test_record_is_found_once_obtained(void **state)
{
    (void)state;
    assert_null(wr_shadow_find(REGION));
    wr_record *record = wr_shadow_obtain(REGION + 64);
    assert_non_null(record);
    assert_true(all_zero(record, sizeof *record));
    assert_ptr_equal(wr_shadow_find(REGION + 64), record);
    assert_ptr_equal(wr_shadow_obtain(REGION + 64), record);
}

static void test_neighbours_have_records_of_their_own(void **state)
{
    (void)state;
    wr_record *record = wr_shadow_obtain(REGION + 64);
    assert_ptr_equal(wr_shadow_obtain(REGION + 96), record + 1);
    assert_ptr_equal(wr_shadow_obtain(REGION), record - 2);
    wr_record *last = wr_shadow_obtain(REGION + WR_REGION_BYTES - WR_SHADOW_UNIT_BYTES);
    assert_ptr_equal(last, record - 2 + WR_REGION_BYTES / WR_SHADOW_UNIT_BYTES - 1);
}

static _Atomic(wr_record *) first;

static void obtain(unsigned number, uint64_t *random)
{
    (void)number;
    (void)random;
    wr_record *mine = wr_shadow_obtain(REGION + 2 * WR_REGION_BYTES);
    wr_record *none = NULL;
    CHECK(mine != NULL);
    (void)wr_cas_strong_acq_rel(&first, &none, mine);
    CHECK(wr_load_acquire(&first) == mine);
}

static void test_threads_that_come_first_together_share_one(void **state)
{
    (void)state;
    crew_run(8, 0, obtain);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_record_is_found_once_obtained),
        cmocka_unit_test(test_neighbours_have_records_of_their_own),
        cmocka_unit_test(test_threads_that_come_first_together_share_one),
    };
    return cmocka_run_group_tests_name("shadow", tests, NULL, NULL);
}
