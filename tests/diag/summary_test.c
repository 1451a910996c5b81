/* The summary at exit: one line, whose numbers are those of the caches, the mappings and /proc. */
#include "diag/summary.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/config.h"
#include "base/fmt.h"
#include "bin/return.h"
#include "cache/cache.h"
#include "heap/heap.h"
#include "os/host.h"
#include "os/vm.h"
#include "page/commit.h"
#include "support.h"

static void print(void *unused)
{
    (void)unused;
    wr_summary_print();
}

static void print_after_close(void *unused)
{
    (void)unused;
    wr_summary_prepare();
    close(STDERR_FILENO);
    wr_summary_print();
}

static void print_unprepared_after_close(void *unused)
{
    (void)unused;
    close(STDERR_FILENO);
    wr_summary_print();
}

static void print_without_descriptors(void *unused)
{
    (void)unused;
    struct rlimit usual;
    CHECK(getrlimit(RLIMIT_NOFILE, &usual) == 0);
    struct rlimit none = {0, usual.rlim_max};
    CHECK(setrlimit(RLIMIT_NOFILE, &none) == 0);
    wr_summary_print();
    CHECK(setrlimit(RLIMIT_NOFILE, &usual) == 0);
}

/* Bytes as lines have them. */
static const char *bytes_text(size_t bytes, wr_line *line)
{
    wr_line_begin(line);
    wr_line_bytes(line, bytes);
    wr_line_end(line);
    line->text[line->length - 1] = '\0';
    return line->text;
}

/* The child's own numbers: its id, its peak, and what it says of RSS is read back by the parent. */
static void assert_line(const char *text, const char *served, size_t slow_calls, unsigned caches)
{
    wr_line peak;
    wr_line committed;
    wr_line given_back;
    char expected[WR_LINE_BYTES];
    long pid;
    assert_int_equal(sscanf(text, "weir: pid %ld: ", &pid), 1);
    assert_int_not_equal(pid, getpid());
    int length = snprintf(expected, sizeof expected,
                          "weir: pid %ld: served %s, peak %s mapped, %s committed, %s given back, "
                          "%zu slow calls, %u caches, RSS ",
                          pid, served, bytes_text(wr_vm_mapped_peak_bytes(), &peak),
                          bytes_text(wr_commit_bytes(), &committed),
                          bytes_text(wr_vm_given_back_bytes(), &given_back), slow_calls, caches);
    assert_memory_equal(text, expected, (size_t)length);
    double now;
    double most;
    char now_unit[4];
    char most_unit[4];
    int end = 0;
    assert_int_equal(
        sscanf(text + length, "%lf %3s (peak %lf %3s)%n", &now, now_unit, &most, most_unit, &end),
        4);
    assert_string_equal(text + length + end, "\n");
    assert_true(now > 0 && most > 0);
}

static void test_summary_without_caches_says_0(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(print, NULL, &outcome);
    assert_int_equal(outcome.exit_code, 0);
    assert_line(outcome.text, "0 bytes", 0, 0);
}

static void test_summary_adds_up_all_caches(void **state)
{
    (void)state;
    struct outcome outcome;
    wr_cache *first = wr_cache_create(wr_heap_default.bins);
    wr_cache *second = wr_cache_create(wr_heap_default.bins);
    assert_true(first != NULL && second != NULL);
    wr_cache_count_up(&first->slow_calls, 17);
    wr_cache_count_up(&second->slow_calls, 400);
    wr_cache_count_up(&first->served_bytes, 3 * MIB);
    wr_cache_count_up(&second->served_bytes, 512 * KIB);
    run_child(print, NULL, &outcome);
    assert_int_equal(outcome.exit_code, 0);
    assert_line(outcome.text, "3.5 MiB", 417, 2);
}

static void test_summary_says_what_a_refill_served(void **state)
{
    (void)state;
    struct outcome outcome;
    wr_cache *cache = wr_cache_at(0);
    size_t slow_calls = 417;
    void *block = wr_cache_refill(cache, wr_size_class_of(1024));
    assert_non_null(block);
    run_child(print, NULL, &outcome);
    wr_line served; /* 5 blocks, since a cold bin asks for half its capacity and one */
    assert_line(outcome.text, bytes_text(3 * MIB + 512 * KIB + 5 * KIB, &served), slow_calls + 1,
                2);
    wr_return(1, &block, "free");
    wr_cache_drain(cache);
}

static void test_summary_where_proc_does_not_tell_leaves_rss_out(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(print_without_descriptors, NULL, &outcome);
    assert_int_equal(outcome.exit_code, 0);
    assert_int_equal(count_lines(outcome.text), 1);
    assert_memory_equal(outcome.text, "weir: pid ", 10);
    assert_null(strstr(outcome.text, "RSS"));
    assert_string_equal(strstr(outcome.text, " slow calls, "), " slow calls, 2 caches\n");
}

static void test_summary_after_prepare_reaches_standard_error_that_was_closed(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(print_after_close, NULL, &outcome);
    assert_int_equal(outcome.exit_code, 0);
    assert_int_equal(count_lines(outcome.text), 1);
    assert_memory_equal(outcome.text, "weir: pid ", 10);
}

static void test_summary_without_prepare_and_standard_error_is_silent(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(print_unprepared_after_close, NULL, &outcome);
    assert_clean_exit(&outcome);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_summary_without_caches_says_0),
        cmocka_unit_test(test_summary_adds_up_all_caches),
        cmocka_unit_test(test_summary_says_what_a_refill_served),
        cmocka_unit_test(test_summary_where_proc_does_not_tell_leaves_rss_out),
        cmocka_unit_test(test_summary_after_prepare_reaches_standard_error_that_was_closed),
        cmocka_unit_test(test_summary_without_prepare_and_standard_error_is_silent),
    };
    return cmocka_run_group_tests_name("summary", tests, NULL, NULL);
}
