/* Scenario of purging: threads that are busy, threads that sleep and threads that come and go,
 * while others give memory back as fast as they can, and the purger does what is due within
 * milliseconds.
 */
#include "../harness.h"

#include "weir/weir.h"

#include <pthread.h>
#include <time.h>

#include "base/options.h"
#include "cache/cache.h"
#include "heap/heap.h"
#include "heap/reclaim.h"
#include "os/host.h"

#define LIVE  96
#define MANY  1500 /* small blocks of one size, of which few stay: sparse slabs */
#define BOXES 32

static struct mailbox boxes[BOXES];

static void purge(uint64_t *random)
{
    switch (random_below(random, 8)) {
    case 0:
        (void)weir_purge(WEIR_PURGE_DUE);
        break;
    case 1:
        (void)weir_purge(WEIR_PURGE_FREE);
        break;
    case 2:
        (void)weir_malloc_trim(random_below(random, 2 * MIB));
        break;
    case 3:
        (void)weir_malloc_trim(0);
        break;
    default:
        (void)weir_purge(WEIR_PURGE_ALL);
    }
}

static void free_all(struct held *held, unsigned count, uint64_t *random)
{
    for (unsigned i = 0; i < count; i++) {
        if (held[i].block != NULL) {
            held_free(&held[i], random);
        }
    }
}

/* All kinds of blocks, some of which change hands. */
static void be_hot(struct held *held, uint64_t *random, unsigned calls)
{
    for (unsigned i = 0; i < calls && !stress_over(); i++) {
        struct held *h = &held[random_below(random, LIVE)];
        if (h->block == NULL) {
            held_new(h, MAILBOX_BYTES + random_size(random, 600 * KIB), random, false);
        } else if (random_below(random, 8) == 0) {
            *h = mailbox_exchange(&boxes[random_below(random, BOXES)], *h);
        } else {
            held_free(h, random);
        }
    }
}

/* Sleeps with a full cache and blocks in hand. */
static void be_idle(uint64_t *random)
{
    struct timespec pause = {0, (long)random_below(random, 20) * 1000000};
    nanosleep(&pause, NULL);
}

/* Slabs of which a block in some stays; those are looked at after the purges of a while. */
static void be_sparse(uint64_t *random)
{
    struct held few[MANY] = {{0}};
    size_t bytes = (size_t)16 << random_below(random, 8);
    for (unsigned i = 0; i < MANY; i++) {
        held_new(&few[i], bytes, random, false);
    }
    for (unsigned i = 0; i < MANY; i++) {
        if (random_below(random, 50) != 0) {
            held_free(&few[i], random);
        }
    }
    be_idle(random);
    for (unsigned i = 0; i < MANY; i++) {
        if (few[i].block == NULL && random_below(random, 2) == 0) {
            held_new(&few[i], bytes, random, false);
        }
    }
    free_all(few, MANY, random);
}

static void *short_life(void *argument)
{
    uint64_t random = *(uint64_t *)argument;
    struct held held[LIVE] = {{0}};
    be_hot(held, &random, 300);
    free_all(held, LIVE, &random);
    return NULL;
}

static void churn(uint64_t *random)
{
    pthread_t thread;
    uint64_t seed = random_next(random);
    CHECK(pthread_create(&thread, NULL, short_life, &seed) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

/* The first thread purges all the time, every fourth now and then. */
static void purges_body(unsigned number, uint64_t *random)
{
    struct held held[LIVE] = {{0}};
    while (!stress_over()) {
        if (number % 4 == 0) {
            purge(random);
        }
        if (number == 0) {
            be_hot(held, random, (unsigned)random_below(random, 20));
            continue;
        }
        switch (random_below(random, 8)) {
        case 0:
            be_idle(random);
            break;
        case 1:
            be_sparse(random);
            break;
        case 2:
            churn(random);
            break;
        default:
            be_hot(held, random, 500);
        }
    }
    free_all(held, LIVE, random);
}

void scenario_purges(void)
{
    char decay[] = "WEIR_DECAY=20";
    char background[] = "WEIR_BACKGROUND=1";
    char *const settings[] = {decay, background, NULL};
    wr_options_parse(settings);
    stress_run(purges_body);
    uint64_t random = stress.seed;
    for (unsigned i = 0; i < BOXES; i++) {
        struct held held = mailbox_exchange(&boxes[i], (struct held){0});
        if (held.block != NULL) {
            held_free(&held, &random);
        }
    }
    /* Every block is back, and no thread has any; the purger may have a slab in hand for a moment.
     */
    for (unsigned tries = 0; wr_reclaim(WR_RECLAIM_ALL, 0) != 0 && tries < 1000; tries++) {
        wr_host_yield();
    }
    for (unsigned class = 1; class < WR_CLASS_COUNT; class ++) {
        /* A block of each cache may stay. */
        CHECK(atomic_load(&wr_heap_default.bins[class].slabs) <= wr_cache_count());
    }
}
