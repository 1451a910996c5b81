/* The table of flavours. */
#include "flavored.h"

#include "rcu/flavor.h"

static struct rcu_flavor_struct others[WR_RCU_FLAVORS_MAX];

static void test_find_gives_each_flavor_its_own_state_for_good(void **state)
{
    (void)state;
    for (unsigned i = 0; i < COUNT_OF(others); i++) {
        others[i] = rcu_flavor;
    }
    assert_null(wr_rcu_flavor_at(0));
    wr_rcu_flavor *first = wr_rcu_flavor_find(&rcu_flavor);
    assert_non_null(first);
    assert_ptr_equal(wr_rcu_flavor_find(&rcu_flavor), first);
    assert_ptr_equal(wr_rcu_flavor_at(0), first);
    assert_null(wr_rcu_flavor_at(1));
    assert_ptr_equal(wr_rcu_flavor_liburcu(first), &rcu_flavor);
    for (unsigned i = 1; i < WR_RCU_FLAVORS_MAX; i++) {
        wr_rcu_flavor *flavor = wr_rcu_flavor_find(&others[i]);
        assert_non_null(flavor);
        assert_int_equal(flavor->number, i);
        assert_ptr_equal(wr_rcu_flavor_at(i), flavor);
    }
    assert_null(wr_rcu_flavor_find(&others[0]));
    assert_null(wr_rcu_flavor_at(WR_RCU_FLAVORS_MAX));
}

static void use_a_ninth(void *unused)
{
    (void)unused;
    void *block = weir_malloc(10);
    weir_free_rcu_flavor(block, &others[0]);
}

static void test_one_flavor_too_many_aborts_with_one_line(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(use_a_ninth, NULL, &outcome);
    assert_int_equal(outcome.signal, 6);
    assert_string_equal(outcome.text, "weir-rcu: more than 8 flavours of RCU in one process\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_find_gives_each_flavor_its_own_state_for_good),
        cmocka_unit_test(test_one_flavor_too_many_aborts_with_one_line),
    };
    return cmocka_run_group_tests_name("flavor", tests, NULL, NULL);
}
