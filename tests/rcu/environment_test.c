/* The variables of libweir-rcu: values, and the line for those that are none. */
#include "rcu/environment.h"

#include "flavored.h"

#include <unistd.h>

struct attempt {
    const char *text;
    size_t value; /* SIZE_MAX: refused */
};

static void parse(void *argument)
{
    const struct attempt *attempt = argument;
    size_t value = SIZE_MAX;
    CHECK(wr_rcu_environment_parse("WEIR_X", attempt->text, 10, 1 << 20, &value) ==
          (attempt->value != SIZE_MAX));
    CHECK(value == attempt->value);
}

static void test_numbers_are_read_with_their_units_and_bounds(void **state)
{
    (void)state;
    static struct attempt attempts[] = {
        {"10", 10},         {"1048576", 1 << 20}, {"1K", 1024},
        {"1M", 1 << 20},    {"9", SIZE_MAX},      {"1048577", SIZE_MAX},
        {"2M", SIZE_MAX},   {"1G", SIZE_MAX},     {"", SIZE_MAX},
        {"-10", SIZE_MAX},  {" 10", SIZE_MAX},    {"10x", SIZE_MAX},
        {"10KK", SIZE_MAX}, {"K", SIZE_MAX},      {"99999999999999999999999", SIZE_MAX},
    };
    for (unsigned i = 0; i < COUNT_OF(attempts); i++) {
        struct outcome outcome;
        run_child(parse, &attempts[i], &outcome);
        assert_int_equal(outcome.exit_code, 0);
        assert_string_equal(outcome.text,
                            attempts[i].value != SIZE_MAX
                                ? ""
                                : "weir-rcu: WEIR_X: not a number from 10 to 1048576, the default "
                                  "holds\n");
    }
}

/* This program once more, with an environment, as test_environment_sets_the_limit asks it to. */
static int print_limit(void)
{
    return stats_now().limit == 1024 * KIB ? 0 : 3;
}

static void test_environment_sets_the_limit(void **state)
{
    (void)state;
    char *const arguments[] = {"environment_test", "limit", NULL};
    char *const good[] = {"WEIR_RCU_LIMIT=1M", "WEIR_RCU_STALL=0", NULL};
    char *const bad[] = {"WEIR_RCU_LIMIT=1K", "WEIR_RCU_STALL=soon", NULL};
    struct outcome outcome;
    run_program("/proc/self/exe", arguments, good, &outcome);
    assert_clean_exit(&outcome);
    run_program("/proc/self/exe", arguments, bad, &outcome);
    assert_int_equal(outcome.exit_code, 3);
    assert_string_equal(
        outcome.text,
        "weir-rcu: WEIR_RCU_LIMIT: not a number from 65536 to 140737488355328, the default holds\n"
        "weir-rcu: WEIR_RCU_STALL: not a number from 0 to 4294967295, the default holds\n");
}

int main(int count, char **arguments)
{
    (void)arguments;
    if (count == 2) {
        return print_limit();
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_numbers_are_read_with_their_units_and_bounds),
        cmocka_unit_test(test_environment_sets_the_limit),
    };
    return cmocka_run_group_tests_name("environment", tests, NULL, NULL);
}
