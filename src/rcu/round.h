/* A round of the reclaimer: it collects what was handed over and what has grown old in threads'
 * hands, waits one grace period for all of it, and frees it, sorted by address, so that what lies
 * in one slab goes back together. Then it answers the barriers asked for before it began. Only who
 * has the role (reclaimer.h) runs rounds.
 *
 * What was deferred before a barrier took its number is in a gather, in the queue or in a spare
 * place when the round that answers it looks (it takes every batch, and waits for an owner that is
 * in the middle of a push), or in an earlier round, which is over. */
#ifndef WR_RCU_ROUND_H
#define WR_RCU_ROUND_H

#include "rcu/flavor.h"

/* Objects that are sorted together: 512 KiB of pointers, in two arrays. */
#define WR_RCU_ORDER_OBJECTS ((size_t)32 << 10)

/* Runs one. Takes all that gathers if it was hurried or barriers ask for it, else what is old.
 * Blocking: for readers. */
void wr_rcu_round_run(wr_rcu_flavor *flavor);

/* True in a thread that is running a round: it must not wait for one. */
bool wr_rcu_round_is_mine(void);

/* In the child of a fork: all that is queued or held waits for the child's first round. `is_safe`:
 * the forking thread was in no read-side section, so no reader of it is left. */
void wr_rcu_round_recover(wr_rcu_flavor *flavor, bool is_safe);

#endif
