/* The gate: steps that the child of a fork must find done or not begun, none in the middle. Who
 * takes such a step passes the gate, fork closes it and waits until nobody is in it.
 *
 *     in:    passing = 1; look at closed; ...; passing = 0     (closed: passing = 0, sleep, again)
 *     fork:  closed = 1; look at every passing until it is 0
 *
 * Either the one sees closed or the other sees passing: both are seq_cst. In the gate nobody waits
 * for a thread that may wait at it, and nobody allocates but to free; so fork waits for a bounded
 * time.
 *
 * | operation | progress                                       |
 * | enter     | wait-free but for fork, whose time it waits     |
 * | leave     | wait-free                                       |
 * | close     | blocking: for those in the gate, and other forks | */
#ifndef WR_RCU_GATE_H
#define WR_RCU_GATE_H

#include "base/atomic.h"
#include "base/compiler.h"

extern _Atomic uint32_t wr_rcu_gate_closed;

/* How often the calling thread is in the gate: what it frees there may call the program back, which
 * may defer a free. The outermost word is the one that fork looks at. */
extern _Thread_local uint32_t wr_rcu_gate_depth;

/* Sleeps while the gate is closed. */
void wr_rcu_gate_wait(void);

/* `passing` is a word of the calling thread's own, or of the role that it has. */
WR_INLINE void wr_rcu_gate_enter(_Atomic uint32_t *passing)
{
    if (WR_UNLIKELY(wr_rcu_gate_depth++ != 0)) {
        return;
    }
    for (;;) {
        /* Pairs with wr_rcu_gate_close(). */
        wr_store_seq_cst(passing, 1);
        if (WR_LIKELY(wr_load_seq_cst(&wr_rcu_gate_closed) == 0)) {
            return;
        }
        /* Nothing was done; pairs with wr_rcu_gate_drained(). */
        wr_store_release(passing, 0);
        wr_rcu_gate_wait();
    }
}

WR_INLINE void wr_rcu_gate_leave(_Atomic uint32_t *passing)
{
    if (WR_LIKELY(--wr_rcu_gate_depth == 0)) {
        /* Publishes what was done, to the forking thread; pairs with wr_rcu_gate_drained(). */
        wr_store_release(passing, 0);
    }
}

/* Closes the gate; waits for another that has closed it. */
void wr_rcu_gate_close(void);

/* True once who was in the gate by this word has left it. */
WR_INLINE bool wr_rcu_gate_drained(_Atomic uint32_t *passing)
{
    /* Pairs with wr_rcu_gate_enter() and wr_rcu_gate_leave(). */
    return wr_load_seq_cst(passing) == 0;
}

void wr_rcu_gate_open(void);

#endif
