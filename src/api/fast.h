/* The fast path, all of it: a pop from the calling thread's cache, a push onto it.
 *
 * No call, no lock, no atomic read-modify-write, no division; one way out, a tail call of the slow
 * path (slow.h). What is special about an address or a thread shows as class 0 or as a bin that is
 * empty and full at once (cache/cache.h), so it is tested by nothing here. Loads are
 * relaxed: they are the owner's own, or constant while a block is out, or a thief's base, which its
 * barrier orders (cache/steal.h). ci/check/fast_path counts it. */
#ifndef WR_API_FAST_H
#define WR_API_FAST_H

#include "api/slow.h"
#include "heap/alloc.h"

/* The calling thread's bin of a class. */
WR_INLINE wr_cache_bin *wr_fast_bin(size_t class)
{
    return &wr_cache_self->bins[class];
}

/* Pops a block of `class` into *block; false when the bin is empty. */
WR_INLINE bool wr_fast_pop(size_t class, void **block)
{
    wr_cache_bin *bin = wr_fast_bin(class);
    wr_cache_entry *top = wr_load_relaxed(&bin->top);
    if (WR_UNLIKELY(top <= wr_load_relaxed(&bin->base))) {
        return false;
    }
    *block = wr_load_relaxed(top - 1);
    /* Publishes what lies below, as wr_fast_push(); pairs with take_from_bin() in cache/steal.c. */
    wr_store_release(&bin->top, top - 1);
    return true;
}

/* Pushes a block of `class`; false when the bin is full. */
WR_INLINE bool wr_fast_push(size_t class, void *block)
{
    wr_cache_bin *bin = wr_fast_bin(class);
    wr_cache_entry *top = wr_load_relaxed(&bin->top);
    if (WR_UNLIKELY(top >= wr_load_folded(wr_cache_entry *, &bin->end))) {
        return false;
    }
    wr_store_relaxed(top, block);
    /* Publishes the entry and what was done in the block, to a thief; pairs with take_from_bin() in
     * cache/steal.c. */
    wr_store_release(&bin->top, top + 1);
    return true;
}

WR_INLINE void *wr_fast_malloc(size_t size)
{
    void *block;
    if (WR_UNLIKELY(size > WR_SMALL_MAX_BYTES) ||
        WR_UNLIKELY(!wr_fast_pop(wr_size_class_of(size), &block))) {
        return wr_slow_malloc(size);
    }
    return block;
}

/* Pushes a block of the class that the table says; false when that is not all. */
WR_INLINE bool wr_fast_return(void *ptr)
{
    wr_region *region = wr_region_of((uintptr_t)ptr);
    return WR_LIKELY(region != NULL) &&
           WR_LIKELY(wr_fast_push(wr_region_class_of(region, (uintptr_t)ptr), ptr));
}

/* The same where the program says size, which is what was asked for: without the table. */
WR_INLINE bool wr_fast_return_sized(void *ptr, size_t size)
{
    return WR_LIKELY(size <= WR_SMALL_MAX_BYTES && ptr != NULL) &&
           WR_LIKELY(wr_fast_push(wr_size_class_of(size), ptr));
}

/* And alignment. Class 0 finds its bin full. */
WR_INLINE bool wr_fast_return_aligned(void *ptr, size_t alignment, size_t size)
{
    return WR_LIKELY(ptr != NULL) &&
           WR_LIKELY(wr_fast_push(wr_size_class_of_aligned(size, alignment), ptr));
}

/* A block of `class` or, where there is none in the cache, what the slow path makes of it. */
WR_INLINE void *wr_fast_aligned(size_t alignment, size_t size)
{
    unsigned class = wr_size_class_of_aligned(size, alignment);
    void *block;
    if (WR_UNLIKELY(!wr_fast_pop(class, &block))) {
        return wr_slow_aligned(alignment, size); /* class 0 too: its bin is always empty */
    }
    return block;
}

#endif
