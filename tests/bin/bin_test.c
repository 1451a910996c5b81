/* Bins: refill, return, give up, the index and the spare, alone and against each other. The late
 * halves of steps are staged with the functions of bin/slab.h and an index bit set by hand. */
#include "bin/bin.h"

#include <sched.h>
#include <string.h>

#include "base/assert.h"
#include "bin/granule.h"
#include "bin_support.h"
#include "crew.h"
#include "os/host.h"
#include "os/vm.h"
#include "page/commit.h"
#include "page/extent.h"
#include "page/purge.h"
#include "page/slice.h"
#include "scarce.h"

#define THREADS 4

static void *blocks[WR_SLAB_BLOCKS_MAX];

static _Atomic uint64_t *index_word(const wr_span *slab, uint64_t *bit)
{
    unsigned slice = wr_slice_number(slab->start);
    *bit = (uint64_t)1 << (slice % WR_WORD_BITS);
    return &wr_region_of(slab->start)->listed[slice / WR_WORD_BITS][slab->class];
}

static bool is_indexed(const wr_span *slab)
{
    uint64_t bit;
    return (wr_load_relaxed(index_word(slab, &bit)) & bit) != 0;
}

/* The step that a late lister has yet to do. */
static void set_index_bit(const wr_span *slab)
{
    uint64_t bit;
    _Atomic uint64_t *word = index_word(slab, &bit);
    assert_int_equal(wr_fetch_or_seq_cst(word, bit) & bit, 0);
    wr_summary_mark(&wr_region_of(slab->start)->listed_words[slab->class],
                    wr_slice_number(slab->start) / WR_WORD_BITS);
}

/* The first half of returning a block. */
static void put_block(wr_span *slab, void *block)
{
    wr_slab_place place;
    assert_true(wr_slab_locate(slab, (uintptr_t)block, &place));
    assert_int_equal(wr_slab_put(slab, place.word, place.bit), 0);
}

/* ---- refill ---- */

static void test_refill_of_an_empty_bin_opens_a_slab_and_owns_it(void **state)
{
    (void)state;
    wr_bin *bin = bin_of(2048);
    assert_int_equal(slabs_of(bin), 0);
    wr_span *kept = NULL;
    assert_int_equal(wr_bin_refill(bin, &kept, 5, blocks), 5);
    assert_int_equal(slabs_of(bin), 1);
    assert_non_null(kept);
    assert_ptr_equal(kept->bin, bin);
    assert_int_equal(flags_of(kept), WR_SLAB_OWNED);
    for (unsigned i = 0; i < 5; i++) {
        assert_int_equal((uintptr_t)blocks[i], kept->start + i * 2048);
    }
    return_blocks(5, blocks);
    wr_bin_give_up(kept);
    assert_at_rest(bin);
}

static void test_refill_takes_from_the_kept_slab_first(void **state)
{
    (void)state;
    wr_bin *bin = bin_of(2048);
    wr_span *low = take_slab(bin, blocks);
    wr_bin_give_up(low);
    wr_span *kept = NULL;
    wr_bin_refill(bin, &kept, 1, blocks + 32);
    assert_ptr_not_equal(kept, low);
    wr_span *before = kept;
    wr_return(3, blocks, "free"); /* the other slab is listed now */
    assert_int_equal(wr_bin_refill(bin, &kept, 3, blocks), 3);
    assert_ptr_equal(kept, before);
    assert_ptr_equal(slab_of(blocks[0]), before);
    return_blocks(33, blocks);
    wr_bin_give_up(kept);
    assert_at_rest(bin);
}

static void test_refill_gives_no_more_than_one_slab_has(void **state)
{
    (void)state;
    wr_bin *bin = bin_of(4096);
    wr_span *kept = NULL;
    assert_int_equal(wr_bin_refill(bin, &kept, 10, blocks), 10);
    assert_int_equal(wr_bin_refill(bin, &kept, 10, blocks + 10), 6);
    assert_int_equal(slabs_of(bin), 1);
    return_blocks(16, blocks);
    wr_bin_give_up(kept);
    assert_at_rest(bin);
}

static void test_refill_gives_up_a_kept_slab_without_free_blocks(void **state)
{
    (void)state;
    wr_bin *bin = bin_of(4096);
    wr_span *full = take_slab(bin, blocks);
    wr_span *kept = full;
    assert_int_equal(wr_bin_refill(bin, &kept, 1, blocks + 16), 1);
    assert_ptr_not_equal(kept, full);
    assert_int_equal(flags_of(full), 0);
    assert_int_equal(slabs_of(bin), 2);
    return_blocks(17, blocks);
    wr_bin_give_up(kept);
    assert_at_rest(bin);
}

static void test_refill_claims_the_lowest_listed_slab(void **state)
{
    (void)state;
    enum { SLABS = 5 };
    wr_bin *bin = bin_of(4096);
    wr_span *slabs[SLABS];
    wr_span *lowest = NULL;
    for (unsigned i = 0; i < SLABS; i++) {
        slabs[i] = take_slab(bin, blocks + i * 16);
        wr_bin_give_up(slabs[i]);
    }
    for (unsigned i = SLABS; i-- > 1;) {
        wr_return(1, &blocks[i * 16], "free");
        assert_true(is_indexed(slabs[i]));
        lowest = lowest == NULL || slabs[i]->start < lowest->start ? slabs[i] : lowest;
    }
    wr_span *kept = NULL;
    void *block;
    assert_int_equal(wr_bin_refill(bin, &kept, 64, &block), 1);
    assert_ptr_equal(kept, lowest);
    assert_false(is_indexed(kept));
    wr_return(1, &block, "free");
    wr_bin_give_up(kept);
    for (unsigned i = 1; i < SLABS; i++) {
        return_blocks(15, blocks + i * 16 + 1);
    }
    return_blocks(16, blocks);
    assert_at_rest(bin);
}

static void test_refill_of_64_and_of_1_gives_so_many(void **state)
{
    (void)state;
    wr_bin *bin = bin_of(64);
    wr_span *kept = NULL;
    assert_int_equal(wr_bin_refill(bin, &kept, 64, blocks), 64);
    assert_int_equal(wr_bin_refill(bin, &kept, 1, blocks + 64), 1);
    for (unsigned i = 1; i < 65; i++) {
        assert_true(blocks[i - 1] < blocks[i]);
    }
    return_blocks(65, blocks);
    wr_bin_give_up(kept);
    assert_at_rest(bin);
}

static void test_refill_without_memory_gives_none_and_changes_nothing(void **state)
{
    (void)state;
    wr_bin *bin = bin_of(28672);
    assert_int_equal(slabs_of(bin), 0);
    wr_span *kept = NULL;
    scarce_kernel_refuses(true);
    uintptr_t held = scarce_claim_all();
    unsigned taken = wr_bin_refill(bin, &kept, 8, blocks);
    scarce_release_all(held);
    scarce_kernel_refuses(false);
    assert_int_equal(taken, 0);
    assert_null(kept);
    assert_int_equal(slabs_of(bin), 0);
    assert_int_equal(wr_bin_refill(bin, &kept, 8, blocks), 8);
    return_blocks(8, blocks);
    wr_bin_give_up(kept);
    assert_at_rest(bin);
}

static void test_refill_takes_away_a_mark_that_leads_to_no_slab(void **state)
{
    (void)state;
    wr_bin *bin = bin_of(24576);
    assert_int_equal(slabs_of(bin), 0);
    wr_summary *words = &wr_region_at(0)->listed_words[bin->class];
    wr_summary_mark(words, WR_SUMMARY_WORDS - 1);
    wr_span *kept = NULL;
    assert_int_equal(wr_bin_refill(bin, &kept, 8, blocks), 8);
    assert_int_equal(wr_summary_next(words, 0), WR_SUMMARY_WORDS);
    return_blocks(8, blocks);
    wr_bin_give_up(kept);
    assert_at_rest(bin);
}

/* The slices that the refill claims and gives back are as they were: zero, or with page frames. */
static void refill_without_descriptors(bool purged)
{
    uintptr_t held = scarce_claim_all();
    size_t step = WR_GROWTH_MIN_BYTES / WR_SLICE_BYTES;
    bool zero;
    uintptr_t fresh = wr_extent_claim(step, &zero); /* slices that never had a descriptor */
    assert_true(fresh != 0);
    uintptr_t rest = scarce_claim_all();
    size_t dirty = wr_slice_dirty_count();
    if (purged) {
        wr_slice_release_purged(fresh, step);
    } else {
        wr_slice_release(fresh, step);
    }
    scarce_kernel_refuses(true);
    scarce_use_up_meta();
    wr_span *kept = NULL;
    unsigned taken = wr_bin_refill(bin_of(20480), &kept, 8, blocks);
    scarce_kernel_refuses(false);
    assert_int_equal(taken, 0);
    assert_null(kept);
    assert_int_equal(slabs_of(bin_of(20480)), 0);
    assert_int_equal(wr_slice_dirty_count(), dirty + (purged ? 0 : step));
    assert_true(wr_slice_claim_at(fresh, step, &zero));
    assert_int_equal(zero, purged);
    wr_slice_release(fresh, step);
    scarce_release_all(rest);
    scarce_release_all(held);
}

static void test_refill_without_memory_for_descriptors_gives_the_slices_back(void **state)
{
    (void)state;
    refill_without_descriptors(true);
    refill_without_descriptors(false);
}

/* ---- return, give up, spare ---- */

static void test_return_to_a_slab_of_nobody_lists_it(void **state)
{
    (void)state;
    wr_bin *bin = bin_of(4096);
    wr_span *slab = take_slab(bin, blocks);
    wr_bin_give_up(slab);
    assert_false(is_indexed(slab));
    wr_return(1, &blocks[9], "free");
    assert_int_equal(flags_of(slab), WR_SLAB_LISTED);
    assert_true(is_indexed(slab));
    blocks[9] = blocks[15];
    return_blocks(15, blocks);
    assert_at_rest(bin);
}

static void test_return_of_the_last_block_makes_the_slab_the_spare(void **state)
{
    (void)state;
    wr_bin *bin = bin_of(4096);
    wr_span *slab = take_slab(bin, blocks);
    assert_int_equal(wr_load_relaxed(&bin->spares), 0);
    wr_bin_give_up(slab);
    return_blocks(16, blocks);
    assert_int_equal(wr_load_relaxed(&bin->spares), 1);
    assert_int_equal(slab->is_spare, 1);
    assert_int_equal(slabs_of(bin), 1);
    assert_int_equal(flags_of(slab), WR_SLAB_LISTED);
    assert_true(is_indexed(slab));
    assert_int_equal(wr_slab_count_racy(slab), 16);
}

static void test_return_of_a_second_empty_slab_retires_it(void **state)
{
    (void)state;
    wr_bin *bin = bin_of(4096);
    wr_span *first = take_slab(bin, blocks);
    wr_bin_give_up(first);
    wr_span *second = take_slab(bin, blocks + 16);
    wr_bin_give_up(second);
    assert_int_equal(slabs_of(bin), 2);
    return_blocks(32, blocks);
    assert_int_equal(slabs_of(bin), 1);
    wr_span *gone = first->is_spare ? second : first;
    assert_int_equal(wr_span_kind_of(gone), WR_SPAN_FREE);
    assert_false(is_indexed(gone));
    assert_int_equal(flags_of(gone), WR_SLAB_OWNED); /* retired */
    uintptr_t start = gone->start;
    bool zero;
    assert_true(wr_slice_claim_at(start, 1, &zero)); /* its slices are in the page heap */
    assert_int_equal(wr_region_class_of(start), WR_CLASS_NONE);
    wr_slice_release(start, 1);
    assert_at_rest(bin);
}

static void test_give_up_of_an_empty_slab_makes_it_the_spare_or_retires_it(void **state)
{
    (void)state;
    wr_bin *bin = bin_of(8192);
    wr_span *first = take_slab(bin, blocks);
    wr_span *second = take_slab(bin, blocks + 8);
    return_blocks(16, blocks);
    assert_int_equal(flags_of(first), WR_SLAB_OWNED); /* the owner decides */
    assert_int_equal(slabs_of(bin), 2);
    wr_bin_give_up(first);
    assert_int_equal(first->is_spare, 1);
    wr_bin_give_up(second);
    assert_int_equal(wr_span_kind_of(second), WR_SPAN_FREE);
    assert_at_rest(bin);
}

static void test_refill_claims_the_spare_and_makes_room_for_another(void **state)
{
    (void)state;
    wr_bin *bin = bin_of(8192);
    wr_span *slab = take_slab(bin, blocks);
    wr_bin_give_up(slab);
    return_blocks(8, blocks);
    assert_int_equal(slab->is_spare, 1);
    wr_span *kept = NULL;
    assert_int_equal(wr_bin_refill(bin, &kept, 3, blocks), 3);
    assert_ptr_equal(kept, slab);
    assert_int_equal(slab->is_spare, 0);
    assert_int_equal(wr_load_relaxed(&bin->spares), 0);
    return_blocks(3, blocks);
    wr_bin_give_up(kept);
    assert_at_rest(bin);
}

/* ---- take ---- */

static void test_take_gives_every_block_of_a_slab_and_keeps_no_slab(void **state)
{
    (void)state;
    wr_bin *bin = bin_of(4096);
    for (unsigned i = 0; i < 16; i++) {
        blocks[i] = wr_bin_take(bin);
        assert_non_null(blocks[i]);
        assert_int_equal((uintptr_t)blocks[i], (uintptr_t)blocks[0] + i * 4096);
        assert_int_equal(flags_of(slab_of(blocks[i])), i < 15 ? WR_SLAB_LISTED : 0);
        assert_int_equal(is_indexed(slab_of(blocks[i])), i < 15);
    }
    assert_int_equal(slabs_of(bin), 1);
    blocks[16] = wr_bin_take(bin);
    assert_int_equal(slabs_of(bin), 2);
    return_blocks(17, blocks);
    assert_at_rest(bin);
}

static void test_take_without_memory_is_null(void **state)
{
    (void)state;
    wr_bin *bin = bin_of(14336);
    assert_int_equal(slabs_of(bin), 0);
    scarce_kernel_refuses(true);
    uintptr_t held = scarce_claim_all();
    void *block = wr_bin_take(bin);
    scarce_release_all(held);
    scarce_kernel_refuses(false);
    assert_null(block);
    assert_int_equal(slabs_of(bin), 0);
    block = wr_bin_take(bin);
    assert_non_null(block);
    wr_return(1, &block, "free");
    assert_at_rest(bin);
}

static void test_sparse_is_what_was_stored(void **state)
{
    (void)state;
    wr_bin *bin = bin_of(4096);
    assert_false(wr_bin_is_sparse(bin));
    wr_store_relaxed(&bin->sparse, 1);
    assert_true(wr_bin_is_sparse(bin));
    assert_false(wr_bin_is_sparse(bin_of(8192)));
    /* A hint for caches: the bin itself serves as before. */
    void *block = wr_bin_take(bin);
    assert_non_null(block);
    wr_return(1, &block, "free");
    wr_store_relaxed(&bin->sparse, 0);
    assert_at_rest(bin);
}

/* ---- trim ---- */

static wr_bin_census trim(wr_bin *bin, wr_trim how)
{
    wr_bin_census census;
    memset(&census, 0x77, sizeof census);
    wr_bin_trim(bin, how, &census);
    assert_int_equal(census.slabs, slabs_of(bin));
    assert_int_equal(census.blocks, slabs_of(bin) * wr_size_classes[bin->class].blocks);
    return census;
}

static void assert_census(wr_bin_census census, size_t free_blocks, size_t absent, size_t purged,
                          size_t stale)
{
    assert_int_equal(census.free_blocks, free_blocks);
    assert_int_equal(census.absent_bytes, absent);
    assert_int_equal(census.purged_bytes, purged);
    assert_int_equal(census.stale_bytes, stale);
}

/* All bins without a slab, and no free slice that is charged. */
static size_t settled_bytes(void)
{
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        assert_int_equal(trim(&wr_heap_default.bins[class], WR_TRIM_SLABS).slabs, 0);
    }
    (void)wr_purge_slices(0);
    return wr_commit_bytes();
}

/* A slab of nobody with its first `count` blocks out, in blocks[]. */
static wr_span *give_slab(wr_bin *bin, unsigned count)
{
    wr_span *slab = take_slab(bin, blocks);
    for (unsigned i = 0; i < count; i++) {
        pattern_fill(blocks[i], slab->block_bytes, i);
    }
    return_blocks(slab->blocks - count, blocks + count);
    wr_bin_give_up(slab);
    return slab;
}

static void assert_held(const wr_span *slab, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        assert_true(pattern_holds(blocks[i], slab->block_bytes, i));
    }
}

static void test_trim_of_a_bin_without_slabs_finds_nothing(void **state)
{
    (void)state;
    (void)settled_bytes();
    for (int how = WR_TRIM_STALE; how <= WR_TRIM_ALL; how++) {
        assert_census(trim(bin_of(4096), (wr_trim)how), 0, 0, 0, 0);
    }
}

static void test_trim_of_slabs_retires_the_spare_at_once(void **state)
{
    (void)state;
    static const wr_trim hows[] = {WR_TRIM_SLABS, WR_TRIM_ALL};
    wr_bin *bin = bin_of(4096);
    for (unsigned h = 0; h < COUNT_OF(hows); h++) {
        size_t committed = settled_bytes();
        wr_span *slab = give_slab(bin, 0);
        assert_int_equal(slab->is_spare, 1);
        uintptr_t start = slab->start;
        wr_bin_census census = trim(bin, hows[h]);
        assert_int_equal(census.slabs, 0);
        assert_census(census, 0, 0, 0, 0);
        assert_int_equal(wr_load_relaxed(&bin->spares), 0);
        assert_int_equal(wr_span_kind_of(slab), WR_SPAN_FREE);
        assert_false(is_indexed(slab));
        bool zero;
        assert_true(wr_slice_claim_at(start, 1, &zero)); /* as a retired slab: not purged */
        assert_false(zero);
        wr_slice_release(start, 1);
        assert_int_equal(settled_bytes(), committed);
    }
}

static void test_trim_of_what_is_stale_retires_the_spare_at_the_second_look(void **state)
{
    (void)state;
    wr_bin *bin = bin_of(4096);
    size_t committed = settled_bytes();
    wr_span *slab = give_slab(bin, 0);
    assert_census(trim(bin, WR_TRIM_STALE), 16, 0, 0, WR_SLICE_BYTES);
    assert_int_equal(slabs_of(bin), 1);
    assert_int_equal(slab->is_spare, 1);
    assert_int_equal(wr_load_relaxed(&bin->spares), 1);
    assert_true(is_indexed(slab));
    wr_bin_census census = trim(bin, WR_TRIM_STALE);
    assert_int_equal(census.slabs, 0);
    assert_census(census, 0, 0, 0, 0);
    assert_int_equal(wr_load_relaxed(&bin->spares), 0);
    assert_int_equal(wr_span_kind_of(slab), WR_SPAN_FREE);
    assert_int_equal(settled_bytes(), committed);
}

static void test_trim_of_what_is_stale_leaves_a_spare_that_was_used_since(void **state)
{
    (void)state;
    wr_bin *bin = bin_of(4096);
    wr_span *slab = give_slab(bin, 0);
    for (unsigned i = 0; i < 3; i++) {
        (void)trim(bin, WR_TRIM_STALE);
        assert_int_equal(slabs_of(bin), 1);
        void *block = wr_bin_take(bin); /* the lowest again and again: the rest goes */
        assert_ptr_equal(slab_of(block), slab);
        wr_return(1, &block, "free");
        assert_census(trim(bin, WR_TRIM_STALE), 16, WR_SLICE_BYTES - 4096,
                      i == 0 ? WR_SLICE_BYTES - 4096 : 0, 4096);
        block = wr_bin_take(bin);
        wr_return(1, &block, "free");
    }
    (void)trim(bin, WR_TRIM_STALE);
    assert_int_equal(trim(bin, WR_TRIM_STALE).slabs, 0);
}

static void test_trim_of_what_is_stale_purges_granules_at_the_second_look(void **state)
{
    (void)state;
    wr_bin *bin = bin_of(4096);
    size_t committed = settled_bytes();
    wr_span *slab = give_slab(bin, 4);
    const size_t rest = 12 * 4096;
    assert_int_equal(wr_commit_bytes(), committed + WR_SLICE_BYTES);
    assert_census(trim(bin, WR_TRIM_STALE), 12, 0, 0, rest);
    assert_int_equal(wr_commit_bytes(), committed + WR_SLICE_BYTES);
    assert_census(trim(bin, WR_TRIM_STALE), 12, rest, rest, 0);
    assert_int_equal(wr_commit_bytes(), committed + 4 * 4096);
    assert_census(trim(bin, WR_TRIM_STALE), 12, rest, 0, 0);
    assert_int_equal(flags_of(slab), WR_SLAB_LISTED);
    assert_true(is_indexed(slab));
    assert_int_equal(wr_slab_count_racy(slab), 12);
    assert_held(slab, 4);
    return_blocks(4, blocks);
    assert_int_equal(slab->is_spare, 1);
    assert_census(trim(bin, WR_TRIM_STALE), 16, rest, 0, 4 * 4096);
    uintptr_t start = slab->start;
    assert_int_equal(trim(bin, WR_TRIM_STALE).slabs, 0);
    assert_int_equal(wr_commit_bytes(), committed); /* zero slices, since some were absent */
    bool zero;
    assert_true(wr_slice_claim_at(start, 1, &zero));
    assert_true(zero && all_zero((void *)start, WR_SLICE_BYTES));
    wr_slice_release_purged(start, 1);
}

static void test_trim_of_slabs_leaves_granules_alone(void **state)
{
    (void)state;
    wr_bin *bin = bin_of(4096);
    size_t committed = settled_bytes();
    wr_span *slab = give_slab(bin, 1);
    for (unsigned i = 0; i < 3; i++) {
        assert_census(trim(bin, WR_TRIM_SLABS), 15, 0, 0, 0);
    }
    assert_int_equal(slab->stale, 0);
    assert_int_equal(wr_granule_absent(slab), 0);
    assert_int_equal(wr_commit_bytes(), committed + WR_SLICE_BYTES);
    assert_held(slab, 1);
    return_blocks(1, blocks);
    assert_at_rest(bin);
}

static void test_trim_of_all_purges_granules_at_once(void **state)
{
    (void)state;
    wr_bin *bin = bin_of(4096);
    size_t committed = settled_bytes();
    wr_span *slab = give_slab(bin, 5);
    assert_census(trim(bin, WR_TRIM_ALL), 11, 11 * 4096, 11 * 4096, 0);
    assert_int_equal(wr_commit_bytes(), committed + 5 * 4096);
    assert_census(trim(bin, WR_TRIM_ALL), 11, 11 * 4096, 0, 0);
    assert_held(slab, 5);
    /* What comes back is charged, and zero. */
    wr_span *kept = NULL;
    assert_int_equal(wr_bin_refill(bin, &kept, 3, blocks + 5), 3);
    assert_ptr_equal(kept, slab);
    assert_int_equal(wr_commit_bytes(), committed + 8 * 4096);
    for (unsigned i = 5; i < 8; i++) {
        assert_true(all_zero(blocks[i], 4096));
    }
    wr_bin_give_up(kept);
    assert_held(slab, 5);
    return_blocks(8, blocks);
    assert_at_rest(bin);
}

static void test_trim_leaves_owned_slabs_alone(void **state)
{
    (void)state;
    wr_bin *bin = bin_of(4096);
    (void)settled_bytes();
    wr_span *whole = NULL;
    assert_int_equal(wr_bin_refill(bin, &whole, 1, blocks), 1);
    wr_return(1, blocks, "free"); /* all its blocks are free, and it is ours */
    wr_span *part = take_slab(bin, blocks + 16);
    return_blocks(7, blocks + 16);
    size_t committed = wr_commit_bytes();
    for (int how = WR_TRIM_STALE; how <= WR_TRIM_ALL; how++) {
        for (unsigned i = 0; i < 3; i++) {
            assert_census(trim(bin, (wr_trim)how), 0, 0, 0, 0);
        }
    }
    assert_int_equal(slabs_of(bin), 2);
    assert_int_equal(flags_of(whole), WR_SLAB_OWNED);
    assert_int_equal(flags_of(part), WR_SLAB_OWNED);
    assert_int_equal(whole->stale | part->stale, 0);
    assert_int_equal(wr_commit_bytes(), committed);
    wr_bin_give_up(whole);
    wr_bin_give_up(part);
    return_blocks(9, blocks + 23);
    assert_at_rest(bin);
}

static void test_trim_passes_over_slabs_with_less_free_than_a_page(void **state)
{
    (void)state;
    wr_bin *bin = bin_of(64);
    unsigned of_page = (unsigned)(wr_host_page_bytes() / 64);
    wr_span *slab = give_slab(bin, 1024 - (of_page - 1));
    assert_census(trim(bin, WR_TRIM_ALL), of_page - 1, 0, 0, 0);
    assert_census(trim(bin, WR_TRIM_STALE), of_page - 1, 0, 0, 0);
    /* One more, and they make up the last page. */
    wr_return(1, &blocks[1024 - of_page], "free");
    assert_census(trim(bin, WR_TRIM_STALE), of_page, 0, 0, 64 * of_page);
    assert_census(trim(bin, WR_TRIM_ALL), of_page, 64 * of_page, 64 * of_page, 0);
    assert_held(slab, 1024 - of_page);
    return_blocks(1024 - of_page, blocks);
    assert_at_rest(bin);
}

static void test_trim_that_the_kernel_refuses_keeps_the_granules_for_the_next(void **state)
{
    (void)state;
    wr_bin *bin = bin_of(4096);
    size_t committed = settled_bytes();
    wr_span *slab = give_slab(bin, 4);
    fault_refuse(FAULT_MADVISE);
    assert_census(trim(bin, WR_TRIM_ALL), 12, 0, 0, 12 * 4096);
    fault_refuse(0);
    assert_int_equal(wr_commit_bytes(), committed + WR_SLICE_BYTES);
    assert_census(trim(bin, WR_TRIM_STALE), 12, 12 * 4096, 12 * 4096, 0);
    assert_held(slab, 4);
    return_blocks(4, blocks);
    fault_refuse(FAULT_MADVISE);
    assert_int_equal(trim(bin, WR_TRIM_SLABS).slabs, 0);
    fault_refuse(0);
    assert_int_equal(wr_commit_bytes(), committed + WR_SLICE_BYTES); /* dirty slices */
    assert_int_equal(settled_bytes(), committed);
}

/* ---- the hard limit ---- */

static void set_room(size_t bytes)
{
    (void)wr_purge_slices(0);
    wr_commit_set_limits(WR_COMMIT_UNLIMITED, wr_commit_bytes() + bytes);
}

static void lift_limit(void)
{
    wr_commit_set_limits(WR_COMMIT_UNLIMITED, WR_COMMIT_UNLIMITED);
}

static void test_refill_over_the_limit_opens_no_slab(void **state)
{
    (void)state;
    wr_bin *bin = bin_of(4096);
    size_t committed = settled_bytes();
    wr_span *kept = NULL;
    set_room(WR_SLICE_BYTES - 1);
    assert_int_equal(wr_bin_refill(bin, &kept, 8, blocks), 0);
    assert_null(wr_bin_take(bin));
    lift_limit();
    assert_null(kept);
    assert_int_equal(slabs_of(bin), 0);
    assert_int_equal(wr_commit_bytes(), committed);
    assert_int_equal(wr_bin_refill(bin, &kept, 8, blocks), 8);
    return_blocks(8, blocks);
    wr_bin_give_up(kept);
    assert_at_rest(bin);
}

static void test_refill_over_the_limit_leaves_absent_blocks_where_they_are(void **state)
{
    (void)state;
    wr_bin *bin = bin_of(4096);
    (void)settled_bytes();
    for (unsigned owned = 0; owned < 2; owned++) {
        wr_span *slab = give_slab(bin, 4);
        (void)trim(bin, WR_TRIM_ALL);
        wr_span *kept = NULL;
        unsigned out = 4;
        if (owned != 0) { /* the refused slab is the caller's own */
            assert_int_equal(wr_bin_refill(bin, &kept, 1, blocks + out), 1);
            out++;
        }
        size_t committed = wr_commit_bytes();
        set_room(4095);
        for (unsigned i = 0; i < 3; i++) {
            assert_int_equal(wr_bin_refill(bin, &kept, 8, blocks + out), 0);
            assert_null(kept);
            assert_null(wr_bin_take(bin));
            assert_int_equal(flags_of(slab), WR_SLAB_LISTED);
            assert_true(is_indexed(slab));
            assert_int_equal(wr_slab_count_racy(slab), 16 - out);
            assert_int_equal(wr_commit_bytes(), committed);
        }
        set_room(2 * 4096); /* room for two of them */
        assert_int_equal(wr_bin_refill(bin, &kept, 8, blocks + out), 2);
        out += 2;
        lift_limit();
        while (out < 16) {
            unsigned got = wr_bin_refill(bin, &kept, 16 - out, blocks + out);
            assert_in_range(got, 1, 16 - out);
            assert_ptr_equal(kept, slab);
            out += got;
        }
        assert_int_equal(slabs_of(bin), 1);
        assert_held(slab, 4);
        wr_bin_give_up(kept);
        return_blocks(16, blocks);
        assert_at_rest(bin);
        (void)settled_bytes();
    }
}

/* The lower slab has but absent blocks, the upper one has them on pages that are there. */
static void test_refill_over_the_limit_finds_present_blocks_of_other_slabs(void **state)
{
    (void)state;
    wr_bin *bin = bin_of(4096);
    (void)settled_bytes();
    wr_span *first = take_slab(bin, blocks);
    wr_bin_give_up(first);
    wr_span *second = take_slab(bin, blocks + 16);
    wr_bin_give_up(second);
    wr_span *lower = first->start < second->start ? first : second;
    wr_span *upper = lower == first ? second : first;
    void **of_lower = lower == first ? blocks : blocks + 16;
    void **of_upper = lower == first ? blocks + 16 : blocks;
    return_blocks(8, of_lower);
    assert_int_equal(trim(bin, WR_TRIM_ALL).absent_bytes, 8 * 4096);
    return_blocks(8, of_upper);
    set_room(0);
    wr_span *kept = NULL;
    assert_int_equal(wr_bin_refill(bin, &kept, 64, of_upper), 8);
    assert_ptr_equal(kept, upper);
    assert_int_equal(flags_of(lower), WR_SLAB_LISTED); /* as it was */
    assert_true(is_indexed(lower));
    assert_int_equal(wr_slab_count_racy(lower), 8);
    assert_int_equal(wr_bin_refill(bin, &kept, 64, of_lower), 0);
    assert_null(kept);
    assert_int_equal(flags_of(lower), WR_SLAB_LISTED);
    lift_limit();
    assert_int_equal(wr_bin_refill(bin, &kept, 64, of_lower), 8);
    assert_ptr_equal(kept, lower);
    wr_bin_give_up(kept);
    assert_int_equal(slabs_of(bin), 2);
    return_blocks(32, blocks);
    assert_at_rest(bin);
}

/* ---- staged in one thread ---- */

/* B retires nothing while A's put has no add yet: the count says that a block is out. */
static void test_late_add_keeps_the_slab_until_it_comes(void **state)
{
    (void)state;
    wr_bin *bin = bin_of(4096);
    wr_span *slab = take_slab(bin, blocks);
    wr_bin_give_up(slab);
    put_block(slab, blocks[0]);    /* A: first half */
    return_blocks(15, blocks + 1); /* B: all others */
    assert_int_equal(slab->is_spare, 0);
    assert_int_equal(wr_span_kind_of(slab), WR_SPAN_SLAB);
    assert_int_equal(wr_slab_count_racy(slab), 15);
    void *again[16];
    wr_span *kept = NULL; /* C claims the slab and gets A's block as well */
    assert_int_equal(wr_bin_refill(bin, &kept, 16, again), 16);
    assert_ptr_equal(kept, slab);
    assert_int_equal(wr_slab_count_racy(slab), -1);
    wr_bin_give_up(kept);
    assert_int_equal(flags_of(slab), 0);
    assert_int_equal(wr_slab_add(slab, 1), WR_SLAB_DUTY_NONE); /* A: second half */
    return_blocks(16, again);
    assert_int_equal(slab->is_spare, 1);
    assert_at_rest(bin);
}

/* A sets LISTED and stalls before the index bit. B returns the rest: it is told that the slab is
 * empty and finds no bit to clear. A's second look then retires it. */
static void test_late_listing_of_an_emptied_slab_is_settled_by_the_lister(void **state)
{
    (void)state;
    wr_bin *bin = bin_of(4096);
    wr_span *slab = take_slab(bin, blocks);
    wr_bin_give_up(slab);
    put_block(slab, blocks[0]);
    assert_int_equal(wr_slab_add(slab, 1), WR_SLAB_DUTY_LIST); /* A */
    return_blocks(15, blocks + 1);                             /* B */
    assert_int_equal(slab->is_spare, 0);
    assert_int_equal(flags_of(slab), WR_SLAB_LISTED);
    set_index_bit(slab); /* A goes on */
    assert_true(wr_slab_is_empty_racy(slab, 16));
    wr_span *kept = NULL;
    void *block;
    assert_int_equal(wr_bin_refill(bin, &kept, 1, &block), 1); /* A's claim, by way of a refill */
    assert_ptr_equal(kept, slab);
    wr_return(1, &block, "free");
    wr_bin_give_up(kept);
    assert_int_equal(slab->is_spare, 1);
    assert_at_rest(bin);
}

/* All putters but the last stall between their add and their CAS: the last lists the slab, sees it
 * empty and retires it, and the CAS of the others then fails on an owned slab or on a listed one.
 */
static void test_late_cas_of_putters_leaves_a_retired_slab_alone(void **state)
{
    (void)state;
    wr_bin *bin = bin_of(4096);
    wr_span *spare = take_slab(bin, blocks + 16);
    wr_span *slab = take_slab(bin, blocks);
    wr_bin_give_up(slab);
    int64_t seen = 0;
    for (unsigned i = 0; i < 15; i++) {
        put_block(slab, blocks[i]);
        seen = wr_fetch_add_seq_cst(&slab->state, 1 << WR_SLAB_COUNT_SHIFT);
    }
    seen += 1 << WR_SLAB_COUNT_SHIFT;
    return_blocks(16, blocks + 16);
    wr_bin_give_up(spare);
    assert_int_equal(spare->is_spare, 1);
    wr_return(1, &blocks[15], "free");
    assert_int_equal(wr_span_kind_of(slab), WR_SPAN_FREE);
    assert_int_equal(flags_of(slab), WR_SLAB_OWNED);
    assert_false(is_indexed(slab));
    assert_false(wr_cas_strong_acq_rel(&slab->state, &seen, seen | WR_SLAB_LISTED));
    assert_at_rest(bin);
}

/* While the lister stalls, refills do not see the slab: they take other memory. */
static void test_late_listing_hides_the_slab_from_refills_only_until_it_comes(void **state)
{
    (void)state;
    wr_bin *bin = bin_of(4096);
    wr_span *slab = take_slab(bin, blocks);
    wr_bin_give_up(slab);
    put_block(slab, blocks[0]);
    assert_int_equal(wr_slab_add(slab, 1), WR_SLAB_DUTY_LIST);
    wr_span *other = NULL;
    assert_int_equal(wr_bin_refill(bin, &other, 1, blocks + 16), 1);
    assert_ptr_not_equal(other, slab);
    set_index_bit(slab);
    wr_bin_give_up(other);
    wr_span *kept = NULL;
    wr_span *lowest = slab->start < other->start ? slab : other;
    assert_int_equal(wr_bin_refill(bin, &kept, 1, blocks), 1);
    assert_ptr_equal(kept, lowest);
    wr_bin_give_up(kept);
    return_blocks(17, blocks);
    assert_at_rest(bin);
}

/* Two threads are told that one listed slab is empty: one claims it, the other finds no bit. */
static void test_empty_slab_seen_by_two_is_retired_once(void **state)
{
    (void)state;
    wr_bin *bin = bin_of(4096);
    wr_span *slab = take_slab(bin, blocks);
    wr_bin_give_up(slab);
    return_blocks(15, blocks);
    put_block(slab, blocks[15]);
    assert_int_equal(wr_slab_add(slab, 1), WR_SLAB_DUTY_EMPTY); /* A is told, and stalls */
    wr_span *kept = NULL;
    void *block;
    assert_int_equal(wr_bin_refill(bin, &kept, 1, &block), 1); /* B claims */
    assert_ptr_equal(kept, slab);
    assert_false(is_indexed(slab)); /* all that A would look for */
    assert_false(wr_slab_is_empty_racy(slab, 16));
    wr_return(1, &block, "free");
    wr_bin_give_up(kept);
    assert_at_rest(bin);
}

/* A is told that a slab is empty and stalls; B retires it and another class moves in. The bit of
 * A's class is clear there, and the new slab is left alone. */
static void test_empty_slab_reused_for_another_class_is_left_alone_by_a_late_claim(void **state)
{
    (void)state;
    wr_bin *bin = bin_of(4096);
    wr_span *spare = take_slab(bin, blocks + 16);
    wr_bin_give_up(spare);
    wr_span *slab = take_slab(bin, blocks);
    wr_bin_give_up(slab);
    return_blocks(16, blocks + 16); /* the spare there is */
    assert_int_equal(spare->is_spare, 1);
    uintptr_t start = slab->start;
    return_blocks(16, blocks); /* retired: A, told so too, still holds the descriptor's address */
    assert_int_equal(wr_span_kind_of(slab), WR_SPAN_FREE);
    bool zero;
    assert_true(wr_slice_claim_at(start, 1, &zero));
    wr_bin *small = bin_of(8192);
    wr_span *later = wr_slab_open(start, small->class, small);
    assert_ptr_equal(later, slab);
    (void)wr_fetch_add_relaxed(&small->slabs, 1);
    assert_int_equal(wr_slab_take(later, 1, blocks), 1);
    wr_bin_give_up(later);
    assert_true(is_indexed(later));
    uint64_t bit = (uint64_t)1 << (wr_slice_number(start) % WR_WORD_BITS);
    unsigned word = wr_slice_number(start) / WR_WORD_BITS;
    assert_int_equal(wr_load_relaxed(&wr_region_of(start)->listed[word][bin->class]) & bit, 0);
    assert_int_equal(flags_of(later), WR_SLAB_LISTED);
    return_blocks(1, blocks);
    assert_at_rest(small);
    assert_at_rest(bin);
}

/* A's CAS of an earlier life succeeds on a later one of another class: A lists that, in the bin
 * that it reads after winning, and refills of that bin find it. */
static void test_late_cas_on_a_later_life_lists_it_in_the_later_bin(void **state)
{
    (void)state;
    wr_bin *later_bin = bin_of(8192);
    wr_span *slab = take_slab(later_bin, blocks);
    wr_bin_give_up(slab);
    put_block(slab, blocks[0]); /* B puts and adds, up to its own CAS */
    int64_t seen = wr_fetch_add_seq_cst(&slab->state, 1 << WR_SLAB_COUNT_SHIFT);
    seen += 1 << WR_SLAB_COUNT_SHIFT;
    int64_t late = seen;
    assert_true(wr_cas_strong_acq_rel(&slab->state, &late, late | WR_SLAB_LISTED));  /* A */
    assert_false(wr_cas_strong_acq_rel(&slab->state, &seen, seen | WR_SLAB_LISTED)); /* B */
    assert_ptr_equal(slab->bin, later_bin);
    set_index_bit(slab); /* A lists */
    wr_span *kept = NULL;
    assert_int_equal(wr_bin_refill(later_bin, &kept, 8, blocks), 1);
    assert_ptr_equal(kept, slab);
    wr_bin_give_up(kept);
    return_blocks(8, blocks);
    assert_at_rest(later_bin);
}

/* ---- recover ---- */

/* The parts that a dead thread left undone, in a child as fork makes it: an index bit without its
 * mark, and a spare that was announced but never listed. */
static void recover_unmarked(void *unused)
{
    (void)unused;
    wr_bin *bin = bin_of(16384);
    wr_span *slab = NULL;
    void *block;
    CHECK(wr_bin_refill(bin, &slab, 1, &block) == 1);
    wr_bin_give_up(slab);
    CHECK(is_indexed(slab));
    wr_summary *words = &wr_region_of(slab->start)->listed_words[bin->class];
    unsigned word = wr_slice_number(slab->start) / WR_WORD_BITS;
    (void)wr_fetch_and_seq_cst(&words->mid[word / WR_WORD_BITS],
                               ~((uint64_t)1 << word % WR_WORD_BITS));
    wr_span *other = NULL;
    void *more;
    CHECK(wr_bin_refill(bin, &other, 1, &more) == 1);
    CHECK(other != slab); /* not found */
    wr_bin_recover(wr_heap_default.bins);
    wr_span *kept = NULL;
    CHECK(wr_bin_refill(bin, &kept, 1, &more) == 1);
    CHECK(kept == slab);
}

static void test_recover_marks_index_words_so_that_refill_finds_them(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(recover_unmarked, NULL, &outcome);
    assert_clean_exit(&outcome);
}

static void recover_spare(void *unused)
{
    (void)unused;
    wr_bin *bin = bin_of(16384);
    wr_span *slab = NULL;
    void *block;
    CHECK(wr_bin_refill(bin, &slab, 1, &block) == 1);
    wr_bin_give_up(slab);
    wr_store_relaxed(&bin->spares, 1);
    wr_bin_recover(wr_heap_default.bins);
    wr_return(1, &block, "free");
    CHECK(slab->is_spare == 1);
    CHECK(wr_load_relaxed(&bin->spares) == 1);
}

static void test_recover_forgets_a_spare_that_was_never_listed(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(recover_spare, NULL, &outcome);
    assert_clean_exit(&outcome);
}

/* ---- sequential model ---- */

enum { MODEL_HELD = 600, MODEL_KEPT = 3 };

static const size_t model_sizes[] = {1024, 4096, 8192, 512};

struct model_bin {
    void *held[MODEL_HELD]; /* blocks that are out */
    unsigned count;
    wr_span *kept[MODEL_KEPT]; /* slabs owned by as many imagined threads */
};

static struct model_bin models[COUNT_OF(model_sizes)];

/* Slabs that must exist: those with a block out or an owner. */
static unsigned model_slabs(const struct model_bin *model)
{
    wr_span *seen[MODEL_HELD + MODEL_KEPT];
    unsigned count = 0;
    for (unsigned i = 0; i < model->count + MODEL_KEPT; i++) {
        wr_span *slab = i < model->count ? slab_of(model->held[i]) : model->kept[i - model->count];
        unsigned at = 0;
        while (at < count && seen[at] != slab) {
            at++;
        }
        if (slab != NULL && at == count) {
            seen[count++] = slab;
        }
    }
    return count;
}

static void model_refill(struct model_bin *model, wr_bin *bin, uint64_t *random)
{
    wr_span **kept = &model->kept[random_next(random) % MODEL_KEPT];
    unsigned most = (unsigned)(random_next(random) % WR_BATCH_BLOCKS) + 1;
    if (model->count + most > MODEL_HELD) {
        return;
    }
    void **out = model->held + model->count;
    unsigned got = wr_bin_refill(bin, kept, most, out);
    assert_in_range(got, 1, most);
    for (unsigned i = 0; i < got; i++) {
        assert_ptr_equal(slab_of(out[i]), *kept);
        assert_true(i == 0 || out[i - 1] < out[i]);
        for (unsigned k = 0; k < model->count; k++) {
            assert_ptr_not_equal(out[i], model->held[k]);
        }
    }
    assert_int_equal(flags_of(*kept), WR_SLAB_OWNED);
    model->count += got;
}

static void model_return(struct model_bin *model, uint64_t *random)
{
    void *batch[WR_BATCH_BLOCKS];
    unsigned n = 0;
    unsigned most = (unsigned)(random_next(random) % WR_BATCH_BLOCKS) + 1;
    while (n < most && model->count > 0) {
        unsigned at = (unsigned)(random_next(random) % model->count);
        batch[n++] = model->held[at];
        model->held[at] = model->held[--model->count];
    }
    wr_return(n, batch, "free");
}

static void model_give_up(struct model_bin *model, uint64_t *random)
{
    wr_span **kept = &model->kept[random_next(random) % MODEL_KEPT];
    if (*kept != NULL) {
        wr_bin_give_up(*kept);
        *kept = NULL;
    }
}

static void test_bin_random_steps_match_the_model(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    for (unsigned step = 0; step < TEST_SCALE(60000, 8000); step++) {
        unsigned m = (unsigned)(random_next(&random) % COUNT_OF(model_sizes));
        wr_bin *bin = bin_of(model_sizes[m]);
        uint64_t kind = random_next(&random) % 8;
        bool shrinking = step / 500 % 2 == 1;
        if (kind < (shrinking ? 2u : 4u)) {
            model_refill(&models[m], bin, &random);
        } else if (kind < 7) {
            model_return(&models[m], &random);
        } else {
            model_give_up(&models[m], &random);
        }
        assert_int_equal(slabs_of(bin), model_slabs(&models[m]) + wr_load_relaxed(&bin->spares));
    }
    for (unsigned m = 0; m < COUNT_OF(model_sizes); m++) {
        for (unsigned i = 0; i < MODEL_KEPT; i++) {
            if (models[m].kept[i] != NULL) {
                wr_bin_give_up(models[m].kept[i]);
            }
        }
        return_blocks(models[m].count, models[m].held);
        assert_at_rest(bin_of(model_sizes[m]));
    }
}

/* ---- sequential model of trim ---- */

enum { TRIM_SLABS = 12, TRIM_STEPS = TEST_SCALE(3000, 500) };

/* What a slab's masks should be, by its blocks that are out. */
struct trim_model {
    wr_span *slab;
    uint32_t absent;
    uint32_t stale;
    bool is_out[64];
};

static struct trim_model trim_models[TRIM_SLABS];

static uint32_t granules_of(const wr_span *slab, unsigned index)
{
    size_t first = (size_t)index * slab->block_bytes;
    size_t end = first + slab->block_bytes;
    uint32_t mask = 0;
    for (size_t at = 0; at < slab->bytes; at += wr_host_page_bytes()) {
        if (first < at + wr_host_page_bytes() && end > at) {
            mask |= (uint32_t)1 << (at >> wr_granule_shift(slab->bytes));
        }
    }
    return mask;
}

static void model_look(struct trim_model *model, wr_trim how, wr_bin_census *expected)
{
    wr_span *slab = model->slab;
    unsigned shift = wr_granule_shift(slab->bytes);
    uint32_t free = (uint32_t)wr_mask(0, (unsigned)(slab->bytes >> shift));
    unsigned count = 0;
    for (unsigned i = 0; i < slab->blocks; i++) {
        free &= model->is_out[i] ? ~granules_of(slab, i) : ~(uint32_t)0;
        count += !model->is_out[i];
    }
    expected->free_blocks += count;
    if (count * slab->block_bytes < wr_host_page_bytes()) {
        return;
    }
    if (how != WR_TRIM_SLABS) {
        uint32_t present = free & ~model->absent;
        uint32_t purged = how == WR_TRIM_ALL ? present : present & model->stale;
        model->absent |= purged;
        model->stale = present & ~purged;
        expected->purged_bytes += (size_t)wr_count_bits(purged) << shift;
    }
    expected->absent_bytes += (size_t)wr_count_bits(model->absent) << shift;
    expected->stale_bytes += (size_t)wr_count_bits(model->stale) << shift;
}

/* Returns a block, but never the last that is out: the slab stays. */
static void model_put(struct trim_model *model, uint64_t *random)
{
    unsigned out = 0;
    for (unsigned i = 0; i < model->slab->blocks; i++) {
        out += model->is_out[i];
    }
    for (unsigned n = (unsigned)(random_next(random) % 16); n > 0 && out > 1; n--) {
        unsigned index = (unsigned)(random_next(random) % model->slab->blocks);
        if (model->is_out[index]) {
            void *block = (void *)(model->slab->start + (size_t)index * model->slab->block_bytes);
            CHECK(pattern_holds(block, model->slab->block_bytes, index));
            wr_return(1, &block, "free");
            model->is_out[index] = false;
            out--;
        }
    }
}

/* Takes blocks from whichever slab the bin gives. */
static void model_take(wr_bin *bin, uint64_t *random)
{
    wr_span *kept = NULL;
    unsigned most = (unsigned)(random_next(random) % 24) + 1;
    unsigned got = wr_bin_refill(bin, &kept, most, blocks);
    unsigned m = 0;
    while (m < TRIM_SLABS && trim_models[m].slab != kept) {
        m++;
    }
    if (m == TRIM_SLABS) { /* none of the model's has a free block: give it all back */
        return_blocks(got, blocks);
        wr_bin_give_up(kept);
        assert_int_equal(trim(bin, WR_TRIM_SLABS).slabs, TRIM_SLABS);
        return;
    }
    struct trim_model *model = &trim_models[m];
    for (unsigned i = 0; i < got; i++) {
        unsigned index = (unsigned)(((uintptr_t)blocks[i] - kept->start) / kept->block_bytes);
        assert_false(model->is_out[index]);
        model->is_out[index] = true;
        model->absent &= ~granules_of(kept, index);
        model->stale &= ~granules_of(kept, index);
        pattern_fill(blocks[i], kept->block_bytes, index);
    }
    /* What came back for a block that was not to be had after all is as the slab says. */
    assert_int_equal(wr_granule_absent(kept) & ~model->absent, 0);
    model->absent = wr_granule_absent(kept);
    wr_bin_give_up(kept);
}

static void run_trim_model(wr_bin *bin, uint64_t *random)
{
    size_t committed = settled_bytes();
    size_t slab_bytes = wr_size_classes[bin->class].slices * WR_SLICE_BYTES;
    memset(trim_models, 0, sizeof trim_models);
    for (unsigned m = 0; m < TRIM_SLABS; m++) {
        wr_span *slab = take_slab(bin, blocks);
        trim_models[m].slab = slab;
        for (unsigned i = 0; i < slab->blocks; i++) {
            pattern_fill(blocks[i], slab->block_bytes, i);
            trim_models[m].is_out[i] = true;
        }
        wr_bin_give_up(slab);
    }
    for (unsigned step = 0; step < TRIM_STEPS; step++) {
        uint64_t kind = random_next(random) % 8;
        if (kind < 4) {
            model_put(&trim_models[random_next(random) % TRIM_SLABS], random);
        } else if (kind < 5) {
            model_take(bin, random);
        } else {
            wr_trim how = kind == 5 ? WR_TRIM_STALE : (wr_trim)(random_next(random) % 3);
            wr_bin_census expected = {0};
            size_t absent = 0;
            for (unsigned m = 0; m < TRIM_SLABS; m++) {
                model_look(&trim_models[m], how, &expected);
                absent += (size_t)wr_count_bits(trim_models[m].absent)
                          << wr_granule_shift(slab_bytes);
            }
            wr_bin_census census = trim(bin, how);
            assert_int_equal(census.slabs, TRIM_SLABS);
            assert_census(census, expected.free_blocks, expected.absent_bytes,
                          expected.purged_bytes, expected.stale_bytes);
            (void)wr_purge_slices(0);
            assert_int_equal(wr_commit_bytes(), committed + TRIM_SLABS * slab_bytes - absent);
        }
    }
    for (unsigned m = 0; m < TRIM_SLABS; m++) {
        for (unsigned i = 0; i < trim_models[m].slab->blocks; i++) {
            if (trim_models[m].is_out[i]) {
                void *block = (void *)(trim_models[m].slab->start +
                                       (size_t)i * trim_models[m].slab->block_bytes);
                assert_true(pattern_holds(block, trim_models[m].slab->block_bytes, i));
                wr_return(1, &block, "free");
            }
        }
    }
    assert_at_rest(bin);
    assert_int_equal(settled_bytes(), committed);
}

static void test_trim_random_looks_match_the_model(void **state)
{
    (void)state;
    static const size_t sizes[] = {1024, 1280, 5120, 8192, 32768};
    uint64_t random = test_seed();
    for (unsigned s = 0; s < COUNT_OF(sizes); s++) {
        run_trim_model(bin_of(sizes[s]), &random);
    }
}

/* ---- threads ---- */

enum {
    HELD_MAX = 256,
    MAIL_SLOTS = 64,
    BATCH_MAX = 16,
    ROUNDS = TEST_SCALE(40000, 6000),
};

/* Classes of few blocks, so that slabs empty all the time and their slices change class. */
static const size_t thread_sizes[] = {4096, 8192, 1024, 7168};

/* Blocks on their way to another thread, which returns them: whose slab it is matters to none. */
static _Atomic(void *) mail[MAIL_SLOTS];

static bool may_be_refused; /* a limit is set: a refill may give nothing */

static void return_one_by_mail(void *block, uint64_t *random)
{
    _Atomic(void *) *slot = &mail[random_next(random) % MAIL_SLOTS];
    void *other = wr_exchange_acq_rel(slot, block);
    if (other != NULL) {
        wr_return(1, &other, "free");
    }
}

/* Refills, returns and sends by mail in random portions. `enter` sees each block that comes from a
 * bin, `leave` each before it goes. */
static void use_bins(unsigned number, uint64_t *random, void (*enter)(unsigned, void *),
                     void (*leave)(unsigned, void *))
{
    void *held[HELD_MAX];
    unsigned count = 0;
    wr_span *kept[COUNT_OF(thread_sizes)] = {NULL};
    for (unsigned round = 0; round < ROUNDS; round++) {
        unsigned s = (unsigned)(random_next(random) % COUNT_OF(thread_sizes));
        unsigned n = (unsigned)(random_next(random) % BATCH_MAX) + 1;
        uint64_t kind = random_next(random) % 8;
        if (kind < 4 && count + n <= HELD_MAX) {
            unsigned got = wr_bin_refill(bin_of(thread_sizes[s]), &kept[s], n, held + count);
            CHECK((got >= 1 || may_be_refused) && got <= n);
            for (unsigned i = 0; i < got; i++) {
                enter(number, held[count + i]);
            }
            count += got;
        } else if (kind < 6) {
            n = n < count && random_next(random) % 8 != 0 ? n : count;
            n = n < WR_BATCH_BLOCKS ? n : WR_BATCH_BLOCKS;
            for (unsigned i = 0; i < n; i++) {
                leave(number, held[count - n + i]);
            }
            wr_return(n, held + count - n, "free");
            count -= n;
        } else if (kind == 6 && count > 0) {
            leave(number, held[--count]);
            return_one_by_mail(held[count], random);
        } else if (kept[s] != NULL) {
            wr_bin_give_up(kept[s]);
            kept[s] = NULL;
        }
    }
    for (unsigned i = 0; i < count; i++) {
        leave(number, held[i]);
        wr_return(1, &held[i], "free");
    }
    for (unsigned s = 0; s < COUNT_OF(thread_sizes); s++) {
        if (kept[s] != NULL) {
            wr_bin_give_up(kept[s]);
        }
    }
}

static void run_bins(crew_body *body)
{
    crew_run(THREADS, test_seed(), body);
    for (unsigned i = 0; i < MAIL_SLOTS; i++) {
        void *block = wr_exchange_acq_rel(&mail[i], NULL);
        if (block != NULL) {
            wr_return(1, &block, "free");
        }
    }
    for (unsigned s = 0; s < COUNT_OF(thread_sizes); s++) {
        assert_at_rest(bin_of(thread_sizes[s]));
    }
}

/* A word per 1 KiB of the region, outside the blocks: who holds the block that begins there. */
static _Atomic uint32_t *owners;
static uintptr_t owners_base;

static int set_up_owners(void **state)
{
    (void)state;
    void *block;
    wr_span *kept = NULL;
    if (wr_bin_refill(bin_of(4096), &kept, 1, &block) != 1) {
        return -1;
    }
    owners_base = wr_region_of((uintptr_t)block)->base;
    wr_return(1, &block, "free");
    wr_bin_give_up(kept);
    owners = wr_vm_map(WR_REGION_BYTES / KIB * sizeof *owners, WR_SLICE_BYTES);
    return owners == NULL ? -1 : 0;
}

static _Atomic uint32_t *owner_of(const void *block)
{
    /* The page heap may reach into other regions: they share the words of this one by offset, which
     * two blocks would have to do at once to disturb each other. */
    return &owners[((uintptr_t)block - owners_base) % WR_REGION_BYTES / KIB];
}

static void enter_once(unsigned number, void *block)
{
    CHECK(wr_fetch_add_relaxed(owner_of(block), number + 1) == 0);
}

static void leave_once(unsigned number, void *block)
{
    CHECK(wr_fetch_sub_relaxed(owner_of(block), number + 1) == number + 1);
}

static void use_once(unsigned number, uint64_t *random)
{
    use_bins(number, random, enter_once, leave_once);
}

static void test_bin_under_threads_gives_each_block_to_one_holder(void **state)
{
    (void)state;
    run_bins(use_once);
}

static void enter_plainly(unsigned number, void *block)
{
    pattern_fill(block, 1024, number);
}

static void leave_plainly(unsigned number, void *block)
{
    CHECK(pattern_holds(block, 1024, number));
    memset(block, 0x5a, 1024);
}

static void use_plainly(unsigned number, uint64_t *random)
{
    use_bins(number, random, enter_plainly, leave_plainly);
}

static void test_bin_torture_with_plain_writes_has_no_race(void **state)
{
    (void)state;
    run_bins(use_plainly);
}

/* The same while one thread trims what the others use, in all manners: a page that is purged while
 * a block on it is in use loses what the block holds. */
static _Atomic unsigned users_left;
static _Atomic size_t trimmed_bytes;

static void trim_until_all_have_left(uint64_t *random)
{
    while (wr_load_acquire(&users_left) != 0) {
        unsigned s = (unsigned)(random_next(random) % COUNT_OF(thread_sizes));
        wr_bin_census census;
        wr_bin_trim(bin_of(thread_sizes[s]), (wr_trim)(random_next(random) % 3), &census);
        CHECK(census.purged_bytes <= census.absent_bytes);
        CHECK(census.blocks ==
              census.slabs * wr_size_classes[bin_of(thread_sizes[s])->class].blocks);
        (void)wr_fetch_add_relaxed(&trimmed_bytes, census.purged_bytes);
        if (random_next(random) % 64 == 0) {
            (void)wr_purge_slices(0);
        }
    }
}

static void trim_or_use_once(unsigned number, uint64_t *random)
{
    if (number == 0) {
        trim_until_all_have_left(random);
        return;
    }
    do { /* until there was something to trim */
        use_once(number, random);
    } while (wr_load_relaxed(&trimmed_bytes) == 0);
    (void)wr_fetch_sub_seq_cst(&users_left, 1);
}

static void trim_or_use_plainly(unsigned number, uint64_t *random)
{
    if (number == 0) {
        trim_until_all_have_left(random);
        return;
    }
    do { /* until there was something to trim */
        use_plainly(number, random);
    } while (wr_load_relaxed(&trimmed_bytes) == 0);
    (void)wr_fetch_sub_seq_cst(&users_left, 1);
}

static void run_bins_and_trim(crew_body *body)
{
    size_t committed = settled_bytes();
    size_t absent = wr_granule_absent_bytes();
    wr_store_relaxed(&trimmed_bytes, 0);
    wr_store_relaxed(&users_left, THREADS - 1);
    run_bins(body);
    lift_limit();
    assert_true(wr_load_relaxed(&trimmed_bytes) > 0);
    assert_int_equal(settled_bytes(), committed);
    assert_int_equal(wr_granule_absent_bytes(), absent);
}

static void test_trim_under_threads_loses_no_block(void **state)
{
    (void)state;
    run_bins_and_trim(trim_or_use_once);
}

static void test_trim_torture_with_plain_writes_has_no_race(void **state)
{
    (void)state;
    run_bins_and_trim(trim_or_use_plainly);
}

static void test_trim_under_threads_short_of_a_limit_loses_nothing(void **state)
{
    (void)state;
    (void)settled_bytes();
    may_be_refused = true;
    set_room(24 * WR_SLICE_BYTES); /* of the 100 that the threads would like to have */
    run_bins_and_trim(trim_or_use_plainly);
    may_be_refused = false;
}

/* One thread lists a slab, another waits for its bit and claims it: nothing else orders the two. A
 * second slab keeps the index word and its mark as they are, since those would order them too. */
static wr_span *handed_on;
static wr_span *claimed;

static void hand_on_by_the_index(unsigned number, uint64_t *random)
{
    (void)random;
    if (number == 0) {
        handed_on->bin = bin_of(4096); /* as it was; plain, as its owner */
        wr_bin_give_up(handed_on);
        return;
    }
    while (!is_indexed(handed_on)) {
        sched_yield();
    }
    void *block;
    CHECK(wr_bin_refill(bin_of(4096), &claimed, 1, &block) == 1);
    CHECK(claimed == handed_on && claimed->bin == bin_of(4096));
    wr_return(1, &block, "free");
}

static void test_refill_sees_the_slab_as_its_last_owner_left_it(void **state)
{
    (void)state;
    wr_bin *bin = bin_of(4096);
    wr_span *lower = NULL;
    wr_span *upper = take_slab(bin, blocks);
    unsigned count = 16;
    uint64_t bit;
    do { /* slabs come by address, but may lie on two sides of a word's border */
        if (lower != NULL) {
            wr_bin_give_up(lower);
        }
        lower = upper;
        assert_true(count < COUNT_OF(blocks));
        upper = take_slab(bin, blocks + count);
        count += 16;
    } while (index_word(lower, &bit) != index_word(upper, &bit) || upper->start < lower->start);
    wr_return(1, &blocks[count - 16], "free");
    wr_bin_give_up(upper);
    wr_return(1, &blocks[count - 32], "free");
    handed_on = lower;
    claimed = NULL;
    crew_run(2, 0, hand_on_by_the_index);
    wr_bin_give_up(claimed);
    return_blocks(15, blocks + count - 15);
    return_blocks(15, blocks + count - 31);
    return_blocks(count - 32, blocks);
    assert_at_rest(bin);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refill_of_an_empty_bin_opens_a_slab_and_owns_it),
        cmocka_unit_test(test_refill_takes_from_the_kept_slab_first),
        cmocka_unit_test(test_refill_gives_no_more_than_one_slab_has),
        cmocka_unit_test(test_refill_gives_up_a_kept_slab_without_free_blocks),
        cmocka_unit_test(test_refill_claims_the_lowest_listed_slab),
        cmocka_unit_test(test_refill_of_64_and_of_1_gives_so_many),
        cmocka_unit_test(test_refill_takes_away_a_mark_that_leads_to_no_slab),
        cmocka_unit_test(test_refill_without_memory_gives_none_and_changes_nothing),
        cmocka_unit_test(test_refill_without_memory_for_descriptors_gives_the_slices_back),
        cmocka_unit_test(test_return_to_a_slab_of_nobody_lists_it),
        cmocka_unit_test(test_return_of_the_last_block_makes_the_slab_the_spare),
        cmocka_unit_test(test_return_of_a_second_empty_slab_retires_it),
        cmocka_unit_test(test_give_up_of_an_empty_slab_makes_it_the_spare_or_retires_it),
        cmocka_unit_test(test_refill_claims_the_spare_and_makes_room_for_another),
        cmocka_unit_test(test_take_gives_every_block_of_a_slab_and_keeps_no_slab),
        cmocka_unit_test(test_take_without_memory_is_null),
        cmocka_unit_test(test_sparse_is_what_was_stored),
        cmocka_unit_test(test_trim_of_a_bin_without_slabs_finds_nothing),
        cmocka_unit_test(test_trim_of_slabs_retires_the_spare_at_once),
        cmocka_unit_test(test_trim_of_what_is_stale_retires_the_spare_at_the_second_look),
        cmocka_unit_test(test_trim_of_what_is_stale_leaves_a_spare_that_was_used_since),
        cmocka_unit_test(test_trim_of_what_is_stale_purges_granules_at_the_second_look),
        cmocka_unit_test(test_trim_of_slabs_leaves_granules_alone),
        cmocka_unit_test(test_trim_of_all_purges_granules_at_once),
        cmocka_unit_test(test_trim_leaves_owned_slabs_alone),
        cmocka_unit_test(test_trim_passes_over_slabs_with_less_free_than_a_page),
        cmocka_unit_test(test_trim_that_the_kernel_refuses_keeps_the_granules_for_the_next),
        cmocka_unit_test(test_refill_over_the_limit_opens_no_slab),
        cmocka_unit_test(test_refill_over_the_limit_leaves_absent_blocks_where_they_are),
        cmocka_unit_test(test_refill_over_the_limit_finds_present_blocks_of_other_slabs),
        cmocka_unit_test(test_late_add_keeps_the_slab_until_it_comes),
        cmocka_unit_test(test_late_listing_of_an_emptied_slab_is_settled_by_the_lister),
        cmocka_unit_test(test_late_cas_of_putters_leaves_a_retired_slab_alone),
        cmocka_unit_test(test_late_listing_hides_the_slab_from_refills_only_until_it_comes),
        cmocka_unit_test(test_empty_slab_seen_by_two_is_retired_once),
        cmocka_unit_test(test_empty_slab_reused_for_another_class_is_left_alone_by_a_late_claim),
        cmocka_unit_test(test_late_cas_on_a_later_life_lists_it_in_the_later_bin),
        cmocka_unit_test(test_recover_marks_index_words_so_that_refill_finds_them),
        cmocka_unit_test(test_recover_forgets_a_spare_that_was_never_listed),
        cmocka_unit_test(test_bin_random_steps_match_the_model),
        cmocka_unit_test(test_trim_random_looks_match_the_model),
        cmocka_unit_test(test_bin_under_threads_gives_each_block_to_one_holder),
        cmocka_unit_test(test_bin_torture_with_plain_writes_has_no_race),
        cmocka_unit_test(test_trim_under_threads_loses_no_block),
        cmocka_unit_test(test_trim_torture_with_plain_writes_has_no_race),
        cmocka_unit_test(test_trim_under_threads_short_of_a_limit_loses_nothing),
        cmocka_unit_test(test_refill_sees_the_slab_as_its_last_owner_left_it),
    };
    return cmocka_run_group_tests_name("bin", tests, set_up_owners, NULL);
}
