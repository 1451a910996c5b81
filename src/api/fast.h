/* The fast path, all of it: a pop from the calling thread's cache, a push onto it.
 *
 * No call, no lock, no atomic read-modify-write, no division; one way out, a tail call of the slow
 * path (slow.h). What is special about an address or a thread shows as class 0 or as a bin that is
 * empty and full at once (cache/cache.h), so it is tested by nothing here. All atomics are relaxed:
 * they are the owner's own, or constant while a block is out. ci/check/fast_path counts it. */
#ifndef WR_API_FAST_H
#define WR_API_FAST_H

#include "api/slow.h"
#include "heap/alloc.h"

/* A block of `class`, or NULL when the bin is empty. */
WR_INLINE void *wr_fast_pop(unsigned class)
{
    wr_cache_bin *bin = &wr_cache_self->bins[class];
    wr_cache_entry *top = wr_load_relaxed(&bin->top);
    if (WR_UNLIKELY(top <= wr_load_relaxed(&bin->base))) {
        return NULL;
    }
    void *block = wr_load_relaxed(top - 1);
    wr_store_relaxed(&bin->top, top - 1);
    return block;
}

/* False when the bin is full. */
WR_INLINE bool wr_fast_push(unsigned class, void *block)
{
    wr_cache_bin *bin = &wr_cache_self->bins[class];
    wr_cache_entry *top = wr_load_relaxed(&bin->top);
    if (WR_UNLIKELY(top == bin->end)) {
        return false;
    }
    wr_store_relaxed(top, block);
    wr_store_relaxed(&bin->top, top + 1);
    return true;
}

WR_INLINE void *wr_fast_malloc(size_t size)
{
    if (WR_LIKELY(size <= WR_SMALL_MAX_BYTES)) {
        void *block = wr_fast_pop(wr_size_class_of(size));
        if (WR_LIKELY(block != NULL)) {
            return block;
        }
    }
    return wr_slow_malloc(size);
}

WR_INLINE void wr_fast_free(void *ptr)
{
    if (WR_UNLIKELY(!wr_fast_push(wr_alloc_class_of(ptr), ptr))) {
        wr_slow_free(ptr);
    }
}

/* size is what was asked for, so it gives the class without the table. */
WR_INLINE void wr_fast_free_sized(void *ptr, size_t size)
{
    if (WR_LIKELY(size <= WR_SMALL_MAX_BYTES && ptr != NULL)) {
        if (WR_LIKELY(wr_fast_push(wr_size_class_of(size), ptr))) {
            return;
        }
    }
    wr_slow_free(ptr);
}

#endif
