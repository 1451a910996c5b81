/* Stacks: equal ones are kept once, others apart, by many threads at once; frames are printed
 * innermost first; what cannot be unwound has its innermost frame. */
#include "diag/stack.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/config.h"
#include "base/options.h"
#include "crew.h"
#include "support.h"

#define NOINLINE __attribute__((noinline))

static NOINLINE wr_stack keep_here(void)
{
    return wr_stack_keep(__builtin_return_address(0));
}

/* Depth frames between the caller and keep_here(). */
static NOINLINE wr_stack keep_below(unsigned depth)
{
    wr_stack stack = depth == 0 ? keep_here() : keep_below(depth - 1);
    __asm__ volatile("" ::: "memory"); /* not a tail call */
    return stack;
}

static void test_stacks_of_one_place_are_one(void **state)
{
    (void)state;
    wr_stack_prepare();
    wr_stack first = WR_STACK_NONE;
    for (volatile unsigned i = 0; i < 3; i++) { /* not unrolled: one place */
        wr_stack stack = keep_below(4);
        assert_true(stack > WR_STACK_OWN);
        assert_true(i == 0 || stack == first);
        first = stack;
    }
}

static void test_stacks_of_other_places_are_others(void **state)
{
    (void)state;
    wr_stack_prepare();
    assert_int_not_equal(keep_below(3), keep_below(4));
}

static void test_address_that_is_no_caller_is_a_frame_of_its_own(void **state)
{
    (void)state;
    wr_stack one = wr_stack_keep((const void *)0x1001);
    wr_stack other = wr_stack_keep((const void *)0x1002);
    assert_true(one > WR_STACK_OWN && other > WR_STACK_OWN && one != other);
    assert_int_equal(wr_stack_keep((const void *)0x1001), one);
}

static void keep_many(unsigned number, uint64_t *random)
{
    (void)random;
    for (uintptr_t i = 1; i <= 2000; i++) {
        wr_stack stack = wr_stack_keep((const void *)(i << 8));
        CHECK(stack > WR_STACK_OWN);
        CHECK(wr_stack_keep((const void *)(i << 8 | (number + 1))) != stack);
        CHECK(wr_stack_keep((const void *)(i << 8)) != WR_STACK_NONE);
    }
}

static void test_stacks_kept_by_many_threads_are_whole(void **state)
{
    (void)state;
    crew_run(4, 0, keep_many);
    for (uintptr_t i = 1; i <= 2000; i++) {
        wr_stack stack = wr_stack_keep((const void *)(i << 8));
        assert_int_equal(stack, wr_stack_keep((const void *)(i << 8)));
    }
}

static void print_one(void *unused)
{
    (void)unused;
    wr_stack_prepare();
    wr_stack_print(NULL, "seen", keep_below(2));
    wr_stack_print(NULL, "seen", WR_STACK_NONE);
    wr_stack_print(NULL, "seen", WR_STACK_OWN);
}

static void test_frames_are_printed_with_their_place(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(print_one, NULL, &outcome);
    assert_int_equal(strncmp(outcome.text, "weir:   seen #0 0x", 18), 0);
    assert_non_null(strstr(outcome.text, "\nweir:   seen #1 0x"));
    assert_non_null(strstr(outcome.text, "stack_test+0x"));
    assert_true(count_lines(outcome.text) >= 3);
}

static void print_number(void *unused)
{
    (void)unused;
    wr_stack_print(NULL, "seen", wr_stack_keep((const void *)0x1001));
}

static void test_frame_in_no_file_is_a_number(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(print_number, NULL, &outcome);
    assert_string_equal(outcome.text, "weir:   seen #0 0x1000\n");
}

static void set_frames(const char *setting)
{
    char *const environment[] = {(char *)(uintptr_t)setting, NULL};
    wr_options_parse(environment);
}

static void print_two(void *unused)
{
    (void)unused;
    set_frames("WEIR_CHECK_STACKS=2");
    wr_stack_prepare();
    wr_stack_print(NULL, "seen", keep_below(5));
}

static void print_none(void *unused)
{
    (void)unused;
    set_frames("WEIR_CHECK_STACKS=0");
    wr_stack_prepare();
    CHECK(keep_below(5) == WR_STACK_NONE);
}

static void test_option_bounds_the_frames(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(print_two, NULL, &outcome);
    assert_int_equal(count_lines(outcome.text), 2);
    run_child(print_none, NULL, &outcome);
    assert_clean_exit(&outcome);
}

static void fill_table(void *unused)
{
    (void)unused;
    set_frames("WEIR_CHECK_STACKS=1"); /* nothing is unwound */
    wr_stack last = WR_STACK_OWN;
    for (uintptr_t i = 1; last != WR_STACK_NONE; i++) {
        CHECK(i < WR_STACK_TABLE_BYTES / 8);
        last = wr_stack_keep((const void *)(i << 4));
    }
    CHECK(wr_stack_keep((const void *)0x10) > WR_STACK_OWN); /* what is there is found */
}

static void test_full_table_keeps_no_more(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(fill_table, NULL, &outcome);
    assert_clean_exit(&outcome);
}

static void test_file_of_an_address(void **state)
{
    (void)state;
    static char data = 1;
    const char *file = NULL;
    assert_true(wr_stack_is_in_file(&data, &file));
    assert_non_null(strstr(file, "stack_test"));
    assert_false(wr_stack_is_in_file((const void *)0x1000, &file));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stacks_of_one_place_are_one),
        cmocka_unit_test(test_stacks_of_other_places_are_others),
        cmocka_unit_test(test_address_that_is_no_caller_is_a_frame_of_its_own),
        cmocka_unit_test(test_stacks_kept_by_many_threads_are_whole),
        cmocka_unit_test(test_frames_are_printed_with_their_place),
        cmocka_unit_test(test_frame_in_no_file_is_a_number),
        cmocka_unit_test(test_option_bounds_the_frames),
        cmocka_unit_test(test_full_table_keeps_no_more),
        cmocka_unit_test(test_file_of_an_address),
    };
    return cmocka_run_group_tests_name("stack", tests, NULL, NULL);
}
