/* Claiming and releasing slices: lowest address first, each slice one thread's, and what a slice
 * holds is known by its dirty and zero bits.
 *
 * All slices are in two windows that lie side by side, in three pieces: one that begins in the
 * middle of a word, the end of the lower window, and the begin of the upper one. */
#include "page_support.h"

#include "page/commit.h"

#include <sched.h>
#include <signal.h>
#include <string.h>

#define LOW_FIRST   100u /* slice numbers: the upper window begins at WR_REGION_SLICES */
#define LOW_COUNT   1000u
#define BORDER      ((unsigned)WR_REGION_SLICES)
#define UNDER_COUNT 200u
#define OVER_COUNT  500u
#define SLICES      (2 * BORDER)
#define ADD_FIRST   (BORDER + 10000u) /* where a case adds slices of its own */

#define MODEL_STEPS TEST_SCALE(10000, 3000)
#define STORM_STEPS TEST_SCALE(5000, 3000) /* of a thread */
#define ROUNDS      TEST_SCALE(400, 200)
#define FIGHT_STEPS TEST_SCALE(300000, 50000) /* of a thread */
#define ROUND_SIZE  20

static uintptr_t base;
static bool in_heap[SLICES]; /* slices that a case may use */
static uint64_t seed;

static uintptr_t address_of(unsigned slice)
{
    return base + (uintptr_t)slice * WR_SLICE_BYTES;
}

static unsigned slice_of(uintptr_t address)
{
    CHECK(address >= base && address < address_of(SLICES) &&
          is_aligned((void *)address, WR_SLICE_BYTES));
    return (unsigned)((address - base) / WR_SLICE_BYTES);
}

static void add_piece(unsigned first, unsigned count)
{
    wr_slice_add(address_of(first), count);
    for (unsigned s = first; s < first + count; s++) {
        in_heap[s] = true;
    }
}

static int make_heap(void **state)
{
    (void)state;
    base = map_windows(2);
    assert_non_null(wr_region_obtain(address_of(0)));
    assert_non_null(wr_region_obtain(address_of(BORDER)));
    add_piece(LOW_FIRST, LOW_COUNT);
    add_piece(BORDER - UNDER_COUNT, UNDER_COUNT);
    add_piece(BORDER, OVER_COUNT);
    return 0;
}

/* Each case begins with every slice claimed, and zero. */
static int claim_all(void **state)
{
    (void)state;
    for (unsigned s = 0; s < SLICES; s++) {
        bool zero = false;
        if (in_heap[s] && (!wr_slice_claim_at(address_of(s), 1, &zero) || !zero)) {
            assert_true(wr_vm_purge((void *)address_of(s), WR_SLICE_BYTES));
        }
    }
    struct page_heap heap = page_heap_at_rest();
    assert_int_equal(heap.available, 0);
    return 0;
}

static void give(unsigned slice, unsigned count)
{
    wr_slice_release_purged(address_of(slice), count);
}

static void give_dirty(unsigned slice, unsigned count)
{
    wr_slice_release(address_of(slice), count);
}

/* The slice that a claim returns, or SLICES; says nothing about zero. */
static unsigned claim(size_t count)
{
    bool zero;
    uintptr_t address = wr_slice_claim(count, &zero);
    return address == 0 ? SLICES : slice_of(address);
}

static bool claim_at(unsigned slice, unsigned count)
{
    bool zero;
    return wr_slice_claim_at(address_of(slice), count, &zero);
}

static bool claim_is_zero(unsigned slice, unsigned count)
{
    bool zero = false;
    assert_true(wr_slice_claim_at(address_of(slice), count, &zero));
    return zero;
}

static void test_claim_nothing_available_returns_0(void **state)
{
    (void)state;
    bool zero;
    assert_int_equal(wr_slice_claim(1, &zero), 0);
    assert_int_equal(wr_slice_claim(WR_REGION_SLICES, &zero), 0);
}

static void test_claim_single_slices_ascend_from_the_lowest(void **state)
{
    (void)state;
    give(300, 2);
    give(127, 3);
    give(700, 1);
    static const unsigned expected[] = {127, 128, 129, 300, 301, 700, SLICES};
    for (size_t i = 0; i < COUNT_OF(expected); i++) {
        assert_int_equal(claim(1), expected[i]);
    }
}

static void test_claim_run_takes_the_lowest_that_is_long_enough(void **state)
{
    (void)state;
    give(130, 2);
    give(140, 3);
    give(200, 5);
    assert_int_equal(claim(4), 200);
    assert_int_equal(claim(3), 140);
    assert_int_equal(claim(3), SLICES);
    assert_int_equal(claim(2), 130);
    assert_int_equal(claim(1), 204);
    assert_int_equal(claim(1), SLICES);
}

static void test_claim_run_crosses_a_word_border(void **state)
{
    (void)state;
    for (unsigned before = 1; before < 10; before++) {
        give(192 - before, 10);
        assert_int_equal(claim(11), SLICES);
        assert_int_equal(claim(10), 192 - before);
        assert_int_equal(claim(1), SLICES);
    }
}

static void test_claim_run_of_more_than_a_word_is_found_at_any_offset(void **state)
{
    (void)state;
    for (unsigned offset = 0; offset < 64; offset++) {
        static const unsigned counts[] = {64, 65, 128, 200, 300};
        for (size_t i = 0; i < COUNT_OF(counts); i++) {
            unsigned count = counts[i];
            give(128, 1);
            give(320 + offset, count);
            assert_int_equal(claim(count + 1), SLICES);
            assert_int_equal(claim(count), 320 + offset);
            assert_int_equal(claim(1), 128);
            assert_int_equal(claim(1), SLICES);
        }
    }
}

static void test_claim_run_a_single_hole_ends_the_run(void **state)
{
    (void)state;
    for (unsigned hole = 320; hole < 320 + 200; hole++) {
        give(320, hole - 320);
        give(hole + 1, 320 + 200 - hole - 1);
        assert_int_equal(claim(200), SLICES);
        unsigned below = hole - 320;
        unsigned above = 199 - below;
        assert_int_equal(claim(below > above ? below : above), below >= above ? 320 : hole + 1);
        assert_int_equal(page_heap_at_rest().available, below > above ? above : below);
        if (below > 0 && above > 0) {
            assert_int_equal(claim(below > above ? above : below), below >= above ? hole + 1 : 320);
        }
    }
}

static void test_claim_empty_words_between_runs_are_skipped(void **state)
{
    (void)state;
    give(LOW_FIRST, 20);
    give(BORDER - 70, 70);
    assert_int_equal(claim(70), BORDER - 70);
    assert_int_equal(claim(20), LOW_FIRST);
}

static void test_claim_run_ends_at_a_word_that_has_none(void **state)
{
    (void)state;
    give(192 - 6, 6);
    give(256, 7);
    assert_int_equal(claim(8), SLICES);
    assert_int_equal(claim(7), 256);
    assert_int_equal(claim(6), 192 - 6);
}

static void test_claim_run_ends_at_the_last_slice_of_a_region(void **state)
{
    (void)state;
    give(BORDER - UNDER_COUNT, UNDER_COUNT);
    assert_int_equal(claim(UNDER_COUNT + 1), SLICES);
    assert_int_equal(claim(UNDER_COUNT), BORDER - UNDER_COUNT);
}

static void test_claim_run_does_not_cross_the_border_of_a_region(void **state)
{
    (void)state;
    give(BORDER - 100, 100);
    give(BORDER, 100);
    assert_int_equal(claim(101), SLICES);
    assert_int_equal(claim(60), BORDER - 100);
    assert_int_equal(claim(60), BORDER);
    assert_int_equal(claim(41), SLICES);
    assert_int_equal(claim(40), BORDER - 40);
    assert_int_equal(claim(40), BORDER + 60);
}

static void test_claim_more_than_a_region_returns_0(void **state)
{
    (void)state;
    give(BORDER, OVER_COUNT);
    bool zero;
    assert_int_equal(wr_slice_claim(WR_REGION_SLICES + 1, &zero), 0);
    assert_int_equal(wr_slice_claim(SIZE_MAX, &zero), 0);
    assert_int_equal(page_heap_at_rest().available, OVER_COUNT);
}

static unsigned search_start_of(wr_region *region, unsigned count)
{
    return (uint16_t)(wr_load_relaxed(&region->search_starts) >> (count - 1) * 16);
}

/* Claims all of single slices in the first words, and one far behind them, so that searches for one
 * slice and for runs start far up. */
#define FAR (BORDER - UNDER_COUNT)
static void raise_searches(void)
{
    wr_slice_recover(); /* all searches start at the lowest word */
    for (unsigned s = LOW_FIRST; s < LOW_FIRST + 250; s += 2) {
        give(s, 1);
    }
    for (unsigned count = 2; count <= WR_SEARCH_COUNTS; count++) {
        give(FAR, count);
        assert_int_equal(claim(count), FAR);
    }
    for (unsigned s = LOW_FIRST; s < LOW_FIRST + 250; s += 2) {
        assert_int_equal(claim(1), s);
    }
    give(FAR, 1);
    assert_int_equal(claim(1), FAR);
    for (unsigned count = 1; count <= WR_SEARCH_COUNTS; count++) {
        assert_int_equal(search_start_of(wr_region_of(base), count), FAR / 64);
    }
}

static void test_claim_that_goes_a_few_words_up_raises_no_search(void **state)
{
    (void)state;
    wr_slice_recover();
    give(LOW_FIRST + 900, 4);
    assert_int_equal(claim(4), LOW_FIRST + 900);
    assert_int_equal(wr_load_relaxed(&wr_region_of(base)->search_starts), 0);
}

static void test_claim_of_nothing_spares_the_next_the_search(void **state)
{
    (void)state;
    wr_region *region = wr_region_of(base);
    wr_slice_recover();
    for (unsigned count = 1; count <= WR_SEARCH_COUNTS; count++) {
        assert_int_equal(claim(count), SLICES);
        assert_int_equal(search_start_of(region, count), WR_SUMMARY_WORDS);
    }
    give(LOW_FIRST + 30, 2);
    assert_int_equal(claim(3), SLICES);
    assert_int_equal(claim(2), LOW_FIRST + 30);
}

static void test_claim_after_a_raised_search_takes_what_was_released_below(void **state)
{
    (void)state;
    for (unsigned s = LOW_FIRST + 1; s < LOW_FIRST + 200; s++) {
        raise_searches();
        give(s, 1);
        give(s + 2, 1); /* too far from it for a run */
        give(FAR, 2);
        assert_int_equal(claim(2), FAR);
        assert_int_equal(claim(1), s);
        assert_int_equal(claim(1), s + 2);
    }
}

static void test_claim_after_a_raised_search_takes_a_run_that_grew_together(void **state)
{
    (void)state;
    for (unsigned s = LOW_FIRST + 1; s < LOW_FIRST + 200; s++) {
        for (unsigned last = 0; last < 3; last++) { /* of three slices, this comes last */
            raise_searches();
            for (unsigned i = 0; i < 3; i++) {
                if (i != last) {
                    give(s + i, 1);
                }
            }
            give(FAR, 3);
            assert_int_equal(claim(3), FAR); /* that search has gone past the two */
            give(FAR, 3);
            give(s + last, 1);
            assert_int_equal(claim(3), s);
            assert_int_equal(claim(3), FAR);
        }
    }
}

static void test_claim_what_a_search_overlooked_is_found_when_there_is_no_other(void **state)
{
    (void)state;
    wr_region *region = wr_region_of(base);
    for (unsigned count = 1; count <= 6; count++) {
        give(LOW_FIRST + 70, count);
        wr_store_relaxed(&region->search_starts, FAR / 64 * (uint64_t)0x0001000100010001);
        assert_int_equal(claim(count + 1), SLICES);
        assert_int_equal(claim(count), LOW_FIRST + 70);
    }
}

static void test_recover_makes_searches_start_at_the_lowest(void **state)
{
    (void)state;
    wr_region *region = wr_region_of(base);
    wr_store_relaxed(&region->search_starts, FAR / 64 * (uint64_t)0x0001000100010001);
    wr_slice_recover();
    assert_int_equal(wr_load_relaxed(&region->search_starts), 0);
}

static void test_claim_that_empties_words_unmarks_them(void **state)
{
    (void)state;
    wr_summary *summary = &wr_region_of(base)->available_words;
    give(150, 200);
    assert_int_equal(wr_summary_next(summary, 0), 150 / 64);
    assert_int_equal(claim(200 - 1), 150);
    assert_int_equal(wr_summary_next(summary, 0), 349 / 64);
    assert_int_equal(claim(1), 349);
    assert_int_equal(wr_summary_next(summary, 0), WR_SUMMARY_WORDS);
    assert_int_equal(wr_load_relaxed(&summary->top), 0);
}

static void test_claim_at_takes_exactly_what_is_asked(void **state)
{
    (void)state;
    give(150, 300);
    assert_true(claim_at(180, 150));
    assert_false(claim_at(329, 1));
    assert_false(claim_at(180, 1));
    assert_int_equal(page_heap_at_rest().available, 150);
    assert_int_equal(claim(30), 150);
    assert_int_equal(claim(120), 330);
}

static void test_claim_at_any_slice_missing_changes_nothing(void **state)
{
    (void)state;
    for (unsigned missing = 150; missing < 150 + 200; missing++) {
        give(150, missing - 150);
        give_dirty(missing + 1, 350 - missing - 1);
        assert_false(claim_at(150, 200));
        struct page_heap heap = page_heap_at_rest();
        assert_int_equal(heap.zero, missing - 150);
        assert_int_equal(heap.dirty, 350 - missing - 1);
        assert_true(claim_is_zero(150, missing - 150));
        assert_true(claim_at(missing + 1, 350 - missing - 1));
    }
}

static void test_claim_at_range_across_the_border_of_a_region_is_refused(void **state)
{
    (void)state;
    give(BORDER - 10, 10);
    give(BORDER, 10);
    assert_false(claim_at(BORDER - 10, 11));
    assert_false(claim_at(BORDER - 1, 2));
    assert_int_equal(page_heap_at_rest().available, 20);
    assert_true(claim_at(BORDER - 10, 10));
    assert_true(claim_at(BORDER, 10));
}

static void test_claim_at_address_without_region_is_refused(void **state)
{
    (void)state;
    bool zero;
    assert_null(wr_region_of(base - 1));
    assert_false(wr_slice_claim_at(base - WR_SLICE_BYTES, 1, &zero));
}

static void test_zero_released_dirty_is_not_reported_zero(void **state)
{
    (void)state;
    give_dirty(150, 100);
    bool zero = true;
    assert_int_equal(wr_slice_claim(100, &zero), address_of(150));
    assert_false(zero);
}

static void test_zero_released_purged_is_reported_zero(void **state)
{
    (void)state;
    give(150, 100);
    bool zero = false;
    assert_int_equal(wr_slice_claim(100, &zero), address_of(150));
    assert_true(zero);
}

static void test_zero_one_dirty_slice_in_a_run_makes_it_not_zero(void **state)
{
    (void)state;
    for (unsigned dirty = 150; dirty < 350; dirty++) {
        give(150, 200);
        assert_true(claim_at(dirty, 1));
        give_dirty(dirty, 1);
        assert_false(claim_is_zero(150, 200));
    }
}

static void test_zero_dirty_neighbours_of_a_run_do_not_matter(void **state)
{
    (void)state;
    give_dirty(150, 200);
    assert_true(claim_at(180, 100));
    give(180, 100);
    assert_true(claim_is_zero(180, 100));
    assert_false(claim_is_zero(150, 30));
    assert_false(claim_is_zero(280, 70));
}

static void test_zero_state_of_a_claim_does_not_outlive_it(void **state)
{
    (void)state;
    give(150, 200);
    assert_true(claim_is_zero(150, 200));
    give_dirty(150, 200);
    assert_false(claim_is_zero(150, 200));
    give(150, 200);
    assert_true(claim_is_zero(150, 200));
}

static void test_dirty_count_follows_releases_and_claims(void **state)
{
    (void)state;
    assert_int_equal(wr_slice_dirty_count(), 0);
    give_dirty(150, 200);
    assert_int_equal(wr_slice_dirty_count(), 200);
    give(400, 50);
    assert_int_equal(wr_slice_dirty_count(), 200);
    assert_true(claim_at(170, 100));
    assert_int_equal(wr_slice_dirty_count(), 100);
    assert_true(claim_at(400, 50));
    assert_int_equal(wr_slice_dirty_count(), 100);
    assert_int_equal(claim(80), 270);
    assert_int_equal(wr_slice_dirty_count(), 20);
    assert_false(claim_at(150, 21));
    assert_int_equal(wr_slice_dirty_count(), 20);
}

static void test_total_count_changes_by_add_alone(void **state)
{
    (void)state;
    size_t total = wr_slice_total_count();
    assert_int_equal(total, LOW_COUNT + UNDER_COUNT + OVER_COUNT);
    give(150, 100);
    assert_int_equal(claim(50), 150);
    give_dirty(150, 50);
    assert_int_equal(wr_slice_total_count(), total);
}

static void test_committed_are_the_claimed_and_the_dirty(void **state)
{
    (void)state;
    size_t committed = wr_commit_bytes();
    wr_slice_release(address_of(BORDER), 10);
    assert_int_equal(wr_commit_bytes(), committed);
    wr_slice_release_purged(address_of(BORDER + 10), 5);
    assert_int_equal(wr_commit_bytes(), committed - 5 * WR_SLICE_BYTES);
    bool zero;
    assert_true(wr_slice_claim_at(address_of(BORDER + 8), 4, &zero));
    assert_int_equal(wr_commit_bytes(), committed - 3 * WR_SLICE_BYTES);
    wr_slice_add(address_of(ADD_FIRST + 100), 3);
    assert_int_equal(wr_commit_bytes(), committed - 3 * WR_SLICE_BYTES);
    assert_true(wr_slice_claim_at(address_of(ADD_FIRST + 100), 3, &zero));
    assert_int_equal(wr_commit_bytes(), committed);
}

static void test_claim_over_the_hard_limit_is_refused_and_changes_nothing(void **state)
{
    (void)state;
    /* 60 to 69 of a word are dirty, zero, dirty, ...: two of any four are charged already. */
    unsigned first = BORDER + 60;
    for (unsigned s = first; s < first + 10; s++) {
        if (s % 2 == 0) {
            wr_slice_release(address_of(s), 1);
        } else {
            wr_slice_release_purged(address_of(s), 1);
        }
    }
    struct page_heap before = page_heap_at_rest();
    size_t committed = wr_commit_bytes();
    bool zero;
    wr_commit_set_limits(WR_COMMIT_UNLIMITED, committed + 4 * WR_SLICE_BYTES);
    assert_int_equal(wr_slice_claim(10, &zero), WR_SLICE_REFUSED);
    assert_false(wr_slice_claim_at(address_of(first), 10, &zero));
    assert_int_equal(wr_slice_claim(11, &zero), 0);
    struct page_heap after = page_heap_at_rest();
    assert_memory_equal(&before, &after, sizeof before);
    assert_int_equal(wr_commit_bytes(), committed);
    assert_int_equal(wr_slice_claim(8, &zero), address_of(first));
    assert_int_equal(wr_commit_bytes(), committed + 4 * WR_SLICE_BYTES);
    assert_true(wr_slice_claim_at(address_of(first + 8), 1, &zero)); /* dirty: needs nothing */
    assert_int_equal(wr_slice_claim(1, &zero), WR_SLICE_REFUSED);
    wr_commit_set_limits(WR_COMMIT_UNLIMITED, WR_COMMIT_UNLIMITED);
}

/* ---- lazy, refunded, dropped ---- */

static void give_lazy(unsigned slice, unsigned count)
{
    wr_slice_release_lazy(address_of(slice), count);
}

static void test_lazy_released_is_neither_zero_nor_dirty_and_stays_charged(void **state)
{
    (void)state;
    size_t committed = wr_commit_bytes();
    assert_int_equal(wr_slice_lazy_count(), 0);
    give_lazy(150, 100);
    assert_int_equal(wr_slice_lazy_count(), 100);
    assert_int_equal(wr_slice_dirty_count(), 0);
    struct page_heap heap = page_heap_at_rest();
    assert_int_equal(heap.available, 100);
    assert_int_equal(heap.lazy, 100);
    assert_int_equal(heap.zero, 0);
    assert_int_equal(wr_commit_bytes(), committed);
    bool zero = true;
    assert_int_equal(wr_slice_claim(100, &zero), address_of(150));
    assert_false(zero);
    assert_int_equal(wr_slice_lazy_count(), 0);
    assert_int_equal(wr_commit_bytes(), committed);
}

static void test_lazy_count_follows_releases_and_claims(void **state)
{
    (void)state;
    give_lazy(150, 200);
    give_dirty(400, 50);
    give(450, 50);
    assert_int_equal(wr_slice_lazy_count(), 200);
    assert_true(claim_at(170, 100));
    assert_int_equal(wr_slice_lazy_count(), 100);
    assert_int_equal(wr_slice_dirty_count(), 50);
    assert_true(claim_at(400, 100));
    assert_int_equal(wr_slice_lazy_count(), 100);
    assert_int_equal(wr_slice_dirty_count(), 0);
    assert_false(claim_at(150, 21));
    assert_int_equal(wr_slice_lazy_count(), 100);
    give_dirty(170, 100);
    assert_true(claim_at(150, 200)); /* lazy, dirty, lazy */
    assert_int_equal(wr_slice_lazy_count(), 0);
    assert_int_equal(wr_slice_dirty_count(), 0);
}

static void test_zero_one_lazy_slice_in_a_run_makes_it_not_zero(void **state)
{
    (void)state;
    for (unsigned lazy = 150; lazy < 350; lazy++) {
        give(150, 200);
        assert_true(claim_at(lazy, 1));
        give_lazy(lazy, 1);
        size_t committed = wr_commit_bytes();
        assert_false(claim_is_zero(150, 200));
        assert_int_equal(wr_commit_bytes(), committed + 199 * WR_SLICE_BYTES);
        assert_int_equal(wr_slice_lazy_count(), 0);
    }
}

static void test_zero_state_of_lazy_slices_does_not_outlive_a_claim(void **state)
{
    (void)state;
    give_lazy(150, 10);
    assert_true(claim_at(150, 10));
    give(150, 10);
    assert_true(claim_is_zero(150, 10));
    give_lazy(150, 10);
    assert_true(claim_at(150, 10));
    give_dirty(150, 10);
    assert_int_equal(page_heap_at_rest().dirty, 10);
    assert_false(claim_is_zero(150, 10));
}

static void test_claim_of_lazy_slices_over_the_hard_limit_needs_nothing(void **state)
{
    (void)state;
    give_lazy(150, 4);
    give(154, 1);
    bool zero;
    wr_commit_set_limits(WR_COMMIT_UNLIMITED, wr_commit_bytes());
    assert_false(wr_slice_claim_at(address_of(150), 5, &zero)); /* the zero one does */
    assert_int_equal(wr_slice_lazy_count(), 4);
    assert_int_equal(page_heap_at_rest().lazy, 4);
    assert_true(wr_slice_claim_at(address_of(150), 4, &zero));
    wr_commit_set_limits(WR_COMMIT_UNLIMITED, WR_COMMIT_UNLIMITED);
    assert_int_equal(wr_slice_lazy_count(), 0);
}

static void test_refunded_released_is_zero_and_not_refunded_again(void **state)
{
    (void)state;
    size_t committed = wr_commit_bytes();
    wr_commit_refund(10 * WR_SLICE_BYTES);
    wr_slice_release_refunded(address_of(150), 10);
    assert_int_equal(wr_commit_bytes(), committed - 10 * WR_SLICE_BYTES);
    assert_int_equal(page_heap_at_rest().zero, 10);
    assert_true(claim_is_zero(150, 10));
    assert_int_equal(wr_commit_bytes(), committed);
}

static void test_dropped_slices_leave_the_counts_and_may_come_again(void **state)
{
    (void)state;
    bool zero;
    size_t total = wr_slice_total_count();
    size_t committed = wr_commit_bytes();
    uintptr_t start = address_of(ADD_FIRST + 200);
    for (unsigned i = 0; i < 3; i++) {
        wr_slice_add(start, 70);
        assert_int_equal(wr_slice_total_count(), total + 70);
        assert_true(wr_slice_claim_at(start, 70, &zero));
        assert_true(zero);
        assert_int_equal(wr_commit_bytes(), committed + 70 * WR_SLICE_BYTES);
        wr_slice_drop(70);
        assert_int_equal(wr_slice_total_count(), total);
        assert_int_equal(wr_commit_bytes(), committed);
        assert_false(wr_slice_claim_at(start, 1, &zero));
        assert_int_equal(page_heap_at_rest().available, 0);
    }
}

static void test_count_below_is_the_run_that_ends_there(void **state)
{
    (void)state;
    assert_int_equal(wr_slice_count_below(address_of(150)), 0);
    give(150, 20);
    give_dirty(170, 20);
    give_lazy(190, 20);
    for (unsigned s = 150; s <= 210; s++) {
        assert_int_equal(wr_slice_count_below(address_of(s)), s - 150);
    }
    assert_int_equal(wr_slice_count_below(address_of(211)), 0);
    assert_true(claim_at(180, 1));
    assert_int_equal(wr_slice_count_below(address_of(210)), 29);
    assert_int_equal(wr_slice_count_below(address_of(181)), 0);
    assert_int_equal(wr_slice_count_below(address_of(180)), 30);
}

static void test_count_below_is_right_at_any_offset_within_words(void **state)
{
    (void)state;
    for (unsigned first = 128; first < 128 + 64; first++) {
        give(first, 150);
        for (unsigned count = 1; count <= 150; count += 7) {
            assert_int_equal(wr_slice_count_below(address_of(first + count)), count);
        }
        assert_true(claim_at(first, 150));
    }
}

static void test_count_below_ends_at_the_first_slice_of_a_region(void **state)
{
    (void)state;
    give(BORDER - 10, 10);
    give(BORDER, 100);
    assert_int_equal(wr_slice_count_below(address_of(BORDER + 100)), 100);
    assert_int_equal(wr_slice_count_below(address_of(BORDER + 1)), 1);
    assert_int_equal(wr_slice_count_below(address_of(BORDER)), 10);
}

static void test_count_below_of_an_address_without_region_is_0(void **state)
{
    (void)state;
    assert_null(wr_region_of(base - 1));
    assert_int_equal(wr_slice_count_below(base), 0);
}

static void test_add_makes_new_slices_available_and_zero(void **state)
{
    (void)state;
    size_t total = wr_slice_total_count();
    assert_int_equal(claim(1), SLICES);
    add_piece(ADD_FIRST, 150);
    assert_int_equal(wr_slice_total_count(), total + 150);
    bool zero = false;
    assert_int_equal(wr_slice_claim(150, &zero), address_of(ADD_FIRST));
    assert_true(zero);
    assert_true(all_zero((void *)address_of(ADD_FIRST), 150 * WR_SLICE_BYTES));
}

/* The reference: one state a slice, and the first word of what it holds. */
enum model_state { ABSENT = 0, CLAIMED, DIRTY, ZERO, LAZY };
static unsigned char model[SLICES];
static uint64_t model_word[SLICES];

static bool model_holds_run(unsigned slice, unsigned count)
{
    unsigned end = slice < BORDER ? BORDER : SLICES;
    for (unsigned s = slice; s < slice + count; s++) {
        if (s >= end || model[s] < DIRTY) {
            return false;
        }
    }
    return true;
}

static unsigned model_find(unsigned count)
{
    unsigned run = 0;
    for (unsigned s = 0; s < SLICES; s++) {
        run = model[s] < DIRTY ? 0 : s == BORDER ? 1 : run + 1;
        if (run == count) {
            return s + 1 - count;
        }
    }
    return SLICES;
}

static uint64_t *word_of(unsigned slice)
{
    return (uint64_t *)(address_of(slice) + slice % 64 * 1024);
}

/* A claim has happened: was `zero` right, and are the contents what was left there? */
static void model_claim(unsigned slice, unsigned count, bool zero, uint64_t *random)
{
    bool expected = true;
    for (unsigned s = slice; s < slice + count; s++) {
        expected = expected && model[s] == ZERO;
        assert_int_equal(*word_of(s), model[s] == ZERO ? 0 : model_word[s]);
        if (model[s] == ZERO && s % 8 == 0) {
            assert_true(all_zero((void *)address_of(s), WR_SLICE_BYTES));
        }
        model[s] = CLAIMED;
        model_word[s] = random_next(random) | 1;
        *word_of(s) = model_word[s];
    }
    assert_int_equal(zero, expected);
}

static void model_step_claim(uint64_t *random)
{
    unsigned count = 1 + (unsigned)(random_next(random) % (random_next(random) % 4 == 0 ? 250 : 8));
    bool zero = false;
    if (random_next(random) % 2 == 0) {
        unsigned expected = model_find(count);
        uintptr_t address = wr_slice_claim(count, &zero);
        assert_int_equal(address, expected == SLICES ? 0 : address_of(expected));
        if (address != 0) {
            model_claim(expected, count, zero, random);
        }
    } else {
        unsigned slice = (unsigned)(random_next(random) % (LOW_FIRST + LOW_COUNT));
        if (random_next(random) % 4 == 0) {
            slice = BORDER - UNDER_COUNT + (unsigned)(random_next(random) % 500);
        }
        bool expected = model_holds_run(slice, count);
        assert_int_equal(wr_slice_claim_at(address_of(slice), count, &zero), expected);
        if (expected) {
            model_claim(slice, count, zero, random);
        }
    }
}

static void model_step_release(uint64_t *random)
{
    unsigned piece = (unsigned)(random_next(random) % 3);
    unsigned slice = piece == 0   ? LOW_FIRST + (unsigned)(random_next(random) % LOW_COUNT)
                     : piece == 1 ? BORDER - 1 - (unsigned)(random_next(random) % UNDER_COUNT)
                                  : BORDER + (unsigned)(random_next(random) % OVER_COUNT);
    unsigned most = 1 + (unsigned)(random_next(random) % 200);
    unsigned end = slice < BORDER ? BORDER : SLICES;
    unsigned count = 0;
    while (count < most && slice + count < end && model[slice + count] == CLAIMED) {
        count++;
    }
    if (count == 0) {
        return;
    }
    uint64_t kind = random_next(random) % 4;
    if (kind == 0) {
        assert_true(wr_vm_purge((void *)address_of(slice), count * WR_SLICE_BYTES));
        give(slice, count);
    } else if (kind == 1) {
        give_lazy(slice, count);
    } else {
        give_dirty(slice, count);
    }
    memset(&model[slice], kind == 0 ? ZERO : kind == 1 ? LAZY : DIRTY, count);
}

static void test_model_random_claims_and_releases_agree_with_a_table(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    for (unsigned s = 0; s < SLICES; s++) {
        model[s] = in_heap[s] ? CLAIMED : ABSENT;
        model_word[s] = 0;
    }
    for (size_t i = 0; i < MODEL_STEPS; i++) {
        if (random_next(&random) % 2 == 0) {
            model_step_claim(&random);
        } else {
            model_step_release(&random);
        }
        if (i % 100 == 0) {
            size_t dirty = 0;
            size_t zero = 0;
            size_t lazy = 0;
            for (unsigned s = 0; s < SLICES; s++) {
                dirty += model[s] == DIRTY;
                zero += model[s] == ZERO;
                lazy += model[s] == LAZY;
            }
            struct page_heap heap = page_heap_at_rest();
            assert_int_equal(heap.dirty, dirty);
            assert_int_equal(heap.zero, zero);
            assert_int_equal(heap.lazy, lazy);
        }
    }
}

/* Storms of threads. Every slice begins available and zero. */
static _Atomic size_t owner[SLICES]; /* number + 1 of the thread that has the slice, or 0 */
static size_t plain_count[SLICES];   /* written by who has the slice: TSan watches */
static size_t claimed_count[THREADS];

struct taken {
    unsigned slice;
    unsigned count;
};

static void use_owner_table(unsigned slice, unsigned count, size_t number)
{
    for (unsigned s = slice; s < slice + count; s++) {
        CHECK(in_heap[s]);
        CHECK(wr_exchange_acq_rel(&owner[s], number + 1) == 0);
    }
}

static void leave_owner_table(unsigned slice, unsigned count, size_t number)
{
    for (unsigned s = slice; s < slice + count; s++) {
        CHECK(wr_exchange_acq_rel(&owner[s], 0) == number + 1);
    }
}

/* First and last word of each slice, so that frames exist at both ends. */
static void write_ends(unsigned slice, unsigned count, uint64_t word)
{
    for (unsigned s = slice; s < slice + count; s++) {
        *(uint64_t *)address_of(s) = word;
        ((uint64_t *)address_of(s + 1))[-1] = word;
    }
}

static void check_ends(unsigned slice, unsigned count, uint64_t word)
{
    for (unsigned s = slice; s < slice + count; s++) {
        CHECK(*(uint64_t *)address_of(s) == word);
        CHECK(((uint64_t *)address_of(s + 1))[-1] == word);
    }
}

static unsigned random_count(uint64_t *random)
{
    uint64_t kind = random_next(random) % 100;
    return 1 + (unsigned)(random_next(random) % (kind < 70 ? 4 : kind < 95 ? 70 : 300));
}

static struct taken storm_take(uint64_t *random, size_t number)
{
    struct taken taken = {SLICES, random_count(random)};
    bool zero = false;
    if (random_next(random) % 3 != 0) {
        uintptr_t address = wr_slice_claim(taken.count, &zero);
        taken.slice = address == 0 ? SLICES : slice_of(address);
    } else {
        unsigned slice = LOW_FIRST + (unsigned)(random_next(random) % 300);
        if (wr_slice_claim_at(address_of(slice), taken.count, &zero)) {
            taken.slice = slice;
        }
    }
    if (taken.slice < SLICES) {
        use_owner_table(taken.slice, taken.count, number);
        if (zero) {
            check_ends(taken.slice, taken.count, 0);
        }
        write_ends(taken.slice, taken.count, number + 1);
        for (unsigned s = taken.slice; s < taken.slice + taken.count; s++) {
            plain_count[s]++;
        }
        claimed_count[number] += taken.count;
    }
    return taken;
}

static void storm_give(struct taken taken, uint64_t *random, size_t number)
{
    check_ends(taken.slice, taken.count, number + 1);
    leave_owner_table(taken.slice, taken.count, number);
    if (random_next(random) % 4 == 0) {
        CHECK(wr_vm_purge((void *)address_of(taken.slice), taken.count * WR_SLICE_BYTES));
        give(taken.slice, taken.count);
    } else if (random_next(random) % 4 == 0) {
        give_lazy(taken.slice, taken.count);
    } else {
        give_dirty(taken.slice, taken.count);
    }
}

/* Up to `steps` claims, of which some are held at a time; all are given back at the end. */
static void storm_steps(uint64_t *random, size_t number, size_t steps)
{
    struct taken held[4];
    for (size_t i = 0; i < COUNT_OF(held); i++) {
        held[i].slice = SLICES;
    }
    for (size_t step = 0; step < steps + COUNT_OF(held); step++) {
        struct taken *taken = &held[step % COUNT_OF(held)];
        if (taken->slice < SLICES) {
            storm_give(*taken, random, number);
            taken->slice = SLICES;
        }
        if (step < steps) {
            *taken = storm_take(random, number);
        }
    }
}

static void storm(size_t number)
{
    uint64_t random = seed + number;
    storm_steps(&random, number, STORM_STEPS);
}

static void storm_in_rounds(size_t number)
{
    uint64_t random = seed + number;
    for (size_t round = 0; round < ROUNDS; round++) {
        storm_steps(&random, number, ROUND_SIZE);
        if (threads_meet()) {
            CHECK(page_heap_at_rest().available == 300);
        }
        threads_meet();
    }
}

static void begin_storm(unsigned low_count, unsigned under_count, unsigned over_count)
{
    seed = test_seed();
    memset(plain_count, 0, sizeof plain_count);
    memset(claimed_count, 0, sizeof claimed_count);
    give(LOW_FIRST, low_count);
    if (under_count > 0) {
        give(BORDER - under_count, under_count);
        give(BORDER, over_count);
    }
}

static void test_threads_each_slice_has_one_owner_and_none_is_lost(void **state)
{
    (void)state;
    begin_storm(LOW_COUNT, UNDER_COUNT, OVER_COUNT);
    run_threads(storm);
    assert_int_equal(page_heap_at_rest().available, LOW_COUNT + UNDER_COUNT + OVER_COUNT);
    assert_true(claim_at(LOW_FIRST, LOW_COUNT));
    assert_true(claim_at(BORDER - UNDER_COUNT, UNDER_COUNT));
    assert_true(claim_at(BORDER, OVER_COUNT));
}

static void test_threads_short_of_slices_invariants_hold_at_each_rest(void **state)
{
    (void)state;
    begin_storm(300, 0, 0);
    run_threads(storm_in_rounds);
    assert_true(claim_at(LOW_FIRST, 300));
}

/* Nothing but claims and releases of the same two slices, on both sides of a word border. */
static void fight(size_t number)
{
    uint64_t random = seed + number;
    for (size_t step = 0; step < FIGHT_STEPS; step++) {
        unsigned count = 1 + (unsigned)(random_next(&random) % 2);
        unsigned slice = count == 2 ? 127 : 127 + (unsigned)(random_next(&random) % 2);
        bool zero;
        if (step % 4 == 0) {
            uintptr_t address = wr_slice_claim(count, &zero);
            slice = address == 0 ? SLICES : slice_of(address);
        } else if (!claim_at(slice, count)) {
            slice = SLICES;
        }
        if (slice < SLICES) {
            use_owner_table(slice, count, number);
            leave_owner_table(slice, count, number);
            give_dirty(slice, count);
        }
    }
}

static void test_threads_that_fight_for_two_slices_never_share_one(void **state)
{
    (void)state;
    seed = test_seed();
    give(127, 2);
    run_threads(fight);
    assert_int_equal(page_heap_at_rest().available, 2);
    assert_true(claim_at(127, 2));
}

/* One thread releases a slice, another waits until it can claim it: nothing else orders the two. A
 * second slice keeps the word and its mark as they are, since those would order them too. */
static void hand_on(size_t number)
{
    uint64_t *word = (uint64_t *)address_of(LOW_FIRST);
    if (number == 0) {
        *word = 1;
        give_dirty(LOW_FIRST, 1);
    } else if (number == 1) {
        while (!claim_at(LOW_FIRST, 1)) {
            sched_yield();
        }
        CHECK(*word == 1);
        *word = 2;
    }
}

static void test_claim_sees_what_was_done_before_the_release(void **state)
{
    (void)state;
    give(LOW_FIRST + 1, 1);
    run_threads(hand_on);
    assert_int_equal(page_heap_at_rest().available, 1);
    assert_true(claim_at(LOW_FIRST + 1, 1));
}

/* Plain writes only: release -> claim is the one order there is between two owners. */
static void torture(size_t number)
{
    uint64_t random = seed + number;
    for (size_t step = 0; step < STORM_STEPS; step++) {
        unsigned count = random_count(&random) % 100 + 1;
        bool zero = false;
        uintptr_t address = wr_slice_claim(count, &zero);
        if (address == 0) {
            continue;
        }
        unsigned slice = slice_of(address);
        for (unsigned s = slice; s < slice + count; s++) {
            plain_count[s]++;
            ++*(uint64_t *)address_of(s);
        }
        claimed_count[number] += count;
        give_dirty(slice, count);
    }
}

static void test_torture_plain_writes_of_owners_add_up(void **state)
{
    (void)state;
    begin_storm(300, 0, 0);
    run_threads(torture);
    assert_true(claim_at(LOW_FIRST, 300));
    size_t written = 0;
    size_t claimed = 0;
    for (unsigned s = LOW_FIRST; s < LOW_FIRST + 300; s++) {
        assert_int_equal(*(uint64_t *)address_of(s), plain_count[s]);
        written += plain_count[s];
    }
    for (size_t i = 0; i < THREADS; i++) {
        claimed += claimed_count[i];
    }
    assert_int_equal(written, claimed);
    assert_true(claimed > 0);
}

#if WR_DEBUG
static void release_twice(void *unused)
{
    (void)unused;
    give(150, 10);
    give_dirty(159, 1);
}

static void test_release_of_an_available_slice_aborts(void **state)
{
    (void)state;
    static struct outcome outcome;
    run_child(release_twice, NULL, &outcome);
    assert_int_equal(outcome.signal, SIGABRT);
}

static void forge_dirty_bit(void *unused)
{
    (void)unused;
    wr_region *region = wr_region_of(base);
    wr_store_relaxed(&region->slices[150 / 64].dirty, (uint64_t)1 << 150 % 64);
    wr_slice_assert_valid(region);
}

static void forge_available_bit(void *unused)
{
    (void)unused;
    wr_region *region = wr_region_of(base);
    wr_store_relaxed(&region->slices[150 / 64].dirty, (uint64_t)1 << 150 % 64);
    wr_store_relaxed(&region->slices[150 / 64].available, (uint64_t)1 << 150 % 64);
    wr_slice_assert_valid(region);
}

static void test_assert_valid_broken_words_abort(void **state)
{
    (void)state;
    static struct outcome outcome;
    run_child(forge_dirty_bit, NULL, &outcome);
    assert_int_equal(outcome.signal, SIGABRT);
    run_child(forge_available_bit, NULL, &outcome);
    assert_int_equal(outcome.signal, SIGABRT);
    assert_non_null(strstr(outcome.text, "marked"));
}
#endif

static void test_recover_words_that_nobody_marked_are_found(void **state)
{
    (void)state;
    bool zero;
    unsigned slice = BORDER + 2 * WR_WORD_BITS;
    wr_region *region = wr_region_of(address_of(slice));
    unsigned word = wr_slice_number(address_of(slice)) / WR_WORD_BITS;
    /* A thread that did not survive a fork had released the slice but for the mark. */
    wr_slice_release(address_of(slice), 1);
    memset((void *)&region->available_words, 0, sizeof region->available_words);
    assert_int_equal(wr_slice_claim(1, &zero), 0);
    wr_slice_recover();
    assert_int_equal(wr_summary_next(&region->available_words, 0), word);
    assert_int_equal(wr_slice_claim(1, &zero), address_of(slice));
    assert_false(zero);
}

static void test_recover_counts_what_is_dirty_and_available(void **state)
{
    (void)state;
    bool zero;
    wr_slice_release(address_of(BORDER), 7);
    wr_slice_release_purged(address_of(BORDER + 7), 2);
    assert_int_equal(wr_slice_dirty_count(), 7);
    /* Another had claimed three slices but not yet taken their state. */
    wr_region *region = wr_region_of(address_of(BORDER));
    (void)wr_fetch_and_relaxed(&region->slices[0].available, ~(uint64_t)7);
    wr_slice_recover();
    assert_int_equal(wr_slice_dirty_count(), 4);
    (void)wr_fetch_or_relaxed(&region->slices[0].available, 7);
    wr_slice_recover();
    assert_int_equal(wr_slice_dirty_count(), 7);
    assert_int_equal(wr_slice_claim(9, &zero), address_of(BORDER));
    assert_int_equal(wr_slice_dirty_count(), 0);
}

static void test_recover_counts_what_is_lazy_and_available(void **state)
{
    (void)state;
    give_lazy(BORDER, 7);
    give(BORDER + 7, 2);
    give_dirty(BORDER + 9, 1);
    wr_region *region = wr_region_of(address_of(BORDER));
    (void)wr_fetch_and_relaxed(&region->slices[0].available, ~(uint64_t)7);
    wr_slice_recover();
    assert_int_equal(wr_slice_lazy_count(), 4);
    (void)wr_fetch_or_relaxed(&region->slices[0].available, 7);
    wr_slice_recover();
    assert_int_equal(wr_slice_lazy_count(), 7);
    assert_int_equal(wr_slice_dirty_count(), 1);
    assert_true(claim_at(BORDER, 10));
    assert_int_equal(wr_slice_lazy_count(), 0);
}

#define CASE(function) cmocka_unit_test_setup(function, claim_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_claim_nothing_available_returns_0),
        CASE(test_claim_single_slices_ascend_from_the_lowest),
        CASE(test_claim_run_takes_the_lowest_that_is_long_enough),
        CASE(test_claim_run_crosses_a_word_border),
        CASE(test_claim_run_of_more_than_a_word_is_found_at_any_offset),
        CASE(test_claim_run_a_single_hole_ends_the_run),
        CASE(test_claim_empty_words_between_runs_are_skipped),
        CASE(test_claim_run_ends_at_a_word_that_has_none),
        CASE(test_claim_run_ends_at_the_last_slice_of_a_region),
        CASE(test_claim_run_does_not_cross_the_border_of_a_region),
        CASE(test_claim_more_than_a_region_returns_0),
        CASE(test_claim_that_goes_a_few_words_up_raises_no_search),
        CASE(test_claim_of_nothing_spares_the_next_the_search),
        CASE(test_claim_after_a_raised_search_takes_what_was_released_below),
        CASE(test_claim_after_a_raised_search_takes_a_run_that_grew_together),
        CASE(test_claim_what_a_search_overlooked_is_found_when_there_is_no_other),
        CASE(test_claim_that_empties_words_unmarks_them),
        CASE(test_claim_at_takes_exactly_what_is_asked),
        CASE(test_claim_at_any_slice_missing_changes_nothing),
        CASE(test_claim_at_range_across_the_border_of_a_region_is_refused),
        CASE(test_claim_at_address_without_region_is_refused),
        CASE(test_zero_released_dirty_is_not_reported_zero),
        CASE(test_zero_released_purged_is_reported_zero),
        CASE(test_zero_one_dirty_slice_in_a_run_makes_it_not_zero),
        CASE(test_zero_dirty_neighbours_of_a_run_do_not_matter),
        CASE(test_zero_state_of_a_claim_does_not_outlive_it),
        CASE(test_dirty_count_follows_releases_and_claims),
        CASE(test_total_count_changes_by_add_alone),
        CASE(test_committed_are_the_claimed_and_the_dirty),
        CASE(test_claim_over_the_hard_limit_is_refused_and_changes_nothing),
        CASE(test_lazy_released_is_neither_zero_nor_dirty_and_stays_charged),
        CASE(test_lazy_count_follows_releases_and_claims),
        CASE(test_zero_one_lazy_slice_in_a_run_makes_it_not_zero),
        CASE(test_zero_state_of_lazy_slices_does_not_outlive_a_claim),
        CASE(test_claim_of_lazy_slices_over_the_hard_limit_needs_nothing),
        CASE(test_refunded_released_is_zero_and_not_refunded_again),
        CASE(test_dropped_slices_leave_the_counts_and_may_come_again),
        CASE(test_count_below_is_the_run_that_ends_there),
        CASE(test_count_below_is_right_at_any_offset_within_words),
        CASE(test_count_below_ends_at_the_first_slice_of_a_region),
        CASE(test_count_below_of_an_address_without_region_is_0),
        CASE(test_add_makes_new_slices_available_and_zero),
        CASE(test_model_random_claims_and_releases_agree_with_a_table),
        CASE(test_recover_words_that_nobody_marked_are_found),
        CASE(test_recover_makes_searches_start_at_the_lowest),
        CASE(test_recover_counts_what_is_dirty_and_available),
        CASE(test_recover_counts_what_is_lazy_and_available),
        CASE(test_threads_each_slice_has_one_owner_and_none_is_lost),
        CASE(test_threads_short_of_slices_invariants_hold_at_each_rest),
        CASE(test_threads_that_fight_for_two_slices_never_share_one),
        CASE(test_claim_sees_what_was_done_before_the_release),
        CASE(test_torture_plain_writes_of_owners_add_up),
#if WR_DEBUG
        CASE(test_release_of_an_available_slice_aborts),
        CASE(test_assert_valid_broken_words_abort),
#endif
    };
    return cmocka_run_group_tests_name("slice", tests, make_heap, NULL);
}
