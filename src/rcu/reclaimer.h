/* The reclaimer: one thread a flavour, started when there is something to wait for. It runs rounds
 * (round.h), and sleeps in between: a tick while anything is deferred, else for good. Rounds are
 * run by who has the role: the thread, or a caller where none can be started.
 *
 * | operation    | progress                                                              |
 * | look, notice | wait-free, but the start of the thread                                |
 * | barrier      | blocking: for a grace period, and for owners in the middle of a push   |
 * | limit        | blocking, up to WR_RCU_LIMIT_WAIT_MS; never inside a read-side section | */
#ifndef WR_RCU_RECLAIMER_H
#define WR_RCU_RECLAIMER_H

#include "rcu/flavor.h"

/* The reclaimer looks so often at what gathers: objects wait up to twice as long, and a grace
 * period. */
#define WR_RCU_TICK_MS 10

/* A round begins without a tick when so much is handed over: 1/16 of the limit up to these. */
#define WR_RCU_DUE_BYTES   ((size_t)4 << 20)
#define WR_RCU_DUE_OBJECTS ((size_t)32 << 10)

/* Over the limit a caller waits so long at most: a reader may wait for something that it holds. */
#define WR_RCU_LIMIT_WAIT_MS 1000

/* wr_rcu_flavor.role */
enum wr_rcu_role {
    WR_RCU_ROLE_FREE,   /* nobody runs rounds */
    WR_RCU_ROLE_THREAD, /* the reclaimer's thread does, for good */
    WR_RCU_ROLE_CALLER, /* a caller runs one */
};

/* wr_rcu_flavor.sleep */
enum wr_rcu_sleep {
    WR_RCU_SLEEP_NO_THREAD, /* there is none */
    WR_RCU_SLEEP_FOR_GOOD,  /* until the bell: nothing is deferred */
    WR_RCU_SLEEP_TICK,      /* until the bell or the tick */
    WR_RCU_AWAKE,
};

/* A batch was handed over: wakes the reclaimer if it is time. */
void wr_rcu_reclaimer_look(wr_rcu_flavor *flavor);

/* A batch has begun: wakes the reclaimer if it sleeps for good. */
void wr_rcu_reclaimer_notice(wr_rcu_flavor *flavor);

/* Asks for a round now, of all that is deferred. */
void wr_rcu_reclaimer_hurry(wr_rcu_flavor *flavor);

/* After a batch was handed over: above the limit, waits until there is less. */
void wr_rcu_reclaimer_keep_limit(wr_rcu_flavor *flavor);

/* Frees p itself, where there is no memory to note it: waits for a grace period. False inside a
 * read-side section; nothing has happened then. */
bool wr_rcu_reclaimer_free_now(wr_rcu_flavor *flavor, void *p);

/* As weir_rcu_barrier_flavor; false inside a read-side section. */
bool wr_rcu_reclaimer_barrier(wr_rcu_flavor *flavor);

#define WR_RCU_LIMIT_BYTES_MIN ((size_t)64 << 10)
extern _Atomic size_t wr_rcu_limit_bytes;

/* In the child of a fork: there is no reclaimer yet. */
void wr_rcu_reclaimer_recover(wr_rcu_flavor *flavor);

#endif
