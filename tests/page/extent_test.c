/* Growth of the page heap: by how much, from where, once for all who ask at the same time, and
 * whole again in the child of a fork.
 *
 * This program's own sbrk stands between weir and libc's, so that a case can refuse, move the break
 * as another part of the program might, give addresses without memory, or hold a growth up. */
#include "page_support.h"
#include "scarce.h"

#include <errno.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/options.h"
#include "page/commit.h"
#include "page/extent.h"
#include "page/purge.h"

#define WINDOW(number) ((uintptr_t)(number) << WR_REGION_SHIFT)
#define FAKE           0x3000u /* windows where nothing is mapped */
#define DEADLOCK_SECS  30
#define MIB_SLICES     (WR_GROWTH_MIN_BYTES / WR_SLICE_BYTES)
#define CAP_SLICES     (WR_GROWTH_MAX_BYTES / WR_SLICE_BYTES)

#define MODEL_STEPS   TEST_SCALE(6000, 1500)
#define STORM_STEPS   TEST_SCALE(4000, 1000) /* of a thread */
#define GROWTH_ROUNDS TEST_SCALE(60, 30)
#define FORKS         TEST_SCALE(60, 15)

extern void *__sbrk(intptr_t increment); /* libc's */

/* What the next calls of sbrk that move the break do. */
static _Atomic size_t refuse_above = SIZE_MAX; /* bytes */
static _Atomic size_t disturbances;            /* calls before which the break moves on */
static _Atomic uintptr_t fake_break;           /* 0: libc's */
static _Atomic useconds_t delay_us;
static _Atomic size_t growths; /* calls that moved the break for weir */

/* The one thread that a case holds up inside sbrk. */
static _Thread_local bool is_held_up;
static _Atomic bool is_inside;
static _Atomic bool may_leave;

void *sbrk(intptr_t increment)
{
    uintptr_t fake = wr_load_seq_cst(&fake_break);
    if (increment == 0) {
        return fake != 0 ? (void *)fake : __sbrk(0);
    }
    if ((size_t)increment > wr_load_seq_cst(&refuse_above)) {
        errno = ENOMEM;
        return (void *)-1;
    }
    if (fake != 0) {
        wr_store_seq_cst(&fake_break, fake + (uintptr_t)increment);
        return (void *)fake;
    }
    if (is_held_up) {
        wr_store_seq_cst(&is_inside, true);
        while (!wr_load_seq_cst(&may_leave)) {
            usleep(100);
        }
    }
    if (wr_load_seq_cst(&disturbances) > 0) {
        (void)wr_fetch_sub_seq_cst(&disturbances, 1);
        CHECK(__sbrk(100000) != (void *)-1);
    }
    usleep(wr_load_seq_cst(&delay_us));
    (void)wr_fetch_add_seq_cst(&growths, 1);
    return __sbrk(increment);
}

static uintptr_t first_break;
static uint64_t seed;

static bool is_below_the_break(uintptr_t address)
{
    return address >= first_break && address < (uintptr_t)__sbrk(0);
}

/* Cases count what a growth brings: the border of a region in the middle of it would add a second
 * range, so the data segment begins well away from one. */
static int leave_region_border(void **state)
{
    (void)state;
    first_break = (uintptr_t)__sbrk(0);
    uintptr_t border = wr_align_up(first_break, WR_REGION_BYTES);
    if (border - first_break < 1024 * MIB) {
        assert_ptr_not_equal(__sbrk((intptr_t)(border - first_break)), (void *)-1);
    }
    return 0;
}

/* So that the next claim has to grow. */
static void drain(void)
{
    bool zero;
    while (wr_slice_claim(1, &zero) != 0) {
    }
}

static bool grow(size_t slices)
{
    return wr_extent_grow(slices, wr_extent_generation());
}

/* Slices that the next growth brings if the kernel agrees. */
static size_t expected_step(size_t slices)
{
    size_t step = wr_slice_total_count() / 8;
    step = step < MIB_SLICES ? MIB_SLICES : step > CAP_SLICES ? CAP_SLICES : step;
    return step < slices ? slices : step;
}

static void in_child(void (*body)(void *))
{
    static struct outcome outcome;
    run_child(body, NULL, &outcome);
    assert_clean_exit(&outcome);
}

static void test_grow_brings_consecutive_zero_slices(void **state)
{
    (void)state;
    static const size_t counts[] = {1, 2, 16, 17, 100, 700};
    for (size_t i = 0; i < COUNT_OF(counts); i++) {
        drain();
        size_t generation = wr_extent_generation();
        size_t step = expected_step(counts[i]);
        size_t total = wr_slice_total_count();
        assert_true(wr_extent_grow(counts[i], generation));
        assert_int_equal(wr_extent_generation(), generation + 1);
        assert_int_equal(wr_slice_total_count(), total + step);
        bool zero = false;
        uintptr_t start = wr_slice_claim(counts[i], &zero);
        assert_int_not_equal(start, 0);
        assert_true(zero);
        assert_true(all_zero((void *)start, counts[i] * WR_SLICE_BYTES));
        pattern_fill((void *)start, counts[i] * WR_SLICE_BYTES, i);
        assert_true(pattern_holds((void *)start, counts[i] * WR_SLICE_BYTES, i));
        wr_slice_release(start, counts[i]);
    }
    (void)wr_purge_slices(0);
}

static void test_grow_since_the_generation_asks_nobody(void **state)
{
    (void)state;
    size_t generation = wr_extent_generation();
    assert_true(wr_extent_grow(1, generation));
    size_t total = wr_slice_total_count();
    size_t mapped = wr_vm_mapped_bytes();
    assert_true(wr_extent_grow(1, generation));
    assert_true(wr_extent_grow(100000, generation));
    assert_int_equal(wr_extent_generation(), generation + 1);
    assert_int_equal(wr_slice_total_count(), total);
    assert_int_equal(wr_vm_mapped_bytes(), mapped);
}

static void check_steps(void *unused)
{
    (void)unused;
    wr_store_seq_cst(&refuse_above, 0); /* mappings cost nothing until they are used */
    CHECK(wr_slice_total_count() < 8 * CAP_SLICES);
    bool seen_between = false;
    while (wr_slice_total_count() < 9 * CAP_SLICES) {
        size_t total = wr_slice_total_count();
        size_t step = expected_step(1);
        CHECK(grow(1));
        CHECK(wr_slice_total_count() == total + step);
        seen_between = seen_between || (step > MIB_SLICES && step < CAP_SLICES);
    }
    CHECK(seen_between);
    CHECK(expected_step(1) == CAP_SLICES);
    size_t total = wr_slice_total_count();
    CHECK(grow(CAP_SLICES + 1));
    /* Twice, if the first mapping has the border of a region in its middle. */
    size_t more = wr_slice_total_count() - total;
    CHECK(more == CAP_SLICES + 1 || more == 2 * (CAP_SLICES + 1));
}

static void test_grow_step_is_an_eighth_within_limits(void **state)
{
    (void)state;
    in_child(check_steps);
}

static void check_sources(void *unused)
{
    (void)unused;
    drain();
    bool zero;
    CHECK(is_below_the_break(wr_extent_claim(20, &zero)));
    drain();
    wr_store_seq_cst(&refuse_above, 0);
    uintptr_t mapped = wr_extent_claim(20, &zero);
    CHECK(mapped != 0 && !is_below_the_break(mapped));
    drain();
    wr_store_seq_cst(&refuse_above, SIZE_MAX);
    CHECK(is_below_the_break(wr_extent_claim(20, &zero)));
    drain();
    char option[] = "WEIR_BRK=0";
    char *environment[] = {option, NULL};
    wr_options_parse(environment);
    size_t before = wr_load_seq_cst(&growths);
    mapped = wr_extent_claim(20, &zero);
    CHECK(mapped != 0 && !is_below_the_break(mapped));
    CHECK(wr_load_seq_cst(&growths) == before);
}

static void test_grow_takes_the_data_segment_first_unless_refused_or_off(void **state)
{
    (void)state;
    in_child(check_sources);
}

static void test_grow_step_refused_brings_what_is_needed(void **state)
{
    (void)state;
    size_t total = wr_slice_total_count();
    assert_true(expected_step(3) > 4);
    /* Three slices, and the gap up to the first. */
    wr_store_seq_cst(&refuse_above, 4 * WR_SLICE_BYTES);
    assert_true(grow(3));
    wr_store_seq_cst(&refuse_above, SIZE_MAX);
    assert_int_equal(wr_slice_total_count(), total + 3);
}

static void test_grow_break_moved_meanwhile_keeps_both_ranges(void **state)
{
    (void)state;
    size_t available = page_heap_at_rest().available;
    size_t total = wr_slice_total_count();
    wr_store_seq_cst(&disturbances, 1);
    /* More than the step: the shorter first range cannot hold it. */
    size_t slices = expected_step(1) + 100;
    assert_true(grow(slices));
    assert_int_equal(wr_load_seq_cst(&disturbances), 0);
    size_t more = wr_slice_total_count() - total;
    assert_in_range(more, 2 * slices - 3, 2 * slices - 1);
    assert_int_equal(page_heap_at_rest().available, available + more);
    bool zero;
    uintptr_t start = wr_slice_claim(slices, &zero);
    assert_int_not_equal(start, 0);
    assert_true(!zero || all_zero((void *)start, slices * WR_SLICE_BYTES));
    wr_slice_release(start, slices);
}

static void check_border(void *unused)
{
    (void)unused;
    bool zero = false;
    drain();
    uintptr_t start = WINDOW(FAKE) - 50 * WR_SLICE_BYTES;
    wr_store_seq_cst(&fake_break, start);
    size_t slices = expected_step(1) + 100;
    CHECK(grow(slices));
    /* The first range has the run on neither side of the border, the second follows it. */
    CHECK(wr_load_seq_cst(&fake_break) == start + 2 * slices * WR_SLICE_BYTES);
    CHECK(wr_region_of(start) != NULL && wr_region_of(WINDOW(FAKE)) != NULL);
    CHECK(wr_slice_claim(slices, &zero) == WINDOW(FAKE) && zero);
    CHECK(wr_slice_claim_at(start, 50, &zero) && zero);
    CHECK(page_heap_at_rest().available == slices - 50);
}

static void test_grow_range_across_a_region_border_brings_a_run_on_one_side(void **state)
{
    (void)state;
    in_child(check_border);
}

static void check_border_first_side(void *unused)
{
    (void)unused;
    drain();
    size_t slices = expected_step(1) + 100;
    uintptr_t start = WINDOW(FAKE) - (slices - 1) * WR_SLICE_BYTES;
    wr_store_seq_cst(&fake_break, start);
    CHECK(grow(slices - 1));
    CHECK(wr_load_seq_cst(&fake_break) == start + (slices - 1) * WR_SLICE_BYTES);
    bool zero = false;
    CHECK(wr_slice_claim(slices - 1, &zero) == start && zero);
}

static void test_grow_range_up_to_a_region_border_is_enough(void **state)
{
    (void)state;
    in_child(check_border_first_side);
}

static void check_border_within(void *unused)
{
    (void)unused;
    drain();
    uintptr_t start = WINDOW(FAKE) - 10 * WR_SLICE_BYTES;
    wr_store_seq_cst(&fake_break, start);
    size_t step = expected_step(5);
    CHECK(grow(5));
    CHECK(wr_load_seq_cst(&fake_break) == start + step * WR_SLICE_BYTES);
    bool zero = false;
    CHECK(wr_slice_claim(5, &zero) == start && zero);
}

static void test_grow_range_before_a_region_border_is_enough(void **state)
{
    (void)state;
    in_child(check_border_within);
}

static void check_border_second_side(void *unused)
{
    (void)unused;
    drain();
    uintptr_t start = WINDOW(FAKE) - WR_SLICE_BYTES;
    wr_store_seq_cst(&fake_break, start);
    size_t step = expected_step(2);
    CHECK(grow(2));
    CHECK(wr_load_seq_cst(&fake_break) == start + step * WR_SLICE_BYTES);
    bool zero = false;
    CHECK(wr_slice_claim(2, &zero) == WINDOW(FAKE) && zero);
}

static void test_grow_range_behind_a_region_border_is_enough(void **state)
{
    (void)state;
    in_child(check_border_second_side);
}

static void check_border_start(void *unused)
{
    (void)unused;
    drain();
    wr_store_seq_cst(&fake_break, WINDOW(FAKE));
    size_t step = expected_step(1);
    CHECK(grow(step));
    CHECK(wr_load_seq_cst(&fake_break) == WINDOW(FAKE) + step * WR_SLICE_BYTES);
    bool zero = false;
    CHECK(wr_slice_claim(step, &zero) == WINDOW(FAKE) && zero);
}

static void test_grow_range_that_starts_at_a_region_border_is_enough(void **state)
{
    (void)state;
    in_child(check_border_start);
}

static void check_mapping_without_region(void *unused)
{
    (void)unused;
    drain();
    wr_store_seq_cst(&refuse_above, 0);
    uintptr_t window = scarce_leave_regions();
    size_t total = wr_slice_total_count();
    size_t mapped = wr_vm_mapped_bytes();
    fault_arm(FAULT_MMAP, 2, FAULT_FOREVER); /* the mapping is made, its region is refused */
    bool grown = grow(1);
    fault_disarm();
    CHECK(!grown);
    CHECK(wr_region_of(window - 1) == NULL);
    CHECK(wr_slice_total_count() == total);
    CHECK(wr_vm_mapped_bytes() == mapped);
    CHECK(grow(1));
    CHECK(wr_region_of(window - 1) != NULL);
}

static void test_grow_region_refused_gives_the_mapping_back(void **state)
{
    (void)state;
    in_child(check_mapping_without_region);
}

static void check_without_region(void *unused)
{
    (void)unused;
    drain();
    wr_store_seq_cst(&fake_break, WINDOW(FAKE));
    size_t generation = wr_extent_generation();
    size_t total = wr_slice_total_count();
    bool zero;
    starve();
    bool grown = grow(1);
    uintptr_t claimed = wr_slice_claim(1, &zero);
    feed();
    CHECK(!grown && claimed == 0);
    CHECK(wr_region_of(WINDOW(FAKE)) == NULL);
    CHECK(wr_extent_generation() == generation);
    CHECK(wr_slice_total_count() == total);
    CHECK(grow(1));
}

static void test_grow_region_refused_leaves_the_range_alone(void **state)
{
    (void)state;
    in_child(check_without_region);
}

static void check_starved(void *unused)
{
    (void)unused;
    drain();
    size_t generation = wr_extent_generation();
    size_t total = wr_slice_total_count();
    size_t mapped = wr_vm_mapped_bytes();
    bool zero;
    starve();
    errno = ERRNO_UNUSED;
    bool grown = grow(1);
    uintptr_t claimed = wr_extent_claim(100, &zero);
    int error = errno;
    feed();
    CHECK(!grown && claimed == 0);
    CHECK(error == ERRNO_UNUSED);
    CHECK(wr_extent_generation() == generation);
    CHECK(wr_slice_total_count() == total);
    CHECK(wr_vm_mapped_bytes() == mapped);
    CHECK(page_heap_at_rest().available == 0);
    claimed = wr_extent_claim(100, &zero);
    CHECK(claimed != 0 && zero);
}

static void test_grow_kernel_refuses_returns_false_and_changes_nothing(void **state)
{
    (void)state;
    in_child(check_starved);
}

static void test_grow_keeps_errno(void **state)
{
    (void)state;
    errno = ERRNO_UNUSED;
    assert_true(grow(1));
    wr_store_seq_cst(&refuse_above, 0);
    assert_true(grow(1));
    wr_store_seq_cst(&refuse_above, SIZE_MAX);
    assert_int_equal(errno, ERRNO_UNUSED);
}

static void test_claim_available_slices_come_before_growth(void **state)
{
    (void)state;
    bool zero;
    uintptr_t start = wr_extent_claim(30, &zero);
    assert_int_not_equal(start, 0);
    wr_slice_release(start, 30);
    size_t generation = wr_extent_generation();
    uintptr_t lowest = wr_slice_claim(30, &zero);
    wr_slice_release(lowest, 30);
    assert_int_equal(wr_extent_claim(30, &zero), lowest);
    assert_int_equal(wr_extent_generation(), generation);
    wr_slice_release(lowest, 30);
}

static void test_claim_more_than_a_region_returns_0_without_growth(void **state)
{
    (void)state;
    size_t mapped = wr_vm_mapped_bytes();
    size_t total = wr_slice_total_count();
    bool zero;
    assert_int_equal(wr_extent_claim(WR_REGION_SLICES + 1, &zero), 0);
    assert_int_equal(wr_extent_claim(SIZE_MAX, &zero), 0);
    assert_int_equal(wr_slice_total_count(), total);
    assert_int_equal(wr_vm_mapped_bytes(), mapped);
}

static void test_donate_whole_slices_become_available_and_zero(void **state)
{
    (void)state;
    size_t bytes = 5 * WR_SLICE_BYTES + (size_t)getpagesize();
    uintptr_t start = (uintptr_t)wr_vm_map(bytes, WR_SLICE_BYTES);
    size_t total = wr_slice_total_count();
    size_t generation = wr_extent_generation();
    pattern_fill((void *)start, bytes, 1);
    wr_extent_donate(start, bytes);
    assert_int_equal(wr_slice_total_count(), total + bytes / WR_SLICE_BYTES);
    assert_int_equal(wr_extent_generation(), generation);
    bool zero = false;
    assert_false(wr_slice_claim_at(start, 6, &zero));
    assert_true(wr_slice_claim_at(start, 5, &zero));
    assert_true(zero);
    assert_true(all_zero((void *)start, bytes));
    wr_slice_release_purged(start, 5);
}

static void test_donate_less_than_a_slice_adds_nothing(void **state)
{
    (void)state;
    size_t bytes = 4096;
    uintptr_t start = (uintptr_t)wr_vm_map(bytes, WR_SLICE_BYTES);
    size_t total = wr_slice_total_count();
    wr_extent_donate(start, bytes);
    assert_int_equal(wr_slice_total_count(), total);
}

static void test_donate_region_refused_adds_nothing(void **state)
{
    (void)state;
    uintptr_t start = map_windows(1);
    size_t total = wr_slice_total_count();
    assert_null(wr_region_of(start));
    scarce_kernel_refuses(true);
    wr_extent_donate(start, 5 * WR_SLICE_BYTES);
    scarce_kernel_refuses(false);
    assert_null(wr_region_of(start));
    assert_int_equal(wr_slice_total_count(), total);
}

static void test_donate_across_a_region_border_serves_both_sides(void **state)
{
    (void)state;
    uintptr_t border = map_windows(2) + WR_REGION_BYTES;
    uintptr_t start = border - 3 * WR_SLICE_BYTES;
    size_t total = wr_slice_total_count();
    pattern_fill((void *)start, 8 * WR_SLICE_BYTES, 1);
    wr_extent_donate(start, 8 * WR_SLICE_BYTES);
    assert_int_equal(wr_slice_total_count(), total + 8);
    bool zero = false;
    assert_true(wr_slice_claim_at(start, 3, &zero));
    assert_true(zero);
    assert_true(wr_slice_claim_at(border, 5, &zero));
    assert_true(zero);
    assert_false(wr_slice_claim_at(start - WR_SLICE_BYTES, 1, &zero));
    assert_false(wr_slice_claim_at(border + 5 * WR_SLICE_BYTES, 1, &zero));
    assert_true(all_zero((void *)start, 8 * WR_SLICE_BYTES));
    wr_slice_release(start, 3);
    wr_slice_release(border, 5);
}

static void test_donate_memory_that_cannot_be_purged_adds_nothing(void **state)
{
    (void)state;
    uintptr_t start = (uintptr_t)wr_vm_map(WR_SLICE_BYTES, WR_SLICE_BYTES);
    /* By the system call: sanitizers ignore mlock(3). */
    assert_int_equal(syscall(SYS_mlock, start, WR_SLICE_BYTES), 0);
    size_t total = wr_slice_total_count();
    wr_extent_donate(start, WR_SLICE_BYTES);
    assert_int_equal(wr_slice_total_count(), total);
    assert_true(wr_vm_unmap((void *)start, WR_SLICE_BYTES));
}

/* ---- trim ---- */

static uintptr_t break_now(void)
{
    return (uintptr_t)sbrk(0);
}

/* A piece of `slices` at the end of the data segment, all of it free, zero and never used; all else
 * is claimed. Returns where it begins. */
static uintptr_t leave_end_free(size_t slices)
{
    drain();
    wr_store_seq_cst(&refuse_above, (slices + 1) * WR_SLICE_BYTES);
    size_t step = expected_step(slices);
    CHECK(step >= slices && grow(slices));
    wr_store_seq_cst(&refuse_above, SIZE_MAX);
    size_t more = page_heap_at_rest().available - slices;
    bool zero;
    CHECK(more <= 1); /* the gap before it may have held one */
    uintptr_t start = break_now() - slices * WR_SLICE_BYTES;
    CHECK(more == 0 || wr_slice_claim_at(start - WR_SLICE_BYTES, 1, &zero));
    CHECK(page_heap_at_rest().available == slices);
    return start;
}

struct counts {
    size_t total;
    size_t committed;
    size_t mapped;
    size_t given_back;
    size_t available;
    uintptr_t end; /* the break */
};

static struct counts counts_now(void)
{
    struct counts counts = {wr_slice_total_count(),        wr_commit_bytes(),
                            wr_vm_mapped_bytes(),          wr_vm_given_back_bytes(),
                            page_heap_at_rest().available, break_now()};
    return counts;
}

static size_t trim(size_t keep_bytes)
{
    errno = ERRNO_UNUSED;
    size_t given = wr_extent_trim(keep_bytes);
    CHECK(errno == ERRNO_UNUSED);
    return given;
}

/* A trim gives this many slices, of which so many were charged; all else is as it was. */
static void check_trim(size_t keep_bytes, size_t slices, size_t charged)
{
    struct counts before = counts_now();
    size_t bytes = slices * WR_SLICE_BYTES;
    CHECK(trim(keep_bytes) == bytes);
    struct counts after = counts_now();
    CHECK(after.total == before.total - slices);
    CHECK(after.available == before.available - slices);
    CHECK(after.committed == before.committed - charged * WR_SLICE_BYTES);
    CHECK(after.mapped == before.mapped - bytes);
    CHECK(after.given_back == before.given_back + bytes);
    CHECK(after.end == before.end - bytes);
}

static void test_trim_without_a_data_segment_gives_nothing(void **state)
{
    (void)state;
    assert_int_equal(wr_slice_total_count(), 0);
    assert_int_equal(trim(0), 0);
    assert_int_equal(trim(SIZE_MAX), 0);
}

static void check_trim_keeps(void *unused)
{
    (void)unused;
    (void)leave_end_free(40);
    check_trim(SIZE_MAX, 0, 0);
    check_trim(41 * WR_SLICE_BYTES, 0, 0);
    check_trim(40 * WR_SLICE_BYTES, 0, 0);
    check_trim(39 * WR_SLICE_BYTES + 1, 0, 0);
    check_trim(39 * WR_SLICE_BYTES, 1, 0);
    check_trim(10 * WR_SLICE_BYTES - 1, 29, 0);
    check_trim(1, 9, 0);
    check_trim(0, 1, 0);
    check_trim(0, 0, 0);
}

static void test_trim_gives_the_free_end_back_but_for_the_pad(void **state)
{
    (void)state;
    in_child(check_trim_keeps);
}

static void check_trim_end_in_use(void *unused)
{
    (void)unused;
    bool zero;
    uintptr_t start = leave_end_free(40);
    CHECK(wr_slice_claim_at(start + 39 * WR_SLICE_BYTES, 1, &zero));
    check_trim(0, 0, 0);
    CHECK(wr_slice_claim_at(start + 20 * WR_SLICE_BYTES, 1, &zero));
    wr_slice_release_purged(start + 39 * WR_SLICE_BYTES, 1);
    pattern_fill((void *)(start + 20 * WR_SLICE_BYTES), WR_SLICE_BYTES, 5);
    check_trim(0, 19, 0);
    CHECK(pattern_holds((void *)(start + 20 * WR_SLICE_BYTES), WR_SLICE_BYTES, 5));
    check_trim(0, 0, 0);
    CHECK(page_heap_at_rest().available == 20);
    wr_slice_release(start + 20 * WR_SLICE_BYTES, 1);
    check_trim(0, 21, 1);
}

static void test_trim_leaves_what_is_in_use_and_all_below_it(void **state)
{
    (void)state;
    in_child(check_trim_end_in_use);
}

static void check_trim_charges(void *unused)
{
    (void)unused;
    bool zero;
    uintptr_t start = leave_end_free(30);
    CHECK(wr_slice_claim_at(start, 20, &zero));
    pattern_fill((void *)start, 20 * WR_SLICE_BYTES, 1);
    wr_slice_release(start, 10);
    wr_slice_release_lazy(start + 10 * WR_SLICE_BYTES, 10);
    CHECK(wr_slice_dirty_count() == 10 && wr_slice_lazy_count() == 10);
    check_trim(15 * WR_SLICE_BYTES, 15, 5); /* ten zero ones, five lazy ones */
    CHECK(wr_slice_dirty_count() == 10 && wr_slice_lazy_count() == 5);
    check_trim(0, 15, 15);
    CHECK(wr_slice_dirty_count() == 0 && wr_slice_lazy_count() == 0);
}

static void test_trim_refunds_what_was_charged_and_no_more(void **state)
{
    (void)state;
    in_child(check_trim_charges);
}

static void check_trim_and_grow(void *unused)
{
    (void)unused;
    bool zero = false;
    for (unsigned round = 0; round < 5; round++) {
        uintptr_t start = leave_end_free(30);
        CHECK(wr_slice_claim_at(start, 30, &zero) && zero);
        CHECK(is_below_the_break(start));
        CHECK(all_zero((void *)start, 30 * WR_SLICE_BYTES)); /* where the last round wrote */
        pattern_fill((void *)start, 30 * WR_SLICE_BYTES, round);
        wr_slice_release(start, 30);
        check_trim(0, 30, 30);
        CHECK(!wr_slice_claim_at(start, 1, &zero));
        CHECK(wr_slice_claim(1, &zero) == 0);
    }
}

static void test_trim_given_back_memory_grows_again_and_is_zero(void **state)
{
    (void)state;
    in_child(check_trim_and_grow);
}

/* 20 free slices, half of them dirty: none is lost by a trim that fails, in contents of the others
 * nor in the count. */
static uintptr_t leave_end_half_dirty(void)
{
    bool zero;
    uintptr_t start = leave_end_free(20);
    CHECK(wr_slice_claim_at(start, 10, &zero));
    wr_slice_release(start, 10);
    return start;
}

static void check_failed_trim(void)
{
    struct counts before = counts_now();
    CHECK(trim(0) == 0);
    struct counts after = counts_now();
    CHECK(after.total == before.total);
    CHECK(after.available == before.available);
    CHECK(after.mapped == before.mapped);
    CHECK(after.given_back == before.given_back);
    CHECK(after.end == before.end);
    /* Slices that were zero may be taken for dirty: they are charged then. */
    struct page_heap heap = page_heap_at_rest();
    CHECK(heap.dirty + heap.zero == heap.available);
    CHECK(after.committed >= before.committed);
    CHECK(after.committed - before.committed <= 10 * WR_SLICE_BYTES);
    (void)wr_purge_slices(0);
    CHECK(page_heap_at_rest().zero == before.available);
    CHECK(wr_commit_bytes() == before.committed - 10 * WR_SLICE_BYTES);
}

static void check_trim_break_risen(void *unused)
{
    (void)unused;
    uintptr_t start = leave_end_half_dirty();
    uintptr_t theirs = (uintptr_t)__sbrk(1000);
    CHECK(theirs == start + 20 * WR_SLICE_BYTES);
    memset((void *)theirs, 9, 1000);
    check_failed_trim();
    struct counts before = counts_now();
    CHECK(trim(0) == 0); /* all zero now: nothing changes at all */
    struct counts after = counts_now();
    CHECK(memcmp(&before, &after, sizeof before) == 0);
    CHECK(page_heap_at_rest().zero == 20);
    for (unsigned i = 0; i < 1000; i++) {
        CHECK(((unsigned char *)theirs)[i] == 9);
    }
    /* What the heap grows by next is its end. */
    (void)leave_end_free(5);
    check_trim(0, 5, 0);
    CHECK(trim(0) == 0);
}

static void test_trim_of_a_break_that_the_program_moved_up_gives_nothing(void **state)
{
    (void)state;
    in_child(check_trim_break_risen);
}

static void check_trim_break_fallen(void *unused)
{
    (void)unused;
    (void)leave_end_half_dirty();
    uintptr_t end = break_now();
    CHECK(__sbrk(4096) == (void *)end);
    CHECK(trim(0) == 0);
    CHECK(__sbrk(-4096) != (void *)-1); /* it has taken its own back */
    (void)wr_purge_slices(0);
    check_trim(0, 20, 0);
}

static void test_trim_of_a_break_that_came_back_gives_the_end_again(void **state)
{
    (void)state;
    in_child(check_trim_break_fallen);
}

static void check_trim_refused_at(size_t call)
{
    (void)leave_end_half_dirty();
    fault_arm(FAULT_SBRK, call, 1);
    size_t given = trim(0);
    size_t counted = fault_counted();
    fault_disarm();
    CHECK(given == 0 && counted == call);
    CHECK(page_heap_at_rest().available == 20);
    (void)wr_purge_slices(0);
    check_trim(0, 20, 0);
}

static void check_trim_refused(void *unused)
{
    (void)unused;
    check_trim_refused_at(1); /* the look at the break */
    check_trim_refused_at(2); /* its move */
    (void)leave_end_half_dirty();
    fault_refuse(FAULT_SBRK);
    struct counts before = counts_now();
    CHECK(trim(0) == 0);
    fault_refuse(0);
    CHECK(page_heap_at_rest().available == before.available);
    CHECK(wr_slice_total_count() == before.total);
    (void)wr_purge_slices(0);
    check_trim(0, 20, 0);
}

static void test_trim_that_sbrk_refuses_loses_nothing(void **state)
{
    (void)state;
    in_child(check_trim_refused);
}

static void check_trim_at_the_limit(void *unused)
{
    (void)unused;
    bool zero;
    uintptr_t start = leave_end_free(20);
    CHECK(wr_slice_claim_at(start, 20, &zero));
    wr_slice_release(start, 20);
    wr_commit_set_limits(WR_COMMIT_UNLIMITED, wr_commit_bytes());
    check_trim(10 * WR_SLICE_BYTES, 10, 10);
    wr_commit_set_limits(WR_COMMIT_UNLIMITED, wr_commit_bytes());
    check_trim(0, 10, 10);
}

static void test_trim_at_the_hard_limit_gives_dirty_slices_back(void **state)
{
    (void)state;
    in_child(check_trim_at_the_limit);
}

static void check_trim_border(void *unused)
{
    (void)unused;
    drain();
    wr_store_seq_cst(&fake_break, WINDOW(FAKE) - 10 * WR_SLICE_BYTES);
    size_t step = expected_step(5);
    CHECK(grow(5));
    CHECK(page_heap_at_rest().available == step);
    check_trim(0, step - 10, 0); /* one region at a time */
    check_trim(4 * WR_SLICE_BYTES, 6, 0);
    check_trim(0, 4, 0);
    check_trim(0, 0, 0);
    CHECK(wr_load_seq_cst(&fake_break) == WINDOW(FAKE) - 10 * WR_SLICE_BYTES);
}

static void test_trim_across_a_region_border_takes_the_upper_side_first(void **state)
{
    (void)state;
    in_child(check_trim_border);
}

static void check_trim_of_mappings(void *unused)
{
    (void)unused;
    (void)leave_end_free(20);
    wr_store_seq_cst(&refuse_above, 0);
    CHECK(grow(100)); /* by a mapping */
    wr_store_seq_cst(&refuse_above, SIZE_MAX);
    size_t mapped = page_heap_at_rest().available - 20;
    check_trim(0, 20, 0); /* the end of the data segment is still known */
    CHECK(page_heap_at_rest().available == mapped);
    check_trim(0, 0, 0);
}

static void test_trim_leaves_mappings_alone(void **state)
{
    (void)state;
    in_child(check_trim_of_mappings);
}

/* The reference: what is held, with a tag in the first and last word of each slice. */
struct held {
    uintptr_t start;
    size_t slices;
    uint64_t tag;
};

static void write_tags(const struct held *held)
{
    for (size_t s = 0; s < held->slices; s++) {
        uint64_t *slice = (uint64_t *)(held->start + s * WR_SLICE_BYTES);
        slice[0] = slice[WR_SLICE_BYTES / 8 - 1] = held->tag + s;
    }
}

static void check_tags(const struct held *held)
{
    for (size_t s = 0; s < held->slices; s++) {
        const uint64_t *slice = (const uint64_t *)(held->start + s * WR_SLICE_BYTES);
        CHECK(slice[0] == held->tag + s && slice[WR_SLICE_BYTES / 8 - 1] == held->tag + s);
    }
}

static size_t random_slices(uint64_t *random)
{
    return 1 + random_next(random) % (random_next(random) % 16 == 0 ? 100 : 10);
}

/* Grows if and only if nothing that is available would do. */
static void model_claim(struct held *held, size_t slices, uint64_t tag)
{
    bool zero;
    size_t generation = wr_extent_generation();
    uintptr_t lowest = wr_slice_claim(slices, &zero);
    if (lowest != 0) {
        wr_slice_release(lowest, slices);
    }
    held->start = wr_extent_claim(slices, &zero);
    held->slices = slices;
    held->tag = tag;
    assert_int_not_equal(held->start, 0);
    assert_true(lowest == 0 || held->start == lowest);
    assert_int_equal(wr_extent_generation(), generation + (lowest == 0));
    write_tags(held);
}

static void test_model_random_claims_grow_only_when_nothing_fits(void **state)
{
    (void)state;
    static struct held held[60];
    uint64_t random = test_seed();
    size_t claimed_before = wr_slice_total_count() - page_heap_at_rest().available;
    size_t slices = 0;
    for (size_t i = 0; i < MODEL_STEPS; i++) {
        struct held *one = &held[random_next(&random) % COUNT_OF(held)];
        if (one->start != 0) {
            check_tags(one);
            wr_slice_release(one->start, one->slices);
            slices -= one->slices;
            one->start = 0;
        } else {
            model_claim(one, random_slices(&random), random_next(&random));
            slices += one->slices;
        }
        if (i % 50 == 0) {
            assert_int_equal(wr_slice_total_count() - page_heap_at_rest().available,
                             claimed_before + slices);
        }
    }
    for (size_t i = 0; i < COUNT_OF(held); i++) {
        if (held[i].start != 0) {
            check_tags(&held[i]);
            wr_slice_release(held[i].start, held[i].slices);
        }
    }
}

/* Trims between claims and growths: what is held is as it was, and what a trim gives is the free
 * end. */
static void check_trim_model(void *seed_of_model)
{
    static struct held held[40];
    uint64_t random = *(uint64_t *)seed_of_model;
    size_t given = 0;
    bool zero;
    (void)leave_end_free(1);
    size_t claimed = wr_slice_total_count() - page_heap_at_rest().available;
    size_t slices = 0;
    for (size_t i = 0; i < MODEL_STEPS; i++) {
        struct held *one = &held[random_next(&random) % COUNT_OF(held)];
        uint64_t kind = random_next(&random) % 8;
        if (kind == 0) {
            size_t free_slices = wr_slice_count_below(break_now());
            size_t keep = random_next(&random) % 3 == 0 ? random_next(&random) % 50 : 0;
            size_t expected = free_slices > keep ? free_slices - keep : 0;
            CHECK(trim(keep * WR_SLICE_BYTES) == expected * WR_SLICE_BYTES);
            given += expected;
        } else if (one->start != 0) {
            check_tags(one);
            slices -= one->slices;
            if (kind < 4) {
                wr_slice_release(one->start, one->slices);
            } else {
                wr_slice_release_lazy(one->start, one->slices);
            }
            one->start = 0;
        } else {
            one->slices = random_slices(&random);
            one->tag = random_next(&random);
            one->start = wr_extent_claim(one->slices, &zero);
            CHECK(one->start != 0);
            slices += one->slices;
            for (size_t s = 0; zero && s < one->slices; s++) {
                const uint64_t *slice = (const uint64_t *)(one->start + s * WR_SLICE_BYTES);
                CHECK(slice[0] == 0 && slice[WR_SLICE_BYTES / 8 - 1] == 0);
            }
            write_tags(one);
        }
        struct page_heap heap = page_heap_at_rest();
        CHECK(wr_slice_total_count() - heap.available == claimed + slices);
        CHECK(wr_commit_bytes() == (claimed + slices + heap.dirty + heap.lazy) * WR_SLICE_BYTES);
    }
    CHECK(given > 0);
}

static void test_model_random_trims_give_the_free_end_alone(void **state)
{
    (void)state;
    static struct outcome outcome;
    uint64_t random = test_seed();
    run_child(check_trim_model, &random, &outcome);
    assert_clean_exit(&outcome);
}

/* All threads saw the same generation and find nothing: one of them grows. */
static _Atomic size_t common_generation;

static void grow_at_once(size_t number)
{
    (void)number;
    for (unsigned round = 0; round < GROWTH_ROUNDS; round++) {
        size_t generation = wr_load_seq_cst(&common_generation);
        size_t before = wr_load_seq_cst(&growths);
        threads_meet();
        CHECK(wr_extent_grow(2 * THREADS, generation));
        /* Who comes back finds what was brought. */
        bool zero = false;
        CHECK(wr_slice_claim(2, &zero) != 0 && zero);
        if (threads_meet()) {
            CHECK(wr_extent_generation() == generation + 1);
            CHECK(wr_load_seq_cst(&growths) == before + 1);
            CHECK(page_heap_at_rest().available == 0);
            wr_store_seq_cst(&common_generation, generation + 1);
        }
        threads_meet();
    }
}

static void test_threads_of_the_same_generation_grow_once(void **state)
{
    (void)state;
    size_t rounds = GROWTH_ROUNDS;
    /* Growth by exactly as much as the threads take, and long enough that all come to wait. */
    drain();
    wr_store_seq_cst(&refuse_above, (2 * THREADS + 1) * WR_SLICE_BYTES);
    wr_store_seq_cst(&delay_us, 300);
    wr_store_seq_cst(&common_generation, wr_extent_generation());
    size_t generation = wr_extent_generation();
    run_threads(grow_at_once);
    wr_store_seq_cst(&delay_us, 0);
    wr_store_seq_cst(&refuse_above, SIZE_MAX);
    assert_int_equal(wr_extent_generation(), generation + rounds);
}

/* Claims of threads that keep growing the heap. The first word of a slice says whose it is, the
 * second counts its owners and is written plainly: TSan watches. */
static size_t owned_count[THREADS]; /* slices claimed, by thread */

static void own(uintptr_t start, size_t slices, size_t number)
{
    for (size_t s = 0; s < slices; s++) {
        uintptr_t slice = start + s * WR_SLICE_BYTES;
        CHECK(wr_exchange_acq_rel((_Atomic size_t *)slice, number + 1) == 0);
        ++*(uint64_t *)(slice + 8);
    }
    owned_count[number] += slices;
}

static void disown(uintptr_t start, size_t slices, size_t number)
{
    for (size_t s = 0; s < slices; s++) {
        uintptr_t slice = start + s * WR_SLICE_BYTES;
        CHECK(wr_exchange_acq_rel((_Atomic size_t *)slice, 0) == number + 1);
    }
    wr_slice_release(start, slices);
}

static void claim_and_grow(size_t number)
{
    uint64_t random = seed + number;
    struct held held[20];
    memset(held, 0, sizeof held);
    for (size_t step = 0; step < STORM_STEPS + COUNT_OF(held); step++) {
        struct held *one = &held[step % COUNT_OF(held)];
        if (one->start != 0) {
            disown(one->start, one->slices, number);
            one->start = 0;
        }
        if (step < STORM_STEPS) {
            bool zero;
            one->slices = random_slices(&random);
            one->start = wr_extent_claim(one->slices, &zero);
            CHECK(one->start != 0);
            own(one->start, one->slices, number);
        }
    }
}

static uint64_t sum_of_counts(void)
{
    uint64_t sum = 0;
    for (unsigned r = 0; r < wr_region_count(); r++) {
        wr_region *region = wr_region_at(r);
        for (unsigned s = 0; s < WR_REGION_SLICES; s++) {
            if ((wr_load_relaxed(&region->slices[s / 64].dirty) >> (s % 64) & 1) != 0) {
                sum += *(uint64_t *)(wr_slice_address(region, s) + 8);
            }
        }
    }
    return sum;
}

static void test_torture_slices_of_growing_threads_have_one_owner(void **state)
{
    (void)state;
    seed = test_seed();
    memset(owned_count, 0, sizeof owned_count);
    /* The counts begin at 0, and the threads with next to nothing. */
    drain();
    assert_int_equal(wr_slice_dirty_count(), 0);
    size_t total = wr_slice_total_count();
    run_threads(claim_and_grow);
    assert_int_equal(page_heap_at_rest().available, wr_slice_total_count() - total);
    uint64_t owned = 0;
    for (size_t i = 0; i < THREADS; i++) {
        owned += owned_count[i];
    }
    assert_true(owned > 0);
    assert_int_equal(sum_of_counts(), owned);
    (void)wr_purge_slices(0);
}

/* The same while one thread trims: what it gives back nobody has, and comes again as zero. */
static _Atomic size_t claimers_left;
static _Atomic size_t trimmed_bytes;

static void trim_or_claim(size_t number)
{
    uint64_t random = seed + number;
    while (number == 0 && wr_load_seq_cst(&claimers_left) != 0) {
        size_t keep_bytes = random_next(&random) % 4 * WR_SLICE_BYTES;
        (void)wr_fetch_add_relaxed(&trimmed_bytes, wr_extent_trim(keep_bytes));
        if (random_next(&random) % 8 == 0) {
            (void)wr_purge_slices(random_next(&random) % 50);
        }
    }
    if (number != 0) {
        do { /* until there was something to trim */
            claim_and_grow(number);
        } while (wr_load_relaxed(&trimmed_bytes) == 0);
        (void)wr_fetch_sub_seq_cst(&claimers_left, 1);
    }
}

static void test_torture_trims_while_threads_grow_lose_no_slice(void **state)
{
    (void)state;
    seed = test_seed();
    wr_store_relaxed(&trimmed_bytes, 0);
    (void)leave_end_free(1);
    size_t committed = wr_commit_bytes();
    size_t claimed = wr_slice_total_count() - 1;
    wr_store_seq_cst(&claimers_left, THREADS - 1);
    run_threads(trim_or_claim);
    assert_true(wr_load_relaxed(&trimmed_bytes) > 0);
    struct page_heap heap = page_heap_at_rest();
    assert_int_equal(wr_slice_total_count() - heap.available, claimed);
    assert_int_equal(wr_commit_bytes(), committed + heap.dirty * WR_SLICE_BYTES);
    (void)wr_purge_slices(0);
    assert_int_equal(wr_commit_bytes(), committed);
    assert_int_equal(page_heap_at_rest().zero, heap.available);
}

static void grow_in_child(void *unused)
{
    (void)unused;
    alarm(DEADLOCK_SECS);
    wr_extent_reset_after_fork();
    size_t generation = wr_extent_generation();
    CHECK(wr_extent_grow(10, generation));
    CHECK(wr_extent_generation() == generation + 1);
    bool zero;
    uintptr_t start = wr_extent_claim(10, &zero);
    CHECK(start != 0);
    pattern_fill((void *)start, 10 * WR_SLICE_BYTES, 1);
    wr_slice_release(start, 10);
    drain();
    CHECK(wr_extent_claim(10, &zero) != 0);
}

static void *grow_held_up(void *unused)
{
    (void)unused;
    is_held_up = true;
    CHECK(wr_extent_grow(1, wr_extent_generation()));
    return NULL;
}

static void test_fork_while_a_thread_grows_child_grows_after_reset(void **state)
{
    (void)state;
    pthread_t thread;
    size_t generation = wr_extent_generation();
    assert_int_equal(pthread_create(&thread, NULL, grow_held_up, NULL), 0);
    while (!wr_load_seq_cst(&is_inside)) {
        usleep(100);
    }
    in_child(grow_in_child);
    wr_store_seq_cst(&may_leave, true);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_int_equal(wr_extent_generation(), generation + 1);
}

static _Atomic bool stop;

static void *grow_until_told(void *unused)
{
    (void)unused;
    while (!wr_load_seq_cst(&stop)) {
        CHECK(wr_extent_grow(1, wr_extent_generation()));
        usleep(200);
    }
    return NULL;
}

static void test_fork_at_any_moment_of_growth_children_grow(void **state)
{
    (void)state;
    pthread_t threads[THREADS];
    /* Steps of one slice: the threads grow often, not far. */
    wr_store_seq_cst(&refuse_above, 4 * WR_SLICE_BYTES);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_create(&threads[i], NULL, grow_until_told, NULL), 0);
    }
    for (size_t i = 0; i < FORKS; i++) {
        in_child(grow_in_child);
    }
    wr_store_seq_cst(&stop, true);
    for (size_t i = 0; i < THREADS; i++) {
        assert_int_equal(pthread_join(threads[i], NULL), 0);
    }
    wr_store_seq_cst(&refuse_above, SIZE_MAX);
    page_heap_at_rest();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_trim_without_a_data_segment_gives_nothing),
        cmocka_unit_test(test_grow_brings_consecutive_zero_slices),
        cmocka_unit_test(test_grow_since_the_generation_asks_nobody),
        cmocka_unit_test(test_grow_step_is_an_eighth_within_limits),
        cmocka_unit_test(test_grow_takes_the_data_segment_first_unless_refused_or_off),
        cmocka_unit_test(test_grow_step_refused_brings_what_is_needed),
        cmocka_unit_test(test_grow_break_moved_meanwhile_keeps_both_ranges),
        cmocka_unit_test(test_grow_range_across_a_region_border_brings_a_run_on_one_side),
        cmocka_unit_test(test_grow_range_up_to_a_region_border_is_enough),
        cmocka_unit_test(test_grow_range_before_a_region_border_is_enough),
        cmocka_unit_test(test_grow_range_behind_a_region_border_is_enough),
        cmocka_unit_test(test_grow_range_that_starts_at_a_region_border_is_enough),
        cmocka_unit_test(test_grow_region_refused_gives_the_mapping_back),
        cmocka_unit_test(test_grow_region_refused_leaves_the_range_alone),
        cmocka_unit_test(test_grow_kernel_refuses_returns_false_and_changes_nothing),
        cmocka_unit_test(test_grow_keeps_errno),
        cmocka_unit_test(test_claim_available_slices_come_before_growth),
        cmocka_unit_test(test_claim_more_than_a_region_returns_0_without_growth),
        cmocka_unit_test(test_donate_whole_slices_become_available_and_zero),
        cmocka_unit_test(test_donate_less_than_a_slice_adds_nothing),
        cmocka_unit_test(test_donate_region_refused_adds_nothing),
        cmocka_unit_test(test_donate_across_a_region_border_serves_both_sides),
        cmocka_unit_test(test_donate_memory_that_cannot_be_purged_adds_nothing),
        cmocka_unit_test(test_trim_gives_the_free_end_back_but_for_the_pad),
        cmocka_unit_test(test_trim_leaves_what_is_in_use_and_all_below_it),
        cmocka_unit_test(test_trim_refunds_what_was_charged_and_no_more),
        cmocka_unit_test(test_trim_given_back_memory_grows_again_and_is_zero),
        cmocka_unit_test(test_trim_of_a_break_that_the_program_moved_up_gives_nothing),
        cmocka_unit_test(test_trim_of_a_break_that_came_back_gives_the_end_again),
        cmocka_unit_test(test_trim_that_sbrk_refuses_loses_nothing),
        cmocka_unit_test(test_trim_at_the_hard_limit_gives_dirty_slices_back),
        cmocka_unit_test(test_trim_across_a_region_border_takes_the_upper_side_first),
        cmocka_unit_test(test_trim_leaves_mappings_alone),
        cmocka_unit_test(test_model_random_claims_grow_only_when_nothing_fits),
        cmocka_unit_test(test_model_random_trims_give_the_free_end_alone),
        cmocka_unit_test(test_threads_of_the_same_generation_grow_once),
        cmocka_unit_test(test_torture_slices_of_growing_threads_have_one_owner),
        cmocka_unit_test(test_torture_trims_while_threads_grow_lose_no_slice),
        cmocka_unit_test(test_fork_while_a_thread_grows_child_grows_after_reset),
        cmocka_unit_test(test_fork_at_any_moment_of_growth_children_grow),
    };
    return cmocka_run_group_tests_name("extent", tests, leave_region_border, NULL);
}
