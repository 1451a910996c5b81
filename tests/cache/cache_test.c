/* Thread caches: capacities, refill and overflow, what stays and what goes back to the slabs. */
#include "cache/cache.h"

#include <sched.h>
#include <string.h>

#include "base/assert.h"
#include "bin/return.h"
#include "cache/capacity.h"
#include "cache/park.h"
#include "crew.h"
#include "heap/heap.h"
#include "os/vm.h"
#include "cache_support.h"

#define THREADS 4

static wr_cache *create(void)
{
    wr_cache *cache = wr_cache_create(wr_heap_default.bins);
    assert_non_null(cache);
    return cache;
}

static wr_span *slab_of(const void *block)
{
    wr_span *slab = wr_span_find((uintptr_t)block);
    CHECK(slab != NULL && wr_span_kind_of(slab) == WR_SPAN_SLAB);
    return slab;
}

static bool is_free_in_slab(const void *block)
{
    wr_span *slab = wr_span_find((uintptr_t)block);
    wr_slab_place place;
    if (slab == NULL) {
        return true; /* the whole slab went back */
    }
    assert_true(wr_slab_locate(slab, (uintptr_t)block, &place));
    return (wr_load_relaxed(&slab->free_bits[place.word]) & place.bit) != 0;
}

/* The i-th oldest block. */
static void *entry_of(const wr_cache *cache, unsigned class, unsigned i)
{
    return wr_load_relaxed(wr_stack_base(cache, class) + i);
}

/* Uses a class until its bin can hold as much as it may. */
static void make_hot(wr_cache *cache, unsigned class)
{
    static void *blocks[4 * WR_CACHE_BIN_BLOCKS];
    for (unsigned round = 0; round < 20; round++) {
        for (unsigned i = 0; i < COUNT_OF(blocks); i++) {
            blocks[i] = cache_get(cache, class);
        }
        for (unsigned i = 0; i < COUNT_OF(blocks); i++) {
            cache_give(cache, class, blocks[i]);
        }
        if (cache->capacity[class] == wr_capacity_max(class)) {
            return;
        }
    }
    fail_msg("class %u has capacity %u", class, cache->capacity[class]);
}

/* Blocks that pass no cache. */
static void take_direct(unsigned class, unsigned count, void **out)
{
    wr_span *kept = NULL;
    for (unsigned i = 0; i < count; i++) {
        assert_int_equal(wr_bin_refill(&wr_heap_default.bins[class], &kept, 1, &out[i]), 1);
    }
    wr_bin_give_up(kept);
}

static bool has_cold_array(unsigned class)
{
    return wr_size_classes[class].block_bytes <= WR_CACHE_COLD_BYTES;
}

/* Without having been used. */
static bool has_cold_places(unsigned class)
{
    return has_cold_array(class) && wr_size_classes[class].block_bytes >= WR_CACHE_LINE_BYTES;
}

/* After each test its caches wait for new owners: how long a class takes to get hot depends on how
 * many are in use. */
static int park_all(void **state)
{
    (void)state;
    for (unsigned i = 0; i < wr_cache_count(); i++) {
        if (!wr_park_has_racy(wr_cache_at(i))) {
            wr_cache_drain(wr_cache_at(i));
            wr_park_push(wr_cache_at(i));
        }
    }
    return 0;
}

static void assert_bins_at_rest(void)
{
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        wr_bin *bin = &wr_heap_default.bins[class];
        assert_true(wr_load_relaxed(&bin->slabs) <= 1);
        assert_int_equal(wr_load_relaxed(&bin->slabs), wr_load_relaxed(&bin->spares));
    }
}

/* ---- create ---- */

static void test_create_gives_cold_places_to_classes_from_a_line_to_1_kib(void **state)
{
    (void)state;
    wr_cache *cache = create();
    assert_true(wr_cache_is_real(cache));
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        assert_int_equal(cache->capacity[class], has_cold_places(class) ? 8 : 0);
        assert_int_equal(wr_stack_length(cache, class), 0);
        assert_null(cache->slab[class]);
    }
    wr_cache_assert_valid(cache);
}

static void test_create_keeps_all_cold_arrays_in_one_page(void **state)
{
    (void)state;
    wr_cache *cache = create();
    assert_true(is_aligned(cache, 4 * KIB));
    uintptr_t before = 0;
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        if (has_cold_array(class)) {
            uintptr_t from = (uintptr_t)wr_stack_base(cache, class);
            uintptr_t to = from + WR_CACHE_COLD_BLOCKS * sizeof(wr_cache_entry);
            assert_true(from >= (uintptr_t)cache->cold && to <= (uintptr_t)cache + 4 * KIB);
            assert_true((uintptr_t)cache->end[class] == (has_cold_places(class) ? to : from));
            assert_true(class == 1 || from == before);
            before = to;
        }
    }
}

static void test_create_numbers_caches_and_registers_them(void **state)
{
    (void)state;
    unsigned before = wr_cache_count();
    wr_cache *first = create();
    wr_cache *second = create();
    assert_int_equal(wr_cache_count(), before + 2);
    assert_int_equal(first->id, before);
    assert_int_equal(second->id, before + 1);
    assert_ptr_equal(wr_cache_at(first->id), first);
    assert_ptr_equal(wr_cache_at(second->id), second);
    assert_null(wr_cache_at(before + 2));
}

static unsigned number_of_next;

static void create_or_find(unsigned number, uint64_t *random)
{
    (void)random;
    if (number == 0) {
        CHECK(wr_cache_create(wr_heap_default.bins) != NULL);
        return;
    }
    wr_cache *cache = NULL;
    while (wr_cache_count() <= number_of_next || (cache = wr_cache_at(number_of_next)) == NULL) {
        sched_yield();
    }
    CHECK(cache->id == number_of_next && cache->source == wr_heap_default.bins);
}

static void test_create_publishes_the_cache_to_who_finds_it_by_number(void **state)
{
    (void)state;
    number_of_next = wr_cache_count();
    crew_run(2, 0, create_or_find);
    assert_int_equal(wr_cache_count(), number_of_next + 1);
}

static void create_all(void *unused)
{
    (void)unused;
    while (wr_cache_count() < WR_CACHES_MAX) {
        CHECK(wr_cache_create(wr_heap_default.bins) != NULL);
    }
    size_t mapped = wr_vm_mapped_bytes();
    CHECK(wr_cache_create(wr_heap_default.bins) == NULL);
    CHECK(wr_cache_count() == WR_CACHES_MAX);
    CHECK(wr_vm_mapped_bytes() == mapped);
    CHECK(wr_cache_at(WR_CACHES_MAX - 1)->id == WR_CACHES_MAX - 1);
}

static void test_create_beyond_the_most_caches_gives_null(void **state)
{
    (void)state;
#ifdef TEST_SHADOW
    skip(); /* the first pages of all caches are 256 MiB, with their shadow 8 GiB */
#endif
    struct outcome outcome;
    run_child(create_all, NULL, &outcome);
    assert_clean_exit(&outcome);
}

static void test_bin_of_class_0_is_empty_and_full(void **state)
{
    (void)state;
    wr_cache *cache = create();
    assert_ptr_equal(wr_load_relaxed(&cache->top[WR_CLASS_NONE]),
                     wr_stack_base(cache, WR_CLASS_NONE));
    assert_ptr_equal(wr_load_relaxed(&cache->top[WR_CLASS_NONE]), cache->end[WR_CLASS_NONE]);
}

static void test_stand_in_caches_are_empty_and_full_in_every_bin(void **state)
{
    (void)state;
    const wr_cache *const stand_ins[] = {&wr_cache_boot, &wr_cache_direct};
    assert_ptr_equal(wr_cache_self, &wr_cache_boot);
    for (unsigned i = 0; i < COUNT_OF(stand_ins); i++) {
        assert_false(wr_cache_is_real(stand_ins[i]));
        for (unsigned class = 0; class < WR_CLASS_COUNT; class ++) {
            assert_ptr_equal(wr_load_relaxed(&stand_ins[i]->top[class]),
                             wr_stack_base(stand_ins[i], class));
            assert_ptr_equal(wr_load_relaxed(&stand_ins[i]->top[class]), stand_ins[i]->end[class]);
        }
    }
}

/* ---- capacity ---- */

static void test_capacity_max_is_64_kib_of_blocks_between_2_and_512(void **state)
{
    (void)state;
    assert_int_equal(wr_capacity_max(wr_size_class_of(8)), 512);
    assert_int_equal(wr_capacity_max(wr_size_class_of(128)), 512);
    assert_int_equal(wr_capacity_max(wr_size_class_of(160)), 409);
    assert_int_equal(wr_capacity_max(wr_size_class_of(1024)), 64);
    assert_int_equal(wr_capacity_max(wr_size_class_of(20480)), 3);
    assert_int_equal(wr_capacity_max(wr_size_class_of(32768)), 2);
}

static void test_capacity_of_all_classes_fits_the_cache(void **state)
{
    (void)state;
    size_t entries = 4 * KIB / sizeof(wr_cache_entry);
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        entries += wr_capacity_max(class);
    }
    assert_true(entries * sizeof(wr_cache_entry) <= WR_CACHE_BYTES);
}

static void test_capacity_when_all_classes_are_hot_gives_each_its_own_places(void **state)
{
    (void)state;
    wr_cache *cache = create();
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        wr_cache_drain(cache);
        make_hot(cache, class);
        for (unsigned c = class; c-- > 1;) {
            /* Unused since, but not yet visited often enough to have turned cold. */
            if (cache->capacity[c] > WR_CACHE_COLD_BLOCKS) {
                assert_true(cache->end[c] <= wr_stack_base(cache, class));
                break;
            }
        }
        uintptr_t start = (uintptr_t)wr_stack_base(cache, class);
        assert_true(start >= (uintptr_t)cache + 4 * KIB ||
                    wr_capacity_max(class) <= WR_CACHE_COLD_BLOCKS);
        assert_true((uintptr_t)cache->end[class] <= (uintptr_t)cache + WR_CACHE_BYTES);
        wr_cache_assert_valid(cache);
    }
    wr_cache_drain(cache);
}

static void test_capacity_doubles_with_each_slow_call_from_the_second_on(void **state)
{
    (void)state;
    wr_cache *cache = create();
    unsigned class = wr_size_class_of(64);
    static void *blocks[2000];
    unsigned held = 0;
    unsigned expected = 8;
    for (unsigned call = 1; call <= 12; call++) {
        blocks[held++] = wr_cache_refill(cache, class);
        expected = call == 1 ? 8 : expected < 256 ? 2 * expected : 512;
        assert_int_equal(cache->capacity[class], expected);
        assert_int_equal(wr_stack_length(cache, class), wr_min(expected / 2 + 1, 64) - 1);
        while (wr_stack_length(cache, class) > 0) {
            blocks[held++] = cache_get(cache, class);
        }
        wr_cache_assert_valid(cache);
    }
    while (held > 0) {
        cache_give(cache, class, blocks[--held]);
    }
    wr_cache_drain(cache);
}

static void test_capacity_of_a_large_class_stays_0_till_it_is_hot(void **state)
{
    (void)state;
    wr_cache *cache = create();
    unsigned class = wr_size_class_of(2048);
    for (unsigned call = 1; call <= WR_CACHE_HOT_REFILLS; call++) {
        void *block = wr_cache_refill(cache, class);
        unsigned expected = call < WR_CACHE_HOT_REFILLS ? 0 : 8;
        assert_int_equal(cache->capacity[class], expected);
        assert_int_equal(wr_stack_length(cache, class), expected / 2);
        wr_return(1, &block, "free");
    }
    wr_cache_drain(cache);
    assert_bins_at_rest();
}

static void visit_all(wr_cache *cache)
{
    unsigned class = wr_size_class_of(16);
    for (unsigned i = 0; i < 64 * (WR_CLASS_COUNT - 1); i++) {
        void *block = wr_cache_refill(cache, class);
        wr_return(1, &block, "free");
        while (wr_stack_length(cache, class) > 0) {
            block = cache_get(cache, class);
            wr_return(1, &block, "free");
        }
    }
}

static void test_capacity_of_an_unused_class_shrinks_by_half_each_visit(void **state)
{
    (void)state;
    wr_cache *cache = create();
    unsigned class = wr_size_class_of(64);
    make_hot(cache, class);
    assert_non_null(cache->slab[class]);
    visit_all(cache); /* was used since the last look */
    assert_int_equal(cache->capacity[class], 512);
    for (unsigned expected = 256; expected >= 8; expected /= 2) {
        visit_all(cache);
        assert_int_equal(cache->capacity[class], expected);
        assert_true(wr_stack_length(cache, class) <= expected);
        assert_null(cache->slab[class]);
        assert_int_equal(cache->heat[class], 0);
        wr_cache_assert_valid(cache);
    }
    visit_all(cache);
    assert_int_equal(cache->capacity[class], 8); /* the cold array is for good */
    assert_in_range((uintptr_t)wr_stack_base(cache, class), (uintptr_t)cache,
                    (uintptr_t)cache + 4 * KIB - 1);
    wr_cache_drain(cache);
}

static void test_capacity_of_an_unused_large_class_shrinks_to_0(void **state)
{
    (void)state;
    wr_cache *cache = create();
    unsigned class = wr_size_class_of(2048);
    make_hot(cache, class);
    for (unsigned visit = 0; visit < 7; visit++) {
        visit_all(cache);
        wr_cache_assert_valid(cache);
    }
    assert_int_equal(cache->capacity[class], 0);
    assert_int_equal(wr_stack_length(cache, class), 0);
    wr_cache_drain(cache);
    assert_bins_at_rest();
}

static void test_capacity_that_shrinks_keeps_the_newest_blocks_in_order(void **state)
{
    (void)state;
    wr_cache *cache = create();
    unsigned class = wr_size_class_of(64);
    make_hot(cache, class);
    wr_cache_drain(cache);
    enum { COUNT = 300 };
    void *blocks[COUNT];
    take_direct(class, COUNT, blocks);
    for (unsigned i = 0; i < COUNT; i++) {
        cache_give(cache, class, blocks[i]);
    }
    visit_all(cache);
    visit_all(cache);
    assert_int_equal(cache->capacity[class], 256);
    assert_int_equal(wr_stack_length(cache, class), 256);
    for (unsigned i = 0; i < COUNT; i++) {
        assert_int_equal(is_free_in_slab(blocks[i]), i < COUNT - 256);
    }
    for (unsigned i = 0; i < 256; i++) {
        assert_ptr_equal(entry_of(cache, class, i), blocks[COUNT - 256 + i]);
    }
    wr_cache_drain(cache);
}

static void test_capacity_that_grows_keeps_the_blocks_in_order(void **state)
{
    (void)state;
    wr_cache *cache = create();
    unsigned class = wr_size_class_of(80);
    void *blocks[10];
    take_direct(class, 10, blocks);
    cache->heat[class] = 1;
    for (unsigned i = 0; i < 8; i++) {
        cache_give(cache, class, blocks[i]);
    }
    const wr_cache_entry *cold = wr_stack_base(cache, class);
    cache_give(cache, class, blocks[8]); /* full: the bin moves to its hot array */
    assert_int_equal(cache->capacity[class], 16);
    assert_ptr_not_equal(wr_stack_base(cache, class), cold);
    cache_give(cache, class, blocks[9]);
    assert_int_equal(wr_stack_length(cache, class), 10);
    for (unsigned i = 0; i < 10; i++) {
        assert_ptr_equal(entry_of(cache, class, i), blocks[i]);
    }
    wr_cache_drain(cache);
}

/* ---- refill and overflow ---- */

static void test_refills_of_two_threads_share_no_cache_line(void **state)
{
    (void)state;
    for (unsigned class = 1; wr_size_classes[class].block_bytes < WR_CACHE_LINE_BYTES; class ++) {
        wr_cache *one = create();
        wr_cache *other = create();
        void *first[16];
        void *second[16];
        unsigned taken = 0;
        /* Each as much as a thread that uses the class in passing: what one refill brings. */
        do {
            first[taken] = cache_get(one, class);
            second[taken] = cache_get(other, class);
            taken++;
        } while (wr_stack_length(one, class) != 0 && taken < COUNT_OF(first));
        assert_int_equal(wr_stack_length(other, class), 0);
        for (unsigned i = 0; i < taken; i++) {
            for (unsigned k = 0; k < taken; k++) {
                assert_true(line_of(first[i]) != line_of(second[k]));
            }
        }
        wr_return(taken, first, "free");
        wr_return(taken, second, "free");
        wr_cache_drain(one);
        wr_cache_drain(other);
    }
}

static void test_block_of_another_thread_is_not_what_a_new_one_gets(void **state)
{
    (void)state;
    unsigned class = wr_size_class_of(8);
    wr_cache *one = create();
    void *neighbours[2] = {cache_get(one, class), cache_get(one, class)};
    assert_true(line_of(neighbours[0]) == line_of(neighbours[1]));
    wr_park_push(create()); /* with its cold places, as a thread that has ended leaves them */
    wr_cache *other = wr_park_adopt();
    assert_non_null(other);
    cache_give(other, class, neighbours[1]);
    void *block = cache_get(other, class);
    assert_true(line_of(block) != line_of(neighbours[0]));
    wr_return(1, &block, "free");
    cache_give(one, class, neighbours[0]);
    wr_cache_drain(one);
    wr_cache_drain(other);
}

static void test_refill_gives_ascending_addresses(void **state)
{
    (void)state;
    wr_cache *cache = create();
    unsigned class = wr_size_class_of(96);
    void *blocks[5];
    blocks[0] = wr_cache_refill(cache, class);
    assert_int_equal(wr_stack_length(cache, class), 4);
    for (unsigned i = 1; i < 5; i++) {
        blocks[i] = cache_get(cache, class);
        assert_true(blocks[i - 1] < blocks[i]);
    }
    wr_return(5, blocks, "free");
    assert_bins_at_rest();
}

static void test_refill_of_a_cold_class_gives_its_slab_up(void **state)
{
    (void)state;
    wr_cache *cache = create();
    unsigned class = wr_size_class_of(96);
    for (unsigned call = 1; call < WR_CACHE_HOT_REFILLS; call++) {
        void *block = wr_cache_refill(cache, class);
        assert_null(cache->slab[class]);
        assert_int_equal(wr_load_relaxed(&slab_of(block)->state) & WR_SLAB_OWNED, 0);
        wr_return(1, &block, "free");
        wr_cache_drain(cache);
    }
}

static void test_refill_of_a_hot_class_keeps_its_slab(void **state)
{
    (void)state;
    wr_cache *cache = create();
    unsigned class = wr_size_class_of(96);
    void *block = wr_cache_refill(cache, class);
    for (unsigned call = 2; call <= WR_CACHE_HOT_REFILLS; call++) {
        wr_return(1, &block, "free");
        wr_cache_drain(cache);
        block = wr_cache_refill(cache, class);
    }
    assert_ptr_equal(cache->slab[class], slab_of(block));
    assert_int_equal(wr_load_relaxed(&slab_of(block)->state) & WR_SLAB_OWNED, WR_SLAB_OWNED);
    wr_return(1, &block, "free");
    wr_cache_drain(cache);
    assert_bins_at_rest();
}

/* Whether a cache keeps its slab after many refills in a row. */
static bool keeps_slab(wr_cache *cache, unsigned class)
{
    for (unsigned call = 0; call < 4 * WR_CACHE_HOT_REFILLS; call++) {
        void *block = wr_cache_refill(cache, class);
        CHECK(block != NULL);
        wr_return(1, &block, "free");
        while (wr_stack_length(cache, class) > 0) {
            block = wr_stack_pop(cache, class);
            wr_return(1, &block, "free");
        }
    }
    return cache->slab[class] != NULL;
}

static void test_many_threads_keep_no_slabs_of_large_blocks(void **state)
{
    (void)state;
    unsigned small = wr_size_class_of(WR_CACHE_COLD_BYTES);
    unsigned large = small + 1;
    wr_cache *cache = create();
    assert_int_equal(wr_park_living(), 1);
    assert_true(keeps_slab(cache, large));
    wr_cache_drain(cache);
    while (wr_park_living() < WR_CACHE_SHARERS) {
        assert_true(keeps_slab(cache, large));
        wr_cache_drain(cache);
        (void)create();
    }
    assert_false(keeps_slab(cache, large));
    assert_true(keeps_slab(cache, small));
    wr_cache_drain(cache);
    assert_bins_at_rest();
}

static void test_refill_counts_slow_calls_and_bytes_served(void **state)
{
    (void)state;
    wr_cache *cache = create();
    unsigned class = wr_size_class_of(96);
    void *block = wr_cache_refill(cache, class);
    assert_int_equal(wr_load_relaxed(&cache->slow_calls), 1);
    assert_int_equal(wr_load_relaxed(&cache->served_bytes), 5 * 96);
    cache_give(cache, class, block);
    wr_cache_drain(cache);
}

static void test_overflow_returns_the_oldest_half(void **state)
{
    (void)state;
    wr_cache *cache = create();
    unsigned class = wr_size_class_of(112);
    void *blocks[9];
    take_direct(class, 9, blocks);
    for (unsigned i = 0; i < 9; i++) {
        cache_give(cache, class, blocks[i]); /* the last one is the first slow call: no growth */
    }
    assert_int_equal(cache->capacity[class], 8);
    assert_int_equal(wr_stack_length(cache, class), 5);
    for (unsigned i = 0; i < 9; i++) {
        assert_int_equal(is_free_in_slab(blocks[i]), i < 4);
    }
    for (unsigned i = 0; i < 5; i++) {
        assert_ptr_equal(entry_of(cache, class, i), blocks[4 + i]);
    }
    wr_cache_drain(cache);
}

static void test_overflow_of_a_full_hot_bin_returns_one_batch(void **state)
{
    (void)state;
    wr_cache *cache = create();
    unsigned class = wr_size_class_of(64);
    make_hot(cache, class);
    while (wr_stack_length(cache, class) < 512) {
        void *more;
        take_direct(class, 1, &more);
        cache_give(cache, class, more);
    }
    void *block;
    take_direct(class, 1, &block);
    void *newest = entry_of(cache, class, 511);
    void *next_oldest = entry_of(cache, class, WR_BATCH_BLOCKS);
    cache_give(cache, class, block);
    assert_int_equal(wr_stack_length(cache, class), 512 - WR_BATCH_BLOCKS + 1);
    assert_ptr_equal(entry_of(cache, class, 0), next_oldest);
    assert_ptr_equal(entry_of(cache, class, 511 - WR_BATCH_BLOCKS), newest);
    wr_cache_drain(cache);
}

static void test_overflow_without_capacity_returns_the_block_itself(void **state)
{
    (void)state;
    wr_cache *cache = create();
    unsigned class = wr_size_class_of(8192);
    void *held = cache_get(cache, class);
    void *block = cache_get(cache, class);
    cache_give(cache, class, block);
    assert_int_equal(wr_stack_length(cache, class), 0);
    assert_true(is_free_in_slab(block));
    assert_false(is_free_in_slab(held));
    wr_return(1, &held, "free");
    assert_bins_at_rest();
}

/* ---- drain and leave ---- */

static void test_drain_of_all_classes_leaves_nothing(void **state)
{
    (void)state;
    wr_cache *cache = create();
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        make_hot(cache, class);
    }
    wr_cache_drain(cache);
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        assert_int_equal(wr_stack_length(cache, class), 0);
        assert_null(cache->slab[class]);
    }
    wr_cache_assert_valid(cache);
    assert_bins_at_rest();
}

static void test_leave_slabs_gives_them_up_and_keeps_the_blocks(void **state)
{
    (void)state;
    wr_cache *cache = create();
    unsigned class = wr_size_class_of(64);
    make_hot(cache, class);
    unsigned length = wr_stack_length(cache, class);
    wr_span *slab = cache->slab[class];
    assert_non_null(slab);
    wr_cache_leave_slabs(cache);
    assert_null(cache->slab[class]);
    assert_int_equal(wr_load_relaxed(&slab->state) & WR_SLAB_OWNED, 0);
    assert_int_equal(wr_stack_length(cache, class), length);
    wr_cache_drain(cache);
    assert_bins_at_rest();
}

/* ---- recover ---- */

/* A cache with blocks in three classes, as its thread leaves it at a fork. */
static wr_cache *create_used(const unsigned *classes)
{
    wr_cache *cache = create();
    for (unsigned i = 0; i < 3; i++) {
        void *blocks[40];
        for (unsigned k = 0; k < 40; k++) {
            blocks[k] = cache_get(cache, classes[i]);
        }
        for (unsigned k = 0; k < 40; k++) {
            cache_give(cache, classes[i], blocks[k]);
        }
        assert_non_null(cache->slab[classes[i]]);
        assert_true(wr_stack_length(cache, classes[i]) > 0);
    }
    return cache;
}

static void test_recover_of_a_cache_at_rest_keeps_its_blocks_and_gives_slabs_up(void **state)
{
    (void)state;
    const unsigned classes[] = {wr_size_class_of(32), wr_size_class_of(64), wr_size_class_of(128)};
    wr_cache *cache = create_used(classes);
    unsigned lengths[3];
    for (unsigned i = 0; i < 3; i++) {
        lengths[i] = wr_stack_length(cache, classes[i]);
    }
    wr_cache_recover(cache);
    for (unsigned i = 0; i < 3; i++) {
        assert_int_equal(wr_stack_length(cache, classes[i]), lengths[i]);
        assert_null(cache->slab[classes[i]]);
    }
    wr_cache_assert_valid(cache);
    wr_cache_drain(cache);
    assert_bins_at_rest();
}

static void test_recover_in_the_middle_of_a_change_forgets_that_class_only(void **state)
{
    (void)state;
    const unsigned classes[] = {wr_size_class_of(32), wr_size_class_of(64), wr_size_class_of(128)};
    wr_cache *cache = create_used(classes);
    unsigned others[2] = {wr_stack_length(cache, classes[0]), wr_stack_length(cache, classes[2])};
    void *lost[WR_CACHE_BIN_BLOCKS];
    unsigned lost_count = wr_stack_length(cache, classes[1]);
    for (unsigned i = 0; i < lost_count; i++) {
        lost[i] = entry_of(cache, classes[1], i);
    }
    /* The stores that had been made when the process forked: base is set, top and end are not. */
    wr_store_relaxed(&cache->changing, classes[1]);
    wr_store_relaxed(&cache->base[classes[1]], cache->end[classes[1]] + 1);
    wr_cache_recover(cache);
    wr_capacity_recount();
    assert_int_equal(wr_load_relaxed(&cache->changing), 0);
    assert_int_equal(wr_stack_length(cache, classes[1]), 0);
    assert_int_equal(cache->capacity[classes[1]], wr_capacity_max(classes[1]));
    assert_int_equal(wr_stack_length(cache, classes[0]), others[0]);
    assert_int_equal(wr_stack_length(cache, classes[2]), others[1]);
    wr_cache_assert_valid(cache);
    for (unsigned done = 0; done < lost_count; done++) {
        assert_false(is_free_in_slab(lost[done])); /* lost, not handed out twice */
        wr_return(1, &lost[done], "free");
    }
    make_hot(cache, classes[1]); /* and fit for use */
    wr_cache_drain(cache);
    assert_bins_at_rest();
}

static void test_recover_counts_the_blocks_of_a_slab_that_was_being_taken_from(void **state)
{
    (void)state;
    const unsigned classes[] = {wr_size_class_of(32), wr_size_class_of(64), wr_size_class_of(128)};
    wr_cache *cache = create_used(classes);
    wr_span *slab = cache->slab[classes[0]];
    int64_t count = wr_slab_count_racy(slab);
    assert_true(count > 8);
    /* The bits of two blocks are cleared, and the count is not yet less. */
    unsigned word = 0;
    while (wr_count_bits(wr_load_relaxed(&slab->free_bits[word])) < 2) {
        word++;
    }
    uint64_t bits = wr_lowest_bits(wr_load_relaxed(&slab->free_bits[word]), 2);
    (void)wr_fetch_and_relaxed(&slab->free_bits[word], ~bits);
    wr_cache_recover(cache);
    assert_int_equal(wr_slab_count_racy(slab), count - 2);
    wr_slab_assert_valid(slab);
    for (; bits != 0; bits &= bits - 1) {
        size_t index = word * 64 + wr_lowest_bit(bits);
        void *block = (void *)(slab->start + index * slab->block_bytes);
        wr_return(1, &block, "free");
    }
    wr_cache_drain(cache);
    assert_bins_at_rest();
}

#if WR_DEBUG
static void check_valid(void *cache)
{
    wr_cache_assert_valid(cache);
}

static void test_assert_valid_of_a_wrong_end_aborts_in_debug_builds(void **state)
{
    (void)state;
    wr_cache *cache = create();
    struct outcome outcome;
    run_child(check_valid, cache, &outcome);
    assert_clean_exit(&outcome);
    cache->end[3]--;
    run_child(check_valid, cache, &outcome);
    assert_non_null(strstr(outcome.text, "weir: assertion failed: cache->end[class] == array"));
    cache->end[3]++;
}
#endif

/* ---- sequential model ---- */

enum { MODEL_OUT = 3000 };

static const size_t model_sizes[] = {16, 64, 512, 2048, 16384};

struct model {
    void *stack[WR_CACHE_BIN_BLOCKS]; /* what the bin must hold, oldest first */
    unsigned length;
    void *out[MODEL_OUT];
    unsigned count;
};

static struct model models[COUNT_OF(model_sizes)];

/* The bin holds the newest of what the model has; what it let go is free in its slab or was. */
static void model_compare(struct model *model, const wr_cache *cache, unsigned class)
{
    unsigned length = wr_stack_length(cache, class);
    assert_true(length <= model->length);
    memmove(model->stack, model->stack + (model->length - length), length * sizeof(void *));
    model->length = length;
    for (unsigned i = 0; i < length; i++) {
        assert_ptr_equal(entry_of(cache, class, i), model->stack[i]);
    }
}

static void model_get(struct model *model, wr_cache *cache, unsigned class)
{
    void *block = cache_get(cache, class);
    if (model->length > 0) {
        assert_ptr_equal(block, model->stack[--model->length]);
    } else {
        model->length = wr_stack_length(cache, class);
        for (unsigned i = 0; i < model->length; i++) {
            model->stack[i] = entry_of(cache, class, i);
            assert_true(model->stack[i] > block);
            assert_true(i == 0 || model->stack[i] < model->stack[i - 1]);
        }
    }
    assert_false(is_free_in_slab(block));
    assert_int_equal(slab_of(block)->class, class);
    assert_int_equal(*(uint64_t *)block, 0); /* in nobody's hands */
    *(uint64_t *)block = 1;
    model->out[model->count++] = block;
}

static void model_give(struct model *model, wr_cache *cache, unsigned class, uint64_t *random)
{
    unsigned at = (unsigned)(random_next(random) % model->count);
    void *block = model->out[at];
    model->out[at] = model->out[--model->count];
    *(uint64_t *)block = 0;
    bool had_room = wr_stack_length(cache, class) < cache->capacity[class];
    cache_give(cache, class, block);
    if (had_room) {
        assert_int_equal(wr_stack_length(cache, class), model->length + 1);
    }
    if (wr_stack_length(cache, class) == 0) {
        model->length = 0; /* no capacity */
    } else if (model->length == WR_CACHE_BIN_BLOCKS) {
        memmove(model->stack, model->stack + 1, (model->length - 1) * sizeof(void *));
        model->stack[model->length - 1] = block;
    } else {
        model->stack[model->length++] = block;
    }
}

static void test_cache_random_steps_match_the_model(void **state)
{
    (void)state;
    uint64_t random = test_seed();
    wr_cache *cache = create();
    unsigned favourite = 0;
    for (unsigned step = 0; step < TEST_SCALE(200000, 15000); step++) {
        if (step % 5000 == 0) {
            favourite = (unsigned)(random_next(&random) % COUNT_OF(model_sizes));
        }
        unsigned m = random_next(&random) % 8 != 0
                         ? favourite
                         : (unsigned)(random_next(&random) % COUNT_OF(model_sizes));
        unsigned class = wr_size_class_of(model_sizes[m]);
        struct model *model = &models[m];
        bool growing = step / 700 % 2 == 0;
        if (model->count == 0 ||
            (model->count < MODEL_OUT && random_next(&random) % 8 < (growing ? 6u : 2u))) {
            model_get(model, cache, class);
        } else {
            model_give(model, cache, class, &random);
        }
        /* A visit may have shrunk any bin. */
        for (unsigned i = 0; i < COUNT_OF(model_sizes); i++) {
            model_compare(&models[i], cache, wr_size_class_of(model_sizes[i]));
        }
        wr_cache_assert_valid(cache);
    }
    for (unsigned m = 0; m < COUNT_OF(model_sizes); m++) {
        while (models[m].count > 0) {
            model_give(&models[m], cache, wr_size_class_of(model_sizes[m]), &random);
            model_compare(&models[m], cache, wr_size_class_of(model_sizes[m]));
        }
    }
    wr_cache_drain(cache);
    assert_bins_at_rest();
}

/* ---- threads: each with its cache, blocks change hands ---- */

enum { HELD_MAX = 200, MAIL_SLOTS = 64, ROUNDS = TEST_SCALE(300000, 20000) };

static _Atomic(void *) mail[MAIL_SLOTS];

static void use_cache(unsigned number, uint64_t *random)
{
    wr_cache *cache = wr_cache_create(wr_heap_default.bins);
    CHECK(cache != NULL);
    void *held[HELD_MAX];
    unsigned count = 0;
    for (unsigned round = 0; round < ROUNDS; round++) {
        size_t size = model_sizes[random_next(random) % COUNT_OF(model_sizes)];
        if (count < HELD_MAX && random_next(random) % 2 == 0) {
            void *block = cache_get(cache, wr_size_class_of(size));
            pattern_fill(block, 16, number); /* plain: a race detector watches */
            held[count++] = block;
            continue;
        }
        if (count == 0) {
            continue;
        }
        void *block = held[--count];
        CHECK(pattern_holds(block, 16, number));
        if (random_next(random) % 4 == 0) {
            block = wr_exchange_acq_rel(&mail[random_next(random) % MAIL_SLOTS], block);
        }
        if (block != NULL) {
            memset(block, 0, 16);
            cache_give(cache, slab_of(block)->class, block);
        }
    }
    while (count > 0) {
        CHECK(pattern_holds(held[--count], 16, number));
        cache_give(cache, slab_of(held[count])->class, held[count]);
    }
    wr_cache_assert_valid(cache);
    wr_cache_drain(cache);
}

static void test_caches_under_threads_share_bins_and_lose_nothing(void **state)
{
    (void)state;
    crew_run(THREADS, test_seed(), use_cache);
    for (unsigned i = 0; i < MAIL_SLOTS; i++) {
        void *block = wr_exchange_acq_rel(&mail[i], NULL);
        if (block != NULL) {
            wr_return(1, &block, "free");
        }
    }
    assert_bins_at_rest();
}

int main(void)
{
    const struct CMUnitTest tests[] =
    { cmocka_unit_test_teardown(test_create_gives_cold_places_to_classes_from_a_line_to_1_kib,
                                park_all),
      cmocka_unit_test_teardown(test_create_keeps_all_cold_arrays_in_one_page, park_all),
      cmocka_unit_test_teardown(test_create_numbers_caches_and_registers_them, park_all),
      cmocka_unit_test_teardown(test_create_publishes_the_cache_to_who_finds_it_by_number,
                                park_all),
      cmocka_unit_test_teardown(test_create_beyond_the_most_caches_gives_null, park_all),
      cmocka_unit_test_teardown(test_bin_of_class_0_is_empty_and_full, park_all),
      cmocka_unit_test_teardown(test_stand_in_caches_are_empty_and_full_in_every_bin, park_all),
      cmocka_unit_test_teardown(test_capacity_max_is_64_kib_of_blocks_between_2_and_512, park_all),
      cmocka_unit_test_teardown(test_capacity_of_all_classes_fits_the_cache, park_all),
      cmocka_unit_test_teardown(test_capacity_when_all_classes_are_hot_gives_each_its_own_places,
                                park_all),
      cmocka_unit_test_teardown(test_capacity_doubles_with_each_slow_call_from_the_second_on,
                                park_all),
      cmocka_unit_test_teardown(test_capacity_of_a_large_class_stays_0_till_it_is_hot, park_all),
      cmocka_unit_test_teardown(test_capacity_of_an_unused_class_shrinks_by_half_each_visit,
                                park_all),
      cmocka_unit_test_teardown(test_capacity_of_an_unused_large_class_shrinks_to_0, park_all),
      cmocka_unit_test_teardown(test_capacity_that_shrinks_keeps_the_newest_blocks_in_order,
                                park_all),
      cmocka_unit_test_teardown(test_capacity_that_grows_keeps_the_blocks_in_order, park_all),
      cmocka_unit_test_teardown(test_refills_of_two_threads_share_no_cache_line, park_all),
      cmocka_unit_test_teardown(test_block_of_another_thread_is_not_what_a_new_one_gets, park_all),
      cmocka_unit_test_teardown(test_refill_gives_ascending_addresses, park_all),
      cmocka_unit_test_teardown(test_refill_of_a_cold_class_gives_its_slab_up, park_all),
      cmocka_unit_test_teardown(test_refill_of_a_hot_class_keeps_its_slab, park_all),
      cmocka_unit_test_teardown(test_many_threads_keep_no_slabs_of_large_blocks, park_all),
      cmocka_unit_test_teardown(test_refill_counts_slow_calls_and_bytes_served, park_all),
      cmocka_unit_test_teardown(test_overflow_returns_the_oldest_half, park_all),
      cmocka_unit_test_teardown(test_overflow_of_a_full_hot_bin_returns_one_batch, park_all),
      cmocka_unit_test_teardown(test_overflow_without_capacity_returns_the_block_itself, park_all),
      cmocka_unit_test_teardown(test_drain_of_all_classes_leaves_nothing, park_all),
      cmocka_unit_test_teardown(test_leave_slabs_gives_them_up_and_keeps_the_blocks, park_all),
      cmocka_unit_test_teardown(test_recover_of_a_cache_at_rest_keeps_its_blocks_and_gives_slabs_up,
                                park_all),
      cmocka_unit_test_teardown(test_recover_in_the_middle_of_a_change_forgets_that_class_only,
                                park_all),
      cmocka_unit_test_teardown(test_recover_counts_the_blocks_of_a_slab_that_was_being_taken_from,
                                park_all),
#if WR_DEBUG
      cmocka_unit_test_teardown(test_assert_valid_of_a_wrong_end_aborts_in_debug_builds, park_all),
#endif
      cmocka_unit_test_teardown(test_cache_random_steps_match_the_model, park_all),
      cmocka_unit_test_teardown(test_caches_under_threads_share_bins_and_lose_nothing, park_all),
    };
    return cmocka_run_group_tests_name("cache", tests, NULL, NULL);
}
