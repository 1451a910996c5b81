/* Tables: zero memory, one for all threads that come first together, none without memory. */
#include "diag/table.h"

#include "base/config.h"
#include "crew.h"
#include "fault.h"
#include "support.h"

static _Atomic(void *) table;
static _Atomic(void *) seen;

static void test_table_is_there_once_obtained(void **state)
{
    (void)state;
    static _Atomic(void *) one;
    assert_null(wr_table_find(&one));
    void *made = wr_table_obtain(&one, 3 * WR_SLICE_BYTES, "test");
    assert_non_null(made);
    assert_true(all_zero(made, 3 * WR_SLICE_BYTES));
    assert_ptr_equal(wr_table_obtain(&one, 3 * WR_SLICE_BYTES, "test"), made);
    assert_ptr_equal(wr_table_find(&one), made);
}

static void obtain(unsigned number, uint64_t *random)
{
    (void)number;
    (void)random;
    void *mine = wr_table_obtain(&table, WR_SLICE_BYTES, "test");
    void *none = NULL;
    CHECK(mine != NULL);
    (void)wr_cas_strong_acq_rel(&seen, &none, mine);
    CHECK(wr_load_acquire(&seen) == mine);
}

static void test_threads_that_come_first_together_share_one(void **state)
{
    (void)state;
    for (unsigned round = 0; round < 20; round++) {
        wr_store_relaxed(&table, NULL);
        wr_store_relaxed(&seen, NULL);
        crew_run(8, 0, obtain);
    }
}

static void test_no_memory_is_no_table(void **state)
{
    (void)state;
    static _Atomic(void *) none;
    fault_arm(FAULT_MMAP, 1, FAULT_FOREVER);
    void *made = wr_table_obtain(&none, WR_SLICE_BYTES, "test");
    fault_disarm();
    assert_null(made);
    assert_null(wr_table_find(&none));
    assert_non_null(wr_table_obtain(&none, WR_SLICE_BYTES, "test"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_table_is_there_once_obtained),
        cmocka_unit_test(test_threads_that_come_first_together_share_one),
        cmocka_unit_test(test_no_memory_is_no_table),
    };
    return cmocka_run_group_tests_name("table", tests, NULL, NULL);
}
