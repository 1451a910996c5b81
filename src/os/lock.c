/* See lock.h. The classic three-state futex lock (free, held, held and waited for); held names the
 * process. */
#include "os/lock.h"

#include "base/assert.h"
#include "os/futex.h"
#include "os/host.h"

#if WR_DEBUG
static _Thread_local wr_lock_rank held_rank;
#endif

void wr_lock_acquire(wr_lock *lock)
{
#if WR_DEBUG
    WR_ASSERT(held_rank < lock->rank);
    held_rank = lock->rank;
#endif
    uint32_t mine = (uint32_t)wr_host_process_id() << 1;
    uint32_t seen = 0;
    /* Observes what the last holder wrote; pairs with wr_lock_release(). */
    if (wr_cas_strong_acq_rel(&lock->state, &seen, mine)) {
        return;
    }
    mine |= WR_LOCK_WAITED; /* and stays so while we hold it, since other waiters may sleep */
    for (;;) {
        /* Observes the same on success; pairs with wr_lock_release(). */
        seen = wr_exchange_acquire(&lock->state, mine);
        if ((seen | WR_LOCK_WAITED) != mine) {
            return; /* it was free, or a thread of the process that forked us had it */
        }
        wr_futex_wait(&lock->state, mine, WR_FUTEX_FOR_EVER);
    }
}

void wr_lock_release(wr_lock *lock)
{
#if WR_DEBUG
    held_rank = WR_RANK_NONE;
#endif
    /* Publishes what the holder wrote; pairs with wr_lock_acquire(). */
    if ((wr_exchange_release(&lock->state, 0) & WR_LOCK_WAITED) != 0) {
        wr_futex_wake(&lock->state);
    }
}

void wr_lock_reset(wr_lock *lock)
{
    /* The child has one thread: nobody to pair with. */
    wr_store_relaxed(&lock->state, 0);
#if WR_DEBUG
    held_rank = WR_RANK_NONE;
#endif
}
