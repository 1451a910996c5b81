/* aligned_alloc with its free: cache lines, pages, and what lies above. */
#include "holds.h"
#include "micro.h"

static bool aligned_holds(size_t alignment, size_t size)
{
    void *blocks[HOLDS_BLOCKS];
    unsigned count = holds_count(size > alignment ? size : alignment);
    bool right = true;
    for (unsigned i = 0; i < count; i++) {
        blocks[i] = family_aligned_alloc(alignment, size);
        if (blocks[i] != NULL)
            holds_fill(blocks[i], 0, size, i);
    }
    for (unsigned i = 0; i < count; i++) {
        right = right && blocks[i] != NULL && (uintptr_t)blocks[i] % alignment == 0 &&
                holds_check(blocks[i], size, i);
        family_free(blocks[i]);
    }
    return right;
}

static void aligned(struct bench_state *state, void *user)
{
    (void)user;
    size_t alignment = (size_t)bench_range(state, 0);
    size_t size = (size_t)bench_range(state, 1);
    if (!aligned_holds(alignment, size))
        bench_fail(state, HOLDS_WRONG);
    while (bench_keep_running(state)) {
        void *block = family_aligned_alloc(alignment, size);
        holds_escape(block);
        family_free(block);
    }
    bench_items(state, bench_iterations(state));
}

static void register_aligned(const struct micro_plan *plan, int64_t alignment, int64_t size)
{
    const struct bench_values range[] = {{&alignment, 1}, {&size, 1}};
    struct bench_spec spec = {.name = FAMILY_NAME "/aligned_alloc",
                              .run = aligned,
                              .range = range,
                              .range_count = MICRO_COUNT(range),
                              .use_real_time = true};
    if (plan != NULL) {
        spec.threads = plan->threads;
        spec.thread_count = plan->thread_count;
    }
    bench_register(&spec);
}

void MICRO_REGISTER(aligned)
{
    register_aligned(plan, 64, 64);
    register_aligned(NULL, 64, 1024);
    register_aligned(NULL, 4096, 4096);
    register_aligned(NULL, 4096, 65536);
    register_aligned(NULL, 65536, 65536);
    register_aligned(NULL, 1048576, 1048576);
}
