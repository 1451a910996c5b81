/* Zones: every byte that differs is damage, the rest is none; a zone never holds a 0. */
#include "diag/zone.h"

#include <string.h>

#include "base/config.h"
#include "support.h"

static _Alignas(16) unsigned char bytes[200];
#define AT(i) ((uintptr_t)bytes + (i))

static void test_each_byte_written_is_damage(void **state)
{
    (void)state;
    for (unsigned i = 20; i < 120; i++) {
        wr_zone_paint(AT(20), AT(120));
        assert_int_not_equal(bytes[i], 0);
        assert_int_equal(wr_zone_look(AT(20), AT(120)).bytes, 0);
        bytes[i] ^= 1;
        wr_damage found = wr_zone_look(AT(20), AT(120));
        assert_int_equal(found.first, AT(i));
        assert_int_equal(found.bytes, 1);
    }
}

static void test_damage_reaches_from_the_first_to_the_last_byte(void **state)
{
    (void)state;
    wr_zone_paint(AT(0), AT(100));
    memset(bytes + 10, 0, 5);
    bytes[40] = 0;
    wr_damage found = wr_zone_look(AT(0), AT(100));
    assert_int_equal(found.first, AT(10));
    assert_int_equal(found.bytes, 31);
}

static void test_paint_leaves_neighbours_alone(void **state)
{
    (void)state;
    memset(bytes, 0, sizeof bytes);
    wr_zone_paint(AT(50), AT(60));
    wr_fill_paint(AT(70), AT(80));
    assert_true(all_zero(bytes, 50) && all_zero(bytes + 60, 10) && all_zero(bytes + 80, 120));
}

static void test_each_byte_of_a_fill_written_is_damage(void **state)
{
    (void)state;
    for (unsigned i = 3; i < 100; i++) {
        wr_fill_paint(AT(3), AT(100));
        assert_int_equal(wr_fill_look(AT(3), AT(100)).bytes, 0);
        bytes[i] ^= 0x80;
        wr_damage found = wr_fill_look(AT(3), AT(100));
        assert_int_equal(found.first, AT(i));
        assert_int_equal(found.bytes, 1);
    }
    assert_int_equal(wr_fill_look(AT(3), AT(3)).bytes, 0);
}

static void test_zones_end_with_the_block_and_where_they_are_looked_at(void **state)
{
    (void)state;
    uintptr_t block = 1 << 20;
    wr_zones of = wr_zones_of(block, 64, block + 16, 24);
    assert_int_equal(of.front, block);
    assert_int_equal(of.start, block + 16);
    assert_int_equal(of.end, block + 40);
    assert_int_equal(of.rear, block + 64);
    of = wr_zones_of(block, 1 << 20, block + 4096, 100);
    assert_int_equal(of.front, block + 4096 - WR_CHECK_FRONT_MOST_BYTES);
    assert_int_equal(of.rear, block + 4196 + WR_CHECK_REAR_MOST_BYTES);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_each_byte_written_is_damage),
        cmocka_unit_test(test_damage_reaches_from_the_first_to_the_last_byte),
        cmocka_unit_test(test_paint_leaves_neighbours_alone),
        cmocka_unit_test(test_each_byte_of_a_fill_written_is_damage),
        cmocka_unit_test(test_zones_end_with_the_block_and_where_they_are_looked_at),
    };
    return cmocka_run_group_tests_name("zone", tests, NULL, NULL);
}
