/* base/report: the messages word for word, where they go, and that they go by one write. */
#include "support.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

#include "base/assert.h"
#include "base/atomic.h"
#include "base/report.h"

#define KEPT_LEAST 512 /* the lowest number that a kept descriptor may get */

static void assert_aborted_with(const struct outcome *outcome, const char *text)
{
    assert_string_equal(outcome->text, text);
    assert_int_equal(outcome->signal, SIGABRT);
}

static void assert_exited_with(const struct outcome *outcome, const char *text)
{
    assert_string_equal(outcome->text, text);
    assert_int_equal(outcome->signal, 0);
    assert_int_equal(outcome->exit_code, 0);
}

static void warn_keeping_errno(void *unused)
{
    (void)unused;
    errno = ERRNO_UNUSED;
    wr_report_warning("subject", "text of it");
    CHECK(errno == ERRNO_UNUSED);
}

static void test_warning_is_one_line_and_goes_on(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(warn_keeping_errno, NULL, &outcome);
    assert_exited_with(&outcome, "weir: subject: text of it\n");
}

static void report_misuse(void *misuse)
{
    wr_report_misuse(misuse);
}

static void test_misuse_with_address_alone_says_what_and_aborts(void **state)
{
    (void)state;
    wr_misuse misuse = {.function = "free", .what = "double free", .address = 0x7f00dead0010};
    struct outcome outcome;
    run_child(report_misuse, &misuse, &outcome);
    assert_aborted_with(&outcome, "weir: free(): double free: 0x7f00dead0010\n");
}

static void test_misuse_with_detail_says_it_behind_the_address(void **state)
{
    (void)state;
    wr_misuse misuse = {.function = "realloc",
                        .what = "foreign pointer",
                        .address = 0x10,
                        .detail = "is in no block of this heap"};
    struct outcome outcome;
    run_child(report_misuse, &misuse, &outcome);
    assert_aborted_with(&outcome,
                        "weir: realloc(): foreign pointer: 0x10 is in no block of this heap\n");
}

static void test_misuse_with_block_says_its_size_and_start(void **state)
{
    (void)state;
    wr_misuse misuse = {.function = "free",
                        .what = "not a block start",
                        .address = 0x7f0000000048,
                        .block = 0x7f0000000040,
                        .block_bytes = 64};
    struct outcome outcome;
    run_child(report_misuse, &misuse, &outcome);
    assert_aborted_with(&outcome, "weir: free(): not a block start: 0x7f0000000048, block of 64 "
                                  "bytes at 0x7f0000000040\n");
}

static void test_misuse_with_detail_and_block_says_both(void **state)
{
    (void)state;
    wr_misuse misuse = {.function = "free",
                        .what = "not a block start",
                        .address = 0x1010,
                        .detail = "lies within",
                        .block = 0x1000,
                        .block_bytes = 102400};
    struct outcome outcome;
    run_child(report_misuse, &misuse, &outcome);
    assert_aborted_with(&outcome, "weir: free(): not a block start: 0x1010 lies within, block of "
                                  "102400 bytes at 0x1000\n");
}

static void test_misuse_beyond_the_line_is_cut_and_aborts(void **state)
{
    (void)state;
    char detail[600];
    char expected[WR_LINE_BYTES];
    static const char start[] = "weir: free(): double free: 0x1 ";
    memset(detail, 'd', sizeof detail - 1);
    detail[sizeof detail - 1] = '\0';
    memset(expected, 'd', sizeof expected);
    memcpy(expected, start, sizeof start - 1);
    memcpy(expected + sizeof expected - 2, "\n", 2);
    wr_misuse misuse = {.function = "free", .what = "double free", .address = 1, .detail = detail};
    struct outcome outcome;
    run_child(report_misuse, &misuse, &outcome);
    assert_aborted_with(&outcome, expected);
}

static void report_corruption(void *unused)
{
    (void)unused;
    wr_report_corruption("slab without a span", 0xabc0);
}

static void test_corruption_names_the_address_and_aborts(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(report_corruption, NULL, &outcome);
    assert_aborted_with(&outcome, "weir: internal error: slab without a span: 0xabc0\n");
}

static void fail_assert(void *unused)
{
    (void)unused;
    wr_assert_fail("a < b", "page/span.c", 123);
}

static void test_assert_failed_names_condition_and_place_and_aborts(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(fail_assert, NULL, &outcome);
    assert_aborted_with(&outcome, "weir: assertion failed: a < b, page/span.c:123\n");
}

static void write_cut_line(void *unused)
{
    (void)unused;
    wr_line line;
    wr_line_begin(&line);
    wr_line_text(&line, "as it is");
    wr_line_end(&line);
    wr_report_line(&line);
}

static void test_line_is_written_without_additions(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(write_cut_line, NULL, &outcome);
    assert_exited_with(&outcome, "as it is\n");
}

/* Each write to a socket of packets is a packet. */
static void warn_into_packets(void *unused)
{
    (void)unused;
    int ends[2];
    char packet[WR_LINE_BYTES];
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0);
    CHECK(dup2(ends[1], STDERR_FILENO) == STDERR_FILENO);
    wr_report_warning("one", "write");
    CHECK(recv(ends[0], packet, sizeof packet, MSG_DONTWAIT) == 17);
    CHECK(memcmp(packet, "weir: one: write\n", 17) == 0);
    CHECK(recv(ends[0], packet, sizeof packet, MSG_DONTWAIT) == -1 && errno == EAGAIN);
}

static void test_warning_is_a_single_write(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(warn_into_packets, NULL, &outcome);
    assert_clean_exit(&outcome);
}

static void add_line(wr_report_page *page, const char *text)
{
    wr_line line;
    wr_line_begin(&line);
    wr_line_text(&line, text);
    wr_line_end(&line);
    wr_report_add(page, &line);
}

static void write_pages_into_packets(void *unused)
{
    (void)unused;
    int ends[2];
    static char packet[2 * WR_REPORT_PAGE_BYTES];
    CHECK(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, ends) == 0);
    CHECK(dup2(ends[1], STDERR_FILENO) == STDERR_FILENO);
    wr_report_page *pages[WR_REPORT_PAGES];
    for (unsigned i = 0; i < WR_REPORT_PAGES; i++) {
        pages[i] = wr_report_open();
        CHECK(pages[i] != NULL);
        add_line(pages[i], "one");
    }
    CHECK(wr_report_open() == NULL);
    add_line(NULL, "at once");
    CHECK(recv(ends[0], packet, sizeof packet, MSG_DONTWAIT) == 8);
    CHECK(recv(ends[0], packet, sizeof packet, MSG_DONTWAIT) == -1);
    add_line(pages[1], "two");
    wr_report_close(pages[1]);
    CHECK(recv(ends[0], packet, sizeof packet, MSG_DONTWAIT) == 8);
    CHECK(memcmp(packet, "one\ntwo\n", 8) == 0);
    CHECK(wr_report_open() == pages[1]); /* empty again */
    wr_report_close(pages[1]);
    CHECK(recv(ends[0], packet, sizeof packet, MSG_DONTWAIT) == -1);
    /* More than a page: whole lines, all of them. */
    size_t bytes = 0;
    for (size_t i = 0; i < 2 * WR_REPORT_PAGE_BYTES / 100; i++) {
        add_line(pages[2], "0123456789012345678901234567890123456789012345678901234567890123456789"
                           "01234567890123456789012345678");
        ssize_t got = recv(ends[0], packet, sizeof packet, MSG_DONTWAIT);
        CHECK(got == -1 || packet[got - 1] == '\n');
        bytes += got == -1 ? 0 : (size_t)got;
    }
    CHECK(bytes > 0);
    wr_report_close(pages[2]);
    bytes += (size_t)recv(ends[0], packet, sizeof packet, MSG_DONTWAIT);
    CHECK(bytes == 4 + 2 * WR_REPORT_PAGE_BYTES / 100 * 100);
}

static void test_page_is_a_single_write_and_cut_at_lines(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(write_pages_into_packets, NULL, &outcome);
    assert_clean_exit(&outcome);
}

static _Atomic int interrupts;

static void count_interrupt(int signal_number)
{
    (void)signal_number;
    (void)wr_fetch_add_relaxed(&interrupts, 1);
}

/* Empties a pipe, once a write to it has been interrupted. */
static void *read_after_interrupts(void *from)
{
    char bytes[4096];
    char last[8] = "";
    while (wr_load_relaxed(&interrupts) < 3) {
        usleep(1000);
    }
    ssize_t got;
    while ((got = read(*(int *)from, bytes, sizeof bytes)) > 0) {
        size_t tail = (size_t)got < sizeof last ? (size_t)got : sizeof last;
        memmove(last, last + tail, sizeof last - tail);
        memcpy(last + sizeof last - tail, bytes + (size_t)got - tail, tail);
    }
    CHECK(got == 0);
    CHECK(memcmp(last, "b: text\n", sizeof last) == 0);
    return NULL;
}

static void warn_into_full_pipe_under_signals(void *unused)
{
    (void)unused;
    int ends[2];
    static const char filling[4096];
    CHECK(pipe2(ends, O_NONBLOCK) == 0);
    while (write(ends[1], filling, sizeof filling) > 0) {
    }
    CHECK(fcntl(ends[0], F_SETFL, 0) == 0 && fcntl(ends[1], F_SETFL, 0) == 0);
    /* Signals that interrupt, in this thread alone. */
    struct sigaction action = {.sa_handler = count_interrupt};
    sigset_t alarm_alone;
    pthread_t reader;
    CHECK(sigaction(SIGALRM, &action, NULL) == 0);
    sigemptyset(&alarm_alone);
    sigaddset(&alarm_alone, SIGALRM);
    CHECK(pthread_sigmask(SIG_BLOCK, &alarm_alone, NULL) == 0);
    CHECK(pthread_create(&reader, NULL, read_after_interrupts, &ends[0]) == 0);
    CHECK(pthread_sigmask(SIG_UNBLOCK, &alarm_alone, NULL) == 0);
    CHECK(dup2(ends[1], STDERR_FILENO) == STDERR_FILENO);
    close(ends[1]);
    struct itimerval often = {{0, 2000}, {0, 2000}};
    static const struct itimerval never;
    CHECK(setitimer(ITIMER_REAL, &often, NULL) == 0);
    errno = ERRNO_UNUSED;
    wr_report_warning("b", "text");
    CHECK(errno == ERRNO_UNUSED);
    CHECK(setitimer(ITIMER_REAL, &never, NULL) == 0);
    CHECK(close(STDERR_FILENO) == 0);
    CHECK(pthread_join(reader, NULL) == 0);
}

static void test_line_interrupted_by_signals_is_written_whole(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(warn_into_full_pipe_under_signals, NULL, &outcome);
    assert_clean_exit(&outcome);
}

static void warn_without_standard_error(void *unused)
{
    close(STDERR_FILENO);
    warn_keeping_errno(unused);
}

static void test_line_without_standard_error_is_dropped(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(warn_without_standard_error, NULL, &outcome);
    assert_clean_exit(&outcome);
}

static void keep_then_close_and_warn(void *unused)
{
    errno = ERRNO_UNUSED;
    wr_report_keep_standard_error();
    CHECK(errno == ERRNO_UNUSED);
    close(STDERR_FILENO);
    warn_keeping_errno(unused);
}

static void test_kept_standard_error_outlives_the_close(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(keep_then_close_and_warn, NULL, &outcome);
    assert_exited_with(&outcome, "weir: subject: text of it\n");
}

static void keep_then_reuse_and_warn(void *unused)
{
    int ends[2];
    wr_report_keep_standard_error();
    CHECK(pipe(ends) == 0);
    CHECK(dup2(ends[1], STDERR_FILENO) == STDERR_FILENO);
    warn_keeping_errno(unused);
}

static void test_kept_standard_error_is_not_what_took_its_number(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(keep_then_reuse_and_warn, NULL, &outcome);
    assert_exited_with(&outcome, "weir: subject: text of it\n");
}

static void keep_and_look_at_the_descriptor(void *unused)
{
    (void)unused;
    int lowest = dup(STDERR_FILENO);
    CHECK(lowest >= 0);
    close(lowest);
    CHECK(fcntl(KEPT_LEAST, F_GETFD) == -1);
    wr_report_keep_standard_error();
    CHECK(fcntl(KEPT_LEAST, F_GETFD) == FD_CLOEXEC);
    int next = dup(STDERR_FILENO);
    CHECK(next == lowest);
}

static void test_kept_descriptor_is_high_and_closed_on_exec(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(keep_and_look_at_the_descriptor, NULL, &outcome);
    assert_clean_exit(&outcome);
}

static void keep_with_few_descriptors_and_warn(void *unused)
{
    struct rlimit few = {KEPT_LEAST, KEPT_LEAST};
    CHECK(setrlimit(RLIMIT_NOFILE, &few) == 0);
    errno = ERRNO_UNUSED;
    wr_report_keep_standard_error();
    CHECK(errno == ERRNO_UNUSED);
    warn_keeping_errno(unused);
}

static void test_keep_that_the_limit_refuses_leaves_descriptor_2(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(keep_with_few_descriptors_and_warn, NULL, &outcome);
    assert_exited_with(&outcome, "weir: subject: text of it\n");
}

static void keep_without_standard_error_and_warn(void *unused)
{
    int saved = dup(STDERR_FILENO);
    close(STDERR_FILENO);
    errno = ERRNO_UNUSED;
    wr_report_keep_standard_error();
    CHECK(errno == ERRNO_UNUSED);
    CHECK(dup2(saved, STDERR_FILENO) == STDERR_FILENO);
    warn_keeping_errno(unused);
}

static void test_keep_of_closed_standard_error_leaves_descriptor_2(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(keep_without_standard_error_and_warn, NULL, &outcome);
    assert_exited_with(&outcome, "weir: subject: text of it\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_warning_is_one_line_and_goes_on),
        cmocka_unit_test(test_misuse_with_address_alone_says_what_and_aborts),
        cmocka_unit_test(test_misuse_with_detail_says_it_behind_the_address),
        cmocka_unit_test(test_misuse_with_block_says_its_size_and_start),
        cmocka_unit_test(test_misuse_with_detail_and_block_says_both),
        cmocka_unit_test(test_misuse_beyond_the_line_is_cut_and_aborts),
        cmocka_unit_test(test_corruption_names_the_address_and_aborts),
        cmocka_unit_test(test_assert_failed_names_condition_and_place_and_aborts),
        cmocka_unit_test(test_line_is_written_without_additions),
        cmocka_unit_test(test_warning_is_a_single_write),
        cmocka_unit_test(test_page_is_a_single_write_and_cut_at_lines),
        cmocka_unit_test(test_line_interrupted_by_signals_is_written_whole),
        cmocka_unit_test(test_line_without_standard_error_is_dropped),
        cmocka_unit_test(test_kept_standard_error_outlives_the_close),
        cmocka_unit_test(test_kept_standard_error_is_not_what_took_its_number),
        cmocka_unit_test(test_kept_descriptor_is_high_and_closed_on_exec),
        cmocka_unit_test(test_keep_that_the_limit_refuses_leaves_descriptor_2),
        cmocka_unit_test(test_keep_of_closed_standard_error_leaves_descriptor_2),
    };
    return cmocka_run_group_tests_name("report", tests, NULL, NULL);
}
