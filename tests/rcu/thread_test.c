/* The library's threads: named, with signals blocked. */
#include "rcu/thread.h"

#include <errno.h>
#include <pthread.h>
#include <semaphore.h>
#include <signal.h>

#include "support.h"

static sem_t named; /* its name comes from the thread that starts it, while it runs */
static sem_t done;
static char name[16];
static int blocked;

static void *look(void *argument)
{
    sigset_t mask;
    CHECK(pthread_sigmask(SIG_BLOCK, NULL, &mask) == 0);
    *(int *)argument = sigismember(&mask, SIGTERM) && sigismember(&mask, SIGUSR1);
    CHECK(sem_wait(&named) == 0);
    CHECK(pthread_getname_np(pthread_self(), name, sizeof name) == 0);
    CHECK(sem_post(&done) == 0);
    return NULL;
}

static void test_thread_has_its_name_and_all_signals_blocked(void **state)
{
    (void)state;
    assert_int_equal(sem_init(&named, 0, 0), 0);
    assert_int_equal(sem_init(&done, 0, 0), 0);
    errno = ERRNO_UNUSED;
    assert_true(wr_rcu_thread_start(look, &blocked, "weir-test"));
    assert_int_equal(errno, ERRNO_UNUSED);
    assert_int_equal(sem_post(&named), 0);
    assert_int_equal(sem_wait(&done), 0);
    assert_string_equal(name, "weir-test");
    assert_true(blocked);
    sigset_t mask;
    assert_int_equal(pthread_sigmask(SIG_BLOCK, NULL, &mask), 0);
    assert_false(sigismember(&mask, SIGTERM));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_thread_has_its_name_and_all_signals_blocked),
    };
    return cmocka_run_group_tests_name("thread", tests, NULL, NULL);
}
