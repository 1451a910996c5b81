/* Stealing: taking free blocks and slabs out of the caches of living threads, idle or not, without
 * a cost to them.
 *
 * The owner's fast path works at the top of a stack and asks nobody; a thief takes from the bottom,
 * below what a call in flight may touch, once a barrier in all threads has shown them where that
 * is. Where the kernel has no such barrier nothing is taken. One thread at a time steals: another
 * finds the flag taken and does without.
 *
 * | operation | progress                                                                      |
 * | steal     | wait-free but for the kernel's time; the owners never wait, and lose at most  |
 * |           | the use of their caches while it is at it                                     | */
#ifndef WR_CACHE_STEAL_H
#define WR_CACHE_STEAL_H

#include "cache/cache.h"

/* The steps of a thief:
 *     hold     thief = 1 in each cache that is wanted; a barrier in all threads; a cache that is
 *              busy then is let go. Of the others only fast paths run from here on: a slow call
 *              looks at thief and goes past its cache.
 *     raise    base = top, as read once: the height above which the thief leaves things alone.
 *     barrier  in all threads, one for all caches. A call that starts after it sees the new base,
 *              so it pops nothing below. The one call that a thread may have in flight across it
 *              has looked at the old base, and touches one place: at the height of top before it.
 *     take     top read again, T: entries below both the raised base and T - 1 are the thief's.
 *              They become NULL, their blocks go back to their slabs, the slab goes up for others;
 *              base is set just above what was taken; thief = 0.
 *
 * Why T - 1: the call in flight is a pop of entry T - 1 that has yet to store top, or a push of
 * entry T. Of a pop that has stored top and has yet to read its entry, T is one less, and the entry
 * is at T. So one block a bin stays with an idle thread; who sleeps in the middle of a call (a
 * signal handler may, on top of one) cannot be told from who sleeps. */

/* What is to be done with a cache; called once for each, by one thread at a time. */
typedef bool wr_steal_choice(wr_cache *cache);

typedef enum wr_steal_result {
    WR_STEAL_DONE,
    WR_STEAL_NONE,  /* no cache was chosen */
    WR_STEAL_BUSY,  /* another thread is at it */
    WR_STEAL_NEVER, /* the kernel has no barrier for it */
} wr_steal_result;

/* Empties the caches that `choose` says yes to, but for what their owners may have in hand. Blocks
 * and slabs go back to their bins. */
wr_steal_result wr_steal(wr_steal_choice *choose);

/* After fork, in the child: nobody steals. */
void wr_steal_reset_after_fork(void);

#endif
