/* libweir.so under programs that know nothing of it, by LD_PRELOAD. */
#include "support.h"

#include <stdio.h>

static void check_preload(char *const argv[])
{
    struct outcome outcome;
    char preload[4096];
    char locale[] = "LC_ALL=C";
    int length = snprintf(preload, sizeof preload, "LD_PRELOAD=%s", TEST_LIBRARY);
    assert_true(length > 0 && (size_t)length < sizeof preload);
    char *const env[] = {preload, locale, NULL};
    run_program(argv[0], argv, env, &outcome);
    assert_clean_exit(&outcome);
}

static void test_preload_true_runs_silently(void **state)
{
    (void)state;
    char program[] = "/bin/true";
    char *const argv[] = {program, NULL};
    check_preload(argv);
}

static void test_preload_ls_runs_silently(void **state)
{
    (void)state;
    char program[] = "/bin/ls";
    char option[] = "-lR";
    char folder[] = "/etc/default";
    char *const argv[] = {program, option, folder, NULL};
    check_preload(argv);
}

static void test_preload_shell_with_children_runs_silently(void **state)
{
    (void)state;
    char program[] = "/bin/sh";
    char option[] = "-c";
    char script[] = "for i in 1 2 3 4 5; do echo $i | /bin/cat | /usr/bin/sort >/dev/null; done";
    char *const argv[] = {program, option, script, NULL};
    check_preload(argv);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_preload_true_runs_silently),
        cmocka_unit_test(test_preload_ls_runs_silently),
        cmocka_unit_test(test_preload_shell_with_children_runs_silently),
    };
    return cmocka_run_group_tests_name("preload", tests, NULL, NULL);
}
