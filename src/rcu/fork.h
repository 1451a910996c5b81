/* fork: the gate is closed and the reclaimers are out of liburcu while the process is copied; the
 * child has all that was deferred, and no thread of the library's until it uses it. */
#ifndef WR_RCU_FORK_H
#define WR_RCU_FORK_H

/* Liburcu is waited for so long at most: a reader may be in its section for long, and with
 * liburcu-bp the program's own handlers may hold liburcu's locks by now, which the child then has
 * in order. */
#define WR_RCU_FORK_WAIT_MS 1000

/* Once a process: registers the handlers. Late, so that they run before those that the program has
 * registered before. */
void wr_rcu_fork_prepare_process(void);

#endif
