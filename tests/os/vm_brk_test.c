/* os/vm_brk: whole slices of new zero memory, whatever other users of sbrk do meanwhile.
 *
 * This program's sbrk stands before libc's and calls it: a case may move the break in the moment
 * between the look at it and the move, or have a call refused.
 */
#include "support.h"

#include <dlfcn.h>
#include <errno.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/config.h"
#include "os/vm.h"

#define OWN_BYTES 1000

typedef void *sbrk_function(intptr_t increment);

static int calls_before_refusal = -1; /* -1: none is refused */
static intptr_t interloper_bytes;     /* moved by another user right after sbrk(0), once */

static sbrk_function *libc_sbrk(void)
{
    static sbrk_function *found;
    if (found == NULL) {
        void *symbol = dlsym(RTLD_NEXT, "sbrk");
        CHECK(symbol != NULL);
        memcpy(&found, &symbol, sizeof found);
    }
    return found;
}

void *sbrk(intptr_t increment)
{
    if (calls_before_refusal == 0) {
        errno = ENOMEM;
        return (void *)-1;
    }
    calls_before_refusal -= calls_before_refusal > 0;
    void *before = libc_sbrk()(increment);
    if (increment == 0 && interloper_bytes != 0) {
        CHECK(libc_sbrk()(interloper_bytes) != (void *)-1);
        interloper_bytes = 0;
    }
    return before;
}

static uintptr_t break_now(void)
{
    return (uintptr_t)libc_sbrk()(0);
}

static size_t bytes_of(wr_vm_range range)
{
    return range.end - range.start;
}

/* Extends and checks what holds of every range; errno is kept. */
static wr_vm_range extend(size_t bytes)
{
    errno = ERRNO_UNUSED;
    wr_vm_range range = wr_vm_brk_extend(bytes);
    assert_int_equal(errno, ERRNO_UNUSED);
    assert_true(range.start <= range.end);
    if (range.start != range.end) {
        assert_int_equal(range.start % WR_SLICE_BYTES, 0);
        assert_int_equal(range.end % WR_SLICE_BYTES, 0);
        assert_true(range.end <= break_now());
        assert_true(all_zero((void *)range.start, bytes_of(range)));
        pattern_fill((void *)range.start, bytes_of(range), range.start);
    }
    return range;
}

static void test_extend_gives_zero_slices_at_the_end_of_the_segment(void **state)
{
    (void)state;
    static const size_t slices[] = {1, 2, 16, 64};
    for (size_t i = 0; i < COUNT_OF(slices); i++) {
        uintptr_t before = break_now();
        wr_vm_range range = extend(slices[i] * WR_SLICE_BYTES);
        assert_true(range.start >= before);
        assert_int_equal(bytes_of(range), slices[i] * WR_SLICE_BYTES);
    }
}

static void test_extend_twice_gives_neighbours(void **state)
{
    (void)state;
    wr_vm_range first = extend(2 * WR_SLICE_BYTES);
    wr_vm_range second = extend(WR_SLICE_BYTES);
    assert_int_equal(second.start, first.end);
    assert_true(pattern_holds((void *)first.start, bytes_of(first), first.start));
}

static void test_extend_after_another_user_leaves_his_memory_alone(void **state)
{
    (void)state;
    static const intptr_t own_bytes[] = {1, 16, OWN_BYTES, 4096, 65535, 65536, 65537, 200000};
    void *own[COUNT_OF(own_bytes)];
    wr_vm_range ranges[COUNT_OF(own_bytes)];
    for (size_t i = 0; i < COUNT_OF(own_bytes); i++) {
        own[i] = libc_sbrk()(own_bytes[i]);
        assert_ptr_not_equal(own[i], (void *)-1);
        assert_true(all_zero(own[i], (size_t)own_bytes[i]));
        pattern_fill(own[i], (size_t)own_bytes[i], i);
        ranges[i] = extend(2 * WR_SLICE_BYTES);
        assert_int_equal(bytes_of(ranges[i]), 2 * WR_SLICE_BYTES);
        assert_true(ranges[i].start >= (uintptr_t)own[i] + (uintptr_t)own_bytes[i]);
    }
    for (size_t i = 0; i < COUNT_OF(own_bytes); i++) {
        assert_true(pattern_holds(own[i], (size_t)own_bytes[i], i));
        assert_true(pattern_holds((void *)ranges[i].start, bytes_of(ranges[i]), ranges[i].start));
    }
}

static void test_extend_over_memory_another_user_gave_back_is_zero(void **state)
{
    (void)state;
    enum { GIVEN_BACK = 5 * 65536 + 123 };
    void *own = libc_sbrk()(GIVEN_BACK);
    assert_ptr_not_equal(own, (void *)-1);
    memset(own, 0xff, GIVEN_BACK);
    assert_ptr_not_equal(libc_sbrk()(-GIVEN_BACK), (void *)-1);
    wr_vm_range range = extend(8 * WR_SLICE_BYTES);
    assert_int_equal(bytes_of(range), 8 * WR_SLICE_BYTES);
    assert_true(range.start < (uintptr_t)own + GIVEN_BACK);
}

static void test_extend_while_the_break_rises_gives_a_shorter_range(void **state)
{
    (void)state;
    (void)extend(WR_SLICE_BYTES); /* from here on the break is a slice boundary */
    uintptr_t before = break_now();
    interloper_bytes = OWN_BYTES;
    wr_vm_range range = extend(4 * WR_SLICE_BYTES);
    assert_true(all_zero((void *)before, OWN_BYTES)); /* his, and untouched */
    assert_int_equal(range.start, before + WR_SLICE_BYTES);
    assert_int_equal(bytes_of(range), 3 * WR_SLICE_BYTES);
}

static void test_extend_of_a_slice_while_the_break_rises_gives_nothing(void **state)
{
    (void)state;
    (void)extend(WR_SLICE_BYTES);
    uintptr_t before = break_now();
    interloper_bytes = OWN_BYTES;
    wr_vm_range range = extend(WR_SLICE_BYTES);
    assert_int_equal(bytes_of(range), 0);
    assert_int_equal(break_now(), before + OWN_BYTES + WR_SLICE_BYTES);
    range = extend(WR_SLICE_BYTES); /* the next call goes on behind it */
    assert_int_equal(bytes_of(range), WR_SLICE_BYTES);
}

static void test_extend_while_the_break_rises_by_slices_gives_all(void **state)
{
    (void)state;
    (void)extend(WR_SLICE_BYTES);
    uintptr_t before = break_now();
    interloper_bytes = 3 * (intptr_t)WR_SLICE_BYTES;
    wr_vm_range range = extend(2 * WR_SLICE_BYTES);
    assert_int_equal(range.start, before + 3 * WR_SLICE_BYTES);
    assert_int_equal(bytes_of(range), 2 * WR_SLICE_BYTES);
    assert_true(all_zero((void *)before, 3 * WR_SLICE_BYTES));
}

static void test_extend_while_the_break_falls_gives_new_memory(void **state)
{
    (void)state;
    (void)extend(WR_SLICE_BYTES);
    char *own = libc_sbrk()(2 * (intptr_t)WR_SLICE_BYTES + OWN_BYTES);
    assert_ptr_not_equal(own, (void *)-1);
    memset(own, 0xff, 2 * WR_SLICE_BYTES + OWN_BYTES);
    interloper_bytes = -2 * (intptr_t)WR_SLICE_BYTES;
    wr_vm_range range = extend(4 * WR_SLICE_BYTES);
    assert_true(range.start >= (uintptr_t)own + OWN_BYTES); /* what he kept */
    assert_true(bytes_of(range) >= 3 * WR_SLICE_BYTES);
}

/* An extension that cannot be: nothing is given, moved or counted. */
static void check_refused(size_t bytes)
{
    uintptr_t before = break_now();
    size_t mapped_bytes = wr_vm_mapped_bytes();
    wr_vm_range range = extend(bytes);
    assert_int_equal(bytes_of(range), 0);
    assert_int_equal(break_now(), before);
    assert_int_equal(wr_vm_mapped_bytes(), mapped_bytes);
}

static void test_extend_refused_at_the_look_changes_nothing(void **state)
{
    (void)state;
    calls_before_refusal = 0;
    check_refused(WR_SLICE_BYTES);
    calls_before_refusal = -1;
}

static void test_extend_refused_at_the_move_changes_nothing(void **state)
{
    (void)state;
    calls_before_refusal = 1;
    check_refused(WR_SLICE_BYTES);
    calls_before_refusal = -1;
    assert_int_equal(bytes_of(extend(WR_SLICE_BYTES)), WR_SLICE_BYTES);
}

static void test_extend_beyond_the_addresses_changes_nothing(void **state)
{
    (void)state;
    static const size_t bytes[] = {NEVER_THERE, (size_t)PTRDIFF_MAX, TOO_LARGE, SIZE_MAX};
    assert_ptr_not_equal(libc_sbrk()(OWN_BYTES), (void *)-1); /* a gap adds to the sizes */
    for (size_t i = 0; i < COUNT_OF(bytes); i++) {
        check_refused(bytes[i] & ~(WR_SLICE_BYTES - 1));
    }
}

/* The limit holds for the one call alone: a sanitizer maps memory of its own. */
static void extend_beyond_data_limit(void *unused)
{
    (void)unused;
    struct rlimit old;
    CHECK(getrlimit(RLIMIT_DATA, &old) == 0);
    struct rlimit low = {4096, old.rlim_max};
    uintptr_t before = break_now();
    CHECK(setrlimit(RLIMIT_DATA, &low) == 0);
    errno = ERRNO_UNUSED;
    wr_vm_range range = wr_vm_brk_extend(WR_SLICE_BYTES);
    int seen = errno;
    uintptr_t after = break_now();
    CHECK(setrlimit(RLIMIT_DATA, &old) == 0);
    CHECK(seen == ERRNO_UNUSED);
    CHECK(range.start == range.end);
    CHECK(after == before);
    range = wr_vm_brk_extend(WR_SLICE_BYTES);
    CHECK(range.end - range.start == WR_SLICE_BYTES);
}

static void test_extend_beyond_the_data_limit_gives_nothing_until_it_is_raised(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(extend_beyond_data_limit, NULL, &outcome);
    assert_clean_exit(&outcome);
}

static void test_extend_counts_what_the_break_moved(void **state)
{
    (void)state;
    assert_ptr_not_equal(libc_sbrk()(OWN_BYTES), (void *)-1);
    uintptr_t before = break_now();
    size_t mapped_bytes = wr_vm_mapped_bytes();
    (void)extend(3 * WR_SLICE_BYTES);
    assert_int_equal(wr_vm_mapped_bytes() - mapped_bytes, break_now() - before);
    assert_true(wr_vm_mapped_peak_bytes() >= wr_vm_mapped_bytes());
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_extend_gives_zero_slices_at_the_end_of_the_segment),
        cmocka_unit_test(test_extend_twice_gives_neighbours),
        cmocka_unit_test(test_extend_after_another_user_leaves_his_memory_alone),
        cmocka_unit_test(test_extend_over_memory_another_user_gave_back_is_zero),
        cmocka_unit_test(test_extend_while_the_break_rises_gives_a_shorter_range),
        cmocka_unit_test(test_extend_of_a_slice_while_the_break_rises_gives_nothing),
        cmocka_unit_test(test_extend_while_the_break_rises_by_slices_gives_all),
        cmocka_unit_test(test_extend_while_the_break_falls_gives_new_memory),
        cmocka_unit_test(test_extend_refused_at_the_look_changes_nothing),
        cmocka_unit_test(test_extend_refused_at_the_move_changes_nothing),
        cmocka_unit_test(test_extend_beyond_the_addresses_changes_nothing),
        cmocka_unit_test(test_extend_beyond_the_data_limit_gives_nothing_until_it_is_raised),
        cmocka_unit_test(test_extend_counts_what_the_break_moved),
    };
    return cmocka_run_group_tests_name("vm_brk", tests, NULL, NULL);
}
