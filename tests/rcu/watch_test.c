/* A reader that does not leave its section: one line, once a grace period. */
#include "rcu/watch.h"

#include "flavored.h"

#include <stdio.h>
#include <string.h>

/* Two grace periods that last until they are reported, or for some time if they must not be. */
static void stall(void *milliseconds)
{
    bool is_reported = *(unsigned *)milliseconds == 100;
    weir_rcu_stall_set(*(unsigned *)milliseconds);
    for (unsigned round = 0; round < 2; round++) {
        struct reader reader;
        reader_start(&reader);
        weir_free_rcu(filled(100, round));
        weir_rcu_thread_flush();
        for (unsigned i = 0; i < (is_reported ? 20000 : 300); i++) {
            if (stats_now().stalls > round) {
                break;
            }
            sleep_ms(1);
        }
        sleep_ms(is_reported ? 300 : 0); /* once a grace period, however long it lasts */
        reader_end(&reader);
        CHECK(weir_rcu_barrier() == 0);
    }
    CHECK(stats_now().stalls == (is_reported ? 2 : 0));
}

static void test_stalled_grace_period_gives_one_line(void **state)
{
    (void)state;
    unsigned milliseconds = 100;
    struct outcome outcome;
    run_child(stall, &milliseconds, &outcome);
    assert_int_equal(outcome.exit_code, 0);
    assert_int_equal(count_lines(outcome.text), 2);
    for (char *line = strtok(outcome.text, "\n"); line != NULL; line = strtok(NULL, "\n")) {
        unsigned seconds;
        unsigned tenths;
        assert_int_equal(sscanf(line, "weir-rcu: no grace period for %u.%u s: ", &seconds, &tenths),
                         2);
        assert_in_range(10 * seconds + tenths, 1, 199);
        assert_non_null(
            strstr(line, " s: a reader has not left its read-side section; 1 objects, "));
        assert_string_equal(strstr(line, " bytes wait"), " bytes wait");
    }
}

static void test_no_line_before_the_time_and_none_when_switched_off(void **state)
{
    (void)state;
    static unsigned times[] = {0, 600000};
    for (unsigned i = 0; i < COUNT_OF(times); i++) {
        struct outcome outcome;
        run_child(stall, &times[i], &outcome);
        assert_clean_exit(&outcome);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stalled_grace_period_gives_one_line),
        cmocka_unit_test(test_no_line_before_the_time_and_none_when_switched_off),
    };
    return cmocka_run_group_tests_name("watch", tests, NULL, NULL);
}
