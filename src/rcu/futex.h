/* Sleeping until a word changes, by liburcu's portable futex. Keeps errno.
 *
 * | operation | progress                                                                    |
 * | wait      | blocking: until a wake, a signal or the time is over; returns at once if the |
 * |           | word differs                                                                 |
 * | wake      | wait-free; wakes all sleepers of the word                                    | */
#ifndef WR_RCU_FUTEX_H
#define WR_RCU_FUTEX_H

#include "base/atomic.h"
#include "base/compiler.h"

#define WR_RCU_FOR_EVER 0

void wr_rcu_futex_wait(_Atomic uint32_t *word, uint32_t value, unsigned milliseconds);

void wr_rcu_futex_wake(_Atomic uint32_t *word);

/* Milliseconds of the monotonic clock. */
uint64_t wr_rcu_now_ms(void);

#endif
