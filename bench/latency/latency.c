/* weir_bench_latency: how long single calls of malloc and free take, up to the rarest.
 *
 * Each thread keeps a set of live blocks and replaces random ones. Every call is timed by itself
 * and counted in a histogram of the thread's own. One block in eight goes to another thread, which
 * frees it; handing over happens between the timed calls and waits for nobody. Pages are touched
 * between them too: what is measured is what the malloc does.
 */
#include <stdio.h>
#include <stdlib.h>

#include "common/metric.h"
#include "common/options.h"
#include "common/own.h"
#include "common/random.h"
#include "common/stamp.h"
#include "common/team.h"
#include "latency/histogram.h"
#include "latency/mailbox.h"
#include "latency/ticks.h"

#define OPERATIONS_PER_LOOK 64u /* at the stop flag */
#define HANDED_ON_ONE_IN    8u
#define EMPTY_ONE_IN        8u /* replacements: an empty interval, for comparison */
#define LIVE_BLOCKS_MIN     16u
#define SIZE_SAMPLES        4096u

enum mix { MIX_SMALL, MIX_SERVER, MIX_LARGE };

enum timed { TIMED_MALLOC, TIMED_FREE, TIMED_NOTHING, TIMED_COUNT };

/* A thread's part. Only the thread writes it, but for the mailbox. */
struct worker {
    struct histogram timed[TIMED_COUNT]; /* ticks */
    stamp_t *blocks;                     /* its live set */
    uint64_t random;
    uint64_t operations; /* mallocs and frees */
    const char *wrong;   /* what went wrong, or NULL */
    struct mailbox mailbox;
};

struct latency {
    struct worker *workers;
    uint64_t threads;
    uint64_t live_bytes;  /* of a thread */
    uint64_t live_blocks; /* of a thread */
    uint64_t seed;
    double seconds;
    unsigned mix;
};

static uint32_t draw_size(uint64_t *random, unsigned mix)
{
    switch (mix) {
    case MIX_SMALL:
        return random_size(random, 5, 9);
    case MIX_LARGE:
        return random_size(random, 12, 20);
    default:
        break;
    }
    uint32_t kind = random_below(random, 32);
    return kind == 0 ? random_size(random, 15, 18)
                     : random_size(random, kind < 4 ? 9 : 5, kind < 4 ? 15 : 9);
}

/* How many blocks of the mix make up `bytes`. */
static uint64_t count_blocks(uint64_t bytes, unsigned mix)
{
    uint64_t random = 1;
    uint64_t sum = 0;
    for (unsigned i = 0; i < SIZE_SAMPLES; i++)
        sum += draw_size(&random, mix);
    uint64_t count = bytes * SIZE_SAMPLES / sum;
    return count < LIVE_BLOCKS_MIN ? LIVE_BLOCKS_MIN : count;
}

static void timed_free(struct worker *worker, stamp_t stamp)
{
    if (!stamp_holds(stamp))
        worker->wrong = "a block does not hold what was written";
    void *block = stamp_block(stamp);
    uint64_t begin = ticks_begin();
    free(block);
    uint64_t end = ticks_end();
    histogram_add(&worker->timed[TIMED_FREE], ticks_between(begin, end));
    worker->operations++;
}

static stamp_t timed_malloc(struct worker *worker, uint32_t size)
{
    uint64_t begin = ticks_begin();
    void *block = malloc(size);
    uint64_t end = ticks_end();
    histogram_add(&worker->timed[TIMED_MALLOC], ticks_between(begin, end));
    worker->operations++;
    if (block == NULL) {
        worker->wrong = "malloc has no memory";
        return 0;
    }
    return stamp_write(block, size, worker->random);
}

static void time_nothing(struct worker *worker)
{
    uint64_t begin = ticks_begin();
    uint64_t end = ticks_end();
    histogram_add(&worker->timed[TIMED_NOTHING], ticks_between(begin, end));
}

/* Gives the block to a random other thread. False if that one's place is taken, or there is none.
 */
static bool hand_on(struct latency *latency, struct worker *worker, stamp_t block)
{
    if (latency->threads == 1)
        return false;
    uint32_t self = (uint32_t)(worker - latency->workers);
    uint32_t other = random_below(&worker->random, (uint32_t)latency->threads - 1);
    other += other >= self;
    return mailbox_give(&latency->workers[other].mailbox, (uint32_t)worker->random >> 8, block);
}

/* One random block goes, a new one comes. */
static void replace(struct latency *latency, struct worker *worker)
{
    uint64_t word = random_next(&worker->random);
    stamp_t *place = &worker->blocks[(word >> 32) * latency->live_blocks >> 32];
    bool handed_on = word % HANDED_ON_ONE_IN == 0 && hand_on(latency, worker, *place);
    if (!handed_on)
        timed_free(worker, *place);
    *place = timed_malloc(worker, draw_size(&worker->random, latency->mix));
}

static void work(struct team *team, unsigned index)
{
    struct latency *latency = team->shared;
    struct worker *worker = &latency->workers[index];
    worker->random = random_stream(latency->seed, index);
    for (uint64_t i = 0; i < latency->live_blocks && worker->wrong == NULL; i++)
        worker->blocks[i] = timed_malloc(worker, draw_size(&worker->random, latency->mix));
    /* What it took to fill the set is no part of the result. */
    worker->operations = 0;
    for (unsigned kind = 0; kind < TIMED_COUNT; kind++)
        worker->timed[kind] = (struct histogram){0};
    team_start(team);
    for (uint32_t turn = 0; !team_stopped(team) && worker->wrong == NULL;) {
        for (unsigned i = 0; i < OPERATIONS_PER_LOOK && worker->wrong == NULL; i++, turn++) {
            replace(latency, worker);
            stamp_t received = mailbox_take(&worker->mailbox, turn);
            if (received != 0)
                timed_free(worker, received);
            if (turn % EMPTY_ONE_IN == 0)
                time_nothing(worker);
        }
    }
    team_end(team);
}

/* Checks and frees what is left, after all threads have ended. */
static void empty(struct latency *latency, struct worker *worker)
{
    for (uint64_t i = 0; i < latency->live_blocks + MAILBOX_PLACES; i++) {
        stamp_t block = i < latency->live_blocks ? worker->blocks[i]
                                                 : mailbox_take(&worker->mailbox, (uint32_t)i);
        if (!stamp_holds(block))
            worker->wrong = "a block does not hold what was written";
        free(stamp_block(block));
    }
}

static double quantile_ns(const struct histogram *histogram, double share)
{
    return (double)histogram_quantile(histogram, share) * ticks_clock.ns_per_tick;
}

static void print_results(const struct latency *latency, struct histogram *timed, double rate)
{
    static const char *const names[] = {"malloc", "free"};
    static const struct {
        const char *name;
        double share;
    } quantiles[] = {{"p50", 0.5},       {"p99", 0.99},        {"p99.9", 0.999},
                     {"p99.99", 0.9999}, {"p99.999", 0.99999}, {"max", 1}};
    const size_t quantile_count = sizeof quantiles / sizeof *quantiles;
    printf("clock: %s, an empty interval of %.1f ns is subtracted\n",
           ticks_clock.is_counter ? "time stamp counter" : "CLOCK_MONOTONIC",
           (double)ticks_clock.empty_ticks * ticks_clock.ns_per_tick);
    printf("ns of empty intervals under the same load:");
    for (size_t q = 0; q < quantile_count; q++)
        printf(" %s %.0f", quantiles[q].name,
               quantile_ns(&timed[TIMED_NOTHING], quantiles[q].share));
    printf("\n");
    for (size_t kind = 0; kind < sizeof names / sizeof *names; kind++) {
        for (size_t q = 0; q < quantile_count; q++)
            metric_print(quantile_ns(&timed[kind], quantiles[q].share), "ns",
                         "latency/%s/threads:%llu/%s", names[kind],
                         (unsigned long long)latency->threads, quantiles[q].name);
    }
    metric_print(rate, "ops/s", "latency/throughput/threads:%llu",
                 (unsigned long long)latency->threads);
}

/* Runs the threads and prints. False, with a line on standard error, if anything was wrong. */
static bool run(struct latency *latency)
{
    latency->live_blocks = count_blocks(latency->live_bytes, latency->mix);
    latency->workers = own_map(latency->threads * sizeof *latency->workers);
    for (uint64_t i = 0; i < latency->threads; i++)
        latency->workers[i].blocks = own_map(latency->live_blocks * sizeof(stamp_t));
    struct team team = {.work = work, .shared = latency, .threads = (unsigned)latency->threads};
    double seconds = team_run(&team, latency->seconds);
    struct histogram *timed = own_map(TIMED_COUNT * sizeof *timed);
    const char *wrong = NULL;
    uint64_t operations = 0;
    for (uint64_t i = 0; i < latency->threads; i++) {
        struct worker *worker = &latency->workers[i];
        empty(latency, worker);
        wrong = worker->wrong != NULL ? worker->wrong : wrong;
        operations += worker->operations;
        for (unsigned kind = 0; kind < TIMED_COUNT; kind++)
            histogram_merge(&timed[kind], &worker->timed[kind]);
    }
    if (wrong != NULL)
        fprintf(stderr, "weir_bench_latency: %s\n", wrong);
    else
        print_results(latency, timed, (double)operations / seconds);
    return wrong == NULL;
}

int main(int argc, char **argv)
{
    static const char *const mixes[] = {"small", "server", "large", NULL};
    struct latency latency = {
        .threads = 16, .live_bytes = 4u << 20, .seed = 1, .seconds = 5, .mix = MIX_SERVER};
    const struct options_row rows[] = {
        {"threads", OPTIONS_COUNT, &latency.threads, 1, TEAM_THREADS_MAX, "threads", NULL},
        {"seconds", OPTIONS_NUMBER, &latency.seconds, 0.01, 3600, "seconds to run", NULL},
        {"seed", OPTIONS_COUNT, &latency.seed, 0, 1e15, "seed of sizes and choices", NULL},
        {"live", OPTIONS_BYTES, &latency.live_bytes, 4096, 1 << 30, "live bytes of each thread",
         NULL},
        {"mix", OPTIONS_CHOICE, &latency.mix, 0, 0,
         "sizes (32-511 B, the same and up to 256 KiB, 4 KiB-1 MiB)", mixes},
    };
    options_read(argc, argv, "times of single malloc and free calls, as percentiles", rows,
                 sizeof rows / sizeof *rows);
    ticks_calibrate();
    return run(&latency) ? 0 : 1;
}
