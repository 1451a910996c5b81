/* Start-up of the process and of threads, and a thread's end.
 *
 * Nothing waits for start-up: the first thread does it, and others that come meanwhile use the bins
 * directly. Works before libc has run any constructor. */
#ifndef WR_API_INIT_H
#define WR_API_INIT_H

#include "base/compiler.h"

/* Gives the calling thread a cache: a parked one, a new one, or (where neither can be had) the one
 * that stands in for good. */
void wr_init_thread(void);

/* Sees that a fork is followed, before a thread that need not be the only one touches the heap:
 * what the child finds in the middle of a step, another thread left there. A program of one thread
 * is spared the handler, and with it a hundred KiB of libc's pages. Two threads at once may both
 * register it. */
void wr_init_follow_forks(void);

/* Registers what follows a fork; api/fork.c. Where it is done twice, that runs twice. False if libc
 * has no memory for that. */
bool wr_fork_register(void);

/* After fork, in the child: what a thread was setting up is begun anew. */
void wr_init_reset_after_fork(void);

#endif
