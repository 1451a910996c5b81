/* Heaps: a heap is its bins and its spans. The default heap is static and needs no set-up, so that
 * malloc works before any constructor.
 *
 * Invariant: bins[c] is the bin of class c and knows its heap. Threads: any; the bins are
 * lock-free. This file knows nothing of threads' caches' contents or of the API. */
#ifndef WR_HEAP_HEAP_H
#define WR_HEAP_HEAP_H

#include "bin/bin.h"

typedef struct wr_heap {
    wr_bin bins[WR_CLASS_COUNT]; /* by class; entry 0 is unused */
} wr_heap;

extern wr_heap wr_heap_default;

#endif
