/* weir_bench_replay: plays a trace of a real program (see trace.h) with as many threads.
 *
 * Each thread does its own events in the order of the trace. A thread that needs a block which
 * another has not brought yet waits for it; beyond that, threads do not keep to each other's order.
 * Every block is filled, and checked when it is given up or reallocated.
 */
#include "harness.h"
#include "trace.h"

#include <ctype.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>

#define ZERO_STEP_BYTES 64u /* a zeroed block is looked at this often */

static unsigned long threads = 0;
static unsigned long repeats = 0;
static unsigned long copies = 1;
static unsigned long operations = 40000000;
static unsigned long seed = 1;
static const char *trace_path = WEIR_BENCH_TRACE;
static const char *rewrite_path;

/* Blocks of one copy of the trace that are brought and not given up. */
struct copy {
    _Atomic(void *) *starts; /* by block; NULL before it is there and after it is given up */
};

static struct trace trace;
static size_t *bytes_of;         /* by block */
static uint32_t **thread_events; /* by thread: indices into the trace, in order */
static size_t *thread_counts;    /* events of each thread */
static struct copy *all_copies;
static struct bench_tally *tallies; /* per thread of all copies, then main's */

static uint64_t tag_of(size_t copy, uint32_t block)
{
    return (seed << 48) + ((uint64_t)copy << 32) + block;
}

/* The block, once it is there. */
static void *await_block(const struct copy *copy, uint32_t block)
{
    void *start;
    /* acquire: what its maker wrote into it. Pairs with publish. */
    while ((start = atomic_load_explicit(&copy->starts[block], memory_order_acquire)) == NULL)
        sched_yield();
    /* relaxed: only this thread has the block now, and main reads after the threads have ended. */
    atomic_store_explicit(&copy->starts[block], NULL, memory_order_relaxed);
    return start;
}

static void publish(const struct copy *copy, uint32_t block, void *start)
{
    /* release: what was written into it. Pairs with await_block. */
    atomic_store_explicit(&copy->starts[block], start, memory_order_release);
}

static void check_kept(const void *start, size_t bytes, size_t kept, uint64_t tag)
{
    if (!bench_holds_prefix(start, bytes, kept, tag))
        bench_fail("a block of %zu bytes does not hold what was written", bytes);
}

static void *new_zeroed(size_t bytes)
{
    char *start = bench_sound(calloc(1, bytes), bytes);
    char wrong = 0;
    for (size_t at = 0; at < bytes; at += ZERO_STEP_BYTES)
        wrong |= start[at];
    if (wrong != 0 || (bytes > 0 && start[bytes - 1] != 0))
        bench_fail("a zeroed block of %zu bytes is not zero", bytes);
    return start;
}

static void *new_aligned(size_t bytes, size_t align)
{
    void *start = NULL;
    if (posix_memalign(&start, align < sizeof start ? sizeof start : align, bytes) != 0)
        bench_fail("no memory for %zu bytes", bytes);
    if (((uintptr_t)start & (align - 1)) != 0)
        bench_fail("a block aligned by %zu is at %p", align, start);
    return start;
}

static void *reallocated(size_t copy, const struct trace_event *event, struct bench_tally *tally)
{
    void *old = await_block(&all_copies[copy], event->old);
    size_t old_bytes = bytes_of[event->old];
    uint64_t tag = tag_of(copy, event->old);
    check_kept(old, old_bytes, old_bytes, tag);
    void *start = bench_sound(realloc(old, event->bytes), event->bytes);
    check_kept(start, old_bytes, event->bytes < old_bytes ? event->bytes : old_bytes, tag);
    tally->ended++;
    tally->ended_tags += tag;
    return start;
}

static void end_block(size_t copy, uint32_t block, struct bench_tally *tally)
{
    void *start = await_block(&all_copies[copy], block);
    check_kept(start, bytes_of[block], bytes_of[block], tag_of(copy, block));
    free(start);
    tally->ended++;
    tally->ended_tags += tag_of(copy, block);
}

static void play(size_t copy, const struct trace_event *event, struct bench_tally *tally)
{
    void *start = NULL;
    switch (event->kind) {
    case 'f':
        end_block(copy, event->old, tally);
        return;
    case 'c':
        start = new_zeroed(event->bytes);
        break;
    case 'a':
        start = new_aligned(event->bytes, (size_t)1 << event->log2_align);
        break;
    case 'r':
        start = reallocated(copy, event, tally);
        break;
    default:
        start = bench_sound(malloc(event->bytes), event->bytes);
        break;
    }
    uint64_t tag = tag_of(copy, event->block);
    bench_fill(start, event->bytes, tag);
    tally->made++;
    tally->made_tags += tag;
    publish(&all_copies[copy], event->block, start);
}

static void play_thread(void *context, unsigned number, unsigned generation)
{
    (void)context;
    (void)generation;
    size_t copy = number / threads;
    size_t thread = number % threads;
    struct bench_tally tally = tallies[number];
    for (size_t i = 0; i < thread_counts[thread]; i++)
        play(copy, &trace.events[thread_events[thread][i]], &tally);
    tallies[number] = tally;
}

/* Gives each thread of the run its events: those of the trace's threads that fall to it. */
static void share_out(void)
{
    thread_events = bench_map(threads, sizeof *thread_events);
    thread_counts = bench_map(threads, sizeof *thread_counts);
    bytes_of = bench_map(trace.blocks, sizeof *bytes_of);
    for (size_t i = 0; i < trace.count; i++)
        thread_counts[trace.events[i].thread % threads]++;
    for (size_t i = 0; i < threads; i++) {
        thread_events[i] = bench_map(thread_counts[i], sizeof *thread_events[i]);
        thread_counts[i] = 0;
    }
    for (size_t i = 0; i < trace.count; i++) {
        const struct trace_event *event = &trace.events[i];
        size_t thread = event->thread % threads;
        thread_events[thread][thread_counts[thread]++] = (uint32_t)i;
        if (event->block != TRACE_NO_BLOCK)
            bytes_of[event->block] = event->bytes;
    }
}

/* Frees what the trace leaves. */
static void end_left(void)
{
    struct bench_tally *own = &tallies[copies * threads];
    for (size_t copy = 0; copy < copies; copy++) {
        for (uint32_t block = 0; block < trace.blocks; block++) {
            if (atomic_load_explicit(&all_copies[copy].starts[block], memory_order_acquire) != NULL)
                end_block(copy, block, own);
        }
    }
}

/* The metric has the name of the trace's file, up to its first dot. */
static void report(double seconds)
{
    char group[64] = "replay/";
    size_t used = strlen(group);
    const char *slash = strrchr(trace_path, '/');
    for (const char *at = slash == NULL ? trace_path : slash + 1;
         *at != '\0' && *at != '.' && used + 1 < sizeof group; at++)
        group[used++] = isalnum((unsigned char)*at) ? (char)tolower((unsigned char)*at) : '_';
    printf("%zu events of %zu threads, %zu skipped\n", trace.count, trace.threads, trace.skipped);
    fflush(stdout);
    bench_metric(group, "throughput", (double)(trace.count * copies * repeats) / seconds, "ops/s");
}

int main(int argc, char **argv)
{
    const struct bench_option options[] = {
        {"trace", NULL, 0, 0, NULL, &trace_path, "file with the trace"},
        {"threads", &threads, 0, BENCH_THREADS_MAX, NULL, NULL,
         "threads per copy, 0 for as many as the trace has; fewer do the events of several"},
        {"copies", &copies, 1, BENCH_THREADS_MAX, NULL, NULL, "copies of the trace at a time"},
        {"operations", &operations, 1, BENCH_OPERATIONS_MAX, NULL, NULL,
         "events by all copies together (rounded up to whole repeats); unused with --repeats"},
        {"repeats", &repeats, 0, 1000000000, NULL, NULL, "times it is played, 0 for --operations"},
        {"rewrite", NULL, 0, 0, NULL, &rewrite_path, "write the trace in short to a file instead"},
        {"seed", &seed, 0, 65535, NULL, NULL, "seed of what is written into the blocks"},
    };
    bench_options(argc, argv,
                  "Plays a recorded trace of the malloc family.\n"
                  "An operation is one event of the trace.",
                  options, BENCH_LEN(options));
    trace_load(&trace, trace_path);
    if (rewrite_path != NULL) {
        trace_write(&trace, rewrite_path);
        return 0;
    }
    if (threads == 0)
        threads = trace.threads < BENCH_THREADS_MAX ? trace.threads : BENCH_THREADS_MAX;
    if (threads * copies > BENCH_THREADS_MAX)
        bench_refuse("more than %u threads", BENCH_THREADS_MAX);
    if (repeats == 0)
        repeats = (operations + trace.count * copies - 1) / (trace.count * copies);
    share_out();
    all_copies = bench_map(copies, sizeof *all_copies);
    for (size_t i = 0; i < copies; i++)
        all_copies[i].starts = bench_map(trace.blocks, sizeof *all_copies[i].starts);
    tallies = bench_map(copies * threads + 1, sizeof *tallies);
    double seconds = 0;
    for (size_t i = 0; i < repeats; i++) {
        seconds += bench_run((unsigned)(copies * threads), 1, play_thread, NULL);
        end_left();
    }
    bench_settle(tallies, copies * threads + 1, trace.blocks * copies * repeats);
    report(seconds);
    return 0;
}
