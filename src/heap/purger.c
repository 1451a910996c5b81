/* See purger.h. */
#include "heap/purger.h"

#include "base/config.h"
#include "base/options.h"
#include "cache/park.h"
#include "heap/limit.h"
#include "heap/reclaim.h"
#include "os/barrier.h"
#include "os/futex.h"
#include "os/host.h"
#include "os/thread.h"
#include "os/vm.h"

_Atomic uint32_t wr_purger_word;
static long process_id;           /* of the process that has the purger; written before AWAKE */
static _Atomic uint64_t next_try; /* milliseconds; after a start that failed. Relaxed: a hint */

static uint32_t load_state(void)
{
    /* Relaxed: the word itself is all there is to know. */
    return wr_load_relaxed(&wr_purger_word);
}

static bool change(wr_purger_state from, wr_purger_state to)
{
    uint32_t seen = from;
    /* Linearisation point of each transition. Publishes process_id; pairs with wr_purger_stop(). */
    return wr_cas_strong_acq_rel(&wr_purger_word, &seen, (uint32_t)to);
}

/* ---- the thread ---- */

/* Sleeps until somebody wakes it, or until a look back shows that it must not. */
static void park(void)
{
    if (!change(WR_PURGER_AWAKE, WR_PURGER_PARKED)) {
        return; /* it is to stop */
    }
    /* Where there is no such barrier a slow call may go unseen, until the next. */
    (void)wr_barrier_all();
    bool left = wr_reclaim_due(true);
    wr_limit_answer();
    if (left) {
        (void)change(WR_PURGER_PARKED, WR_PURGER_AWAKE);
    }
    while (load_state() == WR_PURGER_PARKED) {
        wr_futex_wait(&wr_purger_word, WR_PURGER_PARKED, WR_FUTEX_FOR_EVER);
    }
}

static void *purge(void *unused)
{
    wr_cache_self = &wr_cache_direct;
    (void)change(WR_PURGER_STARTING, WR_PURGER_AWAKE);
    while (load_state() != WR_PURGER_STOPPING) {
        bool left = wr_reclaim_due(true);
        wr_limit_answer(); /* a purge may claim, and so charge, for a moment */
        if (left) {
            wr_futex_wait(&wr_purger_word, WR_PURGER_AWAKE, wr_reclaim_period());
        } else {
            park();
        }
    }
    (void)change(WR_PURGER_STOPPING, WR_PURGER_NONE);
    wr_futex_wake(&wr_purger_word);
    return unused;
}

/* ---- start, wake, stop ---- */

static bool is_wanted(void)
{
    size_t background = wr_option_get(wr_option_background);
    return background != 0 && wr_option_get(wr_option_decay) != 0 &&
           (background == 1 || wr_park_living() >= 2) &&
           wr_vm_mapped_bytes() >= WR_PURGER_MIN_BYTES;
}

static void start(void)
{
    enum { AGAIN_MS = 1000 };
    uint64_t now = wr_host_milliseconds();
    if (now < wr_load_relaxed(&next_try) || !change(WR_PURGER_NONE, WR_PURGER_STARTING)) {
        return;
    }
    process_id = wr_host_process_id();
    wr_store_relaxed(&next_try, now + AGAIN_MS);
    if (!wr_thread_start(purge, "weir purger")) {
        (void)change(WR_PURGER_STARTING, WR_PURGER_NONE);
    }
}

void wr_purger_look(bool is_tick, bool may_start)
{
    if (load_state() == WR_PURGER_PARKED) {
        if (change(WR_PURGER_PARKED, WR_PURGER_AWAKE)) {
            wr_futex_wake(&wr_purger_word);
        }
        return;
    }
    if (is_tick) {
        if (may_start && is_wanted()) {
            start();
        }
        wr_reclaim_tick();
    }
}

bool wr_purger_is_there(void)
{
    uint32_t state = load_state();
    return state == WR_PURGER_AWAKE || state == WR_PURGER_PARKED;
}

void wr_purger_stop(bool wait)
{
    bool stopping =
        change(WR_PURGER_AWAKE, WR_PURGER_STOPPING) || change(WR_PURGER_PARKED, WR_PURGER_STOPPING);
    /* A child made without fork handlers has the word, but not the thread. */
    if (!stopping || process_id != wr_host_process_id()) {
        return;
    }
    wr_futex_wake(&wr_purger_word);
    while (wait && load_state() == WR_PURGER_STOPPING) {
        wr_futex_wait(&wr_purger_word, WR_PURGER_STOPPING, WR_FUTEX_FOR_EVER);
    }
}

void wr_purger_reset_after_fork(void)
{
    wr_store_relaxed(&wr_purger_word, WR_PURGER_NONE); /* the child has one thread */
    wr_store_relaxed(&next_try, 0);
}
