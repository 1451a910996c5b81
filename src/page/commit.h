/* Committed bytes: memory for objects that weir holds from the kernel and that may have page
 * frames, counted exactly, and the two limits on it. Metadata (regions, descriptors, caches) is not
 * in it.
 *
 * Each place charges before the memory may be touched and refunds after its frames are gone, so the
 * count is never less than what objects and free slices can have, and never above the hard limit.
 * Crossing the soft limit from below raises an alarm, which the crossing thread answers when its
 * call is done (heap/limit). This file knows nothing of slices, mappings, or what an answer is.
 *
 * | operation    | with any other   | progress                                              |
 * | charge       | may run together | lock-free: starts over only when the count has changed |
 * | refund       | may run together | wait-free, but for the alarm: lock-free               |
 * | alarm_*      | may run together | lock-free                                             |
 * The count is a sum of what was charged, whoever did: no ABA. */
#ifndef WR_PAGE_COMMIT_H
#define WR_PAGE_COMMIT_H

#include "base/atomic.h"
#include "base/compiler.h"

/* Where committed changes. B is a slice's bytes; a mapping's charge stands in its descriptor
 * (committed_bytes: the first so many bytes of it may have frames), also while it is kept.
 *
 *     slices (page/slice)
 *       claimed                + B for each that was zero; refused: the run stays in the heap
 *       released, may be dirty   0: dirty slices stay charged, and so do lazy ones
 *       released purged        - B for each
 *       new from the kernel      0: zero until claimed
 *       dropped from the end   - B for each
 *         of the data segment
 *       purge, malloc_trim       claims dirty ones (0), releases them purged (-); a purge that the
 *                                kernel refuses releases them dirty (0)
 *       span grows in place    + B for each slice behind it that was zero; shrinks: 0
 *       slab or span without a   as claimed and released: what was zero is refunded, else dirty
 *         descriptor
 *     granules of slabs (bin/granule)
 *       purged                 - its bytes
 *       brought back           + its bytes; refused: its blocks stay free
 *       slab out of use          the rest is purged: - its bytes; not purgeable: + the absent ones
 *     mappings (heap/mapping)
 *       made                   + bytes in use; the kernel refuses it or its descriptor: -
 *       grown in place, moved, + bytes in use above committed_bytes; refused: -
 *         or into the reserve
 *       shrunk in place        - committed_bytes behind its new end; the kernel keeps the tail: 0
 *       freed and kept           0
 *       taken from the kept    + bytes in use above committed_bytes
 *       calloc drops its frames - committed_bytes behind the bytes in use
 *       returned to the kernel - committed_bytes
 *       donated to the slices  - committed_bytes, as its slices are zero; not purgeable: 0
 *     child of a fork          = spans in use, dirty and lazy slices and kept mappings: what a dead
 * thread had in hand is lost to the child and not counted */

/* No limit. */
#define WR_COMMIT_UNLIMITED SIZE_MAX

/* Counts bytes more; false, and nothing changed, where that would exceed the hard limit. 0 bytes
 * are always granted. */
bool wr_commit_charge(size_t bytes);

/* Counts bytes more that cannot be refused: page frames that the kernel would not take back. */
void wr_commit_recharge(size_t bytes);

/* Counts bytes less, which were charged. */
void wr_commit_refund(size_t bytes);

/* True if a charge of bytes would be granted at this moment. */
bool wr_commit_has_room(size_t bytes);

/* Bytes charged now. */
size_t wr_commit_bytes(void);

/* The limits in bytes, or WR_COMMIT_UNLIMITED. A count above a new limit stays as it is. */
void wr_commit_set_limits(size_t soft, size_t hard);
size_t wr_commit_soft_limit(void);
size_t wr_commit_hard_limit(void);

/* After fork, in the child: the count made anew, and the alarm of a dead thread forgotten. */
void wr_commit_recover(size_t bytes);

/* The alarm of the soft limit, one word:
 *     63                                          2        1         0
 *     +-------------------------------------------+--------+---------+
 *     | mark of the thread that crossed (os/host) | FELL   | RUNNING |
 *     +-------------------------------------------+--------+---------+
 *     ARMED    0             the next charge to end above the limit raises it
 *     RAISED   mark          that thread is to answer it
 *     ANSWERED mark, RUNNING it does; with FELL: the count has fallen to the limit since
 *     RUNG     RUNNING alone answered, still above the limit
 *
 *     ARMED    -> RAISED    wr_commit_charge, above the limit
 *     RAISED   -> ANSWERED  wr_commit_alarm_take, by the thread of the mark
 *     ANSWERED -> FELL      wr_commit_refund, at the limit or below
 *     ANSWERED -> RUNG      wr_commit_alarm_finish, above the limit and not FELL, else -> ARMED
 *     RUNG     -> ARMED     wr_commit_refund, at the limit or below */
extern _Atomic uintptr_t wr_commit_alarm;
#define WR_ALARM_ARMED   ((uintptr_t)0)
#define WR_ALARM_RUNNING ((uintptr_t)1)
#define WR_ALARM_FELL    ((uintptr_t)2)
#define WR_ALARM_RUNG    WR_ALARM_RUNNING

/* True if some thread has an alarm to answer: the one look that calls pay for. */
WR_INLINE bool wr_commit_alarm_is_out(void)
{
    /* Relaxed: a thread looks for its own mark, which it wrote itself. */
    return wr_load_relaxed(&wr_commit_alarm) > WR_ALARM_RUNG;
}

/* True if the calling thread raised the alarm; it answers then, and calls wr_commit_alarm_finish.
 * Until that no alarm is raised. */
bool wr_commit_alarm_take(void);
void wr_commit_alarm_finish(void);

/* True if the count is above the soft limit. */
bool wr_commit_is_above_soft(void);

#endif
