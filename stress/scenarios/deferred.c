/* deferred: readers that check every object they hold, while writers replace and defer the
 * free of it, threads are born and die, barriers are waited for and the process forks.
 *
 * An object is stamped when it is made; a writer that frees it while a reader holds it shows as
 * another stamp at the reader's second look, in a sanitizer's build as its report. The copy with
 * PLANTED frees at once, without a grace period: it must be caught. At the end all that was
 * deferred is free, and counted.
 */
#include <urcu.h>

#include "weir/rcu.h"

#include "../harness.h"
#include "rcu/tsan.h"

#include <sched.h>
#include <string.h>

enum { SLOTS = 32, HOLDS = 4, ROUND_STEPS = 3000, BYTES_MOST = 600 };

struct object {
    _Atomic uint64_t stamp; /* of its address and number; constant while it is live */
    uint64_t number;
    uint32_t bytes; /* of rest */
    unsigned char rest[];
};

static _Atomic(struct object *) slots[SLOTS];
static _Atomic uint64_t deferred; /* by this program */
static _Atomic uint64_t checked;

static uint64_t stamp_of(const struct object *object, uint64_t number)
{
    return ((uint64_t)(uintptr_t)object ^ number) * 0x9e3779b97f4a7c15u;
}

static struct object *make(uint64_t *random)
{
    uint32_t bytes = (uint32_t)random_size(random, BYTES_MOST);
    struct object *object = weir_malloc(sizeof *object + bytes);
    CHECK(object != NULL);
    object->number = random_next(random);
    object->bytes = bytes;
    memset(object->rest, (int)object->number, bytes);
    atomic_store_explicit(&object->stamp, stamp_of(object, object->number), memory_order_relaxed);
    return object;
}

static void give_up(struct object *object, uint64_t *random)
{
    atomic_fetch_add_explicit(&deferred, 1, memory_order_relaxed);
    if (PLANTED) {
        weir_free(object);
    } else if (random_below(random, 8) == 0) {
        void *one[] = {object};
        weir_free_rcu_batch(1, one);
    } else {
        weir_free_rcu(object);
    }
}

static void write_slots(uint64_t *random)
{
    for (unsigned i = 0; i < ROUND_STEPS; i++) {
        struct object *old = atomic_exchange(&slots[random_below(random, SLOTS)], make(random));
        give_up(old, random);
        if (random_below(random, 2000) == 0) {
            CHECK(weir_rcu_barrier() == 0);
        } else if (random_below(random, 500) == 0) {
            weir_rcu_thread_flush();
        }
    }
}

static void check_object(const struct object *object)
{
    CHECK(atomic_load_explicit(&object->stamp, memory_order_relaxed) ==
          stamp_of(object, object->number));
    CHECK(object->bytes == 0 || object->rest[object->bytes - 1] == (unsigned char)object->number);
}

static void read_slots(uint64_t *random)
{
    rcu_register_thread();
    for (unsigned i = 0; i < ROUND_STEPS / 10; i++) {
        struct object *held[HOLDS];
        uint64_t numbers[HOLDS];
        rcu_read_lock();
        for (unsigned h = 0; h < HOLDS; h++) {
            held[h] = atomic_load(&slots[random_below(random, SLOTS)]);
            numbers[h] = held[h]->number;
            check_object(held[h]);
        }
        /* What it holds stays whole while others go on. */
        for (unsigned look = 0; look < 3; look++) {
            (void)sched_yield();
            for (unsigned h = 0; h < HOLDS; h++) {
                CHECK(held[h]->number == numbers[h]);
                check_object(held[h]);
            }
        }
        /* The end of a section comes before the end of a grace period that waits for it: by
         * liburcu's own barriers, which a race detector does not see. */
        WR_RCU_TSAN_RELEASE(&rcu_flavor);
        rcu_read_unlock();
        atomic_fetch_add_explicit(&checked, HOLDS, memory_order_relaxed);
    }
    rcu_unregister_thread();
}

/* In a child all that was deferred is its own, and freed without the readers of the parent. */
static int go_on_in_child(void *unused)
{
    (void)unused;
    weir_free_rcu(weir_malloc(100));
    weir_rcu_thread_flush();
    return 0;
}

static void live(unsigned number, uint64_t *random)
{
    if (number % 2 == 0) {
        write_slots(random);
    } else {
        read_slots(random);
    }
}

void scenario_deferred(void)
{
    uint64_t random = stress.seed;
    for (unsigned i = 0; i < SLOTS; i++) {
        atomic_store(&slots[i], make(&random));
    }
    CHECK(weir_rcu_barrier() == 0); /* the reclaimer is past its birth; see stress_settle() */
    /* Each round has new threads: those of the one before have ended with pointers pending. */
    while (!stress_over()) {
        stress_run(live);
        stress_child(go_on_in_child, NULL, 60);
    }
    CHECK(weir_rcu_barrier() == 0);
    weir_rcu_stats stats;
    CHECK(weir_rcu_stats_get(&stats, sizeof stats) == 0);
    CHECK(stats.deferred_objects == 0 && stats.deferred_bytes == 0 && stats.unrecorded == 0);
    CHECK(PLANTED || stats.freed_objects == atomic_load(&deferred));
    for (unsigned i = 0; i < SLOTS; i++) {
        check_object(atomic_load(&slots[i]));
        weir_free(atomic_exchange(&slots[i], NULL));
    }
}
