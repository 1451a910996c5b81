/* See watch.h. */
#include "rcu/watch.h"

#include "rcu/futex.h"
#include "rcu/thread.h"

#include <errno.h>
#include <stdio.h>
#include <unistd.h>

_Atomic uint32_t wr_rcu_stall_ms = WR_RCU_STALL_MS;

static _Atomic uint32_t started; /* 1 once there is a thread, or one is being started */
static _Atomic uint32_t asleep;  /* 1 while it sleeps for good */
static _Atomic uint32_t bell;    /* changes when it is to look */

static void report(wr_rcu_flavor *flavor, uint64_t waited_ms)
{
    char line[200];
    int length = snprintf(
        line, sizeof line,
        "weir-rcu: no grace period for %llu.%llu s: a reader has not left its read-side "
        "section; %zu objects, %zu bytes wait\n",
        (unsigned long long)(waited_ms / 1000), (unsigned long long)(waited_ms / 100 % 10),
        wr_load_relaxed(&flavor->pending_objects), wr_load_relaxed(&flavor->pending_bytes));
    /* Nothing to be done where stderr is closed. */
    if (write(STDERR_FILENO, line, (size_t)length) < 0) {
        errno = 0;
    }
}

/* Reports what has stalled; the milliseconds until it has to look again, or 0: nothing is waited
 * for. `reported` is when the grace period began that each flavour was last reported for. */
static unsigned look(uint64_t *reported)
{
    uint32_t stall_ms = wr_load_relaxed(&wr_rcu_stall_ms); /* a setting */
    unsigned next_ms = 0;
    wr_rcu_flavor *flavor;
    for (unsigned n = 0; (flavor = wr_rcu_flavor_at(n)) != NULL; n++) {
        /* seq_cst: as in watch(); pairs with wr_rcu_watch_begin(). */
        uint64_t since = wr_load_seq_cst(&flavor->waiting_since_ms);
        if (since == 0 || stall_ms == 0) {
            continue;
        }
        uint64_t waited_ms = wr_rcu_now_ms() - since;
        unsigned left_ms = stall_ms;
        if (waited_ms < stall_ms) {
            left_ms = (unsigned)(stall_ms - waited_ms);
        } else if (reported[n] != since) {
            reported[n] = since;
            (void)wr_fetch_add_relaxed(&flavor->stalls, 1); /* a statistic */
            report(flavor, waited_ms);
        }
        next_ms = next_ms == 0 || left_ms < next_ms ? left_ms : next_ms;
    }
    return next_ms;
}

static void *watch(void *unused)
{
    (void)unused;
    uint64_t reported[WR_RCU_FLAVORS_MAX] = {0};
    for (;;) {
        uint32_t seen = wr_load_acquire(&bell); /* pairs with wr_rcu_watch_begin() */
        unsigned next_ms = look(reported);
        if (next_ms == 0) {
            /* seq_cst: first the word, then another look; pairs with wr_rcu_watch_begin(). */
            wr_store_seq_cst(&asleep, 1);
            next_ms = look(reported);
        }
        wr_rcu_futex_wait(&bell, seen, next_ms == 0 ? WR_RCU_FOR_EVER : next_ms);
        wr_store_relaxed(&asleep, 0); /* who sees it late rings for nothing */
    }
    return NULL;
}

static void ring(void)
{
    /* Pairs with watch(). */
    (void)wr_fetch_add_seq_cst(&bell, 1);
    wr_rcu_futex_wake(&bell);
}

void wr_rcu_watch_begin(wr_rcu_flavor *flavor)
{
    /* seq_cst: first the time, then a look at the watch's sleep; pairs with look() and watch(). */
    wr_store_seq_cst(&flavor->waiting_since_ms, wr_rcu_now_ms());
    uint32_t none = 0;
    if (WR_UNLIKELY(wr_load_relaxed(&started) == 0) &&
        wr_cas_strong_relaxed(&started, &none, 1) && /* one starts it */
        !wr_rcu_thread_start(watch, NULL, "weir-rcu-watch")) {
        wr_store_relaxed(&started, 0); /* another time */
    }
    if (wr_load_seq_cst(&asleep) != 0) {
        ring();
    }
}

void wr_rcu_watch_end(wr_rcu_flavor *flavor)
{
    wr_store_relaxed(&flavor->waiting_since_ms, 0); /* seen late, it is a line too early by that */
}

void wr_rcu_watch_set(unsigned milliseconds)
{
    wr_store_relaxed(&wr_rcu_stall_ms, milliseconds); /* a setting */
    ring();
}

void wr_rcu_watch_recover(void)
{
    wr_store_relaxed(&started, 0); /* the child has one thread */
    wr_store_relaxed(&asleep, 0);
}
