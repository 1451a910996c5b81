/* See round.h. */
#include "rcu/round.h"

#include "rcu/futex.h"
#include "rcu/gate.h"
#include "rcu/gather.h"
#include "rcu/order.h"
#include "rcu/tsan.h"
#include "rcu/watch.h"

#include "weir/weir.h"

#include <sched.h>

/* What a round frees may call the program back, for the limit on committed bytes. */
static _Thread_local bool is_running;

static void add(_Atomic size_t *statistic, size_t n)
{
    wr_store_relaxed(statistic, wr_load_relaxed(statistic) + n); /* one writer: the role */
}

/* ---- collect ---- */

/* Takes what the gather held when the call began, whatever its owner does meanwhile. */
static void take_all(wr_rcu_gather *gather)
{
    /* Observes the objects that count; pairs with announce() in gather.c. */
    uint64_t target = wr_load_acquire(&gather->deferred_objects);
    /* Observes that they are queued; pairs with pass_on() in gather.c. */
    while ((int64_t)(target - wr_load_acquire(&gather->handed)) > 0) {
        if (!wr_rcu_gather_take(gather)) {
            (void)sched_yield(); /* its owner is in the middle of a push */
        }
    }
}

/* Takes the batch that was there at the last look too. */
static void take_aged(wr_rcu_gather *gather)
{
    uint64_t begun = wr_load_relaxed(&gather->begun); /* tells batches apart */
    if (wr_rcu_gather_is_empty(gather)) {
        return;
    }
    if (begun == gather->seen_begun) {
        (void)wr_rcu_gather_take(gather);
    }
    gather->seen_begun = begun;
}

static void take_spare(wr_rcu_flavor *flavor)
{
    for (unsigned i = 0; i < WR_RCU_SPARE_PLACES; i++) {
        if (wr_load_relaxed(&flavor->spare[i]) != NULL && flavor->taken[i] == NULL) {
            /* Observes the object; pairs with note_in_spare() in gather.c. */
            flavor->taken[i] = wr_exchange_acq_rel(&flavor->spare[i], NULL);
        }
    }
}

static void collect(wr_rcu_flavor *flavor, bool all)
{
    for (wr_rcu_gather *g = wr_rcu_gather_first(flavor); g != NULL; g = g->next) {
        if (all) {
            take_all(g);
        } else {
            take_aged(g);
        }
    }
    wr_rcu_gate_enter(&flavor->passing);
    take_spare(flavor);
    (void)__cds_wfcq_splice_blocking(&flavor->held_head, &flavor->held_tail, &flavor->queue_head,
                                     &flavor->queue_tail);
    wr_rcu_gate_leave(&flavor->passing);
}

static bool has_held(wr_rcu_flavor *flavor)
{
    bool any = !cds_wfcq_empty(&flavor->held_head, &flavor->held_tail);
    for (unsigned i = 0; i < WR_RCU_SPARE_PLACES; i++) {
        any = any || flavor->taken[i] != NULL;
    }
    return any;
}

/* ---- grace period ---- */

static void wait_for_readers(wr_rcu_flavor *flavor)
{
    /* fork waits, for a while, until nobody is in liburcu, whose locks its child inherits; pairs
     * with wait_for_waiters() in fork.c. */
    for (;;) {
        wr_store_seq_cst(&flavor->waiting, 1);
        if (wr_load_seq_cst(&wr_rcu_gate_closed) == 0) {
            break;
        }
        wr_store_seq_cst(&flavor->waiting, 0);
        wr_rcu_gate_wait();
    }
    wr_rcu_watch_begin(flavor);
    wr_rcu_flavor_liburcu(flavor)->update_synchronize_rcu();
    /* Readers' sections come before: by liburcu's barriers, which a race detector does not see. A
     * reader under it announces the end of a section on the flavour's address. */
    WR_RCU_TSAN_ACQUIRE(wr_rcu_flavor_liburcu(flavor));
    wr_rcu_watch_end(flavor);
    /* Pairs with wait_for_waiters() in fork.c. */
    wr_store_seq_cst(&flavor->waiting, 0);
    add(&flavor->grace_periods, 1);
}

/* ---- free ---- */

typedef struct group {
    void **objects;
    size_t count;
    size_t bytes; /* of the objects, without their batches */
    size_t batches;
} group;

/* The arrays to sort in; NULL when there is no memory: then each batch is freed by itself. */
static void **order_of(wr_rcu_flavor *flavor)
{
    if (flavor->order == NULL) {
        flavor->order = weir_malloc(2 * WR_RCU_ORDER_OBJECTS * sizeof *flavor->order);
    }
    return flavor->order;
}

static wr_rcu_batch *next_held(wr_rcu_flavor *flavor)
{
    struct cds_wfcq_node *node =
        __cds_wfcq_dequeue_blocking(&flavor->held_head, &flavor->held_tail);
    wr_rcu_batch *batch = node == NULL ? NULL : caa_container_of(node, wr_rcu_batch, node);
    if (batch != NULL) {
        WR_RCU_TSAN_ACQUIRE(batch); /* what WR_RCU_TSAN_RELEASE announces in pass_on() */
    }
    return batch;
}

/* Batches up to WR_RCU_ORDER_OBJECTS pointers, their own memory among them, sorted. */
static void fill_group(wr_rcu_flavor *flavor, group *g)
{
    while (g->count + WR_RCU_BATCH_OBJECTS + 1 <= WR_RCU_ORDER_OBJECTS) {
        wr_rcu_batch *batch = next_held(flavor);
        if (batch == NULL) {
            break;
        }
        for (uint32_t i = 0; i < batch->count; i++) {
            g->objects[g->count++] = batch->objects[i];
        }
        g->bytes += batch->bytes;
        g->objects[g->count++] = batch;
        g->batches++;
    }
    g->objects = wr_rcu_order(g->objects, g->objects + WR_RCU_ORDER_OBJECTS, g->count);
}

static void count_freed(wr_rcu_flavor *flavor, size_t objects, size_t bytes)
{
    add(&flavor->freed_objects, objects);
    add(&flavor->freed_bytes, bytes);
    /* Relaxed: who waits for less looks at the end of the round. */
    (void)wr_fetch_sub_relaxed(&flavor->pending_objects, objects);
    (void)wr_fetch_sub_relaxed(&flavor->pending_bytes, bytes);
}

/* Frees one group of what is held; false when nothing is. */
static bool free_group(wr_rcu_flavor *flavor)
{
    if (cds_wfcq_empty(&flavor->held_head, &flavor->held_tail)) {
        return false;
    }
    void **order = order_of(flavor);
    wr_rcu_gate_enter(&flavor->passing);
    if (order != NULL) {
        group g = {.objects = order};
        fill_group(flavor, &g);
        weir_free_batch(g.count, g.objects);
        count_freed(flavor, g.count - g.batches, g.bytes);
    } else {
        wr_rcu_batch *batch = next_held(flavor);
        weir_free_batch(batch->count, batch->objects);
        count_freed(flavor, batch->count, batch->bytes);
        weir_free(batch);
    }
    wr_rcu_gate_leave(&flavor->passing);
    return true;
}

static void free_held(wr_rcu_flavor *flavor)
{
    while (free_group(flavor)) {
    }
    wr_rcu_gate_enter(&flavor->passing);
    for (unsigned i = 0; i < WR_RCU_SPARE_PLACES; i++) {
        if (flavor->taken[i] != NULL) { /* they are not in what is pending */
            add(&flavor->freed_objects, 1);
            add(&flavor->freed_bytes, weir_malloc_usable_size(flavor->taken[i]));
            weir_free(flavor->taken[i]);
            flavor->taken[i] = NULL;
        }
    }
    wr_rcu_gate_leave(&flavor->passing);
}

/* ---- a round ---- */

bool wr_rcu_round_is_mine(void)
{
    return is_running;
}

void wr_rcu_round_run(wr_rcu_flavor *flavor)
{
    is_running = true;
    /* What a parent had deferred; no reader of it is left. */
    if (WR_UNLIKELY(flavor->held_is_safe)) {
        free_held(flavor);
        flavor->held_is_safe = false;
    }
    /* Observes what was deferred before; pairs with wr_rcu_reclaimer_barrier(). */
    uint32_t wanted = wr_load_acquire(&flavor->barrier_wanted);
    /* Pairs with wr_rcu_reclaimer_hurry(). */
    bool hurried = wr_exchange_acq_rel(&flavor->hurry, 0) != 0;
    add(&flavor->hurried, hurried);
    collect(flavor, hurried || wanted != wr_load_relaxed(&flavor->barrier_done));
    if (has_held(flavor)) {
        wait_for_readers(flavor);
        free_held(flavor);
    }
    /* Publishes that all is free; pairs with wr_rcu_reclaimer_barrier(). */
    wr_store_release(&flavor->barrier_done, wanted);
    /* seq_cst: the word first, then the look for sleepers; pairs with sleep_until_round(). */
    (void)wr_fetch_add_seq_cst(&flavor->rounds, 1);
    if (wr_load_seq_cst(&flavor->sleepers) != 0) {
        wr_rcu_futex_wake(&flavor->rounds);
    }
    is_running = false;
}

/* ---- after fork ---- */

void wr_rcu_round_recover(wr_rcu_flavor *flavor, bool is_safe)
{
    /* The child has one thread: all of this is its own. */
    struct __cds_wfcq_head head;
    struct cds_wfcq_tail tail;
    __cds_wfcq_init(&head, &tail);
    (void)__cds_wfcq_splice_blocking(&flavor->held_head, &flavor->held_tail, &flavor->queue_head,
                                     &flavor->queue_tail);
    (void)__cds_wfcq_splice_blocking(&head, &tail, &flavor->held_head, &flavor->held_tail);
    size_t objects = 0;
    size_t bytes = 0;
    struct cds_wfcq_node *node;
    while ((node = __cds_wfcq_dequeue_blocking(&head, &tail)) != NULL) {
        wr_rcu_batch *batch = caa_container_of(node, wr_rcu_batch, node);
        objects += batch->count;
        bytes += batch->bytes;
        cds_wfcq_node_init(&batch->node);
        (void)cds_wfcq_enqueue(&flavor->held_head, &flavor->held_tail, &batch->node);
    }
    wr_store_relaxed(&flavor->pending_objects, objects);
    wr_store_relaxed(&flavor->pending_bytes, bytes);
    for (unsigned i = 0; i < WR_RCU_SPARE_PLACES; i++) {
        void *both[] = {flavor->taken[i], wr_load_relaxed(&flavor->spare[i])};
        for (unsigned k = 0; k < WR_ARRAY_LENGTH(both); k++) {
            objects += both[k] != NULL ? 1 : 0;
            bytes += weir_malloc_usable_size(both[k]);
        }
    }
    wr_store_relaxed(&flavor->extra_objects, objects);
    wr_store_relaxed(&flavor->extra_bytes, bytes);
    wr_store_relaxed(&flavor->freed_objects, 0);
    wr_store_relaxed(&flavor->freed_bytes, 0);
    flavor->held_is_safe = is_safe && objects != 0;
    wr_store_relaxed(&flavor->barrier_done, wr_load_relaxed(&flavor->barrier_wanted));
    wr_store_relaxed(&flavor->waiting, 0);
    wr_store_relaxed(&flavor->waiting_since_ms, 0);
}
