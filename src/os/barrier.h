/* A memory barrier in every running thread of the process at once, made by the thread that asks.
 *
 * Lets a rare operation carry the cost of an order that a frequent one needs: the frequent side
 * makes do with a compiler fence (wr_fence_compiler) between its store and its load, the rare side
 * stores, calls wr_barrier_all and loads. Then of two such threads at least one sees the other's
 * store. And what a thread does after the barrier sees all that was stored before it.
 * Source: membarrier(2), MEMBARRIER_CMD_PRIVATE_EXPEDITED. Threads: any. Keeps errno. */
#ifndef WR_OS_BARRIER_H
#define WR_OS_BARRIER_H

#include "base/compiler.h"

/* False where the kernel has no such barrier, or none for this process: then nothing is ordered. */
bool wr_barrier_all(void);

#endif
