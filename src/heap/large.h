/* Large objects: above the small classes each is a span of its own; below the mmap threshold on
 * slices of the page heap, from there on as a mapping of its own.
 *
 * Both begin at a slice boundary, class mark 0. Their size is what was asked for in whole pages; a
 * span's last slice and a mapping's address space may reach further (reserved_bytes), untouched.
 * The threshold follows the size of freed mappings up to 32 MiB, as mallopt(3) describes, unless
 * it was pinned. Threads: any. Progress: lock-free, but for growth of the page heap and the
 * kernel's own locks. Out of memory: NULL or false, nothing changed. */
#ifndef WR_HEAP_LARGE_H
#define WR_HEAP_LARGE_H

#include "page/span.h"

/* An object of size (above 0, at most PTRDIFF_MAX) at a multiple of alignment (a power of two);
 * with zero set, it reads as zero. */
void *wr_large_alloc(size_t size, size_t alignment, bool zero);

/* An object for one that outgrew its place on slices: a mapping from 128 KiB on, wherever the
 * threshold is now (unless it was pinned), so that it need not be copied again. */
void *wr_large_alloc_growing(size_t size);

/* Frees the object of a span of kind LARGE or MAPPED; false if it was freed already. */
bool wr_large_free(wr_span *span);

/* Makes the object have `size` bytes (above 0) where it is; false if that cannot be done. */
bool wr_large_resize_in_place(wr_span *span, size_t size);

/* Makes a mapped object have `size` bytes (more than it has) at a place of its own choice, by page
 * tables; contents are kept. NULL if that cannot be done. */
void *wr_large_move(wr_span *span, size_t size);

/* Usable bytes that a large object of `size` gets. */
size_t wr_large_good_size(size_t size);

/* True if an object of `size` is smaller than those that get mappings of their own. */
bool wr_large_is_below_threshold(size_t size);

/* Sets the mmap threshold for good (mallopt(3)). */
void wr_large_pin_threshold(size_t bytes);

#endif
