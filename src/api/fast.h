/* The fast path, all of it: a pop from the calling thread's cache, a push onto it.
 *
 * No call, no lock, no atomic read-modify-write, no division; one way out, a tail call of the slow
 * path (slow.h). What is special about an address or a thread shows as class 0 or as a bin that is
 * empty and full at once (cache/cache.h), so it is tested by nothing here. Loads are
 * relaxed: they are the owner's own, or constant while a block is out, or a thief's base, which its
 * barrier orders (cache/steal.h). The one look at what is wrong is that at the newest entry, for a
 * block that is freed twice in a row: two instructions. ci/check/fast_path counts it all. */
#ifndef WR_API_FAST_H
#define WR_API_FAST_H

#include "api/slow.h"
#include "heap/alloc.h"

/* The calling thread's bins, moved by a class mark: index 0 of each array is the class's word. */
WR_INLINE wr_cache *wr_fast_bin(size_t mark)
{
    return (wr_cache *)((uintptr_t)wr_cache_self + mark);
}

/* Pops a block of a class into *block; false when the bin is empty. */
WR_INLINE bool wr_fast_pop(size_t mark, void **block)
{
    wr_cache *bin = wr_fast_bin(mark);
    wr_cache_entry *top = wr_load_relaxed(&bin->top[0]);
    if (WR_UNLIKELY(top <= wr_load_folded(wr_cache_entry *, &bin->base[0]))) {
        return false;
    }
    /* Publishes what lies below, as wr_fast_push(); pairs with take_from_bin() in cache/steal.c.
     * The entry is read after: a thief leaves the one at the height of top alone. */
    wr_add_folded(wr_cache_entry *, &bin->top[0], -1);
    *block = wr_load_relaxed(top - 1);
    return true;
}

/* Pushes a block of a class; false when the bin is full, and when the block is its newest already:
 * a double free, or what an empty bin's array has below it. */
WR_INLINE bool wr_fast_push(size_t mark, void *block)
{
    wr_cache *bin = wr_fast_bin(mark);
    wr_cache_entry *top = wr_load_relaxed(&bin->top[0]);
    if (WR_UNLIKELY(top >= wr_load_folded(wr_cache_entry *, &bin->end[0])) ||
        WR_UNLIKELY(block == wr_load_folded(void *, top - 1))) {
        return false;
    }
    wr_store_relaxed(top, block);
    /* Publishes the entry and what was done in the block, to a thief; pairs with take_from_bin() in
     * cache/steal.c. */
    wr_add_folded(wr_cache_entry *, &bin->top[0], 1);
    return true;
}

WR_INLINE void *wr_fast_malloc(size_t size)
{
    size_t mark;
    void *block;
    if (WR_UNLIKELY(!wr_size_find_mark(size, &mark)) || WR_UNLIKELY(!wr_fast_pop(mark, &block))) {
        return wr_slow_malloc(size);
    }
    return block;
}

/* Pushes a block of the class that the table says; false when that is not all. */
WR_INLINE bool wr_fast_return(void *ptr)
{
    return WR_LIKELY(wr_fast_push(wr_region_mark_of((uintptr_t)ptr), ptr));
}

/* The same where the program says size, which is what was asked for: without the table. */
WR_INLINE bool wr_fast_return_sized(void *ptr, size_t size)
{
    size_t mark;
    return WR_LIKELY(ptr != NULL && wr_size_find_mark(size, &mark)) &&
           WR_LIKELY(wr_fast_push(mark, ptr));
}

/* And alignment. Class 0 finds its bin full. */
WR_INLINE bool wr_fast_return_aligned(void *ptr, size_t alignment, size_t size)
{
    return WR_LIKELY(ptr != NULL) &&
           WR_LIKELY(
               wr_fast_push(wr_class_mark_of(wr_size_class_of_aligned(size, alignment)), ptr));
}

/* A block of `class` or, where there is none in the cache, what the slow path makes of it. */
WR_INLINE void *wr_fast_aligned(size_t alignment, size_t size)
{
    unsigned class = wr_size_class_of_aligned(size, alignment);
    void *block;
    if (WR_UNLIKELY(!wr_fast_pop(wr_class_mark_of(class), &block))) {
        return wr_slow_aligned(alignment, size); /* class 0 too: its bin is always empty */
    }
    return block;
}

#endif
