/* The report of what was not freed: sums, groups by stack with the largest first, and none when
 * the option is off. Each case is this program again. */
#include "diag/leaks.h"

#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/config.h"
#include "support.h"

#include "weir/weir.h"

#define NOINLINE __attribute__((noinline))

static void *kept[10000];

static NOINLINE void *leak(size_t bytes)
{
    void *p = weir_malloc(bytes);
    __asm__ volatile("" : "+r"(p));
    return p;
}

static void leak_some(void)
{
    for (volatile unsigned i = 0; i < 3; i++) { /* not unrolled: one place */
        kept[i] = leak(100);
    }
    weir_free(leak(5000));
    kept[3] = weir_malloc(1);
}

static NOINLINE void leak_at_depth(unsigned depth)
{
    if (depth == 0) {
        kept[0] = leak(10);
    } else {
        leak_at_depth(depth - 1);
        kept[depth] = leak(depth * 10);
    }
    __asm__ volatile("" ::: "memory");
}

static void leak_in_many_places(void)
{
    leak_at_depth(22);
}

/* More stacks than the first table has room for. */
typedef void path_step(unsigned bits, unsigned path, size_t *n);
static path_step *volatile steps[2];

static NOINLINE void leak_by_path(unsigned bits, unsigned path, size_t *n)
{
    if (bits == 0) {
        kept[(*n)++] = leak(1);
    } else {
        steps[path & 1](bits - 1, path >> 1, n);
    }
    __asm__ volatile("" ::: "memory");
}

/* Two functions, so that each path has a stack of its own. */
static NOINLINE void step_one(unsigned bits, unsigned path, size_t *n)
{
    leak_by_path(bits, path, n);
    __asm__ volatile("" ::: "memory");
}

static NOINLINE void step_other(unsigned bits, unsigned path, size_t *n)
{
    __asm__ volatile("" ::: "memory");
    leak_by_path(bits, path, n);
    __asm__ volatile("nop" ::: "memory");
}

static void leak_by_many_paths(void)
{
    size_t n = 0;
    steps[0] = step_one;
    steps[1] = step_other;
    for (unsigned path = 0; path < 4096; path++) {
        leak_by_path(12, path, &n);
    }
}

static void run(const char *name, const char *setting, struct outcome *outcome)
{
    char program[] = "leaks_test";
    char *const arguments[] = {program, (char *)(uintptr_t)name, NULL};
    char frames[] = "WEIR_CHECK_STACKS=32";
    char *const environment[] = {frames, (char *)(uintptr_t)setting, NULL};
    run_program("/proc/self/exe", arguments, environment, outcome);
    assert_int_equal(outcome->exit_code, 0);
}

static void test_blocks_that_are_not_freed_are_counted_by_stack(void **state)
{
    (void)state;
    struct outcome outcome;
    run("some", "WEIR_LEAKS=1", &outcome);
    static const char expected[] =
        "weir: leaks: 4 blocks of 301 bytes in all not freed, by 2 stacks\n"
        "weir: leaks: 3 blocks, 300 bytes\n"
        "weir:   allocated by #0 0x";
    assert_int_equal(strncmp(outcome.text, expected, strlen(expected)), 0);
    assert_non_null(strstr(outcome.text, "\nweir: leaks: 1 block, 1 byte\n"));
}

static void test_nothing_is_printed_unasked(void **state)
{
    (void)state;
    struct outcome outcome;
    run("some", "WEIR_CHECK=3", &outcome);
    assert_clean_exit(&outcome);
    run("some", "WEIR_LEAKS=0", &outcome);
    assert_clean_exit(&outcome);
}

static void test_most_bytes_come_first_and_the_rest_is_left_out(void **state)
{
    (void)state;
    struct outcome outcome;
    run("places", "WEIR_LEAKS=1", &outcome);
    assert_non_null(strstr(outcome.text, "23 blocks of 2540 bytes in all not freed, by 23 stacks"));
    const char *first = strstr(outcome.text, "\nweir: leaks: 1 block, 220 bytes\n");
    const char *second = strstr(outcome.text, "\nweir: leaks: 1 block, 210 bytes\n");
    assert_true(first != NULL && second != NULL && first < second);
    assert_null(strstr(outcome.text, "1 block, 10 bytes"));
}

static void test_many_stacks_find_room(void **state)
{
    (void)state;
    struct outcome outcome;
    run("paths", "WEIR_LEAKS=1", &outcome);
    assert_non_null(strstr(outcome.text, "4096 blocks of 4096 bytes in all not freed, by 4096 st"));
}

int main(int count, char **arguments)
{
    if (count == 2) {
        const char *name = arguments[1];
        void (*body)(void) = strcmp(name, "some") == 0     ? leak_some
                             : strcmp(name, "places") == 0 ? leak_in_many_places
                                                           : leak_by_many_paths;
        body();
        return 0;
    }
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_blocks_that_are_not_freed_are_counted_by_stack),
        cmocka_unit_test(test_nothing_is_printed_unasked),
        cmocka_unit_test(test_most_bytes_come_first_and_the_rest_is_left_out),
        cmocka_unit_test(test_many_stacks_find_room),
    };
    return cmocka_run_group_tests_name("leaks", tests, NULL, NULL);
}
