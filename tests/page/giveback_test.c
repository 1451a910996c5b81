/* Requests at the hard limit while another thread is giving memory back: they wait for it, not for
 * ever, and not for what would be refused anyway.
 *
 * This program's own syscall and madvise stand between weir and libc's, so that a case can act in
 * the middle of a sleep, and hold a purge up until there is one: no case goes by time. */
#include "own_syscall.h"
#include "page_support.h"

#include <errno.h>
#include <linux/futex.h>
#include <semaphore.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "page/commit.h"
#include "page/extent.h"
#include "page/giveback.h"
#include "page/purge.h"

#define WAITS_MOST 100u /* page/extent.c */

/* Sleeps of the thread that has set them up, and what it does in each. */
static _Thread_local unsigned sleeps;
static _Thread_local void (*in_sleep)(void);

static long own_syscall(long number, const long *a)
{
    if (number == SYS_futex && in_sleep != NULL && (a[1] & FUTEX_CMD_MASK) == FUTEX_WAIT) {
        const struct timespec *time = (const struct timespec *)a[3];
        CHECK(time != NULL && time->tv_sec == 0 && time->tv_nsec == 1000000);
        sleeps++;
        in_sleep();
        errno = ETIMEDOUT;
        return -1;
    }
    return pass_syscall_on(number, a);
}

/* A purge that is held up in the kernel. */
static _Thread_local bool is_held_up;
static sem_t is_inside;
static sem_t may_leave;

int madvise(void *start, size_t bytes, int advice)
{
    if (is_held_up && advice == MADV_DONTNEED) {
        is_held_up = false;
        CHECK(sem_post(&is_inside) == 0 && sem_wait(&may_leave) == 0);
    }
    return (int)libc_syscall(SYS_madvise, start, bytes, advice);
}

static int begin(void **state)
{
    (void)state;
    sleeps = 0;
    in_sleep = NULL;
    errno = ERRNO_UNUSED;
    return 0;
}

static int no_limit(void **state)
{
    (void)state;
    wr_commit_set_limits(WR_COMMIT_UNLIMITED, WR_COMMIT_UNLIMITED);
    (void)wr_purge_slices(0);
    return wr_commit_bytes() == 0 ? 0 : -1;
}

static void sleep_on(void)
{
}

static void refund_at_the_third(void)
{
    if (sleeps == 3) {
        wr_commit_refund(10 * KIB);
        wr_giveback_end();
    }
}

static void test_charge_waits_for_what_is_on_its_way_back(void **state)
{
    (void)state;
    wr_commit_set_limits(WR_COMMIT_UNLIMITED, 10 * KIB);
    assert_true(wr_commit_charge(10 * KIB));
    wr_giveback_begin();
    in_sleep = refund_at_the_third;
    assert_true(wr_extent_charge(4 * KIB));
    assert_int_equal(sleeps, 3);
    assert_int_equal(errno, ERRNO_UNUSED);
    assert_int_equal(wr_commit_bytes(), 4 * KIB);
    wr_commit_refund(4 * KIB);
}

static void test_refusal_without_anything_on_its_way_does_not_sleep(void **state)
{
    (void)state;
    wr_commit_set_limits(WR_COMMIT_UNLIMITED, 10 * KIB);
    assert_true(wr_commit_charge(10 * KIB));
    in_sleep = sleep_on;
    assert_false(wr_giveback_await());
    assert_false(wr_extent_charge(1));
    bool zero;
    assert_int_equal(wr_extent_claim(1, &zero), 0);
    assert_int_equal(sleeps, 0);
    wr_commit_refund(10 * KIB);
}

static void test_request_above_the_limit_itself_does_not_wait(void **state)
{
    (void)state;
    wr_commit_set_limits(WR_COMMIT_UNLIMITED, WR_SLICE_BYTES);
    wr_giveback_begin();
    in_sleep = sleep_on;
    bool zero;
    assert_false(wr_extent_charge(WR_SLICE_BYTES + 1));
    assert_int_equal(wr_extent_claim(2, &zero), 0);
    assert_int_equal(sleeps, 0);
    wr_giveback_end();
}

static void test_patience_ends(void **state)
{
    (void)state;
    wr_commit_set_limits(WR_COMMIT_UNLIMITED, WR_SLICE_BYTES);
    assert_true(wr_commit_charge(WR_SLICE_BYTES));
    wr_giveback_begin();
    in_sleep = sleep_on;
    assert_false(wr_extent_charge(1));
    assert_int_equal(sleeps, WAITS_MOST);
    bool zero;
    assert_int_equal(wr_extent_claim(1, &zero), 0);
    assert_int_equal(sleeps, 2 * WAITS_MOST);
    wr_giveback_end();
    wr_commit_refund(WR_SLICE_BYTES);
}

static void test_returns_nest_and_are_forgotten_by_a_child(void **state)
{
    (void)state;
    in_sleep = sleep_on;
    wr_giveback_begin();
    wr_giveback_begin();
    wr_giveback_end();
    assert_true(wr_giveback_await());
    wr_giveback_recover(); /* as the child of a fork does */
    assert_false(wr_giveback_await());
    wr_giveback_end(); /* of the thread that forked, from a signal's handler */
    assert_false(wr_giveback_await());
    wr_giveback_begin();
    assert_true(wr_giveback_await());
    wr_giveback_end();
    assert_false(wr_giveback_await());
}

/* ---- a purge that is held up ---- */

static void *purge_held_up(void *unused)
{
    (void)unused;
    is_held_up = true;
    (void)wr_purge_slices(0);
    return NULL;
}

static pthread_t purger;

static void let_purge_end(void)
{
    if (sleeps == 2) {
        CHECK(sem_post(&may_leave) == 0 && pthread_join(purger, NULL) == 0);
    }
}

/* All that the limit allows is dirty and in the hands of a thread that purges it. */
static void hold_all_up(size_t slices)
{
    bool zero;
    uintptr_t start = wr_extent_claim(slices, &zero);
    assert_int_not_equal(start, 0);
    wr_slice_release(start, slices);
    wr_commit_set_limits(WR_COMMIT_UNLIMITED, slices * WR_SLICE_BYTES);
    assert_int_equal(pthread_create(&purger, NULL, purge_held_up, NULL), 0);
    assert_int_equal(sem_wait(&is_inside), 0);
    in_sleep = let_purge_end;
}

static void test_claim_waits_for_a_purge(void **state)
{
    (void)state;
    hold_all_up(8);
    bool zero;
    uintptr_t start = wr_extent_claim(8, &zero);
    assert_int_not_equal(start, 0);
    assert_int_equal(sleeps, 2);
    assert_int_equal(errno, ERRNO_UNUSED);
    wr_slice_release(start, 8);
}

static void test_charge_waits_for_a_purge(void **state)
{
    (void)state;
    hold_all_up(8);
    assert_true(wr_extent_charge(8 * WR_SLICE_BYTES));
    assert_int_equal(sleeps, 2);
    wr_commit_refund(8 * WR_SLICE_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_charge_waits_for_what_is_on_its_way_back, begin,
                                        no_limit),
        cmocka_unit_test_setup_teardown(test_refusal_without_anything_on_its_way_does_not_sleep,
                                        begin, no_limit),
        cmocka_unit_test_setup_teardown(test_request_above_the_limit_itself_does_not_wait, begin,
                                        no_limit),
        cmocka_unit_test_setup_teardown(test_patience_ends, begin, no_limit),
        cmocka_unit_test_setup_teardown(test_returns_nest_and_are_forgotten_by_a_child, begin,
                                        no_limit),
        cmocka_unit_test_setup_teardown(test_claim_waits_for_a_purge, begin, no_limit),
        cmocka_unit_test_setup_teardown(test_charge_waits_for_a_purge, begin, no_limit),
    };
    CHECK(sem_init(&is_inside, 0, 0) == 0 && sem_init(&may_leave, 0, 0) == 0);
    return cmocka_run_group_tests_name("giveback", tests, NULL, NULL);
}
