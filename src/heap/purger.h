/* The purger: a thread that gives memory back while the program sleeps.
 *
 * It has no cache, all signals blocked, and starts nothing and holds nothing itself.
 *
 * | operation | progress                                                                    |
 * | poke      | wait-free: a load; seldom a CAS and a system call                           |
 * | stop      | blocking: until the purger has ended its round                              | */
#ifndef WR_HEAP_PURGER_H
#define WR_HEAP_PURGER_H

#include "base/atomic.h"
#include "base/compiler.h"

/* States of its one word, each change a CAS:
 *     NONE -> WANTED        a thread in a slow free: the process has a second thread by then, and
 *                           memory to watch (option background)
 *     NONE, WANTED -> STARTING   a thread in a slow call that allocates, likewise
 *     STARTING -> AWAKE     that thread, when there is a purger; -> NONE when there can be none, to
 *                           be tried again
 *     AWAKE -> PARKED       the purger, when nothing is left that time alone would make due
 *     PARKED -> AWAKE       a thread in a slow call, which wakes it
 *     AWAKE, PARKED -> STOPPING -> NONE   the last other thread ends: it joins the purger, which
 *                           would keep the process otherwise, or be the one that runs its end
 *     AWAKE -> NONE         the purger, when the others ended without a word
 *     any -> OFF            the process ends: there is none from here on (AWAKE and PARKED by way
 *                           of STOPPING, so that it is joined)
 * Parking and waking: the purger stores PARKED, makes a barrier in all threads (os/barrier.h), and
 * looks once more; a slow call does its work first and looks at the word last. So of a purger that
 * parks and a thread that leaves it something to do, one sees the other. */
typedef enum wr_purger_state {
    WR_PURGER_NONE,
    WR_PURGER_WANTED,
    WR_PURGER_STARTING,
    WR_PURGER_AWAKE,
    WR_PURGER_PARKED,
    WR_PURGER_STOPPING,
    WR_PURGER_OFF,
} wr_purger_state;

extern _Atomic uint32_t wr_purger_word;

/* At the end of each slow call. Wakes the purger if it is parked; where there is none, does now and
 * then what is due. With may_start (never in a free, see os/thread.h) starts it, if it should be.
 */
void wr_purger_look(bool is_tick, bool may_start);

WR_INLINE void wr_purger_poke(bool is_tick, bool may_start)
{
    uint32_t state = wr_load_relaxed(&wr_purger_word);
    if (WR_UNLIKELY(state == WR_PURGER_PARKED) || (state <= WR_PURGER_WANTED && is_tick) ||
        WR_UNLIKELY(state == WR_PURGER_WANTED && may_start)) {
        wr_purger_look(is_tick, may_start);
    }
}

/* The process ends (for_good), or its last thread but the purger. Returns when the purger has gone.
 */
void wr_purger_stop(bool for_good);

/* True while there is such a thread. */
bool wr_purger_is_there(void);

/* After fork, in the child: there is none; it is started again when need be. */
void wr_purger_reset_after_fork(void);

#endif
