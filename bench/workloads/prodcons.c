/* weir_bench_prodcons: blocks are allocated by some threads and freed by others.
 *
 * Stream: producers send blocks through bounded queues to consumers, as many of each as is asked
 * for, each at its own speed. Phases: all producers allocate a set of blocks, then one consumer
 * frees all sets, then again; what one thread freed must become usable to the others. After Lever
 * and Boreham, "malloc() performance in a multithreaded Linux environment" (USENIX 2000).
 */
#include "harness.h"

#include <pthread.h>

enum shape { SHAPE_STREAM, SHAPE_PHASES, SHAPE_BOTH };

static const char *const shape_names[] = {"stream", "phases", "both", NULL};

#define BATCH_MAX 1024u

static unsigned long producers = 3;
static unsigned long consumers = 1;
static unsigned long operations = 3000000;
static unsigned long queue_blocks = 4096;
static unsigned long batch = 32;
static unsigned long set = 20000;
static unsigned long bytes_min = 16;
static unsigned long bytes_max = 512;
static unsigned long shape = SHAPE_BOTH;
static unsigned long seed = 1;

/* A bounded queue, one per consumer. The lock protects all fields. */
struct queue {
    _Alignas(BENCH_LINE_BYTES) pthread_mutex_t lock;
    pthread_cond_t not_full;
    pthread_cond_t not_empty;
    struct bench_block *ring; /* queue_blocks entries */
    size_t head;              /* entries taken ever; its place is modulo queue_blocks */
    size_t tail;              /* entries put ever */
    size_t producers_left;    /* that may still put */
};

/* What the threads of one run use. Producers come first in the numbering. */
struct run {
    struct queue *queues;        /* one per consumer */
    struct bench_block *blocks;  /* of phases: `set` per producer */
    pthread_barrier_t *turn;     /* of phases: between producers and the consumer */
    struct bench_tally *tallies; /* one per thread */
};

static void put(struct queue *queue, const struct bench_block *blocks, size_t count)
{
    pthread_mutex_lock(&queue->lock);
    while (count > 0) {
        while (queue->tail - queue->head == queue_blocks)
            pthread_cond_wait(&queue->not_full, &queue->lock);
        bool was_empty = queue->tail == queue->head;
        while (count > 0 && queue->tail - queue->head < queue_blocks) {
            queue->ring[queue->tail++ % queue_blocks] = *blocks++;
            count--;
        }
        if (was_empty)
            pthread_cond_signal(&queue->not_empty);
    }
    pthread_mutex_unlock(&queue->lock);
}

static void put_end(struct queue *queue)
{
    pthread_mutex_lock(&queue->lock);
    queue->producers_left--;
    pthread_cond_signal(&queue->not_empty);
    pthread_mutex_unlock(&queue->lock);
}

/* Up to `batch` entries; 0 when no more will come. */
static size_t take(struct queue *queue, struct bench_block *blocks)
{
    size_t count = 0;
    pthread_mutex_lock(&queue->lock);
    while (queue->tail == queue->head && queue->producers_left > 0)
        pthread_cond_wait(&queue->not_empty, &queue->lock);
    bool was_full = queue->tail - queue->head == queue_blocks;
    while (count < batch && queue->tail != queue->head)
        blocks[count++] = queue->ring[queue->head++ % queue_blocks];
    /* Several producers may wait, for room that this made for all. */
    if (was_full)
        pthread_cond_broadcast(&queue->not_full);
    pthread_mutex_unlock(&queue->lock);
    return count;
}

static void produce(const struct run *run, unsigned thread, struct bench_tally *tally)
{
    struct bench_block blocks[BATCH_MAX];
    uint64_t random = bench_seed(seed, thread);
    uint64_t tag = bench_first_tag(thread);
    size_t queue = thread % consumers;
    for (size_t left = operations / producers; left > 0;) {
        size_t count = left < batch ? left : batch;
        for (size_t i = 0; i < count; i++)
            blocks[i] = bench_block_new(bench_between(&random, bytes_min, bytes_max), tag++, tally);
        put(&run->queues[queue], blocks, count);
        queue = queue + 1 == consumers ? 0 : queue + 1;
        left -= count;
    }
    for (size_t i = 0; i < consumers; i++)
        put_end(&run->queues[i]);
}

static void consume(struct queue *queue, struct bench_tally *tally)
{
    struct bench_block blocks[BATCH_MAX];
    for (size_t count; (count = take(queue, blocks)) > 0;) {
        for (size_t i = 0; i < count; i++)
            bench_block_end(&blocks[i], tally);
    }
}

static void stream(void *context, unsigned thread, unsigned generation)
{
    (void)generation;
    const struct run *run = context;
    struct bench_tally tally = {.made = 0};
    if (thread < producers)
        produce(run, thread, &tally);
    else
        consume(&run->queues[thread - producers], &tally);
    run->tallies[thread] = tally;
}

/* Rounds of the phases: each fills all sets. */
static size_t rounds(void)
{
    size_t all = operations / producers / set;
    return all == 0 ? 1 : all;
}

static void phases(void *context, unsigned thread, unsigned generation)
{
    (void)generation;
    const struct run *run = context;
    struct bench_tally tally = {.made = 0};
    uint64_t random = bench_seed(seed, thread);
    uint64_t tag = bench_first_tag(thread);
    for (size_t left = rounds(); left > 0; left--) {
        if (thread < producers) {
            for (size_t i = 0; i < set; i++)
                run->blocks[thread * set + i] =
                    bench_block_new(bench_between(&random, bytes_min, bytes_max), tag++, &tally);
        }
        pthread_barrier_wait(run->turn);
        if (thread == producers) {
            for (size_t i = 0; i < producers * set; i++)
                bench_block_end(&run->blocks[i], &tally);
        }
        pthread_barrier_wait(run->turn);
    }
    run->tallies[thread] = tally;
}

static struct queue *make_queues(void)
{
    struct queue *queues = bench_map(consumers, sizeof *queues);
    for (size_t i = 0; i < consumers; i++) {
        pthread_mutex_init(&queues[i].lock, NULL);
        pthread_cond_init(&queues[i].not_full, NULL);
        pthread_cond_init(&queues[i].not_empty, NULL);
        queues[i].ring = bench_map(queue_blocks, sizeof *queues[i].ring);
        queues[i].producers_left = producers;
    }
    return queues;
}

static void measure_stream(void)
{
    size_t threads = producers + consumers;
    struct run run = {.queues = make_queues(), .tallies = bench_map(threads, sizeof *run.tallies)};
    double seconds = bench_run((unsigned)threads, 1, stream, &run);
    size_t blocks = operations / producers * producers;
    bench_settle(run.tallies, threads, blocks);
    bench_metric("prodcons/stream", "throughput", (double)blocks / seconds, "ops/s");
}

static void measure_phases(void)
{
    size_t threads = producers + 1;
    pthread_barrier_t turn;
    pthread_barrier_init(&turn, NULL, (unsigned)threads);
    struct run run = {.blocks = bench_map(producers * set, sizeof *run.blocks),
                      .turn = &turn,
                      .tallies = bench_map(threads, sizeof *run.tallies)};
    size_t rss_before = bench_rss_bytes();
    double seconds = bench_run((unsigned)threads, 1, phases, &run);
    size_t rss_after = bench_rss_bytes();
    size_t blocks = rounds() * set * producers;
    bench_settle(run.tallies, threads, blocks);
    pthread_barrier_destroy(&turn);
    bench_metric("prodcons/phases", "throughput", (double)blocks / seconds, "ops/s");
    /* All is freed: what the malloc keeps. */
    bench_metric("prodcons/phases", "rss_kept",
                 rss_after > rss_before ? (double)(rss_after - rss_before) : 0, "bytes");
}

int main(int argc, char **argv)
{
    const struct bench_option options[] = {
        {"producers", &producers, 1, BENCH_THREADS_MAX / 2, NULL, NULL, "threads that allocate"},
        {"consumers", &consumers, 1, BENCH_THREADS_MAX / 2, NULL, NULL,
         "threads that free, each with its queue (phases: always one)"},
        {"operations", &operations, 1, BENCH_OPERATIONS_MAX, NULL, NULL,
         "blocks per shape, by all producers together (rounded to whole shares)"},
        {"queue-blocks", &queue_blocks, 1, 100000000, NULL, NULL, "bound of a queue in blocks"},
        {"batch", &batch, 1, BATCH_MAX, NULL, NULL, "blocks put or taken under one lock"},
        {"set", &set, 1, 100000000, NULL, NULL, "blocks per producer in a phase"},
        {"bytes-min", &bytes_min, 1, 1ul << 30, NULL, NULL, "least block in bytes"},
        {"bytes-max", &bytes_max, 1, 1ul << 30, NULL, NULL, "greatest block in bytes"},
        {"shape", &shape, 0, 0, shape_names, NULL, "what to run"},
        {"seed", &seed, 0, UINT32_MAX, NULL, NULL, "seed of sizes"},
    };
    bench_options(argc, argv,
                  "Allocates blocks in some threads and frees them in others.\n"
                  "An operation is one block allocated and freed.",
                  options, BENCH_LEN(options));
    if (bytes_max < bytes_min)
        bench_refuse("--bytes-max is below --bytes-min");
    if (shape != SHAPE_PHASES)
        measure_stream();
    if (shape != SHAPE_STREAM)
        measure_phases();
    return 0;
}
