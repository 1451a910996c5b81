/* Committed bytes: the count, the hard limit, and each transition of the soft limit's alarm.
 *
 * Nothing else in this program charges, so the count starts at 0 in each case.
 */
#include "page/commit.h"

#include "page_support.h"

#define ROUNDS TEST_SCALE(200000, 20000)

static int reset(void **state)
{
    (void)state;
    wr_commit_set_limits(WR_COMMIT_UNLIMITED, WR_COMMIT_UNLIMITED);
    wr_commit_refund(wr_commit_bytes());
    return wr_load_relaxed(&wr_commit_alarm) == WR_ALARM_ARMED ? 0 : -1;
}

static uintptr_t alarm_state(void)
{
    return wr_load_relaxed(&wr_commit_alarm);
}

static void test_charge_and_refund_are_summed(void **state)
{
    (void)state;
    assert_true(wr_commit_charge(100));
    assert_true(wr_commit_charge(0));
    assert_true(wr_commit_charge(23));
    assert_int_equal(wr_commit_bytes(), 123);
    wr_commit_refund(23);
    wr_commit_refund(0);
    assert_int_equal(wr_commit_bytes(), 100);
}

static void test_charge_up_to_the_hard_limit_is_granted_and_no_further(void **state)
{
    (void)state;
    wr_commit_set_limits(WR_COMMIT_UNLIMITED, 100);
    assert_true(wr_commit_charge(60));
    assert_true(wr_commit_has_room(40));
    assert_false(wr_commit_has_room(41));
    assert_false(wr_commit_charge(41));
    assert_false(wr_commit_charge(SIZE_MAX));
    assert_int_equal(wr_commit_bytes(), 60);
    assert_true(wr_commit_charge(40));
    assert_false(wr_commit_charge(1));
    wr_commit_refund(1);
    assert_true(wr_commit_charge(1));
}

static void test_charge_of_nothing_is_granted_above_the_hard_limit(void **state)
{
    (void)state;
    assert_true(wr_commit_charge(100));
    wr_commit_set_limits(WR_COMMIT_UNLIMITED, 50);
    assert_true(wr_commit_charge(0));
    assert_false(wr_commit_charge(1));
    assert_int_equal(wr_commit_bytes(), 100);
}

static void test_charge_without_a_limit_stops_where_the_count_would_wrap(void **state)
{
    (void)state;
    assert_true(wr_commit_charge(SIZE_MAX));
    assert_false(wr_commit_charge(1));
    wr_commit_refund(SIZE_MAX);
}

static void test_alarm_is_raised_by_the_charge_that_ends_above_the_soft_limit(void **state)
{
    (void)state;
    wr_commit_set_limits(100, WR_COMMIT_UNLIMITED);
    assert_true(wr_commit_charge(100));
    assert_false(wr_commit_alarm_is_out());
    assert_false(wr_commit_alarm_take());
    assert_true(wr_commit_charge(1));
    assert_true(wr_commit_alarm_is_out());
    assert_true(wr_commit_is_above_soft());
    assert_true(wr_commit_alarm_take());
    wr_commit_alarm_finish();
}

static void test_alarm_is_answered_once_and_rearmed_by_a_fall_to_the_limit(void **state)
{
    (void)state;
    wr_commit_set_limits(100, WR_COMMIT_UNLIMITED);
    assert_true(wr_commit_charge(110));
    assert_true(wr_commit_alarm_take());
    assert_false(wr_commit_alarm_take());
    wr_commit_alarm_finish();
    assert_int_equal(alarm_state(), WR_ALARM_RUNG);
    assert_true(wr_commit_charge(10));
    wr_commit_refund(19);
    assert_int_equal(alarm_state(), WR_ALARM_RUNG); /* 101 */
    wr_commit_refund(1);
    assert_int_equal(alarm_state(), WR_ALARM_ARMED);
    assert_true(wr_commit_charge(1));
    assert_true(wr_commit_alarm_take());
    wr_commit_alarm_finish();
}

static void test_alarm_is_not_raised_while_one_is_answered(void **state)
{
    (void)state;
    wr_commit_set_limits(100, WR_COMMIT_UNLIMITED);
    assert_true(wr_commit_charge(110));
    assert_true(wr_commit_alarm_take());
    assert_true(wr_commit_charge(10));
    assert_false(wr_commit_alarm_take());
    wr_commit_alarm_finish();
    assert_int_equal(alarm_state(), WR_ALARM_RUNG);
}

static void test_alarm_whose_cause_has_gone_is_armed_by_its_answer(void **state)
{
    (void)state;
    wr_commit_set_limits(100, WR_COMMIT_UNLIMITED);
    assert_true(wr_commit_charge(110));
    wr_commit_refund(10);
    assert_true(wr_commit_alarm_take()); /* raised all the same: its thread finds out */
    wr_commit_alarm_finish();
    assert_int_equal(alarm_state(), WR_ALARM_ARMED);
}

static void test_alarm_is_armed_after_a_fall_and_a_rise_during_its_answer(void **state)
{
    (void)state;
    wr_commit_set_limits(100, WR_COMMIT_UNLIMITED);
    assert_true(wr_commit_charge(110));
    assert_true(wr_commit_alarm_take());
    wr_commit_refund(20);
    assert_true(wr_commit_charge(20));
    wr_commit_alarm_finish();
    assert_int_equal(alarm_state(), WR_ALARM_ARMED);
    assert_true(wr_commit_charge(1)); /* tells of the rise */
    assert_true(wr_commit_alarm_take());
    wr_commit_alarm_finish();
}

static void test_soft_limit_set_below_the_count_counts_as_crossed(void **state)
{
    (void)state;
    assert_true(wr_commit_charge(100));
    wr_commit_set_limits(50, WR_COMMIT_UNLIMITED);
    assert_int_equal(alarm_state(), WR_ALARM_RUNG);
    assert_true(wr_commit_charge(1));
    assert_false(wr_commit_alarm_is_out());
    wr_commit_refund(51);
    assert_true(wr_commit_charge(1));
    assert_true(wr_commit_alarm_take());
    wr_commit_alarm_finish();
}

static void test_soft_limit_set_above_the_count_is_armed(void **state)
{
    (void)state;
    assert_true(wr_commit_charge(100));
    wr_commit_set_limits(50, WR_COMMIT_UNLIMITED);
    wr_commit_set_limits(100, WR_COMMIT_UNLIMITED);
    assert_int_equal(alarm_state(), WR_ALARM_ARMED);
}

static void raise_elsewhere(size_t number)
{
    if (number == 0) {
        CHECK(wr_commit_charge(110));
    }
}

static void test_alarm_of_another_thread_is_not_taken_and_is_forgotten_in_a_child(void **state)
{
    (void)state;
    wr_commit_set_limits(100, WR_COMMIT_UNLIMITED);
    run_threads(raise_elsewhere);
    assert_true(wr_commit_alarm_is_out());
    assert_false(wr_commit_alarm_take());
    wr_commit_recover(7); /* as a child does */
    assert_int_equal(wr_commit_bytes(), 7);
    assert_int_equal(alarm_state(), WR_ALARM_ARMED);
}

static void test_alarm_answered_by_the_thread_that_forks_stays_its_own(void **state)
{
    (void)state;
    wr_commit_set_limits(100, WR_COMMIT_UNLIMITED);
    assert_true(wr_commit_charge(110));
    assert_true(wr_commit_alarm_take());
    wr_commit_recover(110);
    assert_true(wr_commit_charge(1));
    assert_false(wr_commit_alarm_take());
    wr_commit_alarm_finish();
    assert_int_equal(alarm_state(), WR_ALARM_RUNG);
}

#define HARD ((size_t)1000)

static _Atomic size_t answers;
static _Atomic int answering;

static void storm(size_t number)
{
    uint64_t random = number + 1;
    size_t mine = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        size_t bytes = 1 + random_next(&random) % 100;
        if (random_next(&random) % 2 == 0 && wr_commit_charge(bytes)) {
            mine += bytes;
        } else if (mine >= bytes) {
            wr_commit_refund(bytes);
            mine -= bytes;
        }
        CHECK(wr_commit_bytes() <= HARD);
        if (wr_commit_alarm_is_out() && wr_commit_alarm_take()) {
            CHECK(wr_fetch_add_relaxed(&answering, 1) == 0);
            (void)wr_fetch_add_relaxed(&answers, 1);
            CHECK(wr_fetch_sub_relaxed(&answering, 1) == 1);
            wr_commit_alarm_finish();
        }
    }
    wr_commit_refund(mine);
    if (wr_commit_alarm_take()) {
        wr_commit_alarm_finish();
    }
}

static void test_count_under_threads_is_exact_and_answers_come_one_at_a_time(void **state)
{
    (void)state;
    wr_commit_set_limits(HARD / 2, HARD);
    run_threads(storm);
    assert_int_equal(wr_commit_bytes(), 0);
    assert_true(wr_load_relaxed(&answers) > 0);
    wr_commit_set_limits(HARD / 2, HARD); /* a fall that met a charge is seen now at the latest */
    assert_int_equal(alarm_state(), WR_ALARM_ARMED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_charge_and_refund_are_summed, reset),
        cmocka_unit_test_setup(test_charge_up_to_the_hard_limit_is_granted_and_no_further, reset),
        cmocka_unit_test_setup(test_charge_of_nothing_is_granted_above_the_hard_limit, reset),
        cmocka_unit_test_setup(test_charge_without_a_limit_stops_where_the_count_would_wrap, reset),
        cmocka_unit_test_setup(test_alarm_is_raised_by_the_charge_that_ends_above_the_soft_limit,
                               reset),
        cmocka_unit_test_setup(test_alarm_is_answered_once_and_rearmed_by_a_fall_to_the_limit,
                               reset),
        cmocka_unit_test_setup(test_alarm_is_not_raised_while_one_is_answered, reset),
        cmocka_unit_test_setup(test_alarm_whose_cause_has_gone_is_armed_by_its_answer, reset),
        cmocka_unit_test_setup(test_alarm_is_armed_after_a_fall_and_a_rise_during_its_answer,
                               reset),
        cmocka_unit_test_setup(test_soft_limit_set_below_the_count_counts_as_crossed, reset),
        cmocka_unit_test_setup(test_soft_limit_set_above_the_count_is_armed, reset),
        cmocka_unit_test_setup(
            test_alarm_of_another_thread_is_not_taken_and_is_forgotten_in_a_child, reset),
        cmocka_unit_test_setup(test_alarm_answered_by_the_thread_that_forks_stays_its_own, reset),
        cmocka_unit_test_setup(test_count_under_threads_is_exact_and_answers_come_one_at_a_time,
                               reset),
    };
    return cmocka_run_group_tests_name("commit", tests, NULL, NULL);
}
