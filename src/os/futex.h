/* Sleeping until a word changes: futex(2), for threads of this process. Keeps errno.
 *
 * | operation | progress                                                    |
 * | wait      | blocking: until a wake, a signal, or the time is over; may  |
 * |           | return for no reason. Returns at once if the word differs   |
 * | wake      | wait-free                                                   | */
#ifndef WR_OS_FUTEX_H
#define WR_OS_FUTEX_H

#include "base/atomic.h"
#include "base/compiler.h"

#define WR_FUTEX_FOR_EVER 0

/* Sleeps while *word is `value`, at most `milliseconds` (WR_FUTEX_FOR_EVER: no end). */
void wr_futex_wait(_Atomic uint32_t *word, uint32_t value, unsigned milliseconds);

/* Wakes one thread that sleeps on the word, if there is one. */
void wr_futex_wake(_Atomic uint32_t *word);

#endif
