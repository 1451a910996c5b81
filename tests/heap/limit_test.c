/* Limits: setting them, the callback's descriptors, and the answer to an alarm. What the public
 * calls do with them is tested by tests/api/limit_test.c.
 */
#include "heap/limit.h"

#include <errno.h>

#include "crew.h"
#include "heap/mapping.h"
#include "page/extent.h"
#include "page/slice.h"
#include "scarce.h"
#include "support.h"

#define THREADS 4
#define ROUNDS  TEST_SCALE(20000, 2000)

static struct {
    unsigned calls;
    size_t committed;
    void *argument;
} seen;

static void note(size_t committed, void *argument)
{
    seen.calls++;
    seen.committed = committed;
    seen.argument = argument;
    errno = EBADF;
}

static int reset(void **state)
{
    (void)state;
    seen.calls = 0;
    return wr_limit_callback_set(NULL, NULL) && wr_limit_set(0, 0) ? 0 : -1;
}

static void test_limits_of_0_are_none(void **state)
{
    (void)state;
    size_t soft;
    size_t hard;
    wr_limit_get(&soft, &hard);
    assert_int_equal(soft, 0);
    assert_int_equal(hard, 0);
    assert_int_equal(wr_commit_soft_limit(), WR_COMMIT_UNLIMITED);
    assert_int_equal(wr_commit_hard_limit(), WR_COMMIT_UNLIMITED);
}

static void test_limits_are_set_together_or_not_at_all(void **state)
{
    (void)state;
    size_t soft;
    size_t hard;
    assert_true(wr_limit_set(1 * MIB, 1 * MIB));
    assert_false(wr_limit_set(1 * MIB + 1, 1 * MIB));
    wr_limit_get(&soft, &hard);
    assert_int_equal(soft, 1 * MIB);
    assert_int_equal(hard, 1 * MIB);
    assert_true(wr_limit_set(2 * MIB, 0));
    assert_true(wr_limit_set(0, 1 * MIB));
}

static void test_answer_without_an_alarm_does_nothing(void **state)
{
    (void)state;
    assert_true(wr_limit_callback_set(note, NULL));
    wr_limit_answer();
    wr_limit_answer_slow();
    assert_int_equal(seen.calls, 0);
}

static void test_answer_calls_back_with_what_is_committed_and_keeps_errno(void **state)
{
    (void)state;
    size_t soft = wr_commit_bytes() + 1 * MIB;
    assert_true(wr_limit_callback_set(note, &seen));
    assert_true(wr_limit_set(soft, 0));
    assert_true(wr_commit_charge(1 * MIB + 1));
    errno = ERRNO_UNUSED;
    wr_limit_answer();
    assert_int_equal(errno, ERRNO_UNUSED);
    assert_int_equal(seen.calls, 1);
    assert_int_equal(seen.committed, soft + 1);
    assert_ptr_equal(seen.argument, &seen);
    wr_limit_answer();
    assert_int_equal(seen.calls, 1);
    wr_commit_refund(1 * MIB + 1);
    assert_true(wr_commit_charge(1 * MIB + 1));
    wr_limit_answer();
    assert_int_equal(seen.calls, 2);
    wr_commit_refund(1 * MIB + 1);
}

static void test_answer_with_memory_to_give_back_does_not_call(void **state)
{
    (void)state;
    bool zero;
    uintptr_t start = wr_extent_claim(8, &zero);
    assert_int_not_equal(start, 0);
    size_t soft = wr_commit_bytes();
    wr_slice_release(start, 8);
    assert_true(wr_limit_callback_set(note, NULL));
    assert_true(wr_limit_set(soft, 0));
    assert_true(wr_commit_charge(2 * WR_SLICE_BYTES));
    wr_limit_answer();
    assert_int_equal(seen.calls, 0);
    assert_int_equal(wr_slice_dirty_count(), 0);
    wr_commit_refund(2 * WR_SLICE_BYTES);
}

static void test_callback_without_memory_for_its_descriptor_is_refused(void **state)
{
    (void)state;
    int other;
    assert_true(wr_limit_callback_set(note, &seen));
    scarce_kernel_refuses(true);
    scarce_use_up_meta();
    assert_false(wr_limit_callback_set(note, &other));
    assert_true(wr_limit_callback_set(NULL, NULL));
    assert_true(wr_limit_callback_set(note, &seen)); /* made before */
    scarce_kernel_refuses(false);
}

/* A function knows its argument: a mixed pair would be seen. */
static int first_argument;
static int second_argument;

static void first(size_t committed, void *argument)
{
    (void)committed;
    CHECK(argument == &first_argument);
}

static void second(size_t committed, void *argument)
{
    (void)committed;
    CHECK(argument == &second_argument);
}

static void set_and_answer(unsigned number, uint64_t *random)
{
    (void)number;
    for (unsigned round = 0; round < ROUNDS; round++) {
        bool one = random_next(random) % 2 == 0;
        CHECK(
            wr_limit_callback_set(one ? first : second, one ? &first_argument : &second_argument));
        CHECK(wr_commit_charge(2 * MIB));
        wr_limit_answer();
        wr_commit_refund(2 * MIB);
    }
    wr_limit_answer();
}

static void test_callback_under_threads_gets_its_own_argument(void **state)
{
    (void)state;
    assert_true(wr_limit_set(wr_commit_bytes() + 1 * MIB, 0));
    crew_run(THREADS, test_seed(), set_and_answer);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(test_limits_of_0_are_none, reset),
        cmocka_unit_test_setup(test_limits_are_set_together_or_not_at_all, reset),
        cmocka_unit_test_setup(test_answer_without_an_alarm_does_nothing, reset),
        cmocka_unit_test_setup(test_answer_calls_back_with_what_is_committed_and_keeps_errno,
                               reset),
        cmocka_unit_test_setup(test_answer_with_memory_to_give_back_does_not_call, reset),
        cmocka_unit_test_setup(test_callback_without_memory_for_its_descriptor_is_refused, reset),
        cmocka_unit_test_setup(test_callback_under_threads_gets_its_own_argument, reset),
    };
    return cmocka_run_group_tests_name("limit", tests, NULL, NULL);
}
