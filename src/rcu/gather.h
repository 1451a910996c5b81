/* Gathering: each thread collects its deferred pointers in a batch, and hands it over to the
 * reclaimer's queue when it is full. The reclaimer takes batches that have grown old out of the
 * hands of threads that do not fill them.
 *
 * | operation       | with any other                  | progress | | push            | owner only;
 * with take           | lock-free; waits for fork alone            | | hand over, take | one owner,
 * one taker; the role  | likewise; take: fails while owner is at it | | obtain, release | any
 * threads                     | lock-free                                  |
 */
#ifndef WR_RCU_GATHER_H
#define WR_RCU_GATHER_H

#include "rcu/flavor.h"

/* The slot of a gather says who has its batch:
 *
 *     63                                     1      0
 *     +---------------------------------------+------+
 *     | address of the batch, or 0: none      | HELD |
 *     +---------------------------------------+------+
 *
 *     from       to         by
 *     0          B | HELD   owner, who begins B                          begin()
 *     B | HELD   B          owner, who has written into it               put_back()
 *     B          B | HELD   owner, CAS                                   hold()
 *     B          0          reclaimer, CAS: it has B then                wr_rcu_gather_take()
 *     B | HELD   0          owner, in the gate, who hands B over         hand_over()
 *
 * The owner knows which batch it put there, so one CAS tells it whether that is still there. No
 * ABA: only the owner ever puts a batch in. In the child of a fork the slots of threads that are
 * gone still name their batches, HELD or not: at most the object of a call that was cut off is
 * missing.
 *
 * Grace periods: a pointer is in a batch before the batch is handed over or taken (release, acquire
 * by slot and queue), and the reclaimer begins to wait after that. So the grace period that a
 * pointer gets begins after its weir_free_rcu did.
 *
 * Nothing is forgotten: deferred - handed is what a gather holds, in its owner's hands too. A batch
 * that begins is announced (seq_cst: deferred, then a look at whether the reclaimer sleeps), and
 * the reclaimer, before it sleeps for good, says so and looks at every gather once more; one sees
 * the other. While anything is held it wakes every WR_RCU_TICK_MS, and takes what it found there
 * before.
 */
#define WR_RCU_BATCH_OBJECTS 508

/* Most bytes that gather in a thread: then they are handed over, be they one object. */
#define WR_RCU_BATCH_BYTES ((size_t)256 << 10)

typedef struct wr_rcu_batch {
    struct cds_wfcq_node node;           /* of the queue; who has the batch */
    size_t bytes;                        /* usable bytes of its objects; likewise */
    uint32_t count;                      /* objects in it; likewise */
    void *objects[WR_RCU_BATCH_OBJECTS]; /* the first `count`; likewise */
} wr_rcu_batch;

_Static_assert(sizeof(wr_rcu_batch) <= 4096, "a batch is a page");

typedef struct wr_rcu_gather {
    _Atomic uintptr_t slot;            /* as drawn above */
    wr_rcu_batch *current;             /* the batch that the owner put there last, or NULL; owner */
    _Atomic uint64_t deferred_objects; /* ever put in; owner */
    _Atomic uint64_t deferred_bytes;   /* likewise */
    _Atomic uint64_t begun;            /* batches ever begun; owner */
    _Atomic uint32_t passing;          /* 1 while the owner is in the gate; owner */
    _Atomic uint32_t owned;            /* 1 while a thread has it; who sets it has it */
    WR_CACHE_ALIGNED _Atomic uint64_t handed; /* objects handed over or taken, ever */
    uint64_t seen_begun;                      /* begun at the reclaimer's last look; the role's */
    wr_rcu_flavor *flavor;                    /* constant */
    struct wr_rcu_gather *next;               /* in the flavour's list; constant once in it */
} wr_rcu_gather;

/* Puts p into the calling thread's batch. False when there is no memory to note it, not even in the
 * spare places: the pointer is still the caller's. *handed_over says whether a batch went on. */
bool wr_rcu_gather_push(wr_rcu_flavor *flavor, void *p, bool *handed_over);

/* Hands over what the calling thread has gathered of all flavours. */
void wr_rcu_gather_flush(void);

/* For who has the role of the reclaimer: takes the batch of a gather out of its owner's hands and
 * queues it, if it is there. */
bool wr_rcu_gather_take(wr_rcu_gather *gather);

/* Objects that the gather holds. */
WR_INLINE bool wr_rcu_gather_is_empty(wr_rcu_gather *gather)
{
    /* seq_cst: against an owner that begins a batch; pairs with announce(). */
    uint64_t deferred = wr_load_seq_cst(&gather->deferred_objects);
    /* Pairs with pass_on(). */
    return wr_load_acquire(&gather->handed) == deferred;
}

/* The first gather of a flavour, then by ->next. */
WR_INLINE wr_rcu_gather *wr_rcu_gather_first(wr_rcu_flavor *flavor)
{
    /* Observes the gather; pairs with create(). */
    return wr_load_acquire(&flavor->gathers);
}

/* Once a process, before the first push. */
void wr_rcu_gather_prepare_process(void);

/* In the child of a fork: queues all that was gathered, and makes the gathers of the threads that
 * are gone fit for others. */
void wr_rcu_gather_recover(wr_rcu_flavor *flavor);

#endif
