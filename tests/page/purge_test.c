/* Purging: dirty available slices lose their page frames and become zero; what is claimed keeps its
 * contents. */
#include "page_support.h"

#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/options.h"
#include "fault.h"
#include "page/commit.h"
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

/* The clock of this program stands still, so that a case can let time pass. */
static _Atomic long clock_ms = 1000000;

int clock_gettime(clockid_t clock, struct timespec *now)
{
    (void)clock;
    long ms = wr_load_relaxed(&clock_ms);
    now->tv_sec = ms / 1000;
    now->tv_nsec = ms % 1000 * 1000000;
    return 0;
}

static void pass_ms(long ms)
{
    (void)wr_fetch_add_relaxed(&clock_ms, ms);
}

static void set_option(char *variable)
{
    char *environment[] = {variable, NULL};
    wr_options_parse(environment);
}

static void set_lazy(bool lazy)
{
    static char on[] = "WEIR_LAZY=1";
    static char off[] = "WEIR_LAZY=0";
    set_option(lazy ? on : off);
    assert_int_equal(wr_option_get(wr_option_lazy), lazy);
}

static void forget_refusals(void);

/* Each case begins with every slice claimed, and zero. */
static int claim_all(void **state)
{
    (void)state;
    set_lazy(false);
    forget_refusals();
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

/* A purge that succeeds: of a slice that is given for it, or of others. */
static void forget_refusals(void)
{
    bool zero = false;
    bool given = !wr_slice_claim_at(address_of(FIRST), 1, &zero);
    *(uint64_t *)address_of(FIRST) = 1;
    wr_slice_release(address_of(FIRST), 1);
    assert_true(wr_purge_slices(0) > 0);
    assert_false(wr_purge_is_refused());
    assert_true(!given || wr_slice_claim_at(address_of(FIRST), 1, &zero));
}

static void set_dirty_cap(void)
{
    static char cap[] = "WEIR_DIRTY_MAX=4M";
    set_option(cap);
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
    assert_int_equal(wr_purge_slices(200), 100);
    assert_int_equal(wr_slice_dirty_count(), 200);
    assert_int_equal(wr_purge_slices(199), 1);
    assert_int_equal(wr_purge_slices(1), 198);
    assert_int_equal(wr_purge_slices(0), 1);
    assert_int_equal(page_heap_at_rest().zero, 300);
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
    wr_purge_over_cap(0);
    assert_int_equal(wr_slice_dirty_count(), CAP);
}

static void test_over_cap_above_it_an_eighth_goes(void **state)
{
    (void)state;
    set_dirty_cap();
    give_dirty(150, CAP + 1);
    wr_purge_over_cap(0);
    assert_int_equal(wr_slice_dirty_count(), CAP - CAP / 8);
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
    wr_purge_over_cap(0);
    assert_int_equal(wr_slice_dirty_count(), CAP - CAP / 8);
    assert_true(slices_hold(128 + 10 * 64, 5, 1000)); /* words from the top, and 4 slices of one */
    assert_true(slices_hold(128 + 11 * 64, 1, 1000));
    assert_true(slices_are_zero(128 + 11 * 64 + 1, 4));
    assert_true(slices_are_zero(128 + 12 * 64, 5));
}

/* ---- decayed, and lazily ---- */

static bool has_page_frames(unsigned slice)
{
    unsigned char resident[16] = {0};
    assert_int_equal(mincore((void *)address_of(slice), WR_SLICE_BYTES, resident), 0);
    unsigned frames = 0;
    for (size_t p = 0; p < COUNT_OF(resident); p++) {
        frames += resident[p] & 1;
    }
    return frames != 0;
}

/* Each page is as it was left, or zero. */
static bool slices_hold_or_are_zero(unsigned slice, unsigned count, uint64_t tag)
{
    bool hold = true;
    for (unsigned s = slice; s < slice + count; s++) {
        uint64_t one = *(uint64_t *)(address_of(s) + PAGE(s % 15));
        uint64_t last = *(uint64_t *)(address_of(s) + PAGE(15));
        hold = hold && (one == 0 || one == tag + s) && (last == 0 || last == tag + s);
    }
    return hold;
}

static void give_lazy(unsigned slice, unsigned count)
{
    give_dirty(slice, count);
    set_lazy(true);
    assert_int_equal(wr_purge_decayed(wr_slice_dirty_count() - count), count);
    set_lazy(false);
}

static void test_decayed_without_the_option_purges_dirty_slices_for_good(void **state)
{
    (void)state;
    size_t committed = wr_commit_bytes();
    give_dirty(150, 300);
    size_t purged = wr_purge_decayed(100);
    assert_int_equal(wr_slice_dirty_count(), 100);
    assert_int_equal(purged, 200);
    assert_int_equal(page_heap_at_rest().zero, purged);
    assert_int_equal(page_heap_at_rest().lazy, 0);
    assert_int_equal(wr_commit_bytes(), committed - purged * WR_SLICE_BYTES);
    assert_int_equal(wr_purge_decayed(0), 300 - purged);
    assert_true(claim_is_zero(150, 300));
    assert_true(slices_are_zero(150, 300));
}

static void test_decayed_lazily_keeps_the_charge_and_counts_the_slices(void **state)
{
    (void)state;
    size_t committed = wr_commit_bytes();
    size_t given_back = wr_vm_given_back_bytes();
    set_lazy(true);
    give_dirty(150, 300);
    errno = ERRNO_UNUSED;
    assert_int_equal(wr_purge_decayed(0), 300);
    assert_int_equal(errno, ERRNO_UNUSED);
    struct page_heap heap = page_heap_at_rest();
    assert_int_equal(heap.dirty, 0);
    assert_int_equal(heap.zero, 0);
    assert_int_equal(heap.lazy, 300);
    assert_int_equal(wr_commit_bytes(), committed);
    assert_int_equal(wr_vm_given_back_bytes(), given_back);
    assert_int_equal(wr_purge_decayed(0), 0); /* nothing dirty is left */
    assert_false(claim_is_zero(150, 300));
    assert_int_equal(wr_slice_lazy_count(), 0);
    assert_int_equal(wr_commit_bytes(), committed);
    assert_true(slices_hold_or_are_zero(150, 300, 1000));
}

static void test_decayed_lazily_keeps_as_many_dirty_as_asked(void **state)
{
    (void)state;
    set_lazy(true);
    give_dirty(150, 300);
    assert_int_equal(wr_purge_decayed(300), 0);
    assert_int_equal(wr_purge_decayed(200), 100);
    assert_int_equal(wr_slice_dirty_count(), 200);
    assert_int_equal(wr_slice_lazy_count(), 100);
}

/* The kernel takes what was lazily purged, as when memory is short. */
static void test_decayed_lazily_slices_lose_their_contents_only_until_they_are_used(void **state)
{
    (void)state;
    give_lazy(150, 40);
    assert_false(claim_is_zero(150, 40));
    write_slices(160, 10, 77);
    (void)madvise((void *)address_of(150), 40 * WR_SLICE_BYTES, MADV_PAGEOUT);
    assert_true(slices_hold(160, 10, 77));
    assert_true(slices_hold_or_are_zero(150, 10, 1000));
    assert_true(slices_hold_or_are_zero(170, 20, 1000));
}

static void test_decayed_leaves_lazy_and_zero_slices_alone(void **state)
{
    (void)state;
    for (unsigned lazy = 0; lazy < 2; lazy++) {
        give_lazy(150, 50);
        give_zero(200, 50);
        set_lazy(lazy != 0);
        fault_arm(FAULT_MADVISE, 1, FAULT_FOREVER);
        assert_int_equal(wr_purge_decayed(0), 0);
        assert_int_equal(fault_counted(), 0);
        fault_disarm();
        assert_int_equal(page_heap_at_rest().lazy, 50);
        assert_int_equal(page_heap_at_rest().zero, 50);
        assert_int_equal(claim_all(NULL), 0);
    }
}

static void test_decayed_lazily_where_the_kernel_refuses_purges_for_good(void **state)
{
    (void)state;
    size_t committed = wr_commit_bytes();
    set_lazy(true);
    give_dirty(128, 20);
    fault_arm(FAULT_MADVISE, 1, 1);
    assert_int_equal(wr_purge_decayed(0), 20);
    fault_disarm();
    assert_int_equal(page_heap_at_rest().zero, 20);
    assert_int_equal(wr_commit_bytes(), committed - 20 * WR_SLICE_BYTES);
    assert_true(claim_is_zero(128, 20));
    assert_true(slices_are_zero(128, 20));
}

static void test_decayed_lazily_where_the_kernel_refuses_both_stays_dirty(void **state)
{
    (void)state;
    size_t committed = wr_commit_bytes();
    set_lazy(true);
    give_dirty(128, 20);
    fault_refuse(FAULT_MADVISE);
    errno = ERRNO_UNUSED;
    size_t purged = wr_purge_decayed(0);
    int error = errno;
    fault_refuse(0);
    assert_int_equal(purged, 0);
    assert_int_equal(error, ERRNO_UNUSED);
    assert_int_equal(page_heap_at_rest().dirty, 20);
    assert_int_equal(wr_commit_bytes(), committed);
    assert_false(claim_is_zero(128, 20));
    assert_true(slices_hold(128, 20, 1000));
}

static void test_purge_to_0_takes_lazy_slices_too(void **state)
{
    (void)state;
    size_t committed = wr_commit_bytes();
    give_lazy(150, 100);
    assert_int_equal(wr_purge_slices(0), 100); /* though nothing is dirty */
    assert_int_equal(page_heap_at_rest().zero, 100);
    assert_int_equal(wr_slice_lazy_count(), 0);
    assert_int_equal(wr_commit_bytes(), committed - 100 * WR_SLICE_BYTES);
    for (unsigned s = 150; s < 250; s++) {
        assert_false(has_page_frames(s));
    }
    assert_true(claim_is_zero(150, 100));
    assert_true(slices_are_zero(150, 100));
    /* Lazy ones in front of dirty ones, behind them, and in other regions. */
    give_lazy(150, 50);
    give_lazy(BORDER + 10, 20);
    give_dirty(200, 50);
    give_dirty(BORDER + 30, 5);
    assert_int_equal(wr_purge_slices(0), 125);
    assert_int_equal(page_heap_at_rest().zero, 125);
    assert_int_equal(wr_commit_bytes(), committed - 125 * WR_SLICE_BYTES);
}

static void test_purge_to_more_than_0_leaves_lazy_slices_alone(void **state)
{
    (void)state;
    give_lazy(128, 10); /* in one word with dirty ones, before and behind them */
    give_lazy(170, 10);
    give_lazy(512, 30);
    assert_int_equal(wr_purge_slices(1), 0); /* there is nothing to do */
    give_dirty(140, 12);
    give_dirty(180, 12);
    give_dirty(320, 30);
    assert_int_equal(wr_purge_slices(20), 34);
    assert_int_equal(wr_slice_dirty_count(), 20);
    assert_int_equal(wr_slice_lazy_count(), 50);
    assert_int_equal(wr_purge_slices(1), 19);
    assert_int_equal(wr_slice_dirty_count(), 1);
    assert_int_equal(wr_slice_lazy_count(), 50);
    assert_int_equal(wr_purge_slices(0), 51);
}

/* ---- a kernel that refuses ---- */

static void test_refused_purges_are_known_for_a_second_or_until_one_succeeds(void **state)
{
    (void)state;
    assert_false(wr_purge_is_refused());
    fault_refuse(FAULT_MADVISE);
    assert_int_equal(wr_purge_slices(0), 0); /* nothing dirty: nobody is asked */
    assert_false(wr_purge_is_refused());
    give_dirty(150, 10);
    assert_int_equal(wr_purge_slices(10), 0); /* nor here */
    assert_false(wr_purge_is_refused());
    assert_int_equal(wr_purge_slices(0), 0);
    assert_true(wr_purge_is_refused());
    pass_ms(999);
    assert_true(wr_purge_is_refused());
    pass_ms(1);
    assert_false(wr_purge_is_refused());
    assert_int_equal(wr_purge_decayed(0), 0);
    assert_true(wr_purge_is_refused());
    fault_refuse(0);
    assert_true(wr_purge_is_refused());
    assert_int_equal(wr_purge_slices(0), 10);
    assert_false(wr_purge_is_refused());
}

static void test_over_cap_after_a_refusal_waits_a_second(void **state)
{
    (void)state;
    set_dirty_cap();
    give_dirty(150, CAP + 1);
    fault_refuse(FAULT_MADVISE);
    wr_purge_over_cap(0);
    fault_refuse(0);
    assert_int_equal(wr_slice_dirty_count(), CAP + 1);
    fault_arm(FAULT_MADVISE, 1, FAULT_FOREVER);
    pass_ms(999);
    wr_purge_over_cap(0);
    assert_int_equal(fault_counted(), 0);
    fault_disarm();
    pass_ms(1);
    wr_purge_over_cap(0);
    assert_int_equal(wr_slice_dirty_count(), CAP - CAP / 8);
}

static void test_work_is_there_while_purging_dirty_slices_may_succeed(void **state)
{
    (void)state;
    assert_false(wr_purge_has_work());
    give_lazy(300, 10);
    assert_false(wr_purge_has_work());
    give_dirty(150, 10);
    fault_refuse(FAULT_MADVISE);
    for (unsigned i = 0; i < 4; i++) {
        assert_true(wr_purge_has_work());
        assert_int_equal(wr_purge_decayed(0), 0);
    }
    assert_false(wr_purge_has_work()); /* however long it waits */
    pass_ms(1000000);
    assert_false(wr_purge_has_work());
    fault_refuse(0);
    assert_int_equal(wr_purge_decayed(9), 1);
    assert_true(wr_purge_has_work());
    assert_int_equal(wr_purge_decayed(0), 9);
    assert_false(wr_purge_has_work());
}

static void test_purge_of_lazy_slices_that_the_kernel_refuses_leaves_them_charged(void **state)
{
    (void)state;
    size_t committed = wr_commit_bytes();
    give_lazy(128, 30);
    fault_refuse(FAULT_MADVISE);
    assert_int_equal(wr_purge_slices(0), 0);
    fault_refuse(0);
    assert_int_equal(page_heap_at_rest().available, 30);
    assert_int_equal(page_heap_at_rest().zero, 0);
    assert_int_equal(wr_commit_bytes(), committed);
    assert_int_equal(wr_purge_slices(0), 30);
    assert_int_equal(wr_commit_bytes(), committed - 30 * WR_SLICE_BYTES);
}

/* ---- the cap ---- */

static void test_over_cap_with_the_option_lazy_purges_lazily(void **state)
{
    (void)state;
    set_dirty_cap();
    set_lazy(true);
    size_t committed = wr_commit_bytes();
    give_dirty(150, CAP + 1);
    wr_purge_over_cap(0);
    assert_int_equal(wr_slice_dirty_count(), CAP - CAP / 8);
    assert_int_equal(wr_slice_lazy_count(), CAP + 1 - wr_slice_dirty_count());
    assert_int_equal(wr_commit_bytes(), committed);
}

static void test_over_cap_lazy_slices_do_not_count(void **state)
{
    (void)state;
    set_dirty_cap();
    give_lazy(150, 3 * CAP);
    give_dirty(700, CAP);
    wr_purge_over_cap(0);
    assert_int_equal(wr_slice_dirty_count(), CAP);
    assert_int_equal(wr_slice_lazy_count(), 3 * CAP);
}

/* What was in use before is long ago. */
static void forget_what_was_in_use(void)
{
    wr_purge_begin_period();
    wr_purge_begin_period();
}

/* So that this many bytes are committed and neither dirty nor lazy; returns what was charged. */
static size_t charge_up_to(size_t in_use)
{
    size_t now =
        wr_commit_bytes() - (wr_slice_dirty_count() + wr_slice_lazy_count()) * WR_SLICE_BYTES;
    assert_true(now <= in_use);
    assert_true(wr_commit_charge(in_use - now));
    return in_use - now;
}

/* At `cap` dirty slices nothing happens; at one more, and as many in use, they go down by an
 * eighth. */
static void check_cap(size_t cap)
{
    assert_true(cap >= COUNT && cap < ALL);
    wr_purge_over_cap(0);
    assert_int_equal(wr_slice_dirty_count(), cap);
    give_dirty(BORDER + (unsigned)(cap - COUNT), 1);
    assert_true(wr_commit_charge(WR_SLICE_BYTES));
    wr_purge_over_cap(0);
    assert_int_equal(wr_slice_dirty_count(), cap - cap / 8);
    wr_commit_refund(WR_SLICE_BYTES);
}

static void test_over_cap_as_a_share_follows_what_is_in_use(void **state)
{
    (void)state;
    static char share[] = "WEIR_DIRTY_MAX=10%";
    static const size_t caps[] = {1030, 1100, 1190}; /* slices, all above the least */
    set_option(share);
    for (unsigned i = 0; i < COUNT_OF(caps); i++) {
        assert_int_equal(claim_all(NULL), 0);
        give_dirty(FIRST, COUNT);
        give_dirty(BORDER, (unsigned)caps[i] - COUNT);
        size_t charged = charge_up_to(10 * caps[i] * WR_SLICE_BYTES);
        forget_what_was_in_use();
        check_cap(caps[i]);
        wr_commit_refund(charged);
    }
}

static void test_over_cap_as_a_share_does_not_count_lazy_slices_as_in_use(void **state)
{
    (void)state;
    static char share[] = "WEIR_DIRTY_MAX=10%";
    set_option(share);
    give_lazy(BORDER + 250, 40);
    give_dirty(FIRST, COUNT);
    give_dirty(BORDER, 1100 - COUNT);
    size_t charged = charge_up_to(10 * 1100 * WR_SLICE_BYTES);
    forget_what_was_in_use();
    check_cap(1100);
    wr_commit_refund(charged);
}

static void test_over_cap_as_a_share_leaves_a_least_amount(void **state)
{
    (void)state;
    static char shares[][20] = {"WEIR_DIRTY_MAX=0%", "WEIR_DIRTY_MAX=1%", "WEIR_DIRTY_MAX=25%"};
    const size_t least = WR_DIRTY_MIN_BYTES / WR_SLICE_BYTES;
    for (unsigned i = 0; i < COUNT_OF(shares); i++) {
        set_option(shares[i]);
        assert_int_equal(claim_all(NULL), 0);
        give_dirty(FIRST, COUNT);
        give_dirty(BORDER, (unsigned)least - COUNT);
        forget_what_was_in_use();
        check_cap(least);
    }
}

static void test_over_cap_as_a_share_what_was_in_use_of_late_may_be_dirty(void **state)
{
    (void)state;
    enum { MOST = 2000, LEFT = 1100, CAP_THEN = MOST + MOST / 10 - LEFT };
    static char share[] = "WEIR_DIRTY_MAX=10%";
    set_option(share);
    for (unsigned periods = 0; periods <= 2; periods++) {
        const size_t cap = periods < 2 ? CAP_THEN : WR_DIRTY_MIN_BYTES / WR_SLICE_BYTES;
        assert_int_equal(claim_all(NULL), 0);
        give_dirty(FIRST, COUNT);
        give_dirty(BORDER, (unsigned)cap - COUNT);
        size_t charged = charge_up_to(LEFT * WR_SLICE_BYTES);
        forget_what_was_in_use();
        wr_purge_over_cap(MOST - LEFT);
        for (unsigned i = 0; i < periods; i++) {
            wr_purge_begin_period();
        }
        check_cap(cap);
        wr_commit_refund(charged);
    }
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

/* The dirty slices of a word, run by run, at most `most`: of a run the upper ones. */
static size_t model_purge_word(unsigned word, size_t most)
{
    size_t purged = 0;
    for (unsigned s = word * 64; s < word * 64 + 64 && purged < most;) {
        unsigned run = 0;
        while (s + run < word * 64 + 64 && in_heap(s + run) && model[s + run] == DIRTY) {
            run++;
        }
        unsigned taken = (unsigned)wr_min(run, most - purged);
        memset(&model[s + run - taken], ZERO, taken);
        purged += taken;
        s += run + 1;
    }
    return purged;
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
        purged += model_purge_word(word, dirty - purged - keep);
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
        wr_purge_over_cap(0);
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
    wr_purge_over_cap(0);
    struct page_heap heap = page_heap_at_rest();
    assert_int_equal(heap.available, ALL);
    assert_in_range(heap.dirty, 0, CAP);
}

static void storm_lazily(size_t number)
{
    uint64_t random = seed + number;
    for (size_t step = 0; step < STORM_STEPS; step++) {
        uint64_t kind = random_next(&random) % 16;
        if (number == 0 && kind == 0) {
            (void)wr_purge_slices(0);
        } else if (number == 0 || kind == 0) {
            size_t keep = random_next(&random) % 100;
            (void)wr_fetch_add_relaxed(&purged_slices, wr_purge_decayed(keep));
        } else {
            claim_and_release(&random, number);
        }
    }
}

static void test_threads_purge_lazily_while_others_claim_nothing_is_lost(void **state)
{
    (void)state;
    seed = test_seed();
    wr_store_relaxed(&purged_slices, 0);
    size_t committed = wr_commit_bytes();
    give_zero(FIRST, COUNT);
    give_zero(BORDER, OVER);
    set_lazy(true);
    run_threads(storm_lazily);
    set_lazy(false);
    assert_true(wr_load_relaxed(&purged_slices) > 0);
    struct page_heap heap = page_heap_at_rest();
    assert_int_equal(heap.available, ALL);
    assert_int_equal(wr_commit_bytes(), committed - heap.zero * WR_SLICE_BYTES);
    (void)wr_purge_slices(0);
    assert_int_equal(page_heap_at_rest().zero, ALL);
    assert_int_equal(wr_commit_bytes(), committed - ALL * WR_SLICE_BYTES);
    assert_true(claim_is_zero(FIRST, COUNT));
    assert_true(slices_are_zero(FIRST, COUNT));
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
        CASE(test_over_cap_above_it_an_eighth_goes),
        CASE(test_over_cap_no_more_words_than_needed_are_purged),
        CASE(test_decayed_without_the_option_purges_dirty_slices_for_good),
        CASE(test_decayed_lazily_keeps_the_charge_and_counts_the_slices),
        CASE(test_decayed_lazily_keeps_as_many_dirty_as_asked),
        CASE(test_decayed_lazily_slices_lose_their_contents_only_until_they_are_used),
        CASE(test_decayed_leaves_lazy_and_zero_slices_alone),
        CASE(test_decayed_lazily_where_the_kernel_refuses_purges_for_good),
        CASE(test_decayed_lazily_where_the_kernel_refuses_both_stays_dirty),
        CASE(test_purge_to_0_takes_lazy_slices_too),
        CASE(test_purge_to_more_than_0_leaves_lazy_slices_alone),
        CASE(test_refused_purges_are_known_for_a_second_or_until_one_succeeds),
        CASE(test_over_cap_after_a_refusal_waits_a_second),
        CASE(test_work_is_there_while_purging_dirty_slices_may_succeed),
        CASE(test_purge_of_lazy_slices_that_the_kernel_refuses_leaves_them_charged),
        CASE(test_over_cap_with_the_option_lazy_purges_lazily),
        CASE(test_over_cap_lazy_slices_do_not_count),
        CASE(test_over_cap_as_a_share_follows_what_is_in_use),
        CASE(test_over_cap_as_a_share_does_not_count_lazy_slices_as_in_use),
        CASE(test_over_cap_as_a_share_leaves_a_least_amount),
        CASE(test_over_cap_as_a_share_what_was_in_use_of_late_may_be_dirty),
        CASE(test_model_random_purges_agree_with_a_table),
        CASE(test_threads_purge_while_others_claim_contents_and_slices_are_kept),
        CASE(test_threads_over_cap_dirty_slices_end_below_the_cap),
        CASE(test_threads_purge_lazily_while_others_claim_nothing_is_lost),
        CASE(test_threads_that_purge_at_once_leave_nothing_dirty),
    };
    return cmocka_run_group_tests_name("purge", tests, make_heap, NULL);
}
