/* Slabs: every transition of the state word, one case each. Put and add, and disown and listing,
 * are functions of their own, so what two threads may do at once is staged here step by step. */
#include "bin/slab.h"

#include <sched.h>
#include <string.h>

#include "base/assert.h"
#include "bin/bin.h"
#include "bin/granule.h"
#include "crew.h"
#include "page/extent.h"
#include "page/slice.h"
#include "scarce.h"
#include "support.h"

#define THREADS 4

static wr_bin bin; /* slabs only carry its address */
static void *blocks[WR_SLAB_BLOCKS_MAX];

static uintptr_t claim_slices(unsigned class)
{
    bool zero;
    uintptr_t start = wr_extent_claim(wr_size_classes[class].slices, &zero);
    assert_int_not_equal(start, 0);
    return start;
}

static wr_span *open_slab(size_t block_bytes)
{
    unsigned class = wr_size_class_of(block_bytes);
    wr_span *slab = wr_slab_open(claim_slices(class), class, &bin);
    assert_non_null(slab);
    return slab;
}

static void close_slab(wr_span *slab)
{
    size_t slices = wr_span_slices(slab);
    wr_span_close(slab);
    wr_slice_release(slab->start, slices);
}

static unsigned take_all(wr_span *slab, void **out)
{
    unsigned taken = 0;
    unsigned more;
    while ((more = wr_slab_take(slab, WR_BATCH_BLOCKS, out + taken)) != 0) {
        taken += more;
    }
    return taken;
}

static void put_block(wr_span *slab, void *block)
{
    wr_slab_place place;
    CHECK(wr_slab_locate(slab, (uintptr_t)block, &place));
    CHECK(wr_slab_put(slab, place.word, place.bit) == 0);
}

static wr_slab_duty return_block(wr_span *slab, void *block)
{
    put_block(slab, block);
    return wr_slab_add(slab, 1);
}

static int64_t flags_of(const wr_span *slab)
{
    return wr_load_relaxed(&slab->state) & (WR_SLAB_OWNED | WR_SLAB_LISTED);
}

static unsigned bits_of(const wr_span *slab)
{
    unsigned count = 0;
    for (unsigned w = 0; w * WR_WORD_BITS < slab->blocks; w++) {
        count += wr_count_bits(wr_load_relaxed(&slab->free_bits[w]));
    }
    return count;
}

static void assert_state(const wr_span *slab, int64_t flags, int64_t count)
{
    assert_int_equal(flags_of(slab), flags);
    assert_int_equal(wr_slab_count_racy(slab), count);
}

/* A slab that is nobody's, all its blocks out in blocks[]. */
static wr_span *open_all_out(size_t block_bytes)
{
    wr_span *slab = open_slab(block_bytes);
    assert_int_equal(take_all(slab, blocks), slab->blocks);
    assert_int_equal(wr_slab_disown(slab), WR_SLAB_DUTY_NONE);
    assert_state(slab, 0, 0);
    return slab;
}

/* Returns blocks[first] to blocks[end - 1], and gives the slices back. */
static void return_and_close(wr_span *slab, unsigned first, unsigned end)
{
    for (unsigned i = first; i < end; i++) {
        return_block(slab, blocks[i]);
    }
    assert_int_equal(wr_slab_count_racy(slab), slab->blocks);
    close_slab(slab);
}

/* ---- open ---- */

static void test_open_new_slab_is_owned_with_all_blocks_free(void **state)
{
    (void)state;
    wr_span *slab = open_slab(512);
    assert_state(slab, WR_SLAB_OWNED, 128);
    assert_int_equal(bits_of(slab), 128);
    assert_ptr_equal(slab->bin, &bin);
    assert_int_equal(slab->is_spare, 0);
    assert_ptr_equal(wr_span_find(slab->start + 512), slab);
    wr_slab_assert_valid(slab);
    close_slab(slab);
}

static void test_open_every_class_has_the_shape_of_the_table(void **state)
{
    (void)state;
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        const wr_size_class *shape = &wr_size_classes[class];
        wr_span *slab = wr_slab_open(claim_slices(class), class, &bin);
        assert_non_null(slab);
        assert_int_equal(slab->class, class);
        assert_int_equal(slab->block_bytes, shape->block_bytes);
        assert_int_equal(wr_span_slices(slab), shape->slices);
        assert_int_equal(bits_of(slab), shape->blocks);
        uintptr_t last = slab->start + shape->slices * WR_SLICE_BYTES - 1;
        assert_int_equal(wr_region_class_of(slab->start), class);
        assert_int_equal(wr_region_class_of(last), class);
        wr_slab_assert_valid(slab);
        close_slab(slab);
    }
}

static void test_open_after_an_earlier_life_sets_all_anew(void **state)
{
    (void)state;
    wr_span *slab = open_all_out(512);
    uintptr_t start = slab->start;
    return_block(slab, blocks[3]);
    wr_span_close(slab); /* as if the rest had gone with it */
    unsigned class = wr_size_class_of(1024);
    wr_span *again = wr_slab_open(start, class, &bin);
    assert_ptr_equal(again, slab); /* a descriptor stays with its slice */
    assert_state(again, WR_SLAB_OWNED, 64);
    assert_int_equal(bits_of(again), 64);
    assert_int_equal(again->block_bytes, 1024);
    wr_slab_assert_valid(again);
    close_slab(again);
}

static void test_open_for_more_words_replaces_the_descriptor_and_leaves_the_old_one(void **state)
{
    (void)state;
    unsigned large_class = wr_size_class_of(1024);
    /* A slice that never had a slab of the smallest blocks: room for a line of words only. */
    uintptr_t tried[256];
    unsigned count = 0;
    wr_span *old;
    do {
        assert_true(count < COUNT_OF(tried));
        tried[count] = claim_slices(large_class);
        old = wr_span_obtain(tried[count], 1);
        assert_non_null(old);
        count++;
    } while (old->word_room != WR_SPAN_LINE_WORDS);
    uintptr_t start = tried[count - 1];
    assert_ptr_equal(wr_slab_open(start, large_class, &bin), old);
    wr_span_close(old);
    wr_span *present = wr_slab_open(start, wr_size_class_of(8), &bin);
    assert_non_null(present);
    assert_ptr_not_equal(present, old);
    assert_int_equal(bits_of(present), 8192);
    assert_state(old, WR_SLAB_OWNED, 64); /* a late CAS on it still fails */
    wr_span_close(present);
    while (count-- > 0) {
        wr_slice_release(tried[count], 1);
    }
}

static void test_open_without_memory_for_the_descriptor_returns_null(void **state)
{
    (void)state;
    /* The page heap grows until a slice comes that never had a descriptor. */
    uintptr_t held = scarce_claim_all();
    uintptr_t start = claim_slices(1);
    assert_null(wr_span_at(start));
    scarce_kernel_refuses(true);
    scarce_use_up_meta();
    wr_span *slab = wr_slab_open(start, wr_size_class_of(64), &bin);
    scarce_kernel_refuses(false);
    assert_null(slab);
    assert_int_equal(wr_region_class_of(start), WR_CLASS_NONE);
    assert_null(wr_span_find(start));
    slab = wr_slab_open(start, wr_size_class_of(64), &bin); /* the slice is still the caller's */
    assert_non_null(slab);
    close_slab(slab);
    scarce_release_all(held);
}

/* ---- take ---- */

static void test_take_gives_the_lowest_blocks_in_ascending_order(void **state)
{
    (void)state;
    wr_span *slab = open_slab(512);
    assert_int_equal(wr_slab_take(slab, 5, blocks), 5);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal((uintptr_t)blocks[i], slab->start + i * 512);
    }
    return_block(slab, blocks[1]);
    return_block(slab, blocks[3]);
    void *again[3];
    assert_int_equal(wr_slab_take(slab, 3, again), 3);
    assert_ptr_equal(again[0], blocks[1]);
    assert_ptr_equal(again[1], blocks[3]);
    assert_int_equal((uintptr_t)again[2], slab->start + 5 * 512);
    close_slab(slab);
}

static void test_take_goes_on_in_the_next_word(void **state)
{
    (void)state;
    wr_span *slab = open_slab(512);
    assert_int_equal(wr_slab_take(slab, 60, blocks), 60);
    assert_int_equal(wr_slab_take(slab, 10, blocks), 10);
    for (unsigned i = 0; i < 10; i++) {
        assert_int_equal((uintptr_t)blocks[i], slab->start + (60 + i) * 512);
    }
    assert_state(slab, WR_SLAB_OWNED, 58);
    close_slab(slab);
}

static void test_take_of_more_than_is_free_gives_what_there_is(void **state)
{
    (void)state;
    wr_span *slab = open_slab(4096);
    assert_int_equal(wr_slab_take(slab, 64, blocks), 16);
    assert_state(slab, WR_SLAB_OWNED, 0);
    close_slab(slab);
}

static void test_take_of_a_slab_without_free_blocks_gives_none(void **state)
{
    (void)state;
    wr_span *slab = open_slab(4096);
    take_all(slab, blocks);
    void *untouched = &bin;
    assert_int_equal(wr_slab_take(slab, 64, &untouched), 0);
    assert_ptr_equal(untouched, &bin);
    assert_state(slab, WR_SLAB_OWNED, 0);
    close_slab(slab);
}

/* ---- take of whole lines ---- */

static void test_take_lines_passes_over_lines_with_a_block_out(void **state)
{
    (void)state;
    wr_span *slab = open_slab(16); /* 4 to a line */
    assert_int_equal(wr_slab_take(slab, 64, blocks), 64);
    /* Free now: lines 0 and 1 but for a block each, lines 2 and 3, and all from the 16th on. */
    for (unsigned i = 0; i < 16; i++) {
        if (i != 2 && i != 7) {
            return_block(slab, blocks[i]);
        }
    }
    void *out[12];
    assert_int_equal(wr_slab_take_lines(slab, 11, out), 8);
    for (unsigned i = 0; i < 8; i++) {
        assert_ptr_equal(out[i], blocks[8 + i]);
    }
    assert_int_equal(wr_slab_take_lines(slab, 6, out), 4);
    for (unsigned i = 0; i < 4; i++) {
        assert_int_equal((uintptr_t)out[i], slab->start + (64 + i) * 16);
    }
    assert_state(slab, WR_SLAB_OWNED, slab->blocks - 64 - 4 + 6);
    close_slab(slab);
}

static void test_take_lines_of_every_class_starts_and_ends_at_borders(void **state)
{
    (void)state;
    for (unsigned class = 1; wr_size_classes[class].block_bytes < WR_CACHE_LINE_BYTES; class ++) {
        size_t bytes = wr_size_classes[class].block_bytes;
        wr_span *slab = open_slab(bytes);
        unsigned total = 0;
        unsigned taken;
        while ((taken = wr_slab_take_lines(slab, 64, blocks + total)) != 0) {
            assert_true(is_aligned(blocks[total], WR_CACHE_LINE_BYTES));
            assert_true(is_aligned((char *)blocks[total + taken - 1] + bytes, WR_CACHE_LINE_BYTES));
            total += taken;
        }
        assert_true(total + 8 > slab->blocks); /* but for a part of a line at the end */
        close_slab(slab);
    }
}

static void test_take_lines_passes_over_absent_granules_and_touches_stale_ones(void **state)
{
    (void)state;
    wr_span *slab = open_slab(8);
    size_t granule_bytes = (size_t)1 << wr_granule_shift(slab->bytes);
    void *out[8];
    wr_granule_set_absent(slab, 1);
    slab->stale = 6;
    assert_int_equal(wr_slab_take_lines(slab, 8, out), 8);
    assert_int_equal((uintptr_t)out[0], slab->start + granule_bytes);
    assert_int_equal(slab->stale, 4);
    assert_int_equal(wr_granule_absent(slab), 1);
    wr_granule_set_absent(slab, (uint32_t)wr_mask(0, (unsigned)(slab->bytes / granule_bytes)));
    slab->stale = 0;
    assert_int_equal(wr_slab_take_lines(slab, 8, out), 0);
    wr_granule_set_absent(slab, 0);
    close_slab(slab);
}

static void test_take_lines_gives_none_where_they_are_no_use(void **state)
{
    (void)state;
    wr_span *slab = open_slab(8);
    assert_int_equal(wr_slab_take_lines(slab, 7, blocks), 0);
    assert_int_equal(wr_slab_take_lines(slab, 8, blocks), 8);
    close_slab(slab);
    slab = open_slab(64);
    assert_int_equal(wr_slab_take_lines(slab, 64, blocks), 0);
    close_slab(slab);
}

static void test_take_gives_every_block_of_every_class_once(void **state)
{
    (void)state;
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        wr_span *slab = wr_slab_open(claim_slices(class), class, &bin);
        assert_non_null(slab);
        unsigned count = take_all(slab, blocks);
        assert_int_equal(count, wr_size_classes[class].blocks);
        for (unsigned i = 0; i < count; i++) {
            assert_int_equal((uintptr_t)blocks[i], slab->start + i * slab->block_bytes);
        }
        assert_true((uintptr_t)blocks[count - 1] + slab->block_bytes <= slab->start + slab->bytes);
        close_slab(slab);
    }
}

/* ---- locate ---- */

static void test_locate_block_start_of_any_class_is_its_bit(void **state)
{
    (void)state;
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        wr_span *slab = wr_slab_open(claim_slices(class), class, &bin);
        assert_non_null(slab);
        for (unsigned i = 0; i < slab->blocks; i++) {
            wr_slab_place place;
            assert_true(wr_slab_locate(slab, slab->start + i * slab->block_bytes, &place));
            assert_int_equal(place.word, i / 64);
            assert_int_equal(place.bit, (uint64_t)1 << (i % 64));
        }
        close_slab(slab);
    }
}

static void test_locate_any_other_byte_is_no_block(void **state)
{
    (void)state;
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        wr_span *slab = wr_slab_open(claim_slices(class), class, &bin);
        assert_non_null(slab);
        wr_slab_place place;
        size_t used = (size_t)slab->blocks * slab->block_bytes;
        for (size_t offset = 0; offset < slab->bytes; offset++) {
            bool is_start = offset < used && offset % slab->block_bytes == 0;
            if (wr_slab_locate(slab, slab->start + offset, &place) != is_start) {
                fail_msg("class %u, offset %zu", class, offset);
            }
        }
        close_slab(slab);
    }
}

static void test_locate_tail_of_slab_is_no_block(void **state)
{
    (void)state;
    wr_span *slab = open_slab(48); /* 16 bytes are left over behind the last block */
    wr_slab_place place;
    assert_true(wr_slab_locate(slab, slab->start + 1364 * 48, &place));
    assert_false(wr_slab_locate(slab, slab->start + 1365 * 48, &place));
    close_slab(slab);
}

/* ---- put ---- */

static void test_put_of_a_block_that_is_out_sets_its_bit_and_leaves_the_count(void **state)
{
    (void)state;
    wr_span *slab = open_slab(1024);
    wr_slab_take(slab, 3, blocks);
    assert_int_equal(wr_slab_put(slab, 0, 2), 0);
    assert_int_equal(bits_of(slab), 62);
    assert_state(slab, WR_SLAB_OWNED, 61);
    close_slab(slab);
}

static void test_put_of_a_free_block_returns_its_bit(void **state)
{
    (void)state;
    wr_span *slab = open_slab(512);
    assert_int_equal(wr_slab_put(slab, 1, 4), 4);
    assert_int_equal(bits_of(slab), 128);
    close_slab(slab);
}

static void test_put_of_several_returns_only_those_that_were_free(void **state)
{
    (void)state;
    wr_span *slab = open_slab(512);
    wr_slab_take(slab, 4, blocks);
    assert_int_equal(wr_slab_put(slab, 0, 0x3c), 0x30);
    assert_int_equal(bits_of(slab), 126);
    close_slab(slab);
}

/* ---- add ---- */

static void test_add_to_an_owned_slab_only_counts(void **state)
{
    (void)state;
    wr_span *slab = open_slab(1024);
    wr_slab_take(slab, 3, blocks);
    assert_int_equal(return_block(slab, blocks[0]), WR_SLAB_DUTY_NONE);
    assert_state(slab, WR_SLAB_OWNED, 62);
    put_block(slab, blocks[1]);
    put_block(slab, blocks[2]);
    assert_int_equal(wr_slab_add(slab, 2), WR_SLAB_DUTY_NONE); /* the owner decides, though full */
    assert_state(slab, WR_SLAB_OWNED, 64);
    close_slab(slab);
}

static void test_add_to_a_slab_of_nobody_lists_it(void **state)
{
    (void)state;
    wr_span *slab = open_all_out(1024);
    assert_int_equal(return_block(slab, blocks[5]), WR_SLAB_DUTY_LIST);
    assert_state(slab, WR_SLAB_LISTED, 1);
    return_block(slab, blocks[0]);
    blocks[5] = blocks[1];
    return_and_close(slab, 2, 64);
}

static void test_add_to_a_listed_slab_has_no_duty_while_blocks_are_out(void **state)
{
    (void)state;
    wr_span *slab = open_all_out(4096);
    assert_int_equal(return_block(slab, blocks[0]), WR_SLAB_DUTY_LIST);
    for (unsigned i = 1; i < 15; i++) {
        assert_int_equal(return_block(slab, blocks[i]), WR_SLAB_DUTY_NONE);
        assert_state(slab, WR_SLAB_LISTED, i + 1);
    }
    return_and_close(slab, 15, 16);
}

static void test_add_of_the_last_block_to_a_listed_slab_finds_it_empty(void **state)
{
    (void)state;
    wr_span *slab = open_all_out(4096);
    for (unsigned i = 0; i < 15; i++) {
        return_block(slab, blocks[i]);
    }
    assert_int_equal(return_block(slab, blocks[15]), WR_SLAB_DUTY_EMPTY);
    assert_state(slab, WR_SLAB_LISTED, 16);
    close_slab(slab);
}

static void test_add_of_all_blocks_at_once_to_a_slab_of_nobody_lists_it_first(void **state)
{
    (void)state;
    wr_span *slab = open_all_out(4096);
    assert_int_equal(wr_slab_put(slab, 0, 0xffff), 0);
    assert_int_equal(wr_slab_add(slab, 16), WR_SLAB_DUTY_LIST);
    assert_true(wr_slab_is_empty_racy(slab, 16)); /* what the lister's second look finds */
    close_slab(slab);
}

/* The owner takes a block again that was put but not added, then gives the slab up: the count is
 * below the truth by one, and the late add brings it to 0. */
static void test_add_that_comes_late_to_a_count_of_0_does_not_list(void **state)
{
    (void)state;
    wr_span *slab = open_slab(4096);
    take_all(slab, blocks);
    put_block(slab, blocks[7]);
    void *again;
    assert_int_equal(wr_slab_take(slab, 1, &again), 1);
    assert_ptr_equal(again, blocks[7]);
    assert_state(slab, WR_SLAB_OWNED, -1);
    assert_int_equal(wr_slab_disown(slab), WR_SLAB_DUTY_NONE);
    assert_state(slab, 0, -1);
    assert_int_equal(wr_slab_add(slab, 1), WR_SLAB_DUTY_NONE);
    assert_state(slab, 0, 0);
    assert_int_equal(return_block(slab, again), WR_SLAB_DUTY_LIST);
    blocks[7] = blocks[0];
    return_and_close(slab, 1, 16);
}

static void test_add_below_zero_does_not_list_and_the_one_above_does(void **state)
{
    (void)state;
    wr_span *slab = open_slab(4096);
    take_all(slab, blocks);
    put_block(slab, blocks[2]);
    put_block(slab, blocks[3]);
    void *again[2];
    assert_int_equal(wr_slab_take(slab, 2, again), 2);
    assert_int_equal(wr_slab_disown(slab), WR_SLAB_DUTY_NONE);
    assert_state(slab, 0, -2);
    put_block(slab, again[0]);
    assert_int_equal(wr_slab_add(slab, 1), WR_SLAB_DUTY_NONE);
    assert_state(slab, 0, -1);
    assert_int_equal(wr_slab_add(slab, 1), WR_SLAB_DUTY_NONE);
    assert_state(slab, 0, 0);
    assert_int_equal(wr_slab_add(slab, 1), WR_SLAB_DUTY_LIST); /* whoever brings the rest */
    assert_state(slab, WR_SLAB_LISTED, 1);
    assert_int_equal(bits_of(slab), 1);
    close_slab(slab);
}

/* A puts and adds, B puts and adds before A has set the index bit. */
static void test_add_between_listing_and_index_bit_has_no_duty(void **state)
{
    (void)state;
    wr_span *slab = open_all_out(4096);
    put_block(slab, blocks[0]);
    put_block(slab, blocks[1]);
    assert_int_equal(wr_slab_add(slab, 1), WR_SLAB_DUTY_LIST);
    assert_int_equal(wr_slab_add(slab, 1), WR_SLAB_DUTY_NONE);
    return_and_close(slab, 2, 16);
}

/* A lists and stalls; B brings the last block: both are told that the slab is empty. */
static void test_add_of_the_last_block_and_a_late_lister_both_see_the_slab_empty(void **state)
{
    (void)state;
    wr_span *slab = open_all_out(4096);
    for (unsigned i = 0; i < 16; i++) {
        put_block(slab, blocks[i]);
    }
    assert_int_equal(wr_slab_add(slab, 15), WR_SLAB_DUTY_LIST);
    assert_false(wr_slab_is_empty_racy(slab, 16));
    assert_int_equal(wr_slab_add(slab, 1), WR_SLAB_DUTY_EMPTY);
    assert_true(wr_slab_is_empty_racy(slab, 16));
    wr_slab_claimed(slab); /* one of them clears the bit, the other then sees an owner */
    assert_false(wr_slab_is_empty_racy(slab, 16));
    assert_int_equal(wr_slab_disown(slab), WR_SLAB_DUTY_EMPTY);
    close_slab(slab);
}

/* ---- disown and claimed ---- */

static void test_disown_with_free_blocks_lists(void **state)
{
    (void)state;
    wr_span *slab = open_slab(4096);
    wr_slab_take(slab, 3, blocks);
    assert_int_equal(wr_slab_disown(slab), WR_SLAB_DUTY_LIST);
    assert_state(slab, WR_SLAB_LISTED, 13);
    return_and_close(slab, 0, 3);
}

static void test_disown_without_free_blocks_leaves_it_to_nobody(void **state)
{
    (void)state;
    wr_span *slab = open_slab(4096);
    take_all(slab, blocks);
    assert_int_equal(wr_slab_disown(slab), WR_SLAB_DUTY_NONE);
    assert_state(slab, 0, 0);
    return_and_close(slab, 0, 16);
}

static void test_disown_of_an_empty_slab_keeps_it_owned(void **state)
{
    (void)state;
    wr_span *slab = open_slab(4096);
    assert_int_equal(wr_slab_disown(slab), WR_SLAB_DUTY_EMPTY);
    assert_state(slab, WR_SLAB_OWNED, 16);
    close_slab(slab);
}

static void test_disown_before_the_last_add_lists_an_empty_looking_slab(void **state)
{
    (void)state;
    wr_span *slab = open_slab(4096);
    wr_slab_take(slab, 1, blocks);
    put_block(slab, blocks[0]);
    assert_int_equal(bits_of(slab), 16);
    assert_int_equal(wr_slab_disown(slab), WR_SLAB_DUTY_LIST); /* the count is what decides */
    assert_state(slab, WR_SLAB_LISTED, 15);
    assert_int_equal(wr_slab_add(slab, 1), WR_SLAB_DUTY_EMPTY);
    close_slab(slab);
}

static void test_disown_before_a_late_add_leaves_the_listing_to_it(void **state)
{
    (void)state;
    wr_span *slab = open_slab(4096);
    take_all(slab, blocks);
    put_block(slab, blocks[4]);
    assert_int_equal(wr_slab_disown(slab), WR_SLAB_DUTY_NONE);
    assert_int_equal(wr_slab_add(slab, 1), WR_SLAB_DUTY_LIST);
    assert_state(slab, WR_SLAB_LISTED, 1);
    blocks[4] = blocks[0];
    return_and_close(slab, 1, 16);
}

static void test_claimed_turns_listed_into_owned_and_keeps_the_count(void **state)
{
    (void)state;
    wr_span *slab = open_slab(4096);
    wr_slab_take(slab, 3, blocks);
    wr_slab_disown(slab);
    wr_slab_claimed(slab);
    assert_state(slab, WR_SLAB_OWNED, 13);
    close_slab(slab);
}

static void test_claimed_slab_takes_adds_without_duty(void **state)
{
    (void)state;
    wr_span *slab = open_slab(4096);
    wr_slab_take(slab, 2, blocks);
    put_block(slab, blocks[0]);
    put_block(slab, blocks[1]);
    wr_slab_disown(slab);
    wr_slab_claimed(slab);
    assert_int_equal(wr_slab_add(slab, 1), WR_SLAB_DUTY_NONE);
    assert_int_equal(wr_slab_add(slab, 1), WR_SLAB_DUTY_NONE);
    assert_int_equal(wr_slab_disown(slab), WR_SLAB_DUTY_EMPTY);
    close_slab(slab);
}

/* ---- later lives ---- */

/* The CAS of a putter that stalled after its add: from the state that it saw to LISTED. */
static bool late_cas(wr_span *slab, int64_t seen)
{
    return wr_cas_strong_acq_rel(&slab->state, &seen, seen | WR_SLAB_LISTED);
}

static void test_late_cas_on_a_retired_slab_fails(void **state)
{
    (void)state;
    wr_span *slab = open_all_out(4096);
    for (unsigned i = 0; i < 16; i++) {
        put_block(slab, blocks[i]);
    }
    /* The slow putter's add of one block, up to its CAS. */
    int64_t seen = wr_fetch_add_seq_cst(&slab->state, 1 << WR_SLAB_COUNT_SHIFT);
    seen += 1 << WR_SLAB_COUNT_SHIFT;
    assert_int_equal(wr_slab_add(slab, 15), WR_SLAB_DUTY_LIST);
    wr_slab_claimed(slab);
    assert_int_equal(wr_slab_disown(slab), WR_SLAB_DUTY_EMPTY);
    wr_span_close(slab);
    assert_false(late_cas(slab, seen));
    assert_state(slab, WR_SLAB_OWNED, 16);
    wr_slice_release(slab->start, 1);
}

static void test_late_cas_on_a_later_life_that_is_owned_fails(void **state)
{
    (void)state;
    wr_span *slab = open_all_out(4096);
    uintptr_t start = slab->start;
    int64_t seen = 1 << WR_SLAB_COUNT_SHIFT; /* nobody's, one block free */
    wr_span_close(slab);
    slab = wr_slab_open(start, wr_size_class_of(8192), &bin);
    wr_slab_take(slab, 7, blocks);
    assert_state(slab, WR_SLAB_OWNED, 1);
    assert_false(late_cas(slab, seen));
    assert_int_equal(wr_slab_disown(slab), WR_SLAB_DUTY_LIST);
    assert_false(late_cas(slab, seen));
    assert_state(slab, WR_SLAB_LISTED, 1);
    close_slab(slab);
}

/* If it succeeds, the later life was nobody's with a free block: its own putter, which added and is
 * about to try the same CAS, then finds LISTED and has no duty, so the slab is listed once. */
static void test_late_cas_on_a_later_life_of_nobody_lists_it_once(void **state)
{
    (void)state;
    wr_span *slab = open_all_out(4096);
    uintptr_t start = slab->start;
    int64_t seen = 1 << WR_SLAB_COUNT_SHIFT;
    wr_span_close(slab);
    slab = wr_slab_open(start, wr_size_class_of(8192), &bin);
    take_all(slab, blocks);
    wr_slab_disown(slab);
    put_block(slab, blocks[0]);
    int64_t later = wr_fetch_add_seq_cst(&slab->state, 1 << WR_SLAB_COUNT_SHIFT);
    later += 1 << WR_SLAB_COUNT_SHIFT;
    assert_int_equal(later, seen);
    assert_true(late_cas(slab, seen));
    assert_false(late_cas(slab, later));
    assert_state(slab, WR_SLAB_LISTED, 1);
    close_slab(slab);
}

static void test_is_empty_of_a_later_life_answers_for_the_count_that_was_asked(void **state)
{
    (void)state;
    wr_span *slab = open_slab(8192);
    wr_slab_take(slab, 1, blocks);
    wr_slab_disown(slab);
    assert_false(wr_slab_is_empty_racy(slab, 8));
    assert_true(wr_slab_is_empty_racy(slab, 7)); /* spurious: the claim then finds out */
    wr_slab_claimed(slab);
    assert_false(wr_slab_is_empty_racy(slab, 7));
    close_slab(slab);
}

/* ---- recount and validity ---- */

static void test_recount_sets_the_count_from_the_bits_and_keeps_the_flags(void **state)
{
    (void)state;
    wr_span *slab = open_slab(512);
    wr_slab_take(slab, 10, blocks);
    (void)wr_fetch_and_relaxed(&slab->free_bits[1], ~(uint64_t)7); /* a take without its count */
    assert_state(slab, WR_SLAB_OWNED, 118);
    wr_slab_recount(slab);
    assert_state(slab, WR_SLAB_OWNED, 115);
    wr_slab_disown(slab);
    put_block(slab, blocks[0]); /* a put without its add */
    wr_slab_recount(slab);
    assert_state(slab, WR_SLAB_LISTED, 116);
    close_slab(slab);
}

#if WR_DEBUG
static void check_valid(void *slab)
{
    wr_slab_assert_valid(slab);
}

static void test_assert_valid_of_a_wrong_count_aborts_in_debug_builds(void **state)
{
    (void)state;
    wr_span *slab = open_slab(512);
    struct outcome outcome;
    wr_slab_take(slab, 2, blocks);
    run_child(check_valid, slab, &outcome);
    assert_clean_exit(&outcome);
    put_block(slab, blocks[0]);
    run_child(check_valid, slab, &outcome);
    assert_non_null(strstr(outcome.text, "weir: assertion failed: wr_slab_count_racy(slab) == "));
    close_slab(slab);
}
#endif

/* ---- sequential model ---- */

struct model {
    wr_span *slab;
    bool is_out[WR_SLAB_BLOCKS_MAX]; /* all others have their bit set */
    unsigned set;                    /* bits that are set */
    unsigned uncounted;              /* blocks put, taken again or not, whose add is to come */
    int64_t flags;
    bool indexed;   /* the lister has set the index bit */
    bool shrinking; /* blocks come back word after word, so that the slab empties */
    unsigned next_word;
};

static struct model model;

static const size_t model_sizes[] = {4096, 1024, 640, 512, 64, 8};

static void model_open(uintptr_t start, uint64_t *random)
{
    size_t size = model_sizes[random_next(random) % COUNT_OF(model_sizes)];
    model.slab = wr_slab_open(start, wr_size_class_of(size), &bin);
    assert_non_null(model.slab);
    model.set = model.slab->blocks;
    model.uncounted = 0;
    model.flags = WR_SLAB_OWNED;
    model.indexed = false;
    memset(model.is_out, 0, sizeof model.is_out);
}

static void model_take(uint64_t *random)
{
    unsigned most = (unsigned)(random_next(random) % WR_BATCH_BLOCKS) + 1;
    unsigned taken = wr_slab_take(model.slab, most, blocks);
    assert_int_equal(taken, wr_min(most, model.set));
    unsigned index = 0;
    for (unsigned i = 0; i < taken; i++) {
        while (model.is_out[index]) {
            index++;
        }
        assert_int_equal((uintptr_t)blocks[i], model.slab->start + index * model.slab->block_bytes);
        model.is_out[index] = true;
    }
    model.set -= taken;
}

/* Puts random blocks of one word, some of which may be free. */
static void model_put(uint64_t *random)
{
    unsigned words = (model.slab->blocks + 63u) / 64;
    unsigned word = (unsigned)(random_next(random) % words);
    uint64_t bits = random_next(random) & random_next(random);
    if (model.shrinking) {
        word = model.next_word++ % words;
        bits = ~(uint64_t)0;
    }
    uint64_t free_bits = 0;
    uint64_t put_bits = 0;
    for (unsigned i = 0; i < 64; i++) {
        unsigned index = word * 64 + i;
        if (index >= model.slab->blocks) {
            bits &= ~((uint64_t)1 << i);
        } else if ((bits >> i & 1) != 0) {
            *(model.is_out[index] ? &put_bits : &free_bits) |= (uint64_t)1 << i;
            model.is_out[index] = false;
        }
    }
    assert_int_equal(wr_slab_put(model.slab, word, bits), free_bits);
    model.set += wr_count_bits(put_bits);
    model.uncounted += wr_count_bits(put_bits);
}

static void model_add(uint64_t *random)
{
    unsigned n = (unsigned)(random_next(random) % model.uncounted) + 1;
    n = model.shrinking ? model.uncounted : n;
    model.uncounted -= n;
    int64_t count = (int64_t)model.set - model.uncounted;
    wr_slab_duty expected = WR_SLAB_DUTY_NONE;
    if (model.flags == WR_SLAB_LISTED && count == model.slab->blocks) {
        expected = WR_SLAB_DUTY_EMPTY;
    } else if (model.flags == 0 && count > 0) {
        expected = WR_SLAB_DUTY_LIST;
        model.flags = WR_SLAB_LISTED;
    }
    assert_int_equal(wr_slab_add(model.slab, n), expected);
}

/* True if the slab was empty: then it is retired and another class opened in its place. */
static bool model_give_up(uint64_t *random)
{
    wr_slab_duty duty = wr_slab_disown(model.slab);
    int64_t count = (int64_t)model.set - model.uncounted;
    if (count == model.slab->blocks) {
        assert_int_equal(duty, WR_SLAB_DUTY_EMPTY);
        uintptr_t start = model.slab->start;
        wr_span_close(model.slab);
        model_open(start, random);
        return true;
    }
    assert_int_equal(duty, count > 0 ? WR_SLAB_DUTY_LIST : WR_SLAB_DUTY_NONE);
    model.flags = count > 0 ? WR_SLAB_LISTED : 0;
    return false;
}

/* The lister sets the index bit and looks at the count. */
static void model_index(void)
{
    model.indexed = true;
    bool is_empty = (int64_t)model.set - model.uncounted == model.slab->blocks;
    assert_int_equal(wr_slab_is_empty_racy(model.slab, model.slab->blocks), is_empty);
}

static void model_claim(void)
{
    wr_slab_claimed(model.slab);
    model.indexed = false;
    model.flags = WR_SLAB_OWNED;
}

static void test_slab_random_steps_match_the_model(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    unsigned lives = 0;
    model_open(claim_slices(wr_size_class_of(8)), &random);
    for (unsigned step = 0; step < TEST_SCALE(400000, 60000); step++) {
        uint64_t kind = random_next(&random) % 16;
        model.shrinking = step / 1000 % 2 == 1;
        if (kind < 4 && !model.shrinking && model.flags == WR_SLAB_OWNED) {
            model_take(&random);
        } else if (kind < 9) {
            model_put(&random);
        } else if (kind < 13 && model.uncounted > 0) {
            model_add(&random);
        } else if (kind == 13 && model.flags == WR_SLAB_OWNED) {
            lives += model_give_up(&random);
        } else if (kind == 14 && model.flags == WR_SLAB_LISTED) {
            model_index();
        } else if (kind == 15 && model.indexed) {
            model_claim();
        }
        assert_state(model.slab, model.flags, (int64_t)model.set - model.uncounted);
        assert_int_equal(bits_of(model.slab), model.set);
    }
    assert_true(lives > 3);
    close_slab(model.slab);
}

/* ---- threads ---- */

/* One slab, an index of one bit, and many lives: what the bin does, in small. */
static struct {
    wr_span *slab;
    WR_CACHE_ALIGNED _Atomic uint64_t index; /* bit 0: the slab is listed */
    _Atomic unsigned lives;
} shared;

static const size_t life_sizes[] = {1024, 4096, 2048, 8192, 640, 256};

static void shared_claim_empty(void);

static void shared_list(wr_span *slab)
{
    uint32_t count = slab->blocks;
    (void)wr_fetch_or_seq_cst(&shared.index, 1);
    if (wr_slab_is_empty_racy(slab, count)) {
        shared_claim_empty();
    }
}

/* The caller owns the slab and no block is out: another class moves in, listed at once. */
static void shared_retire(wr_span *slab)
{
    uintptr_t start = slab->start;
    unsigned life = wr_fetch_add_relaxed(&shared.lives, 1) + 1;
    wr_span_close(slab);
    unsigned class = wr_size_class_of(life_sizes[life % COUNT_OF(life_sizes)]);
    CHECK(wr_slab_open(start, class, &bin) == slab);
    (void)wr_fetch_add_relaxed(&slab->state, WR_SLAB_LISTED - WR_SLAB_OWNED);
    (void)wr_fetch_or_seq_cst(&shared.index, 1);
}

static void shared_settle(wr_span *slab, wr_slab_duty duty, bool owned)
{
    switch (duty) {
    case WR_SLAB_DUTY_NONE:
        break;
    case WR_SLAB_DUTY_LIST:
        shared_list(slab);
        break;
    case WR_SLAB_DUTY_EMPTY:
        owned ? shared_retire(slab) : shared_claim_empty();
        break;
    }
}

static void shared_claim_empty(void)
{
    if ((wr_fetch_and_seq_cst(&shared.index, ~(uint64_t)1) & 1) != 0) {
        wr_slab_claimed(shared.slab);
        shared_settle(shared.slab, wr_slab_disown(shared.slab), true);
    }
}

static unsigned shared_take(unsigned most, void **out)
{
    if ((wr_fetch_and_seq_cst(&shared.index, ~(uint64_t)1) & 1) == 0) {
        return 0;
    }
    wr_slab_claimed(shared.slab);
    unsigned taken = wr_slab_take(shared.slab, most, out);
    shared_settle(shared.slab, wr_slab_disown(shared.slab), true);
    return taken;
}

static void shared_return(unsigned count, void **held)
{
    for (unsigned i = 0; i < count; i++) {
        put_block(shared.slab, held[i]);
    }
    shared_settle(shared.slab, wr_slab_add(shared.slab, count), false);
}

enum { HELD_MAX = 48, ROUNDS = TEST_SCALE(200000, 40000) };

/* Takes and returns in random portions; `enter` and `leave` see each block come and go. */
static void shared_use(unsigned number, uint64_t *random, void (*enter)(unsigned, void *),
                       void (*leave)(unsigned, void *))
{
    void *held[HELD_MAX];
    unsigned count = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned n = (unsigned)(random_next(random) % 8) + 1;
        if (random_next(random) % 2 == 0 && count + n <= HELD_MAX) {
            unsigned got = shared_take(n, held + count);
            for (unsigned i = 0; i < got; i++) {
                enter(number, held[count + i]);
            }
            count += got;
        } else if (count > 0) {
            n = n < count && random_next(random) % 4 != 0 ? n : count;
            for (unsigned i = 0; i < n; i++) {
                leave(number, held[count - n + i]);
            }
            shared_return(n, held + count - n);
            count -= n;
        }
    }
    for (unsigned i = 0; i < count; i++) {
        leave(number, held[i]);
    }
    if (count > 0) {
        shared_return(count, held);
    }
}

static void run_shared(crew_body *body)
{
    wr_span *slab = open_slab(life_sizes[0]);
    memset((void *)slab->start, 0, slab->bytes);
    shared.slab = slab;
    wr_store_relaxed(&shared.lives, 0);
    (void)wr_fetch_add_relaxed(&slab->state, WR_SLAB_LISTED - WR_SLAB_OWNED);
    wr_store_seq_cst(&shared.index, 1);
    crew_run(THREADS, test_seed(), body);
    /* Nothing is lost: all blocks are back, the slab is listed and in its index. */
    assert_state(slab, WR_SLAB_LISTED, slab->blocks);
    assert_int_equal(bits_of(slab), slab->blocks);
    assert_int_equal(wr_load_relaxed(&shared.index), 1);
    assert_true(wr_load_relaxed(&shared.lives) > 0);
    close_slab(slab);
}

/* The first word of a block names its holder, 0 while it has none. Relaxed, so that only the slab
 * orders anything. */
static void enter_once(unsigned number, void *block)
{
    CHECK(wr_fetch_add_relaxed((_Atomic uint64_t *)block, number + 1) == 0);
}

static void leave_once(unsigned number, void *block)
{
    CHECK(wr_fetch_sub_relaxed((_Atomic uint64_t *)block, number + 1) == number + 1);
}

static void use_once(unsigned number, uint64_t *random)
{
    shared_use(number, random, enter_once, leave_once);
}

static void test_slab_under_threads_gives_each_block_to_one_holder(void **state)
{
    (void)state;
    run_shared(use_once);
}

/* Plain writes of the whole block: a race detector sees whether take comes after put. */
static void enter_plainly(unsigned number, void *block)
{
    pattern_fill(block, 256, number);
}

static void leave_plainly(unsigned number, void *block)
{
    CHECK(pattern_holds(block, 256, number));
    memset(block, 0, 256);
}

static void use_plainly(unsigned number, uint64_t *random)
{
    shared_use(number, random, enter_plainly, leave_plainly);
}

static void test_slab_torture_with_plain_writes_has_no_race(void **state)
{
    (void)state;
    run_shared(use_plainly);
}

/* One owner takes, another thread puts into the same word what was taken: no bit may be lost. */
static struct {
    wr_span *slab;
    WR_CACHE_ALIGNED _Atomic(void *) under_way[8]; /* from the owner to the other */
    _Atomic bool done;
} pair;

static void take_in_pair(uint64_t *random)
{
    for (unsigned round = 0; round < TEST_SCALE(400000, 60000); round++) {
        void *held[COUNT_OF(pair.under_way)];
        unsigned most = (unsigned)(random_next(random) % COUNT_OF(held)) + 1;
        unsigned count = wr_slab_take(pair.slab, most, held);
        for (unsigned i = 0; i < count; i++) {
            pattern_fill(held[i], 64, round);
            void *other = wr_exchange_acq_rel(&pair.under_way[i], held[i]);
            if (other != NULL) {
                return_block(pair.slab, other);
            }
        }
    }
    wr_store_release(&pair.done, true);
}

static void put_in_pair(uint64_t *random)
{
    while (!wr_load_acquire(&pair.done)) {
        size_t at = random_next(random) % COUNT_OF(pair.under_way);
        void *block = wr_exchange_acq_rel(&pair.under_way[at], NULL);
        if (block != NULL) {
            memset(block, 0, 64);
            CHECK(return_block(pair.slab, block) == WR_SLAB_DUTY_NONE);
        }
    }
}

static void work_in_pair(unsigned number, uint64_t *random)
{
    number == 0 ? take_in_pair(random) : put_in_pair(random);
}

static void test_take_and_put_in_one_word_at_once_lose_no_block(void **state)
{
    (void)state;
    pair.slab = open_slab(1024);
    crew_run(2, test_seed(), work_in_pair);
    for (size_t i = 0; i < COUNT_OF(pair.under_way); i++) {
        void *block = wr_exchange_acq_rel(&pair.under_way[i], NULL);
        if (block != NULL) {
            return_block(pair.slab, block);
        }
    }
    assert_state(pair.slab, WR_SLAB_OWNED, 64);
    assert_int_equal(bits_of(pair.slab), 64);
    close_slab(pair.slab);
}

/* One thread puts a block, another waits until it can take it: nothing else orders the two, so a
 * race detector sees what put publishes and take observes. */
static void hand_on_by_the_slab(unsigned number, uint64_t *random)
{
    (void)random;
    if (number == 0) {
        pattern_fill(blocks[0], 64, 1);
        put_block(pair.slab, blocks[0]);
        return;
    }
    void *taken;
    while (wr_slab_take(pair.slab, 1, &taken) == 0) {
        sched_yield();
    }
    CHECK(taken == blocks[0]);
    CHECK(pattern_holds(taken, 64, 1));
    pattern_fill(taken, 64, 2);
}

static void test_take_sees_what_was_done_in_the_block_before_its_put(void **state)
{
    (void)state;
    pair.slab = open_slab(4096);
    take_all(pair.slab, blocks);
    crew_run(2, 0, hand_on_by_the_slab);
    assert_int_equal(wr_slab_add(pair.slab, 1), WR_SLAB_DUTY_NONE); /* of the put above */
    assert_state(pair.slab, WR_SLAB_OWNED, 0);
    return_and_close(pair.slab, 0, 16);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_open_new_slab_is_owned_with_all_blocks_free),
        cmocka_unit_test(test_open_every_class_has_the_shape_of_the_table),
        cmocka_unit_test(test_open_after_an_earlier_life_sets_all_anew),
        cmocka_unit_test(test_open_for_more_words_replaces_the_descriptor_and_leaves_the_old_one),
        cmocka_unit_test(test_open_without_memory_for_the_descriptor_returns_null),
        cmocka_unit_test(test_take_gives_the_lowest_blocks_in_ascending_order),
        cmocka_unit_test(test_take_goes_on_in_the_next_word),
        cmocka_unit_test(test_take_of_more_than_is_free_gives_what_there_is),
        cmocka_unit_test(test_take_of_a_slab_without_free_blocks_gives_none),
        cmocka_unit_test(test_take_lines_passes_over_lines_with_a_block_out),
        cmocka_unit_test(test_take_lines_of_every_class_starts_and_ends_at_borders),
        cmocka_unit_test(test_take_lines_passes_over_absent_granules_and_touches_stale_ones),
        cmocka_unit_test(test_take_lines_gives_none_where_they_are_no_use),
        cmocka_unit_test(test_take_gives_every_block_of_every_class_once),
        cmocka_unit_test(test_locate_block_start_of_any_class_is_its_bit),
        cmocka_unit_test(test_locate_any_other_byte_is_no_block),
        cmocka_unit_test(test_locate_tail_of_slab_is_no_block),
        cmocka_unit_test(test_put_of_a_block_that_is_out_sets_its_bit_and_leaves_the_count),
        cmocka_unit_test(test_put_of_a_free_block_returns_its_bit),
        cmocka_unit_test(test_put_of_several_returns_only_those_that_were_free),
        cmocka_unit_test(test_add_to_an_owned_slab_only_counts),
        cmocka_unit_test(test_add_to_a_slab_of_nobody_lists_it),
        cmocka_unit_test(test_add_to_a_listed_slab_has_no_duty_while_blocks_are_out),
        cmocka_unit_test(test_add_of_the_last_block_to_a_listed_slab_finds_it_empty),
        cmocka_unit_test(test_add_of_all_blocks_at_once_to_a_slab_of_nobody_lists_it_first),
        cmocka_unit_test(test_add_that_comes_late_to_a_count_of_0_does_not_list),
        cmocka_unit_test(test_add_below_zero_does_not_list_and_the_one_above_does),
        cmocka_unit_test(test_add_between_listing_and_index_bit_has_no_duty),
        cmocka_unit_test(test_add_of_the_last_block_and_a_late_lister_both_see_the_slab_empty),
        cmocka_unit_test(test_disown_with_free_blocks_lists),
        cmocka_unit_test(test_disown_without_free_blocks_leaves_it_to_nobody),
        cmocka_unit_test(test_disown_of_an_empty_slab_keeps_it_owned),
        cmocka_unit_test(test_disown_before_the_last_add_lists_an_empty_looking_slab),
        cmocka_unit_test(test_disown_before_a_late_add_leaves_the_listing_to_it),
        cmocka_unit_test(test_claimed_turns_listed_into_owned_and_keeps_the_count),
        cmocka_unit_test(test_claimed_slab_takes_adds_without_duty),
        cmocka_unit_test(test_late_cas_on_a_retired_slab_fails),
        cmocka_unit_test(test_late_cas_on_a_later_life_that_is_owned_fails),
        cmocka_unit_test(test_late_cas_on_a_later_life_of_nobody_lists_it_once),
        cmocka_unit_test(test_is_empty_of_a_later_life_answers_for_the_count_that_was_asked),
        cmocka_unit_test(test_recount_sets_the_count_from_the_bits_and_keeps_the_flags),
#if WR_DEBUG
        cmocka_unit_test(test_assert_valid_of_a_wrong_count_aborts_in_debug_builds),
#endif
        cmocka_unit_test(test_slab_random_steps_match_the_model),
        cmocka_unit_test(test_slab_under_threads_gives_each_block_to_one_holder),
        cmocka_unit_test(test_take_and_put_in_one_word_at_once_lose_no_block),
        cmocka_unit_test(test_slab_torture_with_plain_writes_has_no_race),
        cmocka_unit_test(test_take_sees_what_was_done_in_the_block_before_its_put),
    };
    return cmocka_run_group_tests_name("slab", tests, NULL, NULL);
}
