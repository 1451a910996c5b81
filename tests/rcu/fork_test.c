/* fork with frees deferred: the child has them all, and both sides go on. */
#include "rcu/fork.h"

#include "flavored.h"

#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

static void wait_for_child(pid_t child)
{
    int status = -1;
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void check_child_frees(size_t deferred)
{
    CHECK(stats_now().deferred_objects == deferred);
    CHECK(stats_now().freed_objects == 0);
    weir_free_rcu(filled(100, 1));
    CHECK(weir_rcu_barrier() == 0);
    CHECK(stats_now().deferred_objects == 0 && stats_now().deferred_bytes == 0);
    CHECK(stats_now().freed_objects == deferred + 1);
    _exit(0);
}

static void test_child_frees_what_had_gathered_and_the_parent_does_too(void **state)
{
    (void)state;
    assert_int_equal(weir_rcu_barrier(), 0);
    struct reader reader;
    reader_start(&reader); /* so that nothing is free before the fork */
    for (unsigned i = 0; i < 1300; i++) {
        weir_free_rcu(filled(32 + i, i));
    }
    pid_t child = fork();
    if (child == 0) {
        /* The reader is not there, so what was deferred before needs no grace period; one that the
         * child began might wait for the reader, whom liburcu still lists. */
        drop_signal_handlers();
        CHECK(stats_now().deferred_objects == 1300);
        weir_rcu_thread_flush();
        CHECK(wait_for_deferred(0));
        CHECK(stats_now().freed_objects == 1300);
        _exit(0);
    }
    wait_for_child(child);
    assert_int_equal(stats_now().deferred_objects, 1300);
    reader_end(&reader);
    assert_int_equal(weir_rcu_barrier(), 0);
    assert_int_equal(stats_now().deferred_objects, 0);
    for (unsigned i = 0; i < 1300; i++) {
        weir_free_rcu(filled(32 + i, i));
    }
    size_t deferred = stats_now().deferred_objects;
    child = fork();
    if (child == 0) {
        drop_signal_handlers();
        deferred = stats_now().deferred_objects; /* some may have been free by then */
        check_child_frees(deferred);
    }
    wait_for_child(child);
    assert_int_equal(weir_rcu_barrier(), 0);
}

static atomic_int stop;
static atomic_uint running;

static void *defer_all_the_time(void *unused)
{
    (void)unused;
    atomic_fetch_add(&running, 1);
    for (uint64_t i = 0; !atomic_load(&stop); i++) {
        weir_free_rcu(filled(16 + i % 200, i));
        if (i % 5000 == 0) {
            CHECK(weir_rcu_barrier() == 0);
        }
    }
    return NULL;
}

static void test_forks_while_others_defer_leave_both_sides_whole(void **state)
{
    (void)state;
    enum { FORKS = TEST_SCALE(200, 30), THREADS = 3 };
    pthread_t threads[THREADS];
    atomic_store(&stop, 0);
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, defer_all_the_time, NULL), 0);
    }
    /* All threads are past their start, where a sanitizer has locks that a child would inherit. */
    while (atomic_load(&running) < THREADS) {
        sleep_ms(1);
    }
    assert_int_equal(weir_rcu_barrier(), 0);
    sleep_ms(100);
    for (unsigned i = 0; i < FORKS; i++) {
        weir_free_rcu(filled(40, i));
        pid_t child = fork();
        if (child == 0) {
            drop_signal_handlers();
            check_child_frees(stats_now().deferred_objects);
        }
        wait_for_child(child);
    }
    atomic_store(&stop, 1);
    for (unsigned i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(weir_rcu_barrier(), 0);
    assert_int_equal(stats_now().deferred_objects, 0);
}

static void test_fork_inside_a_section_keeps_what_the_section_may_hold(void **state)
{
    (void)state;
    become_reader();
    enter_section();
    void *block = filled(200, 3);
    weir_free_rcu(block);
    pid_t child = fork();
    if (child == 0) {
        drop_signal_handlers();
        weir_rcu_thread_flush();
        sleep_ms(50);
        CHECK(pattern_holds(block, 200, 3));
        leave_section();
        CHECK(wait_for_deferred(0));
        _exit(0);
    }
    wait_for_child(child);
    leave_section();
    cease_reader();
    assert_int_equal(weir_rcu_barrier(), 0);
}

static void test_exit_waits_neither_for_readers_nor_for_what_is_deferred(void **state)
{
    (void)state;
    pid_t child = fork();
    if (child == 0) {
        drop_signal_handlers();
        struct reader reader;
        reader_start(&reader);
        for (unsigned i = 0; i < 3000; i++) {
            weir_free_rcu(filled(100, i));
        }
        exit(0);
    }
    wait_for_child(child);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_child_frees_what_had_gathered_and_the_parent_does_too),
        cmocka_unit_test(test_forks_while_others_defer_leave_both_sides_whole),
        cmocka_unit_test(test_fork_inside_a_section_keeps_what_the_section_may_hold),
        cmocka_unit_test(test_exit_waits_neither_for_readers_nor_for_what_is_deferred),
    };
    return cmocka_run_group_tests_name("fork", tests, NULL, NULL);
}
