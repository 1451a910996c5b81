/* weir_bench_buffers: large buffers that are taken, used and given back, as for images, files and
 * network transfers. Sizes are spread evenly over the powers of two. Some buffers are touched
 * whole, others only at their beginning, as a buffer is that was taken in case it is needed; some
 * are asked for zeroed.
 */
#include "harness.h"

#define PART_BYTES  4096u /* of a buffer that is touched in part */
#define ZERO_CHECKS 16u   /* places at which a zeroed buffer is looked at */

static unsigned long threads = 2;
static unsigned long operations = 4000;
static unsigned long slots = 8;
static unsigned long kib_min = 64;
static unsigned long kib_max = 16384;
static unsigned long whole = 50;
static unsigned long zeroed = 25;
static unsigned long seed = 1;

/* A buffer: block.bytes is what was touched of it. */
struct buffer {
    struct bench_block block;
    size_t bytes; /* as requested */
};

struct run {
    struct buffer *buffers; /* `slots` per thread */
    struct bench_tally *tallies;
};

/* Between the bounds, each doubling as likely as the others. */
static size_t buffer_bytes(uint64_t *random)
{
    size_t least = kib_min << 10;
    size_t greatest = kib_max << 10;
    size_t doublings = 0;
    while (least << (doublings + 1) <= greatest)
        doublings++;
    size_t base = least << bench_below(random, doublings + 1);
    size_t above = 2 * base <= greatest ? base - 1 : greatest - base;
    return base + bench_below(random, above + 1);
}

static void check_zeroed(const char *start, size_t bytes)
{
    uint64_t wrong = 0;
    for (size_t i = 0; i < ZERO_CHECKS; i++) {
        uint64_t word;
        memcpy(&word, start + (bytes - sizeof word) / (ZERO_CHECKS - 1) * i, sizeof word);
        wrong |= word;
    }
    if (wrong != 0)
        bench_fail("a zeroed block of %zu bytes is not zero", bytes);
}

static struct buffer take(uint64_t *random, uint64_t tag, struct bench_tally *tally)
{
    struct buffer buffer = {.bytes = buffer_bytes(random), .block = {.tag = tag}};
    buffer.block.bytes = bench_below(random, 100) < whole ? buffer.bytes : PART_BYTES;
    if (bench_below(random, 100) < zeroed) {
        buffer.block.start = bench_sound(calloc(1, buffer.bytes), buffer.bytes);
        check_zeroed(buffer.block.start, buffer.bytes);
    } else {
        buffer.block.start = bench_sound(malloc(buffer.bytes), buffer.bytes);
    }
    bench_fill(buffer.block.start, buffer.block.bytes, tag);
    tally->made++;
    tally->made_tags += tag;
    return buffer;
}

static void run_buffers(void *context, unsigned thread, unsigned generation)
{
    (void)generation;
    const struct run *run = context;
    struct buffer *own = run->buffers + thread * slots;
    struct bench_tally tally = {.made = 0};
    uint64_t random = bench_seed(seed, thread);
    uint64_t tag = bench_first_tag(thread);
    for (size_t left = operations / threads; left > 0; left--) {
        struct buffer *buffer = &own[bench_below(&random, slots)];
        if (buffer->block.start != NULL)
            bench_block_end(&buffer->block, &tally);
        *buffer = take(&random, tag++, &tally);
    }
    for (size_t i = 0; i < slots; i++) {
        if (own[i].block.start != NULL)
            bench_block_end(&own[i].block, &tally);
    }
    run->tallies[thread] = tally;
}

int main(int argc, char **argv)
{
    const struct bench_option options[] = {
        {"threads", &threads, 1, BENCH_THREADS_MAX, NULL, NULL, "threads"},
        {"operations", &operations, 1, BENCH_OPERATIONS_MAX, NULL, NULL,
         "buffers, by all threads together"},
        {"slots", &slots, 1, 100000, NULL, NULL, "live buffers per thread"},
        {"kib-min", &kib_min, 4, 1ul << 20, NULL, NULL, "least buffer in KiB"},
        {"kib-max", &kib_max, 4, 1ul << 20, NULL, NULL, "greatest buffer in KiB"},
        {"whole", &whole, 0, 100, NULL, NULL, "buffers touched whole, in percent"},
        {"zeroed", &zeroed, 0, 100, NULL, NULL, "buffers asked for zeroed, in percent"},
        {"seed", &seed, 0, UINT32_MAX, NULL, NULL, "seed of sizes and order"},
    };
    bench_options(argc, argv,
                  "Takes large buffers, touches them whole or in part, gives them back.\n"
                  "An operation is one buffer allocated and freed.",
                  options, BENCH_LEN(options));
    if (kib_max < kib_min)
        bench_refuse("--kib-max is below --kib-min");
    struct run run = {.buffers = bench_map(threads * slots, sizeof *run.buffers),
                      .tallies = bench_map(threads, sizeof *run.tallies)};
    size_t rss_before = bench_rss_bytes();
    double seconds = bench_run((unsigned)threads, 1, run_buffers, &run);
    size_t rss_after = bench_rss_bytes();
    size_t buffers = operations / threads * threads;
    bench_settle(run.tallies, threads, buffers);
    bench_metric("buffers", "throughput", (double)buffers / seconds, "ops/s");
    /* All is freed: what the malloc keeps. */
    bench_metric("buffers", "rss_kept",
                 rss_after > rss_before ? (double)(rss_after - rss_before) : 0, "bytes");
    return 0;
}
