/* Allocate, free, resize and measure: what goes where by kind, and what misuse is told. */
#include "heap/alloc.h"

#include <errno.h>
#include <link.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/auxv.h>

#include "crew.h"
#include "heap/heap.h"
#include "heap/keep.h"
#include "heap/large.h"
#include "os/vm.h"
#include "page/commit.h"
#include "scarce.h"
#include "support.h"
#include "weir/weir.h"

#define THREADS 4

static wr_cache *real; /* the main thread's */

/* A real cache and the two that stand in: what is said of one holds for all. */
static wr_cache *caches[3];

static int create(void **state)
{
    (void)state;
    real = wr_cache_create(wr_heap_default.bins);
    caches[0] = real;
    caches[1] = &wr_cache_boot;
    caches[2] = &wr_cache_direct;
    return real == NULL ? -1 : 0;
}

static wr_span_kind kind_of(const void *ptr)
{
    wr_span *span = wr_span_find((uintptr_t)ptr);
    return span == NULL ? WR_SPAN_FREE : wr_span_kind_of(span);
}

static void assert_bins_at_rest(void)
{
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        wr_bin *bin = &wr_heap_default.bins[class];
        assert_true(wr_load_relaxed(&bin->slabs) <= 1);
        assert_int_equal(wr_load_relaxed(&bin->slabs), wr_load_relaxed(&bin->spares));
    }
}

/* A mapping, whatever the mmap threshold is now: no slices have such an alignment. */
static void *map_object(size_t size)
{
    void *object = wr_alloc(real, size, 2 * WR_SLICE_BYTES);
    assert_int_equal(kind_of(object), WR_SPAN_MAPPED);
    return object;
}

/* A large object on slices of its own. */
static void *slice_object(size_t size)
{
    void *object = wr_alloc_zero(real, size);
    assert_int_equal(kind_of(object), WR_SPAN_LARGE);
    return object;
}

/* Bytes mapped for objects and slices: an object in a window of its own brings a region as well. */
static size_t mapped_bytes(void)
{
    size_t region_bytes = wr_align_up(sizeof(wr_region), WR_SLICE_BYTES);
    return wr_vm_mapped_bytes() - wr_region_count() * region_bytes;
}

/* ---- by kind ---- */

static void test_alloc_of_any_small_size_is_a_block_of_its_class(void **state)
{
    (void)state;
    for (unsigned c = 0; c < COUNT_OF(caches); c++) {
        for (size_t size = 0; size <= WR_SMALL_MAX_BYTES; size += size / 8 + 1) {
            void *block = wr_alloc(caches[c], size, 1);
            assert_non_null(block);
            assert_int_equal(wr_region_class_of((uintptr_t)block), wr_size_class_of(size));
            assert_true(wr_alloc_usable_size(block, "usable") >= size);
            assert_int_equal(wr_alloc_usable_size(block, "usable"), wr_alloc_good_size(size));
            pattern_fill(block, size, size);
            assert_true(pattern_holds(block, size, size));
            wr_alloc_free(caches[c], block, "free");
        }
    }
    wr_cache_drain(real);
    assert_bins_at_rest();
}

static void test_alloc_above_the_small_sizes_is_a_medium_block(void **state)
{
    (void)state;
    static const size_t sizes[] = {WR_SMALL_MAX_BYTES + 1, 40 * KIB, 100 * KIB, 124 * KIB};
    for (unsigned c = 0; c < COUNT_OF(caches); c++) {
        for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
            void *block = wr_alloc(caches[c], sizes[i], 1);
            assert_int_equal(wr_region_class_of((uintptr_t)block),
                             wr_size_class_of_medium(sizes[i], 1));
            assert_int_equal(wr_alloc_usable_size(block, "usable"), wr_alloc_good_size(sizes[i]));
            pattern_fill(block, wr_alloc_good_size(sizes[i]), i);
            wr_alloc_free(caches[c], block, "free");
        }
    }
    wr_cache_drain(real);
    assert_bins_at_rest();
}

static void test_alloc_zero_above_the_small_sizes_is_large(void **state)
{
    (void)state;
    for (unsigned c = 0; c < COUNT_OF(caches); c++) {
        void *object = wr_alloc_zero(caches[c], WR_SMALL_MAX_BYTES + 1);
        assert_int_equal(wr_region_class_of((uintptr_t)object), WR_CLASS_NONE);
        assert_int_equal(kind_of(object), WR_SPAN_LARGE);
        assert_int_equal(wr_alloc_usable_size(object, "usable"), 36 * KIB);
        wr_alloc_free(caches[c], object, "free");
        assert_int_equal(kind_of(object), WR_SPAN_FREE);
    }
}

static void test_alloc_aligned_is_a_multiple_whatever_the_kind(void **state)
{
    (void)state;
    static const size_t sizes[] = {0, 1, 100, 5000, 32768, 32769, 200000};
    for (unsigned c = 0; c < COUNT_OF(caches); c++) {
        for (size_t alignment = 1; alignment <= 1 * MIB; alignment *= 2) {
            for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
                void *block = wr_alloc(caches[c], sizes[i], alignment);
                assert_non_null(block);
                assert_true(is_aligned(block, alignment));
                assert_true(wr_alloc_usable_size(block, "usable") >= sizes[i]);
                pattern_fill(block, sizes[i], alignment);
                wr_alloc_free(caches[c], block, "free");
            }
        }
    }
    wr_cache_drain(real);
    assert_bins_at_rest();
}

static void test_alloc_zero_reads_as_zero_after_use(void **state)
{
    (void)state;
    static const size_t sizes[] = {1, 24, 1000, 32768, 50000, 300000, 1100000};
    for (unsigned c = 0; c < COUNT_OF(caches); c++) {
        for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
            for (unsigned round = 0; round < 3; round++) {
                void *block = wr_alloc_zero(caches[c], sizes[i]);
                assert_non_null(block);
                assert_true(all_zero(block, sizes[i]));
                pattern_fill(block, wr_alloc_usable_size(block, "usable"), 7);
                wr_alloc_free(caches[c], block, "free");
            }
        }
    }
    wr_cache_drain(real);
}

static void test_alloc_batch_gives_distinct_blocks_of_the_class(void **state)
{
    (void)state;
    enum { COUNT = 300 };
    static const size_t sizes[] = {40, 4000, 40000};
    void *blocks[COUNT];
    for (unsigned c = 0; c < COUNT_OF(caches); c++) {
        for (unsigned i = 0; i < COUNT_OF(sizes); i++) {
            size_t n = sizes[i] > WR_SMALL_MAX_BYTES ? 10 : COUNT;
            assert_int_equal(wr_alloc_batch(caches[c], sizes[i], n, blocks), n);
            for (size_t k = 0; k < n; k++) {
                pattern_fill(blocks[k], sizes[i], k);
            }
            for (size_t k = 0; k < n; k++) {
                assert_true(pattern_holds(blocks[k], sizes[i], k));
                wr_alloc_free(caches[c], blocks[k], "free");
            }
        }
    }
    wr_cache_drain(real);
    assert_bins_at_rest();
}

static void test_alloc_batch_takes_what_the_cache_holds_first(void **state)
{
    (void)state;
    void *block = wr_alloc(real, 48, 1);
    wr_alloc_free(real, block, "free");
    void *blocks[20];
    assert_int_equal(wr_alloc_batch(real, 48, 20, blocks), 20);
    assert_ptr_equal(blocks[0], block);
    for (unsigned i = 0; i < 20; i++) {
        wr_alloc_free(real, blocks[i], "free");
    }
    wr_cache_drain(real);
    assert_bins_at_rest();
}

static void test_alloc_batch_of_none_writes_nothing(void **state)
{
    (void)state;
    void *untouched = &real;
    assert_int_equal(wr_alloc_batch(real, 48, 0, &untouched), 0);
    assert_ptr_equal(untouched, &real);
}

static void test_free_batch_returns_blocks_of_all_kinds(void **state)
{
    (void)state;
    enum { COUNT = 3 * WR_FREE_BATCH_BLOCKS };
    static const size_t sizes[] = {16, 40, 300, 4000, 40000};
    static void *blocks[COUNT];
    for (unsigned c = 0; c < COUNT_OF(caches); c++) {
        for (unsigned i = 0; i < COUNT; i++) {
            blocks[i] = i % 7 == 0 ? NULL : wr_alloc(caches[c], sizes[i % COUNT_OF(sizes)], 1);
            assert_true(i % 7 == 0 || blocks[i] != NULL);
        }
        wr_alloc_free_batch(caches[c], COUNT, blocks, "free");
        wr_cache_drain(real);
        assert_bins_at_rest();
    }
}

static void test_free_batch_fills_the_cache_and_returns_the_rest_past_it(void **state)
{
    (void)state;
    static void *blocks[2 * WR_CACHE_BIN_BLOCKS];
    assert_int_equal(wr_alloc_batch(real, 48, COUNT_OF(blocks), blocks), COUNT_OF(blocks));
    size_t room = (size_t)(wr_load_relaxed(&real->end[wr_size_class_of(48)]) -
                           wr_load_relaxed(&real->top[wr_size_class_of(48)]));
    assert_true(room < COUNT_OF(blocks));
    size_t calls = wr_load_relaxed(&real->slow_calls);
    wr_alloc_free_batch(real, COUNT_OF(blocks), blocks, "free");
    assert_ptr_equal(wr_load_relaxed(&real->top[wr_size_class_of(48)]),
                     wr_load_relaxed(&real->end[wr_size_class_of(48)]));
    size_t past = COUNT_OF(blocks) - room;
    assert_int_equal(wr_load_relaxed(&real->slow_calls) - calls,
                     (past + WR_FREE_BATCH_BLOCKS - 1) / WR_FREE_BATCH_BLOCKS);
    wr_cache_drain(real);
    assert_bins_at_rest();
}

static void test_free_by_another_cache_puts_the_block_there(void **state)
{
    (void)state;
    void *block = wr_alloc(&wr_cache_direct, 64, 1);
    wr_alloc_free(real, block, "free");
    assert_ptr_equal(wr_alloc(real, 64, 1), block);
    wr_alloc_free(&wr_cache_direct, block, "free");
    wr_cache_drain(real);
    assert_bins_at_rest();
}

static void test_alloc_large_is_counted_in_a_real_cache(void **state)
{
    (void)state;
    size_t calls = wr_load_relaxed(&real->slow_calls);
    size_t bytes = wr_load_relaxed(&real->served_bytes);
    void *object = slice_object(50000);
    assert_int_equal(wr_load_relaxed(&real->slow_calls), calls + 1);
    assert_int_equal(wr_load_relaxed(&real->served_bytes), bytes + 53248);
    wr_alloc_free(real, object, "free");
}

/* ---- resize ---- */

static void test_resize_within_the_class_stays(void **state)
{
    (void)state;
    void *block = wr_alloc(real, 70, 1);
    assert_ptr_equal(wr_alloc_resize(real, block, 80, "realloc"), block);
    assert_ptr_equal(wr_alloc_resize(real, block, 65, "realloc"), block);
    assert_true(wr_alloc_resize_in_place(block, 80, "resize"));
    assert_false(wr_alloc_resize_in_place(block, 81, "resize"));
    assert_false(wr_alloc_resize_in_place(block, 64, "resize"));
    assert_false(wr_alloc_resize_in_place(block, 1 * MIB, "resize"));
    wr_alloc_free(real, block, "free");
}

static void test_resize_of_a_medium_block_stays_down_to_its_half(void **state)
{
    (void)state;
    void *block = wr_alloc(real, 100 * KIB, 1);
    assert_int_equal(wr_alloc_usable_size(block, "usable"), 112 * KIB);
    assert_ptr_equal(wr_alloc_resize(real, block, 112 * KIB, "realloc"), block);
    assert_ptr_equal(wr_alloc_resize(real, block, 56 * KIB, "realloc"), block);
    assert_true(wr_alloc_resize_in_place(block, 112 * KIB, "resize"));
    assert_true(wr_alloc_resize_in_place(block, WR_SMALL_MAX_BYTES + 1, "resize"));
    assert_false(wr_alloc_resize_in_place(block, WR_SMALL_MAX_BYTES, "resize"));
    assert_false(wr_alloc_resize_in_place(block, 112 * KIB + 1, "resize"));
    block = wr_alloc_resize(real, block, 56 * KIB - 1, "realloc");
    assert_int_equal(wr_alloc_usable_size(block, "usable"), 56 * KIB);
    block = wr_alloc_resize(real, block, 56 * KIB + 1, "realloc");
    assert_int_equal(kind_of(block), WR_SPAN_LARGE); /* it may grow there */
    wr_alloc_free(real, block, "free");
    wr_cache_drain(real);
    assert_bins_at_rest();
}

static void test_resize_from_any_size_to_any_keeps_the_contents(void **state)
{
    (void)state;
    static const size_t sizes[] = {1,     16,    100,    1024,   4000,   32768,
                                   32769, 65536, 100000, 131072, 400000, 1100000};
    for (unsigned c = 0; c < COUNT_OF(caches); c++) {
        for (unsigned from = 0; from < COUNT_OF(sizes); from++) {
            for (unsigned to = 0; to < COUNT_OF(sizes); to++) {
                void *block = wr_alloc(caches[c], sizes[from], 1);
                assert_non_null(block);
                pattern_fill(block, sizes[from], from);
                block = wr_alloc_resize(caches[c], block, sizes[to], "realloc");
                assert_non_null(block);
                assert_true(pattern_holds(block, sizes[from < to ? from : to], from));
                assert_true(wr_alloc_usable_size(block, "usable") >= sizes[to]);
                pattern_fill(block, sizes[to], to);
                wr_alloc_free(caches[c], block, "free");
            }
        }
    }
    wr_cache_drain(real);
    assert_bins_at_rest();
}

static void test_resize_between_small_and_large_changes_the_kind(void **state)
{
    (void)state;
    void *block = wr_alloc(real, 1000, 1);
    block = wr_alloc_resize(real, block, 50000, "realloc");
    assert_int_equal(kind_of(block), WR_SPAN_LARGE);
    block = wr_alloc_resize(real, block, 40000, "realloc");
    assert_int_equal(kind_of(block), WR_SPAN_LARGE);
    block = wr_alloc_resize(real, block, 500, "realloc");
    assert_int_equal(wr_region_class_of((uintptr_t)block), wr_size_class_of(500));
    wr_alloc_free(real, block, "free");
    wr_cache_drain(real);
    assert_bins_at_rest();
}

static void test_resize_of_slices_that_outgrow_their_place_makes_a_growing_mapping(void **state)
{
    (void)state;
    void *low = slice_object(100000);
    void *behind = slice_object(100000);
    void *block = wr_alloc_resize(real, low, 4 * MIB, "realloc");
    assert_int_equal(kind_of(block), WR_SPAN_MAPPED);
    assert_int_equal(wr_span_find((uintptr_t)block)->growths, 1);
    wr_alloc_free(real, block, "free");
    wr_alloc_free(real, behind, "free");
}

static void test_resize_of_a_mapping_moves_it_without_copying(void **state)
{
    (void)state;
    size_t bytes = 64 * MIB; /* untouched but for the ends: a copy would touch all of it */
    char *object = map_object(bytes);
    object[0] = 'a';
    object[bytes - 1] = 'z';
    size_t mapped = mapped_bytes();
    char *moved = wr_alloc_resize(real, object, 2 * bytes, "realloc");
    assert_non_null(moved);
    assert_int_equal(moved[0], 'a');
    assert_int_equal(moved[bytes - 1], 'z');
    assert_true(mapped_bytes() >= mapped + bytes); /* a copy would keep the old one mapped */
    assert_true(mapped_bytes() <= mapped + 2 * bytes);
    wr_alloc_free(real, moved, "free");
}

static void test_resize_in_place_of_large_objects_follows_their_kind(void **state)
{
    (void)state;
    void *slices = slice_object(120 * KIB);
    assert_true(wr_alloc_resize_in_place(slices, 40 * KIB, "resize"));
    assert_int_equal(wr_alloc_usable_size(slices, "usable"), 40 * KIB);
    assert_false(wr_alloc_resize_in_place(slices, 32 * KIB, "resize")); /* would be a block */
    assert_true(wr_alloc_resize_in_place(slices, 120 * KIB, "resize"));
    void *mapping = map_object(1 * MIB);
    assert_true(wr_alloc_resize_in_place(mapping, 256 * KIB, "resize"));
    assert_int_equal(wr_alloc_usable_size(mapping, "usable"), 256 * KIB);
    wr_alloc_free(real, slices, "free");
    wr_alloc_free(real, mapping, "free");
}

static void alloc_with_a_threshold(void *unused)
{
    (void)unused;
    wr_large_pin_threshold(64 * KIB);
    CHECK(kind_of(wr_alloc(real, 64 * KIB - 1, 1)) == WR_SPAN_SLAB);
    CHECK(kind_of(wr_alloc(real, 64 * KIB, 1)) == WR_SPAN_MAPPED);
    CHECK(wr_alloc_good_size(65 * KIB) == 68 * KIB);
}

static void test_alloc_from_the_threshold_on_is_a_mapping(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(alloc_with_a_threshold, NULL, &outcome);
    assert_clean_exit(&outcome);
}

/* ---- out of memory ---- */

static void alloc_where_no_slab_fits(void *unused)
{
    (void)unused;
    (void)weir_purge(WEIR_PURGE_ALL);
    wr_alloc_free(real, slice_object(100 * KIB), "free");
    wr_commit_set_limits(WR_COMMIT_UNLIMITED, wr_commit_bytes() + WR_SLICE_BYTES);
    void *object = wr_alloc(real, 100 * KIB, 1);
    CHECK(kind_of(object) == WR_SPAN_LARGE);
    CHECK(wr_alloc(real, 100 * KIB, 1) == NULL);
}

static void test_alloc_is_large_where_the_limit_has_no_room_for_a_slab(void **state)
{
    (void)state;
    struct outcome outcome;
    run_child(alloc_where_no_slab_fits, NULL, &outcome);
    assert_clean_exit(&outcome);
}

static void test_without_memory_all_calls_fail_and_change_nothing(void **state)
{
    (void)state;
    void *block = wr_alloc(real, 1000, 1);
    void *slices = slice_object(100000);
    pattern_fill(block, 1000, 1);
    pattern_fill(slices, 100000, 2);
    wr_cache_drain(real);
    (void)wr_keep_release_all();
    wr_alloc_free(real, map_object(1 * MIB), "free"); /* a kept mapping does not help these */
    unsigned class = wr_size_class_of(28672);
    assert_true(wr_load_relaxed(&wr_heap_default.bins[class].slabs) <= 1);
    errno = ERRNO_UNUSED;
    scarce_kernel_refuses(true);
    uintptr_t held = scarce_claim_all();
    void *out[64];
    void *results[] = {
        wr_alloc(real, 70000, 1), /* of a class that has no spare */
        wr_alloc_zero(real, 50000),
        wr_alloc(real, 16 * MIB, 16),
        wr_alloc_resize(real, block, 50000, "realloc"),
        wr_alloc_resize(real, slices, 16 * MIB, "realloc"),
    };
    size_t got = wr_alloc_batch(real, 28672, 64, out);
    bool in_place = wr_alloc_resize_in_place(slices, 1 * MIB, "resize");
    size_t kept = wr_keep_bytes();
    scarce_release_all(held);
    scarce_kernel_refuses(false);
    for (unsigned i = 0; i < COUNT_OF(results); i++) {
        assert_null(results[i]);
    }
    assert_true(got < 64); /* what the bin's spare had */
    assert_false(in_place);
    assert_int_equal(kept, 0); /* released before giving up */
    assert_int_equal(errno, ERRNO_UNUSED);
    assert_true(pattern_holds(block, 1000, 1));
    assert_true(pattern_holds(slices, 100000, 2));
    while (got > 0) {
        wr_alloc_free(real, out[--got], "free");
    }
    wr_alloc_free(real, block, "free");
    wr_alloc_free(real, slices, "free");
    wr_cache_drain(real);
    assert_bins_at_rest();
}

/* Calls `alloc` where memory can only come from a mapping that is kept. */
static void assert_served_from_kept_memory(void *(*alloc)(void))
{
    wr_cache_drain(real);
    (void)wr_keep_release_all();
    wr_alloc_free(real, map_object(8 * MIB), "free");
    uintptr_t held = scarce_claim_all();
    assert_int_equal(wr_keep_bytes(), 8 * MIB);
    scarce_kernel_allows_no_more();
    void *ptr = alloc();
    size_t kept = wr_keep_bytes();
    scarce_kernel_refuses(false);
    scarce_release_all(held);
    assert_non_null(ptr);
    assert_int_equal(kept, 0);
    wr_alloc_free(real, ptr, "free");
    wr_cache_drain(real);
    assert_bins_at_rest();
}

/* More than the spare of the class has, one by one. */
static void *alloc_block(void)
{
    void *blocks[10];
    for (unsigned i = 0; i < COUNT_OF(blocks); i++) {
        blocks[i] = wr_alloc(real, 28672, 1);
    }
    for (unsigned i = 1; i < COUNT_OF(blocks); i++) {
        if (blocks[i] == NULL) {
            return NULL;
        }
        wr_alloc_free(real, blocks[i], "free");
    }
    return blocks[0];
}

static void *alloc_object(void)
{
    return wr_alloc(real, 2 * MIB, 16);
}

static void test_block_is_served_from_kept_memory_when_there_is_no_other(void **state)
{
    (void)state;
    assert_served_from_kept_memory(alloc_block);
}

static void test_large_object_is_served_from_kept_memory_when_there_is_no_other(void **state)
{
    (void)state;
    assert_served_from_kept_memory(alloc_object);
}

/* ---- misuse ---- */

enum call { FREE, FREE_TWICE, FREE_TWICE_INTO_CACHE, RESIZE, IN_PLACE, USABLE };

struct misuse {
    enum call call;
    void *ptr;
};

static void do_misuse(void *argument)
{
    const struct misuse *misuse = argument;
    switch (misuse->call) {
    case FREE_TWICE:
        wr_alloc_free(&wr_cache_direct, misuse->ptr, "free");
        wr_alloc_free(&wr_cache_direct, misuse->ptr, "free");
        break;
    case FREE_TWICE_INTO_CACHE:
        wr_alloc_free(real, misuse->ptr, "free");
        wr_alloc_free(real, misuse->ptr, "free");
        break;
    case FREE:
        wr_alloc_free(&wr_cache_direct, misuse->ptr, "free");
        break;
    case RESIZE:
        (void)wr_alloc_resize(&wr_cache_direct, misuse->ptr, 100, "realloc");
        break;
    case IN_PLACE:
        (void)wr_alloc_resize_in_place(misuse->ptr, 100000, "weir_resize_in_place");
        break;
    case USABLE:
        (void)wr_alloc_usable_size(misuse->ptr, "malloc_usable_size");
        break;
    }
}

static void assert_report(enum call call, void *ptr, const char *format, ...)
{
    struct misuse misuse = {call, ptr};
    struct outcome outcome;
    char expected[300];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(expected, sizeof expected, format, arguments);
    va_end(arguments);
    run_child(do_misuse, &misuse, &outcome);
    assert_string_equal(outcome.text, expected);
    assert_int_equal(outcome.signal, SIGABRT);
}

static void test_foreign_pointer_is_reported_by_the_name_of_each_function(void **state)
{
    (void)state;
    static _Alignas(16) char foreign[64];
    void *const pointers[] = {foreign, (void *)4096}; /* the second lies in no region */
    for (size_t i = 0; i < COUNT_OF(pointers); i++) {
        void *ptr = pointers[i];
        assert_report(FREE, ptr, "weir: free(): foreign pointer: %p is in no block of this heap\n",
                      ptr);
        assert_report(RESIZE, ptr,
                      "weir: realloc(): foreign pointer: %p is in no block of this heap\n", ptr);
        assert_report(
            IN_PLACE, ptr,
            "weir: weir_resize_in_place(): foreign pointer: %p is in no block of this heap\n", ptr);
        assert_report(
            USABLE, ptr,
            "weir: malloc_usable_size(): foreign pointer: %p is in no block of this heap\n", ptr);
    }
}

static void test_address_within_a_large_object_is_reported_with_the_object(void **state)
{
    (void)state;
    char *const objects[] = {slice_object(100000), map_object(1 * MIB)};
    static const size_t bytes[] = {102400, 1 * MIB};
    for (unsigned i = 0; i < COUNT_OF(objects); i++) {
        char *inside = objects[i] + 70000;
        assert_report(FREE, inside,
                      "weir: free(): not a block start: %p lies within, block of %zu bytes at %p\n",
                      inside, bytes[i], objects[i]);
        assert_report(USABLE, inside,
                      "weir: malloc_usable_size(): not a block start: %p lies within, block of %zu "
                      "bytes at %p\n",
                      inside, bytes[i], objects[i]);
        wr_alloc_free(real, objects[i], "free");
    }
}

static void test_address_within_a_block_is_reported_with_the_block(void **state)
{
    (void)state;
    char *block = wr_alloc(&wr_cache_direct, 100, 1);
    assert_report(FREE, block + 8,
                  "weir: free(): not a block start: %p, block of 112 bytes at %p\n", block + 8,
                  block);
    wr_alloc_free(&wr_cache_direct, block, "free");
}

static void test_second_free_of_a_block_is_reported_as_double_free(void **state)
{
    (void)state;
    void *holder = wr_alloc(&wr_cache_direct, 100, 1); /* keeps the slab in use */
    void *block = wr_alloc(&wr_cache_direct, 100, 1);
    assert_report(FREE_TWICE, block, "weir: free(): double free: %p, block of 112 bytes at %p\n",
                  block, block);
    wr_alloc_free(&wr_cache_direct, block, "free");
    wr_alloc_free(&wr_cache_direct, holder, "free");
}

static void test_second_free_of_the_newest_block_in_the_cache_is_reported_at_once(void **state)
{
    (void)state;
    void *block = wr_alloc(real, 100, 1);
    assert_report(FREE_TWICE_INTO_CACHE, block,
                  "weir: free(): double free: %p, block of 112 bytes at %p\n", block, block);
    wr_alloc_free(real, block, "free");
    wr_cache_drain(real);
}

/* What lies below an empty bin's array is another bin's last place, with a block of long ago. */
static void test_block_that_lies_below_an_empty_bin_is_not_taken_for_its_newest(void **state)
{
    (void)state;
    wr_cache *before = wr_cache_self;
    wr_cache_self = real;
    void *block = weir_malloc(100);
    unsigned class = wr_size_class_of(100);
    wr_cache_drain(real);
    wr_cache_entry *below = wr_cache_array(real, class) - 1;
    void *content = wr_load_relaxed(below);
    wr_store_relaxed(below, block);
    assert_ptr_equal(wr_load_relaxed(&real->top[class]), wr_cache_array(real, class));
    weir_free(block);
    assert_ptr_equal(wr_load_relaxed(wr_cache_array(real, class)), block);
    assert_ptr_equal(wr_load_relaxed(&real->top[class]), wr_cache_array(real, class) + 1);
    wr_store_relaxed(below, content);
    wr_cache_drain(real);
    wr_cache_self = before;
    assert_bins_at_rest();
}

static void test_second_free_of_a_large_object_is_reported_as_double_free(void **state)
{
    (void)state;
    void *const objects[] = {slice_object(100000), map_object(1 * MIB), map_object(40 * MIB)};
    for (unsigned i = 0; i < COUNT_OF(objects); i++) {
        assert_report(FREE_TWICE, objects[i],
                      "weir: free(): double free: %p is the start of memory that was freed\n",
                      objects[i]);
        wr_alloc_free(real, objects[i], "free");
        assert_report(RESIZE, objects[i],
                      "weir: realloc(): double free: %p is the start of memory that was freed\n",
                      objects[i]);
    }
}

static void free_it(void *ptr)
{
    wr_alloc_free(&wr_cache_direct, ptr, "free");
    wr_alloc_free(real, ptr, "free");
}

/* ld.so's own malloc serves it before there is another, and its blocks may be freed later. */
static void test_free_of_loader_memory_does_nothing(void **state)
{
    (void)state;
    uintptr_t base = (uintptr_t)getauxval(AT_BASE);
    assert_int_not_equal(base, 0);
    struct outcome outcome;
    run_child(free_it, (void *)(base + 4096), &outcome);
    assert_clean_exit(&outcome);
}

/* ---- sequential model ---- */

enum { MODEL_MAX = 400 };

static struct {
    char *ptr;
    size_t size;
    uint64_t tag;
} model[MODEL_MAX];

static void model_check(unsigned at)
{
    assert_true(pattern_holds(model[at].ptr, model[at].size, model[at].tag));
    assert_true(wr_alloc_usable_size(model[at].ptr, "usable") >= model[at].size);
}

static void model_fill(unsigned at, void *ptr, size_t size, uint64_t tag)
{
    assert_non_null(ptr);
    model[at].ptr = ptr;
    model[at].size = size;
    model[at].tag = tag;
    pattern_fill(ptr, size, tag);
}

/* Each object holds its pattern until it is freed, whatever is done to the others. */
static void test_random_calls_keep_every_object_to_itself(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    for (uint64_t step = 0; step < TEST_SCALE(30000, 4000); step++) {
        unsigned at = (unsigned)(random_next(&random) % MODEL_MAX);
        size_t size = random_size(&random, 600 * KIB);
        wr_cache *cache = caches[random_next(&random) % 8 == 0 ? 2 : 0];
        if (model[at].ptr == NULL) {
            size_t alignment = (size_t)1 << random_next(&random) % 14;
            bool zero = random_next(&random) % 4 == 0;
            void *ptr = zero ? wr_alloc_zero(cache, size) : wr_alloc(cache, size, alignment);
            assert_true(!zero || all_zero(ptr, size));
            assert_true(zero || is_aligned(ptr, alignment));
            model_fill(at, ptr, size, step);
        } else if (random_next(&random) % 2 == 0) {
            model_check(at);
            wr_alloc_free(cache, model[at].ptr, "free");
            model[at].ptr = NULL;
        } else {
            model_check(at);
            size = size == 0 ? 1 : size;
            void *ptr = wr_alloc_resize(cache, model[at].ptr, size, "realloc");
            assert_non_null(ptr);
            assert_true(pattern_holds(ptr, wr_min(size, model[at].size), model[at].tag));
            model_fill(at, ptr, size, step);
        }
    }
    for (unsigned at = 0; at < MODEL_MAX; at++) {
        if (model[at].ptr != NULL) {
            model_check(at);
            wr_alloc_free(real, model[at].ptr, "free");
            model[at].ptr = NULL;
        }
    }
    wr_cache_drain(real);
    assert_bins_at_rest();
}

/* ---- threads ---- */

enum { MINE_MAX = 64, MAIL_SLOTS = 32, ROUNDS = TEST_SCALE(30000, 6000) };

static _Atomic(void *) mail[MAIL_SLOTS];

/* Plain writes of both ends of each object; some are freed by a thread that did not allocate. */
static void use_heap(unsigned number, uint64_t *random)
{
    wr_cache *cache = number == 0 ? &wr_cache_direct : wr_cache_create(wr_heap_default.bins);
    CHECK(cache != NULL);
    struct {
        char *ptr;
        size_t size;
    } mine[MINE_MAX];
    unsigned count = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        if (count < MINE_MAX && random_next(random) % 2 == 0) {
            size_t size = random_size(random, 200 * KIB) + 16;
            char *ptr = wr_alloc(cache, size, 16);
            CHECK(ptr != NULL);
            pattern_fill(ptr, 16, number);
            pattern_fill(ptr + size - 8, 8, number);
            mine[count].ptr = ptr;
            mine[count++].size = size;
        } else if (count > 0) {
            unsigned at = (unsigned)(random_next(random) % count);
            char *ptr = mine[at].ptr;
            CHECK(pattern_holds(ptr + mine[at].size - 8, 8, number));
            mine[at] = mine[--count];
            if (random_next(random) % 4 == 0) {
                ptr = wr_exchange_acq_rel(&mail[random_next(random) % MAIL_SLOTS], ptr);
            }
            if (ptr != NULL) {
                wr_alloc_free(cache, ptr, "free");
            }
        }
    }
    while (count > 0) {
        wr_alloc_free(cache, mine[--count].ptr, "free");
    }
    if (wr_cache_is_real(cache)) {
        wr_cache_drain(cache);
    }
}

static void test_objects_under_threads_are_held_once_and_race_free(void **state)
{
    (void)state;
    crew_run(THREADS, test_seed(), use_heap);
    for (unsigned i = 0; i < MAIL_SLOTS; i++) {
        void *ptr = wr_exchange_acq_rel(&mail[i], NULL);
        if (ptr != NULL) {
            wr_alloc_free(&wr_cache_direct, ptr, "free");
        }
    }
    assert_bins_at_rest();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_alloc_of_any_small_size_is_a_block_of_its_class),
        cmocka_unit_test(test_alloc_above_the_small_sizes_is_a_medium_block),
        cmocka_unit_test(test_alloc_zero_above_the_small_sizes_is_large),
        cmocka_unit_test(test_alloc_aligned_is_a_multiple_whatever_the_kind),
        cmocka_unit_test(test_alloc_zero_reads_as_zero_after_use),
        cmocka_unit_test(test_alloc_batch_gives_distinct_blocks_of_the_class),
        cmocka_unit_test(test_alloc_batch_takes_what_the_cache_holds_first),
        cmocka_unit_test(test_alloc_batch_of_none_writes_nothing),
        cmocka_unit_test(test_free_batch_returns_blocks_of_all_kinds),
        cmocka_unit_test(test_free_batch_fills_the_cache_and_returns_the_rest_past_it),
        cmocka_unit_test(test_free_by_another_cache_puts_the_block_there),
        cmocka_unit_test(test_alloc_large_is_counted_in_a_real_cache),
        cmocka_unit_test(test_resize_within_the_class_stays),
        cmocka_unit_test(test_resize_of_a_medium_block_stays_down_to_its_half),
        cmocka_unit_test(test_resize_from_any_size_to_any_keeps_the_contents),
        cmocka_unit_test(test_resize_between_small_and_large_changes_the_kind),
        cmocka_unit_test(test_resize_of_slices_that_outgrow_their_place_makes_a_growing_mapping),
        cmocka_unit_test(test_resize_of_a_mapping_moves_it_without_copying),
        cmocka_unit_test(test_resize_in_place_of_large_objects_follows_their_kind),
        cmocka_unit_test(test_alloc_from_the_threshold_on_is_a_mapping),
        cmocka_unit_test(test_alloc_is_large_where_the_limit_has_no_room_for_a_slab),
        cmocka_unit_test(test_without_memory_all_calls_fail_and_change_nothing),
        cmocka_unit_test(test_block_is_served_from_kept_memory_when_there_is_no_other),
        cmocka_unit_test(test_large_object_is_served_from_kept_memory_when_there_is_no_other),
        cmocka_unit_test(test_foreign_pointer_is_reported_by_the_name_of_each_function),
        cmocka_unit_test(test_address_within_a_large_object_is_reported_with_the_object),
        cmocka_unit_test(test_address_within_a_block_is_reported_with_the_block),
        cmocka_unit_test(test_second_free_of_a_block_is_reported_as_double_free),
        cmocka_unit_test(test_second_free_of_the_newest_block_in_the_cache_is_reported_at_once),
        cmocka_unit_test(test_block_that_lies_below_an_empty_bin_is_not_taken_for_its_newest),
        cmocka_unit_test(test_second_free_of_a_large_object_is_reported_as_double_free),
        cmocka_unit_test(test_free_of_loader_memory_does_nothing),
        cmocka_unit_test(test_random_calls_keep_every_object_to_itself),
        cmocka_unit_test(test_objects_under_threads_are_held_once_and_race_free),
    };
    return cmocka_run_group_tests_name("alloc", tests, create, NULL);
}
