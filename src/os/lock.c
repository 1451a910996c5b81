/* See lock.h. The classic three-state futex lock. */
#include "os/lock.h"

#include "base/assert.h"

#include <errno.h>
#include <linux/futex.h>
#include <sys/syscall.h>
#include <unistd.h>

#if WR_DEBUG
static _Thread_local wr_lock_rank held_rank;
#endif

static void futex(_Atomic uint32_t *word, int operation, uint32_t value)
{
    int saved = errno;
    (void)syscall(SYS_futex, word, operation | FUTEX_PRIVATE_FLAG, value, NULL, NULL, 0);
    errno = saved;
}

void wr_lock_acquire(wr_lock *lock)
{
#if WR_DEBUG
    WR_ASSERT(held_rank < lock->rank);
    held_rank = lock->rank;
#endif
    uint32_t seen = 0;
    /* Observes what the last holder wrote; pairs with wr_lock_release(). */
    if (wr_cas_strong_acq_rel(&lock->state, &seen, 1)) {
        return;
    }
    /* Observes the same on success; pairs with wr_lock_release(). From here on the state is 2 while
     * we hold it, since other waiters may sleep. */
    while (wr_exchange_acquire(&lock->state, 2) != 0) {
        futex(&lock->state, FUTEX_WAIT, 2);
    }
}

void wr_lock_release(wr_lock *lock)
{
#if WR_DEBUG
    held_rank = WR_RANK_NONE;
#endif
    /* Publishes what the holder wrote; pairs with wr_lock_acquire(). */
    if (wr_exchange_release(&lock->state, 0) == 2) {
        futex(&lock->state, FUTEX_WAKE, 1);
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
