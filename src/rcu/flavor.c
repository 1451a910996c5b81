/* See flavor.h. */
#include "rcu/flavor.h"

#include "rcu/fork.h"
#include "rcu/gather.h"

#include <pthread.h>

static wr_rcu_flavor table[WR_RCU_FLAVORS_MAX];
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;

static wr_rcu_flavor *find_known(const struct rcu_flavor_struct *of)
{
    for (unsigned i = 0; i < WR_RCU_FLAVORS_MAX; i++) {
        /* Observes the state as it was set up; pairs with set_up(). */
        const struct rcu_flavor_struct *known = wr_load_acquire(&table[i].of);
        if (known == of) {
            return &table[i];
        }
        if (known == NULL) {
            break;
        }
    }
    return NULL;
}

/* Under the lock. */
static wr_rcu_flavor *set_up(const struct rcu_flavor_struct *of)
{
    unsigned i = 0;
    while (i < WR_RCU_FLAVORS_MAX && wr_load_relaxed(&table[i].of) != NULL) {
        i++;
    }
    if (i == WR_RCU_FLAVORS_MAX) {
        return NULL;
    }
    wr_rcu_flavor *flavor = &table[i];
    flavor->number = i;
    __cds_wfcq_init(&flavor->queue_head, &flavor->queue_tail);
    __cds_wfcq_init(&flavor->held_head, &flavor->held_tail);
    if (i == 0) {
        wr_rcu_gather_prepare_process();
        wr_rcu_fork_prepare_process();
    }
    /* Publishes the state; pairs with find_known() and wr_rcu_flavor_at(). */
    wr_store_release(&flavor->of, of);
    return flavor;
}

wr_rcu_flavor *wr_rcu_flavor_find(const struct rcu_flavor_struct *of)
{
    wr_rcu_flavor *flavor = find_known(of);
    if (WR_UNLIKELY(flavor == NULL)) {
        wr_rcu_flavor_lock();
        flavor = find_known(of);
        if (flavor == NULL) {
            flavor = set_up(of);
        }
        wr_rcu_flavor_unlock();
    }
    return flavor;
}

wr_rcu_flavor *wr_rcu_flavor_at(unsigned n)
{
    /* Observes the state as it was set up; pairs with set_up(). */
    return n < WR_RCU_FLAVORS_MAX && wr_load_acquire(&table[n].of) != NULL ? &table[n] : NULL;
}

void wr_rcu_flavor_lock(void)
{
    (void)pthread_mutex_lock(&table_lock);
}

void wr_rcu_flavor_unlock(void)
{
    (void)pthread_mutex_unlock(&table_lock);
}
