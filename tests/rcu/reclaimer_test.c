/* Without a thread for the reclaimer, callers run the rounds. */
#include "rcu/reclaimer.h"

#include "flavored.h"
#include "rcu/thread.h"

bool __real_wr_rcu_thread_start(void *(*body)(void *), void *argument, const char *name);
bool __wrap_wr_rcu_thread_start(void *(*body)(void *), void *argument, const char *name);

static atomic_int refused;

bool __wrap_wr_rcu_thread_start(void *(*body)(void *), void *argument, const char *name)
{
    return !atomic_load(&refused) && __real_wr_rcu_thread_start(body, argument, name);
}

static void *defer_and_wait(void *unused)
{
    (void)unused;
    for (unsigned i = 0; i < 100; i++) {
        weir_free_rcu(filled(100, i));
        CHECK(weir_rcu_barrier() == 0);
    }
    return NULL;
}

static void test_barriers_of_many_callers_run_the_rounds_themselves(void **state)
{
    (void)state;
    enum { THREADS = 4 };
    atomic_store(&refused, 1);
    pthread_t threads[THREADS];
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, defer_and_wait, NULL), 0);
    }
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(stats_now().freed_objects, 100 * THREADS);
    assert_int_equal(stats_now().deferred_objects, 0);
}

static void test_limit_is_kept_by_the_caller(void **state)
{
    (void)state;
    assert_int_equal(weir_rcu_limit_set(64 * KIB), 0);
    for (unsigned i = 0; i < 100; i++) {
        weir_free_rcu(filled(300 * KIB, i));
        assert_true(stats_now().deferred_bytes <= 64 * KIB);
    }
    assert_int_equal(weir_rcu_limit_set(64 * MIB), 0);
}

static void test_thread_is_started_as_soon_as_it_can_be(void **state)
{
    (void)state;
    weir_free_rcu(filled(100, 1));
    weir_rcu_thread_flush();
    sleep_ms(50);
    assert_int_equal(stats_now().deferred_objects, 1);
    atomic_store(&refused, 0);
    weir_free_rcu(filled(100, 2));
    assert_true(wait_for_deferred(0));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_barriers_of_many_callers_run_the_rounds_themselves),
        cmocka_unit_test(test_limit_is_kept_by_the_caller),
        cmocka_unit_test(test_thread_is_started_as_soon_as_it_can_be),
    };
    return cmocka_run_group_tests_name("reclaimer", tests, NULL, NULL);
}
