/* os/futex: sleeping while a word is what it was, waking, time, errno.
 *
 * This program's own syscall stands between weir and libc's: it sees what is asked of the kernel,
 * and from which thread. */
#include "os/futex.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/futex.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "crew.h"
#include "own_syscall.h"
#include "support.h"

#define WAITERS  6
#define TURNS    TEST_SCALE(20000, 3000)
#define DEADLOCK 60 /* seconds after which a thread that nobody wakes ends the program */

/* The last futex call of the thread. */
static _Thread_local struct {
    long word;
    long operation;
    long value;
    bool has_time;
    struct timespec time;
} asked;
static _Thread_local unsigned calls;
static _Thread_local bool is_staged;             /* calls are seen, and fail with EAGAIN */
static _Thread_local _Atomic int *announcements; /* where the thread says that it goes to sleep */

static long own_syscall(long number, const long *a)
{
    if (number == SYS_futex) {
        const struct timespec *time = (const struct timespec *)a[3];
        calls++;
        asked.word = a[0];
        asked.operation = (int)a[1];
        asked.value = (long)(uint32_t)a[2];
        asked.has_time = time != NULL;
        asked.time = time != NULL ? *time : (struct timespec){0, 0};
        if (is_staged) {
            errno = EAGAIN;
            return -1;
        }
        if (announcements != NULL) {
            wr_store_release(announcements, (int)libc_syscall(SYS_gettid));
        }
    }
    return pass_syscall_on(number, a);
}

static int watch_for_deadlock(void **state)
{
    (void)state;
    (void)alarm(DEADLOCK);
    return 0;
}

static _Atomic uint32_t word;

static void test_wait_asks_for_a_private_word_and_the_time_given(void **state)
{
    (void)state;
    static const struct {
        unsigned milliseconds;
        long seconds;
        long nanoseconds;
    } times[] = {
        {1, 0, 1000000},        {999, 0, 999000000},      {1000, 1, 0},
        {1500, 1, 500000000},   {3600001, 3600, 1000000}, {UINT32_MAX, 4294967, 295000000},
        {12345, 12, 345000000},
    };
    is_staged = true;
    for (unsigned i = 0; i < COUNT_OF(times); i++) {
        errno = ERRNO_UNUSED;
        calls = 0;
        wr_futex_wait(&word, 77 + i, times[i].milliseconds);
        assert_int_equal(errno, ERRNO_UNUSED);
        assert_int_equal(calls, 1);
        assert_int_equal(asked.word, (long)&word);
        assert_int_equal(asked.operation, FUTEX_WAIT | FUTEX_PRIVATE_FLAG);
        assert_int_equal(asked.value, 77 + i);
        assert_true(asked.has_time);
        assert_int_equal(asked.time.tv_sec, times[i].seconds);
        assert_int_equal(asked.time.tv_nsec, times[i].nanoseconds);
    }
    wr_futex_wait(&word, UINT32_MAX, WR_FUTEX_FOR_EVER);
    assert_false(asked.has_time);
    assert_int_equal(asked.value, UINT32_MAX);
    is_staged = false;
}

static void test_wake_asks_for_one_thread_of_a_private_word(void **state)
{
    (void)state;
    is_staged = true;
    errno = ERRNO_UNUSED;
    wr_futex_wake(&word);
    is_staged = false;
    assert_int_equal(errno, ERRNO_UNUSED);
    assert_int_equal(asked.word, (long)&word);
    assert_int_equal(asked.operation, FUTEX_WAKE | FUTEX_PRIVATE_FLAG);
    assert_int_equal(asked.value, 1);
}

static void test_wait_on_another_value_returns_at_once(void **state)
{
    (void)state;
    static const uint32_t values[] = {0, 1, 0x80000000u, UINT32_MAX};
    for (unsigned i = 0; i < COUNT_OF(values); i++) {
        wr_store_relaxed(&word, values[i]);
        errno = ERRNO_UNUSED;
        wr_futex_wait(&word, values[i] + 1, WR_FUTEX_FOR_EVER);
        wr_futex_wait(&word, values[i] + 1, 3600000);
        assert_int_equal(errno, ERRNO_UNUSED);
        assert_int_equal(wr_load_relaxed(&word), values[i]);
    }
}

static void test_wait_ends_when_the_time_is_over_and_keeps_errno(void **state)
{
    (void)state;
    wr_store_relaxed(&word, 5);
    errno = ERRNO_UNUSED;
    wr_futex_wait(&word, 5, 1);
    wr_futex_wait(&word, 5, 20);
    assert_int_equal(errno, ERRNO_UNUSED);
    assert_int_equal(wr_load_relaxed(&word), 5);
}

static void test_wake_of_nobody_does_nothing(void **state)
{
    (void)state;
    errno = ERRNO_UNUSED;
    wr_futex_wake(&word);
    assert_int_equal(errno, ERRNO_UNUSED);
    /* It is not kept for a later wait. */
    wr_store_relaxed(&word, 5);
    calls = 0;
    wr_futex_wait(&word, 5, 1);
    assert_int_equal(calls, 1);
}

/* ---- threads that sleep ---- */

static _Atomic int sleepers[WAITERS];   /* thread ids, once they go to sleep */
static _Atomic uint32_t is_up[WAITERS]; /* 1: its wait has returned */
static _Atomic uint32_t awake;          /* waits that have returned */
static size_t plain;                    /* ordered by the word alone: ThreadSanitizer watches */

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

static void await_sleep(unsigned number)
{
    while (wr_load_acquire(&sleepers[number]) == 0 ||
           run_state_of(wr_load_acquire(&sleepers[number])) != 'S') {
        sched_yield();
    }
}

/* Waits once, and says so before, in syscall(), and after. */
static void *wait_once(void *argument)
{
    unsigned number = *(unsigned *)argument;
    announcements = &sleepers[number];
    errno = ERRNO_UNUSED;
    wr_futex_wait(&word, 5, WR_FUTEX_FOR_EVER);
    CHECK(errno == ERRNO_UNUSED);
    wr_store_release(&is_up[number], 1);
    (void)wr_fetch_add_seq_cst(&awake, 1);
    return NULL;
}

static void start_waiters(pthread_t *threads, unsigned count)
{
    static unsigned numbers[WAITERS];
    wr_store_relaxed(&word, 5);
    wr_store_relaxed(&awake, 0);
    for (unsigned i = 0; i < count; i++) {
        numbers[i] = i;
        wr_store_release(&sleepers[i], 0);
        wr_store_release(&is_up[i], 0);
        assert_int_equal(pthread_create(&threads[i], NULL, wait_once, &numbers[i]), 0);
    }
    for (unsigned i = 0; i < count; i++) {
        await_sleep(i);
    }
}

static void test_wait_sleeps_until_a_wake(void **state)
{
    (void)state;
    pthread_t thread;
    start_waiters(&thread, 1);
    wr_store_relaxed(&word, 6); /* a new value alone wakes nobody */
    assert_int_equal(run_state_of(wr_load_acquire(&sleepers[0])), 'S');
    assert_int_equal(wr_load_acquire(&awake), 0);
    wr_futex_wake(&word);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(wr_load_acquire(&awake), 1);
}

static void test_wake_wakes_one_thread_at_a_time(void **state)
{
    (void)state;
    pthread_t threads[WAITERS];
    start_waiters(threads, WAITERS);
    for (unsigned i = 0; i < WAITERS; i++) {
        assert_int_equal(wr_load_acquire(&awake), i);
        wr_futex_wake(&word);
        while (wr_load_acquire(&awake) == i) {
            sched_yield();
        }
        for (unsigned k = 0; k < WAITERS; k++) {
            assert_true(wr_load_acquire(&is_up[k]) != 0 ||
                        run_state_of(wr_load_acquire(&sleepers[k])) == 'S');
        }
    }
    for (unsigned i = 0; i < WAITERS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    assert_int_equal(wr_load_acquire(&awake), WAITERS);
}

static void ignore(int signal_number)
{
    (void)signal_number;
}

static void test_wait_ends_with_a_signal_and_keeps_errno(void **state)
{
    (void)state;
    struct sigaction action = {.sa_handler = ignore}; /* no SA_RESTART */
    struct sigaction before;
    pthread_t thread;
    assert_int_equal(sigaction(SIGUSR1, &action, &before), 0);
    start_waiters(&thread, 1);
    assert_int_equal(pthread_kill(thread, SIGUSR1), 0);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(wr_load_acquire(&awake), 1);
    assert_int_equal(sigaction(SIGUSR1, &before, NULL), 0);
}

/* Threads that pass a turn on, each asleep until the word is its number: no wake is lost between
 * the look at the word and the sleep. */
enum { PLAYERS = 2 };

static void take_turns(unsigned number, uint64_t *random)
{
    (void)random;
    for (unsigned turn = 0; turn < TURNS; turn++) {
        uint32_t seen;
        while ((seen = wr_load_acquire(&word)) != number) {
            wr_futex_wait(&word, seen, WR_FUTEX_FOR_EVER);
        }
        plain++;
        wr_store_release(&word, (number + 1) % PLAYERS);
        wr_futex_wake(&word);
    }
}

static void test_turns_of_threads_lose_no_wake(void **state)
{
    (void)state;
    plain = 0;
    wr_store_relaxed(&word, 0);
    crew_run(PLAYERS, 0, take_turns);
    assert_int_equal(plain, PLAYERS * (size_t)TURNS);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wait_asks_for_a_private_word_and_the_time_given),
        cmocka_unit_test(test_wake_asks_for_one_thread_of_a_private_word),
        cmocka_unit_test(test_wait_on_another_value_returns_at_once),
        cmocka_unit_test(test_wait_ends_when_the_time_is_over_and_keeps_errno),
        cmocka_unit_test(test_wake_of_nobody_does_nothing),
        cmocka_unit_test(test_wait_sleeps_until_a_wake),
        cmocka_unit_test(test_wake_wakes_one_thread_at_a_time),
        cmocka_unit_test(test_wait_ends_with_a_signal_and_keeps_errno),
        cmocka_unit_test(test_turns_of_threads_lose_no_wake),
    };
    return cmocka_run_group_tests_name("futex", tests, watch_for_deadlock, NULL);
}
