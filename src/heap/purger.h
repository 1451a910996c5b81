/* The purger: a thread that gives memory back while the program sleeps.
 *
 * States of its one word:
 *     NONE -> STARTING      a thread in a slow call that allocates, by CAS: the process has a
 *                           second thread by then, and memory to watch (option background)
 *     STARTING -> AWAKE     the new thread; -> NONE when there can be none, to be tried again
 *     AWAKE -> PARKED       the purger, when nothing is left that time alone would make due
 *     PARKED -> AWAKE       a thread in a slow call, by CAS, which wakes it
 *     AWAKE, PARKED -> STOPPING -> NONE   the end of the process, or of its last other thread
 * Parking and waking: the purger stores PARKED, makes a barrier in all threads (os/barrier.h), and
 * looks once more; a slow call does its work first and looks at the word last. So of a purger that
 * parks and a thread that leaves it something to do, one sees the other.
 * It has no cache, all signals blocked, and starts nothing and holds nothing itself.
 *
 * | operation | progress                                                                    |
 * | poke      | wait-free: a load; seldom a CAS and a system call                           |
 * | stop      | wait-free, or with `wait` blocking: until the purger has ended its purge    | */
#ifndef WR_HEAP_PURGER_H
#define WR_HEAP_PURGER_H

#include "base/atomic.h"
#include "base/compiler.h"

typedef enum wr_purger_state {
    WR_PURGER_NONE,
    WR_PURGER_STARTING,
    WR_PURGER_AWAKE,
    WR_PURGER_PARKED,
    WR_PURGER_STOPPING,
} wr_purger_state;

extern _Atomic uint32_t wr_purger_word;

/* At the end of each slow call. Wakes the purger if it is parked; where there is none, does now and
 * then what is due. With may_start (never in a free, see os/thread.h) starts it, if it should be.
 */
void wr_purger_look(bool is_tick, bool may_start);

WR_INLINE void wr_purger_poke(bool is_tick, bool may_start)
{
    uint32_t state = wr_load_relaxed(&wr_purger_word);
    if (WR_UNLIKELY(state == WR_PURGER_PARKED) || (state == WR_PURGER_NONE && is_tick)) {
        wr_purger_look(is_tick, may_start);
    }
}

/* The process ends, or its last thread but the purger, without which the process would never end.
 * With `wait` it returns when the purger is out of weir. */
void wr_purger_stop(bool wait);

/* True while there is such a thread. */
bool wr_purger_is_there(void);

/* After fork, in the child: there is none; it is started again when need be. */
void wr_purger_reset_after_fork(void);

#endif
