/* Thread caches: per size class a stack of pointers to free blocks, owned by one thread.
 *
 *     array of pointers   base            top             end
 *     |                   | oldest ... newest | room ...  |
 *
 * malloc pops while top > base, free pushes while top != end; all else is the slow path (api/slow).
 * Two static caches in which every bin is empty and full at once stand in where a thread has none,
 * and bin 0 (class 0: no plain block) is always so: hence the fast path has no other test.
 * Invariants of each bin: array <= base <= top <= end = array + capacity; blocks in a cache are
 * free to the program and taken in their slab, and carry no link words. Thread rule: all of a cache
 * is its owner's; entries, top and base are atomic (relaxed), since another thread may one day take
 * from the bottom. No operation waits. */
#ifndef WR_CACHE_CACHE_H
#define WR_CACHE_CACHE_H

#include "bin/bin.h"

typedef _Atomic(void *) wr_cache_entry;

typedef struct wr_cache_bin {
    _Atomic(wr_cache_entry *) top;  /* one past the newest pointer */
    _Atomic(wr_cache_entry *) base; /* the oldest pointer */
    wr_cache_entry *end;            /* one past the last place */
    wr_span *slab;                  /* slab that the thread owns and refills from, or NULL */
} wr_cache_bin;

typedef struct wr_cache {
    wr_cache_bin bins[WR_CLASS_COUNT];
    uint16_t
        capacity[WR_CLASS_COUNT];   /* places of each bin; above the cold count in the hot array */
    uint8_t heat[WR_CLASS_COUNT];   /* slow calls of each bin, saturating */
    uint8_t recent[WR_CLASS_COUNT]; /* 1 if it had a slow call since it was last visited */
    wr_bin *source;                 /* the heap's bins, by class; constant */
    uint32_t id;                    /* number among the caches; constant */
    uint32_t visit;                 /* bin to be looked at for shrinking next */
    /* Class whose stack is being rearranged, else 0: what the child of a fork must not trust. */
    _Atomic uint32_t changing;
    _Atomic size_t slow_calls;   /* statistic; written by the owner */
    _Atomic size_t served_bytes; /* bytes of blocks brought from bins; likewise */
    wr_cache_entry cold[];       /* first arrays of the classes up to WR_CACHE_COLD_BYTES */
} wr_cache;

_Static_assert(sizeof(wr_cache_bin) == 32, "a bin is found by a shift");

/* The calling thread's cache: the only thread-local word of the library. */
extern _Thread_local wr_cache *wr_cache_self;

/* The caches of threads that have none yet, and of threads that cannot or can no longer have one.
 */
extern wr_cache wr_cache_boot;
extern wr_cache wr_cache_direct;

WR_INLINE bool wr_cache_is_real(const wr_cache *cache)
{
    return cache != &wr_cache_boot && cache != &wr_cache_direct;
}

/* A new cache on bins (by class); NULL when the kernel refuses memory or there are too many. */
wr_cache *wr_cache_create(wr_bin *source);

/* A block of `class` for a bin that is empty; brings more with it. NULL when the kernel refuses. */
void *wr_cache_refill(wr_cache *cache, unsigned class);

/* Takes a block of `class` back into a bin that is full; returns the oldest blocks to their slabs.
 * `function` is named in reports. */
void wr_cache_overflow(wr_cache *cache, unsigned class, void *block, const char *function);

/* Gives up the slabs that the cache keeps; its blocks stay. */
void wr_cache_leave_slabs(wr_cache *cache);

/* Returns all blocks and gives up all slabs. */
void wr_cache_drain(wr_cache *cache);

/* After fork, in the child: makes the cache of a thread that did not survive fit for a new owner.
 * What it was rearranging is forgotten: at most one bin's blocks. */
void wr_cache_recover(wr_cache *cache);

/* All caches ever made: number 0 upwards; NULL at numbers being made. */
unsigned wr_cache_count(void);
wr_cache *wr_cache_at(unsigned number);

/* Most pointers that a bin of the class may hold. */
unsigned wr_cache_capacity_max(unsigned class);

/* Adds to a statistic of the owner's. */
WR_INLINE void wr_cache_count_up(_Atomic size_t *statistic, size_t n)
{
    /* Relaxed load and store: one writer; readers sum what they see. */
    wr_store_relaxed(statistic, wr_load_relaxed(statistic) + n);
}

/* Debug builds: the invariants above, for the owner. */
void wr_cache_assert_valid(const wr_cache *cache);

#endif
