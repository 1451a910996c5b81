/* The one way out of the fast path: what a call needs beyond a pop or a push.
 *
 * Sets up the process and the thread on the first call, finds caches empty or full, serves large
 * sizes, and everything about addresses of class 0. Sets errno to ENOMEM where a request fails, and
 * keeps it otherwise. Threads: any, before and after a thread has a cache. */
#ifndef WR_API_SLOW_H
#define WR_API_SLOW_H

#include "base/compiler.h"

WR_NOINLINE void *wr_slow_malloc(size_t size);
WR_NOINLINE void *wr_slow_calloc(size_t size);
WR_NOINLINE void *wr_slow_aligned(size_t alignment, size_t size);
WR_NOINLINE void *wr_slow_realloc(void *ptr, size_t size);
WR_NOINLINE void wr_slow_free(void *ptr);

/* The calling thread's cache, made on its first call; one that stands in where there is none. */
struct wr_cache *wr_slow_cache(void);

#endif
