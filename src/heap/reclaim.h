/* Reclaiming: what goes back to the kernel, how far, and how soon.
 *
 * Memory that a program has freed waits in five places, each with its own way out:
 *     caches of threads      cache/steal.h    idle ones, by the purger
 *     slabs, in part free    bin/granule.h    whole free pages that stay so from look to look
 *     slabs, all free        bin/bin.h        the spare of each bin, likewise
 *     kept mappings          heap/keep.h      by the decay curve
 *     free slices            page/purge.h     by the decay curve
 * Time is driven by ticks: of the purger (heap/purger.h) where there is one, else of threads in
 * slow calls. One thread at a time does what is due; others do without. Nothing here is on the
 * fast path, waits, or holds a lock while the kernel works. Threads: any. Keeps errno. */
#ifndef WR_HEAP_RECLAIM_H
#define WR_HEAP_RECLAIM_H

#include "base/compiler.h"

typedef enum wr_reclaim_level {
    WR_RECLAIM_DUE,  /* what the decay time says is due */
    WR_RECLAIM_FREE, /* all free slices, kept mappings and slabs without a block in use */
    WR_RECLAIM_ALL,  /* also what caches of all threads hold, free pages inside slabs, and the end
                      * of the data segment */
} wr_reclaim_level;

/* Gives memory back to the kernel at once, as far as the level says, but for `keep_bytes` of free
 * slices; returns how many bytes that were. */
size_t wr_reclaim(wr_reclaim_level level, size_t keep_bytes);

/* What is due by time. With `sweep_idle` also the caches of threads that have been idle. False
 * when nothing is left that the next moments would make due. */
bool wr_reclaim_due(bool sweep_idle);

/* From slow calls of threads, now and then: what is due, if a step of time has passed. */
void wr_reclaim_tick(void);

/* False where the kernel does not let threads' caches be swept (os/barrier.h); the first to ask
 * finds out, if no sweep has. */
bool wr_reclaim_reaches_caches(void);

/* Milliseconds from one tick of the purger to the next. */
unsigned wr_reclaim_period(void);

/* After fork, in the child. */
void wr_reclaim_reset_after_fork(void);

#endif
