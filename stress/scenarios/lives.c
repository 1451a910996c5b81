/* Scenarios of threads and processes: birth and death, fork, exit. */
#include "../harness.h"

#include "base/config.h"
#include "base/options.h"
#include "heap/purger.h"
#include "weir/weir.h"

#include <pthread.h>
#include <stdlib.h>
#include <unistd.h>

#define BOXES 64
static struct mailbox boxes[BOXES];

/* Some work of a short life: own blocks, and one left to others. */
static void live(uint64_t *random, unsigned calls)
{
    struct held held[16] = {{0}};
    for (unsigned i = 0; i < calls; i++) {
        struct held *h = &held[random_below(random, 16)];
        if (h->block == NULL) {
            held_new(h, MAILBOX_BYTES + random_size(random, 100 * KIB), random, false);
        } else if (random_below(random, 8) == 0) {
            *h = mailbox_exchange(&boxes[random_below(random, BOXES)], *h);
        } else {
            held_free(h, random);
        }
    }
    for (unsigned i = 0; i < 16; i++) {
        if (held[i].block != NULL) {
            held_free(&held[i], random);
        }
    }
}

static void empty_boxes(void)
{
    uint64_t random = stress.seed;
    for (unsigned i = 0; i < BOXES; i++) {
        struct held held = mailbox_exchange(&boxes[i], (struct held){0});
        if (held.block != NULL) {
            held_free(&held, &random);
        }
    }
}

/* ---- churn ---- */

static pthread_key_t late_key;

/* A destructor that may run after weir's own. */
static void free_late(void *block)
{
    weir_free(block);
    weir_free(weir_malloc(100));
}

static void *short_life(void *argument)
{
    uint64_t random = *(uint64_t *)argument;
    live(&random, 200);
    CHECK(pthread_setspecific(late_key, weir_malloc(50)) == 0);
    return NULL;
}

static void churn_body(unsigned number, uint64_t *random)
{
    (void)number;
    while (!stress_over()) {
        pthread_t thread;
        uint64_t seed = random_next(random);
        CHECK(pthread_create(&thread, NULL, short_life, &seed) == 0);
        live(random, 20);
        CHECK(pthread_join(thread, NULL) == 0);
    }
}

void scenario_churn(void)
{
    CHECK(pthread_key_create(&late_key, free_late) == 0);
    stress_run(churn_body);
    empty_boxes();
}

/* ---- forks ---- */

static _Atomic bool forks_done;

static void *child_thread(void *argument)
{
    uint64_t random = *(uint64_t *)argument;
    live(&random, 100);
    return NULL;
}

/* In the child the boxes may be in any state, but for what the child puts in itself. */
static int child_body(void *argument)
{
    uint64_t random = *(uint64_t *)argument;
    for (unsigned i = 0; i < BOXES; i++) {
        atomic_store(&boxes[i].letter, NULL);
    }
    live(&random, 300);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, child_thread, &random) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    return 0;
}

static int grandchild_body(void *argument)
{
    int status = child_body(argument);
    stress_child(child_body, argument, 60);
    return status;
}

/* It stays as long as there are other threads, so none is born while we fork. */
static void start_purger(void)
{
    bool is_wanted = stress.threads > 1 && wr_option_get(wr_option_background) != 0 &&
                     wr_option_get(wr_option_decay) != 0;
    while (is_wanted && !wr_purger_is_there()) {
        void *block = weir_malloc(WR_PURGER_MIN_BYTES);
        CHECK(block != NULL);
        weir_free(block);
    }
}

static void forks_body(unsigned number, uint64_t *random)
{
    if (number != 0) {
        while (!atomic_load(&forks_done)) {
            live(random, 100);
        }
        return;
    }
    start_purger();
    while (!stress_over()) {
        uint64_t seed = random_next(random);
        stress_child(random_below(random, 8) == 0 ? grandchild_body : child_body, &seed, 60);
    }
    atomic_store(&forks_done, true);
}

void scenario_forks(void)
{
    stress_run(forks_body);
    empty_boxes();
}

/* ---- exits ---- */

static void *endless(void *argument)
{
    uint64_t random = *(uint64_t *)argument;
    for (;;) {
        live(&random, 50);
    }
    return NULL;
}

static void at_exit(void)
{
    uint64_t random = 1;
    live(&random, 50);
}

/* Leaves by exit(3) with all threads running. */
static int exit_body(void *argument)
{
    static uint64_t seeds[THREADS_MAX];
    uint64_t random = *(uint64_t *)argument;
    CHECK(atexit(at_exit) == 0);
    for (unsigned i = 0; i < stress.threads; i++) {
        pthread_t thread;
        seeds[i] = random_next(&random);
        CHECK(pthread_create(&thread, NULL, endless, &seeds[i]) == 0);
    }
    live(&random, 500);
    exit(0);
}

void scenario_exits(void)
{
    uint64_t random = stress.seed;
    while (!stress_over()) {
        uint64_t seed = random_next(&random);
        stress_child(exit_body, &seed, 60);
    }
}
