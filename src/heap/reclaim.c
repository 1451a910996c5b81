/* See reclaim.h. */
#include "heap/reclaim.h"

#include "base/bits.h"
#include "base/options.h"
#include "bin/bin.h"
#include "cache/steal.h"
#include "heap/heap.h"
#include "heap/keep.h"
#include "os/barrier.h"
#include "os/host.h"
#include "os/vm.h"
#include "page/decay.h"
#include "page/extent.h"
#include "page/purge.h"
#include "page/slice.h"

static _Atomic uint32_t reclaiming; /* 1 while a thread does what is due */
static _Atomic uint64_t next_tick;  /* milliseconds; relaxed: who moves it on does the tick */

/* Whether threads' caches can be swept, as the last steal or probe found it; relaxed: a fact. */
enum { REACH_UNKNOWN, REACH_NONE, REACH_ALL };
static _Atomic int reach;

/* The state of decay; of the thread that has `reclaiming`. */
static wr_decay slices_decay;
static wr_decay kept_decay;
static uint64_t next_period;   /* of what was in use of late, in milliseconds */
static uint64_t next_look;     /* at the slabs, in milliseconds */
static uint64_t last_activity; /* when a cache was last seen to have had a slow call */
static uint64_t last_look;     /* when that was */
static bool slabs_left;        /* the last look found pages that may be due at the next */

static size_t decay_ms(void)
{
    return wr_option_get(wr_option_decay);
}

static size_t step_ms(void)
{
    return wr_max(decay_ms() / WR_DECAY_STEPS, 1);
}

unsigned wr_reclaim_period(void)
{
    enum { FINEST_MS = 20, COARSEST_MS = 250 };
    return (unsigned)wr_min(wr_max(2 * step_ms(), FINEST_MS), COARSEST_MS);
}

static bool begin(void)
{
    uint32_t nobody = 0;
    /* Linearisation point of who does it. Observes the state of decay; pairs with end(). */
    return wr_load_relaxed(&reclaiming) == 0 && wr_cas_strong_acq_rel(&reclaiming, &nobody, 1);
}

static void end(void)
{
    /* Publishes the state of decay; pairs with begin(). */
    wr_store_release(&reclaiming, 0);
}

/* ---- slices and kept mappings ---- */

static void decay_slices(uint64_t step)
{
    size_t keep = wr_decay_allow(&slices_decay, step, wr_slice_dirty_count());
    if (wr_slice_dirty_count() > keep && !wr_purge_is_refused()) {
        (void)wr_purge_decayed(keep);
    }
    wr_decay_settle(&slices_decay, wr_slice_dirty_count());
}

static void decay_kept(uint64_t step)
{
    size_t keep = wr_decay_allow(&kept_decay, step, wr_keep_bytes());
    (void)wr_keep_release_to(keep);
    wr_decay_settle(&kept_decay, wr_keep_bytes());
}

/* ---- slabs ---- */

/* A class is sparse when much of its memory is free blocks on present pages, and that is much
 * beside the heap; it is dense again when little is. In between it stays what it was. */
static void judge(wr_bin *bin, const wr_bin_census *census, size_t heap_bytes)
{
    size_t bytes = census->blocks * wr_size_classes[bin->class].block_bytes;
    size_t free_bytes = census->free_blocks * wr_size_classes[bin->class].block_bytes;
    size_t waste = free_bytes > census->absent_bytes ? free_bytes - census->absent_bytes : 0;
    if (waste * 100 > bytes * WR_SPARSE_PERCENT && waste > heap_bytes / WR_SPARSE_HEAP_SHARE &&
        waste > WR_SPARSE_MIN_BYTES) {
        wr_store_relaxed(&bin->sparse, 1);
    } else if (waste * 100 < bytes * WR_DENSE_PERCENT) {
        wr_store_relaxed(&bin->sparse, 0);
    }
}

/* Trims every bin by age, and judges it. */
static void look_at_slabs(void)
{
    static wr_bin_census census[WR_CLASS_COUNT];
    size_t heap_bytes = 0;
    slabs_left = false;
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        wr_bin_trim(&wr_heap_default.bins[class], WR_TRIM_STALE, &census[class]);
        heap_bytes += census[class].blocks * wr_size_classes[class].block_bytes;
        slabs_left = slabs_left || census[class].stale_bytes != 0;
    }
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        judge(&wr_heap_default.bins[class], &census[class], heap_bytes);
    }
}

static void look_if_due(uint64_t now)
{
    enum { REST = 50 }; /* a look may cost one part in so many of the time */
    if (now >= next_look) {
        look_at_slabs();
        uint64_t took = wr_host_milliseconds() - now;
        next_look = now + wr_max(decay_ms() / 2, took * REST);
        last_look = now;
    }
}

/* ---- caches ---- */

static uint64_t sweep_time; /* of the sweep under way */

static bool is_idle(wr_cache *cache)
{
    /* Relaxed: a statistic of the owner's; any later value shows at a later look. */
    size_t calls = wr_load_relaxed(&cache->slow_calls);
    if (calls != cache->seen_calls) {
        cache->seen_calls = calls;
        cache->seen_ms = sweep_time;
        cache->idle = false;
        last_activity = sweep_time;
        return false;
    }
    return !cache->idle && sweep_time - cache->seen_ms >= WR_IDLE_MS;
}

static bool is_any(wr_cache *cache)
{
    (void)cache;
    return true;
}

/* False if another thread is at it. */
static bool steal(wr_steal_choice *choose)
{
    wr_steal_result result = wr_steal(choose);
    if (result == WR_STEAL_DONE || result == WR_STEAL_NEVER) {
        wr_store_relaxed(&reach, result == WR_STEAL_DONE ? REACH_ALL : REACH_NONE);
    }
    return result != WR_STEAL_BUSY;
}

bool wr_reclaim_reaches_caches(void)
{
    if (wr_load_relaxed(&reach) == REACH_UNKNOWN) {
        wr_store_relaxed(&reach, wr_barrier_all() ? REACH_ALL : REACH_NONE);
    }
    return wr_load_relaxed(&reach) == REACH_ALL;
}

/* ---- what is due ---- */

/* Something may become due without any call of the program's. */
static bool is_anything_left(uint64_t now)
{
    uint64_t swept = last_activity + WR_IDLE_MS + decay_ms();
    return wr_purge_has_work() || wr_keep_bytes() != 0 || slabs_left || now < swept ||
           last_look < swept;
}

bool wr_reclaim_due(bool sweep_idle)
{
    if (decay_ms() == 0) {
        return false;
    }
    if (!begin()) {
        return true;
    }
    uint64_t now = wr_host_milliseconds();
    sweep_time = now;
    bool swept = !sweep_idle || steal(is_idle);
    if (now >= next_period) {
        wr_purge_begin_period();
        next_period = now + decay_ms() / WR_DECAY_PERIODS;
    }
    look_if_due(now);
    decay_slices(now / step_ms());
    decay_kept(now / step_ms());
    bool left = is_anything_left(now) || !swept;
    end();
    return left;
}

void wr_reclaim_tick(void)
{
    uint64_t now = wr_host_milliseconds();
    uint64_t due = wr_load_relaxed(&next_tick);
    if (now >= due && wr_cas_strong_relaxed(&next_tick, &due, now + step_ms())) {
        (void)wr_reclaim_due(false);
    }
}

size_t wr_reclaim(wr_reclaim_level level, size_t keep_bytes)
{
    size_t before = wr_vm_given_back_bytes();
    if (level == WR_RECLAIM_DUE) {
        (void)wr_reclaim_due(true);
        return wr_vm_given_back_bytes() - before;
    }
    if (level == WR_RECLAIM_ALL) {
        if (wr_cache_is_real(wr_cache_self)) {
            wr_cache_drain(wr_cache_self);
        }
        (void)steal(is_any);
    }
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        wr_bin_census census;
        wr_bin_trim(&wr_heap_default.bins[class],
                    level == WR_RECLAIM_ALL ? WR_TRIM_ALL : WR_TRIM_SLABS, &census);
    }
    (void)wr_keep_release_all();
    (void)wr_purge_slices(keep_bytes / WR_SLICE_BYTES);
    if (level == WR_RECLAIM_ALL) {
        (void)wr_extent_trim(keep_bytes);
    }
    return wr_vm_given_back_bytes() - before;
}

void wr_reclaim_reset_after_fork(void)
{
    wr_store_relaxed(&reclaiming, 0); /* the child has one thread */
}
