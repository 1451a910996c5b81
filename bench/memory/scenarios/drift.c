/* drift: a heap of 200,000 blocks in which random ones are replaced without end, while the sizes
 * that are asked for wander from 16 bytes to 3 KiB and back. How much of what is resident is in
 * use?
 */
#include "memory/scenario.h"

#include <math.h>

#define BLOCKS          200000u
#define TURNS_SECOND    10.0  /* replacements a second, of each block in the mean */
#define PERIOD_SECONDS  600.0 /* of the wandering; less in a shorter run */
#define SIZE_LEAST      16.0  /* bytes */
#define SIZE_GREATEST   3072.0
#define WINDOW_OCTAVES  2.0 /* sizes of a moment are even in their logarithm, over so much */
#define OPERATIONS_STEP 64u /* from one change of the sizes to the next, and looks at the clock */

struct drift {
    const struct scenario_arguments *arguments;
    struct block *blocks;   /* of all threads */
    uint64_t count_each;    /* blocks of a thread */
    double period_seconds;  /* of the wandering */
    pthread_barrier_t step; /* of all threads and main */
};

static double per_second(const struct drift *drift)
{
    return TURNS_SECOND * (double)drift->count_each;
}

/* The least size when a thread has replaced `done` blocks, as a power of two above SIZE_LEAST: from
 * the middle up, down and back to the middle. It goes by the work that is done, not by the clock,
 * so that every allocator gets the same sizes. */
static double octaves_at(const struct drift *drift, uint64_t done)
{
    double place = (double)done / per_second(drift) / drift->period_seconds + 0.25;
    place -= (double)(uint64_t)place;
    double height = place < 0.5 ? 2 * place : 2 - 2 * place;
    return height * (log2(SIZE_GREATEST / SIZE_LEAST) - WINDOW_OCTAVES);
}

static uint32_t drift_size(double octaves, uint64_t *random)
{
    double even = (double)(random_next(random) >> 11) * 0x1p-53;
    return (uint32_t)(SIZE_LEAST * exp2(octaves + even * WINDOW_OCTAVES));
}

static void replace(struct drift *drift, struct block *blocks, uint64_t *random, uint32_t *tag,
                    unsigned index)
{
    struct pace pace = {team_now_ns(), per_second(drift)};
    uint64_t total = (uint64_t)(drift->arguments->seconds * per_second(drift));
    double octaves = octaves_at(drift, 0);
    for (uint64_t done = 0; done < total;) {
        uint64_t due = pace_due(&pace);
        for (unsigned i = 0; i < OPERATIONS_STEP && done < due && done < total; i++, done++) {
            if (done % OPERATIONS_STEP == 0)
                octaves = octaves_at(drift, done);
            struct block *place = &blocks[random_below(random, (uint32_t)drift->count_each)];
            block_end(*place, index);
            *place = block_new(drift_size(octaves, random), (*tag)++, index);
        }
        if (done >= due)
            pace_nap();
    }
}

static void drift_body(void *context, unsigned index)
{
    struct drift *drift = context;
    struct block *blocks = drift->blocks + index * drift->count_each;
    uint64_t random = random_stream(drift->arguments->seed, index);
    uint32_t tag = block_first_tag(index);
    pthread_barrier_wait(&drift->step); /* ready */
    pthread_barrier_wait(&drift->step); /* go */
    double octaves = octaves_at(drift, 0);
    for (uint64_t i = 0; i < drift->count_each; i++)
        blocks[i] = block_new(drift_size(octaves, &random), tag++, index);
    pthread_barrier_wait(&drift->step); /* full */
    replace(drift, blocks, &random, &tag, index);
    pthread_barrier_wait(&drift->step); /* stopped */
    pthread_barrier_wait(&drift->step); /* all may free */
    for (uint64_t i = 0; i < drift->count_each; i++)
        block_end(blocks[i], index);
}

static void drift_run(const struct scenario_arguments *arguments)
{
    struct drift drift = {.arguments = arguments};
    drift.count_each = scaled(BLOCKS, arguments, arguments->threads) / arguments->threads;
    drift.period_seconds =
        arguments->seconds < PERIOD_SECONDS ? arguments->seconds : PERIOD_SECONDS;
    size_t table_bytes = drift.count_each * arguments->threads * sizeof *drift.blocks;
    drift.blocks = own_map(table_bytes);
    memset(drift.blocks, 0xff, table_bytes);
    pthread_barrier_init(&drift.step, NULL, arguments->threads + 1);
    struct crew crew;
    crew_start(&crew, arguments->threads, CREW_STACK_BYTES, drift_body, &drift);
    pthread_barrier_wait(&drift.step); /* ready */
    struct resident base = resident_exact();
    pthread_barrier_wait(&drift.step); /* go */
    pthread_barrier_wait(&drift.step); /* full */
    uint32_t full_ms = sampler_now_ms();
    pthread_barrier_wait(&drift.step); /* stopped */
    struct resident end = resident_exact();
    uint64_t end_live_bytes = sampler_live_bytes();
    struct sampler_span load = {full_ms, sampler_now_ms()};
    pthread_barrier_wait(&drift.step); /* all may free */
    crew_join(&crew);
    sampler_stop();
    own_unmap(drift.blocks, table_bytes);
    struct sampler_over over = sampler_over(load, base.rss_bytes, 0);
    metric_print((double)end.rss_bytes / (double)(end_live_bytes + base.rss_bytes), "ratio",
                 "drift/over/end");
    metric_print(over.max, "ratio", "drift/over/max");
    metric_print(over.median, "ratio", "drift/over/median");
    metric_print((double)sampler_rss_max(load), "bytes", "drift/rss_peak");
    metric_print((double)sampler_live_max(load), "count", "drift/live_bytes_max");
    metric_print((double)base.rss_bytes, "bytes", "drift/rss_base");
    metric_print(arguments->seconds * per_second(&drift) * arguments->threads * 1000 /
                     (load.end_ms - load.begin_ms),
                 "ops/s", "drift/rate");
}

const struct scenario drift_scenario = {
    "drift", "200,000 blocks replaced at random while sizes drift", drift_run, 1, 600};
