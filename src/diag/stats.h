/* Statistics: what weir holds and where it waits, as weir_stats and weir_class_stats have it
 * (include/weir/weir.h).
 *
 * Everything is read from single atomic words while other threads go on: no lock, no claim, nothing
 * is written. Each figure is one that was true at some moment of the call; figures of one call need
 * not be of one moment. At rest they are exact. Wait-free: linear in the caches for the one, in the
 * words of regions and the slabs for the other. Threads: any. */
#ifndef WR_DIAG_STATS_H
#define WR_DIAG_STATS_H

#include "base/compiler.h"

#include "weir/weir.h"

/* Sums of what the owners of caches have counted. */
typedef struct wr_stats_calls {
    size_t slow_calls;
    size_t served_bytes;
} wr_stats_calls;
wr_stats_calls wr_stats_calls_now(void);

void wr_stats_read(weir_stats *stats);

/* Of size class number n, from 0 up; false if there is none of that number. */
bool wr_stats_read_class(unsigned n, weir_class_stats *stats);

#endif
