/* Granules: the parts of a slab that can give their page frames back while others are in use.
 *
 * A slab has at most 32 granules of equal size, a power of two and at least a page. Nothing of
 * weir's lies inside a slab, so a granule without a block in use can be purged as it is: its blocks
 * stay free in the slab, and a refill takes them last. What is absent is not charged (page/commit).
 * Two masks of the descriptor, the owner's: absent (purged, not used since) and stale (free at the
 * last look, not used since). A granule is purged when it is free and stale at a look, so it has
 * been free for at least the time between two looks. All functions are for the owner of the slab;
 * puts of other threads may run at the same time, and can only make blocks free that were not.
 * Progress: wait-free but for the kernel's time. */
#ifndef WR_BIN_GRANULE_H
#define WR_BIN_GRANULE_H

#include "page/span.h"

/* Bytes of a granule of a slab of so many bytes, as a power of two. */
unsigned wr_granule_shift(size_t slab_bytes);

/* The granules that are absent. Relaxed: the owner's own, or a statistic. */
WR_INLINE uint32_t wr_granule_absent(const wr_span *slab)
{
    return wr_load_relaxed(&slab->absent);
}

WR_INLINE void wr_granule_set_absent(wr_span *slab, uint32_t mask)
{
    wr_store_relaxed(&slab->absent, mask); /* one writer */
}

/* The granules that a block of the slab lies in. */
WR_INLINE uint32_t wr_granule_mask(const wr_span *slab, unsigned shift, uint32_t offset)
{
    unsigned first = offset >> shift;
    unsigned last = (offset + slab->block_bytes - 1) >> shift;
    return (uint32_t)wr_mask(first, last - first + 1);
}

/* Blocks at these granules, none absent, are in use again. */
WR_INLINE void wr_granule_touch(wr_span *slab, uint32_t mask)
{
    slab->stale &= ~mask;
}

/* Lets blocks of the lowest absent granule be used again, which charges it (page/commit); false
 * when that is refused. */
bool wr_granule_bring_back(wr_span *slab);

/* Purges the granules that are free and stale, or with `at_once` all that are free, and marks the
 * others that are free as stale. Returns the bytes given back. */
size_t wr_granule_purge(wr_span *slab, bool at_once);

/* True if all of the slab was free at the last look already. For a slab all whose blocks are free.
 */
bool wr_granule_all_stale(const wr_span *slab);

/* Gives the slices of a slab back that goes out of use, and is closed: with absent granules the
 * rest is purged too. */
void wr_granule_release(wr_span *slab, size_t slices);

/* After fork, in the child: counts anew what is absent; how many bytes that is. */
size_t wr_granule_recover(void);

/* Bytes of slabs in use whose page frames are given back; a statistic. */
size_t wr_granule_absent_bytes(void);

#endif
