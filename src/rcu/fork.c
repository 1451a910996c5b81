/* See fork.h. */
#include "rcu/fork.h"

#include "rcu/flavor.h"
#include "rcu/futex.h"
#include "rcu/gate.h"
#include "rcu/gather.h"
#include "rcu/reclaimer.h"
#include "rcu/round.h"
#include "rcu/watch.h"

#include <pthread.h>
#include <sched.h>

/* Of the forking thread: whether it is in a read-side section, by flavour. Under the gate. */
static bool in_section[WR_RCU_FLAVORS_MAX];

static void wait_until_drained(_Atomic uint32_t *passing)
{
    while (!wr_rcu_gate_drained(passing)) {
        (void)sched_yield();
    }
}

static void drain(wr_rcu_flavor *flavor)
{
    wait_until_drained(&flavor->passing);
    for (wr_rcu_gather *g = wr_rcu_gather_first(flavor); g != NULL; g = g->next) {
        wait_until_drained(&g->passing);
    }
}

/* Until the reclaimer is out of liburcu; not from inside a section, whose end it waits for. */
static void wait_for_waiters(wr_rcu_flavor *flavor)
{
    uint64_t end_ms = wr_rcu_now_ms() + WR_RCU_FORK_WAIT_MS;
    in_section[flavor->number] = wr_load_relaxed(&flavor->of)->read_ongoing() != 0;
    /* seq_cst: the gate was closed before; pairs with wait_for_readers() in round.c. */
    while (!in_section[flavor->number] && wr_load_seq_cst(&flavor->waiting) != 0 &&
           wr_rcu_now_ms() < end_ms) {
        wr_rcu_futex_wait(&flavor->waiting, 1, 1); /* for its time: nobody wakes us */
    }
}

static void before_fork(void)
{
    wr_rcu_flavor *flavor;
    wr_rcu_flavor_lock();
    wr_rcu_gate_close();
    for (unsigned n = 0; (flavor = wr_rcu_flavor_at(n)) != NULL; n++) {
        drain(flavor);
        wait_for_waiters(flavor);
    }
}

static void after_fork_in_parent(void)
{
    wr_rcu_gate_open();
    wr_rcu_flavor_unlock();
}

static void after_fork_in_child(void)
{
    wr_rcu_flavor *flavor;
    for (unsigned n = 0; (flavor = wr_rcu_flavor_at(n)) != NULL; n++) {
        wr_store_relaxed(&flavor->passing, 0); /* the child has one thread */
    }
    wr_rcu_gate_open();
    for (unsigned n = 0; (flavor = wr_rcu_flavor_at(n)) != NULL; n++) {
        wr_rcu_gather_recover(flavor);
        wr_rcu_round_recover(flavor, !in_section[n]);
        wr_rcu_reclaimer_recover(flavor);
    }
    wr_rcu_watch_recover();
    wr_rcu_flavor_unlock();
}

void wr_rcu_fork_prepare_process(void)
{
    (void)pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child);
}
