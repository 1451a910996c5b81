/* weir_bench_sharing: does the malloc put blocks of different threads on one cache line?
 *
 * Active: threads allocate small blocks at the same time, write to them many times, free them; the
 * malloc shares a line if it carves neighbours for different threads. Passive: one thread has
 * allocated neighbours and handed one to each thread, which frees it and then goes on as before;
 * the malloc shares a line if it gives the freed piece back to the thread that freed it. After
 * Berger, McKinley, Blumofe and Wilson, "Hoard: a scalable memory allocator for multithreaded
 * applications" (ASPLOS 2000).
 */
#include "harness.h"

enum shape { SHAPE_ACTIVE, SHAPE_PASSIVE, SHAPE_BOTH };

static const char *const shape_names[] = {"active", "passive", "both", NULL};

#define BLOCKS_MAX 64u

static unsigned long threads = 4;
static unsigned long operations = 600000;
static unsigned long blocks = 2;
static unsigned long bytes = 8;
static unsigned long writes = 200;
static unsigned long shape = SHAPE_BOTH;
static unsigned long seed = 1;

struct run {
    struct bench_block *handed; /* `blocks` per thread, neighbours apart; NULL when active */
    struct bench_tally *tallies;
};

static void write_often(void *const *starts)
{
    for (size_t i = 0; i < writes; i++) {
        for (size_t block = 0; block < blocks; block++) {
            volatile uint64_t *cell = starts[block];
            *cell = *cell + 1;
        }
    }
}

static void run_thread(void *context, unsigned thread, unsigned generation)
{
    (void)generation;
    const struct run *run = context;
    struct bench_tally tally = {.made = 0};
    if (run->handed != NULL) {
        for (size_t i = 0; i < blocks; i++)
            bench_block_end(&run->handed[i * threads + thread], &tally);
    }
    uint64_t tag = seed ^ bench_first_tag(thread);
    for (size_t left = operations / threads / blocks; left > 0; left--) {
        void *starts[BLOCKS_MAX];
        for (size_t i = 0; i < blocks; i++) {
            starts[i] = bench_sound(malloc(bytes), bytes);
            *(uint64_t *)starts[i] = bench_stamp(tag + i, 0);
        }
        write_often(starts);
        for (size_t i = 0; i < blocks; i++) {
            if (*(volatile uint64_t *)starts[i] != bench_stamp(tag + i, 0) + writes)
                bench_fail("a block of %lu bytes does not hold what was written", bytes);
            free(starts[i]);
        }
        tally.made += blocks;
        tally.ended += blocks;
        tag += blocks;
    }
    run->tallies[thread] = tally;
}

static void measure(enum shape which)
{
    struct run run = {.tallies = bench_map(threads + 1, sizeof *run.tallies)};
    struct bench_tally *own = &run.tallies[threads];
    size_t handed = 0;
    if (which == SHAPE_PASSIVE) {
        handed = blocks * threads;
        run.handed = bench_map(handed, sizeof *run.handed);
        for (size_t i = 0; i < handed; i++)
            run.handed[i] = bench_block_new(bytes, i + 1, own);
    }
    double seconds = bench_run((unsigned)threads, 1, run_thread, &run);
    size_t count = operations / threads / blocks * blocks * threads;
    bench_settle(run.tallies, threads + 1, count + handed);
    char group[64] = "sharing/";
    strcat(group, shape_names[which]);
    bench_metric(group, "throughput", (double)count / seconds, "ops/s");
}

int main(int argc, char **argv)
{
    const struct bench_option options[] = {
        {"threads", &threads, 1, BENCH_THREADS_MAX, NULL, NULL, "threads"},
        {"operations", &operations, 1, BENCH_OPERATIONS_MAX, NULL, NULL,
         "blocks per shape, by all threads together (rounded down to whole rounds)"},
        {"blocks", &blocks, 1, BLOCKS_MAX, NULL, NULL, "blocks that a thread holds at a time"},
        {"bytes", &bytes, 8, 1ul << 20, NULL, NULL, "size of a block in bytes"},
        {"writes", &writes, 1, 1000000, NULL, NULL, "writes to each block"},
        {"shape", &shape, 0, 0, shape_names, NULL, "how the blocks get to the threads"},
        {"seed", &seed, 0, UINT32_MAX, NULL, NULL, "seed of what is written"},
    };
    bench_options(argc, argv,
                  "Writes to small blocks from many threads; slow where they share cache lines.\n"
                  "An operation is one block allocated, written to and freed.",
                  options, BENCH_LEN(options));
    for (unsigned i = SHAPE_ACTIVE; i < SHAPE_BOTH; i++) {
        if (shape == SHAPE_BOTH || shape == i)
            measure((enum shape)i);
    }
    return 0;
}
