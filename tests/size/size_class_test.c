/* size/size_class: every size, every offset, every alignment; the tables are constant, so the
 * checks are exhaustive.
 */
#include "support.h"

#include "size/size_class.h"

#define SLICE_BYTES 65536u
#define LEFT_OVER   50 /* a slab leaves at most one part in so many */

/* A slab has at least so many blocks. */
static unsigned blocks_min(size_t block_bytes)
{
    return block_bytes <= SLICE_BYTES ? 8 : 4;
}

/* The smallest class whose blocks have `size` bytes and lie at multiples of `alignment`. */
static unsigned smallest_fitting(size_t size, size_t alignment)
{
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        size_t block_bytes = wr_size_classes[class].block_bytes;
        if (block_bytes >= size && (alignment <= 8 || block_bytes % alignment == 0)) {
            return class;
        }
    }
    return WR_CLASS_NONE;
}

static void test_class_of_every_size_is_the_smallest_that_fits(void **state)
{
    (void)state;
    for (size_t size = 0; size <= WR_SMALL_MAX_BYTES; size++) {
        unsigned class = wr_size_class_of(size);
        assert_in_range(class, 1, wr_size_class_of(WR_SMALL_MAX_BYTES));
        assert_true(wr_size_classes[class].block_bytes >= size);
        assert_true(class == 1 || wr_size_classes[class - 1].block_bytes < size);
    }
}

static void test_class_of_zero_bytes_is_the_smallest(void **state)
{
    (void)state;
    assert_int_equal(wr_size_class_of(0), 1);
    assert_int_equal(wr_size_class_of(8), 1);
    assert_int_equal(wr_size_class_of(9), 2);
}

static void test_mark_is_found_for_small_sizes_only(void **state)
{
    (void)state;
    size_t mark = 1;
    for (size_t size = 0; size <= WR_SMALL_MAX_BYTES; size++) {
        assert_true(wr_size_find_mark(size, &mark));
        assert_int_equal(mark, wr_class_mark_of(wr_size_class_of(size)));
    }
    assert_false(wr_size_find_mark(WR_SMALL_MAX_BYTES + 1, &mark));
    assert_false(wr_size_find_mark(SIZE_MAX, &mark));
}

static void test_class_of_largest_size_has_blocks_of_it(void **state)
{
    (void)state;
    assert_int_equal(wr_size_classes[wr_size_class_of(WR_SMALL_MAX_BYTES)].block_bytes,
                     WR_SMALL_MAX_BYTES);
    assert_int_equal(wr_size_class_of_medium(WR_MEDIUM_MAX_BYTES, 1), WR_CLASS_COUNT - 1);
    assert_int_equal(wr_size_classes[WR_CLASS_COUNT - 1].block_bytes, WR_MEDIUM_MAX_BYTES);
}

static void test_class_of_a_power_of_two_and_a_header_has_room_for_an_eighth(void **state)
{
    (void)state;
    for (size_t power = 1 * KIB; power < WR_SMALL_MAX_BYTES; power *= 2) {
        unsigned class = wr_size_class_of(power + 1);
        assert_int_equal(wr_size_classes[class].block_bytes, power + power / 8);
        assert_int_equal(wr_size_class_of(power + power / 8), class);
        assert_int_equal(wr_size_classes[class - 1].block_bytes, power);
    }
}

static void test_class_of_size_from_128_wastes_at_most_a_fifth(void **state)
{
    (void)state;
    for (size_t size = 128; size <= WR_MEDIUM_MAX_BYTES; size++) {
        unsigned class =
            size <= WR_SMALL_MAX_BYTES ? wr_size_class_of(size) : wr_size_class_of_medium(size, 1);
        size_t block_bytes = wr_size_classes[class].block_bytes;
        assert_true((block_bytes - size) * 5 <= block_bytes);
    }
}

static void test_class_of_size_below_128_wastes_less_than_a_step(void **state)
{
    (void)state;
    for (size_t size = 1; size < 128; size++) {
        size_t block_bytes = wr_size_classes[wr_size_class_of(size)].block_bytes;
        assert_true(block_bytes - size < (size <= 8 ? 8 : 16));
    }
}

static void test_class_of_size_from_16_has_blocks_at_multiples_of_16(void **state)
{
    (void)state;
    for (size_t size = 16; size <= WR_SMALL_MAX_BYTES; size++) {
        assert_int_equal(wr_size_classes[wr_size_class_of(size)].block_bytes % 16, 0);
    }
}

static void test_class_of_its_own_block_size_is_the_class(void **state)
{
    (void)state;
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        size_t bytes = wr_size_classes[class].block_bytes;
        assert_int_equal(bytes <= WR_SMALL_MAX_BYTES ? wr_size_class_of(bytes)
                                                     : wr_size_class_of_medium(bytes, 1),
                         class);
    }
}

static void test_table_ascends_in_block_size(void **state)
{
    (void)state;
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        assert_true(wr_size_classes[class].block_bytes > wr_size_classes[class - 1].block_bytes);
    }
}

static void test_table_class_none_has_no_blocks(void **state)
{
    (void)state;
    assert_int_equal(WR_CLASS_NONE, 0);
    assert_int_equal(wr_size_classes[WR_CLASS_NONE].block_bytes, 0);
    assert_int_equal(wr_size_classes[WR_CLASS_NONE].blocks, 0);
    assert_int_equal(wr_size_classes[WR_CLASS_NONE].slices, 0);
}

static void test_table_blocks_are_all_that_fit_the_slices(void **state)
{
    (void)state;
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        const wr_size_class *c = &wr_size_classes[class];
        assert_int_equal(c->blocks, c->slices * SLICE_BYTES / c->block_bytes);
    }
}

static void test_table_slabs_stay_within_their_limits(void **state)
{
    (void)state;
    unsigned blocks_most = 0;
    unsigned slices_most = 0;
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        const wr_size_class *c = &wr_size_classes[class];
        assert_in_range(c->blocks, blocks_min(c->block_bytes), WR_SLAB_BLOCKS_MAX);
        assert_in_range(c->slices, 1, WR_SLAB_SLICES_MAX);
        blocks_most = c->blocks > blocks_most ? c->blocks : blocks_most;
        slices_most = c->slices > slices_most ? c->slices : slices_most;
    }
    assert_int_equal(blocks_most, WR_SLAB_BLOCKS_MAX);
    assert_true(slices_most > 1);
}

static size_t left_over(size_t block_bytes, size_t slices)
{
    return slices * SLICE_BYTES % block_bytes;
}

static bool leaves_little(size_t block_bytes, size_t slices)
{
    return left_over(block_bytes, slices) * LEFT_OVER <= slices * SLICE_BYTES;
}

static void test_table_slab_leaves_at_most_2_percent_or_the_least(void **state)
{
    (void)state;
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        size_t bytes = wr_size_classes[class].block_bytes;
        size_t slices = wr_size_classes[class].slices;
        for (size_t other = 1; other <= WR_SLAB_SLICES_MAX; other++) {
            if (leaves_little(bytes, slices) || other * SLICE_BYTES / bytes < blocks_min(bytes)) {
                continue;
            }
            /* Shares compared by cross multiplication. */
            assert_false(leaves_little(bytes, other));
            assert_true(left_over(bytes, slices) * other <= left_over(bytes, other) * slices);
        }
    }
}

static void test_table_slab_is_the_shortest_that_leaves_little(void **state)
{
    (void)state;
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        size_t bytes = wr_size_classes[class].block_bytes;
        for (size_t less = 1; less < wr_size_classes[class].slices; less++) {
            assert_true(less * SLICE_BYTES / bytes < blocks_min(bytes) ||
                        !leaves_little(bytes, less));
        }
    }
}

static void test_divide_of_every_offset_in_a_slab_is_exact(void **state)
{
    (void)state;
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        uint32_t bytes = wr_size_classes[class].block_bytes;
        uint32_t reciprocal = wr_size_classes[class].reciprocal;
        uint32_t end = wr_size_classes[class].slices * SLICE_BYTES;
        uint32_t wrong = 0;
        for (uint32_t offset = 0; offset < end; offset++) {
            wrong += wr_size_class_divide(offset, reciprocal) != offset / bytes;
        }
        assert_int_equal(wrong, 0);
    }
}

static void test_class_of_aligned_every_size_is_the_smallest_that_fits(void **state)
{
    (void)state;
    for (size_t alignment = 1; alignment <= WR_SMALL_MAX_BYTES; alignment *= 2) {
        unsigned expected = WR_CLASS_NONE;
        for (size_t size = 0; size <= WR_SMALL_MAX_BYTES; size++) {
            /* Classes ascend: what fitted the size before is looked at again only when too small.
             */
            if (wr_size_classes[expected].block_bytes < size || expected == WR_CLASS_NONE) {
                expected = smallest_fitting(size, alignment);
                assert_int_not_equal(expected, WR_CLASS_NONE);
            }
            assert_int_equal(wr_size_class_of_aligned(size, alignment), expected);
        }
    }
}

static void test_class_of_aligned_to_8_and_less_is_the_class_of_the_size(void **state)
{
    (void)state;
    for (size_t alignment = 1; alignment <= 8; alignment *= 2) {
        for (size_t size = 0; size <= WR_SMALL_MAX_BYTES; size++) {
            assert_int_equal(wr_size_class_of_aligned(size, alignment), wr_size_class_of(size));
        }
    }
}

static void test_class_of_aligned_blocks_lie_at_multiples_in_the_slab(void **state)
{
    (void)state;
    for (size_t alignment = 1; alignment <= WR_SMALL_MAX_BYTES; alignment *= 2) {
        for (size_t size = 0; size <= WR_SMALL_MAX_BYTES; size += 7) {
            const wr_size_class *c = &wr_size_classes[wr_size_class_of_aligned(size, alignment)];
            /* A slab starts at a slice boundary, so its second block tells for all. */
            assert_int_equal(c->block_bytes % alignment, 0);
        }
    }
    assert_true(WR_SMALL_MAX_BYTES <= SLICE_BYTES);
}

static void test_class_of_aligned_beyond_the_small_is_none(void **state)
{
    (void)state;
    for (size_t alignment = 1; alignment != 0; alignment *= 2) {
        assert_int_equal(wr_size_class_of_aligned(WR_SMALL_MAX_BYTES + 1, alignment),
                         WR_CLASS_NONE);
        assert_int_equal(wr_size_class_of_aligned(SIZE_MAX, alignment), WR_CLASS_NONE);
        if (alignment > WR_SMALL_MAX_BYTES) {
            assert_int_equal(wr_size_class_of_aligned(0, alignment), WR_CLASS_NONE);
            assert_int_equal(wr_size_class_of_aligned(1, alignment), WR_CLASS_NONE);
            assert_int_equal(wr_size_class_of_aligned(WR_SMALL_MAX_BYTES, alignment),
                             WR_CLASS_NONE);
        }
    }
}

static void test_class_of_medium_every_size_is_the_smallest_that_fits(void **state)
{
    (void)state;
    for (size_t alignment = 1; alignment <= SLICE_BYTES; alignment *= 2) {
        assert_int_equal(wr_size_class_of_medium(1, SLICE_BYTES),
                         smallest_fitting(SLICE_BYTES, SLICE_BYTES));
        for (size_t size = WR_SMALL_MAX_BYTES + 1; size <= WR_MEDIUM_MAX_BYTES; size += 13) {
            assert_int_equal(wr_size_class_of_medium(size, alignment),
                             smallest_fitting(size, alignment));
        }
    }
}

static void test_class_of_medium_beyond_the_medium_is_none(void **state)
{
    (void)state;
    for (size_t alignment = 1; alignment != 0; alignment *= 2) {
        assert_int_equal(wr_size_class_of_medium(WR_MEDIUM_MAX_BYTES + 1, alignment),
                         WR_CLASS_NONE);
        assert_int_equal(wr_size_class_of_medium(SIZE_MAX, alignment), WR_CLASS_NONE);
        if (alignment > SLICE_BYTES) {
            assert_int_equal(wr_size_class_of_medium(WR_MEDIUM_MAX_BYTES, alignment),
                             WR_CLASS_NONE);
        }
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_class_of_every_size_is_the_smallest_that_fits),
        cmocka_unit_test(test_class_of_zero_bytes_is_the_smallest),
        cmocka_unit_test(test_mark_is_found_for_small_sizes_only),
        cmocka_unit_test(test_class_of_largest_size_has_blocks_of_it),
        cmocka_unit_test(test_class_of_a_power_of_two_and_a_header_has_room_for_an_eighth),
        cmocka_unit_test(test_class_of_size_from_128_wastes_at_most_a_fifth),
        cmocka_unit_test(test_class_of_size_below_128_wastes_less_than_a_step),
        cmocka_unit_test(test_class_of_size_from_16_has_blocks_at_multiples_of_16),
        cmocka_unit_test(test_class_of_its_own_block_size_is_the_class),
        cmocka_unit_test(test_table_ascends_in_block_size),
        cmocka_unit_test(test_table_class_none_has_no_blocks),
        cmocka_unit_test(test_table_blocks_are_all_that_fit_the_slices),
        cmocka_unit_test(test_table_slabs_stay_within_their_limits),
        cmocka_unit_test(test_table_slab_leaves_at_most_2_percent_or_the_least),
        cmocka_unit_test(test_table_slab_is_the_shortest_that_leaves_little),
        cmocka_unit_test(test_divide_of_every_offset_in_a_slab_is_exact),
        cmocka_unit_test(test_class_of_aligned_every_size_is_the_smallest_that_fits),
        cmocka_unit_test(test_class_of_aligned_to_8_and_less_is_the_class_of_the_size),
        cmocka_unit_test(test_class_of_aligned_blocks_lie_at_multiples_in_the_slab),
        cmocka_unit_test(test_class_of_aligned_beyond_the_small_is_none),
        cmocka_unit_test(test_class_of_medium_every_size_is_the_smallest_that_fits),
        cmocka_unit_test(test_class_of_medium_beyond_the_medium_is_none),
    };
    return cmocka_run_group_tests_name("size_class", tests, NULL, NULL);
}
