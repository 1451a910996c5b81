/* base/fmt: what a line holds, and where it is cut. */
#include "support.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "base/fmt.h"

/* Text that fits a line, without its newline and terminator. */
#define ROOM (WR_LINE_BYTES - 2)

static const char sixty_four[] = "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

/* A line that has `length` bytes of text. */
static void fill(wr_line *line, size_t length)
{
    wr_line_begin(line);
    while (line->length < length) {
        wr_line_part(line, sixty_four, length - line->length);
    }
    assert_int_equal(line->length, length);
}

static void assert_line(wr_line *line, const char *expected)
{
    wr_line_end(line);
    assert_string_equal(line->text, expected);
    assert_int_equal(line->length, strlen(expected));
}

static void assert_bytes(uint64_t bytes, const char *expected)
{
    wr_line line;
    wr_line_begin(&line);
    wr_line_bytes(&line, bytes);
    assert_line(&line, expected);
}

static void test_line_begun_and_ended_is_a_newline(void **state)
{
    (void)state;
    wr_line line;
    memset(&line, 'x', sizeof line);
    wr_line_begin(&line);
    assert_line(&line, "\n");
}

static void test_line_parts_are_appended_in_order(void **state)
{
    (void)state;
    wr_line line;
    wr_line_begin(&line);
    wr_line_text(&line, "a ");
    wr_line_decimal(&line, 42);
    wr_line_text(&line, "");
    wr_line_text(&line, " b ");
    wr_line_hex(&line, 0xbeef);
    wr_line_text(&line, ", ");
    wr_line_bytes(&line, 3 * WR_KIB);
    assert_line(&line, "a 42 b 0xbeef, 3 KiB\n");
}

static void test_line_begun_again_forgets_its_text(void **state)
{
    (void)state;
    wr_line line;
    wr_line_begin(&line);
    wr_line_text(&line, "a long first life");
    wr_line_end(&line);
    wr_line_begin(&line);
    wr_line_text(&line, "b");
    assert_line(&line, "b\n");
}

static void test_line_part_stops_at_its_length_or_the_end_of_the_text(void **state)
{
    (void)state;
    wr_line line;
    wr_line_begin(&line);
    wr_line_part(&line, "abcdef", 3);
    wr_line_part(&line, "ghi", 100);
    wr_line_part(&line, "jkl", 0);
    assert_line(&line, "abcghi\n");
}

static void test_line_part_reads_no_byte_beyond_its_length(void **state)
{
    (void)state;
    static const char unterminated[3] = {'x', 'y', 'z'};
    wr_line line;
    wr_line_begin(&line);
    wr_line_part(&line, unterminated, sizeof unterminated);
    assert_line(&line, "xyz\n");
}

static void test_line_text_that_just_fits_is_whole(void **state)
{
    (void)state;
    wr_line line;
    fill(&line, ROOM - 3);
    wr_line_text(&line, "end");
    wr_line_end(&line);
    assert_int_equal(line.length, WR_LINE_BYTES - 1);
    assert_string_equal(line.text + ROOM - 3, "end\n");
}

static void test_line_text_beyond_the_room_is_cut(void **state)
{
    (void)state;
    wr_line line;
    fill(&line, ROOM - 2);
    wr_line_text(&line, "end");
    assert_int_equal(line.length, ROOM);
    wr_line_text(&line, "more");
    wr_line_decimal(&line, 7);
    wr_line_hex(&line, 7);
    wr_line_bytes(&line, 7);
    assert_int_equal(line.length, ROOM);
    wr_line_end(&line);
    assert_string_equal(line.text + ROOM - 2, "en\n");
}

static void test_line_of_one_endless_text_is_cut_and_ended(void **state)
{
    (void)state;
    char endless[4 * WR_LINE_BYTES];
    char expected[WR_LINE_BYTES];
    memset(endless, 'z', sizeof endless - 1);
    endless[sizeof endless - 1] = '\0';
    memset(expected, 'z', ROOM);
    strcpy(expected + ROOM, "\n");
    wr_line line;
    wr_line_begin(&line);
    wr_line_text(&line, endless);
    assert_line(&line, expected);
}

static void test_line_number_beyond_the_room_keeps_its_first_digits(void **state)
{
    (void)state;
    wr_line line;
    fill(&line, ROOM - 4);
    wr_line_decimal(&line, 123456);
    wr_line_end(&line);
    assert_string_equal(line.text + ROOM - 4, "1234\n");
    fill(&line, ROOM - 4);
    wr_line_hex(&line, 0xabcdef);
    wr_line_end(&line);
    assert_string_equal(line.text + ROOM - 4, "0xab\n");
}

static void test_line_of_any_length_writes_nothing_behind_its_text(void **state)
{
    (void)state;
    struct {
        wr_line line;
        uint64_t guard;
    } framed;
    for (size_t length = 0; length <= ROOM; length++) {
        framed.guard = UINT64_MAX;
        fill(&framed.line, length);
        wr_line_text(&framed.line, sixty_four);
        wr_line_decimal(&framed.line, UINT64_MAX);
        wr_line_end(&framed.line);
        assert_true(framed.guard == UINT64_MAX);
        assert_true(framed.line.length <= WR_LINE_BYTES - 1);
        assert_int_equal(framed.line.text[framed.line.length - 1], '\n');
        assert_int_equal(framed.line.text[framed.line.length], '\0');
    }
}

static void test_decimal_of_any_value_is_as_printf_writes_it(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    static const uint64_t borders[] = {0, 1, 9, 10, 11, 99, 100, UINT32_MAX, UINT64_MAX};
    for (size_t i = 0; i < COUNT_OF(borders) + 1000; i++) {
        uint64_t value = i < COUNT_OF(borders) ? borders[i] : random_next(&random) >> (random % 64);
        char expected[32];
        (void)snprintf(expected, sizeof expected, "%" PRIu64 "\n", value);
        wr_line line;
        wr_line_begin(&line);
        wr_line_decimal(&line, value);
        assert_line(&line, expected);
    }
}

static void test_hex_of_any_value_is_as_printf_writes_it(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    static const uint64_t borders[] = {0, 1, 9, 10, 15, 16, UINT32_MAX, UINT64_MAX};
    for (size_t i = 0; i < COUNT_OF(borders) + 1000; i++) {
        uint64_t value = i < COUNT_OF(borders) ? borders[i] : random_next(&random) >> (random % 64);
        char expected[32];
        (void)snprintf(expected, sizeof expected, "0x%" PRIx64 "\n", value);
        wr_line line;
        wr_line_begin(&line);
        wr_line_hex(&line, value);
        assert_line(&line, expected);
    }
}

static void test_bytes_below_a_kib_have_no_fraction(void **state)
{
    (void)state;
    assert_bytes(0, "0 bytes\n");
    assert_bytes(1, "1 bytes\n");
    assert_bytes(17, "17 bytes\n");
    assert_bytes(1023, "1023 bytes\n");
}

static void test_bytes_of_whole_units_have_no_fraction(void **state)
{
    (void)state;
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB", "PiB"};
    for (unsigned unit = 1; unit < COUNT_OF(units); unit++) {
        static const unsigned counts[] = {1, 2, 64, 1023};
        for (size_t i = 0; i < COUNT_OF(counts); i++) {
            char expected[32];
            (void)snprintf(expected, sizeof expected, "%u %s\n", counts[i], units[unit]);
            assert_bytes((uint64_t)counts[i] << (10 * unit), expected);
        }
    }
}

static void test_bytes_between_units_are_rounded_down_to_a_tenth(void **state)
{
    (void)state;
    assert_bytes(1025, "1 KiB\n");
    assert_bytes(1024 + 102, "1 KiB\n");
    assert_bytes(1024 + 103, "1.1 KiB\n"); /* a tenth is 102.4 bytes */
    assert_bytes(1024 + 204, "1.1 KiB\n");
    assert_bytes(1024 + 205, "1.2 KiB\n");
    assert_bytes(1024 + 512, "1.5 KiB\n");
    assert_bytes(2047, "1.9 KiB\n");
    assert_bytes(1258291, "1.1 MiB\n");
    assert_bytes(1258292, "1.2 MiB\n"); /* 1.2 MiB is 1258291.2 bytes */
    assert_bytes(MIB - 1, "1023.9 KiB\n");
    assert_bytes(((uint64_t)1 << 40) - 1, "1023.9 GiB\n");
}

static void test_bytes_of_every_size_around_a_kib_are_exact(void **state)
{
    (void)state;
    for (unsigned bytes = 1024; bytes < 8 * 1024; bytes++) {
        unsigned tenths = bytes * 10 / 1024;
        char expected[32];
        if (tenths % 10 == 0) {
            (void)snprintf(expected, sizeof expected, "%u KiB\n", tenths / 10);
        } else {
            (void)snprintf(expected, sizeof expected, "%u.%u KiB\n", tenths / 10, tenths % 10);
        }
        assert_bytes(bytes, expected);
    }
}

static void test_bytes_beyond_the_last_unit_stay_in_it(void **state)
{
    (void)state;
    assert_bytes((uint64_t)1 << 60, "1024 PiB\n");
    assert_bytes(UINT64_MAX, "16383.9 PiB\n");
}

static void test_line_functions_keep_errno(void **state)
{
    (void)state;
    wr_line line;
    errno = ERRNO_UNUSED;
    wr_line_begin(&line);
    wr_line_text(&line, sixty_four);
    wr_line_part(&line, sixty_four, 5);
    wr_line_decimal(&line, 5);
    wr_line_hex(&line, 5);
    wr_line_bytes(&line, 5555);
    wr_line_end(&line);
    assert_int_equal(errno, ERRNO_UNUSED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_line_begun_and_ended_is_a_newline),
        cmocka_unit_test(test_line_parts_are_appended_in_order),
        cmocka_unit_test(test_line_begun_again_forgets_its_text),
        cmocka_unit_test(test_line_part_stops_at_its_length_or_the_end_of_the_text),
        cmocka_unit_test(test_line_part_reads_no_byte_beyond_its_length),
        cmocka_unit_test(test_line_text_that_just_fits_is_whole),
        cmocka_unit_test(test_line_text_beyond_the_room_is_cut),
        cmocka_unit_test(test_line_of_one_endless_text_is_cut_and_ended),
        cmocka_unit_test(test_line_number_beyond_the_room_keeps_its_first_digits),
        cmocka_unit_test(test_line_of_any_length_writes_nothing_behind_its_text),
        cmocka_unit_test(test_decimal_of_any_value_is_as_printf_writes_it),
        cmocka_unit_test(test_hex_of_any_value_is_as_printf_writes_it),
        cmocka_unit_test(test_bytes_below_a_kib_have_no_fraction),
        cmocka_unit_test(test_bytes_of_whole_units_have_no_fraction),
        cmocka_unit_test(test_bytes_between_units_are_rounded_down_to_a_tenth),
        cmocka_unit_test(test_bytes_of_every_size_around_a_kib_are_exact),
        cmocka_unit_test(test_bytes_beyond_the_last_unit_stay_in_it),
        cmocka_unit_test(test_line_functions_keep_errno),
    };
    return cmocka_run_group_tests_name("fmt", tests, NULL, NULL);
}
