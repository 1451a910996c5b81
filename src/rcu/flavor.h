/* Flavours of liburcu: each has its own deferred frees, since each has its own grace periods. A
 * flavour's state lies in a table for good, found by the address of liburcu's description of it.
 *
 * What is in it belongs to the modules named; they alone touch it.
 *
 * | operation | progress                                                  |
 * | find      | wait-free for a flavour that is known, else the table's lock |
 * Lock: the table's, rank: taken by find and by fork alone, nothing else is taken within it. */
#ifndef WR_RCU_FLAVOR_H
#define WR_RCU_FLAVOR_H

#include <urcu/flavor.h>
#include <urcu/wfcqueue.h>

#include "base/atomic.h"
#include "base/compiler.h"

#define WR_RCU_FLAVORS_MAX 8

/* Objects that are noted without a batch when there is no memory for one, a flavour. */
#define WR_RCU_SPARE_PLACES 64

struct wr_rcu_gather;

typedef struct wr_rcu_flavor {
    _Atomic(const struct rcu_flavor_struct *) of; /* liburcu's; NULL until all else is set up */
    unsigned number;                              /* in the table; constant */

    /* gather.c */
    _Atomic(struct wr_rcu_gather *) gathers;          /* all that there are; grows at its front */
    struct __cds_wfcq_head queue_head;                /* batches handed over; reclaimer's end */
    WR_CACHE_ALIGNED struct cds_wfcq_tail queue_tail; /* everybody's end */
    _Atomic size_t pending_objects;                   /* handed over and not yet freed */
    _Atomic size_t pending_bytes;                     /* likewise */
    _Atomic size_t peak_objects;                      /* highest that these have been */
    _Atomic size_t peak_bytes;
    _Atomic size_t batches;                     /* handed over; statistic */
    _Atomic(void *) spare[WR_RCU_SPARE_PLACES]; /* objects noted without a batch, or NULL */
    _Atomic size_t unrecorded;                  /* objects that not even that could note */

    /* reclaimer.c */
    WR_CACHE_ALIGNED _Atomic uint32_t role; /* who runs rounds, enum in reclaimer.h */
    _Atomic uint32_t sleep;                 /* whether and how the reclaimer sleeps, likewise */
    _Atomic uint32_t bell;                  /* changes when it is to look; what it sleeps on */
    _Atomic uint32_t hurry;                 /* 1 when a round is asked for now */
    _Atomic uint32_t barrier_wanted;        /* barriers asked for */
    _Atomic uint32_t barrier_done;          /* of these, answered */
    _Atomic uint32_t rounds;                /* ended; what others sleep on */
    _Atomic uint32_t sleepers;              /* those others */
    _Atomic uint32_t passing;               /* 1 while the reclaimer is in the gate */
    _Atomic uint32_t waiting;               /* 1 while it waits for a grace period */
    struct __cds_wfcq_head held_head;       /* batches of this round; who has the role */
    struct cds_wfcq_tail held_tail;
    void *taken[WR_RCU_SPARE_PLACES];  /* what this round took from spare; who has the role */
    bool held_is_safe;                 /* in a child: held needs no grace period */
    void **order;                      /* two arrays to sort pointers in, or NULL; likewise */
    _Atomic uint64_t waiting_since_ms; /* of the grace period waited for, or 0; for watch.c */
    _Atomic size_t freed_objects;      /* statistics, by who has the role */
    _Atomic size_t freed_bytes;
    _Atomic size_t grace_periods;
    _Atomic size_t hurried;
    _Atomic size_t limit_waits; /* by anyone */
    _Atomic size_t limit_exceeded;
    _Atomic size_t stalls;        /* by watch.c */
    _Atomic size_t extra_objects; /* deferred by no gather: in spare places, or before the fork
                                     that made this process */
    _Atomic size_t extra_bytes;   /* likewise */
} wr_rcu_flavor;

/* Liburcu's description of it. */
WR_INLINE const struct rcu_flavor_struct *wr_rcu_flavor_liburcu(wr_rcu_flavor *flavor)
{
    return wr_load_relaxed(&flavor->of); /* constant by now */
}

/* The state of a flavour; NULL when there are more than WR_RCU_FLAVORS_MAX. The first call for a
 * flavour sets it up. */
wr_rcu_flavor *wr_rcu_flavor_find(const struct rcu_flavor_struct *of);

/* Number n of those in use, from 0; NULL beyond the last. */
wr_rcu_flavor *wr_rcu_flavor_at(unsigned n);

/* Around fork, for the table's lock. */
void wr_rcu_flavor_lock(void);
void wr_rcu_flavor_unlock(void);

#endif
