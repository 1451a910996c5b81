/* Parked caches: a thread that exits leaves its cache, warm, for the next new thread.
 *
 * One bit per cache: set = parked. Parking sets it, adopting clears it, and the thread whose
 * fetch-and cleared it has the cache. The lowest is adopted first, so that few stay in use.
 *
 * | operation | progress                                                      |
 * | park      | lock-free: it gives up the cache's slabs; the rest is bounded |
 * | adopt     | lock-free: tries again only when another thread adopted       |
 * A set bit means parked, whoever set it last, and caches are never unmapped: no ABA. (A stack of
 * nodes would need a tag against it, see docs/decisions/.) */
#ifndef WR_CACHE_PARK_H
#define WR_CACHE_PARK_H

#include "cache/cache.h"

/* The caller's cache becomes nobody's; it keeps no slab. */
void wr_park_push(wr_cache *cache);

/* A parked cache, now the caller's, or NULL if there is none. */
wr_cache *wr_park_adopt(void);

/* After fork, in the child: marks words that a dead thread had yet to mark. */
void wr_park_recover(void);

/* Parks the caches of threads that ended without parking them (such as began to use weir in the
 * last round of their destructors). For one thread at a time. */
void wr_park_orphans(void);

/* Caches that threads have; a statistic. */
unsigned wr_park_living(void);

/* True if the cache is parked, as one thread sees it at a moment. */
bool wr_park_has_racy(const wr_cache *cache);

#endif
