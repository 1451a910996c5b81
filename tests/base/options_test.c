/* base/options: what each text of the environment gives, and the line for each fault.
 *
 * Values stay once they are set, so each case parses in a child of its own and looks there.
 */
#include "support.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

#include "base/options.h"

#define PAIRS_MAX 4

struct expectation {
    char *variables[PAIRS_MAX + 1]; /* the environment, ended by NULL */
    wr_option option;
    size_t value;
    bool is_set;
};

static void parse_and_look(void *argument)
{
    const struct expectation *expected = argument;
    errno = ERRNO_UNUSED;
    wr_options_parse(expected->variables);
    CHECK(errno == ERRNO_UNUSED);
    CHECK(wr_option_get(expected->option) == expected->value);
    CHECK(wr_option_is_set(expected->option) == expected->is_set);
}

/* Parses in a child, checks one option there, and compares all that went to standard error. */
static void check_parse(struct expectation expected, const char *text)
{
    struct outcome outcome;
    run_child(parse_and_look, &expected, &outcome);
    assert_string_equal(outcome.text, text);
    assert_int_equal(outcome.signal, 0);
    assert_int_equal(outcome.exit_code, 0);
}

static void check_large_keep(char *variable, size_t value)
{
    check_parse((struct expectation){{variable}, wr_option_large_keep, value, true}, "");
}

static void check_refused(char *variable, const char *text)
{
    check_parse((struct expectation){{variable}, wr_option_mmap_threshold, 128 * KIB, false}, text);
}

/* As options.c keeps a percentage of a SHARE. */
#define PERCENT_10 (((size_t)1 << 63) + 10)

static void test_options_before_parsing_are_the_defaults(void **state)
{
    (void)state;
    static const size_t defaults[] = {
        [wr_option_mmap_threshold] = 128 * KIB,
        [wr_option_large_keep] = 32 * MIB,
        [wr_option_decay] = 1000,
        [wr_option_lazy] = 0,
        [wr_option_background] = WR_OPTION_AUTO,
        [wr_option_dirty_max] = PERCENT_10,
        [wr_option_cache_max] = 64 * MIB,
        [wr_option_brk] = 1,
        [wr_option_thp] = 0,
        [wr_option_limit_soft] = 0,
        [wr_option_limit_hard] = 0,
        [wr_option_summary] = 0,
        [wr_option_check] = 0,
        [wr_option_check_stacks] = 16,
        [wr_option_check_quarantine] = 16 * MIB,
        [wr_option_leaks] = 0,
        [wr_option_guard_sample] = 0,
        [wr_option_harden] = 0,
    };
    assert_int_equal(COUNT_OF(defaults), WR_OPTION_COUNT);
    for (unsigned i = 0; i < WR_OPTION_COUNT; i++) {
        assert_int_equal(wr_option_get((wr_option)i), defaults[i]);
        assert_false(wr_option_is_set((wr_option)i));
    }
}

static void test_options_of_empty_environment_are_the_defaults(void **state)
{
    (void)state;
    check_parse((struct expectation){{NULL}, wr_option_mmap_threshold, 128 * KIB, false}, "");
}

static void test_options_of_other_programs_are_ignored_silently(void **state)
{
    (void)state;
    check_parse(
        (struct expectation){
            {"PATH=/bin", "WEIR=1", "weir_brk=0", "XWEIR_BRK=0"}, wr_option_brk, 1, false},
        "");
    check_parse(
        (struct expectation){{"WEI", "", "=WEIR_BRK=0", "WEIRBRK=0"}, wr_option_brk, 1, false}, "");
}

static void test_option_each_row_is_set_by_its_name(void **state)
{
    (void)state;
    check_parse(
        (struct expectation){{"WEIR_MMAP_THRESHOLD=65536"}, wr_option_mmap_threshold, 65536, true},
        "");
    check_parse((struct expectation){{"WEIR_LARGE_KEEP=1"}, wr_option_large_keep, 1, true}, "");
    check_parse((struct expectation){{"WEIR_DIRTY_MAX=2"}, wr_option_dirty_max, 2, true}, "");
    check_parse((struct expectation){{"WEIR_BRK=0"}, wr_option_brk, 0, true}, "");
    check_parse((struct expectation){{"WEIR_SUMMARY=1"}, wr_option_summary, 1, true}, "");
}

static void test_option_check_has_its_name_of_old(void **state)
{
    (void)state;
    check_parse((struct expectation){{"MALLOC_CHECK_=3"}, wr_option_check, 3, true}, "");
    check_parse((struct expectation){{"MALLOC_CHECK_=0"}, wr_option_check, 0, true}, "");
    check_parse((struct expectation){{"WEIR_CHECK=1", "MALLOC_CHECK_=3"}, wr_option_check, 1, true},
                "");
    check_parse((struct expectation){{"MALLOC_CHECK_=3", "WEIR_CHECK=1"}, wr_option_check, 1, true},
                "");
    check_parse(
        (struct expectation){{"MALLOC_CHECK=3", "MALLOC_CHECK_"}, wr_option_check, 0, false}, "");
    check_parse((struct expectation){{"MALLOC_CHECK_=yes"}, wr_option_check, 0, false},
                "weir: MALLOC_CHECK_: is no number, the default holds\n");
    check_parse((struct expectation){{"MALLOC_CHECK_=8"}, wr_option_check, 0, false},
                "weir: MALLOC_CHECK_: is out of range, the default holds\n");
}

static void test_option_list_is_the_bits_of_its_words(void **state)
{
    (void)state;
    check_parse((struct expectation){{"WEIR_HARDEN=order"}, wr_option_harden, 1, true}, "");
    check_parse((struct expectation){{"WEIR_HARDEN=delay,guard"}, wr_option_harden, 18, true}, "");
    check_parse(
        (struct expectation){
            {"WEIR_HARDEN=order,guard,zero,canary,delay"}, wr_option_harden, 31, true},
        "");
    static char *const bad[] = {"WEIR_HARDEN=", "WEIR_HARDEN=orde", "WEIR_HARDEN=order,",
                                "WEIR_HARDEN=,order", "WEIR_HARDEN=orders"};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        check_parse((struct expectation){{bad[i]}, wr_option_harden, 0, false},
                    "weir: WEIR_HARDEN: is no list of order, guard, zero, canary, delay, the "
                    "default holds\n");
    }
}

static void test_option_set_leaves_the_others_alone(void **state)
{
    (void)state;
    check_parse(
        (struct expectation){
            {"WEIR_MMAP_THRESHOLD=1M", "WEIR_BRK=0"}, wr_option_large_keep, 32 * MIB, false},
        "");
}

static void test_option_set_to_its_default_is_set(void **state)
{
    (void)state;
    check_parse((struct expectation){{"WEIR_BRK=1"}, wr_option_brk, 1, true}, "");
    check_large_keep("WEIR_LARGE_KEEP=32M", 32 * MIB);
}

static void test_option_set_to_zero_is_zero_and_not_the_default(void **state)
{
    (void)state;
    check_large_keep("WEIR_LARGE_KEEP=0", 0);
    check_large_keep("WEIR_LARGE_KEEP=0K", 0);
}

static void test_option_given_twice_has_the_last_value(void **state)
{
    (void)state;
    check_parse((struct expectation){{"WEIR_LARGE_KEEP=1K", "A=b", "WEIR_LARGE_KEEP=2K"},
                                     wr_option_large_keep,
                                     2 * KIB,
                                     true},
                "");
}

static void test_size_suffixes_are_powers_of_1024(void **state)
{
    (void)state;
    check_large_keep("WEIR_LARGE_KEEP=12345", 12345);
    check_large_keep("WEIR_LARGE_KEEP=3K", 3 * KIB);
    check_large_keep("WEIR_LARGE_KEEP=3k", 3 * KIB);
    check_large_keep("WEIR_LARGE_KEEP=3M", 3 * MIB);
    check_large_keep("WEIR_LARGE_KEEP=3m", 3 * MIB);
    check_large_keep("WEIR_LARGE_KEEP=3G", 3 * KIB * MIB);
    check_large_keep("WEIR_LARGE_KEEP=3g", 3 * KIB * MIB);
    check_large_keep("WEIR_LARGE_KEEP=1T", MIB * MIB);
    check_large_keep("WEIR_LARGE_KEEP=1t", MIB * MIB);
}

static void test_size_with_leading_zeros_is_decimal(void **state)
{
    (void)state;
    check_large_keep("WEIR_LARGE_KEEP=0010", 10);
    check_large_keep("WEIR_LARGE_KEEP=000000000000000000000000000000008K", 8 * KIB);
}

static void test_size_at_the_bounds_is_taken(void **state)
{
    (void)state;
    check_parse((struct expectation){{"WEIR_MMAP_THRESHOLD=0"}, wr_option_mmap_threshold, 0, true},
                "");
    check_parse(
        (struct expectation){
            {"WEIR_MMAP_THRESHOLD=33554432"}, wr_option_mmap_threshold, 32 * MIB, true},
        "");
}

static void test_size_beyond_the_bounds_is_refused_with_a_line(void **state)
{
    (void)state;
    const char *line = "weir: WEIR_MMAP_THRESHOLD: is out of range, the default holds\n";
    check_refused("WEIR_MMAP_THRESHOLD=33554433", line);
    check_refused("WEIR_MMAP_THRESHOLD=33M", line);
    check_refused("WEIR_MMAP_THRESHOLD=16777215T", line); /* the largest that fits */
    check_refused("WEIR_MMAP_THRESHOLD=18446744073709551615", line);
}

static void test_size_that_is_no_number_is_refused_with_a_line(void **state)
{
    (void)state;
    static char bad[][64] = {
        "WEIR_MMAP_THRESHOLD=",
        "WEIR_MMAP_THRESHOLD",
        "WEIR_MMAP_THRESHOLD=K",
        "WEIR_MMAP_THRESHOLD=banana",
        "WEIR_MMAP_THRESHOLD=-1",
        "WEIR_MMAP_THRESHOLD=+1",
        "WEIR_MMAP_THRESHOLD= 1",
        "WEIR_MMAP_THRESHOLD=1 ",
        "WEIR_MMAP_THRESHOLD=1KB",
        "WEIR_MMAP_THRESHOLD=1KK",
        "WEIR_MMAP_THRESHOLD=1P",
        "WEIR_MMAP_THRESHOLD=0x10",
        "WEIR_MMAP_THRESHOLD=1.5M",
        "WEIR_MMAP_THRESHOLD==1",
        "WEIR_MMAP_THRESHOLD=18446744073709551616",
        "WEIR_MMAP_THRESHOLD=18446744073709551620",
        "WEIR_MMAP_THRESHOLD=99999999999999999999999999",
        "WEIR_MMAP_THRESHOLD=16777216T",
        "WEIR_MMAP_THRESHOLD=18014398509481984K",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        check_refused(bad[i],
                      "weir: WEIR_MMAP_THRESHOLD: is no number of bytes, the default holds\n");
    }
}

static void test_flag_that_is_no_number_is_refused_with_a_line(void **state)
{
    (void)state;
    static char bad[][32] = {"WEIR_BRK=", "WEIR_BRK=yes", "WEIR_BRK=-1", "WEIR_BRK=1 "};
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        check_parse((struct expectation){{bad[i]}, wr_option_brk, 1, false},
                    "weir: WEIR_BRK: is no 0 or 1, the default holds\n");
    }
}

static void test_flag_beyond_one_is_refused_with_a_line(void **state)
{
    (void)state;
    check_parse((struct expectation){{"WEIR_SUMMARY=2"}, wr_option_summary, 0, false},
                "weir: WEIR_SUMMARY: is out of range, the default holds\n");
}

struct share {
    char *variables[2];
    bool is_percentage;
    size_t whole;
    size_t bytes;
};

static void parse_and_look_at_share(void *argument)
{
    const struct share *share = argument;
    wr_options_parse(share->variables);
    CHECK(wr_option_is_percentage(wr_option_limit_hard) == share->is_percentage);
    CHECK(wr_option_share(wr_option_limit_hard, share->whole) == share->bytes);
}

static void test_share_is_bytes_or_a_part_of_the_whole(void **state)
{
    (void)state;
    struct share shares[] = {
        {{"A=b"}, false, 1000, 0},
        {{"WEIR_LIMIT_HARD=0"}, false, 1000, 0},
        {{"WEIR_LIMIT_HARD=64M"}, false, 1000, 64 * MIB},
        {{"WEIR_LIMIT_HARD=80%"}, true, 1000, 800},
        {{"WEIR_LIMIT_HARD=0%"}, true, 1000, 0},
        {{"WEIR_LIMIT_HARD=7%"}, true, 1999, 139},
        {{"WEIR_LIMIT_HARD=100%"}, true, SIZE_MAX / 2, SIZE_MAX / 2},
        {{"WEIR_LIMIT_HARD=050%"}, true, SIZE_MAX / 2, SIZE_MAX / 4},
    };
    for (size_t i = 0; i < COUNT_OF(shares); i++) {
        struct outcome outcome;
        run_child(parse_and_look_at_share, &shares[i], &outcome);
        assert_clean_exit(&outcome);
    }
}

static void test_share_that_is_neither_is_refused_with_a_line(void **state)
{
    (void)state;
    static char bad[][40] = {
        "WEIR_LIMIT_HARD=",    "WEIR_LIMIT_HARD=%",    "WEIR_LIMIT_HARD=80%%",
        "WEIR_LIMIT_HARD=-1%", "WEIR_LIMIT_HARD=80 %", "WEIR_LIMIT_HARD=1.5%",
        "WEIR_LIMIT_HARD=1M%", "WEIR_LIMIT_HARD=half",
    };
    for (size_t i = 0; i < COUNT_OF(bad); i++) {
        check_parse((struct expectation){{bad[i]}, wr_option_limit_hard, 0, false},
                    "weir: WEIR_LIMIT_HARD: is no number of bytes and no percentage, the default "
                    "holds\n");
    }
    static char beyond[][60] = {
        "WEIR_LIMIT_HARD=101%", "WEIR_LIMIT_HARD=99999999999999999999999999%",
        "WEIR_LIMIT_HARD=1025T",
        "WEIR_LIMIT_HARD=9223372036854775858", /* no percentage, though the value looks like one */
    };
    for (size_t i = 0; i < COUNT_OF(beyond); i++) {
        check_parse((struct expectation){{beyond[i]}, wr_option_limit_hard, 0, false},
                    "weir: WEIR_LIMIT_HARD: is out of range, the default holds\n");
    }
}

static void test_option_unknown_is_ignored_with_a_line(void **state)
{
    (void)state;
    check_refused("WEIR_FOO=1", "weir: WEIR_FOO: no such option, ignored\n");
    check_refused("WEIR_FOO", "weir: WEIR_FOO: no such option, ignored\n");
    check_refused("WEIR_=1", "weir: WEIR_: no such option, ignored\n");
    check_refused("WEIR_=", "weir: WEIR_: no such option, ignored\n");
}

static void test_options_of_the_library_beside_are_left_to_it(void **state)
{
    (void)state;
    check_refused("WEIR_RCU_LIMIT=1M", "");
    check_refused("WEIR_RCU=1", "weir: WEIR_RCU: no such option, ignored\n");
}

static void test_option_name_must_match_in_length_and_case(void **state)
{
    (void)state;
    check_refused("WEIR_MMAP_THRESHOL=1", "weir: WEIR_MMAP_THRESHOL: no such option, ignored\n");
    check_refused("WEIR_MMAP_THRESHOLDS=1",
                  "weir: WEIR_MMAP_THRESHOLDS: no such option, ignored\n");
    check_refused("WEIR_mmap_threshold=1", "weir: WEIR_mmap_threshold: no such option, ignored\n");
    check_refused("WEIR_MMAP-THRESHOLD=1", "weir: WEIR_MMAP-THRESHOLD: no such option, ignored\n");
}

static void test_option_name_beyond_the_line_is_cut(void **state)
{
    (void)state;
    enum { SHOWN = 255 };
    char variable[800];
    char expected[800];
    memset(variable, 'A', sizeof variable);
    memcpy(variable, "WEIR_", 5);
    memcpy(variable + sizeof variable - 3, "=1", 3);
    (void)snprintf(expected, sizeof expected, "weir: %.*s: no such option, ignored\n", SHOWN,
                   variable);
    check_refused(variable, expected);
}

static void test_options_each_fault_gives_a_line_in_order(void **state)
{
    (void)state;
    check_parse(
        (struct expectation){{"WEIR_FOO=1", "WEIR_LARGE_KEEP=x", "WEIR_BRK=3", "WEIR_DIRTY_MAX=1M"},
                             wr_option_dirty_max,
                             MIB,
                             true},
        "weir: WEIR_FOO: no such option, ignored\n"
        "weir: WEIR_LARGE_KEEP: is no number of bytes, the default holds\n"
        "weir: WEIR_BRK: is out of range, the default holds\n");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_options_before_parsing_are_the_defaults),
        cmocka_unit_test(test_options_of_empty_environment_are_the_defaults),
        cmocka_unit_test(test_options_of_other_programs_are_ignored_silently),
        cmocka_unit_test(test_option_each_row_is_set_by_its_name),
        cmocka_unit_test(test_option_check_has_its_name_of_old),
        cmocka_unit_test(test_option_list_is_the_bits_of_its_words),
        cmocka_unit_test(test_option_set_leaves_the_others_alone),
        cmocka_unit_test(test_option_set_to_its_default_is_set),
        cmocka_unit_test(test_option_set_to_zero_is_zero_and_not_the_default),
        cmocka_unit_test(test_option_given_twice_has_the_last_value),
        cmocka_unit_test(test_size_suffixes_are_powers_of_1024),
        cmocka_unit_test(test_size_with_leading_zeros_is_decimal),
        cmocka_unit_test(test_size_at_the_bounds_is_taken),
        cmocka_unit_test(test_size_beyond_the_bounds_is_refused_with_a_line),
        cmocka_unit_test(test_size_that_is_no_number_is_refused_with_a_line),
        cmocka_unit_test(test_flag_that_is_no_number_is_refused_with_a_line),
        cmocka_unit_test(test_flag_beyond_one_is_refused_with_a_line),
        cmocka_unit_test(test_share_is_bytes_or_a_part_of_the_whole),
        cmocka_unit_test(test_share_that_is_neither_is_refused_with_a_line),
        cmocka_unit_test(test_option_unknown_is_ignored_with_a_line),
        cmocka_unit_test(test_options_of_the_library_beside_are_left_to_it),
        cmocka_unit_test(test_option_name_must_match_in_length_and_case),
        cmocka_unit_test(test_option_name_beyond_the_line_is_cut),
        cmocka_unit_test(test_options_each_fault_gives_a_line_in_order),
    };
    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
