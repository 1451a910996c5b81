/* See futex.h. */
#include "rcu/futex.h"

#include <errno.h>
#include <limits.h>
#include <time.h>
#include <urcu/futex.h>

void wr_rcu_futex_wait(_Atomic uint32_t *word, uint32_t value, unsigned milliseconds)
{
    int saved = errno;
    struct timespec time = {milliseconds / 1000, (long)(milliseconds % 1000) * 1000000};
    (void)futex_noasync((int32_t *)(void *)word, FUTEX_WAIT, (int32_t)value,
                        milliseconds == WR_RCU_FOR_EVER ? NULL : &time, NULL, 0);
    errno = saved;
}

void wr_rcu_futex_wake(_Atomic uint32_t *word)
{
    int saved = errno;
    (void)futex_noasync((int32_t *)(void *)word, FUTEX_WAKE, INT_MAX, NULL, NULL, 0);
    errno = saved;
}

uint64_t wr_rcu_now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000 + (uint64_t)now.tv_nsec / 1000000;
}
