/* How many blocks each bin of a cache may hold, and where its array lies.
 *
 * Every bin starts cold: a few places in the page of the cache's head, or none where blocks are
 * large. It grows with its slow calls, most of all with those that find it empty, and moves out of
 * that page when it is hot, as long as the hot bins of all caches hold less than the option
 * cache_max. It shrinks when it is not used. Knows nothing of slabs. Threads: the cache's owner in
 * a slow call, where not said otherwise. Invariant, at rest: the budget in use is the sum of
 * hot_bytes of all caches. */
#ifndef WR_CACHE_CAPACITY_H
#define WR_CACHE_CAPACITY_H

#include "cache/cache.h"

/* Most places that a bin of the class may have. */
unsigned wr_capacity_max(unsigned class);

/* Places that a bin has without being hot: none where blocks share cache lines, so that a new
 * thread gets a line of its own, whoever had the cache before. */
unsigned wr_capacity_cold(unsigned class);

/* Gives an empty bin its first array, in a cache that no other thread knows. */
void wr_capacity_open(wr_cache *cache, unsigned class);

/* Doubles a bin's capacity, if it was used enough for that and the budget has room; is_free: in a
 * free, which makes it no larger than WR_CACHE_FREES_BYTES and _BLOCKS. */
void wr_capacity_grow(wr_cache *cache, unsigned class, bool is_free);

/* Whether a bin that has held nothing would keep a block that is freed: one used that much by now.
 */
bool wr_capacity_takes_frees(const wr_cache *cache, unsigned class);

/* Half the capacity that the bin has now; what it had, where it would be less than a cold bin's. */
unsigned wr_capacity_half(const wr_cache *cache, unsigned class);

/* Gives a bin another capacity, at least its blocks; moves it when it turns hot or cold. */
void wr_capacity_set(wr_cache *cache, unsigned class, unsigned capacity);

/* All bins begin anew, but for those whose blocks need the room. */
void wr_capacity_cool_down(wr_cache *cache);

/* A thief, who has the cache, has emptied it: its capacities no longer count, and its owner is to
 * let it cool down. */
void wr_capacity_swept(wr_cache *cache);

/* After fork, in the child: an empty stack for a bin whose owner was rearranging it. */
void wr_capacity_recover(wr_cache *cache, unsigned class);

/* After fork, in the child, when all caches are settled: counts the budget in use anew. */
void wr_capacity_recount(void);

/* Bytes of blocks that hot bins of all threads may hold, beyond what cold ones may; a statistic. */
size_t wr_capacity_hot_bytes(void);

#endif
