/* os/lock: exclusion, sleeping and waking, errno, the child of a fork.
 *
 * What the lock protects are plain variables: ThreadSanitizer sees each order that is missing.
 */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/assert.h"
#include "os/lock.h"

#define THREADS 4
#define ROUNDS  TEST_SCALE(100000, 10000)
#define WAITERS 8

/* The state word, drawn in lock.h. */
#define FREE   0u
#define HELD   ((uint32_t)getpid() << 1)
#define WANTED (HELD | WR_LOCK_WAITED)

static wr_lock lock = WR_LOCK_INITIALIZER(WR_RANK_GROWTH);
static size_t counter; /* under the lock */
static _Atomic size_t inside;
static _Atomic int waiter_id;

static uint32_t state_of_lock(void)
{
    return wr_load_relaxed(&lock.state);
}

static void sleep_ms(long ms)
{
    struct timespec pause = {ms / 1000, ms % 1000 * 1000000};
    nanosleep(&pause, NULL);
}

static void test_lock_free_is_taken_and_released(void **state)
{
    (void)state;
    assert_int_equal(state_of_lock(), FREE);
    wr_lock_acquire(&lock);
    assert_int_equal(state_of_lock(), HELD);
    wr_lock_release(&lock);
    assert_int_equal(state_of_lock(), FREE);
    wr_lock_acquire(&lock);
    wr_lock_release(&lock);
    assert_int_equal(state_of_lock(), FREE);
}

static void *count_under_lock(void *unused)
{
    (void)unused;
    errno = ERRNO_UNUSED;
    for (size_t i = 0; i < ROUNDS; i++) {
        wr_lock_acquire(&lock);
        /* Relaxed: exclusion is what makes the count right. */
        CHECK(wr_fetch_add_relaxed(&inside, 1) == 0);
        counter++;
        CHECK(wr_fetch_sub_relaxed(&inside, 1) == 1);
        wr_lock_release(&lock);
    }
    CHECK(errno == ERRNO_UNUSED); /* of all calls, contended ones too */
    return NULL;
}

static void test_lock_of_many_threads_lets_one_in_and_keeps_errno(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    counter = 0;
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, count_under_lock, NULL), 0);
    }
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(counter, THREADS * (size_t)ROUNDS);
    assert_int_equal(state_of_lock(), FREE);
}

static void *count_once(void *unused)
{
    (void)unused;
    wr_store_release(&waiter_id, (int)syscall(SYS_gettid));
    errno = ERRNO_UNUSED;
    wr_lock_acquire(&lock);
    CHECK(errno == ERRNO_UNUSED);
    counter++;
    wr_lock_release(&lock);
    CHECK(errno == ERRNO_UNUSED);
    return NULL;
}

/* The letter of /proc/self/task/<id>/stat: S while the thread sleeps. */
static char run_state_of(int thread_id)
{
    char path[64];
    char text[512] = "";
    (void)snprintf(path, sizeof path, "/proc/self/task/%d/stat", thread_id);
    int file = open(path, O_RDONLY);
    assert_true(file >= 0);
    assert_true(read(file, text, sizeof text - 1) > 0);
    close(file);
    const char *name_end = strrchr(text, ')');
    assert_non_null(name_end);
    return name_end[2];
}

static int64_t cpu_ns(clockid_t clock)
{
    struct timespec now;
    assert_int_equal(clock_gettime(clock, &now), 0);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* Waits until the waiter is in the kernel for the lock. */
static void await_sleep(void)
{
    while (state_of_lock() != WANTED || run_state_of(wr_load_acquire(&waiter_id)) != 'S') {
        sleep_ms(1);
    }
}

static void test_lock_waiter_sleeps_and_is_woken(void **state)
{
    (void)state;
    pthread_t waiter;
    clockid_t clock;
    counter = 0;
    wr_lock_acquire(&lock);
    assert_int_equal(pthread_create(&waiter, NULL, count_once, NULL), 0);
    await_sleep();
    assert_int_equal(pthread_getcpuclockid(waiter, &clock), 0);
    int64_t before_ns = cpu_ns(clock);
    sleep_ms(30);
    assert_true(cpu_ns(clock) - before_ns < 10 * 1000000);
    assert_int_equal(counter, 0);
    wr_lock_release(&lock);
    assert_int_equal(pthread_join(waiter, NULL), 0);
    assert_int_equal(counter, 1);
    assert_int_equal(state_of_lock(), FREE);
}

static void test_lock_released_once_wakes_all_waiters_in_turn(void **state)
{
    (void)state;
    pthread_t waiters[WAITERS];
    counter = 0;
    wr_lock_acquire(&lock);
    for (size_t i = 0; i < WAITERS; i++) {
        wr_store_release(&waiter_id, 0);
        assert_int_equal(pthread_create(&waiters[i], NULL, count_once, NULL), 0);
        while (wr_load_acquire(&waiter_id) == 0) {
            sleep_ms(1);
        }
        await_sleep();
    }
    assert_int_equal(counter, 0);
    wr_lock_release(&lock);
    for (size_t i = 0; i < WAITERS; i++) {
        assert_int_equal(pthread_join(waiters[i], NULL), 0);
    }
    assert_int_equal(counter, WAITERS);
    assert_int_equal(state_of_lock(), FREE);
}

static void ignore(int signal_number)
{
    (void)signal_number;
}

static void test_lock_waiter_interrupted_by_a_signal_waits_on(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = ignore};
    pthread_t waiter;
    assert_int_equal(sigaction(SIGUSR1, &action, NULL), 0);
    counter = 0;
    wr_lock_acquire(&lock);
    assert_int_equal(pthread_create(&waiter, NULL, count_once, NULL), 0);
    for (int i = 0; i < 5; i++) {
        await_sleep();
        assert_int_equal(pthread_kill(waiter, SIGUSR1), 0);
        sleep_ms(2);
    }
    assert_int_equal(counter, 0);
    wr_lock_release(&lock);
    assert_int_equal(pthread_join(waiter, NULL), 0);
    assert_int_equal(counter, 1);
}

static _Atomic int holder_stage; /* 1: the holder has the lock; 2: it may release it */

static void *hold(void *unused)
{
    (void)unused;
    wr_lock_acquire(&lock);
    wr_store_release(&holder_stage, 1);
    while (wr_load_acquire(&holder_stage) != 2) {
        sleep_ms(1);
    }
    wr_lock_release(&lock);
    return NULL;
}

static void use_lock(void)
{
    alarm(20); /* a lock that nobody releases ends here */
    for (int i = 0; i < 3; i++) {
        errno = ERRNO_UNUSED;
        wr_lock_acquire(&lock);
        CHECK((state_of_lock() | WR_LOCK_WAITED) == WANTED);
        wr_lock_release(&lock);
        CHECK(errno == ERRNO_UNUSED);
        CHECK(state_of_lock() == FREE);
    }
}

static void use_lock_in_child(void *unused)
{
    (void)unused;
    CHECK(state_of_lock() != FREE);
    use_lock();
}

static void reset_and_use_lock_in_child(void *unused)
{
    (void)unused;
    CHECK(state_of_lock() != FREE);
    errno = ERRNO_UNUSED;
    wr_lock_reset(&lock);
    CHECK(errno == ERRNO_UNUSED);
    CHECK(state_of_lock() == FREE);
    use_lock();
}

/* Runs a body in a child that is forked while another thread holds the lock. */
static void fork_while_held(void (*body)(void *))
{
    pthread_t holder;
    struct outcome outcome;
    wr_store_release(&holder_stage, 0);
    assert_int_equal(pthread_create(&holder, NULL, hold, NULL), 0);
    while (wr_load_acquire(&holder_stage) != 1) {
        sleep_ms(1);
    }
    run_child(body, NULL, &outcome);
    wr_store_release(&holder_stage, 2);
    assert_int_equal(pthread_join(holder, NULL), 0);
    assert_clean_exit(&outcome);
    assert_int_equal(state_of_lock(), FREE);
}

static void test_lock_held_by_another_thread_at_fork_is_free_after_reset(void **state)
{
    (void)state;
    fork_while_held(reset_and_use_lock_in_child);
}

static void test_lock_held_by_another_thread_at_fork_is_the_childs_for_the_taking(void **state)
{
    (void)state;
    fork_while_held(use_lock_in_child);
}

static void test_lock_held_by_the_forking_thread_is_free_after_reset(void **state)
{
    (void)state;
    struct outcome outcome;
    wr_lock_acquire(&lock);
    run_child(reset_and_use_lock_in_child, NULL, &outcome);
    assert_int_equal(state_of_lock(), HELD); /* the parent's */
    wr_lock_release(&lock);
    assert_clean_exit(&outcome);
}

#if WR_DEBUG
static void acquire_twice(void *unused)
{
    (void)unused;
    wr_lock_acquire(&lock);
    wr_lock_acquire(&lock);
}

static void test_lock_of_equal_rank_fails_an_assert(void **state)
{
    (void)state;
    static const char expected[] = "weir: assertion failed: held_rank < lock->rank, ";
    struct outcome outcome;
    run_child(acquire_twice, NULL, &outcome);
    assert_int_equal(strncmp(outcome.text, expected, sizeof expected - 1), 0);
    assert_int_equal(outcome.signal, SIGABRT);
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lock_free_is_taken_and_released),
        cmocka_unit_test(test_lock_of_many_threads_lets_one_in_and_keeps_errno),
        cmocka_unit_test(test_lock_waiter_sleeps_and_is_woken),
        cmocka_unit_test(test_lock_released_once_wakes_all_waiters_in_turn),
        cmocka_unit_test(test_lock_waiter_interrupted_by_a_signal_waits_on),
        cmocka_unit_test(test_lock_held_by_another_thread_at_fork_is_free_after_reset),
        cmocka_unit_test(test_lock_held_by_another_thread_at_fork_is_the_childs_for_the_taking),
        cmocka_unit_test(test_lock_held_by_the_forking_thread_is_free_after_reset),
#if WR_DEBUG
        cmocka_unit_test(test_lock_of_equal_rank_fails_an_assert),
#endif
    };
    return cmocka_run_group_tests_name("lock", tests, NULL, NULL);
}
