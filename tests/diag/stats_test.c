/* Statistics: exact figures while one thread allocates, plausible ones while others run, and in the
 * child of a fork. Every figure is checked against what the test did, not against another counter.
 */
#include "diag/stats.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "bin/bin.h"
#include "bin/return.h"
#include "cache/cache.h"
#include "cache/park.h"
#include "crew.h"
#include "heap/heap.h"
#include "heap/keep.h"
#include "heap/reclaim.h"
#include "os/barrier.h"
#include "os/host.h"
#include "page/commit.h"
#include "page/extent.h"
#include "page/slice.h"
#include "support.h"

#include "weir/weir.h"

#define THREADS 4

static weir_stats now(void)
{
    weir_stats stats;
    CHECK(weir_stats_get(&stats, sizeof stats) == 0);
    return stats;
}

static weir_class_stats of_class(unsigned class)
{
    weir_class_stats stats;
    CHECK(weir_class_stats_get(class - 1, &stats, sizeof stats) == 0);
    return stats;
}

/* A class whose slabs have few blocks, so that a test can fill some. */
static unsigned large_class(void)
{
    return wr_size_class_of(4096);
}

/* ---- the calls ---- */

static void test_stats_get_without_a_place_or_size_fails_with_einval(void **state)
{
    (void)state;
    weir_stats stats;
    memset(&stats, 0x55, sizeof stats);
    errno = ERRNO_UNUSED;
    assert_int_equal(weir_stats_get(NULL, sizeof stats), -1);
    assert_int_equal(errno, EINVAL);
    errno = ERRNO_UNUSED;
    assert_int_equal(weir_stats_get(&stats, 0), -1);
    assert_int_equal(errno, EINVAL);
    assert_int_equal(*(unsigned char *)&stats, 0x55);
}

static void test_stats_get_of_a_caller_with_fewer_fields_writes_those(void **state)
{
    (void)state;
    unsigned char bytes[sizeof(weir_stats)];
    size_t known = offsetof(weir_stats, mapped_peak);
    memset(bytes, 0x55, sizeof bytes);
    errno = ERRNO_UNUSED;
    assert_int_equal(weir_stats_get((weir_stats *)bytes, known), 0);
    assert_int_equal(errno, ERRNO_UNUSED);
    weir_stats all = now();
    assert_memory_equal(bytes, &all, known);
    for (size_t i = known; i < sizeof bytes; i++) {
        assert_int_equal(bytes[i], 0x55);
    }
}

static void test_stats_get_of_a_caller_with_more_fields_clears_those(void **state)
{
    (void)state;
    struct {
        weir_stats stats;
        unsigned char later[24];
    } grown;
    memset(&grown, 0x55, sizeof grown);
    assert_int_equal(weir_stats_get(&grown.stats, sizeof grown), 0);
    weir_stats all = now();
    assert_memory_equal(&grown.stats, &all, sizeof all);
    assert_true(all_zero(grown.later, sizeof grown.later));
}

static void test_class_stats_get_ends_behind_the_last_class(void **state)
{
    (void)state;
    weir_class_stats stats;
    unsigned n = 0;
    size_t last_size = 0;
    errno = ERRNO_UNUSED;
    while (weir_class_stats_get(n, &stats, sizeof stats) == 0) {
        assert_true(stats.block_size > last_size);
        assert_int_equal(errno, ERRNO_UNUSED);
        last_size = stats.block_size;
        n++;
    }
    assert_int_equal(errno, EINVAL);
    assert_int_equal(n, WR_CLASS_COUNT - 1);
    assert_int_equal(last_size, WR_MEDIUM_MAX_BYTES);
    assert_int_equal(weir_class_stats_get(UINT32_MAX, &stats, sizeof stats), -1);
    assert_int_equal(weir_class_stats_get(0, NULL, sizeof stats), -1);
    assert_int_equal(weir_class_stats_get(0, &stats, 0), -1);
}

/* ---- one thread ---- */

static void test_committed_dirty_and_given_back_follow_a_run_of_slices(void **state)
{
    (void)state;
    (void)wr_reclaim(WR_RECLAIM_ALL, 0);
    weir_stats before = now();
    assert_int_equal(before.dirty, 0);
    bool zero;
    uintptr_t run = wr_extent_claim(3, &zero);
    assert_int_not_equal(run, 0);
    assert_int_equal(now().committed, before.committed + 3 * WR_SLICE_BYTES);
    assert_int_equal(now().dirty, 0);
    wr_slice_release(run, 3);
    assert_int_equal(now().committed, before.committed + 3 * WR_SLICE_BYTES);
    assert_int_equal(now().dirty, 3 * WR_SLICE_BYTES);
    size_t given_back = now().given_back;
    (void)wr_reclaim(WR_RECLAIM_FREE, 0);
    assert_int_equal(now().given_back, given_back + 3 * WR_SLICE_BYTES);
    assert_int_equal(now().dirty, 0);
    assert_int_equal(now().committed, before.committed);
}

static void test_lazy_counts_slices_left_to_the_kernel(void **state)
{
    (void)state;
    (void)wr_reclaim(WR_RECLAIM_ALL, 0);
    bool zero;
    uintptr_t run = wr_extent_claim(2, &zero);
    wr_slice_release_lazy(run, 2);
    assert_int_equal(now().lazy, 2 * WR_SLICE_BYTES);
    assert_int_equal(now().dirty, 0);
    (void)wr_reclaim(WR_RECLAIM_FREE, 0);
    assert_int_equal(now().lazy, 0);
}

static void test_mapped_and_kept_follow_a_large_object(void **state)
{
    (void)state;
    enum { THRESHOLD = -3 }; /* M_MMAP_THRESHOLD */
    assert_int_equal(weir_mallopt(THRESHOLD, 1 * MIB), 1);
    weir_free(weir_malloc(3 * MIB)); /* from here on tables and the thread's cache are there */
    (void)wr_reclaim(WR_RECLAIM_ALL, 0);
    weir_stats before = now();
    void *object = weir_malloc(3 * MIB);
    assert_non_null(object);
    assert_int_equal(now().mapped - before.mapped, 3 * MIB);
    assert_true(now().mapped_peak >= now().mapped);
    assert_int_equal(now().kept, 0);
    weir_free(object);
    assert_int_equal(now().kept, 3 * MIB);
    assert_int_equal(now().mapped - before.mapped, 3 * MIB);
    (void)wr_reclaim(WR_RECLAIM_FREE, 0);
    assert_int_equal(now().kept, 0);
    assert_int_equal(now().mapped, before.mapped);
    assert_int_equal(now().given_back, before.given_back + 3 * MIB);
}

static void test_limits_are_those_set(void **state)
{
    (void)state;
    assert_int_equal(now().limit_soft, 0);
    assert_int_equal(weir_limit_set(600 * MIB, 700 * MIB), 0);
    assert_int_equal(now().limit_soft, 600 * MIB);
    assert_int_equal(now().limit_hard, 700 * MIB);
    assert_int_equal(weir_limit_set(0, 0), 0);
}

static void test_sweepable_says_whether_the_kernel_has_the_barrier(void **state)
{
    (void)state;
    assert_int_equal(now().sweepable, wr_barrier_all());
    assert_int_equal(now().background, 0);
}

static void test_caches_calls_and_room_are_sums_over_caches(void **state)
{
    (void)state;
    weir_stats before = now();
    wr_cache *cache = wr_cache_create(wr_heap_default.bins);
    assert_non_null(cache);
    assert_int_equal(now().caches, before.caches + 1);
    assert_int_equal(now().caches_in_use, before.caches_in_use + 1);
    unsigned class = large_class();
    void *blocks[64];
    for (unsigned i = 0; i < 64; i++) {
        blocks[i] = wr_cache_refill(cache, class);
        assert_non_null(blocks[i]);
        wr_cache_drain(cache); /* so that each block is a slow call */
    }
    assert_int_equal(now().slow_calls, before.slow_calls + 64);
    assert_true(now().served >= before.served + 64 * (size_t)4096);
    /* Above 1 KiB no place is a cold one: all that the bin may hold counts. */
    assert_true(cache->capacity[class] > 0);
    assert_int_equal(now().cache_room - before.cache_room, cache->capacity[class] * (size_t)4096);
    wr_return(64, blocks, "free");
    wr_park_push(cache);
    assert_int_equal(now().caches, before.caches + 1);
    assert_int_equal(now().caches_in_use, before.caches_in_use);
    assert_int_equal(now().cache_room, before.cache_room);
}

/* Takes `count` blocks from the bin, without a cache. */
static unsigned fill_slabs(unsigned class, void **blocks, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        blocks[i] = wr_bin_take(&wr_heap_default.bins[class]);
        CHECK(blocks[i] != NULL);
    }
    return count;
}

static void test_class_stats_count_slabs_and_free_blocks(void **state)
{
    (void)state;
    (void)wr_reclaim(WR_RECLAIM_ALL, 0);
    unsigned class = large_class();
    unsigned per_slab = wr_size_classes[class].blocks;
    static void *blocks[WR_SLAB_BLOCKS_MAX];
    weir_class_stats stats = of_class(class);
    assert_int_equal(stats.block_size, 4096);
    assert_int_equal(stats.slabs, 0);
    assert_int_equal(stats.blocks, 0);
    assert_int_equal(stats.free_blocks, 0);
    unsigned count = fill_slabs(class, blocks, 2 * per_slab + 1);
    stats = of_class(class);
    assert_int_equal(stats.slabs, 3);
    assert_int_equal(stats.blocks, 3 * per_slab);
    assert_int_equal(stats.free_blocks, per_slab - 1);
    assert_int_equal(stats.absent, 0);
    assert_int_equal(stats.sparse, 0);
    assert_int_equal(of_class(class + 1).slabs, 0);
    wr_return(count, blocks, "free");
    (void)wr_reclaim(WR_RECLAIM_FREE, 0);
    assert_int_equal(of_class(class).slabs, 0);
}

static void test_absent_counts_granules_given_back_among_blocks_in_use(void **state)
{
    (void)state;
    (void)wr_reclaim(WR_RECLAIM_ALL, 0);
    unsigned class = large_class();
    unsigned per_slab = wr_size_classes[class].blocks;
    static void *blocks[WR_SLAB_BLOCKS_MAX];
    assert_int_equal(now().absent, 0);
    (void)fill_slabs(class, blocks, per_slab);
    weir_stats full = now();
    /* The first block stays in use; granules are pages, or more where the slab is long. */
    wr_return(per_slab - 1, blocks + 1, "free");
    (void)wr_reclaim(WR_RECLAIM_ALL, 0);
    weir_stats stats = now();
    assert_true(stats.absent > 0 && stats.absent < wr_size_classes[class].slices * WR_SLICE_BYTES);
    assert_int_equal(of_class(class).absent, stats.absent);
    assert_int_equal(stats.committed, full.committed - stats.absent);
    wr_return(1, blocks, "free");
    (void)wr_reclaim(WR_RECLAIM_ALL, 0);
    assert_int_equal(now().absent, 0);
}

static void test_sparse_is_the_bins_word(void **state)
{
    (void)state;
    unsigned class = large_class();
    wr_store_relaxed(&wr_heap_default.bins[class].sparse, 1);
    assert_int_equal(of_class(class).sparse, 1);
    assert_int_equal(of_class(class + 1).sparse, 0);
    wr_store_relaxed(&wr_heap_default.bins[class].sparse, 0);
}

/* ---- while others run, and after fork ---- */

static void check_plausible(void)
{
    weir_stats stats = now();
    CHECK(stats.caches_in_use <= stats.caches);
    CHECK(stats.dirty <= stats.mapped_peak && stats.lazy <= stats.mapped_peak);
    CHECK(stats.committed <= stats.mapped_peak);
    weir_class_stats class;
    for (unsigned n = 0; weir_class_stats_get(n, &class, sizeof class) == 0; n++) {
        CHECK(class.free_blocks <= class.blocks);
        CHECK(class.absent <= class.slabs * wr_size_classes[n + 1].slices * WR_SLICE_BYTES);
        CHECK(class.blocks == class.slabs * wr_size_classes[n + 1].blocks);
    }
}

static void read_or_allocate(unsigned number, uint64_t *random)
{
    enum { HELD = 256 };
    void *held[HELD] = {NULL};
    for (unsigned i = 0; i < TEST_SCALE(40000u, 4000u); i++) {
        if (number == 0) {
            if (i % 100 == 0) {
                check_plausible();
            }
            continue;
        }
        unsigned at = (unsigned)(random_next(random) % HELD);
        weir_free(held[at]);
        held[at] = weir_malloc(random_size(random, 300 * KIB));
        if (number == 1 && i % 500 == 0) {
            (void)weir_purge(WEIR_PURGE_ALL);
        }
    }
    for (unsigned i = 0; i < HELD; i++) {
        weir_free(held[i]);
    }
}

static void test_stats_while_others_allocate_are_plausible(void **state)
{
    (void)state;
    crew_run(THREADS, test_seed(), read_or_allocate);
    check_plausible();
    (void)wr_reclaim(WR_RECLAIM_ALL, 0);
    weir_stats stats = now();
    assert_int_equal(stats.kept, 0);
    assert_int_equal(stats.dirty, 0);
    assert_int_equal(stats.caches_in_use, wr_park_living());
}

static weir_stats parents;

static void check_in_child(void *unused)
{
    (void)unused;
    weir_stats stats = now();
    CHECK(stats.committed == parents.committed && stats.mapped == parents.mapped);
    CHECK(stats.caches == parents.caches && stats.background == 0);
    CHECK(stats.sweepable == parents.sweepable);
    CHECK(of_class(large_class()).slabs == 1);
    check_plausible();
}

static void test_stats_in_the_child_of_a_fork_are_the_parents(void **state)
{
    (void)state;
    struct outcome outcome;
    void *block = wr_bin_take(&wr_heap_default.bins[large_class()]);
    parents = now();
    run_child(check_in_child, NULL, &outcome);
    assert_clean_exit(&outcome);
    wr_return(1, &block, "free");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_stats_get_without_a_place_or_size_fails_with_einval),
        cmocka_unit_test(test_stats_get_of_a_caller_with_fewer_fields_writes_those),
        cmocka_unit_test(test_stats_get_of_a_caller_with_more_fields_clears_those),
        cmocka_unit_test(test_class_stats_get_ends_behind_the_last_class),
        cmocka_unit_test(test_committed_dirty_and_given_back_follow_a_run_of_slices),
        cmocka_unit_test(test_lazy_counts_slices_left_to_the_kernel),
        cmocka_unit_test(test_mapped_and_kept_follow_a_large_object),
        cmocka_unit_test(test_limits_are_those_set),
        cmocka_unit_test(test_sweepable_says_whether_the_kernel_has_the_barrier),
        cmocka_unit_test(test_caches_calls_and_room_are_sums_over_caches),
        cmocka_unit_test(test_class_stats_count_slabs_and_free_blocks),
        cmocka_unit_test(test_absent_counts_granules_given_back_among_blocks_in_use),
        cmocka_unit_test(test_sparse_is_the_bins_word),
        cmocka_unit_test(test_stats_while_others_allocate_are_plausible),
        cmocka_unit_test(test_stats_in_the_child_of_a_fork_are_the_parents),
    };
    return cmocka_run_group_tests_name("stats", tests, NULL, NULL);
}
