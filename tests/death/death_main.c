/* Runs each case of a program at each level; see death.h. */
#include "death.h"

#include "support.h"

#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

void expect(const char *format, ...)
{
    char text[600] = "weir: ";
    size_t length = strlen(text);
    va_list arguments;
    va_start(arguments, format);
    int n = vsnprintf(text + length, sizeof text - length - 1, format, arguments);
    va_end(arguments);
    CHECK(n > 0 && (size_t)n < sizeof text - length - 1);
    length += (size_t)n;
    text[length++] = '\n';
    CHECK(write(STDERR_FILENO, text, length) == (ssize_t)length);
}

static bool has_frame(const char *text, const char *heading)
{
    char start[64];
    (void)snprintf(start, sizeof start, "\nweir:   %s #0 0x", heading);
    return strstr(text, start) != NULL;
}

static void check_stacks(const struct misuse *misuse, const char *text, bool any)
{
    assert_int_equal(has_frame(text, "called by"), any && (misuse->stacks & NOT_CALLED) == 0);
    assert_int_equal(has_frame(text, "allocated by"), any && (misuse->stacks & ALLOCATED) != 0);
    assert_int_equal(has_frame(text, "freed by"), any && (misuse->stacks & FREED) != 0);
}

static void run_at(const struct misuse *misuse, int level)
{
    char variable[32];
    (void)snprintf(variable, sizeof variable, "MALLOC_CHECK_=%d", level);
    char *const arguments[] = {(char *)(uintptr_t) "death", (char *)(uintptr_t)misuse->name, NULL};
    char *const environment[] = {variable, (char *)(uintptr_t)misuse->setting, NULL};
    struct outcome outcome;
    run_program("/proc/self/exe", arguments, environment, &outcome);

    if ((misuse->stacks & NOTHING) != 0) {
        assert_clean_exit(&outcome);
        return;
    }
    char *end = strchr(outcome.text, '\n');
    assert_non_null(end);
    size_t length = (size_t)(end - outcome.text) + 1;
    const char *said = end + 1;
    if ((level & 1) == 0) {
        assert_string_equal(said, "");
    } else if (strncmp(said, outcome.text, length) != 0) {
        fail_msg("level %d: expected \"%.*s\", got \"%s\"", level, (int)length, outcome.text, said);
    } else {
        check_stacks(misuse, said, (level & 4) == 0);
        assert_true((level & 4) == 0 || count_lines(said) == 1);
    }
    assert_int_equal(outcome.signal, (level & 2) != 0 ? SIGABRT : 0);
    assert_int_equal(outcome.exit_code, (level & 2) != 0 ? -1 : 0);
}

static void test_misuse_is_found_at_each_level(void **state)
{
    static const int levels[] = {0, 1, 2, 3, 5};
    for (size_t i = 0; i < COUNT_OF(levels); i++) {
        run_at(*state, levels[i]);
    }
}

int main(int count, char **arguments)
{
    enum { MOST = 100 };
    static struct CMUnitTest tests[MOST];
    size_t n = 0;
    for (const struct misuse *m = misuses; m->name != NULL; m++) {
        if (count == 2 && strcmp(m->name, arguments[1]) == 0) {
            m->run();
            return 0;
        }
        CHECK(n < MOST);
        tests[n++] = (struct CMUnitTest){.name = m->name,
                                         .test_func = test_misuse_is_found_at_each_level,
                                         .initial_state = (void *)(uintptr_t)m};
    }
    return count == 2 ? 2 : _cmocka_run_group_tests("death", tests, n, NULL, NULL);
}
