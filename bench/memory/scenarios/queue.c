/* queue: a producer at a steady rate, a consumer that lags behind by phases, so that what the queue
 * holds swings between 20 and 300 MiB. Does RSS follow?
 *
 *   held    300 |         ____
 *               |        /    \
 *            20 | ______/      \
 *                 40%  30%  20% 10%   of a period
 */
#include "memory/ring.h"
#include "memory/scenario.h"

#define LOW_BYTES        (20 * MIB)
#define HIGH_BYTES       (300 * MIB)
#define BYTES_PER_SECOND (150 * MIB) /* produced */
#define PERIOD_SECONDS   10.0
#define PERIODS_LEAST    3.0 /* a shorter run has shorter periods; the first is the warm-up */
#define LAG_MS           2000u

struct queue {
    const struct scenario_arguments *arguments;
    struct ring *rings; /* one per pair of threads */
    double low_bytes;   /* of one ring */
    double high_bytes;  /* the same */
    double per_second;  /* bytes produced into one ring */
    double period_seconds;
    uint64_t begin_ns;
    _Atomic uint64_t freed;  /* blocks */
    pthread_barrier_t ready; /* of all threads and main */
    atomic_uint running;     /* producers */
    atomic_bool stop;
};

/* What a ring is to hold now, in bytes. */
static double bytes_wanted(const struct queue *queue)
{
    double periods = (double)(team_now_ns() - queue->begin_ns) / 1e9 / queue->period_seconds;
    double place = periods - (double)(uint64_t)periods;
    double height = 1; /* of low to high, 0 to 1 */
    if (place < 0.4)
        height = 0;
    else if (place < 0.7)
        height = (place - 0.4) / 0.3;
    else if (place >= 0.9)
        height = (1 - place) / 0.1;
    return queue->low_bytes + height * (queue->high_bytes - queue->low_bytes);
}

static void produce(struct queue *queue, unsigned pair)
{
    struct ring *ring = &queue->rings[pair];
    uint64_t random = random_stream(queue->arguments->seed, pair);
    uint32_t tag = block_first_tag(pair);
    uint64_t bytes = 0;
    struct pace pace = {queue->begin_ns, queue->per_second};
    while (!atomic_load_explicit(&queue->stop, memory_order_relaxed)) { /* publishes nothing */
        uint64_t due_bytes = pace_due(&pace);
        while (bytes < due_bytes && !ring_is_full(ring) &&
               (double)ring_bytes(ring) < queue->high_bytes) {
            struct block block = block_new(block_size(&random), tag++, pair);
            bytes += block.bytes;
            ring_push(ring, block);
        }
        pace_nap();
    }
    /* release: all pushes; pairs with consume. */
    atomic_fetch_sub_explicit(&queue->running, 1, memory_order_release);
}

/* Frees the oldest while the ring holds more than `bytes`. */
static void consume_to(struct queue *queue, unsigned pair, double bytes)
{
    struct ring *ring = &queue->rings[pair];
    uint64_t freed = 0;
    while ((double)ring_bytes(ring) > bytes) {
        struct block block = ring_pop(ring);
        if (block.start == NULL)
            break;
        block_end(block, pair + 1);
        freed++;
    }
    atomic_fetch_add_explicit(&queue->freed, freed, memory_order_relaxed); /* a statistic */
}

static void consume(struct queue *queue, unsigned pair)
{
    /* acquire: all pushes; pairs with produce. */
    while (atomic_load_explicit(&queue->running, memory_order_acquire) > 0) {
        consume_to(queue, pair, bytes_wanted(queue));
        pace_nap();
    }
    consume_to(queue, pair, 0);
}

static void queue_body(void *context, unsigned index)
{
    struct queue *queue = context;
    pthread_barrier_wait(&queue->ready); /* started */
    pthread_barrier_wait(&queue->ready); /* go */
    if (index % 2 == 0)
        produce(queue, index / 2);
    else
        consume(queue, index / 2);
}

static void print_metrics(struct queue *queue, uint64_t base_bytes, uint32_t begin_ms,
                          uint32_t end_ms)
{
    /* relaxed: the threads have been joined. */
    uint64_t freed = atomic_load_explicit(&queue->freed, memory_order_relaxed);
    struct sampler_span load = {begin_ms + (uint32_t)(queue->period_seconds * 1000), end_ms};
    struct sampler_over now = sampler_over(load, base_bytes, 0);
    struct sampler_over lag = sampler_over(load, base_bytes, LAG_MS);
    metric_print(lag.max, "ratio", "queue/over_lag/max");
    metric_print(lag.median, "ratio", "queue/over_lag/median");
    metric_print(lag.late_share, "ratio", "queue/over_lag/late");
    metric_print(now.max, "ratio", "queue/over/max");
    metric_print(now.median, "ratio", "queue/over/median");
    metric_print(now.late_share, "ratio", "queue/over/late");
    metric_print((double)base_bytes, "bytes", "queue/rss_base");
    metric_print((double)sampler_rss_max(load), "bytes", "queue/rss_peak");
    metric_print((double)freed * 1000 / (end_ms - begin_ms), "ops/s", "queue/rate");
}

static void queue_run(const struct scenario_arguments *arguments)
{
    unsigned pairs = (arguments->threads + 1) / 2;
    struct queue queue = {.arguments = arguments};
    queue.low_bytes = (double)scaled(LOW_BYTES, arguments, 1) / pairs;
    queue.high_bytes = (double)scaled(HIGH_BYTES, arguments, 1) / pairs;
    queue.per_second = (double)scaled(BYTES_PER_SECOND, arguments, 1) / pairs;
    queue.period_seconds = arguments->seconds / PERIODS_LEAST < PERIOD_SECONDS
                               ? arguments->seconds / PERIODS_LEAST
                               : PERIOD_SECONDS;
    queue.rings = own_map(pairs * sizeof *queue.rings);
    for (unsigned i = 0; i < pairs; i++)
        ring_open(&queue.rings[i], (uint64_t)queue.high_bytes);
    atomic_store_explicit(&queue.running, pairs, memory_order_relaxed); /* no thread yet */
    pthread_barrier_init(&queue.ready, NULL, 2 * pairs + 1);
    struct crew crew;
    crew_start(&crew, 2 * pairs, CREW_STACK_BYTES, queue_body, &queue);
    pthread_barrier_wait(&queue.ready); /* started */
    struct resident base = resident_exact();
    queue.begin_ns = team_now_ns();
    uint32_t begin_ms = sampler_now_ms();
    pthread_barrier_wait(&queue.ready); /* go */
    crew_sleep(arguments->seconds);
    uint32_t end_ms = sampler_now_ms();
    atomic_store_explicit(&queue.stop, true, memory_order_relaxed); /* publishes nothing */
    crew_join(&crew);
    sampler_stop();
    for (unsigned i = 0; i < pairs; i++)
        ring_close(&queue.rings[i]);
    print_metrics(&queue, base.rss_bytes, begin_ms, end_ms);
}

const struct scenario queue_scenario = {
    "queue", "producer and consumer, 20 to 300 MiB in the queue", queue_run, 2, 60};
