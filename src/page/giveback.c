/* See giveback.h. */
#include "page/giveback.h"

#include "base/atomic.h"
#include "os/futex.h"

/* Threads between begin and end. */
static _Atomic uint32_t returning;

void wr_giveback_begin(void)
{
    /* Relaxed: the claim that follows is a release, so who misses what was claimed sees this; pairs
     * with wr_giveback_await(). */
    (void)wr_fetch_add_relaxed(&returning, 1);
}

void wr_giveback_end(void)
{
    uint32_t seen = wr_load_relaxed(&returning);
    /* 0: a signal's handler forked in between, and this is the child. Publishes the refund; pairs
     * with wr_giveback_await(). */
    while (seen != 0 && !wr_cas_weak_acq_rel(&returning, &seen, seen - 1)) {
    }
}

bool wr_giveback_await(void)
{
    enum { MILLISECONDS = 1 };
    /* The caller has missed memory that was claimed: from here on it sees who did that; pairs with
     * wr_giveback_begin(), by the claim that follows it. */
    wr_fence_acquire();
    /* Observes the refunds of those that ended; pairs with wr_giveback_end(). */
    uint32_t seen = wr_load_acquire(&returning);
    if (seen == 0) {
        return false;
    }
    /* Nobody wakes it, so that giving back costs no system call more. */
    wr_futex_wait(&returning, seen, MILLISECONDS);
    return true;
}

void wr_giveback_recover(void)
{
    wr_store_relaxed(&returning, 0); /* the child has one thread */
}
