/* Many mallocs, then their frees: last first, first first, or in random order. Small batches stay
 * in a thread's cache, large ones go through it. */
#include "common/own.h"
#include "common/random.h"
#include "holds.h"
#include "micro.h"

#define BATCH_MAX 4096u

enum order { ORDER_LIFO, ORDER_FIFO, ORDER_RANDOM };

static struct shape {
    enum order order;
    uint64_t seed;
} shapes[] = {{ORDER_LIFO, 0}, {ORDER_FIFO, 0}, {ORDER_RANDOM, 0}};

/* A thread's blocks, and the order of their frees. */
struct batch {
    void *blocks[BATCH_MAX];
    uint32_t order[BATCH_MAX];
};

/* Fisher and Yates. */
static void shuffle(uint32_t *order, uint32_t count, uint64_t state)
{
    for (uint32_t i = count; i > 1; i--) {
        uint32_t other = random_below(&state, i);
        uint32_t kept = order[i - 1];
        order[i - 1] = order[other];
        order[other] = kept;
    }
}

static void set_order(uint32_t *order, uint32_t count, const struct shape *shape, uint64_t stream)
{
    for (uint32_t i = 0; i < count; i++)
        order[i] = shape->order == ORDER_LIFO ? count - 1 - i : i;
    if (shape->order == ORDER_RANDOM)
        shuffle(order, count, random_stream(shape->seed, stream));
}

/* One whole batch with every byte written and checked. */
static bool batch_holds(struct batch *batch, uint32_t count, size_t size)
{
    bool right = true;
    for (uint32_t i = 0; i < count; i++) {
        batch->blocks[i] = family_malloc(size);
        if (batch->blocks[i] != NULL)
            holds_fill(batch->blocks[i], 0, size, i);
    }
    for (uint32_t i = 0; i < count; i++) {
        void *block = batch->blocks[batch->order[i]];
        right = right && block != NULL && holds_check(block, size, batch->order[i]);
        family_free(block);
    }
    return right;
}

static void batch(struct bench_state *state, void *user)
{
    size_t size = (size_t)bench_range(state, 0);
    uint32_t count = (uint32_t)bench_range(state, 1);
    struct batch *batch = own_map(sizeof *batch);
    set_order(batch->order, count, user, (uint64_t)bench_thread_index(state));
    if (!batch_holds(batch, count, size))
        bench_fail(state, HOLDS_WRONG);
    while (bench_keep_running(state)) {
        for (uint32_t i = 0; i < count; i++)
            batch->blocks[i] = family_malloc(size);
        for (uint32_t i = 0; i < count; i++)
            family_free(batch->blocks[batch->order[i]]);
    }
    bench_items(state, bench_iterations(state) * count);
    own_unmap(batch, sizeof *batch);
}

static void register_batch(const struct micro_plan *plan, const char *name, struct shape *shape)
{
    static const int64_t sizes[] = {64, 1024};
    static const int64_t counts[] = {16, 256, 4096};
    static const int64_t threaded_sizes[] = {64};
    static const int64_t threaded_counts[] = {256};
    const struct bench_values range[] = {{sizes, MICRO_COUNT(sizes)},
                                         {counts, MICRO_COUNT(counts)}};
    const struct bench_values threaded_range[] = {{threaded_sizes, MICRO_COUNT(threaded_sizes)},
                                                  {threaded_counts, MICRO_COUNT(threaded_counts)}};
    struct bench_spec spec = {.name = name,
                              .run = batch,
                              .user = shape,
                              .range = range,
                              .range_count = MICRO_COUNT(range),
                              .use_real_time = true};
    shape->seed = plan->seed;
    bench_register(&spec);
    if (plan->thread_count > 1) {
        spec.range = threaded_range;
        spec.threads = plan->threads + 1;
        spec.thread_count = plan->thread_count - 1;
        bench_register(&spec);
    }
}

void MICRO_REGISTER(batch)
{
    register_batch(plan, FAMILY_NAME "/batch_lifo", &shapes[ORDER_LIFO]);
    register_batch(plan, FAMILY_NAME "/batch_fifo", &shapes[ORDER_FIFO]);
    register_batch(plan, FAMILY_NAME "/batch_random", &shapes[ORDER_RANDOM]);
}
