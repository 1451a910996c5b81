/* burst: threads allocate 1 GiB in mixed sizes and free all of it, then sleep and call the malloc
 * no more. How much is resident some seconds later?
 */
#include "memory/scenario.h"

#define BYTES        GIB
#define HUGE_ONE_OF  8192u  /* of the blocks: some of 64 KiB to HUGE_MAX */
#define HUGE_MIN     65536u /* bytes */
#define HUGE_MAX     1048576u
#define HOLD_SECONDS 0.2 /* with all blocks live, to be seen in the samples */

struct burst {
    const struct scenario_arguments *arguments;
    uint64_t bytes_each;    /* of a thread */
    uint64_t capacity;      /* of a thread's table, in blocks */
    pthread_barrier_t step; /* of all threads and main: every step of the run begins with it */
};

static uint32_t size_of_next(uint64_t *random)
{
    if (random_below(random, HUGE_ONE_OF) == 0)
        return HUGE_MIN + random_below(random, HUGE_MAX - HUGE_MIN);
    return block_size(random);
}

static void shuffle(struct block *blocks, uint64_t count, uint64_t *random)
{
    for (uint64_t i = count; i > 1; i--) {
        uint32_t other = random_below(random, (uint32_t)i);
        struct block block = blocks[i - 1];
        blocks[i - 1] = blocks[other];
        blocks[other] = block;
    }
}

/* Allocates the thread's share, in random order; returns the number of blocks. */
static uint64_t fill(const struct burst *burst, struct block *blocks, unsigned index)
{
    uint64_t random = random_stream(burst->arguments->seed, index);
    uint32_t tag = block_first_tag(index);
    uint64_t count = 0;
    for (uint64_t bytes = 0; bytes < burst->bytes_each; count++) {
        blocks[count] = block_new(size_of_next(&random), tag++, index);
        bytes += blocks[count].bytes;
    }
    shuffle(blocks, count, &random);
    return count;
}

static void burst_body(void *context, unsigned index)
{
    struct burst *burst = context;
    pthread_barrier_wait(&burst->step); /* ready */
    pthread_barrier_wait(&burst->step); /* go */
    struct block *blocks = own_map(burst->capacity * sizeof *blocks);
    uint64_t count = fill(burst, blocks, index);
    pthread_barrier_wait(&burst->step); /* full */
    pthread_barrier_wait(&burst->step); /* all may free */
    for (uint64_t i = 0; i < count; i++)
        block_end(blocks[i], index);
    own_unmap(blocks, burst->capacity * sizeof *blocks);
    pthread_barrier_wait(&burst->step); /* freed */
    pthread_barrier_wait(&burst->step); /* the end */
}

static void burst_run(const struct scenario_arguments *arguments)
{
    struct burst burst = {.arguments = arguments};
    burst.bytes_each = scaled(BYTES, arguments, 1) / arguments->threads + 1;
    burst.capacity = burst.bytes_each / BLOCK_SIZE_LEAST + 1;
    pthread_barrier_init(&burst.step, NULL, arguments->threads + 1);
    struct crew crew;
    crew_start(&crew, arguments->threads, CREW_STACK_BYTES, burst_body, &burst);
    pthread_barrier_wait(&burst.step); /* ready */
    struct resident before = resident_exact();
    pthread_barrier_wait(&burst.step); /* go */
    pthread_barrier_wait(&burst.step); /* full */
    crew_sleep(HOLD_SECONDS);
    uint64_t live_bytes = sampler_live_bytes();
    pthread_barrier_wait(&burst.step); /* all may free */
    pthread_barrier_wait(&burst.step); /* freed */
    crew_sleep(arguments->seconds);
    struct resident after = resident_exact();
    uint64_t peak_bytes = resident_peak();
    pthread_barrier_wait(&burst.step); /* the end */
    crew_join(&crew);
    sampler_stop();
    metric_print((double)after.rss_bytes, "bytes", "burst/rss_after");
    metric_print((double)after.lazy_bytes, "bytes", "burst/lazy_free_after");
    metric_print((double)before.rss_bytes, "bytes", "burst/rss_before");
    metric_print((double)after.rss_bytes - (double)before.rss_bytes, "bytes", "burst/rss_kept");
    metric_print((double)peak_bytes, "bytes", "burst/rss_peak");
    metric_print((double)live_bytes, "count", "burst/live_bytes");
}

const struct scenario burst_scenario = {"burst", "1 GiB allocated, all freed, then silence",
                                        burst_run, 8, 5};
