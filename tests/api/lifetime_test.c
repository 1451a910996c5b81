/* The family works from the first instruction of a process to its last: preinit_array, early
 * constructors, atexit and on_exit handlers, destructors. */
#include "support.h"

#include <stdlib.h>
#include <unistd.h>

#include "exercise.h"
#include "family.h"

static char *from_preinit;
static char *from_constructor;
static bool is_leaving; /* set in the child that calls exit() */

/* preinit_array runs before the constructors of any shared library, weir's included. */
static void allocate_in_preinit(void)
{
    from_preinit = t_malloc(100);
    CHECK(from_preinit != NULL);
    pattern_fill(from_preinit, 100, 1);
    family_exercise(1);
}

__attribute__((section(".preinit_array"),
               used)) static void (*const preinit)(void) = allocate_in_preinit;

__attribute__((constructor(101))) static void allocate_in_constructor(void)
{
    from_constructor = t_calloc(10, 10);
    CHECK(from_constructor != NULL);
    CHECK(all_zero(from_constructor, 100));
    pattern_fill(from_constructor, 100, 2);
    family_exercise(2);
}

static void say(char letter)
{
    CHECK(write(STDERR_FILENO, &letter, 1) == 1);
}

/* Priority 101 is destroyed last. */
__attribute__((destructor(101))) static void use_in_destructor(void)
{
    if (is_leaving) {
        family_exercise(3);
        t_free(from_preinit);
        say('d');
    }
}

static void use_in_atexit(void)
{
    family_exercise(4);
    t_free(from_constructor);
    say('a');
}

static void use_in_on_exit(int code, void *block)
{
    CHECK(code == 0);
    CHECK(pattern_holds(block, 300000, 5));
    t_free(block);
    family_exercise(5);
    say('o');
}

static void leave_by_exit(void *unused)
{
    (void)unused;
    is_leaving = true;
    void *block = t_malloc(300000);
    CHECK(block != NULL);
    pattern_fill(block, 300000, 5);
    CHECK(atexit(use_in_atexit) == 0);
    CHECK(on_exit(use_in_on_exit, block) == 0);
    exit(0);
}

static void test_preinit_blocks_are_live_in_main(void **state)
{
    (void)state;
    assert_true(pattern_holds(from_preinit, 100, 1));
    assert_int_equal(weir_owns(from_preinit), 1);
    from_preinit = t_realloc(from_preinit, 50000);
    assert_non_null(from_preinit);
    assert_true(pattern_holds(from_preinit, 100, 1));
}

static void test_constructor_blocks_are_live_in_main(void **state)
{
    (void)state;
    assert_true(pattern_holds(from_constructor, 100, 2));
    assert_int_equal(weir_owns(from_constructor), 1);
}

static void test_exit_handlers_and_destructors_may_allocate_and_free(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(leave_by_exit, NULL, &outcome);
    assert_string_equal(outcome.text, "oad");
    assert_int_equal(outcome.signal, 0);
    assert_int_equal(outcome.exit_code, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_preinit_blocks_are_live_in_main),
        cmocka_unit_test(test_constructor_blocks_are_live_in_main),
        cmocka_unit_test(test_exit_handlers_and_destructors_may_allocate_and_free),
    };
    return cmocka_run_group_tests_name("lifetime", tests, NULL, NULL);
}
