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
static long process_id;           /* of the process that has the purger; before STARTING is left */
static pthread_t purger;          /* written before AWAKE */
static _Atomic uint64_t next_try; /* milliseconds; after a start that failed. Relaxed: a hint */

/* Inline, as the next: wr_purger_stop() runs them at the end of each process. */
WR_INLINE uint32_t load_state(void)
{
    /* Observes process_id and purger, where the state says that they are there; pairs with
     * change(). */
    return wr_load_acquire(&wr_purger_word);
}

WR_INLINE bool change(uint32_t from, wr_purger_state to)
{
    /* Linearisation point of each transition. Publishes process_id and purger; pairs with
     * load_state(). */
    return wr_cas_strong_acq_rel(&wr_purger_word, &from, (uint32_t)to);
}

/* ---- the thread ---- */

static bool goes_on(uint32_t state)
{
    return state == WR_PURGER_STARTING || state == WR_PURGER_AWAKE || state == WR_PURGER_PARKED;
}

/* One round; false when nothing is left that time alone would make due. */
static bool work(void)
{
    bool left = wr_reclaim_due(true);
    wr_limit_dismiss(); /* a purge may claim, and so charge, for a moment */
    return left;
}

/* Sleeps until somebody wakes it, or until a look back shows that it must not. */
static void park(void)
{
    if (!change(WR_PURGER_AWAKE, WR_PURGER_PARKED)) {
        return; /* it is to stop */
    }
    /* Where there is no such barrier a slow call may go unseen, until the next. */
    (void)wr_barrier_all();
    if (work()) {
        (void)change(WR_PURGER_PARKED, WR_PURGER_AWAKE);
    }
    while (load_state() == WR_PURGER_PARKED) {
        wr_futex_wait(&wr_purger_word, WR_PURGER_PARKED, WR_FUTEX_FOR_EVER);
    }
}

/* Threads that ended without parking their caches are no more; true if that were all that there
 * were: the process ends with the purger then. */
static bool is_alone(void)
{
    wr_park_orphans();
    return wr_park_living() == 0;
}

static void *purge(void *unused)
{
    wr_cache_self = &wr_cache_direct;
    for (uint32_t state; goes_on(state = load_state());) {
        if (work() || state != WR_PURGER_AWAKE) {
            wr_futex_wait(&wr_purger_word, state, wr_reclaim_period());
        } else if (!is_alone()) {
            park();
        } else if (change(WR_PURGER_AWAKE, WR_PURGER_NONE)) {
            (void)pthread_detach(purger);
        }
    }
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

static void start(uint32_t state)
{
    enum { AGAIN_MS = 1000 };
    uint64_t now = wr_host_milliseconds();
    if (now < wr_load_relaxed(&next_try) || !change(state, WR_PURGER_STARTING)) {
        return;
    }
    process_id = wr_host_process_id();
    wr_store_relaxed(&next_try, now + AGAIN_MS);
    bool started = wr_thread_start(purge, "weir purger", &purger);
    /* Where the process has begun to end meanwhile, the thread finds that out and ends. */
    if (!change(WR_PURGER_STARTING, started ? WR_PURGER_AWAKE : WR_PURGER_NONE) && started) {
        (void)pthread_detach(purger);
    }
}

void wr_purger_look(bool is_tick, bool may_start)
{
    uint32_t state = load_state();
    if (state == WR_PURGER_PARKED) {
        if (change(WR_PURGER_PARKED, WR_PURGER_AWAKE)) {
            wr_futex_wake(&wr_purger_word);
        }
        return;
    }
    if (state != WR_PURGER_NONE && state != WR_PURGER_WANTED) {
        return;
    }
    if (is_wanted()) {
        if (may_start) {
            start(state);
        } else {
            (void)change(WR_PURGER_NONE, WR_PURGER_WANTED);
        }
    }
    if (is_tick) {
        wr_reclaim_tick();
    }
}

bool wr_purger_is_there(void)
{
    uint32_t state = load_state();
    return state == WR_PURGER_AWAKE || state == WR_PURGER_PARKED;
}

/* True for the one that turns a purger that is there to its end. */
static bool begin_stop(bool for_good)
{
    for (;;) {
        uint32_t state = load_state();
        if (state == WR_PURGER_STOPPING || state == WR_PURGER_OFF) {
            return false;
        }
        if (state != WR_PURGER_AWAKE && state != WR_PURGER_PARKED) {
            if (!for_good || change(state, WR_PURGER_OFF)) {
                return false;
            }
            continue;
        }
        /* A child made without fork handlers has the word, but not the thread; and the purger
         * itself runs the program's end when it was the last thread. */
        if (process_id != wr_host_process_id() || pthread_equal(purger, pthread_self())) {
            return false;
        }
        if (change(state, WR_PURGER_STOPPING)) {
            return true;
        }
    }
}

WR_STARTUP void wr_purger_stop(bool for_good)
{
    if (begin_stop(for_good)) {
        wr_futex_wake(&wr_purger_word);
        wr_thread_join(purger);
        (void)change(WR_PURGER_STOPPING, for_good ? WR_PURGER_OFF : WR_PURGER_NONE);
    }
}

void wr_purger_reset_after_fork(void)
{
    wr_store_relaxed(&wr_purger_word, WR_PURGER_NONE); /* the child has one thread */
    wr_store_relaxed(&next_try, 0);
}
