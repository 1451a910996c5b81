/* The flavour that a test is built for, by TEST_FLAVOR_<NAME>, and readers of it: threads that are
 * in a read-side section, or online, from when they are asked in until they are let go. */
#ifndef WEIR_TESTS_RCU_FLAVORED_H
#define WEIR_TESTS_RCU_FLAVORED_H

#if defined(TEST_FLAVOR_MB)
#define URCU_API_MAP
#include <urcu/urcu-mb.h>
#elif defined(TEST_FLAVOR_QSBR)
#include <urcu-qsbr.h>
#elif defined(TEST_FLAVOR_BP)
#include <urcu-bp.h>
#else
#include <urcu.h>
#endif

#include "weir/rcu.h"

#include <pthread.h>
#include <stdatomic.h>
#include <time.h>

#include "rcu/tsan.h"
#include "support.h"

/* liburcu's own barriers are not seen by a race detector: the end of a section comes before the end
 * of a grace period that waits for it. */
static inline void leave_section(void)
{
    WR_RCU_TSAN_RELEASE(&rcu_flavor);
    rcu_read_unlock();
    rcu_thread_offline();
}

static inline void enter_section(void)
{
    rcu_thread_online();
    rcu_read_lock();
}

/* The thread registers, and in qsbr is offline outside of its sections. */
static inline void become_reader(void)
{
    rcu_register_thread();
    rcu_thread_offline();
}

static inline void cease_reader(void)
{
    rcu_thread_online();
    rcu_unregister_thread();
}

static inline void sleep_ms(unsigned milliseconds)
{
    struct timespec time = {milliseconds / 1000, (long)(milliseconds % 1000) * 1000000};
    (void)nanosleep(&time, NULL);
}

struct reader {
    pthread_t thread;
    atomic_int is_in;
    atomic_int may_go;
};

static inline void *reader_body(void *argument)
{
    struct reader *reader = argument;
    become_reader();
    enter_section();
    atomic_store(&reader->is_in, 1);
    while (!atomic_load(&reader->may_go)) {
        sleep_ms(1);
    }
    leave_section();
    cease_reader();
    return NULL;
}

/* Returns when another thread is in a section. */
static inline void reader_start(struct reader *reader)
{
    atomic_store(&reader->is_in, 0);
    atomic_store(&reader->may_go, 0);
    CHECK(pthread_create(&reader->thread, NULL, reader_body, reader) == 0);
    while (!atomic_load(&reader->is_in)) {
        sleep_ms(1);
    }
}

static inline void reader_end(struct reader *reader)
{
    atomic_store(&reader->may_go, 1);
    CHECK(pthread_join(reader->thread, NULL) == 0);
}

static inline weir_rcu_stats stats_now(void)
{
    weir_rcu_stats stats;
    CHECK(weir_rcu_stats_get(&stats, sizeof stats) == 0);
    return stats;
}

/* Waits, without a call that defers or frees, until so many objects wait; false after 20 s. */
static inline bool wait_for_deferred(size_t objects)
{
    for (unsigned i = 0; i < 20000; i++) {
        if (stats_now().deferred_objects == objects) {
            return true;
        }
        sleep_ms(1);
    }
    return false;
}

static inline void *filled(size_t bytes, uint64_t tag)
{
    void *block = weir_malloc(bytes);
    CHECK(block != NULL);
    pattern_fill(block, bytes, tag);
    return block;
}

#endif
