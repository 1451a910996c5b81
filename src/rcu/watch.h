/* The watch: a thread that says so, once and on one line, when a grace period takes too long: a
 * reader has not left its section. It sleeps while no grace period is waited for.
 *
 * | operation  | progress                              |
 * | begin, end | wait-free, but the start of the thread | */
#ifndef WR_RCU_WATCH_H
#define WR_RCU_WATCH_H

#include "rcu/flavor.h"

#define WR_RCU_STALL_MS 10000

extern _Atomic uint32_t wr_rcu_stall_ms; /* 0: never */

/* Around each wait for a grace period, for who has the role. */
void wr_rcu_watch_begin(wr_rcu_flavor *flavor);
void wr_rcu_watch_end(wr_rcu_flavor *flavor);

/* A new time until a stall: the thread looks at once. */
void wr_rcu_watch_set(unsigned milliseconds);

/* In the child of a fork: there is no thread. */
void wr_rcu_watch_recover(void);

#endif
