/* See init.h. */
#include "api/init.h"

#include "base/atomic.h"
#include "base/options.h"
#include "cache/park.h"
#include "diag/check.h"
#include "diag/guard.h"
#include "diag/leaks.h"
#include "diag/stack.h"
#include "diag/summary.h"
#include "heap/purger.h"
#include "heap/heap.h"
#include "heap/limit.h"
#include "os/host.h"
#include "os/thread.h"

#include <pthread.h>

/* States of each once-only part. */
enum { ONCE_OPEN, ONCE_UNDER_WAY, ONCE_DONE, ONCE_FAILED };
static _Atomic int key_state;
static _Atomic int options_state;

static pthread_key_t exit_key; /* written before key_state is ONCE_DONE */

/* True for the one caller that has to do it. */
static bool begin_once(_Atomic int *state)
{
    int open = ONCE_OPEN;
    /* Relaxed look first: nearly all calls come when it is done. The CAS picks the winner and no
     * more; who needs what the winner sets up asks is_done(), which pairs with finish_once(). */
    return wr_load_relaxed(state) == ONCE_OPEN &&
           wr_cas_strong_acq_rel(state, &open, ONCE_UNDER_WAY);
}

static void finish_once(_Atomic int *state, bool succeeded)
{
    /* Publishes what was set up; pairs with is_done(). */
    wr_store_release(state, succeeded ? ONCE_DONE : ONCE_FAILED);
}

static bool is_done(_Atomic int *state)
{
    /* Observes what was set up; pairs with finish_once(). */
    return wr_load_acquire(state) == ONCE_DONE;
}

/* The end of a thread. Destructors of other keys may still allocate and free: from here on through
 * the bins. */
static void leave_thread(void *cache)
{
    wr_cache_self = &wr_cache_direct;
    wr_park_push(cache);
    wr_purger_poke(false, false); /* parking may have made slices free */
    if (wr_park_living() == 0) {
        wr_purger_stop(false);
    }
    wr_limit_answer(); /* parking may purge, and a purge charge for a moment */
}

/* Options are read as soon as libc has an environment, which the first calls can come before. */
static void init_options(void)
{
    char *const *environment = wr_host_environment();
    if (environment != NULL && begin_once(&options_state)) {
        if (!wr_host_is_secure()) {
            wr_options_parse(environment);
        }
        wr_limit_start();
        wr_check_start();
        if (!wr_check_is_on()) {
            wr_guard_start();
        }
        if (wr_option_get(wr_option_summary) != 0) {
            wr_summary_prepare();
        }
        finish_once(&options_state, true);
    }
}

/* Relaxed: who registers sets it, and who does not see it yet registers once more. */
static _Atomic bool is_fork_followed;

void wr_init_follow_forks(void)
{
    if (wr_load_relaxed(&is_fork_followed)) {
        return;
    }
    wr_cache *before = wr_cache_self;
    wr_cache_self = &wr_cache_direct; /* libc may allocate, and has a lock of its own meanwhile */
    if (wr_fork_register()) {
        wr_store_relaxed(&is_fork_followed, true);
    }
    wr_cache_self = before;
}

static void init_process(void)
{
    init_options();
    if (wr_check_is_on() || wr_option_get(wr_option_background) == 1) {
        wr_init_follow_forks(); /* no cache tells how many threads there are; the purger is one */
    }
    if (begin_once(&key_state)) {
        finish_once(&key_state, pthread_key_create(&exit_key, leave_thread) == 0);
    }
}

void wr_init_reset_after_fork(void)
{
    /* Relaxed: the child has one thread. Who was at it is no more. */
    if (wr_load_relaxed(&key_state) == ONCE_UNDER_WAY) {
        wr_store_relaxed(&key_state, ONCE_OPEN);
    }
    if (wr_load_relaxed(&options_state) == ONCE_UNDER_WAY) {
        wr_store_relaxed(&options_state, ONCE_OPEN);
    }
}

/* A cache for the calling thread; NULL where it has to go without. */
static wr_cache *obtain_cache(void)
{
    if (!is_done(&key_state)) {
        return NULL; /* another thread is at it (or there is no key): until the next call */
    }
    if (wr_check_is_on()) {
        return NULL; /* so that each call takes the slow path, for good */
    }
    wr_cache *cache = wr_park_adopt();
    return cache != NULL ? cache
                         : wr_cache_create(wr_heap_default.bins); /* until there is memory */
}

void wr_init_thread(void)
{
    init_process();
    wr_cache *cache = obtain_cache();
    if (cache == NULL || cache->id != 0 || wr_thread_number() != wr_host_process_id()) {
        wr_init_follow_forks(); /* a process with one thread has the first cache with the first */
    }
    if (cache == NULL) {
        return;
    }
    /* The child of a fork that is not followed has another number. */
    wr_store_relaxed(&cache->owner, wr_load_relaxed(&is_fork_followed) ? wr_thread_number() : 0);
    wr_cache_self = cache;
    if (cache->id != 0) {
        wr_purger_poke(true, false); /* perhaps the process's second thread */
    }
    /* May allocate; the cache serves that already. In the last round of a dying thread's
     * destructors libc runs none for a key that is set then: the purger parks such a thread's cache
     * (cache/park.h). */
    if (pthread_setspecific(exit_key, cache) != 0) {
        leave_thread(cache);
    }
}

/* A thread that allocated before libc had an environment has a cache, past which check mode sees
 * nothing. */
static void drop_cache(void)
{
    wr_cache *cache = wr_cache_self;
    if (wr_cache_is_real(cache)) {
        (void)pthread_setspecific(exit_key, NULL);
        leave_thread(cache);
        wr_cache_self = &wr_cache_boot;
    }
}

/* The first constructor to run, for programs that set options and allocate nothing before main. */
__attribute__((constructor(101))) static void start(void)
{
    init_process();
    if (wr_check_is_on()) {
        drop_cache();
    }
    if (wr_check_is_on() || wr_guard_is_on()) {
        wr_stack_prepare();
    }
}

/* After all atexit handlers. */
__attribute__((destructor(101))) static void finish(void)
{
    wr_purger_stop(true);
    if (wr_check_is_on()) {
        (void)wr_check_all("exit");
        wr_leaks_print();
    }
    if (wr_option_get(wr_option_summary) != 0) {
        wr_summary_print();
    }
}
