/* The loops in one flavour; see way.h. BENCH_RCU_<FLAVOR> is defined for the compiler. */
#define URCU_API_MAP
#if defined(BENCH_RCU_MEMB)
#include <urcu/urcu-memb.h>
#define FLAVOR way_memb
#define NAME   "memb"
#elif defined(BENCH_RCU_MB)
#include <urcu/urcu-mb.h>
#define FLAVOR way_mb
#define NAME   "mb"
#elif defined(BENCH_RCU_QSBR)
#include <urcu/urcu-qsbr.h>
#define FLAVOR way_qsbr
#define NAME   "qsbr"
#else
#include <urcu/urcu-bp.h>
#define FLAVOR way_bp
#define NAME   "bp"
#endif

#include "rcu/way.h"

#include "common/random.h"
#include "memory/fail.h"

#include <stdlib.h>
#include <unistd.h>

#if BENCH_RCU_WEIR
#include <weir/rcu.h>
#endif

#define HOLDS           8u   /* objects that a reader holds in one section */
#define LOOK_EVERY      256u /* objects of a writer between two looks at the backlog */
#define FREED_STEP      64u  /* a thread that frees adds to the sum after so many */
#define QUIESCENT_EVERY 16u  /* objects of a writer between two quiescent states (qsbr) */

/* What call_rcu needs in front of every object. */
struct node {
    struct rcu_head head;
    struct way_load *load;
    unsigned char object[];
};

/* Of the thread that frees: what it has not added to load->freed yet. */
static _Thread_local unsigned freed_here;
/* defer_rcu's callback gets the object alone. There is one load in a process. */
static struct way_load *the_load;

static inline void count_freed(struct way_load *load)
{
    if (++freed_here < FREED_STEP)
        return;
    freed_here = 0;
    /* relaxed: a number; who needs it exact looks after a barrier of liburcu. */
    atomic_fetch_add_explicit(&load->freed, FREED_STEP, memory_order_relaxed);
}

static void free_node(struct rcu_head *head)
{
    struct node *node = caa_container_of(head, struct node, head);
    count_freed(node->load);
    free(node);
}

static void free_object(void *object)
{
    count_freed(the_load);
    free(object);
}

static uint64_t deferred_of(const struct way_load *load)
{
    uint64_t sum = 0;
    for (unsigned i = 0; i < load->writers; i++)
        sum += atomic_load_explicit(&load->counts[i].deferred, memory_order_relaxed);
    return sum;
}

static uint64_t freed_of(struct way_load *load)
{
#if BENCH_RCU_WEIR
    if (load->kind == WAY_FREE_RCU) {
        struct weir_rcu_stats stats;
        weir_rcu_stats_get(&stats, sizeof stats);
        return stats.freed_objects;
    }
#endif
    return atomic_load_explicit(&load->freed, memory_order_relaxed);
}

/* Frees that come between the two sums make it smaller, never larger. */
static void look_at_backlog(struct way_load *load, struct way_count *count)
{
    uint64_t deferred = deferred_of(load);
    uint64_t freed = freed_of(load);
    if (deferred > freed && deferred - freed > count->backlog_max)
        count->backlog_max = deferred - freed;
}

/* A new object, marked with `tag`. */
static inline stamp_t make(struct way_load *load, enum way_kind kind, uint64_t *random,
                           uint64_t tag)
{
    uint32_t bytes = random_size(random, load->least_shift, load->greatest_shift);
    if (kind == WAY_CALL_RCU) {
        struct node *node = malloc(sizeof *node + bytes);
        if (node == NULL)
            fail("no memory");
        node->load = load;
        return stamp_write(node->object, bytes, tag);
    }
    void *object = malloc(bytes);
    if (object == NULL)
        fail("no memory");
    return stamp_write(object, bytes, tag);
}

static inline struct node *node_of(stamp_t stamp)
{
    return caa_container_of((unsigned char(*)[])stamp_block(stamp), struct node, object);
}

/* Frees an object that no slot holds any more, when its readers are gone. */
static inline void defer(enum way_kind kind, stamp_t stamp)
{
    switch (kind) {
    case WAY_FREE_RCU:
#if BENCH_RCU_WEIR
        weir_free_rcu(stamp_block(stamp));
#endif
        break;
    case WAY_CALL_RCU:
        call_rcu(&node_of(stamp)->head, free_node);
        break;
    case WAY_DEFER_RCU:
        defer_rcu(free_object, stamp_block(stamp));
        break;
    case WAY_AT_ONCE:
        free(stamp_block(stamp));
        break;
    }
}

static inline void write_as(struct way_load *load, unsigned index, enum way_kind kind)
{
    struct way_count *count = &load->counts[index];
    uint64_t random = random_stream(load->seed, index);
    for (uint64_t i = 1; i <= load->objects; i++) {
        stamp_t fresh = make(load, kind, &random, i);
        uint32_t slot = (uint32_t)(random_next(&random) >> 32) & (load->slot_count - 1);
        /* release: publishes the object's bytes; pairs with the load in read_section. acquire:
         * those of the old one, from the writer that published it. */
        stamp_t old = atomic_exchange_explicit(&load->slots[slot], fresh, memory_order_acq_rel);
        defer(kind, old);
        atomic_store_explicit(&count->deferred, i, memory_order_relaxed);
        if (i % QUIESCENT_EVERY == 0)
            rcu_quiescent_state();
        if (i % LOOK_EVERY == 0)
            look_at_backlog(load, count);
    }
}

static void write_all(struct way_load *load, unsigned index)
{
    switch (load->kind) {
    case WAY_FREE_RCU:
        write_as(load, index, WAY_FREE_RCU);
        break;
    case WAY_CALL_RCU:
        write_as(load, index, WAY_CALL_RCU);
        break;
    case WAY_DEFER_RCU:
        write_as(load, index, WAY_DEFER_RCU);
        break;
    case WAY_AT_ONCE:
        write_as(load, index, WAY_AT_ONCE);
        break;
    }
}

/* One section: takes some objects, checks them, lets them lie, checks them again. */
static bool read_section(struct way_load *load, uint64_t *random)
{
    stamp_t held[HOLDS];
    bool whole = true;
    rcu_read_lock();
    for (unsigned i = 0; i < HOLDS; i++) {
        uint32_t slot = (uint32_t)(random_next(random) >> 32) & (load->slot_count - 1);
        /* acquire: pairs with the exchange in write_as. */
        held[i] = atomic_load_explicit(&load->slots[slot], memory_order_acquire);
        whole = whole && stamp_holds(held[i]);
    }
    for (unsigned round = 0; round < 2; round++) {
        /* The compiler must look at the memory anew. */
        atomic_signal_fence(memory_order_seq_cst);
        for (unsigned i = 0; i < HOLDS; i++)
            whole = whole && stamp_holds(held[i]);
    }
    rcu_read_unlock();
    rcu_quiescent_state();
    return whole;
}

static void read_all(struct way_load *load, unsigned index)
{
    struct way_count *count = &load->counts[index];
    uint64_t random = random_stream(load->seed, index);
    /* relaxed: the number publishes nothing. */
    while (atomic_load_explicit(&load->writers_left, memory_order_relaxed) > 0) {
        if (!read_section(load, &random)) {
            atomic_store_explicit(&load->broken, "a reader's object changed while it held it",
                                  memory_order_relaxed);
            return;
        }
        count->checked += HOLDS;
        if (load->pause_us > 0) {
            rcu_thread_offline();
            usleep(load->pause_us);
            rcu_thread_online();
        }
    }
}

static void work(struct team *team, unsigned index)
{
    struct way_load *load = team->shared;
    bool writes = index < load->writers;
    bool defers = writes && load->kind == WAY_DEFER_RCU;
    rcu_register_thread();
    if (defers)
        rcu_defer_register_thread();
    /* A barrier of pthreads, and the end of the others, are waited for: not as a reader (qsbr). */
    rcu_thread_offline();
    team_start(team);
    rcu_thread_online();
    if (writes) {
        write_all(load, index);
        atomic_fetch_sub_explicit(&load->writers_left, 1, memory_order_relaxed);
    } else {
        read_all(load, index);
    }
    rcu_thread_offline();
    /* Flushes what the thread has deferred: part of its work. */
    if (defers)
        rcu_defer_unregister_thread();
    team_end(team);
    rcu_thread_online();
    rcu_unregister_thread();
}

static void fill(struct way_load *load)
{
    uint64_t random = random_stream(load->seed, WAY_THREADS_MAX);
    the_load = load;
    for (uint32_t i = 0; i < load->slot_count; i++)
        atomic_store_explicit(&load->slots[i], make(load, load->kind, &random, i),
                              memory_order_relaxed);
}

static void drain(struct way_load *load)
{
    switch (load->kind) {
    case WAY_FREE_RCU:
#if BENCH_RCU_WEIR
        (void)weir_rcu_barrier();
#endif
        break;
    case WAY_CALL_RCU:
        rcu_barrier();
        break;
    case WAY_DEFER_RCU:
        rcu_defer_barrier();
        break;
    case WAY_AT_ONCE:
        break;
    }
}

static void empty(struct way_load *load)
{
    for (uint32_t i = 0; i < load->slot_count; i++) {
        stamp_t stamp = atomic_load_explicit(&load->slots[i], memory_order_relaxed);
        if (load->kind != WAY_AT_ONCE && !stamp_holds(stamp))
            atomic_store_explicit(&load->broken, "an object of a slot has changed",
                                  memory_order_relaxed);
        free(load->kind == WAY_CALL_RCU ? (void *)node_of(stamp) : stamp_block(stamp));
    }
}

const struct way_flavor FLAVOR = {
    .name = NAME,
    .has_free_rcu = BENCH_RCU_WEIR,
    .work = work,
    .fill = fill,
    .drain = drain,
    .empty = empty,
};
