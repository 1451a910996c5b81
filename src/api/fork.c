/* After fork, in the child: the lock is reset, hints and statistics that a dead thread was about to
 * bring up to date are made anew, and the caches of threads that did not survive are recovered and
 * parked for the next new threads.
 *
 * There is nothing to do before fork or in the parent: lock-free state is consistent at each step.
 * Nor where the process has had one thread: the child goes on where that was. Handlers of others
 * that run before this one may allocate and free; running twice does no harm.
 * What a dead thread had in hand is lost to the child: at most a batch of blocks and a slab, or the
 * slices or the large object that it was just claiming, releasing or purging. */
#include "api/init.h"

#include "bin/granule.h"
#include "cache/capacity.h"
#include "cache/park.h"
#include "cache/steal.h"
#include "diag/check.h"
#include "heap/heap.h"
#include "heap/keep.h"
#include "heap/purger.h"
#include "heap/reclaim.h"
#include "os/thread.h"
#include "page/commit.h"
#include "page/extent.h"
#include "page/giveback.h"
#include "page/slice.h"

#include <pthread.h>

static void child(void)
{
    wr_extent_reset_after_fork();
    wr_init_reset_after_fork();
    wr_slice_recover();
    wr_bin_recover(wr_heap_default.bins);
    wr_park_recover();
    wr_keep_recover();
    wr_steal_reset_after_fork();
    wr_giveback_recover();
    wr_commit_recover((wr_slice_dirty_count() + wr_slice_lazy_count()) * WR_SLICE_BYTES +
                      wr_span_committed_bytes() - wr_granule_recover() + wr_keep_committed_bytes());
    for (unsigned i = 0; i < wr_cache_count(); i++) {
        wr_cache *cache = wr_cache_at(i);
        if (cache == NULL) {
            continue;
        }
        if (cache == wr_cache_self || wr_park_has_racy(cache)) {
            wr_cache_settle(cache);
        } else {
            wr_cache_recover(cache);
            wr_cache_drain(cache); /* the child may never have another thread */
            wr_park_push(cache);
        }
    }
    if (wr_cache_is_real(wr_cache_self)) {
        wr_store_relaxed(&wr_cache_self->owner, wr_thread_number());
    }
    wr_capacity_recount();
    wr_reclaim_reset_after_fork();
    wr_purger_reset_after_fork();
    wr_check_recover();
}

bool wr_fork_register(void)
{
    return pthread_atfork(NULL, NULL, child) == 0;
}
