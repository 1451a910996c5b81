/* What the tests of the cache layer share: a cache's owner, as the fast path (api/fast.h) and the
 * slow calls make one. */
#ifndef WEIR_TESTS_CACHE_CACHE_SUPPORT_H
#define WEIR_TESTS_CACHE_CACHE_SUPPORT_H

#include "support.h"

#include "cache/stack.h"

/* What malloc does. */
static inline void *cache_get(wr_cache *cache, unsigned class)
{
    void *block = wr_stack_pop(cache, class);
    block = block != NULL ? block : wr_cache_refill(cache, class);
    CHECK(block != NULL);
    return block;
}

/* What free does. */
static inline void cache_give(wr_cache *cache, unsigned class, void *block)
{
    if (!wr_stack_push(cache, class, block)) {
        wr_cache_overflow(cache, class, block, "free");
    }
}

/* The cache line that a block starts in. */
static inline uintptr_t line_of(const void *block)
{
    return (uintptr_t)block / WR_CACHE_LINE_BYTES;
}

#endif
