/* See steal.h. */
#include "cache/steal.h"

#include "bin/return.h"
#include "cache/capacity.h"
#include "os/barrier.h"

static _Atomic uint32_t stealing; /* 1 while a thread is at it */

/* ---- hold ---- */

static void let_go(wr_cache *cache)
{
    /* Publishes what we left; pairs with enter() in cache/cache.c. */
    wr_store_release(&cache->thief, 0);
}

static bool is_held(wr_cache *cache)
{
    return cache != NULL && wr_load_relaxed(&cache->thief) != 0; /* our own store */
}

/* Marks the caches that are wanted; true if there are any. */
static bool mark(wr_steal_choice *choose, unsigned count)
{
    bool any = false;
    for (unsigned i = 0; i < count; i++) {
        wr_cache *cache = wr_cache_at(i);
        if (cache != NULL && choose(cache)) {
            wr_store_relaxed(&cache->thief, 1); /* ordered by the barrier that follows */
            any = true;
        }
    }
    return any;
}

/* After the barrier: ours, unless its owner was in a slow call. */
static bool hold(wr_cache *cache)
{
    /* Observes the owner's last slow call; pairs with leave() and enter() in cache/cache.c. */
    if (wr_load_acquire(&cache->busy) != 0) {
        let_go(cache);
        return false;
    }
    return true;
}

/* ---- raise, take ---- */

static void raise_bases(wr_cache *cache)
{
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        /* Relaxed: any height that top has had will do; the barrier that follows orders the store.
         */
        wr_cache_entry *top = wr_load_relaxed(&cache->top[class]);
        if (top > wr_load_relaxed(&cache->base[class])) {
            wr_store_relaxed(&cache->base[class], top);
        }
    }
}

/* Takes what lies below the raised base and below the place that a call in flight may touch; where
 * the barrier between has failed, nothing. */
static void take_from_bin(wr_cache *cache, unsigned class, bool ordered)
{
    wr_cache_entry *raised = wr_load_relaxed(&cache->base[class]); /* our own store */
    /* Observes the entries and what was done in their blocks; pairs with wr_stack_set_top(),
     * wr_fast_push() and wr_fast_pop(). */
    wr_cache_entry *top = wr_load_acquire(&cache->top[class]);
    wr_cache_entry *entry = wr_cache_array(cache, class);
    while (entry < raised && wr_load_relaxed(entry) == NULL) {
        entry++; /* taken at an earlier time; here base was before it was raised */
    }
    void *blocks[WR_BATCH_BLOCKS];
    unsigned count = 0;
    for (; ordered && entry < raised && entry + 1 < top; entry++) {
        blocks[count++] = wr_load_relaxed(entry);
        wr_store_relaxed(entry, NULL);
        if (count == WR_BATCH_BLOCKS) {
            wr_return(count, blocks, "purge");
            count = 0;
        }
    }
    wr_return(count, blocks, "purge");
    wr_store_relaxed(&cache->base[class], entry); /* published by let_go() */
    if (ordered) {
        /* What the thread frees from here on makes a slow call, which opens the bin again: else
         * a sleeper's last blocks would go unseen. A push in flight has its place. */
        wr_store_relaxed(&cache->end[class], wr_cache_array(cache, class));
    }
}

static void take_all(wr_cache *cache, bool ordered)
{
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        take_from_bin(cache, class, ordered);
        wr_cache_leave_slab(cache, class);
    }
    wr_capacity_swept(cache);
}

wr_steal_result wr_steal(wr_steal_choice *choose)
{
    uint32_t nobody = 0;
    /* Linearisation point of who steals. Observes what the last one left in the caches; pairs with
     * the store at the end of wr_steal(). */
    if (wr_load_relaxed(&stealing) != 0 || !wr_cas_strong_acq_rel(&stealing, &nobody, 1)) {
        return WR_STEAL_BUSY;
    }
    wr_steal_result result = WR_STEAL_NONE;
    unsigned count = wr_cache_count();
    if (mark(choose, count)) {
        bool ordered = wr_barrier_all();
        for (unsigned i = 0; i < count; i++) {
            wr_cache *cache = wr_cache_at(i);
            if (is_held(cache) && !ordered) {
                let_go(cache);
            } else if (is_held(cache) && hold(cache)) {
                raise_bases(cache);
            }
        }
        ordered = ordered && wr_barrier_all();
        for (unsigned i = 0; i < count; i++) {
            wr_cache *cache = wr_cache_at(i);
            if (is_held(cache)) {
                take_all(cache, ordered);
                let_go(cache);
            }
        }
        result = ordered ? WR_STEAL_DONE : WR_STEAL_NEVER;
    }
    /* Publishes what we left; pairs with the exchange at the start of wr_steal(). */
    wr_store_release(&stealing, 0);
    return result;
}

void wr_steal_reset_after_fork(void)
{
    wr_store_relaxed(&stealing, 0); /* the child has one thread */
}
