/* See reclaimer.h. */
#include "rcu/reclaimer.h"

#include "rcu/futex.h"
#include "rcu/gather.h"
#include "rcu/round.h"
#include "rcu/thread.h"
#include "rcu/tsan.h"

#include "weir/weir.h"

#include <sched.h>

_Atomic size_t wr_rcu_limit_bytes = (size_t)64 << 20;

/* ---- when ---- */

static size_t limit(void)
{
    return wr_load_relaxed(&wr_rcu_limit_bytes); /* a setting */
}

static bool is_due(wr_rcu_flavor *flavor)
{
    size_t due_bytes = limit() / 16 < WR_RCU_DUE_BYTES ? limit() / 16 : WR_RCU_DUE_BYTES;
    /* seq_cst: against who rings and finds the reclaimer awake; pairs with pass_on() in gather.c,
     * wr_rcu_reclaimer_barrier() and wr_rcu_reclaimer_hurry(). */
    return wr_load_seq_cst(&flavor->pending_bytes) >= due_bytes ||
           wr_load_seq_cst(&flavor->pending_objects) >= WR_RCU_DUE_OBJECTS ||
           wr_load_seq_cst(&flavor->hurry) != 0 ||
           wr_load_seq_cst(&flavor->barrier_wanted) != wr_load_relaxed(&flavor->barrier_done);
}

static bool has_spare(wr_rcu_flavor *flavor)
{
    bool any = false;
    for (unsigned i = 0; i < WR_RCU_SPARE_PLACES; i++) {
        any = any ||
              wr_load_relaxed(&flavor->spare[i]) != NULL; /* a look; who notes one rings as well */
    }
    return any;
}

/* True while there is anything to wait for: then the reclaimer sleeps for a tick at most. */
static bool has_deferred(wr_rcu_flavor *flavor)
{
    /* As in is_due(); pairs with pass_on() in gather.c. */
    if (wr_load_seq_cst(&flavor->pending_objects) != 0 || has_spare(flavor)) {
        return true;
    }
    for (wr_rcu_gather *g = wr_rcu_gather_first(flavor); g != NULL; g = g->next) {
        if (!wr_rcu_gather_is_empty(g)) {
            return true;
        }
    }
    return false;
}

/* Sleeps until something may be due. */
static void sleep_reclaimer(wr_rcu_flavor *flavor)
{
    /* Pairs with ring(). */
    uint32_t bell = wr_load_acquire(&flavor->bell);
    bool tick = has_deferred(flavor);
    /* seq_cst: first the word, then another look; who defers does the reverse. Pairs with
     * wr_rcu_reclaimer_notice() and wr_rcu_reclaimer_look(). */
    wr_store_seq_cst(&flavor->sleep, tick ? WR_RCU_SLEEP_TICK : WR_RCU_SLEEP_FOR_GOOD);
    if (!is_due(flavor) && (tick || !has_deferred(flavor))) {
        wr_rcu_futex_wait(&flavor->bell, bell, tick ? WR_RCU_TICK_MS : WR_RCU_FOR_EVER);
    }
    wr_store_relaxed(&flavor->sleep, WR_RCU_AWAKE); /* who sees it late rings for nothing */
}

static void *reclaim(void *argument)
{
    wr_rcu_flavor *flavor = argument;
    for (;;) {
        wr_rcu_round_run(flavor);
        if (!is_due(flavor)) {
            sleep_reclaimer(flavor);
        }
    }
    return NULL;
}

/* ---- waking it ---- */

/* A caller without a reclaimer runs a round itself. */
static void run_as_caller(wr_rcu_flavor *flavor)
{
    uint32_t nobody = WR_RCU_ROLE_FREE;
    /* Linearisation point of who has the role. Observes what the last one left; pairs with the
     * store at the end of run_as_caller(). */
    if (wr_cas_strong_acq_rel(&flavor->role, &nobody, WR_RCU_ROLE_CALLER)) {
        wr_rcu_round_run(flavor);
        /* Publishes it; pairs with ensure_thread(). */
        wr_store_release(&flavor->role, WR_RCU_ROLE_FREE);
    }
}

/* Starts the thread if there is none; false if there is none after all. */
static bool ensure_thread(wr_rcu_flavor *flavor)
{
    uint32_t nobody = WR_RCU_ROLE_FREE;
    if (wr_load_relaxed(&flavor->role) == WR_RCU_ROLE_THREAD) {
        return true; /* a hint is enough: it is there for good */
    }
    /* As in run_as_caller(); pairs with the end of run_as_caller(). */
    if (!wr_cas_strong_acq_rel(&flavor->role, &nobody, WR_RCU_ROLE_THREAD)) {
        return nobody == WR_RCU_ROLE_THREAD;
    }
    wr_store_relaxed(&flavor->sleep, WR_RCU_AWAKE); /* the thread sets it from then on */
    if (wr_rcu_thread_start(reclaim, flavor, "weir-rcu")) {
        return true;
    }
    wr_store_relaxed(&flavor->sleep, WR_RCU_SLEEP_NO_THREAD);
    /* Pairs with run_as_caller(). */
    wr_store_release(&flavor->role, WR_RCU_ROLE_FREE);
    return false;
}

/* Wakes the reclaimer; false if there is none. */
static bool ring(wr_rcu_flavor *flavor)
{
    if (!ensure_thread(flavor)) {
        return false;
    }
    /* seq_cst: what is to be seen comes before; pairs with sleep_reclaimer(). */
    (void)wr_fetch_add_seq_cst(&flavor->bell, 1);
    if (wr_load_seq_cst(&flavor->sleep) != WR_RCU_AWAKE) {
        wr_rcu_futex_wake(&flavor->bell);
    }
    return true;
}

void wr_rcu_reclaimer_notice(wr_rcu_flavor *flavor)
{
    /* seq_cst: the batch was counted before; pairs with sleep_reclaimer(). */
    if (wr_load_seq_cst(&flavor->sleep) <= WR_RCU_SLEEP_FOR_GOOD) {
        (void)ring(flavor);
    }
}

void wr_rcu_reclaimer_look(wr_rcu_flavor *flavor)
{
    /* seq_cst: the batch was counted before; pairs with sleep_reclaimer(). */
    uint32_t sleep = wr_load_seq_cst(&flavor->sleep);
    if (sleep <= WR_RCU_SLEEP_FOR_GOOD || (sleep == WR_RCU_SLEEP_TICK && is_due(flavor))) {
        (void)ring(flavor);
    }
}

void wr_rcu_reclaimer_hurry(wr_rcu_flavor *flavor)
{
    /* Pairs with is_due() and wr_rcu_round_run(). */
    wr_store_seq_cst(&flavor->hurry, 1);
    (void)ring(flavor);
}

/* ---- waiting for it ---- */

/* Takes an online thread of qsbr offline; false inside a read-side section. */
static bool begin_waiting(const struct rcu_flavor_struct *of, bool *was_online)
{
    *was_online = of->read_ongoing() != 0;
    if (wr_rcu_round_is_mine()) {
        return false; /* called back from within a round: it cannot wait for itself */
    }
    if (*was_online) {
        of->thread_offline();
        if (of->read_ongoing() != 0) {
            of->thread_online();
            return false;
        }
    }
    return true;
}

static void end_waiting(const struct rcu_flavor_struct *of, bool was_online)
{
    if (was_online) {
        of->thread_online();
    }
}

/* Sleeps until a round ends after `rounds` of them, or the time is over; runs one where there is no
 * reclaimer. */
static void sleep_until_round(wr_rcu_flavor *flavor, uint32_t rounds, unsigned milliseconds)
{
    if (!ring(flavor)) {
        run_as_caller(flavor);
        (void)sched_yield(); /* another caller may have the role */
        return;
    }
    /* seq_cst: we say that we sleep, then the kernel looks at the word; pairs with
     * wr_rcu_round_run(). */
    (void)wr_fetch_add_seq_cst(&flavor->sleepers, 1);
    wr_rcu_futex_wait(&flavor->rounds, rounds, milliseconds);
    (void)wr_fetch_sub_seq_cst(&flavor->sleepers, 1);
}

bool wr_rcu_reclaimer_barrier(wr_rcu_flavor *flavor)
{
    const struct rcu_flavor_struct *of = wr_rcu_flavor_liburcu(flavor);
    bool was_online;
    if (!begin_waiting(of, &was_online)) {
        return false;
    }
    /* Publishes what was deferred before; pairs with wr_rcu_round_run() and is_due(). */
    uint32_t number = wr_fetch_add_seq_cst(&flavor->barrier_wanted, 1) + 1;
    for (;;) {
        /* Before the look that follows; pairs with wr_rcu_round_run(). */
        uint32_t rounds = wr_load_seq_cst(&flavor->rounds);
        /* Observes that all is free; pairs with wr_rcu_round_run(). */
        if ((int32_t)(wr_load_acquire(&flavor->barrier_done) - number) >= 0) {
            break;
        }
        sleep_until_round(flavor, rounds, WR_RCU_FOR_EVER);
    }
    end_waiting(of, was_online);
    return true;
}

bool wr_rcu_reclaimer_free_now(wr_rcu_flavor *flavor, void *p)
{
    const struct rcu_flavor_struct *of = wr_rcu_flavor_liburcu(flavor);
    wr_rcu_reclaimer_hurry(flavor);
    if (of->read_ongoing() != 0) {
        return false;
    }
    of->update_synchronize_rcu();
    WR_RCU_TSAN_ACQUIRE(of); /* as in wait_for_readers() */
    weir_free(p);
    return true;
}

/* True while weir has more committed than its soft limit asks for. */
static bool is_memory_short(void)
{
    size_t soft;
    size_t hard;
    weir_limit_get(&soft, &hard);
    return soft != 0 && weir_committed() > soft;
}

static bool is_over_limit(wr_rcu_flavor *flavor)
{
    return wr_load_relaxed(&flavor->pending_bytes) > limit(); /* a look */
}

void wr_rcu_reclaimer_keep_limit(wr_rcu_flavor *flavor)
{
    if (WR_UNLIKELY(is_memory_short())) {
        wr_rcu_reclaimer_hurry(flavor);
    }
    if (WR_LIKELY(!is_over_limit(flavor))) {
        return;
    }
    wr_rcu_reclaimer_hurry(flavor);
    uint64_t end_ms = wr_rcu_now_ms() + WR_RCU_LIMIT_WAIT_MS;
    bool may_wait = wr_rcu_flavor_liburcu(flavor)->read_ongoing() == 0 && !wr_rcu_round_is_mine();
    if (may_wait) {
        (void)wr_fetch_add_relaxed(&flavor->limit_waits, 1); /* a statistic */
    }
    while (is_over_limit(flavor)) {
        /* Before the look that follows; pairs with wr_rcu_round_run(). */
        uint32_t rounds = wr_load_seq_cst(&flavor->rounds);
        uint64_t now_ms = wr_rcu_now_ms();
        if (!may_wait || now_ms >= end_ms) {
            (void)wr_fetch_add_relaxed(&flavor->limit_exceeded, 1); /* a statistic */
            break;
        }
        if (is_over_limit(flavor)) {
            sleep_until_round(flavor, rounds, (unsigned)(end_ms - now_ms));
        }
    }
}

void wr_rcu_reclaimer_recover(wr_rcu_flavor *flavor)
{
    /* The child has one thread. */
    wr_store_relaxed(&flavor->role, WR_RCU_ROLE_FREE);
    wr_store_relaxed(&flavor->sleep, WR_RCU_SLEEP_NO_THREAD);
    wr_store_relaxed(&flavor->hurry, 0);
    wr_store_relaxed(&flavor->sleepers, 0);
}
