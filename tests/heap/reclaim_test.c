/* Reclaiming: what each level gives back, what time makes due, which caches are idle, which classes
 * sparse. The clock is one of the test's own, and the kernel's barrier can be refused.
 */
#include "heap/reclaim.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/options.h"
#include "bin/granule.h"
#include "bin/return.h"
#include "cache/stack.h"
#include "crew.h"
#include "heap/heap.h"
#include "heap/keep.h"
#include "heap/large.h"
#include "os/host.h"
#include "os/vm.h"
#include "page/commit.h"
#include "page/extent.h"
#include "page/slice.h"
#include "support.h"

#include "weir/weir.h"

/* ---- time, and the barrier ---- */

#define DECAY_MS 1000 /* the default of the option */
#define STEP_MS  (DECAY_MS / WR_DECAY_STEPS)

static _Atomic uint64_t now_ms = 1000000;
static bool barrier_fails;

uint64_t __wrap_wr_host_milliseconds(void);
bool __real_wr_barrier_all(void);
bool __wrap_wr_barrier_all(void);

uint64_t __wrap_wr_host_milliseconds(void)
{
    return wr_load_relaxed(&now_ms);
}

bool __wrap_wr_barrier_all(void)
{
    return !barrier_fails && __real_wr_barrier_all();
}

static void pass(uint64_t ms)
{
    (void)wr_fetch_add_relaxed(&now_ms, ms);
}

/* Looks as the purger does, until `ms` have passed. */
static void pass_looking(uint64_t ms)
{
    for (; ms > STEP_MS; ms -= STEP_MS) {
        pass(STEP_MS);
        (void)wr_reclaim_due(true);
    }
    pass(ms);
    (void)wr_reclaim_due(true);
}

/* ---- memory in each of the places where it waits ---- */

#define RUN_SLICES ((size_t)64)
#define RUN_BYTES  (RUN_SLICES * WR_SLICE_BYTES)

static uintptr_t dirty_start;

/* A run of free slices that have page frames. */
static void make_dirty_slices(void)
{
    bool zero;
    dirty_start = wr_extent_claim(RUN_SLICES, &zero);
    CHECK(dirty_start != 0);
    memset((void *)dirty_start, 1, RUN_BYTES);
    wr_slice_release(dirty_start, RUN_SLICES);
}

static size_t pages_present(uintptr_t start, size_t bytes)
{
    static unsigned char seen[RUN_BYTES / 4096];
    size_t pages = bytes / wr_host_page_bytes();
    size_t present = 0;
    CHECK(pages <= sizeof seen);
    CHECK(mincore((void *)start, bytes, seen) == 0);
    for (size_t i = 0; i < pages; i++) {
        present += seen[i] & 1;
    }
    return present;
}

#define KEPT_BYTES (8 * MIB)

static void make_kept_mapping(void)
{
    char *object = weir_malloc(KEPT_BYTES);
    CHECK(object != NULL);
    memset(object, 1, KEPT_BYTES);
    weir_free(object);
    CHECK(wr_keep_bytes() >= KEPT_BYTES);
}

static wr_bin *bin_of(size_t bytes)
{
    return &wr_heap_default.bins[wr_size_class_of(bytes)];
}

/* Blocks that pass no cache. */
static void take_direct(size_t bytes, size_t count, void **out)
{
    wr_span *kept = NULL;
    for (size_t done = 0; done < count;) {
        size_t most = wr_min(count - done, WR_BATCH_BLOCKS);
        unsigned got = wr_bin_refill(bin_of(bytes), &kept, (unsigned)most, out + done);
        CHECK(got > 0);
        done += got;
    }
    wr_bin_give_up(kept);
}

static void return_direct(size_t count, void **blocks)
{
    for (size_t done = 0; done < count; done += WR_BATCH_BLOCKS) {
        wr_return((unsigned)wr_min(count - done, WR_BATCH_BLOCKS), blocks + done, "free");
    }
}

static void make_spare(size_t bytes)
{
    void *block;
    take_direct(bytes, 1, &block);
    memset(block, 1, bytes);
    return_direct(1, &block);
    CHECK(wr_load_relaxed(&bin_of(bytes)->spares) == 1);
}

/* A thread with a cache of its own, which fills it, and then does what it is told. */
enum { SMALL = 64, FILL = 200 };

static struct {
    pthread_t thread;
    pthread_barrier_t turn;
    wr_cache *cache;
    void (*task)(void); /* NULL: the end */
} sleeper;

static void fill_cache(void)
{
    void *blocks[FILL];
    for (unsigned i = 0; i < FILL; i++) {
        CHECK((blocks[i] = weir_malloc(SMALL)) != NULL);
    }
    for (unsigned i = 0; i < FILL; i++) {
        weir_free(blocks[i]);
    }
}

static void *sleep_and_work(void *unused)
{
    fill_cache();
    sleeper.cache = wr_cache_self;
    for (;;) {
        pthread_barrier_wait(&sleeper.turn);
        pthread_barrier_wait(&sleeper.turn);
        if (sleeper.task == NULL) {
            return unused;
        }
        sleeper.task();
    }
}

static void start_sleeper(void)
{
    CHECK(pthread_barrier_init(&sleeper.turn, NULL, 2) == 0);
    CHECK(pthread_create(&sleeper.thread, NULL, sleep_and_work, NULL) == 0);
    pthread_barrier_wait(&sleeper.turn);
}

static void tell_sleeper(void (*task)(void))
{
    sleeper.task = task;
    pthread_barrier_wait(&sleeper.turn);
    if (task != NULL) {
        pthread_barrier_wait(&sleeper.turn);
        return;
    }
    CHECK(pthread_join(sleeper.thread, NULL) == 0);
    CHECK(pthread_barrier_destroy(&sleeper.turn) == 0);
}

static unsigned length_of(const wr_cache *cache, size_t bytes)
{
    return wr_stack_length(cache, wr_size_class_of(bytes));
}

/* Nothing waits anywhere, and no look has seen anything. */
static int set_up(void **state)
{
    (void)state;
    barrier_fails = false;
    wr_large_pin_threshold(MIB);
    (void)wr_reclaim(WR_RECLAIM_ALL, 0);
    pass(10 * DECAY_MS);
    (void)wr_reclaim_due(true);
    CHECK(wr_slice_dirty_count() == 0 && wr_keep_bytes() == 0);
    return 0;
}

/* ---- levels ---- */

static void test_free_gives_back_slices_mappings_and_whole_slabs(void **state)
{
    (void)state;
    make_spare(8192);
    make_dirty_slices();
    make_kept_mapping();
    size_t committed = wr_commit_bytes();
    size_t given = wr_vm_given_back_bytes();
    assert_int_equal(pages_present(dirty_start, RUN_BYTES), RUN_BYTES / wr_host_page_bytes());
    errno = ERRNO_UNUSED;
    size_t result = wr_reclaim(WR_RECLAIM_FREE, 0);
    assert_int_equal(errno, ERRNO_UNUSED);
    assert_true(result >= RUN_BYTES + KEPT_BYTES + WR_SLICE_BYTES);
    assert_int_equal(wr_vm_given_back_bytes() - given, result);
    assert_int_equal(wr_slice_dirty_count(), 0);
    assert_int_equal(wr_keep_bytes(), 0);
    assert_int_equal(wr_load_relaxed(&bin_of(8192)->slabs), 0);
    assert_true(committed - wr_commit_bytes() >= RUN_BYTES + KEPT_BYTES + WR_SLICE_BYTES);
    assert_int_equal(pages_present(dirty_start, RUN_BYTES), 0);
    assert_int_equal(wr_reclaim(WR_RECLAIM_FREE, 0), 0);
}

static void test_free_leaves_caches_and_slabs_in_use_alone(void **state)
{
    (void)state;
    static void *blocks[1024];
    start_sleeper();
    take_direct(512, COUNT_OF(blocks), blocks);
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        memset(blocks[i], 1, 512);
    }
    void *kept = blocks[0];
    wr_span *slab = wr_span_find((uintptr_t)kept);
    return_direct(COUNT_OF(blocks) - 1, blocks + 1);
    unsigned length = length_of(sleeper.cache, SMALL);
    assert_true(length > 1);
    (void)wr_reclaim(WR_RECLAIM_FREE, 0);
    assert_int_equal(length_of(sleeper.cache, SMALL), length);
    assert_int_equal(wr_granule_absent(slab), 0);
    assert_int_equal(pages_present(slab->start, slab->bytes), slab->bytes / wr_host_page_bytes());
    return_direct(1, &kept);
    tell_sleeper(NULL);
}

static void test_all_takes_what_caches_of_other_threads_hold(void **state)
{
    (void)state;
    start_sleeper();
    fill_cache(); /* ours */
    assert_true(length_of(sleeper.cache, SMALL) > 1);
    assert_true(length_of(wr_cache_self, SMALL) > 1);
    assert_true(wr_reclaim(WR_RECLAIM_ALL, 0) > 0);
    assert_int_equal(length_of(sleeper.cache, SMALL), 1); /* see cache/steal.h */
    assert_int_equal(length_of(wr_cache_self, SMALL), 0);
    assert_true(wr_reclaim_reaches_caches());
    tell_sleeper(fill_cache);
    assert_true(length_of(sleeper.cache, SMALL) > 1);
    tell_sleeper(NULL);
}

static void test_all_gives_back_free_pages_among_blocks_in_use(void **state)
{
    (void)state;
    static void *blocks[1024];
    take_direct(512, COUNT_OF(blocks), blocks);
    for (size_t i = 0; i < COUNT_OF(blocks); i++) {
        memset(blocks[i], 1, 512);
    }
    void *kept = blocks[COUNT_OF(blocks) / 2];
    wr_span *slab = wr_span_find((uintptr_t)kept);
    blocks[COUNT_OF(blocks) / 2] = blocks[COUNT_OF(blocks) - 1];
    return_direct(COUNT_OF(blocks) - 1, blocks);
    size_t committed = wr_commit_bytes();
    size_t page = wr_host_page_bytes();
    size_t pages = slab->bytes / page;
    assert_int_equal(pages_present(slab->start, slab->bytes), pages);
    assert_true(wr_reclaim(WR_RECLAIM_ALL, 0) >= slab->bytes - page);
    assert_int_equal(pages_present(slab->start, slab->bytes), 1);
    assert_true(committed - wr_commit_bytes() >= slab->bytes - page);
    assert_int_equal(*(char *)kept, 1);
    return_direct(1, &kept);
}

static void test_all_gives_back_the_end_of_the_data_segment(void **state)
{
    (void)state;
    char *before = sbrk(0);
    static void *objects[32];
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        objects[i] = weir_calloc(1, 100 * KIB);
        assert_non_null(objects[i]);
    }
    char *grown = sbrk(0);
    assert_true(grown > before);
    for (size_t i = 0; i < COUNT_OF(objects); i++) {
        weir_free(objects[i]);
    }
    (void)wr_reclaim(WR_RECLAIM_FREE, 0);
    assert_ptr_equal(sbrk(0), grown);
    (void)wr_reclaim(WR_RECLAIM_ALL, 0);
    assert_true((char *)sbrk(0) < grown);
}

static void test_keep_bytes_of_slices_stay(void **state)
{
    (void)state;
    make_dirty_slices();
    assert_int_equal(wr_slice_dirty_count(), RUN_SLICES);
    (void)wr_reclaim(WR_RECLAIM_FREE, 40 * WR_SLICE_BYTES);
    assert_true(wr_slice_dirty_count() <= 40); /* by whole runs within a word */
    make_dirty_slices();
    size_t dirty = wr_slice_dirty_count();
    (void)wr_reclaim(WR_RECLAIM_FREE, dirty * WR_SLICE_BYTES);
    assert_int_equal(wr_slice_dirty_count(), dirty);
    (void)wr_reclaim(WR_RECLAIM_FREE, SIZE_MAX);
    assert_int_equal(wr_slice_dirty_count(), dirty);
    char *end = sbrk(0);
    (void)wr_reclaim(WR_RECLAIM_ALL, SIZE_MAX);
    assert_ptr_equal(sbrk(0), end);
}

static void test_due_right_after_a_free_gives_next_to_nothing_back(void **state)
{
    (void)state;
    make_dirty_slices();
    make_kept_mapping();
    assert_int_equal(wr_reclaim(WR_RECLAIM_DUE, 0), 0);
    assert_int_equal(wr_slice_dirty_count(), RUN_SLICES);
    assert_true(wr_keep_bytes() >= KEPT_BYTES);
    pass(2 * DECAY_MS);
    assert_true(wr_reclaim(WR_RECLAIM_DUE, 0) >= RUN_BYTES + KEPT_BYTES);
    assert_int_equal(wr_slice_dirty_count(), 0);
    assert_int_equal(wr_keep_bytes(), 0);
}

/* ---- time ---- */

static void test_slices_go_by_and_by_within_the_decay_time(void **state)
{
    (void)state;
    make_dirty_slices();
    (void)wr_reclaim_due(false);
    size_t before = RUN_SLICES;
    size_t at_half = 0;
    for (unsigned step = 0; step < WR_DECAY_STEPS + 1; step++) {
        pass(STEP_MS);
        (void)wr_reclaim_due(false);
        assert_true(wr_slice_dirty_count() <= before);
        before = wr_slice_dirty_count();
        at_half = step == WR_DECAY_STEPS / 2 ? before : at_half;
    }
    assert_true(at_half < RUN_SLICES);
    assert_int_equal(wr_slice_dirty_count(), 0);
    assert_int_equal(pages_present(dirty_start, RUN_BYTES), 0);
}

static void test_kept_mappings_go_within_the_decay_time(void **state)
{
    (void)state;
    for (unsigned i = 0; i < 3; i++) {
        make_kept_mapping();
    }
    (void)wr_reclaim_due(false);
    pass_looking(DECAY_MS + 2 * STEP_MS);
    assert_int_equal(wr_keep_bytes(), 0);
}

static void test_slabs_that_stay_free_go_but_not_at_the_first_look(void **state)
{
    (void)state;
    make_spare(8192);
    (void)wr_reclaim_due(false);
    pass(DECAY_MS);
    assert_true(wr_reclaim_due(false));
    for (unsigned look = 0; look < 3; look++) {
        pass(DECAY_MS);
        (void)wr_reclaim_due(false);
    }
    assert_int_equal(wr_load_relaxed(&bin_of(8192)->slabs), 0);
}

static void test_slabs_used_between_looks_stay(void **state)
{
    (void)state;
    for (unsigned look = 0; look < 6; look++) {
        make_spare(8192);
        pass(DECAY_MS);
        (void)wr_reclaim_due(false);
        assert_int_equal(wr_load_relaxed(&bin_of(8192)->slabs), 1);
    }
}

static void test_due_says_when_nothing_is_left(void **state)
{
    (void)state;
    assert_false(wr_reclaim_due(true));
    make_dirty_slices();
    assert_true(wr_reclaim_due(true));
    unsigned looks = 0;
    for (bool left = true; left; looks++) {
        assert_true(looks < 1000);
        pass(STEP_MS);
        left = wr_reclaim_due(true);
    }
    assert_int_equal(wr_slice_dirty_count(), 0);
    assert_false(wr_reclaim_due(true));
    /* A slow call of a thread may leave something in its cache, which is idle some time later. */
    fill_cache();
    assert_true(wr_reclaim_due(true));
}

static void test_tick_does_what_is_due_once_a_step(void **state)
{
    (void)state;
    pass(STEP_MS);
    make_dirty_slices();
    wr_reclaim_tick(); /* sees them */
    pass(DECAY_MS + STEP_MS);
    make_dirty_slices();
    wr_reclaim_tick();
    size_t left = wr_slice_dirty_count();
    make_kept_mapping();
    wr_reclaim_tick(); /* not yet again */
    pass(STEP_MS - 1);
    wr_reclaim_tick();
    assert_int_equal(wr_slice_dirty_count(), left);
    for (unsigned step = 0; step < 2 * WR_DECAY_STEPS + 2; step++) {
        pass(STEP_MS);
        wr_reclaim_tick();
    }
    assert_int_equal(wr_slice_dirty_count(), 0);
    assert_int_equal(wr_keep_bytes(), 0);
}

static void set_option(const char *setting)
{
    char text[64];
    (void)strcpy(text, setting);
    char *const environment[] = {text, NULL};
    wr_options_parse(environment);
}

static void run_case(void (*body)(void *))
{
    struct outcome outcome;
    run_child(body, NULL, &outcome);
    assert_clean_exit(&outcome);
}

static void never_decay(void *unused)
{
    (void)unused;
    set_option("WEIR_DECAY=0");
    make_dirty_slices();
    make_kept_mapping();
    for (unsigned look = 0; look < 5; look++) {
        pass(3600000);
        CHECK(!wr_reclaim_due(true));
        CHECK(wr_reclaim(WR_RECLAIM_DUE, 0) == 0);
    }
    CHECK(wr_slice_dirty_count() == RUN_SLICES && wr_keep_bytes() >= KEPT_BYTES);
    CHECK(wr_reclaim(WR_RECLAIM_FREE, 0) >= RUN_BYTES + KEPT_BYTES);
}

static void test_decay_of_0_keeps_all_until_it_is_asked_for(void **state)
{
    (void)state;
    run_case(never_decay);
}

static void decay_lazily(void *unused)
{
    (void)unused;
    set_option("WEIR_LAZY=1");
    make_dirty_slices();
    size_t given = wr_vm_given_back_bytes();
    size_t committed = wr_commit_bytes();
    (void)wr_reclaim_due(false);
    pass_looking(2 * DECAY_MS);
    CHECK(wr_slice_dirty_count() == 0 && wr_slice_lazy_count() == RUN_SLICES);
    CHECK(wr_vm_given_back_bytes() == given); /* not yet */
    CHECK(wr_commit_bytes() == committed);
    CHECK(wr_reclaim(WR_RECLAIM_FREE, 0) >= RUN_BYTES);
    CHECK(wr_slice_lazy_count() == 0);
    CHECK(pages_present(dirty_start, RUN_BYTES) == 0);
    CHECK(committed - wr_commit_bytes() >= RUN_BYTES);
}

static void test_lazy_decay_leaves_frames_to_the_kernel_until_asked(void **state)
{
    (void)state;
    run_case(decay_lazily);
}

static void read_periods(void *unused)
{
    (void)unused;
    CHECK(wr_reclaim_period() == 2 * STEP_MS);
    set_option("WEIR_DECAY=1");
    CHECK(wr_reclaim_period() == 20);
    set_option("WEIR_DECAY=3600000");
    CHECK(wr_reclaim_period() == 250);
}

static void test_period_is_two_steps_between_20_and_250_ms(void **state)
{
    (void)state;
    run_case(read_periods);
}

/* ---- idle caches ---- */

static void test_cache_is_swept_when_it_has_been_idle(void **state)
{
    (void)state;
    start_sleeper();
    (void)wr_reclaim_due(true); /* sees its calls */
    unsigned length = length_of(sleeper.cache, SMALL);
    assert_true(length > 1);
    pass(WR_IDLE_MS - 1);
    (void)wr_reclaim_due(true);
    assert_int_equal(length_of(sleeper.cache, SMALL), length);
    pass(1);
    (void)wr_reclaim_due(false); /* threads that do it on their way do not sweep */
    assert_int_equal(length_of(sleeper.cache, SMALL), length);
    (void)wr_reclaim_due(true);
    assert_int_equal(length_of(sleeper.cache, SMALL), 1);
    assert_true(sleeper.cache->swept);
    tell_sleeper(NULL);
}

/* A thread that its cache serves alone makes no slow call, and passes for idle. */
static void fill_and_call_slowly(void)
{
    fill_cache();
    weir_free(weir_calloc(1, 100 * KIB));
}

static void test_cache_in_use_is_not_swept(void **state)
{
    (void)state;
    start_sleeper();
    for (unsigned look = 0; look < 5; look++) {
        tell_sleeper(fill_and_call_slowly);
        (void)wr_reclaim_due(true);
        assert_true(length_of(sleeper.cache, SMALL) > 1);
        pass(WR_IDLE_MS);
    }
    tell_sleeper(NULL);
}

static void test_cache_used_after_a_sweep_is_swept_again_when_idle(void **state)
{
    (void)state;
    start_sleeper();
    (void)wr_reclaim_due(true);
    pass_looking(2 * WR_IDLE_MS);
    assert_int_equal(length_of(sleeper.cache, SMALL), 1);
    tell_sleeper(fill_cache);
    assert_true(length_of(sleeper.cache, SMALL) > 1);
    pass_looking(WR_IDLE_MS / 2);
    assert_true(length_of(sleeper.cache, SMALL) > 1);
    pass_looking(2 * WR_IDLE_MS);
    assert_int_equal(length_of(sleeper.cache, SMALL), 1);
    tell_sleeper(NULL);
}

static void test_parked_cache_is_swept_like_another(void **state)
{
    (void)state;
    start_sleeper();
    wr_cache *cache = sleeper.cache;
    tell_sleeper(NULL);
    (void)wr_reclaim_due(true);
    pass_looking(2 * WR_IDLE_MS);
    assert_true(length_of(cache, SMALL) <= 1);
    assert_true(cache->swept);
}

static void do_without_barrier(void *unused)
{
    (void)unused;
    fill_cache();
    wr_cache *cache = wr_cache_self;
    unsigned length = length_of(cache, SMALL);
    barrier_fails = true;
    (void)wr_reclaim_due(true);
    for (unsigned look = 0; look < 5; look++) {
        pass(WR_IDLE_MS);
        (void)wr_reclaim_due(true);
        CHECK(length_of(cache, SMALL) == length);
        CHECK(!wr_reclaim_reaches_caches());
    }
    make_dirty_slices();
    CHECK(wr_reclaim(WR_RECLAIM_ALL, 0) >= RUN_BYTES); /* all else goes */
    CHECK(length_of(cache, SMALL) == 0);               /* the caller's own too */
    CHECK(!wr_reclaim_reaches_caches());
}

static void test_without_a_barrier_caches_are_out_of_reach_for_good(void **state)
{
    (void)state;
    run_case(do_without_barrier);
}

/* ---- sparse classes ---- */

/* Blocks of which every slab keeps some. Percentages and bytes on either side of what is judged. */
enum {
    SPARSE_BYTES = 512,
    SPREAD_MAX = 64 * WR_SPARSE_MIN_BYTES / SPARSE_BYTES,
    BETWEEN = (WR_SPARSE_PERCENT + WR_DENSE_PERCENT) / 2,
    ABOVE = WR_SPARSE_PERCENT + 15,
};
static void *spread[SPREAD_MAX];
static size_t spread_count;

static void make_spread(size_t bytes)
{
    spread_count = bytes / SPARSE_BYTES;
    CHECK(spread_count <= SPREAD_MAX);
    take_direct(SPARSE_BYTES, spread_count, spread);
}

static void look(void)
{
    pass(DECAY_MS);
    (void)wr_reclaim_due(false);
}

/* Frees the blocks from `from` up to below `to` percent, scattered, so that hardly a page is free
 * as a whole: pages that are given back are no waste. */
static void free_some(unsigned from, unsigned to)
{
    for (size_t i = 0; i < spread_count; i++) {
        if (i * 61 % 100 >= from && i * 61 % 100 < to) {
            wr_return(1, &spread[i], "free");
        }
    }
}

static void judge_a_class(void *unused)
{
    (void)unused;
    const wr_bin *bin = bin_of(SPARSE_BYTES);
    make_spread(64 * WR_SPARSE_MIN_BYTES);
    look();
    CHECK(!wr_bin_is_sparse(bin)); /* full */
    free_some(0, BETWEEN);
    look();
    CHECK(!wr_bin_is_sparse(bin)); /* it stays what it was */
    free_some(BETWEEN, ABOVE);
    look();
    CHECK(wr_bin_is_sparse(bin));
    static void *more[SPREAD_MAX];
    size_t some = spread_count * (ABOVE - BETWEEN) / 100;
    take_direct(SPARSE_BYTES, some, more);
    look();
    CHECK(wr_bin_is_sparse(bin)); /* likewise */
    take_direct(SPARSE_BYTES, spread_count * BETWEEN / 100, more + some);
    look();
    CHECK(!wr_bin_is_sparse(bin));
}

static void test_class_is_sparse_when_much_is_free_until_it_is_dense(void **state)
{
    (void)state;
    run_case(judge_a_class);
}

static void judge_a_small_class(void *unused)
{
    (void)unused;
    make_spread(WR_SPARSE_MIN_BYTES);
    free_some(0, 75);
    look();
    look();
    CHECK(!wr_bin_is_sparse(bin_of(SPARSE_BYTES)));
}

static void test_class_of_little_memory_is_not_judged_sparse(void **state)
{
    (void)state;
    run_case(judge_a_small_class);
}

static void judge_in_a_large_heap(void *unused)
{
    (void)unused;
    enum { COUNT = 2 * WR_SPARSE_HEAP_SHARE * WR_SPARSE_MIN_BYTES / WR_SMALL_MAX_BYTES };
    static void *many[COUNT]; /* never touched */
    take_direct(WR_SMALL_MAX_BYTES, COUNT, many);
    make_spread(4 * WR_SPARSE_MIN_BYTES);
    free_some(0, 40);
    look();
    CHECK(!wr_bin_is_sparse(bin_of(SPARSE_BYTES)));
    free_some(40, 80);
    look();
    CHECK(wr_bin_is_sparse(bin_of(SPARSE_BYTES)));
}

static void test_class_that_is_little_beside_the_heap_is_not_sparse(void **state)
{
    (void)state;
    run_case(judge_in_a_large_heap);
}

/* ---- threads ---- */

enum { THREADS = 4, ROUNDS = TEST_SCALE(3000, 300), LIVE = 100 };

static void use_and_reclaim(unsigned number, uint64_t *random)
{
    unsigned char *live[LIVE] = {NULL};
    size_t bytes[LIVE] = {0};
    for (unsigned round = 0; round < ROUNDS; round++) {
        size_t at = random_next(random) % LIVE;
        if (live[at] != NULL) {
            CHECK(pattern_holds(live[at], wr_min(bytes[at], 256), number));
            weir_free(live[at]);
        }
        bytes[at] = 1 + random_size(random, MIB);
        live[at] = weir_malloc(bytes[at]);
        CHECK(live[at] != NULL);
        pattern_fill(live[at], wr_min(bytes[at], 256), number);
        if (random_next(random) % 16 == 0) {
            pass(random_next(random) % 200);
            size_t keep = random_next(random) % 2 == 0 ? 0 : MIB;
            (void)wr_reclaim((wr_reclaim_level)(random_next(random) % 3), keep);
        }
        wr_reclaim_tick();
    }
    for (size_t at = 0; at < LIVE; at++) {
        if (live[at] != NULL) {
            CHECK(pattern_holds(live[at], wr_min(bytes[at], 256), number));
            weir_free(live[at]);
        }
    }
}

static void test_threads_that_reclaim_at_once_lose_nothing(void **state)
{
    (void)state;
    crew_run(THREADS, test_seed(), use_and_reclaim);
    for (unsigned i = 0; i < wr_cache_count(); i++) {
        wr_cache_drain(wr_cache_at(i));
    }
    (void)wr_reclaim(WR_RECLAIM_ALL, 0);
    assert_int_equal(wr_slice_dirty_count(), 0);
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        assert_int_equal(wr_load_relaxed(&wr_heap_default.bins[class].slabs), 0);
    }
    assert_int_equal(wr_commit_bytes(), 0);
    for (unsigned r = 0; r < wr_region_count(); r++) {
        wr_slice_assert_valid(wr_region_at(r));
    }
}

/* Nothing in the background: what is done here is all there is. */
static int stay_alone(void **state)
{
    (void)state;
    set_option("WEIR_BACKGROUND=0");
    return 0;
}

#define CASE(name) cmocka_unit_test_setup(name, set_up)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_free_gives_back_slices_mappings_and_whole_slabs),
        CASE(test_free_leaves_caches_and_slabs_in_use_alone),
        CASE(test_all_takes_what_caches_of_other_threads_hold),
        CASE(test_all_gives_back_free_pages_among_blocks_in_use),
        CASE(test_all_gives_back_the_end_of_the_data_segment),
        CASE(test_keep_bytes_of_slices_stay),
        CASE(test_due_right_after_a_free_gives_next_to_nothing_back),
        CASE(test_slices_go_by_and_by_within_the_decay_time),
        CASE(test_kept_mappings_go_within_the_decay_time),
        CASE(test_slabs_that_stay_free_go_but_not_at_the_first_look),
        CASE(test_slabs_used_between_looks_stay),
        CASE(test_due_says_when_nothing_is_left),
        CASE(test_tick_does_what_is_due_once_a_step),
        CASE(test_decay_of_0_keeps_all_until_it_is_asked_for),
        CASE(test_lazy_decay_leaves_frames_to_the_kernel_until_asked),
        CASE(test_period_is_two_steps_between_20_and_250_ms),
        CASE(test_cache_is_swept_when_it_has_been_idle),
        CASE(test_cache_in_use_is_not_swept),
        CASE(test_cache_used_after_a_sweep_is_swept_again_when_idle),
        CASE(test_parked_cache_is_swept_like_another),
        CASE(test_without_a_barrier_caches_are_out_of_reach_for_good),
        CASE(test_class_is_sparse_when_much_is_free_until_it_is_dense),
        CASE(test_class_of_little_memory_is_not_judged_sparse),
        CASE(test_class_that_is_little_beside_the_heap_is_not_sparse),
        CASE(test_threads_that_reclaim_at_once_lose_nothing),
    };
    return cmocka_run_group_tests_name("reclaim", tests, stay_alone, NULL);
}
