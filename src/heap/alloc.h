/* Allocate, free, resize and measure, by what an address is: the place where caches, bins and large
 * objects come together.
 *
 * `cache` is the calling thread's: a real one, or one of the two that stand in (then the bins are
 * used directly). Sizes are at most PTRDIFF_MAX. Out of memory is NULL with nothing changed; errno
 * is kept. Misuse is reported in the name of `function` and aborts. Threads: any. */
#ifndef WR_HEAP_ALLOC_H
#define WR_HEAP_ALLOC_H

#include "cache/cache.h"

/* A block of size bytes at a multiple of alignment (a power of two). */
void *wr_alloc(wr_cache *cache, size_t size, size_t alignment);

/* The same, reading as zero. */
void *wr_alloc_zero(wr_cache *cache, size_t size);

/* Up to n blocks of size bytes; how many there are. */
size_t wr_alloc_batch(wr_cache *cache, size_t size, size_t n, void **out);

/* Frees ptr, not NULL. */
void wr_alloc_free(wr_cache *cache, void *ptr, const char *function);

/* Frees n pointers, of which some may be NULL: what the cache has no room for goes straight to its
 * slabs, cheapest where neighbours come together (an array sorted by address). */
void wr_alloc_free_batch(wr_cache *cache, size_t n, void **ptrs, const char *function);

/* The object ptr, not NULL, at a new size above 0. */
void *wr_alloc_resize(wr_cache *cache, void *ptr, size_t size, const char *function);

/* Makes ptr have size bytes (above 0) where it is; false, and nothing changed, if it cannot. */
bool wr_alloc_resize_in_place(void *ptr, size_t size, const char *function);

/* Bytes that may be used at ptr, not NULL. */
size_t wr_alloc_usable_size(const void *ptr, const char *function);

/* Usable bytes that a request of size would get, where no limit makes a large object of it. */
size_t wr_alloc_good_size(size_t size);

#endif
