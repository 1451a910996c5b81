/* A lock for the few places that may block: growth from the kernel, and nothing else so far.
 *
 * Ranks order the locks: a thread takes a lock only while it holds none of equal or higher rank
 * (checked in debug builds). There are no fork handlers that take locks: what a lock protects is
 * consistent at each step of its holder, so the child of a fork just resets the locks.
 *
 * | operation | progress                                                   |
 * | lock      | blocking: waits in the kernel (futex(2)) for the holder    |
 * | unlock    | wait-free; wakes one waiter if there may be one            |
 * | reset     | wait-free; only while no other thread exists               | */
#ifndef WR_OS_LOCK_H
#define WR_OS_LOCK_H

#include "base/atomic.h"
#include "base/compiler.h"

typedef enum wr_lock_rank {
    WR_RANK_NONE = 0,
    WR_RANK_GROWTH = 1, /* page/extent: one thread at a time asks the kernel for an extent */
} wr_lock_rank;

typedef struct wr_lock {
    _Atomic uint32_t state; /* 0 free, 1 held, 2 held and somebody may wait */
    wr_lock_rank rank;      /* constant */
} wr_lock;

#define WR_LOCK_INITIALIZER(rank)                                                                  \
    {                                                                                              \
        0, (rank)                                                                                  \
    }

/* Blocks until the lock is the caller's. Keeps errno. */
void wr_lock_acquire(wr_lock *lock);
void wr_lock_release(wr_lock *lock);
/* After fork, in the child: free again, whoever held it. */
void wr_lock_reset(wr_lock *lock);

#endif
