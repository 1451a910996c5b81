/* weir_bench_scaling: what an operation costs as the live heap grows, and as threads join.
 *
 * Live heap: one thread replaces random blocks of a heap that doubles from 1 MiB up to --live. A
 * larger heap misses more caches whatever the malloc does: the same reads and writes without
 * malloc and free are measured beside it, and what remains is the malloc's own.
 *
 * Threads: each thread replaces random blocks of a small heap of its own.
 */
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#include "common/metric.h"
#include "common/options.h"
#include "common/own.h"
#include "common/random.h"
#include "common/stamp.h"
#include "common/team.h"

#define LIVE_FROM_BYTES     ((uint64_t)1 << 20)
#define THREAD_LIVE_BYTES   ((uint64_t)1 << 20)
#define OPERATIONS_PER_LOOK 256u /* at the clock or the stop flag */
#define TOUCH_SHARE         0.25 /* of the seconds of a point, for the reads and writes alone */
/* Sizes are even in their logarithm from 32 to 2047 bytes. */
#define SIZE_SHIFT_LEAST    5u
#define SIZE_SHIFT_GREATEST 11u
#define SIZE_BYTES_LEAST    32u

enum part { PART_LIVE, PART_THREADS, PART_BOTH };

/* A set of live blocks that one thread works on. */
struct heap {
    stamp_t *blocks;
    size_t capacity; /* of `blocks` */
    size_t count;
    uint64_t bytes; /* asked for, of all blocks */
    uint64_t random;
    uint64_t operations; /* replacements */
    const char *wrong;   /* what went wrong, or NULL */
    char padding[128];   /* of its neighbours in an array */
};

struct arguments {
    uint64_t live_bytes;
    uint64_t threads;
    uint64_t seed;
    double seconds; /* of each point */
    unsigned part;
};

static void heap_open(struct heap *heap, uint64_t bytes_max, uint64_t seed, uint64_t stream)
{
    *heap = (struct heap){.capacity = bytes_max / SIZE_BYTES_LEAST + 1,
                          .random = random_stream(seed, stream)};
    heap->blocks = own_map(heap->capacity * sizeof *heap->blocks);
}

static void heap_grow(struct heap *heap, uint64_t bytes)
{
    while (heap->bytes < bytes && heap->count < heap->capacity) {
        uint32_t size = random_size(&heap->random, SIZE_SHIFT_LEAST, SIZE_SHIFT_GREATEST);
        void *block = malloc(size);
        if (block == NULL) {
            heap->wrong = "malloc has no memory";
            return;
        }
        heap->blocks[heap->count++] = stamp_write(block, size, heap->random);
        heap->bytes += size;
    }
}

/* Checks and frees all. */
static void heap_close(struct heap *heap)
{
    for (size_t i = 0; i < heap->count; i++) {
        if (!stamp_holds(heap->blocks[i]))
            heap->wrong = "a block does not hold what was written";
        free(stamp_block(heap->blocks[i]));
    }
    own_unmap(heap->blocks, heap->capacity * sizeof *heap->blocks);
}

/* A random block's place, checked. */
static stamp_t *heap_pick(struct heap *heap)
{
    stamp_t *place = &heap->blocks[random_below(&heap->random, (uint32_t)heap->count)];
    if (!stamp_holds(*place))
        heap->wrong = "a block does not hold what was written";
    return place;
}

static void heap_replace(struct heap *heap)
{
    stamp_t *place = heap_pick(heap);
    uint32_t size = random_size(&heap->random, SIZE_SHIFT_LEAST, SIZE_SHIFT_GREATEST);
    free(stamp_block(*place));
    void *block = malloc(size);
    if (block == NULL) {
        fprintf(stderr, "weir_bench_scaling: malloc has no memory\n");
        exit(1);
    }
    *place = stamp_write(block, size, heap->random);
}

/* The same without malloc and free. */
static void heap_touch(struct heap *heap)
{
    stamp_t *place = heap_pick(heap);
    uint32_t size = random_size(&heap->random, SIZE_SHIFT_LEAST, SIZE_SHIFT_GREATEST);
    __asm__ volatile("" : : "r"(size));
    *place = stamp_write(stamp_block(*place), stamp_size(*place), heap->random);
}

/* Nanoseconds of one `step`, over `seconds`. Inlined with a constant `step`. */
static inline __attribute__((always_inline)) double step_ns(struct heap *heap, double seconds,
                                                            void (*step)(struct heap *))
{
    uint64_t begin_ns = team_now_ns();
    uint64_t limit_ns = (uint64_t)(seconds * 1e9);
    uint64_t steps = 0;
    uint64_t passed_ns;
    do {
        for (unsigned i = 0; i < OPERATIONS_PER_LOOK && heap->wrong == NULL; i++)
            step(heap);
        steps += OPERATIONS_PER_LOOK;
        passed_ns = team_now_ns() - begin_ns;
    } while (passed_ns < limit_ns && heap->wrong == NULL);
    return (double)passed_ns / (double)steps;
}

/* "64m" for 64 MiB, "2g" for 2 GiB. */
static void name_bytes(char *name, size_t capacity, uint64_t bytes)
{
    if (bytes % ((uint64_t)1 << 30) == 0)
        snprintf(name, capacity, "%llug", (unsigned long long)(bytes >> 30));
    else
        snprintf(name, capacity, "%llum", (unsigned long long)(bytes >> 20));
}

/* One point of the live heap. Returns the malloc's own nanoseconds of a replacement. */
static double measure_live(struct heap *heap, uint64_t live_bytes, double seconds)
{
    char name[32];
    name_bytes(name, sizeof name, live_bytes);
    heap_grow(heap, live_bytes);
    if (heap->wrong != NULL)
        return 0;
    /* Not measured: the heap gets the disorder of its size first. */
    step_ns(heap, seconds * TOUCH_SHARE, heap_replace);
    double touch_ns = step_ns(heap, seconds * TOUCH_SHARE, heap_touch);
    double replace_ns = step_ns(heap, seconds, heap_replace);
    double own_ns = replace_ns > touch_ns ? replace_ns - touch_ns : 0;
    printf("live %s: %zu blocks\n", name, heap->count);
    metric_print(replace_ns, "ns", "scaling/replace/live:%s", name);
    metric_print(touch_ns, "ns", "scaling/touch/live:%s", name);
    metric_print(own_ns, "ns", "scaling/own/live:%s", name);
    return own_ns;
}

/* Half of the machine's memory: more would measure what the kernel does for want of it. */
static uint64_t live_bytes_allowed(void)
{
    return (uint64_t)sysconf(_SC_PHYS_PAGES) / 2 * (uint64_t)sysconf(_SC_PAGESIZE);
}

static const char *run_live(const struct arguments *arguments)
{
    struct heap heap;
    uint64_t allowed_bytes = live_bytes_allowed();
    heap_open(&heap, arguments->live_bytes, arguments->seed, 0);
    double first_ns = 0;
    double last_ns = 0;
    for (uint64_t bytes = LIVE_FROM_BYTES; bytes <= arguments->live_bytes; bytes *= 2) {
        if (bytes > allowed_bytes) {
            printf("left out: live heaps above half of the memory\n");
            break;
        }
        last_ns = measure_live(&heap, bytes, arguments->seconds);
        first_ns = bytes == LIVE_FROM_BYTES ? last_ns : first_ns;
    }
    heap_close(&heap);
    if (heap.wrong == NULL && first_ns > 0)
        metric_print(last_ns / first_ns, "ratio", "scaling/growth");
    return heap.wrong;
}

static void work(struct team *team, unsigned index)
{
    struct heap *heap = &((struct heap *)team->shared)[index];
    heap_grow(heap, THREAD_LIVE_BYTES);
    team_start(team);
    while (!team_stopped(team) && heap->wrong == NULL) {
        for (unsigned i = 0; i < OPERATIONS_PER_LOOK; i++)
            heap_replace(heap);
        heap->operations += OPERATIONS_PER_LOOK;
    }
    team_end(team);
    heap_close(heap);
}

static const char *measure_threads(unsigned threads, const struct arguments *arguments)
{
    struct heap *heaps = own_map(threads * sizeof *heaps);
    for (unsigned i = 0; i < threads; i++)
        heap_open(&heaps[i], THREAD_LIVE_BYTES, arguments->seed, i);
    struct team team = {.work = work, .shared = heaps, .threads = threads};
    double seconds = team_run(&team, arguments->seconds);
    const char *wrong = NULL;
    uint64_t operations = 0;
    for (unsigned i = 0; i < threads; i++) {
        operations += heaps[i].operations;
        wrong = heaps[i].wrong != NULL ? heaps[i].wrong : wrong;
    }
    own_unmap(heaps, threads * sizeof *heaps);
    if (wrong == NULL)
        metric_print((double)operations / seconds, "ops/s", "scaling/throughput/threads:%u",
                     threads);
    return wrong;
}

/* 1, 2, 4 and so on, and --threads itself. */
static const char *run_threads(const struct arguments *arguments)
{
    const char *wrong = NULL;
    for (unsigned threads = 1; threads < arguments->threads && wrong == NULL; threads *= 2)
        wrong = measure_threads(threads, arguments);
    return wrong != NULL ? wrong : measure_threads((unsigned)arguments->threads, arguments);
}

int main(int argc, char **argv)
{
    static const char *const parts[] = {"live", "threads", "both", NULL};
    struct arguments arguments = {.live_bytes = (uint64_t)8 << 30,
                                  .threads = 64,
                                  .seed = 1,
                                  .seconds = 0.5,
                                  .part = PART_BOTH};
    const struct options_row rows[] = {
        {"live", OPTIONS_BYTES, &arguments.live_bytes, 1 << 20, 1e12, "greatest live heap in bytes",
         NULL},
        {"threads", OPTIONS_COUNT, &arguments.threads, 1, TEAM_THREADS_MAX,
         "greatest number of threads", NULL},
        {"seconds", OPTIONS_NUMBER, &arguments.seconds, 0.001, 3600, "seconds of each point", NULL},
        {"seed", OPTIONS_COUNT, &arguments.seed, 0, 1e15, "seed of sizes and choices", NULL},
        {"part", OPTIONS_CHOICE, &arguments.part, 0, 0, "what to measure", parts},
    };
    options_read(argc, argv, "cost of an operation over live heap and threads", rows,
                 sizeof rows / sizeof *rows);
    const char *wrong = NULL;
    if (arguments.part != PART_THREADS)
        wrong = run_live(&arguments);
    if (wrong == NULL && arguments.part != PART_LIVE)
        wrong = run_threads(&arguments);
    if (wrong != NULL)
        fprintf(stderr, "weir_bench_scaling: %s\n", wrong);
    return wrong == NULL ? 0 : 1;
}
