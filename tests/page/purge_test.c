/* Purging: dirty available slices lose their page frames and become zero; what is claimed keeps its
 * contents. */
#include "page_support.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/options.h"
#include "page/purge.h"

#define FIRST   100u /* slice number: the heap begins in the middle of a word */
#define COUNT   900u
#define BORDER  ((unsigned)WR_REGION_SLICES)
#define OVER    300u /* slices from the border on, in the region made last */
#define SLICES  (2 * BORDER)
#define ALL     (COUNT + OVER)
#define CAP     64u /* slices, as set_dirty_cap() sets it */
#define PAGE(p) ((size_t)(p)*4096)

#define MODEL_STEPS TEST_SCALE(4000, 1000)
#define STORM_STEPS TEST_SCALE(1500, 700) /* of a thread */

static uintptr_t base;
static uint64_t seed;

static uintptr_t address_of(unsigned slice)
{
    return base + (uintptr_t)slice * WR_SLICE_BYTES;
}

static bool in_heap(unsigned slice)
{
    return (slice >= FIRST && slice < FIRST + COUNT) || (slice >= BORDER && slice < BORDER + OVER);
}

static int make_heap(void **state)
{
    (void)state;
    base = map_windows(2);
    assert_non_null(wr_region_obtain(address_of(0)));
    assert_non_null(wr_region_obtain(address_of(BORDER)));
    wr_slice_add(address_of(FIRST), COUNT);
    wr_slice_add(address_of(BORDER), OVER);
    return 0;
}

/* Each case begins with every slice claimed, and zero. */
static int claim_all(void **state)
{
    (void)state;
    for (unsigned s = FIRST; s < BORDER + OVER; s = s + 1 == FIRST + COUNT ? BORDER : s + 1) {
        bool zero = false;
        if (!wr_slice_claim_at(address_of(s), 1, &zero) || !zero) {
            assert_true(wr_vm_purge((void *)address_of(s), WR_SLICE_BYTES));
        }
    }
    assert_int_equal(page_heap_at_rest().available, 0);
    return 0;
}

/* Writes a tag to slices, at two pages of each. */
static void write_slices(unsigned slice, unsigned count, uint64_t tag)
{
    for (unsigned s = slice; s < slice + count; s++) {
        *(uint64_t *)(address_of(s) + PAGE(s % 15)) = tag + s;
        *(uint64_t *)(address_of(s) + PAGE(15)) = tag + s;
    }
}

static bool slices_hold(unsigned slice, unsigned count, uint64_t tag)
{
    bool hold = true;
    for (unsigned s = slice; s < slice + count; s++) {
        hold = hold && *(uint64_t *)(address_of(s) + PAGE(s % 15)) == tag + s;
        hold = hold && *(uint64_t *)(address_of(s) + PAGE(15)) == tag + s;
    }
    return hold;
}

static bool slices_are_zero(unsigned slice, unsigned count)
{
    return all_zero((void *)address_of(slice), count * WR_SLICE_BYTES);
}

static void give_dirty(unsigned slice, unsigned count)
{
    write_slices(slice, count, 1000);
    wr_slice_release(address_of(slice), count);
}

static void give_zero(unsigned slice, unsigned count)
{
    wr_slice_release_purged(address_of(slice), count);
}

static bool claim_is_zero(unsigned slice, unsigned count)
{
    bool zero = false;
    assert_true(wr_slice_claim_at(address_of(slice), count, &zero));
    return zero;
}

static void set_dirty_cap(void)
{
    static char cap[] = "WEIR_DIRTY_MAX=4M";
    char *environment[] = {cap, NULL};
    wr_options_parse(environment);
    assert_int_equal(wr_option_get(wr_option_dirty_max), CAP * WR_SLICE_BYTES);
}

static void test_purge_nothing_dirty_does_nothing(void **state)
{
    (void)state;
    assert_int_equal(wr_purge_slices(0), 0);
    give_zero(200, 300);
    assert_int_equal(wr_purge_slices(0), 0);
    assert_true(claim_is_zero(200, 300));
}

static void test_purge_dirty_slices_become_zero_and_stay_available(void **state)
{
    (void)state;
    give_dirty(150, 300);
    assert_int_equal(wr_purge_slices(0), 300);
    struct page_heap heap = page_heap_at_rest();
    assert_int_equal(heap.dirty, 0);
    assert_int_equal(heap.zero, 300);
    assert_true(claim_is_zero(150, 300));
    assert_true(slices_are_zero(150, 300));
}

static void test_purge_gives_the_page_frames_back(void **state)
{
    (void)state;
    unsigned char resident[16]; /* pages are of 4 KiB or more */
    size_t pages = WR_SLICE_BYTES / (size_t)getpagesize();
    give_dirty(150, 1);
    assert_int_equal(mincore((void *)address_of(150), WR_SLICE_BYTES, resident), 0);
    assert_int_equal(resident[pages - 1] & 1, 1);
    assert_int_equal(wr_purge_slices(0), 1);
    assert_int_equal(mincore((void *)address_of(150), WR_SLICE_BYTES, resident), 0);
    for (size_t p = 0; p < pages; p++) {
        assert_int_equal(resident[p] & 1, 0);
    }
}

static void test_purge_several_runs_of_a_word_all_go(void **state)
{
    (void)state;
    for (unsigned s = 192; s < 320; s += 3) {
        give_dirty(s, 1 + s % 2);
    }
    size_t dirty = wr_slice_dirty_count();
    assert_int_equal(wr_purge_slices(0), dirty);
    assert_int_equal(page_heap_at_rest().zero, dirty);
    for (unsigned s = 192; s < 320; s += 3) {
        assert_true(claim_is_zero(s, 1 + s % 2));
        assert_true(slices_are_zero(s, 1 + s % 2));
    }
}

static void test_purge_claimed_neighbours_keep_their_contents(void **state)
{
    (void)state;
    write_slices(150, 300, 5);
    for (unsigned s = 151; s < 450; s += 2) {
        wr_slice_release(address_of(s), 1);
    }
    assert_int_equal(wr_purge_slices(0), 150);
    for (unsigned s = 150; s < 450; s++) {
        assert_true(s % 2 == 0 ? slices_hold(s, 1, 5) : slices_are_zero(s, 1));
    }
}

static void test_purge_keeps_as_many_as_asked(void **state)
{
    (void)state;
    give_dirty(150, 300);
    assert_int_equal(wr_purge_slices(300), 0);
    assert_int_equal(wr_purge_slices(1000), 0);
    assert_int_equal(wr_slice_dirty_count(), 300);
    size_t purged = wr_purge_slices(200);
    assert_int_equal(wr_slice_dirty_count(), 300 - purged);
    assert_in_range(wr_slice_dirty_count(), 200 - 63, 200);
    purged += wr_purge_slices(0);
    assert_int_equal(purged, 300);
}

static void test_purge_takes_the_highest_words_first(void **state)
{
    (void)state;
    give_dirty(128, 64);
    give_dirty(512, 64);
    give_dirty(320, 64);
    assert_int_equal(wr_purge_slices(128), 64);
    assert_true(claim_is_zero(512, 64));
    assert_int_equal(wr_purge_slices(64), 64);
    assert_true(claim_is_zero(320, 64));
    assert_false(claim_is_zero(128, 64));
    assert_true(slices_hold(128, 64, 1000));
}

static void test_purge_takes_the_last_region_first(void **state)
{
    (void)state;
    give_dirty(FIRST, 28);
    give_dirty(BORDER, 28);
    assert_int_equal(wr_purge_slices(28), 28);
    assert_true(claim_is_zero(BORDER, 28));
    assert_false(claim_is_zero(FIRST, 28));
}

static void test_purge_locked_memory_stays_dirty_and_intact(void **state)
{
    (void)state;
    /* By the system call: sanitizers ignore mlock(3). */
    assert_int_equal(syscall(SYS_mlock, address_of(151), WR_SLICE_BYTES), 0);
    give_dirty(150, 3);
    errno = ERRNO_UNUSED;
    assert_int_equal(wr_purge_slices(0), 0);
    assert_int_equal(errno, ERRNO_UNUSED);
    assert_int_equal(page_heap_at_rest().dirty, 3);
    assert_false(claim_is_zero(150, 3));
    assert_true(slices_hold(151, 1, 1000));
    assert_int_equal(syscall(SYS_munlock, address_of(151), WR_SLICE_BYTES), 0);
}

static void test_over_cap_at_the_cap_nothing_is_purged(void **state)
{
    (void)state;
    set_dirty_cap();
    give_dirty(150, CAP);
    wr_purge_over_cap();
    assert_int_equal(wr_slice_dirty_count(), CAP);
}

static void test_over_cap_above_it_half_the_cap_stays(void **state)
{
    (void)state;
    set_dirty_cap();
    give_dirty(150, CAP + 1);
    wr_purge_over_cap();
    assert_in_range(wr_slice_dirty_count(), 0, CAP / 2);
    assert_int_equal(page_heap_at_rest().available, CAP + 1);
}

static void test_over_cap_no_more_words_than_needed_are_purged(void **state)
{
    (void)state;
    set_dirty_cap();
    for (unsigned word = 2; word < 15; word++) {
        give_dirty(word * 64, 5);
    }
    assert_int_equal(wr_slice_dirty_count(), CAP + 1);
    wr_purge_over_cap();
    assert_int_equal(wr_slice_dirty_count(), 30);
}

/* The reference: what each slice is, and that claimed ones hold their tag. */
enum model_state { CLAIMED, DIRTY, ZERO };
static unsigned char model[SLICES];

static unsigned random_slice(uint64_t *random)
{
    unsigned slice = (unsigned)(random_next(random) % ALL);
    return slice < COUNT ? FIRST + slice : BORDER + (slice - COUNT);
}

/* Slices from `slice` on that are in the state, at most `most`. */
static unsigned model_run(unsigned slice, unsigned most, enum model_state state)
{
    unsigned count = 0;
    while (count < most && in_heap(slice + count) && model[slice + count] == state) {
        count++;
    }
    return count;
}

static void model_step(uint64_t *random)
{
    unsigned slice = random_slice(random);
    enum model_state from = model[slice];
    unsigned count = model_run(slice, 1 + (unsigned)(random_next(random) % 100), from);
    if (from == CLAIMED) {
        assert_true(slices_hold(slice, count, 7));
        wr_slice_release(address_of(slice), count);
        memset(&model[slice], DIRTY, count);
    } else {
        assert_int_equal(claim_is_zero(slice, count), from == ZERO);
        assert_true(from == ZERO ? slices_are_zero(slice, count) : slices_hold(slice, count, 7));
        write_slices(slice, count, 7);
        memset(&model[slice], CLAIMED, count);
    }
}

/* From above, word by word, as long as more than `keep` are dirty. */
static size_t model_purge(size_t keep)
{
    size_t dirty = 0;
    for (unsigned s = 0; s < SLICES; s++) {
        dirty += in_heap(s) && model[s] == DIRTY;
    }
    size_t purged = 0;
    for (unsigned word = SLICES / 64; word-- > 0 && dirty - purged > keep;) {
        for (unsigned s = word * 64; s < word * 64 + 64; s++) {
            if (in_heap(s) && model[s] == DIRTY) {
                model[s] = ZERO;
                purged++;
            }
        }
    }
    return purged;
}

static void test_model_random_purges_agree_with_a_table(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    memset(model, CLAIMED, sizeof model);
    write_slices(FIRST, COUNT, 7);
    write_slices(BORDER, OVER, 7);
    for (size_t i = 0; i < MODEL_STEPS; i++) {
        model_step(&random);
        if (random_next(&random) % 8 == 0) {
            size_t keep = random_next(&random) % (random_next(&random) % 2 == 0 ? 100 : ALL);
            assert_int_equal(wr_purge_slices(keep), model_purge(keep));
        }
    }
    page_heap_at_rest();
}

/* Storms of threads: slices are claimed and released while others purge. What a claimed slice holds
 * is written plainly: TSan watches, and a purge of claimed memory shows as a lost tag. */
static _Atomic size_t owner[SLICES];
static _Atomic size_t purged_slices;

static unsigned random_count(uint64_t *random)
{
    return 1 + (unsigned)(random_next(random) % (random_next(random) % 8 == 0 ? 150 : 10));
}

static void claim_and_release(uint64_t *random, size_t number)
{
    unsigned count = random_count(random);
    bool zero = false;
    uintptr_t start = wr_slice_claim(count, &zero);
    if (start == 0) {
        return;
    }
    unsigned slice = (unsigned)((start - base) / WR_SLICE_BYTES);
    for (unsigned s = slice; s < slice + count; s++) {
        CHECK(in_heap(s));
        CHECK(wr_exchange_acq_rel(&owner[s], number + 1) == 0);
        if (zero) {
            CHECK(*(uint64_t *)(address_of(s) + PAGE(s % 15)) == 0);
            CHECK(*(uint64_t *)(address_of(s) + PAGE(15)) == 0);
        }
    }
    write_slices(slice, count, number);
    if (random_next(random) % 16 == 0) {
        sched_yield();
    }
    CHECK(slices_hold(slice, count, number));
    for (unsigned s = slice; s < slice + count; s++) {
        CHECK(wr_exchange_acq_rel(&owner[s], 0) == number + 1);
    }
    wr_slice_release(start, count);
}

static void storm(size_t number)
{
    uint64_t random = seed + number;
    for (size_t step = 0; step < STORM_STEPS; step++) {
        if (number == 0 || random_next(&random) % 16 == 0) {
            (void)wr_fetch_add_relaxed(&purged_slices, wr_purge_slices(random_next(&random) % 200));
        } else {
            claim_and_release(&random, number);
        }
    }
}

static void test_threads_purge_while_others_claim_contents_and_slices_are_kept(void **state)
{
    (void)state;
    seed = test_seed();
    wr_store_relaxed(&purged_slices, 0);
    give_zero(FIRST, COUNT);
    give_zero(BORDER, OVER);
    run_threads(storm);
    assert_true(wr_load_relaxed(&purged_slices) > 0);
    assert_int_equal(page_heap_at_rest().available, ALL);
    (void)wr_purge_slices(0);
    assert_int_equal(wr_slice_dirty_count(), 0);
    assert_true(claim_is_zero(FIRST, COUNT));
    assert_true(claim_is_zero(BORDER, OVER));
    assert_true(slices_are_zero(FIRST, COUNT));
    assert_true(slices_are_zero(BORDER, OVER));
}

static void release_over_cap(size_t number)
{
    uint64_t random = seed + number;
    for (size_t step = 0; step < STORM_STEPS; step++) {
        claim_and_release(&random, number);
        wr_purge_over_cap();
    }
}

static void test_threads_over_cap_dirty_slices_end_below_the_cap(void **state)
{
    (void)state;
    seed = test_seed();
    set_dirty_cap();
    give_zero(FIRST, COUNT);
    give_zero(BORDER, OVER);
    run_threads(release_over_cap);
    /* A purger passes over runs that another has claimed for a moment, so ask once at rest. */
    wr_purge_over_cap();
    struct page_heap heap = page_heap_at_rest();
    assert_int_equal(heap.available, ALL);
    assert_in_range(heap.dirty, 0, CAP);
}

/* Purgers alone on the same slices: each dirty slice is purged by one of them. */
static void purge_all(size_t number)
{
    (void)number;
    for (unsigned round = 0; round < 50; round++) {
        (void)wr_fetch_add_relaxed(&purged_slices, wr_purge_slices(0));
        if (threads_meet()) {
            (void)wr_fetch_add_relaxed(&purged_slices, wr_purge_slices(0));
            CHECK(wr_load_relaxed(&purged_slices) >= 300);
            CHECK(page_heap_at_rest().dirty == 0);
            bool zero = false;
            CHECK(wr_slice_claim_at(address_of(150), 300, &zero) && zero);
            CHECK(slices_are_zero(150, 300));
            wr_store_relaxed(&purged_slices, 0);
            give_dirty(150, 300);
        }
        threads_meet();
    }
}

static void test_threads_that_purge_at_once_leave_nothing_dirty(void **state)
{
    (void)state;
    wr_store_relaxed(&purged_slices, 0);
    give_dirty(150, 300);
    run_threads(purge_all);
    assert_int_equal(page_heap_at_rest().available, 300);
}

#define CASE(function) cmocka_unit_test_setup(function, claim_all)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_purge_nothing_dirty_does_nothing),
        CASE(test_purge_dirty_slices_become_zero_and_stay_available),
        CASE(test_purge_gives_the_page_frames_back),
        CASE(test_purge_several_runs_of_a_word_all_go),
        CASE(test_purge_claimed_neighbours_keep_their_contents),
        CASE(test_purge_keeps_as_many_as_asked),
        CASE(test_purge_takes_the_highest_words_first),
        CASE(test_purge_takes_the_last_region_first),
        CASE(test_purge_locked_memory_stays_dirty_and_intact),
        CASE(test_over_cap_at_the_cap_nothing_is_purged),
        CASE(test_over_cap_above_it_half_the_cap_stays),
        CASE(test_over_cap_no_more_words_than_needed_are_purged),
        CASE(test_model_random_purges_agree_with_a_table),
        CASE(test_threads_purge_while_others_claim_contents_and_slices_are_kept),
        CASE(test_threads_over_cap_dirty_slices_end_below_the_cap),
        CASE(test_threads_that_purge_at_once_leave_nothing_dirty),
    };
    return cmocka_run_group_tests_name("purge", tests, make_heap, NULL);
}
