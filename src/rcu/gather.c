/* See gather.h. */
#include "rcu/gather.h"

#include "rcu/gate.h"
#include "rcu/reclaimer.h"
#include "rcu/tsan.h"

#include "weir/weir.h"

#include <pthread.h>

#define HELD ((uintptr_t)1)

static _Thread_local wr_rcu_gather *mine[WR_RCU_FLAVORS_MAX];
static _Thread_local bool ended; /* the thread's destructor has run */
static pthread_key_t thread_end;

/* ---- a gather for a thread ---- */

static wr_rcu_gather *create(wr_rcu_flavor *flavor)
{
    wr_rcu_gather *gather = weir_aligned_alloc(WR_CACHE_LINE_BYTES, sizeof *gather);
    if (gather == NULL) {
        return NULL;
    }
    *gather = (wr_rcu_gather){.owned = 1, .flavor = flavor};
    gather->next = wr_load_relaxed(&flavor->gathers);
    /* Linearisation point. Publishes the gather, and those behind it; pairs with
     * wr_rcu_gather_first(). No ABA: none ever leaves the list. */
    while (!wr_cas_weak_acq_rel(&flavor->gathers, &gather->next, gather)) {
    }
    return gather;
}

static wr_rcu_gather *obtain(wr_rcu_flavor *flavor)
{
    for (wr_rcu_gather *g = wr_rcu_gather_first(flavor); g != NULL; g = g->next) {
        uint32_t nobody = 0;
        /* Linearisation point. Observes what the last owner left; pairs with release(). */
        if (wr_load_relaxed(&g->owned) == 0 && wr_cas_strong_acq_rel(&g->owned, &nobody, 1)) {
            return g;
        }
    }
    return create(flavor);
}

static void release(wr_rcu_gather *gather)
{
    /* Publishes the owner's fields; pairs with obtain(). */
    wr_store_release(&gather->owned, 0);
}

static wr_rcu_gather *gather_of_thread(wr_rcu_flavor *flavor)
{
    wr_rcu_gather *gather = mine[flavor->number];
    if (WR_UNLIKELY(gather == NULL)) {
        gather = obtain(flavor);
        if (mine[flavor->number] != NULL) { /* by a call from within obtain(), see begin() */
            release(gather);
            return mine[flavor->number];
        }
        mine[flavor->number] = gather;
        if (gather != NULL && !ended) {
            (void)pthread_setspecific(thread_end, mine);
        }
    }
    return gather;
}

/* ---- handing over ---- */

static void raise_peak(_Atomic size_t *peak, size_t now)
{
    size_t before = wr_load_relaxed(peak);
    /* Relaxed: a statistic. Ends: each failure has seen a higher peak. */
    while (now > before && !wr_cas_weak_relaxed(peak, &before, now)) {
    }
}

/* Queues a batch that the caller has, in the gate. */
static void pass_on(wr_rcu_gather *gather, wr_rcu_batch *batch)
{
    wr_rcu_flavor *flavor = gather->flavor;
    uint32_t count = batch->count;
    size_t bytes = batch->bytes;
    /* seq_cst: against a reclaimer that is about to sleep; pairs with is_due() in reclaimer.c. */
    size_t objects_now = wr_fetch_add_seq_cst(&flavor->pending_objects, count) + count;
    size_t bytes_now = wr_fetch_add_seq_cst(&flavor->pending_bytes, bytes) + bytes;
    raise_peak(&flavor->peak_objects, objects_now);
    raise_peak(&flavor->peak_bytes, bytes_now);
    (void)wr_fetch_add_relaxed(&flavor->batches, 1); /* a statistic */
    cds_wfcq_node_init(&batch->node);
    /* The queue's own exchange is a full barrier, which a race detector does not see. */
    WR_RCU_TSAN_RELEASE(batch);
    (void)cds_wfcq_enqueue(&flavor->queue_head, &flavor->queue_tail, &batch->node);
    /* After it is in the queue, so that who sees the number finds it there; pairs with
     * wr_rcu_gather_is_empty() and take_all() in round.c. */
    (void)wr_fetch_add_seq_cst(&gather->handed, count);
}

/* The owner, who holds the batch. */
static void hand_over(wr_rcu_gather *gather)
{
    wr_rcu_batch *batch = gather->current;
    gather->current = NULL;
    wr_rcu_gate_enter(&gather->passing);
    wr_store_relaxed(&gather->slot, 0); /* the owner's own; none takes from it while it is HELD */
    pass_on(gather, batch);
    wr_rcu_gate_leave(&gather->passing);
    wr_rcu_reclaimer_look(gather->flavor);
}

bool wr_rcu_gather_take(wr_rcu_gather *gather)
{
    bool taken = false;
    wr_rcu_gate_enter(&gather->flavor->passing);
    uintptr_t slot = wr_load_relaxed(&gather->slot);
    /* Linearisation point. Observes the batch; pairs with put_back(). */
    if (slot != 0 && (slot & HELD) == 0 && wr_cas_strong_acq_rel(&gather->slot, &slot, 0)) {
        pass_on(gather, (wr_rcu_batch *)slot);
        taken = true;
    }
    wr_rcu_gate_leave(&gather->flavor->passing);
    return taken;
}

/* ---- the owner's batch ---- */

/* The batch of before, if the reclaimer has not taken it. */
static wr_rcu_batch *hold(wr_rcu_gather *gather)
{
    wr_rcu_batch *batch = gather->current;
    uintptr_t slot = (uintptr_t)batch;
    /* Observes nothing: the batch is as the owner left it. acq_rel, that what the owner writes next
     * is not seen by who took it before; pairs with wr_rcu_gather_take(). */
    if (batch != NULL && !wr_cas_strong_acq_rel(&gather->slot, &slot, slot | HELD)) {
        batch = NULL;
        gather->current = NULL;
    }
    return batch;
}

/* A new batch; NULL if there is no memory. To allocate may call the program back, for the limit on
 * committed bytes, and that may push: it has begun one then, which serves us too. While a batch is
 * HELD nothing is called that may do so. */
static wr_rcu_batch *begin(wr_rcu_gather *gather)
{
    wr_rcu_batch *batch = weir_malloc(sizeof *batch);
    while (batch != NULL && gather->current != NULL) {
        weir_free(batch);
        wr_rcu_batch *other = hold(gather);
        if (other != NULL) {
            return other;
        }
        batch = weir_malloc(sizeof *batch);
    }
    if (batch != NULL) {
        batch->count = 0;
        batch->bytes = 0;
        gather->current = batch;
        /* For the child of a fork; pairs with wr_rcu_gather_recover(). */
        wr_store_release(&gather->slot, (uintptr_t)batch | HELD);
        /* Relaxed: tells batches apart; one writer. */
        wr_store_relaxed(&gather->begun, wr_load_relaxed(&gather->begun) + 1);
    }
    return batch;
}

static void put_back(wr_rcu_gather *gather)
{
    /* Publishes the batch; pairs with wr_rcu_gather_take(). */
    wr_store_release(&gather->slot, (uintptr_t)gather->current);
}

static void write_object(wr_rcu_gather *gather, wr_rcu_batch *batch, void *p)
{
    size_t bytes = weir_malloc_usable_size(p);
    batch->objects[batch->count] = p;
    batch->bytes += bytes;
    /* First the object, then the number, as the child of a fork may find them; pairs with
     * wr_rcu_gather_recover(). */
    wr_fence_release();
    batch->count++;
    wr_store_relaxed(&gather->deferred_bytes, wr_load_relaxed(&gather->deferred_bytes) + bytes);
}

/* Counts the object just written; a batch that has just begun is announced. */
static void announce(wr_rcu_gather *gather, bool is_first)
{
    uint64_t deferred = wr_load_relaxed(&gather->deferred_objects) + 1;
    if (!is_first) {
        /* Publishes the object; pairs with take_all() in round.c. */
        wr_store_release(&gather->deferred_objects, deferred);
        return;
    }
    /* seq_cst: before the look at the reclaimer's sleep; pairs with wr_rcu_gather_is_empty(). */
    wr_store_seq_cst(&gather->deferred_objects, deferred);
    wr_rcu_reclaimer_notice(gather->flavor);
}

/* Notes an object where there is no memory for a batch. */
static bool note_in_spare(wr_rcu_flavor *flavor, void *p)
{
    size_t bytes = weir_malloc_usable_size(p); /* while it is the caller's */
    for (unsigned i = 0; i < WR_RCU_SPARE_PLACES; i++) {
        void *nothing = NULL;
        /* Linearisation point. Publishes the object; pairs with take_spare() in round.c. */
        if (wr_load_relaxed(&flavor->spare[i]) == NULL &&
            wr_cas_strong_acq_rel(&flavor->spare[i], &nothing, p)) {
            /* Relaxed: statistics. */
            (void)wr_fetch_add_relaxed(&flavor->extra_objects, 1);
            (void)wr_fetch_add_relaxed(&flavor->extra_bytes, bytes);
            wr_rcu_reclaimer_hurry(flavor);
            return true;
        }
    }
    return false;
}

static bool push(wr_rcu_gather *gather, void *p, bool *handed_over)
{
    wr_rcu_batch *batch = hold(gather);
    if (batch == NULL) {
        batch = begin(gather);
        if (batch == NULL) {
            return false;
        }
    }
    write_object(gather, batch, p);
    bool is_full = batch->count == WR_RCU_BATCH_OBJECTS || batch->bytes >= WR_RCU_BATCH_BYTES;
    bool is_first = batch->count == 1 && !is_full; /* hand_over() looks at the reclaimer itself */
    if (!is_full) {
        put_back(gather);
    }
    announce(gather, is_first);
    if (is_full) {
        hand_over(gather);
        *handed_over = true;
    }
    return true;
}

bool wr_rcu_gather_push(wr_rcu_flavor *flavor, void *p, bool *handed_over)
{
    wr_rcu_gather *gather = gather_of_thread(flavor);
    bool done = (gather != NULL && push(gather, p, handed_over)) || note_in_spare(flavor, p);
    if (WR_UNLIKELY(ended)) {
        wr_rcu_gather_flush();
    }
    return done;
}

static void flush(wr_rcu_gather *gather)
{
    if (hold(gather) != NULL) {
        hand_over(gather);
    }
}

void wr_rcu_gather_flush(void)
{
    for (unsigned i = 0; i < WR_RCU_FLAVORS_MAX; i++) {
        wr_rcu_gather *gather = mine[i];
        if (gather != NULL) {
            flush(gather);
            if (ended) {
                mine[i] = NULL;
                release(gather);
            }
        }
    }
}

/* ---- ends ---- */

/* Destructors of other keys may defer frees yet: each such call hands over at once. */
static void end_thread(void *unused)
{
    (void)unused;
    ended = true;
    wr_rcu_gather_flush();
}

void wr_rcu_gather_prepare_process(void)
{
    (void)pthread_key_create(&thread_end, end_thread);
}

void wr_rcu_gather_recover(wr_rcu_flavor *flavor)
{
    wr_rcu_gather *own = mine[flavor->number];
    for (wr_rcu_gather *g = wr_rcu_gather_first(flavor); g != NULL; g = g->next) {
        /* Observes the batch as far as its owner came; pairs with begin() and put_back(). */
        wr_rcu_batch *batch = (wr_rcu_batch *)(wr_load_acquire(&g->slot) & ~HELD);
        g->current = NULL;
        wr_store_relaxed(&g->slot, 0); /* the child has one thread; so below */
        wr_store_relaxed(&g->passing, 0);
        wr_store_relaxed(&g->deferred_objects, 0); /* the child counts anew */
        wr_store_relaxed(&g->deferred_bytes, 0);
        if (batch != NULL && batch->count != 0) {
            pass_on(g, batch);
        } else {
            weir_free(batch);
        }
        wr_store_relaxed(&g->handed, 0);
        wr_store_relaxed(&g->owned, g == own);
    }
}
