/* One bin of a cache as its owner sees it past the fast path: where its stack begins and ends, pop
 * and push as there (api/fast.h), and, for who is in a slow call, the moves that rearrange it.
 * cache/cache.h says what the words mean and who else may touch them; this file knows nothing of
 * where blocks come from, nor of how many a bin should hold. */
#ifndef WR_CACHE_STACK_H
#define WR_CACHE_STACK_H

#include <string.h>

#include "cache/cache.h"

/* Plain loads of the owner's own stores. */
WR_INLINE wr_cache_entry *wr_stack_top(const wr_cache *cache, unsigned class)
{
    return wr_load_relaxed(&cache->top[class]);
}

WR_INLINE wr_cache_entry *wr_stack_base(const wr_cache *cache, unsigned class)
{
    return wr_load_relaxed(&cache->base[class]);
}

WR_INLINE unsigned wr_stack_length(const wr_cache *cache, unsigned class)
{
    return (unsigned)(wr_stack_top(cache, class) - wr_stack_base(cache, class));
}

WR_INLINE void wr_stack_set_top(wr_cache *cache, unsigned class, wr_cache_entry *top)
{
    /* Publishes the entries below and what was done in their blocks; pairs with take_from_bin() in
     * cache/steal.c. */
    wr_store_release(&cache->top[class], top);
}

/* The newest block, or NULL when the bin is empty. */
WR_INLINE void *wr_stack_pop(wr_cache *cache, unsigned class)
{
    wr_cache_entry *top = wr_stack_top(cache, class);
    if (top <= wr_stack_base(cache, class)) {
        return NULL;
    }
    wr_stack_set_top(cache, class, top - 1);
    return wr_load_relaxed(top - 1);
}

/* False when the bin is full. */
WR_INLINE bool wr_stack_push(wr_cache *cache, unsigned class, void *block)
{
    wr_cache_entry *top = wr_stack_top(cache, class);
    if (top >= wr_load_relaxed(&cache->end[class])) {
        return false;
    }
    wr_store_relaxed(top, block);
    wr_stack_set_top(cache, class, top + 1);
    return true;
}

/* Between these two a fork's child would find the stack of the class in pieces. */
WR_INLINE void wr_stack_begin_change(wr_cache *cache, unsigned class)
{
    wr_store_relaxed(&cache->changing, class);
    /* Before all later stores, as the child of a fork sees them; pairs with wr_cache_recover(). */
    wr_fence_release();
}

WR_INLINE void wr_stack_end_change(wr_cache *cache)
{
    /* After all earlier stores; pairs with wr_cache_recover(). */
    wr_store_release(&cache->changing, 0);
}

/* Places `length` blocks from `from` on at the start of the bin's array. */
WR_INLINE void wr_stack_place(wr_cache *cache, unsigned class, const wr_cache_entry *from,
                              size_t length)
{
    wr_cache_entry *array = wr_cache_array(cache, class);
    if (length != 0 && from != array) {
        memmove((void *)array, (const void *)from, length * sizeof *array);
    }
    wr_store_relaxed(&cache->base[class], array);
    wr_stack_set_top(cache, class, array + length);
}

/* A closed bin takes nothing back: its frees go to their slabs. */
WR_INLINE bool wr_stack_is_closed(wr_cache *cache, unsigned class)
{
    /* The owner's own store, or a thief's, which let_go() in cache/steal.c has ordered. */
    return wr_load_relaxed(&cache->end[class]) == wr_cache_array(cache, class);
}

/* How many of its places the bin may fill. */
WR_INLINE void wr_stack_set_places(wr_cache *cache, unsigned class, size_t places)
{
    wr_store_relaxed(&cache->end[class], wr_cache_array(cache, class) + places);
}

WR_INLINE void wr_stack_set_end(wr_cache *cache, unsigned class, bool closed)
{
    wr_stack_set_places(cache, class, closed ? 0 : cache->capacity[class]);
}

#endif
