/* After fork, in the child: locks are reset, and the caches of threads that did not survive are
 * recovered and parked for the next new threads.
 *
 * There is nothing to do before fork or in the parent: lock-free state is consistent at each step.
 * A thread that was within a step of the bins when the process forked leaves behind at most the
 * batch and the slab that it had in hand. */
#include "api/init.h"

#include "cache/park.h"
#include "page/extent.h"

#include <pthread.h>

static void child(void)
{
    wr_extent_reset_after_fork();
    for (unsigned i = 0; i < wr_cache_count(); i++) {
        wr_cache *cache = wr_cache_at(i);
        if (cache != NULL && cache != wr_cache_self && !wr_park_has_racy(cache)) {
            wr_cache_recover(cache);
            wr_park_push(cache);
        }
    }
}

void wr_fork_register(void)
{
    (void)pthread_atfork(NULL, NULL, child);
}
