/* The gate: who closes it finds nobody in it, and nobody is kept out for ever. */
#include "rcu/gate.h"

#include <sched.h>

#include "crew.h"

enum { PASSERS = 3, ROUNDS = TEST_SCALE(2000, 300) };

static _Atomic uint32_t passing[PASSERS];
static uint64_t halves[PASSERS][2]; /* equal outside of the gate; plain, for a race detector */
static _Atomic uint32_t stop;

static void pass_or_close(unsigned number, uint64_t *random)
{
    (void)random;
    if (number < PASSERS) {
        while (wr_load_relaxed(&stop) == 0) {
            wr_rcu_gate_enter(&passing[number]);
            halves[number][0]++;
            halves[number][1]++;
            wr_rcu_gate_leave(&passing[number]);
        }
        return;
    }
    for (unsigned i = 0; i < ROUNDS; i++) {
        wr_rcu_gate_close();
        for (unsigned p = 0; p < PASSERS; p++) {
            while (!wr_rcu_gate_drained(&passing[p])) {
                (void)sched_yield();
            }
            CHECK(halves[p][0] == halves[p][1]);
        }
        wr_rcu_gate_open();
    }
    (void)wr_fetch_add_relaxed(&stop, number == PASSERS ? 1u : 0u);
}

static void test_closed_gate_has_nobody_in_it(void **state)
{
    (void)state;
    crew_run(PASSERS + 2, test_seed(), pass_or_close);
    assert_int_equal(wr_load_relaxed(&wr_rcu_gate_closed), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_closed_gate_has_nobody_in_it)};
    return cmocka_run_group_tests_name("gate", tests, NULL, NULL);
}
