/* idle_threads: 2,000 threads each used 40 size classes a little, and sleep. What do they cost?
 */
#include "memory/scenario.h"

#define THREADS      2000u
#define SIZES        40u
#define SIZES_LINEAR 8u  /* 16, 32 and so on to 128; then four to each doubling, to 32 KiB */
#define SIZE_STEP    16u /* bytes */
#define BLOCKS       8u  /* of each size, live at once */
#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
#define STACK_BYTES CREW_STACK_BYTES
#elif defined(__has_feature)
#if __has_feature(address_sanitizer) || __has_feature(thread_sanitizer)
#define STACK_BYTES CREW_STACK_BYTES
#endif
#endif
#ifndef STACK_BYTES
#define STACK_BYTES ((size_t)64 << 10)
#endif

struct idle {
    pthread_barrier_t done; /* of all threads and main */
    pthread_barrier_t end;
};

static uint32_t size_of_class(unsigned class)
{
    if (class < SIZES_LINEAR)
        return (class + 1) * SIZE_STEP;
    unsigned doubling = (class - SIZES_LINEAR) / 4;
    unsigned quarter = (class - SIZES_LINEAR) % 4 + 1;
    return (SIZES_LINEAR * SIZE_STEP << doubling) * (4 + quarter) / 4;
}

static void touch_class(unsigned class, unsigned index)
{
    struct block blocks[BLOCKS];
    uint32_t tag = block_first_tag(index) + class * BLOCKS;
    for (unsigned i = 0; i < BLOCKS; i++)
        blocks[i] = block_new(size_of_class(class), tag + i, index);
    for (unsigned i = 0; i < BLOCKS; i++)
        block_end(blocks[i], index);
}

static void idle_body(void *context, unsigned index)
{
    struct idle *idle = context;
    for (unsigned class = 0; class < SIZES; class ++)
        touch_class(class, index);
    pthread_barrier_wait(&idle->done);
    pthread_barrier_wait(&idle->end);
}

static void idle_threads_run(const struct scenario_arguments *arguments)
{
    unsigned threads = (unsigned)scaled(arguments->threads, arguments, 1);
    if (threads > CREW_THREADS_MAX)
        fail("%u threads are more than %u", threads, CREW_THREADS_MAX);
    struct idle idle;
    pthread_barrier_init(&idle.done, NULL, threads + 1);
    pthread_barrier_init(&idle.end, NULL, threads + 1);
    struct resident before = resident_exact();
    struct crew crew;
    crew_start(&crew, threads, STACK_BYTES, idle_body, &idle);
    pthread_barrier_wait(&idle.done);
    crew_sleep(arguments->seconds);
    struct resident after = resident_exact();
    uint64_t stacks_bytes = crew_stack_bytes(&crew);
    pthread_barrier_wait(&idle.end);
    crew_join(&crew);
    sampler_stop();
    metric_print((double)after.rss_bytes, "bytes", "idle_threads/rss_after");
    metric_print((double)after.lazy_bytes, "bytes", "idle_threads/lazy_free_after");
    metric_print((double)stacks_bytes, "bytes", "idle_threads/stacks");
    metric_print((double)before.rss_bytes, "bytes", "idle_threads/rss_before");
    metric_print(threads, "count", "idle_threads/threads");
}

const struct scenario idle_threads_scenario = {
    "idle_threads", "threads that used 40 size classes and sleep", idle_threads_run, THREADS, 3};
