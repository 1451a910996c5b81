/* A lock for the few places that may block: growth from the kernel, and nothing else so far.
 *
 * Ranks order the locks: a thread takes a lock only while it holds none of equal or higher rank
 * (checked in debug builds). There are no fork handlers that take locks: what a lock protects is
 * consistent at each step of its holder. The word names the process of the holder, so the child of
 * a fork takes over what a thread of its parent held, even before its own fork handlers have run.
 *
 * | operation | progress                                                   |
 * | acquire   | blocking: waits in the kernel (futex(2)) for the holder    |
 * | release   | wait-free; wakes one waiter if there may be one            |
 * | reset     | wait-free; only while no other thread exists               | */
#ifndef WR_OS_LOCK_H
#define WR_OS_LOCK_H

#include "base/atomic.h"
#include "base/compiler.h"

typedef enum wr_lock_rank {
    WR_RANK_NONE = 0,
    WR_RANK_GROWTH = 1, /* page/extent: one thread at a time asks the kernel for an extent */
} wr_lock_rank;

/* The state word; 0 is free.
 *     31                                    1        0
 *     +--------------------------------------+--------+
 *     | process id of the holder             | WAITED |
 *     +--------------------------------------+--------+ */
#define WR_LOCK_WAITED 1u /* somebody may wait */

typedef struct wr_lock {
    _Atomic uint32_t state;
    wr_lock_rank rank; /* constant */
} wr_lock;

#define WR_LOCK_INITIALIZER(rank)                                                                  \
    {                                                                                              \
        0, (rank)                                                                                  \
    }

/* Blocks until the lock is the caller's. Keeps errno. */
void wr_lock_acquire(wr_lock *lock);
void wr_lock_release(wr_lock *lock);
/* After fork, in the child: free again, whoever held it. For the child that has its parent's
 * process id, in a namespace of its own. */
void wr_lock_reset(wr_lock *lock);

#endif
