/* weir_bench_larson: a server in which a block outlives the thread that allocated it.
 *
 * Each place has an array of blocks. Its thread replaces blocks at random: frees one, allocates one
 * of another size. After a while it starts a successor, hands the array on and dies, so that most
 * of what a thread frees comes from threads that are gone. After Larson and Krishnan, "Memory
 * allocation for long-running server applications" (ISMM 1998).
 */
#include "harness.h"

struct place {
    _Alignas(BENCH_LINE_BYTES) struct bench_block *blocks; /* `slots` of them, none empty */
    uint64_t random;                                       /* handed on from thread to thread */
    uint64_t tag;                                          /* of the next block */
    struct bench_tally tally;
};

static unsigned long threads = 4;
static unsigned long operations = 8000000;
static unsigned long generations = 50;
static unsigned long slots = 5000;
static unsigned long bytes_min = 10;
static unsigned long bytes_max = 500;
static unsigned long seed = 1;
static struct place *places;

static void fill_slots(struct place *place)
{
    for (size_t i = 0; i < slots; i++) {
        size_t bytes = bench_between(&place->random, bytes_min, bytes_max);
        place->blocks[i] = bench_block_new(bytes, place->tag++, &place->tally);
    }
}

static void serve(void *context, unsigned thread, unsigned generation)
{
    (void)context;
    (void)generation;
    struct place *place = &places[thread];
    uint64_t random = place->random;
    uint64_t tag = place->tag;
    struct bench_tally tally = place->tally;
    for (size_t left = operations / threads / generations; left > 0; left--) {
        struct bench_block *block = &place->blocks[bench_below(&random, slots)];
        bench_block_end(block, &tally);
        *block = bench_block_new(bench_between(&random, bytes_min, bytes_max), tag++, &tally);
    }
    place->random = random;
    place->tag = tag;
    place->tally = tally;
}

int main(int argc, char **argv)
{
    const struct bench_option options[] = {
        {"threads", &threads, 1, BENCH_THREADS_MAX, NULL, NULL, "threads at a time"},
        {"operations", &operations, 1, BENCH_OPERATIONS_MAX, NULL, NULL,
         "blocks replaced, by all threads together (rounded down to whole generations)"},
        {"generations", &generations, 1, 1000000, NULL, NULL, "threads one after the other"},
        {"slots", &slots, 1, 100000000, NULL, NULL, "live blocks per thread"},
        {"bytes-min", &bytes_min, 1, 1ul << 30, NULL, NULL, "least block in bytes"},
        {"bytes-max", &bytes_max, 1, 1ul << 30, NULL, NULL, "greatest block in bytes"},
        {"seed", &seed, 0, UINT32_MAX, NULL, NULL, "seed of sizes and victims"},
    };
    bench_options(argc, argv,
                  "Replaces blocks in arrays that dying threads hand on to new ones.\n"
                  "An operation is one block freed and one allocated.",
                  options, BENCH_LEN(options));
    if (bytes_max < bytes_min)
        bench_refuse("--bytes-max is below --bytes-min");
    places = bench_map(threads, sizeof *places);
    struct bench_block *blocks = bench_map(threads * slots, sizeof *blocks);
    size_t rss_before = bench_rss_bytes();
    for (unsigned i = 0; i < threads; i++) {
        places[i].blocks = blocks + i * slots;
        places[i].random = bench_seed(seed, i);
        places[i].tag = bench_first_tag(i);
        fill_slots(&places[i]);
    }
    double seconds = bench_run((unsigned)threads, (unsigned)generations, serve, NULL);
    size_t rss_after = bench_rss_bytes();
    size_t live_bytes = 0;
    struct bench_tally *tallies = bench_map(threads, sizeof *tallies);
    for (unsigned i = 0; i < threads; i++) {
        for (size_t slot = 0; slot < slots; slot++) {
            live_bytes += places[i].blocks[slot].bytes;
            bench_block_end(&places[i].blocks[slot], &places[i].tally);
        }
        tallies[i] = places[i].tally;
    }
    size_t replaced = operations / threads / generations * generations * threads;
    bench_settle(tallies, threads, replaced + threads * slots);
    bench_metric("larson", "throughput", (double)replaced / seconds, "ops/s");
    bench_metric("larson", "rss_over_live",
                 ((double)rss_after - (double)rss_before) / (double)live_bytes, "ratio");
    return 0;
}
