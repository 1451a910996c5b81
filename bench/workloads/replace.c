/* weir_bench_replace: a long-lived heap of bounded size in which random blocks make way for new
 * ones. Sizes follow a power law (many small, few large), and may drift over the run, so that the
 * holes that old blocks leave do not fit the new. What counts is memory: RSS over live bytes, as it
 * is at the end and at its worst once the heap is full.
 */
#include "harness.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>

#define QUANTILES    4096u  /* of the size distribution; a power of two */
#define SCALE_ONE    65536u /* the drift's factor is a fraction of this */
#define SAMPLES_MAX  100000u
#define SPARE_BLOCKS 1024u /* room for a run of smaller blocks than the mean says */

/* A moment of the run. */
struct sample {
    double seconds;
    size_t live_bytes;
    size_t rss_bytes; /* without what the process had before the first block */
};

/* One thread's share of the heap. */
struct share {
    _Alignas(BENCH_LINE_BYTES)
        atomic_size_t live_bytes; /* written by its thread, read by thread 0 */
    struct bench_block *blocks;   /* live ones, in [0, count) */
    size_t count;
    size_t count_max; /* entries in blocks */
    uint64_t random;
    uint64_t tag; /* of the next block */
    struct bench_tally tally;
};

static unsigned long threads = 2;
static unsigned long operations = 3000000;
static unsigned long live_mib = 32;
static unsigned long bytes_min = 16;
static unsigned long bytes_max = 65536;
static unsigned long power = 120;
static unsigned long drift = 100;
static unsigned long samples_wanted = 100;
static unsigned long seed = 1;
static const char *csv_path;

static size_t *quantiles; /* sizes of the undrifted distribution, read only in the run */
static struct share *shares;
static struct sample *samples; /* written by thread 0 only */
static size_t samples_taken;
static size_t rss_before;

/* The quantiles of a power law between two bounds: P(size > s) falls as s^-(power/100). Returns
 * their mean. */
static double make_quantiles(void)
{
    quantiles = bench_map(QUANTILES, sizeof *quantiles);
    double exponent = (double)power / 100;
    double least = (double)bytes_min;
    double cut = 1 - pow(least / (double)bytes_max, exponent);
    double sum = 0;
    for (size_t i = 0; i < QUANTILES; i++) {
        double rank = ((double)i + 0.5) / QUANTILES;
        quantiles[i] = (size_t)(least * pow(1 - rank * cut, -1 / exponent));
        sum += (double)quantiles[i];
    }
    return sum / QUANTILES;
}

static size_t live_budget(void)
{
    return (live_mib << 20) / threads;
}

static void end_block(struct share *share, size_t at)
{
    size_t live_bytes = atomic_load_explicit(&share->live_bytes, memory_order_relaxed);
    /* relaxed: a statistic, read by thread 0 at any moment. */
    atomic_store_explicit(&share->live_bytes, live_bytes - share->blocks[at].bytes,
                          memory_order_relaxed);
    bench_block_end(&share->blocks[at], &share->tally);
    share->blocks[at] = share->blocks[--share->count];
}

/* Adds a block; random ones make way if the heap is full. False if that was needed. */
static bool add_block(struct share *share, size_t scale)
{
    size_t bytes = quantiles[bench_below(&share->random, QUANTILES)] * scale / SCALE_ONE;
    if (bytes == 0)
        bytes = 1;
    bool was_room = true;
    while (
        share->count == share->count_max ||
        (share->count > 0 &&
         atomic_load_explicit(&share->live_bytes, memory_order_relaxed) + bytes > live_budget())) {
        end_block(share, bench_below(&share->random, share->count));
        was_room = false;
    }
    share->blocks[share->count++] = bench_block_new(bytes, share->tag++, &share->tally);
    /* relaxed: a statistic, read by thread 0 at any moment. */
    size_t live_bytes = atomic_load_explicit(&share->live_bytes, memory_order_relaxed);
    atomic_store_explicit(&share->live_bytes, live_bytes + bytes, memory_order_relaxed);
    return was_room;
}

static void take_sample(uint64_t start_ns)
{
    struct sample sample = {.seconds = (double)(bench_now_ns() - start_ns) / 1e9};
    for (size_t i = 0; i < threads; i++)
        sample.live_bytes += atomic_load_explicit(&shares[i].live_bytes, memory_order_relaxed);
    size_t rss_bytes = bench_rss_bytes();
    sample.rss_bytes = rss_bytes > rss_before ? rss_bytes - rss_before : 0;
    samples[samples_taken++] = sample;
}

static void fill(void *context, unsigned thread, unsigned generation)
{
    (void)context;
    (void)generation;
    while (add_block(&shares[thread], SCALE_ONE))
        continue;
}

static void replace(void *context, unsigned thread, unsigned generation)
{
    (void)context;
    (void)generation;
    struct share *share = &shares[thread];
    uint64_t start_ns = bench_now_ns();
    size_t count = operations / threads;
    /* The scale goes from 1 to drift/100 in equal steps, one per sample. */
    double scale_step = ((double)drift / 100 - 1) / (double)samples_wanted;
    for (size_t step = 0; step < samples_wanted; step++) {
        size_t scale = (size_t)((1 + scale_step * (double)step) * SCALE_ONE);
        size_t end = count * (step + 1) / samples_wanted;
        for (size_t i = count * step / samples_wanted; i < end; i++)
            add_block(share, scale);
        if (thread == 0)
            take_sample(start_ns);
    }
}

static void write_csv(void)
{
    FILE *file = fopen(csv_path, "w");
    if (file == NULL)
        bench_refuse("cannot write %s", csv_path);
    fprintf(file, "seconds,live_bytes,rss_bytes\n");
    for (size_t i = 0; i < samples_taken; i++)
        fprintf(file, "%.6f,%zu,%zu\n", samples[i].seconds, samples[i].live_bytes,
                samples[i].rss_bytes);
    if (fclose(file) != 0)
        bench_refuse("cannot write %s", csv_path);
}

static void report(double seconds)
{
    const char *group = drift == 100 ? "replace" : "replace_drift";
    double worst = 0;
    double last = 0;
    for (size_t i = 0; i < samples_taken; i++) {
        last = (double)samples[i].rss_bytes / (double)samples[i].live_bytes;
        if (last > worst)
            worst = last;
    }
    bench_metric(group, "throughput", (double)(operations / threads * threads) / seconds, "ops/s");
    bench_metric(group, "rss_over_live_end", last, "ratio");
    bench_metric(group, "rss_over_live_max", worst, "ratio");
    size_t rss_after = bench_rss_bytes();
    /* All is freed: what the malloc keeps. */
    bench_metric(group, "rss_kept", rss_after > rss_before ? (double)(rss_after - rss_before) : 0,
                 "bytes");
}

static void make_shares(double bytes_mean)
{
    double scale = drift < 100 ? (double)drift / 100 : 1;
    size_t count_max = (size_t)((double)live_budget() / bytes_mean / scale * 1.5) + SPARE_BLOCKS;
    shares = bench_map(threads, sizeof *shares);
    for (unsigned i = 0; i < threads; i++) {
        shares[i].blocks = bench_map(count_max, sizeof *shares[i].blocks);
        shares[i].count_max = count_max;
        shares[i].random = bench_seed(seed, i);
        shares[i].tag = bench_first_tag(i);
    }
}

int main(int argc, char **argv)
{
    const struct bench_option options[] = {
        {"threads", &threads, 1, BENCH_THREADS_MAX, NULL, NULL, "threads, each with its share"},
        {"operations", &operations, 1, BENCH_OPERATIONS_MAX, NULL, NULL,
         "blocks allocated once the heap is full, by all threads together"},
        {"live-mib", &live_mib, 1, 1ul << 20, NULL, NULL, "live heap in MiB"},
        {"bytes-min", &bytes_min, 1, 1ul << 20, NULL, NULL, "least block in bytes"},
        {"bytes-max", &bytes_max, 2, 1ul << 30, NULL, NULL, "greatest block in bytes"},
        {"power", &power, 10, 1000, NULL, NULL, "exponent of the power law in hundredths"},
        {"drift", &drift, 10, 10000, NULL, NULL,
         "sizes at the end, in percent of those at the start"},
        {"samples", &samples_wanted, 1, SAMPLES_MAX, NULL, NULL, "samples of the RSS"},
        {"csv", NULL, 0, 0, NULL, &csv_path, "file that takes the samples"},
        {"seed", &seed, 0, UINT32_MAX, NULL, NULL, "seed of sizes and victims"},
    };
    bench_options(argc, argv,
                  "Replaces random blocks of a full heap; reports RSS over live bytes.\n"
                  "An operation is one block allocated, and as many freed as make room for it.",
                  options, BENCH_LEN(options));
    if (bytes_max <= bytes_min)
        bench_refuse("--bytes-max is not above --bytes-min");
    make_shares(make_quantiles());
    samples = bench_map(samples_wanted, sizeof *samples);
    rss_before = bench_rss_bytes();
    bench_run((unsigned)threads, 1, fill, NULL);
    uint64_t filled = 0;
    for (size_t i = 0; i < threads; i++)
        filled += shares[i].tally.made;
    double seconds = bench_run((unsigned)threads, 1, replace, NULL);
    struct bench_tally *tallies = bench_map(threads, sizeof *tallies);
    for (size_t i = 0; i < threads; i++) {
        while (shares[i].count > 0)
            end_block(&shares[i], shares[i].count - 1);
        tallies[i] = shares[i].tally;
    }
    bench_settle(tallies, threads, filled + operations / threads * threads);
    report(seconds);
    if (csv_path != NULL)
        write_csv();
    return 0;
}
