/* Memory for descriptors: handed out once, never taken back, so that whoever holds a pointer to a
 * descriptor, however late, may read it (type stability).
 *
 * | operation     | progress                                                                  |
 * | wr_meta_alloc | lock-free: starts over only when another thread got a piece or a chunk     |
 * Chunks are replaced, never reused: no ABA. A piece that the kernel refuses leaves the chunk as it
 * is, with room for smaller ones. */
#ifndef WR_PAGE_META_H
#define WR_PAGE_META_H

#include "base/compiler.h"

/* bytes of zero memory (a multiple of 64, at most 4 KiB), aligned to a cache line; NULL when the
 * kernel refuses. */
void *wr_meta_alloc(size_t bytes);

#endif
