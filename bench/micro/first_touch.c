/* Memory that was never used before: what malloc and the first write to every page cost. Blocks of
 * a run are kept until the process ends its benchmarks, so that no run gets memory of another. */
#include <stdlib.h>

#include "common/own.h"
#include "holds.h"
#include "micro.h"

#define PAGE_BYTES     ((size_t)4096)
#define RUN_BYTES      ((size_t)16 << 20)
#define KEPT_BYTES_MAX ((size_t)2 << 30) /* of all runs */
#define KEPT_MAX       (KEPT_BYTES_MAX / PAGE_BYTES)

/* What all runs hold. One thread at a time. */
static struct {
    void **blocks;
    size_t count;
    size_t bytes;
} kept;

static void free_kept(void)
{
    for (size_t i = 0; i < kept.count; i++)
        family_free(kept.blocks[i]);
    kept.count = 0;
}

static void touch(struct bench_state *state, void *user)
{
    (void)user;
    size_t size = (size_t)bench_range(state, 0);
    size_t first = kept.count;
    bool room = kept.bytes + RUN_BYTES <= KEPT_BYTES_MAX;
    if (!room)
        bench_skip(state, "too many repetitions for memory that is always fresh");
    kept.bytes += room ? RUN_BYTES : 0;
    bool right = true;
    while (bench_keep_running(state)) {
        char *block = family_malloc(size);
        if (block == NULL) {
            right = false;
            continue;
        }
        for (size_t at = 0; at < size; at += PAGE_BYTES)
            block[at] = (char)(kept.count + at / PAGE_BYTES);
        kept.blocks[kept.count++] = block;
    }
    for (size_t i = first; i < kept.count; i++) {
        const char *block = kept.blocks[i];
        for (size_t at = 0; at < size; at += PAGE_BYTES)
            right = right && block[at] == (char)(i + at / PAGE_BYTES);
    }
    if (!right)
        bench_fail(state, HOLDS_WRONG);
    bench_items(state, bench_iterations(state) * (int64_t)(size / PAGE_BYTES));
    bench_bytes(state, bench_iterations(state) * (int64_t)size);
}

void MICRO_REGISTER(first_touch)
{
    (void)plan;
    static const int64_t sizes[] = {4096, 65536, 1048576};
    kept.blocks = own_map(KEPT_MAX * sizeof *kept.blocks);
    atexit(free_kept);
    for (size_t i = 0; i < MICRO_COUNT(sizes); i++) {
        const struct bench_values range = {&sizes[i], 1};
        bench_register(&(struct bench_spec){.name = FAMILY_NAME "/first_touch_page",
                                            .run = touch,
                                            .range = &range,
                                            .range_count = 1,
                                            .iterations = (int64_t)(RUN_BYTES / (size_t)sizes[i]),
                                            .use_real_time = true});
    }
}
