/* Rounds: what one of them takes, without the reclaimer's thread. */
#include "rcu/round.h"

#include "flavored.h"
#include "rcu/gather.h"
#include "rcu/thread.h"

bool __wrap_wr_rcu_thread_start(void *(*body)(void *), void *argument, const char *name);

/* No thread: the test runs the rounds. */
bool __wrap_wr_rcu_thread_start(void *(*body)(void *), void *argument, const char *name)
{
    (void)body, (void)argument, (void)name;
    return false;
}

static void test_round_takes_a_batch_at_the_second_look(void **state)
{
    (void)state;
    wr_rcu_flavor *flavor = wr_rcu_flavor_find(&rcu_flavor);
    weir_free_rcu(filled(64, 1));
    wr_rcu_round_run(flavor);
    assert_int_equal(stats_now().deferred_objects, 1);
    assert_int_equal(stats_now().grace_periods, 0);
    weir_free_rcu(filled(64, 2)); /* into the same batch */
    wr_rcu_round_run(flavor);
    assert_int_equal(stats_now().deferred_objects, 0);
    assert_int_equal(stats_now().freed_objects, 2);
    assert_int_equal(stats_now().grace_periods, 1);
    wr_rcu_round_run(flavor);
    assert_int_equal(stats_now().grace_periods, 1);
}

static void test_hurried_round_takes_all(void **state)
{
    (void)state;
    wr_rcu_flavor *flavor = wr_rcu_flavor_find(&rcu_flavor);
    weir_free_rcu(filled(64, 1));
    wr_store_seq_cst(&flavor->hurry, 1);
    wr_rcu_round_run(flavor);
    assert_int_equal(stats_now().deferred_objects, 0);
    assert_int_equal(stats_now().hurried, 1);
    assert_int_equal(wr_load_relaxed(&flavor->hurry), 0);
}

static void test_one_grace_period_serves_all_that_is_handed_over(void **state)
{
    (void)state;
    wr_rcu_flavor *flavor = wr_rcu_flavor_find(&rcu_flavor);
    size_t periods = stats_now().grace_periods;
    enum { COUNT = 3 * WR_RCU_ORDER_OBJECTS };
    for (unsigned i = 0; i < COUNT; i++) {
        weir_free_rcu(filled(16, i));
    }
    weir_rcu_thread_flush();
    wr_rcu_round_run(flavor);
    assert_int_equal(stats_now().deferred_objects, 0);
    assert_int_equal(stats_now().grace_periods, periods + 1);
    assert_int_equal(stats_now().peak_objects, COUNT);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_takes_a_batch_at_the_second_look),
        cmocka_unit_test(test_hurried_round_takes_all),
        cmocka_unit_test(test_one_grace_period_serves_all_that_is_handed_over),
    };
    return cmocka_run_group_tests_name("round", tests, NULL, NULL);
}
