/* weir_bench_bursts: each thread allocates a burst of blocks and frees it in one of three orders:
 * last first (a stack), first first (a queue), or shuffled. No block changes its thread.
 */
#include "harness.h"

enum order { ORDER_STACK, ORDER_QUEUE, ORDER_SHUFFLED, ORDER_ALL };

static const char *const order_names[] = {"stack", "queue", "shuffled", "all", NULL};

static unsigned long threads = 4;
static unsigned long operations = 6000000;
static unsigned long burst = 1000;
static unsigned long bytes_min = 8;
static unsigned long bytes_max = 256;
static unsigned long order = ORDER_ALL;
static unsigned long seed = 1;

/* What the threads of one run use. */
struct run {
    enum order order;
    struct bench_block *blocks; /* `burst` per thread */
    const uint32_t *shuffle;    /* a permutation of the burst, read only */
    struct bench_tally *tallies;
};

static size_t victim(const struct run *run, size_t i)
{
    if (run->order == ORDER_STACK)
        return burst - 1 - i;
    return run->order == ORDER_QUEUE ? i : run->shuffle[i];
}

static void run_bursts(void *context, unsigned thread, unsigned generation)
{
    (void)generation;
    const struct run *run = context;
    struct bench_block *blocks = run->blocks + thread * burst;
    uint64_t random = bench_seed(seed, thread);
    uint64_t tag = bench_first_tag(thread);
    struct bench_tally tally = {.made = 0};
    for (size_t left = operations / threads / burst; left > 0; left--) {
        for (size_t i = 0; i < burst; i++)
            blocks[i] =
                bench_block_new(bench_between(&random, bytes_min, bytes_max), tag++, &tally);
        for (size_t i = 0; i < burst; i++)
            bench_block_end(&blocks[victim(run, i)], &tally);
    }
    run->tallies[thread] = tally;
}

static void measure(enum order which, struct run *run)
{
    run->order = which;
    double seconds = bench_run((unsigned)threads, 1, run_bursts, run);
    size_t blocks = operations / threads / burst * burst * threads;
    bench_settle(run->tallies, threads, blocks);
    char group[64] = "bursts/";
    strcat(group, order_names[which]);
    bench_metric(group, "throughput", (double)blocks / seconds, "ops/s");
}

int main(int argc, char **argv)
{
    const struct bench_option options[] = {
        {"threads", &threads, 1, BENCH_THREADS_MAX, NULL, NULL, "threads"},
        {"operations", &operations, 1, BENCH_OPERATIONS_MAX, NULL, NULL,
         "blocks per order, by all threads together (rounded down to whole bursts)"},
        {"burst", &burst, 1, 10000000, NULL, NULL, "blocks in a burst"},
        {"bytes-min", &bytes_min, 1, 1ul << 30, NULL, NULL, "least block in bytes"},
        {"bytes-max", &bytes_max, 1, 1ul << 30, NULL, NULL, "greatest block in bytes"},
        {"order", &order, 0, 0, order_names, NULL, "order of the frees"},
        {"seed", &seed, 0, UINT32_MAX, NULL, NULL, "seed of sizes and of the shuffle"},
    };
    bench_options(argc, argv,
                  "Allocates bursts of blocks and frees them, each thread its own.\n"
                  "An operation is one block allocated and freed.",
                  options, BENCH_LEN(options));
    if (bytes_max < bytes_min)
        bench_refuse("--bytes-max is below --bytes-min");
    uint32_t *shuffle = bench_map(burst, sizeof *shuffle);
    uint64_t random = bench_seed(seed, BENCH_THREADS_MAX);
    for (size_t i = 0; i < burst; i++) {
        size_t other = bench_below(&random, i + 1);
        shuffle[i] = shuffle[other];
        shuffle[other] = (uint32_t)i;
    }
    struct run run = {.blocks = bench_map(threads * burst, sizeof *run.blocks),
                      .shuffle = shuffle,
                      .tallies = bench_map(threads, sizeof *run.tallies)};
    for (unsigned i = ORDER_STACK; i < ORDER_ALL; i++) {
        if (order == ORDER_ALL || order == i)
            measure((enum order)i, &run);
    }
    return 0;
}
