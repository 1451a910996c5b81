/* freer: many threads allocate, one other frees; they hold 400 MiB all the time. Does what one
 * thread frees come back to those that allocate?
 */
#include "memory/ring.h"
#include "memory/scenario.h"

#define LIVE_BYTES       (400 * MIB)
#define BYTES_PER_SECOND (400 * MIB) /* allocated, and freed */
#define SHARE_OVER       1.02        /* a thread waits when so much of its share is in its queue */
#define POPS_AT_ONCE     256u        /* before the freer goes to the next queue */

struct freer {
    const struct scenario_arguments *arguments;
    struct ring *rings;      /* one per thread that allocates */
    double bytes_each;       /* live, of one of those */
    double per_second;       /* bytes, of one of those */
    uint64_t freed;          /* blocks; the freer's, until it is joined */
    pthread_barrier_t ready; /* of all threads and main */
    atomic_uint running;     /* threads that allocate */
    atomic_bool stop;
};

static bool is_stopped(struct freer *freer)
{
    return atomic_load_explicit(&freer->stop, memory_order_relaxed); /* publishes nothing */
}

static void allocate(struct freer *freer, unsigned index)
{
    struct ring *ring = &freer->rings[index];
    uint64_t random = random_stream(freer->arguments->seed, index);
    uint32_t tag = block_first_tag(index);
    uint64_t bytes = 0;
    struct pace pace = {team_now_ns(), freer->per_second};
    while (!is_stopped(freer)) {
        uint64_t due_bytes = pace_due(&pace);
        while (bytes < due_bytes && !ring_is_full(ring) &&
               (double)ring_bytes(ring) < freer->bytes_each * SHARE_OVER) {
            struct block block = block_new(block_size(&random), tag++, index);
            bytes += block.bytes;
            ring_push(ring, block);
        }
        pace_nap();
    }
    /* release: all pushes; pairs with free_all. */
    atomic_fetch_sub_explicit(&freer->running, 1, memory_order_release);
}

/* Frees the oldest of a queue while it holds more than `bytes`. Returns how many. */
static unsigned free_some(struct ring *ring, double bytes, unsigned slot)
{
    unsigned freed = 0;
    while (freed < POPS_AT_ONCE && (double)ring_bytes(ring) > bytes) {
        struct block block = ring_pop(ring);
        if (block.start == NULL)
            break;
        block_end(block, slot);
        freed++;
    }
    return freed;
}

/* One visit to all queues. */
static unsigned free_round(struct freer *freer, double bytes)
{
    unsigned freed = 0;
    for (unsigned i = 0; i < freer->arguments->threads; i++)
        freed += free_some(&freer->rings[i], bytes, freer->arguments->threads);
    freer->freed += freed;
    return freed;
}

static void free_all(struct freer *freer)
{
    /* acquire: all pushes; pairs with allocate. */
    while (atomic_load_explicit(&freer->running, memory_order_acquire) > 0) {
        if (free_round(freer, freer->bytes_each) == 0)
            pace_nap();
    }
    while (free_round(freer, 0) > 0)
        continue;
}

static void freer_body(void *context, unsigned index)
{
    struct freer *freer = context;
    pthread_barrier_wait(&freer->ready); /* started */
    pthread_barrier_wait(&freer->ready); /* go */
    if (index < freer->arguments->threads)
        allocate(freer, index);
    else
        free_all(freer);
}

static void print_metrics(const struct freer *freer, uint64_t base_bytes, uint32_t begin_ms,
                          uint32_t end_ms)
{
    uint32_t quarter_ms = (end_ms - begin_ms) / 4;
    struct sampler_span load = {begin_ms, end_ms};
    struct sampler_span second = {begin_ms + quarter_ms, begin_ms + 2 * quarter_ms};
    struct sampler_span last = {end_ms - quarter_ms, end_ms};
    double held = (double)(sampler_live_max(load) + base_bytes);
    metric_print((double)sampler_rss_max(load) / held, "ratio", "freer/peak_over");
    metric_print((double)sampler_rss_mean(last) / (double)sampler_rss_mean(second), "ratio",
                 "freer/slope");
    metric_print((double)sampler_rss_max(load), "bytes", "freer/rss_peak");
    metric_print((double)sampler_live_max(load), "count", "freer/live_bytes");
    metric_print((double)freer->freed * 1000 / (end_ms - begin_ms), "ops/s", "freer/rate");
}

static void freer_run(const struct scenario_arguments *arguments)
{
    unsigned threads = arguments->threads;
    struct freer freer = {.arguments = arguments};
    freer.bytes_each = (double)scaled(LIVE_BYTES, arguments, 1) / threads;
    freer.per_second = (double)scaled(BYTES_PER_SECOND, arguments, 1) / threads;
    freer.rings = own_map(threads * sizeof *freer.rings);
    for (unsigned i = 0; i < threads; i++)
        ring_open(&freer.rings[i], (uint64_t)freer.bytes_each);
    atomic_store_explicit(&freer.running, threads, memory_order_relaxed); /* no thread yet */
    pthread_barrier_init(&freer.ready, NULL, threads + 2);
    struct crew crew;
    crew_start(&crew, threads + 1, CREW_STACK_BYTES, freer_body, &freer);
    pthread_barrier_wait(&freer.ready); /* started */
    struct resident base = resident_exact();
    uint32_t begin_ms = sampler_now_ms();
    pthread_barrier_wait(&freer.ready); /* go */
    crew_sleep(arguments->seconds);
    uint32_t end_ms = sampler_now_ms();
    atomic_store_explicit(&freer.stop, true, memory_order_relaxed); /* publishes nothing */
    crew_join(&crew);
    sampler_stop();
    for (unsigned i = 0; i < threads; i++)
        ring_close(&freer.rings[i]);
    print_metrics(&freer, base.rss_bytes, begin_ms, end_ms);
}

const struct scenario freer_scenario = {"freer", "many threads allocate, one frees, 400 MiB live",
                                        freer_run, 16, 60};
