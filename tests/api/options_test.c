/* Options of the environment: a good value is taken silently, an unknown name or a bad value gives
 * one line each, and the program runs on. */
#include "support.h"

#include <string.h>

static void run_probe(char *const env[], struct outcome *outcome)
{
    char path[] = TEST_PROBE;
    char *const argv[] = {path, NULL};
    run_program(path, argv, env, outcome);
    assert_int_equal(outcome->signal, 0);
    assert_int_equal(outcome->exit_code, 0);
}

/* How many lines of `text` begin with `start`. */
static size_t count_lines_that_begin(const char *text, const char *start)
{
    size_t lines = 0;
    while (text != NULL && *text != '\0') {
        lines += strncmp(text, start, strlen(start)) == 0;
        text = strchr(text, '\n');
        text += text != NULL;
    }
    return lines;
}

static void test_options_none_is_silent(void **state)
{
    (void)state;
    struct outcome outcome;
    char other[] = "WEIRD=1";
    char *const env[] = {other, NULL};
    run_probe(env, &outcome);
    assert_string_equal(outcome.text, "");
}

static void test_options_unknown_name_gives_one_line(void **state)
{
    (void)state;
    struct outcome outcome;
    char unknown[] = "WEIR_FOO=1";
    char *const env[] = {unknown, NULL};
    run_probe(env, &outcome);
    assert_int_equal(count_lines(outcome.text), 1);
    assert_int_equal(count_lines_that_begin(outcome.text, "weir: WEIR_FOO: "), 1);
    assert_int_equal(outcome.text[outcome.bytes - 1], '\n');
}

static void test_options_bad_value_gives_one_line(void **state)
{
    (void)state;
    static char bad[][60] = {
        "WEIR_MMAP_THRESHOLD=banana",
        "WEIR_MMAP_THRESHOLD=",
        "WEIR_MMAP_THRESHOLD=-1",
        "WEIR_MMAP_THRESHOLD=1MB of it",
        "WEIR_MMAP_THRESHOLD=99999999999999999999999999",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        struct outcome outcome;
        char *const env[] = {bad[i], NULL};
        run_probe(env, &outcome);
        assert_int_equal(count_lines(outcome.text), 1);
        assert_int_equal(count_lines_that_begin(outcome.text, "weir: WEIR_MMAP_THRESHOLD: "), 1);
        assert_int_equal(outcome.text[outcome.bytes - 1], '\n');
    }
}

static void test_options_two_faults_give_a_line_each(void **state)
{
    (void)state;
    struct outcome outcome;
    char unknown[] = "WEIR_FOO=1";
    char good[] = "WEIR_MMAP_THRESHOLD=1M";
    char bad[] = "WEIR_MMAP_THRESHOLD=banana";
    char *const two[] = {unknown, bad, NULL};
    run_probe(two, &outcome);
    assert_int_equal(count_lines(outcome.text), 2);
    assert_int_equal(count_lines_that_begin(outcome.text, "weir: WEIR_FOO: "), 1);
    assert_int_equal(count_lines_that_begin(outcome.text, "weir: WEIR_MMAP_THRESHOLD: "), 1);
    char *const one[] = {good, unknown, NULL};
    run_probe(one, &outcome);
    assert_int_equal(count_lines(outcome.text), 1);
}

static void test_options_good_value_is_silent(void **state)
{
    (void)state;
    static char good[][40] = {
        "WEIR_MMAP_THRESHOLD=1M",
        "WEIR_MMAP_THRESHOLD=65536",
        "WEIR_MMAP_THRESHOLD=512K",
        "WEIR_MMAP_THRESHOLD=32M",
    };
    for (size_t i = 0; i < COUNT_OF(good); i++) {
        struct outcome outcome;
        char *const env[] = {good[i], NULL};
        run_probe(env, &outcome);
        assert_string_equal(outcome.text, "");
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_none_is_silent),
        cmocka_unit_test(test_options_unknown_name_gives_one_line),
        cmocka_unit_test(test_options_bad_value_gives_one_line),
        cmocka_unit_test(test_options_two_faults_give_a_line_each),
        cmocka_unit_test(test_options_good_value_is_silent),
    };
    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
