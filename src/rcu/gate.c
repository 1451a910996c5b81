/* See gate.h. */
#include "rcu/gate.h"

#include "rcu/futex.h"

_Atomic uint32_t wr_rcu_gate_closed;
_Thread_local uint32_t wr_rcu_gate_depth;

void wr_rcu_gate_wait(void)
{
    /* Observes nothing but the word; the caller looks again. */
    while (wr_load_relaxed(&wr_rcu_gate_closed) != 0) {
        wr_rcu_futex_wait(&wr_rcu_gate_closed, 1, WR_RCU_FOR_EVER);
    }
}

void wr_rcu_gate_close(void)
{
    for (;;) {
        uint32_t open = 0;
        /* Pairs with wr_rcu_gate_enter(). */
        if (wr_cas_weak_seq_cst(&wr_rcu_gate_closed, &open, 1)) {
            return;
        }
        wr_rcu_gate_wait();
    }
}

void wr_rcu_gate_open(void)
{
    /* Pairs with wr_rcu_gate_enter(), whose thread goes on. */
    wr_store_seq_cst(&wr_rcu_gate_closed, 0);
    wr_rcu_futex_wake(&wr_rcu_gate_closed);
}
