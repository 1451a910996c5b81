/* Findings: the line, the stacks behind it, and what the action makes of them. */
#include "diag/finding.h"

#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>

#include "support.h"

static void find(void *action)
{
    wr_finding_set_action((unsigned)(uintptr_t)action);
    wr_line line;
    wr_finding_begin(&line, "free", true, "double free", 0x1230);
    wr_line_text(&line, ", more");
    wr_stack stack = wr_stack_keep((const void *)0x1001);
    wr_finding_end(&line, stack, stack, WR_STACK_NONE);
}

static void expect(unsigned action, const char *text, int signal)
{
    struct outcome outcome;
    run_child(find, (void *)(uintptr_t)action, &outcome);
    assert_string_equal(outcome.text, text);
    assert_int_equal(outcome.signal, signal);
}

#define LINE   "weir: free(): double free: 0x1230, more\n"
#define STACKS "weir:   called by #0 0x1000\nweir:   allocated by #0 0x1000\n"

static void test_action_says_what_is_printed_and_whether_the_process_ends(void **state)
{
    (void)state;
    expect(0, "", 0);
    expect(WR_ACTION_REPORT, LINE STACKS, 0);
    expect(WR_ACTION_ABORT, "", SIGABRT);
    expect(WR_ACTION_REPORT | WR_ACTION_ABORT, LINE STACKS, SIGABRT);
    expect(WR_ACTION_REPORT | WR_ACTION_LINE, LINE, 0);
    expect(WR_ACTION_REPORT | WR_ACTION_ABORT | WR_ACTION_LINE, LINE, SIGABRT);
}

/* Fewer threads than there are pages. */
enum { FINDERS = 3, FINDINGS = 20 };

static void *find_often(void *number)
{
    uintptr_t address = (uintptr_t)number << 12;
    wr_stack stack = wr_stack_keep((const void *)(address + 1));
    for (unsigned i = 0; i < FINDINGS; i++) {
        wr_line line;
        wr_finding_begin(&line, "free", true, "double free", address);
        wr_finding_end(&line, stack, stack, WR_STACK_NONE);
    }
    return NULL;
}

static void find_in_threads(void *unused)
{
    (void)unused;
    wr_finding_set_action(WR_ACTION_REPORT);
    pthread_t threads[FINDERS];
    for (uintptr_t i = 0; i < FINDERS; i++) {
        CHECK(pthread_create(&threads[i], NULL, find_often, (void *)(i + 1)) == 0);
    }
    for (unsigned i = 0; i < FINDERS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

static void test_findings_of_threads_are_each_one_text(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(find_in_threads, NULL, &outcome);
    const char *at = outcome.text;
    for (unsigned i = 0; i < FINDERS * FINDINGS; i++) {
        unsigned number = (unsigned)(at[strlen("weir: free(): double free: 0x")] - '0');
        char expected[200];
        (void)snprintf(expected, sizeof expected,
                       "weir: free(): double free: 0x%x000\n"
                       "weir:   called by #0 0x%x000\nweir:   allocated by #0 0x%x000\n",
                       number, number, number);
        if (strncmp(at, expected, strlen(expected)) != 0) {
            fail_msg("expected \"%s\" in \"%s\"", expected, at);
        }
        at += strlen(expected);
    }
    assert_string_equal(at, "");
}

static void find_in_no_call(void *unused)
{
    (void)unused;
    wr_finding_set_action(WR_ACTION_REPORT);
    wr_line line;
    wr_finding_begin(&line, "exit", false, "overrun", 0x1230);
    wr_finding_end(&line, WR_STACK_NONE, WR_STACK_NONE, WR_STACK_NONE);
}

static void test_subject_that_is_no_function_has_no_parentheses(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(find_in_no_call, NULL, &outcome);
    assert_string_equal(outcome.text, "weir: exit: overrun: 0x1230\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_action_says_what_is_printed_and_whether_the_process_ends),
        cmocka_unit_test(test_findings_of_threads_are_each_one_text),
        cmocka_unit_test(test_subject_that_is_no_function_has_no_parentheses),
    };
    return cmocka_run_group_tests_name("finding", tests, NULL, NULL);
}
