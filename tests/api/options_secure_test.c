/* Secure-execution mode ignores the environment: what options_test sees answered by a line is not
 * even read. */
#include "support.h"

static void test_options_secure_mode_ignores_all(void **state)
{
    (void)state;
    char path[] = TEST_PROBE;
    char unknown[] = "WEIR_FOO=1";
    char bad[] = "WEIR_MMAP_THRESHOLD=banana";
    char summary[] = "WEIR_SUMMARY=1";
    char *const argv[] = {path, NULL};
    char *const env[] = {unknown, bad, summary, NULL};
    struct outcome outcome;
    run_program(path, argv, env, &outcome);
    assert_clean_exit(&outcome);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_secure_mode_ignores_all),
    };
    return cmocka_run_group_tests_name("options_secure", tests, NULL, NULL);
}
