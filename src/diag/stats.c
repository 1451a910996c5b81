/* See stats.h. */
#include "diag/stats.h"

#include "bin/granule.h"
#include "bin/slab.h"
#include "cache/capacity.h"
#include "cache/park.h"
#include "heap/heap.h"
#include "heap/keep.h"
#include "heap/limit.h"
#include "heap/purger.h"
#include "heap/reclaim.h"
#include "os/vm.h"
#include "page/commit.h"
#include "page/slice.h"

wr_stats_calls wr_stats_calls_now(void)
{
    wr_stats_calls calls = {0, 0};
    unsigned count = wr_cache_count();
    for (unsigned i = 0; i < count; i++) {
        wr_cache *cache = wr_cache_at(i);
        if (cache != NULL) {
            calls.slow_calls += wr_load_relaxed(&cache->slow_calls);
            calls.served_bytes += wr_load_relaxed(&cache->served_bytes);
        }
    }
    return calls;
}

void wr_stats_read(weir_stats *stats)
{
    wr_stats_calls calls = wr_stats_calls_now();
    *stats = (weir_stats){
        .committed = wr_commit_bytes(),
        .mapped = wr_vm_mapped_bytes(),
        .mapped_peak = wr_vm_mapped_peak_bytes(),
        .dirty = wr_slice_dirty_count() * WR_SLICE_BYTES,
        .lazy = wr_slice_lazy_count() * WR_SLICE_BYTES,
        .kept = wr_keep_bytes(),
        .absent = wr_granule_absent_bytes(),
        .given_back = wr_vm_given_back_bytes(),
        .caches = wr_cache_count(),
        .caches_in_use = wr_park_living(),
        .cache_room = wr_capacity_hot_bytes(),
        .slow_calls = calls.slow_calls,
        .served = calls.served_bytes,
        .background = wr_purger_is_there(),
        .sweepable = wr_reclaim_reaches_caches(),
    };
    wr_limit_get(&stats->limit_soft, &stats->limit_hard);
}

typedef struct tally {
    unsigned class;
    weir_class_stats *stats;
} tally;

/* Adds the slab that begins at a slice whose head bit was seen, if it is one of the class. */
static void count_slab(wr_region *region, unsigned slice, void *context)
{
    unsigned class = ((const tally *)context)->class;
    weir_class_stats *stats = ((const tally *)context)->stats;
    if (wr_region_class_in(region, slice) != class) {
        return;
    }
    /* Observes the descriptor, which is never unmapped. It may have another life by now, so its
     * words are only taken for what they can be in a slab of the class; pairs with
     * wr_span_obtain(). */
    const wr_span *slab = wr_load_acquire(&region->span[slice]);
    const wr_size_class *shape = &wr_size_classes[class];
    int64_t count = wr_slab_count_racy(slab);
    size_t bytes = shape->slices * WR_SLICE_BYTES;
    size_t absent = (size_t)wr_count_bits(wr_granule_absent(slab)) << wr_granule_shift(bytes);
    stats->slabs++;
    stats->blocks += shape->blocks;
    stats->free_blocks += count < 0 ? 0 : wr_min((size_t)count, (size_t)shape->blocks);
    stats->absent += wr_min(absent, bytes);
}

bool wr_stats_read_class(unsigned n, weir_class_stats *stats)
{
    if (n >= WR_CLASS_COUNT - 1) {
        return false;
    }
    unsigned class = n + 1;
    *stats = (weir_class_stats){
        .block_size = wr_size_classes[class].block_bytes,
        .sparse = wr_bin_is_sparse(&wr_heap_default.bins[class]),
    };
    tally counted = {class, stats};
    wr_span_each(count_slab, &counted);
    return true;
}
