/* The one way out of the fast path: what a call needs beyond a pop or a push.
 *
 * Sets up the process and the thread on the first call, finds caches empty or full, serves large
 * sizes, and everything about addresses of class 0; and decides whether check mode (diag/check.h)
 * has the call. Sets errno to ENOMEM where a request fails, and keeps it otherwise. Threads: any,
 * before and after a thread has a cache. The functions are named after those that leave the fast
 * path for them, by a tail call: so their return address is the program's, for check mode. */
#ifndef WR_API_SLOW_H
#define WR_API_SLOW_H

#include "base/compiler.h"

WR_NOINLINE void *wr_slow_malloc(size_t size);
WR_NOINLINE void *wr_slow_calloc(size_t size);
WR_NOINLINE void *wr_slow_aligned(size_t alignment, size_t size);
WR_NOINLINE void *wr_slow_realloc(void *ptr, size_t size);
WR_NOINLINE void wr_slow_free(void *ptr);
WR_NOINLINE void wr_slow_free_sized(void *ptr, size_t size);
WR_NOINLINE void wr_slow_free_aligned_sized(void *ptr, size_t alignment, size_t size);
/* What a realloc on the fast path has moved away from; the thread has a cache. */
WR_NOINLINE void wr_slow_free_moved(void *ptr);

/* C++: of which operator a block is. For new, `caller` is the program's. */
typedef enum wr_slow_operator { WR_OPERATOR_PLAIN, WR_OPERATOR_ARRAY } wr_slow_operator;
void *wr_slow_new(size_t size, size_t alignment, wr_slow_operator which, const void *caller);

/* operator delete, with what it was told: size and alignment, or WR_SLOW_UNTOLD. */
#define WR_SLOW_UNTOLD SIZE_MAX
WR_NOINLINE void wr_slow_delete(void *ptr, size_t alignment, size_t size, wr_slow_operator which);

/* Those that have no fast path. */
WR_NOINLINE size_t wr_slow_malloc_batch(size_t size, size_t n, void **out);
WR_NOINLINE void wr_slow_free_batch(size_t n, void **ptrs);
WR_NOINLINE bool wr_slow_resize_in_place(void *ptr, size_t size);
WR_NOINLINE size_t wr_slow_usable_size(const void *ptr);
size_t wr_slow_good_size(size_t size);

#endif
