/* Large objects: where they live, how they change size, what freeing one teaches the threshold. */
#include "heap/large.h"

#include <errno.h>
#include <string.h>
#include <sys/mman.h>

#include "base/options.h"
#include "bin/bin.h"
#include "bin/return.h"
#include "crew.h"
#include "heap/heap.h"
#include "heap/keep.h"
#include "os/host.h"
#include "os/vm.h"
#include "page/commit.h"
#include "page/extent.h"
#include "page/slice.h"
#include "scarce.h"
#include "support.h"

#define THREADS   4
#define THRESHOLD (128 * KIB) /* the option's default */

static wr_span *span_of(const void *object)
{
    wr_span *span = wr_span_find((uintptr_t)object);
    CHECK(span != NULL && span->start == (uintptr_t)object);
    return span;
}

static wr_span_kind kind_of(const void *object)
{
    return wr_span_kind_of(span_of(object));
}

static void release(void *object)
{
    CHECK(wr_large_free(span_of(object)));
}

/* On slices, whatever the threshold is now. */
static char *on_slices(size_t size)
{
    void *object = wr_large_alloc(size, 16, false);
    assert_non_null(object);
    assert_int_equal(kind_of(object), WR_SPAN_LARGE);
    return object;
}

/* A fresh mapping, whatever the threshold is now: no slices have such an alignment. */
static char *on_mapping(size_t size)
{
    void *object = wr_large_alloc(size, 2 * WR_SLICE_BYTES, false);
    assert_non_null(object);
    assert_int_equal(kind_of(object), WR_SPAN_MAPPED);
    return object;
}

static bool is_mapped(uintptr_t start)
{
    unsigned char resident;
    return mincore((void *)start, 1, &resident) == 0 || errno != ENOMEM;
}

/* Bytes mapped for objects and slices: an object in a window of its own brings a region as well. */
static size_t mapped_bytes(void)
{
    size_t region_bytes = wr_align_up(sizeof(wr_region), WR_SLICE_BYTES);
    return wr_vm_mapped_bytes() - wr_region_count() * region_bytes;
}

/* A page right behind a mapping, ours or somebody's. */
static void block_behind(const wr_span *span)
{
    void *behind = (void *)(span->start + wr_span_reserved_bytes(span));
    (void)mmap(behind, wr_host_page_bytes(), PROT_NONE,
               MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED_NOREPLACE, -1, 0);
    assert_true(is_mapped((uintptr_t)behind));
}

static void unblock_behind(uintptr_t end)
{
    assert_int_equal(munmap((void *)end, wr_host_page_bytes()), 0);
}

/* ---- place and size ---- */

static void test_alloc_below_the_threshold_is_on_slices(void **state)
{
    (void)state;
    size_t mapped = mapped_bytes();
    char *first = on_slices(40 * KIB); /* may bring an extent */
    mapped = mapped_bytes();
    char *object = on_slices(100 * KIB);
    assert_int_equal(mapped_bytes(), mapped);
    assert_int_equal(span_of(object)->bytes, 100 * KIB);
    assert_int_equal(wr_span_reserved_bytes(span_of(object)), 2 * WR_SLICE_BYTES);
    release(object);
    release(first);
}

static void test_alloc_has_whole_pages_at_a_slice_boundary_and_class_0(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 32769, 40000, 65536, 65537, 100000, 131071, 131072, 5000001};
    for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
        char *object = wr_large_alloc(sizes[i], 16, false);
        assert_non_null(object);
        size_t expected = (sizes[i] + 4095) / 4096 * 4096;
        assert_int_equal(span_of(object)->bytes, expected);
        assert_int_equal(wr_large_good_size(sizes[i]), expected);
        assert_true(is_aligned(object, WR_SLICE_BYTES));
        assert_int_equal(wr_region_class_of((uintptr_t)object), WR_CLASS_NONE);
        assert_int_equal(wr_region_class_of((uintptr_t)object + sizes[i] - 1), WR_CLASS_NONE);
        pattern_fill(object, expected, i);
        release(object);
    }
}

static void test_alloc_at_any_alignment_is_a_multiple_of_it(void **state)
{
    (void)state;
    for (size_t alignment = 16; alignment <= 64 * MIB; alignment *= 2) {
        char *object = wr_large_alloc(50 * KIB, alignment, false);
        assert_non_null(object);
        assert_true(is_aligned(object, alignment));
        assert_int_equal(kind_of(object),
                         alignment <= WR_SLICE_BYTES ? WR_SPAN_LARGE : WR_SPAN_MAPPED);
        assert_int_equal(span_of(object)->bytes, 52 * KIB);
        release(object);
    }
}

static void test_alloc_of_more_than_there_is_gives_null(void **state)
{
    (void)state;
    (void)wr_keep_release_all();
    size_t mapped = mapped_bytes();
    errno = ERRNO_UNUSED;
    assert_null(wr_large_alloc(NEVER_THERE, 16, false));
    assert_null(wr_large_alloc(PTRDIFF_MAX, 16, true));
    assert_null(wr_large_alloc(64 * KIB, (size_t)1 << 62, false));
    assert_null(wr_large_alloc_growing(NEVER_THERE));
    assert_int_equal(errno, ERRNO_UNUSED);
    assert_int_equal(mapped_bytes(), mapped);
}

static void test_alloc_that_the_kernel_refuses_has_kept_mappings_released(void **state)
{
    (void)state;
    size_t mapped = mapped_bytes();
    release(on_mapping(4 * MIB));
    assert_true(wr_keep_bytes() >= 4 * MIB);
    assert_null(wr_large_alloc(NEVER_THERE, 16, false));
    assert_int_equal(wr_keep_bytes(), 0);
    assert_true(mapped_bytes() <= mapped);
}

static void test_alloc_of_a_mapping_without_memory_for_the_descriptor_gives_it_back(void **state)
{
    (void)state;
    (void)wr_keep_release_all();
    uintptr_t window = scarce_leave_regions();
    size_t mapped = mapped_bytes();
    fault_arm(FAULT_MMAP, 2, FAULT_FOREVER); /* the mapping is made, its region is refused */
    void *object = wr_large_alloc(1 * MIB, 2 * WR_SLICE_BYTES, false);
    fault_disarm();
    assert_null(object);
    assert_null(wr_region_of(window - 1));
    assert_int_equal(mapped_bytes(), mapped);
}

/* ---- free ---- */

static void test_free_of_an_object_twice_is_seen(void **state)
{
    (void)state;
    wr_span *slices = span_of(on_slices(100 * KIB));
    wr_span *mapping = span_of(on_mapping(100 * KIB));
    assert_true(wr_large_free(slices));
    assert_false(wr_large_free(slices));
    assert_true(wr_large_free(mapping));
    assert_false(wr_large_free(mapping));
}

static void test_free_of_a_slab_is_refused(void **state)
{
    (void)state;
    wr_span *slab = NULL;
    void *block;
    assert_int_equal(wr_bin_refill(&wr_heap_default.bins[5], &slab, 1, &block), 1);
    assert_false(wr_large_free(slab));
    assert_int_equal(wr_span_kind_of(slab), WR_SPAN_SLAB);
    wr_return(1, &block, "free");
    wr_bin_give_up(slab);
}

static void test_free_of_slices_gives_them_to_the_page_heap(void **state)
{
    (void)state;
    uintptr_t start = (uintptr_t)on_slices(100 * KIB);
    bool zero;
    assert_false(wr_slice_claim_at(start, 2, &zero));
    release((void *)start);
    assert_null(wr_span_find(start));
    assert_true(wr_slice_claim_at(start, 2, &zero));
    assert_false(zero);
    wr_slice_release(start, 2);
}

static void test_free_of_a_mapping_keeps_all_its_address_space(void **state)
{
    (void)state;
    (void)wr_keep_release_all();
    char *object = on_mapping(2 * MIB);
    release(object);
    assert_int_equal(wr_keep_bytes(), 2 * MIB);
    assert_null(wr_span_find((uintptr_t)object));
    wr_kept kept = wr_keep_take(2 * MIB, 2 * MIB, WR_SLICE_BYTES);
    assert_int_equal(kept.start, (uintptr_t)object);
    wr_keep_put(kept.start, kept.bytes);
}

/* ---- resize in place: slices ---- */

static void test_resize_of_slices_within_the_last_one_changes_the_size_only(void **state)
{
    (void)state;
    char *object = on_slices(70 * KIB);
    wr_span *span = span_of(object);
    assert_true(wr_large_resize_in_place(span, 128 * KIB));
    assert_int_equal(span->bytes, 128 * KIB);
    assert_true(wr_large_resize_in_place(span, 64 * KIB + 1));
    assert_int_equal(span->bytes, 68 * KIB);
    assert_int_equal(wr_span_reserved_bytes(span), 128 * KIB);
    release(object);
}

static void test_resize_of_slices_down_gives_the_tail_back(void **state)
{
    (void)state;
    char *object = on_slices(120 * KIB);
    wr_span *span = span_of(object);
    pattern_fill(object, 120 * KIB, 1);
    assert_true(wr_large_resize_in_place(span, 40 * KIB));
    assert_int_equal(span->bytes, 40 * KIB);
    assert_int_equal(wr_span_reserved_bytes(span), WR_SLICE_BYTES);
    assert_true(pattern_holds(object, 40 * KIB, 1));
    assert_null(wr_span_find((uintptr_t)object + WR_SLICE_BYTES));
    bool zero;
    assert_true(wr_slice_claim_at((uintptr_t)object + WR_SLICE_BYTES, 1, &zero));
    wr_slice_release((uintptr_t)object + WR_SLICE_BYTES, 1);
    release(object);
}

static void test_resize_of_slices_up_takes_free_ones_behind(void **state)
{
    (void)state;
    char *object = on_slices(120 * KIB);
    wr_span *span = span_of(object);
    assert_true(wr_large_resize_in_place(span, 40 * KIB));
    pattern_fill(object, 40 * KIB, 2);
    assert_true(wr_large_resize_in_place(span, 120 * KIB));
    assert_int_equal(span->bytes, 120 * KIB);
    assert_int_equal(wr_span_reserved_bytes(span), 2 * WR_SLICE_BYTES);
    assert_true(pattern_holds(object, 40 * KIB, 2));
    assert_ptr_equal(wr_span_find((uintptr_t)object + WR_SLICE_BYTES), span);
    bool zero;
    assert_false(wr_slice_claim_at((uintptr_t)object + WR_SLICE_BYTES, 1, &zero));
    release(object);
}

static void test_resize_of_slices_with_a_neighbour_fails_and_changes_nothing(void **state)
{
    (void)state;
    char *object = on_slices(120 * KIB);
    wr_span *span = span_of(object);
    uintptr_t behind = (uintptr_t)object + WR_SLICE_BYTES;
    bool zero;
    assert_true(wr_large_resize_in_place(span, 60 * KIB));
    assert_true(wr_slice_claim_at(behind, 1, &zero));
    assert_false(wr_large_resize_in_place(span, 100 * KIB));
    assert_int_equal(span->bytes, 60 * KIB);
    assert_int_equal(wr_span_reserved_bytes(span), WR_SLICE_BYTES);
    wr_slice_release(behind, 1);
    release(object);
}

static void test_resize_of_slices_ends_at_the_border_of_the_region(void **state)
{
    (void)state;
    uintptr_t windows = (uintptr_t)wr_vm_map(2 * WR_REGION_BYTES, WR_REGION_BYTES);
    uintptr_t border = windows + WR_REGION_BYTES;
    assert_true(windows != 0);
    assert_non_null(wr_region_obtain(windows));
    assert_non_null(wr_region_obtain(border));
    uintptr_t held = scarce_claim_all();
    wr_slice_add(border - WR_SLICE_BYTES, 1);
    wr_slice_add(border, 1);
    char *object = on_slices(40 * KIB);
    wr_span *span = span_of(object);
    assert_int_equal((uintptr_t)object, border - WR_SLICE_BYTES);
    assert_false(wr_large_resize_in_place(span, 100 * KIB));
    assert_int_equal(span->bytes, 40 * KIB);
    assert_int_equal(wr_span_reserved_bytes(span), WR_SLICE_BYTES);
    bool zero;
    assert_true(wr_slice_claim_at(border, 1, &zero));
    wr_slice_release_purged(border, 1);
    release(object);
    scarce_release_all(held);
}

/* ---- resize in place: mappings ---- */

static void test_resize_of_a_mapping_down_unmaps_the_tail(void **state)
{
    (void)state;
    char *object = on_mapping(1 * MIB);
    wr_span *span = span_of(object);
    pattern_fill(object, 1 * MIB, 3);
    size_t mapped = mapped_bytes();
    assert_true(wr_large_resize_in_place(span, 256 * KIB + 1));
    assert_int_equal(span->bytes, 260 * KIB);
    assert_int_equal(wr_span_reserved_bytes(span), 320 * KIB); /* whole slices */
    assert_int_equal(mapped_bytes(), mapped - 704 * KIB);
    assert_false(is_mapped((uintptr_t)object + 320 * KIB));
    assert_true(pattern_holds(object, 260 * KIB, 3));
    release(object);
}

static void test_resize_of_a_mapping_up_grows_into_free_addresses(void **state)
{
    (void)state;
    char *object = on_mapping(4 * MIB);
    wr_span *span = span_of(object);
    assert_true(wr_large_resize_in_place(span, 1 * MIB));
    pattern_fill(object, 1 * MIB, 4);
    size_t mapped = mapped_bytes();
    assert_true(wr_large_resize_in_place(span, 3 * MIB));
    assert_int_equal(span->bytes, 3 * MIB);
    assert_int_equal(wr_span_reserved_bytes(span), 3 * MIB);
    assert_int_equal(span->growths, 1);
    assert_int_equal(mapped_bytes(), mapped + 2 * MIB);
    assert_true(pattern_holds(object, 1 * MIB, 4));
    pattern_fill(object, 3 * MIB, 5);
    release(object);
}

static void test_resize_of_a_mapping_with_a_neighbour_fails_and_changes_nothing(void **state)
{
    (void)state;
    char *object = on_mapping(1 * MIB);
    wr_span *span = span_of(object);
    assert_true(wr_large_resize_in_place(span, 512 * KIB));
    block_behind(span);
    size_t mapped = mapped_bytes();
    assert_false(wr_large_resize_in_place(span, 768 * KIB));
    assert_int_equal(span->bytes, 512 * KIB);
    assert_int_equal(wr_span_reserved_bytes(span), 512 * KIB);
    assert_int_equal(span->growths, 0);
    assert_int_equal(mapped_bytes(), mapped);
    unblock_behind((uintptr_t)object + 512 * KIB);
    release(object);
}

static void test_resize_of_a_mapping_uses_its_reserve_first(void **state)
{
    (void)state;
    char *object = on_mapping(1 * MIB);
    span_of(object)->growths = 1;
    char *moved = wr_large_move(span_of(object), 2 * MIB);
    assert_non_null(moved);
    wr_span *span = span_of(moved);
    assert_int_equal(wr_span_reserved_bytes(span), 3 * MIB);
    size_t mapped = mapped_bytes();
    assert_true(wr_large_resize_in_place(span, 3 * MIB));
    assert_int_equal(span->bytes, 3 * MIB);
    assert_int_equal(mapped_bytes(), mapped);
    pattern_fill(moved, 3 * MIB, 6);
    release(moved);
}

static void test_resize_of_a_mapping_down_gives_its_reserve_back_too(void **state)
{
    (void)state;
    char *object = on_mapping(1 * MIB);
    span_of(object)->growths = 1;
    char *moved = wr_large_move(span_of(object), 2 * MIB);
    assert_non_null(moved);
    assert_true(wr_large_resize_in_place(span_of(moved), 1 * MIB));
    assert_int_equal(wr_span_reserved_bytes(span_of(moved)), 1 * MIB);
    assert_false(is_mapped((uintptr_t)moved + 1 * MIB));
    release(moved);
}

/* ---- move ---- */

static void test_move_keeps_the_contents_and_frees_the_old_addresses(void **state)
{
    (void)state;
    char *object = on_mapping(1 * MIB);
    wr_span *old = span_of(object);
    pattern_fill(object, 1 * MIB, 7);
    block_behind(old);
    uintptr_t end = old->start + 1 * MIB;
    size_t mapped = mapped_bytes();
    char *moved = wr_large_move(old, 2 * MIB);
    assert_non_null(moved);
    assert_ptr_not_equal(moved, object);
    assert_true(is_aligned(moved, WR_SLICE_BYTES));
    assert_true(pattern_holds(moved, 1 * MIB, 7));
    assert_true(all_zero(moved + 1 * MIB, 1 * MIB));
    assert_int_equal(span_of(moved)->bytes, 2 * MIB);
    assert_int_equal(wr_span_kind_of(old), WR_SPAN_FREE);
    assert_null(wr_span_find((uintptr_t)object));
    assert_false(is_mapped((uintptr_t)object));
    assert_int_equal(mapped_bytes(), mapped + 1 * MIB);
    unblock_behind(end);
    release(moved);
}

static void test_move_the_first_time_reserves_nothing_ahead(void **state)
{
    (void)state;
    char *object = on_mapping(1 * MIB);
    char *moved = wr_large_move(span_of(object), 2 * MIB);
    assert_non_null(moved);
    assert_int_equal(wr_span_reserved_bytes(span_of(moved)), 2 * MIB);
    assert_int_equal(span_of(moved)->growths, 1);
    release(moved);
}

static void test_move_of_one_that_grew_before_reserves_half_as_much_again(void **state)
{
    (void)state;
    char *object = on_mapping(1 * MIB);
    char *moved = wr_large_move(span_of(object), 2 * MIB);
    assert_non_null(moved);
    moved = wr_large_move(span_of(moved), 4 * MIB);
    assert_non_null(moved);
    assert_int_equal(span_of(moved)->bytes, 4 * MIB);
    assert_int_equal(wr_span_reserved_bytes(span_of(moved)), 6 * MIB);
    assert_int_equal(span_of(moved)->growths, 2);
    release(moved);
}

static void test_move_after_256_growths_in_place_still_reserves_ahead(void **state)
{
    (void)state;
    char *object = on_mapping(4 * MIB);
    wr_span *span = span_of(object);
    assert_true(wr_large_resize_in_place(span, 1 * MIB));
    for (size_t i = 1; i <= 256; i++) {
        assert_true(wr_large_resize_in_place(span, 1 * MIB + i * 4 * KIB));
    }
    char *moved = wr_large_move(span, 4 * MIB);
    assert_non_null(moved);
    assert_int_equal(wr_span_reserved_bytes(span_of(moved)), 6 * MIB);
    release(moved);
}

static void test_growth_by_small_steps_moves_a_logarithm_of_them(void **state)
{
    (void)state;
    char *object = on_mapping(256 * KIB);
    uintptr_t blocked = 0;
    unsigned moves = 0;
    enum { STEPS = 1000 };
    object[0] = 'w';
    for (size_t i = 1; i <= STEPS; i++) {
        size_t size = 256 * KIB + i * 16 * KIB;
        if (span_of(object)->bytes == wr_span_reserved_bytes(span_of(object))) {
            block_behind(span_of(object));
            blocked = (uintptr_t)object + wr_span_reserved_bytes(span_of(object));
        }
        if (!wr_large_resize_in_place(span_of(object), size)) {
            object = wr_large_move(span_of(object), size);
            assert_non_null(object);
            moves++;
        }
        if (blocked != 0) {
            unblock_behind(blocked);
            blocked = 0;
        }
        assert_int_equal(object[0], 'w');
    }
    assert_in_range(moves, 2, 24); /* 256 KiB to 16 MiB by factors of about 1.5 */
    release(object);
}

static void test_move_to_more_than_there_is_fails_and_changes_nothing(void **state)
{
    (void)state;
    char *object = on_mapping(1 * MIB);
    pattern_fill(object, 1 * MIB, 8);
    size_t mapped = mapped_bytes();
    assert_null(wr_large_move(span_of(object), NEVER_THERE));
    span_of(object)->growths = 1;
    assert_null(wr_large_move(span_of(object), NEVER_THERE));
    assert_null(wr_large_move(span_of(object), PTRDIFF_MAX - MIB)); /* no reserve is added */
    assert_int_equal(span_of(object)->bytes, 1 * MIB);
    assert_int_equal(kind_of(object), WR_SPAN_MAPPED);
    assert_int_equal(mapped_bytes(), mapped);
    assert_true(pattern_holds(object, 1 * MIB, 8));
    release(object);
}

static void test_move_without_memory_for_the_descriptor_fails_and_changes_nothing(void **state)
{
    (void)state;
    char *object = on_mapping(1 * MIB);
    pattern_fill(object, 1 * MIB, 9);
    uintptr_t window = scarce_leave_regions();
    size_t mapped = mapped_bytes();
    bool was_mapped = is_mapped(window - 2 * MIB);
    fault_arm(FAULT_MMAP, 2, FAULT_FOREVER); /* the reserve is made, its region is refused */
    char *moved = wr_large_move(span_of(object), 2 * MIB);
    fault_disarm();
    assert_null(moved);
    assert_int_equal(is_mapped(window - 2 * MIB), was_mapped);
    assert_null(wr_region_of(window - 1));
    assert_int_equal(mapped_bytes(), mapped);
    assert_int_equal(kind_of(object), WR_SPAN_MAPPED);
    assert_int_equal(span_of(object)->bytes, 1 * MIB);
    assert_true(pattern_holds(object, 1 * MIB, 9));
    release(object);
}

/* ---- zero ---- */

static void test_zero_on_slices_used_before_reads_as_zero(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        char *object = on_slices(120 * KIB);
        pattern_fill(object, 120 * KIB, 9);
        release(object);
        char *again = wr_large_alloc(120 * KIB, 16, true);
        assert_ptr_equal(again, object);
        assert_true(all_zero(again, 120 * KIB));
        release(again);
    }
}

/* ---- the threshold, each case in a child where it has not moved ---- */

static void in_child(void (*body)(void *))
{
    struct outcome outcome;
    run_child(body, NULL, &outcome);
    assert_clean_exit(&outcome);
}

static wr_span_kind kind_for(size_t size)
{
    void *object = wr_large_alloc(size, 16, false);
    CHECK(object != NULL);
    return kind_of(object); /* not freed, which could move the threshold */
}

static void free_new(size_t size)
{
    void *object = wr_large_alloc(size, 16, false);
    CHECK(object != NULL);
    release(object);
}

static void see_default(void *unused)
{
    (void)unused;
    CHECK(kind_for(THRESHOLD - 4 * KIB) == WR_SPAN_LARGE);
    CHECK(kind_for(THRESHOLD - 1) == WR_SPAN_MAPPED); /* in whole pages it is the threshold */
    CHECK(kind_for(THRESHOLD) == WR_SPAN_MAPPED);
}

static void test_threshold_at_first_is_128_kib(void **state)
{
    (void)state;
    in_child(see_default);
}

static void see_raised(void *unused)
{
    (void)unused;
    free_new(1 * MIB);
    CHECK(kind_for(1 * MIB - 4 * KIB) == WR_SPAN_LARGE);
    CHECK(kind_for(1 * MIB + 4 * KIB) == WR_SPAN_MAPPED);
    free_new(1 * MIB + 4 * KIB);
    CHECK(kind_for(1 * MIB) == WR_SPAN_LARGE);
}

static void test_threshold_follows_the_size_of_freed_mappings(void **state)
{
    (void)state;
    in_child(see_raised);
}

static void see_not_lowered(void *unused)
{
    (void)unused;
    void *small = wr_large_alloc(256 * KIB, 16, false);
    CHECK(kind_of(small) == WR_SPAN_MAPPED);
    free_new(1 * MIB);
    release(small);
    CHECK(kind_for(1 * MIB - 4 * KIB) == WR_SPAN_LARGE);
}

static void test_threshold_is_never_lowered_by_a_free(void **state)
{
    (void)state;
    in_child(see_not_lowered);
}

static void see_limit(void *unused)
{
    (void)unused;
    free_new(32 * MIB + 4 * KIB);
    CHECK(kind_for(THRESHOLD) == WR_SPAN_MAPPED);
    free_new(32 * MIB);
    CHECK(kind_for(32 * MIB - 4 * KIB) == WR_SPAN_LARGE);
}

static void test_threshold_follows_up_to_32_mib(void **state)
{
    (void)state;
    in_child(see_limit);
}

static void see_pinned(void *unused)
{
    (void)unused;
    wr_large_pin_threshold(256 * KIB);
    CHECK(kind_for(256 * KIB - 4 * KIB) == WR_SPAN_LARGE);
    CHECK(kind_for(256 * KIB) == WR_SPAN_MAPPED);
    free_new(1 * MIB);
    CHECK(kind_for(256 * KIB) == WR_SPAN_MAPPED);
}

static void test_threshold_that_is_pinned_stays(void **state)
{
    (void)state;
    in_child(see_pinned);
}

static void see_pinned_to_0(void *unused)
{
    (void)unused;
    wr_large_pin_threshold(0);
    CHECK(kind_for(40 * KIB) == WR_SPAN_MAPPED);
}

static void test_threshold_pinned_to_0_maps_everything(void **state)
{
    (void)state;
    in_child(see_pinned_to_0);
}

static void see_option(void *unused)
{
    (void)unused;
    char option[] = "WEIR_MMAP_THRESHOLD=512K";
    char *environment[] = {option, NULL};
    wr_options_parse(environment);
    CHECK(kind_for(512 * KIB - 4 * KIB) == WR_SPAN_LARGE);
    CHECK(kind_for(512 * KIB) == WR_SPAN_MAPPED);
    free_new(1 * MIB);
    CHECK(kind_for(512 * KIB) == WR_SPAN_MAPPED);
}

static void test_threshold_of_the_option_is_pinned(void **state)
{
    (void)state;
    in_child(see_option);
}

static void see_growing(void *unused)
{
    (void)unused;
    free_new(1 * MIB); /* raises the threshold */
    void *object = wr_large_alloc_growing(THRESHOLD);
    CHECK(kind_of(object) == WR_SPAN_MAPPED);
    CHECK(span_of(object)->growths == 1);
    CHECK(kind_of(wr_large_alloc_growing(THRESHOLD - 4 * KIB)) == WR_SPAN_LARGE);
}

static void test_growing_object_is_a_mapping_though_the_threshold_rose(void **state)
{
    (void)state;
    in_child(see_growing);
}

static void see_growing_pinned(void *unused)
{
    (void)unused;
    wr_large_pin_threshold(1 * MIB);
    CHECK(kind_of(wr_large_alloc_growing(512 * KIB)) == WR_SPAN_LARGE);
    CHECK(kind_of(wr_large_alloc_growing(1 * MIB)) == WR_SPAN_MAPPED);
}

static void test_growing_object_holds_to_a_pinned_threshold(void **state)
{
    (void)state;
    in_child(see_growing_pinned);
}

static void see_kept(void *unused)
{
    (void)unused;
    free_new(1 * MIB); /* its like are on slices from now on */
    CHECK(wr_keep_bytes() == 0);
    void *lower = wr_large_alloc(3 * MIB, 16, false);
    void *upper = wr_large_alloc(2 * MIB, 16, false);
    CHECK(kind_of(lower) == WR_SPAN_MAPPED && kind_of(upper) == WR_SPAN_MAPPED);
    release(lower);
    release(upper);
    CHECK(wr_keep_bytes() == 0 && !is_mapped((uintptr_t)lower) && !is_mapped((uintptr_t)upper));
    void *aligned = wr_large_alloc(1 * MIB, 2 * WR_SLICE_BYTES, false);
    release(aligned);
    CHECK(wr_keep_bytes() == 1 * MIB);
    CHECK(wr_large_alloc(1 * MIB, 2 * WR_SLICE_BYTES, false) == aligned);
    release(wr_large_alloc_growing(256 * KIB));
    CHECK(wr_keep_bytes() == 256 * KIB);
    free_new(64 * MIB); /* above all that the threshold may be, and all that is kept */
    CHECK(wr_keep_bytes() == 256 * KIB);
    (void)wr_keep_release_all();
    wr_large_pin_threshold(THRESHOLD);
    free_new(4 * MIB);
    CHECK(wr_keep_bytes() == 4 * MIB);
}

static void test_freed_mapping_is_kept_where_another_like_it_may_come(void **state)
{
    (void)state;
    in_child(see_kept);
}

static void see_growing_reuse(void *unused)
{
    (void)unused;
    enum { OLD = 2 * MIB, NEW = 256 * KIB };
    char *object = wr_large_alloc_growing(OLD);
    pattern_fill(object, OLD, 12);
    release(object);
    CHECK(wr_keep_bytes() == OLD);
    size_t committed = wr_commit_bytes();
    char *fixed = wr_large_alloc(OLD + NEW, 16, false);
    CHECK(fixed != object);
    char *again = wr_large_alloc_growing(NEW);
    CHECK(again == object);
    wr_span *span = span_of(again);
    CHECK(span->bytes == NEW && wr_span_reserved_bytes(span) == OLD);
    CHECK(span->committed_bytes == 2 * NEW);
    CHECK(wr_commit_bytes() == committed + 2 * NEW + NEW);
    CHECK(pattern_holds(again, NEW, 12)); /* those frames are still there */
    CHECK(all_zero(again + 2 * NEW, OLD - 2 * NEW));
    CHECK(wr_large_resize_in_place(span, OLD)); /* with the reserve that it came with */
    CHECK(wr_commit_bytes() == committed + OLD + NEW);
    release(again);
    CHECK(wr_keep_bytes() == OLD);
}

static void test_growing_object_takes_any_kept_mapping_without_what_it_may_never_need(void **state)
{
    (void)state;
    in_child(see_growing_reuse);
}

static void see_growing_reuse_of_little_more(void *unused)
{
    (void)unused;
    char *object = wr_large_alloc_growing(512 * KIB);
    pattern_fill(object, 512 * KIB, 13);
    release(object);
    char *fixed = wr_large_alloc(256 * KIB, 16, false); /* is not thought to grow so much */
    CHECK(fixed != object);
    char *again = wr_large_alloc_growing(256 * KIB);
    CHECK(again == object && pattern_holds(again, 512 * KIB, 13));
}

static void test_growing_object_in_a_mapping_little_larger_keeps_its_frames(void **state)
{
    (void)state;
    in_child(see_growing_reuse_of_little_more);
}

/* ---- with the threshold pinned, so that what is freed is kept and used again ---- */

static int pin(void **state)
{
    (void)state;
    (void)wr_keep_release_all();
    wr_large_pin_threshold(THRESHOLD);
    return 0;
}

static void test_kept_mapping_is_used_again_with_what_is_above_the_size_as_reserve(void **state)
{
    (void)state;
    char *object = wr_large_alloc(320 * KIB, 16, false);
    assert_non_null(object);
    release(object);
    size_t mapped = mapped_bytes();
    char *again = wr_large_alloc(256 * KIB, 16, false);
    assert_ptr_equal(again, object);
    assert_int_equal(mapped_bytes(), mapped);
    assert_int_equal(span_of(again)->bytes, 256 * KIB);
    assert_int_equal(wr_span_reserved_bytes(span_of(again)), 320 * KIB);
    assert_true(wr_large_resize_in_place(span_of(again), 320 * KIB));
    release(again);
    assert_int_equal(wr_keep_bytes(), 320 * KIB);
    (void)wr_keep_release_all();
}

static void test_zero_from_a_kept_mapping_reads_as_zero(void **state)
{
    (void)state;
    static const size_t sizes[] = {132 * KIB, WR_KEEP_DROP_BYTES - 4 * KIB, WR_KEEP_DROP_BYTES,
                                   3 * MIB};
    for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
        char *object = wr_large_alloc(sizes[i] + 4 * KIB, 16, false);
        assert_non_null(object);
        pattern_fill(object, sizes[i] + 4 * KIB, 10);
        release(object);
        char *again = wr_large_alloc(sizes[i], 16, true);
        assert_ptr_equal(again, object);
        assert_true(all_zero(again, sizes[i]));
        release(again);
        (void)wr_keep_release_all();
    }
}

static void test_aligned_object_comes_from_a_kept_mapping_that_is_aligned(void **state)
{
    (void)state;
    char *object = wr_large_alloc(1 * MIB, 4 * MIB, false);
    assert_true(is_aligned(object, 4 * MIB));
    size_t more = 2 * ((uintptr_t)object & -(uintptr_t)object); /* an alignment that it has not */
    release(object);
    size_t kept = wr_keep_bytes();
    char *aligned = wr_large_alloc(1 * MIB, more, false);
    assert_true(is_aligned(aligned, more));
    assert_int_equal(wr_keep_bytes(), kept);
    assert_ptr_equal(wr_large_alloc(1 * MIB, 4 * MIB, false), object);
    release(object);
    release(aligned);
    (void)wr_keep_release_all();
}

/* The slices that are claimed and given back are as they were: zero, or with page frames. */
static void alloc_without_descriptors(bool purged)
{
    (void)wr_keep_release_all();
    uintptr_t held = scarce_claim_all();
    size_t step = WR_GROWTH_MIN_BYTES / WR_SLICE_BYTES;
    bool zero;
    uintptr_t fresh = wr_extent_claim(step, &zero);
    assert_true(fresh != 0);
    uintptr_t rest = scarce_claim_all();
    size_t dirty = wr_slice_dirty_count();
    if (purged) {
        wr_slice_release_purged(fresh, step);
    } else {
        wr_slice_release(fresh, step);
    }
    size_t mapped = mapped_bytes();
    scarce_kernel_refuses(true);
    scarce_use_up_meta();
    void *object = wr_large_alloc(100 * KIB, 16, true);
    scarce_kernel_refuses(false);
    assert_null(object);
    assert_int_equal(mapped_bytes(), mapped);
    assert_int_equal(wr_slice_dirty_count(), dirty + (purged ? 0 : step));
    assert_true(wr_slice_claim_at(fresh, step, &zero));
    assert_int_equal(zero, purged);
    wr_slice_release(fresh, step);
    scarce_release_all(rest);
    scarce_release_all(held);
}

static void test_alloc_without_memory_for_the_descriptor_gives_all_back(void **state)
{
    (void)state;
    alloc_without_descriptors(true);
    alloc_without_descriptors(false);
}

/* ---- threads ---- */

enum {
    OBJECTS = 64,
    FREE_ROUNDS = TEST_SCALE(300, 60),
    MINE_MAX = 16,
    ROUNDS = TEST_SCALE(8000, 1500),
};

static wr_span *shared[OBJECTS];
static _Atomic unsigned freed[OBJECTS];

static void free_shared(unsigned number, uint64_t *random)
{
    (void)number;
    unsigned first = (unsigned)(random_next(random) % OBJECTS);
    for (unsigned i = 0; i < OBJECTS; i++) {
        unsigned at = (first + i) % OBJECTS;
        if (wr_large_free(shared[at])) {
            (void)wr_fetch_add_relaxed(&freed[at], 1);
        }
    }
}

static void test_free_by_several_threads_at_once_succeeds_for_one(void **state)
{
    (void)state;
    uint64_t seed = test_seed();
    for (unsigned round = 0; round < FREE_ROUNDS; round++) {
        (void)wr_keep_release_all();
        for (unsigned i = 0; i < OBJECTS; i++) {
            shared[i] = span_of(wr_large_alloc(i % 2 == 0 ? 40 * KIB : 132 * KIB, 16, false));
            wr_store_relaxed(&freed[i], 0);
        }
        size_t mapped = mapped_bytes();
        crew_run(2, seed + round, free_shared);
        for (unsigned i = 0; i < OBJECTS; i++) {
            assert_int_equal(wr_load_relaxed(&freed[i]), 1);
        }
        assert_int_equal(mapped_bytes(), mapped);                   /* all of them are kept */
        assert_int_equal(wr_keep_bytes(), OBJECTS / 2 * 192 * KIB); /* whole slices */
    }
}

/* A mapping above the cap of the keep goes back to the kernel when it is freed, and another thread
 * may get its addresses and with them its descriptor. */
static struct {
    uintptr_t start;
    _Atomic unsigned turn; /* relaxed: the library alone has to order the two */
} place;

#define PLACE_BYTES (40 * MIB)

static void use_place(unsigned number, uint64_t *random)
{
    (void)random;
    for (unsigned round = number; round < 20; round += 2) {
        while (wr_load_relaxed(&place.turn) != round) {
        }
        void *start =
            mmap((void *)place.start, PLACE_BYTES, PROT_READ | PROT_WRITE,
                 MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE | MAP_FIXED_NOREPLACE, -1, 0);
        CHECK((uintptr_t)start == place.start);
        wr_vm_count_mapped(PLACE_BYTES, 0);
        wr_span *span = wr_span_obtain(place.start, 0);
        CHECK(span != NULL);
        span->class = WR_CLASS_NONE;
        span->growths = (uint8_t)number;
        CHECK(wr_commit_charge(PLACE_BYTES));
        span->committed_bytes = PLACE_BYTES;
        wr_span_open(span, WR_SPAN_MAPPED, PLACE_BYTES, PLACE_BYTES);
        if (round % 4 < 2) {
            release(start);
        } else {
            void *moved = wr_large_move(span, PLACE_BYTES + MIB);
            CHECK(moved != NULL);
            release(moved);
        }
        wr_store_relaxed(&place.turn, round + 1);
    }
}

static void test_descriptor_whose_addresses_pass_through_the_kernel_has_no_race(void **state)
{
    (void)state;
    place.start = (uintptr_t)wr_vm_map(PLACE_BYTES, WR_SLICE_BYTES);
    assert_int_not_equal(place.start, 0);
    assert_non_null(wr_region_obtain(place.start));
    assert_non_null(wr_span_obtain(place.start, 0));
    assert_true(wr_vm_unmap((void *)place.start, PLACE_BYTES));
    wr_store_relaxed(&place.turn, 0);
    crew_run(2, test_seed(), use_place);
    assert_int_equal(wr_span_kind_of(wr_span_at(place.start)), WR_SPAN_FREE);
}

static const size_t thread_sizes[] = {40 * KIB, 100 * KIB, 128 * KIB, 140 * KIB, 1 * MIB};

static void use_objects(unsigned number, uint64_t *random)
{
    struct {
        char *object;
        size_t bytes;
    } mine[MINE_MAX];
    unsigned count = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        size_t bytes = thread_sizes[random_next(random) % COUNT_OF(thread_sizes)];
        if (count < MINE_MAX && random_next(random) % 2 == 0) {
            bool zero = random_next(random) % 16 == 0;
            char *object = wr_large_alloc(bytes, 16, zero);
            CHECK(object != NULL && (!zero || all_zero(object, bytes)));
            pattern_fill(object, 512, number); /* plain: a race detector watches */
            pattern_fill(object + bytes - 512, 512, number);
            mine[count].object = object;
            mine[count++].bytes = bytes;
        } else if (count > 0) {
            unsigned at = (unsigned)(random_next(random) % count);
            char *object = mine[at].object;
            CHECK(pattern_holds(object, 512, number));
            CHECK(pattern_holds(object + mine[at].bytes - 512, 512, number));
            if (random_next(random) % 4 == 0 && wr_large_resize_in_place(span_of(object), bytes)) {
                pattern_fill(object + bytes - 512, 512, number);
                mine[at].bytes = bytes;
                continue;
            }
            mine[at] = mine[--count];
            release(object);
        }
    }
    while (count > 0) {
        release(mine[--count].object);
    }
}

/* Every object has its bytes to itself, and nothing is lost but what stays mapped and kept. */
static void test_objects_under_threads_are_held_once_and_race_free(void **state)
{
    (void)state;
    (void)wr_keep_release_all();
    crew_run(THREADS, test_seed(), use_objects);
    size_t kept = wr_keep_bytes();
    size_t mapped = mapped_bytes();
    assert_int_equal(wr_keep_release_all(), kept);
    assert_int_equal(mapped_bytes(), mapped - kept);
    assert_true(kept <= 32 * MIB);
}

int main(void)
{
    /* First, while the threshold has not moved. */
    const struct CMUnitTest threshold[] = {
        cmocka_unit_test(test_threshold_at_first_is_128_kib),
        cmocka_unit_test(test_threshold_follows_the_size_of_freed_mappings),
        cmocka_unit_test(test_threshold_is_never_lowered_by_a_free),
        cmocka_unit_test(test_threshold_follows_up_to_32_mib),
        cmocka_unit_test(test_threshold_that_is_pinned_stays),
        cmocka_unit_test(test_threshold_pinned_to_0_maps_everything),
        cmocka_unit_test(test_threshold_of_the_option_is_pinned),
        cmocka_unit_test(test_growing_object_is_a_mapping_though_the_threshold_rose),
        cmocka_unit_test(test_growing_object_holds_to_a_pinned_threshold),
        cmocka_unit_test(test_freed_mapping_is_kept_where_another_like_it_may_come),
        cmocka_unit_test(test_growing_object_takes_any_kept_mapping_without_what_it_may_never_need),
        cmocka_unit_test(test_growing_object_in_a_mapping_little_larger_keeps_its_frames),
    };
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alloc_below_the_threshold_is_on_slices),
        cmocka_unit_test(test_alloc_has_whole_pages_at_a_slice_boundary_and_class_0),
        cmocka_unit_test(test_alloc_at_any_alignment_is_a_multiple_of_it),
        cmocka_unit_test(test_alloc_of_more_than_there_is_gives_null),
        cmocka_unit_test(test_alloc_that_the_kernel_refuses_has_kept_mappings_released),
        cmocka_unit_test(test_free_of_an_object_twice_is_seen),
        cmocka_unit_test(test_alloc_of_a_mapping_without_memory_for_the_descriptor_gives_it_back),
        cmocka_unit_test(test_free_of_a_slab_is_refused),
        cmocka_unit_test(test_free_of_slices_gives_them_to_the_page_heap),
        cmocka_unit_test(test_free_of_a_mapping_keeps_all_its_address_space),
        cmocka_unit_test(test_resize_of_slices_within_the_last_one_changes_the_size_only),
        cmocka_unit_test(test_resize_of_slices_down_gives_the_tail_back),
        cmocka_unit_test(test_resize_of_slices_up_takes_free_ones_behind),
        cmocka_unit_test(test_resize_of_slices_with_a_neighbour_fails_and_changes_nothing),
        cmocka_unit_test(test_resize_of_slices_ends_at_the_border_of_the_region),
        cmocka_unit_test(test_resize_of_a_mapping_down_unmaps_the_tail),
        cmocka_unit_test(test_resize_of_a_mapping_up_grows_into_free_addresses),
        cmocka_unit_test(test_resize_of_a_mapping_with_a_neighbour_fails_and_changes_nothing),
        cmocka_unit_test(test_resize_of_a_mapping_uses_its_reserve_first),
        cmocka_unit_test(test_resize_of_a_mapping_down_gives_its_reserve_back_too),
        cmocka_unit_test(test_move_keeps_the_contents_and_frees_the_old_addresses),
        cmocka_unit_test(test_move_the_first_time_reserves_nothing_ahead),
        cmocka_unit_test(test_move_of_one_that_grew_before_reserves_half_as_much_again),
        cmocka_unit_test(test_move_after_256_growths_in_place_still_reserves_ahead),
        cmocka_unit_test(test_growth_by_small_steps_moves_a_logarithm_of_them),
        cmocka_unit_test(test_move_to_more_than_there_is_fails_and_changes_nothing),
        cmocka_unit_test(test_move_without_memory_for_the_descriptor_fails_and_changes_nothing),
        cmocka_unit_test(test_zero_on_slices_used_before_reads_as_zero),
    };
    const struct CMUnitTest pinned[] = {
        cmocka_unit_test(test_kept_mapping_is_used_again_with_what_is_above_the_size_as_reserve),
        cmocka_unit_test(test_zero_from_a_kept_mapping_reads_as_zero),
        cmocka_unit_test(test_aligned_object_comes_from_a_kept_mapping_that_is_aligned),
        cmocka_unit_test(test_alloc_without_memory_for_the_descriptor_gives_all_back),
        cmocka_unit_test(test_free_by_several_threads_at_once_succeeds_for_one),
        cmocka_unit_test(test_descriptor_whose_addresses_pass_through_the_kernel_has_no_race),
        cmocka_unit_test(test_objects_under_threads_are_held_once_and_race_free),
    };
    int wrong = cmocka_run_group_tests_name("large, threshold", threshold, NULL, NULL);
    wrong += cmocka_run_group_tests_name("large", tests, NULL, NULL);
    return wrong + cmocka_run_group_tests_name("large, threshold pinned", pinned, pin, NULL);
}
