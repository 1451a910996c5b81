/* Purging: page frames of free slices go back to the kernel, the slices stay in the page heap.
 *
 * Slices are claimed while they are purged, so that nobody can use them meanwhile; others find
 * other slices or grow the heap. No lock is held. Threads: any; several may purge at once.
 * Progress: lock-free, apart from the kernel's own time. Keeps errno. */
#ifndef WR_PAGE_PURGE_H
#define WR_PAGE_PURGE_H

#include "base/compiler.h"

/* Purges available slices that are dirty, highest regions and words first, until at most
 * keep_slices of them are left; with 0 lazy ones too. Returns how many slices were purged. */
size_t wr_purge_slices(size_t keep_slices);

/* What decay calls: the same for dirty slices alone, lazily where the option `lazy` says so. */
size_t wr_purge_decayed(size_t keep_slices);

/* True for a while after the kernel has taken nothing back: memory is locked, and another purge
 * would only cost time. */
bool wr_purge_is_refused(void);

/* True if there are dirty slices, and purging them has not failed over and over. */
bool wr_purge_has_work(void);

/* What a release of slices calls, with their number: purges an eighth of the cap of the option
 * dirty_max once the dirty slices exceed it, so that one call pays for many. A cap in percent is
 * measured by what was in use at most of late: in this period and the one before. */
void wr_purge_over_cap(size_t released_slices);

/* Begins a period: called WR_DECAY_PERIODS times in the decay time, or less often, by the thread
 * that does what is due. */
void wr_purge_begin_period(void);

#endif
