/* Thread caches: per size class a stack of pointers to free blocks, owned by one thread.
 *
 *     array   base              top           array + capacity
 *     | NULL  | oldest ... newest | room ...  |
 *
 * malloc pops while top > base, free pushes while top < end; all else is the slow path (api/slow).
 * Two static caches in which every bin is empty and full at once stand in where a thread has none,
 * and bin 0 (class 0: no plain block) is always so: hence the fast path has no other test.
 * end is array + capacity, or array where the bin is closed: then blocks leave it, and frees go
 * straight to their slabs. In a bin that another owner left it is as high as that one had filled
 * it. Blocks in a cache are free to the program and taken in their slab, and carry no link words.
 *
 * | operation          | progress                                                           |
 * | refill, take batch | as bin/bin.h; never waits for a thief                              |
 * | overflow, drain    | likewise                                                           | */
#ifndef WR_CACHE_CACHE_H
#define WR_CACHE_CACHE_H

#include "bin/bin.h"

/* Who may touch what: the fast path is the owner's alone and touches top and the entries from base
 * on. All else (base, end, capacity, slab, the other fields) is touched by the owner inside a slow
 * call, and by a thief (cache/steal.h), never by both: each says so first and looks second,
 *     owner: busy = 1; look at thief; ... ; busy = 0      thief: thief = 1; barrier; look at busy
 * and the owner goes past its cache while a thief has it, a thief lets go of a cache that is busy.
 * The owner's side has no fence of the processor's: the thief's barrier makes one in every thread.
 *
 * Invariants of each bin at rest: array <= base <= top <= array + capacity; entries below base are
 * NULL, or being taken by a thief. How much a bin may hold is the matter of cache/capacity.h. */
typedef _Atomic(void *) wr_cache_entry;

typedef struct wr_cache {
    /* The bins: field by field, by class, so that a class mark (size/size_class.h) leads to the
     * words of one. */
    _Atomic(wr_cache_entry *) top[WR_CLASS_COUNT];  /* one past the newest pointer */
    _Atomic(wr_cache_entry *) base[WR_CLASS_COUNT]; /* the oldest pointer */
    _Atomic(wr_cache_entry *)
        end[WR_CLASS_COUNT];       /* one past the last place, or the first: closed */
    wr_span *slab[WR_CLASS_COUNT]; /* slab that the thread owns and refills from, or NULL */
    uint16_t
        capacity[WR_CLASS_COUNT];   /* places of each bin; above the cold count in the hot array */
    uint16_t array[WR_CLASS_COUNT]; /* where the bin's array begins, in entries from the cache on */
    uint8_t heat[WR_CLASS_COUNT];   /* slow calls of each bin, saturating */
    /* Bits by class: bins that had a slow call since they were last visited; those that may keep a
     * slab, have heat, or hold more than cold ones. */
    uint64_t recent;
    uint64_t warm;
    /* Likewise: bins as the last owner left them, of which the present one has not run out; see
     * wr_cache_overflow(). */
    uint64_t inherited;
    wr_bin *source;         /* the heap's bins, by class; constant */
    uint32_t id;            /* number among the caches; constant */
    uint32_t visit;         /* bin to be looked at for shrinking next */
    _Atomic int owner;      /* the thread's number while one has it; 0: unknown, or none */
    _Atomic uint32_t busy;  /* 1 while the owner is in a slow call */
    _Atomic uint32_t thief; /* 1 while a thief has, or wants, what is in it */
    bool swept;             /* a thief emptied it: the owner lets it cool down */
    size_t hot_bytes;       /* its part of the budget of hot bins */
    /* Of who steals: slow calls at its last look, when they had last become more, and whether the
     * cache has been swept since. */
    size_t seen_calls;
    uint64_t seen_ms;
    bool idle;
    /* Class whose stack is being rearranged, else 0: what the child of a fork must not trust. */
    _Atomic uint32_t changing;
    _Atomic size_t slow_calls;   /* statistic; written by the owner */
    _Atomic size_t served_bytes; /* bytes of blocks brought from bins; likewise */
    wr_cache_entry cold[];       /* first arrays of the classes up to WR_CACHE_COLD_BYTES */
} wr_cache;

_Static_assert(sizeof(((wr_cache *)0)->top[0]) == WR_CLASS_MARK_UNIT, "a mark leads to a word");
_Static_assert(WR_CLASS_COUNT <= WR_WORD_BITS, "a bit for each class");

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

/* A block of `class` for a bin that is empty; brings more with it. NULL when the kernel refuses.
 * Every WR_CACHE_CALLS_PER_TICKth slow call the caller has something to look after:
 * wr_cache_is_tick(). */
void *wr_cache_refill(wr_cache *cache, unsigned class);

/* Takes a block of `class` back into a bin that is full; returns the oldest blocks to their slabs.
 * `function` is named in reports. */
void wr_cache_overflow(wr_cache *cache, unsigned class, void *block, const char *function);

/* Up to `most` (1 to WR_BATCH_BLOCKS) blocks from the bin, past the cache; how many. */
unsigned wr_cache_take_batch(wr_cache *cache, unsigned class, unsigned most, void **out);

/* Gives up the slab that a bin keeps, if it keeps one; for the owner in a slow call, and a thief.
 */
void wr_cache_leave_slab(wr_cache *cache, unsigned class);

/* Gives up the slabs that the cache keeps; its blocks stay. While a thief is at it, that does. */
void wr_cache_leave_slabs(wr_cache *cache);

/* Returns all blocks and gives up all slabs; likewise. */
void wr_cache_drain(wr_cache *cache);

/* The end of an owner: the cache gives up its slabs and keeps its blocks for the next one, until a
 * thief comes; where none will (option background), it is drained. */
void wr_cache_rest(wr_cache *cache);

/* After fork, in the child: what a thief had begun is undone; the blocks that it had in hand are
 * lost to the child. */
void wr_cache_settle(wr_cache *cache);

/* After fork, in the child: makes the cache of a thread that did not survive fit for a new owner.
 * What it was rearranging is forgotten: at most one bin's blocks. */
void wr_cache_recover(wr_cache *cache);

/* All caches ever made: number 0 upwards; NULL at numbers being made. */
unsigned wr_cache_count(void);
wr_cache *wr_cache_at(unsigned number);

/* Adds to a statistic of the owner's. */
WR_INLINE void wr_cache_count_up(_Atomic size_t *statistic, size_t n)
{
    /* Relaxed load and store: one writer; readers sum what they see. */
    wr_store_relaxed(statistic, wr_load_relaxed(statistic) + n);
}

/* First place of a bin's array; for the owner in a slow call, and for a thief. */
WR_INLINE wr_cache_entry *wr_cache_array(wr_cache *cache, unsigned class)
{
    return (wr_cache_entry *)cache + cache->array[class];
}

WR_INLINE bool wr_cache_is_tick(const wr_cache *cache)
{
    return wr_load_relaxed(&cache->slow_calls) % WR_CACHE_CALLS_PER_TICK == 0;
}

/* Debug builds: the invariants above, for the owner. */
void wr_cache_assert_valid(const wr_cache *cache);

#endif
