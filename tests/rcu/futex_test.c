/* Sleeping on a word. */
#include "rcu/futex.h"

#include <errno.h>

#include "crew.h"

static _Atomic uint32_t word;

static void test_wait_returns_when_the_word_differs_or_the_time_is_over(void **state)
{
    (void)state;
    errno = ERRNO_UNUSED;
    wr_rcu_futex_wait(&word, 1, WR_RCU_FOR_EVER);
    uint64_t start_ms = wr_rcu_now_ms();
    wr_rcu_futex_wait(&word, 0, 1020);
    assert_true(wr_rcu_now_ms() - start_ms >= 1019);
    assert_int_equal(errno, ERRNO_UNUSED);
}

static void wait_or_wake(unsigned number, uint64_t *random)
{
    (void)random;
    if (number == 0) {
        wr_store_seq_cst(&word, 1);
        wr_rcu_futex_wake(&word);
        return;
    }
    while (wr_load_seq_cst(&word) == 0) {
        wr_rcu_futex_wait(&word, 0, WR_RCU_FOR_EVER);
    }
}

static void test_wake_wakes_all_who_wait(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 100; i++) {
        wr_store_seq_cst(&word, 0);
        crew_run(4, i, wait_or_wake);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wait_returns_when_the_word_differs_or_the_time_is_over),
        cmocka_unit_test(test_wake_wakes_all_who_wait),
    };
    return cmocka_run_group_tests_name("futex", tests, NULL, NULL);
}
